/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl setup --softhsm: a token in files, for trials, that the signer alone can read. */
#include "base/fd.h"
#include "base/random.h"
#include "base/str.h"
#include "cli/file.h"
#include "cli/setup.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STATE_FOLDER "/var/lib/csrd-hsm"
#define TOKEN_FOLDER STATE_FOLDER "/softhsm"

static const char *const modules[] = {
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
};

static const char conf[] = "# Written by csrctl setup: the trial token of csrd-hsm.\n"
			   "directories.tokendir = " TOKEN_FOLDER "\n"
			   "objectstore.backend = file\n"
			   "log.level = ERROR\n";

const char *setup_softhsm_module(void)
{
	if (!spawn_exists("softhsm2-util"))
		return NULL;
	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		if (file_exists(modules[i]))
			return modules[i];
	return NULL;
}

bool setup_softhsm_is_used(const struct setup *s)
{
	const char *slash = strrchr(buf_text(&s->module_used), '/');

	return slash && strcmp(slash, "/libsofthsm2.so") == 0 && file_exists(SETUP_SOFTHSM_CONF);
}

static enum exit_code setup_softhsm_make_place(struct setup *s)
{
	enum err e;

	if (!file_exists(SETUP_SOFTHSM_CONF)) {
		e = file_replace(SETUP_SOFTHSM_CONF, conf, strlen(conf), &(struct file_rights){.mode = 0644});
		if (e != E_OK)
			return cli_fail(e, "cannot write '" SETUP_SOFTHSM_CONF "': %s", strerror(errno));
		setup_done(s, "wrote   " SETUP_SOFTHSM_CONF);
	}
	e = file_make_folder(STATE_FOLDER, 0755, 0, 0);
	if (e == E_OK)
		e = file_make_folder(TOKEN_FOLDER, 0700, s->hsm_uid, s->hsm_gid);
	if (e != E_OK)
		return cli_fail(e, "cannot make '" TOKEN_FOLDER "': %s", strerror(errno));
	return EXIT_CODE_OK;
}

/* softhsm2-util as the signer's user, so that the files are that user's. */
static enum exit_code run_tool(const char *const *argv, const char *input, struct buf *said)
{
	struct spawn tool = {.argv = argv,
			     .user = "csrd-hsm",
			     .variable = SETUP_SOFTHSM_VARIABLE,
			     .input = input,
			     .terminal = true};
	enum exit_code code;
	int status;

	code = setup_run(&tool, said, &status);
	if (code == EXIT_CODE_OK && status != 0) {
		code = cli_fail(E_HSM, "softhsm2-util %s failed:", argv[1]);
		setup_show_output(said);
	}
	return code;
}

/* A line "Label:   csrd   ". */
static bool setup_softhsm_has_label(const char *slots, const char *label)
{
	for (const char *at = slots; (at = strstr(at, "Label:"));) {
		at += strlen("Label:");
		at += strspn(at, " ");
		if (str_starts_with(at, label) && at[strlen(label) + strspn(at + strlen(label), " ")] == '\n')
			return true;
	}
	return false;
}

static enum exit_code setup_softhsm_find_token(const struct setup *s, bool *ret_found)
{
	const char *const argv[] = {"softhsm2-util", "--show-slots", NULL};
	enum exit_code code;
	struct buf said;

	buf_init(&said, 256 * 1024);
	code = run_tool(argv, NULL, &said);
	if (code == EXIT_CODE_OK)
		*ret_found = setup_softhsm_has_label(buf_text(&said), s->trial_label);
	buf_release(&said);
	return code;
}

/* What the tool reads from its terminal: the security officer's PIN twice, the user's twice. */
static enum exit_code make_input(struct setup *s, struct buf *input)
{
	uint8_t random[16];
	char so_pin[2 * sizeof(random) + 1];
	char path[SETUP_PATH_MAX];
	struct buf pin;
	enum err e = E_OK;

	if (random_fill(random, sizeof(random)) != E_OK)
		return cli_fail(E_IO, "cannot make a PIN: %s", strerror(errno));
	str_hex(so_pin, random, sizeof(random));
	setup_pin_path(s->token, false, path);
	buf_init(&pin, SETUP_PIN_MAX + 2);
	if (s->pin.len > 0)
		buf_put(&pin, s->pin.data, s->pin.len);
	else
		e = fd_read_file(path, &pin); /* of a run that got that far */
	if (e != E_OK) {
		buf_release(&pin);
		return cli_fail(e, "cannot read the trial token's PIN in '%s': %s", path, err_str(e));
	}
	pin.data[strcspn(buf_text(&pin), "\n")] = '\0';
	buf_printf(input, "%s\n%s\n%s\n%s\n", so_pin, so_pin, (const char *)pin.data, (const char *)pin.data);
	buf_release(&pin);
	return EXIT_CODE_OK;
}

/* Each token is a folder in it. */
static bool has_tokens(void)
{
	DIR *folder = opendir(TOKEN_FOLDER);
	const struct dirent *entry;
	bool found = false;

	while (folder && !found && (entry = readdir(folder)))
		found = entry->d_name[0] != '.';
	if (folder)
		closedir(folder);
	return found;
}

/* The remedy takes that token alone: others in the folder may be in use. */
enum exit_code setup_softhsm_check(struct setup *s)
{
	enum exit_code code;
	bool found = false;

	if (!s->pin_is_made_up || !has_tokens())
		return EXIT_CODE_OK;
	code = setup_softhsm_make_place(s);
	if (code == EXIT_CODE_OK)
		code = setup_softhsm_find_token(s, &found);
	if (code != EXIT_CODE_OK || !found)
		return code;
	return cli_fail(
	    E_EXISTS,
	    "there is a trial token '%s' in " TOKEN_FOLDER " already, and its PIN is gone (a purge "
	    "takes it): give that PIN with --pin-file, or remove the token with its keys, which are "
	    "lost then, and let the signer forget it: env " SETUP_SOFTHSM_VARIABLE
	    " softhsm2-util --delete-token --token %s && rm -f " STATE_FOLDER "/%s/token",
	    s->trial_label, s->trial_label, s->token);
}

enum exit_code setup_softhsm_make(struct setup *s)
{
	const char *const argv[] = {"softhsm2-util", "--init-token", "--free",
				    "--label",       s->trial_label, NULL};
	enum exit_code code = setup_softhsm_make_place(s);
	struct buf input, said;
	bool found = false;

	if (code == EXIT_CODE_OK)
		code = setup_softhsm_find_token(s, &found);
	if (code != EXIT_CODE_OK || found) {
		if (found)
			setup_done(s, "kept    the token '%s' in " TOKEN_FOLDER, s->trial_label);
		return code;
	}
	buf_init(&input, SPAWN_INPUT_MAX);
	buf_init(&said, 16384);
	code = make_input(s, &input);
	if (code == EXIT_CODE_OK)
		code = run_tool(argv, buf_text(&input), &said);
	if (code == EXIT_CODE_OK)
		setup_done(s, "made    a SoftHSM token '%s' in " TOKEN_FOLDER, s->trial_label);
	buf_release(&input);
	buf_release(&said);
	return code;
}
