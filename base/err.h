/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one error type of all three programs.
 *
 * CK_RV, SQL and errno values are turned into it in one file each, and it is
 * turned into HTTP in one file (api/problem.c).  What a value means to a
 * caller is documented at the function that returns it; the lines below give the
 * general meaning of each.
 */
#ifndef CSRD_BASE_ERR_H
#define CSRD_BASE_ERR_H

#include "base/attr.h"

enum err {
	E_OK = 0,
	E_NOMEM,       /* out of memory */
	E_INVAL,       /* an argument or a field is not acceptable */
	E_NOTFOUND,    /* the requested thing does not exist */
	E_EXISTS,      /* it exists already */
	E_DENIED,      /* not permitted */
	E_LIMIT,       /* a quota or a cap is reached */
	E_BUSY,        /* try again later; nothing was done */
	E_TIMEOUT,     /* the deadline passed before work began; nothing was done */
	E_UNAVAIL,     /* the other side cannot be reached; nothing was done */
	E_UNCERTAIN,   /* it may or may not have happened: query before anything else */
	E_UNSUPPORTED, /* the token, or this program, cannot do that */
	E_PROTO,       /* the peer broke the protocol */
	E_IO,          /* a system call failed */
	E_STORE,       /* the store failed */
	E_HSM,         /* the token failed or refused; nothing is left behind */
	E_PIN,         /* the token refused the PIN */
	E_PIN_LOCKED,  /* the PIN is locked, or one try from it */
	E_CONFIG,      /* the configuration is wrong */
	E_BUG,         /* our own code broke an invariant */
};
#define ERR_LEN (E_BUG + 1)

/* Static lower-case text of an error; never NULL, even for unknown values. */
const char *err_str(enum err e);

#endif
