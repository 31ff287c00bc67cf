/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits at the gate for another thread: not taken for stuck meanwhile, and nobody else waits with it. */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/token/gate.h"

#include "base/clock.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CSR_ID "0b54b6a4-3c1f-4b5e-9f0e-1a2b3c4d5e6f"
#define BOUND_S 30

/* The linker puts this in the place of clock_ms (tests.mk), so that time can pass at once. */
static atomic_uint_fast64_t ahead_ms;
uint64_t __real_clock_ms(void);
uint64_t __wrap_clock_ms(void);
uint64_t __wrap_clock_ms(void)
{
	return __real_clock_ms() + ahead_ms;
}

/* ---- what lies below ---- */

enum err login_ensure(struct login *login, CK_SESSION_HANDLE session, CK_RV *ret_rv)
{
	(void)login;
	(void)session;
	*ret_rv = CKR_OK;
	return E_OK;
}

uint64_t login_attempts(const struct login *login)
{
	(void)login;
	return 0;
}

enum err module_restart(struct module *module, struct token *token, char reason[256])
{
	(void)module;
	(void)token;
	(void)reason;
	return E_OK;
}

/* A session takes its time to open. */
static pthread_mutex_t opens = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool is_opening;
static CK_SESSION_HANDLE handles; /* under the gate's lock */

static CK_RV open_slowly(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
			 CK_SESSION_HANDLE *session)
{
	(void)slot;
	(void)flags;
	(void)application;
	(void)notify;
	is_opening = true;
	pthread_mutex_lock(&opens);
	pthread_mutex_unlock(&opens);
	*session = ++handles;
	return CKR_OK;
}

static CK_RV close_at_once(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_OK;
}

static CK_FUNCTION_LIST p11 = {.C_OpenSession = open_slowly, .C_CloseSession = close_at_once};
static struct token token = {.p11 = &p11};

/* ---- the threads ---- */

struct thread {
	struct gate *gate;
	struct session session;
	atomic_bool begun;
	atomic_bool is_over;
	enum err e;
};

static void thread_init(struct thread *t, struct gate *gate)
{
	memset(t, 0, sizeof(*t));
	t->gate = gate;
	t->session.token = &token;
	t->session.handle = CK_INVALID_HANDLE;
}

static void rest(void)
{
	nanosleep(&(struct timespec){0, 1000000}, NULL);
}

/* Again and again, until the test has seen it wait for somebody else. */
static void *works_and_wants_to_be_alone(void *arg)
{
	struct thread *t = arg;

	watchdog_set_csr(CSR_ID);
	while (!t->is_over) {
		if (gate_begin_alone(t->gate, &t->session))
			gate_end_alone(t->gate);
		rest(); /* the other one's turn */
	}
	gate_leave(t->gate, &t->session);
	watchdog_set_csr("");
	return NULL;
}

static void *opens_a_session(void *arg)
{
	struct thread *t = arg;

	t->e = gate_open_session(t->gate, &t->session, false);
	return NULL;
}

static void *works_and_opens_a_session(void *arg)
{
	struct thread *t = arg;

	watchdog_set_csr(CSR_ID);
	t->begun = true;
	t->e = gate_open_session(t->gate, &t->session, false);
	watchdog_set_csr("");
	return NULL;
}

static void *works_and_closes_its_session(void *arg)
{
	struct thread *t = arg;

	watchdog_set_csr(CSR_ID);
	t->begun = true;
	gate_close_session(t->gate, &t->session);
	watchdog_set_csr("");
	return NULL;
}

/* ---- the tests ---- */

/* What is done alone may take as long as a probe or a restart of the module. */
static void who_waits_to_be_alone_is_not_stuck_F290(void **state)
{
	char reason[TOKEN_REASON_SIZE];
	struct gate *gate;
	struct thread t;
	pthread_t thread;

	(void)state;
	assert_int_equal(gate_new(NULL, &token, NULL, &gate), E_OK);
	gate_set_state(gate, TOKEN_UP, "");
	thread_init(&t, gate);
	assert_int_equal(gate_enter(gate, &t.session, true, reason), E_OK);
	assert_int_equal(pthread_create(&thread, NULL, works_and_wants_to_be_alone, &t), 0);
	assert_true(gate_take(gate, BOUND_S * 1000)); /* it is out, and waits */
	ahead_ms += 2 * WATCHDOG_STILL_MS;
	assert_true(watchdog_is_well());
	t.is_over = true;
	gate_end_alone(gate);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(watchdog_is_well());
	gate_free(gate);
}

/* The server, which feeds the service manager, asks whether there are sessions, under a lock of its own. */
static void who_asks_for_sessions_does_not_wait_for_the_module_F291(void **state)
{
	struct thread opener, second, closer;
	pthread_t opening, waiting, closing;
	struct gate *gate;

	(void)state;
	assert_int_equal(gate_new(NULL, &token, NULL, &gate), E_OK);
	assert_false(gate_has_sessions(gate));
	thread_init(&opener, gate);
	thread_init(&second, gate);
	thread_init(&closer, gate);
	pthread_mutex_lock(&opens);
	assert_int_equal(pthread_create(&opening, NULL, opens_a_session, &opener), 0);
	while (!is_opening)
		rest();
	assert_true(gate_has_sessions(gate)); /* in a moment */

	/* Threads that open or close their own have to wait, and are not stuck for that. */
	assert_int_equal(pthread_create(&waiting, NULL, works_and_opens_a_session, &second), 0);
	assert_int_equal(pthread_create(&closing, NULL, works_and_closes_its_session, &closer), 0);
	while (!closer.begun || !second.begun)
		rest();
	ahead_ms += 2 * WATCHDOG_STILL_MS;
	while (!watchdog_is_well())
		rest();
	pthread_mutex_unlock(&opens);
	assert_int_equal(pthread_join(opening, NULL), 0);
	assert_int_equal(pthread_join(waiting, NULL), 0);
	assert_int_equal(pthread_join(closing, NULL), 0);
	assert_int_equal(opener.e, E_OK);
	assert_int_equal(second.e, E_OK);
	assert_true(gate_has_sessions(gate));
	gate_close_session(gate, &opener.session);
	gate_close_session(gate, &second.session);
	assert_false(gate_has_sessions(gate));
	gate_free(gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_waits_to_be_alone_is_not_stuck_F290),
	    cmocka_unit_test(who_asks_for_sessions_does_not_wait_for_the_module_F291),
	};

	alarm(BOUND_S); /* what waits for ever fails */
	return cmocka_run_group_tests_name("the gate of the module", tests, NULL, NULL);
}
