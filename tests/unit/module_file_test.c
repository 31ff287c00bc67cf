/* SPDX-License-Identifier: Apache-2.0 */
/* Who could put another file in the place of the PKCS#11 module: owners and modes on the way to it (F220). */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/token/module_file.h"

#include "base/log.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STRANGER 12345

static char top[64];    /* a fresh folder, mode 0700 */
static char said[1024]; /* the last line of the log */

static bool keep_line(const struct log_event *event)
{
	snprintf(said, sizeof(said), "%s", event->message);
	return true;
}

static const char *at(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, PATH_MAX, "%s/%s", top, name);
	return path;
}

static void make_folder(const char *name, mode_t mode)
{
	assert_int_equal(mkdir(at(name), 0700), 0);
	assert_int_equal(chmod(at(name), mode), 0);
}

static void make_file(const char *name, mode_t mode)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(top, "/tmp/csrd-module-file-test-XXXXXX");
	assert_non_null(mkdtemp(top));
	make_folder("lib", 0755);
	make_file("lib/m.so", 0755);
	said[0] = '\0';
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	remove(path);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

/* It is found, and this is where. */
static void expect_found(const char *name, const char *place)
{
	char *path = NULL, *refused = NULL;

	assert_int_equal(module_file_find(at(name), &path), E_OK);
	assert_string_equal(path, at(place));
	assert_int_equal(module_file_find_refused(at(name), &refused), E_NOTFOUND);
	free(path);
}

static void expect_refused(const char *name, const char *why)
{
	char *path = NULL;

	assert_int_equal(module_file_find(at(name), &path), E_CONFIG);
	assert_null(path);
	if (!strstr(said, why))
		fail_msg("'%s' does not say '%s'", said, why);
}

/* What others could change is told to who asks, without the log (F294). */
static void expect_open(const char *name, const char *open)
{
	char *path = NULL;

	expect_refused(name, "' may be changed by others");
	said[0] = '\0';
	assert_int_equal(module_file_find_refused(at(name), &path), E_OK);
	assert_string_equal(path, at(open));
	assert_string_equal(said, "");
	free(path);
}

static void links_and_dots_lead_to_the_file(void **state)
{
	(void)state;
	make_folder("opt", 0755);
	make_folder("opt/vendor", 0755);
	assert_int_equal(symlink("m.so", at("lib/m.so.1")), 0);
	assert_int_equal(symlink("../../lib/m.so.1", at("opt/vendor/m")), 0);
	assert_int_equal(symlink(at("opt/vendor"), at("link")), 0);
	expect_found("lib/m.so", "lib/m.so");
	expect_found("lib//./m.so", "lib/m.so");
	expect_found("opt/../lib/m.so", "lib/m.so");
	expect_found("lib/m.so.1", "lib/m.so");
	expect_found("opt/vendor/m", "lib/m.so");
	expect_found("link/m", "lib/m.so");
	expect_found("link/../vendor/m", "lib/m.so"); /* as the kernel goes: out of what the link leads to */
}

static void a_file_that_others_can_write_is_refused(void **state)
{
	(void)state;
	assert_int_equal(chmod(at("lib/m.so"), 0775), 0);
	expect_refused("lib/m.so", "file '");
	expect_open("lib/m.so", "lib/m.so");
	assert_int_equal(chmod(at("lib/m.so"), 0757), 0);
	expect_refused("lib/m.so", "file '");
	assert_int_equal(chmod(at("lib/m.so"), 01777), 0);
	expect_refused("lib/m.so", "file '");
}

/* Each of the folders, not the last one alone, and those that a link leads through. */
static void a_folder_that_others_can_write_is_refused(void **state)
{
	(void)state;
	make_folder("lib/deep", 0755);
	make_file("lib/deep/n.so", 0755);
	make_folder("open", 0777);
	assert_int_equal(symlink(at("lib/m.so"), at("open/link.so")), 0);
	assert_int_equal(symlink(at("open/link.so"), at("lib/link.so")), 0);
	expect_refused("open/link.so", "folder '");
	assert_non_null(strstr(said, at("open")));
	expect_refused("lib/link.so", "folder '");
	assert_non_null(strstr(said, at("open")));
	expect_open("lib/link.so", "open");
	assert_int_equal(chmod(at("lib"), 0757), 0);
	expect_refused("lib/deep/n.so", "folder '");
	assert_int_equal(chmod(at("lib"), 01777), 0); /* nobody can replace what is not theirs */
	expect_found("lib/deep/n.so", "lib/deep/n.so");
}

/* A group other than root's is others. */
static void owners_and_groups_count(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		fprintf(stderr, "owners_and_groups_count: needs root\n");
		skip();
	}
	assert_int_equal(chmod(at("lib"), 0775), 0);
	expect_found("lib/m.so", "lib/m.so");
	assert_int_equal(chown(at("lib"), 0, STRANGER), 0);
	expect_refused("lib/m.so", "folder '");
	assert_int_equal(chmod(at("lib"), 0755), 0);
	expect_found("lib/m.so", "lib/m.so");
	assert_int_equal(chown(at("lib"), STRANGER, 0), 0);
	expect_refused("lib/m.so", "owner 12345");
	assert_int_equal(chmod(at("lib"), 01755), 0);
	expect_refused("lib/m.so", "owner 12345");
	assert_int_equal(chown(at("lib"), 0, 0), 0);
	assert_int_equal(chown(at("lib/m.so"), STRANGER, 0), 0);
	expect_refused("lib/m.so", "file '");
	assert_int_equal(chown(at("lib/m.so"), 0, 0), 0);
	make_folder("sticky", 01777);
	assert_int_equal(symlink(at("lib/m.so"), at("sticky/link.so")), 0);
	expect_found("sticky/link.so", "lib/m.so");
	assert_int_equal(lchown(at("sticky/link.so"), STRANGER, 0), 0);
	expect_refused("sticky/link.so", "symbolic link '");
	expect_open("sticky/link.so", "sticky/link.so");
}

static void what_is_no_file(void **state)
{
	char *path = NULL;

	(void)state;
	assert_int_equal(module_file_find(at("lib/none.so"), &path), E_NOTFOUND);
	assert_int_equal(module_file_find(at("lib/m.so/below"), &path), E_NOTFOUND);
	assert_int_equal(module_file_find("lib/m.so", &path), E_CONFIG);
	expect_refused("lib", "not a regular file");
	assert_int_equal(module_file_find_refused(at("lib"), &path), E_NOTFOUND);
	assert_int_equal(module_file_find("/", &path), E_CONFIG);
	assert_int_equal(symlink("loop.so", at("lib/loop.so")), 0);
	assert_int_equal(module_file_find(at("lib/loop.so"), &path), E_DENIED);
	assert_null(path);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    CASE(links_and_dots_lead_to_the_file),
	    CASE(a_file_that_others_can_write_is_refused),
	    CASE(a_folder_that_others_can_write_is_refused),
	    CASE(owners_and_groups_count),
	    CASE(what_is_no_file),
	};

	log_open("module_file_test", LOG_LEVEL_ERROR);
	log_set_sink(keep_line);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("the module's file", tests, NULL, NULL);
}
