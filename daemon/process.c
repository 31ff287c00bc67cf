/* SPDX-License-Identifier: Apache-2.0 */
/* Read from /proc, which is memory of the kernel: no disk is waited for. */
#include "daemon/process.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/metric.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void process_put_one(struct buf *b, const char *name, const char *help, uint64_t value)
{
	metric_put_head(b, name, METRIC_GAUGE, help);
	metric_put(b, name, NULL, value);
}

static void process_put_memory(struct buf *b)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned long long virtual_pages, resident_pages;
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	fd_close(&fd);
	if (n <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "%llu %llu", &virtual_pages, &resident_pages) != 2)
		return;
	process_put_one(b, "process_virtual_memory_bytes", "Virtual memory size.", virtual_pages * page);
	process_put_one(b, "process_resident_memory_bytes", "Resident memory size.", resident_pages * page);
}

/* Since Linux 6.2 the size of the folder is how many there are; before, they have to be counted. */
static bool process_count_descriptors(uint64_t *ret_count)
{
	struct stat st;
	DIR *folder;
	uint64_t count = 0;

	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
		*ret_count = (uint64_t)st.st_size;
		return true;
	}
	folder = opendir("/proc/self/fd");
	if (!folder)
		return false;
	for (const struct dirent *entry; (entry = readdir(folder));)
		count += entry->d_name[0] != '.';
	closedir(folder);
	*ret_count = count - 1; /* without the folder's own */
	return true;
}

static void process_put_descriptors(struct buf *b)
{
	struct rlimit limit;
	uint64_t count;

	if (process_count_descriptors(&count))
		process_put_one(b, "process_open_fds", "Open file descriptors.", count);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		process_put_one(b, "process_max_fds", "How many file descriptors may be open.",
				limit.rlim_cur);
}

static uint64_t timeval_us(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

void process_put(struct buf *b, int64_t started_us)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		metric_put_head(b, "process_cpu_seconds_total", METRIC_COUNTER,
				"User and system processor time.");
		metric_put_seconds(b, "process_cpu_seconds_total", NULL,
				   timeval_us(&usage.ru_utime) + timeval_us(&usage.ru_stime));
	}
	metric_put_head(b, "process_start_time_seconds", METRIC_GAUGE,
			"When the process started, since 1970.");
	metric_put_seconds(b, "process_start_time_seconds", NULL, (uint64_t)started_us);
	process_put_memory(b);
	process_put_descriptors(b);
}
