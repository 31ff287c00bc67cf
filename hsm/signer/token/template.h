/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may stand in the templates of a new pair besides what must: attributes
 * that restrict the key further, which not every token takes.  The probe
 * (probe.h) finds out at start; key.c follows it.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_TEMPLATE_H
#define CSRD_HSM_SIGNER_TOKEN_TEMPLATE_H

#include <p11-kit/pkcs11.h>
#include <stdint.h>

/* One for each attribute, since a token that does not know one may well take the others. */
enum template_option {
	/* Private key: these, false. */
	TEMPLATE_NO_SIGN_RECOVER = 1 << 0,
	TEMPLATE_NO_DECRYPT = 1 << 1,
	TEMPLATE_NO_UNWRAP = 1 << 2,
	TEMPLATE_NO_DERIVE = 1 << 3,
	TEMPLATE_NO_COPY = 1 << 4,
	/* Private key: CKA_ALLOWED_MECHANISMS, the signature mechanisms of the type that the token has. */
	TEMPLATE_MECHANISMS = 1 << 5,
	/* Public key: CKA_PRIVATE false, which some tokens demand and some refuse. */
	TEMPLATE_PUBLIC_OPEN = 1 << 6,
	/* Public key: CKA_VERIFY true. */
	TEMPLATE_PUBLIC_VERIFY = 1 << 7,
	/* Public key: these, false. */
	TEMPLATE_PUBLIC_NO_VERIFY_RECOVER = 1 << 8,
	TEMPLATE_PUBLIC_NO_ENCRYPT = 1 << 9,
	TEMPLATE_PUBLIC_NO_WRAP = 1 << 10,
	TEMPLATE_PUBLIC_NO_DERIVE = 1 << 11,
	/* Either key: CKA_MODIFIABLE, false. */
	TEMPLATE_NO_CHANGE = 1 << 12,
	TEMPLATE_PUBLIC_NO_CHANGE = 1 << 13,
};
#define TEMPLATE_OPTIONS 14
#define TEMPLATE_ALL ((1u << TEMPLATE_OPTIONS) - 1)
#define TEMPLATE_PUBLIC_USAGE                                                                                \
	((uint32_t)(TEMPLATE_PUBLIC_VERIFY | TEMPLATE_PUBLIC_NO_VERIFY_RECOVER |                             \
		    TEMPLATE_PUBLIC_NO_ENCRYPT | TEMPLATE_PUBLIC_NO_WRAP))

#define TEMPLATE_CHANGE ((uint32_t)(TEMPLATE_NO_CHANGE | TEMPLATE_PUBLIC_NO_CHANGE))

#define TEMPLATE_MECHANISMS_MAX 16

/* Of one family of key types. */
struct template_profile {
	uint32_t options; /* enum template_option */
	unsigned way;     /* of asking for such a key: key_way */
	CK_MECHANISM_TYPE mechanisms[TEMPLATE_MECHANISMS_MAX];
	CK_ULONG mechanisms_len;
};

#define TEMPLATE_FAMILIES 3 /* profiles by enum key_family: tokens treat them differently */

#endif
