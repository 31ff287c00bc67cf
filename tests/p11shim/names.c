/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the names of PKCS#11 functions and constants. */
#include "tests/p11shim/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct name {
	const char *text;
	unsigned long value;
};

/* clang-format off */
#define N(constant) { #constant, constant }

static const struct name return_values[] = {
	N(CKR_OK), N(CKR_CANCEL), N(CKR_HOST_MEMORY), N(CKR_SLOT_ID_INVALID), N(CKR_GENERAL_ERROR),
	N(CKR_FUNCTION_FAILED), N(CKR_ARGUMENTS_BAD), N(CKR_NO_EVENT), N(CKR_NEED_TO_CREATE_THREADS),
	N(CKR_CANT_LOCK), N(CKR_ATTRIBUTE_READ_ONLY), N(CKR_ATTRIBUTE_SENSITIVE),
	N(CKR_ATTRIBUTE_TYPE_INVALID), N(CKR_ATTRIBUTE_VALUE_INVALID), N(CKR_ACTION_PROHIBITED),
	N(CKR_DATA_INVALID), N(CKR_DATA_LEN_RANGE), N(CKR_DEVICE_ERROR), N(CKR_DEVICE_MEMORY),
	N(CKR_DEVICE_REMOVED), N(CKR_ENCRYPTED_DATA_INVALID), N(CKR_ENCRYPTED_DATA_LEN_RANGE),
	N(CKR_FUNCTION_CANCELED), N(CKR_FUNCTION_NOT_PARALLEL), N(CKR_FUNCTION_NOT_SUPPORTED),
	N(CKR_KEY_HANDLE_INVALID), N(CKR_KEY_SIZE_RANGE), N(CKR_KEY_TYPE_INCONSISTENT),
	N(CKR_KEY_NOT_NEEDED), N(CKR_KEY_CHANGED), N(CKR_KEY_NEEDED), N(CKR_KEY_INDIGESTIBLE),
	N(CKR_KEY_FUNCTION_NOT_PERMITTED), N(CKR_KEY_NOT_WRAPPABLE), N(CKR_KEY_UNEXTRACTABLE),
	N(CKR_MECHANISM_INVALID), N(CKR_MECHANISM_PARAM_INVALID), N(CKR_OBJECT_HANDLE_INVALID),
	N(CKR_OPERATION_ACTIVE), N(CKR_OPERATION_NOT_INITIALIZED), N(CKR_PIN_INCORRECT), N(CKR_PIN_INVALID),
	N(CKR_PIN_LEN_RANGE), N(CKR_PIN_EXPIRED), N(CKR_PIN_LOCKED), N(CKR_SESSION_CLOSED),
	N(CKR_SESSION_COUNT), N(CKR_SESSION_HANDLE_INVALID), N(CKR_SESSION_PARALLEL_NOT_SUPPORTED),
	N(CKR_SESSION_READ_ONLY), N(CKR_SESSION_EXISTS), N(CKR_SESSION_READ_ONLY_EXISTS),
	N(CKR_SESSION_READ_WRITE_SO_EXISTS), N(CKR_SIGNATURE_INVALID), N(CKR_SIGNATURE_LEN_RANGE),
	N(CKR_TEMPLATE_INCOMPLETE), N(CKR_TEMPLATE_INCONSISTENT), N(CKR_TOKEN_NOT_PRESENT),
	N(CKR_TOKEN_NOT_RECOGNIZED), N(CKR_TOKEN_WRITE_PROTECTED), N(CKR_UNWRAPPING_KEY_HANDLE_INVALID),
	N(CKR_UNWRAPPING_KEY_SIZE_RANGE), N(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT),
	N(CKR_USER_ALREADY_LOGGED_IN), N(CKR_USER_NOT_LOGGED_IN), N(CKR_USER_PIN_NOT_INITIALIZED),
	N(CKR_USER_TYPE_INVALID), N(CKR_USER_ANOTHER_ALREADY_LOGGED_IN), N(CKR_USER_TOO_MANY_TYPES),
	N(CKR_WRAPPED_KEY_INVALID), N(CKR_WRAPPED_KEY_LEN_RANGE), N(CKR_WRAPPING_KEY_HANDLE_INVALID),
	N(CKR_WRAPPING_KEY_SIZE_RANGE), N(CKR_WRAPPING_KEY_TYPE_INCONSISTENT),
	N(CKR_RANDOM_SEED_NOT_SUPPORTED), N(CKR_RANDOM_NO_RNG), N(CKR_DOMAIN_PARAMS_INVALID),
	N(CKR_CURVE_NOT_SUPPORTED), N(CKR_BUFFER_TOO_SMALL), N(CKR_SAVED_STATE_INVALID),
	N(CKR_INFORMATION_SENSITIVE), N(CKR_STATE_UNSAVEABLE), N(CKR_CRYPTOKI_NOT_INITIALIZED),
	N(CKR_CRYPTOKI_ALREADY_INITIALIZED), N(CKR_MUTEX_BAD), N(CKR_MUTEX_NOT_LOCKED), N(CKR_NEW_PIN_MODE),
	N(CKR_NEXT_OTP), N(CKR_EXCEEDED_MAX_ITERATIONS), N(CKR_FIPS_SELF_TEST_FAILED),
	N(CKR_LIBRARY_LOAD_FAILED), N(CKR_PIN_TOO_WEAK), N(CKR_PUBLIC_KEY_INVALID),
	N(CKR_FUNCTION_REJECTED),
};

static const struct name attributes[] = {
	N(CKA_CLASS), N(CKA_TOKEN), N(CKA_PRIVATE), N(CKA_LABEL), N(CKA_APPLICATION), N(CKA_VALUE),
	N(CKA_OBJECT_ID), N(CKA_CERTIFICATE_TYPE), N(CKA_ISSUER), N(CKA_SERIAL_NUMBER), N(CKA_AC_ISSUER),
	N(CKA_OWNER), N(CKA_ATTR_TYPES), N(CKA_TRUSTED), N(CKA_CERTIFICATE_CATEGORY), N(CKA_URL),
	N(CKA_HASH_OF_SUBJECT_PUBLIC_KEY), N(CKA_HASH_OF_ISSUER_PUBLIC_KEY), N(CKA_NAME_HASH_ALGORITHM),
	N(CKA_CHECK_VALUE), N(CKA_KEY_TYPE), N(CKA_SUBJECT), N(CKA_ID), N(CKA_SENSITIVE), N(CKA_ENCRYPT),
	N(CKA_DECRYPT), N(CKA_WRAP), N(CKA_UNWRAP), N(CKA_SIGN), N(CKA_SIGN_RECOVER), N(CKA_VERIFY),
	N(CKA_VERIFY_RECOVER), N(CKA_DERIVE), N(CKA_START_DATE), N(CKA_END_DATE), N(CKA_MODULUS),
	N(CKA_MODULUS_BITS), N(CKA_PUBLIC_EXPONENT), N(CKA_PRIVATE_EXPONENT), N(CKA_PRIME_1),
	N(CKA_PRIME_2), N(CKA_EXPONENT_1), N(CKA_EXPONENT_2), N(CKA_COEFFICIENT), N(CKA_PUBLIC_KEY_INFO),
	N(CKA_PRIME), N(CKA_SUBPRIME), N(CKA_BASE), N(CKA_PRIME_BITS), N(CKA_SUB_PRIME_BITS),
	N(CKA_VALUE_BITS), N(CKA_VALUE_LEN), N(CKA_EXTRACTABLE), N(CKA_LOCAL), N(CKA_NEVER_EXTRACTABLE),
	N(CKA_ALWAYS_SENSITIVE), N(CKA_KEY_GEN_MECHANISM), N(CKA_MODIFIABLE), N(CKA_COPYABLE),
	N(CKA_DESTROYABLE), N(CKA_EC_PARAMS), N(CKA_EC_POINT), N(CKA_ALWAYS_AUTHENTICATE),
	N(CKA_WRAP_WITH_TRUSTED), N(CKA_MECHANISM_TYPE), N(CKA_WRAP_TEMPLATE), N(CKA_UNWRAP_TEMPLATE),
	N(CKA_DERIVE_TEMPLATE), N(CKA_ALLOWED_MECHANISMS),
};

static const struct name mechanisms[] = {
	N(CKM_RSA_PKCS_KEY_PAIR_GEN), N(CKM_RSA_PKCS), N(CKM_RSA_9796), N(CKM_RSA_X_509),
	N(CKM_MD5_RSA_PKCS), N(CKM_SHA1_RSA_PKCS), N(CKM_RSA_PKCS_OAEP), N(CKM_RSA_X9_31_KEY_PAIR_GEN),
	N(CKM_RSA_X9_31), N(CKM_SHA1_RSA_X9_31), N(CKM_RSA_PKCS_PSS), N(CKM_SHA1_RSA_PKCS_PSS),
	N(CKM_DSA_KEY_PAIR_GEN), N(CKM_SHA256_RSA_PKCS), N(CKM_SHA384_RSA_PKCS), N(CKM_SHA512_RSA_PKCS),
	N(CKM_SHA256_RSA_PKCS_PSS), N(CKM_SHA384_RSA_PKCS_PSS), N(CKM_SHA512_RSA_PKCS_PSS), N(CKM_SHA_1),
	N(CKM_SHA256), N(CKM_SHA256_HMAC), N(CKM_SHA384), N(CKM_SHA512), N(CKM_GENERIC_SECRET_KEY_GEN),
	N(CKM_EC_KEY_PAIR_GEN), N(CKM_ECDSA), N(CKM_ECDSA_SHA1), N(CKM_ECDSA_SHA224), N(CKM_ECDSA_SHA256),
	N(CKM_ECDSA_SHA384), N(CKM_ECDSA_SHA512), N(CKM_ECDH1_DERIVE), N(CKM_ECDH1_COFACTOR_DERIVE),
	N(CKM_ECDH_AES_KEY_WRAP), N(CKM_RSA_AES_KEY_WRAP), N(CKM_AES_KEY_GEN), N(CKM_AES_ECB),
	N(CKM_AES_CBC), N(CKM_AES_CBC_PAD), N(CKM_AES_GCM), N(CKM_SHA224), N(CKM_SHA224_RSA_PKCS),
	N(CKM_SHA224_RSA_PKCS_PSS), N(CKM_AES_KEY_WRAP), N(CKM_AES_KEY_WRAP_PAD), N(CKM_RSA_PKCS_TPM_1_1),
	N(CKM_RSA_PKCS_OAEP_TPM_1_1), N(CKM_EC_EDWARDS_KEY_PAIR_GEN), N(CKM_EDDSA),
};

/* Those of CK_TOKEN_INFO. */
static const struct name token_flags[] = {
	N(CKF_RNG), N(CKF_WRITE_PROTECTED), N(CKF_LOGIN_REQUIRED), N(CKF_USER_PIN_INITIALIZED),
	N(CKF_RESTORE_KEY_NOT_NEEDED), N(CKF_CLOCK_ON_TOKEN), N(CKF_PROTECTED_AUTHENTICATION_PATH),
	N(CKF_DUAL_CRYPTO_OPERATIONS), N(CKF_TOKEN_INITIALIZED), N(CKF_SECONDARY_AUTHENTICATION),
	N(CKF_USER_PIN_COUNT_LOW), N(CKF_USER_PIN_FINAL_TRY), N(CKF_USER_PIN_LOCKED),
	N(CKF_USER_PIN_TO_BE_CHANGED), N(CKF_SO_PIN_COUNT_LOW), N(CKF_SO_PIN_FINAL_TRY),
	N(CKF_SO_PIN_LOCKED), N(CKF_SO_PIN_TO_BE_CHANGED),
};
#undef N

#define X(name) #name,
static const char *const functions[] = { P11_FUNCTIONS(X) };
#undef X
/* clang-format on */

struct table {
	const struct name *names;
	size_t count;
	const char *prefix;
};

#define TABLE(array, prefix)                                                                                 \
	{                                                                                                    \
		array, sizeof(array) / sizeof(array[0]), prefix                                              \
	}
static const struct table tables[] = {
    [NAMES_CKR] = TABLE(return_values, "CKR_"),
    [NAMES_CKA] = TABLE(attributes, "CKA_"),
    [NAMES_CKM] = TABLE(mechanisms, "CKM_"),
    [NAMES_CKF] = TABLE(token_flags, "CKF_"),
};

const char *names_function_text(enum function function)
{
	return functions[function];
}

bool names_function(const char *text, enum function *ret_function)
{
	for (size_t i = 0; i < FN_COUNT; i++) {
		if (strcmp(functions[i], text) == 0) {
			*ret_function = (enum function)i;
			return true;
		}
	}
	return false;
}

static bool hex_number(const char *text, unsigned long *ret_value)
{
	unsigned long value;
	char *end;

	if (strncmp(text, "0x", 2) != 0 || strspn(text + 2, "0123456789abcdefABCDEF") == 0)
		return false;
	errno = 0;
	value = strtoul(text, &end, 16);
	if (errno || *end)
		return false;
	*ret_value = value;
	return true;
}

bool names_value(enum names_kind kind, const char *text, unsigned long *ret_value)
{
	const struct table *t = &tables[kind];

	for (size_t i = 0; i < t->count; i++) {
		if (strcmp(t->names[i].text, text) == 0) {
			*ret_value = t->names[i].value;
			return true;
		}
	}
	return hex_number(text, ret_value);
}

bool names_prefixed(enum names_kind kind, const char *text)
{
	return strncmp(text, tables[kind].prefix, strlen(tables[kind].prefix)) == 0;
}

const char *names_text(enum names_kind kind, unsigned long value, char buffer[NAMES_TEXT_SIZE])
{
	const struct table *t = &tables[kind];

	for (size_t i = 0; i < t->count; i++) {
		if (t->names[i].value == value)
			return t->names[i].text;
	}
	snprintf(buffer, NAMES_TEXT_SIZE, "%s0x%lx", t->prefix, value);
	return buffer;
}
