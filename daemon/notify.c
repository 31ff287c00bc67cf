/* SPDX-License-Identifier: Apache-2.0 */
/* Watches signers and store for the service manager, and puts into words how csrd is. */
#include "daemon/notify.h"

#include "base/clock.h"
#include "base/key.h"
#include "base/log.h"
#include "config/config.h"
#include "hsm/hsm.h"
#include "loop/timer.h"
#include "store/store.h"
#include "systemd/service.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_STARTING_MS 1000
#define LOOK_MS 5000
#define ANSWER_WITHIN_MS 10000
#define ASK_DEADLINE_MS 3600000 /* much later: a signer that hangs is asked once, not again and again */
#define EXTEND_EVERY_MS 20000
#define EXTEND_BY_MS 60000
#define OPEN_STORE_MS 600000
#define STOP_SPARE_MS 15000
#define STORE_SLOW_MS 3000
#define REASON_SIZE 256
#define NOTE_SIZE 320
#define STATUS_BYTES 2048

/* One signer, as last heard of. */
struct token_view {
	struct notify *notify;
	struct hsm *hsm;
	uint64_t asked_ms;        /* 0: no question is out */
	char reason[REASON_SIZE]; /* when it is not usable */
	struct notify_view view;
};

struct notify {
	struct notify_options options;
	struct timer look;
	struct timer feed;
	uint64_t extend_at_ms;
	bool looks; /* the timer runs */
	bool ready;
	bool stopping;
	bool hungry; /* the watchdog was not fed, and that was logged */
	bool store_asked;
	enum err store_error;
	char reload_note[NOTE_SIZE]; /* how the last reload ended; "": there was none */
	struct token_view tokens[CONFIG_TOKENS_MAX];
};

/* ---- words ---- */

static void notify_put_pools(struct buf *b, const struct token_view *t)
{
	const struct message_status_reply *status = &t->view.status;

	for (size_t i = 0; i < status->pools_len; i++)
		buf_printf(b, "%s %s %u/%u", i == 0 ? ", pool" : ",",
			   key_type_name(status->pools[i].key_type), status->pools[i].ready,
			   status->pools[i].target);
}

static void put_tokens(struct buf *b, const struct notify *n)
{
	for (size_t i = 0; i < n->options.hsms_len; i++) {
		const struct token_view *t = &n->tokens[i];

		buf_printf(b, "; token %s %s", hsm_token_name(t->hsm), t->view.usable ? "up" : "down: ");
		if (t->view.usable)
			notify_put_pools(b, t);
		else
			buf_put_str(b, t->reason);
	}
}

static void notify_put_store(struct buf *b, const struct notify *n)
{
	uint64_t ms = store_at_work_ms(n->options.store);

	if (ms >= STORE_SLOW_MS)
		buf_printf(b, "; store at one batch for %llu s", (unsigned long long)ms / 1000);
	else if (n->store_error != E_OK)
		buf_printf(b, "; store: %s", store_ping_text(n->store_error));
}

static void notify_put_status(struct buf *b, const struct notify *n)
{
	if (n->ready) {
		buf_put_str(b, "serving");
		put_tokens(b, n);
	} else {
		buf_printf(b, "waiting for signer '%s': %s", hsm_token_name(n->tokens[0].hsm),
			   n->tokens[0].reason);
	}
	notify_put_store(b, n);
	if (n->reload_note[0] != '\0')
		buf_printf(b, "; %s", n->reload_note);
}

/* ready: say so, too. */
static void notify_tell(struct notify *n, bool ready)
{
	struct buf b;

	if (n->stopping)
		return;
	buf_init(&b, STATUS_BYTES);
	notify_put_status(&b, n);
	if (ready)
		service_ready("%s", buf_text(&b));
	else
		service_status("%s", buf_text(&b));
	buf_release(&b);
}

/* ---- what is seen ---- */

/* Something changed. */
static void notify_judge(struct notify *n)
{
	bool first = !n->ready && !n->stopping && n->tokens[0].view.usable;

	if (first) {
		n->ready = true;
		if (service_is_managed())
			log_info("the service manager was notified that csrd is ready");
	}
	notify_tell(n, first);
}

static void set_down(struct token_view *t, const char *reason)
{
	t->view.usable = false;
	snprintf(t->reason, sizeof(t->reason), "%s", reason[0] != '\0' ? reason : "not connected yet");
}

static void token_view_take(struct token_view *t, const struct message_status_reply *reply)
{
	struct notify_view *view = &t->view;

	view->heard_us = clock_wall_us();
	view->status = *reply;
	view->status.detail = view->status.pool_detail = view->status.capabilities = NULL;
	view->usable = reply->usable;
	if (!reply->usable)
		set_down(t, reply->detail);
}

static void notify_on_status(void *arg, enum err e, const char *detail,
			     const struct message_status_reply *reply)
{
	struct token_view *t = arg;

	t->asked_ms = 0;
	if (t->notify->stopping)
		return;
	if (e == E_BUSY)
		return; /* it has much to do, which is no news of the token */
	if (e == E_OK)
		token_view_take(t, reply);
	else
		set_down(t, detail);
	notify_judge(t->notify);
}

static void notify_look_at(struct token_view *t, uint64_t now_ms)
{
	if (!hsm_is_up(t->hsm)) {
		set_down(t, hsm_down_reason(t->hsm));
	} else if (t->asked_ms == 0) {
		t->asked_ms = now_ms;
		hsm_status(t->hsm, now_ms + ASK_DEADLINE_MS, notify_on_status, t);
	} else if (now_ms - t->asked_ms > ANSWER_WITHIN_MS) {
		set_down(t, "the signer does not answer");
	}
}

static void notify_on_store(void *arg, enum err e)
{
	struct notify *n = arg;

	n->store_asked = false;
	if (e == n->store_error || e == E_BUSY || n->stopping)
		return;
	n->store_error = e;
	notify_judge(n);
}

static void notify_on_look(void *arg)
{
	struct notify *n = arg;
	uint64_t now_ms = clock_ms();

	if (n->stopping)
		return;
	for (size_t i = 0; i < n->options.hsms_len; i++)
		notify_look_at(&n->tokens[i], now_ms);
	if (!n->store_asked) {
		n->store_asked = true;
		store_ping(n->options.store, notify_on_store, n);
	}
	notify_judge(n);
	if (!n->ready && now_ms >= n->extend_at_ms && store_at_work_ms(n->options.store) < EXTEND_BY_MS) {
		n->extend_at_ms = now_ms + EXTEND_EVERY_MS;
		service_extend(EXTEND_BY_MS);
	}
	timer_start(&n->look, n->ready ? LOOK_MS : LOOK_STARTING_MS);
}

static void on_feed(void *arg)
{
	struct notify *n = arg;
	uint64_t at_work_ms = store_at_work_ms(n->options.store);

	if (at_work_ms < service_watchdog_ms()) {
		service_feed();
		n->hungry = false;
	} else if (!n->hungry) {
		n->hungry = true;
		log_error("the store thread has been at one batch for %llu s: the service manager's watchdog "
			  "is no longer fed",
			  (unsigned long long)at_work_ms / 1000);
	}
	timer_start(&n->feed, service_watchdog_ms() / 2);
}

/* ---- life ---- */

void notify_opening_store(void)
{
	service_extend(OPEN_STORE_MS);
	service_status("opening the store");
}

static void start_timers(struct notify *n)
{
	timer_init(&n->look, n->options.base, notify_on_look, n);
	timer_init(&n->feed, n->options.base, on_feed, n);
	timer_start(&n->look, 0);
	if (service_watchdog_ms() > 0)
		timer_start(&n->feed, 0);
}

enum err notify_new(const struct notify_options *options, struct notify **ret_notify)
{
	struct notify *n = calloc(1, sizeof(*n));

	if (!n)
		return E_NOMEM;
	n->options = *options;
	for (size_t i = 0; i < options->hsms_len; i++) {
		n->tokens[i].notify = n;
		n->tokens[i].hsm = options->hsms[i];
		set_down(&n->tokens[i], "");
	}
	n->looks = options->always || service_is_managed();
	if (n->looks)
		start_timers(n);
	*ret_notify = n;
	return E_OK;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	timer_stop(&n->look);
	timer_stop(&n->feed);
	free(n);
}

/* ---- what the rest of csrd asks and says ---- */

const struct notify_view *notify_view(const struct notify *n, size_t index)
{
	return &n->tokens[index].view;
}

bool notify_store_is_usable(const struct notify *n)
{
	return n->store_error == E_OK;
}

void notify_link(struct notify *n, const struct hsm *hsm)
{
	if (!n || !n->looks || n->stopping)
		return;
	for (size_t i = 0; i < n->options.hsms_len; i++)
		if (n->tokens[i].hsm == hsm)
			notify_look_at(&n->tokens[i], clock_ms());
	notify_judge(n);
}

/* Before it is ready there is nothing that a reload could end with. */
void notify_reloading(struct notify *n)
{
	if (n && n->ready)
		service_reloading();
}

void notify_reloaded(struct notify *n, const struct buf *problems)
{
	char now[CLOCK_RFC3339_SIZE];
	const char *text = problems ? buf_text(problems) : "";

	if (!n)
		return;
	clock_format_rfc3339(clock_wall_us(), now);
	if (!problems)
		snprintf(n->reload_note, sizeof(n->reload_note), "configuration reloaded at %.19sZ", now);
	else
		snprintf(n->reload_note, sizeof(n->reload_note),
			 "reload refused at %.19sZ, the old configuration stays: %.*s", now,
			 (int)strcspn(text, "\n"), text);
	notify_tell(n, n->ready);
}

void notify_stopping(struct notify *n, unsigned in_flight, uint64_t within_ms)
{
	if (!n)
		return;
	n->stopping = true;
	service_extend(within_ms + STOP_SPARE_MS);
	service_stopping("stopping: %u requests in flight", in_flight);
}
