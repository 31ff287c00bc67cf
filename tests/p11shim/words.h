/* SPDX-License-Identifier: Apache-2.0 */
/* One line of the rules file as words; what is wrong with one of them is fatal and named with its line. */
#ifndef CSRD_TESTS_P11SHIM_WORDS_H
#define CSRD_TESTS_P11SHIM_WORDS_H

#include "tests/p11shim/names.h"

#include <stddef.h>
#include <stdint.h>

#define WORDS_MAX 64

struct words {
	char *word[WORDS_MAX + 1]; /* the last one is NULL */
	size_t count;
	/* where they stand */
	const char *path;
	unsigned line;
};

_Noreturn void words_refuse(const struct words *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Into `text` itself, which is changed. */
void words_split(struct words *w, char *text);
void words_drop_last(struct words *w, size_t n);
void words_expect(const struct words *w, size_t count);

/* A NULL text is refused as missing. */
unsigned long words_constant(const struct words *w, enum names_kind kind, const char *text);
unsigned long words_number(const struct words *w, const char *text, unsigned long min, unsigned long max);
/* "250ms", "60s", "5m"; the unit is cut off the text. */
uint64_t words_time_ms(const struct words *w, char *text);
/* Hexadecimal digits, decoded into the text itself; returns the number of bytes. */
size_t words_hex(const struct words *w, char *text);

#endif
