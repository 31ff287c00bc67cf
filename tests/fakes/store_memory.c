/*
 * The store in memory.  Rows are never changed in place: a change puts a new
 * copy where the old one was and notes the old one, so going back to any
 * earlier moment is walking that list of notes backwards.
 */
#include "tests/fakes/store_memory.h"

#include "base/str.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct scope_row {
	struct store_scope scope;
	char account_id[STORE_TAG_SIZE];
	char *name;
	int64_t csr_quota;
	int64_t csr_count;
	int64_t csr_active;
	int64_t created_us;
};

struct idempotency_row {
	char principal_id[CSR_ID_SIZE];
	struct store_scope scope;
	char *key;
	char csr_id[CSR_ID_SIZE];
	uint8_t request_hash[STORE_HASH_BYTES];
	int64_t created_us;
	bool gone;
};

struct lineage_row {
	char token_name[STORE_TOKEN_NAME_SIZE];
	uint8_t lineage[STORE_LINEAGE_BYTES];
};

enum table { SCOPES, PRINCIPALS, CSRS, AUDIT, IDEMPOTENCY, LINEAGES, TABLES_LEN };

struct rows {
	void **at;
	size_t len;
};

struct note {
	enum table table;
	size_t index;
	void *old; /* NULL: the row was added */
};

struct database {
	struct database *next;
	char *name;
	struct rows tables[TABLES_LEN];
	struct note *notes;
	size_t notes_len;
	size_t guard; /* notes_len at STORE_GUARD_SET */
	bool writes;
};

static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t control_changed = PTHREAD_COND_INITIALIZER;
static struct {
	enum err e;
	unsigned times;
} faults[STORE_MEMORY_COMMIT + 1];
static bool pause_ordered, paused;
static unsigned write_commits, read_commits;
static struct database *databases;

/* ---- orders of the test ---- */

void store_memory_fail(enum store_memory_point at, enum err e, unsigned times)
{
	pthread_mutex_lock(&control_lock);
	faults[at].e = e;
	faults[at].times = times;
	pthread_mutex_unlock(&control_lock);
}

static enum err fault_at(enum store_memory_point at)
{
	enum err e = E_OK;

	pthread_mutex_lock(&control_lock);
	if (faults[at].times > 0) {
		faults[at].times--;
		e = faults[at].e;
	}
	pthread_mutex_unlock(&control_lock);
	return e;
}

static void set_pause(bool on)
{
	pthread_mutex_lock(&control_lock);
	pause_ordered = on;
	pthread_cond_broadcast(&control_changed);
	pthread_mutex_unlock(&control_lock);
}

void store_memory_pause(void)
{
	set_pause(true);
}

void store_memory_resume(void)
{
	set_pause(false);
}

void store_memory_wait_paused(void)
{
	pthread_mutex_lock(&control_lock);
	while (!paused)
		pthread_cond_wait(&control_changed, &control_lock);
	pthread_mutex_unlock(&control_lock);
}

static void stand_at_pause(void)
{
	pthread_mutex_lock(&control_lock);
	while (pause_ordered) {
		paused = true;
		pthread_cond_broadcast(&control_changed);
		pthread_cond_wait(&control_changed, &control_lock);
	}
	paused = false;
	pthread_mutex_unlock(&control_lock);
}

static unsigned read_count(const unsigned *count)
{
	pthread_mutex_lock(&control_lock);
	unsigned value = *count;
	pthread_mutex_unlock(&control_lock);
	return value;
}

unsigned store_memory_write_commits(void)
{
	return read_count(&write_commits);
}

unsigned store_memory_read_commits(void)
{
	return read_count(&read_commits);
}

/* ---- rows ---- */

/* Test programs have memory, or stop. */
static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

static char *text_copy(const char *text)
{
	return must(strdup(text == NULL ? "" : text));
}

static void free_row(enum table table, void *row)
{
	if (row == NULL)
		return;
	switch (table) {
	case SCOPES:
		free(((struct scope_row *)row)->name);
		break;
	case PRINCIPALS:
		principal_release(row);
		break;
	case CSRS:
		csr_record_release(row);
		break;
	case AUDIT:
		audit_record_release(row);
		break;
	case IDEMPOTENCY:
		free(((struct idempotency_row *)row)->key);
		break;
	case LINEAGES:
	case TABLES_LEN:
		break;
	}
	free(row);
}

static void note(struct database *db, enum table table, size_t index, void *old)
{
	db->notes = must(reallocarray(db->notes, db->notes_len + 1, sizeof(*db->notes)));
	db->notes[db->notes_len++] = (struct note){.table = table, .index = index, .old = old};
}

static void add_row(struct database *db, enum table table, void *row)
{
	struct rows *rows = &db->tables[table];

	rows->at = must(reallocarray(rows->at, rows->len + 1, sizeof(*rows->at)));
	note(db, table, rows->len, NULL);
	rows->at[rows->len++] = row;
}

static void replace_row(struct database *db, enum table table, size_t index, void *row)
{
	note(db, table, index, db->tables[table].at[index]);
	db->tables[table].at[index] = row;
}

static void undo_to(struct database *db, size_t notes_len)
{
	while (db->notes_len > notes_len) {
		struct note *n = &db->notes[--db->notes_len];
		struct rows *rows = &db->tables[n->table];

		free_row(n->table, rows->at[n->index]);
		if (n->old != NULL)
			rows->at[n->index] = n->old;
		else
			rows->len--;
	}
}

static void forget_notes(struct database *db)
{
	for (size_t i = 0; i < db->notes_len; i++)
		free_row(db->notes[i].table, db->notes[i].old);
	db->notes_len = 0;
}

/* ---- databases and transactions ---- */

void store_memory_forget(void)
{
	while (databases != NULL) {
		struct database *db = databases;

		databases = db->next;
		undo_to(db, 0);
		for (int t = 0; t < TABLES_LEN; t++) {
			for (size_t i = 0; i < db->tables[t].len; i++)
				free_row((enum table)t, db->tables[t].at[i]);
			free(db->tables[t].at);
		}
		free(db->notes);
		free(db->name);
		free(db);
	}
	memset(faults, 0, sizeof(faults));
	pause_ordered = false;
	write_commits = read_commits = 0;
}

static enum err memory_open(const struct store_options *options, const char *location, void **ret_db)
{
	struct database *db;

	(void)options;
	enum err e = fault_at(STORE_MEMORY_OPEN);
	if (e != E_OK)
		return e;
	for (db = databases; db != NULL; db = db->next) {
		if (strcmp(db->name, location) == 0)
			break;
	}
	if (db == NULL) {
		db = must(calloc(1, sizeof(*db)));
		db->name = text_copy(location);
		db->next = databases;
		databases = db;
	}
	*ret_db = db;
	return E_OK;
}

enum err store_memory_open(const char *name, struct store **ret_store)
{
	char url[128] = "memory:";
	struct store_options options = {.url = url, .queue_max = 1024, .create = true};

	strncat(url, name, sizeof(url) - strlen(url) - 1);
	return store_open_backend(&store_memory_backend, &options, ret_store);
}

static void memory_close(void *db)
{
	undo_to(db, 0);
}

static enum err memory_begin(void *db, bool writes)
{
	struct database *d = db;

	stand_at_pause();
	assert(d->notes_len == 0);
	d->writes = writes;
	return writes ? fault_at(STORE_MEMORY_BEGIN) : E_OK;
}

static enum err memory_end(void *db, bool commit)
{
	struct database *d = db;
	enum err e = commit && d->writes ? fault_at(STORE_MEMORY_COMMIT) : E_OK;

	if (!commit || (e != E_OK && e != E_UNCERTAIN)) {
		undo_to(d, 0);
		return e;
	}
	forget_notes(d);
	pthread_mutex_lock(&control_lock);
	if (d->writes)
		write_commits++;
	else
		read_commits++;
	pthread_mutex_unlock(&control_lock);
	return e;
}

static enum err memory_guard(void *db, enum store_guard step)
{
	struct database *d = db;

	if (step == STORE_GUARD_SET)
		d->guard = d->notes_len;
	if (step == STORE_GUARD_UNDO)
		undo_to(d, d->guard);
	return E_OK;
}

/* ---- finding ---- */

static struct scope_row *find_scope(struct database *db, const struct store_scope *scope, size_t *ret_index)
{
	for (size_t i = 0; i < db->tables[SCOPES].len; i++) {
		struct scope_row *row = db->tables[SCOPES].at[i];
		if (store_scope_equal(&row->scope, scope)) {
			*ret_index = i;
			return row;
		}
	}
	return NULL;
}

static struct csr_record *find_csr(struct database *db, const char *id, size_t *ret_index)
{
	for (size_t i = 0; i < db->tables[CSRS].len; i++) {
		struct csr_record *row = db->tables[CSRS].at[i];
		if (strcmp(row->id, id) == 0) {
			*ret_index = i;
			return row;
		}
	}
	return NULL;
}

static struct idempotency_row *find_idempotency(struct database *db, const struct store_csr_begin *in,
						size_t *ret_index)
{
	for (size_t i = 0; i < db->tables[IDEMPOTENCY].len; i++) {
		struct idempotency_row *row = db->tables[IDEMPOTENCY].at[i];
		if (!row->gone && strcmp(row->principal_id, in->record->principal_id) == 0 &&
		    store_scope_equal(&row->scope, &in->record->scope) &&
		    strcmp(row->key, in->idempotency_key) == 0) {
			*ret_index = i;
			return row;
		}
	}
	return NULL;
}

/* ---- changing ---- */

static void add_audit(struct database *db, int64_t now_us, const char *action, const char *object,
		      const struct audit_origin *origin)
{
	struct audit_record *row = must(calloc(1, sizeof(*row)));

	row->sequence = (int64_t)db->tables[AUDIT].len + 1;
	row->at_us = now_us;
	row->action = text_copy(action);
	row->object = text_copy(object);
	row->actor = text_copy(origin->actor);
	row->request_id = text_copy(origin->request_id);
	row->peer = text_copy(origin->peer);
	row->detail = text_copy(origin->detail);
	add_row(db, AUDIT, row);
}

static void count_csr(struct database *db, const struct store_scope *scope, int counted, int active)
{
	size_t index;
	struct scope_row *old = find_scope(db, scope, &index);
	struct scope_row *row = must(malloc(sizeof(*row)));

	assert(old != NULL);
	*row = *old;
	row->name = text_copy(old->name);
	row->csr_count += counted;
	row->csr_active += active;
	replace_row(db, SCOPES, index, row);
}

static void drop_idempotency(struct database *db, size_t index)
{
	struct idempotency_row *old = db->tables[IDEMPOTENCY].at[index];
	struct idempotency_row *row = must(malloc(sizeof(*row)));

	*row = *old;
	row->key = text_copy(old->key);
	row->gone = true;
	replace_row(db, IDEMPOTENCY, index, row);
}

static void add_idempotency(struct database *db, const struct store_csr_begin *in, int64_t now_us)
{
	struct idempotency_row *row = must(calloc(1, sizeof(*row)));

	strcpy(row->principal_id, in->record->principal_id);
	row->scope = in->record->scope;
	row->key = text_copy(in->idempotency_key);
	strcpy(row->csr_id, in->record->id);
	memcpy(row->request_hash, in->request_hash, STORE_HASH_BYTES);
	row->created_us = now_us;
	add_row(db, IDEMPOTENCY, row);
}

/* ---- the backend's operations ---- */

static enum err memory_principal_find(void *db, enum principal_kind kind,
				      const uint8_t secret_hash[STORE_HASH_BYTES],
				      struct principal *ret_principal)
{
	struct rows *rows = &((struct database *)db)->tables[PRINCIPALS];

	enum err e = fault_at(STORE_MEMORY_READ);
	if (e != E_OK)
		return e;
	for (size_t i = 0; i < rows->len; i++) {
		struct principal *row = rows->at[i];
		if (row->kind == kind && memcmp(row->secret_hash, secret_hash, STORE_HASH_BYTES) == 0)
			return principal_copy(row, ret_principal);
	}
	return E_NOTFOUND;
}

static enum err judge_repeat(struct database *db, const struct store_csr_begin *in,
			     const struct idempotency_row *seen, enum store_begin *ret_outcome,
			     struct csr_record *ret_replay)
{
	size_t index;

	if (memcmp(seen->request_hash, in->request_hash, STORE_HASH_BYTES) != 0) {
		*ret_outcome = STORE_BEGIN_MISMATCH;
		return E_OK;
	}
	struct csr_record *first = find_csr(db, seen->csr_id, &index);
	assert(first != NULL);
	if (first->state == CSR_ACTIVE || first->state == CSR_PENDING) {
		*ret_outcome = first->state == CSR_ACTIVE ? STORE_BEGIN_REPLAY : STORE_BEGIN_IN_FLIGHT;
		return csr_record_copy(first, ret_replay);
	}
	*ret_outcome = STORE_BEGIN_GONE;
	return E_OK;
}

static enum err begin_new(struct database *db, const struct store_csr_begin *in,
			  const struct scope_row *scope, int64_t now_us)
{
	struct csr_record *row = must(calloc(1, sizeof(*row)));
	struct csr_record *r = in->record;
	size_t index;

	for (size_t i = 0; i < r->spec.sans_len; i++) {
		if (strchr(r->spec.sans[i].value, '\n') != NULL) {
			free(row);
			return E_INVAL;
		}
	}
	if (find_csr(db, r->id, &index) != NULL) {
		free(row);
		return E_EXISTS;
	}
	strcpy(r->account_tag, scope->account_id);
	r->state = CSR_PENDING;
	r->created_us = r->updated_us = now_us;
	if (csr_record_copy(r, row) != E_OK)
		abort();
	add_row(db, CSRS, row);
	count_csr(db, &r->scope, 1, 0);
	if (in->idempotency_key != NULL)
		add_idempotency(db, in, now_us);
	add_audit(db, now_us, store_audit_action_of_state(CSR_PENDING), r->id, &in->origin);
	return fault_at(STORE_MEMORY_WRITE);
}

static enum err memory_csr_begin(void *db, const struct store_csr_begin *in, int64_t now_us,
				 enum store_begin *ret_outcome, struct csr_record *ret_replay)
{
	size_t index;
	struct scope_row *scope = find_scope(db, &in->record->scope, &index);

	if (scope == NULL) {
		*ret_outcome = STORE_BEGIN_NO_SCOPE;
		return E_OK;
	}
	if (in->idempotency_key != NULL) {
		struct idempotency_row *seen = find_idempotency(db, in, &index);

		if (seen != NULL && seen->created_us >= now_us - in->idempotency_ttl_us)
			return judge_repeat(db, in, seen, ret_outcome, ret_replay);
		if (seen != NULL)
			drop_idempotency(db, index);
	}
	if (scope->csr_quota != STORE_NO_LIMIT && scope->csr_count >= scope->csr_quota) {
		*ret_outcome = STORE_BEGIN_QUOTA;
		return E_OK;
	}
	enum err e = begin_new(db, in, scope, now_us);
	if (e == E_OK)
		*ret_outcome = STORE_BEGIN_NEW;
	return e;
}

static bool key_is_used(struct database *db, const struct store_csr_result *result)
{
	for (size_t i = 0; i < db->tables[CSRS].len; i++) {
		struct csr_record *row = db->tables[CSRS].at[i];
		if (row->pem != NULL &&
		    (memcmp(row->key_id, result->key_id, KEY_ID_BYTES) == 0 ||
		     memcmp(row->spki_sha256, result->spki_sha256, KEY_SPKI_HASH_BYTES) == 0))
			return true;
	}
	return false;
}

static enum err memory_csr_move(void *db, const struct store_csr_move *in, int64_t now_us)
{
	struct database *d = db;
	size_t index;
	struct csr_record *old = find_csr(d, in->id, &index);

	if (old == NULL || old->state != in->from)
		return E_NOTFOUND;
	if (in->result != NULL && key_is_used(d, in->result))
		return E_EXISTS;
	struct csr_record *row = must(calloc(1, sizeof(*row)));
	if (csr_record_copy(old, row) != E_OK)
		abort();
	row->state = in->to;
	row->updated_us = now_us;
	if (in->result != NULL) {
		row->pem = text_copy(in->result->pem);
		memcpy(row->key_id, in->result->key_id, KEY_ID_BYTES);
		memcpy(row->spki_sha256, in->result->spki_sha256, KEY_SPKI_HASH_BYTES);
		row->protection = in->result->protection;
	}
	replace_row(d, CSRS, index, row);
	count_csr(d, &row->scope, (int)csr_state_counts(in->to) - (int)csr_state_counts(in->from),
		  (in->to == CSR_ACTIVE) - (in->from == CSR_ACTIVE));
	for (size_t i = 0; in->to == CSR_FAILED && i < d->tables[IDEMPOTENCY].len; i++) {
		struct idempotency_row *seen = d->tables[IDEMPOTENCY].at[i];
		if (!seen->gone && strcmp(seen->csr_id, in->id) == 0)
			drop_idempotency(d, i);
	}
	add_audit(d, now_us, store_audit_action_of_state(in->to), in->id, &in->origin);
	return fault_at(STORE_MEMORY_WRITE);
}

static enum err memory_csr_get(void *db, const char *id, struct csr_record *ret_record)
{
	size_t index;

	enum err e = fault_at(STORE_MEMORY_READ);
	if (e != E_OK)
		return e;
	struct csr_record *row = find_csr(db, id, &index);
	return row == NULL ? E_NOTFOUND : csr_record_copy(row, ret_record);
}

static int compare_names(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static int compare_csrs(const void *left, const void *right, void *arg)
{
	const struct csr_record *a = *(struct csr_record *const *)left,
				*b = *(struct csr_record *const *)right;
	const struct store_csr_query *query = arg;
	int order = 0;

	if (query->after_id != NULL)
		return strcmp(a->id, b->id);
	if (query->order == STORE_ORDER_CREATED_AT)
		order = (a->created_us > b->created_us) - (a->created_us < b->created_us);
	else if (query->order == STORE_ORDER_NAME)
		order = compare_names(a->name, b->name);
	else
		order = strcmp(a->account_tag, b->account_tag);
	if (order == 0)
		order = strcmp(a->id, b->id);
	return query->descending ? -order : order;
}

/* Whether a text, NULL for none, holds what is looked for, NULL for anything. */
static bool holds(const char *text, const char *what)
{
	return what == NULL || (text != NULL && strcasestr(text, what) != NULL);
}

static bool sans_hold(const struct csr_spec *spec, const char *what)
{
	for (size_t i = 0; what != NULL && i < spec->sans_len; i++) {
		if (holds(spec->sans[i].value, what))
			return true;
	}
	return what == NULL;
}

static bool has_key(const struct csr_record *r, const uint8_t *key, size_t key_len)
{
	if (key == NULL)
		return true;
	return r->pem != NULL &&
	       memcmp(key_len == KEY_ID_BYTES ? r->key_id : r->spki_sha256, key, key_len) == 0;
}

static bool passes(const struct csr_record *r, const struct store_csr_filter *f)
{
	if (f == NULL)
		return true;
	return (f->since_us == 0 || r->created_us >= f->since_us) &&
	       (f->until_us == 0 || r->created_us < f->until_us) &&
	       (f->id_prefix == NULL || str_starts_with(r->id, f->id_prefix)) &&
	       (f->token_name == NULL || strcmp(r->token_name, f->token_name) == 0) &&
	       (f->principal_id == NULL || strcmp(r->principal_id, f->principal_id) == 0) &&
	       (f->key_type == 0 || r->spec.key_type == f->key_type) && has_key(r, f->key, f->key_len) &&
	       (holds(r->spec.common_name, f->name) || holds(r->name, f->name)) &&
	       sans_hold(&r->spec, f->san) &&
	       (holds(r->spec.common_name, f->word) || holds(r->name, f->word) ||
		sans_hold(&r->spec, f->word) || strncasecmp(r->id, f->word, strlen(f->word)) == 0);
}

static bool csr_is_asked_for(const struct csr_record *r, const struct store_csr_query *query)
{
	return (query->states & CSR_STATE_BIT(r->state)) != 0 &&
	       (query->scope == NULL || store_scope_equal(query->scope, &r->scope)) &&
	       passes(r, query->filter);
}

static enum err memory_csr_list(void *db, const struct store_csr_query *query,
				struct store_csr_page *ret_page)
{
	struct rows *rows = &((struct database *)db)->tables[CSRS];
	struct csr_record **hits = must(calloc(rows->len + 1, sizeof(*hits)));
	struct store_csr_page page = {0};
	struct store_csr_query order = *query;
	size_t hits_len = 0;

	enum err e = fault_at(STORE_MEMORY_READ);
	if (e != E_OK)
		goto out;
	for (size_t i = 0; i < rows->len; i++) {
		struct csr_record *r = rows->at[i];
		if (!csr_is_asked_for(r, query))
			continue;
		page.total++;
		if ((query->after_id == NULL || strcmp(r->id, query->after_id) > 0) &&
		    (query->updated_before_us == 0 || r->updated_us < query->updated_before_us))
			hits[hits_len++] = r;
	}
	if (query->after_id != NULL)
		page.total = 0;
	qsort_r(hits, hits_len, sizeof(*hits), compare_csrs, &order);
	page.records = must(calloc(query->limit, sizeof(*page.records)));
	for (uint64_t i = query->after_id != NULL ? 0 : query->offset;
	     i < hits_len && page.records_len < query->limit; i++) {
		if (csr_record_copy(hits[i], &page.records[page.records_len++]) != E_OK)
			abort();
	}
	*ret_page = page;
out:
	free(hits);
	return e;
}

static enum err add_scope(struct database *db, const struct scope_row *from, int64_t now_us)
{
	struct scope_row *row = must(malloc(sizeof(*row)));

	*row = *from;
	row->name = text_copy(from->name);
	row->created_us = now_us;
	add_row(db, SCOPES, row);
	return E_OK;
}

static enum err add_account(struct database *db, const struct account_record *account, int64_t now_us)
{
	struct scope_row row = {
	    .scope.kind = STORE_ACCOUNT, .name = account->name, .csr_quota = account->csr_quota};
	size_t index;

	strcpy(row.scope.id, account->id);
	strcpy(row.account_id, account->id);
	return find_scope(db, &row.scope, &index) != NULL ? E_EXISTS : add_scope(db, &row, now_us);
}

static enum err add_zone(struct database *db, const struct zone_record *zone, int64_t now_us)
{
	struct scope_row row = {.scope.kind = STORE_ZONE, .name = zone->name, .csr_quota = zone->csr_quota};
	struct store_scope account = {.kind = STORE_ACCOUNT};
	size_t index;

	strcpy(row.scope.id, zone->id);
	strcpy(row.account_id, zone->account_id);
	strcpy(account.id, zone->account_id);
	if (find_scope(db, &row.scope, &index) != NULL)
		return E_EXISTS;
	return find_scope(db, &account, &index) == NULL ? E_NOTFOUND : add_scope(db, &row, now_us);
}

static void add_grant(struct principal *p, const struct grant *grant)
{
	for (size_t i = 0; i < p->grants_len; i++) {
		struct grant *g = &p->grants[i];
		if (store_scope_equal(&g->scope, &grant->scope)) {
			g->permission = g->permission > grant->permission ? g->permission : grant->permission;
			return;
		}
	}
	p->grants = must(reallocarray(p->grants, p->grants_len + 1, sizeof(*p->grants)));
	p->grants[p->grants_len++] = *grant;
}

static bool principals_clash(const struct principal *a, const struct principal *b)
{
	return strcmp(a->id, b->id) == 0 || memcmp(a->secret_hash, b->secret_hash, STORE_HASH_BYTES) == 0 ||
	       (a->kind == PRINCIPAL_USER && b->kind == PRINCIPAL_USER && a->revoked_us == 0 &&
		str_equal_ignoring_case(a->name, b->name));
}

static enum err add_principal(struct database *db, const struct principal *p, int64_t now_us)
{
	struct rows *rows = &db->tables[PRINCIPALS];
	size_t index;

	for (size_t i = 0; i < rows->len; i++) {
		if (principals_clash(rows->at[i], p))
			return E_EXISTS;
	}
	for (size_t i = 0; i < p->grants_len; i++) {
		if (find_scope(db, &p->grants[i].scope, &index) == NULL)
			return E_NOTFOUND;
	}
	struct principal *row = must(calloc(1, sizeof(*row)));
	*row = *p;
	row->name = text_copy(p->name);
	row->created_us = now_us;
	row->revoked_us = 0;
	row->grants = NULL;
	row->grants_len = 0;
	for (size_t i = 0; i < p->grants_len; i++)
		add_grant(row, &p->grants[i]);
	add_row(db, PRINCIPALS, row);
	return E_OK;
}

static enum err revoke_principal(struct database *db, const struct store_change *in, int64_t now_us,
				 bool *ret_changed)
{
	struct rows *rows = &db->tables[PRINCIPALS];

	for (size_t i = 0; i < rows->len; i++) {
		struct principal *old = rows->at[i];
		if (old->kind != in->principal_kind || strcmp(old->id, in->principal_id) != 0)
			continue;
		*ret_changed = old->revoked_us == 0;
		if (old->revoked_us != 0)
			return E_OK;
		struct principal *row = must(calloc(1, sizeof(*row)));
		if (principal_copy(old, row) != E_OK)
			abort();
		row->revoked_us = now_us;
		replace_row(db, PRINCIPALS, i, row);
		return E_OK;
	}
	return E_NOTFOUND;
}

static struct lineage_row *find_lineage(struct database *db, const char *token_name, size_t *ret_index)
{
	for (size_t i = 0; i < db->tables[LINEAGES].len; i++) {
		struct lineage_row *row = db->tables[LINEAGES].at[i];

		if (strcmp(row->token_name, token_name) == 0) {
			*ret_index = i;
			return row;
		}
	}
	return NULL;
}

static enum err memory_mark(void *db, const char *token_name, struct store_mark *ret_mark)
{
	struct database *d = db;
	size_t index;
	struct lineage_row *row = find_lineage(d, token_name, &index);

	*ret_mark =
	    (struct store_mark){.has_lineage = row != NULL, .sequence = (int64_t)d->tables[AUDIT].len};
	if (row != NULL)
		memcpy(ret_mark->lineage, row->lineage, sizeof(row->lineage));
	return E_OK;
}

static void set_row_aside(struct database *db, size_t index, int64_t now_us,
			  const struct audit_origin *origin)
{
	struct audit_origin told = {.actor = origin->actor};
	struct csr_record *row = must(calloc(1, sizeof(*row)));
	bool pending;

	if (csr_record_copy(db->tables[CSRS].at[index], row) != E_OK)
		abort();
	pending = row->state == CSR_PENDING;
	row->set_aside_us = now_us;
	if (pending) {
		row->state = CSR_FAILED;
		row->updated_us = now_us;
		count_csr(db, &row->scope, -1, 0);
	}
	told.detail = pending ? STORE_AUDIT_KEPT_PENDING : STORE_AUDIT_KEPT_DELETING;
	add_audit(db, now_us, pending ? store_audit_action_of_state(CSR_FAILED) : STORE_AUDIT_SET_ASIDE,
		  row->id, &told);
	for (size_t i = 0; pending && i < db->tables[IDEMPOTENCY].len; i++) {
		struct idempotency_row *seen = db->tables[IDEMPOTENCY].at[i];

		if (!seen->gone && strcmp(seen->csr_id, row->id) == 0)
			drop_idempotency(db, i);
	}
	replace_row(db, CSRS, index, row);
}

static enum err memory_set_aside(void *db, const struct store_set_aside *in, int64_t now_us,
				 uint64_t *ret_rows)
{
	struct database *d = db;
	struct lineage_row *lineage = must(calloc(1, sizeof(*lineage)));
	uint64_t rows = 0;
	size_t index;

	strcpy(lineage->token_name, in->token_name);
	memcpy(lineage->lineage, in->lineage, sizeof(lineage->lineage));
	if (find_lineage(d, in->token_name, &index) != NULL)
		replace_row(d, LINEAGES, index, lineage);
	else
		add_row(d, LINEAGES, lineage);
	for (size_t i = 0; i < d->tables[CSRS].len; i++) {
		const struct csr_record *row = d->tables[CSRS].at[i];

		if ((row->state != CSR_PENDING && row->state != CSR_DELETING) || row->set_aside_us != 0 ||
		    strcmp(row->token_name, in->token_name) != 0)
			continue;
		set_row_aside(d, i, now_us, &in->origin);
		rows++;
	}
	if (rows > 0 || in->went_back)
		add_audit(d, now_us, STORE_AUDIT_ROLLED_BACK, STORE_AUDIT_OBJECT, &in->origin);
	*ret_rows = rows;
	return fault_at(STORE_MEMORY_WRITE);
}

static bool leftover_is_told(const struct database *db, const char *csr_id)
{
	bool told = false;

	for (size_t i = 0; i < db->tables[AUDIT].len; i++) {
		const struct audit_record *row = db->tables[AUDIT].at[i];

		if (strcmp(row->object, csr_id) == 0 && str_starts_with(row->action, "csr.leftover"))
			told = strcmp(row->action, "csr.leftover") == 0;
	}
	return told;
}

static enum err set_scope(struct database *db, const struct store_scope_change *in)
{
	size_t index;
	struct scope_row *old = find_scope(db, &in->scope, &index);

	if (old == NULL)
		return E_NOTFOUND;
	struct scope_row *row = must(malloc(sizeof(*row)));
	*row = *old;
	row->name = text_copy(in->name != NULL ? in->name : old->name);
	if (in->sets_quota)
		row->csr_quota = in->csr_quota;
	replace_row(db, SCOPES, index, row);
	return E_OK;
}

static enum err memory_change(void *db, const struct store_change *in, int64_t now_us)
{
	const char *object = NULL;
	bool changed = true;
	enum err e = E_BUG;

	switch (in->kind) {
	case STORE_CHANGE_ACCOUNT_ADD:
		object = in->account->id;
		e = add_account(db, in->account, now_us);
		break;
	case STORE_CHANGE_ZONE_ADD:
		object = in->zone->id;
		e = add_zone(db, in->zone, now_us);
		break;
	case STORE_CHANGE_PRINCIPAL_ADD:
		object = in->principal->id;
		e = add_principal(db, in->principal, now_us);
		break;
	case STORE_CHANGE_PRINCIPAL_REVOKE:
		object = in->principal_id;
		e = revoke_principal(db, in, now_us, &changed);
		break;
	case STORE_CHANGE_SCOPE_SET:
		object = in->scope_change.scope.id;
		e = set_scope(db, &in->scope_change);
		break;
	case STORE_CHANGE_CSR_LEFTOVER:
		object = in->csr_id;
		changed = !leftover_is_told(db, in->csr_id);
		e = E_OK;
		break;
	case STORE_CHANGE_CSR_LEFTOVER_GONE:
		object = in->csr_id;
		e = E_OK;
		break;
	case STORE_CHANGE_BACKUP:
	case STORE_CHANGE_RESTORE:
		object = STORE_AUDIT_OBJECT;
		e = E_OK;
		break;
	}
	if (e != E_OK || !changed)
		return e;
	add_audit(db, now_us, store_audit_action_of_change(in), object, &in->origin);
	return fault_at(STORE_MEMORY_WRITE);
}

static void list_scope(const struct scope_row *row, struct store_inventory *found)
{
	if (found->kind == STORE_INVENTORY_ACCOUNTS) {
		struct account_record *a = must(store_inventory_append(found));
		memcpy(a->id, row->scope.id, sizeof(a->id));
		a->name = text_copy(row->name);
		a->csr_quota = row->csr_quota;
		a->csr_count = row->csr_count;
		a->created_us = row->created_us;
	} else {
		struct zone_record *z = must(store_inventory_append(found));
		memcpy(z->id, row->scope.id, sizeof(z->id));
		memcpy(z->account_id, row->account_id, sizeof(z->account_id));
		z->name = text_copy(row->name);
		z->csr_quota = row->csr_quota;
		z->csr_count = row->csr_count;
		z->created_us = row->created_us;
	}
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b); /* both records start with their id */
}

static void list_scopes(struct database *db, struct store_inventory *found)
{
	bool accounts = found->kind == STORE_INVENTORY_ACCOUNTS;

	for (size_t i = 0; i < db->tables[SCOPES].len; i++) {
		struct scope_row *row = db->tables[SCOPES].at[i];
		if ((row->scope.kind == STORE_ACCOUNT) == accounts)
			list_scope(row, found);
	}
	if (found->len > 0)
		qsort(found->of.any, found->len,
		      accounts ? sizeof(struct account_record) : sizeof(struct zone_record), compare_ids);
}

static void list_principals(struct database *db, enum principal_kind kind, struct store_inventory *found)
{
	for (size_t i = 0; i < db->tables[PRINCIPALS].len; i++) {
		struct principal *row = db->tables[PRINCIPALS].at[i];
		if (row->kind == kind && principal_copy(row, must(store_inventory_append(found))) != E_OK)
			abort();
	}
}

static void append_audit(const struct audit_record *row, struct store_inventory *found)
{
	struct audit_record *a = must(store_inventory_append(found));

	*a = *row;
	a->action = text_copy(row->action);
	a->object = text_copy(row->object);
	a->actor = text_copy(row->actor);
	a->request_id = text_copy(row->request_id);
	a->peer = text_copy(row->peer);
	a->detail = text_copy(row->detail);
}

static void list_audit(struct database *db, const char *object, struct store_inventory *found)
{
	for (size_t i = 0; i < db->tables[AUDIT].len; i++) {
		struct audit_record *row = db->tables[AUDIT].at[i];
		if (strcmp(row->object, object) == 0)
			append_audit(row, found);
	}
}

static bool is_action(const char *action, const char *wanted)
{
	size_t len = strlen(wanted);

	return strncmp(action, wanted, len) == 0 && (action[len] == '\0' || action[len] == '.');
}

static void search_audit(struct database *db, const struct store_audit_query *query,
			 struct store_inventory *found)
{
	for (size_t i = db->tables[AUDIT].len; i-- > 0 && found->len < query->limit;) {
		struct audit_record *row = db->tables[AUDIT].at[i];
		if ((query->since_us == 0 || row->at_us >= query->since_us) &&
		    (query->until_us == 0 || row->at_us < query->until_us) &&
		    (query->actor == NULL || strcmp(row->actor, query->actor) == 0) &&
		    (query->object == NULL || strcmp(row->object, query->object) == 0) &&
		    (query->action == NULL || is_action(row->action, query->action)) &&
		    (query->below_sequence == 0 || row->sequence < query->below_sequence))
			append_audit(row, found);
	}
}

static enum err memory_inventory(void *db, const struct store_inventory_query *query,
				 struct store_inventory *ret_inventory)
{
	struct store_inventory found = {.kind = query->kind};

	enum err e = fault_at(STORE_MEMORY_READ);
	if (e != E_OK)
		return e;
	switch (query->kind) {
	case STORE_INVENTORY_ACCOUNTS:
	case STORE_INVENTORY_ZONES:
		list_scopes(db, &found);
		break;
	case STORE_INVENTORY_PRINCIPALS:
		list_principals(db, query->principal_kind, &found);
		break;
	case STORE_INVENTORY_AUDIT:
		list_audit(db, query->object, &found);
		break;
	case STORE_INVENTORY_TRAIL:
		search_audit(db, &query->trail, &found);
		break;
	}
	*ret_inventory = found;
	return E_OK;
}

static enum err memory_try_write(void *db)
{
	(void)db;
	enum err e = fault_at(STORE_MEMORY_BEGIN);
	return e == E_OK ? fault_at(STORE_MEMORY_COMMIT) : e;
}

const struct store_backend store_memory_backend = {
    .scheme = "memory",
    .open = memory_open,
    .close = memory_close,
    .begin = memory_begin,
    .end = memory_end,
    .guard = memory_guard,
    .try_write = memory_try_write,
    .principal_find = memory_principal_find,
    .csr_begin = memory_csr_begin,
    .csr_move = memory_csr_move,
    .csr_get = memory_csr_get,
    .csr_list = memory_csr_list,
    .change = memory_change,
    .mark = memory_mark,
    .set_aside = memory_set_aside,
    .inventory = memory_inventory,
};
