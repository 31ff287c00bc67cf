/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, keys and ids; reading credentials and judging principals (F96). */
#include "base/uuid.h"
#include "tests/unit/cmocka_all.h"

#include "api/auth.h"
#include "api/credential.h"
#include "base/str.h"
#include "tests/fakes/no_random.h"

#include <string.h>

static void tokens_look_as_promised(void **state)
{
	static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";
	char token[CREDENTIAL_TOKEN_SIZE];
	char other[CREDENTIAL_TOKEN_SIZE];

	(void)state;
	assert_int_equal(credential_make_token(token), E_OK);
	assert_int_equal(credential_make_token(other), E_OK);
	assert_int_equal(strlen(token), 54);
	assert_true(str_starts_with(token, "csrd_"));
	assert_int_equal(strspn(token, alphabet), 54);
	assert_string_not_equal(token, other);
	assert_true(credential_token_is_intact(token));
	assert_true(credential_token_is_intact(other));
}

static void a_changed_token_is_not_intact(void **state)
{
	char token[CREDENTIAL_TOKEN_SIZE];

	(void)state;
	assert_int_equal(credential_make_token(token), E_OK);
	for (size_t i = 0; i < sizeof(token) - 1; i++) {
		char kept = token[i];

		token[i] = kept == 'x' ? 'y' : 'x';
		if (credential_token_is_intact(token))
			fail_msg("changed at %zu, and still intact", i);
		token[i] = kept;
	}
	token[53] = '\0';
	assert_false(credential_token_is_intact(token));
	assert_false(credential_token_is_intact(""));
	assert_false(credential_token_is_intact("csrd_"));
}

/* The checksum is CRC-32 in base 62: a fixed value, so that other programs can rely on it. */
static void the_checksum_is_stable(void **state)
{
	(void)state;
	/* CRC-32 of the first 48 characters is 0x7a2953a2. */
	assert_true(credential_token_is_intact("csrd_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA2Ehc38"));
}

static void keys_are_hexadecimal(void **state)
{
	char key[CREDENTIAL_KEY_SIZE];
	char other[CREDENTIAL_KEY_SIZE];

	(void)state;
	assert_int_equal(credential_make_key(key), E_OK);
	assert_int_equal(credential_make_key(other), E_OK);
	assert_int_equal(strlen(key), 40);
	assert_int_equal(strspn(key, "0123456789abcdef"), 40);
	assert_string_not_equal(key, other);
}

/* FIPS 180-4, the example of "abc" */
static void the_hash_is_sha256(void **state)
{
	uint8_t hash[CREDENTIAL_HASH_BYTES];
	char hex[2 * CREDENTIAL_HASH_BYTES + 1];

	(void)state;
	assert_int_equal(credential_hash("abc", hash), E_OK);
	str_hex(hex, hash, sizeof(hash));
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void tags_and_uuids(void **state)
{
	char uuid[37];
	char other[37];

	(void)state;
	assert_true(credential_tag_is_valid("a"));
	assert_true(credential_tag_is_valid("account_id"));
	assert_true(credential_tag_is_valid("023e105f4ecef8ad9ca31a8372d0c353"));
	assert_false(credential_tag_is_valid(""));
	assert_false(credential_tag_is_valid("023e105f4ecef8ad9ca31a8372d0c3531"));
	assert_false(credential_tag_is_valid("a.b"));
	assert_false(credential_tag_is_valid("a/b"));
	assert_false(credential_tag_is_valid("a%2fb"));
	assert_false(credential_tag_is_valid("\xc3\xa9"));
	assert_int_equal(credential_make_uuid(uuid), E_OK);
	assert_int_equal(credential_make_uuid(other), E_OK);
	assert_true(uuid_is_valid(uuid));
	assert_int_equal(uuid[14], '4');
	assert_non_null(strchr("89ab", uuid[19]));
	assert_string_not_equal(uuid, other);
}

/* An id or a secret is random or it is none: no second source, no part of one, no wait. */
static void F110_without_randomness_nothing_is_made(void **state)
{
	static const int errors[] = {EIO, ENOSYS, EAGAIN, EPERM};
	char token[CREDENTIAL_TOKEN_SIZE], key[CREDENTIAL_KEY_SIZE], uuid[UUID_SIZE];

	(void)state;
	no_random_waited = false;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		no_random_errno = errors[i];
		assert_int_equal(credential_make_uuid(uuid), E_IO);
		assert_int_equal(errno, errors[i]);
		assert_int_equal(credential_make_token(token), E_IO);
		assert_int_equal(credential_make_key(key), E_IO);
	}
	no_random_errno = 0;
	no_random_short = true;
	assert_int_equal(credential_make_uuid(uuid), E_OK);
	no_random_short = false;
	assert_true(uuid_is_valid(uuid));
	assert_false(no_random_waited);
}

/* ---- reading credentials ---- */

struct headers {
	const char *authorization;
	const char *email;
	const char *key;
	enum problem_code expected;
	enum principal_kind kind;
	const char *secret;
};

static const struct headers header_table[] = {
    {NULL, NULL, NULL, PROBLEM_NO_CREDENTIAL, 0, NULL},
    {NULL, "user@example.com", NULL, PROBLEM_NO_CREDENTIAL, 0, NULL},
    {NULL, NULL, "144c9defac04969c7bfad8efaa8ea194", PROBLEM_NO_CREDENTIAL, 0, NULL},
    {NULL, "", "144c9defac04969c7bfad8efaa8ea194", PROBLEM_NO_CREDENTIAL, 0, NULL},
    {NULL, "user@example.com", "", PROBLEM_NO_CREDENTIAL, 0, NULL},
    {NULL, "user@example.com", "144c9defac04969c7bfad8efaa8ea194", PROBLEM_NONE, PRINCIPAL_USER,
     "144c9defac04969c7bfad8efaa8ea194"},
    {"Bearer abc", NULL, NULL, PROBLEM_NONE, PRINCIPAL_TOKEN, "abc"},
    {"bearer abc", NULL, NULL, PROBLEM_NONE, PRINCIPAL_TOKEN, "abc"},
    {"BEARER   abc", NULL, NULL, PROBLEM_NONE, PRINCIPAL_TOKEN, "abc"},
    {"Bearer a.b~c+d/e=", NULL, NULL, PROBLEM_NONE, PRINCIPAL_TOKEN, "a.b~c+d/e="},
    {"Bearer abc", "user@example.com", "key", PROBLEM_NONE, PRINCIPAL_TOKEN, "abc"},
    /* no fall-through */
    {"Bearer", "user@example.com", "key", PROBLEM_CREDENTIAL, 0, NULL},
    {"", "user@example.com", "key", PROBLEM_CREDENTIAL, 0, NULL},
    {"Basic dXNlcjpwYXNz", "user@example.com", "key", PROBLEM_CREDENTIAL, 0, NULL},
    {"Bearer ", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {"Bearerabc", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {"Bearer a b", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {"Bearer abc ", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {"Bearer \xc3\xa9", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {"Bearer\tabc", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {" Bearer abc", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {"abc", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
    {"B", NULL, NULL, PROBLEM_CREDENTIAL, 0, NULL},
};

static const char *header_of(const struct request *r, const char *name)
{
	const struct headers *h = r->transport;

	if (strcmp(name, "Authorization") == 0)
		return h->authorization;
	if (strcmp(name, "X-Auth-Email") == 0)
		return h->email;
	return strcmp(name, "X-Auth-Key") == 0 ? h->key : NULL;
}

static void credentials_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(header_table) / sizeof(header_table[0]); i++) {
		struct headers h = header_table[i];
		struct request r = {.header = header_of, .transport = &h};
		struct auth_claim claim = {0};
		uint8_t hash[CREDENTIAL_HASH_BYTES];
		enum problem_code code = auth_read(&r, false, &claim);

		if (code != h.expected || claim.store.kind != h.kind)
			fail_msg("row %zu: code %d, kind %d", i, (int)code, (int)claim.store.kind);
		if (h.secret) {
			assert_int_equal(credential_hash(h.secret, hash), E_OK);
			assert_memory_equal(claim.store.secret_hash, hash, sizeof(hash));
		}
	}
}

static void principals_are_judged(void **state)
{
	char email[] = "User@Example.com";
	struct principal principal = {.kind = PRINCIPAL_USER, .name = email};
	struct auth_claim claim = {.store = {.kind = PRINCIPAL_USER}, .email = "user@example.COM"};

	(void)state;
	assert_null(auth_refusal(&claim, &principal, 1000));
	claim.email = "other@example.com";
	assert_non_null(auth_refusal(&claim, &principal, 1000));
	claim.email = email;
	principal.revoked_us = 1;
	assert_string_equal(auth_refusal(&claim, &principal, 1000), "revoked");
	principal.revoked_us = 0;
	principal.expires_us = 1000;
	assert_null(auth_refusal(&claim, &principal, 999));
	assert_string_equal(auth_refusal(&claim, &principal, 1000), "expired");
	principal.expires_us = 0;
	principal.not_before_us = 1000;
	assert_string_equal(auth_refusal(&claim, &principal, 999), "not valid yet");
	assert_null(auth_refusal(&claim, &principal, 1000));
	principal.secret_hash[31] = 1;
	assert_non_null(auth_refusal(&claim, &principal, 1000));
	principal.secret_hash[31] = 0;
	principal.kind = PRINCIPAL_TOKEN;
	assert_non_null(auth_refusal(&claim, &principal, 1000));
}

static void grants_reach_no_further_than_they_say(void **state)
{
	struct grant grants[] = {
	    {{STORE_ACCOUNT, "one"}, GRANT_WRITE},
	    {{STORE_ACCOUNT, "two"}, GRANT_READ},
	    {{STORE_ZONE, "three"}, GRANT_READ},
	};
	struct principal principal = {.grants = grants, .grants_len = 3};

	(void)state;
	assert_true(auth_may(&principal, &(struct store_scope){STORE_ACCOUNT, "one"}, GRANT_WRITE));
	assert_true(auth_may(&principal, &(struct store_scope){STORE_ACCOUNT, "one"}, GRANT_READ));
	assert_true(auth_may(&principal, &(struct store_scope){STORE_ACCOUNT, "two"}, GRANT_READ));
	assert_false(auth_may(&principal, &(struct store_scope){STORE_ACCOUNT, "two"}, GRANT_WRITE));
	assert_false(auth_may(&principal, &(struct store_scope){STORE_ACCOUNT, "three"}, GRANT_READ));
	assert_true(auth_may(&principal, &(struct store_scope){STORE_ZONE, "three"}, GRANT_READ));
	assert_false(auth_may(&principal, &(struct store_scope){STORE_ZONE, "one"}, GRANT_READ));
	assert_false(auth_may(&principal, &(struct store_scope){STORE_ACCOUNT, "on"}, GRANT_READ));
	assert_false(auth_may(&principal, &(struct store_scope){STORE_ACCOUNT, "ONE"}, GRANT_READ));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tokens_look_as_promised),
	    cmocka_unit_test(a_changed_token_is_not_intact),
	    cmocka_unit_test(the_checksum_is_stable),
	    cmocka_unit_test(keys_are_hexadecimal),
	    cmocka_unit_test(the_hash_is_sha256),
	    cmocka_unit_test(tags_and_uuids),
	    cmocka_unit_test(F110_without_randomness_nothing_is_made),
	    cmocka_unit_test(credentials_are_read),
	    cmocka_unit_test(principals_are_judged),
	    cmocka_unit_test(grants_reach_no_further_than_they_say),
	};

	return cmocka_run_group_tests_name("api_credential", tests, NULL, NULL);
}
