/* SPDX-License-Identifier: Apache-2.0 */
/* JSON, as it is. */
#include "api/media.h"

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

/* A list (RFC 9110 §8.4) of nothing, or of "identity", which says the same. */
static bool is_identity(const char *codings)
{
	static const char identity[] = "identity";
	const char *at = codings;

	while (*at != '\0') {
		size_t len = strcspn(at, ", \t");

		if (len > 0 && (len != sizeof(identity) - 1 || strncasecmp(at, identity, len) != 0))
			return false;
		at += len;
		at += strspn(at, ", \t");
	}
	return true;
}

bool media_is_accepted(const struct request *r, struct reply_refusal *ret_refusal)
{
	const char *codings = r->header(r, "Content-Encoding");

	if (r->body_len == 0 || (r->method != HTTP_POST && r->method != HTTP_PUT && r->method != HTTP_PATCH))
		return true;
	if (codings && !is_identity(codings)) {
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
