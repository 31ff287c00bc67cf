/* SPDX-License-Identifier: Apache-2.0 */
/* Making, keeping and freeing operations. */
#include "store/call.h"

#include "base/log.h"
#include "store/sql.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct call_text {
	SLIST_ENTRY(call_text) next;
	_Alignas(max_align_t) char text[];
};

void *call_new(struct store *store, const struct call_type *type, void *arg)
{
	struct call *call = calloc(1, type->size);

	assert(type->size <= CALL_BYTES_MAX);
	if (!call) {
		if (store->spare_free_len == 0) {
			log_error("out of memory, with nothing left to report it with");
			abort();
		}
		call = (struct call *)store->spare[store->spare_free[--store->spare_free_len]].bytes;
		memset(call, 0, type->size);
		call->spare = true;
		call->queued.e = E_NOMEM;
	}
	call->queued.kind = type->kind;
	call->queued.run = type->run;
	call->queued.finish = type->finish;
	call->store = store;
	call->arg = arg;
	return call;
}

void call_submit(struct call *call)
{
	queue_submit(call->store->queue, &call->queued);
}

void call_free(struct call *call)
{
	struct store *store = call->store;
	struct call_text *text;

	while ((text = SLIST_FIRST(&call->texts))) {
		SLIST_REMOVE_HEAD(&call->texts, next);
		free(text);
	}
	if (call->spare)
		store->spare_free[store->spare_free_len++] =
		    (unsigned)((struct call_spare *)call - store->spare);
	else
		free(call);
}

static void *call_keep_bytes(struct call *call, const void *bytes, size_t size)
{
	struct call_text *kept = malloc(sizeof(*kept) + size);

	if (!kept) {
		call_refuse(call, E_NOMEM);
		return NULL;
	}
	memcpy(kept->text, bytes, size);
	SLIST_INSERT_HEAD(&call->texts, kept, next);
	return kept->text;
}

const char *call_keep(struct call *call, const char *text)
{
	return text ? call_keep_bytes(call, text, strlen(text) + 1) : NULL;
}

const struct peer *call_keep_peer(struct call *call, const struct peer *peer)
{
	struct peer *kept = peer ? call_keep_bytes(call, peer, sizeof(*peer)) : NULL;

	for (size_t i = 0; kept && i < kept->names_len; i++) {
		const char *value = peer->names[i].value;

		kept->names[i].value = call_keep_bytes(call, value, strlen(value) + 1);
	}
	return kept;
}

struct audit_origin call_keep_origin(struct call *call, const struct audit_origin *origin)
{
	struct audit_origin kept = {
	    .actor = call_keep(call, origin->actor),
	    .request_id = call_keep(call, origin->request_id),
	    .peer = call_keep(call, origin->peer),
	    .detail = call_keep(call, origin->detail),
	};
	return kept;
}

void call_refuse(struct call *call, enum err e)
{
	if (call->queued.e == E_OK)
		call->queued.e = e;
}

void call_check_limit(struct call *call, unsigned limit)
{
	if (limit < 1 || limit > STORE_LIST_MAX)
		call_refuse(call, E_INVAL);
}

void call_done_finish(struct store_op *op)
{
	struct call_done *done = (struct call_done *)op;

	done->done(done->call.arg, op->e);
	call_free(&done->call);
}

void *call_append(void **array, size_t *len, size_t size)
{
	/* Room doubles whenever len is a power of two. */
	if ((*len & (*len - 1)) == 0) {
		void *grown = reallocarray(*array, *len == 0 ? 1 : 2 * *len, size);
		if (!grown)
			return NULL;
		*array = grown;
	}
	void *item = (char *)*array + *len * size;
	memset(item, 0, size);
	++*len;
	return item;
}

enum err call_rows_read(struct call_rows *rows, struct sql_query *q)
{
	while (sql_next(q)) {
		void *row = call_append(&rows->first, &rows->len, rows->size);

		if (!row)
			sql_fail(q, E_NOMEM);
		else
			rows->read(q, row);
	}
	return sql_done(q);
}

void call_rows_release(struct call_rows *rows)
{
	for (size_t i = 0; i < rows->len; i++)
		rows->release((char *)rows->first + i * rows->size);
	free(rows->first);
	rows->first = NULL;
	rows->len = 0;
}
