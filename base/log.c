/* SPDX-License-Identifier: Apache-2.0 */
/* The operational log. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log_queue.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX_BYTES 2048 /* before escaping */
#define PREFIX_MAX_BYTES 256

static const char *program_name = "csrd";
static atomic_int highest_level = LOG_LEVEL_INFO;
static bool to_journal;
static log_sink_fn event_sink;

/* JOURNAL_STREAM is "DEVICE:INODE"; it is inherited by programs whose standard error goes elsewhere. */
static bool is_journal_stream(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char expected[64];
	struct stat st;

	if (!stream || fstat(fd, &st))
		return false;
	snprintf(expected, sizeof(expected), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return strcmp(stream, expected) == 0;
}

void log_open(const char *program, enum log_level level)
{
	program_name = program;
	highest_level = (int)level;
	to_journal = is_journal_stream(STDERR_FILENO);
}

bool log_is_to_journal(void)
{
	return to_journal;
}

void log_set_sink(log_sink_fn sink)
{
	event_sink = sink;
}

void log_set_level(enum log_level level)
{
	highest_level = (int)level;
}

static const struct {
	const char *name;
	enum log_level level;
} level_names[] = {
    {"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARN}, {"notice", LOG_LEVEL_NOTICE},
    {"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},
};
#define LEVEL_COUNT (sizeof(level_names) / sizeof(level_names[0]))

static const char *level_name(enum log_level level)
{
	for (size_t i = 0; i < LEVEL_COUNT; i++)
		if (level_names[i].level == level)
			return level_names[i].name;
	return "?";
}

enum err log_level_parse(const char *text, enum log_level *ret_level)
{
	for (size_t i = 0; i < LEVEL_COUNT; i++) {
		if (strcmp(level_names[i].name, text) == 0) {
			*ret_level = level_names[i].level;
			return E_OK;
		}
	}
	return E_INVAL;
}

static void put_prefix(struct buf *line, const struct log_event *event)
{
	char when[CLOCK_RFC3339_SIZE];

	if (to_journal) {
		buf_printf(line, "<%d>", (int)event->level);
		return;
	}
	clock_format_rfc3339(event->wall_us, when);
	buf_printf(line, "%s %s %s: ", when, program_name, level_name(event->level));
}

/* One event is one line of UTF-8, whatever a client put into it. */
static void log_put_escaped(struct buf *line, const char *text, size_t len)
{
	size_t pos = 0;

	while (pos < len) {
		size_t start = pos;
		uint32_t code_point;

		while (pos < len && text[pos] >= ' ' && text[pos] <= '~')
			pos++;
		buf_put(line, text + start, pos - start);
		if (pos == len)
			break;
		start = pos;
		if (!utf8_next(text, len, &pos, &code_point))
			buf_printf(line, "\\x%02x", (unsigned char)text[pos++]);
		else if (code_point < 0x80 && utf8_is_unsafe_in_names(code_point))
			buf_printf(line, "\\x%02x", (unsigned)code_point);
		else if (utf8_is_unsafe_in_names(code_point))
			buf_printf(line, code_point > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)code_point);
		else
			buf_put(line, text + start, pos - start);
	}
}

static void put_message(struct buf *b, const struct log_context *context, const char *tail, const char *text)
{
	log_put_escaped(b, text, strlen(text));
	if (tail)
		buf_printf(b, ": %s", tail);
	if (context && context->request_id)
		buf_printf(b, " req=%s", context->request_id);
	if (context && context->csr_id)
		buf_printf(b, " csr=%s", context->csr_id);
}

/* One write a line keeps lines of several threads apart. Nobody is left to tell when it fails. */
static void write_line(const struct log_event *event)
{
	struct buf line;

	buf_init(&line, LOG_MESSAGE_MAX_BYTES + PREFIX_MAX_BYTES);
	put_prefix(&line, event);
	buf_put_str(&line, event->message);
	buf_put_u8(&line, '\n');
	if (line.data && fd_write_all(STDERR_FILENO, line.data, line.len) != E_OK)
		(void)0;
	buf_release(&line);
}

static void write_event(const struct log_event *event)
{
	if (!event_sink || !event_sink(event))
		write_line(event);
}

enum err log_start_thread(void)
{
	enum err e = log_queue_start(write_event);

	if (e != E_OK)
		log_error("cannot start the thread of the log: %s", strerror(errno));
	return e;
}

static void log_format(enum log_level level, const struct log_context *context, const char *tail,
		       const char *format, va_list args) PRINTF_LIKE(4, 0);
static void log_format(enum log_level level, const struct log_context *context, const char *tail,
		       const char *format, va_list args)
{
	struct log_event event = {.level = level, .wall_us = clock_wall_us(), .context = context};
	char text[TEXT_MAX_BYTES];
	struct buf message;

	if ((int)level > highest_level || vsnprintf(text, sizeof(text), format, args) < 0)
		return;
	buf_init(&message, LOG_MESSAGE_MAX_BYTES);
	put_message(&message, context, tail, text);
	event.message = buf_text(&message);
	if (!log_queue_put(&event))
		write_event(&event);
	buf_release(&message);
}

void log_write(enum log_level level, const struct log_context *context, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_format(level, context, NULL, format, args);
	va_end(args);
}

void log_err(enum err e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_format(LOG_LEVEL_ERROR, NULL, err_str(e), format, args);
	va_end(args);
}

bool log_gate_pass(struct log_gate *gate, uint64_t every_ms, unsigned *ret_suppressed)
{
	uint64_t now = clock_ms();

	if (gate->last_ms && now - gate->last_ms < every_ms) {
		gate->suppressed++;
		return false;
	}
	gate->last_ms = now;
	*ret_suppressed = gate->suppressed;
	gate->suppressed = 0;
	return true;
}
