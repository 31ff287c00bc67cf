/* The ledger of ready keys and when more are made: no token, and a clock that the test turns. */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/stock/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOTH (KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1))

static uint64_t now; /* ms */

static struct pool *make(struct pool_options options)
{
	struct pool *pool;

	now = 5000000;
	if (!options.key_types)
		options.key_types = BOTH;
	if (!options.threads)
		options.threads = 4;
	options.quiet_ms = 1000;
	assert_int_equal(pool_new(&options, &pool), E_OK);
	return pool;
}

static enum pool_work begin(struct pool *pool, enum key_type *type)
{
	enum key_type ignored;

	return pool_begin(pool, now, type ? type : &ignored);
}

/* Past the look for earlier keys, and the token relabels. */
static struct pool *make_running(struct pool_options options)
{
	struct pool *pool = make(options);

	assert_int_equal(begin(pool, NULL), POOL_TAKE_OVER);
	pool_end(pool, POOL_TAKE_OVER, KEY_TYPE_MAX, E_OK, now);
	pool_relabel_works(pool);
	return pool;
}

static void put(struct pool *pool, enum key_type type, uint8_t number)
{
	struct key key = {.type = type, .id = {number}};
	struct pool_key *ready = pool_key_alloc(&key, NULL);

	assert_non_null(ready);
	pool_put(pool, ready);
}

static uint8_t take(struct pool *pool, enum key_type type)
{
	struct pool_key *key = pool_take(pool, type);
	uint8_t number = key ? key->key.id[0] : 0;

	pool_key_free(key);
	return number;
}

/* As a worker does it: one key made. */
static void fill_one(struct pool *pool, enum key_type wanted)
{
	enum key_type type;

	assert_int_equal(begin(pool, &type), POOL_FILL);
	assert_int_equal(type, wanted);
	put(pool, type, 1);
	pool_end(pool, POOL_FILL, type, E_OK, now);
}

/* ---- ready keys ---- */

static void keys_are_given_out_once_and_the_oldest_first(void **state)
{
	struct pool *pool = make((struct pool_options){.targets = {[KEY_P256V1] = 3}});
	struct pool_key *back;

	(void)state;
	put(pool, KEY_P256V1, 1);
	put(pool, KEY_RSA2048, 9);
	put(pool, KEY_P256V1, 2);
	put(pool, KEY_P256V1, 3);
	back = pool_take(pool, KEY_P256V1);
	assert_int_equal(back->key.id[0], 1);
	pool_give_back(pool, back);
	assert_int_equal(take(pool, KEY_P256V1), 1);
	assert_int_equal(take(pool, KEY_P256V1), 2);
	assert_int_equal(take(pool, KEY_P256V1), 3);
	assert_int_equal(take(pool, KEY_P256V1), 0);
	back = pool_take(pool, KEY_RSA2048);
	pool_give_back(pool, back); /* into an empty line */
	put(pool, KEY_RSA2048, 8);
	assert_int_equal(take(pool, KEY_RSA2048), 9);
	assert_int_equal(take(pool, KEY_RSA2048), 8);
	assert_null(pool_take(NULL, KEY_RSA2048));
	pool_free(pool);
}

#define TAKERS 4
#define KEYS 2000
struct taker {
	struct pool *pool;
	unsigned char *taken; /* by number */
	pthread_t thread;
};

static void *take_all(void *arg)
{
	struct taker *t = arg;
	struct pool_key *key;
	unsigned count = 0;

	while ((key = pool_take(t->pool, KEY_P256V1))) {
		if (++count % 3 == 0) {
			pool_give_back(t->pool, key);
			continue;
		}
		__atomic_add_fetch(&t->taken[key->key.id[0] * 256 + key->key.id[1]], 1, __ATOMIC_RELAXED);
		pool_key_free(key);
	}
	return NULL;
}

static void two_threads_never_get_one_key(void **state)
{
	struct pool *pool = make((struct pool_options){.targets = {[KEY_P256V1] = KEYS}});
	unsigned char *taken = calloc(65536, 1);
	struct taker takers[TAKERS];

	(void)state;
	for (unsigned i = 0; i < KEYS; i++) {
		struct key key = {.type = KEY_P256V1, .id = {(uint8_t)(i / 256), (uint8_t)(i % 256)}};

		pool_put(pool, pool_key_alloc(&key, NULL));
	}
	for (unsigned i = 0; i < TAKERS; i++) {
		takers[i] = (struct taker){.pool = pool, .taken = taken};
		assert_int_equal(pthread_create(&takers[i].thread, NULL, take_all, &takers[i]), 0);
	}
	for (unsigned i = 0; i < TAKERS; i++)
		pthread_join(takers[i].thread, NULL);
	/* One that was given back behind the last look of the others is still there. */
	while (true) {
		struct pool_key *key = pool_take(pool, KEY_P256V1);

		if (!key)
			break;
		taken[key->key.id[0] * 256 + key->key.id[1]]++;
		pool_key_free(key);
	}
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(taken[i], 1);
	free(taken);
	pool_free(pool);
}

static void label_names_node_and_type(void **state)
{
	char label[POOL_LABEL_SIZE], node[POOL_NODE_MAX + 1];
	struct pool *pool = make((struct pool_options){.node = "node-7"});

	(void)state;
	pool_label(pool, KEY_P256V1, label);
	assert_string_equal(label, "csrd-pool:node-7:p256v1");
	pool_free(pool);
	pool = make((struct pool_options){0}); /* the host name */
	pool_label(pool, KEY_RSA2048, label);
	assert_true(strlen(label) > strlen("csrd-pool::rsa2048"));
	pool_free(pool);
	memset(node, 'n', POOL_NODE_MAX);
	node[POOL_NODE_MAX] = '\0';
	pool = make((struct pool_options){.node = node});
	pool_label(pool, KEY_RSA2048, label);
	assert_string_equal(label + strlen(label) - 8, ":rsa2048");
	pool_free(pool);
}

/* ---- when ---- */

static void without_targets_nothing_is_done(void **state)
{
	struct pool *pool = make((struct pool_options){.threads = 4});

	(void)state;
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_true(pool_wait_ms(pool, now) == UINT64_MAX);
	pool_free(pool);
	assert_int_equal(pool_begin(NULL, 0, NULL), POOL_NOTHING);
	assert_true(pool_wait_ms(NULL, 0) == UINT64_MAX);
	/* a target for what the token does not make */
	pool = make(
	    (struct pool_options){.targets = {[KEY_RSA2048] = 5}, .key_types = KEY_TYPE_BIT(KEY_P256V1)});
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	pool_free(pool);
}

static void keys_of_earlier_runs_come_first(void **state)
{
	struct pool *pool = make((struct pool_options){.targets = {[KEY_P256V1] = 1}});

	(void)state;
	assert_int_equal(begin(pool, NULL), POOL_TAKE_OVER);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING); /* one thread alone */
	pool_end(pool, POOL_TAKE_OVER, KEY_TYPE_MAX, E_UNAVAIL, now);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_int_equal(pool_wait_ms(pool, now), 1000);
	now += 1000;
	assert_int_equal(begin(pool, NULL), POOL_TAKE_OVER);
	put(pool, KEY_P256V1, 1);
	pool_end(pool, POOL_TAKE_OVER, KEY_TYPE_MAX, E_OK, now);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING); /* that one is all that is wanted */
	pool_free(pool);
}

static void the_first_key_tells_whether_there_is_a_pool(void **state)
{
	struct pool *pool = make((struct pool_options){.targets = {[KEY_P256V1] = 9}});
	enum key_type type;

	(void)state;
	assert_int_equal(begin(pool, NULL), POOL_TAKE_OVER);
	pool_end(pool, POOL_TAKE_OVER, KEY_TYPE_MAX, E_OK, now);
	assert_int_equal(begin(pool, &type), POOL_FILL);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_true(pool_relabel_is_untried(pool));
	pool_turn_off(pool, "it does not relabel");
	pool_end(pool, POOL_FILL, type, E_OK, now);
	put(pool, KEY_P256V1, 1);
	assert_true(pool_is_off(pool));
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_null(pool_take(pool, KEY_P256V1));
	pool_free(pool);
}

static void fills_leave_a_thread_for_callers(void **state)
{
	struct pool *pool = make_running((struct pool_options){.targets = {[KEY_P256V1] = 100}});
	enum key_type type = KEY_TYPE_MAX;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(begin(pool, &type), POOL_FILL);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_true(pool_wait_ms(pool, now) == UINT64_MAX);
	pool_end(pool, POOL_FILL, type, E_OK, now);
	assert_int_equal(begin(pool, &type), POOL_FILL);
	pool_free(pool);
	/* those that are being served count too */
	pool = make_running((struct pool_options){.targets = {[KEY_P256V1] = 100}});
	pool_caller_begins(pool);
	pool_caller_begins(pool);
	pool_caller_begins(pool);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	pool_caller_ends(pool, now);
	fill_one(pool, KEY_P256V1);
	pool_free(pool);
}

static void while_callers_are_served_one_is_made_at_a_time_with_pauses(void **state)
{
	struct pool *pool =
	    make_running((struct pool_options){.targets = {[KEY_P256V1] = 100}, .pause_ms = 100});
	enum key_type type;

	(void)state;
	fill_one(pool, KEY_P256V1);
	pool_caller_begins(pool);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_int_equal(pool_wait_ms(pool, now), 100);
	now += 100;
	assert_int_equal(begin(pool, &type), POOL_FILL);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	now += 300;
	pool_caller_ends(pool, now);
	pool_end(pool, POOL_FILL, type, E_OK, now);
	now += 99;
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	now += 1;
	fill_one(pool, KEY_P256V1);
	assert_int_equal(pool_wait_ms(pool, now), 100);
	now += 900; /* a second after the last caller */
	for (int i = 0; i < 3; i++)
		assert_int_equal(begin(pool, &type), POOL_FILL);
	pool_free(pool);
}

static void while_half_is_there_nothing_is_made_beside_callers(void **state)
{
	struct pool *pool = make_running((struct pool_options){.targets = {[KEY_P256V1] = 4}});

	(void)state;
	for (int i = 0; i < 4; i++)
		fill_one(pool, KEY_P256V1);
	pool_caller_begins(pool);
	assert_int_equal(take(pool, KEY_P256V1), 1);
	assert_int_equal(take(pool, KEY_P256V1), 1);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	pool_caller_ends(pool, now);
	assert_int_equal(pool_wait_ms(pool, now), 1000);
	assert_int_equal(take(pool, KEY_P256V1), 1);
	now += 50;
	fill_one(pool, KEY_P256V1);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	now += 1000;
	fill_one(pool, KEY_P256V1);
	pool_free(pool);
}

static void a_burst_has_the_token_for_itself_until_hardly_a_key_is_left(void **state)
{
	struct pool *pool = make_running((struct pool_options){.targets = {[KEY_P256V1] = 20}});

	(void)state;
	for (int i = 0; i < 20; i++)
		fill_one(pool, KEY_P256V1);
	now += 5000;
	for (int i = 0; i < 18; i++) {
		pool_caller_begins(pool);
		assert_int_equal(take(pool, KEY_P256V1), 1);
		assert_int_equal(begin(pool, NULL), POOL_NOTHING);
		now += 40;
		pool_caller_ends(pool, now);
		assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	}
	/* between two bursts one is made, but not at once */
	assert_int_equal(pool_wait_ms(pool, now), 50);
	now += 49;
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	now += 1;
	fill_one(pool, KEY_P256V1);
	/* and with less than a tenth left also while they are at work */
	pool_caller_begins(pool);
	assert_int_equal(take(pool, KEY_P256V1), 1);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_int_equal(take(pool, KEY_P256V1), 1);
	fill_one(pool, KEY_P256V1);
	pool_free(pool);
}

static void a_single_thread_waits_until_callers_are_gone(void **state)
{
	struct pool *pool =
	    make_running((struct pool_options){.targets = {[KEY_P256V1] = 100}, .threads = 1});

	(void)state;
	fill_one(pool, KEY_P256V1);
	pool_caller_begins(pool);
	pool_caller_ends(pool, now);
	now += 999;
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_int_equal(pool_wait_ms(pool, now), 1);
	now += 1;
	fill_one(pool, KEY_P256V1);
	pool_free(pool);
}

static void the_emptiest_type_is_filled_first(void **state)
{
	struct pool *pool =
	    make_running((struct pool_options){.targets = {[KEY_RSA2048] = 2, [KEY_P256V1] = 4}});
	static const enum key_type order[] = {KEY_RSA2048, KEY_P256V1, KEY_P256V1, KEY_RSA2048, KEY_P256V1,
					      KEY_P256V1};

	(void)state;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		fill_one(pool, order[i]);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_int_equal(take(pool, KEY_RSA2048), 1);
	fill_one(pool, KEY_RSA2048);
	pool_free(pool);
}

static void failures_are_tried_again_ever_later(void **state)
{
	struct pool *pool = make_running((struct pool_options){.targets = {[KEY_P256V1] = 4}});
	static const uint64_t waits[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
	enum key_type type;

	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		assert_int_equal(begin(pool, &type), POOL_FILL);
		pool_end(pool, POOL_FILL, type, E_UNAVAIL, now);
		assert_int_equal(pool_wait_ms(pool, now), waits[i]);
		now += waits[i] - 1;
		assert_int_equal(begin(pool, &type), POOL_NOTHING);
		now += 1;
	}
	fill_one(pool, KEY_P256V1);
	assert_int_equal(pool_wait_ms(pool, now), 0);
	pool_free(pool);
}

static void a_full_token_is_not_filled_further(void **state)
{
	struct pool *pool =
	    make_running((struct pool_options){.targets = {[KEY_P256V1] = 50}, .objects_max = 100});

	(void)state;
	assert_int_equal(begin(pool, NULL), POOL_COUNT);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	pool_counted(pool, 97, now);
	pool_end(pool, POOL_COUNT, KEY_TYPE_MAX, E_OK, now);
	fill_one(pool, KEY_P256V1); /* 99 */
	fill_one(pool, KEY_P256V1); /* 101 */
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	assert_int_equal(pool_wait_ms(pool, now), 10000);
	now += 10000;
	assert_int_equal(begin(pool, NULL), POOL_COUNT);
	pool_counted(pool, 100, now);
	pool_end(pool, POOL_COUNT, KEY_TYPE_MAX, E_OK, now);
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	now += 10000;
	assert_int_equal(begin(pool, NULL), POOL_COUNT);
	pool_counted(pool, 99, now);
	pool_end(pool, POOL_COUNT, KEY_TYPE_MAX, E_OK, now);
	fill_one(pool, KEY_P256V1);
	pool_free(pool);
}

static void status_tells_levels_and_reasons(void **state)
{
	struct pool *pool =
	    make_running((struct pool_options){.targets = {[KEY_RSA2048] = 2}, .objects_max = 10});
	struct message_status_reply reply = {0};

	(void)state;
	put(pool, KEY_P256V1, 1); /* of an earlier configuration */
	assert_int_equal(begin(pool, NULL), POOL_COUNT);
	pool_counted(pool, 10, now);
	pool_end(pool, POOL_COUNT, KEY_TYPE_MAX, E_OK, now);
	pool_status(pool, now, &reply);
	assert_int_equal(reply.pools_len, 2);
	assert_int_equal(reply.pools[0].key_type, KEY_RSA2048);
	assert_int_equal(reply.pools[0].ready, 0);
	assert_int_equal(reply.pools[0].target, 2);
	assert_int_equal(reply.pools[1].key_type, KEY_P256V1);
	assert_int_equal(reply.pools[1].ready, 1);
	assert_int_equal(reply.pools[1].target, 0);
	assert_string_equal(reply.pool_detail, "not filled: the token holds pool_objects_max objects");
	message_status_reply_release(&reply);
	pool_turn_off(pool, "it does not relabel");
	pool_status(pool, now, &reply);
	assert_string_equal(reply.pool_detail, "it does not relabel");
	message_status_reply_release(&reply);
	pool_free(pool);
}

/* F253: also when the probe finds that out after the pool was made, or finds it mended. */
static void what_the_token_does_not_make_is_not_filled(void **state)
{
	struct pool *pool = make((struct pool_options){.targets = {[KEY_RSA2048] = 1, [KEY_P256V1] = 1}});
	struct message_status_reply reply = {0};
	enum key_type type;

	(void)state;
	assert_int_equal(begin(pool, NULL), POOL_TAKE_OVER);
	pool_end(pool, POOL_TAKE_OVER, KEY_TYPE_MAX, E_OK, now);
	pool_relabel_works(pool);
	put(pool, KEY_RSA2048, 1);
	pool_set_key_types(pool, KEY_TYPE_BIT(KEY_RSA2048));
	assert_int_equal(begin(pool, NULL), POOL_NOTHING);
	pool_status(pool, now, &reply);
	assert_int_equal(reply.pools_len, 1);
	assert_string_equal(reply.pool_detail, "pool_p256v1: the token makes no such keys");
	message_status_reply_release(&reply);
	pool_set_key_types(pool, BOTH);
	assert_int_equal(begin(pool, &type), POOL_FILL);
	assert_int_equal(type, KEY_P256V1);
	pool_end(pool, POOL_FILL, type, E_OK, now);
	pool_status(pool, now, &reply);
	assert_string_equal(reply.pool_detail, "");
	message_status_reply_release(&reply);
	pool_free(pool);
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
		struct pool *pool;

		host = cases[i].host;
		pool = make((struct pool_options){.node = cases[i].node});
		assert_int_equal(pool_node_may_change(pool), cases[i].may_change);
		assert_false(pool_is_wanted(pool));
		pool_free(pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_token_does_not_make_is_not_filled),
	    cmocka_unit_test(keys_are_given_out_once_and_the_oldest_first),
	    cmocka_unit_test(two_threads_never_get_one_key),
	    cmocka_unit_test(label_names_node_and_type),
	    cmocka_unit_test(without_targets_nothing_is_done),
	    cmocka_unit_test(keys_of_earlier_runs_come_first),
	    cmocka_unit_test(the_first_key_tells_whether_there_is_a_pool),
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
