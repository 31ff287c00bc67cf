/* SPDX-License-Identifier: Apache-2.0 */
/* What an error means to whoever started the program. */
#include "base/exit_code.h"

enum exit_code exit_code_of(enum err e, enum exit_code otherwise)
{
	switch (e) {
	case E_OK:
		return EXIT_CODE_OK;
	case E_BUSY:
	case E_TIMEOUT:
	case E_UNAVAIL:
	case E_UNCERTAIN:
	case E_PROTO:
		return EXIT_CODE_UNAVAILABLE;
	case E_STORE:
		return EXIT_CODE_STORE;
	case E_HSM:
		return EXIT_CODE_TOKEN_FAILED;
	case E_CONFIG:
		return EXIT_CODE_CONFIG;
	case E_IO:
		return EXIT_CODE_SYSTEM;
	case E_NOMEM:
	case E_BUG:
		return EXIT_CODE_INTERNAL;
	case E_INVAL:
	case E_NOTFOUND:
	case E_EXISTS:
	case E_DENIED:
	case E_LIMIT:
	case E_UNSUPPORTED:
	case E_PIN:
	case E_PIN_LOCKED:
		break;
	}
	return otherwise;
}
