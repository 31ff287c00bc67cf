/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrd-hsm under many clients at once, over a module that answers at once
 * (tests/fakes/p11_fake.c): everything that its threads share is in use at the
 * same time.  With SANITIZE=thread ("make tsan") a race fails the test.
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_client.h"
#include "tests/contract/signer_fixture.h"

#include "base/buf.h"
#include "base/exit_code.h"
#include "base/fd.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 4
#define ROUNDS 12
#define AT_ONCE 8
#define LONG_MS 60000

/* The token is in the module. */
static void make_nothing(struct signer_fixture *f, const char *label)
{
	(void)f;
	(void)label;
}

static char module_path[PATH_MAX];
static struct signer_token_kind fake = {.name = "fake", .module = module_path, .make_token = make_nothing};

/* ---- one client ---- */

struct client {
	const struct signer_fixture *f;
	unsigned number;
	bool faults; /* errors are part of it */
	pthread_t thread;
	unsigned made;
	unsigned failed;
};

/* cmocka's assertions jump, which only its own thread may do: here a lie is the end of the process. */
static void insist(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "signer_load_test: %s\n", what);
	abort();
}

static void create_some(struct client *me, struct signer_client *c, unsigned round, bool made[AT_ONCE])
{
	struct csr_spec spec;
	char csr_id[CSR_ID_SIZE];
	uint32_t ids[AT_ONCE];

	signer_spec(&spec, KEY_P256V1);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		signer_csr_id(csr_id, (me->number * ROUNDS + round) * AT_ONCE + i);
		ids[i] = signer_create_send(c, csr_id, &spec, LONG_MS);
	}
	csr_spec_release(&spec);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct message_create_csr_reply reply;
		enum err e = signer_create_get(c, ids[i], &reply);

		made[i] = e == E_OK;
		insist(made[i] || me->faults, err_str(e));
		me->made += made[i];
		me->failed += !made[i];
		if (made[i])
			message_create_csr_reply_release(&reply);
	}
}

static void destroy_some(struct client *me, struct signer_client *c, unsigned round)
{
	char csr_id[CSR_ID_SIZE];
	uint32_t ids[AT_ONCE], destroyed;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		signer_csr_id(csr_id, (me->number * ROUNDS + round) * AT_ONCE + i);
		ids[i] = signer_key_send(c, i % 4 ? MESSAGE_DESTROY_KEY : MESSAGE_FIND_KEY, csr_id, LONG_MS);
	}
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct message_find_key_reply found;
		enum err e =
		    i % 4 ? signer_destroy_get(c, ids[i], &destroyed) : signer_find_get(c, ids[i], &found);

		insist(e == E_OK || me->faults, err_str(e));
	}
}

static void *run(void *arg)
{
	struct client *me = arg;
	struct signer_client c;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct message_status_reply status;
		bool made[AT_ONCE];

		if (round % 4 == 0) /* a new connection now and then; the old one hung up with work waiting */
			signer_client_open(&c, me->f->socket, NULL);
		create_some(me, &c, round, made);
		signer_status(&c, &status);
		message_status_reply_release(&status);
		destroy_some(me, &c, round);
		if (round % 4 == 3) {
			struct csr_spec spec;
			char csr_id[CSR_ID_SIZE];

			signer_spec(&spec, KEY_P256V1);
			signer_csr_id(csr_id, 900000 + me->number * ROUNDS + round);
			signer_create_send(&c, csr_id, &spec, LONG_MS);
			csr_spec_release(&spec);
			signer_client_close(&c);
		}
	}
	return NULL;
}

/* ---- the tests ---- */

/* A sanitizer's report is in the log, and its exit code is not 0. */
static void stop(struct signer_fixture *f)
{
	struct buf log;
	int code;

	assert_int_equal(kill(f->pid, SIGTERM), 0);
	code = signer_wait(f);
	if (code) {
		buf_init(&log, 1 << 24);
		if (fd_read_file(signer_path(f, "log"), &log) == E_OK)
			fprintf(stderr, "%s", buf_text(&log));
		buf_release(&log);
	}
	assert_int_equal(code, EXIT_CODE_OK);
}

static void all_at_once(struct signer_fixture *f, bool faults)
{
	struct client clients[CLIENTS];
	unsigned made = 0, failed = 0;

	f->threads = 4;
	f->extra = "pool_p256v1 = 16\npool_pause = 1ms\nkeep_alive = 100ms\n";
	signer_start(f);
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){.f = f, .number = i, .faults = faults};
		assert_int_equal(pthread_create(&clients[i].thread, NULL, run, &clients[i]), 0);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		made += clients[i].made;
		failed += clients[i].failed;
	}
	print_message("# %u made, %u failed\n", made, failed);
	assert_true(made >= CLIENTS * ROUNDS * AT_ONCE / (faults ? 4 : 1));
	stop(f);
}

static void many_clients_at_once(void **state)
{
	all_at_once(*state, false);
}

static void many_clients_while_sessions_die(void **state)
{
	setenv("P11_FAKE_FAIL_EVERY", "23", 1);
	all_at_once(*state, true);
	unsetenv("P11_FAKE_FAIL_EVERY");
}

/* Signals, hung-up clients and work, all in the moment of the end. */
static void an_end_in_the_middle(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	struct csr_spec spec;

	signer_spec(&spec, KEY_P256V1);
	for (unsigned round = 0; round < 5; round++) {
		signer_start(f);
		signer_client_open(&c, f->socket, NULL);
		for (unsigned i = 0; i < 100; i++) {
			char csr_id[CSR_ID_SIZE];

			signer_csr_id(csr_id, i);
			signer_create_send(&c, csr_id, &spec, LONG_MS);
		}
		if (round % 2)
			signer_client_close(&c);
		stop(f);
		if (round % 2 == 0)
			signer_client_close(&c);
	}
	csr_spec_release(&spec);
}

/* Keys that are protected by other means than a PIN: every session will do. */
static void a_token_without_login_F187(void **state)
{
	struct signer_fixture *f = *state;
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;
	uint32_t destroyed;

	setenv("P11_FAKE_NO_LOGIN", "1", 1);
	f->threads = 2;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_csr_id(csr_id, 1);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
	assert_int_equal(signer_find(&c, csr_id), MESSAGE_KEY_PAIR);
	assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	assert_true(signer_log_has(f, "has no login: the pin is not used"));
	signer_client_close(&c);
	stop(f);
	unsetenv("P11_FAKE_NO_LOGIN");
}

/* Modules know Edwards curves by one or the other; in FIPS mode some refuse PKCS#1 generation of RSA keys. */
static void keys_are_asked_for_in_the_way_that_works_F234(void **state)
{
	static const struct {
		const char *keys;
		enum key_type type;
		const char *said; /* NULL: it is the first way, of which nothing is said */
	} cases[] = {
	    {"oid", KEY_ED25519, NULL},
	    {"name", KEY_ED25519, "curve name"},
	    {"x9.31", KEY_RSA2048, "x9.31"},
	    {"186-3", KEY_RSA2048, "186-3"},
	};
	struct signer_fixture *f = *state;

	f->threads = 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setenv("P11_FAKE_KEYS", cases[i].keys, 1);
		unlink(signer_path(f, "signer-state/probe"));
		for (unsigned life = 0; life < 2; life++) { /* the second remembers it */
			struct message_create_csr_reply reply;
			struct message_status_reply status;
			struct signer_client c;
			char csr_id[CSR_ID_SIZE];

			signer_start(f);
			signer_client_open(&c, f->socket, NULL);
			signer_csr_id(csr_id, (unsigned)i * 4 + life * 2);
			assert_int_equal(signer_create(&c, csr_id, cases[i].type, &reply), E_OK);
			message_create_csr_reply_release(&reply);
			signer_csr_id(csr_id, (unsigned)i * 4 + life * 2 + 1);
			assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
			signer_status(&c, &status);
			assert_true(status.usable);
			if (cases[i].said)
				assert_non_null(strstr(status.capabilities, cases[i].said));
			message_status_reply_release(&status);
			signer_client_close(&c);
			stop(f);
		}
	}
	unsetenv("P11_FAKE_KEYS");
}

/* More than anybody would make room for in advance: at start, and when the module is reinitialised. */
static void hundreds_of_slots_F225(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char csr_id[CSR_ID_SIZE];

	setenv("P11_FAKE_SLOTS", "1000", 1);
	f->threads = 2;
	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_csr_id(csr_id, 1);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_DestroyObject return CKR_OK\n");
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(signer_destroy(&c, csr_id, &(uint32_t){0}), E_UNCERTAIN);
	signer_wait_for_log(f, "the module is reinitialised");
	signer_set_rules(f, "");
	signer_wait_until_usable(&c);
	signer_csr_id(csr_id, 2);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
	signer_client_close(&c);
	stop(f);
	unsetenv("P11_FAKE_SLOTS");
}

#define CASE(function)                                                                                       \
	{                                                                                                    \
#function, function, signer_fixture_setup, signer_fixture_teardown, &fake                    \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(many_clients_at_once),
	    CASE(many_clients_while_sessions_die),
	    CASE(an_end_in_the_middle),
	    CASE(a_token_without_login_F187),
	    CASE(keys_are_asked_for_in_the_way_that_works_F234),
	    CASE(hundreds_of_slots_F225),
	};
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len <= 0)
		return 1;
	self[len] = '\0';
	if ((slash = strrchr(self, '/')))
		*slash = '\0';
	if (strlen(self) + sizeof("/../fakes/p11_fake.so") > PATH_MAX)
		return 1;
	strcpy(module_path, self);
	strcat(module_path, "/../fakes/p11_fake.so");
	return cmocka_run_group_tests_name("signer_load", tests, NULL, NULL);
}
