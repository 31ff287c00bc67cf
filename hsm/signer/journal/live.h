/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot of the names that are not settled, as it stands in the file
 * `live`: with it a start reads only the entries behind it.  A text, for people
 * too, which ends with the SHA-256 of what stands before.
 *
 * Pure: knows no file.  Private to hsm/signer/journal/.
 */
#ifndef CSRD_HSM_SIGNER_JOURNAL_LIVE_H
#define CSRD_HSM_SIGNER_JOURNAL_LIVE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "hsm/signer/journal/journal.h"
#include "hsm/signer/journal/names.h"

#include <stdbool.h>
#include <stdint.h>

#define LIVE_BYTES_MAX ((size_t)64 * 1024 * 1024) /* some 250,000 names */

struct live {
	uint64_t entries;                 /* that it stands for */
	uint8_t leaf[JOURNAL_HASH_BYTES]; /* of the last of them; zeros for none */
	bool clean;                       /* written by a clean stop, behind its last entry */
};

/* E_LIMIT, E_NOMEM. */
MUST_USE enum err live_write(const struct live *live, const struct names *names, struct buf *text);

/* Into empty `names`, which are to be freed on any error.  E_PROTO: it is damaged; E_NOMEM. */
MUST_USE enum err live_read(const struct buf *text, struct live *ret_live, struct names *names);

#endif
