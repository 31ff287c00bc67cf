/* Syntax of subject alternative names, and which of them are public. */
#include "api/san.h"

#include "base/str.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <libpsl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_CHARS 253
#define LABEL_MAX_CHARS 63
#define LOCAL_PART_MAX_CHARS 64

/* ---- labels and names; each check answers NULL or what is wrong ---- */

static bool is_alnum(char c)
{
	return str_ascii_is_alpha(c) || str_ascii_is_digit(c);
}

/* RFC 3492 §6.1 */
static uint32_t punycode_adapt(uint32_t delta, uint32_t count, bool first)
{
	uint32_t k = 0;

	delta = first ? delta / 700 : delta / 2;
	delta += delta / count;
	for (; delta > 455; k += 36)
		delta /= 35;
	return k + 36 * delta / (delta + 38);
}

static uint32_t punycode_digit(char c)
{
	return str_ascii_is_digit(c) ? (uint32_t)(c - '0') + 26 : (uint32_t)(str_ascii_lower(c) - 'a');
}

/* Not a surrogate, and nothing invisible; the two joiners have their uses (RFC 5892 appendix A). */
static bool is_sane_in_label(uint32_t c)
{
	if (c == 0x200c || c == 0x200d)
		return true;
	return (c < 0xd800 || c > 0xdfff) && !utf8_is_unsafe_in_names(c);
}

/*
 * Walks the part behind "xn--" as the decoder of RFC 3492 §6.2 does, without
 * keeping the text: is it well formed, and are all of its code points sane?
 */
static bool punycode_is_sound(const char *label, size_t len)
{
	size_t at = 0;
	uint32_t n = 128;
	uint32_t i = 0;
	uint32_t bias = 72;
	uint32_t count = 0; /* characters so far */

	for (size_t dash = len; dash-- > 0;) {
		if (label[dash] == '-') {
			count = (uint32_t)dash;
			at = dash + 1;
			break;
		}
	}
	if (at == len || label[0] == '-')
		return false;
	while (at < len) {
		uint32_t before = i;
		uint32_t weight = 1;

		for (uint32_t k = 36;; k += 36) {
			uint32_t threshold = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
			uint32_t digit;

			if (at == len || label[at] == '-')
				return false;
			digit = punycode_digit(label[at++]);
			if (digit > (UINT32_MAX - i) / weight)
				return false;
			i += digit * weight;
			if (digit < threshold)
				break;
			if (weight > UINT32_MAX / (36 - threshold))
				return false;
			weight *= 36 - threshold;
		}
		count++;
		bias = punycode_adapt(i - before, count, before == 0);
		if (i / count > 0x10ffff - n)
			return false;
		n += i / count;
		if (!is_sane_in_label(n))
			return false;
		i = i % count + 1;
	}
	return true;
}

static const char *label_fault(const char *label, size_t len)
{
	if (len == 0)
		return "has an empty label";
	if (len > LABEL_MAX_CHARS)
		return "has a label of more than 63 characters";
	if (label[0] == '-' || label[len - 1] == '-')
		return "has a label that starts or ends with '-'";
	for (size_t i = 0; i < len; i++) {
		if (!is_alnum(label[i]) && label[i] != '-')
			return label[i] == '*' ? "has a '*' that is not the whole first label" :
			                         "has a character other than letters, digits, '-' and '.'";
	}
	if (len >= 4 && str_ascii_lower(label[0]) == 'x' && str_ascii_lower(label[1]) == 'n' &&
	    label[2] == '-' && label[3] == '-' && !punycode_is_sound(label + 4, len - 4))
		return "has an 'xn--' label that does not decode";
	return NULL;
}

/* Would a URL parser read a name with this last label as an IPv4 address? */
static bool label_is_number(const char *label, size_t len)
{
	size_t digits = 0;
	size_t start = len >= 2 && label[0] == '0' && str_ascii_lower(label[1]) == 'x' ? 2 : 0;

	for (size_t i = start; i < len; i++) {
		char c = str_ascii_lower(label[i]);

		if (str_ascii_is_digit(c) || (start == 2 && c >= 'a' && c <= 'f'))
			digits++;
	}
	return start + digits == len;
}

/* A host name without wildcard. */
static const char *host_fault(const char *name)
{
	const char *label = name;
	size_t total = strlen(name);

	if (total == 0)
		return "is empty";
	if (total > NAME_MAX_CHARS)
		return "is longer than 253 characters";
	if (name[total - 1] == '.')
		return "ends with a dot";
	for (;;) {
		size_t len = strcspn(label, ".");
		const char *fault = label_fault(label, len);

		if (fault)
			return fault;
		if (label[len] == '\0')
			return label_is_number(label, len) ? "ends in a number, as an IP address does" : NULL;
		label += len + 1;
	}
}

static const char *dns_fault(const char *name)
{
	if (strlen(name) > NAME_MAX_CHARS)
		return "is longer than 253 characters";
	if (strcmp(name, "*") == 0 || strcmp(name, "*.") == 0)
		return "is a wildcard for everything";
	return host_fault(str_starts_with(name, "*.") ? name + 2 : name);
}

static const char *email_fault(const char *value, const char **ret_host)
{
	const char *at = strrchr(value, '@');
	size_t local_len = (size_t)(at - value);

	if (local_len == 0 || local_len > LOCAL_PART_MAX_CHARS)
		return "has a local part that is empty or longer than 64 characters";
	for (size_t i = 0; i < local_len; i++) {
		if (value[i] == '.' && (i == 0 || i + 1 == local_len || value[i + 1] == '.'))
			return "has a local part with a misplaced dot";
		if (value[i] != '.' && !is_alnum(value[i]) && !strchr("!#$%&'*+-/=?^_`{|}~", value[i]))
			return "has a local part with a character that is not allowed";
	}
	*ret_host = at + 1;
	return host_fault(at + 1);
}

/* Reserved, unreserved and percent-encoded characters (RFC 3986 §2). */
static const char *uri_text_fault(const char *text)
{
	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '%') {
			if (!strchr("0123456789abcdefABCDEF", c[1]) || c[1] == '\0' ||
			    !strchr("0123456789abcdefABCDEF", c[2]) || c[2] == '\0')
				return "has a '%' without two hexadecimal digits";
			c += 2;
		} else if (!is_alnum(*c) && !strchr("-._~:/?#[]@!$&'()*+,;=", *c)) {
			return "has a character that no URI has";
		}
	}
	return NULL;
}

static bool is_ip(const char *text, int *ret_family, unsigned char address[16])
{
	for (int i = 0; i < 2; i++) {
		int family = i == 0 ? AF_INET : AF_INET6;

		if (inet_pton(family, text, address) == 1) {
			*ret_family = family;
			return true;
		}
	}
	return false;
}

/* "host", "host:port", "[v6]", "[v6]:port" into host; port digits are checked. */
static const char *uri_authority_fault(const char *authority, size_t len, char host[CSR_SAN_BYTES_MAX + 1])
{
	unsigned char address[16];
	int family;
	size_t host_len;
	const char *port;

	if (memchr(authority, '@', len))
		return "has user information before its host";
	if (len > 0 && authority[0] == '[') {
		const char *end = memchr(authority, ']', len);

		if (!end)
			return "has a '[' without its ']'";
		host_len = (size_t)(end - authority) + 1;
		memcpy(host, authority + 1, host_len - 2);
		host[host_len - 2] = '\0';
		if (inet_pton(AF_INET6, host, address) != 1)
			return "has a host that is not an IPv6 address";
		host[0] = '\0';
	} else {
		const char *colon = memchr(authority, ':', len);

		host_len = colon ? (size_t)(colon - authority) : len;
		memcpy(host, authority, host_len);
		host[host_len] = '\0';
		if (is_ip(host, &family, address))
			host[0] = '\0';
		else if (host_fault(host))
			return "has a host that is no name and no address";
	}
	port = authority + host_len;
	if (host_len == len)
		return NULL;
	if (*port != ':' || strspn(port + 1, "0123456789") != len - host_len - 1 || len - host_len - 1 > 5)
		return "has a port that is not a number";
	return NULL;
}

/* host is "" when there is none that is a name. */
static const char *uri_fault(const char *value, char host[CSR_SAN_BYTES_MAX + 1])
{
	size_t scheme_len = strcspn(value, ":");
	const char *rest = value + scheme_len + 1;

	host[0] = '\0';
	if (!str_ascii_is_alpha(value[0]))
		return "has no scheme";
	for (size_t i = 1; i < scheme_len; i++) {
		if (!is_alnum(value[i]) && !strchr("+-.", value[i]))
			return "has a scheme with a character that is not allowed";
	}
	if (*rest == '\0')
		return "ends behind its scheme";
	if (uri_text_fault(rest))
		return uri_text_fault(rest);
	if (!str_starts_with(rest, "//"))
		return NULL;
	rest += 2;
	return uri_authority_fault(rest, strcspn(rest, "/?#"), host);
}

/* ---- public names ---- */

struct san_suffixes {
	psl_ctx_t *psl;
};

enum err san_suffixes_load(struct san_suffixes **ret_suffixes)
{
	struct san_suffixes *suffixes = calloc(1, sizeof(*suffixes));

	if (!suffixes)
		return E_NOMEM;
	suffixes->psl = psl_latest(NULL);
	if (!suffixes->psl) {
		free(suffixes);
		return E_NOTFOUND;
	}
	*ret_suffixes = suffixes;
	return E_OK;
}

void san_suffixes_free(struct san_suffixes *suffixes)
{
	if (!suffixes)
		return;
	psl_free(suffixes->psl);
	free(suffixes);
}

static bool ends_in(const char *lower_name, const char *parent)
{
	size_t len = strlen(lower_name);
	size_t parent_len = strlen(parent);

	if (len < parent_len || strcmp(lower_name + len - parent_len, parent) != 0)
		return false;
	return len == parent_len || lower_name[len - parent_len - 1] == '.';
}

/*
 * Names that are never delegated: RFC 2606, 6761, 6762 (and its appendix G), 7686, 8375, 9476;
 * ICANN for "internal".
 */
static const char *const reserved[] = {
	"test", "example", "invalid", "localhost", "local", "onion",    "alt",     "internal", "home.arpa",
	"home", "corp",    "mail",    "lan",       "intranet", "private", "localdomain",
};

static enum problem_code public_check(const char *host, const struct san_policy *policy,
				      char why[SAN_WHY_SIZE])
{
	char name[CSR_SAN_BYTES_MAX + 1];
	size_t i = 0;

	for (; host[i] != '\0' && i + 1 < sizeof(name); i++)
		name[i] = str_ascii_lower(host[i]);
	name[i] = '\0';
	if (!strchr(name, '.')) {
		snprintf(why, SAN_WHY_SIZE, "is a single label, which is not a public name");
		return PROBLEM_SAN_RESERVED;
	}
	for (i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (ends_in(name, reserved[i])) {
			snprintf(why, SAN_WHY_SIZE, "ends in the reserved name '%s'", reserved[i]);
			return PROBLEM_SAN_RESERVED;
		}
	}
	if (ends_in(name, "example.com") || ends_in(name, "example.net") || ends_in(name, "example.org")) {
		snprintf(why, SAN_WHY_SIZE, "is in a domain kept for documentation");
		return PROBLEM_SAN_EXAMPLE;
	}
	if (policy->suffixes && psl_is_public_suffix(policy->suffixes->psl, name)) {
		snprintf(why, SAN_WHY_SIZE, "is a public suffix, under which others register their names");
		return PROBLEM_SAN_PUBLIC_SUFFIX;
	}
	return PROBLEM_NONE;
}

/* ---- all of it ---- */

static enum san_type guess_type(const char *value)
{
	unsigned char address[16];
	int family;

	if (is_ip(value, &family, address))
		return SAN_IP;
	if (strstr(value, "://") || strncasecmp(value, "urn:", 4) == 0)
		return SAN_URI;
	if (strchr(value, '@'))
		return SAN_EMAIL;
	return SAN_DNS;
}

static enum problem_code text_check(const char *value, char why[SAN_WHY_SIZE])
{
	size_t len = strlen(value);
	bool has_unprintable = false;

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)value[i] >= 0x80) {
			snprintf(why, SAN_WHY_SIZE,
				 "holds characters that are not ASCII; send the 'xn--' form");
			return PROBLEM_SAN_NOT_ASCII;
		}
		if (value[i] <= ' ' || value[i] == 0x7f)
			has_unprintable = true;
	}
	if (len == 0)
		snprintf(why, SAN_WHY_SIZE, "is empty");
	else if (len > CSR_SAN_BYTES_MAX)
		snprintf(why, SAN_WHY_SIZE, "is longer than %d characters", CSR_SAN_BYTES_MAX);
	else if (has_unprintable)
		snprintf(why, SAN_WHY_SIZE, "holds a space or a control character");
	else
		return PROBLEM_NONE;
	return PROBLEM_SAN;
}

enum problem_code san_check(const char *value, const struct san_policy *policy, char why[SAN_WHY_SIZE],
                            enum san_type *ret_type)
{
	enum problem_code code = text_check(value, why);
	char uri_host[CSR_SAN_BYTES_MAX + 1] = "";
	const char *host = "";
	const char *fault = NULL;
	enum san_type type;

	if (code)
		return code;
	type = guess_type(value);
	if (!(policy->types & SAN_TYPE_BIT(type))) {
		snprintf(why, SAN_WHY_SIZE, "is of type '%s', which is not accepted here",
			 san_type_name(type));
		return PROBLEM_SAN;
	}
	if (type == SAN_DNS) {
		fault = dns_fault(value);
		host = str_starts_with(value, "*.") ? value + 2 : value;
	} else if (type == SAN_EMAIL) {
		fault = email_fault(value, &host);
	} else if (type == SAN_URI) {
		fault = uri_fault(value, uri_host);
		host = uri_host;
	}
	if (fault) {
		snprintf(why, SAN_WHY_SIZE, "%s", fault);
		return PROBLEM_SAN;
	}
	if (policy->public_names_only && *host != '\0') {
		code = public_check(host, policy, why);
		if (code)
			return code;
	}
	*ret_type = type;
	return PROBLEM_NONE;
}

bool san_is_same(const struct csr_san *a, const struct csr_san *b)
{
	unsigned char address_a[16];
	unsigned char address_b[16];
	int family_a;
	int family_b;

	if (a->type != b->type)
		return false;
	if (a->type != SAN_IP)
		return str_equal_ignoring_case(a->value, b->value);
	return is_ip(a->value, &family_a, address_a) && is_ip(b->value, &family_b, address_b) &&
	       family_a == family_b && memcmp(address_a, address_b, family_a == AF_INET ? 4 : 16) == 0;
}
