/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection says about who is at its other end, without a secret: the
 * names of a verified client certificate, or the user of a process on this
 * machine.  A principal is known by such identities; they are compared byte by
 * byte, after identity_put_normal.
 */
#ifndef CSRD_BASE_IDENTITY_H
#define CSRD_BASE_IDENTITY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The store keeps these numbers. */
enum identity_kind {
	IDENTITY_URI = 1,     /* a subject alternative name of a client certificate */
	IDENTITY_DNS = 2,     /* the same */
	IDENTITY_EMAIL = 3,   /* the same */
	IDENTITY_SUBJECT = 4, /* the subject of one that has no such name: tls/tls_name.h */
	IDENTITY_UNIX_UID = 5 /* the peer of a unix socket */
};
#define IDENTITY_KIND_MAX 5

#define IDENTITY_MAX 16         /* names of one certificate */
#define IDENTITY_BYTES_MAX 2048 /* of one value */

struct identity {
	enum identity_kind kind;
	char *value;
};

/* Those of one connection. */
struct peer {
	struct identity names[IDENTITY_MAX];
	size_t names_len;
	char *evidence;   /* "certificate 0A1B2C": what else tells it from others; NULL: nothing */
	const char *lack; /* why it has no name that counts, in words for people (static); NULL: it has one */
};
void peer_free(struct peer *peer); /* NULL is fine */
/* Copies the value.  E_NOMEM; E_LIMIT: IDENTITY_MAX are there. */
MUST_USE enum err peer_add(struct peer *peer, enum identity_kind kind, const char *value);
/* The user of a process on this machine.  E_NOMEM. */
MUST_USE enum err peer_new_unix(uint32_t uid, struct peer **ret_peer);

/* "uri:spiffe://example.org/a, dns:a.example.org (certificate 0A1B2C)": some of them, if they are many. */
void peer_put(struct buf *b, const struct peer *peer);

/* "uri", "dns", "email", "subject", "unix-user"; "?" */
const char *identity_kind_name(enum identity_kind kind);

/*
 * The form in which values are compared, of all kinds but IDENTITY_SUBJECT.
 * URI: scheme and host in lower case, all else as it is.  DNS: in lower case; a
 * wildcard names nobody.  E-mail: the host in lower case.  User: a decimal number.
 * E_INVAL: not one of these.
 */
MUST_USE enum err identity_put_normal(struct buf *b, enum identity_kind kind, const char *text);

/*
 * What the kernel shows for users that it has no number for, as those of
 * another user namespace: it can be anybody.  Always called on one thread.
 */
bool identity_uid_is_nobody(uint32_t uid);

#endif
