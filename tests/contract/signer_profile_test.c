/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrd-hsm on HSMs that people own, each by its profile: SoftHSM behind the
 * shim, which does what the HSM's public source or documents say of it
 * (tests/p11shim/profiles).  A profile is not the device.
 *
 * run: waits seconds=29
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_fixture.h"

#include "base/clock.h"
#include "base/exit_code.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID_A "0a000000-0000-4000-8000-00000000000a"
#define ID_B "0b000000-0000-4000-8000-00000000000b"
#define NO_EDWARDS KEY_TYPE_BIT(KEY_ED25519)
#define READY 2

#define KIND(kind_name, ...)                                                                                 \
	.kind = {.name = kind_name,                                                                          \
		 .module = SIGNER_SOFTHSM_MODULE,                                                            \
		 .make_token = signer_make_softhsm_token,                                                    \
		 .sees_others = true,                                                                        \
		 .sealed = CKR_ATTRIBUTE_SENSITIVE,                                                          \
		 .usual = KEY_P256V1,                                                                        \
		 __VA_ARGS__}
#define PROFILE(file_name, ...) KIND(file_name, .profile = file_name, __VA_ARGS__)

static const struct profile {
	struct signer_token_kind kind; /* the first member: a fixture's kind is one of these */
	const char *settings;          /* that it needs, of [token default]; NULL: none */
	const char *rules;             /* that the test adds to the file's; NULL: none */
	bool no_data;                  /* it keeps no data objects: its pool does not outlive the process */
	bool large;                    /* RSA keys of every size, which take time; false: rsa2048 alone */
	const char *unusable;          /* why no key can be made; NULL: keys are made */
	const char *unset;             /* why none is without the settings; NULL: none are needed */
} profiles[] = {
    {PROFILE("yubihsm2", ), .large = true},
    {PROFILE("cloudhsm", .lacks = NO_EDWARDS), .settings = "allow_usage = sign_recover\n",
     .unset = "not answered [sign_recover]"},
    {PROFILE("luna-fips", .lacks = NO_EDWARDS), .large = true},
    {PROFILE("nshield-ocs", )},
    {PROFILE("opensc-card", .lacks = NO_EDWARDS), .settings = "allow_usage = sign_recover\n",
     .unset = "wrongly set [sign_recover]"},
    {PROFILE("yubihsm2-2.3", )},
    {KIND("ids-own", ), .rules = "id-own\n"},
    {PROFILE("nethsm", ), .rules = "logged-in " SIGNER_PIN "\n",
     .unusable = "makes a key's label its CKA_ID"},
    {PROFILE("libkmsp11", .lacks = NO_EDWARDS), .unusable = "C_GenerateKeyPair: CKR_TEMPLATE_INCONSISTENT"},
};
#define PROFILES (sizeof(profiles) / sizeof(profiles[0]))

static const struct profile *profile_of(const struct signer_fixture *f)
{
	return (const struct profile *)f->kind;
}

/* RSA keys take time, and the first test of each profile has made them. */
#define NO_RSA                                                                                               \
	"C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_RSA_PKCS_KEY_PAIR_GEN\n"                     \
	"C_GetMechanismInfo return CKR_MECHANISM_INVALID if 0x80000143\n"

/* With these rules besides the profile's; and with more lines of [token default]. */
static void profile_start(struct signer_fixture *f, struct signer_client *c, const char *rules,
			  const char *lines)
{
	const struct profile *p = profile_of(f);
	static char extra[256], all[1024];

	snprintf(extra, sizeof(extra), "%s%s", p->settings ? p->settings : "", lines);
	snprintf(all, sizeof(all), "%s%s", p->rules ? p->rules : "", rules);
	f->extra = extra;
	signer_use_shim(f, all);
	signer_start(f);
	signer_client_open(c, f->socket, NULL);
}

static void profile_stop(struct signer_fixture *f, struct signer_client *c)
{
	signer_client_close(c);
	signer_stop(f);
}

static void expect_keys(const struct signer_fixture *f, unsigned count)
{
	assert_int_equal(signer_token_count_keys(f, CKO_PRIVATE_KEY), count);
	assert_int_equal(signer_token_count_keys(f, CKO_PUBLIC_KEY), count);
}

static void expect_empty(const struct signer_fixture *f)
{
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 0);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, NULL), 0);
}

static void destroy_pair(struct signer_client *c, const char *csr_id)
{
	uint32_t destroyed = 0;

	assert_int_equal(signer_destroy(c, csr_id, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	assert_int_equal(signer_find(c, csr_id), MESSAGE_KEY_NONE);
}

/* ---- where keys are made ---- */

static void one_type_lives_and_dies(struct signer_fixture *f, struct signer_client *c, enum key_type type)
{
	struct message_create_csr_reply reply;

	assert_int_equal(signer_create(c, ID_A, type, &reply), E_OK);
	assert_int_equal(reply.key.key_type, type);
	assert_int_equal(reply.key.protection & ~(uint32_t)KEY_PROT_SIGN_RECOVER, KEY_PROT_REQUIRED);
	signer_expect_csr(&reply, type);
	message_create_csr_reply_release(&reply);
	signer_token_expect_sealed(f, signer_label(ID_A), signer_private_value(type));
	assert_int_equal(signer_find(c, ID_A), MESSAGE_KEY_PAIR);
	destroy_pair(c, ID_A);
	expect_empty(f);
}

static void every_offered_type_is_made_and_destroyed_F205(void **state)
{
	struct signer_fixture *f = *state;
	const key_type_set offered = KEY_TYPES_ALL & ~f->kind->lacks;
	struct message_hello_reply hello;
	struct signer_client c, other;

	profile_start(f, &c, "", "");
	signer_client_open(&other, f->socket, &hello);
	assert_int_equal(hello.key_types, offered);
	message_hello_reply_release(&hello);
	signer_client_close(&other);
	assert_true(signer_is_usable(&c));
	for (int type = 1; type <= KEY_TYPE_MAX; type++) {
		if ((type == KEY_RSA3072 || type == KEY_RSA4096) && !profile_of(f)->large)
			continue;
		if (offered & KEY_TYPE_BIT(type))
			one_type_lives_and_dies(f, &c, (enum key_type)type);
		else
			assert_int_equal(signer_create(&c, ID_A, (enum key_type)type, NULL), E_UNSUPPORTED);
	}
	profile_stop(f, &c);
}

/* The next process knows the token and its keys. */
static void keys_outlive_a_restart_F205(void **state)
{
	struct signer_fixture *f = *state;
	struct message_inspect_key_reply found;
	struct message_list_keys_part list;
	struct signer_client c;
	unsigned parts;
	long made;

	profile_start(f, &c, NO_RSA, "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
	profile_stop(f, &c);
	made = signer_shim_count(f, "C_GenerateKeyPair");
	profile_start(f, &c, NO_RSA, "");
	assert_true(signer_is_usable(&c));
	assert_int_equal(signer_shim_count(f, "C_GenerateKeyPair") - made, 1); /* what it can is remembered */
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 2);
	assert_int_equal(list.unread, 0);
	assert_true(strcmp(list.keys[0].label, signer_label(ID_A)) == 0 ||
		    strcmp(list.keys[1].label, signer_label(ID_A)) == 0);
	assert_int_equal(list.keys[0].presence, MESSAGE_KEY_PAIR);
	message_list_keys_part_release(&list);
	assert_int_equal(signer_inspect(&c, ID_B, &found), E_OK);
	assert_true(found.has_key);
	message_inspect_key_reply_release(&found);
	destroy_pair(&c, ID_A);
	destroy_pair(&c, ID_B);
	expect_empty(f);
	profile_stop(f, &c);
}

/* Far away, with as many threads as by default. */
static void many_ask_at_once_F205(void **state)
{
	enum { COUNT = 12 };
	struct signer_fixture *f = *state;
	uint32_t ids[COUNT];
	char csr_id[CSR_ID_SIZE];
	struct csr_spec spec;
	struct signer_client c;

	profile_start(f, &c, NO_RSA "answer-after 2ms\n", "");
	signer_spec(&spec, KEY_P256V1);
	for (unsigned i = 0; i < COUNT; i++) {
		signer_csr_id(csr_id, i);
		ids[i] = signer_create_send(&c, csr_id, &spec, CLIENT_DEADLINE_MS);
	}
	csr_spec_release(&spec);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(signer_create_get(&c, ids[i], NULL), E_OK);
	for (unsigned i = 0; i < COUNT; i++) {
		signer_csr_id(csr_id, i);
		destroy_pair(&c, csr_id);
	}
	expect_keys(f, 0); /* SoftHSM leaves a shell where one thread disturbs the generation of another */
	assert_int_equal(signer_shim_count(f, "C_Finalize"), 0); /* and it was in nobody's opinion ill */
	profile_stop(f, &c);
}

static void a_wrong_pin_is_tried_once_F205(void **state)
{
	struct signer_fixture *f = *state;

	signer_use_shim(f, profile_of(f)->rules ? profile_of(f)->rules : "");
	signer_write_file(signer_path(f, "pin"), "141421", 0600);
	signer_expect_exit(f, EXIT_CODE_PIN, "refused the pin");
	signer_expect_exit(f, EXIT_CODE_PIN, "not tried again");
	assert_int_equal(signer_shim_count(f, "C_Login"), 1);
}

#define POOL "pool_p256v1 = 2\npool_quiet = 1m\nnode = node-1\n"

/* A create takes a ready key, and what is left of them is ready at the next start, or made again. */
static void the_pool_is_there_F205(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct signer_client c;
	long made;

	profile_start(f, &c, NO_RSA, POOL);
	signer_wait_for_stock(&c, READY);
	expect_keys(f, READY);
	made = signer_shim_count(f, "C_GenerateKeyPair");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, &reply), E_OK);
	signer_expect_csr(&reply, KEY_P256V1);
	message_create_csr_reply_release(&reply);
	assert_int_equal(signer_shim_count(f, "C_GenerateKeyPair") - made, 0);
	profile_stop(f, &c);
	made = signer_shim_count(f, "C_GenerateKeyPair");
	profile_start(f, &c, NO_RSA, POOL);
	signer_wait_for_stock(&c, READY);
	/* the probe's, and what is made again */
	assert_int_equal(signer_shim_count(f, "C_GenerateKeyPair") - made,
			 1 + (profile_of(f)->no_data ? READY : 1));
	expect_keys(f, READY + 1);
	destroy_pair(&c, ID_A);
	profile_stop(f, &c);
	expect_keys(f, READY);
}

/* ---- where the login goes ---- */

/* A card that is put in (nShield), another program that uses the card (OpenSC): the sessions live on. */
static void a_login_that_is_lost_F205(void **state)
{
	static const char *const places[] = {
	    "C_GenerateKeyPair@1 logout\n",
	    "C_SignInit@1 logout\nC_SignInit@1 return CKR_USER_NOT_LOGGED_IN\n",
	    "C_Sign@1 logout\nC_Sign@1 return CKR_USER_NOT_LOGGED_IN\n",
	    "C_FindObjectsInit@1 logout\n",
	    "C_DestroyObject@1 logout\n",
	};
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->threads = 1;
	profile_start(f, &c, "", "keep_alive = 1h\n");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		signer_set_rules(f, places[i]);
		assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
		assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
		signer_set_rules(f, places[i]);
		assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_OK);
		expect_empty(f);
	}
	profile_stop(f, &c);
}

/* nShield: the last card is taken away, and put back. */
static void no_card_at_all_F205(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	profile_start(f, &c, "", "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "invalidate-sessions\nC_OpenSession return CKR_TOKEN_NOT_PRESENT\n");
	assert_int_not_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
	signer_wait_until_unusable(&c);
	signer_wait_for_log(f, "the hsm is down: C_OpenSession: CKR_TOKEN_NOT_PRESENT");
	signer_set_rules(f, "");
	signer_wait_until_usable(&c);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	destroy_pair(&c, ID_A);
	expect_empty(f);
	profile_stop(f, &c);
}

/* nShield in FIPS 140 Level 3: no card authorises generation.  Old keys are found and destroyed. */
static void no_card_authorises_generation_F205(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	profile_start(f, &c, "", "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_GenerateKeyPair return 0x800000e0\n");
	assert_int_not_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
	signer_wait_until_unusable(&c);
	signer_wait_for_log(f, "the hsm makes no keys, creates are refused: C_GenerateKeyPair: "
			       "CKR_VENDOR_DEFINED (0x800000e0)");
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	destroy_pair(&c, ID_A);
	signer_set_rules(f, "");
	signer_wait_until_usable(&c);
	assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
	profile_stop(f, &c);
}

/* ---- where none are ---- */

static unsigned count_lines(const struct signer_fixture *f, const char *text)
{
	FILE *log = fopen(signer_path(f, "log"), "re");
	unsigned lines = 0;
	char line[2048];

	assert_non_null(log);
	while (fgets(line, sizeof(line), log))
		lines += strstr(line, text) != NULL;
	fclose(log);
	return lines;
}

static void expect_why(struct signer_client *c, const char *why)
{
	struct message_status_reply status;

	signer_status(c, &status);
	assert_false(status.usable);
	if (!strstr(status.detail, why))
		fail_msg("'%s' does not say '%s'", status.detail, why);
	message_status_reply_release(&status);
}

/* A stop in the middle of a look leaves its key to the next start, so it is seen here that there is none. */
static void wait_between_two_looks(const struct signer_fixture *f)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;

	while (signer_token_count_keys(f, CKO_PRIVATE_KEY) || signer_token_count_keys(f, CKO_PUBLIC_KEY)) {
		assert_true(clock_ms() < deadline);
		usleep(50000);
	}
}

/* One line says why; callers who keep asking get an answer each, and no keys are made for them or left. */
static void expect_unusable(struct signer_fixture *f, struct signer_client *c, const char *why)
{
	const uint64_t until = clock_ms() + 1200;
	long tried, asked = 0;

	expect_why(c, why);
	tried = signer_shim_count(f, "C_GenerateKeyPair");
	while (clock_ms() < until || asked < 10) {
		assert_int_equal(signer_create(c, ID_A, KEY_P256V1, NULL), E_UNAVAIL);
		asked++;
		usleep(20000);
	}
	/* It is looked at again after 0.5, 1, 2 … s: once or twice meanwhile. */
	assert_true(signer_shim_count(f, "C_GenerateKeyPair") - tried <= 2 * tried);
	expect_why(c, why);
	assert_int_equal(count_lines(f, "the hsm makes no keys, creates are refused: "), 1);
	assert_true(signer_log_has(f, why));
	wait_between_two_looks(f);
	profile_stop(f, c);
}

static void it_is_said_why_no_key_can_be_made_F206(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char uri[64];

	if (strcmp(f->kind->name, "libkmsp11") == 0) { /* which has no label */
		snprintf(uri, sizeof(uri), "pkcs11:slot-id=%lu", signer_token_slot(f, 0));
		f->uri = uri;
	}
	profile_start(f, &c, "", POOL);
	expect_unusable(f, &c, profile_of(f)->unusable);
}

static void it_is_said_which_setting_is_wanted_F206(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_set_rules(f, NO_RSA);
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	expect_unusable(f, &c, profile_of(f)->unset);
}

/* NetHSM without an operator in the module's own file: a session is nobody's, and no PIN is right. */
static void an_operator_is_missing_F206(void **state)
{
	struct signer_fixture *f = *state;

	signer_write_file(signer_path(f, "pin"), "141421", 0600); /* none is */
	signer_expect_exit(f, EXIT_CODE_TOKEN_FAILED, "failed the login with the pin of '");
	assert_true(signer_log_has(f, "CKR_USER_TYPE_INVALID"));
	signer_expect_exit(f, EXIT_CODE_TOKEN_FAILED, "");
	assert_int_equal(signer_shim_count(f, "C_Login"), 1);
}

/* libkmsp11: three slots without labels, of one serial number; the one that was chosen is kept to. */
static void twins_are_told_apart_by_their_slot_F206(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char uri[64];

	for (int i = 0; i < 2; i++)
		f->kind->make_token(f, SIGNER_TOKEN_LABEL);
	signer_expect_exit(f, EXIT_CODE_NO_TOKEN, "no token fits 'pkcs11:token=" SIGNER_TOKEN_LABEL "'");
	snprintf(uri, sizeof(uri), "pkcs11:slot-id=%lu", signer_token_slot(f, 1));
	f->uri = uri;
	profile_start(f, &c, "", "");
	expect_unusable(f, &c, profile_of(f)->unusable);
	assert_false(signer_log_has(f, "exchanged"));
	assert_false(signer_log_has(f, "another token"));
}

/* ---- other modules ---- */

static const struct profile nul_padded = {KIND("softhsm", )};

/* Their CK_TOKEN_INFO is padded with NUL: the URI fits as it is printed, at start and after an outage. */
static void a_token_info_padded_with_nul_F207(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->uri = "pkcs11:token=" SIGNER_TOKEN_LABEL ";model=SoftHSM%20v2";
	signer_use_shim(f, "C_GetTokenInfo nul-padded\n");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_GetTokenInfo nul-padded\ninvalidate-sessions\n"
			    "C_OpenSession return CKR_DEVICE_ERROR\n");
	while (signer_is_usable(&c))
		signer_key_send(&c, MESSAGE_FIND_KEY, ID_A, CLIENT_DEADLINE_MS);
	signer_wait_for_trace(f, "C_Finalize");
	signer_set_rules(f, "C_GetTokenInfo nul-padded\n");
	signer_wait_until_usable(&c);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- which of them run ---- */

#define TESTS_MAX 64

static struct CMUnitTest tests[TESTS_MAX];
static char names[TESTS_MAX][96];
static size_t tests_len;

static void add_test(const struct profile *p, const char *name, CMUnitTestFunction run)
{
	assert_true(tests_len < TESTS_MAX);
	snprintf(names[tests_len], sizeof(names[0]), "%s_%s", p->kind.name, name);
	tests[tests_len] = (struct CMUnitTest){names[tests_len], run, signer_fixture_setup,
					       signer_fixture_teardown, (void *)(uintptr_t)&p->kind};
	tests_len++;
}
#define ADD(profile, function) add_test(profile, #function, function)

static void add_tests_of(const struct profile *p)
{
	if (p->unusable) {
		ADD(p, it_is_said_why_no_key_can_be_made_F206);
		return;
	}
	ADD(p, every_offered_type_is_made_and_destroyed_F205);
	ADD(p, keys_outlive_a_restart_F205);
	ADD(p, many_ask_at_once_F205);
	ADD(p, a_wrong_pin_is_tried_once_F205);
	ADD(p, the_pool_is_there_F205);
	if (p->unset)
		ADD(p, it_is_said_which_setting_is_wanted_F206);
}

static const struct profile *profile_named(const char *name)
{
	for (size_t i = 0; i < PROFILES; i++)
		if (strcmp(profiles[i].kind.name, name) == 0)
			return &profiles[i];
	fail_msg("no profile '%s'", name);
	return NULL;
}

/* signer_profile_test [PATTERN]: only the tests whose name fits, as in "yubihsm2*". */
int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	for (size_t i = 0; i < PROFILES; i++)
		add_tests_of(&profiles[i]);
	ADD(profile_named("nshield-ocs"), a_login_that_is_lost_F205);
	ADD(profile_named("opensc-card"), a_login_that_is_lost_F205);
	ADD(profile_named("nshield-ocs"), no_card_at_all_F205);
	ADD(profile_named("nshield-ocs"), no_card_authorises_generation_F205);
	ADD(profile_named("nethsm"), an_operator_is_missing_F206);
	ADD(profile_named("libkmsp11"), twins_are_told_apart_by_their_slot_F206);
	ADD(&nul_padded, a_token_info_padded_with_nul_F207);
	return _cmocka_run_group_tests("signer_profile", tests, tests_len, NULL, NULL);
}
