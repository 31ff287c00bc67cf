/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrd: answers HTTP.  This file reads the command line and the configuration,
 * wires store, signer links, api and listeners to one event loop, and turns
 * signals into draining, reloading and exit codes.
 */
#include "api/api.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/exit_code.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "base/secret.h"
#include "config/config.h"
#include "daemon/confirm.h"
#include "daemon/figures.h"
#include "daemon/http.h"
#include "daemon/listen.h"
#include "daemon/metrics.h"
#include "daemon/notify.h"
#include "daemon/reconciler.h"
#include "daemon/reload.h"
#include "daemon/running.h"
#include "daemon/tls.h"
#include "daemon/turn.h"
#include "daemon/vouch.h"
#include "hsm/hsm.h"
#include "loop/timer.h"
#include "store/store.h"
#include "systemd/journald.h"
#include "systemd/service.h"

#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define REPORT_BYTES (64 * 1024)
#define RECONNECT_MIN_MS 50
#define RECONNECT_MAX_MS 1000
/* Descriptors that are not connections: standard ones, loop, store, links, listeners, lingering sockets. */
#define DESCRIPTORS_KEPT 96
#define DESCRIPTORS_KEPT_MIN 28
#define LIBEVENT_LOG_MS 1000
#define MMAP_BYTES (256 * 1024)
#define IN_USE_PAUSE_S 5

#define USES_MS 60000 /* how often the uses of principals are written down */

enum signal_slot { SIGNAL_TERM, SIGNAL_INT, SIGNAL_HUP, SIGNALS_LEN };
static const int signal_numbers[SIGNALS_LEN] = {SIGTERM, SIGINT, SIGHUP};

struct daemon {
	struct config *config;
	struct event_base *base;
	struct store *store;
	struct hsm *hsms[CONFIG_TOKENS_MAX];
	struct api *api;
	struct http *http;
	struct tls *tls; /* NULL: not configured */
	struct listen *listen;
	struct reconciler *reconciler;
	struct vouch *vouch;
	struct confirm *confirm;
	struct reload *reload;
	struct running *running;
	struct notify *notify;
	struct figures *figures; /* NULL, as `metrics`: not configured */
	struct metrics *metrics;
	struct event *store_event;
	struct timer drain;
	struct timer tick;
	struct timer uses;
	struct event *signals[SIGNALS_LEN];
	bool draining;
	bool drained;
	bool flushing; /* the signers are being told which CSRs stand, and where the store does, at the end */
};

/* ---- configuration ---- */

static void log_report(enum log_level level, const struct buf *report)
{
	const char *line = buf_text(report);

	while (*line != '\0') {
		size_t len = strcspn(line, "\n");

		if (len > 0)
			log_write(level, NULL, "%.*s", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static int check_config(const char *path, bool quiet)
{
	struct config *config = NULL;
	struct buf report;
	enum err e;

	buf_init(&report, REPORT_BYTES);
	e = config_load(path, &report, &config);
	if (e == E_OK && !quiet)
		printf("%s: the configuration is sound\n", path);
	else if (e != E_OK && !quiet)
		fprintf(stderr, "%s%s", buf_text(&report), report.len == 0 ? "out of memory\n" : "");
	buf_release(&report);
	config_free(config);
	return (int)exit_code_of(e, EXIT_CODE_CONFIG);
}

/* A type that is permitted and refused all the same would puzzle: callers learn only what is accepted. */
static void warn_of_key_types(const struct daemon *d)
{
	key_type_set offered = hsm_key_types(d->hsms[0]);
	key_type_set lacking = d->config->policy.key_types & ~offered;
	struct buf names;

	if (!offered || !lacking)
		return;
	buf_init(&names, 256);
	key_type_set_format(lacking, &names);
	log_warn("[policy] key_types: token '%s' does not support %s, so it is refused",
		 d->config->tokens[0].name, buf_text(&names));
	buf_release(&names);
}

static void csrd_on_compared(void *arg, const char *token_name, const struct reconcile_report *report)
{
	struct daemon *d = arg;

	running_compared(d->running, token_name, report);
}

static void csrd_note_reload(struct daemon *d, enum err e)
{
	if (d->figures)
		figures_reloaded(d->figures, e);
}

static void on_reloaded(void *arg, struct config *fresh, const struct buf *problems)
{
	struct daemon *d = arg;
	struct buf kept;
	enum err e;

	if (d->tls)
		tls_reload(d->tls);
	if (!fresh) {
		log_report(LOG_LEVEL_ERROR, problems);
		csrd_note_reload(d, E_CONFIG);
		log_error("the configuration was not reloaded: the old one stays in force");
		notify_reloaded(d->notify, problems);
		return;
	}
	buf_init(&kept, REPORT_BYTES);
	e = config_reload(d->config, fresh, &kept);
	if (e != E_OK) {
		log_err(e, "the configuration was not reloaded: the old one stays in force");
		buf_reset(&kept);
		buf_put_str(&kept, err_str(e));
	} else {
		log_report(LOG_LEVEL_WARN, &kept);
		log_set_level(d->config->log.level);
		reconciler_reload(d->reconciler);
		running_reloaded(d->running);
		log_notice("configuration '%s' reloaded", d->config->path);
		warn_of_key_types(d);
	}
	csrd_note_reload(d, e);
	notify_reloaded(d->notify, e == E_OK ? NULL : &kept);
	buf_release(&kept);
	config_free(fresh);
}

/* ---- the way out ---- */

static void csrd_on_noted(void *arg)
{
	struct daemon *d = arg;

	event_base_loopbreak(d->base);
}

static void csrd_on_confirmed(void *arg)
{
	struct daemon *d = arg;

	vouch_flush(d->vouch, csrd_on_noted, d);
}

static void finish_if_drained(struct daemon *d)
{
	if (!d->draining || !d->drained || api_in_flight(d->api) > 0 || d->flushing)
		return;
	d->flushing = true;
	confirm_flush(d->confirm, csrd_on_confirmed, d);
}

static void on_drained(void *arg)
{
	struct daemon *d = arg;

	d->drained = true;
	finish_if_drained(d);
}

static void on_drain_timeout(void *arg)
{
	struct daemon *d = arg;

	log_warn("%u requests are unanswered and %u connections open at the end of the drain time",
		 http_in_flight(d->http), http_connections(d->http));
	event_base_loopbreak(d->base);
}

static void begin_drain(struct daemon *d, int number)
{
	uint64_t ms = d->config->http.drain_timeout_ms;

	log_notice("stopping on signal %d: %u requests in flight", number, http_in_flight(d->http));
	notify_stopping(d->notify, http_in_flight(d->http), ms);
	d->draining = true;
	listen_stop(d->listen);
	api_drain(d->api);
	reconciler_stop(d->reconciler);
	timer_start(&d->drain, ms);
	http_drain(d->http);
}

static void csrd_on_signal(evutil_socket_t number, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	if (number == SIGHUP) {
		if (d->draining)
			return;
		notify_reloading(d->notify);
		reload_start(d->reload);
	} else if (!d->draining) {
		begin_drain(d, (int)number);
	} else {
		log_warn("second signal %d: stopping at once, %u requests unanswered", (int)number,
			 http_in_flight(d->http));
		log_flush(LOG_FLUSH_MS);
		_exit(EXIT_CODE_OK);
	}
}

/* ---- wiring ---- */

static void csrd_on_store(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	store_dispatch(d->store);
}

static void csrd_on_link(void *arg, struct hsm *hsm, bool up)
{
	struct daemon *d = arg;

	notify_link(d->notify, hsm);
	if (!up)
		return;
	if (hsm == d->hsms[0])
		warn_of_key_types(d);
	running_makes(d->running, hsm_token_name(hsm), hsm_key_types(hsm));
	reconciler_link_up(d->reconciler, hsm);
}

static void on_hello(void *arg, struct hsm *hsm)
{
	struct daemon *d = arg;

	vouch_hello(d->vouch, hsm);
}

static void on_want_reconcile(void *arg)
{
	struct daemon *d = arg;

	reconciler_want(d->reconciler);
}

static void csrd_on_want_confirm(void *arg, struct hsm *hsm, const char *key_label)
{
	struct daemon *d = arg;

	confirm_add(d->confirm, hsm, key_label);
}

static void on_want_tick(void *arg, uint64_t at_ms)
{
	struct daemon *d = arg;
	uint64_t now_ms = clock_ms();

	timer_start(&d->tick, at_ms > now_ms ? at_ms - now_ms : 0);
}

static void csrd_on_tick(void *arg)
{
	struct daemon *d = arg;

	api_tick(d->api);
}

static void csrd_on_uses(void *arg)
{
	struct daemon *d = arg;

	api_note_uses(d->api);
	timer_start(&d->uses, USES_MS);
}

static void csrd_on_room(void *arg, bool room)
{
	struct daemon *d = arg;

	if (d->listen)
		listen_set_room(d->listen, room);
}

static void on_libevent_log(int severity, const char *text)
{
	static struct log_gate gate;
	unsigned held_back;

	if (severity >= EVENT_LOG_WARN && log_gate_pass(&gate, LIBEVENT_LOG_MS, &held_back))
		log_warn("libevent: %s (%u more held back)", text, held_back);
}

/* Of a start that failed. */
static enum exit_code start_exit_code(enum err e)
{
	switch (e) {
	case E_EXISTS:
		return EXIT_CODE_IN_USE;
	case E_NOTFOUND:
	case E_DENIED:
	case E_LIMIT:
		return EXIT_CODE_SYSTEM;
	default:
		return exit_code_of(e, EXIT_CODE_INTERNAL);
	}
}

/* Asks for the descriptors that the connections need; how many connections those it got allow. */
static uint64_t connections_that_fit(uint64_t wanted)
{
	struct rlimit limit = {0, 0};
	rlim_t need = (rlim_t)wanted + DESCRIPTORS_KEPT;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	if (limit.rlim_cur < need) {
		limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= need)
		return wanted;
	need = limit.rlim_cur > (rlim_t)DESCRIPTORS_KEPT * 2 ? limit.rlim_cur - DESCRIPTORS_KEPT
	       : limit.rlim_cur > DESCRIPTORS_KEPT_MIN       ? limit.rlim_cur - DESCRIPTORS_KEPT_MIN
							     : 1;
	log_warn("[http] max_connections is %llu, but the limit of %llu descriptors allows %llu",
		 (unsigned long long)wanted, (unsigned long long)limit.rlim_cur, (unsigned long long)need);
	return need;
}

static enum err start_store(struct daemon *d)
{
	struct store_options options = {
	    .url = d->config->store.url,
	    .queue_max = (unsigned)d->config->store.queue_max,
	    .readers = (unsigned)d->config->store.readers,
	    .sole_service = true,
	    .create = true,
	};
	enum err e;

	notify_opening_store();
	e = store_open(&options, &d->store); /* logs the cause */
	if (e != E_OK)
		return e;
	d->store_event = event_new(d->base, store_fd(d->store), EV_READ | EV_PERSIST, csrd_on_store, d);
	if (!d->store_event || event_add(d->store_event, NULL) != 0)
		return E_NOMEM;
	return E_OK;
}

static enum err start_links(struct daemon *d)
{
	for (size_t i = 0; i < d->config->tokens_len; i++) {
		const struct config_token *token = &d->config->tokens[i];
		struct hsm_options options = {
		    .token_name = token->name,
		    .socket_path = token->socket,
		    .client_name = "csrd",
		    .in_flight_max = (unsigned)(token->queue_max + token->threads),
		    .reconnect_min_ms = RECONNECT_MIN_MS,
		    .reconnect_max_ms = RECONNECT_MAX_MS,
		    .on_hello = on_hello,
		};
		enum err e = hsm_new(d->base, &options, csrd_on_link, d, &d->hsms[i]);

		if (e != E_OK)
			return e;
	}
	return E_OK;
}

static enum err start_services(struct daemon *d)
{
	size_t hsms_len = d->config->tokens_len;
	uint64_t connections_max = connections_that_fit(d->config->http.max_connections);
	struct api_options api = {
	    .config = d->config,
	    .store = d->store,
	    .hsms = d->hsms,
	    .hsms_len = hsms_len,
	    .want_reconcile = on_want_reconcile,
	    .want_reconcile_arg = d,
	    .want_confirm = csrd_on_want_confirm,
	    .want_confirm_arg = d,
	    .want_tick = on_want_tick,
	    .want_tick_arg = d,
	    .waiting_max = (unsigned)(connections_max / 2), /* the others are free for who need not wait */
	};
	struct reconciler_options reconciler = {
	    .config = d->config,
	    .store = d->store,
	    .hsms = d->hsms,
	    .hsms_len = hsms_len,
	    .on_compared = csrd_on_compared,
	    .arg = d,
	};
	struct vouch_options vouch = {
	    .base = d->base,
	    .store = d->store,
	    .hsms = d->hsms,
	    .hsms_len = hsms_len,
	};
	struct confirm_options confirm = {
	    .base = d->base,
	    .hsms = d->hsms,
	    .hsms_len = hsms_len,
	    .on_lost = on_want_reconcile,
	    .arg = d,
	};
	struct notify_options notify = {
	    .base = d->base,
	    .store = d->store,
	    .hsms = d->hsms,
	    .hsms_len = hsms_len,
	    .always = listen_has_metrics(d->config),
	};
	struct http_options http = {
	    .config = &d->config->http,
	    .exempt = &d->config->limits.exempt,
	    .connections_max = connections_max,
	    .on_room = csrd_on_room,
	    .on_drained = on_drained,
	    .arg = d,
	};
	enum err e;

	timer_init(&d->tick, d->base, csrd_on_tick, d);
	timer_init(&d->uses, d->base, csrd_on_uses, d);
	timer_start(&d->uses, USES_MS);
	e = api_new(&api, &d->api);
	if (e != E_OK)
		return e;
	reconciler.api = http.api = d->api;
	e = reconciler_new(d->base, &reconciler, &d->reconciler);
	if (e == E_OK)
		e = running_new(d->config, &d->running);
	if (e == E_OK)
		e = vouch_new(&vouch, &d->vouch);
	if (e == E_OK)
		e = confirm_new(&confirm, &d->confirm);
	if (e == E_OK)
		e = http_new(d->base, &http, &d->http);
	if (e == E_OK)
		e = reload_new(d->base, d->config->path, on_reloaded, d, &d->reload);
	if (e == E_OK)
		e = notify_new(&notify, &d->notify);
	return e;
}

/* Without a door for them nothing is shown. */
static enum err start_metrics(struct daemon *d)
{
	struct figures_options options = {
	    .api = d->api,
	    .http = d->http,
	    .notify = d->notify,
	    .running = d->running,
	    .store = d->store,
	    .tls = d->tls,
	    .hsms = d->hsms,
	    .hsms_len = d->config->tokens_len,
	};
	enum err e;

	if (!listen_has_metrics(d->config))
		return E_OK;
	e = figures_new(&options, &d->figures);
	if (e == E_OK)
		e = metrics_new(d->base, d->config, d->figures, &d->metrics); /* logs the cause */
	return e;
}

static enum err catch_signals(struct daemon *d)
{
	signal(SIGPIPE, SIG_IGN);
	timer_init(&d->drain, d->base, on_drain_timeout, d);
	for (int i = 0; i < SIGNALS_LEN; i++) {
		d->signals[i] = evsignal_new(d->base, signal_numbers[i], csrd_on_signal, d);
		if (!d->signals[i] || evsignal_add(d->signals[i], NULL) != 0) {
			int error = errno;

			log_error("cannot take over signal %d: %s", signal_numbers[i], strerror(error));
			return error == ENOMEM ? E_NOMEM : E_IO;
		}
	}
	return E_OK;
}

/*
 * Epoll changes are gathered over one turn of the loop, which libevent permits
 * as long as no descriptor in it is a dup of another: none is (a connection
 * keeps its descriptor to the end, also while it lingers).
 */
static struct event_base *base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

/* Ids of CSRs and of requests are random: without randomness nothing would be served. */
static enum err check_random(void)
{
	uint8_t byte;

	enum err e = random_fill(&byte, sizeof(byte));
	if (e != E_OK)
		log_error("cannot start: the kernel gives no random bytes: %s", strerror(errno));
	return e;
}

static enum err csrd_start(struct daemon *d)
{
	enum err e = check_random();

	if (e != E_OK)
		return e;
	/* Large answers are given back to the system when they are sent, whatever came before them. */
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	event_set_log_callback(on_libevent_log);
	d->base = base_new();
	if (!d->base) {
		int error = errno;

		log_error("cannot make the event loop: %s", strerror(error));
		return error == ENOMEM ? E_NOMEM : E_IO;
	}
	/* The signer's links come last: their first callback may ask for a pass. */
	e = start_store(d);
	if (e == E_OK)
		e = start_links(d);
	if (e == E_OK)
		e = start_services(d);
	if (e == E_OK && d->config->http.tls_certificate && d->config->http.tls_key)
		e = tls_new(d->base, &d->config->http, &d->tls); /* logs the cause */
	if (e == E_OK)
		e = catch_signals(d);
	if (e == E_OK)
		e = listen_new(d->base, d->config, http_conns(d->http), d->tls,
			       &d->listen); /* logs the cause */
	if (e == E_OK)
		e = start_metrics(d);
	return e;
}

/*
 * Nothing is in flight, or nothing was ever started.  The links go first:
 * what still runs of a reconciliation pass ends through the store's callbacks.
 */
static void csrd_release(struct daemon *d)
{
	if (d->listen)
		listen_stop(d->listen);
	if (d->reconciler)
		reconciler_stop(d->reconciler);
	if (d->vouch)
		vouch_stop(d->vouch);
	if (d->confirm)
		confirm_stop(d->confirm);
	metrics_free(d->metrics);
	figures_free(d->figures);
	http_free(d->http);
	listen_free(d->listen);
	reload_free(d->reload);
	for (size_t i = 0; i < CONFIG_TOKENS_MAX; i++)
		hsm_free(d->hsms[i]);
	if (d->store_event)
		event_free(d->store_event);
	store_close(d->store);
	notify_free(d->notify);
	reconciler_free(d->reconciler);
	running_free(d->running);
	vouch_free(d->vouch);
	confirm_free(d->confirm);
	api_free(d->api);
	for (int i = 0; i < SIGNALS_LEN; i++)
		if (d->signals[i])
			event_free(d->signals[i]);
	timer_stop(&d->drain);
	timer_stop(&d->tick);
	timer_stop(&d->uses);
	if (d->base) {
		(void)event_base_loop(d->base, EVLOOP_NONBLOCK); /* frees the bufferevents */
		event_base_free(d->base);
	}
	tls_free(d->tls);
	config_free(d->config);
}

static void protect_memory(void)
{
#ifndef __SANITIZE_ADDRESS__ /* its leak check attaches to the process */
	enum err e = secret_forbid_dumps();

	if (e != E_OK)
		log_err(e, "cannot forbid core files");
#endif
}

static int csrd_serve(struct daemon *d)
{
	log_notice("csrd %s is ready to serve", CSRD_VERSION);
	turn_loop(d->base);
	if (http_in_flight(d->http) > 0 || api_in_flight(d->api) > 0) {
		log_warn("stopped with work in flight: reconciliation settles it at the next start");
		service_close();
		log_flush(LOG_FLUSH_MS);
		_exit(EXIT_CODE_OK);
	}
	csrd_release(d);
	log_notice("stopped");
	return EXIT_CODE_OK;
}

static enum err read_config(const char *path, struct config **ret_config)
{
	struct buf report;
	enum err e;

	buf_init(&report, REPORT_BYTES);
	e = config_load(path, &report, ret_config);
	if (e == E_NOMEM)
		log_err(e, "'%s' cannot be read", path);
	else if (e != E_OK)
		log_report(LOG_LEVEL_ERROR, &report);
	buf_release(&report);
	return e;
}

/*
 * An address or the store is another process's, which may go.  Who started csrd
 * by hand wants to know at once; a service manager would start it again and
 * again as fast as it can.  SIGTERM ends the pause.
 */
static void csrd_pause_start(void)
{
	const struct timespec pause = {.tv_sec = IN_USE_PAUSE_S};

	service_status("another process has an address or the store (see the log): ends in %d s, to be "
		       "started again",
		       IN_USE_PAUSE_S);
	if (service_is_managed())
		nanosleep(&pause, NULL);
}

static int csrd_run(const char *config_path)
{
	struct daemon d = {0};
	enum err e;

	signal(SIGHUP, SIG_IGN); /* until there is a loop that hears it */
	e = service_open();      /* logs the cause */
	if (e == E_OK)
		e = read_config(config_path, &d.config);
	if (e == E_OK) {
		log_set_level(d.config->log.level);
		protect_memory();
		e = csrd_start(&d);
		if (e == E_OK)
			return csrd_serve(&d);
		log_err(e, "cannot start");
		csrd_release(&d);
	}
	if (e == E_EXISTS)
		csrd_pause_start();
	else
		service_status("cannot start: %s (see the log)", err_str(e));
	return start_exit_code(e);
}

static void usage(FILE *out)
{
	fprintf(out, "usage: csrd [-c FILE] [-t [-q]] [-V] [-h]\n"
		     "  -c FILE  configuration (default " CONFIG_DEFAULT_PATH ")\n"
		     "  -t       check the configuration and exit\n"
		     "  -q       with -t: say nothing, the exit code tells\n"
		     "  -V       print the version and exit\n"
		     "  -h       print this text and exit\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 't'},
	    {"quiet", no_argument, NULL, 'q'},        {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	const char *config_path = CONFIG_DEFAULT_PATH;
	bool check = false, quiet = false;
	int option, exit_code;

	if (fd_fill_standard() != E_OK)
		return EXIT_CODE_SYSTEM;
	while ((option = getopt_long(argc, argv, "c:tqVh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			config_path = optarg;
			break;
		case 't':
			check = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 'V':
			printf("csrd %s\nlibevent %s\n", CSRD_VERSION, event_get_version());
			return EXIT_CODE_OK;
		case 'h':
			usage(stdout);
			return EXIT_CODE_OK;
		default:
			usage(stderr);
			return EXIT_CODE_USAGE;
		}
	}
	if (optind != argc || (quiet && !check)) {
		usage(stderr);
		return EXIT_CODE_USAGE;
	}
	log_open("csrd", LOG_LEVEL_INFO);
	if (check)
		return check_config(config_path, quiet);
	journald_open("csrd");
	if (log_start_thread() != E_OK)
		return EXIT_CODE_SYSTEM;
	exit_code = csrd_run(config_path);
	service_close();
	return exit_code;
}
