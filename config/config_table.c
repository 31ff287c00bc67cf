/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, and one parser and one formatter for each type of value. */
#include "config/config_table.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/csr.h"
#include "base/node.h"
#include "base/str.h"
#include "base/url.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define SECOND 1000ull
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define POOL_MAX 100000
#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define ALLOWABLE_USAGE (KEY_PROT_FORBIDDEN & ~(unsigned)KEY_PROT_EXTRACTABLE)

#define AT(member) .offset = offsetof(struct config, member)
#define AT_TOKEN(member) .offset = offsetof(struct config_token, member)

/* In the order of their enums. */
static const char *const client_certificates[] = {"none", "optional", "required", NULL};
static const char *const credentials[] = {"any", "both", NULL};

const struct config_key config_table[CONFIG_KEYS] = {
    {"http", "listen", CONFIG_LISTEN, AT(http.listen), .len_offset = offsetof(struct config, http.listen_len),
     .max = CONFIG_LISTEN_MAX, .fallback = "127.0.0.1:8080, [::1]:8080"},
    {"http", "listen_tls", CONFIG_LISTEN, AT(http.listen_tls),
     .len_offset = offsetof(struct config, http.listen_tls_len), .max = CONFIG_LISTEN_MAX},
    {"http", "tls_certificate", CONFIG_CREDENTIAL, AT(http.tls_certificate)},
    {"http", "tls_key", CONFIG_CREDENTIAL, AT(http.tls_key)},
    {"http", "tls_client_certificate", CONFIG_CHOICE, AT(http.tls_client_certificate),
     .choices = client_certificates, .fallback = "none"},
    {"http", "tls_client_ca", CONFIG_CREDENTIAL, AT(http.tls_client_ca)},
    {"http", "tls_client_crl", CONFIG_CREDENTIAL, AT(http.tls_client_crl)},
    {"http", "credentials", CONFIG_CHOICE, AT(http.credentials), .choices = credentials, .fallback = "any",
     .reloadable = true},
    {"http", "allow_plain_http", CONFIG_BOOL, AT(http.allow_plain_http), .fallback = "no"},
    {"http", "trusted_proxies", CONFIG_NETWORKS, AT(http.trusted_proxies), .max = CONFIG_NETWORKS_MAX,
     .fallback = "none", .reloadable = true},
    {"http", "forwarded_header", CONFIG_FORWARDED, AT(http.forwarded_header), .fallback = "none",
     .reloadable = true},
    {"http", "proxy_protocol_from", CONFIG_NETWORKS, AT(http.proxy_protocol_from), .max = CONFIG_NETWORKS_MAX,
     .fallback = "none", .reloadable = true},
    {"http", "proxy_protocol_on", CONFIG_LISTEN, AT(http.proxy_protocol_on),
     .len_offset = offsetof(struct config, http.proxy_protocol_on_len), .max = CONFIG_LISTEN_MAX},
    {"http", "max_connections", CONFIG_COUNT, AT(http.max_connections), .min = 1, .max = 65536,
     .fallback = "512"},
    {"http", "max_connections_per_address", CONFIG_COUNT, AT(http.max_connections_per_address), .min = 0,
     .max = 65536, .fallback = "0", .reloadable = true},
    {"http", "max_header_bytes", CONFIG_COUNT, AT(http.max_header_bytes), .min = 1024, .max = 65536,
     .fallback = "8192", .reloadable = true},
    {"http", "max_body_bytes", CONFIG_COUNT, AT(http.max_body_bytes), .min = 4096, .max = 1048576,
     .fallback = "65536", .reloadable = true},
    {"http", "idle_timeout", CONFIG_DURATION, AT(http.idle_timeout_ms), .min = SECOND, .max = HOUR,
     .fallback = "30s", .reloadable = true},
    {"http", "request_timeout", CONFIG_DURATION, AT(http.request_timeout_ms), .min = SECOND,
     .max = 10 * MINUTE, .fallback = "55s", .reloadable = true},
    {"http", "drain_timeout", CONFIG_DURATION, AT(http.drain_timeout_ms), .min = SECOND, .max = 10 * MINUTE,
     .fallback = "20s", .reloadable = true},

    {"store", "url", CONFIG_STORE_URL, AT(store.url), .fallback = "sqlite:/var/lib/csrd/csrd.db"},
    {"store", "queue_max", CONFIG_COUNT, AT(store.queue_max), .min = 16, .max = 1000000, .fallback = "4096"},
    {"store", "readers", CONFIG_COUNT, AT(store.readers), .min = 1, .max = 16, .fallback = "2"},

    {"policy", "key_types", CONFIG_KEY_TYPES, AT(policy.key_types), .fallback = "rsa2048, p256v1",
     .reloadable = true},
    {"policy", "san_types", CONFIG_SAN_TYPES, AT(policy.san_types), .fallback = "dns", .reloadable = true},
    {"policy", "public_names_only", CONFIG_BOOL, AT(policy.public_names_only), .fallback = "no",
     .reloadable = true},
    {"policy", "idempotency_ttl", CONFIG_DURATION, AT(policy.idempotency_ttl_ms), .min = MINUTE,
     .max = 30 * DAY, .fallback = "24h", .reloadable = true},
    {"policy", "reconcile_interval", CONFIG_DURATION, AT(policy.reconcile_interval_ms), .min = SECOND,
     .max = DAY, .fallback = "60s", .reloadable = true},

    {"limits", "reads_per_principal", CONFIG_RATE, AT(limits.reads_per_principal), .fallback = "off",
     .reloadable = true},
    {"limits", "writes_per_principal", CONFIG_RATE, AT(limits.writes_per_principal), .fallback = "off",
     .reloadable = true},
    {"limits", "reads_per_address", CONFIG_RATE, AT(limits.reads_per_address), .fallback = "off",
     .reloadable = true},
    {"limits", "writes_per_address", CONFIG_RATE, AT(limits.writes_per_address), .fallback = "off",
     .reloadable = true},
    {"limits", "failed_logins_per_address", CONFIG_RATE, AT(limits.failed_logins_per_address),
     .fallback = "100/5m", .reloadable = true},
    {"limits", "failed_logins_per_user", CONFIG_RATE, AT(limits.failed_logins_per_user), .fallback = "100/5m",
     .reloadable = true},
    {"limits", "exempt", CONFIG_NETWORKS, AT(limits.exempt), .max = CONFIG_NETWORKS_MAX,
     .fallback = "127.0.0.0/8, ::1", .reloadable = true},

    {"log", "level", CONFIG_LOG_LEVEL, AT(log.level), .fallback = "info", .reloadable = true},
    {"log", "reads", CONFIG_BOOL, AT(log.reads), .fallback = "no", .reloadable = true},

    {"metrics", "listen", CONFIG_LISTEN, AT(metrics.listen),
     .len_offset = offsetof(struct config, metrics.listen_len), .max = 1},

    {"token", "module", CONFIG_PATH, AT_TOKEN(module), .required = true},
    {"token", "module_init_args", CONFIG_TEXT, AT_TOKEN(module_init_args)},
    {"token", "uri", CONFIG_TOKEN_URI, AT_TOKEN(uri), .required = true, .may_be_secret = true},
    {"token", "pin_file", CONFIG_PATH, AT_TOKEN(pin_file), .may_be_secret = true},
    {"token", "socket", CONFIG_SOCKET, AT_TOKEN(socket)},
    {"token", "client_users", CONFIG_USERS, AT_TOKEN(client_users),
     .len_offset = offsetof(struct config_token, client_users_len), .max = CONFIG_USERS_MAX,
     .fallback = "csrd"},
    {"token", "threads", CONFIG_COUNT, AT_TOKEN(threads), .min = 1, .max = 64, .fallback = "4"},
    {"token", "queue_max", CONFIG_COUNT, AT_TOKEN(queue_max), .min = 1, .max = 65536, .fallback = "1024"},
    {"token", "allow_usage", CONFIG_USAGE, AT_TOKEN(allow_usage)},
    {"token", "state_dir", CONFIG_PATH, AT_TOKEN(state_dir)},
    {"token", "timeout_generate", CONFIG_DURATION, AT_TOKEN(timeout_generate_ms), .min = 100, .max = HOUR,
     .fallback = "60s"},
    {"token", "timeout_generate_large", CONFIG_DURATION, AT_TOKEN(timeout_generate_large_ms), .min = 100,
     .max = HOUR, .fallback = "5m"},
    {"token", "timeout_sign", CONFIG_DURATION, AT_TOKEN(timeout_sign_ms), .min = 100, .max = HOUR,
     .fallback = "30s"},
    {"token", "timeout_other", CONFIG_DURATION, AT_TOKEN(timeout_other_ms), .min = 100, .max = HOUR,
     .fallback = "30s"},
    {"token", "keep_alive", CONFIG_DURATION, AT_TOKEN(keep_alive_ms), .min = 100, .max = HOUR,
     .fallback = "10s"},
    {"token", "pool_rsa2048", CONFIG_COUNT, AT_TOKEN(pool_targets[KEY_RSA2048]), .min = 0, .max = POOL_MAX,
     .fallback = "0"},
    {"token", "pool_rsa3072", CONFIG_COUNT, AT_TOKEN(pool_targets[KEY_RSA3072]), .min = 0, .max = POOL_MAX,
     .fallback = "0"},
    {"token", "pool_rsa4096", CONFIG_COUNT, AT_TOKEN(pool_targets[KEY_RSA4096]), .min = 0, .max = POOL_MAX,
     .fallback = "0"},
    {"token", "pool_p256v1", CONFIG_COUNT, AT_TOKEN(pool_targets[KEY_P256V1]), .min = 0, .max = POOL_MAX,
     .fallback = "0"},
    {"token", "pool_p384v1", CONFIG_COUNT, AT_TOKEN(pool_targets[KEY_P384V1]), .min = 0, .max = POOL_MAX,
     .fallback = "0"},
    {"token", "pool_ed25519", CONFIG_COUNT, AT_TOKEN(pool_targets[KEY_ED25519]), .min = 0, .max = POOL_MAX,
     .fallback = "0"},
    {"token", "pool_pause", CONFIG_DURATION, AT_TOKEN(pool_pause_ms), .min = 0, .max = MINUTE,
     .fallback = "100ms"},
    {"token", "pool_quiet", CONFIG_DURATION, AT_TOKEN(pool_quiet_ms), .min = 10, .max = MINUTE,
     .fallback = "1s"},
    {"token", "pool_objects_max", CONFIG_COUNT, AT_TOKEN(pool_objects_max), .min = 0, .max = 10000000,
     .fallback = "0"},
    {"token", "node", CONFIG_NAME, AT_TOKEN(node), .max = NODE_NAME_MAX},
};

/* ---- what is wrong with a value ---- */

static void put_refused(const struct config_key *key, struct buf *why, const char *text)
{
	if (key->may_be_secret)
		buf_put_str(why, "the value is not accepted, it must be ");
	else
		buf_printf(why, "'%s' is not accepted, it must be ", text);
}

static enum err config_table_refuse(const struct config_key *key, struct buf *why, const char *text,
				    const char *accepted)
{
	put_refused(key, why, text);
	buf_put_str(why, accepted);
	return E_INVAL;
}

/* The largest unit that leaves a whole number. */
static void format_duration(uint64_t ms, struct buf *b)
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = {{DAY, "d"}, {HOUR, "h"}, {MINUTE, "m"}, {SECOND, "s"}, {1, "ms"}};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (ms % units[i].ms != 0 || (ms == 0 && units[i].ms > SECOND))
			continue;
		buf_printf(b, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].unit);
		return;
	}
}

/* ---- single values ---- */

static enum err set_bool(const struct config_key *key, bool *value, const char *text, struct buf *why)
{
	if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
		return config_table_refuse(key, why, text, "yes or no");
	*value = text[0] == 'y';
	return E_OK;
}

static enum err set_count(const struct config_key *key, uint64_t *value, const char *text, struct buf *why)
{
	uint64_t parsed;

	if (str_parse_u64(text, key->max, &parsed) != E_OK || parsed < key->min) {
		put_refused(key, why, text);
		buf_printf(why, "a number from %llu to %llu", (unsigned long long)key->min,
			   (unsigned long long)key->max);
		return E_INVAL;
	}
	*value = parsed;
	return E_OK;
}

static enum err set_duration(const struct config_key *key, uint64_t *value, const char *text, struct buf *why)
{
	uint64_t parsed;

	if (clock_parse_duration(text, &parsed) != E_OK || parsed < key->min || parsed > key->max) {
		put_refused(key, why, text);
		buf_put_str(why, "a time from ");
		format_duration(key->min, why);
		buf_put_str(why, " to ");
		format_duration(key->max, why);
		buf_put_str(why, ", as in 250ms, 30s, 5m, 24h, 7d");
		return E_INVAL;
	}
	*value = parsed;
	return E_OK;
}

#define RATE_COUNT_MAX 1000000

/* "COUNT/TIME", as in "1200/5m". */
static bool config_table_parse_rate(const char *text, struct config_rate *ret_rate)
{
	const char *slash = strchr(text, '/');
	struct config_rate rate = {0};
	char count[8];

	if (!slash || (size_t)(slash - text) >= sizeof(count))
		return false;
	memcpy(count, text, (size_t)(slash - text));
	count[slash - text] = '\0';
	if (str_parse_u64(count, RATE_COUNT_MAX, &rate.count) != E_OK || rate.count == 0 ||
	    clock_parse_duration(slash + 1, &rate.window_ms) != E_OK || rate.window_ms < SECOND ||
	    rate.window_ms > DAY || rate.window_ms % SECOND != 0)
		return false;
	*ret_rate = rate;
	return true;
}

static enum err set_rate(const struct config_key *key, struct config_rate *value, const char *text,
			 struct buf *why)
{
	struct config_rate rate = {0};

	if (strcmp(text, "off") != 0 && !config_table_parse_rate(text, &rate)) {
		put_refused(key, why, text);
		buf_printf(why,
			   "off, or COUNT/TIME with a count from 1 to %d and a time from 1s to 1d in whole "
			   "seconds, as in 1200/5m",
			   RATE_COUNT_MAX);
		return E_INVAL;
	}
	*value = rate;
	return E_OK;
}

static void config_table_format_rate(const struct config_rate *rate, struct buf *b)
{
	if (rate->count == 0) {
		buf_put_str(b, "off");
		return;
	}
	buf_printf(b, "%llu/", (unsigned long long)rate->count);
	format_duration(rate->window_ms, b);
}

static enum err replace_text(char **value, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return E_NOMEM;
	free(*value);
	*value = copy;
	return E_OK;
}

static bool is_file_path(const char *text)
{
	size_t len = strlen(text);

	return len > 1 && text[0] == '/' && text[len - 1] != '/';
}

static enum err set_path(const struct config_key *key, char **value, const char *text, struct buf *why)
{
	if (!is_file_path(text))
		return config_table_refuse(key, why, text, "the absolute path of a file");
	return replace_text(value, text);
}

static bool is_credential(const char *text)
{
	const char *name = text + strlen("credential:");

	return str_starts_with(text, "credential:") && name[0] != '\0' && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
		   strlen(name);
}

static enum err set_credential(const struct config_key *key, char **value, const char *text, struct buf *why)
{
	if (!is_file_path(text) && !is_credential(text))
		return config_table_refuse(
		    key, why, text,
		    "the absolute path of a file, or credential:NAME for one that systemd hands "
		    "over (LoadCredential=NAME:PATH)");
	return replace_text(value, text);
}

static enum err config_table_set_name(const struct config_key *key, char **value, const char *text,
				      struct buf *why)
{
	size_t len = strlen(text);

	if (len > key->max ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != len) {
		put_refused(key, why, text);
		buf_printf(why, "1 to %llu of A-Z, a-z, 0-9, '.', '-' and '_'", (unsigned long long)key->max);
		return E_INVAL;
	}
	return replace_text(value, text);
}

static enum err set_socket(const struct config_key *key, char **value, const char *text, struct buf *why)
{
	if (!is_file_path(text) || strlen(text) > SOCKET_PATH_MAX) {
		put_refused(key, why, text);
		buf_printf(why, "the absolute path of a socket, at most %zu bytes", SOCKET_PATH_MAX);
		return E_INVAL;
	}
	return replace_text(value, text);
}

static enum err set_store_url(const struct config_key *key, char **value, const char *text, struct buf *why)
{
	static const char accepted[] = "sqlite: and the absolute path of a file";
	bool names_host = str_starts_with(text, "sqlite://") && text[strlen("sqlite://")] != '/';

	if (!str_starts_with(text, "sqlite:") || names_host) { /* the url of a server may hold a password */
		buf_printf(why, "the value is not accepted, it must be %s", accepted);
		return E_INVAL;
	}
	if (!is_file_path(text + strlen("sqlite:")))
		return config_table_refuse(key, why, text, accepted);
	return replace_text(value, text);
}

/* One "name=value" of a PKCS#11 URI.  The rest of its grammar is the signer's to check. */
static bool is_token_attribute(const char *text, size_t len)
{
	static const char *const names[] = {"token=", "serial=", "manufacturer=", "model=", "slot-id="};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (len > strlen(names[i]) && strncmp(text, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static enum err set_token_uri(const struct config_key *key, char **value, const char *text, struct buf *why)
{
	static const char accepted[] =
	    "pkcs11: and one or more of token, serial, manufacturer, model, slot-id, "
	    "as in pkcs11:token=csrd;serial=0123";
	const char *at = text + strlen("pkcs11:");

	if (!str_starts_with(text, "pkcs11:"))
		return config_table_refuse(key, why, text, accepted);
	if (strchr(text, '?')) {
		buf_put_str(why,
			    "a query ('?') is not accepted, the PIN belongs in the file that pin_file names");
		return E_INVAL;
	}
	for (;;) {
		size_t len = strcspn(at, ";");

		if (!is_token_attribute(at, len))
			return config_table_refuse(key, why, text, accepted);
		if (!at[len])
			break;
		at += len + 1;
	}
	return replace_text(value, text);
}

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug"};
#define LEVELS (sizeof(level_names) / sizeof(level_names[0]))

static enum err set_log_level(const struct config_key *key, enum log_level *value, const char *text,
			      struct buf *why)
{
	if (log_level_parse(text, value) != E_OK)
		return config_table_refuse(key, why, text, "error, warning, notice, info or debug");
	return E_OK;
}

static const char *log_level_name(enum log_level level)
{
	for (size_t i = 0; i < LEVELS; i++) {
		enum log_level parsed;

		if (log_level_parse(level_names[i], &parsed) == E_OK && parsed == level)
			return level_names[i];
	}
	return "";
}

static enum err set_choice(const struct config_key *key, unsigned *value, const char *text, struct buf *why)
{
	for (unsigned i = 0; key->choices[i]; i++) {
		if (strcmp(key->choices[i], text) == 0) {
			*value = i;
			return E_OK;
		}
	}
	put_refused(key, why, text);
	for (unsigned i = 0; key->choices[i]; i++)
		buf_printf(why, "%s%s", i == 0 ? "" : key->choices[i + 1] ? ", " : " or ", key->choices[i]);
	return E_INVAL;
}

/* ---- lists: items between commas ---- */

typedef enum err (*item_fn)(const struct config_key *key, void *into, const char *item, struct buf *why);

static enum err for_each_item(const struct config_key *key, void *into, const char *text, item_fn take,
			      struct buf *why)
{
	enum err e = E_OK;

	while (e == E_OK) {
		size_t len = strcspn(text, ",");
		size_t blank = strspn(text, " \t");
		size_t end = len;
		char *item;

		while (end > blank && (text[end - 1] == ' ' || text[end - 1] == '\t'))
			end--;
		if (blank >= end) {
			buf_put_str(why, "an item between the commas is empty");
			return E_INVAL;
		}
		item = str_dup_len(text + blank, end - blank);
		if (!item)
			return E_NOMEM;
		e = take(key, into, item, why);
		free(item);
		if (!text[len])
			break;
		text += len + 1;
	}
	return e;
}

static enum err add_bit(uint32_t *bits, uint32_t bit, const char *item, struct buf *why)
{
	if (*bits & bit) {
		buf_printf(why, "'%s' is named twice", item);
		return E_INVAL;
	}
	*bits |= bit;
	return E_OK;
}

static enum err take_key_type(const struct config_key *key, void *into, const char *item, struct buf *why)
{
	enum key_type type;

	(void)key;
	if (key_type_parse(item, &type) != E_OK) {
		buf_printf(why, "'%s' is not a key type, accepted are ", item);
		key_type_set_format(KEY_TYPES_ALL, why);
		return E_INVAL;
	}
	return add_bit(into, KEY_TYPE_BIT(type), item, why);
}

static enum err take_san_type(const struct config_key *key, void *into, const char *item, struct buf *why)
{
	enum san_type type;

	(void)key;
	if (san_type_parse(item, &type) != E_OK) {
		buf_printf(why, "'%s' is not a type of name, accepted are dns, ip, email, uri", item);
		return E_INVAL;
	}
	return add_bit(into, SAN_TYPE_BIT(type), item, why);
}

static enum err take_usage(const struct config_key *key, void *into, const char *item, struct buf *why)
{
	uint32_t bit;

	(void)key;
	if (key_protection_parse(item, &bit) != E_OK || !(bit & ALLOWABLE_USAGE)) {
		buf_printf(why, "'%s' cannot be allowed, accepted are ", item);
		key_protection_format(ALLOWABLE_USAGE, why);
		return E_INVAL;
	}
	return add_bit(into, bit, item, why);
}

static enum err set_bits(const struct config_key *key, uint32_t *bits, const char *text, item_fn take,
			 struct buf *why)
{
	uint32_t fresh = 0;
	enum err e = for_each_item(key, &fresh, text, take, why);

	if (e == E_OK)
		*bits = fresh;
	return e;
}

static void format_san_types(unsigned set, struct buf *b)
{
	const char *separator = "";

	for (unsigned type = 1; type <= SAN_TYPE_MAX; type++) {
		if (!(set & SAN_TYPE_BIT(type)))
			continue;
		buf_printf(b, "%s%s", separator, san_type_name((enum san_type)type));
		separator = ", ";
	}
}

/* ---- lists of texts ---- */

#define LIST_MAX 8
_Static_assert(CONFIG_LISTEN_MAX <= LIST_MAX && CONFIG_USERS_MAX <= LIST_MAX, "a list fits");

struct text_list {
	char *items[LIST_MAX];
	size_t len;
};

static void text_list_release(struct text_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i]);
	memset(list, 0, sizeof(*list));
}

static bool is_listen(const char *text)
{
	struct address address;
	uint16_t port;

	if (str_starts_with(text, "unix:")) {
		text += strlen("unix:");
		return is_file_path(text) && strlen(text) <= SOCKET_PATH_MAX;
	}
	return address_parse_port(text, &address, &port);
}

bool config_listen_is_local(const char *address)
{
	struct address parsed;
	uint16_t port;

	return str_starts_with(address, "unix:") ||
	       (address_parse_port(address, &parsed, &port) && address_is_loopback(&parsed));
}

bool config_listen_is_same(const char *one, const char *other)
{
	struct address a, b;
	uint16_t a_port, b_port;

	if (!address_parse_port(one, &a, &a_port) || !address_parse_port(other, &b, &b_port))
		return strcmp(one, other) == 0;
	return a_port != 0 && a_port == b_port && address_compare(&a, &b) == 0;
}

/* A user name as useradd makes them, or a number. */
static bool is_user(const char *text)
{
	size_t len = strlen(text);

	if (len < 1 || len > 32)
		return false;
	if (strspn(text, "0123456789") == len)
		return len <= 10;
	return !str_ascii_is_digit(text[0]) && text[0] != '-' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len;
}

static enum err take_text(const struct config_key *key, void *into, const char *item, struct buf *why)
{
	struct text_list *list = into;

	if (key->type == CONFIG_LISTEN && !is_listen(item))
		return config_table_refuse(
		    key, why, item,
		    "ADDRESS:PORT, [ADDRESS]:PORT for IPv6, or unix:/PATH; names are not looked up");
	if (key->type == CONFIG_USERS && !is_user(item))
		return config_table_refuse(key, why, item, "the name or the number of a user");
	if (strcmp(key->name, "listen_tls") == 0 && str_starts_with(item, "unix:"))
		return config_table_refuse(key, why, item,
					   "ADDRESS:PORT, or [ADDRESS]:PORT for IPv6; a unix socket needs no "
					   "TLS and belongs in listen");
	for (size_t i = 0; i < list->len; i++) {
		if (key->type == CONFIG_LISTEN ? !config_listen_is_same(list->items[i], item)
					       : strcmp(list->items[i], item) != 0)
			continue;
		buf_printf(why, "'%s' is named twice", item);
		return E_INVAL;
	}
	if (list->len >= key->max) {
		buf_printf(why, "more than %llu items", (unsigned long long)key->max);
		return E_INVAL;
	}
	list->items[list->len] = strdup(item);
	if (!list->items[list->len])
		return E_NOMEM;
	list->len++;
	return E_OK;
}

static enum err set_texts(const struct config_key *key, char **items, size_t *len, const char *text,
			  struct buf *why)
{
	struct text_list fresh = {0};
	enum err e = for_each_item(key, &fresh, text, take_text, why);

	if (e != E_OK) {
		text_list_release(&fresh);
		return e;
	}
	for (size_t i = 0; i < *len; i++)
		free(items[i]);
	for (size_t i = 0; i < key->max; i++)
		items[i] = i < fresh.len ? fresh.items[i] : NULL;
	*len = fresh.len;
	return E_OK;
}

static void format_texts(char *const *items, size_t len, struct buf *b)
{
	for (size_t i = 0; i < len; i++)
		buf_printf(b, "%s%s", i > 0 ? ", " : "", items[i]);
}

/* ---- networks ---- */

/* "unix" stands for whoever comes by a unix socket. */
static enum err take_network(const struct config_key *key, void *into, const char *item, struct buf *why)
{
	struct config_networks *networks = into;
	struct address_net net = {.address = {.family = ADDRESS_UNIX}};

	if (strcmp(item, "unix") != 0 && address_net_parse(item, why, &net) != E_OK) {
		buf_put_str(why, strchr(item, '/') ? "" : ", or unix");
		return E_INVAL;
	}
	for (size_t i = 0; i < networks->len; i++) {
		if (memcmp(&networks->nets[i], &net, sizeof(net)) != 0)
			continue;
		buf_printf(why, "'%s' is named twice", item);
		return E_INVAL;
	}
	if (networks->len >= key->max) {
		buf_printf(why, "more than %llu items", (unsigned long long)key->max);
		return E_INVAL;
	}
	networks->nets[networks->len++] = net;
	return E_OK;
}

static enum err set_networks(const struct config_key *key, struct config_networks *value, const char *text,
			     struct buf *why)
{
	struct config_networks fresh = {0};
	enum err e = strcmp(text, "none") == 0 ? E_OK : for_each_item(key, &fresh, text, take_network, why);

	if (e == E_OK)
		*value = fresh;
	return e;
}

/* Those of a key that has a default may be none. */
static void format_networks(const struct config_key *key, const struct config_networks *networks,
			    struct buf *b)
{
	char text[ADDRESS_NET_SIZE];

	for (size_t i = 0; i < networks->len; i++) {
		address_net_format(&networks->nets[i], text);
		buf_printf(b, "%s%s", i > 0 ? ", " : "", text);
	}
	if (networks->len == 0 && key->fallback)
		buf_put_str(b, "none");
}

/* ---- the header of proxies ---- */

static const char *const forwarded_names[] = {
    [CONFIG_FORWARDED_NONE] = "none",
    [CONFIG_FORWARDED_X_FORWARDED_FOR] = "x-forwarded-for",
    [CONFIG_FORWARDED_FORWARDED] = "forwarded",
};
#define FORWARDED_NAMES (sizeof(forwarded_names) / sizeof(forwarded_names[0]))

static enum err config_table_set_forwarded(const struct config_key *key, enum config_forwarded *value,
					   const char *text, struct buf *why)
{
	for (size_t i = 0; i < FORWARDED_NAMES; i++) {
		if (strcmp(text, forwarded_names[i]) != 0)
			continue;
		*value = (enum config_forwarded)i;
		return E_OK;
	}
	return config_table_refuse(key, why, text, "x-forwarded-for, forwarded (RFC 7239) or none");
}

/* ---- by type ---- */

bool config_key_is_of_token(const struct config_key *key)
{
	return strcmp(key->section, "token") == 0;
}

static void *member(void *base, size_t offset)
{
	return (char *)base + offset;
}

static const void *const_member(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

enum err config_key_set(const struct config_key *key, void *base, const char *text, struct buf *why)
{
	void *value = member(base, key->offset);

	if (text[0] == '\0') {
		buf_put_str(why, "has no value; leave the key out for its default");
		return E_INVAL;
	}
	switch (key->type) {
	case CONFIG_BOOL:
		return set_bool(key, value, text, why);
	case CONFIG_COUNT:
		return set_count(key, value, text, why);
	case CONFIG_DURATION:
		return set_duration(key, value, text, why);
	case CONFIG_PATH:
		return set_path(key, value, text, why);
	case CONFIG_CREDENTIAL:
		return set_credential(key, value, text, why);
	case CONFIG_SOCKET:
		return set_socket(key, value, text, why);
	case CONFIG_STORE_URL:
		return set_store_url(key, value, text, why);
	case CONFIG_TOKEN_URI:
		return set_token_uri(key, value, text, why);
	case CONFIG_LISTEN:
	case CONFIG_USERS:
		return set_texts(key, value, member(base, key->len_offset), text, why);
	case CONFIG_NETWORKS:
		return set_networks(key, value, text, why);
	case CONFIG_FORWARDED:
		return config_table_set_forwarded(key, value, text, why);
	case CONFIG_KEY_TYPES:
		return set_bits(key, value, text, take_key_type, why);
	case CONFIG_SAN_TYPES:
		return set_bits(key, value, text, take_san_type, why);
	case CONFIG_LOG_LEVEL:
		return set_log_level(key, value, text, why);
	case CONFIG_CHOICE:
		return set_choice(key, value, text, why);
	case CONFIG_USAGE:
		return set_bits(key, value, text, take_usage, why);
	case CONFIG_TEXT:
		return replace_text(value, text);
	case CONFIG_RATE:
		return set_rate(key, value, text, why);
	case CONFIG_NAME:
		return config_table_set_name(key, value, text, why);
	}
	return E_BUG;
}

void config_key_format(const struct config_key *key, const void *base, struct buf *b)
{
	const void *value = const_member(base, key->offset);

	switch (key->type) {
	case CONFIG_BOOL:
		buf_put_str(b, *(const bool *)value ? "yes" : "no");
		break;
	case CONFIG_COUNT:
		buf_printf(b, "%llu", (unsigned long long)*(const uint64_t *)value);
		break;
	case CONFIG_DURATION:
		format_duration(*(const uint64_t *)value, b);
		break;
	case CONFIG_PATH:
	case CONFIG_CREDENTIAL:
	case CONFIG_SOCKET:
	case CONFIG_STORE_URL:
	case CONFIG_TOKEN_URI:
	case CONFIG_TEXT:
	case CONFIG_NAME:
		if (*(char *const *)value)
			buf_put_str(b, *(char *const *)value);
		break;
	case CONFIG_LISTEN:
	case CONFIG_USERS:
		format_texts(value, *(const size_t *)const_member(base, key->len_offset), b);
		break;
	case CONFIG_RATE:
		config_table_format_rate(value, b);
		break;
	case CONFIG_NETWORKS:
		format_networks(key, value, b);
		break;
	case CONFIG_FORWARDED:
		buf_put_str(b, forwarded_names[*(const enum config_forwarded *)value]);
		break;
	case CONFIG_KEY_TYPES:
		key_type_set_format(*(const key_type_set *)value, b);
		break;
	case CONFIG_SAN_TYPES:
		format_san_types(*(const unsigned *)value, b);
		break;
	case CONFIG_LOG_LEVEL:
		buf_put_str(b, log_level_name(*(const enum log_level *)value));
		break;
	case CONFIG_CHOICE:
		buf_put_str(b, key->choices[*(const unsigned *)value]);
		break;
	case CONFIG_USAGE:
		key_protection_format(*(const uint32_t *)value, b);
		break;
	}
}

void config_key_put_shown(const struct config_key *key, const char *text, struct buf *b)
{
	if (key->type == CONFIG_STORE_URL)
		url_put_masked(b, text);
	else
		buf_put_str(b, text);
}

static size_t plain_size(enum config_type type)
{
	switch (type) {
	case CONFIG_BOOL:
		return sizeof(bool);
	case CONFIG_COUNT:
	case CONFIG_DURATION:
		return sizeof(uint64_t);
	case CONFIG_KEY_TYPES:
	case CONFIG_SAN_TYPES:
	case CONFIG_USAGE:
		return sizeof(uint32_t);
	case CONFIG_LOG_LEVEL:
		return sizeof(enum log_level);
	case CONFIG_CHOICE:
		return sizeof(unsigned);
	case CONFIG_RATE:
		return sizeof(struct config_rate);
	case CONFIG_NETWORKS:
		return sizeof(struct config_networks);
	case CONFIG_FORWARDED:
		return sizeof(enum config_forwarded);
	default:
		return 0;
	}
}

void config_key_copy(const struct config_key *key, void *base, const void *from)
{
	assert(plain_size(key->type) > 0);
	memcpy(member(base, key->offset), const_member(from, key->offset), plain_size(key->type));
}

void config_key_release(const struct config_key *key, void *base)
{
	void *value = member(base, key->offset);
	size_t *len;

	switch (key->type) {
	case CONFIG_PATH:
	case CONFIG_CREDENTIAL:
	case CONFIG_SOCKET:
	case CONFIG_STORE_URL:
	case CONFIG_TOKEN_URI:
	case CONFIG_TEXT:
	case CONFIG_NAME:
		free(*(char **)value);
		*(char **)value = NULL;
		break;
	case CONFIG_LISTEN:
	case CONFIG_USERS:
		len = member(base, key->len_offset);
		while (*len > 0)
			free(((char **)value)[--*len]);
		break;
	default:
		break;
	}
}
