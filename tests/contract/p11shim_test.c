/*
 * The shim of tests/p11shim over a fresh SoftHSM token: each rule does what
 * its README says.  Every body runs in a process of its own, because that is
 * how long a shim lives; it ends the process at the first thing that is wrong.
 */
#include "tests/unit/cmocka_all.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libp11.h>
#include <limits.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIN "271828"
#define WRONG_PIN "141421"
#define SO_PIN "57721566"
#define LABEL "shim-test"
#define DEADLINE_MS 20000

static char folder[] = "/tmp/csrd-p11shim-test-XXXXXX";
static char shim_path[PATH_MAX];

/* ---- files --------------------------------------------------------------------- */

static const char *in_folder(const char *name)
{
	static char paths[4][PATH_MAX];
	static size_t next;
	char *path = paths[next++ % 4];

	snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

/* Renamed into place, as a reader in another process wants it. */
static void set_rules(const char *text)
{
	write_file(in_folder("rules.new"), text);
	if (rename(in_folder("rules.new"), in_folder("rules")) != 0)
		abort();
}

static char *read_file(const char *name)
{
	char *text = calloc(1, 1 << 20);
	FILE *f = fopen(in_folder(name), "re");

	if (!text)
		abort();
	if (f) {
		text[fread(text, 1, (1 << 20) - 1, f)] = '\0';
		fclose(f);
	}
	return text;
}

static bool file_says(const char *name, const char *what)
{
	char *text = read_file(name);
	bool found = strstr(text, what) != NULL;

	free(text);
	return found;
}

static long counter(const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "state/%s", name);
	return stat(in_folder(path), &st) == 0 ? (long)st.st_size : 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool wait_for_trace(const char *what)
{
	int64_t deadline = now_ms() + DEADLINE_MS;

	while (!file_says("trace", what)) {
		if (now_ms() > deadline)
			return false;
		usleep(2000);
	}
	return true;
}

/* ---- processes ----------------------------------------------------------------- */

/* For the body of a child: cmocka's own assertions would run on in its copy of the group. */
#define CHECK(condition)                                                                            \
	do {                                                                                        \
		if (!(condition)) {                                                                 \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
			_exit(1);                                                                   \
		}                                                                                   \
	} while (0)

#define CHECK_RV(call, expected)                                                                    \
	do {                                                                                        \
		CK_RV rv_ = (call);                                                                 \
                                                                                                    \
		if (rv_ != (expected)) {                                                            \
			fprintf(stderr, "%s:%d: %s = 0x%lx, not %s\n", __FILE__, __LINE__, #call,   \
				rv_, #expected);                                                    \
			_exit(1);                                                                   \
		}                                                                                   \
	} while (0)

static pid_t start(void (*body)(void))
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* cmocka's */
		body();
		_exit(0);
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return status;
}

static void run(void (*body)(void))
{
	assert_int_equal(end_of(start(body)), 0);
}

static void run_with(const char *rules, void (*body)(void))
{
	set_rules(rules);
	run(body);
}

static void assert_dies_of(int sig, int status)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
}

/* ---- PKCS#11, in a child ------------------------------------------------------- */

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;

static void load(void)
{
	void *handle = dlopen(shim_path, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get_list;
	void *symbol;

	if (!handle)
		fprintf(stderr, "%s\n", dlerror());
	CHECK(handle);
	symbol = dlsym(handle, "C_GetFunctionList");
	CHECK(symbol);
	memcpy(&get_list, &symbol, sizeof(get_list));
	CHECK_RV(get_list(&p11), CKR_OK);
}

static void initialize(void)
{
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;

	load();
	CHECK_RV(p11->C_Initialize(&args), CKR_OK);
	CHECK_RV(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	CHECK(count > 0);
	slot = slots[0]; /* that of the one initialised token */
}

static CK_SESSION_HANDLE open_session(void)
{
	CK_SESSION_HANDLE opened = 0;

	CHECK_RV(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &opened), CKR_OK);
	return opened;
}

static CK_RV login_with(const char *pin)
{
	unsigned char text[32];

	memcpy(text, pin, strlen(pin));
	return p11->C_Login(session, CKU_USER, text, strlen(pin));
}

static void log_in(void)
{
	initialize();
	session = open_session();
	CHECK_RV(login_with(PIN), CKR_OK);
}

static CK_RV random_in(CK_SESSION_HANDLE s)
{
	unsigned char bytes[8];

	return p11->C_GenerateRandom(s, bytes, sizeof(bytes));
}

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static unsigned char p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
static char label[] = LABEL;

static CK_RV generate(CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
	CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
	unsigned char id[] = { 0xca, 0xfe };
	CK_ATTRIBUTE pub[] = {
		{ CKA_EC_PARAMS, p256, sizeof(p256) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_VERIFY, &yes, sizeof(yes) },
	};
	CK_ATTRIBUTE priv[] = {
		{ CKA_LABEL, label, strlen(label) },  { CKA_ID, id, sizeof(id) },
		{ CKA_TOKEN, &yes, sizeof(yes) },     { CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &no, sizeof(no) }, { CKA_SENSITIVE, &yes, sizeof(yes) },
	};

	return p11->C_GenerateKeyPair(session, &mechanism, pub, 3, priv, 6, ret_public, ret_private);
}

static CK_ULONG count_keys(void)
{
	CK_ATTRIBUTE want = { CKA_LABEL, label, strlen(label) };
	CK_OBJECT_HANDLE found[64];
	CK_ULONG count = 0;

	CHECK_RV(p11->C_FindObjectsInit(session, &want, 1), CKR_OK);
	CHECK_RV(p11->C_FindObjects(session, found, 64, &count), CKR_OK);
	CHECK_RV(p11->C_FindObjectsFinal(session), CKR_OK);
	return count;
}

/* ---- no rule -------------------------------------------------------------------- */

static void sign_and_verify(CK_RV verdict)
{
	CK_MECHANISM mechanism = { CKM_ECDSA, NULL, 0 };
	unsigned char digest[32] = { 1 }, signature[64];
	CK_ULONG len = sizeof(signature);
	CK_OBJECT_HANDLE pub, priv;

	CHECK_RV(generate(&pub, &priv), CKR_OK);
	CHECK_RV(p11->C_SignInit(session, &mechanism, priv), CKR_OK);
	CHECK_RV(p11->C_Sign(session, digest, sizeof(digest), signature, &len), CKR_OK);
	CHECK(len == 64);
	CHECK_RV(p11->C_VerifyInit(session, &mechanism, pub), CKR_OK);
	CHECK_RV(p11->C_Verify(session, digest, sizeof(digest), signature, len), verdict);
	CHECK_RV(p11->C_DestroyObject(session, pub), CKR_OK);
	CHECK_RV(p11->C_DestroyObject(session, priv), CKR_OK);
}

static void plain_body(void)
{
	unsigned char wrong[] = WRONG_PIN, so[] = SO_PIN;

	initialize();
	for (size_t at = offsetof(CK_FUNCTION_LIST, C_Initialize); at < sizeof(*p11); at += sizeof(void *)) {
		void *entry;

		memcpy(&entry, (const char *)p11 + at, sizeof(entry));
		CHECK(entry);
	}
	session = open_session();
	CHECK_RV(p11->C_Login(session, CKU_USER, wrong, 6), CKR_PIN_INCORRECT);
	CHECK_RV(p11->C_Login(session, CKU_SO, so, 8), CKR_OK);
	CHECK_RV(p11->C_Logout(session), CKR_OK);
	CHECK_RV(login_with(PIN), CKR_OK);
	sign_and_verify(CKR_OK);
	CHECK_RV(p11->C_CloseSession(session), CKR_OK);
	CHECK_RV(p11->C_Finalize(NULL), CKR_OK);
}

static void calls_pass_through_and_are_traced_without_a_pin(void **state)
{
	(void)state;
	run(plain_body);
	assert_true(file_says("trace", " C_Login session="));
	assert_true(file_says("trace", "user=1 = CKR_PIN_INCORRECT "));
	assert_true(file_says("trace", "mechanism=CKM_EC_KEY_PAIR_GEN public=["));
	assert_true(file_says("trace", "CKA_LABEL=\"" LABEL "\" CKA_ID=cafe"));
	assert_true(file_says("trace", "CKA_EXTRACTABLE=false"));
	assert_true(file_says("trace", "in=32 out=64 = CKR_OK"));
	assert_false(file_says("trace", PIN));
	assert_false(file_says("trace", WRONG_PIN));
	assert_false(file_says("trace", SO_PIN));
	assert_int_equal(counter("C_Login"), 3);
	assert_int_equal(counter("C_Login.bad"), 1);
	run(plain_body);
	assert_int_equal(counter("C_Login"), 6);
	assert_int_equal(counter("C_Login.bad"), 2);
	assert_int_equal(counter("C_Finalize"), 2);
}

/* ---- return, and when ------------------------------------------------------------ */

static void nth_body(void)
{
	unsigned char seed[4] = { 0 };

	initialize();
	session = open_session();
	CHECK_RV(random_in(session), CKR_OK);
	CHECK_RV(random_in(session), CKR_OK);
	CHECK_RV(random_in(session), CKR_DEVICE_ERROR);
	CHECK_RV(random_in(session), CKR_OK);
	CHECK_RV(p11->C_SeedRandom(session, seed, 4), CKR_OK);
	CHECK_RV(p11->C_SeedRandom(session, seed, 4), CKR_DEVICE_MEMORY);
	CHECK_RV(p11->C_SeedRandom(session, seed, 4), CKR_DEVICE_MEMORY);
	CHECK_RV(p11->C_CloseSession(session), CKR_VENDOR_DEFINED);
}

static void a_rule_means_one_call_or_all_from_one_on(void **state)
{
	(void)state;
	run_with("# a remark\n\n"
		 "C_GenerateRandom@3 return CKR_DEVICE_ERROR\n"
		 "C_SeedRandom@2+ return 0x31\n"
		 "C_CloseSession return 0x80000000\n",
		 nth_body);
	run(nth_body); /* the count is that of the process */
}

static void condition_body(void)
{
	CK_MECHANISM_INFO info;

	initialize();
	CHECK_RV(p11->C_GetMechanismInfo(slot, CKM_EC_KEY_PAIR_GEN, &info), CKR_OK);
	CHECK_RV(p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS_KEY_PAIR_GEN, &info), CKR_OK);
	CHECK_RV(p11->C_GetMechanismInfo(slot, CKM_EC_KEY_PAIR_GEN, &info), CKR_OK);
	CHECK_RV(p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS_KEY_PAIR_GEN, &info), CKR_MECHANISM_INVALID);
}

static void a_rule_may_mean_one_mechanism(void **state)
{
	(void)state;
	run_with("C_GetMechanismInfo@2 return CKR_MECHANISM_INVALID if CKM_RSA_PKCS_KEY_PAIR_GEN\n",
		 condition_body);
}

static void refused_template_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	log_in();
	CHECK_RV(generate(&pub, &priv), CKR_ATTRIBUTE_TYPE_INVALID);
	CHECK(count_keys() == 0);
}

static void a_template_with_an_attribute_is_refused(void **state)
{
	(void)state;
	run_with("template-refuse CKA_ALLOWED_MECHANISMS CKR_ATTRIBUTE_TYPE_INVALID\n"
		 "template-refuse CKA_EXTRACTABLE CKR_ATTRIBUTE_TYPE_INVALID\n",
		 refused_template_body);
	set_rules("template-refuse CKA_ALLOWED_MECHANISMS CKR_ATTRIBUTE_TYPE_INVALID\n");
	run(plain_body);
}

static void fails_once_body(void)
{
	initialize();
	session = open_session();
	CHECK_RV(random_in(session), CKR_FUNCTION_FAILED);
	CHECK_RV(random_in(session), CKR_OK);
}

static void never_fails_body(void)
{
	initialize();
	session = open_session();
	CHECK_RV(random_in(session), CKR_OK);
}

static void once_is_once_over_restarts(void **state)
{
	(void)state;
	run_with("C_GenerateRandom return CKR_FUNCTION_FAILED once\n", fails_once_body);
	run(never_fails_body);
	run_with("C_GenerateRandom return CKR_FUNCTION_FAILED once\n", fails_once_body);
}

static void new_rules_body(void)
{
	initialize();
	session = open_session();
	CHECK_RV(random_in(session), CKR_OK);
	set_rules("C_GenerateRandom@2 return CKR_DEVICE_REMOVED\n");
	CHECK_RV(random_in(session), CKR_OK);
	CHECK_RV(random_in(session), CKR_DEVICE_REMOVED);
	set_rules("C_GenerateRandom return CKR_DEVICE_MEMORY\n");
	CHECK_RV(random_in(session), CKR_DEVICE_MEMORY);
	CHECK(unlink(in_folder("rules")) == 0);
	CHECK_RV(random_in(session), CKR_OK);
	CHECK(counter("C_GenerateRandom") == 5);
}

static void a_running_process_takes_new_rules(void **state)
{
	(void)state;
	run(new_rules_body);
}

/* ---- time and death ---------------------------------------------------------------- */

static void sleep_body(void)
{
	int64_t before;

	initialize();
	session = open_session();
	before = now_ms();
	CHECK_RV(random_in(session), CKR_DEVICE_ERROR);
	CHECK(now_ms() - before >= 300);
	before = now_ms();
	CHECK_RV(p11->C_SeedRandom(session, (unsigned char[]){ 1 }, 1), CKR_OK);
	CHECK(now_ms() - before >= 200);
}

static void calls_sleep(void **state)
{
	(void)state;
	run_with("C_GenerateRandom sleep 300ms\nC_GenerateRandom return CKR_DEVICE_ERROR\n"
		 "C_SeedRandom after-sleep 200ms\n",
		 sleep_body);
}

static void one_random_body(void)
{
	initialize();
	session = open_session();
	random_in(session);
}

static void a_call_hangs_for_ever(void **state)
{
	pid_t pid;

	(void)state;
	set_rules("C_GenerateRandom@1+ hang\n");
	pid = start(one_random_body);
	assert_true(wait_for_trace(" = hang"));
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_dies_of(SIGKILL, end_of(pid));
	assert_int_equal(counter("C_GenerateRandom"), 1);
}

static void generate_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	log_in();
	generate(&pub, &priv);
	_exit(77);
}

static void one_key_body(void)
{
	log_in();
	CHECK(count_keys() == 1);
	CHECK_RV(p11->C_Finalize(NULL), CKR_OK);
}

static void no_key_body(void)
{
	log_in();
	CHECK(count_keys() == 0);
}

static void the_process_dies(void **state)
{
	static const char *const ends[] = { " = abort", " = segv", " = kill", " = exit" };
	int status;

	(void)state;
	set_rules("C_GenerateKeyPair abort\n");
	assert_dies_of(SIGABRT, end_of(start(generate_body)));
	set_rules("C_GenerateKeyPair segv\n");
	assert_dies_of(SIGSEGV, end_of(start(generate_body)));
	set_rules("C_GenerateKeyPair kill\n");
	assert_dies_of(SIGKILL, end_of(start(generate_body)));
	set_rules("C_GenerateKeyPair exit 3\n");
	status = end_of(start(generate_body));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	run_with("", no_key_body);
	for (int i = 0; i < 4; i++)
		assert_true(file_says("trace", ends[i]));
}

static void the_process_dies_after_the_module_did_it(void **state)
{
	(void)state;
	set_rules("C_GenerateKeyPair after-kill\n");
	assert_dies_of(SIGKILL, end_of(start(generate_body)));
	run_with("", one_key_body);
}

static void after_return_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	log_in();
	CHECK_RV(generate(&pub, &priv), CKR_FUNCTION_FAILED);
	CHECK(count_keys() == 1);
}

static void the_module_did_it_and_says_it_did_not(void **state)
{
	(void)state;
	run_with("C_GenerateKeyPair after-return CKR_FUNCTION_FAILED\n", after_return_body);
}

static void failed_start_body(void)
{
	load();
	CHECK_RV(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	CHECK_RV(p11->C_Initialize(NULL), CKR_OK);
}

static void initialize_fails(void **state)
{
	(void)state;
	run_with("C_Initialize@1 return CKR_CRYPTOKI_ALREADY_INITIALIZED\n", failed_start_body);
}

/* ---- false answers ------------------------------------------------------------------ */

static void corrupt_body(void)
{
	log_in();
	sign_and_verify(CKR_SIGNATURE_INVALID);
	sign_and_verify(CKR_OK);
}

static void a_signature_is_corrupted(void **state)
{
	(void)state;
	run_with("C_Sign@1 corrupt\n", corrupt_body);
}

static void attributes_body(void)
{
	CK_OBJECT_HANDLE pub, priv;
	CK_BBOOL extractable = 2, sensitive = 2, local = 2, token = 2;
	unsigned char point[128] = { 0 }, small[2];
	CK_ULONG bits = 0;
	CK_ATTRIBUTE read[] = {
		{ CKA_EXTRACTABLE, &extractable, 1 },
		{ CKA_SENSITIVE, &sensitive, 1 },
		{ CKA_TOKEN, &token, 1 },
	};
	CK_ATTRIBUTE one = { CKA_EC_POINT, NULL, 0 };

	log_in();
	CHECK_RV(generate(&pub, &priv), CKR_OK);
	CHECK_RV(p11->C_GetAttributeValue(session, priv, read, 3), CKR_OK);
	CHECK(extractable == CK_TRUE && sensitive == CK_FALSE && token == CK_TRUE);

	read[0] = (CK_ATTRIBUTE){ CKA_LOCAL, &local, 1 };
	CHECK_RV(p11->C_GetAttributeValue(session, priv, read, 3), CKR_ATTRIBUTE_TYPE_INVALID);
	CHECK(read[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && read[1].ulValueLen == 1);

	read[0] = (CK_ATTRIBUTE){ CKA_NEVER_EXTRACTABLE, &local, 1 };
	CHECK_RV(p11->C_GetAttributeValue(session, priv, read, 3), CKR_DEVICE_ERROR);

	CHECK_RV(p11->C_GetAttributeValue(session, pub, &one, 1), CKR_OK);
	CHECK(one.ulValueLen == 4);
	one = (CK_ATTRIBUTE){ CKA_EC_POINT, point, sizeof(point) };
	CHECK_RV(p11->C_GetAttributeValue(session, pub, &one, 1), CKR_OK);
	CHECK(one.ulValueLen == 4 && memcmp(point, "\x04\x02\xAB\xcd", 4) == 0);
	one = (CK_ATTRIBUTE){ CKA_EC_POINT, small, sizeof(small) };
	CHECK_RV(p11->C_GetAttributeValue(session, pub, &one, 1), CKR_BUFFER_TOO_SMALL);

	/* an EC key has none: the answer of the module is mended */
	one = (CK_ATTRIBUTE){ CKA_MODULUS_BITS, &bits, sizeof(bits) };
	CHECK_RV(p11->C_GetAttributeValue(session, pub, &one, 1), CKR_OK);
	CHECK(one.ulValueLen == sizeof(bits) && bits == 1024);
	CHECK_RV(p11->C_DestroyObject(session, pub), CKR_OK);
	CHECK_RV(p11->C_DestroyObject(session, priv), CKR_OK);
	CHECK_RV(p11->C_GetAttributeValue(session, priv, read, 1), CKR_OBJECT_HANDLE_INVALID);
}

static void attributes_are_falsified(void **state)
{
	(void)state;
	run_with("C_GetAttributeValue attr CKA_EXTRACTABLE true\n"
		 "C_GetAttributeValue attr CKA_SENSITIVE false\n"
		 "C_GetAttributeValue attr CKA_LOCAL missing\n"
		 "C_GetAttributeValue attr CKA_NEVER_EXTRACTABLE error CKR_DEVICE_ERROR\n"
		 "C_GetAttributeValue attr CKA_EC_POINT hex 0402ABcd\n"
		 "C_GetAttributeValue attr CKA_MODULUS_BITS number 1024\n",
		 attributes_body);
}

static void token_info_body(void)
{
	CK_TOKEN_INFO info;

	initialize();
	CHECK_RV(p11->C_GetTokenInfo(slot, &info), CKR_OK);
	CHECK(info.flags & CKF_USER_PIN_FINAL_TRY && info.flags & CKF_WRITE_PROTECTED);
	CHECK(!(info.flags & CKF_LOGIN_REQUIRED));
	CHECK(memcmp(info.serialNumber, "ANOTHER-1       ", 16) == 0);
	set_rules("C_GetTokenInfo label HSM-7\nC_GetTokenInfo nul-padded\n");
	CHECK_RV(p11->C_GetTokenInfo(slot, &info), CKR_OK);
	CHECK(memcmp(info.label, "HSM-7\0", 6) == 0 && info.label[31] == '\0');
	CHECK(memcmp(info.model, "SoftHSM v2\0", 11) == 0 && info.model[15] == '\0');
	set_rules("C_GetTokenInfo label\n");
	CHECK_RV(p11->C_GetTokenInfo(slot, &info), CKR_OK);
	CHECK(info.label[0] == ' ' && info.label[31] == ' ');
}

static void token_info_is_falsified(void **state)
{
	(void)state;
	run_with("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY -CKF_LOGIN_REQUIRED +0x2\n"
		 "C_GetTokenInfo serial ANOTHER-1\n",
		 token_info_body);
}

/* ---- sessions -------------------------------------------------------------------------- */

static void sessions_max_body(void)
{
	CK_SESSION_HANDLE a, b = 0;
	CK_TOKEN_INFO info;

	initialize();
	a = open_session();
	open_session();
	CHECK_RV(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &b), CKR_SESSION_COUNT);
	CHECK_RV(p11->C_GetTokenInfo(slot, &info), CKR_OK);
	CHECK(info.ulMaxSessionCount == 2 && info.ulSessionCount == 2);
	CHECK_RV(p11->C_CloseSession(a), CKR_OK);
	open_session();
	CHECK_RV(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &b), CKR_SESSION_COUNT);
	CHECK_RV(p11->C_CloseAllSessions(slot), CKR_OK);
	open_session();
	open_session();
}

static void sessions_are_limited(void **state)
{
	(void)state;
	run_with("sessions-max 2\n", sessions_max_body);
}

static void invalidate_body(void)
{
	CK_SESSION_HANDLE other, old;

	log_in();
	other = open_session();
	set_rules("invalidate-sessions\nC_GenerateRandom@4 invalidate-sessions\n");
	CHECK_RV(random_in(other), CKR_SESSION_HANDLE_INVALID);
	CHECK_RV(random_in(session), CKR_SESSION_HANDLE_INVALID);
	old = session;
	session = open_session();
	CHECK(session != old);
	CHECK_RV(login_with(PIN), CKR_OK); /* the login went with them */
	CHECK_RV(random_in(session), CKR_OK);
	CHECK_RV(random_in(session), CKR_SESSION_HANDLE_INVALID);
	session = open_session();
	CHECK_RV(random_in(session), CKR_OK);
}

static void sessions_are_made_invalid(void **state)
{
	(void)state;
	run(invalidate_body);
}

static void *random_thread(void *argument)
{
	CHECK_RV(random_in(*(CK_SESSION_HANDLE *)argument), CKR_OK);
	return NULL;
}

static void invalidate_in_use_body(void)
{
	pthread_t thread;

	initialize();
	session = open_session();
	CHECK(pthread_create(&thread, NULL, random_thread, &session) == 0);
	CHECK(wait_for_trace(" = sleep"));
	set_rules("invalidate-sessions\n");
	CHECK_RV(random_in(session), CKR_SESSION_HANDLE_INVALID);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK_RV(p11->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
}

static void invalidate_hung_body(void)
{
	pthread_t thread;

	log_in();
	CHECK(pthread_create(&thread, NULL, random_thread, &session) == 0);
	CHECK(wait_for_trace(" = hang"));
	set_rules("invalidate-sessions\n");
	CHECK_RV(random_in(session), CKR_SESSION_HANDLE_INVALID);
	session = open_session();
	CHECK_RV(login_with(PIN), CKR_USER_ALREADY_LOGGED_IN); /* by the session that hangs */
}

static void a_session_in_use_ends_after_its_call(void **state)
{
	(void)state;
	run_with("C_GenerateRandom after-sleep 400ms\n", invalidate_in_use_body);
	run_with("C_GenerateRandom after-hang\n", invalidate_hung_body);
}

/* ---- the login, and what modules do that SoftHSM does not --------------------------------- */

static CK_STATE session_state(void)
{
	CK_SESSION_INFO info;

	CHECK_RV(p11->C_GetSessionInfo(session, &info), CKR_OK);
	return info.state;
}

/* The session lives on and finds nothing private any more, with CKR_OK. */
static void logout_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	log_in();
	CHECK_RV(generate(&pub, &priv), CKR_OK);
	CHECK(count_keys() == 1);
	set_rules("C_FindObjectsInit@1 logout\nC_GenerateRandom after-logout\n");
	CHECK(count_keys() == 0);
	CHECK(session_state() == CKS_RW_PUBLIC_SESSION);
	CHECK_RV(login_with(PIN), CKR_OK);
	CHECK(count_keys() == 1);
	CHECK_RV(random_in(session), CKR_OK);
	CHECK(session_state() == CKS_RW_PUBLIC_SESSION);
	CHECK(counter("C_Logout") == 0);
}

static void the_user_is_logged_out(void **state)
{
	(void)state;
	run(logout_body);
}

static CK_RV generate_named(const char *name, CK_BBOOL *public_private, CK_OBJECT_HANDLE keys[2])
{
	CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
	unsigned char id[] = { 0xbe, 0xef };
	CK_ATTRIBUTE pub[] = {
		{ CKA_EC_PARAMS, p256, sizeof(p256) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, public_private, sizeof(*public_private) },
		{ CKA_ID, id, sizeof(id) },
	};
	CK_ATTRIBUTE priv[] = {
		{ CKA_LABEL, (void *)(uintptr_t)name, strlen(name) },
		{ CKA_ID, id, sizeof(id) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
	};
	CK_RV rv = p11->C_GenerateKeyPair(session, &mechanism, pub, 4, priv, 3, &keys[0], &keys[1]);

	CHECK(priv[0].ulValueLen == strlen(name)); /* the caller's own templates are as they were */
	return rv;
}

static bool is_there(CK_OBJECT_HANDLE object)
{
	CK_OBJECT_CLASS class;
	CK_ATTRIBUTE attribute = { CKA_CLASS, &class, sizeof(class) };

	return p11->C_GetAttributeValue(session, object, &attribute, 1) == CKR_OK;
}

static void pair_destroy_body(void)
{
	CK_OBJECT_HANDLE keys[2];

	log_in();
	CHECK_RV(generate_named("a", &no, keys), CKR_OK);
	CHECK_RV(p11->C_DestroyObject(session, keys[0]), CKR_OK);
	CHECK(is_there(keys[0]));
	CHECK_RV(p11->C_DestroyObject(session, keys[1]), CKR_OK);
	CHECK(!is_there(keys[0]) && !is_there(keys[1]));
	CHECK_RV(p11->C_DestroyObject(session, keys[0]), CKR_OK);
	set_rules("pair-destroy CKR_KEY_HANDLE_INVALID\n");
	CHECK_RV(generate_named("a", &no, keys), CKR_OK);
	CHECK_RV(p11->C_DestroyObject(session, keys[1]), CKR_OK);
	CHECK(!is_there(keys[0]));
	CHECK_RV(p11->C_DestroyObject(session, keys[0]), CKR_KEY_HANDLE_INVALID);
}

static void a_public_key_goes_with_its_private_key(void **state)
{
	(void)state;
	run_with("pair-destroy CKR_OK\n", pair_destroy_body);
}

static void templates_body(void)
{
	char kept[16];
	CK_ATTRIBUTE attribute = { CKA_LABEL, kept, sizeof(kept) };
	CK_OBJECT_HANDLE keys[2];

	log_in();
	CHECK_RV(generate_named("abcdef", &no, keys), CKR_ATTRIBUTE_VALUE_INVALID);
	CHECK_RV(generate_named("abcdef", &yes, keys), CKR_OK);
	CHECK_RV(p11->C_GetAttributeValue(session, keys[1], &attribute, 1), CKR_OK);
	CHECK(attribute.ulValueLen == 4 && memcmp(kept, "abcd", 4) == 0);
}

static void templates_are_taken_in_another_way(void **state)
{
	(void)state;
	run_with("label-max 4\npublic-private-refuse CKR_ATTRIBUTE_VALUE_INVALID\n", templates_body);
}

/* ---- names ---- */

static bool says(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const char *text)
{
	char value[64];
	CK_ATTRIBUTE attribute = { type, value, sizeof(value) };

	CHECK_RV(p11->C_GetAttributeValue(session, object, &attribute, 1), CKR_OK);
	return attribute.ulValueLen == strlen(text) && memcmp(value, text, strlen(text)) == 0;
}

static CK_ULONG count_named(const char *name, const char *id)
{
	CK_ATTRIBUTE want[] = { { CKA_ID, (void *)(uintptr_t)id, strlen(id) },
				{ CKA_LABEL, (void *)(uintptr_t)name, strlen(name) } };
	CK_OBJECT_HANDLE found[8];
	CK_ULONG count = 0;

	CHECK_RV(p11->C_FindObjectsInit(session, want, 2), CKR_OK);
	CHECK_RV(p11->C_FindObjects(session, found, 8, &count), CKR_OK);
	CHECK_RV(p11->C_FindObjectsFinal(session), CKR_OK);
	return count;
}

static void names_body(void)
{
	CK_OBJECT_HANDLE keys[2];
	char kept[64], long_name[] = "abcde";
	CK_ATTRIBUTE id = { CKA_ID, kept, sizeof(kept) }, want = { CKA_LABEL, long_name, 5 };

	log_in();
	CHECK_RV(generate_named("name", &no, keys), CKR_OK);
	CHECK(says(keys[0], CKA_LABEL, "\xbe\xef") && says(keys[0], CKA_ID, "\xbe\xef"));
	CHECK(says(keys[1], CKA_LABEL, "\xbe\xef") && says(keys[1], CKA_ID, "\xbe\xef"));
	CHECK(count_named("another", "\xbe\xef") == 2);
	set_rules("");
	CHECK(count_named("another", "\xbe\xef") == 0);
	set_rules("id-max 1\n");
	CHECK_RV(generate_named("cut", &no, keys), CKR_OK);
	CHECK(says(keys[0], CKA_ID, "\xbe") && says(keys[1], CKA_ID, "\xbe"));
	CHECK(count_named("cut", "\xbe\xef") == 1);
	set_rules("id-own\n");
	CHECK_RV(generate_named("own", &no, keys), CKR_OK);
	CHECK_RV(p11->C_GetAttributeValue(session, keys[0], &id, 1), CKR_OK);
	kept[id.ulValueLen] = '\0';
	CHECK(memcmp(kept, "own-", 4) == 0 && says(keys[1], CKA_ID, kept));
	set_rules("label-refuse 4 CKR_ATTRIBUTE_VALUE_INVALID\n");
	CHECK_RV(generate_named("abcde", &no, keys), CKR_ATTRIBUTE_VALUE_INVALID);
	CHECK_RV(p11->C_FindObjectsInit(session, &want, 1), CKR_ATTRIBUTE_VALUE_INVALID);
	CHECK_RV(generate_named("abcd", &no, keys), CKR_OK);
	CHECK(file_says("trace", "CKA_LABEL=\"name\" CKA_ID=beef")); /* as it was asked for */
}

static void names_are_kept_in_another_way(void **state)
{
	(void)state;
	run_with("label-is-id\n", names_body);
}

/* ---- public keys, data, mechanisms ---- */

static bool is_private(CK_OBJECT_HANDLE object)
{
	CK_BBOOL private = 2;
	CK_ATTRIBUTE attribute = { CKA_PRIVATE, &private, sizeof(private) };

	CHECK_RV(p11->C_GetAttributeValue(session, object, &attribute, 1), CKR_OK);
	return private == CK_TRUE;
}

static void public_keys_body(void)
{
	CK_OBJECT_HANDLE keys[2];

	log_in();
	CHECK_RV(generate(&keys[0], &keys[1]), CKR_TEMPLATE_INCONSISTENT);
	CHECK_RV(generate_named("a", &yes, keys), CKR_TEMPLATE_INCONSISTENT);
	CHECK_RV(generate_named("a", &no, keys), CKR_OK);
	set_rules("");
	CHECK_RV(generate(&keys[0], &keys[1]), CKR_OK);
	CHECK(!is_private(keys[0]));
	set_rules("public-private\n");
	CHECK_RV(generate(&keys[0], &keys[1]), CKR_OK);
	CHECK(is_private(keys[0]));
	CHECK_RV(generate_named("a", &no, keys), CKR_OK);
	CHECK(!is_private(keys[0]));
}

static void public_keys_are_private_or_must_not_be(void **state)
{
	(void)state;
	run_with("public-private-demand CKR_TEMPLATE_INCONSISTENT\n", public_keys_body);
}

static void data_body(void)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_ATTRIBUTE data[] = { { CKA_CLASS, &class, sizeof(class) }, { CKA_TOKEN, &yes, sizeof(yes) } };
	CK_OBJECT_HANDLE object;

	log_in();
	CHECK_RV(p11->C_CreateObject(session, data, 2, &object), CKR_FUNCTION_NOT_SUPPORTED);
	set_rules("");
	CHECK_RV(p11->C_CreateObject(session, data, 2, &object), CKR_OK);
}

static void data_objects_are_refused(void **state)
{
	(void)state;
	run_with("data-refuse CKR_FUNCTION_NOT_SUPPORTED\n", data_body);
}

#define VENDOR_MECHANISM 0x80000143UL

static void mechanism_body(void)
{
	CK_MECHANISM mechanism = { VENDOR_MECHANISM, NULL, 0 };
	CK_ATTRIBUTE pub[] = { { CKA_EC_PARAMS, p256, sizeof(p256) } };
	CK_ATTRIBUTE priv[] = { { CKA_LABEL, label, strlen(label) } };
	CK_OBJECT_HANDLE keys[2];
	CK_MECHANISM_INFO info;

	log_in();
	CHECK_RV(p11->C_GetMechanismInfo(slot, VENDOR_MECHANISM, &info), CKR_OK);
	CHECK(info.flags & CKF_GENERATE_KEY_PAIR);
	CHECK_RV(p11->C_GetMechanismInfo(slot, CKM_EC_KEY_PAIR_GEN, &info), CKR_MECHANISM_INVALID);
	CHECK_RV(p11->C_GenerateKeyPair(session, &mechanism, pub, 1, priv, 1, &keys[0], &keys[1]), CKR_OK);
	CHECK(mechanism.mechanism == VENDOR_MECHANISM);
	CHECK(file_says("trace", "C_GenerateKeyPair session=1 mechanism=CKM_0x80000143"));
	set_rules("C_GenerateKeyPair return CKR_CURVE_NOT_SUPPORTED if CKA_EC_PARAMS=06052b81040022\n");
	CHECK_RV(generate(&keys[0], &keys[1]), CKR_OK);
	set_rules("C_GenerateKeyPair return CKR_CURVE_NOT_SUPPORTED if CKA_EC_PARAMS=06082a8648ce3d030107\n");
	CHECK_RV(generate(&keys[0], &keys[1]), CKR_CURVE_NOT_SUPPORTED);
}

static void one_mechanism_stands_for_another(void **state)
{
	(void)state;
	run_with("mechanism-is 0x80000143 CKM_EC_KEY_PAIR_GEN\n"
		 "C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_EC_KEY_PAIR_GEN\n",
		 mechanism_body);
}

/* ---- the way to the token, and calls that wait ---- */

static void far_away_body(void)
{
	int64_t before;

	log_in();
	set_rules("answer-after 20s\n");
	before = now_ms();
	CHECK(session_state() == CKS_RW_USER_FUNCTIONS);
	CHECK(now_ms() - before < 20000);
	set_rules("answer-after 200ms\n");
	before = now_ms();
	CHECK_RV(random_in(session), CKR_OK);
	CHECK(now_ms() - before >= 200);
}

static void the_token_is_far_away(void **state)
{
	(void)state;
	run(far_away_body);
}

static void serialise_body(void)
{
	CK_SESSION_HANDLE other;
	int64_t started;
	pthread_t thread;

	initialize();
	session = open_session();
	other = open_session();
	set_rules("serialise\nC_GenerateRandom@1 sleep 400ms\n");
	CHECK(pthread_create(&thread, NULL, random_thread, &session) == 0);
	CHECK(wait_for_trace(" = sleep"));
	started = now_ms();
	CHECK_RV(p11->C_CloseSession(other), CKR_OK);
	CHECK(now_ms() - started > 100);
	CHECK(pthread_join(thread, NULL) == 0);
}

static void calls_wait_for_each_other(void **state)
{
	(void)state;
	run(serialise_body);
}

/* ---- the PIN ---------------------------------------------------------------------------- */

static CK_FLAGS pin_flags(void)
{
	CK_TOKEN_INFO info;

	CHECK_RV(p11->C_GetTokenInfo(slot, &info), CKR_OK);
	return info.flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
}

static void bad_login_body(void)
{
	initialize();
	session = open_session();
	CHECK_RV(login_with(WRONG_PIN), CKR_PIN_INCORRECT);
}

static void final_try_body(void)
{
	initialize();
	session = open_session();
	CHECK(pin_flags() == (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY));
	CHECK_RV(login_with(PIN), CKR_OK);
	CHECK(pin_flags() == 0);
}

static void count_low_body(void)
{
	initialize();
	CHECK(pin_flags() == CKF_USER_PIN_COUNT_LOW);
}

static void locked_body(void)
{
	unsigned char so[] = SO_PIN, pin[] = PIN;

	initialize();
	session = open_session();
	CHECK(pin_flags() == (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED));
	CHECK_RV(login_with(PIN), CKR_PIN_LOCKED);
	CHECK_RV(login_with(WRONG_PIN), CKR_PIN_LOCKED);
	CHECK_RV(p11->C_Login(session, CKU_SO, so, 8), CKR_OK);
	CHECK_RV(p11->C_InitPIN(session, pin, 6), CKR_OK);
	CHECK_RV(p11->C_Logout(session), CKR_OK);
	CHECK(pin_flags() == 0);
	CHECK_RV(login_with(PIN), CKR_OK);
}

static void the_pin_locks_over_restarts(void **state)
{
	(void)state;
	set_rules("pin-tries 3\n");
	run(bad_login_body);
	run(count_low_body);
	run(bad_login_body);
	run(final_try_body);
	for (int i = 0; i < 3; i++)
		run(bad_login_body);
	run(locked_body);
	assert_int_equal(counter("C_Login.bad"), 5);
	assert_int_equal(counter("C_Login"), 10);
}

static void other_pin_error_body(void)
{
	initialize();
	session = open_session();
	CHECK_RV(login_with(WRONG_PIN), CKR_USER_TYPE_INVALID);
	CHECK_RV(login_with(PIN), CKR_OK);
}

static void logged_in_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	initialize();
	session = open_session();
	CHECK(session_state() == CKS_RW_USER_FUNCTIONS);
	CHECK_RV(generate(&pub, &priv), CKR_OK);
	session = open_session();
	CHECK(session_state() == CKS_RW_USER_FUNCTIONS);
	CHECK(counter("C_Login") == 0);
}

static void modules_log_in_in_another_way(void **state)
{
	(void)state;
	run_with("pin-incorrect CKR_USER_TYPE_INVALID\n", other_pin_error_body);
	unlink(in_folder("state/C_Login"));
	run_with("logged-in " PIN "\n", logged_in_body);
}

/* ---- threads ------------------------------------------------------------------------------ */

#define THREADS 4
#define CALLS 100

static void *many_randoms(void *ret_good)
{
	CK_SESSION_HANDLE own = open_session();

	for (int i = 0; i < CALLS; i++)
		*(int *)ret_good += random_in(own) == CKR_OK;
	return NULL;
}

static void threads_body(void)
{
	pthread_t threads[THREADS];
	int good[THREADS] = { 0 };
	int sum = 0;

	initialize();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, many_randoms, &good[i]) == 0);
	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		sum += good[i];
	}
	CHECK(sum == 150);
}

static void threads_are_counted_exactly(void **state)
{
	char *text, *rest = NULL;
	int lines = 0;

	(void)state;
	run_with("C_GenerateRandom@151+ return CKR_DEVICE_ERROR\n", threads_body);
	assert_int_equal(counter("C_GenerateRandom"), THREADS * CALLS);
	text = read_file("trace");
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		lines += strstr(line, " C_GenerateRandom session=") != NULL;
		assert_string_equal(line + strlen(line) - 2, "us");
	}
	free(text);
	assert_int_equal(lines, THREADS * CALLS);
}

/* ---- mistakes ------------------------------------------------------------------------------- */

static void mistake_body(void)
{
	int fd = open(in_folder("stderr"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(1);
	load();
	p11->C_Initialize(NULL);
}

static void a_mistake_in_the_rules_is_loud(void **state)
{
	static const char *const mistakes[][2] = {
		{ "C_Sing return CKR_OK", "'C_Sing'" },
		{ "C_Sign", "an action is missing" },
		{ "C_Sign retrun CKR_OK", "'retrun'" },
		{ "C_Sign return", "an argument is missing" },
		{ "C_Sign return CKR_NO_SUCH", "'CKR_NO_SUCH'" },
		{ "C_Sign return 30", "'30'" },
		{ "C_Sign return CKR_OK CKR_OK", "unexpected" },
		{ "C_Sign@0 abort", "'0'" },
		{ "C_Sign@ abort", "''" },
		{ "C_Sign@x+ abort", "'x'" },
		{ "C_Sign sleep 60", "'60'" },
		{ "C_Sign exit 300", "'300'" },
		{ "C_Sign abort if CKM_NO_SUCH", "'CKM_NO_SUCH'" },
		{ "C_SignInit corrupt", "C_SignInit has no output" },
		{ "C_Sign after-corrupt", "'after-corrupt'" },
		{ "C_Sign attr CKA_ID true", "C_GetAttributeValue" },
		{ "C_GetAttributeValue attr CKA_ID maybe", "'maybe'" },
		{ "C_GetAttributeValue attr CKA_ID hex abc", "'abc'" },
		{ "C_GetTokenInfo flags CKF_RNG", "'CKF_RNG'" },
		{ "C_GetTokenInfo serial 12345678901234567", "longer than 16" },
		{ "sessions-max 0", "'0'" },
		{ "C_GetTokenInfo label 123456789012345678901234567890123", "longer than 32" },
		{ "C_Login nul-padded", "C_GetTokenInfo" },
		{ "C_Sign abort if CKA_ID=abc", "'abc'" },
		{ "pin-tries", "an argument is missing" },
		{ "answer-after 60", "'60'" },
		{ "label-is-id yes", "unexpected 'yes'" },
		{ "mechanism-is CKM_EDDSA", "an argument is missing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "# first line\n%s\n", mistakes[i][0]);
		set_rules(text);
		assert_dies_of(SIGABRT, end_of(start(mistake_body)));
		if (!file_says("stderr", "p11shim: ") || !file_says("stderr", "/rules:2: ") ||
		    !file_says("stderr", mistakes[i][1]))
			fail_msg("'%s' is not explained by '%s'", mistakes[i][0], read_file("stderr"));
	}
}

/* ---- other programs ---------------------------------------------------------------------------- */

static void libp11_body(void)
{
	PKCS11_CTX *ctx = PKCS11_CTX_new();
	PKCS11_SLOT *slots, *found;
	unsigned count;

	CHECK(ctx);
	CHECK(PKCS11_CTX_load(ctx, shim_path) == 0);
	CHECK(PKCS11_enumerate_slots(ctx, &slots, &count) == 0);
	found = PKCS11_find_token(ctx, slots, count);
	CHECK(found && found->token && strcmp(found->token->label, "shim") == 0);
	CHECK(found->token->userPinFinalTry);
	PKCS11_release_all_slots(ctx, slots, count);
	PKCS11_CTX_unload(ctx);
	PKCS11_CTX_free(ctx);
}

static void libp11_works_through_it(void **state)
{
	(void)state;
	run_with("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY\n", libp11_body);
	assert_int_equal(counter("C_Initialize"), 1);
	assert_int_equal(counter("C_Finalize"), 1);
}

static void pkcs11_tool_body(void)
{
	int fd = open(in_folder("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		_exit(1);
	execlp("pkcs11-tool", "pkcs11-tool", "--module", shim_path, "--list-slots", (char *)NULL);
	_exit(127);
}

static void pkcs11_tool_works_through_it(void **state)
{
	int status;

	(void)state;
	status = end_of(start(pkcs11_tool_body));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		skip(); /* pkcs11-tool of the package opensc is not there */
	assert_int_equal(status, 0);
	assert_true(file_says("out", "token label        : shim"));
	assert_true(counter("C_GetSlotList") > 0);
}

/* ---- the group ----------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_token_body(void)
{
	unsigned char so[] = SO_PIN, pin[] = PIN, name[32];

	memset(name, ' ', sizeof(name));
	memcpy(name, "shim", 4);
	initialize();
	CHECK_RV(p11->C_InitToken(slot, so, 8, name), CKR_OK);
	session = open_session();
	CHECK_RV(p11->C_Login(session, CKU_SO, so, 8), CKR_OK);
	CHECK_RV(p11->C_InitPIN(session, pin, 6), CKR_OK);
	CHECK_RV(p11->C_Finalize(NULL), CKR_OK);
}

/* A token, rules, trace and state for each test. */
static int set_up(void **state)
{
	(void)state;
	unlink(in_folder("rules"));
	unlink(in_folder("trace"));
	remove_tree(in_folder("state"));
	remove_tree(in_folder("tokens"));
	if (mkdir(in_folder("tokens"), 0700) != 0)
		return -1;
	if (end_of(start(make_token_body)) != 0)
		return -1;
	unlink(in_folder("trace"));
	remove_tree(in_folder("state"));
	return 0;
}

static int make_folder(void **state)
{
	char text[PATH_MAX + 64];
	ssize_t len = readlink("/proc/self/exe", shim_path, sizeof(shim_path) - 32);

	(void)state;
	if (len < 0 || !mkdtemp(folder))
		return -1;
	shim_path[len] = '\0';
	*strrchr(shim_path, '/') = '\0';
	memcpy(strrchr(shim_path, '/'), "/p11shim.so", sizeof("/p11shim.so"));
	snprintf(text, sizeof(text), "directories.tokendir = %s\nlog.level = ERROR\n", in_folder("tokens"));
	write_file(in_folder("softhsm2.conf"), text);
	setenv("SOFTHSM2_CONF", in_folder("softhsm2.conf"), 1);
	setenv("P11SHIM_RULES", in_folder("rules"), 1);
	setenv("P11SHIM_TRACE", in_folder("trace"), 1);
	setenv("P11SHIM_STATE", in_folder("state"), 1);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	remove_tree(folder);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(calls_pass_through_and_are_traced_without_a_pin),
		TEST(a_rule_means_one_call_or_all_from_one_on),
		TEST(a_rule_may_mean_one_mechanism),
		TEST(a_template_with_an_attribute_is_refused),
		TEST(once_is_once_over_restarts),
		TEST(a_running_process_takes_new_rules),
		TEST(calls_sleep),
		TEST(a_call_hangs_for_ever),
		TEST(the_process_dies),
		TEST(the_process_dies_after_the_module_did_it),
		TEST(the_module_did_it_and_says_it_did_not),
		TEST(initialize_fails),
		TEST(a_signature_is_corrupted),
		TEST(attributes_are_falsified),
		TEST(token_info_is_falsified),
		TEST(sessions_are_limited),
		TEST(sessions_are_made_invalid),
		TEST(a_session_in_use_ends_after_its_call),
		TEST(the_user_is_logged_out),
		TEST(a_public_key_goes_with_its_private_key),
		TEST(templates_are_taken_in_another_way),
		TEST(names_are_kept_in_another_way),
		TEST(public_keys_are_private_or_must_not_be),
		TEST(data_objects_are_refused),
		TEST(one_mechanism_stands_for_another),
		TEST(the_token_is_far_away),
		TEST(calls_wait_for_each_other),
		TEST(the_pin_locks_over_restarts),
		TEST(modules_log_in_in_another_way),
		TEST(threads_are_counted_exactly),
		TEST(a_mistake_in_the_rules_is_loud),
		TEST(libp11_works_through_it),
		TEST(pkcs11_tool_works_through_it),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
