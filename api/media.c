/* JSON, as it is. */
#include "api/media.h"

#include "base/str.h"

#include <string.h>
#include <strings.h>

/* "application/json", with or without parameters. */
static bool is_json(const char *type)
{
	static const char json[] = "application/json";
	const char *end;

	if (!type || strncasecmp(type, json, sizeof(json) - 1) != 0)
		return false;
	end = type + sizeof(json) - 1;
	end += strspn(end, " \t");
	return *end == '\0' || *end == ';';
}

bool media_is_accepted(const struct request *r, struct reply_refusal *ret_refusal)
{
	const char *coding = r->header(r, "Content-Encoding");

	if (r->body_len == 0 || (r->method != HTTP_POST && r->method != HTTP_PUT && r->method != HTTP_PATCH))
		return true;
	if (coding && *coding != '\0' && !str_equal_ignoring_case(coding, "identity")) {
		*ret_refusal = (struct reply_refusal){
		    .code = PROBLEM_MEDIA_TYPE,
		    .message = "the body must not be compressed: leave Content-Encoding out",
		    .header = {"Accept-Encoding", "identity"},
		};
		return false;
	}
	if (!is_json(r->header(r, "Content-Type"))) {
		*ret_refusal = (struct reply_refusal){
		    .code = PROBLEM_MEDIA_TYPE,
		    .header = {"Accept", "application/json"},
		};
		return false;
	}
	return true;
}
