/* SPDX-License-Identifier: Apache-2.0 */
/* Notes on a create that is accepted. */
#include "api/note.h"

#include "api/validate.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* What openssl req and other tools put where nobody has answered. */
static const char *const note_fillers[] = {
    "Some-State",
    "Internet Widgits Pty Ltd",
    "Default City",
    "Default Company Ltd",
    "My State",
    "My City",
    "My Company",
    "Company",
    "Organization",
    "State",
    "City",
    "Unknown",
    "None",
    "N/A",
    "NA",
    "n.a.",
    "null",
    "undefined",
    "-",
    ".",
    "xx",
    "test",
};

static void note_filler(const char *field, enum problem_code code, const char *value,
			struct problem_list *notes)
{
	char pointer[32];

	if (!value)
		return;
	snprintf(pointer, sizeof(pointer), "/%s", field);
	for (size_t i = 0; i < sizeof(note_fillers) / sizeof(note_fillers[0]); i++)
		if (str_equal_ignoring_case(value, note_fillers[i]))
			problem_list_add(notes, code, pointer,
					 "%s \"%s\" looks like a filler; CAs may refuse it", field, value);
}

static void note_common_name(const struct csr_spec *spec, struct problem_list *notes)
{
	for (size_t i = 0; i < spec->sans_len; i++)
		if (san_names_same(spec->common_name, spec->sans[i].value))
			return;
	problem_list_add(
	    notes, PROBLEM_COMMON_NAME, "/common_name",
	    "common_name is not one of sans: public CAs refuse that, and clients that check SANs "
	    "ignore it");
}

/* Names that are accepted here, and would not be with public_names_only. */
static enum err note_not_public(const struct csr_spec *spec, const struct validate_policy *policy,
				struct problem_list *notes)
{
	struct san_policy public = {
	    .types = ~0u, .public_names_only = true, .suffixes = policy->sans.suffixes};
	size_t refused = 0;

	for (size_t i = 0; i < spec->sans_len; i++) {
		const char *value = spec->sans[i].value;
		char pointer[32], why[SAN_WHY_SIZE];
		enum san_type type;
		enum problem_code code = san_check(value, &public, why, &type);

		if (code == PROBLEM_UNAVAILABLE)
			return E_NOMEM;
		if (!code || ++refused > NOTE_MAX)
			continue;
		snprintf(pointer, sizeof(pointer), "/sans/%zu", i);
		why[strcspn(why, ";,")] = '\0'; /* the remedy is for who wants a public name */
		problem_list_add(notes, code, pointer, "sans[%zu] \"%s\" %s: public CAs refuse it", i, value,
				 why);
	}
	if (refused > NOTE_MAX)
		problem_list_add(notes, PROBLEM_SAN, "/sans", "%zu more of sans are not public names",
				 refused - NOTE_MAX);
	return E_OK;
}

enum err note_csr(const struct validate_csr *csr, const struct validate_policy *policy,
		  struct problem_list *notes)
{
	const struct csr_spec *spec = &csr->spec;
	enum err e = E_OK;

	note_filler("state", PROBLEM_STATE, spec->state, notes);
	note_filler("locality", PROBLEM_LOCALITY, spec->locality, notes);
	note_filler("organization", PROBLEM_ORGANIZATION, spec->organization, notes);
	note_filler("organizational_unit", PROBLEM_BODY, spec->organizational_unit, notes);
	note_common_name(spec, notes);
	if (policy->notes_public && !policy->sans.public_names_only)
		e = note_not_public(spec, policy, notes);
	return e == E_OK ? notes->status : e;
}
