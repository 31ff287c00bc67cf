/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Since when the HSM has been away, across all starts that found it so; kept in the
 * state folder.  A start that fails because of it pauses before it ends, for longer
 * the longer the outage lasts: a supervisor that restarts the signer at once then tries
 * often at first, but does not fill the log and burden the HSM for hours.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_OUTAGE_H
#define CSRD_HSM_SIGNER_SERVE_OUTAGE_H

#include "hsm/signer/token/state_dir.h"

#include <stdbool.h>
#include <stdint.h>

#define OUTAGE_NAME "away-since"
#define OUTAGE_PAUSE_MAX_MS 10000

/*
 * For a start that found the HSM away: how long it is to pause.  An eighth of
 * the outage, so the HSM is never missed for much longer than it was away.  Logs.
 */
uint64_t outage_pause_ms(const struct state_dir *dir);

/* True, at once, when signal_fd (a signalfd) has SIGTERM or SIGINT. */
bool outage_sleep(uint64_t ms, int signal_fd);

/* The HSM is there.  Logs. */
void outage_over(const struct state_dir *dir);

#endif
