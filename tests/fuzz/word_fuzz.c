/* SPDX-License-Identifier: Apache-2.0 */
/* A node's word on the token: what is read is written again as the same bytes, but for the order of its
 * names. */
#include "hsm/signer/stock/word.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct word word = {0};
	struct word sorted = {0};
	struct buf again, twice;
	enum err e = word_decode(data, size, &word);

	FUZZ_CHECK(e == E_OK || e == E_PROTO);
	if (e == E_OK) {
		buf_init(&again, 1 << 20);
		word_encode(&again, &word);
		FUZZ_CHECK(buf_status(&again) == E_OK);
		FUZZ_CHECK(again.len == size && word_decode(again.data, again.len, &sorted) == E_OK);
		buf_init(&twice, 1 << 20);
		word_encode(&twice, &sorted);
		FUZZ_CHECK(twice.len == size && memcmp(again.data, twice.data, size) == 0);
		size -= sorted.names_len * KEY_NAME_BYTES;
		FUZZ_CHECK(memcmp(again.data, data, size) == 0);
		word_release(&sorted);
		buf_release(&twice);
		buf_release(&again);
		word_release(&word);
	}
	return 0;
}
