/* SPDX-License-Identifier: Apache-2.0 */
/* Status line, Date, framing. */
#include "daemon/answer.h"

#include "base/str.h"

#include <stddef.h>
#include <time.h>

static const struct {
	int status;
	const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

/* RFC 9112 §4: the phrase may be empty, the space before it may not be missing. */
static const char *reason_of(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "";
}

/* RFC 9110 §5.6.7, whatever the locale. */
static void put_date(struct buf *b)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = time(NULL);
	struct tm t;

	if (gmtime_r(&now, &t))
		buf_printf(b, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[t.tm_wday], t.tm_mday,
			   months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

static bool is_field_text(const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	return true;
}

void answer_put_head(struct buf *b, const struct reply *reply, const char *request_id, bool close)
{
	bool has_id = false;

	buf_printf(b, "HTTP/1.1 %d %s\r\n", reply->status, reason_of(reply->status));
	put_date(b);
	for (size_t i = 0; i < reply->headers_len; i++) {
		const struct http_header *h = &reply->headers[i];

		if (!is_field_text(h->value))
			b->status = E_LIMIT;
		has_id = has_id || str_equal_ignoring_case(h->name, "X-Request-Id");
		buf_put_str(b, h->name);
		buf_put_str(b, ": ");
		buf_put_str(b, h->value);
		buf_put_str(b, "\r\n");
	}
	if (!has_id && request_id)
		buf_printf(b, "X-Request-Id: %s\r\n", request_id);
	/* RFC 9110 §8.6: a 204 has none, and that of a 304 would be the length of a 200 that was not made. */
	if (reply->status != 204 && reply->status != 304)
		buf_printf(b, "Content-Length: %zu\r\n", reply->body_len);
	if (close)
		buf_put_str(b, "Connection: close\r\n");
	buf_put_str(b, "\r\n");
}
