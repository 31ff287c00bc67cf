/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim of tests/p11shim: what a token says and does that SoftHSM does not,
 * rule by rule as its README says.
 */
#include "tests/contract/p11shim_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

/* ---- false answers ---- */

static void corrupt_body(void)
{
	shim_log_in();
	shim_sign_and_verify(CKR_SIGNATURE_INVALID);
	shim_sign_and_verify(CKR_OK);
}

static void a_signature_is_corrupted(void **state)
{
	(void)state;
	shim_run_with("C_Sign@1 corrupt\n", corrupt_body);
}

static void attributes_body(void)
{
	CK_OBJECT_HANDLE pub, priv;
	CK_BBOOL extractable = 2, sensitive = 2, local = 2, token = 2;
	unsigned char point[128] = {0}, small[2];
	CK_ULONG bits = 0;
	CK_ATTRIBUTE read[] = {
	    {CKA_EXTRACTABLE, &extractable, 1},
	    {CKA_SENSITIVE, &sensitive, 1},
	    {CKA_TOKEN, &token, 1},
	};
	CK_ATTRIBUTE one = {CKA_EC_POINT, NULL, 0};

	shim_log_in();
	SHIM_CHECK_RV(shim_generate(&pub, &priv), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, priv, read, 3), CKR_OK);
	SHIM_CHECK(extractable == CK_TRUE && sensitive == CK_FALSE && token == CK_TRUE);

	read[0] = (CK_ATTRIBUTE){CKA_LOCAL, &local, 1};
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, priv, read, 3), CKR_ATTRIBUTE_TYPE_INVALID);
	SHIM_CHECK(read[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && read[1].ulValueLen == 1);

	read[0] = (CK_ATTRIBUTE){CKA_NEVER_EXTRACTABLE, &local, 1};
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, priv, read, 3), CKR_DEVICE_ERROR);

	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, pub, &one, 1), CKR_OK);
	SHIM_CHECK(one.ulValueLen == 4);
	one = (CK_ATTRIBUTE){CKA_EC_POINT, point, sizeof(point)};
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, pub, &one, 1), CKR_OK);
	SHIM_CHECK(one.ulValueLen == 4 && memcmp(point, "\x04\x02\xAB\xcd", 4) == 0);
	one = (CK_ATTRIBUTE){CKA_EC_POINT, small, sizeof(small)};
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, pub, &one, 1), CKR_BUFFER_TOO_SMALL);

	/* an EC key has none: the answer of the module is mended */
	one = (CK_ATTRIBUTE){CKA_MODULUS_BITS, &bits, sizeof(bits)};
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, pub, &one, 1), CKR_OK);
	SHIM_CHECK(one.ulValueLen == sizeof(bits) && bits == 1024);
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, pub), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, priv), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, priv, read, 1), CKR_OBJECT_HANDLE_INVALID);
}

static void attributes_are_falsified(void **state)
{
	(void)state;
	shim_run_with("C_GetAttributeValue attr CKA_EXTRACTABLE true\n"
		      "C_GetAttributeValue attr CKA_SENSITIVE false\n"
		      "C_GetAttributeValue attr CKA_LOCAL missing\n"
		      "C_GetAttributeValue attr CKA_NEVER_EXTRACTABLE error CKR_DEVICE_ERROR\n"
		      "C_GetAttributeValue attr CKA_EC_POINT hex 0402ABcd\n"
		      "C_GetAttributeValue attr CKA_MODULUS_BITS number 1024\n",
		      attributes_body);
}

static void token_info_body(void)
{
	CK_TOKEN_INFO info;

	shim_initialize();
	SHIM_CHECK_RV(shim_p11->C_GetTokenInfo(shim_slot, &info), CKR_OK);
	SHIM_CHECK(info.flags & CKF_USER_PIN_FINAL_TRY && info.flags & CKF_WRITE_PROTECTED);
	SHIM_CHECK(!(info.flags & CKF_LOGIN_REQUIRED));
	SHIM_CHECK(memcmp(info.serialNumber, "ANOTHER-1       ", 16) == 0);
	shim_set_rules("C_GetTokenInfo label HSM-7\nC_GetTokenInfo nul-padded\n");
	SHIM_CHECK_RV(shim_p11->C_GetTokenInfo(shim_slot, &info), CKR_OK);
	SHIM_CHECK(memcmp(info.label, "HSM-7\0", 6) == 0 && info.label[31] == '\0');
	SHIM_CHECK(memcmp(info.model, "SoftHSM v2\0", 11) == 0 && info.model[15] == '\0');
	shim_set_rules("C_GetTokenInfo label\n");
	SHIM_CHECK_RV(shim_p11->C_GetTokenInfo(shim_slot, &info), CKR_OK);
	SHIM_CHECK(info.label[0] == ' ' && info.label[31] == ' ');
}

static void token_info_is_falsified(void **state)
{
	(void)state;
	shim_run_with("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY -CKF_LOGIN_REQUIRED +0x2\n"
		      "C_GetTokenInfo serial ANOTHER-1\n",
		      token_info_body);
}

/* ---- sessions ---- */

static void sessions_max_body(void)
{
	CK_SESSION_HANDLE a, b = 0;
	CK_TOKEN_INFO info;

	shim_initialize();
	a = shim_open_session();
	shim_open_session();
	SHIM_CHECK_RV(shim_p11->C_OpenSession(shim_slot, CKF_SERIAL_SESSION, NULL, NULL, &b),
		      CKR_SESSION_COUNT);
	SHIM_CHECK_RV(shim_p11->C_GetTokenInfo(shim_slot, &info), CKR_OK);
	SHIM_CHECK(info.ulMaxSessionCount == 2 && info.ulSessionCount == 2);
	SHIM_CHECK_RV(shim_p11->C_CloseSession(a), CKR_OK);
	shim_open_session();
	SHIM_CHECK_RV(shim_p11->C_OpenSession(shim_slot, CKF_SERIAL_SESSION, NULL, NULL, &b),
		      CKR_SESSION_COUNT);
	SHIM_CHECK_RV(shim_p11->C_CloseAllSessions(shim_slot), CKR_OK);
	shim_open_session();
	shim_open_session();
}

static void sessions_are_limited(void **state)
{
	(void)state;
	shim_run_with("sessions-max 2\n", sessions_max_body);
}

static void invalidate_body(void)
{
	CK_SESSION_HANDLE other, old;

	shim_log_in();
	other = shim_open_session();
	shim_set_rules("invalidate-sessions\nC_GenerateRandom@4 invalidate-sessions\n");
	SHIM_CHECK_RV(shim_random_in(other), CKR_SESSION_HANDLE_INVALID);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_SESSION_HANDLE_INVALID);
	old = shim_session;
	shim_session = shim_open_session();
	SHIM_CHECK(shim_session != old);
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_OK); /* the login went with them */
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_SESSION_HANDLE_INVALID);
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
}

static void sessions_are_made_invalid(void **state)
{
	(void)state;
	shim_run(invalidate_body);
}

static void *random_thread(void *argument)
{
	SHIM_CHECK_RV(shim_random_in(*(CK_SESSION_HANDLE *)argument), CKR_OK);
	return NULL;
}

static void invalidate_in_use_body(void)
{
	pthread_t thread;

	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK(pthread_create(&thread, NULL, random_thread, &shim_session) == 0);
	SHIM_CHECK(shim_wait_for_trace(" = sleep"));
	shim_set_rules("invalidate-sessions\n");
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_SESSION_HANDLE_INVALID);
	SHIM_CHECK(pthread_join(thread, NULL) == 0);
	SHIM_CHECK_RV(shim_p11->C_CloseSession(shim_session), CKR_SESSION_HANDLE_INVALID);
}

static void invalidate_hung_body(void)
{
	pthread_t thread;

	shim_log_in();
	SHIM_CHECK(pthread_create(&thread, NULL, random_thread, &shim_session) == 0);
	SHIM_CHECK(shim_wait_for_trace(" = hang"));
	shim_set_rules("invalidate-sessions\n");
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_SESSION_HANDLE_INVALID);
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_USER_ALREADY_LOGGED_IN); /* by the session that hangs */
}

static void a_session_in_use_ends_after_its_call(void **state)
{
	(void)state;
	shim_run_with("C_GenerateRandom after-sleep 400ms\n", invalidate_in_use_body);
	shim_run_with("C_GenerateRandom after-hang\n", invalidate_hung_body);
}

/* ---- the login, and what modules do that SoftHSM does not ---- */

static CK_STATE session_state(void)
{
	CK_SESSION_INFO info;

	SHIM_CHECK_RV(shim_p11->C_GetSessionInfo(shim_session, &info), CKR_OK);
	return info.state;
}

/* The session lives on and finds nothing private any more, with CKR_OK. */
static void logout_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	shim_log_in();
	SHIM_CHECK_RV(shim_generate(&pub, &priv), CKR_OK);
	SHIM_CHECK(shim_count_keys() == 1);
	shim_set_rules("C_FindObjectsInit@1 logout\nC_GenerateRandom after-logout\n");
	SHIM_CHECK(shim_count_keys() == 0);
	SHIM_CHECK(session_state() == CKS_RW_PUBLIC_SESSION);
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_OK);
	SHIM_CHECK(shim_count_keys() == 1);
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK(session_state() == CKS_RW_PUBLIC_SESSION);
	SHIM_CHECK(shim_counter("C_Logout") == 0);
}

static void the_user_is_logged_out(void **state)
{
	(void)state;
	shim_run(logout_body);
}

static CK_RV generate_named(const char *name, CK_BBOOL *public_private, CK_OBJECT_HANDLE keys[2])
{
	CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
	unsigned char id[] = {0xbe, 0xef};
	CK_ATTRIBUTE pub[] = {
	    {CKA_EC_PARAMS, shim_p256, sizeof(shim_p256)},
	    {CKA_TOKEN, &shim_yes, sizeof(shim_yes)},
	    {CKA_PRIVATE, public_private, sizeof(*public_private)},
	    {CKA_ID, id, sizeof(id)},
	};
	CK_ATTRIBUTE priv[] = {
	    {CKA_LABEL, (void *)(uintptr_t)name, strlen(name)},
	    {CKA_ID, id, sizeof(id)},
	    {CKA_TOKEN, &shim_yes, sizeof(shim_yes)},
	};
	CK_RV rv = shim_p11->C_GenerateKeyPair(shim_session, &mechanism, pub, 4, priv, 3, &keys[0], &keys[1]);

	SHIM_CHECK(priv[0].ulValueLen == strlen(name)); /* the caller's own templates are as they were */
	return rv;
}

static bool is_there(CK_OBJECT_HANDLE object)
{
	CK_OBJECT_CLASS class;
	CK_ATTRIBUTE attribute = {CKA_CLASS, &class, sizeof(class)};

	return shim_p11->C_GetAttributeValue(shim_session, object, &attribute, 1) == CKR_OK;
}

static void pair_destroy_body(void)
{
	CK_OBJECT_HANDLE keys[2];

	shim_log_in();
	SHIM_CHECK_RV(generate_named("a", &shim_no, keys), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, keys[0]), CKR_OK);
	SHIM_CHECK(is_there(keys[0]));
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, keys[1]), CKR_OK);
	SHIM_CHECK(!is_there(keys[0]) && !is_there(keys[1]));
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, keys[0]), CKR_OK);
	shim_set_rules("pair-destroy CKR_KEY_HANDLE_INVALID\n");
	SHIM_CHECK_RV(generate_named("a", &shim_no, keys), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, keys[1]), CKR_OK);
	SHIM_CHECK(!is_there(keys[0]));
	SHIM_CHECK_RV(shim_p11->C_DestroyObject(shim_session, keys[0]), CKR_KEY_HANDLE_INVALID);
}

static void a_public_key_goes_with_its_private_key(void **state)
{
	(void)state;
	shim_run_with("pair-destroy CKR_OK\n", pair_destroy_body);
}

static void templates_body(void)
{
	char kept[16];
	CK_ATTRIBUTE attribute = {CKA_LABEL, kept, sizeof(kept)};
	CK_OBJECT_HANDLE keys[2];

	shim_log_in();
	SHIM_CHECK_RV(generate_named("abcdef", &shim_no, keys), CKR_ATTRIBUTE_VALUE_INVALID);
	SHIM_CHECK_RV(generate_named("abcdef", &shim_yes, keys), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, keys[1], &attribute, 1), CKR_OK);
	SHIM_CHECK(attribute.ulValueLen == 4 && memcmp(kept, "abcd", 4) == 0);
}

static void templates_are_taken_in_another_way(void **state)
{
	(void)state;
	shim_run_with("label-max 4\npublic-private-refuse CKR_ATTRIBUTE_VALUE_INVALID\n", templates_body);
}

/* ---- names ---- */

static bool says(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const char *text)
{
	char value[64];
	CK_ATTRIBUTE attribute = {type, value, sizeof(value)};

	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, object, &attribute, 1), CKR_OK);
	return attribute.ulValueLen == strlen(text) && memcmp(value, text, strlen(text)) == 0;
}

static CK_ULONG count_named(const char *name, const char *id)
{
	CK_ATTRIBUTE want[] = {{CKA_ID, (void *)(uintptr_t)id, strlen(id)},
			       {CKA_LABEL, (void *)(uintptr_t)name, strlen(name)}};
	CK_OBJECT_HANDLE found[8];
	CK_ULONG count = 0;

	SHIM_CHECK_RV(shim_p11->C_FindObjectsInit(shim_session, want, 2), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_FindObjects(shim_session, found, 8, &count), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_FindObjectsFinal(shim_session), CKR_OK);
	return count;
}

static void names_body(void)
{
	CK_OBJECT_HANDLE keys[2];
	char kept[64], long_name[] = "abcde";
	CK_ATTRIBUTE id = {CKA_ID, kept, sizeof(kept)}, want = {CKA_LABEL, long_name, 5};

	shim_log_in();
	SHIM_CHECK_RV(generate_named("name", &shim_no, keys), CKR_OK);
	SHIM_CHECK(says(keys[0], CKA_LABEL, "\xbe\xef") && says(keys[0], CKA_ID, "\xbe\xef"));
	SHIM_CHECK(says(keys[1], CKA_LABEL, "\xbe\xef") && says(keys[1], CKA_ID, "\xbe\xef"));
	SHIM_CHECK(count_named("another", "\xbe\xef") == 2);
	shim_set_rules("");
	SHIM_CHECK(count_named("another", "\xbe\xef") == 0);
	shim_set_rules("id-max 1\n");
	SHIM_CHECK_RV(generate_named("cut", &shim_no, keys), CKR_OK);
	SHIM_CHECK(says(keys[0], CKA_ID, "\xbe") && says(keys[1], CKA_ID, "\xbe"));
	SHIM_CHECK(count_named("cut", "\xbe\xef") == 1);
	shim_set_rules("id-own\n");
	SHIM_CHECK_RV(generate_named("own", &shim_no, keys), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, keys[0], &id, 1), CKR_OK);
	kept[id.ulValueLen] = '\0';
	SHIM_CHECK(memcmp(kept, "own-", 4) == 0 && says(keys[1], CKA_ID, kept));
	shim_set_rules("label-refuse 4 CKR_ATTRIBUTE_VALUE_INVALID\n");
	SHIM_CHECK_RV(generate_named("abcde", &shim_no, keys), CKR_ATTRIBUTE_VALUE_INVALID);
	SHIM_CHECK_RV(shim_p11->C_FindObjectsInit(shim_session, &want, 1), CKR_ATTRIBUTE_VALUE_INVALID);
	SHIM_CHECK_RV(generate_named("abcd", &shim_no, keys), CKR_OK);
	SHIM_CHECK(shim_file_says("trace", "CKA_LABEL=\"name\" CKA_ID=beef")); /* as it was asked for */
}

static void names_are_kept_in_another_way(void **state)
{
	(void)state;
	shim_run_with("label-is-id\n", names_body);
}

/* ---- public keys, data, mechanisms ---- */

static bool is_private(CK_OBJECT_HANDLE object)
{
	CK_BBOOL private = 2;
	CK_ATTRIBUTE attribute = {CKA_PRIVATE, &private, sizeof(private)};

	SHIM_CHECK_RV(shim_p11->C_GetAttributeValue(shim_session, object, &attribute, 1), CKR_OK);
	return private == CK_TRUE;
}

static void public_keys_body(void)
{
	CK_OBJECT_HANDLE keys[2];

	shim_log_in();
	SHIM_CHECK_RV(shim_generate(&keys[0], &keys[1]), CKR_TEMPLATE_INCONSISTENT);
	SHIM_CHECK_RV(generate_named("a", &shim_yes, keys), CKR_TEMPLATE_INCONSISTENT);
	SHIM_CHECK_RV(generate_named("a", &shim_no, keys), CKR_OK);
	shim_set_rules("");
	SHIM_CHECK_RV(shim_generate(&keys[0], &keys[1]), CKR_OK);
	SHIM_CHECK(!is_private(keys[0]));
	shim_set_rules("public-private\n");
	SHIM_CHECK_RV(shim_generate(&keys[0], &keys[1]), CKR_OK);
	SHIM_CHECK(is_private(keys[0]));
	SHIM_CHECK_RV(generate_named("a", &shim_no, keys), CKR_OK);
	SHIM_CHECK(!is_private(keys[0]));
}

static void public_keys_are_private_or_must_not_be(void **state)
{
	(void)state;
	shim_run_with("public-private-demand CKR_TEMPLATE_INCONSISTENT\n", public_keys_body);
}

static void data_body(void)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_ATTRIBUTE data[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &shim_yes, sizeof(shim_yes)}};
	CK_OBJECT_HANDLE object;

	shim_log_in();
	SHIM_CHECK_RV(shim_p11->C_CreateObject(shim_session, data, 2, &object), CKR_FUNCTION_NOT_SUPPORTED);
	shim_set_rules("");
	SHIM_CHECK_RV(shim_p11->C_CreateObject(shim_session, data, 2, &object), CKR_OK);
}

static void data_objects_are_refused(void **state)
{
	(void)state;
	shim_run_with("data-refuse CKR_FUNCTION_NOT_SUPPORTED\n", data_body);
}

#define VENDOR_MECHANISM 0x80000143UL

static void mechanism_body(void)
{
	char label[] = SHIM_LABEL;
	CK_MECHANISM mechanism = {VENDOR_MECHANISM, NULL, 0};
	CK_ATTRIBUTE pub[] = {{CKA_EC_PARAMS, shim_p256, sizeof(shim_p256)}};
	CK_ATTRIBUTE priv[] = {{CKA_LABEL, label, strlen(label)}};
	CK_OBJECT_HANDLE keys[2];
	CK_MECHANISM_INFO info;

	shim_log_in();
	SHIM_CHECK_RV(shim_p11->C_GetMechanismInfo(shim_slot, VENDOR_MECHANISM, &info), CKR_OK);
	SHIM_CHECK(info.flags & CKF_GENERATE_KEY_PAIR);
	SHIM_CHECK_RV(shim_p11->C_GetMechanismInfo(shim_slot, CKM_EC_KEY_PAIR_GEN, &info),
		      CKR_MECHANISM_INVALID);
	SHIM_CHECK_RV(
	    shim_p11->C_GenerateKeyPair(shim_session, &mechanism, pub, 1, priv, 1, &keys[0], &keys[1]),
	    CKR_OK);
	SHIM_CHECK(mechanism.mechanism == VENDOR_MECHANISM);
	SHIM_CHECK(shim_file_says("trace", "C_GenerateKeyPair session=1 mechanism=CKM_0x80000143"));
	shim_set_rules("C_GenerateKeyPair return CKR_CURVE_NOT_SUPPORTED if CKA_EC_PARAMS=06052b81040022\n");
	SHIM_CHECK_RV(shim_generate(&keys[0], &keys[1]), CKR_OK);
	shim_set_rules(
	    "C_GenerateKeyPair return CKR_CURVE_NOT_SUPPORTED if CKA_EC_PARAMS=06082a8648ce3d030107\n");
	SHIM_CHECK_RV(shim_generate(&keys[0], &keys[1]), CKR_CURVE_NOT_SUPPORTED);
}

static void one_mechanism_stands_for_another(void **state)
{
	(void)state;
	shim_run_with("mechanism-is 0x80000143 CKM_EC_KEY_PAIR_GEN\n"
		      "C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_EC_KEY_PAIR_GEN\n",
		      mechanism_body);
}

/* ---- the way to the token, and calls that wait ---- */

static void far_away_body(void)
{
	int64_t before;

	shim_log_in();
	shim_set_rules("answer-after 20s\n");
	before = shim_now_ms();
	SHIM_CHECK(session_state() == CKS_RW_USER_FUNCTIONS);
	SHIM_CHECK(shim_now_ms() - before < 20000);
	shim_set_rules("answer-after 200ms\n");
	before = shim_now_ms();
	SHIM_CHECK_RV(shim_random_in(shim_session), CKR_OK);
	SHIM_CHECK(shim_now_ms() - before >= 200);
}

static void the_token_is_far_away(void **state)
{
	(void)state;
	shim_run(far_away_body);
}

static void serialise_body(void)
{
	CK_SESSION_HANDLE other;
	int64_t started;
	pthread_t thread;

	shim_initialize();
	shim_session = shim_open_session();
	other = shim_open_session();
	shim_set_rules("serialise\nC_GenerateRandom@1 sleep 400ms\n");
	SHIM_CHECK(pthread_create(&thread, NULL, random_thread, &shim_session) == 0);
	SHIM_CHECK(shim_wait_for_trace(" = sleep"));
	started = shim_now_ms();
	SHIM_CHECK_RV(shim_p11->C_CloseSession(other), CKR_OK);
	SHIM_CHECK(shim_now_ms() - started > 100);
	SHIM_CHECK(pthread_join(thread, NULL) == 0);
}

static void calls_wait_for_each_other(void **state)
{
	(void)state;
	shim_run(serialise_body);
}

/* ---- the PIN ---- */

static CK_FLAGS pin_flags(void)
{
	CK_TOKEN_INFO info;

	SHIM_CHECK_RV(shim_p11->C_GetTokenInfo(shim_slot, &info), CKR_OK);
	return info.flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
}

static void bad_login_body(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_login_with(SHIM_WRONG_PIN), CKR_PIN_INCORRECT);
}

static void final_try_body(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK(pin_flags() == (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY));
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_OK);
	SHIM_CHECK(pin_flags() == 0);
}

static void count_low_body(void)
{
	shim_initialize();
	SHIM_CHECK(pin_flags() == CKF_USER_PIN_COUNT_LOW);
}

static void locked_body(void)
{
	unsigned char so[] = SHIM_SO_PIN, pin[] = SHIM_PIN;

	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK(pin_flags() == (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED));
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_PIN_LOCKED);
	SHIM_CHECK_RV(shim_login_with(SHIM_WRONG_PIN), CKR_PIN_LOCKED);
	SHIM_CHECK_RV(shim_p11->C_Login(shim_session, CKU_SO, so, 8), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_InitPIN(shim_session, pin, 6), CKR_OK);
	SHIM_CHECK_RV(shim_p11->C_Logout(shim_session), CKR_OK);
	SHIM_CHECK(pin_flags() == 0);
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_OK);
}

static void the_pin_locks_over_restarts(void **state)
{
	(void)state;
	shim_set_rules("pin-tries 3\n");
	shim_run(bad_login_body);
	shim_run(count_low_body);
	shim_run(bad_login_body);
	shim_run(final_try_body);
	for (int i = 0; i < 3; i++)
		shim_run(bad_login_body);
	shim_run(locked_body);
	assert_int_equal(shim_counter("C_Login.bad"), 5);
	assert_int_equal(shim_counter("C_Login"), 10);
}

static void other_pin_error_body(void)
{
	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK_RV(shim_login_with(SHIM_WRONG_PIN), CKR_USER_TYPE_INVALID);
	SHIM_CHECK_RV(shim_login_with(SHIM_PIN), CKR_OK);
}

static void logged_in_body(void)
{
	CK_OBJECT_HANDLE pub, priv;

	shim_initialize();
	shim_session = shim_open_session();
	SHIM_CHECK(session_state() == CKS_RW_USER_FUNCTIONS);
	SHIM_CHECK_RV(shim_generate(&pub, &priv), CKR_OK);
	shim_session = shim_open_session();
	SHIM_CHECK(session_state() == CKS_RW_USER_FUNCTIONS);
	SHIM_CHECK(shim_counter("C_Login") == 0);
}

static void modules_log_in_in_another_way(void **state)
{
	(void)state;
	shim_run_with("pin-incorrect CKR_USER_TYPE_INVALID\n", other_pin_error_body);
	unlink(shim_in_folder("state/C_Login"));
	shim_run_with("logged-in " SHIM_PIN "\n", logged_in_body);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    SHIM_CASE(a_signature_is_corrupted),
	    SHIM_CASE(attributes_are_falsified),
	    SHIM_CASE(token_info_is_falsified),
	    SHIM_CASE(sessions_are_limited),
	    SHIM_CASE(sessions_are_made_invalid),
	    SHIM_CASE(a_session_in_use_ends_after_its_call),
	    SHIM_CASE(the_user_is_logged_out),
	    SHIM_CASE(a_public_key_goes_with_its_private_key),
	    SHIM_CASE(templates_are_taken_in_another_way),
	    SHIM_CASE(names_are_kept_in_another_way),
	    SHIM_CASE(public_keys_are_private_or_must_not_be),
	    SHIM_CASE(data_objects_are_refused),
	    SHIM_CASE(one_mechanism_stands_for_another),
	    SHIM_CASE(the_token_is_far_away),
	    SHIM_CASE(calls_wait_for_each_other),
	    SHIM_CASE(the_pin_locks_over_restarts),
	    SHIM_CASE(modules_log_in_in_another_way),
	};

	return cmocka_run_group_tests(tests, shim_make_folder, shim_remove_folder);
}
