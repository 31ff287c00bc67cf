/* Listening sockets: TCP on IPv4 and IPv6, unix sockets, and pausing when descriptors run out. */
#include "daemon/listen.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 512
#define LISTEN_UNIX_MODE 0660
#define LISTEN_OPTIONS (LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC)
#define LISTEN_PAUSE_MS 100
#define LISTEN_LOG_MS 5000

struct door {
	struct evconnlistener *listener; /* http's; NULL once closed */
	char *unix_path;                 /* NULL for TCP */
	int lock_fd;
};

struct listen {
	struct event_base *base;
	struct http *http;
	struct door doors[CONFIG_LISTEN_MAX];
	size_t doors_len;
	struct event *resume;
	int reserve_fd; /* given up for a moment to turn a client away when no descriptor is left */
	bool room;
	bool paused;
	struct log_gate gate;
};

/* evhttp takes the one argument that a listener's callbacks share, so the error callback finds us here. */
static struct listen *the_listen;

static void set_enabled(struct listen *listen)
{
	for (size_t i = 0; i < listen->doors_len; i++) {
		if (listen->doors[i].listener == NULL)
			continue;
		if (listen->room && !listen->paused)
			evconnlistener_enable(listen->doors[i].listener);
		else
			evconnlistener_disable(listen->doors[i].listener);
	}
}

void listen_set_room(struct listen *listen, bool room)
{
	unsigned held_back;

	if (!room && log_gate_pass(&listen->gate, LISTEN_LOG_MS, &held_back))
		log_warn("no more connections are accepted for now: %u are open and in use",
			 http_connections(listen->http));
	listen->room = room;
	set_enabled(listen);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listen *listen = arg;

	(void)fd;
	(void)what;
	listen->paused = false;
	set_enabled(listen);
}

/* Takes one waiting client with the reserved descriptor and hangs up, so that it need not wait in vain. */
static void turn_one_away(struct listen *listen, int listener_fd)
{
	int fd;

	if (listen->reserve_fd < 0)
		return;
	fd_close(&listen->reserve_fd);
	fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
	fd_close(&fd);
	listen->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct timeval pause = {0, LISTEN_PAUSE_MS * 1000};
	struct listen *listen = the_listen;
	int error = EVUTIL_SOCKET_ERROR();
	unsigned held_back;

	(void)arg;
	if (log_gate_pass(&listen->gate, LISTEN_LOG_MS, &held_back))
		log_error("cannot accept a connection: %s; trying again in %d ms (%u lines held back)",
		          strerror(error), LISTEN_PAUSE_MS, held_back);
	if ((error == EMFILE || error == ENFILE) && !http_make_room(listen->http))
		turn_one_away(listen, evconnlistener_get_fd(listener));
	listen->paused = true;
	set_enabled(listen);
	event_add(listen->resume, &pause);
}

/* ---- opening ---- */

/* "127.0.0.1:80", "[::1]:80" */
static enum err parse_tcp(const char *address, struct sockaddr_storage *ret_sa, socklen_t *ret_len)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret_sa;
	struct sockaddr_in *four = (struct sockaddr_in *)ret_sa;
	const char *colon = strrchr(address, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len;
	uint64_t port;

	if (colon == NULL || str_parse_u64(colon + 1, 65535, &port) != E_OK)
		return E_CONFIG;
	len = (size_t)(colon - address);
	if (len >= sizeof(host))
		return E_CONFIG;
	memcpy(host, address, len);
	host[len] = '\0';
	memset(ret_sa, 0, sizeof(*ret_sa));
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		*ret_len = sizeof(*six);
		return inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1 ? E_OK : E_CONFIG;
	}
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)port);
	*ret_len = sizeof(*four);
	return inet_pton(AF_INET, host, &four->sin_addr) == 1 ? E_OK : E_CONFIG;
}

static enum err tcp_listen(const struct sockaddr_storage *sa, socklen_t sa_len, int *ret_fd)
{
	int one = 1;
	int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return E_IO;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    (sa->ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0) ||
	    bind(fd, (const struct sockaddr *)sa, sa_len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
		int error = errno;

		fd_close(&fd);
		errno = error;
		return error == EADDRINUSE ? E_EXISTS : error == EACCES ? E_DENIED : E_IO;
	}
	*ret_fd = fd;
	return E_OK;
}

static void log_tcp_address(int fd)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	char host[INET6_ADDRSTRLEN] = "?";

	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return;
	if (sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&sa;

		(void)inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host));
		log_notice("listening on '[%s]:%u'", host, (unsigned)ntohs(six->sin6_port));
	} else {
		const struct sockaddr_in *four = (const struct sockaddr_in *)&sa;

		(void)inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
		log_notice("listening on '%s:%u'", host, (unsigned)ntohs(four->sin_port));
	}
}

/* Opens the socket of one door; the door keeps the path and the lock of a unix socket. */
static enum err open_socket(const char *address, struct door *door, int *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = 0;
	enum err e;

	if (str_starts_with(address, "unix:")) {
		door->unix_path = strdup(address + strlen("unix:"));
		if (door->unix_path == NULL)
			return E_NOMEM;
		return fd_unix_listen(door->unix_path, LISTEN_UNIX_MODE, ret_fd, &door->lock_fd);
	}
	e = parse_tcp(address, &sa, &sa_len);
	return e == E_OK ? tcp_listen(&sa, sa_len, ret_fd) : e;
}

static enum err open_door(struct listen *listen, const char *address)
{
	struct door *door = &listen->doors[listen->doors_len];
	struct evconnlistener *listener;
	int fd = -1;
	enum err e;

	door->lock_fd = -1;
	listen->doors_len++;
	e = open_socket(address, door, &fd);
	if (e != E_OK) {
		if (e == E_EXISTS)
			log_error("cannot listen on '%s': another process has it", address);
		else if (e == E_CONFIG)
			log_error("cannot listen on '%s': not an address", address);
		else if (e == E_IO || e == E_DENIED)
			log_error("cannot listen on '%s': %s", address, strerror(errno));
		else if (e == E_LIMIT)
			log_error("cannot listen on '%s': the path is too long for a unix socket", address);
		else
			log_err(e, "cannot listen on '%s'", address);
		return e;
	}
	if (door->unix_path == NULL)
		log_tcp_address(fd);
	else
		log_notice("listening on '%s'", address);
	listener = evconnlistener_new(listen->base, NULL, NULL, LISTEN_OPTIONS, 0, fd);
	if (listener == NULL) {
		fd_close(&fd);
		return E_NOMEM;
	}
	evconnlistener_set_error_cb(listener, on_accept_error);
	e = http_serve(listen->http, listener);
	if (e != E_OK) {
		evconnlistener_free(listener);
		return e;
	}
	door->listener = listener;
	return E_OK;
}

enum err listen_new(struct event_base *base, const struct config_http *config, struct http *http,
                    struct listen **ret_listen)
{
	struct listen *listen = calloc(1, sizeof(*listen));
	enum err e = E_OK;

	if (listen == NULL)
		return E_NOMEM;
	the_listen = listen;
	listen->base = base;
	listen->http = http;
	listen->room = true;
	listen->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	listen->resume = evtimer_new(base, on_resume, listen);
	if (listen->resume == NULL)
		e = E_NOMEM;
	for (size_t i = 0; e == E_OK && i < config->listen_len; i++)
		e = open_door(listen, config->listen[i]);
	if (e != E_OK) {
		listen_stop(listen);
		listen_free(listen);
		return e;
	}
	*ret_listen = listen;
	return E_OK;
}

void listen_stop(struct listen *listen)
{
	http_stop_listening(listen->http);
	for (size_t i = 0; i < listen->doors_len; i++) {
		struct door *door = &listen->doors[i];

		door->listener = NULL;
		if (door->unix_path != NULL && door->lock_fd >= 0)
			(void)unlink(door->unix_path);
		fd_close(&door->lock_fd);
	}
}

void listen_free(struct listen *listen)
{
	if (listen == NULL)
		return;
	for (size_t i = 0; i < listen->doors_len; i++)
		free(listen->doors[i].unix_path);
	if (listen->resume != NULL)
		event_free(listen->resume);
	fd_close(&listen->reserve_fd);
	free(listen);
	the_listen = NULL;
}
