/* SPDX-License-Identifier: Apache-2.0 */
/* The loop between the clients and the workers: one thread, poll(2), no PKCS#11. */
#ifndef CSRD_HSM_SIGNER_SERVE_SERVER_H
#define CSRD_HSM_SIGNER_SERVE_SERVER_H

#include "base/exit_code.h"
#include "hsm/signer/serve/listener.h"
#include "hsm/signer/serve/stores.h"
#include "hsm/signer/serve/workers.h"
#include "hsm/signer/token/judge.h"
#include "hsm/signer/token/login.h"
#include "hsm/signer/token/token.h"

struct server_options {
	const char *token_name; /* [token NAME] */
	const struct token *token;
	struct login *login;
	struct judge *judge;
	struct listener *listener;
	struct workers *workers;
	struct book *book; /* borrowed */
	struct stores *stores;
	int signal_fd; /* signalfd(2) of SIGTERM, SIGINT, and SIGHUP, which is logged and changes nothing */
};

/*
 * Serves until SIGTERM or SIGINT, then lets work in progress end, in bounded
 * time.  EXIT_CODE_OK; EXIT_CODE_PIN when the token refused the PIN at a
 * later login; EXIT_CODE_TOKEN_FAILED when a thread did not come back from the
 * token in time, or the token was down for too long; EXIT_CODE_SYSTEM,
 * EXIT_CODE_INTERNAL.  While the workers are not idle the process must end without
 * joining its threads.  Logs.
 */
enum exit_code server_run(const struct server_options *options);

#endif
