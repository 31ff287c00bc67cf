/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager is a datagram socket of the test's; the program that
 * talks to it is a child, because a process has one manager.
 */
#include "tests/unit/cmocka_all.h"

#include "systemd/service.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BOUND_MS 10000
#define FAILED 99

/* ---- the manager ---- */

struct manager {
	int fd;
	char path[64];
	pid_t child;
};

static void pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

static void forget_environment(void)
{
	static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC",  "WATCHDOG_PID",  "LISTEN_PID",
					    "LISTEN_FDS",    "LISTEN_FDNAMES", "JOURNAL_STREAM"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}

static void open_manager(struct manager *m)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	/* Abstract: nothing to clean up.  As sd_notify(3) names it. */
	snprintf(m->path, sizeof(m->path), "@csrd-service-test-%d-%p", (int)getpid(), (void *)m);
	memcpy(address.sun_path + 1, m->path + 1, strlen(m->path) - 1);
	m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(m->fd >= 0);
	assert_int_equal(bind(m->fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(m->path))),
			 0);
}

/* body: exits with 0 when all was as it should. */
static void start(struct manager *m, void (*body)(void))
{
	m->child = fork();
	assert_true(m->child >= 0);
	if (m->child == 0) {
		alarm(BOUND_MS / 1000 * 2);
		log_open("test", LOG_LEVEL_DEBUG);
		setenv("NOTIFY_SOCKET", m->path, 1);
		body();
		_exit(0);
	}
}

static void finish(struct manager *m)
{
	int status;

	assert_int_equal(waitpid(m->child, &status, 0), m->child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(m->fd);
}

/* The next message; "" when none comes within ms. */
static void next(const struct manager *m, int ms, char text[2048])
{
	struct pollfd p = {.fd = m->fd, .events = POLLIN};
	ssize_t len;

	text[0] = '\0';
	if (poll(&p, 1, ms) <= 0)
		return;
	len = recv(m->fd, text, 2047, 0);
	assert_true(len >= 0);
	text[len] = '\0';
}

static void expect(const struct manager *m, const char *wanted)
{
	char text[2048];

	next(m, BOUND_MS, text);
	assert_string_equal(text, wanted);
}

/* In a child: ends it when the condition does not hold. */
static void check(bool condition)
{
	if (!condition)
		_exit(FAILED);
}

static void open_service(void)
{
	check(service_open() == E_OK);
}

/* ---- telling ---- */

static void say_all(void)
{
	open_service();
	check(service_is_managed());
	check(service_watchdog_ms() == 0);
	service_status("waiting for '%s'", "x");
	service_close();
	service_status("waiting for '%s'", "x"); /* nothing new */
	service_extend(1500);
	service_close();
	service_ready("serving %d", 7);
	service_close();
	service_status("serving %d", 7); /* said already */
	service_reloading();
	service_close();
	service_ready("serving again");
	service_close();
	service_feed();
	service_close();
	service_stopping("%u in flight", 3U);
	service_close();
}

static void messages_come_as_they_were_told(void **state)
{
	uint64_t before = clock_ms() * 1000;
	struct manager m;
	uint64_t usec = 0;
	char text[2048];

	(void)state;
	open_manager(&m);
	start(&m, say_all);
	expect(&m, "STATUS=waiting for 'x'");
	expect(&m, "EXTEND_TIMEOUT_USEC=1500000");
	expect(&m, "READY=1\nSTATUS=serving 7");
	next(&m, BOUND_MS, text);
	assert_int_equal(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &usec), 1);
	assert_true(usec >= before && usec <= clock_ms() * 1000 + 1000);
	expect(&m, "READY=1\nSTATUS=serving again");
	expect(&m, "WATCHDOG=1");
	expect(&m, "STOPPING=1\nSTATUS=3 in flight");
	finish(&m);
}

static void say_odd_things(void)
{
	char long_text[3000];

	open_service();
	/* A newline would begin another assignment. */
	service_status("a\nREADY=1\x7f\xff\xc3\xa9 \xe2\x80\xae.");
	service_close();
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	long_text[1020] = (char)0xc3;
	long_text[1021] = (char)0xa9;
	long_text[1022] = (char)0xc3; /* cut in the middle of a character */
	long_text[1023] = (char)0xa9;
	service_status("%s", long_text);
	service_close();
}

static void a_status_is_one_line_of_utf8(void **state)
{
	struct manager m;
	char text[2048];

	(void)state;
	open_manager(&m);
	start(&m, say_odd_things);
	expect(&m, "STATUS=a?READY=1??\xc3\xa9 ?.");
	next(&m, BOUND_MS, text);
	assert_int_equal(strlen(text), strlen("STATUS=") + 1023);
	assert_string_equal(text + strlen(text) - 4, "x\xc3\xa9?");
	finish(&m);
}

static void say_more_than_is_read(void)
{
	uint64_t began = clock_ms();

	open_service();
	for (int i = 0; i < 20000; i++) {
		service_status("number %d", i);
		service_feed();
	}
	service_reloading();
	service_ready("the last");
	check(clock_ms() - began < BOUND_MS / 2);
	began = clock_ms();
	service_close(); /* gives up after a second */
	check(clock_ms() - began < BOUND_MS / 2);
}

/* PID 1 that reads no more: nobody waits for it; once it reads again the newest is there, in order. */
static void a_manager_that_does_not_read_holds_nobody_up(void **state)
{
	struct manager m;
	bool reloading = false, ready = false;
	unsigned statuses = 0;
	char text[2048];
	int status;

	(void)state;
	open_manager(&m);
	start(&m, say_more_than_is_read);
	assert_int_equal(waitpid(m.child, &status, 0), m.child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (next(&m, 0, text); text[0] != '\0'; next(&m, 0, text)) {
		statuses += strncmp(text, "STATUS=number", 13) == 0;
		reloading = reloading || strncmp(text, "RELOADING", 9) == 0;
		ready = ready || strncmp(text, "READY", 5) == 0;
	}
	assert_true(statuses > 0 && statuses < 20000);
	assert_false(ready && !reloading);
	close(m.fd);
}

/* ---- the watchdog ---- */

static void be_watched(void)
{
	char pid[16];

	setenv("WATCHDOG_USEC", "2500000", 1);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	open_service();
	check(service_watchdog_ms() == 2500);
	check(!getenv("WATCHDOG_USEC"));
	service_feed();
	service_close();
}

static void be_watched_for_another(void)
{
	setenv("WATCHDOG_USEC", "2500000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	open_service();
	check(service_watchdog_ms() == 0);
	service_status("done");
	service_close();
}

static void the_interval_is_taken_from_the_environment(void **state)
{
	struct manager m;

	(void)state;
	open_manager(&m);
	start(&m, be_watched);
	expect(&m, "WATCHDOG=1");
	finish(&m);
	open_manager(&m);
	start(&m, be_watched_for_another);
	expect(&m, "STATUS=done");
	finish(&m);
}

/* ---- a start that takes long ---- */

static bool answer_of(void *arg)
{
	return *(const bool *)arg;
}

static void go_on(void)
{
	static bool yes = true, no = false;

	open_service();
	service_extend_while(answer_of, &no);
	pause_ms(50);
	service_status("nothing");
	service_close();
	service_extend_while(answer_of, &yes);
	pause_ms(50);
	service_extend_while(NULL, NULL);
	service_close();
	service_status("over");
	service_close();
}

static void a_start_is_extended_while_it_goes_on(void **state)
{
	struct manager m;

	(void)state;
	open_manager(&m);
	start(&m, go_on);
	expect(&m, "STATUS=nothing");
	expect(&m, "EXTEND_TIMEOUT_USEC=30000000");
	expect(&m, "STATUS=over");
	finish(&m);
}

/* ---- nobody to tell ---- */

static void be_alone(void)
{
	const struct service_socket *sockets;

	unsetenv("NOTIFY_SOCKET");
	setenv("WATCHDOG_USEC", "1000000", 1);
	open_service();
	check(!service_is_managed());
	check(service_watchdog_ms() == 0);
	check(service_sockets(&sockets) == 0);
	service_ready("x");
	service_status("x");
	service_reloading();
	service_extend(1);
	service_extend_while(answer_of, NULL);
	service_feed();
	service_stopping("x");
	service_close();
}

static void without_a_manager_nothing_is_said(void **state)
{
	struct manager m;
	char text[2048];

	(void)state;
	open_manager(&m);
	start(&m, be_alone);
	next(&m, 100, text);
	assert_string_equal(text, "");
	finish(&m);
}

static void lose_the_manager(void)
{
	setenv("NOTIFY_SOCKET", "@csrd-service-test-nobody", 1);
	open_service();
	service_ready("x");
	service_close();
	setenv("NOTIFY_SOCKET", "not a path", 1);
	service_status("y");
	service_close();
}

static void a_manager_that_is_gone_is_no_trouble(void **state)
{
	struct manager m;

	(void)state;
	open_manager(&m);
	start(&m, lose_the_manager);
	finish(&m);
}

/* ---- sockets ---- */

static int listening(int domain, int type)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	const struct sockaddr autobind = {.sa_family = AF_UNIX};
	int fd = socket(domain, type, 0);

	if (domain == AF_INET)
		check(bind(fd, (struct sockaddr *)&four, sizeof(four)) == 0);
	else
		check(bind(fd, &autobind, sizeof(sa_family_t)) == 0);
	if (type == SOCK_STREAM)
		check(listen(fd, 8) == 0);
	return fd;
}

static void pass(const int *fds, unsigned len, const char *names)
{
	char number[16];

	for (unsigned i = 0; i < len; i++) {
		int high = fcntl(fds[i], F_DUPFD, 100);

		check(high >= 0);
		close(fds[i]);
		check(dup2(high, 3 + (int)i) == 3 + (int)i || high == 3 + (int)i);
	}
	snprintf(number, sizeof(number), "%u", len);
	setenv("LISTEN_FDS", number, 1);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
}

static void take_named_sockets(void)
{
	const int fds[] = {listening(AF_INET, SOCK_STREAM), listening(AF_UNIX, SOCK_STREAM),
			   listening(AF_INET, SOCK_DGRAM), socket(AF_INET, SOCK_STREAM, 0)};
	const struct service_socket *sockets;
	int domain = -1;

	pass(fds, 4, "http:admin:udp:deaf");
	open_service();
	check(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID"));
	check(!getenv("LISTEN_FDNAMES"));
	check(service_sockets(&sockets) == 4);
	check(strcmp(sockets[0].name, "http") == 0 && sockets[0].fd == 3);
	check(strcmp(sockets[3].name, "deaf") == 0 && sockets[3].fd == 6);
	check(fcntl(3, F_GETFD) & FD_CLOEXEC);
	check(!(fcntl(3, F_GETFL) & O_NONBLOCK));
	check(service_socket_prepare(&sockets[0], &domain) == E_OK && domain == AF_INET);
	check(fcntl(3, F_GETFL) & O_NONBLOCK);
	check(service_socket_prepare(&sockets[1], &domain) == E_OK && domain == AF_UNIX);
	check(service_socket_prepare(&sockets[2], &domain) == E_INVAL);
	check(service_socket_prepare(&sockets[3], &domain) == E_INVAL);
	check(!service_socket_fault(&sockets[0]) && !service_socket_fault(&sockets[1]));
	check(strcmp(service_socket_fault(&sockets[2]), "a datagram socket") == 0);
	check(strcmp(service_socket_fault(&sockets[3]), "a socket that does not listen") == 0);
}

static void take_a_socket_without_a_name(void)
{
	const int fds[] = {listening(AF_UNIX, SOCK_STREAM)};
	const struct service_socket *sockets;

	pass(fds, 1, NULL);
	open_service();
	check(service_sockets(&sockets) == 1);
	check(strcmp(sockets[0].name, "unknown") == 0);
}

static void take_what_is_for_another(void)
{
	const int fds[] = {listening(AF_UNIX, SOCK_STREAM)};
	const struct service_socket *sockets;

	pass(fds, 1, "http");
	setenv("LISTEN_PID", "1", 1);
	open_service();
	check(service_sockets(&sockets) == 0);
}

static void take_nonsense(void)
{
	pass(NULL, 0, NULL);
	setenv("LISTEN_FDS", "many", 1);
	check(service_open() == E_CONFIG);
}

static void take_too_many(void)
{
	int fds[SERVICE_SOCKETS_MAX + 1];

	for (int i = 0; i <= SERVICE_SOCKETS_MAX; i++)
		check((fds[i] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
	for (int i = 0; i <= SERVICE_SOCKETS_MAX; i++)
		fds[i] = fcntl(fds[i], F_DUPFD, 60);
	pass(fds, SERVICE_SOCKETS_MAX + 1, NULL);
	check(service_open() == E_CONFIG);
}

static void sockets_are_handed_over(void **state)
{
	static void (*const bodies[])(void) = {take_named_sockets, take_a_socket_without_a_name,
					       take_what_is_for_another, take_nonsense, take_too_many};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct manager m;

		open_manager(&m);
		start(&m, bodies[i]);
		finish(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages_come_as_they_were_told),
	    cmocka_unit_test(a_status_is_one_line_of_utf8),
	    cmocka_unit_test(a_manager_that_does_not_read_holds_nobody_up),
	    cmocka_unit_test(the_interval_is_taken_from_the_environment),
	    cmocka_unit_test(a_start_is_extended_while_it_goes_on),
	    cmocka_unit_test(without_a_manager_nothing_is_said),
	    cmocka_unit_test(a_manager_that_is_gone_is_no_trouble),
	    cmocka_unit_test(sockets_are_handed_over),
	};

	forget_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
