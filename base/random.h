/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the kernel: for ids and secrets. */
#ifndef CSRD_BASE_RANDOM_H
#define CSRD_BASE_RANDOM_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

/*
 * Fills all `len` bytes, or returns E_IO, errno kept and dst undefined: there is no
 * weaker source to fall back on.  Never waits: if the kernel has not gathered its
 * first randomness yet, errno is EAGAIN.
 */
MUST_USE enum err random_fill(void *dst, size_t len);

#endif
