/* SPDX-License-Identifier: Apache-2.0 */
/* What a token says of itself. */
#include "hsm/signer/token/token_info.h"

#include "hsm/signer/token/ckr.h"

#include <time.h>

#define TRIES 3
#define PAUSE_MS 20

CK_RV token_info_read(CK_FUNCTION_LIST_PTR p11, CK_SLOT_ID slot, CK_TOKEN_INFO *ret_info)
{
	const struct timespec pause = {0, PAUSE_MS * 1000000L};
	CK_RV rv = p11->C_GetTokenInfo(slot, ret_info);

	for (int tries = 1; tries < TRIES && ckr_may_pass(rv); tries++) {
		nanosleep(&pause, NULL);
		rv = p11->C_GetTokenInfo(slot, ret_info);
	}
	return rv;
}
