/* SPDX-License-Identifier: Apache-2.0 */
/* Makes, finds and destroys the stock's keys on the token. */
#include "hsm/signer/stock/stock_key.h"

#include "base/failpoint.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/public_key.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/object.h"

#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

/* All that is asked of a new key; what passes is ready. */
static enum err stock_key_check(struct session *s, const char *name, struct key *key,
				struct stock_key **ret_key)
{
	struct spki *public_key = NULL;
	struct stock_key *ready;
	enum err e;

	if ((e = key_read_back(s, name, key)) != E_OK || (e = public_key_read(s, key, &public_key)) != E_OK)
		return e;
	ready = stock_key_alloc(name, key, public_key);
	if (!ready) {
		spki_free(public_key);
		return E_NOMEM;
	}
	ready->epoch = session_epoch(s);
	*ret_key = ready;
	return E_OK;
}

/*
 * By the CKA_ID alone, whatever its label is; and by the handles that the token gave, since a search may
 * miss what was made a moment ago (SoftHSM, while another process is at work on the token).
 */
static enum err stock_key_unmake(struct session *s, const char *name, const struct key *key,
				 uint32_t *ret_destroyed)
{
	enum err e = object_destroy_new(s, key->id, name, ret_destroyed);

	if (e != E_OK || s->token->quirks.one_session || key->private_key == CK_INVALID_HANDLE)
		return e;
	return key_destroy_handles(s, key, name);
}

/*
 * Rids the token of what is left of a key that is not to be ready.  The session goes on to tell why the key
 * failed, not how that went.
 */
static bool discard(struct session *s, const char *name, const struct key *key, uint32_t *ret_destroyed)
{
	char failure[sizeof(s->failure)];
	CK_RV last = s->last;
	bool gone;

	if (ckr_is_session_lost(last) || ckr_is_device_lost(last))
		return false;
	memcpy(failure, s->failure, sizeof(failure));
	gone = stock_key_unmake(s, name, key, ret_destroyed) == E_OK;
	s->last = last;
	memcpy(s->failure, failure, sizeof(failure));
	return gone;
}

enum err stock_key_make(struct session *s, const char *name, enum key_type type, struct stock_key **ret_key,
			struct stock_key_rest *ret_rest)
{
	struct key key = {.type = type};
	enum err e = E_OK;

	if (!key_name_parse(name, key.id))
		return E_BUG;
	*ret_rest = (struct stock_key_rest){0};
	e = key_generate(s, type, name, key.id, &key);
	FAILPOINT("pool.fill.after-keygen");
	if (e == E_OK)
		e = stock_key_check(s, name, &key, ret_key);
	if (e != E_OK)
		ret_rest->is_gone = discard(s, name, &key, &ret_rest->destroyed);
	return e;
}

/* ---- keys of an earlier run ---- */

static bool is_lost(const struct session *s)
{
	return ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last);
}

/* How many of a label there are of each class, and the handles of the first. */
struct halves {
	size_t private_keys;
	size_t public_keys;
};

static enum err find_class(struct session *s, CK_OBJECT_CLASS class, const char *name,
			   CK_OBJECT_HANDLE *ret_first, size_t *ret_len)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
				   {CKA_TOKEN, &yes, sizeof(yes)},
				   {CKA_LABEL, (void *)(uintptr_t)name, strlen(name)}};
	struct object_handles found = {0};
	enum err e = object_search(s, template, 3, INVENTORY_OBJECTS_MAX, &found);

	if (e == E_OK) {
		*ret_first = found.len ? found.at[0] : CK_INVALID_HANDLE;
		*ret_len = found.len;
	}
	free(found.at);
	return e;
}

static enum err find_pair(struct session *s, const struct inventory *inventory, const char *name,
			  struct key *key, struct halves *ret_halves)
{
	enum err e;

	if (inventory) {
		uint8_t id[KEY_ID_BYTES];
		bool is_pair = inventory_find_pair(inventory, name, &key->private_key, &key->public_key, id);

		ret_halves->private_keys = is_pair || inventory_has(inventory, name);
		ret_halves->public_keys = is_pair;
		return E_OK;
	}
	e = find_class(s, CKO_PRIVATE_KEY, name, &key->private_key, &ret_halves->private_keys);
	if (e == E_OK)
		e = find_class(s, CKO_PUBLIC_KEY, name, &key->public_key, &ret_halves->public_keys);
	return e;
}

enum err stock_key_look_up(struct session *s, const struct inventory *inventory, const char *name,
			   enum key_type type, struct stock_key_look *ret_look)
{
	struct stock_key_look look = {.state = STOCK_KEY_GONE};
	struct key key = {.type = type};
	struct halves halves = {0};
	enum err e;

	if (!key_name_parse(name, key.id))
		return E_BUG;
	s->last = CKR_OK;
	if ((e = find_pair(s, inventory, name, &key, &halves)) != E_OK)
		return e;
	if (halves.private_keys == 1 && halves.public_keys == 1) {
		e = stock_key_check(s, name, &key, &look.key);
		if (is_lost(s) || e == E_NOMEM)
			return e;
		if (e != E_OK && !(e == E_HSM && s->last == CKR_OK)) {
			look.state = STOCK_KEY_UNREAD;
			if ((e = session_check_login(s, session_logins(s))) != E_OK) /* that is why */
				return e;
		} else {
			look.state = e == E_OK ? STOCK_KEY_READY : STOCK_KEY_BAD;
		}
	} else if (halves.private_keys || halves.public_keys) {
		look.state = STOCK_KEY_BAD;
	}
	*ret_look = look;
	return E_OK;
}

/* By its label, and by the id that it was made with: that the token did not keep one of them may be why it
 * goes. */
enum err stock_key_destroy(struct session *s, const char *name, uint32_t *ret_destroyed)
{
	uint8_t id[KEY_ID_BYTES];
	const struct object_query by_label = {name, NULL}, by_id = {NULL, id};
	uint32_t more = 0;
	enum err e = object_destroy(s, &by_label, ret_destroyed);

	if (e != E_OK || s->token->ids_own || !key_name_parse(name, id))
		return e;
	e = object_destroy(s, &by_id, &more);
	*ret_destroyed += more;
	return e;
}

/* ---- the stock of csrd 0.1 ---- */

static int stock_key_compare(const void *a, const void *b)
{
	return memcmp(a, b, KEY_ID_BYTES);
}

/* Ids of the objects under that label, sorted.  One of another length is none of ours; its object is left
 * alone. */
static enum err stock_key_find_ids(struct session *s, const char *label, uint8_t (**ret_ids)[KEY_ID_BYTES],
				   size_t *ret_len)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, sizeof(yes)},
				   {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)}};
	struct object_handles found = {0};
	uint8_t(*ids)[KEY_ID_BYTES];
	size_t len = 0;
	enum err e = object_search(s, template, 2, 2 * INVENTORY_OBJECTS_MAX, &found);

	if (e != E_OK)
		return e;
	ids = calloc(found.len + 1, sizeof(*ids));
	if (!ids)
		e = E_NOMEM;
	for (size_t i = 0; i < found.len && e == E_OK; i++) {
		uint8_t id[256];
		CK_ATTRIBUTE attribute = {CKA_ID, id, sizeof(id)};

		e = session_must_stop(s) ? session_break_off(s) : object_read(s, found.at[i], &attribute, 1);
		if (e == E_OK && attribute.ulValueLen == KEY_ID_BYTES)
			memcpy(ids[len++], id, KEY_ID_BYTES);
		if (e == E_HSM && s->last == CKR_OK) /* it has none; else nobody knows */
			e = E_OK;
	}
	free(found.at);
	if (e != E_OK) {
		free(ids);
		return e;
	}
	qsort(ids, len, sizeof(*ids), stock_key_compare);
	*ret_ids = ids;
	*ret_len = len;
	return E_OK;
}

enum err stock_key_destroy_0_1(struct session *s, const char *label, uint32_t *ret_destroyed)
{
	uint8_t(*ids)[KEY_ID_BYTES] = NULL;
	size_t len = 0;
	enum err e;

	*ret_destroyed = 0;
	e = stock_key_find_ids(s, label, &ids, &len);
	for (size_t i = 0; i < len && e == E_OK; i++) {
		const struct object_query query = {label, ids[i]};
		uint32_t destroyed = 0;

		if (i && memcmp(ids[i], ids[i - 1], KEY_ID_BYTES) == 0)
			continue;
		e = session_must_stop(s) ? session_break_off(s) : object_destroy(s, &query, &destroyed);
		*ret_destroyed += destroyed;
	}
	free(ids);
	return e;
}

enum err stock_key_count_objects(struct session *s, uint64_t *ret_objects)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, sizeof(yes)}};
	struct object_handles found = {0};
	enum err e = object_search(s, template, 1, 2 * INVENTORY_OBJECTS_MAX, &found);

	if (e == E_OK)
		*ret_objects = found.len;
	free(found.at);
	return e;
}
