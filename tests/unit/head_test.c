/* The check of a request's head: what passes, what is refused and as what, byte by byte too. */
#include "daemon/head.h"

#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES 8192
#define MAX_BODY 65536

static enum head_state check(struct head *h, const char *bytes, size_t len)
{
	head_init(h, MAX_BYTES, MAX_BODY);
	return head_check(h, bytes, len);
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
		s = head_check(&h, bytes, ++n);
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
	assert_int_equal(assert_whole(POST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n").body_len, 5);
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
	assert_refused(POST "Content-Length: 18446744073709551617\r\n\r\n", 400);
	assert_refused(POST "Content-Length: 00000000003\r\n\r\n", 400);
	assert_int_equal(assert_whole(POST "Content-Length: 0000000003\r\n\r\n").body_len, 3);
	assert_int_equal(assert_whole(POST "Content-Length: 65536\r\n\r\n").body_len, 65536);
	assert_refused("HEAD / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n", 400);
	(void)assert_whole("HEAD / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	assert_refused(POST "Content-Length: 65537\r\n\r\n", 413);
	assert_refused(POST "Content-Length: 9999999999\r\n\r\n", 413);
}

/* F3 F4 */
static void transfer_codings_are_refused(void **state)
{
	(void)state;
	assert_refused(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
	assert_refused(POST "Transfer-Encoding: chunked\r\n\r\n", 501);
	assert_refused(POST "Transfer-Encoding: xchunked\r\n\r\n", 501);
	assert_refused(POST "transfer-encoding: chunked, identity\r\n\r\n", 501);
	assert_refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501);
	assert_refused(POST "Transfer-Encoding:\r\n\r\n", 501);
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
	assert_refused("\r\nGET / HTTP/1.1\r\n", 400);
	assert_refused_bytes(GET "X: b\0c\r\n\r\n", strlen(GET) + 10, 400);
	assert_refused_bytes("GET /\0 HTTP/1.1\r\n", 17, 400);
}

static void fields_that_decide_stand_once(void **state)
{
	static const char *const names[] = {"Authorization", "X-Auth-Email", "X-Auth-Key", "X-Auth-Other",
	                                    "Content-Type", "Expect", "Idempotency-Key"};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), POST "%s: 100-continue\r\nX: y\r\n%s: 100-continue\r\n\r\n",
		         names[i], names[i]);
		assert_refused(text, 400);
		snprintf(text, sizeof(text), POST "%s: 100-continue\r\n\r\n", names[i]);
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
	assert_int_equal(h.status, 431);

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

/* F11 */
static void targets_are_plain_paths(void **state)
{
	static const char *const bad[] = {
	    "//evil/x", "//",	 "http://evil/x", "*",	   "a",	      "/a b",  "/%zz", "/%2",  "/%",
	    "/%00",	"/a%00", "/a\"b",	  "/<a>",  "/a\\b",   "/a^b",  "/`",   "/{}",  "/|",
	    "/a#b",	"",	 "/\xc3\xa9",	  "/?%0g", "/?a=\"b", "/?%00", "?a",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", bad[i]);
		assert_refused(text, 400);
	}
	(void)assert_whole("GET /../%2e%2e/;a=b//c HTTP/1.1\r\n" HOST "\r\n");
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
	assert_refused(POST "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n", 413);
}

static void json_is_told_from_other_types(void **state)
{
	(void)state;
	assert_true(head_is_json("application/json"));
	assert_true(head_is_json("Application/JSON; charset=utf-8"));
	assert_true(head_is_json("application/json ;x"));
	assert_false(head_is_json(NULL));
	assert_false(head_is_json(""));
	assert_false(head_is_json("text/plain"));
	assert_false(head_is_json("application/json5"));
	assert_false(head_is_json("application/x-www-form-urlencoded; application/json"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sound_heads_pass),
	    cmocka_unit_test(head_ends_where_it_ends),
	    cmocka_unit_test(content_length_is_one_number),
	    cmocka_unit_test(transfer_codings_are_refused),
	    cmocka_unit_test(lines_and_fields_are_strict),
	    cmocka_unit_test(fields_that_decide_stand_once),
	    cmocka_unit_test(size_and_number_are_capped),
	    cmocka_unit_test(targets_are_plain_paths),
	    cmocka_unit_test(methods_versions_and_expectations),
	    cmocka_unit_test(json_is_told_from_other_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
