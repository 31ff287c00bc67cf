/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Since when the HSM is away, over all the starts that met it so; kept in the
 * state folder.  A start that fails for it pauses before it ends, the longer
 * the longer the outage: what starts the signer again at once then tries often
 * at first, and does not fill the log and press the HSM for hours.
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
