/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages as bytes.  Each encode is mirrored by the decode below it; a
 * value that a decode would refuse is not put on the wire either.
 */
#include "hsm/message.h"

#include "base/str.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "hsm/frame.h"
#include "hsm/wire.h"

#include <stdlib.h>
#include <string.h>

#define CLIENT_MAX 64
#define TOKEN_NAME_MAX 32
#define TOKEN_TEXT_MAX 64 /* CK_TOKEN_INFO fields have 16 or 32 bytes */
#define LABEL_MAX 255
#define UUID_LEN (CSR_ID_SIZE - 1)
#define LISTED_KEY_MAX (4 + LABEL_MAX + 1 + 1 + KEY_ID_BYTES) /* on the wire */
#define UNSETTLED_KEY_MAX (4 + KEY_LABEL_SIZE + UUID_LEN + KEY_SPKI_HASH_BYTES + 8)

_Static_assert(LISTED_KEY_MAX *MESSAGE_LIST_PART_KEYS + 5 <= FRAME_PAYLOAD_MAX,
	       "a full part with the longest labels fits one frame");
_Static_assert(UNSETTLED_KEY_MAX *MESSAGE_UNSETTLED_MAX + 5 <= FRAME_PAYLOAD_MAX,
	       "a full reply to unsettled fits one frame");
_Static_assert((4 + MESSAGE_NODE_MAX + 8) * MESSAGE_LIST_POOLS_MAX + 9 <= FRAME_PAYLOAD_MAX,
	       "the longest list of pools fits one frame");
_Static_assert(6 * (5 + CSR_FIELD_BYTES_MAX) + CSR_SANS_MAX * (5 + CSR_SAN_BYTES_MAX) + 64 <=
		   FRAME_PAYLOAD_MAX,
	       "the largest create-csr fits one frame");
_Static_assert(MESSAGE_DER_MAX + 256 <= FRAME_PAYLOAD_MAX, "the largest CSR fits one frame");

/* ---- helpers ---- */

static void message_refuse(struct buf *b)
{
	if (b->status == E_OK)
		b->status = E_LIMIT;
}

/* Text that must arrive as it is. */
static void put_exact(struct buf *b, const char *text, size_t max)
{
	size_t len = text ? strlen(text) : 0;

	if (len > max || (len > 0 && !utf8_is_valid(text, len)))
		message_refuse(b);
	else
		wire_put_bytes(b, text, len);
}

/*
 * Text for people: what comes from a token may hold any bytes, and an odd
 * label must not cost the link.  Bad bytes become '?', the rest is cut.
 */
static void put_lossy(struct buf *b, const char *text, size_t max)
{
	size_t len = text ? strlen(text) : 0;
	size_t pos = 0;
	size_t fits = 0;
	char *copy;
	uint32_t code_point;

	if (len == 0) {
		wire_put_bytes(b, NULL, 0);
		return;
	}
	copy = str_dup_len(text, len);
	if (!copy) {
		if (b->status == E_OK)
			b->status = E_NOMEM;
		return;
	}
	while (pos < len) {
		if (!utf8_next(copy, len, &pos, &code_point)) {
			copy[pos++] = '?';
		}
		if (pos > max)
			break;
		fits = pos;
	}
	wire_put_bytes(b, copy, fits);
	free(copy);
}

static void put_csr_id(struct buf *b, const char *csr_id)
{
	if (memchr(csr_id, '\0', CSR_ID_SIZE) && uuid_is_canonical(csr_id))
		buf_put(b, csr_id, UUID_LEN);
	else
		message_refuse(b);
}

static void message_bad(struct wire_reader *r)
{
	if (r->status == E_OK)
		r->status = E_PROTO;
	r->left = 0;
}

static void get_csr_id(struct wire_reader *r, char csr_id[CSR_ID_SIZE])
{
	wire_get_raw(r, csr_id, UUID_LEN);
	csr_id[UUID_LEN] = '\0';
	if (!uuid_is_canonical(csr_id))
		message_bad(r);
}

static void put_key_label(struct buf *b, const char *label)
{
	if (memchr(label, '\0', KEY_LABEL_SIZE) && key_label_is_valid(label))
		wire_put_text(b, label);
	else
		message_refuse(b);
}

static void get_key_label(struct wire_reader *r, char label[KEY_LABEL_SIZE])
{
	size_t len;
	const uint8_t *text = wire_get_bytes(r, KEY_LABEL_SIZE - 1, &len);

	if (text)
		memcpy(label, text, len);
	label[len] = '\0';
	if (!text || memchr(label, '\0', len) || !key_label_is_valid(label))
		message_bad(r);
}

static bool get_bool(struct wire_reader *r)
{
	uint8_t value = wire_get_u8(r);

	if (value > 1)
		message_bad(r);
	return value == 1;
}

/* How many follow, and zeroed room for them; NULL for none, and after an error. */
static void *get_array(struct wire_reader *r, size_t least, size_t most, size_t size, size_t *ret_count)
{
	size_t count = wire_get_u32(r);
	void *array = NULL;

	if (count < least || count > most)
		message_bad(r);
	if (r->status == E_OK && count > 0) {
		array = calloc(count, size);
		if (!array)
			r->status = E_NOMEM;
	}
	*ret_count = count;
	return array;
}

static enum key_type get_key_type(struct wire_reader *r)
{
	uint32_t value = wire_get_u32(r);

	if (!key_type_is_valid(value))
		message_bad(r);
	return (enum key_type)value;
}

static enum message_key_presence get_presence(struct wire_reader *r)
{
	uint8_t value = wire_get_u8(r);

	if (value > MESSAGE_KEY_AMBIGUOUS)
		message_bad(r);
	return (enum message_key_presence)value;
}

static enum message_key_life get_life(struct wire_reader *r)
{
	uint8_t value = wire_get_u8(r);

	if (value > MESSAGE_LIFE_OTHER)
		message_bad(r);
	return (enum message_key_life)value;
}

/* Types that this program does not know yet are of no use to it: left out. */
static key_type_set get_key_types(struct wire_reader *r)
{
	return wire_get_u32(r) & KEY_TYPES_ALL;
}

/* ---- what a signer remembers of stores ---- */

static void message_put_store(struct buf *b, const struct message_store *m)
{
	buf_put(b, m->lineage, MESSAGE_LINEAGE_BYTES);
	wire_put_u64(b, m->sequence);
}

static void get_store(struct wire_reader *r, struct message_store *ret)
{
	wire_get_raw(r, ret->lineage, MESSAGE_LINEAGE_BYTES);
	ret->sequence = wire_get_u64(r);
	if (ret->sequence > INT64_MAX)
		message_bad(r);
}

void message_note_store_encode(struct buf *b, const struct message_store *m)
{
	if (m->sequence > INT64_MAX)
		message_refuse(b);
	message_put_store(b, m);
}

enum err message_note_store_decode(const uint8_t *data, size_t len, struct message_store *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	get_store(&r, ret);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		memset(ret, 0, sizeof(*ret));
	return e;
}

/* ---- hello ---- */

void message_hello_encode(struct buf *b, const struct message_hello *m)
{
	wire_put_u32(b, m->version);
	put_lossy(b, m->client, CLIENT_MAX);
}

enum err message_hello_decode(const uint8_t *data, size_t len, struct message_hello *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->version = wire_get_u32(&r);
	if (r.status == E_OK && ret->version != MESSAGE_PROTOCOL_VERSION)
		return E_OK;
	ret->client = wire_get_text(&r, CLIENT_MAX);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_hello_release(ret);
	return e;
}

void message_hello_release(struct message_hello *m)
{
	free(m->client);
	memset(m, 0, sizeof(*m));
}

void message_hello_reply_encode(struct buf *b, const struct message_hello_reply *m)
{
	wire_put_u32(b, m->version);
	put_lossy(b, m->token_name, TOKEN_NAME_MAX);
	put_lossy(b, m->token_label, TOKEN_TEXT_MAX);
	put_lossy(b, m->token_serial, TOKEN_TEXT_MAX);
	put_lossy(b, m->token_manufacturer, TOKEN_TEXT_MAX);
	put_lossy(b, m->token_model, TOKEN_TEXT_MAX);
	wire_put_u32(b, m->key_types);
	if (m->stores_len > MESSAGE_STORES_MAX) {
		message_refuse(b);
		return;
	}
	wire_put_u8(b, (uint8_t)m->stores_len);
	for (size_t i = 0; i < m->stores_len; i++)
		message_put_store(b, &m->stores[i]);
}

static void get_stores(struct wire_reader *r, struct message_hello_reply *ret)
{
	size_t count = wire_get_u8(r);

	if (count > MESSAGE_STORES_MAX)
		message_bad(r);
	for (size_t i = 0; i < count && r->status == E_OK; i++) {
		get_store(r, &ret->stores[i]);
		ret->stores_len++;
	}
}

enum err message_hello_reply_decode(const uint8_t *data, size_t len, struct message_hello_reply *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->version = wire_get_u32(&r);
	if (r.status == E_OK && ret->version != MESSAGE_PROTOCOL_VERSION)
		return E_OK;
	ret->token_name = wire_get_text(&r, TOKEN_NAME_MAX);
	ret->token_label = wire_get_text(&r, TOKEN_TEXT_MAX);
	ret->token_serial = wire_get_text(&r, TOKEN_TEXT_MAX);
	ret->token_manufacturer = wire_get_text(&r, TOKEN_TEXT_MAX);
	ret->token_model = wire_get_text(&r, TOKEN_TEXT_MAX);
	ret->key_types = get_key_types(&r);
	get_stores(&r, ret);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_hello_reply_release(ret);
	return e;
}

void message_hello_reply_release(struct message_hello_reply *m)
{
	free(m->token_name);
	free(m->token_label);
	free(m->token_serial);
	free(m->token_manufacturer);
	free(m->token_model);
	memset(m, 0, sizeof(*m));
}

/* ---- create-csr ---- */

static void put_spec(struct buf *b, const struct csr_spec *spec)
{
	if (!key_type_is_valid(spec->key_type) || spec->sans_len > CSR_SANS_MAX) {
		message_refuse(b);
		return;
	}
	wire_put_u32(b, (uint32_t)spec->key_type);
	put_exact(b, spec->country, CSR_FIELD_BYTES_MAX);
	put_exact(b, spec->state, CSR_FIELD_BYTES_MAX);
	put_exact(b, spec->locality, CSR_FIELD_BYTES_MAX);
	put_exact(b, spec->organization, CSR_FIELD_BYTES_MAX);
	wire_put_u8(b, spec->organizational_unit != NULL);
	if (spec->organizational_unit)
		put_exact(b, spec->organizational_unit, CSR_FIELD_BYTES_MAX);
	put_exact(b, spec->common_name, CSR_FIELD_BYTES_MAX);
	wire_put_u16(b, (uint16_t)spec->sans_len);
	for (size_t i = 0; i < spec->sans_len; i++) {
		if (spec->sans[i].type < 1 || spec->sans[i].type > SAN_TYPE_MAX)
			message_refuse(b);
		wire_put_u8(b, (uint8_t)spec->sans[i].type);
		put_exact(b, spec->sans[i].value, CSR_SAN_BYTES_MAX);
	}
}

static void get_sans(struct wire_reader *r, struct csr_spec *ret)
{
	unsigned count = wire_get_u16(r);

	if (count > CSR_SANS_MAX)
		message_bad(r);
	for (unsigned i = 0; i < count && r->status == E_OK; i++) {
		unsigned type = wire_get_u8(r);
		char *value;
		enum err e;

		if (type < 1 || type > SAN_TYPE_MAX)
			message_bad(r);
		value = wire_get_text(r, CSR_SAN_BYTES_MAX);
		if (!value)
			break;
		e = csr_spec_add_san(ret, (enum san_type)type, value);
		free(value);
		if (e != E_OK)
			r->status = e;
	}
}

static void get_spec(struct wire_reader *r, struct csr_spec *ret)
{
	ret->key_type = get_key_type(r);
	ret->country = wire_get_text(r, CSR_FIELD_BYTES_MAX);
	ret->state = wire_get_text(r, CSR_FIELD_BYTES_MAX);
	ret->locality = wire_get_text(r, CSR_FIELD_BYTES_MAX);
	ret->organization = wire_get_text(r, CSR_FIELD_BYTES_MAX);
	if (get_bool(r))
		ret->organizational_unit = wire_get_text(r, CSR_FIELD_BYTES_MAX);
	ret->common_name = wire_get_text(r, CSR_FIELD_BYTES_MAX);
	get_sans(r, ret);
}

void message_create_csr_encode(struct buf *b, const struct message_create_csr *m)
{
	wire_put_u32(b, m->timeout_ms);
	put_csr_id(b, m->csr_id);
	put_spec(b, &m->spec);
}

enum err message_create_csr_decode(const uint8_t *data, size_t len, struct message_create_csr *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->timeout_ms = wire_get_u32(&r);
	get_csr_id(&r, ret->csr_id);
	get_spec(&r, &ret->spec);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_create_csr_release(ret);
	return e;
}

void message_create_csr_release(struct message_create_csr *m)
{
	csr_spec_release(&m->spec);
	memset(m, 0, sizeof(*m));
}

static void message_put_key(struct buf *b, const struct message_key *key)
{
	if (!key_type_is_valid(key->key_type) || key->protection > KEY_PROT_MAX)
		message_refuse(b);
	wire_put_u32(b, (uint32_t)key->key_type);
	put_key_label(b, key->label);
	buf_put(b, key->key_id, KEY_ID_BYTES);
	buf_put(b, key->spki_sha256, KEY_SPKI_HASH_BYTES);
	wire_put_u32(b, key->protection);
}

static void message_get_key(struct wire_reader *r, struct message_key *ret)
{
	ret->key_type = get_key_type(r);
	get_key_label(r, ret->label);
	wire_get_raw(r, ret->key_id, KEY_ID_BYTES);
	wire_get_raw(r, ret->spki_sha256, KEY_SPKI_HASH_BYTES);
	ret->protection = wire_get_u32(r);
	if (ret->protection > KEY_PROT_MAX)
		message_bad(r);
}

void message_create_csr_reply_encode(struct buf *b, const struct message_create_csr_reply *m)
{
	message_put_key(b, &m->key);
	wire_put_u64(b, m->journal_index);
	if (m->der_len < 1 || m->der_len > MESSAGE_DER_MAX)
		message_refuse(b);
	else
		wire_put_bytes(b, m->der, m->der_len);
}

enum err message_create_csr_reply_decode(const uint8_t *data, size_t len,
					 struct message_create_csr_reply *ret)
{
	struct wire_reader r;
	const uint8_t *der;
	size_t der_len;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	message_get_key(&r, &ret->key);
	ret->journal_index = wire_get_u64(&r);
	der = wire_get_bytes(&r, MESSAGE_DER_MAX, &der_len);
	if (der_len == 0)
		message_bad(&r);
	e = wire_reader_finish(&r);
	if (e == E_OK) {
		ret->der = malloc(der_len);
		e = ret->der ? E_OK : E_NOMEM;
	}
	if (e != E_OK) {
		message_create_csr_reply_release(ret);
		return e;
	}
	memcpy(ret->der, der, der_len);
	ret->der_len = der_len;
	return E_OK;
}

void message_create_csr_reply_release(struct message_create_csr_reply *m)
{
	free(m->der);
	memset(m, 0, sizeof(*m));
}

/* ---- destroy-key, find-key ---- */

void message_key_request_encode(struct buf *b, const struct message_key_request *m)
{
	wire_put_u32(b, m->timeout_ms);
	put_key_label(b, m->label);
}

enum err message_key_request_decode(const uint8_t *data, size_t len, struct message_key_request *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->timeout_ms = wire_get_u32(&r);
	get_key_label(&r, ret->label);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		memset(ret, 0, sizeof(*ret));
	return e;
}

void message_destroy_key_reply_encode(struct buf *b, const struct message_destroy_key_reply *m)
{
	wire_put_u32(b, m->destroyed);
}

enum err message_destroy_key_reply_decode(const uint8_t *data, size_t len,
					  struct message_destroy_key_reply *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->destroyed = wire_get_u32(&r);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		memset(ret, 0, sizeof(*ret));
	return e;
}

void message_find_key_reply_encode(struct buf *b, const struct message_find_key_reply *m)
{
	if ((unsigned)m->presence > MESSAGE_KEY_AMBIGUOUS)
		message_refuse(b);
	wire_put_u8(b, (uint8_t)m->presence);
	buf_put(b, m->key_id, KEY_ID_BYTES);
}

enum err message_find_key_reply_decode(const uint8_t *data, size_t len, struct message_find_key_reply *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->presence = get_presence(&r);
	wire_get_raw(&r, ret->key_id, KEY_ID_BYTES);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		memset(ret, 0, sizeof(*ret));
	return e;
}

/* ---- inspect-key ---- */

void message_inspect_key_reply_encode(struct buf *b, const struct message_inspect_key_reply *m)
{
	if ((unsigned)m->presence > MESSAGE_KEY_AMBIGUOUS)
		message_refuse(b);
	wire_put_u8(b, (uint8_t)m->presence);
	buf_put(b, m->key_id, KEY_ID_BYTES);
	wire_put_u8(b, m->has_key);
	if (m->has_key)
		message_put_key(b, &m->key);
	put_lossy(b, m->detail, MESSAGE_TEXT_MAX);
}

enum err message_inspect_key_reply_decode(const uint8_t *data, size_t len,
					  struct message_inspect_key_reply *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->presence = get_presence(&r);
	wire_get_raw(&r, ret->key_id, KEY_ID_BYTES);
	ret->has_key = get_bool(&r);
	if (ret->has_key)
		message_get_key(&r, &ret->key);
	if (ret->has_key && ret->presence != MESSAGE_KEY_PAIR)
		message_bad(&r);
	ret->detail = wire_get_text(&r, MESSAGE_TEXT_MAX);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_inspect_key_reply_release(ret);
	return e;
}

void message_inspect_key_reply_release(struct message_inspect_key_reply *m)
{
	free(m->detail);
	memset(m, 0, sizeof(*m));
}

/* ---- list-keys ---- */

void message_list_keys_encode(struct buf *b, const struct message_list_keys *m)
{
	wire_put_u32(b, m->timeout_ms);
}

enum err message_list_keys_decode(const uint8_t *data, size_t len, struct message_list_keys *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->timeout_ms = wire_get_u32(&r);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		memset(ret, 0, sizeof(*ret));
	return e;
}

void message_list_keys_part_encode(struct buf *b, const struct message_list_keys_part *m)
{
	if (m->keys_len > MESSAGE_LIST_PART_KEYS) {
		message_refuse(b);
		return;
	}
	wire_put_u8(b, m->last);
	wire_put_u32(b, m->unread);
	wire_put_u32(b, (uint32_t)m->keys_len);
	for (size_t i = 0; i < m->keys_len; i++) {
		put_lossy(b, m->keys[i].label, LABEL_MAX);
		if ((unsigned)m->keys[i].presence > MESSAGE_KEY_AMBIGUOUS)
			message_refuse(b);
		wire_put_u8(b, (uint8_t)m->keys[i].presence);
		if ((unsigned)m->keys[i].life > MESSAGE_LIFE_OTHER)
			message_refuse(b);
		wire_put_u8(b, (uint8_t)m->keys[i].life);
		buf_put(b, m->keys[i].key_id, KEY_ID_BYTES);
	}
}

enum err message_list_keys_part_decode(const uint8_t *data, size_t len, struct message_list_keys_part *ret)
{
	struct wire_reader r;
	size_t count;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->last = get_bool(&r);
	ret->unread = wire_get_u32(&r);
	ret->keys = get_array(&r, 0, MESSAGE_LIST_PART_KEYS, sizeof(*ret->keys), &count);
	for (size_t i = 0; i < count && r.status == E_OK; i++) {
		struct message_listed_key *key = &ret->keys[i];

		ret->keys_len = i + 1;
		key->label = wire_get_text(&r, LABEL_MAX);
		key->presence = get_presence(&r);
		key->life = get_life(&r);
		wire_get_raw(&r, key->key_id, KEY_ID_BYTES);
	}
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_list_keys_part_release(ret);
	return e;
}

void message_list_keys_part_release(struct message_list_keys_part *m)
{
	for (size_t i = 0; i < m->keys_len; i++)
		free(m->keys[i].label);
	free(m->keys);
	memset(m, 0, sizeof(*m));
}

/* ---- list-pools, destroy-pool ---- */

void message_list_pools_reply_encode(struct buf *b, const struct message_list_pools_reply *m)
{
	if (m->nodes_len > MESSAGE_LIST_POOLS_MAX) {
		message_refuse(b);
		return;
	}
	wire_put_u8(b, m->more);
	wire_put_u32(b, m->unread);
	wire_put_u32(b, (uint32_t)m->nodes_len);
	for (size_t i = 0; i < m->nodes_len; i++) {
		put_lossy(b, m->nodes[i].node, MESSAGE_NODE_MAX);
		wire_put_u32(b, m->nodes[i].private_keys);
		wire_put_u32(b, m->nodes[i].public_keys);
	}
}

enum err message_list_pools_reply_decode(const uint8_t *data, size_t len,
					 struct message_list_pools_reply *ret)
{
	struct wire_reader r;
	size_t count;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->more = get_bool(&r);
	ret->unread = wire_get_u32(&r);
	ret->nodes = get_array(&r, 0, MESSAGE_LIST_POOLS_MAX, sizeof(*ret->nodes), &count);
	for (size_t i = 0; i < count && r.status == E_OK; i++) {
		ret->nodes_len = i + 1;
		ret->nodes[i].node = wire_get_text(&r, MESSAGE_NODE_MAX);
		ret->nodes[i].private_keys = wire_get_u32(&r);
		ret->nodes[i].public_keys = wire_get_u32(&r);
	}
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_list_pools_reply_release(ret);
	return e;
}

void message_list_pools_reply_release(struct message_list_pools_reply *m)
{
	for (size_t i = 0; i < m->nodes_len; i++)
		free(m->nodes[i].node);
	free(m->nodes);
	memset(m, 0, sizeof(*m));
}

void message_destroy_pool_encode(struct buf *b, const struct message_destroy_pool *m)
{
	if (!m->node[0])
		message_refuse(b);
	wire_put_u32(b, m->timeout_ms);
	put_exact(b, m->node, MESSAGE_NODE_MAX);
}

enum err message_destroy_pool_decode(const uint8_t *data, size_t len, struct message_destroy_pool *ret)
{
	struct wire_reader r;
	char *node;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->timeout_ms = wire_get_u32(&r);
	node = wire_get_text(&r, MESSAGE_NODE_MAX);
	if (node && (!node[0] || str_copy(ret->node, sizeof(ret->node), node) != E_OK))
		message_bad(&r);
	free(node);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		memset(ret, 0, sizeof(*ret));
	return e;
}

/* ---- confirm ---- */

void message_confirm_encode(struct buf *b, const struct message_confirm *m)
{
	if (m->labels_len < 1 || m->labels_len > MESSAGE_CONFIRM_MAX) {
		message_refuse(b);
		return;
	}
	wire_put_u8(b, m->kept);
	wire_put_u32(b, (uint32_t)m->labels_len);
	for (size_t i = 0; i < m->labels_len; i++)
		put_key_label(b, m->labels[i]);
}

enum err message_confirm_decode(const uint8_t *data, size_t len, struct message_confirm *ret)
{
	char(*labels)[KEY_LABEL_SIZE] = NULL;
	struct wire_reader r;
	size_t count;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->kept = get_bool(&r);
	labels = get_array(&r, 1, MESSAGE_CONFIRM_MAX, sizeof(*labels), &count);
	for (size_t i = 0; i < count && r.status == E_OK; i++)
		get_key_label(&r, labels[i]);
	ret->labels = (const char(*)[KEY_LABEL_SIZE])labels;
	ret->labels_len = count;
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_confirm_release(ret);
	return e;
}

void message_confirm_release(struct message_confirm *m)
{
	free((void *)(uintptr_t)m->labels);
	memset(m, 0, sizeof(*m));
}

/* ---- unsettled ---- */

void message_unsettled_encode(struct buf *b, const struct message_unsettled *m)
{
	wire_put_u32(b, m->timeout_ms);
	wire_put_u64(b, m->from);
}

enum err message_unsettled_decode(const uint8_t *data, size_t len, struct message_unsettled *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->timeout_ms = wire_get_u32(&r);
	ret->from = wire_get_u64(&r);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		memset(ret, 0, sizeof(*ret));
	return e;
}

void message_unsettled_reply_encode(struct buf *b, const struct message_unsettled_reply *m)
{
	if (m->keys_len > MESSAGE_UNSETTLED_MAX) {
		message_refuse(b);
		return;
	}
	wire_put_u8(b, m->more);
	wire_put_u32(b, (uint32_t)m->keys_len);
	for (size_t i = 0; i < m->keys_len; i++) {
		put_key_label(b, m->keys[i].label);
		put_csr_id(b, m->keys[i].csr_id);
		buf_put(b, m->keys[i].spki_sha256, KEY_SPKI_HASH_BYTES);
		wire_put_u64(b, m->keys[i].journal_index);
	}
}

enum err message_unsettled_reply_decode(const uint8_t *data, size_t len, struct message_unsettled_reply *ret)
{
	struct wire_reader r;
	size_t count;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->more = get_bool(&r);
	ret->keys = get_array(&r, 0, MESSAGE_UNSETTLED_MAX, sizeof(*ret->keys), &count);
	for (size_t i = 0; i < count && r.status == E_OK; i++) {
		struct message_unsettled_key *key = &ret->keys[i];

		get_key_label(&r, key->label);
		get_csr_id(&r, key->csr_id);
		wire_get_raw(&r, key->spki_sha256, KEY_SPKI_HASH_BYTES);
		key->journal_index = wire_get_u64(&r);
	}
	ret->keys_len = count;
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_unsettled_reply_release(ret);
	return e;
}

void message_unsettled_reply_release(struct message_unsettled_reply *m)
{
	free(m->keys);
	memset(m, 0, sizeof(*m));
}

/* ---- status ---- */

static void message_put_pools(struct buf *b, const struct message_status_reply *m)
{
	if (m->pools_len > KEY_TYPE_MAX) {
		message_refuse(b);
		return;
	}
	wire_put_u8(b, (uint8_t)m->pools_len);
	for (size_t i = 0; i < m->pools_len; i++) {
		wire_put_u32(b, m->pools[i].key_type);
		wire_put_u32(b, m->pools[i].ready);
		wire_put_u32(b, m->pools[i].target);
	}
	put_lossy(b, m->pool_detail, MESSAGE_TEXT_MAX);
	wire_put_u32(b, m->other_nodes);
	wire_put_u32(b, m->other_keys);
}

static void get_pools(struct wire_reader *r, struct message_status_reply *ret)
{
	size_t count = wire_get_u8(r);

	if (count > KEY_TYPE_MAX)
		message_bad(r);
	for (size_t i = 0; i < count && r->status == E_OK; i++) {
		struct message_pool *pool = &ret->pools[i];

		pool->key_type = get_key_type(r);
		pool->ready = wire_get_u32(r);
		pool->target = wire_get_u32(r);
		ret->pools_len = i + 1;
	}
	ret->pool_detail = wire_get_text(r, MESSAGE_TEXT_MAX);
	ret->other_nodes = wire_get_u32(r);
	ret->other_keys = wire_get_u32(r);
}

void message_status_reply_encode(struct buf *b, const struct message_status_reply *m)
{
	wire_put_u8(b, m->usable);
	put_lossy(b, m->detail, MESSAGE_TEXT_MAX);
	wire_put_u32(b, m->threads);
	wire_put_u32(b, m->busy);
	wire_put_u32(b, m->queued);
	wire_put_u64(b, m->created);
	wire_put_u64(b, m->destroyed);
	wire_put_u64(b, m->failed);
	wire_put_u64(b, m->token_flags);
	wire_put_u32(b, m->key_types);
	message_put_pools(b, m);
	put_lossy(b, m->capabilities, MESSAGE_TEXT_MAX);
}

enum err message_status_reply_decode(const uint8_t *data, size_t len, struct message_status_reply *ret)
{
	struct wire_reader r;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	ret->usable = get_bool(&r);
	ret->detail = wire_get_text(&r, MESSAGE_TEXT_MAX);
	ret->threads = wire_get_u32(&r);
	ret->busy = wire_get_u32(&r);
	ret->queued = wire_get_u32(&r);
	ret->created = wire_get_u64(&r);
	ret->destroyed = wire_get_u64(&r);
	ret->failed = wire_get_u64(&r);
	ret->token_flags = wire_get_u64(&r);
	ret->key_types = get_key_types(&r);
	get_pools(&r, ret);
	ret->capabilities = wire_get_text(&r, MESSAGE_TEXT_MAX);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_status_reply_release(ret);
	return e;
}

void message_status_reply_release(struct message_status_reply *m)
{
	free(m->detail);
	free(m->pool_detail);
	free(m->capabilities);
	memset(m, 0, sizeof(*m));
}

/* ---- error ---- */

/* The wire has its own numbers: enum err may grow and move.  0 stands for every other error. */
static const struct {
	uint16_t wire;
	enum err e;
} error_codes[] = {
    {1, E_BUSY}, {2, E_TIMEOUT}, {3, E_INVAL},     {4, E_UNSUPPORTED}, {5, E_DENIED},
    {6, E_HSM},  {7, E_UNAVAIL}, {8, E_UNCERTAIN}, {9, E_NOMEM},       {10, E_BUG},
};
#define ERROR_CODES (sizeof(error_codes) / sizeof(error_codes[0]))

void message_error_encode(struct buf *b, const struct message_error *m)
{
	uint16_t wire = 0;

	for (size_t i = 0; i < ERROR_CODES; i++)
		if (error_codes[i].e == m->code)
			wire = error_codes[i].wire;
	wire_put_u16(b, wire);
	put_lossy(b, m->detail, MESSAGE_TEXT_MAX);
}

enum err message_error_decode(const uint8_t *data, size_t len, struct message_error *ret)
{
	struct wire_reader r;
	uint16_t wire;
	enum err e;

	memset(ret, 0, sizeof(*ret));
	wire_reader_init(&r, data, len);
	wire = wire_get_u16(&r);
	ret->code = E_UNCERTAIN;
	for (size_t i = 0; i < ERROR_CODES; i++)
		if (error_codes[i].wire == wire)
			ret->code = error_codes[i].e;
	ret->detail = wire_get_text(&r, MESSAGE_TEXT_MAX);
	e = wire_reader_finish(&r);
	if (e != E_OK)
		message_error_release(ret);
	return e;
}

void message_error_release(struct message_error *m)
{
	free(m->detail);
	memset(m, 0, sizeof(*m));
}
