/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of csrd, csrd-hsm and csrctl: one INI file (see
 * config/csrd.conf), read by libinih and checked against one table of keys
 * (config/config_table.c): type, range, default, reloadable or not.
 *
 * An unknown section or key, a key given twice, a value out of range and a
 * contradiction are errors that name file and line.  Secrets are never in the
 * file: it names files that hold them.
 */
#ifndef CSRD_CONFIG_CONFIG_H
#define CSRD_CONFIG_CONFIG_H

#include "base/address.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/key.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_DEFAULT_PATH "/etc/csrd/csrd.conf"
#define CONFIG_TOKENS_MAX 16
#define CONFIG_LISTEN_MAX 8
#define CONFIG_USERS_MAX 8
#define CONFIG_KEYS_MAX 96
#define CONFIG_NETWORKS_MAX 32

/* So many in each window; count 0: no limit. */
struct config_rate {
	uint64_t count;
	uint64_t window_ms; /* whole seconds */
};

struct config_networks {
	struct address_net nets[CONFIG_NETWORKS_MAX];
	size_t len;
};

enum config_client_certificate { CONFIG_CLIENT_NONE, CONFIG_CLIENT_OPTIONAL, CONFIG_CLIENT_REQUIRED };
enum config_credentials { CONFIG_CREDENTIALS_ANY, CONFIG_CREDENTIALS_BOTH };
/* Where the proxies that are trusted say for whom they speak. */
enum config_forwarded {
	CONFIG_FORWARDED_NONE = 0,
	CONFIG_FORWARDED_X_FORWARDED_FOR,
	CONFIG_FORWARDED_FORWARDED, /* RFC 7239 */
};

struct config_http {
	char *listen[CONFIG_LISTEN_MAX]; /* "127.0.0.1:8080", "[::1]:8080", "unix:/run/csrd/csrd.sock" */
	size_t listen_len;
	char *listen_tls[CONFIG_LISTEN_MAX];
	size_t listen_tls_len;
	char *tls_certificate; /* a path, or "credential:NAME"; NULL when not set */
	char *tls_key;
	char *tls_client_ca; /* as tls_certificate */
	char *tls_client_crl;
	enum config_client_certificate tls_client_certificate;
	enum config_credentials credentials; /* both: an API token and a client certificate or unix user */
	bool allow_plain_http;               /* off loopback too */
	struct config_networks trusted_proxies;
	enum config_forwarded forwarded_header; /* what is believed of them */
	struct config_networks proxy_protocol_from;
	char *proxy_protocol_on[CONFIG_LISTEN_MAX]; /* of listen and listen_tls; none: all of them */
	size_t proxy_protocol_on_len;
	uint64_t max_connections;
	uint64_t max_connections_per_address; /* 0: no such limit */
	uint64_t max_header_bytes;
	uint64_t max_body_bytes;
	uint64_t idle_timeout_ms;    /* of a connection between two bytes */
	uint64_t request_timeout_ms; /* absolute: from a request's last byte to its answer */
	uint64_t drain_timeout_ms;   /* after SIGTERM */
};

struct config_store {
	char *url;
	uint64_t queue_max;
	uint64_t readers;
};

struct config_metrics {
	char *listen[1];   /* as of config_http, but no path */
	size_t listen_len; /* 0: no figures are shown */
};

struct config_policy {
	key_type_set key_types;
	unsigned san_types; /* SAN_TYPE_BIT set */
	bool public_names_only;
	uint64_t idempotency_ttl_ms;
	uint64_t reconcile_interval_ms;
};

struct config_limits {
	struct config_rate reads_per_principal;
	struct config_rate writes_per_principal;
	struct config_rate reads_per_address;
	struct config_rate writes_per_address;
	struct config_rate failed_logins_per_address;
	struct config_rate failed_logins_per_user;
	struct config_networks exempt; /* addresses that no limit by address holds for */
};

struct config_log {
	enum log_level level;
	bool reads; /* successful requests that change nothing also log a line of level info */
};

/* [token NAME] */
struct config_token {
	char name[33];
	char *module;           /* absolute path of the PKCS#11 module */
	char *module_init_args; /* handed to its C_Initialize; NULL: nothing */
	char *uri;              /* RFC 7512; attributes token, serial, manufacturer, model, slot-id */
	char *pin_file;         /* default: $CREDENTIALS_DIRECTORY/pin, else /etc/csrd/credentials/NAME.pin */
	char *socket;           /* default: /run/csrd-hsm/NAME.sock */
	char *client_users[CONFIG_USERS_MAX]; /* names or numbers; besides them root and the signer's own */
	size_t client_users_len;
	uint64_t threads;             /* PKCS#11 sessions at work */
	uint64_t queue_max;           /* operations waiting in the signer; past it E_BUSY */
	uint32_t allow_usage;         /* enum key_protection bits that I4 tolerates (a named exception) */
	char *state_dir;              /* default: /var/lib/csrd-hsm/NAME */
	uint64_t timeout_generate_ms; /* of one PKCS#11 call: keys up to RSA-2048, EC, Ed25519 */
	uint64_t timeout_generate_large_ms; /* larger RSA keys */
	uint64_t timeout_sign_ms;
	uint64_t timeout_other_ms;
	uint64_t keep_alive_ms;                  /* how often an idle session is used */
	uint64_t pool_targets[KEY_TYPE_MAX + 1]; /* by key type: keys to keep ready; 0: none */
	uint64_t pool_pause_ms;                  /* least time between two fills while callers are served */
	uint64_t pool_quiet_ms;                  /* after the last caller, until fills go on at full speed */
	uint64_t pool_objects_max;       /* no fill while the token holds that many objects; 0: no ceiling */
	char *node;                      /* in the label of the pool's keys; NULL: the host name */
	unsigned lines[CONFIG_KEYS_MAX]; /* config.c's own, as below */
};

struct config {
	char *path;
	struct config_http http;
	struct config_store store;
	struct config_policy policy;
	struct config_limits limits;
	struct config_log log;
	struct config_metrics metrics;
	struct config_token tokens[CONFIG_TOKENS_MAX]; /* in file order; the first is the default */
	size_t tokens_len;
	unsigned lines[CONFIG_KEYS_MAX]; /* config.c's own: by key of the table, its line; 0: none */
};

/*
 * Reads and checks `path`.  On failure E_CONFIG (or E_NOMEM), and `report` holds
 * every problem found, one per line: "FILE:LINE: [section] key: what is wrong, what is accepted".
 * A file that cannot be opened is "FILE: cannot open: …" and E_CONFIG too, and
 * so is one that others than its owner and group may write.
 * *ret_config is owned by the caller.
 */
MUST_USE enum err config_load(const char *path, struct buf *report, struct config **ret_config);
void config_free(struct config *config); /* NULL is fine */

/*
 * For callers that have to go on with a file that has mistakes: as config_load, but with
 * E_CONFIG there is a *ret_config too, unless the file could not be read at
 * all.  It has what was understood, and defaults for the rest; there may be no
 * token, and a token may lack its module and uri (NULL).
 */
MUST_USE enum err config_load_partly(const char *path, struct buf *report, struct config **ret_config);
/* The same for a text instead of the file `path`. */
MUST_USE enum err config_parse_partly(const char *path, const struct buf *text, struct buf *report,
				      struct config **ret_config);

/* The token of that name, or the first for NULL; NULL when there is none. */
const struct config_token *config_token_find(const struct config *config, const char *name);

/*
 * The file of the PIN as an operator knows it: pin_file as the configuration has
 * it.  If it has none and systemd provides the PIN, in a folder that disappears
 * with the unit, it is the file from which the packaged unit takes the PIN, which
 * may be encrypted ("….pin[.cred]").
 */
void config_pin_name(const struct config_token *token, char *ret_name, size_t size);

/*
 * Takes over what may change while running from `fresh` into `config`
 * ([policy], [limits], [log], and of [http] the timeouts, sizes and proxies) and returns E_OK; lists in
 * `report` the other differences, one per line, which need a restart.  E_NOMEM: nothing was taken over.
 */
MUST_USE enum err config_reload(struct config *config, const struct config *fresh, struct buf *report);

/*
 * The file that the value of a key of [http] names: itself, or for "credential:NAME"
 * that file of $CREDENTIALS_DIRECTORY, which only a process that systemd started has.
 * E_CONFIG: `why` holds what is wrong and what to do; E_NOMEM.
 */
#define CONFIG_PATH_SIZE 4096
bool config_is_credential(const char *value);
MUST_USE enum err config_credential_path(const char *key, const char *value, char path[CONFIG_PATH_SIZE],
					 struct buf *why);

/* One effective value. */
struct config_value {
	const char *section; /* "http", "token" */
	const char *token;   /* NAME of [token NAME]; NULL for other sections */
	const char *name;
	const char *text; /* as it would stand in the file; "" when it is not set */
	unsigned line;    /* of the file; 0: the default */
	bool reloadable;
};
/* Its name with that of its section: "http.listen", "token.NAME.uri". */
#define CONFIG_FULL_NAME_SIZE 128
void config_value_full_name(const struct config_value *value, char name[CONFIG_FULL_NAME_SIZE]);
/* The value and its texts are borrowed until it returns. */
typedef void (*config_value_fn)(void *arg, const struct config_value *value);
/* Called for each value, in the order of the table, those of one token together.  E_NOMEM. */
MUST_USE enum err config_each_value(const struct config *config, config_value_fn each, void *arg);

/* Effective values as an INI text, with "# default" after those not set in the file. */
void config_show(const struct config *config, struct buf *b);

#endif
