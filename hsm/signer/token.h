/* The one token that this process serves: filled at start by module_find_token, read-only afterwards. */
#ifndef CSRD_HSM_SIGNER_TOKEN_H
#define CSRD_HSM_SIGNER_TOKEN_H

#include "base/key.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdint.h>

struct token {
	CK_FUNCTION_LIST_PTR p11; /* of the loaded module; borrowed from struct module */
	CK_SLOT_ID slot;

	/* CK_TOKEN_INFO with blanks trimmed */
	char label[33];
	char serial[17];
	char manufacturer[33];
	char model[17];
	CK_FLAGS flags;
	CK_ULONG max_pin_len; /* 0: not said */

	/* what its mechanism list offers */
	key_type_set key_types;
	bool signs_sha256_rsa; /* CKM_SHA256_RSA_PKCS; else CKM_RSA_PKCS over a DigestInfo */

	uint32_t allow_usage; /* [token] allow_usage: key protection bits that I4 forgives */
};

#endif
