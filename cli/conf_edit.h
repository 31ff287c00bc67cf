/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes single values in the text of a configuration file and keeps the
 * rest of it, comments too, byte for byte.  Pure: reads and writes no file,
 * and does not check values (config_load does).
 */
#ifndef CSRD_CLI_CONF_EDIT_H
#define CSRD_CLI_CONF_EDIT_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

/* section: "http", "token default", …  The value is put without its comment.  False: it is not set. */
bool conf_edit_get(const char *text, const char *section, const char *key, struct buf *ret_value);

bool conf_edit_has_section(const char *text, const char *section);

/*
 * The whole text with key = value to `out`: in the place of the line that sets
 * the key, else of the line that has it as a comment ("#key = …"), else at the
 * end of its section, else in a new section at the end.  The status of `out`.
 */
MUST_USE enum err conf_edit_set(const char *text, const char *section, const char *key, const char *value,
				struct buf *out);

/* The whole text to `out`, with the first [old] as [name].  The status of `out`. */
MUST_USE enum err conf_edit_rename_section(const char *text, const char *old, const char *name,
					   struct buf *out);

#endif
