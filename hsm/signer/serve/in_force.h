/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `running` in state_dir: the configuration that this process works
 * with, for csrctl, which shows where the file has since changed.  It
 * is locked as long as the process lives, and removed on orderly shutdown.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_IN_FORCE_H
#define CSRD_HSM_SIGNER_SERVE_IN_FORCE_H

#include "config/config.h"
#include "hsm/signer/token/state_dir.h"

/*
 * A descriptor for in_force_end; -1: it could not be written, and the log says
 * why.  Nothing else needs it.
 */
int in_force_tell(const struct config *config, const struct state_dir *state);
void in_force_end(int fd, const struct state_dir *state); /* nothing for -1 */

#endif
