/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts that only a test and its children see. */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/own_places.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES_MAX 8

static char places[PLACES_MAX][128];
static unsigned places_len;

/* Tried in a child: the namespace is none of ours then. */
bool own_places_are_possible(void)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(geteuid() == 0 && unshare(CLONE_NEWNS | CLONE_NEWIPC) == 0 &&
			      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
			  ? 0
			  : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

void own_places_begin(void)
{
	own_places_end(); /* of a test that failed half-way */
	assert_int_equal(unshare(CLONE_NEWNS | CLONE_NEWIPC), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

static void note_place(const char *path)
{
	assert_true(places_len < PLACES_MAX);
	snprintf(places[places_len++], sizeof(places[0]), "%s", path);
}

void own_places_folder(const char *path)
{
	assert_int_equal(mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"), 0);
	note_place(path);
}

void own_places_put(const char *from, const char *path)
{
	assert_int_equal(mount(from, path, NULL, MS_BIND, NULL), 0);
	note_place(path);
}

void own_places_end(void)
{
	while (places_len)
		umount2(places[--places_len], MNT_DETACH);
}
