/* SPDX-License-Identifier: Apache-2.0 */
/* A CSR as the API shows it. */
#ifndef CSRD_API_CSR_JSON_H
#define CSRD_API_CSR_JSON_H

#include "api/json.h"
#include "store/record.h"

#include <stdbool.h>
#include <stddef.h>

enum csr_json_kind {
	CSR_JSON_TEXT,    /* a char * */
	CSR_JSON_ID,      /* a UUID, in a char [] */
	CSR_JSON_ACCOUNT, /* an account's id, in a char [] */
	CSR_JSON_TIME,
	CSR_JSON_KEY_TYPE,
	CSR_JSON_SANS,
};

struct csr_json_member {
	const char *name;
	enum csr_json_kind kind;
	bool is_optional;  /* left out where the record has none */
	size_t offset;     /* in struct csr_record */
	const char *words; /* for readers of the OpenAPI document */
};

/* In the order in which they are written, from 0; NULL past the last. */
const struct csr_json_member *csr_json_member_at(size_t nth);

/* Writes one object, the same in create, get and list. */
void csr_json_put(struct json_writer *w, const struct csr_record *record);

/* The members that a create of it takes. */
void csr_json_put_request(struct json_writer *w, const struct csr_record *record);

/* Room for the largest record. */
#define CSR_JSON_MAX ((size_t)256 * 1024)

#endif
