/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger of ready keys and the throttle of making more. */
#include "hsm/signer/stock/stock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LULL_MS 50 /* without a caller at work: no burst */
#define SCARCE 0.1 /* of a target */
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define COUNT_VALID_MS 10000 /* what else adds objects is seen no later */

struct line {
	struct stock_key *first;
	struct stock_key **end;
	uint64_t ready;
	uint64_t making;
	uint64_t wished; /* the target, if the token made such keys */
	uint64_t target;
};

struct stock {
	pthread_mutex_t lock;
	char node[NODE_NAME_MAX + 1];
	uint64_t pause_ms;
	uint64_t quiet_ms;
	uint64_t objects_max;
	uint64_t fills_max; /* threads but the one that is kept for callers */
	bool single;
	bool node_is_host;

	/* under the lock */
	struct line lines[KEY_TYPE_MAX + 1];
	key_type_set key_types; /* that the token makes */
	char lacking[160]; /* of those that are wished for one that it does not make, for people; "": none */
	bool wanted;       /* any target */
	bool taken_over;
	key_type_set types_taken_over;
	bool alone; /* STOCK_TAKE_OVER or STOCK_COUNT is under way */
	bool relabel_works;
	uint64_t fills;
	uint64_t callers;
	bool any_served;
	uint64_t served_ms;
	uint64_t filled_ms;
	uint64_t retry_ms; /* of the next attempt after an error */
	uint64_t retry_at_ms;
	bool counted;
	uint64_t counted_ms;
	uint64_t objects;
	const char *off; /* why; NULL: it is on */
	uint32_t other_nodes;
	uint32_t other_keys;
};

/* ---- life ---- */

static void take_key_types(struct stock *stock, key_type_set key_types)
{
	size_t len = 0;

	stock->key_types = key_types;
	stock->wanted = false;
	stock->lacking[0] = '\0';
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		struct line *line = &stock->lines[type];
		bool is_made = key_types & KEY_TYPE_BIT(type);

		line->target = is_made ? line->wished : 0;
		stock->wanted |= line->target > 0;
		if (line->wished && !is_made)
			len +=
			    (size_t)snprintf(stock->lacking + len, sizeof(stock->lacking) - len, "%spool_%s",
					     len ? ", " : "", key_type_name((enum key_type)type));
	}
	if (len)
		snprintf(stock->lacking + len, sizeof(stock->lacking) - len,
			 ": the token makes no such keys");
}

void stock_set_key_types(struct stock *stock, key_type_set key_types)
{
	if (!stock)
		return;
	pthread_mutex_lock(&stock->lock);
	if (key_types != stock->key_types)
		take_key_types(stock, key_types);
	pthread_mutex_unlock(&stock->lock);
}

enum err stock_new(const struct stock_options *options, struct stock **ret_stock)
{
	struct stock *stock = calloc(1, sizeof(*stock));

	if (!stock)
		return E_NOMEM;
	if (pthread_mutex_init(&stock->lock, NULL)) {
		free(stock);
		return E_NOMEM;
	}
	node_name(options->node, stock->node);
	stock->node_is_host = !options->node || !options->node[0];
	stock->pause_ms = options->pause_ms;
	stock->quiet_ms = options->quiet_ms;
	stock->objects_max = options->objects_max;
	stock->single = options->threads == 1;
	stock->fills_max = stock->single ? 1 : options->threads - 1;
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		struct line *line = &stock->lines[type];

		line->end = &line->first;
		line->wished = options->targets[type];
	}
	take_key_types(stock, options->key_types);
	*ret_stock = stock;
	return E_OK;
}

static void free_keys(struct line *line)
{
	while (line->first) {
		struct stock_key *key = line->first;

		line->first = key->next;
		stock_key_free(key);
	}
	line->end = &line->first;
	line->ready = 0;
}

void stock_free(struct stock *stock)
{
	if (!stock)
		return;
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		free_keys(&stock->lines[type]);
	pthread_mutex_destroy(&stock->lock);
	free(stock);
}

void stock_label_of_node(const char *node, enum key_type type, char label[STOCK_LABEL_SIZE])
{
	snprintf(label, STOCK_LABEL_SIZE, "%s%.*s:%s", OBJECT_LABEL_PREFIX_STOCK, NODE_NAME_MAX, node,
		 key_type_name(type));
}

void stock_label(const struct stock *stock, enum key_type type, char label[STOCK_LABEL_SIZE])
{
	stock_label_of_node(stock->node, type, label);
}

const char *stock_node(const struct stock *stock)
{
	return stock ? stock->node : "";
}

bool stock_is_wanted(const struct stock *stock)
{
	return stock->wanted;
}

/* Docker and podman name a container by the first 12 digits of its id, or all 64. */
bool stock_node_may_change(const struct stock *stock)
{
	size_t len = strlen(stock->node);

	return stock->node_is_host && (len == 12 || len == NODE_NAME_MAX) &&
	       strspn(stock->node, "0123456789abcdef") == len;
}

void stock_saw_others(struct stock *stock, uint32_t nodes, uint32_t keys)
{
	if (!stock)
		return;
	pthread_mutex_lock(&stock->lock);
	stock->other_nodes = nodes;
	stock->other_keys = keys;
	pthread_mutex_unlock(&stock->lock);
}

struct stock_key *stock_key_alloc(const struct key *key, struct spki *public_key)
{
	struct stock_key *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->key = *key;
	k->public_key = public_key;
	return k;
}

void stock_key_free(struct stock_key *key)
{
	if (!key)
		return;
	spki_free(key->public_key);
	free(key);
}

/* ---- ready keys ---- */

struct stock_key *stock_take(struct stock *stock, enum key_type type)
{
	struct stock_key *key;
	struct line *line;

	if (!stock)
		return NULL;
	pthread_mutex_lock(&stock->lock);
	line = &stock->lines[type];
	key = stock->off ? NULL : line->first;
	if (key) {
		line->first = key->next;
		if (!line->first)
			line->end = &line->first;
		line->ready--;
		key->next = NULL;
	}
	pthread_mutex_unlock(&stock->lock);
	return key;
}

bool stock_has_ready(struct stock *stock, enum key_type type)
{
	bool any;

	if (!stock)
		return false;
	pthread_mutex_lock(&stock->lock);
	any = stock->lines[type].first && !stock->off;
	pthread_mutex_unlock(&stock->lock);
	return any;
}

void stock_give_back(struct stock *stock, struct stock_key *key)
{
	struct line *line = &stock->lines[key->key.type];

	pthread_mutex_lock(&stock->lock);
	key->next = line->first;
	line->first = key;
	if (!key->next)
		line->end = &key->next;
	line->ready++;
	pthread_mutex_unlock(&stock->lock);
}

void stock_put(struct stock *stock, struct stock_key *key)
{
	struct line *line = &stock->lines[key->key.type];

	pthread_mutex_lock(&stock->lock);
	key->next = NULL;
	*line->end = key;
	line->end = &key->next;
	line->ready++;
	pthread_mutex_unlock(&stock->lock);
}

/* ---- the throttle ---- */

void stock_caller_begins(struct stock *stock)
{
	if (!stock)
		return;
	pthread_mutex_lock(&stock->lock);
	stock->callers++;
	pthread_mutex_unlock(&stock->lock);
}

void stock_caller_ends(struct stock *stock, uint64_t now_ms)
{
	if (!stock)
		return;
	pthread_mutex_lock(&stock->lock);
	stock->callers--;
	stock->any_served = true;
	stock->served_ms = now_ms;
	pthread_mutex_unlock(&stock->lock);
}

static uint64_t until(uint64_t at_ms, uint64_t now_ms)
{
	return at_ms > now_ms ? at_ms - now_ms : 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The type of which the least part of its target is there or being made; 0 when none lacks any. */
static unsigned emptiest_locked(const struct stock *stock, double *ret_part)
{
	double lowest = 1;
	unsigned emptiest = 0;

	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		const struct line *line = &stock->lines[type];
		double part = line->target ? (double)(line->ready + line->making) / (double)line->target : 1;

		if (part < lowest) {
			lowest = part;
			emptiest = type;
		}
	}
	*ret_part = lowest;
	return emptiest;
}

/*
 * How long the callers keep the next fill away, with that part of the emptiest
 * type there.  While they come and go none is made as long as half is there:
 * it would take from them of what the token can do.  Below that one at a time
 * is made, some time apart and in a lull between them, so that a burst has the
 * token for itself; when hardly any is left, beside them, since what a caller
 * does not find he waits for.  With a single thread none: the next caller would
 * wait for its end.
 */
static uint64_t callers_hold_ms_locked(const struct stock *stock, double part, uint64_t now_ms)
{
	uint64_t quiet_ms = stock->any_served ? until(stock->served_ms + stock->quiet_ms, now_ms) : 0;
	uint64_t lull_ms;

	if (stock->callers)
		quiet_ms = stock->quiet_ms;
	if (stock->fills + stock->callers >= stock->fills_max)
		return UINT64_MAX; /* until one of them ends */
	if (!quiet_ms)
		return 0;
	if (stock->single || stock->fills || part >= 0.5)
		return quiet_ms;
	if (part < SCARCE)
		lull_ms = 0;
	else if (stock->callers)
		lull_ms = LULL_MS;
	else
		lull_ms = until(stock->served_ms + LULL_MS, now_ms);
	return later(until(stock->filled_ms + stock->pause_ms, now_ms), lull_ms);
}

static bool count_is_due_locked(const struct stock *stock, uint64_t now_ms)
{
	return stock->objects_max && (!stock->counted || now_ms - stock->counted_ms >= COUNT_VALID_MS);
}

static bool is_full_locked(const struct stock *stock)
{
	return stock->objects_max && stock->counted && stock->objects >= stock->objects_max;
}

static uint64_t wait_ms_locked(const struct stock *stock, uint64_t now_ms)
{
	uint64_t wait_ms;
	double part;

	if (!stock->wanted || stock->off || stock->alone)
		return UINT64_MAX;
	wait_ms = until(stock->retry_at_ms, now_ms);
	if (!stock->taken_over)
		return wait_ms;
	if (!emptiest_locked(stock, &part))
		return UINT64_MAX;
	wait_ms = later(wait_ms, callers_hold_ms_locked(stock, part, now_ms));
	if (is_full_locked(stock))
		wait_ms = later(wait_ms, until(stock->counted_ms + COUNT_VALID_MS, now_ms));
	/* One key tells whether the token relabels, and a count is of a token at rest. */
	if (stock->fills && (!stock->relabel_works || count_is_due_locked(stock, now_ms)))
		return UINT64_MAX;
	return wait_ms;
}

uint64_t stock_wait_ms(struct stock *stock, uint64_t now_ms)
{
	uint64_t wait_ms;

	if (!stock)
		return UINT64_MAX;
	pthread_mutex_lock(&stock->lock);
	wait_ms = wait_ms_locked(stock, now_ms);
	pthread_mutex_unlock(&stock->lock);
	return wait_ms;
}

static enum stock_work begin_locked(struct stock *stock, uint64_t now_ms, enum key_type *ret_type)
{
	double part;

	if (wait_ms_locked(stock, now_ms) > 0)
		return STOCK_NOTHING;
	if (!stock->taken_over) {
		stock->alone = true;
		return STOCK_TAKE_OVER;
	}
	if (count_is_due_locked(stock, now_ms)) {
		stock->alone = true;
		return STOCK_COUNT;
	}
	*ret_type = (enum key_type)emptiest_locked(stock, &part);
	stock->lines[*ret_type].making++;
	stock->fills++;
	return STOCK_FILL;
}

enum stock_work stock_begin(struct stock *stock, uint64_t now_ms, enum key_type *ret_type)
{
	enum stock_work work;

	if (!stock)
		return STOCK_NOTHING;
	pthread_mutex_lock(&stock->lock);
	work = begin_locked(stock, now_ms, ret_type);
	pthread_mutex_unlock(&stock->lock);
	return work;
}

void stock_end(struct stock *stock, enum stock_work work, enum key_type type, enum err e, uint64_t now_ms)
{
	pthread_mutex_lock(&stock->lock);
	if (work == STOCK_FILL) {
		stock->lines[type].making--;
		stock->fills--;
		stock->filled_ms = now_ms;
		stock->objects += e == E_OK ? 2 : 0;
	} else {
		stock->alone = false;
		if (work == STOCK_TAKE_OVER && e == E_OK)
			stock->taken_over = true;
	}
	if (e == E_OK) {
		stock->retry_ms = 0;
		stock->retry_at_ms = 0;
	} else {
		stock->retry_ms = stock->retry_ms ? stock->retry_ms * 2 : RETRY_MIN_MS;
		if (stock->retry_ms > RETRY_MAX_MS)
			stock->retry_ms = RETRY_MAX_MS;
		stock->retry_at_ms = now_ms + stock->retry_ms;
	}
	pthread_mutex_unlock(&stock->lock);
}

bool stock_is_taken_over(struct stock *stock)
{
	bool done;

	if (!stock)
		return true;
	pthread_mutex_lock(&stock->lock);
	done = stock->taken_over || !stock->wanted;
	pthread_mutex_unlock(&stock->lock);
	return done;
}

bool stock_type_is_taken_over(struct stock *stock, enum key_type type)
{
	bool done;

	pthread_mutex_lock(&stock->lock);
	done = stock->types_taken_over & KEY_TYPE_BIT(type);
	pthread_mutex_unlock(&stock->lock);
	return done;
}

void stock_type_taken_over(struct stock *stock, enum key_type type)
{
	pthread_mutex_lock(&stock->lock);
	stock->types_taken_over |= KEY_TYPE_BIT(type);
	pthread_mutex_unlock(&stock->lock);
}

void stock_counted(struct stock *stock, uint64_t objects, uint64_t now_ms)
{
	pthread_mutex_lock(&stock->lock);
	stock->counted = true;
	stock->counted_ms = now_ms;
	stock->objects = objects;
	pthread_mutex_unlock(&stock->lock);
}

/* ---- on and off ---- */

void stock_turn_off(struct stock *stock, const char *why)
{
	pthread_mutex_lock(&stock->lock);
	if (!stock->off)
		stock->off = why;
	pthread_mutex_unlock(&stock->lock);
}

bool stock_is_off(struct stock *stock)
{
	bool off;

	pthread_mutex_lock(&stock->lock);
	off = stock->off != NULL;
	pthread_mutex_unlock(&stock->lock);
	return off;
}

bool stock_relabel_is_untried(struct stock *stock)
{
	bool untried;

	pthread_mutex_lock(&stock->lock);
	untried = !stock->relabel_works;
	pthread_mutex_unlock(&stock->lock);
	return untried;
}

void stock_relabel_works(struct stock *stock)
{
	pthread_mutex_lock(&stock->lock);
	stock->relabel_works = true;
	pthread_mutex_unlock(&stock->lock);
}

/* ---- status ---- */

static const char *detail_locked(const struct stock *stock, uint64_t now_ms)
{
	double part;

	if (stock->off)
		return stock->off;
	if (!stock->wanted)
		return stock->lacking;
	if (!stock->taken_over)
		return "looking for keys of an earlier run";
	if (!emptiest_locked(stock, &part))
		return stock->lacking;
	if (is_full_locked(stock))
		return "not filled: the token holds pool_objects_max objects";
	if (until(stock->retry_at_ms, now_ms))
		return "not filled: making a key failed, the next attempt waits";
	return stock->lacking;
}

void stock_status(struct stock *stock, uint64_t now_ms, struct message_status_reply *reply)
{
	if (!stock)
		return;
	pthread_mutex_lock(&stock->lock);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		const struct line *line = &stock->lines[type];
		struct message_pool *level = &reply->pools[reply->pools_len];

		if (!line->target && !line->ready)
			continue;
		*level =
		    (struct message_pool){(enum key_type)type, (uint32_t)line->ready, (uint32_t)line->target};
		reply->pools_len++;
	}
	reply->pool_detail = strdup(detail_locked(stock, now_ms));
	reply->other_nodes = stock->other_nodes;
	reply->other_keys = stock->other_keys;
	pthread_mutex_unlock(&stock->lock);
}
