/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the signers which of the keys they used have a row by now (hsm.h, confirm):
 * some time after the answer, many at once.  What is lost here, reconciliation
 * tells them when it asks what they do not know the end of (hsm.h, unsettled).
 */
#ifndef CSRD_DAEMON_CONFIRM_H
#define CSRD_DAEMON_CONFIRM_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct confirm;
struct event_base;
struct hsm;

struct confirm_options {
	struct event_base *base; /* all borrowed for the life */
	struct hsm **hsms;
	size_t hsms_len;
	void (*on_lost)(void *arg); /* a signer could not be told */
	void *arg;
};
/* E_NOMEM. */
MUST_USE enum err confirm_new(const struct confirm_options *options, struct confirm **ret_confirm);
/* After hsm_free of all, whose last callbacks come here.  NULL is fine. */
void confirm_free(struct confirm *c);

/* The row of a CSR with this key is durable.  key_label: copied. */
void confirm_add(struct confirm *c, const struct hsm *hsm, const char *key_label);

/* Tells them now, and then calls done: within a second, or at once. */
void confirm_flush(struct confirm *c, void (*done)(void *arg), void *arg);

/* From now on no hsm is touched and nobody is called. */
void confirm_stop(struct confirm *c);

#endif
