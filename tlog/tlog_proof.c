/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs as texts. */
#include "tlog/tlog_proof.h"

#include "tlog/base64.h"
#include "tlog/checkpoint.h"
#include "tlog/lines.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define FIRST_LINE "c2sp.org/tlog-proof@v1"

enum err tlog_proof_put(const struct tlog_proof *proof, struct buf *out)
{
	buf_put_str(out, FIRST_LINE "\n");
	if (proof->extra) {
		buf_put_str(out, "extra ");
		base64_put(out, proof->extra, proof->extra_len);
		buf_put_u8(out, '\n');
	}
	buf_printf(out, "index %" PRIu64 "\n", proof->index);
	for (size_t i = 0; i < proof->inclusion.len; i++)
		lines_put_hash(out, &proof->inclusion.hashes[i]);
	buf_put_u8(out, '\n');
	buf_put(out, proof->checkpoint, proof->checkpoint_len);
	return buf_status(out);
}

static enum err tlog_proof_parse_extra(struct span base64, struct buf *extra, struct tlog_proof *proof)
{
	uint8_t chunk[48];
	size_t len;
	enum err e = E_OK;

	if (base64.len > (TLOG_PROOF_EXTRA_MAX + 2) / 3 * 4)
		return E_PROTO;
	buf_reset(extra);
	while (base64.len > 0) {
		size_t part = base64.len < 64 ? base64.len : 64;

		/* Padding is where the text ends and nowhere else. */
		if (base64_read(base64.text, part, chunk, sizeof(chunk), &len) != E_OK ||
		    (part < base64.len && len < sizeof(chunk)))
			return E_PROTO;
		buf_put(extra, chunk, len);
		base64.text += part;
		base64.len -= part;
	}
	if ((e = buf_status(extra)) != E_OK)
		return e == E_LIMIT ? E_PROTO : e;
	proof->extra = buf_text(extra);
	proof->extra_len = extra->len;
	return E_OK;
}

enum err tlog_proof_parse(const void *text, size_t len, struct buf *extra, struct tlog_proof *ret_proof)
{
	struct span line, rest = {.text = text, .len = len};
	struct tlog_proof proof = {0};
	enum err e;

	if (!lines_next(&rest, &line) || !lines_skip(&line, FIRST_LINE) || line.len > 0 ||
	    !lines_next(&rest, &line))
		return E_PROTO;
	if (lines_skip(&line, "extra ")) {
		if ((e = tlog_proof_parse_extra(line, extra, &proof)) != E_OK)
			return e;
		if (!lines_next(&rest, &line))
			return E_PROTO;
	}
	if (!lines_skip(&line, "index ") || !lines_number(line, TREE_SIZE_MAX - 1, &proof.index))
		return E_PROTO;
	for (;;) {
		if (!lines_next(&rest, &line))
			return E_PROTO;
		if (line.len == 0)
			break;
		if (proof.inclusion.len == PROOF_HASHES_MAX ||
		    !lines_hash(line, &proof.inclusion.hashes[proof.inclusion.len++]))
			return E_PROTO;
	}
	proof.checkpoint = rest.text;
	proof.checkpoint_len = rest.len;
	*ret_proof = proof;
	return E_OK;
}

enum err tlog_proof_check(const struct tlog_proof *proof, const struct tree_hash *leaf,
			  const struct note_key *key)
{
	struct checkpoint checkpoint;
	enum err e = checkpoint_open(proof->checkpoint, proof->checkpoint_len, key, &checkpoint);

	return e == E_OK ? proof_check_inclusion(&proof->inclusion, proof->index, leaf, &checkpoint.head) : e;
}
