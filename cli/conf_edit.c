/* SPDX-License-Identifier: Apache-2.0 */
/* Changes single values in the text of a configuration file. */
#include "cli/conf_edit.h"

#include <string.h>

struct line {
	const char *at;
	size_t len;       /* without its newline */
	const char *next; /* the line after it; NULL at the end */
};

static struct line line_at(const char *at)
{
	size_t len = strcspn(at, "\n");

	return (struct line){.at = at, .len = len, .next = at[len] ? at + len + 1 : NULL};
}

static void conf_edit_trim(const char **text, size_t *len)
{
	while (*len > 0 && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
		(*text)++;
		(*len)--;
	}
	while (*len > 0 && strchr(" \t\r", (*text)[*len - 1]))
		(*len)--;
}

/* "[NAME]" of any section for NULL.  Blanks after "token" count as one, as in config.c. */
static bool is_section(const struct line *line, const char *section)
{
	const char *at = line->at, *end;
	size_t len = line->len;

	conf_edit_trim(&at, &len);
	if (len < 2 || at[0] != '[' || !(end = memchr(at, ']', len)))
		return false;
	if (!section)
		return true;
	for (at++; at < end && *section; at++, section++) {
		if (*at != *section)
			return false;
		while (*at == ' ' && at + 1 < end && at[1] == ' ')
			at++;
	}
	return at == end && !*section;
}

/* "key = …", or "#key = …" when it is to be a comment; the value, trimmed, to *ret_value. */
static bool is_key(const struct line *line, const char *key, bool comment, const char **ret_value,
		   size_t *ret_len)
{
	const char *at = line->at;
	size_t len = line->len, key_len = strlen(key);

	conf_edit_trim(&at, &len);
	if (comment) {
		if (len == 0 || *at != '#')
			return false;
		at++;
		len--;
	}
	if (len <= key_len || memcmp(at, key, key_len) != 0)
		return false;
	at += key_len;
	len -= key_len;
	conf_edit_trim(&at, &len);
	if (len == 0 || *at != '=')
		return false;
	at++;
	len--;
	/* As libinih: a comment starts with # or ; after a blank. */
	for (size_t i = 1; i < len; i++)
		if ((at[i] == '#' || at[i] == ';') && (at[i - 1] == ' ' || at[i - 1] == '\t'))
			len = i;
	conf_edit_trim(&at, &len);
	*ret_value = at;
	*ret_len = len;
	return true;
}

/* Where things are; at is NULL for what is not there. */
struct place {
	struct line section; /* its header */
	struct line key;
	struct line comment; /* the key as a comment, in the section */
	struct line last;    /* of the section's lines that are not blank */
};

static struct place conf_edit_find(const char *text, const char *section, const char *key)
{
	struct place place = {0};
	bool inside = false;
	const char *value;
	size_t len;

	for (const char *at = text; at;) {
		struct line line = line_at(at);
		const char *start = line.at;
		size_t rest = line.len;

		at = line.next;
		conf_edit_trim(&start, &rest);
		if (is_section(&line, NULL)) {
			inside = !place.section.at && is_section(&line, section);
			if (inside)
				place.section = place.last = line;
		} else if (inside && rest > 0) {
			if (*start != '#' && *start != ';')
				place.last = line;
			if (!place.key.at && is_key(&line, key, false, &value, &len))
				place.key = line;
			else if (!place.comment.at && is_key(&line, key, true, &value, &len))
				place.comment = line;
		}
	}
	return place;
}

bool conf_edit_get(const char *text, const char *section, const char *key, struct buf *ret_value)
{
	struct place place = conf_edit_find(text, section, key);
	const char *value;
	size_t len;

	if (!place.key.at || !is_key(&place.key, key, false, &value, &len))
		return false;
	buf_put(ret_value, value, len);
	return true;
}

bool conf_edit_has_section(const char *text, const char *section)
{
	return conf_edit_find(text, section, "").section.at != NULL;
}

/* Puts the line, and its newline even where the file ends without one. */
static void put_through(struct buf *out, const char *text, const struct line *line)
{
	buf_put(out, text, (size_t)(line->at - text) + line->len);
	buf_put_str(out, "\n");
}

enum err conf_edit_set(const char *text, const char *section, const char *key, const char *value,
		       struct buf *out)
{
	struct place place = conf_edit_find(text, section, key);
	const struct line *old = place.key.at ? &place.key : place.comment.at ? &place.comment : NULL;
	const char *rest = NULL;

	if (old) {
		buf_put(out, text, (size_t)(old->at - text));
		rest = old->next;
	} else if (place.last.at) {
		put_through(out, text, &place.last);
		rest = place.last.next;
	} else {
		size_t len = strlen(text);

		buf_put_str(out, text);
		buf_printf(out, "%s\n[%s]\n", len > 0 && text[len - 1] != '\n' ? "\n" : "", section);
	}
	buf_printf(out, "%s = %s\n", key, value);
	if (rest)
		buf_put_str(out, rest);
	return buf_status(out);
}

enum err conf_edit_rename_section(const char *text, const char *old, const char *name, struct buf *out)
{
	struct place place = conf_edit_find(text, old, "");

	if (!place.section.at)
		return E_NOTFOUND;
	buf_put(out, text, (size_t)(place.section.at - text));
	buf_printf(out, "[%s]\n", name);
	if (place.section.next)
		buf_put_str(out, place.section.next);
	return buf_status(out);
}
