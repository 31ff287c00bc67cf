/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a finished request with fresh eyes: by a grammar of its own, not by the
 * X509_REQ that it was built with.  That also leaves the public key as the bytes
 * that it is; X509_REQ decodes it at once, which takes OpenSSL 3.0 longer than all
 * else here.
 */
#include "hsm/signer/csr/csr_verify.h"

#include "hsm/signer/csr/csr_check.h"
#include "hsm/signer/key/key_kind.h"
#include "ossl/ossl_memory.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

/* ---- CertificationRequest (RFC 2986 §4) ---- */

/* CertificationRequestInfo */
struct info {
	ASN1_INTEGER *version;
	X509_NAME *subject;
	ASN1_STRING *spki; /* undecoded, like all that is of type ASN1_SEQUENCE here */
	STACK_OF(X509_ATTRIBUTE) * attributes;
};

struct request {
	ASN1_STRING *info;
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *signature;
};

/* clang-format off */
ASN1_SEQUENCE(info) = {
	ASN1_SIMPLE(struct info, version, ASN1_INTEGER),
	ASN1_SIMPLE(struct info, subject, X509_NAME),
	ASN1_SIMPLE(struct info, spki, ASN1_SEQUENCE),
	ASN1_IMP_SET_OF_OPT(struct info, attributes, X509_ATTRIBUTE, 0),
} static_ASN1_SEQUENCE_END_name(struct info, info)

ASN1_SEQUENCE(request) = {
	ASN1_SIMPLE(struct request, info, ASN1_SEQUENCE),
	ASN1_SIMPLE(struct request, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct request, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END_name(struct request, request)
	    /* clang-format on */

	    /* The bytes as a whole, nothing behind them; NULL when they are not that. */
	    static void *
	    csr_verify_parse(const uint8_t *der, size_t len, const ASN1_ITEM *item)
{
	const unsigned char *at = der;
	ASN1_VALUE *value = ASN1_item_d2i(NULL, &at, (long)len, item);

	if (value && at != der + len) {
		ASN1_item_free(value, item);
		value = NULL;
	}
	return value;
}

/* ---- checks: each returns NULL when all is well, or why not ---- */

#define SUBJECT_MAX 6
#define OID_BYTES 3

/* An attribute of the subject (RFC 5280 §4.1.2.4 and appendix A.1). */
struct attribute {
	const uint8_t oid[OID_BYTES]; /* id-at and one more, as DER has them */
	int string_type;
	const char *text; /* NULL: it is not there */
};

/* From what was asked for alone: this is not to follow a mistake of the builder's. */
static const char *csr_verify_check_subject(X509_NAME *name, const struct csr_spec *spec)
{
	const struct attribute wanted[SUBJECT_MAX] = {
	    {{0x55, 0x04, 6}, V_ASN1_PRINTABLESTRING, spec->country},
	    {{0x55, 0x04, 8}, V_ASN1_UTF8STRING, spec->state},
	    {{0x55, 0x04, 7}, V_ASN1_UTF8STRING, spec->locality},
	    {{0x55, 0x04, 10}, V_ASN1_UTF8STRING, spec->organization},
	    {{0x55, 0x04, 11}, V_ASN1_UTF8STRING, spec->organizational_unit},
	    {{0x55, 0x04, 3}, V_ASN1_UTF8STRING, spec->common_name},
	};
	int entries = 0;

	for (size_t i = 0; i < SUBJECT_MAX; i++)
		entries += wanted[i].text != NULL;
	if (X509_NAME_entry_count(name) != entries)
		return "subject: number of entries";
	entries = 0;
	for (size_t i = 0; i < SUBJECT_MAX; i++) {
		const X509_NAME_ENTRY *entry;
		const ASN1_OBJECT *object;
		const ASN1_STRING *data;

		if (!wanted[i].text)
			continue;
		entry = X509_NAME_get_entry(name, entries);
		object = X509_NAME_ENTRY_get_object(entry);
		if (OBJ_length(object) != OID_BYTES ||
		    memcmp(OBJ_get0_data(object), wanted[i].oid, OID_BYTES) != 0)
			return "subject: order of entries";
		if (X509_NAME_ENTRY_set(entry) != entries++)
			return "subject: an rdn with several values";
		data = X509_NAME_ENTRY_get_data(entry);
		if (ASN1_STRING_type(data) != wanted[i].string_type)
			return "subject: string type";
		if ((size_t)ASN1_STRING_length(data) != strlen(wanted[i].text) ||
		    memcmp(ASN1_STRING_get0_data(data), wanted[i].text, strlen(wanted[i].text)) != 0)
			return "subject: value";
	}
	return NULL;
}

static bool san_equals(const GENERAL_NAME *name, const struct csr_san *wanted)
{
	static const int types[] = {
	    [SAN_DNS] = GEN_DNS, [SAN_IP] = GEN_IPADD, [SAN_EMAIL] = GEN_EMAIL, [SAN_URI] = GEN_URI};
	const unsigned char *bytes = (const unsigned char *)wanted->value;
	unsigned char octets[16];
	const ASN1_STRING *value;
	int len = (int)strlen(wanted->value);
	int type;

	value = GENERAL_NAME_get0_value(name, &type);
	if (type != types[wanted->type])
		return false;
	if (type == GEN_IPADD) {
		if (csr_check_ip(wanted->value, octets, &len) != E_OK)
			return false;
		bytes = octets;
	}
	return ASN1_STRING_length(value) == len &&
	       memcmp(ASN1_STRING_get0_data(value), bytes, (size_t)len) == 0;
}

static const char *csr_verify_check_sans(X509_EXTENSION *extension, const struct csr_spec *spec)
{
	GENERAL_NAMES *names;
	const char *reason = NULL;

	if (OBJ_obj2nid(X509_EXTENSION_get_object(extension)) != NID_subject_alt_name)
		return "extensions: not a subjectAltName";
	if (X509_EXTENSION_get_critical(extension))
		return "subjectAltName: critical";
	names = X509V3_EXT_d2i(extension);
	if (!names)
		return "subjectAltName: does not parse";
	if ((size_t)sk_GENERAL_NAME_num(names) != spec->sans_len)
		reason = "subjectAltName: number of names";
	for (size_t i = 0; i < spec->sans_len && !reason; i++)
		if (!san_equals(sk_GENERAL_NAME_value(names, (int)i), &spec->sans[i]))
			reason = "subjectAltName: a name differs";
	GENERAL_NAMES_free(names);
	return reason;
}

static const char *csr_verify_check_attributes(const STACK_OF(X509_ATTRIBUTE) * attributes,
					       const struct csr_spec *spec)
{
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	X509_ATTRIBUTE *attribute;
	const ASN1_TYPE *value;
	const char *reason;

	if (sk_X509_ATTRIBUTE_num(attributes) != 1)
		return "attributes: not exactly one";
	attribute = sk_X509_ATTRIBUTE_value(attributes, 0);
	if (OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attribute)) != NID_ext_req ||
	    X509_ATTRIBUTE_count(attribute) != 1)
		return "attributes: not one extensionRequest";
	value = X509_ATTRIBUTE_get0_type(attribute, 0);
	if (value && value->type == V_ASN1_SEQUENCE)
		extensions =
		    csr_verify_parse(value->value.sequence->data, (size_t)value->value.sequence->length,
				     ASN1_ITEM_rptr(X509_EXTENSIONS));
	if (!extensions || sk_X509_EXTENSION_num(extensions) != 1)
		reason = "extensions: not exactly one";
	else
		reason = csr_verify_check_sans(sk_X509_EXTENSION_value(extensions, 0), spec);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return reason;
}

static const char *check_kind(const struct spki *spki, const struct key_kind *kind)
{
	static const int algorithms[] = {[KEY_FAMILY_RSA] = NID_rsaEncryption,
					 [KEY_FAMILY_EC] = NID_X9_62_id_ecPublicKey,
					 [KEY_FAMILY_EDWARDS] = NID_ED25519};

	if (spki->algorithm_nid != algorithms[kind->family])
		return "public key: of another type";
	if (kind->family == KEY_FAMILY_EC && spki->curve_nid != kind->curve_nid)
		return "public key: not the named curve asked for";
	if (kind->family == KEY_FAMILY_RSA && EVP_PKEY_get_bits(spki->key) != kind->bits)
		return "public key: of another size";
	return NULL;
}

static const char *check_public_key(const ASN1_STRING *actual, const struct key_kind *kind,
				    const struct spki *wanted)
{
	if ((size_t)ASN1_STRING_length(actual) != wanted->len ||
	    memcmp(ASN1_STRING_get0_data(actual), wanted->der, wanted->len) != 0)
		return "public key: not the one in the token";
	return check_kind(wanted, kind);
}

static const char *check_info(const struct request *request, const struct csr_spec *spec,
			      const struct spki *public_key)
{
	const ASN1_STRING *der = request->info;
	struct info *info = csr_verify_parse(ASN1_STRING_get0_data(der), (size_t)ASN1_STRING_length(der),
					     ASN1_ITEM_rptr(info));
	int64_t version = -1;
	const char *reason;

	if (!info)
		reason = "the request does not parse";
	else if (ASN1_INTEGER_get_int64(&version, info->version) != 1 || version != 0)
		reason = "version is not 0";
	else if (!(reason = csr_verify_check_subject(info->subject, spec)) &&
		 !(reason = csr_verify_check_attributes(info->attributes, spec)))
		reason = check_public_key(info->spki, key_kind(spec->key_type), public_key);
	ASN1_item_free((ASN1_VALUE *)info, ASN1_ITEM_rptr(info));
	return reason;
}

/* The algorithm of that type, with the parameters that it is to have: NULL with RSA, else none. */
static bool is_algorithm(const X509_ALGOR *algorithm, const struct key_kind *kind)
{
	const ASN1_OBJECT *object;
	int parameters;

	X509_ALGOR_get0(&object, &parameters, NULL, algorithm);
	return OBJ_obj2nid(object) == kind->signature_nid &&
	       parameters == (kind->family == KEY_FAMILY_RSA ? V_ASN1_NULL : V_ASN1_UNDEF);
}

static const char *check_signature(const struct request *request, const struct key_kind *kind,
				   const struct spki *public_key)
{
	const ASN1_STRING *signature = request->signature;
	EVP_MD_CTX *ctx;
	int verdict = -1;

	if (!is_algorithm(request->algorithm, kind))
		return "signature: algorithm";
	if (signature->flags & 0x07) /* bits that do not count */
		return "signature: not of whole octets";
	ctx = EVP_MD_CTX_new();
	if (ctx &&
	    EVP_DigestVerifyInit(ctx, NULL, kind->digest ? kind->digest() : NULL, NULL, public_key->key) == 1)
		verdict = EVP_DigestVerify(
		    ctx, ASN1_STRING_get0_data(signature), (size_t)ASN1_STRING_length(signature),
		    ASN1_STRING_get0_data(request->info), (size_t)ASN1_STRING_length(request->info));
	EVP_MD_CTX_free(ctx);
	/* Anything but 1, also -1, is a failure. */
	return verdict == 1 ? NULL : "signature: does not verify with the public key in the token";
}

enum err csr_verify_der(const uint8_t *der, size_t len, const struct csr_spec *spec,
			const struct spki *public_key, const char **ret_reason)
{
	struct request *request;
	const char *reason;

	ossl_memory_begin();
	request = csr_verify_parse(der, len, ASN1_ITEM_rptr(request));
	if (!request)
		reason = "the request does not parse";
	else if (!(reason = check_info(request, spec, public_key)))
		reason = check_signature(request, key_kind(spec->key_type), public_key);
	ASN1_item_free((ASN1_VALUE *)request, ASN1_ITEM_rptr(request));
	ERR_clear_error();
	if (!reason)
		return E_OK;
	if (ossl_memory_ran_out())
		return E_NOMEM;
	*ret_reason = reason;
	return E_HSM;
}
