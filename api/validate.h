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

enum validate_kind {
	VALIDATE_COUNTRY,
	VALIDATE_SUBJECT, /* part of a distinguished name: not empty, no blank at its ends, something to see
			   */
	VALIDATE_SANS,
	VALIDATE_KEY_TYPE,
	VALIDATE_LABEL, /* for people, beside the CSR */
};

#define VALIDATE_KEY_TYPE_DEFAULT KEY_RSA2048

/* A member that the body may have.  What is not in the table is refused. */
struct validate_field {
	const char *name;
	enum validate_kind kind;
	enum problem_code code; /* it is missing or invalid */
	enum problem_code length_code;
	unsigned chars_max; /* of each item of sans */
	bool is_required;
	size_t offset;          /* of the char * in struct validate_csr; 0: it is kept otherwise */
	const char *words;      /* for readers of the OpenAPI document */
	enum policy_field rule; /* what a policy calls it; POLICY_FIELDS: it has rules of its own */
};

/* In the order in which they are checked, from 0; NULL past the last. */
const struct validate_field *validate_field_at(size_t nth);

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
 * E_INVAL: *problems has at least one, of the contract and of policies, in the
 * order of the fields, then unknown members as they stand in the body.  E_NOMEM.
 */
MUST_USE enum err validate_body(const char *body, size_t len, const struct validate_policy *policy,
				struct problem_list *problems, struct validate_csr *ret_csr);

#endif
