/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known about a PKCS#11 module before anything is tried on it, because
 * trying would do harm.  What can be tried at no cost is left to the probe.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_QUIRKS_H
#define CSRD_HSM_SIGNER_TOKEN_QUIRKS_H

#include <stdbool.h>
#include <stdint.h>

struct quirks {
	const char *module; /* a name for the log; NULL: nothing is known of this module */

	/* For the log when the token is not usable; NULL: none. */
	const char *advice;

	/* enum template_option: the most that may be asked of it. */
	uint32_t template_options;

	/*
	 * Every key that was made or used stays loaded in the device until the
	 * user logs out, there is room for few, and a key that is destroyed while
	 * it is loaded keeps its room for good.  And after a destroy the handle of
	 * a new object may be that of another one, until the module is
	 * reinitialised.  So there is one session and one thread (session_refresh).
	 */
	bool one_session;
};

/* By what C_GetInfo reports about the library; either may be NULL. */
void quirks_find(const char *manufacturer, const char *description, struct quirks *ret_quirks);

#endif
