/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F39.  A request's head: it comes to the same end in two pieces as in one; what is
 * accepted holds no control character, and written again as it was understood
 * it is understood in the same way.
 */
#include "daemon/head.h"
#include "tests/fuzz/fuzz.h"

#define MAX_BYTES 4096
#define MAX_BODY 100000

static enum head_state head_read(struct head *h, const char *bytes, size_t len, size_t first, char *text)
{
	enum head_state s = HEAD_MORE;

	head_init(h, MAX_BYTES, MAX_BODY);
	if (first < len)
		s = head_scan(h, bytes, first);
	if (s == HEAD_MORE)
		s = head_scan(h, bytes, len);
	if (s != HEAD_WHOLE)
		return s;
	FUZZ_CHECK(h->len <= len && h->len <= MAX_BYTES);
	memcpy(text, bytes, h->len);
	return head_parse(h, text);
}

static void check_plain(const char *text)
{
	for (; *text; text++)
		FUZZ_CHECK((unsigned char)*text >= ' ' ? *text != 0x7f : *text == '\t');
}

static void same(const struct head *a, const struct head *b)
{
	FUZZ_CHECK(a->method == b->method && a->minor == b->minor && a->framing == b->framing);
	FUZZ_CHECK(a->body_len == b->body_len && a->close == b->close);
	FUZZ_CHECK(a->expects_continue == b->expects_continue && a->fields_len == b->fields_len);
	FUZZ_CHECK(strcmp(a->path, b->path) == 0 && !a->query == !b->query);
	FUZZ_CHECK(!a->query || strcmp(a->query, b->query) == 0);
	for (size_t i = 0; i < a->fields_len; i++) {
		check_plain(a->fields[i].name);
		check_plain(a->fields[i].value);
		FUZZ_CHECK(strcmp(a->fields[i].name, b->fields[i].name) == 0);
		FUZZ_CHECK(strcmp(a->fields[i].value, b->fields[i].value) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[2][MAX_BYTES * 2], again[MAX_BYTES * 2];
	struct head h, other;
	size_t first = fuzz_byte(&data, &size), len;
	enum head_state s = head_read(&h, (const char *)data, size, size, text[0]);

	FUZZ_CHECK(head_read(&other, (const char *)data, size, first, text[1]) == s);
	if (s == HEAD_REFUSED)
		FUZZ_CHECK(h.status >= 400 && h.status < 600 && h.why && strcmp(h.why, other.why) == 0);
	if (s != HEAD_WHOLE)
		return 0;
	same(&h, &other);
	if (h.method == HTTP_OTHER || h.skipped > 0)
		return 0;
	len = (size_t)snprintf(again, sizeof(again), "%s %s%s%s HTTP/1.%u\r\n", http_method_name(h.method),
			       h.path, h.query ? "?" : "", h.query ? h.query : "", h.minor);
	for (size_t i = 0; i < h.fields_len; i++)
		len += (size_t)snprintf(again + len, sizeof(again) - len, "%s: %s\r\n", h.fields[i].name,
					h.fields[i].value);
	len += (size_t)snprintf(again + len, sizeof(again) - len, "\r\n");
	if (len > MAX_BYTES) /* blanks were added */
		return 0;
	FUZZ_CHECK(head_read(&other, again, len, len, text[1]) == HEAD_WHOLE);
	same(&h, &other);
	return 0;
}
