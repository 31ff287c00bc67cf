/* SPDX-License-Identifier: Apache-2.0 */
/* The folder, the token and the processes of the tests of the shim. */
#include "tests/contract/p11shim_fixture.h"

#include <dlfcn.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static char folder[] = "/tmp/csrd-p11shim-test-XXXXXX";
char shim_module[PATH_MAX];

/* ---- files ---- */

const char *shim_in_folder(const char *name)
{
	static char paths[4][PATH_MAX];
	static size_t next;
	char *path = paths[next++ % 4];

	snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

void shim_write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

/* Renamed into place, as a reader in another process wants it. */
void shim_set_rules(const char *text)
{
	shim_write_file(shim_in_folder("rules.new"), text);
	if (rename(shim_in_folder("rules.new"), shim_in_folder("rules")) != 0)
		abort();
}

char *shim_read_file(const char *name)
{
	char *text = calloc(1, 1 << 20);
	FILE *f = fopen(shim_in_folder(name), "re");

	if (!text)
		abort();
	if (f) {
		text[fread(text, 1, (1 << 20) - 1, f)] = '\0';
		fclose(f);
	}
	return text;
}

bool shim_file_says(const char *name, const char *what)
{
	char *text = shim_read_file(name);
	bool found = strstr(text, what) != NULL;

	free(text);
	return found;
}

long shim_counter(const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "state/%s", name);
	return stat(shim_in_folder(path), &st) == 0 ? (long)st.st_size : 0;
}

int64_t shim_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool shim_wait_for_trace(const char *what)
{
	int64_t deadline = shim_now_ms() + SHIM_DEADLINE_MS;

	while (!shim_file_says("trace", what)) {
		if (shim_now_ms() > deadline)
			return false;
		usleep(2000);
	}
	return true;
}

/* ---- processes ---- */

pid_t shim_start(void (*body)(void))
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

int shim_end_of(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return status;
}

void shim_run(void (*body)(void))
{
	assert_int_equal(shim_end_of(shim_start(body)), 0);
}

void shim_run_with(const char *rules, void (*body)(void))
{
	shim_set_rules(rules);
	shim_run(body);
}

void shim_assert_dies_of(int sig, int status)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
}

/* ---- PKCS#11, in a child ---- */

CK_FUNCTION_LIST *shim_p11;
CK_SLOT_ID shim_slot;
CK_SESSION_HANDLE shim_session;

void shim_load(void)
{
	void *handle = dlopen(shim_module, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get_list;
	void *symbol;

	if (!handle)
		fprintf(stderr, "%s\n", dlerror());
	SHIM_CHECK(handle);
	symbol = dlsym(handle, "C_GetFunctionList");
	SHIM_CHECK(symbol);
	memcpy(&get_list, &symbol, sizeof(get_list));
	SHIM_CHECK_RV(get_list(&shim_p11), CKR_OK);
}

void shim_initialize(void)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;

	shim_load();
	SHIM_CHECK_RV(shim_p11->C_Initialize(&args), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	SHIM_CHECK(count > 0);
	shim_slot = slots[0]; /* that of the one initialised token */
}

CK_SESSION_HANDLE shim_open_session(void)
{
	CK_SESSION_HANDLE opened = 0;

	SHIM_CHECK_RV(
	    shim_p11->C_OpenSession(shim_slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &opened),
	    CKR_OK);
	return opened;
}

CK_RV shim_login_with(const char *pin)
{
	unsigned char text[32];

	memcpy(text, pin, strlen(pin));
	return shim_p11->C_Login(shim_session, CKU_USER, text, strlen(pin));
}

void shim_log_in(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_OK);
}

CK_RV shim_random_in(CK_SESSION_HANDLE s)
{
	unsigned char bytes[8];

	return shim_p11->C_GenerateRandom(s, bytes, sizeof(bytes));
}

CK_BBOOL shim_yes = CK_TRUE, shim_no = CK_FALSE;
unsigned char shim_p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static char label[] = SHIM_LABEL;

CK_RV shim_generate(CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
	CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
	unsigned char id[] = {0xca, 0xfe};
	CK_ATTRIBUTE pub[] = {
	    {CKA_EC_PARAMS, shim_p256, sizeof(shim_p256)},
	    {CKA_TOKEN, &shim_yes, sizeof(shim_yes)},
	    {CKA_VERIFY, &shim_yes, sizeof(shim_yes)},
	};
	CK_ATTRIBUTE priv[] = {
	    {CKA_LABEL, label, strlen(label)},
	    {CKA_ID, id, sizeof(id)},
	    {CKA_TOKEN, &shim_yes, sizeof(shim_yes)},
	    {CKA_SIGN, &shim_yes, sizeof(shim_yes)},
	    {CKA_EXTRACTABLE, &shim_no, sizeof(shim_no)},
	    {CKA_SENSITIVE, &shim_yes, sizeof(shim_yes)},
	};

	return shim_p11->C_GenerateKeyPair(shim_session, &mechanism, pub, 3, priv, 6, ret_public,
					   ret_private);
}

CK_ULONG shim_count_keys(void)
{
	CK_ATTRIBUTE want = {CKA_LABEL, label, strlen(label)};
	CK_OBJECT_HANDLE found[64];
	CK_ULONG count = 0;

	SHIM_CHECK_RV(shim_p11->C_FindObjectsInit(shim_session, &want, 1), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_FindObjects(shim_session, found, 64, &count), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_FindObjectsFinal(shim_session), CKR_OK);
	return count;
}

void shim_sign_and_verify(CK_RV verdict)
{
	CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
	unsigned char digest[32] = {1}, signature[64];
	CK_ULONG len = sizeof(signature);
	CK_OBJECT_HANDLE pub, priv;

	SHIM_CHECK_RV(shim_generate(&pub, &priv), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_SignInit(shim_session, &mechanism, priv), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_Sign(shim_session, digest, sizeof(digest), signature, &len), CKR_OK);
	SHIM_CHECK(len == 64);
	SHIM_CHECK_RV(shim_p11->C_VerifyInit(shim_session, &mechanism, pub), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_Verify(shim_session, digest, sizeof(digest), signature, len), verdict);
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, pub), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, priv), CKR_OK);
}

/* ---- the group ---- */

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
	unsigned char so[] = SHIM_SO_PIN, pin[] = SHIM_PIN, name[32];

	memset(name, ' ', sizeof(name));
	memcpy(name, "shim", 4);
	shim_initialize();
	SHIM_CHECK_RV(shim_p11->C_InitToken(shim_slot, so, 8, name), CKR_OK);
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_p11->C_Login(shim_session, CKU_SO, so, 8), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_InitPIN(shim_session, pin, 6), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_Finalize(NULL), CKR_OK);
}

/* A token, rules, trace and state for each test. */
int shim_set_up(void **state)
{
	(void)state;
	unlink(shim_in_folder("rules"));
	unlink(shim_in_folder("trace"));
	remove_tree(shim_in_folder("state"));
	remove_tree(shim_in_folder("tokens"));
	if (mkdir(shim_in_folder("tokens"), 0700) != 0)
		return -1;
	if (shim_end_of(shim_start(make_token_body)) != 0)
		return -1;
	unlink(shim_in_folder("trace"));
	remove_tree(shim_in_folder("state"));
	return 0;
}

int shim_make_folder(void **state)
{
	char text[PATH_MAX + 64];
	ssize_t len = readlink("/proc/self/exe", shim_module, sizeof(shim_module) - 32);

	(void)state;
	if (len < 0 || !mkdtemp(folder))
		return -1;
	shim_module[len] = '\0';
	*strrchr(shim_module, '/') = '\0';
	memcpy(strrchr(shim_module, '/'), "/p11shim.so", sizeof("/p11shim.so"));
	snprintf(text, sizeof(text), "directories.tokendir = %s\nlog.level = ERROR\n",
		 shim_in_folder("tokens"));
	shim_write_file(shim_in_folder("softhsm2.conf"), text);
	setenv("SOFTHSM2_CONF", shim_in_folder("softhsm2.conf"), 1);
	setenv("P11SHIM_RULES", shim_in_folder("rules"), 1);
	setenv("P11SHIM_TRACE", shim_in_folder("trace"), 1);
	setenv("P11SHIM_STATE", shim_in_folder("state"), 1);
	return 0;
}

int shim_remove_folder(void **state)
{
	(void)state;
	remove_tree(folder);
	return 0;
}
