/* Reads a public key object and checks that it is the kind of key that was asked for. */
#include "hsm/signer/public_key.h"

#include "hsm/signer/ckr.h"
#include "hsm/signer/object.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <string.h>

#define RSA_BITS 2048
#define RSA_EXPONENT 65537
#define P256_POINT_BYTES 65 /* 0x04, x, y: the uncompressed form (SEC 1 §2.3.3) */

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

/* ---- RSA ---- */

static enum err build_rsa(struct session *s, const BIGNUM *n, const BIGNUM *e_bn, EVP_PKEY **ret_key)
{
	OSSL_PARAM_BLD *builder;
	enum err e;

	if (BN_num_bits(n) != RSA_BITS || !BN_is_odd(n) || !BN_is_word(e_bn, RSA_EXPONENT)) {
		session_explain(s, "rsa public key: %d-bit modulus, exponent %s", BN_num_bits(n),
				BN_is_word(e_bn, RSA_EXPONENT) ? "65537" : "other than 65537");
		return E_HSM;
	}
	builder = OSSL_PARAM_BLD_new();
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

static enum err read_rsa(struct session *s, CK_OBJECT_HANDLE object, EVP_PKEY **ret_key)
{
	unsigned char modulus[1024], exponent[64];
	CK_ATTRIBUTE attributes[] = {{CKA_MODULUS, modulus, sizeof(modulus)},
				     {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)}};
	BIGNUM *n = NULL, *e_bn = NULL;
	enum err e;

	if ((e = object_read(s, object, attributes, 2)))
		return e;
	n = BN_bin2bn(modulus, (int)attributes[0].ulValueLen, NULL);
	e_bn = BN_bin2bn(exponent, (int)attributes[1].ulValueLen, NULL);
	e = n && e_bn ? build_rsa(s, n, e_bn, ret_key) : E_NOMEM;
	BN_free(n);
	BN_free(e_bn);
	return e;
}

/* ---- EC ---- */

static enum err build_p256(const unsigned char *point, EVP_PKEY **ret_key)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	enum err e;

	if (!builder)
		return E_NOMEM;
	if (!OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, P256_POINT_BYTES))
		e = E_NOMEM;
	else
		e = from_params("EC", builder, ret_key);
	OSSL_PARAM_BLD_free(builder);
	return e;
}

static enum err read_p256(struct session *s, CK_OBJECT_HANDLE object, EVP_PKEY **ret_key)
{
	unsigned char params[64], raw[256];
	CK_ATTRIBUTE attributes[] = {{CKA_EC_PARAMS, params, sizeof(params)},
				     {CKA_EC_POINT, raw, sizeof(raw)}};
	const unsigned char *point = raw;
	size_t len;
	enum err e;

	if ((e = object_read(s, object, attributes, 2)))
		return e;
	len = attributes[1].ulValueLen;
	/* A DER OCTET STRING (PKCS#11 v2.40 mechanisms §2.3.3); some tokens give the bare point. */
	if (len == P256_POINT_BYTES + 2 && raw[0] == 0x04 && raw[1] == P256_POINT_BYTES) {
		point += 2;
		len -= 2;
	}
	if (attributes[0].ulValueLen != KEY_P256_OID_BYTES ||
	    memcmp(params, key_p256_oid, KEY_P256_OID_BYTES) != 0 || len != P256_POINT_BYTES ||
	    point[0] != 0x04) {
		session_explain(s, "ec public key: not an uncompressed point of the named curve p-256");
		return E_HSM;
	}
	return build_p256(point, ret_key);
}

/* ---- both ---- */

static enum err check(struct session *s, EVP_PKEY *key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	int rc;

	if (!ctx)
		return E_NOMEM;
	rc = EVP_PKEY_public_check(ctx);
	EVP_PKEY_CTX_free(ctx);
	if (rc == 1)
		return E_OK;
	session_explain(s, "public key: it does not pass openssl's check");
	return E_HSM;
}

enum err public_key_read(struct session *s, const struct key *key, EVP_PKEY **ret_key)
{
	EVP_PKEY *public_key = NULL;
	enum err e;

	e = key->type == KEY_RSA2048 ? read_rsa(s, key->public_key, &public_key)
				     : read_p256(s, key->public_key, &public_key);
	if (e == E_HSM && !s->failure[0])
		session_explain(s, "public key: openssl does not take it");
	if (e == E_OK)
		e = check(s, public_key);
	ERR_clear_error();
	if (e) {
		EVP_PKEY_free(public_key);
		return e;
	}
	*ret_key = public_key;
	return E_OK;
}
