/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request targets and hosts: the forms of RFC 9112 §3.2, with the URI syntax
 * of RFC 3986.  Pure: nothing is decoded, normalised or allocated.
 */
#ifndef CSRD_DAEMON_TARGET_H
#define CSRD_DAEMON_TARGET_H

#include <stdbool.h>

struct target {
	const char *path;  /* starts with '/'; "*" for asterisk-form */
	const char *query; /* without '?'; NULL when there is none */
	/* When refused: */
	int status;
	const char *why; /* static text, fit for the client */
};

/*
 * `scheme` is what is spoken, "http" or "https": an absolute-form with the other one is refused.
 * Reads origin-form, absolute-form and asterisk-form (the last, and an
 * absolute-form without path and query, only when is_options is true).  Cuts
 * `text` in two at the '?'; the members of *ret_target point into it or to
 * static text.  False: refused, with status and why.
 */
bool target_parse(char *text, const char *scheme, bool is_options, struct target *ret_target);

/* RFC 9110 §7.2: uri-host [ ":" port ]; the empty text is a host too. */
bool target_host_is_valid(const char *text);

#endif
