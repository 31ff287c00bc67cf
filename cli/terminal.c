/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal that standard output is, if it is one. */
#include "cli/terminal.h"

#include "base/utf8.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MIN 40

size_t terminal_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return WIDTH_DEFAULT;
	return size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
}

size_t terminal_width_of(const char *text)
{
	size_t len = strlen(text);

	return utf8_is_valid(text, len) ? utf8_count(text, len) : len;
}

size_t terminal_bytes_of(const char *text, size_t chars)
{
	size_t len = strlen(text), pos = 0;
	uint32_t c;

	for (size_t i = 0; i < chars && pos < len; i++)
		if (!utf8_next(text, len, &pos, &c))
			pos++;
	return pos;
}
