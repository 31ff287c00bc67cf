/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints. */
#include "tlog/checkpoint.h"

#include "tlog/lines.h"
#include "tlog/note.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

enum err checkpoint_put(const char *origin, const struct tree_head *head, struct buf *out)
{
	if (!note_key_name_is_valid(origin, strlen(origin)) || head->size > TREE_SIZE_MAX)
		return E_INVAL;
	buf_printf(out, "%s\n%" PRIu64 "\n", origin, head->size);
	lines_put_hash(out, &head->root);
	return buf_status(out);
}

/* Each of them ends in a newline and is not empty. */
static bool checkpoint_is_extension(struct span rest)
{
	struct span line;

	while (lines_next(&rest, &line))
		if (line.len == 0)
			return false;
	return rest.len == 0;
}

enum err checkpoint_parse(const char *text, size_t len, struct checkpoint *ret_checkpoint)
{
	struct span origin, size, root, rest = {.text = text, .len = len};
	struct checkpoint checkpoint;

	if (!lines_next(&rest, &origin) || origin.len == 0 || !lines_next(&rest, &size) ||
	    !lines_number(size, TREE_SIZE_MAX, &checkpoint.head.size) || !lines_next(&rest, &root) ||
	    !lines_hash(root, &checkpoint.head.root) || !checkpoint_is_extension(rest))
		return E_PROTO;
	checkpoint.origin = origin.text;
	checkpoint.origin_len = origin.len;
	checkpoint.extension = rest.text;
	checkpoint.extension_len = rest.len;
	*ret_checkpoint = checkpoint;
	return E_OK;
}

enum err checkpoint_open(const void *note, size_t len, const struct note_key *key,
			 struct checkpoint *ret_checkpoint)
{
	struct checkpoint checkpoint;
	struct note parsed;
	enum err e;

	if ((e = note_parse(note, len, &parsed)) != E_OK || (e = note_verify(&parsed, key)) != E_OK ||
	    (e = checkpoint_parse(parsed.text, parsed.text_len, &checkpoint)) != E_OK)
		return e;
	if (checkpoint.origin_len != strlen(key->name) ||
	    memcmp(checkpoint.origin, key->name, checkpoint.origin_len) != 0)
		return E_PROTO;
	*ret_checkpoint = checkpoint;
	return E_OK;
}
