/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests counted by route, method and status, with how long each took.  The
 * labels come from fixed tables, so that no client can make a new series.
 */
#ifndef CSRD_DAEMON_TRAFFIC_H
#define CSRD_DAEMON_TRAFFIC_H

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

struct buf;
struct request;
struct traffic;

MUST_USE enum err traffic_new(struct traffic **ret_traffic); /* E_NOMEM */
void traffic_free(struct traffic *traffic);                  /* NULL is fine */

void traffic_count(struct traffic *traffic, const struct request *r, int status, uint64_t ns);

/* csrd_http_requests_total and csrd_http_request_duration_seconds (base/metric.h). */
void traffic_put(const struct traffic *traffic, struct buf *b);

#endif
