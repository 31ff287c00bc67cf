/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load generator for HTTP/1.1: N keep-alive connections to 127.0.0.1, each
 * with one request in flight at a time, on one thread with epoll.  Prints one
 * line of JSON: how many answers, at what rate, after how long.
 */
#include "base/exit_code.h"
#include "base/str.h"
#include "bench/stats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define ID_BYTES 36
#define INPUT_MAX (1024 * 1024)
#define FAILURES_MAX 100

struct options {
	uint16_t port;
	unsigned connections;
	double seconds;
	double warm_up;
	unsigned long requests; /* 0: by time */
	const char *method;
	const char *path; /* a '%' in it stands for an id */
	const char *body_file;
	const char *token_file;
	const char *ids_file;
	const char *save_ids;
	bool ids_once;
	unsigned expect;
};

struct connection {
	int fd;
	char *out;
	size_t out_len, out_at;
	char *in;
	size_t in_len, in_capacity;
	uint64_t began_us;
	bool answered; /* one request at least, since it was opened */
};

static struct options options = {.connections = 1, .seconds = 3, .method = "GET", .expect = 200};
static char *body, *token;
static size_t body_len;
static char (*ids)[ID_BYTES + 1];
static size_t ids_len, ids_next;
static FILE *saved;
static struct stats stats;
static unsigned long sent, answered, unexpected, reconnects;
static unsigned first_unexpected;
static uint64_t counted_from_us, ends_us;
static int poller;
static bool by_count; /* not by time: each request has its answer before the end */
static bool ended;

static void die(const char *what)
{
	fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
	exit(EXIT_CODE_UNAVAILABLE);
}

static void *must_have(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- what is sent ---- */

static char *read_file(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "rb");
	char *text = NULL;
	size_t len = 0, got;

	if (!file)
		die(path);
	do {
		text = must_have(realloc(text, len + 65536 + 1));
		got = fread(text + len, 1, 65536, file);
		len += got;
	} while (got > 0);
	fclose(file);
	text[len] = '\0';
	*ret_len = len;
	return text;
}

static void read_ids(void)
{
	size_t len;
	char *text = read_file(options.ids_file, &len);

	ids = must_have(calloc(len / (ID_BYTES + 1) + 1, sizeof(*ids)));
	for (char *line = text; len >= ID_BYTES && line + ID_BYTES <= text + len; line += ID_BYTES + 1)
		memcpy(ids[ids_len++], line, ID_BYTES);
	free(text);
	if (!ids_len) {
		fprintf(stderr, "http_load: no ids in '%s'\n", options.ids_file);
		exit(EXIT_CODE_USAGE);
	}
}

static uint64_t random_next(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15u; /* xorshift64: the same ids in each run */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* NULL: there is none left. */
static const char *pick_id(void)
{
	if (!ids_len)
		return "";
	if (!options.ids_once)
		return ids[random_next() % ids_len];
	return ids_next < ids_len ? ids[ids_next++] : NULL;
}

/* False: nothing is left to send. */
static bool build_request(struct connection *c)
{
	const char *id = pick_id();
	size_t before = strcspn(options.path, "%");
	const char *after = options.path[before] ? options.path + before + 1 : "";
	int head;

	if (!id || (options.requests && sent == options.requests))
		return false;
	free(c->out);
	head = asprintf(&c->out,
			"%s %.*s%s%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n%s%s%s"
			"Content-Length: %zu\r\n\r\n",
			options.method, (int)before, options.path, id, after,
			token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "",
			body_len);
	if (head < 0)
		abort();
	c->out = must_have(realloc(c->out, (size_t)head + body_len + 1));
	if (body_len)
		memcpy(c->out + head, body, body_len);
	c->out_len = (size_t)head + body_len;
	c->out_at = 0;
	c->in_len = 0;
	sent++;
	return true;
}

/* ---- connections ---- */

static void open_connection(struct connection *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(options.port)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	int one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)))
		die("cannot connect");
	if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event))
		die("cannot set up a connection");
	c->answered = false;
}

/* Requests are small: the socket takes them whole. */
static void send_request(struct connection *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

		if (n < 0)
			return; /* the read that follows sees that the server has left */
		c->out_at += (size_t)n;
	}
}

static void next_request(struct connection *c)
{
	uint64_t now = stats_now_us();

	if ((!by_count && now >= ends_us) || !build_request(c)) {
		ended = true;
		return;
	}
	c->began_us = now;
	send_request(c);
}

/* A server may close an idle connection; one that gives no answer at all is broken. */
static void reconnect(struct connection *c)
{
	if (!c->answered || ++reconnects > FAILURES_MAX) {
		fprintf(stderr, "http_load: the server closes connections without an answer\n");
		exit(EXIT_CODE_UNAVAILABLE);
	}
	close(c->fd);
	open_connection(c);
	c->in_len = c->out_at = 0;
	send_request(c);
}

/* ---- what comes back ---- */

/* 0: not all of it is there yet. */
static size_t answer_size(const struct connection *c)
{
	const char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
	const char *length;
	size_t size;

	if (!end)
		return 0;
	size = (size_t)(end - c->in) + 4;
	for (length = c->in; length < end; length++)
		if (*length == '\n' && strncasecmp(length + 1, "content-length:", 15) == 0)
			break;
	if (length < end)
		size += strtoul(length + 16, NULL, 10);
	return size <= c->in_len ? size : 0;
}

static void save_id(const struct connection *c)
{
	const char *at = memmem(c->in, c->in_len, "\"id\":", 5);

	if (!at)
		return;
	at += 5;
	at += strspn(at, " \"");
	if (at + ID_BYTES < c->in + c->in_len)
		fprintf(saved, "%.*s\n", ID_BYTES, at);
}

static void take_answer(struct connection *c)
{
	uint64_t now = stats_now_us();
	unsigned status = 0;

	c->in[c->in_len] = '\0';
	if (sscanf(c->in, "HTTP/1.%*c %3u", &status) != 1 || status != options.expect) {
		first_unexpected = first_unexpected ? first_unexpected : status;
		unexpected++;
	} else if (by_count || (now >= counted_from_us && now < ends_us)) {
		stats_add(&stats, now - c->began_us);
	}
	if (saved && status == options.expect)
		save_id(c);
	c->answered = true;
	answered++;
	next_request(c);
}

static void read_answer(struct connection *c)
{
	ssize_t n;

	if (c->in_len + 16384 + 1 > c->in_capacity) {
		c->in_capacity = c->in_capacity ? 2 * c->in_capacity : 32768;
		c->in = must_have(realloc(c->in, c->in_capacity));
	}
	n = recv(c->fd, c->in + c->in_len, c->in_capacity - c->in_len - 1, 0);
	if (n <= 0) {
		reconnect(c);
		return;
	}
	c->in_len += (size_t)n;
	if (answer_size(c))
		take_answer(c);
	else if (c->in_len > INPUT_MAX)
		die("an answer is too large");
}

/* ---- the run ---- */

/* Answers that are not there at the end of the time do not count. */
static double run(void)
{
	struct connection *connections = must_have(calloc(options.connections, sizeof(*connections)));
	struct epoll_event events[64];
	uint64_t began;

	poller = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < options.connections; i++)
		open_connection(&connections[i]);
	began = stats_now_us();
	counted_from_us = began + (uint64_t)(options.warm_up * 1e6);
	ends_us = counted_from_us + (uint64_t)(options.seconds * 1e6);
	for (unsigned i = 0; i < options.connections; i++)
		next_request(&connections[i]);
	for (;;) {
		int n;

		if (by_count ? ended && answered == sent : stats_now_us() >= ends_us)
			break;
		n = epoll_wait(poller, events, 64, 100);
		for (int i = 0; i < n; i++)
			read_answer(events[i].data.ptr);
	}
	for (unsigned i = 0; i < options.connections; i++) {
		close(connections[i].fd);
		free(connections[i].in);
		free(connections[i].out);
	}
	free(connections);
	return by_count ? (double)(stats_now_us() - began) / 1e6 : options.seconds;
}

/* ---- the command line ---- */

static void usage(void)
{
	fputs("usage: http_load --port N --path PATH [--method M] [--body FILE] [--token-file FILE]\n"
	      "	[--connections N] [--seconds S] [--warm-up S] [--requests N] [--expect STATUS]\n"
	      "	[--ids FILE [--ids-once]] [--save-ids FILE]\n"
	      "A '%' in PATH stands for an id of --ids: at random, or each once in its order.\n",
	      stderr);
	exit(EXIT_CODE_USAGE);
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {
	    {"port", required_argument, NULL, 'p'},       {"path", required_argument, NULL, 'P'},
	    {"method", required_argument, NULL, 'm'},     {"body", required_argument, NULL, 'b'},
	    {"token-file", required_argument, NULL, 't'}, {"connections", required_argument, NULL, 'n'},
	    {"seconds", required_argument, NULL, 's'},    {"warm-up", required_argument, NULL, 'w'},
	    {"requests", required_argument, NULL, 'r'},   {"expect", required_argument, NULL, 'e'},
	    {"ids", required_argument, NULL, 'i'},        {"ids-once", no_argument, NULL, 'o'},
	    {"save-ids", required_argument, NULL, 'S'},   {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'p':
			options.port = (uint16_t)stats_parse_number("--port", optarg);
			break;
		case 'P':
			options.path = optarg;
			break;
		case 'm':
			options.method = optarg;
			break;
		case 'b':
			options.body_file = optarg;
			break;
		case 't':
			options.token_file = optarg;
			break;
		case 'n':
			options.connections = (unsigned)stats_parse_number("--connections", optarg);
			break;
		case 's':
			options.seconds = stats_parse_number("--seconds", optarg);
			break;
		case 'w':
			options.warm_up = stats_parse_number("--warm-up", optarg);
			break;
		case 'r':
			options.requests = (unsigned long)stats_parse_number("--requests", optarg);
			break;
		case 'e':
			options.expect = (unsigned)stats_parse_number("--expect", optarg);
			break;
		case 'i':
			options.ids_file = optarg;
			break;
		case 'o':
			options.ids_once = true;
			break;
		case 'S':
			options.save_ids = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || !options.port || !options.path || options.connections > CONNECTIONS_MAX)
		usage();
	if ((options.ids_once && !options.ids_file) || (options.requests && options.warm_up > 0))
		usage();
	by_count = options.requests || options.ids_once;
}

int main(int argc, char **argv)
{
	double seconds;
	size_t len;

	parse(argc, argv);
	if (options.body_file)
		body = read_file(options.body_file, &body_len);
	if (options.token_file) {
		token = read_file(options.token_file, &len);
		token[strcspn(token, "\r\n")] = '\0';
	}
	if (options.ids_file)
		read_ids();
	if (options.save_ids && !(saved = fopen(options.save_ids, "w")))
		die(options.save_ids);
	seconds = run();
	if (saved && fclose(saved))
		die(options.save_ids);
	printf("{\"connections\":%u,\"unexpected\":%lu,\"first_unexpected\":%u,\"reconnects\":%lu,",
	       options.connections, unexpected, first_unexpected, reconnects);
	stats_print(&stats, seconds, stdout);
	printf("}\n");
	stats_release(&stats);
	free(ids);
	free(body);
	free(token);
	return EXIT_CODE_OK;
}
