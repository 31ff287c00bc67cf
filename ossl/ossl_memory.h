/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where OpenSSL says no, it may have been for lack of memory, which it does not
 * always tell.  Then nothing is known of what it was asked about: that is
 * E_NOMEM, and no fault of a key, a request or a row.
 *
 *	ossl_memory_begin();
 *	if (X509_REQ_verify(request, key) != 1)
 *		return ossl_memory_ran_out() ? E_NOMEM : E_INVAL;
 */
#ifndef CSRD_OSSL_OSSL_MEMORY_H
#define CSRD_OSSL_OSSL_MEMORY_H

#include <stdbool.h>

/* From now on OpenSSL allocates by way of this file; first thing in main, since later OpenSSL refuses it and
 * it changes nothing. */
void ossl_memory_watch(void);

/* Forgets what was before, on this thread. */
void ossl_memory_begin(void);
/* Whether OpenSSL asked for memory since then, on this thread, and got none.  False if it is not watched. */
bool ossl_memory_ran_out(void);

#endif
