/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrctl doctor: what was checked, what was found, and what to do about it.  Each
 * group of checks is one function; none of them changes anything, and none of them
 * gives up because of something that it cannot see.
 */
#ifndef CSRD_CLI_DOCTOR_H
#define CSRD_CLI_DOCTOR_H

#include "base/attr.h"
#include "base/buf.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "config/config.h"
#include "hsm/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum doctor_verdict {
	DOCTOR_OK,
	DOCTOR_WARN, /* works, but needs attention */
	DOCTOR_FAIL,
	DOCTOR_SKIP, /* could not be checked, or there is nothing to check */
};
#define DOCTOR_VERDICTS 4

#define DOCTOR_TEXT_SIZE 1100

/* What systemd reports about one unit. */
struct doctor_unit {
	bool known; /* systemd answers and has such a unit */
	char name[80];
	char active[24]; /* ActiveState: "active", "failed", … */
	char result[40]; /* Result: "success", "exit-code", "watchdog", … */
	char status_text[256];
	unsigned exit_status; /* ExecMainStatus */
	unsigned restarts;    /* NRestarts */
	char environment[1024];
};
bool doctor_unit_is_active(const struct doctor_unit *unit);

/* What a signer reports about itself. */
struct doctor_signer {
	enum {
		DOCTOR_SIGNER_UNASKED, /* it does not run, and a query would start it */
		DOCTOR_SIGNER_SHUT,    /* it does not serve us */
		DOCTOR_SIGNER_SILENT,
		DOCTOR_SIGNER_ANSWERS,
	} state;
	char why[DOCTOR_TEXT_SIZE]; /* of a silent one */
	bool usable;
	char detail[DOCTOR_TEXT_SIZE];
	unsigned threads, queued;
	struct message_pool pools[KEY_TYPE_MAX];
	size_t pools_len;
	char pool_detail[DOCTOR_TEXT_SIZE];
	char probe[DOCTOR_TEXT_SIZE]; /* what the token was found to do; "": not known */
};

/* A failure that explains others. */
struct doctor_cause {
	const char *name; /* of the check; NULL: nothing */
	const char *token;
};

struct doctor {
	struct cli *cli;
	const struct config *config; /* of cli; NULL until it was read */
	bool file_is_bad;            /* config is what csrd runs with, or what of the file was understood */
	const struct config_token *only; /* NULL: all tokens */

	/* of the token at work, for the groups below */
	struct doctor_unit signer_unit;
	struct doctor_unit signer_socket;
	bool units_answer; /* systemd reported both */
	struct doctor_signer signer;
	struct doctor_cause cause;
	bool seeks_cause; /* the next failure becomes the cause */

	struct doctor_cause first_cause; /* of the first token, which makes the new keys */

	/* the check that was reported last; not printed yet */
	bool pending;
	enum doctor_verdict verdict;
	const char *name;
	const char *token; /* NULL: of no token */
	struct buf found;
	struct buf remedy;
	const char *follows_from; /* name of a check that failed before; NULL: none is known */

	unsigned counts[DOCTOR_VERDICTS];
	struct output_json j;
};

/* Reports one check; name is static text, token borrowed.  It is printed when the next one is reported. */
void doctor_say(struct doctor *d, enum doctor_verdict verdict, const char *name, const char *token,
		const char *format, ...) PRINTF_LIKE(5, 6);
/* Prints the check that was reported last. */
void doctor_flush(struct doctor *d);
/* What to do about the check that was reported last. */
void doctor_remedy(struct doctor *d, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same for a check that needs no remedy of its own, since it follows from that cause.  Does nothing
 * if there is none. */
void doctor_follows(struct doctor *d, const struct doctor_cause *cause, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* What the layers below logged last, or "": while the doctor works, the log is held back. */
const char *doctor_last_log(void);
void doctor_hold_log(void);

/* ---- the groups ---- */

/* False: there is no configuration to work with. */
bool doctor_check_config(struct doctor *d);
void doctor_check_files(struct doctor *d); /* configuration, store */
void doctor_check_clock(struct doctor *d);
void doctor_check_running(struct doctor *d); /* what csrd reports about itself */
void doctor_check_units(struct doctor *d);
void doctor_check_csrd(struct doctor *d);
void doctor_check_tls(struct doctor *d);

/* Of one token.  doctor_look_at_… report nothing: what they find is reported after what may be its cause. */
void doctor_look_at_units(struct doctor *d,
			  const struct config_token *token); /* signer_unit, signer_socket */
void doctor_look_at_signer(struct doctor *d, const struct config_token *token); /* signer */
void doctor_check_token_files(struct doctor *d, const struct config_token *token);
void doctor_check_token(struct doctor *d, const struct config_token *token); /* by csrd-hsm -i */
void doctor_check_token_units(struct doctor *d, const struct config_token *token);
void doctor_check_socket_file(struct doctor *d, const struct config_token *token);
void doctor_check_signer(struct doctor *d, const struct config_token *token);

/* The last one, because for it root becomes the owner of the store. */
void doctor_check_store(struct doctor *d);

/* ---- shared by them ---- */

/* Whether this process lacks the rights to reach the path. */
bool doctor_is_shut_out(const char *path);
/* The name of a user, or its number; in one of two static buffers in turn. */
const char *doctor_user(uid_t uid);
/* The path up to its last slash; "/" at least. */
void doctor_folder_of(const char *path, char *ret_folder, size_t size);
/* The path of an SQLite store; NULL for another kind. */
const char *doctor_store_path(const struct config *config);
/* What an exit status of our programs means, in a few words. */
const char *doctor_exit_meaning(unsigned status);

#endif
