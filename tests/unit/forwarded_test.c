/* SPDX-License-Identifier: Apache-2.0 */
/* Whose request it is when a trusted proxy says so (F422, F423). */
#include "daemon/forwarded.h"

#include "config/config.h"
#include "daemon/head.h"
#include "tests/unit/cmocka_all.h"

#include <string.h>

#define PROXY "10.0.0.1"

static struct config_http http; /* trusts 10.0.0.0/8, 2001:db8:a::/48 and unix */

static void trust(const char *text)
{
	struct buf why;

	buf_init(&why, 256);
	assert_int_equal(
	    address_net_parse(text, &why, &http.trusted_proxies.nets[http.trusted_proxies.len++]), E_OK);
	buf_release(&why);
}

static int set_up(void **state)
{
	(void)state;
	trust("10.0.0.0/8");
	trust("2001:db8:a::/48");
	http.trusted_proxies.nets[http.trusted_proxies.len++].address.family = ADDRESS_UNIX;
	return 0;
}

/* The caller of a request that `peer` sends with these fields; "" for the peer itself. */
static void check(const char *peer, const char *fields[], size_t fields_len, const char *caller)
{
	struct address from = {.family = ADDRESS_UNIX}, found = {0};
	char text[ADDRESS_SIZE] = "";
	struct head head;

	if (strcmp(peer, "unix") != 0)
		assert_true(address_parse(peer, &from));
	head_init(&head, 8192, 0);
	for (size_t i = 0; i < fields_len; i++)
		head.fields[head.fields_len++] =
		    (struct head_field){.name = fields[2 * i], .value = fields[2 * i + 1]};
	if (forwarded_find(&http, &head, &from, &found))
		address_format(&found, text);
	if (strcmp(text, caller) != 0)
		fail_msg("'%s' and not '%s' for <%s>", text, caller, fields[2 * (fields_len - 1) + 1]);
}

static void check_one(const char *name, const char *value, const char *caller)
{
	check(PROXY, (const char *[]){name, value}, 1, caller);
}

struct one {
	const char *value, *caller;
};

static void x_forwarded_for_is_read_from_the_right(void **state)
{
	static const struct one cases[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"198.51.100.1, 192.0.2.1", "192.0.2.1"}, /* the first was sent by the client */
	    {"192.0.2.1,10.0.0.2, 10.9.9.9", "192.0.2.1"},
	    {"10.0.0.3, 10.0.0.2", "10.0.0.3"}, /* all are trusted: the first one */
	    {"2001:db8::1", "2001:db8::1"},
	    {"[2001:db8::1]", "2001:db8::1"},
	    {"[2001:db8::1]:4711", "2001:db8::1"},
	    {"192.0.2.1:4711", "192.0.2.1"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"::ffff:10.0.0.2, 10.0.0.3", "10.0.0.2"},
	    {"192.0.2.1,\t2001:db8:a::1 ", "192.0.2.1"},
	    /* what is no address ends the walk: whoever passed it on is the caller */
	    {"", ""},
	    {" ", ""},
	    {"unknown", ""},
	    {"unix:", ""},
	    {"192.0.2.1,", ""},
	    {"192.0.2.1, , 10.0.0.2", "10.0.0.2"},
	    {"192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"},
	    {"192.0.2.1 198.51.100.1", ""},
	    {"\"192.0.2.1\"", ""},
	    {"192.0.2.01", ""},
	    {"192.0.2", ""},
	    {"[192.0.2.1]", ""},
	    {"for=192.0.2.1", ""},
	    {"192.0.2.1:99999", ""},
	    {"fe80::1%eth0", ""},
	    {"192.0.2.1/32", ""},
	};

	(void)state;
	http.forwarded_header = CONFIG_FORWARDED_X_FORWARDED_FOR;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_one("x-Forwarded-for", cases[i].value, cases[i].caller);
}

static void forwarded_is_read_from_the_right(void **state)
{
	static const struct one cases[] = {
	    {"for=192.0.2.1", "192.0.2.1"},
	    {"For=\"[2001:db8::1]:4711\"", "2001:db8::1"},
	    {"for=\"192.0.2.1:80\";proto=http;by=203.0.113.43", "192.0.2.1"},
	    {"proto=https; by=\"a,b;c\" ;for=192.0.2.1", "192.0.2.1"},
	    {"for=198.51.100.1, for=192.0.2.1, for=10.0.0.2", "192.0.2.1"},
	    {"for=\"192.0.2.1, for=198.51.100.7", "198.51.100.7"}, /* a quote that a client left open */
	    {"for=192.0.2.1\", for=198.51.100.7, for=10.0.0.9", "198.51.100.7"},
	    {"for=192.0.2.1;host=\"x, for=198.51.100.7\"", "192.0.2.1"},
	    {"for=unknown", ""},
	    {"for=_hidden", ""},
	    {"for=192.0.2.1;for=198.51.100.1", ""},
	    {"proto=http", ""},
	    {"for = 192.0.2.1", ""},
	    {"for=192.0.2.1;", ""},
	    {"for=192.0.2.1;;proto=http", ""},
	    {"for=[2001:db8::1]", ""}, /* RFC 7239 §6: in quotes */
	    {"for=\"192.0.2.1\\\"\"", ""},
	    {"for=\"192.0.2.1\"x", ""},
	    {"for=", ""},
	    {"=192.0.2.1", ""},
	    {"192.0.2.1", ""},
	    {"f r=192.0.2.1", ""},
	};

	(void)state;
	http.forwarded_header = CONFIG_FORWARDED_FORWARDED;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_one("Forwarded", cases[i].value, cases[i].caller);
}

/* F423 */
static void one_header_is_believed_and_only_of_trusted_proxies(void **state)
{
	static const char *both[] = {"Forwarded", "for=192.0.2.1", "X-Forwarded-For", "198.51.100.1"};
	static const char *lines[] = {
	    "X-Forwarded-For", "203.0.113.1, 192.0.2.1", "Host", "a", "X-Forwarded-For", "10.0.0.2"};
	static const char *broken[] = {"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "junk"};
	static char many[60000];

	(void)state;
	http.forwarded_header = CONFIG_FORWARDED_X_FORWARDED_FOR;
	check(PROXY, both, 2, "198.51.100.1");
	check("unix", both, 2, "198.51.100.1");
	check("192.0.2.99", both, 2, "");
	check("2001:db8:b::1", both, 2, "");
	check("127.0.0.1", both, 2, "");
	check(PROXY, both, 1, ""); /* the other header alone */
	check(PROXY, lines, 3, "192.0.2.1");
	check(PROXY, broken, 2, "");
	http.forwarded_header = CONFIG_FORWARDED_FORWARDED;
	check(PROXY, both, 2, "192.0.2.1");
	http.forwarded_header = CONFIG_FORWARDED_NONE;
	check(PROXY, both, 2, "");
	/* thousands of elements, and one that is longer than any address */
	http.forwarded_header = CONFIG_FORWARDED_X_FORWARDED_FOR;
	for (size_t i = 0; i + 10 < sizeof(many); i += 10)
		memcpy(many + i, "10.0.0.10,", 10);
	memcpy(many + strlen(many), "10.0.0.9", 9);
	check_one("X-Forwarded-For", many, "10.0.0.10");
	memset(many, '1', 1000);
	check_one("X-Forwarded-For", many, "10.0.0.10");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(x_forwarded_for_is_read_from_the_right),
	    cmocka_unit_test(forwarded_is_read_from_the_right),
	    cmocka_unit_test(one_header_is_believed_and_only_of_trusted_proxies),
	};

	return cmocka_run_group_tests_name("forwarded", tests, set_up, NULL);
}
