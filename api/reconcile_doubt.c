/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciliation: active rows whose keys the list lacks.  More than a few are
 * not asked for one by one but looked for in one more list.
 */
#include "api/reconcile_pass.h"

#include "base/clock.h"
#include "base/uuid.h"

#include <stdlib.h>
#include <string.h>

enum err reconcile_doubt_add(struct reconcile *r)
{
	struct key_list_key key = {.presence = MESSAGE_KEY_NONE};
	size_t i = r->doubts.keys_len;
	uint8_t uuid[UUID_BYTES];
	enum err e;

	if (!uuid_to_bytes(r->row.id, uuid))
		return E_STORE;
	if (i == r->doubt_ids_capacity) {
		size_t capacity = i ? 2 * i : 1024;
		uint8_t(*ids)[UUID_BYTES] = reallocarray(r->doubt_ids, capacity, sizeof(*ids));

		if (!ids)
			return E_NOMEM;
		r->doubt_ids = ids;
		r->doubt_ids_capacity = capacity;
	}
	memcpy(key.key_id, r->row.key_id, sizeof(key.key_id));
	e = key_list_add(&r->doubts, r->row.key_label, &key);
	if (e == E_OK && r->doubts.keys_len > i)
		memcpy(r->doubt_ids[i], uuid, sizeof(uuid));
	return e;
}

bool reconcile_doubt_is_full(const struct reconcile *r)
{
	return r->doubts.keys_len >= KEY_LIST_MAX;
}

static void doubt_see(struct reconcile *r, const struct message_listed_key *listed)
{
	struct key_list_key *doubt = key_list_find(&r->doubts, listed->label);

	if (!doubt)
		return;
	if (doubt->presence == MESSAGE_KEY_NONE)
		doubt->presence = (uint8_t)listed->presence;
	else
		doubt->presence = MESSAGE_KEY_AMBIGUOUS;
	doubt->marked =
	    doubt->presence == MESSAGE_KEY_PAIR && !memcmp(doubt->key_id, listed->key_id, KEY_ID_BYTES);
}

static void on_doubts_listed(void *arg, enum err e, const char *detail,
			     const struct message_list_keys_part *part)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_list_failed(r, e, detail);
		return;
	}
	for (size_t i = 0; i < part->keys_len; i++)
		doubt_see(r, &part->keys[i]);
	if (!part->last)
		return;
	r->list_is_whole = part->unread == 0;
	if (part->unread > r->report.unread)
		r->report.unread = part->unread;
	r->doubts_at = 0;
	r->phase = RECONCILE_DOUBTS;
	reconcile_next(r);
}

void reconcile_doubt_tell(struct reconcile *r)
{
	while (r->doubts_at < r->doubts.keys_len) {
		size_t i = r->doubts_at++;
		const struct key_list_key *doubt = key_list_at(&r->doubts, i);

		if (doubt->marked)
			continue;
		memset(&r->row, 0, sizeof(r->row));
		r->row.state = CSR_ACTIVE;
		uuid_format(r->row.id, r->doubt_ids[i]);
		key_list_format_label(doubt, r->row.key_label);
		memcpy(r->row.key_id, doubt->key_id, sizeof(r->row.key_id));
		r->presence = (enum message_key_presence)doubt->presence;
		reconcile_compare_reread_missing(r);
		return;
	}
	key_list_release(&r->doubts);
	r->phase = RECONCILE_KEYS;
	reconcile_next(r);
}

void reconcile_doubt_list(struct reconcile *r)
{
	hsm_list_keys(r->options.hsm, clock_ms() + RECONCILE_LIST_TIMEOUT_MS, on_doubts_listed, r);
}
