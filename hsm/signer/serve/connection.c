/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers of one client, with back-pressure. */
#include "hsm/signer/serve/connection.h"

#include "hsm/message.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536
#define OUT_CHOKED (256 * 1024)    /* past it nothing more is read */
#define OUT_MAX (32 * 1024 * 1024) /* replies to what was read before; past it the connection ends */

struct connection *connection_new(uint64_t id, int fd, const struct fd_peer *peer, uint64_t hello_until_ms)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->id = id;
	c->fd = fd;
	c->peer = *peer;
	c->phase = CONNECTION_HELLO;
	c->hello_until_ms = hello_until_ms;
	TAILQ_INIT(&c->lists);
	buf_init(&c->in, FRAME_BYTES_MAX + READ_BYTES);
	buf_init(&c->out, OUT_MAX);
	return c;
}

void connection_free(struct connection *c)
{
	if (!c)
		return;
	job_list_free(&c->lists);
	fd_close(&c->fd);
	buf_release(&c->in);
	buf_release(&c->out);
	free(c);
}

bool connection_is_choked(const struct connection *c)
{
	return c->out.len > OUT_CHOKED;
}

bool connection_wants_write(const struct connection *c)
{
	return c->out.len > 0 || !TAILQ_EMPTY(&c->lists);
}

enum err connection_read(struct connection *c)
{
	uint8_t block[READ_BYTES];
	ssize_t got;

	if (c->in.len > FRAME_BYTES_MAX)
		return E_OK; /* whole frames wait */
	do
		got = recv(c->fd, block, sizeof(block), 0);
	while (got < 0 && errno == EINTR);
	if (got == 0 || (got < 0 && errno == ECONNRESET))
		return E_UNAVAIL;
	if (got < 0)
		return errno == EAGAIN ? E_OK : E_IO;
	buf_put(&c->in, block, (size_t)got);
	return buf_status(&c->in);
}

enum err connection_next(const struct connection *c, size_t *at, struct frame *ret_frame)
{
	size_t size = 0;
	enum err e =
	    *at == c->in.len ? E_BUSY : frame_parse(c->in.data + *at, c->in.len - *at, ret_frame, &size);

	if (e == E_OK)
		*at += size;
	return e;
}

void connection_consume(struct connection *c, size_t len)
{
	if (len)
		buf_consume(&c->in, len);
}

enum err connection_reply(struct connection *c, uint32_t request_id, uint16_t type, const struct buf *payload)
{
	frame_put(&c->out, request_id, type, payload->data, payload->len);
	return buf_status(&c->out);
}

void connection_reply_list(struct connection *c, struct job *job)
{
	TAILQ_INSERT_TAIL(&c->lists, job, next);
}

/* Makes parts while there is room for them. */
static enum err pump_lists(struct connection *c)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&c->lists)) && !connection_is_choked(c)) {
		struct buf payload;
		bool last;
		enum err e;

		buf_init(&payload, FRAME_PAYLOAD_MAX);
		last = inventory_encode_part(&job->inventory, &job->inventory_at, &payload);
		e = buf_status(&payload);
		if (e == E_OK)
			e = connection_reply(c, job->request_id, MESSAGE_LIST_KEYS | MESSAGE_REPLY, &payload);
		buf_release(&payload);
		if (e != E_OK)
			return e;
		if (last) {
			TAILQ_REMOVE(&c->lists, job, next);
			c->listing = false;
			job_free(job);
		}
	}
	return E_OK;
}

enum err connection_flush(struct connection *c)
{
	enum err e;

	for (;;) {
		ssize_t put;

		if ((e = pump_lists(c)) != E_OK)
			return e;
		if (!c->out.len)
			return E_OK;
		put = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return E_OK;
		if (put < 0)
			return errno == EPIPE || errno == ECONNRESET ? E_UNAVAIL : E_IO;
		buf_consume(&c->out, (size_t)put);
	}
}
