/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exit codes of csrd, csrd-hsm and csrctl, for supervisors and scripts.
 * They are documented in doc/operations.md; never renumber them.
 */
#ifndef CSRD_BASE_EXIT_CODE_H
#define CSRD_BASE_EXIT_CODE_H

#include "base/err.h"

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILURE = 1,       /* the work was not done; the message says why */
	EXIT_CODE_USAGE = 64,        /* wrong command line */
	EXIT_CODE_STORE = 65,        /* the store is damaged or newer than the program */
	EXIT_CODE_NO_MODULE = 66,    /* the PKCS#11 module is missing or does not load */
	EXIT_CODE_NO_TOKEN = 67,     /* there is no such token, or more than one fits */
	EXIT_CODE_UNAVAILABLE = 69,  /* the store or the signer does not answer */
	EXIT_CODE_INTERNAL = 70,     /* a bug or no memory */
	EXIT_CODE_SYSTEM = 71,       /* a system call failed */
	EXIT_CODE_IN_USE = 73,       /* another process serves this socket or store */
	EXIT_CODE_TOKEN_FAILED = 75, /* the token failed in operation: start again */
	EXIT_CODE_PIN = 77,          /* the PIN was refused: do not start again */
	EXIT_CODE_CONFIG = 78,       /* the configuration or its PIN file is wrong: do not start again */
};

/*
 * The code of an error that speaks for itself; `otherwise` for one whose meaning depends on what was tried
 * (E_INVAL, E_NOTFOUND, E_EXISTS, E_DENIED, E_LIMIT, E_UNSUPPORTED, and what is wrong with a PIN).
 */
enum exit_code exit_code_of(enum err e, enum exit_code otherwise);

#endif
