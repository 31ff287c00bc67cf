/* SPDX-License-Identifier: Apache-2.0 */
/* What can be seen of module, token, PIN file and state folder without a login. */
#include "hsm/signer/serve/inspect.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
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

/* ---- values of PKCS#11 ---- */

/* null for what the token does not tell. */
static void put_number(struct json_writer *w, const char *name, unsigned long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", value);
	json_put_name(w, name);
	json_put_raw(w, value == CK_UNAVAILABLE_INFORMATION ? "null" : text);
}

static void put_version(struct json_writer *w, const char *name, CK_VERSION version)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u", version.major, version.minor);
	json_put_text_member(w, name, text);
}

/* Texts of PKCS#11 are padded with blanks (v2.40 §3.1). */
static void put_padded(struct json_writer *w, const char *name, const unsigned char *text, size_t len)
{
	char copy[65];

	while (len && (text[len - 1] == ' ' || text[len - 1] == '\0'))
		len--;
	memcpy(copy, text, len);
	copy[len] = '\0';
	json_put_text_member(w, name, copy);
}

/* ---- what was seen ---- */

struct inspection {
	const struct config_token *settings;
	struct buf document;
	struct json_writer writer;
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

static void put_owner(struct json_writer *w, const char *path)
{
	struct stat st;
	char mode[8];

	if (stat(path, &st))
		return;
	put_number(w, "owner", st.st_uid);
	snprintf(mode, sizeof(mode), "%04o", (unsigned)st.st_mode & 07777u);
	json_put_text_member(w, "mode", mode);
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
	struct json_writer *w = &in->writer;
	const char *path = in->settings->pin_file;
	struct secret *pin = NULL;
	enum err e = secret_read_file(path, PIN_BYTES_MAX, &pin);
	enum exit_code code;
	struct stat st;

	json_put_name(w, "pin");
	json_open_object(w);
	json_put_text_member(w, "file", path);
	if (e == E_DENIED && stat(path, &st) == 0 && (st.st_mode & S_IRWXO))
		json_put_text_member(w, "state", "open-to-others");
	else
		json_put_text_member(w, "state", word_of(e));
	put_owner(w, path);
	code = drop_root(in);
	if (code == EXIT_CODE_OK)
		inspect_open_state(in);
	json_put_text_member(w, "refused", refused_word(in, pin));
	json_close(w);
	secret_free(pin);
	return code;
}

static void look_at_state(struct inspection *in)
{
	struct json_writer *w = &in->writer;
	const char *path = in->settings->state_dir;

	json_put_name(w, "state_dir");
	json_open_object(w);
	json_put_text_member(w, "path", path);
	json_put_text_member(w, "state", word_of(in->state_error));
	put_owner(w, path);
	if (in->served[0])
		json_put_text_member(w, "served_serial", in->served);
	json_close(w);
}

/* ---- the module ---- */

static void put_library(struct json_writer *w, const struct module *module)
{
	CK_INFO info;

	if (module_functions(module)->C_GetInfo(&info) != CKR_OK)
		return;
	put_version(w, "cryptoki", info.cryptokiVersion);
	put_padded(w, "manufacturer", info.manufacturerID, sizeof(info.manufacturerID));
	put_padded(w, "library", info.libraryDescription, sizeof(info.libraryDescription));
	put_version(w, "version", info.libraryVersion);
}

/* What on the way to the module's file others may change, if that was it. */
static void inspect_put_open(struct json_writer *w, const char *module_path)
{
	char *path;

	if (module_file_find_refused(module_path, &path) != E_OK)
		return;
	json_put_text_member(w, "open_to_others", path);
	free(path);
}

static enum exit_code look_at_module(struct inspection *in, struct module **ret_module)
{
	struct json_writer *w = &in->writer;
	enum err e = module_load(in->settings->module, in->settings->module_init_args, ret_module);

	if (e == E_NOMEM)
		log_error("out of memory");
	json_put_name(w, "module");
	json_open_object(w);
	json_put_text_member(w, "path", in->settings->module);
	put_owner(w, in->settings->module);
	json_put_bool_member(w, "loaded", e == E_OK);
	if (e == E_OK)
		put_library(w, *ret_module);
	else if (e == E_CONFIG)
		inspect_put_open(w, in->settings->module);
	json_close(w);
	if (e == E_HSM && in->served[0]) /* as main: many do not initialise while their HSM is away */
		return EXIT_CODE_TOKEN_FAILED;
	if (e == E_NOMEM)
		return EXIT_CODE_INTERNAL;
	return e != E_OK ? EXIT_CODE_NO_MODULE : EXIT_CODE_OK;
}

/* ---- the token ---- */

static void put_flags(struct json_writer *w, CK_FLAGS flags)
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

	json_put_name(w, "flags");
	json_open_object(w);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		json_put_bool_member(w, names[i].name, flags & names[i].flag);
	json_close(w);
}

static void put_token_info(struct json_writer *w, const struct token *token)
{
	CK_TOKEN_INFO info;

	put_number(w, "slot", token->slot);
	if (token_info_read(token->p11, token->slot, NULL, &info) != CKR_OK)
		return;
	put_padded(w, "label", info.label, sizeof(info.label));
	put_padded(w, "serial", info.serialNumber, sizeof(info.serialNumber));
	put_padded(w, "manufacturer", info.manufacturerID, sizeof(info.manufacturerID));
	put_padded(w, "model", info.model, sizeof(info.model));
	put_version(w, "hardware", info.hardwareVersion);
	put_version(w, "firmware", info.firmwareVersion);
	put_flags(w, info.flags);
	put_number(w, "free_public_memory", info.ulFreePublicMemory);
	put_number(w, "free_private_memory", info.ulFreePrivateMemory);
	put_number(w, "sessions", info.ulSessionCount);
	put_number(w, "sessions_max", info.ulMaxSessionCount); /* 0: as many as one likes */
	put_number(w, "rw_sessions", info.ulRwSessionCount);
	put_number(w, "rw_sessions_max", info.ulMaxRwSessionCount);
}

/* What an earlier start of the signer found out with throw-away keys, if it still holds. */
static void put_probe(struct inspection *in, struct token *token)
{
	token->state = in->state;
	token->module_path = in->settings->module;
	if (in->state && probe_recall(token))
		json_put_text_member(&in->writer, "probe", token->capabilities);
}

static void put_mechanism(struct json_writer *w, const struct token *token, CK_MECHANISM_TYPE type,
			  const char *name, CK_FLAGS use)
{
	CK_MECHANISM_INFO info;
	bool known = token->p11->C_GetMechanismInfo(token->slot, type, &info) == CKR_OK;

	json_open_object(w);
	json_put_text_member(w, "name", name);
	json_put_bool_member(w, "offered", known && (info.flags & use));
	if (known) {
		put_number(w, "size_min", info.ulMinKeySize);
		put_number(w, "size_max", info.ulMaxKeySize);
	}
	json_close(w);
}

/* Of an RSA type either of the two signature mechanisms will do. */
static void put_mechanisms(struct json_writer *w, const struct token *token, enum key_family family)
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

	json_put_name(w, "mechanisms");
	json_open_array(w);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (needed[i].family == family)
			put_mechanism(w, token, needed[i].type, needed[i].name, needed[i].use);
	json_close(w);
}

static void put_key_types(struct json_writer *w, const struct token *token)
{
	json_put_name(w, "key_types");
	json_open_array(w);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		json_open_object(w);
		json_put_text_member(w, "key_type", key_type_name((enum key_type)type));
		json_put_bool_member(w, "offered", token->key_types & KEY_TYPE_BIT(type));
		put_mechanisms(w, token, key_kind((enum key_type)type)->family);
		json_close(w);
	}
	json_close(w);
}

/* E_UNSUPPORTED fills the token in too: what its mechanisms lack is then the question. */
static enum exit_code look_at_token(struct inspection *in, struct module *module)
{
	struct token token = {.allow_usage = in->settings->allow_usage, .template_limit = TEMPLATE_ALL};
	struct json_writer *w = &in->writer;
	enum err e = module_find_token(module, in->settings->uri, &token);
	bool found = e == E_OK || e == E_UNSUPPORTED;
	bool exchanged = found && in->served[0] && strcmp(in->served, token.serial) != 0;

	json_put_name(w, "token");
	json_open_object(w);
	json_put_text_member(w, "uri", in->settings->uri);
	json_put_bool_member(w, "found", found);
	if (found) {
		json_put_bool_member(w, "exchanged", exchanged);
		put_token_info(w, &token);
		put_probe(in, &token);
	}
	json_close(w);
	if (found)
		put_key_types(w, &token);
	if (exchanged) {
		log_error("token '%s' was exchanged: serial '%s' is there, '%s' was served before",
			  token.label, token.serial, in->served);
		return EXIT_CODE_NO_TOKEN;
	}
	if ((e == E_NOTFOUND || e == E_HSM) && in->served[0])
		return EXIT_CODE_TOKEN_FAILED;
	if (e == E_NOMEM)
		return EXIT_CODE_INTERNAL;
	return e == E_OK ? EXIT_CODE_OK : e == E_CONFIG ? EXIT_CODE_CONFIG : EXIT_CODE_NO_TOKEN;
}

/* ---- all ---- */

/* Before anything is closed: a module may crash on its way out. */
static enum exit_code inspect_print(struct inspection *in)
{
	struct buf *b = &in->document;
	enum err e;

	json_close(&in->writer);
	buf_put_str(b, "\n");
	e = buf_status(b);
	if (e == E_OK && fwrite(b->data, 1, b->len, stdout) == b->len && fflush(stdout) == 0)
		return EXIT_CODE_OK;
	log_error("cannot write the document: %s", e != E_OK ? err_str(e) : strerror(errno));
	return EXIT_CODE_SYSTEM;
}

enum exit_code inspect_run(const struct config_token *settings, struct module **ret_module)
{
	struct inspection in = {.settings = settings, .state_error = E_DENIED};
	enum exit_code code, printed;

	*ret_module = NULL;
	buf_init(&in.document, DOCUMENT_BYTES_MAX);
	json_writer_init(&in.writer, &in.document);
	json_write_in_lines(&in.writer);
	json_open_object(&in.writer);
	json_put_text_member(&in.writer, "name", settings->name);
	code = look_at_pin(&in);
	look_at_state(&in);
	if (code == EXIT_CODE_OK)
		code = look_at_module(&in, ret_module);
	if (code == EXIT_CODE_OK)
		code = look_at_token(&in, *ret_module);
	json_put_int_member(&in.writer, "exit_code", code);
	printed = inspect_print(&in);
	buf_release(&in.document);
	state_dir_close(in.state);
	return printed ? printed : code;
}
