/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to a signer for one status. */
#include "cli/signer_status.h"

#include "base/clock.h"
#include "cli/loop.h"
#include "hsm/hsm.h"

#include <stdbool.h>

struct question {
	const struct config_token *token;
	unsigned seconds;
	signer_status_fn told;
	void *arg;
	struct buf *why;
	struct loop *loop;
	struct hsm *hsm;
	bool asked;
	bool over;
};

static void signer_status_on_status(void *arg, enum err e, const char *detail,
				    const struct message_status_reply *status)
{
	struct question *q = arg;

	if (q->over) /* hsm_free ended what took too long */
		return;
	if (e == E_OK)
		q->told(q->arg, status);
	else
		buf_printf(q->why, "the signer of token '%s' does not answer: %s", q->token->name, detail);
	loop_stop(q->loop, e);
}

static void signer_status_on_link(void *arg, struct hsm *hsm, bool up)
{
	struct question *q = arg;

	if (!up && !q->asked)
		loop_stop(q->loop, E_UNAVAIL);
	if (!up || q->asked)
		return;
	q->asked = true;
	hsm_status(hsm, clock_ms() + (uint64_t)q->seconds * 1000, signer_status_on_status, q);
}

static enum err signer_status_run(struct question *q)
{
	const struct loop_link link = {q->token, q->seconds, signer_status_on_link, q};
	enum err e = loop_new(NULL, &q->loop);

	if (e == E_OK)
		e = loop_connect(q->loop, &link, &q->hsm);
	return e == E_OK ? loop_run(q->loop) : e;
}

const char *signer_status_silence(const struct hsm *hsm, enum err e)
{
	if (e == E_TIMEOUT)
		return "it accepts the connection and sends nothing: it hangs, or its token does";
	return hsm ? hsm_down_reason(hsm) : err_str(e);
}

enum err signer_status_ask(const struct config_token *token, unsigned seconds, signer_status_fn told,
			   void *arg, struct buf *why)
{
	struct question q = {.token = token, .seconds = seconds, .told = told, .arg = arg, .why = why};
	enum err e = signer_status_run(&q);

	if ((e == E_TIMEOUT || e == E_UNAVAIL) && why->len == 0) {
		buf_printf(why, "the signer of token '%s' does not answer at '%s': %s", token->name,
			   token->socket, signer_status_silence(q.hsm, e));
		e = E_UNAVAIL;
	} else if (e != E_OK && why->len == 0) {
		buf_printf(why, "cannot reach the signer of token '%s': %s", token->name, err_str(e));
	}
	q.over = true;
	hsm_free(q.hsm);
	loop_free(q.loop);
	return e;
}
