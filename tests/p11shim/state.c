/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and marks that survive the process, as files of a folder. */
#include "tests/p11shim/state.h"
#include "tests/p11shim/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int folder_fd = -1;

void state_open(const char *folder)
{
	if (!folder)
		return;
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		trace_fatal("cannot make the folder '%s': %s", folder, strerror(errno));
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd < 0)
		trace_fatal("cannot open the folder '%s': %s", folder, strerror(errno));
}

bool state_is_open(void)
{
	return folder_fd >= 0;
}

static int open_entry(const char *entry, int flags)
{
	return openat(folder_fd, entry, flags | O_CLOEXEC, 0600);
}

void state_add(const char *counter)
{
	int fd;

	if (folder_fd < 0)
		return;
	fd = open_entry(counter, O_WRONLY | O_APPEND | O_CREAT);
	if (fd < 0 || write(fd, ".", 1) != 1)
		trace_fatal("cannot count '%s': %s", counter, strerror(errno));
	close(fd);
}

unsigned long state_value(const char *counter)
{
	struct stat st;

	if (folder_fd < 0 || fstatat(folder_fd, counter, &st, 0) != 0)
		return 0;
	return (unsigned long)st.st_size;
}

void state_reset(const char *counter)
{
	if (folder_fd >= 0)
		unlinkat(folder_fd, counter, 0);
}

bool state_claim(const char *mark)
{
	int fd = open_entry(mark, O_WRONLY | O_CREAT | O_EXCL);

	if (fd < 0 && errno != EEXIST)
		trace_fatal("cannot make the mark '%s': %s", mark, strerror(errno));
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int state_lock(void)
{
	int fd;

	if (folder_fd < 0)
		return -1;
	fd = open_entry("lock", O_RDWR | O_CREAT);
	if (fd < 0)
		trace_fatal("cannot open the lock: %s", strerror(errno));
	while (flock(fd, LOCK_EX) != 0) {
		if (errno != EINTR)
			trace_fatal("cannot take the lock: %s", strerror(errno));
	}
	return fd;
}

void state_unlock(int lock)
{
	if (lock >= 0)
		close(lock);
}
