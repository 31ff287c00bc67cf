/* SPDX-License-Identifier: Apache-2.0 */
/* What a request says of its body: media type and content coding (RFC 9110 §8.3, §8.4). */
#ifndef CSRD_API_MEDIA_H
#define CSRD_API_MEDIA_H

#include "api/reply.h"
#include "api/request.h"

#include <stdbool.h>

/*
 * False when the body is none that csrd reads: *ret_refusal says why (415).
 * The body of a method that gives it no meaning is never looked at.
 */
bool media_is_accepted(const struct request *r, struct reply_refusal *ret_refusal);

#endif
