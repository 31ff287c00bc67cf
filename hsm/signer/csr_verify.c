/* Reads a finished request with fresh eyes. */
#include "hsm/signer/csr_verify.h"

#include "hsm/signer/csr_build.h"
#include "hsm/signer/csr_check.h"
#include "hsm/signer/key_kind.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

/* Each check returns NULL when all is well, or why not. */

static const char *check_subject(X509_REQ *req, const struct csr_spec *spec)
{
	struct csr_build_entry wanted[CSR_BUILD_SUBJECT_MAX];
	size_t len = csr_build_subject(spec, wanted);
	X509_NAME *name = X509_REQ_get_subject_name(req);

	if (X509_NAME_entry_count(name) != (int)len)
		return "subject: number of entries";
	for (size_t i = 0; i < len; i++) {
		const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, (int)i);
		const ASN1_STRING *data = X509_NAME_ENTRY_get_data(entry);
		size_t text_len = strlen(wanted[i].text);

		if (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) != wanted[i].nid)
			return "subject: order of entries";
		if (X509_NAME_ENTRY_set(entry) != (int)i)
			return "subject: an rdn with several values";
		if (ASN1_STRING_type(data) != wanted[i].string_type)
			return "subject: string type";
		if ((size_t)ASN1_STRING_length(data) != text_len ||
		    memcmp(ASN1_STRING_get0_data(data), wanted[i].text, text_len) != 0)
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

static const char *check_sans(X509_EXTENSION *extension, const struct csr_spec *spec)
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

static const char *check_attributes(X509_REQ *req, const struct csr_spec *spec)
{
	STACK_OF(X509_EXTENSION) * extensions;
	X509_ATTRIBUTE *attribute;
	const char *reason;

	if (X509_REQ_get_attr_count(req) != 1)
		return "attributes: not exactly one";
	attribute = X509_REQ_get_attr(req, 0);
	if (OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attribute)) != NID_ext_req ||
	    X509_ATTRIBUTE_count(attribute) != 1)
		return "attributes: not one extensionRequest";
	extensions = X509_REQ_get_extensions(req);
	if (!extensions || sk_X509_EXTENSION_num(extensions) != 1)
		reason = "extensions: not exactly one";
	else
		reason = check_sans(sk_X509_EXTENSION_value(extensions, 0), spec);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return reason;
}

/* The curve is named by its object identifier, whatever EVP_PKEY thinks of it. */
static const char *check_curve(X509_PUBKEY *spki, const struct key_kind *kind)
{
	X509_ALGOR *algorithm = NULL;
	const void *value = NULL;
	int type = 0;

	X509_PUBKEY_get0_param(NULL, NULL, NULL, &algorithm, spki);
	X509_ALGOR_get0(NULL, &type, &value, algorithm);
	if (type != V_ASN1_OBJECT || OBJ_obj2nid(value) != kind->curve_nid)
		return "public key: not the named curve asked for";
	return NULL;
}

static const char *check_kind(X509_PUBKEY *spki, const struct key_kind *kind, EVP_PKEY *public_key)
{
	static const char *const names[] = {
	    [KEY_FAMILY_RSA] = "RSA", [KEY_FAMILY_EC] = "EC", [KEY_FAMILY_EDWARDS] = "ED25519"};

	if (!EVP_PKEY_is_a(public_key, names[kind->family]))
		return "public key: of another type";
	if (kind->family == KEY_FAMILY_EC)
		return check_curve(spki, kind);
	if (kind->family == KEY_FAMILY_RSA && EVP_PKEY_get_bits(public_key) != kind->bits)
		return "public key: of another size";
	return NULL;
}

static const char *check_public_key(X509_REQ *req, const struct key_kind *kind, EVP_PKEY *public_key)
{
	unsigned char *actual = NULL, *wanted = NULL;
	int actual_len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &actual);
	int wanted_len = i2d_PUBKEY(public_key, &wanted);
	const char *reason = NULL;

	if (actual_len <= 0 || actual_len != wanted_len || memcmp(actual, wanted, (size_t)actual_len) != 0)
		reason = "public key: not the one in the token";
	else
		reason = check_kind(X509_REQ_get_X509_PUBKEY(req), kind, public_key);
	OPENSSL_free(actual);
	OPENSSL_free(wanted);
	return reason;
}

static const char *check_signature(X509_REQ *req, const struct key_kind *kind, EVP_PKEY *public_key)
{
	if (X509_REQ_get_signature_nid(req) != kind->signature_nid)
		return "signature: algorithm";
	/* Anything but 1, also -1, is a failure. */
	if (X509_REQ_verify(req, public_key) != 1)
		return "signature: does not verify with the public key in the token";
	return NULL;
}

enum err csr_verify_der(const uint8_t *der, size_t len, const struct csr_spec *spec, EVP_PKEY *public_key,
			const char **ret_reason)
{
	const struct key_kind *kind = key_kind(spec->key_type);
	const unsigned char *at = der;
	X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)len);
	const char *reason;

	if (!req || at != der + len)
		reason = "the request does not parse";
	else if (X509_REQ_get_version(req) != 0)
		reason = "version is not 0";
	else if ((reason = check_subject(req, spec)) == NULL &&
		 (reason = check_attributes(req, spec)) == NULL &&
		 (reason = check_public_key(req, kind, public_key)) == NULL)
		reason = check_signature(req, kind, public_key);
	X509_REQ_free(req);
	ERR_clear_error();
	if (!reason)
		return E_OK;
	*ret_reason = reason;
	return E_HSM;
}
