/* SPDX-License-Identifier: Apache-2.0 */
/* Tries on throw-away keys what the token can do. */
#include "hsm/signer/key/probe.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/key_name.h"
#include "base/log.h"
#include "base/node.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/key_kind.h"
#include "hsm/signer/key/probe_memory.h"
#include "hsm/signer/key/public_key.h"
#include "hsm/signer/key/sign.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/data_object.h"
#include "hsm/signer/token/object.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Mechanisms of PKCS#11 that make signatures and nothing else, for CKA_ALLOWED_MECHANISMS. */
static const CK_MECHANISM_TYPE rsa_mechanisms[] = {
    CKM_RSA_PKCS,     CKM_SHA256_RSA_PKCS,     CKM_SHA384_RSA_PKCS,     CKM_SHA512_RSA_PKCS,
    CKM_RSA_PKCS_PSS, CKM_SHA256_RSA_PKCS_PSS, CKM_SHA384_RSA_PKCS_PSS, CKM_SHA512_RSA_PKCS_PSS,
};
static const CK_MECHANISM_TYPE ec_mechanisms[] = {CKM_ECDSA, CKM_ECDSA_SHA256, CKM_ECDSA_SHA384,
						  CKM_ECDSA_SHA512};
#ifndef CKM_EDDSA
#define CKM_EDDSA 0x1057UL /* PKCS#11 v3.0 §2.3.5 */
#endif
static const CK_MECHANISM_TYPE edwards_mechanisms[] = {CKM_EDDSA};

#define LIST(list) list, sizeof(list) / sizeof((list)[0])
static const struct {
	const char *name;
	const CK_MECHANISM_TYPE *mechanisms;
	size_t mechanisms_len;
} families[TEMPLATE_FAMILIES] = {
    [KEY_FAMILY_RSA] = {"rsa", LIST(rsa_mechanisms)},
    [KEY_FAMILY_EC] = {"ec", LIST(ec_mechanisms)},
    [KEY_FAMILY_EDWARDS] = {"edwards", LIST(edwards_mechanisms)},
};

static const struct {
	uint32_t option;
	const char *name;
} option_names[TEMPLATE_OPTIONS] = {
    {TEMPLATE_NO_SIGN_RECOVER, "no-sign-recover"},
    {TEMPLATE_NO_DECRYPT, "no-decrypt"},
    {TEMPLATE_NO_UNWRAP, "no-unwrap"},
    {TEMPLATE_NO_DERIVE, "no-derive"},
    {TEMPLATE_NO_COPY, "no-copy"},
    {TEMPLATE_MECHANISMS, "allowed-mechanisms"},
    {TEMPLATE_PUBLIC_OPEN, "public-open"},
    {TEMPLATE_PUBLIC_VERIFY, "public-verify"},
    {TEMPLATE_PUBLIC_NO_VERIFY_RECOVER, "public-no-verify-recover"},
    {TEMPLATE_PUBLIC_NO_ENCRYPT, "public-no-encrypt"},
    {TEMPLATE_PUBLIC_NO_WRAP, "public-no-wrap"},
    {TEMPLATE_PUBLIC_NO_DERIVE, "public-no-derive"},
    {TEMPLATE_NO_CHANGE, "no-change"},
    {TEMPLATE_PUBLIC_NO_CHANGE, "public-no-change"},
};

/* By what is left out: that is what an operator would ask about. */
static void put_options(uint32_t options, struct buf *b)
{
	const char *before = "strictest but ";

	if (options == TEMPLATE_ALL) {
		buf_put_str(b, "strictest");
		return;
	}
	for (size_t i = 0; i < TEMPLATE_OPTIONS; i++) {
		if (options & option_names[i].option)
			continue;
		buf_printf(b, "%s%s", before, option_names[i].name);
		before = ",";
	}
}

/* Tells signers apart that have the same token: each sweeps its own keys alone. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (uint8_t)*text) * 1099511628211u; /* FNV-1a, the NUL included */
	while (*text++);
	return hash;
}

/* As long as a key's name: a label that a token does not take, or cuts, is noticed. */
void probe_set_label(struct token *token, const char *node, const char *state_dir)
{
	char name[NODE_NAME_MAX + 1];
	int len;

	node_name(node, name);
	snprintf(token->probe_label_0_1, sizeof(token->probe_label_0_1), PROBE_LABEL_PREFIX "%s", name);
	len = snprintf(token->probe_label, sizeof(token->probe_label), PROBE_LABEL_PREFIX "%016" PRIx64,
		       hash_text(hash_text(14695981039346656037u, name), state_dir));
	for (; len < KEY_NAME_LEN; len++)
		memcpy(token->probe_label + len, ".", 2);
}

/* ---- one throw-away key ---- */

/* Not what a module answers for lack of memory: that may be its way to refuse a template. */
static bool is_own_memory(const struct session *s, enum err e)
{
	return e == E_NOMEM && s->last != CKR_HOST_MEMORY;
}

/* After such a failure nothing can be learnt, of whatever was tried. */
static bool is_hopeless(const struct session *s, enum err e)
{
	return session_must_stop(s) || ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last) ||
	       s->last == CKR_DEVICE_MEMORY || is_own_memory(s, e);
}

/* Some tokens refuse to look for a label that they would not keep. */
static void explain_refusal(struct session *s, const char *label)
{
	const CK_RV last = s->last;
	char failure[sizeof(s->failure)];

	memcpy(failure, s->failure, sizeof(failure));
	session_explain(s, "label of %zu characters: %s", strlen(label), failure);
	s->last = last;
}

static enum err sweep_label(struct session *s, const char *label)
{
	const struct object_query query = {label, NULL};
	uint32_t destroyed = 0;
	enum err e = object_destroy(s, &query, &destroyed);

	if (e != E_OK && ckr_is_refusal(s->last))
		explain_refusal(s, label);
	if (destroyed && !s->token->quirks.one_session)
		log_info("%lu objects '%s' of an earlier probe were destroyed", (unsigned long)destroyed,
			 label);
	return e;
}

/* Data objects have no other label that begins so. */
static enum err sweep_data(struct session *s, const struct token *token)
{
	struct object_handles objects = {0};
	enum err e = data_object_search(s, &objects);

	for (size_t i = 0; i < objects.len && e == E_OK; i++) {
		bool ours = false;

		e = data_object_has_label(s, objects.at[i], token->probe_label, &ours);
		if (e == E_OK && ours)
			e = data_object_destroy(s, objects.at[i]);
	}
	free(objects.at);
	return e;
}

/*
 * All that earlier probes left, of this process or another with this state_dir.  A token that refuses to
 * look for data objects, or for the label of csrd 0.1, has none.
 */
static enum err sweep(struct session *s, struct token *token)
{
	enum err e;

	if (!token->probe_left)
		return E_OK;
	if ((e = sweep_label(s, token->probe_label)) != E_OK)
		return e;
	if ((e = sweep_label(s, token->probe_label_0_1)) != E_OK && !ckr_is_refusal(s->last))
		return e;
	if ((e = sweep_data(s, token)) != E_OK && is_hopeless(s, e))
		return e;
	token->probe_left = false;
	return E_OK;
}

/* What this does not destroy is destroyed before the next one is made. */
static enum err throw_away(struct session *s, struct token *token, const struct key *key)
{
	CK_RV rv, public_rv;

	if (token->quirks.one_session) { /* the handles do not live to be destroyed */
		token->probe_left = true;
		return sweep(s, token);
	}
	rv = s->token->p11->C_DestroyObject(s->handle, key->private_key);
	public_rv = s->token->p11->C_DestroyObject(s->handle, key->public_key);
	if (rv == CKR_OK && (public_rv == CKR_OK || ckr_is_object_gone(public_rv)))
		return E_OK; /* a public key may go with its private key */
	token->probe_left = true;
	if (rv == CKR_OK)
		return sweep(s, token); /* or not let itself be destroyed alone */
	return session_fail(s, "C_DestroyObject", rv);
}

static enum err make(struct session *s, enum key_type type, struct key *ret_key)
{
	enum err e = key_new_id(ret_key->id);

	if (e != E_OK) {
		session_explain(s, "no random key id");
		return e;
	}
	return key_generate(s, type, s->token->probe_label, ret_key->id, ret_key);
}

static enum key_type cheapest(const struct token *token)
{
	static const enum key_family order[] = {KEY_FAMILY_EC, KEY_FAMILY_EDWARDS, KEY_FAMILY_RSA};
	key_type_set types = token_makes(token) ? token_makes(token) : token->key_types;

	for (size_t i = 0; i < TEMPLATE_FAMILIES; i++)
		for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
			if ((types & KEY_TYPE_BIT(type)) && key_kind((enum key_type)type)->family == order[i])
				return (enum key_type)type;
	return KEY_RSA2048;
}

static bool is_kept(const CK_ATTRIBUTE *attribute, const void *value, size_t len)
{
	return attribute->ulValueLen == len && memcmp(attribute->pValue, value, len) == 0;
}

/* In words for an operator, who can only choose another module or device. */
static void explain_label(struct session *s, const CK_ATTRIBUTE *label, const CK_ATTRIBUTE *id)
{
	const char *wanted = s->token->probe_label;
	size_t len = label->ulValueLen == CK_UNAVAILABLE_INFORMATION ? 0 : label->ulValueLen;

	if (!len)
		session_explain(s, "the token keeps no label of a key, and csrd knows keys by theirs");
	else if (len < strlen(wanted) && memcmp(label->pValue, wanted, len) == 0)
		session_explain(s, "the token keeps %zu characters of a key's label, and csrd needs %d", len,
				KEY_NAME_LEN);
	else if (is_kept(id, label->pValue, len))
		session_explain(s, "the token makes a key's label its CKA_ID, and csrd needs its own label");
	else
		session_explain(s, "the token gives a key another label than it is asked for");
}

/* What the module does with label and CKA_ID of a new key: the label must be ours, the id need not. */
static enum err learn_names(struct session *s, struct token *token, const struct key *key)
{
	uint8_t label[256], id[256];
	CK_ATTRIBUTE attributes[] = {{CKA_LABEL, label, sizeof(label)}, {CKA_ID, id, sizeof(id)}};
	CK_RV rv = token->p11->C_GetAttributeValue(s->handle, key->private_key, attributes, 2);

	if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_BUFFER_TOO_SMALL)
		return session_fail(s, "C_GetAttributeValue", rv);
	if (!is_kept(&attributes[0], token->probe_label, strlen(token->probe_label))) {
		explain_label(s, &attributes[0], &attributes[1]);
		return E_HSM;
	}
	token->ids_own = !is_kept(&attributes[1], key->id, KEY_ID_BYTES);
	return E_OK;
}

/* By the rules for a create's key: a token on which every create would fail is not usable. */
static enum err probe_judge(struct session *s, struct key *key)
{
	struct spki *public_key = NULL;
	enum err e;

	if ((e = key_read_back(s, s->token->probe_label, key)) != E_OK ||
	    (e = public_key_read(s, key, &public_key)) != E_OK)
		return e;
	spki_free(public_key);
	return E_OK;
}

static enum err use(struct session *s, const struct key *key)
{
	static const uint8_t data[] = "csrd-hsm probe";
	struct buf signature;
	enum err e;

	buf_init(&signature, 4096);
	e = sign_bytes(s, key, data, sizeof(data), &signature);
	buf_release(&signature);
	return e;
}

/* What it was that failed is kept. */
static void remove_failed(struct session *s, struct token *token, const struct key *key)
{
	const CK_RV last = s->last;
	char failure[sizeof(s->failure)];
	uint32_t destroyed;

	token->probe_left = true;
	if (ckr_is_session_lost(last))
		return;
	memcpy(failure, s->failure, sizeof(failure));
	if (object_destroy_new(s, key->id, token->probe_label, &destroyed) != E_OK || sweep(s, token) != E_OK)
		log_debug("keys of a probe are left for now: %s", s->failure);
	s->last = last;
	memcpy(s->failure, failure, sizeof(failure));
}

/* The key was made, and is not what was asked for. */
static bool is_judged(const struct session *s, enum err e)
{
	return e == E_HSM && s->last == CKR_OK;
}

/* What is wanted of a throw-away key, besides that it signs. */
enum probe_depth {
	PROBE_TAKEN,  /* nothing */
	PROBE_JUDGED, /* that it is a key like any other */
	PROBE_LEARNT, /* the same, by the names that the module gives it */
};

/* Makes a pair, looks at it, signs with it, and throws it away. */
static enum err make_and_use(struct session *s, struct token *token, enum key_type type,
			     enum probe_depth depth)
{
	struct key key = {.type = type};
	enum err e = make(s, type, &key);

	token->probe_unfit = false;
	if (e == E_OK && depth != PROBE_TAKEN) {
		if (depth == PROBE_LEARNT)
			e = learn_names(s, token, &key);
		if (e == E_OK)
			e = probe_judge(s, &key);
		token->probe_unfit = e != E_OK;
		token->probe_made_unfit |= is_judged(s, e) || (e != E_OK && ckr_is_refusal(s->last));
	}
	if (e == E_OK)
		e = use(s, &key);
	if (e == E_OK)
		return throw_away(s, token, &key);
	remove_failed(s, token, &key);
	return e;
}

enum err probe_self_test(struct session *s, struct token *token)
{
	enum err e = sweep(s, token);

	return e != E_OK ? e : make_and_use(s, token, cheapest(token), PROBE_JUDGED);
}

/* ---- templates ---- */

static void list_mechanisms(const struct token *token, enum key_family family,
			    struct template_profile *profile)
{
	profile->mechanisms_len = 0;
	for (size_t i = 0; i < families[family].mechanisms_len; i++) {
		CK_MECHANISM_TYPE type = families[family].mechanisms[i];
		CK_MECHANISM_INFO info;

		if (token->p11->C_GetMechanismInfo(token->slot, type, &info) == CKR_OK &&
		    (info.flags & CKF_SIGN))
			profile->mechanisms[profile->mechanisms_len++] = type;
	}
}

/* Of a template that is a step on the way it counts that it is taken. */
static enum err try_options(struct session *s, struct token *token, enum key_type type, uint32_t options,
			    bool judged)
{
	const bool ids_own = token->ids_own;
	enum err e;

	if (session_must_stop(s))
		return session_break_off(s);
	token->profiles[key_kind(type)->family].options = options;
	s->failure[0] = '\0';
	e = make_and_use(s, token, type, judged ? PROBE_LEARNT : PROBE_TAKEN);
	if (e == E_OK && token->ids_own && !ids_own) /* is it made without an id, too? */
		e = make_and_use(s, token, type, PROBE_LEARNT);
	return e;
}

/* As many of `left` as it takes, one after the other, besides *taken. */
static enum err add_options(struct session *s, struct token *token, enum key_type type, uint32_t left,
			    uint32_t *taken, bool *sure)
{
	for (size_t i = 0; i < TEMPLATE_OPTIONS; i++) {
		uint32_t option = option_names[i].option;
		enum err e;

		if (!(left & option))
			continue;
		e = try_options(s, token, type, *taken | option, false);
		if (e == E_OK) {
			*taken |= option;
			continue;
		}
		if (is_hopeless(s, e))
			return is_own_memory(s, e) ? e : E_UNAVAIL;
		*sure &= ckr_is_refusal(s->last);
	}
	return E_OK;
}

/*
 * All of them, or else what the family before took (*guess) and more, or as
 * many as it takes one after the other: some demand one to take the others.
 * *sure is cleared by an answer that need not be about the template.
 */
static enum err find_options(struct session *s, struct token *token, enum key_type type, uint32_t *guess,
			     bool *sure)
{
	const uint32_t most = token->template_limit;
	uint32_t taken = most;
	enum err e = try_options(s, token, type, most, true);

	if (e == E_OK || is_hopeless(s, e) || token->probe_unfit)
		goto out;
	log_info("the strictest template is refused: %s", s->failure);
	*sure &= ckr_is_refusal(s->last);
	taken = *guess & most;
	e = taken ? try_options(s, token, type, taken, false) : E_HSM;
	if (e != E_OK && !is_hopeless(s, e)) {
		taken = 0;
		e = try_options(s, token, type, taken, false);
	}
	if (e != E_OK && !is_hopeless(s, e) && (most & TEMPLATE_PUBLIC_OPEN)) {
		taken = TEMPLATE_PUBLIC_OPEN;
		e = try_options(s, token, type, taken, false);
	}
	if (e == E_OK)
		e = add_options(s, token, type, most & ~taken, &taken, sure);
	if (e == E_OK)
		e = try_options(s, token, type, taken, true);
out:
	if (e != E_OK)
		return e;
	token->profiles[key_kind(type)->family].options = taken;
	*guess = taken;
	return E_OK;
}

/* The first way that works; what the token said to the first one is what is told. */
static enum err find_way(struct session *s, struct token *token, enum key_type type, uint32_t *guess,
			 bool *sure)
{
	const struct key_kind *kind = key_kind(type);
	struct template_profile *profile = &token->profiles[kind->family];
	char failure[sizeof(s->failure)] = "";
	CK_RV last = CKR_OK;
	enum err first = E_HSM;
	const struct key_way *way;

	for (profile->way = 0; (way = key_way(kind->family, profile->way)); profile->way++) {
		CK_MECHANISM_INFO info;
		enum err e;

		if (token->p11->C_GetMechanismInfo(token->slot, way->mechanism, &info) != CKR_OK ||
		    !(info.flags & CKF_GENERATE_KEY_PAIR))
			continue;
		e = find_options(s, token, type, guess, sure);
		if (e == E_OK || is_hopeless(s, e))
			return e;
		if (failure[0])
			continue;
		first = e;
		last = s->last;
		memcpy(failure, s->failure, sizeof(failure));
	}
	profile->way = 0;
	s->last = last;
	memcpy(s->failure, failure, sizeof(failure));
	return first;
}

/* ---- data objects ---- */

/* Makes one, reads it and destroys it. */
static enum err try_data(struct session *s, struct token *token, bool fixed)
{
	CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
	struct buf value, kept;
	enum err e;

	buf_init(&value, 64);
	buf_init(&kept, DATA_OBJECT_BYTES_MAX);
	buf_put_str(&value, "csrd-hsm probe");
	token->probe_left = true;
	e = data_object_make(s, token->probe_label, &value, fixed, &object);
	if (e == E_OK)
		e = data_object_read(s, object, &kept);
	if (e == E_OK && (kept.len != value.len || memcmp(kept.data, value.data, value.len) != 0)) {
		session_explain(s, "the token did not keep the value of a data object");
		e = E_HSM;
	}
	if (object != CK_INVALID_HANDLE && data_object_destroy(s, object) == E_OK)
		token->probe_left = false;
	buf_release(&value);
	buf_release(&kept);
	return e;
}

static enum err probe_data(struct session *s, struct token *token, bool *sure)
{
	enum err e = sweep(s, token);

	if (e != E_OK)
		return e;
	token->data = TOKEN_DATA_FIXED;
	e = try_data(s, token, true);
	if (e != E_OK && !is_hopeless(s, e)) {
		token->data = TOKEN_DATA_PLAIN;
		e = try_data(s, token, false);
	}
	if (e == E_OK)
		return E_OK;
	token->data = TOKEN_DATA_NONE;
	if (ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last) || session_must_stop(s) ||
	    is_own_memory(s, e))
		return e;
	*sure &= ckr_is_refusal(s->last) || s->last == CKR_FUNCTION_NOT_SUPPORTED || s->last == CKR_OK;
	log_info("token '%s' keeps no data objects (%s)", token->label, s->failure);
	return E_OK;
}

/* ---- in words ---- */

static void put_sizes(const struct token *token, CK_MECHANISM_TYPE type, struct buf *b)
{
	CK_MECHANISM_INFO info;

	if (token->p11->C_GetMechanismInfo(token->slot, type, &info) == CKR_OK)
		buf_printf(b, " %lu-%lu bits", info.ulMinKeySize, info.ulMaxKeySize);
}

static void put_family(const struct token *token, enum key_family family, struct buf *b)
{
	buf_printf(b, "%s:", families[family].name);
	if (family != KEY_FAMILY_EDWARDS)
		put_sizes(token, key_way(family, token->profiles[family].way)->mechanism, b);
	if (token->profiles[family].way)
		buf_printf(b, " by %s", key_way(family, token->profiles[family].way)->name);
	buf_put_str(b, " template ");
	put_options(token->profiles[family].options, b);
}

static const char *const data_words[] = {
    [TOKEN_DATA_NONE] = "no", [TOKEN_DATA_PLAIN] = "yes", [TOKEN_DATA_FIXED] = "yes, that cannot be changed"};

static const char *const id_words[] = {[false] = "as asked for", [true] = "the module's own"};

/* For the log, a line a family, and for the status, all in one. */
static void describe(struct token *token)
{
	char when[CLOCK_RFC3339_SIZE];
	struct buf text;

	clock_format_rfc3339(token->probed_us, when);
	buf_init(&text, sizeof(token->capabilities) - 1);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		size_t from = text.len;

		if (!(token->proved_types & KEY_TYPE_BIT(type)))
			continue;
		put_family(token, key_kind((enum key_type)type)->family, &text);
		log_info("token '%s': %s", token->label, buf_text(&text) + from);
		buf_put_str(&text, "; ");
	}
	log_info("token '%s': data objects: %s; CKA_ID: %s; probed %s", token->label, data_words[token->data],
		 id_words[token->ids_own], when);
	buf_printf(&text, "data objects: %s; CKA_ID: %s; probed %s", data_words[token->data],
		   id_words[token->ids_own], when);
	snprintf(token->capabilities, sizeof(token->capabilities), "%s", buf_text(&text));
	buf_release(&text);
}

/* ---- all ---- */

/* The first type of each family stands for the family. */
static key_type_set first_types(key_type_set from)
{
	unsigned families_done = 0;
	key_type_set types = 0;

	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		enum key_family family = key_kind((enum key_type)type)->family;

		if (!(from & KEY_TYPE_BIT(type)) || (families_done & (1u << family)))
			continue;
		families_done |= 1u << family;
		types |= KEY_TYPE_BIT(type);
	}
	return types;
}

static void list_all_mechanisms(struct token *token)
{
	for (size_t family = 0; family < TEMPLATE_FAMILIES; family++)
		list_mechanisms(token, (enum key_family)family, &token->profiles[family]);
}

static void known(struct token *token)
{
	token->proved_types = first_types(token_makes(token));
	token->probed = true;
	describe(token);
}

bool probe_recall(struct token *token)
{
	token->probe_left = true; /* a crash of an earlier process may have left some */
	list_all_mechanisms(token);
	if (probe_memory_recall(token) != E_OK)
		return false;
	known(token);
	return true;
}

static key_type_set types_of(enum key_family family)
{
	key_type_set types = 0;

	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		if (key_kind((enum key_type)type)->family == family)
			types |= KEY_TYPE_BIT(type);
	return types;
}

/* The first type of a family stands for it; 0: the token offers none. */
static unsigned first_type(const struct token *token, enum key_family family)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		if (token->key_types & types_of(family) & KEY_TYPE_BIT(type))
			return type;
	return 0;
}

/* The cheap ones first.  A family that cannot be made takes itself out; with all of them it is an error. */
static enum err find_families(struct session *s, struct token *token, bool *sure)
{
	static const enum key_family order[] = {KEY_FAMILY_EC, KEY_FAMILY_EDWARDS, KEY_FAMILY_RSA};
	char failure[sizeof(s->failure)] = "";
	key_type_set unmade = 0;
	uint32_t guess = 0;
	CK_RV last = CKR_OK;
	enum err first = E_OK;

	for (size_t i = 0; i < TEMPLATE_FAMILIES; i++) {
		unsigned type = first_type(token, order[i]);
		enum err e;

		if (!type)
			continue;
		e = find_way(s, token, (enum key_type)type, &guess, sure);
		if (e != E_OK && is_hopeless(s, e))
			return e;
		if (e == E_OK)
			continue;
		*sure &= ckr_is_refusal(s->last) || is_judged(s, e);
		unmade |= token->key_types & types_of(order[i]);
		log_warn("token '%s' makes no usable %s keys: %s", token->label, families[order[i]].name,
			 s->failure);
		if (first != E_OK)
			continue;
		first = e;
		last = s->last;
		memcpy(failure, s->failure, sizeof(failure));
	}
	if (unmade == token->key_types) {
		s->last = last;
		memcpy(s->failure, failure, sizeof(failure));
		return first == E_OK ? E_HSM : first;
	}
	atomic_store(&token->unmade_types, unmade);
	return E_OK;
}

static enum err find_out(struct session *s, struct token *token, bool *sure)
{
	enum err e;

	token->probe_left = true;
	token->probe_made_unfit = false;
	token->ids_own = false;
	if ((e = sweep(s, token)) != E_OK)
		return e;
	list_all_mechanisms(token);
	if ((e = find_families(s, token, sure)) != E_OK)
		return e;
	return probe_data(s, token, sure);
}

enum err probe_run(struct session *s, struct token *token)
{
	const struct token before = *token;
	bool sure = true;
	enum err e = find_out(s, token, &sure);

	if (e != E_OK) {
		memcpy(token->profiles, before.profiles, sizeof(token->profiles));
		atomic_store(&token->unmade_types, atomic_load(&before.unmade_types));
		token->data = before.data;
		token->ids_own = before.ids_own;
		return e;
	}
	token->probed_us = clock_wall_us();
	known(token);
	if (sure)
		probe_memory_keep(token);
	else
		probe_memory_drop(token);
	return E_OK;
}
