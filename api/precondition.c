/* SPDX-License-Identifier: Apache-2.0 */
/* The order is that of RFC 9110 §13.2.2; If-Range and the dates have nothing to compare with. */
#include "api/precondition.h"

#include <string.h>

int precondition_status(const struct request *r)
{
	const char *match = r->header(r, "If-Match");
	const char *none_match = r->header(r, "If-None-Match");

	if (match && strcmp(match, "*") != 0)
		return 412;
	if (none_match && strcmp(none_match, "*") == 0)
		return r->method == HTTP_GET || r->method == HTTP_HEAD ? 304 : 412;
	return 0;
}
