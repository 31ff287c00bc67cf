/* SPDX-License-Identifier: Apache-2.0 */
/* The page of a list that a query asks for, and what the answer says about it. */
#include "api/page.h"

#include "api/query.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE_PER_MIN 5
#define PAGE_MAX (INT64_MAX / PAGE_PER_MAX) /* the offset is a signed 64-bit number in SQL */

enum parameter { PARAMETER_PAGE, PARAMETER_PER_PAGE, PARAMETER_ORDER, PARAMETER_DIRECTION, PARAMETERS };

static const char *const parameter_names[PARAMETERS] = {
    [PARAMETER_PAGE] = "page",
    [PARAMETER_PER_PAGE] = "per_page",
    [PARAMETER_ORDER] = "order",
    [PARAMETER_DIRECTION] = "direction",
};

/* A whole number: "2", and also "2.0", which some clients send. */
static enum err number_parse(const char *text, uint64_t max, uint64_t *ret_value)
{
	char digits[QUERY_TEXT_SIZE];
	size_t len = strcspn(text, ".");

	memcpy(digits, text, len);
	digits[len] = '\0';
	if (text[len] == '.' &&
	    (text[len + 1] == '\0' || strspn(text + len + 1, "0") != strlen(text + len + 1)))
		return E_INVAL;
	return str_parse_u64(digits, max, ret_value);
}

/* NULL, or what is accepted. */
static const char *parameter_set(struct page_request *page, enum parameter parameter, const char *value)
{
	switch (parameter) {
	case PARAMETER_PAGE:
		return number_parse(value, PAGE_MAX, &page->page) != E_OK || page->page < 1
			   ? "a whole number from 1"
			   : NULL;
	case PARAMETER_PER_PAGE:
		return number_parse(value, PAGE_PER_MAX, &page->per_page) != E_OK ||
			       page->per_page < PAGE_PER_MIN
			   ? "a whole number from 5 to 50"
			   : NULL;
	case PARAMETER_ORDER:
		page->order = strcmp(value, "created_at") == 0    ? STORE_ORDER_CREATED_AT
			      : strcmp(value, "name") == 0        ? STORE_ORDER_NAME
			      : strcmp(value, "account_tag") == 0 ? STORE_ORDER_ACCOUNT_TAG
								  : 0;
		return page->order ? NULL : "name, account_tag or created_at";
	case PARAMETER_DIRECTION:
		page->descending = strcmp(value, "desc") == 0;
		return page->descending || strcmp(value, "asc") == 0 ? NULL : "asc or desc";
	case PARAMETERS:
		break;
	}
	return "nothing";
}

static enum parameter parameter_find(const char *name, size_t len)
{
	char decoded[QUERY_TEXT_SIZE];
	enum parameter p = 0;

	if (query_decode(name, len, decoded) != E_OK)
		return PARAMETERS;
	while (p < PARAMETERS && strcmp(decoded, parameter_names[p]) != 0)
		p++;
	return p;
}

/* One "name=value"; parameters that are not known are ignored. */
static enum err parameter_read(struct page_request *page, const char *text, size_t len, bool seen[PARAMETERS],
			       char why[PAGE_WHY_SIZE])
{
	const char *equals = memchr(text, '=', len);
	size_t name_len = equals ? (size_t)(equals - text) : len;
	enum parameter p = parameter_find(text, name_len);
	char value[QUERY_TEXT_SIZE] = "";
	const char *accepted = "a readable value";

	if (p == PARAMETERS)
		return E_OK;
	if (seen[p]) {
		snprintf(why, PAGE_WHY_SIZE, "query parameter '%s' is given twice", parameter_names[p]);
		return E_INVAL;
	}
	seen[p] = true;
	if (!equals || query_decode(equals + 1, len - name_len - 1, value) == E_OK)
		accepted = parameter_set(page, p, value);
	if (!accepted)
		return E_OK;
	snprintf(why, PAGE_WHY_SIZE, "query parameter '%s' must be %s", parameter_names[p], accepted);
	return E_INVAL;
}

enum err page_read(const char *query, struct page_request *page, char why[PAGE_WHY_SIZE])
{
	bool seen[PARAMETERS] = {false};
	const char *at = query;

	while (at && *at != '\0') {
		size_t len = strcspn(at, "&");

		if (parameter_read(page, at, len, seen, why) != E_OK)
			return E_INVAL;
		at += len;
		at += *at == '&';
	}
	return E_OK;
}

void page_put_info(struct json_writer *w, const struct page_request *asked, size_t count, uint64_t total)
{
	uint64_t pages = total / asked->per_page + (total % asked->per_page != 0);

	json_open_object(w);
	json_put_int_member(w, "page", (int64_t)asked->page);
	json_put_int_member(w, "per_page", (int64_t)asked->per_page);
	json_put_int_member(w, "count", (int64_t)count);
	json_put_int_member(w, "total_count", (int64_t)total);
	json_put_int_member(w, "total_pages", (int64_t)pages);
	json_close(w);
}
