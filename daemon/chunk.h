/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes a body in the chunked transfer coding (RFC 9112 §7.1), strictly:
 * sizes are hexadecimal digits and nothing else, lines end in CR LF.  Chunk
 * extensions are skipped and trailer fields dropped, both bounded.  Pure.
 */
#ifndef CSRD_DAEMON_CHUNK_H
#define CSRD_DAEMON_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chunk_state {
	CHUNK_MORE = 1, /* all bytes were used, nothing is wrong so far */
	CHUNK_DATA,     /* a piece of the body was found: call again with what follows it */
	CHUNK_END,      /* the body is complete; what follows belongs to the next request */
	CHUNK_REFUSED,  /* status and why are set */
};

struct chunk {
	uint64_t max_body_bytes;
	size_t max_trailer_bytes;
	/* its own: */
	int step;
	uint64_t left;      /* of the chunk */
	uint64_t body_len;  /* announced so far */
	unsigned digits;    /* of the size, leading zeros not counted */
	size_t skipped_len; /* bytes of extensions and trailers so far */
	size_t line_len;    /* of the trailer line */
	bool line_is_field; /* its colon was there */
	/* refused: */
	int status;
	const char *why; /* static text, fit for the client */
};

void chunk_init(struct chunk *c, uint64_t max_body_bytes, size_t max_trailer_bytes);

/*
 * Looks at up to `len` bytes, which follow those of the last call, and says in
 * *ret_used how many it took.  After CHUNK_DATA the last *ret_data_len of
 * those are bytes of the body, which must be taken before the next call; after
 * anything else there are none.
 */
enum chunk_state chunk_decode(struct chunk *c, const char *bytes, size_t len, size_t *ret_used,
			      size_t *ret_data_len);

#endif
