/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks: what is one, and that none has two forms. */
#include "tests/unit/cmocka_all.h"

#include "base/address.h"

#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static struct address address(const char *text)
{
	struct address a = {0};

	assert_true(address_parse(text, &a));
	return a;
}

static struct address_net net(const char *text)
{
	struct address_net n = {0};
	struct buf why;

	buf_init(&why, 256);
	assert_int_equal(address_net_parse(text, &why, &n), E_OK);
	assert_string_equal(buf_text(&why), "");
	buf_release(&why);
	return n;
}

static void an_address_has_one_form(void **state)
{
	static const char *const cases[][2] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"0.0.0.0", "0.0.0.0"},
	    {"255.255.255.255", "255.255.255.255"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"::FFFF:c000:0201", "192.0.2.1"},
	    {"0:0:0:0:0:ffff:7f00:1", "127.0.0.1"},
	    {"::", "::"},
	    {"::1", "::1"},
	    {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
	    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* RFC 5952 §4.2.2 */
	    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},          /* §4.2.3 */
	    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
	    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
	    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
	};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		struct address a = address(cases[i][0]), again;
		char text[ADDRESS_SIZE];

		address_format(&a, text);
		assert_string_equal(text, cases[i][1]);
		again = address(text);
		assert_int_equal(address_compare(&a, &again), 0);
	}
}

static void what_only_looks_like_an_address_is_none(void **state)
{
	static const char *const cases[] = {
	    "",           " ",          "localhost",         "10.1",          "127.1",      "2130706433",
	    "0x7f.0.0.1", "127.0.0.01", "0177.0.0.1",        "127.0.0.1 ",    " 127.0.0.1", "127.0.0.256",
	    "127.0.0",    "127.0.0.1.", "1.2.3.4.5",         "127.0.0.-1",    "[::1]",      "::1%lo",
	    ":::",        "1::2::3",    "12345::",           "1:2:3:4:5:6:7", "::g",        "1.2.3.4/8",
	    "::1/128",    "fe80::1%25", "1.2.3.4\n",         "::1.2.3",       "::01.2.3.4", "unix",
	    ":1",         "1:",         "1:2:3:4:5:6:7:8:9",
	};
	struct address a = {.family = 9};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++)
		assert_false(address_parse(cases[i], &a));
	assert_int_equal(a.family, 9);
}

static void an_address_and_a_port(void **state)
{
	static const struct {
		const char *text, *form;
	} cases[] = {
	    {"127.0.0.1:80", "127.0.0.1:80"},
	    {"127.0.0.1:0", "127.0.0.1:0"},
	    {"[::1]:65535", "[::1]:65535"},
	    {"[0::]:443", "[::]:443"},
	    {"[::ffff:127.0.0.1]:8080", "127.0.0.1:8080"},
	    {"127.0.0.1", NULL},
	    {"127.0.0.1:", NULL},
	    {"127.0.0.1:65536", NULL},
	    {"127.0.0.1:+1", NULL},
	    {"127.0.0.1: 1", NULL},
	    {"127.0.0.1:0x50", NULL},
	    {"[127.0.0.1]:80", NULL},
	    {"::1:80", NULL},
	    {"::1", NULL},
	    {"[::1]", NULL},
	    {"[::1]80", NULL},
	    {"[::1:80", NULL},
	    {"[]:80", NULL},
	    {"[:80", NULL},
	    {"]:80", NULL},
	    {":80", NULL},
	    {"localhost:80", NULL},
	    {"", NULL},
	    {"[2001:0db8:0000:0000:0000:0000:0000:0001:0000:0000:0000]:80", NULL},
	};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		struct address a = {0};
		char text[ADDRESS_PORT_SIZE];
		uint16_t port = 7;

		assert_int_equal(address_parse_port(cases[i].text, &a, &port), cases[i].form != NULL);
		if (!cases[i].form) {
			assert_int_equal(port, 7);
			continue;
		}
		address_format_port(&a, port, text);
		assert_string_equal(text, cases[i].form);
	}
}

/* F415: a prefix that is not meant is worse than one that is refused. */
static void a_network_says_its_prefix_exactly(void **state)
{
	static const struct {
		const char *text, *form, *why;
	} cases[] = {
	    {"10.0.0.0/8", "10.0.0.0/8", ""},
	    {"0.0.0.0/0", "0.0.0.0/0", ""},
	    {"::/0", "::/0", ""},
	    {"192.0.2.1", "192.0.2.1", ""},
	    {"192.0.2.1/32", "192.0.2.1", ""},
	    {"2001:db8::/32", "2001:db8::/32", ""},
	    {"2001:db8::1/128", "2001:db8::1", ""},
	    {"::ffff:10.0.0.0/104", "10.0.0.0/8", ""},
	    {"::ffff:0:0/96", "0.0.0.0/0", ""},
	    {"128.0.0.0/1", "128.0.0.0/1", ""},
	    {"10.1.2.3/8", NULL, "'10.1.2.3/8' has bits set behind its prefix, it must be 10.0.0.0/8"},
	    {"10.1.2.3/31", NULL, "'10.1.2.3/31' has bits set behind its prefix, it must be 10.1.2.2/31"},
	    {"2001:db8::1/64", NULL,
	     "'2001:db8::1/64' has bits set behind its prefix, it must be 2001:db8::/64"},
	    {"10.0.0.0/33", NULL, NULL},
	    {"10.0.0.0/08", NULL, NULL},
	    {"10.0.0.0/", NULL, NULL},
	    {"10.0.0.0/8/8", NULL, NULL},
	    {"10.0.0.0/-1", NULL, NULL},
	    {"10.0.0.0/255.0.0.0", NULL, NULL},
	    {"10/8", NULL, NULL},
	    {"010.0.0.0/8", NULL, NULL},
	    {"::ffff:10.0.0.0/8", NULL, NULL}, /* it would hold all of IPv6, too */
	    {"::/129", NULL, NULL},
	    {"[::1]/128", NULL, NULL},
	    {"10.0.0.0 /8", NULL, NULL},
	    {"localhost", NULL, NULL},
	    {"", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		struct address_net n = {.bits = 77};
		char text[ADDRESS_NET_SIZE];
		struct buf why;

		buf_init(&why, 512);
		assert_int_equal(address_net_parse(cases[i].text, &why, &n), cases[i].form ? E_OK : E_INVAL);
		if (cases[i].form) {
			address_net_format(&n, text);
			assert_string_equal(text, cases[i].form);
		} else {
			assert_int_equal(n.bits, 77);
		}
		if (cases[i].why)
			assert_string_equal(buf_text(&why), cases[i].why);
		else
			assert_non_null(strstr(buf_text(&why), "as in 192.0.2.1, 10.0.0.0/8"));
		buf_release(&why);
	}
}

static void an_address_is_in_a_network(void **state)
{
	static const struct {
		const char *address, *net;
		bool is_in;
	} cases[] = {
	    {"10.255.0.1", "10.0.0.0/8", true},
	    {"11.0.0.0", "10.0.0.0/8", false},
	    {"::ffff:10.1.1.1", "10.0.0.0/8", true},
	    {"::10.1.1.1", "10.0.0.0/8", false},
	    {"10.1.1.1", "::/0", false},
	    {"::1", "0.0.0.0/0", false},
	    {"10.1.1.1", "0.0.0.0/0", true},
	    {"2001:db8:ffff::1", "2001:db8::/32", true},
	    {"2001:db9::1", "2001:db8::/32", false},
	    {"2001:db8::3", "2001:db8::2/127", true},
	    {"2001:db8::4", "2001:db8::2/127", false},
	    {"127.0.0.1", "127.0.0.1", true},
	    {"127.0.0.2", "127.0.0.1", false},
	};
	const struct address none = {0}, local = {.family = ADDRESS_UNIX};
	const struct address_net nets[] = {net("10.0.0.0/8"), {.address = {.family = ADDRESS_UNIX}}};
	struct address a = address("10.9.9.9");

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		struct address in = address(cases[i].address);
		struct address_net of = net(cases[i].net);

		assert_int_equal(address_is_in(&in, &of), cases[i].is_in);
	}
	assert_true(address_is_in_any(&a, nets, LEN(nets)));
	assert_true(address_is_in_any(&local, nets, LEN(nets)));
	assert_false(address_is_in_any(&local, nets, 1));
	assert_false(address_is_in_any(&none, nets, LEN(nets)));
	assert_false(address_is_in_any(&a, nets, 0));
}

static void an_address_is_cut_to_its_prefix(void **state)
{
	static const struct {
		const char *address;
		unsigned bits;
		const char *cut;
	} cases[] = {
	    {"2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"},
	    {"2001:db8::ffff", 127, "2001:db8::fffe"},
	    {"ffff::", 3, "e000::"},
	    {"192.0.2.255", 25, "192.0.2.128"},
	    {"192.0.2.1", 32, "192.0.2.1"},
	    {"192.0.2.1", 64, "192.0.2.1"},
	    {"192.0.2.1", 0, "0.0.0.0"},
	    {"::1", 128, "::1"},
	};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		struct address a = address(cases[i].address), cut = address_cut(&a, cases[i].bits);
		struct address want = address(cases[i].cut);

		assert_int_equal(address_compare(&cut, &want), 0);
	}
}

static void an_address_goes_to_a_socket_and_back(void **state)
{
	static const char *const cases[] = {"127.0.0.1:80", "[2001:db8::1]:443", "0.0.0.0:0"};
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(5)};
	struct sockaddr other = {.sa_family = AF_UNIX};
	struct sockaddr_storage sa;
	char text[ADDRESS_PORT_SIZE];
	struct address a, back;
	socklen_t len;
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		assert_true(address_parse_port(cases[i], &a, &port));
		address_to_socket(&a, port, &sa, &len);
		assert_int_equal(len, a.family == ADDRESS_V4 ? sizeof(struct sockaddr_in)
							     : sizeof(struct sockaddr_in6));
		back = address_of_socket((const struct sockaddr *)&sa, &port);
		address_format_port(&back, port, text);
		assert_string_equal(text, cases[i]);
	}
	memcpy(mapped.sin6_addr.s6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16);
	back = address_of_socket((const struct sockaddr *)&mapped, &port);
	address_format_port(&back, port, text);
	assert_string_equal(text, "192.0.2.1:5");
	back = address_of_socket(&other, &port);
	assert_int_equal(back.family, ADDRESS_UNIX);
	address_format_port(&back, port, text);
	assert_string_equal(text, "unix");
	other.sa_family = AF_UNSPEC;
	back = address_of_socket(&other, &port);
	assert_int_equal(back.family, ADDRESS_NONE);
}

static void loopback_and_any(void **state)
{
	static const struct {
		const char *address;
		bool is_loopback, is_any;
	} cases[] = {
	    {"127.0.0.1", true, false}, {"127.255.0.9", true, false}, {"::ffff:127.0.0.1", true, false},
	    {"::1", true, false},       {"::2", false, false},        {"128.0.0.1", false, false},
	    {"0.0.0.0", false, true},   {"::", false, true},          {"::127.0.0.1", false, false},
	};
	const struct address none = {0};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		struct address a = address(cases[i].address);

		assert_int_equal(address_is_loopback(&a), cases[i].is_loopback);
		assert_int_equal(address_is_any(&a), cases[i].is_any);
	}
	assert_false(address_is_loopback(&none));
	assert_false(address_is_any(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_address_has_one_form),
	    cmocka_unit_test(what_only_looks_like_an_address_is_none),
	    cmocka_unit_test(an_address_and_a_port),
	    cmocka_unit_test(a_network_says_its_prefix_exactly),
	    cmocka_unit_test(an_address_is_in_a_network),
	    cmocka_unit_test(an_address_is_cut_to_its_prefix),
	    cmocka_unit_test(an_address_goes_to_a_socket_and_back),
	    cmocka_unit_test(loopback_and_any),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
