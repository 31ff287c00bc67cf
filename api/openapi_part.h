/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the OpenAPI document that are made from tables.  Each function
 * writes one JSON value.  Private to openapi.c, openapi_path.c and openapi_schema.c.
 */
#ifndef CSRD_API_OPENAPI_PART_H
#define CSRD_API_OPENAPI_PART_H

#include "api/json.h"
#include "api/validate.h"

/* {"$ref": "#/components/KIND/NAME"} */
void openapi_put_ref(struct json_writer *w, const char *kind, const char *name);

void openapi_put_paths(struct json_writer *w, const struct validate_policy *policy);
void openapi_put_responses(struct json_writer *w, const struct validate_policy *policy);
/* The body of a create, and a CSR in an answer. */
void openapi_put_create(struct json_writer *w, const struct validate_policy *policy);
void openapi_put_csr(struct json_writer *w, const struct validate_policy *policy);

#endif
