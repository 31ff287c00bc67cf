/* UTF-8 as RFC 3629 §4 defines it: no overlong form, no surrogate, ≤ U+10FFFF. */
#ifndef CSRD_BASE_UTF8_H
#define CSRD_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decodes the character at text[*pos] and moves *pos behind it.
 * False, with *pos at the first bad byte, when it is not UTF-8.
 */
bool utf8_next(const char *text, size_t len, size_t *pos, uint32_t *ret_code_point);

bool utf8_is_valid(const char *text, size_t len);

/* Characters (code points), not bytes.  The text must be valid. */
size_t utf8_count(const char *text, size_t len);

/*
 * Characters that must not stand in a name that people compare by eye:
 * C0 and C1 controls, DEL, bidirectional controls (U+061C, U+200E, U+200F,
 * U+202A–202E, U+2066–2069), line and paragraph separators (U+2028, U+2029),
 * zero-width U+200B–200D and U+2060, and U+FEFF.
 */
bool utf8_is_unsafe_in_names(uint32_t code_point);

#endif
