/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot, written and read. */
#include "hsm/signer/journal/live.h"

#include "base/str.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define HEAD                                                                                                 \
	"csrd-hsm: the names of keys that are not settled, so that a start need not read the whole "         \
	"journal\n"
#define FORMAT "format 1 entries %" PRIu64 " clean %u opens %" PRIu64 " leaf %s\n"
#define OPENED "opened" /* made, and its block was opened */
#define SUM_LINE "sum "
#define SUM_LINE_LEN (sizeof(SUM_LINE) - 1 + 2 * JOURNAL_HASH_BYTES + 1)
#define LINE_SIZE 512 /* of one name */
#define HASH_SIZE (2 * JOURNAL_HASH_BYTES + 1)

static void live_put_key(const struct journal_key *key, void *arg)
{
	char id[2 * JOURNAL_ID_MAX + 1], spki[HASH_SIZE];
	struct buf *text = arg;

	buf_printf(text, "%s %s %s %" PRIu64, key->name,
		   key->opened && key->state == JOURNAL_MADE ? OPENED : journal_state_name(key->state),
		   key_type_name(key->type), key->index);
	if (key->state != JOURNAL_RESERVED) {
		str_hex(id, key->id, key->id_len);
		str_hex(spki, key->spki, sizeof(key->spki));
		buf_printf(text, " %s %s", id, spki);
	}
	if (key->state == JOURNAL_USED)
		buf_printf(text, " %s", key->csr);
	buf_put_str(text, "\n");
}

/* The last line of a text that begins with these bytes. */
static enum err live_sum(const uint8_t *bytes, size_t len, char line[SUM_LINE_LEN + 1])
{
	uint8_t hash[JOURNAL_HASH_BYTES];
	char hex[HASH_SIZE];

	if (EVP_Digest(bytes, len, hash, NULL, EVP_sha256(), NULL) != 1)
		return E_NOMEM;
	str_hex(hex, hash, sizeof(hash));
	snprintf(line, SUM_LINE_LEN + 1, SUM_LINE "%s\n", hex);
	return E_OK;
}

enum err live_write(const struct live *live, const struct names *names, struct buf *text)
{
	char leaf[HASH_SIZE], sum[SUM_LINE_LEN + 1];
	enum err e;

	str_hex(leaf, live->leaf, sizeof(live->leaf));
	buf_put_str(text, HEAD);
	buf_printf(text, FORMAT, live->entries, live->clean, names_opens(names), leaf);
	names_each(names, live_put_key, text);
	e = buf_status(text);
	if (e == E_OK)
		e = live_sum(text->data, text->len, sum);
	if (e != E_OK)
		return e;
	buf_put_str(text, sum);
	return buf_status(text);
}

static bool live_state_parse(const char *text, enum journal_state *ret_state)
{
	for (unsigned state = JOURNAL_RESERVED; state <= JOURNAL_USED; state <<= 1) {
		if (strcmp(journal_state_name((enum journal_state)state), text) == 0) {
			*ret_state = (enum journal_state)state;
			return true;
		}
	}
	return false;
}

/* A line that is good enough to be written again and compared. */
static enum err live_read_key(const char *line, struct names *names)
{
	char state[16], type[16], id[2 * JOURNAL_ID_MAX + 1] = "", spki[HASH_SIZE] = "";
	struct journal_key key = {0};

	if (sscanf(line, "%31s %15s %15s %" SCNu64 "%*1[ ]%128[0-9a-f]%*1[ ]%64[0-9a-f]%*1[ ]%36[0-9a-f-]",
		   key.name, state, type, &key.index, id, spki, key.csr) < 4)
		return E_PROTO;
	key.opened = strcmp(state, OPENED) == 0;
	if (key.opened)
		snprintf(state, sizeof(state), "%s", journal_state_name(JOURNAL_MADE));
	if (!live_state_parse(state, &key.state) || key_type_parse(type, &key.type) != E_OK)
		return E_PROTO;
	key.id_len = strlen(id) / 2;
	if (key.state != JOURNAL_RESERVED && (str_unhex(key.id, key.id_len, id) != E_OK ||
					      str_unhex(key.spki, sizeof(key.spki), spki) != E_OK))
		return E_PROTO;
	if (key.state != JOURNAL_USED)
		key.csr[0] = '\0';
	return names_restore(names, &key);
}

static enum err live_read_lines(const char *text, const char *end, struct live *ret_live, struct names *names)
{
	char leaf[HASH_SIZE];
	struct live live = {0};
	const char *eol;
	uint64_t opens;
	unsigned clean;

	if (!str_starts_with(text, HEAD))
		return E_PROTO;
	text += strlen(HEAD);
	if (sscanf(text, "format 1 entries %" SCNu64 " clean %u opens %" SCNu64 " leaf %64s", &live.entries,
		   &clean, &opens, leaf) != 4 ||
	    str_unhex(live.leaf, sizeof(live.leaf), leaf) != E_OK)
		return E_PROTO;
	live.clean = clean;
	names_set_opens(names, opens);
	eol = memchr(text, '\n', (size_t)(end - text)); /* sscanf looks no further than a NUL */
	if (!eol)
		return E_PROTO;
	for (text = eol + 1; text < end; text = eol + 1) {
		char line[LINE_SIZE];
		enum err e;

		eol = memchr(text, '\n', (size_t)(end - text));
		if (!eol || (size_t)(eol - text) >= sizeof(line))
			return E_PROTO;
		memcpy(line, text, (size_t)(eol - text));
		line[eol - text] = '\0';
		e = live_read_key(line, names);
		if (e != E_OK)
			return e == E_NOMEM ? e : E_PROTO;
	}
	*ret_live = live;
	return names_end_restore(names);
}

enum err live_read(const struct buf *text, struct live *ret_live, struct names *names)
{
	char sum[SUM_LINE_LEN + 1];
	struct live live;
	struct buf again;
	size_t len;
	enum err e;

	if (text->len < SUM_LINE_LEN)
		return E_PROTO;
	len = text->len - SUM_LINE_LEN;
	if ((e = live_sum(text->data, len, sum)) != E_OK)
		return e;
	if (memcmp(text->data + len, sum, SUM_LINE_LEN) != 0)
		return E_PROTO;
	if ((e = live_read_lines(buf_text(text), buf_text(text) + len, &live, names)) != E_OK)
		return e;
	/* Whatever else was taken from the lines is written in another way. */
	buf_init(&again, LIVE_BYTES_MAX);
	e = live_write(&live, names, &again);
	if (e == E_OK && (again.len != text->len || memcmp(again.data, text->data, again.len) != 0))
		e = E_PROTO;
	buf_release(&again);
	if (e == E_OK)
		*ret_live = live;
	return e;
}
