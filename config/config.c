/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the configuration file.  libinih splits the lines; everything it would
 * pass over in silence (a line longer than its buffer, a continued line, a
 * section without keys) is met before, in the function it reads its lines with.
 */
#include "config/config.h"

#include "base/fd.h"
#include "base/str.h"
#include "base/url.h"
#include "base/utf8.h"
#include "config/config_table.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (256 * 1024)
#define LINE_BYTES_MAX 2048
#define TOKEN_NAME_CHARS (sizeof(((struct config_token *)0)->name) - 1)
#define NEAR_NAME_MAX 64
#define CREDENTIAL "credential:"
#define PINS "/etc/csrd/credentials/"
#define PINS_OF_UNITS "/run/credentials/csrd-hsm@"
#define UTF8_BOM "\xef\xbb\xbf"

static const char *const plain_sections[] = {"http", "store", "policy", "limits", "log", "metrics"};
#define PLAIN_SECTIONS (sizeof(plain_sections) / sizeof(plain_sections[0]))

_Static_assert(CONFIG_KEYS <= CONFIG_KEYS_MAX, "struct config's `lines` has room for each key");

struct parse {
	const char *path;
	struct config *config;
	struct buf *report;
	struct buf text; /* the whole file */
	size_t at;
	unsigned line;
	unsigned problems;
	enum err status; /* E_OK or E_NOMEM */

	const char *section;        /* "http" …, "token"; NULL: none yet, or one that was refused */
	bool section_was_refused;   /* so its keys are passed over */
	struct config_token *token; /* of section "token" */
	unsigned section_lines[PLAIN_SECTIONS];
	unsigned token_lines[CONFIG_TOKENS_MAX];
};

/* ---- reporting ---- */

/* Starts one line of the report; the caller ends it with "\n". */
static void problem_at(struct parse *p, unsigned line)
{
	p->problems++;
	if (line > 0)
		buf_printf(p->report, "%s:%u: ", p->path, line);
	else
		buf_printf(p->report, "%s: ", p->path);
}

static void put_section(struct parse *p, const struct config_token *token, const char *section)
{
	if (token)
		buf_printf(p->report, "[token %s] ", token->name);
	else
		buf_printf(p->report, "[%s] ", section);
}

static void problem_at_key(struct parse *p, unsigned line, const struct config_key *key,
			   const struct config_token *token)
{
	problem_at(p, line);
	put_section(p, token, key->section);
	buf_printf(p->report, "%s: ", key->name);
}

/* ---- keys ---- */

static size_t find_key(const char *section, const char *name)
{
	size_t i = 0;

	while (i < CONFIG_KEYS &&
	       (strcmp(config_table[i].section, section) != 0 || strcmp(config_table[i].name, name) != 0))
		i++;
	return i;
}

/* The line that sets the key; 0: none. */
static unsigned *key_line(struct parse *p, size_t key, struct config_token *token)
{
	return token ? &token->lines[key] : &p->config->lines[key];
}

static void config_set_key(struct parse *p, size_t key, struct config_token *token, const char *text,
			   unsigned line)
{
	void *base = token ? (void *)token : (void *)p->config;
	struct buf why;
	enum err e;

	buf_init(&why, 2 * LINE_BYTES_MAX);
	e = config_key_set(&config_table[key], base, text, &why);
	if (e == E_INVAL) {
		problem_at_key(p, line, &config_table[key], token);
		buf_printf(p->report, "%s\n", buf_text(&why));
	} else if (e != E_OK) {
		p->status = e;
	}
	buf_release(&why);
}

/*
 * How many letters must be put in, left out or changed (Levenshtein); SIZE_MAX
 * for names that are too long.
 */
static size_t distance(const char *a, const char *b)
{
	size_t len = strlen(b), row[NEAR_NAME_MAX + 1];

	if (strlen(a) > NEAR_NAME_MAX || len > NEAR_NAME_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= len; j++) {
			size_t change = corner + (str_ascii_lower(a[i - 1]) != b[j - 1]);
			size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

			corner = row[j];
			row[j] = change < step ? change : step;
		}
	}
	return row[len];
}

/* The key that a misspelt name is most like; NULL: it is like none. */
static const char *nearest_key(const char *section, const char *name)
{
	size_t best = strlen(name) / 3 + 1;
	const char *found = NULL;

	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		const char *key = config_table[i].name;
		size_t far;

		if (strcmp(config_table[i].section, section) != 0)
			continue;
		far = strlen(name) >= 3 && str_starts_with(key, name) ? 1 : distance(name, key);
		if (far < best || (far == best && !found)) {
			best = far;
			found = key;
		}
	}
	return found;
}

static void unknown_key(struct parse *p, const char *name)
{
	const char *nearest = nearest_key(p->section, name);
	const char *separator = "";

	problem_at(p, p->line);
	put_section(p, p->token, p->section);
	if (nearest) {
		buf_printf(p->report, "%s: unknown key, did you mean '%s'? csrd.conf(5) has them all\n", name,
			   nearest);
		return;
	}
	buf_printf(p->report, "%s: unknown key, accepted are ", name);
	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		if (strcmp(config_table[i].section, p->section) != 0)
			continue;
		buf_printf(p->report, "%s%s", separator, config_table[i].name);
		separator = ", ";
	}
	buf_put_str(p->report, "\n");
}

/* Called by libinih; its section is not used, p->section is newer and was checked. */
static int on_key(void *arg, const char *section, const char *name, const char *value)
{
	struct parse *p = arg;
	size_t key;
	unsigned *line;

	(void)section;
	if (p->section_was_refused)
		return 1;
	if (!p->section) {
		problem_at(p, p->line);
		buf_printf(p->report, "%s: stands before the first [section]\n", name);
		return 1;
	}
	key = find_key(p->section, name);
	if (key == CONFIG_KEYS) {
		unknown_key(p, name);
		return 1;
	}
	line = key_line(p, key, p->token);
	if (*line > 0) {
		problem_at_key(p, p->line, &config_table[key], p->token);
		buf_printf(p->report, "given twice, first in line %u\n", *line);
		return 1;
	}
	*line = p->line;
	config_set_key(p, key, p->token, value, p->line);
	return 1;
}

/* ---- defaults ---- */

static void set_made_default(struct parse *p, const char *name, struct config_token *token, const char *head,
			     const char *tail)
{
	struct buf text;

	buf_init(&text, LINE_BYTES_MAX);
	buf_printf(&text, "%s%s", head, tail);
	if (buf_status(&text) == E_NOMEM)
		p->status = E_NOMEM;
	else
		config_set_key(p, find_key("token", name), token, buf_text(&text), p->line);
	buf_release(&text);
}

static void set_defaults(struct parse *p, struct config_token *token)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	char file[TOKEN_NAME_CHARS + 6];

	for (size_t i = 0; i < CONFIG_KEYS; i++)
		if (config_table[i].fallback && config_key_is_of_token(&config_table[i]) == (token != NULL))
			config_set_key(p, i, token, config_table[i].fallback, 0);
	if (!token)
		return;
	snprintf(file, sizeof(file), "%s.sock", token->name);
	set_made_default(p, "socket", token, "/run/csrd-hsm/", file);
	set_made_default(p, "state_dir", token, "/var/lib/csrd-hsm/", token->name);
	snprintf(file, sizeof(file), "%s.pin", token->name);
	if (credentials && credentials[0] == '/')
		set_made_default(p, "pin_file", token, credentials, "/pin");
	else
		set_made_default(p, "pin_file", token, PINS, file);
}

/* ---- sections ---- */

static void refuse_section(struct parse *p, const char *name, const char *why)
{
	p->section = NULL;
	p->section_was_refused = true;
	problem_at(p, p->line);
	buf_printf(p->report, "[%s]: %s\n", name, why);
}

static void section_twice(struct parse *p, const char *name, unsigned first)
{
	char why[64];

	snprintf(why, sizeof(why), "given twice, first in line %u", first);
	refuse_section(p, name, why);
}

static void open_token(struct parse *p, const char *section, const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
	struct config_token *token = &p->config->tokens[p->config->tokens_len];

	if (strlen(name) < 1 || strlen(name) > TOKEN_NAME_CHARS || strspn(name, allowed) != strlen(name)) {
		refuse_section(p, section, "the name of a token must be 1 to 32 of A-Z, a-z, 0-9, _ and -");
		return;
	}
	for (size_t i = 0; i < p->config->tokens_len; i++) {
		if (strcmp(p->config->tokens[i].name, name) == 0) {
			section_twice(p, section, p->token_lines[i]);
			return;
		}
	}
	if (p->config->tokens_len == CONFIG_TOKENS_MAX) {
		refuse_section(p, section, "too many tokens");
		return;
	}
	memcpy(token->name, name, strlen(name) + 1);
	p->token_lines[p->config->tokens_len++] = p->line;
	p->section = "token";
	p->token = token;
	set_defaults(p, token);
}

static void open_section(struct parse *p, const char *name)
{
	p->section = NULL;
	p->section_was_refused = false;
	p->token = NULL;
	if (str_starts_with(name, "token ")) {
		open_token(p, name, name + strlen("token ") + strspn(name + strlen("token "), " "));
		return;
	}
	for (size_t i = 0; i < PLAIN_SECTIONS; i++) {
		if (strcmp(plain_sections[i], name) != 0)
			continue;
		if (p->section_lines[i] > 0) {
			section_twice(p, name, p->section_lines[i]);
			return;
		}
		p->section_lines[i] = p->line;
		p->section = plain_sections[i];
		return;
	}
	refuse_section(
	    p, name,
	    "unknown section, accepted are [http], [store], [policy], [log], [metrics] and [token NAME]");
}

/* ---- lines ---- */

static const char not_a_line[] = "the line is not key = value, [section] or # comment";

static void bad_line(struct parse *p, const char *why)
{
	problem_at(p, p->line);
	buf_printf(p->report, "%s\n", why);
}

static bool config_is_text(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f)
			return false;
	return utf8_is_valid(line, len);
}

/* "[name]", and nothing but a comment behind it.  `line` is overwritten. */
static void take_section_line(struct parse *p, char *line)
{
	char *end = strchr(line, ']');
	const char *rest = end ? end + 1 + strspn(end + 1, " \t") : "";

	if (!end || (*rest && *rest != '#' && *rest != ';')) {
		p->section = NULL;
		p->section_was_refused = true;
		bad_line(p, "a section must be one line of the form [NAME]");
		return;
	}
	*end = '\0';
	open_section(p, line + 1);
}

/* What libinih is to see of a line: the line when it is "key = value", else nothing. */
static bool take_line(struct parse *p, char *line, size_t len)
{
	const char *sign;

	if (len == 0 || line[0] == '#' || line[0] == ';')
		return false;
	if (!config_is_text(line, len)) {
		bad_line(p, "the line holds a control character, or is not UTF-8");
		return false;
	}
	if (line[0] == '[') {
		take_section_line(p, line);
		return false;
	}
	sign = strpbrk(line, "=:");
	if (!sign || *sign != '=' || sign == line) {
		bad_line(p, not_a_line);
		return false;
	}
	return true;
}

/* Hands libinih one line, without the blanks at its ends (it would take a line that starts with one for a
 * continuation).  Called once for each line of the file, so p->line is right in on_key. */
static char *config_read_line(char *line, int size, void *stream)
{
	struct parse *p = stream;
	const char *text = (const char *)p->text.data + p->at;
	const char *newline;
	size_t len;

	if (p->at >= p->text.len)
		return NULL;
	newline = memchr(text, '\n', p->text.len - p->at);
	len = newline ? (size_t)(newline - text) : p->text.len - p->at;
	p->at += len + (newline ? 1 : 0);
	p->line++;
	if (p->line == 1 && len >= strlen(UTF8_BOM) && memcmp(text, UTF8_BOM, strlen(UTF8_BOM)) == 0) {
		text += strlen(UTF8_BOM);
		len -= strlen(UTF8_BOM);
	}
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t' || text[len - 1] == '\r'))
		len--;
	while (len > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		len--;
	}
	line[0] = '\0';
	if (len > LINE_BYTES_MAX || len + 2 > (size_t)size) {
		problem_at(p, p->line);
		buf_printf(p->report, "the line is longer than %d bytes\n", LINE_BYTES_MAX);
		return line;
	}
	memcpy(line, text, len);
	line[len] = '\0';
	if (!take_line(p, line, len))
		line[0] = '\0';
	return line;
}

/* libinih's options are variables of the library; all of csrd's programs read this one format. */
static void split_lines(struct parse *p)
{
	static char inline_comments[] = "#;";
	int line;

	ini_max_line = LINE_BYTES_MAX + 3;
	ini_allow_inline_comments = true;
	ini_inline_comment_prefixes = inline_comments;
	line = ini_parse_stream(config_read_line, p, on_key, p);
	if (line < 0)
		p->status = E_NOMEM;
	if (line > 0) {
		p->line = (unsigned)line; /* its '=' stands in a comment */
		bad_line(p, not_a_line);
	}
}

/* ---- the file ---- */

static enum err read_open_file(struct parse *p, int fd)
{
	struct stat st;
	char block[4096];
	ssize_t n;

	if (fstat(fd, &st))
		return E_IO;
	if (!S_ISREG(st.st_mode)) {
		bad_line(p, "is not a regular file");
		return E_CONFIG;
	}
	if (st.st_mode & S_IWOTH) {
		problem_at(p, 0);
		buf_printf(p->report, "others may write it (mode %04o), chmod o-w\n", st.st_mode & 07777u);
		return E_CONFIG;
	}
	while ((n = read(fd, block, sizeof(block))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return E_IO;
		buf_put(&p->text, block, (size_t)n);
		if (buf_status(&p->text) == E_LIMIT) {
			problem_at(p, 0);
			buf_printf(p->report, "is longer than %d bytes\n", FILE_BYTES_MAX);
			return E_CONFIG;
		}
	}
	return buf_status(&p->text);
}

static enum err config_read_file(struct parse *p)
{
	int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	enum err e = fd < 0 ? E_IO : read_open_file(p, fd);

	if (e == E_IO) {
		problem_at(p, 0);
		buf_printf(p->report, "cannot %s: %s\n", fd < 0 ? "open" : "read", strerror(errno));
		e = E_CONFIG;
	}
	fd_close(&fd);
	return e;
}

/* ---- what only the whole tells ---- */

static void check_required(struct parse *p)
{
	for (size_t t = 0; t < p->config->tokens_len; t++) {
		struct config_token *token = &p->config->tokens[t];

		for (size_t i = 0; i < CONFIG_KEYS; i++) {
			if (!config_table[i].required || *key_line(p, i, token) > 0)
				continue;
			problem_at_key(p, p->token_lines[t], &config_table[i], token);
			buf_put_str(p->report, "missing, it has no default\n");
		}
	}
	if (p->config->tokens_len == 0 && p->problems == 0)
		bad_line(p, "no [token NAME] section, at least one is needed");
}

static void config_check_listen(struct parse *p)
{
	size_t key = find_key("http", "listen");

	for (size_t i = 0; i < p->config->http.listen_len; i++) {
		if (p->config->http.allow_plain_http || config_listen_is_local(p->config->http.listen[i]))
			continue;
		problem_at_key(p, *key_line(p, key, NULL), &config_table[key], NULL);
		buf_printf(p->report,
			   "plain HTTP on '%s' can be read by others on the way, listen on 127.0.0.1, [::1] "
			   "or unix:/PATH, "
			   "or say allow_plain_http = yes\n",
			   p->config->http.listen[i]);
	}
}

/* The files alone are no mistake: the service manager may hold the socket that they are for. */
static void config_check_tls(struct parse *p)
{
	const struct config_http *http = &p->config->http;
	const struct {
		const char *name;
		const char *value;
		const char *what;
	} files[] = {
	    {"tls_certificate", http->tls_certificate, "the server's certificate, then those of its issuers"},
	    {"tls_key", http->tls_key, "its private key"}};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		size_t key = find_key("http", files[i].name);

		if (http->listen_tls_len == 0 || files[i].value || *key_line(p, key, NULL) > 0)
			continue;
		problem_at_key(p, *key_line(p, find_key("http", "listen_tls"), NULL), &config_table[key],
			       NULL);
		buf_printf(p->report, "missing, listen_tls needs it: the PEM file of %s\n", files[i].what);
	}
	for (size_t a = 0; a < http->listen_tls_len; a++)
		for (size_t b = 0; b < http->listen_len; b++) {
			size_t key = find_key("http", "listen_tls");

			if (!config_listen_is_same(http->listen_tls[a], http->listen[b]))
				continue;
			problem_at_key(p, *key_line(p, key, NULL), &config_table[key], NULL);
			buf_printf(p->report,
				   "'%s' is in listen too; one address has either TLS or plain HTTP\n",
				   http->listen[b]);
		}
}

static void config_refuse_http(struct parse *p, const char *name, const char *what)
{
	size_t key = find_key("http", name);

	problem_at_key(p, *key_line(p, key, NULL), &config_table[key], NULL);
	buf_printf(p->report, "%s\n", what);
}

/* What nobody could pass, and what somebody thinks is in force. */
static void config_check_callers(struct parse *p)
{
	const struct config_http *http = &p->config->http;
	bool asks = http->tls_client_certificate != CONFIG_CLIENT_NONE;
	bool has_ca = http->tls_client_ca || *key_line(p, find_key("http", "tls_client_ca"), NULL) > 0;
	bool has_local = false;

	for (size_t i = 0; i < http->listen_len; i++)
		has_local = has_local || str_starts_with(http->listen[i], "unix:");
	if (asks && !has_ca)
		config_refuse_http(p, "tls_client_certificate",
				   "needs tls_client_ca: the PEM file of the CAs that issue certificates to "
				   "clients");
	if (!asks && http->tls_client_ca)
		config_refuse_http(
		    p, "tls_client_ca",
		    "is not used while tls_client_certificate is none: set that to optional or "
		    "required, or leave this out");
	if (http->tls_client_crl && (!asks || !has_ca))
		config_refuse_http(
		    p, "tls_client_crl",
		    "is not used without tls_client_ca and tls_client_certificate = optional or "
		    "required: set these, or leave this out");
	if (http->credentials == CONFIG_CREDENTIALS_BOTH && !asks && !has_local)
		config_refuse_http(p, "credentials",
				   "both: nobody could call, since there is no unix socket in listen, and "
				   "tls_client_certificate is none; set one of these");
}

/* A mistake here is believed, or is one in every record: each half needs the other. */
static void config_check_proxies(struct parse *p)
{
	const struct config_http *http = &p->config->http;
	size_t trusted = find_key("http", "trusted_proxies"), header = find_key("http", "forwarded_header");
	size_t on = find_key("http", "proxy_protocol_on");

	if (http->trusted_proxies.len > 0 && http->forwarded_header == CONFIG_FORWARDED_NONE) {
		problem_at_key(p, *key_line(p, trusted, NULL), &config_table[trusted], NULL);
		buf_put_str(p->report,
			    "these proxies need forwarded_header = x-forwarded-for or forwarded: the one "
			    "that they set themselves, whatever a client sends\n");
	}
	if (http->trusted_proxies.len == 0 && http->forwarded_header != CONFIG_FORWARDED_NONE) {
		problem_at_key(p, *key_line(p, header, NULL), &config_table[header], NULL);
		buf_put_str(p->report, "is believed of nobody, name the proxies in trusted_proxies\n");
	}
	if (http->proxy_protocol_on_len > 0 && http->proxy_protocol_from.len == 0) {
		problem_at_key(p, *key_line(p, on, NULL), &config_table[on], NULL);
		buf_put_str(p->report, "is spoken with nobody, name the proxies in proxy_protocol_from\n");
	}
}

/* Prometheus speaks to addresses alone, and callers are not to find the figures where the API is. */
static void config_check_metrics(struct parse *p)
{
	size_t key = find_key("metrics", "listen");
	const struct config_http *http = &p->config->http;
	const char *address;
	bool is_taken = false;

	if (p->config->metrics.listen_len == 0)
		return;
	address = p->config->metrics.listen[0];
	for (size_t i = 0; i < http->listen_len; i++)
		is_taken = is_taken || config_listen_is_same(address, http->listen[i]);
	for (size_t i = 0; i < http->listen_tls_len; i++)
		is_taken = is_taken || config_listen_is_same(address, http->listen_tls[i]);
	if (!is_taken && !str_starts_with(address, "unix:"))
		return;
	problem_at_key(p, *key_line(p, key, NULL), &config_table[key], NULL);
	if (is_taken)
		buf_printf(p->report,
			   "'%s' is an address of [http] listen or listen_tls, choose another port\n",
			   address);
	else
		buf_printf(p->report,
			   "'%s' is not accepted, it must be ADDRESS:PORT, or [ADDRESS]:PORT for IPv6\n",
			   address);
}

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* One module with other arguments may have other tokens. */
static bool is_same_token(const struct config_token *a, const struct config_token *b)
{
	return same(a->uri, b->uri) && same(a->module, b->module) &&
	       (same(a->module_init_args, b->module_init_args) ||
		(!a->module_init_args && !b->module_init_args));
}

/* Two signers cannot serve one socket, and must not work on one token. */
static void check_tokens(struct parse *p)
{
	size_t socket = find_key("token", "socket");
	size_t uri = find_key("token", "uri");

	for (size_t b = 1; b < p->config->tokens_len; b++) {
		struct config_token *second = &p->config->tokens[b];

		for (size_t a = 0; a < b; a++) {
			struct config_token *first = &p->config->tokens[a];

			if (same(first->socket, second->socket)) {
				problem_at_key(p, *key_line(p, socket, second), &config_table[socket],
					       second);
				buf_printf(p->report, "'%s' is the socket of [token %s] too\n",
					   second->socket, first->name);
			}
			if (is_same_token(first, second)) {
				problem_at_key(p, *key_line(p, uri, second), &config_table[uri], second);
				buf_printf(p->report, "[token %s] is the same token of the same module\n",
					   first->name);
			}
		}
	}
}

/* ---- doors ---- */

/* text: NULL to read the file.  partly: a file with mistakes is better than none. */
static enum err load(const char *path, const struct buf *text, bool partly, struct buf *report,
		     struct config **ret_config)
{
	struct parse *p = calloc(1, sizeof(*p));
	struct buf problems;
	enum err e = E_NOMEM;

	if (!p)
		return E_NOMEM;
	buf_init(&problems, report->max);
	p->path = path;
	p->report = &problems;
	buf_init(&p->text, FILE_BYTES_MAX);
	p->config = calloc(1, sizeof(*p->config));
	if (!p->config)
		goto out;
	p->config->path = strdup(path);
	if (!p->config->path)
		goto out;
	set_defaults(p, NULL);
	if (text)
		buf_put(&p->text, text->data, text->len);
	e = text ? buf_status(&p->text) : config_read_file(p);
	if (e != E_OK)
		goto out;
	split_lines(p);
	p->line = 0;
	check_required(p);
	config_check_listen(p);
	config_check_tls(p);
	config_check_callers(p);
	config_check_proxies(p);
	config_check_metrics(p);
	check_tokens(p);
	e = p->status;
	if (e == E_OK && p->problems > 0)
		e = E_CONFIG;
	if (e == E_OK || (e == E_CONFIG && partly)) {
		*ret_config = p->config;
		p->config = NULL;
	}
out:
	/* the url of a store may stand behind another key */
	url_put_masked(report, buf_text(&problems));
	buf_release(&problems);
	config_free(p->config);
	buf_release(&p->text);
	free(p);
	return e;
}

enum err config_load(const char *path, struct buf *report, struct config **ret_config)
{
	return load(path, NULL, false, report, ret_config);
}

enum err config_load_partly(const char *path, struct buf *report, struct config **ret_config)
{
	*ret_config = NULL;
	return load(path, NULL, true, report, ret_config);
}

enum err config_parse_partly(const char *path, const struct buf *text, struct buf *report,
			     struct config **ret_config)
{
	*ret_config = NULL;
	return load(path, text, true, report, ret_config);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		if (!config_key_is_of_token(&config_table[i]))
			config_key_release(&config_table[i], config);
		for (size_t t = 0; config_key_is_of_token(&config_table[i]) && t < config->tokens_len; t++)
			config_key_release(&config_table[i], &config->tokens[t]);
	}
	free(config->path);
	free(config);
}

const struct config_token *config_token_find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->tokens_len; i++)
		if (!name || strcmp(config->tokens[i].name, name) == 0)
			return &config->tokens[i];
	return NULL;
}

void config_pin_name(const struct config_token *token, char *ret_name, size_t size)
{
	if (token->lines[find_key("token", "pin_file")] == 0 &&
	    str_starts_with(token->pin_file, PINS_OF_UNITS))
		snprintf(ret_name, size, PINS "%s.pin[.cred]", token->name);
	else
		snprintf(ret_name, size, "%s", token->pin_file);
}

bool config_is_credential(const char *value)
{
	return str_starts_with(value, CREDENTIAL);
}

enum err config_credential_path(const char *key, const char *value, char path[CONFIG_PATH_SIZE],
				struct buf *why)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	int len;

	if (config_is_credential(value) && !folder) {
		buf_printf(why,
			   "[http] %s '%s': systemd handed no credentials over; add LoadCredential=%s:PATH "
			   "to the unit "
			   "('systemctl edit csrd')",
			   key, value, value + strlen(CREDENTIAL));
		return E_CONFIG;
	}
	len = config_is_credential(value)
		  ? snprintf(path, CONFIG_PATH_SIZE, "%s/%s", folder, value + strlen(CREDENTIAL))
		  : snprintf(path, CONFIG_PATH_SIZE, "%s", value);
	return len > 0 && len < CONFIG_PATH_SIZE ? E_OK : E_NOMEM;
}

/* ---- reload ---- */

/* "" for a value that does not exist on that side. */
static enum err format_value(const struct config_key *key, const void *base, struct buf *b)
{
	buf_reset(b);
	if (base)
		config_key_format(key, base, b);
	return buf_status(b);
}

static void put_difference(const struct config_key *key, const struct config_token *token, const char *old,
			   const char *fresh, struct buf *report)
{
	buf_printf(report, "[%s%s%s] %s: changed from '", key->section, token ? " " : "",
		   token ? token->name : "", key->name);
	config_key_put_shown(key, old, report);
	buf_put_str(report, "' to '");
	config_key_put_shown(key, fresh, report);
	buf_put_str(report, "', needs a restart\n");
}

static enum err name_difference(const struct config_key *key, const struct config_token *token,
				const void *before, const void *after, struct buf *report)
{
	struct buf old, fresh;
	enum err e;

	buf_init(&old, FILE_BYTES_MAX);
	buf_init(&fresh, FILE_BYTES_MAX);
	e = format_value(key, before, &old);
	if (e == E_OK)
		e = format_value(key, after, &fresh);
	if (e == E_OK && strcmp(buf_text(&old), buf_text(&fresh)) != 0)
		put_difference(key, token, buf_text(&old), buf_text(&fresh), report);
	buf_release(&old);
	buf_release(&fresh);
	return e;
}

static enum err name_differences(const struct config *config, const struct config *fresh, struct buf *report)
{
	size_t len = config->tokens_len < fresh->tokens_len ? config->tokens_len : fresh->tokens_len;
	enum err e = E_OK;

	for (size_t i = 0; i < CONFIG_KEYS && e == E_OK; i++)
		if (!config_key_is_of_token(&config_table[i]) && !config_table[i].reloadable)
			e = name_difference(&config_table[i], NULL, config, fresh, report);
	for (size_t t = 0; t < len; t++) {
		const struct config_token *old = &config->tokens[t];

		if (strcmp(old->name, fresh->tokens[t].name) != 0) {
			buf_printf(report, "[token %s]: stands where [token %s] stood, needs a restart\n",
				   fresh->tokens[t].name, old->name);
			continue;
		}
		for (size_t i = 0; i < CONFIG_KEYS && e == E_OK; i++)
			if (config_key_is_of_token(&config_table[i]))
				e = name_difference(&config_table[i], old, old, &fresh->tokens[t], report);
	}
	for (size_t t = len; t < config->tokens_len; t++)
		buf_printf(report, "[token %s]: removed, needs a restart\n", config->tokens[t].name);
	for (size_t t = len; t < fresh->tokens_len; t++)
		buf_printf(report, "[token %s]: added, needs a restart\n", fresh->tokens[t].name);
	return e;
}

enum err config_reload(struct config *config, const struct config *fresh, struct buf *report)
{
	enum err e = name_differences(config, fresh, report);

	if (e != E_OK)
		return e;
	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		if (!config_table[i].reloadable)
			continue;
		config_key_copy(&config_table[i], config, fresh);
		config->lines[i] = fresh->lines[i];
	}
	return E_OK;
}

/* ---- show ---- */

static void show_key(size_t i, const void *base, const unsigned *lines, struct buf *b)
{
	struct buf value;

	buf_init(&value, FILE_BYTES_MAX);
	config_key_format(&config_table[i], base, &value);
	if (value.len == 0) { /* an empty value could not be read again */
		buf_printf(b, "# %s is not set\n", config_table[i].name);
	} else {
		buf_printf(b, "%s = ", config_table[i].name);
		config_key_put_shown(&config_table[i], buf_text(&value), b);
		buf_put_str(b, lines[i] > 0 ? "\n" : " # default\n");
	}
	buf_release(&value);
}

void config_show(const struct config *config, struct buf *b)
{
	const char *section = "";

	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		if (config_key_is_of_token(&config_table[i]))
			continue;
		if (strcmp(section, config_table[i].section) != 0) {
			buf_printf(b, "%s[%s]\n", section[0] ? "\n" : "", config_table[i].section);
			section = config_table[i].section;
		}
		show_key(i, config, config->lines, b);
	}
	for (size_t t = 0; t < config->tokens_len; t++) {
		buf_printf(b, "\n[token %s]\n", config->tokens[t].name);
		for (size_t i = 0; i < CONFIG_KEYS; i++)
			if (config_key_is_of_token(&config_table[i]))
				show_key(i, &config->tokens[t], config->tokens[t].lines, b);
	}
}

static enum err tell_value(size_t i, const void *base, const struct config_token *token, unsigned line,
			   config_value_fn each, void *arg)
{
	const struct config_key *key = &config_table[i];
	struct config_value value = {.section = key->section,
				     .token = token ? token->name : NULL,
				     .name = key->name,
				     .line = line,
				     .reloadable = key->reloadable};
	struct buf text, shown;
	enum err e;

	buf_init(&text, FILE_BYTES_MAX);
	buf_init(&shown, FILE_BYTES_MAX);
	config_key_format(key, base, &text);
	e = buf_status(&text);
	if (e == E_OK) {
		config_key_put_shown(key, buf_text(&text), &shown);
		e = buf_status(&shown);
	}
	value.text = buf_text(&shown);
	if (e == E_OK)
		each(arg, &value);
	buf_release(&text);
	buf_release(&shown);
	return e;
}

void config_value_full_name(const struct config_value *value, char name[CONFIG_FULL_NAME_SIZE])
{
	snprintf(name, CONFIG_FULL_NAME_SIZE, "%s%s%s.%s", value->section, value->token ? "." : "",
		 value->token ? value->token : "", value->name);
}

enum err config_each_value(const struct config *config, config_value_fn each, void *arg)
{
	enum err e = E_OK;

	for (size_t i = 0; i < CONFIG_KEYS && e == E_OK; i++)
		if (!config_key_is_of_token(&config_table[i]))
			e = tell_value(i, config, NULL, config->lines[i], each, arg);
	for (size_t t = 0; t < config->tokens_len; t++) {
		const struct config_token *token = &config->tokens[t];

		for (size_t i = 0; i < CONFIG_KEYS && e == E_OK; i++)
			if (config_key_is_of_token(&config_table[i]))
				e = tell_value(i, token, token, token->lines[i], each, arg);
	}
	return e;
}
