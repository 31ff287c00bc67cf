/* SPDX-License-Identifier: Apache-2.0 */
/* The queue between those who log and the thread that writes. */
#include "base/log_queue.h"

#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#define CHATTER_BYTES (LOG_QUEUE_BYTES / 4 * 3) /* how full info and debug lines may make it */
#define ROOM_BYTES (LOG_QUEUE_BYTES / 2)        /* with no more than this in it nothing is dropped any more */
#define FLUSH_EVERY_NS 1000000L

struct line {
	STAILQ_ENTRY(line) next;
	size_t size; /* of all of it */
	struct log_event event;
	struct log_context context;
	char text[]; /* what the event and its context point to */
};

static struct {
	log_queue_fn write; /* NULL: no thread; written before there is one */
	pthread_mutex_t lock;
	pthread_cond_t filled;
	STAILQ_HEAD(, line) lines; /* from here on: under the lock */
	size_t bytes;              /* the line that is being written included */
	bool dropping;
	unsigned lost; /* not told yet */
	uint64_t lost_ever;

	atomic_uint unwritten; /* lines, and one more while `lost` is not told; read without the lock */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
	   .filled = PTHREAD_COND_INITIALIZER,
	   .lines = STAILQ_HEAD_INITIALIZER(queue.lines)};

/* ---- a line ---- */

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static const char *copy_text(char **at, const char *text)
{
	size_t size = text_size(text);
	char *copy = *at;

	if (!text)
		return NULL;
	memcpy(copy, text, size);
	*at += size;
	return copy;
}

/* NULL: out of memory. */
static struct line *line_new(const struct log_event *event)
{
	static const struct log_context none;
	const struct log_context *context = event->context ? event->context : &none;
	size_t size = sizeof(struct line) + text_size(event->message) + text_size(context->request_id) +
		      text_size(context->csr_id) + text_size(context->token);
	struct line *line = malloc(size);
	char *at;

	if (!line)
		return NULL;
	at = line->text;
	line->size = size;
	line->event = *event;
	line->event.message = copy_text(&at, event->message);
	line->event.context = event->context ? &line->context : NULL;
	line->context.request_id = copy_text(&at, context->request_id);
	line->context.csr_id = copy_text(&at, context->csr_id);
	line->context.token = copy_text(&at, context->token);
	return line;
}

/* ---- putting ---- */

static bool has_room_locked(const struct line *line)
{
	if (line->event.level <= LOG_LEVEL_NOTICE)
		return queue.bytes + line->size <= LOG_QUEUE_BYTES;
	return !queue.dropping && queue.bytes + line->size <= CHATTER_BYTES;
}

/* Logs by itself, so the lock is given up meanwhile. */
static void tell_lost_locked(void)
{
	unsigned lost = queue.lost;

	queue.lost = 0;
	queue.dropping = false;
	pthread_mutex_unlock(&queue.lock);
	log_warn("%u lines of the log were lost: the reader of the log was too slow", lost);
	pthread_mutex_lock(&queue.lock);
	atomic_fetch_sub(&queue.unwritten, 1);
}

static void log_queue_put_locked(struct line *line)
{
	STAILQ_INSERT_TAIL(&queue.lines, line, next);
	queue.bytes += line->size;
	atomic_fetch_add(&queue.unwritten, 1);
	pthread_cond_signal(&queue.filled);
}

static void drop_locked(struct line *line)
{
	free(line);
	queue.dropping = true;
	queue.lost_ever++;
	if (queue.lost++ == 0)
		atomic_fetch_add(&queue.unwritten, 1);
}

bool log_queue_put(const struct log_event *event)
{
	struct line *line;

	if (!queue.write)
		return false;
	line = line_new(event);
	pthread_mutex_lock(&queue.lock);
	if (queue.lost && queue.bytes <= ROOM_BYTES)
		tell_lost_locked();
	if (line && has_room_locked(line))
		log_queue_put_locked(line);
	else
		drop_locked(line);
	pthread_mutex_unlock(&queue.lock);
	return true;
}

uint64_t log_lost(void)
{
	pthread_mutex_lock(&queue.lock);
	uint64_t lost = queue.lost_ever;
	pthread_mutex_unlock(&queue.lock);
	return lost;
}

/* ---- the thread ---- */

static struct line *take_locked(void)
{
	struct line *line = STAILQ_FIRST(&queue.lines);

	STAILQ_REMOVE_HEAD(&queue.lines, next);
	return line;
}

static void *write_lines(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&queue.lock);
	for (;;) {
		struct line *line;

		if (STAILQ_EMPTY(&queue.lines) && queue.lost)
			tell_lost_locked();
		if (STAILQ_EMPTY(&queue.lines)) { /* without memory, even after telling */
			pthread_cond_wait(&queue.filled, &queue.lock);
			continue;
		}
		line = take_locked();
		pthread_mutex_unlock(&queue.lock);
		queue.write(&line->event);
		pthread_mutex_lock(&queue.lock);
		queue.bytes -= line->size;
		atomic_fetch_sub(&queue.unwritten, 1);
		free(line);
	}
	return NULL;
}

/* ---- the end of the process ---- */

/* Async-signal-safe, hence no condition is waited for. */
void log_flush(uint64_t within_ms)
{
	const struct timespec pause = {.tv_nsec = FLUSH_EVERY_NS};
	uint64_t until_ms = clock_ms() + within_ms;
	int saved = errno;

	while (atomic_load(&queue.unwritten) > 0 && clock_ms() < until_ms)
		nanosleep(&pause, NULL);
	errno = saved;
}

static void flush_at_exit(void)
{
	log_flush(LOG_FLUSH_MS);
}

/* What was logged last says most.  The handler is gone by now, so the signal ends the process. */
static void flush_at_crash(int signal_number)
{
	log_flush(LOG_FLUSH_MS);
	raise(signal_number);
}

/* Not those that somebody else, such as a sanitizer, has a handler for. */
static void log_queue_catch_crashes(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
	struct sigaction action = {.sa_flags = (int)SA_RESETHAND}, old;

	action.sa_handler = flush_at_crash;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(signals[i], &action, NULL);
}

/* The thread is the parent's, and so is what waits for it. */
static void forget_in_child(void)
{
	queue.write = NULL;
	STAILQ_INIT(&queue.lines);
	queue.bytes = 0;
	queue.lost = 0;
	queue.dropping = false;
	atomic_store(&queue.unwritten, 0);
	pthread_mutex_init(&queue.lock, NULL);
}

enum err log_queue_start(log_queue_fn write)
{
	int rc;

	if ((rc = pthread_atfork(NULL, NULL, forget_in_child)) || atexit(flush_at_exit)) {
		errno = rc ? rc : ENOMEM;
		return E_IO;
	}
	queue.write = write;
	/* Not to be joined: it may be stuck for good in a line that nobody takes. */
	if (thread_start("log", write_lines, NULL, NULL) != E_OK) {
		queue.write = NULL;
		return E_IO;
	}
	log_queue_catch_crashes();
	return E_OK;
}
