/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes a public key once and remembers what is asked about it later. */
#include "hsm/signer/key/spki.h"

#include "ossl/ossl_memory.h"

#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

/* The head of the element at *at, which has that tag and ends by `end`; *at moves behind the head. */
static enum err enter(const unsigned char **at, const unsigned char *end, int wanted_tag, long *ret_len)
{
	int tag = -1, class = -1;
	int rc = ASN1_get_object(at, ret_len, &tag, &class, end - *at);

	return !(rc & 0x81) && tag == wanted_tag && class == V_ASN1_UNIVERSAL ? E_OK : E_HSM;
}

static enum err take_algorithm(struct spki *spki, const unsigned char **at, const unsigned char *end)
{
	X509_ALGOR *algorithm = d2i_X509_ALGOR(NULL, at, end - *at);
	const ASN1_OBJECT *object;
	const void *value;
	enum err e = E_OK;

	if (!algorithm)
		return E_HSM;
	X509_ALGOR_get0(&object, &spki->parameters_type, &value, algorithm);
	spki->algorithm_nid = OBJ_obj2nid(object);
	spki->curve_nid = spki->parameters_type == V_ASN1_OBJECT ? OBJ_obj2nid(value) : NID_undef;
	if (spki->algorithm_nid == NID_undef)
		e = E_HSM;
	else if (spki->parameters_type == V_ASN1_OBJECT)
		e = spki->curve_nid == NID_undef ? E_HSM : E_OK;
	else if (spki->parameters_type != V_ASN1_NULL && spki->parameters_type != V_ASN1_UNDEF)
		e = E_HSM;
	X509_ALGOR_free(algorithm);
	return e;
}

static enum err look_into(struct spki *spki)
{
	const unsigned char *at = spki->der, *end = spki->der + spki->len;
	long len = 0;
	enum err e;

	if ((e = enter(&at, end, V_ASN1_SEQUENCE, &len)) != E_OK || at + len != end)
		return E_HSM;
	if ((e = take_algorithm(spki, &at, end)) != E_OK ||
	    (e = enter(&at, end, V_ASN1_BIT_STRING, &len)) != E_OK)
		return e;
	if (at + len != end || len < 2 || *at != 0) /* the first octet counts bits that are not used */
		return E_HSM;
	spki->bits_at = (size_t)(at + 1 - spki->der);
	return E_OK;
}

/* As i2d_PUBKEY does for a key on a named curve (RFC 5480 §2), in a tenth of its time. */
static enum err encode_ec(EVP_PKEY *key, unsigned char **ret_der, int *ret_len)
{
	X509_PUBKEY *target = X509_PUBKEY_new();
	unsigned char *point = NULL;
	size_t point_len = EVP_PKEY_get1_encoded_public_key(key, &point);
	enum err e = E_NOMEM;
	char curve[64];

	if (!target || !point_len)
		goto out;
	e = E_HSM;
	if (EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) != 1 || OBJ_sn2nid(curve) == NID_undef ||
	    X509_PUBKEY_set0_param(target, OBJ_nid2obj(NID_X9_62_id_ecPublicKey), V_ASN1_OBJECT,
				   OBJ_nid2obj(OBJ_sn2nid(curve)), point, (int)point_len) != 1)
		goto out;
	point = NULL; /* the target's now */
	*ret_len = i2d_X509_PUBKEY(target, ret_der);
	e = E_OK;
out:
	OPENSSL_free(point);
	X509_PUBKEY_free(target);
	return e;
}

static enum err encode(EVP_PKEY *key, unsigned char **ret_der, int *ret_len)
{
	if (EVP_PKEY_is_a(key, "EC"))
		return encode_ec(key, ret_der, ret_len);
	*ret_len = i2d_PUBKEY(key, ret_der);
	return E_OK;
}

enum err spki_new(EVP_PKEY *key, struct spki **ret_spki)
{
	unsigned char *der = NULL;
	unsigned hash_len = KEY_SPKI_HASH_BYTES;
	struct spki *spki = NULL;
	int len = -1;
	enum err e;

	ossl_memory_begin();
	if ((e = encode(key, &der, &len)) != E_OK)
		goto out;
	spki = len > 0 ? calloc(1, sizeof(*spki) + (size_t)len) : NULL;
	e = E_NOMEM;
	if (!spki)
		goto out;
	spki->len = (size_t)len;
	memcpy(spki->der, der, spki->len);
	e = look_into(spki);
	if (e == E_OK && EVP_Digest(der, spki->len, spki->sha256, &hash_len, EVP_sha256(), NULL) != 1)
		e = E_NOMEM;
	if (e == E_OK) {
		spki->key = key;
		*ret_spki = spki;
		spki = NULL;
	}
out:
	OPENSSL_free(der);
	free(spki);
	return e == E_HSM && ossl_memory_ran_out() ? E_NOMEM : e;
}

void spki_free(struct spki *spki)
{
	if (!spki)
		return;
	EVP_PKEY_free(spki->key);
	free(spki);
}

enum err spki_put(const struct spki *spki, X509_PUBKEY *target)
{
	ASN1_OBJECT *curve = spki->curve_nid == NID_undef ? NULL : OBJ_nid2obj(spki->curve_nid);
	size_t len = spki->len - spki->bits_at;
	unsigned char *bits = OPENSSL_memdup(spki->der + spki->bits_at, len);

	if (bits && X509_PUBKEY_set0_param(target, OBJ_nid2obj(spki->algorithm_nid), spki->parameters_type,
					   curve, bits, (int)len) == 1)
		return E_OK;
	OPENSSL_free(bits);
	return E_NOMEM;
}
