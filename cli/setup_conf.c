/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl setup: the configuration file.  Values are set in place, all the rest of the file stays as it is. */
#include "base/fd.h"
#include "cli/ask.h"
#include "cli/conf_edit.h"
#include "cli/file.h"
#include "cli/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the file that is installed says of its token, for an example. */
#define EXAMPLE_SECTION "token default"
#define EXAMPLE_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define EXAMPLE_URI "pkcs11:token=csrd"

#define SECTION_SIZE 64

/* A new installation has none: the package ships a sample alone, so that no upgrade asks about it. */
static enum err read_sample(struct setup *s)
{
	struct buf path;
	enum err e;

	buf_init(&path, 4096);
	e = spawn_own_data("csrd.conf", &path);
	if (e == E_OK)
		e = fd_read_file(buf_text(&path), &s->conf);
	buf_release(&path);
	s->conf_changed = true;
	return e;
}

static enum exit_code read_conf(struct setup *s)
{
	enum err e = fd_read_file(s->cli->config_path, &s->conf);

	if (e == E_NOTFOUND) {
		buf_reset(&s->conf);
		e = read_sample(s);
	}
	if (e == E_NOTFOUND)
		return cli_fail(E_CONFIG, "there is neither '%s' nor a sample of it", s->cli->config_path);
	if (e != E_OK)
		return cli_fail(e, "cannot read '%s': %s", s->cli->config_path, err_str(e));
	if (strlen(buf_text(&s->conf)) != s->conf.len)
		return cli_fail(E_CONFIG, "'%s' is not a text", s->cli->config_path);
	return EXIT_CODE_OK;
}

/* Moves `fresh` into s->conf. */
static enum exit_code setup_conf_take(struct setup *s, struct buf *fresh, enum err e)
{
	if (e != E_OK) {
		buf_release(fresh);
		return cli_fail(e, "cannot edit '%s': %s", s->cli->config_path, err_str(e));
	}
	buf_release(&s->conf);
	s->conf = *fresh;
	s->conf_changed = true;
	return EXIT_CODE_OK;
}

static enum exit_code set(struct setup *s, const char *section, const char *key, const char *value)
{
	struct buf fresh;

	if (!value[0] || strpbrk(value, "\r\n") || strstr(value, " #") || strstr(value, " ;"))
		return cli_fail(E_INVAL, "'%s' is no value for %s", value, key);
	buf_init(&fresh, s->conf.max);
	return setup_conf_take(s, &fresh, conf_edit_set(buf_text(&s->conf), section, key, value, &fresh));
}

static bool is_value(const struct setup *s, const char *section, const char *key, const char *value)
{
	struct buf now;
	bool is;

	buf_init(&now, 4096);
	is = conf_edit_get(buf_text(&s->conf), section, key, &now) && strcmp(buf_text(&now), value) == 0;
	buf_release(&now);
	return is;
}

/*
 * The section is as it was installed: nobody has bound that token yet.  With a
 * PIN in its place the same values are meant.
 */
static bool is_example(const struct setup *s, const char *section)
{
	const char *token = section + strlen("token ");

	return !setup_pin_is_stored(token, false) && !setup_pin_is_stored(token, true) &&
	       is_value(s, section, "module", EXAMPLE_MODULE) && is_value(s, section, "uri", EXAMPLE_URI);
}

/* The example's place in the file is the one for the first token. */
static enum exit_code name_section(struct setup *s, const char *section)
{
	struct buf fresh;

	if (conf_edit_has_section(buf_text(&s->conf), section) || !is_example(s, EXAMPLE_SECTION))
		return EXIT_CODE_OK;
	buf_init(&fresh, s->conf.max);
	return setup_conf_take(
	    s, &fresh, conf_edit_rename_section(buf_text(&s->conf), EXAMPLE_SECTION, section, &fresh));
}

/*
 * Sets a key that nobody has set; one that is set already must be the same.
 * wanted: NULL leaves it alone.  *ret_used: what it then is; "" for nothing.
 */
static enum exit_code setup_conf_settle(struct setup *s, const char *section, const char *key,
					const char *wanted, bool is_free, struct buf *ret_used)
{
	enum exit_code code = EXIT_CODE_OK;
	bool is_set;

	buf_reset(ret_used);
	is_set = conf_edit_get(buf_text(&s->conf), section, key, ret_used) && !is_free;
	if (!wanted) {
		if (!is_set)
			buf_reset(ret_used);
		return EXIT_CODE_OK;
	}
	if (is_set && strcmp(buf_text(ret_used), wanted) != 0)
		return cli_fail(E_EXISTS,
				"'%s' has [%s] %s = %s already: leave the option out to keep that, or change "
				"it there by hand",
				s->cli->config_path, section, key, buf_text(ret_used));
	if (!is_set && !is_value(s, section, key, wanted))
		code = set(s, section, key, wanted);
	buf_reset(ret_used);
	buf_put_str(ret_used, wanted);
	return code;
}

static enum exit_code setup_conf_ask_for(struct setup *s, const char *section, const char *key,
					 const char *question, struct buf *used)
{
	struct buf answer;
	enum exit_code code;

	buf_init(&answer, 4096);
	if (ask_line(question, NULL, &answer) != E_OK)
		code = cli_fail(E_DENIED, "nothing was changed");
	else
		code = setup_conf_settle(s, section, key, buf_text(&answer), true, used);
	buf_release(&answer);
	return code;
}

/* What neither the file nor the command line says. */
static enum exit_code ask_missing(struct setup *s, const char *section)
{
	enum exit_code code = EXIT_CODE_OK;

	if (s->module_used.len > 0 && s->uri_used.len > 0)
		return EXIT_CODE_OK;
	if (s->yes || !ask_is_possible())
		return cli_usage(s->cli, "%s is missing: [%s] in '%s' is still the example",
				 s->module_used.len == 0 ? "--module" : "--uri", section,
				 s->cli->config_path);
	if (s->module_used.len == 0)
		code = setup_conf_ask_for(
		    s, section, "module",
		    "PKCS#11 module of the HSM (a path; for a trial: csrctl setup --softhsm)",
		    &s->module_used);
	if (code == EXIT_CODE_OK && s->uri_used.len == 0)
		code = setup_conf_ask_for(s, section, "uri", "Its token (such as pkcs11:token=LABEL)",
					  &s->uri_used);
	return code;
}

/*
 * Each trial token has a label of its own, or a second one would be taken for
 * the first.  A section that 0.1 wrote keeps the one label that all had then.
 */
static const char *setup_conf_choose_label(const struct setup *s, const char *section, bool is_free)
{
	if (strcmp(section, EXAMPLE_SECTION) == 0 || (!is_free && is_value(s, section, "uri", EXAMPLE_URI)))
		return SETUP_SOFTHSM_LABEL;
	return s->token;
}

enum exit_code setup_conf_plan(struct setup *s)
{
	const char *module = s->module, *uri = s->uri;
	char section[SECTION_SIZE], trial_uri[SECTION_SIZE];
	enum exit_code code = read_conf(s);
	struct buf listen;
	bool is_free;

	if (code != EXIT_CODE_OK)
		return code;
	snprintf(section, sizeof(section), "token %s", s->token);
	if (s->softhsm) {
		module = setup_softhsm_module();
		if (!module)
			return cli_fail(E_NOTFOUND, "SoftHSM is not installed: apt install softhsm2");
	}
	code = name_section(s, section);
	if (code != EXIT_CODE_OK)
		return code;
	is_free = is_example(s, section);
	if (s->softhsm) {
		s->trial_label = setup_conf_choose_label(s, section, is_free);
		snprintf(trial_uri, sizeof(trial_uri), "pkcs11:token=%s", s->trial_label);
		uri = trial_uri;
	}
	buf_init(&listen, 4096);
	code = setup_conf_settle(s, section, "module", module, is_free, &s->module_used);
	if (code == EXIT_CODE_OK)
		code = setup_conf_settle(s, section, "uri", uri, is_free, &s->uri_used);
	if (code == EXIT_CODE_OK)
		code = setup_conf_settle(s, "http", "listen", s->listen, false, &listen);
	buf_release(&listen);
	return code == EXIT_CODE_OK ? ask_missing(s, section) : code;
}

/* ---- check and commit ---- */

static enum exit_code write_beside(struct setup *s)
{
	char path[SETUP_PATH_MAX];
	struct stat st = {.st_mode = 0644};
	enum err e;

	if (stat(s->cli->config_path, &st) != 0 && errno != ENOENT)
		return cli_fail(E_IO, "cannot look at '%s': %s", s->cli->config_path, strerror(errno));
	snprintf(path, sizeof(path), "%s.setup", s->cli->config_path);
	e = file_replace(path, s->conf.data, s->conf.len,
			 &(struct file_rights){st.st_mode & 07777, st.st_uid, st.st_gid});
	if (e != E_OK)
		return cli_fail(e, "cannot write '%s': %s", path, strerror(errno));
	memcpy(s->conf_new, path, sizeof(path));
	return EXIT_CODE_OK;
}

enum exit_code setup_conf_check(struct setup *s)
{
	struct buf program, said;
	enum exit_code code;
	int status = 0;

	code = write_beside(s);
	if (code != EXIT_CODE_OK)
		return code;
	buf_init(&program, 4096);
	buf_init(&said, 64 * 1024);
	if (spawn_own_program("csrd", &program) != E_OK) {
		code = cli_fail(E_NOTFOUND, "there is no csrd beside csrctl");
	} else {
		const char *const argv[] = {buf_text(&program), "-c", s->conf_new, "-t", NULL};

		code = setup_run(&(struct spawn){.argv = argv}, &said, &status);
	}
	if (code == EXIT_CODE_OK && status != 0) {
		code =
		    cli_fail(E_CONFIG, "'%s' would not be valid; nothing was changed:", s->cli->config_path);
		setup_show_output(&said);
	}
	buf_release(&program);
	buf_release(&said);
	return code;
}

enum exit_code setup_conf_commit(struct setup *s)
{
	enum err e;

	if (!s->conf_changed) {
		setup_conf_drop(s); /* the last step may not do it any more */
		setup_done(s, "kept    %s", s->cli->config_path);
		return EXIT_CODE_OK;
	}
	e = file_move(s->conf_new, s->cli->config_path);
	if (e != E_OK)
		return cli_fail(e, "cannot write '%s': %s", s->cli->config_path, strerror(errno));
	s->conf_new[0] = '\0';
	setup_done(s, "wrote   %s: [token %s]%s", s->cli->config_path, s->token,
		   s->listen ? ", [http] listen" : "");
	return EXIT_CODE_OK;
}

void setup_conf_drop(struct setup *s)
{
	if (s->conf_new[0])
		unlink(s->conf_new);
	s->conf_new[0] = '\0';
}
