/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of csrctl csr tell of a CSR in the same way. */
#ifndef CSRD_CLI_CSR_OUTPUT_H
#define CSRD_CLI_CSR_OUTPUT_H

#include "api/json.h"
#include "cli/names.h"
#include "store/record.h"

/* Members of the object that is open: what list and show have in common. */
void csr_output_members(struct json_writer *w, const struct names *names, const struct csr_record *r);

#endif
