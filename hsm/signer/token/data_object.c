/* SPDX-License-Identifier: Apache-2.0 */
/* Makes, finds, reads and destroys data objects. */
#include "hsm/signer/token/data_object.h"

#include "hsm/signer/token/ckr.h"

#include <stdlib.h>
#include <string.h>

#define OBJECTS_MAX 4096

static char application[] = "csrd"; /* never written: Cryptoki's prototypes lack a const */
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS class = CKO_DATA;

enum err data_object_make(struct session *s, const char *label, const struct buf *value, bool fixed,
			  CK_OBJECT_HANDLE *ret_object)
{
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
				   {CKA_TOKEN, &yes, sizeof(yes)},
				   {CKA_PRIVATE, &yes, sizeof(yes)},
				   {CKA_APPLICATION, application, sizeof(application) - 1},
				   {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)},
				   {CKA_VALUE, value->data, value->len},
				   {CKA_MODIFIABLE, &no, sizeof(no)}};
	CK_ULONG len = sizeof(template) / sizeof(template[0]);
	CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
	CK_RV rv = s->token->p11->C_CreateObject(s->handle, template, fixed ? len : len - 1, &object);

	if (rv != CKR_OK)
		return session_fail(s, "C_CreateObject", rv);
	*ret_object = object;
	return E_OK;
}

enum err data_object_search(struct session *s, struct object_handles *ret_objects)
{
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
				   {CKA_TOKEN, &yes, sizeof(yes)},
				   {CKA_APPLICATION, application, sizeof(application) - 1}};

	return object_search(s, template, 3, OBJECTS_MAX, ret_objects);
}

enum err data_object_read(struct session *s, CK_OBJECT_HANDLE object, struct buf *value)
{
	CK_ATTRIBUTE attribute = {CKA_VALUE, NULL, 0};
	CK_RV rv = s->token->p11->C_GetAttributeValue(s->handle, object, &attribute, 1);
	enum err e;

	if (rv != CKR_OK)
		return session_fail(s, "C_GetAttributeValue", rv);
	if (attribute.ulValueLen > DATA_OBJECT_BYTES_MAX) {
		session_explain(s, "a data object has no value, or one that is too long");
		return E_HSM;
	}
	attribute.pValue = malloc(attribute.ulValueLen + 1);
	if (!attribute.pValue)
		return E_NOMEM;
	e = object_read(s, object, &attribute, 1);
	if (e == E_OK) {
		buf_put(value, attribute.pValue, attribute.ulValueLen);
		e = buf_status(value);
	}
	free(attribute.pValue);
	return e;
}

enum err data_object_has_label(struct session *s, CK_OBJECT_HANDLE object, const char *label, bool *ret_has)
{
	char actual[256];
	CK_ATTRIBUTE attribute = {CKA_LABEL, actual, sizeof(actual)};
	enum err e = object_read(s, object, &attribute, 1);

	if (e == E_OK)
		*ret_has =
		    attribute.ulValueLen == strlen(label) && memcmp(actual, label, attribute.ulValueLen) == 0;
	return e;
}

enum err data_object_destroy(struct session *s, CK_OBJECT_HANDLE object)
{
	CK_RV rv = s->token->p11->C_DestroyObject(s->handle, object);

	s->stale = true;
	return rv == CKR_OK || ckr_is_object_gone(rv) ? E_OK : session_fail(s, "C_DestroyObject", rv);
}
