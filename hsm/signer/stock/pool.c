/* The ledger of ready keys and the throttle of making more. */
#include "hsm/signer/stock/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LULL_MS 50   /* without a caller at work: no burst */
#define SCARCE 0.1   /* of a target */
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define COUNT_VALID_MS 10000 /* what else adds objects is seen no later */

struct line {
	struct pool_key *first;
	struct pool_key **end;
	uint64_t ready;
	uint64_t making;
	uint64_t wished; /* the target, if the token made such keys */
	uint64_t target;
};

struct pool {
	pthread_mutex_t lock;
	char node[POOL_NODE_MAX + 1];
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
	bool alone; /* POOL_TAKE_OVER or POOL_COUNT is under way */
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

static void take_key_types(struct pool *pool, key_type_set key_types)
{
	size_t len = 0;

	pool->key_types = key_types;
	pool->wanted = false;
	pool->lacking[0] = '\0';
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		struct line *line = &pool->lines[type];
		bool is_made = key_types & KEY_TYPE_BIT(type);

		line->target = is_made ? line->wished : 0;
		pool->wanted |= line->target > 0;
		if (line->wished && !is_made)
			len += (size_t)snprintf(pool->lacking + len, sizeof(pool->lacking) - len, "%spool_%s",
						len ? ", " : "", key_type_name((enum key_type)type));
	}
	if (len)
		snprintf(pool->lacking + len, sizeof(pool->lacking) - len, ": the token makes no such keys");
}

void pool_set_key_types(struct pool *pool, key_type_set key_types)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	if (key_types != pool->key_types)
		take_key_types(pool, key_types);
	pthread_mutex_unlock(&pool->lock);
}

enum err pool_new(const struct pool_options *options, struct pool **ret_pool)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return E_NOMEM;
	if (pthread_mutex_init(&pool->lock, NULL)) {
		free(pool);
		return E_NOMEM;
	}
	node_name(options->node, pool->node);
	pool->node_is_host = !options->node || !options->node[0];
	pool->pause_ms = options->pause_ms;
	pool->quiet_ms = options->quiet_ms;
	pool->objects_max = options->objects_max;
	pool->single = options->threads == 1;
	pool->fills_max = pool->single ? 1 : options->threads - 1;
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		struct line *line = &pool->lines[type];

		line->end = &line->first;
		line->wished = options->targets[type];
	}
	take_key_types(pool, options->key_types);
	*ret_pool = pool;
	return E_OK;
}

static void free_keys(struct line *line)
{
	while (line->first) {
		struct pool_key *key = line->first;

		line->first = key->next;
		pool_key_free(key);
	}
	line->end = &line->first;
	line->ready = 0;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		free_keys(&pool->lines[type]);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void pool_label_of_node(const char *node, enum key_type type, char label[POOL_LABEL_SIZE])
{
	snprintf(label, POOL_LABEL_SIZE, "%s%.*s:%s", POOL_LABEL_PREFIX, POOL_NODE_MAX, node,
		 key_type_name(type));
}

void pool_label(const struct pool *pool, enum key_type type, char label[POOL_LABEL_SIZE])
{
	pool_label_of_node(pool->node, type, label);
}

const char *pool_node(const struct pool *pool)
{
	return pool ? pool->node : "";
}

bool pool_is_wanted(const struct pool *pool)
{
	return pool->wanted;
}

/* Docker and podman name a container by the first 12 digits of its id, or all 64. */
bool pool_node_may_change(const struct pool *pool)
{
	size_t len = strlen(pool->node);

	return pool->node_is_host && (len == 12 || len == POOL_NODE_MAX) &&
	       strspn(pool->node, "0123456789abcdef") == len;
}

void pool_saw_others(struct pool *pool, uint32_t nodes, uint32_t keys)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->other_nodes = nodes;
	pool->other_keys = keys;
	pthread_mutex_unlock(&pool->lock);
}

struct pool_key *pool_key_alloc(const struct key *key, struct spki *public_key)
{
	struct pool_key *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->key = *key;
	k->public_key = public_key;
	return k;
}

void pool_key_free(struct pool_key *key)
{
	if (!key)
		return;
	spki_free(key->public_key);
	free(key);
}

/* ---- ready keys ---- */

struct pool_key *pool_take(struct pool *pool, enum key_type type)
{
	struct pool_key *key;
	struct line *line;

	if (!pool)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	line = &pool->lines[type];
	key = pool->off ? NULL : line->first;
	if (key) {
		line->first = key->next;
		if (!line->first)
			line->end = &line->first;
		line->ready--;
		key->next = NULL;
	}
	pthread_mutex_unlock(&pool->lock);
	return key;
}

bool pool_has_ready(struct pool *pool, enum key_type type)
{
	bool any;

	if (!pool)
		return false;
	pthread_mutex_lock(&pool->lock);
	any = pool->lines[type].first && !pool->off;
	pthread_mutex_unlock(&pool->lock);
	return any;
}

void pool_give_back(struct pool *pool, struct pool_key *key)
{
	struct line *line = &pool->lines[key->key.type];

	pthread_mutex_lock(&pool->lock);
	key->next = line->first;
	line->first = key;
	if (!key->next)
		line->end = &key->next;
	line->ready++;
	pthread_mutex_unlock(&pool->lock);
}

void pool_put(struct pool *pool, struct pool_key *key)
{
	struct line *line = &pool->lines[key->key.type];

	pthread_mutex_lock(&pool->lock);
	key->next = NULL;
	*line->end = key;
	line->end = &key->next;
	line->ready++;
	pthread_mutex_unlock(&pool->lock);
}

/* ---- the throttle ---- */

void pool_caller_begins(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->callers++;
	pthread_mutex_unlock(&pool->lock);
}

void pool_caller_ends(struct pool *pool, uint64_t now_ms)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->callers--;
	pool->any_served = true;
	pool->served_ms = now_ms;
	pthread_mutex_unlock(&pool->lock);
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
static unsigned emptiest_locked(const struct pool *pool, double *ret_part)
{
	double lowest = 1;
	unsigned emptiest = 0;

	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		const struct line *line = &pool->lines[type];
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
static uint64_t callers_hold_ms_locked(const struct pool *pool, double part, uint64_t now_ms)
{
	uint64_t quiet_ms = pool->any_served ? until(pool->served_ms + pool->quiet_ms, now_ms) : 0;
	uint64_t lull_ms;

	if (pool->callers)
		quiet_ms = pool->quiet_ms;
	if (pool->fills + pool->callers >= pool->fills_max)
		return UINT64_MAX; /* until one of them ends */
	if (!quiet_ms)
		return 0;
	if (pool->single || pool->fills || part >= 0.5)
		return quiet_ms;
	if (part < SCARCE)
		lull_ms = 0;
	else if (pool->callers)
		lull_ms = LULL_MS;
	else
		lull_ms = until(pool->served_ms + LULL_MS, now_ms);
	return later(until(pool->filled_ms + pool->pause_ms, now_ms), lull_ms);
}

static bool count_is_due_locked(const struct pool *pool, uint64_t now_ms)
{
	return pool->objects_max && (!pool->counted || now_ms - pool->counted_ms >= COUNT_VALID_MS);
}

static bool is_full_locked(const struct pool *pool)
{
	return pool->objects_max && pool->counted && pool->objects >= pool->objects_max;
}

static uint64_t wait_ms_locked(const struct pool *pool, uint64_t now_ms)
{
	uint64_t wait_ms;
	double part;

	if (!pool->wanted || pool->off || pool->alone)
		return UINT64_MAX;
	wait_ms = until(pool->retry_at_ms, now_ms);
	if (!pool->taken_over)
		return wait_ms;
	if (!emptiest_locked(pool, &part))
		return UINT64_MAX;
	wait_ms = later(wait_ms, callers_hold_ms_locked(pool, part, now_ms));
	if (is_full_locked(pool))
		wait_ms = later(wait_ms, until(pool->counted_ms + COUNT_VALID_MS, now_ms));
	/* One key tells whether the token relabels, and a count is of a token at rest. */
	if (pool->fills && (!pool->relabel_works || count_is_due_locked(pool, now_ms)))
		return UINT64_MAX;
	return wait_ms;
}

uint64_t pool_wait_ms(struct pool *pool, uint64_t now_ms)
{
	uint64_t wait_ms;

	if (!pool)
		return UINT64_MAX;
	pthread_mutex_lock(&pool->lock);
	wait_ms = wait_ms_locked(pool, now_ms);
	pthread_mutex_unlock(&pool->lock);
	return wait_ms;
}

static enum pool_work begin_locked(struct pool *pool, uint64_t now_ms, enum key_type *ret_type)
{
	double part;

	if (wait_ms_locked(pool, now_ms) > 0)
		return POOL_NOTHING;
	if (!pool->taken_over) {
		pool->alone = true;
		return POOL_TAKE_OVER;
	}
	if (count_is_due_locked(pool, now_ms)) {
		pool->alone = true;
		return POOL_COUNT;
	}
	*ret_type = (enum key_type)emptiest_locked(pool, &part);
	pool->lines[*ret_type].making++;
	pool->fills++;
	return POOL_FILL;
}

enum pool_work pool_begin(struct pool *pool, uint64_t now_ms, enum key_type *ret_type)
{
	enum pool_work work;

	if (!pool)
		return POOL_NOTHING;
	pthread_mutex_lock(&pool->lock);
	work = begin_locked(pool, now_ms, ret_type);
	pthread_mutex_unlock(&pool->lock);
	return work;
}

void pool_end(struct pool *pool, enum pool_work work, enum key_type type, enum err e, uint64_t now_ms)
{
	pthread_mutex_lock(&pool->lock);
	if (work == POOL_FILL) {
		pool->lines[type].making--;
		pool->fills--;
		pool->filled_ms = now_ms;
		pool->objects += e == E_OK ? 2 : 0;
	} else {
		pool->alone = false;
		if (work == POOL_TAKE_OVER && e == E_OK)
			pool->taken_over = true;
	}
	if (e == E_OK) {
		pool->retry_ms = 0;
		pool->retry_at_ms = 0;
	} else {
		pool->retry_ms = pool->retry_ms ? pool->retry_ms * 2 : RETRY_MIN_MS;
		if (pool->retry_ms > RETRY_MAX_MS)
			pool->retry_ms = RETRY_MAX_MS;
		pool->retry_at_ms = now_ms + pool->retry_ms;
	}
	pthread_mutex_unlock(&pool->lock);
}

bool pool_is_taken_over(struct pool *pool)
{
	bool done;

	if (!pool)
		return true;
	pthread_mutex_lock(&pool->lock);
	done = pool->taken_over || !pool->wanted;
	pthread_mutex_unlock(&pool->lock);
	return done;
}

bool pool_type_is_taken_over(struct pool *pool, enum key_type type)
{
	bool done;

	pthread_mutex_lock(&pool->lock);
	done = pool->types_taken_over & KEY_TYPE_BIT(type);
	pthread_mutex_unlock(&pool->lock);
	return done;
}

void pool_type_taken_over(struct pool *pool, enum key_type type)
{
	pthread_mutex_lock(&pool->lock);
	pool->types_taken_over |= KEY_TYPE_BIT(type);
	pthread_mutex_unlock(&pool->lock);
}

void pool_counted(struct pool *pool, uint64_t objects, uint64_t now_ms)
{
	pthread_mutex_lock(&pool->lock);
	pool->counted = true;
	pool->counted_ms = now_ms;
	pool->objects = objects;
	pthread_mutex_unlock(&pool->lock);
}

/* ---- on and off ---- */

void pool_turn_off(struct pool *pool, const char *why)
{
	pthread_mutex_lock(&pool->lock);
	if (!pool->off)
		pool->off = why;
	pthread_mutex_unlock(&pool->lock);
}

bool pool_is_off(struct pool *pool)
{
	bool off;

	pthread_mutex_lock(&pool->lock);
	off = pool->off != NULL;
	pthread_mutex_unlock(&pool->lock);
	return off;
}

bool pool_relabel_is_untried(struct pool *pool)
{
	bool untried;

	pthread_mutex_lock(&pool->lock);
	untried = !pool->relabel_works;
	pthread_mutex_unlock(&pool->lock);
	return untried;
}

void pool_relabel_works(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->relabel_works = true;
	pthread_mutex_unlock(&pool->lock);
}

/* ---- status ---- */

static const char *detail_locked(const struct pool *pool, uint64_t now_ms)
{
	double part;

	if (pool->off)
		return pool->off;
	if (!pool->wanted)
		return pool->lacking;
	if (!pool->taken_over)
		return "looking for keys of an earlier run";
	if (!emptiest_locked(pool, &part))
		return pool->lacking;
	if (is_full_locked(pool))
		return "not filled: the token holds pool_objects_max objects";
	if (until(pool->retry_at_ms, now_ms))
		return "not filled: making a key failed, the next attempt waits";
	return pool->lacking;
}

void pool_status(struct pool *pool, uint64_t now_ms, struct message_status_reply *reply)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		const struct line *line = &pool->lines[type];
		struct message_pool *level = &reply->pools[reply->pools_len];

		if (!line->target && !line->ready)
			continue;
		*level = (struct message_pool){(enum key_type)type, (uint32_t)line->ready,
					       (uint32_t)line->target};
		reply->pools_len++;
	}
	reply->pool_detail = strdup(detail_locked(pool, now_ms));
	reply->other_nodes = pool->other_nodes;
	reply->other_keys = pool->other_keys;
	pthread_mutex_unlock(&pool->lock);
}
