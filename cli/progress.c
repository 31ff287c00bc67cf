/* SPDX-License-Identifier: Apache-2.0 */
/* How far long work is, and whether to end it. */
#include "cli/progress.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EVERY_MS 200
#define LEFT_AFTER_MS 2000

static volatile sig_atomic_t interrupted;
static uint64_t shown_ms;
static bool is_shown;
static const char *begun; /* the work that is shown, and since when */
static uint64_t begun_ms;

static void progress_on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

void progress_begin(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = progress_on_signal};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

bool progress_is_interrupted(void)
{
	return interrupted != 0;
}

void progress_format_span(uint64_t ms, char text[PROGRESS_SPAN_SIZE])
{
	unsigned long long seconds = (ms + 999) / 1000;

	if (seconds < 120)
		snprintf(text, PROGRESS_SPAN_SIZE, "%llu s", seconds);
	else if (seconds < 2 * 3600)
		snprintf(text, PROGRESS_SPAN_SIZE, "%llu min", (seconds + 30) / 60);
	else
		snprintf(text, PROGRESS_SPAN_SIZE, "%llu h", (seconds + 1800) / 3600);
}

/* ", about 3 min left"; nothing before there is something to go by. */
static void format_left(uint64_t now_ms, uint64_t done, uint64_t total, char *text, size_t size)
{
	char span[PROGRESS_SPAN_SIZE];

	text[0] = '\0';
	if (done == 0 || done >= total || now_ms - begun_ms < LEFT_AFTER_MS)
		return;
	progress_format_span((uint64_t)((double)(now_ms - begun_ms) * (double)(total - done) / (double)done),
			     span);
	snprintf(text, size, ", about %s left", span);
}

bool progress_show(const char *what, uint64_t done, uint64_t total)
{
	uint64_t now = clock_ms();
	char left[PROGRESS_SPAN_SIZE + 16];

	if (what != begun) {
		begun = what;
		begun_ms = now;
	}
	if ((shown_ms > 0 && now - shown_ms < EVERY_MS) || !isatty(STDERR_FILENO))
		return interrupted == 0;
	shown_ms = now;
	is_shown = true;
	format_left(now, done, total, left, sizeof(left));
	if (total > 0)
		fprintf(stderr, "\r\033[K%s: %u %%%s", what, (unsigned)(100.0 * (double)done / (double)total),
			left);
	else if (done > 0)
		fprintf(stderr, "\r\033[K%s: %llu", what, (unsigned long long)done);
	else
		fprintf(stderr, "\r\033[K%s …", what);
	fflush(stderr);
	return interrupted == 0;
}

void progress_clear(void)
{
	if (is_shown)
		fputs("\r\033[K", stderr);
	is_shown = false;
}
