/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot of the journal's names, behind which the right sum is put: what is read is written again as
 * the same. */
#include "base/str.h"
#include "hsm/signer/journal/live.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t hash[JOURNAL_HASH_BYTES];
	char hex[2 * JOURNAL_HASH_BYTES + 1];
	struct names *names = NULL;
	struct buf text, again;
	struct live live;
	enum err e;

	FUZZ_CHECK(names_new(&names) == E_OK);
	FUZZ_CHECK(EVP_Digest(data, size, hash, NULL, EVP_sha256(), NULL) == 1);
	str_hex(hex, hash, sizeof(hash));
	buf_init(&text, size + 128);
	buf_init(&again, 1 << 20);
	buf_put(&text, data, size);
	buf_printf(&text, "sum %s\n", hex);
	FUZZ_CHECK(buf_status(&text) == E_OK);
	e = live_read(&text, &live, names);
	FUZZ_CHECK(e == E_OK || e == E_PROTO);
	if (e == E_OK) {
		FUZZ_CHECK(live_write(&live, names, &again) == E_OK);
		FUZZ_CHECK(text.len == again.len && memcmp(text.data, again.data, text.len) == 0);
	}
	buf_release(&text);
	buf_release(&again);
	names_free(names);
	return 0;
}
