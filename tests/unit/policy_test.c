/* SPDX-License-Identifier: Apache-2.0 */
/* Policies × requests: what is read, what is refused and in which words (F380–F384). */
#include "tests/unit/cmocka_all.h"

#include "api/policy.h"
#include "api/policy_cache.h"
#include "api/validate.h"
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL_SANS                                                                                             \
	(SAN_TYPE_BIT(SAN_DNS) | SAN_TYPE_BIT(SAN_IP) | SAN_TYPE_BIT(SAN_EMAIL) | SAN_TYPE_BIT(SAN_URI))

/* ---- documents ---- */

/* "/pointer: message", one a line; "" when the document is good. */
static void read_document(const char *text, char *verdict, size_t size, struct policy **ret_policy)
{
	struct problem_list problems = {0};
	struct policy *policy = NULL;
	enum err e = policy_read(text, strlen(text), &problems, &policy);
	size_t used = 0;

	verdict[0] = '\0';
	assert_int_equal(e, problems.len > 0 ? E_INVAL : E_OK);
	assert_true((policy != NULL) == (e == E_OK));
	for (size_t i = 0; i < problems.len && used < size; i++)
		used += (size_t)snprintf(verdict + used, size - used, "%s%s: %s", i ? "\n" : "",
					 problems.items[i].pointer, problems.items[i].message);
	problem_list_release(&problems);
	if (ret_policy)
		*ret_policy = policy;
	else
		policy_free(policy);
}

/* F380: what a document may say, and what each mistake is told. */
static void documents_are_read_strictly(void **state)
{
	static const struct {
		const char *text;
		const char *says; /* how the verdict begins; "": it is accepted */
	} table[] = {
	    {"{}", ""},
	    {"{\"key_types\":[\"p256v1\",\"rsa4096\"]}", ""},
	    {"{\"san_types\":[\"dns\",\"ip\",\"email\",\"uri\"],\"max_sans\":150}", ""},
	    {"{\"dns_names\":[\"a.b\",\".B\",\"localhost\",\"xn--bcher-kva.example\",\"db_1.internal\"]}",
	     ""},
	    {"{\"wildcards\":false,\"underscores\":true}", ""},
	    {"{\"wildcards\":[\".apps.example.com\"],\"underscores\":[\".internal\",\"a_b.c\"]}", ""},
	    {"{\"ip_networks\":[\"10.0.0.0/8\",\"192.0.2.1\",\"2001:db8::/32\",\"::/0\"]}", ""},
	    {"{\"email_domains\":[\"example.com\",\".example.com\"]}", ""},
	    {"{\"uris\":[\"spiffe:\",\"https://www.example.com\",\"https://.example.com\",\"urn:\","
	     "\"https://10.0.0.1\",\"https://[2001:db8::1]\"]}",
	     ""},
	    {"{\"subject\":{\"country\":\"SE\",\"organization\":[\"A\",\"B\"],\"common_name\":\"x\"}}", ""},
	    {"{\"required\":[\"organizational_unit\"],\"forbidden\":[\"name\",\"description\"]}", ""},
	    {"{\"common_name_in_sans\":true}", ""},

	    {"", ": the policy cannot be decoded: no JSON object"},
	    {"[]", ": the policy cannot be decoded: not a JSON object"},
	    {"{\"san_types\":[\"dns\"],\"san_types\":[\"ip\"]}", ": the policy cannot be decoded: duplicate"},
	    {"{\"dns_name\":[\"a.b\"]}", ": unknown member \"dns_name\"; there are: key_types, san_types"},
	    {"{\"key_types\":\"p256v1\"}", "/key_types: key_types must be an array of strings, not a string"},
	    {"{\"key_types\":[]}", "/key_types: key_types is empty; leave it out"},
	    {"{\"key_types\":[\"rsa1024\"]}",
	     "/key_types/0: key_types/0 is not a key type; there are: rsa2048"},
	    {"{\"key_types\":null}", "/key_types: key_types must be an array of strings, not null"},
	    {"{\"san_types\":[\"dns\",7]}",
	     "/san_types/1: san_types/1 is not a type of SANs; there are: dns"},
	    {"{\"max_sans\":0}", "/max_sans: max_sans must be a whole number from 1 to 150"},
	    {"{\"max_sans\":1.5}", "/max_sans: max_sans must be a whole number"},
	    {"{\"dns_names\":[\"*.example.com\"]}", "/dns_names/0: dns_names/0 \"*.example.com\" has a '*'"},
	    {"{\"dns_names\":[\"a.b.\"]}", "/dns_names/0: dns_names/0 \"a.b.\" ends with a dot"},
	    {"{\"dns_names\":[\".\"]}", "/dns_names/0: dns_names/0 \".\" is empty"},
	    {"{\"dns_names\":[\"b\303\274cher.example\"]}",
	     "/dns_names/0: dns_names/0 \"b\303\274cher.example\" contains "
	     "characters that are not ASCII; write \"xn--bcher-kva.example\""},
	    {"{\"dns_names\":[\".b\303\274cher.example\"]}",
	     "/dns_names/0: dns_names/0 \".b\303\274cher.example\" contains characters that are not ASCII; "
	     "write \".xn--bcher-kva.example\""},
	    {"{\"dns_names\":[1]}", "/dns_names/0: dns_names/0 must be a string, not a number"},
	    {"{\"wildcards\":[\"apps.example.com\"]}",
	     "/wildcards/0: wildcards/0 \"apps.example.com\" does not begin with a dot"},
	    {"{\"wildcards\":\"no\"}", "/wildcards: wildcards must be true, false or an array of strings"},
	    {"{\"ip_networks\":[\"10.0.0.1/8\"]}", "/ip_networks/0: ip_networks/0 \"10.0.0.1/8\" has bits "
						   "set behind its prefix, it must be 10.0.0.0/8"},
	    {"{\"ip_networks\":[\"example.com\"]}", "/ip_networks/0: ip_networks/0 \"example.com\" is not "
						    "accepted, it must be an address or a network"},
	    {"{\"email_domains\":[\"a@example.com\"]}",
	     "/email_domains/0: email_domains/0 \"a@example.com\" has a '@'; write the domain alone"},
	    {"{\"uris\":[\"example.com\"]}", "/uris/0: uris/0 \"example.com\" is neither 'scheme:' nor"},
	    {"{\"uris\":[\"https://a.b/path\"]}",
	     "/uris/0: uris/0 \"https://a.b/path\" has more than a host"},
	    {"{\"uris\":[\"https://\"]}", "/uris/0: uris/0 \"https://\" is empty"},
	    {"{\"subject\":{\"org\":\"A\"}}",
	     "/subject: subject has an unknown member \"org\"; there are: country"},
	    {"{\"subject\":{\"organization\":\"\"}}",
	     "/subject/organization: subject/organization \"\" is empty"},
	    {"{\"subject\":{\"organization\":[]}}", "/subject/organization: subject/organization is empty"},
	    {"{\"required\":[\"country\"]}", "/required/0: required/0 is not an optional field; there are"},
	    {"{\"required\":[\"name\"],\"forbidden\":[\"name\"]}",
	     "/forbidden: forbidden names name, which is"},
	    {"{\"common_name_in_sans\":1}",
	     "/common_name_in_sans: common_name_in_sans must be true or false"},
	    /* all at once */
	    {"{\"max_sans\":0,\"wildcards\":1}",
	     "/max_sans: max_sans must be a whole number from 1 to 150\n/wildcards: wildcards must be"},
	};
	char verdict[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		read_document(table[i].text, verdict, sizeof(verdict), NULL);
		if (table[i].says[0] == '\0' ? verdict[0] != '\0'
					     : strncmp(verdict, table[i].says, strlen(table[i].says)) != 0)
			fail_msg("%s: '%s' instead of '%s'", table[i].text, verdict, table[i].says);
	}
}

/* ---- requests ---- */

static struct policy *must_read(const char *text)
{
	struct policy *policy = NULL;
	char verdict[4096];

	read_document(text, verdict, sizeof(verdict), &policy);
	if (!policy)
		fail_msg("%s: %s", text, verdict);
	return policy;
}

/* members: JSON in place of, or besides, those of a plain request; the first of a name counts. */
static void make_request(const char *members, struct buf *b)
{
	static const char *const plain[] = {"country",      "\"SE\"",
					    "state",        "\"Stockholm\"",
					    "locality",     "\"Solna\"",
					    "organization", "\"Example AB\"",
					    "common_name",  "\"www.example.com\"",
					    "sans",         "[\"www.example.com\"]",
					    "key_type",     "\"p256v1\""};

	buf_printf(b, "{%s", members);
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i += 2) {
		char name[64];

		snprintf(name, sizeof(name), "\"%s\":", plain[i]);
		if (!strstr(members, name))
			buf_printf(b, "%s%s%s", b->len > 1 ? "," : "", name, plain[i + 1]);
	}
	buf_put_str(b, "}");
	assert_int_equal(buf_status(b), E_OK);
}

/* "1412 /sans/0 message", one a line; "" when it is accepted. */
static void judge(const struct validate_policy *rules, const char *members, char *verdict, size_t size)
{
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	struct buf body;
	size_t used = 0;
	enum err e;

	buf_init(&body, 65536);
	make_request(members, &body);
	e = validate_body(buf_text(&body), body.len, rules, &problems, &csr);
	assert_int_equal(e, problems.len > 0 ? E_INVAL : E_OK);
	verdict[0] = '\0';
	for (size_t i = 0; i < problems.len && used < size; i++)
		used += (size_t)snprintf(verdict + used, size - used, "%s%d %s %s", i ? "\n" : "",
					 (int)problems.items[i].code, problems.items[i].pointer,
					 problems.items[i].message);
	problem_list_release(&problems);
	validate_csr_release(&csr);
	buf_release(&body);
}

static struct validate_policy rules_of(const struct policy *account, const struct policy *zone)
{
	struct validate_policy rules = {.key_types = KEY_TYPES_ALL, .sans = {.types = ALL_SANS}};

	if (account)
		rules.rules.items[rules.rules.len++] =
		    (struct policy_in_force){.policy = account, .kind = STORE_ACCOUNT, .version = 3};
	if (zone)
		rules.rules.items[rules.rules.len++] =
		    (struct policy_in_force){.policy = zone, .kind = STORE_ZONE, .version = 1};
	return rules;
}

#define OF_ACCOUNT "the policy of this account (version 3)"

static const struct {
	const char *policy;
	const char *members; /* of the request */
	const char *says;    /* how the verdict begins; "": accepted */
} judged[] = {
    {"{}", "", ""},
    {"{}", "\"sans\":[\"*.x.y\",\"10.0.0.1\",\"a@b.c\",\"https://b.c/\"],\"common_name\":\"anything\"", ""},
    /* names, as names are compared */
    {"{\"dns_names\":[\"www.example.com\"]}", "", ""},
    {"{\"dns_names\":[\"WWW.Example.com\"]}", "\"sans\":[\"wWw.eXample.com\"]", ""},
    {"{\"dns_names\":[\".example.com\"]}", "", ""},
    {"{\"dns_names\":[\".example.com\"]}", "\"sans\":[\"a.b.EXAMPLE.com\"]", ""},
    {"{\"dns_names\":[\".example.com\"]}", "\"sans\":[\"example.com\"]",
     "1412 /sans/0 sans[0] \"example.com\" is not a name that " OF_ACCOUNT
     " accepts; accepted are: .example.com "
     "('.b' stands for all names below b)"},
    {"{\"dns_names\":[\".example.com\"]}", "\"sans\":[\"www.notexample.com\"]", "1412 /sans/0"},
    {"{\"dns_names\":[\"example.com\"]}", "\"sans\":[\"www.example.com\"],\"common_name\":\"x\"",
     "1412 /sans/0 sans[0] \"www.example.com\" is not a name that " OF_ACCOUNT " accepts; accepted are: "
     "example.com"},
    {"{\"dns_names\":[\"xn--bcher-kva.example\"]}",
     "\"sans\":[\"XN--bcher-kva.example\"],\"common_name\":\"b\303\274cher.example\"", ""},
    /* a policy about one type says nothing of the others */
    {"{\"dns_names\":[\"a.b\"]}", "\"sans\":[\"10.0.0.1\"],\"common_name\":\"a.b\"", ""},
    /* wildcards */
    {"{\"dns_names\":[\".example.com\"]}", "\"sans\":[\"*.example.com\"]", ""},
    {"{\"dns_names\":[\"example.com\",\"www.example.com\"]}", "\"sans\":[\"*.example.com\"]", "1412 /sans/0"},
    {"{\"wildcards\":false}", "\"sans\":[\"*.example.com\"]",
     "1412 /sans/0 sans[0] \"*.example.com\" is a wildcard, and " OF_ACCOUNT " accepts none; send each name"},
    {"{\"wildcards\":true}", "\"sans\":[\"*.example.com\"]", ""},
    {"{\"wildcards\":[\".apps.example.com\"]}", "\"sans\":[\"*.apps.example.com\",\"*.x.apps.example.com\"]",
     ""},
    {"{\"wildcards\":[\".apps.example.com\"]}", "\"sans\":[\"www.example.com\",\"*.example.com\"]",
     "1412 /sans/1 sans[1] \"*.example.com\" is not a wildcard that " OF_ACCOUNT
     " accepts; accepted end in: .apps.example.com"},
    /* underscores */
    {"{}", "\"sans\":[\"db_1.internal\"]",
     "1412 /sans/0 sans[0] \"db_1.internal\" has an underscore, which a"},
    {"{\"underscores\":false}", "\"sans\":[\"db_1.internal\"]", "1412 /sans/0"},
    {"{\"underscores\":true}", "\"sans\":[\"db_1.internal\",\"*._tcp.internal\"]", ""},
    {"{\"underscores\":[\".internal\"]}", "\"sans\":[\"db_1.stack.internal\"]", ""},
    {"{\"underscores\":[\".internal\"]}", "\"sans\":[\"db_1.example.com\"]",
     "1412 /sans/0 sans[0] \"db_1.example.com\" has an underscore, which " OF_ACCOUNT
     " accepts only in: .internal"},
    {"{\"underscores\":[\".internal\"]}", "\"sans\":[\"a_b@c.internal\",\"a@b_c.internal\"]", "1412 /sans/1"},
    /* the other types */
    {"{\"san_types\":[\"dns\"]}", "\"sans\":[\"10.0.0.1\",\"a.b\"]",
     "1412 /sans/0 sans[0] \"10.0.0.1\" is an IP address; accepted here are: dns"},
    {"{\"ip_networks\":[\"10.0.0.0/8\",\"2001:db8::/33\"]}", "\"sans\":[\"10.255.0.1\",\"2001:db8:7fff::1\"]",
     ""},
    {"{\"ip_networks\":[\"10.0.0.0/8\"]}", "\"sans\":[\"::ffff:10.1.2.3\"]", ""},
    {"{\"ip_networks\":[\"10.0.0.0/9\"]}", "\"sans\":[\"10.128.0.0\"]",
     "1412 /sans/0 sans[0] \"10.128.0.0\" is in no network that " OF_ACCOUNT
     " accepts; accepted are: 10.0.0.0/9"},
    {"{\"email_domains\":[\".example.com\"]}", "\"sans\":[\"Joe@mail.EXAMPLE.com\"]", ""},
    {"{\"email_domains\":[\".example.com\"]}", "\"sans\":[\"joe@example.com\"]",
     "1412 /sans/0 sans[0] \"joe@example.com\" is in no domain that " OF_ACCOUNT " accepts"},
    {"{\"uris\":[\"spiffe:\",\"https://.example.com\",\"https://[2001:db8::1]\"]}",
     "\"sans\":[\"SPIFFE://any.where/x\",\"https://a.example.com:8443/\",\"https://[2001:DB8:0::1]/\"]", ""},
    {"{\"uris\":[\"https://.example.com\"]}", "\"sans\":[\"http://a.example.com/\"]",
     "1412 /sans/0 sans[0] \"http://a.example.com/\" has no scheme and host that " OF_ACCOUNT " accepts"},
    {"{\"uris\":[\"https://.example.com\"]}", "\"sans\":[\"https://example.com.evil.org/\"]", "1412 /sans/0"},
    {"{\"uris\":[\"https://.example.com\"]}", "\"sans\":[\"urn:a1:b\"]", "1412 /sans/0"},
    {"{\"uris\":[\"urn:\"]}", "\"sans\":[\"URN:a1:b\"]", ""},
    {"{\"max_sans\":2}", "\"sans\":[\"a.b\",\"b.b\"]", ""},
    {"{\"max_sans\":2}", "\"sans\":[\"a.b\",\"b.b\",\"c.b\"]",
     "1412 /sans sans has 3 items, and " OF_ACCOUNT " accepts 2 at most"},
    /* the key */
    {"{\"key_types\":[\"p384v1\",\"rsa4096\"]}", "",
     "1417 /key_type key_type is not accepted; accepted are: rsa4096, p384v1"},
    {"{\"key_types\":[\"rsa2048\"]}", "\"key_type\":null", ""},
    {"{\"key_types\":[\"p256v1\"]}", "\"key_type\":null", "1417 /key_type"},
    /* the subject */
    {"{\"subject\":{\"organization\":\"Example AB\",\"country\":[\"NO\",\"SE\"]}}", "", ""},
    {"{\"subject\":{\"organization\":\"Example Holding\"}}", "",
     "1408 /organization organization is not one that " OF_ACCOUNT
     " accepts; accepted is \"Example Holding\""},
    {"{\"subject\":{\"country\":[\"NO\",\"DK\"]}}", "",
     "1405 /country country is not one that " OF_ACCOUNT " accepts; accepted are: \"NO\", \"DK\""},
    {"{\"subject\":{\"organization\":\"example ab\"}}", "", "1408 /organization"},
    {"{\"subject\":{\"organizational_unit\":\"Ops\"}}", "", ""},
    {"{\"subject\":{\"organizational_unit\":\"Ops\"}}", "\"organizational_unit\":\"Dev\"",
     "1400 /organizational_unit"},
    {"{\"required\":[\"organizational_unit\",\"description\"]}", "",
     "1400 /organizational_unit organizational_unit is required by " OF_ACCOUNT
     "\n1400 /description description is required by " OF_ACCOUNT},
    {"{\"required\":[\"organizational_unit\"]}", "\"organizational_unit\":null", "1400 /organizational_unit"},
    {"{\"forbidden\":[\"organizational_unit\"]}", "\"organizational_unit\":\"Ops\"",
     "1400 /organizational_unit organizational_unit is not accepted by " OF_ACCOUNT "; leave it out"},
    /* the common name: what reads as a name must be one that is accepted */
    {"{\"common_name_in_sans\":true}", "", ""},
    {"{\"common_name_in_sans\":true}", "\"common_name\":\"WWW.example.COM\"", ""},
    {"{\"common_name_in_sans\":true}", "\"common_name\":\"Payments API\"",
     "1409 /common_name common_name \"Payments API\" is not one of sans, as " OF_ACCOUNT " demands"},
    {"{\"common_name_in_sans\":true}", "\"common_name\":\"10.0.0.1\",\"sans\":[\"a.b\",\"10.0.0.1\"]", ""},
    {"{\"dns_names\":[\".example.com\"]}", "\"common_name\":\"Payments API\"", ""},
    /* What is no SAN is no common name that reads as a DNS name. */
    {"{\"dns_names\":[\".example.com\"],\"wildcards\":false}",
     "\"common_name\":\"w*.example.com\",\"sans\":[\"10.0.0.1\"]", "1409 /common_name"},
    {"{\"dns_names\":[\".example.com\"]}", "\"common_name\":\"a_b.example.com\",\"sans\":[\"10.0.0.1\"]",
     "1409 /common_name"},
    {"{\"dns_names\":[\".example.com\"],\"underscores\":true}",
     "\"common_name\":\"a_b.example.com\",\"sans\":[\"10.0.0.1\"]", ""},
    {"{\"dns_names\":[\".example.com\"]}",
     "\"common_name\":\"evil.test,.x.example.com\",\"sans\":[\"10.0.0.1\"]", "1409 /common_name"},
    {"{}", "\"common_name\":\"w*.example.com\"", ""},
    {"{\"required\":[\"name\"]}", "\"name\":\"\"", "1400 /name name is required by"},
    {"{\"dns_names\":[\".example.com\"]}", "\"common_name\":\"www.bank.example\"",
     "1409 /common_name common_name \"www.bank.example\" is not a name that " OF_ACCOUNT " accepts"},
    {"{\"dns_names\":[\".example.com\"]}", "\"common_name\":\"www.bank.example.:443\"", "1409 /common_name"},
    {"{\"dns_names\":[\".example.com\"]}", "\"common_name\":\"b\303\274cher.example\"", "1409 /common_name"},
    {"{\"dns_names\":[\".example.com\"],\"wildcards\":false}", "\"common_name\":\"*.example.com\"",
     "1409 /common_name common_name \"*.example.com\" is a wildcard"},
    {"{\"dns_names\":[\".example.com\"]}", "\"common_name\":\"10.0.0.1\"", ""},
    {"{\"san_types\":[\"dns\"]}", "\"common_name\":\"10.0.0.1\"",
     "1409 /common_name common_name \"10.0.0.1\" reads as an IP address, which is not a type of name "
     "that " OF_ACCOUNT " accepts"},
    {"{\"ip_networks\":[\"10.0.0.0/8\"]}", "\"common_name\":\"192.0.2.1:8443\"", "1409 /common_name"},
    {"{\"email_domains\":[\"example.com\"]}", "\"common_name\":\"joe@bank.example\"", "1409 /common_name"},
    {"{\"uris\":[\"spiffe:\"]}", "\"common_name\":\"https://www.example.com/\"", "1409 /common_name"},
    /* contract and policy together, in the order of the fields */
    {"{\"subject\":{\"country\":\"NO\",\"organization\":\"X\"},\"dns_names\":[\".x\"],\"key_types\":["
     "\"rsa4096\"],"
     "\"forbidden\":[\"name\"]}",
     "\"name\":\"n\",\"state\":\"\",\"sans\":[\"a.x\",\"a_b\",\"b.y\"],\"common_name\":\"c\",\"more\":1",
     "1405 /country country is not one that " OF_ACCOUNT " accepts; accepted is \"NO\"\n"
     "1406 /state state must not be empty; send text, or leave it out where it is optional\n"
     "1408 /organization organization is not one that " OF_ACCOUNT " accepts; accepted is \"X\"\n"
     "1412 /sans/1 sans[1] \"a_b\" has an underscore, which a certificate's host name may not have (RFC 1123 "
     "§2.1); use a name without it\n"
     "1412 /sans/2 sans[2] \"b.y\" is not a name that " OF_ACCOUNT
     " accepts; accepted are: .x ('.b' stands for "
     "all names below b)\n"
     "1417 /key_type key_type is not accepted; accepted are: rsa4096\n"
     "1400 /name name is not accepted by " OF_ACCOUNT "; leave it out\n"
     "1400 /more unknown field \"more\""},
};

/* F381, F382 */
static void requests_meet_policies(void **state)
{
	char verdict[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(judged) / sizeof(judged[0]); i++) {
		struct policy *policy = must_read(judged[i].policy);
		struct validate_policy rules = rules_of(policy, NULL);
		const char *says = judged[i].says;

		judge(&rules, judged[i].members, verdict, sizeof(verdict));
		if (says[0] == '\0' ? verdict[0] != '\0' : strncmp(verdict, says, strlen(says)) != 0)
			fail_msg("%s, %s: '%s' instead of '%s'", judged[i].policy, judged[i].members, verdict,
				 says);
		policy_free(policy);
	}
}

/* F383: both must be met, each says its own, and the configuration stays the bound of both. */
static void account_zone_and_configuration_bound_together(void **state)
{
	struct policy *account = must_read("{\"dns_names\":[\".a\"],\"key_types\":[\"p256v1\",\"rsa2048\"],"
					   "\"max_sans\":1,\"underscores\":[\".x.a\"]}");
	struct policy *zone = must_read("{\"dns_names\":[\".z.a\"],\"key_types\":[\"rsa2048\",\"ed25519\"]}");
	struct validate_policy rules = rules_of(account, zone);
	char verdict[8192];

	(void)state;
	judge(&rules, "\"sans\":[\"x.z.a\"],\"common_name\":\"c\",\"key_type\":\"rsa2048\"", verdict,
	      sizeof(verdict));
	assert_string_equal(verdict, "");
	judge(&rules, "\"sans\":[\"b.b\"],\"common_name\":\"c\",\"key_type\":\"p256v1\"", verdict,
	      sizeof(verdict));
	assert_string_equal(
	    verdict, "1412 /sans/0 sans[0] \"b.b\" is not a name that the policy of this account (version 3) "
		     "accepts; accepted are: .a ('.b' stands for all names below b)\n"
		     "1412 /sans/0 sans[0] \"b.b\" is not a name that the policy of this zone (version 1) "
		     "accepts; accepted are: .z.a ('.b' stands for all names below b)\n"
		     "1417 /key_type key_type is not accepted; accepted are: rsa2048");
	/* What one of them allows is allowed where the other says nothing about it. */
	judge(&rules, "\"sans\":[\"b_c.z.a\"],\"common_name\":\"c\",\"key_type\":\"rsa2048\"", verdict,
	      sizeof(verdict));
	assert_non_null(strstr(verdict, "accepts only in: .x.a"));
	/* No policy widens what the configuration permits, */
	rules.sans.types = SAN_TYPE_BIT(SAN_DNS);
	rules.key_types = KEY_TYPE_BIT(KEY_P256V1);
	judge(&rules, "\"sans\":[\"10.0.0.1\"],\"common_name\":\"c\",\"key_type\":\"rsa2048\"", verdict,
	      sizeof(verdict));
	assert_non_null(
	    strstr(verdict, "1412 /sans/0 sans[0] \"10.0.0.1\" is an IP address; accepted here are: dns"));
	assert_non_null(strstr(verdict, "1417 /key_type key_type is not accepted; accepted are: none"));
	policy_free(zone);
	zone = must_read("{\"underscores\":true}");
	/* and an underscore is never in a name that has to be public. */
	rules = rules_of(NULL, zone);
	rules.sans.public_names_only = true;
	judge(&rules, "\"sans\":[\"a_b.example-shop.com\"],\"common_name\":\"c\"", verdict, sizeof(verdict));
	assert_non_null(strstr(verdict, "has an underscore"));
	policy_free(zone);
	policy_free(account);
}

/* A list that is longer than a message ends in how many more there are. */
static void long_lists_are_cut(void **state)
{
	struct buf text;
	char verdict[8192];
	struct validate_policy rules;
	struct policy *policy;

	(void)state;
	buf_init(&text, 65536);
	buf_put_str(&text, "{\"dns_names\":[");
	for (unsigned i = 0; i < POLICY_ITEMS_MAX; i++)
		buf_printf(&text, "%s\"host-%03u.example.com\"", i ? "," : "", i);
	buf_put_str(&text, "]}");
	policy = must_read(buf_text(&text));
	rules = rules_of(policy, NULL);
	judge(&rules, "\"sans\":[\"b.b\"],\"common_name\":\"c\"", verdict, sizeof(verdict));
	assert_non_null(strstr(verdict, "accepted are: host-000.example.com, host-001.example.com, "));
	assert_non_null(strstr(verdict, " more"));
	policy_free(policy);
	buf_reset(&text);
	buf_put_str(&text, "{\"dns_names\":[\"a\"");
	for (unsigned i = 0; i < POLICY_ITEMS_MAX; i++)
		buf_put_str(&text, ",\"a\"");
	buf_put_str(&text, "]}");
	read_document(buf_text(&text), verdict, sizeof(verdict), NULL);
	assert_string_equal(verdict, "/dns_names: dns_names has 257 items; at most 256 are accepted");
	buf_release(&text);
}

/* ---- notes ---- */

static void expect_notes(bool public, const char *members, const char *says)
{
	struct validate_policy rules = rules_of(NULL, NULL);
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	char notes[8192] = "";
	struct buf body;
	size_t used = 0;

	rules.notes_public = public;
	buf_init(&body, 65536);
	make_request(members, &body);
	assert_int_equal(validate_body(buf_text(&body), body.len, &rules, &problems, &csr), E_OK);
	for (size_t i = 0; i < csr.notes.len; i++)
		used += (size_t)snprintf(notes + used, sizeof(notes) - used, "%s%d %s %s", i ? "\n" : "",
					 (int)csr.notes.items[i].code, csr.notes.items[i].pointer,
					 csr.notes.items[i].message);
	assert_string_equal(notes, says);
	validate_csr_release(&csr);
	problem_list_release(&problems);
	buf_release(&body);
}

/* F384 */
static void what_surprises_is_noted(void **state)
{
	(void)state;
	expect_notes(false, "", "");
	expect_notes(false, "\"common_name\":\"www.EXAMPLE.com\"", "");
	expect_notes(
	    false, "\"common_name\":\"Payments API\",\"state\":\"Some-State\"",
	    "1406 /state state \"Some-State\" looks like a filler; CAs may refuse it\n"
	    "1409 /common_name common_name is not one of sans: public CAs refuse that, and clients that "
	    "check SANs ignore it");
	expect_notes(false, "\"sans\":[\"www.example.com\",\"db.internal\"]", "");
	expect_notes(
	    true,
	    "\"sans\":[\"www.shop.example-brand.com\",\"db.internal\",\"10.0.0.1\"],"
	    "\"common_name\":\"db.internal\"",
	    "1414 /sans/1 sans[1] \"db.internal\" ends in the reserved name 'internal': public CAs refuse "
	    "it\n"
	    "1414 /sans/2 sans[2] \"10.0.0.1\" is in 10.0.0.0/8 (private use): public CAs refuse it");
}

/* ---- the cache ---- */

static void policies_are_parsed_once(void **state)
{
	struct policy_record record = {.scope = {STORE_ACCOUNT, "a"}, .version = 1, .document = strdup("{}")};
	struct problem_list problems = {0};
	const struct policy *first, *again, *other;
	struct policy_cache cache;

	(void)state;
	policy_cache_init(&cache);
	assert_int_equal(policy_cache_get(&cache, &record, &problems, &first), E_OK);
	for (unsigned version = 2; version < 2 + POLICY_CACHE_MAX; version++) {
		record.version = 1;
		assert_int_equal(policy_cache_get(&cache, &record, &problems, &again), E_OK);
		assert_ptr_equal(again, first);
		record.version = version;
		assert_int_equal(policy_cache_get(&cache, &record, &problems, &other), E_OK);
		assert_ptr_not_equal(other, first);
	}
	assert_int_equal(cache.len, POLICY_CACHE_MAX);
	record.version = 1;
	record.scope.kind = STORE_ZONE;
	assert_int_equal(policy_cache_get(&cache, &record, &problems, &other), E_OK);
	assert_ptr_not_equal(other, first);
	record.version = 1000;
	record.document[0] = '[';
	assert_int_equal(policy_cache_get(&cache, &record, &problems, &other), E_INVAL);
	assert_int_equal(problems.len, 1);
	problem_list_release(&problems);
	policy_cache_release(&cache);
	free(record.document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(documents_are_read_strictly),
	    cmocka_unit_test(requests_meet_policies),
	    cmocka_unit_test(account_zone_and_configuration_bound_together),
	    cmocka_unit_test(long_lists_are_cut),
	    cmocka_unit_test(what_surprises_is_noted),
	    cmocka_unit_test(policies_are_parsed_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
