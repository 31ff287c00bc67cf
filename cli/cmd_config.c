/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl config: whether the configuration can work on this machine, and what it comes to. */
#include "base/str.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/in_force.h"
#include "cli/output.h"
#include "cli/running.h"
#include "cli/uri_check.h"
#include "store/store_url.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- check ---- */

struct check {
	const struct cli *cli;
	struct json_doc *running; /* what csrd says of itself; NULL: none runs, or it is not known */
	struct output_json j;
	unsigned problems;
	unsigned warnings;
};

/* In the words of config_load: "FILE:LINE: [section] key: what is wrong". */
static void cmd_config_say(struct check *c, const struct config_value *value, const char *text,
			   const char *remedy)
{
	if (c->cli->json) {
		json_open_object(&c->j.w);
		json_put_text_member(&c->j.w, "section", value->section);
		output_json_text_opt(&c->j.w, "token", value->token);
		json_put_text_member(&c->j.w, "key", value->name);
		if (value->line > 0)
			json_put_int_member(&c->j.w, "line", value->line);
		json_put_text_member(&c->j.w, "text", text);
		json_put_text_member(&c->j.w, "remedy", remedy);
		json_close(&c->j.w);
		return;
	}
	fputs(c->cli->config_path, stdout);
	if (value->line > 0)
		printf(":%u", value->line);
	printf(": [%s%s%s] %s: ", value->section, value->token ? " " : "", value->token ? value->token : "",
	       value->name);
	output_text(text);
	printf("; %s\n", remedy);
}

static void problem(struct check *c, const struct config_value *value, const char *text, const char *remedy)
{
	c->problems++;
	cmd_config_say(c, value, text, remedy);
}

static void cmd_config_check_file(struct check *c, const struct config_value *value, const char *path)
{
	char text[PATH_MAX + 80];
	struct stat st;

	if (stat(path, &st) != 0)
		snprintf(text, sizeof(text), "'%s' cannot be used: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(text, sizeof(text), "'%s' is not a regular file", path);
	else
		return;
	problem(c, value, text, "install it, or correct the path");
}

/* The folder that a file or socket is to be made in. */
static void check_folder_of(struct check *c, const struct config_value *value, const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX], text[PATH_MAX + 80];
	struct stat st;

	if (!slash || (size_t)(slash - path) >= sizeof(folder))
		return;
	memcpy(folder, path, (size_t)(slash - path));
	folder[slash - path] = '\0';
	if (slash == path || (stat(folder, &st) == 0 && S_ISDIR(st.st_mode)))
		return;
	snprintf(text, sizeof(text), "there is no folder '%s'", folder);
	problem(c, value, text, "make it (the units of the package do), or correct the path");
}

static void check_users(struct check *c, const struct config_value *value)
{
	char names[1024], text[1100];
	char *rest = names;

	if (str_copy(names, sizeof(names), value->text) != E_OK)
		return;
	for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ",")) {
		name += strspn(name, " ");
		if (str_ascii_is_digit(name[0]) || getpwnam(name))
			continue;
		snprintf(text, sizeof(text), "there is no user '%s'", name);
		problem(c, value, text, "make it (systemd-sysusers), or correct the name");
	}
}

static void cmd_config_check_listen(struct check *c, const struct config_value *value)
{
	char addresses[2048];
	char *rest = addresses;

	if (str_copy(addresses, sizeof(addresses), value->text) != E_OK)
		return;
	for (char *address = strsep(&rest, ","); address; address = strsep(&rest, ",")) {
		address += strspn(address, " ");
		if (str_starts_with(address, "unix:"))
			check_folder_of(c, value, address + strlen("unix:"));
	}
}

static void check_uri(struct check *c, const struct config_value *value)
{
	const char *reason;

	if (!uri_check(value->text, &reason))
		problem(c, value, reason, "write it as RFC 7512 has it: pkcs11:token=NAME;serial=NUMBER");
}

static void check_value(void *arg, const struct config_value *value)
{
	struct check *c = arg;
	bool of_token = value->token != NULL;

	if (!value->text[0])
		return;
	if (of_token && !strcmp(value->name, "module"))
		cmd_config_check_file(c, value, value->text);
	else if (of_token && !strcmp(value->name, "uri"))
		check_uri(c, value);
	else if (of_token && !strcmp(value->name, "client_users"))
		check_users(c, value);
	else if (of_token && (!strcmp(value->name, "socket") || !strcmp(value->name, "state_dir")))
		check_folder_of(c, value, value->text);
	else if (!strcmp(value->section, "http") && !strcmp(value->name, "listen"))
		cmd_config_check_listen(c, value);
	else if (!strcmp(value->section, "store") && !strcmp(value->name, "url") &&
		 store_url_path(c->cli->config->store.url)) /* the text may be masked */
		check_folder_of(c, value, store_url_path(c->cli->config->store.url));
}

/* What is asked of a token that it does not make.  It works all the same, without that. */
static void warn_of_types(void *arg, const struct config_value *value)
{
	static const char pool[] = "pool_";
	struct check *c = arg;
	bool of_policy = !strcmp(value->section, "policy") && !strcmp(value->name, "key_types");
	const char *token = of_policy ? c->cli->config->tokens[0].name : value->token;
	key_type_set makes = token ? running_key_types(c->running, token) : 0, asked = 0;
	struct buf text;
	enum key_type type;

	if (of_policy)
		asked = c->cli->config->policy.key_types;
	else if (str_starts_with(value->name, pool) && strcmp(value->text, "0") != 0 &&
		 key_type_parse(value->name + strlen(pool), &type) == E_OK)
		asked = KEY_TYPE_BIT(type);
	if (!makes || value->line == 0 || !(asked & ~makes))
		return;
	c->warnings++;
	buf_init(&text, 1024);
	buf_printf(&text, "warning: token '%s' does not support ", token);
	key_type_set_format(asked & ~makes, &text);
	buf_put_str(&text, ", it makes ");
	key_type_set_format(makes, &text);
	cmd_config_say(c, value, buf_text(&text),
		       of_policy ? "such requests are refused: remove it from the list"
				 : "none are kept ready: remove the line");
	buf_release(&text);
}

static enum err cmd_config_check_all(struct check *c)
{
	enum err e = config_each_value(c->cli->config, check_value, c);

	if (c->cli->json) {
		json_close(&c->j.w); /* the problems */
		json_put_name(&c->j.w, "warnings");
		json_open_array(&c->j.w);
	}
	if (e == E_OK && c->running)
		e = config_each_value(c->cli->config, warn_of_types, c);
	return e;
}

static enum exit_code end_check(struct check *c)
{
	enum exit_code shown = EXIT_CODE_OK;

	if (c->cli->json) {
		json_close(&c->j.w); /* the warnings */
		json_put_text_member(&c->j.w, "file", c->cli->config_path);
		json_put_bool_member(&c->j.w, "ok", c->problems == 0);
		shown = output_json_end(&c->j);
	} else if (c->problems == 0) {
		printf("%s: fine%s\n", c->cli->config_path, c->warnings ? ", except for the above" : "");
	}
	if (shown != EXIT_CODE_OK)
		return shown;
	return c->problems == 0 ? EXIT_CODE_OK : EXIT_CODE_CONFIG;
}

enum exit_code cmd_config_check(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_OPTIONS};
	struct check c = {.cli = cli};
	enum exit_code code;
	enum err e;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 0, 0);
	if (code == EXIT_CODE_OK)
		code = cli_open_config(cli);
	if (code != EXIT_CODE_OK)
		return code;
	if (running_read(cli->config, &c.running) != E_OK)
		c.running = NULL; /* as where none runs */
	if (cli->json) {
		output_json_begin(&c.j);
		json_put_name(&c.j.w, "problems");
		json_open_array(&c.j.w);
	}
	e = cmd_config_check_all(&c);
	code = e == E_OK ? end_check(&c) : cli_fail(e, "%s", err_str(e));
	if (cli->json)
		buf_release(&c.j.buf);
	json_doc_free(c.running);
	return code;
}

/* ---- show ---- */

struct show {
	const struct cli *cli;
	char **wanted; /* what was asked for; none: all */
	int wanted_len;
	bool *found; /* by wanted */
	struct output_list list;
	struct in_force *in_force;
	struct { /* values that are not in force yet, by what they wait for */
		char command[sizeof(((struct in_force_other *)0)->command)];
		unsigned count;
	} waiting[CONFIG_TOKENS_MAX + 2];
	size_t waiting_len;
};

/* By its full name, by its last part alone, or by its section. */
static bool cmd_config_is_wanted(struct show *s, const struct config_value *value, const char *full)
{
	bool wanted = s->wanted_len == 0;

	for (int i = 0; i < s->wanted_len; i++) {
		const char *word = s->wanted[i];
		size_t len = strlen(word);

		if (strcmp(word, full) != 0 && strcmp(word, value->name) != 0 &&
		    (strncmp(full, word, len) != 0 || full[len] != '.'))
			continue;
		s->found[i] = true;
		wanted = true;
	}
	return wanted;
}

/* What csrd-hsm will have under systemd, which gives it a folder for its credentials. */
static bool is_made_by_systemd(const struct config_value *value)
{
	return value->line == 0 && value->token && !strcmp(value->name, "pin_file");
}

static void count_waiting(struct show *s, const char *command)
{
	size_t i = 0;

	while (i < s->waiting_len && strcmp(s->waiting[i].command, command) != 0)
		i++;
	if (i == sizeof(s->waiting) / sizeof(s->waiting[0]))
		return;
	if (i == s->waiting_len)
		snprintf(s->waiting[s->waiting_len++].command, sizeof(s->waiting[i].command), "%s", command);
	s->waiting[i].count++;
}

static void cmd_config_show_json(struct json_writer *w, const struct config_value *value, const char *full,
				 const struct in_force_other *other)
{
	json_open_object(w);
	json_put_text_member(w, "name", full);
	json_put_text_member(w, "section", value->section);
	output_json_text_opt(w, "token", value->token);
	json_put_text_member(w, "key", value->name);
	if (value->text[0]) {
		json_put_text_member(w, "value", value->text);
	} else {
		json_put_name(w, "value");
		json_put_null(w);
	}
	json_put_text_member(w, "source", value->line > 0 ? "file" : "default");
	if (value->line > 0)
		json_put_int_member(w, "line", value->line);
	json_put_bool_member(w, "reloadable", value->reloadable);
	if (other) {
		json_put_text_member(w, "in_force", other->text);
		json_put_text_member(w, "waits_for", other->command);
	}
	json_close(w);
}

static void show_value(void *arg, const struct config_value *value)
{
	struct show *s = arg;
	struct in_force_other other;
	bool differs;
	char full[CONFIG_FULL_NAME_SIZE], from[64], text[2 * sizeof(other.text)];

	config_value_full_name(value, full);
	if (!cmd_config_is_wanted(s, value, full))
		return;
	differs = in_force_differs(s->in_force, value, &other);
	if (differs)
		count_waiting(s, other.command);
	if (s->cli->json) {
		cmd_config_show_json(&s->list.j.w, value, full, differs ? &other : NULL);
		return;
	}
	if (differs)
		snprintf(text, sizeof(text), "%s (in force: %s)", value->text,
			 other.text[0] ? other.text : "none");
	else
		snprintf(text, sizeof(text), "%s", value->text);
	if (value->line > 0)
		snprintf(from, sizeof(from), "line %u", value->line);
	else
		snprintf(from, sizeof(from), "default%s",
			 is_made_by_systemd(value) ? " (systemd: $CREDENTIALS_DIRECTORY/pin)" : "");
	output_table_put(&s->list.table, full);
	output_table_put(&s->list.table, text);
	output_table_put(&s->list.table, from);
	output_table_put(&s->list.table, value->reloadable ? "reload" : "restart");
}

static enum exit_code end_show(struct show *s)
{
	for (int i = 0; i < s->wanted_len; i++) {
		if (s->found[i])
			continue;
		output_list_drop(&s->list);
		return cli_fail(E_NOTFOUND, "no key '%s': 'csrctl config show' lists all", s->wanted[i]);
	}
	if (!s->cli->json) {
		fputs("# ", stdout);
		output_text(s->cli->config_path);
		putchar('\n');
	}
	enum exit_code code = output_list_end(&s->list);

	for (size_t i = 0; i < s->waiting_len; i++)
		cli_note("%u %s in force after %s", s->waiting[i].count,
			 s->waiting[i].count == 1 ? "value is" : "values are", s->waiting[i].command);
	return code;
}

enum exit_code cmd_config_show(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_OPTIONS};
	static const struct output_column columns[] = {
	    {"KEY", OUTPUT_WHOLE},
	    {"VALUE", OUTPUT_CUT},
	    {"FROM", OUTPUT_CUT},
	    {"CHANGED BY", OUTPUT_WHOLE},
	};
	struct show s = {.cli = cli};
	enum exit_code code;
	bool denied;
	enum err e;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_open_config(cli);
	if (code != EXIT_CODE_OK)
		return code;
	s.wanted = argv + optind;
	s.wanted_len = argc - optind;
	s.found = calloc((size_t)s.wanted_len + 1, sizeof(*s.found));
	e = s.found ? in_force_read(cli->config, &s.in_force, &denied) : E_NOMEM;
	if (e != E_OK) {
		free(s.found);
		return cli_fail(e, "%s", err_str(e));
	}
	if (denied)
		cli_note("what is in force in the programs that run is not known: run csrctl as root");
	output_list_begin(&s.list, cli->json, "values", columns, sizeof(columns) / sizeof(columns[0]));
	e = config_each_value(cli->config, show_value, &s);
	if (e == E_OK) {
		code = end_show(&s);
	} else {
		output_list_drop(&s.list);
		code = cli_fail(e, "%s", err_str(e));
	}
	free(s.found);
	in_force_free(s.in_force);
	return code;
}
