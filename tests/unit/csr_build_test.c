/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signer's CSRs with a key in software in place of the token's: what is in
 * them, and that nothing else ever leaves (I5).
 */
#include "tests/unit/cmocka_all.h"

#include "base/csr.h"
#include "hsm/message.h"
#include "hsm/signer/csr/csr_build.h"
#include "hsm/signer/csr/csr_check.h"
#include "hsm/signer/csr/csr_verify.h"
#include "hsm/signer/key/key_kind.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a key in software, and ways to go wrong ---- */

struct soft_key {
	EVP_PKEY *pair;
	EVP_PKEY *signs_with; /* NULL: pair */
	bool flip_a_bit;
	bool sign_other_bytes;
	const EVP_MD *digest; /* NULL: that of the key's type */
	enum err fail_with;
	size_t calls;
};

static EVP_PKEY *keys[KEY_TYPE_MAX + 1]; /* by type; made once */
static EVP_PKEY *other_keys[KEY_TYPE_MAX + 1];

/* What the field says of each type, apart from the product's own table: RFC 5754, RFC 5758, RFC 8410. */
static const struct {
	const char *algorithm;
	unsigned bits;
	int signature_nid;
	const char *digest;
} types[KEY_TYPE_MAX + 1] = {
    [KEY_RSA2048] = {"RSA", 2048, NID_sha256WithRSAEncryption, "SHA256"},
    [KEY_RSA3072] = {"RSA", 3072, NID_sha256WithRSAEncryption, "SHA256"},
    [KEY_RSA4096] = {"RSA", 4096, NID_sha256WithRSAEncryption, "SHA256"},
    [KEY_P256V1] = {"P-256", 256, NID_ecdsa_with_SHA256, "SHA256"},
    [KEY_P384V1] = {"P-384", 384, NID_ecdsa_with_SHA384, "SHA384"},
    [KEY_ED25519] = {"ED25519", 0, NID_ED25519, NULL},
};

static EVP_PKEY *new_key(enum key_type type)
{
	if (strcmp(types[type].algorithm, "RSA") == 0)
		return EVP_RSA_gen(types[type].bits);
	if (strcmp(types[type].algorithm, "ED25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(types[type].algorithm);
}

static enum err soft_sign(void *arg, const uint8_t *data, size_t len, struct buf *signature)
{
	struct soft_key *k = arg;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char out[512];
	size_t out_len = sizeof(out);

	k->calls++;
	if (k->fail_with != E_OK) {
		EVP_MD_CTX_free(ctx);
		return k->fail_with;
	}
	assert_int_equal(
	    EVP_DigestSignInit(ctx, NULL, k->digest, NULL, k->signs_with ? k->signs_with : k->pair), 1);
	if (k->sign_other_bytes)
		len--;
	assert_int_equal(EVP_DigestSign(ctx, out, &out_len, data, len), 1);
	EVP_MD_CTX_free(ctx);
	if (k->flip_a_bit)
		out[out_len - 1] ^= 1;
	buf_put(signature, out, out_len);
	return buf_status(signature);
}

static int make_keys(void **state)
{
	(void)state;
	for (int type = 1; type <= KEY_TYPE_MAX; type++) {
		keys[type] = new_key((enum key_type)type);
		other_keys[type] = new_key((enum key_type)type);
		if (!keys[type] || !other_keys[type])
			return -1;
	}
	return 0;
}

static int free_keys(void **state)
{
	(void)state;
	for (int type = 1; type <= KEY_TYPE_MAX; type++) {
		EVP_PKEY_free(keys[type]);
		EVP_PKEY_free(other_keys[type]);
	}
	return 0;
}

/* ---- what is asked for ---- */

static void fill_spec(struct csr_spec *spec, enum key_type type)
{
	memset(spec, 0, sizeof(*spec));
	spec->key_type = type;
	spec->country = strdup("CH");
	spec->state = strdup("Zürich");
	spec->locality = strdup("Winterthur");
	spec->organization = strdup("Beispiel & Söhne, \"AG\"");
	spec->organizational_unit = strdup("Netz+Dienste=1/2");
	spec->common_name = strdup("www.example.com");
}

static void add(struct csr_spec *spec, enum san_type type, const char *value)
{
	assert_int_equal(csr_spec_add_san(spec, type, value), E_OK);
}

static struct spki *public_half(EVP_PKEY *pair)
{
	struct spki *spki = NULL;

	assert_int_equal(EVP_PKEY_up_ref(pair), 1);
	assert_int_equal(spki_new(pair, &spki), E_OK);
	return spki;
}

static enum err verify(const struct buf *der, const struct csr_spec *spec, EVP_PKEY *pair,
		       const char **reason)
{
	struct spki *public_key = public_half(pair);
	enum err e = csr_verify_der(der->data, der->len, spec, public_key, reason);

	spki_free(public_key);
	return e;
}

static enum err build(const struct csr_spec *spec, struct soft_key *key, struct buf *der, const char **reason)
{
	const struct csr_build_signer signer = {.sign = soft_sign, .arg = key};
	struct spki *public_key;
	const char *unused;
	enum err e;

	buf_init(der, MESSAGE_DER_MAX);
	if (!key->digest && types[spec->key_type].digest && !EVP_PKEY_is_a(key->pair, "ED25519"))
		key->digest = EVP_get_digestbyname(types[spec->key_type].digest);
	assert_int_equal(csr_check(spec, &unused), E_OK);
	public_key = public_half(key->pair);
	e = csr_build(spec, public_key, &signer, der, reason ? reason : &unused);
	spki_free(public_key);
	return e;
}

static X509_REQ *parse(const struct buf *der)
{
	const unsigned char *at = der->data;
	X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)der->len);

	assert_non_null(req);
	assert_ptr_equal(at, der->data + der->len);
	return req;
}

/* Builds one that must succeed. */
static X509_REQ *built(const struct csr_spec *spec)
{
	struct soft_key key = {.pair = keys[spec->key_type]};
	X509_REQ *req;
	struct buf der;

	assert_int_equal(build(spec, &key, &der, NULL), E_OK);
	assert_int_equal(key.calls, 1);
	req = parse(&der);
	buf_release(&der);
	return req;
}

static void assert_entry(X509_REQ *req, int index, int nid, int type, const char *text)
{
	X509_NAME_ENTRY *entry = X509_NAME_get_entry(X509_REQ_get_subject_name(req), index);
	ASN1_STRING *data;

	assert_non_null(entry);
	data = X509_NAME_ENTRY_get_data(entry);
	assert_int_equal(OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)), nid);
	assert_int_equal(ASN1_STRING_type(data), type);
	assert_int_equal(ASN1_STRING_length(data), strlen(text));
	assert_memory_equal(ASN1_STRING_get0_data(data), text, strlen(text));
}

static GENERAL_NAMES *names_of(X509_REQ *req)
{
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(req);
	GENERAL_NAMES *names;

	assert_int_equal(X509_REQ_get_attr_count(req), 1);
	assert_int_equal(sk_X509_EXTENSION_num(extensions), 1);
	assert_int_equal(X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(extensions, 0)), 0);
	names = X509V3_EXT_d2i(sk_X509_EXTENSION_value(extensions, 0));
	assert_non_null(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return names;
}

static void assert_name(GENERAL_NAMES *names, int index, int type, const void *bytes, size_t len)
{
	int actual_type;
	ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, index), &actual_type);

	assert_int_equal(actual_type, type);
	assert_int_equal(ASN1_STRING_length(value), len);
	assert_memory_equal(ASN1_STRING_get0_data(value), bytes, len);
}

/* ---- what is in it ---- */

/* Parameters: NULL for RSA, absent for all else. */
static void assert_algorithm(X509_REQ *req, enum key_type type)
{
	const X509_ALGOR *algorithm;
	int parameters;

	X509_REQ_get0_signature(req, NULL, &algorithm);
	X509_ALGOR_get0(NULL, &parameters, NULL, algorithm);
	assert_int_equal(parameters,
			 types[type].digest && types[type].bits >= 2048 ? V_ASN1_NULL : V_ASN1_UNDEF);
	assert_int_equal(X509_REQ_get_signature_nid(req), types[type].signature_nid);
	if (types[type].bits)
		assert_int_equal(EVP_PKEY_get_bits(X509_REQ_get0_pubkey(req)), types[type].bits);
}

static void subject_is_in_order_and_exact(enum key_type type)
{
	struct csr_spec spec;
	X509_REQ *req;

	fill_spec(&spec, type);
	add(&spec, SAN_DNS, "www.example.com");
	req = built(&spec);
	assert_int_equal(X509_REQ_get_version(req), 0);
	assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 6);
	assert_entry(req, 0, NID_countryName, V_ASN1_PRINTABLESTRING, "CH");
	assert_entry(req, 1, NID_stateOrProvinceName, V_ASN1_UTF8STRING, "Zürich");
	assert_entry(req, 2, NID_localityName, V_ASN1_UTF8STRING, "Winterthur");
	assert_entry(req, 3, NID_organizationName, V_ASN1_UTF8STRING, "Beispiel & Söhne, \"AG\"");
	assert_entry(req, 4, NID_organizationalUnitName, V_ASN1_UTF8STRING, "Netz+Dienste=1/2");
	assert_entry(req, 5, NID_commonName, V_ASN1_UTF8STRING, "www.example.com");
	assert_int_equal(X509_REQ_verify(req, keys[type]), 1);
	assert_algorithm(req, type);
	X509_REQ_free(req);
	csr_spec_release(&spec);
}

static void every_type_is_in_order_and_exact(void **state)
{
	(void)state;
	for (int type = 1; type <= KEY_TYPE_MAX; type++)
		subject_is_in_order_and_exact((enum key_type)type);
}

static void unit_that_was_not_given_is_not_there(void **state)
{
	struct csr_spec spec;
	X509_REQ *req;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	free(spec.organizational_unit);
	spec.organizational_unit = NULL;
	add(&spec, SAN_DNS, "www.example.com");
	req = built(&spec);
	assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 5);
	assert_entry(req, 4, NID_commonName, V_ASN1_UTF8STRING, "www.example.com");
	X509_REQ_free(req);
	csr_spec_release(&spec);
}

/* F47: every type of name, in the order and spelling of the request; nothing is read as syntax. */
static void all_kinds_of_names_F47(void **state)
{
	const unsigned char v4[] = {192, 0, 2, 1};
	const unsigned char v6[] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	struct csr_spec spec;
	GENERAL_NAMES *names;
	X509_REQ *req;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	add(&spec, SAN_DNS, "*.Example.COM");
	add(&spec, SAN_IP, "192.0.2.1");
	add(&spec, SAN_URI, "https://example.com/a,b?c=d#e");
	add(&spec, SAN_IP, "2001:DB8::1");
	add(&spec, SAN_EMAIL, "user+tag@example.com");
	add(&spec, SAN_DNS, "a.example.com,DNS:b.example.com");
	add(&spec, SAN_DNS, "critical,DNS:x");
	req = built(&spec);
	names = names_of(req);
	assert_int_equal(sk_GENERAL_NAME_num(names), 7);
	assert_name(names, 0, GEN_DNS, "*.Example.COM", 13);
	assert_name(names, 1, GEN_IPADD, v4, sizeof(v4));
	assert_name(names, 2, GEN_URI, "https://example.com/a,b?c=d#e", 29);
	assert_name(names, 3, GEN_IPADD, v6, sizeof(v6));
	assert_name(names, 4, GEN_EMAIL, "user+tag@example.com", 20);
	assert_name(names, 5, GEN_DNS, "a.example.com,DNS:b.example.com", 31);
	assert_name(names, 6, GEN_DNS, "critical,DNS:x", 14);
	GENERAL_NAMES_free(names);
	X509_REQ_free(req);
	csr_spec_release(&spec);
}

/* F43: the bound is in characters, not in bytes. */
static void common_name_of_64_characters_F43(void **state)
{
	char name[64 * 4 + 1] = "";
	struct csr_spec spec;
	const char *reason;
	X509_REQ *req;

	(void)state;
	for (int i = 0; i < 64; i++)
		strcat(name, "\xf0\x9f\x94\x91");
	fill_spec(&spec, KEY_P256V1);
	free(spec.common_name);
	spec.common_name = strdup(name);
	add(&spec, SAN_DNS, "*.example.com");
	req = built(&spec);
	assert_entry(req, 5, NID_commonName, V_ASN1_UTF8STRING, name);
	X509_REQ_free(req);

	free(spec.common_name);
	assert_true(asprintf(&spec.common_name, "%sx", name) > 0);
	assert_int_equal(csr_check(&spec, &reason), E_INVAL);
	csr_spec_release(&spec);
}

static void largest_request(void **state)
{
	char value[CSR_SAN_BYTES_MAX + 1];
	struct csr_spec spec;
	GENERAL_NAMES *names;
	X509_REQ *req;

	(void)state;
	fill_spec(&spec, KEY_RSA4096);
	for (int i = 0; i < CSR_SANS_MAX; i++) {
		memset(value, 'a', 255);
		memcpy(value, "https://", 8);
		value[255] = '\0';
		add(&spec, SAN_URI, value);
	}
	req = built(&spec);
	names = names_of(req);
	assert_int_equal(sk_GENERAL_NAME_num(names), CSR_SANS_MAX);
	GENERAL_NAMES_free(names);
	X509_REQ_free(req);
	csr_spec_release(&spec);
}

/* The curve is an object identifier, and the key is the one given, byte for byte. */
static void curve_is_named(enum key_type key_type, int nid)
{
	struct csr_spec spec;
	ASN1_OBJECT *algorithm;
	X509_ALGOR *parameters;
	const void *value;
	X509_REQ *req;
	int type;

	fill_spec(&spec, key_type);
	add(&spec, SAN_DNS, "example.com");
	req = built(&spec);
	X509_PUBKEY_get0_param(&algorithm, NULL, NULL, &parameters, X509_REQ_get_X509_PUBKEY(req));
	X509_ALGOR_get0(NULL, &type, &value, parameters);
	assert_int_equal(type, V_ASN1_OBJECT);
	assert_int_equal(OBJ_obj2nid(value), nid);
	assert_int_equal(EVP_PKEY_eq(X509_REQ_get0_pubkey(req), keys[key_type]), 1);
	X509_REQ_free(req);
	csr_spec_release(&spec);
}

static void curves_are_named(void **state)
{
	(void)state;
	curve_is_named(KEY_P256V1, NID_X9_62_prime256v1);
	curve_is_named(KEY_P384V1, NID_secp384r1);
}

/* Ed25519 as RFC 8410 has it: one identifier without parameters for key and signature, 32 and 64 octets. */
static void ed25519_is_as_in_rfc_8410(void **state)
{
	static const unsigned char spki_head[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
						  0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
	unsigned char *spki = NULL, raw[32];
	const ASN1_BIT_STRING *signature;
	size_t raw_len = sizeof(raw);
	struct csr_spec spec;
	X509_REQ *req;

	(void)state;
	fill_spec(&spec, KEY_ED25519);
	add(&spec, SAN_DNS, "example.com");
	req = built(&spec);
	assert_int_equal(i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &spki),
			 sizeof(spki_head) + sizeof(raw));
	assert_memory_equal(spki, spki_head, sizeof(spki_head));
	assert_int_equal(EVP_PKEY_get_raw_public_key(keys[KEY_ED25519], raw, &raw_len), 1);
	assert_memory_equal(spki + sizeof(spki_head), raw, sizeof(raw));
	X509_REQ_get0_signature(req, &signature, NULL);
	assert_int_equal(ASN1_STRING_length(signature), 64);
	OPENSSL_free(spki);
	X509_REQ_free(req);
	csr_spec_release(&spec);
}

/* Signatures differ in length and may end in zero bits: none may be cut. */
static void many_signatures_verify(void **state)
{
	struct csr_spec spec;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	add(&spec, SAN_DNS, "example.com");
	for (int i = 0; i < 300; i++) {
		X509_REQ *req = built(&spec);

		assert_int_equal(X509_REQ_verify(req, keys[KEY_P256V1]), 1);
		X509_REQ_free(req);
	}
	csr_spec_release(&spec);
}

/* ---- the public key, encoded once ---- */

static void spki_is_as_openssl_encodes_it(void **state)
{
	(void)state;
	for (int type = 1; type <= KEY_TYPE_MAX; type++) {
		struct spki *spki = public_half(keys[type]);
		unsigned char *wanted = NULL, hash[KEY_SPKI_HASH_BYTES];
		int len = i2d_PUBKEY(keys[type], &wanted);
		X509_PUBKEY *target = X509_PUBKEY_new();
		unsigned char *put = NULL;

		assert_int_equal(spki->len, len);
		assert_memory_equal(spki->der, wanted, spki->len);
		assert_int_equal(EVP_Digest(wanted, (size_t)len, hash, NULL, EVP_sha256(), NULL), 1);
		assert_memory_equal(spki->sha256, hash, sizeof(hash));
		assert_int_equal(spki_put(spki, target), E_OK);
		assert_int_equal(i2d_X509_PUBKEY(target, &put), len);
		assert_memory_equal(put, wanted, spki->len);
		OPENSSL_free(put);
		OPENSSL_free(wanted);
		X509_PUBKEY_free(target);
		spki_free(spki);
	}
}

/* One whose parameters are neither a name nor nothing is refused, and stays the caller's. */
static void spki_of_another_kind_of_key_is_refused(void **state)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	struct spki *spki = NULL;
	EVP_PKEY *key = NULL;

	(void)state;
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_group_name(ctx, "ffdhe2048"), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	assert_int_equal(spki_new(key, &spki), E_HSM);
	assert_null(spki);
	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(ctx);
}

/* ---- what never leaves ---- */

static void refuse(enum key_type type, struct soft_key *key, const char *expected_reason)
{
	const char *reason = NULL;
	struct csr_spec spec;
	struct buf der;

	fill_spec(&spec, type);
	add(&spec, SAN_DNS, "example.com");
	assert_int_equal(build(&spec, key, &der, &reason), E_HSM);
	assert_non_null(reason);
	assert_string_equal(reason, expected_reason);
	assert_int_equal(der.len, 0);
	buf_release(&der);
	csr_spec_release(&spec);
}

/* F50 */
static void wrong_signature_is_refused_F50(void **state)
{
	const char *reason = "signature: does not verify with the public key in the token";

	(void)state;
	for (int type = 1; type <= KEY_TYPE_MAX; type++) {
		struct soft_key flipped = {.pair = keys[type], .flip_a_bit = true};
		struct soft_key other_bytes = {.pair = keys[type], .sign_other_bytes = true};
		struct soft_key swapped = {.pair = keys[type], .signs_with = other_keys[type]};

		refuse((enum key_type)type, &flipped, reason);
		refuse((enum key_type)type, &other_bytes, reason);
		refuse((enum key_type)type, &swapped, reason);
	}
}

/* Any pair of types is told apart, also two curves and two sizes. */
static void key_of_another_type_is_refused(void **state)
{
	(void)state;
	for (int type = 1; type <= KEY_TYPE_MAX; type++) {
		for (int made = 1; made <= KEY_TYPE_MAX; made++) {
			const char *digest = types[made].digest;
			struct soft_key key = {.pair = keys[made],
					       .digest = digest ? EVP_get_digestbyname(digest) : NULL};
			bool rsa = types[type].bits >= 2048 && types[made].bits >= 2048;
			bool ec = types[type].algorithm[0] == 'P' && types[made].algorithm[0] == 'P';

			if (made == type)
				continue;
			refuse((enum key_type)type, &key,
			       rsa  ? "public key: of another size"
			       : ec ? "public key: not the named curve asked for"
				    : "public key: of another type");
		}
	}
}

/* The digest fits the key: a good signature over another one is refused. */
static void another_digest_is_refused(void **state)
{
	struct soft_key p384 = {.pair = keys[KEY_P384V1], .digest = EVP_sha256()};
	struct soft_key rsa = {.pair = keys[KEY_RSA3072], .digest = EVP_sha384()};
	const char *reason = "signature: does not verify with the public key in the token";

	(void)state;
	refuse(KEY_P384V1, &p384, reason);
	refuse(KEY_RSA3072, &rsa, reason);
}

static void error_of_the_token_is_passed_on(void **state)
{
	struct soft_key key = {.pair = keys[KEY_P256V1], .fail_with = E_UNAVAIL};
	const char *reason = "unset";
	struct csr_spec spec;
	struct buf der;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	add(&spec, SAN_DNS, "example.com");
	assert_int_equal(build(&spec, &key, &der, &reason), E_UNAVAIL);
	assert_null(reason);
	assert_int_equal(der.len, 0);
	buf_release(&der);
	csr_spec_release(&spec);
}

/* csr_verify_der is asked about a good request with a specification that differs in one thing. */
static void expect_difference(const struct buf *der, struct csr_spec *wanted, EVP_PKEY *key,
			      const char *expected)
{
	const char *reason = "";

	assert_int_equal(verify(der, wanted, key, &reason), E_HSM);
	assert_string_equal(reason, expected);
}

static void replace(char **text, const char *value)
{
	free(*text);
	*text = strdup(value);
}

static void every_difference_is_seen(void **state)
{
	struct soft_key key = {.pair = keys[KEY_P256V1]};
	struct csr_spec spec;
	const char *reason;
	struct buf der;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	add(&spec, SAN_DNS, "a.example.com");
	add(&spec, SAN_DNS, "b.example.com");
	assert_int_equal(build(&spec, &key, &der, NULL), E_OK);
	assert_int_equal(verify(&der, &spec, key.pair, &reason), E_OK);

	replace(&spec.locality, "winterthur");
	expect_difference(&der, &spec, key.pair, "subject: value");
	replace(&spec.locality, "Winterthur");
	free(spec.organizational_unit);
	spec.organizational_unit = NULL;
	expect_difference(&der, &spec, key.pair, "subject: number of entries");
	spec.organizational_unit = strdup("Netz+Dienste=1/2");
	replace(&spec.sans[1].value, "B.example.com");
	expect_difference(&der, &spec, key.pair, "subjectAltName: a name differs");
	spec.sans[1].type = SAN_URI;
	replace(&spec.sans[1].value, "b.example.com");
	expect_difference(&der, &spec, key.pair, "subjectAltName: a name differs");
	spec.sans[1].type = SAN_DNS;
	add(&spec, SAN_DNS, "c.example.com");
	expect_difference(&der, &spec, key.pair, "subjectAltName: number of names");
	free(spec.sans[--spec.sans_len].value);
	expect_difference(&der, &spec, other_keys[KEY_P256V1], "public key: not the one in the token");
	buf_put_u8(&der, 0);
	expect_difference(&der, &spec, key.pair, "the request does not parse");
	der.len -= 2;
	expect_difference(&der, &spec, key.pair, "the request does not parse");
	buf_release(&der);
	csr_spec_release(&spec);
}

/* What surrounds the signed part is looked at too. */
static void signature_is_of_whole_octets_and_its_algorithm_bare(void **state)
{
	struct soft_key key = {.pair = keys[KEY_ED25519]};
	struct csr_spec spec;
	const char *reason;
	struct buf der;

	(void)state;
	fill_spec(&spec, KEY_ED25519);
	add(&spec, SAN_DNS, "example.com");
	assert_int_equal(build(&spec, &key, &der, NULL), E_OK);
	assert_int_equal(verify(&der, &spec, key.pair, &reason), E_OK);
	assert_int_equal(der.data[der.len - 65], 0);
	der.data[der.len - 65] = 1;
	expect_difference(&der, &spec, key.pair, "signature: not of whole octets");
	der.data[der.len - 65] = 0;
	/* … 06 03 2b 65 70 03 41 00: the last octet of the identifier */
	assert_int_equal(der.data[der.len - 68], 0x70);
	der.data[der.len - 68] = 0x71;
	expect_difference(&der, &spec, key.pair, "signature: algorithm");
	buf_release(&der);
	csr_spec_release(&spec);
}

/* By its encoding: OpenSSL 3.5 knows of no other version than 0. */
static X509_REQ *with_version_1(X509_REQ *req)
{
	static const unsigned char version_0[] = {0x02, 0x01, 0x00};
	const unsigned char *parsed;
	unsigned char *bytes = NULL;
	unsigned char *version;
	X509_REQ *changed;
	int len = i2d_X509_REQ(req, &bytes);

	assert_true(len > 0);
	version = memmem(bytes, (size_t)len, version_0, sizeof(version_0));
	assert_non_null(version);
	version[2] = 1;
	parsed = bytes;
	changed = d2i_X509_REQ(NULL, &parsed, len);
	assert_non_null(changed);
	OPENSSL_free(bytes);
	X509_REQ_free(req);
	return changed;
}

/* A request with something more in it than was asked for, signed as it should be. */
static void additions_are_seen(void **state)
{
	struct csr_spec spec;
	X509_REQ *req;
	struct buf der;
	unsigned char *bytes = NULL;
	int len;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	add(&spec, SAN_DNS, "example.com");
	for (int addition = 0; addition < 2; addition++) {
		req = built(&spec);
		if (addition == 0)
			assert_int_equal(X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword,
								   MBSTRING_ASC, (const unsigned char *)"x",
								   -1),
					 1);
		else
			req = with_version_1(req);
		assert_true(X509_REQ_sign(req, keys[KEY_P256V1], EVP_sha256()) > 0);
		len = i2d_X509_REQ(req, &bytes);
		assert_true(len > 0);
		buf_init(&der, MESSAGE_DER_MAX);
		buf_put(&der, bytes, (size_t)len);
		expect_difference(&der, &spec, keys[KEY_P256V1],
				  addition == 0 ? "attributes: not exactly one" : "version is not 0");
		buf_release(&der);
		OPENSSL_free(bytes);
		bytes = NULL;
		X509_REQ_free(req);
	}
	csr_spec_release(&spec);
}

/* ---- what is refused before a key is made ---- */

static void expect_refusal(struct csr_spec *spec, const char *expected)
{
	const char *reason = "accepted";

	if (csr_check(spec, &reason) == E_OK)
		reason = "accepted";
	assert_string_equal(reason, expected);
}

static void bad_subjects_are_refused(void **state)
{
	static const char *const countries[] = {"", "C", "CHE", "C1", "\xc3\xa9"};
	static const char *const texts[] = {"", "\xc0\xaf", "a\nb", "\xe2\x80\xaex", "\xef\xbb\xbfx"};
	struct csr_spec spec;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	add(&spec, SAN_DNS, "example.com");
	for (size_t i = 0; i < sizeof(countries) / sizeof(countries[0]); i++) {
		replace(&spec.country, countries[i]);
		expect_refusal(&spec, "country is not two letters");
	}
	replace(&spec.country, "DE");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		replace(&spec.organization, texts[i]);
		expect_refusal(&spec, "organization is not usable");
	}
	replace(&spec.organization, "x");
	free(spec.state);
	spec.state = NULL;
	expect_refusal(&spec, "state is not usable");
	spec.state = strdup("x");
	spec.key_type = 7;
	expect_refusal(&spec, "unknown key type");
	csr_spec_release(&spec);
}

static void bad_names_are_refused(void **state)
{
	static const struct {
		enum san_type type;
		const char *value;
	} bad[] = {
	    {SAN_DNS, ""},          {SAN_DNS, "a b"},      {SAN_DNS, "ex\xc3\xa4mple.com"},
	    {SAN_IP, "1.2.3"},      {SAN_IP, "::1%lo"},    {SAN_IP, "010.0.0.1"},
	    {SAN_IP, "192.0.2.1 "}, {SAN_EMAIL, "nobody"}, {SAN_EMAIL, "@example.com"},
	    {SAN_URI, "nothing"},   {SAN_URI, ":x"},       {SAN_URI, "http://a/\n"},
	};
	struct csr_spec spec;

	(void)state;
	fill_spec(&spec, KEY_P256V1);
	expect_refusal(&spec, "number of subject alternative names");
	add(&spec, SAN_DNS, "example.com");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spec.sans[0].type = bad[i].type;
		replace(&spec.sans[0].value, bad[i].value);
		expect_refusal(&spec, "a subject alternative name cannot be encoded");
	}
	csr_spec_release(&spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_type_is_in_order_and_exact),
	    cmocka_unit_test(unit_that_was_not_given_is_not_there),
	    cmocka_unit_test(all_kinds_of_names_F47),
	    cmocka_unit_test(common_name_of_64_characters_F43),
	    cmocka_unit_test(largest_request),
	    cmocka_unit_test(curves_are_named),
	    cmocka_unit_test(ed25519_is_as_in_rfc_8410),
	    cmocka_unit_test(many_signatures_verify),
	    cmocka_unit_test(spki_is_as_openssl_encodes_it),
	    cmocka_unit_test(spki_of_another_kind_of_key_is_refused),
	    cmocka_unit_test(wrong_signature_is_refused_F50),
	    cmocka_unit_test(key_of_another_type_is_refused),
	    cmocka_unit_test(another_digest_is_refused),
	    cmocka_unit_test(error_of_the_token_is_passed_on),
	    cmocka_unit_test(every_difference_is_seen),
	    cmocka_unit_test(signature_is_of_whole_octets_and_its_algorithm_bare),
	    cmocka_unit_test(additions_are_seen),
	    cmocka_unit_test(bad_subjects_are_refused),
	    cmocka_unit_test(bad_names_are_refused),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
