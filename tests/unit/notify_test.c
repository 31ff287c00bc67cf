/* SPDX-License-Identifier: Apache-2.0 */
/* How csrd sees its signers and its store, as the service manager is told by it. */
#include "tests/unit/cmocka_all.h"

#include "daemon/notify.h"

#include "base/clock.h"
#include "hsm/hsm.h"
#include "store/store.h"
#include "systemd/service.h"
#include "tests/fakes/hsm_fake.h"
#include "tests/fakes/store_memory.h"

#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BOUND_MS 10000
#define WATCHDOG_USEC "400000"
#define HEARD_BYTES 65536

static int manager = -1;

struct world {
	struct event_base *base;
	struct event *store_event;
	struct store *store;
	struct hsm *hsms[2];
	struct notify *notify;
	char heard[HEARD_BYTES]; /* all messages, each with a newline before and behind it */
	size_t heard_len;
};

/* ---- the world ---- */

static void on_store(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;

	(void)fd;
	(void)what;
	store_dispatch(w->store);
}

static void on_link(void *arg, struct hsm *hsm, bool up)
{
	struct world *w = arg;

	(void)up;
	notify_link(w->notify, hsm);
}

static int set_up(void **state)
{
	static const char *const names[] = {"default", "second"};
	struct world *w = calloc(1, sizeof(*w));
	struct notify_options options = {.hsms = w->hsms, .hsms_len = 2};

	w->base = event_base_new();
	assert_int_equal(store_memory_open("notify", &w->store), E_OK);
	w->store_event = event_new(w->base, store_fd(w->store), EV_READ | EV_PERSIST, on_store, w);
	event_add(w->store_event, NULL);
	for (int i = 0; i < 2; i++) {
		w->hsms[i] = hsm_fake_new(names[i]);
		hsm_fake_on_link(w->hsms[i], on_link, w);
	}
	hsm_fake_set_up(w->hsms[0], false);
	options.base = w->base;
	options.store = w->store;
	assert_int_equal(notify_new(&options, &w->notify), E_OK);
	*state = w;
	return 0;
}

static void hear(struct world *w, int wait_ms)
{
	struct pollfd p = {.fd = manager, .events = POLLIN};

	while (poll(&p, 1, wait_ms) > 0) {
		ssize_t len;

		assert_true(w->heard_len + 4096 < HEARD_BYTES);
		w->heard[w->heard_len++] = '\n';
		len = recv(manager, w->heard + w->heard_len, 4000, 0);
		assert_true(len > 0);
		w->heard_len += (size_t)len;
		w->heard[w->heard_len++] = '\n';
		w->heard[w->heard_len] = '\0';
		wait_ms = 0;
	}
}

static int tear_down(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 2; i++)
		hsm_free(w->hsms[i]);
	event_free(w->store_event);
	store_close(w->store);
	notify_free(w->notify);
	event_base_free(w->base);
	service_close();
	hear(w, 50); /* nothing is left for the next test */
	store_memory_forget();
	free(w);
	return 0;
}

static void turn(struct world *w)
{
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	for (int i = 0; i < 2; i++)
		hsm_fake_run(w->hsms[i]);
	hear(w, 5);
}

static void forget(struct world *w)
{
	w->heard_len = 0;
	w->heard[0] = '\0';
}

/* Lets time pass until the text was heard. */
static void expect(struct world *w, const char *text)
{
	uint64_t until = clock_ms() + BOUND_MS;

	while (!strstr(w->heard, text)) {
		if (clock_ms() > until) {
			print_error("not heard: %s\nbut: %s\n", text, w->heard);
			fail();
		}
		turn(w);
	}
}

static void pass(struct world *w, uint64_t ms)
{
	uint64_t until = clock_ms() + ms;

	while (clock_ms() < until)
		turn(w);
}

static void be_ready(struct world *w)
{
	pass(w, 50); /* the second one has answered */
	hsm_fake_set_up(w->hsms[0], true);
	expect(w, "\nREADY=1\nSTATUS=serving; token default up; token second up\n");
	forget(w);
}

/* ---- tests ---- */

static void ready_waits_for_the_first_token(void **state)
{
	struct world *w = *state;

	expect(w, "\nSTATUS=waiting for signer 'default': told to be down\n");
	expect(w, "\nEXTEND_TIMEOUT_USEC=60000000\n");
	hsm_fake_set_usable(w->hsms[0], false);
	hsm_fake_set_up(w->hsms[0], true);
	pass(w, 100);
	assert_null(strstr(w->heard, "READY=1"));
	hsm_fake_set_usable(w->hsms[0], true); /* which it finds out by itself */
	expect(w, "\nREADY=1\nSTATUS=serving; token default up; token second up\n");
	forget(w);
	hsm_fake_set_up(w->hsms[1], false);
	expect(w, "\nSTATUS=serving; token default up; token second down: told to be down\n");
	hsm_fake_set_up(w->hsms[0], false);
	expect(w, "\nSTATUS=serving; token default down: told to be down; token second down");
	hsm_fake_set_up(w->hsms[0], true);
	hsm_fake_set_up(w->hsms[1], true);
	expect(w, "\nSTATUS=serving; token default up; token second up\n");
	assert_null(strstr(w->heard, "READY=1"));
	assert_null(strstr(w->heard, "EXTEND"));
}

static void a_signer_that_is_busy_is_not_down(void **state)
{
	struct world *w = *state;

	be_ready(w);
	hsm_fake_script(w->hsms[0], HSM_FAKE_STATUS, E_BUSY, false);
	notify_link(w->notify, w->hsms[0]);
	pass(w, 50);
	assert_null(strstr(w->heard, "STATUS"));
	hsm_fake_script(w->hsms[0], HSM_FAKE_STATUS, E_UNAVAIL, false);
	notify_link(w->notify, w->hsms[0]);
	expect(w, "\nSTATUS=serving; token default down: ");
}

static void a_store_that_fails_is_told_of(void **state)
{
	struct world *w = *state;

	expect(w, "\nSTATUS=waiting for");
	forget(w);
	store_memory_fail(STORE_MEMORY_READ, E_BUSY, 1); /* locked for a moment */
	pass(w, 1200);
	assert_null(strstr(w->heard, "failing"));
	store_memory_fail(STORE_MEMORY_READ, E_STORE, 1);
	expect(w, "; store: ");
	expect(w, "told to be down\n"); /* over */
}

static void on_ping(void *arg, enum err e)
{
	(void)e;
	*(bool *)arg = true;
}

static void the_watchdog_is_not_fed_while_the_store_hangs(void **state)
{
	struct world *w = *state;
	bool pinged = false;

	be_ready(w);
	expect(w, "\nWATCHDOG=1\n");
	store_memory_pause();
	store_ping(w->store, on_ping, &pinged);
	store_memory_wait_paused();
	pass(w, 500); /* more than the watchdog's interval */
	assert_true(store_at_work_ms(w->store) >= 400);
	forget(w);
	pass(w, 500);
	assert_null(strstr(w->heard, "WATCHDOG"));
	store_memory_resume();
	expect(w, "\nWATCHDOG=1\n");
	assert_true(pinged);
	pass(w, 20);
	assert_int_equal(store_at_work_ms(w->store), 0);
}

static void a_reload_ends_with_ready_once_it_was_ready(void **state)
{
	struct world *w = *state;
	struct buf problems;

	buf_init(&problems, 256);
	buf_put_str(&problems, "x.conf:3: bad\nx.conf:4: worse\n");
	notify_reloading(w->notify);
	notify_reloaded(w->notify, &problems);
	expect(w, "Z, the old configuration stays: x.conf:3: bad\n");
	assert_null(strstr(w->heard, "RELOADING"));
	assert_null(strstr(w->heard, "READY"));
	notify_reloaded(w->notify, NULL);
	hsm_fake_set_up(w->hsms[0], true);
	expect(w, "\nREADY=1\nSTATUS=serving; token default up; token second up; configuration reloaded at ");
	forget(w);
	notify_reloading(w->notify);
	notify_reloaded(w->notify, &problems);
	expect(w, "\nREADY=1\nSTATUS=serving; token default up; token second up; reload refused at ");
	assert_non_null(strstr(w->heard, "\nRELOADING=1\nMONOTONIC_USEC="));
	assert_null(strstr(w->heard, "worse"));
	buf_release(&problems);
}

static void nothing_but_food_follows_stopping(void **state)
{
	struct world *w = *state;

	be_ready(w);
	notify_stopping(w->notify, 3, 20000);
	expect(w, "\nSTOPPING=1\nSTATUS=stopping: 3 requests in flight\n");
	assert_non_null(strstr(w->heard, "\nEXTEND_TIMEOUT_USEC=35000000\n"));
	forget(w);
	hsm_fake_set_up(w->hsms[0], false);
	notify_reloaded(w->notify, NULL);
	expect(w, "\nWATCHDOG=1\n");
	pass(w, 50);
	assert_null(strstr(w->heard, "STATUS"));
}

/* A process has one manager, and it is asked for once. */
static int open_manager(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "@csrd-notify-test-%d", (int)getpid());
	memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(manager, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", WATCHDOG_USEC, 1);
	unsetenv("WATCHDOG_PID");
	unsetenv("LISTEN_FDS");
	return service_open() == E_OK ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(ready_waits_for_the_first_token),
	    TEST(a_signer_that_is_busy_is_not_down),
	    TEST(a_store_that_fails_is_told_of),
	    TEST(the_watchdog_is_not_fed_while_the_store_hangs),
	    TEST(a_reload_ends_with_ready_once_it_was_ready),
	    TEST(nothing_but_food_follows_stopping),
	};

	return cmocka_run_group_tests(tests, open_manager, NULL);
}
