/* Fills the pool: keys of an earlier run first, then new ones. */
#include "hsm/signer/stock/pool_fill.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/signer/stock/pool_key.h"
#include "hsm/signer/token/ckr.h"

#include <stdlib.h>

static void refuse_pool(struct session *s, struct pool *pool, const char *why)
{
	log_error("no key pool: token '%s' does not allow the label of a key to be changed: %s",
		  s->token->label, why);
	pool_turn_off(pool, "the token does not allow the label of a key to be changed");
}

/*
 * A token that does not relabel gets no pool: a key that cannot be marked could
 * be given twice.  What only says that it does was found out by the probe.
 */
static enum err ensure_relabel(struct session *s, struct pool *pool, const char *label, const struct key *key)
{
	enum err e;

	if (s->token->relabels_never) {
		refuse_pool(s, pool, "a throw-away key kept its own");
		return E_UNSUPPORTED;
	}
	if (!pool_relabel_is_untried(pool))
		return E_OK;
	e = pool_key_try_relabel(s, label, key);
	if (e == E_OK)
		pool_relabel_works(pool);
	else if (e == E_UNSUPPORTED)
		refuse_pool(s, pool, s->failure);
	return e;
}

static enum err fill(struct session *s, struct pool *pool, enum key_type type)
{
	char label[POOL_LABEL_SIZE];
	struct pool_key *key = NULL;
	enum err e;

	pool_label(pool, type, label);
	if ((e = pool_key_make(s, label, type, &key)))
		return e;
	e = ensure_relabel(s, pool, label, &key->key);
	if (e == E_OK) {
		pool_put(pool, key);
		return E_OK;
	}
	if (e == E_UNSUPPORTED) /* after another error the next run finds it */
		e = pool_key_unmake(s, label, &key->key);
	pool_key_free(key);
	return e;
}

static void put_all(struct pool *pool, struct pool_key *keys)
{
	while (keys) {
		struct pool_key *next = keys->next;

		pool_put(pool, keys);
		keys = next;
	}
}

static enum err take_over_type(struct session *s, struct pool *pool, enum key_type type)
{
	struct pool_key_found found = {0};
	char label[POOL_LABEL_SIZE];
	enum err e;

	pool_label(pool, type, label);
	if ((e = pool_key_take_over(s, label, type, &found)))
		return e;
	if (found.first && (e = ensure_relabel(s, pool, label, &found.first->key)) && e != E_UNSUPPORTED) {
		while (found.first) {
			struct pool_key *key = found.first;

			found.first = key->next;
			pool_key_free(key);
		}
		return e;
	}
	put_all(pool, found.first);
	if (found.pairs)
		log_notice("pool: %zu %s keys of an earlier run are ready", found.pairs, key_type_name(type));
	if (found.half_pairs)
		log_notice("pool: %zu half %s pairs of an earlier run destroyed", found.half_pairs,
			   key_type_name(type));
	if (found.unread)
		log_error("pool: %zu %s keys of an earlier run cannot be read (%s), left alone", found.unread,
			  key_type_name(type), s->failure);
	if (found.bad)
		log_error("pool: %zu %s keys of an earlier run did not pass and are destroyed", found.bad,
			  key_type_name(type));
	return E_OK;
}

/* Type by type: what is in the ledger already is not looked at again after an error. */
static enum err take_over(struct session *s, struct pool *pool)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		enum err e;

		if (session_must_stop(s))
			return session_break_off(s);
		if (!(s->token->key_types & KEY_TYPE_BIT(type)) ||
		    pool_type_is_taken_over(pool, (enum key_type)type))
			continue;
		if ((e = take_over_type(s, pool, (enum key_type)type)))
			return e;
		pool_type_taken_over(pool, (enum key_type)type);
	}
	return E_OK;
}

static enum err count(struct session *s, struct pool *pool)
{
	uint64_t objects;
	enum err e = pool_key_count_objects(s, &objects);

	if (e == E_OK)
		pool_counted(pool, objects, clock_ms());
	return e;
}

static enum err run(struct session *s, struct pool *pool, enum pool_work work, enum key_type type)
{
	enum err e = session_open(s);

	if (e)
		return e;
	switch (work) {
	case POOL_TAKE_OVER:
		return take_over(s, pool);
	case POOL_COUNT:
		return count(s, pool);
	case POOL_FILL:
		return fill(s, pool, type);
	case POOL_NOTHING:
		break;
	}
	return E_OK;
}

enum err pool_fill_run(struct session *s, struct pool *pool, enum pool_work work, enum key_type type)
{
	enum err e;

	s->last = CKR_OK;
	s->failure[0] = '\0';
	e = run(s, pool, work, type);
	if (e == E_OK)
		e = session_refresh(s);
	if (e == E_OK)
		return E_OK;
	if (session_must_stop(s))
		return e; /* broken off */
	s->doubt |= work == POOL_FILL && ckr_is_refusal(s->last);
	log_error("pool: cannot %s%s: %s",
		  work == POOL_FILL    ? "make a key of type "
		  : work == POOL_COUNT ? "count the objects on the token"
				       : "look for keys of an earlier run",
		  work == POOL_FILL ? key_type_name(type) : "", s->failure[0] ? s->failure : err_str(e));
	if (ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last) || s->last == CKR_OPERATION_ACTIVE)
		session_close(s);
	return e;
}
