/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP contract: routes, authentication, validation, replies
 * (doc/api.md).  It calls the store and the HSM through their headers and
 * knows no HTTP library, no SQL and no PKCS#11.  Everything runs on the loop's
 * thread and nothing blocks.
 */
#ifndef CSRD_API_API_H
#define CSRD_API_API_H

#include "api/request.h"
#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"
#include "hsm/hsm.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

struct api;
struct limit_figures;
struct metric_times;

struct api_options {
	const struct config *config; /* borrowed for the api's life; may change between requests (reload) */
	struct store *store;
	struct hsm **hsms; /* borrowed; in the order of config->tokens; the first makes new keys */
	size_t hsms_len;
	/*
	 * Called when a create or delete ended with its outcome unsettled, so that reconciliation
	 * need not wait. NULL is fine.
	 */
	void (*want_reconcile)(void *arg);
	void *want_reconcile_arg;
	/* Called when the row of a new CSR is durable: its signer may know, at any time.  NULL is fine. */
	void (*want_confirm)(void *arg, struct hsm *hsm, const char *key_label);
	void *want_confirm_arg;
	/*
	 * Requests one call of api_tick, at at_ms of clock_ms() or a little later, in place of the one
	 * requested before.  Does not call api_tick itself.
	 */
	void (*want_tick)(void *arg, uint64_t at_ms);
	void *want_tick_arg;
	unsigned waiting_max; /* requests that may wait (api_waiting); each holds a connection; past it 503 */
};
/* Copies the options.  Reads files (the Public Suffix List): for start-up.  E_NOMEM. */
MUST_USE enum err api_new(const struct api_options *options, struct api **ret_api);
void api_free(struct api *api); /* only when api_in_flight is 0 */

/* Takes the request, until it has been answered. */
void api_handle(struct api *api, struct request *request);

/*
 * Answers a request that was refused before it could be handled (413, 431, 400 of the HTTP layer),
 * in the envelope.
 */
void api_refuse(struct api *api, struct request *request, int status, const char *why);

/* The call that want_tick requested: lets requests that wait for others look again. */
void api_tick(struct api *api);

/* Requests taken and not answered yet. */
unsigned api_in_flight(const struct api *api);
/* How many of them wait: for another request or reconciliation to end, or for their turn to list. */
unsigned api_waiting(const struct api *api);

/* From when a request is taken until the store has told who the caller is; in the same question it tells what
   a create or a get needs to know. */
const struct metric_times *api_auth_times(const struct api *api); /* borrowed */

/* Whom the limits refused. */
void api_limit_figures(const struct api *api, struct limit_figures *ret_figures);

/* How many API tokens and users that were used in the last day end within two weeks. */
unsigned api_principals_ending(const struct api *api);

/* Writes down which principals were used; to be called about once a minute. */
void api_note_uses(struct api *api);

/*
 * From now on /readyz says "draining", and creates and deletes get 503, including those that wait for a
 * CSR on which no request of this process works.
 */
void api_drain(struct api *api);

/* True while this process works on that CSR, so reconciliation leaves it alone. */
bool api_works_on(const struct api *api, const char *csr_id);

#endif
