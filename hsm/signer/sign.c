/* Asks the token for a signature and puts it into X.509 form. */
#include "hsm/signer/sign.h"

#include "hsm/signer/ckr.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <string.h>

#define SHA256_BYTES 32
#define P256_HALF 32

/* DigestInfo of SHA-256 (RFC 8017 §9.2 note 1), before the digest. */
static const unsigned char digest_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					    0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

static enum err digest(const uint8_t *data, size_t len, unsigned char *out)
{
	unsigned out_len = 0;

	return EVP_Digest(data, len, out, &out_len, EVP_sha256(), NULL) == 1 && out_len == SHA256_BYTES
		   ? E_OK
		   : E_NOMEM;
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
	unsigned char block[sizeof(digest_info) + SHA256_BYTES], out[512];
	size_t out_len = 0;
	enum err e;

	if (s->token->signs_sha256_rsa) {
		e = sign(s, key->private_key, CKM_SHA256_RSA_PKCS, data, len, out, sizeof(out), &out_len);
	} else {
		memcpy(block, digest_info, sizeof(digest_info));
		if ((e = digest(data, len, block + sizeof(digest_info))))
			return e;
		e = sign(s, key->private_key, CKM_RSA_PKCS, block, sizeof(block), out, sizeof(out), &out_len);
	}
	if (e)
		return e;
	buf_put(signature, out, out_len);
	return buf_status(signature);
}

/* r || s (PKCS#11 v2.40 mechanisms §2.3.1) to SEQUENCE { r, s }. */
static enum err put_ecdsa(const unsigned char *raw, struct buf *signature)
{
	ECDSA_SIG *value = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, P256_HALF, NULL);
	BIGNUM *s = BN_bin2bn(raw + P256_HALF, P256_HALF, NULL);
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

static enum err sign_p256(struct session *s, const struct key *key, const uint8_t *data, size_t len,
			  struct buf *signature)
{
	unsigned char hash[SHA256_BYTES], out[2 * P256_HALF];
	size_t out_len = 0;
	enum err e;

	if ((e = digest(data, len, hash)) ||
	    (e = sign(s, key->private_key, CKM_ECDSA, hash, sizeof(hash), out, sizeof(out), &out_len)))
		return e;
	if (out_len != sizeof(out)) {
		session_explain(s, "C_Sign: an ecdsa signature of %zu bytes", out_len);
		return E_HSM;
	}
	return put_ecdsa(out, signature);
}

enum err sign_bytes(struct session *s, const struct key *key, const uint8_t *data, size_t len,
		    struct buf *signature)
{
	return key->type == KEY_RSA2048 ? sign_rsa(s, key, data, len, signature)
					: sign_p256(s, key, data, len, signature);
}
