/* SPDX-License-Identifier: Apache-2.0 */
/* What a database holds, for people and as members of a JSON object. */
#ifndef CSRD_CLI_SUMMARY_H
#define CSRD_CLI_SUMMARY_H

#include "api/json.h"
#include "store/upkeep.h"

void summary_print(const struct upkeep_summary *summary);
void summary_put_json(struct json_writer *w, const struct upkeep_summary *summary);

/* The name of a phase, for cli/progress.h. */
const char *summary_phase_name(enum upkeep_phase phase);

#endif
