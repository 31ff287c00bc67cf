/* SPDX-License-Identifier: Apache-2.0 */
/* The programs' side of the contract with systemd, over libsystemd: messages, watchdog, inherited sockets. */
#include "systemd/service.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define STATUS_SIZE 1024
#define TEXT_SIZE (STATUS_SIZE + 128)
#define QUEUE_MAX 16
#define PROGRESS_EVERY_MS 5000
#define PROGRESS_GIVES_MS 30000
#define CLOSE_WITHIN_MS 1000

/* Of all but the first, only the newest is of use. */
enum kind { KIND_STATE, KIND_STATUS, KIND_EXTEND, KIND_FEED };

struct message {
	enum kind kind;
	uint64_t extend_ms;
	char text[TEXT_SIZE];
};

/* One, because a process has one manager; the environment that names it carries no context. */
static struct {
	bool managed; /* these three are written by service_open alone */
	uint64_t watchdog_ms;
	struct service_socket sockets[SERVICE_SOCKETS_MAX];
	size_t sockets_len;

	pthread_mutex_t lock;
	pthread_cond_t changed;          /* clock: monotonic */
	struct message queue[QUEUE_MAX]; /* all below: under the lock */
	unsigned queue_len;
	bool sending;
	char status[STATUS_SIZE]; /* the last one */
	service_progress_fn progress;
	void *progress_arg;
	uint64_t progress_at_ms;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the thread ---- */

static void wait_locked(uint64_t until_ms)
{
	(void)thread_cond_wait_until(&service.changed, &service.lock, until_ms);
}

static void remove_locked(unsigned index)
{
	service.queue_len--;
	memmove(&service.queue[index], &service.queue[index + 1],
		(service.queue_len - index) * sizeof(service.queue[0]));
}

/* A queue that is full belongs to a manager that has not read for a long time: the message is lost. */
static void service_put_locked(enum kind kind, const char *text, uint64_t extend_ms)
{
	struct message *m;

	for (unsigned i = service.queue_len; kind != KIND_STATE && i-- > 0;)
		if (service.queue[i].kind == kind)
			remove_locked(i);
	if (service.queue_len == QUEUE_MAX)
		return;
	m = &service.queue[service.queue_len++];
	m->kind = kind;
	m->extend_ms = extend_ms;
	snprintf(m->text, sizeof(m->text), "%s", text);
	pthread_cond_broadcast(&service.changed);
}

/* A shorter time takes nothing back of a longer one. */
static void put_extend_locked(uint64_t ms)
{
	char text[64];

	for (unsigned i = 0; i < service.queue_len; i++)
		if (service.queue[i].kind == KIND_EXTEND && service.queue[i].extend_ms > ms)
			return;
	snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%" PRIu64, ms * 1000);
	service_put_locked(KIND_EXTEND, text, ms);
}

static void ask_progress_locked(uint64_t now_ms)
{
	if (now_ms < service.progress_at_ms)
		return;
	service.progress_at_ms = now_ms + PROGRESS_EVERY_MS;
	if (service.progress(service.progress_arg))
		put_extend_locked(PROGRESS_GIVES_MS);
}

static void *send_messages(void *arg)
{
	bool complained = false;

	(void)arg;
	pthread_mutex_lock(&service.lock);
	for (;;) {
		struct message m;
		int rc;

		if (service.progress)
			ask_progress_locked(clock_ms());
		if (service.queue_len == 0) {
			if (service.progress)
				wait_locked(service.progress_at_ms);
			else
				pthread_cond_wait(&service.changed, &service.lock);
			continue;
		}
		m = service.queue[0];
		remove_locked(0);
		service.sending = true;
		pthread_mutex_unlock(&service.lock);
		rc = sd_notify(0, m.text);
		if (rc < 0 && !complained)
			log_warn("cannot notify the service manager: %s", strerror(-rc));
		complained = rc < 0;
		pthread_mutex_lock(&service.lock);
		service.sending = false;
		pthread_cond_broadcast(&service.changed);
	}
	return NULL;
}

static enum err start_thread(void)
{
	thread_cond_init(&service.changed);
	/* Not to be joined: it may be stuck for good in a message that nobody takes. */
	enum err e = thread_start("notify", send_messages, NULL, NULL);
	if (e != E_OK)
		log_error("cannot start the thread that notifies the service manager: %s", strerror(errno));
	return e;
}

/* ---- opening and closing ---- */

static enum err take_sockets(void)
{
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);

	if (count < 0) {
		log_error("the sockets of the service manager (LISTEN_FDS) cannot be taken: %s",
			  strerror(-count));
		return count == -ENOMEM ? E_NOMEM : E_CONFIG;
	}
	if (count > SERVICE_SOCKETS_MAX) {
		log_error("the service manager gave %d sockets, at most %d are of use", count,
			  SERVICE_SOCKETS_MAX);
		return E_CONFIG; /* names are left: the process ends */
	}
	for (int i = 0; i < count; i++)
		service.sockets[i] = (struct service_socket){SD_LISTEN_FDS_START + i, names[i]};
	service.sockets_len = (size_t)count;
	free(names); /* the names themselves live on */
	return E_OK;
}

enum err service_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	uint64_t usec = 0;
	enum err e = take_sockets();

	if (e != E_OK)
		return e;
	/* NOTIFY_SOCKET itself stays: sd_notify(3) asks for it each time. */
	if (!path || path[0] == '\0')
		return E_OK;
	if (sd_watchdog_enabled(1, &usec) > 0)
		service.watchdog_ms = usec < 1000 ? 1 : usec / 1000;
	e = start_thread();
	service.managed = e == E_OK;
	return e;
}

void service_close(void)
{
	uint64_t until = clock_ms() + CLOSE_WITHIN_MS;

	if (!service.managed)
		return;
	pthread_mutex_lock(&service.lock);
	service.progress = NULL;
	while ((service.queue_len > 0 || service.sending) && clock_ms() < until)
		wait_locked(until);
	pthread_mutex_unlock(&service.lock);
}

bool service_is_managed(void)
{
	return service.managed;
}

/* ---- telling ---- */

/* One line of UTF-8, or the manager throws the whole message away. */
static void service_put_line(char line[STATUS_SIZE], const char *format, va_list args) PRINTF_LIKE(2, 0);
static void service_put_line(char line[STATUS_SIZE], const char *format, va_list args)
{
	char text[STATUS_SIZE];
	size_t len, pos = 0, service_put = 0;

	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	len = strlen(text);
	while (pos < len) {
		size_t start = pos;
		uint32_t code_point;

		if (!utf8_next(text, len, &pos, &code_point)) {
			pos = start + 1;
			line[service_put++] = '?';
		} else if (utf8_is_unsafe_in_names(code_point)) {
			line[service_put++] = '?';
		} else {
			memcpy(line + service_put, text + start, pos - start);
			service_put += pos - start;
		}
	}
	line[service_put] = '\0';
}

/* With `state`, or alone when the status is a new one. */
static void service_tell(const char *state, const char *format, va_list args) PRINTF_LIKE(2, 0);
static void service_tell(const char *state, const char *format, va_list args)
{
	char line[STATUS_SIZE], text[TEXT_SIZE];

	if (!service.managed)
		return;
	service_put_line(line, format, args);
	snprintf(text, sizeof(text), "%s%sSTATUS=%s", state ? state : "", state ? "\n" : "", line);
	pthread_mutex_lock(&service.lock);
	if (state || strcmp(line, service.status) != 0)
		service_put_locked(state ? KIND_STATE : KIND_STATUS, text, 0);
	memcpy(service.status, line, sizeof(line));
	pthread_mutex_unlock(&service.lock);
}

void service_ready(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	service_tell("READY=1", format, args);
	va_end(args);
}

void service_status(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	service_tell(NULL, format, args);
	va_end(args);
}

void service_stopping(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	service_tell("STOPPING=1", format, args);
	va_end(args);
}

static void service_put(enum kind kind, const char *text)
{
	if (!service.managed)
		return;
	pthread_mutex_lock(&service.lock);
	service_put_locked(kind, text, 0);
	pthread_mutex_unlock(&service.lock);
}

void service_reloading(void)
{
	struct timespec now;
	char text[96];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	service_put(KIND_STATE, text);
}

void service_extend(uint64_t ms)
{
	if (!service.managed)
		return;
	pthread_mutex_lock(&service.lock);
	put_extend_locked(ms);
	pthread_mutex_unlock(&service.lock);
}

void service_extend_while(service_progress_fn progress, void *arg)
{
	if (!service.managed)
		return;
	pthread_mutex_lock(&service.lock);
	service.progress = progress;
	service.progress_arg = arg;
	service.progress_at_ms = 0;
	pthread_cond_broadcast(&service.changed);
	pthread_mutex_unlock(&service.lock);
}

uint64_t service_watchdog_ms(void)
{
	return service.watchdog_ms;
}

void service_feed(void)
{
	service_put(KIND_FEED, "WATCHDOG=1");
}

/* ---- sockets ---- */

size_t service_sockets(const struct service_socket **ret_sockets)
{
	*ret_sockets = service.sockets;
	return service.sockets_len;
}

static int service_socket_option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

const char *service_socket_fault(const struct service_socket *socket)
{
	int domain = service_socket_option(socket->fd, SO_DOMAIN);

	switch (service_socket_option(socket->fd, SO_TYPE)) {
	case -1:
		return "no socket";
	case SOCK_STREAM:
		break;
	case SOCK_DGRAM:
		return "a datagram socket";
	case SOCK_SEQPACKET:
		return "a socket of type SOCK_SEQPACKET";
	default:
		return "a socket of another type";
	}
	if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
		return "a socket of another address family";
	return service_socket_option(socket->fd, SO_ACCEPTCONN) == 1 ? NULL : "a socket that does not listen";
}

enum err service_socket_prepare(const struct service_socket *socket, int *ret_domain)
{
	if (service_socket_fault(socket))
		return E_INVAL;
	if (fd_set_nonblocking(socket->fd) != E_OK)
		return E_IO;
	*ret_domain = service_socket_option(socket->fd, SO_DOMAIN);
	return E_OK;
}
