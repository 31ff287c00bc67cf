/* SPDX-License-Identifier: Apache-2.0 */
/* api/key_list.h: keys by their labels, of both kinds, many of them. */
#include "tests/unit/cmocka_all.h"

#include "api/key_list.h"
#include "base/clock.h"
#include "base/uuid.h"

#include <stdio.h>
#include <string.h>

#define MANY 200000

static const char OLD[] = "csrd:0a000000-0000-4000-8000-00000000000a";

/* Names of one node differ in few bits only. */
static const char *name_of(unsigned n)
{
	static char name[KEY_NAME_SIZE];
	uint8_t bytes[KEY_NAME_BYTES] = {1, 2, 3, 4};

	memcpy(bytes + 4, &n, sizeof(n));
	key_name_format(name, bytes);
	return name;
}

static void put(struct key_list *l, const char *label, enum message_key_presence presence)
{
	const struct key_list_key like = {
	    .presence = (uint8_t)presence, .life = MESSAGE_LIFE_READY, .key_id = {7}};

	assert_int_equal(key_list_add(l, label, &like), E_OK);
}

static void keys_are_found_by_their_labels(void **state)
{
	struct key_list l = {0};
	char label[KEY_LABEL_SIZE];

	(void)state;
	assert_null(key_list_find(&l, OLD));
	put(&l, OLD, MESSAGE_KEY_PAIR);
	put(&l, name_of(1), MESSAGE_KEY_PUBLIC_ONLY);
	assert_int_equal(l.keys_len, 2);
	assert_ptr_equal(key_list_find(&l, OLD), key_list_at(&l, 0));
	assert_ptr_equal(key_list_find(&l, name_of(1)), key_list_at(&l, 1));
	assert_null(key_list_find(&l, name_of(2)));
	assert_null(key_list_find(&l, "csrd:no id"));
	for (size_t i = 0; i < 2; i++) {
		const struct key_list_key *key = key_list_at(&l, i);

		assert_int_equal(key->is_named, i == 1);
		assert_int_equal(key->presence, i == 0 ? MESSAGE_KEY_PAIR : MESSAGE_KEY_PUBLIC_ONLY);
		assert_int_equal(key->life, MESSAGE_LIFE_READY);
		assert_int_equal(key->key_id[0], 7);
		assert_false(key->marked);
		key_list_format_label(key, label);
		assert_string_equal(label, i == 0 ? OLD : name_of(1));
	}
	key_list_release(&l);
}

/* The same bytes under both kinds of labels are two keys. */
static void kinds_do_not_mix(void **state)
{
	struct key_list l = {0};
	uint8_t bytes[KEY_NAME_BYTES];
	char name[KEY_NAME_SIZE];

	(void)state;
	assert_true(uuid_to_bytes(OLD + 5, bytes));
	key_name_format(name, bytes);
	put(&l, OLD, MESSAGE_KEY_PAIR);
	assert_null(key_list_find(&l, name));
	put(&l, name, MESSAGE_KEY_PAIR);
	assert_int_equal(l.keys_len, 2);
	key_list_release(&l);
}

static void what_is_put_in_twice_is_ambiguous(void **state)
{
	struct key_list l = {0};

	(void)state;
	put(&l, OLD, MESSAGE_KEY_PAIR);
	key_list_find(&l, OLD)->marked = true;
	put(&l, OLD, MESSAGE_KEY_PAIR);
	assert_int_equal(l.keys_len, 1);
	assert_int_equal(key_list_at(&l, 0)->presence, MESSAGE_KEY_AMBIGUOUS);
	assert_true(key_list_at(&l, 0)->marked);
	key_list_release(&l);
}

static void other_labels_are_refused(void **state)
{
	static const char *const labels[] = {"",
					     "csrd:",
					     "csrd-",
					     "csrd:0A000000-0000-4000-8000-00000000000A",
					     "csrd-pool:a:rsa2048",
					     "csrd-abcdefghijklmnopqrstuvwxyz0",
					     "0a000000-0000-4000-8000-00000000000a"};
	const struct key_list_key like = {0};
	struct key_list l = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		assert_int_equal(key_list_add(&l, labels[i], &like), E_INVAL);
	assert_int_equal(l.keys_len, 0);
	key_list_release(&l);
}

static void many_are_found_again(void **state)
{
	struct key_list l = {0};
	uint64_t began_ms = clock_ms();

	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		put(&l, name_of(i), MESSAGE_KEY_PAIR);
	assert_int_equal(l.keys_len, MANY);
	for (unsigned i = MANY; i-- > 0;)
		assert_ptr_equal(key_list_find(&l, name_of(i)), key_list_at(&l, i));
	assert_null(key_list_find(&l, name_of(MANY)));
	print_message("%u put in and found in %llu ms\n", MANY, (unsigned long long)(clock_ms() - began_ms));
	key_list_release(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_are_found_by_their_labels),
	    cmocka_unit_test(kinds_do_not_mix),
	    cmocka_unit_test(what_is_put_in_twice_is_ambiguous),
	    cmocka_unit_test(other_labels_are_refused),
	    cmocka_unit_test(many_are_found_again),
	};

	return cmocka_run_group_tests_name("key_list", tests, NULL, NULL);
}
