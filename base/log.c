/* The operational log. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/utf8.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static const char *program_name = "csrd";
static atomic_int highest_level = LOG_LEVEL_INFO;
static bool to_journal;

void log_open(const char *program, enum log_level level)
{
	program_name = program;
	highest_level = (int)level;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(enum log_level level)
{
	highest_level = (int)level;
}

static const struct {
	const char *name;
	enum log_level level;
} level_names[] = {
	{ "error", LOG_LEVEL_ERROR },   { "warning", LOG_LEVEL_WARN }, { "notice", LOG_LEVEL_NOTICE },
	{ "info", LOG_LEVEL_INFO }, { "debug", LOG_LEVEL_DEBUG },
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

static void put_prefix(struct buf *line, enum log_level level)
{
	char now[CLOCK_RFC3339_SIZE];

	if (to_journal) {
		buf_printf(line, "<%d>", (int)level);
		return;
	}
	clock_format_rfc3339(clock_wall_us(), now);
	buf_printf(line, "%s %s %s: ", now, program_name, level_name(level));
}

/* One event is one line of UTF-8, whatever a client put into it. */
static void put_escaped(struct buf *line, const char *text, size_t len)
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
			buf_printf(line, "\\u%04x", (unsigned)code_point);
		else
			buf_put(line, text + start, pos - start);
	}
}

static void write_line(enum log_level level, const struct log_context *context, const char *tail,
                       const char *format, va_list args) PRINTF_LIKE(4, 0);
static void write_line(enum log_level level, const struct log_context *context, const char *tail,
                       const char *format, va_list args)
{
	char message[LINE_MAX_BYTES / 2];
	struct buf line;
	int len;

	if ((int)level > highest_level)
		return;
	len = vsnprintf(message, sizeof(message), format, args);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(message))
		len = (int)sizeof(message) - 1;
	buf_init(&line, 4 * LINE_MAX_BYTES);
	put_prefix(&line, level);
	put_escaped(&line, message, (size_t)len);
	if (tail)
		buf_printf(&line, ": %s", tail);
	if (context && context->request_id)
		buf_printf(&line, " req=%s", context->request_id);
	if (context && context->csr_id)
		buf_printf(&line, " csr=%s", context->csr_id);
	buf_put_u8(&line, '\n');
	/* One write a line keeps lines of several threads apart. Nobody is left to tell when it fails. */
	if (line.data && fd_write_all(STDERR_FILENO, line.data, line.len))
		(void)0;
	buf_release(&line);
}

void log_write(enum log_level level, const struct log_context *context, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	write_line(level, context, NULL, format, args);
	va_end(args);
}

void log_err(enum err e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	write_line(LOG_LEVEL_ERROR, NULL, err_str(e), format, args);
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
