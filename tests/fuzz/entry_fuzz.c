/* SPDX-License-Identifier: Apache-2.0 */
/* An entry of the signer's journal: there is exactly one text of it, so what is read is written again as the
 * same. */
#include "hsm/signer/journal/entry.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal_entry *entry = calloc(1, sizeof(*entry));
	struct entry_draft draft;
	struct buf again;
	enum err e;

	FUZZ_CHECK(entry);
	e = entry_read(data, size, entry);
	FUZZ_CHECK(e == E_OK || e == E_PROTO);
	if (e == E_OK) {
		entry_draft_init(&draft);
		buf_init(&again, ENTRY_BYTES_MAX);
		FUZZ_CHECK(entry_draft_write(entry, &draft) == E_OK);
		FUZZ_CHECK(entry_complete(&draft, entry->index, entry->prev, &again) == E_OK);
		FUZZ_CHECK(again.len == size && memcmp(again.data, data, size) == 0);
		/* None of its beginnings is another. */
		for (size_t len = 0; len < size; len++)
			FUZZ_CHECK(entry_is_cut_short(data, len));
		buf_release(&again);
		entry_draft_release(&draft);
	}
	free(entry);
	return 0;
}
