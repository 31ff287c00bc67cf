/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP contract as an OpenAPI 3.1 document, made from the tables that the
 * program itself works by: routes (route.h), fields (validate.h), parameters
 * of lists (page.h), members of answers (csr_json.h) and problems (problem.h).
 * What is in no table is text of api/openapi.json, the document's frame.
 */
#ifndef CSRD_API_OPENAPI_H
#define CSRD_API_OPENAPI_H

#include "api/validate.h"
#include "base/buf.h"

#define OPENAPI_BYTES_MAX ((size_t)512 * 1024)

/* The document for what is accepted under the policy. */
void openapi_put(const struct validate_policy *policy, struct buf *b);

/* What GET /openapi.json keeps, so that it is made again only when the policy has changed. */
struct openapi;
void openapi_free(struct openapi *openapi); /* NULL is fine */

#endif
