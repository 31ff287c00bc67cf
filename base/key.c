/* SPDX-License-Identifier: Apache-2.0 */
/* Names of key types and of protection attributes. */
#include "base/key.h"

#include <string.h>

static const char *const type_names[KEY_TYPE_MAX + 1] = {
    [KEY_RSA2048] = "rsa2048", [KEY_P256V1] = "p256v1", [KEY_RSA3072] = "rsa3072",
    [KEY_RSA4096] = "rsa4096", [KEY_P384V1] = "p384v1", [KEY_ED25519] = "ed25519",
};

static const char *const protection_names[] = {
    "token", "private", "sensitive",    "always_sensitive", "extractable", "never_extractable",
    "local", "sign",    "sign_recover", "decrypt",          "unwrap",      "derive",
};
#define PROTECTION_COUNT (sizeof(protection_names) / sizeof(protection_names[0]))
_Static_assert(KEY_PROT_MAX == (1u << PROTECTION_COUNT) - 1, "a name for each protection bit");

bool key_type_is_valid(uint64_t value)
{
	return value >= 1 && value <= KEY_TYPE_MAX;
}

const char *key_type_name(enum key_type type)
{
	return key_type_is_valid(type) ? type_names[type] : "?";
}

enum err key_type_parse(const char *name, enum key_type *ret_type)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		if (strcmp(name, type_names[type]) == 0) {
			*ret_type = (enum key_type)type;
			return E_OK;
		}
	}
	return E_INVAL;
}

void key_type_set_format(key_type_set set, struct buf *b)
{
	const char *separator = "";

	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		if (!(set & KEY_TYPE_BIT(type)))
			continue;
		buf_put_str(b, separator);
		buf_put_str(b, type_names[type]);
		separator = ", ";
	}
	if (!(set & KEY_TYPES_ALL))
		buf_put_str(b, "none");
}

void key_protection_format(uint32_t protection, struct buf *b)
{
	const char *separator = "";

	for (size_t i = 0; i < PROTECTION_COUNT; i++) {
		if (!(protection & 1u << i))
			continue;
		buf_put_str(b, separator);
		buf_put_str(b, protection_names[i]);
		separator = ",";
	}
}

enum err key_protection_parse(const char *name, uint32_t *ret_bit)
{
	for (size_t i = 0; i < PROTECTION_COUNT; i++) {
		if (strcmp(name, protection_names[i]) == 0) {
			*ret_bit = 1u << i;
			return E_OK;
		}
	}
	return E_INVAL;
}
