/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store with readers, everything at the same time: creates, and for each that
 * was told a get and a page of a list (F271).  With SANITIZE=thread ("make tsan")
 * a race fails the test.
 */
#include "base/log.h"
#include "store/store.h"
#include "tests/contract/store_contract.h"
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CSRS 400
#define AT_ONCE 16
#define READERS 4
#define PAGE 10

struct load {
	struct store *store;
	unsigned begun;
	unsigned made;
	unsigned got;
	unsigned listed;
	bool done;
};

struct one {
	struct load *load;
	unsigned n;
};

static void count(struct load *load, unsigned *what)
{
	++*what;
	load->done = load->got == CSRS && load->listed == CSRS;
}

static void begin_one(struct load *load);

static void on_got(void *arg, enum err e, struct csr_record *record)
{
	struct one *one = arg;

	assert_int_equal(e, E_OK);
	assert_int_equal(record->state, CSR_ACTIVE);
	assert_string_equal(record->id, contract_id(one->n));
	csr_record_free(record);
	count(one->load, &one->load->got);
	free(one);
}

static void on_page(void *arg, enum err e, const struct store_csr_page *page)
{
	struct load *load = arg;

	assert_int_equal(e, E_OK);
	assert_in_range(page->total, 1, CSRS);
	count(load, &load->listed);
}

static void ask_for_page(struct load *load)
{
	struct store_csr_query q = {.scope = &contract_account,
				    .states = CSR_STATE_BIT(CSR_ACTIVE),
				    .order = STORE_ORDER_NAME,
				    .limit = PAGE,
				    .offset = load->listed / PAGE * PAGE,
				    .reader = "11111111-1111-4111-8111-111111111111"};

	q.descending = load->made % 2 != 0;
	store_csr_list(load->store, &q, on_page, load);
}

static void on_added(void *arg, enum err e, enum store_begin outcome, struct csr_record *record,
		     struct store_policies *policies)
{
	struct one *one = arg;
	struct load *load = one->load;

	assert_null(policies);
	assert_int_equal(e, E_OK);
	assert_int_equal(outcome, STORE_BEGIN_NEW);
	csr_record_free(record);
	load->made++;
	ask_for_page(load);
	store_csr_get(load->store, &contract_account, contract_id(one->n), on_got, one);
	begin_one(load);
}

static void begin_one(struct load *load)
{
	struct store_csr_add in = {.origin = contract_origin, .idempotency_ttl_us = CONTRACT_TTL_US};
	struct one *one;

	if (load->begun == CSRS)
		return;
	one = malloc(sizeof(*one));
	assert_non_null(one);
	one->load = load;
	one->n = ++load->begun;
	in.record = contract_record(one->n, &contract_account);
	store_csr_add(load->store, &in, on_added, one);
}

static void all_at_the_same_time(void **state)
{
	struct load load = {.begun = 0};
	char folder[] = "/tmp/csrd-load-XXXXXX", url[64], path[64];
	struct store_options options = {
	    .url = url, .queue_max = 4096, .readers = READERS, .sole_service = true, .create = true};

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(url, sizeof(url), "sqlite:%s/csrd.db", folder);
	assert_int_equal(store_open(&options, &load.store), E_OK);
	contract_fill(load.store);
	for (unsigned i = 0; i < AT_ONCE; i++)
		begin_one(&load);
	store_wait(load.store, &load.done);
	assert_int_equal(store_queued(load.store), 0);
	store_close(load.store);
	snprintf(path, sizeof(path), "%s/csrd.db", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/csrd.db.lock", folder);
	unlink(path);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest cases[] = {cmocka_unit_test(all_at_the_same_time)};

	log_open("store_load_test", LOG_LEVEL_WARN);
	return cmocka_run_group_tests_name("store: load", cases, NULL, NULL);
}
