/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditional requests (RFC 9110 §13).  No representation here has an entity
 * tag or a modification date, so a condition can only be about whether one
 * exists.
 */
#ifndef CSRD_API_PRECONDITION_H
#define CSRD_API_PRECONDITION_H

#include "api/request.h"

/* For a target that exists: 0 to go on, else the status to answer with, 304 or 412. */
int precondition_status(const struct request *r);

#endif
