/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a create request: from bytes to a specification, or to everything that is wrong with it. */
#ifndef CSRD_API_VALIDATE_H
#define CSRD_API_VALIDATE_H

#include "api/policy.h"
#include "api/problem.h"
#include "api/san.h"
#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>

#define VALIDATE_NAME_CHARS 255
#define VALIDATE_DESCRIPTION_CHARS 1024
#define VALIDATE_UNKNOWN_MAX 16 /* unknown members named one by one */

/* What a create has to meet besides the contract. */
struct validate_policy {
	key_type_set key_types;  /* of the configuration and the token */
	struct san_policy sans;  /* of the configuration */
	struct policy_set rules; /* of account and zone */
	bool notes_public;       /* note names that public CAs refuse */
};

struct validate_csr {
	struct csr_spec spec;
	char *name;                /* NULL: not given */
	char *description;         /* NULL: not given */
	struct problem_list notes; /* what is accepted and may surprise (api/note.h) */
};
void validate_csr_release(struct validate_csr *csr); /* leaves it zeroed */

/*
 * E_INVAL: *problems has at least one, in the order of the fields: country,
 * state, locality, organization, organizational_unit, common_name, sans,
 * key_type, name, description, then unknown members as they stand in the
 * body; problems of the contract and of policies alike.  E_NOMEM.
 */
MUST_USE enum err validate_body(const char *body, size_t len, const struct validate_policy *policy,
				struct problem_list *problems, struct validate_csr *ret_csr);

#endif
