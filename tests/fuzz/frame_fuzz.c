/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the socket: what is accepted is written again as the same bytes, and none of it may be missing.
 */
#include "hsm/frame.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t consumed = 0, unused;
		struct frame f, g;
		struct buf again;
		enum err e = frame_parse(data, size, &f, &consumed);

		if (e != E_OK) {
			FUZZ_CHECK(e == E_BUSY || e == E_PROTO);
			return 0;
		}
		FUZZ_CHECK(consumed == FRAME_HEADER_BYTES + f.payload_len && consumed <= size);
		FUZZ_CHECK(f.payload_len <= FRAME_PAYLOAD_MAX && f.payload == data + FRAME_HEADER_BYTES);
		FUZZ_CHECK(frame_parse(data, consumed - 1, &g, &unused) == E_BUSY);
		buf_init(&again, FRAME_BYTES_MAX);
		frame_put(&again, f.request_id, f.type, f.payload, f.payload_len);
		FUZZ_CHECK(buf_status(&again) == E_OK && again.len == consumed);
		FUZZ_CHECK(memcmp(again.data, data, consumed) == 0);
		buf_release(&again);
		data += consumed;
		size -= consumed;
	}
	return 0;
}
