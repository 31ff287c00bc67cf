/* SPDX-License-Identifier: Apache-2.0 */
/* Splits a line of the rules file, and reads its words. */
#include "tests/p11shim/words.h"
#include "tests/p11shim/trace.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void words_refuse(const struct words *w, const char *format, ...)
{
	char reason[512];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	trace_fatal("%s:%u: %s", w->path, w->line, reason);
}

void words_split(struct words *w, char *text)
{
	char *rest = NULL;

	w->count = 0;
	for (char *word = strtok_r(text, " \t\n", &rest); word; word = strtok_r(NULL, " \t\n", &rest)) {
		if (w->count == WORDS_MAX)
			words_refuse(w, "more than %d words", WORDS_MAX);
		w->word[w->count++] = word;
	}
	w->word[w->count] = NULL;
}

void words_drop_last(struct words *w, size_t n)
{
	w->count -= n;
	w->word[w->count] = NULL;
}

void words_expect(const struct words *w, size_t count)
{
	if (w->count < count)
		words_refuse(w, "'%s': an argument is missing", w->word[w->count - 1]);
	if (w->count > count)
		words_refuse(w, "unexpected '%s'", w->word[count]);
}

unsigned long words_constant(const struct words *w, enum names_kind kind, const char *text)
{
	unsigned long value;

	if (!text)
		words_refuse(w, "a constant is missing");
	if (!names_value(kind, text, &value))
		words_refuse(w, "unknown constant '%s'", text);
	return value;
}

unsigned long words_number(const struct words *w, const char *text, unsigned long min, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || *end || value < min || value > max)
		words_refuse(w, "'%s' is not a number from %lu to %lu", text, min, max);
	return value;
}

uint64_t words_time_ms(const struct words *w, char *text)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
	char *unit = text + strspn(text, "0123456789");

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].name) == 0) {
			*unit = '\0';
			return words_number(w, text, 1, 86400000) * units[i].ms;
		}
	}
	words_refuse(w, "'%s' is not a time such as 250ms, 60s or 5m", text);
}

size_t words_hex(const struct words *w, char *text)
{
	size_t len = strlen(text);

	if (len % 2 || strspn(text, "0123456789abcdefABCDEF") != len)
		words_refuse(w, "'%s' is not an even number of hexadecimal digits", text);
	for (size_t i = 0; i < len / 2; i++) {
		char byte[3] = {text[2 * i], text[2 * i + 1], '\0'};

		text[i] = (char)strtoul(byte, NULL, 16);
	}
	return len / 2;
}
