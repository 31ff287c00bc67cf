/* SPDX-License-Identifier: Apache-2.0 */
/* Looks after the stock: what an earlier run left first, then new keys. */
#include "hsm/signer/stock/stock_fill.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "hsm/signer/stock/stock_key.h"
#include "hsm/signer/token/ckr.h"

static enum err stock_fill_type(struct session *s, struct book *book, enum key_type type)
{
	char name[KEY_NAME_SIZE];
	struct stock_key_rest rest;
	struct stock_key *key = NULL;
	enum err e;

	if ((e = book_reserve(book, s, type, name)) != E_OK)
		return e;
	e = stock_key_make(s, name, type, &key, &rest);
	if (e == E_OK) {
		e = book_made(book, name, &key->key, key->public_key);
		FAILPOINT("pool.fill.after-made");
		if (e == E_OK) {
			stock_put(book_stock(book), key);
			return E_OK;
		}
		session_explain(s, "the journal cannot be written: %s", err_str(e));
		rest = (struct stock_key_rest){0};
		stock_key_free(key);
	}
	if (rest.is_gone)
		book_is_gone(book, name, rest.destroyed, s->failure);
	else
		book_doom(book, name, s->failure);
	return e;
}

static enum err count(struct session *s, struct stock *stock)
{
	uint64_t objects;
	enum err e = stock_key_count_objects(s, &objects);

	if (e == E_OK)
		stock_counted(stock, objects, clock_ms());
	return e;
}

static enum err stock_fill_do(struct session *s, struct book *book, enum stock_work work, enum key_type type)
{
	enum err e = session_open(s);

	if (e != E_OK)
		return e;
	switch (work) {
	case STOCK_TAKE_OVER:
		return book_take_over(book, s);
	case STOCK_TIDY:
		return book_tidy(book, s);
	case STOCK_OPEN:
		return book_open_block(book, s, type, true);
	case STOCK_COUNT:
		return count(s, book_stock(book));
	case STOCK_FILL:
		return stock_fill_type(s, book, type);
	case STOCK_TELL:
		return book_tell(book, s, false);
	case STOCK_NOTHING:
		break;
	}
	return E_OK;
}

static const char *words_for(enum stock_work work)
{
	switch (work) {
	case STOCK_TAKE_OVER:
		return "settle what an earlier run left";
	case STOCK_TIDY:
		return "destroy a key that is to go";
	case STOCK_OPEN:
		return "open a block of keys of type ";
	case STOCK_COUNT:
		return "count the objects on the token";
	case STOCK_FILL:
		return "make a key of type ";
	case STOCK_TELL:
		return "tell the token which keys are ready";
	case STOCK_NOTHING:
		break;
	}
	return "";
}

enum err stock_fill_run(struct session *s, struct book *book, enum stock_work work, enum key_type type)
{
	bool is_of_type = work == STOCK_OPEN || work == STOCK_FILL;
	enum err e;

	s->last = CKR_OK;
	s->failure[0] = '\0';
	e = stock_fill_do(s, book, work, type);
	if (e == E_OK)
		e = session_refresh(s);
	if (e == E_OK)
		return E_OK;
	if (session_must_stop(s))
		return e; /* broken off */
	s->doubt |= work == STOCK_FILL && ckr_is_refusal(s->last);
	log_error("pool: cannot %s%s: %s", words_for(work), is_of_type ? key_type_name(type) : "",
		  s->failure[0] ? s->failure : err_str(e));
	if (ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last) || s->last == CKR_OPERATION_ACTIVE)
		session_close(s);
	return e;
}
