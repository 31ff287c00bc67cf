/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of the configuration file: where its value lives, its type, range
 * and default, and whether a reload may change it.
 */
#ifndef CSRD_CONFIG_CONFIG_TABLE_H
#define CSRD_CONFIG_CONFIG_TABLE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
	CONFIG_BOOL,       /* bool: "yes", "no" */
	CONFIG_COUNT,      /* uint64_t in min … max */
	CONFIG_DURATION,   /* uint64_t of milliseconds in min … max */
	CONFIG_PATH,       /* char *: absolute */
	CONFIG_SOCKET,     /* char *: absolute, fits sun_path */
	CONFIG_STORE_URL,  /* char * */
	CONFIG_TOKEN_URI,  /* char *: RFC 7512 */
	CONFIG_CREDENTIAL, /* char *: absolute, or credential:NAME */
	CONFIG_LISTEN,     /* char *[max] and its size_t at len_offset */
	CONFIG_USERS,      /* char *[max] and its size_t at len_offset */
	CONFIG_NETWORKS,   /* struct config_networks of at most max; "none" */
	CONFIG_FORWARDED,  /* enum config_forwarded */
	CONFIG_KEY_TYPES,  /* key_type_set */
	CONFIG_SAN_TYPES,  /* unsigned, SAN_TYPE_BIT */
	CONFIG_LOG_LEVEL,  /* enum log_level */
	CONFIG_CHOICE,     /* an enum: the place of a word in `choices` */
	CONFIG_USAGE,      /* uint32_t, enum key_protection; may be empty */
	CONFIG_TEXT,       /* char *: any text that fits in a line */
	CONFIG_RATE,       /* struct config_rate: "1200/5m", "off" */
	CONFIG_NAME,       /* char *: letters, digits, '.', '-' and '_'; at most max bytes */
};

struct config_key {
	const char *section; /* "token" for [token NAME] */
	const char *name;
	enum config_type type;
	size_t offset; /* in struct config; for [token NAME] in struct config_token */
	size_t len_offset;
	uint64_t min;
	uint64_t max;
	const char *const *choices; /* of CONFIG_CHOICE: the words, then NULL */
	const char *fallback;       /* as it would be in the file; NULL: none, or derived from other values */
	bool required;
	bool reloadable;
	bool may_be_secret; /* a PIN may stand here by mistake: a value that is refused is not repeated */
};

#define CONFIG_KEYS 63
extern const struct config_key config_table[CONFIG_KEYS];

/* `base` below is the struct config, or the struct config_token for a key of [token NAME]. */
bool config_key_is_of_token(const struct config_key *key);

/*
 * Sets the value from its text.  E_INVAL: nothing has changed, and `why` holds
 * what is wrong and what is accepted.  E_NOMEM.
 */
MUST_USE enum err config_key_set(const struct config_key *key, void *base, const char *text, struct buf *why);

/* The value as it would be written in the file; nothing for an empty or unset one. */
void config_key_format(const struct config_key *key, const void *base, struct buf *b);

/* What config_key_format made of it, as people may see it: without the password of a store's url. */
void config_key_put_shown(const struct config_key *key, const char *text, struct buf *b);

/* Copies the value; for reloadable keys, whose values own no memory. */
void config_key_copy(const struct config_key *key, void *base, const void *from);

/* Frees what the value owns and zeroes it. */
void config_key_release(const struct config_key *key, void *base);

/* True for an address of CONFIG_LISTEN that other machines cannot reach: loopback, or a unix socket. */
bool config_listen_is_local(const char *address);

/* Two of CONFIG_LISTEN that cannot both be opened, however they are written; port 0 is a new one each time.
 */
bool config_listen_is_same(const char *one, const char *other);

#endif
