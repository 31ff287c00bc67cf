/* SPDX-License-Identifier: Apache-2.0 */
/* A byte at a time, but for the data, which is passed on in pieces as it came. */
#include "daemon/chunk.h"

#include "base/str.h"
#include "daemon/head.h"

#include <stdbool.h>
#include <string.h>

/* All extensions of one body together: nobody is known to send any (RFC 9112 §7.1.1 asks for a limit). */
#define EXTENSIONS_MAX 4096
/* Digits of a size, leading zeros not counted: UINT64_MAX cannot be reached. */
#define DIGITS_MAX 15

enum step {
	STEP_SIZE_FIRST, /* the size must have one digit at least */
	STEP_SIZE,
	STEP_BLANKS, /* before an extension (BWS) */
	STEP_EXTENSION,
	STEP_SIZE_LF,
	STEP_DATA,
	STEP_DATA_CR,
	STEP_DATA_LF,
	STEP_TRAILER, /* a field line, or the empty one that ends it all */
	STEP_TRAILER_LF,
};

void chunk_init(struct chunk *c, uint64_t max_body_bytes, size_t max_trailer_bytes)
{
	memset(c, 0, sizeof(*c));
	c->max_body_bytes = max_body_bytes;
	c->max_trailer_bytes = max_trailer_bytes;
	c->step = STEP_SIZE_FIRST;
}

static enum chunk_state chunk_refuse(struct chunk *c, int status, const char *why)
{
	c->status = status;
	c->why = why;
	return CHUNK_REFUSED;
}

static bool digit_value(char c, uint64_t *ret_value)
{
	char lower = str_ascii_lower(c);

	if (str_ascii_is_digit(c))
		*ret_value = (uint64_t)(c - '0');
	else if (lower >= 'a' && lower <= 'f')
		*ret_value = (uint64_t)(lower - 'a') + 10;
	else
		return false;
	return true;
}

static bool chunk_is_text(char c)
{
	unsigned char u = (unsigned char)c;

	return (u >= 0x20 && u != 0x7f) || c == '\t';
}

static enum chunk_state size_step(struct chunk *c, char byte)
{
	uint64_t digit;

	if (digit_value(byte, &digit)) {
		c->left = c->left * 16 + digit;
		c->digits += c->left > 0;
		c->step = STEP_SIZE;
		if (c->digits > DIGITS_MAX || c->body_len + c->left > c->max_body_bytes)
			return chunk_refuse(c, 413,
					    "the body is too large ([http] max_body_bytes sets the limit)");
		return CHUNK_MORE;
	}
	if (c->step == STEP_SIZE && byte == '\r')
		c->step = STEP_SIZE_LF;
	else if (c->step == STEP_SIZE && byte == ';')
		c->step = STEP_EXTENSION;
	else if (c->step == STEP_SIZE && (byte == ' ' || byte == '\t'))
		c->step = STEP_BLANKS;
	else
		return chunk_refuse(c, 400, "a chunk size is not a hexadecimal number");
	return CHUNK_MORE;
}

/* Extensions and the blanks before them: a line has one of each or none. */
static enum chunk_state extension_step(struct chunk *c, char byte)
{
	if (c->step == STEP_BLANKS && byte == ';')
		c->step = STEP_EXTENSION;
	else if (c->step == STEP_BLANKS && byte != ' ' && byte != '\t')
		return chunk_refuse(c, 400, "a chunk size is not a hexadecimal number");
	if (byte == '\r')
		c->step = STEP_SIZE_LF;
	else if (!chunk_is_text(byte))
		return chunk_refuse(c, 400, "a chunk extension holds a control character");
	else if (++c->skipped_len > EXTENSIONS_MAX)
		return chunk_refuse(c, 400, "the chunk extensions are too long");
	return CHUNK_MORE;
}

/* RFC 9112 §5: a name, a colon right behind it, a value. */
static enum chunk_state trailer_step(struct chunk *c, char byte)
{
	if (byte == '\r' && (c->line_len == 0 || c->line_is_field)) {
		c->step = STEP_TRAILER_LF;
		return CHUNK_MORE;
	}
	if (!chunk_is_text(byte) && byte != '\r')
		return chunk_refuse(c, 400, "a trailer field holds a control character");
	if (!c->line_is_field && !head_is_token_char(byte) && (byte != ':' || c->line_len == 0))
		return chunk_refuse(c, 400, "a trailer line is not a field");
	if (++c->skipped_len > c->max_trailer_bytes)
		return chunk_refuse(
		    c, 431, "the trailer fields are too long ([http] max_header_bytes sets the limit)");
	c->line_is_field = c->line_is_field || byte == ':';
	c->line_len++;
	return CHUNK_MORE;
}

static enum chunk_state end_line(struct chunk *c)
{
	switch (c->step) {
	case STEP_SIZE_LF:
		c->body_len += c->left;
		c->step = c->left > 0 ? STEP_DATA : STEP_TRAILER;
		c->skipped_len = c->left > 0 ? c->skipped_len : 0;
		break;
	case STEP_DATA_LF:
		c->step = STEP_SIZE_FIRST;
		c->digits = 0;
		break;
	default: /* STEP_TRAILER_LF */
		if (c->line_len == 0)
			return CHUNK_END;
		c->line_len = 0;
		c->line_is_field = false;
		c->step = STEP_TRAILER;
		break;
	}
	return CHUNK_MORE;
}

static enum chunk_state take_byte(struct chunk *c, char byte)
{
	switch (c->step) {
	case STEP_SIZE_FIRST:
	case STEP_SIZE:
		return size_step(c, byte);
	case STEP_BLANKS:
	case STEP_EXTENSION:
		return extension_step(c, byte);
	case STEP_TRAILER:
		return trailer_step(c, byte);
	case STEP_DATA_CR:
		if (byte != '\r')
			return chunk_refuse(c, 400, "a chunk is longer than its size");
		c->step = STEP_DATA_LF;
		return CHUNK_MORE;
	default:
		return byte == '\n'
			   ? end_line(c)
			   : chunk_refuse(c, 400, "a line of the chunked body does not end in CR LF");
	}
}

enum chunk_state chunk_decode(struct chunk *c, const char *bytes, size_t len, size_t *ret_used,
			      size_t *ret_data_len)
{
	enum chunk_state s = CHUNK_MORE;
	size_t used = 0;

	*ret_data_len = 0;
	while (s == CHUNK_MORE && used < len) {
		if (c->step == STEP_DATA) {
			size_t n = len - used < c->left ? len - used : (size_t)c->left;

			c->left -= n;
			used += n;
			*ret_data_len = n;
			if (c->left == 0)
				c->step = STEP_DATA_CR;
			s = CHUNK_DATA;
		} else {
			s = take_byte(c, bytes[used++]);
		}
	}
	*ret_used = used;
	return s;
}
