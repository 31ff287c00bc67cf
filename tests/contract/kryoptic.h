/* SPDX-License-Identifier: Apache-2.0 */
/* kryoptic, a software token in Rust: a module that is built (tests/kryoptic), since no package has it. */
#ifndef CSRD_TESTS_KRYOPTIC_H
#define CSRD_TESTS_KRYOPTIC_H

#include <limits.h>
#include <stdbool.h>

#define KRYOPTIC_SLOTS 2

/* Whether CSRD_KRYOPTIC names it, as "make test-kryoptic" does. */
bool kryoptic_is_here(void);
/* Known from kryoptic_configure on. */
extern char kryoptic_module[PATH_MAX];

/* Its configuration, with empty slots, and its databases are in `folder`; sets its environment variable. */
void kryoptic_configure(const char *folder);

#endif
