/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key pool of the real csrd-hsm on a fresh token: how it is filled, how a
 * key leaves it, and what happens when the token does not play along.
 *
 * run: waits seconds=51
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_fixture.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POOL_LABEL "csrd-pool:node-1:p256v1"
#define NODE "node = node-1\n"
#define QUICK "pool_quiet = 20ms\n" /* what a caller took is made again at once */
#define EXTRA QUICK NODE
#define NO_GENERATION "C_GenerateKeyPair return CKR_DEVICE_MEMORY\n"

static size_t count_private(const struct signer_fixture *f, const char *label)
{
	return signer_token_count(f, CKO_PRIVATE_KEY, label);
}

static size_t count_public(const struct signer_fixture *f, const char *label)
{
	return signer_token_count(f, CKO_PUBLIC_KEY, label);
}

static void expect_pool(const struct signer_fixture *f, size_t pairs)
{
	assert_int_equal(count_private(f, POOL_LABEL), pairs);
	assert_int_equal(count_public(f, POOL_LABEL), pairs);
}

/* Objects that are keys; what else a generation that was cut off leaves is nobody's. */
static void expect_keys(const struct signer_fixture *f, size_t pairs)
{
	assert_int_equal(signer_token_count_keys(f, CKO_PRIVATE_KEY), pairs);
	assert_int_equal(signer_token_count_keys(f, CKO_PUBLIC_KEY), pairs);
}

/* Waits for the level of P-256 keys. */
static void wait_ready(struct signer_client *c, uint32_t ready)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	const struct timespec pause = {0, 5000000};
	struct message_status_reply status;
	uint32_t level;

	do {
		assert_true(clock_ms() < deadline);
		nanosleep(&pause, NULL);
		signer_status(c, &status);
		level = 0;
		for (size_t i = 0; i < status.pools_len; i++)
			if (status.pools[i].key_type == KEY_P256V1)
				level = status.pools[i].ready;
		message_status_reply_release(&status);
	} while (level != ready);
}

static void wait_detail(struct signer_client *c, const char *detail)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	const struct timespec pause = {0, 5000000};
	struct message_status_reply status;
	bool same;

	do {
		assert_true(clock_ms() < deadline);
		nanosleep(&pause, NULL);
		signer_status(c, &status);
		same = strcmp(status.pool_detail, detail) == 0;
		message_status_reply_release(&status);
	} while (!same);
}

static void start(struct signer_fixture *f, const char *rules, const char *extra, struct signer_client *c)
{
	signer_use_shim(f, rules);
	/* The TPM has no room for a look at it while a key is made. */
	if (f->kind == &signer_token_kinds[SIGNER_KIND_TPM] && strncmp(extra, QUICK, strlen(QUICK)) == 0)
		extra += strlen(QUICK);
	f->extra = extra;
	signer_start(f);
	signer_client_open(c, f->socket, NULL);
}

static void stop(struct signer_fixture *f, struct signer_client *c)
{
	signer_client_close(c);
	signer_stop(f);
}

/* Creates CSR `number`; its key must be new to `seen` and stand whole under its own label. */
static void create(const struct signer_fixture *f, struct signer_client *c, unsigned number,
		   uint8_t seen[][KEY_SPKI_HASH_BYTES])
{
	struct message_create_csr_reply reply;
	char csr_id[CSR_ID_SIZE], label[64];

	signer_csr_id(csr_id, number);
	assert_int_equal(signer_create(c, csr_id, KEY_P256V1, &reply), E_OK);
	assert_int_equal(reply.key.protection, KEY_PROT_REQUIRED);
	memcpy(seen[number], reply.key.spki_sha256, KEY_SPKI_HASH_BYTES);
	for (unsigned i = 0; i < number; i++)
		assert_memory_not_equal(seen[i], seen[number], KEY_SPKI_HASH_BYTES);
	message_create_csr_reply_release(&reply);
	snprintf(label, sizeof(label), "csrd:%s", csr_id);
	assert_int_equal(count_private(f, label), 1);
	assert_int_equal(count_public(f, label), 1);
	assert_int_equal(signer_find(c, csr_id), MESSAGE_KEY_PAIR);
}

/* ---- filling and claiming ---- */

static void the_pool_is_filled_and_claimed_without_a_search(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct message_list_keys_part list;
	char csr_id[CSR_ID_SIZE];
	uint8_t hashes[5][KEY_SPKI_HASH_BYTES];
	struct signer_client c;
	long searches;
	unsigned parts;

	start(f, "", NODE "pool_p256v1 = 5\npool_pause = 1m\n", &c); /* no fill between the creates */
	wait_ready(&c, 5);
	expect_pool(f, 5);
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 0);
	message_list_keys_part_release(&list);
	signer_set_rules(f, NO_GENERATION); /* so that what is created now comes out of the pool */
	searches = signer_shim_count(f, "C_FindObjectsInit");
	for (unsigned i = 0; i < 5; i++) {
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, &reply), E_OK);
		memcpy(hashes[i], reply.key.spki_sha256, KEY_SPKI_HASH_BYTES);
		for (unsigned j = 0; j < i; j++)
			assert_memory_not_equal(hashes[i], hashes[j], KEY_SPKI_HASH_BYTES);
		message_create_csr_reply_release(&reply);
	}
	assert_int_equal(signer_shim_count(f, "C_FindObjectsInit"), searches);
	for (unsigned i = 0; i < 5; i++) {
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_find(&c, csr_id), MESSAGE_KEY_PAIR);
	}
	expect_pool(f, 0);
	wait_detail(&c, "not filled: making a key failed, the next attempt waits");
	signer_csr_id(csr_id, 6);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_UNAVAIL);
	signer_set_rules(f, "");
	wait_ready(&c, 5);
	expect_pool(f, 5);
	stop(f, &c);
}

static void the_pool_outlives_the_process(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[8][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	create(f, &c, 0, seen);
	wait_ready(&c, 3);
	stop(f, &c);
	start(f, NO_GENERATION, EXTRA "pool_p256v1 = 1\n", &c); /* more than there should be: used up */
	wait_ready(&c, 3);
	for (unsigned i = 1; i <= 3; i++)
		create(f, &c, i, seen);
	expect_pool(f, 0);
	stop(f, &c);
	expect_keys(f, 4);
}

static void the_pool_of_another_node_is_left_alone(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 2\n", &c);
	wait_ready(&c, 2);
	stop(f, &c);
	start(f, "", "node = node-2\npool_p256v1 = 1\n", &c);
	wait_ready(&c, 1);
	expect_pool(f, 2);
	assert_int_equal(count_private(f, "csrd-pool:node-2:p256v1"), 1);
	stop(f, &c);
}

/* "node keys; …" of nodes that are not this signer's. */
static void list_pools(struct signer_client *c, char text[256])
{
	struct message_list_pools_reply reply;
	struct signer_answer answer;
	struct buf payload;

	buf_init(&payload, 64);
	message_list_keys_encode(&payload, &(struct message_list_keys){.timeout_ms = CLIENT_DEADLINE_MS});
	signer_client_receive(c, signer_client_send(c, MESSAGE_LIST_POOLS, &payload), &answer);
	buf_release(&payload);
	assert_int_equal(answer.type, MESSAGE_LIST_POOLS | MESSAGE_REPLY);
	assert_int_equal(message_list_pools_reply_decode(answer.payload.data, answer.payload.len, &reply),
			 E_OK);
	buf_release(&answer.payload);
	text[0] = '\0';
	for (size_t i = 0; i < reply.nodes_len; i++)
		snprintf(text + strlen(text), 256 - strlen(text), "%s %u %u; ", reply.nodes[i].node,
			 reply.nodes[i].private_keys, reply.nodes[i].public_keys);
	assert_int_equal(reply.unread, 0);
	message_list_pools_reply_release(&reply);
}

/* The error, or E_OK and how many objects. */
static enum err destroy_pool(struct signer_client *c, const char *node, uint32_t *ret_objects)
{
	struct message_destroy_pool m = {.timeout_ms = CLIENT_DEADLINE_MS};
	struct message_destroy_key_reply reply = {0};
	struct message_error error = {.code = E_OK};
	struct signer_answer answer;
	enum err code;
	struct buf payload;

	snprintf(m.node, sizeof(m.node), "%s", node);
	buf_init(&payload, 128);
	message_destroy_pool_encode(&payload, &m);
	signer_client_receive(c, signer_client_send(c, MESSAGE_DESTROY_POOL, &payload), &answer);
	buf_release(&payload);
	if (answer.type == MESSAGE_ERROR)
		assert_int_equal(message_error_decode(answer.payload.data, answer.payload.len, &error), E_OK);
	else
		assert_int_equal(
		    message_destroy_key_reply_decode(answer.payload.data, answer.payload.len, &reply), E_OK);
	buf_release(&answer.payload);
	*ret_objects = reply.destroyed;
	code = error.code;
	message_error_release(&error);
	return code;
}

/* Containers get another host name each time: what they left is counted, named, and destroyed on request. */
static void ready_keys_of_nodes_that_are_gone_F230(void **state)
{
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct message_list_keys_part list;
	uint8_t seen[2][KEY_SPKI_HASH_BYTES];
	struct signer_client c;
	uint32_t objects;
	unsigned parts;
	char text[256];

	start(f, "", EXTRA "pool_p256v1 = 2\n", &c);
	wait_ready(&c, 2);
	stop(f, &c);
	start(f, "", "node = one\npool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	stop(f, &c);
	signer_token_destroy(f, CKO_PUBLIC_KEY, "csrd-pool:one:p256v1"); /* halves are keys, too */
	start(f, "", "node = now\npool_p256v1 = 1\npool_pause = 1m\n", &c);
	wait_ready(&c, 1);
	create(f, &c, 0, seen);
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 1);
	message_list_keys_part_release(&list);
	signer_status(&c, &status);
	assert_int_equal(status.other_nodes, 2);
	assert_int_equal(status.other_keys, 5);
	message_status_reply_release(&status);
	list_pools(&c, text);
	assert_string_equal(text, "node-1 2 2; one 3 0; ");

	assert_int_equal(destroy_pool(&c, "now", &objects), E_DENIED);
	assert_int_equal(destroy_pool(&c, "nobody", &objects), E_OK);
	assert_int_equal(objects, 0);
	assert_int_equal(destroy_pool(&c, "one", &objects), E_OK);
	assert_int_equal(objects, 3);
	list_pools(&c, text);
	assert_string_equal(text, "node-1 2 2; ");
	expect_pool(f, 2);
	assert_int_equal(destroy_pool(&c, "node-1", &objects), E_OK);
	assert_int_equal(objects, 4);
	list_pools(&c, text);
	assert_string_equal(text, "");
	signer_csr_id(text, 0);
	assert_int_equal(signer_find(&c, text), MESSAGE_KEY_PAIR);
	stop(f, &c);
}

static void a_single_thread_fills_too(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[1][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	f->threads = 1;
	start(f, "", EXTRA "pool_p256v1 = 2\n", &c);
	wait_ready(&c, 2);
	create(f, &c, 0, seen);
	wait_ready(&c, 2);
	stop(f, &c);
}

static void the_ceiling_counts_what_others_have_there(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_token_add_public(f, 0, 5);
	start(f, "", EXTRA "pool_p256v1 = 20\npool_objects_max = 10\n", &c);
	wait_detail(&c, "not filled: the token holds pool_objects_max objects");
	expect_pool(f, 3); /* 5, 7, 9: one more was allowed */
	stop(f, &c);
}

/* ---- what crashes left ---- */

static void half_pairs_are_destroyed_at_start(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	stop(f, &c);
	signer_token_destroy(f, CKO_PRIVATE_KEY, POOL_LABEL);
	start(f, "", EXTRA "pool_p256v1 = 2\n", &c);
	wait_ready(&c, 2);
	signer_wait_for_log(f, "pool: 3 half p256v1 pairs of an earlier run destroyed");
	expect_pool(f, 2);
	stop(f, &c);
	signer_token_destroy(f, CKO_PUBLIC_KEY, POOL_LABEL);
	start(f, "", EXTRA "pool_p256v1 = 1\n", &c);
	wait_ready(&c, 1);
	signer_wait_for_log(f, "pool: 2 half p256v1 pairs of an earlier run destroyed");
	expect_pool(f, 1);
	stop(f, &c);
}

#define POOL 3
#define ROUNDS 5

static void arm(const struct signer_fixture *f, const char *point)
{
	signer_write_file(signer_path(f, "failpoint"), point, 0600);
}

/* For the signers to come. */
static void use_failpoints(const struct signer_fixture *f)
{
	setenv("CSRD_FAILPOINT_FILE", signer_path(f, "failpoint"), 1);
}

/* Killed in a create, started again, and that create settled as csrd does it. */
static void crash_in_claims(struct signer_fixture *f, const char *point, uint32_t left)
{
	uint8_t seen[ROUNDS][KEY_SPKI_HASH_BYTES];
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;

	use_failpoints(f);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t destroyed;
		struct csr_spec spec;

		start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
		wait_ready(&c, POOL);
		arm(f, point);
		signer_csr_id(csr_id, 1000 + round);
		signer_spec(&spec, KEY_P256V1);
		signer_create_send(&c, csr_id, &spec, CLIENT_DEADLINE_MS);
		csr_spec_release(&spec);
		assert_int_equal(signer_wait(f), -9);
		signer_client_close(&c);
		start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
		assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
		assert_int_equal(destroyed, left);
		wait_ready(&c, POOL);
		create(f, &c, round, seen);
		wait_ready(&c, POOL);
		expect_pool(f, POOL);
		expect_keys(f, POOL + round + 1);
		stop(f, &c);
	}
	unsetenv("CSRD_FAILPOINT_FILE");
}

static void a_crash_in_a_claim_gives_no_key_twice(void **state)
{
	crash_in_claims(*state, "pool.claim.after-private", 1);
}

static void a_crash_after_a_claim_gives_no_key_twice(void **state)
{
	crash_in_claims(*state, "pool.claim.after-public", 2);
}

static void a_crash_while_filling_leaves_nothing_loose(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char extra[128];

	use_failpoints(f);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		snprintf(extra, sizeof(extra), EXTRA "pool_p256v1 = %u\n", round);
		arm(f, "pool.fill.after-keygen");
		signer_use_shim(f, "");
		f->extra = extra;
		signer_start(f);
		assert_int_equal(signer_wait(f), -9);
		/* What was whole is taken over: then there is nothing left to make. */
		start(f, "", extra, &c);
		wait_ready(&c, round);
		expect_pool(f, round);
		expect_keys(f, round);
		stop(f, &c);
	}
	unsetenv("CSRD_FAILPOINT_FILE");
}

/* ---- tokens that do not play along ---- */

static void a_token_that_does_not_relabel_gets_no_pool(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[1][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "C_SetAttributeValue return CKR_ATTRIBUTE_READ_ONLY\n", EXTRA "pool_p256v1 = 3\n", &c);
	wait_detail(&c, "the token does not allow the label of a key to be changed");
	signer_wait_for_log(f, "no key pool: token '" SIGNER_TOKEN_LABEL "' does not allow the label");
	create(f, &c, 0, seen);
	stop(f, &c);
	expect_keys(f, 1);
}

/*
 * It takes each new label and keeps the old one, or a part of the new one: no
 * key is made in vain for that.
 */
static void a_token_that_only_says_that_it_relabels_gets_no_pool_F285(void **state)
{
	static const char *const rules[] = {"C_SetAttributeValue return CKR_OK\n", "label-max 41\n"};
	struct signer_fixture *f = *state;
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;
	long made;

	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		for (unsigned life = 0; life < 2; life++) { /* the second remembers it */
			start(f, rules[i], EXTRA "pool_p256v1 = 3\n", &c);
			wait_detail(&c, "the token does not allow the label of a key to be changed");
			made = signer_shim_count(f, "C_GenerateKeyPair");
			signer_csr_id(csr_id, 2 * i + life);
			assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
			assert_int_equal(signer_shim_count(f, "C_GenerateKeyPair") - made, 1);
			stop(f, &c);
			expect_keys(f, 2 * i + life + 1);
		}
		unlink(signer_path(f, "signer-state/probe"));
	}
}

/* One claim goes wrong by that rule: the create succeeds all the same, and nothing is left of the key. */
static void failed_claim(struct signer_fixture *f, const char *rule)
{
	uint8_t seen[2][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	signer_set_rules(f, rule);
	create(f, &c, 0, seen);
	wait_ready(&c, 3);
	create(f, &c, 1, seen);
	wait_ready(&c, 3);
	expect_pool(f, 3);
	expect_keys(f, 5);
	stop(f, &c);
}

static void a_claim_refused_falls_back_on_a_new_key(void **state)
{
	failed_claim(*state, "C_SetAttributeValue@1 return CKR_ATTRIBUTE_READ_ONLY\n");
}

static void a_claim_cut_in_half_leaves_nothing(void **state)
{
	failed_claim(*state, "C_SetAttributeValue@2 return CKR_GENERAL_ERROR\n");
}

static void a_claim_that_lost_its_session_is_repeated(void **state)
{
	failed_claim(*state, "C_SetAttributeValue@1 return CKR_SESSION_HANDLE_INVALID\n");
}

/* The device is in trouble, so no other key is tried; but what was done is undone. */
static void a_claim_done_but_not_answered_leaves_nothing(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[1][KEY_SPKI_HASH_BYTES];
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	signer_set_rules(f, "C_SetAttributeValue@1 after-return CKR_DEVICE_ERROR\n");
	signer_csr_id(csr_id, 1000);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_UNAVAIL);
	assert_int_equal(signer_find(&c, csr_id), MESSAGE_KEY_NONE);
	create(f, &c, 0, seen);
	wait_ready(&c, 3);
	expect_pool(f, 3);
	expect_keys(f, 4);
	stop(f, &c);
}

static void a_label_that_does_not_stick_is_seen(void **state)
{
	failed_claim(*state, "C_SetAttributeValue@1 return CKR_OK\n");
}

static void handles_of_dead_sessions_are_found_again(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[3][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	signer_set_rules(f, "invalidate-sessions\n" NO_GENERATION);
	for (unsigned i = 0; i < 3; i++)
		create(f, &c, i, seen);
	stop(f, &c);
	expect_keys(f, 3);
}

static void keys_destroyed_behind_its_back_are_passed_over(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[2][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	signer_token_destroy(f, CKO_PRIVATE_KEY, POOL_LABEL);
	signer_token_destroy(f, CKO_PUBLIC_KEY, POOL_LABEL);
	create(f, &c, 0, seen);
	wait_ready(&c, 3);
	expect_pool(f, 3);
	create(f, &c, 1, seen);
	stop(f, &c);
}

/* Somebody else took it, as a signer with the same node name would: it is their CSR's key now. */
static void a_ready_key_that_somebody_took_stays_theirs_F280(void **state)
{
	static const char theirs[] = "csrd:0f000000-0000-4000-8000-00000000000f";
	struct signer_fixture *f = *state;
	uint8_t seen[1][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "", NODE "pool_p256v1 = 1\npool_pause = 1m\n", &c);
	wait_ready(&c, 1);
	signer_token_relabel(f, CKO_PRIVATE_KEY, POOL_LABEL, theirs);
	signer_token_relabel(f, CKO_PUBLIC_KEY, POOL_LABEL, theirs);
	create(f, &c, 0, seen);
	assert_true(signer_log_has(f, "a key of the pool is no longer on the token"));
	assert_int_equal(count_private(f, theirs), 1);
	assert_int_equal(count_public(f, theirs), 1);
	stop(f, &c);
}

/* From now on the token cuts labels, so that neither a key of the pool nor a new one can be the CSR's. */
static void a_claimed_key_under_another_label_is_not_left_F284(void **state)
{
	struct signer_fixture *f = *state;
	char csr_id[CSR_ID_SIZE], cut[64];
	struct signer_client c;

	start(f, "", NODE "pool_p256v1 = 1\npool_pause = 1m\n", &c);
	wait_ready(&c, 1);
	signer_set_rules(f, "label-max 40\n"); /* one byte less than is needed */
	signer_csr_id(csr_id, 0);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_HSM);
	snprintf(cut, sizeof(cut), "csrd:%.35s", csr_id);
	assert_int_equal(count_private(f, cut), 0);
	assert_int_equal(count_public(f, cut), 0);
	signer_set_rules(f, "");
	stop(f, &c);
}

/*
 * F203: modules say all sorts of things of handles whose objects are gone.  Such
 * keys are not counted as ready any more, and where one half is gone the other
 * goes too.
 */
static void dead_handles_may_be_called_anything_F203(void **state)
{
	static const char *const answers[] = {"CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "0x80000001"};
	enum { ANSWERS = sizeof(answers) / sizeof(answers[0]) };
	struct signer_fixture *f = *state;
	uint8_t seen[ANSWERS + 1][KEY_SPKI_HASH_BYTES];
	struct signer_client c;
	char rules[256];

	for (unsigned i = 0; i <= ANSWERS; i++) {
		start(f, "", NODE "pool_p256v1 = 3\npool_pause = 1m\n", &c); /* no fill after the create */
		wait_ready(&c, 3);
		signer_token_destroy(f, CKO_PRIVATE_KEY, POOL_LABEL);
		if (i < ANSWERS) {
			signer_token_destroy(f, CKO_PUBLIC_KEY, POOL_LABEL);
			snprintf(rules, sizeof(rules),
				 "C_GetAttributeValue@1 return %s\nC_GetAttributeValue@2 return %s\n"
				 "C_GetAttributeValue@3 return %s\n",
				 answers[i], answers[i], answers[i]);
			signer_set_rules(f, rules);
		}
		create(f, &c, i, seen);
		wait_ready(&c, 0);
		expect_pool(f, 0);
		stop(f, &c);
	}
}

/* I4 */
static void keys_taken_over_are_checked_again(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	stop(f, &c);
	start(f, "C_GetAttributeValue attr CKA_EXTRACTABLE true\n", EXTRA "pool_p256v1 = 3\n", &c);
	signer_wait_for_log(f, "pool: 3 p256v1 keys of an earlier run did not pass");
	expect_pool(f, 0); /* nor are more made: the probe's key did not pass either */
	stop(f, &c);
}

/* ---- destroys, which take a full token long ---- */

static void destroys_leave_a_thread_for_creates(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[6][KEY_SPKI_HASH_BYTES];
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;

	f->threads = 3;
	start(f, "", EXTRA, &c);
	for (unsigned i = 0; i < 5; i++)
		create(f, &c, i, seen);
	signer_set_rules(f, "C_DestroyObject hang\n");
	for (unsigned i = 0; i < 5; i++) {
		signer_csr_id(csr_id, i);
		signer_key_send(&c, MESSAGE_DESTROY_KEY, csr_id, CLIENT_DEADLINE_MS);
	}
	signer_csr_id(csr_id, 5);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	assert_int_equal(signer_wait(f), -SIGKILL);
	signer_client_close(&c);
}

#define CASE(name)                                                                                           \
	{                                                                                                    \
#name, name, signer_fixture_setup, signer_fixture_teardown,                                  \
		    (void *)(uintptr_t)&signer_token_kinds[0]                                                \
	}
#define TPM_CASE(name)                                                                                       \
	{                                                                                                    \
		"tpm_" #name, name, signer_fixture_setup, signer_fixture_teardown,                           \
		    (void *)(uintptr_t)&signer_token_kinds[SIGNER_KIND_TPM]                                  \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    CASE(the_pool_is_filled_and_claimed_without_a_search),
	    CASE(the_pool_outlives_the_process),
	    CASE(the_pool_of_another_node_is_left_alone),
	    CASE(ready_keys_of_nodes_that_are_gone_F230),
	    CASE(a_single_thread_fills_too),
	    CASE(the_ceiling_counts_what_others_have_there),
	    CASE(half_pairs_are_destroyed_at_start),
	    CASE(a_crash_in_a_claim_gives_no_key_twice),
	    CASE(a_crash_after_a_claim_gives_no_key_twice),
	    CASE(a_crash_while_filling_leaves_nothing_loose),
	    CASE(a_token_that_does_not_relabel_gets_no_pool),
	    CASE(a_claim_refused_falls_back_on_a_new_key),
	    CASE(a_claim_cut_in_half_leaves_nothing),
	    CASE(a_claim_that_lost_its_session_is_repeated),
	    CASE(a_claim_done_but_not_answered_leaves_nothing),
	    CASE(a_label_that_does_not_stick_is_seen),
	    CASE(handles_of_dead_sessions_are_found_again),
	    CASE(keys_destroyed_behind_its_back_are_passed_over),
	    CASE(a_ready_key_that_somebody_took_stays_theirs_F280),
	    CASE(a_claimed_key_under_another_label_is_not_left_F284),
	    CASE(a_token_that_only_says_that_it_relabels_gets_no_pool_F285),
	    CASE(dead_handles_may_be_called_anything_F203),
	    CASE(keys_taken_over_are_checked_again),
	    TPM_CASE(the_pool_outlives_the_process),
	    TPM_CASE(a_crash_in_a_claim_gives_no_key_twice),
	    TPM_CASE(a_claim_refused_falls_back_on_a_new_key),
	    TPM_CASE(a_claim_that_lost_its_session_is_repeated),
	    CASE(destroys_leave_a_thread_for_creates),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("csrd-hsm key pool", tests, NULL, NULL);
}
