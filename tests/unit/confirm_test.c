/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon/confirm.h (J6): which keys the signers are told of, and when: many at once, soon, and
 * before the end.
 */
#include "tests/unit/cmocka_all.h"

#include "base/clock.h"
#include "daemon/confirm.h"
#include "tests/fakes/hsm_fake.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#define WAIT_MS 20000

struct fixture {
	struct event_base *base;
	struct hsm *hsms[2];
	struct confirm *confirm;
	unsigned lost;
	bool flushed;
};

static const char *id_of(unsigned n)
{
	static char id[CSR_ID_SIZE];

	snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012u", n);
	return id;
}

static void on_lost(void *arg)
{
	struct fixture *f = arg;

	f->lost++;
}

static void on_flushed(void *arg)
{
	struct fixture *f = arg;

	assert_false(f->flushed);
	f->flushed = true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct confirm_options options = {.hsms = f->hsms, .hsms_len = 2, .on_lost = on_lost, .arg = f};

	f->base = options.base = event_base_new();
	f->hsms[0] = hsm_fake_new("one");
	f->hsms[1] = hsm_fake_new("two");
	assert_int_equal(confirm_new(&options, &f->confirm), E_OK);
	*state = f;
	return 0;
}

/* In the order of csrd's end: what is in flight ends in hsm_free. */
static int tear_down(void **state)
{
	struct fixture *f = *state;

	confirm_stop(f->confirm);
	hsm_free(f->hsms[0]);
	hsm_free(f->hsms[1]);
	confirm_free(f->confirm);
	event_base_free(f->base);
	free(f);
	return 0;
}

static void used(struct fixture *f, unsigned hsm, unsigned n)
{
	hsm_fake_put_unsettled(f->hsms[hsm], id_of(n));
	confirm_add(f->confirm, f->hsms[hsm], hsm_fake_key_label(f->hsms[hsm], id_of(n)));
}

static unsigned calls(const struct fixture *f, unsigned hsm)
{
	return hsm_fake_calls(f->hsms[hsm], HSM_FAKE_CONFIRM);
}

static void wait_for_calls(struct fixture *f, unsigned hsm, unsigned wanted)
{
	uint64_t patience = clock_ms() + WAIT_MS;

	while (calls(f, hsm) < wanted) {
		assert_true(clock_ms() < patience);
		event_base_loop(f->base, EVLOOP_ONCE);
	}
}

static void keys_are_gathered(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 10; n++)
		used(f, n % 2, n);
	assert_int_equal(calls(f, 0) + calls(f, 1), 0);
	wait_for_calls(f, 0, 1);
	wait_for_calls(f, 1, 1);
	assert_int_equal(calls(f, 0) + calls(f, 1), 2);
	hsm_fake_run(f->hsms[0]);
	hsm_fake_run(f->hsms[1]);
	for (unsigned n = 0; n < 10; n++)
		assert_false(hsm_fake_is_unsettled(f->hsms[n % 2], id_of(n)));
	assert_int_equal(f->lost, 0);
	assert_int_equal(hsm_fake_kept(f->hsms[0]), 0);
}

static void many_do_not_wait(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 200; n++)
		used(f, 0, n);
	assert_int_equal(calls(f, 0), 3);
	wait_for_calls(f, 0, 4);
	hsm_fake_run(f->hsms[0]);
	for (unsigned n = 0; n < 200; n++)
		assert_false(hsm_fake_is_unsettled(f->hsms[0], id_of(n)));
}

static void what_is_lost_is_left_to_reconciliation(void **state)
{
	struct fixture *f = *state;

	hsm_fake_script(f->hsms[0], HSM_FAKE_CONFIRM, E_UNAVAIL, false);
	used(f, 0, 1);
	wait_for_calls(f, 0, 1);
	hsm_fake_run(f->hsms[0]);
	assert_int_equal(f->lost, 1);
	assert_true(hsm_fake_is_unsettled(f->hsms[0], id_of(1)));
}

static void the_end_waits_for_the_signers(void **state)
{
	struct fixture *f = *state;

	used(f, 0, 1);
	used(f, 1, 2);
	confirm_flush(f->confirm, on_flushed, f);
	assert_int_equal(calls(f, 0) + calls(f, 1), 2);
	hsm_fake_run(f->hsms[0]);
	assert_false(f->flushed);
	hsm_fake_run(f->hsms[1]);
	assert_true(f->flushed);
}

static void the_end_waits_for_nothing(void **state)
{
	struct fixture *f = *state;

	confirm_flush(f->confirm, on_flushed, f);
	assert_true(f->flushed);
}

static void the_end_does_not_wait_for_a_signer_that_hangs(void **state)
{
	struct fixture *f = *state;
	uint64_t patience = clock_ms() + WAIT_MS;

	used(f, 0, 1);
	confirm_flush(f->confirm, on_flushed, f);
	while (!f->flushed) {
		assert_true(clock_ms() < patience);
		event_base_loop(f->base, EVLOOP_ONCE);
	}
	assert_true(hsm_fake_is_unsettled(f->hsms[0], id_of(1)));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(keys_are_gathered),
	    T(many_do_not_wait),
	    T(what_is_lost_is_left_to_reconciliation),
	    T(the_end_waits_for_the_signers),
	    T(the_end_waits_for_nothing),
	    T(the_end_does_not_wait_for_a_signer_that_hangs),
	};

	return cmocka_run_group_tests_name("confirm", tests, NULL, NULL);
}
