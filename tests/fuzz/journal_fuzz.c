/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signer's journal as it is found on disk: the input is the tail and, behind
 * 0xff, the snapshot.  It is refused as damaged and not touched, or opened; then an entry can
 * be added, and it opens once more with as many entries as it had.
 */
#include "base/log.h"
#include "hsm/signer/journal/journal.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

static char folder[64], tail[96], live[96];

static bool on_event(const struct log_event *event)
{
	(void)event;
	return true;
}

static void journal_write(const char *path, const uint8_t *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	FUZZ_CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	return ftw->level > 0 ? remove(path) : 0;
}

static void remove_all(void)
{
	(void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	(void)rmdir(folder);
}

static enum err journal_reopen(struct journal **ret_journal, struct journal_report *report)
{
	const struct journal_options options = {.folder = folder, .node = "fuzz"};

	return journal_open(&options, ret_journal, report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, 0xff, size) : NULL;
	size_t tail_len = end ? (size_t)(end - data) : size;
	const struct journal_start start = {.version = "1", .module = "m", .serial = "s"};
	struct journal_report report, again;
	struct journal *j = NULL;
	uint64_t entries;

	if (!folder[0]) {
		log_set_sink(on_event);
		snprintf(folder, sizeof(folder), "%s/csrd-fuzz-XXXXXX",
			 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
		FUZZ_CHECK(mkdtemp(folder) && atexit(remove_all) == 0);
		snprintf(tail, sizeof(tail), "%s/tail", folder);
		snprintf(live, sizeof(live), "%s/live", folder);
	}
	FUZZ_CHECK(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
	journal_write(tail, data, tail_len);
	if (end)
		journal_write(live, end + 1, size - tail_len - 1);
	switch (journal_reopen(&j, &report)) {
	case E_OK:
		FUZZ_CHECK(journal_size(j) == report.entries && report.cut_bytes <= tail_len);
		FUZZ_CHECK(journal_start(j, &start, NULL) == E_OK);
		entries = journal_size(j);
		FUZZ_CHECK(entries == report.entries + 1);
		journal_close(j, false);
		FUZZ_CHECK(journal_reopen(&j, &again) == E_OK);
		FUZZ_CHECK(again.entries == entries && again.cut_bytes == 0);
		journal_close(j, true);
		break;
	case E_STORE:
		break;
	default:
		FUZZ_CHECK(false); /* an error of another kind */
	}
	return 0;
}
