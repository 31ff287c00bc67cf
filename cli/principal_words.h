/* SPDX-License-Identifier: Apache-2.0 */
/* What csrctl token, csrctl user and csrctl principal have in common: the words for each kind, and members of
 * their JSON. */
#ifndef CSRD_CLI_PRINCIPAL_WORDS_H
#define CSRD_CLI_PRINCIPAL_WORDS_H

#include "api/json.h"
#include "cli/names.h"
#include "store/record.h"

#include <stddef.h>

#define PRINCIPAL_WORDS_GRANTS_MAX ((size_t)1024 * 1024) /* bytes of grants in words */

struct principal_words {
	enum principal_kind kind;
	const char *noun;   /* "token" */
	const char *array;  /* "tokens" */
	const char *name;   /* what principal.name is called */
	const char *secret; /* what the secret is called; NULL: it has none */
};
extern const struct principal_words principal_words_token, principal_words_user, principal_words_peer;
const struct principal_words *principal_words_of(enum principal_kind kind);

/* "active", "expired", "not-yet-valid" or "revoked" */
const char *principal_words_status(const struct principal *p, int64_t now_us);
/* "uri:spiffe://example.org/build, unix-user:1000" */
void principal_words_format_known_by(const struct principal *p, struct buf *b);

/* "known_by" and "from" where there is any, "grants", and the times that are set. */
void principal_words_put_members(struct json_writer *w, const struct names *names, const struct principal *p);

#endif
