/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of csrctl csr show of a CSR in the same way. */
#ifndef CSRD_CLI_CSR_OUTPUT_H
#define CSRD_CLI_CSR_OUTPUT_H

#include "api/json.h"
#include "cli/names.h"
#include "store/record.h"

/* Writes the members that list and show have in common into the open object. */
void csr_output_members(struct json_writer *w, const struct names *names, const struct csr_record *r);

#endif
