/* SPDX-License-Identifier: Apache-2.0 */
/* Entries written.  Members are in the order of their names. */
#include "tlog/log_entry.h"

#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"
#include "tlog/base64.h"

#include <string.h>

#define FORMAT_VERSION 1

struct log_entry_writer {
	struct json_writer json;
	struct buf *out;
	size_t first; /* of the buffer: where the entry begins */
	enum err status;
};

static void log_entry_begin(struct log_entry_writer *w, struct buf *out)
{
	*w = (struct log_entry_writer){.out = out, .first = out->len};
	json_writer_init(&w->json, out);
	json_write_canonical(&w->json);
	json_open_object(&w->json);
}

static enum err log_entry_end(struct log_entry_writer *w)
{
	json_close(&w->json);
	if (w->status == E_OK)
		w->status = buf_status(w->out);
	return w->status == E_OK && w->out->len - w->first > LOG_ENTRY_BYTES_MAX ? E_LIMIT : w->status;
}

static void log_entry_text(struct log_entry_writer *w, const char *name, const char *text)
{
	if (!text)
		return;
	if (!utf8_is_valid(text, strlen(text)))
		w->status = E_INVAL;
	json_put_text_member(&w->json, name, text);
}

static void log_entry_number(struct log_entry_writer *w, const char *name, uint64_t number)
{
	if (number > JSON_INT_MAX)
		w->status = E_INVAL;
	json_put_int_member(&w->json, name, (int64_t)number);
}

static void log_entry_hex(struct log_entry_writer *w, const char *name, const struct tree_hash *hash)
{
	char text[2 * TREE_HASH_BYTES + 1];

	if (!hash)
		return;
	str_hex(text, hash->bytes, sizeof(hash->bytes));
	json_put_text_member(&w->json, name, text);
}

static void log_entry_base64(struct log_entry_writer *w, const char *name, const uint8_t *bytes, size_t len)
{
	char text[BASE64_SIZE(TREE_HASH_BYTES)];

	base64_text(text, bytes, len);
	json_put_text_member(&w->json, name, text);
}

enum err log_entry_put(const struct log_entry *entry, struct buf *out)
{
	struct log_entry_writer w;

	log_entry_begin(&w, out);
	log_entry_text(&w, "action", entry->action);
	json_put_time_member(&w.json, "at", entry->at_us);
	log_entry_number(&w, "index", entry->index);
	log_entry_text(&w, "node", entry->node);
	log_entry_number(&w, "nodeseq", entry->node_sequence);
	log_entry_text(&w, "object", entry->object);
	log_entry_text(&w, "outcome", entry->outcome);
	log_entry_base64(&w, "private", entry->private_hash.bytes, TREE_HASH_BYTES);
	log_entry_hex(&w, "spki", entry->spki);
	log_entry_hex(&w, "statement", entry->statement);
	log_entry_number(&w, "v", FORMAT_VERSION);
	return log_entry_end(&w);
}

enum err log_entry_put_private(const struct log_private *part, struct buf *out)
{
	struct log_entry_writer w;

	log_entry_begin(&w, out);
	log_entry_text(&w, "account", part->account);
	log_entry_text(&w, "actor", part->actor);
	log_entry_text(&w, "detail", part->detail);
	log_entry_text(&w, "peer", part->peer);
	log_entry_text(&w, "request", part->request);
	log_entry_hex(&w, "row", part->row);
	log_entry_base64(&w, "salt", part->salt, sizeof(part->salt));
	return log_entry_end(&w);
}
