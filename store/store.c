/*
 * The queue between the owner's thread and the database.
 *
 * An operation has one owner at any time: the caller's thread until it is
 * queued, the store thread while it is in a batch, the caller's thread again
 * once it is on the list of finished ones.  The lock guards the two lists and
 * nothing else, and is never held while the database or a callback runs.
 */
#include "store/store.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "store/store_backend.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH_MAX 256
#define DISPATCH_MS 5 /* callbacks of one store_dispatch: the loop has others to serve */
#define TEXTS_MAX 8
#define LIST_LIMIT_MAX 1000
#define SPARE_MAX 64

struct op;

/* What an operation is: how it runs, how its result is told and given back. */
struct op_class {
	bool writes;
	enum err (*run)(struct store *store, struct op *op); /* on the store thread */
	void (*deliver)(struct op *op);                      /* on the owner's thread */
};

struct op {
	struct op *next;
	const struct op_class *class;
	enum err e;
	bool spare; /* of store->spare: not from the heap */
	void *arg;
	union {
		store_done_fn done;
		store_principal_fn principal;
		store_csr_begin_fn begin;
		store_csr_fn csr;
		store_csr_page_fn page;
		store_accounts_fn accounts;
		store_zones_fn zones;
		store_principals_fn principals;
		store_audit_fn audit;
		store_mark_fn mark;
		store_set_aside_fn set_aside;
	} fn;

	/* Copies of the arguments. */
	char *texts[TEXTS_MAX];
	unsigned texts_len;
	struct store_scope scope;
	bool has_scope;
	const char *id;
	uint8_t secret_hash[STORE_HASH_BYTES];
	struct csr_record *record; /* of begin */
	struct account_record account;
	struct zone_record zone;
	struct principal principal;
	struct store_csr_result result;
	struct store_csr_filter filter;
	uint8_t filter_key[KEY_SPKI_HASH_BYTES];
	union {
		struct store_csr_begin begin;
		struct store_csr_move move;
		struct store_csr_query query;
		struct store_change change;
		struct store_inventory_query inventory;
		struct store_set_aside set_aside;
		enum principal_kind principal_kind;
	} in;

	/* Results; empty unless e is E_OK. */
	enum store_begin outcome;
	struct csr_record *ret_record;
	struct principal *ret_principal;
	struct store_csr_page ret_page;
	struct store_inventory ret_inventory;
	struct store_mark ret_mark;
	uint64_t ret_rows;
};

static enum err run_ping(struct store *store, struct op *op);

struct op_list {
	struct op *first;
	struct op **end;
};

struct store {
	const struct store_backend *backend;
	void *db;
	unsigned queue_max;
	pthread_t thread;
	int wake_fd; /* eventfd: readable while `finished` is not empty */

	pthread_mutex_t lock;
	pthread_cond_t work;
	bool write_failed; /* the last write did; the store thread's */

	struct op_list queued; /* these six under the lock */
	unsigned queued_len;
	uint64_t at_work_since_ms; /* 0: the thread is at no batch */
	struct op_list finished;
	bool waiting; /* the thread sleeps and wants a signal */
	bool closing;

	void (*on_commit)(void *arg); /* owner's thread only */
	void *on_commit_arg;

	/* For telling "out of memory" when memory is out; owner's thread only. */
	struct op spare[SPARE_MAX];
	unsigned spare_free[SPARE_MAX];
	unsigned spare_free_len;
};

/* ---- lists ---- */

static void list_init(struct op_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct op_list *list, struct op *op)
{
	op->next = NULL;
	*list->end = op;
	list->end = &op->next;
}

static struct op *list_take(struct op_list *list)
{
	struct op *op = list->first;

	list->first = op->next;
	if (list->first == NULL)
		list_init(list);
	return op;
}

static void list_move_all(struct op_list *from, struct op_list *to)
{
	if (from->first == NULL)
		return;
	*to->end = from->first;
	to->end = from->end;
	list_init(from);
}

static unsigned list_move_some(struct op_list *from, struct op_list *to, unsigned max)
{
	unsigned moved = 0;

	while (from->first != NULL && moved < max) {
		struct op *op = from->first;

		from->first = op->next;
		if (from->first == NULL)
			from->end = &from->first;
		list_append(to, op);
		moved++;
	}
	return moved;
}

/* ---- operations: making and freeing ---- */

static void op_drop_result(struct op *op)
{
	csr_record_free(op->ret_record);
	op->ret_record = NULL;
	principal_free(op->ret_principal);
	op->ret_principal = NULL;
	store_csr_page_release(&op->ret_page);
	store_inventory_release(&op->ret_inventory);
}

static void op_free(struct store *store, struct op *op)
{
	op_drop_result(op);
	for (unsigned i = 0; i < op->texts_len; i++)
		free(op->texts[i]);
	csr_record_free(op->record);
	account_record_release(&op->account);
	zone_record_release(&op->zone);
	principal_release(&op->principal);
	if (op->spare)
		store->spare_free[store->spare_free_len++] = (unsigned)(op - store->spare);
	else
		free(op);
}

static struct op *op_new(struct store *store, const struct op_class *class, void *arg)
{
	struct op *op = calloc(1, sizeof(*op));

	if (op == NULL) {
		if (store->spare_free_len == 0) {
			log_error("memory is out, and nothing is left to say so with");
			abort();
		}
		op = &store->spare[store->spare_free[--store->spare_free_len]];
		memset(op, 0, sizeof(*op));
		op->spare = true;
		op->e = E_NOMEM;
	}
	op->class = class;
	op->arg = arg;
	return op;
}

/* A copy of text that lives as long as the operation; NULL for NULL, and with op->e set when memory is out.
 */
static const char *op_keep(struct op *op, const char *text)
{
	char *copy;

	if (!str_dup_opt(text, &copy)) {
		op->e = E_NOMEM;
		return NULL;
	}
	if (copy == NULL)
		return NULL;
	assert(op->texts_len < TEXTS_MAX);
	op->texts[op->texts_len++] = copy;
	return copy;
}

static void op_keep_scope(struct op *op, const struct store_scope *scope)
{
	op->has_scope = scope != NULL;
	if (scope != NULL)
		op->scope = *scope;
}

static struct audit_origin op_keep_origin(struct op *op, const struct audit_origin *origin)
{
	struct audit_origin kept = {
	    .actor = op_keep(op, origin->actor),
	    .request_id = op_keep(op, origin->request_id),
	    .peer = op_keep(op, origin->peer),
	    .detail = op_keep(op, origin->detail),
	};
	return kept;
}

/* ---- the queue ---- */

/* Hands operations back to the owner, who was told already when earlier ones wait for it. */
static void finish_locked(struct store *store, struct op_list *done)
{
	bool told = store->finished.first != NULL;
	uint64_t one = 1;
	ssize_t n = 0;

	list_move_all(done, &store->finished);
	if (!told)
		n = write(store->wake_fd, &one, sizeof(one));
	(void)n; /* cannot be full: store_dispatch reads it when it empties `finished` */
}

/*
 * Takes the operation: onto the queue, or straight to the finished ones with
 * its error.  The thread is woken outside the lock, or it would wake only to
 * wait for it; and while it works it needs no waking.
 */
static void submit(struct store *store, struct op *op)
{
	struct op_list refused;
	bool wake;

	list_init(&refused);
	pthread_mutex_lock(&store->lock);
	if (op->e == E_OK && store->closing)
		op->e = E_UNAVAIL;
	if (op->e == E_OK && store->queued_len >= store->queue_max)
		op->e = E_BUSY;
	if (op->e == E_OK) {
		list_append(&store->queued, op);
		store->queued_len++;
	} else {
		list_append(&refused, op);
		finish_locked(store, &refused);
	}
	wake = op->e == E_OK && store->waiting;
	if (wake)
		store->waiting = false;
	pthread_mutex_unlock(&store->lock);
	if (wake)
		pthread_cond_signal(&store->work);
}

static enum err run_guarded(struct store *store, struct op *op)
{
	enum err e = store->backend->guard(store->db, STORE_GUARD_SET);
	if (e != E_OK)
		return e;
	op->e = op->class->run(store, op);
	return store->backend->guard(store->db, op->e == E_OK ? STORE_GUARD_KEEP : STORE_GUARD_UNDO);
}

/* Runs the batch, or only its reads, in one transaction.  After an error nothing was done. */
static enum err run_transaction(struct store *store, struct op *batch, bool writes)
{
	enum err e = store->backend->begin(store->db, writes);
	if (e != E_OK)
		return e;
	for (struct op *op = batch; op != NULL && e == E_OK; op = op->next) {
		if (op->class->writes) {
			if (writes)
				e = run_guarded(store, op);
			continue;
		}
		op_drop_result(op);
		op->e = op->class->run(store, op);
	}
	if (e == E_OK)
		return store->backend->end(store->db, true);
	enum err ignored = store->backend->end(store->db, false);
	(void)ignored;
	return e;
}

/* Sets the error of the operations that write, or of those that do not; tells whether there are others. */
static bool fail_all(struct op *batch, bool writes, enum err e)
{
	bool others = false;

	for (struct op *op = batch; op != NULL; op = op->next) {
		if (op->class->writes != writes) {
			others = true;
			continue;
		}
		op_drop_result(op);
		op->e = e;
	}
	return others;
}

/* Whether the database is to blame, and not what was asked of it. */
static bool is_outage(enum err e)
{
	switch (e) {
	case E_STORE:
	case E_BUSY:
	case E_UNAVAIL:
	case E_UNCERTAIN:
	case E_IO:
		return true;
	default:
		return false;
	}
}

static void note_writes(struct store *store, const struct op *batch)
{
	bool done = false, failed = false;

	for (const struct op *op = batch; op != NULL; op = op->next) {
		if (!op->class->writes)
			continue;
		done = done || op->e == E_OK;
		failed = failed || is_outage(op->e);
	}
	if (done || failed)
		store->write_failed = failed;
}

/*
 * One batch, one transaction.  When it cannot be had or is lost, nothing that
 * wrote has happened, and what was read in it may not have either: the reads
 * are run again by themselves.
 */
static void run_operations(struct store *store, struct op *batch)
{
	bool writes = false;

	for (struct op *op = batch; op != NULL; op = op->next)
		writes = writes || op->class->writes;
	if (writes) {
		enum err e = run_transaction(store, batch, true);
		if (e == E_OK || !fail_all(batch, true, e))
			return;
	}
	enum err e = run_transaction(store, batch, false);
	if (e != E_OK)
		(void)fail_all(batch, false, e);
}

/* After a write that failed a ping finds out whether that is over: nobody else may write for a long time. */
static void settle_pings(struct store *store, struct op *batch)
{
	for (struct op *op = batch; op != NULL; op = op->next) {
		if (op->class->run != run_ping || op->e != E_OK || !store->write_failed)
			continue;
		op->e = store->backend->try_write(store->db);
		if (op->e == E_OK)
			store->write_failed = false;
	}
}

static void run_batch(struct store *store, struct op *batch)
{
	run_operations(store, batch);
	note_writes(store, batch);
	settle_pings(store, batch);
}

static void *store_thread(void *arg)
{
	struct store *store = arg;
	struct op_list batch;

	list_init(&batch);
	pthread_mutex_lock(&store->lock);
	for (;;) {
		while (store->queued.first == NULL && !store->closing) {
			store->waiting = true;
			pthread_cond_wait(&store->work, &store->lock);
		}
		store->waiting = false;
		if (store->queued.first == NULL)
			break;
		store->queued_len -= list_move_some(&store->queued, &batch, BATCH_MAX);
		store->at_work_since_ms = clock_ms();
		pthread_mutex_unlock(&store->lock);

		FAILPOINT("store.batch");
		run_batch(store, batch.first);

		pthread_mutex_lock(&store->lock);
		store->at_work_since_ms = 0;
		finish_locked(store, &batch);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

int store_fd(const struct store *store)
{
	return store->wake_fd;
}

void store_dispatch(struct store *store)
{
	uint64_t started_ms = clock_ms();
	struct op_list finished;
	bool committed = false;
	uint64_t count;

	list_init(&finished);
	pthread_mutex_lock(&store->lock);
	ssize_t n = read(store->wake_fd, &count, sizeof(count));
	(void)n; /* EAGAIN: called without need */
	list_move_all(&store->finished, &finished);
	pthread_mutex_unlock(&store->lock);

	while (finished.first != NULL && clock_ms() - started_ms <= DISPATCH_MS) {
		struct op *op = list_take(&finished);

		committed = committed || (op->class->writes && op->e == E_OK);
		op->class->deliver(op);
		op_free(store, op);
	}
	if (committed && store->on_commit != NULL)
		store->on_commit(store->on_commit_arg);
	if (finished.first == NULL)
		return;
	pthread_mutex_lock(&store->lock);
	list_move_all(&store->finished, &finished);
	finish_locked(store, &finished);
	pthread_mutex_unlock(&store->lock);
}

void store_on_commit(struct store *store, void (*on_commit)(void *arg), void *arg)
{
	store->on_commit = on_commit;
	store->on_commit_arg = arg;
}

void store_wait(struct store *store, const bool *done)
{
	while (!*done) {
		struct pollfd p = {.fd = store->wake_fd, .events = POLLIN};

		if (poll(&p, 1, -1) > 0)
			store_dispatch(store);
	}
}

unsigned store_queued(const struct store *store)
{
	/* The lock is not part of the store's value. */
	struct store *s = (struct store *)(uintptr_t)store;

	pthread_mutex_lock(&s->lock);
	unsigned len = s->queued_len;
	pthread_mutex_unlock(&s->lock);
	return len;
}

uint64_t store_at_work_ms(const struct store *store)
{
	struct store *s = (struct store *)(uintptr_t)store;

	pthread_mutex_lock(&s->lock);
	uint64_t since = s->at_work_since_ms;
	pthread_mutex_unlock(&s->lock);
	return since == 0 ? 0 : clock_ms() - since;
}

/* ---- opening and closing ---- */

/* The store thread takes no signals: they are the owner's. */
static enum err start_thread(struct store *store)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&store->thread, NULL, store_thread, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		log_error("cannot start the store thread: %s", strerror(rc));
		return E_IO;
	}
	pthread_setname_np(store->thread, "store");
	return E_OK;
}

static void store_free(struct store *store)
{
	if (store->db != NULL)
		store->backend->close(store->db);
	fd_close(&store->wake_fd);
	pthread_cond_destroy(&store->work);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

enum err store_open_backend(const struct store_backend *backend, const struct store_options *options,
			    struct store **ret_store)
{
	const char *location = strchr(options->url, ':');
	struct store *store = calloc(1, sizeof(*store));
	enum err e;

	if (store == NULL)
		return E_NOMEM;
	store->backend = backend;
	store->queue_max = options->queue_max;
	list_init(&store->queued);
	list_init(&store->finished);
	for (unsigned i = 0; i < SPARE_MAX; i++)
		store->spare_free[store->spare_free_len++] = i;
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->work, NULL);
	store->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (store->wake_fd < 0) {
		log_error("cannot make an eventfd for the store: %s", strerror(errno));
		e = E_IO;
		goto out;
	}
	e = backend->open(options, location == NULL ? options->url : location + 1, &store->db);
	if (e != E_OK)
		goto out;
	e = start_thread(store);
	if (e != E_OK)
		goto out;
	*ret_store = store;
	store = NULL;
out:
	if (store != NULL)
		store_free(store);
	return e;
}

enum err store_open(const struct store_options *options, struct store **ret_store)
{
	static const struct store_backend *const backends[] = {&store_sqlite_backend};

	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		size_t len = strlen(backends[i]->scheme);

		if (strncmp(options->url, backends[i]->scheme, len) == 0 && options->url[len] == ':')
			return store_open_backend(backends[i], options, ret_store);
	}
	/* Not the url itself: one of another kind may hold a password. */
	log_error("store url is not understood: it must start with 'sqlite:'");
	return E_CONFIG;
}

void store_close(struct store *store)
{
	bool more = true;

	if (store == NULL)
		return;
	pthread_mutex_lock(&store->lock);
	store->closing = true;
	pthread_cond_signal(&store->work);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->thread, NULL);
	while (more) {
		store_dispatch(store);
		pthread_mutex_lock(&store->lock);
		more = store->finished.first != NULL;
		pthread_mutex_unlock(&store->lock);
	}
	store_free(store);
}

/* ---- what an operation does, and how it is told ---- */

static void deliver_done(struct op *op)
{
	op->fn.done(op->arg, op->e);
}

static void deliver_principal(struct op *op)
{
	struct principal *principal = op->ret_principal;

	op->ret_principal = NULL;
	op->fn.principal(op->arg, op->e, principal);
}

static void deliver_begin(struct op *op)
{
	struct csr_record *record = op->ret_record;

	op->ret_record = NULL;
	if (op->e == E_OK && op->outcome == STORE_BEGIN_NEW) {
		record = op->record;
		op->record = NULL;
	}
	op->fn.begin(op->arg, op->e, op->outcome, record);
}

static void deliver_csr(struct op *op)
{
	struct csr_record *record = op->ret_record;

	op->ret_record = NULL;
	op->fn.csr(op->arg, op->e, record);
}

static void deliver_page(struct op *op)
{
	op->fn.page(op->arg, op->e, &op->ret_page);
}

static void deliver_inventory(struct op *op)
{
	const struct store_inventory *found = &op->ret_inventory;

	switch (op->in.inventory.kind) {
	case STORE_INVENTORY_ACCOUNTS:
		op->fn.accounts(op->arg, op->e, found->of.accounts, found->len);
		break;
	case STORE_INVENTORY_ZONES:
		op->fn.zones(op->arg, op->e, found->of.zones, found->len);
		break;
	case STORE_INVENTORY_PRINCIPALS:
		op->fn.principals(op->arg, op->e, found->of.principals, found->len);
		break;
	case STORE_INVENTORY_AUDIT:
	case STORE_INVENTORY_TRAIL:
		op->fn.audit(op->arg, op->e, found->of.audit, found->len);
		break;
	}
}

static void deliver_mark(struct op *op)
{
	op->fn.mark(op->arg, op->e, &op->ret_mark);
}

static void deliver_set_aside(struct op *op)
{
	op->fn.set_aside(op->arg, op->e, op->e == E_OK ? op->ret_rows : 0);
}

/* A row that cannot exist is looked for: not finding it is an answer of the database. */
static enum err run_ping(struct store *store, struct op *op)
{
	struct csr_record none;

	(void)op;
	enum err e = store->backend->csr_get(store->db, "", &none);
	if (e == E_OK)
		csr_record_release(&none);
	return e == E_NOTFOUND ? E_OK : e;
}

static enum err run_principal_find(struct store *store, struct op *op)
{
	struct principal *found = calloc(1, sizeof(*found));

	if (found == NULL)
		return E_NOMEM;
	enum err e = store->backend->principal_find(store->db, op->in.principal_kind, op->secret_hash, found);
	if (e == E_OK)
		op->ret_principal = found;
	else
		free(found);
	return e;
}

static enum err run_csr_begin(struct store *store, struct op *op)
{
	struct csr_record *replay = calloc(1, sizeof(*replay));
	enum store_begin outcome;

	if (replay == NULL)
		return E_NOMEM;
	enum err e = store->backend->csr_begin(store->db, &op->in.begin, clock_wall_us(), &outcome, replay);
	if (e == E_OK)
		op->outcome = outcome;
	if (e == E_OK && (outcome == STORE_BEGIN_REPLAY || outcome == STORE_BEGIN_IN_FLIGHT))
		op->ret_record = replay;
	else
		free(replay);
	return e;
}

static enum err run_csr_move(struct store *store, struct op *op)
{
	return store->backend->csr_move(store->db, &op->in.move, clock_wall_us());
}

static enum err get_in_scope(struct store *store, struct op *op, struct csr_record **ret_record)
{
	struct csr_record *record = calloc(1, sizeof(*record));

	if (record == NULL)
		return E_NOMEM;
	enum err e = store->backend->csr_get(store->db, op->id, record);
	if (e != E_OK) {
		free(record);
		return e;
	}
	if (op->has_scope && !store_scope_equal(&op->scope, &record->scope)) {
		csr_record_free(record);
		return E_NOTFOUND;
	}
	*ret_record = record;
	return E_OK;
}

static enum err run_csr_get(struct store *store, struct op *op)
{
	return get_in_scope(store, op, &op->ret_record);
}

static enum err run_csr_delete_begin(struct store *store, struct op *op)
{
	int64_t now_us = clock_wall_us();
	struct csr_record *record;

	enum err e = get_in_scope(store, op, &record);
	if (e != E_OK)
		return e;
	if (record->state == CSR_ACTIVE) {
		e = store->backend->csr_move(store->db, &op->in.move, now_us);
		record->state = CSR_DELETING;
		record->updated_us = now_us;
	} else if (record->state != CSR_DELETING) {
		e = E_NOTFOUND;
	}
	if (e == E_OK)
		op->ret_record = record;
	else
		csr_record_free(record);
	return e;
}

static enum err run_csr_list(struct store *store, struct op *op)
{
	return store->backend->csr_list(store->db, &op->in.query, &op->ret_page);
}

static enum err run_change(struct store *store, struct op *op)
{
	return store->backend->change(store->db, &op->in.change, clock_wall_us());
}

static enum err run_inventory(struct store *store, struct op *op)
{
	return store->backend->inventory(store->db, &op->in.inventory, &op->ret_inventory);
}

static enum err run_mark(struct store *store, struct op *op)
{
	return store->backend->mark(store->db, op->id, &op->ret_mark);
}

static enum err run_set_aside(struct store *store, struct op *op)
{
	return store->backend->set_aside(store->db, &op->in.set_aside, clock_wall_us(), &op->ret_rows);
}

static const struct op_class class_ping = {false, run_ping, deliver_done};
static const struct op_class class_principal_find = {false, run_principal_find, deliver_principal};
static const struct op_class class_csr_begin = {true, run_csr_begin, deliver_begin};
static const struct op_class class_csr_move = {true, run_csr_move, deliver_done};
static const struct op_class class_csr_delete_begin = {true, run_csr_delete_begin, deliver_csr};
static const struct op_class class_csr_get = {false, run_csr_get, deliver_csr};
static const struct op_class class_csr_list = {false, run_csr_list, deliver_page};
static const struct op_class class_change = {true, run_change, deliver_done};
static const struct op_class class_inventory = {false, run_inventory, deliver_inventory};
static const struct op_class class_mark = {false, run_mark, deliver_mark};
static const struct op_class class_set_aside = {true, run_set_aside, deliver_set_aside};

/* ---- the calls of store.h ---- */

void store_ping(struct store *store, store_done_fn done, void *arg)
{
	struct op *op = op_new(store, &class_ping, arg);

	op->fn.done = done;
	submit(store, op);
}

void store_principal_find(struct store *store, enum principal_kind kind,
			  const uint8_t secret_hash[STORE_HASH_BYTES], store_principal_fn done, void *arg)
{
	struct op *op = op_new(store, &class_principal_find, arg);

	op->fn.principal = done;
	op->in.principal_kind = kind;
	memcpy(op->secret_hash, secret_hash, STORE_HASH_BYTES);
	submit(store, op);
}

void store_csr_begin(struct store *store, const struct store_csr_begin *in, store_csr_begin_fn done,
		     void *arg)
{
	struct op *op = op_new(store, &class_csr_begin, arg);

	op->fn.begin = done;
	op->record = in->record;
	op->in.begin = *in;
	op->in.begin.idempotency_key = op_keep(op, in->idempotency_key);
	op->in.begin.origin = op_keep_origin(op, &in->origin);
	submit(store, op);
}

void store_csr_move(struct store *store, const struct store_csr_move *in, store_done_fn done, void *arg)
{
	struct op *op = op_new(store, &class_csr_move, arg);

	op->fn.done = done;
	op->in.move = *in;
	op->in.move.id = op_keep(op, in->id);
	op->in.move.origin = op_keep_origin(op, &in->origin);
	if (in->result != NULL) {
		op->result = *in->result;
		op->result.pem = op_keep(op, in->result->pem);
		op->in.move.result = &op->result;
	}
	if (op->e == E_OK &&
	    (!csr_state_may_move(in->from, in->to) || (in->to == CSR_ACTIVE) != (in->result != NULL)))
		op->e = E_INVAL;
	submit(store, op);
}

void store_csr_delete_begin(struct store *store, const struct store_scope *scope, const char *id,
			    const struct audit_origin *origin, store_csr_fn done, void *arg)
{
	struct op *op = op_new(store, &class_csr_delete_begin, arg);

	op->fn.csr = done;
	op_keep_scope(op, scope);
	op->id = op_keep(op, id);
	op->in.move.id = op->id;
	op->in.move.from = CSR_ACTIVE;
	op->in.move.to = CSR_DELETING;
	op->in.move.origin = op_keep_origin(op, origin);
	submit(store, op);
}

void store_csr_get(struct store *store, const struct store_scope *scope, const char *id, store_csr_fn done,
		   void *arg)
{
	struct op *op = op_new(store, &class_csr_get, arg);

	op->fn.csr = done;
	op_keep_scope(op, scope);
	op->id = op_keep(op, id);
	submit(store, op);
}

/* E_INVAL: a filter that a list cannot have, or a key of no known length. */
static void op_keep_filter(struct op *op, const struct store_csr_query *query)
{
	const struct store_csr_filter *filter = query->filter;

	if (filter == NULL)
		return;
	op->filter = *filter;
	op->filter.id_prefix = op_keep(op, filter->id_prefix);
	op->filter.token_name = op_keep(op, filter->token_name);
	op->filter.principal_id = op_keep(op, filter->principal_id);
	op->filter.name = op_keep(op, filter->name);
	op->filter.san = op_keep(op, filter->san);
	op->filter.word = op_keep(op, filter->word);
	op->in.query.filter = &op->filter;
	if (query->after_id != NULL || query->updated_before_us != 0 ||
	    query->order != STORE_ORDER_CREATED_AT ||
	    (filter->key != NULL && filter->key_len != KEY_ID_BYTES &&
	     filter->key_len != KEY_SPKI_HASH_BYTES)) {
		op->e = E_INVAL;
		return;
	}
	if (filter->key != NULL) {
		memcpy(op->filter_key, filter->key, filter->key_len);
		op->filter.key = op->filter_key;
	}
}

void store_csr_list(struct store *store, const struct store_csr_query *query, store_csr_page_fn done,
		    void *arg)
{
	struct op *op = op_new(store, &class_csr_list, arg);

	op->fn.page = done;
	op_keep_scope(op, query->scope);
	op->in.query = *query;
	op->in.query.scope = op->has_scope ? &op->scope : NULL;
	op->in.query.after_id = op_keep(op, query->after_id);
	op->in.query.reader = op_keep(op, query->reader);
	op_keep_filter(op, query);
	if (op->e == E_OK &&
	    (query->limit < 1 || query->limit > LIST_LIMIT_MAX || query->offset > INT64_MAX ||
	     (query->after_id == NULL &&
	      (query->order < STORE_ORDER_CREATED_AT || query->order > STORE_ORDER_ACCOUNT_TAG))))
		op->e = E_INVAL;
	submit(store, op);
}

static struct op *change_new(struct store *store, enum store_change_kind kind,
			     const struct audit_origin *origin, store_done_fn done, void *arg)
{
	struct op *op = op_new(store, &class_change, arg);

	op->fn.done = done;
	op->in.change.kind = kind;
	op->in.change.origin = op_keep_origin(op, origin);
	return op;
}

void store_account_add(struct store *store, const struct account_record *account,
		       const struct audit_origin *origin, store_done_fn done, void *arg)
{
	struct op *op = change_new(store, STORE_CHANGE_ACCOUNT_ADD, origin, done, arg);

	op->account = *account;
	if (!str_dup_opt(account->name, &op->account.name)) {
		op->account.name = NULL;
		op->e = E_NOMEM;
	}
	op->in.change.account = &op->account;
	submit(store, op);
}

void store_zone_add(struct store *store, const struct zone_record *zone, const struct audit_origin *origin,
		    store_done_fn done, void *arg)
{
	struct op *op = change_new(store, STORE_CHANGE_ZONE_ADD, origin, done, arg);

	op->zone = *zone;
	if (!str_dup_opt(zone->name, &op->zone.name)) {
		op->zone.name = NULL;
		op->e = E_NOMEM;
	}
	op->in.change.zone = &op->zone;
	submit(store, op);
}

void store_principal_add(struct store *store, const struct principal *principal,
			 const struct audit_origin *origin, store_done_fn done, void *arg)
{
	struct op *op = change_new(store, STORE_CHANGE_PRINCIPAL_ADD, origin, done, arg);

	if (principal_copy(principal, &op->principal) != E_OK)
		op->e = E_NOMEM;
	op->in.change.principal = &op->principal;
	op->in.change.principal_kind = principal->kind;
	submit(store, op);
}

void store_principal_revoke(struct store *store, enum principal_kind kind, const char *id,
			    const struct audit_origin *origin, store_done_fn done, void *arg)
{
	struct op *op = change_new(store, STORE_CHANGE_PRINCIPAL_REVOKE, origin, done, arg);

	op->in.change.principal_kind = kind;
	op->in.change.principal_id = op_keep(op, id);
	submit(store, op);
}

void store_scope_set(struct store *store, const struct store_scope_change *in,
		     const struct audit_origin *origin, store_done_fn done, void *arg)
{
	struct op *op = change_new(store, STORE_CHANGE_SCOPE_SET, origin, done, arg);

	op->in.change.scope_change = *in;
	op->in.change.scope_change.name = op_keep(op, in->name);
	submit(store, op);
}

void store_csr_leftover(struct store *store, const char *id, bool gone, const struct audit_origin *origin,
			store_done_fn done, void *arg)
{
	struct op *op = change_new(store, gone ? STORE_CHANGE_CSR_LEFTOVER_GONE : STORE_CHANGE_CSR_LEFTOVER,
				   origin, done, arg);

	op->in.change.csr_id = op_keep(op, id);
	submit(store, op);
}

void store_note_backup(struct store *store, const struct audit_origin *origin, store_done_fn done, void *arg)
{
	submit(store, change_new(store, STORE_CHANGE_BACKUP, origin, done, arg));
}

void store_mark_get(struct store *store, const char *token_name, store_mark_fn done, void *arg)
{
	struct op *op = op_new(store, &class_mark, arg);

	op->fn.mark = done;
	op->id = op_keep(op, token_name);
	submit(store, op);
}

void store_set_aside(struct store *store, const struct store_set_aside *in, store_set_aside_fn done,
		     void *arg)
{
	struct op *op = op_new(store, &class_set_aside, arg);

	op->fn.set_aside = done;
	op->in.set_aside = *in;
	op->in.set_aside.token_name = op_keep(op, in->token_name);
	op->in.set_aside.origin = op_keep_origin(op, &in->origin);
	submit(store, op);
}

static struct op *inventory_new(struct store *store, enum store_inventory_kind kind, void *arg)
{
	struct op *op = op_new(store, &class_inventory, arg);

	op->in.inventory.kind = kind;
	return op;
}

void store_account_list(struct store *store, store_accounts_fn done, void *arg)
{
	struct op *op = inventory_new(store, STORE_INVENTORY_ACCOUNTS, arg);

	op->fn.accounts = done;
	submit(store, op);
}

void store_zone_list(struct store *store, store_zones_fn done, void *arg)
{
	struct op *op = inventory_new(store, STORE_INVENTORY_ZONES, arg);

	op->fn.zones = done;
	submit(store, op);
}

void store_principal_list(struct store *store, enum principal_kind kind, store_principals_fn done, void *arg)
{
	struct op *op = inventory_new(store, STORE_INVENTORY_PRINCIPALS, arg);

	op->fn.principals = done;
	op->in.inventory.principal_kind = kind;
	submit(store, op);
}

void store_audit_list(struct store *store, const char *csr_id, store_audit_fn done, void *arg)
{
	struct op *op = inventory_new(store, STORE_INVENTORY_AUDIT, arg);

	op->fn.audit = done;
	op->in.inventory.object = op_keep(op, csr_id);
	submit(store, op);
}

void store_audit_search(struct store *store, const struct store_audit_query *query, store_audit_fn done,
			void *arg)
{
	struct op *op = inventory_new(store, STORE_INVENTORY_TRAIL, arg);

	op->fn.audit = done;
	op->in.inventory.trail = *query;
	op->in.inventory.trail.actor = op_keep(op, query->actor);
	op->in.inventory.trail.object = op_keep(op, query->object);
	op->in.inventory.trail.action = op_keep(op, query->action);
	if (op->e == E_OK && (query->limit < 1 || query->limit > LIST_LIMIT_MAX))
		op->e = E_INVAL;
	submit(store, op);
}

/* ---- words ---- */

const char *store_ping_text(enum err e)
{
	switch (e) {
	case E_BUSY:
		return "busy";
	case E_TIMEOUT:
	case E_UNCERTAIN:
		return "does not answer in time";
	case E_UNAVAIL:
		return "cannot be reached";
	case E_LIMIT:
		return "cannot be written: the disk is full";
	case E_DENIED:
		return "cannot be written: permission denied";
	case E_IO:
		return "cannot be written: input/output error";
	default:
		return "failing";
	}
}

/* ---- shared by the backends ---- */

const char *store_audit_action_of_state(enum csr_state state)
{
	switch (state) {
	case CSR_PENDING:
		return "csr.pending";
	case CSR_ACTIVE:
		return "csr.active";
	case CSR_DELETING:
		return "csr.deleting";
	case CSR_DESTROYED:
		return "csr.destroyed";
	case CSR_FAILED:
		return "csr.failed";
	}
	return "csr.?";
}

const char *store_audit_action_of_change(const struct store_change *in)
{
	bool user = in->principal_kind == PRINCIPAL_USER;

	switch (in->kind) {
	case STORE_CHANGE_ACCOUNT_ADD:
		return "account.add";
	case STORE_CHANGE_ZONE_ADD:
		return "zone.add";
	case STORE_CHANGE_PRINCIPAL_ADD:
		return user ? "user.create" : "token.create";
	case STORE_CHANGE_PRINCIPAL_REVOKE:
		return user ? "user.revoke" : "token.revoke";
	case STORE_CHANGE_SCOPE_SET:
		return in->scope_change.scope.kind == STORE_ZONE ? "zone.set" : "account.set";
	case STORE_CHANGE_CSR_LEFTOVER:
		return "csr.leftover";
	case STORE_CHANGE_CSR_LEFTOVER_GONE:
		return "csr.leftover-destroyed";
	case STORE_CHANGE_BACKUP:
		return "store.backup";
	case STORE_CHANGE_RESTORE:
		return "store.restore";
	}
	return "?";
}

static size_t inventory_item_size(enum store_inventory_kind kind)
{
	switch (kind) {
	case STORE_INVENTORY_ACCOUNTS:
		return sizeof(struct account_record);
	case STORE_INVENTORY_ZONES:
		return sizeof(struct zone_record);
	case STORE_INVENTORY_PRINCIPALS:
		return sizeof(struct principal);
	case STORE_INVENTORY_AUDIT:
	case STORE_INVENTORY_TRAIL:
		return sizeof(struct audit_record);
	}
	return 0;
}

void *store_inventory_append(struct store_inventory *inventory)
{
	size_t size = inventory_item_size(inventory->kind);
	size_t len = inventory->len;

	/* Room doubles whenever len is a power of two. */
	if ((len & (len - 1)) == 0) {
		void *grown = reallocarray(inventory->of.any, len == 0 ? 1 : 2 * len, size);
		if (grown == NULL)
			return NULL;
		inventory->of.any = grown;
	}
	void *item = (char *)inventory->of.any + len * size;
	memset(item, 0, size);
	inventory->len++;
	return item;
}

void store_inventory_release(struct store_inventory *inventory)
{
	for (size_t i = 0; i < inventory->len; i++) {
		switch (inventory->kind) {
		case STORE_INVENTORY_ACCOUNTS:
			account_record_release(&inventory->of.accounts[i]);
			break;
		case STORE_INVENTORY_ZONES:
			zone_record_release(&inventory->of.zones[i]);
			break;
		case STORE_INVENTORY_PRINCIPALS:
			principal_release(&inventory->of.principals[i]);
			break;
		case STORE_INVENTORY_AUDIT:
		case STORE_INVENTORY_TRAIL:
			audit_record_release(&inventory->of.audit[i]);
			break;
		}
	}
	free(inventory->of.any);
	memset(inventory, 0, sizeof(*inventory));
}

void store_csr_page_release(struct store_csr_page *page)
{
	for (size_t i = 0; i < page->records_len; i++)
		csr_record_release(&page->records[i]);
	free(page->records);
	memset(page, 0, sizeof(*page));
}
