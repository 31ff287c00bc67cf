/* SPDX-License-Identifier: Apache-2.0 */
/* The codec, the frames and every message: round trips, caps, truncation at every byte, garbage. */
#include "base/buf.h"
#include "base/csr.h"
#include "hsm/frame.h"
#include "hsm/message.h"
#include "hsm/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CSR_ID "0b54b6a4-3c1f-4b5e-9f0e-1a2b3c4d5e6f"
#define KEY_LABEL "csrd-abcdefghijklmnopqrstuvwxya"

static char *repeated(char c, size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, c, len);
	text[len] = '\0';
	return text;
}

/* ---- the reader ---- */

static void reader_gives_back_what_was_put(void **state)
{
	struct buf b;
	struct wire_reader r;
	size_t len;
	const uint8_t *bytes;
	uint8_t raw[3];
	char *text;

	(void)state;
	buf_init(&b, 1024);
	wire_put_u8(&b, 0xfe);
	wire_put_u16(&b, 0x0102);
	wire_put_u32(&b, 0xfffefdfc);
	wire_put_u64(&b, 0x0102030405060708);
	wire_put_bytes(&b, "\0\1\2", 3);
	wire_put_text(&b, "Zürich");
	wire_put_text(&b, NULL);
	buf_put(&b, "raw", 3);
	assert_int_equal(buf_status(&b), E_OK);
	assert_memory_equal(
	    b.data, "\xfe\x01\x02\xff\xfe\xfd\xfc\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x03\0\1\2", 22);

	wire_reader_init(&r, b.data, b.len);
	assert_int_equal(wire_get_u8(&r), 0xfe);
	assert_int_equal(wire_get_u16(&r), 0x0102);
	assert_int_equal(wire_get_u32(&r), 0xfffefdfc);
	assert_true(wire_get_u64(&r) == 0x0102030405060708);
	bytes = wire_get_bytes(&r, 3, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(bytes, "\0\1\2", 3);
	text = wire_get_text(&r, 7);
	assert_string_equal(text, "Zürich");
	free(text);
	text = wire_get_text(&r, 0);
	assert_string_equal(text, "");
	free(text);
	assert_int_equal(wire_reader_finish(&r), E_PROTO); /* three bytes are left */
	wire_get_raw(&r, raw, 3);
	assert_memory_equal(raw, "raw", 3);
	assert_int_equal(wire_reader_finish(&r), E_OK);
	buf_release(&b);
}

static void reader_stays_bad(void **state)
{
	const uint8_t data[] = {0, 0, 0, 9, 'a', 'b'};
	struct wire_reader r;
	uint8_t raw[2] = {7, 7};
	size_t len = 99;

	(void)state;
	wire_reader_init(&r, data, sizeof(data));
	assert_null(wire_get_bytes(&r, 100, &len));
	assert_int_equal(len, 0);
	assert_int_equal(wire_get_u8(&r), 0);
	wire_get_raw(&r, raw, 2);
	assert_int_equal(raw[0], 0);
	assert_null(wire_get_text(&r, 10));
	assert_int_equal(wire_reader_finish(&r), E_PROTO);

	wire_reader_init(&r, NULL, 0);
	assert_int_equal(wire_reader_finish(&r), E_OK);
	assert_int_equal(wire_get_u8(&r), 0);
	assert_int_equal(wire_reader_finish(&r), E_PROTO);
}

static void text_is_refused(const char *bytes, size_t len, size_t max)
{
	struct buf b;
	struct wire_reader r;

	buf_init(&b, 1024);
	wire_put_bytes(&b, bytes, len);
	wire_reader_init(&r, b.data, b.len);
	assert_null(wire_get_text(&r, max));
	assert_int_equal(wire_reader_finish(&r), E_PROTO);
	buf_release(&b);
}

static void text_must_be_utf8_without_nul_and_within_its_cap(void **state)
{
	(void)state;
	text_is_refused("a\0b", 3, 10);
	text_is_refused("\xff", 1, 10);
	text_is_refused("\xc0\xaf", 2, 10);
	text_is_refused("\xed\xa0\x80", 3, 10);
	text_is_refused("Z\xc3", 2, 10);
	text_is_refused("abcd", 4, 3);
}

/* ---- frames ---- */

static void frames_come_out_of_a_stream_cut_anywhere(void **state)
{
	struct buf b;
	struct frame frame = {0};
	size_t consumed = 0;

	(void)state;
	buf_init(&b, 1024);
	frame_put(&b, 7, MESSAGE_FIND_KEY, "hello", 5);
	frame_put(&b, 0xfffffffe, MESSAGE_REPLY | MESSAGE_STATUS, NULL, 0);
	assert_int_equal(buf_status(&b), E_OK);
	assert_int_equal(b.len, 25);
	for (size_t len = 0; len < 15; len++) {
		uint8_t *cut = malloc(len + 1);

		assert_non_null(cut);
		memcpy(cut, b.data, len);
		assert_int_equal(frame_parse(cut, len, &frame, &consumed), E_BUSY);
		free(cut);
	}
	assert_int_equal(consumed, 0);
	assert_int_equal(frame_parse(b.data, b.len, &frame, &consumed), E_OK);
	assert_int_equal(consumed, 15);
	assert_int_equal(frame.request_id, 7);
	assert_int_equal(frame.type, MESSAGE_FIND_KEY);
	assert_int_equal(frame.payload_len, 5);
	assert_memory_equal(frame.payload, "hello", 5);
	for (size_t len = 15; len < 25; len++)
		assert_int_equal(frame_parse(b.data + 15, len - 15, &frame, &consumed), E_BUSY);
	assert_int_equal(frame_parse(b.data + 15, 10, &frame, &consumed), E_OK);
	assert_int_equal(consumed, 10);
	assert_int_equal(frame.request_id, 0xfffffffe);
	assert_int_equal(frame.type, 0x8006);
	assert_int_equal(frame.payload_len, 0);
	buf_release(&b);
}

static void frame_length_is_bounded(void **state)
{
	static const uint8_t five[] = {0, 0, 0, 5, 0, 0, 0, 0, 0, 0};
	static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff};
	const uint32_t most = 6 + FRAME_PAYLOAD_MAX;
	const uint8_t most_head[] = {(uint8_t)(most >> 24), (uint8_t)(most >> 16), (uint8_t)(most >> 8),
				     (uint8_t)most};
	const uint8_t over_head[] = {(uint8_t)(most >> 24), (uint8_t)(most >> 16), (uint8_t)(most >> 8),
				     (uint8_t)(most + 1)};
	struct frame frame;
	size_t consumed;

	(void)state;
	assert_int_equal(frame_parse(five, sizeof(five), &frame, &consumed), E_PROTO);
	assert_int_equal(frame_parse(huge, sizeof(huge), &frame, &consumed), E_PROTO);
	assert_int_equal(frame_parse(most_head, sizeof(most_head), &frame, &consumed), E_BUSY);
	assert_int_equal(frame_parse(over_head, sizeof(over_head), &frame, &consumed), E_PROTO);
}

static void frame_put_obeys_its_caps(void **state)
{
	struct buf b;
	uint8_t *payload = calloc(1, FRAME_PAYLOAD_MAX + 1);

	(void)state;
	assert_non_null(payload);
	buf_init(&b, 2 * FRAME_BYTES_MAX);
	frame_put(&b, 1, 1, payload, FRAME_PAYLOAD_MAX);
	assert_int_equal(buf_status(&b), E_OK);
	assert_int_equal(b.len, FRAME_BYTES_MAX);
	frame_put(&b, 1, 1, payload, FRAME_PAYLOAD_MAX + 1);
	assert_int_equal(buf_status(&b), E_LIMIT);
	assert_int_equal(b.len, FRAME_BYTES_MAX);
	buf_release(&b);

	/* A ceiling that is met never leaves half a frame behind. */
	buf_init(&b, 30);
	frame_put(&b, 1, 1, "12345", 5);
	frame_put(&b, 2, 1, "123456", 6);
	assert_int_equal(buf_status(&b), E_LIMIT);
	assert_int_equal(b.len, 15);
	buf_release(&b);
	free(payload);
}

/* ---- every message through one door: samples and decoders ---- */

static void make_spec(struct csr_spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	spec->key_type = KEY_P256V1;
	spec->country = strdup("CH");
	spec->state = strdup("Zürich");
	spec->locality = strdup("Uster");
	spec->organization = strdup("Example AG");
	spec->organizational_unit = strdup("");
	spec->common_name = strdup("www.example.com");
	assert_int_equal(csr_spec_add_san(spec, SAN_DNS, "www.Example.com"), E_OK);
	assert_int_equal(csr_spec_add_san(spec, SAN_IP, "192.0.2.1"), E_OK);
}

static void sample_hello(struct buf *b)
{
	char client[] = "csrd";

	message_hello_encode(b,
			     &(struct message_hello){.version = MESSAGE_PROTOCOL_VERSION, .client = client});
}

static enum err decode_hello(const uint8_t *data, size_t len)
{
	static const struct message_hello zero;
	struct message_hello m;
	enum err e = message_hello_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_hello_release(&m);
	return e;
}

static void sample_hello_reply(struct buf *b)
{
	char name[] = "default", label[] = "csrd token", serial[] = "8a9bfc00", maker[] = "SoftHSM project",
	     model[] = "SoftHSM v2";

	message_hello_reply_encode(
	    b, &(struct message_hello_reply){
		   .version = MESSAGE_PROTOCOL_VERSION,
		   .token_name = name,
		   .token_label = label,
		   .token_serial = serial,
		   .token_manufacturer = maker,
		   .token_model = model,
		   .key_types = KEY_TYPE_BIT(KEY_RSA2048),
		   .stores_len = 2,
		   .stores = {{.lineage = {1, 2}, .sequence = 1ull << 40}, {.lineage = {3}, .sequence = 5}}});
}

static void sample_note_store(struct buf *b)
{
	message_note_store_encode(b,
				  &(struct message_store){.lineage = {0xaa, 0xbb}, .sequence = 0x0102030405});
}

static enum err decode_note_store(const uint8_t *data, size_t len)
{
	static const struct message_store zero;
	struct message_store m;
	enum err e = message_note_store_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	return e;
}

static enum err decode_hello_reply(const uint8_t *data, size_t len)
{
	static const struct message_hello_reply zero;
	struct message_hello_reply m;
	enum err e = message_hello_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_hello_reply_release(&m);
	return e;
}

static void sample_create_csr(struct buf *b)
{
	struct message_create_csr m = {.timeout_ms = 30000, .csr_id = CSR_ID};

	make_spec(&m.spec);
	message_create_csr_encode(b, &m);
	message_create_csr_release(&m);
}

static enum err decode_create_csr(const uint8_t *data, size_t len)
{
	static const struct message_create_csr zero;
	struct message_create_csr m;
	enum err e = message_create_csr_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_create_csr_release(&m);
	return e;
}

static void sample_create_csr_reply(struct buf *b)
{
	uint8_t der[] = {0x30, 0x03, 0x02, 0x01, 0x00};
	struct message_create_csr_reply m = {
	    .key = {.label = KEY_LABEL}, .journal_index = 70001, .der = der, .der_len = sizeof(der)};

	m.key.key_type = KEY_RSA2048;
	memset(m.key.key_id, 0xab, sizeof(m.key.key_id));
	memset(m.key.spki_sha256, 0xcd, sizeof(m.key.spki_sha256));
	m.key.protection = KEY_PROT_REQUIRED;
	message_create_csr_reply_encode(b, &m);
}

static enum err decode_create_csr_reply(const uint8_t *data, size_t len)
{
	static const struct message_create_csr_reply zero;
	struct message_create_csr_reply m;
	enum err e = message_create_csr_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_create_csr_reply_release(&m);
	return e;
}

static void sample_key_request(struct buf *b)
{
	message_key_request_encode(b, &(struct message_key_request){.timeout_ms = 5, .label = KEY_LABEL});
}

static enum err decode_key_request(const uint8_t *data, size_t len)
{
	static const struct message_key_request zero;
	struct message_key_request m;
	enum err e = message_key_request_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	return e;
}

static void sample_destroy_reply(struct buf *b)
{
	message_destroy_key_reply_encode(b, &(struct message_destroy_key_reply){.destroyed = 2});
}

static enum err decode_destroy_reply(const uint8_t *data, size_t len)
{
	struct message_destroy_key_reply m;
	enum err e = message_destroy_key_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_int_equal(m.destroyed, 0);
	return e;
}

static void sample_find_reply(struct buf *b)
{
	struct message_find_key_reply m = {.presence = MESSAGE_KEY_PUBLIC_ONLY};

	memset(m.key_id, 0x11, sizeof(m.key_id));
	message_find_key_reply_encode(b, &m);
}

static enum err decode_find_reply(const uint8_t *data, size_t len)
{
	static const struct message_find_key_reply zero;
	struct message_find_key_reply m;
	enum err e = message_find_key_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	return e;
}

static void sample_inspect_reply(struct buf *b)
{
	char detail[] = "no reason";
	struct message_inspect_key_reply m = {
	    .presence = MESSAGE_KEY_PAIR,
	    .has_key = true,
	    .key = {.key_type = KEY_P384V1,
		    .label = KEY_LABEL,
		    .protection = KEY_PROT_REQUIRED | KEY_PROT_DERIVE},
	    .detail = detail,
	};

	memset(m.key_id, 0x11, sizeof(m.key_id));
	memset(m.key.key_id, 0x22, sizeof(m.key.key_id));
	memset(m.key.spki_sha256, 0x33, sizeof(m.key.spki_sha256));
	message_inspect_key_reply_encode(b, &m);
}

static enum err decode_inspect_reply(const uint8_t *data, size_t len)
{
	static const struct message_inspect_key_reply zero;
	struct message_inspect_key_reply m;
	enum err e = message_inspect_key_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_inspect_key_reply_release(&m);
	return e;
}

static void sample_list_keys(struct buf *b)
{
	message_list_keys_encode(b, &(struct message_list_keys){.timeout_ms = 60000});
}

static enum err decode_list_keys(const uint8_t *data, size_t len)
{
	struct message_list_keys m;

	return message_list_keys_decode(data, len, &m);
}

static void sample_list_part(struct buf *b)
{
	char one[] = KEY_LABEL, two[] = "csrd:by hand";
	struct message_listed_key keys[] = {
	    {.label = one, .life = MESSAGE_LIFE_USED, .presence = MESSAGE_KEY_PAIR},
	    {.label = two, .presence = MESSAGE_KEY_AMBIGUOUS}};

	memset(keys[0].key_id, 1, KEY_ID_BYTES);
	message_list_keys_part_encode(
	    b, &(struct message_list_keys_part){.last = true, .unread = 70000, .keys = keys, .keys_len = 2});
}

static enum err decode_list_part(const uint8_t *data, size_t len)
{
	static const struct message_list_keys_part zero;
	struct message_list_keys_part m;
	enum err e = message_list_keys_part_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_list_keys_part_release(&m);
	return e;
}

static void sample_confirm(struct buf *b)
{
	static const char labels[][KEY_LABEL_SIZE] = {KEY_LABEL, "csrd:" CSR_ID};

	message_confirm_encode(b, &(struct message_confirm){.kept = true, .labels = labels, .labels_len = 2});
}

static enum err decode_confirm(const uint8_t *data, size_t len)
{
	static const struct message_confirm zero;
	struct message_confirm m;
	enum err e = message_confirm_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_confirm_release(&m);
	return e;
}

static void sample_unsettled(struct buf *b)
{
	message_unsettled_encode(b, &(struct message_unsettled){.timeout_ms = 6, .from = (uint64_t)7 << 40});
}

static enum err decode_unsettled(const uint8_t *data, size_t len)
{
	static const struct message_unsettled zero;
	struct message_unsettled m;
	enum err e = message_unsettled_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	return e;
}

static void sample_unsettled_reply(struct buf *b)
{
	struct message_unsettled_key keys[] = {
	    {.label = KEY_LABEL, .csr_id = CSR_ID, .journal_index = 7},
	    {.label = KEY_LABEL, .csr_id = CSR_ID, .journal_index = (uint64_t)9 << 40}};

	memset(keys[1].spki_sha256, 0xcd, sizeof(keys[1].spki_sha256));
	message_unsettled_reply_encode(
	    b, &(struct message_unsettled_reply){.more = true, .keys = keys, .keys_len = 2});
}

static enum err decode_unsettled_reply(const uint8_t *data, size_t len)
{
	static const struct message_unsettled_reply zero;
	struct message_unsettled_reply m;
	enum err e = message_unsettled_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_unsettled_reply_release(&m);
	return e;
}

static void sample_list_pools_reply(struct buf *b)
{
	char first[] = "0123456789ab", second[] = "hsm-client-1";
	struct message_node_pool nodes[] = {{first, 10, 9}, {second, 0, 1}};

	message_list_pools_reply_encode(
	    b, &(struct message_list_pools_reply){.more = true, .unread = 3, .nodes = nodes, .nodes_len = 2});
}

static enum err decode_list_pools_reply(const uint8_t *data, size_t len)
{
	static const struct message_list_pools_reply zero;
	struct message_list_pools_reply m;
	enum err e = message_list_pools_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_list_pools_reply_release(&m);
	return e;
}

static void sample_destroy_pool(struct buf *b)
{
	message_destroy_pool_encode(b, &(struct message_destroy_pool){.timeout_ms = 5, .node = "node-1"});
}

static enum err decode_destroy_pool(const uint8_t *data, size_t len)
{
	struct message_destroy_pool m;

	return message_destroy_pool_decode(data, len, &m);
}

static void sample_status_reply(struct buf *b)
{
	char detail[] = "token removed";

	message_status_reply_encode(b, &(struct message_status_reply){.usable = true,
								      .detail = detail,
								      .threads = 4,
								      .busy = 3,
								      .queued = 2,
								      .created = 1ull << 40,
								      .destroyed = 7,
								      .failed = 8,
								      .token_flags = 0x40d,
								      .key_types = KEY_TYPE_BIT(KEY_P256V1),
								      .pools_len = 1,
								      .pools = {{KEY_RSA2048, 5, 9}},
								      .pool_detail = detail,
								      .other_nodes = 2,
								      .other_keys = 20,
								      .capabilities = detail});
}

static enum err decode_status_reply(const uint8_t *data, size_t len)
{
	static const struct message_status_reply zero;
	struct message_status_reply m;
	enum err e = message_status_reply_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_status_reply_release(&m);
	return e;
}

static void sample_error(struct buf *b)
{
	char detail[] = "queue is full";

	message_error_encode(b, &(struct message_error){.code = E_BUSY, .detail = detail});
}

static enum err decode_error(const uint8_t *data, size_t len)
{
	static const struct message_error zero;
	struct message_error m;
	enum err e = message_error_decode(data, len, &m);

	if (e != E_OK)
		assert_memory_equal(&m, &zero, sizeof(m));
	else
		message_error_release(&m);
	return e;
}

static const struct {
	const char *name;
	void (*sample)(struct buf *b);
	enum err (*decode)(const uint8_t *data, size_t len);
} messages[] = {
    {"hello", sample_hello, decode_hello},
    {"hello reply", sample_hello_reply, decode_hello_reply},
    {"create-csr", sample_create_csr, decode_create_csr},
    {"create-csr reply", sample_create_csr_reply, decode_create_csr_reply},
    {"key request", sample_key_request, decode_key_request},
    {"destroy-key reply", sample_destroy_reply, decode_destroy_reply},
    {"find-key reply", sample_find_reply, decode_find_reply},
    {"inspect-key reply", sample_inspect_reply, decode_inspect_reply},
    {"list-keys", sample_list_keys, decode_list_keys},
    {"list-keys part", sample_list_part, decode_list_part},
    {"confirm", sample_confirm, decode_confirm},
    {"unsettled", sample_unsettled, decode_unsettled},
    {"unsettled reply", sample_unsettled_reply, decode_unsettled_reply},
    {"list-pools reply", sample_list_pools_reply, decode_list_pools_reply},
    {"destroy-pool", sample_destroy_pool, decode_destroy_pool},
    {"status reply", sample_status_reply, decode_status_reply},
    {"note-store", sample_note_store, decode_note_store},
    {"error", sample_error, decode_error},
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

/* Each cut lies in memory of exactly its size, so a sanitizer sees one byte read too many. */
static void every_truncation_and_one_byte_more_is_a_protocol_error(void **state)
{
	(void)state;
	for (size_t i = 0; i < MESSAGES; i++) {
		struct buf b;

		buf_init(&b, FRAME_PAYLOAD_MAX);
		messages[i].sample(&b);
		assert_int_equal(buf_status(&b), E_OK);
		assert_int_equal(messages[i].decode(b.data, b.len), E_OK);
		for (size_t len = 0; len < b.len; len++) {
			uint8_t *cut = malloc(len > 0 ? len : 1);

			assert_non_null(cut);
			memcpy(cut, b.data, len);
			if (messages[i].decode(cut, len) != E_PROTO)
				fail_msg("%s cut to %zu of %zu bytes was accepted", messages[i].name, len,
					 b.len);
			free(cut);
		}
		buf_put_u8(&b, 0);
		assert_int_equal(messages[i].decode(b.data, b.len), E_PROTO);
		buf_release(&b);
	}
}

static uint64_t random_state;

static uint32_t random_u32(void)
{
	/* xorshift64*: the same bytes in every run */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dull) >> 32);
}

static void garbage_is_survived(void **state)
{
	struct frame frame;
	size_t consumed;
	unsigned accepted = 0;

	(void)state;
	random_state = 20240229;
	for (unsigned round = 0; round < 4000; round++) {
		for (size_t i = 0; i < MESSAGES; i++) {
			struct buf b;
			size_t len;
			uint8_t *copy;

			buf_init(&b, FRAME_PAYLOAD_MAX);
			messages[i].sample(&b);
			for (unsigned flips = 1 + random_u32() % 8; flips > 0; flips--)
				b.data[random_u32() % b.len] = (uint8_t)random_u32();
			len = random_u32() % 4 == 0 ? random_u32() % (b.len + 1) : b.len;
			copy = malloc(len > 0 ? len : 1);
			assert_non_null(copy);
			memcpy(copy, b.data, len);
			switch (messages[i].decode(copy, len)) {
			case E_OK:
				accepted++;
				break;
			case E_PROTO:
				break;
			default:
				fail_msg("%s: unexpected error", messages[i].name);
			}
			(void)!frame_parse(copy, len, &frame, &consumed);
			free(copy);
			buf_release(&b);
		}
	}
	assert_true(accepted > 0);
}

/* ---- round trips, value by value ---- */

static void hello_round_trip(void **state)
{
	struct buf b;
	struct message_hello m;
	struct message_hello_reply reply;

	(void)state;
	buf_init(&b, 1024);
	sample_hello(&b);
	assert_int_equal(message_hello_decode(b.data, b.len, &m), E_OK);
	assert_int_equal(m.version, MESSAGE_PROTOCOL_VERSION);
	assert_string_equal(m.client, "csrd");
	message_hello_release(&m);
	buf_reset(&b);
	sample_hello_reply(&b);
	assert_int_equal(message_hello_reply_decode(b.data, b.len, &reply), E_OK);
	assert_string_equal(reply.token_name, "default");
	assert_string_equal(reply.token_label, "csrd token");
	assert_string_equal(reply.token_serial, "8a9bfc00");
	assert_string_equal(reply.token_manufacturer, "SoftHSM project");
	assert_string_equal(reply.token_model, "SoftHSM v2");
	assert_int_equal(reply.key_types, KEY_TYPE_BIT(KEY_RSA2048));
	assert_int_equal(reply.stores_len, 2);
	assert_int_equal(reply.stores[0].lineage[1], 2);
	assert_true(reply.stores[0].sequence == 1ull << 40);
	assert_int_equal(reply.stores[1].lineage[0], 3);
	assert_int_equal(reply.stores[1].sequence, 5);
	message_hello_reply_release(&reply);
	buf_release(&b);
}

static void note_store_round_trip(void **state)
{
	static const uint8_t wire[] = {0xaa, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
				       0,    0,    0, 0, 0, 0, 0, 1, 2, 3, 4, 5};
	struct message_store m;
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	sample_note_store(&b);
	assert_int_equal(buf_status(&b), E_OK);
	assert_int_equal(b.len, sizeof(wire));
	assert_memory_equal(b.data, wire, sizeof(wire));
	assert_int_equal(message_note_store_decode(b.data, b.len, &m), E_OK);
	assert_true(m.sequence == 0x0102030405);
	/* A sequence that no store can have. */
	b.data[MESSAGE_LINEAGE_BYTES] = 0x80;
	assert_int_equal(message_note_store_decode(b.data, b.len, &m), E_PROTO);
	buf_reset(&b);
	message_note_store_encode(&b, &(struct message_store){.sequence = UINT64_MAX});
	assert_int_equal(buf_status(&b), E_LIMIT);
	buf_release(&b);
}

static void hello_of_another_version_is_understood_as_such(void **state)
{
	static const uint8_t next[] = {0, 0, 0, MESSAGE_PROTOCOL_VERSION + 1, 0xff, 0xff, 1, 2, 3};
	struct message_hello m;
	struct message_hello_reply reply;

	(void)state;
	assert_int_equal(message_hello_decode(next, sizeof(next), &m), E_OK);
	assert_int_equal(m.version, MESSAGE_PROTOCOL_VERSION + 1);
	assert_null(m.client);
	assert_int_equal(message_hello_reply_decode(next, sizeof(next), &reply), E_OK);
	assert_int_equal(reply.version, MESSAGE_PROTOCOL_VERSION + 1);
	assert_null(reply.token_label);
	assert_int_equal(reply.key_types, 0);
}

static void key_types_of_a_newer_signer_are_left_out(void **state)
{
	struct buf b;
	struct message_hello_reply reply;

	(void)state;
	buf_init(&b, 1024);
	message_hello_reply_encode(
	    &b, &(struct message_hello_reply){.version = MESSAGE_PROTOCOL_VERSION, .key_types = 0xffffffff});
	assert_int_equal(message_hello_reply_decode(b.data, b.len, &reply), E_OK);
	assert_int_equal(reply.key_types, KEY_TYPES_ALL);
	assert_int_equal(KEY_TYPES_ALL, 0x7e);
	message_hello_reply_release(&reply);
	buf_release(&b);
}

static void create_csr_round_trip(void **state)
{
	struct buf b;
	struct message_create_csr m;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	sample_create_csr(&b);
	assert_int_equal(message_create_csr_decode(b.data, b.len, &m), E_OK);
	assert_int_equal(m.timeout_ms, 30000);
	assert_string_equal(m.csr_id, CSR_ID);
	assert_int_equal(m.spec.key_type, KEY_P256V1);
	assert_string_equal(m.spec.country, "CH");
	assert_string_equal(m.spec.state, "Zürich");
	assert_string_equal(m.spec.locality, "Uster");
	assert_string_equal(m.spec.organization, "Example AG");
	assert_string_equal(m.spec.organizational_unit, ""); /* empty is not the same as absent */
	assert_string_equal(m.spec.common_name, "www.example.com");
	assert_int_equal(m.spec.sans_len, 2);
	assert_int_equal(m.spec.sans[0].type, SAN_DNS);
	assert_string_equal(m.spec.sans[0].value, "www.Example.com");
	assert_int_equal(m.spec.sans[1].type, SAN_IP);
	assert_string_equal(m.spec.sans[1].value, "192.0.2.1");
	free(m.spec.organizational_unit);
	m.spec.organizational_unit = NULL;
	buf_reset(&b);
	message_create_csr_encode(&b, &m);
	message_create_csr_release(&m);
	assert_int_equal(message_create_csr_decode(b.data, b.len, &m), E_OK);
	assert_null(m.spec.organizational_unit);
	message_create_csr_release(&m);
	buf_release(&b);
}

static void largest_create_csr_fits_a_frame(void **state)
{
	struct buf b, framed;
	struct message_create_csr m = {.timeout_ms = UINT32_MAX, .csr_id = CSR_ID};
	char *field = repeated('x', CSR_FIELD_BYTES_MAX);
	char *san = repeated('s', CSR_SAN_BYTES_MAX);

	(void)state;
	m.spec.key_type = KEY_RSA2048;
	m.spec.country = strdup(field);
	m.spec.state = strdup(field);
	m.spec.locality = strdup(field);
	m.spec.organization = strdup(field);
	m.spec.organizational_unit = strdup(field);
	m.spec.common_name = strdup(field);
	for (unsigned i = 0; i < CSR_SANS_MAX; i++)
		assert_int_equal(csr_spec_add_san(&m.spec, SAN_URI, san), E_OK);
	buf_init(&b, FRAME_PAYLOAD_MAX);
	buf_init(&framed, FRAME_BYTES_MAX);
	message_create_csr_encode(&b, &m);
	assert_int_equal(buf_status(&b), E_OK);
	frame_put(&framed, 1, MESSAGE_CREATE_CSR, b.data, b.len);
	assert_int_equal(buf_status(&framed), E_OK);
	message_create_csr_release(&m);
	assert_int_equal(message_create_csr_decode(b.data, b.len, &m), E_OK);
	assert_int_equal(m.spec.sans_len, CSR_SANS_MAX);
	message_create_csr_release(&m);
	buf_release(&framed);
	buf_release(&b);
	free(field);
	free(san);
}

static void expect_create_refused(const struct message_create_csr *m)
{
	struct buf b;

	buf_init(&b, FRAME_PAYLOAD_MAX);
	message_create_csr_encode(&b, m);
	assert_int_equal(buf_status(&b), E_LIMIT);
	buf_release(&b);
}

static void create_csr_that_breaks_a_cap_is_not_encoded(void **state)
{
	struct message_create_csr m = {.csr_id = CSR_ID};
	char *field = repeated('x', CSR_FIELD_BYTES_MAX + 1);
	char *san = repeated('x', CSR_SAN_BYTES_MAX + 1);
	char *kept;

	(void)state;
	make_spec(&m.spec);
	kept = m.spec.locality;
	m.spec.locality = field;
	expect_create_refused(&m);
	m.spec.locality = kept;
	kept = m.spec.sans[1].value;
	m.spec.sans[1].value = san;
	expect_create_refused(&m);
	m.spec.sans[1].value = kept;
	kept = m.spec.common_name;
	m.spec.common_name = strdup("\xc0\xaf");
	expect_create_refused(&m);
	free(m.spec.common_name);
	m.spec.common_name = kept;
	m.spec.key_type = (enum key_type)(KEY_TYPE_MAX + 1);
	expect_create_refused(&m);
	m.spec.key_type = KEY_RSA2048;
	m.spec.sans[0].type = (enum san_type)9;
	expect_create_refused(&m);
	m.spec.sans[0].type = SAN_DNS;
	m.csr_id[0] = 'A';
	expect_create_refused(&m);
	m.csr_id[0] = 'g';
	expect_create_refused(&m);
	m.csr_id[0] = '\0';
	expect_create_refused(&m);
	message_create_csr_release(&m);
	free(field);
	free(san);
}

/* Bytes of a good create-csr with one place overwritten. */
static enum err create_decoded_with(size_t offset, const void *bytes, size_t len)
{
	struct buf b;
	enum err e;

	buf_init(&b, FRAME_PAYLOAD_MAX);
	sample_create_csr(&b);
	assert_true(offset + len <= b.len);
	memcpy(b.data + offset, bytes, len);
	e = decode_create_csr(b.data, b.len);
	buf_release(&b);
	return e;
}

static void create_csr_with_values_out_of_range_is_not_decoded(void **state)
{
	const size_t at_key_type = 4 + 36;
	const size_t at_country = at_key_type + 4;
	const size_t at_unit_flag = at_country + 4 + 2 + 4 + 7 + 4 + 5 + 4 + 10;
	const size_t at_sans = at_unit_flag + 1 + 4 + 4 + 15;

	(void)state;
	assert_int_equal(create_decoded_with(0, "", 0), E_OK);
	assert_int_equal(create_decoded_with(at_key_type, "\0\0\0\1", 4), E_OK);
	assert_int_equal(create_decoded_with(at_key_type, "\0\0\0\0", 4), E_PROTO);
	assert_int_equal(create_decoded_with(at_key_type, "\0\0\0\6", 4), E_OK);
	assert_int_equal(create_decoded_with(at_key_type, "\0\0\0\7", 4), E_PROTO);
	assert_int_equal(create_decoded_with(at_country, "\0\0\2\1", 4), E_PROTO);
	assert_int_equal(create_decoded_with(at_country + 4, "\0", 1), E_PROTO);
	assert_int_equal(create_decoded_with(at_unit_flag, "\2", 1), E_PROTO);
	assert_int_equal(create_decoded_with(at_sans, "\0\2", 2), E_OK);
	assert_int_equal(create_decoded_with(at_sans, "\0\227", 2), E_PROTO);
	assert_int_equal(create_decoded_with(at_sans + 2, "\0", 1), E_PROTO);
	assert_int_equal(create_decoded_with(at_sans + 2, "\5", 1), E_PROTO);
	assert_int_equal(create_decoded_with(4, "0B", 2), E_PROTO);
	assert_int_equal(create_decoded_with(4 + 8, "x", 1), E_PROTO);
}

static void create_csr_with_too_many_names_is_not_decoded(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	sample_create_csr(&b);
	b.len -= 2 + 2 * 5 + strlen("www.Example.com") + strlen("192.0.2.1");
	wire_put_u16(&b, CSR_SANS_MAX + 1);
	for (unsigned i = 0; i <= CSR_SANS_MAX; i++) {
		wire_put_u8(&b, SAN_DNS);
		wire_put_text(&b, "a.example");
	}
	assert_int_equal(decode_create_csr(b.data, b.len), E_PROTO);
	buf_release(&b);
}

static void create_csr_reply_round_trip_and_caps(void **state)
{
	struct buf b;
	struct message_create_csr_reply m;
	uint8_t *der = calloc(1, MESSAGE_DER_MAX + 1);
	const struct message_key key = {.key_type = KEY_RSA2048, .label = KEY_LABEL};

	(void)state;
	assert_non_null(der);
	buf_init(&b, FRAME_PAYLOAD_MAX);
	sample_create_csr_reply(&b);
	assert_int_equal(message_create_csr_reply_decode(b.data, b.len, &m), E_OK);
	assert_int_equal(m.key.key_type, KEY_RSA2048);
	assert_int_equal(m.key.key_id[15], 0xab);
	assert_int_equal(m.key.spki_sha256[31], 0xcd);
	assert_int_equal(m.key.protection, KEY_PROT_REQUIRED);
	assert_int_equal(m.der_len, 5);
	assert_memory_equal(m.der, "\x30\x03\x02\x01\x00", 5);
	assert_string_equal(m.key.label, KEY_LABEL);
	assert_int_equal(m.journal_index, 70001);
	message_create_csr_reply_release(&m);
	b.data[4 + 4 + 31 + KEY_ID_BYTES + KEY_SPKI_HASH_BYTES] = 1; /* a bit that no attribute has */
	assert_int_equal(decode_create_csr_reply(b.data, b.len), E_PROTO);

	buf_reset(&b);
	message_create_csr_reply_encode(
	    &b, &(struct message_create_csr_reply){.key = key, .der = der, .der_len = MESSAGE_DER_MAX});
	assert_int_equal(decode_create_csr_reply(b.data, b.len), E_OK);
	buf_reset(&b);
	message_create_csr_reply_encode(
	    &b, &(struct message_create_csr_reply){.key = key, .der = der, .der_len = MESSAGE_DER_MAX + 1});
	assert_int_equal(buf_status(&b), E_LIMIT);
	buf_reset(&b);
	message_create_csr_reply_encode(
	    &b, &(struct message_create_csr_reply){.key = key, .der = der, .der_len = 0});
	assert_int_equal(buf_status(&b), E_LIMIT);
	buf_release(&b);
	free(der);
}

static void key_messages_round_trip(void **state)
{
	struct buf b;
	struct message_key_request request;
	struct message_destroy_key_reply destroyed;
	struct message_find_key_reply found;
	static const char *const labels[] = {
	    "csrd:" CSR_ID,
	    "",
	    "csrd:",
	    "csrd:0B54b6a4-3c1f-4b5e-9f0e-1a2b3c4d5e6f",
	    "csrd-",
	    "csrd-abcdefghijklmnopqrstuvwxy",
	    "csrd-abcdefghijklmnopqrstuvwxyaa",
	    "csrd-abcdefghijklmnopqrstuvwxyb", /* bits to spare that are set */
	    "csrd-abcdefghijklmnopqrstuvwx1a",
	    "csrd-ABCDEFGHIJKLMNOPQRSTUVWXYA",
	    "other-bcdefghijklmnopqrstuvwxya"};

	(void)state;
	buf_init(&b, 1024);
	sample_key_request(&b);
	assert_int_equal(message_key_request_decode(b.data, b.len, &request), E_OK);
	assert_int_equal(request.timeout_ms, 5);
	assert_string_equal(request.label, KEY_LABEL);
	/* Of csrd 0.1; and nothing else is one. */
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		struct message_key_request other = {.timeout_ms = 5};

		buf_reset(&b);
		strcpy(other.label, labels[i]);
		message_key_request_encode(&b, &other);
		assert_int_equal(buf_status(&b), i == 0 ? E_OK : E_LIMIT);
		buf_reset(&b);
		wire_put_u32(&b, 5);
		wire_put_text(&b, labels[i]);
		assert_int_equal(decode_key_request(b.data, b.len), i == 0 ? E_OK : E_PROTO);
	}
	buf_reset(&b);
	sample_destroy_reply(&b);
	assert_int_equal(message_destroy_key_reply_decode(b.data, b.len, &destroyed), E_OK);
	assert_int_equal(destroyed.destroyed, 2);
	buf_reset(&b);
	sample_find_reply(&b);
	assert_int_equal(message_find_key_reply_decode(b.data, b.len, &found), E_OK);
	assert_int_equal(found.presence, MESSAGE_KEY_PUBLIC_ONLY);
	assert_int_equal(found.key_id[0], 0x11);
	b.data[0] = MESSAGE_KEY_AMBIGUOUS + 1;
	assert_int_equal(decode_find_reply(b.data, b.len), E_PROTO);
	buf_release(&b);
}

static void inspect_reply_round_trip(void **state)
{
	struct message_inspect_key_reply m, none = {.presence = MESSAGE_KEY_PRIVATE_ONLY};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	sample_inspect_reply(&b);
	assert_int_equal(b.len,
			 1 + KEY_ID_BYTES + 1 + 4 + 4 + 31 + KEY_ID_BYTES + KEY_SPKI_HASH_BYTES + 4 + 4 + 9);
	assert_int_equal(message_inspect_key_reply_decode(b.data, b.len, &m), E_OK);
	assert_int_equal(m.presence, MESSAGE_KEY_PAIR);
	assert_true(m.has_key);
	assert_int_equal(m.key_id[0], 0x11);
	assert_int_equal(m.key.key_type, KEY_P384V1);
	assert_int_equal(m.key.key_id[KEY_ID_BYTES - 1], 0x22);
	assert_int_equal(m.key.spki_sha256[KEY_SPKI_HASH_BYTES - 1], 0x33);
	assert_int_equal(m.key.protection, KEY_PROT_REQUIRED | KEY_PROT_DERIVE);
	assert_string_equal(m.detail, "no reason");
	message_inspect_key_reply_release(&m);
	b.data[0] = MESSAGE_KEY_PUBLIC_ONLY; /* half a pair is no key */
	assert_int_equal(decode_inspect_reply(b.data, b.len), E_PROTO);
	b.data[0] = MESSAGE_KEY_AMBIGUOUS + 1;
	assert_int_equal(decode_inspect_reply(b.data, b.len), E_PROTO);

	buf_reset(&b);
	message_inspect_key_reply_encode(&b, &none);
	assert_int_equal(b.len, 1 + KEY_ID_BYTES + 1 + 4);
	assert_int_equal(message_inspect_key_reply_decode(b.data, b.len, &m), E_OK);
	assert_int_equal(m.presence, MESSAGE_KEY_PRIVATE_ONLY);
	assert_false(m.has_key);
	assert_int_equal(m.key.key_type, 0);
	assert_string_equal(m.detail, "");
	message_inspect_key_reply_release(&m);

	buf_reset(&b);
	none.has_key = true; /* of no type */
	message_inspect_key_reply_encode(&b, &none);
	assert_int_equal(buf_status(&b), E_LIMIT);
	buf_release(&b);
}

static void confirm_round_trip_and_caps(void **state)
{
	static const size_t lens[] = {0, 1, MESSAGE_CONFIRM_MAX, MESSAGE_CONFIRM_MAX + 1};
	static char labels[MESSAGE_CONFIRM_MAX + 1][KEY_LABEL_SIZE];
	struct message_confirm m, many = {.labels = (const char(*)[KEY_LABEL_SIZE])labels};
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	sample_confirm(&b);
	assert_int_equal(message_confirm_decode(b.data, b.len, &m), E_OK);
	assert_true(m.kept);
	assert_int_equal(m.labels_len, 2);
	assert_string_equal(m.labels[0], KEY_LABEL);
	assert_string_equal(m.labels[1], "csrd:" CSR_ID);
	message_confirm_release(&m);
	for (size_t i = 0; i <= MESSAGE_CONFIRM_MAX; i++)
		strcpy(labels[i], "csrd:" CSR_ID);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		bool good = lens[i] > 0 && lens[i] <= MESSAGE_CONFIRM_MAX;

		many.labels_len = lens[i];
		buf_reset(&b);
		message_confirm_encode(&b, &many);
		assert_int_equal(buf_status(&b), good ? E_OK : E_LIMIT);
		assert_true(!good || decode_confirm(b.data, b.len) == E_OK);
	}
	buf_reset(&b);
	wire_put_u8(&b, 0);
	wire_put_u32(&b, 0);
	assert_int_equal(decode_confirm(b.data, b.len), E_PROTO);
	buf_release(&b);
}

static void unsettled_round_trip_and_caps(void **state)
{
	static struct message_unsettled_key keys[MESSAGE_UNSETTLED_MAX + 1];
	struct message_unsettled_reply m;
	struct message_unsettled asked;
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	sample_unsettled(&b);
	assert_int_equal(message_unsettled_decode(b.data, b.len, &asked), E_OK);
	assert_int_equal(asked.timeout_ms, 6);
	assert_int_equal(asked.from, (uint64_t)7 << 40);
	buf_reset(&b);
	sample_unsettled_reply(&b);
	assert_int_equal(message_unsettled_reply_decode(b.data, b.len, &m), E_OK);
	assert_true(m.more);
	assert_int_equal(m.keys_len, 2);
	assert_string_equal(m.keys[0].label, KEY_LABEL);
	assert_string_equal(m.keys[1].csr_id, CSR_ID);
	assert_int_equal(m.keys[1].spki_sha256[31], 0xcd);
	assert_int_equal(m.keys[1].journal_index, (uint64_t)9 << 40);
	message_unsettled_reply_release(&m);
	for (size_t i = 0; i <= MESSAGE_UNSETTLED_MAX; i++) {
		strcpy(keys[i].label, "csrd:" CSR_ID); /* the longest */
		strcpy(keys[i].csr_id, CSR_ID);
	}
	for (size_t len = MESSAGE_UNSETTLED_MAX; len <= MESSAGE_UNSETTLED_MAX + 1; len++) {
		buf_reset(&b);
		message_unsettled_reply_encode(
		    &b, &(struct message_unsettled_reply){.keys = keys, .keys_len = len});
		assert_int_equal(buf_status(&b), len <= MESSAGE_UNSETTLED_MAX ? E_OK : E_LIMIT);
	}
	buf_release(&b);
}

static void list_part_round_trip_and_caps(void **state)
{
	struct buf b;
	struct message_list_keys_part m;
	struct message_listed_key *keys = calloc(MESSAGE_LIST_PART_KEYS + 1, sizeof(*keys));
	char *label = repeated('l', 300);

	(void)state;
	assert_non_null(keys);
	buf_init(&b, FRAME_PAYLOAD_MAX);
	sample_list_part(&b);
	assert_int_equal(message_list_keys_part_decode(b.data, b.len, &m), E_OK);
	assert_true(m.last);
	assert_int_equal(m.unread, 70000);
	assert_int_equal(m.keys_len, 2);
	assert_string_equal(m.keys[0].label, KEY_LABEL);
	assert_int_equal(m.keys[0].life, MESSAGE_LIFE_USED);
	assert_int_equal(m.keys[1].life, MESSAGE_LIFE_NONE);
	assert_int_equal(m.keys[0].presence, MESSAGE_KEY_PAIR);
	assert_int_equal(m.keys[0].key_id[15], 1);
	assert_string_equal(m.keys[1].label, "csrd:by hand");
	message_list_keys_part_release(&m);

	for (unsigned i = 0; i <= MESSAGE_LIST_PART_KEYS; i++)
		keys[i].label = label;
	buf_reset(&b);
	message_list_keys_part_encode(
	    &b, &(struct message_list_keys_part){.keys = keys, .keys_len = MESSAGE_LIST_PART_KEYS});
	assert_int_equal(buf_status(&b), E_OK);
	assert_int_equal(message_list_keys_part_decode(b.data, b.len, &m), E_OK);
	assert_false(m.last);
	assert_int_equal(m.keys_len, MESSAGE_LIST_PART_KEYS);
	assert_int_equal(strlen(m.keys[0].label), 255); /* cut */
	message_list_keys_part_release(&m);
	b.data[7]++; /* 256 more than there are */
	assert_int_equal(decode_list_part(b.data, b.len), E_PROTO);
	buf_reset(&b);
	message_list_keys_part_encode(
	    &b, &(struct message_list_keys_part){.keys = keys, .keys_len = MESSAGE_LIST_PART_KEYS + 1});
	assert_int_equal(buf_status(&b), E_LIMIT);

	/* More keys than there are bytes for. */
	buf_reset(&b);
	wire_put_u8(&b, 1);
	wire_put_u32(&b, 0);
	wire_put_u32(&b, MESSAGE_LIST_PART_KEYS);
	assert_int_equal(decode_list_part(b.data, b.len), E_PROTO);
	buf_reset(&b);
	wire_put_u8(&b, 1);
	wire_put_u32(&b, 0);
	wire_put_u32(&b, 0);
	assert_int_equal(decode_list_part(b.data, b.len), E_OK);
	buf_release(&b);
	free(keys);
	free(label);
}

/* F230 */
static void pools_round_trip(void **state)
{
	struct message_list_pools_reply m;
	struct message_destroy_pool d;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	sample_list_pools_reply(&b);
	assert_int_equal(message_list_pools_reply_decode(b.data, b.len, &m), E_OK);
	assert_true(m.more);
	assert_int_equal(m.unread, 3);
	assert_int_equal(m.nodes_len, 2);
	assert_string_equal(m.nodes[0].node, "0123456789ab");
	assert_int_equal(m.nodes[0].private_keys, 10);
	assert_int_equal(m.nodes[0].public_keys, 9);
	assert_string_equal(m.nodes[1].node, "hsm-client-1");
	message_list_pools_reply_release(&m);
	buf_reset(&b);
	sample_destroy_pool(&b);
	assert_int_equal(message_destroy_pool_decode(b.data, b.len, &d), E_OK);
	assert_string_equal(d.node, "node-1");
	assert_int_equal(d.timeout_ms, 5);
	buf_reset(&b); /* no node */
	message_destroy_pool_encode(&b, &(struct message_destroy_pool){.timeout_ms = 5});
	assert_int_equal(buf_status(&b), E_LIMIT);
	buf_reset(&b);
	wire_put_u32(&b, 5);
	wire_put_u32(&b, 0);
	assert_int_equal(decode_destroy_pool(b.data, b.len), E_PROTO);
	buf_release(&b);
}

static void status_round_trip(void **state)
{
	struct buf b;
	struct message_status_reply m;

	(void)state;
	buf_init(&b, 4096);
	sample_status_reply(&b);
	assert_int_equal(message_status_reply_decode(b.data, b.len, &m), E_OK);
	assert_true(m.usable);
	assert_string_equal(m.detail, "token removed");
	assert_int_equal(m.threads, 4);
	assert_int_equal(m.busy, 3);
	assert_int_equal(m.queued, 2);
	assert_true(m.created == 1ull << 40);
	assert_int_equal(m.destroyed, 7);
	assert_int_equal(m.failed, 8);
	assert_int_equal(m.token_flags, 0x40d);
	assert_int_equal(m.key_types, KEY_TYPE_BIT(KEY_P256V1));
	assert_int_equal(m.pools_len, 1);
	assert_int_equal(m.pools[0].key_type, KEY_RSA2048);
	assert_int_equal(m.pools[0].ready, 5);
	assert_int_equal(m.pools[0].target, 9);
	assert_string_equal(m.pool_detail, "token removed");
	assert_int_equal(m.other_nodes, 2);
	assert_int_equal(m.other_keys, 20);
	assert_string_equal(m.capabilities, "token removed");
	message_status_reply_release(&m);
	b.data[0] = 2;
	assert_int_equal(decode_status_reply(b.data, b.len), E_PROTO);
	buf_release(&b);
}

static enum err error_over_the_wire(enum err code)
{
	struct buf b;
	struct message_error m;

	buf_init(&b, 4096);
	message_error_encode(&b, &(struct message_error){.code = code});
	assert_int_equal(message_error_decode(b.data, b.len, &m), E_OK);
	code = m.code;
	assert_string_equal(m.detail, "");
	message_error_release(&m);
	buf_release(&b);
	return code;
}

static void errors_keep_their_meaning_and_unknown_ones_are_uncertain(void **state)
{
	static const enum err kept[] = {E_BUSY, E_TIMEOUT, E_INVAL,     E_UNSUPPORTED, E_DENIED,
					E_HSM,  E_UNAVAIL, E_UNCERTAIN, E_NOMEM,       E_BUG};
	static const uint8_t unknown[] = {0, 99, 0, 0, 0, 0};
	struct message_error m;

	(void)state;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		assert_int_equal(error_over_the_wire(kept[i]), kept[i]);
	assert_int_equal(error_over_the_wire(E_PIN), E_UNCERTAIN);
	assert_int_equal(error_over_the_wire(E_OK), E_UNCERTAIN);
	assert_int_equal(message_error_decode(unknown, sizeof(unknown), &m), E_OK);
	assert_int_equal(m.code, E_UNCERTAIN);
	message_error_release(&m);
}

static void text_for_people_is_made_to_fit(void **state)
{
	struct buf b;
	struct message_error m;
	char *detail = repeated('d', MESSAGE_TEXT_MAX + 10);

	(void)state;
	buf_init(&b, 4096);
	memcpy(detail, "bad \xff\xc3 bytes", 12);
	memcpy(detail + MESSAGE_TEXT_MAX - 1, "\xc3\xa9", 2); /* the cap falls inside a character */
	message_error_encode(&b, &(struct message_error){.code = E_HSM, .detail = detail});
	assert_int_equal(buf_status(&b), E_OK);
	assert_int_equal(message_error_decode(b.data, b.len, &m), E_OK);
	assert_int_equal(strlen(m.detail), MESSAGE_TEXT_MAX - 1);
	assert_memory_equal(m.detail, "bad ?? bytes", 12);
	message_error_release(&m);
	buf_release(&b);
	free(detail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reader_gives_back_what_was_put),
	    cmocka_unit_test(reader_stays_bad),
	    cmocka_unit_test(text_must_be_utf8_without_nul_and_within_its_cap),
	    cmocka_unit_test(frames_come_out_of_a_stream_cut_anywhere),
	    cmocka_unit_test(frame_length_is_bounded),
	    cmocka_unit_test(frame_put_obeys_its_caps),
	    cmocka_unit_test(every_truncation_and_one_byte_more_is_a_protocol_error),
	    cmocka_unit_test(garbage_is_survived),
	    cmocka_unit_test(hello_round_trip),
	    cmocka_unit_test(note_store_round_trip),
	    cmocka_unit_test(hello_of_another_version_is_understood_as_such),
	    cmocka_unit_test(key_types_of_a_newer_signer_are_left_out),
	    cmocka_unit_test(create_csr_round_trip),
	    cmocka_unit_test(largest_create_csr_fits_a_frame),
	    cmocka_unit_test(create_csr_that_breaks_a_cap_is_not_encoded),
	    cmocka_unit_test(create_csr_with_values_out_of_range_is_not_decoded),
	    cmocka_unit_test(create_csr_with_too_many_names_is_not_decoded),
	    cmocka_unit_test(create_csr_reply_round_trip_and_caps),
	    cmocka_unit_test(key_messages_round_trip),
	    cmocka_unit_test(inspect_reply_round_trip),
	    cmocka_unit_test(confirm_round_trip_and_caps),
	    cmocka_unit_test(unsettled_round_trip_and_caps),
	    cmocka_unit_test(list_part_round_trip_and_caps),
	    cmocka_unit_test(pools_round_trip),
	    cmocka_unit_test(status_round_trip),
	    cmocka_unit_test(errors_keep_their_meaning_and_unknown_ones_are_uncertain),
	    cmocka_unit_test(text_for_people_is_made_to_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
