/* SPDX-License-Identifier: Apache-2.0 */
/* Templates that are refused, and templates that are passed on changed. */
#include "tests/p11shim/template.h"
#include "tests/p11shim/call.h"
#include "tests/p11shim/rules.h"
#include "tests/p11shim/trace.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ADDED_MAX 2 /* attributes that may be added to one template */

static const CK_BBOOL yes = CK_TRUE;

static CK_ATTRIBUTE *template_find(const struct attribute_list *t, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; t->attributes && i < t->count; i++) {
		if (t->attributes[i].type == type && t->attributes[i].pValue)
			return &t->attributes[i];
	}
	return NULL;
}

/* ---- refusals -------------------------------------------------------------------- */

static bool has_long_label(const struct call *c)
{
	for (size_t i = 0; i < 2; i++) {
		const CK_ATTRIBUTE *label = template_find(&c->templates[i], CKA_LABEL);

		if (label && label->ulValueLen > c->rules->label_refuse_max)
			return true;
	}
	return false;
}

static CK_RV judge_label(const struct call *c)
{
	bool asks = c->function == FN_C_GenerateKeyPair || c->function == FN_C_FindObjectsInit ||
		    c->function == FN_C_SetAttributeValue;

	if (c->rules->label_refuse_max == 0 || !asks || !has_long_label(c))
		return CKR_OK;
	return c->rules->label_refuse_rv;
}

static CK_RV judge_public_key(const struct call *c)
{
	const CK_ATTRIBUTE *private = template_find(&c->templates[0], CKA_PRIVATE);
	bool open = private && !*(const CK_BBOOL *)private->pValue;

	if (c->function != FN_C_GenerateKeyPair)
		return CKR_OK;
	return open ? c->rules->public_private_rv : c->rules->public_private_demand_rv;
}

static CK_RV judge_data(const struct call *c)
{
	const CK_ATTRIBUTE *class = template_find(&c->templates[0], CKA_CLASS);
	CK_OBJECT_CLASS value = CKO_VENDOR_DEFINED;

	if (c->function != FN_C_CreateObject || !class || class->ulValueLen != sizeof(value))
		return CKR_OK;
	memcpy(&value, class->pValue, sizeof(value));
	return value == CKO_DATA ? c->rules->data_refuse_rv : CKR_OK;
}

static bool is_refused(struct call *c)
{
	CK_RV rv = judge_label(c);

	if (rv == CKR_OK)
		rv = judge_public_key(c);
	if (rv == CKR_OK)
		rv = judge_data(c);
	if (rv != CKR_OK)
		c->rv = rv;
	return rv != CKR_OK;
}

/* ---- changes --------------------------------------------------------------------- */

static bool wants_changes(const struct call *c)
{
	const struct rules *r = c->rules;

	if (c->function != FN_C_GenerateKeyPair && c->function != FN_C_SetAttributeValue &&
	    c->function != FN_C_FindObjectsInit)
		return false;
	return r->label_max || r->id_max || r->id_own || r->label_is_id || r->public_private;
}

static void template_copy(struct call *c, size_t i)
{
	struct attribute_list *t = &c->templates[i];

	if (!t->attributes)
		return;
	c->given[i] = *t;
	t->attributes = calloc(t->count + ADDED_MAX, sizeof(*t->attributes));
	if (!t->attributes)
		trace_fatal("no memory for %lu attributes", t->count);
	memcpy(t->attributes, c->given[i].attributes, t->count * sizeof(*t->attributes));
}

static void template_cut(struct attribute_list *t, CK_ATTRIBUTE_TYPE type, unsigned long max)
{
	CK_ATTRIBUTE *a = template_find(t, type);

	if (max && a && a->ulValueLen > max)
		a->ulValueLen = max;
}

static void template_set(struct attribute_list *t, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
	CK_ATTRIBUTE *a = template_find(t, type);

	if (!t->attributes)
		return;
	if (!a)
		a = &t->attributes[t->count++];
	*a = (CK_ATTRIBUTE){type, (void *)(uintptr_t)value, len};
}

static void template_drop(struct attribute_list *t, CK_ATTRIBUTE_TYPE type)
{
	CK_ATTRIBUTE *a = template_find(t, type);

	if (a)
		*a = t->attributes[--t->count];
}

/* One that no other pair has, of this process or another. */
static void choose_id(struct call *c)
{
	int len = snprintf((char *)c->own_id, sizeof(c->own_id), "own-%d-%llu", (int)getpid(),
			   (unsigned long long)trace_now_us());

	for (size_t i = 0; i < 2; i++)
		template_set(&c->templates[i], CKA_ID, c->own_id, (CK_ULONG)len);
}

/* As a device that counts its objects does; the count begins elsewhere in each process. */
static void choose_short_id(struct call *c)
{
	static atomic_ulong count;
	unsigned long number = atomic_fetch_add(&count, 1);

	if (!number)
		number = atomic_fetch_add(&count, (unsigned long)trace_now_us());
	memcpy(c->own_id, &number, sizeof(number));
	for (size_t i = 0; i < 2; i++) {
		template_set(&c->templates[i], CKA_ID, c->own_id, sizeof(number));
		template_cut(&c->templates[i], CKA_ID, c->rules->id_max);
	}
}

/* One name for the pair: the id, or else the label. */
static void name_by_id(struct call *c)
{
	const CK_ATTRIBUTE *id = template_find(&c->templates[1], CKA_ID);
	CK_ATTRIBUTE name;

	if (!id)
		id = template_find(&c->templates[1], CKA_LABEL);
	if (!id)
		return;
	name = *id;
	for (size_t i = 0; i < 2; i++) {
		template_set(&c->templates[i], CKA_ID, name.pValue, name.ulValueLen);
		template_set(&c->templates[i], CKA_LABEL, name.pValue, name.ulValueLen);
	}
}

static void change_generation(struct call *c)
{
	if (c->rules->id_own)
		choose_id(c);
	else if (c->rules->id_max && !template_find(&c->templates[0], CKA_ID))
		choose_short_id(c);
	if (c->rules->label_is_id)
		name_by_id(c);
	if (c->rules->public_private && !template_find(&c->templates[0], CKA_PRIVATE))
		template_set(&c->templates[0], CKA_PRIVATE, &yes, sizeof(yes));
}

bool template_enter(struct call *c)
{
	if (is_refused(c))
		return false;
	if (!wants_changes(c))
		return true;
	for (size_t i = 0; i < 2; i++) {
		template_copy(c, i);
		template_cut(&c->templates[i], CKA_ID, c->rules->id_max);
		if (c->function != FN_C_FindObjectsInit)
			template_cut(&c->templates[i], CKA_LABEL, c->rules->label_max);
	}
	if (c->function == FN_C_GenerateKeyPair)
		change_generation(c);
	else if (c->function == FN_C_FindObjectsInit && c->rules->label_is_id &&
		 template_find(&c->templates[0], CKA_ID))
		template_drop(&c->templates[0], CKA_LABEL);
	return true;
}

void template_leave(struct call *c)
{
	for (size_t i = 0; i < 2; i++) {
		if (!c->given[i].attributes)
			continue;
		free(c->templates[i].attributes);
		c->templates[i] = c->given[i];
		c->given[i].attributes = NULL;
	}
}
