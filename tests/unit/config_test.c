/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: defaults, each kind of mistake by its exact text, reload, and the sample. */
#include "base/buf.h"
#include "base/csr.h"
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_TYPES "rsa2048, p256v1, rsa3072, rsa4096, p384v1, ed25519"
#define TOKEN "[token default]\nmodule = /m.so\nuri = pkcs11:token=csrd\n"

struct fixture {
	char folder[64];
	char path[96];
	struct buf report;
	struct config *config;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	snprintf(f->folder, sizeof(f->folder), "/tmp/csrd-config-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/csrd.conf", f->folder);
	buf_init(&f->report, 65536);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	config_free(f->config);
	buf_release(&f->report);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static void write_file(struct fixture *f, const char *text, size_t len)
{
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(f->path, 0644), 0);
}

static enum err load_bytes(struct fixture *f, const char *text, size_t len)
{
	write_file(f, text, len);
	config_free(f->config);
	f->config = NULL;
	buf_reset(&f->report);
	return config_load(f->path, &f->report, &f->config);
}

static const struct config *loads(struct fixture *f, const char *text)
{
	if (load_bytes(f, text, strlen(text)) != E_OK)
		fail_msg("not accepted:\n%s\nbecause %s", text, buf_text(&f->report));
	assert_string_equal(buf_text(&f->report), "");
	return f->config;
}

/* `expected`: the whole report; each "@:" in it stands for the path of the file and a colon. */
static void check_report(struct fixture *f, const char *expected)
{
	struct buf full;

	buf_init(&full, 65536);
	for (; *expected; expected++) {
		if (expected[0] == '@' && expected[1] == ':')
			buf_put_str(&full, f->path);
		else
			buf_put_u8(&full, (uint8_t)*expected);
	}
	assert_string_equal(buf_text(&f->report), buf_text(&full));
	buf_release(&full);
	assert_null(f->config);
}

static void refuses(struct fixture *f, const char *text, const char *expected)
{
	assert_int_equal(load_bytes(f, text, strlen(text)), E_CONFIG);
	check_report(f, expected);
}

/* A mistake in line 2 of one section; `problem` is what stands after "FILE:2: [section] ". */
static void refuses_key(struct fixture *f, const char *section, const char *line, const char *problem)
{
	char text[4096], expected[4096];

	if (strncmp(section, "token ", 6) == 0)
		snprintf(text, sizeof(text), "[%s]\n%s\nmodule = /m.so\nuri = pkcs11:token=csrd\n", section,
			 line);
	else
		snprintf(text, sizeof(text), "[%s]\n%s\n" TOKEN, section, line);
	snprintf(expected, sizeof(expected), "@:2: [%s] %s\n", section, problem);
	refuses(f, text, expected);
}

/* ---- what is accepted ---- */

static void smallest_file_gives_the_defaults(void **state)
{
	struct fixture *f = *state;
	const struct config *c = loads(f, TOKEN);
	const struct config_token *t = &c->tokens[0];

	assert_string_equal(c->path, f->path);
	assert_int_equal(c->http.listen_len, 2);
	assert_string_equal(c->http.listen[0], "127.0.0.1:8080");
	assert_string_equal(c->http.listen[1], "[::1]:8080");
	assert_false(c->http.allow_plain_http);
	assert_int_equal(c->http.max_connections, 512);
	assert_int_equal(c->http.max_header_bytes, 8192);
	assert_int_equal(c->http.max_body_bytes, 65536);
	assert_int_equal(c->http.idle_timeout_ms, 30000);
	assert_int_equal(c->http.request_timeout_ms, 55000);
	assert_int_equal(c->http.drain_timeout_ms, 20000);
	assert_string_equal(c->store.url, "sqlite:/var/lib/csrd/csrd.db");
	assert_int_equal(c->store.queue_max, 4096);
	assert_int_equal(c->store.readers, 2);
	assert_int_equal(c->policy.key_types, KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1));
	assert_int_equal(c->policy.san_types, SAN_TYPE_BIT(SAN_DNS));
	assert_false(c->policy.public_names_only);
	assert_int_equal(c->policy.idempotency_ttl_ms, 86400000);
	assert_int_equal(c->policy.reconcile_interval_ms, 60000);
	assert_int_equal(c->log.level, LOG_LEVEL_INFO);
	assert_false(c->log.reads);
	assert_int_equal(c->tokens_len, 1);
	assert_string_equal(t->name, "default");
	assert_string_equal(t->module, "/m.so");
	assert_null(t->module_init_args);
	assert_string_equal(t->uri, "pkcs11:token=csrd");
	assert_string_equal(t->pin_file, "/etc/csrd/credentials/default.pin");
	assert_string_equal(t->socket, "/run/csrd-hsm/default.sock");
	assert_int_equal(t->client_users_len, 1);
	assert_string_equal(t->client_users[0], "csrd");
	assert_int_equal(t->threads, 4);
	assert_int_equal(t->queue_max, 1024);
	assert_int_equal(t->allow_usage, 0);
	assert_string_equal(t->state_dir, "/var/lib/csrd-hsm/default");
	assert_int_equal(t->timeout_generate_ms, 60000);
	assert_int_equal(t->timeout_generate_large_ms, 300000);
	assert_int_equal(t->timeout_sign_ms, 30000);
	assert_int_equal(t->timeout_other_ms, 30000);
	assert_int_equal(t->keep_alive_ms, 10000);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		assert_int_equal(t->pool_targets[type], 0);
	assert_int_equal(t->pool_pause_ms, 100);
	assert_int_equal(t->pool_quiet_ms, 1000);
	assert_null(t->node);
}

#define INIT_ARGS "configdir='sql:/srv/a b' certPrefix='' flags=noModDB;x=\"1\""

static const char full_file[] = "[http]\n"
				"listen = 0.0.0.0:80, [::1]:8443 , unix:/run/csrd/csrd.sock\n"
				"allow_plain_http = yes\n"
				"max_connections = 65536\n"
				"max_header_bytes = 1024\n"
				"max_body_bytes = 1048576\n"
				"idle_timeout = 1500ms\n"
				"request_timeout = 10m\n"
				"drain_timeout = 1s\n"
				"[store]\n"
				"url = sqlite:/srv/a b.db\n"
				"queue_max = 16\n"
				"readers = 16\n"
				"[policy]\n"
				"key_types = p256v1\n"
				"san_types = uri,dns, ip\n"
				"public_names_only = yes\n"
				"idempotency_ttl = 7d\n"
				"reconcile_interval = 24h\n"
				"[log]\n"
				"level = debug\n"
				"reads = yes\n"
				"[token old-one]\n"
				"module = /usr/lib/a.so\n"
				"module_init_args = " INIT_ARGS "\n"
				"uri = pkcs11:token=a%20b;serial=0123;slot-id=7\n"
				"pin_file = /etc/csrd/a.pin\n"
				"socket = /run/a.sock\n"
				"client_users = csrd, 1234, _a.b-c\n"
				"threads = 64\n"
				"queue_max = 1\n"
				"allow_usage = unwrap, decrypt\n"
				"state_dir = /srv/state\n"
				"timeout_generate = 1s\n"
				"timeout_generate_large = 2s\n"
				"timeout_sign = 3s\n"
				"timeout_other = 100ms\n"
				"keep_alive = 1h\n"
				"pool_rsa2048 = 100000\n"
				"pool_rsa3072 = 3\n"
				"pool_rsa4096 = 4\n"
				"pool_p256v1 = 2\n"
				"pool_p384v1 = 5\n"
				"pool_ed25519 = 6\n"
				"pool_pause = 0\n"
				"pool_quiet = 30s\n"
				"pool_objects_max = 250\n"
				"node = node-7.b_C\n"
				"[token   B_2]\n"
				"module = /usr/lib/a.so\n"
				"uri = pkcs11:model=m\n";

static void every_key_is_taken(void **state)
{
	struct fixture *f = *state;
	const struct config *c = loads(f, full_file);
	const struct config_token *t = &c->tokens[0];

	assert_int_equal(c->http.listen_len, 3);
	assert_string_equal(c->http.listen[0], "0.0.0.0:80");
	assert_string_equal(c->http.listen[1], "[::1]:8443");
	assert_string_equal(c->http.listen[2], "unix:/run/csrd/csrd.sock");
	assert_true(c->http.allow_plain_http);
	assert_int_equal(c->http.max_connections, 65536);
	assert_int_equal(c->http.max_header_bytes, 1024);
	assert_int_equal(c->http.max_body_bytes, 1048576);
	assert_int_equal(c->http.idle_timeout_ms, 1500);
	assert_int_equal(c->http.request_timeout_ms, 600000);
	assert_int_equal(c->http.drain_timeout_ms, 1000);
	assert_string_equal(c->store.url, "sqlite:/srv/a b.db");
	assert_int_equal(c->store.queue_max, 16);
	assert_int_equal(c->store.readers, 16);
	assert_int_equal(c->policy.key_types, KEY_TYPE_BIT(KEY_P256V1));
	assert_int_equal(c->policy.san_types,
			 SAN_TYPE_BIT(SAN_DNS) | SAN_TYPE_BIT(SAN_IP) | SAN_TYPE_BIT(SAN_URI));
	assert_true(c->policy.public_names_only);
	assert_int_equal(c->policy.idempotency_ttl_ms, 7 * 86400000);
	assert_int_equal(c->policy.reconcile_interval_ms, 86400000);
	assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
	assert_true(c->log.reads);
	assert_int_equal(c->tokens_len, 2);
	assert_string_equal(t->name, "old-one");
	assert_string_equal(t->module_init_args, INIT_ARGS);
	assert_string_equal(t->uri,
			    "pkcs11:token=a%20b;serial=0123;slot-id=7"); /* ';' starts no comment here */
	assert_string_equal(t->pin_file, "/etc/csrd/a.pin");
	assert_string_equal(t->socket, "/run/a.sock");
	assert_int_equal(t->client_users_len, 3);
	assert_string_equal(t->client_users[2], "_a.b-c");
	assert_int_equal(t->threads, 64);
	assert_int_equal(t->queue_max, 1);
	assert_int_equal(t->allow_usage, KEY_PROT_DECRYPT | KEY_PROT_UNWRAP);
	assert_string_equal(t->state_dir, "/srv/state");
	assert_int_equal(t->timeout_generate_ms, 1000);
	assert_int_equal(t->timeout_generate_large_ms, 2000);
	assert_int_equal(t->timeout_sign_ms, 3000);
	assert_int_equal(t->timeout_other_ms, 100);
	assert_int_equal(t->keep_alive_ms, 3600000);
	assert_int_equal(t->pool_targets[KEY_RSA2048], 100000);
	for (unsigned type = 2; type <= KEY_TYPE_MAX; type++)
		assert_int_equal(t->pool_targets[type], type);
	assert_int_equal(t->pool_pause_ms, 0);
	assert_int_equal(t->pool_quiet_ms, 30000);
	assert_int_equal(t->pool_objects_max, 250);
	assert_string_equal(t->node, "node-7.b_C");
	assert_string_equal(c->tokens[1].name, "B_2");
	assert_string_equal(c->tokens[1].socket, "/run/csrd-hsm/B_2.sock");
}

static void blanks_comments_and_line_ends_are_free(void **state)
{
	struct fixture *f = *state;
	const struct config *c =
	    loads(f, "\xef\xbb\xbf# a comment = with a sign\r\n"
		     "\r\n"
		     " [http]  # comment\r\n"
		     "  ; comment\n"
		     "\tmax_connections=7 ; eight\r\n"
		     "    idle_timeout   =   2s\t# two\n" /* no continuation of the line before */
		     "[store]\n"
		     "url = sqlite:/a#b;c\n" /* without a blank before it, no comment */
		     "[policy] ; empty\n" TOKEN "threads = 2");

	assert_int_equal(c->http.max_connections, 7);
	assert_int_equal(c->http.idle_timeout_ms, 2000);
	assert_string_equal(c->store.url, "sqlite:/a#b;c");
	assert_int_equal(c->tokens[0].threads, 2); /* the last line has no newline */
}

static void credentials_directory_holds_the_pin(void **state)
{
	struct fixture *f = *state;
	char name[256];

	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x", 1), 0);
	assert_string_equal(loads(f, TOKEN)->tokens[0].pin_file, "/run/credentials/x/pin");
	assert_string_equal(loads(f, TOKEN "pin_file = /p\n")->tokens[0].pin_file, "/p");
	config_pin_name(&loads(f, TOKEN)->tokens[0], name, sizeof(name));
	assert_string_equal(name, "/run/credentials/x/pin"); /* whoever set that */
	/* F252: systemd's folder is gone with the unit, and nobody knows it */
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/run/credentials/csrd-hsm@default.service", 1), 0);
	config_pin_name(&loads(f, TOKEN)->tokens[0], name, sizeof(name));
	assert_string_equal(name, "/etc/csrd/credentials/default.pin[.cred]");
	config_pin_name(&loads(f, TOKEN "pin_file = /p\n")->tokens[0], name, sizeof(name));
	assert_string_equal(name, "/p");
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void tokens_are_found_by_name(void **state)
{
	struct fixture *f = *state;
	const struct config *c = loads(f, full_file);

	assert_ptr_equal(config_token_find(c, NULL), &c->tokens[0]);
	assert_ptr_equal(config_token_find(c, "old-one"), &c->tokens[0]);
	assert_ptr_equal(config_token_find(c, "B_2"), &c->tokens[1]);
	assert_null(config_token_find(c, "default"));
}

/* ---- what is refused ---- */

static void file_that_cannot_be_read_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(config_load("/nonexistent/csrd.conf", &f->report, &f->config), E_CONFIG);
	assert_string_equal(buf_text(&f->report),
			    "/nonexistent/csrd.conf: cannot open: No such file or directory\n");
	buf_reset(&f->report);
	assert_int_equal(config_load(f->folder, &f->report, &f->config), E_CONFIG);
	assert_non_null(strstr(buf_text(&f->report), ": is not a regular file\n"));
	assert_null(f->config);
}

/* F91 */
static void file_that_others_may_write_is_refused(void **state)
{
	struct fixture *f = *state;

	write_file(f, TOKEN, strlen(TOKEN));
	assert_int_equal(chmod(f->path, 0646), 0);
	assert_int_equal(config_load(f->path, &f->report, &f->config), E_CONFIG);
	check_report(f, "@: others may write it (mode 0646), chmod o-w\n");
	assert_int_equal(chmod(f->path, 0660), 0);
	buf_reset(&f->report);
	assert_int_equal(config_load(f->path, &f->report, &f->config), E_OK);
}

static void huge_file_is_refused(void **state)
{
	struct fixture *f = *state;
	size_t len = 300 * 1024;
	char *text = malloc(len);

	assert_non_null(text);
	memset(text, '\n', len);
	assert_int_equal(load_bytes(f, text, len), E_CONFIG);
	check_report(f, "@: is longer than 262144 bytes\n");
	free(text);
}

static void a_token_is_needed(void **state)
{
	struct fixture *f = *state;

	refuses(f, "", "@: no [token NAME] section, at least one is needed\n");
	refuses(f, "[http]\n[log]\nlevel = info\n", "@: no [token NAME] section, at least one is needed\n");
}

static void required_keys_are_missed_in_the_line_of_their_section(void **state)
{
	struct fixture *f = *state;

	refuses(f, "\n[token a]\n",
		"@:2: [token a] module: missing, it has no default\n"
		"@:2: [token a] uri: missing, it has no default\n");
}

static void unknown_names_are_refused(void **state)
{
	struct fixture *f = *state;

	refuses(f, TOKEN "[htpp]\nlisten = x\n",
		"@:4: [htpp]: unknown section, accepted are [http], [store], [policy], [log], [metrics] and "
		"[token NAME]\n");
	refuses(f, TOKEN "[token]\n",
		"@:4: [token]: unknown section, accepted are [http], [store], [policy], [log], [metrics] and "
		"[token "
		"NAME]\n");
	refuses(f, TOKEN "[HTTP]\n",
		"@:4: [HTTP]: unknown section, accepted are [http], [store], [policy], [log], [metrics] and "
		"[token NAME]\n");
	/* F251 */
	refuses_key(f, "store", "uri = x", "uri: unknown key, did you mean 'url'? csrd.conf(5) has them all");
	refuses_key(f, "log", "Level = info",
		    "Level: unknown key, did you mean 'level'? csrd.conf(5) has them all");
	refuses_key(f, "token a", "pin = 1234",
		    "pin: unknown key, did you mean 'pin_file'? csrd.conf(5) has them all");
	refuses_key(f, "http", "max_conections = 7",
		    "max_conections: unknown key, did you mean 'max_connections'? csrd.conf(5) has them all");
	refuses_key(f, "store", "colour = x", "colour: unknown key, accepted are url, queue_max, readers");
	refuses_key(
	    f, "token a", "colour = red",
	    "colour: unknown key, accepted are module, module_init_args, uri, pin_file, socket, "
	    "client_users, "
	    "threads, queue_max, "
	    "allow_usage, state_dir, timeout_generate, timeout_generate_large, timeout_sign, timeout_other, "
	    "keep_alive, pool_rsa2048, pool_rsa3072, pool_rsa4096, pool_p256v1, pool_p384v1, pool_ed25519, "
	    "pool_pause, pool_quiet, pool_objects_max, node");
	refuses(f, "listen = 127.0.0.1:1\n" TOKEN, "@:1: listen: stands before the first [section]\n");
	refuses(f, "[token a b]\n" TOKEN,
		"@:1: [token a b]: the name of a token must be 1 to 32 of A-Z, a-z, 0-9, _ and -\n");
	refuses(f, "[token 123456789012345678901234567890123]\n" TOKEN,
		"@:1: [token 123456789012345678901234567890123]: the name of a token must be 1 to 32 of A-Z, "
		"a-z, 0-9, _ "
		"and -\n");
}

static void what_is_given_twice_is_refused(void **state)
{
	struct fixture *f = *state;

	refuses(f, "[log]\nlevel = info\n\nlevel = info\n" TOKEN,
		"@:4: [log] level: given twice, first in line 2\n");
	refuses(f, TOKEN "threads = 1\nthreads = 1\n",
		"@:5: [token default] threads: given twice, first in line 4\n");
	refuses(f, "[log]\n[http]\n[log]\nlevel = info\n" TOKEN,
		"@:3: [log]: given twice, first in line 1\n");
	refuses(f, TOKEN TOKEN, "@:4: [token default]: given twice, first in line 1\n");
}

static void lines_of_no_form_are_refused(void **state)
{
	struct fixture *f = *state;
	static const char form[] = "the line is not key = value, [section] or # comment\n";
	static const char *const lines[] = {"level", "level info", "level: info", "= info", "level # = info"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[256], expected[256];

		snprintf(text, sizeof(text), "[log]\n%s\n" TOKEN, lines[i]);
		snprintf(expected, sizeof(expected), "@:2: %s", form);
		refuses(f, text, expected);
	}
	refuses(f, TOKEN "[log\nlevel = x\n", "@:4: a section must be one line of the form [NAME]\n");
	refuses(f, TOKEN "[log] level = x\n", "@:4: a section must be one line of the form [NAME]\n");
	assert_int_equal(load_bytes(f, TOKEN "[log]\nlevel = in\0fo\n", strlen(TOKEN) + 20), E_CONFIG);
	check_report(f, "@:5: the line holds a control character, or is not UTF-8\n");
	refuses(f, TOKEN "[log]\nlevel = \x1b[2J\n",
		"@:5: the line holds a control character, or is not UTF-8\n");
	refuses(f, TOKEN "[log]\nlevel = \xff\n",
		"@:5: the line holds a control character, or is not UTF-8\n");
}

/* libinih would cut it, and take what follows for the next line. */
static void long_lines_are_refused_whole(void **state)
{
	struct fixture *f = *state;
	char line[4096], text[5000];

	memset(line, 'a', sizeof(line));
	memcpy(line, "url = sqlite:/", 14);
	line[2049] = '\0';
	snprintf(text, sizeof(text), "[store]\n%s\n[policy]\nkey_types = x\n" TOKEN, line);
	refuses(f, text,
		"@:2: the line is longer than 2048 bytes\n"
		"@:4: [policy] key_types: 'x' is not a key type, accepted are " KEY_TYPES "\n");
	line[2048] = '\0';
	snprintf(text, sizeof(text), "[store]\n%s\n" TOKEN, line);
	assert_string_equal(loads(f, text)->store.url, line + 6);
}

static void values_out_of_type_or_range_are_refused(void **state)
{
	struct fixture *f = *state;

	refuses_key(f, "http", "allow_plain_http = true",
		    "allow_plain_http: 'true' is not accepted, it must be yes or no");
	refuses_key(f, "http", "max_connections = 0",
		    "max_connections: '0' is not accepted, it must be a number from 1 to 65536");
	refuses_key(f, "http", "max_connections = 65537",
		    "max_connections: '65537' is not accepted, it must be a number from 1 to 65536");
	refuses_key(f, "http", "max_body_bytes = 64k",
		    "max_body_bytes: '64k' is not accepted, it must be a number from 4096 to 1048576");
	refuses_key(f, "http", "max_header_bytes = +8192",
		    "max_header_bytes: '+8192' is not accepted, it must be a number from 1024 to 65536");
	refuses_key(f, "http", "idle_timeout = 30",
		    "idle_timeout: '30' is not accepted, it must be a time from 1s to 1h, as in 250ms, 30s, "
		    "5m, 24h, 7d");
	refuses_key(f, "http", "idle_timeout = 999ms",
		    "idle_timeout: '999ms' is not accepted, it must be a time from 1s to 1h, as in 250ms, "
		    "30s, 5m, 24h, 7d");
	refuses_key(f, "policy", "idempotency_ttl = 31d",
		    "idempotency_ttl: '31d' is not accepted, it must be a time from 1m to 30d, as in 250ms, "
		    "30s, 5m, 24h, "
		    "7d");
	refuses_key(f, "log", "level = verbose",
		    "level: 'verbose' is not accepted, it must be error, warning, notice, info or debug");
	refuses_key(f, "log", "level =", "level: has no value; leave the key out for its default");
	refuses_key(f, "token a", "pin_file = 1234",
		    "pin_file: the value is not accepted, it must be the absolute path of a file");
	refuses_key(f, "token a", "pin_file = /etc/",
		    "pin_file: the value is not accepted, it must be the absolute path of a file");
	refuses_key(f, "store", "url = postgresql://user:secret@host/d", /* F275 */
		    "url: the value is not accepted, it must be sqlite: and the absolute path of a file");
	refuses_key(
	    f, "store", "url = sqlite:csrd.db",
	    "url: 'sqlite:csrd.db' is not accepted, it must be sqlite: and the absolute path of a file");
}

/* The url of a store where it does not belong, or half right. */
static void password_of_a_url_is_not_repeated(void **state) /* F275, F306 */
{
	struct fixture *f = *state;

	refuses_key(f, "store", "url = sqlite://user:secret@host/d",
		    "url: the value is not accepted, it must be sqlite: and the absolute path of a file");
	refuses(f, "[store]\nurl postgresql://user:secret@host/d?sslmode=require\n" TOKEN,
		"@:2: the line is not key = value, [section] or # comment\n");
	refuses_key(f, "log", "reads = postgresql://user:secret@host/d",
		    "reads: 'postgresql://user:***@host/d' is not accepted, it must be yes or no");
	refuses_key(f, "log", "reads = postgresql://user:sec ret@host/d",
		    "reads: 'postgresql://user:***@host/d' is not accepted, it must be yes or no");
	refuses_key(f, "policy", "key_types = postgresql://user:sec,ret@host/d",
		    "key_types: 'postgresql://user:*** is not a key type, accepted are rsa2048, p256v1, "
		    "rsa3072, rsa4096, p384v1, ed25519");
	refuses_key(f, "policy", "key_types = postgresql://host/d?password=secret",
		    "key_types: 'postgresql://host/d?password=*** is not a key type, accepted are rsa2048, "
		    "p256v1, rsa3072, rsa4096, p384v1, ed25519");
}

/* F364 */
static void rates_and_exempt_networks_are_strict(void **state)
{
#define RATE_REFUSED(value)                                                                                  \
	"reads_per_address: '" value "' is not accepted, it must be off, or COUNT/TIME with a count from 1 " \
	"to 1000000 and a time from 1s to 1d in whole seconds, as in 1200/5m"
#define REFUSES_RATE(value) refuses_key(f, "limits", "reads_per_address = " value, RATE_REFUSED(value))
	struct fixture *f = *state;
	const struct config_limits *l =
	    &loads(f, "[limits]\nreads_per_address = 1200/5m\nwrites_per_address = 1000000/1d\n"
		      "failed_logins_per_user = off\nexempt = 10.0.0.0/8, 2001:db8::/32, 192.0.2.1\n" TOKEN)
		 ->limits;

	assert_int_equal(l->reads_per_address.count, 1200);
	assert_int_equal(l->reads_per_address.window_ms, 300000);
	assert_int_equal(l->writes_per_address.count, 1000000);
	assert_int_equal(l->failed_logins_per_user.count, 0);
	assert_int_equal(l->failed_logins_per_address.count, 100);
	assert_int_equal(l->exempt.len, 3);
	assert_int_equal(loads(f, "[limits]\nexempt = none\n" TOKEN)->limits.exempt.len, 0);
	REFUSES_RATE("1200");
	REFUSES_RATE("0/5m");
	REFUSES_RATE("1000001/5m");
	REFUSES_RATE("10000000000/5m");
	REFUSES_RATE("+5/5m");
	REFUSES_RATE("5/5");
	REFUSES_RATE("5/500ms");
	REFUSES_RATE("5/1500ms");
	REFUSES_RATE("5/25h");
	REFUSES_RATE("/5m");
	REFUSES_RATE("5/");
	REFUSES_RATE("no");
	refuses_key(f, "limits", "exempt = 10.0.0.0/8, 10.0.0.0/8", "exempt: '10.0.0.0/8' is named twice");
}

static void socket_path_must_fit_an_address(void **state)
{
	struct fixture *f = *state;
	char line[256], problem[512];
	char path[109];

	memset(path, 's', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	snprintf(line, sizeof(line), "socket = %s", path);
	snprintf(problem, sizeof(problem),
		 "socket: '%s' is not accepted, it must be the absolute path of a socket, at most 107 bytes",
		 path);
	refuses_key(f, "token a", line, problem);
}

static void lists_are_checked_item_by_item(void **state)
{
	struct fixture *f = *state;

	refuses_key(f, "policy", "key_types = rsa2048, rsa1024",
		    "key_types: 'rsa1024' is not a key type, accepted are " KEY_TYPES);
	refuses_key(f, "policy", "key_types = rsa2048, rsa2048", "key_types: 'rsa2048' is named twice");
	refuses_key(f, "policy", "key_types = rsa2048,", "key_types: an item between the commas is empty");
	refuses_key(f, "policy", "san_types = dns,DNS",
		    "san_types: 'DNS' is not a type of name, accepted are dns, ip, email, uri");
	refuses_key(f, "token a", "client_users = a,,b", "client_users: an item between the commas is empty");
	refuses_key(f, "token a", "client_users = a, b c",
		    "client_users: 'b c' is not accepted, it must be the name or the number of a user");
	refuses_key(f, "token a", "client_users = a,b,c,d,e,f,g,h,i", "client_users: more than 8 items");
	refuses_key(
	    f, "token a", "allow_usage = decrypt, extractable",
	    "allow_usage: 'extractable' cannot be allowed, accepted are sign_recover,decrypt,unwrap,derive");
	refuses_key(
	    f, "token a", "allow_usage = token",
	    "allow_usage: 'token' cannot be allowed, accepted are sign_recover,decrypt,unwrap,derive");
}

static void refuses_listen(struct fixture *f, const char *item)
{
	char line[256], problem[512];

	snprintf(line, sizeof(line), "listen = %s", item);
	snprintf(problem, sizeof(problem),
		 "listen: '%s' is not accepted, it must be ADDRESS:PORT, [ADDRESS]:PORT for IPv6, or "
		 "unix:/PATH; names are "
		 "not looked up",
		 item);
	refuses_key(f, "http", line, problem);
}

static void addresses_to_listen_on_are_strict(void **state)
{
	struct fixture *f = *state;
	const struct config *c;

	refuses_listen(f, "localhost:8080");
	refuses_listen(f, "127.0.0.1");
	refuses_listen(f, "127.0.0.1:");
	refuses_listen(f, ":8080");
	refuses_listen(f, "127.0.0.1:65536");
	refuses_listen(f, "127.0.0.1:+80");
	refuses_listen(f, "127.1:80");
	refuses_listen(f, "::1:8080");
	refuses_listen(f, "[::1]");
	refuses_listen(f, "[127.0.0.1]:80");
	refuses_listen(f, "[fe80::1%lo]:80");
	refuses_listen(f, "unix:run/x");
	refuses_key(f, "http", "listen = 127.0.0.1:1, 127.0.0.1:1", "listen: '127.0.0.1:1' is named twice");
	/* F416: an address is the same however it is written */
	refuses_key(f, "http", "listen = 127.0.0.1:1, [::ffff:127.0.0.1]:1",
		    "listen: '[::ffff:127.0.0.1]:1' is named twice");
	refuses_key(f, "http", "listen = [::1]:1, [0:0::1]:1", "listen: '[0:0::1]:1' is named twice");
	c = loads(f, "[http]\nlisten = 127.8.9.1:0, [::1]:1, [::ffff:127.0.0.1]:2, unix:/x\n" TOKEN);
	assert_int_equal(c->http.listen_len, 4);
}

static void plain_http_off_loopback_must_be_asked_for(void **state)
{
	struct fixture *f = *state;
	static const char *const open[] = {"0.0.0.0:80", "192.0.2.1:80", "[::]:80", "[2001:db8::1]:80",
					   "128.0.0.1:80"};

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		char text[512], expected[512];

		snprintf(text, sizeof(text), TOKEN "[http]\n\nlisten = 127.0.0.1:8080, %s\n", open[i]);
		snprintf(expected, sizeof(expected),
			 "@:6: [http] listen: plain HTTP on '%s' can be read by others on the way, listen on "
			 "127.0.0.1, "
			 "[::1] or unix:/PATH, or say allow_plain_http = yes\n",
			 open[i]);
		refuses(f, text, expected);
		snprintf(text, sizeof(text), TOKEN "[http]\nallow_plain_http = yes\nlisten = %s\n", open[i]);
		loads(f, text);
	}
}

/* F332 */
static void figures_have_a_port_of_their_own(void **state)
{
	struct fixture *f = *state;
	const struct config *c = loads(f, TOKEN);

	assert_int_equal(c->metrics.listen_len, 0);
	c = loads(f, TOKEN "[metrics]\nlisten = 192.0.2.1:9464\n");
	assert_string_equal(c->metrics.listen[0], "192.0.2.1:9464");
	loads(f, TOKEN "[http]\nlisten = 127.0.0.1:0\n[metrics]\nlisten = 127.0.0.1:0\n");
	refuses(
	    f, TOKEN "[metrics]\nlisten = 127.0.0.1:8080\n",
	    "@:5: [metrics] listen: '127.0.0.1:8080' is an address of [http] listen or listen_tls, choose "
	    "another port\n");
	refuses(f, TOKEN "[http]\nlisten = [::1]:1\n[metrics]\nlisten = [0::1]:1\n", /* F416 */
		"@:7: [metrics] listen: '[0::1]:1' is an address of [http] listen or listen_tls, choose "
		"another port\n");
	refuses_key(f, "metrics", "listen = unix:/x",
		    "listen: 'unix:/x' is not accepted, it must be ADDRESS:PORT, or [ADDRESS]:PORT for IPv6");
	refuses_key(f, "metrics", "listen = 127.0.0.1:1, 127.0.0.1:2", "listen: more than 1 items");
}

static void refuses_uri(struct fixture *f, const char *uri)
{
	char text[256];

	snprintf(text, sizeof(text), "[token a]\nmodule = /m.so\nuri = %s\n", uri);
	refuses(f, text,
		"@:3: [token a] uri: the value is not accepted, it must be pkcs11: and one or more of token, "
		"serial, "
		"manufacturer, model, slot-id, as in pkcs11:token=csrd;serial=0123\n");
}

/* What may be a PIN is not repeated in the report. */
static void token_uri_names_a_token_and_no_secret(void **state)
{
	struct fixture *f = *state;

	refuses_uri(f, "csrd");
	refuses_uri(f, "pkcs11:");
	refuses_uri(f, "pkcs11:token=");
	refuses_uri(f, "pkcs11:token=a;");
	refuses_uri(f, "pkcs11:token=a;object=b");
	refuses_uri(f, "PKCS11:token=a");
	refuses_uri(f, "pkcs11:token=a;pin-value=1234");
	refuses(f, "[token a]\nmodule = /m.so\nuri = pkcs11:token=a?pin-value=1234\n",
		"@:3: [token a] uri: a query ('?') is not accepted, the PIN belongs in the file that "
		"pin_file names\n");
}

static void tokens_must_not_share_what_one_signer_owns(void **state)
{
	struct fixture *f = *state;

	refuses(f, TOKEN "socket = /s\n[token b]\nmodule = /m.so\nuri = pkcs11:token=b\nsocket = /s\n",
		"@:8: [token b] socket: '/s' is the socket of [token default] too\n");
	refuses(f, TOKEN "[token b]\nmodule = /m.so\nuri = pkcs11:token=csrd\n",
		"@:6: [token b] uri: [token default] is the same token of the same module\n");
	loads(f, TOKEN "[token b]\nmodule = /n.so\nuri = pkcs11:token=csrd\n");
	loads(f, TOKEN "[token b]\nmodule = /m.so\nmodule_init_args = x\nuri = pkcs11:token=csrd\n");
	refuses(f,
		TOKEN "module_init_args = x\n[token b]\nmodule = /m.so\nmodule_init_args = x\nuri = "
		      "pkcs11:token=csrd\n",
		"@:8: [token b] uri: [token default] is the same token of the same module\n");
}

static void tokens_have_a_maximum(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, 65536);
	for (unsigned i = 0; i < CONFIG_TOKENS_MAX; i++)
		buf_printf(&b, "[token t%u]\nmodule = /m.so\nuri = pkcs11:serial=%u\n", i, i);
	assert_int_equal(loads(f, buf_text(&b))->tokens_len, CONFIG_TOKENS_MAX);
	buf_put_str(&b, "[token last]\nmodule = /m.so\n");
	refuses(f, buf_text(&b), "@:49: [token last]: too many tokens\n");
	buf_release(&b);
}

static void all_mistakes_are_reported_together_in_the_order_of_lines(void **state)
{
	struct fixture *f = *state;

	refuses(
	    f,
	    "[http]\nlisten = x\nmax_connections = 5x\nnonsense\n[what]\nlisten = x\n[token a]\nmodule = m\n"
	    "threads = 99\n",
	    "@:2: [http] listen: 'x' is not accepted, it must be ADDRESS:PORT, [ADDRESS]:PORT for IPv6, or "
	    "unix:/PATH; "
	    "names are not looked up\n"
	    "@:3: [http] max_connections: '5x' is not accepted, it must be a number from 1 to 65536\n"
	    "@:4: the line is not key = value, [section] or # comment\n"
	    "@:5: [what]: unknown section, accepted are [http], [store], [policy], [log], [metrics] and "
	    "[token NAME]\n"
	    "@:8: [token a] module: 'm' is not accepted, it must be the absolute path of a file\n"
	    "@:9: [token a] threads: '99' is not accepted, it must be a number from 1 to 64\n"
	    "@:7: [token a] uri: missing, it has no default\n");
}

static void garbage_is_survived(void **state)
{
	struct fixture *f = *state;
	char text[2048];
	uint32_t random = 20240229;

	for (unsigned round = 0; round < 400; round++) {
		size_t len = strlen(full_file);

		memcpy(text, full_file, len);
		for (unsigned i = 0; i < 1 + round % 5; i++) {
			random = random * 1664525 + 1013904223;
			text[(random >> 8) % len] = (char)(random >> 24);
		}
		if (load_bytes(f, text, len) == E_CONFIG)
			assert_non_null(strstr(buf_text(&f->report), f->path)); /* it says why */
	}
}

/* ---- reload ---- */

static void reload_takes_what_may_change_and_names_the_rest(void **state)
{
	struct fixture *f = *state;
	struct config *running;

	loads(f, TOKEN "[token gone]\nmodule = /n.so\nuri = pkcs11:token=n\n");
	running = f->config;
	f->config = NULL;
	loads(
	    f,
	    "[http]\nlisten = unix:/x\nallow_plain_http = yes\nmax_connections = 2\nmax_header_bytes = 2000\n"
	    "max_body_bytes = 5000\nidle_timeout = 2s\nrequest_timeout = 3s\ndrain_timeout = 4s\n"
	    "[store]\nurl = sqlite:/x\nqueue_max = 20\nreaders = 3\n"
	    "[policy]\nkey_types = p256v1\nsan_types = ip\npublic_names_only = yes\nidempotency_ttl = 1h\n"
	    "reconcile_interval = 5s\n[log]\nlevel = error\n" TOKEN "threads = 8\nallow_usage = decrypt\n");
	assert_int_equal(config_reload(running, f->config, &f->report), E_OK);
	assert_string_equal(
	    buf_text(&f->report),
	    "[http] listen: changed from '127.0.0.1:8080, [::1]:8080' to 'unix:/x', needs a restart\n"
	    "[http] allow_plain_http: changed from 'no' to 'yes', needs a restart\n"
	    "[http] max_connections: changed from '512' to '2', needs a restart\n"
	    "[store] url: changed from 'sqlite:/var/lib/csrd/csrd.db' to 'sqlite:/x', needs a restart\n"
	    "[store] queue_max: changed from '4096' to '20', needs a restart\n"
	    "[store] readers: changed from '2' to '3', needs a restart\n"
	    "[token default] threads: changed from '4' to '8', needs a restart\n"
	    "[token default] allow_usage: changed from '' to 'decrypt', needs a restart\n"
	    "[token gone]: removed, needs a restart\n");
	assert_string_equal(running->http.listen[0], "127.0.0.1:8080");
	assert_false(running->http.allow_plain_http);
	assert_int_equal(running->http.max_connections, 512);
	assert_int_equal(running->http.max_header_bytes, 2000);
	assert_int_equal(running->http.max_body_bytes, 5000);
	assert_int_equal(running->http.idle_timeout_ms, 2000);
	assert_int_equal(running->http.request_timeout_ms, 3000);
	assert_int_equal(running->http.drain_timeout_ms, 4000);
	assert_int_equal(running->policy.key_types, KEY_TYPE_BIT(KEY_P256V1));
	assert_int_equal(running->policy.san_types, SAN_TYPE_BIT(SAN_IP));
	assert_true(running->policy.public_names_only);
	assert_int_equal(running->policy.idempotency_ttl_ms, 3600000);
	assert_int_equal(running->policy.reconcile_interval_ms, 5000);
	assert_int_equal(running->log.level, LOG_LEVEL_ERROR);
	assert_int_equal(running->tokens_len, 2);
	assert_int_equal(running->tokens[0].threads, 4);
	config_free(running);
}

static void reload_of_the_same_file_is_silent(void **state)
{
	struct fixture *f = *state;
	struct config *running;

	loads(f, full_file);
	running = f->config;
	f->config = NULL;
	loads(f, full_file);
	assert_int_equal(config_reload(running, f->config, &f->report), E_OK);
	assert_string_equal(buf_text(&f->report), "");
	config_free(running);
}

/* ---- show, and the sample ---- */

static void find_url(void *arg, const struct config_value *value)
{
	if (strcmp(value->name, "url") == 0)
		buf_put_str(arg, value->text);
}

/* Names of files may look like it, too; what has a password for certain is a later kind of store. */
static void password_of_the_store_is_not_shown(void **state) /* F306 */
{
	static const char file[] = "[store]\nurl = sqlite:///srv/user:secret@host\n" TOKEN;
	struct fixture *f = *state;
	struct config *running;
	struct buf b;

	loads(f, TOKEN);
	running = f->config;
	f->config = NULL;
	loads(f, file);
	assert_string_equal(f->config->store.url, "sqlite:///srv/user:secret@host");
	buf_init(&b, 65536);
	config_show(f->config, &b);
	assert_non_null(strstr(buf_text(&b), "url = sqlite:///srv/user:***@host\n"));
	buf_reset(&b);
	assert_int_equal(config_each_value(f->config, find_url, &b), E_OK);
	assert_string_equal(buf_text(&b), "sqlite:///srv/user:***@host");
	buf_release(&b);
	assert_int_equal(config_reload(running, f->config, &f->report), E_OK);
	assert_string_equal(buf_text(&f->report),
			    "[store] url: changed from 'sqlite:/var/lib/csrd/csrd.db' to "
			    "'sqlite:///srv/user:***@host', needs a restart\n");
	config_free(running);
}

static void show_marks_defaults(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, 65536);
	config_show(loads(f, "[http]\nidle_timeout = 90s\n[log]\nlevel = info\n" TOKEN), &b);
	assert_string_equal(buf_text(&b), "[http]\n"
					  "listen = 127.0.0.1:8080, [::1]:8080 # default\n"
					  "# listen_tls is not set\n"
					  "# tls_certificate is not set\n"
					  "# tls_key is not set\n"
					  "tls_client_certificate = none # default\n"
					  "# tls_client_ca is not set\n"
					  "# tls_client_crl is not set\n"
					  "credentials = any # default\n"
					  "allow_plain_http = no # default\n"
					  "trusted_proxies = none # default\n"
					  "forwarded_header = none # default\n"
					  "proxy_protocol_from = none # default\n"
					  "# proxy_protocol_on is not set\n"
					  "max_connections = 512 # default\n"
					  "max_connections_per_address = 0 # default\n"
					  "max_header_bytes = 8192 # default\n"
					  "max_body_bytes = 65536 # default\n"
					  "idle_timeout = 90s\n"
					  "request_timeout = 55s # default\n"
					  "drain_timeout = 20s # default\n"
					  "\n[store]\n"
					  "url = sqlite:/var/lib/csrd/csrd.db # default\n"
					  "queue_max = 4096 # default\n"
					  "readers = 2 # default\n"
					  "\n[policy]\n"
					  "key_types = rsa2048, p256v1 # default\n"
					  "san_types = dns # default\n"
					  "public_names_only = no # default\n"
					  "idempotency_ttl = 1d # default\n"
					  "reconcile_interval = 1m # default\n"
					  "\n[limits]\n"
					  "reads_per_principal = off # default\n"
					  "writes_per_principal = off # default\n"
					  "reads_per_address = off # default\n"
					  "writes_per_address = off # default\n"
					  "failed_logins_per_address = 100/5m # default\n"
					  "failed_logins_per_user = 100/5m # default\n"
					  "exempt = 127.0.0.0/8, ::1 # default\n"
					  "\n[log]\n"
					  "level = info\n"
					  "reads = no # default\n"
					  "\n[metrics]\n"
					  "# listen is not set\n"
					  "\n[token default]\n"
					  "module = /m.so\n"
					  "# module_init_args is not set\n"
					  "uri = pkcs11:token=csrd\n"
					  "pin_file = /etc/csrd/credentials/default.pin # default\n"
					  "socket = /run/csrd-hsm/default.sock # default\n"
					  "client_users = csrd # default\n"
					  "threads = 4 # default\n"
					  "queue_max = 1024 # default\n"
					  "# allow_usage is not set\n"
					  "state_dir = /var/lib/csrd-hsm/default # default\n"
					  "timeout_generate = 1m # default\n"
					  "timeout_generate_large = 5m # default\n"
					  "timeout_sign = 30s # default\n"
					  "timeout_other = 30s # default\n"
					  "keep_alive = 10s # default\n"
					  "pool_rsa2048 = 0 # default\n"
					  "pool_rsa3072 = 0 # default\n"
					  "pool_rsa4096 = 0 # default\n"
					  "pool_p256v1 = 0 # default\n"
					  "pool_p384v1 = 0 # default\n"
					  "pool_ed25519 = 0 # default\n"
					  "pool_pause = 100ms # default\n"
					  "pool_quiet = 1s # default\n"
					  "pool_objects_max = 0 # default\n"
					  "# node is not set\n");
	buf_release(&b);
}

static void show_can_be_loaded_again(void **state)
{
	struct fixture *f = *state;
	static const char *const files[] = {TOKEN, full_file};

	for (size_t i = 0; i < 2; i++) {
		struct config *first;
		struct buf shown;

		loads(f, files[i]);
		first = f->config;
		f->config = NULL;
		buf_init(&shown, 65536);
		config_show(first, &shown);
		loads(f, buf_text(&shown));
		/* Nothing that needs a restart, and nothing else, differs. */
		assert_int_equal(config_reload(first, f->config, &f->report), E_OK);
		assert_string_equal(buf_text(&f->report), "");
		assert_memory_equal(&first->policy, &f->config->policy, sizeof(first->policy));
		assert_int_equal(first->http.idle_timeout_ms, f->config->http.idle_timeout_ms);
		config_free(first);
		buf_release(&shown);
	}
}

/* F415, F421: networks, and that each half of what is said of proxies needs the other. */
static void proxies_are_networks_and_a_header(void **state)
{
	struct fixture *f = *state;
	const struct config *c;
	struct config *running;
	struct buf shown;

	c = loads(f, "[http]\ntrusted_proxies = 10.0.0.0/8, ::1 , unix, ::ffff:192.0.2.0/120\n"
		     "forwarded_header = forwarded\nproxy_protocol_from = 192.0.2.7\n"
		     "proxy_protocol_on = 127.0.0.1:8080\n" TOKEN);
	assert_int_equal(c->http.trusted_proxies.len, 4);
	assert_int_equal(c->http.forwarded_header, CONFIG_FORWARDED_FORWARDED);
	buf_init(&shown, 65536);
	config_show(c, &shown);
	assert_non_null(strstr(buf_text(&shown), "trusted_proxies = 10.0.0.0/8, ::1, unix, 192.0.2.0/24\n"
						 "forwarded_header = forwarded\n"
						 "proxy_protocol_from = 192.0.2.7\n"
						 "proxy_protocol_on = 127.0.0.1:8080\n"));
	buf_release(&shown);
	running = f->config;
	f->config = NULL;
	loads(f, TOKEN);
	assert_int_equal(config_reload(running, f->config, &f->report), E_OK);
	assert_int_equal(running->http.trusted_proxies.len, 0);
	assert_int_equal(running->http.proxy_protocol_from.len, 0);
	assert_string_equal(buf_text(&f->report),
			    "[http] proxy_protocol_on: changed from '127.0.0.1:8080' to "
			    "'', needs a restart\n");
	buf_reset(&f->report);
	config_free(running);
	refuses_key(f, "http", "trusted_proxies = 10.0.0.1/8",
		    "trusted_proxies: '10.0.0.1/8' has bits set behind its prefix, it must be 10.0.0.0/8");
	refuses_key(
	    f, "http", "trusted_proxies = proxy.example",
	    "trusted_proxies: 'proxy.example' is not accepted, it must be an address or a network, as in "
	    "192.0.2.1, 10.0.0.0/8, 2001:db8::/32, or unix");
	refuses_key(f, "http", "trusted_proxies = ::1, 0::1", "trusted_proxies: '0::1' is named twice");
	refuses_key(
	    f, "http", "forwarded_header = via",
	    "forwarded_header: 'via' is not accepted, it must be x-forwarded-for, forwarded (RFC 7239) "
	    "or none");
	refuses_key(
	    f, "http", "trusted_proxies = ::1",
	    "trusted_proxies: these proxies need forwarded_header = x-forwarded-for or forwarded: the "
	    "one that they set themselves, whatever a client sends");
	refuses_key(f, "http", "forwarded_header = forwarded",
		    "forwarded_header: is believed of nobody, name the proxies in trusted_proxies");
	refuses_key(f, "http", "proxy_protocol_on = 127.0.0.1:8080",
		    "proxy_protocol_on: is spoken with nobody, name the proxies in proxy_protocol_from");
}

static char *read_sample(void)
{
	FILE *file = fopen("config/csrd.conf", "r");
	char *text = calloc(1, 65536);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, file) > 0);
	fclose(file);
	return text;
}

/* The sample is what its reader believes: each commented line is a key with its default. */
static void sample_loads_and_tells_the_defaults(void **state)
{
	struct fixture *f = *state;
	char *text = read_sample();
	struct buf plain, full;
	unsigned keys = 0;

	loads(f, text);
	buf_init(&plain, 65536);
	config_show(f->config, &plain);
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' &&
		    strncmp(line, "#allow_usage", 12) != 0 && strncmp(line, "#node", 5) != 0 &&
		    strncmp(line, "#module_init_args", 17) != 0 && strncmp(line, "#listen_tls", 11) != 0 &&
		    (strncmp(line, "#tls_", 5) != 0 || strncmp(line, "#tls_client_certificate", 23) == 0) &&
		    strncmp(line, "#proxy_protocol_on", 18) != 0 &&
		    strncmp(line, "#listen = 127.0.0.1:9464", 24) != 0) {
			line[0] = ' ';
			keys++;
		}
	}
	assert_int_equal(keys, 51);
	loads(f, text);
	buf_init(&full, 65536);
	config_show(f->config, &full);
	for (char *mark; (mark = strstr((char *)plain.data, " # default"));)
		memmove(mark, mark + 10, strlen(mark + 10) + 1);
	assert_string_equal(buf_text(&plain), buf_text(&full));
	buf_release(&plain);
	buf_release(&full);
	free(text);
}

#define CONFIG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONFIG_TEST(smallest_file_gives_the_defaults),
	    CONFIG_TEST(every_key_is_taken),
	    CONFIG_TEST(blanks_comments_and_line_ends_are_free),
	    CONFIG_TEST(credentials_directory_holds_the_pin),
	    CONFIG_TEST(tokens_are_found_by_name),
	    CONFIG_TEST(file_that_cannot_be_read_is_refused),
	    CONFIG_TEST(file_that_others_may_write_is_refused),
	    CONFIG_TEST(huge_file_is_refused),
	    CONFIG_TEST(a_token_is_needed),
	    CONFIG_TEST(required_keys_are_missed_in_the_line_of_their_section),
	    CONFIG_TEST(unknown_names_are_refused),
	    CONFIG_TEST(what_is_given_twice_is_refused),
	    CONFIG_TEST(lines_of_no_form_are_refused),
	    CONFIG_TEST(long_lines_are_refused_whole),
	    CONFIG_TEST(values_out_of_type_or_range_are_refused),
	    CONFIG_TEST(rates_and_exempt_networks_are_strict),
	    CONFIG_TEST(socket_path_must_fit_an_address),
	    CONFIG_TEST(lists_are_checked_item_by_item),
	    CONFIG_TEST(proxies_are_networks_and_a_header),
	    CONFIG_TEST(addresses_to_listen_on_are_strict),
	    CONFIG_TEST(plain_http_off_loopback_must_be_asked_for),
	    CONFIG_TEST(figures_have_a_port_of_their_own),
	    CONFIG_TEST(password_of_a_url_is_not_repeated),
	    CONFIG_TEST(password_of_the_store_is_not_shown),
	    CONFIG_TEST(token_uri_names_a_token_and_no_secret),
	    CONFIG_TEST(tokens_must_not_share_what_one_signer_owns),
	    CONFIG_TEST(tokens_have_a_maximum),
	    CONFIG_TEST(all_mistakes_are_reported_together_in_the_order_of_lines),
	    CONFIG_TEST(garbage_is_survived),
	    CONFIG_TEST(reload_takes_what_may_change_and_names_the_rest),
	    CONFIG_TEST(reload_of_the_same_file_is_silent),
	    CONFIG_TEST(show_marks_defaults),
	    CONFIG_TEST(show_can_be_loaded_again),
	    CONFIG_TEST(sample_loads_and_tells_the_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
