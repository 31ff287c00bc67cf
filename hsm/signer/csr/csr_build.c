/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a certification request and has it signed and verified. */
#include "hsm/signer/csr/csr_build.h"

#include "hsm/message.h"
#include "hsm/signer/csr/csr_check.h"
#include "hsm/signer/csr/csr_verify.h"
#include "hsm/signer/key/key_kind.h"
#include "ossl/ossl_memory.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#define SIGNATURE_MAX_BYTES 1024

/* C ST L O OU CN, each an RDN of its own.  Straight into the name that is there: setting one copies it. */
static enum err csr_build_put_subject(X509_REQ *req, const struct csr_spec *spec)
{
	const struct {
		int nid;
		const char *text;
	} entries[] = {
	    {NID_countryName, spec->country},
	    {NID_stateOrProvinceName, spec->state},
	    {NID_localityName, spec->locality},
	    {NID_organizationName, spec->organization},
	    {NID_organizationalUnitName, spec->organizational_unit},
	    {NID_commonName, spec->common_name},
	};
	X509_NAME *name = X509_REQ_get_subject_name(req);

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		if (entries[i].text && X509_NAME_add_entry_by_NID(name, entries[i].nid, MBSTRING_UTF8,
								  (const unsigned char *)entries[i].text,
								  (int)strlen(entries[i].text), -1, 0) != 1)
			return ossl_memory_ran_out() ? E_NOMEM : E_INVAL;
	return E_OK;
}

/* ---- subject alternative names: GENERAL_NAMEs, never a configuration text ---- */

static GENERAL_NAME *ip_name(const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	unsigned char octets[16];
	int len = 0;

	if (!name || !value || csr_check_ip(text, octets, &len) != E_OK ||
	    ASN1_OCTET_STRING_set(value, octets, len) != 1) {
		GENERAL_NAME_free(name);
		ASN1_OCTET_STRING_free(value);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, GEN_IPADD, value);
	return name;
}

static GENERAL_NAME *text_name(int type, const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();

	if (!name || !value || ASN1_STRING_set(value, text, (int)strlen(text)) != 1) {
		GENERAL_NAME_free(name);
		ASN1_IA5STRING_free(value);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, type, value);
	return name;
}

static GENERAL_NAME *general_name(const struct csr_san *san)
{
	switch (san->type) {
	case SAN_DNS:
		return text_name(GEN_DNS, san->value);
	case SAN_IP:
		return ip_name(san->value);
	case SAN_EMAIL:
		return text_name(GEN_EMAIL, san->value);
	case SAN_URI:
		return text_name(GEN_URI, san->value);
	}
	return NULL;
}

static GENERAL_NAMES *general_names(const struct csr_spec *spec)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();

	if (!names)
		return NULL;
	for (size_t i = 0; i < spec->sans_len; i++) {
		GENERAL_NAME *name = general_name(&spec->sans[i]);

		if (!name || !sk_GENERAL_NAME_push(names, name)) {
			GENERAL_NAME_free(name);
			GENERAL_NAMES_free(names);
			return NULL;
		}
	}
	return names;
}

/* One extensionRequest attribute (RFC 2985 §5.4.2) with one extension, not critical. */
static enum err put_extensions(X509_REQ *req, const struct csr_spec *spec)
{
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	GENERAL_NAMES *names = general_names(spec);
	X509_EXTENSION *extension = names ? X509V3_EXT_i2d(NID_subject_alt_name, 0, names) : NULL;
	enum err e = E_NOMEM;

	if (!extensions || !extension || !sk_X509_EXTENSION_push(extensions, extension))
		goto out;
	extension = NULL; /* the stack's now */
	if (X509_REQ_add_extensions(req, extensions) == 1)
		e = E_OK;
out:
	X509_EXTENSION_free(extension);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	GENERAL_NAMES_free(names);
	return e;
}

/* ---- signature ---- */

/* Parameters: NULL with RSA (RFC 4055 §5), absent with ECDSA (RFC 5758 §3.2) and EdDSA (RFC 8410 §3). */
static enum err put_algorithm(X509_REQ *req, enum key_type type)
{
	X509_ALGOR *algorithm = X509_ALGOR_new();
	const struct key_kind *kind = key_kind(type);
	int parameters = kind->family == KEY_FAMILY_RSA ? V_ASN1_NULL : V_ASN1_UNDEF;
	enum err e = E_NOMEM;

	if (algorithm &&
	    X509_ALGOR_set0(algorithm, OBJ_nid2obj(kind->signature_nid), parameters, NULL) == 1 &&
	    X509_REQ_set1_signature_algo(req, algorithm) == 1)
		e = E_OK;
	X509_ALGOR_free(algorithm);
	return e;
}

static enum err put_signature(X509_REQ *req, const struct buf *signature)
{
	ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();

	if (!bits || ASN1_STRING_set(bits, signature->data, (int)signature->len) != 1) {
		ASN1_BIT_STRING_free(bits);
		return E_NOMEM;
	}
	/* All bits count, trailing zeroes too. */
	bits->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
	bits->flags |= ASN1_STRING_FLAG_BITS_LEFT;
	X509_REQ_set0_signature(req, bits);
	return E_OK;
}

static enum err sign_request(X509_REQ *req, const struct csr_build_signer *signer)
{
	unsigned char *tbs = NULL;
	int len = i2d_re_X509_REQ_tbs(req, &tbs);
	struct buf signature;
	enum err e = E_NOMEM;

	buf_init(&signature, SIGNATURE_MAX_BYTES);
	if (len > 0 && (e = signer->sign(signer->arg, tbs, (size_t)len, &signature)) == E_OK)
		e = put_signature(req, &signature);
	OPENSSL_free(tbs);
	buf_release(&signature);
	return e;
}

/* ---- the whole ---- */

static enum err finish(X509_REQ *req, const struct csr_spec *spec, const struct spki *public_key,
		       struct buf *der, const char **ret_reason)
{
	unsigned char *bytes = NULL;
	int len = i2d_X509_REQ(req, &bytes);
	enum err e;

	if (len <= 0)
		return E_NOMEM;
	if (len > MESSAGE_DER_MAX) {
		*ret_reason = "the request is too long";
		e = E_HSM;
	} else {
		e = csr_verify_der(bytes, (size_t)len, spec, public_key, ret_reason);
	}
	if (e == E_OK) {
		buf_put(der, bytes, (size_t)len);
		e = buf_status(der);
	}
	OPENSSL_free(bytes);
	return e;
}

enum err csr_build(const struct csr_spec *spec, const struct spki *public_key,
		   const struct csr_build_signer *signer, struct buf *der, const char **ret_reason)
{
	X509_REQ *req;
	enum err e = E_NOMEM;

	*ret_reason = NULL;
	ossl_memory_begin();
	req = X509_REQ_new();
	/* A new request has version -1; 0 is the only one there is (RFC 2986 §4.1). */
	if (!req || X509_REQ_set_version(req, 0) != 1)
		goto out;
	if ((e = spki_put(public_key, X509_REQ_get_X509_PUBKEY(req))) != E_OK ||
	    (e = csr_build_put_subject(req, spec)) != E_OK || (e = put_extensions(req, spec)) != E_OK ||
	    (e = put_algorithm(req, spec->key_type)) != E_OK || (e = sign_request(req, signer)) != E_OK)
		goto out;
	e = finish(req, spec, public_key, der, ret_reason);
out:
	X509_REQ_free(req);
	ERR_clear_error();
	return e;
}
