/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of the store, page after page. */
#include "cli/each.h"

#include <string.h>

#define PAGE_ROWS 500

/* Where a list is: one of the four functions, and what the next page begins behind. */
struct each {
	each_account_fn account;
	each_zone_fn zone;
	each_principal_fn principal;
	each_record_fn record;
	void *arg;

	char after_id[CSR_ID_SIZE]; /* of all kinds: a tag is shorter */
	int64_t after;              /* created_us, or a sequence */
	size_t page_rows;
	struct cli_wait wait;
};

static void each_begin_page(struct each *each)
{
	each->wait = (struct cli_wait){0};
	each->page_rows = 0;
}

/* Whether there may be another one. */
static bool each_end_page(struct each *each, struct cli *cli)
{
	store_wait(cli->store, &each->wait.done);
	return each->wait.e == E_OK && each->page_rows == PAGE_ROWS;
}

static void each_took_page(struct each *each, enum err e, size_t rows)
{
	each->page_rows = rows;
	cli_on_done(&each->wait, e);
}

static void each_on_accounts(void *arg, enum err e, const struct account_record *accounts, size_t len)
{
	struct each *each = arg;

	for (size_t i = 0; e == E_OK && i < len; i++)
		e = each->account(each->arg, &accounts[i]);
	if (len > 0)
		memcpy(each->after_id, accounts[len - 1].id, sizeof(accounts[len - 1].id));
	each_took_page(each, e, len);
}

enum err each_account(struct cli *cli, each_account_fn take, void *arg)
{
	struct each each = {.account = take, .arg = arg};

	do {
		each_begin_page(&each);
		store_account_list(cli->store, each.after_id, PAGE_ROWS, each_on_accounts, &each);
	} while (each_end_page(&each, cli));
	return each.wait.e;
}

static void each_on_zones(void *arg, enum err e, const struct zone_record *zones, size_t len)
{
	struct each *each = arg;

	for (size_t i = 0; e == E_OK && i < len; i++)
		e = each->zone(each->arg, &zones[i]);
	if (len > 0)
		memcpy(each->after_id, zones[len - 1].id, sizeof(zones[len - 1].id));
	each_took_page(each, e, len);
}

enum err each_zone(struct cli *cli, each_zone_fn take, void *arg)
{
	struct each each = {.zone = take, .arg = arg};

	do {
		each_begin_page(&each);
		store_zone_list(cli->store, each.after_id, PAGE_ROWS, each_on_zones, &each);
	} while (each_end_page(&each, cli));
	return each.wait.e;
}

static void each_on_principals(void *arg, enum err e, const struct principal *principals, size_t len)
{
	struct each *each = arg;

	for (size_t i = 0; e == E_OK && i < len; i++)
		e = each->principal(each->arg, &principals[i]);
	if (len > 0) {
		memcpy(each->after_id, principals[len - 1].id, sizeof(principals[len - 1].id));
		each->after = principals[len - 1].created_us;
	}
	each_took_page(each, e, len);
}

enum err each_principal(struct cli *cli, enum principal_kind kind, each_principal_fn take, void *arg)
{
	struct each each = {.principal = take, .arg = arg};

	do {
		struct store_principal_query query = {.kind = kind,
						      .after_created_us = each.after,
						      .after_id = each.after_id,
						      .limit = PAGE_ROWS};

		each_begin_page(&each);
		store_principal_list(cli->store, &query, each_on_principals, &each);
	} while (each_end_page(&each, cli));
	return each.wait.e;
}

static void each_on_records(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct each *each = arg;

	for (size_t i = 0; e == E_OK && i < len; i++)
		e = each->record(each->arg, &records[i]);
	if (len > 0)
		each->after = records[len - 1].sequence;
	each_took_page(each, e, len);
}

enum err each_record(struct cli *cli, const char *object, each_record_fn take, void *arg)
{
	struct each each = {.record = take, .arg = arg};

	do {
		struct store_trail_query query = {
		    .object = object, .after_sequence = each.after, .limit = PAGE_ROWS};

		each_begin_page(&each);
		store_audit_list(cli->store, &query, each_on_records, &each);
	} while (each_end_page(&each, cli));
	return each.wait.e;
}
