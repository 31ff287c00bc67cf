/* SPDX-License-Identifier: Apache-2.0 */
/* What a public CA can put into a certificate, for [policy] public_names_only. */
#ifndef CSRD_API_SAN_PUBLIC_H
#define CSRD_API_SAN_PUBLIC_H

#include "api/problem.h"
#include "api/san.h"
#include "base/attr.h"

/*
 * host: a name without wildcard, or an address.  PROBLEM_NONE; or 1414, 1415
 * or 1416 and why, in words that follow the value.
 */
MUST_USE enum problem_code san_public_check(const char *host, const struct san_policy *policy,
					    char why[SAN_WHY_SIZE]);

#endif
