/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What daemon/reconciler.c says in the log of the passes that it runs (F107):
 * the first few of each kind and a count, and what stays as it is only once.
 * The passes are this test's: they find what they are told to.
 */
#include "tests/unit/cmocka_all.h"

#include "api/api.h"
#include "api/reconcile.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/reconciler.h"
#include "hsm/hsm.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#define WAIT_MS 20000

/* ---- a pass that finds what it is told to ---- */

struct found {
	enum reconcile_finding finding;
	unsigned from, to; /* numbers in the labels, `to` excluded; backwards when from > to */
};

static struct found finds[4];
static unsigned passes;
static struct reconcile_options pass_options;
static reconcile_done_fn pass_done;
static struct event *pass_event;

static void find(enum reconcile_finding finding, unsigned number, struct reconcile_report *report)
{
	char id[CSR_ID_SIZE], label[64];

	snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012u", number);
	snprintf(label, sizeof(label), "csrd:%s", id);
	if (finding == RECONCILE_MISSING)
		report->missing++;
	else if (finding == RECONCILE_UNKNOWN)
		report->unknown++;
	else
		report->pending++;
	pass_options.on_finding(pass_options.arg, finding, id, label, MESSAGE_KEY_NONE);
}

static void on_pass(evutil_socket_t fd, short what, void *arg)
{
	struct reconcile_report report = {.compared = true, .compare_again = true};

	(void)fd, (void)what, (void)arg;
	for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++) {
		if (finds[i].from <= finds[i].to)
			for (unsigned n = finds[i].from; n < finds[i].to; n++)
				find(finds[i].finding, n, &report);
		else
			for (unsigned n = finds[i].from; n-- > finds[i].to;)
				find(finds[i].finding, n, &report);
	}
	passes++;
	pass_done(pass_options.arg, E_OK, &report);
}

enum err reconcile_start(const struct reconcile_options *options, reconcile_done_fn done)
{
	const struct timeval now = {0, 0};

	assert_true(options->vouched);
	pass_options = *options;
	pass_done = done;
	event_add(pass_event, &now);
	return E_OK;
}

const char *reconcile_finding_name(enum reconcile_finding finding)
{
	return finding == RECONCILE_MISSING   ? "missing"
	       : finding == RECONCILE_UNKNOWN ? "unknown"
					      : "pending";
}

bool api_works_on(const struct api *api, const char *csr_id)
{
	(void)api, (void)csr_id;
	return false;
}

bool hsm_is_up(const struct hsm *hsm)
{
	return hsm != NULL;
}

const char *hsm_token_name(const struct hsm *hsm)
{
	(void)hsm;
	return "default";
}

/* ---- the log ---- */

static struct {
	unsigned named, more, counts;
	char last_named[256];
} lines;

static bool take_line(const struct log_event *event)
{
	if (event->level == LOG_LEVEL_DEBUG)
		return true;
	if (strstr(event->message, ", key '")) {
		lines.named++;
		snprintf(lines.last_named, sizeof(lines.last_named), "%s", event->message);
	} else if (strstr(event->message, " more that are ")) {
		lines.more++;
	} else if (strstr(event->message, " checked, ")) {
		lines.counts++;
	}
	return true;
}

/* ---- passes ---- */

static struct event_base *base;
static struct reconciler *reconciler;

static int set_up(void **state)
{
	static struct config config;
	static struct hsm *hsms[1];
	static struct store *store;
	const struct reconciler_options options = {
	    .config = &config, .store = store, .hsms = hsms, .hsms_len = 1};

	(void)state;
	config.store.url = (char *)(uintptr_t) "sqlite:/nowhere";
	hsms[0] = (struct hsm *)&lines; /* any: it is never looked into */
	memset(finds, 0, sizeof(finds));
	passes = 0;
	base = event_base_new();
	pass_event = evtimer_new(base, on_pass, NULL);
	assert_int_equal(reconciler_new(base, &options, &reconciler), E_OK);
	log_set_sink(take_line);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_set_sink(NULL);
	reconciler_stop(reconciler);
	reconciler_free(reconciler);
	event_free(pass_event);
	event_base_free(base);
	return 0;
}

/* One pass with a comparison: the reports of this test always ask for another. */
static void one_pass(void)
{
	unsigned before = passes;
	uint64_t patience = clock_ms() + WAIT_MS;

	memset(&lines, 0, sizeof(lines));
	reconciler_want(reconciler);
	while (passes == before || reconciler_runs(reconciler)) {
		assert_true(clock_ms() < patience);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

static void what_stays_is_said_once_and_again_when_it_changes(void **state)
{
	(void)state;
	finds[0] = (struct found){RECONCILE_MISSING, 0, 300};
	finds[1] = (struct found){RECONCILE_UNKNOWN, 1000, 1003};
	one_pass();
	assert_int_equal(lines.named, 5 + 3);
	assert_int_equal(lines.more, 1);
	assert_int_equal(lines.counts, 1);
	one_pass();
	assert_int_equal(lines.named + lines.more + lines.counts, 0);
	/* Another order is no change. */
	finds[0] = (struct found){RECONCILE_MISSING, 300, 0};
	one_pass();
	assert_int_equal(lines.named + lines.more + lines.counts, 0);
	/* As many, and others. */
	finds[1] = (struct found){RECONCILE_UNKNOWN, 1001, 1004};
	one_pass();
	assert_int_equal(lines.named, 3);
	assert_int_equal(lines.more, 0);
	finds[0] = (struct found){RECONCILE_MISSING, 0, 2};
	one_pass();
	assert_int_equal(lines.named, 2);
	assert_int_equal(lines.more, 0);
	assert_int_equal(lines.counts, 1);
	memset(finds, 0, sizeof(finds));
	one_pass();
	assert_int_equal(lines.named + lines.more + lines.counts, 0);
	finds[0] = (struct found){RECONCILE_MISSING, 0, 2};
	one_pass();
	assert_int_equal(lines.named, 2);
}

static void what_was_settled_is_said_each_time_and_not_all_of_it(void **state)
{
	(void)state;
	finds[0] = (struct found){RECONCILE_PENDING, 0, 40};
	for (unsigned i = 0; i < 2; i++) {
		one_pass();
		assert_int_equal(lines.named, 5);
		assert_int_equal(lines.more, 1);
		assert_int_equal(lines.counts, 1);
		assert_non_null(
		    strstr(lines.last_named, "pending, key 'csrd:00000000-0000-4000-8000-000000000004'"));
	}
}

/* J6: a signer that is at work still uses a key after it told which are unsettled. */
static void a_pass_is_followed_by_another(void **state)
{
	uint64_t patience = clock_ms() + WAIT_MS, began_ms;

	(void)state;
	one_pass();
	began_ms = clock_ms();
	while (passes < 2) {
		assert_true(clock_ms() < patience);
		event_base_loop(base, EVLOOP_ONCE);
	}
	assert_true(clock_ms() - began_ms >= 4000); /* and not at once */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_stays_is_said_once_and_again_when_it_changes, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(what_was_settled_is_said_each_time_and_not_all_of_it, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_pass_is_followed_by_another, set_up, tear_down),
	};

	log_open("reconciler_test", LOG_LEVEL_INFO);
	return cmocka_run_group_tests_name("reconciler", tests, NULL, NULL);
}
