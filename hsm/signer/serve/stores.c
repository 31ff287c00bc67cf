/* SPDX-License-Identifier: Apache-2.0 */
/* What csrd's stores were like when they were last seen: a line each, lineage and sequence. */
#include "hsm/signer/serve/stores.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 4096
#define HEX_LEN (2 * MESSAGE_LINEAGE_BYTES)

static bool stores_parse_line(char *line, struct message_store *ret)
{
	char *blank = strchr(line, ' ');

	if (!blank || blank - line != HEX_LEN)
		return false;
	*blank = '\0';
	return str_unhex(ret->lineage, MESSAGE_LINEAGE_BYTES, line) == E_OK &&
	       str_parse_u64(blank + 1, INT64_MAX, &ret->sequence) == E_OK;
}

static bool stores_parse(struct stores_list *s, char *text)
{
	char *rest = text;
	char *line;

	while (*rest && (line = strsep(&rest, "\n"))) {
		/* The last line has its end too, or it was cut. */
		if (!rest || s->len == MESSAGE_STORES_MAX || !stores_parse_line(line, &s->at[s->len]))
			return false;
		s->len++;
	}
	return true;
}

void stores_read(struct stores *s, const struct state_dir *dir)
{
	struct buf b;
	char *text;
	enum err e;

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->dir = dir;
	buf_init(&b, TEXT_MAX);
	e = state_dir_read(dir, STORES_NAME, &b);
	if (e == E_OK) {
		text = str_dup_len(buf_text(&b), b.len);
		e = !text ? E_NOMEM : stores_parse(&s->list, text) ? E_OK : E_INVAL;
		free(text);
	}
	buf_release(&b);
	if (e == E_OK || e == E_NOTFOUND)
		return;
	s->list.len = 0;
	log_err(e,
		"'%s/%s' cannot be read: no store is remembered, so csrd destroys no key of a CSR that was "
		"open",
		state_dir_path(dir), STORES_NAME);
}

static enum err stores_write(const struct state_dir *dir, const struct stores_list *s)
{
	struct buf b;
	int error;
	enum err e;

	buf_init(&b, TEXT_MAX);
	for (size_t i = 0; i < s->len; i++) {
		char hex[HEX_LEN + 1];

		str_hex(hex, s->at[i].lineage, MESSAGE_LINEAGE_BYTES);
		buf_printf(&b, "%s %" PRIu64 "\n", hex, s->at[i].sequence);
	}
	FAILPOINT("note-store.before-write");
	e = buf_status(&b) != E_OK ? buf_status(&b) : state_dir_write(dir, STORES_NAME, &b);
	error = errno;
	FAILPOINT("note-store.after-write");
	buf_release(&b);
	errno = error;
	return e;
}

size_t stores_copy(struct stores *s, struct message_store ret_stores[MESSAGE_STORES_MAX])
{
	size_t len;

	pthread_mutex_lock(&s->lock);
	len = s->list.len;
	memcpy(ret_stores, s->list.at, sizeof(s->list.at));
	pthread_mutex_unlock(&s->lock);
	return len;
}

enum err stores_note(struct stores *s, const struct message_store *store)
{
	struct stores_list next = s->list;
	struct message_store noted = *store;
	size_t i = 0;
	enum err e;

	while (i < next.len && memcmp(next.at[i].lineage, store->lineage, MESSAGE_LINEAGE_BYTES) != 0)
		i++;
	if (i < next.len && next.at[i].sequence > noted.sequence)
		noted.sequence = next.at[i].sequence;
	if (i == 0 && next.len > 0 && next.at[0].sequence == noted.sequence)
		return E_OK;
	if (i == next.len && i == MESSAGE_STORES_MAX)
		i--; /* the one that was not noted for the longest time goes */
	else if (i == next.len)
		next.len++;
	memmove(&next.at[1], &next.at[0], i * sizeof(next.at[0]));
	next.at[0] = noted;
	if ((e = stores_write(s->dir, &next)) != E_OK)
		return e;
	pthread_mutex_lock(&s->lock);
	s->list = next;
	pthread_mutex_unlock(&s->lock);
	return E_OK;
}
