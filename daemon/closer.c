/* Lingering close: reads and drops what a client still sends, bounded in time, bytes and number. */
#include "daemon/closer.h"

#include "base/fd.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MAX 32
#define LINGER_SECONDS 2
#define LINGER_BYTES (1024 * 1024)

struct socket_left {
	struct closer *closer;
	int fd;
	struct event *readable;
	struct event *timeout;
	size_t bytes;
	TAILQ_ENTRY(socket_left) next;
};

struct closer {
	struct event_base *base;
	TAILQ_HEAD(, socket_left) sockets;
	unsigned len;
};

enum err closer_new(struct event_base *base, struct closer **ret_closer)
{
	struct closer *closer = calloc(1, sizeof(*closer));

	if (closer == NULL)
		return E_NOMEM;
	closer->base = base;
	TAILQ_INIT(&closer->sockets);
	*ret_closer = closer;
	return E_OK;
}

static void socket_left_free(struct socket_left *s)
{
	if (s->readable != NULL)
		event_free(s->readable);
	if (s->timeout != NULL)
		event_free(s->timeout);
	fd_close(&s->fd);
	free(s);
}

static void drop(struct socket_left *s)
{
	TAILQ_REMOVE(&s->closer->sockets, s, next);
	s->closer->len--;
	socket_left_free(s);
}

void closer_free(struct closer *closer)
{
	if (closer == NULL)
		return;
	while (!TAILQ_EMPTY(&closer->sockets))
		drop(TAILQ_FIRST(&closer->sockets));
	free(closer);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	drop(arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct socket_left *s = arg;
	char nothing[16384];
	ssize_t n;

	(void)what;
	n = recv((int)fd, nothing, sizeof(nothing), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || (s->bytes += (size_t)n) > LINGER_BYTES)
		drop(s);
}

void closer_add(struct closer *closer, int fd)
{
	struct timeval limit = {LINGER_SECONDS, 0};
	struct socket_left *s;

	if (closer->len == LINGER_MAX)
		return;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return;
	s->closer = closer;
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (s->fd < 0 || shutdown(s->fd, SHUT_WR) != 0)
		goto fail;
	s->readable = event_new(closer->base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
	s->timeout = evtimer_new(closer->base, on_timeout, s);
	if (s->readable == NULL || s->timeout == NULL)
		goto fail;
	if (event_add(s->readable, NULL) != 0 || event_add(s->timeout, &limit) != 0)
		goto fail;
	TAILQ_INSERT_TAIL(&closer->sockets, s, next);
	closer->len++;
	return;
fail:
	socket_left_free(s);
}
