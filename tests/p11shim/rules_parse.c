/* Parses the rules file: one rule a line, words separated by blanks. */
#include "tests/p11shim/rules_parse.h"
#include "tests/p11shim/call.h"
#include "tests/p11shim/rules.h"
#include "tests/p11shim/state.h"
#include "tests/p11shim/trace.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

struct words {
	char *word[WORDS_MAX + 1]; /* the last one is NULL */
	size_t count;
	/* where they stand */
	const char *path;
	unsigned line;
};

static _Noreturn void refuse(const struct words *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static _Noreturn void refuse(const struct words *w, const char *format, ...)
{
	char reason[512];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	trace_fatal("%s:%u: %s", w->path, w->line, reason);
}

static void split(struct words *w, char *text)
{
	char *rest = NULL;

	w->count = 0;
	for (char *word = strtok_r(text, " \t\n", &rest); word; word = strtok_r(NULL, " \t\n", &rest)) {
		if (w->count == WORDS_MAX)
			refuse(w, "more than %d words", WORDS_MAX);
		w->word[w->count++] = word;
	}
	w->word[w->count] = NULL;
}

static void drop_last(struct words *w, size_t n)
{
	w->count -= n;
	w->word[w->count] = NULL;
}

static void expect_words(const struct words *w, size_t count)
{
	if (w->count < count)
		refuse(w, "'%s': an argument is missing", w->word[w->count - 1]);
	if (w->count > count)
		refuse(w, "unexpected '%s'", w->word[count]);
}

static unsigned long constant(const struct words *w, enum names_kind kind, const char *text)
{
	unsigned long value;

	if (!text)
		refuse(w, "a constant is missing");
	if (!names_value(kind, text, &value))
		refuse(w, "unknown constant '%s'", text);
	return value;
}

static unsigned long number(const struct words *w, const char *text, unsigned long min, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || *end || value < min || value > max)
		refuse(w, "'%s' is not a number from %lu to %lu", text, min, max);
	return value;
}

/* ---- the actions, each with its arguments from the third word on -------------- */

static void parse_nothing(const struct words *w, struct rule *r)
{
	(void)r;
	expect_words(w, 2);
}

static void parse_return(const struct words *w, struct rule *r)
{
	expect_words(w, 3);
	r->rv = constant(w, NAMES_CKR, w->word[2]);
}

static void parse_sleep(const struct words *w, struct rule *r)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 } };
	char *unit;

	expect_words(w, 3);
	unit = w->word[2] + strspn(w->word[2], "0123456789");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].name) == 0) {
			*unit = '\0';
			r->sleep_ms = number(w, w->word[2], 1, 86400000) * units[i].ms;
			return;
		}
	}
	refuse(w, "'%s' is not a time such as 250ms, 60s or 5m", w->word[2]);
}

static void parse_exit(const struct words *w, struct rule *r)
{
	expect_words(w, 3);
	r->exit_code = (int)number(w, w->word[2], 0, 255);
}

static void set_bytes(const struct words *w, struct rule *r, const void *bytes, size_t len)
{
	r->falsify = RULE_FALSIFY_BYTES;
	r->bytes = malloc(len ? len : 1);
	if (!r->bytes)
		refuse(w, "no memory for a value");
	memcpy(r->bytes, bytes, len);
	r->bytes_len = len;
}

static void parse_hex(const struct words *w, struct rule *r)
{
	char *text = w->word[4];
	size_t len;

	expect_words(w, 5);
	len = strlen(text);
	if (len % 2 || strspn(text, "0123456789abcdefABCDEF") != len)
		refuse(w, "'%s' is not an even number of hexadecimal digits", text);
	for (size_t i = 0; i < len / 2; i++) {
		char byte[3] = { text[2 * i], text[2 * i + 1], '\0' };

		text[i] = (char)strtoul(byte, NULL, 16);
	}
	set_bytes(w, r, text, len / 2);
}

static void parse_attribute_number(const struct words *w, struct rule *r)
{
	CK_ULONG value;

	expect_words(w, 5);
	value = number(w, w->word[4], 0, 0xffffffff);
	set_bytes(w, r, &value, sizeof(value));
}

static void parse_attribute_error(const struct words *w, struct rule *r)
{
	r->falsify = RULE_FALSIFY_ERROR;
	r->rv = CKR_GENERAL_ERROR;
	if (w->count > 4) {
		expect_words(w, 5);
		r->rv = constant(w, NAMES_CKR, w->word[4]);
	}
}

/* attr CKA_X true | false | missing | error [CKR_X] | hex DIGITS | number N */
static void parse_attribute(const struct words *w, struct rule *r)
{
	static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	const char *what;

	if (r->function != FN_C_GetAttributeValue)
		refuse(w, "attr is for C_GetAttributeValue alone");
	if (w->count < 4)
		refuse(w, "attr wants an attribute and what it shall be");
	r->attribute = constant(w, NAMES_CKA, w->word[2]);
	what = w->word[3];
	if (strcmp(what, "hex") == 0) {
		parse_hex(w, r);
	} else if (strcmp(what, "number") == 0) {
		parse_attribute_number(w, r);
	} else if (strcmp(what, "error") == 0) {
		parse_attribute_error(w, r);
	} else {
		expect_words(w, 4);
		if (strcmp(what, "true") == 0)
			set_bytes(w, r, &yes, sizeof(yes));
		else if (strcmp(what, "false") == 0)
			set_bytes(w, r, &no, sizeof(no));
		else if (strcmp(what, "missing") == 0)
			r->falsify = RULE_FALSIFY_MISSING;
		else
			refuse(w, "an attribute cannot be '%s'", what);
	}
}

static void parse_flags(const struct words *w, struct rule *r)
{
	if (r->function != FN_C_GetTokenInfo)
		refuse(w, "flags is for C_GetTokenInfo alone");
	if (w->count < 3)
		refuse(w, "flags wants +CKF_X or -CKF_X");
	for (size_t i = 2; i < w->count; i++) {
		const char *word = w->word[i];
		CK_FLAGS flag;

		if (*word != '+' && *word != '-')
			refuse(w, "'%s' is neither +CKF_X nor -CKF_X", word);
		flag = constant(w, NAMES_CKF, word + 1);
		if (*word == '+')
			r->set |= flag;
		else
			r->clear |= flag;
	}
}

static void parse_serial(const struct words *w, struct rule *r)
{
	size_t len;

	if (r->function != FN_C_GetTokenInfo)
		refuse(w, "serial is for C_GetTokenInfo alone");
	expect_words(w, 3);
	len = strlen(w->word[2]);
	if (len > sizeof(r->serial))
		refuse(w, "the serial '%s' is longer than %zu characters", w->word[2], sizeof(r->serial));
	memset(r->serial, ' ', sizeof(r->serial));
	memcpy(r->serial, w->word[2], len);
}

static void parse_corrupt(const struct words *w, struct rule *r)
{
	static const enum function with_output[] = {
		FN_C_Sign, FN_C_SignFinal, FN_C_SignRecover, FN_C_Encrypt, FN_C_EncryptUpdate,
		FN_C_EncryptFinal, FN_C_Decrypt, FN_C_DecryptUpdate, FN_C_DecryptFinal, FN_C_Digest,
		FN_C_DigestFinal, FN_C_GenerateRandom, FN_C_WrapKey,
	};

	expect_words(w, 2);
	for (size_t i = 0; i < sizeof(with_output) / sizeof(with_output[0]); i++) {
		if (r->function == with_output[i])
			return;
	}
	refuse(w, "%s has no output that could be corrupted", names_function_text(r->function));
}

static const struct action {
	const char *name;
	enum rule_action action;
	void (*parse)(const struct words *w, struct rule *r);
	bool may_follow; /* "after-NAME": when the module was called */
} actions[] = {
	{ "return", RULE_RETURN, parse_return, true },
	{ "sleep", RULE_SLEEP, parse_sleep, true },
	{ "hang", RULE_HANG, parse_nothing, true },
	{ "abort", RULE_ABORT, parse_nothing, true },
	{ "segv", RULE_SEGV, parse_nothing, true },
	{ "kill", RULE_KILL, parse_nothing, true },
	{ "exit", RULE_EXIT, parse_exit, true },
	{ "invalidate-sessions", RULE_INVALIDATE, parse_nothing, true },
	{ "logout", RULE_LOGOUT, parse_nothing, true },
	{ "corrupt", RULE_CORRUPT, parse_corrupt, false },
	{ "attr", RULE_ATTRIBUTE, parse_attribute, false },
	{ "flags", RULE_FLAGS, parse_flags, false },
	{ "serial", RULE_SERIAL, parse_serial, false },
};

/* ---- the line ------------------------------------------------------------------ */

static void parse_action(const struct words *w, struct rule *r)
{
	const char *name = w->word[1];

	if (!name)
		refuse(w, "'%s': an action is missing", w->word[0]);
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
	refuse(w, "unknown action '%s'", w->word[1]);
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
		r->nth = number(w, nth, 1, 1000000000);
	}
	if (!names_function(text, &r->function))
		refuse(w, "unknown function or setting '%s'", text);
}

/* "… if CKM_X", "… if CKA_X", "… once" */
static void parse_tail(struct words *w, struct rule *r)
{
	if (w->count > 1 && strcmp(w->word[w->count - 1], "once") == 0) {
		r->once = true;
		drop_last(w, 1);
	}
	if (w->count > 2 && strcmp(w->word[w->count - 2], "if") == 0) {
		const char *what = w->word[w->count - 1];
		bool mechanism = !names_prefixed(NAMES_CKA, what);

		r->condition = mechanism ? RULE_IF_MECHANISM : RULE_IF_ATTRIBUTE;
		r->condition_value = constant(w, mechanism ? NAMES_CKM : NAMES_CKA, what);
		drop_last(w, 2);
	}
}

static struct rule *add_rule(const struct words *w, struct rules *rules)
{
	struct rule *r;

	if (rules->count == RULES_MAX)
		refuse(w, "more than %d rules", RULES_MAX);
	r = &rules->rule[rules->count++];
	r->line = w->line;
	return r;
}

static void parse_template_refuse(const struct words *w, struct rules *rules)
{
	struct rule *r = add_rule(w, rules);

	expect_words(w, 3);
	r->function = FN_C_GenerateKeyPair;
	r->action = RULE_RETURN;
	r->condition = RULE_IF_ATTRIBUTE;
	r->condition_value = constant(w, NAMES_CKA, w->word[1]);
	r->rv = constant(w, NAMES_CKR, w->word[2]);
}

/* The lines that are not about one function.  False for another line. */
static bool parse_setting(const struct words *w, struct rules *rules)
{
	const char *name = w->word[0];

	if (strcmp(name, "invalidate-sessions") == 0) {
		expect_words(w, 1);
		rules->invalidate_sessions = true;
	} else if (strcmp(name, "sessions-max") == 0) {
		expect_words(w, 2);
		rules->sessions_max = number(w, w->word[1], 1, 1000000);
	} else if (strcmp(name, "pin-tries") == 0) {
		expect_words(w, 2);
		rules->pin_tries = number(w, w->word[1], 1, 1000);
		if (!state_is_open())
			refuse(w, "pin-tries wants P11SHIM_STATE");
	} else if (strcmp(name, "template-refuse") == 0) {
		parse_template_refuse(w, rules);
	} else if (strcmp(name, "serialise") == 0) {
		expect_words(w, 1);
		rules->serialise = true;
	} else if (strcmp(name, "pair-destroy") == 0) {
		expect_words(w, 2);
		rules->pair_destroy = true;
		rules->pair_destroy_rv = constant(w, NAMES_CKR, w->word[1]);
	} else if (strcmp(name, "label-max") == 0) {
		expect_words(w, 2);
		rules->label_max = number(w, w->word[1], 1, 1000);
	} else if (strcmp(name, "public-private-refuse") == 0) {
		expect_words(w, 2);
		rules->public_private_rv = constant(w, NAMES_CKR, w->word[1]);
	} else {
		return false;
	}
	return true;
}

static void parse_line(struct words *w, struct rules *rules)
{
	struct rule *r;

	if (w->count == 0 || *w->word[0] == '#' || parse_setting(w, rules))
		return;
	r = add_rule(w, rules);
	parse_tail(w, r);
	parse_function(w, r);
	parse_action(w, r);
}

void rules_parse(const char *path, struct rules *rules)
{
	struct words w = { .path = path };
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		trace_fatal("cannot open the rules '%s': %s", path, strerror(errno));
	while (getline(&text, &size, file) >= 0) {
		w.line++;
		split(&w, text);
		parse_line(&w, rules);
	}
	if (ferror(file))
		trace_fatal("cannot read the rules '%s'", path);
	free(text);
	fclose(file);
}
