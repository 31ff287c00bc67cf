/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real csrd-hsm on a fresh token, spoken to over its socket.  Cases of
 * `contract_cases` hold for every module: they run on SoftHSM in signer_test,
 * and on others in the programs that include this file; those of `fault_cases` need tests/p11shim in between.
 *
 * run: seconds=36
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/p11kit.h"
#include "tests/contract/signer_fixture.h"

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/str.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SIGNER_TEST_OF /* a program that includes this one, to run beside it */
#define SIGNER_TEST_OF "softhsm"
#endif

#define LONG_MS 60000u
#define ID_A "0b54b6a4-3c1f-4b5e-9f0e-1a2b3c4d5e6f"
#define ID_B "1c65c7b5-4d20-4c6f-a01f-2b3c4d5e6f70"
#define LABEL_A signer_label(ID_A)
#define LABEL_B signer_label(ID_B)

static void assert_csr(const struct message_create_csr_reply *reply, enum key_type type)
{
	const unsigned char *at = reply->der;
	X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)reply->der_len);

	assert_non_null(req);
	assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 5);
	X509_REQ_free(req);
	signer_expect_csr(reply, type);
}

static void assert_nothing_left(const struct signer_fixture *f)
{
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 0);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, NULL), 0);
}

/* ---- the life of a key ---- */

/* It begins with what an earlier run left, for which nobody waits. */
static void wait_until_idle(struct signer_client *c)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	uint32_t busy;

	do {
		struct message_status_reply status;

		signer_status(c, &status);
		busy = status.busy + status.queued;
		message_status_reply_release(&status);
		assert_true(clock_ms() < deadline);
	} while (busy);
}

static void hello_tells_the_token(void **state)
{
	struct signer_fixture *f = *state;
	struct message_hello_reply hello;
	struct message_status_reply status;
	struct signer_client c;
	char serial[32];

	signer_token_serial(f, serial); /* openCryptoki's is empty since 3.23 */
	signer_start(f);
	signer_client_open(&c, f->socket, &hello);
	assert_int_equal(hello.version, MESSAGE_PROTOCOL_VERSION);
	assert_string_equal(hello.token_name, "default");
	assert_string_equal(hello.token_label, SIGNER_TOKEN_LABEL);
	assert_string_equal(hello.token_serial, serial);
	assert_int_equal(hello.key_types, KEY_TYPES_ALL & ~f->kind->lacks);
	message_hello_reply_release(&hello);
	wait_until_idle(&c);
	signer_status(&c, &status);
	assert_true(status.usable);
	assert_string_equal(status.detail, "");
	assert_int_equal(status.threads, f->kind->threads ? f->kind->threads : 4);
	assert_int_equal(status.queued + status.created + status.failed, 0);
	assert_true(status.token_flags & CKF_TOKEN_INITIALIZED);
	message_status_reply_release(&status);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- what it remembers of stores (F103) ---- */

/* E_OK, or the code of an error. */
static enum err note_store(struct signer_client *c, uint8_t lineage, uint64_t sequence)
{
	struct message_store m = {.lineage = {lineage}, .sequence = sequence};
	struct message_error error;
	struct signer_answer answer;
	enum err e = E_OK;
	struct buf payload;

	buf_init(&payload, 64);
	message_note_store_encode(&payload, &m);
	signer_client_receive(c, signer_client_send(c, MESSAGE_NOTE_STORE, &payload), &answer);
	if (answer.type == MESSAGE_ERROR) {
		assert_int_equal(message_error_decode(answer.payload.data, answer.payload.len, &error), E_OK);
		e = error.code;
		message_error_release(&error);
	} else {
		assert_int_equal(answer.type, MESSAGE_NOTE_STORE | MESSAGE_REPLY);
		assert_int_equal(answer.payload.len, 0);
	}
	buf_release(&answer.payload);
	buf_release(&payload);
	return e;
}

static void assert_notes(struct signer_client *c, uint8_t lineage, uint64_t sequence)
{
	assert_int_equal(note_store(c, lineage, sequence), E_OK);
}

/* As "lineage:sequence …", of the first bytes of the lineages. */
static void assert_remembers(struct signer_fixture *f, const char *expected)
{
	struct message_hello_reply hello;
	struct signer_client c;
	char text[256] = "";

	signer_client_open(&c, f->socket, &hello);
	for (size_t i = 0; i < hello.stores_len; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u:%llu ",
			 hello.stores[i].lineage[0], (unsigned long long)hello.stores[i].sequence);
	assert_string_equal(text, expected);
	message_hello_reply_release(&hello);
	signer_client_close(&c);
}

static void stores_are_remembered_over_a_kill(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_start(f);
	assert_remembers(f, "");
	signer_client_open(&c, f->socket, NULL);
	assert_notes(&c, 1, 10);
	assert_notes(&c, 1, 11);
	assert_remembers(f, "1:11 ");
	assert_notes(&c, 2, 5);
	assert_notes(&c, 1, 3); /* an older one changes nothing but the order */
	assert_remembers(f, "1:11 2:5 ");
	signer_client_close(&c);
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	assert_int_equal(signer_wait(f), -SIGKILL);
	signer_start(f);
	assert_remembers(f, "1:11 2:5 ");
	signer_client_open(&c, f->socket, NULL);
	for (uint8_t i = 3; i <= MESSAGE_STORES_MAX + 1; i++)
		assert_notes(&c, i, i);
	assert_remembers(f, "9:9 8:8 7:7 6:6 5:5 4:4 3:3 1:11 "); /* the one not noted for longest has gone */
	signer_client_close(&c);
	signer_stop(f);
}

/* J11: unsettled keys of the one would have no row in the other, and be destroyed. */
static void one_store_at_a_time(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c, same, other;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_client_open(&same, f->socket, NULL);
	signer_client_open(&other, f->socket, NULL);
	assert_notes(&c, 1, 10);
	assert_notes(&same, 1, 11);
	assert_int_equal(note_store(&other, 2, 5), E_DENIED);
	signer_client_close(&c);
	assert_int_equal(note_store(&other, 2, 5), E_DENIED);
	assert_notes(&same, 1, 12);
	assert_remembers(f, "1:12 ");
	signer_client_close(&same);
	assert_notes(&other, 2, 5);
	assert_remembers(f, "2:5 1:12 ");
	signer_client_close(&other);
	signer_stop(f);
}

/* What create said of a key is what the token says of it later. */
static void assert_inspected(struct signer_client *c, const char *csr_id, const struct message_key *made)
{
	struct message_inspect_key_reply found;

	assert_int_equal(signer_inspect(c, csr_id, &found), E_OK);
	assert_int_equal(found.presence, MESSAGE_KEY_PAIR);
	assert_true(found.has_key);
	assert_memory_equal(found.key_id, made->key_id, KEY_ID_BYTES);
	assert_int_equal(found.key.key_type, made->key_type);
	assert_memory_equal(found.key.key_id, made->key_id, KEY_ID_BYTES);
	assert_memory_equal(found.key.spki_sha256, made->spki_sha256, KEY_SPKI_HASH_BYTES);
	assert_int_equal(found.key.protection, made->protection);
	message_inspect_key_reply_release(&found);
}

static void assert_nothing_to_inspect(struct signer_client *c, const char *csr_id)
{
	struct message_inspect_key_reply found;

	assert_int_equal(signer_inspect(c, csr_id, &found), E_OK);
	assert_int_equal(found.presence, MESSAGE_KEY_NONE);
	assert_false(found.has_key);
	message_inspect_key_reply_release(&found);
}

static void keys_are_made_found_and_destroyed(void **state)
{
	struct signer_fixture *f = *state;
	const struct {
		const char *id;
		enum key_type type;
	} keys[] = {{ID_A, KEY_RSA2048}, {ID_B, f->kind->usual}};
	struct message_create_csr_reply reply;
	struct message_find_key_reply found;
	struct message_status_reply status;
	struct signer_client c;
	uint32_t destroyed = 99;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	for (int i = 0; i < 2; i++) {
		const char *id = keys[i].id;

		assert_int_equal(signer_find(&c, id), MESSAGE_KEY_NONE);
		assert_int_equal(signer_create(&c, id, keys[i].type, &reply), E_OK);
		assert_int_equal(reply.key.key_type, keys[i].type);
		assert_int_equal(reply.key.protection, KEY_PROT_REQUIRED);
		assert_csr(&reply, keys[i].type);
		assert_int_equal(
		    signer_find_get(&c, signer_key_send(&c, MESSAGE_FIND_KEY, id, LONG_MS), &found), E_OK);
		assert_int_equal(found.presence, MESSAGE_KEY_PAIR);
		assert_memory_equal(found.key_id, reply.key.key_id, KEY_ID_BYTES);
		assert_inspected(&c, id, &reply.key);
		message_create_csr_reply_release(&reply);
	}
	signer_token_expect_sealed(f, LABEL_A, CKA_PRIVATE_EXPONENT);
	signer_token_expect_sealed(f, LABEL_B,
				   f->kind->usual == KEY_RSA2048 ? CKA_PRIVATE_EXPONENT : CKA_VALUE);
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_NONE);
	assert_nothing_to_inspect(&c, ID_A);
	assert_int_equal(signer_find(&c, ID_B), MESSAGE_KEY_PAIR);
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
	assert_int_equal(destroyed, 0);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 1);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, NULL), 1);
	signer_status(&c, &status);
	assert_int_equal(status.created, 2);
	assert_int_equal(status.destroyed, 1);
	assert_int_equal(status.failed, 0);
	message_status_reply_release(&status);
	signer_client_close(&c);
	signer_stop(f);
}

/* F69 */
static void half_pairs_are_found_and_cleaned_F69(void **state)
{
	struct signer_fixture *f = *state;
	struct message_list_keys_part list;
	struct signer_client c;
	uint32_t destroyed = 0;
	unsigned parts;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, f->kind->usual, NULL), E_OK);
	assert_int_equal(signer_create(&c, ID_B, f->kind->usual, NULL), E_OK);
	signer_token_destroy(f, CKO_PRIVATE_KEY, LABEL_A);
	signer_token_destroy(f, CKO_PUBLIC_KEY, LABEL_B);
	if (!f->kind->sees_others) {
		assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
		assert_int_equal(signer_find(&c, ID_B), MESSAGE_KEY_PAIR);
	}
	signer_client_close(&c);
	signer_restart_to_see(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PUBLIC_ONLY);
	assert_int_equal(signer_find(&c, ID_B), MESSAGE_KEY_PRIVATE_ONLY);
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 2);
	for (size_t i = 0; i < 2; i++) {
		bool is_a = strcmp(list.keys[i].label, LABEL_A) == 0;

		assert_string_equal(list.keys[i].label, is_a ? LABEL_A : LABEL_B);
		assert_int_equal(list.keys[i].presence,
				 is_a ? MESSAGE_KEY_PUBLIC_ONLY : MESSAGE_KEY_PRIVATE_ONLY);
		assert_int_equal(list.keys[i].life, MESSAGE_LIFE_USED);
	}
	message_list_keys_part_release(&list);
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
	assert_int_equal(destroyed, 1);
	assert_int_equal(signer_destroy(&c, ID_B, &destroyed), E_OK);
	assert_int_equal(destroyed, 1);
	assert_nothing_left(f);
	signer_client_close(&c);
	signer_stop(f);
}

/* As keys of csrd 0.1 may be. */
static void two_keys_under_one_label_are_ambiguous(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char csr_id[CSR_ID_SIZE];
	uint32_t destroyed = 0;

	signer_token_add_public(f, 7, 1);
	signer_token_add_public(f, 7, 1);
	signer_csr_id(csr_id, 7);
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_find(&c, csr_id), MESSAGE_KEY_AMBIGUOUS);
	assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	assert_nothing_left(f);
	signer_client_close(&c);
	signer_stop(f);
}

/* I3: what one key was used for is not asked of another. */
static void a_csr_gets_one_key(void **state)
{
	struct signer_fixture *f = *state;
	const char *ids[] = {ID_A};
	struct signer_client c;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, f->kind->usual, NULL), E_OK);
	assert_int_equal(signer_create(&c, ID_A, f->kind->usual, NULL), E_INVAL);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 1);
	assert_int_equal(signer_learn(&c), 1);
	assert_int_equal(signer_confirm(&c, ids, 1, false), E_OK);
	assert_int_equal(signer_confirm(&c, ids, 1, false), E_OK);
	assert_int_equal(signer_learn(&c), 0);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	signer_client_close(&c);
	signer_stop(f);
}

/* Room that is freed is used again, and nothing is taken for what was there before. */
static void keys_made_after_a_destroy_are_themselves(void **state)
{
	enum { FIRST = 3, LAST = 9 };
	struct signer_fixture *f = *state;
	char csr_id[CSR_ID_SIZE];
	struct signer_client c;
	uint32_t destroyed;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	for (unsigned i = 0; i < LAST; i++) {
		if (i >= FIRST) {
			signer_csr_id(csr_id, i - FIRST);
			assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
			assert_int_equal(destroyed, 2);
		}
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_create(&c, csr_id, f->kind->usual, NULL), E_OK);
	}
	for (unsigned i = 0; i < LAST; i++) {
		signer_csr_id(csr_id, i);
		assert_int_equal(signer_find(&c, csr_id),
				 i < LAST - FIRST ? MESSAGE_KEY_NONE : MESSAGE_KEY_PAIR);
	}
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), FIRST);
	signer_client_close(&c);
	signer_stop(f);
}

static void a_long_list_comes_in_parts(void **state)
{
	struct signer_fixture *f = *state;
	const unsigned count = 2 * MESSAGE_LIST_PART_KEYS + 1;
	struct message_list_keys_part list;
	char label[5 + CSR_ID_SIZE] = "csrd:";
	struct signer_client c;
	unsigned parts;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 0);
	assert_int_equal(parts, 1);
	message_list_keys_part_release(&list);
	signer_client_close(&c);
	signer_token_add_public(f, 0, count);
	signer_restart_to_see(f);
	signer_client_open(&c, f->socket, NULL);
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, count);
	assert_int_equal(parts, 3);
	for (unsigned i = 0; i < count; i++) {
		signer_csr_id(label + 5, i);
		assert_string_equal(list.keys[i].label, label);
		assert_int_equal(list.keys[i].presence, MESSAGE_KEY_PUBLIC_ONLY);
	}
	message_list_keys_part_release(&list);
	signer_client_close(&c);
	signer_stop(f);
}

static void many_creates_in_flight(void **state)
{
	enum { COUNT = 50, SLOW_COUNT = 6 };
	struct signer_fixture *f = *state;
	const unsigned count = f->kind->usual == KEY_RSA2048 ? SLOW_COUNT : COUNT;
	struct message_create_csr_reply replies[COUNT];
	uint32_t ids[COUNT];
	struct csr_spec spec;
	struct signer_client c;
	char csr_id[CSR_ID_SIZE];

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	for (unsigned i = 0; i < count; i++) {
		signer_spec(&spec, i % 10 ? f->kind->usual : KEY_RSA2048);
		signer_csr_id(csr_id, i);
		ids[i] = signer_create_send(&c, csr_id, &spec, LONG_MS);
		csr_spec_release(&spec);
	}
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(signer_create_get(&c, ids[i], &replies[i]), E_OK);
		assert_csr(&replies[i], i % 10 ? f->kind->usual : KEY_RSA2048);
		for (unsigned j = 0; j < i; j++) {
			assert_memory_not_equal(replies[i].key.key_id, replies[j].key.key_id, KEY_ID_BYTES);
			assert_memory_not_equal(replies[i].key.spki_sha256, replies[j].key.spki_sha256,
						KEY_SPKI_HASH_BYTES);
		}
	}
	for (unsigned i = 0; i < count; i++)
		message_create_csr_reply_release(&replies[i]);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), count);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, NULL), count);
	signer_client_close(&c);
	signer_stop(f);
}

static void unusable_values_are_refused_before_a_key_is_made(void **state)
{
	struct signer_fixture *f = *state;
	struct csr_spec spec;
	struct signer_client c;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_spec(&spec, f->kind->usual);
	spec.country[1] = '1';
	assert_int_equal(signer_create_get(&c, signer_create_send(&c, ID_A, &spec, LONG_MS), NULL), E_INVAL);
	spec.country[1] = 'H';
	free(spec.sans[1].value);
	spec.sans[1].value = strdup("192.0.2");
	assert_int_equal(signer_create_get(&c, signer_create_send(&c, ID_A, &spec, LONG_MS), NULL), E_INVAL);
	csr_spec_release(&spec);
	assert_nothing_left(f);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- order, limits, time ---- */

static void a_csr_or_key_at_work_is_busy(void **state)
{
	struct signer_fixture *f = *state;
	struct message_find_key_reply found;
	uint32_t create, find, destroy, again, destroyed;
	struct csr_spec spec;
	struct signer_client c;

	f->threads = 1;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_B, f->kind->usual, NULL), E_OK);
	signer_spec(&spec, KEY_RSA2048);
	create = signer_create_send(&c, ID_A, &spec, LONG_MS);
	again = signer_create_send(&c, ID_A, &spec, LONG_MS);
	destroy = signer_key_send(&c, MESSAGE_DESTROY_KEY, ID_B, LONG_MS);
	find = signer_key_send(&c, MESSAGE_FIND_KEY, ID_B, LONG_MS);
	assert_int_equal(signer_create_get(&c, again, NULL), E_BUSY);
	assert_int_equal(signer_find_get(&c, find, &found), E_BUSY);
	assert_int_equal(signer_create_get(&c, create, NULL), E_OK);
	assert_int_equal(signer_destroy_get(&c, destroy, &destroyed), E_OK);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	csr_spec_release(&spec);
	signer_client_close(&c);
	signer_stop(f);
}

static void a_full_queue_is_busy(void **state)
{
	enum { COUNT = 6 };
	struct signer_fixture *f = *state;
	unsigned done = 0, busy = 0;
	uint32_t ids[COUNT];
	struct csr_spec spec;
	struct signer_client c;
	char csr_id[CSR_ID_SIZE];

	f->threads = 1;
	f->queue_max = 1;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_spec(&spec, KEY_RSA2048);
	for (unsigned i = 0; i < COUNT; i++) {
		signer_csr_id(csr_id, i);
		ids[i] = signer_create_send(&c, csr_id, &spec, LONG_MS);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		enum err e = signer_create_get(&c, ids[i], NULL);

		assert_true(e == E_OK || e == E_BUSY);
		done += e == E_OK;
		busy += e == E_BUSY;
	}
	assert_true(done >= 1 && busy >= COUNT - 3);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), done);
	csr_spec_release(&spec);
	signer_client_close(&c);
	signer_stop(f);
}

static void a_late_request_is_not_begun(void **state)
{
	struct signer_fixture *f = *state;
	uint32_t first, late;
	struct csr_spec spec;
	struct signer_client c;

	f->threads = 1;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_spec(&spec, KEY_RSA2048);
	first = signer_create_send(&c, ID_A, &spec, LONG_MS);
	late = signer_create_send(&c, ID_B, &spec, 1);
	assert_int_equal(signer_create_get(&c, late, NULL), E_TIMEOUT);
	assert_int_equal(signer_create_get(&c, first, NULL), E_OK);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 1);
	csr_spec_release(&spec);
	signer_client_close(&c);
	signer_stop(f);
}

/* The first of a client's creates, with so many behind it; what a signer does at its start is work, too. */
static void wait_until_begun(struct signer_client *c, uint32_t behind)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	bool begun = false;

	while (!begun) {
		struct message_status_reply status;

		signer_status(c, &status);
		begun = (status.busy && status.queued == behind) || status.created;
		message_status_reply_release(&status);
		assert_true(clock_ms() < deadline);
	}
}

/* What a client that died left waiting is never begun; what was begun is found by the next client. */
static void requests_of_a_dead_client_are_dropped(void **state)
{
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct signer_client dead, c;
	struct csr_spec spec;

	f->threads = 1;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_client_open(&dead, f->socket, NULL);
	signer_spec(&spec, KEY_RSA2048);
	signer_create_send(&dead, ID_A, &spec, LONG_MS);
	for (unsigned i = 0; i < 20; i++) {
		char csr_id[CSR_ID_SIZE];

		signer_csr_id(csr_id, i);
		signer_create_send(&dead, csr_id, &spec, LONG_MS);
	}
	signer_create_send(&dead, ID_B, &spec, LONG_MS);
	wait_until_begun(&c, 21);
	signer_client_close(&dead);
	wait_until_idle(&c);
	signer_status(&c, &status);
	assert_int_equal(signer_learn(&c), status.created); /* nobody was told */
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	message_status_reply_release(&status);
	signer_status(&c, &status);
	assert_int_equal(status.queued, 0);
	assert_true(status.created <= 2); /* on a fast machine the first of the twenty had begun */
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), status.created);
	message_status_reply_release(&status);
	csr_spec_release(&spec);
	signer_client_close(&c);
	signer_stop(f);
}

/* INSPECT_KEY waits for its turn like any other, and nobody is refused because of it. */
static void a_look_is_in_nobodys_way(void **state)
{
	struct signer_fixture *f = *state;
	uint32_t running, look, late_look, destroy, destroyed = 0;
	struct message_inspect_key_reply found;
	struct message_create_csr_reply made;
	struct signer_client c;
	struct csr_spec spec;

	f->threads = 1;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_B, f->kind->usual, NULL), E_OK);
	signer_spec(&spec, KEY_RSA2048);
	running = signer_create_send(&c, ID_A, &spec, LONG_MS);
	look = signer_key_send(&c, MESSAGE_INSPECT_KEY, ID_B, LONG_MS);
	destroy = signer_key_send(&c, MESSAGE_DESTROY_KEY, ID_B, LONG_MS);
	late_look = signer_key_send(&c, MESSAGE_INSPECT_KEY, ID_B, LONG_MS);
	assert_int_equal(signer_inspect_get(&c, late_look, &found), E_BUSY);
	assert_int_equal(signer_create_get(&c, running, &made), E_OK);
	message_create_csr_reply_release(&made);
	assert_int_equal(signer_inspect_get(&c, look, &found), E_OK);
	assert_true(found.has_key);
	message_inspect_key_reply_release(&found);
	assert_int_equal(signer_destroy_get(&c, destroy, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	assert_nothing_to_inspect(&c, ID_B);
	csr_spec_release(&spec);
	signer_client_close(&c);
	signer_stop(f);
}

/* F28 */
static void sigterm_lets_work_end_F28(void **state)
{
	struct signer_fixture *f = *state;
	uint32_t running, waiting;
	struct signer_client c;
	struct csr_spec spec;
	enum err e;

	f->threads = 1;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_spec(&spec, KEY_RSA2048);
	running = signer_create_send(&c, ID_A, &spec, LONG_MS);
	waiting = signer_create_send(&c, ID_B, &spec, LONG_MS);
	wait_until_begun(&c, 1);
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	assert_int_equal(signer_create_get(&c, running, NULL), E_OK);
	e = signer_create_get(&c, waiting, NULL);
	assert_true(e == E_UNAVAIL || e == E_OK);
	signer_client_expect_end(&c);
	assert_int_equal(signer_wait(f), 0);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, LABEL_A), 1);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, LABEL_B), e == E_OK);
	csr_spec_release(&spec);
	signer_client_close(&c);
}

/* Sends requests without reading until no more are taken; returns how many that were. */
static uint32_t flood(struct signer_client *c, uint32_t max)
{
	for (uint32_t sent = 0; sent < max; sent++) {
		struct pollfd p = {c->fd, POLLOUT, 0};

		if (poll(&p, 1, 1000) == 0)
			return sent;
		signer_client_send(c, MESSAGE_STATUS, NULL);
	}
	return max;
}

/*
 * A client that asks and does not read is not read from any more, so nothing grows without end; others are
 * served meanwhile, and it gets every answer, in order, once it reads.
 */
static void answers_wait_for_a_slow_reader(void **state)
{
	const uint32_t more_than_fits = 200000;
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct signer_client slow, c;
	uint32_t sent;

	signer_start(f);
	signer_client_open(&slow, f->socket, NULL);
	signer_client_open(&c, f->socket, NULL);
	sent = flood(&slow, more_than_fits);
	assert_true(sent < more_than_fits);
	signer_status(&c, &status);
	message_status_reply_release(&status);
	for (uint32_t id = 2; id < sent + 2; id++) {
		struct signer_answer answer;

		signer_client_receive(&slow, id, &answer);
		assert_int_equal(answer.type, MESSAGE_STATUS | MESSAGE_REPLY);
		buf_release(&answer.payload);
		assert_int_equal(slow.kept.len, 0);
	}
	signer_client_close(&slow);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- who may say what ---- */

static void hello_comes_first_and_once(void **state)
{
	struct signer_fixture *f = *state;
	struct message_hello hello = {.version = MESSAGE_PROTOCOL_VERSION + 1,
				      .client = (char *)(uintptr_t) "x"};
	struct signer_client c;
	struct buf b;

	signer_start(f);
	signer_client_connect(&c, f->socket);
	signer_key_send(&c, MESSAGE_FIND_KEY, ID_A, LONG_MS);
	signer_client_expect_end(&c);
	signer_client_close(&c);

	buf_init(&b, 1024);
	message_hello_encode(&b, &hello);
	signer_client_connect(&c, f->socket);
	signer_client_send(&c, MESSAGE_HELLO, &b);
	signer_client_expect_end(&c);
	signer_client_close(&c);

	hello.version = MESSAGE_PROTOCOL_VERSION;
	buf_reset(&b);
	message_hello_encode(&b, &hello);
	signer_client_open(&c, f->socket, NULL);
	signer_client_send(&c, MESSAGE_HELLO, &b);
	signer_client_expect_end(&c);
	signer_client_close(&c);
	buf_release(&b);
	signer_stop(f);
}

static void bad_frames_end_the_connection_and_nothing_else(void **state)
{
	static const struct {
		const char *name;
		const char *bytes;
		size_t len;
	} bad[] = {
	    {"length 0", "\0\0\0\0\0\0\0\7\0\6", 10},
	    {"length too big", "\xff\xff\xff\xff\0\0\0\7\0\6", 10},
	    {"unknown type", "\0\0\0\6\0\0\0\7\0\x63", 10},
	    {"a reply", "\0\0\0\6\0\0\0\7\x80\6", 10},
	    {"status with a payload", "\0\0\0\7\0\0\0\7\0\6x", 11},
	    {"create without a payload", "\0\0\0\6\0\0\0\7\0\2", 10},
	    {"find with half an id", "\0\0\0\x0e\0\0\0\7\0\4\0\0\0\1abcd", 18},
	    {"text", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
	};
	struct signer_fixture *f = *state;
	struct signer_client good, c;

	signer_start(f);
	signer_client_open(&good, f->socket, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		signer_client_open(&c, f->socket, NULL);
		signer_client_send_raw(&c, bad[i].bytes, bad[i].len);
		signer_client_expect_end(&c);
		signer_client_close(&c);
	}
	signer_client_connect(&c, f->socket); /* half a frame, then gone */
	signer_client_send_raw(&c, "\0\0\0\x0e\0\0", 6);
	signer_client_close(&c);
	assert_int_equal(signer_create(&good, ID_A, f->kind->usual, NULL), E_OK);
	signer_client_close(&good);
	signer_stop(f);
}

/* In a child that is `nobody`: 0 when hello was answered. */
static int connect_as_nobody(const char *path)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		char hello[] = "\0\0\0\x0f\0\0\0\1\0\1\0\0\0V\0\0\0\1x", byte;

		hello[13] = MESSAGE_PROTOCOL_VERSION;
		if (setgid(65534) || setuid(65534))
			_exit(10);
		strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
			_exit(11);
		if (send(fd, hello, 19, MSG_NOSIGNAL) != 19)
			_exit(12);
		_exit(read(fd, &byte, 1) == 1 ? 0 : 13);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void only_permitted_users_connect(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	int code;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->folder, 0755), 0);
	f->extra = "client_users = 65533\n";
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_client_close(&c);
	code = connect_as_nobody(f->socket);
	assert_true(code == 12 || code == 13); /* cut off, before or after the write */
	signer_wait_for_log(f, "connection from uid 65534");
	signer_stop(f);

	f->extra = "client_users = 65534\n";
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_client_close(&c);
	assert_int_equal(connect_as_nobody(f->socket), 0);
	signer_stop(f);
}

/* ---- start ---- */

static void a_second_instance_gives_up(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	pid_t first;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	first = f->pid;
	f->pid = 0;
	signer_expect_exit(f, EXIT_CODE_IN_USE, f->socket);
	f->pid = first;
	assert_int_equal(signer_create(&c, ID_A, f->kind->usual, NULL), E_OK);
	signer_client_close(&c);
	signer_stop(f);
	signer_start(f); /* the socket's file of a gone process is no hindrance */
	signer_client_open(&c, f->socket, NULL);
	signer_client_close(&c);
	signer_stop(f);
}

static void modules_that_cannot_be_used(void **state)
{
	struct signer_fixture *f = *state;
	const char *path = signer_path(f, "module.so");
	char local[PATH_MAX];

	snprintf(local, sizeof(local), "%s", path);
	f->module = local;
	signer_expect_exit(f, EXIT_CODE_NO_MODULE, local);
	signer_write_file(local, "no library\n", 0600);
	signer_expect_exit(f, EXIT_CODE_NO_MODULE, local);
	assert_int_equal(chmod(local, 0622), 0);
	signer_expect_exit(f, EXIT_CODE_NO_MODULE, "may be changed by others");
	f->module = f->folder;
	signer_expect_exit(f, EXIT_CODE_NO_MODULE, f->folder);
	f->module = "/lib/x86_64-linux-gnu/libz.so.1";
	if (access(f->module, R_OK) == 0)
		signer_expect_exit(f, EXIT_CODE_NO_MODULE, "C_GetFunctionList");
}

static void tokens_that_are_not_there(void **state)
{
	struct signer_fixture *f = *state;

	f->uri = "pkcs11:token=nobody";
	signer_expect_exit(f, EXIT_CODE_NO_TOKEN, "pkcs11:token=nobody");
	assert_true(signer_log_has(f, "'" SIGNER_TOKEN_LABEL "' serial '"));
	f->uri = "pkcs11:serial=ffffffffffffffff";
	signer_expect_exit(f, EXIT_CODE_NO_TOKEN, "no token fits");
	f->kind->make_token(f, "second");
	f->uri = f->kind->shared_uri;
	signer_expect_exit(f, EXIT_CODE_NO_TOKEN, "more than one token fits");
	assert_true(signer_log_has(f, "'second' serial '"));
}

static void uris_that_are_refused(void **state)
{
	static const char *const bad[] = {
	    "pkcs11:token=signer-test?pin-value=" SIGNER_PIN,
	    "pkcs11:token=signer-test?pin-source=/etc/pin",
	    "pkcs11:token=signer-test?module-path=/tmp/x.so",
	    "pkcs11:token=signer-test;object=key",
	    "pkcs11:token=signer-test;pin-value=" SIGNER_PIN,
	    "pkcs11:library-manufacturer=x",
	    "pkcs11:token=%zz",
	    "signer-test",
	};
	struct signer_fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f->uri = bad[i];
		signer_expect_exit(f, EXIT_CODE_CONFIG, "uri");
	}
}

/* F91 */
static void pin_files_that_are_refused_F91(void **state)
{
	struct signer_fixture *f = *state;
	const char *pin = signer_path(f, "pin");
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", pin);
	assert_int_equal(chmod(path, 0644), 0);
	signer_expect_exit(f, EXIT_CODE_CONFIG, path);
	assert_int_equal(chmod(path, 0620), 0);
	signer_expect_exit(f, EXIT_CODE_CONFIG, path);
	signer_write_file(path, "\n", 0600);
	signer_expect_exit(f, EXIT_CODE_CONFIG, path);
	assert_int_equal(unlink(path), 0);
	signer_expect_exit(f, EXIT_CODE_CONFIG, path);
	assert_int_equal(mkdir(path, 0700), 0);
	signer_expect_exit(f, EXIT_CODE_CONFIG, path);
}

static void the_socket_may_be_inherited(void **state)
{
	struct signer_fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct signer_client c;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/inherited.sock", f->folder);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	signer_write_config(f);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		char pid[16];

		if (!freopen(signer_path(f, "log"), "we", stderr))
			_exit(125);
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "1", 1);
		if (dup2(fd, 3) != 3)
			_exit(126);
		execl(f->program, "csrd-hsm", "-c", signer_path(f, "csrd.conf"), (char *)NULL);
		_exit(127);
	}
	signer_client_open(&c, address.sun_path, NULL);
	assert_int_equal(signer_create(&c, ID_A, f->kind->usual, NULL), E_OK);
	assert_int_not_equal(access(f->socket, F_OK), 0);
	signer_client_close(&c);
	close(fd);
	signer_stop(f);
}

/* ---- the pool ---- */

/* Waits until so many keys of the usual type are ready. */
static void wait_until_ready(struct signer_client *c, uint32_t ready)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	struct message_status_reply status;
	bool done;

	do {
		assert_true(clock_ms() < deadline);
		signer_status(c, &status);
		done = status.pools_len == 1 && status.pools[0].ready == ready;
		message_status_reply_release(&status);
	} while (!done);
}

/* A ready key is given to a CSR, by this process or the next. */
static void ready_keys_are_handed_out(void **state)
{
	enum { READY = 2 };
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct signer_client c;
	char lines[64];

	snprintf(lines, sizeof(lines), "pool_%s = %d\npool_quiet = 1m\n", key_type_name(f->kind->usual),
		 READY);
	f->extra = lines;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	wait_until_ready(&c, READY);
	for (int i = 0; i < READY; i++) {
		assert_int_equal(signer_create(&c, i ? ID_B : ID_A, f->kind->usual, &reply), E_OK);
		assert_csr(&reply, f->kind->usual);
		assert_inspected(&c, i ? ID_B : ID_A, &reply.key);
		message_create_csr_reply_release(&reply);
		wait_until_ready(&c, READY - 1);
		signer_client_close(&c);
		signer_stop(f);
		assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, i ? LABEL_B : LABEL_A), 1);
		assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, i ? LABEL_B : LABEL_A), 1);
		assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), READY + i);
		signer_start(f);
		signer_client_open(&c, f->socket, NULL);
		wait_until_ready(&c, READY);
	}
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- sudden death ---- */

static void wait_until_empty(struct signer_client *c)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	struct message_list_keys_part list;
	unsigned parts;
	size_t len;

	do {
		assert_true(clock_ms() < deadline);
		signer_list(c, &list, &parts);
		len = list.keys_len;
		message_list_keys_part_release(&list);
	} while (len);
}

/* Kill -9 in the middle of generations: all that is left can be listed and destroyed, and nothing hides. */
static void kill_9_leaves_what_can_be_cleaned_F69(void **state)
{
	enum { ROUNDS = 6, SLOW_ROUNDS = 2, CREATES = 12 };
	struct signer_fixture *f = *state;
	bool is_slow = f->kind->threads == 1 || f->kind->usual == KEY_RSA2048;

	for (unsigned round = 0; round < (is_slow ? SLOW_ROUNDS : ROUNDS); round++) {
		struct message_list_keys_part list;
		uint32_t first, destroyed;
		struct signer_client c;
		struct csr_spec spec;
		unsigned parts;
		size_t used;
		enum err e;

		signer_start(f);
		signer_client_open(&c, f->socket, NULL);
		signer_spec(&spec, f->kind->usual);
		first = c.next_id + 1;
		for (unsigned i = 0; i < CREATES; i++) {
			char csr_id[CSR_ID_SIZE];

			signer_csr_id(csr_id, i);
			signer_create_send(&c, csr_id, &spec, LONG_MS);
		}
		csr_spec_release(&spec);
		for (unsigned i = 0; i <= round; i++) {
			assert_int_equal(signer_create_get(&c, first + i, NULL), E_OK);
		}
		assert_int_equal(kill(f->pid, SIGKILL), 0);
		assert_int_equal(signer_wait(f), -SIGKILL);
		signer_client_close(&c);

		signer_start(f);
		signer_client_open(&c, f->socket, NULL);
		used = signer_learn(&c);
		assert_true(used > round && used <= CREATES);
		signer_list(&c, &list, &parts);
		assert_true(list.keys_len >= used && list.keys_len <= CREATES);
		for (size_t i = 0; i < list.keys_len; i++) {
			e = signer_destroy(&c, list.keys[i].label, &destroyed);
			/* What was used for nothing is the signer's, which destroys it. */
			assert_int_equal(e, list.keys[i].life == MESSAGE_LIFE_USED || e == E_OK ? E_OK
												: E_DENIED);
		}
		message_list_keys_part_release(&list);
		wait_until_empty(&c);
		assert_int_equal(signer_token_count_keys(f, CKO_PRIVATE_KEY), 0);
		assert_int_equal(signer_token_count_keys(f, CKO_PUBLIC_KEY), 0);
		signer_client_close(&c);
		signer_stop(f);
	}
}

/* ---- a token that misbehaves (tests/p11shim) ---- */

/* The fault is over: the signer finds that out by itself, in two seconds at most. */
static void wait_until_usable(struct signer_client *c)
{
	uint64_t deadline = clock_ms() + 2000;
	struct message_status_reply status;
	bool usable = false;

	while (!usable) {
		assert_true(clock_ms() < deadline);
		signer_status(c, &status);
		usable = status.usable;
		message_status_reply_release(&status);
	}
}

/* F60: once, with four threads, and not again at the next starts. */
static void a_wrong_pin_is_tried_once_F60(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_use_shim(f, "");
	signer_write_file(signer_path(f, "pin"), "141421", 0600);
	signer_expect_exit(f, EXIT_CODE_PIN, "refused the pin");
	assert_int_equal(signer_shim_count(f, "C_Login"), 1);
	assert_false(signer_log_has(f, "141421"));
	for (int i = 0; i < 3; i++)
		signer_expect_exit(f, EXIT_CODE_PIN, "not tried again");
	assert_int_equal(signer_shim_count(f, "C_Login"), 1);
	signer_write_file(signer_path(f, "pin"), SIGNER_PIN, 0600);
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_shim_count(f, "C_Login"), 2);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_client_close(&c);
	signer_stop(f);
	assert_int_not_equal(access(signer_path(f, "signer-state/pin-refused"), F_OK), 0);
}

/* F61 */
static void the_last_try_is_left_alone_F61(void **state)
{
	struct signer_fixture *f = *state;

	signer_use_shim(f, "C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY\n");
	signer_expect_exit(f, EXIT_CODE_PIN, "no attempt made");
	signer_set_rules(f, "C_GetTokenInfo flags +CKF_USER_PIN_LOCKED\n");
	signer_expect_exit(f, EXIT_CODE_PIN, "is locked");
	assert_int_equal(signer_shim_count(f, "C_Login"), 0);
	signer_set_rules(f, "C_Login return CKR_PIN_LOCKED\n");
	signer_expect_exit(f, EXIT_CODE_PIN, "CKR_PIN_LOCKED");
	assert_int_equal(signer_shim_count(f, "C_Login"), 1);
}

/* F50, F51, F52: the token lies or cannot keep a promise: the request fails and no key is left. */
static void broken_promises_F50_F51_F52(void **state)
{
	static const struct {
		enum key_type type;
		const char *rules;
	} lies[] = {
	    {KEY_P256V1, "C_Sign corrupt\n"},
	    {KEY_RSA2048, "C_Sign corrupt\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_EXTRACTABLE true\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_SENSITIVE false\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_ALWAYS_SENSITIVE false\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_NEVER_EXTRACTABLE false\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_LOCAL false\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_TOKEN false\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_DECRYPT true\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_UNWRAP true\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_DERIVE true\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_SIGN_RECOVER true\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_LOCAL missing\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_UNWRAP missing\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_SENSITIVE error CKR_FUNCTION_FAILED\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_KEY_TYPE number 0\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_EC_PARAMS hex 06052b81040022\n"},
	    {KEY_P256V1, "C_GetAttributeValue attr CKA_EC_POINT hex 0400\n"},
	    {KEY_RSA2048, "C_GetAttributeValue attr CKA_PUBLIC_EXPONENT hex 03\n"},
	    {KEY_RSA2048, "C_GetAttributeValue attr CKA_MODULUS hex c000000000000000000000000000000001\n"},
	};
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct signer_client c;
	const size_t len = sizeof(lies) / sizeof(lies[0]);

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	for (size_t i = 0; i < len; i++) {
		signer_set_rules(f, lies[i].rules);
		if (signer_create(&c, ID_A, lies[i].type, NULL) != E_HSM)
			fail_msg("not refused: %s", lies[i].rules);
		signer_set_rules(f, "");
		wait_until_usable(&c);
		assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_NONE);
	}
	assert_nothing_left(f);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_status(&c, &status);
	assert_int_equal(status.failed, len);
	assert_true(status.usable);
	message_status_reply_release(&status);
	signer_client_close(&c);
	signer_stop(f);
}

/* A usage that the operator has named is forgiven, and reported with the key. */
static void a_named_exception_is_forgiven(void **state)
{
	struct signer_fixture *f = *state;
	struct message_create_csr_reply reply;
	struct signer_client c;

	signer_use_shim(f, "C_GetAttributeValue attr CKA_DECRYPT true\n");
	f->extra = "allow_usage = decrypt\n";
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, &reply), E_OK);
	assert_int_equal(reply.key.protection, KEY_PROT_REQUIRED | KEY_PROT_DECRYPT);
	message_create_csr_reply_release(&reply);
	signer_set_rules(f, "C_GetAttributeValue attr CKA_UNWRAP true\n");
	assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_HSM);
	signer_client_close(&c);
	signer_stop(f);
	assert_true(signer_log_has(f, "allow_usage"));
}

/* F53: any call of a create fails once, with any of these values: a mapped error, nothing left, and the next
 * one works. */
static void every_call_may_fail_F53(void **state)
{
	static const char *const calls[] = {"C_GenerateKeyPair", "C_GetAttributeValue", "C_SignInit",
					    "C_Sign"};
	static const char *const values[] = {
	    "CKR_DEVICE_ERROR",           "CKR_DEVICE_MEMORY",      "CKR_DEVICE_REMOVED",
	    "CKR_GENERAL_ERROR",          "CKR_FUNCTION_FAILED",    "CKR_HOST_MEMORY",
	    "CKR_TOKEN_NOT_PRESENT",      "CKR_USER_NOT_LOGGED_IN", "CKR_SESSION_CLOSED",
	    "CKR_SESSION_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "0x80000001",
	};
	struct signer_fixture *f = *state;
	struct signer_client c;
	char rules[256];

	f->threads = 1;
	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			uint32_t destroyed = 0;
			enum err e;

			snprintf(rules, sizeof(rules), "%s@1 return %s\n", calls[i], values[j]);
			signer_set_rules(f, rules);
			e = signer_create(&c, ID_A, KEY_P256V1, NULL);
			if (e != E_OK && e != E_HSM && e != E_UNAVAIL && e != E_NOMEM)
				fail_msg("%s: %s", rules, err_str(e));
			signer_set_rules(f, "");
			wait_until_usable(&c);
			assert_int_equal(signer_find(&c, ID_A),
					 e == E_OK ? MESSAGE_KEY_PAIR : MESSAGE_KEY_NONE);
			assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
			assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
			assert_int_equal(signer_destroy(&c, ID_B, &destroyed), E_OK);
			assert_int_equal(destroyed, 2);
		}
	}
	assert_nothing_left(f);
	signer_client_close(&c);
	signer_stop(f);
}

/* An error after the pair was made all the same: it is found by its id and destroyed. */
static void a_failed_generation_may_have_made_keys(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_set_rules(f, "C_GenerateKeyPair after-return CKR_DEVICE_ERROR\n");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_UNAVAIL);
	signer_set_rules(f, "");
	wait_until_usable(&c);
	assert_nothing_left(f);
	signer_set_rules(
	    f,
	    "C_GenerateKeyPair after-return CKR_DEVICE_ERROR\nC_DestroyObject return CKR_FUNCTION_FAILED\n");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_UNCERTAIN);
	assert_int_equal(signer_learn(&c), 0);
	signer_set_rules(f, "");
	signer_wait_for_log(f, "was destroyed at last: 2 objects"); /* nobody else knows its name */
	assert_nothing_left(f);
	signer_client_close(&c);
	signer_stop(f);
}

static void a_destroy_is_proven(void **state)
{
	static const char *const unreadable[] = {"C_GetAttributeValue return CKR_OBJECT_HANDLE_INVALID\n",
						 "C_GetAttributeValue attr CKA_CLASS missing\n"};
	struct signer_fixture *f = *state;
	struct signer_client c;
	uint32_t destroyed = 0;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_DestroyObject return CKR_OK\n"); /* said, not done */
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_UNCERTAIN);
	signer_set_rules(f, "C_DestroyObject return CKR_DEVICE_ERROR\n");
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_UNCERTAIN);
	signer_set_rules(f, "");
	wait_until_usable(&c);
	signer_set_rules(
	    f, "C_GetAttributeValue attr CKA_LABEL hex 6f74686572\n"); /* a search that found too much */
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_UNCERTAIN);
	for (size_t i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++) {
		signer_set_rules(f, unreadable[i]); /* what is found and cannot be read is not gone */
		assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_UNCERTAIN);
		signer_set_rules(f, "");
		wait_until_usable(&c);
	}
	signer_set_rules(f, "");
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	signer_client_close(&c);
	signer_stop(f);
}

/* F55, F59: all sessions end at once, and the login with them. */
static void lost_sessions_are_opened_again_F55(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	uint32_t destroyed = 0;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	for (int i = 0; i < 5; i++) {
		char csr_id[CSR_ID_SIZE];

		signer_set_rules(f, "invalidate-sessions\n");
		signer_csr_id(csr_id, (unsigned)i);
		assert_int_equal(signer_create(&c, csr_id, KEY_P256V1, NULL), E_OK);
		signer_set_rules(f, "");
		signer_set_rules(f, "invalidate-sessions\n");
		assert_int_equal(signer_find(&c, csr_id), MESSAGE_KEY_PAIR);
		signer_set_rules(f, "");
		signer_set_rules(f, "invalidate-sessions\n");
		assert_int_equal(signer_destroy(&c, csr_id, &destroyed), E_OK);
		assert_int_equal(destroyed, 2);
		signer_set_rules(f, "");
	}
	assert_nothing_left(f);
	signer_client_close(&c);
	signer_stop(f);
}

/* F54: no session to be had, for ever: errors, no hang; then it goes on. */
static void no_session_is_an_error_F54(void **state)
{
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct signer_client c;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_set_rules(f, "invalidate-sessions\nC_OpenSession return CKR_DEVICE_ERROR\n");
	for (int i = 0; i < 8; i++) {
		enum err e = signer_create(&c, ID_A, KEY_P256V1, NULL);

		assert_true(e == E_UNAVAIL || e == E_UNCERTAIN);
	}
	signer_status(&c, &status);
	assert_false(status.usable);
	assert_non_null(strstr(status.detail, "CKR_DEVICE_ERROR"));
	message_status_reply_release(&status);
	signer_set_rules(f, "");
	wait_until_usable(&c);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_client_close(&c);
	signer_stop(f);
}

/* I6 also when the PIN stops being right while running: one try, then the end. */
static void a_pin_that_goes_bad_ends_the_process(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_write_file(signer_path(f, "pin"), "141421", 0600);
	assert_int_equal(mkdir(signer_path(f, "hsm.sock.pin-refused"), 0700),
			 0); /* no marker can be written */
	signer_set_rules(f, "invalidate-sessions\n");
	for (unsigned i = 0; i < 8; i++) {
		char csr_id[CSR_ID_SIZE];
		struct csr_spec spec;

		signer_csr_id(csr_id, i);
		signer_spec(&spec, KEY_P256V1);
		signer_create_send(&c, csr_id, &spec, LONG_MS);
		csr_spec_release(&spec);
	}
	assert_int_equal(signer_wait(f), EXIT_CODE_PIN);
	assert_int_equal(signer_shim_count(f, "C_Login.bad"), 1);
	signer_client_close(&c);
}

/* F56, F29: the token hangs: the socket still answers, and a stop comes to an end. */
static void a_hanging_token_hangs_nobody_else_F56(void **state)
{
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct signer_client c;
	struct csr_spec spec;
	uint64_t before;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_set_rules(f, "C_GenerateKeyPair hang\n");
	signer_spec(&spec, KEY_P256V1);
	signer_create_send(&c, ID_A, &spec, LONG_MS);
	signer_wait_for_trace(f, "= hang");
	before = clock_ms();
	signer_status(&c, &status);
	assert_int_equal(status.busy, 1);
	message_status_reply_release(&status);
	assert_int_equal(signer_find(&c, ID_B), MESSAGE_KEY_NONE);
	assert_true(clock_ms() - before < 5000);
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	signer_wait_for_log(f, "stopping: SIGTERM");
	assert_int_equal(kill(f->pid, SIGTERM), 0); /* one alone waits for 20 s */
	assert_int_equal(signer_wait(f), EXIT_CODE_TOKEN_FAILED);
	csr_spec_release(&spec);
	signer_client_close(&c);
}

/* ---- a TPM without a resource manager (doc/hsm-compatibility.md) ---- */

/* Room for three loaded keys, and a key destroyed while it is loaded keeps its place: none of ours does. */
static void keys_come_and_go_in_a_small_device(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	uint32_t destroyed;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
		assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
		assert_int_equal(destroyed, 2);
		signer_set_rules(f, "C_Sign corrupt\n");
		assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_HSM);
		signer_set_rules(f, "");
	}
	assert_nothing_left(f);
	signer_client_close(&c);
	signer_stop(f);
	assert_true(signer_log_has(f, "tpm2-pkcs11"));
}

/* F60: some tokens count wrong PINs and lock themselves. */
static void a_wrong_pin_is_refused_F60(void **state)
{
	struct signer_fixture *f = *state;

	signer_use_shim(f, "");
	signer_write_file(signer_path(f, "pin"), "141421", 0600);
	signer_expect_exit(f, EXIT_CODE_PIN, "refused the pin");
	signer_expect_exit(f, EXIT_CODE_PIN, "");
	assert_int_equal(signer_shim_count(f, "C_Login"), 1);
}

/* In the middle of a signature: the key is loaded. */
static void kill_while_signing(struct signer_fixture *f)
{
	struct signer_client c;
	struct csr_spec spec;
	long before;

	signer_set_rules(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	before = signer_shim_count(f, "C_Sign");
	signer_set_rules(f, "C_Sign hang\n");
	signer_spec(&spec, KEY_P256V1);
	signer_create_send(&c, ID_A, &spec, LONG_MS);
	signer_wait_for_count(f, "C_Sign", before + 1);
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	assert_int_equal(waitpid(f->pid, NULL, 0), f->pid); /* and not signer_wait, which unloads the keys */
	f->pid = 0;
	csr_spec_release(&spec);
	signer_client_close(&c);
	signer_set_rules(f, "");
}

/* What a killed process had loaded stays so until it is unloaded: the next start gives up and says so. */
static void a_killed_signer_leaves_keys_loaded(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_use_shim(f, "");
	kill_while_signing(f);
	signer_expect_exit(f, EXIT_CODE_TOKEN_FAILED, "tpm2_flushcontext");
	f->kind->after_kill(f);
	/* A login that failed for no known reason is not repeated within a minute: a person knows better. */
	assert_int_equal(unlink(signer_path(f, "signer-state/pin-refused")), 0);
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_wait_for_log(f, "1 keys that were half made when the signer ended are destroyed");
	assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- p11-kit's server ---- */

/* It is started anew, as by an upgrade: the next create is answered, and the signer finds its way back. */
static void a_server_that_went_away_comes_back_F204(void **state)
{
	struct signer_fixture *f = *state;
	uint32_t destroyed = 0;
	struct signer_client c;
	enum err e;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, f->kind->usual, NULL), E_OK);
	p11kit_stop(f->helper);
	e = signer_create(&c, ID_B, f->kind->usual, NULL);
	assert_true(e == E_UNAVAIL || e == E_UNCERTAIN);
	f->helper = p11kit_serve(f->folder, signer_token_kinds[SIGNER_KIND_SOFTHSM].module);
	wait_until_usable(&c);
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	assert_int_equal(signer_create(&c, ID_B, f->kind->usual, NULL), E_OK);
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- a module that is reinitialised ---- */

/* C_Finalize and C_Initialize, after which everything is there again (why: signer_repair_test). */
static void a_module_works_after_a_renewal_F204(void **state)
{
	struct signer_fixture *f = *state;
	uint32_t destroyed = 0;
	struct signer_client c;

	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, f->kind->usual, NULL), E_OK);
	signer_set_rules(f, "C_DestroyObject return CKR_OK\n"); /* said, not done */
	for (int i = 0; i < 3; i++)
		assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_UNCERTAIN);
	signer_wait_for_log(f, "the module is reinitialised");
	signer_set_rules(f, "");
	wait_until_usable(&c);
	assert_int_equal(signer_create(&c, ID_B, f->kind->usual, NULL), E_OK);
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- other slots, other arguments ---- */

/* SoftHSM has our token in the first slot and an empty one in the second. */
static void a_slot_that_fails_is_named_F201(void **state)
{
	static const char rules[] = "C_GetTokenInfo@2 return CKR_DEVICE_ERROR\n"  /* libp11 gives up */
				    "C_GetTokenInfo@4 return CKR_DEVICE_ERROR\n"; /* we do not */
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_use_shim(f, rules);
	/* 0.4.12 does not free its slots when one of them cannot be asked. */
	signer_forgive_leaks(f, "libp11.so");
	f->uri = "pkcs11:token=nobody";
	signer_expect_exit(f, EXIT_CODE_NO_TOKEN, "'" SIGNER_TOKEN_LABEL "' serial '");
	assert_true(signer_log_has(f, ": C_GetTokenInfo: CKR_DEVICE_ERROR (0x30)"));
	signer_set_rules(f, "");
	signer_expect_exit(f, EXIT_CODE_NO_TOKEN, ": not initialised");
	signer_set_rules(f, rules);
	f->uri = NULL;
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_client_close(&c);
	signer_stop(f);
}

/* Without them NSS does not initialise in Debian 12, and serves another token in 13. */
static void nss_gets_its_arguments_F202(void **state)
{
	struct signer_fixture *f = *state;
	char lines[256];

	signer_use_shim(f, "C_Initialize return CKR_ARGUMENTS_BAD\n"); /* as NSS of Debian 12 without them */
	signer_expect_exit(f, EXIT_CODE_NO_MODULE,
			   "C_Initialize: CKR_ARGUMENTS_BAD (0x7); it may want module_init_args");
	f->module = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so";
	assert_int_equal(mkdir(signer_path(f, "nss"), 0700), 0);
	snprintf(lines, sizeof(lines),
		 "module_init_args = configdir='sql:%s/nss' certPrefix='' keyPrefix='' secmod='' flags= "
		 "cryptoTokenDescription='the arguments came'\n",
		 f->folder);
	f->extra = lines;
	signer_expect_exit(f, EXIT_CODE_NO_TOKEN, "'the arguments came' serial '");
}

/* ---- the tables ---- */

struct signer_case {
	const char *name;
	CMUnitTestFunction run;
};
#define CASE(function)                                                                                       \
	{                                                                                                    \
#function, function                                                                          \
	}

/* Hold for every module. */
static const struct signer_case contract_cases[] = {
    CASE(hello_tells_the_token),
    CASE(stores_are_remembered_over_a_kill),
    CASE(one_store_at_a_time),
    CASE(keys_are_made_found_and_destroyed),
    CASE(half_pairs_are_found_and_cleaned_F69),
    CASE(two_keys_under_one_label_are_ambiguous),
    CASE(a_csr_gets_one_key),
    CASE(keys_made_after_a_destroy_are_themselves),
    CASE(a_long_list_comes_in_parts),
    CASE(many_creates_in_flight),
    CASE(unusable_values_are_refused_before_a_key_is_made),
    CASE(sigterm_lets_work_end_F28),
    CASE(tokens_that_are_not_there),
    CASE(ready_keys_are_handed_out),
    CASE(kill_9_leaves_what_can_be_cleaned_F69),
};

/* Are of the queue, the socket and the files, in which the module has hardly a part. */
static const struct signer_case door_cases[] = {
    CASE(a_csr_or_key_at_work_is_busy),   CASE(a_full_queue_is_busy),
    CASE(a_late_request_is_not_begun),    CASE(requests_of_a_dead_client_are_dropped),
    CASE(a_look_is_in_nobodys_way),       CASE(answers_wait_for_a_slow_reader),
    CASE(hello_comes_first_and_once),     CASE(bad_frames_end_the_connection_and_nothing_else),
    CASE(only_permitted_users_connect),   CASE(a_second_instance_gives_up),
    CASE(modules_that_cannot_be_used),    CASE(uris_that_are_refused),
    CASE(pin_files_that_are_refused_F91), CASE(the_socket_may_be_inherited),
};

/* Need the shim in between. */
static const struct signer_case fault_cases[] = {
    CASE(a_wrong_pin_is_tried_once_F60),
    CASE(the_last_try_is_left_alone_F61),
    CASE(broken_promises_F50_F51_F52),
    CASE(a_named_exception_is_forgiven),
    CASE(every_call_may_fail_F53),
    CASE(a_failed_generation_may_have_made_keys),
    CASE(a_destroy_is_proven),
    CASE(lost_sessions_are_opened_again_F55),
    CASE(no_session_is_an_error_F54),
    CASE(a_pin_that_goes_bad_ends_the_process),
    CASE(a_hanging_token_hangs_nobody_else_F56),
};

/* Limits of tpm2-pkcs11 and what is done about them. */
static const struct signer_case tpm_cases[] = {
    CASE(keys_come_and_go_in_a_small_device),
    CASE(a_killed_signer_leaves_keys_loaded),
};

/* What SoftHSM has in fault_cases and in signer_repair_test, in more detail. */
static const struct signer_case repair_cases[] = {
    CASE(a_wrong_pin_is_refused_F60),
    CASE(a_module_works_after_a_renewal_F204),
};

static const struct signer_case server_cases[] = {
    CASE(a_server_that_went_away_comes_back_F204),
};

static const struct signer_case softhsm_cases[] = {
    CASE(a_slot_that_fails_is_named_F201),
    CASE(nss_gets_its_arguments_F202),
};

/* ---- which of them run ---- */

#define CASES(table) table, sizeof(table) / sizeof(table[0])
#define TESTS_MAX 128

static struct CMUnitTest tests[TESTS_MAX];
static char names[TESTS_MAX][128];
static size_t tests_len;

static void add_cases(enum signer_kind kind, const struct signer_case *cases, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		assert_true(tests_len < TESTS_MAX);
		snprintf(names[tests_len], sizeof(names[0]), "%s_%s", signer_token_kinds[kind].name,
			 cases[i].name);
		tests[tests_len] = signer_test_on(kind, names[tests_len], cases[i].run);
		tests_len++;
	}
}

/* signer_test [PATTERN]: only the tests whose name fits, as in "*F53". */
int main(int argc, char **argv)
{
	static const char of[] = SIGNER_TEST_OF;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (strcmp(of, "tpm") == 0) {
		add_cases(SIGNER_KIND_TPM, CASES(contract_cases));
		add_cases(SIGNER_KIND_TPM, CASES(door_cases));
		add_cases(SIGNER_KIND_TPM, CASES(repair_cases));
		add_cases(SIGNER_KIND_TPM, CASES(tpm_cases));
	} else if (strcmp(of, "opencryptoki") == 0) {
		add_cases(SIGNER_KIND_OPENCRYPTOKI, CASES(contract_cases));
		add_cases(SIGNER_KIND_OPENCRYPTOKI, CASES(repair_cases));
	} else if (strcmp(of, "p11kit") == 0) {
		add_cases(SIGNER_KIND_P11KIT_CLIENT, CASES(contract_cases));
		add_cases(SIGNER_KIND_P11KIT_CLIENT, CASES(repair_cases));
		add_cases(SIGNER_KIND_P11KIT_CLIENT, CASES(server_cases));
	} else if (strcmp(of, "p11kit-proxy") == 0) {
		add_cases(SIGNER_KIND_P11KIT_PROXY, CASES(contract_cases));
		add_cases(SIGNER_KIND_P11KIT_PROXY, CASES(repair_cases));
	} else if (strcmp(of, "kryoptic") == 0) {
		add_cases(SIGNER_KIND_KRYOPTIC, CASES(contract_cases));
		add_cases(SIGNER_KIND_KRYOPTIC, CASES(door_cases));
		add_cases(SIGNER_KIND_KRYOPTIC, CASES(repair_cases));
	} else {
		add_cases(SIGNER_KIND_SOFTHSM, CASES(contract_cases));
		add_cases(SIGNER_KIND_SOFTHSM, CASES(door_cases));
		add_cases(SIGNER_KIND_SOFTHSM, CASES(fault_cases));
		add_cases(SIGNER_KIND_SOFTHSM, CASES(softhsm_cases));
	}
	return _cmocka_run_group_tests("signer", tests, tests_len, NULL, NULL);
}
