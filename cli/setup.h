/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrctl setup: turns a fresh installation into a service.  Each step checks what
 * is there, does what is missing, and refuses to change what somebody has set
 * differently; so a run that was cut short can be repeated.
 *
 * The steps, in this order, by file.  Each says what is wrong and returns the exit
 * code; what was done before it stays.
 */
#ifndef CSRD_CLI_SETUP_H
#define CSRD_CLI_SETUP_H

#include "api/credential.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/exit_code.h"
#include "cli/cli.h"
#include "cli/spawn.h"

#include <stdbool.h>
#include <sys/types.h>

#define SETUP_CREDENTIALS "/etc/csrd/credentials"
#define SETUP_SOFTHSM_CONF "/etc/csrd/softhsm2.conf"
#define SETUP_SOFTHSM_LABEL "csrd" /* of [token default]'s trial token; others have their section's name */
#define SETUP_PATH_MAX 256         /* of paths made from a token's name, which has at most 32 characters */
#define SETUP_PIN_MAX 255

struct setup {
	struct cli *cli;

	/* The command line; NULL and false: not given. */
	const char *token;
	const char *module;
	const char *uri;
	const char *pin_file; /* "-": standard input */
	const char *listen;
	const char *account;
	bool softhsm;
	bool encrypt_pin;
	bool yes;
	bool no_inspect;
	bool no_start;

	uid_t hsm_uid; /* user csrd-hsm */
	gid_t hsm_gid;

	struct buf conf;               /* what the configuration is to be */
	bool conf_changed;             /* against the file */
	char conf_new[SETUP_PATH_MAX]; /* where it waits for its check; "": nowhere */
	struct buf module_used;        /* the effective values */
	struct buf uri_used;
	struct buf pin; /* to be stored; empty: one is there, or it was stored before this run */
	bool pin_changed;
	bool pin_is_made_up; /* for a trial token that is new */
	const char *trial_label;
	bool units_changed;  /* of the signer */
	bool socket_changed; /* addresses of csrd.socket */
	char account_id[33];
	char api_token[CREDENTIAL_TOKEN_SIZE]; /* "": none was made */
};

/* "  wrote …": one thing that is done.  Nothing with --json. */
void setup_done(const struct setup *s, const char *format, ...) PRINTF_LIKE(2, 3);

/* Runs a program; *ret_status as of spawn_run.  Reports when it cannot be run. */
MUST_USE enum exit_code setup_run(const struct spawn *what, struct buf *output, int *ret_status);

/* A program's output, indented, on standard error. */
void setup_show_output(const struct buf *output);

/* SETUP_CREDENTIALS/TOKEN.pin, or with ".cred" behind it the encrypted one. */
void setup_pin_path(const char *token, bool encrypted, char ret_path[SETUP_PATH_MAX]);
bool setup_pin_is_stored(const char *token, bool encrypted);
/* The token is a trial one, made by us now or before. */
bool setup_softhsm_is_used(const struct setup *s);

/* ---- setup_conf.c: the configuration file ---- */
MUST_USE enum exit_code setup_conf_plan(struct setup *s);   /* asks for what is missing; makes s->conf */
MUST_USE enum exit_code setup_conf_check(struct setup *s);  /* writes it beside the file; csrd -t */
MUST_USE enum exit_code setup_conf_commit(struct setup *s); /* puts it in its place */
void setup_conf_drop(struct setup *s);                      /* removes what waits */

/* ---- setup_pin.c: the PIN, in SETUP_CREDENTIALS ---- */
MUST_USE enum exit_code setup_pin_read(struct setup *s);
MUST_USE enum exit_code setup_pin_store(struct setup *s);

/* ---- setup_softhsm.c: a token for trials ---- */
#define SETUP_SOFTHSM_VARIABLE "SOFTHSM2_CONF=" SETUP_SOFTHSM_CONF
const char *setup_softhsm_module(void); /* NULL: not installed */
/* Refuses a token that is there while its PIN is not: a new PIN would be a wrong one. */
MUST_USE enum exit_code setup_softhsm_check(struct setup *s);
MUST_USE enum exit_code setup_softhsm_make(struct setup *s);

/* ---- setup_units.c: systemd ---- */
#define SETUP_DROP_IN_HEAD "# Written by csrctl setup, which writes it anew: put nothing else here.\n"
/* Runs "systemctl WORDS…"; a status other than 0 is a failure.  output: NULL when nobody wants it. */
MUST_USE enum exit_code setup_systemctl(const char *const *words, struct buf *output);
/* Sets *ret_changed if it wrote.  No file for an empty text, unless there was one of ours before. */
MUST_USE enum exit_code setup_write_drop_in(const struct setup *s, const char *unit, const struct buf *text,
					    bool *ret_changed);
MUST_USE enum exit_code setup_units_inspect(struct setup *s); /* finds the token, as the signer will */
MUST_USE enum exit_code setup_units_write(struct setup *s);   /* drop-ins */
MUST_USE enum exit_code setup_units_start(struct setup *s);   /* enables, starts, waits until ready */

/* ---- setup_port.c: csrd.socket, with which systemd holds the port of [http] listen ---- */
bool setup_port_is_held(const struct setup *s); /* after cli_open_config; false: csrd opens its addresses */
MUST_USE enum exit_code setup_port_write(struct setup *s);      /* its drop-in */
MUST_USE enum exit_code setup_port_hold(const struct setup *s); /* csrd may be stopped after it */

/* ---- setup_account.c: becomes user csrd for good, so it is the last step ---- */
MUST_USE enum exit_code setup_account(struct setup *s);

#endif
