/* SPDX-License-Identifier: Apache-2.0 */
/* Lines taken apart. */
#include "tlog/lines.h"

#include "base/str.h"
#include "tlog/base64.h"

#include <string.h>

bool lines_next(struct span *rest, struct span *ret_line)
{
	const char *end = rest->len > 0 ? memchr(rest->text, '\n', rest->len) : NULL;
	size_t len;

	if (!end)
		return false;
	len = (size_t)(end - rest->text);
	*ret_line = (struct span){.text = rest->text, .len = len};
	*rest = (struct span){.text = end + 1, .len = rest->len - len - 1};
	return true;
}

bool lines_skip(struct span *span, const char *prefix)
{
	size_t len = strlen(prefix);

	if (span->len < len || memcmp(span->text, prefix, len) != 0)
		return false;
	span->text += len;
	span->len -= len;
	return true;
}

bool lines_number(struct span span, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (span.len < 1 || (span.text[0] == '0' && span.len > 1))
		return false;
	for (size_t i = 0; i < span.len; i++) {
		uint64_t digit = (uint64_t)(span.text[i] - '0');

		if (!str_ascii_is_digit(span.text[i]) || number > max / 10 || digit > max - number * 10)
			return false;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return true;
}

bool lines_hash(struct span span, struct tree_hash *ret_hash)
{
	struct tree_hash hash;
	size_t len;

	if (base64_read(span.text, span.len, hash.bytes, sizeof(hash.bytes), &len) != E_OK ||
	    len != sizeof(hash.bytes))
		return false;
	*ret_hash = hash;
	return true;
}

void lines_put_hash(struct buf *out, const struct tree_hash *hash)
{
	base64_put(out, hash->bytes, sizeof(hash->bytes));
	buf_put_u8(out, '\n');
}
