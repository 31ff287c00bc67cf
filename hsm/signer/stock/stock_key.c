/* SPDX-License-Identifier: Apache-2.0 */
/* Makes, finds, claims and destroys the stock's keys on the token. */
#include "hsm/signer/stock/stock_key.h"

#include "base/failpoint.h"
#include "hsm/signer/key/inventory.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/public_key.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/object.h"

#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

/* All that is asked of a new key; what passes is ready. */
static enum err stock_key_check(struct session *s, const char *label, struct key *key,
				struct stock_key **ret_key)
{
	struct spki *public_key = NULL;
	struct stock_key *ready;
	enum err e;

	if ((e = key_read_back(s, label, key)) != E_OK || (e = public_key_read(s, key, &public_key)) != E_OK)
		return e;
	ready = stock_key_alloc(key, public_key);
	if (!ready) {
		spki_free(public_key);
		return E_NOMEM;
	}
	ready->epoch = session_epoch(s);
	*ret_key = ready;
	return E_OK;
}

enum err stock_key_destroy(struct session *s, const char *label, const struct key *key)
{
	const struct object_query query = {label, key->id};
	uint32_t destroyed;

	return object_destroy(s, &query, &destroyed);
}

/*
 * By the CKA_ID alone, whatever its label is now; and by the handles that the
 * token gave, since a search may miss what was made a moment ago (SoftHSM,
 * while another process is at work on the token).
 */
enum err stock_key_unmake(struct session *s, const char *label, const struct key *key)
{
	enum err e = object_destroy_new(s, key->id);

	if (e != E_OK || s->token->quirks.one_session || key->private_key == CK_INVALID_HANDLE)
		return e;
	return key_destroy_handles(s, key, label);
}

/*
 * Rids the token of what is left of a key that is not to be ready, in one of the
 * two ways above.  The session goes on to tell why the key failed, not how that went.
 */
static void discard(struct session *s, const char *label, const struct key *key,
		    enum err (*rid)(struct session *, const char *, const struct key *))
{
	char failure[sizeof(s->failure)];
	CK_RV last = s->last;

	if (ckr_is_session_lost(last) || ckr_is_device_lost(last))
		return;
	memcpy(failure, s->failure, sizeof(failure));
	if (rid(s, label, key) != E_OK)
		return;
	s->last = last;
	memcpy(s->failure, failure, sizeof(failure));
}

enum err stock_key_make(struct session *s, const char *label, enum key_type type, struct stock_key **ret_key)
{
	uint8_t id[KEY_ID_BYTES];
	struct key key;
	enum err e;

	if ((e = key_new_id(id)) != E_OK)
		return e;
	memset(&key, 0, sizeof(key));
	memcpy(key.id, id, KEY_ID_BYTES);
	e = key_generate(s, type, label, id, &key);
	FAILPOINT("pool.fill.after-keygen");
	if (e == E_OK)
		e = stock_key_check(s, label, &key, ret_key);
	if (e == E_OK)
		return E_OK;
	discard(s, label, &key, stock_key_unmake);
	return e;
}

/* ---- relabelling ---- */

static enum err set_label(struct session *s, CK_OBJECT_HANDLE object, const char *label)
{
	CK_ATTRIBUTE attribute = {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)};
	CK_RV rv = s->token->p11->C_SetAttributeValue(s->handle, object, &attribute, 1);

	return rv == CKR_OK ? E_OK : session_fail(s, "C_SetAttributeValue", rv);
}

static bool is_refusal(CK_RV rv)
{
	return rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
	       rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_ACTION_PROHIBITED ||
	       rv == CKR_FUNCTION_NOT_SUPPORTED || rv == CKR_TEMPLATE_INCONSISTENT ||
	       rv == CKR_FUNCTION_REJECTED;
}

enum err stock_key_try_relabel(struct session *s, const char *label, const struct key *key)
{
	enum err e;

	if ((e = set_label(s, key->private_key, label)) == E_OK)
		e = set_label(s, key->public_key, label);
	return e != E_OK && is_refusal(s->last) ? E_UNSUPPORTED : e;
}

/*
 * A handle may be of a session or an object that is gone, and then stand for
 * nothing or for something else; modules say all sorts of things of it
 * (kryoptic: CKR_GENERAL_ERROR).  What is no loss of the session or the device
 * says that this handle is not to be used.
 */
static enum err is_meant(struct session *s, CK_OBJECT_HANDLE object, CK_OBJECT_CLASS class, const char *label,
			 const uint8_t *id, bool *ret_is)
{
	CK_OBJECT_CLASS actual_class = 0;
	char actual_label[256];
	uint8_t actual_id[64];
	CK_ATTRIBUTE attributes[] = {{CKA_CLASS, &actual_class, sizeof(actual_class)},
				     {CKA_LABEL, actual_label, sizeof(actual_label)},
				     {CKA_ID, actual_id, sizeof(actual_id)}};
	size_t label_len = strlen(label);
	CK_RV rv;

	*ret_is = false;
	if (object == CK_INVALID_HANDLE)
		return E_OK;
	rv = s->token->p11->C_GetAttributeValue(s->handle, object, attributes, 3);
	if (ckr_is_session_lost(rv) || ckr_is_device_lost(rv) || rv == CKR_HOST_MEMORY)
		return session_fail(s, "C_GetAttributeValue", rv);
	if (rv != CKR_OK)
		return E_OK;
	*ret_is = actual_class == class && attributes[1].ulValueLen == label_len &&
		  memcmp(actual_label, label, label_len) == 0 && attributes[2].ulValueLen == KEY_ID_BYTES &&
		  memcmp(actual_id, id, KEY_ID_BYTES) == 0;
	return E_OK;
}

static enum err locate(struct session *s, CK_OBJECT_CLASS class, const char *label, const uint8_t *id,
		       CK_OBJECT_HANDLE *object)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
				   {CKA_TOKEN, &yes, sizeof(yes)},
				   {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)},
				   {CKA_ID, (void *)(uintptr_t)id, KEY_ID_BYTES}};
	CK_OBJECT_HANDLE *handles = NULL;
	size_t len = 0;
	bool is = false;
	enum err e = is_meant(s, *object, class, label, id, &is);

	if (e != E_OK || is)
		return e;
	if ((e = object_search(s, template, 4, INVENTORY_OBJECTS_MAX, &handles, &len)) != E_OK)
		return e;
	if (len == 1)
		e = is_meant(s, handles[0], class, label, id, &is);
	if (e == E_OK && is)
		*object = handles[0];
	else if (e == E_OK)
		e = E_NOTFOUND;
	free(handles);
	return e;
}

enum err stock_key_claim(struct session *s, const char *old_label, const char *label, struct stock_key *ready,
			 bool *ret_touched)
{
	struct key *key = &ready->key;
	enum err e;

	*ret_touched = false;
	if (ready->epoch != session_epoch(s))
		key->private_key = key->public_key = CK_INVALID_HANDLE;
	/* Each says itself that it is the one: a handle of another session may stand for something else. */
	if ((e = locate(s, CKO_PRIVATE_KEY, old_label, key->id, &key->private_key)) == E_OK)
		e = locate(s, CKO_PUBLIC_KEY, old_label, key->id, &key->public_key);
	/* A half that is left.  Under another label it may be somebody's key by now, with this CKA_ID. */
	if (e == E_NOTFOUND)
		discard(s, old_label, key, stock_key_destroy);
	if (e != E_OK)
		return e;
	*ret_touched = true;
	if ((e = set_label(s, key->private_key, label)) != E_OK)
		return e;
	FAILPOINT("pool.claim.after-private");
	if ((e = set_label(s, key->public_key, label)) != E_OK)
		return e;
	FAILPOINT("pool.claim.after-public");
	return key_read_back(s, label, key);
}

/* ---- keys of an earlier run ---- */

struct half {
	uint8_t id[KEY_ID_BYTES];
	CK_OBJECT_HANDLE handle;
	bool is_public;
	bool is_doomed; /* all of that id; on the first of them */
};

static int stock_key_compare(const void *a, const void *b)
{
	const struct half *left = a, *right = b;
	int order = memcmp(left->id, right->id, KEY_ID_BYTES);

	return order ? order : (int)left->is_public - (int)right->is_public;
}

/* Appends those of one class.  An id of another length is none of ours; its object is left alone. */
static enum err find_halves(struct session *s, CK_OBJECT_CLASS class, const char *label, struct half **halves,
			    size_t *halves_len)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
				   {CKA_TOKEN, &yes, sizeof(yes)},
				   {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)}};
	CK_OBJECT_HANDLE *handles = NULL;
	struct half *more;
	size_t len = 0;
	enum err e = object_search(s, template, 3, INVENTORY_OBJECTS_MAX, &handles, &len);

	if (e != E_OK)
		return e;
	more = reallocarray(*halves, *halves_len + len + 1, sizeof(**halves));
	if (more)
		*halves = more;
	else
		e = E_NOMEM;
	for (size_t i = 0; i < len && e == E_OK; i++) {
		struct half *half = &(*halves)[*halves_len];
		uint8_t id[256];
		CK_ATTRIBUTE attribute = {CKA_ID, id, sizeof(id)};

		if (session_must_stop(s)) {
			e = session_break_off(s);
			break;
		}
		e = object_read(s, handles[i], &attribute, 1);
		if (e == E_OK && attribute.ulValueLen == KEY_ID_BYTES) {
			memcpy(half->id, id, KEY_ID_BYTES);
			half->handle = handles[i];
			half->is_public = class == CKO_PUBLIC_KEY;
			half->is_doomed = false;
			(*halves_len)++;
		}
		if (e == E_HSM && s->last == CKR_OK) /* it has none; else nobody knows */
			e = E_OK;
	}
	free(handles);
	return e;
}

static bool is_lost(const struct session *s)
{
	return ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last);
}

/*
 * All that has one id: a pair that passes becomes ready.  *ret_doomed: it is to
 * be destroyed, which is done when all are looked at, since a destroy may void
 * the handles of the others.
 */
static enum err stock_key_look_at(struct session *s, const char *label, enum key_type type,
				  const struct half *halves, size_t len, struct stock_key_found *found,
				  bool *ret_doomed)
{
	struct key key = {
	    .type = type, .private_key = halves[0].handle, .public_key = halves[len - 1].handle};
	struct stock_key *ready = NULL;
	enum err e;

	*ret_doomed = false;
	if (len != 2 || halves[0].is_public || !halves[1].is_public) {
		found->half_pairs++;
		*ret_doomed = true;
		return E_OK;
	}
	memcpy(key.id, halves[0].id, KEY_ID_BYTES);
	s->last = CKR_OK;
	e = stock_key_check(s, label, &key, &ready);
	if (e == E_OK) {
		ready->next = found->first;
		found->first = ready;
		found->pairs++;
	} else if (e == E_HSM && s->last == CKR_OK) {
		found->bad++;
		*ret_doomed = true;
	} else if (is_lost(s) || e == E_NOMEM) {
		return e;
	} else {
		if ((e = session_check_login(s, session_logins(s))) != E_OK) /* that is why */
			return e;
		found->unread++;
	}
	return E_OK;
}

static enum err destroy_doomed(struct session *s, const char *label, const struct half *halves, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		struct key key = {0};
		enum err e;

		if (!halves[i].is_doomed)
			continue;
		if (session_must_stop(s))
			return session_break_off(s);
		memcpy(key.id, halves[i].id, KEY_ID_BYTES);
		if ((e = stock_key_destroy(s, label, &key)) != E_OK)
			return e;
	}
	return E_OK;
}

static void free_found(struct stock_key_found *found)
{
	while (found->first) {
		struct stock_key *key = found->first;

		found->first = key->next;
		stock_key_free(key);
	}
}

enum err stock_key_take_over(struct session *s, const char *label, enum key_type type,
			     struct stock_key_found *ret_found)
{
	struct stock_key_found found = {0};
	struct half *halves = NULL;
	size_t len = 0;
	enum err e;

	if ((e = find_halves(s, CKO_PRIVATE_KEY, label, &halves, &len)) != E_OK ||
	    (e = find_halves(s, CKO_PUBLIC_KEY, label, &halves, &len)) != E_OK)
		goto out;
	qsort(halves, len, sizeof(*halves), stock_key_compare);
	for (size_t i = 0, next; i < len && e == E_OK; i = next) {
		for (next = i + 1; next < len && !memcmp(halves[i].id, halves[next].id, KEY_ID_BYTES);)
			next++;
		if (session_must_stop(s)) {
			e = session_break_off(s);
			break;
		}
		e = stock_key_look_at(s, label, type, halves + i, next - i, &found, &halves[i].is_doomed);
	}
	if (e == E_OK)
		e = destroy_doomed(s, label, halves, len);
	if (e == E_OK)
		*ret_found = found;
	else
		free_found(&found);
out:
	free(halves);
	return e;
}

/* An object with an id of another length is not ours, whatever its label. */
enum err stock_key_destroy_all(struct session *s, const char *label, uint32_t *ret_destroyed)
{
	struct half *halves = NULL;
	size_t len = 0;
	enum err e;

	*ret_destroyed = 0;
	if ((e = find_halves(s, CKO_PRIVATE_KEY, label, &halves, &len)) == E_OK)
		e = find_halves(s, CKO_PUBLIC_KEY, label, &halves, &len);
	if (e == E_OK && len)
		qsort(halves, len, sizeof(*halves), stock_key_compare);
	for (size_t i = 0; i < len && e == E_OK; i++) {
		const struct object_query query = {label, halves[i].id};
		uint32_t destroyed = 0;

		if (i && memcmp(halves[i].id, halves[i - 1].id, KEY_ID_BYTES) == 0)
			continue;
		e = session_must_stop(s) ? session_break_off(s) : object_destroy(s, &query, &destroyed);
		*ret_destroyed += destroyed;
	}
	free(halves);
	return e;
}

enum err stock_key_count_objects(struct session *s, uint64_t *ret_objects)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, sizeof(yes)}};
	CK_OBJECT_HANDLE *handles = NULL;
	size_t len = 0;
	enum err e = object_search(s, template, 1, 2 * INVENTORY_OBJECTS_MAX, &handles, &len);

	if (e == E_OK)
		*ret_objects = len;
	free(handles);
	return e;
}
