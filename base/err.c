/* SPDX-License-Identifier: Apache-2.0 */
/* The text of each error. */
#include "base/err.h"

const char *err_str(enum err e)
{
	switch (e) {
	case E_OK:
		return "success";
	case E_NOMEM:
		return "out of memory";
	case E_INVAL:
		return "not acceptable";
	case E_NOTFOUND:
		return "not found";
	case E_EXISTS:
		return "exists already";
	case E_DENIED:
		return "permission denied";
	case E_LIMIT:
		return "limit reached";
	case E_BUSY:
		return "busy";
	case E_TIMEOUT:
		return "deadline passed before work began";
	case E_UNAVAIL:
		return "not available";
	case E_UNCERTAIN:
		return "outcome uncertain";
	case E_UNSUPPORTED:
		return "not supported";
	case E_PROTO:
		return "protocol error";
	case E_IO:
		return "input/output error";
	case E_STORE:
		return "store error";
	case E_HSM:
		return "token error";
	case E_PIN:
		return "PIN refused";
	case E_PIN_LOCKED:
		return "PIN locked";
	case E_CONFIG:
		return "configuration error";
	case E_BUG:
		return "internal error";
	}
	return "unknown error";
}
