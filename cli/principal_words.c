/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of callers, in words and in JSON. */
#include "cli/principal_words.h"

#include "cli/output.h"

const struct principal_words principal_words_token = {PRINCIPAL_TOKEN, "token", "tokens", "name", "token"};
const struct principal_words principal_words_user = {PRINCIPAL_USER, "user", "users", "email", "key"};
const struct principal_words principal_words_peer = {PRINCIPAL_PEER, "principal", "principals", "name", NULL};

const struct principal_words *principal_words_of(enum principal_kind kind)
{
	switch (kind) {
	case PRINCIPAL_USER:
		return &principal_words_user;
	case PRINCIPAL_PEER:
		return &principal_words_peer;
	case PRINCIPAL_TOKEN:
		break;
	}
	return &principal_words_token;
}

const char *principal_words_status(const struct principal *p, int64_t now_us)
{
	if (p->revoked_us)
		return "revoked";
	if (p->expires_us && p->expires_us <= now_us)
		return "expired";
	return p->not_before_us > now_us ? "not-yet-valid" : "active";
}

void principal_words_format_known_by(const struct principal *p, struct buf *b)
{
	for (size_t i = 0; i < p->identities_len; i++)
		buf_printf(b, "%s%s:%s", i > 0 ? ", " : "", identity_kind_name(p->identities[i].kind),
			   p->identities[i].value);
}

static void put_known_by(struct json_writer *w, const struct principal *p)
{
	struct buf text;

	if (p->identities_len == 0)
		return;
	json_put_name(w, "known_by");
	json_open_array(w);
	for (size_t i = 0; i < p->identities_len; i++) {
		buf_init(&text, IDENTITY_BYTES_MAX + 64);
		buf_printf(&text, "%s:%s", identity_kind_name(p->identities[i].kind), p->identities[i].value);
		json_put_text(w, buf_text(&text));
		buf_release(&text);
	}
	json_close(w);
}

static const char *permission_name(enum grant_permission permission)
{
	return permission == GRANT_WRITE ? "write" : "read";
}

static void put_grants(struct json_writer *w, const struct names *names, const struct principal *p)
{
	json_put_name(w, "grants");
	json_open_array(w);
	for (size_t i = 0; i < p->grants_len; i++) {
		const struct store_scope *scope = &p->grants[i].scope;

		json_open_object(w);
		json_put_text_member(w, "scope", output_scope_name(scope->kind));
		json_put_text_member(w, "id", scope->id);
		output_json_text_opt(w, "name", names_of_scope(names, scope->kind, scope->id));
		json_put_text_member(w, "permission", permission_name(p->grants[i].permission));
		json_close(w);
	}
	json_close(w);
}

static void put_times(struct json_writer *w, const struct principal *p)
{
	output_json_time_opt(w, "created_at", p->created_us); /* the store's: not known when it is made */
	output_json_time_opt(w, "not_before", p->not_before_us);
	output_json_time_opt(w, "expires_at", p->expires_us);
	output_json_time_opt(w, "revoked_at", p->revoked_us);
	output_json_time_opt(w, "last_used_at", p->last_used_us);
}

static void put_networks(struct json_writer *w, const struct principal *p)
{
	char text[ADDRESS_NET_SIZE];

	if (p->networks_len == 0)
		return;
	json_put_name(w, "from");
	json_open_array(w);
	for (size_t i = 0; i < p->networks_len; i++) {
		address_net_format(&p->networks[i], text);
		json_put_text(w, text);
	}
	json_close(w);
}

void principal_words_put_members(struct json_writer *w, const struct names *names, const struct principal *p)
{
	put_known_by(w, p);
	put_grants(w, names, p);
	put_networks(w, p);
	put_times(w, p);
}
