/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that are not settled, each with its state, and the rule which step
 * may follow which.  The rule is here alone: for what callers ask to append and
 * for what is read at a start.
 *
 * A step is claimed before its entry is written and then taken or released.
 * Nothing can fail when it is taken.  A name that is claimed looks as it did
 * before to those who search, and takes no other step meanwhile.
 *
 * Not thread-safe.  Private to hsm/signer/journal/.
 */
#ifndef CSRD_HSM_SIGNER_JOURNAL_NAMES_H
#define CSRD_HSM_SIGNER_JOURNAL_NAMES_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/journal/entry.h"
#include "hsm/signer/journal/journal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct names;

MUST_USE enum err names_new(struct names **ret_names); /* E_NOMEM */
void names_free(struct names *names);                  /* NULL is fine */

/*
 * For an entry of any action.  E_BUSY: one of its names is claimed; E_NOTFOUND,
 * E_BUG, E_EXISTS, E_INVAL as journal.h says; E_NOMEM.
 */
MUST_USE enum err names_claim(struct names *names, const struct journal_entry *entry);
/*
 * After names_claim of an entry `made` that leads: for the entry `used` behind it.  E_EXISTS, E_NOMEM; then
 * the first one is to be released with leads false.
 */
MUST_USE enum err names_claim_used_too(struct names *names, const struct journal_entry *used);
/* After names_claim, once: the entry is durable. */
void names_take(struct names *names, const struct journal_entry *entry, uint64_t index);
/* After names_claim, once: it could not be written. */
void names_release(struct names *names, const struct journal_entry *entry);

/* Puts a name there in its state, as a snapshot has it.  E_EXISTS, E_NOMEM. */
MUST_USE enum err names_restore(struct names *names, const struct journal_key *key);
/* After all of them.  E_NOMEM. */
MUST_USE enum err names_end_restore(struct names *names);

/* How often blocks were opened. */
uint64_t names_opens(const struct names *names);
void names_set_opens(struct names *names, uint64_t opens); /* as a snapshot has it */

/* Borrowed until the next call but these three; NULL: there is none. */
const struct journal_key *names_find(const struct names *names, const char *name);
const struct journal_key *names_find_csr(const struct names *names, const char *csr);

/* Copies of those that are used, by the index of that entry, from `from` on.  Returns how many; ret_more:
 * there are others. */
size_t names_list_used(const struct names *names, uint64_t from, struct journal_key *keys, size_t max,
		       bool *ret_more);

/* Sorted by name. */
typedef void (*names_each_fn)(const struct journal_key *key, void *arg);
void names_each(const struct names *names, names_each_fn each, void *arg);

#endif
