/* SPDX-License-Identifier: Apache-2.0 */
/* The public keys that signatures of notes are checked with, and their text, the vkey (C2SP signed-note). */
#ifndef CSRD_TLOG_NOTE_KEY_H
#define CSRD_TLOG_NOTE_KEY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTE_NAME_MAX 255     /* bytes; the specification has no limit */
#define NOTE_SIGNATURE_MAX 72 /* bytes: of ECDSA with P-256, in DER */
#define NOTE_ED25519_BYTES 32 /* the public key of RFC 8032 */
#define NOTE_ECDSA_BYTES 91   /* the SubjectPublicKeyInfo of a point of P-256 that is not compressed */

/* The types of signed-note that this program checks. */
enum note_algorithm {
	NOTE_ED25519 = 0x01, /* public key: 32 bytes; signature: 64 bytes */
	NOTE_ECDSA = 0x02,   /* public key: SPKI in DER, of P-256 only; signature: over SHA-256, in DER */
	/* of a witness (C2SP tlog-cosignature), over the time and the text; signature: 8 bytes of time before
	   it */
	NOTE_COSIGNATURE = 0x04,
};

struct note_key {
	enum note_algorithm algorithm;
	uint32_t id; /* short: with the name it tells which key it is, but proves nothing */
	char name[NOTE_NAME_MAX + 1];
	uint8_t public_key[NOTE_ECDSA_BYTES];
	size_t public_key_len;
};

struct note_signature {
	size_t len;
	uint8_t bytes[NOTE_SIGNATURE_MAX];
};

/* Not empty, UTF-8 without blanks and control characters, no '+', at most NOTE_NAME_MAX bytes. */
bool note_key_name_is_valid(const char *name, size_t len);

/* The id is computed.  E_INVAL: the name, or the key is none of this algorithm; E_NOMEM. */
MUST_USE enum err note_key_make(const char *name, enum note_algorithm algorithm, const uint8_t *public_key,
				size_t len, struct note_key *ret_key);

/*
 * "NAME+ID+KEY".  E_INVAL: it is no vkey, or its id is another key's; E_UNSUPPORTED: of another algorithm;
 * E_NOMEM.
 */
MUST_USE enum err note_key_parse(const char *vkey, struct note_key *ret_key);

/* Appends the vkey. */
void note_key_put(const struct note_key *key, struct buf *out);

/* When a witness signed, in seconds since 1970.  The signature is one that verifies. */
uint64_t note_key_cosigned_at(const struct note_signature *signature);

/* E_DENIED: this key did not sign this text; E_NOMEM. */
MUST_USE enum err note_key_verify(const struct note_key *key, const void *text, size_t text_len,
				  const struct note_signature *signature);

#endif
