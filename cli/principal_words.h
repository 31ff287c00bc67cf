/* SPDX-License-Identifier: Apache-2.0 */
/* What csrctl token and csrctl user have in common: the words for each kind, and members of their JSON. */
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
	const char *secret; /* what the secret is called */
};
extern const struct principal_words principal_words_token, principal_words_user;

/* "grants", "from" if there is any, and the times that are set. */
void principal_words_put_members(struct json_writer *w, const struct names *names, const struct principal *p);

#endif
