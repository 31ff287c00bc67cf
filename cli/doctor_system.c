/* SPDX-License-Identifier: Apache-2.0 */
/* What csrd stands on: the clock, systemd's units, and csrd itself. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "base/str.h"
#include "cli/readyz.h"
#include "cli/spawn.h"
#include "config/config_table.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>

#define READYZ_MS 3000
#define TWIN_MS 200
#define SYSTEMCTL_MS 10000
#define OUTPUT_BYTES_MAX 65536
#define DOCTOR_ADDRESS_SIZE 128
#define RESTARTS_MANY 3
#define EARLIEST_US INT64_C(1764547200000000) /* 2025-12-01: older than this program */

/* ---- the clock ---- */

/* Certificates, token expiry and audit rest on it. */
void doctor_check_clock(struct doctor *d)
{
	struct timex t = {.modes = 0};
	int64_t now_us = clock_wall_us();
	char now[OUTPUT_TIME_SIZE];

	output_format_time(now_us, now);
	if (now_us < EARLIEST_US) {
		doctor_say(d, DOCTOR_FAIL, "clock", NULL, "it is %s by this machine's clock", now);
		doctor_remedy(d, "set the clock, and keep it with NTP: timedatectl set-ntp true");
	} else if (adjtimex(&t) == TIME_ERROR || (t.status & STA_UNSYNC)) {
		doctor_say(d, DOCTOR_WARN, "clock", NULL, "%s; nothing synchronises it", now);
		doctor_remedy(d, "timedatectl set-ntp true, unless the host of this guest keeps it");
	} else {
		doctor_say(d, DOCTOR_OK, "clock", NULL, "%s, synchronised", now);
	}
}

/* ---- csrd ---- */

/* The address of the same port in the other family of loopback; false: it is none of the two. */
static bool find_twin(const char *address, char ret_twin[DOCTOR_ADDRESS_SIZE])
{
	static const char four[] = "127.0.0.1:", six[] = "[::1]:";

	if (str_starts_with(address, four))
		snprintf(ret_twin, DOCTOR_ADDRESS_SIZE, "%s%s", six, address + strlen(four));
	else if (str_starts_with(address, six))
		snprintf(ret_twin, DOCTOR_ADDRESS_SIZE, "%s%s", four, address + strlen(six));
	else
		return false;
	return true;
}

static bool is_listed(const struct doctor *d, const char *address)
{
	for (size_t i = 0; i < d->config->http.listen_len; i++)
		if (strcmp(d->config->http.listen[i], address) == 0)
			return true;
	return false;
}

/* Clients take "localhost" for 127.0.0.1 or [::1], whichever they like better. */
static const char *localhost_note(const struct doctor *d, const char *address)
{
	char twin[DOCTOR_ADDRESS_SIZE];

	if (!find_twin(address, twin))
		return "";
	if (is_listed(d, twin))
		return ", which clients may get for localhost";
	if (readyz_ask(d->config, twin, TWIN_MS).state == READYZ_NO_FAMILY)
		return ", the only address that localhost has here";
	return "; the other address of localhost is not in [http] listen, so name this one, not localhost";
}

static void say_csrd(struct doctor *d, const struct readyz *r)
{
	switch (r->state) {
	case READYZ_READY:
		doctor_say(d, DOCTOR_OK, "csrd", NULL, "ready at '%s'%s", r->address,
			   localhost_note(d, r->address));
		break;
	case READYZ_NOT_READY:
		doctor_say(d, DOCTOR_FAIL, "csrd", NULL, "not ready at '%s': %s", r->address, r->detail);
		doctor_remedy(d, "the lines about the token and the store say why; csrd answers 503 until "
				 "then, and connects by itself");
		doctor_follows(d, &d->first_cause, "nothing, csrd connects by itself");
		break;
	case READYZ_UNREACHABLE:
		doctor_say(d, DOCTOR_WARN, "csrd", NULL, "'%s': %s", r->address, r->detail);
		doctor_remedy(d, "systemctl start csrd, if it is to run here; if csrd.socket has other "
				 "addresses, csrctl setup gives it those of [http] listen");
		break;
	case READYZ_NO_FAMILY:
		doctor_say(d, DOCTOR_SKIP, "csrd", NULL, "'%s' is no local address: %s", r->address,
			   r->detail);
		break;
	case READYZ_UNKNOWN:
		doctor_say(d, DOCTOR_SKIP, "csrd", NULL, "'%s' does not show where it listens", r->address);
		break;
	}
}

/* Every address: of two that serve localhost one may be somebody else's. */
void doctor_check_csrd(struct doctor *d)
{
	for (size_t i = 0; i < d->config->http.listen_len; i++) {
		struct readyz r = readyz_ask(d->config, d->config->http.listen[i], READYZ_MS);

		say_csrd(d, &r);
	}
}

/* ---- units ---- */

bool doctor_unit_is_active(const struct doctor_unit *unit)
{
	return !strcmp(unit->active, "active") || !strcmp(unit->active, "reloading");
}

static void doctor_system_take_number(const char *line, size_t len, const char *name, unsigned *ret_value)
{
	char text[16];
	uint64_t value;

	if (!str_starts_with(line, name))
		return;
	snprintf(text, sizeof(text), "%.*s", (int)(len - strlen(name)), line + strlen(name));
	if (str_parse_u64(text, UINT_MAX, &value) == E_OK)
		*ret_value = (unsigned)value;
}

/* "NAME=value" of one line. */
static void take_property(struct doctor_unit *unit, const char *line, size_t len)
{
	const struct {
		const char *name;
		char *value;
		size_t size;
	} texts[] = {
	    {"ActiveState=", unit->active, sizeof(unit->active)},
	    {"Result=", unit->result, sizeof(unit->result)},
	    {"StatusText=", unit->status_text, sizeof(unit->status_text)},
	    {"Environment=", unit->environment, sizeof(unit->environment)},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (str_starts_with(line, texts[i].name))
			snprintf(texts[i].value, texts[i].size, "%.*s", (int)(len - strlen(texts[i].name)),
				 line + strlen(texts[i].name));
	if (str_starts_with(line, "LoadState="))
		unit->known = str_starts_with(line, "LoadState=loaded\n");
	doctor_system_take_number(line, len, "ExecMainStatus=", &unit->exit_status);
	doctor_system_take_number(line, len, "NRestarts=", &unit->restarts);
}

/* False: systemd does not answer. */
static bool look_up(struct doctor_unit *unit)
{
	const char *argv[] = {
	    "systemctl",  "show",
	    "--property", "LoadState,ActiveState,Result,StatusText,ExecMainStatus,NRestarts,Environment",
	    "--",         unit->name,
	    NULL};
	struct buf output, errors;
	struct spawn what = {.argv = argv, .timeout_ms = SYSTEMCTL_MS, .errors = &errors};
	int status = -1;
	enum err e;

	buf_init(&output, OUTPUT_BYTES_MAX);
	buf_init(&errors, OUTPUT_BYTES_MAX);
	e = spawn_run(&what, &output, &status);
	if (e == E_OK && status == 0)
		for (const char *at = buf_text(&output); *at; at += strcspn(at, "\n"), at += *at == '\n')
			take_property(unit, at, strcspn(at, "\n"));
	buf_release(&output);
	buf_release(&errors);
	return e == E_OK && status == 0;
}

static void doctor_system_say_failed(struct doctor *d, const struct doctor_unit *unit, const char *token)
{
	if (!strcmp(unit->result, "exit-code"))
		doctor_say(d, DOCTOR_FAIL, "unit", token, "%s failed: exit code %u, %s", unit->name,
			   unit->exit_status, doctor_exit_meaning(unit->exit_status));
	else
		doctor_say(d, DOCTOR_FAIL, "unit", token, "%s failed: %s", unit->name, unit->result);
	doctor_remedy(d, "journalctl -u %s shows why; then systemctl start %s", unit->name, unit->name);
}

static void say_unit(struct doctor *d, const struct doctor_unit *unit, const char *token)
{
	const char *colon = unit->status_text[0] ? ": " : "";

	if (!unit->known) {
		doctor_say(d, DOCTOR_SKIP, "unit", token, "systemd knows no %s", unit->name);
	} else if (!strcmp(unit->active, "failed")) {
		doctor_system_say_failed(d, unit, token);
	} else if (!strcmp(unit->active, "inactive")) {
		doctor_say(d, DOCTOR_WARN, "unit", token, "%s does not run", unit->name);
		/* a signer is started by its socket, and that by csrd */
		doctor_remedy(d, "systemctl %s %s", token ? "start" : "enable --now", unit->name);
	} else if (!doctor_unit_is_active(unit)) {
		doctor_say(d, DOCTOR_WARN, "unit", token, "%s is %s%s%s", unit->name, unit->active, colon,
			   unit->status_text);
		doctor_remedy(d, "journalctl -u %s shows what it is waiting for", unit->name);
	} else if (unit->restarts >= RESTARTS_MANY) {
		doctor_say(d, DOCTOR_WARN, "unit", token, "%s was started again %u times%s%s", unit->name,
			   unit->restarts, colon, unit->status_text);
		doctor_remedy(d, "journalctl -u %s shows why", unit->name);
	} else {
		doctor_say(d, DOCTOR_OK, "unit", token, "%s is active%s%s", unit->name, colon,
			   unit->status_text);
	}
}

/* A start of the service opens its socket, too. */
static void say_signers_unit(struct doctor *d, const struct doctor_unit *unit, const char *token)
{
	say_unit(d, unit, token);
	if (d->verdict == DOCTOR_FAIL || d->verdict == DOCTOR_WARN)
		doctor_follows(d, &d->cause, "systemctl start %s", d->signer_unit.name);
}

static struct doctor_unit unit_named(const char *head, const char *token, const char *tail)
{
	struct doctor_unit unit = {0};

	snprintf(unit.name, sizeof(unit.name), "%s%s%s", head, token, tail);
	return unit;
}

/* Loopback ports are for every user of this machine, and so is the one of csrd while nobody holds it. */
static bool has_local_port(const struct doctor *d)
{
	for (size_t i = 0; i < d->config->http.listen_len; i++)
		if (!str_starts_with(d->config->http.listen[i], "unix:") &&
		    config_listen_is_local(d->config->http.listen[i]))
			return true;
	return false;
}

static void check_socket(struct doctor *d)
{
	struct doctor_unit unit = unit_named("csrd", "", ".socket");

	if (!look_up(&unit) || !unit.known || !has_local_port(d))
		return;
	if (!strcmp(unit.active, "failed")) {
		doctor_system_say_failed(d, &unit, NULL);
	} else if (doctor_unit_is_active(&unit)) {
		doctor_say(d, DOCTOR_OK, "unit", NULL, "%s is active: the port is held while csrd is away",
			   unit.name);
	} else {
		doctor_say(d, DOCTOR_WARN, "unit", NULL,
			   "%s is not in use: while csrd is away another user can take its port, and the API "
			   "tokens that callers send",
			   unit.name);
		doctor_remedy(d,
			      "csrctl setup, or: systemctl stop csrd && systemctl enable --now %s && "
			      "systemctl start csrd",
			      unit.name);
	}
}

void doctor_check_units(struct doctor *d)
{
	struct doctor_unit unit = unit_named("csrd", "", ".service");

	if (!look_up(&unit)) {
		doctor_say(d, DOCTOR_SKIP, "unit", NULL, "systemd does not answer here");
		return;
	}
	say_unit(d, &unit, NULL);
	check_socket(d);
}

void doctor_look_at_units(struct doctor *d, const struct config_token *token)
{
	d->signer_unit = unit_named("csrd-hsm@", token->name, ".service");
	d->signer_socket = unit_named("csrd-hsm@", token->name, ".socket");
	d->units_answer = look_up(&d->signer_unit) && look_up(&d->signer_socket);
}

/* A signer whose socket listens is started when it is needed. */
void doctor_check_token_units(struct doctor *d, const struct config_token *token)
{
	if (!d->units_answer)
		return;
	if (d->signer_socket.known)
		say_signers_unit(d, &d->signer_socket, token->name);
	if (!d->signer_unit.known || strcmp(d->signer_unit.active, "inactive") != 0)
		say_signers_unit(d, &d->signer_unit, token->name);
	else if (doctor_unit_is_active(&d->signer_socket))
		doctor_say(d, DOCTOR_OK, "unit", token->name, "%s is started by its first client",
			   d->signer_unit.name);
}
