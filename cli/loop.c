/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop of commands that talk to the signer. */
#include "cli/loop.h"

#include "loop/timer.h"

#include <event2/event.h>
#include <stdlib.h>

#define TICK_MS 200

struct loop {
	struct event_base *base;
	struct event *store;
	struct timer timeout;
	struct timer tick; /* with `when` */
	loop_when_fn when;
	bool stopped;
	enum err e;
};

static void loop_on_store(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
	store_dispatch(arg);
}

static void on_timeout(void *arg)
{
	loop_stop(arg, E_TIMEOUT);
}

static void loop_on_tick(void *arg)
{
	struct loop *loop = arg;

	if (loop->when())
		loop_stop(loop, E_TIMEOUT);
	else
		timer_start(&loop->tick, TICK_MS);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->store)
		event_free(loop->store);
	timer_stop(&loop->timeout);
	timer_stop(&loop->tick);
	if (loop->base)
		event_base_free(loop->base);
	free(loop);
}

enum err loop_new(struct store *store, struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return E_NOMEM;
	loop->base = event_base_new();
	if (!loop->base)
		goto fail;
	if (store) {
		loop->store =
		    event_new(loop->base, store_fd(store), EV_READ | EV_PERSIST, loop_on_store, store);
		if (!loop->store || event_add(loop->store, NULL) != 0)
			goto fail;
	}
	timer_init(&loop->timeout, loop->base, on_timeout, loop);
	timer_init(&loop->tick, loop->base, loop_on_tick, loop);
	*ret_loop = loop;
	return E_OK;
fail:
	loop_free(loop);
	return E_NOMEM;
}

enum err loop_connect(struct loop *loop, const struct loop_link *link, struct hsm **ret_hsm)
{
	const struct hsm_options options = {
	    .token_name = link->token->name,
	    .socket_path = link->token->socket,
	    .client_name = "csrctl",
	    .in_flight_max = 4,
	    .tell_failures = true,
	    .reconnect_min_ms = 100,
	    .reconnect_max_ms = 1000,
	};

	timer_start(&loop->timeout, link->seconds * UINT64_C(1000));
	return hsm_new(loop->base, &options, link->on_link, link->arg, ret_hsm);
}

void loop_clear_timeout(struct loop *loop)
{
	timer_stop(&loop->timeout);
}

struct ask {
	const struct hsm *hsm;
	loop_vouched_fn done;
	void *arg;
};

static void loop_on_mark(void *arg, enum err e, const struct store_mark *mark)
{
	struct ask *ask = arg;
	uint64_t sequence;
	bool vouched = e == E_OK && mark->has_lineage && hsm_remembers(ask->hsm, mark->lineage, &sequence) &&
		       sequence <= (uint64_t)mark->sequence;

	ask->done(ask->arg, e, vouched);
	free(ask);
}

void loop_ask_vouched(struct store *store, struct hsm *hsm, loop_vouched_fn done, void *arg)
{
	struct ask *ask = calloc(1, sizeof(*ask));

	if (!ask) {
		done(arg, E_NOMEM, false);
		return;
	}
	*ask = (struct ask){.hsm = hsm, .done = done, .arg = arg};
	store_mark_get(store, hsm_token_name(hsm), loop_on_mark, ask);
}

void loop_stop_when(struct loop *loop, loop_when_fn when)
{
	loop->when = when;
	timer_start(&loop->tick, TICK_MS);
}

enum err loop_run(struct loop *loop)
{
	if (event_base_dispatch(loop->base) < 0 || !loop->stopped)
		return E_IO;
	return loop->e;
}

void loop_stop(struct loop *loop, enum err e)
{
	loop->stopped = true;
	loop->e = e;
	event_base_loopbreak(loop->base);
}
