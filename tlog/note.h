/* SPDX-License-Identifier: Apache-2.0 */
/* A text and signatures of it (C2SP signed-note): how it is written, read and checked. */
#ifndef CSRD_TLOG_NOTE_H
#define CSRD_TLOG_NOTE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "tlog/note_key.h"

#include <stddef.h>
#include <stdint.h>

#define NOTE_BYTES_MAX (256 * 1024)
#define NOTE_SIGNATURES_MAX 32 /* the specification asks for 16 at least */

struct note_line {
	const char *name; /* of the key, name_len bytes */
	size_t name_len;
	uint32_t id;
	const char *base64; /* of id and signature */
	size_t base64_len;
};

/* Everything in it is borrowed from what was read. */
struct note {
	const char *text; /* with the newline at its end */
	size_t text_len;
	size_t lines_len;
	struct note_line lines[NOTE_SIGNATURES_MAX];
};

/* E_PROTO: it is no note, or of more than these limits.  No signature is checked: the text may be anybody's.
 */
MUST_USE enum err note_parse(const void *bytes, size_t len, struct note *ret_note);

/*
 * Is the text signed with this key, whatever its type?  Signatures with other keys do not count.  E_NOTFOUND:
 * the key has no signature here; E_DENIED: it has one that is wrong, whatever others say; E_NOMEM.
 */
MUST_USE enum err note_verify(const struct note *note, const struct note_key *key);

/* The same with the key of a witness, and when it signed, in seconds since 1970: the latest of its lines.
 * E_INVAL: of none. */
MUST_USE enum err note_verify_cosignature(const struct note *note, const struct note_key *key,
					  uint64_t *ret_seconds);

/* What signs with the private key of `key`, such as a token.  `sign` fails with an error of its own. */
struct note_signer {
	const struct note_key *key;
	enum err (*sign)(void *arg, const void *text, size_t len, struct note_signature *ret_signature);
	void *arg;
};

/*
 * Appends the note of the text with one line for each signer.  Each signature is checked before it is used.
 * E_INVAL: the text does not end in a newline, or has control characters or what is no UTF-8; E_HSM: a
 * signature is wrong; E_LIMIT, E_NOMEM, or what `sign` returned: `out` is to be thrown away.
 */
MUST_USE enum err note_sign(const char *text, const struct note_signer *signers, size_t signers_len,
			    struct buf *out);

/* Appends a line.  The signature is not checked. */
void note_put_line(const struct note_key *key, const struct note_signature *signature, struct buf *out);

#endif
