/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys by their labels, as reconciliation needs them: those that a token lists, or
 * those that it lacks.  Put in one by one, looked up as the rows come by, and gone
 * through in the order in which they were put in.  No step takes long however many
 * there are: nothing is ever sorted or moved.
 */
#ifndef CSRD_API_KEY_LIST_H
#define CSRD_API_KEY_LIST_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "base/key_label.h"
#include "hsm/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_LIST_MAX (1024 * 1024)

struct key_list_key {
	uint8_t bytes[KEY_NAME_BYTES]; /* of the name, or of the CSR's id */
	uint8_t key_id[KEY_ID_BYTES];
	uint8_t presence; /* enum message_key_presence */
	uint8_t life;     /* enum message_key_life */
	bool is_named;    /* else made by csrd 0.1: "csrd:<csr id>" */
	bool marked;      /* the caller's, false at first */
	uint32_t next;    /* key_list.c's */
};

struct key_list_page;
struct key_list {
	uint32_t *heads; /* of chains by hash; NULL: nothing was put in yet */
	struct key_list_page **pages;
	size_t pages_capacity;
	size_t keys_len;
};
/* Zeroed, it is empty. */
void key_list_release(struct key_list *l);

/*
 * Read of `like`: key_id, presence and life.  A label that is there already is not put in again: its presence
 * becomes ambiguous.  E_INVAL: not key_label_is_valid; E_LIMIT: KEY_LIST_MAX; E_NOMEM.
 */
MUST_USE enum err key_list_add(struct key_list *l, const char *label, const struct key_list_key *like);

/* NULL when it is not there.  It may be changed, and stays where it is. */
struct key_list_key *key_list_find(const struct key_list *l, const char *label);

/* i < keys_len; in the order in which they were put in. */
struct key_list_key *key_list_at(const struct key_list *l, size_t i);

void key_list_format_label(const struct key_list_key *key, char label[KEY_LABEL_SIZE]);

#endif
