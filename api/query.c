/* SPDX-License-Identifier: Apache-2.0 */
/* Query parameters. */
#include "api/query.h"

#include "base/str.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum err query_decode(const char *text, size_t len, char ret_text[QUERY_TEXT_SIZE])
{
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)text[i];

		if (byte == '+') {
			byte = ' ';
		} else if (byte == '%') {
			char digits[3] = {0};

			if (len - i < 3)
				return E_INVAL;
			memcpy(digits, text + i + 1, 2);
			if (str_unhex(&byte, 1, digits) != E_OK || byte == 0)
				return E_INVAL;
			i += 2;
		}
		if (out + 1 >= QUERY_TEXT_SIZE)
			return E_INVAL;
		ret_text[out++] = (char)byte;
	}
	ret_text[out] = '\0';
	return E_OK;
}

enum err query_read_flag(const char *query, const char *name, char why[QUERY_WHY_SIZE], bool *ret_value)
{
	const char *at = query;
	bool is_there = false, value = false;

	for (; at && *at != '\0'; at += *at == '&') {
		size_t len = strcspn(at, "&");
		size_t name_len = strcspn(at, "=&");
		char text[QUERY_TEXT_SIZE];
		bool is_it = query_decode(at, name_len, text) == E_OK && strcmp(text, name) == 0;

		if (is_it && is_there) {
			snprintf(why, QUERY_WHY_SIZE, "query parameter '%s' is given twice", name);
			return E_INVAL;
		}
		if (is_it &&
		    (name_len == len || query_decode(at + name_len + 1, len - name_len - 1, text) != E_OK ||
		     (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))) {
			snprintf(why, QUERY_WHY_SIZE, "query parameter '%s' must be true or false", name);
			return E_INVAL;
		}
		if (is_it)
			value = strcmp(text, "true") == 0;
		is_there = is_there || is_it;
		at += len;
	}
	*ret_value = value;
	return E_OK;
}
