/* SPDX-License-Identifier: Apache-2.0 */
/* p11-kit between csrd-hsm and SoftHSM: its server with its client module, and its proxy module. */
#ifndef CSRD_TESTS_P11KIT_H
#define CSRD_TESTS_P11KIT_H

#include <sys/types.h>

#define P11KIT_CLIENT "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
#define P11KIT_PROXY "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so"

/*
 * Starts "p11-kit server" in front of `module`, its socket and log in `folder`,
 * waits until it serves, and points the client module at it by the
 * environment.  It ends with this process at the latest.  Returns its pid.
 */
pid_t p11kit_serve(const char *folder, const char *module);
/* The server has one process for each client; waits until those whose client is gone are gone too. */
void p11kit_wait_for_leavers(pid_t pid);
void p11kit_stop(pid_t pid);

/* Makes `module` the only one that the proxy knows, in own_places, which this begins. */
void p11kit_let_proxy(const char *folder, const char *module);

#endif
