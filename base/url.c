/* SPDX-License-Identifier: Apache-2.0 */
/* URLs in what people see. */
#include "base/url.h"

#include "base/str.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define MASK "***"
#define AUTHORITY "://"
#define BLANKS " \t\r\n"
#define AFTER_PORT "/?#'\",;:)"
#define PARAMETER "password=" /* sslpassword, too */

static void url_put_part(struct buf *b, const char *from, const char *to)
{
	buf_put(b, from, (size_t)(to - from));
}

/* What follows "password=" up to the next parameter. */
static void url_put_parameters(struct buf *b, const char *at, const char *end)
{
	const char *from = at;

	while (at + strlen(PARAMETER) <= end) {
		if (strncasecmp(at, PARAMETER, strlen(PARAMETER)) != 0) {
			at++;
			continue;
		}
		at += strlen(PARAMETER);
		url_put_part(b, from, at);
		buf_put_str(b, MASK);
		while (at < end && *at != '&')
			at++;
		from = at;
	}
	url_put_part(b, from, end);
}

static bool url_is_port(const char *at, const char *end)
{
	while (at < end && str_ascii_is_digit(*at))
		at++;
	return at == end || strchr(AFTER_PORT, *at);
}

/* The ':' of user and password, or of what may be these and has no '@': a part of a list, or cut off. */
static const char *url_find_colon(const char *authority, const char *end)
{
	const char *host = memrchr(authority, '@', (size_t)(end - authority));
	const char *address = authority;
	const char *colon;

	if (host)
		return memchr(authority, ':', (size_t)(host - authority));
	if (address < end && *address == '[') /* of IPv6 */
		address += strcspn(address, "]" BLANKS);
	colon = address + strcspn(address, ":/?#" BLANKS);
	return colon < end && *colon == ':' && !url_is_port(colon + 1, end) ? colon : NULL;
}

/* A word, which may be a URL, or have one in it; returns where it ended.  A blank does not end a password. */
static const char *url_put_word(struct buf *b, const char *word, const char *end)
{
	const char *at = memmem(word, (size_t)(end - word), AUTHORITY, strlen(AUTHORITY));
	const char *colon = at ? url_find_colon(at + strlen(AUTHORITY), end) : NULL;

	if (!at) {
		url_put_part(b, word, end);
		return end;
	}
	if (colon) {
		const char *host = memrchr(colon, '@', (size_t)(end - colon));
		const char *line_end = end + strcspn(end, "\n");

		if (!host && (host = memrchr(end, '@', (size_t)(line_end - end))))
			end = host + strcspn(host, BLANKS);
		url_put_part(b, word, colon + 1);
		buf_put_str(b, MASK);
		word = host ? host : end;
	}
	url_put_parameters(b, word, end);
	return end;
}

void url_put_masked(struct buf *b, const char *text)
{
	while (*text) {
		size_t blanks = strspn(text, BLANKS);

		buf_put(b, text, blanks);
		text += blanks;
		text = url_put_word(b, text, text + strcspn(text, BLANKS));
	}
}
