/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the PKCS#11 module and finds the token. */
#include "hsm/signer/token/module.h"

#include "base/buf.h"
#include "base/log.h"
#include "hsm/signer/key/key_kind.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/guard.h"
#include "hsm/signer/token/module_file.h"
#include "hsm/signer/token/token_info.h"
#include "hsm/signer/token/watchdog.h"

#include <dlfcn.h>
#include <errno.h>
#include <libp11.h>
#include <openssl/err.h>
#include <p11-kit/uri.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MAX 65536   /* what a module says beyond that is nonsense */
#define SLOT_LIST_TRIES 4 /* it may grow between two calls */

struct module {
	char *path;      /* as configured: for the log */
	char *file;      /* what it leads to, looked at: this is loaded */
	void *dl;        /* held by us besides libp11, so the function list outlives no mapping */
	char *init_args; /* NULL: none */
	PKCS11_CTX *ctx;
	bool loaded;              /* libp11 has initialised it */
	bool initialised;         /* by our own function list */
	CK_FUNCTION_LIST_PTR p11; /* guard.h's */
	P11KitUri *uri;           /* by which the token was found; NULL: not yet */
};

/* ---- load ---- */

static enum err load_functions(struct module *m)
{
	CK_FUNCTION_LIST_PTR functions = NULL;
	CK_C_GetFunctionList get_functions;
	CK_RV rv;
	bool no_memory;

	/* Before libp11, which keeps the reason of a failure to itself. */
	watchdog_enter(WATCHDOG_OTHER, "dlopen");
	errno = 0;
	m->dl = dlopen(m->file, RTLD_NOW | RTLD_LOCAL);
	no_memory = errno == ENOMEM;
	watchdog_leave();
	if (!m->dl) {
		const char *reason = dlerror();

		log_error("pkcs#11 module '%s' does not load: %s", m->path,
			  reason ? reason : "unknown reason");
		return no_memory ? E_NOMEM : E_UNSUPPORTED;
	}
	*(void **)&get_functions = dlsym(m->dl, "C_GetFunctionList");
	if (!get_functions) {
		log_error("'%s' is not a pkcs#11 module: it has no C_GetFunctionList", m->path);
		return E_UNSUPPORTED;
	}
	watchdog_enter(WATCHDOG_OTHER, "C_GetFunctionList");
	rv = get_functions(&functions);
	watchdog_leave();
	if (rv != CKR_OK || !functions) {
		log_error("pkcs#11 module '%s': C_GetFunctionList: %s (0x%lx)", m->path, CKR_ARGS(rv));
		return E_HSM;
	}
	m->p11 = guard_functions(functions);
	return E_OK;
}

/*
 * Some modules (those of p11-kit) hand out a new instance at each
 * C_GetFunctionList, so that what libp11 initialises is not what we call.
 * NSS reads one field more than PKCS#11 has, and it must be NULL.
 */
static CK_RV initialise_functions(const struct module *m)
{
	struct {
		CK_C_INITIALIZE_ARGS arguments;
		void *end;
	} nss;
	CK_RV rv;

	memset(&nss, 0, sizeof(nss));
	nss.arguments.flags = CKF_OS_LOCKING_OK;
	nss.arguments.pReserved = m->init_args;
	rv = m->p11->C_Initialize(&nss.arguments);
	return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

static enum err initialise_libp11(struct module *m)
{
	int rc;

	m->ctx = PKCS11_CTX_new();
	if (!m->ctx)
		return E_NOMEM;
	if (m->init_args)
		PKCS11_CTX_init_args(m->ctx, m->init_args);
	watchdog_enter(WATCHDOG_OTHER, "C_Initialize");
	rc = PKCS11_CTX_load(m->ctx, m->file);
	watchdog_leave();
	if (rc) {
		const char *reason = ERR_reason_error_string(ERR_peek_last_error());

		log_error("pkcs#11 module '%s' does not initialise: %s", m->path,
			  reason ? reason : "unknown reason");
		ERR_clear_error();
		return E_HSM;
	}
	m->loaded = true;
	return E_OK;
}

static enum err initialise(struct module *m)
{
	CK_RV rv = initialise_functions(m);

	if (rv != CKR_OK) {
		log_error("pkcs#11 module '%s' does not initialise: C_Initialize: %s (0x%lx)%s", m->path,
			  CKR_ARGS(rv),
			  rv != CKR_ARGUMENTS_BAD ? ""
			  : m->init_args          ? "; see module_init_args"
						  : "; it may want module_init_args");
		return E_HSM;
	}
	m->initialised = true;
	return initialise_libp11(m);
}

/* Ours, and libp11's, which need not be the same. */
static void finalise(struct module *m)
{
	if (m->initialised)
		m->p11->C_Finalize(NULL); /* it may have lost its initialisation already */
	m->initialised = false;
	if (!m->loaded)
		return;
	m->loaded = false;
	watchdog_enter(WATCHDOG_OTHER, "C_Finalize");
	PKCS11_CTX_unload(m->ctx);
	watchdog_leave();
}

enum err module_load(const char *path, const char *init_args, struct module **ret_module)
{
	struct module *m = calloc(1, sizeof(*m));
	enum err e;

	if (!m || !(m->path = strdup(path)) || (init_args && !(m->init_args = strdup(init_args)))) {
		e = E_NOMEM;
		goto out;
	}
	if ((e = module_file_find(path, &m->file)) != E_OK || (e = load_functions(m)) != E_OK ||
	    (e = initialise(m)) != E_OK)
		goto out;
	*ret_module = m;
	m = NULL;
out:
	module_free(m);
	return e;
}

void module_free(struct module *m)
{
	if (!m)
		return;
	finalise(m);
	if (m->ctx)
		PKCS11_CTX_free(m->ctx);
	if (m->dl)
		dlclose(m->dl);
	if (m->uri)
		p11_kit_uri_free(m->uri);
	free(m->init_args);
	free(m->file);
	free(m->path);
	free(m);
}

CK_FUNCTION_LIST_PTR module_functions(const struct module *m)
{
	return m->p11;
}

/* ---- the URI ---- */

static bool attribute_is_allowed(const char *name, size_t len)
{
	static const char *const allowed[] = {"token", "serial", "manufacturer", "model", "slot-id"};

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (strlen(allowed[i]) == len && strncmp(allowed[i], name, len) == 0)
			return true;
	return false;
}

static enum err module_check_attributes(const char *uri, const char **ret_reason)
{
	const char *at = uri;

	if (strncmp(at, "pkcs11:", 7) != 0) {
		*ret_reason = "it does not begin with 'pkcs11:'";
		return E_CONFIG;
	}
	if (strchr(at, '?')) {
		*ret_reason = "it has a query part (a pin or a module path does not belong there)";
		return E_CONFIG;
	}
	for (at += 7; *at; at += strcspn(at, ";"), at += *at == ';') {
		if (!attribute_is_allowed(at, strcspn(at, "=;"))) {
			*ret_reason =
			    "it has an attribute other than token, serial, manufacturer, model and slot-id";
			return E_CONFIG;
		}
	}
	return E_OK;
}

/* *ret_uri is to be freed with p11_kit_uri_free. */
static enum err parse_uri(const char *text, const char **ret_reason, P11KitUri **ret_uri)
{
	P11KitUri *uri;
	int rc;
	enum err e = module_check_attributes(text, ret_reason);

	if (e != E_OK)
		return e;
	uri = p11_kit_uri_new();
	if (!uri) {
		*ret_reason = "out of memory";
		return E_NOMEM;
	}
	errno = 0;
	rc = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri);
	if (rc != P11_KIT_URI_OK && errno == ENOMEM) { /* p11-kit says that it is not well encoded */
		*ret_reason = "out of memory";
		p11_kit_uri_free(uri);
		return E_NOMEM;
	}
	if (rc != P11_KIT_URI_OK || p11_kit_uri_any_unrecognized(uri)) {
		*ret_reason = rc != P11_KIT_URI_OK ? p11_kit_uri_message(rc) : "it has an unknown attribute";
		p11_kit_uri_free(uri);
		return E_CONFIG;
	}
	*ret_uri = uri;
	return E_OK;
}

enum err module_check_uri(const char *text, const char **ret_reason)
{
	P11KitUri *uri;
	enum err e = parse_uri(text, ret_reason, &uri);

	if (e == E_OK)
		p11_kit_uri_free(uri);
	return e;
}

/* ---- the token ---- */

static void fill_token(const struct module *m, CK_SLOT_ID slot, const CK_TOKEN_INFO *info, struct token *t)
{
	t->p11 = m->p11;
	t->slot = slot;
	token_info_trim(t->label, info->label, sizeof(info->label));
	token_info_trim(t->serial, info->serialNumber, sizeof(info->serialNumber));
	token_info_trim(t->manufacturer, info->manufacturerID, sizeof(info->manufacturerID));
	token_info_trim(t->model, info->model, sizeof(info->model));
	t->flags = info->flags;
	t->max_pin_len = info->ulMaxPinLen == CK_UNAVAILABLE_INFORMATION ? 0 : info->ulMaxPinLen;
}

static void pad(unsigned char *text, size_t len)
{
	for (; len && text[len - 1] == '\0'; len--)
		text[len - 1] = ' ';
}

static bool module_fits(P11KitUri *uri, CK_SLOT_ID slot, const CK_TOKEN_INFO *info)
{
	CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri);
	CK_TOKEN_INFO padded = *info; /* p11-kit knows blanks only */

	pad(padded.label, sizeof(padded.label));
	pad(padded.manufacturerID, sizeof(padded.manufacturerID));
	pad(padded.model, sizeof(padded.model));
	pad(padded.serialNumber, sizeof(padded.serialNumber));
	return p11_kit_uri_match_token_info(uri, &padded) && (wanted == (CK_SLOT_ID)-1 || wanted == slot);
}

/*
 * The slots with a token.  NULL first: some modules look for new slots only
 * then.  *ret_slots is owned; E_NOMEM; E_HSM, with *ret_rv.
 */
static enum err list_present(CK_FUNCTION_LIST_PTR p11, CK_SLOT_ID **ret_slots, CK_ULONG *ret_len,
			     CK_RV *ret_rv)
{
	*ret_rv = CKR_OK;
	for (int tries = 0; tries < SLOT_LIST_TRIES; tries++) {
		CK_ULONG room = 0, len;
		CK_SLOT_ID *slots;

		if ((*ret_rv = p11->C_GetSlotList(CK_TRUE, NULL, &room)) != CKR_OK)
			return E_HSM;
		room = room < SLOTS_MAX ? room + 1 : SLOTS_MAX; /* for one that comes meanwhile */
		slots = calloc(room, sizeof(*slots));
		if (!slots)
			return E_NOMEM;
		len = room;
		*ret_rv = p11->C_GetSlotList(CK_TRUE, slots, &len);
		if (*ret_rv == CKR_OK) {
			*ret_slots = slots;
			*ret_len = len < room ? len : room;
			return E_OK;
		}
		free(slots);
		if (*ret_rv != CKR_BUFFER_TOO_SMALL)
			break;
	}
	return E_HSM;
}

/* libp11 asks all slots in one call, and gives up at the first that fails: E_HSM. */
static enum err list_slots_libp11(struct module *m, CK_ULONG present, CK_SLOT_ID **ret_ids, CK_ULONG *ret_len)
{
	PKCS11_SLOT *slots = NULL;
	unsigned slots_len = 0;
	CK_SLOT_ID *ids;
	CK_ULONG len = 0;
	int rc;

	watchdog_enter_many(WATCHDOG_OTHER, "C_GetSlotList", present);
	rc = PKCS11_enumerate_slots(m->ctx, &slots, &slots_len);
	watchdog_leave();
	if (rc) {
		ERR_clear_error();
		return E_HSM;
	}
	ids = calloc(slots_len + 1, sizeof(*ids));
	for (unsigned i = 0; i < slots_len && ids; i++)
		if (slots[i].token)
			ids[len++] = PKCS11_get_slotid_from_slot(&slots[i]);
	if (slots) {
		watchdog_enter(WATCHDOG_OTHER, "release of the slots");
		PKCS11_release_all_slots(m->ctx, slots, slots_len);
		watchdog_leave();
	}
	if (!ids)
		return E_NOMEM;
	*ret_ids = ids;
	*ret_len = len;
	return E_OK;
}

/* One slot that fails is no reason not to use the others. */
static enum err list_slots(struct module *m, CK_SLOT_ID **ret_ids, CK_ULONG *ret_len)
{
	CK_SLOT_ID *present = NULL;
	CK_ULONG present_len = 0;
	CK_RV rv;
	enum err e = list_present(m->p11, &present, &present_len, &rv);

	if (e == E_HSM)
		log_error("cannot list the slots of '%s': C_GetSlotList: %s (0x%lx)", m->path, CKR_ARGS(rv));
	if (e != E_OK)
		return e;
	e = list_slots_libp11(m, present_len, ret_ids, ret_len);
	if (e != E_HSM) {
		free(present);
		return e;
	}
	*ret_ids = present;
	*ret_len = present_len;
	return E_OK;
}

/* What is in a slot goes into `present` for the log; true when that is a token that can be used. */
static bool look_at_slot(struct module *m, CK_SLOT_ID slot, struct buf *present, CK_TOKEN_INFO *info,
			 struct token *t)
{
	CK_RV rv = token_info_read(m->p11, slot, NULL, info);

	if (present->len)
		buf_put_str(present, ", ");
	if (rv != CKR_OK) {
		buf_printf(present, "slot %lu: C_GetTokenInfo: %s (0x%lx)", slot, CKR_ARGS(rv));
		return false;
	}
	if (!(info->flags & CKF_TOKEN_INITIALIZED)) {
		buf_printf(present, "slot %lu: not initialised", slot);
		return false;
	}
	fill_token(m, slot, info, t);
	buf_printf(present, "'%s' serial '%s' slot %lu", t->label, t->serial, slot);
	return true;
}

/* Every slot goes into `present` for the log; the last token that fits into *ret_token. */
static enum err look_at_slots(struct module *m, P11KitUri *uri, struct buf *present, unsigned *ret_count,
			      struct token *ret_token)
{
	CK_SLOT_ID *slots = NULL;
	CK_ULONG slots_len = 0;
	unsigned count = 0;
	enum err e = list_slots(m, &slots, &slots_len);

	if (e != E_OK)
		return e;
	for (CK_ULONG i = 0; i < slots_len; i++) {
		CK_TOKEN_INFO info;
		struct token t = *ret_token;

		if (!look_at_slot(m, slots[i], present, &info, &t) || !module_fits(uri, slots[i], &info))
			continue;
		count++;
		*ret_token = t;
	}
	free(slots);
	*ret_count = count;
	return E_OK;
}

/*
 * Sizes are the bits of modulus or field; 0 for the largest is a module that
 * does not say.  For Edwards curves modules count in different ways: bits 0
 * asks for no size.
 */
static bool offers(const struct token *t, CK_MECHANISM_TYPE mechanism, CK_FLAGS flag, int bits)
{
	CK_MECHANISM_INFO info;
	CK_ULONG size = (CK_ULONG)bits;

	if (t->p11->C_GetMechanismInfo(t->slot, mechanism, &info) != CKR_OK || !(info.flags & flag))
		return false;
	return !size || !info.ulMaxKeySize || (size >= info.ulMinKeySize && size <= info.ulMaxKeySize);
}

static bool generates_rsa(const struct token *t, int bits)
{
	const struct key_way *way;

	for (unsigned i = 0; (way = key_way(KEY_FAMILY_RSA, i)); i++)
		if (offers(t, way->mechanism, CKF_GENERATE_KEY_PAIR, bits))
			return true;
	return false;
}

/* Flags are asked for: some modules list mechanisms that they only verify with. */
static bool makes(const struct token *t, const struct key_kind *kind)
{
	const CK_MECHANISM_TYPE sign_rsa = t->signs_sha256_rsa ? CKM_SHA256_RSA_PKCS : CKM_RSA_PKCS;

	switch (kind->family) {
	case KEY_FAMILY_RSA:
		return generates_rsa(t, kind->bits) && offers(t, sign_rsa, CKF_SIGN, kind->bits);
	case KEY_FAMILY_EC:
		return offers(t, CKM_EC_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, kind->bits) &&
		       offers(t, CKM_ECDSA, CKF_SIGN, kind->bits);
	case KEY_FAMILY_EDWARDS:
		return offers(t, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, 0) &&
		       offers(t, CKM_EDDSA, CKF_SIGN, 0);
	}
	return false;
}

static void look_at_mechanisms(struct token *t)
{
	t->signs_sha256_rsa = offers(t, CKM_SHA256_RSA_PKCS, CKF_SIGN, 0);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		if (makes(t, key_kind((enum key_type)type)))
			t->key_types |= KEY_TYPE_BIT(type);
}

enum err module_find_token(struct module *m, const char *uri_text, struct token *ret_token)
{
	struct token found = {.allow_usage = ret_token->allow_usage,
			      .template_limit = ret_token->template_limit};
	const char *reason = "";
	P11KitUri *uri = NULL;
	unsigned count = 0;
	struct buf present;
	enum err e;

	buf_init(&present, 16384);
	if ((e = parse_uri(uri_text, &reason, &uri)) != E_OK) {
		log_error("token uri refused: %s",
			  reason); /* not its text: somebody may have put a pin into it */
		goto out;
	}
	if ((e = look_at_slots(m, uri, &present, &count, &found)) != E_OK)
		goto out;
	if (count != 1) {
		log_error("%s token fits '%s' in '%s'; present: %s", count ? "more than one" : "no", uri_text,
			  m->path, present.len ? buf_text(&present) : "none");
		e = count ? E_EXISTS : E_NOTFOUND;
		goto out;
	}
	look_at_mechanisms(&found);
	if (!found.key_types) {
		*ret_token = found;
		log_error("token '%s' makes no keys of a known type that it can sign with", found.label);
		e = E_UNSUPPORTED;
		goto out;
	}
	quirks_find(m->ctx->manufacturer, m->ctx->description, &found.quirks);
	found.template_limit &= found.quirks.template_options;
	*ret_token = found;
	m->uri = uri;
	uri = NULL;
out:
	if (uri)
		p11_kit_uri_free(uri);
	buf_release(&present);
	return e;
}

/* ---- again ---- */

/* In that slot is another than ours: one of the same label, or one that the URI does not mean. */
static void explain_other(const struct token *t, const CK_TOKEN_INFO *info, CK_SLOT_ID slot, char reason[256],
			  enum err *e)
{
	struct token there;

	token_info_trim(there.label, info->label, sizeof(info->label));
	token_info_trim(there.serial, info->serialNumber, sizeof(info->serialNumber));
	if (strcmp(there.label, t->label) != 0)
		return;
	*e = E_NOTFOUND;
	if (strcmp(there.serial, t->serial) != 0)
		snprintf(reason, 256,
			 "token '%s' was exchanged: serial '%s' is there, expected '%s'; refused", t->label,
			 there.serial, t->serial);
	else
		snprintf(reason, 256,
			 "token '%s' with serial '%s' in slot %lu is not the one of the uri; refused",
			 t->label, t->serial, slot);
}

/*
 * Without libp11, whose view of the slots is of the first initialisation.
 * Everything that the URI says has to fit again, since serial numbers need not
 * be unique, and on one token alone: the PIN is not shown to another.
 */
static enum err find_again(const struct module *m, struct token *t, char reason[256])
{
	CK_SLOT_ID *slots = NULL;
	CK_ULONG len = 0, found = 0;
	enum err e;
	CK_RV rv;

	if ((e = list_present(t->p11, &slots, &len, &rv)) != E_OK) {
		snprintf(reason, 256, "C_GetSlotList: %s (0x%lx)",
			 e == E_NOMEM ? "out of memory" : ckr_name(rv), rv);
		return E_UNAVAIL;
	}
	e = E_UNAVAIL;
	snprintf(reason, 256, "token '%s' with serial '%s' is not there", t->label, t->serial);
	for (CK_ULONG i = 0; i < len; i++) {
		CK_TOKEN_INFO info;

		if (token_info_read(t->p11, slots[i], NULL, &info) != CKR_OK)
			continue;
		if (token_info_is_of(t, &info) && module_fits(m->uri, slots[i], &info)) {
			t->slot = slots[i];
			found++;
		} else {
			explain_other(t, &info, slots[i], reason, &e);
		}
	}
	free(slots);
	if (found > 1)
		snprintf(reason, 256, "token '%s' with serial '%s' is there more than once; refused",
			 t->label, t->serial);
	return found == 1 ? E_OK : found ? E_NOTFOUND : e;
}

enum err module_restart(struct module *m, struct token *t, char reason[256])
{
	CK_RV rv;

	finalise(m);
	rv = initialise_functions(m);
	if (rv != CKR_OK) {
		snprintf(reason, 256, "C_Initialize: %s (0x%lx)", CKR_ARGS(rv));
		return E_HSM;
	}
	m->initialised = true;
	return find_again(m, t, reason);
}
