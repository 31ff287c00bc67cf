/* SPDX-License-Identifier: Apache-2.0 */
/* Longer and longer pauses while the HSM is away. */
#include "hsm/signer/serve/outage.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TEXT_MAX 64
#define SHARE 8 /* of the outage is a pause */
#define LOGGED_MS 1000

/* The file holds one line, the time in UTC. */
static enum err read_since(const struct state_dir *dir, int64_t *ret_us)
{
	char *text, *end;
	struct buf b;
	enum err e;

	buf_init(&b, TEXT_MAX);
	e = state_dir_read(dir, OUTAGE_NAME, &b);
	if (e == E_OK && b.len == 0)
		e = E_INVAL;
	if (e == E_OK) {
		text = (char *)b.data;
		end = strchr(text, '\n');
		if (end)
			*end = '\0';
		e = clock_parse_rfc3339(text, ret_us);
	}
	buf_release(&b);
	return e;
}

static void write_since(const struct state_dir *dir, int64_t since_us)
{
	char text[CLOCK_RFC3339_SIZE];
	struct buf b;
	enum err e;

	clock_format_rfc3339(since_us, text);
	buf_init(&b, TEXT_MAX);
	buf_printf(&b, "%s\n", text);
	e = buf_status(&b) != E_OK ? buf_status(&b) : state_dir_write(dir, OUTAGE_NAME, &b);
	buf_release(&b);
	if (e != E_OK)
		log_err(e, "cannot write '%s/%s'", state_dir_path(dir), OUTAGE_NAME);
}

uint64_t outage_pause_ms(const struct state_dir *dir)
{
	int64_t now_us = clock_wall_us(), since_us;
	uint64_t away_ms, pause_ms;

	if (read_since(dir, &since_us) != E_OK || since_us > now_us) {
		write_since(dir, now_us);
		return 0;
	}
	away_ms = (uint64_t)(now_us - since_us) / 1000;
	pause_ms = away_ms / SHARE < OUTAGE_PAUSE_MAX_MS ? away_ms / SHARE : OUTAGE_PAUSE_MAX_MS;
	if (pause_ms >= LOGGED_MS)
		log_notice("the hsm has been away for %" PRIu64 " s: a pause of %" PRIu64
			   " s before the next start",
			   away_ms / 1000, pause_ms / 1000);
	return pause_ms;
}

static bool is_told_to_end(int signal_fd)
{
	struct signalfd_siginfo info;

	return read(signal_fd, &info, sizeof(info)) == sizeof(info) &&
	       (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT);
}

bool outage_sleep(uint64_t ms, int signal_fd)
{
	const uint64_t end_ms = clock_ms() + ms;
	struct pollfd fd = {.fd = signal_fd, .events = POLLIN};

	for (uint64_t now_ms; (now_ms = clock_ms()) < end_ms;)
		if (poll(&fd, 1, (int)(end_ms - now_ms)) > 0 && is_told_to_end(signal_fd))
			return true;
	return false;
}

void outage_over(const struct state_dir *dir)
{
	enum err e = state_dir_remove(dir, OUTAGE_NAME);

	if (e != E_OK)
		log_err(e, "cannot remove '%s/%s'", state_dir_path(dir), OUTAGE_NAME);
}
