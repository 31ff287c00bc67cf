/* SPDX-License-Identifier: Apache-2.0 */
/* SIGHUP: config_load on a short-lived thread, its result handed to the loop through an eventfd. */
#include "daemon/reload.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PROBLEMS_BYTES (64 * 1024)

struct reload {
	char *path;
	reload_done_fn done;
	void *arg;
	struct event *readable;
	int event_fd;
	pthread_t thread;
	bool runs;
	bool again;
	/* The thread's until it wrote to event_fd: */
	struct config *fresh;
	struct buf problems;
};

static void *reload_read_file(void *arg)
{
	struct reload *reload = arg;
	uint64_t one = 1;

	if (config_load(reload->path, &reload->problems, &reload->fresh) == E_NOMEM)
		buf_put_str(&reload->problems, "out of memory\n");
	if (fd_write_all(reload->event_fd, &one, sizeof(one)) != E_OK)
		log_error("cannot wake the loop after reading '%s'", reload->path);
	return NULL;
}

void reload_start(struct reload *reload)
{
	if (reload->runs) {
		reload->again = true;
		return;
	}
	buf_init(&reload->problems, PROBLEMS_BYTES);
	reload->fresh = NULL;
	if (thread_start("reload", reload_read_file, reload, &reload->thread) != E_OK) {
		buf_printf(&reload->problems, "cannot start a thread to read '%s': %s\n", reload->path,
			   strerror(errno));
		reload->done(reload->arg, NULL, &reload->problems);
		buf_release(&reload->problems);
		return;
	}
	reload->runs = true;
}

static void reload_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct reload *reload = arg;
	uint64_t count;

	(void)what;
	if (read((int)fd, &count, sizeof(count)) != sizeof(count))
		return;
	pthread_join(reload->thread, NULL);
	reload->runs = false;
	if (reload->again) { /* what was read is out of date */
		config_free(reload->fresh);
		buf_release(&reload->problems);
		reload->again = false;
		reload_start(reload);
		return;
	}
	reload->done(reload->arg, reload->fresh, &reload->problems);
	buf_release(&reload->problems);
}

enum err reload_new(struct event_base *base, const char *path, reload_done_fn done, void *arg,
		    struct reload **ret_reload)
{
	struct reload *reload = calloc(1, sizeof(*reload));
	enum err e = E_NOMEM;

	if (!reload)
		return E_NOMEM;
	reload->done = done;
	reload->arg = arg;
	reload->path = strdup(path);
	reload->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!reload->path)
		goto out;
	if (reload->event_fd < 0) {
		log_error("cannot make an eventfd for reloading: %s", strerror(errno));
		e = E_IO;
		goto out;
	}
	reload->readable =
	    event_new(base, reload->event_fd, EV_READ | EV_PERSIST, reload_on_readable, reload);
	if (!reload->readable || event_add(reload->readable, NULL) != 0)
		goto out;
	*ret_reload = reload;
	reload = NULL;
	e = E_OK;
out:
	reload_free(reload);
	return e;
}

void reload_free(struct reload *reload)
{
	if (!reload)
		return;
	if (reload->runs) {
		pthread_join(reload->thread, NULL);
		config_free(reload->fresh);
		buf_release(&reload->problems);
	}
	if (reload->readable)
		event_free(reload->readable);
	fd_close(&reload->event_fd);
	free(reload->path);
	free(reload);
}
