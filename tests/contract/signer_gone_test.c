/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What csrd-hsm says is gone is gone: while somebody logs the user out in the
 * middle of its searches, while the token hides what it would not destroy, and
 * on tokens that keep keys under another label than the one asked for.
 *
 * run: waits seconds=27
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_fixture.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ID "0a000000-0000-4000-8000-00000000000a"
#define LABEL signer_label(ID)
#define CALLS_MAX 80 /* of one function in one request */
#define POOL_KEYS 3

/* Every place at which a search, or what follows it, may find the user logged out. */
static const struct {
	const char *function;
	const char *what;
} places[] = {
    {"C_FindObjectsInit", "logout"},   {"C_FindObjects", "logout"},
    {"C_FindObjectsFinal", "logout"},  {"C_FindObjectsFinal", "after-logout"},
    {"C_GetAttributeValue", "logout"}, {"C_GetAttributeValue", "after-logout"},
    {"C_DestroyObject", "logout"},     {"C_DestroyObject", "after-logout"},
};
#define PLACES (sizeof(places) / sizeof(places[0]))

static void start(struct signer_fixture *f, struct signer_client *c)
{
	if (!f->threads)
		f->threads = 1;
	if (!f->extra)
		f->extra = "keep_alive = 1h\n";
	signer_open(f, c, "");
}

static void set_place(struct signer_fixture *f, size_t place, unsigned n)
{
	char rule[64];

	snprintf(rule, sizeof(rule), "%s@%u %s\n", places[place].function, n, places[place].what);
	signer_set_rules(f, rule);
}

/* `ask` looks at the answer, and says whether there was one; without the fault there must be. */
static void ask_everywhere(struct signer_fixture *f, struct signer_client *c,
			   bool (*ask)(struct signer_fixture *f, struct signer_client *c))
{
	unsigned logouts = 0;

	for (size_t i = 0; i < PLACES; i++) {
		for (unsigned n = 1; n < CALLS_MAX; n++) {
			long before = signer_shim_count(f, places[i].function);
			bool done;

			set_place(f, i, n);
			done = ask(f, c);
			if (signer_shim_count(f, places[i].function) < before + (long)n)
				break; /* there is no n-th */
			logouts++;
			signer_set_rules(f, "");
			assert_true(done || ask(f, c));
		}
	}
	assert_true(logouts >= 8);
}

/* ---- the user is logged out ---- */

static bool find_pair(struct signer_fixture *f, struct signer_client *c)
{
	struct message_find_key_reply reply;
	enum err e = signer_find_get(c, signer_key_send(c, MESSAGE_FIND_KEY, ID, CLIENT_DEADLINE_MS), &reply);

	(void)f;
	if (e == E_OK)
		assert_int_equal(reply.presence, MESSAGE_KEY_PAIR);
	return e == E_OK;
}

static bool list_pair(struct signer_fixture *f, struct signer_client *c)
{
	struct message_list_keys_part list;
	unsigned parts;

	(void)f;
	signer_list(c, &list, &parts);
	if (!list.unread) {
		assert_int_equal(list.keys_len, 1);
		assert_int_equal(list.keys[0].presence, MESSAGE_KEY_PAIR);
	}
	message_list_keys_part_release(&list);
	return true;
}

static void a_key_that_is_there_is_found_F170(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, &c);
	assert_int_equal(signer_create(&c, ID, KEY_P256V1, NULL), E_OK);
	ask_everywhere(f, &c, find_pair);
	ask_everywhere(f, &c, list_pair);
	signer_close(f, &c);
}

static size_t objects_left(const struct signer_fixture *f)
{
	return signer_token_count(f, CKO_PRIVATE_KEY, LABEL) + signer_token_count(f, CKO_PUBLIC_KEY, LABEL);
}

#define RULES_SIZE 192

/* The rules of now, with room for a line more. */
static void get_rules(const struct signer_fixture *f, char rules[RULES_SIZE])
{
	struct buf b;

	buf_init(&b, RULES_SIZE - 32);
	assert_int_equal(fd_read_file(signer_path(f, "rules"), &b), E_OK);
	strcpy(rules, buf_text(&b));
	buf_release(&b);
}

static bool create_and_destroy(struct signer_fixture *f, struct signer_client *c)
{
	uint32_t destroyed = 0;
	char rules[RULES_SIZE];

	/* Not during the create. */
	get_rules(f, rules);
	signer_set_rules(f, "");
	if (!objects_left(f))
		assert_int_equal(signer_create(c, ID, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, rules);
	if (signer_destroy(c, ID, &destroyed) != E_OK)
		return false;
	assert_int_equal(objects_left(f), 0);
	return true;
}

static void a_key_that_is_destroyed_is_gone_F170(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, &c);
	ask_everywhere(f, &c, create_and_destroy);
	signer_close(f, &c);
}

/* Its signature is wrong, so the key is to go. */
static bool create_in_vain(struct signer_fixture *f, struct signer_client *c)
{
	char rules[RULES_SIZE];
	enum err e;

	get_rules(f, rules);
	strcat(rules, "C_Sign corrupt\n");
	signer_set_rules(f, rules);
	e = signer_create(c, ID, KEY_P256V1, NULL);
	assert_int_not_equal(e, E_OK);
	if (e == E_UNCERTAIN) {
		signer_set_rules(f, "");
		assert_int_equal(signer_destroy(c, ID, &(uint32_t){0}), E_OK);
	}
	assert_int_equal(objects_left(f), 0);
	return true;
}

static void a_create_that_failed_leaves_nothing_F170(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, &c);
	ask_everywhere(f, &c, create_in_vain);
	signer_close(f, &c);
}

/* Keys of an earlier run are neither lost nor taken for half ones. */
static void the_stock_is_taken_over_whole_F170(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->extra = "keep_alive = 1h\npool_p256v1 = 3\n";
	start(f, &c);
	signer_wait_for_stock(&c, POOL_KEYS);
	signer_close(f, &c);
	for (size_t i = 0; i < PLACES; i++) {
		for (unsigned n = 1; n < 16; n += 1 + n / 2) {
			signer_set_rules(f, "");
			signer_start(f);
			signer_client_open(&c, f->socket, NULL);
			set_place(f, i, n);
			signer_wait_for_stock(&c, POOL_KEYS);
			signer_close(f, &c);
			assert_int_equal(signer_token_count_keys(f, CKO_PRIVATE_KEY), POOL_KEYS);
			assert_int_equal(signer_token_count_keys(f, CKO_PUBLIC_KEY), POOL_KEYS);
			assert_false(signer_log_has(f, "half p256v1 pairs"));
		}
	}
}

/* One thread logs in again while another's search is on its way, whose session is the user's again then. */
static void a_login_of_another_thread_does_not_hide_it_F170(void **state)
{
	struct signer_fixture *f = *state;
	struct message_find_key_reply reply;
	struct signer_client c;
	uint32_t slow;
	enum err e;

	f->threads = 2;
	start(f, &c);
	assert_int_equal(signer_create(&c, ID, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_FindObjectsInit@1 logout\nC_FindObjectsInit@1 after-sleep 400ms\n");
	slow = signer_key_send(&c, MESSAGE_FIND_KEY, ID, CLIENT_DEADLINE_MS);
	signer_wait_for_trace(f, "C_FindObjectsInit session=");
	signer_wait_for_trace(f, "= sleep");
	assert_int_equal(signer_create(&c, "0b000000-0000-4000-8000-00000000000b", KEY_P256V1, NULL), E_OK);
	e = signer_find_get(&c, slow, &reply);
	if (e == E_OK)
		assert_int_equal(reply.presence, MESSAGE_KEY_PAIR);
	signer_close(f, &c);
}

/* Private objects get other handles with the new login: those of before are void, and the keys are there. */
static void a_login_of_another_thread_does_not_shorten_a_list_F283(void **state)
{
	struct signer_fixture *f = *state;
	struct message_list_keys_part list;
	struct signer_client c;
	size_t at = 0;
	unsigned parts;
	uint32_t slow;

	f->threads = 2;
	start(f, &c);
	assert_int_equal(signer_create(&c, ID, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_GetAttributeValue@1 logout\nC_GetAttributeValue@1 sleep 400ms\n");
	slow = signer_list_send(&c);
	signer_wait_for_trace(f, "= sleep");
	assert_int_equal(signer_create(&c, "0b000000-0000-4000-8000-00000000000b", KEY_P256V1, NULL), E_OK);
	signer_list_get(&c, slow, &list, &parts);
	if (!list.unread) {
		/* perhaps with the one that is being made, and in the order of their names */
		while (at < list.keys_len && strcmp(list.keys[at].label, LABEL) != 0)
			at++;
		assert_true(at < list.keys_len);
		assert_int_equal(list.keys[at].presence, MESSAGE_KEY_PAIR);
	}
	message_list_keys_part_release(&list);
	signer_close(f, &c);
}

/* ---- a token that keeps another label ---- */

static void a_key_under_another_label_is_not_left_F172(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, &c);
	signer_set_rules(f, "label-max 30\n"); /* one byte less than is needed */
	assert_int_equal(signer_create(&c, ID, KEY_P256V1, NULL), E_HSM);
	signer_set_rules(f, "");
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 0);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, NULL), 0);
	signer_close(f, &c);
}

/* By no search is it found, and the handles of the new pair end with the login. */
static void a_key_under_another_id_is_not_called_gone_F281(void **state)
{
	static const char *const rules[] = {"", "C_GetAttributeValue@2 logout\n",
					    "C_DestroyObject@1 logout\n", "C_GetAttributeValue@3 logout\n"};
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, &c);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		char all[64];
		enum err e;

		snprintf(all, sizeof(all), "id-own\n%s", rules[i]);
		signer_set_rules(f, all);
		e = signer_create(&c, ID, KEY_P256V1, NULL);
		signer_set_rules(f, "");
		if (i == 0)
			assert_int_equal(e, E_HSM);
		if (e != E_UNCERTAIN)
			assert_int_equal(objects_left(f), 0);
		signer_wait_until_usable(&c);
		assert_int_equal(signer_destroy(&c, ID, &(uint32_t){0}), E_OK);
	}
	signer_close(f, &c);
}

static void a_stock_key_under_another_label_is_not_left_F172(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->extra = "keep_alive = 1h\npool_p256v1 = 100\nnode = n\n"; /* for a while */
	f->threads = 1;
	signer_open(f, &c, "C_GenerateKeyPair sleep 20ms\n");
	/* The first one shows that the token relabels: the rule must not cut what that writes. */
	signer_wait_for_ready(&c, 1);
	signer_set_rules(f, "label-max 5\n");
	signer_wait_for_log(f, "pool: cannot make a key");
	signer_set_rules(f, "");
	signer_close(f, &c);
	/* What the stock has now was made after that; nothing is under the short label. */
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, "csrd-"), 0);
	assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, "csrd-"), 0);
}

/* ---- what may be hidden ---- */

/* The token refuses to destroy it, and then it is not found: somebody else has done it, or it is hidden. */
static void hide(struct signer_fixture *f, struct signer_client *c, const char *csr_id)
{
	const char *label;

	assert_int_equal(signer_create(c, csr_id, KEY_P256V1, NULL), E_OK);
	label = signer_label(csr_id);
	signer_set_rules(f, "C_DestroyObject@1 return CKR_FUNCTION_FAILED\n");
	assert_int_equal(signer_destroy(c, csr_id, &(uint32_t){0}), E_UNCERTAIN);
	signer_set_rules(f, "");
	if (signer_token_count(f, CKO_PRIVATE_KEY, label))
		signer_token_destroy(f, CKO_PRIVATE_KEY, label);
	if (signer_token_count(f, CKO_PUBLIC_KEY, label))
		signer_token_destroy(f, CKO_PUBLIC_KEY, label);
}

/* Each time the module is reinitialised, at once at first, and then more and more seldom. */
static void a_module_is_not_renewed_all_the_time_F171(void **state)
{
	struct signer_fixture *f = *state;
	struct message_find_key_reply reply;
	char csr_id[CSR_ID_SIZE];
	uint64_t started, deadline;
	struct signer_client c;
	enum err e;

	start(f, &c);
	started = clock_ms();
	deadline = started + CLIENT_DEADLINE_MS;
	for (unsigned i = 0; i < 4; i++) {
		signer_csr_id(csr_id, i);
		hide(f, &c, csr_id);
		while ((e = signer_find_get(&c,
					    signer_key_send(&c, MESSAGE_FIND_KEY, csr_id, CLIENT_DEADLINE_MS),
					    &reply)) != E_OK) {
			assert_true(clock_ms() < deadline);
			usleep(20000);
		}
		assert_int_equal(reply.presence, MESSAGE_KEY_NONE);
	}
	assert_true(clock_ms() - started >= 1000 + 2000 + 4000);
	signer_close(f, &c);
}

/* ---- public keys that go with the private one ---- */

static void public_keys_that_go_with_the_private_one_F173(void **state)
{
	static const char *const rules[] = {"pair-destroy CKR_OK\n",
					    "pair-destroy CKR_OBJECT_HANDLE_INVALID\n",
					    "pair-destroy CKR_KEY_HANDLE_INVALID\n"};
	struct signer_fixture *f = *state;
	struct signer_client c;

	start(f, &c);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		uint32_t destroyed = 0;

		signer_set_rules(f, rules[i]);
		assert_int_equal(signer_create(&c, ID, KEY_P256V1, NULL), E_OK);
		assert_int_equal(signer_destroy(&c, ID, &destroyed), E_OK);
		assert_int_equal(destroyed, 2);
		assert_int_equal(objects_left(f), 0);
	}
	assert_int_equal(signer_shim_count(f, "C_Finalize"), 0);
	signer_close(f, &c);
	signer_set_rules(f, rules[0]); /* a start, with a probe */
	unlink(signer_path(f, "signer-state/probe"));
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	assert_int_equal(signer_create(&c, ID, KEY_P256V1, NULL), E_OK);
	signer_close(f, &c);
}

/* ---- two tokens that look alike ---- */

#define TWINS "C_GetTokenInfo serial 0000000000000000\n"

/* Same label, same serial number: the slot tells them apart, after an outage as before. */
static void after_an_outage_it_is_the_token_of_the_uri_F174(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	char uri[64];

	f->kind->make_token(f, SIGNER_TOKEN_LABEL);
	snprintf(uri, sizeof(uri), "pkcs11:slot-id=%lu", signer_token_slot(f, 1));
	f->uri = uri;
	f->threads = 1;
	signer_open(f, &c, TWINS);
	assert_int_equal(signer_create(&c, ID, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, TWINS "invalidate-sessions\nC_OpenSession return CKR_DEVICE_ERROR\n");
	while (signer_is_usable(&c))
		signer_key_send(&c, MESSAGE_FIND_KEY, ID, CLIENT_DEADLINE_MS);
	signer_wait_for_trace(f, "C_Finalize");
	signer_set_rules(f, TWINS);
	signer_wait_until_usable(&c);
	assert_int_equal(signer_find(&c, ID), MESSAGE_KEY_PAIR);
	signer_close(f, &c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    SIGNER_CASE(a_key_that_is_there_is_found_F170),
	    SIGNER_CASE(a_key_that_is_destroyed_is_gone_F170),
	    SIGNER_CASE(a_create_that_failed_leaves_nothing_F170),
	    SIGNER_CASE(the_stock_is_taken_over_whole_F170),
	    SIGNER_CASE(a_login_of_another_thread_does_not_hide_it_F170),
	    SIGNER_CASE(a_login_of_another_thread_does_not_shorten_a_list_F283),
	    SIGNER_CASE(a_key_under_another_label_is_not_left_F172),
	    SIGNER_CASE(a_key_under_another_id_is_not_called_gone_F281),
	    SIGNER_CASE(a_stock_key_under_another_label_is_not_left_F172),
	    SIGNER_CASE(a_module_is_not_renewed_all_the_time_F171),
	    SIGNER_CASE(public_keys_that_go_with_the_private_one_F173),
	    SIGNER_CASE(after_an_outage_it_is_the_token_of_the_uri_F174),
	};

	return SIGNER_RUN("gone is gone", tests, argc, argv);
}
