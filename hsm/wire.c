/* SPDX-License-Identifier: Apache-2.0 */
/* The codec: big-endian integers and length-prefixed bytes, to and from memory. */
#include "hsm/wire.h"

#include "base/str.h"
#include "base/utf8.h"

#include <string.h>

void wire_put_u8(struct buf *b, uint8_t value)
{
	buf_put_u8(b, value);
}

static void put_big_endian(struct buf *b, uint64_t value, size_t width)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < width; i++)
		bytes[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
	buf_put(b, bytes, width);
}

void wire_put_u16(struct buf *b, uint16_t value)
{
	put_big_endian(b, value, 2);
}

void wire_put_u32(struct buf *b, uint32_t value)
{
	put_big_endian(b, value, 4);
}

void wire_put_u64(struct buf *b, uint64_t value)
{
	put_big_endian(b, value, 8);
}

void wire_put_bytes(struct buf *b, const void *data, size_t len)
{
	if (len > UINT32_MAX) {
		if (b->status == E_OK)
			b->status = E_LIMIT;
		return;
	}
	wire_put_u32(b, (uint32_t)len);
	if (len > 0)
		buf_put(b, data, len);
}

void wire_put_text(struct buf *b, const char *text)
{
	wire_put_bytes(b, text, text ? strlen(text) : 0);
}

void wire_reader_init(struct wire_reader *r, const void *data, size_t len)
{
	r->at = data;
	r->left = len;
	r->status = E_OK;
}

static void wire_fail(struct wire_reader *r, enum err e)
{
	if (r->status == E_OK)
		r->status = e;
	r->left = 0;
}

/* The next len bytes, or NULL (and a bad reader) when there are fewer. */
static const uint8_t *wire_take(struct wire_reader *r, size_t len)
{
	const uint8_t *at = r->at;

	if (r->status != E_OK)
		return NULL;
	if (len > r->left) {
		wire_fail(r, E_PROTO);
		return NULL;
	}
	if (len > 0)
		r->at += len;
	r->left -= len;
	return at;
}

static uint64_t get_big_endian(struct wire_reader *r, size_t width)
{
	const uint8_t *at = wire_take(r, width);
	uint64_t value = 0;

	if (!at)
		return 0;
	for (size_t i = 0; i < width; i++)
		value = value << 8 | at[i];
	return value;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
	return (uint8_t)get_big_endian(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r)
{
	return (uint16_t)get_big_endian(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
	return (uint32_t)get_big_endian(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
	return get_big_endian(r, 8);
}

void wire_get_raw(struct wire_reader *r, void *dst, size_t len)
{
	const uint8_t *at = wire_take(r, len);

	if (len == 0)
		return;
	if (at)
		memcpy(dst, at, len);
	else
		memset(dst, 0, len);
}

const uint8_t *wire_get_bytes(struct wire_reader *r, size_t max, size_t *ret_len)
{
	size_t len = wire_get_u32(r);
	const uint8_t *at;

	*ret_len = 0;
	if (r->status != E_OK)
		return NULL;
	if (len > max) {
		wire_fail(r, E_PROTO);
		return NULL;
	}
	at = wire_take(r, len);
	if (at)
		*ret_len = len;
	return at;
}

char *wire_get_text(struct wire_reader *r, size_t max)
{
	size_t len;
	const uint8_t *at = wire_get_bytes(r, max, &len);
	char *text;

	if (r->status != E_OK)
		return NULL;
	if (len > 0 && (memchr(at, '\0', len) || !utf8_is_valid((const char *)at, len))) {
		wire_fail(r, E_PROTO);
		return NULL;
	}
	text = str_dup_len(len > 0 ? (const char *)at : "", len);
	if (!text)
		wire_fail(r, E_NOMEM);
	return text;
}

enum err wire_reader_finish(const struct wire_reader *r)
{
	if (r->status != E_OK)
		return r->status;
	return r->left == 0 ? E_OK : E_PROTO;
}
