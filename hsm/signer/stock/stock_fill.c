/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the stock: keys of an earlier run first, then new ones. */
#include "hsm/signer/stock/stock_fill.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/signer/stock/stock_key.h"
#include "hsm/signer/token/ckr.h"

#include <stdlib.h>

static void refuse_pool(struct session *s, struct stock *stock, const char *why)
{
	log_error("no key pool: token '%s' does not allow the label of a key to be changed: %s",
		  s->token->label, why);
	stock_turn_off(stock, "the token does not allow the label of a key to be changed");
}

/*
 * A token that does not relabel gets no stock: a key that cannot be marked could
 * be given twice.  What only says that it does was found out by the probe.
 */
static enum err ensure_relabel(struct session *s, struct stock *stock, const char *label,
			       const struct key *key)
{
	enum err e;

	if (s->token->relabels_never) {
		refuse_pool(s, stock, "a throw-away key kept its own");
		return E_UNSUPPORTED;
	}
	if (!stock_relabel_is_untried(stock))
		return E_OK;
	e = stock_key_try_relabel(s, label, key);
	if (e == E_OK)
		stock_relabel_works(stock);
	else if (e == E_UNSUPPORTED)
		refuse_pool(s, stock, s->failure);
	return e;
}

static enum err stock_fill_type(struct session *s, struct stock *stock, enum key_type type)
{
	char label[STOCK_LABEL_SIZE];
	struct stock_key *key = NULL;
	enum err e;

	stock_label(stock, type, label);
	if ((e = stock_key_make(s, label, type, &key)) != E_OK)
		return e;
	e = ensure_relabel(s, stock, label, &key->key);
	if (e == E_OK) {
		stock_put(stock, key);
		return E_OK;
	}
	if (e == E_UNSUPPORTED) /* after another error the next run finds it */
		e = stock_key_unmake(s, label, &key->key);
	stock_key_free(key);
	return e;
}

static void put_all(struct stock *stock, struct stock_key *keys)
{
	while (keys) {
		struct stock_key *next = keys->next;

		stock_put(stock, keys);
		keys = next;
	}
}

static enum err take_over_type(struct session *s, struct stock *stock, enum key_type type)
{
	struct stock_key_found found = {0};
	char label[STOCK_LABEL_SIZE];
	enum err e;

	stock_label(stock, type, label);
	if ((e = stock_key_take_over(s, label, type, &found)) != E_OK)
		return e;
	if (found.first && (e = ensure_relabel(s, stock, label, &found.first->key)) != E_OK &&
	    e != E_UNSUPPORTED) {
		while (found.first) {
			struct stock_key *key = found.first;

			found.first = key->next;
			stock_key_free(key);
		}
		return e;
	}
	put_all(stock, found.first);
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
static enum err take_over(struct session *s, struct stock *stock)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		enum err e;

		if (session_must_stop(s))
			return session_break_off(s);
		if (!(s->token->key_types & KEY_TYPE_BIT(type)) ||
		    stock_type_is_taken_over(stock, (enum key_type)type))
			continue;
		if ((e = take_over_type(s, stock, (enum key_type)type)) != E_OK)
			return e;
		stock_type_taken_over(stock, (enum key_type)type);
	}
	return E_OK;
}

static enum err count(struct session *s, struct stock *stock)
{
	uint64_t objects;
	enum err e = stock_key_count_objects(s, &objects);

	if (e == E_OK)
		stock_counted(stock, objects, clock_ms());
	return e;
}

static enum err stock_fill_loop(struct session *s, struct stock *stock, enum stock_work work,
				enum key_type type)
{
	enum err e = session_open(s);

	if (e != E_OK)
		return e;
	switch (work) {
	case STOCK_TAKE_OVER:
		return take_over(s, stock);
	case STOCK_COUNT:
		return count(s, stock);
	case STOCK_FILL:
		return stock_fill_type(s, stock, type);
	case STOCK_NOTHING:
		break;
	}
	return E_OK;
}

enum err stock_fill_run(struct session *s, struct stock *stock, enum stock_work work, enum key_type type)
{
	enum err e;

	s->last = CKR_OK;
	s->failure[0] = '\0';
	e = stock_fill_loop(s, stock, work, type);
	if (e == E_OK)
		e = session_refresh(s);
	if (e == E_OK)
		return E_OK;
	if (session_must_stop(s))
		return e; /* broken off */
	s->doubt |= work == STOCK_FILL && ckr_is_refusal(s->last);
	log_error("pool: cannot %s%s: %s",
		  work == STOCK_FILL    ? "make a key of type "
		  : work == STOCK_COUNT ? "count the objects on the token"
					: "look for keys of an earlier run",
		  work == STOCK_FILL ? key_type_name(type) : "", s->failure[0] ? s->failure : err_str(e));
	if (ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last) || s->last == CKR_OPERATION_ACTIVE)
		session_close(s);
	return e;
}
