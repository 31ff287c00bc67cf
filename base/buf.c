/* SPDX-License-Identifier: Apache-2.0 */
/* The growing byte buffer. */
#include "base/buf.h"

#include "base/secret.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256

void buf_init(struct buf *b, size_t max_bytes)
{
	memset(b, 0, sizeof(*b));
	b->max = max_bytes;
}

void buf_release(struct buf *b)
{
	if (b->data)
		secret_scrub(b->data, b->capacity);
	free(b->data);
	memset(b, 0, sizeof(*b));
}

/* Room for `more` bytes and a NUL behind them. */
static enum err reserve(struct buf *b, size_t more)
{
	uint8_t *grown;
	size_t wanted;

	if (b->status)
		return b->status;
	if (more > b->max - b->len)
		return b->status = E_LIMIT;
	if (b->capacity > b->len && b->capacity - b->len > more)
		return E_OK;
	wanted = b->capacity ? b->capacity : FIRST_CAPACITY;
	if (more > SIZE_MAX / 2 - b->len)
		return b->status = E_NOMEM;
	while (wanted - b->len <= more)
		wanted *= 2;
	if (b->len == 0 && more > FIRST_CAPACITY)
		wanted = more + 1; /* as much as is asked for: often it is all */
	grown = malloc(wanted);
	if (!grown)
		return b->status = E_NOMEM;
	if (b->data) {
		memcpy(grown, b->data, b->len);
		secret_scrub(b->data, b->capacity);
		free(b->data);
	}
	b->data = grown;
	b->capacity = wanted;
	return E_OK;
}

void buf_reserve(struct buf *b, size_t more)
{
	(void)reserve(b, more);
}

void buf_put(struct buf *b, const void *data, size_t len)
{
	if (reserve(b, len) != E_OK)
		return;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = 0;
}

void buf_put_str(struct buf *b, const char *text)
{
	buf_put(b, text, strlen(text));
}

void buf_put_u8(struct buf *b, uint8_t value)
{
	buf_put(b, &value, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0) {
		if (!b->status)
			b->status = E_NOMEM;
		return;
	}
	if (reserve(b, (size_t)len) != E_OK)
		return;
	va_start(args, format);
	vsnprintf((char *)b->data + b->len, (size_t)len + 1, format, args);
	va_end(args);
	b->len += (size_t)len;
}

void buf_consume(struct buf *b, size_t len)
{
	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len);
	secret_scrub(b->data + b->len - len, len);
	b->len -= len;
	b->data[b->len] = 0;
}

void buf_reset(struct buf *b)
{
	if (b->data)
		secret_scrub(b->data, b->len);
	b->len = 0;
	b->status = E_OK;
}

char *buf_take(struct buf *b, size_t *ret_len)
{
	char *data = b->status ? NULL : (char *)b->data;

	*ret_len = data ? b->len : 0;
	if (!data)
		return NULL;
	*b = (struct buf){.max = b->max};
	return data;
}

enum err buf_status(const struct buf *b)
{
	return b->status;
}

const char *buf_text(const struct buf *b)
{
	return b->data ? (const char *)b->data : "";
}
