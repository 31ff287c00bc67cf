/* SPDX-License-Identifier: Apache-2.0 */
/* Whether standard output is a terminal, and how wide it is. */
#ifndef CSRD_CLI_TERMINAL_H
#define CSRD_CLI_TERMINAL_H

#include <stddef.h>

/* Columns; 0: standard output is not a terminal, and nothing is cut or wrapped. */
size_t terminal_width(void);

/* Characters of a text, or bytes when it is not UTF-8. */
size_t terminal_width_of(const char *text);

/* Bytes of the first `chars` characters of a text. */
size_t terminal_bytes_of(const char *text, size_t chars);

#endif
