/* SPDX-License-Identifier: Apache-2.0 */
/* Gathers keys for each signer, until they are many or the oldest has waited for a moment. */
#include "daemon/confirm.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "hsm/hsm.h"
#include "loop/timer.h"

#include <stdio.h>
#include <stdlib.h>

#define GATHER_KEYS 64
#define GATHER_MS 100
#define CALL_TIMEOUT_MS 10000
#define FLUSH_WITHIN_MS 1000

/* Of one signer. */
struct confirm_queue {
	struct confirm *c;
	char labels[GATHER_KEYS][KEY_LABEL_SIZE];
	size_t labels_len;
};

struct confirm {
	struct confirm_options options;
	struct confirm_queue *queues; /* in the order of the hsms */
	struct timer timer;
	unsigned in_flight; /* calls */
	void (*flushed)(void *arg);
	void *flushed_arg;
	bool stopped;
};

static void confirm_end_flush(struct confirm *c)
{
	void (*done)(void *arg) = c->flushed;

	c->flushed = NULL;
	timer_stop(&c->timer);
	if (done)
		done(c->flushed_arg);
}

static void confirm_on_told(void *arg, enum err e, const char *detail)
{
	const struct confirm_queue *q = arg;
	struct confirm *c = q->c;

	c->in_flight--;
	if (c->stopped)
		return;
	if (e != E_OK) {
		log_debug("keys were not confirmed to their signer: %s (%s)", err_str(e), detail);
		c->options.on_lost(c->options.arg);
	}
	if (c->flushed && c->in_flight == 0)
		confirm_end_flush(c);
}

static void confirm_send(struct confirm *c, size_t i)
{
	struct confirm_queue *q = &c->queues[i];
	const struct message_confirm m = {.labels = q->labels, .labels_len = q->labels_len};

	if (q->labels_len == 0)
		return;
	FAILPOINT("create.before-confirm");
	q->labels_len = 0;
	c->in_flight++;
	hsm_confirm(c->options.hsms[i], &m, clock_ms() + CALL_TIMEOUT_MS, confirm_on_told, q);
}

static void confirm_send_all(struct confirm *c)
{
	for (size_t i = 0; i < c->options.hsms_len; i++)
		confirm_send(c, i);
}

static void confirm_on_timer(void *arg)
{
	struct confirm *c = arg;

	if (c->flushed)
		confirm_end_flush(c); /* a signer that hangs keeps nobody from ending */
	else
		confirm_send_all(c);
}

void confirm_add(struct confirm *c, const struct hsm *hsm, const char *key_label)
{
	for (size_t i = 0; i < c->options.hsms_len && !c->stopped; i++) {
		struct confirm_queue *q = &c->queues[i];

		if (c->options.hsms[i] != hsm)
			continue;
		snprintf(q->labels[q->labels_len++], sizeof(q->labels[0]), "%s", key_label);
		if (q->labels_len == GATHER_KEYS)
			confirm_send(c, i);
		else if (!timer_runs(&c->timer))
			timer_start(&c->timer, GATHER_MS);
	}
}

void confirm_flush(struct confirm *c, void (*done)(void *arg), void *arg)
{
	c->flushed = done;
	c->flushed_arg = arg;
	confirm_send_all(c);
	if (c->in_flight == 0)
		confirm_end_flush(c);
	else
		timer_start(&c->timer, FLUSH_WITHIN_MS);
}

/* ---- life ---- */

enum err confirm_new(const struct confirm_options *options, struct confirm **ret_confirm)
{
	struct confirm *c = calloc(1, sizeof(*c));

	if (!c)
		return E_NOMEM;
	c->options = *options;
	c->queues = calloc(options->hsms_len, sizeof(*c->queues));
	timer_init(&c->timer, options->base, confirm_on_timer, c);
	if (!c->queues) {
		confirm_free(c);
		return E_NOMEM;
	}
	for (size_t i = 0; i < options->hsms_len; i++)
		c->queues[i].c = c;
	*ret_confirm = c;
	return E_OK;
}

void confirm_stop(struct confirm *c)
{
	c->stopped = true;
	timer_stop(&c->timer);
}

void confirm_free(struct confirm *c)
{
	if (!c)
		return;
	timer_stop(&c->timer);
	free(c->queues);
	free(c);
}
