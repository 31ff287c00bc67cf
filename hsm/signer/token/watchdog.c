/* SPDX-License-Identifier: Apache-2.0 */
/* Watches how long each thread is inside the PKCS#11 module. */
#include "hsm/signer/token/watchdog.h"

#include "base/clock.h"
#include "base/csr.h"
#include "base/key_label.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 192   /* workers and the few others; one more would go unwatched */
#define LOOK_EVERY_MIN 20 /* ms */
#define LOOK_EVERY_MAX 1000
#define GRACE_MS 10000      /* past a limit, in which the process ought to have been ended */
#define STOOD_STILL_MS 1000 /* woken later than this: the process did not run */

/* One thread, at most inside one call. */
struct watched {
	pthread_mutex_t lock;
	const char *function; /* NULL: not inside */
	enum watchdog_kind kind;
	uint64_t calls;          /* that this one stands for */
	uint64_t since_ms;       /* when it last went in or came back */
	uint64_t lost_before_ms; /* watchdog.lost_ms at that time */
	uint64_t excused_ms;     /* of the time since then: behind another call */
	bool waiting;            /* watchdog_wait */
	char csr_id[CSR_ID_SIZE];
	char key[KEY_LABEL_SIZE];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool started;
	uint64_t started_ms;
	struct watchdog_limits limits;
	unsigned watched_len;
	atomic_uint_fast64_t lost_ms; /* for which the process stood still */
	atomic_uint_fast64_t moves;   /* into the module and back, of all threads */
	uint64_t end_by_ms;           /* 0: not ending */
	enum exit_code end_code;
	struct watched watched[THREADS_MAX];
} watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct watched *mine;

static const struct {
	const char *what;
	const char *key;
} kinds[WATCHDOG_KINDS] = {
    [WATCHDOG_OTHER] = {"call", "timeout_other"},
    [WATCHDOG_SIGN] = {"signature", "timeout_sign"},
    [WATCHDOG_GENERATE] = {"key generation", "timeout_generate"},
    [WATCHDOG_GENERATE_LARGE] = {"generation of a large key", "timeout_generate_large"},
};

static uint64_t limit_of(const struct watched *w)
{
	uint64_t ms = watchdog.limits.ms[w->kind];

	return w->calls > 1 ? ms * w->calls : ms;
}

/* ---- the end ---- */

static void end_at_once(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_CODE_TOKEN_FAILED);
}

/* What hangs in the module may hold up the log, too, as by a lock of malloc: it gets two seconds. */
static void limit_logging(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	signal(SIGALRM, end_at_once);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	alarm(2);
}

static void NORETURN end_hung(const struct watched *w, uint64_t age_ms)
{
	const struct log_context context = {.csr_id = w->csr_id[0] ? w->csr_id : NULL};
	uint64_t limit_ms = limit_of(w);

	limit_logging();
	log_write(
	    LOG_LEVEL_ERROR, &context,
	    "the token hangs: %s (%s%s%s%s) has not come back for %llu.%03llu s, %s%s is %llu.%03llu s; "
	    "ending with exit code %d, to be started again",
	    w->function, kinds[w->kind].what, w->key[0] ? " for key '" : "", w->key, w->key[0] ? "'" : "",
	    (unsigned long long)age_ms / 1000, (unsigned long long)age_ms % 1000, kinds[w->kind].key,
	    w->calls > 1 ? " of all its calls" : "", (unsigned long long)limit_ms / 1000,
	    (unsigned long long)limit_ms % 1000, EXIT_CODE_TOKEN_FAILED);
	log_flush(LOG_FLUSH_MS);
	_exit(EXIT_CODE_TOKEN_FAILED);
}

static void NORETURN end_late(enum exit_code code)
{
	limit_logging();
	log_warn("the pkcs#11 module could not be closed in time; ending without it");
	log_flush(LOG_FLUSH_MS);
	_exit(code);
}

/* ---- the thread ---- */

/* Since its last move, without the time for which the process did not run, or it was behind another call. */
static uint64_t age_locked(const struct watched *w, uint64_t now, uint64_t lost_ms)
{
	uint64_t age_ms = now > w->since_ms ? now - w->since_ms : 0;
	uint64_t off_ms = lost_ms - w->lost_before_ms + w->excused_ms;

	return off_ms < age_ms ? age_ms - off_ms : 0;
}

/* One call as it was at one look. */
struct seen {
	bool inside;
	uint64_t since_ms;
	uint64_t limit_ms;
	uint64_t age_ms;
	uint64_t excused_ms;
};

static struct seen see(struct watched *w, uint64_t now, uint64_t lost_ms)
{
	struct seen s;

	pthread_mutex_lock(&w->lock);
	s.inside = w->function != NULL;
	s.since_ms = w->since_ms;
	s.limit_ms = limit_of(w);
	s.age_ms = age_locked(w, now, lost_ms);
	s.excused_ms = w->excused_ms;
	pthread_mutex_unlock(&w->lock);
	return s;
}

static bool began_before(const struct seen *all, unsigned k, unsigned i)
{
	return all[k].since_ms < all[i].since_ms || (all[k].since_ms == all[i].since_ms && k < i);
}

/* The i-th may have to wait for one that is within its limit. */
static bool is_behind(const struct seen *all, unsigned len, unsigned i)
{
	for (unsigned k = 0; k < len; k++) {
		if (k == i || !all[k].inside || all[k].age_ms > all[k].limit_ms)
			continue;
		if (began_before(all, k, i)
			? all[k].limit_ms >= all[i].limit_ms
			: all[k].limit_ms > all[i].limit_ms && all[i].excused_ms < all[k].limit_ms)
			return true;
	}
	return false;
}

static void excuse(struct watched *w, const struct seen *seen, uint64_t elapsed_ms)
{
	pthread_mutex_lock(&w->lock);
	if (w->function && w->since_ms == seen->since_ms)
		w->excused_ms += seen->age_ms < elapsed_ms ? seen->age_ms : elapsed_ms;
	pthread_mutex_unlock(&w->lock);
}

static void end_if_hung(struct watched *w, const struct seen *seen, uint64_t now, uint64_t lost_ms)
{
	uint64_t age_ms;

	pthread_mutex_lock(&w->lock);
	age_ms = age_locked(w, now, lost_ms);
	if (w->function && w->since_ms == seen->since_ms && age_ms > limit_of(w))
		end_hung(w, age_ms);
	pthread_mutex_unlock(&w->lock);
}

/* elapsed_ms: since the last look. */
static void watchdog_look_at_all(uint64_t now, uint64_t elapsed_ms)
{
	const uint64_t lost_ms = atomic_load(&watchdog.lost_ms);
	const unsigned len = watchdog.watched_len;
	struct seen all[THREADS_MAX];

	for (unsigned i = 0; i < len; i++)
		all[i] = see(&watchdog.watched[i], now, lost_ms);
	for (unsigned i = 0; i < len; i++) {
		if (!all[i].inside)
			continue;
		if (is_behind(all, len, i))
			excuse(&watchdog.watched[i], &all[i], elapsed_ms);
		else
			end_if_hung(&watchdog.watched[i], &all[i], now, lost_ms);
	}
}

static uint64_t look_every(void)
{
	uint64_t ms = LOOK_EVERY_MAX;

	for (int i = 0; i < WATCHDOG_KINDS; i++)
		if (watchdog.limits.ms[i] / 10 < ms)
			ms = watchdog.limits.ms[i] / 10;
	return ms < LOOK_EVERY_MIN ? LOOK_EVERY_MIN : ms;
}

/* From one look at the clock to the next, the first being the start's, no time goes by unseen. */
static void *watchdog_loop(void *arg)
{
	const uint64_t every_ms = look_every();
	uint64_t now;

	(void)arg;
	pthread_mutex_lock(&watchdog.lock);
	now = watchdog.started_ms;
	for (;;) {
		const uint64_t before = now;
		uint64_t until = now + every_ms;

		if (watchdog.end_by_ms && watchdog.end_by_ms < until)
			until = watchdog.end_by_ms;
		(void)thread_cond_wait_until(&watchdog.wake, &watchdog.lock, until);
		now = clock_ms();
		if (now > until + STOOD_STILL_MS)
			atomic_fetch_add(&watchdog.lost_ms, now - until);
		if (watchdog.end_by_ms && now >= watchdog.end_by_ms)
			end_late(watchdog.end_code);
		if (watchdog.end_by_ms)
			continue;
		watchdog_look_at_all(now, now - before);
	}
	return NULL;
}

enum err watchdog_start(const struct watchdog_limits *limits)
{
	enum err e;

	pthread_mutex_lock(&watchdog.lock);
	watchdog.limits = *limits;
	watchdog.started_ms = clock_ms();
	thread_cond_init(&watchdog.wake);
	e = thread_start("watchdog", watchdog_loop, NULL, NULL);
	watchdog.started = e == E_OK;
	pthread_mutex_unlock(&watchdog.lock);
	if (e != E_OK)
		log_error("cannot start the watchdog: %s", strerror(errno));
	return e;
}

/* ---- for the threads that are watched ---- */

/* Threads that call the module live as long as the process, so a place is never given back. */
static struct watched *my_place(void)
{
	if (mine)
		return mine;
	pthread_mutex_lock(&watchdog.lock);
	if (watchdog.watched_len < THREADS_MAX) {
		mine = &watchdog.watched[watchdog.watched_len];
		pthread_mutex_init(&mine->lock, NULL);
		watchdog.watched_len++;
	}
	pthread_mutex_unlock(&watchdog.lock);
	return mine;
}

static void move_locked(struct watched *w, const char *function)
{
	w->function = function;
	w->since_ms = clock_ms();
	w->lost_before_ms = atomic_load(&watchdog.lost_ms);
	w->excused_ms = 0;
	atomic_fetch_add_explicit(&watchdog.moves, 1, memory_order_relaxed);
}

void watchdog_enter_many(enum watchdog_kind kind, const char *function, uint64_t calls)
{
	struct watched *w = my_place();

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	move_locked(w, function);
	w->kind = kind;
	w->calls = calls;
	pthread_mutex_unlock(&w->lock);
}

void watchdog_enter(enum watchdog_kind kind, const char *function)
{
	watchdog_enter_many(kind, function, 1);
}

void watchdog_leave(void)
{
	struct watched *w = my_place();

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	move_locked(w, NULL);
	pthread_mutex_unlock(&w->lock);
}

static void set_subject(const char *csr_id, const char *key)
{
	struct watched *w = my_place();

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	snprintf(w->csr_id, sizeof(w->csr_id), "%s", csr_id);
	snprintf(w->key, sizeof(w->key), "%s", key);
	move_locked(w, NULL);
	pthread_mutex_unlock(&w->lock);
}

void watchdog_set_csr(const char *csr_id)
{
	set_subject(csr_id, "");
}

void watchdog_set_key(const char *label)
{
	set_subject("", label);
}

void watchdog_wait(bool waiting)
{
	struct watched *w = my_place();

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->waiting = waiting;
	move_locked(w, NULL);
	pthread_mutex_unlock(&w->lock);
}

/* ---- for who watches the watchdog ---- */

static bool is_well(struct watched *w, uint64_t now, uint64_t lost_ms, bool *inside)
{
	uint64_t age_ms;
	bool well = true;

	pthread_mutex_lock(&w->lock);
	age_ms = age_locked(w, now, lost_ms);
	if (w->function) {
		*inside = true;
		well = age_ms <= limit_of(w) + GRACE_MS;
	} else if ((w->csr_id[0] || w->key[0]) && !w->waiting) {
		well = age_ms <= WATCHDOG_STILL_MS;
	}
	pthread_mutex_unlock(&w->lock);
	return well;
}

static bool all_are_well(bool *inside)
{
	uint64_t now = clock_ms(), lost_ms = atomic_load(&watchdog.lost_ms);
	bool well = true;

	pthread_mutex_lock(&watchdog.lock);
	for (unsigned i = 0; i < watchdog.watched_len; i++)
		well &= is_well(&watchdog.watched[i], now, lost_ms, inside);
	pthread_mutex_unlock(&watchdog.lock);
	return well;
}

bool watchdog_is_well(void)
{
	bool inside = false;

	return all_are_well(&inside);
}

bool watchdog_sees_progress(uint64_t *moves)
{
	uint64_t moves_before = *moves;
	bool inside = false, well = all_are_well(&inside);

	*moves = atomic_load(&watchdog.moves);
	return well && (inside || *moves != moves_before);
}

void watchdog_end_within(uint64_t within_ms, enum exit_code code)
{
	pthread_mutex_lock(&watchdog.lock);
	watchdog.end_by_ms = clock_ms() + within_ms;
	watchdog.end_code = code;
	if (watchdog.started)
		pthread_cond_signal(&watchdog.wake);
	pthread_mutex_unlock(&watchdog.lock);
}
