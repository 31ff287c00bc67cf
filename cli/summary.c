/* SPDX-License-Identifier: Apache-2.0 */
/* What a database holds, for people and as members of a JSON object. */
#include "cli/summary.h"

#include "base/buf.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>

const char *summary_phase_name(enum upkeep_phase phase)
{
	switch (phase) {
	case UPKEEP_COPY:
		return "copying the database";
	case UPKEEP_CHECK:
		return "checking the database";
	case UPKEEP_WRITE:
		return "writing the copy";
	}
	return "working";
}

static void print_count(const char *name, uint64_t count)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, count);
	output_fact(name, text);
}

void summary_print(const struct upkeep_summary *s)
{
	struct buf states;

	print_count("schema version", (uint64_t)s->schema_version);
	print_count("accounts", s->accounts);
	print_count("zones", s->zones);
	print_count("tokens and users", s->principals);
	buf_init(&states, 256);
	buf_printf(&states, "%" PRIu64 " (", upkeep_csrs(s));
	for (int state = CSR_PENDING; state <= CSR_FAILED; state++)
		buf_printf(&states, "%s%" PRIu64 " %s", state == CSR_PENDING ? "" : ", ", s->csrs[state],
			   csr_state_name((enum csr_state)state));
	buf_put_str(&states, ")");
	output_fact("CSRs", buf_text(&states));
	buf_release(&states);
	print_count("audit records", s->audit_records);
}

void summary_put_json(struct json_writer *w, const struct upkeep_summary *s)
{
	json_put_int_member(w, "schema_version", s->schema_version);
	json_put_int_member(w, "accounts", (int64_t)s->accounts);
	json_put_int_member(w, "zones", (int64_t)s->zones);
	json_put_int_member(w, "principals", (int64_t)s->principals);
	json_put_int_member(w, "grants", (int64_t)s->grants);
	json_put_name(w, "csrs");
	json_open_object(w);
	for (int state = CSR_PENDING; state <= CSR_FAILED; state++)
		json_put_int_member(w, csr_state_name((enum csr_state)state), (int64_t)s->csrs[state]);
	json_close(w);
	json_put_int_member(w, "audit_records", (int64_t)s->audit_records);
}
