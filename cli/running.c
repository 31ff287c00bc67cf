/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the file that csrd leaves beside the store while it runs. */
#include "cli/running.h"

#include "base/fd.h"
#include "base/published.h"
#include "base/str.h"
#include "store/store_url.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err running_read(const struct config *config, struct json_doc **ret_doc)
{
	const char *store = store_url_path(config->store.url);
	char *path = NULL, why[JSON_WHY_SIZE];
	struct buf text;
	enum err e;

	if (!store)
		return E_NOTFOUND;
	buf_init(&text, PUBLISHED_BYTES_MAX);
	e = published_by_csrd(store, &path);
	if (e == E_OK)
		e = fd_read_published(path, &text);
	if (e == E_OK)
		e = json_read(buf_text(&text), text.len, why, ret_doc);
	buf_release(&text);
	free(path);
	return e == E_INVAL || e == E_LIMIT ? E_IO : e;
}

const char *running_version(const struct json_doc *doc)
{
	return json_text(json_member(json_root(doc), "version"));
}

const char *running_value(const struct json_doc *doc, const char *full_name)
{
	return json_text(json_member(json_member(json_root(doc), "config"), full_name));
}

key_type_set running_key_types(const struct json_doc *doc, const char *token)
{
	struct json_value all = json_member(json_root(doc), "tokens");
	key_type_set types = 0;

	for (size_t i = 0; i < json_array_len(all); i++) {
		struct json_value item = json_array_item(all, i), names = json_member(item, "key_types");
		const char *name = json_text(json_member(item, "token"));

		for (size_t n = 0; name && !strcmp(name, token) && n < json_array_len(names); n++) {
			const char *type_name = json_text(json_array_item(names, n));
			enum key_type type;

			if (type_name && key_type_parse(type_name, &type) == E_OK)
				types |= KEY_TYPE_BIT(type);
		}
	}
	return types;
}

struct text {
	struct buf b;
	char section[64]; /* the last one's: "http", "token.NAME" */
};

/* "token.NAME.uri" and its value become lines of the file that they would stand in. */
static void running_put_line(void *arg, const char *name, struct json_value value)
{
	const char *dot = strrchr(name, '.'), *text = json_text(value);
	struct text *t = arg;
	char section[sizeof(t->section)];

	if (!dot || !text || !*text)
		return;
	snprintf(section, sizeof(section), "%.*s", (int)(dot - name), name);
	if (strcmp(section, t->section) != 0) {
		bool of_token = str_starts_with(section, "token.");

		memcpy(t->section, section, sizeof(section));
		buf_printf(&t->b, "[%s%s]\n", of_token ? "token " : "",
			   of_token ? section + strlen("token.") : section);
	}
	buf_printf(&t->b, "%s = %s\n", dot + 1, text);
}

enum err running_config(const struct json_doc *doc, const char *path, struct config **ret_config)
{
	struct text text = {.section = ""};
	struct config *config;
	struct buf report;
	enum err e;

	buf_init(&text.b, PUBLISHED_BYTES_MAX);
	buf_init(&report, PUBLISHED_BYTES_MAX);
	json_each_member(json_member(json_root(doc), "config"), running_put_line, &text);
	e = buf_status(&text.b);
	if (e == E_OK)
		e = config_parse_partly(path, &text.b, &report, &config);
	if (e == E_OK)
		*ret_config = config;
	else if (e == E_CONFIG)
		config_free(config);
	buf_release(&report);
	buf_release(&text.b);
	return e;
}

bool running_last_comparison(const struct json_doc *doc, const char *token,
			     struct running_comparison *ret_comparison)
{
	struct json_value all = json_member(json_root(doc), "comparisons");

	for (size_t i = 0; i < json_array_len(all); i++) {
		struct json_value item = json_array_item(all, i);
		const char *name = json_text(json_member(item, "token"));
		struct running_comparison c;

		if (!name || strcmp(name, token) != 0)
			continue;
		if (json_integer(json_member(item, "at_us"), &c.at_us) != E_OK ||
		    json_integer(json_member(item, "checked"), &c.checked) != E_OK ||
		    json_integer(json_member(item, "missing"), &c.missing) != E_OK ||
		    json_integer(json_member(item, "unknown"), &c.unknown) != E_OK ||
		    json_integer(json_member(item, "set_aside"), &c.set_aside) != E_OK ||
		    json_integer(json_member(item, "unread"), &c.unread) != E_OK ||
		    json_integer(json_member(item, "unclear"), &c.unclear) != E_OK)
			return false;
		*ret_comparison = c;
		return true;
	}
	return false;
}

void running_comparison_words(const struct running_comparison *c, char words[RUNNING_WORDS_SIZE])
{
	const struct {
		int64_t count;
		const char *name;
	} kinds[] = {{c->missing, "missing"},
		     {c->unknown, "unknown"},
		     {c->set_aside, "set aside"},
		     {c->unread, "unread"},
		     {c->unclear, "unclear"}};
	size_t len = 0;

	words[0] = '\0';
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].count > 0)
			len += (size_t)snprintf(words + len, RUNNING_WORDS_SIZE - len, "%s%" PRId64 " %s",
						len ? ", " : "", kinds[i].count, kinds[i].name);
}
