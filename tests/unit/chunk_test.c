/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of chunked bodies: what it takes, what it refuses, byte by byte too. */
#include "daemon/chunk.h"

#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BODY 64
#define MAX_TRAILER 100

struct decoded {
	enum chunk_state state;
	char body[MAX_BODY + 1];
	size_t body_len;
	size_t used;
	int status;
};

/* The bytes in pieces of `piece`. */
static struct decoded decode(const char *bytes, size_t len, size_t piece)
{
	struct decoded d = {.state = CHUNK_MORE};
	struct chunk c;
	size_t used, data_len;

	chunk_init(&c, MAX_BODY, MAX_TRAILER);
	while (d.used < len && (d.state == CHUNK_MORE || d.state == CHUNK_DATA)) {
		size_t n = len - d.used < piece ? len - d.used : piece;

		d.state = chunk_decode(&c, bytes + d.used, n, &used, &data_len);
		assert_true(used <= n && data_len <= used);
		assert_true(d.body_len + data_len <= MAX_BODY);
		assert_true((d.state == CHUNK_DATA) == (data_len > 0));
		memcpy(d.body + d.body_len, bytes + d.used + used - data_len, data_len);
		d.body_len += data_len;
		d.used += used;
	}
	d.status = d.state == CHUNK_REFUSED ? c.status : 0;
	if (d.state == CHUNK_REFUSED)
		assert_non_null(c.why);
	return d;
}

static void assert_decoded(const char *text, const char *body, const char *rest)
{
	size_t len = strlen(text);

	for (size_t piece = 1; piece <= len; piece++) {
		struct decoded d = decode(text, len, piece);

		if (d.state != CHUNK_END)
			fail_msg("state %d, status %d for <%s> in pieces of %zu", (int)d.state, d.status,
				 text, piece);
		assert_string_equal(d.body, body);
		assert_int_equal(d.used, len - strlen(rest));
	}
}

static void assert_refused(const char *text, int status)
{
	size_t len = strlen(text);

	for (size_t piece = 1; piece <= len; piece++) {
		struct decoded d = decode(text, len, piece);

		if (d.state != CHUNK_REFUSED || d.status != status)
			fail_msg("state %d, status %d, wanted %d, for <%s> in pieces of %zu", (int)d.state,
				 d.status, status, text, piece);
	}
}

/* RFC 9112 §7.1 */
static void chunks_become_one_body(void **state)
{
	(void)state;
	assert_decoded("0\r\n\r\n", "", "");
	assert_decoded("5\r\nhello\r\n0\r\n\r\n", "hello", "");
	assert_decoded("1\r\nh\r\n4\r\nello\r\n0000\r\n\r\nGET /", "hello", "GET /");
	assert_decoded("A\r\n0123456789\r\n00000000000000000000a\r\nabc\r\ndefgh\r\n0\r\n\r\n",
		       "0123456789abc\r\ndefgh", "");
	assert_decoded("40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n0\r\n\r\n",
		       "0123456789012345678901234567890123456789012345678901234567890123", "");
}

/* RFC 9112 §7.1.1 and §7.1.2 */
static void extensions_and_trailers_are_dropped(void **state)
{
	(void)state;
	assert_decoded("5;x=y\r\nhello\r\n0;z\r\n\r\n", "hello", "");
	assert_decoded("5 \t; x=\"a;b\"\r\nhello\r\n0\r\n\r\n", "hello", "");
	assert_decoded("5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\nContent-Length: 7\r\n\r\nrest", "hello",
		       "rest");
}

/* F4: what two decoders could read in two ways */
static void everything_else_is_refused(void **state)
{
	static const char *const bad[] = {
	    "\r\n",
	    ";x\r\n",
	    "g\r\n",
	    "0x5\r\nhello\r\n",
	    "+5\r\nhello\r\n",
	    "-5\r\n",
	    " 5\r\nhello\r\n",
	    "5\nhello\r\n",
	    "5\r\nhello\n0\r\n\r\n",
	    "5 \r\nhello\r\n",
	    "5 6\r\nhello\r\n",
	    "5\rhello",
	    "5\r\nhello!\r\n",
	    "5\r\nhello0\r\n",
	    "5;a\n\r\n",
	    "5;a\x01z\r\n",
	    "5\r\nhello\r\n\r\n",
	    "0\r\na: b\n\r\n",
	    "0\r\n\r\r",
	    "0\r\na\x7f\r\n\r\n",
	    "0\r\nno colon\r\n\r\n",
	    "0\r\nnocolon\r\n\r\n",
	    "0\r\na : b\r\n\r\n",
	    "0\r\n a: b\r\n\r\n",
	    "0\r\na: b\r\n c\r\n\r\n",
	    "0\r\n: b\r\n\r\n",
	    "5\r\nhello\r\n 0\r\n",
	    "\t5\r\n",
	    "5,5\r\n",
	    "5\r\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(bad[i], 400);
}

/* F10 */
static void sizes_are_capped(void **state)
{
	char text[8192];
	size_t len;

	(void)state;
	assert_refused("41\r\n", 413);
	assert_refused("20\r\n01234567890123456789012345678901\r\n21\r\n", 413);
	assert_refused("ffffffffffffffff\r\n", 413);
	assert_refused("10000000000000000\r\n", 413);
	assert_refused("fffffffffffffffffffffffffffffff\r\n", 413);
	len = (size_t)snprintf(text, sizeof(text), "1;%05000d\r\n", 0);
	assert_int_equal(decode(text, len, len).status, 400);
	len = (size_t)snprintf(text, sizeof(text), "0\r\nX: %0200d\r\n\r\n", 0);
	assert_int_equal(decode(text, len, len).status, 431);
	len = (size_t)snprintf(text, sizeof(text), "0\r\nX: %050d\r\nY: %050d\r\n\r\n", 0, 0);
	assert_int_equal(decode(text, len, 7).status, 431);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chunks_become_one_body),
	    cmocka_unit_test(extensions_and_trailers_are_dropped),
	    cmocka_unit_test(everything_else_is_refused),
	    cmocka_unit_test(sizes_are_capped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
