/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a public key object and checks that it is the kind of key that was asked for. */
#include "hsm/signer/key/public_key.h"

#include "hsm/signer/key/key_kind.h"
#include "hsm/signer/key/weak_key.h"
#include "hsm/signer/token/object.h"
#include "ossl/ossl_memory.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <string.h>

static enum err from_params(const char *algorithm, OSSL_PARAM_BLD *builder, EVP_PKEY **ret_key)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
	EVP_PKEY *key = NULL;
	enum err e = E_NOMEM;

	if (!params || !ctx)
		goto out;
	e = E_HSM;
	if (EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		goto out;
	*ret_key = key;
	e = E_OK;
out:
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return e;
}

/* In words that an operator finds: this is no ordinary failure, unless there was no memory to find out. */
static enum err public_key_refuse(struct session *s, const char *reason)
{
	if (ossl_memory_ran_out())
		return E_NOMEM;
	session_explain(s, "the token made a weak or wrong key: %s", reason);
	return E_HSM;
}

/* ---- RSA ---- */

static enum err build_rsa(const BIGNUM *n, const BIGNUM *e_bn, EVP_PKEY **ret_key)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	enum err e;

	if (!builder)
		return E_NOMEM;
	if (!OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) ||
	    !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e_bn))
		e = E_NOMEM;
	else
		e = from_params("RSA", builder, ret_key);
	OSSL_PARAM_BLD_free(builder);
	return e;
}

static enum err read_rsa(struct session *s, CK_OBJECT_HANDLE object, const struct key_kind *kind,
			 EVP_PKEY **ret_key)
{
	unsigned char modulus[1024], exponent[64];
	CK_ATTRIBUTE attributes[] = {{CKA_MODULUS, modulus, sizeof(modulus)},
				     {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)}};
	BIGNUM *n = NULL, *e_bn = NULL;
	const char *reason = "";
	enum err e;

	if ((e = object_read(s, object, attributes, 2)) != E_OK)
		return e;
	ossl_memory_begin();
	n = BN_bin2bn(modulus, (int)attributes[0].ulValueLen, NULL);
	e_bn = BN_bin2bn(exponent, (int)attributes[1].ulValueLen, NULL);
	e = n && e_bn ? weak_key_check_rsa(n, e_bn, kind->bits, &reason) : E_NOMEM;
	if (e == E_HSM)
		e = public_key_refuse(s, reason);
	else if (e == E_OK)
		e = build_rsa(n, e_bn, ret_key);
	BN_free(n);
	BN_free(e_bn);
	return e;
}

/* ---- curves ---- */

static bool equals(const unsigned char *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	return b && a_len == b_len && memcmp(a, b, a_len) == 0;
}

static bool public_key_is_curve(const struct key_kind *kind, const CK_ATTRIBUTE *params)
{
	return equals(params->pValue, params->ulValueLen, kind->oid, kind->oid_len) ||
	       equals(params->pValue, params->ulValueLen, kind->curve_name, kind->curve_name_len);
}

/*
 * The bare octets in CKA_EC_POINT.  For ECDSA it is a DER OCTET STRING (PKCS#11 v2.40 mechanisms §2.3.3),
 * for EdDSA the octets as they are; tokens also do it the other way round, or make a BIT STRING of it.
 * NULL: it is none of these.
 */
static const unsigned char *find_point(const struct key_kind *kind, const CK_ATTRIBUTE *attribute)
{
	const unsigned char *raw = attribute->pValue;
	const size_t wanted = kind->point_bytes, len = attribute->ulValueLen;

	if (len == wanted)
		return raw;
	if (len == wanted + 2 && raw[0] == V_ASN1_OCTET_STRING && raw[1] == wanted)
		return raw + 2;
	if (len == wanted + 3 && raw[0] == V_ASN1_BIT_STRING && raw[1] == wanted + 1 && raw[2] == 0)
		return raw + 3;
	return NULL;
}

static enum err build_ec(const struct key_kind *kind, const unsigned char *point, EVP_PKEY **ret_key)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	enum err e;

	if (!builder)
		return E_NOMEM;
	if (!OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, kind->group, 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, kind->point_bytes))
		e = E_NOMEM;
	else
		e = from_params("EC", builder, ret_key);
	OSSL_PARAM_BLD_free(builder);
	return e;
}

static enum err build_edwards(const struct key_kind *kind, const unsigned char *point, EVP_PKEY **ret_key)
{
	*ret_key = EVP_PKEY_new_raw_public_key_ex(NULL, kind->group, NULL, point, kind->point_bytes);
	return *ret_key ? E_OK : E_HSM;
}

static enum err read_curve(struct session *s, CK_OBJECT_HANDLE object, const struct key_kind *kind,
			   EVP_PKEY **ret_key)
{
	unsigned char params[64], raw[256];
	CK_ATTRIBUTE attributes[] = {{CKA_EC_PARAMS, params, sizeof(params)},
				     {CKA_EC_POINT, raw, sizeof(raw)}};
	const unsigned char *point;
	const char *reason = "";
	enum err e;

	if ((e = object_read(s, object, attributes, 2)) != E_OK)
		return e;
	ossl_memory_begin();
	if (!public_key_is_curve(kind, &attributes[0]))
		return public_key_refuse(s, "not on the named curve asked for");
	if (!(point = find_point(kind, &attributes[1])))
		return public_key_refuse(s, "the point has the wrong length");
	if (kind->family == KEY_FAMILY_EDWARDS)
		e = weak_key_check_ed25519(point, &reason);
	else
		e = weak_key_check_ec(kind->curve_nid, point, kind->point_bytes, &reason);
	if (e != E_OK)
		return e == E_HSM ? public_key_refuse(s, reason) : e;
	return kind->family == KEY_FAMILY_EDWARDS ? build_edwards(kind, point, ret_key)
						  : build_ec(kind, point, ret_key);
}

/* ---- all ---- */

/* The quick check leaves out the order of the point: on these curves every point has it. */
static enum err public_key_check(struct session *s, EVP_PKEY *key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	int rc;

	if (!ctx)
		return E_NOMEM;
	rc = EVP_PKEY_public_check_quick(ctx);
	EVP_PKEY_CTX_free(ctx);
	if (rc == 1)
		return E_OK;
	return public_key_refuse(s, "openssl's check does not pass");
}

enum err public_key_read(struct session *s, const struct key *key, struct spki **ret_key)
{
	const struct key_kind *kind = key_kind(key->type);
	EVP_PKEY *public_key = NULL;
	enum err e;

	ossl_memory_begin(); /* what was before says nothing of a failure to read */
	e = kind->family == KEY_FAMILY_RSA ? read_rsa(s, key->public_key, kind, &public_key)
					   : read_curve(s, key->public_key, kind, &public_key);
	if (e == E_HSM && ossl_memory_ran_out())
		e = E_NOMEM;
	if (e == E_HSM && !s->failure[0])
		session_explain(s, "public key: openssl does not take it");
	if (e == E_OK)
		e = public_key_check(s, public_key);
	if (e == E_OK && (e = spki_new(public_key, ret_key)) == E_HSM)
		e = public_key_refuse(s, "openssl does not encode it as a csr needs it");
	ERR_clear_error();
	if (e != E_OK)
		EVP_PKEY_free(public_key);
	return e;
}
