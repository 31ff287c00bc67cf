/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, configurations and processes for signer_test. */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_fixture.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "hsm/signer/token/token_info.h"
#include "tests/contract/kryoptic.h"
#include "tests/contract/opencryptoki.h"
#include "tests/contract/own_places.h"
#include "tests/contract/p11kit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SO_PIN "57721566"

/* ---- files ---- */

const char *signer_path(const struct signer_fixture *f, const char *name)
{
	static char paths[8][PATH_MAX];
	static size_t next;
	char *path = paths[next++ % 8];

	snprintf(path, PATH_MAX, "%s/%s", f->folder, name);
	return path;
}

void signer_write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), E_OK);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	remove(path);
	return 0;
}

static bool file_has(const char *path, const char *text)
{
	struct buf b;
	bool found;

	buf_init(&b, 64 * 1024 * 1024);
	found = fd_read_file(path, &b) == E_OK && strstr(buf_text(&b), text);
	buf_release(&b);
	return found;
}

static void pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

/* On a failure: what a program said. */
static void show_file(const struct signer_fixture *f, const char *name)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	if (fd_read_file(signer_path(f, name), &b) == E_OK)
		fprintf(stderr, "%s", buf_text(&b));
	buf_release(&b);
}

/* ---- kinds of tokens ---- */

/* Quietly; must succeed. */
static void run_tool(const struct signer_fixture *f, char *const argv[])
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open(signer_path(f, "tool.log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		show_file(f, "tool.log");
	assert_int_equal(status, 0);
}

void signer_make_softhsm_token(struct signer_fixture *f, const char *label)
{
	char text[PATH_MAX];
	char *argv[] = {(char *)(uintptr_t) "softhsm2-util",
			(char *)(uintptr_t) "--init-token",
			(char *)(uintptr_t) "--free",
			(char *)(uintptr_t) "--label",
			(char *)(uintptr_t)label,
			(char *)(uintptr_t) "--pin",
			(char *)(uintptr_t)SIGNER_PIN,
			(char *)(uintptr_t) "--so-pin",
			(char *)(uintptr_t)SO_PIN,
			NULL};

	assert_true(mkdir(signer_path(f, "tokens"), 0700) == 0 || errno == EEXIST);
	snprintf(text, sizeof(text),
		 "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n",
		 f->folder);
	signer_write_file(signer_path(f, "softhsm2.conf"), text, 0600);
	setenv("SOFTHSM2_CONF", signer_path(f, "softhsm2.conf"), 1);
	run_tool(f, argv);
}

/* Found at the first set-up. */
static char tpm_module[PATH_MAX];

/* Debian 12 has it beside the libraries, Debian 13 among the modules of p11-kit. */
static void find_tpm_module(void)
{
	glob_t found = {0};

	if (tpm_module[0])
		return;
	if (glob("/usr/lib/*/pkcs11/libtpm2_pkcs11.so.1", 0, NULL, &found) != 0 &&
	    glob("/usr/lib/*/libtpm2_pkcs11.so.1", 0, NULL, &found) != 0)
		fail_msg("no libtpm2_pkcs11.so.1: package libtpm2-pkcs11-1");
	snprintf(tpm_module, sizeof(tpm_module), "%s", found.gl_pathv[0]);
	globfree(&found);
}

/* pkcs11-tool on the n-th slot of the fixture's module, with these more arguments. */
static void run_pkcs11_tool(const struct signer_fixture *f, unsigned slot, char *const *more)
{
	char *argv[24] = {(char *)(uintptr_t) "pkcs11-tool", (char *)(uintptr_t) "--module",
			  (char *)(uintptr_t)f->kind->module, (char *)(uintptr_t) "--slot-index"};
	char index[16];
	size_t len = 4;

	snprintf(index, sizeof(index), "%u", slot);
	argv[len++] = index;
	while (*more)
		argv[len++] = *more++;
	run_tool(f, argv);
}

void signer_forgive_leaks(const struct signer_fixture *f, const char *where)
{
	char options[PATH_MAX], line[128];

	snprintf(options, sizeof(options), "print_suppressions=0:suppressions=%.64s/lsan", f->folder);
	snprintf(line, sizeof(line), "leak:%s\n", where);
	signer_write_file(signer_path(f, "lsan"), line, 0600);
	setenv("LSAN_OPTIONS", options, 1);
}

/* A token in a slot that has none, by its present SO PIN, and its user PIN. */
static void init_token(struct signer_fixture *f, const char *label, const char *so_pin)
{
	char *init_token[] = {(char *)(uintptr_t) "--init-token", (char *)(uintptr_t) "--label",
			      (char *)(uintptr_t)label,           (char *)(uintptr_t) "--so-pin",
			      (char *)(uintptr_t)so_pin,          NULL};
	char *change_pin[] = {
	    (char *)(uintptr_t) "--change-pin", (char *)(uintptr_t) "--new-pin",    (char *)(uintptr_t)SO_PIN,
	    (char *)(uintptr_t) "--login",      (char *)(uintptr_t) "--login-type", (char *)(uintptr_t) "so",
	    (char *)(uintptr_t) "--so-pin",     (char *)(uintptr_t)so_pin,          NULL};
	char *init_pin[] = {(char *)(uintptr_t) "--init-pin",
			    (char *)(uintptr_t) "--new-pin",
			    (char *)(uintptr_t)SIGNER_PIN,
			    (char *)(uintptr_t) "--login",
			    (char *)(uintptr_t) "--login-type",
			    (char *)(uintptr_t) "so",
			    (char *)(uintptr_t) "--so-pin",
			    (char *)(uintptr_t)SO_PIN,
			    NULL};

	run_pkcs11_tool(f, f->tokens, init_token);
	if (strcmp(so_pin, SO_PIN) != 0)
		run_pkcs11_tool(f, f->tokens, change_pin);
	run_pkcs11_tool(f, f->tokens, init_pin);
	f->tokens++;
}

/* The first one starts the TPM.  The last slot of this module is always one without a token yet. */
static void make_tpm_token(struct signer_fixture *f, const char *label)
{
	char tcti[64];

	find_tpm_module();
	if (!f->tpm.pid) {
		swtpm_start(&f->tpm, f->folder);
		snprintf(tcti, sizeof(tcti), "swtpm:host=127.0.0.1,port=%u", f->tpm.port);
		setenv("TPM2_PKCS11_TCTI", tcti, 1);
		setenv("TPM2_PKCS11_STORE", signer_path(f, "store"), 1);
		assert_int_equal(mkdir(signer_path(f, "store"), 0700), 0);
		/* With each EC key, by the module, which is unloaded when leaks are looked for. */
		signer_forgive_leaks(f, "ASN1_STRING_set");
	}
	init_token(f, label, SO_PIN);
	swtpm_flush(&f->tpm); /* the tool leaves things loaded */
}

static void end_tpm(struct signer_fixture *f)
{
	swtpm_stop(&f->tpm);
	unsetenv("TPM2_PKCS11_TCTI");
	unsetenv("TPM2_PKCS11_STORE");
}

static void flush_tpm(struct signer_fixture *f)
{
	swtpm_flush(&f->tpm);
}

static bool token_has(const struct signer_fixture *f, CK_MECHANISM_TYPE mechanism);

/* What the probe found on the token of an earlier test, which was alike: with RSA alone it takes seconds. */
static char known[4096];

static void make_opencryptoki_token(struct signer_fixture *f, const char *label)
{
	struct signer_token_kind *kind = &signer_token_kinds[SIGNER_KIND_OPENCRYPTOKI];

	if (!f->helper)
		f->helper = opencryptoki_start(f->folder);
	init_token(f, label, OPENCRYPTOKI_SO_PIN);
	/* 3.8.1 (Debian 12) has RSA alone, 3.23 (Debian 13) P-256 and P-384 as well. */
	if (f->tokens == 1 && token_has(f, CKM_EC_KEY_PAIR_GEN)) {
		kind->lacks = KEY_TYPE_BIT(KEY_ED25519);
		kind->usual = KEY_P256V1;
		kind->shared_uri = "pkcs11:model=Soft";
	}
	if (!known[0] || f->tokens > 1)
		return;
	assert_int_equal(mkdir(signer_path(f, "signer-state"), 0700), 0);
	signer_write_file(signer_path(f, "signer-state/probe"), known, 0600);
}

static void end_opencryptoki(struct signer_fixture *f)
{
	struct buf b;

	buf_init(&b, sizeof(known) - 1);
	if (fd_read_file(signer_path(f, "signer-state/probe"), &b) == E_OK)
		snprintf(known, sizeof(known), "%s", buf_text(&b));
	buf_release(&b);
	opencryptoki_stop(f->helper);
}

static void make_served_token(struct signer_fixture *f, const char *label)
{
	signer_make_softhsm_token(f, label);
	if (!f->helper)
		f->helper = p11kit_serve(f->folder, SIGNER_SOFTHSM_MODULE);
}

static void wait_for_server(struct signer_fixture *f)
{
	p11kit_wait_for_leavers(f->helper);
}

static void end_server(struct signer_fixture *f)
{
	p11kit_stop(f->helper);
}

static void make_proxied_token(struct signer_fixture *f, const char *label)
{
	if (!f->tokens++)
		p11kit_let_proxy(f->folder, SIGNER_SOFTHSM_MODULE);
	signer_make_softhsm_token(f, label);
}

static void end_proxy(struct signer_fixture *f)
{
	(void)f;
	own_places_end();
}

static void make_kryoptic_token(struct signer_fixture *f, const char *label)
{
	if (!f->tokens)
		kryoptic_configure(f->folder);
	init_token(f, label, SO_PIN);
}

static void end_kryoptic(struct signer_fixture *f)
{
	(void)f;
	unsetenv("KRYOPTIC_CONF");
}

struct signer_token_kind signer_token_kinds[] = {
    [SIGNER_KIND_SOFTHSM] = {.name = "softhsm",
			     .module = SIGNER_SOFTHSM_MODULE,
			     .shared_uri = "pkcs11:model=SoftHSM%20v2",
			     .make_token = signer_make_softhsm_token,
			     .sees_others = true,
			     .sealed = CKR_ATTRIBUTE_SENSITIVE,
			     .usual = KEY_P256V1},
    [SIGNER_KIND_TPM] = {.name = "tpm",
			 .module = tpm_module,
			 .shared_uri = "pkcs11:manufacturer=IBM",
			 .make_token = make_tpm_token,
			 .end = end_tpm,
			 .after_kill = flush_tpm,
			 .threads = 1,
			 .sealed = CKR_ATTRIBUTE_TYPE_INVALID,
			 .lacks = KEY_TYPE_BIT(KEY_RSA4096) | KEY_TYPE_BIT(KEY_ED25519),
			 .usual = KEY_P256V1},
    [SIGNER_KIND_OPENCRYPTOKI] = {.name = "opencryptoki",
				  .module = OPENCRYPTOKI_MODULE,
				  .shared_uri = "pkcs11:manufacturer=IBM%20Corp.",
				  .make_token = make_opencryptoki_token,
				  .end = end_opencryptoki,
				  .own_places = true,
				  .sees_others = true,
				  .sealed = CKR_ATTRIBUTE_SENSITIVE,
				  .lacks = KEY_TYPE_BIT(KEY_P256V1) | KEY_TYPE_BIT(KEY_P384V1) |
					   KEY_TYPE_BIT(KEY_ED25519),
				  .usual = KEY_RSA2048},
    [SIGNER_KIND_P11KIT_CLIENT] = {.name = "p11kit_client",
				   .module = P11KIT_CLIENT,
				   .shared_uri = "pkcs11:model=SoftHSM%20v2",
				   .make_token = make_served_token,
				   .end = end_server,
				   .after_kill = wait_for_server,
				   .seen_through = SIGNER_SOFTHSM_MODULE,
				   .sees_others = true,
				   .sealed = CKR_ATTRIBUTE_SENSITIVE,
				   .lacks = KEY_TYPE_BIT(KEY_ED25519),
				   .usual = KEY_P256V1},
    [SIGNER_KIND_P11KIT_PROXY] = {.name = "p11kit_proxy",
				  .module = P11KIT_PROXY,
				  .shared_uri = "pkcs11:model=SoftHSM%20v2",
				  .make_token = make_proxied_token,
				  .end = end_proxy,
				  .seen_through = SIGNER_SOFTHSM_MODULE,
				  .own_places = true,
				  .sees_others = true,
				  .sealed = CKR_ATTRIBUTE_SENSITIVE,
				  .usual = KEY_P256V1},
    [SIGNER_KIND_KRYOPTIC] = {.name = "kryoptic",
			      .module = kryoptic_module,
			      .shared_uri = "pkcs11:manufacturer=Kryoptic%20Project",
			      .make_token = make_kryoptic_token,
			      .end = end_kryoptic,
			      .sees_others = true,
			      .sealed = CKR_ATTRIBUTE_SENSITIVE,
			      .usual = KEY_P256V1},
};
const size_t signer_token_kinds_len = sizeof(signer_token_kinds) / sizeof(signer_token_kinds[0]);

/* ---- set up ---- */

/* Of a module: where it was built, others may own a folder on the way.  path becomes that of the copy. */
static void copy_to_folder(const struct signer_fixture *f, char path[PATH_MAX], const char *name)
{
	struct buf module;
	int fd = open(signer_path(f, name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);

	assert_true(fd >= 0);
	buf_init(&module, 1 << 26);
	assert_int_equal(fd_read_file(path, &module), E_OK);
	assert_int_equal(fd_write_all(fd, module.data, module.len), E_OK);
	close(fd);
	buf_release(&module);
	snprintf(path, PATH_MAX, "%s", signer_path(f, name));
}

/* Beside this test program: ../../bin/csrd-hsm, ../p11shim.so and ../profiles. */
static void find_programs(struct signer_fixture *f)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *folder;

	assert_true(len > 0);
	self[len] = '\0';
	folder = dirname(self);
	assert_true((size_t)snprintf(f->program, PATH_MAX, "%.3900s/../../bin/csrd-hsm", folder) < PATH_MAX);
	assert_true((size_t)snprintf(f->shim, PATH_MAX, "%.3900s/../p11shim.so", folder) < PATH_MAX);
	assert_true((size_t)snprintf(f->profiles, PATH_MAX, "%.3900s/../profiles", folder) < PATH_MAX);
	assert_int_equal(access(f->program, X_OK), 0);
	copy_to_folder(f, f->shim, "p11shim.so");
}

int signer_fixture_setup(void **state)
{
	struct signer_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	signer_forget_labels();
	f->kind = *state;
	strcpy(f->folder, "/tmp/csrd-signer-test-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	find_programs(f);
	snprintf(f->socket, sizeof(f->socket), "%s/hsm.sock", f->folder);
	signer_write_file(signer_path(f, "pin"), SIGNER_PIN "\n", 0600);
	f->kind->make_token(f, SIGNER_TOKEN_LABEL);
	if (f->kind->profile)
		signer_use_shim(f, "");
	*state = f;
	return 0;
}

int signer_fixture_teardown(void **state)
{
	struct signer_fixture *f = *state;

	if (f->pid) { /* the test failed half-way: show what it said */
		kill(f->pid, SIGKILL);
		waitpid(f->pid, NULL, 0);
		show_file(f, "log");
	}
	if (f->kind->end)
		f->kind->end(f);
	nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	unsetenv("P11SHIM_RULES");
	unsetenv("LSAN_OPTIONS");
	free(f);
	return 0;
}

static void is_not_possible(void **state)
{
	const struct signer_token_kind *kind = *state;

	fprintf(stderr, "%s: needs root and the right to mount\n", kind->name);
	skip();
}

struct CMUnitTest signer_test_on(enum signer_kind number, const char *name, CMUnitTestFunction run)
{
	const struct signer_token_kind *kind = &signer_token_kinds[number];

	if (kind->own_places && !own_places_are_possible())
		return (struct CMUnitTest){name, is_not_possible, NULL, NULL, (void *)(uintptr_t)kind};
	return (struct CMUnitTest){name, run, signer_fixture_setup, signer_fixture_teardown,
				   (void *)(uintptr_t)kind};
}

/* ---- the shim ---- */

static void put_profile(const struct signer_fixture *f, struct buf *rules)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s.rules", f->profiles, f->kind->profile);
	assert_int_equal(fd_read_file(path, rules), E_OK);
}

void signer_set_rules(const struct signer_fixture *f, const char *rules)
{
	struct buf text;

	buf_init(&text, 65536);
	if (f->kind->profile)
		put_profile(f, &text);
	buf_put_str(&text, rules);
	assert_int_equal(buf_status(&text), E_OK);
	signer_write_file(signer_path(f, "rules.new"), buf_text(&text), 0600);
	buf_release(&text);
	assert_int_equal(rename(signer_path(f, "rules.new"), signer_path(f, "rules")), 0);
}

void signer_use_shim(struct signer_fixture *f, const char *rules)
{
	signer_set_rules(f, rules);
	setenv("P11SHIM_MODULE", f->kind->module, 1);
	setenv("P11SHIM_RULES", signer_path(f, "rules"), 1);
	setenv("P11SHIM_TRACE", signer_path(f, "trace"), 1);
	setenv("P11SHIM_STATE", signer_path(f, "state"), 1);
	f->module = f->shim;
}

long signer_shim_count(const struct signer_fixture *f, const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "state/%s", name);
	return stat(signer_path(f, path), &st) == 0 ? (long)st.st_size : 0;
}

void signer_wait_for_count(const struct signer_fixture *f, const char *name, long count)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;

	while (signer_shim_count(f, name) < count) {
		assert_true(clock_ms() < deadline);
		pause_ms(2);
	}
}

static void wait_for_text(const char *path, const char *text)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;

	while (!file_has(path, text)) {
		assert_true(clock_ms() < deadline);
		pause_ms(2);
	}
}

void signer_wait_for_trace(const struct signer_fixture *f, const char *text)
{
	wait_for_text(signer_path(f, "trace"), text);
}

/* ---- the process ---- */

void signer_write_config(struct signer_fixture *f)
{
	struct buf b;

	buf_init(&b, 65536);
	buf_printf(
	    &b,
	    "[log]\nlevel = debug\n\n[token default]\nmodule = %s\nuri = %s\npin_file = %s\nsocket = %s\n",
	    f->module ? f->module : f->kind->module, f->uri ? f->uri : "pkcs11:token=" SIGNER_TOKEN_LABEL,
	    signer_path(f, "pin"), f->socket);
	buf_printf(&b, "state_dir = %s\n", signer_path(f, f->state_dir ? f->state_dir : "signer-state"));
	buf_printf(&b, "threads = %u\nqueue_max = %u\n%s", f->threads ? f->threads : 4,
		   f->queue_max ? f->queue_max : 1024, f->extra ? f->extra : "");
	assert_int_equal(buf_status(&b), E_OK);
	signer_write_file(signer_path(f, "csrd.conf"), buf_text(&b), 0600);
	buf_release(&b);
}

void signer_start(struct signer_fixture *f)
{
	const char *config = signer_path(f, "csrd.conf"), *log = signer_path(f, "log");

	assert_int_equal(f->pid, 0);
	signer_write_config(f);
	unlink(log);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		execl(f->program, "csrd-hsm", "-c", config, (char *)NULL);
		_exit(127);
	}
}

int signer_wait(struct signer_fixture *f)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	int status;
	pid_t got;

	while ((got = waitpid(f->pid, &status, WNOHANG)) == 0) {
		assert_true(clock_ms() < deadline);
		pause_ms(2);
	}
	assert_int_equal(got, f->pid);
	f->pid = 0;
	if (WIFSIGNALED(status) && f->kind->after_kill)
		f->kind->after_kill(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void signer_stop(struct signer_fixture *f)
{
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	assert_int_equal(signer_wait(f), 0);
}

void signer_restart_to_see(struct signer_fixture *f)
{
	if (f->kind->sees_others)
		return;
	signer_stop(f);
	signer_start(f);
}

bool signer_log_has(const struct signer_fixture *f, const char *text)
{
	return file_has(signer_path(f, "log"), text);
}

void signer_open(struct signer_fixture *f, struct signer_client *c, const char *rules)
{
	signer_use_shim(f, rules);
	signer_start(f);
	signer_client_open(c, f->socket, NULL);
}

void signer_close(struct signer_fixture *f, struct signer_client *c)
{
	signer_client_close(c);
	signer_set_rules(f, "");
	signer_stop(f);
}

static bool has_status(struct signer_client *c, bool usable, const char *start_of_detail)
{
	struct message_status_reply status;
	bool has;

	signer_status(c, &status);
	has =
	    status.usable == usable && strncmp(status.detail, start_of_detail, strlen(start_of_detail)) == 0;
	message_status_reply_release(&status);
	return has;
}

void signer_wait_for_status(struct signer_client *c, bool usable, const char *start_of_detail)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;

	while (!has_status(c, usable, start_of_detail)) {
		assert_true(clock_ms() < deadline);
		pause_ms(5);
	}
}

void signer_wait_for_log(const struct signer_fixture *f, const char *text)
{
	wait_for_text(signer_path(f, "log"), text);
}

void signer_expect_exit(struct signer_fixture *f, int code, const char *text)
{
	int got;

	signer_start(f);
	got = signer_wait(f);
	if (got != code || !signer_log_has(f, text))
		show_file(f, "log");
	assert_int_equal(got, code);
	assert_true(signer_log_has(f, text));
	assert_false(signer_log_has(f, SIGNER_PIN));
}

/* ---- the token from outside ---- */

struct token_session {
	void *dl;
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
	CK_FUNCTION_LIST_PTR p11;
	CK_SESSION_HANDLE handle;
};

static void open_token(const struct signer_fixture *f, struct token_session *t)
{
	CK_C_GetFunctionList get;
	CK_SLOT_ID slots[16];
	CK_ULONG len = 16;
	const char *module = f->kind->seen_through ? f->kind->seen_through : f->kind->module;

	t->dl = dlopen(module, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(t->dl);
	*(void **)&get = dlsym(t->dl, "C_GetFunctionList");
	assert_non_null(get);
	assert_int_equal(get(&t->p11), CKR_OK);
	assert_int_equal(t->p11->C_Initialize(NULL), CKR_OK);
	assert_int_equal(t->p11->C_GetSlotList(CK_TRUE, slots, &len), CKR_OK);
	for (CK_ULONG i = 0; i < len; i++) {
		assert_int_equal(token_info_read(t->p11, slots[i], NULL, &t->info), CKR_OK);
		if (memcmp(t->info.label, SIGNER_TOKEN_LABEL " ", sizeof(SIGNER_TOKEN_LABEL)) != 0)
			continue;
		t->slot = slots[i];
		assert_int_equal(t->p11->C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
						       NULL, &t->handle),
				 CKR_OK);
		assert_int_equal(t->p11->C_Login(t->handle, CKU_USER, (unsigned char *)(uintptr_t)SIGNER_PIN,
						 strlen(SIGNER_PIN)),
				 CKR_OK);
		return;
	}
	fail_msg("the token is not there");
}

static void close_token(struct token_session *t)
{
	assert_int_equal(t->p11->C_Finalize(NULL), CKR_OK);
	dlclose(t->dl);
}

static bool token_has(const struct signer_fixture *f, CK_MECHANISM_TYPE mechanism)
{
	struct token_session t;
	CK_MECHANISM_INFO info;
	bool has;

	open_token(f, &t);
	has = t.p11->C_GetMechanismInfo(t.slot, mechanism, &info) == CKR_OK;
	close_token(&t);
	return has;
}

void signer_token_serial(const struct signer_fixture *f, char ret_serial[32])
{
	struct token_session t;
	size_t len = sizeof(t.info.serialNumber);

	open_token(f, &t);
	while (len > 0 && t.info.serialNumber[len - 1] == ' ')
		len--;
	snprintf(ret_serial, 32, "%.*s", (int)len, (const char *)t.info.serialNumber);
	close_token(&t);
}

static size_t find(struct token_session *t, CK_OBJECT_CLASS class, const char *label,
		   CK_OBJECT_HANDLE *handles, size_t max)
{
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
				   {CKA_LABEL, (void *)(uintptr_t)label, label ? strlen(label) : 0}};
	CK_ULONG got = 0;

	assert_int_equal(t->p11->C_FindObjectsInit(t->handle, template, label ? 2 : 1), CKR_OK);
	assert_int_equal(t->p11->C_FindObjects(t->handle, handles, max, &got), CKR_OK);
	assert_int_equal(t->p11->C_FindObjectsFinal(t->handle), CKR_OK);
	return got;
}

size_t signer_token_count(const struct signer_fixture *f, CK_OBJECT_CLASS class, const char *label)
{
	CK_OBJECT_HANDLE handles[4096];
	struct token_session t;
	size_t len;

	open_token(f, &t);
	len = find(&t, class, label, handles, 4096);
	close_token(&t);
	return len;
}

static CK_ULONG value_len(struct token_session *t, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type)
{
	CK_ATTRIBUTE attribute = {type, NULL, 0};
	CK_RV rv = t->p11->C_GetAttributeValue(t->handle, handle, &attribute, 1);

	return rv == CKR_OK ? attribute.ulValueLen : 0;
}

size_t signer_token_count_keys(const struct signer_fixture *f, CK_OBJECT_CLASS class)
{
	CK_OBJECT_HANDLE handles[4096];
	struct token_session t;
	size_t len, keys = 0;

	open_token(f, &t);
	len = find(&t, class, NULL, handles, 4096);
	for (size_t i = 0; i < len; i++)
		keys += value_len(&t, handles[i], CKA_LABEL) > 0 || value_len(&t, handles[i], CKA_ID) > 0 ||
			value_len(&t, handles[i], CKA_EC_POINT) > 0;
	close_token(&t);
	return keys;
}

void signer_token_destroy(const struct signer_fixture *f, CK_OBJECT_CLASS class, const char *label)
{
	CK_OBJECT_HANDLE handles[16];
	struct token_session t;
	size_t len;

	open_token(f, &t);
	len = find(&t, class, label, handles, 16);
	assert_true(len > 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(t.p11->C_DestroyObject(t.handle, handles[i]), CKR_OK);
	close_token(&t);
}

void signer_token_relabel(const struct signer_fixture *f, CK_OBJECT_CLASS class, const char *label,
			  const char *new_label)
{
	CK_ATTRIBUTE attribute = {CKA_LABEL, (void *)(uintptr_t)new_label, strlen(new_label)};
	CK_OBJECT_HANDLE handles[16];
	struct token_session t;
	size_t len;

	open_token(f, &t);
	len = find(&t, class, label, handles, 16);
	assert_true(len > 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(t.p11->C_SetAttributeValue(t.handle, handles[i], &attribute, 1), CKR_OK);
	close_token(&t);
}

CK_SLOT_ID signer_token_slot(const struct signer_fixture *f, size_t n)
{
	void *dl = dlopen(f->kind->module, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST_PTR p11;
	CK_SLOT_ID slots[8];
	CK_ULONG len = 8;

	assert_non_null(dl);
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	assert_int_equal(get(&p11), CKR_OK);
	assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
	assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &len), CKR_OK);
	assert_true(len > n);
	assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
	dlclose(dl);
	return slots[n];
}

void signer_token_add_public(const struct signer_fixture *f, unsigned from, unsigned count)
{
	unsigned char modulus[256], exponent[] = {0x01, 0x00, 0x01};
	char label[5 + CSR_ID_SIZE] = "csrd:";
	CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
	CK_KEY_TYPE type = CKK_RSA;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE template[] = {
	    {CKA_CLASS, &class, sizeof(class)},      {CKA_KEY_TYPE, &type, sizeof(type)},
	    {CKA_TOKEN, &yes, sizeof(yes)},          {CKA_PRIVATE, &no, sizeof(no)},
	    {CKA_MODULUS, modulus, sizeof(modulus)}, {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
	    {CKA_LABEL, label, sizeof(label) - 1},
	};
	struct token_session t;

	memset(modulus, 0xc5, sizeof(modulus));
	open_token(f, &t);
	for (unsigned i = 0; i < count; i++) {
		CK_OBJECT_HANDLE handle;

		signer_csr_id(label + 5, from + i);
		assert_int_equal(t.p11->C_CreateObject(t.handle, template,
						       sizeof(template) / sizeof(template[0]), &handle),
				 CKR_OK);
	}
	close_token(&t);
}

CK_ATTRIBUTE_TYPE signer_private_value(enum key_type type)
{
	bool is_rsa = type == KEY_RSA2048 || type == KEY_RSA3072 || type == KEY_RSA4096;

	return is_rsa ? CKA_PRIVATE_EXPONENT : CKA_VALUE;
}

void signer_token_expect_sealed(const struct signer_fixture *f, const char *label,
				CK_ATTRIBUTE_TYPE private_value)
{
	unsigned char value[1024];
	CK_ATTRIBUTE attribute = {private_value, value, sizeof(value)};
	CK_OBJECT_HANDLE handles[2];
	struct token_session t;

	open_token(f, &t);
	assert_int_equal(find(&t, CKO_PRIVATE_KEY, label, handles, 2), 1);
	assert_int_equal(t.p11->C_GetAttributeValue(t.handle, handles[0], &attribute, 1), f->kind->sealed);
	close_token(&t);
}
