/* SPDX-License-Identifier: Apache-2.0 */
/* Two arrays that are indexed by the numbers of routes, methods and statuses. */
#include "daemon/traffic.h"

#include "api/request.h"
#include "api/route.h"
#include "base/buf.h"
#include "base/metric.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METHODS (HTTP_OTHER + 1)
#define ROUTE_NONE "none"
#define BASE "{base}"

/* Those that csrd answers with; another one is counted as the first of its kind (4xx as 400). */
static const int statuses[] = {200, 201, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409,
			       412, 413, 414, 415, 417, 421, 429, 431, 500, 501, 503, 505};
#define STATUSES (sizeof(statuses) / sizeof(statuses[0]))

struct traffic {
	/* Route 0 stands for none. */
	uint64_t counts[ROUTE_NUMBER_MAX + 1][METHODS][STATUSES];
	struct metric_times times[ROUTE_NUMBER_MAX + 1];
};

enum err traffic_new(struct traffic **ret_traffic)
{
	struct traffic *traffic = calloc(1, sizeof(*traffic));

	if (!traffic)
		return E_NOMEM;
	*ret_traffic = traffic;
	return E_OK;
}

void traffic_free(struct traffic *traffic)
{
	free(traffic);
}

static size_t traffic_find_status(int status)
{
	size_t i = 0;

	while (i < STATUSES && statuses[i] != status)
		i++;
	return i < STATUSES ? i : traffic_find_status(status >= 500 ? 500 : status >= 400 ? 400 : 200);
}

void traffic_count(struct traffic *traffic, const struct request *r, int status, uint64_t ns)
{
	unsigned method = r->method >= HTTP_GET && r->method <= HTTP_OTHER ? r->method : HTTP_OTHER;

	traffic->counts[r->route][method][traffic_find_status(status)]++;
	metric_times_add(&traffic->times[r->route], ns);
}

/* The path of a rule as the figures show it, without what may stand before every path. */
static const char *traffic_route_name(unsigned route)
{
	const struct route_rule *rule = route_at(route);

	if (!rule)
		return ROUTE_NONE;
	return rule->pattern + (str_starts_with(rule->pattern, BASE) ? strlen(BASE) : 0);
}

static const char *traffic_method_name(unsigned method)
{
	return method == HTTP_OTHER ? "other" : http_method_name((enum http_method)method);
}

/* Shown also while there is none, since a rate begins at the second sample of a series. */
static bool traffic_expects(const struct route_rule *rule, int status)
{
	return status == (rule->method == HTTP_POST ? 201 : 200) || status == 500 || status == 503;
}

static void traffic_put_counts(const struct traffic *traffic, struct buf *b, unsigned route, unsigned method)
{
	const struct route_rule *rule = route_at(route);

	for (size_t i = 0; i < STATUSES; i++) {
		uint64_t count = traffic->counts[route][method][i];
		bool is_expected = rule && rule->method == method && traffic_expects(rule, statuses[i]);
		char code[12];

		if (count == 0 && !is_expected)
			continue;
		snprintf(code, sizeof(code), "%d", statuses[i]);
		metric_put(b, "csrd_http_requests_total",
			   (const struct metric_label[]){{"route", traffic_route_name(route)},
							 {"method", traffic_method_name(method)},
							 {"code", code},
							 {0}},
			   count);
	}
}

void traffic_put(const struct traffic *traffic, struct buf *b)
{
	static const char times[] = "csrd_http_request_duration_seconds";

	metric_put_head(b, "csrd_http_requests_total", METRIC_COUNTER,
			"Requests answered. Route none: no such path, or refused before a path was looked "
			"for.");
	for (unsigned route = 0; route <= ROUTE_NUMBER_MAX; route++) {
		for (unsigned method = HTTP_GET; (route == 0 || route_at(route)) && method < METHODS;
		     method++)
			traffic_put_counts(traffic, b, route, method);
	}
	metric_put_head(b, times, METRIC_HISTOGRAM,
			"From the last byte of a request until its answer began to be sent.");
	for (unsigned route = 1; route_at(route); route++)
		metric_put_times(
		    b, times,
		    (const struct metric_label[]){{"route", traffic_route_name(route)},
						  {"method", traffic_method_name(route_at(route)->method)},
						  {0}},
		    &traffic->times[route]);
}
