/* SPDX-License-Identifier: Apache-2.0 */
/* The page of a list that a query asks for, and what the answer says about it. */
#include "api/page.h"

#include "api/query.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE_PER_MIN 5
#define PAGE_PER_ZONE 20                    /* unless the query says otherwise */
#define PAGE_MAX (INT64_MAX / PAGE_PER_MAX) /* the offset is a signed 64-bit number in SQL */

enum parameter { PARAMETER_PAGE, PARAMETER_PER_PAGE, PARAMETER_ORDER, PARAMETER_DIRECTION, PARAMETERS };

static const char *const order_values[] = {"name", "account_tag", "created_at"};
static const enum store_order orders[] = {STORE_ORDER_NAME, STORE_ORDER_ACCOUNT_TAG, STORE_ORDER_CREATED_AT};
static const char *const direction_values[] = {"asc", "desc"};

static const struct page_parameter parameters[PARAMETERS] = {
    [PARAMETER_PAGE] = {"page", "Which page.", NULL, 1, PAGE_MAX, {1, 1}, "a whole number from 1"},
    [PARAMETER_PER_PAGE] = {"per_page",
			    "CSRs on a page.",
			    NULL,
			    PAGE_PER_MIN,
			    PAGE_PER_MAX,
			    {PAGE_PER_MAX, PAGE_PER_ZONE},
			    "a whole number from 5 to 50"},
    [PARAMETER_ORDER] = {"order",
			 "What the list is sorted by.",
			 order_values,
			 0,
			 2,
			 {2, 2},
			 "name, account_tag or created_at"},
    [PARAMETER_DIRECTION] =
	{"direction", "Ascending or descending.", direction_values, 0, 1, {0, 0}, "asc or desc"},
};

const struct page_parameter *page_parameter_at(size_t nth)
{
	return nth < PARAMETERS ? &parameters[nth] : NULL;
}

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

/* The value, or its number among those of the parameter. */
static enum err parameter_parse(const struct page_parameter *parameter, const char *text, uint64_t *ret_value)
{
	uint64_t value = parameter->min;

	if (!parameter->values) {
		if (number_parse(text, parameter->max, &value) != E_OK || value < parameter->min)
			return E_INVAL;
	} else {
		while (value <= parameter->max && strcmp(text, parameter->values[value]) != 0)
			value++;
		if (value > parameter->max)
			return E_INVAL;
	}
	*ret_value = value;
	return E_OK;
}

static void parameter_set(struct page_request *page, enum parameter parameter, uint64_t value)
{
	switch (parameter) {
	case PARAMETER_PAGE:
		page->page = value;
		break;
	case PARAMETER_PER_PAGE:
		page->per_page = value;
		break;
	case PARAMETER_ORDER:
		page->order = orders[value];
		break;
	case PARAMETER_DIRECTION:
		page->descending = value > 0;
		break;
	case PARAMETERS:
		break;
	}
}

struct page_request page_initial(bool of_zone)
{
	struct page_request page = {0};

	for (enum parameter p = 0; p < PARAMETERS; p++)
		parameter_set(&page, p, parameters[p].initial[of_zone]);
	return page;
}

static enum parameter parameter_find(const char *name, size_t len)
{
	char decoded[QUERY_TEXT_SIZE];
	enum parameter p = 0;

	if (query_decode(name, len, decoded) != E_OK)
		return PARAMETERS;
	while (p < PARAMETERS && strcmp(decoded, parameters[p].name) != 0)
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
	char text_value[QUERY_TEXT_SIZE] = "";
	const char *accepted = "a readable value";
	uint64_t value;

	if (p == PARAMETERS)
		return E_OK;
	if (seen[p]) {
		snprintf(why, PAGE_WHY_SIZE, "query parameter '%s' is given twice", parameters[p].name);
		return E_INVAL;
	}
	seen[p] = true;
	if (!equals || query_decode(equals + 1, len - name_len - 1, text_value) == E_OK) {
		if (parameter_parse(&parameters[p], text_value, &value) == E_OK) {
			parameter_set(page, p, value);
			return E_OK;
		}
		accepted = parameters[p].accepted;
	}
	snprintf(why, PAGE_WHY_SIZE, "query parameter '%s' must be %s", parameters[p].name, accepted);
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
