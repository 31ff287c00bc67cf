/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is accepted and may surprise, told in `messages` of the answer: a common
 * name that is no SAN, a filler value that some tool has put in; and, for who
 * asks before a create, names that public CAs refuse.
 */
#ifndef CSRD_API_NOTE_H
#define CSRD_API_NOTE_H

#include "api/problem.h"
#include "base/attr.h"
#include "base/err.h"

struct validate_csr;
struct validate_policy;

#define NOTE_MAX 20 /* of names; the rest is counted */

/* Codes are those that would refuse the same.  E_NOMEM. */
MUST_USE enum err note_csr(const struct validate_csr *csr, const struct validate_policy *policy,
			   struct problem_list *notes);

#endif
