/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim of tests/p11shim: which calls a rule means, when, and what comes of
 * it as its README says; who else works through it.
 */
#include "tests/contract/p11shim_fixture.h"

#include <fcntl.h>
#include <libp11.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* ---- no rule ---- */

static void plain_body(void)
{
	unsigned char wrong[] = SHIM_WRONG_PIN, so[] = SHIM_SO_PIN;

	shim_initialize();
	for (size_t at = offsetof(CK_FUNCTION_LIST, C_Initialize); at < sizeof(*shim_p11);
	     at += sizeof(void *)) {
		void *entry;

		memcpy(&entry, (const char *)shim_p11 + at, sizeof(entry));
		SHIM_CHECK(entry);
	}
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_p11->C_Login(shim_session, CKU_USER, wrong, 6), CKR_PIN_INCORRECT);
	SHIM_CHECK_RV(shim_p11->C_Login(shim_session, CKU_SO, so, 8), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_Logout(shim_session), CKR_OK);
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_OK);
	shim_sign_and_verify(CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_CloseSession(shim_session), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_Finalize(NULL), CKR_OK);
}

static void calls_pass_through_and_are_traced_without_a_pin(void **state)
{
	(void)state;
	shim_run(plain_body);
	assert_true(shim_file_says("trace", " C_Login session="));
	assert_true(shim_file_says("trace", "user=1 = CKR_PIN_INCORRECT "));
	assert_true(shim_file_says("trace", "mechanism=CKM_EC_KEY_PAIR_GEN public=["));
	assert_true(shim_file_says("trace", "CKA_LABEL=\"" SHIM_LABEL "\" CKA_ID=cafe"));
	assert_true(shim_file_says("trace", "CKA_EXTRACTABLE=false"));
	assert_true(shim_file_says("trace", "in=32 out=64 = CKR_OK"));
	assert_false(shim_file_says("trace", SHIM_PIN));
	assert_false(shim_file_says("trace", SHIM_WRONG_PIN));
	assert_false(shim_file_says("trace", SHIM_SO_PIN));
	assert_int_equal(shim_counter("C_Login"), 3);
	assert_int_equal(shim_counter("C_Login.bad"), 1);
	shim_run(plain_body);
	assert_int_equal(shim_counter("C_Login"), 6);
	assert_int_equal(shim_counter("C_Login.bad"), 2);
	assert_int_equal(shim_counter("C_Finalize"), 2);
}

/* ---- return, and when ---- */

static void nth_body(void)
{
	unsigned char seed[4] = {0};

	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_DEVICE_ERROR);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_SeedRandom(shim_session, seed, 4), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_SeedRandom(shim_session, seed, 4), CKR_DEVICE_MEMORY);
	SHIM_CHECK_RV(shim_p11->C_SeedRandom(shim_session, seed, 4), CKR_DEVICE_MEMORY);
	SHIM_CHECK_RV(shim_p11->C_CloseSession(shim_session), CKR_VENDOR_DEFINED);
}

static void a_rule_means_one_call_or_all_from_one_on(void **state)
{
	(void)state;
	shim_run_with("# a remark\n\n"
		      "C_GenerateRandom@3 return CKR_DEVICE_ERROR\n"
		      "C_SeedRandom@2+ return 0x31\n"
		      "C_CloseSession return 0x80000000\n",
		      nth_body);
	shim_run(nth_body); /* the count is that of the process */
}

static void condition_body(void)
{
	CK_MECHANISM_INFO info;

	shim_initialize();
	SHIM_CHECK_RV(shim_p11->C_GetMechanismInfo(shim_slot, CKM_EC_KEY_PAIR_GEN, &info), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetMechanismInfo(shim_slot, CKM_RSA_PKCS_KEY_PAIR_GEN, &info), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetMechanismInfo(shim_slot, CKM_EC_KEY_PAIR_GEN, &info), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetMechanismInfo(shim_slot, CKM_RSA_PKCS_KEY_PAIR_GEN, &info),
		      CKR_MECHANISM_INVALID);
}

static void a_rule_may_mean_one_mechanism(void **state)
{
	(void)state;
	shim_run_with("C_GetMechanismInfo@2 return CKR_MECHANISM_INVALID if CKM_RSA_PKCS_KEY_PAIR_GEN\n",
		      condition_body);
}

static void refused_template_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	shim_log_in();
	SHIM_CHECK_RV(shim_generate(&pub, &priv), CKR_ATTRIBUTE_TYPE_INVALID);
	SHIM_CHECK(shim_count_keys() == 0);
}

static void a_template_with_an_attribute_is_refused(void **state)
{
	(void)state;
	shim_run_with("template-refuse CKA_ALLOWED_MECHANISMS CKR_ATTRIBUTE_TYPE_INVALID\n"
		      "template-refuse CKA_EXTRACTABLE CKR_ATTRIBUTE_TYPE_INVALID\n",
		      refused_template_body);
	shim_set_rules("template-refuse CKA_ALLOWED_MECHANISMS CKR_ATTRIBUTE_TYPE_INVALID\n");
	shim_run(plain_body);
}

static void fails_once_body(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_FUNCTION_FAILED);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
}

static void never_fails_body(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
}

static void once_is_once_over_restarts(void **state)
{
	(void)state;
	shim_run_with("C_GenerateRandom return CKR_FUNCTION_FAILED once\n", fails_once_body);
	shim_run(never_fails_body);
	shim_run_with("C_GenerateRandom return CKR_FUNCTION_FAILED once\n", fails_once_body);
}

static void new_rules_body(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	shim_set_rules("C_GenerateRandom@2 return CKR_DEVICE_REMOVED\n");
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_DEVICE_REMOVED);
	shim_set_rules("C_GenerateRandom return CKR_DEVICE_MEMORY\n");
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_DEVICE_MEMORY);
	SHIM_CHECK(unlink(shim_in_folder("rules")) == 0);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK(shim_counter("C_GenerateRandom") == 5);
}

static void a_running_process_takes_new_rules(void **state)
{
	(void)state;
	shim_run(new_rules_body);
}

/* ---- time and death ---- */

static void sleep_body(void)
{
	int64_t before;

	shim_initialize();
	shim_session = shim_open_session();
	before = shim_now_ms();
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_DEVICE_ERROR);
	SHIM_CHECK(shim_now_ms() - before >= 300);
	before = shim_now_ms();
	SHIM_CHECK_RV(shim_p11->C_SeedRandom(shim_session, (unsigned char[]){1}, 1), CKR_OK);
	SHIM_CHECK(shim_now_ms() - before >= 200);
}

static void calls_sleep(void **state)
{
	(void)state;
	shim_run_with("C_GenerateRandom sleep 300ms\nC_GenerateRandom return CKR_DEVICE_ERROR\n"
		      "C_SeedRandom after-sleep 200ms\n",
		      sleep_body);
}

static void one_random_body(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	shim_random_in(shim_session);
}

static void a_call_hangs_for_ever(void **state)
{
	pid_t pid;

	(void)state;
	shim_set_rules("C_GenerateRandom@1+ hang\n");
	pid = shim_start(one_random_body);
	assert_true(shim_wait_for_trace(" = hang"));
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	shim_assert_dies_of(SIGKILL, shim_end_of(pid));
	assert_int_equal(shim_counter("C_GenerateRandom"), 1);
}

static void generate_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	shim_log_in();
	shim_generate(&pub, &priv);
	_exit(77);
}

static void one_key_body(void)
{
	shim_log_in();
	SHIM_CHECK(shim_count_keys() == 1);
	SHIM_CHECK_RV(shim_p11->C_Finalize(NULL), CKR_OK);
}

static void no_key_body(void)
{
	shim_log_in();
	SHIM_CHECK(shim_count_keys() == 0);
}

static void the_process_dies(void **state)
{
	static const char *const ends[] = {" = abort", " = segv", " = kill", " = exit"};
	int status;

	(void)state;
	shim_set_rules("C_GenerateKeyPair abort\n");
	shim_assert_dies_of(SIGABRT, shim_end_of(shim_start(generate_body)));
	shim_set_rules("C_GenerateKeyPair segv\n");
	shim_assert_dies_of(SIGSEGV, shim_end_of(shim_start(generate_body)));
	shim_set_rules("C_GenerateKeyPair kill\n");
	shim_assert_dies_of(SIGKILL, shim_end_of(shim_start(generate_body)));
	shim_set_rules("C_GenerateKeyPair exit 3\n");
	status = shim_end_of(shim_start(generate_body));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	shim_run_with("", no_key_body);
	for (int i = 0; i < 4; i++)
		assert_true(shim_file_says("trace", ends[i]));
}

static void the_process_dies_after_the_module_did_it(void **state)
{
	(void)state;
	shim_set_rules("C_GenerateKeyPair after-kill\n");
	shim_assert_dies_of(SIGKILL, shim_end_of(shim_start(generate_body)));
	shim_run_with("", one_key_body);
}

static void after_return_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	shim_log_in();
	SHIM_CHECK_RV(shim_generate(&pub, &priv), CKR_FUNCTION_FAILED);
	SHIM_CHECK(shim_count_keys() == 1);
}

static void the_module_did_it_and_says_it_did_not(void **state)
{
	(void)state;
	shim_run_with("C_GenerateKeyPair after-return CKR_FUNCTION_FAILED\n", after_return_body);
}

static void failed_start_body(void)
{
	shim_load();
	SHIM_CHECK_RV(shim_p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	SHIM_CHECK_RV(shim_p11->C_Initialize(NULL), CKR_OK);
}

static void initialize_fails(void **state)
{
	(void)state;
	shim_run_with("C_Initialize@1 return CKR_CRYPTOKI_ALREADY_INITIALIZED\n", failed_start_body);
}

/* ---- threads ---- */

#define THREADS 4
#define CALLS 100

static void *many_randoms(void *ret_good)
{
	CK_SESSION_HANDLE own = shim_open_session();

	for (int i = 0; i < CALLS; i++)
		*(int *)ret_good += shim_random_in(own) == CKR_OK;
	return NULL;
}

static void threads_body(void)
{
	pthread_t threads[THREADS];
	int good[THREADS] = {0};
	int sum = 0;

	shim_initialize();
	for (int i = 0; i < THREADS; i++)
		SHIM_CHECK(pthread_create(&threads[i], NULL, many_randoms, &good[i]) == 0);
	for (int i = 0; i < THREADS; i++) {
		SHIM_CHECK(pthread_join(threads[i], NULL) == 0);
		sum += good[i];
	}
	SHIM_CHECK(sum == 150);
}

static void threads_are_counted_exactly(void **state)
{
	char *text, *rest = NULL;
	int lines = 0;

	(void)state;
	shim_run_with("C_GenerateRandom@151+ return CKR_DEVICE_ERROR\n", threads_body);
	assert_int_equal(shim_counter("C_GenerateRandom"), THREADS * CALLS);
	text = shim_read_file("trace");
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		lines += strstr(line, " C_GenerateRandom session=") != NULL;
		assert_string_equal(line + strlen(line) - 2, "us");
	}
	free(text);
	assert_int_equal(lines, THREADS * CALLS);
}

/* ---- mistakes ---- */

static void mistake_body(void)
{
	int fd = open(shim_in_folder("stderr"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(1);
	shim_load();
	shim_p11->C_Initialize(NULL);
}

static void a_mistake_in_the_rules_is_loud(void **state)
{
	static const char *const mistakes[][2] = {
	    {"C_Sing return CKR_OK", "'C_Sing'"},
	    {"C_Sign", "an action is missing"},
	    {"C_Sign retrun CKR_OK", "'retrun'"},
	    {"C_Sign return", "an argument is missing"},
	    {"C_Sign return CKR_NO_SUCH", "'CKR_NO_SUCH'"},
	    {"C_Sign return 30", "'30'"},
	    {"C_Sign return CKR_OK CKR_OK", "unexpected"},
	    {"C_Sign@0 abort", "'0'"},
	    {"C_Sign@ abort", "''"},
	    {"C_Sign@x+ abort", "'x'"},
	    {"C_Sign sleep 60", "'60'"},
	    {"C_Sign exit 300", "'300'"},
	    {"C_Sign abort if CKM_NO_SUCH", "'CKM_NO_SUCH'"},
	    {"C_SignInit corrupt", "C_SignInit has no output"},
	    {"C_Sign after-corrupt", "'after-corrupt'"},
	    {"C_Sign attr CKA_ID true", "C_GetAttributeValue"},
	    {"C_GetAttributeValue attr CKA_ID maybe", "'maybe'"},
	    {"C_GetAttributeValue attr CKA_ID hex abc", "'abc'"},
	    {"C_GetTokenInfo flags CKF_RNG", "'CKF_RNG'"},
	    {"C_GetTokenInfo serial 12345678901234567", "longer than 16"},
	    {"sessions-max 0", "'0'"},
	    {"C_GetTokenInfo label 123456789012345678901234567890123", "longer than 32"},
	    {"C_Login nul-padded", "C_GetTokenInfo"},
	    {"C_Sign abort if CKA_ID=abc", "'abc'"},
	    {"pin-tries", "an argument is missing"},
	    {"answer-after 60", "'60'"},
	    {"label-is-id yes", "unexpected 'yes'"},
	    {"mechanism-is CKM_EDDSA", "an argument is missing"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "# first line\n%s\n", mistakes[i][0]);
		shim_set_rules(text);
		shim_assert_dies_of(SIGABRT, shim_end_of(shim_start(mistake_body)));
		if (!shim_file_says("stderr", "p11shim: ") || !shim_file_says("stderr", "/rules:2: ") ||
		    !shim_file_says("stderr", mistakes[i][1]))
			fail_msg("'%s' is not explained by '%s'", mistakes[i][0], shim_read_file("stderr"));
	}
}

/* ---- other programs ---- */

static void libp11_body(void)
{
	PKCS11_CTX *ctx = PKCS11_CTX_new();
	PKCS11_SLOT *slots, *found;
	unsigned count;

	SHIM_CHECK(ctx);
	SHIM_CHECK(PKCS11_CTX_load(ctx, shim_module) == 0);
	SHIM_CHECK(PKCS11_enumerate_slots(ctx, &slots, &count) == 0);
	found = PKCS11_find_token(ctx, slots, count);
	SHIM_CHECK(found && found->token && strcmp(found->token->label, "shim") == 0);
	SHIM_CHECK(found->token->userPinFinalTry);
	PKCS11_release_all_slots(ctx, slots, count);
	PKCS11_CTX_unload(ctx);
	PKCS11_CTX_free(ctx);
}

static void libp11_works_through_it(void **state)
{
	(void)state;
	shim_run_with("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY\n", libp11_body);
	assert_int_equal(shim_counter("C_Initialize"), 1);
	assert_int_equal(shim_counter("C_Finalize"), 1);
}

static void pkcs11_tool_body(void)
{
	int fd = open(shim_in_folder("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		_exit(1);
	execlp("pkcs11-tool", "pkcs11-tool", "--module", shim_module, "--list-slots", (char *)NULL);
	_exit(127);
}

static void pkcs11_tool_works_through_it(void **state)
{
	int status;

	(void)state;
	status = shim_end_of(shim_start(pkcs11_tool_body));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		skip(); /* pkcs11-tool of the package opensc is not there */
	assert_int_equal(status, 0);
	assert_true(shim_file_says("out", "token label        : shim"));
	assert_true(shim_counter("C_GetSlotList") > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    SHIM_CASE(calls_pass_through_and_are_traced_without_a_pin),
	    SHIM_CASE(a_rule_means_one_call_or_all_from_one_on),
	    SHIM_CASE(a_rule_may_mean_one_mechanism),
	    SHIM_CASE(a_template_with_an_attribute_is_refused),
	    SHIM_CASE(once_is_once_over_restarts),
	    SHIM_CASE(a_running_process_takes_new_rules),
	    SHIM_CASE(calls_sleep),
	    SHIM_CASE(a_call_hangs_for_ever),
	    SHIM_CASE(the_process_dies),
	    SHIM_CASE(the_process_dies_after_the_module_did_it),
	    SHIM_CASE(the_module_did_it_and_says_it_did_not),
	    SHIM_CASE(initialize_fails),
	    SHIM_CASE(threads_are_counted_exactly),
	    SHIM_CASE(a_mistake_in_the_rules_is_loud),
	    SHIM_CASE(libp11_works_through_it),
	    SHIM_CASE(pkcs11_tool_works_through_it),
	};

	return cmocka_run_group_tests(tests, shim_make_folder, shim_remove_folder);
}
