/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl setup: what systemd is told, and waiting until the service answers. */
#include "api/json.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "cli/conf_edit.h"
#include "cli/doctor.h"
#include "cli/file.h"
#include "cli/sandbox.h"
#include "cli/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNIT_FOLDER "/etc/systemd/system"
#define DROP_IN "csrctl-setup.conf"
#define READY_MS 60000
#define POLL_MS 200
#define SYSTEMD_STATUS_MIN 128 /* no exit code of csrd-hsm: a signal, or systemd's own */

/* ---- what goes into the drop-in ---- */

/* What the module needs of the unit. */
static void setup_units_put_module(const struct setup *s, struct buf *lines)
{
	const char *module = buf_text(&s->module_used);
	const char *slash = strrchr(module, '/');

	if (setup_softhsm_is_used(s))
		buf_put_str(lines, "Environment=" SETUP_SOFTHSM_VARIABLE "\n"
				   "StateDirectory=csrd-hsm/softhsm\n");
	if (slash > module && !str_starts_with(module, "/usr/lib/") && !str_starts_with(module, "/lib/"))
		buf_printf(lines, "ExecPaths=\"%.*s\"\n", (int)(slash - module), module);
}

static void put_signer(const struct setup *s, struct buf *b)
{
	char pin[SETUP_PATH_MAX];
	struct buf lines;

	buf_init(&lines, 8192);
	setup_units_put_module(s, &lines);
	if (setup_pin_is_stored(s->token, true)) {
		setup_pin_path(s->token, true, pin);
		buf_printf(&lines, "LoadCredential=\nLoadCredentialEncrypted=pin:%s\n", pin);
	}
	if (lines.len > 0)
		buf_printf(b, SETUP_DROP_IN_HEAD "[Service]\n%s", buf_text(&lines));
	buf_release(&lines);
}

/* ---- is the token there? ---- */

#define DOCUMENT_BYTES_MAX (256 * 1024)

/* What csrd-hsm tells of module and token, its words to people apart. */
struct inspection {
	struct buf said;
	struct buf document; /* JSON */
	int status;
	bool by_unit;
};

static bool inspection_says_exchanged(const struct inspection *look)
{
	char why[JSON_WHY_SIZE];
	struct json_doc *doc;
	bool exchanged;

	if (json_read(buf_text(&look->document), look->document.len, why, &doc) != E_OK)
		return false;
	exchanged = json_is_true(json_member(json_member(json_root(doc), "token"), "exchanged"));
	json_doc_free(doc);
	return exchanged;
}

/* As the signer's user, where there is no unit yet to look from. */
static enum exit_code inspect_by_user(struct setup *s, struct inspection *look)
{
	struct buf program;
	enum exit_code code;

	buf_init(&program, 4096);
	if (spawn_own_program("csrd-hsm", &program) != E_OK) {
		code = cli_fail(E_NOTFOUND, "there is no csrd-hsm beside csrctl");
	} else {
		const char *const argv[] = {buf_text(&program), "-c", s->conf_new, "-n",
					    s->token,           "-i", NULL};
		struct spawn inspect = {.argv = argv, .user = "csrd-hsm", .errors = &look->said};

		if (setup_softhsm_is_used(s))
			inspect.variable = SETUP_SOFTHSM_VARIABLE;
		code = setup_run(&inspect, &look->document, &look->status);
	}
	buf_release(&program);
	return code;
}

static enum exit_code inspect_by_unit(struct setup *s, struct inspection *look)
{
	struct sandbox_look from_unit = {
	    .token = s->token, .config_path = s->conf_new, .timeout_ms = READY_MS};
	struct buf more;
	enum err e;

	buf_init(&more, 8192);
	setup_units_put_module(s, &more);
	from_unit.more = buf_text(&more);
	e = sandbox_inspect(&from_unit, &look->document, &look->said, &look->status);
	buf_release(&more);
	if (e == E_NOTFOUND)
		return cli_fail(e, "there is no csrd-hsm beside csrctl");
	if (e == E_TIMEOUT)
		return cli_fail(e, "csrd-hsm@%s does not finish looking for the token", s->token);
	return e == E_OK ? EXIT_CODE_OK
			 : cli_fail(e, "cannot look for the token from inside the unit csrd-hsm@%s: %s",
				    s->token, e == E_IO ? strerror(errno) : err_str(e));
}

static void say_not_found(const struct setup *s, struct inspection *look)
{
	cli_note("%s%s cannot use the token '%s' of '%s':", look->by_unit ? "csrd-hsm@" : "user ",
		 look->by_unit ? s->token : "csrd-hsm", buf_text(&s->uri_used), buf_text(&s->module_used));
	setup_show_output(&look->said);
	if (look->by_unit && look->status >= SYSTEMD_STATUS_MIN && look->status < 256)
		cli_note("systemd ended it with %d: see systemd.exec(5), \"Process Exit Codes\"",
			 look->status);
	if (inspection_says_exchanged(look))
		cli_note("'%s' was not changed. If the token was exchanged on purpose, let the signer forget "
			 "the other one: rm -f /var/lib/csrd-hsm/%s/token",
			 s->cli->config_path, s->token);
	else if (look->by_unit)
		cli_note(
		    "'%s' was not changed. The unit sees no /home, no network and no device, and runs code "
		    "only from /usr/lib and the module's folder: drop-ins for what else it needs are in "
		    "/usr/share/doc/csrd/examples; systemctl edit csrd-hsm@%s. --no-inspect skips this check",
		    s->cli->config_path, s->token);
	else
		cli_note("'%s' was not changed. --no-inspect skips this check", s->cli->config_path);
}

enum exit_code setup_units_inspect(struct setup *s)
{
	struct inspection look = {.by_unit = sandbox_is_possible(s->token)};
	enum exit_code code;

	buf_init(&look.said, DOCUMENT_BYTES_MAX);
	buf_init(&look.document, DOCUMENT_BYTES_MAX);
	code = look.by_unit ? inspect_by_unit(s, &look) : inspect_by_user(s, &look);
	if (code == EXIT_CODE_OK && look.status != 0) {
		say_not_found(s, &look);
		code = look.status < SYSTEMD_STATUS_MIN ? (enum exit_code)look.status : EXIT_CODE_SYSTEM;
	}
	if (code == EXIT_CODE_OK)
		setup_done(s, "found   token '%s'%s", buf_text(&s->uri_used),
			   look.by_unit ? ", from inside the unit" : "");
	buf_release(&look.document);
	buf_release(&look.said);
	return code;
}

/* ---- drop-ins ---- */

enum exit_code setup_systemctl(const char *const *words, struct buf *output)
{
	const char *argv[12] = {"systemctl"};
	enum exit_code code;
	struct buf said;
	int status;

	for (size_t i = 0; words[i]; i++)
		argv[i + 1] = words[i];
	buf_init(&said, 64 * 1024);
	code = setup_run(&(struct spawn){.argv = argv}, output ? output : &said, &status);
	if (code == EXIT_CODE_OK && status != 0) {
		code = cli_fail(E_UNAVAIL, "systemctl %s failed:", words[0]);
		setup_show_output(output ? output : &said);
	}
	buf_release(&said);
	return code;
}

enum exit_code setup_write_drop_in(const struct setup *s, const char *unit, const struct buf *text,
				   bool *ret_changed)
{
	char folder[SETUP_PATH_MAX], path[SETUP_PATH_MAX];
	struct buf old;
	bool is_same;
	enum err e;

	snprintf(folder, sizeof(folder), UNIT_FOLDER "/%s.d", unit);
	snprintf(path, sizeof(path), UNIT_FOLDER "/%s.d/" DROP_IN, unit);
	buf_init(&old, 64 * 1024);
	if (fd_read_file(path, &old) != E_OK)
		buf_reset(&old);
	is_same = strcmp(buf_text(&old), buf_text(text)) == 0;
	buf_release(&old);
	if (is_same)
		return EXIT_CODE_OK;
	e = file_make_folder(folder, 0755, 0, 0);
	if (e == E_OK)
		e = file_replace(path, buf_text(text), text->len, &(struct file_rights){.mode = 0644});
	if (e != E_OK)
		return cli_fail(e, "cannot write '%s': %s", path, strerror(errno));
	*ret_changed = true;
	setup_done(s, "wrote   %s", path);
	return EXIT_CODE_OK;
}

enum exit_code setup_units_write(struct setup *s)
{
	static const char *const reload[] = {"daemon-reload", NULL};
	enum exit_code code;
	struct buf text;
	char unit[64];

	buf_init(&text, 16384);
	put_signer(s, &text);
	snprintf(unit, sizeof(unit), "csrd-hsm@%s.service", s->token);
	code = setup_write_drop_in(s, unit, &text, &s->units_changed);
	if (code == EXIT_CODE_OK)
		code = setup_port_write(s);
	if (code == EXIT_CODE_OK && (s->units_changed || s->socket_changed) &&
	    file_exists("/run/systemd/system"))
		code = setup_systemctl(reload, NULL);
	buf_release(&text);
	return code;
}

/* ---- start ---- */

/* What systemctl show says of a unit. */
struct unit_state {
	char active[32];
	char status_text[256];
	int exit_status; /* of the last run of its main process */
};

static void copy_property(const char *text, const char *name, char *value, size_t size)
{
	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		size_t len = strlen(name);

		if (strncmp(at, name, len) == 0 && at[len] == '=') {
			at += len + 1;
			snprintf(value, size, "%.*s", (int)strcspn(at, "\n"), at);
			return;
		}
	}
	value[0] = '\0';
}

static enum exit_code look(const char *unit, struct unit_state *ret_state)
{
	const char *const words[] = {"show", "-p", "ActiveState,StatusText,ExecMainStatus", unit, NULL};
	enum exit_code code;
	char number[16];
	struct buf said;
	uint64_t value;

	buf_init(&said, 16384);
	code = setup_systemctl(words, &said);
	copy_property(buf_text(&said), "ActiveState", ret_state->active, sizeof(ret_state->active));
	copy_property(buf_text(&said), "StatusText", ret_state->status_text, sizeof(ret_state->status_text));
	copy_property(buf_text(&said), "ExecMainStatus", number, sizeof(number));
	ret_state->exit_status = str_parse_u64(number, 255, &value) == E_OK ? (int)value : 0;
	buf_release(&said);
	return code;
}

static enum exit_code setup_units_say_failed(const struct setup *s, const char *unit,
					     const struct unit_state *state)
{
	cli_note("%s ended with status %d (%s); journalctl -u %s says more", unit, state->exit_status,
		 doctor_exit_meaning((unsigned)state->exit_status), unit);
	if (state->exit_status == EXIT_CODE_PIN)
		cli_note("the token refused the PIN, which is not tried again. When it is sure which one is "
			 "right: rm " SETUP_CREDENTIALS "/%s.pin*, and setup again",
			 s->token);
	if (state->exit_status == EXIT_CODE_NO_MODULE || state->exit_status == EXIT_CODE_NO_TOKEN ||
	    state->exit_status == EXIT_CODE_TOKEN_FAILED)
		cli_note("the unit has no network and no devices: what it needs is in the drop-ins in "
			 "/usr/share/doc/csrd/examples");
	return state->exit_status > 0 ? (enum exit_code)state->exit_status : EXIT_CODE_FAILURE;
}

/* Until csrd is ready, and this token's signer too: csrd waits for the first one alone. */
static enum exit_code wait_ready(const struct setup *s, const char *signer)
{
	const char *const start_signer[] = {"--no-block", "start", signer, NULL};
	uint64_t deadline = clock_ms() + READY_MS;
	struct unit_state csrd = {0}, hsm = {0};
	bool started = false;

	while (clock_ms() < deadline) {
		enum exit_code code = look("csrd.service", &csrd);

		if (code == EXIT_CODE_OK)
			code = look(signer, &hsm);
		if (code != EXIT_CODE_OK)
			return code;
		if (strcmp(hsm.active, "failed") == 0)
			return setup_units_say_failed(s, signer, &hsm);
		if (strcmp(csrd.active, "failed") == 0)
			return setup_units_say_failed(s, "csrd.service", &csrd);
		if (strcmp(csrd.active, "active") == 0 && strcmp(hsm.active, "active") == 0)
			return EXIT_CODE_OK;
		/* csrd's connection would, in its time; sooner it would hold up csrd, which is ordered after
		 * it */
		if (strcmp(csrd.active, "active") == 0 && strcmp(hsm.active, "inactive") == 0 && !started) {
			started = true;
			code = setup_systemctl(start_signer, NULL);
			if (code != EXIT_CODE_OK)
				return code;
		}
		nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
	}
	return cli_fail(
	    E_TIMEOUT,
	    "not ready after %d s: csrd is %s (%s), its signer %s (%s); see journalctl -u csrd -u %s",
	    READY_MS / 1000, csrd.active, csrd.status_text, hsm.active, hsm.status_text, signer);
}

/* Those of an earlier run would end the wait.  A unit that never ran has none, which is no failure either. */
static enum exit_code forget_failures(const char *signer)
{
	const char *const argv[] = {"systemctl", "reset-failed", signer, "csrd.service", NULL};
	enum exit_code code;
	struct buf said;
	int status;

	buf_init(&said, 4096);
	code = setup_run(&(struct spawn){.argv = argv}, &said, &status);
	buf_release(&said);
	return code;
}

enum exit_code setup_units_start(struct setup *s)
{
	char socket[64], signer[64];
	const char *const enable[] = {"--quiet", "enable", socket, "csrd.service", NULL};
	const char *const restart_signer[] = {"--no-block", "try-restart", signer, NULL};
	const char *const start_socket[] = {"start", socket, NULL};
	const char *const verb = s->conf_changed ? "restart" : "start";
	const char *const start[] = {"--no-block", verb, "csrd.service", NULL};
	enum exit_code code;

	snprintf(socket, sizeof(socket), "csrd-hsm@%s.socket", s->token);
	snprintf(signer, sizeof(signer), "csrd-hsm@%s.service", s->token);
	code = setup_systemctl(enable, NULL);
	if (code == EXIT_CODE_OK)
		code = forget_failures(signer);
	if (code == EXIT_CODE_OK)
		code = setup_systemctl(start_socket, NULL);
	if (code == EXIT_CODE_OK && (s->conf_changed || s->pin_changed || s->units_changed))
		code = setup_systemctl(restart_signer, NULL);
	if (code == EXIT_CODE_OK)
		code = setup_port_hold(s);
	if (code == EXIT_CODE_OK)
		code = setup_systemctl(start, NULL);
	if (code == EXIT_CODE_OK)
		code = wait_ready(s, signer);
	if (code == EXIT_CODE_OK)
		setup_done(s, "running csrd.service%s%s%s, enabled for the next boot",
			   setup_port_is_held(s) ? ", " : " and ", socket,
			   setup_port_is_held(s) ? " and csrd.socket" : "");
	return code;
}
