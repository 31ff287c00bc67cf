/*
 * csrctl doctor: what was looked at, what was found, and what to do about it.
 * Each group of checks is one function in a file of its own; none of them
 * changes anything, and none of them stops at what it cannot see.
 */
#ifndef CSRD_CLI_DOCTOR_H
#define CSRD_CLI_DOCTOR_H

#include "base/attr.h"
#include "base/buf.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum doctor_verdict {
	DOCTOR_OK,
	DOCTOR_WARN, /* works, but somebody should look at it */
	DOCTOR_FAIL,
	DOCTOR_SKIP, /* could not be looked at, or there is nothing to look at */
};
#define DOCTOR_VERDICTS 4

#define DOCTOR_TEXT_SIZE 1100

/* What systemd says of one unit. */
struct doctor_unit {
	bool known; /* systemd answers and has such a unit */
	char name[80];
	char active[24];      /* ActiveState: "active", "failed", … */
	char result[40];      /* Result: "success", "exit-code", "watchdog", … */
	char status_text[256];
	unsigned exit_status; /* ExecMainStatus */
	unsigned restarts;    /* NRestarts */
	char environment[1024];
};
bool doctor_unit_is_active(const struct doctor_unit *unit);

struct doctor {
	struct cli *cli;
	const struct config *config;     /* of cli; NULL until it was read */
	const struct config_token *only; /* NULL: all tokens */

	/* of the token at work, for the groups below */
	struct doctor_unit signer;
	struct doctor_unit signer_socket;
	bool signer_works; /* it answers, and its token is usable */
	char probe[DOCTOR_TEXT_SIZE]; /* what the token was found to do, by signer or state folder */

	/* the check that was said last, not shown yet */
	bool pending;
	enum doctor_verdict verdict;
	const char *name;
	const char *token; /* NULL: of no token */
	struct buf found;
	struct buf remedy;

	unsigned counts[DOCTOR_VERDICTS];
	struct output_json j;
};

/* One check; name is static text, token borrowed.  Shown as soon as the next one is said. */
void doctor_say(struct doctor *d, enum doctor_verdict verdict, const char *name, const char *token,
		const char *format, ...) PRINTF_LIKE(5, 6);
/* Shows what was said last. */
void doctor_flush(struct doctor *d);
/* What to do about the check that was said last. */
void doctor_remedy(struct doctor *d, const char *format, ...) PRINTF_LIKE(2, 3);

/* What the layers below logged last: while the doctor works, the log is held back.  "" for nothing. */
const char *doctor_last_log(void);
void doctor_hold_log(void);

/* ---- the groups ---- */

/* False: there is no configuration to go on with. */
bool doctor_check_config(struct doctor *d);
void doctor_check_files(struct doctor *d); /* configuration, store */
void doctor_check_system(struct doctor *d); /* clock, csrd */
void doctor_check_running(struct doctor *d); /* what csrd says of itself */
void doctor_check_units(struct doctor *d);
void doctor_check_token_units(struct doctor *d, const struct config_token *token); /* fills d->signer… */
void doctor_check_token_files(struct doctor *d, const struct config_token *token);
void doctor_check_signer(struct doctor *d, const struct config_token *token); /* fills signer_works, probe */
void doctor_check_token(struct doctor *d, const struct config_token *token);  /* by csrd-hsm -i */
/* The last: a root becomes the owner of the store for it. */
void doctor_check_store(struct doctor *d);

/* ---- shared by them ---- */

/* Whether this process has no right to what the path leads to. */
bool doctor_is_shut_out(const char *path);
/* The name of a user, or its number; a static buffer for each of two calls. */
const char *doctor_user(uid_t uid);
/* The path up to its last slash; "/" at least. */
void doctor_folder_of(const char *path, char *ret_folder, size_t size);
/* The path of an SQLite store; NULL for another kind. */
const char *doctor_store_path(const struct config *config);
/* What one of our programs means by it, in a few words. */
const char *doctor_exit_meaning(unsigned status);

#endif
