/* SPDX-License-Identifier: Apache-2.0 */
/* How the checks of csrctl doctor are shown and counted. */
#include "cli/doctor.h"

#include "base/exit_code.h"
#include "base/log.h"
#include "store/store_url.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_WIDTH 22
#define FOUND_COLUMN (4 + 2 + NAME_WIDTH + 2)

static const char *const verdict_names[DOCTOR_VERDICTS] = {
    [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail", [DOCTOR_SKIP] = "skip"};
/* For people: what matters stands out. */
static const char *const verdict_marks[DOCTOR_VERDICTS] = {
    [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "WARN", [DOCTOR_FAIL] = "FAIL", [DOCTOR_SKIP] = "skip"};

static void doctor_show_text(const struct doctor *d)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s%s", d->name, d->token ? " " : "", d->token ? d->token : "");
	printf("%-4s  %-*s  ", verdict_marks[d->verdict], NAME_WIDTH, name);
	output_wrapped(buf_text(&d->found), FOUND_COLUMN);
	putchar('\n');
	if (d->remedy.len == 0)
		return;
	printf("%*s-> ", FOUND_COLUMN, "");
	output_wrapped(buf_text(&d->remedy), FOUND_COLUMN + 3);
	putchar('\n');
}

static void doctor_show_json(struct doctor *d)
{
	struct json_writer *w = &d->j.w;

	json_open_object(w);
	json_put_text_member(w, "name", d->name);
	output_json_text_opt(w, "token", d->token);
	json_put_text_member(w, "status", verdict_names[d->verdict]);
	json_put_text_member(w, "found", buf_text(&d->found));
	output_json_text_opt(w, "remedy", buf_text(&d->remedy));
	output_json_text_opt(w, "follows_from", d->follows_from);
	json_close(w);
}

void doctor_flush(struct doctor *d)
{
	if (!d->pending)
		return;
	d->pending = false;
	d->counts[d->verdict]++;
	if (d->cli->json)
		doctor_show_json(d);
	else
		doctor_show_text(d);
	fflush(stdout);
}

static void doctor_put(struct buf *b, const char *format, va_list args)
{
	char text[2048];

	vsnprintf(text, sizeof(text), format, args);
	buf_reset(b);
	buf_put_str(b, text);
}

void doctor_say(struct doctor *d, enum doctor_verdict verdict, const char *name, const char *token,
		const char *format, ...)
{
	va_list args;

	doctor_flush(d);
	d->pending = true;
	d->verdict = verdict;
	d->name = name;
	d->token = token;
	d->follows_from = NULL;
	if (verdict == DOCTOR_FAIL && d->seeks_cause && !d->cause.name)
		d->cause = (struct doctor_cause){.name = name, .token = token};
	buf_reset(&d->remedy);
	va_start(args, format);
	doctor_put(&d->found, format, args);
	va_end(args);
}

void doctor_remedy(struct doctor *d, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	doctor_put(&d->remedy, format, args);
	va_end(args);
}

void doctor_follows(struct doctor *d, const struct doctor_cause *cause, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (!cause->name)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	d->follows_from = cause->name;
	doctor_remedy(d, "follows from '%s%s%s' above; when that is mended: %s", cause->name,
		      cause->token ? " " : "", cause->token ? cause->token : "", text);
}

/* ---- the log of the layers below ---- */

static char last_log[1024];

static bool take_log(const struct log_event *event)
{
	snprintf(last_log, sizeof(last_log), "%s", event->message);
	return true;
}

void doctor_hold_log(void)
{
	log_set_sink(take_log);
}

const char *doctor_last_log(void)
{
	return last_log;
}

/* ---- shared ---- */

bool doctor_is_shut_out(const char *path)
{
	return access(path, R_OK | W_OK) != 0 && errno == EACCES;
}

const char *doctor_user(uid_t uid)
{
	static char names[2][64];
	static unsigned turn;
	const struct passwd *user = getpwuid(uid);
	char *name = names[turn++ % 2];

	if (user)
		snprintf(name, sizeof(names[0]), "%s", user->pw_name);
	else
		snprintf(name, sizeof(names[0]), "%lu", (unsigned long)uid);
	return name;
}

void doctor_folder_of(const char *path, char *ret_folder, size_t size)
{
	const char *slash = strrchr(path, '/');

	snprintf(ret_folder, size, "%.*s", slash && slash != path ? (int)(slash - path) : 1, path);
}

const char *doctor_store_path(const struct config *config)
{
	return store_url_path(config->store.url);
}

const char *doctor_exit_meaning(unsigned status)
{
	switch (status) {
	case EXIT_CODE_USAGE:
		return "wrong command line";
	case EXIT_CODE_STORE:
		return "the store is damaged, or newer than the program";
	case EXIT_CODE_NO_MODULE:
		return "the PKCS#11 module is missing or does not load";
	case EXIT_CODE_NO_TOKEN:
		return "the token is not there, or more than one fits";
	case EXIT_CODE_UNAVAILABLE:
		return "store or signer cannot be reached";
	case EXIT_CODE_INTERNAL:
		return "a bug, or no memory";
	case EXIT_CODE_SYSTEM:
		return "a system call failed";
	case EXIT_CODE_IN_USE:
		return "another process serves this socket or store";
	case EXIT_CODE_TOKEN_FAILED:
		return "the token failed or hangs";
	case EXIT_CODE_PIN:
		return "the PIN was refused";
	case EXIT_CODE_CONFIG:
		return "the configuration, or a file that it names, is wrong";
	default:
		return "no code of csrd's";
	}
}
