/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: what travels over the socket.  Four bytes of length (of what
 * follows them), four bytes of request id, two bytes of message type, then the
 * payload.  All big-endian.  It knows neither messages nor descriptors.
 */
#ifndef CSRD_HSM_FRAME_H
#define CSRD_HSM_FRAME_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_BYTES 10
#define FRAME_PAYLOAD_MAX (128 * 1024)
#define FRAME_BYTES_MAX (FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX)

struct frame {
	uint32_t request_id;
	uint16_t type;
	const uint8_t *payload; /* borrowed from the input */
	size_t payload_len;
};

/* Appends one frame; check buf_status.  A payload over FRAME_PAYLOAD_MAX fails it with E_LIMIT. */
void frame_put(struct buf *b, uint32_t request_id, uint16_t type, const void *payload, size_t payload_len);

/*
 * Looks for a whole frame at the front of data.  E_OK: *ret_frame is set and
 * *ret_consumed is its size; E_BUSY: more bytes are needed; E_PROTO: the
 * length is under 6 or over the cap.
 */
MUST_USE enum err frame_parse(const uint8_t *data, size_t len, struct frame *ret_frame, size_t *ret_consumed);

#endif
