/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a log of csrd's has about one event.  The entry is for everybody: no personal data is in it.  Who,
 * from where and why is in the private part, to which the entry is bound by a hash, so that it can be deleted
 * and all proofs stay valid.  Both are JSON in the form of RFC 8785.
 */
#ifndef CSRD_TLOG_LOG_ENTRY_H
#define CSRD_TLOG_LOG_ENTRY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "tlog/tree_hash.h"

#include <stdint.h>

#define LOG_ENTRY_BYTES_MAX 4096
#define LOG_ENTRY_SALT_BYTES 16

/* Texts are borrowed. */
struct log_entry {
	const char *action;  /* such as "csr.created" */
	const char *outcome; /* "ok", or what kind of error */
	const char *object;  /* what it happened to, such as a CSR's UUID; NULL: left out */
	const char *node;
	uint64_t node_sequence; /* counts the node's entries */
	uint64_t index;         /* in the log, from 0 */
	int64_t at_us;
	struct tree_hash private_hash;     /* SHA-256 of the private part */
	const struct tree_hash *spki;      /* SHA-256 of the key's SubjectPublicKeyInfo; NULL: left out */
	const struct tree_hash *statement; /* SHA-256 of the statement about the key; NULL: left out */
};

struct log_private {
	const char *account; /* NULL: left out, as each of these */
	const char *actor;
	const char *detail;
	const char *peer;
	const char *request;
	const struct tree_hash *row;        /* SHA-256 of what the store has that never changes */
	uint8_t salt[LOG_ENTRY_SALT_BYTES]; /* random, so that the hash does not tell a text that can be
					       guessed */
};

/*
 * Append the text.  E_INVAL: a text is not UTF-8, or a number above 2^53 − 1; E_LIMIT: longer than
 * LOG_ENTRY_BYTES_MAX, or the buffer's ceiling; E_NOMEM.  `out` is then to be thrown away.
 */
MUST_USE enum err log_entry_put(const struct log_entry *entry, struct buf *out);
MUST_USE enum err log_entry_put_private(const struct log_private *part, struct buf *out);

#endif
