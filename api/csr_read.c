/* SPDX-License-Identifier: Apache-2.0 */
/* GET one CSR, and GET a page of them. */
#include "api/csr_json.h"
#include "api/json.h"
#include "api/op.h"
#include "api/page.h"
#include "api/reply.h"
#include "base/buf.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTS_MAX 2       /* pages in the making */
#define RECORD_BYTES 1536 /* of a CSR as JSON without its PEM, names and description */

/* ---- one ---- */

/* What the store has, whether or not the caller may see it. */
struct asked {
	enum err e;
	struct csr_record *record; /* owned */
};

static void asked_free(void *state)
{
	struct asked *asked = state;

	csr_record_free(asked->record);
	free(asked);
}

static void reply_record(struct op *op, enum err e, const struct csr_record *record)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, CSR_JSON_MAX);
	json_writer_init(&w, &b);
	if (e == E_OK && record->state != CSR_ACTIVE)
		e = E_NOTFOUND;
	if (e != E_OK) {
		if (e != E_NOTFOUND)
			op_log(op, LOG_LEVEL_ERROR, "cannot read a CSR: %s", err_str(e));
		op_refuse_err(op, e, NULL);
		goto out;
	}
	csr_json_put(&w, record);
	if (buf_status(&b) != E_OK)
		op_refuse_internal(op, buf_status(&b), "cannot build the answer");
	else
		op_reply(op, 200, buf_text(&b), NULL);
out:
	buf_release(&b);
}

static void csr_read_on_asked(void *arg, enum err e, struct principal *caller, enum err record_e,
			      struct csr_record *record)
{
	struct op *op = arg;
	struct asked *asked = op->state;

	asked->e = record_e;
	asked->record = record;
	op_admit(op, e, caller);
}

/* One question for the record and for who wants it. */
void csr_get_look(struct op *op)
{
	struct asked *asked = calloc(1, sizeof(*asked));
	struct store_csr_ask in = {
	    .claim = op->claim.store, .scope = op->route.scope, .id = op->route.csr_id};

	if (!asked) {
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	op->state = asked;
	op->state_free = asked_free;
	store_csr_ask(op->api->options.store, &in, csr_read_on_asked, op);
}

void csr_get_start(struct op *op)
{
	const struct asked *asked = op->state;

	reply_record(op, asked->e, asked->record);
}

void csr_refuse_no_id(struct op *op)
{
	op_refuse(op, PROBLEM_CSR_ID,
		  "the path ends in a slash where a CSR id is expected: "
		  "add the id, or leave out the slash to list or create");
}

/* ---- a page ---- */

static void put_page(struct json_writer *w, const struct store_csr_page *page)
{
	json_open_array(w);
	for (size_t i = 0; i < page->records_len; i++)
		csr_json_put(w, &page->records[i]);
	json_close(w);
}

/* About how long the page is as JSON, so that memory for it is taken once. */
static size_t page_bytes(const struct store_csr_page *page)
{
	size_t len = PAGE_INFO_BYTES;

	for (size_t i = 0; i < page->records_len; i++) {
		const struct csr_record *record = &page->records[i];

		len += RECORD_BYTES + (record->pem ? strlen(record->pem) : 0);
		for (size_t j = 0; j < record->spec.sans_len; j++)
			len += strlen(record->spec.sans[j].value) + 3;
		len += record->description ? strlen(record->description) : 0;
	}
	return len + len / 32; /* a line end of the PEM takes two bytes */
}

/*
 * A list on its way.  A page may take megabytes, in the store and again as
 * JSON, so only a few are read at a time, whatever the number of callers.
 */
struct list {
	struct op *op;
	struct page_request page;
	TAILQ_ENTRY(list) next;
};

static const char too_many_lists[] = "too many lists are waiting; try again";

static void csr_read_list_next(struct api *api);

static void on_list(void *arg, enum err e, const struct store_csr_page *page)
{
	struct op *op = arg;
	struct api *api = op->api;
	struct list *list = op->state;
	struct json_writer answer, info;
	struct buf answer_text, info_text;

	api->lists_len--;
	buf_init(&answer_text, REPLY_BODY_MAX);
	buf_init(&info_text, PAGE_INFO_BYTES);
	json_writer_init(&info, &info_text);
	if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "cannot list CSRs: %s", err_str(e));
		op_refuse_err(op, e, NULL);
		goto out;
	}
	buf_reserve(&answer_text, page_bytes(page));
	reply_begin(&answer, &answer_text);
	put_page(&answer, page);
	page_put_info(&info, &list->page, page->records_len, page->total);
	if (buf_status(&answer_text) != E_OK || buf_status(&info_text) != E_OK)
		op_refuse_internal(
		    op, buf_status(&answer_text) != E_OK ? buf_status(&answer_text) : buf_status(&info_text),
		    "cannot build the answer");
	else
		op_reply_written(op, 200, &answer, buf_text(&info_text));
out:
	buf_release(&answer_text);
	buf_release(&info_text);
	csr_read_list_next(api);
}

static void list_read(struct list *list)
{
	struct op *op = list->op;
	struct store_csr_query query = {
	    .scope = &op->route.scope,
	    .states = CSR_STATE_BIT(CSR_ACTIVE),
	    .order = list->page.order,
	    .descending = list->page.descending,
	    .offset = (list->page.page - 1) * list->page.per_page,
	    .limit = (unsigned)list->page.per_page,
	    .reader = op->principal->id,
	};

	op->api->lists_len++;
	store_csr_list(op->api->options.store, &query, on_list, op);
}

/* Whose turn is it?  Those that waited too long are told so. */
static void csr_read_list_next(struct api *api)
{
	struct list *list;

	while (api->lists_len < LISTS_MAX && (list = TAILQ_FIRST(&api->lists))) {
		TAILQ_REMOVE(&api->lists, list, next);
		api->lists_waiting--;
		if (clock_ms() >= list->op->request->deadline_ms)
			op_refuse_later(list->op, too_many_lists);
		else
			list_read(list);
	}
}

void csr_list_start(struct op *op)
{
	struct list *list = malloc(sizeof(*list));
	char why[PAGE_WHY_SIZE];

	if (!list) {
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	op->state = list;
	op->state_free = free;
	list->op = op;
	list->page = page_initial(op->route.scope.kind == STORE_ZONE);
	if (page_read(op->request->query, &list->page, why) != E_OK) {
		op_refuse(op, PROBLEM_REQUEST, why);
		return;
	}
	if (op->api->lists_len >= LISTS_MAX && api_waiting(op->api) >= op->api->options.waiting_max) {
		op_refuse_later(op, too_many_lists);
		return;
	}
	TAILQ_INSERT_TAIL(&op->api->lists, list, next);
	op->api->lists_waiting++;
	csr_read_list_next(op->api);
}
