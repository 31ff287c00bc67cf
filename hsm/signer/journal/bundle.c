/* SPDX-License-Identifier: Apache-2.0 */
/* Entry bundles in memory, and their names. */
#include "hsm/signer/journal/bundle.h"

#define SECTOR_BYTES 512 /* what a disk writes whole; larger ones write several of these */

void bundle_path(uint64_t number, char path[BUNDLE_PATH_SIZE])
{
	tile_path(&(struct tile){.level = TILE_ENTRIES, .number = number, .width = TILE_WIDTH}, path);
}

bool bundle_next(const struct buf *bundle, size_t *offset, const uint8_t **ret_text, size_t *ret_len)
{
	return tile_entry_next(bundle->data, bundle->len, offset, ret_text, ret_len);
}

/* A wrong length is no sign of it: the text must be of an entry up to where it ends. */
bool bundle_is_cut_short(const struct buf *bundle, size_t offset)
{
	const uint8_t *at = bundle->data + offset;
	size_t left = bundle->len - offset;

	if (left < BUNDLE_LENGTH_BYTES)
		return true;
	return ((size_t)at[0] << 8 | at[1]) <= ENTRY_BYTES_MAX &&
	       entry_is_cut_short(at + BUNDLE_LENGTH_BYTES, left - BUNDLE_LENGTH_BYTES);
}

/*
 * From there to the end of its sector, or of the bytes, all is zero.  One byte says nothing: an entry of less
 * than 256 bytes begins with a zero, and damage to it must not pass for a write that was cut off.
 */
static bool bundle_is_unwritten(const struct buf *bundle, size_t at)
{
	size_t end = at - at % SECTOR_BYTES + SECTOR_BYTES;

	if (end - at == 1)
		return false;
	for (; at < end && at < bundle->len; at++)
		if (bundle->data[at] != 0)
			return false;
	return true;
}

bool bundle_has_hole(const struct buf *bundle, size_t offset)
{
	size_t end = offset + BUNDLE_LENGTH_BYTES;

	if (end <= bundle->len)
		end += (size_t)bundle->data[offset] << 8 | bundle->data[offset + 1];
	if (end > bundle->len)
		end = bundle->len;
	for (size_t at = offset; at < end; at = at - at % SECTOR_BYTES + SECTOR_BYTES)
		if (bundle_is_unwritten(bundle, at))
			return true;
	return false;
}

enum err bundle_put(struct buf *bundle, const struct entry_draft *draft, uint64_t index,
		    const uint8_t prev[JOURNAL_HASH_BYTES], uint8_t ret_leaf[JOURNAL_HASH_BYTES])
{
	size_t len, first = bundle->len + BUNDLE_LENGTH_BYTES;
	enum err e;

	buf_put(bundle, "\0", BUNDLE_LENGTH_BYTES);
	if ((e = entry_complete(draft, index, prev, bundle)) != E_OK)
		return e;
	len = bundle->len - first;
	bundle->data[first - 2] = (uint8_t)(len >> 8);
	bundle->data[first - 1] = (uint8_t)len;
	return entry_leaf_hash(bundle->data + first, len, ret_leaf);
}
