/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PKCS#11 module of keys in memory that answers at once: for tests of
 * what csrd-hsm does around the module.  It can be built with sanitizers, which
 * foreign modules are not.  One slot, one token; what is on it is gone when the
 * process ends.
 *
 * P11_FAKE_FAIL_EVERY=N in the environment: every N-th C_Sign and
 * C_GenerateKeyPair answers CKR_SESSION_HANDLE_INVALID, and all sessions and
 * the login are gone.  P11_FAKE_NO_LOGIN: it has no PIN and needs no login.
 * P11_FAKE_SLOTS=N: as many slots before its own, with tokens of other labels.
 *
 * Its keys are of P-256.  P11_FAKE_KEYS adds a family that it makes in one way
 * and no other: "x9.31" and "186-3" RSA by that mechanism, while it offers
 * PKCS#1 generation and refuses it; "oid" and "name" Ed25519 by the curve's
 * object identifier or by its name.
 */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SLOT 7
#define LABEL "signer-test"
#define PIN "27182818"
#define OBJECTS_MAX 8192
#define ATTRIBUTES_MAX 32
#define VALUE_MAX 512
#define SESSIONS_MAX 256
#define FOUND_MAX 64
#define HALF 32 /* bytes of r and of s */
#define RSA_BYTES 256
#define SLOTS_MAX 4096
#define CKM_LUNA_RSA_186_3 (CKM_VENDOR_DEFINED + 0x143)
#ifndef CKM_EDDSA
#define CKM_EDDSA 0x1057UL
#define CKM_EC_EDWARDS_KEY_PAIR_GEN 0x1055UL
#define CKK_EC_EDWARDS 0x40UL
#endif

struct attribute {
	CK_ATTRIBUTE_TYPE type;
	CK_ULONG len;
	unsigned char value[VALUE_MAX];
};

struct object {
	bool used;
	struct attribute attributes[ATTRIBUTES_MAX];
	size_t len;
	EVP_PKEY *key; /* of a private one; owned */
};

struct session {
	CK_SESSION_HANDLE handle; /* 0: free */
	EVP_PKEY *signing;        /* a reference */
	CK_MECHANISM_TYPE how;
	CK_OBJECT_HANDLE found[FOUND_MAX];
	size_t found_len;
	bool searching;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialised, logged_in, no_login;
static struct object objects[OBJECTS_MAX]; /* the handle is the index and one */
static size_t objects_top;
static struct session sessions[SESSIONS_MAX];
static CK_SESSION_HANDLE last_session;
static unsigned long calls, fail_every, other_slots;
static const char *more_keys; /* NULL: none */

/* ---- attributes ---- */

static const struct attribute *find_attribute(const struct object *o, CK_ATTRIBUTE_TYPE type)
{
	for (size_t i = 0; i < o->len; i++)
		if (o->attributes[i].type == type)
			return &o->attributes[i];
	return NULL;
}

static void set(struct object *o, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
	struct attribute *a = (struct attribute *)(size_t)find_attribute(o, type);

	if (len > sizeof(a->value))
		return;
	if (!a && o->len < ATTRIBUTES_MAX)
		a = &o->attributes[o->len++];
	if (!a)
		return;
	a->type = type;
	a->len = len;
	memcpy(a->value, value, len);
}

static void set_bool(struct object *o, CK_ATTRIBUTE_TYPE type, CK_BBOOL value)
{
	set(o, type, &value, sizeof(value));
}

static void set_number(struct object *o, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
	set(o, type, &value, sizeof(value));
}

static void set_all(struct object *o, const CK_ATTRIBUTE *template, CK_ULONG len)
{
	for (CK_ULONG i = 0; i < len; i++)
		set(o, template[i].type, template[i].pValue, template[i].ulValueLen);
}

static bool fits(const struct object *o, const CK_ATTRIBUTE *template, CK_ULONG len)
{
	for (CK_ULONG i = 0; i < len; i++) {
		const struct attribute *a = find_attribute(o, template[i].type);

		if (!a || a->len != template[i].ulValueLen ||
		    memcmp(a->value, template[i].pValue, a->len) != 0)
			return false;
	}
	return true;
}

/* ---- sessions and objects; the lock is held ---- */

static struct session *session_of(CK_SESSION_HANDLE handle)
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (handle && sessions[i].handle == handle)
			return &sessions[i];
	return NULL;
}

static void end_session(struct session *s)
{
	EVP_PKEY_free(s->signing);
	memset(s, 0, sizeof(*s));
}

static void end_sessions(void)
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		end_session(&sessions[i]);
	logged_in = false;
}

static struct object *object_of(CK_OBJECT_HANDLE handle)
{
	return handle && handle <= objects_top && objects[handle - 1].used ? &objects[handle - 1] : NULL;
}

static CK_OBJECT_HANDLE new_object(struct object **ret)
{
	for (size_t i = 0; i < OBJECTS_MAX; i++) {
		if (objects[i].used)
			continue;
		memset(&objects[i], 0, sizeof(objects[i]));
		objects[i].used = true;
		if (i >= objects_top)
			objects_top = i + 1;
		*ret = &objects[i];
		return i + 1;
	}
	return 0;
}

static bool must_fail(void)
{
	if (!fail_every || ++calls % fail_every)
		return false;
	end_sessions();
	return true;
}

/* The session, or the answer of a call that has none. */
#define ENTER(s, handle)                                                                                     \
	struct session *s;                                                                                   \
	pthread_mutex_lock(&lock);                                                                           \
	s = session_of(handle);                                                                              \
	if (!s)                                                                                              \
	return leave(initialised ? CKR_SESSION_HANDLE_INVALID : CKR_CRYPTOKI_NOT_INITIALIZED)

static CK_RV leave(CK_RV rv)
{
	pthread_mutex_unlock(&lock);
	return rv;
}

/* ---- the module ---- */

static CK_RV fake_C_Initialize(void *arguments)
{
	const char *every = getenv("P11_FAKE_FAIL_EVERY");

	(void)arguments;
	pthread_mutex_lock(&lock);
	if (initialised)
		return leave(CKR_CRYPTOKI_ALREADY_INITIALIZED);
	fail_every = every ? strtoul(every, NULL, 10) : 0;
	no_login = getenv("P11_FAKE_NO_LOGIN") != NULL;
	more_keys = getenv("P11_FAKE_KEYS");
	other_slots = getenv("P11_FAKE_SLOTS") ? strtoul(getenv("P11_FAKE_SLOTS"), NULL, 10) : 0;
	initialised = true;
	return leave(CKR_OK);
}

static CK_RV fake_C_Finalize(void *reserved)
{
	(void)reserved;
	pthread_mutex_lock(&lock);
	end_sessions();
	initialised = false;
	return leave(CKR_OK);
}

static void pad(unsigned char *to, size_t len, const char *text)
{
	memset(to, ' ', len);
	memcpy(to, text, strlen(text));
}

static CK_RV fake_C_GetInfo(CK_INFO *info)
{
	memset(info, 0, sizeof(*info));
	info->cryptokiVersion = (CK_VERSION){2, 40};
	pad(info->manufacturerID, sizeof(info->manufacturerID), "csrd tests");
	pad(info->libraryDescription, sizeof(info->libraryDescription), "keys in memory");
	return CKR_OK;
}

/* Those of other tokens are SLOT + 1 and so on. */
static bool is_slot(CK_SLOT_ID slot)
{
	return slot >= SLOT && slot <= SLOT + other_slots;
}

static CK_RV fake_C_GetSlotList(unsigned char present, CK_SLOT_ID *list, CK_ULONG *len)
{
	const CK_ULONG room = *len;

	(void)present;
	*len = other_slots + 1;
	if (list && room < *len)
		return CKR_BUFFER_TOO_SMALL;
	for (CK_ULONG i = 0; i < *len && list; i++)
		list[i] = SLOT + other_slots - i;
	return CKR_OK;
}

static CK_RV fake_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	if (!is_slot(slot))
		return CKR_SLOT_ID_INVALID;
	memset(info, 0, sizeof(*info));
	pad(info->slotDescription, sizeof(info->slotDescription), "memory");
	pad(info->manufacturerID, sizeof(info->manufacturerID), "csrd tests");
	info->flags = CKF_TOKEN_PRESENT;
	return CKR_OK;
}

static CK_RV fake_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	if (!is_slot(slot))
		return CKR_SLOT_ID_INVALID;
	memset(info, 0, sizeof(*info));
	pad(info->label, sizeof(info->label), slot == SLOT ? LABEL : "another");
	pad(info->manufacturerID, sizeof(info->manufacturerID), "csrd tests");
	pad(info->model, sizeof(info->model), "memory");
	pad(info->serialNumber, sizeof(info->serialNumber), "1");
	info->flags = CKF_TOKEN_INITIALIZED | CKF_RNG;
	if (!no_login)
		info->flags |= CKF_USER_PIN_INITIALIZED | CKF_LOGIN_REQUIRED;
	info->ulMaxPinLen = 32;
	info->ulMinPinLen = 4;
	return CKR_OK;
}

/* ---- mechanisms ---- */

static bool makes(const char *keys)
{
	return more_keys && strcmp(more_keys, keys) == 0;
}

static bool makes_rsa(void)
{
	return makes("x9.31") || makes("186-3");
}

static bool makes_edwards(void)
{
	return makes("oid") || makes("name");
}

static CK_MECHANISM_TYPE rsa_mechanism(void)
{
	return makes("x9.31") ? CKM_RSA_X9_31_KEY_PAIR_GEN : CKM_LUNA_RSA_186_3;
}

static CK_RV fake_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *len)
{
	const CK_ULONG room = *len;
	CK_MECHANISM_TYPE all[5] = {CKM_EC_KEY_PAIR_GEN, CKM_ECDSA};

	if (slot != SLOT)
		return CKR_SLOT_ID_INVALID;
	*len = 2;
	if (makes_rsa()) {
		all[(*len)++] = CKM_RSA_PKCS_KEY_PAIR_GEN;
		all[(*len)++] = rsa_mechanism();
		all[(*len)++] = CKM_RSA_PKCS;
	} else if (makes_edwards()) {
		all[(*len)++] = CKM_EC_EDWARDS_KEY_PAIR_GEN;
		all[(*len)++] = CKM_EDDSA;
	}
	if (list && room < *len)
		return CKR_BUFFER_TOO_SMALL;
	if (list)
		memcpy(list, all, *len * sizeof(all[0]));
	return CKR_OK;
}

static CK_RV fake_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	CK_MECHANISM_TYPE all[5];
	CK_ULONG len = 5;

	if (slot != SLOT)
		return CKR_SLOT_ID_INVALID;
	fake_C_GetMechanismList(slot, all, &len);
	for (CK_ULONG i = 0; i < len; i++) {
		if (all[i] != type)
			continue;
		*info = (CK_MECHANISM_INFO){256, 256, CKF_GENERATE_KEY_PAIR};
		if (type == CKM_ECDSA || type == CKM_RSA_PKCS || type == CKM_EDDSA)
			info->flags = CKF_SIGN;
		if (makes_rsa() && i >= 2)
			info->ulMinKeySize = info->ulMaxKeySize = 8 * RSA_BYTES;
		return CKR_OK;
	}
	return CKR_MECHANISM_INVALID;
}

/* ---- sessions ---- */

static CK_RV fake_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
				CK_SESSION_HANDLE *ret_session)
{
	(void)flags;
	(void)application;
	(void)notify;
	pthread_mutex_lock(&lock);
	if (!initialised || slot != SLOT)
		return leave(initialised ? CKR_SLOT_ID_INVALID : CKR_CRYPTOKI_NOT_INITIALIZED);
	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		if (sessions[i].handle)
			continue;
		*ret_session = sessions[i].handle = ++last_session;
		return leave(CKR_OK);
	}
	return leave(CKR_SESSION_COUNT);
}

static CK_RV fake_C_CloseSession(CK_SESSION_HANDLE handle)
{
	ENTER(s, handle);
	end_session(s);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (sessions[i].handle)
			return leave(CKR_OK);
	logged_in = false; /* with the last one */
	return leave(CKR_OK);
}

static CK_RV fake_C_CloseAllSessions(CK_SLOT_ID slot)
{
	(void)slot;
	pthread_mutex_lock(&lock);
	end_sessions();
	return leave(CKR_OK);
}

static CK_RV fake_C_GetSessionInfo(CK_SESSION_HANDLE handle, CK_SESSION_INFO *info)
{
	ENTER(s, handle);
	*info = (CK_SESSION_INFO){SLOT, logged_in ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION,
				  CKF_RW_SESSION | CKF_SERIAL_SESSION, 0};
	return leave(CKR_OK);
}

static CK_RV fake_C_Login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
	(void)user;
	ENTER(s, handle);
	if (no_login)
		return leave(CKR_USER_TYPE_INVALID);
	if (logged_in)
		return leave(CKR_USER_ALREADY_LOGGED_IN);
	if (len != strlen(PIN) || memcmp(pin, PIN, len) != 0)
		return leave(CKR_PIN_INCORRECT);
	logged_in = true;
	return leave(CKR_OK);
}

static CK_RV fake_C_Logout(CK_SESSION_HANDLE handle)
{
	ENTER(s, handle);
	logged_in = false;
	return leave(CKR_OK);
}

/* ---- objects ---- */

static CK_RV fake_C_DestroyObject(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object)
{
	struct object *o;

	ENTER(s, handle);
	if (!(o = object_of(object)))
		return leave(CKR_OBJECT_HANDLE_INVALID);
	EVP_PKEY_free(o->key);
	memset(o, 0, sizeof(*o));
	return leave(CKR_OK);
}

static CK_RV fake_C_GetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object,
				      CK_ATTRIBUTE *template, CK_ULONG len)
{
	const struct object *o;
	CK_RV rv = CKR_OK;

	ENTER(s, handle);
	if (!(o = object_of(object)))
		return leave(CKR_OBJECT_HANDLE_INVALID);
	for (CK_ULONG i = 0; i < len; i++) {
		const struct attribute *a = find_attribute(o, template[i].type);
		bool small = a && template[i].pValue && template[i].ulValueLen < a->len;

		if (!a || small) {
			template[i].ulValueLen = (CK_ULONG)-1;
			rv = small ? CKR_BUFFER_TOO_SMALL : CKR_ATTRIBUTE_TYPE_INVALID;
			continue;
		}
		if (template[i].pValue)
			memcpy(template[i].pValue, a->value, a->len);
		template[i].ulValueLen = a->len;
	}
	return leave(rv);
}

static CK_RV fake_C_CreateObject(CK_SESSION_HANDLE handle, CK_ATTRIBUTE *template, CK_ULONG len,
				 CK_OBJECT_HANDLE *ret_object)
{
	struct object *o;

	ENTER(s, handle);
	for (CK_ULONG i = 0; i < len; i++)
		if (template[i].ulValueLen > VALUE_MAX)
			return leave(CKR_ATTRIBUTE_VALUE_INVALID);
	if (!(*ret_object = new_object(&o)))
		return leave(CKR_DEVICE_MEMORY);
	set_all(o, template, len);
	return leave(CKR_OK);
}

static CK_RV fake_C_FindObjectsInit(CK_SESSION_HANDLE handle, CK_ATTRIBUTE *template, CK_ULONG len)
{
	ENTER(s, handle);
	if (s->searching)
		return leave(CKR_OPERATION_ACTIVE);
	s->searching = true;
	s->found_len = 0;
	for (size_t i = 0; i < objects_top && s->found_len < FOUND_MAX; i++)
		if (objects[i].used && fits(&objects[i], template, len))
			s->found[s->found_len++] = i + 1;
	return leave(CKR_OK);
}

static CK_RV fake_C_FindObjects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE *list, CK_ULONG max,
				CK_ULONG *ret_len)
{
	CK_ULONG len;

	ENTER(s, handle);
	if (!s->searching)
		return leave(CKR_OPERATION_NOT_INITIALIZED);
	len = s->found_len < max ? s->found_len : max;
	memcpy(list, s->found, len * sizeof(list[0]));
	memmove(s->found, s->found + len, (s->found_len - len) * sizeof(list[0]));
	s->found_len -= len;
	*ret_len = len;
	return leave(CKR_OK);
}

static CK_RV fake_C_FindObjectsFinal(CK_SESSION_HANDLE handle)
{
	ENTER(s, handle);
	s->searching = false;
	return leave(CKR_OK);
}

/* ---- keys ---- */

static CK_KEY_TYPE type_of(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "RSA") ? CKK_RSA : EVP_PKEY_is_a(key, "EC") ? CKK_EC : CKK_EC_EDWARDS;
}

static void set_public_value(struct object *o, EVP_PKEY *key)
{
	unsigned char point[2 + 65] = {0x04, 65}; /* an OCTET STRING */
	unsigned char value[RSA_BYTES];
	size_t len = sizeof(value);
	BIGNUM *n = NULL;

	switch (type_of(key)) {
	case CKK_EC:
		EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point + 2, 65, &len);
		set(o, CKA_EC_POINT, point, sizeof(point));
		break;
	case CKK_RSA:
		EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n);
		set(o, CKA_MODULUS, value, (CK_ULONG)BN_bn2bin(n, value));
		BN_free(n);
		break;
	default:
		EVP_PKEY_get_raw_public_key(key, value, &len);
		set(o, CKA_EC_POINT, value, len);
		break;
	}
}

static void fill_public(struct object *o, const CK_ATTRIBUTE *template, CK_ULONG len, EVP_PKEY *key)
{
	set_all(o, template, len);
	set_number(o, CKA_CLASS, CKO_PUBLIC_KEY);
	set_number(o, CKA_KEY_TYPE, type_of(key));
	set_bool(o, CKA_LOCAL, CK_TRUE);
	set_public_value(o, key);
}

static void fill_private(struct object *o, const CK_ATTRIBUTE *template, CK_ULONG len, EVP_PKEY *key)
{
	static const CK_ATTRIBUTE_TYPE none[] = {CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE, CKA_SIGN_RECOVER};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		set_bool(o, none[i], CK_FALSE);
	set_all(o, template, len);
	set_number(o, CKA_CLASS, CKO_PRIVATE_KEY);
	set_number(o, CKA_KEY_TYPE, type_of(key));
	set_bool(o, CKA_LOCAL, CK_TRUE);
	set_bool(o, CKA_ALWAYS_SENSITIVE, CK_TRUE);
	set_bool(o, CKA_NEVER_EXTRACTABLE, CK_TRUE);
	o->key = key;
}

/* The tag of CKA_EC_PARAMS: 0x06 for an object identifier, 0x13 for a name. */
static unsigned char tag_of_curve(const CK_ATTRIBUTE *template, CK_ULONG len)
{
	for (CK_ULONG i = 0; i < len; i++)
		if (template[i].type == CKA_EC_PARAMS && template[i].ulValueLen)
			return *(const unsigned char *)template[i].pValue;
	return 0;
}

static CK_RV new_key(CK_MECHANISM_TYPE type, const CK_ATTRIBUTE *template, CK_ULONG len, EVP_PKEY **ret_key)
{
	if (type == CKM_EC_KEY_PAIR_GEN)
		*ret_key = EVP_EC_gen("P-256");
	else if (makes_rsa() && type == rsa_mechanism())
		*ret_key = EVP_RSA_gen(8 * RSA_BYTES);
	else if (makes_edwards() && type == CKM_EC_EDWARDS_KEY_PAIR_GEN)
		if (tag_of_curve(template, len) != (makes("oid") ? 0x06 : 0x13))
			return CKR_CURVE_NOT_SUPPORTED;
		else
			*ret_key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		return CKR_MECHANISM_INVALID;
	return *ret_key ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV fake_C_GenerateKeyPair(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism,
				    CK_ATTRIBUTE *public_template, CK_ULONG public_len,
				    CK_ATTRIBUTE *private_template, CK_ULONG private_len,
				    CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
	struct object *public = NULL, *private = NULL;
	EVP_PKEY *key = NULL;
	CK_RV rv;

	/* not under the lock: several at a time, as in a real device */
	rv = new_key(mechanism->mechanism, public_template, public_len, &key);
	if (rv != CKR_OK)
		return rv;
	pthread_mutex_lock(&lock);
	if (!session_of(handle) || must_fail()) {
		EVP_PKEY_free(key);
		return leave(CKR_SESSION_HANDLE_INVALID);
	}
	if (!logged_in && !no_login) {
		EVP_PKEY_free(key);
		return leave(CKR_USER_NOT_LOGGED_IN);
	}
	*ret_public = new_object(&public);
	*ret_private = new_object(&private);
	if (!public || !private) {
		if (public)
		public->used = false;
		EVP_PKEY_free(key);
		return leave(CKR_DEVICE_MEMORY);
	}
	fill_public(public, public_template, public_len, key);
	fill_private(private, private_template, private_len, key);
	return leave(CKR_OK);
}

static CK_RV fake_C_SignInit(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	struct object *o;

	ENTER(s, handle);
	if (mechanism->mechanism != CKM_ECDSA && mechanism->mechanism != CKM_RSA_PKCS &&
	    mechanism->mechanism != CKM_EDDSA)
		return leave(CKR_MECHANISM_INVALID);
	if (s->signing)
		return leave(CKR_OPERATION_ACTIVE);
	if (!logged_in && !no_login)
		return leave(CKR_USER_NOT_LOGGED_IN);
	if (!(o = object_of(key)) || !o->key)
		return leave(CKR_KEY_HANDLE_INVALID);
	EVP_PKEY_up_ref(o->key);
	s->signing = o->key;
	s->how = mechanism->mechanism;
	return leave(CKR_OK);
}

/* DER of SEQUENCE { r, s } to r || s. */
static bool flatten(const unsigned char *der, size_t der_len, unsigned char out[2 * HALF])
{
	ECDSA_SIG *value = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
	bool good = value && BN_bn2binpad(ECDSA_SIG_get0_r(value), out, HALF) == HALF &&
		    BN_bn2binpad(ECDSA_SIG_get0_s(value), out + HALF, HALF) == HALF;

	ECDSA_SIG_free(value);
	return good;
}

static CK_RV sign_ecdsa(EVP_PKEY *key, const unsigned char *data, size_t len, unsigned char out[2 * HALF])
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	unsigned char der[128];
	size_t der_len = sizeof(der);
	CK_RV rv = CKR_FUNCTION_FAILED;

	if (context && EVP_PKEY_sign_init(context) == 1 &&
	    EVP_PKEY_sign(context, der, &der_len, data, len) == 1 && flatten(der, der_len, out))
		rv = CKR_OK;
	EVP_PKEY_CTX_free(context);
	return rv;
}

/* PKCS #1 v1.5 over what the caller has made: a DigestInfo. */
static CK_RV sign_rsa(EVP_PKEY *key, const unsigned char *data, size_t len, unsigned char out[RSA_BYTES])
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	size_t out_len = RSA_BYTES;
	CK_RV rv = CKR_FUNCTION_FAILED;

	if (context && EVP_PKEY_sign_init(context) == 1 &&
	    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1 &&
	    EVP_PKEY_sign(context, out, &out_len, data, len) == 1 && out_len == RSA_BYTES)
		rv = CKR_OK;
	EVP_PKEY_CTX_free(context);
	return rv;
}

static CK_RV sign_eddsa(EVP_PKEY *key, const unsigned char *data, size_t len, unsigned char out[2 * HALF])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t out_len = 2 * HALF;
	CK_RV rv = CKR_FUNCTION_FAILED;

	if (context && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
	    EVP_DigestSign(context, out, &out_len, data, len) == 1)
		rv = CKR_OK;
	EVP_MD_CTX_free(context);
	return rv;
}

static CK_RV fake_C_Sign(CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG len,
			 unsigned char *signature, CK_ULONG *signature_len)
{
	CK_MECHANISM_TYPE how;
	CK_ULONG wanted;
	EVP_PKEY *key;
	CK_RV rv;

	ENTER(s, handle);
	if (!s->signing)
		return leave(CKR_OPERATION_NOT_INITIALIZED);
	if (must_fail())
		return leave(CKR_SESSION_HANDLE_INVALID);
	how = s->how;
	wanted = how == CKM_RSA_PKCS ? RSA_BYTES : 2 * HALF;
	if (!signature || *signature_len < wanted) {
		*signature_len = wanted;
		return leave(signature ? CKR_BUFFER_TOO_SMALL : CKR_OK);
	}
	key = s->signing;
	s->signing = NULL;
	pthread_mutex_unlock(&lock);
	rv = how == CKM_ECDSA      ? sign_ecdsa(key, data, len, signature)
	     : how == CKM_RSA_PKCS ? sign_rsa(key, data, len, signature)
				   : sign_eddsa(key, data, len, signature);
	EVP_PKEY_free(key);
	*signature_len = wanted;
	return rv;
}

#define ENTRY(name) .name = fake_##name

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	static CK_FUNCTION_LIST functions = {
	    .version = {2, 40},
	    ENTRY(C_Initialize),
	    ENTRY(C_Finalize),
	    ENTRY(C_GetInfo),
	    .C_GetFunctionList = C_GetFunctionList,
	    ENTRY(C_GetSlotList),
	    ENTRY(C_GetSlotInfo),
	    ENTRY(C_GetTokenInfo),
	    ENTRY(C_GetMechanismList),
	    ENTRY(C_GetMechanismInfo),
	    ENTRY(C_OpenSession),
	    ENTRY(C_CloseSession),
	    ENTRY(C_CloseAllSessions),
	    ENTRY(C_GetSessionInfo),
	    ENTRY(C_Login),
	    ENTRY(C_Logout),
	    ENTRY(C_DestroyObject),
	    ENTRY(C_GetAttributeValue),
	    ENTRY(C_CreateObject),
	    ENTRY(C_FindObjectsInit),
	    ENTRY(C_FindObjects),
	    ENTRY(C_FindObjectsFinal),
	    ENTRY(C_GenerateKeyPair),
	    ENTRY(C_SignInit),
	    ENTRY(C_Sign),
	};

	*list = &functions;
	return CKR_OK;
}
