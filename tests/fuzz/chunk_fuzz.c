/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F39.  A chunked body: it comes to the same end in pieces of any length, keeps
 * to its bounds, and what is accepted, sent again in one chunk, is accepted as
 * the same bytes.
 */
#include "daemon/chunk.h"
#include "tests/fuzz/fuzz.h"

#define MAX_BODY 4096
#define MAX_TRAILER 256

struct decoded {
	enum chunk_state state;
	char body[MAX_BODY];
	size_t body_len;
	size_t used;
	int status;
};

static void decode(const char *bytes, size_t len, size_t piece, struct decoded *d)
{
	struct chunk c;

	*d = (struct decoded){.state = CHUNK_MORE};
	chunk_init(&c, MAX_BODY, MAX_TRAILER);
	while (d->used < len && (d->state == CHUNK_MORE || d->state == CHUNK_DATA)) {
		size_t n = len - d->used < piece ? len - d->used : piece, used = 0, data_len = 0;

		d->state = chunk_decode(&c, bytes + d->used, n, &used, &data_len);
		FUZZ_CHECK(used <= n && data_len <= used && d->body_len + data_len <= MAX_BODY);
		FUZZ_CHECK((d->state == CHUNK_DATA) == (data_len > 0));
		FUZZ_CHECK(d->state != CHUNK_MORE || used == n);
		memcpy(d->body + d->body_len, bytes + d->used + used - data_len, data_len);
		d->body_len += data_len;
		d->used += used;
	}
	if (d->state == CHUNK_DATA)
		d->state = CHUNK_MORE;
	d->status = d->state == CHUNK_REFUSED ? c.status : 0;
	FUZZ_CHECK(d->state != CHUNK_REFUSED || (c.why && c.status >= 400));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decoded whole, pieces;
	static char again[MAX_BODY + 64];
	size_t piece = 1 + fuzz_byte(&data, &size) % 17, len;

	decode((const char *)data, size, size, &whole);
	decode((const char *)data, size, piece, &pieces);
	FUZZ_CHECK(whole.state == pieces.state && whole.status == pieces.status);
	if (whole.state == CHUNK_REFUSED)
		return 0;
	FUZZ_CHECK(whole.body_len == pieces.body_len && whole.used == pieces.used);
	FUZZ_CHECK(memcmp(whole.body, pieces.body, whole.body_len) == 0);
	if (whole.state != CHUNK_END)
		return 0;
	len = whole.body_len == 0 ? 0 : (size_t)snprintf(again, sizeof(again), "%zx\r\n", whole.body_len);
	memcpy(again + len, whole.body, whole.body_len);
	len += whole.body_len;
	len += (size_t)snprintf(again + len, sizeof(again) - len, "%s0\r\n\r\n",
				whole.body_len == 0 ? "" : "\r\n");
	decode(again, len, len, &pieces);
	FUZZ_CHECK(pieces.state == CHUNK_END && pieces.used == len && pieces.body_len == whole.body_len);
	FUZZ_CHECK(memcmp(whole.body, pieces.body, whole.body_len) == 0);
	return 0;
}
