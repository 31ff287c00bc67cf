/*
 * What may stand in the templates of a new pair besides what must: attributes
 * that restrict the key further, which not every token takes.  The probe
 * (probe.h) finds out at start; key.c follows it.
 */
#ifndef CSRD_HSM_SIGNER_TEMPLATE_H
#define CSRD_HSM_SIGNER_TEMPLATE_H

#include <p11-kit/pkcs11.h>
#include <stdint.h>

enum template_option {
	/* Private key: CKA_SIGN_RECOVER, DECRYPT, UNWRAP false. */
	TEMPLATE_PRIVATE_USAGE = 1 << 0,
	/* Private key: CKA_DERIVE false. */
	TEMPLATE_PRIVATE_DERIVE = 1 << 1,
	/* Public key: CKA_VERIFY true; VERIFY_RECOVER, ENCRYPT, WRAP false. */
	TEMPLATE_PUBLIC_USAGE = 1 << 2,
	/* Public key: CKA_DERIVE false. */
	TEMPLATE_PUBLIC_DERIVE = 1 << 3,
	/* Private key: CKA_COPYABLE false. */
	TEMPLATE_NO_COPY = 1 << 4,
	/* Private key: CKA_ALLOWED_MECHANISMS, the signature mechanisms of the type that the token has. */
	TEMPLATE_MECHANISMS = 1 << 5,
};
#define TEMPLATE_OPTIONS 6
#define TEMPLATE_ALL ((1u << TEMPLATE_OPTIONS) - 1)

#define TEMPLATE_MECHANISMS_MAX 16

/* Of one family of key types. */
struct template_profile {
	uint32_t options; /* enum template_option */
	CK_MECHANISM_TYPE mechanisms[TEMPLATE_MECHANISMS_MAX];
	CK_ULONG mechanisms_len;
};

#define TEMPLATE_FAMILIES 3 /* profiles by enum key_family: tokens treat them differently */

#endif
