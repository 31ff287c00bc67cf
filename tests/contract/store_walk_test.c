/* F119: a walk through the pages of a list, while rows come and go (store/walk.h). */
#include "base/log.h"
#include "store/store.h"
#include "tests/contract/store_contract.h"
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 120 /* even numbers are there from the start, odd ones come later */
#define PAGE 7
#define READER "11111111-1111-4111-8111-111111111111"
#define OTHER_READER "22222222-2222-4222-8222-222222222222"

static char folder[64];

static int set_up(void **state)
{
	char url[128];
	struct store_options options = {.url = url, .queue_max = 64, .create = true};
	struct store *store;

	snprintf(folder, sizeof(folder), "/tmp/csrd-walk-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(url, sizeof(url), "sqlite:%s/csrd.db", folder);
	assert_int_equal(store_open(&options, &store), E_OK);
	contract_fill(store);
	*state = store;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"csrd.db", "csrd.db.lock"};
	char path[128];

	store_close(*state);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

/* Every fifth has no name, and many share one. */
static void make(struct store *store, unsigned n)
{
	struct csr_record *r = contract_record(n, &contract_account);
	char name[16];

	snprintf(name, sizeof(name), "name-%u", n % 9);
	if (n % 5 != 0)
		r->name = strdup(name);
	struct contract_begin b = contract_begin(store, r, NULL, 0);
	assert_int_equal(b.e, E_OK);
	contract_begin_release(&b);
	assert_int_equal(contract_move(store, n, CSR_PENDING, CSR_ACTIVE, n), E_OK);
}

struct page {
	unsigned rows[PAGE];
	unsigned len;
};

static struct page read_page(struct store *store, struct store_csr_query *q, unsigned number)
{
	struct page page = {.len = 0};
	char list[256], *at = list;

	q->offset = (uint64_t)(number - 1) * q->limit;
	assert_int_equal(contract_list(store, q, list, sizeof(list)), E_OK);
	while (*at != '/') {
		assert_true(page.len < PAGE);
		page.rows[page.len++] = (unsigned)strtoul(at, &at, 10);
		at++;
	}
	return page;
}

static struct store_csr_query a_query(const char *reader, int way)
{
	struct store_csr_query q = {.scope = &contract_account,
				    .states = CSR_STATE_BIT(CSR_ACTIVE),
				    .order = (enum store_order)(STORE_ORDER_CREATED_AT + way / 2),
				    .descending = way % 2 != 0,
				    .limit = PAGE,
				    .reader = reader};

	return q;
}

enum fate { NEVER_THERE, THERE, GONE };

static void come_and_go(struct store *store, enum fate *rows, const bool *seen, unsigned *next_odd)
{
	bool of_seen = false, of_unseen = false;

	for (unsigned n = 2; n <= ROWS && !(of_seen && of_unseen); n += 2) {
		bool *taken = seen[n] ? &of_seen : &of_unseen;

		if (rows[n] != THERE || *taken)
			continue;
		assert_int_equal(contract_delete_begin(store, n, &contract_account), E_OK);
		rows[n] = GONE;
		*taken = true;
	}
	make(store, *next_odd);
	*next_odd += 2;
}

static void walk_while_rows_come_and_go(struct store *store, int way)
{
	struct store_csr_query q = a_query(READER, way);
	enum fate rows[2 * ROWS] = {NEVER_THERE};
	bool seen[2 * ROWS] = {false};
	unsigned next_odd = 1;
	struct page page;

	for (unsigned n = 2; n <= ROWS; n += 2) {
		make(store, n);
		rows[n] = THERE;
	}
	for (unsigned number = 1; (page = read_page(store, &q, number)).len > 0; number++) {
		for (unsigned i = 0; i < page.len; i++) {
			if (seen[page.rows[i]])
				fail_msg("way %d: row %u again on page %u", way, page.rows[i], number);
			seen[page.rows[i]] = true;
		}
		if (next_odd < ROWS)
			come_and_go(store, rows, seen, &next_odd);
	}
	for (unsigned n = 2; n <= ROWS; n += 2) {
		if (rows[n] == THERE && !seen[n])
			fail_msg("way %d: row %u was there all the time and not shown", way, n);
	}
}

static void F119_created_ascending(void **state)
{
	walk_while_rows_come_and_go(*state, 0);
}

static void F119_created_descending(void **state)
{
	walk_while_rows_come_and_go(*state, 1);
}

static void F119_name_ascending(void **state)
{
	walk_while_rows_come_and_go(*state, 2);
}

static void F119_name_descending(void **state)
{
	walk_while_rows_come_and_go(*state, 3);
}

static void F119_tag_ascending(void **state)
{
	walk_while_rows_come_and_go(*state, 4);
}

static void F119_tag_descending(void **state)
{
	walk_while_rows_come_and_go(*state, 5);
}

/* Without changes a walk shows what pages by number show, in every order. */
static void F119_a_walk_shows_the_same_as_jumps(void **state)
{
	for (unsigned n = 1; n <= 40; n++)
		make(*state, n);
	for (int way = 0; way < 6; way++) {
		struct store_csr_query walk = a_query(READER, way), jump = a_query(NULL, way);

		for (unsigned number = 1; number <= 40 / PAGE + 2; number++) {
			struct page a = read_page(*state, &walk, number);
			struct page b = read_page(*state, &jump, number);

			assert_int_equal(a.len, b.len);
			assert_memory_equal(a.rows, b.rows, a.len * sizeof(a.rows[0]));
		}
	}
}

/* A walk is one reader's, through one list: nobody else is shown what it would be shown. */
static void F119_a_walk_is_of_one_reader_and_list(void **state)
{
	struct store_csr_query mine = a_query(READER, 4), q;
	struct page page;

	for (unsigned n = 1; n <= 40; n++)
		make(*state, n);
	page = read_page(*state, &mine, 1);
	assert_int_equal(page.rows[PAGE - 1], 7);
	assert_int_equal(contract_delete_begin(*state, 1, &contract_account), E_OK);
	q = a_query(OTHER_READER, 4);
	assert_int_equal(read_page(*state, &q, 2).rows[0], 9);
	q = a_query(NULL, 4);
	assert_int_equal(read_page(*state, &q, 2).rows[0], 9);
	q = a_query(READER, 5);
	assert_int_equal(read_page(*state, &q, 2).rows[0], 33);
	q = mine;
	q.limit = PAGE - 1;
	assert_int_equal(read_page(*state, &q, 2).rows[0], 8);
	/* And of that one until it begins anew; a page asked for again is the same. */
	assert_int_equal(read_page(*state, &mine, 2).rows[0], 8);
	assert_int_equal(read_page(*state, &mine, 2).rows[0], 8);
	assert_int_equal(read_page(*state, &mine, 1).rows[0], 2);
	assert_int_equal(read_page(*state, &mine, 2).rows[0], 9);
}

/* More walks than are remembered: the oldest are forgotten, and every page is right. */
static void F119_walks_make_room_for_each_other(void **state)
{
	for (unsigned n = 1; n <= 20; n++)
		make(*state, n);
	for (unsigned number = 1; number <= 3; number++) {
		for (unsigned i = 0; i < 300; i++) {
			char reader[64];
			struct store_csr_query q = a_query(reader, 4);

			snprintf(reader, sizeof(reader), "%08u-1111-4111-8111-111111111111", i);
			assert_int_equal(read_page(*state, &q, number).rows[0], (number - 1) * PAGE + 1);
		}
	}
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest cases[] = {
	    CASE(F119_created_ascending),
	    CASE(F119_created_descending),
	    CASE(F119_name_ascending),
	    CASE(F119_name_descending),
	    CASE(F119_tag_ascending),
	    CASE(F119_tag_descending),
	    CASE(F119_a_walk_shows_the_same_as_jumps),
	    CASE(F119_a_walk_is_of_one_reader_and_list),
	    CASE(F119_walks_make_room_for_each_other),
	};

	log_open("store_walk_test", LOG_LEVEL_WARN);
	return cmocka_run_group_tests_name("store: walk", cases, NULL, NULL);
}
