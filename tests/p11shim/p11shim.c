/* SPDX-License-Identifier: Apache-2.0 */
/* The module's face: every function of CK_FUNCTION_LIST, wrapped by call_enter and call_leave. */
#include "tests/p11shim/call.h"
#include "tests/p11shim/module.h"

#include <pthread.h>

/*
 * WRAP(NAME, (parameters), (arguments), fields of struct call …): the fields
 * are what the rules, the fakes and the trace may see.  A PIN is not among them.
 */
#define WRAP(name, parameters, arguments, ...)                                                               \
	static CK_RV wrap_##name parameters                                                                  \
	{                                                                                                    \
		struct call c = {.function = FN_##name, ##__VA_ARGS__};                                      \
                                                                                                             \
		if (call_enter(&c))                                                                          \
			c.rv = module_functions()->name ? module_functions()->name arguments                 \
							: CKR_FUNCTION_NOT_SUPPORTED;                        \
		return call_leave(&c);                                                                       \
	}

#define MECHANISM(m) .mechanism = (m) ? &(m)->mechanism : NULL
#define TEMPLATE(i, t, n) .templates[i] = {(t), (n)}
/* A template that the module may get changed. */
#define GIVEN(i) c.templates[i].attributes, c.templates[i].count

/* The shapes that come again and again. */
#define WRAP_SESSION(name) WRAP(name, (CK_SESSION_HANDLE session), (session), .session = session)
#define WRAP_INIT(name)                                                                                      \
	WRAP(name, (CK_SESSION_HANDLE session, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE key), (session, m, key), \
	     .session = session, MECHANISM(m), .object = key)
#define WRAP_IN(name)                                                                                        \
	WRAP(name, (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len), (session, in, in_len),      \
	     .session = session, .in_len = in_len)
#define WRAP_OUT(name)                                                                                       \
	WRAP(name, (CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len),                       \
	     (session, out, out_len), .session = session, .out = out, .out_len = out_len)
#define WRAP_IN_OUT(name)                                                                                    \
	WRAP(name,                                                                                           \
	     (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len, CK_BYTE_PTR out,                   \
	      CK_ULONG_PTR out_len),                                                                         \
	     (session, in, in_len, out, out_len), .session = session, .in_len = in_len, .out = out,          \
	     .out_len = out_len)
#define WRAP_TEMPLATE(name)                                                                                  \
	WRAP(name, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR t, CK_ULONG n),     \
	     (session, object, t, n), .session = session, .object = object, TEMPLATE(0, t, n))

/* ---- the module, slots, tokens --------------------------------------------------- */

WRAP(C_Initialize, (CK_VOID_PTR arguments), (arguments))
WRAP(C_Finalize, (CK_VOID_PTR reserved), (reserved))
WRAP(C_GetInfo, (CK_INFO_PTR info), (info))
WRAP(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID_PTR slots, CK_ULONG_PTR n), (present, slots, n))
WRAP(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO_PTR info), (slot, info), .slot = &slot)
WRAP(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info), (slot, info), .slot = &slot,
     .token_info = info)
WRAP(C_GetMechanismList, (CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR n), (slot, list, n),
     .slot = &slot)
WRAP(C_GetMechanismInfo, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info),
     (slot, type, info), .slot = &slot, .mechanism = &type)
WRAP(C_InitToken, (CK_SLOT_ID slot, CK_UTF8CHAR_PTR pin, CK_ULONG pin_len, CK_UTF8CHAR_PTR label),
     (slot, pin, pin_len, label), .slot = &slot)
WRAP(C_InitPIN, (CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR pin, CK_ULONG pin_len), (session, pin, pin_len),
     .session = session)
WRAP(C_SetPIN,
     (CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old, CK_ULONG old_len, CK_UTF8CHAR_PTR new,
      CK_ULONG new_len),
     (session, old, old_len, new, new_len), .session = session)
WRAP(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved), (flags, slot, reserved),
     .flags = &flags)

/* ---- sessions -------------------------------------------------------------------- */

WRAP(C_OpenSession,
     (CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
      CK_SESSION_HANDLE_PTR session),
     (slot, flags, application, notify, session), .slot = &slot, .flags = &flags, .new_session = session)
WRAP_SESSION(C_CloseSession)
WRAP(C_CloseAllSessions, (CK_SLOT_ID slot), (slot), .slot = &slot)
WRAP(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info), (session, info),
     .session = session)
WRAP_OUT(C_GetOperationState)
WRAP(C_SetOperationState,
     (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len, CK_OBJECT_HANDLE encryption,
      CK_OBJECT_HANDLE authentication),
     (session, in, in_len, encryption, authentication), .session = session, .in_len = in_len)
WRAP(C_Login, (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG pin_len),
     (session, user, pin, pin_len), .session = session, .user = &user)
WRAP_SESSION(C_Logout)

/* ---- objects --------------------------------------------------------------------- */

WRAP(C_CreateObject, (CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR t, CK_ULONG n, CK_OBJECT_HANDLE_PTR object),
     (session, t, n, object), .session = session, TEMPLATE(0, t, n), .new_objects[0] = object)
WRAP(C_CopyObject,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE from, CK_ATTRIBUTE_PTR t, CK_ULONG n,
      CK_OBJECT_HANDLE_PTR object),
     (session, from, t, n, object), .session = session, .object = from, TEMPLATE(0, t, n),
     .new_objects[0] = object)
WRAP(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object), (session, object),
     .session = session, .object = object)
WRAP(C_GetObjectSize, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG_PTR size),
     (session, object, size), .session = session, .object = object)
WRAP_TEMPLATE(C_GetAttributeValue)
WRAP(C_SetAttributeValue,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR t, CK_ULONG n),
     (session, object, GIVEN(0)), .session = session, .object = object, TEMPLATE(0, t, n))
WRAP(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR t, CK_ULONG n), (session, GIVEN(0)),
     .session = session, TEMPLATE(0, t, n))
WRAP(C_FindObjects, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR found, CK_ULONG max, CK_ULONG_PTR n),
     (session, found, max, n), .session = session, .found_count = n)
WRAP_SESSION(C_FindObjectsFinal)

/* ---- data ------------------------------------------------------------------------ */

WRAP_INIT(C_EncryptInit)
WRAP_IN_OUT(C_Encrypt)
WRAP_IN_OUT(C_EncryptUpdate)
WRAP_OUT(C_EncryptFinal)
WRAP_INIT(C_DecryptInit)
WRAP_IN_OUT(C_Decrypt)
WRAP_IN_OUT(C_DecryptUpdate)
WRAP_OUT(C_DecryptFinal)
WRAP(C_DigestInit, (CK_SESSION_HANDLE session, CK_MECHANISM_PTR m), (session, m), .session = session,
     MECHANISM(m))
WRAP_IN_OUT(C_Digest)
WRAP_IN(C_DigestUpdate)
WRAP(C_DigestKey, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key), (session, key), .session = session,
     .object = key)
WRAP_OUT(C_DigestFinal)
WRAP_INIT(C_SignInit)
WRAP_IN_OUT(C_Sign)
WRAP_IN(C_SignUpdate)
WRAP_OUT(C_SignFinal)
WRAP_INIT(C_SignRecoverInit)
WRAP_IN_OUT(C_SignRecover)
WRAP_INIT(C_VerifyInit)
WRAP(C_Verify,
     (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len, CK_BYTE_PTR signature,
      CK_ULONG signature_len),
     (session, in, in_len, signature, signature_len), .session = session, .in_len = in_len)
WRAP_IN(C_VerifyUpdate)
WRAP_IN(C_VerifyFinal)
WRAP_INIT(C_VerifyRecoverInit)
WRAP_IN_OUT(C_VerifyRecover)
WRAP_IN_OUT(C_DigestEncryptUpdate)
WRAP_IN_OUT(C_DecryptDigestUpdate)
WRAP_IN_OUT(C_SignEncryptUpdate)
WRAP_IN_OUT(C_DecryptVerifyUpdate)
WRAP_IN(C_SeedRandom)
WRAP(C_GenerateRandom, (CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG out_len),
     (session, out, out_len), .session = session, .out = out, .out_len = &out_len)

/* ---- keys ------------------------------------------------------------------------ */

WRAP(C_GenerateKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM_PTR m, CK_ATTRIBUTE_PTR t, CK_ULONG n,
      CK_OBJECT_HANDLE_PTR key),
     (session, m, t, n, key), .session = session, MECHANISM(m), TEMPLATE(0, t, n), .new_objects[0] = key)
WRAP(C_GenerateKeyPair,
     (CK_SESSION_HANDLE session, CK_MECHANISM_PTR m, CK_ATTRIBUTE_PTR pub, CK_ULONG pub_n,
      CK_ATTRIBUTE_PTR priv, CK_ULONG priv_n, CK_OBJECT_HANDLE_PTR pub_key, CK_OBJECT_HANDLE_PTR priv_key),
     (session, m, GIVEN(0), GIVEN(1), pub_key, priv_key), .session = session, MECHANISM(m),
     TEMPLATE(0, pub, pub_n), TEMPLATE(1, priv, priv_n), .new_objects = {pub_key, priv_key})
WRAP(C_WrapKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key,
      CK_BYTE_PTR out, CK_ULONG_PTR out_len),
     (session, m, wrapping, key, out, out_len), .session = session, MECHANISM(m), .object = key, .out = out,
     .out_len = out_len)
WRAP(C_UnwrapKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE unwrapping, CK_BYTE_PTR in,
      CK_ULONG in_len, CK_ATTRIBUTE_PTR t, CK_ULONG n, CK_OBJECT_HANDLE_PTR key),
     (session, m, unwrapping, in, in_len, t, n, key), .session = session, MECHANISM(m), .object = unwrapping,
     .in_len = in_len, TEMPLATE(0, t, n), .new_objects[0] = key)
WRAP(C_DeriveKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE base, CK_ATTRIBUTE_PTR t, CK_ULONG n,
      CK_OBJECT_HANDLE_PTR key),
     (session, m, base, t, n, key), .session = session, MECHANISM(m), .object = base, TEMPLATE(0, t, n),
     .new_objects[0] = key)
WRAP_SESSION(C_GetFunctionStatus)
WRAP_SESSION(C_CancelFunction)

/* ---- the list -------------------------------------------------------------------- */

static CK_RV wrap_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

/* clang-format off */
#define X(name) .name = wrap_##name,
static CK_FUNCTION_LIST functions = { P11_FUNCTIONS(X) };
#undef X
/* clang-format on */

static void set_up(void)
{
	call_set_up();
	functions.version = module_functions()->version;
}

static CK_RV wrap_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	struct call c = {.function = FN_C_GetFunctionList};

	if (call_enter(&c)) {
		c.rv = list ? CKR_OK : CKR_ARGUMENTS_BAD;
		if (list)
			*list = &functions;
	}
	return call_leave(&c);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set_up);
	return wrap_C_GetFunctionList(list);
}
