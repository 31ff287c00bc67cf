/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, our own or the service manager's, and pausing when descriptors run out. */
#include "daemon/listen.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "config/config_table.h"
#include "daemon/conn_set.h"
#include "daemon/inherited.h"
#include "daemon/listen_socket.h"
#include "loop/timer.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_OPTIONS (LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC)
#define LISTEN_PAUSE_MS 100
#define LISTEN_SEND_BYTES (128 * 1024) /* the kernel doubles it */
#define LISTEN_RECEIVE_BYTES (64 * 1024)
#define LISTEN_LOG_MS 5000

struct door {
	struct listen *listen;
	struct conn_door spoken;
	struct evconnlistener *listener; /* NULL once closed */
	char *unix_path;                 /* NULL for TCP */
	int lock_fd;
};

struct listen {
	struct event_base *base;
	struct conn_set *conns;
	const struct config_http *http; /* NULL: for the figures */
	struct tls *tls;                /* NULL: none is configured */
	bool is_for_metrics;
	struct door doors[SERVICE_SOCKETS_MAX + CONFIG_LISTEN_MAX];
	size_t doors_len;
	unsigned proxy_doors; /* bits: those of [http] proxy_protocol_on that are open */
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
	conn_set_accept(door->listen->conns, (int)fd, peer, door->spoken);
}

/* ---- opening ---- */

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
	door->spoken = (struct conn_door){.tls = tls};
	door->lock_fd = -1;
	return door;
}

static void mark_door(struct door *door, const char *real)
{
	const struct config_http *http = door->listen->http;

	door->spoken.takes_proxy = http && http->proxy_protocol_on_len == 0;
	for (size_t i = 0; http && i < http->proxy_protocol_on_len; i++) {
		if (!listen_socket_is_at(real, http->proxy_protocol_on[i]))
			continue;
		door->spoken.takes_proxy = true;
		door->listen->proxy_doors |= 1u << i;
	}
}

static void warn_of_no_proxy_door(const struct listen *listen)
{
	for (size_t i = 0; i < listen->http->proxy_protocol_on_len; i++)
		if (!(listen->proxy_doors & 1u << i))
			log_warn("nobody listens on '%s' of [http] proxy_protocol_on: it must be as in "
				 "listen or listen_tls, or as in csrd.socket",
				 listen->http->proxy_protocol_on[i]);
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
	char real[LISTEN_ADDRESS_SIZE];
	int fd = -1;
	enum err e = listen_socket_open(address, &fd, &door->unix_path, &door->lock_fd);

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
	listen_socket_format(fd, real);
	if (listen->is_for_metrics)
		log_notice("figures for monitoring are shown at 'http://%s/metrics'", real);
	else
		log_notice("listening on '%s'%s", real, tls ? " with TLS" : "");
	mark_door(door, real);
	return serve_door(door, fd);
}

/* Serves those of that kind; `instead` is what the configuration calls them. */
static enum err open_inherited(struct listen *listen, const struct inherited_set *set,
			       enum inherited_kind kind, const char *instead)
{
	struct tls *tls = kind == INHERITED_HTTPS ? listen->tls : NULL;
	enum err e = E_OK;

	for (size_t i = 0; e == E_OK && i < set->len[kind]; i++) {
		const struct inherited *socket = &set->of[kind][i];
		struct door *door = add_door(listen, tls);

		if (listen->is_for_metrics)
			log_notice("figures for monitoring are shown at 'http://%s/metrics', a socket of the "
				   "service manager",
				   socket->address);
		else
			log_notice(
			    "listening on '%s'%s, a socket of the service manager, instead of [http] %s",
			    socket->address, tls ? " with TLS" : "", instead);
		mark_door(door, socket->address);
		e = serve_door(door, socket->fd);
	}
	return e;
}

static enum err open_doors(struct listen *listen, const struct config *config)
{
	const struct config_http *http = &config->http;
	struct inherited_set set;
	enum err e = inherited_take(config, &set);

	if (e != E_OK)
		return e;
	for (size_t kind = 0; kind < INHERITED_KINDS; kind++)
		inherited_warn_of_others(config, &set, (enum inherited_kind)kind);
	e = open_inherited(listen, &set, INHERITED_HTTP, "listen");
	if (e == E_OK)
		e = open_inherited(listen, &set, INHERITED_HTTPS, "listen_tls");
	for (size_t i = 0; e == E_OK && set.len[INHERITED_HTTP] == 0 && i < http->listen_len; i++)
		e = open_door(listen, http->listen[i], NULL);
	for (size_t i = 0; e == E_OK && set.len[INHERITED_HTTPS] == 0 && i < http->listen_tls_len; i++)
		e = open_door(listen, http->listen_tls[i], listen->tls);
	if (e == E_OK && listen->doors_len == 0) {
		log_error("this machine has none of the addresses of [http] listen");
		return E_IO;
	}
	if (e == E_OK)
		warn_of_no_proxy_door(listen);
	return e;
}

/* Its sockets were checked with the others. */
static enum err open_metrics_doors(struct listen *listen, const struct config *config)
{
	struct inherited_set set;
	enum err e = inherited_take(config, &set);

	if (e == E_OK && set.len[INHERITED_METRICS] > 0)
		return open_inherited(listen, &set, INHERITED_METRICS, "listen");
	return e == E_OK ? open_door(listen, config->metrics.listen[0], NULL) : e;
}

bool listen_has_metrics(const struct config *config)
{
	return config->metrics.listen_len > 0 || inherited_has(INHERITED_METRICS);
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
	listen->http = &config->http;
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
	return listen_hand_over(listen, open_metrics_doors(listen, config), ret_listen);
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
