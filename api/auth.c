/* SPDX-License-Identifier: Apache-2.0 */
/* Reading credentials, judging what the store knows of them, and grants. */
#include "api/auth.h"

#include "base/str.h"

#include <string.h>

/* RFC 9110 §11.4: scheme, at least one space, the token (one run of visible characters). */
static const char *bearer_token(const char *header)
{
	static const char scheme[] = "bearer";
	const char *at = header;

	for (size_t i = 0; scheme[i] != '\0'; i++, at++) {
		if (str_ascii_lower(*at) != scheme[i])
			return NULL;
	}
	if (*at != ' ')
		return NULL;
	at += strspn(at, " ");
	if (*at == '\0')
		return NULL;
	for (const char *c = at; *c != '\0'; c++) {
		if (*c <= ' ' || *c > '~')
			return NULL;
	}
	return at;
}

/* A header that is there and not empty. */
static bool auth_has(const struct request *r, const char *name)
{
	const char *value = r->header(r, name);

	return value && *value != '\0';
}

const char *auth_missing(const struct request *r, bool needs_both)
{
	if (auth_has(r, "X-Auth-Email"))
		return "X-Auth-Email came without X-Auth-Key: send both, or Authorization: Bearer TOKEN";
	if (auth_has(r, "X-Auth-Key"))
		return "X-Auth-Key came without X-Auth-Email: send both, or Authorization: Bearer TOKEN";
	if (needs_both && r->known)
		return "who is at the other end of the connection is not enough here: send Authorization: "
		       "Bearer, or X-Auth-Email and X-Auth-Key, too";
	return problem_text(PROBLEM_NO_CREDENTIAL);
}

/* The secret of the request, or NULL: it has none. */
static enum problem_code auth_read_secret(const struct request *r, struct auth_claim *claim,
					  const char **ret_secret)
{
	const char *authorization = r->header(r, "Authorization");
	bool has_email = auth_has(r, "X-Auth-Email"), has_key = auth_has(r, "X-Auth-Key");

	*ret_secret = NULL;
	if (authorization) {
		claim->store.kind = PRINCIPAL_TOKEN;
		*ret_secret = bearer_token(authorization);
		return *ret_secret ? PROBLEM_NONE : PROBLEM_CREDENTIAL;
	}
	if (has_email != has_key)
		return PROBLEM_NO_CREDENTIAL;
	if (has_email) {
		claim->store.kind = PRINCIPAL_USER;
		claim->email = r->header(r, "X-Auth-Email");
		*ret_secret = r->header(r, "X-Auth-Key");
	}
	return PROBLEM_NONE;
}

enum problem_code auth_read(const struct request *r, bool needs_both, struct auth_claim *ret_claim)
{
	struct auth_claim claim = {.store = {.peer = r->known, .needs_both = needs_both}};
	const char *secret;
	enum problem_code code = auth_read_secret(r, &claim, &secret);

	if (code == PROBLEM_NONE && !secret && (needs_both || !r->known))
		code = PROBLEM_NO_CREDENTIAL;
	if (code == PROBLEM_NONE && secret && credential_hash(secret, claim.store.secret_hash) != E_OK)
		code = PROBLEM_UNAVAILABLE;
	if (code == PROBLEM_NONE)
		*ret_claim = claim;
	return code;
}

/* NULL when the principal was found by what the request has, all of it. */
static const char *auth_mismatch(const struct auth_claim *claim, const struct principal *principal)
{
	if (claim->store.kind != 0 &&
	    (principal->kind != claim->store.kind ||
	     !str_equal_constant_time(principal->secret_hash, claim->store.secret_hash,
				      CREDENTIAL_HASH_BYTES)))
		return "it is not the one asked for";
	if (claim->email && (!principal->name || !str_equal_ignoring_case(claim->email, principal->name)))
		return "the key belongs to another e-mail address";
	if ((claim->store.kind == 0 || claim->store.needs_both) && !principal->known_by.value)
		return "it came without the client certificate or the user that is bound to it";
	return NULL;
}

const char *auth_refusal(const struct auth_claim *claim, const struct principal *principal, int64_t now_us)
{
	const char *mismatch = auth_mismatch(claim, principal);

	if (mismatch)
		return mismatch;
	if (principal->revoked_us != 0)
		return "revoked";
	if (principal->secret_until_us != 0 && now_us >= principal->secret_until_us)
		return "it was replaced by a new one";
	if (principal->not_before_us != 0 && now_us < principal->not_before_us)
		return "not valid yet";
	if (principal->expires_us != 0 && now_us >= principal->expires_us)
		return "expired";
	return NULL;
}

void auth_put_peer_refusal(struct buf *b, const struct auth_claim *claim, enum err e)
{
	const struct peer *peer = claim->store.peer;

	if (claim->store.kind != 0 && !claim->store.needs_both)
		return;
	if (claim->store.kind != 0) { /* it is not told which of the two was wrong */
		buf_put_str(b, problem_text(PROBLEM_CREDENTIAL));
		if (peer && !peer->lack) {
			buf_put_str(b, ", or its principal is not the one of ");
			peer_put(b, peer);
		} else {
			buf_put_str(b, "; it must come with a client certificate, or over a unix socket");
		}
	} else if (peer && peer->lack) {
		buf_printf(b, "there is no credential, and %s", peer->lack);
	} else if (peer) {
		buf_put_str(b,
			    e == E_EXISTS
				? "there is no credential, and two principals have names of "
				: "there is no credential, and no principal that may act now is known by ");
		peer_put(b, peer);
	}
}

const char *auth_refusal_of_place(const struct principal *principal, const struct address *caller)
{
	if (principal->networks_len == 0 ||
	    address_is_in_any(caller, principal->networks, principal->networks_len))
		return NULL;
	return "it may not be used from there";
}

const char *auth_challenge(const struct request *r, enum problem_code code)
{
	const char *authorization;
	bool has_token;

	if (code != PROBLEM_NO_CREDENTIAL && code != PROBLEM_CREDENTIAL && code != PROBLEM_DENIED)
		return NULL;
	authorization = r->header(r, "Authorization");
	has_token = authorization && bearer_token(authorization);
	if (has_token && code == PROBLEM_CREDENTIAL)
		return "Bearer realm=\"csrd\", error=\"invalid_token\"";
	if (has_token && code == PROBLEM_DENIED)
		return "Bearer realm=\"csrd\", error=\"insufficient_scope\"";
	return "Bearer realm=\"csrd\"";
}

bool auth_may(const struct principal *principal, const struct store_scope *scope,
	      enum grant_permission permission)
{
	for (size_t i = 0; i < principal->grants_len; i++) {
		const struct grant *grant = &principal->grants[i];

		if (grant->scope.kind == scope->kind && strcmp(grant->scope.id, scope->id) == 0 &&
		    (grant->permission == permission || grant->permission == GRANT_WRITE))
			return true;
	}
	return false;
}
