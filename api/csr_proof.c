/* SPDX-License-Identifier: Apache-2.0 */
/* Compares a certificate signing request (RFC 2986) with the row that it is kept in. */
#include "api/csr_proof.h"

#include "ossl/ossl_memory.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

struct proof {
	const struct csr_record *record;
	X509_REQ *request;
	EVP_PKEY *key; /* of the request */
	csr_proof_fn tell;
	void *arg;
	enum err status;
};

/* Unless there was no memory to find out. */
static void differs(struct proof *p, const char *text)
{
	if (ossl_memory_ran_out())
		p->status = E_NOMEM;
	else
		p->tell(p->arg, text);
}

/* ---- the key ---- */

static bool is_of_type(EVP_PKEY *key, enum key_type type)
{
	static const struct {
		int id;
		int bits;
		int curve;
	} kinds[KEY_TYPE_MAX + 1] = {
	    [KEY_RSA2048] = {EVP_PKEY_RSA, 2048, 0},
	    [KEY_P256V1] = {EVP_PKEY_EC, 256, NID_X9_62_prime256v1},
	    [KEY_RSA3072] = {EVP_PKEY_RSA, 3072, 0},
	    [KEY_RSA4096] = {EVP_PKEY_RSA, 4096, 0},
	    [KEY_P384V1] = {EVP_PKEY_EC, 384, NID_secp384r1},
	    [KEY_ED25519] = {EVP_PKEY_ED25519, 0, 0},
	};
	char group[64] = "";
	size_t len;

	if (!key_type_is_valid(type) || EVP_PKEY_get_base_id(key) != kinds[type].id)
		return false;
	if (kinds[type].id == EVP_PKEY_ED25519)
		return true;
	if (kinds[type].curve == 0)
		return EVP_PKEY_get_bits(key) == kinds[type].bits;
	return EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
	       OBJ_txt2nid(group) == kinds[type].curve;
}

static enum err check_key(struct proof *p)
{
	unsigned char *der = NULL, hash[EVP_MAX_MD_SIZE];
	int len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(p->request), &der);
	bool done = len > 0 && EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	if (!done)
		return E_NOMEM;
	if (memcmp(hash, p->record->spki_sha256, KEY_SPKI_HASH_BYTES) != 0)
		differs(p, "the CSR's public key does not match the SHA-256 in the row");
	p->key = X509_REQ_get_pubkey(p->request);
	if (!p->key) {
		differs(p, "the CSR's public key cannot be read");
		return E_OK;
	}
	if (!is_of_type(p->key, p->record->spec.key_type))
		differs(p, "the CSR's public key is not of the type in the row");
	if (X509_REQ_verify(p->request, p->key) != 1)
		differs(p, "the CSR's own signature does not verify");
	return E_OK;
}

/* ---- the subject ---- */

static bool entry_is(X509_NAME *subject, int nid, const char *text)
{
	int at = X509_NAME_get_index_by_NID(subject, nid, -1);
	unsigned char *utf8 = NULL;
	bool same;
	int len;

	if (!text)
		return at < 0;
	if (at < 0 || X509_NAME_get_index_by_NID(subject, nid, at) >= 0)
		return false;
	len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	same = len >= 0 && (size_t)len == strlen(text) && memcmp(utf8, text, (size_t)len) == 0;
	OPENSSL_free(utf8);
	return same;
}

static void csr_proof_check_subject(struct proof *p)
{
	const struct csr_spec *spec = &p->record->spec;
	X509_NAME *subject = X509_REQ_get_subject_name(p->request);
	const struct {
		int nid;
		const char *name;
		const char *text;
	} entries[] = {
	    {NID_countryName, "country", spec->country},
	    {NID_stateOrProvinceName, "state", spec->state},
	    {NID_localityName, "locality", spec->locality},
	    {NID_organizationName, "organization", spec->organization},
	    {NID_organizationalUnitName, "organizational unit", spec->organizational_unit},
	    {NID_commonName, "common name", spec->common_name},
	};
	int wanted = 0;
	char text[80];

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		wanted += entries[i].text != NULL;
		if (entry_is(subject, entries[i].nid, entries[i].text))
			continue;
		snprintf(text, sizeof(text), "the CSR's %s is not the row's", entries[i].name);
		differs(p, text);
	}
	if (X509_NAME_entry_count(subject) > wanted)
		differs(p, "the CSR's subject has more attributes than the row");
}

/* ---- the names ---- */

static bool address_is(const ASN1_OCTET_STRING *octets, const char *text)
{
	unsigned char address[16];
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	int len = family == AF_INET6 ? 16 : 4;

	return inet_pton(family, text, address) == 1 && ASN1_STRING_length(octets) == len &&
	       memcmp(ASN1_STRING_get0_data(octets), address, (size_t)len) == 0;
}

static bool name_is(const GENERAL_NAME *name, const struct csr_san *san)
{
	static const int types[SAN_TYPE_MAX + 1] = {
	    [SAN_DNS] = GEN_DNS, [SAN_IP] = GEN_IPADD, [SAN_EMAIL] = GEN_EMAIL, [SAN_URI] = GEN_URI};
	int type;
	const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);

	if (type != types[san->type])
		return false;
	if (type == GEN_IPADD)
		return address_is(value, san->value);
	return (size_t)ASN1_STRING_length(value) == strlen(san->value) &&
	       memcmp(ASN1_STRING_get0_data(value), san->value, strlen(san->value)) == 0;
}

static bool names_are(const GENERAL_NAMES *names, const struct csr_spec *spec)
{
	if ((size_t)sk_GENERAL_NAME_num(names) != spec->sans_len)
		return false;
	for (size_t i = 0; i < spec->sans_len; i++)
		if (!name_is(sk_GENERAL_NAME_value(names, (int)i), &spec->sans[i]))
			return false;
	return true;
}

/* One extension, and in it the names in their order. */
static void check_names(struct proof *p)
{
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(p->request);
	GENERAL_NAMES *names =
	    extensions ? X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL) : NULL;

	if (!names || !names_are(names, &p->record->spec))
		differs(p, "the CSR's names are not the row's");
	if (sk_X509_EXTENSION_num(extensions) > 1 || X509_REQ_get_attr_count(p->request) > 1)
		differs(p, "the CSR requests more than its names");
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

/* ---- all of it ---- */

static enum err csr_proof_parse(const char *pem, X509_REQ **ret_request)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);

	if (!bio)
		return E_NOMEM;
	*ret_request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	BIO_free(bio);
	return E_OK;
}

enum err csr_proof(const struct csr_record *record, csr_proof_fn tell, void *arg)
{
	struct proof p = {.record = record, .tell = tell, .arg = arg};
	enum err e;

	ossl_memory_begin();
	if (!record->pem) {
		differs(&p, "the row has no CSR");
		return E_OK;
	}
	e = csr_proof_parse(record->pem, &p.request);
	if (e != E_OK)
		return e;
	if (!p.request) {
		differs(&p, "the CSR cannot be read");
		return p.status;
	}
	if (X509_REQ_get_version(p.request) != X509_REQ_VERSION_1)
		differs(&p, "the CSR's version is not 1");
	e = check_key(&p);
	if (e == E_OK) {
		csr_proof_check_subject(&p);
		check_names(&p);
	}
	EVP_PKEY_free(p.key);
	X509_REQ_free(p.request);
	ERR_clear_error();
	return e == E_OK ? p.status : e;
}
