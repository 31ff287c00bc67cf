/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciliation over the real store and a signer made of a list: every line
 * of the table in api/reconcile.h, and what happens when rows and keys change
 * while a pass looks at them.
 */
#include "base/uuid.h"
#include "tests/unit/cmocka_all.h"

#include "api/reconcile.h"
#include "base/clock.h"
#include "base/str.h"
#include "tests/fakes/old_rows.h"

#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOKEN "default"
#define ACCOUNT "acme"
#define WAIT_MS 20000
#define MANY 10000

/* ---- a signer made of a list ---- */

enum call_kind { CALL_FIND = 1, CALL_DESTROY, CALL_LIST, CALL_CONFIRM, CALL_UNSETTLED };
#define CALLS (CALL_UNSETTLED + 1)

struct stub_key {
	char label[64];
	enum message_key_presence presence; /* NONE: gone */
	uint8_t key_id[KEY_ID_BYTES];
	enum message_key_life life;
	char csr_id[CSR_ID_SIZE]; /* that it was used for, as the signer knows it */
};

struct call {
	enum call_kind kind;
	char id[64]; /* the label, without "csrd:" */
	uint64_t from;
	hsm_find_key_fn found;
	hsm_destroy_key_fn destroyed;
	hsm_list_keys_fn listed;
	hsm_confirm_fn confirmed;
	hsm_unsettled_fn unsettled;
	void *arg;
};

struct hsm {
	struct stub_key *keys;
	size_t keys_len;
	struct call call; /* kind 0: none; a pass has one call in flight */
	unsigned calls[CALLS];
	enum err fail[CALLS];
	char fail_id[64]; /* "": every id */
	char confirming[MESSAGE_CONFIRM_MAX][KEY_LABEL_SIZE];
	size_t confirming_len;
	size_t page_keys; /* of UNSETTLED */
	bool down;
	size_t part_keys;
	uint32_t unread; /* what list_keys says of objects that it could not read */
	bool list_stale; /* list_keys shows `stale` instead of what is there */
	struct stub_key *stale;
	size_t stale_len;
	/* After the answer was found and before it is given. */
	void (*before_answer)(void *arg, enum call_kind kind, const char *id);
	void *hook_arg;
};

bool hsm_is_up(const struct hsm *hsm)
{
	return !hsm->down;
}

const char *hsm_token_name(const struct hsm *hsm)
{
	(void)hsm;
	return TOKEN;
}

static struct call *put_call(struct hsm *hsm, enum call_kind kind, const char *id, void *arg)
{
	assert_int_equal(hsm->call.kind, 0);
	memset(&hsm->call, 0, sizeof(hsm->call));
	hsm->call.kind = kind;
	assert_int_equal(
	    str_copy(hsm->call.id, sizeof(hsm->call.id), id + (str_starts_with(id, "csrd:") ? 5 : 0)), E_OK);
	hsm->call.arg = arg;
	return &hsm->call;
}

void hsm_find_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_find_key_fn done, void *arg)
{
	assert_true(deadline_ms > clock_ms());
	assert_true(key_label_is_valid(label));
	put_call(hsm, CALL_FIND, label, arg)->found = done;
}

void hsm_destroy_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_destroy_key_fn done,
		     void *arg)
{
	assert_true(deadline_ms > clock_ms());
	assert_true(key_label_is_valid(label));
	put_call(hsm, CALL_DESTROY, label, arg)->destroyed = done;
}

void hsm_list_keys(struct hsm *hsm, uint64_t deadline_ms, hsm_list_keys_fn done, void *arg)
{
	assert_true(deadline_ms > clock_ms());
	put_call(hsm, CALL_LIST, "", arg)->listed = done;
}

void hsm_confirm(struct hsm *hsm, const struct message_confirm *confirm, uint64_t deadline_ms,
		 hsm_confirm_fn done, void *arg)
{
	assert_true(deadline_ms > clock_ms());
	assert_false(confirm->kept);
	assert_true(confirm->labels_len > 0);
	memcpy(hsm->confirming, confirm->labels, confirm->labels_len * KEY_LABEL_SIZE);
	hsm->confirming_len = confirm->labels_len;
	put_call(hsm, CALL_CONFIRM, "", arg)->confirmed = done;
}

void hsm_unsettled(struct hsm *hsm, uint64_t from, uint64_t deadline_ms, hsm_unsettled_fn done, void *arg)
{
	struct call *call = put_call(hsm, CALL_UNSETTLED, "", arg);

	assert_true(deadline_ms > clock_ms());
	call->unsettled = done;
	call->from = from;
}

static struct stub_key *key_of(struct hsm *hsm, const char *id)
{
	for (size_t i = 0; i < hsm->keys_len; i++)
		if (hsm->keys[i].presence != MESSAGE_KEY_NONE &&
		    (!strcmp(hsm->keys[i].label, id) || !strcmp(hsm->keys[i].label + 5, id)))
			return &hsm->keys[i];
	return NULL;
}

static enum err failure_of(const struct hsm *hsm, const struct call *call)
{
	return !hsm->fail_id[0] || !strcmp(hsm->fail_id, call->id) ? hsm->fail[call->kind] : E_OK;
}

static void answer_list(struct hsm *hsm, const struct call *call)
{
	const struct stub_key *keys = hsm->list_stale ? hsm->stale : hsm->keys;
	size_t len = hsm->list_stale ? hsm->stale_len : hsm->keys_len, at = 0;
	struct message_listed_key listed[MESSAGE_LIST_PART_KEYS];
	struct message_list_keys_part part = {.keys = listed, .unread = hsm->unread};

	do {
		for (part.keys_len = 0; at < len && part.keys_len < hsm->part_keys; at++) {
			struct message_listed_key *key = &listed[part.keys_len];

			if (keys[at].presence == MESSAGE_KEY_NONE)
				continue;
			key->label = strdup(keys[at].label);
			key->presence = keys[at].presence;
			key->life = keys[at].life;
			memcpy(key->key_id, keys[at].key_id, KEY_ID_BYTES);
			part.keys_len++;
		}
		part.last = at == len;
		call->listed(call->arg, E_OK, "", &part);
		for (size_t i = 0; i < part.keys_len; i++)
			free(listed[i].label);
	} while (!part.last);
}

static void answer_find(const struct stub_key *key, const struct call *call, enum err e)
{
	struct message_find_key_reply reply = {.presence = key ? key->presence : MESSAGE_KEY_NONE};

	if (key)
		memcpy(reply.key_id, key->key_id, KEY_ID_BYTES);
	call->found(call->arg, e, "as told", e == E_OK ? &reply : NULL);
}

static void answer_confirm(struct hsm *hsm, const struct call *call, enum err e)
{
	for (size_t i = 0; e == E_OK && i < hsm->confirming_len; i++) {
		struct stub_key *key = key_of(hsm, hsm->confirming[i]);

		assert_non_null(key);
		key->life = MESSAGE_LIFE_NONE;
	}
	call->confirmed(call->arg, e, "as told");
}

/* The index of a key in the list is that of its entry in the journal. */
static void answer_unsettled(struct hsm *hsm, const struct call *call)
{
	struct message_unsettled_key keys[MESSAGE_UNSETTLED_MAX] = {0};
	struct message_unsettled_reply reply = {.keys = keys};

	for (size_t i = call->from; i < hsm->keys_len && !reply.more; i++) {
		const struct stub_key *key = &hsm->keys[i];
		struct message_unsettled_key *told = &keys[reply.keys_len];

		if (key->life != MESSAGE_LIFE_USED)
			continue;
		if (reply.keys_len == hsm->page_keys) {
			reply.more = true;
			break;
		}
		snprintf(told->label, sizeof(told->label), "%.*s", (int)KEY_LABEL_SIZE - 1, key->label);
		snprintf(told->csr_id, sizeof(told->csr_id), "%s", key->csr_id);
		told->journal_index = i;
		reply.keys_len++;
	}
	call->unsettled(call->arg, E_OK, "", &reply);
}

/* Answers the call in flight. */
static void hsm_step(struct hsm *hsm)
{
	struct call call = hsm->call;
	struct stub_key *key = key_of(hsm, call.id);
	struct stub_key seen = key ? *key : (struct stub_key){.presence = MESSAGE_KEY_NONE};
	enum err e = failure_of(hsm, &call);

	hsm->call.kind = 0;
	hsm->calls[call.kind]++;
	if (call.kind == CALL_DESTROY && e == E_OK && key) {
		key->presence = MESSAGE_KEY_NONE;
		key->life = MESSAGE_LIFE_NONE;
	}
	if (hsm->before_answer)
		hsm->before_answer(hsm->hook_arg, call.kind, call.id);
	if (call.kind == CALL_FIND)
		answer_find(key ? &seen : NULL, &call, e);
	else if (call.kind == CALL_DESTROY)
		call.destroyed(call.arg, e, "as told", key ? 2 : 0);
	else if (call.kind == CALL_CONFIRM)
		answer_confirm(hsm, &call, e);
	else if (call.kind == CALL_UNSETTLED && e != E_OK)
		call.unsettled(call.arg, e, "as told", NULL);
	else if (call.kind == CALL_UNSETTLED)
		answer_unsettled(hsm, &call);
	else if (e != E_OK)
		call.listed(call.arg, e, "as told", NULL);
	else
		answer_list(hsm, &call);
}

static void hsm_put(struct hsm *hsm, const char *id, enum message_key_presence presence,
		    uint8_t first_key_id_byte)
{
	struct stub_key *key;

	hsm->keys = realloc(hsm->keys, (hsm->keys_len + 1) * sizeof(*hsm->keys));
	key = &hsm->keys[hsm->keys_len++];
	memset(key, 0, sizeof(*key));
	snprintf(key->label, sizeof(key->label), "csrd:%s", id);
	key->presence = presence;
	/* The key id that make_row gives the row of that id, but for its first byte. */
	assert_true(strlen(id) < KEY_ID_BYTES || uuid_is_valid(id));
	if (uuid_is_valid(id))
		memcpy(key->key_id, id + 36 - KEY_ID_BYTES, KEY_ID_BYTES);
	if (first_key_id_byte)
		key->key_id[0] = first_key_id_byte;
}

/* The name of key n; static, of the last 4 calls. */
static const char *name_of(unsigned n)
{
	static char names[4][KEY_NAME_SIZE];
	static unsigned at;
	char *name = names[at++ % 4];
	uint8_t bytes[KEY_NAME_BYTES] = {0xaa, 0xbb, 0xcc, 0xdd};

	memcpy(bytes + KEY_NAME_BYTES - sizeof(n), &n, sizeof(n));
	key_name_format(name, bytes);
	return name;
}

/* A key with a name, of which the signer knows so much; csr_id: that it was used for. */
static void hsm_put_named(struct hsm *hsm, unsigned n, enum message_key_life life, const char *csr_id)
{
	struct stub_key *key;

	hsm_put(hsm, "", MESSAGE_KEY_PAIR, 0);
	key = &hsm->keys[hsm->keys_len - 1];
	snprintf(key->label, sizeof(key->label), "%s", name_of(n));
	assert_true(key_name_parse(key->label, key->key_id));
	key->life = life;
	snprintf(key->csr_id, sizeof(key->csr_id), "%s", csr_id);
}

/* ---- the house of one test ---- */

struct finding {
	enum reconcile_finding finding;
	char id[CSR_ID_SIZE];
	char label[64];
	enum message_key_presence presence;
};

struct house {
	char folder[64];
	char url[96];
	struct store *store;
	sqlite3 *old; /* for what csrd 0.1 did */
	struct hsm hsm;
	unsigned outstanding; /* calls to the store by the test itself */
	const char *in_work;
	unsigned steps_left; /* for should_stop */
	struct finding findings[1024];
	size_t findings_len;
	bool done;
	enum err e;
	struct reconcile_report report;
	uint64_t longest_us; /* longest stretch on the loop */
};

static void on_done(void *arg, enum err e)
{
	struct house *h = arg;

	assert_true(e == E_OK);
	h->outstanding--;
}

static void on_added(void *arg, enum err e, enum store_begin outcome, struct csr_record *record,
		     struct store_policies *policies)
{
	assert_null(policies);
	assert_int_equal(outcome, STORE_BEGIN_NEW);
	csr_record_free(record);
	on_done(arg, e);
}

static void on_deleting(void *arg, enum err e, struct csr_record *record)
{
	csr_record_free(record);
	on_done(arg, e);
}

static void poll_store(struct house *h)
{
	struct pollfd p = {.fd = store_fd(h->store), .events = POLLIN};

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	store_dispatch(h->store);
}

static void settle(struct house *h, unsigned outstanding)
{
	while (h->outstanding > outstanding)
		poll_store(h);
}

static int set_up(void **state)
{
	struct house *h = calloc(1, sizeof(*h));
	struct store_options options = {.queue_max = 4096, .create = true};
	struct account_record account = {.id = ACCOUNT, .name = (char[]){""}, .csr_quota = STORE_NO_LIMIT};
	struct audit_origin origin = {.actor = "test"};

	snprintf(h->folder, sizeof(h->folder), "/tmp/csrd-reconcile-XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	snprintf(h->url, sizeof(h->url), "sqlite:%s/csrd.db", h->folder);
	options.url = h->url;
	assert_int_equal(store_open(&options, &h->store), E_OK);
	assert_int_equal(sqlite3_open(h->url + strlen("sqlite:"), &h->old), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h->old, "PRAGMA synchronous = OFF", NULL, NULL, NULL), SQLITE_OK);
	h->hsm.part_keys = MESSAGE_LIST_PART_KEYS;
	h->hsm.page_keys = MESSAGE_UNSETTLED_MAX;
	h->steps_left = UINT32_MAX;
	h->outstanding++;
	store_account_add(h->store, &account, &origin, on_done, h);
	settle(h, 0);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct house *h = *state;
	char command[128];

	sqlite3_close(h->old);
	store_close(h->store);
	free(h->hsm.keys);
	snprintf(command, sizeof(command), "rm -rf '%s'", h->folder);
	assert_int_equal(system(command), 0);
	free(h);
	return 0;
}

static char *text(const char *value)
{
	return strdup(value);
}

/* label NULL: as csrd 0.1 labelled it. */
static struct csr_record *record_of(const char *id, const char *token, const char *label)
{
	struct csr_record *record = calloc(1, sizeof(*record));

	snprintf(record->id, sizeof(record->id), "%s", id);
	record->scope.kind = STORE_ACCOUNT;
	snprintf(record->scope.id, sizeof(record->scope.id), "%s", ACCOUNT);
	snprintf(record->token_name, sizeof(record->token_name), "%s", token);
	snprintf(record->principal_id, sizeof(record->principal_id), "%s",
		 "5a5a5a5a-0000-4000-8000-000000000000");
	record->spec = (struct csr_spec){
	    .key_type = KEY_P256V1,
	    .country = text("DE"),
	    .state = text("Bavaria"),
	    .locality = text("Munich"),
	    .organization = text("Example"),
	    .common_name = text("example.com"),
	};
	assert_int_equal(csr_spec_add_san(&record->spec, SAN_DNS, "example.com"), E_OK);
	record->pem = text("PEM\n");
	record->protection = KEY_PROT_REQUIRED;
	memcpy(record->spki_sha256, id + 36 - KEY_SPKI_HASH_BYTES, KEY_SPKI_HASH_BYTES);
	memcpy(record->key_id, id + 36 - KEY_ID_BYTES, KEY_ID_BYTES);
	if (label) {
		snprintf(record->key_label, sizeof(record->key_label), "%s", label);
		assert_true(key_name_parse(label, record->key_id));
	} else {
		key_label_of_csr(record->key_label, id);
	}
	return record;
}

static void add_row(struct house *h, const char *id, const char *token, const char *label)
{
	struct store_csr_add add = {.record = record_of(id, token, label), .origin = {.actor = "test"}};

	h->outstanding++;
	store_csr_add(h->store, &add, on_added, h);
}

static void move_row(struct house *h, const char *id, enum csr_state from, enum csr_state to)
{
	struct store_csr_move move = {.id = id, .from = from, .to = to, .origin = {.actor = "test"}};

	h->outstanding++;
	store_csr_move(h->store, &move, on_done, h);
}

static void delete_row(struct house *h, const char *id)
{
	struct store_scope scope = {.kind = STORE_ACCOUNT, .id = ACCOUNT};
	struct audit_origin origin = {.actor = "test"};

	h->outstanding++;
	store_csr_delete_begin(h->store, &scope, id, &origin, on_deleting, h);
}

static void make_row_on(struct house *h, const char *id, enum csr_state state, const char *token)
{
	settle(h, 1000);
	if (state == CSR_PENDING || state == CSR_FAILED)
		old_rows_add_pending(h->old, id, ACCOUNT, token);
	else
		add_row(h, id, token, NULL);
	if (state == CSR_FAILED)
		move_row(h, id, CSR_PENDING, CSR_FAILED);
	if (state == CSR_DELETING || state == CSR_DESTROYED)
		delete_row(h, id);
	if (state == CSR_DESTROYED)
		move_row(h, id, CSR_DELETING, CSR_DESTROYED);
}

static void make_row(struct house *h, const char *id, enum csr_state state)
{
	make_row_on(h, id, state, TOKEN);
	settle(h, 0);
}

struct got {
	enum csr_state state;
	bool done;
};

static void on_row(void *arg, enum err e, struct csr_record *record)
{
	struct got *got = arg;

	got->state = e == E_OK ? record->state : 0;
	got->done = true;
	csr_record_free(record);
}

static enum csr_state state_of(struct house *h, const char *id)
{
	struct got got = {0};

	store_csr_get(h->store, NULL, id, on_row, &got);
	store_wait(h->store, &got.done);
	return got.state;
}

struct last_audit {
	char action[64], actor[64], detail[128];
	bool done;
};

static void on_audit(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct last_audit *last = arg;

	assert_int_equal(e, E_OK);
	assert_true(len > 0);
	snprintf(last->action, sizeof(last->action), "%s", records[len - 1].action);
	snprintf(last->actor, sizeof(last->actor), "%s", records[len - 1].actor);
	snprintf(last->detail, sizeof(last->detail), "%s", records[len - 1].detail);
	last->done = true;
}

/* ---- running one pass ---- */

static void on_finding(void *arg, enum reconcile_finding finding, const char *csr_id, const char *label,
		       enum message_key_presence presence)
{
	struct house *h = arg;
	struct finding *f = &h->findings[h->findings_len++];

	assert_true(h->findings_len <= sizeof(h->findings) / sizeof(h->findings[0]));
	f->finding = finding;
	f->presence = presence;
	snprintf(f->id, sizeof(f->id), "%s", csr_id);
	snprintf(f->label, sizeof(f->label), "%s", label);
}

static bool is_in_work(void *arg, const char *csr_id)
{
	struct house *h = arg;

	return h->in_work && !strcmp(h->in_work, csr_id);
}

static bool should_stop(void *arg)
{
	struct house *h = arg;

	return h->steps_left-- == 0;
}

static void on_end(void *arg, enum err e, const struct reconcile_report *report)
{
	struct house *h = arg;

	assert_false(h->done);
	h->done = true;
	h->e = e;
	h->report = *report;
}

static struct reconcile_options options_of(struct house *h, bool apply, bool compare_keys)
{
	return (struct reconcile_options){
	    .store = h->store,
	    .hsm = &h->hsm,
	    .vouched = true,
	    .apply = apply,
	    .compare_keys = compare_keys,
	    .actor = "operator:test",
	    .on_finding = on_finding,
	    .is_in_work = is_in_work,
	    .should_stop = should_stop,
	    .arg = h,
	};
}

static void run_pass(struct house *h, const struct reconcile_options *options)
{
	h->done = false;
	h->findings_len = 0;
	memset(h->hsm.calls, 0, sizeof(h->hsm.calls));
	assert_int_equal(reconcile_start(options, on_end), E_OK);
	assert_false(h->done);
	while (!h->done) {
		int64_t from_us = clock_wall_us();

		if (h->hsm.call.kind) {
			hsm_step(&h->hsm);
		} else {
			struct pollfd p = {.fd = store_fd(h->store), .events = POLLIN};

			assert_int_equal(poll(&p, 1, WAIT_MS), 1);
			from_us = clock_wall_us();
			store_dispatch(h->store);
		}
		if ((uint64_t)(clock_wall_us() - from_us) > h->longest_us)
			h->longest_us = (uint64_t)(clock_wall_us() - from_us);
	}
	settle(h, 0);
}

static void pass(struct house *h, bool apply)
{
	struct reconcile_options options = options_of(h, apply, true);

	run_pass(h, &options);
	assert_int_equal(h->e, E_OK);
}

static void assert_only_finding(struct house *h, enum reconcile_finding finding, const char *id,
				enum message_key_presence presence)
{
	const struct reconcile_report *r = &h->report;
	char label[64];

	snprintf(label, sizeof(label), "csrd:%s", id);
	assert_int_equal(h->findings_len, 1);
	assert_int_equal(h->findings[0].finding, finding);
	assert_string_equal(h->findings[0].id, id);
	assert_string_equal(h->findings[0].label, label);
	assert_int_equal(h->findings[0].presence, presence);
	assert_int_equal(r->pending + r->deleting + r->leftover + r->missing + r->unknown + r->busy, 1);
	assert_int_equal(r->pending, finding == RECONCILE_PENDING);
	assert_int_equal(r->deleting, finding == RECONCILE_DELETING);
	assert_int_equal(r->leftover, finding == RECONCILE_LEFTOVER);
	assert_int_equal(r->missing, finding == RECONCILE_MISSING);
	assert_int_equal(r->unknown, finding == RECONCILE_UNKNOWN);
	assert_int_equal(r->busy, finding == RECONCILE_BUSY);
}

static void assert_quiet_pass(struct house *h)
{
	pass(h, true);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
}

static const char A[] = "0a000000-0000-4000-8000-00000000000a";
static const char B[] = "0b000000-0000-4000-8000-00000000000b";
static const char C[] = "fc000000-0000-4000-8000-00000000000c";

/* ---- the table ---- */

static void test_pending_with_a_key_is_failed_and_the_key_destroyed(void **state)
{
	static const enum message_key_presence presences[] = {
	    MESSAGE_KEY_PAIR, MESSAGE_KEY_PUBLIC_ONLY, MESSAGE_KEY_PRIVATE_ONLY, MESSAGE_KEY_AMBIGUOUS};
	struct house *h = *state;
	struct last_audit last = {0};

	for (unsigned i = 0; i < 4; i++) {
		char id[CSR_ID_SIZE];

		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		make_row(h, id, CSR_PENDING);
		hsm_put(&h->hsm, id, presences[i], 0);
		pass(h, true);
		assert_only_finding(h, RECONCILE_PENDING, id, presences[i]);
		assert_int_equal(h->report.half_pairs, i == 1 || i == 2);
		assert_int_equal(state_of(h, id), CSR_FAILED);
		assert_null(key_of(&h->hsm, id));
		assert_quiet_pass(h);
		last.done = false;
		store_audit_list(h->store, &(struct store_trail_query){.object = id, .limit = STORE_LIST_MAX},
				 on_audit, &last);
		store_wait(h->store, &last.done);
		assert_string_equal(last.action, "csr.failed");
		assert_string_equal(last.actor, "operator:test");
		assert_true(str_starts_with(last.detail, "reconciliation: destroys "));
	}
}

static void test_pending_without_a_key_is_failed(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	pass(h, true);
	assert_only_finding(h, RECONCILE_PENDING, A, MESSAGE_KEY_NONE);
	assert_int_equal(state_of(h, A), CSR_FAILED);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	assert_quiet_pass(h);
}

static void test_deleting_is_ended(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_DELETING);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	pass(h, true);
	assert_only_finding(h, RECONCILE_DELETING, A, MESSAGE_KEY_PAIR);
	assert_int_equal(state_of(h, A), CSR_DESTROYED);
	assert_null(key_of(&h->hsm, A));

	make_row(h, B, CSR_DELETING);
	pass(h, true);
	assert_only_finding(h, RECONCILE_DELETING, B, MESSAGE_KEY_NONE);
	assert_int_equal(state_of(h, B), CSR_DESTROYED);
	assert_quiet_pass(h);
}

/* When the signer is told to destroy, the audit trail knows of it already. */
static void destroy_is_told_of(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;
	struct last_audit last = {0};

	if (kind != CALL_DESTROY)
		return;
	store_audit_list(h->store, &(struct store_trail_query){.object = id, .limit = STORE_LIST_MAX},
			 on_audit, &last);
	store_wait(h->store, &last.done);
	assert_string_equal(last.action, "csr.leftover");
	assert_string_equal(last.actor, "operator:test");
	assert_string_equal(last.detail,
			    "reconciliation: destroys half a key pair that was left on the token");
}

static void test_key_of_a_failed_or_destroyed_row_is_destroyed(void **state)
{
	static const enum csr_state states[] = {CSR_FAILED, CSR_DESTROYED};
	struct house *h = *state;

	for (unsigned i = 0; i < 2; i++) {
		const char *id = i ? B : A;

		make_row(h, id, states[i]);
		hsm_put(&h->hsm, id, MESSAGE_KEY_PRIVATE_ONLY, 0);
		h->hsm.before_answer = destroy_is_told_of;
		h->hsm.hook_arg = h;
		pass(h, true);
		h->hsm.before_answer = NULL;
		assert_only_finding(h, RECONCILE_LEFTOVER, id, MESSAGE_KEY_PRIVATE_ONLY);
		assert_int_equal(h->report.half_pairs, 1);
		assert_null(key_of(&h->hsm, id));
		assert_int_equal(state_of(h, id), states[i]);
		assert_quiet_pass(h);
	}
}

static void test_active_without_a_whole_pair_is_missing(void **state)
{
	static const enum message_key_presence presences[] = {
	    MESSAGE_KEY_NONE, MESSAGE_KEY_PUBLIC_ONLY, MESSAGE_KEY_PRIVATE_ONLY, MESSAGE_KEY_AMBIGUOUS};
	struct house *h = *state;

	make_row(h, A, CSR_ACTIVE);
	for (unsigned i = 0; i < 4; i++) {
		h->hsm.keys_len = 0;
		hsm_put(&h->hsm, A, presences[i], 0);
		pass(h, true);
		assert_only_finding(h, RECONCILE_MISSING, A, presences[i]);
		assert_int_equal(h->report.half_pairs, i == 1 || i == 2);
		assert_int_equal(state_of(h, A), CSR_ACTIVE);
		assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	}
}

static void test_active_with_the_pair_of_another_key_is_missing(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_ACTIVE);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0x7f);
	pass(h, true);
	assert_only_finding(h, RECONCILE_MISSING, A, MESSAGE_KEY_PAIR);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
}

static void test_unknown_keys_are_reported_and_never_destroyed(void **state)
{
	struct house *h = *state;

	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	pass(h, true);
	assert_only_finding(h, RECONCILE_UNKNOWN, A, MESSAGE_KEY_PAIR);

	hsm_put(&h->hsm, "0A", MESSAGE_KEY_PUBLIC_ONLY, 0); /* no id */
	hsm_put(&h->hsm, "0A000000-0000-4000-8000-00000000000A", MESSAGE_KEY_PAIR,
		0); /* not as csrd writes it */
	hsm_put(&h->hsm, "", MESSAGE_KEY_PAIR, 0);
	pass(h, true);
	assert_int_equal(h->report.unknown, 4);
	assert_int_equal(h->report.half_pairs, 1);
	assert_string_equal(h->findings[0].label, "csrd:0A");
	assert_string_equal(h->findings[0].id, "");
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	for (size_t i = 0; i < h->hsm.keys_len; i++)
		assert_int_not_equal(h->hsm.keys[i].presence, MESSAGE_KEY_NONE);
}

static void test_rows_of_another_token_are_left_alone(void **state)
{
	static const enum csr_state states[] = {CSR_PENDING, CSR_ACTIVE, CSR_DELETING, CSR_DESTROYED,
						CSR_FAILED};
	struct house *h = *state;

	for (unsigned i = 0; i < 5; i++) {
		char id[CSR_ID_SIZE];

		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		make_row_on(h, id, states[i], "other");
		settle(h, 0);
	}
	assert_quiet_pass(h);
	/* But for a key here whose row says that it is there: nobody else would ever tell. */
	hsm_put(&h->hsm, "00000004-0000-4000-8000-000000000004", MESSAGE_KEY_PAIR, 0);
	pass(h, true);
	assert_only_finding(h, RECONCILE_UNKNOWN, "00000004-0000-4000-8000-000000000004", MESSAGE_KEY_PAIR);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	for (unsigned i = 0; i < 5; i++) {
		char id[CSR_ID_SIZE];

		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		assert_int_equal(state_of(h, id), states[i]);
	}
}

static void test_what_is_well_is_not_found(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_ACTIVE);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	make_row(h, B, CSR_FAILED);
	make_row(h, C, CSR_DESTROYED);
	assert_quiet_pass(h);
	assert_int_equal(h->report.checked, 4); /* three rows, one key */
	assert_int_equal(h->hsm.calls[CALL_FIND], 0);
}

static void test_without_apply_nothing_changes(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_DELETING);
	make_row(h, C, CSR_FAILED);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PUBLIC_ONLY, 0);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, C, MESSAGE_KEY_PAIR, 0);
	for (unsigned i = 0; i < 2; i++) {
		pass(h, false);
		assert_int_equal(h->report.pending, 1);
		assert_int_equal(h->report.deleting, 1);
		assert_int_equal(h->report.leftover, 1);
		assert_int_equal(h->report.half_pairs, 1);
		assert_int_equal(h->findings_len, 3);
		assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
		assert_int_equal(state_of(h, A), CSR_PENDING);
		assert_int_equal(state_of(h, B), CSR_DELETING);
	}
}

static void test_rows_only(void **state)
{
	struct reconcile_options options;
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_FAILED);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	options = options_of(h, true, false);
	run_pass(h, &options);
	assert_int_equal(h->e, E_OK);
	assert_only_finding(h, RECONCILE_PENDING, A, MESSAGE_KEY_NONE);
	assert_int_equal(h->hsm.calls[CALL_LIST], 0);
	assert_non_null(key_of(&h->hsm, B));
}

/* ---- left alone ---- */

static void test_young_rows_are_left_alone(void **state)
{
	struct reconcile_options options;
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_DELETING);
	make_row(h, C, CSR_FAILED);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, C, MESSAGE_KEY_PAIR, 0);
	options = options_of(h, true, true);
	options.min_age_us = INT64_C(3600) * 1000000;
	run_pass(h, &options);
	assert_int_equal(h->e, E_OK);
	assert_int_equal(h->report.busy, 3);
	assert_int_equal(h->findings_len, 3);
	assert_int_equal(h->hsm.calls[CALL_DESTROY] + h->hsm.calls[CALL_FIND], 0);
	assert_int_equal(state_of(h, A), CSR_PENDING);
	assert_int_equal(state_of(h, B), CSR_DELETING);
}

static void test_what_this_process_works_on_is_left_alone(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_PENDING);
	h->in_work = A;
	pass(h, true);
	assert_int_equal(h->report.busy, 1);
	assert_int_equal(h->report.pending, 1);
	assert_int_equal(state_of(h, A), CSR_PENDING);
	assert_int_equal(state_of(h, B), CSR_FAILED);
}

static void test_what_the_signer_works_on_is_left_alone(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	h->hsm.fail[CALL_FIND] = E_BUSY;
	pass(h, true);
	assert_only_finding(h, RECONCILE_BUSY, A, MESSAGE_KEY_NONE);
	assert_int_equal(state_of(h, A), CSR_PENDING);

	h->hsm.fail[CALL_FIND] = E_OK;
	make_row(h, B, CSR_DELETING);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	h->hsm.fail[CALL_DESTROY] = E_BUSY;
	pass(h, true);
	assert_int_equal(h->report.busy, 1);
	assert_int_equal(state_of(h, A), CSR_FAILED);
	assert_int_equal(state_of(h, B), CSR_DELETING);
}

/* ---- while others work ---- */

static void end_delete_of_a(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	if (kind == CALL_DESTROY && !strcmp(id, A))
		move_row(h, A, CSR_DELETING, CSR_DESTROYED);
}

static void test_a_delete_that_ends_meanwhile_is_fine(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_DELETING);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	h->hsm.before_answer = end_delete_of_a;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(state_of(h, A), CSR_DESTROYED);
}

static void make_active_b(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	(void)id;
	if (kind == CALL_LIST) {
		make_row_on(h, B, CSR_ACTIVE, TOKEN);
		h->hsm.before_answer = NULL;
	}
}

/* The list was made before the key: asking again finds it. */
static void test_a_create_after_the_list_is_not_missing(void **state)
{
	struct house *h = *state;

	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	h->hsm.list_stale = true;
	h->hsm.before_answer = make_active_b;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(h->hsm.calls[CALL_FIND], 1);
}

static void delete_a(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	if (kind == CALL_FIND && !strcmp(id, A))
		delete_row(h, A);
}

/* The key was gone because the row was being deleted. */
static void test_a_delete_after_the_page_is_not_missing(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_ACTIVE);
	h->hsm.before_answer = delete_a;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(h->hsm.calls[CALL_FIND], 1);
}

static void begin_b(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	if (kind == CALL_FIND && !strcmp(id, A))
		make_row_on(h, B, CSR_PENDING, TOKEN);
}

/* The row is not on the page that was read, but it is there when asked for. */
static void test_a_key_whose_row_came_after_the_page_is_not_unknown(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_ACTIVE); /* missing: the question gives B its time */
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	h->hsm.before_answer = begin_b;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_only_finding(h, RECONCILE_MISSING, A, MESSAGE_KEY_NONE);
}

static void test_a_leftover_that_went_by_itself_is_not_found(void **state)
{
	struct stub_key stale = {.presence = MESSAGE_KEY_PAIR};
	struct house *h = *state;

	make_row(h, A, CSR_DESTROYED);
	snprintf(stale.label, sizeof(stale.label), "csrd:%s", A);
	h->hsm.list_stale = true;
	h->hsm.stale = &stale;
	h->hsm.stale_len = 1;
	pass(h, true);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(h->hsm.calls[CALL_FIND], 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
}

static void test_a_label_listed_twice_is_asked_for(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_ACTIVE);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	h->hsm.part_keys = 1;
	pass(h, true);
	assert_int_equal(h->hsm.calls[CALL_FIND], 1);
	assert_int_equal(h->findings_len, 0); /* the stub finds the first alone */
	h->hsm.keys_len = 0;
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	pass(h, true);
	assert_only_finding(h, RECONCILE_UNKNOWN, B, MESSAGE_KEY_AMBIGUOUS);
}

/* ---- failures ---- */

static void test_a_signer_that_is_away_ends_the_pass(void **state)
{
	static const enum err errors[] = {E_UNAVAIL, E_TIMEOUT, E_UNCERTAIN};
	struct reconcile_options options;
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_PENDING);
	h->hsm.down = true;
	for (unsigned i = 0; i < 3; i++) {
		h->hsm.fail[CALL_FIND] = errors[i];
		options = options_of(h, true, true);
		run_pass(h, &options);
		assert_int_equal(h->e, errors[i]);
		assert_int_equal(h->hsm.calls[CALL_FIND], 1);
		assert_int_equal(h->hsm.calls[CALL_LIST], 0);
		assert_int_equal(state_of(h, A), CSR_PENDING);
	}
}

/* The row is failed, its key is still there: the next pass has to find it. */
static void test_a_lost_destroy_of_a_failed_row_is_made_up_for(void **state)
{
	struct reconcile_options options;
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	h->hsm.fail[CALL_DESTROY] = E_UNCERTAIN;
	h->hsm.down = true;
	options = options_of(h, true, true);
	run_pass(h, &options);
	assert_int_equal(h->e, E_UNCERTAIN);
	assert_true(h->report.compare_again);
	assert_int_equal(state_of(h, A), CSR_FAILED);
	h->hsm.fail[CALL_DESTROY] = E_OK;
	h->hsm.down = false;
	pass(h, true);
	assert_only_finding(h, RECONCILE_LEFTOVER, A, MESSAGE_KEY_PAIR);
	assert_false(h->report.compare_again);
	assert_null(key_of(&h->hsm, A));
}

static void test_one_bad_object_does_not_stop_the_others(void **state)
{
	struct reconcile_options options;
	struct house *h = *state;

	make_row(h, A, CSR_DELETING);
	make_row(h, B, CSR_DELETING);
	make_row(h, C, CSR_FAILED);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, C, MESSAGE_KEY_PAIR, 0);
	snprintf(h->hsm.fail_id, sizeof(h->hsm.fail_id), "%s", A);
	h->hsm.fail[CALL_DESTROY] = E_HSM;
	options = options_of(h, true, true);
	run_pass(h, &options);
	assert_int_equal(h->e, E_HSM);
	assert_int_equal(h->report.busy, 1);
	assert_int_equal(h->report.deleting, 1);
	assert_int_equal(h->report.leftover, 1);
	assert_int_equal(state_of(h, A), CSR_DELETING);
	assert_int_equal(state_of(h, B), CSR_DESTROYED);
}

static void test_a_token_that_fails_every_time_ends_the_pass(void **state)
{
	struct reconcile_options options;
	struct house *h = *state;

	for (unsigned i = 0; i < 40; i++) {
		char id[CSR_ID_SIZE];

		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		make_row(h, id, CSR_PENDING);
	}
	h->hsm.fail[CALL_FIND] = E_HSM;
	options = options_of(h, true, true);
	run_pass(h, &options);
	assert_int_equal(h->e, E_HSM);
	assert_true(h->hsm.calls[CALL_FIND] < 40);
}

static void test_a_list_that_fails_ends_the_pass(void **state)
{
	struct reconcile_options options;
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	h->hsm.fail[CALL_LIST] = E_UNCERTAIN;
	options = options_of(h, true, true);
	run_pass(h, &options);
	assert_int_equal(h->e, E_UNCERTAIN);
	assert_only_finding(h, RECONCILE_PENDING, A, MESSAGE_KEY_NONE);
}

/* A list that lacks keys is said to; what it does not show is asked for, and nothing is concluded from it. */
static void test_a_list_with_unread_objects_is_said_to_be_incomplete(void **state)
{
	struct house *h = *state;

	make_row(h, A, CSR_ACTIVE);
	make_row(h, B, CSR_FAILED);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	h->hsm.list_stale = true; /* neither is in the list */
	h->hsm.unread = 4;
	pass(h, true);
	assert_int_equal(h->report.unread, 4);
	assert_int_equal(h->findings_len, 0);
	assert_non_null(key_of(&h->hsm, A));
	h->hsm.list_stale = false;
	h->hsm.unread = 0;
	pass(h, true);
	assert_int_equal(h->report.unread, 0);
	assert_only_finding(h, RECONCILE_LEFTOVER, B, MESSAGE_KEY_PAIR);
}

static void test_a_pass_stops_when_told(void **state)
{
	struct reconcile_options options;
	struct house *h = *state;

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_PENDING);
	h->steps_left = 2;
	options = options_of(h, true, true);
	run_pass(h, &options);
	assert_int_equal(h->e, E_UNAVAIL);
	assert_int_equal(state_of(h, A), CSR_FAILED);
	assert_int_equal(state_of(h, B), CSR_PENDING);
}

/* ---- many ---- */

static void many_id(unsigned i, char id[CSR_ID_SIZE])
{
	/* Odd factor: another order than that of the count. */
	snprintf(id, CSR_ID_SIZE, "%08x-0000-4000-8000-%012x", i * 2654435761u, i);
}

static void test_ten_thousand_keys(void **state)
{
	struct house *h = *state;
	char id[CSR_ID_SIZE];

	for (unsigned i = 0; i < MANY; i++) {
		many_id(i, id);
		make_row_on(h, id, i % 10 == 9 ? CSR_FAILED : CSR_ACTIVE, TOKEN);
		if (i % 10 != 9 && i % 4000 != 7)
			hsm_put(&h->hsm, id, MESSAGE_KEY_PAIR, 0);
		if (i % 3000 == 29)
			hsm_put(&h->hsm, id, MESSAGE_KEY_PAIR, 0); /* of a failed row */
	}
	for (unsigned i = MANY; i < MANY + 7; i++) {
		many_id(i, id);
		hsm_put(&h->hsm, id, MESSAGE_KEY_PAIR, 0);
	}
	settle(h, 0);
	h->longest_us = 0;
	pass(h, false);
	assert_int_equal(h->report.missing, 3);
	assert_int_equal(h->report.leftover, 4);
	assert_int_equal(h->report.unknown, 7);
	assert_int_equal(h->findings_len, 14);
	assert_int_equal(h->report.checked, MANY + h->hsm.keys_len);
	/* One question for each thing that looked wrong, none for the others. */
	assert_int_equal(h->hsm.calls[CALL_FIND], 7);
	assert_int_equal(h->hsm.calls[CALL_LIST], 1);
	print_message("longest stretch on the loop: %llu us\n", (unsigned long long)h->longest_us);
}

/* ---- a store that went back (F101, F102) ---- */

static void on_set_aside(void *arg, enum err e, uint64_t rows)
{
	(void)rows;
	on_done(arg, e);
}

static void set_aside(struct house *h)
{
	struct store_set_aside in = {.token_name = TOKEN, .lineage = {1}, .origin = {.actor = "test"}};

	h->outstanding++;
	store_set_aside(h->store, &in, on_set_aside, h);
	settle(h, 0);
}

static void test_keys_of_rows_set_aside_are_kept_until_given_up(void **state)
{
	struct house *h = *state;
	struct reconcile_options options;

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_DELETING);
	make_row(h, C, CSR_DELETING);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PRIVATE_ONLY, 0);
	set_aside(h);
	for (unsigned i = 0; i < 3; i++) {
		pass(h, true);
		assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
		assert_int_equal(h->report.set_aside, 2);
		assert_int_equal(h->report.deleting, i == 0); /* C: no key, nothing to keep */
		assert_int_equal(h->report.pending + h->report.leftover + h->report.busy, 0);
		assert_int_equal(state_of(h, A), CSR_FAILED);
		assert_int_equal(state_of(h, B), CSR_DELETING);
		assert_int_equal(state_of(h, C), CSR_DESTROYED);
	}
	options = options_of(h, true, true);
	options.give_up = B;
	run_pass(h, &options);
	assert_int_equal(h->report.set_aside, 1);
	assert_int_equal(state_of(h, B), CSR_DESTROYED);
	assert_null(key_of(&h->hsm, B));
	assert_non_null(key_of(&h->hsm, A));
	options.give_up = RECONCILE_GIVE_UP_ALL;
	options.apply = false;
	run_pass(h, &options);
	assert_non_null(key_of(&h->hsm, A));
	options.apply = true;
	run_pass(h, &options);
	assert_only_finding(h, RECONCILE_LEFTOVER, A, MESSAGE_KEY_PAIR);
	assert_int_equal(state_of(h, A), CSR_FAILED);
	assert_quiet_pass(h);
}

/* Its own key comes back to the token, from a backup of the token: it is kept, as ever. */
static void test_key_that_comes_back_of_a_row_set_aside_is_kept(void **state)
{
	struct house *h = *state;

	make_row(h, C, CSR_DELETING);
	set_aside(h);
	pass(h, true);
	assert_int_equal(state_of(h, C), CSR_DESTROYED);
	hsm_put(&h->hsm, C, MESSAGE_KEY_PAIR, 0);
	pass(h, true);
	assert_int_equal(h->report.set_aside, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
}

/* What a pass settles, each with its key. */
static void make_one_of_each(struct house *h)
{
	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_DELETING);
	make_row(h, C, CSR_FAILED);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, B, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, C, MESSAGE_KEY_PAIR, 0);
}

static void test_without_a_signer_that_vouches_nothing_changes(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	make_one_of_each(h);
	options.vouched = false;
	options.give_up = RECONCILE_GIVE_UP_ALL;
	options.min_age_us = INT64_C(3600) * 1000000; /* an open row is told, whatever its age */
	run_pass(h, &options);
	assert_int_equal(h->e, E_OK);
	assert_int_equal(h->report.set_aside, 2);
	assert_int_equal(h->report.busy, 1); /* C is young */
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	assert_int_equal(state_of(h, A), CSR_PENDING);
	assert_int_equal(state_of(h, B), CSR_DELETING);
	options.min_age_us = 0;
	run_pass(h, &options);
	assert_int_equal(h->report.leftover, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
}

/* ---- clocks (F106) ---- */

static void set_updated(struct house *h, const char *id, int64_t us)
{
	char sql[128];
	sqlite3 *db;

	snprintf(sql, sizeof(sql), "UPDATE csrs SET updated_us = %lld WHERE id = '%s'", (long long)us, id);
	assert_int_equal(sqlite3_open(h->url + strlen("sqlite:"), &db), SQLITE_OK);
	sqlite3_busy_timeout(db, WAIT_MS);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_rows_of_the_future_are_old(void **state)
{
	static const int64_t ahead_us[] = {INT64_C(60) * 1000000, INT64_C(315360000) * 1000000};
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);
	const int64_t now_us = clock_wall_us();

	make_one_of_each(h);
	set_updated(h, A, now_us + ahead_us[0]);
	set_updated(h, B, now_us + ahead_us[1]);
	set_updated(h, C, now_us + ahead_us[1]);
	h->in_work = A; /* which is known without a clock */
	options.min_age_us = INT64_C(120) * 1000000;
	run_pass(h, &options);
	assert_int_equal(h->e, E_OK);
	assert_int_equal(h->report.busy, 1);
	assert_int_equal(state_of(h, A), CSR_PENDING);
	assert_int_equal(state_of(h, B), CSR_DESTROYED);
	assert_null(key_of(&h->hsm, C));
	h->in_work = NULL;
	options.min_age_us = 0;
	run_pass(h, &options);
	assert_only_finding(h, RECONCILE_PENDING, A, MESSAGE_KEY_PAIR);
	assert_int_equal(state_of(h, A), CSR_FAILED);
	assert_quiet_pass(h);
}

static void test_open_rows_are_left_to_who_settles_them(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	make_row(h, A, CSR_PENDING);
	make_row(h, B, CSR_DELETING);
	make_row(h, C, CSR_FAILED);
	set_updated(h, A, 1);
	set_updated(h, B, clock_wall_us() + INT64_C(3600) * 1000000);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	hsm_put(&h->hsm, C, MESSAGE_KEY_PAIR, 0);
	options.leave_open = true;
	run_pass(h, &options);
	assert_int_equal(h->report.busy, 2);
	assert_int_equal(h->report.leftover, 1);
	assert_int_equal(state_of(h, A), CSR_PENDING);
	assert_int_equal(state_of(h, B), CSR_DELETING);
	assert_non_null(key_of(&h->hsm, A));
}

/* ---- many missing keys (F108) ---- */

#define LOST 60

static void deletes_one_meanwhile(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	(void)id;
	if (kind == CALL_LIST && h->hsm.calls[CALL_LIST] == 2) {
		h->hsm.before_answer = NULL;
		delete_row(h, "00000028-0000-4000-8000-000000000028"); /* 40 */
	}
}

static void test_one_more_list_answers_for_many_missing_keys(void **state)
{
	struct house *h = *state;
	char id[CSR_ID_SIZE];

	for (unsigned i = 0; i < LOST; i++) {
		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		make_row_on(h, id, CSR_ACTIVE, TOKEN);
		if (i >= 50)
			hsm_put(&h->hsm, id, i == 50 ? MESSAGE_KEY_PUBLIC_ONLY : MESSAGE_KEY_PAIR, i == 51);
	}
	settle(h, 0);
	h->hsm.before_answer = deletes_one_meanwhile;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->report.missing, 51); /* 0 to 49 without 40, half a pair, another key */
	assert_int_equal(h->report.half_pairs, 1);
	assert_true(h->report.compared);
	assert_int_equal(h->hsm.calls[CALL_LIST], 2);
	assert_true(h->hsm.calls[CALL_FIND] <= 16);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	assert_int_equal(h->report.unclear, 0);
}

/* ---- many missing keys, where some objects cannot be read (F293) ---- */

#define LOST_MANY 1000

static void make_lost_rows(struct house *h)
{
	char id[CSR_ID_SIZE];

	for (unsigned i = 0; i < LOST_MANY; i++) {
		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		make_row_on(h, id, CSR_ACTIVE, TOKEN);
	}
	settle(h, 0);
}

/* A list that may lack keys shows none to be missing, and the signer is not asked a thousand times either. */
static void test_what_lists_with_unread_objects_lack_is_unclear(void **state)
{
	struct house *h = *state;

	make_lost_rows(h);
	h->hsm.unread = 1;
	h->hsm.before_answer = deletes_one_meanwhile;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->e, E_OK);
	assert_true(h->report.compared);
	assert_int_equal(h->hsm.calls[CALL_LIST], 2);
	assert_true(h->hsm.calls[CALL_FIND] <= 16);
	assert_int_equal(h->report.missing, h->hsm.calls[CALL_FIND]);
	assert_int_equal(h->report.unclear, LOST_MANY - 1 - h->report.missing);
	assert_int_equal(h->report.unread, 1);
	h->hsm.unread = 0; /* and a list that lacks none answers for all */
	h->findings_len = 0;
	pass(h, true);
	assert_int_equal(h->report.missing, LOST_MANY - 1);
	assert_int_equal(h->report.unclear, 0);
	assert_true(h->hsm.calls[CALL_FIND] <= 17); /* one for the row that was deleted */
}

/* Another key than the row's, or more than one, is there whatever else may be. */
static void test_a_wrong_key_is_not_unclear(void **state)
{
	struct house *h = *state;
	char id[CSR_ID_SIZE];

	make_lost_rows(h);
	h->hsm.unread = 1;
	for (unsigned i = 0; i < LOST_MANY; i++) {
		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		hsm_put(&h->hsm, id, i % 2 ? MESSAGE_KEY_PAIR : MESSAGE_KEY_AMBIGUOUS, 0xee);
	}
	pass(h, true);
	assert_int_equal(h->report.missing, LOST_MANY);
	assert_int_equal(h->report.unclear, 0);
	assert_int_equal(h->findings[LOST_MANY - 1].presence, MESSAGE_KEY_PAIR);
	assert_true(h->hsm.calls[CALL_FIND] <= 16);
}

static void is_unread_the_second_time(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	(void)id;
	if (kind == CALL_LIST)
		h->hsm.unread = h->hsm.calls[CALL_LIST] == 1 ? 0 : 3;
}

static void is_read_the_second_time(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	(void)id;
	if (kind == CALL_LIST)
		h->hsm.unread = h->hsm.calls[CALL_LIST] == 1;
}

/* What the second list does not show is unclear, too, and it is said why. */
static void test_a_second_list_with_unread_objects_makes_it_unclear(void **state)
{
	struct house *h = *state;

	make_lost_rows(h);
	h->hsm.before_answer = is_unread_the_second_time;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->report.missing + h->report.unclear, LOST_MANY);
	assert_int_equal(h->report.unread, 3);
	assert_true(h->hsm.calls[CALL_FIND] <= 16);
}

static void test_a_second_list_that_is_whole_is_enough(void **state)
{
	struct house *h = *state;

	make_lost_rows(h);
	h->hsm.before_answer = is_read_the_second_time;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->report.missing, LOST_MANY);
	assert_int_equal(h->report.unclear, 0);
	assert_int_equal(h->hsm.calls[CALL_LIST], 2);
	assert_true(h->hsm.calls[CALL_FIND] <= 16);
}

/* The first list lacks them all, the second has them: nothing is missing. */
static void shows_what_is_there(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	(void)id;
	if (kind == CALL_LIST)
		h->hsm.list_stale = h->hsm.calls[CALL_LIST] == 1;
}

static void test_keys_that_the_second_list_has_are_not_missing(void **state)
{
	struct house *h = *state;
	char id[CSR_ID_SIZE];

	for (unsigned i = 0; i < LOST; i++) {
		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		make_row_on(h, id, CSR_ACTIVE, TOKEN);
		hsm_put(&h->hsm, id, MESSAGE_KEY_PAIR, 0);
	}
	settle(h, 0);
	h->hsm.before_answer = shows_what_is_there;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(h->hsm.calls[CALL_LIST], 2);
}

/* ---- a key that stays (F109) ---- */

struct trail {
	char actions[512];
	bool done;
};

static void on_trail(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct trail *trail = arg;

	assert_int_equal(e, E_OK);
	for (size_t i = 0; i < len; i++)
		snprintf(trail->actions + strlen(trail->actions),
			 sizeof(trail->actions) - strlen(trail->actions), "%s ", records[i].action);
	trail->done = true;
}

static void assert_trail(struct house *h, const char *id, const char *expected)
{
	struct trail trail = {0};

	store_audit_list(h->store, &(struct store_trail_query){.object = id, .limit = STORE_LIST_MAX},
			 on_trail, &trail);
	store_wait(h->store, &trail.done);
	assert_string_equal(trail.actions, expected);
}

static void test_a_leftover_that_stays_is_recorded_once(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	make_row(h, A, CSR_FAILED);
	hsm_put(&h->hsm, A, MESSAGE_KEY_PAIR, 0);
	h->hsm.fail[CALL_DESTROY] = E_UNCERTAIN;
	for (unsigned i = 0; i < 3; i++) {
		run_pass(h, &options);
		assert_int_equal(h->hsm.calls[CALL_DESTROY], 1);
		assert_trail(h, A, "csr.pending csr.failed csr.leftover ");
	}
	h->hsm.fail[CALL_DESTROY] = E_OK;
	pass(h, true);
	assert_only_finding(h, RECONCILE_LEFTOVER, A, MESSAGE_KEY_PAIR);
	assert_trail(h, A, "csr.pending csr.failed csr.leftover csr.leftover-destroyed ");
}

/* ---- keys that were used, of which the signer does not know whether their CSRs stand (J6) ---- */

static enum message_key_life life_of(struct house *h, unsigned n)
{
	const struct stub_key *key = key_of(&h->hsm, name_of(n));

	assert_non_null(key);
	return key->life;
}

static void make_named_row(struct house *h, const char *id, unsigned n)
{
	add_row(h, id, TOKEN, name_of(n));
	settle(h, 0);
}

static void assert_found(struct house *h, size_t i, enum reconcile_finding finding, const char *id,
			 unsigned n)
{
	assert_true(h->findings_len > i);
	assert_int_equal(h->findings[i].finding, finding);
	assert_string_equal(h->findings[i].id, id);
	assert_string_equal(h->findings[i].label, name_of(n));
}

static void test_the_signer_learns_which_csrs_stand(void **state)
{
	struct house *h = *state;

	make_named_row(h, A, 1);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	pass(h, false);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(h->hsm.calls[CALL_CONFIRM], 0);
	assert_int_equal(life_of(h, 1), MESSAGE_LIFE_USED);
	assert_quiet_pass(h);
	assert_int_equal(h->hsm.calls[CALL_CONFIRM], 1);
	assert_int_equal(life_of(h, 1), MESSAGE_LIFE_NONE);
	assert_quiet_pass(h);
	assert_int_equal(h->hsm.calls[CALL_CONFIRM], 0);
}

static void test_a_used_key_without_a_row_goes(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, false);

	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	pass(h, false);
	assert_int_equal(h->report.pending, 1);
	assert_found(h, 0, RECONCILE_PENDING, A, 1);
	assert_int_equal(h->findings_len, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	run_pass(h, &options);
	assert_int_equal(h->e, E_OK);
	assert_int_equal(h->report.pending, 1);
	assert_found(h, 0, RECONCILE_PENDING, A, 1);
	assert_null(key_of(&h->hsm, name_of(1)));
	assert_trail(h, A, "csr.failed ");
	assert_quiet_pass(h);
}

/* The signer learns that the key is gone, though there is nothing to destroy. */
static void test_a_used_key_that_is_gone_is_settled(void **state)
{
	struct house *h = *state;

	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	h->hsm.keys[0].presence = MESSAGE_KEY_NONE;
	pass(h, true);
	assert_found(h, 0, RECONCILE_PENDING, A, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 1);
	assert_trail(h, A, "csr.failed ");
}

static void test_a_used_key_in_work_is_left_alone(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	h->in_work = A;
	pass(h, true);
	assert_found(h, 0, RECONCILE_BUSY, A, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	h->in_work = NULL;
	options.leave_unsettled = true; /* in work, but not here */
	run_pass(h, &options);
	assert_found(h, 0, RECONCILE_BUSY, A, 1);
	assert_int_equal(h->report.busy, 1);
	assert_int_equal(life_of(h, 1), MESSAGE_LIFE_USED);
}

/* Also where the row is that of somebody else's work: that much is certain. */
static void test_rows_are_confirmed_whoever_makes_them(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	make_named_row(h, A, 1);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	options.leave_unsettled = true;
	run_pass(h, &options);
	assert_int_equal(h->findings_len, 0);
	assert_int_equal(life_of(h, 1), MESSAGE_LIFE_NONE);
}

static void test_a_store_that_is_not_vouched_for_destroys_no_used_key(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	make_named_row(h, B, 2);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	hsm_put_named(&h->hsm, 2, MESSAGE_LIFE_USED, B);
	options.vouched = false;
	options.give_up = RECONCILE_GIVE_UP_ALL;
	run_pass(h, &options);
	assert_int_equal(h->report.unknown, 1);
	assert_found(h, 0, RECONCILE_UNKNOWN, A, 1);
	assert_int_equal(h->findings_len, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY] + h->hsm.calls[CALL_CONFIRM], 0);
}

/* Used twice for one CSR: the one that the row does not name is nobody's, and kept. */
static void test_a_used_key_of_a_row_with_another_key_is_unknown(void **state)
{
	struct house *h = *state;

	make_named_row(h, A, 1);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_NONE, "");
	hsm_put_named(&h->hsm, 2, MESSAGE_LIFE_USED, A);
	pass(h, true);
	assert_found(h, 0, RECONCILE_UNKNOWN, A, 2);
	assert_int_equal(h->findings_len, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY] + h->hsm.calls[CALL_CONFIRM], 0);
}

static void commit_a(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;

	if (kind == CALL_FIND && !strcmp(id, name_of(1)))
		make_named_row(h, A, 1);
}

/* The create of another process commits between the question and the shutting: its key must live. */
static void test_a_create_that_ends_meanwhile_keeps_its_key(void **state)
{
	struct house *h = *state;

	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	h->hsm.before_answer = commit_a;
	h->hsm.hook_arg = h;
	pass(h, true);
	assert_found(h, 0, RECONCILE_BUSY, A, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
	assert_int_equal(state_of(h, A), CSR_ACTIVE);
	h->hsm.before_answer = NULL;
	assert_quiet_pass(h);
	assert_int_equal(life_of(h, 1), MESSAGE_LIFE_NONE);
}

static void on_too_late(void *arg, enum err e, enum store_begin outcome, struct csr_record *record,
			struct store_policies *policies)
{
	struct house *h = arg;

	assert_null(policies);
	(void)outcome;
	assert_int_equal(e, E_EXISTS);
	assert_null(record);
	h->outstanding--;
}

static void commit_a_too_late(void *arg, enum call_kind kind, const char *id)
{
	struct house *h = arg;
	struct store_csr_add add = {.origin = {.actor = "test"}};

	if (kind != CALL_DESTROY || strcmp(id, name_of(1)) != 0)
		return;
	add.record = record_of(A, TOKEN, name_of(1));
	h->outstanding++;
	store_csr_add(h->store, &add, on_too_late, h);
}

/* Once its key is being destroyed no create can commit its row: none is answered 201 without a key. */
static void test_a_create_cannot_end_while_its_key_is_destroyed(void **state)
{
	struct house *h = *state;

	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	h->hsm.before_answer = commit_a_too_late;
	h->hsm.hook_arg = h;
	pass(h, true);
	settle(h, 0);
	assert_found(h, 0, RECONCILE_PENDING, A, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 1);
	assert_int_equal(state_of(h, A), 0);
	assert_null(key_of(&h->hsm, name_of(1)));
}

static void test_a_lost_destroy_of_a_used_key_is_made_up_for(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	h->hsm.fail[CALL_DESTROY] = E_UNCERTAIN;
	run_pass(h, &options);
	assert_int_equal(h->e, E_UNCERTAIN);
	assert_true(h->report.busy > 0);
	assert_trail(h, A, "csr.failed ");
	h->hsm.fail[CALL_DESTROY] = E_OK;
	pass(h, true);
	assert_null(key_of(&h->hsm, name_of(1)));
	assert_trail(h, A, "csr.failed ");
}

static void test_many_unsettled_keys_come_page_by_page(void **state)
{
	struct house *h = *state;
	char id[CSR_ID_SIZE];

	h->hsm.page_keys = 7;
	for (unsigned i = 0; i < 50; i++) {
		snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", i, i);
		if (i % 3)
			add_row(h, id, TOKEN, name_of(i));
		hsm_put_named(&h->hsm, i, i % 5 ? MESSAGE_LIFE_USED : MESSAGE_LIFE_NONE, id);
	}
	settle(h, 0);
	pass(h, true);
	assert_int_equal(h->report.pending, 13); /* of 0, 3, 6 … those that are not bound */
	assert_int_equal(h->report.unknown, 4);  /* 0, 15, 30, 45: bound, and no row */
	assert_int_equal(h->hsm.calls[CALL_UNSETTLED], 6);
	assert_int_equal(h->report.missing, 0);
	for (unsigned i = 0; i < 50; i++)
		assert_true(i % 3 == 0 || life_of(h, i) == MESSAGE_LIFE_NONE);
}

/* The others need not wait for it, and the next pass tries again. */
static void test_a_confirm_that_fails_is_made_up_for(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	make_named_row(h, A, 1);
	make_row(h, B, CSR_PENDING);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_USED, A);
	h->hsm.fail[CALL_CONFIRM] = E_UNAVAIL;
	run_pass(h, &options);
	assert_int_equal(h->e, E_UNAVAIL);
	assert_true(h->report.compared);
	assert_int_equal(state_of(h, B), CSR_FAILED);
	assert_int_equal(life_of(h, 1), MESSAGE_LIFE_USED);
	h->hsm.fail[CALL_CONFIRM] = E_OK;
	assert_quiet_pass(h);
	assert_int_equal(life_of(h, 1), MESSAGE_LIFE_NONE);
}

static void test_without_the_unsettled_keys_there_is_no_pass(void **state)
{
	struct house *h = *state;
	struct reconcile_options options = options_of(h, true, true);

	make_row(h, A, CSR_PENDING);
	h->hsm.fail[CALL_UNSETTLED] = E_UNAVAIL;
	run_pass(h, &options);
	assert_int_equal(h->e, E_UNAVAIL);
	assert_int_equal(state_of(h, A), CSR_PENDING);
}

/* ---- keys with names ---- */

static void test_keys_are_compared_by_their_names(void **state)
{
	struct house *h = *state;

	make_named_row(h, A, 1);
	make_named_row(h, B, 2); /* missing */
	make_row(h, C, CSR_ACTIVE);
	hsm_put(&h->hsm, C, MESSAGE_KEY_PAIR, 0);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_NONE, "");
	hsm_put_named(&h->hsm, 3, MESSAGE_LIFE_READY, "");
	hsm_put_named(&h->hsm, 4, MESSAGE_LIFE_READY, "");
	hsm_put_named(&h->hsm, 5, MESSAGE_LIFE_OTHER, "");
	hsm_put_named(&h->hsm, 6, MESSAGE_LIFE_NONE, "");
	pass(h, true);
	assert_int_equal(h->findings_len, 2);
	assert_found(h, 0, RECONCILE_MISSING, B, 2);
	assert_found(h, 1, RECONCILE_UNKNOWN, "", 6);
	assert_int_equal(h->report.ready, 2);
	assert_int_equal(h->report.others, 1);
	assert_int_equal(h->hsm.calls[CALL_DESTROY], 0);
}

static void test_deletes_go_by_the_name(void **state)
{
	struct house *h = *state;

	make_named_row(h, A, 1);
	make_named_row(h, B, 2);
	delete_row(h, A);
	delete_row(h, B);
	move_row(h, B, CSR_DELETING, CSR_DESTROYED);
	settle(h, 0);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_NONE, "");
	hsm_put_named(&h->hsm, 2, MESSAGE_LIFE_NONE, ""); /* came back with the token's backup */
	pass(h, true);
	assert_found(h, 0, RECONCILE_DELETING, A, 1);
	assert_found(h, 1, RECONCILE_LEFTOVER, B, 2);
	assert_null(key_of(&h->hsm, name_of(1)));
	assert_null(key_of(&h->hsm, name_of(2)));
	assert_int_equal(state_of(h, A), CSR_DESTROYED);
	assert_quiet_pass(h);
}

/* A row on another token has not this one's key, though it has its name (a token that was copied). */
static void test_a_named_key_of_a_row_of_another_token_is_unknown(void **state)
{
	struct house *h = *state;

	add_row(h, A, "other", name_of(1));
	settle(h, 0);
	hsm_put_named(&h->hsm, 1, MESSAGE_LIFE_NONE, "");
	pass(h, true);
	assert_int_equal(h->findings_len, 1);
	assert_found(h, 0, RECONCILE_UNKNOWN, "", 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_pending_with_a_key_is_failed_and_the_key_destroyed),
	    T(test_pending_without_a_key_is_failed),
	    T(test_deleting_is_ended),
	    T(test_key_of_a_failed_or_destroyed_row_is_destroyed),
	    T(test_active_without_a_whole_pair_is_missing),
	    T(test_active_with_the_pair_of_another_key_is_missing),
	    T(test_unknown_keys_are_reported_and_never_destroyed),
	    T(test_rows_of_another_token_are_left_alone),
	    T(test_what_is_well_is_not_found),
	    T(test_without_apply_nothing_changes),
	    T(test_rows_only),
	    T(test_young_rows_are_left_alone),
	    T(test_what_this_process_works_on_is_left_alone),
	    T(test_what_the_signer_works_on_is_left_alone),
	    T(test_a_delete_that_ends_meanwhile_is_fine),
	    T(test_a_create_after_the_list_is_not_missing),
	    T(test_a_delete_after_the_page_is_not_missing),
	    T(test_a_key_whose_row_came_after_the_page_is_not_unknown),
	    T(test_a_leftover_that_went_by_itself_is_not_found),
	    T(test_a_label_listed_twice_is_asked_for),
	    T(test_a_signer_that_is_away_ends_the_pass),
	    T(test_a_lost_destroy_of_a_failed_row_is_made_up_for),
	    T(test_one_bad_object_does_not_stop_the_others),
	    T(test_a_token_that_fails_every_time_ends_the_pass),
	    T(test_a_list_that_fails_ends_the_pass),
	    T(test_a_list_with_unread_objects_is_said_to_be_incomplete),
	    T(test_a_pass_stops_when_told),
	    T(test_ten_thousand_keys),
	    T(test_keys_of_rows_set_aside_are_kept_until_given_up),
	    T(test_key_that_comes_back_of_a_row_set_aside_is_kept),
	    T(test_without_a_signer_that_vouches_nothing_changes),
	    T(test_rows_of_the_future_are_old),
	    T(test_open_rows_are_left_to_who_settles_them),
	    T(test_one_more_list_answers_for_many_missing_keys),
	    T(test_what_lists_with_unread_objects_lack_is_unclear),
	    T(test_a_wrong_key_is_not_unclear),
	    T(test_a_second_list_with_unread_objects_makes_it_unclear),
	    T(test_a_second_list_that_is_whole_is_enough),
	    T(test_keys_that_the_second_list_has_are_not_missing),
	    T(test_a_leftover_that_stays_is_recorded_once),
	    T(test_the_signer_learns_which_csrs_stand),
	    T(test_a_used_key_without_a_row_goes),
	    T(test_a_used_key_that_is_gone_is_settled),
	    T(test_a_used_key_in_work_is_left_alone),
	    T(test_rows_are_confirmed_whoever_makes_them),
	    T(test_a_store_that_is_not_vouched_for_destroys_no_used_key),
	    T(test_a_used_key_of_a_row_with_another_key_is_unknown),
	    T(test_a_create_that_ends_meanwhile_keeps_its_key),
	    T(test_a_create_cannot_end_while_its_key_is_destroyed),
	    T(test_a_lost_destroy_of_a_used_key_is_made_up_for),
	    T(test_many_unsettled_keys_come_page_by_page),
	    T(test_a_confirm_that_fails_is_made_up_for),
	    T(test_without_the_unsettled_keys_there_is_no_pass),
	    T(test_keys_are_compared_by_their_names),
	    T(test_deletes_go_by_the_name),
	    T(test_a_named_key_of_a_row_of_another_token_is_unknown),
	};

	return cmocka_run_group_tests_name("reconcile", tests, NULL, NULL);
}
