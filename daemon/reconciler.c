/* SPDX-License-Identifier: Apache-2.0 */
/* Decides when the passes of api/reconcile.h run, one at a time, and says what they found. */
#include "daemon/reconciler.h"

#include "api/api.h"
#include "api/reconcile.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "hsm/hsm.h"
#include "loop/timer.h"
#include "store/store_url.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPARE_EVERY_MS ((uint64_t)60 * 60 * 1000)
#define SAID_MAX 5          /* findings of one kind that are named in the log */
#define SOON_MS 200         /* after the api asked: what is in flight may end meanwhile */
#define RETRY_MIN_MS 5000   /* after a pass that failed or left something; doubles from here … */
#define RETRY_MAX_MS 300000 /* … to here */

#define FINDINGS_LEN (RECONCILE_SET_ASIDE + 1)
#define LABEL_SIZE 256

/* What one token is due, and what was said of it last. */
struct due {
	bool settle;
	bool follows;                   /* settle once more when `soon` fires */
	uint64_t compared_ms;           /* clock_ms of the last whole comparison; 0: never */
	uint64_t digests[FINDINGS_LEN]; /* of what stays, by kind; 0: nothing */
	uint64_t counts[2]; /* likewise, of the line of counts: passes without and with a comparison */
};

/* What the running pass has found of one kind. */
struct tally {
	uint64_t count;
	uint64_t digest;
	struct {
		char label[LABEL_SIZE];
		char csr_id[CSR_ID_SIZE]; /* "": not known */
	} first[SAID_MAX];
};

struct reconciler {
	struct reconciler_options options;
	struct timer interval;
	struct timer soon;
	uint64_t retry_ms;
	/*
	 * A signer may be at work still on what was asked of it before, and use a key after it told which are
	 * unsettled: more passes follow, ever later.
	 */
	bool follows;
	struct due *dues; /* in the order of the hsms */
	size_t running;   /* index of the token whose pass runs */
	struct tally tallies[FINDINGS_LEN];
	bool runs;
	bool compares;
	bool stopped;
};

static void look_again_in(struct reconciler *r, uint64_t ms)
{
	if (r->stopped)
		return;
	if (ms < RETRY_MIN_MS || !timer_runs(&r->soon))
		timer_start(&r->soon, ms);
}

static void retry_later(struct reconciler *r)
{
	look_again_in(r, r->retry_ms);
	r->retry_ms = r->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : r->retry_ms * 2;
}

static void start_interval(struct reconciler *r)
{
	uint64_t ms = r->options.config->policy.reconcile_interval_ms;

	timer_stop(&r->interval);
	if (ms > 0)
		timer_start(&r->interval, ms);
}

static bool is_in_work(void *arg, const char *csr_id)
{
	const struct reconciler *r = arg;

	return api_works_on(r->options.api, csr_id);
}

static bool reconciler_should_stop(void *arg)
{
	const struct reconciler *r = arg;

	return r->stopped;
}

/* ---- what is said: the first few of each kind, and what stays as it is only once ---- */

/* What only a person can end: it is found again by each comparison. */
static bool stays(enum reconcile_finding finding)
{
	return finding == RECONCILE_MISSING || finding == RECONCILE_UNKNOWN || finding == RECONCILE_SET_ASIDE;
}

/* FNV-1a: nobody gains by two sets of findings that look alike. */
static uint64_t hash_of(const char *label, enum message_key_presence presence)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)presence;

	for (; *label; label++)
		hash = (hash ^ (uint8_t)*label) * UINT64_C(0x100000001b3);
	return hash;
}

static void say_finding(const struct reconciler *r, enum reconcile_finding finding, const char *csr_id,
			const char *label)
{
	struct log_context context = {.csr_id = csr_id[0] != '\0' ? csr_id : NULL};

	log_write(stays(finding) ? LOG_LEVEL_WARN : LOG_LEVEL_NOTICE, &context,
		  "reconciliation of token '%s': %s, key '%s'", hsm_token_name(r->options.hsms[r->running]),
		  reconcile_finding_name(finding), label);
}

static void reconciler_on_finding(void *arg, enum reconcile_finding finding, const char *csr_id,
				  const char *label, enum message_key_presence presence)
{
	struct reconciler *r = arg;
	struct tally *tally = &r->tallies[finding];

	/* The order of a list is the token's: the sum does not depend on it. */
	tally->digest += hash_of(label, presence);
	if (tally->count++ >= SAID_MAX || finding == RECONCILE_BUSY)
		return;
	if (!stays(finding)) {
		say_finding(r, finding, csr_id, label);
		return;
	}
	snprintf(tally->first[tally->count - 1].label, LABEL_SIZE, "%s", label);
	snprintf(tally->first[tally->count - 1].csr_id, CSR_ID_SIZE, "%s", csr_id);
}

static void say_more(const struct reconciler *r, enum reconcile_finding finding)
{
	const char *token = hsm_token_name(r->options.hsms[r->running]);
	uint64_t count = r->tallies[finding].count;

	if (count > SAID_MAX)
		log_notice("reconciliation of token '%s': %" PRIu64
			   " more that are %s, not named here: 'csrctl verify --token %s' and 'csrctl audit' "
			   "name them",
			   token, count - SAID_MAX, reconcile_finding_name(finding), token);
}

/* What stays is said once the comparison has found all of it, and when that is not what it was. */
static void say_kind(struct reconciler *r, enum reconcile_finding finding, bool compared)
{
	const struct tally *tally = &r->tallies[finding];
	uint64_t *digest = &r->dues[r->running].digests[finding];

	if (!stays(finding)) {
		say_more(r, finding);
		return;
	}
	if (!compared || *digest == tally->digest)
		return;
	*digest = tally->digest;
	for (uint64_t i = 0; i < tally->count && i < SAID_MAX; i++)
		say_finding(r, finding, tally->first[i].csr_id, tally->first[i].label);
	say_more(r, finding);
}

static uint64_t digest_of(const struct reconcile_report *c)
{
	const uint64_t counts[] = {c->pending, c->deleting,   c->leftover, c->missing, c->unknown,
				   c->busy,    c->half_pairs, c->unread,   c->unclear, c->set_aside};
	uint64_t digest = 0;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		digest = (digest ^ counts[i]) * UINT64_C(0x100000001b3);
	return digest;
}

static void say_counts(struct reconciler *r, const struct reconcile_report *c)
{
	struct due *due = &r->dues[r->running];
	uint64_t done = c->pending + c->deleting + c->leftover;
	uint64_t left =
	    c->missing + c->unknown + c->busy + c->half_pairs + c->unread + c->unclear + c->set_aside;
	uint64_t digest = digest_of(c);
	bool changed = digest != due->counts[r->compares];

	due->counts[r->compares] = digest;
	log_write(
	    done > 0 || (left > 0 && changed) ? LOG_LEVEL_NOTICE : LOG_LEVEL_DEBUG, NULL,
	    "reconciliation of token '%s': %" PRIu64 " checked, %" PRIu64 " pending, %" PRIu64
	    " deleting, %" PRIu64 " leftover, %" PRIu64 " missing, %" PRIu64 " unknown, %" PRIu64
	    " half pairs, %" PRIu64 " busy, %" PRIu64 " unread, %" PRIu64 " unclear, %" PRIu64 " set aside",
	    hsm_token_name(r->options.hsms[r->running]), c->checked, c->pending, c->deleting, c->leftover,
	    c->missing, c->unknown, c->half_pairs, c->busy, c->unread, c->unclear, c->set_aside);
}

static void say_report(struct reconciler *r, const struct reconcile_report *report)
{
	for (unsigned i = RECONCILE_PENDING; i < FINDINGS_LEN; i++)
		if (i != RECONCILE_BUSY)
			say_kind(r, (enum reconcile_finding)i, report->compared);
	say_counts(r, report);
}

static void start_next(struct reconciler *r);

static void reconciler_on_done(void *arg, enum err e, const struct reconcile_report *report)
{
	struct reconciler *r = arg;
	struct due *due = &r->dues[r->running];

	r->runs = false;
	if (r->stopped)
		return; /* the hsm may be gone */
	say_report(r, report);
	if (e == E_OK) {
		if (r->compares)
			due->compared_ms = clock_ms();
		if (report->compared && r->options.on_compared)
			r->options.on_compared(r->options.arg, hsm_token_name(r->options.hsms[r->running]),
					       report);
	} else {
		log_warn("reconciliation of token '%s' ended early: %s",
			 hsm_token_name(r->options.hsms[r->running]), err_str(e));
	}
	if (report->compare_again)
		due->compared_ms = 0;
	if (e != E_OK || report->busy > 0) {
		due->settle = true;
		retry_later(r);
		return;
	}
	if (r->follows && r->retry_ms < RETRY_MAX_MS) {
		due->follows = true;
		retry_later(r);
	} else {
		r->follows = false;
		r->retry_ms = RETRY_MIN_MS;
	}
	start_next(r);
}

/* On a store that is not shared this process knows all that is being worked on; else others may be at it. */
static int64_t min_age_us(const struct config *config)
{
	if (!store_url_is_shared(config->store.url))
		return 0;
	return (int64_t)config->http.request_timeout_ms * 2000;
}

static bool start_pass(struct reconciler *r, size_t i)
{
	struct due *due = &r->dues[i];
	bool compare = due->compared_ms == 0 || clock_ms() - due->compared_ms >= COMPARE_EVERY_MS;
	struct reconcile_options options = {
	    .store = r->options.store,
	    .hsm = r->options.hsms[i],
	    .vouched = true, /* the link is up: see daemon/vouch.h */
	    .apply = true,
	    .compare_keys = compare,
	    .min_age_us = min_age_us(r->options.config),
	    .actor = "system",
	    .on_finding = reconciler_on_finding,
	    .is_in_work = is_in_work,
	    .should_stop = reconciler_should_stop,
	    .arg = r,
	};
	enum err e;

	due->settle = false;
	r->running = i;
	r->runs = true;
	r->compares = compare;
	memset(r->tallies, 0, sizeof(r->tallies));
	e = reconcile_start(&options, reconciler_on_done);
	if (e == E_OK)
		return true;
	r->runs = false;
	due->settle = true;
	log_err(e, "cannot start reconciliation of token '%s'", hsm_token_name(r->options.hsms[i]));
	retry_later(r);
	return false;
}

static void start_next(struct reconciler *r)
{
	for (size_t i = 0; i < r->options.hsms_len && !r->runs && !r->stopped; i++)
		if (r->dues[i].settle && hsm_is_up(r->options.hsms[i]) && !start_pass(r, i))
			return;
}

static void on_soon(void *arg)
{
	struct reconciler *r = arg;

	for (size_t i = 0; i < r->options.hsms_len; i++) {
		r->dues[i].settle = r->dues[i].settle || r->dues[i].follows;
		r->dues[i].follows = false;
	}
	start_next(r);
}

static void on_interval(void *arg)
{
	struct reconciler *r = arg;

	start_interval(r);
	for (size_t i = 0; i < r->options.hsms_len; i++)
		r->dues[i].settle = true;
	start_next(r);
}

void reconciler_link_up(struct reconciler *r, const struct hsm *hsm)
{
	for (size_t i = 0; i < r->options.hsms_len; i++)
		if (r->options.hsms[i] == hsm)
			r->dues[i].settle = true;
	r->follows = true;
	r->retry_ms = RETRY_MIN_MS;
	look_again_in(r, 0);
}

void reconciler_want(struct reconciler *r)
{
	for (size_t i = 0; i < r->options.hsms_len; i++)
		r->dues[i].settle = true;
	r->follows = true;
	r->retry_ms = RETRY_MIN_MS;
	look_again_in(r, SOON_MS);
}

void reconciler_reload(struct reconciler *r)
{
	if (!r->stopped)
		start_interval(r);
}

void reconciler_stop(struct reconciler *r)
{
	r->stopped = true;
	timer_stop(&r->interval);
	timer_stop(&r->soon);
}

bool reconciler_runs(const struct reconciler *r)
{
	return r->runs;
}

enum err reconciler_new(struct event_base *base, const struct reconciler_options *options,
			struct reconciler **ret_reconciler)
{
	struct reconciler *r = calloc(1, sizeof(*r));

	if (!r)
		return E_NOMEM;
	r->options = *options;
	r->retry_ms = RETRY_MIN_MS;
	r->dues = calloc(options->hsms_len, sizeof(*r->dues));
	timer_init(&r->interval, base, on_interval, r);
	timer_init(&r->soon, base, on_soon, r);
	if (!r->dues) {
		reconciler_free(r);
		return E_NOMEM;
	}
	start_interval(r);
	*ret_reconciler = r;
	return E_OK;
}

void reconciler_free(struct reconciler *r)
{
	if (!r)
		return;
	timer_stop(&r->interval);
	timer_stop(&r->soon);
	free(r->dues);
	free(r);
}
