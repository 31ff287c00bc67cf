/* SPDX-License-Identifier: Apache-2.0 */
/* base: buffers, secrets, files, locks, sockets, the log line. */
#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/secret.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/csrd-base-test-XXXXXX";

static int enter_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
	static const char *const made[] = {"pin",  "sock", "sock.lock", "file",
					   "lock", "log",  "journal",   "sink"};

	(void)state;
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		unlink(made[i]);
	return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), E_OK);
	assert_int_equal(fchmod(fd, mode), 0);
	fd_close(&fd);
	assert_int_equal(fd, -1);
}

static void buf_stops_at_its_ceiling(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	assert_string_equal(buf_text(&b), "");
	buf_put_str(&b, "1234");
	buf_printf(&b, "%d", 5678);
	assert_int_equal(buf_status(&b), E_OK);
	assert_string_equal(buf_text(&b), "12345678");
	buf_put_u8(&b, '9');
	assert_int_equal(buf_status(&b), E_LIMIT);
	assert_string_equal(buf_text(&b), "12345678");
	buf_reset(&b);
	buf_put_str(&b, "abc");
	buf_consume(&b, 2);
	assert_string_equal(buf_text(&b), "c");
	assert_int_equal(buf_status(&b), E_OK);
	buf_release(&b);
}

static void buf_grows_over_many_puts(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100000);
	for (int i = 0; i < 10000; i++)
		buf_put(&b, "0123456789", 10);
	assert_int_equal(buf_status(&b), E_OK);
	assert_int_equal(b.len, 100000);
	assert_memory_equal(b.data + 99990, "0123456789", 10);
	buf_put_u8(&b, 0);
	assert_int_equal(buf_status(&b), E_LIMIT);
	buf_release(&b);
}

static void secret_reads_a_private_file(void **state)
{
	struct secret *s = NULL;

	(void)state;
	write_file("pin", "1234\n", 0640);
	assert_int_equal(secret_read_file("pin", 4, &s), E_OK);
	assert_int_equal(secret_len(s), 4);
	assert_memory_equal(secret_bytes(s), "1234", 4);
	secret_free(s);
	secret_free(NULL);
}

/* F91: a PIN file that others can read is refused. */
static void secret_refuses_bad_files(void **state)
{
	struct secret *s = NULL;

	(void)state;
	assert_int_equal(secret_read_file("absent", 4, &s), E_NOTFOUND);
	write_file("pin", "1234", 0644);
	assert_int_equal(secret_read_file("pin", 4, &s), E_DENIED);
	write_file("pin", "1234", 0620);
	assert_int_equal(secret_read_file("pin", 4, &s), E_DENIED);
	write_file("pin", "12345", 0600);
	assert_int_equal(secret_read_file("pin", 4, &s), E_LIMIT);
	write_file("pin", "\n", 0600);
	assert_int_equal(secret_read_file("pin", 4, &s), E_INVAL);
	assert_int_equal(secret_read_file(".", 4, &s), E_INVAL);
	assert_null(s);
}

static void fd_reads_files_within_the_cap(void **state)
{
	struct buf b;

	(void)state;
	write_file("file", "hello", 0600);
	buf_init(&b, 5);
	assert_int_equal(fd_read_file("file", &b), E_OK);
	assert_string_equal(buf_text(&b), "hello");
	buf_release(&b);
	buf_init(&b, 4);
	assert_int_equal(fd_read_file("file", &b), E_LIMIT);
	assert_int_equal(fd_read_file("absent", &b), E_NOTFOUND);
	buf_release(&b);
}

static void one_process_at_a_time_holds_a_lock(void **state)
{
	int fd = -1, second = -1;

	(void)state;
	assert_int_equal(fd_lock_file("lock", &fd), E_OK);
	assert_int_equal(fd_lock_file("lock", &second), E_EXISTS);
	fd_close(&fd);
	assert_int_equal(fd_lock_file("lock", &second), E_OK);
	fd_close(&second);
}

static void a_live_socket_is_not_taken_and_a_stale_one_is(void **state)
{
	int fd = -1, lock = -1, other = -1, other_lock = -1, client = -1, server;
	struct fd_peer peer;
	struct stat st;

	(void)state;
	assert_int_equal(fd_unix_connect("sock", &client), E_NOTFOUND);
	assert_int_equal(fd_unix_listen("sock", 0660, &fd, &lock), E_OK);
	assert_int_equal(stat("sock", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(fd_unix_listen("sock", 0660, &other, &other_lock), E_EXISTS);
	assert_int_equal(fd_unix_connect("sock", &client), E_OK);
	server = accept(fd, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(fd_unix_peer(server, &peer), E_OK);
	assert_int_equal(peer.uid, getuid());
	assert_int_equal(peer.pid, getpid());
	fd_close(&server);
	fd_close(&client);
	fd_close(&fd);
	fd_close(&lock);
	/* The file is still there, as after a crash. */
	assert_int_equal(fd_unix_connect("sock", &client), E_UNAVAIL);
	assert_int_equal(fd_unix_listen("sock", 0600, &fd, &lock), E_OK);
	fd_close(&fd);
	fd_close(&lock);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	int fd = -1, lock = -1;
	struct buf b;

	(void)state;
	unlink("sock");
	write_file("sock", "precious", 0600);
	assert_int_equal(fd_unix_listen("sock", 0600, &fd, &lock), E_IO);
	buf_init(&b, 100);
	assert_int_equal(fd_read_file("sock", &b), E_OK);
	assert_string_equal(buf_text(&b), "precious");
	buf_release(&b);
}

static void a_socket_path_that_is_too_long_is_refused(void **state)
{
	char path[200];
	int fd = -1, lock = -1;

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_int_equal(fd_unix_listen(path, 0600, &fd, &lock), E_LIMIT);
	assert_int_equal(fd_unix_connect(path, &fd), E_LIMIT);
}

/* F41: one event is one line, whatever a client sent. */
static void a_log_event_is_one_line_of_utf8(void **state)
{
	struct log_context context = {.request_id = "r1", .csr_id = "c1"};
	int saved = dup(STDERR_FILENO), file = open("log", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct buf b;

	(void)state;
	assert_true(saved >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
	unsetenv("JOURNAL_STREAM");
	log_open("prog", LOG_LEVEL_INFO);
	log_write(LOG_LEVEL_WARN, &context, "bad '%s'", "a\nb\x1b[31m\xff\xe2\x80\xae\xc3\xa9");
	/* F120: soft hyphen, a tag, a variation selector of plane 14 */
	log_write(LOG_LEVEL_WARN, NULL, "'%s'", "a\302\255b\xf3\xa0\x81\x81\xf3\xa0\x84\x80\xf0\x9f\x98\x80");
	log_debug("not shown");
	log_err(E_BUSY, "cannot do '%s'", "x");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(file);
	buf_init(&b, 4096);
	assert_int_equal(fd_read_file("log", &b), E_OK);
	assert_non_null(strstr(buf_text(&b), " prog warning: bad 'a\\x0ab\\x1b[31m\\xff\\u202e\xc3\xa9'"
					     " req=r1 csr=c1\n"));
	assert_non_null(strstr(buf_text(&b), " '"
					     "a\\u00ad"
					     "b\\U000e0041\\U000e0100\xf0\x9f\x98\x80'\n"));
	assert_non_null(strstr(buf_text(&b), " prog error: cannot do 'x': busy\n"));
	assert_null(strstr(buf_text(&b), "not shown"));
	buf_release(&b);
}

/* Standard error into a file meanwhile, which is named as the journal when `journal` is set. */
static void log_into(const char *path, bool journal, void (*body)(void))
{
	int saved = dup(STDERR_FILENO), file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char stream[64] = "8:123456789";
	struct stat st;

	assert_true(saved >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
	assert_int_equal(fstat(file, &st), 0);
	if (journal)
		snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("prog", LOG_LEVEL_INFO);
	body();
	unsetenv("JOURNAL_STREAM");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(file);
}

static void say_one_thing(void)
{
	log_warn("one thing");
}

/* JOURNAL_STREAM is inherited by programs that log elsewhere. */
static void only_a_journal_gets_priorities(void **state)
{
	struct buf b;

	(void)state;
	log_into("journal", true, say_one_thing);
	assert_true(log_is_to_journal());
	buf_init(&b, 4096);
	assert_int_equal(fd_read_file("journal", &b), E_OK);
	assert_string_equal(buf_text(&b), "<4>one thing\n");
	buf_reset(&b);
	log_into("file", false, say_one_thing);
	assert_false(log_is_to_journal());
	assert_int_equal(fd_read_file("file", &b), E_OK);
	assert_non_null(strstr(buf_text(&b), "Z prog warning: one thing\n"));
	buf_release(&b);
}

static unsigned sink_events;
static bool sink_takes;

static bool sink(const struct log_event *event)
{
	sink_events++;
	assert_int_equal(event->level, LOG_LEVEL_ERROR);
	assert_string_equal(event->context->request_id, "r1");
	assert_string_equal(event->context->token, "default");
	assert_string_equal(event->message, "bad '\\x0a' req=r1");
	return sink_takes;
}

static void say_through_a_sink(void)
{
	const struct log_context context = {.request_id = "r1", .token = "default"};

	log_set_sink(sink);
	log_debug("not for anybody");
	for (int i = 0; i < 2; i++) {
		sink_takes = i == 0;
		log_write(LOG_LEVEL_ERROR, &context, "bad '%s'", "\n");
	}
	log_set_sink(NULL);
}

static void what_a_sink_does_not_take_is_not_lost(void **state)
{
	struct buf b;

	(void)state;
	log_into("sink", true, say_through_a_sink);
	assert_int_equal(sink_events, 2);
	buf_init(&b, 4096);
	assert_int_equal(fd_read_file("sink", &b), E_OK);
	assert_string_equal(buf_text(&b), "<3>bad '\\x0a' req=r1\n");
	buf_release(&b);
}

/* F128: what is opened next must not become a standard descriptor; using one fails as before. */
static int open_without_standard(void)
{
	int next;

	for (int fd = 0; fd <= 2; fd++)
		close(fd);
	if (fd_fill_standard() != E_OK)
		return 1;
	next = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (next <= 2)
		return 2;
	return write(1, "x", 1) < 0 && write(2, "x", 1) < 0 && read(0, &next, 1) < 0 ? 0 : 3;
}

static void closed_standard_descriptors_are_filled(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(open_without_standard());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(fd_fill_standard(), E_OK); /* nothing is missing */
}

static void a_gate_lets_one_event_pass(void **state)
{
	struct log_gate gate = {0};
	unsigned suppressed = 9;

	(void)state;
	assert_true(log_gate_pass(&gate, 3600000, &suppressed));
	assert_int_equal(suppressed, 0);
	assert_false(log_gate_pass(&gate, 3600000, &suppressed));
	assert_false(log_gate_pass(&gate, 3600000, &suppressed));
	assert_true(log_gate_pass(&gate, 0, &suppressed));
	assert_int_equal(suppressed, 2);
}

/* ---- a flush that a signal interrupts: this stands before libc's ---- */

static int fsync_errno, fsync_failures;

int fsync(int fd)
{
	if (fsync_failures > 0) {
		fsync_failures--;
		errno = fsync_errno;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

static void a_flush_is_resumed_after_a_signal(void **state)
{
	int fd = open(".", O_RDONLY | O_CLOEXEC);

	(void)state;
	fsync_errno = EINTR;
	fsync_failures = 3;
	assert_int_equal(fd_sync(fd), E_OK);
	assert_int_equal(fsync_failures, 0);
	fsync_errno = EIO;
	fsync_failures = 1;
	assert_int_equal(fd_sync(fd), E_IO);
	assert_int_equal(errno, EIO);
	fd_close(&fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(buf_stops_at_its_ceiling),
	    cmocka_unit_test(buf_grows_over_many_puts),
	    cmocka_unit_test(secret_reads_a_private_file),
	    cmocka_unit_test(secret_refuses_bad_files),
	    cmocka_unit_test(fd_reads_files_within_the_cap),
	    cmocka_unit_test(one_process_at_a_time_holds_a_lock),
	    cmocka_unit_test(a_live_socket_is_not_taken_and_a_stale_one_is),
	    cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
	    cmocka_unit_test(a_socket_path_that_is_too_long_is_refused),
	    cmocka_unit_test(a_log_event_is_one_line_of_utf8),
	    cmocka_unit_test(only_a_journal_gets_priorities),
	    cmocka_unit_test(what_a_sink_does_not_take_is_not_lost),
	    cmocka_unit_test(closed_standard_descriptors_are_filled),
	    cmocka_unit_test(a_flush_is_resumed_after_a_signal),
	    cmocka_unit_test(a_gate_lets_one_event_pass),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
