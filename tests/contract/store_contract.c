/* SPDX-License-Identifier: Apache-2.0 */
/* The cases that every store passes. */
#include "tests/contract/store_contract.h"

#include "base/clock.h"
#include "base/str.h"
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct audit_origin contract_origin = {
    .actor = "tester", .request_id = "request-1", .peer = "127.0.0.1:1", .detail = "by a test"};
const struct store_scope contract_account = {.kind = STORE_ACCOUNT, .id = CONTRACT_ACCOUNT};
const struct store_scope contract_zone = {.kind = STORE_ZONE, .id = CONTRACT_ZONE};

/* ---- asking and waiting ---- */

const char *contract_id(unsigned n)
{
	static char ids[8][CSR_ID_SIZE];
	static unsigned next;
	char *id = ids[next++ % 8];

	snprintf(id, CSR_ID_SIZE, "00000000-0000-4000-8000-%012u", n % 1000000000);
	return id;
}

static char *text(const char *from)
{
	char *copy = strdup(from);

	assert_non_null(copy);
	return copy;
}

void contract_set_key(struct csr_record *r, unsigned n)
{
	uint8_t name[KEY_NAME_BYTES];

	memset(name, 0x5a, sizeof(name));
	memcpy(name, &n, sizeof(n));
	free(r->pem);
	r->pem = text("-----BEGIN CERTIFICATE REQUEST-----\n");
	key_name_format(r->key_label, name);
	memcpy(r->key_id, name, sizeof(r->key_id));
	memset(r->spki_sha256, 0xa5, sizeof(r->spki_sha256));
	memcpy(r->spki_sha256, &n, sizeof(n));
	r->protection = 0xed;
}

struct csr_record *contract_record(unsigned n, const struct store_scope *scope)
{
	struct csr_record *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	strcpy(r->id, contract_id(n));
	r->scope = *scope;
	strcpy(r->token_name, "default");
	strcpy(r->principal_id, "11111111-1111-4111-8111-111111111111");
	r->spec.key_type = KEY_P256V1;
	r->spec.country = text("DE");
	r->spec.state = text("Bavaria");
	r->spec.locality = text("Munich");
	r->spec.organization = text("Example GmbH");
	r->spec.common_name = text("www.example.com");
	assert_int_equal(csr_spec_add_san(&r->spec, SAN_DNS, "www.example.com"), E_OK);
	contract_set_key(r, n);
	return r;
}

void contract_done_fn(void *arg, enum err e)
{
	struct contract_done *d = arg;

	assert_false(d->done);
	d->done = true;
	d->e = e;
}

static void begin_done(void *arg, enum err e, enum store_begin outcome, struct csr_record *record,
		       struct store_policies *policies)
{
	struct contract_begin *b = arg;

	assert_false(b->done);
	b->done = true;
	b->e = e;
	b->outcome = outcome;
	b->record = record;
	b->policies = policies;
}

void contract_begin_release(struct contract_begin *b)
{
	csr_record_free(b->record);
	store_policies_free(b->policies);
	b->record = NULL;
	b->policies = NULL;
}

void contract_begin_ask(struct store *store, struct csr_record *record, const char *key, unsigned hash,
			struct contract_begin *b)
{
	struct store_csr_add in = {
	    .record = record,
	    .idempotency_key = key,
	    .idempotency_ttl_us = CONTRACT_TTL_US,
	    .origin = contract_origin,
	};

	memcpy(in.request_hash, &hash, sizeof(hash));
	memset(b, 0, sizeof(*b));
	store_csr_add(store, &in, begin_done, b);
	assert_false(b->done); /* never inside the call */
}

struct contract_begin contract_begin(struct store *store, struct csr_record *record, const char *key,
				     unsigned hash)
{
	struct contract_begin b;

	contract_begin_ask(store, record, key, hash, &b);
	store_wait(store, &b.done);
	if (b.e != E_OK || (b.outcome != STORE_BEGIN_NEW && b.outcome != STORE_BEGIN_REPLAY &&
			    b.outcome != STORE_BEGIN_IN_FLIGHT))
		assert_null(b.record);
	return b;
}

/* The outcome alone; 0 after an error. */
static enum store_begin outcome_of(struct store *store, struct csr_record *record, const char *key,
				   unsigned hash)
{
	struct contract_begin b = contract_begin(store, record, key, hash);
	enum store_begin outcome = b.e == E_OK ? b.outcome : 0;

	contract_begin_release(&b);
	return outcome;
}

enum err contract_move(struct store *store, unsigned n, enum csr_state from, enum csr_state to)
{
	struct store_csr_move move = {
	    .id = contract_id(n), .from = from, .to = to, .origin = contract_origin};
	struct contract_done d = {0};

	store_csr_move(store, &move, contract_done_fn, &d);
	store_wait(store, &d.done);
	return d.e;
}

enum err contract_failed(struct store *store, unsigned n)
{
	struct contract_done d = {0};

	store_csr_failed(store, contract_id(n), &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	return d.e;
}

void contract_make_active(struct store *store, unsigned n, const struct store_scope *scope)
{
	assert_int_equal(outcome_of(store, contract_record(n, scope), NULL, 0), STORE_BEGIN_NEW);
}

struct csr_answer {
	bool done;
	enum err e;
	struct csr_record *record;
};

static void csr_done(void *arg, enum err e, struct csr_record *record)
{
	struct csr_answer *a = arg;

	assert_false(a->done);
	assert_true((e == E_OK) == (record != NULL));
	a->done = true;
	a->e = e;
	a->record = record;
}

enum err contract_delete_begin(struct store *store, unsigned n, const struct store_scope *scope)
{
	struct csr_answer a = {0};

	store_csr_delete_begin(store, scope, contract_id(n), &contract_origin, csr_done, &a);
	store_wait(store, &a.done);
	if (a.e == E_OK)
		assert_int_equal(a.record->state, CSR_DELETING);
	csr_record_free(a.record);
	return a.e;
}

enum err contract_get(struct store *store, const struct store_scope *scope, const char *id,
		      struct csr_record **ret_record)
{
	struct csr_answer a = {0};

	store_csr_get(store, scope, id, csr_done, &a);
	store_wait(store, &a.done);
	*ret_record = a.record;
	return a.e;
}

enum err contract_account_add(struct store *store, const char *id, int64_t quota)
{
	struct account_record account = {.name = text("an account"), .csr_quota = quota};
	struct contract_done d = {0};

	strcpy(account.id, id);
	store_account_add(store, &account, &contract_origin, contract_done_fn, &d);
	account_record_release(&account); /* it was borrowed for the call alone */
	store_wait(store, &d.done);
	return d.e;
}

enum err contract_zone_add(struct store *store, const char *id, const char *account_id, int64_t quota)
{
	struct zone_record zone = {.name = text("example.com"), .csr_quota = quota};
	struct contract_done d = {0};

	strcpy(zone.id, id);
	strcpy(zone.account_id, account_id);
	store_zone_add(store, &zone, &contract_origin, contract_done_fn, &d);
	zone_record_release(&zone);
	store_wait(store, &d.done);
	return d.e;
}

void contract_fill(struct store *store)
{
	assert_int_equal(contract_account_add(store, CONTRACT_ACCOUNT, STORE_NO_LIMIT), E_OK);
	assert_int_equal(contract_zone_add(store, CONTRACT_ZONE, CONTRACT_ACCOUNT, STORE_NO_LIMIT), E_OK);
}

enum err contract_ping(struct store *store)
{
	struct contract_done d = {0};

	store_ping(store, contract_done_fn, &d);
	store_wait(store, &d.done);
	return d.e;
}

struct text_answer {
	bool done;
	enum err e;
	char *text;
	size_t size;
	int64_t last;
};

static void PRINTF_LIKE(2, 3) add_text(struct text_answer *a, const char *format, ...)
{
	size_t len = strlen(a->text);
	va_list args;

	va_start(args, format);
	vsnprintf(a->text + len, a->size - len, format, args);
	va_end(args);
}

static void page_done(void *arg, enum err e, const struct store_csr_page *page)
{
	struct text_answer *a = arg;

	a->done = true;
	a->e = e;
	a->text[0] = '\0';
	if (e != E_OK) {
		assert_int_equal(page->records_len, 0);
		return;
	}
	for (size_t i = 0; i < page->records_len; i++)
		add_text(a, "%lu ", strtoul(strrchr(page->records[i].id, '-') + 1, NULL, 10));
	add_text(a, "/%llu", (unsigned long long)page->total);
}

enum err contract_list(struct store *store, const struct store_csr_query *query, char *list, size_t list_size)
{
	struct text_answer a = {.text = list, .size = list_size};

	store_csr_list(store, query, page_done, &a);
	store_wait(store, &a.done);
	return a.e;
}

static void audit_done(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct text_answer *a = arg;

	a->done = true;
	a->e = e;
	a->text[0] = '\0';
	for (size_t i = 0; i < len; i++) {
		assert_true(records[i].sequence > a->last);
		a->last = records[i].sequence;
		add_text(a, "%s@%s ", records[i].action, records[i].actor);
	}
}

enum err contract_audit(struct store *store, const char *object, char *trail, size_t trail_size,
			int64_t *ret_last)
{
	struct text_answer a = {.text = trail, .size = trail_size};

	store_audit_list(store, &(struct store_trail_query){.object = object, .limit = STORE_LIST_MAX},
			 audit_done, &a);
	store_wait(store, &a.done);
	*ret_last = a.last;
	return a.e;
}

/* ---- set-up ---- */

static const struct store_contract_target *target;

static struct store *open_or_fail(void)
{
	struct store *store = NULL;

	assert_int_equal(target->open(&store), E_OK);
	assert_non_null(store);
	return store;
}

static int set_up(void **state)
{
	struct store *store = open_or_fail();

	contract_fill(store);
	*state = store;
	return 0;
}

static int tear_down(void **state)
{
	store_close(*state);
	target->wipe();
	return 0;
}

static void assert_list(struct store *store, const struct store_csr_query *query, const char *expected)
{
	char list[4096];

	assert_int_equal(contract_list(store, query, list, sizeof(list)), E_OK);
	assert_string_equal(list, expected);
}

static void assert_trail(struct store *store, const char *object, const char *expected)
{
	char trail[4096];
	int64_t last;

	assert_int_equal(contract_audit(store, object, trail, sizeof(trail), &last), E_OK);
	assert_string_equal(trail, expected);
}

static enum csr_state state_of(struct store *store, unsigned n)
{
	struct csr_record *r;

	assert_int_equal(contract_get(store, NULL, contract_id(n), &r), E_OK);
	enum csr_state state = r->state;
	csr_record_free(r);
	return state;
}

static void accounts_done(void *arg, enum err e, const struct account_record *accounts, size_t len)
{
	struct text_answer *a = arg;

	a->done = true;
	a->e = e;
	a->text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		add_text(a, "%s=%lld ", accounts[i].id, (long long)accounts[i].csr_count);
}

static void zones_done(void *arg, enum err e, const struct zone_record *zones, size_t len)
{
	struct text_answer *a = arg;

	a->done = true;
	a->e = e;
	a->text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		add_text(a, "%s:%s=%lld ", zones[i].account_id, zones[i].id, (long long)zones[i].csr_count);
}

static void assert_counts(struct store *store, const char *accounts, const char *zones)
{
	char list[256];
	struct text_answer a = {.text = list, .size = sizeof(list)}, z = a;

	store_account_list(store, NULL, STORE_LIST_MAX, accounts_done, &a);
	store_wait(store, &a.done);
	assert_int_equal(a.e, E_OK);
	assert_string_equal(list, accounts);
	store_zone_list(store, NULL, STORE_LIST_MAX, zones_done, &z);
	store_wait(store, &z.done);
	assert_int_equal(z.e, E_OK);
	assert_string_equal(list, zones);
}

static const struct store_csr_query all_active = {.scope = &contract_account,
						  .states = CSR_STATE_BIT(CSR_ACTIVE),
						  .order = STORE_ORDER_CREATED_AT,
						  .limit = 50};

/* ---- create ---- */

static void assert_same_spec(const struct csr_spec *a, const struct csr_spec *b)
{
	assert_int_equal(a->key_type, b->key_type);
	assert_string_equal(a->country, b->country);
	assert_string_equal(a->state, b->state);
	assert_string_equal(a->locality, b->locality);
	assert_string_equal(a->organization, b->organization);
	assert_true(!a->organizational_unit == !b->organizational_unit);
	if (a->organizational_unit)
		assert_string_equal(a->organizational_unit, b->organizational_unit);
	assert_string_equal(a->common_name, b->common_name);
	assert_int_equal(a->sans_len, b->sans_len);
	for (size_t i = 0; i < a->sans_len; i++) {
		assert_int_equal(a->sans[i].type, b->sans[i].type);
		assert_string_equal(a->sans[i].value, b->sans[i].value);
	}
}

static void new_csr_is_active_and_whole(void **state)
{
	struct store *store = *state;
	int64_t before = clock_wall_us();
	struct contract_begin b = contract_begin(store, contract_record(1, &contract_zone), NULL, 0);
	struct csr_record *r;

	assert_int_equal(b.e, E_OK);
	assert_int_equal(b.outcome, STORE_BEGIN_NEW);
	assert_string_equal(b.record->account_tag, CONTRACT_ACCOUNT);
	assert_int_equal(contract_get(store, &contract_zone, contract_id(1), &r), E_OK);
	assert_same_spec(&b.record->spec, &r->spec);
	assert_int_equal(r->state, CSR_ACTIVE);
	assert_int_equal(b.record->state, CSR_ACTIVE);
	assert_true(store_scope_equal(&r->scope, &contract_zone));
	assert_string_equal(r->account_tag, CONTRACT_ACCOUNT);
	assert_string_equal(r->token_name, "default");
	assert_string_equal(r->principal_id, b.record->principal_id);
	assert_true(r->created_us >= before && r->created_us <= clock_wall_us());
	assert_true(r->created_us == b.record->created_us && r->updated_us == r->created_us);
	assert_null(r->name);
	assert_null(r->description);
	assert_string_equal(r->pem, b.record->pem);
	assert_string_equal(r->key_label, b.record->key_label);
	assert_memory_equal(r->key_id, b.record->key_id, sizeof(r->key_id));
	assert_memory_equal(r->spki_sha256, b.record->spki_sha256, sizeof(r->spki_sha256));
	assert_int_equal(r->protection, 0xed);
	assert_trail(store, contract_id(1), "csr.active@tester ");
	csr_record_free(r);
	contract_begin_release(&b);
}

static void key_is_kept_and_time_of_creation_stays(void **state)
{
	struct store *store = *state;
	struct csr_record *before, *after;

	contract_make_active(store, 1, &contract_account);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &before), E_OK);
	assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_OK);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &after), E_OK);
	assert_string_equal(after->pem, before->pem);
	assert_string_equal(after->key_label, before->key_label);
	assert_memory_equal(after->key_id, before->key_id, sizeof(before->key_id));
	assert_memory_equal(after->spki_sha256, before->spki_sha256, sizeof(before->spki_sha256));
	assert_true(after->created_us == before->created_us);
	assert_true(after->updated_us >= before->updated_us);
	csr_record_free(before);
	csr_record_free(after);
}

/* F86: what means something to SQL, to LIKE, to a shell or to a line format is only text here. */
static void strings_are_kept_literally(void **state)
{
	static const char *const nasty[] = {
	    "'; DROP TABLE csrs; --",
	    "\" OR \"\"=\"",
	    "%_\\%",
	    "a\nb\r\tc",
	    "?1 :id @x $y",
	    "\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91",
	    "NULL",
	    " leading and trailing ",
	    "",
	    "0x41",
	    "1e3",
	    "/* */",
	    "x'00'",
	    "\\x27\\0",
	};
	struct store *store = *state;

	for (unsigned i = 0; i < sizeof(nasty) / sizeof(nasty[0]); i++) {
		struct csr_record *r = contract_record(i + 1, &contract_account), *found;
		char **texts[] = {&r->spec.country, &r->spec.state, &r->spec.locality, &r->spec.organization,
				  &r->spec.common_name};
		struct csr_spec expected;

		for (size_t t = 0; t < 5; t++) {
			free(*texts[t]);
			*texts[t] = text(nasty[i]);
		}
		r->spec.organizational_unit = text(nasty[i]);
		r->name = text(nasty[i]);
		r->description = text(nasty[i]);
		if (!strchr(nasty[i], '\n'))
			assert_int_equal(csr_spec_add_san(&r->spec, SAN_URI, nasty[i]), E_OK);
		assert_int_equal(csr_spec_copy(&r->spec, &expected), E_OK);
		assert_int_equal(outcome_of(store, r, nasty[i], 1), STORE_BEGIN_NEW);
		assert_int_equal(contract_get(store, NULL, contract_id(i + 1), &found), E_OK);
		assert_same_spec(&expected, &found->spec);
		assert_string_equal(found->name, nasty[i]);
		assert_string_equal(found->description, nasty[i]);
		csr_record_free(found);
		csr_spec_release(&expected);
		assert_int_equal(contract_get(store, NULL, nasty[i], &found), E_NOTFOUND);
		/* The key is found again as it was, and no other is. */
		assert_int_equal(outcome_of(store, contract_record(100 + i, &contract_account), nasty[i], 1),
				 STORE_BEGIN_REPLAY);
	}
}

static void sans_keep_order_case_and_number(void **state)
{
	struct store *store = *state;
	struct csr_record *r = contract_record(1, &contract_account), *found;
	struct csr_spec expected;

	for (unsigned i = 1; i < CSR_SANS_MAX; i++) {
		char value[CSR_SAN_BYTES_MAX + 1];

		memset(value, 'a', sizeof(value));
		snprintf(value, sizeof(value), "Host-%u.Example.COM", (i * 7919) % 1000);
		value[strlen(value)] = i % 2 ? ' ' : '.';
		value[CSR_SAN_BYTES_MAX] = '\0';
		assert_int_equal(csr_spec_add_san(&r->spec, (enum san_type)(1 + i % SAN_TYPE_MAX), value),
				 E_OK);
	}
	assert_int_equal(csr_spec_copy(&r->spec, &expected), E_OK);
	assert_int_equal(outcome_of(store, r, NULL, 0), STORE_BEGIN_NEW);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &found), E_OK);
	assert_int_equal(found->spec.sans_len, CSR_SANS_MAX);
	assert_same_spec(&expected, &found->spec);
	csr_spec_release(&expected);
	csr_record_free(found);
}

static void san_with_a_newline_is_refused(void **state)
{
	struct store *store = *state;
	struct csr_record *r = contract_record(1, &contract_account), *found;

	assert_int_equal(csr_spec_add_san(&r->spec, SAN_DNS, "a\ndns evil.example"), E_OK);
	struct contract_begin b = contract_begin(store, r, "key", 1);
	assert_int_equal(b.e, E_INVAL);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &found), E_NOTFOUND);
	assert_counts(store, "account-1=0 ", "account-1:zone-1=0 ");
}

static void id_in_use_is_refused(void **state)
{
	struct store *store = *state;

	assert_int_equal(outcome_of(store, contract_record(1, &contract_account), NULL, 0), STORE_BEGIN_NEW);
	struct contract_begin b = contract_begin(store, contract_record(1, &contract_zone), "key", 1);
	assert_int_equal(b.e, E_EXISTS);
	assert_counts(store, "account-1=1 ", "account-1:zone-1=0 ");
	assert_trail(store, contract_id(1), "csr.active@tester ");
}

static void unknown_scope_is_said(void **state)
{
	static const struct store_scope unknown[] = {{STORE_ACCOUNT, "nobody"},
						     {STORE_ZONE, "nobody"},
						     {STORE_ACCOUNT, CONTRACT_ZONE},
						     {STORE_ZONE, CONTRACT_ACCOUNT}};
	struct store *store = *state;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(outcome_of(store, contract_record(1, &unknown[i]), "key", 1),
				 STORE_BEGIN_NO_SCOPE);
	assert_trail(store, contract_id(1), "");
}

/* ---- idempotency ---- */

static void key_seen_before_decides(void **state)
{
	struct store *store = *state;
	struct contract_begin b;

	assert_int_equal(outcome_of(store, contract_record(1, &contract_account), "k", 1), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(3, &contract_account), "k", 2),
			 STORE_BEGIN_MISMATCH);
	b = contract_begin(store, contract_record(4, &contract_account), "k", 1);
	assert_int_equal(b.outcome, STORE_BEGIN_REPLAY);
	assert_string_equal(b.record->id, contract_id(1));
	assert_int_equal(b.record->state, CSR_ACTIVE);
	assert_non_null(b.record->pem);
	contract_begin_release(&b);
	assert_int_equal(outcome_of(store, contract_record(5, &contract_account), "k", 2),
			 STORE_BEGIN_MISMATCH);
	assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_OK);
	assert_int_equal(outcome_of(store, contract_record(6, &contract_account), "k", 1), STORE_BEGIN_GONE);
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_int_equal(outcome_of(store, contract_record(7, &contract_account), "k", 1), STORE_BEGIN_GONE);
	assert_counts(store, "account-1=0 ", "account-1:zone-1=0 ");
}

/* Of csrd 0.1: its caller waits until it is settled. */
static void pending_create_is_in_flight_until_it_failed(void **state)
{
	struct store *store = *state;
	struct contract_begin b;

	target->add_pending(1, &contract_account, "k", 1);
	b = contract_begin(store, contract_record(2, &contract_account), "k", 1);
	assert_int_equal(b.outcome, STORE_BEGIN_IN_FLIGHT);
	assert_string_equal(b.record->id, contract_id(1));
	assert_int_equal(b.record->state, CSR_PENDING);
	assert_null(b.record->pem);
	contract_begin_release(&b);
	assert_int_equal(contract_move(store, 1, CSR_PENDING, CSR_FAILED), E_OK);
	assert_trail(store, contract_id(1), "csr.pending@tester csr.failed@tester ");
	assert_int_equal(outcome_of(store, contract_record(2, &contract_account), "k", 2), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(3, &contract_account), "k", 2),
			 STORE_BEGIN_REPLAY);
}

static void keys_belong_to_principal_and_scope(void **state)
{
	struct store *store = *state;
	struct csr_record *of_another = contract_record(3, &contract_account);

	strcpy(of_another->principal_id, "22222222-2222-4222-8222-222222222222");
	assert_int_equal(outcome_of(store, contract_record(1, &contract_account), "k", 1), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(2, &contract_zone), "k", 1), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, of_another, "k", 1), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(4, &contract_account), "K", 1), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(5, &contract_account), "k ", 1), STORE_BEGIN_NEW);
}

static enum store_begin outcome_with_ttl(struct store *store, unsigned n, const char *key, int64_t ttl_us)
{
	struct store_csr_add in = {.record = contract_record(n, &contract_account),
				   .idempotency_key = key,
				   .idempotency_ttl_us = ttl_us,
				   .origin = contract_origin};
	struct contract_begin b = {0};

	store_csr_add(store, &in, begin_done, &b);
	store_wait(store, &b.done);
	assert_int_equal(b.e, E_OK);
	contract_begin_release(&b);
	return b.outcome;
}

static void old_keys_are_forgotten(void **state)
{
	struct store *store = *state;

	assert_int_equal(outcome_with_ttl(store, 1, "k", CONTRACT_TTL_US), STORE_BEGIN_NEW);
	assert_int_equal(outcome_with_ttl(store, 2, "k", CONTRACT_TTL_US), STORE_BEGIN_REPLAY);
	for (int64_t made = clock_wall_us(); clock_wall_us() <= made + 1;)
		;
	assert_int_equal(outcome_with_ttl(store, 3, "k", 1), STORE_BEGIN_NEW);
	assert_int_equal(outcome_with_ttl(store, 4, "k", CONTRACT_TTL_US), STORE_BEGIN_REPLAY);
}

/* F87: of many at once with one key, one is new and the others get what it got. */
static void one_key_many_times_at_once(void **state)
{
	struct store *store = *state;
	struct contract_begin b[40];
	unsigned news = 0, replays = 0, mismatch = 0;

	for (unsigned i = 0; i < 40; i++)
		contract_begin_ask(store, contract_record(i + 1, &contract_account), "k", i < 30 ? 1 : 2,
				   &b[i]);
	for (unsigned i = 0; i < 40; i++) {
		store_wait(store, &b[i].done);
		assert_int_equal(b[i].e, E_OK);
		news += b[i].outcome == STORE_BEGIN_NEW;
		replays += b[i].outcome == STORE_BEGIN_REPLAY;
		mismatch += b[i].outcome == STORE_BEGIN_MISMATCH;
		contract_begin_release(&b[i]);
	}
	assert_int_equal(b[0].outcome, STORE_BEGIN_NEW); /* in the order of the calls */
	assert_int_equal(news, 1);
	assert_int_equal(replays, 29);
	assert_int_equal(mismatch, 10);
	assert_counts(store, "account-1=1 ", "account-1:zone-1=0 ");
}

/* ---- policies ---- */

struct policy_answer {
	bool done;
	enum err e;
	int64_t version;
	char text[512];
};

static void on_policy_set(void *arg, enum err e, int64_t version)
{
	struct policy_answer *a = arg;

	*a = (struct policy_answer){.done = true, .e = e, .version = version};
}

static struct policy_answer policy_set(struct store *store, const struct store_scope *scope,
				       const char *document, int64_t after)
{
	const struct store_policy_set in = {
	    .scope = *scope, .document = document, .after = after, .origin = contract_origin};
	struct policy_answer a = {.done = false};

	store_policy_set(store, &in, on_policy_set, &a);
	store_wait(store, &a.done);
	return a;
}

static void on_policy(void *arg, enum err e, const struct policy_record *policy)
{
	struct policy_answer *a = arg;

	*a = (struct policy_answer){.done = true, .e = e};
	if (e == E_OK) {
		a->version = policy->version;
		assert_true(policy->made_us > 0);
		snprintf(a->text, sizeof(a->text), "%s@%s", policy->document, policy->made_by);
	}
}

static void assert_policy(struct store *store, const struct store_scope *scope, int64_t version,
			  const char *expected)
{
	struct policy_answer a = {.done = false};

	store_policy_get(store, scope, version, on_policy, &a);
	store_wait(store, &a.done);
	assert_int_equal(a.e, expected ? E_OK : E_NOTFOUND);
	if (expected)
		assert_string_equal(a.text, expected);
}

static void on_policy_list(void *arg, enum err e, const struct policy_record *policies, size_t len)
{
	struct policy_answer *a = arg;
	size_t used = 0;

	*a = (struct policy_answer){.done = true, .e = e};
	for (size_t i = 0; i < len; i++)
		used += (size_t)snprintf(a->text + used, sizeof(a->text) - used, "%s%lld:%s", i ? " " : "",
					 (long long)policies[i].version, policies[i].document);
}

static void versions_of_a_policy_stay(void **state)
{
	struct store *store = *state;
	struct store_policy_query query = {.scope = contract_account, .after_version = 1, .limit = 2};
	const struct store_scope nobody = {STORE_ZONE, "no-zone"};
	struct policy_answer a;
	char trail[256];
	int64_t last;

	assert_policy(store, &contract_account, 0, NULL);
	assert_int_equal(policy_set(store, &contract_account, "one", -1).version, 1);
	assert_int_equal(policy_set(store, &contract_account, "two", 1).version, 2);
	a = policy_set(store, &contract_account, "other", 1);
	assert_int_equal(a.e, E_EXISTS);
	assert_int_equal(a.version, 2);
	assert_int_equal(policy_set(store, &contract_zone, "zone's", 0).version, 1);
	assert_int_equal(policy_set(store, &contract_account, "three", -1).version, 3);
	assert_int_equal(policy_set(store, &contract_account, "four", -1).version, 4);
	assert_int_equal(policy_set(store, &nobody, "x", -1).e, E_NOTFOUND);
	assert_policy(store, &contract_account, 0, "four@tester");
	assert_policy(store, &contract_account, 1, "one@tester");
	assert_policy(store, &contract_account, 5, NULL);
	assert_policy(store, &contract_zone, 0, "zone's@tester");
	store_policy_list(store, &query, on_policy_list, &a);
	a.done = false;
	store_wait(store, &a.done);
	assert_string_equal(a.text, "2:two 3:three");
	query.limit = 0;
	a.done = false;
	store_policy_list(store, &query, on_policy_list, &a);
	store_wait(store, &a.done);
	assert_int_equal(a.e, E_INVAL);
	assert_int_equal(contract_audit(store, CONTRACT_ZONE, trail, sizeof(trail), &last), E_OK);
	assert_non_null(strstr(trail, "zone.policy@tester"));
}

/* What was judged by another version than that in force gets no row, and its record back. */
static void csr_is_added_under_the_policies_in_force(void **state)
{
	struct store *store = *state;
	struct csr_record *r = contract_record(1, &contract_zone);
	struct contract_begin b;
	char trail[256];
	int64_t last;

	policy_set(store, &contract_account, "account's", -1);
	policy_set(store, &contract_zone, "one", -1);
	policy_set(store, &contract_zone, "two", -1);
	r->account_policy = 1;
	r->zone_policy = 1;
	contract_begin_ask(store, r, "k", 1, &b);
	store_wait(store, &b.done);
	assert_int_equal(b.e, E_OK);
	assert_int_equal(b.outcome, STORE_BEGIN_POLICY);
	assert_string_equal(b.policies->account.document, "account's");
	assert_string_equal(b.policies->account.scope.id, CONTRACT_ACCOUNT);
	assert_string_equal(b.policies->zone.document, "two");
	assert_string_equal(b.record->id, contract_id(1));
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_NOTFOUND);
	r = b.record;
	b.record = NULL;
	contract_begin_release(&b);
	r->zone_policy = 2;
	b = contract_begin(store, r, "k", 1);
	assert_int_equal(b.outcome, STORE_BEGIN_NEW);
	contract_begin_release(&b);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_OK);
	assert_int_equal(r->account_policy, 1);
	assert_int_equal(r->zone_policy, 2);
	csr_record_free(r);
	assert_int_equal(contract_audit(store, contract_id(1), trail, sizeof(trail), &last), E_OK);
	/* A CSR of the account is not the zone's. */
	r = contract_record(2, &contract_account);
	r->account_policy = 1;
	b = contract_begin(store, r, NULL, 1);
	assert_int_equal(b.outcome, STORE_BEGIN_NEW);
	contract_begin_release(&b);
}

/* ---- quota ---- */

static void quota_counts_what_may_have_a_key(void **state)
{
	struct store *store = *state;
	static const struct store_scope two = {STORE_ACCOUNT, "two"}, none = {STORE_ACCOUNT, "none"};

	assert_int_equal(contract_account_add(store, "two", 2), E_OK);
	assert_int_equal(contract_account_add(store, "none", 0), E_OK);
	assert_int_equal(outcome_of(store, contract_record(9, &none), NULL, 0), STORE_BEGIN_QUOTA);
	contract_make_active(store, 1, &two);
	assert_int_equal(outcome_of(store, contract_record(2, &two), NULL, 0), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(3, &two), NULL, 0), STORE_BEGIN_QUOTA);
	assert_int_equal(contract_delete_begin(store, 1, &two), E_OK);
	assert_int_equal(outcome_of(store, contract_record(3, &two), NULL, 0), STORE_BEGIN_QUOTA);
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_int_equal(outcome_of(store, contract_record(3, &two), NULL, 0), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(4, &two), NULL, 0), STORE_BEGIN_QUOTA);
	assert_int_equal(contract_delete_begin(store, 2, &two), E_OK);
	assert_int_equal(contract_move(store, 2, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_int_equal(outcome_of(store, contract_record(4, &two), NULL, 0), STORE_BEGIN_NEW);
	assert_counts(store, "account-1=0 none=0 two=2 ", "account-1:zone-1=0 ");
}

static void zone_and_account_count_apart(void **state)
{
	struct store *store = *state;
	static const struct store_scope account = {STORE_ACCOUNT, "one"}, zone = {STORE_ZONE, "one.example"};

	assert_int_equal(contract_account_add(store, "one", 1), E_OK);
	assert_int_equal(contract_zone_add(store, "one.example", "one", 1), E_OK);
	contract_make_active(store, 1, &zone);
	contract_make_active(store, 2, &account);
	assert_int_equal(outcome_of(store, contract_record(3, &zone), NULL, 0), STORE_BEGIN_QUOTA);
	assert_int_equal(outcome_of(store, contract_record(3, &account), NULL, 0), STORE_BEGIN_QUOTA);
	assert_counts(store, "account-1=0 one=1 ", "one:one.example=1 account-1:zone-1=0 ");
}

static void known_key_is_answered_before_the_quota(void **state)
{
	struct store *store = *state;
	static const struct store_scope one = {STORE_ACCOUNT, "one"};

	assert_int_equal(contract_account_add(store, "one", 1), E_OK);
	assert_int_equal(outcome_of(store, contract_record(1, &one), "k", 1), STORE_BEGIN_NEW);
	assert_int_equal(outcome_of(store, contract_record(2, &one), "other", 1), STORE_BEGIN_QUOTA);
	assert_int_equal(outcome_of(store, contract_record(3, &one), "k", 1), STORE_BEGIN_REPLAY);
	/* A create that the quota refused leaves its key unused. */
	assert_int_equal(contract_delete_begin(store, 1, &one), E_OK);
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_int_equal(outcome_of(store, contract_record(4, &one), "other", 2), STORE_BEGIN_NEW);
}

/* ---- moves of state ---- */

static void only_legal_moves_are_made(void **state)
{
	struct store *store = *state;

	for (enum csr_state from = CSR_PENDING; from <= CSR_FAILED; from++) {
		for (enum csr_state to = CSR_PENDING; to <= CSR_FAILED; to++) {
			bool legal = (from == CSR_PENDING && to == CSR_FAILED) ||
				     (from == CSR_ACTIVE && to == CSR_DELETING) ||
				     (from == CSR_DELETING && to == CSR_DESTROYED);
			assert_int_equal(contract_move(store, 1, from, to), legal ? E_NOTFOUND : E_INVAL);
		}
	}
}

static void move_needs_the_state_it_names(void **state)
{
	struct store *store = *state;

	contract_make_active(store, 1, &contract_account);
	assert_int_equal(contract_move(store, 1, CSR_PENDING, CSR_FAILED), E_NOTFOUND);
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_NOTFOUND);
	assert_int_equal(state_of(store, 1), CSR_ACTIVE);
	assert_trail(store, contract_id(1), "csr.active@tester ");
}

static void whole_life_leaves_its_trail(void **state)
{
	struct store *store = *state;
	struct csr_record *r;

	contract_make_active(store, 1, &contract_zone);
	assert_int_equal(contract_move(store, 1, CSR_ACTIVE, CSR_DELETING), E_OK);
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_OK);
	assert_int_equal(r->state, CSR_DESTROYED);
	assert_non_null(r->pem); /* kept for audit */
	csr_record_free(r);
	assert_trail(store, contract_id(1), "csr.active@tester csr.deleting@tester csr.destroyed@tester ");
}

/* A create that came to nothing is told once, and no row comes after it. */
static void failed_create_is_shut(void **state)
{
	struct store *store = *state;

	assert_int_equal(contract_failed(store, 1), E_OK);
	assert_int_equal(contract_failed(store, 1), E_OK);
	assert_trail(store, contract_id(1), "csr.failed@tester ");
	struct contract_begin b = contract_begin(store, contract_record(1, &contract_account), "k", 1);
	assert_int_equal(b.e, E_EXISTS);
	assert_trail(store, contract_id(1), "csr.failed@tester ");
	assert_counts(store, "account-1=0 ", "account-1:zone-1=0 ");
	/* Its idempotency key is free. */
	assert_int_equal(outcome_of(store, contract_record(2, &contract_account), "k", 2), STORE_BEGIN_NEW);
	/* And one that has a row did not fail. */
	assert_int_equal(contract_failed(store, 2), E_EXISTS);
	assert_trail(store, contract_id(2), "csr.active@tester ");
}

/* I3: no two CSRs ever share a key, not even one whose key is destroyed. */
static void key_of_another_csr_is_refused(void **state)
{
	struct store *store = *state;

	contract_make_active(store, 1, &contract_account);
	for (int round = 0; round < 2; round++) {
		for (int what = 0; what < 4; what++) {
			struct csr_record *r = contract_record(what == 3 ? 1 : 2, &contract_zone);
			struct csr_record *first = contract_record(1, &contract_zone);

			if (what == 0)
				memcpy(r->key_label, first->key_label, sizeof(r->key_label));
			else if (what == 1)
				memcpy(r->key_id, first->key_id, sizeof(r->key_id));
			else if (what == 2)
				memcpy(r->spki_sha256, first->spki_sha256, sizeof(r->spki_sha256));
			else
				strcpy(r->id, contract_id(2));
			csr_record_free(first);
			struct contract_begin b = contract_begin(store, r, NULL, 0);
			assert_int_equal(b.e, E_EXISTS);
		}
		if (round == 0)
			assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_OK);
	}
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_trail(store, contract_id(2), "");
	contract_make_active(store, 2, &contract_zone);
}

static void delete_goes_by_scope_and_state(void **state)
{
	struct store *store = *state;

	assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_NOTFOUND);
	target->add_pending(2, &contract_account, NULL, 0);
	assert_int_equal(contract_delete_begin(store, 2, &contract_account), E_NOTFOUND);
	contract_make_active(store, 1, &contract_account);
	assert_int_equal(contract_delete_begin(store, 1, &contract_zone), E_NOTFOUND);
	assert_int_equal(state_of(store, 1), CSR_ACTIVE);
	assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_OK);
	assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_OK); /* goes on */
	assert_trail(store, contract_id(1), "csr.active@tester csr.deleting@tester ");
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_NOTFOUND);
}

static void get_goes_by_scope(void **state)
{
	static const struct store_scope scopes[] = {{STORE_ZONE, CONTRACT_ZONE},
						    {STORE_ACCOUNT, CONTRACT_ACCOUNT},
						    {STORE_ACCOUNT, CONTRACT_ZONE},
						    {STORE_ZONE, "x"}};
	struct store *store = *state;
	struct csr_record *r;

	contract_make_active(store, 1, &contract_zone);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(contract_get(store, &scopes[i], contract_id(1), &r),
				 i == 0 ? E_OK : E_NOTFOUND);
		csr_record_free(r);
	}
	assert_int_equal(contract_get(store, NULL, contract_id(2), &r), E_NOTFOUND);
}

/* ---- lists ---- */

static void make_named(struct store *store, unsigned n, const char *name)
{
	struct csr_record *r = contract_record(n, &contract_account);

	r->name = !name ? NULL : text(name);
	assert_int_equal(outcome_of(store, r, NULL, 0), STORE_BEGIN_NEW);
}

static void list_has_three_orders_and_two_directions(void **state)
{
	struct store *store = *state;
	struct store_csr_query q = all_active;

	make_named(store, 5, "b");
	make_named(store, 2, NULL);
	make_named(store, 4, "a");
	make_named(store, 1, "b");
	make_named(store, 6, "");
	make_named(store, 3, NULL);
	make_named(store, 7, "B");
	assert_list(store, &q, "5 2 4 1 6 3 7 /7");
	q.descending = true;
	assert_list(store, &q, "7 3 6 1 4 2 5 /7");
	q.order = STORE_ORDER_NAME;
	assert_list(store, &q, "5 1 4 7 6 3 2 /7");
	q.descending = false;
	assert_list(store, &q, "2 3 6 7 4 1 5 /7");
	q.order = STORE_ORDER_ACCOUNT_TAG;
	assert_list(store, &q, "1 2 3 4 5 6 7 /7");
	q.descending = true;
	assert_list(store, &q, "7 6 5 4 3 2 1 /7");
}

static void list_pages_cover_all_once(void **state)
{
	struct store *store = *state;
	struct store_csr_query q = all_active;

	for (unsigned i = 1; i <= 7; i++)
		contract_make_active(store, i, &contract_account);
	q.limit = 3;
	assert_list(store, &q, "1 2 3 /7");
	q.offset = 3;
	assert_list(store, &q, "4 5 6 /7");
	q.offset = 6;
	assert_list(store, &q, "7 /7");
	q.offset = 9;
	assert_list(store, &q, "/7");
	q.offset = INT64_MAX;
	assert_list(store, &q, "/7");
}

static void list_shows_active_ones_of_its_scope(void **state)
{
	struct store *store = *state;
	struct store_csr_query q = all_active;
	static const struct store_scope unknown = {STORE_ZONE, "nobody"};

	contract_make_active(store, 1, &contract_account);
	contract_make_active(store, 2, &contract_zone);
	target->add_pending(3, &contract_account, NULL, 0);
	contract_make_active(store, 4, &contract_account);
	assert_int_equal(contract_delete_begin(store, 4, &contract_account), E_OK);
	assert_list(store, &q, "1 /1");
	q.scope = &contract_zone;
	assert_list(store, &q, "2 /1");
	q.scope = &unknown;
	assert_list(store, &q, "/0");
	q.scope = NULL;
	assert_list(store, &q, "1 2 /2");
	q.states |= CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_DELETING);
	assert_list(store, &q, "1 2 3 4 /4");
	q.scope = &contract_account;
	q.order = STORE_ORDER_NAME;
	q.descending = true;
	assert_list(store, &q, "4 3 1 /3");
	q.states = CSR_STATE_BIT(CSR_FAILED);
	assert_list(store, &q, "/0");
	q.states = 0;
	assert_list(store, &q, "/0");
}

static void list_by_age_of_state(void **state)
{
	struct store *store = *state;
	struct store_csr_query q = all_active;
	struct csr_record *r;

	contract_make_active(store, 1, &contract_account);
	for (int64_t made = clock_wall_us(); clock_wall_us() <= made;)
		;
	contract_make_active(store, 2, &contract_account);
	assert_int_equal(contract_get(store, NULL, contract_id(2), &r), E_OK);
	q.updated_before_us = r->updated_us;
	assert_list(store, &q, "1 /2");
	q.updated_before_us = r->updated_us + 1;
	assert_list(store, &q, "1 2 /2");
	q.after_id = "";
	q.updated_before_us = r->updated_us;
	assert_list(store, &q, "1 /0");
	csr_record_free(r);
}

static void pass_goes_by_id(void **state)
{
	struct store *store = *state;
	struct store_csr_query q = {
	    .states = CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_DELETING), .after_id = "", .limit = 2};

	for (unsigned i = 6; i >= 1; i--) {
		const struct store_scope *scope = i % 2 ? &contract_zone : &contract_account;

		if (i == 3 || i == 4)
			contract_make_active(store, i, scope);
		else
			target->add_pending(i, scope, NULL, 0);
	}
	assert_int_equal(contract_delete_begin(store, 4, &contract_account), E_OK);
	assert_list(store, &q, "1 2 /0");
	q.after_id = contract_id(2);
	assert_list(store, &q, "4 5 /0");
	q.after_id = contract_id(6);
	assert_list(store, &q, "/0");
	q.after_id = "";
	q.limit = 1000;
	q.states = CSR_STATE_BIT(CSR_DELETING);
	assert_list(store, &q, "4 /0");
	q.states = ~0u;
	assert_list(store, &q, "1 2 3 4 5 6 /0");
	q.scope = &contract_zone;
	assert_list(store, &q, "1 3 5 /0");
}

/* Five CSRs that differ in what an operator looks for. */
static void fill_for_filters(struct store *store)
{
	for (unsigned i = 1; i <= 5; i++) {
		struct csr_record *r = contract_record(i, i == 3 ? &contract_zone : &contract_account);

		if (i == 2) {
			free(r->spec.common_name);
			r->spec.common_name = text("Mail.example.net");
			r->spec.key_type = KEY_RSA2048;
			assert_int_equal(csr_spec_add_san(&r->spec, SAN_EMAIL, "Root@mail.example.net"),
					 E_OK);
		}
		if (i == 4) {
			r->name = text("the old Mailer 100%");
			strcpy(r->token_name, "second");
			strcpy(r->principal_id, "22222222-2222-4222-8222-222222222222");
		}
		assert_int_equal(outcome_of(store, r, NULL, 0), STORE_BEGIN_NEW);
		if (i < 5)
			assert_int_equal(contract_delete_begin(store, i, NULL), E_OK);
		for (int64_t made = clock_wall_us(); clock_wall_us() <= made;)
			;
	}
}

static void list_is_filtered(void **state) /* F195 */
{
	struct csr_record *made = contract_record(5, &contract_account);
	struct store_csr_filter filters[] = {
	    {0},
	    {.name = "mail"},
	    {.name = "%"},
	    {.san = "ROOT@"},
	    {.san = "dns"}, /* the type is no part of a name */
	    {.word = "mail"},
	    {.word = "00000000-0000-4000-8000-000000000001"},
	    {.id_prefix = "00000000-0000-4000-8000-00000000000"},
	    {.id_prefix = "0000-4000"},
	    {.token_name = "second"},
	    {.token_name = "secon"},
	    {.principal_id = "22222222-2222-4222-8222-222222222222"},
	    {.key_type = KEY_RSA2048},
	    {.key = made->key_id, .key_len = sizeof(made->key_id)},
	    {.key = made->spki_sha256, .key_len = sizeof(made->spki_sha256)},
	    {.key = made->spki_sha256, .key_len = sizeof(made->spki_sha256), .token_name = "second"},
	    {.key = (const uint8_t *)"no such key in here", .key_len = sizeof(made->key_id)},
	    {.key_type = KEY_P256V1, .name = "mail", .token_name = "second"},
	    {.key_type = KEY_RSA2048, .token_name = "second"},
	};
	static const char *const expected[] = {
	    "5 4 3 2 1 /5", "4 2 /2", "4 /1", "2 /1", "/0",   "4 2 /2", "1 /1", "5 4 3 2 1 /5", "/0", "4 /1",
	    "/0",           "4 /1",   "2 /1", "5 /1", "5 /1", "/0",     "/0",   "4 /1",         "/0"};
	struct store_csr_query q = {
	    .states = ~0u, .order = STORE_ORDER_CREATED_AT, .descending = true, .limit = 9};
	struct store_csr_filter by_time = {0};
	struct csr_record *r;

	fill_for_filters(*state);
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		q.filter = &filters[i];
		assert_list(*state, &q, expected[i]);
	}
	q.filter = &by_time;
	assert_int_equal(contract_get(*state, NULL, contract_id(3), &r), E_OK);
	by_time.since_us = r->created_us;
	assert_list(*state, &q, "5 4 3 /3");
	by_time.until_us = r->created_us + 1;
	assert_list(*state, &q, "3 /1");
	by_time.since_us = 0;
	q.descending = false;
	q.limit = 2;
	q.offset = 1;
	assert_list(*state, &q, "2 3 /3");
	q.scope = &contract_account;
	q.offset = 0;
	assert_list(*state, &q, "1 2 /2");
	q.states = CSR_STATE_BIT(CSR_ACTIVE);
	by_time.until_us = 0;
	assert_list(*state, &q, "5 /1");
	q.filter = &(const struct store_csr_filter){.key = made->key_id, .key_len = sizeof(made->key_id)};
	assert_list(*state, &q, "5 /1");
	q.offset = 1;
	assert_list(*state, &q, "/1");
	q.states = CSR_STATE_BIT(CSR_PENDING);
	q.offset = 0;
	assert_list(*state, &q, "/0");
	csr_record_free(r);
	csr_record_free(made);
}

static void list_out_of_range_is_refused(void **state)
{
	struct store *store = *state;
	struct store_csr_query q = all_active;
	char list[16];

	q.limit = 0;
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
	q.limit = 1001;
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
	q.limit = 1;
	q.offset = (uint64_t)INT64_MAX + 1;
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
	q.offset = 0;
	q.order = 0;
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
	q.order = STORE_ORDER_ACCOUNT_TAG + 1;
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
	q.filter = &(const struct store_csr_filter){.name = "x"};
	q.order = STORE_ORDER_NAME;
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
	q.order = STORE_ORDER_CREATED_AT;
	q.after_id = "";
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
	q.after_id = NULL;
	q.filter = &(const struct store_csr_filter){.key = (const uint8_t *)"x", .key_len = 1};
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_INVAL);
}

/* ---- operators ---- */

static void accounts_and_zones_are_added_once(void **state)
{
	struct store *store = *state;

	assert_int_equal(contract_account_add(store, CONTRACT_ACCOUNT, 1), E_EXISTS);
	assert_int_equal(contract_zone_add(store, CONTRACT_ZONE, CONTRACT_ACCOUNT, 1), E_EXISTS);
	assert_int_equal(contract_zone_add(store, "zone-2", "nobody", 1), E_NOTFOUND);
	assert_int_equal(contract_account_add(store, "a", 1), E_OK);
	assert_int_equal(contract_zone_add(store, "a", "a", 1),
			 E_OK); /* an account and a zone may share an id */
	assert_counts(store, "a=0 account-1=0 ", "a:a=0 account-1:zone-1=0 ");
	assert_trail(store, "zone-2", "");
	assert_trail(store, "a", "account.add@tester zone.add@tester ");
}

struct principal_answer {
	bool done;
	enum err e;
	struct principal *principal;
};

static void principal_done(void *arg, enum err e, struct principal *principal)
{
	struct principal_answer *a = arg;

	assert_true((e == E_OK) == (principal != NULL));
	a->done = true;
	a->e = e;
	a->principal = principal;
}

static struct principal_answer find_principal(struct store *store, enum principal_kind kind, uint8_t hash)
{
	struct principal_answer a = {0};
	struct store_claim claim = {.kind = kind};

	memset(claim.secret_hash, hash, sizeof(claim.secret_hash));
	store_principal_find(store, &claim, principal_done, &a);
	store_wait(store, &a.done);
	return a;
}

static enum err find_principal_error(struct store *store, enum principal_kind kind, uint8_t hash)
{
	struct principal_answer a = find_principal(store, kind, hash);

	principal_free(a.principal);
	return a.e;
}

static enum err add_principal(struct store *store, unsigned n, enum principal_kind kind, const char *name,
			      const struct grant *grants, size_t grants_len)
{
	struct principal p = {.kind = kind,
			      .name = text(name),
			      .not_before_us = 5,
			      .expires_us = 6,
			      .revoked_us = 7, /* not for the caller to say */
			      .grants_len = grants_len};
	struct contract_done d = {0};

	strcpy(p.id, contract_id(n));
	memset(p.secret_hash, (int)n, sizeof(p.secret_hash));
	if (grants_len > 0) {
		p.grants = calloc(grants_len, sizeof(*grants));
		assert_non_null(p.grants);
		memcpy(p.grants, grants, grants_len * sizeof(*grants));
	}
	store_principal_add(store, &p, &contract_origin, contract_done_fn, &d);
	principal_release(&p);
	store_wait(store, &d.done);
	return d.e;
}

static enum err revoke(struct store *store, unsigned n, enum principal_kind kind)
{
	struct contract_done d = {0};

	store_principal_revoke(store, kind, contract_id(n), &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	return d.e;
}

static void principal_is_found_by_hash_with_its_grants(void **state)
{
	static const struct grant grants[] = {
	    {{STORE_ZONE, CONTRACT_ZONE}, GRANT_WRITE},
	    {{STORE_ACCOUNT, CONTRACT_ACCOUNT}, GRANT_READ},
	    {{STORE_ZONE, CONTRACT_ZONE}, GRANT_READ}, /* weaker: changes nothing */
	};
	struct store *store = *state;

	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "ci", grants, 3), E_OK);
	assert_int_equal(find_principal_error(store, PRINCIPAL_USER, 1), E_NOTFOUND);
	assert_int_equal(find_principal_error(store, PRINCIPAL_TOKEN, 2), E_NOTFOUND);
	struct principal_answer a = find_principal(store, PRINCIPAL_TOKEN, 1);
	assert_int_equal(a.e, E_OK);
	assert_string_equal(a.principal->id, contract_id(1));
	assert_int_equal(a.principal->kind, PRINCIPAL_TOKEN);
	assert_string_equal(a.principal->name, "ci");
	assert_int_equal(a.principal->secret_hash[31], 1);
	assert_true(a.principal->created_us > 1);
	assert_int_equal(a.principal->not_before_us, 5);
	assert_int_equal(a.principal->expires_us, 6);
	assert_int_equal(a.principal->revoked_us, 0);
	assert_int_equal(a.principal->grants_len, 2);
	assert_true(store_scope_equal(&a.principal->grants[0].scope, &contract_zone));
	assert_int_equal(a.principal->grants[0].permission, GRANT_WRITE);
	assert_true(store_scope_equal(&a.principal->grants[1].scope, &contract_account));
	assert_int_equal(a.principal->grants[1].permission, GRANT_READ);
	principal_free(a.principal);
	assert_trail(store, contract_id(1), "token.create@tester ");
}

static void principal_with_a_wrong_grant_is_not_added(void **state)
{
	static const struct grant grants[] = {
	    {{STORE_ACCOUNT, CONTRACT_ACCOUNT}, GRANT_READ},
	    {{STORE_ACCOUNT, CONTRACT_ZONE}, GRANT_READ},
	};
	struct store *store = *state;

	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "ci", grants, 2), E_NOTFOUND);
	assert_int_equal(find_principal_error(store, PRINCIPAL_TOKEN, 1), E_NOTFOUND);
	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "ci", grants, 1), E_OK);
}

static void secrets_and_addresses_are_unique(void **state)
{
	struct store *store = *state;

	assert_int_equal(add_principal(store, 1, PRINCIPAL_USER, "a@example.com", NULL, 0), E_OK);
	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "same id and hash", NULL, 0), E_EXISTS);
	assert_int_equal(add_principal(store, 2, PRINCIPAL_USER, "A@Example.com", NULL, 0), E_EXISTS);
	assert_int_equal(add_principal(store, 3, PRINCIPAL_TOKEN, "a@example.com", NULL, 0), E_OK);
	assert_int_equal(add_principal(store, 4, PRINCIPAL_TOKEN, "a@example.com", NULL, 0), E_OK);
	assert_int_equal(revoke(store, 1, PRINCIPAL_USER), E_OK);
	assert_int_equal(add_principal(store, 2, PRINCIPAL_USER, "A@Example.com", NULL, 0), E_OK);
}

static void revoking_twice_keeps_the_first_time(void **state)
{
	struct store *store = *state;

	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "ci", NULL, 0), E_OK);
	assert_int_equal(revoke(store, 1, PRINCIPAL_USER), E_NOTFOUND);
	assert_int_equal(revoke(store, 2, PRINCIPAL_TOKEN), E_NOTFOUND);
	assert_int_equal(revoke(store, 1, PRINCIPAL_TOKEN), E_OK);
	struct principal_answer first = find_principal(store, PRINCIPAL_TOKEN, 1);
	assert_true(first.principal->revoked_us > 0);
	for (int64_t at = clock_wall_us(); clock_wall_us() <= at;)
		;
	assert_int_equal(revoke(store, 1, PRINCIPAL_TOKEN), E_OK);
	struct principal_answer again = find_principal(store, PRINCIPAL_TOKEN, 1);
	assert_true(again.principal->revoked_us == first.principal->revoked_us);
	principal_free(first.principal);
	principal_free(again.principal);
	assert_trail(store, contract_id(1), "token.create@tester token.revoke@tester ");
}

/* ---- identities ---- */

/* Of a user of this machine. */
static struct principal_answer find_peer(struct store *store, enum principal_kind kind, uint8_t hash,
					 bool needs_both, unsigned names, const char *const *uids)
{
	struct principal_answer a = {0};
	struct store_claim claim = {.kind = kind, .needs_both = needs_both};
	struct peer *peer = calloc(1, sizeof(*peer));

	assert_non_null(peer);
	for (unsigned i = 0; i < names; i++)
		assert_int_equal(peer_add(peer, IDENTITY_UNIX_UID, uids[i]), E_OK);
	claim.peer = peer;
	memset(claim.secret_hash, hash, sizeof(claim.secret_hash));
	store_principal_find(store, &claim, principal_done, &a);
	peer_free(peer); /* it was copied */
	store_wait(store, &a.done);
	return a;
}

/* The id of whoever is found, and by what; NULL: what is returned is the error. */
static enum err find_user(struct store *store, const char *uid, const char *expected_id)
{
	struct principal_answer a = find_peer(store, 0, 0, false, 1, &uid);

	if (a.e == E_OK && expected_id) {
		assert_string_equal(a.principal->id, expected_id);
		assert_int_equal(a.principal->known_by.kind, IDENTITY_UNIX_UID);
		assert_string_equal(a.principal->known_by.value, uid);
	}
	principal_free(a.principal);
	return a.e;
}

static enum err add_peer(struct store *store, unsigned n, const char *uid)
{
	struct principal p = {.kind = PRINCIPAL_PEER, .name = text("peer")};
	struct contract_done d = {0};

	strcpy(p.id, contract_id(n));
	p.identities = calloc(1, sizeof(*p.identities));
	assert_non_null(p.identities);
	p.identities[p.identities_len++] = (struct identity){IDENTITY_UNIX_UID, text(uid)};
	store_principal_add(store, &p, &contract_origin, contract_done_fn, &d);
	principal_release(&p);
	store_wait(store, &d.done);
	return d.e;
}

static enum err bind_user(struct store *store, unsigned n, const char *uid, bool removes)
{
	struct contract_done d = {0};
	struct store_identity_change in = {
	    .principal_id = contract_id(n), .kind = IDENTITY_UNIX_UID, .value = uid, .removes = removes};

	store_identity_change(store, &in, &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	return d.e;
}

/* F348: an identity is one principal's; it comes and goes, and is free once its principal is revoked. */
static void identities_are_bound_to_one_principal(void **state)
{
	struct store *store = *state;

	assert_int_equal(add_peer(store, 1, "1000"), E_OK);
	assert_int_equal(add_peer(store, 2, "1000"), E_EXISTS);
	assert_int_equal(add_peer(store, 2, "1001"), E_OK);
	assert_int_equal(add_principal(store, 3, PRINCIPAL_TOKEN, "ci", NULL, 0), E_OK);
	assert_int_equal(find_user(store, "1000", contract_id(1)), E_OK);
	assert_int_equal(find_user(store, "1002", NULL), E_NOTFOUND);
	assert_int_equal(bind_user(store, 3, "1000", false), E_EXISTS);
	assert_int_equal(bind_user(store, 3, "1002", false), E_OK);
	assert_int_equal(bind_user(store, 3, "1002", false), E_EXISTS);
	assert_int_equal(bind_user(store, 9, "1003", false), E_NOTFOUND);
	assert_int_equal(find_user(store, "1002", contract_id(3)), E_OK);
	assert_int_equal(bind_user(store, 1, "1002", true), E_NOTFOUND);
	assert_int_equal(bind_user(store, 3, "1002", true), E_OK);
	assert_int_equal(bind_user(store, 3, "1002", true), E_NOTFOUND);
	assert_int_equal(find_user(store, "1002", NULL), E_NOTFOUND);
	assert_int_equal(revoke(store, 1, PRINCIPAL_PEER), E_OK);
	struct principal_answer a = find_peer(store, 0, 0, false, 1, (const char *const[]){"1000"});
	assert_int_equal(a.e, E_OK);
	assert_true(a.principal->revoked_us > 0);
	principal_free(a.principal);
	assert_int_equal(bind_user(store, 1, "1004", false), E_INVAL);
	assert_int_equal(bind_user(store, 3, "1000", false), E_OK);
	assert_int_equal(find_user(store, "1000", contract_id(3)), E_OK);
}

/* F348: names of two principals are nobody's; beside a secret only those of its own principal count. */
static void identities_of_one_peer_agree(void **state)
{
	static const char *const both[] = {"7", "1000", "1001"}, *const one[] = {"7", "1001"};
	struct store *store = *state;
	struct principal_answer a;

	assert_int_equal(add_peer(store, 1, "1000"), E_OK);
	assert_int_equal(add_principal(store, 2, PRINCIPAL_TOKEN, "ci", NULL, 0), E_OK);
	assert_int_equal(bind_user(store, 2, "1001", false), E_OK);
	a = find_peer(store, 0, 0, false, 3, both);
	assert_int_equal(a.e, E_EXISTS);
	a = find_peer(store, 0, 0, false, 2, one);
	assert_int_equal(a.e, E_OK);
	assert_string_equal(a.principal->id, contract_id(2));
	principal_free(a.principal);
	a = find_peer(store, PRINCIPAL_TOKEN, 2, true, 2, one);
	assert_int_equal(a.e, E_OK);
	assert_string_equal(a.principal->known_by.value, "1001");
	principal_free(a.principal);
	a = find_peer(store, PRINCIPAL_TOKEN, 2, true, 2, both); /* "7" and "1000" */
	assert_int_equal(a.e, E_OK);
	assert_null(a.principal->known_by.value);
	principal_free(a.principal);
	a = find_peer(store, PRINCIPAL_TOKEN, 2, false, 2, one);
	assert_int_equal(a.e, E_OK);
	assert_null(a.principal->known_by.value);
	principal_free(a.principal);
	a = find_peer(store, 0, 0, false, 0, NULL);
	assert_int_equal(a.e, E_NOTFOUND);
}

/* ---- secrets that are replaced, and uses (F371, F372) ---- */

static enum err roll(struct store *store, unsigned n, unsigned secret, int64_t grace_us)
{
	struct store_roll in = {.kind = PRINCIPAL_TOKEN, .id = contract_id(n), .grace_us = grace_us};
	struct contract_done d = {0};

	memset(in.secret_hash, (int)secret, sizeof(in.secret_hash));
	store_principal_roll(store, &in, &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	return d.e;
}

/* Until when the secret is valid; 0: it is in force.  It is of the principal n. */
static int64_t secret_until_us(struct store *store, uint8_t secret, unsigned n)
{
	struct principal_answer a = find_principal(store, PRINCIPAL_TOKEN, secret);

	assert_int_equal(a.e, E_OK);
	assert_string_equal(a.principal->id, contract_id(n));
	assert_int_equal(a.principal->secret_hash[7], secret);
	int64_t until_us = a.principal->secret_until_us;
	principal_free(a.principal);
	return until_us;
}

static void secrets_are_replaced(void **state)
{
	const int64_t hour_us = INT64_C(3600) * 1000000;
	struct store *store = *state;

	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "ci", NULL, 0), E_OK);
	assert_int_equal(add_principal(store, 2, PRINCIPAL_TOKEN, "other", NULL, 0), E_OK);
	assert_int_equal(secret_until_us(store, 1, 1), 0);
	int64_t before_us = clock_wall_us();
	assert_int_equal(roll(store, 1, 11, hour_us), E_OK);
	int64_t until_us = secret_until_us(store, 1, 1);
	assert_true(until_us >= before_us + hour_us && until_us <= clock_wall_us() + hour_us);
	assert_int_equal(secret_until_us(store, 11, 1), 0);
	/* Another one: what was replaced before ends with it. */
	assert_int_equal(roll(store, 1, 12, 2 * hour_us), E_OK);
	assert_true(secret_until_us(store, 1, 1) <= clock_wall_us());
	assert_true(secret_until_us(store, 11, 1) > clock_wall_us() + hour_us);
	assert_int_equal(secret_until_us(store, 12, 1), 0);
	/* No secret comes back, neither by another roll nor with a new principal. */
	for (unsigned used = 1; used <= 2; used++)
		assert_int_equal(roll(store, 1, used, 0), E_EXISTS);
	assert_int_equal(roll(store, 1, 12, 0), E_EXISTS);
	assert_int_equal(add_principal(store, 11, PRINCIPAL_TOKEN, "new", NULL, 0), E_EXISTS);
	assert_int_equal(secret_until_us(store, 12, 1), 0);
	assert_int_equal(roll(store, 3, 13, 0), E_NOTFOUND);
	assert_int_equal(revoke(store, 1, PRINCIPAL_TOKEN), E_OK);
	assert_int_equal(roll(store, 1, 13, 0), E_NOTFOUND);
	assert_trail(store, contract_id(1),
		     "token.create@tester token.roll@tester token.roll@tester token.revoke@tester ");
}

static void note_use(struct store *store, int64_t at_us)
{
	struct contract_done d = {0};

	store_principal_used(store, contract_id(1), at_us, contract_done_fn, &d);
	store_wait(store, &d.done);
	assert_int_equal(d.e, E_OK);
}

static void the_last_use_only_goes_forward(void **state)
{
	struct store *store = *state;

	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "ci", NULL, 0), E_OK);
	for (int64_t at_us = 3; at_us >= 1; at_us--) {
		note_use(store, at_us);
		struct principal_answer a = find_principal(store, PRINCIPAL_TOKEN, 1);
		assert_int_equal(a.principal->last_used_us, 3);
		principal_free(a.principal);
	}
}

static void principals_done(void *arg, enum err e, const struct principal *principals, size_t len)
{
	struct text_answer *a = arg;

	a->done = true;
	a->e = e;
	a->text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		add_text(a, "%s/%zu ", principals[i].name, principals[i].grants_len);
}

static void principals_are_listed_by_kind(void **state)
{
	static const struct grant grants[] = {{{STORE_ACCOUNT, CONTRACT_ACCOUNT}, GRANT_READ}};
	struct store *store = *state;
	char list[64];
	struct text_answer tokens = {.text = list, .size = sizeof(list)}, users = tokens;

	assert_int_equal(add_principal(store, 2, PRINCIPAL_TOKEN, "b", grants, 1), E_OK);
	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "a", NULL, 0), E_OK);
	assert_int_equal(add_principal(store, 3, PRINCIPAL_USER, "u", grants, 1), E_OK);
	store_principal_list(
	    store, &(struct store_principal_query){.kind = PRINCIPAL_TOKEN, .limit = STORE_LIST_MAX},
	    principals_done, &tokens);
	store_wait(store, &tokens.done);
	assert_string_equal(list, "b/1 a/0 ");
	store_principal_list(store,
			     &(struct store_principal_query){.kind = PRINCIPAL_USER, .limit = STORE_LIST_MAX},
			     principals_done, &users);
	store_wait(store, &users.done);
	assert_string_equal(list, "u/1 ");
}

/* ---- lists by pages (F305) ---- */

static enum err scope_set(struct store *store, const struct store_scope_change *in)
{
	struct contract_done d = {0};

	store_scope_set(store, in, &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	return d.e;
}

/* What a page of any list was: its rows as text, and what the next one begins behind. */
struct list_page {
	struct text_answer text;
	size_t len;
	char last_id[CSR_ID_SIZE];
	int64_t last;
	char room[512];
};

static void list_page_begin(struct list_page *page)
{
	page->text = (struct text_answer){.text = page->room, .size = sizeof(page->room)};
	page->room[0] = '\0';
}

static void account_page_done(void *arg, enum err e, const struct account_record *accounts, size_t len)
{
	struct list_page *page = arg;

	accounts_done(&page->text, e, accounts, len);
	page->len = len;
	if (len > 0)
		strcpy(page->last_id, accounts[len - 1].id);
}

static void zone_page_done(void *arg, enum err e, const struct zone_record *zones, size_t len)
{
	struct list_page *page = arg;

	zones_done(&page->text, e, zones, len);
	page->len = len;
	if (len > 0)
		strcpy(page->last_id, zones[len - 1].id);
}

static void principal_page_done(void *arg, enum err e, const struct principal *principals, size_t len)
{
	struct list_page *page = arg;

	principals_done(&page->text, e, principals, len);
	page->len = len;
	if (len > 0) {
		strcpy(page->last_id, principals[len - 1].id);
		page->last = principals[len - 1].created_us;
	}
}

static void trail_page_done(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct list_page *page = arg;

	audit_done(&page->text, e, records, len);
	page->len = len;
	if (len > 0)
		page->last = records[len - 1].sequence;
}

enum listed { LISTED_ACCOUNTS, LISTED_ZONES, LISTED_TOKENS, LISTED_TRAIL };

/* The page behind the one that `page` is, which it becomes. */
static enum err read_page(struct store *store, enum listed which, unsigned limit, struct list_page *page)
{
	struct store_principal_query tokens = {.kind = PRINCIPAL_TOKEN,
					       .after_created_us = page->last,
					       .after_id = page->last_id,
					       .limit = limit};
	struct store_trail_query trail = {
	    .object = CONTRACT_ACCOUNT, .after_sequence = page->last, .limit = limit};

	list_page_begin(page);
	if (which == LISTED_ACCOUNTS)
		store_account_list(store, page->last_id, limit, account_page_done, page);
	else if (which == LISTED_ZONES)
		store_zone_list(store, page->last_id, limit, zone_page_done, page);
	else if (which == LISTED_TOKENS)
		store_principal_list(store, &tokens, principal_page_done, page);
	else
		store_audit_list(store, &trail, trail_page_done, page);
	store_wait(store, &page->text.done);
	return page->text.e;
}

static void assert_page(struct store *store, enum listed which, struct list_page *page, const char *expected)
{
	assert_int_equal(read_page(store, which, 2, page), E_OK);
	assert_string_equal(page->room, expected);
}

static void accounts_and_zones_come_by_pages(void **state)
{
	struct store *store = *state;
	struct list_page accounts = {.len = 0}, zones = {.len = 0};

	for (char id[] = "b"; id[0] <= 'e'; id[0]++) {
		assert_int_equal(contract_account_add(store, id, 1), E_OK);
		assert_int_equal(contract_zone_add(store, id, CONTRACT_ACCOUNT, 1), E_OK);
	}
	assert_page(store, LISTED_ACCOUNTS, &accounts, "account-1=0 b=0 ");
	assert_page(store, LISTED_ZONES, &zones, "account-1:b=0 account-1:c=0 ");
	/* behind what was read, and before it */
	assert_int_equal(contract_account_add(store, "c-1", 1), E_OK);
	assert_int_equal(contract_account_add(store, "aa", 1), E_OK);
	assert_int_equal(contract_zone_add(store, "c-1", CONTRACT_ACCOUNT, 1), E_OK);
	assert_int_equal(contract_zone_add(store, "aa", CONTRACT_ACCOUNT, 1), E_OK);
	assert_page(store, LISTED_ACCOUNTS, &accounts, "c=0 c-1=0 ");
	assert_page(store, LISTED_ACCOUNTS, &accounts, "d=0 e=0 ");
	assert_page(store, LISTED_ACCOUNTS, &accounts, "");
	assert_page(store, LISTED_ZONES, &zones, "account-1:c-1=0 account-1:d=0 ");
	assert_page(store, LISTED_ZONES, &zones, "account-1:e=0 account-1:zone-1=0 ");
	assert_page(store, LISTED_ZONES, &zones, "");
}

static void principals_come_by_pages(void **state)
{
	static const struct grant grants[] = {{{STORE_ACCOUNT, CONTRACT_ACCOUNT}, GRANT_READ}};
	struct store *store = *state;
	struct list_page page = {.len = 0};

	/* the ids go down while the times go up */
	for (unsigned i = 0; i < 5; i++) {
		char name[] = {(char)('a' + i), '\0'};

		assert_int_equal(add_principal(store, 9 - i, PRINCIPAL_TOKEN, name, grants, i % 2), E_OK);
		for (int64_t made = clock_wall_us(); clock_wall_us() <= made;)
			;
	}
	assert_int_equal(add_principal(store, 20, PRINCIPAL_USER, "u", NULL, 0), E_OK);
	assert_page(store, LISTED_TOKENS, &page, "a/0 b/1 ");
	assert_int_equal(revoke(store, 9, PRINCIPAL_TOKEN), E_OK);
	assert_int_equal(revoke(store, 7, PRINCIPAL_TOKEN), E_OK);
	assert_int_equal(add_principal(store, 1, PRINCIPAL_TOKEN, "f", NULL, 0), E_OK);
	assert_page(store, LISTED_TOKENS, &page, "c/0 d/1 ");
	assert_page(store, LISTED_TOKENS, &page, "e/0 f/0 ");
	assert_page(store, LISTED_TOKENS, &page, "");
}

static void trail_comes_by_pages(void **state)
{
	struct store *store = *state;
	struct store_scope_change change = {.scope = contract_account, .name = "new name"};
	struct list_page page = {.len = 0};

	for (int i = 0; i < 3; i++)
		assert_int_equal(scope_set(store, &change), E_OK);
	assert_page(store, LISTED_TRAIL, &page, "account.add@tester account.set@tester ");
	assert_int_equal(scope_set(store, &change), E_OK);
	assert_page(store, LISTED_TRAIL, &page, "account.set@tester account.set@tester ");
	assert_page(store, LISTED_TRAIL, &page, "account.set@tester ");
	assert_page(store, LISTED_TRAIL, &page, "");
}

static void pages_out_of_range_are_refused(void **state)
{
	struct store *store = *state;
	struct list_page page = {.len = 0};

	for (int which = LISTED_ACCOUNTS; which <= LISTED_TRAIL; which++) {
		assert_int_equal(read_page(store, (enum listed)which, 0, &page), E_INVAL);
		assert_int_equal(read_page(store, (enum listed)which, STORE_LIST_MAX + 1, &page), E_INVAL);
		assert_int_equal(page.len, 0);
		assert_int_equal(read_page(store, (enum listed)which, STORE_LIST_MAX, &page), E_OK);
		page = (struct list_page){.len = 0};
	}
}

/* ---- together ---- */

static void failing_operation_leaves_its_neighbours(void **state)
{
	struct store *store = *state;
	struct account_record account = {.csr_quota = 1};
	struct contract_done d[3] = {0};

	for (int i = 0; i < 3; i++) {
		snprintf(account.id, sizeof(account.id), "batch-%d", i == 2 ? 2 : 0);
		store_account_add(store, &account, &contract_origin, contract_done_fn, &d[i]);
	}
	for (int i = 0; i < 3; i++)
		store_wait(store, &d[i].done);
	assert_int_equal(d[0].e, E_OK);
	assert_int_equal(d[1].e, E_EXISTS);
	assert_int_equal(d[2].e, E_OK);
	assert_counts(store, "account-1=0 batch-0=0 batch-2=0 ", "account-1:zone-1=0 ");
}

/* ---- a store that went back (F101, F102) ---- */

struct mark_answer {
	bool done;
	enum err e;
	struct store_mark mark;
	uint64_t rows;
};

static void mark_done(void *arg, enum err e, const struct store_mark *mark)
{
	struct mark_answer *a = arg;

	a->done = true;
	a->e = e;
	a->mark = *mark;
}

static struct store_mark mark_of(struct store *store, const char *token_name)
{
	struct mark_answer a = {0};

	store_mark_get(store, token_name, mark_done, &a);
	store_wait(store, &a.done);
	assert_int_equal(a.e, E_OK);
	return a.mark;
}

static void set_aside_done(void *arg, enum err e, uint64_t rows)
{
	struct mark_answer *a = arg;

	a->done = true;
	a->e = e;
	a->rows = rows;
}

static uint64_t set_aside(struct store *store, const char *token_name, uint8_t lineage, bool went_back)
{
	struct store_set_aside in = {.token_name = token_name,
				     .lineage = {lineage},
				     .went_back = went_back,
				     .origin = contract_origin};
	struct mark_answer a = {0};

	store_set_aside(store, &in, set_aside_done, &a);
	store_wait(store, &a.done);
	assert_int_equal(a.e, E_OK);
	return a.rows;
}

static int64_t set_aside_us_of(struct store *store, unsigned n)
{
	struct csr_record *r;

	assert_int_equal(contract_get(store, NULL, contract_id(n), &r), E_OK);
	int64_t us = r->set_aside_us;
	csr_record_free(r);
	return us;
}

static void open_rows_of_one_token_are_set_aside_and_no_others(void **state)
{
	struct store *store = *state;
	struct csr_record *other = contract_record(4, &contract_account);
	struct store_mark before, after;

	target->add_pending(1, &contract_account, "key", 1);
	contract_make_active(store, 2, &contract_account);
	contract_make_active(store, 3, &contract_account);
	strcpy(other->token_name, "other");
	assert_int_equal(outcome_of(store, other, NULL, 0), STORE_BEGIN_NEW);
	assert_int_equal(contract_delete_begin(store, 4, &contract_account), E_OK);
	assert_int_equal(contract_delete_begin(store, 3, &contract_account), E_OK);
	before = mark_of(store, "default");
	assert_false(before.has_lineage);

	assert_int_equal(set_aside(store, "default", 7, true), 2);
	after = mark_of(store, "default");
	assert_true(after.has_lineage);
	assert_int_equal(after.lineage[0], 7);
	assert_int_equal(after.sequence, before.sequence + 3);
	assert_false(mark_of(store, "other").has_lineage);

	assert_int_equal(state_of(store, 1), CSR_FAILED);
	assert_int_equal(state_of(store, 2), CSR_ACTIVE);
	assert_int_equal(state_of(store, 3), CSR_DELETING);
	assert_int_equal(state_of(store, 4), CSR_DELETING);
	assert_true(set_aside_us_of(store, 1) > 0 && set_aside_us_of(store, 3) > 0);
	assert_true(set_aside_us_of(store, 2) == 0 && set_aside_us_of(store, 4) == 0);
	assert_trail(store, contract_id(1), "csr.pending@tester csr.failed@tester ");
	assert_trail(store, contract_id(3), "csr.active@tester csr.deleting@tester csr.set-aside@tester ");
	assert_trail(store, "store", "store.rolled-back@tester ");
	/* As any failed row: it counts no more, and its idempotency key is free. */
	assert_counts(store, "account-1=3 ", "account-1:zone-1=0 ");
	assert_int_equal(outcome_of(store, contract_record(5, &contract_account), "key", 2), STORE_BEGIN_NEW);
	/* A new DELETE goes on from deleting, and the mark stays. */
	assert_int_equal(contract_move(store, 3, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_true(set_aside_us_of(store, 3) > 0);
}

static void count_commit(void *arg)
{
	++*(unsigned *)arg;
}

static void what_is_set_aside_is_so_once(void **state)
{
	struct store *store = *state;
	unsigned commits = 0;

	assert_int_equal(set_aside(store, "default", 1, false), 0);
	assert_trail(store, "store", "");
	assert_int_equal(set_aside(store, "default", 2, true), 0);
	assert_trail(store, "store", "store.rolled-back@tester ");
	assert_int_equal(mark_of(store, "default").lineage[0], 2);
	target->add_pending(1, &contract_account, NULL, 0);
	store_on_commit(store, count_commit, &commits);
	assert_int_equal(set_aside(store, "default", 3, false), 1);
	assert_int_equal(commits, 1);
	int64_t at = set_aside_us_of(store, 1);
	assert_int_equal(set_aside(store, "default", 4, false), 0);
	assert_true(set_aside_us_of(store, 1) == at);
	assert_int_equal(commits, 2); /* reads commit nothing */
	store_on_commit(store, NULL, NULL);
}

static void tell_leftover(struct store *store, bool gone)
{
	struct contract_done d = {0};

	store_csr_leftover(store, contract_id(1), gone, &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	assert_int_equal(d.e, E_OK);
}

/* F109: a key that the token does not let go of is told once, and again only after it had gone. */
static void leftover_is_told_once(void **state)
{
	struct store *store = *state;

	target->add_pending(1, &contract_account, NULL, 0);
	assert_int_equal(contract_move(store, 1, CSR_PENDING, CSR_FAILED), E_OK);
	for (int i = 0; i < 3; i++)
		tell_leftover(store, false);
	assert_trail(store, contract_id(1), "csr.pending@tester csr.failed@tester csr.leftover@tester ");
	tell_leftover(store, true);
	tell_leftover(store, false);
	assert_trail(store, contract_id(1),
		     "csr.pending@tester csr.failed@tester csr.leftover@tester csr.leftover-destroyed@tester "
		     "csr.leftover@tester ");
}

static void leftover_is_told_in_the_trail_alone(void **state)
{
	struct store *store = *state;
	struct contract_done d = {0};

	target->add_pending(1, &contract_account, NULL, 0);
	assert_int_equal(contract_move(store, 1, CSR_PENDING, CSR_FAILED), E_OK);
	store_csr_leftover(store, contract_id(1), false, &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	assert_int_equal(d.e, E_OK);
	assert_trail(store, contract_id(1), "csr.pending@tester csr.failed@tester csr.leftover@tester ");
	assert_int_equal(contract_move(store, 1, CSR_PENDING, CSR_FAILED), E_NOTFOUND);
}

static void scope_done(void *arg, enum err e, const struct account_record *accounts, size_t len)
{
	struct text_answer *a = arg;

	a->done = true;
	a->e = e;
	assert_int_equal(len, 1);
	add_text(a, "%s %lld", accounts[0].name, (long long)accounts[0].csr_quota);
}

static void assert_account(struct store *store, const char *expected)
{
	char list[256] = "";
	struct text_answer a = {.text = list, .size = sizeof(list)};

	store_account_list(store, NULL, STORE_LIST_MAX, scope_done, &a);
	store_wait(store, &a.done);
	assert_string_equal(list, expected);
}

static void account_is_changed_in_part(void **state) /* F196 */
{
	struct store *store = *state;
	struct store_scope_change change = {.scope = contract_account, .name = "new name"};

	assert_int_equal(outcome_of(store, contract_record(1, &contract_account), NULL, 0), STORE_BEGIN_NEW);
	change.sets_quota = true;
	change.csr_quota = 1;
	assert_int_equal(scope_set(store, &change), E_OK);
	assert_account(store, "new name 1");
	assert_int_equal(outcome_of(store, contract_record(2, &contract_account), NULL, 0),
			 STORE_BEGIN_QUOTA);
	change.name = NULL;
	change.csr_quota = STORE_NO_LIMIT;
	assert_int_equal(scope_set(store, &change), E_OK);
	assert_account(store, "new name -1");
	change.sets_quota = false;
	change.csr_quota = 7;
	change.name = "";
	assert_int_equal(scope_set(store, &change), E_OK);
	assert_account(store, " -1");
	assert_int_equal(outcome_of(store, contract_record(2, &contract_account), NULL, 0), STORE_BEGIN_NEW);
	change.scope = contract_zone;
	assert_int_equal(scope_set(store, &change), E_OK);
	strcpy(change.scope.id, "nowhere");
	assert_int_equal(scope_set(store, &change), E_NOTFOUND);
	assert_trail(store, CONTRACT_ACCOUNT,
		     "account.add@tester account.set@tester account.set@tester "
		     "account.set@tester ");
	assert_trail(store, CONTRACT_ZONE, "zone.add@tester zone.set@tester ");
}

static void search_done(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct text_answer *a = arg;

	a->done = true;
	a->e = e;
	a->text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		add_text(a, "%lld ", (long long)records[i].sequence);
	if (len > 0)
		a->last = records[len - 1].at_us;
}

static enum err search(struct store *store, const struct store_audit_query *query, char *text, size_t size,
		       int64_t *ret_at_us)
{
	struct text_answer a = {.text = text, .size = size};

	store_audit_search(store, query, search_done, &a);
	store_wait(store, &a.done);
	*ret_at_us = a.last;
	return a.e;
}

static void assert_search(struct store *store, const struct store_audit_query *query, const char *expected)
{
	char text[256];
	int64_t ignored;

	assert_int_equal(search(store, query, text, sizeof(text), &ignored), E_OK);
	assert_string_equal(text, expected);
}

static void trail_is_searched(void **state) /* F197 */
{
	struct store *store = *state;
	struct store_audit_query q = {.limit = 3};
	char text[256];
	int64_t at_us;

	/* 1 and 2 are account and zone */
	contract_make_active(store, 1, &contract_account);
	for (int64_t made = clock_wall_us(); clock_wall_us() <= made;)
		;
	assert_int_equal(contract_delete_begin(store, 1, &contract_account), E_OK);
	assert_search(store, &q, "4 3 2 ");
	q.below_sequence = 2;
	assert_search(store, &q, "1 ");
	q = (struct store_audit_query){.limit = 9, .action = "csr"};
	assert_search(store, &q, "4 3 ");
	q.action = "csr.active";
	assert_search(store, &q, "3 ");
	q.action = "csr.act";
	assert_search(store, &q, "");
	q = (struct store_audit_query){.limit = 9, .object = CONTRACT_ZONE};
	assert_search(store, &q, "2 ");
	q = (struct store_audit_query){.limit = 9, .actor = "tester"};
	assert_search(store, &q, "4 3 2 1 ");
	q.actor = "teste";
	assert_search(store, &q, "");
	q = (struct store_audit_query){.limit = 1};
	assert_int_equal(search(store, &q, text, sizeof(text), &at_us), E_OK);
	q = (struct store_audit_query){.limit = 9, .since_us = at_us};
	assert_search(store, &q, "4 ");
	q = (struct store_audit_query){.limit = 9, .until_us = at_us};
	assert_search(store, &q, "3 2 1 ");
	q.limit = 0;
	assert_int_equal(search(store, &q, text, sizeof(text), &at_us), E_INVAL);
	q.limit = 1001;
	assert_int_equal(search(store, &q, text, sizeof(text), &at_us), E_INVAL);
}

static void backup_is_told_in_the_trail(void **state)
{
	struct store *store = *state;
	struct contract_done d = {0};

	store_note_backup(store, &contract_origin, contract_done_fn, &d);
	store_wait(store, &d.done);
	assert_int_equal(d.e, E_OK);
	assert_trail(store, "store", "store.backup@tester ");
}

static void audit_has_no_gaps(void **state)
{
	struct store *store = *state;
	char trail[64];
	int64_t last;

	/* contract_fill made 1 and 2; refused changes take no number. */
	assert_int_equal(contract_account_add(store, CONTRACT_ACCOUNT, 1), E_EXISTS);
	assert_int_equal(contract_move(store, 1, CSR_PENDING, CSR_FAILED), E_NOTFOUND);
	assert_int_equal(outcome_of(store, contract_record(1, &contract_account), NULL, 0), STORE_BEGIN_NEW);
	assert_int_equal(contract_audit(store, contract_id(1), trail, sizeof(trail), &last), E_OK);
	assert_int_equal(last, 3);
	struct contract_begin b = contract_begin(store, contract_record(1, &contract_account), NULL, 0);
	assert_int_equal(b.e, E_EXISTS);
	assert_int_equal(contract_audit(store, contract_id(1), trail, sizeof(trail), &last), E_OK);
	assert_int_equal(last, 3);
}

static void many_at_once_are_all_done(void **state)
{
	enum { MANY = 600 };
	struct store *store = *state;
	static struct contract_begin b[MANY];

	for (unsigned i = 0; i < MANY; i++)
		contract_begin_ask(store, contract_record(i + 1, &contract_zone), NULL, 0, &b[i]);
	for (unsigned i = 0; i < MANY; i++) {
		store_wait(store, &b[i].done);
		assert_int_equal(b[i].e, E_OK);
		assert_int_equal(b[i].outcome, STORE_BEGIN_NEW);
		contract_begin_release(&b[i]);
	}
	assert_counts(store, "account-1=0 ", "account-1:zone-1=600 ");
}

static void all_is_there_after_a_restart(void **state)
{
	struct store *store = *state;

	assert_int_equal(outcome_of(store, contract_record(1, &contract_account), "k", 1), STORE_BEGIN_NEW);
	assert_int_equal(add_principal(store, 3, PRINCIPAL_TOKEN, "ci", NULL, 0), E_OK);
	store_close(store);
	*state = store = open_or_fail();
	assert_list(store, &all_active, "1 /1");
	assert_int_equal(outcome_of(store, contract_record(2, &contract_account), "k", 1),
			 STORE_BEGIN_REPLAY);
	assert_int_equal(find_principal_error(store, PRINCIPAL_TOKEN, 3), E_OK);
	assert_trail(store, contract_id(1), "csr.active@tester ");
	assert_counts(store, "account-1=1 ", "account-1:zone-1=0 ");
}

static void ping_is_answered(void **state)
{
	assert_int_equal(contract_ping(*state), E_OK);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int store_contract_run(const struct store_contract_target *t)
{
	const struct CMUnitTest cases[] = {
	    CASE(new_csr_is_active_and_whole),
	    CASE(key_is_kept_and_time_of_creation_stays),
	    CASE(strings_are_kept_literally),
	    CASE(sans_keep_order_case_and_number),
	    CASE(san_with_a_newline_is_refused),
	    CASE(id_in_use_is_refused),
	    CASE(unknown_scope_is_said),
	    CASE(key_seen_before_decides),
	    CASE(pending_create_is_in_flight_until_it_failed),
	    CASE(keys_belong_to_principal_and_scope),
	    CASE(old_keys_are_forgotten),
	    CASE(one_key_many_times_at_once),
	    CASE(versions_of_a_policy_stay),
	    CASE(csr_is_added_under_the_policies_in_force),
	    CASE(quota_counts_what_may_have_a_key),
	    CASE(zone_and_account_count_apart),
	    CASE(known_key_is_answered_before_the_quota),
	    CASE(only_legal_moves_are_made),
	    CASE(move_needs_the_state_it_names),
	    CASE(whole_life_leaves_its_trail),
	    CASE(failed_create_is_shut),
	    CASE(key_of_another_csr_is_refused),
	    CASE(delete_goes_by_scope_and_state),
	    CASE(get_goes_by_scope),
	    CASE(list_has_three_orders_and_two_directions),
	    CASE(list_pages_cover_all_once),
	    CASE(list_shows_active_ones_of_its_scope),
	    CASE(list_by_age_of_state),
	    CASE(list_is_filtered),
	    CASE(pass_goes_by_id),
	    CASE(list_out_of_range_is_refused),
	    CASE(accounts_and_zones_are_added_once),
	    CASE(principal_is_found_by_hash_with_its_grants),
	    CASE(identities_are_bound_to_one_principal),
	    CASE(identities_of_one_peer_agree),
	    CASE(principal_with_a_wrong_grant_is_not_added),
	    CASE(secrets_and_addresses_are_unique),
	    CASE(revoking_twice_keeps_the_first_time),
	    CASE(secrets_are_replaced),
	    CASE(the_last_use_only_goes_forward),
	    CASE(principals_are_listed_by_kind),
	    CASE(accounts_and_zones_come_by_pages),
	    CASE(principals_come_by_pages),
	    CASE(trail_comes_by_pages),
	    CASE(pages_out_of_range_are_refused),
	    CASE(failing_operation_leaves_its_neighbours),
	    CASE(leftover_is_told_in_the_trail_alone),
	    CASE(leftover_is_told_once),
	    CASE(open_rows_of_one_token_are_set_aside_and_no_others),
	    CASE(what_is_set_aside_is_so_once),
	    CASE(account_is_changed_in_part),
	    CASE(trail_is_searched),
	    CASE(backup_is_told_in_the_trail),
	    CASE(audit_has_no_gaps),
	    CASE(many_at_once_are_all_done),
	    CASE(all_is_there_after_a_restart),
	    CASE(ping_is_answered),
	};

	target = t;
	return cmocka_run_group_tests_name(t->name, cases, NULL, NULL);
}
