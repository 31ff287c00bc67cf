/* SPDX-License-Identifier: Apache-2.0 */
/* The store: room on its disk, its pages and rows, and its times. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "store/upkeep.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ROOM_FAIL_BYTES (UINT64_C(16) * 1024 * 1024)
#define ROOM_WARN_BYTES (UINT64_C(256) * 1024 * 1024)
#define CLOCK_SLACK_US INT64_C(2000000)

static void check_room(struct doctor *d, const char *path)
{
	char folder[PATH_MAX];
	struct statvfs fs;
	uint64_t bytes;

	doctor_folder_of(path, folder, sizeof(folder));
	if (statvfs(folder, &fs)) {
		doctor_say(d, DOCTOR_SKIP, "store-disk", NULL, "'%s': %s", folder, strerror(errno));
		return;
	}
	bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (fs.f_flag & ST_RDONLY) {
		doctor_say(d, DOCTOR_FAIL, "store-disk", NULL, "'%s' is on a read-only file system", folder);
		doctor_remedy(d, "check the disk (dmesg), and mount it writable");
	} else if (upkeep_check_place(d->config->store.url) == E_CONFIG) {
		doctor_say(d, DOCTOR_FAIL, "store-disk", NULL, "%s", doctor_last_log());
		doctor_remedy(d, "move the store to a local disk");
	} else if (bytes < ROOM_FAIL_BYTES || (fs.f_files && fs.f_favail == 0)) {
		doctor_say(d, DOCTOR_FAIL, "store-disk", NULL, "%" PRIu64 " MiB and %lu files left for '%s'",
			   bytes >> 20, (unsigned long)fs.f_favail, folder);
		doctor_remedy(d, "make room: creates and deletes are refused when the disk is full");
	} else if (bytes < ROOM_WARN_BYTES) {
		doctor_say(d, DOCTOR_WARN, "store-disk", NULL, "%" PRIu64 " MiB left for '%s'", bytes >> 20,
			   folder);
		doctor_remedy(d, "make room before it is full");
	} else {
		doctor_say(d, DOCTOR_OK, "store-disk", NULL, "%" PRIu64 " MiB left", bytes >> 20);
	}
}

/* ---- the database ---- */

struct damage {
	unsigned problems;
	char first[512];
};

static bool doctor_store_go_on(void *arg UNUSED, enum upkeep_phase phase UNUSED, uint64_t done UNUSED,
			       uint64_t total UNUSED)
{
	return true;
}

static void doctor_store_on_problem(void *arg, const char *object, const char *text)
{
	struct damage *damage = arg;

	if (damage->problems++ == 0)
		snprintf(damage->first, sizeof(damage->first), "%s: %s", object, text);
}

static void say_contents(struct doctor *d, const struct upkeep_summary *s)
{
	int64_t now_us = clock_wall_us();
	char newest[OUTPUT_TIME_SIZE];

	doctor_say(d, DOCTOR_OK, "store", NULL,
		   "whole; schema version %d, %" PRIu64 " CSRs, %" PRIu64 " of them active",
		   s->schema_version, upkeep_csrs(s), s->csrs[CSR_ACTIVE]);
	if (s->newest_us > now_us + CLOCK_SLACK_US) {
		output_format_time(s->newest_us, newest);
		doctor_say(d, DOCTOR_FAIL, "store-times", NULL,
			   "the newest record is of %s, which is still to come", newest);
		doctor_remedy(d, "the clock went back: correct it before csrd makes more");
	}
	if (s->ending > 0) {
		doctor_say(d, DOCTOR_WARN, "callers", NULL,
			   "%" PRIu64 " API token%s, users or other principals end within two weeks",
			   s->ending, s->ending == 1 ? "" : "s");
		doctor_remedy(d, "csrctl token list, user list and principal list say which; create others "
				 "before their callers are refused");
	}
	if (s->future == 0)
		return;
	doctor_say(d, DOCTOR_WARN, "store-open-times", NULL,
		   "%" PRIu64 " open CSR%s of a time that is still to come: '%s'%s", s->future,
		   s->future == 1 ? " is" : "s are", s->future_id, s->future == 1 ? "" : " and others");
	doctor_remedy(d, "the clock was ahead when they were made; csrd settles them as any other, or csrctl "
			 "reconcile --apply while it does not run");
}

static void check_database(struct doctor *d)
{
	struct upkeep_summary summary;
	struct damage damage = {0};
	const struct upkeep_check check = {
	    .url = d->config->store.url,
	    .watch = {.go_on = doctor_store_go_on},
	    .on_problem = doctor_store_on_problem,
	    .arg = &damage,
	};
	enum err e = upkeep_check(&check, &summary);

	if (e != E_OK) {
		doctor_say(d, e == E_DENIED ? DOCTOR_SKIP : DOCTOR_FAIL, "store", NULL, "cannot be read: %s",
			   *doctor_last_log() ? doctor_last_log() : err_str(e));
		if (e == E_DENIED)
			doctor_remedy(d, "run csrctl doctor as root");
		else if (e == E_STORE || e == E_INVAL)
			doctor_remedy(d, "newer than this program: upgrade csrd; damaged: stop csrd, keep a "
					 "copy of the files, then csrctl restore a backup");
		else
			doctor_remedy(d, "check the disk (dmesg, df) and who has the store open; try again");
	} else if (damage.problems) {
		doctor_say(d, DOCTOR_FAIL, "store", NULL, "%u problem%s: %s", damage.problems,
			   damage.problems == 1 ? "" : "s", damage.first);
		doctor_remedy(d, "csrctl verify lists everything; stop csrd, then csrctl restore a backup");
	} else {
		say_contents(d, &summary);
	}
}

static bool doctor_store_has_log(const char *path)
{
	char log[PATH_MAX];

	return snprintf(log, sizeof(log), "%s-wal", path) < (int)sizeof(log) && access(log, F_OK) == 0;
}

void doctor_check_store(struct doctor *d)
{
	const char *path = doctor_store_path(d->config);
	struct stat st;

	if (!path) {
		doctor_say(d, DOCTOR_SKIP, "store", NULL, "not a file: use its own server's tools");
		return;
	}
	check_room(d, path);
	if (stat(path, &st)) {
		bool missing = errno == ENOENT;
		bool lost = missing && doctor_store_has_log(path);

		doctor_say(d,
			   lost      ? DOCTOR_FAIL
			   : missing ? DOCTOR_WARN
				     : DOCTOR_SKIP,
			   "store", NULL, "'%s': %s%s", path, strerror(errno),
			   lost ? ", but its log is there" : "");
		if (lost)
			doctor_remedy(d, "put the file back beside its log, or csrctl restore a backup");
		else if (missing)
			doctor_remedy(d, "csrd creates it at its first start, as does csrctl account add");
		else
			doctor_remedy(d, "run csrctl doctor as root");
		return;
	}
	if (cli_become_store_owner(d->cli) != EXIT_CODE_OK) {
		doctor_say(d, DOCTOR_SKIP, "store", NULL, "cannot become its owner");
		return;
	}
	check_database(d);
}
