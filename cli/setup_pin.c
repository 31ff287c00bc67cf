/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl setup: the PIN, from a file or a person to where systemd takes it for the signer. */
#include "base/fd.h"
#include "base/random.h"
#include "cli/ask.h"
#include "cli/conf_edit.h"
#include "cli/file.h"
#include "cli/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRIAL_PIN_DIGITS 24

void setup_pin_path(const char *token, bool encrypted, char ret_path[SETUP_PATH_MAX])
{
	snprintf(ret_path, SETUP_PATH_MAX, SETUP_CREDENTIALS "/%s.pin%s", token, encrypted ? ".cred" : "");
}

bool setup_pin_is_stored(const char *token, bool encrypted)
{
	char path[SETUP_PATH_MAX];

	setup_pin_path(token, encrypted, path);
	return file_exists(path);
}

/* ---- reading it ---- */

/* A buf scrubs itself; one newline at the end does not count. */
static enum exit_code setup_pin_read_pin(int fd, const char *name, struct buf *pin)
{
	char c;
	ssize_t n;

	while ((n = read(fd, &c, 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(E_IO, "cannot read the PIN from '%s': %s", name, strerror(errno));
		buf_put(pin, &c, 1);
	}
	if (pin->len > 0 && pin->data[pin->len - 1] == '\n')
		pin->data[--pin->len] = '\0';
	if (buf_status(pin) != E_OK || pin->len == 0 || pin->len > SETUP_PIN_MAX ||
	    strcspn((const char *)pin->data, "\r\n") != pin->len)
		return cli_fail(E_INVAL, "the PIN in '%s' must be one line of 1-%d bytes", name,
				SETUP_PIN_MAX);
	return EXIT_CODE_OK;
}

static enum exit_code read_pin_file(const char *path, struct buf *pin)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	enum exit_code code;

	if (fd < 0)
		return cli_fail(E_NOTFOUND, "cannot open '%s': %s", path, strerror(errno));
	code = setup_pin_read_pin(fd, path, pin);
	if (!is_stdin)
		fd_close(&fd);
	return code;
}

/* Twice: a mistyped PIN would cost the token one of its tries. */
static enum exit_code ask_pin(struct setup *s)
{
	enum exit_code code = EXIT_CODE_OK;
	struct buf again;

	buf_init(&again, s->pin.max);
	if (ask_secret("User PIN of the token", &s->pin) != E_OK ||
	    ask_secret("The same again", &again) != E_OK)
		code = cli_fail(E_DENIED, "nothing was changed");
	else if (s->pin.len == 0 || s->pin.len > SETUP_PIN_MAX)
		code = cli_fail(E_INVAL, "the PIN must have 1-%d bytes", SETUP_PIN_MAX);
	else if (strcmp(buf_text(&s->pin), buf_text(&again)) != 0)
		code = cli_fail(E_INVAL, "that was not the same; nothing was changed");
	buf_release(&again);
	if (code == EXIT_CODE_OK && !s->encrypt_pin && spawn_exists("systemd-creds"))
		s->encrypt_pin = ask_yes("Encrypt it, so that this machine alone can read it? (y, n)");
	return code;
}

static enum exit_code make_trial_pin(struct buf *pin)
{
	while (pin->len < TRIAL_PIN_DIGITS) {
		unsigned char byte;

		if (random_fill(&byte, 1) != E_OK)
			return cli_fail(E_IO, "cannot make a PIN: %s", strerror(errno));
		if (byte < 250) /* each digit as often as the others */
			buf_printf(pin, "%d", byte % 10);
	}
	return EXIT_CODE_OK;
}

/* One is there.  A given one must be the same. */
static enum exit_code compare_stored(struct setup *s, bool encrypted)
{
	char path[SETUP_PATH_MAX];
	enum exit_code code;
	struct buf stored;
	bool is_same;

	setup_pin_path(s->token, encrypted, path);
	if (s->encrypt_pin && !encrypted)
		return cli_fail(E_EXISTS,
				"'%s' holds the PIN already, unencrypted: remove it, and give the PIN again",
				path);
	if (!s->pin_file)
		return EXIT_CODE_OK;
	buf_init(&stored, s->pin.max);
	code = read_pin_file(s->pin_file, &s->pin);
	if (code == EXIT_CODE_OK && !encrypted)
		code = read_pin_file(path, &stored);
	is_same = code == EXIT_CODE_OK && !encrypted && strcmp(buf_text(&stored), buf_text(&s->pin)) == 0;
	if (code == EXIT_CODE_OK && !is_same)
		code = cli_fail(E_EXISTS,
				"'%s' holds a PIN already%s: to change it, remove that file and give this "
				"again",
				path, encrypted ? "" : ", another one");
	buf_release(&stored);
	buf_reset(&s->pin);
	return code;
}

static enum exit_code check_place(struct setup *s)
{
	struct buf value;
	char section[64];
	bool is_set;

	snprintf(section, sizeof(section), "token %s", s->token);
	buf_init(&value, 4096);
	is_set = conf_edit_get(buf_text(&s->conf), section, "pin_file", &value);
	buf_release(&value);
	if (is_set)
		return cli_fail(E_EXISTS,
				"'%s' has a [%s] pin_file; setup keeps PINs in " SETUP_CREDENTIALS
				", which needs that line removed",
				s->cli->config_path, section);
	if (s->encrypt_pin && !spawn_exists("systemd-creds"))
		return cli_fail(E_NOTFOUND, "--encrypt-pin needs systemd-creds, which is not installed");
	return EXIT_CODE_OK;
}

enum exit_code setup_pin_read(struct setup *s)
{
	enum exit_code code = check_place(s);

	if (code != EXIT_CODE_OK)
		return code;
	for (int encrypted = 0; encrypted < 2; encrypted++)
		if (setup_pin_is_stored(s->token, encrypted))
			return compare_stored(s, encrypted);
	if (s->pin_file)
		return read_pin_file(s->pin_file, &s->pin);
	if (s->softhsm) {
		s->pin_is_made_up = true;
		return make_trial_pin(&s->pin);
	}
	if (!s->yes && ask_is_possible())
		return ask_pin(s);
	return cli_usage(s->cli, "--pin-file is missing: a file that holds the token's user PIN, or -");
}

/* ---- storing it ---- */

/* The sealed text, base64 in lines. */
static enum exit_code seal(const struct setup *s, struct buf *sealed)
{
	const char *const argv[] = {"systemd-creds", "encrypt", "--name=pin", "-", "-", NULL};
	struct buf said;
	struct spawn creds = {.argv = argv, .input = buf_text(&s->pin), .errors = &said};
	enum exit_code code;
	int status = 0;

	buf_init(&said, 16384);
	code = setup_run(&creds, sealed, &status);
	if (code == EXIT_CODE_OK && (status != 0 || buf_status(sealed) != E_OK || sealed->len == 0)) {
		code = cli_fail(E_IO, "systemd-creds cannot encrypt the PIN:");
		setup_show_output(&said);
	}
	buf_release(&said);
	return code;
}

static enum exit_code put_file_text(const struct setup *s, struct buf *text)
{
	if (s->encrypt_pin)
		return seal(s, text);
	buf_put(text, s->pin.data, s->pin.len);
	buf_put_str(text, "\n");
	return buf_status(text) == E_OK ? EXIT_CODE_OK : cli_fail(buf_status(text), "cannot keep the PIN");
}

static enum exit_code store(const struct setup *s, const char *path)
{
	enum exit_code code;
	struct buf text;
	enum err e;

	if (file_make_folder(SETUP_CREDENTIALS, 0700, 0, 0) != E_OK)
		return cli_fail(E_IO, "cannot make '" SETUP_CREDENTIALS "': %s", strerror(errno));
	buf_init(&text, 16384);
	code = put_file_text(s, &text);
	if (code == EXIT_CODE_OK) {
		e = file_replace(path, text.data, text.len, &(struct file_rights){.mode = 0600});
		if (e != E_OK)
			code = cli_fail(e, "cannot write '%s': %s", path, strerror(errno));
	}
	buf_release(&text);
	return code;
}

enum exit_code setup_pin_store(struct setup *s)
{
	char path[SETUP_PATH_MAX];
	enum exit_code code;

	setup_pin_path(s->token, s->encrypt_pin, path);
	if (s->pin_changed)
		return EXIT_CODE_OK;
	if (s->pin.len == 0) {
		setup_pin_path(s->token, setup_pin_is_stored(s->token, true), path);
		setup_done(s, "kept    %s", path);
		return EXIT_CODE_OK;
	}
	code = store(s, path);
	if (code != EXIT_CODE_OK)
		return code;
	s->pin_changed = true;
	setup_done(s, "wrote   %s", path);
	return EXIT_CODE_OK;
}
