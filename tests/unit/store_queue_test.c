/* SPDX-License-Identifier: Apache-2.0 */
/* The queue, over the engine of the tests, which stands still and fails on order. */
#include "tests/contract/store_contract.h"
#include "tests/fakes/store_memory.h"
#include "tests/unit/cmocka_all.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 600

static struct store *open_store(unsigned queue_max)
{
	struct store_options options = {.url = "memory:queue", .queue_max = queue_max, .create = true};
	struct store *store = NULL;

	assert_int_equal(store_open_engine(&store_memory_engine, &options, &store), E_OK);
	return store;
}

static int set_up(void **state)
{
	struct store *store = open_store(QUEUE_MAX);

	contract_fill(store);
	*state = store;
	return 0;
}

static int tear_down(void **state)
{
	store_memory_resume();
	store_close(*state);
	store_memory_forget();
	return 0;
}

/* The store thread holds one ping and stands; what is called from now on is one batch. */
static void stand(struct store *store, struct contract_done *held)
{
	memset(held, 0, sizeof(*held));
	store_memory_pause();
	store_ping(store, contract_done_fn, held);
	store_memory_wait_paused();
	assert_int_equal(store_queued(store), 0);
}

static void ask_account(struct store *store, const char *id, struct contract_done *d)
{
	struct account_record account = {.csr_quota = 1};

	strcpy(account.id, id);
	memset(d, 0, sizeof(*d));
	store_account_add(store, &account, &contract_origin, contract_done_fn, d);
	assert_false(d->done);
}

static enum err wait_for(struct store *store, const struct contract_done *d)
{
	store_wait(store, &d->done);
	return d->e;
}

static bool is_readable(const struct store *store)
{
	struct pollfd p = {.fd = store_fd(store), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

struct got {
	bool done;
	enum err e;
};

static void got_csr(void *arg, enum err e, struct csr_record *record)
{
	struct got *g = arg;

	csr_record_free(record);
	g->done = true;
	g->e = e;
}

static uint64_t count_times(const struct metric_times *times)
{
	uint64_t count = 0;

	for (size_t i = 0; i <= METRIC_BOUNDS; i++)
		count += times->counts[i];
	return count;
}

static void full_queue_answers_busy_at_once(void **state)
{
	struct store *store = open_store(3);
	struct contract_done held, waiting[3];
	struct contract_begin refused;
	struct store_figures figures;

	(void)state;
	stand(store, &held);
	for (int i = 0; i < 3; i++)
		ask_account(store, (const char *[]){"a", "b", "c"}[i], &waiting[i]);
	assert_int_equal(store_queued(store), 3);
	contract_begin_ask(store, contract_record(1, &contract_account), "k", 1, &refused);
	store_wait(store, &refused.done); /* while the store thread stands */
	assert_int_equal(refused.e, E_BUSY);
	assert_null(refused.record);
	assert_int_equal(store_queued(store), 3);
	store_memory_resume();
	for (int i = 0; i < 3; i++)
		assert_int_equal(wait_for(store, &waiting[i]), E_OK);
	assert_int_equal(store_queued(store), 0);
	refused = contract_begin(store, contract_record(1, &contract_account), "k", 1);
	assert_int_equal(refused.outcome, STORE_BEGIN_NEW);
	contract_begin_release(&refused);
	store_figures(store, &figures); /* F333: four writes in two batches, and the one that was refused */
	assert_int_equal(count_times(&figures.writes), 4);
	assert_int_equal(count_times(&figures.commits), 2);
	assert_int_equal(figures.failed, 1);
	store_close(store);
}

static void fd_is_readable_while_there_are_answers(void **state)
{
	struct store *store = *state;
	struct contract_done held, d;

	stand(store, &held);
	ask_account(store, "a", &d);
	assert_false(is_readable(store));
	store_dispatch(store); /* called without need: nothing comes */
	assert_false(d.done);
	store_memory_resume();
	struct pollfd p = {.fd = store_fd(store), .events = POLLIN};
	while (!d.done) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		store_dispatch(store);
	}
	assert_false(is_readable(store));
}

static void answers_come_in_the_order_of_the_calls(void **state)
{
	struct store *store = *state;
	struct contract_done held, d[20];

	stand(store, &held);
	for (int i = 0; i < 20; i++)
		ask_account(store, "same", &d[i]);
	store_memory_resume();
	for (int i = 19; i >= 0; i--)
		assert_int_equal(wait_for(store, &d[i]), i == 0 ? E_OK : E_EXISTS);
}

static void what_waits_shares_one_transaction(void **state)
{
	struct store *store = *state;
	struct contract_done held, d[300];
	char id[16];
	unsigned before = store_memory_write_commits();

	stand(store, &held);
	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "a%d", i);
		ask_account(store, id, &d[i]);
	}
	store_memory_resume();
	assert_int_equal(wait_for(store, &d[299]), E_OK);
	assert_int_equal(store_memory_write_commits() - before, 2); /* 256 and 44 */
}

static void reads_alone_write_nothing(void **state)
{
	struct store *store = *state;
	unsigned before = store_memory_write_commits();
	struct csr_record *r;

	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_NOTFOUND);
	assert_int_equal(contract_ping(store), E_OK);
	assert_int_equal(store_memory_write_commits(), before);
	assert_in_range(store_memory_read_commits(), 2, 2);
}

static void failing_operation_is_undone_alone(void **state)
{
	struct store *store = *state;
	struct contract_done held, d[3];

	stand(store, &held);
	ask_account(store, "first", &d[0]);
	ask_account(store, "second", &d[1]);
	ask_account(store, "third", &d[2]);
	store_memory_fail(STORE_MEMORY_WRITE, E_STORE, 1); /* the first, after it has written */
	store_memory_resume();
	assert_int_equal(wait_for(store, &d[2]), E_OK);
	assert_int_equal(d[0].e, E_STORE);
	assert_int_equal(d[1].e, E_OK);
	assert_int_equal(contract_account_add(store, "first", 1), E_OK);
	assert_int_equal(contract_account_add(store, "second", 1), E_EXISTS);
	assert_int_equal(contract_account_add(store, "third", 1), E_EXISTS);
}

static void failing_commit_undoes_all_and_reads_see_that(void **state)
{
	struct store *store = *state;
	struct contract_done held, d;
	struct contract_begin first, same_key;
	struct got not_there = {0}, there = {0};

	contract_make_active(store, 1, &contract_account);
	stand(store, &held);
	contract_begin_ask(store, contract_record(2, &contract_account), "k", 1, &first);
	contract_begin_ask(store, contract_record(3, &contract_account), "k", 1, &same_key);
	store_csr_get(store, NULL, contract_id(2), got_csr, &not_there);
	store_csr_get(store, NULL, contract_id(1), got_csr, &there);
	ask_account(store, CONTRACT_ACCOUNT, &d); /* E_EXISTS by itself */
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 1);
	store_memory_resume();
	assert_int_equal(wait_for(store, &d), E_STORE);
	assert_int_equal(first.e, E_STORE);
	assert_null(first.record);
	assert_int_equal(same_key.e, E_STORE); /* not "in flight": the first was not done */
	assert_int_equal(not_there.e, E_NOTFOUND);
	assert_int_equal(there.e, E_OK);
	first = contract_begin(store, contract_record(2, &contract_account), "k", 1);
	assert_int_equal(first.outcome, STORE_BEGIN_NEW);
	contract_begin_release(&first);
}

static void lock_that_cannot_be_had_fails_writes_alone(void **state)
{
	struct store *store = *state;
	struct contract_done held, d;
	struct got there = {0};

	contract_make_active(store, 1, &contract_account);
	stand(store, &held);
	ask_account(store, "a", &d);
	store_csr_get(store, NULL, contract_id(1), got_csr, &there);
	store_memory_fail(STORE_MEMORY_BEGIN, E_BUSY, 1);
	store_memory_resume();
	store_wait(store, &there.done);
	assert_int_equal(there.e, E_OK);
	assert_int_equal(d.e, E_BUSY);
	assert_int_equal(contract_account_add(store, "a", 1), E_OK);
}

static void unsure_commit_is_said_to_all_that_wrote(void **state)
{
	struct store *store = *state;
	struct contract_done held, d[2];
	struct got there = {0};

	contract_make_active(store, 1, &contract_account);
	stand(store, &held);
	ask_account(store, "a", &d[0]);
	ask_account(store, "b", &d[1]);
	store_csr_get(store, NULL, contract_id(1), got_csr, &there);
	store_memory_fail(STORE_MEMORY_COMMIT, E_UNCERTAIN, 1);
	store_memory_resume();
	store_wait(store, &there.done);
	assert_int_equal(d[0].e, E_UNCERTAIN);
	assert_int_equal(d[1].e, E_UNCERTAIN);
	assert_int_equal(there.e, E_OK);
}

static void read_error_is_told_to_its_caller(void **state)
{
	struct store *store = *state;
	struct csr_record *r;

	store_memory_fail(STORE_MEMORY_READ, E_STORE, 2);
	assert_int_equal(contract_ping(store), E_STORE);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_STORE);
	assert_int_equal(contract_ping(store), E_OK);
}

/* Everything that is borrowed for the call is overwritten before the store thread looks. */
static void arguments_are_copied(void **state)
{
	struct store *store = *state;
	char id[CSR_ID_SIZE], actor[] = "the actor", key[] = "the key";
	struct store_csr_move move = {
	    .id = id, .from = CSR_ACTIVE, .to = CSR_DELETING, .origin = {.actor = actor}};
	struct contract_done held, d = {0};
	struct contract_begin b;
	struct csr_record *r;
	char trail[128];
	int64_t last;

	stand(store, &held);
	contract_begin_ask(store, contract_record(1, &contract_account), key, 1, &b);
	strcpy(id, contract_id(1));
	store_csr_move(store, &move, contract_done_fn, &d);
	memset(id, 'x', sizeof(id) - 1);
	memset(actor, 'x', sizeof(actor) - 1);
	memset(key, 'x', sizeof(key) - 1);
	memset(&move, 0, sizeof(move));
	store_memory_resume();
	assert_int_equal(wait_for(store, &d), E_OK);
	contract_begin_release(&b);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_OK);
	assert_int_equal(r->state, CSR_DELETING);
	csr_record_free(r);
	assert_int_equal(contract_audit(store, contract_id(1), trail, sizeof(trail), &last), E_OK);
	assert_string_equal(trail, "csr.active@tester csr.deleting@the actor ");
	b = contract_begin(store, contract_record(2, &contract_account), "the key", 1);
	assert_int_equal(b.outcome, STORE_BEGIN_GONE);
	contract_begin_release(&b);
}

static void close_runs_what_is_queued(void **state)
{
	struct store *store = open_store(QUEUE_MAX);
	struct contract_done d[QUEUE_MAX];
	struct csr_record *r;
	char id[16];

	for (int i = 0; i < QUEUE_MAX; i++) {
		snprintf(id, sizeof(id), "a%d", i);
		ask_account(store, id, &d[i]);
	}
	store_close(store);
	for (int i = 0; i < QUEUE_MAX; i++) {
		assert_true(d[i].done);
		assert_true(d[i].e == E_OK);
	}
	assert_int_equal(contract_get(*state, NULL, contract_id(1), &r), E_NOTFOUND);
	assert_int_equal(contract_account_add(*state, "a599", 1), E_EXISTS);
}

struct chain {
	struct store *store;
	unsigned calls;
	enum err last;
};

static void ask_again(void *arg, enum err e)
{
	struct chain *c = arg;

	c->last = e;
	if (++c->calls < 5)
		store_ping(c->store, ask_again, c);
}

static void callback_may_ask_again(void **state)
{
	struct chain c = {.store = *state};

	store_ping(c.store, ask_again, &c);
	struct pollfd p = {.fd = store_fd(c.store), .events = POLLIN};
	while (c.calls < 5) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		store_dispatch(c.store);
	}
	assert_int_equal(c.last, E_OK);
}

static void call_while_closing_is_unavailable(void **state)
{
	struct store *store = open_store(QUEUE_MAX);
	struct chain c = {.store = store};

	(void)state;
	store_ping(store, ask_again, &c);
	store_close(store);
	assert_int_equal(c.calls, 5);
	assert_int_equal(c.last, E_UNAVAIL);
}

static void open_tells_the_engines_error(void **state)
{
	struct store *store = NULL;

	(void)state;
	store_memory_fail(STORE_MEMORY_OPEN, E_DENIED, 1);
	assert_int_equal(store_memory_open("other", &store), E_DENIED);
	assert_null(store);
	store_close(NULL);
}

/* F116: after a write that failed, usable is what can be written again, and only pings ask for that. */
static void ping_after_a_failed_write_writes(void **state)
{
	struct store *store = *state;
	unsigned before;

	assert_int_equal(contract_account_add(store, "first", 1), E_OK);
	before = store_memory_write_commits();
	assert_int_equal(contract_ping(store), E_OK);
	assert_int_equal(store_memory_write_commits(), before);
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 3);
	assert_int_equal(contract_account_add(store, "second", 1), E_STORE);
	assert_int_equal(contract_ping(store), E_STORE);
	assert_int_equal(contract_ping(store), E_STORE);
	assert_int_equal(contract_ping(store), E_OK);
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 1); /* nothing was wrong: not tried again */
	assert_int_equal(contract_ping(store), E_OK);
	assert_int_equal(contract_account_add(store, "third", 1), E_STORE);
	/* A refusal of what was asked for is none of the database. */
	assert_int_equal(contract_account_add(store, "fourth", 1), E_OK);
	assert_int_equal(contract_account_add(store, "fourth", 1), E_EXISTS);
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 1);
	assert_int_equal(contract_ping(store), E_OK);
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest cases[] = {
	    CASE(full_queue_answers_busy_at_once),
	    CASE(fd_is_readable_while_there_are_answers),
	    CASE(answers_come_in_the_order_of_the_calls),
	    CASE(what_waits_shares_one_transaction),
	    CASE(reads_alone_write_nothing),
	    CASE(failing_operation_is_undone_alone),
	    CASE(failing_commit_undoes_all_and_reads_see_that),
	    CASE(lock_that_cannot_be_had_fails_writes_alone),
	    CASE(unsure_commit_is_said_to_all_that_wrote),
	    CASE(read_error_is_told_to_its_caller),
	    CASE(ping_after_a_failed_write_writes),
	    CASE(arguments_are_copied),
	    CASE(close_runs_what_is_queued),
	    CASE(callback_may_ask_again),
	    CASE(call_while_closing_is_unavailable),
	    CASE(open_tells_the_engines_error),
	};

	return cmocka_run_group_tests_name("store: queue", cases, NULL, NULL);
}
