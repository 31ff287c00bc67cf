/* Checks the bytes of a request's head: line ends, request line, fields, length of the body. */
#include "daemon/head.h"

#include "base/str.h"

#include <string.h>

struct slice {
	const char *text;
	size_t len;
};

struct field {
	struct slice name;
	struct slice value;
};

struct parsed {
	struct slice method;
	struct slice target;
	unsigned minor; /* of HTTP/1.x */
	struct field fields[HEAD_FIELDS_MAX];
	size_t fields_len;
};

/* Fields that say who asks, for what, and how long it is: given twice, two readers could take two values. */
static const char *const single_fields[] = {
    "host",	  "content-length", "content-type", "expect",	       "authorization",
    "idempotency-key",
};

static const struct {
	const char *name;
	enum http_method method;
} methods[] = {
    {"GET", HTTP_GET},	     {"HEAD", HTTP_HEAD},	{"POST", HTTP_POST},   {"PUT", HTTP_PUT},
    {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS}, {"PATCH", HTTP_PATCH},
};

void head_init(struct head *h, size_t max_bytes, uint64_t max_body_bytes)
{
	memset(h, 0, sizeof(*h));
	h->max_bytes = max_bytes;
	h->max_body_bytes = max_body_bytes;
}

static enum head_state refuse(struct head *h, int status, const char *why)
{
	h->status = status;
	h->why = why;
	return HEAD_REFUSED;
}

/* A letter, a digit, or one of `others`. */
static bool is_alnum_or(char c, const char *others)
{
	return str_ascii_is_alpha(c) || str_ascii_is_digit(c) || (c != '\0' && strchr(others, c) != NULL);
}

/* RFC 9110 §5.6.2 */
static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum_or(s.text[i], "!#$%&'*+-.^_`|~"))
			return false;
	return s.len > 0;
}

static bool slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.text, text, s.len) == 0;
}

static bool slice_is_ignoring_case(struct slice s, const char *lower)
{
	if (s.len != strlen(lower))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (str_ascii_lower(s.text[i]) != lower[i])
			return false;
	return true;
}

static struct slice trim(struct slice s)
{
	while (s.len > 0 && (s.text[0] == ' ' || s.text[0] == '\t')) {
		s.text++;
		s.len--;
	}
	while (s.len > 0 && (s.text[s.len - 1] == ' ' || s.text[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static bool is_hex(char c)
{
	char l = str_ascii_lower(c);

	return str_ascii_is_digit(c) || (l >= 'a' && l <= 'f');
}

/* RFC 3986 §3.3 and §3.4: pchar, "/" and "?", with sound percent-encodings and no encoded NUL. */
static bool is_origin_form(struct slice s)
{
	if (s.len == 0 || s.text[0] != '/' || (s.len > 1 && s.text[1] == '/'))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.text[i];

		if (c == '%') {
			if (i + 2 >= s.len || !is_hex(s.text[i + 1]) || !is_hex(s.text[i + 2]))
				return false;
			if (s.text[i + 1] == '0' && s.text[i + 2] == '0')
				return false;
			i += 2;
		} else if (!is_alnum_or(c, "-._~!$&'()*+,;=:@/?")) {
			return false;
		}
	}
	return true;
}

static enum head_state check_request_line(struct head *h, struct parsed *p, struct slice line)
{
	const char *first = memchr(line.text, ' ', line.len);
	const char *second;
	struct slice version;

	if (first == NULL)
		return refuse(h, 400, "the request line is not one");
	second = memchr(first + 1, ' ', line.len - (size_t)(first + 1 - line.text));
	if (second == NULL)
		return refuse(h, 400, "the request line is not one");
	p->method = (struct slice){line.text, (size_t)(first - line.text)};
	p->target = (struct slice){first + 1, (size_t)(second - first - 1)};
	version = (struct slice){second + 1, line.len - (size_t)(second + 1 - line.text)};

	if (!is_token(p->method))
		return refuse(h, 400, "the method is not a token");
	if (version.len != 8 || memcmp(version.text, "HTTP/", 5) != 0 ||
	    !str_ascii_is_digit(version.text[5]) || version.text[6] != '.' ||
	    !str_ascii_is_digit(version.text[7]))
		return refuse(h, 400, "the HTTP version is not one");
	if (version.text[5] != '1')
		return refuse(h, 505, "HTTP/1.0 and HTTP/1.1 are spoken here");
	p->minor = (unsigned)(version.text[7] - '0');

	h->method = HTTP_OTHER;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (slice_is(p->method, methods[i].name))
			h->method = methods[i].method;
	if (h->method == HTTP_OTHER)
		return refuse(h, 501, "the method is not implemented");
	if (!is_origin_form(p->target))
		return refuse(h, 400, "the request target must be a path that starts with one '/'");
	return HEAD_MORE;
}

static enum head_state add_field(struct head *h, struct parsed *p, struct slice line)
{
	const char *colon = memchr(line.text, ':', line.len);
	struct field *f;

	if (line.text[0] == ' ' || line.text[0] == '\t')
		return refuse(h, 400, "a header line is folded");
	if (colon == NULL)
		return refuse(h, 400, "a header line has no colon");
	if (p->fields_len == HEAD_FIELDS_MAX)
		return refuse(h, 431, "too many header fields");
	f = &p->fields[p->fields_len];
	f->name = (struct slice){line.text, (size_t)(colon - line.text)};
	f->value = trim((struct slice){colon + 1, line.len - f->name.len - 1});
	if (!is_token(f->name))
		return refuse(h, 400, "a header name is not a token");
	p->fields_len++;
	return HEAD_MORE;
}

static bool is_single(struct slice name)
{
	static const struct slice auth = {"x-auth-", 7};

	if (name.len > auth.len && slice_is_ignoring_case((struct slice){name.text, auth.len}, auth.text))
		return true;
	for (size_t i = 0; i < sizeof(single_fields) / sizeof(single_fields[0]); i++)
		if (slice_is_ignoring_case(name, single_fields[i]))
			return true;
	return false;
}

static bool is_same_name(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (str_ascii_lower(a.text[i]) != str_ascii_lower(b.text[i]))
			return false;
	return true;
}

static const struct field *find_field(const struct parsed *p, const char *lower_name)
{
	for (size_t i = 0; i < p->fields_len; i++)
		if (slice_is_ignoring_case(p->fields[i].name, lower_name))
			return &p->fields[i];
	return NULL;
}

static enum head_state check_doubles(struct head *h, const struct parsed *p)
{
	for (size_t i = 0; i < p->fields_len; i++) {
		if (!is_single(p->fields[i].name))
			continue;
		for (size_t j = 0; j < i; j++)
			if (is_same_name(p->fields[i].name, p->fields[j].name))
				return refuse(h, 400, "a header field that may stand once is given twice");
	}
	return HEAD_MORE;
}

static enum head_state check_host(struct head *h, const struct parsed *p)
{
	const struct field *host = find_field(p, "host");

	if (host == NULL)
		return p->minor == 0 ? HEAD_MORE : refuse(h, 400, "there is no Host header field");
	for (size_t i = 0; i < host->value.len; i++)
		if (!is_alnum_or(host->value.text[i], "-._~:[]"))
			return refuse(h, 400, "the Host header field is not a host");
	return HEAD_MORE;
}

/* RFC 9112 §6.3, with the choice taken away: a body has a Content-Length and no transfer coding. */
static enum head_state check_body(struct head *h, const struct parsed *p)
{
	const struct field *length = find_field(p, "content-length");
	const struct field *expect = find_field(p, "expect");

	if (find_field(p, "transfer-encoding") != NULL) {
		if (length != NULL)
			return refuse(h, 400, "Content-Length and Transfer-Encoding are both given");
		return refuse(h, 501, "transfer codings are not implemented: send a Content-Length");
	}
	if (length != NULL) {
		if (length->value.len == 0 || length->value.len > 10)
			return refuse(h, 400, "the Content-Length is not 1 to 10 digits");
		for (size_t i = 0; i < length->value.len; i++) {
			if (!str_ascii_is_digit(length->value.text[i]))
				return refuse(h, 400, "the Content-Length is not 1 to 10 digits");
			h->body_len = h->body_len * 10 + (uint64_t)(length->value.text[i] - '0');
		}
	}
	if (h->method == HTTP_HEAD && h->body_len > 0) /* evhttp would take it for the next request */
		return refuse(h, 400, "a HEAD request has no body");
	if (expect != NULL && p->minor > 0 && !slice_is_ignoring_case(expect->value, "100-continue"))
		return refuse(h, 417, "the only expectation met here is 100-continue");
	if (h->body_len > h->max_body_bytes)
		return refuse(h, 413, "the body is too large");
	return HEAD_MORE;
}

/* An HTTP/1.0 client is never kept waiting on an open connection. */
static void check_close(struct head *h, const struct parsed *p)
{
	h->close = p->minor == 0;
	for (size_t i = 0; i < p->fields_len; i++) {
		struct slice rest = p->fields[i].value;

		if (!slice_is_ignoring_case(p->fields[i].name, "connection"))
			continue;
		while (rest.len > 0) {
			const char *comma = memchr(rest.text, ',', rest.len);
			size_t len = comma == NULL ? rest.len : (size_t)(comma - rest.text);

			if (slice_is_ignoring_case(trim((struct slice){rest.text, len}), "close"))
				h->close = true;
			rest.text += len + (comma != NULL);
			rest.len -= len + (comma != NULL);
		}
	}
}

static enum head_state check_whole(struct head *h, const char *bytes)
{
	struct parsed p = {.fields_len = 0};
	enum head_state s = HEAD_MORE;
	size_t at = 0;

	for (unsigned line_number = 0; s == HEAD_MORE; line_number++) {
		const char *end = memchr(bytes + at, '\r', h->len - at);
		struct slice line = {bytes + at, (size_t)(end - (bytes + at))};

		if (line.len == 0)
			break;
		s = line_number == 0 ? check_request_line(h, &p, line) : add_field(h, &p, line);
		at += line.len + 2;
	}
	if (s == HEAD_MORE)
		s = check_doubles(h, &p);
	if (s == HEAD_MORE)
		s = check_host(h, &p);
	if (s == HEAD_MORE)
		s = check_body(h, &p);
	if (s != HEAD_MORE)
		return s;
	check_close(h, &p);
	return HEAD_WHOLE;
}

/*
 * Every line ends in CR LF, neither stands alone, and there is no other
 * control character than HTAB (RFC 9112 §2.2, RFC 9110 §5.5).
 */
enum head_state head_check(struct head *h, const char *bytes, size_t len)
{
	size_t end = len < h->max_bytes ? len : h->max_bytes;

	for (size_t i = h->scanned; i < end; i++) {
		unsigned char c = (unsigned char)bytes[i];
		char before = i > 0 ? bytes[i - 1] : '\0';

		h->scanned = i + 1;
		if ((c == '\n') != (before == '\r'))
			return refuse(h, 400, "a line does not end in CR LF");
		if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
			return refuse(h, 400, "there is a control character in the head");
		if (c == '\n' && i == 1)
			return refuse(h, 400, "the request line is empty");
		if (c == '\n' && i >= 3 && bytes[i - 2] == '\n') {
			h->len = i + 1;
			return check_whole(h, bytes);
		}
	}
	if (len >= h->max_bytes)
		return refuse(h, 431, "the request line and the header fields are too long");
	return HEAD_MORE;
}

bool head_is_json(const char *content_type)
{
	struct slice type;
	const char *semicolon;

	if (content_type == NULL)
		return false;
	semicolon = strchr(content_type, ';');
	type.text = content_type;
	type.len = semicolon == NULL ? strlen(content_type) : (size_t)(semicolon - content_type);
	return slice_is_ignoring_case(trim(type), "application/json");
}
