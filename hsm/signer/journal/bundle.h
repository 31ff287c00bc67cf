/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry bundles (C2SP tlog-tiles): up to JOURNAL_BUNDLE_LEN entries, each as two
 * bytes of length, big-endian, and its text.  Private to hsm/signer/journal/.
 */
#ifndef CSRD_HSM_SIGNER_JOURNAL_BUNDLE_H
#define CSRD_HSM_SIGNER_JOURNAL_BUNDLE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "hsm/signer/journal/entry.h"
#include "hsm/signer/journal/journal.h"
#include "tlog/tile.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUNDLE_LENGTH_BYTES 2
#define BUNDLE_BYTES_MAX ((size_t)JOURNAL_BUNDLE_LEN * (BUNDLE_LENGTH_BYTES + ENTRY_BYTES_MAX))

/* "tile/entries/x001/x234/067" for 1234067: where the complete bundle of that number is. */
#define BUNDLE_PATH_SIZE TILE_PATH_SIZE
void bundle_path(uint64_t number, char path[BUNDLE_PATH_SIZE]);

/* The whole entry at *offset, which moves behind it.  False: there is none; *offset is as it was. */
bool bundle_next(const struct buf *bundle, size_t *offset, const uint8_t **ret_text, size_t *ret_len);

/* What stands at the offset, where there is no whole entry, is one whose end is missing. */
bool bundle_is_cut_short(const struct buf *bundle, size_t offset);

/*
 * The entry at the offset is no good: because a sector of it was never written?  A file that grows shows
 * zeros there, up to the sector's end, and no entry has a zero byte in its text.
 */
bool bundle_has_hole(const struct buf *bundle, size_t offset);

/* Appends an entry and tells its leaf hash.  E_LIMIT, E_NOMEM: `bundle` is to be thrown away. */
MUST_USE enum err bundle_put(struct buf *bundle, const struct entry_draft *draft, uint64_t index,
			     const uint8_t prev[JOURNAL_HASH_BYTES], uint8_t ret_leaf[JOURNAL_HASH_BYTES]);

#endif
