/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and shapes of tiles. */
#include "tlog/tile.h"

#include "base/str.h"
#include "tlog/tree.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define GROUP 1000 /* of numbers that one element of a path tells apart */
#define LENGTH_BYTES 2

static_assert(TILE_LEVEL_MAX + 1 == TREE_TILE_LEVELS, "a level for each hash that an append adds");

/* Of the hashes on this level in a tree of this size. */
static uint64_t tile_level_len(uint64_t size, int level)
{
	return level == TILE_ENTRIES ? size : size >> (TILE_HEIGHT * level);
}

void tile_path(const struct tile *tile, char path[TILE_PATH_SIZE])
{
	uint64_t unit = 1;
	size_t len;

	if (tile->level == TILE_ENTRIES)
		len = (size_t)snprintf(path, TILE_PATH_SIZE, "tile/entries/");
	else
		len = (size_t)snprintf(path, TILE_PATH_SIZE, "tile/%d/", tile->level);
	while (tile->number / unit >= GROUP)
		unit *= GROUP;
	for (; unit > 1; unit /= GROUP)
		len += (size_t)snprintf(path + len, TILE_PATH_SIZE - len, "x%03u/",
					(unsigned)(tile->number / unit % GROUP));
	len += (size_t)snprintf(path + len, TILE_PATH_SIZE - len, "%03u", (unsigned)(tile->number % GROUP));
	if (tile->width < TILE_WIDTH)
		snprintf(path + len, TILE_PATH_SIZE - len, ".p/%u", tile->width);
}

static const char *tile_scan_level(const char *at, int *ret_level)
{
	if (str_starts_with(at, "entries/")) {
		*ret_level = TILE_ENTRIES;
		return at + strlen("entries/");
	}
	*ret_level = at[0] - '0';
	return at[0] >= '0' && at[0] <= '0' + TILE_LEVEL_MAX && at[1] == '/' ? at + 2 : NULL;
}

static bool tile_scan_group(const char *at, uint64_t *number)
{
	for (size_t i = 0; i < 3; i++) {
		if (!str_ascii_is_digit(at[i]))
			return false;
		*number = *number * 10 + (uint64_t)(at[i] - '0');
	}
	return true;
}

static const char *tile_scan_number(const char *at, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (; *at == 'x'; at += 5)
		if (!tile_scan_group(at + 1, &number) || at[4] != '/' || number == 0 ||
		    number >= TREE_SIZE_MAX / TILE_WIDTH)
			return NULL;
	if (!tile_scan_group(at, &number))
		return NULL;
	*ret_number = number;
	return at + 3;
}

enum err tile_parse(const char *path, struct tile *ret_tile)
{
	struct tile tile = {.width = TILE_WIDTH};
	uint64_t width;
	const char *at;

	if (!str_starts_with(path, "tile/") || !(at = tile_scan_level(path + strlen("tile/"), &tile.level)) ||
	    !(at = tile_scan_number(at, &tile.number)))
		return E_INVAL;
	if (str_starts_with(at, ".p/")) {
		at += strlen(".p/");
		if (at[0] == '0' || str_parse_u64(at, TILE_WIDTH - 1, &width) != E_OK)
			return E_INVAL;
		tile.width = (unsigned)width;
	} else if (*at) {
		return E_INVAL;
	}
	if (tile_width(TREE_SIZE_MAX, tile.level, tile.number) < tile.width)
		return E_INVAL;
	*ret_tile = tile;
	return E_OK;
}

unsigned tile_width(uint64_t size, int level, uint64_t number)
{
	uint64_t len = tile_level_len(size, level);

	if (number > len / TILE_WIDTH)
		return 0;
	return number < len / TILE_WIDTH ? TILE_WIDTH : (unsigned)(len % TILE_WIDTH);
}

enum err tile_entry_put(struct buf *bundle, const void *entry, size_t len)
{
	if (len > TILE_ENTRY_MAX)
		return E_LIMIT;
	buf_reserve(bundle, LENGTH_BYTES + len);
	buf_put_u8(bundle, (uint8_t)(len >> 8));
	buf_put_u8(bundle, (uint8_t)len);
	buf_put(bundle, entry, len);
	return buf_status(bundle);
}

bool tile_entry_next(const uint8_t *bundle, size_t bundle_len, size_t *offset, const uint8_t **ret_entry,
		     size_t *ret_len)
{
	size_t len, left = bundle_len - *offset;
	const uint8_t *at;

	if (left < LENGTH_BYTES)
		return false;
	at = bundle + *offset;
	len = (size_t)at[0] << 8 | at[1];
	if (left - LENGTH_BYTES < len)
		return false;
	*ret_entry = at + LENGTH_BYTES;
	*ret_len = len;
	*offset += LENGTH_BYTES + len;
	return true;
}
