/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client link against a scripted signer on a socket in a fresh folder.
 * The signer is played by the test itself on the same thread: between two
 * turns of the loop nothing moves but what the test moves.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/csr.h"
#include "base/log.h"
#include "hsm/frame.h"
#include "hsm/hsm.h"
#include "hsm/message.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define CSR_ID "0b54b6a4-3c1f-4b5e-9f0e-1a2b3c4d5e6f"
#define KEY_LABEL "csrd-abcdefghijklmnopqrstuvwxya"
#define PATIENCE_MS 10000
#define CALLS_MAX 256

struct result {
	unsigned told; /* times */
	unsigned order;
	enum err e;
	char detail[256];
	enum key_type key_type;
	uint8_t der[8];
	size_t der_len;
	uint32_t destroyed;
	enum message_key_presence presence;
	uint64_t created;
	size_t keys;
	bool last;
};

struct fixture {
	struct event_base *base;
	struct hsm *hsm;
	struct hsm_options options;
	char folder[64];
	char path[96];
	int listener;
	int peer;
	uint8_t in[FRAME_BYTES_MAX];
	size_t in_len;
	uint8_t frame_bytes[FRAME_BYTES_MAX]; /* the last frame read */
	struct result results[CALLS_MAX];
	unsigned told;
	unsigned links_up;
	unsigned links_down;
	unsigned told_at_link_down;
};

/* ---- turning the loop ---- */

static void wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

/* One turn that waits for at most a few milliseconds. */
static void turn(struct fixture *f)
{
	const struct timeval wait = {.tv_usec = 2000};

	assert_int_equal(event_base_once(f->base, -1, EV_TIMEOUT, wake, NULL, &wait), 0);
	assert_true(event_base_loop(f->base, EVLOOP_ONCE) >= 0);
}

#define WAIT_FOR(f, condition)                                                                               \
	do {                                                                                                 \
		uint64_t patience = clock_ms() + PATIENCE_MS;                                                \
		while (!(condition)) {                                                                       \
			if (clock_ms() > patience)                                                           \
				fail_msg("waited in vain for: %s", #condition);                              \
			turn(f);                                                                             \
		}                                                                                            \
	} while (0)

/* Turns until the client has nothing to do at once. */
static void settle(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		assert_true(event_base_loop(f->base, EVLOOP_NONBLOCK) >= 0);
}

/* ---- the signer's side ---- */

static void signer_listens(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(f->listener >= 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(f->listener, 8), 0);
}

static bool signer_accepts(struct fixture *f)
{
	f->peer = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	f->in_len = 0;
	return f->peer >= 0;
}

static void signer_hangs_up(struct fixture *f)
{
	assert_int_equal(close(f->peer), 0);
	f->peer = -1;
}

/* Takes a frame that has arrived whole; false when there is none yet. */
static bool signer_has_frame(struct fixture *f, struct frame *ret)
{
	ssize_t n = recv(f->peer, f->in + f->in_len, sizeof(f->in) - f->in_len, MSG_DONTWAIT);
	size_t consumed;
	enum err e;

	if (n > 0)
		f->in_len += (size_t)n;
	e = frame_parse(f->in, f->in_len, ret, &consumed);
	if (e == E_BUSY)
		return false;
	assert_int_equal(e, E_OK);
	memcpy(f->frame_bytes, f->in, consumed);
	ret->payload = f->frame_bytes + FRAME_HEADER_BYTES;
	f->in_len -= consumed;
	memmove(f->in, f->in + consumed, f->in_len);
	return true;
}

static struct frame signer_reads(struct fixture *f, enum message_type type)
{
	struct frame frame;

	WAIT_FOR(f, signer_has_frame(f, &frame));
	assert_int_equal(frame.type, type);
	return frame;
}

static void signer_sends_bytes(struct fixture *f, const void *data, size_t len)
{
	assert_int_equal(send(f->peer, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void signer_sends(struct fixture *f, uint32_t request_id, unsigned type, struct buf *payload)
{
	struct buf b;

	assert_int_equal(buf_status(payload), E_OK);
	buf_init(&b, FRAME_BYTES_MAX);
	frame_put(&b, request_id, (uint16_t)type, payload->data, payload->len);
	assert_int_equal(buf_status(&b), E_OK);
	signer_sends_bytes(f, b.data, b.len);
	buf_release(&b);
	buf_release(payload);
}

static void signer_sends_hello(struct fixture *f, uint32_t version, const char *token_name)
{
	struct buf b;
	char name[32], label[] = "test token", serial[] = "0123", maker[] = "maker", model[] = "model";

	snprintf(name, sizeof(name), "%s", token_name);
	buf_init(&b, 1024);
	message_hello_reply_encode(&b, &(struct message_hello_reply){.version = version,
								     .token_name = name,
								     .token_label = label,
								     .token_serial = serial,
								     .token_manufacturer = maker,
								     .token_model = model,
								     .key_types = KEY_TYPE_BIT(KEY_P256V1),
								     .stores_len = 1,
								     .stores = {{{7}, 42}}});
	signer_sends(f, 0, MESSAGE_HELLO | MESSAGE_REPLY, &b);
}

static void signer_sends_find_reply(struct fixture *f, uint32_t request_id,
				    enum message_key_presence presence)
{
	struct buf b;

	buf_init(&b, 1024);
	message_find_key_reply_encode(&b, &(struct message_find_key_reply){.presence = presence});
	signer_sends(f, request_id, MESSAGE_FIND_KEY | MESSAGE_REPLY, &b);
}

static void signer_sends_create_reply(struct fixture *f, uint32_t request_id, enum key_type type)
{
	struct buf b;
	uint8_t der[] = {0x30, 0x00};

	buf_init(&b, 1024);
	message_create_csr_reply_encode(
	    &b, &(struct message_create_csr_reply){
		    .key = {.key_type = type, .label = KEY_LABEL}, .der = der, .der_len = 2});
	signer_sends(f, request_id, MESSAGE_CREATE_CSR | MESSAGE_REPLY, &b);
}

static void signer_sends_error(struct fixture *f, uint32_t request_id, enum err code, const char *detail)
{
	struct buf b;
	char text[128];

	snprintf(text, sizeof(text), "%s", detail);
	buf_init(&b, 1024);
	message_error_encode(&b, &(struct message_error){.code = code, .detail = text});
	signer_sends(f, request_id, MESSAGE_ERROR, &b);
}

static void signer_sends_nothing_but_yes(struct fixture *f, uint32_t request_id, enum message_type type)
{
	struct buf b;

	buf_init(&b, 1);
	signer_sends(f, request_id, (unsigned)type | MESSAGE_REPLY, &b);
}

static void signer_greets(struct fixture *f)
{
	WAIT_FOR(f, signer_accepts(f));
	signer_reads(f, MESSAGE_HELLO);
	signer_sends_hello(f, MESSAGE_PROTOCOL_VERSION, "default");
}

/* ---- the client's side ---- */

static void on_link(void *arg, struct hsm *hsm, bool up)
{
	struct fixture *f = arg;

	assert_int_equal(hsm_is_up(hsm), up);
	assert_int_equal(strlen(hsm_down_reason(hsm)) == 0, up);
	if (up) {
		f->links_up++;
	} else {
		f->links_down++;
		f->told_at_link_down = f->told;
	}
}

static struct fixture *current; /* callbacks get a result as their argument */

static struct result *told(void *arg, enum err e, const char *detail)
{
	struct result *r = arg;

	r->told++;
	r->order = ++current->told;
	r->e = e;
	assert_non_null(detail);
	snprintf(r->detail, sizeof(r->detail), "%s", detail);
	return r;
}

static void create_done(void *arg, enum err e, const char *detail,
			const struct message_create_csr_reply *reply)
{
	struct result *r = told(arg, e, detail);

	assert_int_equal(reply != NULL, e == E_OK);
	if (!reply)
		return;
	r->key_type = reply->key.key_type;
	assert_true(reply->der_len <= sizeof(r->der));
	memcpy(r->der, reply->der, reply->der_len);
	r->der_len = reply->der_len;
}

static void destroy_done(void *arg, enum err e, const char *detail, uint32_t destroyed)
{
	told(arg, e, detail)->destroyed = destroyed;
}

static void find_done(void *arg, enum err e, const char *detail, const struct message_find_key_reply *reply)
{
	struct result *r = told(arg, e, detail);

	assert_int_equal(reply != NULL, e == E_OK);
	if (reply)
		r->presence = reply->presence;
}

static void list_done(void *arg, enum err e, const char *detail, const struct message_list_keys_part *part)
{
	struct result *r = told(arg, e, detail);

	assert_int_equal(part != NULL, e == E_OK);
	if (!part)
		return;
	r->keys += part->keys_len;
	r->last = part->last;
}

static void status_done(void *arg, enum err e, const char *detail, const struct message_status_reply *reply)
{
	struct result *r = told(arg, e, detail);

	assert_int_equal(reply != NULL, e == E_OK);
	if (reply)
		r->created = reply->created;
}

static uint64_t in_ms(uint64_t ms)
{
	return clock_ms() + ms;
}

/* sans: how many long names, to make the request large. */
static void call_create(struct fixture *f, unsigned i, unsigned sans, uint64_t deadline_ms)
{
	struct csr_spec spec = {.key_type = KEY_P256V1};
	char name[CSR_SAN_BYTES_MAX + 1];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	spec.country = strdup("CH");
	spec.state = strdup("ZH");
	spec.locality = strdup("Uster");
	spec.organization = strdup("Example");
	spec.common_name = strdup("www.example.com");
	assert_int_equal(csr_spec_add_san(&spec, SAN_DNS, "www.example.com"), E_OK);
	for (unsigned n = 1; n < sans; n++)
		assert_int_equal(csr_spec_add_san(&spec, SAN_DNS, name), E_OK);
	hsm_create_csr(f->hsm, CSR_ID, &spec, deadline_ms, create_done, &f->results[i]);
	csr_spec_release(&spec); /* read before the call returned */
}

static void inspect_done(void *arg, enum err e, const char *detail,
			 const struct message_inspect_key_reply *reply)
{
	told(arg, e, detail);
	assert_int_equal(reply != NULL, e == E_OK);
	if (reply)
		assert_string_equal(reply->detail, "why");
}

static void call_find(struct fixture *f, unsigned i, uint64_t deadline_ms)
{
	hsm_find_key(f->hsm, KEY_LABEL, deadline_ms, find_done, &f->results[i]);
}

static void assert_told(const struct fixture *f, unsigned i, enum err e)
{
	if (f->results[i].told != 1 || f->results[i].e != e)
		fail_msg("call %u was told %u times, '%s' (%s), not '%s'", i, f->results[i].told,
			 err_str(f->results[i].e), f->results[i].detail, err_str(e));
}

static void hsm_starts(struct fixture *f)
{
	assert_int_equal(hsm_new(f->base, &f->options, on_link, f, &f->hsm), E_OK);
}

static void link_comes_up(struct fixture *f)
{
	hsm_starts(f);
	signer_greets(f);
	WAIT_FOR(f, f->links_up == 1);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->folder, sizeof(f->folder), "/tmp/csrd-link-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/s.sock", f->folder);
	f->base = event_base_new();
	assert_non_null(f->base);
	f->listener = -1;
	f->peer = -1;
	f->options = (struct hsm_options){.token_name = "default",
					  .socket_path = f->path,
					  .client_name = "link-test",
					  .in_flight_max = 64,
					  .reconnect_min_ms = 5,
					  .reconnect_max_ms = 20};
	current = f;
	signer_listens(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hsm_free(f->hsm);
	event_base_free(f->base);
	if (f->peer >= 0)
		close(f->peer);
	if (f->listener >= 0)
		close(f->listener);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

/* ---- coming up ---- */

static void link_comes_up_after_hello(void **state)
{
	struct fixture *f = *state;
	struct frame frame;
	struct message_hello hello;

	hsm_starts(f);
	assert_false(hsm_is_up(f->hsm));
	assert_string_equal(hsm_down_reason(f->hsm), "not connected yet");
	assert_string_equal(hsm_token_name(f->hsm), "default");
	WAIT_FOR(f, signer_accepts(f));
	frame = signer_reads(f, MESSAGE_HELLO);
	assert_int_equal(frame.request_id, 0);
	assert_int_equal(message_hello_decode(frame.payload, frame.payload_len, &hello), E_OK);
	assert_int_equal(hello.version, MESSAGE_PROTOCOL_VERSION);
	assert_string_equal(hello.client, "link-test");
	message_hello_release(&hello);
	settle(f);
	assert_int_equal(f->links_up, 0);
	assert_int_equal(hsm_key_types(f->hsm), 0);
	signer_sends_hello(f, MESSAGE_PROTOCOL_VERSION, "default");
	WAIT_FOR(f, f->links_up == 1);
	assert_int_equal(hsm_key_types(f->hsm), KEY_TYPE_BIT(KEY_P256V1));
}

static void signer_that_comes_later_is_found(void **state)
{
	struct fixture *f = *state;

	close(f->listener);
	unlink(f->path);
	hsm_starts(f);
	WAIT_FOR(f, strstr(hsm_down_reason(f->hsm), "cannot connect to '"));
	signer_listens(f);
	signer_greets(f);
	WAIT_FOR(f, f->links_up == 1);
	assert_int_equal(f->links_down, 0);
}

/* For who would rather not wait: each attempt is told, and it still goes on trying. */
static void failed_attempts_are_told_on_wish(void **state)
{
	struct fixture *f = *state;

	close(f->listener);
	unlink(f->path);
	f->options.tell_failures = true;
	hsm_starts(f);
	WAIT_FOR(f, f->links_down == 2);
	signer_listens(f);
	signer_greets(f);
	WAIT_FOR(f, f->links_up == 1);
}

/* The next connection is taken, and it works: what came before did no lasting harm. */
static void link_recovers(struct fixture *f)
{
	unsigned before = f->links_up;

	if (f->peer >= 0)
		signer_hangs_up(f);
	signer_greets(f);
	WAIT_FOR(f, f->links_up == before + 1);
}

static void hello_is_refused(struct fixture *f, const char *reason)
{
	WAIT_FOR(f, strstr(hsm_down_reason(f->hsm), reason));
	assert_int_equal(f->links_up, 0);
	assert_int_equal(f->links_down, 0);
	link_recovers(f);
}

static void hello_of_another_version_is_refused(void **state)
{
	struct fixture *f = *state;

	hsm_starts(f);
	WAIT_FOR(f, signer_accepts(f));
	signer_sends_hello(f, MESSAGE_PROTOCOL_VERSION + 1, "default");
	hello_is_refused(f, "version 5");
}

static void hello_of_another_token_is_refused(void **state)
{
	struct fixture *f = *state;

	hsm_starts(f);
	WAIT_FOR(f, signer_accepts(f));
	signer_sends_hello(f, MESSAGE_PROTOCOL_VERSION, "other");
	hello_is_refused(f, "serves token 'other'");
}

static void hello_that_is_garbage_is_refused(void **state)
{
	struct fixture *f = *state;

	hsm_starts(f);
	WAIT_FOR(f, signer_accepts(f));
	signer_sends_find_reply(f, 0, MESSAGE_KEY_NONE);
	hello_is_refused(f, "hello makes no sense");
}

static void reason_of_a_signer_that_refuses_is_kept(void **state)
{
	struct fixture *f = *state;

	hsm_starts(f);
	WAIT_FOR(f, signer_accepts(f));
	signer_sends_error(f, 0, E_DENIED, "user 1234 may not connect");
	signer_hangs_up(f);
	hello_is_refused(f, "user 1234 may not connect");
}

static void hello_without_answer_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->options.hello_timeout_ms = 1000;
	hsm_starts(f);
	WAIT_FOR(f, signer_accepts(f));
	hello_is_refused(f, "no answer to hello within 1000 ms");
}

/* Each try is one connection; an unlimited doubling would take 5 ms × 2^14. */
static void tries_back_off_up_to_the_maximum(void **state)
{
	struct fixture *f = *state;
	uint64_t start, previous = 0;

	f->options.reconnect_min_ms = 20;
	f->options.reconnect_max_ms = 80;
	hsm_starts(f);
	start = clock_ms();
	for (unsigned try = 0; try < 14; try++) {
		uint64_t now, expected = try == 1 ? 20 : try == 2 ? 40 : 80;

		WAIT_FOR(f, signer_accepts(f));
		now = clock_ms();
		if (try > 0 && now - previous + 5 < expected)
			fail_msg("try %u came after %u ms", try, (unsigned)(now - previous));
		previous = now;
		signer_hangs_up(f);
	}
	assert_true(clock_ms() - start < PATIENCE_MS);
}

/* ---- calls ---- */

static void calls_without_a_link_are_unavailable_and_told_later(void **state)
{
	struct fixture *f = *state;

	hsm_starts(f);
	call_create(f, 0, 1, in_ms(5000));
	hsm_destroy_key(f->hsm, KEY_LABEL, in_ms(5000), destroy_done, &f->results[1]);
	call_find(f, 2, in_ms(5000));
	hsm_list_keys(f->hsm, in_ms(5000), list_done, &f->results[3]);
	hsm_status(f->hsm, in_ms(5000), status_done, &f->results[4]);
	assert_int_equal(f->told, 0);
	assert_int_equal(hsm_in_flight(f->hsm), 5);
	WAIT_FOR(f, f->told == 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_told(f, i, E_UNAVAIL);
		assert_int_equal(f->results[i].order, i + 1);
	}
	assert_string_equal(f->results[0].detail, "not connected yet");
	assert_int_equal(hsm_in_flight(f->hsm), 0);
}

static void create_goes_there_and_back(void **state)
{
	struct fixture *f = *state;
	struct frame frame;
	struct message_create_csr m;

	link_comes_up(f);
	call_create(f, 0, 1, in_ms(10000));
	frame = signer_reads(f, MESSAGE_CREATE_CSR);
	assert_int_equal(message_create_csr_decode(frame.payload, frame.payload_len, &m), E_OK);
	assert_string_equal(m.csr_id, CSR_ID);
	assert_string_equal(m.spec.common_name, "www.example.com");
	assert_null(m.spec.organizational_unit);
	assert_true(m.timeout_ms <= 10000 && m.timeout_ms > 5000);
	message_create_csr_release(&m);
	assert_int_equal(f->told, 0);
	signer_sends_create_reply(f, frame.request_id, KEY_P256V1);
	WAIT_FOR(f, f->told == 1);
	assert_told(f, 0, E_OK);
	assert_int_equal(f->results[0].key_type, KEY_P256V1);
	assert_int_equal(f->results[0].der_len, 2);
	assert_memory_equal(f->results[0].der, "\x30\x00", 2);
	/* F333 */
	assert_int_equal(hsm_figures(f->hsm)->ended[MESSAGE_CREATE_CSR][E_OK], 1);
	assert_true(hsm_figures(f->hsm)->creates[KEY_P256V1].sum_ns > 0);
	assert_int_equal(hsm_figures(f->hsm)->creates[KEY_RSA2048].sum_ns, 0);
}

static void destroy_and_status_go_there_and_back(void **state)
{
	struct fixture *f = *state;
	struct frame frame;
	struct buf b;

	link_comes_up(f);
	hsm_destroy_key(f->hsm, KEY_LABEL, in_ms(10000), destroy_done, &f->results[0]);
	frame = signer_reads(f, MESSAGE_DESTROY_KEY);
	buf_init(&b, 1024);
	message_destroy_key_reply_encode(&b, &(struct message_destroy_key_reply){.destroyed = 2});
	signer_sends(f, frame.request_id, MESSAGE_DESTROY_KEY | MESSAGE_REPLY, &b);
	hsm_status(f->hsm, in_ms(10000), status_done, &f->results[1]);
	frame = signer_reads(f, MESSAGE_STATUS);
	assert_int_equal(frame.payload_len, 0);
	buf_init(&b, 1024);
	message_status_reply_encode(&b, &(struct message_status_reply){.usable = true, .created = 77});
	signer_sends(f, frame.request_id, MESSAGE_STATUS | MESSAGE_REPLY, &b);
	WAIT_FOR(f, f->told == 2);
	assert_told(f, 0, E_OK);
	assert_int_equal(f->results[0].destroyed, 2);
	assert_told(f, 1, E_OK);
	assert_int_equal(f->results[1].created, 77);
}

static void answers_in_any_order_find_their_calls(void **state)
{
	struct fixture *f = *state;
	static const unsigned order[] = {3, 0, 4, 1, 2};
	uint32_t ids[5];

	link_comes_up(f);
	for (unsigned i = 0; i < 5; i++)
		call_find(f, i, in_ms(10000));
	for (unsigned i = 0; i < 5; i++)
		ids[i] = signer_reads(f, MESSAGE_FIND_KEY).request_id;
	for (unsigned i = 0; i < 5; i++)
		signer_sends_find_reply(f, ids[order[i]], (enum message_key_presence)order[i]);
	WAIT_FOR(f, f->told == 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_told(f, i, E_OK);
		assert_int_equal(f->results[i].presence, i);
		assert_int_equal(f->results[order[i]].order, i + 1);
	}
}

static void answer_cut_into_bytes_is_put_together(void **state)
{
	struct fixture *f = *state;
	struct buf payload, b;
	uint32_t id;

	link_comes_up(f);
	call_find(f, 0, in_ms(10000));
	id = signer_reads(f, MESSAGE_FIND_KEY).request_id;
	buf_init(&payload, 100);
	buf_init(&b, 100);
	message_find_key_reply_encode(&payload,
				      &(struct message_find_key_reply){.presence = MESSAGE_KEY_PAIR});
	frame_put(&b, id, MESSAGE_FIND_KEY | MESSAGE_REPLY, payload.data, payload.len);
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(f->told, 0);
		signer_sends_bytes(f, b.data + i, 1);
		settle(f);
	}
	WAIT_FOR(f, f->told == 1);
	assert_told(f, 0, E_OK);
	buf_release(&payload);
	buf_release(&b);
}

static void signer_sends_part(struct fixture *f, uint32_t request_id, size_t len, bool last)
{
	struct message_listed_key keys[3] = {0};
	char label[] = "csrd:x";
	struct buf b;

	for (size_t i = 0; i < 3; i++)
		keys[i].label = label;
	buf_init(&b, 4096);
	message_list_keys_part_encode(
	    &b, &(struct message_list_keys_part){.last = last, .keys = keys, .keys_len = len});
	signer_sends(f, request_id, MESSAGE_LIST_KEYS | MESSAGE_REPLY, &b);
}

static void list_comes_in_parts(void **state)
{
	struct fixture *f = *state;
	uint32_t id;

	link_comes_up(f);
	hsm_list_keys(f->hsm, in_ms(10000), list_done, &f->results[0]);
	id = signer_reads(f, MESSAGE_LIST_KEYS).request_id;
	signer_sends_part(f, id, 3, false);
	WAIT_FOR(f, f->told == 1);
	assert_false(f->results[0].last);
	assert_int_equal(hsm_in_flight(f->hsm), 1);
	signer_sends_part(f, id, 2, false);
	signer_sends_part(f, id, 0, true);
	WAIT_FOR(f, f->told == 3);
	assert_true(f->results[0].last);
	assert_int_equal(f->results[0].keys, 5);
	assert_int_equal(hsm_in_flight(f->hsm), 0);
}

static void errors_of_the_signer_reach_the_caller(void **state)
{
	struct fixture *f = *state;

	link_comes_up(f);
	call_create(f, 0, 1, in_ms(10000));
	signer_sends_error(f, signer_reads(f, MESSAGE_CREATE_CSR).request_id, E_BUSY, "queue is full");
	call_create(f, 1, 1, in_ms(10000));
	signer_sends_error(f, signer_reads(f, MESSAGE_CREATE_CSR).request_id, E_UNCERTAIN,
			   "half a pair is left");
	call_find(f, 2, in_ms(10000));
	signer_sends_error(f, signer_reads(f, MESSAGE_FIND_KEY).request_id, E_UNCERTAIN, "");
	WAIT_FOR(f, f->told == 3);
	assert_told(f, 0, E_BUSY);
	assert_string_equal(f->results[0].detail, "queue is full");
	assert_told(f, 1, E_UNCERTAIN);
	assert_told(f, 2, E_HSM); /* it changed nothing */
	assert_true(hsm_is_up(f->hsm));
}

static void inspected_key_is_told(void **state)
{
	struct fixture *f = *state;
	char why[] = "why";
	struct message_inspect_key_reply reply = {.presence = MESSAGE_KEY_PAIR, .detail = why};
	struct buf b;

	link_comes_up(f);
	hsm_inspect_key(f->hsm, KEY_LABEL, in_ms(10000), inspect_done, &f->results[0]);
	buf_init(&b, 1024);
	message_inspect_key_reply_encode(&b, &reply);
	signer_sends(f, signer_reads(f, MESSAGE_INSPECT_KEY).request_id, MESSAGE_INSPECT_KEY | MESSAGE_REPLY,
		     &b);
	hsm_inspect_key(f->hsm, KEY_LABEL, in_ms(10000), inspect_done, &f->results[1]);
	signer_sends_error(f, signer_reads(f, MESSAGE_INSPECT_KEY).request_id, E_BUSY, "at work");
	hsm_inspect_key(f->hsm, KEY_LABEL, in_ms(10000), inspect_done, &f->results[2]);
	signer_reads(f, MESSAGE_INSPECT_KEY);
	WAIT_FOR(f, f->told == 2);
	signer_hangs_up(f);
	WAIT_FOR(f, f->told == 3);
	assert_told(f, 0, E_OK);
	assert_told(f, 1, E_BUSY);
	assert_told(f, 2, E_UNAVAIL); /* it changes nothing, so it is never uncertain */
}

static void values_that_fit_no_message_are_refused(void **state)
{
	struct fixture *f = *state;
	struct frame frame;

	link_comes_up(f);
	hsm_destroy_key(f->hsm, "no-uuid", in_ms(10000), destroy_done, &f->results[0]);
	hsm_find_key(f->hsm, KEY_LABEL "and more", in_ms(10000), find_done, &f->results[1]);
	WAIT_FOR(f, f->told == 2);
	assert_told(f, 0, E_INVAL);
	assert_told(f, 1, E_INVAL);
	settle(f);
	assert_false(signer_has_frame(f, &frame));
}

static void calls_past_the_maximum_are_busy(void **state)
{
	struct fixture *f = *state;
	uint32_t id;

	f->options.in_flight_max = 2;
	link_comes_up(f);
	for (unsigned i = 0; i < 40; i++)
		call_find(f, i, in_ms(10000));
	assert_int_equal(f->told, 0);
	WAIT_FOR(f, f->told == 38);
	for (unsigned i = 2; i < 40; i++)
		assert_told(f, i, E_BUSY);
	id = signer_reads(f, MESSAGE_FIND_KEY).request_id;
	signer_reads(f, MESSAGE_FIND_KEY);
	signer_sends_find_reply(f, id, MESSAGE_KEY_NONE);
	WAIT_FOR(f, f->told == 39);
	assert_told(f, 0, E_OK);
	call_find(f, 40, in_ms(10000)); /* there is room for one again */
	id = signer_reads(f, MESSAGE_FIND_KEY).request_id;
	signer_sends_find_reply(f, id, MESSAGE_KEY_NONE);
	WAIT_FOR(f, f->told == 40);
	assert_told(f, 40, E_OK);
}

/* ---- deadlines ---- */

static void deadline_of_a_sent_call(void **state)
{
	struct fixture *f = *state;
	uint32_t create, find, list;

	link_comes_up(f);
	call_create(f, 0, 1, in_ms(800));
	call_find(f, 1, in_ms(800));
	hsm_list_keys(f->hsm, in_ms(800), list_done, &f->results[2]);
	create = signer_reads(f, MESSAGE_CREATE_CSR).request_id;
	find = signer_reads(f, MESSAGE_FIND_KEY).request_id;
	list = signer_reads(f, MESSAGE_LIST_KEYS).request_id;
	WAIT_FOR(f, f->told == 3);
	assert_told(f, 0, E_UNCERTAIN);
	assert_told(f, 1, E_TIMEOUT);
	assert_told(f, 2, E_TIMEOUT);
	assert_int_equal(hsm_in_flight(f->hsm), 0);
	/* Answers that come late are no breach of the protocol, and nobody is told twice. */
	signer_sends_create_reply(f, create, KEY_P256V1);
	signer_sends_error(f, find, E_TIMEOUT, "late");
	signer_sends_part(f, list, 1, false);
	signer_sends_part(f, list, 1, true);
	call_find(f, 3, in_ms(10000));
	signer_sends_find_reply(f, signer_reads(f, MESSAGE_FIND_KEY).request_id, MESSAGE_KEY_NONE);
	WAIT_FOR(f, f->told == 4);
	assert_told(f, 3, E_OK);
	assert_told(f, 0, E_UNCERTAIN);
	assert_int_equal(f->links_down, 0);
}

static void calls_that_a_hung_signer_holds_count_until_it_answers(void **state)
{
	struct fixture *f = *state;
	uint32_t id;

	f->options.in_flight_max = 1;
	link_comes_up(f);
	call_find(f, 0, in_ms(500));
	id = signer_reads(f, MESSAGE_FIND_KEY).request_id;
	WAIT_FOR(f, f->told == 1);
	call_find(f, 1, in_ms(10000));
	WAIT_FOR(f, f->told == 2);
	assert_told(f, 1, E_BUSY);
	signer_sends_find_reply(f, id, MESSAGE_KEY_NONE);
	settle(f);
	call_find(f, 2, in_ms(10000));
	signer_sends_find_reply(f, signer_reads(f, MESSAGE_FIND_KEY).request_id, MESSAGE_KEY_NONE);
	WAIT_FOR(f, f->told == 3);
	assert_told(f, 2, E_OK);
}

static void deadline_in_the_past_sends_nothing(void **state)
{
	struct fixture *f = *state;
	struct frame frame;

	link_comes_up(f);
	call_create(f, 0, 1, clock_ms() - 1);
	call_find(f, 1, 0);
	assert_int_equal(f->told, 0);
	WAIT_FOR(f, f->told == 2);
	assert_told(f, 0, E_TIMEOUT);
	assert_told(f, 1, E_TIMEOUT);
	settle(f);
	assert_false(signer_has_frame(f, &frame));
	assert_true(hsm_is_up(f->hsm));
}

/* More than the socket takes: the signer reads nothing. */
static unsigned stuff_the_socket(struct fixture *f, uint64_t deadline_ms)
{
	unsigned calls = 60;

	for (unsigned i = 0; i < calls; i++)
		call_create(f, i, CSR_SANS_MAX, deadline_ms);
	settle(f);
	return calls;
}

/* What the signer has got whole; the client does not move meanwhile. */
static unsigned whole_frames(struct fixture *f)
{
	struct frame frame;
	unsigned count = 0;

	while (signer_has_frame(f, &frame))
		count++;
	return count;
}

static void deadline_before_sending_is_a_clean_timeout(void **state)
{
	struct fixture *f = *state;
	unsigned calls, whole;

	link_comes_up(f);
	calls = stuff_the_socket(f, in_ms(1000));
	WAIT_FOR(f, f->told == calls);
	whole = whole_frames(f);
	assert_in_range(whole, 1, calls - 2);
	for (unsigned i = 0; i < calls; i++) {
		/* The first not whole has begun to be sent, and will be. */
		assert_told(f, i, i <= whole ? E_UNCERTAIN : E_TIMEOUT);
	}
	WAIT_FOR(f, whole_frames(f) == 1);
	settle(f);
	assert_int_equal(whole_frames(f), 0); /* those that timed out are never sent */
	assert_true(hsm_is_up(f->hsm));
}

/* ---- the end of the link ---- */

static void link_cut_in_mid_call(void **state)
{
	struct fixture *f = *state;

	link_comes_up(f);
	call_create(f, 0, 1, in_ms(10000));
	call_find(f, 1, in_ms(10000));
	hsm_destroy_key(f->hsm, KEY_LABEL, in_ms(10000), destroy_done, &f->results[2]);
	hsm_list_keys(f->hsm, in_ms(10000), list_done, &f->results[3]);
	hsm_status(f->hsm, in_ms(10000), status_done, &f->results[4]);
	signer_reads(f, MESSAGE_CREATE_CSR);
	signer_reads(f, MESSAGE_FIND_KEY);
	signer_reads(f, MESSAGE_DESTROY_KEY);
	signer_reads(f, MESSAGE_LIST_KEYS);
	signer_reads(f, MESSAGE_STATUS);
	signer_hangs_up(f);
	WAIT_FOR(f, f->links_down == 1);
	assert_told(f, 0, E_UNCERTAIN);
	assert_told(f, 1, E_UNAVAIL);
	assert_told(f, 2, E_UNCERTAIN);
	assert_told(f, 3, E_UNAVAIL);
	assert_told(f, 4, E_UNAVAIL);
	assert_int_equal(f->told_at_link_down, 5);
	assert_non_null(strstr(hsm_down_reason(f->hsm), "closed the connection"));
	/* F333 */
	assert_int_equal(hsm_figures(f->hsm)->ended[MESSAGE_CREATE_CSR][E_UNCERTAIN], 1);
	assert_int_equal(hsm_figures(f->hsm)->ended[MESSAGE_STATUS][E_UNAVAIL], 1);
	assert_int_equal(hsm_figures(f->hsm)->links, 1);
	link_recovers(f);
	assert_int_equal(hsm_figures(f->hsm)->links, 2);
}

static void link_cut_before_sending_is_a_clean_failure(void **state)
{
	struct fixture *f = *state;
	unsigned calls, whole;

	link_comes_up(f);
	calls = stuff_the_socket(f, in_ms(60000));
	whole = whole_frames(f);
	assert_in_range(whole, 1, calls - 2);
	signer_hangs_up(f);
	WAIT_FOR(f, f->links_down == 1);
	for (unsigned i = 0; i < calls; i++)
		assert_told(f, i, i < whole ? E_UNCERTAIN : E_UNAVAIL);
	link_recovers(f);
}

static void signer_that_no_longer_reads_is_left(void **state)
{
	struct fixture *f = *state;

	link_comes_up(f);
	assert_int_equal(shutdown(f->peer, SHUT_RD), 0);
	call_create(f, 0, 1, in_ms(60000));
	WAIT_FOR(f, f->links_down == 1);
	assert_told(f, 0, E_UNAVAIL);
	link_recovers(f);
}

static void breach_ends_the_link(struct fixture *f, const char *reason)
{
	WAIT_FOR(f, f->links_down == 1);
	if (!strstr(hsm_down_reason(f->hsm), reason))
		fail_msg("the reason is: %s", hsm_down_reason(f->hsm));
	assert_told(f, 0, E_UNCERTAIN);
	link_recovers(f);
}

static uint32_t create_in_flight(struct fixture *f)
{
	link_comes_up(f);
	call_create(f, 0, 1, in_ms(60000));
	return signer_reads(f, MESSAGE_CREATE_CSR).request_id;
}

static void oversize_frame_ends_the_link(void **state)
{
	struct fixture *f = *state;

	create_in_flight(f);
	signer_sends_bytes(f, "\x00\x02\x00\x07", 4);
	breach_ends_the_link(f, "impossible length");
}

static void answer_to_an_unknown_request_ends_the_link(void **state)
{
	struct fixture *f = *state;
	uint32_t id = create_in_flight(f);

	signer_sends_create_reply(f, id + 1, KEY_P256V1);
	breach_ends_the_link(f, "not asked");
}

static void answer_to_an_old_request_of_the_same_slot_ends_the_link(void **state)
{
	struct fixture *f = *state;
	uint32_t id = create_in_flight(f);

	signer_sends_create_reply(f, id - 65536, KEY_P256V1);
	breach_ends_the_link(f, "not asked");
}

/* Ids can be foreseen, but what was not asked cannot be answered. */
static void answer_to_a_request_not_sent_yet_ends_the_link(void **state)
{
	struct fixture *f = *state;
	struct frame frame;
	uint32_t first, second;
	unsigned calls;

	link_comes_up(f);
	calls = stuff_the_socket(f, in_ms(60000));
	assert_true(signer_has_frame(f, &frame));
	first = frame.request_id;
	assert_true(signer_has_frame(f, &frame));
	second = frame.request_id;
	signer_sends_create_reply(f, first + (calls - 1) * (second - first), KEY_P256V1);
	settle(f);
	assert_int_equal(f->links_down, 1);
	assert_non_null(strstr(hsm_down_reason(f->hsm), "not asked"));
	assert_told(f, 0, E_UNCERTAIN);
	assert_told(f, calls - 1, E_UNAVAIL);
	link_recovers(f);
}

static void answer_of_another_type_ends_the_link(void **state)
{
	struct fixture *f = *state;
	uint32_t id = create_in_flight(f);

	signer_sends_find_reply(f, id, MESSAGE_KEY_NONE);
	breach_ends_the_link(f, "type 0x8004 to a request of type 0x0002");
}

static void answer_that_cannot_be_decoded_ends_the_link(void **state)
{
	struct fixture *f = *state;
	uint32_t id = create_in_flight(f);
	struct buf b;

	buf_init(&b, 100);
	buf_put(&b, "garbage", 7);
	signer_sends(f, id, MESSAGE_CREATE_CSR | MESSAGE_REPLY, &b);
	breach_ends_the_link(f, "makes no sense");
}

static void answer_with_another_key_type_ends_the_link(void **state)
{
	struct fixture *f = *state;
	uint32_t id = create_in_flight(f);

	signer_sends_create_reply(f, id, KEY_RSA2048);
	breach_ends_the_link(f, "makes no sense");
}

static void second_answer_to_one_request_ends_the_link(void **state)
{
	struct fixture *f = *state;
	uint32_t id = create_in_flight(f), find;

	call_find(f, 1, in_ms(60000));
	find = signer_reads(f, MESSAGE_FIND_KEY).request_id;
	assert_true(find != id);
	signer_sends_find_reply(f, find, MESSAGE_KEY_NONE);
	signer_sends_find_reply(f, find, MESSAGE_KEY_PAIR);
	breach_ends_the_link(f, "not asked");
	assert_told(f, 1, E_OK);
	assert_int_equal(f->results[1].presence, MESSAGE_KEY_NONE);
}

/* A signer that breaks the protocol each time is not tried at the fastest pace. */
static void breaches_back_off(void **state)
{
	struct fixture *f = *state;
	uint64_t start;

	f->options.reconnect_min_ms = 10;
	f->options.reconnect_max_ms = 1000;
	hsm_starts(f);
	start = clock_ms();
	for (unsigned try = 1; try <= 5; try++) {
		signer_greets(f);
		WAIT_FOR(f, f->links_up == try);
		call_find(f, try, in_ms(10000)); /* not even when it was of use before */
		signer_sends_find_reply(f, signer_reads(f, MESSAGE_FIND_KEY).request_id, MESSAGE_KEY_NONE);
		WAIT_FOR(f, f->told == try);
		signer_sends_create_reply(f, 9, KEY_P256V1);
		WAIT_FOR(f, f->links_down == try);
		signer_hangs_up(f);
	}
	assert_true(clock_ms() - start + 5 >= 10 + 20 + 40 + 80);
}

static void repeated_failures_are_logged_once(void **state)
{
	struct fixture *f = *state;
	char text[4096] = "";
	int saved = dup(STDERR_FILENO), log = memfd_create("log", MFD_CLOEXEC);
	unsigned lines = 0;

	assert_true(saved >= 0 && log >= 0);
	assert_true(dup2(log, STDERR_FILENO) >= 0);
	f->options.reconnect_max_ms = 5;
	log_set_level(LOG_LEVEL_INFO);
	hsm_starts(f);
	for (unsigned try = 0; try < 6; try++) {
		WAIT_FOR(f, signer_accepts(f));
		signer_hangs_up(f);
	}
	log_set_level(LOG_LEVEL_ERROR);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	assert_true(pread(log, text, sizeof(text) - 1, 0) > 0);
	close(log);
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 1);
	assert_non_null(strstr(text, "signer 'default' is down: it closed the connection"));
}

/* ---- the end ---- */

static void free_tells_every_caller(void **state)
{
	struct fixture *f = *state;

	link_comes_up(f);
	call_create(f, 0, 1, in_ms(60000));
	call_find(f, 1, in_ms(60000));
	signer_reads(f, MESSAGE_CREATE_CSR);
	signer_reads(f, MESSAGE_FIND_KEY);
	call_create(f, 2, 1, in_ms(60000));   /* not sent: the loop has not run */
	call_create(f, 3, 1, clock_ms() - 1); /* refused and not told yet */
	hsm_free(f->hsm);
	f->hsm = NULL;
	assert_int_equal(f->told, 4);
	assert_told(f, 0, E_UNCERTAIN);
	assert_told(f, 1, E_UNAVAIL);
	assert_told(f, 2, E_UNAVAIL);
	assert_told(f, 3, E_TIMEOUT);
	assert_int_equal(f->links_down, 0);
	hsm_free(NULL);
}

static void call_again(void *arg, enum err e, const char *detail, const struct message_find_key_reply *reply)
{
	struct result *r = arg;

	find_done(&r[0], e, detail, reply);
	hsm_find_key(current->hsm, KEY_LABEL, in_ms(10000), find_done, &r[1]);
	assert_int_equal(r[1].told, 0);
}

static void callback_may_call_again(void **state)
{
	struct fixture *f = *state;

	f->options.in_flight_max = 1; /* the finished call has left its place */
	link_comes_up(f);
	hsm_find_key(f->hsm, KEY_LABEL, in_ms(10000), call_again, &f->results[0]);
	signer_sends_find_reply(f, signer_reads(f, MESSAGE_FIND_KEY).request_id, MESSAGE_KEY_PAIR);
	signer_sends_find_reply(f, signer_reads(f, MESSAGE_FIND_KEY).request_id, MESSAGE_KEY_NONE);
	WAIT_FOR(f, f->told == 2);
	assert_told(f, 0, E_OK);
	assert_told(f, 1, E_OK);
	/* Also when it is told of the link's end. */
	hsm_find_key(f->hsm, KEY_LABEL, in_ms(10000), call_again, &f->results[2]);
	signer_reads(f, MESSAGE_FIND_KEY);
	signer_hangs_up(f);
	WAIT_FOR(f, f->told == 4);
	assert_told(f, 2, E_UNAVAIL);
	assert_told(f, 3, E_UNAVAIL);
}

/* ---- a link that is looked at before it is used ---- */

static unsigned hellos;

static void on_hello(void *arg, struct hsm *hsm)
{
	uint64_t sequence = 0;

	(void)arg;
	hellos++;
	assert_false(hsm_is_up(hsm));
	assert_true(hsm_remembers_any(hsm));
	assert_true(hsm_remembers(hsm, (const uint8_t[MESSAGE_LINEAGE_BYTES]){7}, &sequence));
	assert_int_equal(sequence, 42);
	assert_false(hsm_remembers(hsm, (const uint8_t[MESSAGE_LINEAGE_BYTES]){8}, &sequence));
}

static void hsm_waits_to_be_accepted(struct fixture *f)
{
	hellos = 0;
	f->options.on_hello = on_hello;
	hsm_starts(f);
	signer_greets(f);
	WAIT_FOR(f, hellos == 1);
}

static void note_done(void *arg, enum err e, const char *detail)
{
	told(arg, e, detail);
}

static void unsettled_done(void *arg, enum err e, const char *detail,
			   const struct message_unsettled_reply *reply)
{
	if (e == E_OK) {
		assert_int_equal(reply->keys_len, 1);
		assert_string_equal(reply->keys[0].label, KEY_LABEL);
		assert_string_equal(reply->keys[0].csr_id, CSR_ID);
	}
	told(arg, e, detail);
}

static void signer_sends_unsettled(struct fixture *f, uint32_t request_id)
{
	struct message_unsettled_key key = {.label = KEY_LABEL, .csr_id = CSR_ID};
	struct buf b;

	buf_init(&b, 1024);
	message_unsettled_reply_encode(&b, &(struct message_unsettled_reply){.keys = &key, .keys_len = 1});
	signer_sends(f, request_id, MESSAGE_UNSETTLED | MESSAGE_REPLY, &b);
}

static void link_waits_until_it_is_accepted(void **state)
{
	static const char labels[][KEY_LABEL_SIZE] = {KEY_LABEL};
	const struct message_confirm kept = {.kept = true, .labels = labels, .labels_len = 1};
	struct message_confirm confirmed;
	struct message_unsettled asked;
	struct fixture *f = *state;
	struct message_store store = {.lineage = {7}, .sequence = 43}, noted;
	struct frame frame;

	current = f;
	hsm_waits_to_be_accepted(f);
	settle(f);
	assert_int_equal(f->links_up, 0);
	assert_true(strlen(hsm_down_reason(f->hsm)) > 0);
	/* Nothing but note-store, unsettled and confirm is sent on it. */
	hsm_status(f->hsm, clock_ms() + 10000, status_done, &f->results[0]);
	WAIT_FOR(f, f->told == 1);
	assert_told(f, 0, E_UNAVAIL);
	hsm_note_store(f->hsm, &store, clock_ms() + 10000, note_done, &f->results[1]);
	frame = signer_reads(f, MESSAGE_NOTE_STORE);
	assert_int_equal(message_note_store_decode(frame.payload, frame.payload_len, &noted), E_OK);
	assert_int_equal(noted.sequence, 43);
	signer_sends_nothing_but_yes(f, frame.request_id, MESSAGE_NOTE_STORE);
	WAIT_FOR(f, f->told == 2);
	assert_told(f, 1, E_OK);
	hsm_unsettled(f->hsm, 7, clock_ms() + 10000, unsettled_done, &f->results[2]);
	frame = signer_reads(f, MESSAGE_UNSETTLED);
	assert_int_equal(message_unsettled_decode(frame.payload, frame.payload_len, &asked), E_OK);
	assert_int_equal(asked.from, 7);
	signer_sends_unsettled(f, frame.request_id);
	WAIT_FOR(f, f->told == 3);
	assert_told(f, 2, E_OK);
	hsm_confirm(f->hsm, &kept, clock_ms() + 10000, note_done, &f->results[3]);
	frame = signer_reads(f, MESSAGE_CONFIRM);
	assert_int_equal(message_confirm_decode(frame.payload, frame.payload_len, &confirmed), E_OK);
	assert_true(confirmed.kept);
	assert_int_equal(confirmed.labels_len, 1);
	assert_string_equal(confirmed.labels[0], KEY_LABEL);
	message_confirm_release(&confirmed);
	signer_sends_nothing_but_yes(f, frame.request_id, MESSAGE_CONFIRM);
	WAIT_FOR(f, f->told == 4);
	assert_told(f, 3, E_OK);
	assert_int_equal(f->links_up, 0);
	hsm_accept(f->hsm);
	assert_int_equal(f->links_up, 1);
	assert_true(hsm_is_up(f->hsm));
	hsm_accept(f->hsm);
	hsm_decline(f->hsm, "too late");
	assert_int_equal(f->links_up, 1);
	assert_true(hsm_is_up(f->hsm));
}

static void link_that_is_declined_is_tried_again(void **state)
{
	struct fixture *f = *state;

	hsm_waits_to_be_accepted(f);
	hsm_decline(f->hsm, "not now");
	assert_string_equal(hsm_down_reason(f->hsm), "not now");
	assert_int_equal(f->links_down, 0);
	hsm_accept(f->hsm);
	assert_false(hsm_is_up(f->hsm));
	signer_hangs_up(f);
	signer_greets(f);
	WAIT_FOR(f, hellos == 2);
	hsm_accept(f->hsm);
	assert_int_equal(f->links_up, 1);
}

static void note_done_and_declined(void *arg, enum err e, const char *detail)
{
	hsm_decline(current->hsm, "not this one");
	told(arg, e, detail);
}

/* What came with the answer is of the link that is gone. */
static void link_may_be_declined_by_the_callback_of_a_call(void **state)
{
	struct fixture *f = *state;
	struct message_store store = {.lineage = {7}, .sequence = 43};
	struct frame frame;

	current = f;
	hsm_waits_to_be_accepted(f);
	hsm_note_store(f->hsm, &store, clock_ms() + 10000, note_done_and_declined, &f->results[0]);
	frame = signer_reads(f, MESSAGE_NOTE_STORE);
	signer_sends_nothing_but_yes(f, frame.request_id, MESSAGE_NOTE_STORE);
	WAIT_FOR(f, f->told == 1);
	assert_told(f, 0, E_OK);
	assert_string_equal(hsm_down_reason(f->hsm), "not this one");
	signer_hangs_up(f);
	signer_greets(f);
	WAIT_FOR(f, hellos == 2);
	hsm_accept(f->hsm);
	assert_int_equal(f->links_up, 1);
}

#define LINK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    LINK_TEST(link_comes_up_after_hello),
	    LINK_TEST(signer_that_comes_later_is_found),
	    LINK_TEST(failed_attempts_are_told_on_wish),
	    LINK_TEST(hello_of_another_version_is_refused),
	    LINK_TEST(hello_of_another_token_is_refused),
	    LINK_TEST(hello_that_is_garbage_is_refused),
	    LINK_TEST(reason_of_a_signer_that_refuses_is_kept),
	    LINK_TEST(hello_without_answer_is_given_up),
	    LINK_TEST(tries_back_off_up_to_the_maximum),
	    LINK_TEST(calls_without_a_link_are_unavailable_and_told_later),
	    LINK_TEST(create_goes_there_and_back),
	    LINK_TEST(destroy_and_status_go_there_and_back),
	    LINK_TEST(answers_in_any_order_find_their_calls),
	    LINK_TEST(answer_cut_into_bytes_is_put_together),
	    LINK_TEST(list_comes_in_parts),
	    LINK_TEST(errors_of_the_signer_reach_the_caller),
	    LINK_TEST(inspected_key_is_told),
	    LINK_TEST(values_that_fit_no_message_are_refused),
	    LINK_TEST(calls_past_the_maximum_are_busy),
	    LINK_TEST(deadline_of_a_sent_call),
	    LINK_TEST(calls_that_a_hung_signer_holds_count_until_it_answers),
	    LINK_TEST(deadline_in_the_past_sends_nothing),
	    LINK_TEST(deadline_before_sending_is_a_clean_timeout),
	    LINK_TEST(link_cut_in_mid_call),
	    LINK_TEST(link_cut_before_sending_is_a_clean_failure),
	    LINK_TEST(signer_that_no_longer_reads_is_left),
	    LINK_TEST(oversize_frame_ends_the_link),
	    LINK_TEST(answer_to_an_unknown_request_ends_the_link),
	    LINK_TEST(answer_to_an_old_request_of_the_same_slot_ends_the_link),
	    LINK_TEST(answer_to_a_request_not_sent_yet_ends_the_link),
	    LINK_TEST(answer_of_another_type_ends_the_link),
	    LINK_TEST(answer_that_cannot_be_decoded_ends_the_link),
	    LINK_TEST(answer_with_another_key_type_ends_the_link),
	    LINK_TEST(second_answer_to_one_request_ends_the_link),
	    LINK_TEST(breaches_back_off),
	    LINK_TEST(repeated_failures_are_logged_once),
	    LINK_TEST(free_tells_every_caller),
	    LINK_TEST(callback_may_call_again),
	    LINK_TEST(link_waits_until_it_is_accepted),
	    LINK_TEST(link_that_is_declined_is_tried_again),
	    LINK_TEST(link_may_be_declined_by_the_callback_of_a_call),
	};

	log_open("hsm_link_test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
