/* SPDX-License-Identifier: Apache-2.0 */
/* A token with a PIN that locks, a session limit, and falsified answers, none of which SoftHSM has. */
#include "tests/p11shim/fake.h"
#include "tests/p11shim/call.h"
#include "tests/p11shim/module.h"
#include "tests/p11shim/rules.h"
#include "tests/p11shim/session.h"
#include "tests/p11shim/state.h"
#include "tests/p11shim/template.h"
#include "tests/p11shim/trace.h"

#include <stdlib.h>
#include <string.h>

/* User PINs refused since the last good one. */
#define BAD_TRIES "pin.bad-tries"

static bool fired(const struct call *c, size_t i, enum rule_action action)
{
	return c->fired >> i & 1 && c->rules->rule[i].action == action;
}

/* ---- the PIN ------------------------------------------------------------------- */

static bool is_user_login(const struct call *c)
{
	return c->function == FN_C_Login && *c->user == CKU_USER && c->rules->pin_tries > 0;
}

/* The lock is held over the login, so that two wrong ones count two. */
static bool pin_enter(struct call *c)
{
	if (!is_user_login(c))
		return true;
	c->pin_lock = state_lock();
	if (state_value(BAD_TRIES) < c->rules->pin_tries)
		return true;
	c->rv = CKR_PIN_LOCKED;
	return false;
}

static void pin_answer(struct call *c)
{
	if (is_user_login(c)) {
		if (c->rv == CKR_PIN_INCORRECT)
			state_add(BAD_TRIES);
		else if (c->rv == CKR_OK)
			state_reset(BAD_TRIES);
	} else if (c->function == FN_C_InitPIN && c->rv == CKR_OK) {
		state_reset(BAD_TRIES);
	}
	if (c->function == FN_C_Login && c->rv == CKR_PIN_INCORRECT && c->rules->pin_incorrect_rv != CKR_OK)
		c->rv = c->rules->pin_incorrect_rv;
}

static CK_FLAGS pin_flags(CK_FLAGS flags, unsigned long tries)
{
	unsigned long bad = state_value(BAD_TRIES);

	flags &= ~(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
	if (bad > 0)
		flags |= CKF_USER_PIN_COUNT_LOW;
	if (bad >= tries)
		flags |= CKF_USER_PIN_LOCKED;
	else if (bad + 1 == tries)
		flags |= CKF_USER_PIN_FINAL_TRY;
	return flags;
}

/* ---- sessions ------------------------------------------------------------------ */

static bool session_gate(struct call *c)
{
	if (c->function == FN_C_OpenSession && !session_reserve(c->rules->sessions_max)) {
		c->rv = CKR_SESSION_COUNT;
		return false;
	}
	if (c->session) {
		c->in_session = session_enter(c->session);
		c->rv = CKR_SESSION_HANDLE_INVALID;
		return c->in_session;
	}
	return true;
}

/* The module has the PIN from elsewhere: every session is the user's from the start. */
static void log_in(const struct call *c)
{
	const char *pin = c->rules->logged_in_pin;

	if (pin[0])
		module_functions()->C_Login(*c->new_session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)pin,
					    strlen(pin));
}

static void session_books(const struct call *c)
{
	if (c->function == FN_C_OpenSession) {
		if (c->rv == CKR_OK && c->new_session) {
			session_opened(*c->new_session, *c->slot);
			log_in(c);
		} else {
			session_not_opened();
		}
	}
	if (c->rv != CKR_OK)
		return;
	if (c->function == FN_C_CloseSession)
		session_closed(c->session);
	else if (c->function == FN_C_CloseAllSessions)
		session_closed_slot(*c->slot);
	else if (c->function == FN_C_Finalize)
		session_closed_all();
}

/* ---- C_GetTokenInfo -------------------------------------------------------------- */

static void pad_with_nul(CK_UTF8CHAR *text, size_t len)
{
	while (len && text[len - 1] == ' ')
		text[--len] = '\0';
}

static void falsify_text(const struct rule *r, CK_TOKEN_INFO *info)
{
	switch (r->action) {
	case RULE_SERIAL:
		memcpy(info->serialNumber, r->text, sizeof(info->serialNumber));
		break;
	case RULE_LABEL:
		memcpy(info->label, r->text, sizeof(info->label));
		break;
	case RULE_NUL_PADDED:
		pad_with_nul(info->label, sizeof(info->label));
		pad_with_nul(info->manufacturerID, sizeof(info->manufacturerID));
		pad_with_nul(info->model, sizeof(info->model));
		pad_with_nul(info->serialNumber, sizeof(info->serialNumber));
		break;
	default:
		break;
	}
}

static void falsify_token(const struct call *c)
{
	CK_TOKEN_INFO *info = c->token_info;
	const struct rules *rules = c->rules;

	if (!info || c->rv != CKR_OK)
		return;
	if (rules->sessions_max > 0) {
		info->ulMaxSessionCount = rules->sessions_max;
		info->ulMaxRwSessionCount = rules->sessions_max;
		info->ulSessionCount = session_count();
	}
	if (rules->pin_tries > 0)
		info->flags = pin_flags(info->flags, rules->pin_tries);
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *r = &rules->rule[i];

		if (fired(c, i, RULE_FLAGS))
			info->flags = (info->flags | r->set) & ~r->clear;
		else if (c->fired >> i & 1)
			falsify_text(r, info);
	}
}

/* ---- C_GetAttributeValue --------------------------------------------------------- */

/* The module overwrites the sizes of the buffers, so they are kept. */
static void keep_capacities(struct call *c)
{
	const struct attribute_list *t = &c->templates[0];

	if (c->function != FN_C_GetAttributeValue || !c->fired || !t->attributes)
		return;
	c->capacities = calloc(t->count ? t->count : 1, sizeof(*c->capacities));
	if (!c->capacities)
		trace_fatal("no memory for %lu attributes", t->count);
	for (CK_ULONG i = 0; i < t->count; i++)
		c->capacities[i] = t->attributes[i].ulValueLen;
}

static CK_RV falsify_value(const struct rule *r, CK_ATTRIBUTE *a, CK_ULONG capacity)
{
	if (r->falsify == RULE_FALSIFY_ERROR)
		return r->rv;
	if (r->falsify == RULE_FALSIFY_MISSING) {
		a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_ATTRIBUTE_TYPE_INVALID;
	}
	if (a->pValue && capacity < r->bytes_len) {
		a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_BUFFER_TOO_SMALL;
	}
	if (a->pValue)
		memcpy(a->pValue, r->bytes, r->bytes_len);
	a->ulValueLen = r->bytes_len;
	return CKR_OK;
}

/* PKCS#11 §5.7.5: with these the other attributes of the template are answered all the same. */
static bool is_about_one_attribute(CK_RV rv)
{
	return rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
	       rv == CKR_BUFFER_TOO_SMALL;
}

static bool all_answered(const struct attribute_list *t)
{
	for (CK_ULONG i = 0; i < t->count; i++) {
		if (t->attributes[i].ulValueLen == CK_UNAVAILABLE_INFORMATION)
			return false;
	}
	return true;
}

static void falsify_attributes(struct call *c)
{
	const struct attribute_list *t = &c->templates[0];
	CK_RV forced = CKR_OK;

	if (!c->capacities || (c->rv != CKR_OK && !is_about_one_attribute(c->rv)))
		return;
	for (size_t i = 0; i < c->rules->count; i++) {
		const struct rule *r = &c->rules->rule[i];

		if (!fired(c, i, RULE_ATTRIBUTE))
			continue;
		for (CK_ULONG k = 0; k < t->count; k++) {
			CK_ATTRIBUTE *a = &t->attributes[k];
			CK_RV rv = a->type == r->attribute ? falsify_value(r, a, c->capacities[k]) : CKR_OK;

			if (rv != CKR_OK)
				forced = rv;
		}
	}
	if (forced != CKR_OK)
		c->rv = forced;
	else if (all_answered(t))
		c->rv = CKR_OK;
}

/* ---- data ------------------------------------------------------------------------ */

static void corrupt(const struct call *c)
{
	if (c->rv != CKR_OK || !c->out || *c->out_len == 0)
		return;
	for (size_t i = 0; i < c->rules->count; i++) {
		if (fired(c, i, RULE_CORRUPT))
			c->out[*c->out_len / 2] ^= 0x01;
	}
}

/* ---- mechanisms ------------------------------------------------------------------ */

/* The caller's own mechanism, for the time of the call. */
static void put_mechanism(const struct call *c, CK_MECHANISM_TYPE type)
{
	*(CK_MECHANISM_TYPE *)(uintptr_t)c->mechanism = type;
}

static void replace_mechanism(struct call *c)
{
	if (!c->rules->mechanism_is || !c->mechanism || *c->mechanism != c->rules->mechanism_from)
		return;
	put_mechanism(c, c->rules->mechanism_to);
	c->mechanism_replaced = true;
}

static void restore_mechanism(struct call *c)
{
	if (c->mechanism_replaced)
		put_mechanism(c, c->rules->mechanism_from);
	c->mechanism_replaced = false;
}

/* ---- a public key that goes with its private key ----------------------------------- */

/* Public keys cannot be destroyed by themselves, or are gone already. */
static bool pair_gate(struct call *c)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_ATTRIBUTE about[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_ID, c->pair_id, sizeof(c->pair_id)}};
	CK_RV rv;

	if (!c->rules->pair_destroy || c->function != FN_C_DestroyObject)
		return true;
	rv = module_functions()->C_GetAttributeValue(c->session, c->object, about, 2);
	if (rv == CKR_OK && class == CKO_PRIVATE_KEY) {
		c->pair_id_len = about[1].ulValueLen;
		return true;
	}
	if (rv == CKR_OK && c->rules->pair_destroy_rv != CKR_OK)
		return true;
	c->rv = c->rules->pair_destroy_rv;
	return false;
}

static void destroy_partner(const struct call *c)
{
	CK_FUNCTION_LIST *module = module_functions();
	CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
				   {CKA_ID, (void *)(uintptr_t)c->pair_id, c->pair_id_len}};
	CK_OBJECT_HANDLE partner;
	CK_ULONG found = 0;

	if (!c->pair_id_len || c->rv != CKR_OK ||
	    module->C_FindObjectsInit(c->session, template, 2) != CKR_OK)
		return;
	module->C_FindObjects(c->session, &partner, 1, &found);
	module->C_FindObjectsFinal(c->session);
	if (found)
		module->C_DestroyObject(c->session, partner);
}

/* ---- the doors ------------------------------------------------------------------- */

bool fake_enter(struct call *c)
{
	c->pin_lock = -1;
	if (!session_gate(c) || !pin_enter(c) || !pair_gate(c) || !template_enter(c))
		return false;
	replace_mechanism(c);
	keep_capacities(c);
	return true;
}

void fake_answer(struct call *c)
{
	template_leave(c);
	restore_mechanism(c);
	session_books(c);
	pin_answer(c);
	falsify_token(c);
	falsify_attributes(c);
	corrupt(c);
	destroy_partner(c);
	state_unlock(c->pin_lock);
	c->pin_lock = -1;
}

void fake_leave(struct call *c)
{
	state_unlock(c->pin_lock);
	template_leave(c);
	free(c->capacities);
	if (c->in_session)
		session_leave(c->session);
}
