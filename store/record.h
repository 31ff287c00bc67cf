/* SPDX-License-Identifier: Apache-2.0 */
/* What the store keeps: the structs shared by its callers and the layers below it. */
#ifndef CSRD_STORE_RECORD_H
#define CSRD_STORE_RECORD_H

#include "base/address.h"
#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "base/identity.h"
#include "base/key.h"
#include "base/key_label.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_TAG_SIZE 33        /* account or zone id: 1–32 of [0-9A-Za-z_-], and NUL */
#define STORE_TOKEN_NAME_SIZE 33 /* [token NAME] */
#define STORE_HASH_BYTES 32      /* SHA-256 */
#define STORE_LINEAGE_BYTES 16
#define STORE_NO_LIMIT (-1)

enum store_scope_kind { STORE_ACCOUNT = 1, STORE_ZONE = 2 };

/* An account or a zone: what a CSR is made for and what a grant is given on. */
struct store_scope {
	enum store_scope_kind kind;
	char id[STORE_TAG_SIZE];
};
bool store_scope_equal(const struct store_scope *a, const struct store_scope *b);

/* active → deleting → destroyed.  Of a row that csrd 0.1 began: pending → failed.  There is no other move. */
enum csr_state {
	CSR_PENDING = 1,   /* of csrd 0.1 alone: it made rows before their keys */
	CSR_ACTIVE = 2,    /* from the start */
	CSR_DELETING = 3,  /* durable before the key is destroyed */
	CSR_DESTROYED = 4, /* proven absent; kept for audit, 404 to the API */
	CSR_FAILED = 5,    /* of csrd 0.1 alone: no key is left of it, unless it was set aside */
};
const char *csr_state_name(enum csr_state state); /* "pending", …; "?" */
MUST_USE enum err csr_state_parse(const char *name, enum csr_state *ret_state);
bool csr_state_may_move(enum csr_state from, enum csr_state to); /* the moves above */
bool csr_state_counts(enum csr_state state); /* towards a quota: pending, active, deleting */

struct csr_record {
	char id[CSR_ID_SIZE];
	struct store_scope scope;               /* where it was made */
	char account_tag[STORE_TAG_SIZE];       /* the account, also for a zone's CSR */
	char token_name[STORE_TOKEN_NAME_SIZE]; /* [token NAME] that holds the key */
	char principal_id[CSR_ID_SIZE];         /* who asked for it */
	enum csr_state state;
	int64_t created_us;   /* UTC; set by store_csr_begin, never changes */
	int64_t updated_us;   /* last change of state */
	int64_t set_aside_us; /* 0: never; else it was open when the store went back: its key is kept */
	struct csr_spec spec;
	char *name;        /* NULL when not given */
	char *description; /* NULL when not given */
	/* From active on: */
	char *pem;                      /* NULL before */
	char key_label[KEY_LABEL_SIZE]; /* of both objects: the key's name, or "csrd:<id>" of a key made by
					   0.1; "" before */
	uint8_t key_id[KEY_ID_BYTES];
	uint8_t spki_sha256[KEY_SPKI_HASH_BYTES];
	uint32_t protection; /* enum key_protection bits */
	/* The versions of the policies that were in force at the commit; 0: none. */
	int64_t account_policy;
	int64_t zone_policy;
};
void csr_record_release(struct csr_record *r); /* frees members, zeroes */
void csr_record_free(struct csr_record *r);    /* release and free; NULL is fine */
MUST_USE enum err csr_record_copy(const struct csr_record *from, struct csr_record *ret_to); /* E_NOMEM */

enum principal_kind {
	PRINCIPAL_TOKEN = 1, /* API token: Authorization: Bearer */
	PRINCIPAL_USER = 2,  /* X-Auth-Email and X-Auth-Key */
	PRINCIPAL_PEER = 3,  /* no secret: known by its identities alone */
};

enum grant_permission { GRANT_READ = 1, GRANT_WRITE = 2 }; /* write includes read */

struct grant {
	struct store_scope scope;
	enum grant_permission permission;
};

#define PRINCIPAL_NETWORKS_MAX 16

/* Somebody who may call the API.  Only the hash of the secret is kept, if there is one. */
struct principal {
	char id[CSR_ID_SIZE]; /* UUID */
	enum principal_kind kind;
	char *name; /* the operator's words; user: the e-mail address */
	uint8_t secret_hash[STORE_HASH_BYTES];
	int64_t created_us;
	int64_t not_before_us;   /* 0: none */
	int64_t expires_us;      /* 0: never */
	int64_t revoked_us;      /* 0: not revoked */
	int64_t last_used_us;    /* 0: never; up to an hour old */
	int64_t secret_until_us; /* 0: secret_hash is in force; else it was replaced, and ends then */
	struct address_net networks[PRINCIPAL_NETWORKS_MAX]; /* where it may be used from */
	size_t networks_len;                                 /* 0: anywhere */
	struct grant *grants;
	size_t grants_len;
	struct identity *identities; /* those in force: of lists and of what is added; else none */
	size_t identities_len;
	struct identity known_by; /* of one that was found by its peer, or with a peer that is bound to it: by
				     which; else its value is NULL */
};
void principal_release(struct principal *p);
void principal_free(struct principal *p);
/* One network, or "unix": callers on unix sockets.  E_INVAL: `why` says what is wrong and what is accepted.
 */
MUST_USE enum err principal_network_parse(const char *text, struct buf *why, struct address_net *ret_net);
/* ", " between them; "" for none. */
void principal_networks_format(const struct principal *p, struct buf *b);
MUST_USE enum err principal_copy(const struct principal *from, struct principal *ret_to); /* E_NOMEM */

struct account_record {
	char id[STORE_TAG_SIZE];
	char *name;        /* may be "" */
	int64_t csr_quota; /* CSRs that count (pending, active, deleting); STORE_NO_LIMIT */
	int64_t csr_count; /* those of the account itself, not of its zones */
	int64_t created_us;
};
void account_record_release(struct account_record *a); /* frees members, zeroes */

struct zone_record {
	char id[STORE_TAG_SIZE];
	char account_id[STORE_TAG_SIZE];
	char *name;
	int64_t csr_quota;
	int64_t csr_count;
	int64_t created_us;
};
void zone_record_release(struct zone_record *z);

/* One version of the policy of an account or zone (api/policy.h). */
struct policy_record {
	struct store_scope scope;
	int64_t version; /* 1, 2, … without gaps; 0: there is none */
	int64_t made_us;
	char *made_by;  /* the actor of its audit record */
	char *document; /* as it was set */
};
void policy_record_release(struct policy_record *p); /* frees members, zeroes */

/* What is in force for the CSRs of a scope. */
struct store_policies {
	struct policy_record account; /* its scope is set, whether there is a version or not */
	struct policy_record zone;    /* version 0: also where the CSR is the account's own */
};
void store_policies_free(struct store_policies *p); /* with its members; NULL is fine */

/* What the audit trail keeps beside the change itself; every text may be NULL. Borrowed for the call. */
struct audit_origin {
	const char *actor;      /* principal id, "system" or "operator:<user name>" */
	const char *request_id; /* X-Request-Id */
	const char *peer;       /* address of the caller */
	const char *detail;     /* one line of words */
};

/* One line of the audit trail. */
struct audit_record {
	int64_t sequence; /* 1, 2, … without gaps */
	int64_t at_us;
	char *action; /* "csr.pending", "csr.active", …, "account.add", "token.revoke" */
	char *object; /* id of the CSR, account, zone or principal */
	char *actor;  /* the four of audit_origin; "" when not given */
	char *request_id;
	char *peer;
	char *detail;
};
void audit_record_release(struct audit_record *a);

#endif
