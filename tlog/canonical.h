/* SPDX-License-Identifier: Apache-2.0 */
/* The one text of a JSON value (RFC 8785), checked.  base/json.h writes it. */
#ifndef CSRD_TLOG_CANONICAL_H
#define CSRD_TLOG_CANONICAL_H

#include <stdbool.h>
#include <stddef.h>

#define CANONICAL_DEPTH_MAX 16

/*
 * Are these bytes one JSON value in the form of RFC 8785, with nothing before or behind it?  Names are sorted
 * by their UTF-16 units and there is none twice.  Narrower than the RFC: numbers are whole and within
 * ±(2^53 − 1), and objects and arrays are nested at most CANONICAL_DEPTH_MAX deep.
 */
bool canonical_check(const void *bytes, size_t len);

#endif
