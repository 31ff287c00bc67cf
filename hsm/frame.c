/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: cuts a stream of bytes into messages, and puts a message into the stream. */
#include "hsm/frame.h"

#include "hsm/wire.h"

#define LENGTH_BYTES 4
#define LENGTH_MIN (FRAME_HEADER_BYTES - LENGTH_BYTES)

void frame_put(struct buf *b, uint32_t request_id, uint16_t type, const void *payload, size_t payload_len)
{
	/* Checked before the first byte is put: a frame is never cut off half-way by a ceiling. */
	if (b->status == E_OK && (payload_len > FRAME_PAYLOAD_MAX || b->len > b->max ||
				  FRAME_HEADER_BYTES + payload_len > b->max - b->len))
		b->status = E_LIMIT;
	if (b->status != E_OK)
		return;
	wire_put_u32(b, (uint32_t)(LENGTH_MIN + payload_len));
	wire_put_u32(b, request_id);
	wire_put_u16(b, type);
	if (payload_len > 0)
		buf_put(b, payload, payload_len);
}

enum err frame_parse(const uint8_t *data, size_t len, struct frame *ret_frame, size_t *ret_consumed)
{
	struct wire_reader r;
	size_t length;

	if (len < LENGTH_BYTES)
		return E_BUSY;
	wire_reader_init(&r, data, len);
	length = wire_get_u32(&r);
	if (length < LENGTH_MIN || length > LENGTH_MIN + FRAME_PAYLOAD_MAX)
		return E_PROTO;
	if (len - LENGTH_BYTES < length)
		return E_BUSY;
	ret_frame->request_id = wire_get_u32(&r);
	ret_frame->type = wire_get_u16(&r);
	ret_frame->payload = r.at;
	ret_frame->payload_len = length - LENGTH_MIN;
	*ret_consumed = LENGTH_BYTES + length;
	return E_OK;
}
