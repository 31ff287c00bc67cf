/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key pool of the real csrd-hsm on a fresh token: how it is filled, how a
 * key leaves it, and what happens when the token does not play along.
 *
 * run: waits seconds=83
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_fixture.h"

#include "base/clock.h"
#include "hsm/signer/stock/stock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NODE "node = node-1\n"
#define WORD "csrd-stock:node-1"
#define QUICK "pool_quiet = 20ms\n" /* what a caller took is made again at once */
#define EXTRA QUICK NODE
#define NO_GENERATION "C_GenerateKeyPair return CKR_DEVICE_MEMORY\n"

/* Ready keys as LIST_KEYS has them: whole pairs of that life, and no halves of it. */
static void expect_life(struct signer_client *c, enum message_key_life life, size_t pairs)
{
	struct message_list_keys_part list;
	unsigned parts;
	size_t found = 0;

	signer_list(c, &list, &parts);
	for (size_t i = 0; i < list.keys_len; i++) {
		if (list.keys[i].life != life)
			continue;
		assert_int_equal(list.keys[i].presence, MESSAGE_KEY_PAIR);
		found++;
	}
	message_list_keys_part_release(&list);
	assert_int_equal(found, pairs);
}

static void expect_pool(struct signer_client *c, size_t pairs)
{
	expect_life(c, MESSAGE_LIFE_READY, pairs);
}

/* Destroys one class of what is ready. */
static void destroy_ready(const struct signer_fixture *f, struct signer_client *c, CK_OBJECT_CLASS class)
{
	struct message_list_keys_part list;
	unsigned parts;

	signer_list(c, &list, &parts);
	for (size_t i = 0; i < list.keys_len; i++)
		if (list.keys[i].life == MESSAGE_LIFE_READY)
			signer_token_destroy(f, class, list.keys[i].label);
	message_list_keys_part_release(&list);
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

/* Creates CSR `number`; its key must be new to `seen` and stand whole under its own name. */
static void create(const struct signer_fixture *f, struct signer_client *c, unsigned number,
		   uint8_t seen[][KEY_SPKI_HASH_BYTES])
{
	struct message_create_csr_reply reply;
	char csr_id[CSR_ID_SIZE];

	signer_csr_id(csr_id, number);
	assert_int_equal(signer_create(c, csr_id, KEY_P256V1, &reply), E_OK);
	assert_int_equal(reply.key.protection, KEY_PROT_REQUIRED);
	memcpy(seen[number], reply.key.spki_sha256, KEY_SPKI_HASH_BYTES);
	for (unsigned i = 0; i < number; i++)
		assert_memory_not_equal(seen[i], seen[number], KEY_SPKI_HASH_BYTES);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, reply.key.label), 1);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, reply.key.label), 1);
	message_create_csr_reply_release(&reply);
	assert_int_equal(signer_find(c, csr_id), MESSAGE_KEY_PAIR);
}

/* All of the first `count` CSRs have their keys. */
static void expect_created(struct signer_client *c, unsigned count)
{
	char csr_id[CSR_ID_SIZE];

	for (unsigned i = 0; i < count; i++) {
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_find(c, csr_id), MESSAGE_KEY_PAIR);
	}
}

static void kill_it(struct signer_fixture *f, struct signer_client *c)
{
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	assert_int_equal(signer_wait(f), -SIGKILL);
	signer_client_close(c);
}

/* Runs a shell's line in the fixture's folder. */
static void run(const struct signer_fixture *f, const char *line)
{
	char command[PATH_MAX + 256];

	snprintf(command, sizeof(command), "cd '%s' && %s", f->folder, line);
	assert_int_equal(system(command), 0);
}

#define KEEP_COPY "rm -rf copy && cp -a signer-state/journal copy"
#define PUT_COPY_BACK "rm -rf signer-state/journal && cp -a copy signer-state/journal"

/* ---- filling and using ---- */

static const char *const counted[] = {"C_SignInit",          "C_Sign",
				      "C_GenerateKeyPair",   "C_CreateObject",
				      "C_DestroyObject",     "C_FindObjectsInit",
				      "C_SetAttributeValue", "C_GetAttributeValue"};
#define COUNTED (sizeof(counted) / sizeof(counted[0]))

/* A warm create is two calls; the block is opened once, by a read, a write, a destroy, and one more look. */
static void sixteen_warm_creates_are_thirty_two_calls_and_a_block(void **state)
{
	static const long expected[COUNTED] = {16, 16, 0, 1, 1, 1, 0, 4};
	struct signer_fixture *f = *state;
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;
	long before[COUNTED];

	f->threads = 2;
	start(f, "", NODE "pool_p256v1 = 16\npool_pause = 1m\nkeep_alive = 1h\n", &c);
	wait_ready(&c, 16);
	signer_wait_for_count(f, "C_CreateObject", 3); /* probe, names, and that the stock is full */
	signer_wait_for_stock(&c, 16);
	for (size_t i = 0; i < COUNTED; i++)
		before[i] = signer_shim_count(f, counted[i]);
	for (unsigned i = 0; i < 16; i++) {
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
	}
	for (size_t i = 0; i < COUNTED; i++)
		if (signer_shim_count(f, counted[i]) - before[i] != expected[i])
			fail_msg("%s: %ld", counted[i], signer_shim_count(f, counted[i]) - before[i]);
	expect_created(&c, 16);
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
	expect_pool(&c, 0);
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
	f->state_dir = "state-2"; /* of another machine */
	start(f, "", "node = node-2\npool_p256v1 = 1\n", &c);
	wait_ready(&c, 1);
	expect_pool(&c, 1);
	expect_life(&c, MESSAGE_LIFE_OTHER, 2);
	stop(f, &c);
	expect_keys(f, 3);
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

static uint32_t destroy_pool_send(struct signer_client *c, const char *node)
{
	struct message_destroy_pool m = {.timeout_ms = CLIENT_DEADLINE_MS};
	struct buf payload;
	uint32_t id;

	snprintf(m.node, sizeof(m.node), "%s", node);
	buf_init(&payload, 128);
	message_destroy_pool_encode(&payload, &m);
	id = signer_client_send(c, MESSAGE_DESTROY_POOL, &payload);
	buf_release(&payload);
	return id;
}

/* The error, or E_OK and how many objects. */
static enum err destroy_pool_get(struct signer_client *c, uint32_t id, uint32_t *ret_objects)
{
	struct message_destroy_key_reply reply = {0};
	struct message_error error = {.code = E_OK};
	struct signer_answer answer;
	enum err code;

	signer_client_receive(c, id, &answer);
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

static enum err destroy_pool(struct signer_client *c, const char *node, uint32_t *ret_objects)
{
	return destroy_pool_get(c, destroy_pool_send(c, node), ret_objects);
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
	f->state_dir = "state-2";
	start(f, "", "node = one\npool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	destroy_ready(f, &c, CKO_PUBLIC_KEY); /* halves are keys, too */
	stop(f, &c);
	f->state_dir = "state-3";
	start(f, "", "node = now\npool_p256v1 = 1\npool_pause = 1m\n", &c);
	wait_ready(&c, 1);
	create(f, &c, 0, seen);
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 6);
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
	expect_life(&c, MESSAGE_LIFE_OTHER, 2);
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
	signer_wait_for_stock(&c, 3);
	expect_pool(&c, 3); /* 5, 7, 9: one more was allowed */
	stop(f, &c);
}

/* ---- what crashes left ---- */

static void half_pairs_are_destroyed_at_start(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_ready(&c, 3);
	destroy_ready(f, &c, CKO_PRIVATE_KEY);
	stop(f, &c);
	start(f, "", EXTRA "pool_p256v1 = 2\n", &c);
	wait_ready(&c, 2);
	signer_wait_for_log(f, "pool: 3 keys of an earlier run did not pass and are destroyed");
	expect_pool(&c, 2);
	destroy_ready(f, &c, CKO_PUBLIC_KEY);
	stop(f, &c);
	start(f, "", EXTRA "pool_p256v1 = 1\n", &c);
	wait_ready(&c, 1);
	signer_wait_for_log(f, "pool: 2 keys of an earlier run did not pass and are destroyed");
	expect_pool(&c, 1);
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

/* Killed in a create, started again, and that create settled as csrd does it: by what is unsettled. */
static void crash_in_creates(struct signer_fixture *f, const char *point, unsigned pool, bool used)
{
	uint8_t seen[ROUNDS][KEY_SPKI_HASH_BYTES];
	const char *ids[1];
	char csr_id[CSR_ID_SIZE], last[CSR_ID_SIZE], extra[128];
	struct signer_client c;

	snprintf(extra, sizeof(extra), EXTRA "pool_p256v1 = %u\n", pool);
	use_failpoints(f);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t destroyed;
		struct csr_spec spec;

		start(f, "", extra, &c);
		signer_wait_for_stock(&c, pool);
		arm(f, point);
		signer_csr_id(csr_id, 1000 + round);
		signer_spec(&spec, KEY_P256V1);
		signer_create_send(&c, csr_id, &spec, CLIENT_DEADLINE_MS);
		csr_spec_release(&spec);
		assert_int_equal(signer_wait(f), -9);
		signer_client_close(&c);
		start(f, "", extra, &c);
		assert_int_equal(signer_learn(&c), used);
		if (used) {
			assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
			assert_int_equal(destroyed, 2);
			assert_int_equal(signer_learn(&c), 0);
		}
		signer_wait_for_stock(&c, pool);
		create(f, &c, round, seen);
		signer_csr_id(last, round);
		ids[0] = last;
		assert_int_equal(signer_confirm(&c, ids, 1, false), E_OK);
		signer_wait_for_stock(&c, pool);
		expect_pool(&c, pool);
		expect_keys(f, pool + round + 1);
		assert_int_equal(signer_token_count(f, CKO_DATA, WORD), 1);
		stop(f, &c);
	}
	unsetenv("CSRD_FAILPOINT_FILE");
}

static void a_crash_at_each_step_gives_no_key_twice(void **state)
{
	static const char *const points[] = {"stock.open.before",        "stock.open.after-journal",
					     "stock.word.both",          "stock.open.after-write",
					     "signer.create.after-sign", "signer.create.after-verify"};
	static unsigned at;

	crash_in_creates(*state, points[at++], POOL, false);
}

static void a_crash_after_the_use_leaves_it_unsettled(void **state)
{
	crash_in_creates(*state, "signer.create.after-used", POOL, true);
}

static void a_crash_of_a_create_without_a_pool_leaves_nothing(void **state)
{
	static const char *const points[] = {"signer.create.before-keygen", "signer.create.half-pair",
					     "signer.create.after-keygen", "signer.create.after-made",
					     "signer.create.after-sign"};
	static unsigned at;

	crash_in_creates(*state, points[at++], 0, false);
}

static void a_crash_after_the_use_of_a_new_key_leaves_it_unsettled(void **state)
{
	crash_in_creates(*state, "signer.create.after-used", 0, true);
}

static void a_crash_while_filling_leaves_nothing_loose(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char extra[128];

	use_failpoints(f);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		snprintf(extra, sizeof(extra), EXTRA "pool_p256v1 = %u\n", round);
		arm(f, round % 2 ? "pool.fill.after-keygen" : "pool.fill.after-made");
		signer_use_shim(f, "");
		f->extra = extra;
		signer_start(f);
		assert_int_equal(signer_wait(f), -9);
		/* What was whole is taken over: then there is nothing left to make. */
		start(f, "", extra, &c);
		signer_wait_for_stock(&c, round);
		expect_pool(&c, round);
		expect_keys(f, round);
		stop(f, &c);
	}
	unsetenv("CSRD_FAILPOINT_FILE");
}

/* ---- tokens that do not play along ---- */

/* Without them it has a stock all the same, which does not outlive the process. */
static void a_token_without_data_objects_has_a_stock_of_a_life(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[3][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	for (unsigned life = 0; life < 3; life++) {
		start(f, "data-refuse CKR_FUNCTION_NOT_SUPPORTED\n", EXTRA "pool_p256v1 = 3\n", &c);
		signer_wait_for_stock(&c, 3);
		if (life)
			signer_wait_for_log(f, "pool: 3 ready keys are destroyed: token '" SIGNER_TOKEN_LABEL
					       "' keeps no data objects");
		create(f, &c, life, seen);
		signer_wait_for_stock(&c, 3);
		expect_pool(&c, 3);
		expect_keys(f, 3 + life + 1);
		if (life == 1)
			kill_it(f, &c);
		else
			stop(f, &c);
	}
}

/* A signature of the key goes wrong by that rule: the create is refused or goes on, and the key is not left.
 */
static void failed_use(struct signer_fixture *f, const char *rule, enum err expected)
{
	uint8_t seen[1][KEY_SPKI_HASH_BYTES];
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	signer_wait_for_stock(&c, 3);
	signer_set_rules(f, rule);
	signer_csr_id(csr_id, 1000);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), expected);
	signer_set_rules(f, "");
	signer_wait_until_usable(&c);
	create(f, &c, 0, seen);
	signer_wait_for_stock(&c, 3);
	expect_pool(&c, 3);
	expect_keys(f, 3 + 1 + (expected == E_OK));
	stop(f, &c);
}

static void a_signature_that_is_wrong_costs_the_key(void **state)
{
	failed_use(*state, "C_Sign@1 corrupt\n", E_HSM);
}

static void a_use_that_lost_its_session_is_repeated(void **state)
{
	failed_use(*state, "C_SignInit@1 return CKR_SESSION_HANDLE_INVALID\n", E_OK);
}

static void a_device_in_trouble_costs_the_key(void **state)
{
	failed_use(*state, "C_Sign@1 after-return CKR_DEVICE_ERROR\n", E_UNAVAIL);
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
	signer_wait_for_stock(&c, 3);
	destroy_ready(f, &c, CKO_PRIVATE_KEY);
	destroy_ready(f, &c, CKO_PUBLIC_KEY);
	create(f, &c, 0, seen);
	assert_true(signer_log_has(f, "a key of the pool is no longer on the token"));
	signer_wait_for_stock(&c, 3);
	expect_pool(&c, 3);
	create(f, &c, 1, seen);
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
		signer_wait_for_stock(&c, 3);
		destroy_ready(f, &c, CKO_PRIVATE_KEY);
		if (i < ANSWERS) {
			destroy_ready(f, &c, CKO_PUBLIC_KEY);
			snprintf(rules, sizeof(rules),
				 "C_SignInit@1 return %s\nC_SignInit@2 return %s\nC_SignInit@3 return %s\n",
				 answers[i], answers[i], answers[i]);
			signer_set_rules(f, rules);
		}
		create(f, &c, i, seen);
		wait_ready(&c, 0);
		expect_pool(&c, 0);
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
	signer_wait_for_log(f, "pool: 3 keys of an earlier run did not pass");
	expect_keys(f, 0); /* nor are more made: the probe's key did not pass either */
	stop(f, &c);
}

/* Nobody but the signer has a say about keys that were used for nothing. */
static void ready_keys_are_destroyed_for_nobody(void **state)
{
	struct signer_fixture *f = *state;
	struct message_list_keys_part list;
	struct signer_client c;
	uint32_t destroyed;
	unsigned parts;

	start(f, "", EXTRA "pool_p256v1 = 2\n", &c);
	signer_wait_for_stock(&c, 2);
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 2);
	for (size_t i = 0; i < list.keys_len; i++)
		assert_int_equal(signer_destroy(&c, list.keys[i].label, &destroyed), E_DENIED);
	message_list_keys_part_release(&list);
	expect_pool(&c, 2);
	stop(f, &c);
}

/* ---- the journal, and the word on the token ---- */

/* Disk full: what would have to be written is refused, and leaves nothing; the rest goes on. */
static void a_journal_that_cannot_be_written_J2(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[3][KEY_SPKI_HASH_BYTES];
	char csr_id[CSR_ID_SIZE], old[CSR_ID_SIZE];
	struct message_list_keys_part list;
	struct message_status_reply status;
	struct signer_client c;
	uint32_t destroyed;
	unsigned parts;

	use_failpoints(f);
	for (unsigned pool = 0; pool < 4; pool += 3) {
		char extra[128];

		snprintf(extra, sizeof(extra), EXTRA "pool_p256v1 = %u\n", pool);
		arm(f, "");
		start(f, "", extra, &c);
		signer_wait_for_stock(&c, pool);
		create(f, &c, pool ? 1 : 0, seen);
		signer_wait_for_stock(&c, pool);
		arm(f, "journal.sync");
		signer_csr_id(csr_id, 1000 + pool);
		signer_csr_id(old, 0);
		for (int i = 0; i < 3; i++)
			assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_UNAVAIL);
		assert_int_equal(signer_destroy(&c, old, &destroyed), E_UNAVAIL);
		assert_int_equal(signer_find(&c, old), MESSAGE_KEY_PAIR);
		signer_list(&c, &list, &parts);
		message_list_keys_part_release(&list);
		signer_status(&c, &status);
		assert_true(status.usable);
		assert_string_equal(status.detail, MESSAGE_STATUS_JOURNAL_DOWN);
		message_status_reply_release(&status);
		arm(f, "");
		assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
		assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
		signer_wait_for_stock(&c, pool);
		expect_pool(&c, pool);
		expect_keys(f, pool + 1 + (pool > 0));
		stop(f, &c);
	}
	unsetenv("CSRD_FAILPOINT_FILE");
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Labels of ready keys, sorted. */
static size_t ready_labels(struct signer_client *c, char labels[][KEY_LABEL_SIZE], size_t max)
{
	struct message_list_keys_part list;
	unsigned parts;
	size_t len = 0;

	signer_list(c, &list, &parts);
	for (size_t i = 0; i < list.keys_len; i++)
		if (list.keys[i].life == MESSAGE_LIFE_READY && len < max)
			strcpy(labels[len++], list.keys[i].label);
	message_list_keys_part_release(&list);
	qsort(labels, len, sizeof(labels[0]), compare_labels);
	return len;
}

static void wait_journal(struct signer_client *c, bool down)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	const struct timespec pause = {0, 5000000};
	struct message_status_reply status;
	bool is_down;

	do {
		assert_true(clock_ms() < deadline);
		nanosleep(&pause, NULL);
		signer_status(c, &status);
		is_down = strcmp(status.detail, MESSAGE_STATUS_JOURNAL_DOWN) == 0;
		message_status_reply_release(&status);
	} while (is_down != down);
}

/*
 * F446: a start on a full disk serves what only reads, and goes on by itself when there is room again.  F447:
 * what cannot be written down costs no ready key and no name, and is not begun.
 */
static void a_start_without_a_journal_to_write_F446_F447(void **state)
{
	struct signer_fixture *f = *state;
	char before[3][KEY_LABEL_SIZE] = {""}, after[3][KEY_LABEL_SIZE] = {""};
	char csr_id[CSR_ID_SIZE], old[CSR_ID_SIZE];
	uint8_t seen[2][KEY_SPKI_HASH_BYTES];
	struct signer_client c;
	uint32_t destroyed;
	long pairs;

	use_failpoints(f);
	arm(f, "");
	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	signer_wait_for_stock(&c, 3);
	create(f, &c, 0, seen);
	signer_csr_id(csr_id, 1);
	signer_csr_id(old, 0);
	signer_wait_for_stock(&c, 3);
	/* The one create that finds out. */
	arm(f, "journal.sync");
	assert_int_equal(ready_labels(&c, before, 3), 3);
	pairs = signer_shim_count(f, "C_GenerateKeyPair");
	for (int i = 0; i < 4; i++)
		assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_UNAVAIL);
	assert_int_equal(ready_labels(&c, after, 3), 3);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(signer_shim_count(f, "C_GenerateKeyPair"), pairs);
	stop(f, &c);
	/* And a start. */
	start(f, "", EXTRA "pool_p256v1 = 3\n", &c);
	wait_journal(&c, true);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_UNAVAIL);
	assert_int_equal(signer_destroy(&c, old, &destroyed), E_UNAVAIL);
	assert_int_equal(signer_find(&c, old), MESSAGE_KEY_PAIR);
	expect_keys(f, 4);
	assert_int_equal(ready_labels(&c, after, 3), 3);
	assert_memory_equal(before, after, sizeof(before));
	arm(f, "");
	wait_journal(&c, false);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
	assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
	signer_wait_for_stock(&c, 3);
	expect_keys(f, 4);
	stop(f, &c);
	unsetenv("CSRD_FAILPOINT_FILE");
}

/* F448: what csrd says waits for the disk, and nobody else for it. */
static void a_confirm_delays_nobody_F448(void **state)
{
	struct signer_fixture *f = *state;
	char labels[1][KEY_LABEL_SIZE] = {{""}}, csr_id[CSR_ID_SIZE];
	const struct message_confirm m = {.labels = labels, .labels_len = 1};
	struct message_create_csr_reply reply;
	struct message_status_reply status;
	struct signer_client c, other;
	struct buf b;

	use_failpoints(f);
	arm(f, "");
	start(f, "", "", &c);
	signer_csr_id(csr_id, 0);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, &reply), E_OK);
	strcpy(labels[0], reply.key.label);
	message_create_csr_reply_release(&reply);
	signer_client_open(&other, f->socket, NULL);
	arm(f, "signer.confirm.before-journal sleep");
	buf_init(&b, FRAME_PAYLOAD_MAX);
	message_confirm_encode(&b, &m);
	signer_client_send(&c, MESSAGE_CONFIRM, &b);
	buf_release(&b);
	for (uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	     access(signer_path(f, "failpoint"), F_OK) == 0;) /* until it sleeps, for ever */
		assert_true(clock_ms() < deadline);
	signer_status(&other, &status);
	message_status_reply_release(&status);
	assert_int_equal(signer_learn(&other), 1);
	signer_csr_id(csr_id, 1);
	assert_int_equal(signer_create(&other, csr_id, KEY_P256V1, NULL), E_OK);
	signer_client_close(&other);
	kill_it(f, &c);
	unsetenv("CSRD_FAILPOINT_FILE");
}

/* Of a half-used block nothing is kept, of the others all. */
static void a_kill_costs_one_block_J3(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[24][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "", NODE "pool_p256v1 = 20\npool_pause = 1m\npool_quiet = 1m\n", &c);
	signer_wait_for_stock(&c, 20);
	create(f, &c, 0, seen);
	create(f, &c, 1, seen);
	kill_it(f, &c);
	start(f, NO_GENERATION, NODE "pool_p256v1 = 20\npool_objects_max = 4\n", &c);
	wait_ready(&c, 4);
	signer_wait_for_log(f, "pool: 14 ready keys are destroyed: their block was open");
	expect_pool(&c, 4);
	expect_created(&c, 2);
	for (unsigned i = 2; i < 6; i++)
		create(f, &c, i, seen);
	expect_created(&c, 6);
	stop(f, &c);
	expect_keys(f, 6);
}

/* Taken at `first` CSRs, put back at `last`: no CSR loses its key, and no key is used again. */
static void copy_back(struct signer_fixture *f, unsigned pool, unsigned first, unsigned last)
{
	uint8_t seen[64][KEY_SPKI_HASH_BYTES];
	struct message_status_reply status;
	struct signer_client c;
	char extra[128];

	snprintf(extra, sizeof(extra), EXTRA "pool_p256v1 = %u\n", pool);
	start(f, "", extra, &c);
	signer_wait_for_stock(&c, pool);
	for (unsigned i = 0; i < first; i++)
		create(f, &c, i, seen);
	run(f, KEEP_COPY);
	for (unsigned i = first; i < last; i++)
		create(f, &c, i, seen);
	kill_it(f, &c);
	run(f, PUT_COPY_BACK);
	start(f, "", extra, &c);
	signer_wait_for_log(f, "the journal went back");
	signer_wait_for_stock(&c, pool);
	signer_status(&c, &status);
	assert_string_equal(status.pool_detail, "the journal went back: see the log of the signer's start");
	message_status_reply_release(&status);
	expect_created(&c, last);
	for (unsigned i = last; i < last + 3; i++)
		create(f, &c, i, seen);
	expect_created(&c, last + 3);
	stop(f, &c);
	start(f, "", extra, &c); /* said once */
	signer_wait_for_stock(&c, pool);
	assert_false(signer_log_has(f, "the journal went back"));
	expect_created(&c, last + 3);
	stop(f, &c);
}

static void a_journal_copied_back_from_before_the_block_J3(void **state)
{
	copy_back(*state, 20, 0, 3);
}

static void a_journal_copied_back_from_an_earlier_block_J3(void **state)
{
	copy_back(*state, 4, 2, 20);
}

static void a_journal_copied_back_without_a_stock_J3(void **state)
{
	copy_back(*state, 0, 3, 20);
}

/* Those of before are nobody's to destroy unasked. */
static void a_journal_that_is_missing_J4(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[4][KEY_SPKI_HASH_BYTES];
	struct signer_client c;

	start(f, "", EXTRA "pool_p256v1 = 5\n", &c);
	signer_wait_for_stock(&c, 5);
	create(f, &c, 0, seen);
	signer_wait_for_stock(&c, 5);
	stop(f, &c);
	run(f, "rm -r signer-state/journal");
	start(f, "", EXTRA "pool_p256v1 = 5\n", &c);
	signer_wait_for_log(f, "the journal is new, but token '" SIGNER_TOKEN_LABEL
			       "' has a word of node 'node-1' on 5 ready keys");
	signer_wait_for_stock(&c, 5);
	expect_created(&c, 1);
	create(f, &c, 1, seen);
	signer_wait_for_stock(&c, 5);
	expect_keys(f, 5 + 2 + 5);
	expect_pool(&c, 5);
	stop(f, &c);
	start(f, "", EXTRA "pool_p256v1 = 5\n", &c);
	signer_wait_for_stock(&c, 5);
	assert_false(signer_log_has(f, "the journal is new"));
	stop(f, &c);
}

/* A second signer on the same token, beside the first, whose pid is returned. */
static pid_t start_second(struct signer_fixture *f, const char *extra, struct signer_client *c)
{
	pid_t pid = f->pid;

	f->pid = 0;
	snprintf(f->socket, sizeof(f->socket), "%s/other.sock", f->folder);
	f->state_dir = "other-state";
	start(f, "", extra, c);
	return pid;
}

/* The one whose word was replaced notices, and makes no use of what it had ready. */
static void two_signers_with_one_node_name_J5(void **state)
{
	struct signer_fixture *f = *state;
	uint8_t seen[8][KEY_SPKI_HASH_BYTES];
	struct signer_client first, second;
	pid_t pid;

	start(f, "", EXTRA "pool_p256v1 = 3\n", &first);
	signer_wait_for_stock(&first, 3);
	create(f, &first, 0, seen);
	signer_wait_for_stock(&first, 3);
	run(f, "mv log first-log");
	pid = start_second(f, EXTRA "pool_p256v1 = 3\n", &second);
	signer_wait_for_log(f, "the journal is new, but token");
	signer_wait_for_stock(&second, 3);
	create(f, &second, 1, seen);
	for (unsigned i = 2; i < 6; i++)
		create(f, &first, i, seen);
	wait_detail(&first, "off: another signer with this node name uses the token");
	create(f, &second, 6, seen);
	expect_created(&first, 7);
	stop(f, &second);
	f->pid = pid;
	stop(f, &first);
	run(f, "grep -q \"another signer with the node name 'node-1'\" first-log");
}

/*
 * It was said to be gone, and would open a block while its closed keys are being destroyed: it finds
 * another's word, and uses none of them.
 */
static void ready_keys_of_a_node_at_work_J12(void **state)
{
	struct signer_fixture *f = *state;
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	uint8_t seen[STOCK_BLOCK + 1][KEY_SPKI_HASH_BYTES];
	struct signer_client first, second;
	uint32_t request, objects;
	char csr_id[CSR_ID_SIZE];
	pid_t pid;

	start(f, "", EXTRA "pool_p256v1 = 20\n", &first);
	signer_wait_for_stock(&first, 20);
	pid = start_second(f, "node = node-2\n", &second);
	signer_set_rules(f, "C_DestroyObject sleep 300ms\n");
	request = destroy_pool_send(&second, "node-1");
	while (signer_token_count_keys(f, CKO_PRIVATE_KEY) == 20)
		assert_true(clock_ms() < deadline);
	for (unsigned i = 0; i <= STOCK_BLOCK; i++) /* more than can be open */
		create(f, &first, i, seen);
	signer_set_rules(f, "");
	assert_int_equal(destroy_pool_get(&second, request, &objects), E_OK);
	for (unsigned i = 0; i <= STOCK_BLOCK; i++) {
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_find(&first, csr_id), MESSAGE_KEY_PAIR);
	}
	wait_detail(&first, "off: another signer with this node name uses the token");
	stop(f, &second);
	f->pid = pid;
	stop(f, &first);
}

/*
 * F452: it is about to open a block, has looked at its word and has not written the new one yet, when its
 * closed keys begin to be destroyed.
 */
static void ready_keys_of_a_node_that_opens_a_block_F452(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client first, second;
	uint32_t create_id, destroy_id, objects;
	uint8_t seen[6][KEY_SPKI_HASH_BYTES];
	char csr_id[CSR_ID_SIZE];
	struct csr_spec spec;
	pid_t pid;

	start(f, "", EXTRA "pool_p256v1 = 6\n", &first);
	signer_wait_for_stock(&first, 6);
	signer_wait_for_count(f, "C_CreateObject", 3); /* probe, names, and that the stock is full */
	pid = start_second(f, "node = node-2\n", &second);
	signer_set_rules(f, "C_CreateObject sleep 1s once\nC_DestroyObject sleep 300ms\n");
	signer_csr_id(csr_id, 5);
	signer_spec(&spec, KEY_P256V1);
	create_id = signer_create_send(&first, csr_id, &spec, CLIENT_DEADLINE_MS);
	csr_spec_release(&spec);
	signer_wait_for_trace(f, "= sleep");
	destroy_id = destroy_pool_send(&second, "node-1");
	assert_int_equal(signer_create_get(&first, create_id, NULL), E_OK);
	for (unsigned i = 0; i < 5; i++)
		create(f, &first, i, seen);
	signer_set_rules(f, "");
	assert_int_equal(destroy_pool_get(&second, destroy_id, &objects), E_OK);
	expect_created(&first, 6);
	stop(f, &second);
	f->pid = pid;
	stop(f, &first);
}

/* F451: the token did not keep the label, and would not destroy the key: it goes all the same, when it can.
 */
static void what_has_no_label_is_tidied_by_its_id_F451(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char csr_id[CSR_ID_SIZE];

	start(f, "", NODE, &c);
	signer_set_rules(f, "label-max 12\nC_DestroyObject return CKR_FUNCTION_FAILED\n");
	signer_csr_id(csr_id, 0);
	assert_int_not_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
	assert_true(signer_token_count_keys(f, CKO_PRIVATE_KEY) > 0);
	signer_set_rules(f, "");
	signer_wait_for_log(f, "was destroyed at last: 2 objects");
	stop(f, &c);
}

/* F453: an HSM may go on making what a killed signer asked for, under a name that is reserved. */
static void names_of_a_killed_run_are_not_used_again_F453(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct signer_client c;
	struct csr_spec spec;
	char csr_id[CSR_ID_SIZE], line[128];

	use_failpoints(f);
	arm(f, "");
	start(f, "", NODE, &c);
	arm(f, "signer.create.before-keygen");
	signer_csr_id(csr_id, 0);
	signer_spec(&spec, KEY_P256V1);
	signer_create_send(&c, csr_id, &spec, CLIENT_DEADLINE_MS);
	csr_spec_release(&spec);
	assert_int_equal(signer_wait(f), -SIGKILL);
	signer_client_close(&c);
	unsetenv("CSRD_FAILPOINT_FILE");
	run(f, KEEP_COPY);
	start(f, "", NODE, &c);
	assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, &reply), E_OK);
	snprintf(line, sizeof(line), "! grep -rq %s copy", reply.key.label);
	message_create_csr_reply_release(&reply);
	run(f, line);
	stop(f, &c);
}

/* F454: the ready keys of csrd 0.1 are looked for until there are none, and not at each start. */
static void a_stock_of_0_1_is_looked_for_once_F454(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	for (unsigned round = 0; round < 2; round++) {
		start(f, "", EXTRA "pool_p256v1 = 1\n", &c);
		signer_wait_for_stock(&c, 1);
		stop(f, &c);
		run(f, round ? "! grep -q csrd-pool: trace" : "grep -q csrd-pool: trace && rm trace");
	}
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
	    CASE(sixteen_warm_creates_are_thirty_two_calls_and_a_block),
	    CASE(the_pool_outlives_the_process),
	    CASE(the_pool_of_another_node_is_left_alone),
	    CASE(ready_keys_of_nodes_that_are_gone_F230),
	    CASE(a_single_thread_fills_too),
	    CASE(the_ceiling_counts_what_others_have_there),
	    CASE(half_pairs_are_destroyed_at_start),
	    CASE(a_crash_at_each_step_gives_no_key_twice),
	    CASE(a_crash_at_each_step_gives_no_key_twice),
	    CASE(a_crash_at_each_step_gives_no_key_twice),
	    CASE(a_crash_at_each_step_gives_no_key_twice),
	    CASE(a_crash_at_each_step_gives_no_key_twice),
	    CASE(a_crash_at_each_step_gives_no_key_twice),
	    CASE(a_crash_after_the_use_leaves_it_unsettled),
	    CASE(a_crash_of_a_create_without_a_pool_leaves_nothing),
	    CASE(a_crash_of_a_create_without_a_pool_leaves_nothing),
	    CASE(a_crash_of_a_create_without_a_pool_leaves_nothing),
	    CASE(a_crash_of_a_create_without_a_pool_leaves_nothing),
	    CASE(a_crash_of_a_create_without_a_pool_leaves_nothing),
	    CASE(a_crash_after_the_use_of_a_new_key_leaves_it_unsettled),
	    CASE(a_crash_while_filling_leaves_nothing_loose),
	    CASE(a_token_without_data_objects_has_a_stock_of_a_life),
	    CASE(a_signature_that_is_wrong_costs_the_key),
	    CASE(a_use_that_lost_its_session_is_repeated),
	    CASE(a_device_in_trouble_costs_the_key),
	    CASE(handles_of_dead_sessions_are_found_again),
	    CASE(keys_destroyed_behind_its_back_are_passed_over),
	    CASE(dead_handles_may_be_called_anything_F203),
	    CASE(keys_taken_over_are_checked_again),
	    CASE(ready_keys_are_destroyed_for_nobody),
	    CASE(a_journal_that_cannot_be_written_J2),
	    CASE(a_start_without_a_journal_to_write_F446_F447),
	    CASE(a_confirm_delays_nobody_F448),
	    CASE(a_kill_costs_one_block_J3),
	    CASE(a_journal_copied_back_from_before_the_block_J3),
	    CASE(a_journal_copied_back_from_an_earlier_block_J3),
	    CASE(a_journal_copied_back_without_a_stock_J3),
	    CASE(a_journal_that_is_missing_J4),
	    CASE(two_signers_with_one_node_name_J5),
	    CASE(ready_keys_of_a_node_at_work_J12),
	    CASE(ready_keys_of_a_node_that_opens_a_block_F452),
	    CASE(what_has_no_label_is_tidied_by_its_id_F451),
	    CASE(names_of_a_killed_run_are_not_used_again_F453),
	    CASE(a_stock_of_0_1_is_looked_for_once_F454),
	    TPM_CASE(the_pool_outlives_the_process),
	    TPM_CASE(a_crash_after_the_use_leaves_it_unsettled),
	    TPM_CASE(a_use_that_lost_its_session_is_repeated),
	    CASE(destroys_leave_a_thread_for_creates),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("csrd-hsm key pool", tests, NULL, NULL);
}
