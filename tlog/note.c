/* SPDX-License-Identifier: Apache-2.0 */
/* Signed notes. */
#include "tlog/note.h"

#include "base/utf8.h"
#include "tlog/base64.h"
#include "tlog/lines.h"

#include <stdbool.h>
#include <string.h>

#define LINE_START "\xe2\x80\x94 " /* em dash, blank */
#define ID_BYTES 4
#define ID_BASE64_LEN 8 /* characters that hold it, and more */

static bool note_text_is_valid(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 && text[i] != '\n')
			return false;
	return len > 0 && text[len - 1] == '\n' && utf8_is_valid(text, len);
}

/* Where the last empty line begins; NULL: there is none. */
static const char *note_find_blank(const char *text, size_t len)
{
	for (size_t i = len; i >= 2; i--)
		if (text[i - 1] == '\n' && text[i - 2] == '\n')
			return text + i - 1;
	return NULL;
}

static bool note_parse_line(struct span span, struct note_line *ret_line)
{
	struct note_line line = {0};
	uint8_t id[ID_BASE64_LEN / 4 * 3];
	const char *blank;
	size_t len;

	if (!lines_skip(&span, LINE_START) || !(blank = memchr(span.text, ' ', span.len)))
		return false;
	line.name = span.text;
	line.name_len = (size_t)(blank - span.text);
	line.base64 = blank + 1;
	line.base64_len = span.len - line.name_len - 1;
	if (!note_key_name_is_valid(line.name, line.name_len) ||
	    base64_read(line.base64, line.base64_len, NULL, SIZE_MAX, &len) != E_OK || len <= ID_BYTES ||
	    base64_read(line.base64, ID_BASE64_LEN, id, sizeof(id), &len) != E_OK)
		return false;
	line.id = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
	*ret_line = line;
	return true;
}

enum err note_parse(const void *bytes, size_t len, struct note *ret_note)
{
	const char *blank, *text = bytes;
	struct span rest, line;
	struct note note = {.text = text};

	if (len > NOTE_BYTES_MAX || !note_text_is_valid(text, len) || !(blank = note_find_blank(text, len)))
		return E_PROTO;
	note.text_len = (size_t)(blank - text);
	rest = (struct span){.text = blank + 1, .len = len - note.text_len - 1};
	while (lines_next(&rest, &line))
		if (note.lines_len == NOTE_SIGNATURES_MAX ||
		    !note_parse_line(line, &note.lines[note.lines_len++]))
			return E_PROTO;
	if (note.lines_len == 0)
		return E_PROTO;
	*ret_note = note;
	return E_OK;
}

static bool note_line_is_of(const struct note_line *line, const struct note_key *key)
{
	return line->id == key->id && line->name_len == strlen(key->name) &&
	       memcmp(line->name, key->name, line->name_len) == 0;
}

static enum err note_verify_line(const struct note *note, const struct note_line *line,
				 const struct note_key *key, struct note_signature *signature)
{
	uint8_t bytes[ID_BYTES + NOTE_SIGNATURE_MAX];
	size_t len;

	if (base64_read(line->base64, line->base64_len, bytes, sizeof(bytes), &len) != E_OK)
		return E_DENIED; /* longer than any of this key */
	signature->len = len - ID_BYTES;
	memcpy(signature->bytes, bytes + ID_BYTES, signature->len);
	return note_key_verify(key, note->text, note->text_len, signature);
}

/* Every line of the key; *latest_seconds becomes the largest time, if the key is a witness's. */
static enum err note_verify_lines(const struct note *note, const struct note_key *key,
				  uint64_t *latest_seconds)
{
	struct note_signature signature;
	enum err e = E_NOTFOUND;

	for (size_t i = 0; i < note->lines_len; i++) {
		if (!note_line_is_of(&note->lines[i], key))
			continue;
		if ((e = note_verify_line(note, &note->lines[i], key, &signature)) != E_OK)
			return e;
		if (key->algorithm == NOTE_COSIGNATURE && note_key_cosigned_at(&signature) > *latest_seconds)
			*latest_seconds = note_key_cosigned_at(&signature);
	}
	return e;
}

enum err note_verify(const struct note *note, const struct note_key *key)
{
	uint64_t seconds = 0;

	return note_verify_lines(note, key, &seconds);
}

enum err note_verify_cosignature(const struct note *note, const struct note_key *key, uint64_t *ret_seconds)
{
	uint64_t seconds = 0;
	enum err e;

	if (key->algorithm != NOTE_COSIGNATURE)
		return E_INVAL;
	if ((e = note_verify_lines(note, key, &seconds)) == E_OK)
		*ret_seconds = seconds;
	return e;
}

void note_put_line(const struct note_key *key, const struct note_signature *signature, struct buf *out)
{
	uint8_t bytes[ID_BYTES + NOTE_SIGNATURE_MAX] = {(uint8_t)(key->id >> 24), (uint8_t)(key->id >> 16),
							(uint8_t)(key->id >> 8), (uint8_t)key->id};

	memcpy(bytes + ID_BYTES, signature->bytes, signature->len);
	buf_printf(out, LINE_START "%s ", key->name);
	base64_put(out, bytes, ID_BYTES + signature->len);
	buf_put_u8(out, '\n');
}

enum err note_sign(const char *text, const struct note_signer *signers, size_t signers_len, struct buf *out)
{
	size_t len = strlen(text);
	enum err e;

	if (!note_text_is_valid(text, len) || signers_len < 1 || signers_len > NOTE_SIGNATURES_MAX)
		return E_INVAL;
	buf_put(out, text, len);
	buf_put_u8(out, '\n');
	for (size_t i = 0; i < signers_len; i++) {
		struct note_signature signature;

		if ((e = signers[i].sign(signers[i].arg, text, len, &signature)) != E_OK)
			return e;
		if ((e = note_key_verify(signers[i].key, text, len, &signature)) != E_OK)
			return e == E_DENIED ? E_HSM : e;
		note_put_line(signers[i].key, &signature, out);
	}
	return buf_status(out);
}
