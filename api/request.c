/* SPDX-License-Identifier: Apache-2.0 */
#include "api/request.h"

#include <string.h>

static const char *const http_methods[] = {
    [HTTP_GET] = "GET",       [HTTP_HEAD] = "HEAD",       [HTTP_POST] = "POST",   [HTTP_PUT] = "PUT",
    [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS", [HTTP_PATCH] = "PATCH",
};

#define HTTP_METHODS (sizeof(http_methods) / sizeof(http_methods[0]))

const char *http_method_name(enum http_method method)
{
	return (size_t)method < HTTP_METHODS && http_methods[method] ? http_methods[method] : "?";
}

enum http_method http_method_parse(const char *name)
{
	for (size_t i = HTTP_GET; i < HTTP_METHODS; i++) {
		if (strcmp(name, http_methods[i]) == 0)
			return (enum http_method)i;
	}
	return HTTP_OTHER;
}
