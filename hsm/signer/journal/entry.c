/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the journal, written and read by one table of fields. */
#include "hsm/signer/journal/entry.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"
#include "tlog/tree_hash.h"

#include <inttypes.h>
#include <string.h>

#define FORMAT_VERSION 1
#define NUMBER_MAX ((UINT64_C(1) << 53) - 1) /* RFC 8785 knows no larger one */
#define USUAL_BYTES 512
#define INDEX_DIGITS_MAX 16 /* of NUMBER_MAX */

enum field_kind {
	KIND_ACTION,
	KIND_BOOLEAN,
	KIND_HASH,
	KIND_ID,
	KIND_INDEX,
	KIND_NAMES,
	KIND_NUMBER,
	KIND_PREV,
	KIND_TEXT,
	KIND_TIME,
	KIND_TYPE,
	KIND_UUID,
	KIND_VERSION,
};

/* Sorted by key: it is the order in an entry. */
enum field_number {
	FIELD_ACTION,
	FIELD_AT,
	FIELD_ATTRIBUTES,
	FIELD_CLEAN,
	FIELD_CSR,
	FIELD_DIGEST,
	FIELD_ID,
	FIELD_INDEX,
	FIELD_MODULE,
	FIELD_NAME,
	FIELD_NAMES,
	FIELD_NODE,
	FIELD_OBJECTS,
	FIELD_OPENS,
	FIELD_OUTCOME,
	FIELD_PREV,
	FIELD_SERIAL,
	FIELD_SPKI,
	FIELD_TBS,
	FIELD_TEXT,
	FIELD_TYPE,
	FIELD_V,
	FIELD_VERSION,
	FIELD_WHY,
};
#define FIELDS (FIELD_WHY + 1)

static const struct field {
	const char *key;
	enum field_kind kind;
	size_t offset; /* in struct journal_entry */
} fields[FIELDS] = {
    [FIELD_ACTION] = {"action", KIND_ACTION, offsetof(struct journal_entry, action)},
    [FIELD_AT] = {"at", KIND_TIME, offsetof(struct journal_entry, at_us)},
    [FIELD_ATTRIBUTES] = {"attributes", KIND_TEXT, offsetof(struct journal_entry, attributes)},
    [FIELD_CLEAN] = {"clean", KIND_BOOLEAN, offsetof(struct journal_entry, clean)},
    [FIELD_CSR] = {"csr", KIND_UUID, offsetof(struct journal_entry, csr)},
    [FIELD_DIGEST] = {"digest", KIND_HASH, offsetof(struct journal_entry, digest)},
    [FIELD_ID] = {"id", KIND_ID, offsetof(struct journal_entry, id)},
    [FIELD_INDEX] = {"index", KIND_INDEX, offsetof(struct journal_entry, index)},
    [FIELD_MODULE] = {"module", KIND_TEXT, offsetof(struct journal_entry, module)},
    [FIELD_NAME] = {"name", KIND_TEXT, offsetof(struct journal_entry, name)},
    [FIELD_NAMES] = {"names", KIND_NAMES, offsetof(struct journal_entry, names)},
    [FIELD_NODE] = {"node", KIND_TEXT, offsetof(struct journal_entry, node)},
    [FIELD_OBJECTS] = {"objects", KIND_NUMBER, offsetof(struct journal_entry, objects)},
    [FIELD_OPENS] = {"opens", KIND_NUMBER, offsetof(struct journal_entry, opens)},
    [FIELD_OUTCOME] = {"outcome", KIND_TEXT, offsetof(struct journal_entry, outcome)},
    [FIELD_PREV] = {"prev", KIND_PREV, offsetof(struct journal_entry, prev)},
    [FIELD_SERIAL] = {"serial", KIND_TEXT, offsetof(struct journal_entry, serial)},
    [FIELD_SPKI] = {"spki", KIND_HASH, offsetof(struct journal_entry, spki)},
    [FIELD_TBS] = {"tbs", KIND_HASH, offsetof(struct journal_entry, tbs)},
    [FIELD_TEXT] = {"text", KIND_TEXT, offsetof(struct journal_entry, text)},
    [FIELD_TYPE] = {"type", KIND_TYPE, offsetof(struct journal_entry, type)},
    [FIELD_V] = {"v", KIND_VERSION, 0},
    [FIELD_VERSION] = {"version", KIND_TEXT, offsetof(struct journal_entry, version)},
    [FIELD_WHY] = {"why", KIND_TEXT, offsetof(struct journal_entry, why)},
};

#define BIT(field) (UINT32_C(1) << FIELD_##field)
#define COMMON (BIT(ACTION) | BIT(AT) | BIT(INDEX) | BIT(NODE) | BIT(PREV) | BIT(V))

static const struct action {
	const char *name;
	uint32_t fields; /* exactly these */
} actions[] = {
    [ENTRY_BOUND] = {"bound", COMMON | BIT(NAMES)},
    [ENTRY_DESTROYED] = {"destroyed", COMMON | BIT(NAME) | BIT(OBJECTS) | BIT(WHY)},
    [ENTRY_KEPT] = {"kept", COMMON | BIT(NAMES)},
    [ENTRY_LOGIN] = {"login", COMMON | BIT(OUTCOME)},
    [ENTRY_MADE] = {"made", COMMON | BIT(ATTRIBUTES) | BIT(ID) | BIT(NAME) | BIT(SPKI) | BIT(TYPE)},
    [ENTRY_OPEN] = {"open", COMMON | BIT(NAMES) | BIT(OPENS)},
    [ENTRY_PROBE] = {"probe", COMMON | BIT(TEXT)},
    [ENTRY_REFUSE] = {"refuse", COMMON | BIT(NAME) | BIT(WHY)},
    [ENTRY_RESERVE] = {"reserve", COMMON | BIT(NAMES) | BIT(TYPE)},
    [ENTRY_START] = {"start", COMMON | BIT(CLEAN) | BIT(MODULE) | BIT(SERIAL) | BIT(VERSION)},
    [ENTRY_STOP] = {"stop", COMMON},
    [ENTRY_USED] = {"used", COMMON | BIT(CSR) | BIT(DIGEST) | BIT(NAME) | BIT(TBS)},
};
#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

static const void *field_of(const struct journal_entry *entry, const struct field *field)
{
	return (const char *)entry + field->offset;
}

static void *field_in(struct journal_entry *entry, const struct field *field)
{
	return (char *)entry + field->offset;
}

static const char *entry_text(const struct journal_entry *entry, const struct field *field)
{
	return *(const char *const *)field_of(entry, field);
}

/* ---- writing ---- */

static void entry_put_hex(struct buf *b, const uint8_t *bytes, size_t len)
{
	char text[2 * JOURNAL_ID_MAX + 1];

	str_hex(text, bytes, len);
	buf_printf(b, "\"%s\"", text);
}

static void entry_put_names(struct buf *b, const struct journal_entry *entry)
{
	buf_put_str(b, "[");
	for (size_t i = 0; i < entry->names_len; i++)
		buf_printf(b, "%s\"%s\"", i ? "," : "", entry->names[i]);
	buf_put_str(b, "]");
}

static void entry_put_value(const struct journal_entry *entry, const struct field *field,
			    struct entry_draft *d)
{
	char time[CLOCK_RFC3339_SIZE];
	struct buf *b = &d->text;

	switch (field->kind) {
	case KIND_ACTION:
		json_put_canonical_string(b, actions[entry->action].name);
		break;
	case KIND_BOOLEAN:
		buf_put_str(b, entry->clean ? "true" : "false");
		break;
	case KIND_HASH:
		entry_put_hex(b, field_of(entry, field), JOURNAL_HASH_BYTES);
		break;
	case KIND_ID:
		entry_put_hex(b, entry->id, entry->id_len);
		break;
	case KIND_INDEX:
		d->index_at = b->len;
		break;
	case KIND_NAMES:
		entry_put_names(b, entry);
		break;
	case KIND_NUMBER:
		buf_printf(b, "%" PRIu64, *(const uint64_t *)field_of(entry, field));
		break;
	case KIND_PREV:
		buf_put_str(b, "\"\"");
		d->prev_at = b->len - 1;
		break;
	case KIND_TEXT:
	case KIND_UUID:
		json_put_canonical_string(b, entry_text(entry, field));
		break;
	case KIND_TIME:
		clock_format_rfc3339(entry->at_us, time);
		json_put_canonical_string(b, time);
		break;
	case KIND_TYPE:
		json_put_canonical_string(b, key_type_name(entry->type));
		break;
	case KIND_VERSION:
		buf_printf(b, "%d", FORMAT_VERSION);
		break;
	}
}

static bool are_names_valid(const struct journal_entry *entry)
{
	uint8_t bytes[KEY_NAME_BYTES];

	if ((entry->names_len < 1 && entry->action != ENTRY_OPEN) || entry->names_len > JOURNAL_NAMES_MAX)
		return false;
	for (size_t i = 0; i < entry->names_len; i++)
		if (!key_name_parse(entry->names[i], bytes))
			return false;
	return true;
}

static bool is_value_valid(const struct journal_entry *entry, const struct field *field)
{
	const char *text;

	switch (field->kind) {
	case KIND_ID:
		return entry->id_len >= 1 && entry->id_len <= JOURNAL_ID_MAX;
	case KIND_NAMES:
		return are_names_valid(entry);
	case KIND_NUMBER:
		return *(const uint64_t *)field_of(entry, field) <= NUMBER_MAX;
	case KIND_TEXT:
		text = entry_text(entry, field);
		return text && utf8_is_valid(text, strlen(text));
	case KIND_TYPE:
		return key_type_is_valid(entry->type);
	case KIND_UUID:
		text = entry_text(entry, field);
		return text && uuid_is_canonical(text);
	case KIND_ACTION:
	case KIND_BOOLEAN:
	case KIND_HASH:
	case KIND_INDEX:
	case KIND_PREV:
	case KIND_TIME:
	case KIND_VERSION:
		break;
	}
	return true;
}

void entry_draft_init(struct entry_draft *d)
{
	*d = (struct entry_draft){0};
	buf_init(&d->text, ENTRY_BYTES_MAX - INDEX_DIGITS_MAX - 2 * JOURNAL_HASH_BYTES);
	buf_reserve(&d->text, USUAL_BYTES);
}

void entry_draft_release(struct entry_draft *d)
{
	buf_release(&d->text);
}

enum err entry_draft_write(const struct journal_entry *entry, struct entry_draft *d)
{
	char opener = '{';

	for (size_t i = 0; i < FIELDS; i++) {
		if (!(actions[entry->action].fields & UINT32_C(1) << i))
			continue;
		if (!is_value_valid(entry, &fields[i]))
			return E_INVAL;
		buf_printf(&d->text, "%c\"%s\":", opener, fields[i].key);
		entry_put_value(entry, &fields[i], d);
		opener = ',';
	}
	buf_put_str(&d->text, "}");
	return buf_status(&d->text);
}

enum err entry_complete(const struct entry_draft *d, uint64_t index, const uint8_t prev[JOURNAL_HASH_BYTES],
			struct buf *out)
{
	char hash[2 * JOURNAL_HASH_BYTES + 1];

	str_hex(hash, prev, JOURNAL_HASH_BYTES);
	buf_put(out, d->text.data, d->index_at);
	buf_printf(out, "%" PRIu64, index);
	buf_put(out, d->text.data + d->index_at, d->prev_at - d->index_at);
	buf_put_str(out, hash);
	buf_put(out, d->text.data + d->prev_at, d->text.len - d->prev_at);
	return buf_status(out);
}

/* ---- reading ---- */

struct scan {
	const uint8_t *at;
	const uint8_t *end;
	bool ran_out; /* of text, where more of an entry was to come */
	char *memory; /* as much is free as there is text left */
};

static bool entry_scan_char(struct scan *s, char c)
{
	if (s->at == s->end) {
		s->ran_out = true;
		return false;
	}
	if (*s->at != (uint8_t)c)
		return false;
	s->at++;
	return true;
}

static bool entry_scan_word(struct scan *s, const char *word)
{
	while (*word)
		if (!entry_scan_char(s, *word++))
			return false;
	return true;
}

static bool entry_scan_sees(const struct scan *s, char c)
{
	return s->at < s->end && *s->at == (uint8_t)c;
}

/* Behind a backslash.  Of the control characters alone there is a \u, and that begins with \u00. */
static bool entry_scan_escaped(struct scan *s, char *ret_char)
{
	static const char escapes[][2] = {{'"', '"'},  {'\\', '\\'}, {'b', '\b'}, {'t', '\t'},
					  {'n', '\n'}, {'f', '\f'},  {'r', '\r'}};
	char digits[3] = {0};
	uint8_t byte;

	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
		if (entry_scan_sees(s, escapes[i][0])) {
			*ret_char = escapes[i][1];
			return entry_scan_char(s, escapes[i][0]);
		}
	}
	if (!entry_scan_word(s, "u00"))
		return false;
	for (size_t i = 0; i < 2; i++) {
		if (s->at == s->end) {
			s->ran_out = true;
			return false;
		}
		digits[i] = (char)*s->at++;
	}
	if (str_unhex(&byte, 1, digits) != E_OK || byte == 0)
		return false;
	*ret_char = (char)byte;
	return true;
}

static bool entry_scan_string(struct scan *s, const char **ret_text)
{
	char *text = s->memory;

	if (!entry_scan_char(s, '"'))
		return false;
	while (!entry_scan_sees(s, '"')) {
		if (s->at == s->end) {
			s->ran_out = true;
			return false;
		}
		if (*s->at < 0x20)
			return false;
		*s->memory = (char)*s->at++;
		if (*s->memory == '\\' && !entry_scan_escaped(s, s->memory))
			return false;
		s->memory++;
	}
	s->at++;
	*s->memory++ = '\0'; /* where the quote was */
	*ret_text = text;
	return true;
}

static bool entry_scan_number(struct scan *s, uint64_t *ret_number)
{
	const uint8_t *first = s->at;
	uint64_t number = 0;

	while (s->at < s->end && str_ascii_is_digit((char)*s->at) && number <= NUMBER_MAX)
		number = number * 10 + (uint64_t)(*s->at++ - '0');
	if (s->at == s->end)
		s->ran_out = true;
	*ret_number = number;
	return s->at > first && number <= NUMBER_MAX;
}

static bool entry_scan_names(struct scan *s, struct journal_entry *entry)
{
	const char *name;

	if (!entry_scan_char(s, '['))
		return false;
	if (entry_scan_sees(s, ']'))
		return entry_scan_char(s, ']');
	do {
		if (!entry_scan_string(s, &name) || entry->names_len == JOURNAL_NAMES_MAX ||
		    str_copy(entry->names[entry->names_len], KEY_NAME_SIZE, name) != E_OK)
			return false;
		entry->names_len++;
	} while (entry_scan_sees(s, ',') && entry_scan_char(s, ','));
	return entry_scan_char(s, ']');
}

static bool entry_scan_action(struct scan *s, struct journal_entry *entry)
{
	const char *name;

	if (!entry_scan_string(s, &name))
		return false;
	for (size_t i = 0; i < ACTIONS; i++) {
		if (strcmp(actions[i].name, name) == 0) {
			entry->action = (enum entry_action)i;
			return true;
		}
	}
	return false;
}

static bool entry_scan_id(struct scan *s, struct journal_entry *entry)
{
	const char *hex;

	if (!entry_scan_string(s, &hex) || strlen(hex) / 2 > JOURNAL_ID_MAX)
		return false;
	entry->id_len = strlen(hex) / 2;
	return str_unhex(entry->id, entry->id_len, hex) == E_OK;
}

static bool entry_scan_value(struct scan *s, const struct field *field, struct journal_entry *entry)
{
	const char *text;
	uint64_t number;

	switch (field->kind) {
	case KIND_ACTION:
		return entry_scan_action(s, entry);
	case KIND_BOOLEAN:
		entry->clean = entry_scan_sees(s, 't');
		return entry_scan_word(s, entry->clean ? "true" : "false");
	case KIND_HASH:
	case KIND_PREV:
		return entry_scan_string(s, &text) &&
		       str_unhex(field_in(entry, field), JOURNAL_HASH_BYTES, text) == E_OK;
	case KIND_ID:
		return entry_scan_id(s, entry);
	case KIND_INDEX:
	case KIND_NUMBER:
		return entry_scan_number(s, field_in(entry, field));
	case KIND_NAMES:
		return entry_scan_names(s, entry);
	case KIND_TEXT:
	case KIND_UUID:
		return entry_scan_string(s, field_in(entry, field));
	case KIND_TIME:
		return entry_scan_string(s, &text) && clock_parse_rfc3339(text, &entry->at_us) == E_OK;
	case KIND_TYPE:
		return entry_scan_string(s, &text) && key_type_parse(text, &entry->type) == E_OK;
	case KIND_VERSION:
		return entry_scan_number(s, &number) && number == FORMAT_VERSION;
	}
	return false;
}

/* The fields that the action has, each once, sorted. */
static bool entry_scan(struct scan *s, struct journal_entry *entry)
{
	uint32_t seen = 0;
	const char *key;

	if (!entry_scan_char(s, '{'))
		return false;
	do {
		size_t i = 0;

		if (!entry_scan_string(s, &key))
			return false;
		while (i < FIELDS && strcmp(fields[i].key, key) != 0)
			i++;
		if (i == FIELDS || seen >> i || !entry_scan_char(s, ':') ||
		    !entry_scan_value(s, &fields[i], entry))
			return false;
		seen |= UINT32_C(1) << i;
	} while (entry_scan_sees(s, ',') && entry_scan_char(s, ','));
	return entry_scan_char(s, '}') && seen == actions[entry->action].fields;
}

static struct scan entry_scan_of(const uint8_t *text, size_t len, struct journal_entry *entry)
{
	return (struct scan){.at = text, .end = text + len, .memory = entry->memory};
}

bool entry_is_cut_short(const uint8_t *text, size_t len)
{
	struct journal_entry entry = {0};
	struct scan s = entry_scan_of(text, len, &entry);

	return len <= ENTRY_BYTES_MAX && !entry_scan(&s, &entry) && s.ran_out;
}

/* Whatever else the reader takes is written in another way. */
static enum err entry_compare(const struct journal_entry *entry, const uint8_t *text, size_t len)
{
	struct entry_draft draft;
	struct buf again;
	enum err e;

	entry_draft_init(&draft);
	buf_init(&again, ENTRY_BYTES_MAX);
	e = entry_draft_write(entry, &draft);
	if (e == E_OK)
		e = entry_complete(&draft, entry->index, entry->prev, &again);
	if (e == E_OK && (again.len != len || memcmp(again.data, text, len) != 0))
		e = E_PROTO;
	buf_release(&again);
	entry_draft_release(&draft);
	return e == E_OK || e == E_NOMEM ? e : E_PROTO;
}

enum err entry_read(const uint8_t *text, size_t len, struct journal_entry *ret_entry)
{
	struct scan s = entry_scan_of(text, len, ret_entry);

	*ret_entry = (struct journal_entry){0};
	if (len > ENTRY_BYTES_MAX || !entry_scan(&s, ret_entry) || s.at != s.end)
		return E_PROTO;
	return entry_compare(ret_entry, text, len);
}

enum err entry_leaf_hash(const uint8_t *text, size_t len, uint8_t ret_hash[JOURNAL_HASH_BYTES])
{
	struct tree_hash leaf;
	enum err e = tree_hash_leaf(text, len, &leaf);

	if (e == E_OK)
		memcpy(ret_hash, leaf.bytes, sizeof(leaf.bytes));
	return e;
}
