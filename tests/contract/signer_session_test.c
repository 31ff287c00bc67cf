/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrd-hsm on a token that has few sessions to spare, is full, is slow, or does
 * one thing at a time: it goes on with what there is, and says so.
 *
 * run: waits seconds=73
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_fixture.h"

#include "base/clock.h"
#include "base/exit_code.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ID_A "0a000000-0000-4000-8000-00000000000a"
#define ID_B "0b000000-0000-4000-8000-00000000000b"
#define AT_ONCE 12

static void create_many(struct signer_client *c)
{
	struct csr_spec spec;
	uint32_t ids[AT_ONCE];
	char csr_id[CSR_ID_SIZE];

	signer_spec(&spec, KEY_P256V1);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		signer_csr_id(csr_id, i);
		ids[i] = signer_create_send(c, csr_id, &spec, CLIENT_DEADLINE_MS);
	}
	csr_spec_release(&spec);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct message_create_csr_reply reply;

		assert_int_equal(signer_create_get(c, ids[i], &reply), E_OK);
		message_create_csr_reply_release(&reply);
	}
	for (unsigned i = 0; i < AT_ONCE; i++) {
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_destroy(c, csr_id, &(uint32_t){0}), E_OK);
	}
}

/* ---- few sessions ---- */

/* At work: those threads that have one do all the work, and nobody is refused. */
static void fewer_sessions_than_threads_at_work_F177(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->threads = 4;
	signer_open(f, &c, "");
	signer_set_rules(f, "sessions-max 1\ninvalidate-sessions\n");
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
		assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_OK);
	}
	create_many(&c);
	signer_wait_for_status(&c, true, "1 of 4 sessions");
	signer_set_rules(f, "");
	signer_wait_for_status(&c, true, "");
	while (!signer_log_has(f, "4 of 4 threads work"))
		usleep(20000);
	create_many(&c);
	signer_close(f, &c);
}

static void fewer_sessions_than_threads_at_start_F177(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->threads = 4;
	for (unsigned max = 1; max < 4; max++) {
		char rules[32], detail[32];

		snprintf(rules, sizeof(rules), "sessions-max %u\n", max);
		snprintf(detail, sizeof(detail), "%u of 4 sessions", max);
		signer_open(f, &c, rules);
		signer_wait_for_status(&c, true, detail);
		create_many(&c);
		signer_close(f, &c);
	}
}

/* One thread opens its session, which takes long, and another looks whether it may work: nobody waits for
 * that. */
static void a_slow_session_does_not_hold_up_the_server_F291(void **state)
{
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct message_find_key_reply found;
	struct signer_client c;
	uint32_t ids[2];
	uint64_t started;

	f->threads = 2;
	f->extra = "keep_alive = 1h\n";
	signer_open(f, &c, "sessions-max 1\n");
	signer_wait_for_status(&c, true, "1 of 2 sessions");
	signer_set_rules(f, "sessions-max 1\ninvalidate-sessions\nC_OpenSession sleep 4s\n");
	started = clock_ms();
	ids[0] = signer_key_send(&c, MESSAGE_FIND_KEY, ID_A, CLIENT_DEADLINE_MS);
	signer_wait_for_trace(f, "= sleep");
	ids[1] = signer_key_send(&c, MESSAGE_FIND_KEY, ID_B, CLIENT_DEADLINE_MS); /* wakes the other thread */
	signer_status(&c, &status);
	message_status_reply_release(&status);
	signer_status(&c, &status); /* it has been woken by now */
	message_status_reply_release(&status);
	assert_true(clock_ms() - started < 3000);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(signer_find_get(&c, ids[i], &found), E_OK);
	assert_true(clock_ms() - started > 3900);
	signer_close(f, &c);
}

/* The module counts sessions that nobody has any more: not usable, and helped by initialising it anew. */
static void sessions_that_are_lost_come_back_F178(void **state)
{
	static const char *const rules[] = {
	    "sessions-max 4\nC_CloseSession return CKR_DEVICE_ERROR\nC_GenerateKeyPair return "
	    "CKR_DEVICE_ERROR\n"
	    "C_GetSessionInfo return CKR_DEVICE_ERROR\nC_Finalize return CKR_DEVICE_ERROR\n"
	    "C_CloseAllSessions return CKR_DEVICE_ERROR\n",
	    "invalidate-sessions\nC_OpenSession return CKR_SESSION_COUNT\n",
	};
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->threads = 4;
	signer_open(f, &c, "sessions-max 4\n");
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		signer_set_rules(f, rules[i]);
		for (unsigned n = 0; n < 8; n++)
			assert_int_not_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
		signer_wait_for_status(&c, false, "");
		signer_set_rules(f, "sessions-max 4\n");
		signer_wait_for_status(&c, true, "");
		create_many(&c);
	}
	signer_close(f, &c);
}

/* ---- lists ---- */

/* One at a time, one for a connection, and it ends with who asked for it. */
static void lists_end_with_their_caller_F179(void **state)
{
	struct signer_fixture *f = *state;
	struct message_error error;
	struct signer_answer answer;
	struct signer_client c, others[3];
	struct buf payload;
	uint64_t started;
	uint32_t id;

	f->threads = 2;
	signer_token_add_public(f, 1, 600);
	signer_open(f, &c, "C_GetAttributeValue sleep 20ms\n");
	buf_init(&payload, 1024);
	message_list_keys_encode(&payload, &(struct message_list_keys){.timeout_ms = CLIENT_DEADLINE_MS});
	for (unsigned i = 0; i < 3; i++) {
		signer_client_open(&others[i], f->socket, NULL);
		signer_client_send(&others[i], MESSAGE_LIST_KEYS, &payload);
	}
	/* a second one on one connection */
	id = signer_client_send(&others[0], MESSAGE_LIST_KEYS, &payload);
	signer_client_receive(&others[0], id, &answer);
	assert_int_equal(answer.type, MESSAGE_ERROR);
	assert_int_equal(message_error_decode(answer.payload.data, answer.payload.len, &error), E_OK);
	assert_int_equal(error.code, E_BUSY);
	message_error_release(&error);
	buf_release(&answer.payload);
	/* beside them there is a thread for the rest */
	started = clock_ms();
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	for (unsigned i = 0; i < 3; i++)
		signer_client_close(&others[i]);
	/* 600 objects at 20 ms are 12 s, three times */
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	assert_true(clock_ms() - started < 8000);
	buf_release(&payload);
	signer_close(f, &c);
}

static void a_list_ends_with_its_time_F179(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_answer answer;
	struct message_error error;
	struct signer_client c;
	struct buf payload;

	f->threads = 1;
	signer_token_add_public(f, 1, 600);
	signer_open(f, &c, "C_GetAttributeValue sleep 20ms\n");
	buf_init(&payload, 1024);
	message_list_keys_encode(&payload, &(struct message_list_keys){.timeout_ms = 500});
	signer_client_receive(&c, signer_client_send(&c, MESSAGE_LIST_KEYS, &payload), &answer);
	assert_int_equal(answer.type, MESSAGE_ERROR);
	assert_int_equal(message_error_decode(answer.payload.data, answer.payload.len, &error), E_OK);
	assert_int_equal(error.code, E_TIMEOUT);
	message_error_release(&error);
	buf_release(&answer.payload);
	buf_release(&payload);
	signer_close(f, &c);
}

/* ---- a full token ---- */

static void a_full_token_is_left_in_peace_F180(void **state)
{
	static const struct {
		const char *rule;
		long restarts;
	} cases[] = {{"C_GenerateKeyPair return CKR_FUNCTION_FAILED\n", 1},
		     {"C_GenerateKeyPair return CKR_TOKEN_WRITE_PROTECTED\n", 0},
		     {"C_GenerateKeyPair return CKR_DEVICE_MEMORY\n", 0},
		     {"C_GenerateKeyPair return 0x80000301\n", 1}};
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_open(f, &c, "");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		long before = signer_shim_count(f, "C_Initialize");
		uint64_t until = clock_ms() + 3000;

		assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
		signer_set_rules(f, cases[i].rule);
		while (clock_ms() < until) {
			assert_int_not_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
			usleep(50000);
		}
		assert_true(signer_shim_count(f, "C_Initialize") - before <= cases[i].restarts);
		assert_int_equal(signer_destroy(&c, ID_B, &(uint32_t){0}), E_OK);
		signer_set_rules(f, "");
		signer_wait_for_status(&c, true, "");
	}
	signer_close(f, &c);
}

/* ---- time ---- */

/* The module is reinitialised, which takes its time: a request whose time is up then is not begun. */
static void a_request_past_its_time_is_not_begun_F181(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct signer_client c;
	struct csr_spec spec;
	uint32_t id;

	f->threads = 2;
	signer_open(f, &c, "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_DestroyObject return CKR_OK\nC_Initialize sleep 2s\n");
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_UNCERTAIN);
	signer_wait_for_trace(f, "C_Finalize");
	signer_spec(&spec, KEY_P256V1);
	id = signer_create_send(&c, ID_B, &spec, 500);
	csr_spec_release(&spec);
	assert_int_equal(signer_create_get(&c, id, &reply), E_TIMEOUT);
	signer_set_rules(f, "");
	assert_int_equal(signer_find(&c, ID_B), MESSAGE_KEY_NONE);
	signer_close(f, &c);
}

/* Nor is it tried again where it waited until its time was up to have the token for itself. */
static void a_create_past_its_time_is_not_tried_again_F292(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply created;
	struct message_find_key_reply found;
	struct signer_client c;
	struct csr_spec spec;
	uint32_t create, find;
	long before;

	f->threads = 3;
	f->extra = "keep_alive = 1h\n";
	signer_open(f, &c, "");
	before = signer_shim_count(f, "C_GenerateKeyPair");
	signer_set_rules(f, "C_FindObjectsInit@1 sleep 1s\nC_GenerateKeyPair@1 return CKR_GENERAL_ERROR\n");
	find = signer_key_send(&c, MESSAGE_FIND_KEY, ID_B, CLIENT_DEADLINE_MS);
	signer_wait_for_trace(f, "= sleep");
	signer_spec(&spec, KEY_P256V1);
	create = signer_create_send(&c, ID_A, &spec, 700);
	csr_spec_release(&spec);
	assert_int_equal(signer_create_get(&c, create, &created), E_TIMEOUT);
	assert_true(signer_shim_count(f, "C_GenerateKeyPair") <= before + 1);
	assert_int_equal(signer_find_get(&c, find, &found), E_OK);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_NONE);
	signer_close(f, &c);
}

static void sigterm_ends_the_first_look_F182(void **state)
{
	struct signer_fixture *f = *state;
	uint64_t started;

	signer_use_shim(f, "C_GenerateKeyPair sleep 1s\n");
	signer_start(f);
	signer_wait_for_trace(f, "= sleep");
	started = clock_ms();
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	assert_int_equal(signer_wait(f), EXIT_CODE_OK);
	assert_true(clock_ms() - started < 4000);
	assert_int_equal(signer_shim_count(f, "C_GenerateKeyPair"), 1);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 0);
}

/* ---- one thing at a time ---- */

/* Searches and keep-alives wait for longer than they may take themselves. */
static void a_module_that_does_one_thing_at_a_time_F176(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->threads = 4;
	f->extra = "timeout_generate = 20s\ntimeout_sign = 1s\ntimeout_other = 1s\nkeep_alive = 100ms\n";
	signer_open(f, &c, "");
	signer_set_rules(f, "serialise\nC_GenerateKeyPair sleep 1500ms\n");
	create_many(&c);
	signer_close(f, &c);
}

/* What failed while others used the token is tried again with nobody else inside. */
static void expect_a_try_alone(struct signer_fixture *f, const char *disturbance)
{
	struct message_create_csr_reply created;
	struct message_find_key_reply found;
	struct signer_client c;
	struct csr_spec spec;
	uint32_t create, find;
	uint64_t started;
	char rules[256];
	long before;

	f->threads = 3;
	f->extra = "keep_alive = 1h\n";
	signer_open(f, &c, "");
	before = signer_shim_count(f, "C_GenerateKeyPair");
	snprintf(rules, sizeof(rules), "C_FindObjectsInit@1 sleep 300ms\nC_GenerateKeyPair@2 sleep 600ms\n%s",
		 disturbance);
	signer_set_rules(f, rules);
	find = signer_key_send(&c, MESSAGE_FIND_KEY, ID_B, CLIENT_DEADLINE_MS);
	signer_wait_for_trace(f, "= sleep");
	signer_spec(&spec, KEY_P256V1);
	create = signer_create_send(&c, ID_A, &spec, CLIENT_DEADLINE_MS);
	csr_spec_release(&spec);
	assert_int_equal(signer_find_get(&c, find, &found), E_OK);
	signer_wait_for_count(f, "C_GenerateKeyPair", before + 2);
	started = clock_ms();
	assert_int_equal(signer_find(&c, ID_B), MESSAGE_KEY_NONE);
	assert_true(clock_ms() - started > 200);
	assert_int_equal(signer_create_get(&c, create, &created), E_OK);
	message_create_csr_reply_release(&created);
	signer_close(f, &c);
}

static void a_disturbed_create_has_the_token_for_itself_F183(void **state)
{
	expect_a_try_alone(*state, "C_GenerateKeyPair@1 return CKR_GENERAL_ERROR\n");
}

/* No call failed, but the pair reads back otherwise than asked for: another thread was in the way. */
static void a_misread_pair_is_made_again_F183(void **state)
{
	expect_a_try_alone(*state, "C_GetAttributeValue attr CKA_SENSITIVE false once\n");
}

/* ---- the module is reinitialised ---- */

#define SLOWEST_MS 700 /* of a search that waits for nobody */

/* Of searches for so long, or until the module is reinitialised. */
static uint64_t find_slowest(struct signer_fixture *f, struct signer_client *c, uint64_t for_ms)
{
	uint64_t until = clock_ms() + for_ms, slowest = 0;

	while (clock_ms() < until && !signer_log_has(f, "the module is reinitialised")) {
		uint64_t started = clock_ms(), took;

		assert_int_equal(signer_find(c, ID_A), MESSAGE_KEY_PAIR);
		took = clock_ms() - started;
		slowest = took > slowest ? took : slowest;
	}
	return slowest;
}

/* One thread is inside for long: nobody is kept out meanwhile for what has to wait for it. */
static void a_renewal_that_has_to_wait_keeps_nobody_out_F222(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply created;
	struct signer_client c;
	struct csr_spec spec;
	uint32_t slow;

	f->threads = 4;
	f->extra = "keep_alive = 1h\n";
	signer_open(f, &c, "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_GenerateKeyPair@1 sleep 6s\nC_DestroyObject return CKR_OK\n");
	signer_spec(&spec, KEY_P256V1);
	slow = signer_create_send(&c, ID_B, &spec, CLIENT_DEADLINE_MS);
	csr_spec_release(&spec);
	signer_wait_for_trace(f, "= sleep");
	assert_true(find_slowest(f, &c, 1200) < SLOWEST_MS); /* it is inside for longer than one waits */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_UNCERTAIN);
	assert_true(find_slowest(f, &c, 3500) < SLOWEST_MS);
	assert_int_equal(signer_create_get(&c, slow, &created), E_OK);
	message_create_csr_reply_release(&created);
	signer_wait_for_log(f, "the module is reinitialised"); /* once it is out */
	signer_close(f, &c);
}

/* Where it cannot be told how long they will be inside, they are waited for now and then. */
static void a_renewal_takes_its_turn_F222(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	struct csr_spec spec;
	uint32_t ids[4];
	char csr_id[CSR_ID_SIZE];
	unsigned next = 0;

	f->threads = 4;
	f->extra = "keep_alive = 1h\n";
	signer_open(f, &c, "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_GenerateKeyPair sleep 300ms\nC_DestroyObject return CKR_OK\n");
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_UNCERTAIN);
	signer_spec(&spec, KEY_P256V1);
	for (; next < 4; next++) {
		signer_csr_id(csr_id, next);
		ids[next] = signer_create_send(&c, csr_id, &spec, CLIENT_DEADLINE_MS);
	}
	/* Somebody is inside at any time. */
	for (; !signer_log_has(f, "the module is reinitialised"); next++) {
		struct message_create_csr_reply created;

		assert_true(next < 400);
		assert_int_equal(signer_create_get(&c, ids[next % 4], &created), E_OK);
		message_create_csr_reply_release(&created);
		signer_csr_id(csr_id, next);
		ids[next % 4] = signer_create_send(&c, csr_id, &spec, CLIENT_DEADLINE_MS);
	}
	csr_spec_release(&spec);
	signer_close(f, &c);
}

/* ---- the connection to the HSM ---- */

/* Modules answer much by themselves; what only the HSM can answer tells that it is lost. */
static void a_lost_connection_is_noticed_while_nobody_asks_F224(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->extra = "keep_alive = 200ms\n";
	signer_open(f, &c, "");
	signer_set_rules(f, "C_FindObjectsInit return CKR_DEVICE_ERROR\n");
	signer_wait_for_log(f, "an idle session failed: C_FindObjectsInit: CKR_DEVICE_ERROR");
	signer_close(f, &c);
}

/* Another process wrote the token's file while it was read (SoftHSM): the next answer counts. */
static void a_token_info_that_fails_once_is_no_outage_F276(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->threads = 1;
	signer_open(f, &c, "");
	signer_set_rules(f, "C_GenerateKeyPair@1 return CKR_GENERAL_ERROR\n"
			    "C_GetTokenInfo@1 return CKR_GENERAL_ERROR\n"
			    "C_GetTokenInfo@2 return CKR_FUNCTION_FAILED\n");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_HSM);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	assert_true(signer_shim_count(f, "C_GetTokenInfo") >= 3);
	assert_false(signer_log_has(f, "the hsm is down"));
	signer_close(f, &c);
}

/* Each slot may take its time, however many there are. */
static void many_slow_slots_are_waited_for_F225(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char label[16];

	for (unsigned i = 0; i < 6; i++) {
		snprintf(label, sizeof(label), "other-%u", i);
		f->kind->make_token(f, label);
	}
	f->extra = "timeout_other = 1s\n";
	signer_open(f, &c, "C_GetTokenInfo sleep 300ms\n");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_close(f, &c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    SIGNER_CASE(fewer_sessions_than_threads_at_work_F177),
	    SIGNER_CASE(fewer_sessions_than_threads_at_start_F177),
	    SIGNER_CASE(a_slow_session_does_not_hold_up_the_server_F291),
	    SIGNER_CASE(sessions_that_are_lost_come_back_F178),
	    SIGNER_CASE(lists_end_with_their_caller_F179),
	    SIGNER_CASE(a_list_ends_with_its_time_F179),
	    SIGNER_CASE(a_full_token_is_left_in_peace_F180),
	    SIGNER_CASE(a_request_past_its_time_is_not_begun_F181),
	    SIGNER_CASE(a_create_past_its_time_is_not_tried_again_F292),
	    SIGNER_CASE(sigterm_ends_the_first_look_F182),
	    SIGNER_CASE(a_module_that_does_one_thing_at_a_time_F176),
	    SIGNER_CASE(a_disturbed_create_has_the_token_for_itself_F183),
	    SIGNER_CASE(a_misread_pair_is_made_again_F183),
	    SIGNER_CASE(a_renewal_that_has_to_wait_keeps_nobody_out_F222),
	    SIGNER_CASE(a_renewal_takes_its_turn_F222),
	    SIGNER_CASE(a_lost_connection_is_noticed_while_nobody_asks_F224),
	    SIGNER_CASE(a_token_info_that_fails_once_is_no_outage_F276),
	    SIGNER_CASE(many_slow_slots_are_waited_for_F225),
	};

	return SIGNER_RUN("csrd-hsm and what its token has to spare", tests, argc, argv);
}
