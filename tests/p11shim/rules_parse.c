/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the rules file: one rule a line, words separated by blanks. */
#include "tests/p11shim/rules_parse.h"
#include "tests/p11shim/rules.h"
#include "tests/p11shim/setting.h"
#include "tests/p11shim/trace.h"
#include "tests/p11shim/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the actions, each with its arguments from the third word on -------------- */

static void parse_nothing(const struct words *w, struct rule *r)
{
	(void)r;
	words_expect(w, 2);
}

static void parse_return(const struct words *w, struct rule *r)
{
	words_expect(w, 3);
	r->rv = words_constant(w, NAMES_CKR, w->word[2]);
}

static void parse_sleep(const struct words *w, struct rule *r)
{
	words_expect(w, 3);
	r->sleep_ms = words_time_ms(w, w->word[2]);
}

static void parse_exit(const struct words *w, struct rule *r)
{
	words_expect(w, 3);
	r->exit_code = (int)words_number(w, w->word[2], 0, 255);
}

static void set_bytes(const struct words *w, struct rule *r, const void *bytes, size_t len)
{
	r->falsify = RULE_FALSIFY_BYTES;
	r->bytes = malloc(len ? len : 1);
	if (!r->bytes)
		words_refuse(w, "no memory for a value");
	memcpy(r->bytes, bytes, len);
	r->bytes_len = len;
}

static void parse_hex(const struct words *w, struct rule *r)
{
	words_expect(w, 5);
	set_bytes(w, r, w->word[4], words_hex(w, w->word[4]));
}

static void parse_attribute_number(const struct words *w, struct rule *r)
{
	CK_ULONG value;

	words_expect(w, 5);
	value = words_number(w, w->word[4], 0, 0xffffffff);
	set_bytes(w, r, &value, sizeof(value));
}

static void parse_attribute_error(const struct words *w, struct rule *r)
{
	r->falsify = RULE_FALSIFY_ERROR;
	r->rv = CKR_GENERAL_ERROR;
	if (w->count > 4) {
		words_expect(w, 5);
		r->rv = words_constant(w, NAMES_CKR, w->word[4]);
	}
}

/* attr CKA_X true | false | missing | error [CKR_X] | hex DIGITS | number N */
static void parse_attribute(const struct words *w, struct rule *r)
{
	static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	const char *what;

	if (r->function != FN_C_GetAttributeValue)
		words_refuse(w, "attr is for C_GetAttributeValue alone");
	if (w->count < 4)
		words_refuse(w, "attr wants an attribute and what it shall be");
	r->attribute = words_constant(w, NAMES_CKA, w->word[2]);
	what = w->word[3];
	if (strcmp(what, "hex") == 0) {
		parse_hex(w, r);
	} else if (strcmp(what, "number") == 0) {
		parse_attribute_number(w, r);
	} else if (strcmp(what, "error") == 0) {
		parse_attribute_error(w, r);
	} else {
		words_expect(w, 4);
		if (strcmp(what, "true") == 0)
			set_bytes(w, r, &yes, sizeof(yes));
		else if (strcmp(what, "false") == 0)
			set_bytes(w, r, &no, sizeof(no));
		else if (strcmp(what, "missing") == 0)
			r->falsify = RULE_FALSIFY_MISSING;
		else
			words_refuse(w, "an attribute cannot be '%s'", what);
	}
}

static void parse_flags(const struct words *w, struct rule *r)
{
	if (r->function != FN_C_GetTokenInfo)
		words_refuse(w, "flags is for C_GetTokenInfo alone");
	if (w->count < 3)
		words_refuse(w, "flags wants +CKF_X or -CKF_X");
	for (size_t i = 2; i < w->count; i++) {
		const char *word = w->word[i];
		CK_FLAGS flag;

		if (*word != '+' && *word != '-')
			words_refuse(w, "'%s' is neither +CKF_X nor -CKF_X", word);
		flag = words_constant(w, NAMES_CKF, word + 1);
		if (*word == '+')
			r->set |= flag;
		else
			r->clear |= flag;
	}
}

/* A text of CK_TOKEN_INFO of that size, padded with blanks. */
static void set_token_text(const struct words *w, struct rule *r, const char *text, size_t size)
{
	if (r->function != FN_C_GetTokenInfo)
		words_refuse(w, "%s is for C_GetTokenInfo alone", w->word[1]);
	if (strlen(text) > size)
		words_refuse(w, "the %s '%s' is longer than %zu characters", w->word[1], text, size);
	memset(r->text, ' ', sizeof(r->text));
	memcpy(r->text, text, strlen(text));
}

static void parse_serial(const struct words *w, struct rule *r)
{
	words_expect(w, 3);
	set_token_text(w, r, w->word[2], RULE_SERIAL_SIZE);
}

static void parse_label(const struct words *w, struct rule *r)
{
	if (w->count > 2)
		words_expect(w, 3);
	set_token_text(w, r, w->count > 2 ? w->word[2] : "", RULE_LABEL_SIZE);
}

static void parse_nul_padded(const struct words *w, struct rule *r)
{
	words_expect(w, 2);
	set_token_text(w, r, "", 0);
}

static void parse_corrupt(const struct words *w, struct rule *r)
{
	static const enum function with_output[] = {
	    FN_C_Sign,         FN_C_SignFinal,      FN_C_SignRecover,   FN_C_Encrypt,      FN_C_EncryptUpdate,
	    FN_C_EncryptFinal, FN_C_Decrypt,        FN_C_DecryptUpdate, FN_C_DecryptFinal, FN_C_Digest,
	    FN_C_DigestFinal,  FN_C_GenerateRandom, FN_C_WrapKey,
	};

	words_expect(w, 2);
	for (size_t i = 0; i < sizeof(with_output) / sizeof(with_output[0]); i++) {
		if (r->function == with_output[i])
			return;
	}
	words_refuse(w, "%s has no output that could be corrupted", names_function_text(r->function));
}

static const struct action {
	const char *name;
	enum rule_action action;
	void (*parse)(const struct words *w, struct rule *r);
	bool may_follow; /* "after-NAME": when the module was called */
} actions[] = {
    {"return", RULE_RETURN, parse_return, true},
    {"sleep", RULE_SLEEP, parse_sleep, true},
    {"hang", RULE_HANG, parse_nothing, true},
    {"abort", RULE_ABORT, parse_nothing, true},
    {"segv", RULE_SEGV, parse_nothing, true},
    {"kill", RULE_KILL, parse_nothing, true},
    {"exit", RULE_EXIT, parse_exit, true},
    {"invalidate-sessions", RULE_INVALIDATE, parse_nothing, true},
    {"logout", RULE_LOGOUT, parse_nothing, true},
    {"corrupt", RULE_CORRUPT, parse_corrupt, false},
    {"attr", RULE_ATTRIBUTE, parse_attribute, false},
    {"flags", RULE_FLAGS, parse_flags, false},
    {"serial", RULE_SERIAL, parse_serial, false},
    {"label", RULE_LABEL, parse_label, false},
    {"nul-padded", RULE_NUL_PADDED, parse_nul_padded, false},
};

/* ---- the line ------------------------------------------------------------------ */

static void parse_action(const struct words *w, struct rule *r)
{
	const char *name = w->word[1];

	if (!name)
		words_refuse(w, "'%s': an action is missing", w->word[0]);
	if (strncmp(name, "after-", 6) == 0) {
		r->after = true;
		name += 6;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(actions[i].name, name) == 0 && (!r->after || actions[i].may_follow)) {
			r->action = actions[i].action;
			actions[i].parse(w, r);
			return;
		}
	}
	words_refuse(w, "unknown action '%s'", w->word[1]);
}

/* FUNCTION, FUNCTION@N, FUNCTION@N+ */
static void parse_function(const struct words *w, struct rule *r)
{
	char *text = w->word[0];
	char *nth = strchr(text, '@');

	if (nth) {
		size_t len = strlen(nth + 1);

		*nth++ = '\0';
		r->onwards = len > 0 && nth[len - 1] == '+';
		if (r->onwards)
			nth[len - 1] = '\0';
		r->nth = words_number(w, nth, 1, 1000000000);
	}
	if (!names_function(text, &r->function))
		words_refuse(w, "unknown function or setting '%s'", text);
}

/* CKM_X, CKA_X, CKA_X=HEX */
static void parse_condition(const struct words *w, struct rule *r, char *what)
{
	bool mechanism = !names_prefixed(NAMES_CKA, what);
	char *value = mechanism ? NULL : strchr(what, '=');

	if (value)
		*value++ = '\0';
	r->condition = mechanism ? RULE_IF_MECHANISM : value ? RULE_IF_VALUE : RULE_IF_ATTRIBUTE;
	r->condition_value = words_constant(w, mechanism ? NAMES_CKM : NAMES_CKA, what);
	if (!value)
		return;
	r->condition_len = words_hex(w, value);
	r->condition_bytes = malloc(r->condition_len + 1);
	if (!r->condition_bytes)
		words_refuse(w, "no memory for a value");
	memcpy(r->condition_bytes, value, r->condition_len);
}

/* "… if CONDITION", "… once" */
static void parse_tail(struct words *w, struct rule *r)
{
	if (w->count > 1 && strcmp(w->word[w->count - 1], "once") == 0) {
		r->once = true;
		words_drop_last(w, 1);
	}
	if (w->count > 2 && strcmp(w->word[w->count - 2], "if") == 0) {
		parse_condition(w, r, w->word[w->count - 1]);
		words_drop_last(w, 2);
	}
}

struct rule *rules_parse_add(const struct words *w, struct rules *rules)
{
	struct rule *r;

	if (rules->count == RULES_MAX)
		words_refuse(w, "more than %d rules", RULES_MAX);
	r = &rules->rule[rules->count++];
	r->line = w->line;
	return r;
}

static void parse_line(struct words *w, struct rules *rules)
{
	struct rule *r;

	if (w->count == 0 || *w->word[0] == '#' || setting_parse(w, rules))
		return;
	r = rules_parse_add(w, rules);
	parse_tail(w, r);
	parse_function(w, r);
	parse_action(w, r);
}

void rules_parse(const char *path, struct rules *rules)
{
	struct words w = {.path = path};
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		trace_fatal("cannot open the rules '%s': %s", path, strerror(errno));
	while (getline(&text, &size, file) >= 0) {
		w.line++;
		words_split(&w, text);
		parse_line(&w, rules);
	}
	if (ferror(file))
		trace_fatal("cannot read the rules '%s'", path);
	free(text);
	fclose(file);
}
