/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a key pair that was made some time ago, as if nothing was known of it. */
#include "hsm/signer/key/key_inspect.h"

#include "hsm/signer/key/key.h"
#include "hsm/signer/key/key_kind.h"
#include "hsm/signer/key/key_map.h"
#include "hsm/signer/key/public_key.h"
#include "hsm/signer/token/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODULUS_BYTES_MAX 2048

/* The one object of that class under the label; E_HSM when it is none or not one any more. */
static enum err find_one(struct session *s, CK_OBJECT_CLASS class, const char *label,
			 CK_OBJECT_HANDLE *ret_handle)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
	    {CKA_CLASS, &class, sizeof(class)},
	    {CKA_TOKEN, &yes, sizeof(yes)},
	    {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)},
	};
	struct object_handles found = {0};
	enum err e = object_search(s, template, 3, 2, &found);

	if (e != E_OK)
		return e;
	if (found.len == 1) {
		*ret_handle = found.at[0];
	} else {
		session_explain(s, "'%s' changed while it was looked at", label);
		e = E_HSM;
	}
	free(found.at);
	return e;
}

static bool key_inspect_is_curve(const struct key_kind *kind, const void *parameters, size_t len)
{
	return (len == kind->oid_len && memcmp(parameters, kind->oid, len) == 0) ||
	       (kind->curve_name && len == kind->curve_name_len &&
		memcmp(parameters, kind->curve_name, len) == 0);
}

/* Without the zeros that some modules put in front. */
static CK_ULONG modulus_bits(const uint8_t *modulus, CK_ULONG len)
{
	while (len > 0 && *modulus == 0) {
		modulus++;
		len--;
	}
	return len * 8;
}

/* The type by its family, and by the size of its modulus or its curve. */
static enum err read_type(struct session *s, CK_OBJECT_HANDLE public_key, enum key_type *ret_type)
{
	static const CK_KEY_TYPE families[] = {
	    [KEY_FAMILY_RSA] = CKK_RSA, [KEY_FAMILY_EC] = CKK_EC, [KEY_FAMILY_EDWARDS] = CKK_EC_EDWARDS};
	CK_KEY_TYPE family = CK_UNAVAILABLE_INFORMATION;
	uint8_t value[MODULUS_BYTES_MAX];
	CK_ATTRIBUTE type = {CKA_KEY_TYPE, &family, sizeof(family)};
	CK_ATTRIBUTE what = {CKA_MODULUS, value, sizeof(value)};
	enum err e = object_read(s, public_key, &type, 1);

	if (e != E_OK)
		return e;
	if (family != CKK_RSA)
		what.type = CKA_EC_PARAMS;
	if ((e = object_read(s, public_key, &what, 1)) != E_OK)
		return e;
	for (unsigned t = 1; t <= KEY_TYPE_MAX; t++) {
		const struct key_kind *kind = key_kind((enum key_type)t);

		if (families[kind->family] != family)
			continue;
		if (kind->family == KEY_FAMILY_RSA
			? modulus_bits(value, what.ulValueLen) != (CK_ULONG)kind->bits
			: !key_inspect_is_curve(kind, value, what.ulValueLen))
			continue;
		*ret_type = (enum key_type)t;
		return E_OK;
	}
	session_explain(s, "it is not of a type that csrd makes");
	return E_HSM;
}

static enum err read_pair(struct session *s, const char *label, const struct key_map_pair *pair,
			  struct message_key *ret_key)
{
	struct key key = {
	    .type = KEY_RSA2048, .private_key = pair->private_key, .public_key = pair->public_key};
	struct spki *spki = NULL;
	enum err e;

	memcpy(key.id, pair->key_id, KEY_ID_BYTES);
	if ((e = read_type(s, key.public_key, &key.type)) != E_OK ||
	    (e = key_protection_read(s, key.private_key, &key.protection)) != E_OK ||
	    (e = public_key_read(s, &key, &spki)) != E_OK)
		return e;
	ret_key->key_type = key.type;
	ret_key->protection = key.protection;
	snprintf(ret_key->label, sizeof(ret_key->label), "%s", label);
	memcpy(ret_key->key_id, key.id, KEY_ID_BYTES);
	memcpy(ret_key->spki_sha256, spki->sha256, KEY_SPKI_HASH_BYTES);
	spki_free(spki);
	return E_OK;
}

static enum err search_pair(struct session *s, const char *label, const uint8_t key_id[KEY_ID_BYTES],
			    struct key_map_pair *ret_pair)
{
	struct key_map_pair pair;
	enum err e;

	memcpy(pair.key_id, key_id, KEY_ID_BYTES);
	if ((e = find_one(s, CKO_PRIVATE_KEY, label, &pair.private_key)) != E_OK ||
	    (e = find_one(s, CKO_PUBLIC_KEY, label, &pair.public_key)) != E_OK)
		return e;
	*ret_pair = pair;
	return E_OK;
}

/*
 * What the map is told wrong, of a key that has gone meanwhile, is no failure
 * of the token: it is searched for, and whatever is amiss shows there again.
 */
static bool inspect_known(struct session *s, const char *label, struct message_inspect_key_reply *reply)
{
	bool trouble = s->trouble, doubt = s->doubt, unproven = s->unproven;
	struct key_map_pair pair;

	if (!key_map_find(s, label, &pair) || read_pair(s, label, &pair, &reply->key) != E_OK) {
		s->trouble = trouble;
		s->doubt = doubt;
		s->unproven = unproven;
		s->last = CKR_OK;
		s->failure[0] = '\0';
		return false;
	}
	reply->presence = MESSAGE_KEY_PAIR;
	memcpy(reply->key_id, pair.key_id, KEY_ID_BYTES);
	reply->has_key = true;
	return true;
}

enum err key_inspect(struct session *s, const char *label, struct message_inspect_key_reply *ret_reply)
{
	struct message_inspect_key_reply reply = {0};
	struct object_found found;
	const struct object_query query = {label, NULL};
	const uint64_t logins = session_logins(s);
	struct key_map_pair pair;
	enum err e;

	if (inspect_known(s, label, &reply)) {
		*ret_reply = reply;
		return E_OK;
	}
	if ((e = object_find(s, &query, &found)) != E_OK)
		return e;
	reply.presence = object_presence(&found);
	memcpy(reply.key_id, found.key_id, KEY_ID_BYTES);
	if (reply.presence == MESSAGE_KEY_PAIR) {
		e = search_pair(s, label, found.key_id, &pair);
		if (e == E_OK)
			e = read_pair(s, label, &pair, &reply.key);
		reply.has_key = e == E_OK;
		/* About the key and not the session: that is the answer. */
		if (e == E_HSM && (s->last == CKR_OK || s->last == CKR_OBJECT_HANDLE_INVALID)) {
			reply.detail = strdup(s->failure);
			e = reply.detail ? session_check_login(s, logins) : E_NOMEM;
		}
	}
	if (e != E_OK) {
		free(reply.detail);
		return e;
	}
	*ret_reply = reply;
	return E_OK;
}
