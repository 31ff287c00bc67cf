/* SPDX-License-Identifier: Apache-2.0 */
/* Searches for key objects, destroys them and proves that they are gone. */
#include "hsm/signer/token/object.h"

#include "base/failpoint.h"
#include "base/key_name.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/remains.h"

#include <stdlib.h>
#include <string.h>

#define SEARCH_BATCH 256
#define SAME_LABEL_MAX 1024 /* objects under one label; more is a token gone wrong */
#define DESTROY_ROUNDS 3

/* ---- search ---- */

static enum err object_grow(CK_OBJECT_HANDLE **handles, size_t *capacity, size_t needed)
{
	size_t wanted = *capacity ? *capacity : SEARCH_BATCH;
	CK_OBJECT_HANDLE *bigger;

	while (wanted < needed)
		wanted *= 2;
	if (wanted == *capacity)
		return E_OK;
	bigger = reallocarray(*handles, wanted, sizeof(**handles));
	if (!bigger)
		return E_NOMEM;
	*handles = bigger;
	*capacity = wanted;
	return E_OK;
}

/* The active search of the session, read to its end. */
static enum err object_collect(struct session *s, size_t max, CK_OBJECT_HANDLE **handles, size_t *len)
{
	size_t capacity = 0;
	enum err e;

	for (;;) {
		CK_ULONG got = 0;
		CK_RV rv;

		if ((e = object_grow(handles, &capacity, *len + SEARCH_BATCH)) != E_OK)
			return e;
		rv = s->token->p11->C_FindObjects(s->handle, *handles + *len, SEARCH_BATCH, &got);
		if (rv != CKR_OK)
			return session_fail(s, "C_FindObjects", rv);
		if (got == 0)
			return E_OK;
		if (session_must_stop(s))
			return session_break_off(s);
		if (got > SEARCH_BATCH) {
			session_explain(s, "C_FindObjects gave more objects than asked for");
			return E_HSM;
		}
		*len += got;
		if (*len > max) {
			session_explain(s, "more than %zu objects", max);
			return E_LIMIT;
		}
	}
}

enum err object_search(struct session *s, CK_ATTRIBUTE *template, size_t template_len, size_t max,
		       struct object_handles *ret_handles)
{
	CK_OBJECT_HANDLE *handles = NULL;
	const uint64_t logins = session_logins(s);
	size_t len = 0;
	CK_RV rv = s->token->p11->C_FindObjectsInit(s->handle, template, template_len);
	enum err e;

	if (rv != CKR_OK)
		return session_fail(s, "C_FindObjectsInit", rv);
	e = object_collect(s, max, &handles, &len);
	rv = s->token->p11->C_FindObjectsFinal(s->handle);
	if (e == E_OK && rv != CKR_OK)
		e = session_fail(s, "C_FindObjectsFinal", rv);
	if (e == E_OK)
		e = session_check_login(s, logins);
	if (e != E_OK) {
		free(handles);
		return e;
	}
	*ret_handles = (struct object_handles){handles, len};
	return E_OK;
}

enum err object_read(struct session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, size_t len)
{
	CK_ULONG max[OBJECT_READ_MAX];
	CK_RV rv;

	if (len > OBJECT_READ_MAX)
		return E_BUG;
	for (size_t i = 0; i < len; i++)
		max[i] = attributes[i].ulValueLen;
	rv = s->token->p11->C_GetAttributeValue(s->handle, object, attributes, len);
	if (rv == CKR_OK) {
		for (size_t i = 0; i < len; i++) {
			if (attributes[i].ulValueLen <= max[i])
				continue;
			session_explain(s, "attribute 0x%lx has no usable length", attributes[i].type);
			return E_HSM;
		}
		return E_OK;
	}
	if (rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE) {
		/* About the object, not the session: BUFFER_TOO_SMALL leaves nothing active here. */
		session_explain(s, "attributes of a key: %s (0x%lx)", CKR_ARGS(rv));
		return E_HSM;
	}
	return session_fail(s, "C_GetAttributeValue", rv);
}

/* The token answered that the object has no such attribute; else nobody knows. */
static bool is_about_object(const struct session *s, enum err e)
{
	return e == E_HSM && s->last == CKR_OK;
}

/* What a search found, by class. */
struct matches {
	CK_OBJECT_HANDLE *handles; /* private keys first */
	size_t private_keys;
	size_t public_keys;
};

static enum err read_class(struct session *s, CK_OBJECT_HANDLE object, CK_OBJECT_CLASS *ret_class)
{
	CK_OBJECT_CLASS class = CK_UNAVAILABLE_INFORMATION;
	CK_ATTRIBUTE attribute = {CKA_CLASS, &class, sizeof(class)};
	enum err e = object_read(s, object, &attribute, 1);

	if (e != E_OK)
		return e;
	if (attribute.ulValueLen != sizeof(class)) {
		session_explain(s, "the class of an object has a wrong length");
		return E_HSM;
	}
	*ret_class = class;
	return E_OK;
}

/* Sorts the handles by class and forgets those of other classes. */
static enum err sort_out(struct session *s, struct matches *m, size_t len)
{
	CK_OBJECT_HANDLE publics[SAME_LABEL_MAX];

	for (size_t i = 0; i < len; i++) {
		CK_OBJECT_CLASS class;
		enum err e = read_class(s, m->handles[i], &class);

		if (e != E_OK)
			return e;
		if (class == CKO_PRIVATE_KEY)
			m->handles[m->private_keys++] = m->handles[i];
		else if (class == CKO_PUBLIC_KEY)
			publics[m->public_keys++] = m->handles[i];
	}
	memcpy(m->handles + m->private_keys, publics, m->public_keys * sizeof(publics[0]));
	return E_OK;
}

/*
 * Private and public keys in one search: on a token of some thousand objects
 * the search is what costs.  An object that is found and cannot be read is an
 * error, because nobody knows that it is none; it may have gone between search
 * and read, so there is a second search.  *ret_matches is owned: free its handles.
 */
static enum err find_keys(struct session *s, const struct object_query *query, struct matches *ret_matches)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[3] = {{CKA_TOKEN, &yes, sizeof(yes)}};
	size_t template_len = 1;
	enum err e;

	if (query->label)
		template[template_len++] =
		    (CK_ATTRIBUTE){CKA_LABEL, (void *)(uintptr_t)query->label, strlen(query->label)};
	if (query->key_id)
		template[template_len++] =
		    (CK_ATTRIBUTE){CKA_ID, (void *)(uintptr_t)query->key_id, KEY_ID_BYTES};
	for (int tries = 0;; tries++) {
		struct object_handles found = {0};
		struct matches m = {0};

		e = object_search(s, template, template_len, SAME_LABEL_MAX, &found);
		m.handles = found.at;
		if (e == E_OK)
			e = sort_out(s, &m, found.len);
		if (e == E_OK) {
			*ret_matches = m;
			return E_OK;
		}
		free(m.handles);
		if (!ckr_is_object_gone(s->last) || tries > 0)
			return e;
	}
}

/* What the token can tell apart. */
static struct object_query object_handle(const struct session *s, const struct object_query *query)
{
	return (struct object_query){query->label, s->token->ids_own && query->label ? NULL : query->key_id};
}

/* A half-written object may have no id: that is the empty one. */
static enum err read_id(struct session *s, CK_OBJECT_HANDLE object, uint8_t id[KEY_ID_BYTES], size_t *ret_len)
{
	uint8_t raw[256];
	CK_ATTRIBUTE attribute = {CKA_ID, raw, sizeof(raw)};
	enum err e = object_read(s, object, &attribute, 1);
	size_t len = e != E_OK ? 0 : attribute.ulValueLen;

	if (e != E_OK && !is_about_object(s, e))
		return e;
	memset(id, 0, KEY_ID_BYTES);
	memcpy(id, raw, len < KEY_ID_BYTES ? len : KEY_ID_BYTES);
	*ret_len = len;
	return E_OK;
}

static enum err look_at_ids(struct session *s, const CK_OBJECT_HANDLE *handles, size_t len, bool *seen,
			    struct object_found *found)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t id[KEY_ID_BYTES];
		size_t id_len;
		enum err e = read_id(s, handles[i], id, &id_len);

		if (e != E_OK)
			return e;
		if (*seen && memcmp(id, found->key_id, KEY_ID_BYTES) != 0)
			found->ids_differ = true;
		if (!*seen)
			memcpy(found->key_id, id, KEY_ID_BYTES);
		*seen = true;
	}
	return E_OK;
}

/* What was not found may be there all the same. */
static enum err check_hidden(struct session *s, const struct object_query *query)
{
	if (!remains_may_hide(gate_remains(s->gate), query->label, query->key_id, KEY_ID_BYTES))
		return E_OK;
	s->hidden = true;
	session_explain(s, "it is not found, but the token refused to destroy it: it may be there still");
	return E_HSM;
}

void object_name_id(const char *label, size_t len, uint8_t id[KEY_ID_BYTES])
{
	char name[KEY_NAME_SIZE] = "";
	uint8_t named[KEY_NAME_BYTES];

	if (len != KEY_NAME_LEN)
		return;
	memcpy(name, label, len);
	if (key_name_parse(name, named))
		memcpy(id, named, KEY_ID_BYTES);
}

static enum err object_find_once(struct session *s, const struct object_query *query,
				 struct object_found *found)
{
	struct matches m;
	bool seen = false;
	enum err e;

	memset(found, 0, sizeof(*found));
	if ((e = find_keys(s, query, &m)) != E_OK)
		return e;
	found->private_keys = m.private_keys;
	found->public_keys = m.public_keys;
	e = look_at_ids(s, m.handles, m.private_keys + m.public_keys, &seen, found);
	free(m.handles);
	if (e == E_OK && s->token->ids_own && seen) {
		found->ids_differ = false;
		if (query->label)
			object_name_id(query->label, strlen(query->label), found->key_id);
	}
	return e;
}

/* An object may go between the search and the look at it, and so may the login: a second search tells. */
enum err object_find(struct session *s, const struct object_query *query, struct object_found *ret_found)
{
	const struct object_query handle = object_handle(s, query);
	struct object_found found;
	enum err e = object_find_once(s, &handle, &found);

	if (e != E_OK && ckr_is_object_gone(s->last))
		e = object_find_once(s, &handle, &found);
	if (e == E_OK && object_presence(&found) != MESSAGE_KEY_PAIR)
		e = check_hidden(s, &handle);
	if (e == E_OK)
		*ret_found = found;
	return e;
}

enum message_key_presence object_presence(const struct object_found *found)
{
	if (!found->private_keys && !found->public_keys)
		return MESSAGE_KEY_NONE;
	if (found->private_keys > 1 || found->public_keys > 1 || found->ids_differ)
		return MESSAGE_KEY_AMBIGUOUS;
	if (!found->private_keys)
		return MESSAGE_KEY_PUBLIC_ONLY;
	return found->public_keys ? MESSAGE_KEY_PAIR : MESSAGE_KEY_PRIVATE_ONLY;
}

/* ---- destroy ---- */

static void keep(uint8_t *dst, size_t max, size_t *ret_len, const CK_ATTRIBUTE *attribute)
{
	size_t len = attribute->ulValueLen;

	if (len == CK_UNAVAILABLE_INFORMATION) /* a half-written object may have none */
		len = 0;
	*ret_len = len < max ? len : max;
	memcpy(dst, attribute->pValue, *ret_len);
}

/*
 * Before something is destroyed for good it must say itself that it is the one
 * meant.  *ret_gone: it is not there any more, and nothing else is set.
 */
static enum err check_meant(struct session *s, CK_OBJECT_HANDLE object, const struct object_query *query,
			    struct remains_object *ret_object, bool *ret_gone)
{
	uint8_t label[256], id[256];
	CK_ATTRIBUTE attributes[] = {{CKA_LABEL, label, sizeof(label)}, {CKA_ID, id, sizeof(id)}};
	CK_RV rv = s->token->p11->C_GetAttributeValue(s->handle, object, attributes, 2);
	bool differs;

	*ret_gone = ckr_is_object_gone(rv);
	if (*ret_gone)
		return E_OK;
	if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_BUFFER_TOO_SMALL)
		return session_fail(s, "C_GetAttributeValue", rv);
	differs = query->label && (attributes[0].ulValueLen != strlen(query->label) ||
				   memcmp(label, query->label, strlen(query->label)) != 0);
	differs |= query->key_id &&
		   (attributes[1].ulValueLen != KEY_ID_BYTES || memcmp(id, query->key_id, KEY_ID_BYTES) != 0);
	if (differs) {
		session_explain(s, "a search for '%s' gave an object with another label or id",
				query->label ? query->label : "an id");
		return E_HSM;
	}
	keep(ret_object->label, sizeof(ret_object->label), &ret_object->label_len, &attributes[0]);
	keep(ret_object->id, sizeof(ret_object->id), &ret_object->id_len, &attributes[1]);
	return E_OK;
}

/* E_OK: it is gone, by the word of the token. */
static enum err destroy_one(struct session *s, CK_OBJECT_HANDLE handle, CK_OBJECT_CLASS class,
			    const struct object_query *query)
{
	struct remains *remains = gate_remains(s->gate);
	struct remains_object object = {.class = class};
	bool gone = false;
	enum err e = check_meant(s, handle, query, &object, &gone);
	CK_RV rv;

	if (e != E_OK || gone)
		return e;
	rv = s->token->p11->C_DestroyObject(s->handle, handle);
	s->stale = true;
	if (rv == CKR_OK || ckr_is_object_gone(rv)) {
		if (rv == CKR_OK)
			remains_drop(remains, &object);
		return E_OK;
	}
	/* Turned away before anything was done, or not allowed for such an object. */
	if (!ckr_is_session_lost(rv) && rv != CKR_ACTION_PROHIBITED)
		remains_put(remains, &object);
	return session_fail(s, "C_DestroyObject", rv);
}

/* Objects that went are counted in *destroyed; the first refusal is returned after the rest was tried. */
static enum err destroy_all(struct session *s, const CK_OBJECT_HANDLE *handles, size_t len,
			    CK_OBJECT_CLASS class, const struct object_query *query, uint32_t *destroyed)
{
	enum err e, first = E_OK;

	for (size_t i = 0; i < len; i++) {
		e = destroy_one(s, handles[i], class, query);
		*destroyed += e == E_OK;
		if (first == E_OK)
			first = e;
	}
	return first;
}

/* *ret_public: how it went with the public keys, which may be gone all the same. */
static enum err destroy_round(struct session *s, const struct object_query *query, uint32_t *destroyed,
			      enum err *ret_public)
{
	struct matches m;
	enum err e = find_keys(s, query, &m);

	if (e != E_OK)
		return e;
	e = destroy_all(s, m.handles, m.private_keys, CKO_PRIVATE_KEY, query, destroyed);
	FAILPOINT("signer.destroy.after-private");
	if (e != E_OK)
		goto out;
	*ret_public =
	    destroy_all(s, m.handles + m.private_keys, m.public_keys, CKO_PUBLIC_KEY, query, destroyed);
	FAILPOINT("signer.destroy.after-public");
	if (*ret_public && (ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last)))
		e = *ret_public;
out:
	free(m.handles);
	return e;
}

/* What a refusal of public keys came to: E_OK when none is left all the same. */
static enum err judge_refusal(struct session *s, const struct object_query *query, enum err refusal,
			      struct object_found *ret_left)
{
	const CK_RV last = s->last;
	char failure[sizeof(s->failure)];
	enum err e;

	memcpy(failure, s->failure, sizeof(failure));
	if ((e = object_find(s, query, ret_left)) != E_OK ||
	    (!ret_left->private_keys && !ret_left->public_keys))
		return e;
	s->last = last;
	memcpy(s->failure, failure, sizeof(failure));
	return refusal;
}

enum err object_destroy(struct session *s, const struct object_query *query, uint32_t *ret_destroyed)
{
	const struct object_query handle = object_handle(s, query);
	struct object_found left;
	enum err e;

	*ret_destroyed = 0;
	if ((e = session_refresh(s)) != E_OK)
		return e;
	for (int round = 0; round < DESTROY_ROUNDS; round++) {
		enum err refusal = E_OK;

		if ((e = destroy_round(s, &handle, ret_destroyed, &refusal)) != E_OK)
			return e;
		e = refusal != E_OK ? judge_refusal(s, &handle, refusal, &left)
				    : object_find(s, &handle, &left);
		if (e != E_OK || (!left.private_keys && !left.public_keys))
			return e;
	}
	session_explain(s, "'%s' is still found after it was destroyed",
			query->label ? query->label : "a key");
	return E_HSM;
}

enum err object_destroy_new(struct session *s, const uint8_t key_id[KEY_ID_BYTES], const char *label,
			    uint32_t *ret_destroyed)
{
	const struct object_query query = {s->token->ids_own ? label : NULL, key_id};
	const atomic_bool *stop = s->stop;
	enum err e;

	s->stop = NULL;
	e = object_destroy(s, &query, ret_destroyed);
	s->stop = stop;
	return e;
}
