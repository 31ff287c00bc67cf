/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages, as the signer reads requests and as csrd reads replies (the first
 * byte says which): one is refused with E_PROTO, or it is written again as the
 * same bytes; a hello of another version, an error of another code and key types
 * that nobody knows as what was understood of them.
 */
#include "hsm/message.h"
#include "tests/fuzz/fuzz.h"

typedef enum err (*read_fn)(const uint8_t *data, size_t size, struct buf *again);

#define NOTHING_TO_RELEASE(m) (void)(m)
#define READER(name, type, release)                                                                          \
	static enum err read_##name(const uint8_t *data, size_t size, struct buf *again)                     \
	{                                                                                                    \
		struct type m;                                                                               \
		enum err e = message_##name##_decode(data, size, &m);                                        \
                                                                                                             \
		if (e == E_OK) {                                                                             \
			message_##name##_encode(again, &m);                                                  \
			release(&m);                                                                         \
		}                                                                                            \
		return e;                                                                                    \
	}
#define OWNER(name) READER(name, message_##name, message_##name##_release)
#define PLAIN(name) READER(name, message_##name, NOTHING_TO_RELEASE)

OWNER(hello)
OWNER(hello_reply)
OWNER(create_csr)
OWNER(create_csr_reply)
PLAIN(key_request)
PLAIN(destroy_key_reply)
PLAIN(find_key_reply)
OWNER(inspect_key_reply)
PLAIN(list_keys)
OWNER(list_keys_part)
OWNER(list_pools_reply)
PLAIN(destroy_pool)
OWNER(confirm)
PLAIN(unsettled)
OWNER(unsettled_reply)
READER(note_store, message_store, NOTHING_TO_RELEASE)
OWNER(status_reply)
OWNER(error)

static const read_fn readers[] = {
    read_hello,
    read_hello_reply,
    read_create_csr,
    read_create_csr_reply,
    read_key_request,
    read_destroy_key_reply,
    read_find_key_reply,
    read_inspect_key_reply,
    read_list_keys,
    read_list_keys_part,
    read_list_pools_reply,
    read_destroy_pool,
    read_confirm,
    read_unsettled,
    read_unsettled_reply,
    read_note_store,
    read_status_reply,
    read_error,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t which = fuzz_byte(&data, &size);
	struct buf again, twice;
	enum err e;

	which %= (uint8_t)(sizeof(readers) / sizeof(readers[0]));
	buf_init(&again, 1 << 20);
	buf_init(&twice, 1 << 20);
	e = readers[which](data, size, &again);
	FUZZ_CHECK(e == E_OK || e == E_PROTO);
	if (e == E_OK) {
		FUZZ_CHECK(buf_status(&again) == E_OK);
		if (readers[which] == read_hello || readers[which] == read_hello_reply ||
		    readers[which] == read_status_reply || readers[which] == read_error)
			data = again.data, size = again.len;
		FUZZ_CHECK(again.len == size && (size == 0 || memcmp(again.data, data, size) == 0));
		FUZZ_CHECK(readers[which](data, size, &twice) == E_OK && twice.len == size);
		FUZZ_CHECK(size == 0 || memcmp(twice.data, data, size) == 0);
	}
	buf_release(&again);
	buf_release(&twice);
	return 0;
}
