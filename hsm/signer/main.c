/* SPDX-License-Identifier: Apache-2.0 */
/* csrd-hsm: serves one token to csrd.  main() is the recipe, in the order in which it must happen. */
#include "base/buf.h"
#include "base/exit_code.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/node.h"
#include "base/secret.h"
#include "config/config.h"
#include "hsm/signer/journal/journal.h"
#include "hsm/signer/key/probe.h"
#include "hsm/signer/serve/ending.h"
#include "hsm/signer/serve/in_force.h"
#include "hsm/signer/serve/inspect.h"
#include "hsm/signer/serve/listener.h"
#include "hsm/signer/serve/notify.h"
#include "hsm/signer/serve/outage.h"
#include "hsm/signer/serve/server.h"
#include "hsm/signer/serve/workers.h"
#include "hsm/signer/stock/book.h"
#include "hsm/signer/stock/stock.h"
#include "hsm/signer/token/gate.h"
#include "hsm/signer/token/judge.h"
#include "hsm/signer/token/login.h"
#include "hsm/signer/token/module.h"
#include "hsm/signer/token/served.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/state_dir.h"
#include "hsm/signer/token/token.h"
#include "hsm/signer/token/watchdog.h"
#include "ossl/ossl_memory.h"
#include "systemd/journald.h"
#include "systemd/service.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct arguments {
	const char *config_path;
	const char *token_name; /* NULL: the first of the file */
	bool check_only;
	bool inspect;
};

/* All that lives as long as the process. */
struct signer {
	struct arguments arguments;
	struct config *config;
	const struct config_token *settings;
	char pin_name[PATH_MAX];
	int signal_fd;
	int in_force_fd; /* the file that says which values are */
	struct listener listener;
	struct state_dir *state;
	struct module *module;
	struct token token;
	struct login *login;
	struct gate *gate;
	struct judge *judge;
	struct journal *journal;
	struct journal_report report;
	struct stock *stock; /* made ahead */
	struct book *book;
	bool has_served;
	struct workers *workers;
	struct stores stores;
};

static const char usage[] = "usage: csrd-hsm -c FILE [-n TOKEN] [-t] [-i] [-V] [-h]\n"
			    "  -c FILE   configuration\n"
			    "  -n TOKEN  which [token NAME] of it to serve; default: the first\n"
			    "  -t        check the configuration and exit\n"
			    "  -i        inspect: show module and token as JSON, without a login, and exit\n"
			    "  -V        show the version and exit\n";

/* ---- the steps; each logs what fails and returns the exit code ---- */

/* False: the process ends with *ret_code. */
static bool parse_arguments(int argc, char **argv, struct arguments *a, enum exit_code *ret_code)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"token", required_argument, NULL, 'n'},
	    {"check", no_argument, NULL, 't'},
	    {"inspect", no_argument, NULL, 'i'},
	    {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:n:tiVh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			a->config_path = optarg;
			break;
		case 'n':
			a->token_name = optarg;
			break;
		case 't':
			a->check_only = true;
			break;
		case 'i':
			a->inspect = true;
			break;
		case 'V':
			puts("csrd-hsm " CSRD_VERSION);
			*ret_code = EXIT_CODE_OK;
			return false;
		case 'h':
			fputs(usage, stdout);
			*ret_code = EXIT_CODE_OK;
			return false;
		default:
			fputs(usage, stderr);
			*ret_code = EXIT_CODE_USAGE;
			return false;
		}
	}
	if (optind != argc || !a->config_path) {
		fputs(usage, stderr);
		*ret_code = EXIT_CODE_USAGE;
		return false;
	}
	return true;
}

static void log_lines(const struct buf *report)
{
	const char *at = buf_text(report);

	while (*at) {
		size_t len = strcspn(at, "\n");

		log_error("%.*s", (int)len, at);
		at += len + (at[len] == '\n');
	}
}

static enum exit_code check_settings(const struct signer *s)
{
	const struct config_token *t = s->settings;
	const char *path = s->arguments.config_path, *reason = "";
	enum err e;

	if (!t) {
		log_error("%s: there is no section [token %s]", path,
			  s->arguments.token_name ? s->arguments.token_name : "NAME");
		return EXIT_CODE_CONFIG;
	}
	if (!t->module || !t->uri || !t->pin_file || !t->socket) {
		log_error("%s: [token %s] %s: is required", path, t->name,
			  !t->module     ? "module"
			  : !t->uri      ? "uri"
			  : !t->pin_file ? "pin_file"
					 : "socket");
		return EXIT_CODE_CONFIG;
	}
	if ((e = module_check_uri(t->uri, &reason)) != E_OK) {
		log_error("%s: [token %s] uri: %s", path, t->name, reason);
		return exit_code_of(e, EXIT_CODE_CONFIG);
	}
	if (t->threads < 1 || t->threads > WORKER_THREADS_MAX || t->queue_max < 1) {
		log_error("%s: [token %s] threads: must be 1 to %d, and queue_max at least 1", path, t->name,
			  WORKER_THREADS_MAX);
		return EXIT_CODE_CONFIG;
	}
	return EXIT_CODE_OK;
}

/* For a run as a service, not for -t and -i. */
static enum exit_code open_service(const struct signer *s)
{
	if (s->arguments.check_only || s->arguments.inspect)
		return EXIT_CODE_OK;
	if (log_start_thread() != E_OK)
		return EXIT_CODE_SYSTEM;
	switch (service_open()) {
	case E_OK:
		return EXIT_CODE_OK;
	case E_CONFIG:
		return EXIT_CODE_CONFIG;
	default:
		return EXIT_CODE_SYSTEM;
	}
}

static enum exit_code load_config(struct signer *s)
{
	struct buf report;
	enum err e;

	buf_init(&report, 65536);
	e = config_load(s->arguments.config_path, &report, &s->config);
	if (e == E_NOMEM)
		log_err(e, "'%s' cannot be read", s->arguments.config_path);
	else if (e != E_OK)
		log_lines(&report);
	buf_release(&report);
	if (e != E_OK)
		return exit_code_of(e, EXIT_CODE_CONFIG);
	log_set_level(s->config->log.level);
	s->settings = config_token_find(s->config, s->arguments.token_name);
	if (s->settings) {
		journald_set_token(s->settings->name);
		config_pin_name(s->settings, s->pin_name, sizeof(s->pin_name));
	}
	return check_settings(s);
}

static enum exit_code forbid_dumps(struct signer *s)
{
	(void)s;
	if (secret_forbid_dumps() == E_OK)
		return EXIT_CODE_OK;
	log_error("cannot forbid core dumps and tracing");
	return EXIT_CODE_SYSTEM;
}

/* Blocked for all threads to come; only the server's descriptor hears of them. */
static enum exit_code take_signals(struct signer *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &set, NULL) ||
	    (s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
		log_error("cannot take over signals");
		return EXIT_CODE_SYSTEM;
	}
	return EXIT_CODE_OK;
}

static enum exit_code signer_open_state(struct signer *s)
{
	enum err e = state_dir_open(s->settings->state_dir, &s->state);

	switch (e) {
	case E_OK:
		return EXIT_CODE_OK;
	case E_NOMEM:
		return EXIT_CODE_INTERNAL;
	case E_IO:
		return EXIT_CODE_SYSTEM;
	default:
		return EXIT_CODE_CONFIG;
	}
}

/* From here on the module's code may run: nothing that it does keeps the process from its end. */
static enum exit_code watch_module(struct signer *s)
{
	const struct watchdog_limits limits = {
	    .ms = {[WATCHDOG_OTHER] = s->settings->timeout_other_ms,
		   [WATCHDOG_SIGN] = s->settings->timeout_sign_ms,
		   [WATCHDOG_GENERATE] = s->settings->timeout_generate_ms,
		   [WATCHDOG_GENERATE_LARGE] = s->settings->timeout_generate_large_ms}};

	if (ending_prepare() != E_OK || watchdog_start(&limits) != E_OK)
		return EXIT_CODE_SYSTEM;
	notify_starting(s->settings->name);
	return EXIT_CODE_OK;
}

static enum exit_code inspect(struct signer *s)
{
	enum exit_code code;

	if ((code = forbid_dumps(s)) || (code = watch_module(s))) /* it reads the PIN */
		return code;
	return inspect_run(s->settings, &s->module);
}

static enum exit_code signer_open_socket(struct signer *s)
{
	switch (listener_open(s->settings->socket, s->settings->client_users, s->settings->client_users_len,
			      &s->listener)) {
	case E_OK:
		return EXIT_CODE_OK;
	case E_EXISTS:
		return EXIT_CODE_IN_USE;
	case E_CONFIG:
		return EXIT_CODE_CONFIG;
	default:
		return EXIT_CODE_SYSTEM;
	}
}

/* What is missing now was there in an earlier start: nothing is wrong with the configuration. */
static bool signer_is_outage(const struct signer *s)
{
	if (!served_before(s->state, s->settings->uri))
		return false;
	log_error("it was served before, so the hsm is assumed to be away; to be started again");
	return true;
}

static enum exit_code load_module(struct signer *s)
{
	enum err e = module_load(s->settings->module, s->settings->module_init_args, &s->module);

	if (e == E_NOMEM) {
		log_err(e, "pkcs#11 module '%s' cannot be loaded", s->settings->module);
		return EXIT_CODE_INTERNAL;
	}
	if (e == E_HSM && signer_is_outage(s)) /* many modules do not initialise while their HSM is away */
		return EXIT_CODE_TOKEN_FAILED;
	return e != E_OK ? EXIT_CODE_NO_MODULE : EXIT_CODE_OK;
}

static unsigned thread_count(const struct signer *s)
{
	return s->token.quirks.one_session ? 1 : (unsigned)s->settings->threads;
}

static enum exit_code signer_find_token(struct signer *s)
{
	struct buf forgiven;
	enum err e;

	s->token.allow_usage = s->settings->allow_usage;
	s->token.template_limit = TEMPLATE_ALL;
	e = module_find_token(s->module, s->settings->uri, &s->token);
	if ((e == E_NOTFOUND || e == E_HSM) && signer_is_outage(s))
		return EXIT_CODE_TOKEN_FAILED;
	if (e == E_NOMEM) {
		log_err(e, "the token cannot be looked for");
		return EXIT_CODE_INTERNAL;
	}
	if (e != E_OK)
		return e == E_CONFIG ? EXIT_CODE_CONFIG : EXIT_CODE_NO_TOKEN;
	if ((e = served_check(s->state, s->settings->uri, &s->token)) != E_OK)
		return e == E_DENIED ? EXIT_CODE_NO_TOKEN : exit_code_of(e, EXIT_CODE_SYSTEM);
	if (s->token.quirks.one_session)
		log_notice("module %s: one thread, and a new session after each key, whatever [token %s] "
			   "threads says",
			   s->token.quirks.module, s->settings->name);
	if (!token_has_login(&s->token))
		log_notice("token '%s' has no login: the pin is not used", s->token.label);
	if (s->token.allow_usage) {
		buf_init(&forgiven, 1024);
		key_protection_format(s->token.allow_usage, &forgiven);
		log_warn("[token %s] allow_usage: keys may have %s, because the configuration says so",
			 s->settings->name, buf_text(&forgiven));
		buf_release(&forgiven);
	}
	return EXIT_CODE_OK;
}

static enum exit_code open_journal(struct signer *s)
{
	struct journal_start start = {
	    .version = CSRD_VERSION, .module = s->settings->module, .serial = s->token.serial};
	char folder[PATH_MAX], node[NODE_NAME_MAX + 1];
	const struct journal_options options = {.folder = folder, .node = node};

	node_name(s->settings->node, node);
	if ((size_t)snprintf(folder, sizeof(folder), "%s/journal", s->settings->state_dir) >= sizeof(folder))
		return EXIT_CODE_CONFIG;
	switch (journal_open(&options, &s->journal, &s->report)) {
	case E_OK:
		break;
	case E_EXISTS:
		return EXIT_CODE_IN_USE;
	case E_STORE:
	case E_CONFIG:
		return EXIT_CODE_CONFIG;
	case E_NOMEM:
		return EXIT_CODE_INTERNAL;
	default:
		return EXIT_CODE_SYSTEM;
	}
	start.clean = s->report.clean;
	/* If it cannot be written, that was logged; what only reads goes on. */
	return journal_start(s->journal, &start, NULL) == E_NOMEM ? EXIT_CODE_INTERNAL : EXIT_CODE_OK;
}

static enum exit_code make_stock(struct signer *s)
{
	struct stock_options options = {.node = s->settings->node,
					.pause_ms = s->settings->pool_pause_ms,
					.quiet_ms = s->settings->pool_quiet_ms,
					.objects_max = s->settings->pool_objects_max,
					.threads = thread_count(s),
					.key_types = s->token.key_types};

	memcpy(options.targets, s->settings->pool_targets, sizeof(options.targets));
	if (stock_new(&options, &s->stock) != E_OK ||
	    book_new(s->journal, &s->report, s->stock, &s->book) != E_OK)
		return EXIT_CODE_INTERNAL;
	if (stock_is_wanted(s->stock) && stock_node_may_change(s->stock))
		log_warn("[token %s] node: is not set, and the host name '%s' looks like a container's id: "
			 "the next container would not find the keys of this one's pool",
			 s->settings->name, stock_node(s->stock));
	return EXIT_CODE_OK;
}

/* After the probe, which may find that a family of key types cannot be made. */
static void warn_of_stocks(const struct signer *s)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		if (s->settings->pool_targets[type] && !(token_makes(&s->token) & KEY_TYPE_BIT(type)))
			log_warn("[token %s] pool_%s: the token makes no such keys, so none are kept ready",
				 s->settings->name, key_type_name((enum key_type)type));
}

/* For auditors; where it cannot be written that was logged. */
static enum err write_login(struct signer *s, enum err outcome)
{
	enum err e = journal_login(s->journal, outcome == E_OK ? "ok" : err_str(outcome), NULL);

	if (e == E_OK && outcome == E_OK && s->token.capabilities[0])
		e = journal_probe(s->journal, s->token.capabilities, NULL);
	return e;
}

/* The PIN is read, used and scrubbed while the first session opens; the others find the user logged in. */
static enum exit_code signer_open_sessions(struct signer *s)
{
	struct worker_options options = {.token = &s->token,
					 .keep_alive_ms = s->settings->keep_alive_ms,
					 .threads = thread_count(s),
					 .queue_max = (size_t)s->settings->queue_max};
	enum err e = login_new(&s->token, s->settings->pin_file, s->pin_name, s->state, &s->login);

	if (e != E_OK || gate_new(s->module, &s->token, s->login, &s->gate) != E_OK ||
	    judge_new(s->gate, &s->token, s->login, s->settings->keep_alive_ms, &s->judge) != E_OK)
		return EXIT_CODE_INTERNAL;
	probe_set_label(&s->token, s->settings->node, s->settings->state_dir);
	s->token.state = s->state;
	s->token.module_path = s->settings->module;
	options.gate = s->gate;
	options.judge = s->judge;
	options.book = s->book;
	options.stores = &s->stores;
	e = workers_new(&options, &s->workers);
	if (write_login(s, e) == E_NOMEM)
		return EXIT_CODE_INTERNAL;
	switch (e) {
	case E_OK:
		return EXIT_CODE_OK;
	case E_PIN:
	case E_PIN_LOCKED:
		return EXIT_CODE_PIN;
	case E_CONFIG:
		return EXIT_CODE_CONFIG;
	case E_IO:
		return EXIT_CODE_SYSTEM;
	case E_NOMEM:
		return EXIT_CODE_INTERNAL;
	default:
		if (s->token.quirks.advice)
			log_error("%s", s->token.quirks.advice);
		return EXIT_CODE_TOKEN_FAILED;
	}
}

static enum exit_code signer_serve(struct signer *s)
{
	const struct server_options options = {
	    .token_name = s->settings->name,
	    .token = &s->token,
	    .login = s->login,
	    .judge = s->judge,
	    .listener = &s->listener,
	    .workers = s->workers,
	    .stores = &s->stores,
	    .book = s->book,
	    .signal_fd = s->signal_fd,
	};
	enum exit_code code;

	if (session_is_told_to_end()) { /* while the token was looked at */
		log_notice("stopped before it served");
		return EXIT_CODE_OK;
	}
	if (workers_start(s->workers) != E_OK)
		return EXIT_CODE_SYSTEM;
	outage_over(s->state);
	warn_of_stocks(s);
	s->in_force_fd = in_force_tell(s->config, s->state);
	stores_read(&s->stores, s->state);
	log_notice("serving token '%s' (serial '%s', %s) on '%s' with %u threads", s->token.label,
		   s->token.serial, s->token.model, s->settings->socket, thread_count(s));
	notify_ready(s->workers, &s->token);
	s->has_served = true;
	code = server_run(&options);
	if (code == EXIT_CODE_OK && workers_is_idle(s->workers))
		workers_end_stock(s->workers);
	log_notice("stopped");
	return code;
}

/* A start that failed since the HSM is away ends later, the longer it has been away. */
static enum exit_code signer_pause_start(struct signer *s)
{
	uint64_t ms = outage_pause_ms(s->state);

	listener_close(&s->listener); /* csrd is refused meanwhile, instead of waiting for an answer */
	notify_pausing(ms);
	return outage_sleep(ms, s->signal_fd) ? EXIT_CODE_OK : EXIT_CODE_TOKEN_FAILED;
}

/* ---- the recipe ---- */

/* What the next start need not doubt: nothing is under way, and what the run before left is settled. */
static bool is_clean_end(const struct signer *s, enum exit_code code)
{
	if (!s->has_served || (s->stock && !stock_is_taken_over(s->stock)))
		return s->report.clean;
	return code == EXIT_CODE_OK && book_is_tidy(s->book);
}

static void NORETURN close_all(struct signer *s, enum exit_code code)
{
	ending_begin(code);
	notify_ended(code);
	if (s->workers && !workers_is_idle(s->workers)) {
		log_flush(LOG_FLUSH_MS);
		_exit(code); /* a thread is still inside the module: nothing can be closed under it */
	}
	workers_free(s->workers);
	journal_close(s->journal, is_clean_end(s, code));
	book_free(s->book);
	stock_free(s->stock);
	judge_free(s->judge);
	gate_free(s->gate);
	login_free(s->login);
	module_free(s->module);
	in_force_end(s->in_force_fd, s->state);
	state_dir_close(s->state);
	listener_close(&s->listener);
	config_free(s->config);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	ending_leave(code);
}

int main(int argc, char **argv)
{
	struct signer s = {.signal_fd = -1, .in_force_fd = -1, .listener = {.fd = -1, .lock_fd = -1}};
	enum exit_code code = EXIT_CODE_OK;

	ossl_memory_watch();
	if (fd_fill_standard() != E_OK)
		return EXIT_CODE_SYSTEM;
	log_open("csrd-hsm", LOG_LEVEL_INFO);
	if (!parse_arguments(argc, argv, &s.arguments, &code))
		return code;
	journald_open("csrd-hsm");
	if ((code = open_service(&s)) || (code = load_config(&s)) || s.arguments.check_only)
		close_all(&s, code);
	if (s.arguments.inspect)
		close_all(&s, inspect(&s));
	if ((code = forbid_dumps(&s)) || (code = take_signals(&s)) || (code = signer_open_socket(&s)) ||
	    (code = signer_open_state(&s)) || (code = watch_module(&s)) || (code = load_module(&s)) ||
	    (code = signer_find_token(&s)) || (code = open_journal(&s)) || (code = make_stock(&s)) ||
	    (code = signer_open_sessions(&s)))
		close_all(&s, code == EXIT_CODE_TOKEN_FAILED ? signer_pause_start(&s) : code);
	close_all(&s, signer_serve(&s));
}
