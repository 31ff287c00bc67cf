/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options and arguments. */
#include "cli/arg.h"

#include "api/credential.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/str.h"
#include "base/utf8.h"

#include <string.h>

#define NAME_CHARS_MAX 255
#define EMAIL_BYTES_MAX 254 /* RFC 5321 §4.5.3.1.3 without its angle brackets */

enum err arg_tag(const char *text, char ret_tag[STORE_TAG_SIZE])
{
	uint8_t bytes[ARG_TAG_BYTES];

	if (!text) {
		enum err e = random_fill(bytes, sizeof(bytes));

		if (e != E_OK)
			return e;
		str_hex(ret_tag, bytes, sizeof(bytes));
		return E_OK;
	}
	if (!credential_tag_is_valid(text))
		return E_INVAL;
	return str_copy(ret_tag, STORE_TAG_SIZE, text);
}

enum err arg_hex(const char *text, uint8_t *ret_bytes, size_t len)
{
	if (!strchr(text, ':'))
		return str_unhex(ret_bytes, len, text);
	if (strlen(text) != 3 * len - 1)
		return E_INVAL;
	for (size_t i = 0; i < len; i++, text += 3) {
		char digits[] = {text[0], text[1], '\0'};

		if ((text[2] != ':') != (i == len - 1) || str_unhex(&ret_bytes[i], 1, digits) != E_OK)
			return E_INVAL;
	}
	return E_OK;
}

/* Names may hold colons, as in "Team: Payments"; a lone word of small letters is a permission, or wants to
 * be. */
enum err arg_grant(const char *text, size_t *ret_len, enum grant_permission *ret_permission)
{
	const char *colon = strrchr(text, ':');
	const char *word = colon ? colon + 1 : "";
	bool is_word = *word && strspn(word, "abcdefghijklmnopqrstuvwxyz") == strlen(word);
	size_t len = is_word ? (size_t)(colon - text) : strlen(text);

	if (len == 0 || (is_word && strcmp(word, "read") != 0 && strcmp(word, "write") != 0))
		return E_INVAL;
	*ret_len = len;
	*ret_permission = is_word && strcmp(word, "write") == 0 ? GRANT_WRITE : GRANT_READ;
	return E_OK;
}

enum err arg_quota(const char *text, int64_t *ret_quota)
{
	uint64_t quota;

	if (!strcmp(text, "unlimited")) {
		*ret_quota = STORE_NO_LIMIT;
		return E_OK;
	}
	if (str_parse_u64(text, INT64_MAX, &quota) != E_OK)
		return E_INVAL;
	*ret_quota = (int64_t)quota;
	return E_OK;
}

enum err arg_time(const char *text, int64_t now_us, int64_t *ret_us)
{
	const int64_t far_us = INT64_C(253402300799) * 1000000; /* 9999-12-31T23:59:59Z */
	uint64_t ms;

	if (!strcmp(text, "never")) {
		*ret_us = 0;
		return E_OK;
	}
	if (clock_parse_duration(text, &ms) != E_OK)
		return clock_parse_rfc3339(text, ret_us);
	if (ms > (uint64_t)(far_us - now_us) / 1000)
		return E_INVAL;
	*ret_us = now_us + (int64_t)ms * 1000;
	return E_OK;
}

bool arg_name_is_valid(const char *text)
{
	size_t len = strlen(text), pos = 0, chars = 0;
	bool has_visible = false;
	uint32_t c;

	while (pos < len) {
		if (!utf8_next(text, len, &pos, &c) || utf8_is_unsafe_in_names(c))
			return false;
		has_visible = has_visible || utf8_class(c) == UTF8_VISIBLE;
		chars++;
	}
	return has_visible && chars <= NAME_CHARS_MAX;
}

bool arg_email_is_valid(const char *text)
{
	const char *at = strchr(text, '@');

	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return at && at != text && at[1] && !strchr(at + 1, '@') && strlen(text) <= EMAIL_BYTES_MAX;
}
