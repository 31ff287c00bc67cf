/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator demands of the CSRs of an account or zone: a JSON document
 * (csrctl(1), POLICIES), read strictly, as bodies are.  What a document does not
 * mention is as without a policy, so "{}" demands nothing.
 *
 * Where an account and its zone have one, both must be met, and [policy] of the
 * configuration as well.  policy_judge.h judges by it.
 */
#ifndef CSRD_API_POLICY_H
#define CSRD_API_POLICY_H

#include "api/problem.h"
#include "base/address.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "store/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_BYTES_MAX ((size_t)64 * 1024) /* of a document */
#define POLICY_ITEMS_MAX 256                 /* of one list */

/* The fields of a create whose text a policy may demand, require or forbid. */
enum policy_field {
	POLICY_COUNTRY,
	POLICY_STATE,
	POLICY_LOCALITY,
	POLICY_ORGANIZATION,
	POLICY_ORGANIZATIONAL_UNIT,
	POLICY_COMMON_NAME,
	POLICY_NAME,
	POLICY_DESCRIPTION,
	POLICY_FIELDS,
};
const char *policy_field_name(enum policy_field field);

enum policy_rule {
	POLICY_UNSAID,
	POLICY_ALL,    /* true */
	POLICY_NONE,   /* false */
	POLICY_LISTED, /* the items, of which there is at least one */
};

/* Host names, in lower case: "a.b" is itself, ".b" is every name below b. */
struct policy_list {
	enum policy_rule rule;
	char **items;
	size_t len;
};

struct policy {
	key_type_set key_types; /* 0: unsaid */
	unsigned san_types;     /* SAN_TYPE_BIT set; 0: unsaid */
	unsigned max_sans;      /* 0: unsaid */
	bool common_name_in_sans;
	struct policy_list dns_names;
	struct policy_list wildcards;   /* what a name with "*." must end in, as well */
	struct policy_list underscores; /* the names that may have them */
	struct policy_list email_domains;
	struct policy_list uris;        /* "spiffe:" or "https://HOST", HOST as above, or an address */
	struct policy_list ip_networks; /* as they were given, */
	struct address_net *networks;   /* and the same, read */
	struct policy_list values[POLICY_FIELDS]; /* one of them, byte by byte */
	bool is_required[POLICY_FIELDS];
	bool is_forbidden[POLICY_FIELDS];
};

/*
 * E_INVAL: *problems has everything that is wrong, each with its pointer and
 * what is accepted.  E_NOMEM.
 */
MUST_USE enum err policy_read(const char *text, size_t len, struct problem_list *problems,
			      struct policy **ret_policy);
void policy_free(struct policy *policy); /* NULL is fine */

/* The policies that a create has to meet, the account's first. */
struct policy_in_force {
	const struct policy *policy;
	enum store_scope_kind kind;
	int64_t version; /* 0: it is not one of the store's */
};
struct policy_set {
	struct policy_in_force items[2];
	size_t len;
};

#endif
