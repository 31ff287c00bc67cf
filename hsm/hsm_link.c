/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket to the signer: hello, frames in and out, and a link that is made
 * again whenever it is lost.  What the signer sends is not trusted: anything
 * that does not fit what was asked ends the link.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "hsm/hsm_private.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO_REQUEST_ID 0 /* no call has it: their ids start at HSM_SLOTS_MAX */
#define STILL_DOWN_EVERY_MS 60000

static void link_down(struct hsm *hsm, bool broke_protocol, const char *format, ...) PRINTF_LIKE(3, 4);

/* One line for each change of the reason, and a reminder now and then. */
static void link_log_down(struct hsm *hsm)
{
	const struct log_context context = {.token = hsm->token_name};
	unsigned suppressed;

	if (strcmp(hsm->reason, hsm->logged_reason) != 0) {
		memcpy(hsm->logged_reason, hsm->reason, HSM_REASON_SIZE);
		hsm->still_down = (struct log_gate){.last_ms = clock_ms()};
		log_write(LOG_LEVEL_WARN, &context, "signer '%s' is down: %s", hsm->token_name, hsm->reason);
	} else if (log_gate_pass(&hsm->still_down, STILL_DOWN_EVERY_MS, &suppressed)) {
		log_write(LOG_LEVEL_WARN, &context, "signer '%s' is still down after %u more tries: %s",
			  hsm->token_name, suppressed + 1, hsm->reason);
	}
}

static void link_close_socket(struct hsm *hsm)
{
	if (hsm->fd < 0)
		return;
	event_del(&hsm->read_event);
	event_del(&hsm->write_event);
	fd_close(&hsm->fd);
	buf_reset(&hsm->out);
	hsm->out_sent = 0;
	hsm->in_len = 0;
}

/*
 * A link that was of use is tried again soon; a signer that cannot be reached,
 * or that hangs up or breaks the protocol whenever it is, less and less often.
 */
static void link_down(struct hsm *hsm, bool broke_protocol, const char *format, ...)
{
	bool was_up = hsm->state == HSM_LINK_UP;
	va_list args;

	va_start(args, format);
	vsnprintf(hsm->reason, sizeof(hsm->reason), format, args);
	va_end(args);
	hsm->state = HSM_LINK_DOWN;
	link_close_socket(hsm);
	link_log_down(hsm);
	if (was_up && !broke_protocol &&
	    (hsm->answered || clock_ms() - hsm->up_since_ms >= hsm->reconnect_max_ms))
		hsm->backoff_ms = hsm->reconnect_min_ms;
	timer_start(&hsm->timer, hsm->backoff_ms);
	hsm->backoff_ms =
	    hsm->backoff_ms > hsm->reconnect_max_ms / 2 ? hsm->reconnect_max_ms : 2 * hsm->backoff_ms;
	hsm_calls_fail(hsm, hsm->reason);
	if ((was_up || hsm->tell_failures) && hsm->on_link)
		hsm->on_link(hsm->arg, hsm, false);
}

static void link_up(struct hsm *hsm)
{
	const struct log_context context = {.token = hsm->token_name};

	hsm->state = HSM_LINK_UP;
	hsm->up_since_ms = clock_ms();
	hsm->answered = false;
	hsm->figures.links++;
	hsm->reason[0] = '\0';
	hsm->logged_reason[0] = '\0';
	log_write(LOG_LEVEL_NOTICE, &context, "signer '%s' is up: %s", hsm->token_name, hsm->peer);
	if (hsm->on_link)
		hsm->on_link(hsm->arg, hsm, true);
}

/* What the log says of the signer once the link is up. */
static void link_describe_peer(struct hsm *hsm, const struct message_hello_reply *hello)
{
	struct buf types;

	buf_init(&types, 256);
	key_type_set_format(hello->key_types, &types);
	snprintf(hsm->peer, sizeof(hsm->peer),
		 "token '%s', serial '%s', manufacturer '%s', model '%s', key types '%s'", hello->token_label,
		 hello->token_serial, hello->token_manufacturer, hello->token_model, buf_text(&types));
	buf_release(&types);
}

static void link_greeted(struct hsm *hsm, const struct message_hello_reply *hello)
{
	timer_stop(&hsm->timer);
	hsm->key_types = hello->key_types;
	hsm->stores_len = hello->stores_len;
	memcpy(hsm->stores, hello->stores, sizeof(hsm->stores));
	link_describe_peer(hsm, hello);
	if (!hsm->on_hello) {
		link_up(hsm);
		return;
	}
	hsm->state = HSM_LINK_GREETED;
	snprintf(hsm->reason, sizeof(hsm->reason), "what it remembers of the store is being looked at");
	hsm->on_hello(hsm->arg, hsm);
}

void hsm_accept(struct hsm *hsm)
{
	if (hsm->state == HSM_LINK_GREETED)
		link_up(hsm);
}

void hsm_decline(struct hsm *hsm, const char *why)
{
	if (hsm->state == HSM_LINK_GREETED)
		link_down(hsm, false, "%s", why);
}

static void link_hello_refused(struct hsm *hsm, const struct frame *frame)
{
	struct message_error error;

	if (message_error_decode(frame->payload, frame->payload_len, &error) != E_OK) {
		link_down(hsm, true, "its answer to hello makes no sense");
		return;
	}
	link_down(hsm, false, "it refused: %s: %s", err_str(error.code), error.detail);
	message_error_release(&error);
}

static bool link_take_hello(struct hsm *hsm, const struct frame *frame)
{
	struct message_hello_reply hello;
	bool ok = false;

	if (frame->request_id == HELLO_REQUEST_ID && frame->type == MESSAGE_ERROR) {
		link_hello_refused(hsm, frame);
		return false;
	}
	if (frame->request_id != HELLO_REQUEST_ID || frame->type != (MESSAGE_HELLO | MESSAGE_REPLY) ||
	    message_hello_reply_decode(frame->payload, frame->payload_len, &hello) != E_OK) {
		link_down(hsm, true, "its answer to hello makes no sense");
		return false;
	}
	if (hello.version != MESSAGE_PROTOCOL_VERSION)
		link_down(hsm, true, "it speaks version %u of the protocol, this program version %u",
			  hello.version, MESSAGE_PROTOCOL_VERSION);
	else if (strcmp(hello.token_name, hsm->token_name) != 0)
		link_down(hsm, true, "the signer at '%s' serves token '%s'", hsm->socket_path,
			  hello.token_name);
	else
		ok = true;
	if (ok)
		link_greeted(hsm, &hello);
	message_hello_reply_release(&hello);
	return ok;
}

/* False: the link is down, and so nothing is left of what it sent; the caller may have declined it. */
static bool link_take_answer(struct hsm *hsm, const struct frame *frame)
{
	struct hsm_call *call = hsm_call_find(hsm, frame->request_id);
	unsigned type;

	if (!call) {
		link_down(hsm, true, "it answered request %u, which was not asked", frame->request_id);
		return false;
	}
	type = call->kind->type;
	if (hsm_call_take_answer(call, frame) == E_OK) {
		hsm->answered = true;
		return hsm->fd >= 0;
	}
	link_down(hsm, true, "its answer of type 0x%04x to a request of type 0x%04x makes no sense",
		  frame->type, type);
	return false;
}

static void link_take_frames(struct hsm *hsm)
{
	size_t done = 0;

	for (;;) {
		struct frame frame;
		size_t consumed;
		enum err e = frame_parse(hsm->in + done, hsm->in_len - done, &frame, &consumed);

		if (e == E_BUSY)
			break;
		if (e != E_OK) {
			link_down(hsm, true, "it sent a frame of an impossible length");
			return;
		}
		if (!(hsm->state == HSM_LINK_HELLO ? link_take_hello(hsm, &frame)
						   : link_take_answer(hsm, &frame)))
			return;
		done += consumed;
	}
	hsm->in_len -= done;
	if (done > 0 && hsm->in_len > 0)
		memmove(hsm->in, hsm->in + done, hsm->in_len);
}

/* A whole frame always fits the buffer and is taken out at once, so there is room to read into. */
static void link_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct hsm *hsm = arg;
	ssize_t n;

	(void)what;
	n = read(fd, hsm->in + hsm->in_len, FRAME_BYTES_MAX - hsm->in_len);
	if (n > 0) {
		hsm->in_len += (size_t)n;
		link_take_frames(hsm);
	} else if (n == 0) {
		link_down(hsm, false, "it closed the connection");
	} else if (errno != EAGAIN && errno != EINTR) {
		link_down(hsm, false, "cannot read from '%s': %s", hsm->socket_path, strerror(errno));
	}
}

static bool link_put_next(struct hsm *hsm)
{
	if (!hsm_call_put_next(hsm))
		return false;
	hsm->out_sent = 0;
	return true;
}

static void link_write_failed(struct hsm *hsm, int error)
{
	if (error == EAGAIN) {
		if (event_add(&hsm->write_event, NULL))
			link_down(hsm, false, "no memory to wait for '%s'", hsm->socket_path);
		return;
	}
	/* What the signer said last says more than the error. */
	link_on_readable(hsm->fd, EV_READ, hsm);
	if (hsm->fd >= 0)
		link_down(hsm, false, "cannot write to '%s': %s", hsm->socket_path, strerror(error));
}

static void link_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct hsm *hsm = arg;

	(void)what;
	while (hsm->out_sent < hsm->out.len || link_put_next(hsm)) {
		ssize_t n =
		    send(fd, hsm->out.data + hsm->out_sent, hsm->out.len - hsm->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			link_write_failed(hsm, errno);
			return;
		}
		hsm->out_sent += (size_t)n;
		if (hsm->out_sent == hsm->out.len)
			hsm_call_was_put(hsm);
	}
}

static enum err link_put_hello(struct hsm *hsm)
{
	struct buf payload;
	enum err e;

	buf_init(&payload, 1024);
	message_hello_encode(&payload, &(struct message_hello){.version = MESSAGE_PROTOCOL_VERSION,
							       .client = hsm->client_name});
	e = buf_status(&payload);
	if (e == E_OK) {
		frame_put(&hsm->out, HELLO_REQUEST_ID, MESSAGE_HELLO, payload.data, payload.len);
		e = buf_status(&hsm->out);
	}
	buf_release(&payload);
	return e;
}

static void link_start(struct hsm *hsm)
{
	enum err e = fd_unix_connect(hsm->socket_path, &hsm->fd);

	if (e == E_UNAVAIL) {
		link_down(hsm, false, "nobody listens on '%s'", hsm->socket_path);
		return;
	}
	if (e != E_OK) {
		link_down(hsm, false, "cannot connect to '%s': %s", hsm->socket_path, err_str(e));
		return;
	}
	hsm->state = HSM_LINK_HELLO;
	event_assign(&hsm->read_event, hsm->base, hsm->fd, EV_READ | EV_PERSIST, link_on_readable, hsm);
	event_assign(&hsm->write_event, hsm->base, hsm->fd, EV_WRITE, link_on_writable, hsm);
	if (link_put_hello(hsm) != E_OK || event_add(&hsm->read_event, NULL) ||
	    event_add(&hsm->write_event, NULL)) {
		link_down(hsm, false, "no memory to connect to '%s'", hsm->socket_path);
		return;
	}
	timer_start(&hsm->timer, hsm->hello_timeout_ms);
}

static void link_on_timer(void *arg)
{
	struct hsm *hsm = arg;

	if (hsm->state == HSM_LINK_DOWN)
		link_start(hsm);
	else if (hsm->state == HSM_LINK_HELLO)
		link_down(hsm, false, "no answer to hello within %u ms on '%s'", hsm->hello_timeout_ms,
			  hsm->socket_path);
}

enum err hsm_link_want_write(struct hsm *hsm)
{
	return event_add(&hsm->write_event, NULL) ? E_NOMEM : E_OK;
}

enum err hsm_link_init(struct hsm *hsm)
{
	hsm->fd = -1;
	hsm->backoff_ms = hsm->reconnect_min_ms;
	snprintf(hsm->reason, sizeof(hsm->reason), "not connected yet");
	buf_init(&hsm->out, FRAME_BYTES_MAX);
	hsm->in = malloc(FRAME_BYTES_MAX);
	if (!hsm->in)
		return E_NOMEM;
	timer_init(&hsm->timer, hsm->base, link_on_timer, hsm);
	timer_start(&hsm->timer, 0);
	return E_OK;
}

void hsm_link_close(struct hsm *hsm)
{
	hsm->state = HSM_LINK_CLOSING;
	snprintf(hsm->reason, sizeof(hsm->reason), "this program is closing it");
	link_close_socket(hsm);
	timer_stop(&hsm->timer);
}

void hsm_link_release(struct hsm *hsm)
{
	free(hsm->in);
	buf_release(&hsm->out);
}
