/* Searches for key objects, destroys them and proves that they are gone. */
#include "hsm/signer/object.h"

#include "base/failpoint.h"
#include "hsm/signer/ckr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEARCH_BATCH 256
#define SAME_LABEL_MAX 1024 /* objects under one label; more is a token gone wrong */
#define DESTROY_ROUNDS 3

void object_label(char label[OBJECT_LABEL_SIZE], const char *csr_id)
{
	snprintf(label, OBJECT_LABEL_SIZE, "%s%s", OBJECT_LABEL_PREFIX, csr_id);
}

/* ---- search ---- */

static enum err grow(CK_OBJECT_HANDLE **handles, size_t *capacity, size_t needed)
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
static enum err collect(struct session *s, size_t max, CK_OBJECT_HANDLE **handles, size_t *len)
{
	size_t capacity = 0;
	enum err e;

	for (;;) {
		CK_ULONG got = 0;
		CK_RV rv;

		if ((e = grow(handles, &capacity, *len + SEARCH_BATCH)))
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
		       CK_OBJECT_HANDLE **ret_handles, size_t *ret_len)
{
	CK_OBJECT_HANDLE *handles = NULL;
	size_t len = 0;
	CK_RV rv = s->token->p11->C_FindObjectsInit(s->handle, template, template_len);
	enum err e;

	if (rv != CKR_OK)
		return session_fail(s, "C_FindObjectsInit", rv);
	e = collect(s, max, &handles, &len);
	rv = s->token->p11->C_FindObjectsFinal(s->handle);
	if (e == E_OK && rv != CKR_OK)
		e = session_fail(s, "C_FindObjectsFinal", rv);
	if (e) {
		free(handles);
		return e;
	}
	*ret_handles = handles;
	*ret_len = len;
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

	if (e)
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

		if (e)
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
	CK_ATTRIBUTE template[3] = {
	    {CKA_TOKEN, &yes, sizeof(yes)},
	    {CKA_LABEL, (void *)(uintptr_t)query->label, strlen(query->label)},
	    {CKA_ID, (void *)(uintptr_t)query->key_id, KEY_ID_BYTES},
	};
	enum err e;

	for (int tries = 0;; tries++) {
		struct matches m = {0};
		size_t len = 0;

		e = object_search(s, template, query->key_id ? 3 : 2, SAME_LABEL_MAX, &m.handles, &len);
		if (e == E_OK)
			e = sort_out(s, &m, len);
		if (e == E_OK) {
			*ret_matches = m;
			return E_OK;
		}
		free(m.handles);
		if (s->last != CKR_OBJECT_HANDLE_INVALID || tries > 0)
			return e;
	}
}

/* A half-written object may have no id: that is the empty one. */
static enum err read_id(struct session *s, CK_OBJECT_HANDLE object, uint8_t id[KEY_ID_BYTES], size_t *ret_len)
{
	uint8_t raw[256];
	CK_ATTRIBUTE attribute = {CKA_ID, raw, sizeof(raw)};
	enum err e = object_read(s, object, &attribute, 1);
	size_t len = e ? 0 : attribute.ulValueLen;

	if (e && e != E_HSM)
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

		if (e)
			return e;
		if (*seen && memcmp(id, found->key_id, KEY_ID_BYTES) != 0)
			found->ids_differ = true;
		if (!*seen)
			memcpy(found->key_id, id, KEY_ID_BYTES);
		*seen = true;
	}
	return E_OK;
}

enum err object_find(struct session *s, const struct object_query *query, struct object_found *ret_found)
{
	struct object_found found = {0};
	struct matches m;
	bool seen = false;
	enum err e;

	if ((e = find_keys(s, query, &m)))
		return e;
	found.private_keys = m.private_keys;
	found.public_keys = m.public_keys;
	e = look_at_ids(s, m.handles, m.private_keys + m.public_keys, &seen, &found);
	if (e == E_OK)
		*ret_found = found;
	free(m.handles);
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

/* Before something is destroyed for good it must say itself that it is the one meant. */
static enum err check_label(struct session *s, CK_OBJECT_HANDLE object, const char *label)
{
	char actual[256];
	CK_ATTRIBUTE attribute = {CKA_LABEL, actual, sizeof(actual)};
	enum err e = object_read(s, object, &attribute, 1);

	if (e)
		return e;
	if (attribute.ulValueLen != strlen(label) || memcmp(actual, label, attribute.ulValueLen) != 0) {
		session_explain(s, "a search for '%s' gave an object with another label", label);
		return E_HSM;
	}
	return E_OK;
}

/* Objects that went are counted in *destroyed; the first refusal is returned after the rest was tried. */
static enum err destroy_all(struct session *s, const CK_OBJECT_HANDLE *handles, size_t len, const char *label,
			    uint32_t *destroyed)
{
	enum err e, first = E_OK;

	for (size_t i = 0; i < len; i++) {
		e = check_label(s, handles[i], label);
		if (e == E_OK) {
			CK_RV rv = s->token->p11->C_DestroyObject(s->handle, handles[i]);

			s->stale = true;
			if (rv == CKR_OK)
				(*destroyed)++;
			else if (rv !=
				 CKR_OBJECT_HANDLE_INVALID) /* else gone already: the next search tells */
				e = session_fail(s, "C_DestroyObject", rv);
		}
		if (first == E_OK)
			first = e;
	}
	return first;
}

static enum err destroy_round(struct session *s, const struct object_query *query, uint32_t *destroyed)
{
	struct matches m;
	enum err e = find_keys(s, query, &m);

	if (e)
		return e;
	e = destroy_all(s, m.handles, m.private_keys, query->label, destroyed);
	FAILPOINT("signer.destroy.after-private");
	if (e)
		goto out;
	e = destroy_all(s, m.handles + m.private_keys, m.public_keys, query->label, destroyed);
	FAILPOINT("signer.destroy.after-public");
out:
	free(m.handles);
	return e;
}

enum err object_destroy(struct session *s, const struct object_query *query, uint32_t *ret_destroyed)
{
	struct object_found left;
	enum err e;

	*ret_destroyed = 0;
	if ((e = session_refresh(s)))
		return e;
	for (int round = 0; round < DESTROY_ROUNDS; round++) {
		if ((e = destroy_round(s, query, ret_destroyed)) || (e = object_find(s, query, &left)))
			return e;
		if (!left.private_keys && !left.public_keys)
			return E_OK;
	}
	session_explain(s, "'%s' is still found after it was destroyed", query->label);
	return E_HSM;
}
