/* SPDX-License-Identifier: Apache-2.0 */
/* Request line, fields, and what they say of the body and the connection. */
#include "daemon/head.h"

#include "base/str.h"
#include "daemon/target.h"

#include <string.h>

/* Fields that say who asks, for what, and how long it is: given twice, two readers could take two values. */
static const char *const single_fields[] = {
    "Host", "Content-Length", "Content-Type", "Authorization", "Idempotency-Key",
};

void head_init(struct head *h, size_t max_bytes, uint64_t max_body_bytes)
{
	memset(h, 0, sizeof(*h));
	h->max_bytes = max_bytes;
	h->max_body_bytes = max_body_bytes;
	h->method = HTTP_OTHER;
}

static enum head_state head_refuse(struct head *h, int status, const char *why)
{
	h->status = status;
	h->why = why;
	return HEAD_REFUSED;
}

bool head_is_token_char(char c)
{
	return str_ascii_is_alpha(c) || str_ascii_is_digit(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
		if (!head_is_token_char(*c))
			return false;
	return *text != '\0';
}

/* Cuts blanks off both ends, in place (OWS, RFC 9110 §5.6.3). */
static char *head_trim(char *text)
{
	char *end;

	text += strspn(text, " \t");
	end = text + strlen(text);
	while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	return text;
}

/* ---- the end of the head ---- */

/* The head is longer than it may be: which part of it is? (RFC 9112 §3, RFC 6585 §5) */
static enum head_state head_refuse_length(struct head *h, const char *bytes)
{
	const char *line = bytes + h->skipped;
	size_t len = h->max_bytes - h->skipped;

	if (memchr(line, '\n', len))
		return head_refuse(h, 431,
				   "the header fields are too long ([http] max_header_bytes sets the limit)");
	if (memchr(line, ' ', len))
		return head_refuse(h, 414,
				   "the request target is too long ([http] max_header_bytes sets the limit)");
	return head_refuse(h, 501, "the method is not implemented");
}

/*
 * Every line ends in CR LF, neither stands alone, and there is no other
 * control character than HTAB (RFC 9112 §2.2, RFC 9110 §5.5).
 */
static enum head_state scan_lines(struct head *h, const char *bytes, size_t len)
{
	size_t end = len < h->max_bytes ? len : h->max_bytes;

	for (size_t i = h->scanned; i < end; i++) {
		unsigned char c = (unsigned char)bytes[i];
		char before = i > 0 ? bytes[i - 1] : '\0';

		h->scanned = i + 1;
		if ((c == '\n') != (before == '\r'))
			return head_refuse(h, 400, "a line does not end in CR LF");
		if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
			return head_refuse(h, 400, "there is a control character in the head");
		if (c != '\n')
			continue;
		if (i == h->skipped + 1) {
			if (h->skipped > 0)
				return head_refuse(h, 400, "the request line is empty");
			h->skipped = 2; /* RFC 9112 §2.2: one empty line may stand before it */
		} else if (bytes[i - 2] == '\n') {
			h->len = i + 1;
			return HEAD_WHOLE;
		}
	}
	return len >= h->max_bytes ? head_refuse_length(h, bytes) : HEAD_MORE;
}

enum head_state head_scan(struct head *h, const char *bytes, size_t len)
{
	static const char method[] = "HEAD ";
	enum head_state s = scan_lines(h, bytes, len);

	/* RFC 9110 §9.3.2: what is refused unparsed, or never becomes whole, may be a HEAD, too. */
	if (h->scanned - h->skipped >= sizeof(method) - 1 &&
	    memcmp(bytes + h->skipped, method, sizeof(method) - 1) == 0)
		h->method = HTTP_HEAD;
	return s;
}

/* ---- the request line ---- */

static enum head_state parse_version(struct head *h, const char *version)
{
	if (strlen(version) != 8 || strncmp(version, "HTTP/", 5) != 0 || !str_ascii_is_digit(version[5]) ||
	    version[6] != '.' || !str_ascii_is_digit(version[7]))
		return head_refuse(h, 400, "the HTTP version is not valid");
	if (version[5] != '1')
		return head_refuse(h, 505, "only HTTP/1.0 and HTTP/1.1 are supported");
	h->minor = (unsigned)(version[7] - '0');
	return HEAD_MORE;
}

static enum head_state parse_request_line(struct head *h, char *line)
{
	char *target_text = strchr(line, ' ');
	char *version = !target_text ? NULL : strchr(target_text + 1, ' ');
	struct target target;

	if (!version)
		return head_refuse(h, 400, "the request line is not method, target and version");
	*target_text++ = '\0';
	*version++ = '\0';
	if (!is_token(line))
		return head_refuse(h, 400, "the method is not a token");
	h->method = http_method_parse(line);
	if (parse_version(h, version) == HEAD_REFUSED)
		return HEAD_REFUSED;
	if (h->method == HTTP_OTHER)
		return head_refuse(h, 501, "the method is not implemented");
	if (!target_parse(target_text, h->over_tls ? "https" : "http", h->method == HTTP_OPTIONS, &target))
		return head_refuse(h, target.status, target.why);
	h->path = target.path;
	h->query = target.query;
	return HEAD_MORE;
}

/* ---- fields ---- */

static enum head_state parse_field(struct head *h, char *line)
{
	char *colon = strchr(line, ':');

	if (line[0] == ' ' || line[0] == '\t')
		return head_refuse(h, 400, "a header line is folded");
	if (!colon)
		return head_refuse(h, 400, "a header line has no colon");
	if (h->fields_len == HEAD_FIELDS_MAX)
		return head_refuse(h, 431, "there are more than 64 header fields");
	*colon = '\0';
	if (!is_token(line))
		return head_refuse(h, 400, "a header name is not a token");
	h->fields[h->fields_len++] = (struct head_field){.name = line, .value = head_trim(colon + 1)};
	return HEAD_MORE;
}

const char *head_field(const struct head *h, const char *name)
{
	for (size_t i = 0; i < h->fields_len; i++)
		if (str_equal_ignoring_case(h->fields[i].name, name))
			return h->fields[i].value;
	return NULL;
}

static bool is_single(const char *name)
{
	if (strlen(name) > 7 && name[6] == '-' && str_ascii_lower(name[0]) == 'x' && name[1] == '-' &&
	    str_ascii_lower(name[2]) == 'a' && str_ascii_lower(name[3]) == 'u' &&
	    str_ascii_lower(name[4]) == 't' && str_ascii_lower(name[5]) == 'h')
		return true;
	for (size_t i = 0; i < sizeof(single_fields) / sizeof(single_fields[0]); i++)
		if (str_equal_ignoring_case(name, single_fields[i]))
			return true;
	return false;
}

static enum head_state check_doubles(struct head *h)
{
	for (size_t i = 0; i < h->fields_len; i++) {
		if (!is_single(h->fields[i].name))
			continue;
		for (size_t j = 0; j < i; j++)
			if (str_equal_ignoring_case(h->fields[i].name, h->fields[j].name))
				return head_refuse(
				    h, 400, "a header field that may be given only once is given twice");
	}
	return HEAD_MORE;
}

static enum head_state check_host(struct head *h)
{
	const char *host = head_field(h, "Host");

	if (!host)
		return h->minor == 0 ? HEAD_MORE : head_refuse(h, 400, "there is no Host header field");
	if (!target_host_is_valid(host))
		return head_refuse(h, 400, "the Host header field is not a valid host");
	return HEAD_MORE;
}

/* ---- lists of tokens ---- */

/*
 * Walks the elements of all fields of one name as one list (RFC 9110 §5.6.1:
 * empty elements are skipped).  Zero-initialise but for head and name.
 */
struct list_walk {
	const struct head *head;
	const char *name;
	size_t field;
	const char *rest; /* of that field; NULL: at its start */
};

/* The next element, blanks cut off, as pointer and length; false at the end. */
static bool head_list_next(struct list_walk *walk, const char **ret_text, size_t *ret_len)
{
	for (; walk->field < walk->head->fields_len; walk->field++, walk->rest = NULL) {
		const struct head_field *f = &walk->head->fields[walk->field];

		if (!str_equal_ignoring_case(f->name, walk->name))
			continue;
		if (!walk->rest)
			walk->rest = f->value;
		while (*walk->rest != '\0') {
			const char *text = walk->rest + strspn(walk->rest, " \t");
			size_t len = strcspn(text, ",");

			walk->rest = text + len + (text[len] == ',');
			while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
				len--;
			if (len == 0)
				continue;
			*ret_text = text;
			*ret_len = len;
			return true;
		}
	}
	return false;
}

static bool element_is(const char *text, size_t len, const char *lower)
{
	if (len != strlen(lower))
		return false;
	for (size_t i = 0; i < len; i++)
		if (str_ascii_lower(text[i]) != lower[i])
			return false;
	return true;
}

/* ---- the body and the connection ---- */

/* RFC 9112 §6.1 and §6.3: `chunked` alone is decoded. */
static enum head_state check_codings(struct head *h)
{
	struct list_walk walk = {.head = h, .name = "Transfer-Encoding"};
	unsigned codings = 0, chunked = 0;
	bool chunked_is_last = false;
	const char *text;
	size_t len;

	if (h->minor == 0)
		return head_refuse(h, 400, "HTTP/1.0 has no Transfer-Encoding");
	while (head_list_next(&walk, &text, &len)) {
		chunked_is_last = element_is(text, len, "chunked");
		chunked += chunked_is_last;
		codings++;
	}
	if (!chunked_is_last || chunked > 1)
		return head_refuse(h, 400, "the transfer coding must end in 'chunked', once");
	if (codings > 1)
		return head_refuse(h, 501, "the only transfer coding supported is 'chunked'");
	h->framing = HEAD_CHUNKED;
	return HEAD_MORE;
}

/* RFC 9110 §8.6: any number of digits; UINT64_MAX stands for all that are too large. */
static enum head_state check_length(struct head *h, const char *value)
{
	uint64_t len = 0;

	if (value[0] == '\0' || value[strspn(value, "0123456789")] != '\0')
		return head_refuse(h, 400, "the Content-Length is not a number");
	for (const char *c = value; *c != '\0'; c++)
		len = len > UINT64_MAX / 10 - 1 ? UINT64_MAX : len * 10 + (uint64_t)(*c - '0');
	if (len > h->max_body_bytes)
		return head_refuse(h, 413, "the body is too large ([http] max_body_bytes sets the limit)");
	h->body_len = len;
	h->framing = len > 0 ? HEAD_LENGTH : HEAD_NO_BODY;
	return HEAD_MORE;
}

/* RFC 9110 §10.1.1: without a body there is nothing to go on with, and HTTP/1.0 has no expectations. */
static enum head_state check_expectations(struct head *h)
{
	struct list_walk walk = {.head = h, .name = "Expect"};
	const char *text;
	size_t len;

	if (h->minor == 0)
		return HEAD_MORE;
	while (head_list_next(&walk, &text, &len)) {
		if (!element_is(text, len, "100-continue"))
			return head_refuse(h, 417, "the only expectation supported is 100-continue");
		h->expects_continue = h->framing != HEAD_NO_BODY;
	}
	return HEAD_MORE;
}

static enum head_state check_body(struct head *h)
{
	const char *length = head_field(h, "Content-Length");

	if (head_field(h, "Transfer-Encoding")) {
		if (length)
			return head_refuse(h, 400, "Content-Length and Transfer-Encoding are both given");
		return check_codings(h);
	}
	return !length ? HEAD_MORE : check_length(h, length);
}

/* An HTTP/1.0 client is never kept waiting on an open connection. */
static void check_close(struct head *h)
{
	struct list_walk walk = {.head = h, .name = "Connection"};
	const char *text;
	size_t len;

	h->close = h->minor == 0;
	while (head_list_next(&walk, &text, &len))
		h->close = h->close || element_is(text, len, "close");
}

enum head_state head_parse(struct head *h, char *text)
{
	enum head_state s = HEAD_MORE;
	char *at = text + h->skipped;

	text[h->len - 2] = '\0'; /* of the empty line: every line before it ends in CR LF */
	for (unsigned line = 0; s == HEAD_MORE && *at != '\0'; line++) {
		char *end = strchr(at, '\r');

		*end = '\0';
		s = line == 0 ? parse_request_line(h, at) : parse_field(h, at);
		at = end + 2;
	}
	if (s == HEAD_MORE)
		s = check_doubles(h);
	if (s == HEAD_MORE)
		s = check_host(h);
	if (s == HEAD_MORE)
		s = check_body(h);
	if (s == HEAD_MORE)
		s = check_expectations(h);
	if (s != HEAD_MORE)
		return s;
	check_close(h);
	return HEAD_WHOLE;
}
