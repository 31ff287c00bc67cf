/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditional requests (RFC 9110 §13).  No representation here has an entity
 * tag or a date of modification, so all that can be asked is whether one is
 * there.
 */
#ifndef CSRD_API_PRECONDITION_H
#define CSRD_API_PRECONDITION_H

#include "api/request.h"

/* For a target that is there: 0 to go on, else the status to answer, 304 or 412. */
int precondition_status(const struct request *r);

#endif
