/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program sends its service manager, and what it gets from it:
 * sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).
 *
 * Nothing here blocks: a separate thread does the sending, so a
 * manager that stops reading (PID 1 that crashed and froze) costs messages and
 * never holds up a loop.  Messages arrive in the order of the calls; what is
 * out of date before it is sent is left out.
 *
 * Without a manager (NOTIFY_SOCKET not set) there is no thread, and every call
 * does nothing.  The functions may be called on any thread, except
 * service_open, which reads and clears the environment and so comes before all
 * other threads.
 */
#ifndef CSRD_SYSTEMD_SERVICE_H
#define CSRD_SYSTEMD_SERVICE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_SOCKETS_MAX 16

/*
 * Once, before the first thread and the first of the calls below.  E_CONFIG
 * when LISTEN_FDS cannot be understood or is more than SERVICE_SOCKETS_MAX;
 * E_IO, E_NOMEM.  Logs what fails.
 */
MUST_USE enum err service_open(void);

/* Waits at most a second for unsent messages.  The manager keeps the last status. */
void service_close(void);

/* There is a service manager. */
bool service_is_managed(void);

/* ---- telling ---- */

/* The format makes the one line that people see as "Status:"; control characters are replaced. */
void service_ready(const char *format, ...) PRINTF_LIKE(1, 2);
void service_status(const char *format, ...) PRINTF_LIKE(1, 2); /* does nothing if the text is unchanged */
void service_stopping(const char *format, ...) PRINTF_LIKE(1, 2);
/* Call service_ready when the reload is done. */
void service_reloading(void);

/* Start or stop takes longer: the manager gives up no sooner than `ms` from now. */
void service_extend(uint64_t ms);

/*
 * From now on, asks `progress` every few seconds, on the thread of this file,
 * and extends the start timeout while the answer is true.  `progress` calls
 * nothing here.  After the call with NULL it is no longer called.
 */
typedef bool (*service_progress_fn)(void *arg);
void service_extend_while(service_progress_fn progress, void *arg);

/* The manager acts when it has not been fed for that long; 0: it does not watch. */
uint64_t service_watchdog_ms(void);
void service_feed(void);

/* ---- sockets that the manager holds for us ---- */

struct service_socket {
	int fd;           /* close-on-exec */
	const char *name; /* FileDescriptorName=; "unknown" when nobody named it */
};

/* How many, and which; borrowed forever.  The descriptors are the caller's to close. */
size_t service_sockets(const struct service_socket **ret_sockets);

/* Why it cannot be served, as in "a datagram socket"; NULL for a listening stream socket of IPv4, IPv6 or
 * unix. */
const char *service_socket_fault(const struct service_socket *socket);

/*
 * Makes it non-blocking and tells its domain (AF_INET, AF_INET6, AF_UNIX).
 * E_INVAL when it has a fault; E_IO (errno kept).
 */
MUST_USE enum err service_socket_prepare(const struct service_socket *socket, int *ret_domain);

#endif
