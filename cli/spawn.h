/* SPDX-License-Identifier: Apache-2.0 */
/* Runs another program and waits for its end: without a shell, and by default without our environment. */
#ifndef CSRD_CLI_SPAWN_H
#define CSRD_CLI_SPAWN_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

#define SPAWN_INPUT_MAX 4096

struct spawn {
	const char *const *argv; /* ends with NULL; [0] is a path, or searched in the system's folders */
	const char *user;        /* the user that it runs as; NULL: ours */
	bool keep_environment;   /* it gets ours, and not `variable`; otherwise nothing of ours */
	const char *variable;    /* "NAME=value", beside PATH and LANG; NULL: none */
	const char *input;       /* its standard input, at most SPAWN_INPUT_MAX bytes; NULL: none */
	struct buf *errors;      /* for its standard error alone; NULL: it goes with the output */
	unsigned timeout_ms;     /* after that it is killed, with what it started; 0: never */
	bool terminal;           /* it gets the input from a terminal of its own: some ask only there */
};

/*
 * Standard output and error go to `output`, as far as it has room, or, if it is
 * NULL, where ours go.  *ret_status: its exit status, or 128 + the signal that
 * ended it.  E_NOTFOUND: there is no such program; E_TIMEOUT; E_IO (errno kept), E_NOMEM.
 */
MUST_USE enum err spawn_run(const struct spawn *what, struct buf *output, int *ret_status);

/* Is there a program of that name in the system's folders? */
bool spawn_exists(const char *name);

/* The path of another program of this installation, beside ours or in ../sbin.  E_NOTFOUND, E_IO, E_LIMIT. */
MUST_USE enum err spawn_own_program(const char *name, struct buf *ret_path);

/* The path of a file of this installation, in ../share/csrd; it need not be there.  E_IO, E_LIMIT. */
MUST_USE enum err spawn_own_data(const char *name, struct buf *ret_path);

#endif
