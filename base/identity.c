/* SPDX-License-Identifier: Apache-2.0 */
/* Identities: their kinds, and the form in which they are compared. */
#include "base/identity.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OVERFLOW_UID 65534
#define OVERFLOW_UID_FILE "/proc/sys/kernel/overflowuid"
#define DNS_BYTES_MAX 253
#define LABEL_BYTES_MAX 63

void peer_free(struct peer *peer)
{
	if (!peer)
		return;
	for (size_t i = 0; i < peer->names_len; i++)
		free(peer->names[i].value);
	free(peer->evidence);
	free(peer);
}

enum err peer_add(struct peer *peer, enum identity_kind kind, const char *value)
{
	char *copy;

	if (peer->names_len == IDENTITY_MAX)
		return E_LIMIT;
	copy = strdup(value);
	if (!copy)
		return E_NOMEM;
	peer->names[peer->names_len++] = (struct identity){kind, copy};
	return E_OK;
}

/* That of this machine, read once. */
static unsigned long identity_overflow_uid(void)
{
	static unsigned long overflow;
	FILE *file = overflow == 0 ? fopen(OVERFLOW_UID_FILE, "re") : NULL;

	if (file && fscanf(file, "%lu", &overflow) != 1)
		overflow = 0;
	if (file)
		fclose(file);
	if (overflow == 0)
		overflow = OVERFLOW_UID;
	return overflow;
}

bool identity_uid_is_nobody(uint32_t uid)
{
	return uid == OVERFLOW_UID || uid == identity_overflow_uid() || uid == UINT32_MAX;
}

enum err peer_new_unix(uint32_t uid, struct peer **ret_peer)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	char text[sizeof("4294967295")];
	enum err e = E_OK;

	if (!peer)
		return E_NOMEM;
	snprintf(text, sizeof(text), "%u", (unsigned)uid);
	if (identity_uid_is_nobody(uid))
		peer->lack = "the process at the other end of the unix socket runs as a user that this "
			     "machine has no number for";
	else
		e = peer_add(peer, IDENTITY_UNIX_UID, text);
	if (e == E_OK)
		*ret_peer = peer;
	else
		peer_free(peer);
	return e;
}

const char *identity_kind_name(enum identity_kind kind)
{
	static const char *const names[] = {
	    [IDENTITY_URI] = "uri",
	    [IDENTITY_DNS] = "dns",
	    [IDENTITY_EMAIL] = "email",
	    [IDENTITY_SUBJECT] = "subject",
	    [IDENTITY_UNIX_UID] = "unix-user",
	};

	return kind >= IDENTITY_URI && kind <= IDENTITY_KIND_MAX ? names[kind] : "?";
}

#define PEER_PUT_MAX 4
#define PEER_PUT_BYTES 256

void peer_put(struct buf *b, const struct peer *peer)
{
	for (size_t i = 0; i < peer->names_len && i < PEER_PUT_MAX; i++)
		buf_printf(b, "%s%s:%.*s", i > 0 ? ", " : "", identity_kind_name(peer->names[i].kind),
			   PEER_PUT_BYTES, peer->names[i].value);
	if (peer->names_len > PEER_PUT_MAX)
		buf_put_str(b, ", …");
	if (peer->evidence)
		buf_printf(b, "%s(%s)", peer->names_len > 0 ? " " : "", peer->evidence);
}

/* ---- the form in which they are compared ---- */

static bool identity_is_visible(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return len > 0 && len <= IDENTITY_BYTES_MAX;
}

static void identity_put_lower(struct buf *b, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char lower = str_ascii_lower(text[i]);

		buf_put(b, &lower, 1);
	}
}

static enum err identity_put_uri(struct buf *b, const char *text)
{
	size_t scheme = 0, host = 0, user = 0;
	const char *rest;

	while (str_ascii_is_alnum(text[scheme]) || (text[scheme] != '\0' && strchr("+-.", text[scheme])))
		scheme++;
	rest = text + scheme;
	if (!str_ascii_is_alpha(text[0]) || rest[0] != ':' || rest[1] == '\0')
		return E_INVAL;
	if (str_starts_with(rest, "://")) {
		host = 3 + strcspn(rest + 3, "/?#");
		for (size_t i = 3; i < host; i++) {
			if (rest[i] == '@')
				user = i;
		}
	}
	identity_put_lower(b, text, scheme);
	buf_put(b, rest, user);
	identity_put_lower(b, rest + user, host - user);
	buf_put_str(b, rest + host);
	return E_OK;
}

/* Labels of letters, digits, '-' and '_', as they are in internal names. */
static enum err identity_put_dns(struct buf *b, const char *text)
{
	size_t len = strlen(text), label = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '.' ? label == 0
				   : !str_ascii_is_alnum(text[i]) && text[i] != '-' && text[i] != '_')
			return E_INVAL;
		label = text[i] == '.' ? 0 : label + 1;
		if (label > LABEL_BYTES_MAX)
			return E_INVAL;
	}
	if (label == 0 || len > DNS_BYTES_MAX)
		return E_INVAL;
	identity_put_lower(b, text, len);
	return E_OK;
}

static enum err identity_put_email(struct buf *b, const char *text)
{
	const char *at = strrchr(text, '@');

	if (!at || at == text || memchr(text, '@', (size_t)(at - text)))
		return E_INVAL;
	buf_put(b, text, (size_t)(at + 1 - text));
	return identity_put_dns(b, at + 1);
}

static enum err identity_put_uid(struct buf *b, const char *text)
{
	uint64_t uid;

	if (str_parse_u64(text, UINT32_MAX - 1, &uid) != E_OK)
		return E_INVAL;
	buf_printf(b, "%llu", (unsigned long long)uid);
	return E_OK;
}

enum err identity_put_normal(struct buf *b, enum identity_kind kind, const char *text)
{
	if (!identity_is_visible(text))
		return E_INVAL;
	switch (kind) {
	case IDENTITY_URI:
		return identity_put_uri(b, text);
	case IDENTITY_DNS:
		return identity_put_dns(b, text);
	case IDENTITY_EMAIL:
		return identity_put_email(b, text);
	case IDENTITY_UNIX_UID:
		return identity_put_uid(b, text);
	case IDENTITY_SUBJECT:
		break;
	}
	return E_INVAL;
}
