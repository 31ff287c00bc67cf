/* SPDX-License-Identifier: Apache-2.0 */
/* A CSR as the API shows it. */
#ifndef CSRD_API_CSR_JSON_H
#define CSRD_API_CSR_JSON_H

#include "api/json.h"
#include "store/record.h"

/* Writes one object, the same in create, get and list.  Members that were not given are left out. */
void csr_json_put(struct json_writer *w, const struct csr_record *record);

/* The members that a create of it takes. */
void csr_json_put_request(struct json_writer *w, const struct csr_record *record);

/* Room for the largest record. */
#define CSR_JSON_MAX ((size_t)256 * 1024)

#endif
