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

const char *auth_missing(const struct request *r)
{
	if (auth_has(r, "X-Auth-Email"))
		return "X-Auth-Email came without X-Auth-Key: send both, or Authorization: Bearer TOKEN";
	if (auth_has(r, "X-Auth-Key"))
		return "X-Auth-Key came without X-Auth-Email: send both, or Authorization: Bearer TOKEN";
	return problem_text(PROBLEM_NO_CREDENTIAL);
}

enum problem_code auth_read(const struct request *r, struct auth_claim *ret_claim)
{
	const char *authorization = r->header(r, "Authorization");
	struct auth_claim claim = {0};
	const char *secret;

	if (authorization) {
		claim.kind = PRINCIPAL_TOKEN;
		secret = bearer_token(authorization);
		if (!secret)
			return PROBLEM_CREDENTIAL;
	} else if (auth_has(r, "X-Auth-Email") && auth_has(r, "X-Auth-Key")) {
		claim.kind = PRINCIPAL_USER;
		claim.email = r->header(r, "X-Auth-Email");
		secret = r->header(r, "X-Auth-Key");
	} else {
		return PROBLEM_NO_CREDENTIAL;
	}
	if (credential_hash(secret, claim.secret_hash) != E_OK)
		return PROBLEM_UNAVAILABLE;
	*ret_claim = claim;
	return PROBLEM_NONE;
}

const char *auth_refusal(const struct auth_claim *claim, const struct principal *principal, int64_t now_us)
{
	if (principal->kind != claim->kind ||
	    !str_equal_constant_time(principal->secret_hash, claim->secret_hash, CREDENTIAL_HASH_BYTES))
		return "it is not the one asked for";
	if (claim->email && (!principal->name || !str_equal_ignoring_case(claim->email, principal->name)))
		return "the key belongs to another e-mail address";
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
