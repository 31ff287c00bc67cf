/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the audit trail, as csrctl audit and csr show print them. */
#ifndef CSRD_CLI_AUDIT_OUTPUT_H
#define CSRD_CLI_AUDIT_OUTPUT_H

#include "cli/names.h"
#include "cli/output.h"
#include "store/record.h"

/* One JSON object; with_object: also whose record it is. */
void audit_output_json(struct json_writer *w, const struct names *names, const struct audit_record *a,
		       bool with_object);

/* Adds a cell: the actor in words. */
void audit_output_actor(struct output_table *t, const struct names *names, const char *actor);

#endif
