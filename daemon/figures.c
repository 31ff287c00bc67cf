/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page, subject by subject.  A figure of every token is a row of a table; the
 * others are put one by one.
 */
#include "daemon/figures.h"

#include "api/api.h"
#include "api/limit.h"
#include "api/reconcile.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/key.h"
#include "base/log.h"
#include "base/metric.h"
#include "daemon/conn_set.h"
#include "daemon/http.h"
#include "daemon/notify.h"
#include "daemon/process.h"
#include "daemon/running.h"
#include "daemon/tls.h"
#include "hsm/hsm.h"
#include "store/store.h"

#include <event2/event.h>
#include <stdlib.h>

struct figures {
	struct figures_options options;
	int64_t started_us;
	int64_t reloaded_us; /* the last time that a configuration was taken over */
	bool reload_failed;  /* the last reload did */
};

#define ONE_LABEL(name, value)                                                                               \
	(const struct metric_label[])                                                                        \
	{                                                                                                    \
		{(name), (value)},                                                                           \
		{                                                                                            \
			0                                                                                    \
		}                                                                                            \
	}
#define TWO_LABELS(name, value, name2, value2)                                                               \
	(const struct metric_label[])                                                                        \
	{                                                                                                    \
		{(name), (value)}, {(name2), (value2)},                                                      \
		{                                                                                            \
			0                                                                                    \
		}                                                                                            \
	}

enum err figures_new(const struct figures_options *options, struct figures **ret_figures)
{
	struct figures *figures = calloc(1, sizeof(*figures));

	if (!figures)
		return E_NOMEM;
	figures->options = *options;
	figures->started_us = figures->reloaded_us = clock_wall_us();
	*ret_figures = figures;
	return E_OK;
}

void figures_free(struct figures *figures)
{
	free(figures);
}

void figures_reloaded(struct figures *figures, enum err e)
{
	figures->reload_failed = e != E_OK;
	if (e == E_OK)
		figures->reloaded_us = clock_wall_us();
}

static void figures_put_gauge(struct buf *b, const char *name, const char *help, uint64_t value)
{
	metric_put_head(b, name, METRIC_GAUGE, help);
	metric_put(b, name, NULL, value);
}

static void figures_put_counter(struct buf *b, const char *name, const char *help, uint64_t value)
{
	metric_put_head(b, name, METRIC_COUNTER, help);
	metric_put(b, name, NULL, value);
}

/* ---- the program ---- */

static void figures_put_program(const struct figures *figures, struct buf *b)
{
	static const char build[] = "csrd_build_info",
			  at[] = "csrd_config_last_reload_success_timestamp_seconds";

	metric_put_head(b, build, METRIC_GAUGE, "Always 1; the labels say which csrd this is.");
	metric_put(b, build, TWO_LABELS("version", CSRD_VERSION, "libevent", event_get_version()), 1);
	figures_put_gauge(b, "csrd_config_last_reload_successful",
			  "0 when the last reload was refused, so that an older configuration is in force.",
			  !figures->reload_failed);
	metric_put_head(b, at, METRIC_GAUGE, "When a configuration was last taken over, since 1970.");
	metric_put_seconds(b, at, NULL, (uint64_t)figures->reloaded_us);
	figures_put_counter(b, "csrd_log_lost_lines_total",
			    "Lines of the log that were dropped because nobody read it fast enough.",
			    log_lost());
}

/* ---- HTTP ---- */

static void figures_put_http(const struct figures *figures, struct buf *b)
{
	static const char auth[] = "csrd_auth_duration_seconds";
	const struct figures_options *o = &figures->options;
	struct conn_set_figures conns;

	http_conn_figures(o->http, &conns);
	figures_put_gauge(b, "csrd_http_connections", "Open connections.", conns.open);
	figures_put_gauge(b, "csrd_http_connections_max",
			  "How many connections may be open: max_connections, or what the descriptors allow.",
			  conns.max);
	figures_put_counter(b, "csrd_http_connections_accepted_total", "Connections accepted.",
			    conns.accepted);
	figures_put_counter(b, "csrd_http_connections_evicted_total",
			    "Connections closed to make room for others.", conns.evicted);
	figures_put_counter(b, "csrd_http_connections_refused_total",
			    "Connections closed at once, since their address had as many as it may.",
			    conns.refused);
	figures_put_gauge(b, "csrd_http_unsent_bytes", "Bytes of answers that clients have not taken yet.",
			  conns.unsent_bytes);
	figures_put_gauge(b, "csrd_http_requests_in_flight", "Requests taken and not answered yet.",
			  http_in_flight(o->http));
	figures_put_gauge(b, "csrd_http_requests_waiting",
			  "Those in flight that wait for another request, or for their turn to list.",
			  api_waiting(o->api));
	http_put_requests(o->http, b);
	metric_put_head(b, auth, METRIC_HISTOGRAM,
			"From the last byte of a request until the store has told who sent it.");
	metric_put_times(b, auth, NULL, api_auth_times(o->api));
}

static void figures_put_limits(const struct figures *figures, struct buf *b)
{
	static const char limited[] = "csrd_limits_refused_requests_total";
	static const char *const by[LIMIT_BYS] = {
	    [LIMIT_BY_ADDRESS] = "address",
	    [LIMIT_BY_PRINCIPAL] = "principal",
	    [LIMIT_BY_FAILED_LOGINS] = "failed_logins",
	};
	struct limit_figures f;

	api_limit_figures(figures->options.api, &f);
	metric_put_head(b, limited, METRIC_COUNTER, "Requests answered 429, by what they were too many of.");
	for (size_t i = 0; i < LIMIT_BYS; i++)
		metric_put(b, limited, ONE_LABEL("limit", by[i]), f.refused[i]);
	figures_put_counter(b, "csrd_failed_logins_total",
			    "Credentials that were refused, whether with 401 or with 429.", f.failed_logins);
	figures_put_gauge(b, "csrd_principals_ending",
			  "API tokens and users that were used in the last day and end within two weeks.",
			  api_principals_ending(figures->options.api));
	figures_put_counter(b, "csrd_limits_dropped_total",
			    "Callers whose count was forgotten early to make room for others.", f.dropped);
}

/* ---- TLS ---- */

/* Of one that failed the version is not told: most fail before there is one. */
static const struct {
	const char *result;
	const char *version;
} figures_handshakes[TLS_OUTCOMES] = {
    [TLS_FULL_1_2] = {"full", "1.2"},       [TLS_FULL_1_3] = {"full", "1.3"},
    [TLS_RESUMED_1_2] = {"resumed", "1.2"}, [TLS_RESUMED_1_3] = {"resumed", "1.3"},
    [TLS_FAILED] = {"failed", "none"},      [TLS_REFUSED] = {"refused", "none"},
    [TLS_TIMED_OUT] = {"timeout", "none"},
};

static void figures_put_tls(const struct figures *figures, struct buf *b)
{
	static const char handshakes[] = "csrd_tls_handshakes_total";
	struct tls_figures f;

	if (!figures->options.tls)
		return;
	tls_figures(figures->options.tls, &f);
	metric_put_head(b, handshakes, METRIC_COUNTER, "TLS handshakes, by how they ended.");
	for (size_t i = 0; i < TLS_OUTCOMES; i++)
		metric_put(b, handshakes,
			   TWO_LABELS("result", figures_handshakes[i].result, "version",
				      figures_handshakes[i].version),
			   f.handshakes[i]);
	figures_put_gauge(b, "csrd_tls_certificate_expiry_timestamp_seconds",
			  "When the certificate that clients are shown ends, since 1970.",
			  f.certificate_end_s);
	if (f.client_ca_end_s)
		figures_put_gauge(b, "csrd_tls_client_ca_expiry_timestamp_seconds",
				  "When the first of the CAs of tls_client_ca ends, since 1970.",
				  f.client_ca_end_s);
	if (f.client_crl_end_s)
		figures_put_gauge(b, "csrd_tls_client_crl_expiry_timestamp_seconds",
				  "When the first of the CRLs of tls_client_crl ends, since 1970.",
				  f.client_crl_end_s);
}

/* ---- the store ---- */

static void figures_put_store(const struct figures *figures, struct buf *b)
{
	static const char operations[] = "csrd_store_operation_duration_seconds";
	static const char commits[] = "csrd_store_commit_duration_seconds";
	static const char busy[] = "csrd_store_busy_seconds";
	const struct store *store = figures->options.store;
	struct store_figures f;

	store_figures(store, &f);
	figures_put_gauge(b, "csrd_store_usable", "1 when the store answered its last check.",
			  notify_store_is_usable(figures->options.notify));
	figures_put_gauge(b, "csrd_store_queue_length", "Operations that wait for a thread of the store.",
			  store_queued(store));
	metric_put_head(b, busy, METRIC_GAUGE,
			"How long the slowest thread of the store has been at one operation.");
	metric_put_seconds(b, busy, NULL, store_at_work_ms(store) * 1000);
	figures_put_counter(b, "csrd_store_failures_total",
			    "Operations that ended because the database failed, or the queue was full.",
			    f.failed);
	metric_put_head(b, operations, METRIC_HISTOGRAM,
			"From when an operation is queued until its result is delivered; writes are durable "
			"then.");
	metric_put_times(b, operations, ONE_LABEL("kind", "read"), &f.reads);
	metric_put_times(b, operations, ONE_LABEL("kind", "write"), &f.writes);
	metric_put_head(b, commits, METRIC_HISTOGRAM,
			"Transactions of the thread that writes, from begin to commit, many writes in each.");
	metric_put_times(b, commits, NULL, &f.commits);
}

/* ---- a number of each token ---- */

struct token_figures {
	const struct hsm *hsm;
	const struct notify_view *view;
};

static uint64_t token_is_up(const struct token_figures *t)
{
	return hsm_is_up(t->hsm);
}

static uint64_t token_is_usable(const struct token_figures *t)
{
	return hsm_is_up(t->hsm) && t->view->usable;
}

static uint64_t token_links(const struct token_figures *t)
{
	return hsm_figures(t->hsm)->links;
}

static uint64_t token_in_flight(const struct token_figures *t)
{
	return hsm_in_flight(t->hsm);
}

static uint64_t token_heard_seconds(const struct token_figures *t)
{
	return (uint64_t)t->view->heard_us / 1000000;
}

static uint64_t token_threads(const struct token_figures *t)
{
	return t->view->status.threads;
}

static uint64_t token_busy(const struct token_figures *t)
{
	return t->view->status.busy;
}

static uint64_t token_queued(const struct token_figures *t)
{
	return t->view->status.queued;
}

static uint64_t token_created(const struct token_figures *t)
{
	return t->view->status.created;
}

static uint64_t token_destroyed(const struct token_figures *t)
{
	return t->view->status.destroyed;
}

static uint64_t token_failed(const struct token_figures *t)
{
	return t->view->status.failed;
}

static uint64_t token_other_keys(const struct token_figures *t)
{
	return t->view->status.other_keys;
}

static const struct token_metric {
	const char *name;
	const char *help;
	enum metric_type type;
	bool is_of_status; /* the signer's own figure: there is none while it cannot be asked */
	uint64_t (*read)(const struct token_figures *t);
} token_metrics[] = {
    {"csrd_signer_up", "1 while there is a link to the signer.", METRIC_GAUGE, false, token_is_up},
    {"csrd_token_usable", "1 when the signer says that its token is usable.", METRIC_GAUGE, false,
     token_is_usable},
    {"csrd_signer_links_total",
     "Links to the signer that came up. Each after the first: the signer ended, by its watchdog or "
     "otherwise, "
     "or was restarted.",
     METRIC_COUNTER, false, token_links},
    {"csrd_signer_calls_in_flight", "Calls to the signer that are not answered yet.", METRIC_GAUGE, false,
     token_in_flight},
    {"csrd_signer_status_timestamp_seconds",
     "When the signer last answered STATUS, since 1970: the age of the figures that are its own.",
     METRIC_GAUGE, true, token_heard_seconds},
    {"csrd_signer_threads", "PKCS#11 sessions at work in the signer.", METRIC_GAUGE, true, token_threads},
    {"csrd_signer_busy_threads", "How many of them are busy.", METRIC_GAUGE, true, token_busy},
    {"csrd_signer_queue_length", "Requests that wait for one of them.", METRIC_GAUGE, true, token_queued},
    {"csrd_signer_created_csrs_total", "CSRs made since the signer started.", METRIC_COUNTER, true,
     token_created},
    {"csrd_signer_destroyed_keys_total", "Keys destroyed since the signer started.", METRIC_COUNTER, true,
     token_destroyed},
    {"csrd_signer_failed_operations_total", "Operations that ended in an error since the signer started.",
     METRIC_COUNTER, true, token_failed},
    {"csrd_pool_other_nodes_keys", "Ready keys of other nodes on the token.", METRIC_GAUGE, true,
     token_other_keys},
};

static bool token_has(const struct token_figures *t, const struct token_metric *metric)
{
	return !metric->is_of_status || (hsm_is_up(t->hsm) && t->view->heard_us != 0);
}

static struct token_figures token_at(const struct figures *figures, size_t i)
{
	return (struct token_figures){figures->options.hsms[i], notify_view(figures->options.notify, i)};
}

static void figures_put_token_numbers(const struct figures *figures, struct buf *b)
{
	for (size_t m = 0; m < sizeof(token_metrics) / sizeof(token_metrics[0]); m++) {
		const struct token_metric *metric = &token_metrics[m];

		metric_put_head(b, metric->name, metric->type, metric->help);
		for (size_t i = 0; i < figures->options.hsms_len; i++) {
			struct token_figures t = token_at(figures, i);

			if (token_has(&t, metric))
				metric_put(b, metric->name, ONE_LABEL("token", hsm_token_name(t.hsm)),
					   metric->read(&t));
		}
	}
}

/* ---- keys that are ready ---- */

static void figures_put_pools(const struct figures *figures, struct buf *b, const char *name,
			      const char *help, bool targets)
{
	metric_put_head(b, name, METRIC_GAUGE, help);
	for (size_t i = 0; i < figures->options.hsms_len; i++) {
		struct token_figures t = token_at(figures, i);
		const struct message_status_reply *status = &t.view->status;

		for (size_t p = 0; hsm_is_up(t.hsm) && p < status->pools_len; p++)
			metric_put(b, name,
				   TWO_LABELS("token", hsm_token_name(t.hsm), "key_type",
					      key_type_name(status->pools[p].key_type)),
				   targets ? status->pools[p].target : status->pools[p].ready);
	}
}

/* ---- calls to the signers ---- */

static const struct {
	enum message_type type;
	const char *name;
} figures_calls[] = {
    {MESSAGE_CREATE_CSR, "create_csr"}, {MESSAGE_DESTROY_KEY, "destroy_key"},
    {MESSAGE_FIND_KEY, "find_key"},     {MESSAGE_LIST_KEYS, "list_keys"},
    {MESSAGE_STATUS, "status"},         {MESSAGE_NOTE_STORE, "note_store"},
    {MESSAGE_CONFIRM, "confirm"},       {MESSAGE_UNSETTLED, "unsettled"},
};

static const struct {
	enum err e;
	const char *name;
} figures_results[] = {
    {E_OK, "ok"},
    {E_UNAVAIL, "unavailable"},
    {E_BUSY, "busy"},
    {E_TIMEOUT, "timeout"},
    {E_UNCERTAIN, "uncertain"},
    {E_HSM, "hsm"},
    {E_UNSUPPORTED, "unsupported"},
};
#define RESULTS (sizeof(figures_results) / sizeof(figures_results[0]))

static void figures_put_results(struct buf *b, const char *name, const struct hsm *hsm, size_t call)
{
	const uint64_t *ended = hsm_figures(hsm)->ended[figures_calls[call].type];
	uint64_t other = 0;

	for (size_t e = 0; e < ERR_LEN; e++)
		other += ended[e];
	for (size_t r = 0; r <= RESULTS; r++) {
		uint64_t count = r < RESULTS ? ended[figures_results[r].e] : other;

		other -= count;
		metric_put(
		    b, name,
		    (const struct metric_label[]){{"token", hsm_token_name(hsm)},
						  {"call", figures_calls[call].name},
						  {"result", r < RESULTS ? figures_results[r].name : "other"},
						  {0}},
		    count);
	}
}

static void figures_put_calls(const struct figures *figures, struct buf *b)
{
	static const char calls[] = "csrd_signer_calls_total";

	metric_put_head(b, calls, METRIC_COUNTER, "Calls to the signer, by how they ended.");
	for (size_t i = 0; i < figures->options.hsms_len; i++) {
		for (size_t c = 0; c < sizeof(figures_calls) / sizeof(figures_calls[0]); c++)
			figures_put_results(b, calls, figures->options.hsms[i], c);
	}
}

static void figures_put_creates(struct buf *b, const char *name, const struct hsm *hsm)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		if (hsm_key_types(hsm) & KEY_TYPE_BIT(type))
			metric_put_times(b, name,
					 TWO_LABELS("token", hsm_token_name(hsm), "key_type",
						    key_type_name((enum key_type)type)),
					 &hsm_figures(hsm)->creates[type]);
	}
}

static void figures_put_call_times(const struct figures *figures, struct buf *b)
{
	static const char creates[] = "csrd_signer_create_duration_seconds";
	static const char destroys[] = "csrd_signer_destroy_duration_seconds";
	const struct figures_options *o = &figures->options;

	metric_put_head(
	    b, creates, METRIC_HISTOGRAM,
	    "Creates that succeeded: the signer's answer, with the wait in its queue and the work "
	    "of the token.");
	for (size_t i = 0; i < o->hsms_len; i++)
		figures_put_creates(b, creates, o->hsms[i]);
	metric_put_head(b, destroys, METRIC_HISTOGRAM, "The same of keys destroyed.");
	for (size_t i = 0; i < o->hsms_len; i++)
		metric_put_times(b, destroys, ONE_LABEL("token", hsm_token_name(o->hsms[i])),
				 &hsm_figures(o->hsms[i])->destroys);
}

/* ---- comparisons ---- */

static void figures_put_findings(struct buf *b, const char *name, const char *token,
				 const struct reconcile_report *report)
{
	const struct {
		const char *name;
		uint64_t count;
	} findings[] = {
	    {"missing", report->missing},   {"unknown", report->unknown}, {"set-aside", report->set_aside},
	    {"leftover", report->leftover}, {"unread", report->unread},   {"unclear", report->unclear},
	};

	for (size_t i = 0; i < sizeof(findings) / sizeof(findings[0]); i++)
		metric_put(b, name, TWO_LABELS("token", token, "finding", findings[i].name),
			   findings[i].count);
}

static void figures_put_comparisons(const struct figures *figures, struct buf *b)
{
	static const char at[] = "csrd_comparison_timestamp_seconds";
	static const char checked[] = "csrd_comparison_checked";
	static const char findings[] = "csrd_comparison_findings";
	const struct figures_options *o = &figures->options;
	const struct reconcile_report *report;
	int64_t at_us;

	metric_put_head(b, at, METRIC_GAUGE,
			"When the keys of the token were last compared with the store, since 1970.");
	for (size_t i = 0; i < o->hsms_len; i++)
		if (running_comparison(o->running, i, &at_us))
			metric_put_seconds(b, at, ONE_LABEL("token", hsm_token_name(o->hsms[i])),
					   (uint64_t)at_us);
	metric_put_head(b, checked, METRIC_GAUGE, "Rows and keys that this comparison checked.");
	for (size_t i = 0; i < o->hsms_len; i++)
		if ((report = running_comparison(o->running, i, &at_us)))
			metric_put(b, checked, ONE_LABEL("token", hsm_token_name(o->hsms[i])),
				   report->checked);
	metric_put_head(b, findings, METRIC_GAUGE, "What it found.");
	for (size_t i = 0; i < o->hsms_len; i++)
		if ((report = running_comparison(o->running, i, &at_us)))
			figures_put_findings(b, findings, hsm_token_name(o->hsms[i]), report);
}

void figures_put(const struct figures *figures, struct buf *b)
{
	figures_put_program(figures, b);
	figures_put_http(figures, b);
	figures_put_limits(figures, b);
	figures_put_tls(figures, b);
	figures_put_store(figures, b);
	figures_put_token_numbers(figures, b);
	figures_put_pools(figures, b, "csrd_pool_ready_keys", "Keys that are ready on the token.", false);
	figures_put_pools(figures, b, "csrd_pool_target_keys", "How many of them there should be.", true);
	figures_put_calls(figures, b);
	figures_put_call_times(figures, b);
	figures_put_comparisons(figures, b);
	process_put(b, figures->started_us);
}
