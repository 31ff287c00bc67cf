/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What evhttp can give at best: one event loop that answers every request with
 * 200 and a body of --body-bytes bytes.  Prints "listening PORT" once it does.
 */
#include "base/exit_code.h"
#include "bench/stats.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static char *body;
static size_t body_len;

static void answer(struct evhttp_request *req, void *arg)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(req);

	(void)arg;
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/json");
	evbuffer_add(out, body, body_len);
	evhttp_send_reply(req, 200, "OK", NULL);
}

static void make_body(const char *text)
{
	body_len = (size_t)stats_parse_number("--body-bytes", text);
	body = malloc(body_len);
	if (!body)
		abort();
	memset(body, 'x', body_len);
}

static int port_of(struct evhttp_bound_socket *bound)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &len))
		return -1;
	return ntohs(address.sin_port);
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct evhttp *http = base ? evhttp_new(base) : NULL;
	struct evhttp_bound_socket *bound;

	if (argc != 3 || strcmp(argv[1], "--body-bytes") != 0) {
		fprintf(stderr, "usage: bare_evhttp --body-bytes N\n");
		return EXIT_CODE_USAGE;
	}
	make_body(argv[2]);
	bound = http ? evhttp_bind_socket_with_handle(http, "127.0.0.1", 0) : NULL;
	if (!bound) {
		fprintf(stderr, "bare_evhttp: cannot listen\n");
		return EXIT_CODE_SYSTEM;
	}
	evhttp_set_gencb(http, answer, NULL);
	printf("listening %d\n", port_of(bound));
	fflush(stdout);
	event_base_dispatch(base);
	return EXIT_CODE_OK;
}
