/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciliation: active rows whose keys the list lacks.  More than a few are
 * not asked for one by one but looked for in one more list.
 */
#include "api/reconcile_pass.h"

#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"

#include <stdlib.h>
#include <string.h>

#define DOUBTS_MAX (1024 * 1024) /* of one more list */

static int doubt_compare(const void *key, const void *member)
{
	return memcmp(key, ((const struct reconcile_doubt *)member)->uuid, UUID_BYTES);
}

enum err reconcile_doubt_add(struct reconcile *r, const struct reconcile_row *row)
{
	struct reconcile_doubt *doubt;

	if (r->doubts_len == r->doubts_capacity) {
		size_t capacity = r->doubts_capacity ? 2 * r->doubts_capacity : 1024;
		struct reconcile_doubt *doubts = reallocarray(r->doubts, capacity, sizeof(*doubts));

		if (!doubts)
			return E_NOMEM;
		r->doubts = doubts;
		r->doubts_capacity = capacity;
	}
	doubt = &r->doubts[r->doubts_len++];
	memset(doubt, 0, sizeof(*doubt));
	memcpy(doubt->uuid, row->uuid, sizeof(doubt->uuid));
	memcpy(doubt->key_id, row->key_id, sizeof(doubt->key_id));
	return E_OK;
}

bool reconcile_doubt_is_full(const struct reconcile *r)
{
	return r->doubts_len >= DOUBTS_MAX;
}

static void doubt_see(struct reconcile *r, const struct message_listed_key *listed)
{
	uint8_t uuid[UUID_BYTES];
	struct reconcile_doubt *doubt;

	if (!str_starts_with(listed->label, RECONCILE_LABEL_PREFIX) ||
	    !uuid_to_bytes(listed->label + sizeof(RECONCILE_LABEL_PREFIX) - 1, uuid))
		return;
	doubt = bsearch(uuid, r->doubts, r->doubts_len, sizeof(*doubt), doubt_compare);
	if (!doubt)
		return;
	if (doubt->presence == MESSAGE_KEY_NONE)
		doubt->presence = (uint8_t)listed->presence;
	else
		doubt->presence = MESSAGE_KEY_AMBIGUOUS;
	doubt->same =
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
	r->telling_doubts = true;
	reconcile_next(r);
}

void reconcile_doubt_tell(struct reconcile *r)
{
	while (r->doubts_at < r->doubts_len) {
		const struct reconcile_doubt *doubt = &r->doubts[r->doubts_at++];

		if (doubt->same)
			continue;
		memset(&r->row, 0, sizeof(r->row));
		r->row.state = CSR_ACTIVE;
		uuid_format(r->row.id, doubt->uuid);
		memcpy(r->row.key_id, doubt->key_id, sizeof(r->row.key_id));
		r->presence = (enum message_key_presence)doubt->presence;
		reconcile_compare_reread_missing(r);
		return;
	}
	r->doubts_len = 0;
	r->telling_doubts = false;
	reconcile_next(r);
}

void reconcile_doubt_list(struct reconcile *r)
{
	hsm_list_keys(r->options.hsm, clock_ms() + RECONCILE_LIST_TIMEOUT_MS, on_doubts_listed, r);
}
