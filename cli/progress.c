/* How far long work is, and whether to end it. */
#include "cli/progress.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EVERY_MS 200

static volatile sig_atomic_t interrupted;
static uint64_t shown_ms;
static bool is_shown;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

void progress_begin(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

bool progress_is_interrupted(void)
{
	return interrupted != 0;
}

bool progress_show(const char *what, uint64_t done, uint64_t total)
{
	uint64_t now = clock_ms();

	if ((shown_ms > 0 && now - shown_ms < EVERY_MS) || !isatty(STDERR_FILENO))
		return interrupted == 0;
	shown_ms = now;
	is_shown = true;
	if (total > 0)
		fprintf(stderr, "\r\033[K%s: %u %%", what, (unsigned)(100.0 * (double)done / (double)total));
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
