/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module and the token, seen by "csrd-hsm -i" in a process of its own: a
 * vendor's code runs neither in csrctl nor as root, and may hang.  Where the
 * units serve, from inside the sandbox of the signer's.
 */
#include "cli/doctor.h"

#include "api/json.h"
#include "cli/sandbox.h"
#include "cli/spawn.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOCUMENT_BYTES_MAX (256 * 1024)
#define ERRORS_BYTES_MAX (64 * 1024)
#define ARGUMENTS_MAX 24
#define SYSTEMD_STATUS_MIN 200 /* systemd's own exit codes */
#define ROOM_WARN_BYTES 65536  /* of private objects: some tens of keys */

struct look {
	struct doctor *d;
	const struct config_token *token;
	struct buf output;
	struct buf errors;
	int status; /* as spawn_run says */
	bool by_unit;
	struct json_doc *doc;
};

/* ---- the child ---- */

/*
 * Before the program: env(1) and what the unit sets, for modules that find
 * their token by a variable.  `words` is cut up; systemd quotes what holds
 * blanks.  Words that do not fit, or are quoted in harder ways, are left out.
 */
static size_t put_environment(char *words, const char **argv, size_t max)
{
	size_t n = 0;
	char *at = words;

	argv[n++] = "env";
	while (*at && n < max) {
		bool quoted = *at == '"';
		char *start = at + quoted;
		char *end = start + strcspn(start, quoted ? "\"" : " ");
		bool last = *end == '\0';

		*end = '\0';
		if (strchr(start, '=') && !strchr(start, '\\'))
			argv[n++] = start;
		at = end + !last;
		at += strspn(at, " ");
	}
	return n;
}

/* Twice what it gives a call by itself, so that it is the one who tells which hangs. */
static unsigned timeout_of(const struct config_token *token)
{
	uint64_t ms = 2 * token->timeout_other_ms + 5000;

	return ms > 600000 ? 600000 : (unsigned)ms;
}

/* False: not from there, or not well enough. */
static bool run_by_unit(struct look *look)
{
	const char *config_path = look->d->cli->config_path;
	struct sandbox_look from_unit = {
	    .token = look->token->name, .config_path = config_path, .timeout_ms = timeout_of(look->token)};
	enum err e;

	if (strcmp(config_path, CONFIG_DEFAULT_PATH) != 0 || !sandbox_is_possible(look->token->name))
		return false;
	e = sandbox_inspect(&from_unit, &look->output, &look->errors, &look->status);
	look->by_unit = e == E_OK;
	return look->by_unit;
}

static enum err run_child(struct look *look, const char *program)
{
	char environment[sizeof(look->d->signer_unit.environment)];
	const char *argv[ARGUMENTS_MAX + 8];
	struct spawn what = {.argv = argv,
			     .errors = &look->errors,
			     .timeout_ms = timeout_of(look->token),
			     .keep_environment = true};
	size_t n;

	snprintf(environment, sizeof(environment), "%s", look->d->signer_unit.environment);
	n = put_environment(environment, argv, ARGUMENTS_MAX);
	argv[n++] = program;
	argv[n++] = "-c";
	argv[n++] = look->d->cli->config_path;
	argv[n++] = "-n";
	argv[n++] = look->token->name;
	argv[n++] = "-i";
	argv[n] = NULL;
	return spawn_run(&what, &look->output, &look->status);
}

/* The last line that it logged as an error, without time and program. */
static const char *last_error(struct look *look)
{
	char *text = (char *)look->errors.data, *found = NULL;

	for (char *at = text; at && *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (strncmp(at, "<3>", 3) == 0)
			found = at + 3;
		else if (memmem(at, strcspn(at, "\n"), " error: ", 8))
			found = strstr(at, " error: ") + 8;
	if (!found)
		return "it gives no reason";
	found[strcspn(found, "\n")] = '\0';
	return found;
}

/* ---- what it found ---- */

/* A user who is neither root nor the signer's, and may lack what that one has. */
static bool is_shut_out(const struct look *look)
{
	return doctor_is_shut_out(look->token->state_dir);
}

/*
 * A signer at work is the better witness: what csrctl's child does not see may
 * be for want of a group, a device or a variable that the unit has.
 */
static enum doctor_verdict doctor_token_bad(const struct look *look)
{
	return look->d->signer.usable || is_shut_out(look) ? DOCTOR_WARN : DOCTOR_FAIL;
}

static void doctor_token_put_remedy(struct look *look, const char *remedy)
{
	static const char works[] = "its signer works: compare groups, devices and variables of its unit "
				    "with yours";
	static const char confined[] =
	    "; seen from inside csrd-hsm@%s, which has no /home, no network, no device: "
	    "drop-ins are in /usr/share/doc/csrd/examples";
	char from_unit[sizeof(confined) + 64] = "";

	if (look->by_unit)
		snprintf(from_unit, sizeof(from_unit), confined, look->token->name);
	if (look->d->signer.usable)
		remedy = works;
	else if (is_shut_out(look))
		remedy = "run csrctl doctor as root, who looks at it as the signer's user";
	doctor_remedy(look->d, "%s%s", remedy, look->d->signer.usable ? "" : from_unit);
}

static const char *text_of(struct json_value object, const char *name)
{
	const char *text = json_text(json_member(object, name));

	return text ? text : "";
}

static bool flag(struct json_value token, const char *name)
{
	return json_is_true(json_member(json_member(token, "flags"), name));
}

static void say_module(struct look *look, struct json_value module)
{
	const char *open = text_of(module, "open_to_others"); /* a path */

	if (json_is_true(json_member(module, "loaded"))) {
		doctor_say(look->d, DOCTOR_OK, "module", look->token->name, "%s, %s, version %s, Cryptoki %s",
			   text_of(module, "manufacturer"), text_of(module, "library"),
			   text_of(module, "version"), text_of(module, "cryptoki"));
		return;
	}
	doctor_say(look->d, doctor_token_bad(look), "module", look->token->name, "%s", last_error(look));
	if (*open)
		doctor_remedy(look->d, "chmod go-w '%s' && chown root:root '%s'", open, open);
	else
		doctor_token_put_remedy(
		    look, "see whether ldd finds all that the module needs, and whether its own settings are "
			  "there for the signer's user");
}

static void say_token(struct look *look, struct json_value token)
{
	struct doctor *d = look->d;
	const char *name = look->token->name;

	if (json_is_true(json_member(token, "found")) && look->status == EXIT_CODE_NO_TOKEN) {
		doctor_say(d, DOCTOR_FAIL, "token", name, "%s", last_error(look));
		if (json_is_true(json_member(token, "exchanged")))
			doctor_remedy(d, "if it was exchanged on purpose, remove '%s/token'",
				      look->token->state_dir);
		else
			doctor_remedy(d, "correct the token's uri, or use a token that can make such keys");
	} else if (json_is_true(json_member(token, "found"))) {
		doctor_say(d, DOCTOR_OK, "token", name, "'%s', serial '%s', %s %s, firmware %s",
			   text_of(token, "label"), text_of(token, "serial"), text_of(token, "manufacturer"),
			   text_of(token, "model"), text_of(token, "firmware"));
	} else {
		doctor_say(d, doctor_token_bad(look), "token", name, "%s", last_error(look));
		doctor_token_put_remedy(
		    look, "see whether the HSM is on and connected, whether the module's own settings "
			  "are there for the signer's user, and correct the token's uri");
	}
}

static void say_flags(struct look *look, struct json_value token)
{
	static const struct {
		const char *flag;
		bool wanted;
		enum doctor_verdict verdict;
		const char *found;
		const char *remedy;
	} rules[] = {
	    {"user_pin_locked", false, DOCTOR_FAIL, "the user PIN is locked",
	     "have the security officer set it again (C_InitPIN); then correct the PIN file"},
	    {"user_pin_final_try", false, DOCTOR_FAIL, "the next wrong PIN locks the token",
	     "log in once with the vendor's tool and the right PIN; csrd-hsm does not try"},
	    {"user_pin_initialized", true, DOCTOR_FAIL, "it has no user PIN yet",
	     "initialise the user PIN with the vendor's tool"},
	    {"write_protected", false, DOCTOR_FAIL, "it is write-protected: no key can be made",
	     "lift the protection at the HSM"},
	    {"user_pin_to_be_changed", false, DOCTOR_WARN, "the user PIN is to be changed",
	     "change it with the vendor's tool, and put the new one into the PIN file"},
	    {"user_pin_count_low", false, DOCTOR_WARN, "somebody gave a wrong PIN since the last login",
	     "find out who; a login with the right PIN resets the counter"},
	};
	struct doctor *d = look->d;
	bool well = true;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (flag(token, rules[i].flag) == rules[i].wanted)
			continue;
		well = false;
		doctor_say(d, rules[i].verdict, "token-flags", look->token->name, "%s", rules[i].found);
		doctor_remedy(d, "%s", rules[i].remedy);
	}
	if (well)
		doctor_say(d, DOCTOR_OK, "token-flags", look->token->name,
			   "writable, user PIN set, not locked, no wrong PIN since the last login");
}

static void say_room(struct look *look, struct json_value token)
{
	struct doctor *d = look->d;
	int64_t room, sessions;

	/* 0 and 1 are what modules say that do not know */
	if (json_integer(json_member(token, "free_private_memory"), &room) == E_OK && room > 1) {
		doctor_say(d, room < ROOM_WARN_BYTES ? DOCTOR_WARN : DOCTOR_OK, "token-room",
			   look->token->name, "%" PRId64 " bytes left for private objects", room);
		if (room < ROOM_WARN_BYTES)
			doctor_remedy(d, "delete CSRs that are not needed, or lower the pool");
	}
	if (json_integer(json_member(token, "rw_sessions_max"), &sessions) == E_OK && sessions > 0 &&
	    (uint64_t)sessions < look->token->threads) {
		doctor_say(d, DOCTOR_FAIL, "token-sessions", look->token->name,
			   "it allows %" PRId64 " sessions, and threads is %" PRIu64, sessions,
			   look->token->threads);
		doctor_remedy(d, "[token %s] threads = %" PRId64 " or less", look->token->name, sessions);
	}
}

/* Pools that will not be filled. */
static void say_pools(struct look *look, key_type_set offered)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		const char *name = key_type_name((enum key_type)type);

		if (!look->token->pool_targets[type] || offered & KEY_TYPE_BIT(type))
			continue;
		doctor_say(look->d, DOCTOR_WARN, "pool", look->token->name,
			   "pool_%s: the token makes no such keys", name);
		doctor_remedy(look->d, "take pool_%s out of [token %s]: none are kept ready", name,
			      look->token->name);
	}
}

/* The first token makes the new keys: [policy] key_types is about what it can. */
static void say_mechanisms(struct look *look, struct json_value types)
{
	key_type_set wanted = look->d->config->policy.key_types, offered = 0;
	bool is_first = look->token == &look->d->config->tokens[0];
	struct buf names, missing;
	enum key_type type;

	for (size_t i = 0; i < json_array_len(types); i++) {
		struct json_value item = json_array_item(types, i);

		if (json_is_true(json_member(item, "offered")) &&
		    key_type_parse(text_of(item, "key_type"), &type) == E_OK)
			offered |= KEY_TYPE_BIT(type);
	}
	buf_init(&names, 256);
	buf_init(&missing, 256);
	key_type_set_format(offered, &names);
	key_type_set_format(wanted & ~offered, &missing);
	if (is_first && (wanted & ~offered)) {
		doctor_say(look->d, wanted & offered ? DOCTOR_WARN : DOCTOR_FAIL, "mechanisms",
			   look->token->name, "the token makes %s; [policy] key_types also allows %s",
			   buf_text(&names), buf_text(&missing));
		doctor_remedy(look->d, "take them out of [policy] key_types: requests for them are refused; "
				       "csrd-hsm -i shows what each needs");
	} else {
		doctor_say(look->d, offered ? DOCTOR_OK : DOCTOR_FAIL, "mechanisms", look->token->name,
			   "the token makes %s", buf_text(&names));
	}
	buf_release(&names);
	buf_release(&missing);
	if (!look->d->signer.pool_detail[0]) /* else it says so by itself */
		say_pools(look, offered);
}

/* Which templates it takes was tried with throw-away keys, by a signer that had logged in. */
static void say_probe(struct look *look, struct json_value token)
{
	struct doctor *d = look->d;
	const char *probe = d->signer.probe[0] ? d->signer.probe : text_of(token, "probe");

	if (*probe)
		doctor_say(d, DOCTOR_OK, "probe", look->token->name, "%s", probe);
	else
		doctor_say(d, DOCTOR_SKIP, "probe", look->token->name,
			   "csrd-hsm tries what the token does at its first start");
}

static void say_pin(struct look *look, struct json_value pin)
{
	const struct config_token *token = look->token;
	const char *refused = text_of(pin, "refused");
	struct doctor *d = look->d;
	char sealed[PATH_MAX];

	if (!strcmp(refused, "no")) {
		doctor_say(d, DOCTOR_OK, "pin", token->name, "the token has not refused it");
	} else if (!strcmp(refused, "yes")) {
		doctor_say(d, DOCTOR_FAIL, "pin", token->name,
			   "the token refused it, or the attempt was cut off; it is not tried again");
		snprintf(sealed, sizeof(sealed), "%s.cred", token->pin_file);
		doctor_remedy(d,
			      "put the right PIN into '%s'; if it is right, remove '%s/pin-refused'; "
			      "then systemctl restart csrd-hsm@%s",
			      access(sealed, F_OK) == 0 ? sealed : token->pin_file, token->state_dir,
			      token->name);
	} else if (!strcmp(refused, "changed")) {
		doctor_say(d, DOCTOR_WARN, "pin", token->name,
			   "one was refused; another is in the file now, and will be tried once");
		doctor_remedy(d, "when you are sure of it, start the signer: systemctl restart csrd-hsm@%s",
			      token->name);
	} else {
		doctor_say(d, DOCTOR_SKIP, "pin", token->name, "'%s' cannot be examined from here",
			   token->state_dir);
		doctor_remedy(d, "run csrctl doctor as root, and look whether '%s/pin-refused' exists",
			      token->state_dir);
	}
}

static void say_findings(struct look *look)
{
	struct json_value root = json_root(look->doc), token = json_member(root, "token");

	say_pin(look, json_member(root, "pin"));
	say_module(look, json_member(root, "module"));
	if (token.kind == JSON_ABSENT)
		return;
	say_token(look, token);
	if (!json_is_true(json_member(token, "found")))
		return;
	say_flags(look, token);
	say_room(look, token);
	say_mechanisms(look, json_member(root, "key_types"));
	say_probe(look, token);
}

/* It ended without a document, or did not end. */
static void say_no_document(struct look *look, enum err e)
{
	struct doctor *d = look->d;
	const char *name = look->token->name;

	if (e == E_TIMEOUT || (e == E_OK && look->status == EXIT_CODE_TOKEN_FAILED)) {
		doctor_say(d, doctor_token_bad(look), "module", name, "%s",
			   e == E_TIMEOUT ? "csrd-hsm -i does not finish" : last_error(look));
		doctor_token_put_remedy(
		    look, "see whether the HSM is on and can be reached; try the vendor's tool");
	} else if (e != E_OK) {
		doctor_say(d, DOCTOR_SKIP, "module", name, "csrd-hsm cannot be run: %s", err_str(e));
		doctor_remedy(d, "csrd-hsm belongs beside csrctl, or into ../sbin");
	} else if (look->by_unit && look->status >= SYSTEMD_STATUS_MIN) {
		doctor_say(d, doctor_token_bad(look), "module", name,
			   "systemd cannot set up the sandbox of csrd-hsm@%s: status %d", name, look->status);
		doctor_remedy(
		    d,
		    "systemd.exec(5), \"Process Exit Codes\", says what it is; look at its drop-ins: "
		    "systemctl cat csrd-hsm@%s",
		    name);
	} else if (look->status > 128) {
		doctor_say(d, doctor_token_bad(look), "module", name,
			   "it crashes: csrd-hsm -i died of signal %d", look->status - 128);
		doctor_token_put_remedy(look, "ask the vendor; another version of the module may help");
	} else {
		doctor_say(d, doctor_token_bad(look), "module", name, "csrd-hsm -i ended with %d: %s",
			   look->status, last_error(look));
		doctor_remedy(d, "run csrd-hsm -c '%s' -n %s -i", d->cli->config_path, name);
	}
}

/* csrd-hsm ends at once with a file that has mistakes.  The marker of a refused PIN needs none. */
static void say_without_file(struct doctor *d, const struct config_token *token)
{
	char marker[PATH_MAX];

	snprintf(marker, sizeof(marker), "%s/pin-refused", token->state_dir);
	if (access(marker, F_OK) == 0) {
		doctor_say(d, DOCTOR_WARN, "pin", token->name,
			   "one was refused, or the attempt was cut off; which, is not known before the file "
			   "is right");
		doctor_remedy(d, "correct '%s', then run csrctl doctor again", d->cli->config_path);
	}
	doctor_say(d, DOCTOR_SKIP, "module", token->name,
		   "csrd-hsm accepts no file with mistakes, so module and token cannot be examined");
}

/* ---- all ---- */

void doctor_check_token(struct doctor *d, const struct config_token *token)
{
	struct look look = {.d = d, .token = token, .status = -1};
	char why[JSON_WHY_SIZE];
	struct buf program;
	enum err e;

	if (d->file_is_bad) {
		say_without_file(d, token);
		return;
	}
	buf_init(&program, 4096);
	buf_init(&look.output, DOCUMENT_BYTES_MAX);
	buf_init(&look.errors, ERRORS_BYTES_MAX);
	e = spawn_own_program("csrd-hsm", &program);
	if (e == E_OK && !run_by_unit(&look))
		e = run_child(&look, buf_text(&program));
	if (e == E_OK && json_read(buf_text(&look.output), look.output.len, why, &look.doc) == E_OK)
		say_findings(&look);
	else
		say_no_document(&look, e);
	json_doc_free(look.doc);
	buf_release(&look.errors);
	buf_release(&look.output);
	buf_release(&program);
}
