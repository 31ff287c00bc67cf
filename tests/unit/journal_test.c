/* SPDX-License-Identifier: Apache-2.0 */
/* The journal on a disk that works: its form, the life of a name, restarts, many threads. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/journal_fixture.h"

#include "base/clock.h"
#include "hsm/signer/journal/bundle.h"
#include "hsm/signer/journal/entry.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the form ---- */

/* The texts of the tail's entries, each with an end of line. */
static void tail_texts(const struct fixture *f, struct buf *texts)
{
	const uint8_t *text;
	size_t len, offset = 0;
	struct buf tail;

	file_read(f, "tail", &tail);
	buf_init(texts, 1 << 20);
	while (bundle_next(&tail, &offset, &text, &len)) {
		buf_put(texts, text, len);
		buf_put_str(texts, "\n");
	}
	assert_int_equal(offset, tail.len);
	buf_release(&tail);
}

/* Adds an entry as it must be, given up to its index, from there up to prev, and behind it. */
static void expect(struct buf *expected, const char *start, const char *middle, const char *end)
{
	char prev[2 * SHA256_DIGEST_LENGTH + 1] = "";
	uint8_t leaf[1 + 4096] = {0}, hash[SHA256_DIGEST_LENGTH];
	size_t line = 0, lines = 0;

	for (size_t i = 0; i < expected->len; i++) {
		if (expected->data[i] != '\n')
			continue;
		memcpy(leaf + 1, expected->data + line, i - line);
		SHA256(leaf, 1 + i - line, hash);
		str_hex(prev, hash, sizeof(hash));
		line = i + 1;
		lines++;
	}
	if (lines == 0)
		memset(prev, '0', sizeof(prev) - 1);
	buf_printf(expected, "{%s\"index\":%zu,%s\"prev\":\"%s\"%s}\n", start, lines, middle, prev, end);
}

#define AT "\"at\":\"" CLOCK_TEXT "\","
#define NODE "\"node\":\"a\","
#define V ",\"v\":1"

static void entries_have_the_form_of_the_docs(void **state)
{
	struct fixture *f = *state;
	const struct journal_start start = {"0.1.0", "/usr/lib/module.so", "0123", true};
	char names[2][KEY_NAME_SIZE], begin[256], middle[256], end[256], hex[2 * JOURNAL_HASH_BYTES + 1];
	const uint8_t hash[JOURNAL_HASH_BYTES] = {0xab, [31] = 0xcd}, id[] = {0, 0xff};
	struct journal_made made = {
	    .type = KEY_RSA3072, .id = id, .id_len = 2, .spki = hash, .attributes = "t"};
	struct journal_used used = {.csr = UUID_1, .digest = hash, .tbs = hash};
	struct buf expected, found;
	const char *bound[1];
	uint64_t index;

	fixture_open(f);
	str_hex(hex, hash, sizeof(hash));
	buf_init(&expected, 1 << 20);
	assert_int_equal(journal_start(f->j, &start, &index), E_OK);
	assert_int_equal(index, 0);
	expect(&expected, "\"action\":\"start\"," AT "\"clean\":true,",
	       "\"module\":\"/usr/lib/module.so\"," NODE,
	       ",\"serial\":\"0123\",\"v\":1,\"version\":\"0.1.0\"");
	assert_int_equal(journal_login(f->j, "ok", NULL), E_OK);
	expect(&expected, "\"action\":\"login\"," AT, NODE "\"outcome\":\"ok\",", V);
	assert_int_equal(journal_probe(f->j, "reading was refused", NULL), E_OK);
	expect(&expected, "\"action\":\"probe\"," AT, NODE, ",\"text\":\"reading was refused\"" V);
	assert_int_equal(journal_reserve(f->j, KEY_RSA3072, 2, names, &index), E_OK);
	assert_int_equal(index, 3);
	snprintf(middle, sizeof(middle), "\"names\":[\"%s\",\"%s\"]," NODE, names[0], names[1]);
	expect(&expected, "\"action\":\"reserve\"," AT, middle, ",\"type\":\"rsa3072\"" V);
	made.name = used.name = bound[0] = names[0];
	assert_int_equal(journal_made(f->j, &made, NULL), E_OK);
	snprintf(middle, sizeof(middle), "\"name\":\"%s\"," NODE, names[0]);
	snprintf(end, sizeof(end), ",\"spki\":\"%s\",\"type\":\"rsa3072\"" V, hex);
	expect(&expected, "\"action\":\"made\"," AT "\"attributes\":\"t\",\"id\":\"00ff\",", middle, end);
	assert_int_equal(journal_used(f->j, &used, NULL), E_OK);
	snprintf(begin, sizeof(begin), "\"action\":\"used\"," AT "\"csr\":\"" UUID_1 "\",\"digest\":\"%s\",",
		 hex);
	snprintf(end, sizeof(end), ",\"tbs\":\"%s\"" V, hex);
	expect(&expected, begin, middle, end);
	assert_int_equal(journal_bound(f->j, bound, 1, NULL), E_OK);
	snprintf(middle, sizeof(middle), "\"names\":[\"%s\"]," NODE, names[0]);
	expect(&expected, "\"action\":\"bound\"," AT, middle, V);
	assert_int_equal(journal_destroyed(f->j, names[1], 2, "it was asked for", NULL), E_OK);
	snprintf(middle, sizeof(middle), "\"name\":\"%s\"," NODE "\"objects\":2,", names[1]);
	expect(&expected, "\"action\":\"destroyed\"," AT, middle, V ",\"why\":\"it was asked for\"");
	/* RFC 8785 §3.2.2.2; a name that is none of ours */
	assert_int_equal(journal_refuse(f->j, "csrd:1", "\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9", NULL), E_OK);
	expect(&expected, "\"action\":\"refuse\"," AT, "\"name\":\"csrd:1\"," NODE,
	       V ",\"why\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\"");
	fixture_close(f, true);
	expect(&expected, "\"action\":\"stop\"," AT, NODE, V);
	tail_texts(f, &found);
	assert_string_equal(buf_text(&found), buf_text(&expected));
	assert_int_equal(chain_check(f), 10);
	buf_release(&found);
	buf_release(&expected);
	fixture_open(f); /* the reader takes all of it */
	assert_int_equal(f->report.entries, 10);
}

static void only_the_one_text_is_an_entry(void **state)
{
#define BEFORE "{\"action\":\"probe\",\"at\":\"" CLOCK_TEXT "\",\"index\":0,\"node\":\"a\",\"prev\":\""
#define ZEROS "00000000000000000000000000000000000000000000000000000000000000"
	static const char right[] = BEFORE ZEROS "aa\",\"text\":\"x/\xc3\xa9\",\"v\":1}";
	static const struct {
		const char *part, *instead;
	} changes[] = {
	    {",", ", "},
	    {"{", " {"},
	    {"}", "} "},
	    {"}", "}}"},
	    {"}", ""},
	    {"}", ",}"},
	    {"}", ",\"v\":1}"},
	    {"}", ",\"why\":\"x\"}"},
	    {"}", ",\"zzz\":1}"},
	    {"\"text\":\"x/\xc3\xa9\",", ""},
	    {"\"index\":0,\"node\":\"a\"", "\"node\":\"a\",\"index\":0"},
	    {"\"v\":1", "\"v\":2"},
	    {"\"v\":1", "\"v\":01"},
	    {"\"v\":1", "\"v\":1.0"},
	    {"\"v\":1", "\"v\":\"1\""},
	    {"\"index\":0", "\"index\":-1"},
	    {"\"index\":0", "\"index\":00"},
	    {"\"index\":0", "\"index\":9007199254740992"},
	    {"\"index\":0", "\"index\":"},
	    {"aa\"", "AA\""},
	    {"aa\"", "a\""},
	    {"aa\"", "aaaa\""},
	    {"x/", "x\\/"},
	    {"x/", "\\u0078/"},
	    {"x/", "\\u0000"},
	    {"x/", "\\u000A"},
	    {"x/", "\\u000a"},
	    {"x/", "\n"},
	    {"x/", "\\q"},
	    {"\xc3\xa9", "\xc3"},
	    {"\xc3\xa9", "\xed\xa0\x80"},
	    {"T10", "t10"},
	    {"56Z", "5Z"},
	    {"Z\"", "+00:00\""},
	    {"probe", "unknown"},
	    {"probe", "stop"},
	    {"\"text\"", "\"te\\u0078t\""},
	};
	struct journal_entry entry;

	(void)state;
	assert_int_equal(entry_read((const uint8_t *)right, strlen(right), &entry), E_OK);
	assert_string_equal(entry.text, "x/\xc3\xa9");
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const char *at = strstr(right, changes[i].part);
		char text[512];

		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - right), right, changes[i].instead,
			 at + strlen(changes[i].part));
		if (entry_read((const uint8_t *)text, strlen(text), &entry) != E_PROTO)
			fail_msg("taken: %s", text);
	}
	for (size_t len = 0; len < strlen(right); len++) {
		assert_int_equal(entry_read((const uint8_t *)right, len, &entry), E_PROTO);
		assert_true(entry_is_cut_short((const uint8_t *)right, len));
	}
	assert_false(entry_is_cut_short((const uint8_t *)right, strlen(right)));
}

/* A tail of these entries, of which only action, name and index count. */
static void forge_tail(struct fixture *f, const struct journal_entry *entries, size_t len)
{
	uint8_t head[JOURNAL_HASH_BYTES] = {0};
	struct buf tail;

	fixture_open(f);
	fixture_close(f, false);
	buf_init(&tail, 1 << 16);
	for (size_t i = 0; i < len; i++) {
		struct journal_entry entry = entries[i];
		struct entry_draft draft;

		entry.node = "a";
		entry.type = KEY_P256V1;
		entry.id_len = entry.names_len = 1;
		entry.attributes = entry.why = "x";
		entry.csr = UUID_1;
		key_name_format(entry.names[0], (const uint8_t *)"sixteen bytes...");
		entry.name = entry.names[0];
		entry_draft_init(&draft);
		assert_int_equal(entry_draft_write(&entry, &draft), E_OK);
		assert_int_equal(bundle_put(&tail, &draft, entry.index, head, head), E_OK);
		entry_draft_release(&draft);
	}
	file_write(f, "tail", tail.data, tail.len);
	buf_release(&tail);
}

/* The chain is whole, but what it tells cannot have been written by a journal. */
static void an_impossible_history_is_refused(void **state)
{
	static const struct journal_entry right[] = {{.action = ENTRY_RESERVE},
						     {.action = ENTRY_MADE, .index = 1},
						     {.action = ENTRY_USED, .index = 2},
						     {.action = ENTRY_BOUND, .index = 3}};
	static const struct journal_entry twice[] = {{.action = ENTRY_RESERVE},
						     {.action = ENTRY_MADE, .index = 1},
						     {.action = ENTRY_USED, .index = 2},
						     {.action = ENTRY_USED, .index = 3}};
	static const struct journal_entry unmade[] = {{.action = ENTRY_RESERVE},
						      {.action = ENTRY_USED, .index = 1}};
	static const struct journal_entry unknown[] = {{.action = ENTRY_DESTROYED}};
	static const struct journal_entry gap[] = {{.action = ENTRY_STOP},
						   {.action = ENTRY_STOP, .index = 2}};
	static const struct {
		const struct journal_entry *entries;
		size_t len;
		const char *text;
	} wrong[] = {{twice, 4, "entry 3: its key cannot have taken that step"},
		     {unmade, 2, "entry 1: its key cannot have taken that step"},
		     {unknown, 1, "entry 0: its key cannot have taken that step"},
		     {gap, 2, "entry 1: it has another index"}};
	struct fixture *f = *state;

	forge_tail(f, right, 4);
	fixture_open(f);
	assert_int_equal(f->report.entries, 4);
	fixture_close(f, false);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(fixture_teardown(state), 0);
		assert_int_equal(fixture_setup(state), 0);
		f = *state;
		forge_tail(f, wrong[i].entries, wrong[i].len);
		assert_int_equal(fixture_try(f), E_STORE);
		assert_int_equal(log_count(wrong[i].text), 1);
	}
}

static void bundles_have_the_paths_of_tlog_tiles(void **state)
{
	static const struct {
		uint64_t number;
		const char *path;
	} known[] = {
	    {0, "tile/entries/000"},
	    {67, "tile/entries/067"},
	    {999, "tile/entries/999"},
	    {1000, "tile/entries/x001/000"},
	    {1234067, "tile/entries/x001/x234/067"},
	    {UINT64_C(1) << 45, "tile/entries/x035/x184/x372/x088/832"},
	};
	char path[BUNDLE_PATH_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		bundle_path(known[i].number, path);
		assert_string_equal(path, known[i].path);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	struct fixture *f = *state;
	char *names = calloc(JOURNAL_NAMES_MAX + 1, KEY_NAME_SIZE), big[4000], *escaped = big;
	char(*list)[KEY_NAME_SIZE] = (char(*)[KEY_NAME_SIZE])names;
	const char *bound[JOURNAL_END_MAX + 1] = {0};

	assert_non_null(names);
	fixture_open(f);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(journal_probe(f->j, big, NULL), E_LIMIT);
	escaped[1000] = '\0';
	memset(escaped, 1, 1000); /* six bytes each */
	assert_int_equal(journal_probe(f->j, escaped, NULL), E_LIMIT);
	assert_int_equal(journal_probe(f->j, "\xff", NULL), E_INVAL);
	assert_int_equal(journal_probe(f->j, NULL, NULL), E_INVAL);
	assert_int_equal(journal_reserve(f->j, KEY_P256V1, 0, list, NULL), E_LIMIT);
	assert_int_equal(journal_reserve(f->j, KEY_P256V1, JOURNAL_NAMES_MAX + 1, list, NULL), E_LIMIT);
	assert_int_equal(journal_reserve(f->j, (enum key_type)77, 1, list, NULL), E_INVAL);
	assert_int_equal(journal_bound(f->j, bound, 0, NULL), E_LIMIT);
	assert_int_equal(journal_bound(f->j, bound, JOURNAL_END_MAX + 1, NULL), E_LIMIT);
	assert_int_equal(journal_size(f->j), 0);
	assert_int_equal(journal_reserve(f->j, KEY_P256V1, JOURNAL_NAMES_MAX, list, NULL), E_OK);
	for (size_t i = 0; i < JOURNAL_NAMES_MAX; i++) {
		char uuid[UUID_SIZE];

		snprintf(uuid, sizeof(uuid), "11111111-1111-4111-8111-%012zu", i);
		name_make(f, list[i]);
		assert_int_equal(name_use(f, list[i], uuid), E_OK);
		bound[i] = list[i];
	}
	assert_int_equal(journal_bound(f->j, bound, JOURNAL_NAMES_MAX, NULL), E_OK);
	assert_int_equal(chain_check(f), 2 + 2 * JOURNAL_NAMES_MAX);
	free(names);
}

/* ---- the life of a name ---- */

static enum err try_made(struct fixture *f, const char *name, enum key_type type)
{
	static const uint8_t hash[JOURNAL_HASH_BYTES] = {9}, id[] = {9};
	const struct journal_made made = {
	    .name = name, .type = type, .id = id, .id_len = 1, .spki = hash, .attributes = ""};

	return journal_made(f->j, &made, NULL);
}

static enum err try_bound(struct fixture *f, const char *name)
{
	return journal_bound(f->j, &name, 1, NULL);
}

/* What is tried with a name in each of its states; the one that is right is not among them. */
static void steps_fail(struct fixture *f, const char *name, const char *steps, enum err expected)
{
	uint64_t size = journal_size(f->j);

	for (; *steps; steps++) {
		enum err e = *steps == 'm'   ? try_made(f, name, KEY_P256V1)
			     : *steps == 'u' ? name_use(f, name, UUID_2)
			     : *steps == 'b' ? try_bound(f, name)
					     : journal_destroyed(f->j, name, 2, "no", NULL);

		if (e != expected)
			fail_msg("step %c of '%s': %s", *steps, name, err_str(e));
	}
	assert_int_equal(journal_size(f->j), size);
}

/* I3: also after a restart, with the snapshot and without it. */
static void restart(struct fixture *f, unsigned how)
{
	char path[PATH_MAX];

	if (how == 0)
		return;
	fixture_close(f, how == 1);
	if (how == 3) {
		fixture_path(f, "live", path);
		remove(path);
	}
	fixture_open(f);
}

static void a_name_takes_no_other_step(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	for (unsigned how = 0; how < 4; how++) {
		char name[KEY_NAME_SIZE], csr[UUID_SIZE];

		snprintf(csr, sizeof(csr), "11111111-1111-4111-8111-%012u", how);
		steps_fail(f, "csrd-aaaaaaaaaaaaaaaaaaaaaaaaaa", "mubd", E_NOTFOUND);
		steps_fail(f, "csrd:" UUID_1, "mubd", E_NOTFOUND);
		name_reserve(f, name);
		restart(f, how);
		steps_fail(f, name, "ub", E_BUG);
		assert_int_equal(try_made(f, name, KEY_RSA2048), E_BUG);
		assert_int_equal(name_state(f, name), JOURNAL_RESERVED);
		name_make(f, name);
		restart(f, how);
		steps_fail(f, name, "mb", E_BUG);
		assert_int_equal(name_state(f, name), JOURNAL_MADE);
		assert_int_equal(name_use(f, name, csr), E_OK);
		restart(f, how);
		steps_fail(f, name, "mu", E_BUG);
		assert_int_equal(name_state(f, name), JOURNAL_USED);
		assert_int_equal(try_bound(f, name), E_OK);
		restart(f, how);
		steps_fail(f, name, "mubd", E_NOTFOUND);
		assert_int_equal(name_state(f, name), 0);
	}
}

/* A module's text is no reason not to write that a key is gone. */
static void whatever_is_said_of_an_end_is_written(void **state)
{
	struct fixture *f = *state;
	char name[KEY_NAME_SIZE], text[2000];

	fixture_open(f);
	name_reserve(f, name);
	assert_int_equal(journal_destroyed(f->j, name, 0, "K\xf6ln \xc3\xb6 \xc3", NULL), E_OK);
	name_reserve(f, name);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = i % 2 ? '\xb6' : '\xc3';
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(journal_destroyed(f->j, name, 0, text, NULL), E_OK);
	name_reserve(f, name);
	memset(text, '\xff', sizeof(text) - 1);
	assert_int_equal(journal_destroyed(f->j, name, 0, text, NULL), E_OK);
	restart(f, 2);
	steps_fail(f, name, "mubd", E_NOTFOUND);
}

/* From each state it can be destroyed, once. */
static void a_destroyed_name_is_gone(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	for (unsigned steps = 0; steps < 3; steps++) {
		char name[KEY_NAME_SIZE];
		struct journal_key key;

		name_reserve(f, name);
		if (steps >= 1)
			name_make(f, name);
		if (steps >= 2)
			assert_int_equal(name_use(f, name, UUID_1), E_OK);
		assert_int_equal(journal_destroyed(f->j, name, 2, "the test", NULL), E_OK);
		steps_fail(f, name, "mubd", E_NOTFOUND);
		restart(f, 2);
		steps_fail(f, name, "mubd", E_NOTFOUND);
		assert_int_equal(journal_find_csr(f->j, UUID_1, &key), E_NOTFOUND);
	}
}

static void a_csr_has_one_key(void **state)
{
	struct fixture *f = *state;
	char first[KEY_NAME_SIZE], second[KEY_NAME_SIZE], third[KEY_NAME_SIZE];
	struct journal_key key;

	fixture_open(f);
	name_reserve(f, first);
	name_reserve(f, second);
	name_make(f, first);
	name_make(f, second);
	assert_int_equal(name_use(f, first, UUID_1), E_OK);
	assert_int_equal(name_use(f, second, UUID_1), E_EXISTS);
	assert_int_equal(name_use(f, second, "not-a-uuid"), E_INVAL);
	assert_int_equal(name_use(f, second, "11111111-1111-4111-8111-11111111111A"), E_INVAL);
	disk_fail(DISK_PWRITE, EIO); /* what was not written leaves nothing behind */
	assert_int_equal(name_use(f, second, UUID_2), E_UNAVAIL);
	disk_heal();
	name_reserve(f, third);
	name_make(f, third);
	assert_int_equal(name_use(f, third, UUID_2), E_OK);
	assert_int_equal(journal_destroyed(f->j, third, 2, "the test", NULL), E_OK);
	assert_int_equal(name_state(f, second), JOURNAL_MADE);
	assert_int_equal(name_use(f, second, UUID_2), E_OK);
	assert_int_equal(journal_find_csr(f->j, UUID_2, &key), E_OK);
	assert_string_equal(key.name, second);
}

/* All of the names or none. */
static void a_batch_is_bound_whole(void **state)
{
	struct fixture *f = *state;
	char first[KEY_NAME_SIZE], second[KEY_NAME_SIZE];
	const char *const both[] = {first, second}, *const twice[] = {first, first};

	fixture_open(f);
	name_reserve(f, first);
	name_reserve(f, second);
	name_make(f, first);
	name_make(f, second);
	assert_int_equal(name_use(f, first, UUID_1), E_OK);
	assert_int_equal(journal_bound(f->j, both, 2, NULL), E_BUG);
	assert_int_equal(journal_bound(f->j, twice, 2, NULL), E_INVAL);
	assert_int_equal(name_state(f, first), JOURNAL_USED);
	assert_int_equal(name_use(f, second, UUID_2), E_OK);
	assert_int_equal(journal_bound(f->j, both, 2, NULL), E_OK);
	assert_int_equal(journal_bound(f->j, both, 2, NULL), E_NOTFOUND);
}

/* What is known of a key, and the same after each kind of restart. */
/*
 * F448: as many as one CONFIRM has, with one write.  F449: pages of used keys are in the order of their use,
 * after a start too.  F450: which are kept without a row can be told from those that have one.
 */
static void many_names_end_at_once_F448_F449_F450(void **state)
{
	enum { BLOCKS = JOURNAL_END_MAX / JOURNAL_NAMES_MAX, PAGE = 100 };
	struct fixture *f = *state;
	char(*names)[KEY_NAME_SIZE] = calloc(JOURNAL_END_MAX, sizeof(*names));
	struct journal_key *page = calloc(PAGE, sizeof(*page));
	const char *list[JOURNAL_END_MAX];
	struct buf tail;
	uint64_t from, seen;
	bool more;

	assert_true(names && page);
	for (unsigned round = 0; round < 2; round++) {
		fixture_open(f);
		for (size_t i = 0; i < BLOCKS; i++)
			assert_int_equal(journal_reserve(f->j, KEY_P256V1, JOURNAL_NAMES_MAX,
							 names + i * JOURNAL_NAMES_MAX, NULL),
					 E_OK);
		for (size_t i = 0; i < JOURNAL_END_MAX; i++) {
			char uuid[UUID_SIZE];

			snprintf(uuid, sizeof(uuid), "11111111-1111-4111-8111-%012zu", i);
			list[i] = names[i];
			name_make(f, names[i]);
			assert_int_equal(name_use(f, names[i], uuid), E_OK);
		}
		fixture_close(f, true);
		fixture_open(f);
		from = seen = 0;
		do {
			size_t len = journal_list_used(f->j, from, page, PAGE, &more);

			for (size_t i = 0; i < len; i++, seen++) {
				assert_string_equal(page[i].name, names[seen]);
				from = page[i].index + 1;
			}
		} while (more);
		assert_int_equal(seen, JOURNAL_END_MAX);
		list[7] = names[8];
		assert_int_equal(journal_bound(f->j, list, JOURNAL_END_MAX, NULL), E_INVAL);
		list[7] = names[7];
		disk_reset();
		assert_int_equal(round ? journal_kept(f->j, list, JOURNAL_END_MAX, NULL)
				       : journal_bound(f->j, list, JOURNAL_END_MAX, NULL),
				 E_OK);
		assert_int_equal(disk_count(DISK_FDATASYNC), 1);
		assert_int_equal(journal_list_used(f->j, 0, page, PAGE, &more), 0);
		file_read(f, "tail", &tail);
		assert_non_null(strstr(buf_text(&tail) + tail.len - 2600,
				       round ? "{\"action\":\"kept\"" : "{\"action\":\"bound\""));
		buf_release(&tail);
		fixture_close(f, false);
		fixture_open(f); /* and it reads what it wrote */
		assert_int_equal(journal_list_used(f->j, 0, page, PAGE, &more), 0);
		fixture_close(f, true);
	}
	free(page);
	free(names);
}

static void names_outlive_restarts(void **state)
{
	struct fixture *f = *state;
	char names[3][KEY_NAME_SIZE];
	struct journal_key *keys, key;
	size_t len;

	fixture_open(f);
	assert_true(f->report.created);
	assert_int_equal(journal_reserve(f->j, KEY_P256V1, 3, names, NULL), E_OK);
	name_make(f, names[0]);
	name_make(f, names[1]);
	assert_int_equal(name_use(f, names[1], UUID_1), E_OK);
	for (unsigned how = 0; how < 4; how++) {
		restart(f, how);
		assert_false(f->report.created && how > 0);
		assert_int_equal(f->report.clean, how == 1);
		assert_int_equal(f->report.rebuilt, how >= 2); /* after how == 1 a note was appended */
		assert_int_equal(
		    journal_list(f->j, JOURNAL_RESERVED | JOURNAL_MADE | JOURNAL_USED, &keys, &len), E_OK);
		assert_int_equal(len, 3);
		assert_true(strcmp(keys[0].name, keys[1].name) < 0 && strcmp(keys[1].name, keys[2].name) < 0);
		free(keys);
		assert_int_equal(journal_list(f->j, JOURNAL_MADE, &keys, &len), E_OK);
		assert_int_equal(len, 1);
		assert_string_equal(keys[0].name, names[0]);
		assert_int_equal(keys[0].type, KEY_P256V1);
		assert_int_equal(keys[0].id_len, 2);
		assert_memory_equal(keys[0].id, "\1\2", 2);
		assert_int_equal(keys[0].spki[0], 3);
		assert_int_equal(keys[0].index, 1);
		assert_string_equal(keys[0].csr, "");
		free(keys);
		assert_int_equal(journal_find_csr(f->j, UUID_1, &key), E_OK);
		assert_string_equal(key.name, names[1]);
		assert_string_equal(key.csr, UUID_1);
		assert_int_equal(key.index, 3);
		assert_int_equal(journal_find_csr(f->j, UUID_2, &key), E_NOTFOUND);
		assert_int_equal(name_state(f, names[2]), JOURNAL_RESERVED);
		if (how == 1) { /* so that the next stop is not a clean one */
			char path[PATH_MAX];

			notes_append(f, 1);
			fixture_path(f, "live", path);
			remove(path);
		}
	}
	assert_int_equal(journal_list(f->j, 0, &keys, &len), E_OK);
	assert_null(keys);
}

/* ---- bundles and starts ---- */

static void a_start_reads_two_bundles_at_most(void **state)
{
	struct fixture *f = *state;
	char name[KEY_NAME_SIZE], path[PATH_MAX];
	struct stat st;

	fixture_open(f);
	name_reserve(f, name);
	for (unsigned size = 1; size < 1000; size++) {
		notes_append(f, 1);
		if (size % 100 == 99 || size % 256 == 255 || size % 256 <= 1) {
			fixture_close(f, false);
			fixture_open(f);
			assert_int_equal(f->report.entries, size + 1);
			assert_true(f->report.bundles <= 2);
			assert_int_equal(f->report.rebuilt, size == 1); /* then there is a snapshot */
			assert_int_equal(name_state(f, name), JOURNAL_RESERVED);
		}
	}
	for (uint64_t number = 0; number < 3; number++) {
		char bundle[BUNDLE_PATH_SIZE];

		bundle_path(number, bundle);
		fixture_path(f, bundle, path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0400);
	}
	assert_false(file_exists(f, "tile/entries/003"));
	assert_int_equal(stat(f->folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(chain_check(f), 1000);
	fixture_close(f, true);
	fixture_open(f);
	assert_true(f->report.clean);
	assert_int_equal(f->report.bundles, 0);
	assert_int_equal(journal_size(f->j), 1001);
	restart(f, 3);
	assert_true(f->report.rebuilt);
	assert_int_equal(f->report.bundles, 3);
	assert_int_equal(name_state(f, name), JOURNAL_RESERVED);
	restart(f, 2); /* the snapshot is there again */
	assert_false(f->report.rebuilt);
}

static void the_size_costs_a_start_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t begin_ms;

	fixture_open(f);
	notes_append(f, 100000);
	fixture_close(f, false);
	begin_ms = clock_ms();
	fixture_open(f);
	begin_ms = clock_ms() - begin_ms;
	assert_int_equal(f->report.entries, 100000);
	assert_true(f->report.bundles <= 2);
	if (begin_ms >= 1000)
		fail_msg("opening takes %llu ms", (unsigned long long)begin_ms);
}

static void entries_are_read_back(void **state)
{
	struct fixture *f = *state;
	uint8_t leaf[JOURNAL_HASH_BYTES], hash[SHA256_DIGEST_LENGTH], input[5000] = {0};
	uint64_t from = 0;
	struct buf all;
	size_t len;

	fixture_open(f);
	notes_append(f, 600);
	buf_init(&all, 1 << 20);
	do {
		assert_int_equal(journal_read(f->j, from, 100, &all, &len), E_OK);
		assert_true(len <= 100 && (from + len) % 256 <= 100 + from % 256);
		from += len;
	} while (len);
	assert_int_equal(from, 600);
	file_write(f, "read-back", all.data, all.len); /* the same bytes as in the files */
	{
		struct buf file, together;

		buf_init(&together, 1 << 20);
		for (unsigned i = 0; i < 3; i++) {
			static const char *const names[] = {"tile/entries/000", "tile/entries/001", "tail"};

			file_read(f, names[i], &file);
			buf_put(&together, file.data, file.len);
			buf_release(&file);
		}
		assert_int_equal(together.len, all.len);
		assert_memory_equal(together.data, all.data, all.len);
		buf_release(&together);
	}
	for (uint64_t index = 0; index < 600; index += 599) {
		struct buf one;

		buf_init(&one, 5000);
		assert_int_equal(journal_read(f->j, index, 1, &one, &len), E_OK);
		memcpy(input + 1, one.data + 2, one.len - 2);
		SHA256(input, one.len - 1, hash);
		assert_int_equal(journal_leaf(f->j, index, leaf), E_OK);
		assert_memory_equal(leaf, hash, sizeof(leaf));
		buf_release(&one);
	}
	assert_int_equal(journal_leaf(f->j, 600, leaf), E_NOTFOUND);
	buf_release(&all);
}

/* The program in doc/journal.md, as it stands there. */
static void the_docs_tell_how_to_check(void **state)
{
	struct fixture *f = *state;
	uint8_t leaf[JOURNAL_HASH_BYTES];
	char command[256], line[256], expected[256], hex[2 * JOURNAL_HASH_BYTES + 1];
	struct buf tail;
	FILE *output;

	fixture_open(f);
	notes_append(f, 600);
	assert_int_equal(journal_leaf(f->j, 599, leaf), E_OK);
	str_hex(hex, leaf, sizeof(leaf));
	snprintf(expected, sizeof(expected), "600 entries; the leaf hash of the last one is %s\n", hex);
	for (unsigned is_changed = 0; is_changed < 2; is_changed++) {
		snprintf(command, sizeof(command),
			 "sed -n '/^```python/,/^```/{//!p}' doc/journal.md | /usr/bin/python3 - %s/journal "
			 "2>/dev/null",
			 f->home);
		output = popen(command, "r");
		assert_non_null(output);
		line[0] = '\0';
		assert_int_equal(fgets(line, sizeof(line), output) != NULL, !is_changed);
		assert_string_equal(line, is_changed ? "" : expected);
		assert_int_equal(pclose(output) == 0, !is_changed);
		file_read(f, "tail", &tail);
		tail.data[50] ^= 1;
		file_write(f, "tail", tail.data, tail.len);
		buf_release(&tail);
	}
}

static void one_process_has_it(void **state)
{
	struct fixture *f = *state;
	const struct journal_options options = {.folder = f->folder, .node = "a"};
	struct journal_report report;
	struct journal *second;

	fixture_open(f);
	assert_int_equal(journal_open(&options, &second, &report), E_EXISTS);
	assert_int_equal(log_count("is in use by another process"), 1);
	notes_append(f, 1);
	fixture_close(f, false);
	assert_int_equal(journal_open(&options, &second, &report), E_OK);
	journal_close(second, false);
}

/* ---- threads ---- */

#define THREADS 8
#define APPENDS 200

struct writer {
	pthread_t thread;
	struct fixture *f;
	bool seen[THREADS * APPENDS]; /* indices that it got */
};

static void *writer_run(void *arg)
{
	struct writer *w = arg;
	uint64_t index;

	for (unsigned i = 0; i < APPENDS; i++) {
		if (journal_probe(w->f->j, "one of many", &index) != E_OK || index >= THREADS * APPENDS)
			return NULL;
		w->seen[index] = true;
	}
	return w;
}

static void threads_share_the_disk(void **state)
{
	struct writer *writers = calloc(THREADS, sizeof(*writers));
	struct fixture *f = *state;

	assert_non_null(writers);
	fixture_open(f);
	disk_reset();
	disk.wait_us = 500; /* as long as a disk takes, so that there is something to share */
	for (unsigned i = 0; i < THREADS; i++) {
		writers[i].f = f;
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		void *done;

		assert_int_equal(pthread_join(writers[i].thread, &done), 0);
		assert_non_null(done);
	}
	for (unsigned index = 0; index < THREADS * APPENDS; index++) {
		unsigned owners = 0;

		for (unsigned i = 0; i < THREADS; i++)
			owners += writers[i].seen[index];
		assert_int_equal(owners, 1);
	}
	assert_int_equal(chain_check(f), THREADS * APPENDS);
	assert_true(file_exists(f, "tile/entries/005")); /* no batch went over the end of a bundle */
	assert_int_equal(disk_count(DISK_PWRITE), disk_count(DISK_FDATASYNC));
	if (disk_count(DISK_FDATASYNC) > THREADS * APPENDS / 2)
		fail_msg("%u syncs for %u appends", disk_count(DISK_FDATASYNC), THREADS * APPENDS);
	free(writers);
}

struct user {
	pthread_t thread;
	struct fixture *f;
	const char *name;
	const char *csr;
	enum err result;
};

static void *user_run(void *arg)
{
	struct user *u = arg;

	u->result = name_use(u->f, u->name, u->csr);
	return NULL;
}

/* Until the entry is durable the name is where it was, and no second step of it begins. */
static void a_step_is_taken_when_it_is_durable(void **state)
{
	struct fixture *f = *state;
	char name[KEY_NAME_SIZE];
	struct user first = {.f = f, .name = name, .csr = UUID_1},
		    second = {.f = f, .name = name, .csr = UUID_2};
	struct journal_key key;

	fixture_open(f);
	name_reserve(f, name);
	name_make(f, name);
	disk_fail(DISK_FDATASYNC, EIO);
	atomic_store(&disk.times, 1);
	disk_stop();
	assert_int_equal(pthread_create(&first.thread, NULL, user_run, &first), 0);
	disk_await_stop();
	assert_int_equal(journal_size(f->j), 2);
	assert_int_equal(journal_find(f->j, name, &key), E_OK);
	assert_int_equal(key.state, JOURNAL_MADE);
	assert_string_equal(key.csr, "");
	assert_int_equal(journal_find_csr(f->j, UUID_1, &key), E_NOTFOUND);
	disk_go_on();
	pthread_join(first.thread, NULL);
	assert_int_equal(first.result, E_UNAVAIL);
	assert_int_equal(name_state(f, name), JOURNAL_MADE);
	disk_stop();
	assert_int_equal(pthread_create(&first.thread, NULL, user_run, &first), 0);
	disk_await_stop();
	assert_int_equal(name_state(f, name), JOURNAL_MADE);
	assert_int_equal(pthread_create(&second.thread, NULL, user_run, &second), 0);
	disk_go_on();
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_int_equal(first.result, E_OK);
	assert_int_equal(second.result, E_BUG);
	assert_int_equal(journal_destroyed(f->j, name, 2, "the test", NULL), E_OK);
	/* If the first one fails, the second one is right. */
	name_reserve(f, name);
	name_make(f, name);
	disk_fail(DISK_FDATASYNC, EIO);
	atomic_store(&disk.times, 1);
	disk_stop();
	assert_int_equal(pthread_create(&first.thread, NULL, user_run, &first), 0);
	disk_await_stop();
	assert_int_equal(pthread_create(&second.thread, NULL, user_run, &second), 0);
	disk_go_on();
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_int_equal(first.result, E_UNAVAIL);
	assert_int_equal(second.result, E_OK);
	assert_int_equal(journal_find_csr(f->j, UUID_2, &key), E_OK);
	assert_int_equal(chain_check(f), 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(entries_have_the_form_of_the_docs),
	    cmocka_unit_test(only_the_one_text_is_an_entry),
	    TEST(an_impossible_history_is_refused),
	    cmocka_unit_test(bundles_have_the_paths_of_tlog_tiles),
	    TEST(what_does_not_fit_is_refused),
	    TEST(a_name_takes_no_other_step),
	    TEST(whatever_is_said_of_an_end_is_written),
	    TEST(a_destroyed_name_is_gone),
	    TEST(a_csr_has_one_key),
	    TEST(a_batch_is_bound_whole),
	    TEST(many_names_end_at_once_F448_F449_F450),
	    TEST(names_outlive_restarts),
	    TEST(a_start_reads_two_bundles_at_most),
	    TEST(the_size_costs_a_start_nothing),
	    TEST(entries_are_read_back),
	    TEST(the_docs_tell_how_to_check),
	    TEST(one_process_has_it),
	    TEST(threads_share_the_disk),
	    TEST(a_step_is_taken_when_it_is_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
