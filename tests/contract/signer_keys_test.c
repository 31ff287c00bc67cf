/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key type that the token offers, through the real csrd-hsm, and keys
 * that a generator gone wrong hands back (F51).
 *
 * run: seconds=29
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/kryoptic.h"
#include "tests/contract/signer_fixture.h"

#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 2048 bits with e = 65537; both primes of the form k·M + (65537^a mod M), M the product of 126 primes. */
#define ROCA_2048                                                                                            \
	"dd1022cbd472f90766221075026419d67864d301f6ea6456229fb19e887d4964c41a9f5b18678b880696666b0644b2f1"   \
	"65420d84040ca6ac3a0f4382a7c4986f882556fd211e3da5efb592fd3f00034d82f61ac23cc585693fec5ab15c60fad7"   \
	"efc4d5e0fc0739aed8f038c536c1f7fad03a0d6919729cbf74a0421d85317ac68ea9527ef675c7d5a35ec8dba32e5c4c"   \
	"35829c9904a0483c06bd42aaff813fea7f769bd3226fd4d5c021ab7c5e91dd23acbdeb69709e3de4835b2ae7317669ad"   \
	"322aab8c42f98ff20828c5e71ce4a82ec7f1f145da9baba593b753e3a9822ef38d040d352985674698229b67b9e8fa81"   \
	"099201bd1402b2f977804033fc8e9575"
/* 2048 bits; the second prime is the next one after the first plus 2^400. */
#define CLOSE_2048                                                                                           \
	"f0568ae69d73a1f2614cd9caffe92caebdc447228a5e9d848903aa4930067b0195d5e238c688bad9af215d424d705a5a"   \
	"eb639e67a612f7a59fc8d593fa24fe72d67086b8273d8c3754f8597d72cb780dffb2f4d4b3be0aeaa7d0e22439555d4d"   \
	"94939412dcb8166114d1c7c34fc8fe31bba18881a9c3490a06195391dd4e2344fa07762813b4072fe107e7ab4d3b3c65"   \
	"63acd82517b6160c1c15c1617e097a7fd457384a07e3da87a250371ef2fddfa028ec569b4179f45c024577f252fa4345"   \
	"4f92154a4f55ac89ac48c2cce188849ab0c93dfe18fb4ec56bd13b056ac1e89ed148c668bfb1609a9cac90bdf966fdba"   \
	"1b8b30ebd39bbe85944e22d6e9da0a8f"

/* The id of the test's n-th CSR; good until the next call. */
static const char *csr(unsigned number)
{
	static char csr_id[CSR_ID_SIZE];

	signer_csr_id(csr_id, number);
	return csr_id;
}

static void assert_nothing_left(const struct signer_fixture *f)
{
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 0);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, NULL), 0);
}

static key_type_set start(struct signer_fixture *f, struct signer_client *c)
{
	struct message_hello_reply hello;
	key_type_set offered;

	signer_start(f);
	signer_client_open(c, f->socket, &hello);
	offered = hello.key_types;
	message_hello_reply_release(&hello);
	return offered;
}

static void stop(struct signer_fixture *f, struct signer_client *c)
{
	signer_client_close(c);
	signer_stop(f);
}

/* ---- what is offered can be had ---- */

static void one_type_lives_and_dies(struct signer_fixture *f, struct signer_client *c, enum key_type type)
{
	struct message_create_csr_reply reply;
	const char *csr_id = csr((unsigned)type);
	uint32_t destroyed = 0;

	assert_int_equal(signer_create(c, csr_id, type, &reply), E_OK);
	assert_int_equal(reply.key.key_type, type);
	assert_int_equal(reply.key.protection, KEY_PROT_REQUIRED);
	signer_expect_csr(&reply, type);
	message_create_csr_reply_release(&reply);
	signer_token_expect_sealed(f, signer_label(csr_id), signer_private_value(type));
	assert_int_equal(signer_find(c, csr_id), MESSAGE_KEY_PAIR);
	assert_int_equal(signer_destroy(c, csr_id, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	assert_int_equal(signer_find(c, csr_id), MESSAGE_KEY_NONE);
}

static void every_type_that_is_offered_is_made(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	key_type_set offered = start(f, &c);

	assert_int_equal(offered, KEY_TYPES_ALL & ~f->kind->lacks);
	for (int type = 1; type <= KEY_TYPE_MAX; type++) {
		if (offered & KEY_TYPE_BIT(type))
			one_type_lives_and_dies(f, &c, (enum key_type)type);
		else
			assert_int_equal(signer_create(&c, csr(7), (enum key_type)type, NULL), E_UNSUPPORTED);
	}
	assert_nothing_left(f);
	stop(f, &c);
}

/* ---- what a token lacks ---- */

static void types_follow_the_mechanisms(void **state)
{
	static const struct {
		const char *lacking;
		key_type_set left;
	} tokens[] = {
	    {"CKM_EDDSA", KEY_TYPES_ALL & ~KEY_TYPE_BIT(KEY_ED25519)},
	    {"CKM_EC_EDWARDS_KEY_PAIR_GEN", KEY_TYPES_ALL & ~KEY_TYPE_BIT(KEY_ED25519)},
	    {"CKM_ECDSA", KEY_TYPES_ALL & ~(KEY_TYPE_BIT(KEY_P256V1) | KEY_TYPE_BIT(KEY_P384V1))},
	    {"CKM_RSA_PKCS_KEY_PAIR_GEN",
	     KEY_TYPE_BIT(KEY_P256V1) | KEY_TYPE_BIT(KEY_P384V1) | KEY_TYPE_BIT(KEY_ED25519)},
	    {"CKM_SHA256_RSA_PKCS", KEY_TYPES_ALL},
	};
	struct signer_fixture *f = *state;
	struct signer_client c;
	char rules[128];

	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		snprintf(rules, sizeof(rules), "C_GetMechanismInfo return CKR_MECHANISM_INVALID if %s\n",
			 tokens[i].lacking);
		signer_use_shim(f, rules);
		assert_int_equal(start(f, &c), tokens[i].left);
		for (int type = 1; type <= KEY_TYPE_MAX; type++)
			if (!(tokens[i].left & KEY_TYPE_BIT(type)))
				assert_int_equal(signer_create(&c, csr(7), (enum key_type)type, NULL),
						 E_UNSUPPORTED);
		stop(f, &c);
	}
	assert_nothing_left(f);
}

/* The token hashes where it can; else it gets the DigestInfo, and the signature is the same kind. */
static void rsa_is_signed_with_what_the_token_has(void **state)
{
	static const struct {
		const char *rules, *used;
	} tokens[] = {
	    {"C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_SHA256_RSA_PKCS\n",
	     "mechanism=CKM_RSA_PKCS "},
	    {"", "mechanism=CKM_SHA256_RSA_PKCS "},
	};
	static const enum key_type rsa[] = {KEY_RSA2048, KEY_RSA3072};
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct signer_client c;

	for (size_t i = 0; i < 2; i++) {
		signer_use_shim(f, tokens[i].rules);
		start(f, &c);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(signer_create(&c, csr((unsigned)i * 2 + k), rsa[k], &reply), E_OK);
			signer_expect_csr(&reply, rsa[k]);
			message_create_csr_reply_release(&reply);
		}
		stop(f, &c);
		signer_wait_for_trace(f, tokens[i].used);
	}
}

/* ---- keys that must not be used ---- */

/* F51: the token's answer about the public key is replaced; the request fails, the key is gone, the log is
 * loud. */
static void weak_keys_are_destroyed_F51(void **state)
{
	static const struct {
		enum key_type type;
		const char *answer;
		const char *logged;
	} keys[] = {
	    {KEY_RSA2048, "CKA_MODULUS hex " ROCA_2048, "roca fingerprint (CVE-2017-15361)"},
	    {KEY_RSA2048, "CKA_MODULUS hex " CLOSE_2048,
	     "primes are too close to each other (CVE-2022-26320)"},
	    {KEY_RSA3072, "CKA_MODULUS hex " CLOSE_2048, "rsa modulus: not of the size asked for"},
	    {KEY_RSA2048, "CKA_PUBLIC_EXPONENT hex 03", "rsa exponent: not 65537"},
	    {KEY_RSA3072, "CKA_PUBLIC_EXPONENT hex 0100000001", "rsa exponent: not 65537"},
	    /* P-256 said, P-384 asked for */
	    {KEY_P384V1, "CKA_EC_PARAMS hex 06082a8648ce3d030107", "not on the named curve asked for"},
	    {KEY_P384V1, "CKA_EC_POINT hex 0400", "the point has the wrong length"},
	    /* (1, 1) */
	    {KEY_P256V1,
	     "CKA_EC_POINT hex 044104"
	     "0000000000000000000000000000000000000000000000000000000000000001"
	     "0000000000000000000000000000000000000000000000000000000000000001",
	     "not an uncompressed point of the named curve"},
	    /* Ed448 said */
	    {KEY_ED25519, "CKA_EC_PARAMS hex 06032b6571", "not on the named curve asked for"},
	    {KEY_ED25519,
	     "CKA_EC_POINT hex 0420ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	     "ed25519 point: of small order"},
	    {KEY_ED25519, "CKA_EC_POINT hex 0200000000000000000000000000000000000000000000000000000000000000",
	     "ed25519 point: not on the curve"},
	};
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	const size_t len = sizeof(keys) / sizeof(keys[0]);
	struct signer_client c;
	char rules[1200];

	signer_use_shim(f, "");
	start(f, &c);
	for (size_t i = 0; i < len; i++) {
		snprintf(rules, sizeof(rules), "C_GetAttributeValue attr %s\n", keys[i].answer);
		signer_set_rules(f, rules);
		if (signer_create(&c, csr((unsigned)i), keys[i].type, NULL) != E_HSM)
			fail_msg("not refused: %s", keys[i].logged);
		signer_wait_for_log(f, keys[i].logged);
		signer_set_rules(f, "");
		assert_int_equal(signer_find(&c, csr((unsigned)i)), MESSAGE_KEY_NONE);
		signer_wait_until_usable(&c);
	}
	signer_wait_for_log(f, "the token made a weak or wrong key");
	assert_nothing_left(f);
	assert_int_equal(signer_create(&c, csr(99), KEY_ED25519, NULL), E_OK);
	signer_status(&c, &status);
	assert_true(status.usable);
	assert_int_equal(status.failed, len);
	assert_int_equal(status.created, 1);
	message_status_reply_release(&status);
	stop(f, &c);
}

/* F50: a signature of each family with one bit wrong never leaves. */
static void wrong_signatures_are_refused_F50(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_use_shim(f, "C_Sign corrupt\n");
	start(f, &c);
	for (int type = 1; type <= KEY_TYPE_MAX; type++)
		if (type != KEY_RSA4096) /* for its time alone */
			assert_int_equal(signer_create(&c, csr(1), (enum key_type)type, NULL), E_HSM);
	assert_nothing_left(f);
	stop(f, &c);
}

/* A token that spells point and curve in the other ways that PKCS#11 knows is understood. */
static void ed25519_is_read_in_each_spelling(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct signer_client c;

	signer_use_shim(f, ""); /* the other curves are not to be judged by what follows */
	start(f, &c);
	signer_set_rules(f, "C_GetAttributeValue attr CKA_EC_PARAMS hex 130c656477617264733235353139\n");
	assert_int_equal(signer_create(&c, csr(1), KEY_ED25519, &reply), E_OK);
	signer_expect_csr(&reply, KEY_ED25519);
	message_create_csr_reply_release(&reply);
	/* a good point that is not this key's, bare and as a BIT STRING: taken as a point, and then it does
	 * not verify */
	signer_set_rules(f, "C_GetAttributeValue attr CKA_EC_POINT hex "
			    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\n");
	assert_int_equal(signer_create(&c, csr(2), KEY_ED25519, NULL), E_HSM);
	signer_wait_for_log(f, "does not verify with the public key");
	signer_set_rules(f, "");
	signer_wait_until_usable(&c);
	signer_set_rules(f, "C_GetAttributeValue attr CKA_EC_POINT hex "
			    "032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\n");
	assert_int_equal(signer_create(&c, csr(3), KEY_ED25519, NULL), E_HSM);
	assert_false(signer_log_has(f, "cannot create csr: the token made a weak or wrong key"));
	stop(f, &c);
}

#define KINDS_MAX 16

/* signer_keys_test [PATTERN] */
int main(int argc, char **argv)
{
	static const struct CMUnitTest fault_cases[] = {
	    {"types_follow_the_mechanisms", types_follow_the_mechanisms, NULL, NULL, NULL},
	    {"rsa_is_signed_with_what_the_token_has", rsa_is_signed_with_what_the_token_has, NULL, NULL,
	     NULL},
	    {"weak_keys_are_destroyed_F51", weak_keys_are_destroyed_F51, NULL, NULL, NULL},
	    {"wrong_signatures_are_refused_F50", wrong_signatures_are_refused_F50, NULL, NULL, NULL},
	    {"ed25519_is_read_in_each_spelling", ed25519_is_read_in_each_spelling, NULL, NULL, NULL},
	};
	struct CMUnitTest tests[KINDS_MAX + sizeof(fault_cases) / sizeof(fault_cases[0])];
	static char names[KINDS_MAX][96];
	size_t len = 0;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	for (size_t i = 0; i < signer_token_kinds_len; i++) {
		assert_true(len < KINDS_MAX);
		if (i == SIGNER_KIND_KRYOPTIC && !kryoptic_is_here())
			continue;
		snprintf(names[len], sizeof(names[len]), "%s_every_type_that_is_offered_is_made",
			 signer_token_kinds[i].name);
		tests[len] =
		    signer_test_on((enum signer_kind)i, names[len], every_type_that_is_offered_is_made);
		len++;
	}
	for (size_t i = 0; i < sizeof(fault_cases) / sizeof(fault_cases[0]); i++) {
		tests[len] = fault_cases[i];
		tests[len].setup_func = signer_fixture_setup;
		tests[len].teardown_func = signer_fixture_teardown;
		tests[len++].initial_state = (void *)(uintptr_t)&signer_token_kinds[0];
	}
	return _cmocka_run_group_tests("signer_keys", tests, len, NULL, NULL);
}
