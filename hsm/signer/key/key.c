/* SPDX-License-Identifier: Apache-2.0 */
/* Generates a key pair in the token and reads its attributes back. */
#include "hsm/signer/key/key.h"

#include "base/failpoint.h"
#include "base/random.h"
#include "hsm/signer/key/key_kind.h"
#include "hsm/signer/token/ckr.h"

#include <stdbool.h>
#include <string.h>

enum err key_new_id(uint8_t ret_id[KEY_ID_BYTES])
{
	return random_fill(ret_id, KEY_ID_BYTES);
}

/* ---- generation ---- */

#define TEMPLATE_MAX 20

struct attribute_list {
	CK_ATTRIBUTE attributes[TEMPLATE_MAX];
	CK_ULONG len;
};

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE; /* never written: Cryptoki's prototypes lack a const */

static void key_put(struct attribute_list *t, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
	t->attributes[t->len++] = (CK_ATTRIBUTE){type, (void *)(uintptr_t)value, len};
}

static void key_put_bool(struct attribute_list *t, CK_ATTRIBUTE_TYPE type, CK_BBOOL *value)
{
	key_put(t, type, value, sizeof(*value));
}

static void put_no(struct attribute_list *t, uint32_t options, enum template_option option,
		   CK_ATTRIBUTE_TYPE type)
{
	if (options & (uint32_t)option)
		key_put_bool(t, type, &no);
}

static void fill_public(struct attribute_list *t, uint32_t options)
{
	key_put_bool(t, CKA_TOKEN, &yes);
	if (options & TEMPLATE_PUBLIC_VERIFY)
		key_put_bool(t, CKA_VERIFY, &yes);
	put_no(t, options, TEMPLATE_PUBLIC_OPEN, CKA_PRIVATE);
	put_no(t, options, TEMPLATE_PUBLIC_NO_VERIFY_RECOVER, CKA_VERIFY_RECOVER);
	put_no(t, options, TEMPLATE_PUBLIC_NO_ENCRYPT, CKA_ENCRYPT);
	put_no(t, options, TEMPLATE_PUBLIC_NO_WRAP, CKA_WRAP);
	put_no(t, options, TEMPLATE_PUBLIC_NO_DERIVE, CKA_DERIVE);
	put_no(t, options, TEMPLATE_PUBLIC_NO_CHANGE, CKA_MODIFIABLE);
}

static void fill_private(struct attribute_list *t, const struct template_profile *profile)
{
	key_put_bool(t, CKA_TOKEN, &yes);
	key_put_bool(t, CKA_PRIVATE, &yes);
	key_put_bool(t, CKA_SENSITIVE, &yes);
	key_put_bool(t, CKA_EXTRACTABLE, &no);
	key_put_bool(t, CKA_SIGN, &yes);
	put_no(t, profile->options, TEMPLATE_NO_SIGN_RECOVER, CKA_SIGN_RECOVER);
	put_no(t, profile->options, TEMPLATE_NO_DECRYPT, CKA_DECRYPT);
	put_no(t, profile->options, TEMPLATE_NO_UNWRAP, CKA_UNWRAP);
	put_no(t, profile->options, TEMPLATE_NO_DERIVE, CKA_DERIVE);
	put_no(t, profile->options, TEMPLATE_NO_COPY, CKA_COPYABLE);
	put_no(t, profile->options, TEMPLATE_NO_CHANGE, CKA_MODIFIABLE);
	if ((profile->options & TEMPLATE_MECHANISMS) && profile->mechanisms_len)
		key_put(t, CKA_ALLOWED_MECHANISMS, profile->mechanisms,
			profile->mechanisms_len * sizeof(profile->mechanisms[0]));
}

/* What is not in these templates, a token is free to choose: some say yes to every usage left out. */
static enum err key_make_pair(struct session *s, CK_MECHANISM_TYPE type, CK_ATTRIBUTE *special,
			      size_t special_len, const char *label, const uint8_t *id, struct key *key)
{
	const struct template_profile *profile = &s->token->profiles[key_kind(key->type)->family];
	struct attribute_list public = {.len = 0}, private = {.len = 0};
	CK_MECHANISM mechanism = {type, NULL, 0};
	CK_RV rv;

	fill_public(&public, profile->options);
	fill_private(&private, profile);
	key_put(&public, CKA_LABEL, label, strlen(label));
	key_put(&private, CKA_LABEL, label, strlen(label));
	if (!s->token->ids_own) { /* else it might take of ours what two keys have in common */
		key_put(&public, CKA_ID, id, KEY_ID_BYTES);
		key_put(&private, CKA_ID, id, KEY_ID_BYTES);
	}
	for (size_t i = 0; i < special_len; i++)
	public.attributes[public.len++] = special[i];
	rv = s->token->p11->C_GenerateKeyPair(s->handle, &mechanism, public.attributes, public.len,
					      private.attributes, private.len, &key->public_key,
					      &key->private_key);
	return rv == CKR_OK ? E_OK : session_fail(s, "C_GenerateKeyPair", rv);
}

static enum err generate_type(struct session *s, const char *label, struct key *key)
{
	const struct key_kind *kind = key_kind(key->type);
	CK_ULONG bits = (CK_ULONG)kind->bits;
	unsigned char exponent[] = {0x01, 0x00, 0x01};
	CK_ATTRIBUTE rsa[] = {
	    {CKA_MODULUS_BITS, &bits, sizeof(bits)},
	    {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
	};
	CK_ATTRIBUTE curve[] = {{CKA_EC_PARAMS, (void *)(uintptr_t)kind->oid, kind->oid_len}};
	const struct key_way *way = key_way(kind->family, s->token->profiles[kind->family].way);

	if (!way)
		return E_BUG;
	if (way->by_name)
		curve[0] =
		    (CK_ATTRIBUTE){CKA_EC_PARAMS, (void *)(uintptr_t)kind->curve_name, kind->curve_name_len};
	return kind->family == KEY_FAMILY_RSA
		   ? key_make_pair(s, way->mechanism, rsa, 2, label, key->id, key)
		   : key_make_pair(s, way->mechanism, curve, 1, label, key->id, key);
}

enum err key_generate(struct session *s, enum key_type type, const char *label,
		      const uint8_t id[KEY_ID_BYTES], struct key *ret_key)
{
	struct key key = {.type = type};
	enum err e;

	if (s->stale && (e = session_refresh(s)) != E_OK)
		return e;
	memcpy(key.id, id, KEY_ID_BYTES);
	if ((e = generate_type(s, label, &key)) != E_OK)
		return e;
	if (FAILPOINT_ARMED("signer.create.half-pair"))
		s->token->p11->C_DestroyObject(s->handle, key.private_key);
	FAILPOINT("signer.create.half-pair");
	*ret_key = key;
	return E_OK;
}

/* ---- by its handles ---- */

/* Some tokens keep a label or an id in a shortened form. */
static bool key_begins(const uint8_t *whole, size_t whole_len, const uint8_t *start, size_t start_len)
{
	return start_len && start_len <= whole_len && memcmp(whole, start, start_len) == 0;
}

/* Whatever says one of the two is ours. */
static enum err destroy_handle(struct session *s, CK_OBJECT_HANDLE object, const char *label,
			       const uint8_t *id)
{
	uint8_t kept_label[256], kept_id[256];
	CK_ATTRIBUTE attributes[] = {{CKA_LABEL, kept_label, sizeof(kept_label)},
				     {CKA_ID, kept_id, sizeof(kept_id)}};
	CK_RV rv = s->token->p11->C_GetAttributeValue(s->handle, object, attributes, 2);
	bool by_label, by_id;

	if (ckr_is_object_gone(rv))
		return E_OK;
	if (rv != CKR_OK)
		return session_fail(s, "C_GetAttributeValue", rv);
	by_label = key_begins((const uint8_t *)label, strlen(label), kept_label, attributes[0].ulValueLen);
	by_id = key_begins(id, KEY_ID_BYTES, kept_id, attributes[1].ulValueLen);
	if (!by_label && !by_id) {
		session_explain(s, "the token keeps a new key under a label and an id that are not ours");
		return E_HSM;
	}
	rv = s->token->p11->C_DestroyObject(s->handle, object);
	s->stale = true;
	return rv == CKR_OK ? E_OK : session_fail(s, "C_DestroyObject", rv);
}

enum err key_destroy_handles(struct session *s, const struct key *key, const char *label)
{
	enum err e = destroy_handle(s, key->private_key, label, key->id);
	enum err public_e = destroy_handle(s, key->public_key, label, key->id);

	return e != E_OK ? e : public_e;
}

/* ---- reading back ---- */

static const struct {
	CK_ATTRIBUTE_TYPE type;
	uint32_t bit;
} protections[] = {
    {CKA_TOKEN, KEY_PROT_TOKEN},
    {CKA_PRIVATE, KEY_PROT_PRIVATE},
    {CKA_SENSITIVE, KEY_PROT_SENSITIVE},
    {CKA_ALWAYS_SENSITIVE, KEY_PROT_ALWAYS_SENSITIVE},
    {CKA_EXTRACTABLE, KEY_PROT_EXTRACTABLE},
    {CKA_NEVER_EXTRACTABLE, KEY_PROT_NEVER_EXTRACTABLE},
    {CKA_LOCAL, KEY_PROT_LOCAL},
    {CKA_SIGN, KEY_PROT_SIGN},
    {CKA_SIGN_RECOVER, KEY_PROT_SIGN_RECOVER},
    {CKA_DECRYPT, KEY_PROT_DECRYPT},
    {CKA_UNWRAP, KEY_PROT_UNWRAP},
    {CKA_DERIVE, KEY_PROT_DERIVE},
};
#define PROTECTIONS (sizeof(protections) / sizeof(protections[0]))
#define IDENTITIES 4 /* class, key type, label, id */

/* What is asked about one object, in one call: each costs a token as much as an attribute or more. */
struct readout {
	CK_ATTRIBUTE attributes[IDENTITIES + PROTECTIONS];
	CK_OBJECT_CLASS class;
	CK_KEY_TYPE type;
	uint8_t label[256];
	uint8_t id[256];
	CK_BBOOL flags[PROTECTIONS];
};

/* The identity, and behind it the protection of a private key. */
static enum err read_object(struct session *s, CK_OBJECT_HANDLE object, bool private, struct readout *r)
{
	CK_ULONG len = IDENTITIES;
	CK_RV rv;

	r->attributes[0] = (CK_ATTRIBUTE){CKA_CLASS, &r->class, sizeof(r->class)};
	r->attributes[1] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &r->type, sizeof(r->type)};
	r->attributes[2] = (CK_ATTRIBUTE){CKA_LABEL, r->label, sizeof(r->label)};
	r->attributes[3] = (CK_ATTRIBUTE){CKA_ID, r->id, sizeof(r->id)};
	memset(r->flags, 0xff, sizeof(r->flags)); /* neither true nor false */
	for (size_t i = 0; private && i < PROTECTIONS; i++)
		r->attributes[len++] = (CK_ATTRIBUTE){protections[i].type, &r->flags[i], sizeof(r->flags[i])};
	rv = s->token->p11->C_GetAttributeValue(s->handle, object, r->attributes, len);
	/* After these values every attribute that can be had was filled in (PKCS#11 v2.40 §5.7). */
	if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_ATTRIBUTE_SENSITIVE &&
	    rv != CKR_BUFFER_TOO_SMALL)
		return session_fail(s, "C_GetAttributeValue", rv);
	return E_OK;
}

static enum err check_identity(struct session *s, const struct readout *r, CK_OBJECT_CLASS class,
			       const char *label, const struct key *key)
{
	static const CK_KEY_TYPE types[] = {
	    [KEY_FAMILY_RSA] = CKK_RSA, [KEY_FAMILY_EC] = CKK_EC, [KEY_FAMILY_EDWARDS] = CKK_EC_EDWARDS};
	CK_KEY_TYPE type = types[key_kind(key->type)->family];
	const struct {
		const char *name;
		const void *value;
		size_t len;
	} wanted[IDENTITIES] = {
	    {"class", &class, sizeof(class)},
	    {"key type", &type, sizeof(type)},
	    {"label", label, strlen(label)},
	    {"id", key->id, KEY_ID_BYTES},
	};

	for (size_t i = 0; i < IDENTITIES; i++) {
		if (wanted[i].value == key->id && s->token->ids_own)
			continue;
		if (r->attributes[i].ulValueLen == wanted[i].len &&
		    memcmp(r->attributes[i].pValue, wanted[i].value, wanted[i].len) == 0)
			continue;
		session_explain(s, "%s read back differs from what was asked for", wanted[i].name);
		return E_HSM;
	}
	return E_OK;
}

static void put_list(struct buf *b, const char *what, uint32_t bits)
{
	if (!bits)
		return;
	buf_printf(b, " %s [", what);
	key_protection_format(bits, b);
	buf_put_str(b, "]");
}

static enum err refuse_protection(struct session *s, uint32_t missing, uint32_t forbidden, uint32_t silent)
{
	struct buf b;

	buf_init(&b, 1024);
	buf_put_str(&b, "private key attributes:");
	put_list(&b, "not set", missing);
	put_list(&b, "wrongly set", forbidden);
	put_list(&b, "not answered", silent);
	session_explain(s, "%s", buf_text(&b));
	buf_release(&b);
	return E_HSM;
}

/* The bits that are set, and those that were answered at all. */
static uint32_t protection_of(const struct readout *r, uint32_t *ret_answered)
{
	uint32_t set = 0, answered = 0;

	for (size_t i = 0; i < PROTECTIONS; i++) {
		if (r->attributes[IDENTITIES + i].ulValueLen != sizeof(r->flags[i]) || r->flags[i] > CK_TRUE)
			continue;
		answered |= protections[i].bit;
		if (r->flags[i] == CK_TRUE)
			set |= protections[i].bit;
	}
	*ret_answered = answered;
	return set;
}

enum err key_protection_read(struct session *s, CK_OBJECT_HANDLE private_key, uint32_t *ret_protection)
{
	struct readout r;
	uint32_t answered;
	enum err e = read_object(s, private_key, true, &r);

	if (e == E_OK)
		*ret_protection = protection_of(&r, &answered);
	return e;
}

static enum err check_protection(struct session *s, const struct readout *r, struct key *key)
{
	uint32_t forgiven = s->token->allow_usage;
	uint32_t set, answered, missing, forbidden, silent;

	set = protection_of(r, &answered);
	key->protection = set;
	missing = KEY_PROT_REQUIRED & answered & ~set;
	forbidden = KEY_PROT_FORBIDDEN & set & ~forgiven;
	silent = KEY_PROT_MAX & ~answered & ~forgiven;
	return missing | forbidden | silent ? refuse_protection(s, missing, forbidden, silent) : E_OK;
}

/* A token that gives its keys none has an empty one. */
static void key_keep_id(const struct readout *r, struct key *key)
{
	size_t len = r->attributes[IDENTITIES - 1].ulValueLen;

	if (len > sizeof(r->id))
		len = 0;
	key->held_id_len = len < sizeof(key->held_id) ? len : sizeof(key->held_id);
	memcpy(key->held_id, r->id, key->held_id_len);
}

enum err key_read_back(struct session *s, const char *label, struct key *key)
{
	struct readout r;
	enum err e;

	if ((e = read_object(s, key->private_key, true, &r)) != E_OK ||
	    (e = check_identity(s, &r, CKO_PRIVATE_KEY, label, key)) != E_OK ||
	    (e = check_protection(s, &r, key)) != E_OK)
		return e;
	key_keep_id(&r, key);
	if ((e = read_object(s, key->public_key, false, &r)) != E_OK)
		return e;
	return check_identity(s, &r, CKO_PUBLIC_KEY, label, key);
}
