/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon/vouch.h: when a link is accepted, and what has been kept by then (J7).  The
 * signer is this test's: it remembers stores, and used keys of which it does not know
 * what became of them.
 */
#include "tests/unit/cmocka_all.h"

#include "base/clock.h"
#include "daemon/vouch.h"
#include "hsm/hsm.h"
#include "store/store.h"
#include "tests/fakes/store_memory.h"

#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN "default"
#define WAIT_MS 20000
#define KEYS_MAX 10
#define PAGE_KEYS 3

/* ---- a signer ---- */

enum call_kind { CALL_NONE, CALL_UNSETTLED, CALL_CONFIRM, CALL_NOTE, CALLS };

struct hsm {
	bool up;
	char declined[128]; /* why; "": it was not */
	struct message_store remembered;
	bool remembers;
	bool used[KEYS_MAX]; /* and not settled */
	unsigned kept;
	unsigned calls[CALLS];
	enum err fail[CALLS];
	char order[64]; /* of what it was asked for: u, c, n */
	enum call_kind call;
	uint64_t from;
	struct message_store note;
	char labels[MESSAGE_CONFIRM_MAX][KEY_LABEL_SIZE];
	size_t labels_len;
	union {
		hsm_unsettled_fn unsettled;
		hsm_confirm_fn confirm;
		hsm_note_store_fn note;
	} done;
	void *arg;
};

static void name_key(unsigned n, char label[KEY_LABEL_SIZE])
{
	const uint8_t bytes[KEY_NAME_BYTES] = {1, 2, 3, 4, (uint8_t)n};

	key_name_format(label, bytes);
}

static void put_call(struct hsm *hsm, enum call_kind kind, void *arg)
{
	assert_int_equal(hsm->call, CALL_NONE);
	hsm->call = kind;
	hsm->arg = arg;
	hsm->calls[kind]++;
	snprintf(hsm->order + strlen(hsm->order), sizeof(hsm->order) - strlen(hsm->order), "%c",
		 " ucn"[kind]);
}

const char *hsm_token_name(const struct hsm *hsm)
{
	(void)hsm;
	return TOKEN;
}

bool hsm_is_up(const struct hsm *hsm)
{
	return hsm->up;
}

bool hsm_remembers(const struct hsm *hsm, const uint8_t lineage[MESSAGE_LINEAGE_BYTES],
		   uint64_t *ret_sequence)
{
	if (!hsm->remembers || memcmp(lineage, hsm->remembered.lineage, MESSAGE_LINEAGE_BYTES) != 0)
		return false;
	*ret_sequence = hsm->remembered.sequence;
	return true;
}

bool hsm_remembers_any(const struct hsm *hsm)
{
	return hsm->remembers;
}

void hsm_accept(struct hsm *hsm)
{
	hsm->up = true;
}

void hsm_decline(struct hsm *hsm, const char *why)
{
	snprintf(hsm->declined, sizeof(hsm->declined), "%s", why);
}

void hsm_unsettled(struct hsm *hsm, uint64_t from, uint64_t deadline_ms, hsm_unsettled_fn done, void *arg)
{
	assert_true(deadline_ms > clock_ms());
	put_call(hsm, CALL_UNSETTLED, arg);
	hsm->from = from;
	hsm->done.unsettled = done;
}

void hsm_confirm(struct hsm *hsm, const struct message_confirm *confirm, uint64_t deadline_ms,
		 hsm_confirm_fn done, void *arg)
{
	assert_true(deadline_ms > clock_ms());
	assert_true(confirm->kept);
	put_call(hsm, CALL_CONFIRM, arg);
	memcpy(hsm->labels, confirm->labels, confirm->labels_len * KEY_LABEL_SIZE);
	hsm->labels_len = confirm->labels_len;
	hsm->done.confirm = done;
}

void hsm_note_store(struct hsm *hsm, const struct message_store *store, uint64_t deadline_ms,
		    hsm_note_store_fn done, void *arg)
{
	assert_true(deadline_ms > clock_ms());
	put_call(hsm, CALL_NOTE, arg);
	hsm->note = *store;
	hsm->done.note = done;
}

static void answer_unsettled(struct hsm *hsm)
{
	struct message_unsettled_key keys[PAGE_KEYS];
	struct message_unsettled_reply reply = {.keys = keys};

	for (unsigned n = (unsigned)hsm->from; n < KEYS_MAX && !reply.more; n++) {
		if (!hsm->used[n])
			continue;
		if (reply.keys_len == PAGE_KEYS) {
			reply.more = true;
			break;
		}
		memset(&keys[reply.keys_len], 0, sizeof(keys[0]));
		name_key(n, keys[reply.keys_len].label);
		keys[reply.keys_len++].journal_index = n;
	}
	hsm->done.unsettled(hsm->arg, E_OK, "", &reply);
}

static void keep(struct hsm *hsm)
{
	char label[KEY_LABEL_SIZE];

	for (size_t i = 0; i < hsm->labels_len; i++)
		for (unsigned n = 0; n < KEYS_MAX; n++) {
			name_key(n, label);
			if (strcmp(label, hsm->labels[i]) != 0)
				continue;
			assert_true(hsm->used[n]);
			hsm->used[n] = false;
			hsm->kept++;
		}
}

static void answer(struct hsm *hsm)
{
	enum call_kind kind = hsm->call;
	enum err e = hsm->fail[kind];

	hsm->call = CALL_NONE;
	if (kind == CALL_UNSETTLED && e != E_OK) {
		hsm->done.unsettled(hsm->arg, e, "as told", NULL);
	} else if (kind == CALL_UNSETTLED) {
		answer_unsettled(hsm);
	} else if (kind == CALL_CONFIRM) {
		if (e == E_OK)
			keep(hsm);
		hsm->done.confirm(hsm->arg, e, "as told");
	} else {
		if (e == E_OK)
			hsm->remembered = hsm->note;
		hsm->remembers = hsm->remembers || e == E_OK;
		hsm->done.note(hsm->arg, e, "as told");
	}
}

/* ---- csrd ---- */

struct fixture {
	struct event_base *base;
	struct store *store;
	struct hsm hsm;
	struct hsm *hsms[1];
	struct vouch *vouch;
};

static void open_vouch(struct fixture *f)
{
	const struct vouch_options options = {
	    .base = f->base, .store = f->store, .hsms = f->hsms, .hsms_len = 1};

	assert_int_equal(vouch_new(&options, &f->vouch), E_OK);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->base = event_base_new();
	f->hsms[0] = &f->hsm;
	assert_int_equal(store_memory_open("vouch", &f->store), E_OK);
	open_vouch(f);
	*state = f;
	return 0;
}

static void close_vouch(struct fixture *f)
{
	vouch_stop(f->vouch);
	store_on_commit(f->store, NULL, NULL);
	vouch_free(f->vouch);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close_vouch(f);
	store_close(f->store);
	store_memory_forget();
	event_base_free(f->base);
	free(f);
	return 0;
}

/* The link comes up, until it is accepted or declined. */
static void hello(struct fixture *f)
{
	uint64_t patience = clock_ms() + WAIT_MS;

	f->hsm.up = false;
	f->hsm.declined[0] = f->hsm.order[0] = '\0';
	vouch_hello(f->vouch, &f->hsm);
	while (!f->hsm.up && !f->hsm.declined[0]) {
		struct pollfd p = {.fd = store_fd(f->store), .events = POLLIN};

		assert_true(clock_ms() < patience);
		if (f->hsm.call)
			answer(&f->hsm);
		else if (poll(&p, 1, 10) > 0)
			store_dispatch(f->store);
	}
}

static void on_done(void *arg, enum err e)
{
	bool *done = arg;

	assert_int_equal(e, E_OK);
	*done = true;
}

static void commit_something(struct fixture *f, const char *account_id)
{
	struct account_record account = {.name = (char[]){""}, .csr_quota = STORE_NO_LIMIT};
	struct audit_origin origin = {.actor = "test"};
	bool done = false;

	snprintf(account.id, sizeof(account.id), "%s", account_id);
	store_account_add(f->store, &account, &origin, on_done, &done);
	store_wait(f->store, &done);
}

static void use_keys(struct fixture *f, unsigned from, unsigned to)
{
	for (unsigned n = from; n < to; n++)
		f->hsm.used[n] = true;
}

/* A store that the signer never saw, such as a copy: keys are kept, and only then is it told. */
static void a_store_that_is_new_to_the_signer_destroys_nothing(void **state)
{
	struct fixture *f = *state;

	use_keys(f, 0, 7);
	hello(f);
	assert_true(f->hsm.up);
	assert_int_equal(f->hsm.kept, 7);
	assert_string_equal(f->hsm.order, "ucucucn");
}

static void a_store_that_went_back_destroys_nothing(void **state)
{
	struct fixture *f = *state;

	hello(f);
	assert_string_equal(f->hsm.order, "un");
	f->hsm.remembered.sequence += 5; /* csrd went on, and what it wrote then is lost */
	use_keys(f, 2, 4);
	close_vouch(f);
	open_vouch(f); /* a restart */
	hello(f);
	assert_true(f->hsm.up);
	assert_int_equal(f->hsm.kept, 2);
	assert_string_equal(f->hsm.order, "ucn");
}

/* Reconciliation settles them. */
static void of_a_store_that_is_vouched_for_nothing_is_kept(void **state)
{
	struct fixture *f = *state;

	hello(f);
	use_keys(f, 0, 4);
	commit_something(f, "one");
	close_vouch(f);
	open_vouch(f);
	hello(f);
	assert_true(f->hsm.up);
	assert_string_equal(f->hsm.order, "n");
	assert_int_equal(f->hsm.kept, 0);
}

/* The store was in our hands all the while. */
static void a_signer_that_forgot_while_csrd_ran_keeps_nothing(void **state)
{
	struct fixture *f = *state;

	hello(f);
	f->hsm.remembers = false;
	use_keys(f, 0, 1);
	hello(f);
	assert_true(f->hsm.up);
	assert_string_equal(f->hsm.order, "n");
	assert_true(f->hsm.used[0]);
}

/* The link is not used before they are kept, though the rows are set aside by then; also after a restart. */
static void a_signer_that_cannot_keep_is_declined(void **state)
{
	static const enum call_kind kinds[] = {CALL_UNSETTLED, CALL_CONFIRM};
	struct fixture *f = *state;

	use_keys(f, 0, 2);
	for (unsigned i = 0; i < 4; i++) {
		memset(f->hsm.fail, 0, sizeof(f->hsm.fail));
		f->hsm.fail[kinds[i % 2]] = E_UNAVAIL;
		if (i >= 2) {
			close_vouch(f);
			open_vouch(f);
		}
		hello(f);
		assert_false(f->hsm.up);
		assert_non_null(strstr(f->hsm.declined, "keys"));
		assert_false(f->hsm.remembers);
		assert_int_equal(f->hsm.kept, 0);
	}
	memset(f->hsm.fail, 0, sizeof(f->hsm.fail));
	hello(f);
	assert_true(f->hsm.up);
	assert_int_equal(f->hsm.kept, 2);
}

/* J11: while the link was down the signer worked for another store: what is unsettled may be that one's. */
static void a_signer_that_worked_for_another_store_destroys_nothing(void **state)
{
	struct fixture *f = *state;

	for (unsigned restart = 0; restart < 2; restart++) {
		hello(f);
		assert_true(f->hsm.up);
		f->hsm.remembered.lineage[0] ^= 1;
		use_keys(f, restart, restart + 1);
		if (restart) {
			close_vouch(f);
			open_vouch(f);
		}
		hello(f);
		assert_true(f->hsm.up);
		assert_int_equal(f->hsm.kept, restart + 1);
		assert_string_equal(f->hsm.order, "ucn");
	}
}

/* As long as it works for another: our rows are set aside once, however often it is tried. */
static void a_signer_that_works_for_another_store_is_declined(void **state)
{
	struct fixture *f = *state;
	unsigned asked;

	f->hsm.fail[CALL_NOTE] = E_DENIED;
	hello(f);
	assert_false(f->hsm.up);
	assert_string_equal(f->hsm.order, "un");
	asked = f->hsm.calls[CALL_UNSETTLED];
	for (unsigned i = 0; i < 3; i++) {
		hello(f);
		assert_false(f->hsm.up);
		assert_non_null(strstr(f->hsm.declined, "as told"));
	}
	assert_int_equal(f->hsm.calls[CALL_UNSETTLED], asked);
	f->hsm.fail[CALL_NOTE] = E_OK;
	use_keys(f, 0, 1); /* the other's, which has gone now */
	hello(f);
	assert_true(f->hsm.up);
	assert_int_equal(f->hsm.kept, 1);
	assert_string_equal(f->hsm.order, "nucn");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_store_that_is_new_to_the_signer_destroys_nothing),
	    T(a_store_that_went_back_destroys_nothing),
	    T(of_a_store_that_is_vouched_for_nothing_is_kept),
	    T(a_signer_that_forgot_while_csrd_ran_keeps_nothing),
	    T(a_signer_that_cannot_keep_is_declined),
	    T(a_signer_that_worked_for_another_store_destroys_nothing),
	    T(a_signer_that_works_for_another_store_is_declined),
	};

	return cmocka_run_group_tests_name("vouch", tests, NULL, NULL);
}
