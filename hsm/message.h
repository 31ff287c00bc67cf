/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between csrd (client) and csrd-hsm (signer): see
 * doc/hsm-protocol.md.  Both sides meet here and nowhere else.
 *
 * A connection starts with one HELLO from the client.  After that many
 * requests may be in flight; each is answered once with its own request id, in
 * any order (LIST_KEYS in several parts).  A message that cannot be decoded
 * ends the connection.  No message signs bytes that the caller chooses.
 *
 * encode: appends the payload to `b`; check buf_status: E_LIMIT also for a value
 * that decode would refuse (too long, not UTF-8, not a lower-case UUID).  Text for
 * people (details, labels, what CK_TOKEN_INFO says) never fails: bytes that are
 * not UTF-8 become '?', and what is too long is cut.  decode: fills *ret; on
 * failure (E_PROTO, E_NOMEM) *ret is released and zeroed.
 */
#ifndef CSRD_HSM_MESSAGE_H
#define CSRD_HSM_MESSAGE_H

#include "base/buf.h"
#include "base/csr.h"
#include "base/err.h"
#include "base/key.h"
#include "base/key_label.h"
#include "base/node.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_PROTOCOL_VERSION 5
#define MESSAGE_DER_MAX 65536
#define MESSAGE_TEXT_MAX 1024
#define MESSAGE_STORES_MAX 8 /* that a signer remembers */
#define MESSAGE_LINEAGE_BYTES 16
#define MESSAGE_NODE_MAX NODE_NAME_MAX /* bytes of a node's name */
#define MESSAGE_LIST_POOLS_MAX 1024    /* nodes with the longest names fit one frame */
#define MESSAGE_LIST_PART_KEYS 256     /* a full part with the longest labels fits one frame */
#define MESSAGE_CONFIRM_MAX 256        /* names in one CONFIRM */
#define MESSAGE_UNSETTLED_MAX 256      /* keys in one reply to UNSETTLED */

enum message_type {
	MESSAGE_HELLO = 1,
	MESSAGE_CREATE_CSR = 2,
	MESSAGE_DESTROY_KEY = 3,
	MESSAGE_FIND_KEY = 4,
	MESSAGE_LIST_KEYS = 5,
	MESSAGE_STATUS = 6,
	MESSAGE_INSPECT_KEY = 7,
	MESSAGE_NOTE_STORE = 8,
	MESSAGE_LIST_POOLS = 9,
	MESSAGE_DESTROY_POOL = 10,
	MESSAGE_CONFIRM = 11,
	MESSAGE_UNSETTLED = 12,
	MESSAGE_REPLY = 0x8000, /* added to the request's type */
	MESSAGE_ERROR = 0xffff, /* reply: struct message_error */
};
#define MESSAGE_REQUESTS_LEN (MESSAGE_UNSETTLED + 1) /* past the last request: to be raised with it */

/* ---- hello ---- */

/* How far a store had come: its lineage (a random name that it has for this token) and last audit record. */
struct message_store {
	uint8_t lineage[MESSAGE_LINEAGE_BYTES];
	uint64_t sequence;
};

/*
 * The version comes first and is all that is decoded when it is not
 * MESSAGE_PROTOCOL_VERSION; the text members are then NULL.
 */
struct message_hello {
	uint32_t version; /* MESSAGE_PROTOCOL_VERSION */
	char *client;     /* program name for the log, ≤ 64 bytes */
};
struct message_hello_reply {
	uint32_t version;
	char *token_name;  /* [token NAME] */
	char *token_label; /* CK_TOKEN_INFO, blanks trimmed */
	char *token_serial;
	char *token_manufacturer;
	char *token_model;
	key_type_set key_types; /* that this token can make */
	size_t stores_len;
	struct message_store stores[MESSAGE_STORES_MAX]; /* that it remembers; the last noted first */
};
void message_hello_encode(struct buf *b, const struct message_hello *m);
MUST_USE enum err message_hello_decode(const uint8_t *data, size_t len, struct message_hello *ret);
void message_hello_release(struct message_hello *m);
void message_hello_reply_encode(struct buf *b, const struct message_hello_reply *m);
MUST_USE enum err message_hello_reply_decode(const uint8_t *data, size_t len,
					     struct message_hello_reply *ret);
void message_hello_reply_release(struct message_hello_reply *m);

/* ---- create-csr: one new key pair and one CSR signed with it ---- */

struct message_create_csr {
	uint32_t timeout_ms;      /* from receipt; past it, work that has not begun is not begun */
	char csr_id[CSR_ID_SIZE]; /* lower-case UUID: new; the signer refuses one that it knows to be
				     unsettled */
	struct csr_spec spec;
};
/* A key as the token gave it back. */
struct message_key {
	enum key_type key_type;
	char label[KEY_LABEL_SIZE]; /* its name, which the signer chose; of a key made by csrd 0.1 "csrd:<csr
				       id>" */
	uint8_t key_id[KEY_ID_BYTES]; /* CKA_ID of both objects */
	uint8_t spki_sha256[KEY_SPKI_HASH_BYTES];
	uint32_t protection; /* enum key_protection bits of the private key */
};
struct message_create_csr_reply {
	struct message_key key;
	uint64_t journal_index; /* of the entry that says which CSR the key was used for */
	uint8_t *der;           /* PKCS#10, ≤ MESSAGE_DER_MAX */
	size_t der_len;
};
void message_create_csr_encode(struct buf *b, const struct message_create_csr *m);
MUST_USE enum err message_create_csr_decode(const uint8_t *data, size_t len, struct message_create_csr *ret);
void message_create_csr_release(struct message_create_csr *m);
void message_create_csr_reply_encode(struct buf *b, const struct message_create_csr_reply *m);
MUST_USE enum err message_create_csr_reply_decode(const uint8_t *data, size_t len,
						  struct message_create_csr_reply *ret);
void message_create_csr_reply_release(struct message_create_csr_reply *m);

/* ---- destroy-key, find-key: by the label of one key ---- */

/*
 * DESTROY_KEY destroys every object of that label, then proves by a fresh search that none is left; a name
 * that the journal has is destroyed there, too.  E_DENIED: a key of the stock, which was used for no CSR.
 */
struct message_key_request { /* DESTROY_KEY, FIND_KEY and INSPECT_KEY */
	uint32_t timeout_ms;
	char label[KEY_LABEL_SIZE]; /* key_label_is_valid */
};
struct message_destroy_key_reply {
	uint32_t destroyed; /* objects; 0 when there was none */
};
/* What is on the token under one label. */
enum message_key_presence {
	MESSAGE_KEY_NONE = 0,
	MESSAGE_KEY_PAIR = 1,         /* one private and one public key that belong together */
	MESSAGE_KEY_PUBLIC_ONLY = 2,  /* half pair */
	MESSAGE_KEY_PRIVATE_ONLY = 3, /* half pair */
	MESSAGE_KEY_AMBIGUOUS = 4,    /* more objects than one pair under one label */
};
struct message_find_key_reply {
	enum message_key_presence presence;
	uint8_t key_id[KEY_ID_BYTES]; /* of the first object found; zeroes for none */
};
void message_key_request_encode(struct buf *b, const struct message_key_request *m);
MUST_USE enum err message_key_request_decode(const uint8_t *data, size_t len,
					     struct message_key_request *ret);
void message_destroy_key_reply_encode(struct buf *b, const struct message_destroy_key_reply *m);
MUST_USE enum err message_destroy_key_reply_decode(const uint8_t *data, size_t len,
						   struct message_destroy_key_reply *ret);
void message_find_key_reply_encode(struct buf *b, const struct message_find_key_reply *m);
MUST_USE enum err message_find_key_reply_decode(const uint8_t *data, size_t len,
						struct message_find_key_reply *ret);

/* ---- inspect-key: find-key, and what the token reports about the pair now ---- */

struct message_inspect_key_reply {
	enum message_key_presence presence;
	uint8_t key_id[KEY_ID_BYTES]; /* as in message_find_key_reply */
	bool has_key;                 /* a pair, and it can be read and has no known weakness */
	struct message_key key;       /* with has_key: read just now, public key and attributes */
	char *detail;                 /* without: why not; ≤ MESSAGE_TEXT_MAX */
};
void message_inspect_key_reply_encode(struct buf *b, const struct message_inspect_key_reply *m);
MUST_USE enum err message_inspect_key_reply_decode(const uint8_t *data, size_t len,
						   struct message_inspect_key_reply *ret);
void message_inspect_key_reply_release(struct message_inspect_key_reply *m);

/* ---- list-keys: everything labelled "csrd:…" (made by 0.1) or "csrd-…" ---- */

/* What the signer's journal says of a key. */
enum message_key_life {
	MESSAGE_LIFE_NONE = 0,  /* nothing: bound to its CSR, made by 0.1, or not this signer's */
	MESSAGE_LIFE_READY = 1, /* of the stock, or being made: used for no CSR */
	MESSAGE_LIFE_USED =
	    2, /* for one CSR, of which the signer does not know whether it stands (UNSETTLED) */
	MESSAGE_LIFE_OTHER = 3, /* its name says that another node made it which has a stock on this token */
};
struct message_list_keys { /* LIST_KEYS and LIST_POOLS */
	uint32_t timeout_ms;
};
struct message_listed_key {
	char *label; /* ≤ 255 bytes, "csrd:…" or "csrd-…"; what follows need not be an id or a name */
	enum message_key_life life;
	enum message_key_presence presence;
	uint8_t key_id[KEY_ID_BYTES]; /* zero-padded or cut when the token holds another length */
};
struct message_list_keys_part {
	bool last;       /* no part of this request follows */
	uint32_t unread; /* objects that could not be read; if not 0, the list may lack keys */
	struct message_listed_key *keys;
	size_t keys_len; /* ≤ MESSAGE_LIST_PART_KEYS */
};
void message_list_keys_encode(struct buf *b, const struct message_list_keys *m);
MUST_USE enum err message_list_keys_decode(const uint8_t *data, size_t len, struct message_list_keys *ret);
void message_list_keys_part_encode(struct buf *b, const struct message_list_keys_part *m);
MUST_USE enum err message_list_keys_part_decode(const uint8_t *data, size_t len,
						struct message_list_keys_part *ret);
void message_list_keys_part_release(struct message_list_keys_part *m);

/* ---- list-pools: ready keys of other nodes, as their own words on the token list them ("csrd-stock:<node>")
 * ---- */

struct message_node_pool {
	char *node; /* ≤ MESSAGE_NODE_MAX bytes */
	uint32_t private_keys;
	uint32_t public_keys;
};
struct message_list_pools_reply {
	bool more;       /* there are other nodes besides these */
	uint32_t unread; /* as in message_list_keys_part */
	struct message_node_pool *nodes;
	size_t nodes_len; /* ≤ MESSAGE_LIST_POOLS_MAX */
};
void message_list_pools_reply_encode(struct buf *b, const struct message_list_pools_reply *m);
MUST_USE enum err message_list_pools_reply_decode(const uint8_t *data, size_t len,
						  struct message_list_pools_reply *ret);
void message_list_pools_reply_release(struct message_list_pools_reply *m);

/*
 * ---- destroy-pool: the ready keys of one other node, which must be gone for good ----
 *
 * The reply is a message_destroy_key_reply.  E_DENIED for the signer's own node.
 */
struct message_destroy_pool {
	uint32_t timeout_ms;
	char node[MESSAGE_NODE_MAX + 1]; /* not empty */
};
void message_destroy_pool_encode(struct buf *b, const struct message_destroy_pool *m);
MUST_USE enum err message_destroy_pool_decode(const uint8_t *data, size_t len,
					      struct message_destroy_pool *ret);

/*
 * ---- confirm: the rows of these CSRs are durable; the reply, without payload, means that the signer knows
 * it durably ----
 *
 * kept: no row vouches for them, since the store went back or is another one; the signer forgets them all the
 * same, so that nobody destroys them but a person.  A name that is bound already, or unknown, is passed over.
 */
struct message_confirm {
	bool kept;
	const char (*labels)[KEY_LABEL_SIZE]; /* decode: owned */
	size_t labels_len;                    /* 1 … MESSAGE_CONFIRM_MAX */
};
void message_confirm_encode(struct buf *b, const struct message_confirm *m);
MUST_USE enum err message_confirm_decode(const uint8_t *data, size_t len, struct message_confirm *ret);
void message_confirm_release(struct message_confirm *m);

/* ---- unsettled: keys that were used for a CSR and neither confirmed nor destroyed since; oldest first ----
 */

struct message_unsettled {
	uint32_t timeout_ms;
	uint64_t from; /* only those whose journal_index is that or more */
};
struct message_unsettled_key {
	char label[KEY_LABEL_SIZE];
	char csr_id[CSR_ID_SIZE];
	uint8_t spki_sha256[KEY_SPKI_HASH_BYTES];
	uint64_t journal_index;
};
struct message_unsettled_reply {
	bool more; /* ask again from the last one's index + 1 */
	struct message_unsettled_key *keys;
	size_t keys_len; /* ≤ MESSAGE_UNSETTLED_MAX */
};
void message_unsettled_encode(struct buf *b, const struct message_unsettled *m);
MUST_USE enum err message_unsettled_decode(const uint8_t *data, size_t len, struct message_unsettled *ret);
void message_unsettled_reply_encode(struct buf *b, const struct message_unsettled_reply *m);
MUST_USE enum err message_unsettled_reply_decode(const uint8_t *data, size_t len,
						 struct message_unsettled_reply *ret);
void message_unsettled_reply_release(struct message_unsettled_reply *m);

/*
 * ---- note-store: the reply, without payload, means that the signer remembers it durably ----
 *
 * A sequence below the one that it remembers for the lineage changes nothing.
 */
void message_note_store_encode(struct buf *b, const struct message_store *m);
MUST_USE enum err message_note_store_decode(const uint8_t *data, size_t len, struct message_store *ret);

/* ---- status: request has no payload ---- */

/* How many keys of one type are ready in the pool, and how many there should be. */
struct message_pool {
	enum key_type key_type;
	uint32_t ready;
	uint32_t target;
};
/* What a usable signer lacks whose journal cannot be written. */
#define MESSAGE_STATUS_JOURNAL_DOWN "its journal cannot be written: creates and deletes are refused"

struct message_status_reply {
	bool usable;  /* the token answered its last probe and a user is logged in */
	char *detail; /* why not, or what a usable one lacks, or ""; ≤ MESSAGE_TEXT_MAX */
	uint32_t threads;
	uint32_t busy; /* threads at work */
	uint32_t queued;
	uint64_t created;     /* CSRs since start */
	uint64_t destroyed;   /* keys since start */
	uint64_t failed;      /* operations that ended in an error since start */
	uint64_t token_flags; /* CK_TOKEN_INFO flags */
	key_type_set key_types;
	size_t pools_len;
	struct message_pool pools[KEY_TYPE_MAX]; /* types that have a target or ready keys */
	char *pool_detail;                       /* why the pool is not filled, or ""; ≤ MESSAGE_TEXT_MAX */
	uint32_t other_nodes; /* that had ready keys on the token when its keys were last listed … */
	uint32_t other_keys;  /* … and how many */
	char *capabilities;   /* what the token was found to do, for people; ≤ MESSAGE_TEXT_MAX */
};
void message_status_reply_encode(struct buf *b, const struct message_status_reply *m);
MUST_USE enum err message_status_reply_decode(const uint8_t *data, size_t len,
					      struct message_status_reply *ret);
void message_status_reply_release(struct message_status_reply *m);

/* ---- error reply ---- */

/*
 * code: E_BUSY (queue full, or the label is being worked on), E_TIMEOUT (not
 * begun in time), E_INVAL, E_UNSUPPORTED (key type), E_DENIED, E_HSM (nothing is
 * left on the token), E_UNAVAIL (token down, nothing was done), E_UNCERTAIN
 * (objects may be left), E_NOMEM, E_BUG.  Other values decode as E_UNCERTAIN.
 */
struct message_error {
	enum err code;
	char *detail; /* for csrd's log; ≤ MESSAGE_TEXT_MAX; never a secret */
};
void message_error_encode(struct buf *b, const struct message_error *m);
MUST_USE enum err message_error_decode(const uint8_t *data, size_t len, struct message_error *ret);
void message_error_release(struct message_error *m);

#endif
