/* SPDX-License-Identifier: Apache-2.0 */
/* The check of a request's head: what passes, what is refused and as what, byte by byte too. */
#include "daemon/head.h"

#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES 8192
#define MAX_BODY 65536

/* What is parsed points into these; few enough for one test, and the next one starts afresh. */
static char texts[32][3 * MAX_BYTES];
static unsigned texts_len;

static enum head_state scan_and_parse(struct head *h, const char *bytes, size_t len)
{
	enum head_state s = head_scan(h, bytes, len);
	char *text = texts[texts_len++ % 32];

	if (s != HEAD_WHOLE)
		return s;
	memcpy(text, bytes, h->len);
	return head_parse(h, text);
}

static enum head_state check(struct head *h, const char *bytes, size_t len)
{
	head_init(h, MAX_BYTES, MAX_BODY);
	return scan_and_parse(h, bytes, len);
}

/* The bytes one by one must come to the same end, and not before the byte that decides. */
static void assert_same_in_pieces(const char *bytes, size_t len, enum head_state want,
				  const struct head *whole)
{
	enum head_state s = HEAD_MORE;
	struct head h;
	size_t n = 0;

	head_init(&h, MAX_BYTES, MAX_BODY);
	while (s == HEAD_MORE && n < len)
		s = scan_and_parse(&h, bytes, ++n);
	assert_int_equal(s, want);
	if (s == HEAD_REFUSED) {
		assert_int_equal(h.status, whole->status);
		assert_string_equal(h.why, whole->why);
	}
	if (s == HEAD_WHOLE)
		assert_int_equal(h.len, whole->len);
}

static void assert_refused_bytes(const char *bytes, size_t len, int status)
{
	struct head h;
	enum head_state s = check(&h, bytes, len);

	if (s != HEAD_REFUSED || h.status != status)
		fail_msg("state %d status %d, wanted %d, for <%s>", (int)s, s == HEAD_REFUSED ? h.status : 0,
			 status, bytes);
	assert_non_null(h.why);
	assert_same_in_pieces(bytes, len, HEAD_REFUSED, &h);
}

static void assert_refused(const char *text, int status)
{
	assert_refused_bytes(text, strlen(text), status);
}

static struct head assert_whole(const char *text)
{
	struct head h;
	enum head_state s = check(&h, text, strlen(text));

	if (s != HEAD_WHOLE)
		fail_msg("state %d (%s) for <%s>", (int)s, s == HEAD_REFUSED ? h.why : "", text);
	assert_same_in_pieces(text, strlen(text), HEAD_WHOLE, &h);
	return h;
}

#define HOST "Host: localhost\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST /a HTTP/1.1\r\n" HOST

static void sound_heads_pass(void **state)
{
	struct head h;

	(void)state;
	h = assert_whole(GET "\r\n");
	assert_int_equal(h.method, HTTP_GET);
	assert_int_equal(h.len, strlen(GET "\r\n"));
	assert_int_equal(h.body_len, 0);
	assert_false(h.close);
	h = assert_whole("POST /client/v4/a-b_c~d.e/%2F?x=1&y=a/b?c HTTP/1.1\r\n" HOST
			 "Content-Length: 17\r\nX-Obs:\t\xc3\xa9 \r\nEmpty:\r\n\r\nbody of the request");
	assert_int_equal(h.method, HTTP_POST);
	assert_int_equal(h.body_len, 17);
	assert_int_equal(assert_whole("DELETE / HTTP/1.1\r\nhOsT:[::1]:8080\r\n\r\n").method, HTTP_DELETE);
	assert_true(assert_whole("GET / HTTP/1.0\r\n\r\n").close);
	assert_true(assert_whole(GET "Connection: keep-alive, Close\r\n\r\n").close);
	assert_false(assert_whole(GET "Connection: keep-alive\r\n\r\n").close);
	assert_false(assert_whole(GET "Connection: closed\r\n\r\n").close);
	h = assert_whole(POST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n");
	assert_int_equal(h.framing, HEAD_LENGTH);
	assert_int_equal(h.body_len, 5);
	assert_true(h.expects_continue);
	h = assert_whole("\r\nGET /a?b HTTP/1.1\r\n" HOST "\r\n"); /* RFC 9112 §2.2 */
	assert_int_equal(h.len, strlen("\r\nGET /a?b HTTP/1.1\r\n" HOST "\r\n"));
	assert_string_equal(h.path, "/a");
	assert_string_equal(h.query, "b");
	assert_int_equal(assert_whole("GET / HTTP/1.9\r\n" HOST "\r\n").minor, 9);
}

static void head_ends_where_it_ends(void **state)
{
	struct head h;

	(void)state;
	assert_int_equal(check(&h, GET, strlen(GET)), HEAD_MORE);
	assert_int_equal(check(&h, GET "\r", strlen(GET) + 1), HEAD_MORE);
	assert_int_equal(check(&h, GET "\r\n" GET, strlen(GET "\r\n" GET)), HEAD_WHOLE);
	assert_int_equal(h.len, strlen(GET "\r\n"));
}

/* F1 F2 */
static void content_length_is_one_number(void **state)
{
	(void)state;
	assert_refused(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400);
	assert_refused(POST "Content-Length: 3\r\ncontent-length: 3\r\n\r\n", 400);
	assert_refused(POST "Content-Length: +3\r\n\r\n", 400);
	assert_refused(POST "Content-Length: -3\r\n\r\n", 400);
	assert_refused(POST "Content-Length: 3,3\r\n\r\n", 400);
	assert_refused(POST "Content-Length: 3, 3\r\n\r\n", 400);
	assert_refused(POST "Content-Length: 0x3\r\n\r\n", 400);
	assert_refused(POST "Content-Length: 3 3\r\n\r\n", 400);
	assert_refused(POST "Content-Length:\r\n\r\n", 400);
	assert_refused(POST "Content-Length: \t \r\n\r\n", 400);
	assert_refused(POST "Content-Length: 18446744073709551615\r\n\r\n", 413);
	assert_refused(POST "Content-Length: 18446744073709551619\r\n\r\n", 413);
	assert_refused(POST "Content-Length: 184467440737095516190000000000000000000003\r\n\r\n", 413);
	assert_int_equal(assert_whole(POST "Content-Length: 000000000000000000003\r\n\r\n").body_len, 3);
	assert_int_equal(assert_whole(POST "Content-Length: 0\r\n\r\n").framing, HEAD_NO_BODY);
	assert_int_equal(assert_whole(POST "Content-Length: 65536\r\n\r\n").body_len, 65536);
	assert_int_equal(assert_whole("HEAD / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n").body_len, 1);
	assert_refused(POST "Content-Length: 65537\r\n\r\n", 413);
	assert_refused(POST "Content-Length: 9999999999\r\n\r\n", 413);
}

/* F3 F4: RFC 9112 §6.1 and §6.3 */
static void chunked_is_the_only_transfer_coding(void **state)
{
	static const char *const chunked[] = {"chunked", "Chunked", "\tchunked ", ", chunked ,,"};
	static const struct {
		const char *coding;
		int status;
	} refused[] = {
	    {"xchunked", 400},
	    {"chunked, identity", 400},
	    {"", 400},
	    {"chunked, chunked", 400},
	    {"gzip", 400},
	    {"chunked;q=1", 400},
	    {"chunke", 400},
	    {"chunked, gzip, chunked", 400},
	    {"\"chunked\"", 400},
	    {"gzip, chunked", 501},
	    {"x, y, chunked", 501},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(chunked) / sizeof(chunked[0]); i++) {
		snprintf(text, sizeof(text), POST "transfer-encoding:%s\r\n\r\n", chunked[i]);
		assert_int_equal(assert_whole(text).framing, HEAD_CHUNKED);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		snprintf(text, sizeof(text), POST "Transfer-Encoding: %s\r\n\r\n", refused[i].coding);
		assert_refused(text, refused[i].status);
	}
	assert_refused(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
	assert_refused(POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400);
	assert_refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
	assert_refused(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501);
	assert_refused("POST /a HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400);
}

/* N10: blanks of both kinds are cut off, whatever the field. */
static void blanks_around_values_are_none_of_theirs(void **state)
{
	struct head h;

	(void)state;
	h = assert_whole(POST "Authorization:\tBearer x \t\r\nExpect: \t100-continue\t\r\n"
			      "Content-Length:\t 2\t\r\nConnection:\tclose\r\nX:a\tb\r\n\r\n");
	assert_string_equal(head_field(&h, "authorization"), "Bearer x");
	assert_string_equal(head_field(&h, "X"), "a\tb");
	assert_null(head_field(&h, "Y"));
	assert_int_equal(h.body_len, 2);
	assert_true(h.expects_continue);
	assert_true(h.close);
}

/* F7 */
static void lines_and_fields_are_strict(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
	assert_refused(GET HOST "\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: [1::2::3]\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: [fe80::1%25lo]\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHost: a, b/\r\n\r\n", 400);
	(void)assert_whole("GET / HTTP/1.1\r\nHost:\r\n\r\n");
	(void)assert_whole("GET / HTTP/1.1\r\nHost: %2Frun%2Fcsrd.sock\r\n\r\n");
	(void)assert_whole("GET / HTTP/1.1\r\nHost: a_b.example:\r\n\r\n");
	(void)assert_whole("GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:80\r\n\r\n");
	(void)assert_whole("GET / HTTP/1.1\r\nHost: [v1.a:b]\r\n\r\n");
	assert_refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
	assert_refused(GET "X: a\r\n b\r\n\r\n", 400);
	assert_refused(GET "X: a\r\n\tb\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\nHost: a\n\n", 400);
	assert_refused(GET "X: a\n\r\n", 400);
	assert_refused(GET "X: a\rb\r\n\r\n", 400);
	assert_refused(GET "X: a\r\r\n\r\n", 400);
	assert_refused(GET "\r\r\n", 400);
	assert_refused(GET "X: a\x01z\r\n\r\n", 400);
	assert_refused(GET "X: a\x7fz\r\n\r\n", 400);
	assert_refused(GET "X\r\n\r\n", 400);
	assert_refused(GET ": a\r\n\r\n", 400);
	assert_refused(GET "X(Y): a\r\n\r\n", 400);
	assert_refused("\r\n\r\nGET / HTTP/1.1\r\n", 400);
	assert_refused_bytes(GET "X: b\0c\r\n\r\n", strlen(GET) + 10, 400);
	assert_refused_bytes("GET /\0 HTTP/1.1\r\n", 17, 400);
}

static void fields_that_decide_stand_once(void **state)
{
	static const char *const names[] = {"Authorization", "X-Auth-Email", "X-Auth-Key",
					    "X-Auth-Other",  "Content-Type", "Idempotency-Key"};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), POST "%s: value\r\nX: y\r\n%s: value\r\n\r\n", names[i],
			 names[i]);
		assert_refused(text, 400);
		snprintf(text, sizeof(text), POST "%s: value\r\n\r\n", names[i]);
		(void)assert_whole(text);
	}
	(void)assert_whole(GET "X-Auth-Email: a\r\nX-Auth-Key: b\r\nAccept: a\r\nAccept: b\r\n\r\n");
}

/* F9 */
static void size_and_number_are_capped(void **state)
{
	char *text = malloc(3 * MAX_BYTES);
	struct head h;
	size_t len;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', 3 * MAX_BYTES);
	memcpy(text, "GET /", 5);
	assert_int_equal(check(&h, text, MAX_BYTES - 1), HEAD_MORE);
	assert_int_equal(check(&h, text, MAX_BYTES), HEAD_REFUSED);
	assert_int_equal(h.status, 414);
	memcpy(text, "GETa/", 5);
	assert_int_equal(check(&h, text, MAX_BYTES), HEAD_REFUSED);
	assert_int_equal(h.status, 501);

	/* exactly as long as it may be, and one byte more */
	len = strlen(GET);
	memset(text, 'a', 3 * MAX_BYTES);
	memcpy(text, GET "X:", len + 2);
	memcpy(text + MAX_BYTES - 4, "\r\n\r\n", 4);
	assert_int_equal(check(&h, text, MAX_BYTES), HEAD_WHOLE);
	memset(text + MAX_BYTES - 4, 'a', 8);
	memcpy(text + MAX_BYTES - 3, "\r\n\r\n", 4);
	assert_int_equal(check(&h, text, MAX_BYTES + 1), HEAD_REFUSED);
	assert_int_equal(h.status, 431);

	len = (size_t)snprintf(text, 3 * MAX_BYTES, "%s", GET);
	for (int i = 1; i < HEAD_FIELDS_MAX; i++)
		len += (size_t)snprintf(text + len, 3 * MAX_BYTES - len, "a:b\r\n");
	snprintf(text + len, 3 * MAX_BYTES - len, "\r\n");
	(void)assert_whole(text);
	snprintf(text + len, 3 * MAX_BYTES - len, "a:b\r\n\r\n");
	assert_refused(text, 431);
	free(text);
}

/* F11: RFC 9112 §3.2, RFC 9110 §4.2 */
static void targets_have_one_of_three_forms(void **state)
{
	static const struct {
		const char *target, *path, *query;
	} good[] = {
	    {"/", "/", NULL},
	    {"/../%2e%2e/;a=b//c", "/../%2e%2e/;a=b//c", NULL},
	    {"//evil/x?y=?", "//evil/x", "y=?"},
	    {"/a?", "/a", ""},
	    {"http://h/a?b", "/a", "b"},
	    {"HTTP://h:80", "/", NULL},
	    {"http://[::1]:1?b=/", "/", "b=/"},
	};
	static const char *const bad[] = {
	    "*",
	    "a",
	    "/a b",
	    "/%zz",
	    "/%2",
	    "/%",
	    "/%00",
	    "/a%00",
	    "/a\"b",
	    "/<a>",
	    "/a\\b",
	    "/a^b",
	    "/`",
	    "/{}",
	    "/|",
	    "/a#b",
	    "",
	    "/\xc3\xa9",
	    "/?%0g",
	    "/?a=\"b",
	    "/?%00",
	    "?a",
	    "a:1",
	    "http:/a",
	    "http://",
	    "http:///a",
	    "http://:80/",
	    "http://u@h/",
	    "http://[x]/",
	    "http://h:x/",
	    "ftp://h/",
	    "urn:a",
	    "http://h\\/a",
	    "://h/",
	};
	char text[256];
	struct head h;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", good[i].target);
		h = assert_whole(text);
		assert_string_equal(h.path, good[i].path);
		assert_true(!h.query == !good[i].query);
		if (h.query)
			assert_string_equal(h.query, good[i].query);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", bad[i]);
		assert_refused(text, 400);
	}
	assert_refused("GET https://h/ HTTP/1.1\r\n" HOST "\r\n", 421);
	assert_string_equal(assert_whole("OPTIONS * HTTP/1.1\r\n" HOST "\r\n").path, "*");
	assert_string_equal(assert_whole("OPTIONS http://h HTTP/1.1\r\n" HOST "\r\n").path, "*");
	assert_string_equal(assert_whole("OPTIONS http://h/ HTTP/1.1\r\n" HOST "\r\n").path, "/");
}

/* F12 F13 */
static void methods_versions_and_expectations(void **state)
{
	(void)state;
	assert_int_equal(assert_whole("PATCH / HTTP/1.1\r\n" HOST "\r\n").method, HTTP_PATCH);
	assert_refused("TRACE / HTTP/1.1\r\n" HOST "\r\n", 501);
	assert_refused("CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", 501);
	assert_refused("FOO / HTTP/1.1\r\n" HOST "\r\n", 501);
	assert_refused("get / HTTP/1.1\r\n" HOST "\r\n", 501);
	assert_refused("G@T / HTTP/1.1\r\n" HOST "\r\n", 400);
	assert_refused("GET /\r\n\r\n", 400);
	assert_refused("GET\r\n\r\n", 400);
	assert_refused("GET  / HTTP/1.1\r\n" HOST "\r\n", 400);
	assert_refused("GET / HTTP/1.1 \r\n" HOST "\r\n", 400);
	assert_refused("GET / http/1.1\r\n" HOST "\r\n", 400);
	assert_refused("GET / HTTP/1.10\r\n" HOST "\r\n", 400);
	assert_refused("GET / HTTP/9.9\r\n" HOST "\r\n", 505);
	assert_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
	assert_refused(POST "Expect: foo\r\nContent-Length: 1\r\n\r\n", 417);
	assert_refused(POST "Expect: 100-continue, foo\r\nContent-Length: 1\r\n\r\n", 417);
	assert_false(assert_whole(POST "Expect: 100-continue\r\n\r\n").expects_continue);
	assert_false(
	    assert_whole("POST / HTTP/1.0\r\nExpect: foo\r\nContent-Length: 1\r\n\r\n").expects_continue);
	assert_true(assert_whole(POST "Expect: , 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
			.expects_continue);
	assert_refused(POST "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n", 413);
}

/* F153: its answer must have no body. */
static void refused_head_is_known_as_one(void **state)
{
	static const char *const bad[] = {
	    "HEAD / HTTP/1.1\r\n" HOST "\n",
	    "HEAD / HTTP/1.1\r\nX: \x01\r\n",
	    "HEAD / HTTP/1.1\r\n\r\n",
	    "\r\nHEAD / HTTP/1.1\r\nX: \n",
	    "HEAD /\r\n\r\n",
	    "HEAD / HTTP/2.0\r\n\r\n",
	};
	struct head h;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(check(&h, bad[i], strlen(bad[i])), HEAD_REFUSED);
		assert_int_equal(h.method, HTTP_HEAD);
	}
	assert_int_equal(check(&h, "HEADS / HTTP/1.1\n", 17), HEAD_REFUSED);
	assert_int_equal(h.method, HTTP_OTHER);
	assert_int_equal(check(&h, "HEAD\n", 5), HEAD_REFUSED);
	assert_int_equal(h.method, HTTP_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sound_heads_pass),
	    cmocka_unit_test(head_ends_where_it_ends),
	    cmocka_unit_test(content_length_is_one_number),
	    cmocka_unit_test(chunked_is_the_only_transfer_coding),
	    cmocka_unit_test(blanks_around_values_are_none_of_theirs),
	    cmocka_unit_test(lines_and_fields_are_strict),
	    cmocka_unit_test(fields_that_decide_stand_once),
	    cmocka_unit_test(size_and_number_are_capped),
	    cmocka_unit_test(targets_have_one_of_three_forms),
	    cmocka_unit_test(methods_versions_and_expectations),
	    cmocka_unit_test(refused_head_is_known_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
