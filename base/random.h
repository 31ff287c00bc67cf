/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the kernel: for ids and secrets. */
#ifndef CSRD_BASE_RANDOM_H
#define CSRD_BASE_RANDOM_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

/*
 * All `len` bytes, or E_IO with errno kept and dst without meaning: there is no
 * weaker source to fall back to.  Never waits: a kernel that has not gathered
 * its first randomness yet is EAGAIN.
 */
MUST_USE enum err random_fill(void *dst, size_t len);

#endif
