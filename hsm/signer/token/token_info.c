/* SPDX-License-Identifier: Apache-2.0 */
/* What a token says of itself. */
#include "hsm/signer/token/token_info.h"

#include "hsm/signer/token/ckr.h"

#include <string.h>
#include <time.h>

#define TRIES 3
#define PAUSE_MS 20

void token_info_trim(char *dst, const unsigned char *src, size_t len)
{
	while (len && (src[len - 1] == ' ' || src[len - 1] == '\0'))
		len--;
	memcpy(dst, src, len);
	dst[len] = '\0';
}

bool token_info_is_of(const struct token *token, const CK_TOKEN_INFO *info)
{
	char label[sizeof(token->label)], serial[sizeof(token->serial)];

	token_info_trim(label, info->label, sizeof(info->label));
	token_info_trim(serial, info->serialNumber, sizeof(info->serialNumber));
	return strcmp(label, token->label) == 0 && strcmp(serial, token->serial) == 0;
}

CK_RV token_info_read(CK_FUNCTION_LIST_PTR p11, CK_SLOT_ID slot, const struct token *meant,
		      CK_TOKEN_INFO *ret_info)
{
	const struct timespec pause = {0, PAUSE_MS * 1000000L};
	CK_RV rv = CKR_OK;

	for (int tries = 0; tries < TRIES; tries++) {
		if (tries)
			nanosleep(&pause, NULL);
		rv = p11->C_GetTokenInfo(slot, ret_info);
		if (rv == CKR_OK ? !meant || token_info_is_of(meant, ret_info) : !ckr_may_pass(rv))
			break;
	}
	return rv;
}
