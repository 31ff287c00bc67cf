/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about keys before they are made, used or gone: names in
 * the signer's journal, and the node's word on the token (word.h), each in the
 * order in which a crash at any instant, or a folder that was copied back, can
 * be told from the truth.
 *
 *   a name is reserved       before a key is made under it
 *   a block is opened        before its first key is used: in the journal, then on the token
 *   what could not be destroyed is destroyed again and again, until it is proven gone
 *
 * Thread-safe.
 */
#ifndef CSRD_HSM_SIGNER_STOCK_BOOK_H
#define CSRD_HSM_SIGNER_STOCK_BOOK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key_name.h"
#include "hsm/signer/journal/journal.h"
#include "hsm/signer/stock/stock.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>
#include <stdint.h>

struct book;

/*
 * All borrowed.  report: of the journal, which was just opened; what is in it now is of an earlier run.
 * E_NOMEM, E_IO (no random bytes).
 */
MUST_USE enum err book_new(struct journal *journal, const struct journal_report *report, struct stock *stock,
			   struct book **ret_book);
void book_free(struct book *book); /* NULL is fine */

struct journal *book_journal(struct book *book);
struct stock *book_stock(struct book *book);

/* ---- names ---- */

/*
 * A reserved name, which is the caller's alone.  As journal_reserve.  The session tells what failed.  The
 * word on the token is written anew for each block of names, if it can be: with it an older journal is told
 * from this one.
 */
MUST_USE enum err book_reserve(struct book *book, struct session *s, enum key_type type,
			       char ret_name[KEY_NAME_SIZE]);
/* Nothing was made under it. */
void book_give_back(struct book *book, enum key_type type, const char *name);

/* The entry for a key that was read back; `attributes` is filled and must outlive it. */
void book_describe_made(const char *name, const struct key *key, const struct spki *public_key,
			struct buf *attributes, struct journal_made *ret_made);
/* A key was read back.  As journal_made. */
MUST_USE enum err book_made(struct book *book, const char *name, const struct key *key,
			    const struct spki *public_key);

/* Nothing of it is on the token, which is proven.  Where that cannot be written now it is later. */
void book_is_gone(struct book *book, const char *name, uint32_t objects, const char *why);

/* Something of it may be on the token, and is to be destroyed: as STOCK_TIDY. */
void book_doom(struct book *book, const char *name, const char *why);

/* ---- for the stock ---- */

/*
 * Opens the next block of a type; unless `ahead`, only if none is open.  E_OK also when there is nothing to
 * be opened.  The session tells what failed: E_UNAVAIL, E_NOMEM, as session_fail.
 */
MUST_USE enum err book_open_block(struct book *book, struct session *s, enum key_type type, bool ahead);

/* Tells the token which keys are closed; with `all` the open ones count as closed again, at a clean stop. */
MUST_USE enum err book_tell(struct book *book, struct session *s, bool all);

/* Settles what an earlier run left: once, again after an error.  Logs what it came to. */
MUST_USE enum err book_take_over(struct book *book, struct session *s);

/* Destroys what is doomed. */
MUST_USE enum err book_tidy(struct book *book, struct session *s);

/* Nothing is doomed any more: the end of the process may be called a clean one. */
bool book_is_tidy(struct book *book);

#endif
