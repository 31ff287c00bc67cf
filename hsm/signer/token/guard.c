/* SPDX-License-Identifier: Apache-2.0 */
/* The PKCS#11 functions that the signer uses, each under the watchdog. */
#include "hsm/signer/token/guard.h"

#include "hsm/signer/token/watchdog.h"

/* What a module loses is not ours to mend (SoftHSM 2.6.1: 37 bytes for each use of an Ed25519 key). */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define LEAKS_BEGIN() __lsan_disable()
#define LEAKS_END() __lsan_enable()
#else
#define LEAKS_BEGIN() (void)0
#define LEAKS_END() (void)0
#endif

#define LARGE_MODULUS_BITS 2048 /* more than these take another order of time */

static CK_FUNCTION_LIST_PTR module; /* the functions below have no context of their own */

#define GUARDED(name, kind, parameters, arguments)                                                           \
	static CK_RV guarded_##name parameters                                                               \
	{                                                                                                    \
		CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;                                                       \
                                                                                                             \
		watchdog_enter(kind, #name);                                                                 \
		LEAKS_BEGIN();                                                                               \
		if (module->name)                                                                            \
			rv = module->name arguments;                                                         \
		LEAKS_END();                                                                                 \
		watchdog_leave();                                                                            \
		return rv;                                                                                   \
	}

static enum watchdog_kind kind_of_generation(const CK_ATTRIBUTE *template, CK_ULONG len)
{
	for (CK_ULONG i = 0; i < len; i++)
		if (template[i].type == CKA_MODULUS_BITS && template[i].ulValueLen == sizeof(CK_ULONG) &&
		    *(const CK_ULONG *)template[i].pValue > LARGE_MODULUS_BITS)
			return WATCHDOG_GENERATE_LARGE;
	return WATCHDOG_GENERATE;
}

GUARDED(C_Initialize, WATCHDOG_OTHER, (void *arguments), (arguments))
GUARDED(C_Finalize, WATCHDOG_OTHER, (void *reserved), (reserved))
GUARDED(C_GetInfo, WATCHDOG_OTHER, (CK_INFO * info), (info))
GUARDED(C_GetSlotList, WATCHDOG_OTHER, (unsigned char present, CK_SLOT_ID *slots, CK_ULONG *len),
	(present, slots, len))
GUARDED(C_GetSlotInfo, WATCHDOG_OTHER, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info))
GUARDED(C_GetTokenInfo, WATCHDOG_OTHER, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info))
GUARDED(C_GetMechanismList, WATCHDOG_OTHER, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *len),
	(slot, list, len))
GUARDED(C_GetMechanismInfo, WATCHDOG_OTHER,
	(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info), (slot, type, info))
GUARDED(C_OpenSession, WATCHDOG_OTHER,
	(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session),
	(slot, flags, application, notify, session))
GUARDED(C_CloseSession, WATCHDOG_OTHER, (CK_SESSION_HANDLE session), (session))
GUARDED(C_CloseAllSessions, WATCHDOG_OTHER, (CK_SLOT_ID slot), (slot))
GUARDED(C_GetSessionInfo, WATCHDOG_OTHER, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info))
GUARDED(C_Login, WATCHDOG_OTHER,
	(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len),
	(session, user, pin, len))
GUARDED(C_Logout, WATCHDOG_OTHER, (CK_SESSION_HANDLE session), (session))
GUARDED(C_DestroyObject, WATCHDOG_OTHER, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object),
	(session, object))
GUARDED(C_GetAttributeValue, WATCHDOG_OTHER,
	(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG len),
	(session, object, template, len))
GUARDED(C_CreateObject, WATCHDOG_OTHER,
	(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG len, CK_OBJECT_HANDLE *object),
	(session, template, len, object))
GUARDED(C_FindObjectsInit, WATCHDOG_OTHER, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG len),
	(session, template, len))
GUARDED(C_FindObjects, WATCHDOG_OTHER,
	(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *len),
	(session, objects, max, len))
GUARDED(C_FindObjectsFinal, WATCHDOG_OTHER, (CK_SESSION_HANDLE session), (session))
GUARDED(C_SignInit, WATCHDOG_SIGN, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	(session, mechanism, key))
GUARDED(C_Sign, WATCHDOG_SIGN,
	(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len, unsigned char *signature,
	 CK_ULONG *signature_len),
	(session, data, len, signature, signature_len))
GUARDED(C_GenerateKeyPair, kind_of_generation(public_template, public_len),
	(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
	 CK_ULONG public_len, CK_ATTRIBUTE *private_template, CK_ULONG private_len,
	 CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key),
	(session, mechanism, public_template, public_len, private_template, private_len, public_key,
	 private_key))

#define ENTRY(name) .name = guarded_##name

static CK_FUNCTION_LIST guarded = {
    .version = {CRYPTOKI_VERSION_MAJOR, CRYPTOKI_VERSION_MINOR},
    ENTRY(C_Initialize),
    ENTRY(C_Finalize),
    ENTRY(C_GetInfo),
    ENTRY(C_GetSlotList),
    ENTRY(C_GetSlotInfo),
    ENTRY(C_GetTokenInfo),
    ENTRY(C_GetMechanismList),
    ENTRY(C_GetMechanismInfo),
    ENTRY(C_OpenSession),
    ENTRY(C_CloseSession),
    ENTRY(C_CloseAllSessions),
    ENTRY(C_GetSessionInfo),
    ENTRY(C_Login),
    ENTRY(C_Logout),
    ENTRY(C_DestroyObject),
    ENTRY(C_GetAttributeValue),
    ENTRY(C_CreateObject),
    ENTRY(C_FindObjectsInit),
    ENTRY(C_FindObjects),
    ENTRY(C_FindObjectsFinal),
    ENTRY(C_SignInit),
    ENTRY(C_Sign),
    ENTRY(C_GenerateKeyPair),
};

CK_FUNCTION_LIST_PTR guard_functions(CK_FUNCTION_LIST_PTR of_module)
{
	module = of_module;
	return &guarded;
}
