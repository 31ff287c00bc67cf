/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec of the protocol between csrd and csrd-hsm: big-endian integers and
 * length-prefixed bytes.  It knows no message and no descriptor.
 *
 * Writers append to a `struct buf` and check buf_status once at the end.  A
 * reader never reads past its end: after the first thing that does not fit, every
 * get returns zeroes, and wire_reader_finish reports it.
 */
#ifndef CSRD_HSM_WIRE_H
#define CSRD_HSM_WIRE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void wire_put_u8(struct buf *b, uint8_t value);
void wire_put_u16(struct buf *b, uint16_t value);
void wire_put_u32(struct buf *b, uint32_t value);
void wire_put_u64(struct buf *b, uint64_t value);
/* u32 length, then the bytes. */
void wire_put_bytes(struct buf *b, const void *data, size_t len);
/* As wire_put_bytes without the NUL; NULL is sent as "". */
void wire_put_text(struct buf *b, const char *text);

struct wire_reader {
	const uint8_t *at;
	size_t left;
	enum err status; /* E_OK, E_PROTO or E_NOMEM */
};
void wire_reader_init(struct wire_reader *r, const void *data, size_t len);

uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
/* Exactly len bytes without a prefix. */
void wire_get_raw(struct wire_reader *r, void *dst, size_t len);
/* A prefixed run of at most max bytes; borrowed from the input. */
const uint8_t *wire_get_bytes(struct wire_reader *r, size_t max, size_t *ret_len);
/* A prefixed text of at most max bytes without NUL, valid UTF-8; owned by the caller, NULL when bad. */
char *wire_get_text(struct wire_reader *r, size_t max);

/* E_OK when all was read and nothing was bad; E_PROTO; E_NOMEM. */
MUST_USE enum err wire_reader_finish(const struct wire_reader *r);

#endif
