/* SPDX-License-Identifier: Apache-2.0 */
/* URLs in what people see. */
#include "base/url.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define MASK "***"
#define AUTHORITY "://"
#define BLANKS " \t\r\n"
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

/* A word, which may be a URL, or have one in it. */
static void url_put_word(struct buf *b, const char *word, const char *end)
{
	const char *at = memmem(word, (size_t)(end - word), AUTHORITY, strlen(AUTHORITY));
	const char *host = at ? memrchr(word, '@', (size_t)(end - word)) : NULL;

	if (!at) {
		url_put_part(b, word, end);
		return;
	}
	at += strlen(AUTHORITY);
	const char *colon = host && host > at ? memchr(at, ':', (size_t)(host - at)) : NULL;
	if (colon) {
		url_put_part(b, word, colon + 1);
		buf_put_str(b, MASK);
		word = host;
	}
	url_put_parameters(b, word, end);
}

void url_put_masked(struct buf *b, const char *text)
{
	while (*text) {
		size_t blanks = strspn(text, BLANKS), len = strcspn(text + blanks, BLANKS);

		buf_put(b, text, blanks);
		text += blanks;
		url_put_word(b, text, text + len);
		text += len;
	}
}
