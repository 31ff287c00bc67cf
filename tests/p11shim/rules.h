/* SPDX-License-Identifier: Apache-2.0 */
/* The rules file: its text parsed, and which rules take part in a call.  The language is in README.md. */
#ifndef CSRD_TESTS_P11SHIM_RULES_H
#define CSRD_TESTS_P11SHIM_RULES_H

#include "tests/p11shim/names.h"

#include <stdatomic.h>
#include <stdint.h>

struct call;

/* As many as there are bits in call.fired. */
#define RULES_MAX 64

enum rule_action {
	RULE_RETURN,
	RULE_SLEEP,
	RULE_HANG,
	RULE_ABORT,
	RULE_SEGV,
	RULE_KILL,
	RULE_EXIT,
	RULE_INVALIDATE,
	RULE_LOGOUT,
	RULE_CORRUPT,
	RULE_ATTRIBUTE,
	RULE_FLAGS,
	RULE_SERIAL,
	RULE_LABEL,
	RULE_NUL_PADDED,
};

/* Of the texts of CK_TOKEN_INFO. */
#define RULE_SERIAL_SIZE 16
#define RULE_LABEL_SIZE 32

enum rule_falsify {
	RULE_FALSIFY_BYTES,
	RULE_FALSIFY_MISSING,
	RULE_FALSIFY_ERROR,
};

enum rule_condition {
	RULE_IF_NOTHING,
	RULE_IF_MECHANISM,
	RULE_IF_ATTRIBUTE,
	RULE_IF_VALUE, /* that attribute with that value */
};

struct rule {
	unsigned line;
	enum function function;
	enum rule_action action;
	bool after; /* the module is called first */
	bool once;
	uint64_t nth; /* 0: every call */
	bool onwards;
	enum rule_condition condition;
	unsigned long condition_value;
	uint8_t *condition_bytes;
	size_t condition_len;

	/* arguments of the action */
	CK_RV rv;
	uint64_t sleep_ms;
	int exit_code;
	CK_ATTRIBUTE_TYPE attribute;
	enum rule_falsify falsify;
	uint8_t *bytes;
	size_t bytes_len;
	CK_FLAGS set, clear;
	char text[RULE_LABEL_SIZE]; /* serial number or label; padded with blanks, without NUL */

	atomic_uint_fast64_t seen; /* calls that it could have meant */
	atomic_bool spent;         /* of `once` without a state folder */
};

#define RULES_PIN_SIZE 64

struct rules {
	struct rule rule[RULES_MAX];
	size_t count;

	/* the lines that are not about one call; 0, CKR_OK or false: there is none */
	unsigned long sessions_max;
	unsigned long pin_tries;
	CK_RV pin_incorrect_rv;
	char logged_in_pin[RULES_PIN_SIZE];
	bool invalidate_sessions;
	bool serialise;
	bool double_close;
	uint64_t answer_after_ms;
	bool pair_destroy;
	CK_RV pair_destroy_rv; /* for a public key that went with its private key */
	unsigned long label_max;
	unsigned long label_refuse_max;
	CK_RV label_refuse_rv;
	unsigned long id_max;
	bool id_own;
	bool label_is_id;
	CK_RV public_private_rv;        /* to a public key that is not to be private */
	CK_RV public_private_demand_rv; /* to one that does not say that it is not to be private */
	bool public_private;            /* is what it becomes when it does not say */
	CK_RV data_refuse_rv;
	bool mechanism_is;
	CK_MECHANISM_TYPE mechanism_from, mechanism_to;

	atomic_bool invalidated;
	char id[96]; /* of this state of the file */
	unsigned users;
};

/* The file need not exist: no file, no rules.  NULL for no file ever. */
void rules_open(const char *path);

/*
 * The rules of now; the file is read again when it is another than last time.
 * A mistake in it is fatal.  Given back with rules_release.
 */
struct rules *rules_acquire(void);
void rules_release(struct rules *r);

/* Counts the call in each rule that could mean it.  Bit i is set when rule i takes part. */
uint64_t rules_match(struct rules *r, const struct call *c);

#endif
