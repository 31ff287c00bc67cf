/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets, the table that bounds them, and what the limits count (F360–F363). */
#include "tests/unit/cmocka_all.h"

#include "api/bucket.h"
#include "api/limit.h"
#include "base/address.h"
#include "base/clock.h"
#include "store/record.h"

#include <string.h>

#define SECOND 1000000000ull
#define START (1000 * SECOND)

static uint64_t now_ns = START;
uint64_t __wrap_clock_ns(void);
uint64_t __wrap_clock_ns(void)
{
	return now_ns;
}

static void put_number(uint8_t key[BUCKET_KEY_BYTES], uint64_t number)
{
	memset(key, 0, BUCKET_KEY_BYTES);
	memcpy(key, &number, sizeof(number));
}

static bool take(struct bucket_table *table, uint64_t caller, const struct config_rate *rate, uint64_t at_ns)
{
	uint8_t key[BUCKET_KEY_BYTES];

	put_number(key, caller);
	return bucket_take(bucket_find(table, key, at_ns), 0, rate, at_ns).passed;
}

static unsigned take_all(struct bucket_table *table, uint64_t caller, const struct config_rate *rate,
			 uint64_t at_ns)
{
	unsigned taken = 0;

	while (take(table, caller, rate, at_ns))
		taken++;
	return taken;
}

/* F360: so many at once, so many in each window, at any speed of asking. */
static void f360_a_bucket_gives_what_its_rate_says(void **state)
{
	static const struct config_rate rates[] = {
	    {1, 1000},      {1, 86400000},  {3, 1000},           {7, 3000},
	    {1200, 300000}, {999983, 1000}, {1000000, 86400000},
	};
	struct bucket_table *table;

	(void)state;
	assert_int_equal(bucket_table_new(64, &table), E_OK);
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		const struct config_rate *rate = &rates[i];
		uint64_t window_ns = rate->window_ms * 1000000, each_ns = window_ns / rate->count;
		uint64_t at_ns = START;

		assert_int_equal(take_all(table, i + 1, rate, at_ns), rate->count);
		assert_false(take(table, i + 1, rate, at_ns + each_ns - 1));
		assert_true(take(table, i + 1, rate, at_ns + each_ns));
		assert_false(take(table, i + 1, rate, at_ns + each_ns));
		at_ns += each_ns + window_ns;
		assert_int_equal(take_all(table, i + 1, rate, at_ns), rate->count);
		/* What is refused costs nothing: asking fast does not keep a caller out. */
		for (unsigned asked = 0; asked < 1000; asked++)
			assert_false(take(table, i + 1, rate, at_ns));
		assert_true(take(table, i + 1, rate, at_ns + each_ns));
	}
	bucket_table_free(table);
}

static void f360_a_bucket_says_what_is_left(void **state)
{
	static const struct config_rate rate = {10, 20000}, lower = {2, 2000};
	struct bucket_table *table;
	struct bucket_state s;
	struct bucket *bucket;
	uint8_t key[BUCKET_KEY_BYTES];

	(void)state;
	assert_int_equal(bucket_table_new(64, &table), E_OK);
	put_number(key, 1);
	bucket = bucket_find(table, key, START);
	s = bucket_look(bucket, 1, &rate, START);
	assert_int_equal(s.left, 10);
	assert_int_equal(s.full_ns, 0);
	s = bucket_take(bucket, 1, &rate, START);
	assert_int_equal(s.left, 9);
	assert_int_equal(s.full_ns, 2 * SECOND);
	assert_int_equal(s.next_ns, 0);
	while (bucket_take(bucket, 1, &rate, START).passed)
		;
	s = bucket_look(bucket, 1, &rate, START + SECOND / 2);
	assert_int_equal(s.left, 0);
	assert_int_equal(s.full_ns, 20 * SECOND - SECOND / 2);
	assert_int_equal(s.next_ns, 2 * SECOND - SECOND / 2);
	/* A rate that a reload lowered: empty, and no emptier. */
	s = bucket_look(bucket, 1, &lower, START);
	assert_int_equal(s.left, 0);
	assert_int_equal(s.full_ns, 2 * SECOND);
	assert_int_equal(s.next_ns, SECOND);
	/* The others of the same caller are full. */
	assert_int_equal(bucket_look(bucket, 0, &rate, START).left, 10);
	assert_ptr_equal(bucket_find(table, key, START), bucket);
	bucket_table_free(table);
}

/* F361: a million callers who each ask a little free nobody who asked much, and refuse nobody. */
static void f361_a_crowd_does_not_push_out_who_asked_much(void **state)
{
	static const struct config_rate rate = {100, 100000};
	struct bucket_table *table;

	(void)state;
	assert_int_equal(bucket_table_new(1024, &table), E_OK);
	for (uint64_t busy = 0; busy < 8; busy++)
		assert_int_equal(take_all(table, busy, &rate, START), 100);
	for (uint64_t crowd = 1000; crowd < 1001000; crowd++)
		if (!take(table, crowd, &rate, START))
			fail_msg("caller %llu of the crowd is refused its first", (unsigned long long)crowd);
	assert_true(bucket_table_dropped(table) > 900000);
	for (uint64_t busy = 0; busy < 8; busy++)
		assert_false(take(table, busy, &rate, START));
	bucket_table_free(table);
}

/* F361: places of buckets that are full again are free: nothing is dropped for them. */
static void f361_full_buckets_make_room_first(void **state)
{
	static const struct config_rate rate = {100, 100000};
	struct bucket_table *table;

	(void)state;
	assert_int_equal(bucket_table_new(1024, &table), E_OK);
	for (uint64_t second = 0; second < 100; second++)
		for (uint64_t crowd = 0; crowd < 64; crowd++)
			assert_true(take(table, second * 1000 + crowd, &rate, START + 2 * second * SECOND));
	assert_int_equal(bucket_table_dropped(table), 0);
	bucket_table_free(table);
}

/* ---- what is counted together ---- */

static const char *no_header(const struct request *r, const char *name)
{
	(void)r;
	(void)name;
	return NULL;
}

static struct request request_from(const char *address)
{
	struct request r = {.method = HTTP_GET, .header = no_header, .peer = address, .id = "1"};

	if (strcmp(address, "unix") == 0)
		r.caller.family = ADDRESS_UNIX;
	else
		assert_true(address_parse(address, &r.caller));
	return r;
}

static struct config_limits limits_by_address(uint64_t count)
{
	struct config_limits limits = {.reads_per_address = {count, 60000}};
	struct buf why;

	buf_init(&why, 1024);
	assert_int_equal(address_net_parse("10.0.0.0/8", &why, &limits.exempt.nets[0]), E_OK);
	assert_int_equal(address_net_parse("fd00::/16", &why, &limits.exempt.nets[1]), E_OK);
	limits.exempt.len = 2;
	buf_release(&why);
	return limits;
}

static bool ask(struct limit *limit, const char *address, struct limit_refusal *refusal)
{
	struct request r = request_from(address);

	return limit_take_address(limit, &r, refusal);
}

/* F362: one IPv4 address, one /64 of IPv6; no form of an address is another caller; who is exempt. */
static void f362_whose_bucket_an_address_is(void **state)
{
	static const struct {
		const char *first;
		const char *second;
		bool together;
	} table[] = {
	    {"192.0.2.1", "192.0.2.1", true},
	    {"192.0.2.1", "192.0.2.2", false},
	    {"192.0.2.1", "::ffff:192.0.2.1", true},
	    {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
	    {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
	    {"192.0.2.1", "::192.0.2.1", false},
	    {"10.1.2.3", "10.1.2.3", false},
	    {"::ffff:10.1.2.3", "10.1.2.3", false},
	    {"fd00::1", "fd00::1", false},
	    {"unix", "unix", false},
	};
	struct config_limits limits = limits_by_address(1);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct limit_refusal refusal;
		struct limit *limit;

		assert_int_equal(limit_new(&limits, &limit), E_OK);
		assert_true(ask(limit, table[i].first, &refusal));
		if (ask(limit, table[i].second, &refusal) == table[i].together)
			fail_msg("%s and %s", table[i].first, table[i].second);
		limit_free(limit);
	}
}

/* F363: what a refusal says, and when one may come again; 30 s at most, since SDKs pass over more. */
static void f363_a_refusal_says_when(void **state)
{
	struct config_limits limits = limits_by_address(1);
	struct limit_refusal refusal;
	struct limit_figures figures;
	struct limit *limit;
	struct request r = request_from("192.0.2.1");

	(void)state;
	assert_int_equal(limit_new(&limits, &limit), E_OK);
	assert_true(limit_take_address(limit, &r, &refusal));
	assert_int_equal(r.limits_len, 1);
	assert_string_equal(r.limits[0].name, "reads_per_address");
	assert_int_equal(r.limits[0].quota, 1);
	assert_int_equal(r.limits[0].window_s, 60);
	assert_int_equal(r.limits[0].left, 0);
	assert_int_equal(r.limits[0].reset_s, 60);
	assert_false(ask(limit, "192.0.2.1", &refusal));
	assert_int_equal(refusal.retry_after_s, 30);
	assert_non_null(strstr(refusal.why, "at most 1 in 60 s ([limits] reads_per_address)"));
	now_ns += 50 * SECOND + 1;
	assert_false(ask(limit, "192.0.2.1", &refusal));
	assert_int_equal(refusal.retry_after_s, 10);
	now_ns += 10 * SECOND - 2;
	assert_false(ask(limit, "192.0.2.1", &refusal));
	assert_int_equal(refusal.retry_after_s, 1);
	now_ns += 1;
	assert_true(ask(limit, "192.0.2.1", &refusal));
	limit_figures(limit, &figures);
	assert_int_equal(figures.refused[LIMIT_BY_ADDRESS], 3);
	/* Read again for each request, so a reload counts at once. */
	limits.reads_per_address.count = 0;
	assert_true(ask(limit, "192.0.2.1", &refusal));
	limit_free(limit);
}

/* F362: by e-mail address in any case; another user from another address is not touched. */
static void f362_failed_logins_are_of_address_and_user(void **state)
{
	struct config_limits limits = {.failed_logins_per_address = {4, 60000},
				       .failed_logins_per_user = {2, 60000}};
	struct request one = request_from("192.0.2.1"), two = request_from("192.0.2.2");
	struct limit_refusal refusal;
	struct limit *limit;

	(void)state;
	assert_int_equal(limit_new(&limits, &limit), E_OK);
	assert_true(limit_take_failed_login(limit, &one, "user@example.com", &refusal));
	assert_true(limit_take_failed_login(limit, &two, "USER@example.com", &refusal));
	assert_false(limit_take_failed_login(limit, &one, "User@Example.com", &refusal));
	assert_non_null(strstr(refusal.why, "failed_logins_per_user"));
	assert_true(limit_take_failed_login(limit, &one, NULL, &refusal));
	assert_true(limit_take_failed_login(limit, &one, NULL, &refusal));
	assert_false(limit_take_failed_login(limit, &one, NULL, &refusal));
	assert_non_null(strstr(refusal.why, "failed_logins_per_address"));
	assert_true(limit_take_failed_login(limit, &two, NULL, &refusal));
	limit_free(limit);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(f360_a_bucket_gives_what_its_rate_says),
	    cmocka_unit_test(f360_a_bucket_says_what_is_left),
	    cmocka_unit_test(f361_a_crowd_does_not_push_out_who_asked_much),
	    cmocka_unit_test(f361_full_buckets_make_room_first),
	    cmocka_unit_test(f362_whose_bucket_an_address_is),
	    cmocka_unit_test(f362_failed_logins_are_of_address_and_user),
	    cmocka_unit_test(f363_a_refusal_says_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
