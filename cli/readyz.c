/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest HTTP client that can read /readyz (RFC 9112). */
#include "cli/readyz.h"

#include "api/json.h"
#include "base/address.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "config/config_table.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX 65536

struct client {
	const struct config *config;
	struct readyz *result;
	uint64_t end_ms;
	int fd;
};

const char *readyz_state_name(enum readyz_state state)
{
	switch (state) {
	case READYZ_READY:
		return "ready";
	case READYZ_NOT_READY:
		return "not-ready";
	case READYZ_UNREACHABLE:
		return "unreachable";
	case READYZ_NO_FAMILY:
		return "no-such-family";
	case READYZ_UNKNOWN:
		break;
	}
	return "unknown";
}

static bool unreachable(struct client *c, const char *why)
{
	c->result->state = READYZ_UNREACHABLE;
	snprintf(c->result->detail, sizeof(c->result->detail), "%s", why);
	return false;
}

/* connect(2) or socket(2) failed. */
static bool refuse_connection(struct client *c, int error)
{
	(void)unreachable(c, strerror(error));
	if (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)
		c->result->state = READYZ_NO_FAMILY;
	return false;
}

/* ---- the address ---- */

/* Who listens on all addresses is met on loopback. */
static bool readyz_parse_tcp(const char *text, struct sockaddr_storage *sa, socklen_t *ret_len)
{
	struct address a, loopback;
	uint16_t port;

	if (!address_parse_port(text, &a, &port) || port == 0 ||
	    !address_parse(a.family == ADDRESS_V4 ? "127.0.0.1" : "::1", &loopback))
		return false;
	address_to_socket(address_is_any(&a) ? &loopback : &a, port, sa, ret_len);
	return true;
}

static bool parse_address(const char *text, struct sockaddr_storage *sa, socklen_t *ret_len)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};

	if (!str_starts_with(text, "unix:"))
		return readyz_parse_tcp(text, sa, ret_len);
	if (str_copy(local.sun_path, sizeof(local.sun_path), text + strlen("unix:")) != E_OK)
		return false;
	memcpy(sa, &local, sizeof(local));
	*ret_len = sizeof(local);
	return true;
}

/* ---- the exchange ---- */

static bool readyz_wait_for(struct client *c, short events)
{
	struct pollfd p = {.fd = c->fd, .events = events};
	uint64_t now_ms;
	int n;

	do {
		now_ms = clock_ms();
		n = poll(&p, 1, now_ms < c->end_ms ? (int)(c->end_ms - now_ms) : 0);
	} while (n < 0 && errno == EINTR);
	return n > 0 || unreachable(c, n < 0 ? strerror(errno) : "it does not answer in time");
}

static bool open_connection(struct client *c, const struct sockaddr_storage *sa, socklen_t len)
{
	int error = 0;
	socklen_t error_len = sizeof(error);

	c->fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return refuse_connection(c, errno);
	if (connect(c->fd, (const struct sockaddr *)sa, len) == 0)
		return true;
	if (errno != EINPROGRESS)
		return refuse_connection(c, errno);
	if (!readyz_wait_for(c, POLLOUT))
		return false;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &error_len) || error)
		return unreachable(c, strerror(error));
	return true;
}

/* A peer from which csrd wants a PROXY protocol header says that it speaks for itself. */
static bool readyz_is_proxy(const struct client *c)
{
	const struct config_http *http = &c->config->http;
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
	} sa = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t len = sizeof(sa);
	bool is_on = http->proxy_protocol_on_len == 0;
	struct address own;
	uint16_t port;

	for (size_t i = 0; i < http->proxy_protocol_on_len; i++)
		is_on = is_on || config_listen_is_same(http->proxy_protocol_on[i], c->result->address);
	if (!is_on || getsockname(c->fd, &sa.any, &len) != 0)
		return false;
	own = address_of_socket(&sa.any, &port);
	return address_is_in_any(&own, http->proxy_protocol_from.nets, http->proxy_protocol_from.len);
}

static bool exchange(struct client *c, struct buf *answer)
{
	static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	static const char local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0"; /* and its NUL: LOCAL, nothing follows */
	char block[4096];
	ssize_t n;

	/* both fit into any socket's buffer */
	if (readyz_is_proxy(c) &&
	    send(c->fd, local, sizeof(local), MSG_NOSIGNAL | MSG_MORE) != (ssize_t)sizeof(local))
		return unreachable(c, strerror(errno));
	if (send(c->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(request) - 1)
		return unreachable(c, strerror(errno));
	for (;;) {
		if (!readyz_wait_for(c, POLLIN))
			return false;
		n = recv(c->fd, block, sizeof(block), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return unreachable(c, strerror(errno));
		if (n == 0)
			return true;
		buf_put(answer, block, (size_t)n);
		if (buf_status(answer) != E_OK)
			return unreachable(c, "its answer is too long");
	}
}

/* ---- the answer ---- */

/* The messages of its problems, with semicolons between them. */
static void take_problems(const char *body, struct readyz *r)
{
	char why[JSON_WHY_SIZE];
	struct json_doc *doc = NULL;
	struct json_value errors;
	size_t len = 0;

	if (json_read(body, strlen(body), why, &doc) != E_OK)
		return;
	errors = json_member(json_root(doc), "errors");
	for (size_t i = 0; i < json_array_len(errors) && len < sizeof(r->detail); i++) {
		const char *message = json_text(json_member(json_array_item(errors, i), "message"));

		len += (size_t)snprintf(r->detail + len, sizeof(r->detail) - len, "%s%s", len ? "; " : "",
					message ? message : "?");
	}
	json_doc_free(doc);
}

static void readyz_take_answer(struct client *c, const char *answer)
{
	const char *body = strstr(answer, "\r\n\r\n");
	int status = 0;

	if (sscanf(answer, "HTTP/1.%*1d %3d", &status) != 1 || !body) {
		unreachable(c, "what answers there is not an HTTP server");
		return;
	}
	if (status == 200) {
		c->result->state = READYZ_READY;
		return;
	}
	c->result->state = READYZ_NOT_READY;
	snprintf(c->result->detail, sizeof(c->result->detail), "HTTP status %d", status);
	take_problems(body + strlen("\r\n\r\n"), c->result);
}

struct readyz readyz_ask(const struct config *config, const char *address, unsigned timeout_ms)
{
	struct readyz result = {.state = READYZ_UNKNOWN, .address = address};
	struct client client = {
	    .config = config, .result = &result, .end_ms = clock_ms() + timeout_ms, .fd = -1};
	struct sockaddr_storage parsed;
	struct buf answer;
	socklen_t len;

	if (!parse_address(address, &parsed, &len))
		return result;
	buf_init(&answer, ANSWER_BYTES_MAX);
	if (open_connection(&client, &parsed, len) && exchange(&client, &answer))
		readyz_take_answer(&client, buf_text(&answer));
	buf_release(&answer);
	fd_close(&client.fd);
	return result;
}

struct readyz readyz_ask_first(const struct config *config, unsigned timeout_ms)
{
	struct readyz result = {.state = READYZ_UNKNOWN};

	for (size_t i = 0; i < config->http.listen_len; i++) {
		result = readyz_ask(config, config->http.listen[i], timeout_ms);
		if (result.state != READYZ_NO_FAMILY)
			break;
	}
	return result;
}
