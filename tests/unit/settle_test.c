/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a CSR: every line of the table in api/settle.h, step by step, by
 * what the token and the audit trail hold when each step is taken.
 */
#include "tests/unit/cmocka_all.h"

#include "api/settle.h"
#include "base/clock.h"
#include "tests/fakes/hsm_fake.h"
#include "tests/fakes/old_rows.h"
#include "tests/fakes/store_memory.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT "acme"
#define WAIT_MS 20000

#define NONE 0 /* no row of it */
#define OLD_LABEL "csrd:0a000000-0000-4000-8000-00000000000a"

static const char ID[] = "0a000000-0000-4000-8000-00000000000a";
static const char OTHER_ID[] = "0b000000-0000-4000-8000-00000000000b";
static const uint8_t NAME[KEY_NAME_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

struct fixture {
	struct store *store;
	struct hsm *hsm;
	struct settle settle;
	bool told;
	enum err e;
	enum settle_step step;
	char label[KEY_LABEL_SIZE];
	char trail[256];
	bool called; /* by the store, for the test itself */
	bool stop;
};

/* What the trail holds when the key is being destroyed, and in the end. */
static const struct line {
	enum settle_kind kind;
	enum csr_state state;
	const char *shut;
	const char *said;
} lines[] = {
    {SETTLE_NO_ROW, NONE, "csr.failed ", "csr.failed "},
    {SETTLE_PENDING, CSR_PENDING, "csr.pending csr.failed ", "csr.pending csr.failed "},
    {SETTLE_DELETING, CSR_DELETING, "csr.active csr.deleting ", "csr.active csr.deleting csr.destroyed "},
    {SETTLE_LEFTOVER, CSR_FAILED, "csr.pending csr.failed csr.leftover ",
     "csr.pending csr.failed csr.leftover csr.leftover-destroyed "},
    {SETTLE_LEFTOVER, CSR_DESTROYED, "csr.active csr.deleting csr.destroyed csr.leftover ",
     "csr.active csr.deleting csr.destroyed csr.leftover csr.leftover-destroyed "},
};
#define LINES (sizeof(lines) / sizeof(lines[0]))

/* ---- a store with one row, and a token with its key ---- */

static void on_done(void *arg, enum err e)
{
	struct fixture *f = arg;

	assert_int_equal(e, E_OK);
	f->called = true;
}

static void on_added(void *arg, enum err e, enum store_begin outcome, struct csr_record *record,
		     struct store_policies *policies)
{
	assert_null(policies);
	assert_int_equal(outcome, STORE_BEGIN_NEW);
	csr_record_free(record);
	on_done(arg, e);
}

static void on_deleting(void *arg, enum err e, struct csr_record *record)
{
	csr_record_free(record);
	on_done(arg, e);
}

static void await(struct fixture *f)
{
	store_wait(f->store, &f->called);
	f->called = false;
}

/* As store_csr_add takes it, with the key of that label. */
static void add_row(struct fixture *f, const char *id, const char *label)
{
	struct csr_record *record = calloc(1, sizeof(*record));
	struct store_csr_add add = {.record = record, .origin = {.actor = "test"}};

	snprintf(record->id, sizeof(record->id), "%s", id);
	record->scope.kind = STORE_ACCOUNT;
	snprintf(record->scope.id, sizeof(record->scope.id), "%s", ACCOUNT);
	snprintf(record->token_name, sizeof(record->token_name), "default");
	snprintf(record->principal_id, sizeof(record->principal_id), "%s",
		 "5a5a5a5a-0000-4000-8000-000000000000");
	record->spec = (struct csr_spec){.key_type = KEY_P256V1,
					 .country = strdup("DE"),
					 .state = strdup("Bavaria"),
					 .locality = strdup("Munich"),
					 .organization = strdup("Example"),
					 .common_name = strdup("example.com")};
	assert_int_equal(csr_spec_add_san(&record->spec, SAN_DNS, "example.com"), E_OK);
	record->pem = strdup("PEM\n");
	snprintf(record->key_label, sizeof(record->key_label), "%s", label);
	memcpy(record->key_id, NAME, sizeof(record->key_id));
	record->protection = KEY_PROT_REQUIRED;
	store_csr_add(f->store, &add, on_added, f);
	await(f);
}

static void move_row(struct fixture *f, enum csr_state from, enum csr_state to)
{
	struct store_csr_move move = {.id = ID, .from = from, .to = to, .origin = {.actor = "test"}};

	store_csr_move(f->store, &move, on_done, f);
	await(f);
}

static void make_row(struct fixture *f, enum csr_state state)
{
	struct audit_origin origin = {.actor = "test"};
	struct store_scope scope = {.kind = STORE_ACCOUNT, .id = ACCOUNT};

	if (state == NONE)
		return;
	if (state == CSR_PENDING || state == CSR_FAILED) {
		old_rows_add_pending(store_memory_handle("settle"), ID, ACCOUNT, "default");
		if (state == CSR_FAILED)
			move_row(f, CSR_PENDING, CSR_FAILED);
		return;
	}
	add_row(f, ID, f->label);
	store_csr_delete_begin(f->store, &scope, ID, &origin, on_deleting, f);
	await(f);
	if (state == CSR_DESTROYED)
		move_row(f, CSR_DELETING, CSR_DESTROYED);
}

static void on_trail(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct fixture *f = arg;
	size_t used = 0;

	assert_int_equal(e, E_OK);
	f->trail[0] = '\0';
	for (size_t i = 0; i < len && used < sizeof(f->trail); i++)
		used += (size_t)snprintf(f->trail + used, sizeof(f->trail) - used, "%s ", records[i].action);
	f->called = true;
}

static void assert_trail(struct fixture *f, const char *expected)
{
	store_audit_list(f->store, &(struct store_trail_query){.object = ID, .limit = STORE_LIST_MAX},
			 on_trail, f);
	await(f);
	assert_string_equal(f->trail, expected);
}

static void fixture_open(struct fixture *f, const struct line *line)
{
	struct account_record account = {.id = ACCOUNT, .name = (char[]){""}, .csr_quota = STORE_NO_LIMIT};
	struct audit_origin origin = {.actor = "test"};

	memset(f, 0, sizeof(*f));
	assert_int_equal(store_memory_open("settle", &f->store), E_OK);
	store_account_add(f->store, &account, &origin, on_done, f);
	await(f);
	if (line->state == CSR_PENDING || line->state == CSR_FAILED)
		snprintf(f->label, sizeof(f->label), "%s", OLD_LABEL);
	else
		key_name_format(f->label, NAME);
	make_row(f, line->state);
	f->hsm = hsm_fake_new("default");
	hsm_fake_put_key(f->hsm, f->label, MESSAGE_KEY_PAIR);
	f->settle = (struct settle){
	    .kind = line->kind,
	    .store = f->store,
	    .hsm = f->hsm,
	    .csr_id = ID,
	    .key_label = f->label,
	    .deadline_ms = clock_ms() + WAIT_MS,
	    .origin = {.actor = "test"},
	};
}

static void fixture_close(struct fixture *f)
{
	hsm_free(f->hsm);
	store_close(f->store);
	store_memory_forget();
}

/* ---- settling ---- */

static void on_settled(void *arg, enum err e, enum settle_step step, const char *detail)
{
	struct fixture *f = arg;

	assert_false(f->told);
	assert_non_null(detail);
	f->told = true;
	f->e = e;
	f->step = step;
}

static bool should_stop(void *arg)
{
	const struct fixture *f = arg;

	return f->stop;
}

/* Until the signer is asked, or all is over. */
static void start(struct fixture *f)
{
	settle_start(&f->settle, on_settled, f);
	assert_false(f->told);
	while (!f->told && hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY) == 0) {
		struct pollfd p = {.fd = store_fd(f->store), .events = POLLIN};

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		store_dispatch(f->store);
	}
}

static void finish(struct fixture *f, enum err e, enum settle_step step)
{
	hsm_fake_run(f->hsm);
	store_wait(f->store, &f->told);
	assert_int_equal(f->e, e);
	assert_int_equal(f->step, step);
}

static void a_key_goes_between_shut_and_say(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < LINES; i++) {
		fixture_open(&f, &lines[i]);
		start(&f);
		assert_false(f.told);
		assert_trail(&f, lines[i].shut);
		finish(&f, E_OK, SETTLE_DONE);
		assert_trail(&f, lines[i].said);
		assert_int_equal(f.settle.objects, 2);
		assert_int_equal(hsm_fake_keys_len(f.hsm), 0);
		fixture_close(&f);
	}
}

static void nothing_is_said_of_a_key_that_may_be_there(void **state)
{
	static const enum err errors[] = {E_UNCERTAIN, E_BUSY, E_TIMEOUT, E_UNAVAIL, E_HSM};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < LINES; i++) {
		fixture_open(&f, &lines[i]);
		hsm_fake_script(f.hsm, HSM_FAKE_DESTROY_KEY, errors[i], false);
		start(&f);
		finish(&f, errors[i], SETTLE_KEY);
		assert_trail(&f, lines[i].shut);
		fixture_close(&f);
	}
}

static void the_token_is_not_asked_for_a_key_that_is_gone(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < LINES; i++) {
		if (lines[i].kind == SETTLE_LEFTOVER)
			continue;
		fixture_open(&f, &lines[i]);
		f.settle.key_is_gone = true;
		start(&f);
		finish(&f, E_OK, SETTLE_DONE);
		assert_trail(&f, lines[i].said);
		assert_int_equal(hsm_fake_calls(f.hsm, HSM_FAKE_DESTROY_KEY), 0);
		fixture_close(&f);
	}
}

static void a_row_that_cannot_be_shut_keeps_its_key(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < LINES; i++) {
		if (lines[i].kind == SETTLE_DELETING)
			continue;
		fixture_open(&f, &lines[i]);
		store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 1);
		start(&f);
		finish(&f, E_STORE, SETTLE_ROW);
		assert_int_equal(hsm_fake_calls(f.hsm, HSM_FAKE_DESTROY_KEY), 0);
		fixture_close(&f);
	}
}

/* J6: its create was faster. */
static void a_csr_that_has_a_row_keeps_its_key(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, &lines[0]);
	add_row(&f, ID, f.label);
	start(&f);
	finish(&f, E_EXISTS, SETTLE_ROW);
	assert_int_equal(hsm_fake_calls(f.hsm, HSM_FAKE_DESTROY_KEY), 0);
	assert_trail(&f, "csr.active ");
	fixture_close(&f);
}

/* J3: a signer whose folder was put back used one name twice.  The first CSR was answered. */
static void the_key_of_another_csr_is_kept(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, &lines[0]);
	add_row(&f, OTHER_ID, f.label);
	start(&f);
	finish(&f, E_EXISTS, SETTLE_ROW);
	assert_int_equal(hsm_fake_calls(f.hsm, HSM_FAKE_DESTROY_KEY), 0);
	assert_trail(&f, "csr.failed ");
	fixture_close(&f);
}

/* Settled halfway before: the second time goes to the end. */
static void what_was_shut_is_settled_to_the_end(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, &lines[0]);
	f.settle.key_is_gone = true; /* as a create without a key does */
	start(&f);
	finish(&f, E_OK, SETTLE_DONE);
	assert_int_equal(hsm_fake_keys_len(f.hsm), 1);
	f.told = f.settle.key_is_gone = false;
	start(&f);
	finish(&f, E_OK, SETTLE_DONE);
	assert_int_equal(hsm_fake_keys_len(f.hsm), 0);
	assert_trail(&f, "csr.failed ");
	fixture_close(&f);
}

static void who_must_stop_leaves_the_hsm_alone(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < LINES; i++) {
		if (lines[i].kind == SETTLE_DELETING)
			continue;
		fixture_open(&f, &lines[i]);
		f.stop = true;
		f.settle.should_stop = should_stop;
		f.settle.should_stop_arg = &f;
		start(&f);
		finish(&f, E_UNAVAIL, SETTLE_STOPPED);
		assert_int_equal(hsm_fake_calls(f.hsm, HSM_FAKE_DESTROY_KEY), 0);
		assert_trail(&f, lines[i].shut);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_key_goes_between_shut_and_say),
	    cmocka_unit_test(nothing_is_said_of_a_key_that_may_be_there),
	    cmocka_unit_test(the_token_is_not_asked_for_a_key_that_is_gone),
	    cmocka_unit_test(a_row_that_cannot_be_shut_keeps_its_key),
	    cmocka_unit_test(a_csr_that_has_a_row_keeps_its_key),
	    cmocka_unit_test(the_key_of_another_csr_is_kept),
	    cmocka_unit_test(what_was_shut_is_settled_to_the_end),
	    cmocka_unit_test(who_must_stop_leaves_the_hsm_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
