/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, our own or the service manager's, and pausing when descriptors run out. */
#include "daemon/listen.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "config/config_table.h"
#include "daemon/conn_set.h"
#include "loop/timer.h"
#include "systemd/service.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096 /* or what net.core.somaxconn allows */
#define LISTEN_UNIX_MODE 0660
#define LISTEN_OPTIONS (LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC)
#define LISTEN_PAUSE_MS 100
#define LISTEN_SEND_BYTES (128 * 1024) /* the kernel doubles it */
#define LISTEN_RECEIVE_BYTES (64 * 1024)
#define LISTEN_LOG_MS 5000
#define LISTEN_INHERITED_TLS "https"
#define LISTEN_INHERITED "http" /* FileDescriptorName= of the sockets that are ours */
#define DOOR_ADDRESS_SIZE (sizeof("unix:") + sizeof(struct sockaddr_un) + ADDRESS_PORT_SIZE)

struct door {
	struct listen *listen;
	struct tls *tls;                 /* NULL: plain HTTP */
	struct evconnlistener *listener; /* NULL once closed */
	char *unix_path;                 /* NULL for TCP */
	int lock_fd;
};

struct listen {
	struct event_base *base;
	struct conn_set *conns;
	struct tls *tls; /* NULL: none is configured */
	bool is_for_metrics;
	struct door doors[2 * CONFIG_LISTEN_MAX];
	size_t doors_len;
	struct timer resume;
	int reserve_fd; /* given up for a moment to turn a client away when no descriptor is left */
	bool room;
	bool paused;
	struct log_gate gate;
};

static void set_enabled(struct listen *listen)
{
	for (size_t i = 0; i < listen->doors_len; i++) {
		if (!listen->doors[i].listener)
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

	if (!room && !listen->is_for_metrics && log_gate_pass(&listen->gate, LISTEN_LOG_MS, &held_back))
		log_warn("no more connections are accepted for now: %u are open and in use",
			 conn_set_len(listen->conns));
	listen->room = room;
	set_enabled(listen);
}

static void on_resume(void *arg)
{
	struct listen *listen = arg;

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
	struct door *door = arg;
	struct listen *listen = door->listen;
	int error = EVUTIL_SOCKET_ERROR();
	unsigned held_back;

	if (log_gate_pass(&listen->gate, LISTEN_LOG_MS, &held_back))
		log_error("cannot accept a connection: %s; trying again in %d ms (%u lines held back)",
			  strerror(error), LISTEN_PAUSE_MS, held_back);
	if ((error == EMFILE || error == ENFILE) && !conn_set_make_room(listen->conns))
		turn_one_away(listen, evconnlistener_get_fd(listener));
	listen->paused = true;
	set_enabled(listen);
	timer_start(&listen->resume, LISTEN_PAUSE_MS);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
		      int peer_len, void *arg)
{
	struct door *door = arg;

	(void)listener;
	(void)peer_len;
	conn_set_accept(door->listen->conns, (int)fd, peer, door->tls);
}

/* ---- opening ---- */

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

/* As [http] listen has it: "127.0.0.1:80", "[::1]:80", "unix:/PATH", "unix:@NAME" (abstract). */
static void format_socket(int fd, char text[DOOR_ADDRESS_SIZE])
{
	struct sockaddr_un local = {.sun_family = AF_UNSPEC};
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
	} sa = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t len = sizeof(sa);
	struct address a;
	uint16_t port;
	int path_len;

	if (getsockname(fd, &sa.any, &len) != 0)
		sa.any.sa_family = AF_UNSPEC;
	a = address_of_socket(&sa.any, &port);
	if (a.family != ADDRESS_UNIX) {
		address_format_port(&a, port, text);
		return;
	}
	memcpy(&local, &sa, sizeof(local));
	path_len = (int)len - (int)offsetof(struct sockaddr_un, sun_path);
	if (path_len > 1 && local.sun_path[0] == '\0')
		snprintf(text, DOOR_ADDRESS_SIZE, "unix:@%.*s", path_len - 1, local.sun_path + 1);
	else
		snprintf(text, DOOR_ADDRESS_SIZE, "unix:%.*s", path_len, local.sun_path);
}

/* Opens the socket of one door; the door keeps the path and the lock of a unix socket. */
static enum err listen_open_socket(const char *address, struct door *door, int *ret_fd)
{
	struct sockaddr_storage sa;
	struct address parsed;
	socklen_t sa_len;
	uint16_t port;

	if (str_starts_with(address, "unix:")) {
		door->unix_path = strdup(address + strlen("unix:"));
		if (!door->unix_path)
			return E_NOMEM;
		return fd_unix_listen(door->unix_path, LISTEN_UNIX_MODE, ret_fd, &door->lock_fd);
	}
	if (!address_parse_port(address, &parsed, &port))
		return E_CONFIG;
	address_to_socket(&parsed, port, &sa, &sa_len);
	return tcp_listen(&sa, sa_len, ret_fd);
}

static void log_refusal(const char *address, enum err e)
{
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
}

/*
 * Accepted TCP sockets inherit these.  Otherwise the kernel would keep megabytes
 * for each client that does not read, and charge them to the service.
 */
static void limit_buffers(int fd)
{
	int sent = LISTEN_SEND_BYTES, received = LISTEN_RECEIVE_BYTES;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sent, sizeof(sent));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &received, sizeof(received));
}

/* Takes the socket: what comes in there is served. */
static enum err serve_door(struct door *door, int fd)
{
	door->listener = evconnlistener_new(door->listen->base, on_accept, door, LISTEN_OPTIONS, 0, fd);
	if (!door->listener) {
		fd_close(&fd);
		return E_NOMEM;
	}
	evconnlistener_set_error_cb(door->listener, on_accept_error);
	limit_buffers(fd);
	return E_OK;
}

static struct door *add_door(struct listen *listen, struct tls *tls)
{
	struct door *door = &listen->doors[listen->doors_len++];

	door->listen = listen;
	door->tls = tls;
	door->lock_fd = -1;
	return door;
}

/*
 * The other family's loopback, which this machine has not got (no IPv6 in the
 * kernel, or disabled): nobody can be waiting there, nor listen in our place.
 */
static bool is_missing_loopback(const char *address, enum err e)
{
	return e == E_IO && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) &&
	       !str_starts_with(address, "unix:") && config_listen_is_local(address);
}

static enum err open_door(struct listen *listen, const char *address, struct tls *tls)
{
	struct door *door = add_door(listen, tls);
	char real[DOOR_ADDRESS_SIZE];
	int fd = -1;
	enum err e = listen_open_socket(address, door, &fd);

	if (!listen->is_for_metrics && is_missing_loopback(address, e)) {
		listen->doors_len--;
		log_notice("not listening on '%s', which this machine does not have: %s", address,
			   strerror(errno));
		return E_OK;
	}
	if (e != E_OK) {
		log_refusal(address, e);
		return e;
	}
	format_socket(fd, real);
	if (listen->is_for_metrics)
		log_notice("figures for monitoring are shown at 'http://%s/metrics'", real);
	else
		log_notice("listening on '%s'%s", real, tls ? " with TLS" : "");
	return serve_door(door, fd);
}

/* ---- sockets that the service manager holds ---- */

static bool is_for_tls(const struct service_socket *socket)
{
	return strcmp(socket->name, LISTEN_INHERITED_TLS) == 0;
}

static enum err check_inherited(const struct listen *listen, const struct service_socket *socket,
				const struct config_http *config, char address[DOOR_ADDRESS_SIZE])
{
	int domain;
	enum err e;

	if (strcmp(socket->name, LISTEN_INHERITED) != 0 && !is_for_tls(socket)) {
		log_error("the service manager gave a socket named '%s', expected '%s' or '%s' "
			  "(FileDescriptorName=)",
			  socket->name, LISTEN_INHERITED, LISTEN_INHERITED_TLS);
		return E_CONFIG;
	}
	e = service_socket_prepare(socket, &domain);
	if (e != E_OK) {
		log_error("descriptor %d ('%s') of the service manager is %s", socket->fd, socket->name,
			  e == E_INVAL ? "not a listening stream socket" : strerror(errno));
		return e == E_INVAL ? E_CONFIG : e;
	}
	format_socket(socket->fd, address);
	if (is_for_tls(socket) && !listen->tls) {
		log_error("the service manager gave '%s' for TLS, and there is no certificate: set [http] "
			  "tls_certificate and tls_key",
			  address);
		return E_CONFIG;
	}
	if (!is_for_tls(socket) && !config->allow_plain_http && domain != AF_UNIX &&
	    !config_listen_is_local(address)) {
		log_error("plain HTTP on '%s', a socket of the service manager, can be read by others on the "
			  "way: ListenStream=127.0.0.1:PORT, or say [http] allow_plain_http = yes",
			  address);
		return E_CONFIG;
	}
	return E_OK;
}

/* Whether a socket of the service manager is where [http] listen wants one; port 0 there is any port. */
static bool is_at(const char *real, const char *wanted)
{
	struct address real_address, wanted_address;
	uint16_t real_port, wanted_port;

	if (!address_parse_port(real, &real_address, &real_port) ||
	    !address_parse_port(wanted, &wanted_address, &wanted_port))
		return strcmp(real, wanted) == 0;
	return address_compare(&real_address, &wanted_address) == 0 &&
	       (wanted_port == 0 || real_port == wanted_port);
}

/* No socket can be at an address of a family that this machine has not got. */
static bool is_absent(const char *wanted)
{
	struct sockaddr_storage sa;
	struct address parsed;
	socklen_t len;
	uint16_t port;
	bool absent;
	int fd;

	if (!address_parse_port(wanted, &parsed, &port))
		return false;
	address_to_socket(&parsed, 0, &sa, &len);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	absent = (fd < 0 && errno == EAFNOSUPPORT) ||
		 (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, len) != 0 && errno == EADDRNOTAVAIL);
	fd_close(&fd);
	return absent;
}

/* Whoever changed [http] listen thinks that it is in force. */
static void warn_of_other_sockets(const struct config *config, const char real[][DOOR_ADDRESS_SIZE],
				  size_t len)
{
	const struct config_http *http = &config->http;
	bool differ = false;
	struct buf has, wants;

	buf_init(&has, CONFIG_LISTEN_MAX * DOOR_ADDRESS_SIZE);
	buf_init(&wants, CONFIG_LISTEN_MAX * DOOR_ADDRESS_SIZE);
	for (size_t i = 0; i < len; i++) {
		bool is_wanted = false;

		for (size_t w = 0; w < http->listen_len; w++)
			is_wanted = is_wanted || is_at(real[i], http->listen[w]);
		differ = differ || !is_wanted;
		buf_printf(&has, "%s%s", i > 0 ? ", " : "", real[i]);
	}
	for (size_t w = 0; w < http->listen_len; w++) {
		bool is_there = is_absent(http->listen[w]);

		for (size_t i = 0; i < len; i++)
			is_there = is_there || is_at(real[i], http->listen[w]);
		differ = differ || !is_there;
		buf_printf(&wants, "%s%s", w > 0 ? ", " : "", http->listen[w]);
	}
	if (differ)
		log_warn("csrd.socket has '%s', [http] listen says '%s': the former is served; 'csrctl setup "
			 "--token %s' gives csrd.socket what [http] listen says",
			 buf_text(&has), buf_text(&wants), config->tokens[0].name);
	buf_release(&has);
	buf_release(&wants);
}

/* ret_len: of those for plain HTTP, whose addresses are in `real`; ret_tls_len: of those for TLS. */
static enum err open_inherited(struct listen *listen, const struct config *config,
			       char real[][DOOR_ADDRESS_SIZE], size_t *ret_len, size_t *ret_tls_len)
{
	const struct service_socket *sockets;
	size_t len = service_sockets(&sockets), plain_len = 0;
	char address[DOOR_ADDRESS_SIZE];
	enum err e = E_OK;

	if (len > CONFIG_LISTEN_MAX) {
		log_error("the service manager gave %zu sockets, at most %d are of use", len,
			  CONFIG_LISTEN_MAX);
		return E_CONFIG;
	}
	for (size_t i = 0; e == E_OK && i < len; i++) {
		bool for_tls = is_for_tls(&sockets[i]);

		e = check_inherited(listen, &sockets[i], &config->http, address);
		if (e != E_OK)
			return e;
		log_notice("listening on '%s'%s, a socket of the service manager, instead of [http] %s",
			   address, for_tls ? " with TLS" : "", for_tls ? "listen_tls" : "listen");
		if (!for_tls)
			memcpy(real[plain_len++], address, sizeof(address));
		e = serve_door(add_door(listen, for_tls ? listen->tls : NULL), sockets[i].fd);
	}
	*ret_len = plain_len;
	*ret_tls_len = len - plain_len;
	return e;
}

static enum err open_doors(struct listen *listen, const struct config *config)
{
	char inherited[CONFIG_LISTEN_MAX][DOOR_ADDRESS_SIZE];
	size_t inherited_len = 0, inherited_tls_len = 0;
	const struct config_http *http = &config->http;
	enum err e = open_inherited(listen, config, inherited, &inherited_len, &inherited_tls_len);

	if (e == E_OK && inherited_len > 0)
		warn_of_other_sockets(config, inherited, inherited_len);
	for (size_t i = 0; e == E_OK && inherited_len == 0 && i < http->listen_len; i++)
		e = open_door(listen, http->listen[i], NULL);
	for (size_t i = 0; e == E_OK && inherited_tls_len == 0 && i < http->listen_tls_len; i++)
		e = open_door(listen, http->listen_tls[i], listen->tls);
	if (e == E_OK && listen->doors_len == 0) {
		log_error("this machine has none of the addresses of [http] listen");
		return E_IO;
	}
	return e;
}

static struct listen *listen_make(struct event_base *base, struct conn_set *conns)
{
	struct listen *listen = calloc(1, sizeof(*listen));

	if (!listen)
		return NULL;
	listen->base = base;
	listen->conns = conns;
	listen->room = true;
	listen->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	timer_init(&listen->resume, base, on_resume, listen);
	return listen;
}

/* With its doors open, or E why they are not. */
static enum err listen_hand_over(struct listen *listen, enum err e, struct listen **ret_listen)
{
	if (e != E_OK) {
		listen_stop(listen);
		listen_free(listen);
		return e;
	}
	*ret_listen = listen;
	return E_OK;
}

enum err listen_new(struct event_base *base, const struct config *config, struct conn_set *conns,
		    struct tls *tls, struct listen **ret_listen)
{
	struct listen *listen = listen_make(base, conns);

	if (!listen)
		return E_NOMEM;
	listen->tls = tls;
	return listen_hand_over(listen, open_doors(listen, config), ret_listen);
}

enum err listen_new_metrics(struct event_base *base, const struct config *config, struct conn_set *conns,
			    struct listen **ret_listen)
{
	struct listen *listen = listen_make(base, conns);

	if (!listen)
		return E_NOMEM;
	listen->is_for_metrics = true;
	return listen_hand_over(listen, open_door(listen, config->metrics.listen[0], NULL), ret_listen);
}

void listen_stop(struct listen *listen)
{
	for (size_t i = 0; i < listen->doors_len; i++) {
		struct door *door = &listen->doors[i];

		if (door->listener)
			evconnlistener_free(door->listener);
		door->listener = NULL;
		if (door->unix_path && door->lock_fd >= 0)
			(void)unlink(door->unix_path);
		fd_close(&door->lock_fd);
	}
}

void listen_free(struct listen *listen)
{
	if (!listen)
		return;
	for (size_t i = 0; i < listen->doors_len; i++)
		free(listen->doors[i].unix_path);
	timer_stop(&listen->resume);
	fd_close(&listen->reserve_fd);
	free(listen);
}
