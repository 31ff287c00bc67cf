/* SPDX-License-Identifier: Apache-2.0 */
/* What can be seen of module, token, PIN file and state folder without a login. */
#include "hsm/signer/serve/inspect.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/utf8.h"
#include "hsm/signer/key/key_kind.h"
#include "hsm/signer/key/probe.h"
#include "hsm/signer/token/module_file.h"
#include "hsm/signer/token/pin_guard.h"
#include "hsm/signer/token/served.h"
#include "hsm/signer/token/state_dir.h"
#include "hsm/signer/token/token.h"
#include "hsm/signer/token/token_info.h"

#include <errno.h>
#include <grp.h>
#include <p11-kit/pkcs11.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOCUMENT_BYTES_MAX (256 * 1024)
#define PIN_BYTES_MAX 255
#define SERVICE_USER "csrd-hsm"

/* ---- JSON (RFC 8259), for which the signer links no library ---- */

struct document {
	struct buf text;
	unsigned depth;
	bool need_comma;
};

static void inspect_put_line(struct document *d)
{
	buf_put_str(&d->text, d->need_comma ? ",\n" : "\n");
	for (unsigned i = 0; i < d->depth; i++)
		buf_put_str(&d->text, "  ");
	d->need_comma = true;
}

static void put_string(struct document *d, const char *text)
{
	size_t len = strlen(text), pos = 0;

	buf_put_u8(&d->text, '"');
	while (pos < len) {
		size_t start = pos;
		uint32_t c;

		if (!utf8_next(text, len, &pos, &c)) {
			pos = start + 1;
			buf_put_str(&d->text, "\\ufffd");
		} else if (c == '"' || c == '\\') {
			buf_printf(&d->text, "\\%c", (int)c);
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(&d->text, "\\u%04x", (unsigned)c);
		} else {
			buf_put(&d->text, text + start, pos - start);
		}
	}
	buf_put_u8(&d->text, '"');
}

/* The names are ours: nothing to escape.  NULL: an item of an array. */
static void inspect_put_name(struct document *d, const char *name)
{
	inspect_put_line(d);
	if (name)
		buf_printf(&d->text, "\"%s\": ", name);
}

static void open_value(struct document *d, const char *name, char bracket)
{
	inspect_put_name(d, name);
	buf_put_u8(&d->text, (uint8_t)bracket);
	d->depth++;
	d->need_comma = false;
}

static void close_value(struct document *d, char bracket)
{
	d->depth--;
	d->need_comma = false;
	inspect_put_line(d);
	buf_put_u8(&d->text, (uint8_t)bracket);
}

static void put_text(struct document *d, const char *name, const char *text)
{
	inspect_put_name(d, name);
	put_string(d, text);
}

static void inspect_put_bool(struct document *d, const char *name, bool value)
{
	inspect_put_name(d, name);
	buf_put_str(&d->text, value ? "true" : "false");
}

/* null for what the token does not tell. */
static void put_number(struct document *d, const char *name, unsigned long value)
{
	inspect_put_name(d, name);
	if (value == CK_UNAVAILABLE_INFORMATION)
		buf_put_str(&d->text, "null");
	else
		buf_printf(&d->text, "%lu", value);
}

static void put_version(struct document *d, const char *name, CK_VERSION version)
{
	inspect_put_name(d, name);
	buf_printf(&d->text, "\"%u.%u\"", version.major, version.minor);
}

/* Texts of PKCS#11 are padded with blanks (v2.40 §3.1). */
static void put_padded(struct document *d, const char *name, const unsigned char *text, size_t len)
{
	char copy[65];

	while (len && (text[len - 1] == ' ' || text[len - 1] == '\0'))
		len--;
	memcpy(copy, text, len);
	copy[len] = '\0';
	put_text(d, name, copy);
}

struct inspection {
	const struct config_token *settings;
	struct document document;
	enum err state_error;
	struct state_dir *state; /* NULL unless state_error is E_OK */
	char served[17];         /* serial number of the token served before; "" for none */
};

static const char *word_of(enum err e)
{
	switch (e) {
	case E_OK:
		return "ok";
	case E_NOTFOUND:
		return "missing";
	case E_DENIED:
		return "denied";
	case E_LIMIT:
		return "too-long";
	case E_INVAL:
		return "empty";
	default:
		return "error";
	}
}

static void put_owner(struct document *d, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return;
	put_number(d, "owner", st.st_uid);
	inspect_put_name(d, "mode");
	buf_printf(&d->text, "\"%04o\"", (unsigned)st.st_mode & 07777u);
}

/* ---- root reads the PIN file alone: no folder of others, and it runs no vendor's code ---- */

static enum exit_code become(const struct passwd *user, uid_t uid, gid_t gid)
{
	if ((user ? initgroups(user->pw_name, user->pw_gid) : setgroups(0, NULL)) ||
	    setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) {
		log_error("cannot become user %lu: %s", (unsigned long)uid, strerror(errno));
		return EXIT_CODE_SYSTEM;
	}
	return EXIT_CODE_OK;
}

static enum exit_code drop_root(const struct inspection *in)
{
	const struct passwd *user;
	struct stat st;

	if (geteuid() != 0)
		return EXIT_CODE_OK;
	if (stat(in->settings->state_dir, &st) == 0) {
		user = st.st_uid ? getpwuid(st.st_uid) : NULL;
		return st.st_uid ? become(user, st.st_uid, user ? user->pw_gid : st.st_gid) : EXIT_CODE_OK;
	}
	user = getpwnam(SERVICE_USER);
	return user ? become(user, user->pw_uid, user->pw_gid) : EXIT_CODE_OK;
}

/* ---- state folder and PIN file ---- */

static void inspect_open_state(struct inspection *in)
{
	in->state_error = state_dir_look(in->settings->state_dir, &in->state);
	if (in->state_error == E_OK && served_serial(in->state, in->settings->uri, in->served) != E_OK)
		in->served[0] = '\0';
}

/* Of the marker that a refused PIN, or an attempt that was cut off, leaves. */
static const char *refused_word(const struct inspection *in, const struct secret *pin)
{
	char pin_name[PATH_MAX];
	unsigned failures = 0;
	struct buf marker;
	enum err e;

	if (in->state_error == E_NOTFOUND)
		return "no"; /* there was no start yet */
	if (in->state_error != E_OK)
		return "unknown";
	buf_init(&marker, 4096);
	e = state_dir_read(in->state, PIN_GUARD_MARKER, &marker);
	buf_release(&marker);
	if (e == E_NOTFOUND)
		return "no";
	if (!pin || !in->served[0])
		return "unknown";
	config_pin_name(in->settings, pin_name, sizeof(pin_name));
	e = pin_guard_check(in->state, in->served, pin_name, pin, &failures);
	if (e == E_BUSY || (e == E_OK && failures)) /* it is tried once more */
		return "no";
	return e == E_OK ? "changed" : e == E_PIN ? "yes" : "unknown";
}

/* The PIN is compared with the marker, and gone again before the module's code runs. */
static enum exit_code look_at_pin(struct inspection *in)
{
	struct document *d = &in->document;
	const char *path = in->settings->pin_file;
	struct secret *pin = NULL;
	enum err e = secret_read_file(path, PIN_BYTES_MAX, &pin);
	enum exit_code code;
	struct stat st;

	open_value(d, "pin", '{');
	put_text(d, "file", path);
	if (e == E_DENIED && stat(path, &st) == 0 && (st.st_mode & S_IRWXO))
		put_text(d, "state", "open-to-others");
	else
		put_text(d, "state", word_of(e));
	put_owner(d, path);
	code = drop_root(in);
	if (code == EXIT_CODE_OK)
		inspect_open_state(in);
	put_text(d, "refused", refused_word(in, pin));
	close_value(d, '}');
	secret_free(pin);
	return code;
}

static void look_at_state(struct inspection *in)
{
	struct document *d = &in->document;
	const char *path = in->settings->state_dir;

	open_value(d, "state_dir", '{');
	put_text(d, "path", path);
	put_text(d, "state", word_of(in->state_error));
	put_owner(d, path);
	if (in->served[0])
		put_text(d, "served_serial", in->served);
	close_value(d, '}');
}

/* ---- the module ---- */

static void put_library(struct document *d, const struct module *module)
{
	CK_INFO info;

	if (module_functions(module)->C_GetInfo(&info) != CKR_OK)
		return;
	put_version(d, "cryptoki", info.cryptokiVersion);
	put_padded(d, "manufacturer", info.manufacturerID, sizeof(info.manufacturerID));
	put_padded(d, "library", info.libraryDescription, sizeof(info.libraryDescription));
	put_version(d, "version", info.libraryVersion);
}

/* What on the way to the module's file others may change, if that was it. */
static void inspect_put_open(struct document *d, const char *module_path)
{
	char *path;

	if (module_file_find_refused(module_path, &path) != E_OK)
		return;
	put_text(d, "open_to_others", path);
	free(path);
}

static enum exit_code look_at_module(struct inspection *in, struct module **ret_module)
{
	struct document *d = &in->document;
	enum err e = module_load(in->settings->module, in->settings->module_init_args, ret_module);

	if (e == E_NOMEM)
		log_error("out of memory");
	open_value(d, "module", '{');
	put_text(d, "path", in->settings->module);
	put_owner(d, in->settings->module);
	inspect_put_bool(d, "loaded", e == E_OK);
	if (e == E_OK)
		put_library(d, *ret_module);
	else if (e == E_CONFIG)
		inspect_put_open(d, in->settings->module);
	close_value(d, '}');
	if (e == E_HSM && in->served[0]) /* as main: many do not initialise while their HSM is away */
		return EXIT_CODE_TOKEN_FAILED;
	return e != E_OK ? EXIT_CODE_NO_MODULE : EXIT_CODE_OK;
}

/* ---- the token ---- */

static void put_flags(struct document *d, CK_FLAGS flags)
{
	static const struct {
		CK_FLAGS flag;
		const char *name;
	} names[] = {
	    {CKF_TOKEN_INITIALIZED, "initialized"},
	    {CKF_USER_PIN_INITIALIZED, "user_pin_initialized"},
	    {CKF_LOGIN_REQUIRED, "login_required"},
	    {CKF_WRITE_PROTECTED, "write_protected"},
	    {CKF_USER_PIN_COUNT_LOW, "user_pin_count_low"},
	    {CKF_USER_PIN_FINAL_TRY, "user_pin_final_try"},
	    {CKF_USER_PIN_LOCKED, "user_pin_locked"},
	    {CKF_USER_PIN_TO_BE_CHANGED, "user_pin_to_be_changed"},
	    {CKF_PROTECTED_AUTHENTICATION_PATH, "protected_authentication_path"},
	};

	open_value(d, "flags", '{');
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		inspect_put_bool(d, names[i].name, flags & names[i].flag);
	close_value(d, '}');
}

static void put_token_info(struct document *d, const struct token *token)
{
	CK_TOKEN_INFO info;

	put_number(d, "slot", token->slot);
	if (token_info_read(token->p11, token->slot, NULL, &info) != CKR_OK)
		return;
	put_padded(d, "label", info.label, sizeof(info.label));
	put_padded(d, "serial", info.serialNumber, sizeof(info.serialNumber));
	put_padded(d, "manufacturer", info.manufacturerID, sizeof(info.manufacturerID));
	put_padded(d, "model", info.model, sizeof(info.model));
	put_version(d, "hardware", info.hardwareVersion);
	put_version(d, "firmware", info.firmwareVersion);
	put_flags(d, info.flags);
	put_number(d, "free_public_memory", info.ulFreePublicMemory);
	put_number(d, "free_private_memory", info.ulFreePrivateMemory);
	put_number(d, "sessions", info.ulSessionCount);
	put_number(d, "sessions_max", info.ulMaxSessionCount); /* 0: as many as one likes */
	put_number(d, "rw_sessions", info.ulRwSessionCount);
	put_number(d, "rw_sessions_max", info.ulMaxRwSessionCount);
}

/* What an earlier start of the signer found out with throw-away keys, if it still holds. */
static void put_probe(struct inspection *in, struct token *token)
{
	token->state = in->state;
	token->module_path = in->settings->module;
	if (in->state && probe_recall(token))
		put_text(&in->document, "probe", token->capabilities);
}

static void put_mechanism(struct document *d, const struct token *token, CK_MECHANISM_TYPE type,
			  const char *name, CK_FLAGS use)
{
	CK_MECHANISM_INFO info;
	bool known = token->p11->C_GetMechanismInfo(token->slot, type, &info) == CKR_OK;

	open_value(d, NULL, '{');
	put_text(d, "name", name);
	inspect_put_bool(d, "offered", known && (info.flags & use));
	if (known) {
		put_number(d, "size_min", info.ulMinKeySize);
		put_number(d, "size_max", info.ulMaxKeySize);
	}
	close_value(d, '}');
}

/* Of an RSA type either of the two signature mechanisms will do. */
static void put_mechanisms(struct document *d, const struct token *token, enum key_family family)
{
	static const struct {
		enum key_family family;
		CK_MECHANISM_TYPE type;
		const char *name;
		CK_FLAGS use;
	} needed[] = {
	    {KEY_FAMILY_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN", CKF_GENERATE_KEY_PAIR},
	    {KEY_FAMILY_RSA, CKM_SHA256_RSA_PKCS, "CKM_SHA256_RSA_PKCS", CKF_SIGN},
	    {KEY_FAMILY_RSA, CKM_RSA_PKCS, "CKM_RSA_PKCS", CKF_SIGN},
	    {KEY_FAMILY_EC, CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", CKF_GENERATE_KEY_PAIR},
	    {KEY_FAMILY_EC, CKM_ECDSA, "CKM_ECDSA", CKF_SIGN},
	    {KEY_FAMILY_EDWARDS, CKM_EC_EDWARDS_KEY_PAIR_GEN, "CKM_EC_EDWARDS_KEY_PAIR_GEN",
	     CKF_GENERATE_KEY_PAIR},
	    {KEY_FAMILY_EDWARDS, CKM_EDDSA, "CKM_EDDSA", CKF_SIGN},
	};

	open_value(d, "mechanisms", '[');
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (needed[i].family == family)
			put_mechanism(d, token, needed[i].type, needed[i].name, needed[i].use);
	close_value(d, ']');
}

static void put_key_types(struct document *d, const struct token *token)
{
	open_value(d, "key_types", '[');
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		open_value(d, NULL, '{');
		put_text(d, "key_type", key_type_name((enum key_type)type));
		inspect_put_bool(d, "offered", token->key_types & KEY_TYPE_BIT(type));
		put_mechanisms(d, token, key_kind((enum key_type)type)->family);
		close_value(d, '}');
	}
	close_value(d, ']');
}

/* E_UNSUPPORTED fills the token in too: what its mechanisms lack is then the question. */
static enum exit_code look_at_token(struct inspection *in, struct module *module)
{
	struct token token = {.allow_usage = in->settings->allow_usage, .template_limit = TEMPLATE_ALL};
	struct document *d = &in->document;
	enum err e = module_find_token(module, in->settings->uri, &token);
	bool found = e == E_OK || e == E_UNSUPPORTED;
	bool exchanged = found && in->served[0] && strcmp(in->served, token.serial) != 0;

	open_value(d, "token", '{');
	put_text(d, "uri", in->settings->uri);
	inspect_put_bool(d, "found", found);
	if (found) {
		inspect_put_bool(d, "exchanged", exchanged);
		put_token_info(d, &token);
		put_probe(in, &token);
	}
	close_value(d, '}');
	if (found)
		put_key_types(d, &token);
	if (exchanged) {
		log_error("token '%s' was exchanged: serial '%s' is there, '%s' was served before",
			  token.label, token.serial, in->served);
		return EXIT_CODE_NO_TOKEN;
	}
	if ((e == E_NOTFOUND || e == E_HSM) && in->served[0])
		return EXIT_CODE_TOKEN_FAILED;
	return e == E_OK ? EXIT_CODE_OK : e == E_CONFIG ? EXIT_CODE_CONFIG : EXIT_CODE_NO_TOKEN;
}

/* ---- all ---- */

/* Before anything is closed: a module may crash on its way out. */
static enum exit_code inspect_print(struct document *d)
{
	enum err e;

	close_value(d, '}');
	buf_put_str(&d->text, "\n");
	e = buf_status(&d->text);
	if (e == E_OK && fwrite(d->text.data + 1, 1, d->text.len - 1, stdout) == d->text.len - 1 &&
	    fflush(stdout) == 0)
		return EXIT_CODE_OK;
	log_error("cannot write the document: %s", e != E_OK ? err_str(e) : strerror(errno));
	return EXIT_CODE_SYSTEM;
}

enum exit_code inspect_run(const struct config_token *settings, struct module **ret_module)
{
	struct inspection in = {.settings = settings, .state_error = E_DENIED};
	enum exit_code code, printed;

	*ret_module = NULL;
	buf_init(&in.document.text, DOCUMENT_BYTES_MAX);
	open_value(&in.document, NULL, '{');
	put_text(&in.document, "name", settings->name);
	code = look_at_pin(&in);
	look_at_state(&in);
	if (code == EXIT_CODE_OK)
		code = look_at_module(&in, ret_module);
	if (code == EXIT_CODE_OK)
		code = look_at_token(&in, *ret_module);
	put_number(&in.document, "exit_code", (unsigned long)code);
	printed = inspect_print(&in.document);
	buf_release(&in.document.text);
	state_dir_close(in.state);
	return printed ? printed : code;
}
