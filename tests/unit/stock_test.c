/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger of ready keys and when more are made: no token, and a clock that the test turns. */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/stock/stock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOTH (KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1))

static uint64_t now; /* ms */

static struct stock *make(struct stock_options options)
{
	struct stock *stock;

	now = 5000000;
	if (!options.key_types)
		options.key_types = BOTH;
	if (!options.threads)
		options.threads = 4;
	options.quiet_ms = 1000;
	assert_int_equal(stock_new(&options, &stock), E_OK);
	return stock;
}

/* As the book does it; how many. */
static unsigned open_block(struct stock *stock, enum key_type type)
{
	struct stock_list keys = TAILQ_HEAD_INITIALIZER(keys);
	const struct stock_key *key;
	unsigned count = 0;

	stock_take_closed(stock, type, &keys);
	TAILQ_FOREACH (key, &keys, next)
		count++;
	stock_put_open(stock, &keys);
	assert_true(TAILQ_EMPTY(&keys));
	return count;
}

/* Blocks are opened on the way; what is next besides. */
static enum stock_work begin(struct stock *stock, enum key_type *type)
{
	enum key_type ignored = KEY_TYPE_MAX;
	enum stock_work work;

	if (!type)
		type = &ignored;
	while ((work = stock_begin(stock, now, type)) == STOCK_OPEN) {
		open_block(stock, *type);
		stock_end(stock, STOCK_OPEN, *type, E_OK, now);
	}
	return work;
}

/* Past the look for earlier keys. */
static struct stock *make_running(struct stock_options options)
{
	struct stock *stock = make(options);

	assert_int_equal(begin(stock, NULL), STOCK_TAKE_OVER);
	stock_end(stock, STOCK_TAKE_OVER, KEY_TYPE_MAX, E_OK, now);
	return stock;
}

static void put(struct stock *stock, enum key_type type, uint8_t number)
{
	struct key key = {.type = type, .id = {number}};
	struct stock_key *ready = stock_key_alloc("csrd-a", &key, NULL);

	assert_non_null(ready);
	stock_put(stock, ready);
	stock_is_told(stock, now);
}

static uint8_t take(struct stock *stock, enum key_type type)
{
	struct stock_key *key;
	uint8_t number;

	open_block(stock, type);
	key = stock_take(stock, type);
	number = key ? key->key.id[0] : 0;
	stock_key_free(key);
	return number;
}

/* As a worker does it: one key made. */
static void fill_one(struct stock *stock, enum key_type wanted)
{
	enum key_type type;

	assert_int_equal(begin(stock, &type), STOCK_FILL);
	assert_int_equal(type, wanted);
	put(stock, type, 1);
	stock_end(stock, STOCK_FILL, type, E_OK, now);
}

/* ---- ready keys ---- */

static void keys_are_given_out_once_and_the_oldest_first(void **state)
{
	struct stock *stock = make((struct stock_options){.targets = {[KEY_P256V1] = 3}});
	struct stock_list back = TAILQ_HEAD_INITIALIZER(back);

	(void)state;
	put(stock, KEY_P256V1, 1);
	put(stock, KEY_RSA2048, 9);
	put(stock, KEY_P256V1, 2);
	stock_take_closed(stock, KEY_P256V1, &back);
	put(stock, KEY_P256V1, 3);
	stock_give_back(stock, &back); /* to the front, in their order */
	assert_true(TAILQ_EMPTY(&back));
	assert_int_equal(take(stock, KEY_P256V1), 1);
	assert_int_equal(take(stock, KEY_P256V1), 2);
	assert_int_equal(take(stock, KEY_P256V1), 3);
	assert_int_equal(take(stock, KEY_P256V1), 0);
	stock_take_closed(stock, KEY_RSA2048, &back);
	stock_give_back(stock, &back); /* into an empty line */
	put(stock, KEY_RSA2048, 8);
	assert_int_equal(take(stock, KEY_RSA2048), 9);
	assert_int_equal(take(stock, KEY_RSA2048), 8);
	stock_free(stock);
}

/* Only what is open is given out, and of each type a block at most is. */
static void blocks_are_opened(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 40}});
	char(*names)[KEY_NAME_SIZE];
	enum key_type type = KEY_TYPE_MAX;
	size_t len;

	(void)state;
	assert_false(stock_needs_opening(stock, KEY_P256V1));
	for (int i = 0; i < 40; i++)
		put(stock, KEY_P256V1, 1);
	assert_null(stock_take(stock, KEY_P256V1));
	assert_true(stock_has_ready(stock, KEY_P256V1));
	assert_true(stock_needs_opening(stock, KEY_P256V1));
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING); /* nobody has asked for one yet */
	assert_int_equal(open_block(stock, KEY_P256V1), STOCK_BLOCK);
	assert_int_equal(open_block(stock, KEY_P256V1), 0);
	assert_false(stock_needs_opening(stock, KEY_P256V1));
	assert_int_equal(stock_names(stock, false, &names, &len), E_OK);
	assert_int_equal(len, 40 - STOCK_BLOCK);
	free(names);
	assert_int_equal(stock_names(stock, true, &names, &len), E_OK);
	assert_int_equal(len, 40);
	free(names);
	for (int i = STOCK_BLOCK; i > STOCK_OPEN_LOW; i--)
		stock_key_free(stock_take(stock, KEY_P256V1));
	assert_int_equal(stock_begin(stock, now, &type), STOCK_OPEN);
	assert_int_equal(type, KEY_P256V1);
	assert_int_not_equal(stock_begin(stock, now, &type), STOCK_OPEN); /* one thread */
	assert_int_equal(type, KEY_P256V1);
	assert_int_equal(open_block(stock, KEY_P256V1), STOCK_BLOCK - STOCK_OPEN_LOW);
	stock_end(stock, STOCK_OPEN, type, E_OK, now);
	stock_free(stock);
}

/* What is on its way from closed to open is there. */
static void a_block_that_is_being_opened_is_not_made_again(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 2}});
	struct stock_list keys = TAILQ_HEAD_INITIALIZER(keys);

	(void)state;
	put(stock, KEY_P256V1, 1);
	put(stock, KEY_P256V1, 2);
	stock_take_closed(stock, KEY_P256V1, &keys);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_true(stock_needs_opening(stock, KEY_P256V1)); /* a caller waits for it */
	stock_put_open(stock, &keys);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(take(stock, KEY_P256V1), 1);
	fill_one(stock, KEY_P256V1);
	stock_free(stock);
}

/* When it is full, and not for each single key. */
static void the_token_is_told_what_is_closed(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 1}});
	struct key key = {.type = KEY_P256V1};
	enum key_type type;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(begin(stock, &type), STOCK_FILL);
		stock_put(stock, stock_key_alloc("csrd-a", &key, NULL));
		stock_end(stock, STOCK_FILL, type, E_OK, now);
		if (i) {
			assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
			assert_int_equal(stock_wait_ms(stock, now), 10000);
			now += 10000;
		}
		assert_int_equal(begin(stock, NULL), STOCK_TELL);
		stock_is_told(stock, now);
		stock_end(stock, STOCK_TELL, KEY_TYPE_MAX, E_OK, now);
		assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
		assert_true(stock_wait_ms(stock, now) == UINT64_MAX);
		assert_int_equal(take(stock, KEY_P256V1), 0);
	}
	stock_free(stock);
}

/* What cannot be destroyed is tried again, each time later, and keeps nothing else waiting. */
static void what_is_doomed_keeps_nobody_waiting(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 2}});

	(void)state;
	stock_set_untidy(stock, true);
	assert_int_equal(begin(stock, NULL), STOCK_TIDY);
	stock_end(stock, STOCK_TIDY, KEY_TYPE_MAX, E_HSM, now);
	fill_one(stock, KEY_P256V1);
	fill_one(stock, KEY_P256V1);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(stock_wait_ms(stock, now), 1000);
	now += 1000;
	assert_int_equal(begin(stock, NULL), STOCK_TIDY);
	stock_end(stock, STOCK_TIDY, KEY_TYPE_MAX, E_HSM, now);
	assert_int_equal(stock_wait_ms(stock, now), 2000);
	now += 2000;
	assert_int_equal(begin(stock, NULL), STOCK_TIDY);
	stock_set_untidy(stock, false);
	stock_end(stock, STOCK_TIDY, KEY_TYPE_MAX, E_OK, now);
	assert_true(stock_wait_ms(stock, now) == UINT64_MAX);
	stock_free(stock);
}

#define TAKERS 4
#define KEYS 2000
struct taker {
	struct stock *stock;
	unsigned char *taken; /* by number */
	pthread_t thread;
};

static void *take_all(void *arg)
{
	struct taker *t = arg;
	struct stock_key *key;
	unsigned count = 0;

	while (stock_has_ready(t->stock, KEY_P256V1)) {
		struct stock_list back = TAILQ_HEAD_INITIALIZER(back);

		open_block(t->stock, KEY_P256V1);
		if (!(key = stock_take(t->stock, KEY_P256V1)))
			continue;
		if (++count % 3 == 0) {
			TAILQ_INSERT_TAIL(&back, key, next);
			stock_give_back(t->stock, &back);
			continue;
		}
		__atomic_add_fetch(&t->taken[key->key.id[0] * 256 + key->key.id[1]], 1, __ATOMIC_RELAXED);
		stock_key_free(key);
	}
	return NULL;
}

static void two_threads_never_get_one_key(void **state)
{
	struct stock *stock = make((struct stock_options){.targets = {[KEY_P256V1] = KEYS}});
	unsigned char *taken = calloc(65536, 1);
	struct taker takers[TAKERS];

	(void)state;
	for (unsigned i = 0; i < KEYS; i++) {
		struct key key = {.type = KEY_P256V1, .id = {(uint8_t)(i / 256), (uint8_t)(i % 256)}};

		stock_put(stock, stock_key_alloc("csrd-a", &key, NULL));
	}
	for (unsigned i = 0; i < TAKERS; i++) {
		takers[i] = (struct taker){.stock = stock, .taken = taken};
		assert_int_equal(pthread_create(&takers[i].thread, NULL, take_all, &takers[i]), 0);
	}
	for (unsigned i = 0; i < TAKERS; i++)
		pthread_join(takers[i].thread, NULL);
	/* One that was given back behind the last look of the others is still there. */
	while (stock_has_ready(stock, KEY_P256V1)) {
		struct stock_key *key;

		open_block(stock, KEY_P256V1);
		key = stock_take(stock, KEY_P256V1);
		taken[key->key.id[0] * 256 + key->key.id[1]]++;
		stock_key_free(key);
	}
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(taken[i], 1);
	free(taken);
	stock_free(stock);
}

/* ---- when ---- */

static void without_targets_nothing_is_made(void **state)
{
	struct stock *stock = make_running((struct stock_options){.threads = 4});

	(void)state;
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_true(stock_wait_ms(stock, now) == UINT64_MAX);
	stock_free(stock);
	/* a target for what the token does not make */
	stock = make_running(
	    (struct stock_options){.targets = {[KEY_RSA2048] = 5}, .key_types = KEY_TYPE_BIT(KEY_P256V1)});
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	stock_free(stock);
}

static void keys_of_earlier_runs_come_first(void **state)
{
	struct stock *stock = make((struct stock_options){.targets = {[KEY_P256V1] = 1}});

	(void)state;
	assert_int_equal(begin(stock, NULL), STOCK_TAKE_OVER);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING); /* one thread alone */
	stock_end(stock, STOCK_TAKE_OVER, KEY_TYPE_MAX, E_UNAVAIL, now);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(stock_wait_ms(stock, now), 1000);
	now += 1000;
	assert_int_equal(begin(stock, NULL), STOCK_TAKE_OVER);
	put(stock, KEY_P256V1, 1);
	stock_end(stock, STOCK_TAKE_OVER, KEY_TYPE_MAX, E_OK, now);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING); /* that one is all that is wanted */
	stock_free(stock);
}

static void what_is_off_gives_nothing(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 9}});

	(void)state;
	put(stock, KEY_P256V1, 1);
	put(stock, KEY_P256V1, 2);
	assert_int_equal(open_block(stock, KEY_P256V1), 2);
	stock_turn_off(stock, "for a reason");
	put(stock, KEY_P256V1, 3);
	assert_true(stock_is_off(stock));
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_null(stock_take(stock, KEY_P256V1));
	assert_false(stock_has_ready(stock, KEY_P256V1));
	assert_int_equal(open_block(stock, KEY_P256V1), 0);
	stock_free(stock);
}

static void fills_leave_a_thread_for_callers(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 100}});
	enum key_type type = KEY_TYPE_MAX;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(begin(stock, &type), STOCK_FILL);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_true(stock_wait_ms(stock, now) == UINT64_MAX);
	stock_end(stock, STOCK_FILL, type, E_OK, now);
	assert_int_equal(begin(stock, &type), STOCK_FILL);
	stock_free(stock);
	/* those that are being served count too */
	stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 100}});
	stock_caller_begins(stock);
	stock_caller_begins(stock);
	stock_caller_begins(stock);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	stock_caller_ends(stock, now);
	fill_one(stock, KEY_P256V1);
	stock_free(stock);
}

static void while_callers_are_served_one_is_made_at_a_time_with_pauses(void **state)
{
	struct stock *stock =
	    make_running((struct stock_options){.targets = {[KEY_P256V1] = 100}, .pause_ms = 100});
	enum key_type type;

	(void)state;
	fill_one(stock, KEY_P256V1);
	stock_caller_begins(stock);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(stock_wait_ms(stock, now), 100);
	now += 100;
	assert_int_equal(begin(stock, &type), STOCK_FILL);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	now += 300;
	stock_caller_ends(stock, now);
	stock_end(stock, STOCK_FILL, type, E_OK, now);
	now += 99;
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	now += 1;
	fill_one(stock, KEY_P256V1);
	assert_int_equal(stock_wait_ms(stock, now), 100);
	now += 900; /* a second after the last caller */
	for (int i = 0; i < 3; i++)
		assert_int_equal(begin(stock, &type), STOCK_FILL);
	stock_free(stock);
}

static void while_half_is_there_nothing_is_made_beside_callers(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 4}});

	(void)state;
	for (int i = 0; i < 4; i++)
		fill_one(stock, KEY_P256V1);
	stock_caller_begins(stock);
	assert_int_equal(take(stock, KEY_P256V1), 1);
	assert_int_equal(take(stock, KEY_P256V1), 1);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	stock_caller_ends(stock, now);
	assert_int_equal(stock_wait_ms(stock, now), 1000);
	assert_int_equal(take(stock, KEY_P256V1), 1);
	now += 50;
	fill_one(stock, KEY_P256V1);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	now += 1000;
	fill_one(stock, KEY_P256V1);
	stock_free(stock);
}

static void a_burst_has_the_token_for_itself_until_hardly_a_key_is_left(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 20}});

	(void)state;
	for (int i = 0; i < 20; i++)
		fill_one(stock, KEY_P256V1);
	now += 5000;
	for (int i = 0; i < 18; i++) {
		stock_caller_begins(stock);
		assert_int_equal(take(stock, KEY_P256V1), 1);
		assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
		now += 40;
		stock_caller_ends(stock, now);
		assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	}
	/* between two bursts one is made, but not at once */
	assert_int_equal(stock_wait_ms(stock, now), 50);
	now += 49;
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	now += 1;
	fill_one(stock, KEY_P256V1);
	/* and with less than a tenth left also while they are at work */
	stock_caller_begins(stock);
	assert_int_equal(take(stock, KEY_P256V1), 1);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(take(stock, KEY_P256V1), 1);
	fill_one(stock, KEY_P256V1);
	stock_free(stock);
}

static void a_single_thread_waits_until_callers_are_gone(void **state)
{
	struct stock *stock =
	    make_running((struct stock_options){.targets = {[KEY_P256V1] = 100}, .threads = 1});

	(void)state;
	fill_one(stock, KEY_P256V1);
	stock_caller_begins(stock);
	stock_caller_ends(stock, now);
	now += 999;
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(stock_wait_ms(stock, now), 1);
	now += 1;
	fill_one(stock, KEY_P256V1);
	stock_free(stock);
}

static void the_emptiest_type_is_filled_first(void **state)
{
	struct stock *stock =
	    make_running((struct stock_options){.targets = {[KEY_RSA2048] = 2, [KEY_P256V1] = 4}});
	static const enum key_type order[] = {KEY_RSA2048, KEY_P256V1, KEY_P256V1,
					      KEY_RSA2048, KEY_P256V1, KEY_P256V1};

	(void)state;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		fill_one(stock, order[i]);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(take(stock, KEY_RSA2048), 1);
	fill_one(stock, KEY_RSA2048);
	stock_free(stock);
}

static void failures_are_tried_again_ever_later(void **state)
{
	struct stock *stock = make_running((struct stock_options){.targets = {[KEY_P256V1] = 4}});
	static const uint64_t waits[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
	enum key_type type;

	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		assert_int_equal(begin(stock, &type), STOCK_FILL);
		stock_end(stock, STOCK_FILL, type, E_UNAVAIL, now);
		assert_int_equal(stock_wait_ms(stock, now), waits[i]);
		now += waits[i] - 1;
		assert_int_equal(begin(stock, &type), STOCK_NOTHING);
		now += 1;
	}
	fill_one(stock, KEY_P256V1);
	assert_int_equal(stock_wait_ms(stock, now), 0);
	stock_free(stock);
}

static void a_full_token_is_not_filled_further(void **state)
{
	struct stock *stock =
	    make_running((struct stock_options){.targets = {[KEY_P256V1] = 50}, .objects_max = 100});

	(void)state;
	assert_int_equal(begin(stock, NULL), STOCK_COUNT);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	stock_counted(stock, 97, now);
	stock_end(stock, STOCK_COUNT, KEY_TYPE_MAX, E_OK, now);
	fill_one(stock, KEY_P256V1); /* 99 */
	fill_one(stock, KEY_P256V1); /* 101 */
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	assert_int_equal(stock_wait_ms(stock, now), 10000);
	now += 10000;
	assert_int_equal(begin(stock, NULL), STOCK_COUNT);
	stock_counted(stock, 100, now);
	stock_end(stock, STOCK_COUNT, KEY_TYPE_MAX, E_OK, now);
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	now += 10000;
	assert_int_equal(begin(stock, NULL), STOCK_COUNT);
	stock_counted(stock, 99, now);
	stock_end(stock, STOCK_COUNT, KEY_TYPE_MAX, E_OK, now);
	fill_one(stock, KEY_P256V1);
	stock_free(stock);
}

static void status_tells_levels_and_reasons(void **state)
{
	struct stock *stock =
	    make_running((struct stock_options){.targets = {[KEY_RSA2048] = 2}, .objects_max = 10});
	struct message_status_reply reply = {0};

	(void)state;
	put(stock, KEY_P256V1, 1); /* of an earlier configuration */
	assert_int_equal(begin(stock, NULL), STOCK_COUNT);
	stock_counted(stock, 10, now);
	stock_end(stock, STOCK_COUNT, KEY_TYPE_MAX, E_OK, now);
	stock_status(stock, now, &reply);
	assert_int_equal(reply.pools_len, 2);
	assert_int_equal(reply.pools[0].key_type, KEY_RSA2048);
	assert_int_equal(reply.pools[0].ready, 0);
	assert_int_equal(reply.pools[0].target, 2);
	assert_int_equal(reply.pools[1].key_type, KEY_P256V1);
	assert_int_equal(reply.pools[1].ready, 1);
	assert_int_equal(reply.pools[1].target, 0);
	assert_string_equal(reply.pool_detail, "not filled: the token holds pool_objects_max objects");
	message_status_reply_release(&reply);
	stock_turn_off(stock, "it does not relabel");
	stock_status(stock, now, &reply);
	assert_string_equal(reply.pool_detail, "it does not relabel");
	message_status_reply_release(&reply);
	stock_free(stock);
}

/* F253: also when the probe finds that out after the stock was made, or finds it mended. */
static void what_the_token_does_not_make_is_not_filled(void **state)
{
	struct stock *stock = make((struct stock_options){.targets = {[KEY_RSA2048] = 1, [KEY_P256V1] = 1}});
	struct message_status_reply reply = {0};
	enum key_type type;

	(void)state;
	assert_int_equal(begin(stock, NULL), STOCK_TAKE_OVER);
	stock_end(stock, STOCK_TAKE_OVER, KEY_TYPE_MAX, E_OK, now);
	put(stock, KEY_RSA2048, 1);
	stock_set_key_types(stock, KEY_TYPE_BIT(KEY_RSA2048));
	assert_int_equal(begin(stock, NULL), STOCK_NOTHING);
	stock_status(stock, now, &reply);
	assert_int_equal(reply.pools_len, 1);
	assert_string_equal(reply.pool_detail, "pool_p256v1: the token makes no such keys");
	message_status_reply_release(&reply);
	stock_set_key_types(stock, BOTH);
	assert_int_equal(begin(stock, &type), STOCK_FILL);
	assert_int_equal(type, KEY_P256V1);
	stock_end(stock, STOCK_FILL, type, E_OK, now);
	stock_status(stock, now, &reply);
	assert_string_equal(reply.pool_detail, "");
	message_status_reply_release(&reply);
	stock_free(stock);
}

/* The linker puts this in the place of gethostname (tests.mk). */
static const char *host;
int __wrap_gethostname(char *name, size_t size);
int __wrap_gethostname(char *name, size_t size)
{
	snprintf(name, size, "%s", host);
	return 0;
}

/* F230: a name that the next container does not have is told from one that somebody gave. */
static void a_name_that_a_container_got_by_chance_is_known(void **state)
{
	static const struct {
		const char *node, *host;
		bool may_change;
	} cases[] = {
	    {"", "0123456789ab", true},
	    {"", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true},
	    {"", "hsm-client-1", false},
	    {"", "0123456789AB", false},
	    {"", "0123456789a", false},
	    {"", "0123456789abc", false},
	    {"", "", false},
	    {"0123456789ab", "fedcba987654", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stock *stock;

		host = cases[i].host;
		stock = make((struct stock_options){.node = cases[i].node});
		assert_int_equal(stock_node_may_change(stock), cases[i].may_change);
		assert_false(stock_is_wanted(stock));
		stock_free(stock);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_token_does_not_make_is_not_filled),
	    cmocka_unit_test(keys_are_given_out_once_and_the_oldest_first),
	    cmocka_unit_test(two_threads_never_get_one_key),
	    cmocka_unit_test(blocks_are_opened),
	    cmocka_unit_test(a_block_that_is_being_opened_is_not_made_again),
	    cmocka_unit_test(the_token_is_told_what_is_closed),
	    cmocka_unit_test(what_is_doomed_keeps_nobody_waiting),
	    cmocka_unit_test(without_targets_nothing_is_made),
	    cmocka_unit_test(keys_of_earlier_runs_come_first),
	    cmocka_unit_test(what_is_off_gives_nothing),
	    cmocka_unit_test(fills_leave_a_thread_for_callers),
	    cmocka_unit_test(while_callers_are_served_one_is_made_at_a_time_with_pauses),
	    cmocka_unit_test(while_half_is_there_nothing_is_made_beside_callers),
	    cmocka_unit_test(a_burst_has_the_token_for_itself_until_hardly_a_key_is_left),
	    cmocka_unit_test(a_single_thread_waits_until_callers_are_gone),
	    cmocka_unit_test(the_emptiest_type_is_filled_first),
	    cmocka_unit_test(failures_are_tried_again_ever_later),
	    cmocka_unit_test(a_full_token_is_not_filled_further),
	    cmocka_unit_test(status_tells_levels_and_reasons),
	    cmocka_unit_test(a_name_that_a_container_got_by_chance_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
