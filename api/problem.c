/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the contract's errors, and lists of them. */
#include "api/problem.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 1420 is of the contract; nothing here gives rise to it yet. */
static const struct problem_row rows[] = {
    {PROBLEM_RATE_LIMIT, 429, PROBLEM_ANYWHERE, "too many requests"},
    {PROBLEM_CREDENTIAL, 401, PROBLEM_OF_CREDENTIAL,
     "the credential is unreadable, unknown, expired, revoked or not valid yet"},
    {PROBLEM_BODY, 400, PROBLEM_OF_BODY, "the body cannot be decoded"},
    {PROBLEM_NO_SCOPE_ID, 400, 0, "the id of the account or zone is missing"},
    {PROBLEM_NO_CREDENTIAL, 400, PROBLEM_OF_CREDENTIAL,
     "no credential: send Authorization: Bearer, or X-Auth-Email and X-Auth-Key"},
    {PROBLEM_QUOTA, 403, PROBLEM_OF_BODY,
     "the CSR quota of this account or zone is used up: delete CSRs that are no longer needed, or "
     "ask the operator for more"},
    {PROBLEM_DENIED, 403, PROBLEM_OF_GRANT,
     "this credential is not permitted to do that for this account or zone: it needs a "
     "grant from the operator"},
    {PROBLEM_COUNTRY, 400, PROBLEM_OF_BODY, "country is missing or invalid"},
    {PROBLEM_STATE, 400, PROBLEM_OF_BODY, "state is missing or invalid"},
    {PROBLEM_LOCALITY, 400, PROBLEM_OF_BODY, "locality is missing or invalid"},
    {PROBLEM_ORGANIZATION, 400, PROBLEM_OF_BODY, "organization is missing or invalid"},
    {PROBLEM_COMMON_NAME, 400, PROBLEM_OF_BODY, "common_name is missing or invalid"},
    {PROBLEM_COMMON_NAME_LENGTH, 400, PROBLEM_OF_BODY, "common_name is too long"},
    {PROBLEM_NO_SAN, 400, PROBLEM_OF_BODY, "at least one SAN is required"},
    {PROBLEM_SAN, 400, PROBLEM_OF_BODY, "invalid SAN"},
    {PROBLEM_SAN_NOT_ASCII, 400, PROBLEM_OF_BODY, "a SAN contains characters that are not ASCII"},
    {PROBLEM_SAN_RESERVED, 400, PROBLEM_OF_BODY, "a SAN ends in a reserved top-level name"},
    {PROBLEM_SAN_PUBLIC_SUFFIX, 400, PROBLEM_OF_BODY, "a SAN is a public suffix"},
    {PROBLEM_SAN_EXAMPLE, 400, PROBLEM_OF_BODY, "a SAN is a documentation name"},
    {PROBLEM_KEY_TYPE, 400, PROBLEM_OF_BODY, "key_type is not accepted"},
    {PROBLEM_CSR_ID, 400, PROBLEM_OF_CSR_ID, "the CSR id must be a UUID, as create and list return it"},
    {PROBLEM_NO_CSR, 404, PROBLEM_OF_CSR_ID, "no such CSR in this account or zone"},
    {PROBLEM_IN_USE, 409, 0, "the CSR is bound to an active certificate"},
    {PROBLEM_IDEMPOTENCY, 409, PROBLEM_OF_BODY,
     "this Idempotency-Key was used before with another request: use a new key"},
    {PROBLEM_INTERNAL, 500, PROBLEM_ANYWHERE, "internal error; the log has its cause under the X-Request-Id"},
    {PROBLEM_UNAVAILABLE, 503, PROBLEM_ANYWHERE, "not available at the moment; try again"},
    {PROBLEM_NO_ROUTE, 404, 0,
     "no such route: CSRs are at /client/v4/accounts/ID/custom_csrs and "
     "/client/v4/zones/ID/custom_csrs"},
    {PROBLEM_REQUEST, 400, PROBLEM_ANYWHERE, "the request is not acceptable"},
    {PROBLEM_METHOD, 405, 0, "the method is not allowed here; Allow names those that are"},
    {PROBLEM_REQUEST_TIMEOUT, 408, PROBLEM_ANYWHERE, "the request did not arrive in time: send it again"},
    {PROBLEM_PRECONDITION, 412, PROBLEM_ANYWHERE,
     "nothing here has an entity tag: leave out If-Match and If-None-Match"},
    {PROBLEM_TOO_LARGE, 413, PROBLEM_ANYWHERE, "the body is larger than [http] max_body_bytes"},
    {PROBLEM_TARGET_TOO_LONG, 414, PROBLEM_ANYWHERE,
     "the request target is longer than [http] max_header_bytes"},
    {PROBLEM_MEDIA_TYPE, 415, PROBLEM_OF_BODY, "the body must be sent as Content-Type: application/json"},
    {PROBLEM_EXPECTATION, 417, PROBLEM_ANYWHERE,
     "the expectation cannot be met: 100-continue is the only one"},
    {PROBLEM_MISDIRECTED, 421, PROBLEM_ANYWHERE, "the request is for another server"},
    {PROBLEM_HEADERS_TOO_LARGE, 431, PROBLEM_ANYWHERE, "the headers are larger than [http] max_header_bytes"},
    {PROBLEM_NOT_IMPLEMENTED, 501, PROBLEM_ANYWHERE, "not implemented"},
    {PROBLEM_HTTP_VERSION, 505, PROBLEM_ANYWHERE, "this HTTP version is not supported"},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

const struct problem_row *problem_row_at(size_t nth)
{
	return nth < ROWS ? &rows[nth] : NULL;
}

static const struct problem_row *row_find(enum problem_code code)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].code == code)
			return &rows[i];
	}
	return NULL;
}

int problem_status(enum problem_code code)
{
	const struct problem_row *row = row_find(code);

	return row ? row->status : 500;
}

const char *problem_text(enum problem_code code)
{
	const struct problem_row *row = row_find(code);

	return row ? row->text : problem_text(PROBLEM_INTERNAL);
}

bool problem_is_final(enum problem_code code)
{
	const struct problem_row *row = row_find(code);

	return !row || (row->status != 408 && row->status != 429 && row->status != 503);
}

enum problem_code problem_from_status(int status)
{
	for (size_t i = 0; i < ROWS; i++) {
		if ((int)rows[i].code == 10000 + status)
			return rows[i].code;
	}
	if (status == 404)
		return PROBLEM_NO_ROUTE;
	if (status == 503)
		return PROBLEM_UNAVAILABLE;
	return status >= 500 ? PROBLEM_INTERNAL : PROBLEM_REQUEST;
}

enum problem_code problem_from_err(enum err e)
{
	switch (e) {
	case E_NOMEM:
	case E_BUSY:
	case E_TIMEOUT:
	case E_UNAVAIL:
	case E_UNCERTAIN:
	case E_STORE:
	case E_IO:
	case E_PIN:
	case E_PIN_LOCKED:
		return PROBLEM_UNAVAILABLE;
	case E_NOTFOUND:
		return PROBLEM_NO_CSR;
	case E_DENIED:
		return PROBLEM_DENIED;
	case E_LIMIT:
		return PROBLEM_QUOTA;
	case E_UNSUPPORTED:
		return PROBLEM_KEY_TYPE;
	case E_OK:
	case E_INVAL:
	case E_EXISTS:
	case E_PROTO:
	case E_HSM:
	case E_CONFIG:
	case E_BUG:
		break;
	}
	return PROBLEM_INTERNAL;
}

unsigned problem_retry_after_s(enum err e)
{
	return problem_from_err(e) == PROBLEM_UNAVAILABLE ? PROBLEM_RETRY_AFTER_S : 0;
}

/* ---- several at once ---- */

void problem_list_release(struct problem_list *list)
{
	for (size_t i = 0; i < list->len; i++) {
		free(list->items[i].message);
		free(list->items[i].pointer);
	}
	free(list->items);
	memset(list, 0, sizeof(*list));
}

static enum err append(struct problem_list *list, struct problem *item)
{
	struct problem *items;

	if (!item->message)
		return E_NOMEM;
	items = reallocarray(list->items, list->len + 1, sizeof(*items));
	if (!items)
		return E_NOMEM;
	items[list->len++] = *item;
	list->items = items;
	return E_OK;
}

void problem_list_add(struct problem_list *list, enum problem_code code, const char *pointer,
		      const char *format, ...)
{
	struct problem item = {.code = code};
	va_list args;
	enum err e = E_NOMEM;

	if (list->len >= PROBLEM_LIST_MAX)
		return;
	va_start(args, format);
	if (!format)
		item.message = strdup(problem_text(code));
	else if (vasprintf(&item.message, format, args) < 0)
		item.message = NULL;
	va_end(args);
	if (str_dup_opt(pointer, &item.pointer))
		e = append(list, &item);
	if (e != E_OK) {
		free(item.message);
		free(item.pointer);
		list->status = e;
	}
}
