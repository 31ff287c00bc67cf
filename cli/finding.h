/* SPDX-License-Identifier: Apache-2.0 */
/* What csrctl verify finds: printed one by one, the remedies once for each kind at the end. */
#ifndef CSRD_CLI_FINDING_H
#define CSRD_CLI_FINDING_H

#include "cli/output.h"
#include "config/config.h"

#include <stdbool.h>
#include <stdint.h>

enum finding_kind {
	FINDING_STORE,       /* the database itself */
	FINDING_CSR,         /* a row and its CSR differ */
	FINDING_UNSETTLED,   /* a row that is not settled */
	FINDING_MISSING_KEY, /* of an active row */
	FINDING_HALF_PAIR,
	FINDING_WRONG_KEY,
	FINDING_PROTECTION,
	FINDING_UNREADABLE,
	FINDING_LEFTOVER,  /* the key of a failed or destroyed row */
	FINDING_SET_ASIDE, /* a key that is kept since the store went back */
	FINDING_UNKNOWN,   /* a key that no row has */
	FINDING_UNREAD,    /* objects that could not be read */
};
#define FINDING_KINDS (FINDING_UNREAD + 1)

#define FINDING_LABEL_SIZE 256

struct finding_list {
	bool json;
	struct output_json *j;            /* borrowed, with json: an array is open */
	const struct config_token *token; /* borrowed: whose keys are compared */
	uint64_t counts[FINDING_KINDS];
	char first[FINDING_KINDS][FINDING_LABEL_SIZE]; /* the object of the first of each kind */
	char environment[1024];                        /* of the signer's unit, once it is known */
	bool environment_known;
};

/* object: an id, a label or the name of a table. */
void finding_add(struct finding_list *list, enum finding_kind kind, const char *object, const char *text);

uint64_t finding_total(const struct finding_list *list);

/* For people: what to do about each kind that was found. */
void finding_print_remedies(struct finding_list *list);

#endif
