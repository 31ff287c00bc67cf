/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles of a log (C2SP tlog-tiles): files of up to 256 hashes, or of up to 256
 * entries, which never change but that the last of each level grows.
 *
 * Hash I of level L is the root of the 256^L entries from I × 256^L on.  Tile N of
 * a level has its hashes from 256 × N on.  A level has only what is complete: a tree of
 * 70,000 entries has 273 tiles of 256 hashes and one of 112 on level 0, one of 256 and
 * one of 17 on level 1, and one of 1 on level 2.
 *
 * A tile of entries, which is called a bundle, has each entry of the tile of level 0 with the
 * same number, behind its length in two bytes, big-endian.
 */
#ifndef CSRD_TLOG_TILE_H
#define CSRD_TLOG_TILE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TILE_HEIGHT 8
#define TILE_WIDTH (1 << TILE_HEIGHT)
#define TILE_LEVEL_MAX 6 /* of a tree of TREE_SIZE_MAX entries */
#define TILE_ENTRIES (-1)

struct tile {
	int level; /* 0 … TILE_LEVEL_MAX, or TILE_ENTRIES */
	uint64_t number;
	unsigned width; /* 1 … TILE_WIDTH; fewer than that: a partial tile */
};

/* "tile/0/x001/x234/067", "tile/1/000.p/17", "tile/entries/000": where it is below the log's folder or URL.
 */
#define TILE_PATH_SIZE 64
void tile_path(const struct tile *tile, char path[TILE_PATH_SIZE]);

/* E_INVAL: it is not the path of any tile of a tree of at most TREE_SIZE_MAX entries. */
MUST_USE enum err tile_parse(const char *path, struct tile *ret_tile);

/* How wide the tile of this level and number is in a tree of this size; 0: there is none. */
unsigned tile_width(uint64_t size, int level, uint64_t number);

#define TILE_ENTRY_MAX 65535

/* Appends an entry to a bundle.  E_LIMIT: longer than TILE_ENTRY_MAX, or the buffer's ceiling; E_NOMEM. */
MUST_USE enum err tile_entry_put(struct buf *bundle, const void *entry, size_t len);

/* The entry at *offset of a bundle, borrowed; *offset moves behind it.  False: there is no whole one. */
bool tile_entry_next(const uint8_t *bundle, size_t bundle_len, size_t *offset, const uint8_t **ret_entry,
		     size_t *ret_len);

#endif
