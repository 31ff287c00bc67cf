/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F119, F272: a walk through the pages of a list, in any direction, while rows come
 * and go (store/walk.h).  F273, F274: pages far from both ends (store/fence.h).
 */
#include "base/log.h"
#include "store/store.h"
#include "tests/contract/store_contract.h"
#include "tests/unit/cmocka_all.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 120 /* even numbers are there from the start, odd ones come later */
#define PAGE 7
#define READER "11111111-1111-4111-8111-111111111111"
#define OTHER_READER "22222222-2222-4222-8222-222222222222"

static char folder[64];
static char database[80];

static int set_up(void **state)
{
	char url[128];
	struct store_options options = {.url = url, .queue_max = 64, .readers = 1, .create = true};
	struct store *store;

	snprintf(folder, sizeof(folder), "/tmp/csrd-walk-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(database, sizeof(database), "%s/csrd.db", folder);
	snprintf(url, sizeof(url), "sqlite:%s", database);
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

/* ---- F272: other directions ---- */

static unsigned pages_of(struct store *store, struct store_csr_query *q)
{
	char list[256];

	q->offset = 0;
	assert_int_equal(contract_list(store, q, list, sizeof(list)), E_OK);
	return ((unsigned)strtoul(strchr(list, '/') + 1, NULL, 10) + PAGE - 1) / PAGE;
}

static void see_page(const struct page *page, unsigned number, bool *seen, int way)
{
	for (unsigned i = 0; i < page->len; i++) {
		if (seen[page->rows[i]])
			fail_msg("way %d: row %u again on page %u", way, page->rows[i], number);
		seen[page->rows[i]] = true;
	}
}

/*
 * From the last page to the first: nothing twice, and all that was there all the time.
 * (More rows that come between those not shown yet have no page before the first one.)
 */
static void F272_walk_backwards(void **state)
{
	struct store *store = *state;
	unsigned next_odd = 1;

	for (unsigned n = 2; n <= ROWS; n += 2)
		make(store, n);
	for (int way = 0; way < 6; way++) {
		struct store_csr_query q = a_query(READER, way), counted = a_query(NULL, way);
		enum fate rows[2 * ROWS + 2] = {NEVER_THERE};
		bool seen[2 * ROWS + 2] = {false};

		for (unsigned number = pages_of(store, &counted); number >= 1; number--) {
			struct page page = read_page(store, &counted, number);

			for (unsigned i = 0; i < page.len; i++)
				rows[page.rows[i]] = THERE;
		}
		for (unsigned number = pages_of(store, &counted); number >= 1; number--) {
			struct page page = read_page(store, &q, number);

			see_page(&page, number, seen, way);
			if (number % 3 == 0)
				come_and_go(store, rows, seen, &next_odd);
			/* More than go: by time they are at an end of the list, and push out nothing. */
			for (unsigned i = 0; way < 2 && number % 3 == 1 && i < 2; i++, next_odd += 2)
				make(store, next_odd);
		}
		for (unsigned n = 1; n < 2 * ROWS; n++) {
			if (rows[n] == THERE && !seen[n])
				fail_msg("way %d: row %u was there all the time and not shown", way, n);
		}
	}
}

static unsigned common_divisor(unsigned a, unsigned b)
{
	return b == 0 ? a : common_divisor(b, a % b);
}

/* Pages in no order at all, while rows go: nothing twice. */
static void F272_walk_in_any_order(void **state)
{
	static const unsigned strides[] = {3, 5, 7};
	struct store *store = *state;

	for (unsigned n = 1; n <= 2 * ROWS - 2; n++)
		make(store, n);
	for (int way = 0; way < 6; way++) {
		struct store_csr_query q = a_query(READER, way), counted = a_query(NULL, way);
		unsigned pages = pages_of(store, &counted), number = (unsigned)way + 1;
		unsigned stride = strides[way % 3];
		bool seen[2 * ROWS] = {false};

		while (common_divisor(pages, stride) != 1)
			stride++;
		for (unsigned i = 0; i < pages; i++, number = (number + stride - 1) % pages + 1) {
			struct page page = read_page(store, &q, number);

			see_page(&page, number, seen, way);
			for (unsigned j = 0; i % 3 == 0 && j < page.len && j < 2; j++)
				assert_int_equal(
				    contract_delete_begin(store, page.rows[j], &contract_account), E_OK);
		}
	}
}

/* Whoever has come back to the first page and reads it again sees what is first now. */
static void F272_first_page_read_again_is_of_now(void **state)
{
	struct store_csr_query q = a_query(READER, 5);

	for (unsigned n = 1; n <= 30; n++)
		make(*state, n);
	for (unsigned number = 5; number >= 1; number--)
		(void)read_page(*state, &q, number);
	make(*state, 31);
	assert_int_equal(read_page(*state, &q, 1).rows[0], 31);
	assert_int_equal(read_page(*state, &q, 2).rows[0], 24);
}

/* An empty page is the end of the list to whoever goes forwards: it does not come before that. */
static void F272_walk_forwards_ends_at_the_end_alone(void **state)
{
	struct store_csr_query q = a_query(READER, 4);
	bool seen[61] = {false};
	struct page page;

	for (unsigned n = 1; n <= 60; n++)
		make(*state, n);
	assert_int_equal(read_page(*state, &q, 7).rows[0], 43);
	assert_int_equal(read_page(*state, &q, 2).rows[0], 8);
	for (unsigned n = 1; n <= 20; n++)
		assert_int_equal(contract_delete_begin(*state, n, &contract_account), E_OK);
	for (unsigned number = 1; (page = read_page(*state, &q, number)).len > 0; number++)
		see_page(&page, number, seen, 4);
	for (unsigned n = 21; n <= 60; n++) {
		if (!seen[n])
			fail_msg("row %u was there all the time and not shown", n);
	}
}

/* ---- F273, F274: far from both ends ---- */

#define MANY 20000
#define LONG_PAGE 50

static void raw_run(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(database, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 60000);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("'%s': %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* As another process would: rows from..to, by the moves that csrd makes, in an order of their own. */
static void fill(unsigned from, unsigned to)
{
	char sql[2048];

	snprintf(
	    sql, sizeof(sql),
	    "PRAGMA synchronous = OFF; BEGIN;"
	    "WITH RECURSIVE n (i) AS (SELECT %u UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
	    " INSERT INTO csrs (id, account_id, token_name, principal_id, state, created_us, updated_us,"
	    " key_type, country, province, locality, organization, common_name, sans, name, pem,"
	    " protection, key_label, key_id, spki_sha256)"
	    " SELECT printf('00000000-0000-4000-8000-%%012d', i), 'account-1', 'default', 'p', 2,"
	    " 1000000 + i * 7919 %% 30011, 1, 2, 'SE', '', '', '', 'c', '',"
	    " CASE WHEN i %% 5 THEN 'name-' || (i * 31 %% 4001) END, 'x', 1, 'key-' || i, randomblob(16),"
	    " randomblob(32) FROM n;"
	    "INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
	    " SELECT 1, 'csr.active', id, '', '', '', '' FROM csrs WHERE substr(id, 25) BETWEEN"
	    " printf('%%012d', %u) AND printf('%%012d', %u); COMMIT",
	    from, to, from, to);
	raw_run(sql);
}

/* A page, as the database orders and counts. */
static void wanted_page(int way, uint64_t offset, char *text, size_t size)
{
	static const char *const by[] = {
	    "created_us, id", "created_us DESC, id DESC", "name, id", "name DESC, id DESC", "id", "id DESC"};
	char sql[512];
	sqlite3 *db;
	sqlite3_stmt *st;
	int rc;

	snprintf(sql, sizeof(sql),
		 "SELECT CAST(substr(id, 25) AS INTEGER), (SELECT csr_active FROM accounts WHERE id ="
		 " 'account-1') FROM csrs WHERE state = 2 AND zone_id IS NULL ORDER BY %s LIMIT %d OFFSET"
		 " %llu",
		 by[way], LONG_PAGE, (unsigned long long)offset);
	assert_int_equal(sqlite3_open(database, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 60000);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	size_t len = 0;
	int total = 0;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		len += (size_t)snprintf(text + len, size - len, "%d ", sqlite3_column_int(st, 0));
		total = sqlite3_column_int(st, 1);
		assert_true(len < size);
	}
	assert_int_equal(rc, SQLITE_DONE);
	snprintf(text + len, size - len, "/%d", total);
	sqlite3_finalize(st);
	sqlite3_close(db);
}

static void assert_page(struct store *store, int way, uint64_t offset)
{
	struct store_csr_query q = a_query(NULL, way);
	char found[1024], wanted[1024];

	q.limit = LONG_PAGE;
	q.offset = offset;
	assert_int_equal(contract_list(store, &q, found, sizeof(found)), E_OK);
	wanted_page(way, offset, wanted, sizeof(wanted));
	if (strcmp(found, wanted) != 0)
		fail_msg("way %d, offset %llu: '%s', not '%s'", way, (unsigned long long)offset, found,
			 wanted);
}

static void assert_pages(struct store *store, int way)
{
	static const unsigned offsets[] = {0,    1950, 2001,  2100,  2999,     3000,  3001, 3980,
					   7777, 9950, 10001, 12345, MANY / 2, 17000, 17990};

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		assert_page(store, way, offsets[i]);
}

/* Pages are where they are counted to be, whoever adds and takes away, and how many at a time. */
static void F273_far_pages_are_where_they_are_counted(void **state)
{
	struct store *store = *state;

	fill(1, MANY);
	for (int way = 0; way < 6; way++)
		assert_pages(store, way);
	for (unsigned n = 1; n <= 3000; n += 23)
		assert_int_equal(contract_delete_begin(store, n * 5 % MANY + 1, &contract_account), E_OK);
	for (int way = 0; way < 6; way++)
		assert_pages(store, way);
	fill(MANY + 1, MANY + 9000); /* so many that there are new fences among the old ones */
	for (int way = 5; way >= 0; way--)
		assert_pages(store, way);
	for (unsigned n = 1; n <= 50; n++) {
		contract_make_active(store, MANY + 9000 + n, n % 2 ? &contract_account : &contract_zone);
		assert_page(store, (int)n % 6, 9000 + 10 * n);
	}
}

static atomic_ulong vm_steps;

static int count_steps(unsigned what, void *arg, void *statement, void *time)
{
	(void)what;
	(void)arg;
	(void)time;
	atomic_fetch_add(&vm_steps,
			 (unsigned long)sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1));
	return 0;
}

static int count_of_connection(sqlite3 *db, const char **error, const void *api)
{
	(void)error;
	(void)api;
	sqlite3_trace_v2(db, SQLITE_TRACE_PROFILE, count_steps, NULL);
	return SQLITE_OK;
}

static unsigned long steps_of_page(struct store *store, int way, unsigned offset, const char *reader)
{
	struct store_csr_query q = a_query(reader, way);
	char list[1024];

	q.limit = LONG_PAGE;
	q.offset = offset;
	atomic_store(&vm_steps, 0);
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_OK);
	return atomic_load(&vm_steps);
}

/* What a page costs does not grow with its number: by the steps of SQLite, which no load changes. */
static void F274_far_pages_cost_the_page(void **state)
{
	struct store *store;

	tear_down(state);
	sqlite3_auto_extension((void (*)(void))(uintptr_t)count_of_connection);
	set_up(state);
	store = *state;
	fill(1, MANY);
	for (int way = 0; way < 6; way++) {
		unsigned long first, most = 0;

		(void)steps_of_page(store, way, MANY / 2, NULL); /* sets the fences */
		first = steps_of_page(store, way, 0, NULL);
		for (unsigned offset = 3000; offset < MANY - 3000; offset += 1490) {
			unsigned long steps = steps_of_page(store, way, offset, NULL);

			most = steps > most ? steps : most;
		}
		/* One step of fences more, each row of which is a few steps of SQLite. */
		if (most > first + 20000)
			fail_msg("way %d: a page costs %lu steps, the first one %lu", way, most, first);
		assert_true(steps_of_page(store, way, MANY / 2 + 7, READER) < first + 20000);
		assert_true(steps_of_page(store, way, MANY / 2 + 7 - LONG_PAGE, READER) < 2 * first);
		assert_true(steps_of_page(store, way, MANY / 2 + 7 + LONG_PAGE, READER) < 2 * first);
	}
	sqlite3_cancel_auto_extension((void (*)(void))(uintptr_t)count_of_connection);
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
	    CASE(F272_walk_backwards),
	    CASE(F272_walk_in_any_order),
	    CASE(F272_first_page_read_again_is_of_now),
	    CASE(F272_walk_forwards_ends_at_the_end_alone),
	    CASE(F273_far_pages_are_where_they_are_counted),
	    CASE(F274_far_pages_cost_the_page),
	};

	log_open("store_walk_test", LOG_LEVEL_WARN);
	return cmocka_run_group_tests_name("store: walk", cases, NULL, NULL);
}
