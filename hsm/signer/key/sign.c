/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the token for a signature and puts it into X.509 form. */
#include "hsm/signer/key/sign.h"

#include "hsm/signer/key/key_kind.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <string.h>

#define RSA_MAX_BYTES 512
#define FIELD_MAX_BYTES 48
#define ED25519_SIGNATURE_BYTES 64

/* DigestInfo of SHA-256 (RFC 8017 §9.2 note 1), before the digest. */
static const unsigned char digest_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					    0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

struct digest {
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned len;
};

static enum err digest(const struct key_kind *kind, const uint8_t *data, size_t len, struct digest *ret)
{
	return EVP_Digest(data, len, ret->bytes, &ret->len, kind->digest(), NULL) == 1 ? E_OK : E_NOMEM;
}

/* In one part: not every token signs in several. */
static enum err sign(struct session *s, CK_OBJECT_HANDLE private_key, CK_MECHANISM_TYPE type,
		     const uint8_t *data, size_t len, unsigned char *out, size_t out_max, size_t *ret_len)
{
	CK_MECHANISM mechanism = {type, NULL, 0};
	CK_ULONG out_len = out_max;
	CK_RV rv = s->token->p11->C_SignInit(s->handle, &mechanism, private_key);

	if (rv != CKR_OK)
		return session_fail(s, "C_SignInit", rv);
	rv = s->token->p11->C_Sign(s->handle, (unsigned char *)(uintptr_t)data, len, out, &out_len);
	if (rv != CKR_OK)
		return session_fail(s, "C_Sign", rv);
	if (out_len > out_max) {
		session_explain(s, "C_Sign: a signature of %lu bytes", out_len);
		return E_HSM;
	}
	*ret_len = out_len;
	return E_OK;
}

static enum err sign_rsa(struct session *s, const struct key *key, const uint8_t *data, size_t len,
			 struct buf *signature)
{
	unsigned char block[sizeof(digest_info) + EVP_MAX_MD_SIZE], out[RSA_MAX_BYTES];
	struct digest d;
	size_t out_len = 0;
	enum err e;

	if (s->token->signs_sha256_rsa) {
		e = sign(s, key->private_key, CKM_SHA256_RSA_PKCS, data, len, out, sizeof(out), &out_len);
	} else {
		if ((e = digest(key_kind(key->type), data, len, &d)) != E_OK)
			return e;
		memcpy(block, digest_info, sizeof(digest_info));
		memcpy(block + sizeof(digest_info), d.bytes, d.len);
		e = sign(s, key->private_key, CKM_RSA_PKCS, block, sizeof(digest_info) + d.len, out,
			 sizeof(out), &out_len);
	}
	if (e != E_OK)
		return e;
	buf_put(signature, out, out_len);
	return buf_status(signature);
}

/* r || s (PKCS#11 v2.40 mechanisms §2.3.1) to SEQUENCE { r, s }. */
static enum err put_ecdsa(const unsigned char *raw, size_t half, struct buf *signature)
{
	ECDSA_SIG *value = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, (int)half, NULL);
	BIGNUM *s = BN_bin2bn(raw + half, (int)half, NULL);
	unsigned char *der = NULL;
	enum err e = E_NOMEM;
	int len;

	if (!value || !r || !s || ECDSA_SIG_set0(value, r, s) != 1)
		goto out;
	r = s = NULL; /* the signature's now */
	len = i2d_ECDSA_SIG(value, &der);
	if (len <= 0)
		goto out;
	buf_put(signature, der, (size_t)len);
	e = buf_status(signature);
out:
	OPENSSL_free(der);
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(value);
	return e;
}

static enum err sign_ecdsa(struct session *s, const struct key *key, const uint8_t *data, size_t len,
			   struct buf *signature)
{
	const struct key_kind *kind = key_kind(key->type);
	const size_t half = (size_t)kind->bits / 8;
	unsigned char out[2 * FIELD_MAX_BYTES];
	struct digest d;
	size_t out_len = 0;
	enum err e;

	if ((e = digest(kind, data, len, &d)) != E_OK ||
	    (e = sign(s, key->private_key, CKM_ECDSA, d.bytes, d.len, out, sizeof(out), &out_len)) != E_OK)
		return e;
	if (out_len != 2 * half) {
		session_explain(s, "C_Sign: an ecdsa signature of %zu bytes", out_len);
		return E_HSM;
	}
	return put_ecdsa(out, half, signature);
}

/* Without CK_EDDSA_PARAMS it is pure Ed25519, whose message may not come as a digest (RFC 8032 §5.1). */
static enum err sign_eddsa(struct session *s, const struct key *key, const uint8_t *data, size_t len,
			   struct buf *signature)
{
	unsigned char out[ED25519_SIGNATURE_BYTES];
	size_t out_len = 0;
	enum err e = sign(s, key->private_key, CKM_EDDSA, data, len, out, sizeof(out), &out_len);

	if (e != E_OK)
		return e;
	if (out_len != sizeof(out)) {
		session_explain(s, "C_Sign: an ed25519 signature of %zu bytes", out_len);
		return E_HSM;
	}
	buf_put(signature, out, out_len);
	return buf_status(signature);
}

enum err sign_bytes(struct session *s, const struct key *key, const uint8_t *data, size_t len,
		    struct buf *signature)
{
	switch (key_kind(key->type)->family) {
	case KEY_FAMILY_RSA:
		return sign_rsa(s, key, data, len, signature);
	case KEY_FAMILY_EC:
		return sign_ecdsa(s, key, data, len, signature);
	case KEY_FAMILY_EDWARDS:
		return sign_eddsa(s, key, data, len, signature);
	}
	return E_BUG;
}
