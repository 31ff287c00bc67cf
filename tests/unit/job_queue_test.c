/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which jobs are taken, which of them fail, and what is counted. */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/serve/job_queue.h"

#include <stdio.h>
#include <string.h>

/* No job here has one. */
void inventory_release(struct inventory *inventory)
{
	(void)inventory;
}

static struct job *put(struct job_queue *queue, enum message_type type, uint32_t request_id)
{
	struct job *job = job_new(request_id % 2, request_id, type);

	assert_non_null(job);
	job->deadline_ms = 1000 + request_id;
	snprintf(job->csr_id, sizeof(job->csr_id), "csr-%u", request_id);
	job_queue_put(queue, job);
	return job;
}

static void expect_taken(struct job_queue *queue, bool creates_only, bool no_lists, uint32_t request_id)
{
	struct job *job = job_queue_take(queue, creates_only, no_lists);

	assert_int_equal(job ? job->request_id : 0, request_id);
	job_free(job);
}

static void expect_done(struct job_queue *queue, enum err result, uint32_t request_id)
{
	struct job *job = job_queue_take_done(queue);

	assert_int_equal(job ? job->request_id : 0, request_id);
	if (job)
		assert_int_equal(job->result, result);
	job_free(job);
}

static void the_next_in_line_is_taken_that_may_be(void **state)
{
	struct job_queue queue;
	struct job *first;

	(void)state;
	job_queue_init(&queue);
	put(&queue, MESSAGE_LIST_KEYS, 1);
	put(&queue, MESSAGE_DESTROY_KEY, 2);
	put(&queue, MESSAGE_LIST_POOLS, 3);
	put(&queue, MESSAGE_CREATE_CSR, 4);
	put(&queue, MESSAGE_FIND_KEY, 5);
	put(&queue, MESSAGE_CREATE_CSR, 6);
	expect_taken(&queue, true, false, 4);
	expect_taken(&queue, false, true, 2);
	expect_taken(&queue, true, true, 6); /* the last one goes */
	put(&queue, MESSAGE_FIND_KEY, 7);
	first = job_queue_take(&queue, false, false);
	assert_int_equal(first->request_id, 1);
	assert_int_equal(queue.waiting_len, 3);
	job_queue_put_back(&queue, first);
	assert_int_equal(queue.waiting_len, 4);
	expect_taken(&queue, true, false, 0);
	expect_taken(&queue, false, false, 1);
	expect_taken(&queue, false, false, 3);
	expect_taken(&queue, false, true, 5);
	expect_taken(&queue, false, true, 7);
	expect_taken(&queue, false, false, 0);
	assert_int_equal(queue.waiting_len, 0);
	assert_true(job_queue_is_empty(&queue));
	job_queue_release(&queue);
}

static bool is_late(const struct job *job, const void *now_ms)
{
	return job->deadline_ms <= *(const uint64_t *)now_ms;
}

static bool is_of_connection(const struct job *job, const void *connection)
{
	return job->connection == *(const uint64_t *)connection;
}

static void those_picked_fail_and_the_others_wait_on(void **state)
{
	const uint64_t never_ms = 0, now_ms = 1002, connection = 1;
	struct job_list left = TAILQ_HEAD_INITIALIZER(left);
	struct job_queue queue;

	(void)state;
	job_queue_init(&queue);
	assert_true(job_queue_deadline_ms(&queue) == UINT64_MAX);
	for (uint32_t id = 1; id <= 5; id++)
		put(&queue, id == 4 ? MESSAGE_INSPECT_KEY : MESSAGE_DESTROY_KEY, id);
	assert_int_equal(job_queue_deadline_ms(&queue), 1001);
	assert_true(job_queue_changes(&queue, "csr-5"));
	assert_false(job_queue_changes(&queue, "csr-4")); /* a look is in nobody's way */
	assert_false(job_queue_changes(&queue, "csr-6"));

	assert_false(job_queue_fail_if(&queue, is_late, &never_ms, E_TIMEOUT, "late"));
	assert_true(job_queue_fail_if(&queue, is_late, &now_ms, E_TIMEOUT, "late"));
	assert_int_equal(queue.waiting_len, 3);
	assert_int_equal(job_queue_deadline_ms(&queue), 1003);
	job_queue_move_if(&queue, is_of_connection, &connection, &left);
	assert_int_equal(queue.waiting_len, 1);
	assert_int_equal(TAILQ_FIRST(&left)->request_id, 3);
	job_list_free(&left);
	assert_true(TAILQ_EMPTY(&left));

	assert_int_equal(queue.failed, 2);
	expect_done(&queue, E_TIMEOUT, 1);
	expect_done(&queue, E_TIMEOUT, 2);
	expect_done(&queue, E_OK, 0);
	assert_false(job_queue_is_empty(&queue)); /* one waits */
	job_queue_release(&queue);                /* and goes with it */
}

static void who_takes_is_woken_once_and_ends_are_counted(void **state)
{
	static const enum message_type types[] = {MESSAGE_CREATE_CSR, MESSAGE_DESTROY_KEY,
						  MESSAGE_DESTROY_KEY, MESSAGE_FIND_KEY};
	struct job_queue queue;

	(void)state;
	job_queue_init(&queue);
	for (uint32_t id = 1; id <= 4; id++)
		put(&queue, types[id - 1], id)->destroyed = id == 2 ? 2 : 0;
	for (uint32_t id = 1; id <= 4; id++)
		assert_int_equal(job_queue_finish(&queue, job_queue_take(&queue, false, false)), id == 1);
	assert_int_equal(queue.created, 1);
	assert_int_equal(queue.destroyed, 1);
	assert_int_equal(queue.failed, 0);
	for (uint32_t id = 1; id <= 4; id++)
		expect_done(&queue, E_OK, id);
	put(&queue, MESSAGE_FIND_KEY, 5);
	assert_true(job_queue_finish(&queue, job_queue_take(&queue, false, false)));
	job_queue_release(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_next_in_line_is_taken_that_may_be),
	    cmocka_unit_test(those_picked_fail_and_the_others_wait_on),
	    cmocka_unit_test(who_takes_is_woken_once_and_ends_are_counted),
	};

	return cmocka_run_group_tests_name("job_queue", tests, NULL, NULL);
}
