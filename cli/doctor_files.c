/* SPDX-License-Identifier: Apache-2.0 */
/* Files that csrd and csrd-hsm read and write: there, whose, and who else may touch them. */
#include "cli/doctor.h"

#include "cli/running.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPORT_BYTES_MAX 65536
#define AS_ROOT "run csrctl doctor as root"
#define SECRET_BYTES_MAX 257 /* 255 of a PIN, and a line's end */

static unsigned mode_of(const struct stat *st)
{
	return (unsigned)st->st_mode & 07777u;
}

/* It could not be looked at: errno says why. */
static void say_unseen(struct doctor *d, const char *name, const struct config_token *token, const char *path)
{
	bool needs_rights = errno == EACCES;

	doctor_say(d, DOCTOR_SKIP, name, token ? token->name : NULL, "'%s': %s", path, strerror(errno));
	if (needs_rights)
		doctor_remedy(d, AS_ROOT);
}

static void say_well(struct doctor *d, const char *name, const struct config_token *token, const char *path,
		     const struct stat *st)
{
	doctor_say(d, DOCTOR_OK, name, token ? token->name : NULL, "'%s' belongs to %s, mode %04o", path,
		   doctor_user(st->st_uid), mode_of(st));
}

/* ---- the configuration ---- */

/* A csrd that runs does so by what the file was before. */
static bool take_running_config(struct doctor *d)
{
	struct config *config = NULL;
	struct json_doc *running = NULL;
	enum err e = running_read(d->cli->config, &running);

	if (e == E_OK)
		e = running_config(running, d->cli->config_path, &config);
	json_doc_free(running);
	if (e != E_OK)
		return false;
	config_free(d->cli->config);
	d->cli->config = config;
	return true;
}

/* Most of what there is to look at is there all the same. */
static void say_bad_file(struct doctor *d, unsigned problems, const char *text)
{
	const char *how = "";

	if (d->cli->config)
		how = take_running_config(d) ? "; what follows is by the values that csrd works with"
					     : "; what follows is by what is left of the file";
	d->file_is_bad = true;
	doctor_say(d, DOCTOR_FAIL, "config", NULL, "%u problem%s: %.*s%s", problems, problems == 1 ? "" : "s",
		   (int)strcspn(text, "\n"), text, how);
	if (access(d->cli->config_path, R_OK) == 0)
		doctor_remedy(d, "correct '%s'; csrctl config check names every line", d->cli->config_path);
	else if (errno == EACCES)
		doctor_remedy(d, AS_ROOT);
	else
		doctor_remedy(d, "csrctl setup turns this into a service; -c names another file");
}

bool doctor_check_config(struct doctor *d)
{
	struct buf report;
	enum err e;
	unsigned problems = 0;

	buf_init(&report, REPORT_BYTES_MAX);
	e = config_load_partly(d->cli->config_path, &report, &d->cli->config);
	for (const char *at = buf_text(&report); (at = strchr(at, '\n')); at++)
		problems++;
	if (e == E_OK)
		doctor_say(d, DOCTOR_OK, "config", NULL, "'%s' is right, %zu token%s", d->cli->config_path,
			   d->cli->config->tokens_len, d->cli->config->tokens_len == 1 ? "" : "s");
	else
		say_bad_file(d, problems, buf_text(&report));
	d->config = d->cli->config;
	buf_release(&report);
	return d->config != NULL;
}

static void check_config_file(struct doctor *d)
{
	const char *path = d->cli->config_path;
	const struct passwd *service = getpwnam("csrd");
	struct stat st;

	if (stat(path, &st)) {
		doctor_say(d, DOCTOR_SKIP, "config-file", NULL, "'%s': %s", path, strerror(errno));
		return;
	}
	if (st.st_mode & S_IWGRP && st.st_gid != 0) {
		doctor_say(d, DOCTOR_FAIL, "config-file", NULL, "its group can write '%s' (mode %04o)", path,
			   mode_of(&st));
		doctor_remedy(d, "chmod 0644 '%s'", path);
	} else if (st.st_uid != 0 && st.st_uid != geteuid()) {
		doctor_say(d, DOCTOR_WARN, "config-file", NULL, "'%s' belongs to %s", path,
			   doctor_user(st.st_uid));
		doctor_remedy(d, "chown root '%s': who writes it decides which code gets the PIN", path);
	} else if (geteuid() == 0 && service && !(st.st_mode & S_IROTH) && st.st_gid != service->pw_gid) {
		doctor_say(d, DOCTOR_WARN, "config-file", NULL,
			   "'%s' cannot be read by the services' users (mode %04o)", path, mode_of(&st));
		doctor_remedy(d, "chmod 0644 '%s': it holds no secret", path);
	} else {
		say_well(d, "config-file", NULL, path, &st);
	}
}

/* ---- the store's files ---- */

static void check_store_folder(struct doctor *d, const char *folder, const struct stat *st)
{
	if (st->st_mode & (S_IWGRP | S_IWOTH)) {
		doctor_say(d, DOCTOR_FAIL, "store-folder", NULL, "'%s' can be written by others (mode %04o)",
			   folder, mode_of(st));
		doctor_remedy(d, "chmod go-w '%s'", folder);
	} else {
		say_well(d, "store-folder", NULL, folder, st);
	}
}

/* True when it is as it should be, or not there. */
static bool check_store_part(struct doctor *d, const char *path, const struct stat *folder)
{
	struct stat st;

	if (stat(path, &st))
		return true;
	if (st.st_uid != folder->st_uid) {
		doctor_say(d, DOCTOR_FAIL, "store-file", NULL, "'%s' belongs to %s, its folder to %s", path,
			   doctor_user(st.st_uid), doctor_user(folder->st_uid));
		doctor_remedy(d, "chown %s '%s': csrd cannot write it", doctor_user(folder->st_uid), path);
		return false;
	}
	if (st.st_mode & (S_IWGRP | S_IRWXO)) {
		doctor_say(d, DOCTOR_FAIL, "store-file", NULL, "'%s' is open to others (mode %04o)", path,
			   mode_of(&st));
		doctor_remedy(d, "chmod 0600 '%s'", path);
		return false;
	}
	return true;
}

static void check_store_files(struct doctor *d)
{
	static const char *const endings[] = {"", "-wal", "-shm"};
	const char *path = doctor_store_path(d->config);
	char name[PATH_MAX];
	struct stat folder, st;

	if (!path) {
		doctor_say(d, DOCTOR_SKIP, "store-folder", NULL, "the store is not a file");
		return;
	}
	doctor_folder_of(path, name, sizeof(name));
	if (stat(name, &folder)) {
		if (errno == EACCES) {
			say_unseen(d, "store-folder", NULL, name);
			return;
		}
		doctor_say(d, DOCTOR_FAIL, "store-folder", NULL, "'%s': %s", name, strerror(errno));
		doctor_remedy(d, "make the folder of [store] url, for the user of csrd, mode 0700");
		return;
	}
	check_store_folder(d, name, &folder);
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", path, endings[i]);
		if (!check_store_part(d, name, &folder))
			return;
	}
	if (stat(path, &st) == 0)
		say_well(d, "store-file", NULL, path, &st);
	else
		say_unseen(d, "store-file", NULL, path);
}

void doctor_check_files(struct doctor *d)
{
	check_config_file(d);
	check_store_files(d);
}

/* ---- a token's files ---- */

/* Whether code that others may write could run with the PIN at hand. */
static void check_module_file(struct doctor *d, const struct config_token *token)
{
	const char *path = token->module;
	struct stat st;

	if (!path) {
		doctor_say(d, DOCTOR_SKIP, "module-file", token->name, "the configuration names none");
	} else if (stat(path, &st)) {
		if (errno == EACCES) {
			say_unseen(d, "module-file", token, path);
			return;
		}
		doctor_say(d, DOCTOR_FAIL, "module-file", token->name, "'%s': %s", path, strerror(errno));
		doctor_remedy(d, "install the package of the HSM's vendor, or correct [token %s] module",
			      token->name);
	} else if (!S_ISREG(st.st_mode)) {
		doctor_say(d, DOCTOR_FAIL, "module-file", token->name, "'%s' is not a regular file", path);
		doctor_remedy(d, "correct [token %s] module", token->name);
	} else if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		doctor_say(d, DOCTOR_FAIL, "module-file", token->name,
			   "'%s' can be written by others (mode %04o)", path, mode_of(&st));
		doctor_remedy(d, "chmod go-w '%s': it gets the PIN", path);
	} else {
		say_well(d, "module-file", token, path, &st);
	}
}

/* A credential that systemd-creds sealed stands beside it: only the unit sees what is in it. */
static void check_sealed_pin(struct doctor *d, const struct config_token *token)
{
	char sealed[PATH_MAX];
	struct stat st;

	snprintf(sealed, sizeof(sealed), "%s.cred", token->pin_file);
	if (stat(sealed, &st)) {
		doctor_say(d, DOCTOR_FAIL, "pin-file", token->name, "'%s' does not exist", token->pin_file);
		doctor_remedy(d, "put the PIN, and nothing else, there: mode 0600, owner root");
		return;
	}
	doctor_say(d, DOCTOR_OK, "pin-file", token->name, "'%s' is sealed: only the unit can read it",
		   sealed);
}

static void check_pin_file(struct doctor *d, const struct config_token *token)
{
	const char *path = token->pin_file;
	char folder[PATH_MAX];
	struct stat st, place;

	doctor_folder_of(path, folder, sizeof(folder));
	if (stat(path, &st)) {
		if (errno == ENOENT) {
			check_sealed_pin(d, token);
			return;
		}
		say_unseen(d, "pin-file", token, path);
	} else if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > SECRET_BYTES_MAX) {
		doctor_say(d, DOCTOR_FAIL, "pin-file", token->name, "'%s' is %s", path,
			   !S_ISREG(st.st_mode) ? "no regular file"
			   : st.st_size         ? "too long for a PIN"
						: "empty");
		doctor_remedy(d, "put the PIN, and nothing else, there");
	} else if (st.st_mode & (S_IWGRP | S_IRWXO)) {
		doctor_say(d, DOCTOR_FAIL, "pin-file", token->name, "'%s' is open to others (mode %04o)",
			   path, mode_of(&st));
		doctor_remedy(d, "chmod 0600 '%s', and think of who may have read it", path);
	} else if (stat(folder, &place) == 0 && (place.st_mode & (S_IWGRP | S_IWOTH)) &&
		   !(place.st_mode & S_ISVTX)) {
		doctor_say(d, DOCTOR_FAIL, "pin-file", token->name,
			   "others can exchange '%s' (mode %04o of '%s')", path, mode_of(&place), folder);
		doctor_remedy(d, "chmod 0700 '%s'", folder);
	} else {
		say_well(d, "pin-file", token, path, &st);
	}
}

static void check_state_folder(struct doctor *d, const struct config_token *token)
{
	const char *path = token->state_dir;
	struct stat st;

	if (stat(path, &st)) {
		bool missing = errno == ENOENT;

		say_unseen(d, "state-folder", token, path);
		if (missing)
			doctor_remedy(d, "csrd-hsm creates it at its first start");
	} else if (!S_ISDIR(st.st_mode) || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		doctor_say(d, DOCTOR_FAIL, "state-folder", token->name, "'%s' %s (mode %04o)", path,
			   S_ISDIR(st.st_mode) ? "can be written by others" : "is not a folder",
			   mode_of(&st));
		doctor_remedy(d, "chmod 0700 '%s': csrd-hsm does not start with it", path);
	} else {
		say_well(d, "state-folder", token, path, &st);
	}
}

void doctor_check_socket_file(struct doctor *d, const struct config_token *token)
{
	const char *path = token->socket;
	struct stat st;

	if (stat(path, &st)) {
		say_unseen(d, "socket-file", token, path);
	} else if (!S_ISSOCK(st.st_mode)) {
		doctor_say(d, DOCTOR_FAIL, "socket-file", token->name, "'%s' is not a socket", path);
		doctor_remedy(d, "remove it, and start csrd-hsm");
	} else if (st.st_mode & S_IWOTH && d->signer_socket.known) {
		doctor_say(d, DOCTOR_WARN, "socket-file", token->name,
			   "everybody may connect to '%s' (mode %04o); csrd-hsm checks their user", path,
			   mode_of(&st));
		doctor_remedy(d, "SocketMode=0660 and SocketGroup=csrd in %s", d->signer_socket.name);
	} else {
		say_well(d, "socket-file", token, path, &st);
	}
}

void doctor_check_token_files(struct doctor *d, const struct config_token *token)
{
	check_module_file(d, token);
	check_pin_file(d, token);
	check_state_folder(d, token);
}
