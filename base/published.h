/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files in which csrd and each csrd-hsm tell csrctl how they run: the
 * configuration that is in force, and what else may help (fd_publish).
 */
#ifndef CSRD_BASE_PUBLISHED_H
#define CSRD_BASE_PUBLISHED_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

#define PUBLISHED_BYTES_MAX ((size_t)256 * 1024)

/* The file of the csrd that runs on the store of that path.  Owned.  E_NOMEM. */
MUST_USE enum err published_by_csrd(const char *store_path, char **ret_path);

/* The file of the csrd-hsm that has that state_dir.  Owned.  E_NOMEM. */
MUST_USE enum err published_by_signer(const char *state_dir, char **ret_path);

#endif
