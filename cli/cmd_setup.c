/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl setup: the options, the order of the steps, and what is said at the end. */
#include "base/secret.h"
#include "cli/arg.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/setup.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	OPTION_MODULE = 300,
	OPTION_URI,
	OPTION_PIN_FILE,
	OPTION_LISTEN,
	OPTION_ACCOUNT,
	OPTION_SOFTHSM,
	OPTION_ENCRYPT,
	OPTION_NO_INSPECT,
	OPTION_NO_START
};

static const struct option options[] = {
    {"token", required_argument, NULL, 't'},
    {"module", required_argument, NULL, OPTION_MODULE},
    {"uri", required_argument, NULL, OPTION_URI},
    {"pin-file", required_argument, NULL, OPTION_PIN_FILE},
    {"encrypt-pin", no_argument, NULL, OPTION_ENCRYPT},
    {"softhsm", no_argument, NULL, OPTION_SOFTHSM},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"account", required_argument, NULL, OPTION_ACCOUNT},
    {"yes", no_argument, NULL, 'y'},
    {"no-inspect", no_argument, NULL, OPTION_NO_INSPECT},
    {"no-start", no_argument, NULL, OPTION_NO_START},
    CLI_OPTIONS,
};

/* ---- for the steps ---- */

void setup_done(const struct setup *s, const char *format, ...)
{
	va_list args;

	if (s->cli->json)
		return;
	fputs("  ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

enum exit_code setup_run(const struct spawn *what, struct buf *output, int *ret_status)
{
	enum err e = spawn_run(what, output, ret_status);

	if (e == E_NOTFOUND)
		return cli_fail(E_NOTFOUND, "there is no program '%s'", what->argv[0]);
	if (e != E_OK)
		return cli_fail(e, "cannot run '%s': %s", what->argv[0],
				e == E_IO ? strerror(errno) : err_str(e));
	return EXIT_CODE_OK;
}

void setup_show_output(const struct buf *output)
{
	for (const char *at = buf_text(output); *at;) {
		size_t len = strcspn(at, "\n");

		fprintf(stderr, "    %.*s\n", (int)len, at);
		at += len + (at[len] == '\n');
	}
}

/* ---- before anything is done ---- */

static enum exit_code cmd_setup_read_options(struct setup *s, int argc, char **argv)
{
	int c;

	while ((c = cli_getopt(s->cli, argc, argv, CLI_SHORT_OPTIONS "y", options)) != -1) {
		switch (c) {
		case 't':
			s->token = optarg;
			break;
		case OPTION_MODULE:
			s->module = optarg;
			break;
		case OPTION_URI:
			s->uri = optarg;
			break;
		case OPTION_PIN_FILE:
			s->pin_file = optarg;
			break;
		case OPTION_ENCRYPT:
			s->encrypt_pin = true;
			break;
		case OPTION_SOFTHSM:
			s->softhsm = true;
			break;
		case OPTION_LISTEN:
			s->listen = optarg;
			break;
		case OPTION_ACCOUNT:
			s->account = optarg;
			break;
		case 'y':
			s->yes = true;
			break;
		case OPTION_NO_INSPECT:
			s->no_inspect = true;
			break;
		case OPTION_NO_START:
			s->no_start = true;
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	return cli_arguments(s->cli, argc, argv, 0, 0);
}

static bool is_token_name(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

	return name[0] && strlen(name) <= 32 && strspn(name, allowed) == strlen(name);
}

static enum exit_code check_options(struct setup *s)
{
	char tag[STORE_TAG_SIZE];

	if (!s->token)
		s->token = "default";
	if (!is_token_name(s->token))
		return cli_usage(s->cli, "--token '%s': 1-32 of A-Z, a-z, 0-9, _ and -", s->token);
	if (s->softhsm && (s->module || s->uri))
		return cli_usage(s->cli, "--softhsm makes its own token: without --module and --uri");
	if (s->softhsm && strcmp(s->token, "softhsm") == 0)
		return cli_usage(s->cli,
				 "--token softhsm: that folder is the trial token's own, take another name");
	if (s->softhsm && strcmp(s->token, SETUP_SOFTHSM_LABEL) == 0)
		return cli_usage(s->cli,
				 "--token " SETUP_SOFTHSM_LABEL ": that is the label of the trial token of "
				 "[token default], take another name");
	if (s->account && arg_tag(s->account, tag) != E_OK)
		return cli_usage(s->cli, "--account '%s' is not an id: 1-32 of [0-9A-Za-z_-]", s->account);
	if (strcmp(s->cli->config_path, CONFIG_DEFAULT_PATH) != 0)
		return cli_usage(s->cli, "setup works only on '%s', which the systemd units read",
				 CONFIG_DEFAULT_PATH);
	return EXIT_CODE_OK;
}

static enum exit_code check_machine(struct setup *s)
{
	static const char no_user[] = "there is no user '%s': run systemd-sysusers, or install the package";
	const struct passwd *user;

	if (geteuid() != 0)
		return cli_fail(E_DENIED, "setup must be run as root");
	if (!getpwnam("csrd"))
		return cli_fail(E_NOTFOUND, no_user, "csrd");
	user = getpwnam("csrd-hsm");
	if (!user)
		return cli_fail(E_NOTFOUND, no_user, "csrd-hsm");
	s->hsm_uid = user->pw_uid;
	s->hsm_gid = user->pw_gid;
	if (!s->no_start && access("/run/systemd/system", F_OK) != 0)
		return cli_fail(E_UNAVAIL, "systemd does not run here: --no-start does all the rest");
	if (secret_forbid_dumps() != E_OK)
		return cli_fail(E_IO, "cannot forbid core files: %s", strerror(errno));
	return EXIT_CODE_OK;
}

static bool is_confirmed(const struct setup *s)
{
	if (s->yes || !ask_is_possible())
		return true;
	fprintf(stderr,
		"\n  token          %s\n  PKCS#11 module %s\n  token URI      %s\n  configuration  %s\n"
		"  PIN            %s/%s.pin%s\n\n",
		s->token, buf_text(&s->module_used), buf_text(&s->uri_used), s->cli->config_path,
		SETUP_CREDENTIALS, s->token, s->encrypt_pin ? ".cred" : "");
	return ask_yes("Go on? (y, n)");
}

/* ---- the end ---- */

static const char example_body[] = "{\"country\":\"SE\",\"state\":\"Stockholm\",\"locality\":\"Stockholm\","
				   "\"organization\":\"Example AB\",\"common_name\":\"www.example.com\","
				   "\"sans\":[\"www.example.com\"],\"key_type\":\"p256v1\"}";

/* How curl reaches the first address: "--unix-socket PATH " before the URL, or nothing. */
static void put_url(const struct setup *s, struct buf *option, struct buf *url)
{
	const struct config_http *http = &s->cli->config->http;
	const char *listen = http->listen_len > 0 ? http->listen[0] : "127.0.0.1:8080";

	if (strncmp(listen, "unix:", 5) == 0) {
		buf_printf(option, "--unix-socket %s ", listen + 5);
		listen = "localhost";
	}
	buf_printf(url, "http://%s/client/v4", listen);
}

/* The token of new keys; the account step has read the configuration. */
static const char *first_token(const struct setup *s)
{
	return s->cli->config->tokens[0].name;
}

static enum exit_code cmd_setup_print_json(const struct setup *s, const char *url)
{
	struct output_json j;

	output_json_begin(&j);
	json_put_text_member(&j.w, "token", s->token);
	json_put_text_member(&j.w, "module", buf_text(&s->module_used));
	json_put_text_member(&j.w, "uri", buf_text(&s->uri_used));
	json_put_text_member(&j.w, "url", url);
	json_put_text_member(&j.w, "account", s->account_id);
	output_json_text_opt(&j.w, "api_token", s->api_token);
	json_put_bool_member(&j.w, "started", !s->no_start);
	json_put_text_member(&j.w, "new_keys_on", first_token(s));
	return output_json_end(&j);
}

static void cmd_setup_print_text(const struct setup *s, const char *option, const char *url)
{
	putchar('\n');
	output_fact("url", url);
	output_fact("account", s->account_id);
	output_fact("api token", s->api_token[0] ? s->api_token : NULL);
	output_fact("new keys on", first_token(s));
	if (strcmp(first_token(s), s->token) != 0)
		printf("\nNew keys are still made on token '%s', the first in the file. To make them on this "
		       "one, put\n"
		       "its section [token %s] before all others in %s,\n"
		       "then systemctl restart csrd.\n",
		       first_token(s), s->token, s->cli->config_path);
	if (s->no_start)
		printf("\nNot started, as asked: systemctl enable --now csrd-hsm@%s.socket %scsrd.service\n",
		       s->token, setup_port_is_held(s) ? "csrd.socket " : "");
	if (!s->api_token[0])
		return;
	printf("\nThe API token 'setup' may write, and does not expire: csrctl token create makes others, "
	       "csrctl\n"
	       "token revoke setup ends it. It is shown this once. To try it:\n\n"
	       "  CSRD_TOKEN=%s\n"
	       "  curl -sS %s-H \"Authorization: Bearer $CSRD_TOKEN\" \\\n"
	       "    -H 'Content-Type: application/json' \\\n"
	       "    -d '%s' \\\n"
	       "    %s/accounts/%s/custom_csrs\n",
	       s->api_token, option, example_body, url, s->account_id);
}

static enum exit_code print_result(const struct setup *s)
{
	enum exit_code code = EXIT_CODE_OK;
	struct buf option, url;

	buf_init(&option, 512);
	buf_init(&url, 512);
	put_url(s, &option, &url);
	if (s->cli->json)
		code = cmd_setup_print_json(s, buf_text(&url));
	else
		cmd_setup_print_text(s, buf_text(&option), buf_text(&url));
	buf_release(&option);
	buf_release(&url);
	return code;
}

/* ---- the order ---- */

/* Nothing is changed by these, but for the trial token, which is nobody's else. */
static enum exit_code prepare(struct setup *s)
{
	enum exit_code code;

	if ((code = check_machine(s)) || (code = setup_conf_plan(s)) || (code = setup_pin_read(s)))
		return code;
	if (!is_confirmed(s))
		return cli_fail(E_DENIED, "nothing was changed");
	if ((code = setup_conf_check(s)))
		return code;
	if (s->softhsm && (code = setup_softhsm_check(s)))
		return code;
	if (s->softhsm && s->pin.len > 0 && (code = setup_pin_store(s)))
		return code;
	if (s->softhsm && (code = setup_softhsm_make(s)))
		return code;
	return s->no_inspect ? EXIT_CODE_OK : setup_units_inspect(s);
}

static enum exit_code perform(struct setup *s)
{
	enum exit_code code;

	if ((code = setup_conf_commit(s)) || (code = setup_pin_store(s)) || (code = setup_units_write(s)))
		return code;
	if (!s->no_start && (code = setup_units_start(s)))
		return code;
	return setup_account(s);
}

enum exit_code cmd_setup(struct cli *cli, int argc, char **argv)
{
	struct setup s = {.cli = cli};
	enum exit_code code = cmd_setup_read_options(&s, argc, argv);

	if (code != EXIT_CODE_OK)
		return code;
	buf_init(&s.conf, 512 * 1024);
	buf_init(&s.module_used, 4096);
	buf_init(&s.uri_used, 4096);
	buf_init(&s.pin, SETUP_PIN_MAX + 2);
	code = check_options(&s);
	if (code == EXIT_CODE_OK)
		code = prepare(&s);
	if (code == EXIT_CODE_OK) {
		code = perform(&s);
		if (code != EXIT_CODE_OK)
			cli_note("setup is not complete; what it did stays. When the cause is mended, give "
				 "the same command again");
	}
	if (code == EXIT_CODE_OK)
		code = print_result(&s);
	setup_conf_drop(&s);
	buf_release(&s.conf);
	buf_release(&s.module_used);
	buf_release(&s.uri_used);
	buf_release(&s.pin);
	secret_scrub(s.api_token, sizeof(s.api_token));
	return code;
}
