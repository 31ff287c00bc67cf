/* SPDX-License-Identifier: Apache-2.0 */
/* What the csrd that runs on the store reports about itself (daemon/running.h). */
#ifndef CSRD_CLI_RUNNING_H
#define CSRD_CLI_RUNNING_H

#include "api/json.h"
#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

/* doc: owned.  E_NOTFOUND: none runs, or it reports nothing; E_DENIED; E_IO, E_NOMEM. */
MUST_USE enum err running_read(const struct config *config, struct json_doc **ret_doc);

/* NULL when it does not report it. */
const char *running_version(const struct json_doc *doc);
/* The value in force of "http.listen", "token.NAME.uri"; NULL: it has no such key. */
const char *running_value(const struct json_doc *doc, const char *full_name);

/*
 * The configuration in force, as far as it is reported; `path` is its name.  Owned.
 * E_NOMEM; E_CONFIG: it is not understood (another version's).
 */
MUST_USE enum err running_config(const struct json_doc *doc, const char *path, struct config **ret_config);

/* The key types that token's signer reported; 0: not known. */
key_type_set running_key_types(const struct json_doc *doc, const char *token);

/* What the last comparison of a token with the store found. */
struct running_comparison {
	int64_t at_us;
	int64_t checked, missing, unknown, set_aside, unread, unclear;
};
/* False: there was none yet. */
bool running_last_comparison(const struct json_doc *doc, const char *token,
			     struct running_comparison *ret_comparison);

/* "1 missing, 2 unknown"; "" when nothing was found. */
#define RUNNING_WORDS_SIZE 160
void running_comparison_words(const struct running_comparison *c, char words[RUNNING_WORDS_SIZE]);

#endif
