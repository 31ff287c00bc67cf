/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists come in pages: the query parameters page, per_page, order and
 * direction, and the result_info of the answer (doc/api.md).
 */
#ifndef CSRD_API_PAGE_H
#define CSRD_API_PAGE_H

#include "api/json.h"
#include "base/attr.h"
#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_PER_MAX 50
#define PAGE_WHY_SIZE 128
#define PAGE_INFO_BYTES 512 /* page_put_info writes less */

struct page_request {
	uint64_t page;     /* from 1 */
	uint64_t per_page; /* 5 to PAGE_PER_MAX */
	enum store_order order;
	bool descending;
};

/* A parameter of the query.  What is not in the table is ignored. */
struct page_parameter {
	const char *name;
	const char *words; /* for readers of the OpenAPI document */
	/* One of these words, of which min and max are the numbers; none: a whole number from min to max. */
	const char *const *values;
	uint64_t min, max;
	uint64_t
	    initial[2]; /* the value that is not given, or its number: of an account's list, of a zone's */
	const char *accepted; /* for messages */
};

/* From 0; NULL past the last. */
const struct page_parameter *page_parameter_at(size_t nth);

/* What is asked for where the query says nothing. */
struct page_request page_initial(bool of_zone);

/*
 * Sets the members that the query names; the others keep the caller's defaults.  Unknown parameters are
 * ignored.  query: as it is in the target, undecoded, or NULL.  E_INVAL: `why` names the parameter and
 * what is accepted.
 */
MUST_USE enum err page_read(const char *query, struct page_request *page, char why[PAGE_WHY_SIZE]);

/* count: of this page; total: of all pages. */
void page_put_info(struct json_writer *w, const struct page_request *asked, size_t count, uint64_t total);

#endif
