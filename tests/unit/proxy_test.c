/* SPDX-License-Identifier: Apache-2.0 */
/* The header of the PROXY protocol: what it tells, byte by byte too, and what is refused (F417, F418). */
#include "daemon/proxy.h"

#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4                                                                                                   \
	"\300\0\2\1" /* 192.0.2.1 */ "\177\0\0\1"                                                            \
	"\4\322" /* 1234 */ "\0\120"
#define V6                                                                                                   \
	"\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\5" /* 2001:db8::5 */ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"          \
	"\4\322"                                                                                             \
	"\0\120"
#define MAPPED                                                                                               \
	"\0\0\0\0\0\0\0\0\0\0\377\377\300\0\2\1"                                                             \
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"                                                                   \
	"\4\322"                                                                                             \
	"\0\120"
#define ZERO_16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ZERO_108 ZERO_16 ZERO_16 ZERO_16 ZERO_16 ZERO_16 ZERO_16 "\0\0\0\0\0\0\0\0\0\0\0\0"
#define TLV                                                                                                  \
	"\3\0\4crcc"                                                                                         \
	"\4\0\3nop"

#define HEADER(text, source, why)                                                                            \
	{                                                                                                    \
		text, sizeof(text) - 1, source, why                                                          \
	}

/* Version, command, family and length, and what follows them. */
static const struct header {
	const char *text;
	size_t len;
	const char *source; /* NULL: the peer itself */
	const char *why;    /* a part of it; NULL: whole */
} headers[] = {
    HEADER(SIGNATURE "\x21\x11\0\x0c" V4, "192.0.2.1:1234", NULL),
    HEADER(SIGNATURE "\x21\x11\0\x19" V4 TLV, "192.0.2.1:1234", NULL),
    HEADER(SIGNATURE "\x21\x21\0\x24" V6, "[2001:db8::5]:1234", NULL),
    HEADER(SIGNATURE "\x21\x21\0\x31" V6 TLV, "[2001:db8::5]:1234", NULL),
    HEADER(SIGNATURE "\x21\x21\0\x24" MAPPED, "192.0.2.1:1234", NULL),
    HEADER(SIGNATURE "\x21\x31\0\xd8" ZERO_108 ZERO_108, NULL, NULL),
    HEADER(SIGNATURE "\x21\x00\0\0", NULL, NULL),
    HEADER(SIGNATURE "\x21\x00\0\x0d" TLV, NULL, NULL),
    HEADER(SIGNATURE "\x20\x00\0\0", NULL, NULL),
    HEADER(SIGNATURE "\x20\x11\0\x0c" V4, NULL, NULL), /* LOCAL: whatever it says */
    HEADER(SIGNATURE "\x20\x11\0\0", NULL, NULL),
    HEADER(SIGNATURE "\x21\x10\0\x0c" V4, NULL, NULL),
    HEADER(SIGNATURE "\x21\x11\0\x0b" V4, NULL, "too short for its addresses"),
    HEADER(SIGNATURE "\x21\x21\0\x23" V6, NULL, "too short for its addresses"),
    HEADER(SIGNATURE "\x21\x31\0\x0c" V4, NULL, "too short for its addresses"),
    HEADER(SIGNATURE "\x21\x12\0\x0c" V4, NULL, "datagrams"),
    HEADER(SIGNATURE "\x21\x13\0\x0c" V4, NULL, "address family"),
    HEADER(SIGNATURE "\x21\x41\0\x0c" V4, NULL, "address family"),
    HEADER(SIGNATURE "\x22\x11\0\x0c" V4, NULL, "neither LOCAL nor PROXY"),
    HEADER(SIGNATURE "\x11\x11\0\x0c" V4, NULL, "send version 2"),
    HEADER(SIGNATURE "\x31\x11\0\x0c" V4, NULL, "send version 2"),
    HEADER(SIGNATURE "\x21\x11\x02\x19" V4, NULL, "longer than 552 bytes"),
    HEADER(SIGNATURE "\x20\x00\xff\xff", NULL, "longer than 552 bytes"),
    HEADER("PROXY TCP4 192.0.2.1 127.0.0.1 1234 80\r\n", NULL, "version 1"),
    HEADER("PROXY UNKNOWN\r\n", NULL, "version 1"),
    HEADER("GET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, "is expected from this address"),
    HEADER("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NULL, "is expected from this address"),
    HEADER("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c" V4, NULL, "is expected from this address"),
};
#define HEADERS (sizeof(headers) / sizeof(headers[0]))

static void check_outcome(const struct header *h, const struct proxy *p, enum proxy_state s)
{
	char text[ADDRESS_PORT_SIZE];

	assert_int_equal(s, h->why ? PROXY_REFUSED : PROXY_WHOLE);
	if (h->why) {
		assert_non_null(p->why);
		if (!strstr(p->why, h->why))
			fail_msg("'%s' is not in '%s'", h->why, p->why);
		return;
	}
	if (!h->source) {
		assert_int_equal(p->source.family, ADDRESS_NONE);
		return;
	}
	address_format_port(&p->source, p->port, text);
	assert_string_equal(text, h->source);
}

/* All of it at once, with a request right behind it, which is left where it is. */
static void a_header_is_read_and_nothing_behind_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < HEADERS; i++) {
		const struct header *h = &headers[i];
		char rest[16] = "";
		struct proxy p;
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(send(fds[0], h->text, h->len, 0), h->len);
		assert_int_equal(send(fds[0], "GET /", 5, 0), 5);
		proxy_init(&p);
		check_outcome(h, &p, proxy_read(&p, fds[1]));
		if (!h->why) {
			assert_int_equal(recv(fds[1], rest, sizeof(rest), MSG_DONTWAIT), 5);
			assert_string_equal(rest, "GET /");
		}
		close(fds[0]);
		close(fds[1]);
	}
}

/* Cut in two at any place; and each byte for itself. */
static void a_header_comes_in_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < HEADERS; i++) {
		const struct header *h = &headers[i];

		for (size_t cut = 1; cut < h->len; cut++) {
			enum proxy_state s;
			struct proxy p;
			int fds[2];

			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
			proxy_init(&p);
			assert_int_equal(proxy_read(&p, fds[1]), PROXY_MORE);
			assert_int_equal(send(fds[0], h->text, cut, 0), cut);
			s = proxy_read(&p, fds[1]);
			if (s == PROXY_MORE) {
				assert_int_equal(send(fds[0], h->text + cut, h->len - cut, 0), h->len - cut);
				s = proxy_read(&p, fds[1]);
			}
			if (!h->why || cut > 16)
				check_outcome(h, &p, s);
			else
				assert_int_equal(s, PROXY_REFUSED);
			close(fds[0]);
			close(fds[1]);
		}
	}
}

static void a_peer_that_leaves(void **state)
{
	const struct header *h = &headers[1];

	(void)state;
	for (size_t cut = 0; cut < h->len; cut++) {
		struct proxy p;
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(send(fds[0], h->text, cut, 0), cut);
		close(fds[0]);
		proxy_init(&p);
		assert_int_equal(proxy_read(&p, fds[1]), PROXY_ENDED);
		assert_int_equal(p.len, cut);
		close(fds[1]);
	}
}

/* F418: whatever comes, no more than the buffer holds is asked for, and there is an end. */
static void random_headers(void **state)
{
	unsigned whole = 0;

	(void)state;
	srandom(418);
	for (unsigned round = 0; round < 10000; round++) {
		enum proxy_state s = PROXY_MORE;
		struct proxy p;

		proxy_init(&p);
		while (s == PROXY_MORE) {
			size_t missing = proxy_missing(&p), n = 1 + (size_t)random() % 40;

			assert_true(missing > 0 && p.len + missing <= PROXY_BYTES_MAX);
			n = n < missing ? n : missing;
			for (size_t i = p.len; i < p.len + n; i++) {
				p.bytes[i] = i < 12 ? (uint8_t)SIGNATURE[i] : (uint8_t)random();
				if (i < 12 && random() % 200 == 0)
					p.bytes[i] ^= 1u << random() % 8;
				if (i == 12 && random() % 8)
					p.bytes[i] = (uint8_t)(0x20 | random() % 2);
				if (i == 13 && random() % 8)
					p.bytes[i] = (uint8_t)(random() % 4 << 4 | random() % 2);
				if (i == 14 && random() % 8)
					p.bytes[i] = (uint8_t)(random() % 3);
			}
			s = proxy_take(&p, n);
		}
		assert_int_not_equal(s, PROXY_ENDED);
		assert_true((s == PROXY_REFUSED) == (p.why != NULL));
		whole += s == PROXY_WHOLE;
	}
	assert_true(whole > 1000 && whole < 9000);
}

static void a_header_that_nobody_asked_for(void **state)
{
	(void)state;
	assert_non_null(strstr(proxy_unasked(SIGNATURE, 12), "does not name"));
	assert_non_null(strstr(proxy_unasked(SIGNATURE "\x21", 13), "does not name"));
	assert_non_null(strstr(proxy_unasked("PROXY TCP4", 10), "version 1"));
	assert_null(proxy_unasked(SIGNATURE, 4)); /* empty lines */
	assert_null(proxy_unasked("\r\n\r\nGET", 7));
	assert_null(proxy_unasked("PROXYFIND", 9));
	assert_null(proxy_unasked("GET /", 5));
	assert_null(proxy_unasked("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_header_is_read_and_nothing_behind_it),
	    cmocka_unit_test(a_header_comes_in_pieces),
	    cmocka_unit_test(a_peer_that_leaves),
	    cmocka_unit_test(random_headers),
	    cmocka_unit_test(a_header_that_nobody_asked_for),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
