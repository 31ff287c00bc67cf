/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_handle from end to end, over the real store on a database in memory and
 * the fake HSM: every row of the contract's error table, idempotency, what
 * becomes of a create and a delete when the HSM or the store fails, draining
 * (F87, F95, F96, F99).
 */
#include "tests/unit/cmocka_all.h"

#include "api/api.h"
#include "api/credential.h"
#include "api/json.h"
#include "api/problem.h"
#include "base/clock.h"
#include "tests/fakes/hsm_fake.h"
#include "tests/fakes/no_random.h"
#include "tests/fakes/old_rows.h"
#include "tests/fakes/store_memory.h"

#include <openssl/evp.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT "account_id"
#define ZONE "zone_id"
#define OTHER_ACCOUNT "other_account"
#define SMALL_ACCOUNT "small_account"
#define ID_OF_NONE "7b163417-1d2b-4c84-a38a-2fb7a0cd7752"
#define WRITER "writer-token"
#define READER "reader-token"
#define EXPIRED "expired-token"
#define REVOKED "revoked-token"
#define FUTURE "future-token"
#define USER_KEY "144c9defac04969c7bfad8efaa8ea194"
#define ACCOUNT_CSRS "/client/v4/accounts/" ACCOUNT "/custom_csrs"
#define ZONE_CSRS "/client/v4/zones/" ZONE "/custom_csrs"
#define PATIENCE_MS 20000
#define WAITING_MAX 9
#define REALM "Bearer realm=\"csrd\""
#define REQUEST_ID "11111111-2222-4333-8444-555555555555"
#define GOOD_BODY                                                                                            \
	"{\"country\":\"US\",\"state\":\"California\",\"locality\":\"Here\",\"organization\":\"Some\","      \
	"\"common_name\":\"app.example.com\",\"sans\":[\"app.example.com\"]}"

struct fixture {
	struct config config;
	struct store *store;
	struct hsm *hsm;
	struct hsm *old_hsm; /* of ready_is_what_creates_need alone */
	struct api *api;
	unsigned reconciles;
	unsigned confirms; /* that the api asked for, and the last of them */
	char confirmed[KEY_LABEL_SIZE];
	uint64_t tick_ms; /* when the api wants a turn; 0: never */
};

/* How far UTC is from what it is; see tests.mk. */
static int64_t wall_offset_us;
int64_t __real_clock_wall_us(void);
int64_t __wrap_clock_wall_us(void);
int64_t __wrap_clock_wall_us(void)
{
	return __real_clock_wall_us() + wall_offset_us;
}

/* The hash of a credential cannot be made: out of memory. */
static bool no_digest;
int __real_EVP_Digest(const void *data, size_t count, unsigned char *md, unsigned *size, const EVP_MD *type,
		      ENGINE *impl);
int __wrap_EVP_Digest(const void *data, size_t count, unsigned char *md, unsigned *size, const EVP_MD *type,
		      ENGINE *impl);
int __wrap_EVP_Digest(const void *data, size_t count, unsigned char *md, unsigned *size, const EVP_MD *type,
		      ENGINE *impl)
{
	return no_digest ? 0 : __real_EVP_Digest(data, count, md, size, type, impl);
}

/* ---- one request ---- */

struct call {
	struct request request;
	const char *authorization;
	const char *email;
	const char *key;
	const char *content_type;
	const char *idempotency_key;
	struct http_header more; /* another one */
	bool refused;            /* by the HTTP layer */
	bool replied;
	int status;
	char *body;
	struct json_doc *doc;
	char headers[API_REPLY_HEADERS_MAX][2][128];
	size_t headers_len;
};

static const char *request_header(const struct request *r, const char *name)
{
	const struct call *call = r->transport;

	if (strcmp(name, "Authorization") == 0)
		return call->authorization;
	if (strcmp(name, "X-Auth-Email") == 0)
		return call->email;
	if (strcmp(name, "X-Auth-Key") == 0)
		return call->key;
	if (strcmp(name, "Content-Type") == 0)
		return call->content_type;
	if (call->more.name && strcmp(name, call->more.name) == 0)
		return call->more.value;
	return strcmp(name, "Idempotency-Key") == 0 ? call->idempotency_key : NULL;
}

static void on_reply(struct request *r, const struct reply *reply)
{
	struct call *call = r->transport;
	char why[JSON_WHY_SIZE];

	assert_false(call->replied);
	call->replied = true;
	call->status = reply->status;
	call->body = strndup(reply->body_len > 0 ? reply->body : "", reply->body_len);
	assert_non_null(call->body);
	if (reply->body_is_given)
		free(reply->body);
	assert_true(reply->headers_len <= API_REPLY_HEADERS_MAX);
	call->headers_len = reply->headers_len;
	for (size_t i = 0; i < reply->headers_len; i++) {
		snprintf(call->headers[i][0], sizeof(call->headers[i][0]), "%s", reply->headers[i].name);
		snprintf(call->headers[i][1], sizeof(call->headers[i][1]), "%s", reply->headers[i].value);
	}
	if (reply->body_len > 0 && json_read(call->body, reply->body_len, why, &call->doc) != E_OK)
		fail_msg("the answer is no JSON object: %s: %s", why, call->body);
}

static struct call new_call(enum http_method method, const char *path, const char *body)
{
	struct call call = {
	    .request = {.method = method,
			.path = path,
			.header = request_header,
			.body = body,
			.body_len = body ? strlen(body) : 0,
			.peer = "127.0.0.1:41234",
			.deadline_ms = clock_ms() + 30000,
			.id = REQUEST_ID,
			.reply = on_reply},
	    .authorization = "Bearer " WRITER,
	    .content_type = "application/json",
	};

	return call;
}

static void call_release(struct call *call)
{
	free(call->body);
	json_doc_free(call->doc);
	call->body = NULL;
	call->doc = NULL;
	call->replied = false;
}

static const char *reply_header(const struct call *call, const char *name)
{
	for (size_t i = 0; i < call->headers_len; i++) {
		if (strcmp(call->headers[i][0], name) == 0)
			return call->headers[i][1];
	}
	return "";
}

static void start(struct fixture *f, struct call *call)
{
	call->request.transport = call;
	api_handle(f->api, &call->request);
}

/* A turn of the loop: what the store has to say, and the turn that the api asked for. */
static void store_turn(struct fixture *f)
{
	struct pollfd p = {.fd = store_fd(f->store), .events = POLLIN};

	if (poll(&p, 1, 10) > 0)
		store_dispatch(f->store);
	if (f->tick_ms != 0 && f->tick_ms <= clock_ms()) {
		f->tick_ms = 0;
		api_tick(f->api);
	}
}

static void wait_for_reply(struct fixture *f, struct call *call)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (!call->replied) {
		hsm_fake_run(f->hsm);
		if (f->old_hsm)
			hsm_fake_run(f->old_hsm);
		if (!call->replied)
			store_turn(f);
		if (clock_ms() > until)
			fail_msg("no answer to '%s'", call->request.path);
	}
}

/* Until the handler has asked the HSM for something. */
static void wait_for_hsm(struct fixture *f, struct call *call)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (hsm_in_flight(f->hsm) == 0) {
		store_turn(f);
		if (call->replied)
			fail_msg("answered before the HSM was asked: %s", call->body);
		if (clock_ms() > until)
			fail_msg("the HSM is not asked");
	}
}

/* Until so many calls are with the HSM. */
static void wait_for_hsm_calls(struct fixture *f, unsigned calls)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (hsm_in_flight(f->hsm) < calls) {
		store_turn(f);
		if (clock_ms() > until)
			fail_msg("%u calls are with the HSM, and not %u", hsm_in_flight(f->hsm), calls);
	}
}

/* Until so many wait for others. */
static void wait_for_waiters(struct fixture *f, unsigned waiters)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (api_waiting(f->api) != waiters) {
		store_turn(f);
		if (clock_ms() > until)
			fail_msg("%u requests wait, and not %u", api_waiting(f->api), waiters);
	}
}

/* As wait_for_reply; the HSM does nothing meanwhile. */
static void wait_without_hsm(struct fixture *f, struct call *call)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (!call->replied) {
		store_turn(f);
		if (clock_ms() > until)
			fail_msg("no answer to '%s'", call->request.path);
	}
}

static void perform(struct fixture *f, struct call *call)
{
	start(f, call);
	wait_for_reply(f, call);
}

/* ---- what is in an answer ---- */

static struct json_value member_of(const struct call *call, const char *outer, const char *name)
{
	return json_member(json_member(json_root(call->doc), outer), name);
}

static const char *result_text(const struct call *call, const char *name)
{
	return json_text(member_of(call, "result", name));
}

static struct json_value first_error(const struct call *call)
{
	return json_array_item(json_member(json_root(call->doc), "errors"), 0);
}

static bool has_code(const struct call *call, int code)
{
	char text[32];

	snprintf(text, sizeof(text), "{\"code\":%d,", code);
	return strstr(call->body, text) != NULL;
}

/* The envelope and the headers of every answer, whatever it says. */
static void check_envelope(const struct call *call)
{
	struct json_value root = json_root(call->doc);
	bool success = call->status < 300;

	assert_string_equal(reply_header(call, "Content-Type"), "application/json");
	assert_string_equal(reply_header(call, "X-Request-Id"), REQUEST_ID);
	assert_string_equal(reply_header(call, "Cache-Control"), "no-store");
	assert_non_null(strstr(call->body, success ? "{\"success\":true," : "{\"success\":false,"));
	assert_int_equal(json_member(root, "messages").kind, JSON_ARRAY);
	assert_int_equal(json_array_len(json_member(root, "errors")) > 0, !success);
	if (!success)
		assert_int_equal(json_member(root, "result").kind, JSON_NULL);
	if (call->status == 503)
		assert_string_equal(reply_header(call, "Retry-After"), call->refused ? "1" : "5");
	/* F136 */
	if (success || call->status == 408 || call->status == 429 || call->status == 503)
		assert_string_equal(reply_header(call, "x-should-retry"), "");
	else
		assert_string_equal(reply_header(call, "x-should-retry"), "false");
	if (call->status == 401)
		assert_int_equal(strncmp(reply_header(call, "WWW-Authenticate"), REALM, strlen(REALM)), 0);
}

static void expect(struct call *call, int status, int code)
{
	if (call->status != status || (code && !has_code(call, code)))
		fail_msg("'%s': %d instead of %d %d: %s", call->request.path, call->status, status, code,
			 call->body);
	check_envelope(call);
}

static void perform_expect(struct fixture *f, struct call *call, int status, int code)
{
	perform(f, call);
	expect(call, status, code);
}

/* Performs, expects, and lets go. */
static void once(struct fixture *f, struct call call, int status, int code)
{
	perform_expect(f, &call, status, code);
	call_release(&call);
}

/* Creates one, and says its id. */
static void create(struct fixture *f, const char *path, const char *body, char id[CSR_ID_SIZE])
{
	struct call call = new_call(HTTP_POST, path, body);

	perform_expect(f, &call, 201, 0);
	snprintf(id, CSR_ID_SIZE, "%s", result_text(&call, "id"));
	call_release(&call);
}

static struct call item_call(enum http_method method, const char *collection, const char *id, char path[160])
{
	snprintf(path, 160, "%s/%s", collection, id);
	return new_call(method, path, NULL);
}

/* ---- what is in the store ---- */

struct row {
	bool done;
	enum err e;
	enum csr_state state;
	char actions[256];
	char last_request_id[64];
	char id[CSR_ID_SIZE];
	char label[KEY_LABEL_SIZE];
	unsigned count;
};

static void on_row(void *arg, enum err e, struct csr_record *record)
{
	struct row *row = arg;

	row->e = e;
	row->state = record ? record->state : 0;
	row->done = true;
	csr_record_free(record);
}

static enum csr_state state_of(struct fixture *f, const char *id)
{
	struct row row = {0};

	store_csr_get(f->store, NULL, id, on_row, &row);
	store_wait(f->store, &row.done);
	assert_int_equal(row.e, E_OK);
	return row.state;
}

static void on_rows(void *arg, enum err e, const struct store_csr_page *page)
{
	struct row *row = arg;

	row->e = e;
	row->count = (unsigned)page->records_len;
	if (page->records_len > 0) {
		row->state = page->records[0].state;
		snprintf(row->id, sizeof(row->id), "%s", page->records[0].id);
		snprintf(row->label, sizeof(row->label), "%s", page->records[0].key_label);
	}
	row->done = true;
}

/* How many rows there are; one of them. */
static struct row rows(struct fixture *f)
{
	struct row row = {0};
	struct store_csr_query query = {.states = 0x3e, .order = STORE_ORDER_CREATED_AT, .limit = 10};

	store_csr_list(f->store, &query, on_rows, &row);
	store_wait(f->store, &row.done);
	assert_int_equal(row.e, E_OK);
	return row;
}

/* The only row of all that there is. */
static struct row only_row(struct fixture *f)
{
	struct row row = rows(f);

	assert_int_equal(row.count, 1);
	return row;
}

static void on_failed(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct row *row = arg;

	row->e = e;
	row->count = (unsigned)len;
	if (len > 0)
		snprintf(row->id, sizeof(row->id), "%s", records[0].object);
	row->done = true;
}

/* How many creates the trail calls failed; the last of them. */
static struct row failed(struct fixture *f)
{
	struct row row = {0};
	struct store_audit_query query = {.action = "csr.failed", .limit = 100};

	store_audit_search(f->store, &query, on_failed, &row);
	store_wait(f->store, &row.done);
	assert_int_equal(row.e, E_OK);
	return row;
}

static void on_audit(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct row *row = arg;

	row->e = e;
	for (size_t i = 0; i < len; i++) {
		size_t used = strlen(row->actions);

		snprintf(row->actions + used, sizeof(row->actions) - used, "%s%s", i ? " " : "",
			 records[i].action);
		snprintf(row->last_request_id, sizeof(row->last_request_id), "%s", records[i].request_id);
	}
	row->done = true;
}

static void expect_audit(struct fixture *f, const char *id, const char *actions)
{
	struct row row = {0};

	store_audit_list(f->store, &(struct store_trail_query){.object = id, .limit = STORE_LIST_MAX},
			 on_audit, &row);
	store_wait(f->store, &row.done);
	assert_int_equal(row.e, E_OK);
	assert_string_equal(row.actions, actions);
	assert_string_equal(row.last_request_id, REQUEST_ID);
}

static void on_done(void *arg, enum err e)
{
	struct row *row = arg;

	row->e = e;
	row->done = true;
}

static void await(struct fixture *f, struct row *row)
{
	store_wait(f->store, &row->done);
	assert_int_equal(row->e, E_OK);
	row->done = false;
}

static void add_principal(struct fixture *f, struct principal *p, const char *secret)
{
	static const struct audit_origin origin = {.actor = "operator:test"};
	struct row row = {0};

	assert_int_equal(credential_make_uuid(p->id), E_OK);
	assert_int_equal(credential_hash(secret, p->secret_hash), E_OK);
	store_principal_add(f->store, p, &origin, on_done, &row);
	await(f, &row);
}

static void fill_store(struct fixture *f)
{
	static const struct audit_origin origin = {.actor = "operator:test"};
	char name[] = "test";
	char email[] = "user@example.com";
	struct grant write[] = {
	    {{STORE_ACCOUNT, ACCOUNT}, GRANT_WRITE},
	    {{STORE_ZONE, ZONE}, GRANT_WRITE},
	    {{STORE_ACCOUNT, SMALL_ACCOUNT}, GRANT_WRITE},
	};
	struct grant read[] = {{{STORE_ACCOUNT, ACCOUNT}, GRANT_READ}};
	static const char *const accounts[] = {ACCOUNT, OTHER_ACCOUNT, SMALL_ACCOUNT};
	struct zone_record zone = {
	    .id = ZONE, .account_id = ACCOUNT, .name = name, .csr_quota = STORE_NO_LIMIT};
	struct principal p = {.kind = PRINCIPAL_TOKEN, .name = name, .grants = write, .grants_len = 3};
	struct row row = {0};

	for (size_t i = 0; i < 3; i++) {
		struct account_record account = {.name = name, .csr_quota = i == 2 ? 1 : STORE_NO_LIMIT};

		snprintf(account.id, sizeof(account.id), "%s", accounts[i]);
		store_account_add(f->store, &account, &origin, on_done, &row);
		await(f, &row);
	}
	store_zone_add(f->store, &zone, &origin, on_done, &row);
	await(f, &row);
	add_principal(f, &p, WRITER);
	add_principal(f, &p, REVOKED);
	store_principal_revoke(f->store, PRINCIPAL_TOKEN, p.id, &origin, on_done, &row);
	await(f, &row);
	p.expires_us = clock_wall_us() - 1;
	add_principal(f, &p, EXPIRED);
	p.expires_us = 0;
	p.not_before_us = clock_wall_us() + 3600 * (int64_t)1000000;
	add_principal(f, &p, FUTURE);
	p.not_before_us = clock_wall_us() - 1000000;
	p.expires_us = clock_wall_us() + 3600 * (int64_t)1000000;
	p.grants = read;
	p.grants_len = 1;
	add_principal(f, &p, READER);
	p = (struct principal){.kind = PRINCIPAL_USER, .name = email, .grants = write, .grants_len = 3};
	add_principal(f, &p, USER_KEY);
}

static void on_want_reconcile(void *arg)
{
	struct fixture *f = arg;

	f->reconciles++;
}

static void on_want_confirm(void *arg, struct hsm *hsm, const char *key_label)
{
	struct fixture *f = arg;

	assert_ptr_equal(hsm, f->hsm);
	f->confirms++;
	snprintf(f->confirmed, sizeof(f->confirmed), "%s", key_label);
}

static void on_want_tick(void *arg, uint64_t at_ms)
{
	struct fixture *f = arg;

	f->tick_ms = at_ms;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct api_options options = {.hsms_len = 1,
				      .want_reconcile = on_want_reconcile,
				      .want_confirm = on_want_confirm,
				      .want_tick = on_want_tick,
				      .waiting_max = WAITING_MAX};

	assert_non_null(f);
	wall_offset_us = 0;
	f->config.policy.key_types = KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1);
	f->config.policy.san_types = SAN_TYPE_BIT(SAN_DNS);
	f->config.policy.idempotency_ttl_ms = (uint64_t)24 * 3600 * 1000;
	assert_int_equal(store_memory_open("handlers", &f->store), E_OK);
	f->hsm = hsm_fake_new("default");
	fill_store(f);
	options.config = &f->config;
	options.store = f->store;
	options.hsms = &f->hsm;
	options.want_reconcile_arg = f;
	options.want_confirm_arg = f;
	options.want_tick_arg = f;
	assert_int_equal(api_new(&options, &f->api), E_OK);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(api_in_flight(f->api), 0);
	store_close(f->store);
	hsm_free(f->hsm);
	api_free(f->api);
	free(f);
	store_memory_forget();
	return 0;
}

/* ---- create ---- */

static void a_create_answers_what_was_sent(void **state)
{
	struct fixture *f = *state;
	struct call call =
	    new_call(HTTP_POST, ACCOUNT_CSRS,
		     "{\"common_name\":\"J\\u00fcrgen\",\"country\":\"DE\",\"locality\":\"K\xc3\xb6ln\","
		     "\"organization\":\"O\","
		     "\"organizational_unit\":\"U\",\"sans\":[\"B.example.com\",\"*.a.example.com\"],"
		     "\"state\":\"NRW\","
		     "\"key_type\":\"p256v1\",\"name\":\"n\",\"description\":\"d\"}");
	struct json_value sans;

	perform_expect(f, &call, 201, 0);
	assert_string_equal(result_text(&call, "key_type"), "p256v1");
	assert_string_equal(result_text(&call, "account_tag"), ACCOUNT);
	assert_string_equal(result_text(&call, "common_name"), "J\xc3\xbcrgen");
	assert_string_equal(result_text(&call, "country"), "DE");
	assert_string_equal(result_text(&call, "locality"), "K\xc3\xb6ln");
	assert_string_equal(result_text(&call, "organization"), "O");
	assert_string_equal(result_text(&call, "organizational_unit"), "U");
	assert_string_equal(result_text(&call, "state"), "NRW");
	assert_string_equal(result_text(&call, "name"), "n");
	assert_string_equal(result_text(&call, "description"), "d");
	sans = member_of(&call, "result", "sans");
	assert_int_equal(json_array_len(sans), 2);
	assert_string_equal(json_text(json_array_item(sans, 0)), "B.example.com");
	assert_string_equal(json_text(json_array_item(sans, 1)), "*.a.example.com");
	/* 100 bytes of 0x30 in lines of 64 columns */
	assert_string_equal(result_text(&call, "csr"),
			    "-----BEGIN CERTIFICATE REQUEST-----\n"
			    "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw\n"
			    "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw\n"
			    "MDAwMA==\n"
			    "-----END CERTIFICATE REQUEST-----\n");
	assert_int_equal(strlen(result_text(&call, "created_at")), 27);
	assert_int_equal(state_of(f, result_text(&call, "id")), CSR_ACTIVE);
	assert_int_equal(hsm_fake_key(f->hsm, result_text(&call, "id")), MESSAGE_KEY_PAIR);
	assert_string_equal(hsm_fake_last_spec(f->hsm)->sans[1].value, "*.a.example.com");
	expect_audit(f, result_text(&call, "id"), "csr.active");
	call_release(&call);
}

static void fields_not_given_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_POST, ZONE_CSRS, GOOD_BODY);

	perform_expect(f, &call, 201, 0);
	assert_string_equal(result_text(&call, "key_type"), "rsa2048");
	assert_string_equal(result_text(&call, "account_tag"), ACCOUNT); /* the zone's */
	assert_int_equal(member_of(&call, "result", "name").kind, JSON_ABSENT);
	assert_int_equal(member_of(&call, "result", "description").kind, JSON_ABSENT);
	assert_int_equal(member_of(&call, "result", "organizational_unit").kind, JSON_ABSENT);
	assert_int_equal(member_of(&call, "result", "state").kind, JSON_STRING);
	call_release(&call);
}

/*
 * I1: the row is durable, with its key, before the answer, and the signer is told after that; and the HSM's
 * deadline is before the caller's.
 */
static void the_row_comes_before_the_answer(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	struct row row;

	start(f, &call);
	assert_int_equal(api_in_flight(f->api), 1);
	wait_for_hsm(f, &call);
	assert_int_equal(rows(f).count, 0);
	assert_true(hsm_fake_last_deadline_ms(f->hsm) <= call.request.deadline_ms - 2000);
	assert_true(hsm_fake_last_deadline_ms(f->hsm) > clock_ms());
	store_memory_pause();
	hsm_fake_run(f->hsm);
	store_memory_wait_paused();
	assert_false(call.replied);
	assert_int_equal(f->confirms, 0);
	store_memory_resume();
	wait_for_reply(f, &call);
	expect(&call, 201, 0);
	row = only_row(f);
	assert_int_equal(row.state, CSR_ACTIVE);
	assert_string_equal(row.id, result_text(&call, "id"));
	assert_string_equal(row.label, hsm_fake_key_label(f->hsm, row.id));
	assert_int_equal(f->confirms, 1);
	assert_string_equal(f->confirmed, row.label);
	expect_audit(f, row.id, "csr.active");
	assert_false(api_works_on(f->api, row.id));
	call_release(&call);
}

/* What reconciliation leaves alone: from before the signer is asked until all has its end. */
static void a_create_is_in_work_to_its_end(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	char id[CSR_ID_SIZE];

	hsm_fake_mistake_type(f->hsm, KEY_P256V1);
	start(f, &call);
	wait_for_hsm(f, &call);
	hsm_fake_run(f->hsm); /* made */
	wait_for_hsm(f, &call);
	snprintf(id, sizeof(id), "%s", failed(f).id);
	assert_true(api_works_on(f->api, id));
	wait_for_reply(f, &call); /* destroyed */
	expect(&call, 500, 1500);
	assert_false(api_works_on(f->api, id));
	call_release(&call);
}

static void content_types(void **state)
{
	static const struct {
		const char *type;
		int status;
	} table[] = {
	    {"application/json", 201},
	    {"Application/JSON; charset=utf-8", 201},
	    {"application/json ;charset=utf-8", 201},
	    {NULL, 415},
	    {"", 415},
	    {"text/plain", 415},
	    {"application/x-www-form-urlencoded", 415},
	    {"application/jsonx", 415},
	    {"application/json-patch+json", 415},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);

		call.content_type = table[i].type;
		once(*state, call, table[i].status, table[i].status == 415 ? 10415 : 0);
	}
}

/* ---- every row of the error table ---- */

#define SUBJECT "\"country\":\"US\",\"state\":\"S\",\"locality\":\"L\",\"organization\":\"O\""
#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CN ",\"common_name\":\"cn\""
#define SANS ",\"sans\":[\"a.debian.org\"]"

static const struct {
	int code;
	const char *body;
	const char *pointer;
} body_errors[] = {
    {1400, NULL, ""},
    {1400, "{", ""},
    {1400, "{" SUBJECT CN SANS ",\"x\":1}", "/x"},
    {1405, "{\"country\":\"ZZ\",\"state\":\"S\",\"locality\":\"L\",\"organization\":\"O\"" CN SANS "}",
     "/country"},
    {1406, "{\"country\":\"US\",\"locality\":\"L\",\"organization\":\"O\"" CN SANS "}", "/state"},
    {1407, "{\"country\":\"US\",\"state\":\"S\",\"organization\":\"O\"" CN SANS "}", "/locality"},
    {1408, "{\"country\":\"US\",\"state\":\"S\",\"locality\":\"L\"" CN SANS "}", "/organization"},
    {1409, "{" SUBJECT SANS "}", "/common_name"},
    {1410, "{" SUBJECT SANS ",\"common_name\":\"" A32 A32 "a\"}", "/common_name"},
    {1411, "{" SUBJECT CN "}", "/sans"},
    {1412, "{" SUBJECT CN ",\"sans\":[\"a.debian.org\",\"a_b\"]}", "/sans/1"},
    {1413, "{" SUBJECT CN ",\"sans\":[\"\xc3\xa9.org\"]}", "/sans/0"},
    {1414, "{" SUBJECT CN ",\"sans\":[\"a.local\"]}", "/sans/0"},
    {1415, "{" SUBJECT CN ",\"sans\":[\"co.uk\"]}", "/sans/0"},
    {1416, "{" SUBJECT CN ",\"sans\":[\"a.example.com\"]}", "/sans/0"},
    {1417, "{" SUBJECT CN SANS ",\"key_type\":\"dsa\"}", "/key_type"},
};

static void body_errors_have_their_codes(void **state)
{
	struct fixture *f = *state;

	f->config.policy.public_names_only = true;
	for (size_t i = 0; i < sizeof(body_errors) / sizeof(body_errors[0]); i++) {
		struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, body_errors[i].body);
		struct json_value source;

		perform_expect(f, &call, 400, body_errors[i].code);
		source = json_member(first_error(&call), "source");
		assert_string_equal(json_text(json_member(source, "pointer")), body_errors[i].pointer);
		call_release(&call);
	}
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 0);
}

struct credential_row {
	const char *authorization;
	const char *email;
	const char *key;
	int status;
	int code;
};

static const struct credential_row credential_table[] = {
    {NULL, NULL, NULL, 400, 1402},
    {NULL, "user@example.com", NULL, 400, 1402},
    {"Bearer unknown", NULL, NULL, 401, 1000},
    {"Bearer", NULL, NULL, 401, 1000},
    {"Basic dTpw", NULL, NULL, 401, 1000},
    {"Bearer " EXPIRED, NULL, NULL, 401, 1000},
    {"Bearer " REVOKED, NULL, NULL, 401, 1000},
    {"Bearer " FUTURE, NULL, NULL, 401, 1000},
    {"Bearer " USER_KEY, NULL, NULL, 401, 1000},
    {"Bearer unknown", "user@example.com", USER_KEY, 401, 1000}, /* no fall-through */
    {NULL, "user@example.com", "unknown", 401, 1000},
    {NULL, "other@example.com", USER_KEY, 401, 1000},
    {NULL, "user@example.com", WRITER, 401, 1000},
    {NULL, "user@example.com", USER_KEY, 200, 0},
    {NULL, "USER@example.com", USER_KEY, 200, 0},
    {"Bearer " WRITER, "nobody@example.com", "nothing", 200, 0},
    {"Bearer " READER, NULL, NULL, 200, 0},
};

static void credentials_decide(void **state)
{
	for (size_t i = 0; i < sizeof(credential_table) / sizeof(credential_table[0]); i++) {
		struct call call = new_call(HTTP_GET, ACCOUNT_CSRS, NULL);

		call.authorization = credential_table[i].authorization;
		call.email = credential_table[i].email;
		call.key = credential_table[i].key;
		once(*state, call, credential_table[i].status, credential_table[i].code);
	}
}

/* F396: with Retry-After, as every 503 */
static void a_credential_without_memory_for_its_hash(void **state)
{
	no_digest = true;
	once(*state, new_call(HTTP_GET, "/client/v4/user/tokens/verify", NULL), 503, 1503);
	no_digest = false;
}

static const struct {
	enum http_method method;
	const char *path;
	const char *token;
	int status;
	int code;
} path_table[] = {
    /* nothing is said to those without a credential, but which routes there are */
    {HTTP_GET, "/client/v4/accounts/" OTHER_ACCOUNT "/custom_csrs", NULL, 400, 1402},
    {HTTP_GET, ACCOUNT_CSRS "/not-an-id", NULL, 400, 1402},
    {HTTP_GET, "/client/v4/accounts//custom_csrs", NULL, 400, 1402},
    {HTTP_GET, "/nowhere", NULL, 404, 7003},
    {HTTP_PUT, ACCOUNT_CSRS, NULL, 405, 10405},
    {HTTP_GET, "/client/v4/accounts//custom_csrs", WRITER, 400, 1401},
    {HTTP_POST, "/client/v4/zones//custom_csrs", WRITER, 400, 1401},
    {HTTP_GET, "/client/v4/accounts//tokens/verify", WRITER, 400, 1401},
    /* F95: other people's scopes, and grants that do not reach that far */
    {HTTP_GET, "/client/v4/accounts/" OTHER_ACCOUNT "/custom_csrs", WRITER, 403, 1404},
    {HTTP_GET, "/client/v4/accounts/" OTHER_ACCOUNT "/custom_csrs/" ID_OF_NONE, WRITER, 403, 1404},
    {HTTP_GET, "/client/v4/accounts/nobody/custom_csrs", WRITER, 403, 1404},
    {HTTP_GET, "/client/v4/zones/" ACCOUNT "/custom_csrs", WRITER, 403, 1404},
    {HTTP_POST, "/client/v4/accounts/" OTHER_ACCOUNT "/custom_csrs", WRITER, 403, 1404},
    {HTTP_POST, ACCOUNT_CSRS, READER, 403, 1404},
    {HTTP_DELETE, ACCOUNT_CSRS "/" ID_OF_NONE, READER, 403, 1404},
    {HTTP_GET, ZONE_CSRS, READER, 403, 1404},
    {HTTP_GET, ACCOUNT_CSRS "/" ID_OF_NONE, READER, 404, 1419},
    {HTTP_GET, ACCOUNT_CSRS "/" ID_OF_NONE, WRITER, 404, 1419},
    {HTTP_DELETE, ACCOUNT_CSRS "/" ID_OF_NONE, WRITER, 404, 1419},
    {HTTP_GET, ACCOUNT_CSRS "/", WRITER, 400, 1418},
    {HTTP_DELETE, ACCOUNT_CSRS "/", WRITER, 400, 1418},
    {HTTP_POST, ACCOUNT_CSRS "/", WRITER, 400, 1418},
    {HTTP_GET, ACCOUNT_CSRS "/x", WRITER, 400, 1418},
    {HTTP_DELETE, ACCOUNT_CSRS "/%2e", WRITER, 400, 1418},
    {HTTP_DELETE, ACCOUNT_CSRS "/' OR 1=1 --", WRITER, 400, 1418},
    {HTTP_GET, "/client/v4/accounts/%61/custom_csrs", WRITER, 404, 7003},
    {HTTP_HEAD, ACCOUNT_CSRS, WRITER, 200, 0},
    {HTTP_HEAD, ACCOUNT_CSRS, NULL, 400, 1402},
    {HTTP_HEAD, "/nothing", WRITER, 404, 7003},
    {HTTP_OPTIONS, "/nothing", WRITER, 404, 7003},
    {HTTP_POST, "/healthz", NULL, 405, 10405},
    {HTTP_PATCH, ACCOUNT_CSRS "/" ID_OF_NONE, WRITER, 405, 10405},
};

static void paths_decide(void **state)
{
	for (size_t i = 0; i < sizeof(path_table) / sizeof(path_table[0]); i++) {
		struct call call = new_call(path_table[i].method, path_table[i].path,
					    path_table[i].method == HTTP_POST ? GOOD_BODY : NULL);
		char bearer[64];

		snprintf(bearer, sizeof(bearer), "Bearer %s", path_table[i].token ? path_table[i].token : "");
		call.authorization = path_table[i].token ? bearer : NULL;
		perform_expect(*state, &call, path_table[i].status, path_table[i].code);
		if (call.status == 405)
			assert_string_not_equal(reply_header(&call, "Allow"), "");
		call_release(&call);
	}
}

/* F136: what to do about it is in the message. */
static void refusals_name_the_remedy(void **state)
{
	static const struct {
		enum http_method method;
		const char *path;
		const char *email;
		const char *key;
		const char *words;
	} table[] = {
	    {HTTP_GET, ACCOUNT_CSRS, "user@example.com", NULL, "X-Auth-Email came without X-Auth-Key"},
	    {HTTP_GET, ACCOUNT_CSRS, "user@example.com", "", "X-Auth-Email came without X-Auth-Key"},
	    {HTTP_GET, ACCOUNT_CSRS, NULL, USER_KEY, "X-Auth-Key came without X-Auth-Email"},
	    {HTTP_GET, ACCOUNT_CSRS, "", USER_KEY, "X-Auth-Key came without X-Auth-Email"},
	    {HTTP_GET, ACCOUNT_CSRS, NULL, NULL, "send Authorization: Bearer"},
	    {HTTP_GET, ACCOUNT_CSRS, "", "", "send Authorization: Bearer"},
	    {HTTP_POST, ACCOUNT_CSRS "/", "user@example.com", USER_KEY, "leave out the slash"},
	    {HTTP_DELETE, ZONE_CSRS "/", "user@example.com", USER_KEY, "add the id"},
	    {HTTP_GET, "/client/v4/accounts//custom_csrs", "user@example.com", USER_KEY,
	     "between /accounts/ and the next slash"},
	    {HTTP_POST, "/client/v4/zones//custom_csrs", "user@example.com", USER_KEY,
	     "between /zones/ and the next slash"},
	    {HTTP_GET, "/" ACCOUNT_CSRS, NULL, NULL, "two slashes in a row"},
	    {HTTP_POST, "/client/v4//accounts/a/custom_csrs", NULL, NULL, "two slashes in a row"},
	    {HTTP_GET, "/client/v4/user/tokens/verify/", NULL, NULL, "leave it out"},
	    {HTTP_GET, "/client/v4", NULL, NULL, "/accounts/ID/custom_csrs"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct call call = new_call(table[i].method, table[i].path, NULL);

		call.authorization = NULL;
		call.email = table[i].email;
		call.key = table[i].key;
		perform(*state, &call);
		check_envelope(&call);
		if (call.status / 100 != 4 || !strstr(call.body, table[i].words))
			fail_msg("row %zu, '%s': %d %s", i, table[i].path, call.status, call.body);
		call_release(&call);
	}
}

static void the_http_layer_refuses_in_the_envelope(void **state)
{
	static const struct {
		int status;
		int code;
	} table[] = {
	    {400, 10400}, {404, 7003},  {408, 10408}, {413, 10413}, {414, 10414}, {412, 10412},
	    {415, 10415}, {417, 10417}, {421, 10421}, {431, 10431}, {503, 1503},
	};

	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct call call = new_call(HTTP_POST, "/", NULL);

		call.request.transport = &call;
		call.refused = true;
		api_refuse(f->api, &call.request, table[i].status, i % 2 ? "the reason" : NULL);
		expect(&call, table[i].status, table[i].code);
		if (i % 2)
			assert_non_null(strstr(call.body, "the reason"));
		call_release(&call);
	}
}

/* The numbers themselves, with those that nothing here gives rise to yet. */
static void the_table_is_that_of_the_contract(void **state)
{
	static const struct {
		int code;
		int status;
	} table[] = {
	    {971, 429},   {1000, 401},  {1400, 400},  {1401, 400}, {1402, 400}, {1403, 403}, {1404, 403},
	    {1405, 400},  {1406, 400},  {1407, 400},  {1408, 400}, {1409, 400}, {1410, 400}, {1411, 400},
	    {1412, 400},  {1413, 400},  {1414, 400},  {1415, 400}, {1416, 400}, {1417, 400}, {1418, 400},
	    {1419, 404},  {1420, 409},  {1421, 409},  {1500, 500}, {1503, 503}, {7003, 404}, {10405, 405},
	    {10413, 413}, {10415, 415}, {10431, 431},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum problem_code code = (enum problem_code)table[i].code;

		assert_int_equal(problem_status(code), table[i].status);
		assert_true(strlen(problem_text(code)) > 0);
		assert_int_equal(problem_is_final(code), table[i].status != 429 && table[i].status != 503);
	}
	for (int e = 0; e <= E_BUG; e++)
		assert_true(problem_status(problem_from_err((enum err)e)) >= 400);
	assert_int_equal(problem_status((enum problem_code)1), 500);
}

static void a_quota_ends(void **state)
{
	static const char path[] = "/client/v4/accounts/" SMALL_ACCOUNT "/custom_csrs";
	char item[160];
	char id[CSR_ID_SIZE];

	create(*state, path, GOOD_BODY, id);
	once(*state, new_call(HTTP_POST, path, GOOD_BODY), 403, 1403);
	once(*state, item_call(HTTP_DELETE, path, id, item), 200, 0);
	once(*state, new_call(HTTP_POST, path, GOOD_BODY), 201, 0);
}

/* ---- policies, and what a create would come to (F385–F389) ---- */

#define ONLY(names) "{\"dns_names\":[" names "]}"

static void on_policy_set(void *arg, enum err e, int64_t version)
{
	struct row *row = arg;

	row->e = e;
	row->count = (unsigned)version;
	row->done = true;
}

/* The version that it became. */
static unsigned set_policy(struct fixture *f, enum store_scope_kind kind, const char *id,
			   const char *document)
{
	struct store_policy_set in = {
	    .scope.kind = kind, .document = document, .after = -1, .origin = {.actor = "operator:test"}};
	struct row row = {0};

	snprintf(in.scope.id, sizeof(in.scope.id), "%s", id);
	store_policy_set(f->store, &in, on_policy_set, &row);
	await(f, &row);
	return row.count;
}

struct versions {
	bool done;
	int64_t account, zone;
};

static void on_versions(void *arg, enum err e, struct csr_record *record)
{
	struct versions *v = arg;

	assert_int_equal(e, E_OK);
	v->account = record->account_policy;
	v->zone = record->zone_policy;
	v->done = true;
	csr_record_free(record);
}

static void expect_versions(struct fixture *f, const char *id, int64_t account, int64_t zone)
{
	struct versions v = {0};

	store_csr_get(f->store, NULL, id, on_versions, &v);
	store_wait(f->store, &v.done);
	assert_int_equal(v.account, account);
	assert_int_equal(v.zone, zone);
}

/* F385: each create meets the policies in force, and its row says which they were. */
static void policies_in_force_are_met(void **state)
{
	struct fixture *f = *state;
	char id[CSR_ID_SIZE];

	create(f, ZONE_CSRS, GOOD_BODY, id);
	expect_versions(f, id, 0, 0);
	assert_int_equal(set_policy(f, STORE_ACCOUNT, ACCOUNT, ONLY("\".example.org\"")), 1);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 400, 1412);
	once(f, new_call(HTTP_POST, ZONE_CSRS, GOOD_BODY), 400, 1412);
	assert_int_equal(set_policy(f, STORE_ACCOUNT, ACCOUNT, ONLY("\".example.com\"")), 2);
	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	expect_versions(f, id, 2, 0);
	assert_int_equal(set_policy(f, STORE_ZONE, ZONE, ONLY("\"www.example.com\"")), 1);
	once(f, new_call(HTTP_POST, ZONE_CSRS, GOOD_BODY), 400, 1412);
	assert_int_equal(set_policy(f, STORE_ZONE, ZONE, "{}"), 2);
	create(f, ZONE_CSRS, GOOD_BODY, id);
	expect_versions(f, id, 2, 2);
	/* Another account's is another matter. */
	create(f, "/client/v4/accounts/" SMALL_ACCOUNT "/custom_csrs", GOOD_BODY, id);
	expect_versions(f, id, 0, 0);
	/* One that this csrd cannot read permits nothing. */
	set_policy(f, STORE_ACCOUNT, ACCOUNT, "{\"of_tomorrow\":1}");
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 500, 1500);
}

/* F386: a policy that is set while the key is made decides, and a key that it refuses is not kept. */
static void a_policy_set_meanwhile_decides(void **state)
{
	struct fixture *f = *state;
	struct call refused = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	struct call taken = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);

	start(f, &refused);
	wait_for_hsm(f, &refused);
	set_policy(f, STORE_ACCOUNT, ACCOUNT, ONLY("\"other.example.com\""));
	wait_for_reply(f, &refused);
	expect(&refused, 400, 1412);
	assert_non_null(strstr(refused.body, "(version 1)"));
	call_release(&refused);
	assert_int_equal(rows(f).count, 0);
	assert_int_equal(failed(f).count, 1);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 0);

	set_policy(f, STORE_ACCOUNT, ACCOUNT, "{}");
	start(f, &taken);
	wait_for_hsm(f, &taken);
	set_policy(f, STORE_ACCOUNT, ACCOUNT, ONLY("\"app.example.com\""));
	wait_for_reply(f, &taken);
	expect(&taken, 201, 0);
	expect_versions(f, result_text(&taken, "id"), 3, 0);
	call_release(&taken);
}

/* F387: a repeat gets what the first got, whatever is demanded since; another request does not. */
static void a_repeat_is_older_than_a_policy(void **state)
{
	struct fixture *f = *state;
	struct call first = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	struct call second = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	struct call other = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);

	first.idempotency_key = second.idempotency_key = "k";
	other.idempotency_key = "l";
	perform_expect(f, &first, 201, 0);
	set_policy(f, STORE_ACCOUNT, ACCOUNT, "{\"key_types\":[\"p256v1\"]}");
	perform_expect(f, &second, 201, 0);
	assert_string_equal(first.body, second.body);
	perform_expect(f, &other, 400, 1417);
	call_release(&first);
	call_release(&second);
	call_release(&other);
}

static struct call dry_call(const char *path, const char *query, const char *body)
{
	struct call call = new_call(HTTP_POST, path, body);

	call.request.query = query;
	return call;
}

static void once_dry(struct fixture *f, const char *query, const char *body, int status, int code)
{
	once(f, dry_call(ACCOUNT_CSRS, query, body), status, code);
}

/* F388: a dry run says what a create would come to, and leaves nothing behind. */
static void a_dry_run_makes_nothing(void **state)
{
	struct fixture *f = *state;
	struct call call = dry_call(ZONE_CSRS, "dry_run=true", GOOD_BODY);
	struct call denied = dry_call(ACCOUNT_CSRS, "dry_run=true", GOOD_BODY);
	struct call keyed = dry_call(ACCOUNT_CSRS, "dry_run=true", GOOD_BODY);
	char id[CSR_ID_SIZE];

	perform_expect(f, &call, 200, 0);
	assert_non_null(
	    strstr(call.body, "\"messages\":[{\"code\":1416,\"message\":\"sans[0] \\\"app.example.com\\\""));
	assert_non_null(strstr(call.body,
			       "\"result\":{\"key_type\":\"rsa2048\",\"common_name\":\"app.example.com\","
			       "\"country\":\"US\",\"locality\":\"Here\",\"organization\":\"Some\","
			       "\"sans\":[\"app.example.com\"],\"state\":\"California\"}}"));
	call_release(&call);
	/* all problems of contract and policy */
	set_policy(f, STORE_ACCOUNT, ACCOUNT, "{\"key_types\":[\"p256v1\"]}");
	call = dry_call(ACCOUNT_CSRS, "dry_run=true", "{\"country\":\"UK\",\"sans\":[\"a.b\"]}");
	perform_expect(f, &call, 400, 1405);
	assert_true(has_code(&call, 1417));
	call_release(&call);
	set_policy(f, STORE_ACCOUNT, ACCOUNT, "{}");
	/* who may not write may not ask */
	denied.authorization = "Bearer " READER;
	perform_expect(f, &denied, 403, 1404);
	call_release(&denied);
	/* neither the HSM nor a key of a repeat is needed */
	hsm_fake_set_up(f->hsm, false);
	keyed.idempotency_key = "no good key, and nobody looks at it";
	perform_expect(f, &keyed, 200, 0);
	call_release(&keyed);
	hsm_fake_set_up(f->hsm, true);
	/* a quota that is used up is told, and is no problem of the request */
	create(f, "/client/v4/accounts/" SMALL_ACCOUNT "/custom_csrs", GOOD_BODY, id);
	call = dry_call("/client/v4/accounts/" SMALL_ACCOUNT "/custom_csrs", "dry_run=true", GOOD_BODY);
	perform_expect(f, &call, 200, 1403);
	call_release(&call);
	assert_int_equal(only_row(f).count, 1);
	assert_int_equal(failed(f).count, 0);
}

/* F389: the parameter is true or false, once; only true is a dry run. */
static void the_parameter_of_a_dry_run_is_strict(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {
	    "dry_run",
	    "dry_run=",
	    "dry_run=1",
	    "dry_run=True",
	    "dry_run=true&dry_run=true",
	    "dry_run=%00",
	    "a=b&dry_run=yes",
	    "dry%5Frun=maybe",
	    "dry_run=true&dry_run=false",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct call call = dry_call(ACCOUNT_CSRS, bad[i], GOOD_BODY);

		perform_expect(f, &call, 400, 10400);
		assert_non_null(strstr(call.body, "query parameter 'dry_run' "));
		call_release(&call);
	}
	assert_int_equal(rows(f).count, 0);
	once_dry(f, "dry%5Frun=tru%65", GOOD_BODY, 200, 0);
	once_dry(f, "&x=1&dry_run=true&", GOOD_BODY, 200, 0);
	assert_int_equal(rows(f).count, 0);
	once_dry(f, "dry_run=false", GOOD_BODY, 201, 0);
	once_dry(f, "dryrun=true&=dry_run", GOOD_BODY, 201, 0);
	assert_int_equal(rows(f).count, 2);
}

/* ---- idempotency (F87) ---- */

static struct call keyed_call(const char *path, const char *body, const char *key)
{
	struct call call = new_call(HTTP_POST, path, body);

	call.idempotency_key = key;
	return call;
}

static void the_same_key_answers_the_same(void **state)
{
	struct fixture *f = *state;
	struct call first = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key-1");
	struct call second = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key-1");
	struct call other = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key-2");
	struct call zone = keyed_call(ZONE_CSRS, GOOD_BODY, "key-1");

	perform_expect(f, &first, 201, 0);
	perform_expect(f, &second, 201, 0);
	assert_string_equal(first.body, second.body);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 1);
	perform_expect(f, &other, 201, 0);
	assert_string_not_equal(result_text(&other, "id"), result_text(&first, "id"));
	/* another scope is another request */
	perform_expect(f, &zone, 201, 0);
	assert_string_not_equal(result_text(&zone, "id"), result_text(&first, "id"));
	call_release(&first);
	call_release(&second);
	call_release(&other);
	call_release(&zone);
}

static void the_same_key_with_another_body_is_refused(void **state)
{
	static const char other_body[] =
	    "{\"country\":\"US\",\"state\":\"California\",\"locality\":\"Here\",\"organization\":\"Some\","
	    "\"common_name\":\"app.example.com\",\"sans\":[\"app.example.com\"] }";

	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key"), 201, 0);
	once(*state, keyed_call(ACCOUNT_CSRS, other_body, "key"), 409, 1421);
}

/* Performs a create, and compares how often the store was read and written meanwhile. */
static void create_costs(struct fixture *f, struct call call, int status, int code, unsigned reads,
			 unsigned writes)
{
	unsigned reads_before = store_memory_read_commits();
	unsigned writes_before = store_memory_write_commits();

	once(f, call, status, code);
	assert_int_equal(store_memory_read_commits() - reads_before, reads);
	assert_int_equal(store_memory_write_commits() - writes_before, writes);
}

/* Who asks, and what it would come to, is one question; a create is one commit, and nothing none. */
static void a_create_asks_the_store_once(void **state)
{
	static const char other_body[] =
	    "{\"country\":\"US\",\"state\":\"California\",\"locality\":\"Here\",\"organization\":\"Some\","
	    "\"common_name\":\"app.example.com\",\"sans\":[\"app.example.com\"] }";
	static const char small[] = "/client/v4/accounts/" SMALL_ACCOUNT "/custom_csrs";

	create_costs(*state, keyed_call(small, GOOD_BODY, "key"), 201, 0, 1, 1);
	create_costs(*state, keyed_call(small, GOOD_BODY, "key"), 201, 0, 1, 0);
	create_costs(*state, keyed_call(small, other_body, "key"), 409, 1421, 1, 0);
	create_costs(*state, keyed_call(small, GOOD_BODY, "new"), 403, 1403, 1, 0);
	create_costs(*state, new_call(HTTP_POST, small, GOOD_BODY), 403, 1403, 1, 0);
	create_costs(*state, keyed_call(small, "{}", "key"), 400, 1405, 1, 0);
}

static void on_pinged(void *arg, enum err e)
{
	assert_int_equal(e, E_OK);
	*(bool *)arg = true;
}

/* The record comes with who asks for it: one operation, whichever thread of the store takes it, reads both.
 */
static void a_get_asks_the_store_once(void **state)
{
	struct fixture *f = *state;
	char id[CSR_ID_SIZE], path[160];
	bool pinged = false;

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	struct call get = item_call(HTTP_GET, ACCOUNT_CSRS, id, path);
	store_memory_pause();
	store_ping(f->store, on_pinged, &pinged);
	store_memory_wait_paused(); /* the thread has taken all that there was */
	start(f, &get);
	assert_int_equal(store_queued(f->store), 1);
	store_memory_resume();
	wait_for_reply(f, &get);
	expect(&get, 200, 0);
	call_release(&get);
	assert_true(pinged);
}

/* F135 */
static void a_byte_order_mark_is_no_part_of_the_request(void **state)
{
	struct fixture *f = *state;
	struct call with = keyed_call(ACCOUNT_CSRS, "\xef\xbb\xbf" GOOD_BODY, "key");
	struct call without = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");

	perform_expect(f, &with, 201, 0);
	perform_expect(f, &without, 201, 0);
	assert_string_equal(with.body, without.body);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 1);
	call_release(&with);
	call_release(&without);
}

/* F137 */
static void ten_at_once_make_one_key(void **state)
{
	struct fixture *f = *state;
	struct call calls[10];

	for (size_t i = 0; i < 10; i++) {
		calls[i] = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");
		start(f, &calls[i]);
	}
	assert_int_equal(api_in_flight(f->api), 10);
	for (size_t i = 0; i < 10; i++) {
		wait_for_reply(f, &calls[i]);
		expect(&calls[i], 201, 0);
		assert_string_equal(calls[i].body, calls[0].body);
	}
	for (size_t i = 0; i < 10; i++)
		call_release(&calls[i]);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 1);
	assert_int_equal(only_row(f).state, CSR_ACTIVE);
	once(f, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key"), 201, 0);
}

#define PENDING_ID "0c0c0c0c-0000-4000-8000-00000000000c"

/* As csrd 0.1 left it: a pending row under that key, whose request was GOOD_BODY, beside a whole CSR. */
static void put_pending(struct fixture *f, const char *key)
{
	sqlite3 *db = store_memory_handle("handlers");
	char *sql =
	    sqlite3_mprintf("INSERT INTO idempotency (principal_id, scope_kind, scope_id, key, csr_id,"
			    " request_hash, created_us) SELECT principal_id, scope_kind, scope_id, %Q, %Q,"
			    " request_hash, created_us FROM idempotency WHERE key = 'of-another'",
			    key, PENDING_ID);

	once(f, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "of-another"), 201, 0);
	old_rows_add_pending(db, PENDING_ID, ACCOUNT, "default");
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_free(sql);
}

/* A first that is with the HSM and a repeat that waits for it. */
static void start_two(struct fixture *f, struct call *first, struct call *repeat)
{
	*first = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");
	*repeat = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");
	start(f, first);
	wait_for_hsm(f, first);
	start(f, repeat);
	wait_for_waiters(f, 1);
}

static void finish_two(struct fixture *f, struct call *first, int first_status, struct call *repeat,
		       int repeat_status)
{
	wait_for_reply(f, first);
	expect(first, first_status, 0);
	wait_for_reply(f, repeat);
	expect(repeat, repeat_status, 0);
	call_release(first);
	call_release(repeat);
}

/* F137: what the first failed to do the repeat does, once. */
static void a_repeat_creates_when_the_first_failed(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call repeat;
	struct call third = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_HSM, false);
	start_two(f, &first, &repeat);
	start(f, &third);
	wait_for_waiters(f, 2);
	finish_two(f, &first, 500, &repeat, 201);
	wait_for_reply(f, &third);
	expect(&third, 201, 0);
	call_release(&third);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 2);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 1);
}

static void settle(struct fixture *f, const char *id, enum csr_state from, enum csr_state to)
{
	struct store_csr_move move = {.id = id, .from = from, .to = to};
	struct row moved = {0};

	store_csr_move(f->store, &move, on_done, &moved);
	await(f, &moved);
}

/* F137: nobody here works on the row, and reconciliation settles it. */
static void a_repeat_waits_for_reconciliation(void **state)
{
	struct fixture *f = *state;
	struct call repeat = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");

	put_pending(f, "key");
	start(f, &repeat);
	wait_for_waiters(f, 1);
	assert_false(api_works_on(f->api, PENDING_ID)); /* or reconciliation would leave it alone */
	settle(f, PENDING_ID, CSR_PENDING, CSR_FAILED);
	wait_for_reply(f, &repeat);
	expect(&repeat, 201, 0);
	assert_string_not_equal(result_text(&repeat, "id"), PENDING_ID);
	call_release(&repeat);
}

/* F137: not past its own deadline, whoever the first is. */
static void a_repeat_waits_no_longer_than_its_time(void **state)
{
	struct fixture *f = *state;
	struct call first = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");
	struct call repeat = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");

	start(f, &first);
	wait_for_hsm(f, &first);
	repeat.request.deadline_ms = clock_ms() + 50;
	start(f, &repeat);
	wait_without_hsm(f, &repeat);
	expect(&repeat, 503, 1503);
	assert_true(clock_ms() >= repeat.request.deadline_ms);
	assert_string_equal(reply_header(&repeat, "Retry-After"), "5");
	assert_non_null(strstr(repeat.body, "still in progress"));
	call_release(&repeat);
	wait_for_reply(f, &first);
	expect(&first, 201, 0);
	call_release(&first);
	/* nobody works on the row */
	put_pending(f, "other");
	repeat = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "other");
	repeat.request.deadline_ms = clock_ms() + 50;
	perform_expect(f, &repeat, 503, 1503);
	assert_true(clock_ms() >= repeat.request.deadline_ms);
	call_release(&repeat);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 2);
}

/* F137: with no time for a create of its own it begins none. */
static void a_repeat_without_time_begins_nothing(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call repeat;

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_HSM, false);
	start_two(f, &first, &repeat);
	repeat.request.deadline_ms = clock_ms() + 500;
	finish_two(f, &first, 500, &repeat, 503);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 1);
}

static void a_repeat_needs_the_hsm_for_its_own_create(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call repeat;

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_HSM, false);
	start_two(f, &first, &repeat);
	hsm_fake_set_up(f->hsm, false);
	finish_two(f, &first, 500, &repeat, 503);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 1);
}

/* F137: what was accepted stays accepted when the configuration changes. */
static void a_repeat_outlives_a_reload(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call repeat;

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_HSM, false);
	start_two(f, &first, &repeat);
	f->config.policy.key_types = KEY_TYPE_BIT(KEY_P256V1);
	finish_two(f, &first, 500, &repeat, 201);
}

/* F137: the result of a first that is at work is waited for while draining, and nothing else is. */
static void repeats_while_draining(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call repeat;
	struct call of_nobody = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "other");

	put_pending(f, "other");
	start_two(f, &first, &repeat);
	start(f, &of_nobody);
	wait_for_waiters(f, 2);
	api_drain(f->api);
	wait_without_hsm(f, &of_nobody);
	expect(&of_nobody, 503, 1503);
	assert_non_null(strstr(of_nobody.body, "shutting down"));
	call_release(&of_nobody);
	assert_false(repeat.replied);
	finish_two(f, &first, 201, &repeat, 201);
}

static void a_repeat_begins_nothing_while_draining(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call repeat;

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_HSM, false);
	start_two(f, &first, &repeat);
	api_drain(f->api);
	finish_two(f, &first, 500, &repeat, 503);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 1);
}

/* F137: some connections stay free for those who need not wait. */
static void other_process_reconciles(void *arg)
{
	(void)arg;
}

/* Another process on the same store: this one's api knows nothing of its ops. */
static struct api *other_process(struct fixture *f)
{
	struct api_options options = {
	    .config = &f->config,
	    .store = f->store,
	    .hsms = &f->hsm,
	    .hsms_len = 1,
	    .want_reconcile = other_process_reconciles,
	    .want_tick = on_want_tick,
	    .want_tick_arg = f,
	    .waiting_max = WAITING_MAX,
	};
	struct api *api;

	assert_int_equal(api_new(&options, &api), E_OK);
	return api;
}

/* J8: two processes make a key each under one Idempotency-Key: the loser destroys its own and answers as the
   winner did. */
static void of_two_processes_one_makes_the_csr(void **state)
{
	struct fixture *f = *state;
	struct api *here = f->api, *there = other_process(f);
	struct call first = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");
	struct call second = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");

	start(f, &first);
	f->api = there;
	start(f, &second);
	f->api = here;
	wait_for_hsm_calls(f, 2);
	wait_for_reply(f, &first);
	wait_for_reply(f, &second);
	expect(&first, 201, 0);
	expect(&second, 201, 0);
	assert_string_equal(first.body, second.body);
	call_release(&first);
	call_release(&second);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 2);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 1);
	assert_string_equal(hsm_fake_key_label(f->hsm, only_row(f).id), only_row(f).label);
	assert_int_equal(failed(f).count, 1);
	assert_int_equal(f->reconciles, 0);
	api_free(there);
}

/* J8: the same when the bodies differ, or the first uses up the quota. */
static void a_create_that_comes_second_leaves_no_key(void **state)
{
	static const char small[] = "/client/v4/accounts/" SMALL_ACCOUNT "/custom_csrs";
	static const char other_body[] =
	    "{\"country\":\"US\",\"state\":\"California\",\"locality\":\"Here\",\"organization\":\"Some\","
	    "\"common_name\":\"app.example.com\",\"sans\":[\"app.example.com\"] }";
	struct fixture *f = *state;
	struct api *here = f->api, *there = other_process(f);
	struct call second[] = {keyed_call(ACCOUNT_CSRS, other_body, "key"),
				new_call(HTTP_POST, small, GOOD_BODY)};
	const char *paths[] = {ACCOUNT_CSRS, small};
	const int codes[][2] = {{409, 1421}, {403, 1403}};

	for (size_t i = 0; i < 2; i++) {
		struct call first = keyed_call(paths[i], GOOD_BODY, "key");

		f->api = there;
		start(f, &first);
		wait_for_hsm(f, &first);
		f->api = here;
		start(f, &second[i]);
		wait_for_hsm_calls(f, 2);
		wait_for_reply(f, &first);
		expect(&first, 201, 0);
		call_release(&first);
		wait_for_reply(f, &second[i]);
		expect(&second[i], codes[i][0], codes[i][1]);
		call_release(&second[i]);
		assert_int_equal(hsm_fake_keys_len(f->hsm), i + 1);
		assert_int_equal(failed(f).count, i + 1);
	}
	api_free(there);
}

static void only_so_many_wait(void **state)
{
	struct fixture *f = *state;
	struct call calls[WAITING_MAX + 1];
	struct call surplus = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");

	for (unsigned i = 0; i < WAITING_MAX + 1; i++) {
		calls[i] = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");
		start(f, &calls[i]);
	}
	wait_for_waiters(f, WAITING_MAX);
	start(f, &surplus);
	wait_without_hsm(f, &surplus);
	expect(&surplus, 503, 1503);
	assert_non_null(strstr(surplus.body, "too many requests are waiting"));
	call_release(&surplus);
	for (unsigned i = 0; i < WAITING_MAX + 1; i++) {
		wait_for_reply(f, &calls[i]);
		expect(&calls[i], 201, 0);
		call_release(&calls[i]);
	}
	once(f, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key"), 201, 0);
}

static void a_failed_create_frees_its_key(void **state)
{
	struct fixture *f = *state;

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_HSM, false);
	once(f, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key"), 500, 1500);
	once(f, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key"), 201, 0);
}

static void the_key_of_a_deleted_csr_is_spent(void **state)
{
	struct fixture *f = *state;
	struct call call = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");
	char path[160];

	perform_expect(f, &call, 201, 0);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, result_text(&call, "id"), path), 200, 0);
	call_release(&call);
	once(f, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key"), 409, 1421);
}

static void idempotency_keys_have_a_shape(void **state)
{
	char longest[258];

	memset(longest, 'k', sizeof(longest));
	longest[255] = '\0';
	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, longest), 201, 0);
	longest[255] = 'k';
	longest[256] = '\0';
	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, longest), 400, 10400);
	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, ""), 400, 10400);
	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "a b"), 400, 10400);
	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "a\tb"), 400, 10400);
	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "\xc3\xa9"), 400, 10400);
	once(*state, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "!~"), 201, 0);
}

/* ---- when a create goes wrong ---- */

static void without_the_hsm_nothing_is_begun(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	once(f, new_call(HTTP_GET, ACCOUNT_CSRS, NULL), 200, 0);
	before = store_memory_write_commits();
	hsm_fake_set_up(f->hsm, false);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 503, 1503);
	assert_int_equal(store_memory_write_commits(), before);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, "{}"), 400, 1405); /* a bad body is bad whatever else is */
	once(f, new_call(HTTP_GET, ACCOUNT_CSRS, NULL), 200, 0);
	hsm_fake_set_up(f->hsm, true);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 201, 0);
}

/* F110: no id that could be guessed, or could be that of-another CSR; the caller may try again. */
static void without_randomness_nothing_is_begun(void **state)
{
	unsigned before = store_memory_write_commits();

	no_random_errno = EIO;
	once(*state, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 503, 1503);
	no_random_errno = 0;
	assert_int_equal(store_memory_write_commits(), before);
	once(*state, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 201, 0);
}

static const struct {
	enum err e;
	int status;
	int code;
	bool may_have_a_key; /* that the signer alone knows */
} hsm_errors[] = {
    {E_UNAVAIL, 503, 1503, false}, {E_BUSY, 503, 1503, false},     {E_TIMEOUT, 503, 1503, false},
    {E_HSM, 500, 1500, false},     {E_INVAL, 500, 1500, false},    {E_UNSUPPORTED, 400, 1417, false},
    {E_DENIED, 403, 1404, false},  {E_UNCERTAIN, 503, 1503, true}, {E_NOMEM, 503, 1503, true},
    {E_PROTO, 500, 1500, true},    {E_BUG, 500, 1500, true},
};

/* Each is recorded, and from then on nobody can make a row of it; what is left is reconciliation's. */
static void errors_of_the_hsm(void **state)
{
	for (size_t i = 0; i < sizeof(hsm_errors) / sizeof(hsm_errors[0]); i++) {
		void *inner = NULL;
		struct fixture *f;
		struct row end;

		tear_down(state);
		set_up(&inner);
		f = *state = inner;
		hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, hsm_errors[i].e, hsm_errors[i].may_have_a_key);
		once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), hsm_errors[i].status,
		     hsm_errors[i].code);
		assert_int_equal(rows(f).count, 0);
		end = failed(f);
		assert_int_equal(end.count, 1);
		expect_audit(f, end.id, "csr.failed");
		assert_int_equal(f->reconciles, hsm_errors[i].may_have_a_key);
		assert_int_equal(hsm_fake_is_unsettled(f->hsm, end.id), hsm_errors[i].may_have_a_key);
		assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 0);
		assert_int_equal(f->confirms, 0);
	}
}

/* J6: the commit fails and nothing was done, so the key goes. */
static void the_commit_fails(void **state)
{
	static const enum err errors[] = {E_BUSY, E_STORE, E_UNAVAIL, E_NOMEM};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);

		start(f, &call);
		wait_for_hsm(f, &call);
		store_memory_fail(STORE_MEMORY_COMMIT, errors[i], 1);
		wait_for_reply(f, &call);
		expect(&call, 503, 1503);
		assert_int_equal(f->reconciles, 0);
		assert_int_equal(failed(f).count, i + 1);
		assert_int_equal(hsm_fake_keys_len(f->hsm), 0);
		call_release(&call);
	}
	assert_int_equal(rows(f).count, 0);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 201, 0);
}

/* J6: the store takes nothing at all, so nobody can say whether there is a row: the key stays. */
static void nothing_can_be_committed(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);

	start(f, &call);
	wait_for_hsm(f, &call);
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 2);
	wait_for_reply(f, &call);
	expect(&call, 503, 1503);
	assert_int_equal(f->reconciles, 1);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 1);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 0);
	assert_int_equal(f->confirms, 0);
	call_release(&call);
}

/* J6: the commit's outcome is lost: the caller who comes back with its key gets the CSR that was made. */
static void the_commit_is_uncertain(void **state)
{
	struct fixture *f = *state;
	struct call call = keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key");

	start(f, &call);
	wait_for_hsm(f, &call);
	store_memory_fail(STORE_MEMORY_COMMIT, E_UNCERTAIN, 1);
	wait_for_reply(f, &call);
	expect(&call, 503, 1503);
	call_release(&call);
	assert_int_equal(f->reconciles, 1);
	assert_int_equal(only_row(f).state, CSR_ACTIVE);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 0);
	once(f, keyed_call(ACCOUNT_CSRS, GOOD_BODY, "key"), 201, 0);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_CREATE_CSR), 1);
}

static void the_store_cannot_read(void **state)
{
	struct fixture *f = *state;

	store_memory_fail(STORE_MEMORY_READ, E_UNAVAIL, 1);
	once(f, new_call(HTTP_GET, ACCOUNT_CSRS, NULL), 503, 1503); /* the principal */
	once(f, new_call(HTTP_GET, ACCOUNT_CSRS, NULL), 200, 0);
}

/* Somebody settled the CSR while the HSM worked (csrctl reconcile --min-age 0): its key must go. */
static void a_csr_that_was_settled_meanwhile_loses_its_key(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	struct audit_origin origin = {.actor = "operator:test"};
	struct row shut = {0};

	start(f, &call);
	wait_for_hsm(f, &call);
	store_csr_failed(f->store, hsm_fake_last_csr_id(f->hsm), &origin, on_done, &shut);
	await(f, &shut);
	wait_for_reply(f, &call);
	expect(&call, 503, 1503);
	call_release(&call);
	assert_int_equal(rows(f).count, 0);
	assert_int_equal(failed(f).count, 1);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 0);
	assert_int_equal(f->reconciles + f->confirms, 0);
}

/* I3: a token that gives the same key twice. */
static void a_key_that_another_csr_has_is_refused(void **state)
{
	struct fixture *f = *state;
	char id[CSR_ID_SIZE];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	hsm_fake_repeat_key(f->hsm);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 500, 1500);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 1);
	assert_int_equal(hsm_fake_key(f->hsm, id), MESSAGE_KEY_PAIR);
	assert_int_equal(state_of(f, id), CSR_ACTIVE);
	assert_int_equal(f->reconciles, 0);
	/* the same, and the key cannot be destroyed: left to reconciliation */
	hsm_fake_repeat_key(f->hsm);
	hsm_fake_script(f->hsm, HSM_FAKE_DESTROY_KEY, E_UNCERTAIN, false);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 500, 1500);
	assert_int_equal(f->reconciles, 1);
}

static void a_key_of_another_type_is_refused(void **state)
{
	struct fixture *f = *state;

	hsm_fake_mistake_type(f->hsm, KEY_P256V1);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 500, 1500);
	assert_int_equal(rows(f).count, 0);
	assert_int_equal(failed(f).count, 1);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 0);
}

/* The HSM says that nothing is left, but that cannot be written down. */
static void failing_cannot_be_committed(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_BUSY, false);
	start(f, &call);
	wait_for_hsm(f, &call);
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 1);
	wait_for_reply(f, &call);
	expect(&call, 503, 1503);
	assert_int_equal(rows(f).count + failed(f).count, 0);
	assert_int_equal(f->reconciles, 1);
	call_release(&call);
}

static void key_types_follow_policy_and_token(void **state)
{
	static const char p256[] = "{" SUBJECT CN SANS ",\"key_type\":\"p256v1\"}";
	struct fixture *f = *state;

	hsm_fake_set_key_types(f->hsm, KEY_TYPE_BIT(KEY_P256V1));
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 400, 1417);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, p256), 201, 0);
	hsm_fake_set_key_types(f->hsm, 0); /* no hello yet */
	f->config.policy.key_types = KEY_TYPE_BIT(KEY_RSA2048);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, p256), 400, 1417);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 201, 0);
}

/* ---- get, list ---- */

static void a_get_answers_as_the_create_did(void **state)
{
	struct fixture *f = *state;
	struct call made = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	struct call got;
	char path[160];

	perform_expect(f, &made, 201, 0);
	got = item_call(HTTP_GET, ACCOUNT_CSRS, result_text(&made, "id"), path);
	got.authorization = "Bearer " READER;
	perform_expect(f, &got, 200, 0);
	assert_string_equal(got.body, made.body);
	call_release(&got);
	/* F95: under the account's zone it does not exist */
	got = item_call(HTTP_GET, ZONE_CSRS, result_text(&made, "id"), path);
	perform_expect(f, &got, 404, 1419);
	call_release(&got);
	got = item_call(HTTP_DELETE, ZONE_CSRS, result_text(&made, "id"), path);
	perform_expect(f, &got, 404, 1419);
	call_release(&got);
	assert_int_equal(state_of(f, result_text(&made, "id")), CSR_ACTIVE);
	call_release(&made);
}

static void expect_info(const struct call *call, int page, int per_page, int count, int total, int pages)
{
	char text[160];

	snprintf(text, sizeof(text),
		 "\"result_info\":{\"page\":%d,\"per_page\":%d,\"count\":%d,\"total_count\":%d,"
		 "\"total_pages\":%d}",
		 page, per_page, count, total, pages);
	if (!strstr(call->body, text))
		fail_msg("no %s in %s", text, call->body);
	assert_int_equal(json_array_len(json_member(json_root(call->doc), "result")), count);
}

static const struct {
	const char *query;
	int page, per_page, count, pages;
	const char *first; /* name of the first */
} list_table[] = {
    {NULL, 1, 20, 12, 1, "n00"},
    {"", 1, 20, 12, 1, "n00"},
    {"page=1", 1, 20, 12, 1, "n00"},
    {"per_page=5", 1, 5, 5, 3, "n00"},
    {"per_page=5&page=2", 2, 5, 5, 3, "n05"},
    {"page=3&per_page=5", 3, 5, 2, 3, "n10"},
    {"page=4&per_page=5", 4, 5, 0, 3, NULL},
    {"page=2.0&per_page=5.00", 2, 5, 5, 3, "n05"},
    {"per_page=50", 1, 50, 12, 1, "n00"},
    {"per_page=12", 1, 12, 12, 1, "n00"},
    {"page=1000000000&per_page=50", 1000000000, 50, 0, 1, NULL},
    {"order=name", 1, 20, 12, 1, "n00"},
    {"order=name&direction=desc", 1, 20, 12, 1, "n11"},
    {"order=created_at&direction=desc&per_page=5", 1, 5, 5, 3, "n11"},
    {"order=account_tag&direction=asc", 1, 20, 12, 1, ""},
    {"%70age=%32&per%5Fpage=5", 2, 5, 5, 3, "n05"},
    {"unknown=1&unknown=2&x&&=&%zz=1&per_page=5", 1, 5, 5, 3, "n00"},
};

static void lists_are_paged(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 12; i++) {
		char body[512];
		char id[CSR_ID_SIZE];

		snprintf(body, sizeof(body), "{" SUBJECT CN SANS ",\"name\":\"n%02d\"}", i);
		create(f, ZONE_CSRS, body, id);
	}
	for (size_t i = 0; i < sizeof(list_table) / sizeof(list_table[0]); i++) {
		struct call call = new_call(HTTP_GET, ZONE_CSRS, NULL);
		struct json_value first;

		call.request.query = list_table[i].query;
		perform_expect(f, &call, 200, 0);
		expect_info(&call, list_table[i].page, list_table[i].per_page, list_table[i].count, 12,
			    list_table[i].pages);
		first = json_array_item(json_member(json_root(call.doc), "result"), 0);
		if (list_table[i].first && *list_table[i].first)
			assert_string_equal(json_text(json_member(first, "name")), list_table[i].first);
		call_release(&call);
	}
}

static void an_account_lists_its_own(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_GET, ACCOUNT_CSRS, NULL);
	char id[CSR_ID_SIZE];
	char gone[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	create(f, ACCOUNT_CSRS, GOOD_BODY, gone);
	create(f, ZONE_CSRS, GOOD_BODY, path);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, gone, path), 200, 0);
	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_UNCERTAIN, false);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 503, 1503);
	perform_expect(f, &call, 200, 0);
	expect_info(&call, 1, 50, 1, 1, 1);
	assert_non_null(strstr(call.body, id));
	call_release(&call);
}

/* Whoever lists waits for a turn, on a connection that nobody else can have. */
static void lists_leave_room_for_others(void **state) /* F265 */
{
	struct fixture *f = *state;
	struct call lists[WAITING_MAX + 3];
	const size_t accepted = sizeof(lists) / sizeof(lists[0]) - 1;

	for (size_t i = 0; i <= accepted; i++) {
		lists[i] = new_call(HTTP_GET, ACCOUNT_CSRS, NULL);
		start(f, &lists[i]);
	}
	for (size_t i = 0; i <= accepted; i++) {
		wait_for_reply(f, &lists[i]);
		expect(&lists[i], i < accepted ? 200 : 503, i < accepted ? 0 : 1503);
		call_release(&lists[i]);
	}
	assert_int_equal(api_waiting(f->api), 0);
}

static void an_empty_list_is_empty(void **state)
{
	struct call call = new_call(HTTP_GET, ACCOUNT_CSRS, NULL);

	perform_expect(*state, &call, 200, 0);
	expect_info(&call, 1, 50, 0, 0, 0);
	call_release(&call);
}

static void bad_query_parameters_are_named(void **state)
{
	static const struct {
		const char *query;
		const char *name;
	} table[] = {
	    {"page=0", "'page'"},
	    {"page=-1", "'page'"},
	    {"page=+1", "'page'"},
	    {"page=", "'page'"},
	    {"page", "'page'"},
	    {"page=x", "'page'"},
	    {"page=1x", "'page'"},
	    {"page=1.5", "'page'"},
	    {"page=1.", "'page'"},
	    {"page=.0", "'page'"},
	    {"page=1.0.0", "'page'"},
	    {"page=1e3", "'page'"},
	    {"page=0x1", "'page'"},
	    {"page=%00", "'page'"},
	    {"page=1%00", "'page'"},
	    {"page=%zz", "'page'"},
	    {"page=%3", "'page'"},
	    {"page=1%", "'page'"},
	    {"page=18446744073709551616", "'page'"},
	    {"page=18446744073709551615", "'page'"},
	    {"page=9223372036854775807", "'page'"},
	    {"page=9999999999999999999999999999999999999999999999999999999999999999999", "'page'"},
	    {"page=1&page=1", "'page' is given twice"},
	    {"page=1&p%61ge=2", "'page' is given twice"},
	    {"per_page=4", "'per_page'"},
	    {"per_page=51", "'per_page'"},
	    {"per_page=0", "'per_page'"},
	    {"order=id", "'order'"},
	    {"order=", "'order'"},
	    {"order=name;DROP", "'order'"},
	    {"order=NAME", "'order'"},
	    {"direction=up", "'direction'"},
	    {"direction=", "'direction'"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct call call = new_call(HTTP_GET, ACCOUNT_CSRS, NULL);

		call.request.query = table[i].query;
		perform_expect(*state, &call, 400, 10400);
		if (!strstr(call.body, table[i].name))
			fail_msg("'%s': %s", table[i].query, call.body);
		call_release(&call);
	}
}

/* ---- delete ---- */

/* F138: for an hour a repeat is answered as the first was, in its own scope. */
static void a_repeated_delete_is_answered_again(void **state)
{
	struct fixture *f = *state;
	char id[CSR_ID_SIZE];
	char path[160];
	int64_t hour_us = (int64_t)3600 * 1000000;

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
	for (int i = 0; i < 2; i++) {
		struct call call = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);

		perform_expect(f, &call, 200, 0);
		assert_string_equal(result_text(&call, "id"), id);
		call_release(&call);
	}
	once(f, item_call(HTTP_GET, ACCOUNT_CSRS, id, path), 404, 1419);
	once(f, item_call(HTTP_DELETE, ZONE_CSRS, id, path), 404, 1419);
	hsm_fake_set_up(f->hsm, false); /* it takes no HSM */
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 1);
	expect_audit(f, id, "csr.active csr.deleting csr.destroyed");
	wall_offset_us = -hour_us;
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
	wall_offset_us = hour_us - 60 * 1000000;
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
	wall_offset_us = hour_us + 1;
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 404, 1419);
}

/* F138: nobody ever got that CSR, so there is nothing to delete. */
static void a_failed_create_cannot_be_deleted(void **state)
{
	struct fixture *f = *state;
	char path[160];

	hsm_fake_script(f->hsm, HSM_FAKE_CREATE_CSR, E_HSM, false);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 500, 1500);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, failed(f).id, path), 404, 1419);
}

static void a_delete_destroys_key_and_row(void **state)
{
	struct fixture *f = *state;
	struct call call;
	char id[CSR_ID_SIZE];
	char path[160];
	char expected[64];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	call = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);
	start(f, &call);
	wait_for_hsm(f, &call);
	assert_int_equal(state_of(f, id), CSR_DELETING);
	assert_true(api_works_on(f->api, id));
	wait_for_reply(f, &call);
	expect(&call, 200, 0);
	snprintf(expected, sizeof(expected), "\"result\":{\"id\":\"%s\"}", id);
	assert_non_null(strstr(call.body, expected));
	call_release(&call);
	assert_int_equal(state_of(f, id), CSR_DESTROYED);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 0);
	expect_audit(f, id, "csr.active csr.deleting csr.destroyed");
	once(f, item_call(HTTP_GET, ACCOUNT_CSRS, id, path), 404, 1419);
}

static void an_id_in_upper_case_is_the_same(void **state)
{
	struct fixture *f = *state;
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	for (char *c = id; *c; c++)
		*c = (char)(*c >= 'a' && *c <= 'f' ? *c - 32 : *c);
	once(f, item_call(HTTP_GET, ACCOUNT_CSRS, id, path), 200, 0);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
	assert_int_equal(hsm_fake_keys_len(f->hsm), 0);
}

static void a_delete_that_stopped_is_taken_up_again(void **state)
{
	static const enum err errors[] = {E_UNCERTAIN, E_BUSY, E_TIMEOUT, E_UNAVAIL};
	struct fixture *f = *state;
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct call call = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);

		if (errors[i] == E_BUSY || errors[i] == E_TIMEOUT)
			call.request.deadline_ms = clock_ms() + 100; /* else it would try again by itself */
		hsm_fake_script(f->hsm, HSM_FAKE_DESTROY_KEY, errors[i], i == 0);
		once(f, call, 503, 1503);
		assert_int_equal(state_of(f, id), CSR_DELETING);
		assert_int_equal(f->reconciles, i + 1);
		once(f, item_call(HTTP_GET, ACCOUNT_CSRS, id, path), 404, 1419);
	}
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), sizeof(errors) / sizeof(errors[0]));
	hsm_fake_script(f->hsm, HSM_FAKE_DESTROY_KEY, E_HSM, false);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 500, 1500);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
	assert_int_equal(state_of(f, id), CSR_DESTROYED);
}

/* F138: while its time lasts a delete goes on by itself when the signer is slow. */
static void a_delete_goes_on_while_it_has_time(void **state)
{
	static const enum err errors[] = {E_BUSY, E_TIMEOUT};
	struct fixture *f = *state;
	char id[CSR_ID_SIZE];
	char path[160];

	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		create(f, ACCOUNT_CSRS, GOOD_BODY, id);
		hsm_fake_script(f->hsm, HSM_FAKE_DESTROY_KEY, errors[i], false);
		once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
		assert_int_equal(state_of(f, id), CSR_DESTROYED);
		assert_int_equal(f->reconciles, i + 1);
		assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 2 * (i + 1));
	}
}

/* Starts a delete whose HSM gives no answer in its time, so that it waits for what becomes of it. */
static void start_late_delete(struct fixture *f, struct call *call, const char *id, char path[160])
{
	*call = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);
	call->request.deadline_ms = clock_ms() + 3000;
	hsm_fake_script(f->hsm, HSM_FAKE_DESTROY_KEY, E_UNCERTAIN, true);
	start(f, call);
	wait_for_hsm(f, call);
	while (clock_ms() < hsm_fake_last_deadline_ms(f->hsm))
		store_turn(f);
	hsm_fake_run(f->hsm);
	wait_for_waiters(f, 1);
}

static void a_delete_without_an_answer_looks_again(void **state)
{
	struct fixture *f = *state;
	struct call call;
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	start_late_delete(f, &call, id, path);
	wait_for_reply(f, &call);
	expect(&call, 200, 0);
	call_release(&call);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 2);
}

/* F138: it is settled by reconciliation while the delete waits. */
static void a_delete_finds_what_reconciliation_settled(void **state)
{
	struct fixture *f = *state;
	struct call call;
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	start_late_delete(f, &call, id, path);
	assert_false(api_works_on(f->api, id)); /* or reconciliation would leave it alone */
	settle(f, id, CSR_DELETING, CSR_DESTROYED);
	wait_for_reply(f, &call);
	expect(&call, 200, 0);
	call_release(&call);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 1);
}

/* F138: it is there when it is read, and settled before it is written. */
static void a_delete_that_another_overtakes_is_done(void **state)
{
	struct fixture *f = *state;
	struct store_csr_move moves[] = {{.from = CSR_ACTIVE, .to = CSR_DELETING},
					 {.from = CSR_DELETING, .to = CSR_DESTROYED}};
	struct row moved[2] = {{0}, {0}};
	struct pollfd p = {.fd = store_fd(f->store), .events = POLLIN};
	struct call call;
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	call = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);
	start(f, &call);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	store_dispatch(f->store); /* the principal; now the row is read */
	for (size_t i = 0; i < 2; i++) {
		moves[i].id = id;
		store_csr_move(f->store, &moves[i], on_done, &moved[i]);
	}
	wait_for_reply(f, &call);
	expect(&call, 200, 0);
	call_release(&call);
	assert_int_equal(moved[0].e, E_OK);
	assert_int_equal(moved[1].e, E_OK);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 0);
}

static void without_the_hsm_nothing_is_deleted(void **state)
{
	struct fixture *f = *state;
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	hsm_fake_set_up(f->hsm, false);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 503, 1503);
	assert_int_equal(state_of(f, id), CSR_ACTIVE);
	once(f, item_call(HTTP_GET, ACCOUNT_CSRS, id, path), 200, 0);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, ID_OF_NONE, path), 404, 1419);
	assert_int_equal(f->reconciles, 0);
}

static void commits_of_a_delete_fail(void **state)
{
	struct fixture *f = *state;
	struct call call;
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 1);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 503, 1503);
	assert_int_equal(state_of(f, id), CSR_ACTIVE);
	assert_int_equal(f->reconciles, 0);
	call = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);
	start(f, &call);
	wait_for_hsm(f, &call);
	store_memory_fail(STORE_MEMORY_COMMIT, E_STORE, 1);
	wait_for_reply(f, &call);
	expect(&call, 503, 1503);
	call_release(&call);
	assert_int_equal(state_of(f, id), CSR_DELETING);
	assert_int_equal(f->reconciles, 1);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 200, 0);
}

/* Another process finished it while the key was being destroyed here. */
static void a_delete_settled_by_another_is_done(void **state)
{
	struct fixture *f = *state;
	struct call call;
	struct row moved = {0};
	struct store_csr_move move = {.from = CSR_DELETING, .to = CSR_DESTROYED};
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	call = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);
	start(f, &call);
	wait_for_hsm(f, &call);
	move.id = id;
	store_csr_move(f->store, &move, on_done, &moved);
	await(f, &moved);
	wait_for_reply(f, &call);
	expect(&call, 200, 0);
	call_release(&call);
}

/* F138: one is at work, and the others wait for it. */
static void start_two_deletes(struct fixture *f, struct call *first, struct call *second,
			      char id[CSR_ID_SIZE], char path[160])
{
	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	*first = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);
	*second = item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path);
	start(f, first);
	wait_for_hsm(f, first);
	start(f, second);
	wait_for_waiters(f, 1);
}

static void two_deletes_at_once(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call second;
	char id[CSR_ID_SIZE];
	char path[160];

	start_two_deletes(f, &first, &second, id, path);
	finish_two(f, &first, 200, &second, 200);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 1);
}

static void the_second_delete_does_what_the_first_failed_to(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call second;
	char id[CSR_ID_SIZE];
	char path[160];

	hsm_fake_script(f->hsm, HSM_FAKE_DESTROY_KEY, E_HSM, false);
	start_two_deletes(f, &first, &second, id, path);
	finish_two(f, &first, 500, &second, 200);
	assert_int_equal(state_of(f, id), CSR_DESTROYED);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_DESTROY_KEY), 2);
}

static void deletes_while_draining(void **state)
{
	struct fixture *f = *state;
	struct call first;
	struct call second;
	char id[CSR_ID_SIZE];
	char path[160];

	start_two_deletes(f, &first, &second, id, path);
	api_drain(f->api);
	finish_two(f, &first, 200, &second, 200);
}

/* ---- the rest ---- */

static void draining(void **state)
{
	struct fixture *f = *state;
	struct call running = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);
	char id[CSR_ID_SIZE];
	char path[160];

	create(f, ACCOUNT_CSRS, GOOD_BODY, id);
	start(f, &running);
	wait_for_hsm(f, &running);
	api_drain(f->api);
	once(f, new_call(HTTP_GET, "/readyz", NULL), 503, 1503);
	once(f, new_call(HTTP_GET, "/healthz", NULL), 200, 0);
	wait_for_reply(f, &running);
	expect(&running, 201, 0);
	call_release(&running);
	once(f, new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY), 503, 1503);
	once(f, item_call(HTTP_DELETE, ACCOUNT_CSRS, id, path), 503, 1503);
	once(f, item_call(HTTP_GET, ACCOUNT_CSRS, id, path), 200, 0);
	assert_int_equal(state_of(f, id), CSR_ACTIVE);
}

static void ready_says_which_part_is_not(void **state)
{
	struct fixture *f = *state;
	struct call call = new_call(HTTP_GET, "/readyz", NULL);

	call.authorization = NULL;
	perform_expect(f, &call, 200, 0);
	call_release(&call);
	hsm_fake_set_usable(f->hsm, false);
	perform_expect(f, &call, 503, 1503);
	assert_non_null(strstr(call.body, "signer 'default': its token is not usable"));
	assert_null(strstr(call.body, "told to be unusable"));
	call_release(&call);
	hsm_fake_set_up(f->hsm, false);
	store_memory_fail(STORE_MEMORY_READ, E_UNAVAIL, 1);
	store_memory_fail(STORE_MEMORY_BEGIN, E_UNAVAIL, 1);
	perform(f, &call);
	expect(&call, 503, 1503);
	assert_non_null(strstr(call.body, "signer 'default': cannot be reached"));
	call_release(&call);
}

static void ready_is_asked(struct fixture *f, const char *query, int status, const char *words)
{
	struct call call = new_call(HTTP_GET, "/readyz", NULL);

	call.authorization = NULL;
	call.request.query = query;
	perform(f, &call);
	assert_int_equal(call.status, status);
	if (!strstr(call.body, words))
		fail_msg("no '%s' in %s", words, call.body);
	call_release(&call);
}

static void ready_is_what_creates_need(void **state) /* F198 */
{
	struct fixture *f = *state;
	static struct hsm *hsms[2];
	struct api_options options = {
	    .config = &f->config, .store = f->store, .hsms = hsms, .hsms_len = 2, .waiting_max = WAITING_MAX};

	api_free(f->api);
	hsms[0] = f->hsm;
	hsms[1] = f->old_hsm = hsm_fake_new("old");
	assert_int_equal(api_new(&options, &f->api), E_OK);
	hsm_fake_set_up(hsms[1], false);
	ready_is_asked(f, NULL, 200, "{\"status\":\"ready\"}");
	ready_is_asked(f, "token=default", 200, "{\"status\":\"ready\"}");
	ready_is_asked(f, "token=old", 503, "signer 'old': cannot be reached");
	ready_is_asked(f, "verbose", 200,
		       "\"parts\":[{\"part\":\"store\",\"usable\":true},"
		       "{\"part\":\"signer of new keys\",\"token\":\"default\",\"usable\":true},"
		       "{\"part\":\"signer of old keys\",\"token\":\"old\",\"usable\":false,"
		       "\"detail\":\"cannot be reached\"}]");
	hsm_fake_set_up(hsms[1], true);
	hsm_fake_set_usable(hsms[0], false);
	ready_is_asked(f, "", 503, "signer 'default': its token is not usable");
	ready_is_asked(f, "token=old", 200, "ready");
	hsm_fake_set_usable(hsms[1], false);
	ready_is_asked(f, "verbose&token=default", 503, "signer 'old': its token is not usable");
	for (size_t i = 0; i < 5; i++) {
		static const char *const wrong[] = {"token=", "token=other", "token=defaul", "tokens=old",
						    "verbose=x"};

		ready_is_asked(f, wrong[i], 400, "query parameter");
	}
	hsm_free(f->old_hsm);
}

static void ready_checks_are_shared(void **state)
{
	struct fixture *f = *state;
	struct call calls[20];

	for (size_t i = 0; i < 20; i++) {
		calls[i] = new_call(HTTP_GET, "/readyz", NULL);
		start(f, &calls[i]);
	}
	for (size_t i = 0; i < 20; i++) {
		wait_for_reply(f, &calls[i]);
		expect(&calls[i], 200, 0);
		call_release(&calls[i]);
	}
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_STATUS), 1);
	once(f, new_call(HTTP_GET, "/readyz", NULL), 200, 0);
	assert_int_equal(hsm_fake_calls(f->hsm, HSM_FAKE_STATUS), 2);
}

static void health_needs_nobody(void **state)
{
	struct call call = new_call(HTTP_GET, "/healthz", NULL);

	call.authorization = NULL;
	start(*state, &call);
	assert_true(call.replied); /* at once */
	expect(&call, 200, 0);
	call_release(&call);
}

static void tokens_verify(void **state)
{
	static const char *const paths[] = {
	    "/client/v4/user/tokens/verify",
	    "/user/tokens/verify",
	    "/client/v4/accounts/" ACCOUNT "/tokens/verify",
	    "/client/v4/accounts/" OTHER_ACCOUNT "/tokens/verify",
	};
	struct call call = new_call(HTTP_GET, paths[0], NULL);

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		once(*state, new_call(HTTP_GET, paths[i], NULL), 200, 0);
	perform_expect(*state, &call, 200, 0);
	assert_string_equal(result_text(&call, "status"), "active");
	assert_int_equal(strlen(result_text(&call, "id")), 36);
	assert_int_equal(member_of(&call, "result", "expires_on").kind, JSON_ABSENT);
	assert_int_equal(member_of(&call, "result", "not_before").kind, JSON_ABSENT);
	call_release(&call);
	call.authorization = "Bearer " READER;
	perform_expect(*state, &call, 200, 0);
	assert_int_equal(strlen(result_text(&call, "expires_on")), 27);
	assert_int_equal(strlen(result_text(&call, "not_before")), 27);
	call_release(&call);
	call.authorization = "Bearer " EXPIRED;
	perform_expect(*state, &call, 401, 1000);
	call_release(&call);
}

/* Headers that come with a GET or DELETE of an SDK, and a body that is not asked for. */
static void a_get_with_a_json_content_type_is_fine(void **state)
{
	struct call call = new_call(HTTP_GET, ACCOUNT_CSRS, "not JSON");

	once(*state, call, 200, 0);
}

/* RFC 9110 §9.3.7 */
static void options_name_the_methods(void **state)
{
	struct call call = new_call(HTTP_OPTIONS, ACCOUNT_CSRS, NULL);

	perform(*state, &call);
	assert_int_equal(call.status, 204);
	assert_string_equal(reply_header(&call, "Allow"), "GET, HEAD, POST, OPTIONS");
	assert_string_equal(call.body, "");
	call_release(&call);
}

/* RFC 9110 §13: what is there has no entity tag, and nothing is done when the condition fails. */
static void conditions_are_kept(void **state)
{
	static const struct {
		enum http_method method;
		struct http_header header;
		int status;
	} table[] = {
	    {HTTP_GET, {"If-Match", "\"x\""}, 412},      {HTTP_GET, {"If-Match", "*"}, 200},
	    {HTTP_GET, {"If-None-Match", "*"}, 304},     {HTTP_HEAD, {"If-None-Match", "*"}, 304},
	    {HTTP_GET, {"If-None-Match", "\"x\""}, 200}, {HTTP_POST, {"If-None-Match", "*"}, 412},
	    {HTTP_POST, {"If-Match", "\"x\""}, 412},
	};
	char id[CSR_ID_SIZE], path[256];

	create(*state, ACCOUNT_CSRS, GOOD_BODY, id);
	snprintf(path, sizeof(path), ACCOUNT_CSRS "/%s", id);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		bool is_post = table[i].method == HTTP_POST;

		for (unsigned item = 0; item < (is_post ? 1 : 2); item++) {
			struct call call =
			    new_call(table[i].method, item ? path : ACCOUNT_CSRS, is_post ? GOOD_BODY : NULL);

			call.more = table[i].header;
			perform(*state, &call);
			if (call.status != table[i].status)
				fail_msg("row %zu, item %u: %d", i, item, call.status);
			call_release(&call);
		}
	}
	struct call missing = new_call(HTTP_GET, ACCOUNT_CSRS "/" ID_OF_NONE, NULL);

	missing.more = (struct http_header){"If-Match", "\"x\""};
	once(*state, missing, 404, 1419);

	/* F154: a delete is judged before anything is destroyed, and a bad query is that first of all */
	struct call delete = new_call(HTTP_DELETE, path, NULL);
	struct call list = new_call(HTTP_GET, ACCOUNT_CSRS, NULL);

	delete.more = missing.more;
	once(*state, delete, 412, 10412);
	once(*state, new_call(HTTP_GET, path, NULL), 200, 0);
	list.more = missing.more;
	list.request.query = "page=0";
	once(*state, list, 400, 10400);
}

/* Field case 20 */
static void compressed_bodies_are_refused(void **state)
{
	struct call call = new_call(HTTP_POST, ACCOUNT_CSRS, GOOD_BODY);

	call.more = (struct http_header){"Content-Encoding", "gzip"};
	perform_expect(*state, &call, 415, 10415);
	assert_string_equal(reply_header(&call, "Accept-Encoding"), "identity");
	call_release(&call);
	call.more.value = "Identity";
	once(*state, call, 201, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    TEST(a_create_answers_what_was_sent),
    TEST(fields_not_given_are_left_out),
    TEST(the_row_comes_before_the_answer),
    TEST(a_create_is_in_work_to_its_end),
    TEST(content_types),
    TEST(body_errors_have_their_codes),
    TEST(credentials_decide),
    TEST(a_credential_without_memory_for_its_hash),
    TEST(paths_decide),
    TEST(refusals_name_the_remedy),
    TEST(the_http_layer_refuses_in_the_envelope),
    TEST(the_table_is_that_of_the_contract),
    TEST(a_quota_ends),
    TEST(policies_in_force_are_met),
    TEST(a_policy_set_meanwhile_decides),
    TEST(a_repeat_is_older_than_a_policy),
    TEST(a_dry_run_makes_nothing),
    TEST(the_parameter_of_a_dry_run_is_strict),
    TEST(a_create_asks_the_store_once),
    TEST(a_get_asks_the_store_once),
    TEST(the_same_key_answers_the_same),
    TEST(the_same_key_with_another_body_is_refused),
    TEST(a_byte_order_mark_is_no_part_of_the_request),
    TEST(ten_at_once_make_one_key),
    TEST(a_repeat_creates_when_the_first_failed),
    TEST(a_repeat_waits_for_reconciliation),
    TEST(a_repeat_waits_no_longer_than_its_time),
    TEST(a_repeat_without_time_begins_nothing),
    TEST(a_repeat_needs_the_hsm_for_its_own_create),
    TEST(a_repeat_outlives_a_reload),
    TEST(repeats_while_draining),
    TEST(a_repeat_begins_nothing_while_draining),
    TEST(of_two_processes_one_makes_the_csr),
    TEST(a_create_that_comes_second_leaves_no_key),
    TEST(only_so_many_wait),
    TEST(a_failed_create_frees_its_key),
    TEST(the_key_of_a_deleted_csr_is_spent),
    TEST(idempotency_keys_have_a_shape),
    TEST(without_the_hsm_nothing_is_begun),
    TEST(without_randomness_nothing_is_begun),
    TEST(errors_of_the_hsm),
    TEST(the_commit_fails),
    TEST(the_commit_is_uncertain),
    TEST(nothing_can_be_committed),
    TEST(the_store_cannot_read),
    TEST(a_csr_that_was_settled_meanwhile_loses_its_key),
    TEST(a_key_that_another_csr_has_is_refused),
    TEST(a_key_of_another_type_is_refused),
    TEST(failing_cannot_be_committed),
    TEST(key_types_follow_policy_and_token),
    TEST(a_get_answers_as_the_create_did),
    TEST(lists_are_paged),
    TEST(an_account_lists_its_own),
    TEST(lists_leave_room_for_others),
    TEST(an_empty_list_is_empty),
    TEST(bad_query_parameters_are_named),
    TEST(a_delete_destroys_key_and_row),
    TEST(a_repeated_delete_is_answered_again),
    TEST(a_failed_create_cannot_be_deleted),
    TEST(an_id_in_upper_case_is_the_same),
    TEST(a_delete_that_stopped_is_taken_up_again),
    TEST(a_delete_goes_on_while_it_has_time),
    TEST(a_delete_without_an_answer_looks_again),
    TEST(a_delete_finds_what_reconciliation_settled),
    TEST(a_delete_that_another_overtakes_is_done),
    TEST(without_the_hsm_nothing_is_deleted),
    TEST(commits_of_a_delete_fail),
    TEST(a_delete_settled_by_another_is_done),
    TEST(two_deletes_at_once),
    TEST(the_second_delete_does_what_the_first_failed_to),
    TEST(deletes_while_draining),
    TEST(draining),
    TEST(ready_says_which_part_is_not),
    TEST(ready_is_what_creates_need),
    TEST(ready_checks_are_shared),
    TEST(health_needs_nobody),
    TEST(tokens_verify),
    TEST(a_get_with_a_json_content_type_is_fine),
    TEST(options_name_the_methods),
    TEST(conditions_are_kept),
    TEST(compressed_bodies_are_refused),
};

int main(void)
{
	return cmocka_run_group_tests_name("api_handler", tests, NULL, NULL);
}
