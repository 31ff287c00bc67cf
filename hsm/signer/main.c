/* csrd-hsm: serves one token to csrd.  main() is the recipe, in the order in which it must happen. */
#include "base/buf.h"
#include "base/exit_code.h"
#include "base/log.h"
#include "base/secret.h"
#include "config/config.h"
#include "hsm/signer/listener.h"
#include "hsm/signer/login.h"
#include "hsm/signer/module.h"
#include "hsm/signer/server.h"
#include "hsm/signer/token.h"
#include "hsm/signer/worker.h"

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
};

/* All that lives as long as the process. */
struct signer {
	struct arguments arguments;
	struct config *config;
	const struct config_token *settings;
	int signal_fd;
	struct listener listener;
	struct module *module;
	struct token token;
	struct login *login;
	struct worker_pool *pool;
};

static const char usage[] = "usage: csrd-hsm -c FILE [-n TOKEN] [-t] [-V] [-h]\n"
			    "  -c FILE   configuration\n"
			    "  -n TOKEN  which [token NAME] of it to serve; default: the first\n"
			    "  -t        check the configuration and exit\n"
			    "  -V        show the version and exit\n";

/* ---- the steps; each logs what fails and returns the exit code ---- */

/* False: the process ends with *ret_code. */
static bool parse_arguments(int argc, char **argv, struct arguments *a, enum exit_code *ret_code)
{
	int option;

	while ((option = getopt(argc, argv, "c:n:tVh")) != -1) {
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
	if (module_check_uri(t->uri, &reason) != E_OK) {
		log_error("%s: [token %s] uri: %s", path, t->name, reason);
		return EXIT_CODE_CONFIG;
	}
	if (t->threads < 1 || t->threads > WORKER_THREADS_MAX || t->queue_max < 1) {
		log_error("%s: [token %s] threads: must be 1 to %d, and queue_max at least 1", path, t->name,
			  WORKER_THREADS_MAX);
		return EXIT_CODE_CONFIG;
	}
	return EXIT_CODE_OK;
}

static enum exit_code load_config(struct signer *s)
{
	struct buf report;
	enum err e;

	buf_init(&report, 65536);
	e = config_load(s->arguments.config_path, &report, &s->config);
	if (e)
		log_lines(&report);
	buf_release(&report);
	if (e == E_NOMEM)
		return EXIT_CODE_INTERNAL;
	if (e)
		return EXIT_CODE_CONFIG;
	log_set_level(s->config->log.level);
	s->settings = config_token_find(s->config, s->arguments.token_name);
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
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &set, NULL) ||
	    (s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
		log_error("cannot take over signals");
		return EXIT_CODE_SYSTEM;
	}
	return EXIT_CODE_OK;
}

static enum exit_code open_socket(struct signer *s)
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

static enum exit_code load_module(struct signer *s)
{
	enum err e = module_load(s->settings->module, &s->module);

	if (e == E_NOMEM)
		log_error("memory is out");
	return e ? EXIT_CODE_NO_MODULE : EXIT_CODE_OK;
}

static enum exit_code find_token(struct signer *s)
{
	struct buf forgiven;
	enum err e;

	s->token.allow_usage = s->settings->allow_usage;
	e = module_find_token(s->module, s->settings->uri, &s->token);
	if (e)
		return e == E_CONFIG ? EXIT_CODE_CONFIG : EXIT_CODE_NO_TOKEN;
	if (s->token.allow_usage) {
		buf_init(&forgiven, 1024);
		key_protection_format(s->token.allow_usage, &forgiven);
		log_warn("[token %s] allow_usage: keys may have %s, because the configuration says so",
			 s->settings->name, buf_text(&forgiven));
		buf_release(&forgiven);
	}
	return EXIT_CODE_OK;
}

/* The PIN is read, used and scrubbed while the first session opens; the others find the user logged in. */
static enum exit_code open_sessions(struct signer *s)
{
	struct worker_options options = {.token = &s->token,
					 .threads = (unsigned)s->settings->threads,
					 .queue_max = (size_t)s->settings->queue_max};
	enum err e = login_new(&s->token, s->settings->pin_file, s->settings->socket, &s->login);

	if (e)
		return EXIT_CODE_INTERNAL;
	options.login = s->login;
	switch (worker_pool_new(&options, &s->pool)) {
	case E_OK:
		return EXIT_CODE_OK;
	case E_PIN:
	case E_PIN_LOCKED:
		return EXIT_CODE_PIN;
	case E_CONFIG:
		return EXIT_CODE_CONFIG;
	case E_IO:
	case E_NOMEM:
		return EXIT_CODE_SYSTEM;
	default:
		return EXIT_CODE_TOKEN_FAILED;
	}
}

static enum exit_code serve(struct signer *s)
{
	const struct server_options options = {
	    .token_name = s->settings->name,
	    .token = &s->token,
	    .login = s->login,
	    .listener = &s->listener,
	    .pool = s->pool,
	    .signal_fd = s->signal_fd,
	};
	enum exit_code code;

	if (worker_pool_start(s->pool) != E_OK)
		return EXIT_CODE_SYSTEM;
	log_notice("serving token '%s' (serial '%s', %s) on '%s' with %llu threads", s->token.label,
		   s->token.serial, s->token.model, s->settings->socket,
		   (unsigned long long)s->settings->threads);
	code = server_run(&options);
	log_notice("stopped");
	return code;
}

/* ---- the recipe ---- */

/*
 * A vendor's module may crash in its destructors when the process ends by
 * exit(3): all is closed in order before, so there is nothing left for them to
 * do.  Instrumented builds need exit(3) for their reports.
 */
static void NORETURN leave(enum exit_code code)
{
	fflush(NULL);
#ifdef CSRD_INSTRUMENTED
	exit(code);
#else
	_exit(code);
#endif
}

static void NORETURN close_all(struct signer *s, enum exit_code code)
{
	if (s->pool && !worker_pool_is_idle(s->pool))
		_exit(code); /* a thread is still inside the module: nothing can be closed under it */
	worker_pool_free(s->pool);
	login_free(s->login);
	module_free(s->module);
	listener_close(&s->listener);
	config_free(s->config);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	leave(code);
}

int main(int argc, char **argv)
{
	struct signer s = {.signal_fd = -1, .listener = {.fd = -1, .lock_fd = -1}};
	enum exit_code code = EXIT_CODE_OK;

	log_open("csrd-hsm", LOG_LEVEL_INFO);
	if (!parse_arguments(argc, argv, &s.arguments, &code))
		return code;
	if ((code = load_config(&s)) || s.arguments.check_only)
		close_all(&s, code);
	if ((code = forbid_dumps(&s)) || (code = take_signals(&s)) || (code = open_socket(&s)) ||
	    (code = load_module(&s)) || (code = find_token(&s)) || (code = open_sessions(&s)))
		close_all(&s, code);
	close_all(&s, serve(&s));
}
