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

#define TELL_EVERY_MS 10000

struct row {
	struct stock_list keys;
	uint64_t len;
};

struct line {
	struct row closed;
	struct row open;
	uint64_t moving; /* out of `closed`, to be in `open` soon */
	bool opening;    /* STOCK_OPEN is under way */
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
	bool alone;                   /* what has nothing beside it is under way */
	bool untidy;                  /* there is something to tidy, … */
	uint64_t tidy_ms, tidy_at_ms; /* … after a failure not before this */
	bool changed;                 /* the closed ones, since the token was told */
	uint64_t told_ms;
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
	const char *off;     /* why; NULL: it is on */
	const char *warning; /* for the status; NULL: none */
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

		TAILQ_INIT(&line->closed.keys);
		TAILQ_INIT(&line->open.keys);
		line->wished = options->targets[type];
	}
	take_key_types(stock, options->key_types);
	*ret_stock = stock;
	return E_OK;
}

void stock_list_free(struct stock_list *keys)
{
	struct stock_key *key;

	while ((key = TAILQ_FIRST(keys))) {
		TAILQ_REMOVE(keys, key, next);
		stock_key_free(key);
	}
}

void stock_free(struct stock *stock)
{
	if (!stock)
		return;
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		stock_list_free(&stock->lines[type].closed.keys);
		stock_list_free(&stock->lines[type].open.keys);
	}
	pthread_mutex_destroy(&stock->lock);
	free(stock);
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

struct stock_key *stock_key_alloc(const char *name, const struct key *key, struct spki *public_key)
{
	struct stock_key *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	snprintf(k->name, sizeof(k->name), "%s", name);
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

static void row_append(struct row *row, struct stock_key *key)
{
	TAILQ_INSERT_TAIL(&row->keys, key, next);
	row->len++;
}

static struct stock_key *row_take(struct row *row)
{
	struct stock_key *key = TAILQ_FIRST(&row->keys);

	if (key) {
		TAILQ_REMOVE(&row->keys, key, next);
		row->len--;
	}
	return key;
}

struct stock_key *stock_take(struct stock *stock, enum key_type type)
{
	struct stock_key *key;

	pthread_mutex_lock(&stock->lock);
	key = stock->off ? NULL : row_take(&stock->lines[type].open);
	pthread_mutex_unlock(&stock->lock);
	return key;
}

bool stock_has_ready(struct stock *stock, enum key_type type)
{
	bool any;

	pthread_mutex_lock(&stock->lock);
	any = (stock->lines[type].open.len || stock->lines[type].closed.len) && !stock->off;
	pthread_mutex_unlock(&stock->lock);
	return any;
}

bool stock_needs_opening(struct stock *stock, enum key_type type)
{
	bool needs;

	pthread_mutex_lock(&stock->lock);
	needs = !stock->off && !stock->lines[type].open.len &&
		(stock->lines[type].closed.len || stock->lines[type].moving);
	pthread_mutex_unlock(&stock->lock);
	return needs;
}

void stock_put(struct stock *stock, struct stock_key *key)
{
	pthread_mutex_lock(&stock->lock);
	row_append(&stock->lines[key->key.type].closed, key);
	stock->changed = true;
	pthread_mutex_unlock(&stock->lock);
}

/* A key that is not in the ledger's rows comes back. */
static struct line *stock_arrive(struct stock *stock, struct stock_key *key)
{
	struct line *line = &stock->lines[key->key.type];

	line->moving -= key->is_moving;
	key->is_moving = false;
	return line;
}

void stock_take_closed(struct stock *stock, enum key_type type, struct stock_list *to)
{
	struct stock_key *key;
	struct line *line;

	pthread_mutex_lock(&stock->lock);
	line = &stock->lines[type];
	for (uint64_t open = line->open.len;
	     !stock->off && open < STOCK_BLOCK && (key = row_take(&line->closed)); open++) {
		key->is_moving = true;
		line->moving++;
		TAILQ_INSERT_TAIL(to, key, next);
	}
	pthread_mutex_unlock(&stock->lock);
}

void stock_put_open(struct stock *stock, struct stock_list *keys)
{
	struct stock_key *key;

	pthread_mutex_lock(&stock->lock);
	while ((key = TAILQ_FIRST(keys))) {
		TAILQ_REMOVE(keys, key, next);
		row_append(&stock_arrive(stock, key)->open, key);
	}
	pthread_mutex_unlock(&stock->lock);
}

/* To the front of the line, in their order. */
void stock_give_back(struct stock *stock, struct stock_list *keys)
{
	struct stock_key *key;

	pthread_mutex_lock(&stock->lock);
	while ((key = TAILQ_LAST(keys, stock_list))) {
		struct row *row = &stock_arrive(stock, key)->closed;

		TAILQ_REMOVE(keys, key, next);
		TAILQ_INSERT_HEAD(&row->keys, key, next);
		row->len++;
	}
	pthread_mutex_unlock(&stock->lock);
}

static size_t row_names(const struct row *row, char (*names)[KEY_NAME_SIZE])
{
	const struct stock_key *key;
	size_t len = 0;

	TAILQ_FOREACH (key, &row->keys, next)
		memcpy(names[len++], key->name, KEY_NAME_SIZE);
	return len;
}

enum err stock_names(struct stock *stock, bool all, char (**ret_names)[KEY_NAME_SIZE], size_t *ret_len)
{
	char(*names)[KEY_NAME_SIZE];
	size_t len = 1;

	pthread_mutex_lock(&stock->lock);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		len += stock->lines[type].closed.len + (all ? stock->lines[type].open.len : 0);
	names = calloc(len, sizeof(*names));
	len = 0;
	for (unsigned type = 1; names && type <= KEY_TYPE_MAX; type++) {
		len += row_names(&stock->lines[type].closed, names + len);
		if (all)
			len += row_names(&stock->lines[type].open, names + len);
	}
	pthread_mutex_unlock(&stock->lock);
	if (!names)
		return E_NOMEM;
	*ret_names = names;
	*ret_len = len;
	return E_OK;
}

/* ---- the throttle ---- */

void stock_caller_begins(struct stock *stock)
{
	pthread_mutex_lock(&stock->lock);
	stock->callers++;
	pthread_mutex_unlock(&stock->lock);
}

void stock_caller_ends(struct stock *stock, uint64_t now_ms)
{
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
		uint64_t there = line->closed.len + line->open.len + line->moving + line->making;
		double part = line->target ? (double)there / (double)line->target : 1;

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
	uint64_t objects = stock->objects + 2 * stock->fills; /* when those that are being made are there */

	return stock->objects_max && stock->counted && objects >= stock->objects_max;
}

/* A type of which the next block is to be opened before the last one is used up; 0: none. */
static unsigned to_open_locked(const struct stock *stock)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		const struct line *line = &stock->lines[type];

		if (line->open.len && line->open.len <= STOCK_OPEN_LOW && line->closed.len && !line->opening)
			return type;
	}
	return 0;
}

/* What is next, and in how long; STOCK_NOTHING: nothing unless something else happens. */
struct next {
	enum stock_work work;
	unsigned type;
	uint64_t wait_ms;
};

static struct next next_fill_locked(const struct stock *stock, uint64_t now_ms)
{
	struct next next = {STOCK_NOTHING, 0, UINT64_MAX};
	double part;

	if (!stock->wanted)
		return next;
	next.type = emptiest_locked(stock, &part);
	if (!next.type) {
		if (stock->changed)
			next = (struct next){STOCK_TELL, 0, until(stock->told_ms + TELL_EVERY_MS, now_ms)};
		return next;
	}
	next.work = count_is_due_locked(stock, now_ms) ? STOCK_COUNT : STOCK_FILL;
	if (next.work == STOCK_COUNT && stock->fills) /* a count is of a token at rest */
		return (struct next){STOCK_NOTHING, 0, UINT64_MAX};
	next.wait_ms = callers_hold_ms_locked(stock, part, now_ms);
	if (is_full_locked(stock))
		next.wait_ms = later(next.wait_ms, until(stock->counted_ms + COUNT_VALID_MS, now_ms));
	return next;
}

static struct next next_locked(const struct stock *stock, uint64_t now_ms)
{
	struct next next = {STOCK_NOTHING, 0, UINT64_MAX};
	unsigned type = to_open_locked(stock);
	uint64_t tidy_wait_ms = until(stock->tidy_at_ms, now_ms);

	if (stock->alone)
		return next;
	if (!stock->taken_over)
		next = (struct next){STOCK_TAKE_OVER, 0, 0};
	else if (stock->untidy && !tidy_wait_ms)
		return (struct next){STOCK_TIDY, 0, 0};
	else if (type && !stock->off)
		next = (struct next){STOCK_OPEN, type, 0};
	else if (!stock->off)
		next = next_fill_locked(stock, now_ms);
	next.wait_ms = later(next.wait_ms, until(stock->retry_at_ms, now_ms));
	if (stock->untidy && tidy_wait_ms < next.wait_ms)
		return (struct next){STOCK_TIDY, 0, tidy_wait_ms};
	return next;
}

uint64_t stock_wait_ms(struct stock *stock, uint64_t now_ms)
{
	uint64_t wait_ms;

	pthread_mutex_lock(&stock->lock);
	wait_ms = next_locked(stock, now_ms).wait_ms;
	pthread_mutex_unlock(&stock->lock);
	return wait_ms;
}

enum stock_work stock_begin(struct stock *stock, uint64_t now_ms, enum key_type *ret_type)
{
	struct next next;

	pthread_mutex_lock(&stock->lock);
	next = next_locked(stock, now_ms);
	if (next.wait_ms > 0)
		next.work = STOCK_NOTHING;
	if (next.type)
		*ret_type = (enum key_type)next.type;
	switch (next.work) {
	case STOCK_NOTHING:
		break;
	case STOCK_OPEN:
		stock->lines[next.type].opening = true;
		break;
	case STOCK_FILL:
		stock->lines[next.type].making++;
		stock->fills++;
		break;
	case STOCK_TAKE_OVER:
	case STOCK_TIDY:
	case STOCK_COUNT:
	case STOCK_TELL:
		stock->alone = true;
		break;
	}
	pthread_mutex_unlock(&stock->lock);
	return next.work;
}

/* After an error the next attempt waits, each time longer. */
static void pace_locked(enum err e, uint64_t now_ms, uint64_t *pause_ms, uint64_t *at_ms)
{
	if (e == E_OK)
		*pause_ms = 0;
	else
		*pause_ms = *pause_ms ? *pause_ms * 2 : RETRY_MIN_MS;
	if (*pause_ms > RETRY_MAX_MS)
		*pause_ms = RETRY_MAX_MS;
	*at_ms = e == E_OK ? 0 : now_ms + *pause_ms;
}

static void end_locked(struct stock *stock, enum stock_work work, enum key_type type, enum err e,
		       uint64_t now_ms)
{
	if (work == STOCK_FILL) {
		stock->lines[type].making--;
		stock->fills--;
		stock->filled_ms = now_ms;
		stock->objects += e == E_OK ? 2 : 0;
	} else if (work == STOCK_OPEN) {
		stock->lines[type].opening = false;
	} else {
		stock->alone = false;
		if (work == STOCK_TAKE_OVER && e == E_OK)
			stock->taken_over = true;
	}
}

void stock_end(struct stock *stock, enum stock_work work, enum key_type type, enum err e, uint64_t now_ms)
{
	pthread_mutex_lock(&stock->lock);
	end_locked(stock, work, type, e, now_ms);
	if (work == STOCK_TIDY)
		pace_locked(e, now_ms, &stock->tidy_ms, &stock->tidy_at_ms);
	else
		pace_locked(e, now_ms, &stock->retry_ms, &stock->retry_at_ms);
	pthread_mutex_unlock(&stock->lock);
}

bool stock_is_taken_over(struct stock *stock)
{
	bool done;

	pthread_mutex_lock(&stock->lock);
	done = stock->taken_over;
	pthread_mutex_unlock(&stock->lock);
	return done;
}

void stock_set_untidy(struct stock *stock, bool untidy)
{
	pthread_mutex_lock(&stock->lock);
	stock->untidy = untidy;
	pthread_mutex_unlock(&stock->lock);
}

void stock_is_told(struct stock *stock, uint64_t now_ms)
{
	pthread_mutex_lock(&stock->lock);
	stock->changed = false;
	stock->told_ms = now_ms;
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

void stock_warn(struct stock *stock, const char *what)
{
	pthread_mutex_lock(&stock->lock);
	stock->warning = what;
	pthread_mutex_unlock(&stock->lock);
}

/* ---- status ---- */

static const char *detail_locked(const struct stock *stock, uint64_t now_ms)
{
	double part;

	if (stock->off)
		return stock->off;
	if (stock->warning)
		return stock->warning;
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
	pthread_mutex_lock(&stock->lock);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		const struct line *line = &stock->lines[type];
		struct message_pool *level = &reply->pools[reply->pools_len];

		uint64_t ready = line->closed.len + line->open.len + line->moving;

		if (!line->target && !ready)
			continue;
		*level = (struct message_pool){(enum key_type)type, (uint32_t)ready, (uint32_t)line->target};
		reply->pools_len++;
	}
	reply->pool_detail = strdup(detail_locked(stock, now_ms));
	reply->other_nodes = stock->other_nodes;
	reply->other_keys = stock->other_keys;
	pthread_mutex_unlock(&stock->lock);
}
