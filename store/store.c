/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a whole: which engine, its connections, its queue. */
#include "store/store.h"

#include "base/log.h"
#include "store/csr_row.h"
#include "store/fence.h"
#include "store/call.h"
#include "store/sql.h"
#include "store/sqlite/sqlite.h"
#include "store/walk.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening and closing ---- */

static void store_free(struct store *store)
{
	for (unsigned i = 0; i < store->readers_len; i++)
		sql_close(store->readers[i]);
	sql_close(store->writer);
	fences_free(store->fences);
	walk_free(store->walk);
	free(store);
}

static enum err store_start(struct store *store, const struct sql_engine *engine,
			    const struct store_options *options)
{
	const char *location = strchr(options->url, ':');
	struct queue_options queue = {.readers = store->readers, .max = options->queue_max};
	enum err e;

	store->walk = walk_new();
	store->fences = fences_new();
	if (!store->walk || !store->fences)
		return E_NOMEM;
	e = engine->open(options, location ? location + 1 : options->url, &store->writer);
	for (unsigned i = 0; e == E_OK && engine->open_reader && i < options->readers; i++) {
		e = engine->open_reader(store->writer, &store->readers[i]);
		if (e == E_OK)
			store->readers_len++;
	}
	if (e != E_OK)
		return e;
	queue.writer = store->writer;
	queue.readers_len = store->readers_len;
	return queue_new(&queue, &store->queue);
}

enum err store_open_engine(const struct sql_engine *engine, const struct store_options *options,
			   struct store **ret_store)
{
	struct store *store;

	if (options->readers > QUEUE_READERS_MAX)
		return E_INVAL;
	store = calloc(1, sizeof(*store));
	if (!store)
		return E_NOMEM;
	for (unsigned i = 0; i < CALL_SPARE_MAX; i++)
		store->spare_free[store->spare_free_len++] = i;
	enum err e = store_start(store, engine, options);
	if (e == E_OK)
		*ret_store = store;
	else
		store_free(store);
	return e;
}

enum err store_open(const struct store_options *options, struct store **ret_store)
{
	static const struct sql_engine *const engines[] = {&sqlite_engine};

	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		size_t len = strlen(engines[i]->scheme);

		if (strncmp(options->url, engines[i]->scheme, len) == 0 && options->url[len] == ':')
			return store_open_engine(engines[i], options, ret_store);
	}
	/* Not the url itself: one of another kind may hold a password. */
	log_error("store url is not understood: it must start with 'sqlite:'");
	return E_CONFIG;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	queue_free(store->queue);
	store_free(store);
}

/* ---- the queue, for the owner ---- */

int store_fd(const struct store *store)
{
	return queue_fd(store->queue);
}

void store_dispatch(struct store *store)
{
	queue_dispatch(store->queue);
}

void store_on_commit(struct store *store, void (*on_commit)(void *arg), void *arg)
{
	queue_on_commit(store->queue, on_commit, arg);
}

void store_wait(struct store *store, const bool *done)
{
	while (!*done) {
		struct pollfd p = {.fd = store_fd(store), .events = POLLIN};

		if (poll(&p, 1, -1) > 0)
			store_dispatch(store);
	}
}

unsigned store_queued(const struct store *store)
{
	return queue_waiting(store->queue);
}

void store_figures(const struct store *store, struct store_figures *ret_figures)
{
	queue_figures(store->queue, ret_figures);
}

uint64_t store_at_work_ms(const struct store *store)
{
	return queue_at_work_ms(store->queue);
}

/* ---- whether it is usable ---- */

/* A row that cannot exist is looked for: not finding it is an answer of the database. */
static enum err store_run_ping(struct store_op *op, struct sql *sql)
{
	struct csr_record none;

	(void)op;
	enum err e = csr_row_get(sql, "", &none);
	if (e == E_OK)
		csr_record_release(&none);
	return e == E_NOTFOUND ? E_OK : e;
}

void store_ping(struct store *store, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct call_done), STORE_OP_PROBES, store_run_ping,
					      call_done_finish};
	struct call_done *ping = call_new(store, &type, arg);

	ping->done = done;
	call_submit(&ping->call);
}

const char *store_ping_text(enum err e)
{
	switch (e) {
	case E_BUSY:
		return "busy";
	case E_TIMEOUT:
	case E_UNCERTAIN:
		return "does not answer in time";
	case E_UNAVAIL:
		return "cannot be reached";
	case E_LIMIT:
		return "cannot be written: the disk is full";
	case E_DENIED:
		return "cannot be written: permission denied";
	case E_IO:
		return "cannot be written: input/output error";
	default:
		return "failing";
	}
}
