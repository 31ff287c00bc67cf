/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit is made anew under another name in /run, of what "systemctl cat"
 * shows of the signer's: so it has whatever drop-ins there are, and no list of
 * properties here goes out of date.
 */
#include "cli/sandbox.h"

#include "base/fd.h"
#include "base/str.h"
#include "cli/file.h"
#include "cli/spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT_FOLDER "/run/systemd/system"
#define UNIT_PREFIX "csrd-hsm-look@"
#define PATH_SIZE 160
#define TEXT_BYTES_MAX (256 * 1024)
#define EXIT_CREDENTIALS 243 /* systemd: the PIN's file is not there */

struct place {
	char unit[80];
	char unit_path[PATH_SIZE];
	char folder[64]; /* of the two files below; "": not made */
	char output[PATH_SIZE];
	char errors[PATH_SIZE];
};

static enum err systemctl(const char *verb, const char *more, const char *unit, struct buf *said,
			  int *ret_status)
{
	const char *argv[] = {"systemctl", verb, more ? more : unit, more ? unit : NULL, NULL};

	return spawn_run(&(struct spawn){.argv = argv}, said, ret_status);
}

static enum err read_unit(const char *token, struct buf *text)
{
	char unit[80];
	int status = 0;

	snprintf(unit, sizeof(unit), "csrd-hsm@%s.service", token);
	enum err e = systemctl("cat", "--no-pager", unit, text, &status);
	return e == E_OK && status != 0 ? E_NOTFOUND : e;
}

bool sandbox_is_possible(const char *token)
{
	struct buf text;
	bool possible;

	if (geteuid() != 0 || access("/run/systemd/system", F_OK) != 0 || !spawn_exists("systemctl"))
		return false;
	buf_init(&text, TEXT_BYTES_MAX);
	possible = read_unit(token, &text) == E_OK;
	buf_release(&text);
	return possible;
}

/* ---- the unit ---- */

/* What makes a service of the signer, and not what it may do. */
static bool is_of_service(const char *line, bool with_pin)
{
	static const char *const keys[] = {
	    "Exec",           "Type=",          "NotifyAccess=",       "Sockets=",         "Restart",
	    "Watchdog",       "Timeout",        "FileDescriptorStore", "RemainAfterExit=", "StandardOutput=",
	    "StandardError=", "StandardInput=",
	};

	if (str_starts_with(line, "ExecPaths="))
		return false;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (str_starts_with(line, keys[i]))
			return true;
	return !with_pin && str_starts_with(line, "LoadCredential");
}

/* The lines of its [Service] sections that are about what it may do. */
static void put_sandbox(char *unit, bool with_pin, struct buf *b)
{
	bool in_service = false, skipping = false, goes_on = false;

	for (char *line = unit; *line;) {
		size_t len = strcspn(line, "\n");
		char *next = line + len + (line[len] == '\n');

		line[len] = '\0';
		if (!goes_on && line[0] == '[')
			in_service = !strcmp(line, "[Service]");
		else if (!goes_on)
			skipping = line[0] == '#' || line[0] == ';' || is_of_service(line, with_pin);
		if (in_service && !skipping && line[0] != '[')
			buf_printf(b, "%s\n", line);
		goes_on = len > 0 && line[len - 1] == '\\' && line[0] != '#' && line[0] != ';';
		line = next;
	}
}

static enum err write_unit(const struct sandbox_look *look, const struct place *place, bool with_pin)
{
	struct buf unit, program, text;
	enum err e;

	buf_init(&unit, TEXT_BYTES_MAX);
	buf_init(&program, 4096);
	buf_init(&text, 2 * TEXT_BYTES_MAX);
	e = spawn_own_program("csrd-hsm", &program);
	if (e == E_OK)
		e = read_unit(look->token, &unit);
	if (e != E_OK)
		goto out;
	buf_printf(&text, "# Made by csrctl, which removes it.\n[Unit]\nDescription=A look at the token of "
			  "csrd-hsm@%%i\n[Service]\n");
	if (unit.len > 0)
		put_sandbox((char *)unit.data, with_pin, &text);
	buf_printf(&text,
		   "%sType=oneshot\nTimeoutStartSec=%ums\nExecStart=%s -c %s -n %%i -i\n"
		   "StandardOutput=truncate:%s\nStandardError=truncate:%s\n",
		   look->more ? look->more : "", look->timeout_ms, buf_text(&program), look->config_path,
		   place->output, place->errors);
	e = buf_status(&text);
	if (e == E_OK)
		e = file_replace(place->unit_path, text.data, text.len, &(struct file_rights){.mode = 0644});
out:
	buf_release(&text);
	buf_release(&program);
	buf_release(&unit);
	return e;
}

/* ---- running it ---- */

static int number_of(const char *said, const char *name)
{
	const char *at = strstr(said, name);
	char digits[8] = "";
	uint64_t number;

	if (!at)
		return 0;
	at += strlen(name);
	snprintf(digits, sizeof(digits), "%.*s", (int)strspn(at, "0123456789"), at);
	return str_parse_u64(digits, 255, &number) == E_OK ? (int)number : 0;
}

static enum err run_unit(const struct place *place, int *ret_status)
{
	struct buf said;
	int status = 0;
	enum err e;

	buf_init(&said, 16384);
	e = systemctl("daemon-reload", NULL, NULL, &said, &status);
	buf_reset(&said);
	/* --wait would not tell more: a oneshot unit has started when it has ended */
	if (e == E_OK)
		e = systemctl("start", NULL, place->unit, &said, &status);
	buf_reset(&said);
	if (e == E_OK && status == 0) {
		*ret_status = 0;
	} else if (e == E_OK) {
		e = systemctl("show", "--property=ExecMainCode,ExecMainStatus,Result", place->unit, &said,
			      &status);
		*ret_status = number_of(buf_text(&said), "ExecMainStatus=");
		if (number_of(buf_text(&said), "ExecMainCode=") > 1) /* CLD_KILLED, CLD_DUMPED */
			*ret_status += 128;
		if (strstr(buf_text(&said), "Result=timeout"))
			e = E_TIMEOUT;
		else if (*ret_status == 0)
			e = E_UNAVAIL;
	}
	buf_release(&said);
	return e;
}

static enum err sandbox_make_place(const char *token, struct place *ret_place)
{
	struct place place = {.folder = "/run/csrctl-look.XXXXXX"};

	if (!mkdtemp(place.folder))
		return E_IO;
	snprintf(place.unit, sizeof(place.unit), UNIT_PREFIX "%s.service", token);
	snprintf(place.unit_path, sizeof(place.unit_path), UNIT_FOLDER "/%s", place.unit);
	snprintf(place.output, sizeof(place.output), "%s/output", place.folder);
	snprintf(place.errors, sizeof(place.errors), "%s/errors", place.folder);
	*ret_place = place;
	return E_OK;
}

static void remove_place(const struct place *place)
{
	struct buf said;
	int status;
	enum err ignored;

	buf_init(&said, 4096);
	unlink(place->unit_path);
	unlink(place->output);
	unlink(place->errors);
	rmdir(place->folder);
	ignored = systemctl("reset-failed", NULL, place->unit, &said, &status);
	ignored = systemctl("daemon-reload", NULL, NULL, &said, &status);
	(void)ignored;
	buf_release(&said);
}

enum err sandbox_inspect(const struct sandbox_look *look, struct buf *output, struct buf *errors,
			 int *ret_status)
{
	struct place place;
	enum err e = sandbox_make_place(look->token, &place);

	if (e != E_OK)
		return e;
	e = write_unit(look, &place, true);
	if (e == E_OK)
		e = run_unit(&place, ret_status);
	if (e == E_OK && *ret_status == EXIT_CREDENTIALS) { /* the look itself needs no PIN */
		e = write_unit(look, &place, false);
		if (e == E_OK)
			e = run_unit(&place, ret_status);
	}
	/* neither is there when the sandbox could not be made */
	if (e == E_OK && fd_read_file(place.output, output) != E_OK)
		buf_reset(output);
	if (e == E_OK && fd_read_file(place.errors, errors) != E_OK)
		buf_reset(errors);
	remove_place(&place);
	return e;
}
