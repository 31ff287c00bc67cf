/* SPDX-License-Identifier: Apache-2.0 */
/* Over the same connections as the api's, so the same limits and the same parser hold here. */
#include "daemon/metrics.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/metric.h"
#include "daemon/answer.h"
#include "daemon/conn.h"
#include "daemon/conn_set.h"
#include "daemon/figures.h"
#include "daemon/head.h"
#include "daemon/listen.h"

#include <stdlib.h>
#include <string.h>

#define METRICS_PATH "/metrics"
#define METRICS_CONNECTIONS 8
#define METRICS_BYTES_MAX ((size_t)4 * 1024 * 1024)

struct metrics {
	const struct figures *figures;
	struct conn_set *conns;
	struct listen *listen;
};

/* ---- answers ---- */

/* Takes the buffer's contents. */
static void metrics_send(struct conn *conn, int status, const char *type, const char *allow, struct buf *body)
{
	bool close = conn_must_close(conn);
	struct reply reply = {.status = status, .body_len = body->len};
	struct buf head;
	size_t len;
	char *bytes;

	reply.headers[reply.headers_len++] = (struct http_header){"Content-Type", type};
	reply.headers[reply.headers_len++] = (struct http_header){"Cache-Control", "no-store"};
	if (allow)
		reply.headers[reply.headers_len++] = (struct http_header){"Allow", allow};
	buf_init(&head, ANSWER_HEAD_MAX);
	answer_put_head(&head, &reply, NULL, close);
	if (buf_status(&head) != E_OK || buf_status(body) != E_OK) {
		log_error("the figures for monitoring could not be written: out of memory");
		conn_abort(conn);
	} else {
		bytes = conn_head(conn)->method == HTTP_HEAD ? NULL : buf_take(body, &len);
		conn_send(conn, &head, bytes, bytes ? reply.body_len : 0, close);
	}
	buf_release(&head);
}

static void metrics_refuse(struct conn *conn, int status, const char *why, const char *allow)
{
	struct buf body;

	buf_init(&body, 1024);
	buf_printf(&body, "%s\n", why ? why : "the request is refused");
	metrics_send(conn, status, "text/plain; charset=utf-8", allow, &body);
	buf_release(&body);
}

static void metrics_on_request(void *arg, struct conn *conn)
{
	const struct metrics *metrics = arg;
	const struct head *head = conn_head(conn);
	struct buf body;
	const char *why;
	int status;

	if (conn_is_refused(conn, &status, &why)) {
		metrics_refuse(conn, status, why, NULL);
	} else if (strcmp(head->path, METRICS_PATH) != 0) {
		metrics_refuse(conn, 404, "there is " METRICS_PATH " here and nothing else", NULL);
	} else if (head->method != HTTP_GET && head->method != HTTP_HEAD) {
		metrics_refuse(conn, 405, METRICS_PATH " can be read, and nothing else", "GET, HEAD");
	} else {
		buf_init(&body, METRICS_BYTES_MAX);
		figures_put(metrics->figures, &body);
		metrics_send(conn, 200, METRIC_CONTENT_TYPE, NULL, &body);
		buf_release(&body);
	}
}

/* ---- connections ---- */

static void metrics_on_room(void *arg, bool room)
{
	struct metrics *metrics = arg;

	listen_set_room(metrics->listen, room);
}

static void metrics_on_empty(void *arg)
{
	(void)arg;
}

enum err metrics_new(struct event_base *base, const struct config *config, const struct figures *figures,
		     struct metrics **ret_metrics)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	struct conn_set_options conns = {
	    .config = &config->http,
	    .connections_max = METRICS_CONNECTIONS,
	    .on_request = metrics_on_request,
	    .on_room = metrics_on_room,
	    .on_empty = metrics_on_empty,
	    .arg = metrics,
	};
	enum err e;

	if (!metrics)
		return E_NOMEM;
	metrics->figures = figures;
	e = conn_set_new(base, &conns, &metrics->conns);
	if (e == E_OK)
		e = listen_new_metrics(base, config, metrics->conns, &metrics->listen);
	if (e != E_OK) {
		metrics_free(metrics);
		return e;
	}
	*ret_metrics = metrics;
	return E_OK;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	conn_set_free(metrics->conns);
	if (metrics->listen)
		listen_stop(metrics->listen);
	listen_free(metrics->listen);
	free(metrics);
}
