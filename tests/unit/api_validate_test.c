/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a create: every field, every limit, all errors at once (F36, F37, F43–F48, F86). */
#include "tests/unit/cmocka_all.h"

#include "api/country.h"
#include "api/san_suffixes.h"
#include "api/validate.h"
#include "base/buf.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL_KEYS (KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1))
#define ALL_SANS                                                                                             \
	(SAN_TYPE_BIT(SAN_DNS) | SAN_TYPE_BIT(SAN_IP) | SAN_TYPE_BIT(SAN_EMAIL) | SAN_TYPE_BIT(SAN_URI))

static struct validate_policy policy(void)
{
	return (struct validate_policy){.key_types = ALL_KEYS, .sans = {.types = SAN_TYPE_BIT(SAN_DNS)}};
}

/* The required fields, each of which can be replaced; NULL: as it should be; "": left out. */
struct body {
	const char *country;
	const char *state;
	const char *locality;
	const char *organization;
	const char *common_name;
	const char *sans;
	const char *more; /* ",\"x\":…" */
};

static void put_member(struct buf *b, const char *name, const char *json, const char *standard)
{
	if (json && *json == '\0')
		return;
	buf_printf(b, "%s\"%s\":%s", b->len > 1 ? "," : "", name, json ? json : standard);
}

static char *body_text(const struct body *body)
{
	struct buf b;
	char *text;

	buf_init(&b, 1024 * 1024);
	buf_put_str(&b, "{");
	put_member(&b, "country", body->country, "\"US\"");
	put_member(&b, "state", body->state, "\"California\"");
	put_member(&b, "locality", body->locality, "\"San Francisco\"");
	put_member(&b, "organization", body->organization, "\"Some Organization\"");
	put_member(&b, "common_name", body->common_name, "\"app.example.com\"");
	put_member(&b, "sans", body->sans, "[\"app.example.com\"]");
	buf_put_str(&b, body->more ? body->more : "");
	buf_put_str(&b, "}");
	assert_int_equal(buf_status(&b), E_OK);
	text = strdup(buf_text(&b));
	assert_non_null(text);
	buf_release(&b);
	return text;
}

/* "1405 /country; 1412 /sans/0", or "" when the text is good. */
static void judge(const char *text, const struct validate_policy *p, char *verdict, size_t size)
{
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	enum err e = validate_body(text, strlen(text), p, &problems, &csr);

	*verdict = '\0';
	for (size_t i = 0; i < problems.len; i++) {
		const struct problem *problem = &problems.items[i];
		size_t used = strlen(verdict);

		assert_non_null(problem->pointer);
		assert_true(strlen(problem->message) > 0);
		snprintf(verdict + used, size - used, "%s%d %s", i ? "; " : "", (int)problem->code,
			 problem->pointer);
	}
	if (e != (problems.len ? E_INVAL : E_OK))
		snprintf(verdict, size, "%s", err_str(e));
	problem_list_release(&problems);
	validate_csr_release(&csr);
}

static void expect(const struct body *body, const struct validate_policy *p, const char *verdict)
{
	char got[4096];
	char *text = body_text(body);

	judge(text, p, got, sizeof(got));
	if (strcmp(got, verdict) != 0)
		fail_msg("%s: '%s' instead of '%s'", text, got, verdict);
	free(text);
}

/* ---- a good body ---- */

static void everything_is_kept_as_sent(void **state)
{
	static const char text[] = "{\"key_type\":\"p256v1\",\"name\":\"\",\"description\":\"a  b/c\","
				   "\"sans\":[\"B.example.com\",\"*.a.example.com\"],"
				   "\"common_name\":\"J\\u00fcrgen\",\"organizational_unit\":\"R&D\","
				   "\"organization\":\"'; DROP TABLE csrs; --\","
				   "\"locality\":\"K\xc3\xb6ln\",\"state\":\"NRW\",\"country\":\"DE\"}";
	struct validate_policy p = policy();
	struct problem_list problems = {0};
	struct validate_csr csr = {0};

	(void)state;
	assert_int_equal(validate_body(text, sizeof(text) - 1, &p, &problems, &csr), E_OK);
	assert_int_equal(problems.len, 0);
	assert_int_equal(csr.spec.key_type, KEY_P256V1);
	assert_string_equal(csr.name, "");
	assert_string_equal(csr.description, "a  b/c");
	assert_int_equal(csr.spec.sans_len, 2);
	assert_string_equal(csr.spec.sans[0].value, "B.example.com");
	assert_string_equal(csr.spec.sans[1].value, "*.a.example.com");
	assert_int_equal(csr.spec.sans[1].type, SAN_DNS);
	assert_string_equal(csr.spec.common_name, "J\xc3\xbcrgen");
	assert_string_equal(csr.spec.organizational_unit, "R&D");
	assert_string_equal(csr.spec.organization, "'; DROP TABLE csrs; --");
	assert_string_equal(csr.spec.locality, "K\xc3\xb6ln");
	assert_string_equal(csr.spec.state, "NRW");
	assert_string_equal(csr.spec.country, "DE");
	validate_csr_release(&csr);
}

static void expect_nothing_optional(const struct body *body)
{
	struct validate_policy p = policy();
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	char *text = body_text(body);

	assert_int_equal(validate_body(text, strlen(text), &p, &problems, &csr), E_OK);
	assert_int_equal(csr.spec.key_type, KEY_RSA2048);
	assert_null(csr.name);
	assert_null(csr.description);
	assert_null(csr.spec.organizational_unit);
	validate_csr_release(&csr);
	free(text);
}

static void what_is_not_given_is_absent(void **state)
{
	(void)state;
	expect_nothing_optional(&(struct body){0});
}

/* F134 */
static void null_is_not_given(void **state)
{
	(void)state;
	expect_nothing_optional(&(struct body){.more = ",\"organizational_unit\":null,\"key_type\":null,"
						       "\"name\":null,\"description\":null"});
}

/* F134 */
static void a_null_that_is_refused_is_named(void **state)
{
	struct validate_policy p = policy();
	struct problem_list problems = {0};
	struct validate_csr csr;
	char *text = body_text(&(struct body){.country = "null", .state = "null", .sans = "null"});

	(void)state;
	assert_int_equal(validate_body(text, strlen(text), &p, &problems, &csr), E_INVAL);
	assert_int_equal(problems.len, 3);
	for (size_t i = 0; i < problems.len; i++)
		assert_non_null(strstr(problems.items[i].message, "null means that it is not given"));
	problem_list_release(&problems);
	free(text);
	text = body_text(&(struct body){.sans = "[\"ok.example.com\",null]"});
	assert_int_equal(validate_body(text, strlen(text), &p, &problems, &csr), E_INVAL);
	assert_string_equal(problems.items[0].message, "sans[1] must be a string, not null");
	problem_list_release(&problems);
	free(text);
}

/* ---- fields ---- */

static const struct {
	struct body body;
	const char *verdict;
} field_table[] = {
    {{0}, ""},
    /* F48 */
    {{"", "", "", "", "", "", ""},
     "1405 /country; 1406 /state; 1407 /locality; 1408 /organization; 1409 /common_name; 1411 /sans"},
    /* F45 */
    {{.country = "\"us\""}, "1405 /country"},
    {{.country = "\"ZZ\""}, "1405 /country"},
    {{.country = "\"USA\""}, "1405 /country"},
    {{.country = "\"U\""}, "1405 /country"},
    {{.country = "\"\""}, "1405 /country"},
    {{.country = "\"@@\""}, "1405 /country"},
    {{.country = "\"\\u00e9\""}, "1405 /country"},
    {{.country = "\"US \""}, "1405 /country"},
    {{.country = "\"UK\""}, "1405 /country"},
    {{.country = "\"EU\""}, "1405 /country"},
    {{.country = "\"GB\""}, ""},
    {{.country = "\"SS\""}, ""},
    {{.country = "\"XK\""}, ""},
    {{.country = "\"XX\""}, "1405 /country"},
    /* F36: types */
    {{.country = "1"}, "1400 /country"},
    {{.state = "true"}, "1400 /state"},
    {{.locality = "[\"x\"]"}, "1400 /locality"},
    {{.organization = "{}"}, "1400 /organization"},
    {{.common_name = "3072.9"}, "1400 /common_name"},
    {{.sans = "\"a.example.com\""}, "1400 /sans"},
    {{.sans = "{\"0\":\"a.example.com\"}"}, "1400 /sans"},
    {{.sans = "[1]"}, "1400 /sans/0"},
    {{.sans = "[\"a.example.com\",null,\"b.example.com\",[\"c\"]]"}, "1400 /sans/1; 1400 /sans/3"},
    {{.more = ",\"organizational_unit\":5"}, "1400 /organizational_unit"},
    {{.more = ",\"key_type\":2048"}, "1400 /key_type"},
    {{.more = ",\"name\":{}"}, "1400 /name"},
    {{.more = ",\"description\":[]"}, "1400 /description"},
    /* F134: null is not given; a SAN and a field that nobody knows are no less wrong for it */
    {{.country = "null"}, "1405 /country"},
    {{.state = "null", .locality = "null"}, "1406 /state; 1407 /locality"},
    {{.organization = "null", .common_name = "null"}, "1408 /organization; 1409 /common_name"},
    {{.sans = "null"}, "1411 /sans"},
    {{.sans = "[null]"}, "1400 /sans/0"},
    {{.more = ",\"bits\":null"}, "1400 /bits"},
    /* F37 and F30: fields that are not known */
    {{.more = ",\"bits\":2048"}, "1400 /bits"},
    {{.more = ",\"Country\":\"US\""}, "1400 /Country"},
    {{.more = ",\"country \":\"US\""}, "1400 /country "},
    {{.more = ",\"a/b~c\":1"}, "1400 /a~1b~0c"},
    {{.more = ",\"\":1"}, "1400 /"},
    {{.more = ",\"id\":1,\"csr\":1"}, "1400 /id; 1400 /csr"},
    /* empty, blanks, characters that fool the eye */
    {{.state = "\"\""}, "1406 /state"},
    {{.locality = "\" \""}, "1407 /locality"},
    {{.organization = "\" x\""}, "1408 /organization"},
    {{.organization = "\"x \""}, "1408 /organization"},
    {{.organization = "\"x\\u00a0\""}, "1408 /organization"},
    {{.organization = "\"\\u3000x\""}, "1408 /organization"},
    {{.organization = "\"x  y\""}, ""},
    {{.organization = "\"x\\u0085y\""}, "1408 /organization"},
    {{.organization = "\"x\\ny\""}, "1408 /organization"},
    {{.organization = "\"x\\ty\""}, "1408 /organization"},
    {{.organization = "\"x\\u007fy\""}, "1408 /organization"},
    {{.common_name = "\"x\\r\\nCN=y\""}, "1409 /common_name"},
    {{.common_name = "\"x\\u202ey\""}, "1409 /common_name"},
    {{.common_name = "\"\\ufeffx\""}, "1409 /common_name"},
    {{.common_name = "\"x\\u200by\""}, "1409 /common_name"},
    {{.common_name = "\"x\\u2028y\""}, "1409 /common_name"},
    {{.common_name = "\"x\\uffff\""}, "1409 /common_name"},
    {{.common_name = "\"\""}, "1409 /common_name"},
    {{.common_name = "\"\\u6771\\u4eac\""}, ""},
    {{.common_name = "\"CN=x,O=y/OU=z+\\\\\""}, ""},
    {{.more = ",\"organizational_unit\":\"\""}, "1400 /organizational_unit"},
    {{.more = ",\"organizational_unit\":\"x \""}, "1400 /organizational_unit"},
    {{.more = ",\"organizational_unit\":\"x\""}, ""},
    {{.more = ",\"name\":\" x \""}, ""},
    {{.more = ",\"name\":\"x\\ny\""}, "1400 /name"},
    {{.more = ",\"description\":\"x\\u0007\""}, "1400 /description"},
    {{.more = ",\"description\":\"x\\u202ey\""}, "1400 /description"},
    /* key types */
    {{.more = ",\"key_type\":\"rsa2048\""}, ""},
    {{.more = ",\"key_type\":\"p256v1\""}, ""},
    {{.more = ",\"key_type\":\"RSA2048\""}, "1417 /key_type"},
    {{.more = ",\"key_type\":\"rsa1024\""}, "1417 /key_type"},
    {{.more = ",\"key_type\":\"\""}, "1417 /key_type"},
    {{.more = ",\"key_type\":\"?\""}, "1417 /key_type"},
    /* all at once, in the order of the fields whatever the order of the body */
    {{"\"zz\"", "\"\"", "5", "\"\\u0001\"", "\" x\"",
      "[\"ok.example.com\",\"a_b.example.com\",\"\xc3\xa9.example.com\"]",
      ",\"extra\":1,\"description\":7,\"name\":\"\\u0007\","
      "\"key_type\":\"dsa\",\"organizational_unit\":\"\""},
     "1405 /country; 1406 /state; 1400 /locality; 1408 /organization; 1400 /organizational_unit; "
     "1409 /common_name; 1412 /sans/1; 1413 /sans/2; 1417 /key_type; 1400 /name; 1400 /description; "
     "1400 /extra"},
};

static void fields_are_checked(void **state)
{
	struct validate_policy p = policy();

	(void)state;
	for (size_t i = 0; i < sizeof(field_table) / sizeof(field_table[0]); i++)
		expect(&field_table[i].body, &p, field_table[i].verdict);
}

/* F43: limits are of characters, not bytes. */
static void expect_length(const char *field, const char *character, unsigned count, const char *verdict)
{
	struct validate_policy p = policy();
	struct body body = {0};
	struct buf b;

	buf_init(&b, 65536);
	if (strcmp(field, "common_name") != 0 && strcmp(field, "state") != 0 &&
	    strcmp(field, "locality") != 0 && strcmp(field, "organization") != 0)
		buf_printf(&b, ",\"%s\":", field);
	buf_put_str(&b, "\"");
	for (unsigned i = 0; i < count; i++)
		buf_put_str(&b, character);
	buf_put_str(&b, "\"");
	if (*buf_text(&b) == ',')
		body.more = buf_text(&b);
	else if (strcmp(field, "common_name") == 0)
		body.common_name = buf_text(&b);
	else if (strcmp(field, "state") == 0)
		body.state = buf_text(&b);
	else if (strcmp(field, "locality") == 0)
		body.locality = buf_text(&b);
	else
		body.organization = buf_text(&b);
	expect(&body, &p, verdict);
	buf_release(&b);
}

static void lengths_are_exact(void **state)
{
	static const struct {
		const char *field;
		unsigned max;
		const char *verdict;
	} limits[] = {
	    {"state", 128, "1406 /state"},
	    {"locality", 128, "1407 /locality"},
	    {"organization", 64, "1408 /organization"},
	    {"organizational_unit", 64, "1400 /organizational_unit"},
	    {"common_name", 64, "1410 /common_name"},
	    {"name", 255, "1400 /name"},
	    {"description", 1024, "1400 /description"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		expect_length(limits[i].field, "x", limits[i].max, "");
		expect_length(limits[i].field, "\xc3\xa9", limits[i].max, "");
		expect_length(limits[i].field, "\xf0\x9f\x98\x80", limits[i].max, "");
		expect_length(limits[i].field, "\\ud83d\\ude00", limits[i].max, "");
		expect_length(limits[i].field, "x", limits[i].max + 1, limits[i].verdict);
		expect_length(limits[i].field, "\xc3\xa9", limits[i].max + 1, limits[i].verdict);
	}
}

static void countries_are_those_that_exist(void **state)
{
	unsigned count = 0;

	(void)state;
	for (char a = 'A'; a <= 'Z'; a++) {
		for (char b = 'A'; b <= 'Z'; b++)
			count += country_is_known((char[]){a, b, '\0'});
	}
	assert_int_equal(count, 249 + 1);
	assert_true(country_is_known("XK"));
	assert_true(country_is_known("AX"));
	assert_true(country_is_known("CW"));
	assert_false(country_is_known("AN")); /* withdrawn 2010 */
	assert_false(country_is_known("SU"));
	assert_false(country_is_known("XX"));
	assert_false(country_is_known("A"));
	assert_false(country_is_known("[A"));
}

/* ---- F47: SANs ---- */

#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L61 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define N253 L63 "." L63 "." L63 "." L61

static const struct {
	const char *value;
	unsigned types; /* 0: dns only */
	int code;
	enum san_type type;
} san_table[] = {
    {"a.example.com", 0, 0, SAN_DNS},
    {"A.Example.COM", 0, 0, SAN_DNS},
    {"localhost", 0, 0, SAN_DNS},
    {"db1", 0, 0, SAN_DNS},
    {"1.example.com", 0, 0, SAN_DNS},
    {"a-b--c.example.com", 0, 0, SAN_DNS},
    {"r3--sn-x.example.com", 0, 0, SAN_DNS},
    {"0x.example", 0, 0, SAN_DNS},
    {"*.example.com", 0, 0, SAN_DNS},
    {"*.corp", 0, 0, SAN_DNS},
    {L63 ".com", 0, 0, SAN_DNS},
    {N253, 0, 0, SAN_DNS},
    {"xn--bcher-kva.example", 0, 0, SAN_DNS},
    {"XN--BCHER-KVA.example", 0, 0, SAN_DNS},
    {"xn--p1ai", 0, 0, SAN_DNS},
    {"a.xn--wgbl6a", 0, 0, SAN_DNS},
    {"xn--1lqs71d", 0, 0, SAN_DNS},
    {"", 0, 1412, 0},
    {"*", 0, 1412, 0},
    {"*.", 0, 1412, 0},
    {"*.*.example.com", 0, 1412, 0},
    {"a*.example.com", 0, 1412, 0},
    {"*a.example.com", 0, 1412, 0},
    {"a.*.example.com", 0, 1412, 0},
    {"example.*", 0, 1412, 0},
    {".", 0, 1412, 0},
    {"..", 0, 1412, 0},
    {".example.com", 0, 1412, 0},
    {"a..example.com", 0, 1412, 0},
    {"example.com.", 0, 1412, 0},
    {"-a.example.com", 0, 1412, 0},
    {"a-.example.com", 0, 1412, 0},
    {"a_b.example.com", 0, 1412, 0},
    {"_dmarc.example.com", 0, 1412, 0},
    {"a b.example.com", 0, 1412, 0},
    {" a.example.com", 0, 1412, 0},
    {"a.example.com ", 0, 1412, 0},
    {"a.example.com\n", 0, 1412, 0},
    {"a.example.com\r\nb", 0, 1412, 0},
    {"a.example.com\x01", 0, 1412, 0},
    {"a.example.com, DNS:b.example.com", 0, 1412, 0},
    {"a.example.com,b.example.com", 0, 1412, 0},
    {"DNS:a.example.com", 0, 1412, 0},
    {"critical,a.example.com", 0, 1412, 0},
    {"a.example.com:443", 0, 1412, 0},
    {"a.example.com/x", 0, 1412, 0},
    {"http://a.example.com", 0, 1412, 0},
    {"a.example.com;b", 0, 1412, 0},
    {"a\\.example.com", 0, 1412, 0},
    {"a%2eexample.com", 0, 1412, 0},
    {"a'.example.com", 0, 1412, 0},
    {L63 "a.com", 0, 1412, 0},
    {N253 "a", 0, 1412, 0},
    {N253 "aa", 0, 1412, 0},
    {N253 "aaa", 0, 1412, 0},
    {"*." N253, 0, 1412, 0},
    /* A-labels that say nothing */
    {"xn--", 0, 1412, 0},
    {"xn--a", 0, 1412, 0},
    {"xn--abc-.example", 0, 1412, 0},
    {"xn---a.example", 0, 1412, 0},
    {"xn--99999999.example", 0, 1412, 0},
    {"xn--zzzzzzzzzzzzzzzz.example", 0, 0, SAN_DNS},
    {"xn--0ca24w0ca24w9.example", 0, 1412, 0},
    /* F122: what stands for no name of IDNA2008 */
    {"xn--ls8h.example", 0, 1412, 0},               /* U+1F4A9 */
    {"xn--google-dja.example", 0, 1412, 0},         /* U+00AD */
    {"xn--google-5de.example", 0, 1412, 0},         /* U+034F */
    {"xn--google-dq8a.example", 0, 1412, 0},        /* U+180E */
    {"xn--google-rw0c.example", 0, 1412, 0},        /* U+2062 */
    {"xn--google-ks5e.example", 0, 1412, 0},        /* U+3164 */
    {"xn--google-k648a.example", 0, 1412, 0},       /* U+FE0F */
    {"xn--google-ks653c.example", 0, 1412, 0},      /* U+E0041 */
    {"xn--google-k704a.example", 0, 1412, 0},       /* U+E000 */
    {"xn--google-kn68a.example", 0, 1412, 0},       /* U+FF0E */
    {"xn--google-rr3e.example", 0, 1412, 0},        /* U+3002 */
    {"xn--google-dk0c.example", 0, 1412, 0},        /* U+2024 */
    {"xn--google-rq0c.example", 0, 1412, 0},        /* U+2044 */
    {"xn--google-re3c.example", 0, 1412, 0},        /* U+2215 */
    {"xn--google-k9a.example", 0, 1412, 0},         /* U+0130 */
    {"xn--google-rx68a.example", 0, 1412, 0},       /* U+FF41 */
    {"xn--google-dme.example", 0, 1412, 0},         /* U+0378 */
    {"xn--google-df0c.example", 0, 1412, 0},        /* U+200B */
    {"xn--google-yt48a.example", 0, 1412, 0},       /* U+FDD0 */
    {"xn--l-fda.example", 0, 1412, 0},              /* U+00B7 without an l on each side: CONTEXTO */
    {"xn--ll-0ea.example", 0, 0, SAN_DNS},          /* with them */
    {"xn--mgba3gch31f060k.example", 0, 0, SAN_DNS}, /* U+200C between Arabic letters */
    {"xn--ab-j1t.example", 0, 1412, 0},             /* U+200C between others */
    {"xn--11b2ezcw70k.example", 0, 0, SAN_DNS},     /* U+200D behind a virama */
    {"xn--a-zhc.example", 0, 1412, 0},              /* both directions */
    {"xn--a-wbb.example", 0, 1412, 0},              /* a mark in front */
    {"xn--e-xbb.example", 0, 1412, 0},              /* not in normal form C */
    {"xn--8hb20a.example", 0, 1412, 0},             /* digits of two kinds: CONTEXTO */
    {"xn--bcher-KVA.example", 0, 0, SAN_DNS},
    {"xn--bcher-kv.example", 0, 1412, 0},
    {"xn--abc.example", 0, 1412, 0},
    {"*.xn--bcher-kva.example", 0, 0, SAN_DNS},
    {"user@xn--ls8h.example", ALL_SANS, 1412, 0},
    {"user@xn--bcher-kva.example", ALL_SANS, 0, SAN_EMAIL},
    {"https://xn--ls8h.example/", ALL_SANS, 1412, 0},
    {"https://xn--bcher-kva.example/", ALL_SANS, 0, SAN_URI},
    /* U-labels */
    {"b\303\274cher.example", 0, 1413, 0},
    {"\xe6\x9d\xb1\xe4\xba\xac", 0, 1413, 0},
    {"a.example.com\xe2\x80\x8b", 0, 1413, 0},
    {"\xd0\xb0pple.com", 0, 1413, 0},
    {"a\343\200\202com", 0, 1413, 0}, /* U+3002, a full stop to some */
    /* addresses are not DNS names */
    {"192.0.2.1", 0, 1412, 0},
    {"2001:db8::1", 0, 1412, 0},
    {"::1", 0, 1412, 0},
    {"1.2.3", 0, 1412, 0},
    {"1", 0, 1412, 0},
    {"4294967295", 0, 1412, 0},
    {"010.0.0.1", 0, 1412, 0},
    {"1.2.3.4.5", 0, 1412, 0},
    {"256.0.0.1", 0, 1412, 0},
    {"0x7f.0.0.0x1", 0, 1412, 0},
    {"0x7f000001", 0, 1412, 0},
    {"example.123", 0, 1412, 0},
    {"*.0.0.1", 0, 1412, 0},
    /* ip, where it is accepted */
    {"192.0.2.1", ALL_SANS, 0, SAN_IP},
    {"2001:db8::1", ALL_SANS, 0, SAN_IP},
    {"2001:DB8:0:0:0:0:0:1", ALL_SANS, 0, SAN_IP},
    {"::ffff:192.0.2.1", ALL_SANS, 0, SAN_IP},
    {"::", ALL_SANS, 0, SAN_IP},
    {"1.2.3", ALL_SANS, 1412, 0},
    {"010.0.0.1", ALL_SANS, 1412, 0},
    {"1.2.3.256", ALL_SANS, 1412, 0},
    {"::1%lo", ALL_SANS, 1412, 0},
    {"[::1]", ALL_SANS, 1412, 0},
    {"192.0.2.0/24", ALL_SANS, 1412, 0},
    {"2001:db8::/32", ALL_SANS, 1412, 0},
    {":::", ALL_SANS, 1412, 0},
    {"1:2:3:4:5:6:7:8:9", ALL_SANS, 1412, 0},
    {"192.0.2.1", SAN_TYPE_BIT(SAN_EMAIL), 1412, 0},
    /* email */
    {"user@example.com", 0, 1412, 0},
    {"user@example.com", ALL_SANS, 0, SAN_EMAIL},
    {"a.b+c_d@mail.example.com", ALL_SANS, 0, SAN_EMAIL},
    {"@example.com", ALL_SANS, 1412, 0},
    {"user@", ALL_SANS, 1412, 0},
    {"a@b@example.com", ALL_SANS, 1412, 0},
    {".a@example.com", ALL_SANS, 1412, 0},
    {"a.@example.com", ALL_SANS, 1412, 0},
    {"a..b@example.com", ALL_SANS, 1412, 0},
    {"\"a\"@example.com", ALL_SANS, 1412, 0},
    {"a,b@example.com", ALL_SANS, 1412, 0},
    {"user@*.example.com", ALL_SANS, 1412, 0},
    {"user@[192.0.2.1]", ALL_SANS, 1412, 0},
    {"user@192.0.2.1", ALL_SANS, 1412, 0},
    {"user@example.com.", ALL_SANS, 1412, 0},
    {"<user@example.com>", ALL_SANS, 1412, 0},
    {L63 "aa@example.com", ALL_SANS, 1412, 0},
    {L63 "a@example.com", ALL_SANS, 0, SAN_EMAIL},
    /* uri */
    {"https://a.example.com/x?y=z#w", ALL_SANS, 0, SAN_URI},
    {"https://a.example.com:8443", ALL_SANS, 0, SAN_URI},
    {"spiffe://trust.example/ns/x", ALL_SANS, 0, SAN_URI},
    {"https://192.0.2.1/", ALL_SANS, 0, SAN_URI},
    {"https://[2001:db8::1]:443/", ALL_SANS, 0, SAN_URI},
    {"urn:uuid:7b163417-1d2b-4c84-a38a-2fb7a0cd7752", ALL_SANS, 0, SAN_URI},
    {"https://a.example.com/%41", ALL_SANS, 0, SAN_URI},
    {"https://", ALL_SANS, 1412, 0},
    {"https:///x", ALL_SANS, 1412, 0},
    {"://a.example.com", ALL_SANS, 1412, 0},
    {"1http://a.example.com", ALL_SANS, 1412, 0},
    {"ht_tp://a.example.com", ALL_SANS, 1412, 0},
    {"https://user@a.example.com/", ALL_SANS, 1412, 0},
    {"https://a_b.example.com/", ALL_SANS, 1412, 0},
    {"https://a.example.com:port/", ALL_SANS, 1412, 0},
    {"https://a.example.com:123456/", ALL_SANS, 1412, 0},
    {"https://[::1/", ALL_SANS, 1412, 0},
    {"https://[example.com]/", ALL_SANS, 1412, 0},
    {"https://[::1]x/", ALL_SANS, 1412, 0},
    {"https://a.example.com/%4", ALL_SANS, 1412, 0},
    {"https://a.example.com/%zz", ALL_SANS, 1412, 0},
    {"https://a.example.com/<x>", ALL_SANS, 1412, 0},
    {"https://a.example.com/\"", ALL_SANS, 1412, 0},
    {"urn:", ALL_SANS, 1412, 0},
    /* F124: RFC 3986 and RFC 8141 to the letter */
    {"http:foo://localhost/", ALL_SANS, 1412, 0},
    {"a:b://", ALL_SANS, 1412, 0},
    {"a://b", ALL_SANS, 0, SAN_URI},
    {"mailto:user@example.com", ALL_SANS, 1412, 0},
    {"https://a.example.com:65535/", ALL_SANS, 0, SAN_URI},
    {"https://a.example.com:65536/", ALL_SANS, 1412, 0},
    {"https://a.example.com:99999/", ALL_SANS, 1412, 0},
    {"https://a.example.com:4294967297/", ALL_SANS, 1412, 0},
    {"https://a.example.com:0/", ALL_SANS, 1412, 0},
    {"https://a.example.com:+1/", ALL_SANS, 1412, 0},
    {"https://a.example.com:/", ALL_SANS, 0, SAN_URI},
    {"https://a.example.com:1:2/", ALL_SANS, 1412, 0},
    {"https://:443/", ALL_SANS, 1412, 0},
    {"https://@a.example.com/", ALL_SANS, 1412, 0},
    {"https://a.example.com\\@b.example.com/", ALL_SANS, 1412, 0},
    {"https://a.example.com/@b", ALL_SANS, 0, SAN_URI},
    {"https://a.example.com./", ALL_SANS, 1412, 0},
    {"https://a%2eexample.com/", ALL_SANS, 1412, 0},
    {"https://[2001:db8::1]/", ALL_SANS, 0, SAN_URI},
    {"https://[2001:db8::1%25eth0]/", ALL_SANS, 1412, 0},
    {"https://[v1.x]/", ALL_SANS, 1412, 0},
    {"https://[192.0.2.1]/", ALL_SANS, 1412, 0},
    {"https://[]/", ALL_SANS, 1412, 0},
    {"https://[::1]:/", ALL_SANS, 0, SAN_URI},
    {"https://[::1]:65536/", ALL_SANS, 1412, 0},
    {"https://2001:db8::1/", ALL_SANS, 1412, 0},
    {"https://192.0.2.256/", ALL_SANS, 1412, 0},
    {"https://0x7f.1/", ALL_SANS, 1412, 0},
    {"https://a.example.com/[x]", ALL_SANS, 1412, 0},
    {"https://a.example.com/?[x]", ALL_SANS, 1412, 0},
    {"https://a.example.com/#a#b", ALL_SANS, 1412, 0},
    {"https://a.example.com#a", ALL_SANS, 0, SAN_URI},
    {"https://a.example.com?a=b?c/d", ALL_SANS, 0, SAN_URI},
    {"https://a.example.com/%", ALL_SANS, 1412, 0},
    {"https://*.example.com/", ALL_SANS, 1412, 0},
    {"URN:Example:a", ALL_SANS, 0, SAN_URI},
    {"urn:a:b", ALL_SANS, 1412, 0},
    {"urn:-a:b", ALL_SANS, 1412, 0},
    {"urn:a-:b", ALL_SANS, 1412, 0},
    {"urn:a_b:c", ALL_SANS, 1412, 0},
    {"urn:example", ALL_SANS, 1412, 0},
    {"urn:example:", ALL_SANS, 1412, 0},
    {"urn:example:/a", ALL_SANS, 1412, 0},
    {"urn:example:a/b?+c?=d#e", ALL_SANS, 0, SAN_URI},
    {"urn:example:a?b", ALL_SANS, 1412, 0},
    {"urn:example:a#b?c", ALL_SANS, 0, SAN_URI},
    {"urn:abcdefghijabcdefghijabcdefghijab:c", ALL_SANS, 0, SAN_URI},
    {"urn:abcdefghijabcdefghijabcdefghijabc:c", ALL_SANS, 1412, 0},
};

static void san_syntax(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(san_table) / sizeof(san_table[0]); i++) {
		struct san_policy p = {.types =
					   san_table[i].types ? san_table[i].types : SAN_TYPE_BIT(SAN_DNS)};
		enum san_type type = 0;
		char why[SAN_WHY_SIZE] = "";
		enum problem_code code = san_check(san_table[i].value, &p, why, &type);

		if ((int)code != san_table[i].code || type != san_table[i].type)
			fail_msg("'%s': %d %s, '%s'", san_table[i].value, (int)code, san_type_name(type),
				 why);
		if (code)
			assert_true(strlen(why) > 0);
	}
}

static const struct {
	const char *value;
	int code;
} public_table[] = {
    {"www.cloudflare.com", 0},
    {"*.debian.org", 0},
    {"a.b.co.uk", 0},
    {"myexample.com", 0},
    {"example.com.de", 0},
    {"testing.dev", 0},
    {"localhost", 1414},
    {"db1", 1414},
    {"com", 1414}, /* a single label first of all */
    {"a.test", 1414},
    {"a.TEST", 1414},
    {"a.example", 1414},
    {"a.invalid", 1414},
    {"a.localhost", 1414},
    {"printer.local", 1414},
    {"x.onion", 1414},
    {"a.internal", 1414},
    {"a.corp", 1414},
    {"*.lan", 1414},
    {"nas.home.arpa", 1414},
    {"home.arpa", 1414},
    {"co.uk", 1415},
    {"CO.UK", 1415},
    {"*.co.uk", 1415},
    {"github.io", 1415},
    {"a.ck", 1415}, /* *.ck */
    {"www.ck", 0},  /* !www.ck */
    {"xn--55qx5d.cn", 1415},
    {"example.com", 1416},
    {"a.example.com", 1416},
    {"*.example.net", 1416},
    {"A.EXAMPLE.ORG", 1416},
    {"user@example.com", 1416},
    {"user@debian.org", 0},
    {"user@a.local", 1414},
    {"https://a.example.org/", 1416},
    {"https://a.debian.org/", 0},
    /* F125: hosts of every kind */
    {"http:foo://localhost/", 1412},
    {"a:b://", 1412},
    {"http://localhost/", 1414},
    {"http://localhost:8080/", 1414},
    {"http://10.0.0.1/", 1414},
    {"http://[::1]/", 1414},
    {"http://[fd00::1]:80/", 1414},
    {"http://[2606:4700::1111]/", 0},
    {"http://9.9.9.9/", 0},
    {"http://co.uk/", 1415},
    {"user@co.uk", 1415},
    {"user@localhost", 1414},
    {"urn:example:a", 0},
    {"0.0.0.0", 1414},
    {"0.255.255.255", 1414},
    {"1.0.0.0", 0},
    {"9.255.255.255", 0},
    {"10.0.0.1", 1414},
    {"100.63.255.255", 0},
    {"100.64.0.0", 1414},
    {"100.127.255.255", 1414},
    {"100.128.0.0", 0},
    {"127.0.0.1", 1414},
    {"169.254.169.254", 1414},
    {"172.15.255.255", 0},
    {"172.16.0.0", 1414},
    {"172.31.255.255", 1414},
    {"172.32.0.0", 0},
    {"192.0.2.1", 1414},
    {"192.168.1.1", 1414},
    {"198.19.255.255", 1414},
    {"198.20.0.0", 0},
    {"223.255.255.255", 0},
    {"224.0.0.1", 1414},
    {"255.255.255.255", 1414},
    {"::", 1414},
    {"::1", 1414},
    {"::ffff:9.9.9.9", 1414},
    {"fe80::1", 1414},
    {"ff02::1", 1414},
    {"2001:db8::1", 1414},
    {"2001::1", 1414},
    {"2001:200::1", 0},
    {"2002:0a00:0001::", 1414},
    {"2620:fe::fe", 0},
    {"3fff::1", 1414},
    {"4000::1", 1414},
};

static const struct {
	const char *common_name;
	bool is_refused;
} common_name_table[] = {
    {"www.debian.org", false},
    {"*.debian.org", false},
    {"Payments API", false},
    {"Payments", false},
    {"db1", false},
    {"J\xc3\xbcrgen", false},
    {"b\303\274cher.debian.org", false},
    {"CN=x,O=y", false},
    {"9.9.9.9", false},
    {"mail at a.local", false},
    {"localhost", true},
    {"LOCALHOST", true},
    {"localhost.", true},
    {"localhost:8443", true},
    {"https://localhost/", true},
    {"https://user@localhost:8443/x", true},
    {"user@localhost", true},
    {"\357\275\214\357\275\217\357\275\203alhost", true}, /* full-width l, o, c */
    {"db1.corp.internal", true},
    {"db_1.internal", true},
    {"db1.internal.", true},
    {"b\303\274cher.local", true},
    {"b\303\274cher\343\200\202local", true}, /* U+3002, a full stop to UTS #46 */
    {"*.co.uk", true},
    {"www.example.com", true},
    {"user@a.local", true},
    {"10.0.0.1", true},
    {"10.0.0.1:443", true},
    {"::1", true},
    {"[::1]:443", true},
    {"https://[::1]/", true},
};

static void common_names_are_public_too(void **state)
{
	struct validate_policy p = policy();
	struct validate_policy any = policy();
	struct san_suffixes *suffixes = NULL;

	(void)state;
	assert_int_equal(san_suffixes_load(&suffixes), E_OK);
	p.sans.public_names_only = true;
	p.sans.suffixes = suffixes;
	for (size_t i = 0; i < sizeof(common_name_table) / sizeof(common_name_table[0]); i++) {
		char json[256];
		struct body body = {.common_name = json, .sans = "[\"www.debian.org\"]"};

		snprintf(json, sizeof(json), "\"%s\"", common_name_table[i].common_name);
		expect(&body, &any, "");
		expect(&body, &p, common_name_table[i].is_refused ? "1409 /common_name" : "");
	}
	san_suffixes_free(suffixes);
}

static void public_names_only(void **state)
{
	struct san_policy p = {.types = ALL_SANS, .public_names_only = true};
	struct san_suffixes *suffixes = NULL;

	(void)state;
	assert_int_equal(san_suffixes_load(&suffixes), E_OK);
	p.suffixes = suffixes;
	for (size_t i = 0; i < sizeof(public_table) / sizeof(public_table[0]); i++) {
		enum san_type type;
		char why[SAN_WHY_SIZE] = "";
		enum problem_code code = san_check(public_table[i].value, &p, why, &type);

		if ((int)code != public_table[i].code)
			fail_msg("'%s': %d '%s'", public_table[i].value, (int)code, why);
	}
	san_suffixes_free(suffixes);
	san_suffixes_free(NULL);
}

/* F123 */
static void duplicates_are_refused(void **state)
{
	struct validate_policy p = policy();

	(void)state;
	p.sans.types = ALL_SANS;
	expect(&(struct body){.sans = "[\"a.example.com\",\"b.example.com\",\"a.example.com\"]"}, &p,
	       "1412 /sans/2");
	expect(&(struct body){.sans = "[\"a.example.com\",\"A.EXAMPLE.com\"]"}, &p, "1412 /sans/1");
	expect(&(struct body){.sans = "[\"::1\",\"0:0::1\",\"::2\"]"}, &p, "1412 /sans/1");
	expect(&(struct body){.sans = "[\"192.0.2.1\",\"::ffff:192.0.2.1\"]"}, &p, "");
	expect(&(struct body){.sans = "[\"a.example.com\",\"*.example.com\",\"example.com\"]"}, &p, "");
	expect(&(struct body){.sans = "[]"}, &p, "1411 /sans");
	/* RFC 5280 §7.4, §7.5: hosts and schemes in any case, paths and local parts byte by byte */
	expect(&(struct body){.sans = "[\"https://a.example/x\",\"HTTPS://A.example/x\"]"}, &p,
	       "1412 /sans/1");
	expect(&(struct body){.sans = "[\"https://a.example/x\",\"https://a.example/X\"]"}, &p, "");
	expect(&(struct body){.sans = "[\"urn:isbn:a\",\"URN:ISBN:a\"]"}, &p, "1412 /sans/1");
	expect(&(struct body){.sans = "[\"urn:isbn:a\",\"urn:isbn:A\",\"urn:isbn\"]"}, &p, "1412 /sans/2");
	expect(&(struct body){.sans = "[\"urn:isbn:a\",\"urn:isbn:A\"]"}, &p, "");
	expect(&(struct body){.sans = "[\"a@b.example\",\"a@B.example\"]"}, &p, "1412 /sans/1");
	expect(&(struct body){.sans = "[\"a@b.example\",\"A@b.example\"]"}, &p, "");
}

/* count different names of exactly 255, or few, characters */
static char *many_sans(unsigned count)
{
	struct buf b;
	char *text;

	buf_init(&b, 1024 * 1024);
	buf_put_str(&b, "[");
	for (unsigned i = 0; i < count; i++)
		buf_printf(&b, "%s\"h%u.example.com\"", i ? "," : "", i);
	buf_put_str(&b, "]");
	text = strdup(buf_text(&b));
	assert_non_null(text);
	buf_release(&b);
	return text;
}

static void there_are_at_most_150_sans(void **state)
{
	struct validate_policy p = policy();
	char *sans = many_sans(150);

	(void)state;
	expect(&(struct body){.sans = sans}, &p, "");
	free(sans);
	sans = many_sans(151);
	expect(&(struct body){.sans = sans}, &p, "1412 /sans");
	free(sans);
	sans = many_sans(1000);
	expect(&(struct body){.sans = sans}, &p, "1412 /sans");
	free(sans);
}

static void refused_messages_name_what_and_why(void **state)
{
	struct validate_policy p = policy();
	struct problem_list problems = {0};
	struct validate_csr csr;
	char *text = body_text(&(struct body){.common_name = "\"" L63 "aa\"",
					      .sans = "[\"ok.example.com\",\"a_b\"]",
					      .more = ",\"key_type\":\"dsa\",\"extra\":1"});

	(void)state;
	assert_int_equal(validate_body(text, strlen(text), &p, &problems, &csr), E_INVAL);
	assert_int_equal(problems.len, 4);
	assert_non_null(strstr(problems.items[0].message, "64"));
	assert_non_null(strstr(problems.items[1].message, "sans[1] \"a_b\""));
	assert_non_null(strstr(problems.items[2].message, "rsa2048, p256v1"));
	assert_non_null(strstr(problems.items[3].message, "\"extra\""));
	problem_list_release(&problems);
	free(text);
}

/* F120: what Unicode calls control, format, private, unassigned or ignorable stands in no field. */
static void unsafe_characters_are_refused_everywhere(void **state)
{
	static const char *const unsafe[] = {
	    "\\u0001",        "\\t",     "\\n",     "\\r",     "\\u001b", "\\u007f", "\\u0085",
	    "\\u00ad",        "\\u034f", "\\u0378", "\\u0600", "\\u061c", "\\u115f", "\\u1160",
	    "\\u17b4",        "\\u180b", "\\u180e", "\\u200b", "\\u200c", "\\u200d", "\\u200f",
	    "\\u2028",        "\\u2029", "\\u202e", "\\u2060", "\\u2061", "\\u2064", "\\u2065",
	    "\\u2069",        "\\u206a", "\\u206f", "\\u3164", "\\ue000", "\\ufdd0", "\\ufe00",
	    "\\ufe0f",        "\\ufeff", "\\uffa0", "\\ufff0", "\\ufff9", "\\ufffb", "\\uffff",
	    "\\ud82f\\udca0", /* U+1BCA0 */
	    "\\ud834\\udd73", /* U+1D173 */
	    "\\udb40\\udc01", /* U+E0001 */
	    "\\udb40\\udc41", /* U+E0041, a tag */
	    "\\udb40\\udd00", /* U+E0100, a variation selector */
	    "\\udb80\\udc00", /* U+F0000, private use */
	    "\\udbff\\udfff", /* U+10FFFF */
	};
	struct validate_policy p = policy();

	(void)state;
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++) {
		char text[64];
		char more[256];

		snprintf(text, sizeof(text), "\"Goo%sgle\"", unsafe[i]);
		snprintf(more, sizeof(more), ",\"organizational_unit\":%s,\"name\":%s,\"description\":%s",
			 text, text, text);
		expect(&(struct body){NULL, text, text, text, text, NULL, more}, &p,
		       "1406 /state; 1407 /locality; 1408 /organization; 1400 /organizational_unit; "
		       "1409 /common_name; 1400 /name; 1400 /description");
	}
}

/* F121 */
static void a_subject_field_can_be_seen(void **state)
{
	static const struct {
		const char *json;
		const char *verdict;
	} table[] = {
	    {"\"\\u2800\"", "1408 /organization"}, /* BRAILLE PATTERN BLANK */
	    {"\"\\u2800\\u2800\"", "1408 /organization"},
	    {"\"\\u3164\"", "1408 /organization"}, /* HANGUL FILLER */
	    {"\"\\uffa0\"", "1408 /organization"},
	    {"\"\\u00a0\"", "1408 /organization"},
	    {"\"\\u3000\"", "1408 /organization"},
	    {"\"\\u0301\"", "1408 /organization"}, /* combining marks alone */
	    {"\"\\u0301\\u0302\\u20dd\"", "1408 /organization"},
	    {"\"\\u0301 \\u0301\"", "1408 /organization"},
	    {"\"\\u0903\"", "1408 /organization"},        /* spacing mark */
	    {"\"\\ufffc\"", "1408 /organization"},        /* OBJECT REPLACEMENT CHARACTER */
	    {"\"\\ud834\\udd59\"", "1408 /organization"}, /* U+1D159, a null notehead */
	    {"\"x\\u2800\"", "1408 /organization"},       /* looks like a blank at the end */
	    {"\"\\u2800x\"", "1408 /organization"},
	    {"\"x\\u2800y\"", ""},
	    {"\"x\\u0301\"", ""},
	    {"\"\\u0301x\"", ""},
	    {"\"-\"", ""},
	    {"\"\\u2764\"", ""},                          /* a heart is there to be seen … */
	    {"\"\\u2764\\ufe0f\"", "1408 /organization"}, /* … and its colour is a variation selector */
	    {"\"\\ud83d\\udc69\\u200d\\ud83d\\udcbb\"", "1408 /organization"}, /* joined emoji */
	    {"\"\\ud83d\\udc4d\\ud83c\\udffd\"", ""},                          /* a skin tone is a symbol */
	    {"\"\\u0646\\u0645\\u06cc\\u200c\\u0634\\u0648\\u062f\"", "1408 /organization"}, /* ZWNJ */
	    {"\"\\u0e01\\u0e33\"", ""},                             /* vowel signs of Thai */
	    {"\"\\u0928\\u092e\\u0938\\u094d\\u0924\\u0947\"", ""}, /* Devanagari with its marks */
	    {"\"e\\u0301 and \\u00e9\"", ""},                       /* not normalised: both are kept */
	};
	struct validate_policy p = policy();

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		expect(&(struct body){.organization = table[i].json}, &p, table[i].verdict);
}

/* The message of the first problem of a body. */
static void expect_message(const struct body *body, const struct validate_policy *p, const char *part)
{
	struct problem_list problems = {0};
	struct validate_csr csr;
	char *text = body_text(body);

	assert_int_equal(validate_body(text, strlen(text), p, &problems, &csr), E_INVAL);
	if (!strstr(problems.items[0].message, part))
		fail_msg("'%s' is not in '%s'", part, problems.items[0].message);
	problem_list_release(&problems);
	free(text);
}

/* F126: what to do about it stands in the message. */
static void refused_messages_name_the_remedy(void **state)
{
	static const struct {
		const char *sans;
		unsigned types;
		const char *part;
	} table[] = {
	    {"\"b\303\274cher.example\"", 0, "send \"xn--bcher-kva.example\""},
	    {"\"B\303\234CHER.example\"", 0, "send \"xn--bcher-kva.example\""},
	    {"\"*.\xe6\xb8\x85\xe9\x9d\x88\xe8\xaa\x9e.example\"", 0, "send \"*.xn--c5w032d4vi.example\""},
	    {"\"stra\303\237e.example\"", 0, "send \"xn--strae-oqa.example\""},
	    {"\"user@b\303\274cher.example\"", 0, "send \"user@xn--bcher-kva.example\""},
	    {"\"https://b\303\274cher.example:8443/x\"", 0, "send \"https://xn--bcher-kva.example:8443/x\""},
	    {"\"b\303\274cher.example/\xc3\xa9\"", 0, "send a name in ASCII"},
	    {"\"\xf0\x9f\x92\xa9.example\"", 0, "not a valid internationalised name"},
	    {"\"db_1.stack.internal\"", 0, "underscore"},
	    {"\"db1.corp.internal.\"", 0, "ends with a dot; send it without"},
	    {"\"www.debian.org:8443\"", 0, "port"},
	    {"\"https://www.debian.org/\"", 0, "a URI; accepted here are: dns; send the host name alone"},
	    {"\"10.0.0.1\"", 0, "an IP address; accepted here are: dns; the operator allows others"},
	    {"\"a.example,b.example\"", 0, "an item of its own"},
	    {"\"xn--ls8h.example\"", 0, "IDNA2008"},
	    {"\"https://user@a.example/\"", ALL_SANS, "user information"},
	    {"\"https://a.example:65536/\"", ALL_SANS, "from 1 to 65535"},
	};
	struct validate_policy p = policy();

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char sans[256];

		p.sans.types = table[i].types ? table[i].types : SAN_TYPE_BIT(SAN_DNS);
		snprintf(sans, sizeof(sans), "[%s]", table[i].sans);
		expect_message(&(struct body){.sans = sans}, &p, table[i].part);
	}
	expect_message(&(struct body){.country = "\"UK\""}, &p, "send \"GB\"");
	expect_message(&(struct body){.country = "\"uk\""}, &p, "send \"GB\"");
	expect_message(&(struct body){.country = "\"gb\""}, &p, "send \"GB\"");
	expect_message(&(struct body){.country = "\"EL\""}, &p, "send \"GR\"");
	expect_message(&(struct body){.country = "\"EU\""}, &p, "such as \"US\"");
	expect_message(&(struct body){.country = "\"XX\""}, &p, "such as \"US\"");
	expect_message(&(struct body){.common_name = "\"" L63 "aa.example\""}, &p,
		       "send a shorter name here, and the long one only in sans");
	expect_message(&(struct body){.organization = "\"x\\ufe0f\""}, &p,
		       "organization holds U+FE0F, an invisible character, at position 2; leave it out");
}

static void the_policy_limits_key_types(void **state)
{
	struct validate_policy p = policy();

	(void)state;
	p.key_types = KEY_TYPE_BIT(KEY_P256V1);
	expect(&(struct body){0}, &p, "1417 /key_type");
	expect(&(struct body){.more = ",\"key_type\":\"rsa2048\""}, &p, "1417 /key_type");
	expect(&(struct body){.more = ",\"key_type\":\"p256v1\""}, &p, "");
}

/* Accepted when it is in the set, refused when it is all that is missing; 1417 names the set. */
static void every_key_type_follows_the_set(void **state)
{
	static const char *const names[] = {"rsa2048", "p256v1", "rsa3072", "rsa4096", "p384v1", "ed25519"};
	struct validate_policy p = policy();
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	char more[64];
	char *text;

	(void)state;
	for (unsigned i = 0; i < KEY_TYPE_MAX; i++) {
		snprintf(more, sizeof(more), ",\"key_type\":\"%s\"", names[i]);
		p.key_types = KEY_TYPE_BIT(i + 1);
		expect(&(struct body){.more = more}, &p, "");
		p.key_types = KEY_TYPES_ALL & ~KEY_TYPE_BIT(i + 1);
		expect(&(struct body){.more = more}, &p, "1417 /key_type");
	}
	p.key_types = KEY_TYPE_BIT(KEY_ED25519) | KEY_TYPE_BIT(KEY_RSA3072);
	text = body_text(&(struct body){0});
	assert_int_equal(validate_body(text, strlen(text), &p, &problems, &csr), E_INVAL);
	assert_string_equal(problems.items[0].message,
			    "key_type is not accepted; accepted are: rsa3072, ed25519");
	problem_list_release(&problems);
	p.key_types = 0;
	assert_int_equal(validate_body(text, strlen(text), &p, &problems, &csr), E_INVAL);
	assert_string_equal(problems.items[0].message, "key_type is not accepted; accepted are: none");
	problem_list_release(&problems);
	free(text);
}

/* A body full of unknown fields gets a short answer. */
static void unknown_fields_are_counted(void **state)
{
	struct validate_policy p = policy();
	struct problem_list problems = {0};
	struct validate_csr csr;
	struct buf b;
	uint64_t started = clock_ms();

	(void)state;
	buf_init(&b, 4 * 1024 * 1024);
	buf_put_str(&b, "{");
	for (unsigned i = 0; i < 100000; i++)
		buf_printf(&b, "%s\"x%u\":[]", i ? "," : "", i);
	buf_put_str(&b, "}");
	assert_int_equal(validate_body(buf_text(&b), b.len, &p, &problems, &csr), E_INVAL);
	assert_int_equal(problems.len, 6 + VALIDATE_UNKNOWN_MAX + 1);
	assert_non_null(strstr(problems.items[problems.len - 1].message, "99984 more"));
	assert_true(clock_ms() - started < 5000);
	problem_list_release(&problems);
	buf_release(&b);
}

static void bodies_that_are_not_json(void **state)
{
	static const char *const texts[] = {"", "[]", "null", "{\"country\":\"US\",\"country\":\"US\"}",
					    "{\"a\":1}x"};
	struct validate_policy p = policy();

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char verdict[256];

		judge(texts[i], &p, verdict, sizeof(verdict));
		assert_string_equal(verdict, "1400 ");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everything_is_kept_as_sent),
	    cmocka_unit_test(what_is_not_given_is_absent),
	    cmocka_unit_test(null_is_not_given),
	    cmocka_unit_test(a_null_that_is_refused_is_named),
	    cmocka_unit_test(fields_are_checked),
	    cmocka_unit_test(lengths_are_exact),
	    cmocka_unit_test(countries_are_those_that_exist),
	    cmocka_unit_test(san_syntax),
	    cmocka_unit_test(public_names_only),
	    cmocka_unit_test(common_names_are_public_too),
	    cmocka_unit_test(duplicates_are_refused),
	    cmocka_unit_test(there_are_at_most_150_sans),
	    cmocka_unit_test(refused_messages_name_what_and_why),
	    cmocka_unit_test(unsafe_characters_are_refused_everywhere),
	    cmocka_unit_test(a_subject_field_can_be_seen),
	    cmocka_unit_test(refused_messages_name_the_remedy),
	    cmocka_unit_test(the_policy_limits_key_types),
	    cmocka_unit_test(every_key_type_follows_the_set),
	    cmocka_unit_test(unknown_fields_are_counted),
	    cmocka_unit_test(bodies_that_are_not_json),
	};

	return cmocka_run_group_tests_name("api_validate", tests, NULL, NULL);
}
