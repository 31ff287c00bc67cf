/* SPDX-License-Identifier: Apache-2.0 */
/* The marker of a refused PIN: which PIN it means, what it gives away, what is when it cannot be had. */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/token/pin_guard.h"

#include "base/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERIAL "0123456789abcdef"

struct fixture {
	char folder[64];
	char pin_path[PATH_MAX];
	char marker[PATH_MAX];
	struct state_dir *dir;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[PATH_MAX];

	assert_non_null(f);
	strcpy(f->folder, "/tmp/csrd-pin-guard-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(path, sizeof(path), "%s/state", f->folder);
	snprintf(f->pin_path, sizeof(f->pin_path), "%s/pin", f->folder);
	snprintf(f->marker, sizeof(f->marker), "%s/state/" PIN_GUARD_MARKER, f->folder);
	assert_int_equal(state_dir_open(path, &f->dir), E_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[PATH_MAX];

	state_dir_close(f->dir);
	unlink(f->pin_path);
	unlink(f->marker);
	rmdir(f->marker);
	snprintf(path, sizeof(path), "%s/state/" PIN_GUARD_MARKER ".new", f->folder);
	unlink(path); /* the room for the next one */
	snprintf(path, sizeof(path), "%s/state", f->folder);
	assert_int_equal(rmdir(path), 0); /* nothing else is left in it */
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), E_OK);
	close(fd);
}

/* A fresh file each time, as a service manager makes it. */
static struct secret *pin(const struct fixture *f, const char *text)
{
	struct secret *secret = NULL;

	unlink(f->pin_path);
	write_file(f->pin_path, text);
	assert_int_equal(secret_read_file(f->pin_path, 255, &secret), E_OK);
	return secret;
}

static enum err check(const struct fixture *f, const char *serial, const char *text)
{
	struct secret *secret = pin(f, text);
	unsigned failures = 99;
	enum err e = pin_guard_check(f->dir, serial, f->pin_path, secret, &failures);

	secret_free(secret);
	return e;
}

static void arm(const struct fixture *f, const char *text, enum err expected)
{
	struct secret *secret = pin(f, text);

	assert_int_equal(pin_guard_arm(f->dir, SERIAL, secret), expected);
	secret_free(secret);
}

static void it_means_one_pin_on_one_token(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(check(f, SERIAL, "1234"), E_OK);
	arm(f, "1234", E_OK);
	assert_int_equal(check(f, SERIAL, "1234"), E_PIN);
	assert_int_equal(check(f, SERIAL, "1234\n"), E_PIN); /* the same PIN, in another file */
	assert_int_equal(check(f, SERIAL, "1235"), E_OK);
	assert_int_equal(check(f, SERIAL, "12340"), E_OK);
	assert_int_equal(check(f, "0123456789abcdee", "1234"), E_OK);
	arm(f, "1235", E_OK); /* the next attempt takes its place */
	assert_int_equal(check(f, SERIAL, "1235"), E_PIN);
	pin_guard_disarm(f->dir);
	assert_int_equal(check(f, SERIAL, "1235"), E_OK);
	pin_guard_disarm(f->dir); /* nothing to remove is no mistake */
}

/* Two markers of one PIN have nothing in common, and neither holds more than two bytes derived from it. */
static void it_gives_little_away(void **state)
{
	struct fixture *f = *state;
	struct buf first, second;
	const char *line;
	struct stat st;

	buf_init(&first, 4096);
	buf_init(&second, 4096);
	arm(f, "271828", E_OK);
	assert_int_equal(fd_read_file(f->marker, &first), E_OK);
	arm(f, "271828", E_OK);
	assert_int_equal(fd_read_file(f->marker, &second), E_OK);
	assert_string_not_equal(buf_text(&first), buf_text(&second));
	assert_null(strstr(buf_text(&first), "271828"));
	line = strstr(buf_text(&first), "\ncheck ");
	assert_non_null(line);
	assert_int_equal(strlen(line), strlen("\ncheck ") + 32 + 1 + 4 + 1);
	assert_int_equal(stat(f->marker, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	buf_release(&first);
	buf_release(&second);
}

/* What cannot be read or written is no leave to try. */
/* F446: on a full disk there is room for the next marker, or no PIN could be tried; and nothing of the last
 * one. */
static void room_is_kept_for_it(void **state)
{
	struct fixture *f = *state;
	char fresh[PATH_MAX + 8];
	struct stat marker, room;
	struct buf text;

	snprintf(fresh, sizeof(fresh), "%s.new", f->marker);
	arm(f, "1234", E_OK);
	assert_int_equal(stat(f->marker, &marker), 0);
	pin_guard_disarm(f->dir);
	assert_int_equal(access(f->marker, F_OK), -1);
	assert_int_equal(stat(fresh, &room), 0);
	assert_int_equal(room.st_ino, marker.st_ino);
	assert_true(room.st_blocks > 0);
	buf_init(&text, 4096);
	assert_int_equal(fd_read_file(fresh, &text), E_OK);
	assert_null(strstr(buf_text(&text), "check "));
	buf_release(&text);
	arm(f, "1234", E_OK);
	assert_int_equal(stat(f->marker, &marker), 0);
	assert_int_equal(room.st_ino, marker.st_ino);
	assert_int_equal(check(f, SERIAL, "1234"), E_PIN);
}

static void in_doubt_no_pin_is_tried(void **state)
{
	static const char *const damaged[] = {"", "check\n", "\ncheck 00 11\n",
					      "\ncheck 000102030405060708090a0b0c0d0exx 0000\n"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		write_file(f->marker, damaged[i]);
		assert_int_equal(check(f, SERIAL, "1234"), E_IO);
	}
	assert_int_equal(unlink(f->marker), 0);
	assert_int_equal(mkdir(f->marker, 0700), 0);
	assert_int_equal(check(f, SERIAL, "1234"), E_IO);
	arm(f, "1234", E_IO);
	{
		char fresh[PATH_MAX + 8];

		snprintf(fresh, sizeof(fresh), "%s.new", f->marker);
		unlink(fresh);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_means_one_pin_on_one_token),
	    TEST(it_gives_little_away),
	    TEST(room_is_kept_for_it),
	    TEST(in_doubt_no_pin_is_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
