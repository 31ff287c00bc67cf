/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 §4 defines it: no overlong form, no surrogate, ≤ U+10FFFF. */
#ifndef CSRD_BASE_UTF8_H
#define CSRD_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decodes the character at text[*pos] and moves *pos past it.
 * False, with *pos at the first bad byte, when it is not UTF-8.
 */
bool utf8_next(const char *text, size_t len, size_t *pos, uint32_t *ret_code_point);

bool utf8_is_valid(const char *text, size_t len);

/* Characters (code points), not bytes.  The text must be valid. */
size_t utf8_count(const char *text, size_t len);

/*
 * What a code point is to a reader, by the Unicode properties of the
 * libunistring that csrd was built with.
 */
enum utf8_class {
	UTF8_VISIBLE,
	UTF8_BLANK, /* Zs, and the few symbols without ink, such as U+2800 */
	UTF8_MARK,  /* M: nothing by itself */
	/* from here on unsafe in names */
	UTF8_CONTROL,    /* Cc */
	UTF8_INVISIBLE,  /* Default_Ignorable_Code_Point, Cf, Zl, Zp */
	UTF8_PRIVATE,    /* Co */
	UTF8_UNASSIGNED, /* Cn with its noncharacters, Cs, and what is past U+10FFFF */
};
enum utf8_class utf8_class(uint32_t code_point);

/*
 * Must not occur in a name that people compare by eye, nor reach a terminal or
 * a log as it is: it is invisible, moves its neighbours, or looks different on
 * each machine.
 */
bool utf8_is_unsafe_in_names(uint32_t code_point);

#endif
