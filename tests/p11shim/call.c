/* SPDX-License-Identifier: Apache-2.0 */
/* The course of a call: count it, match the rules, do what they say before and after the module's part. */
#include "tests/p11shim/call.h"
#include "tests/p11shim/fake.h"
#include "tests/p11shim/module.h"
#include "tests/p11shim/rules.h"
#include "tests/p11shim/session.h"
#include "tests/p11shim/state.h"
#include "tests/p11shim/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"

void call_set_up(void)
{
	const char *module = getenv("P11SHIM_MODULE");

	trace_open(getenv("P11SHIM_TRACE"));
	state_open(getenv("P11SHIM_STATE"));
	rules_open(getenv("P11SHIM_RULES"));
	module_load(module ? module : DEFAULT_MODULE);
}

static void sleep_ms(uint64_t ms)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)(ms / 1000);
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		continue;
}

static _Noreturn void hang(const struct call *c)
{
	trace_call(c, "hang");
	for (;;)
		pause();
}

static _Noreturn void segv(const struct call *c)
{
	volatile int *volatile nowhere = NULL;

	trace_call(c, "segv");
	*nowhere = 1;
	abort(); /* somebody ignores the signal */
}

static _Noreturn void die(const struct call *c, const struct rule *r)
{
	switch (r->action) {
	case RULE_HANG:
		hang(c);
	case RULE_SEGV:
		segv(c);
	case RULE_EXIT:
		trace_call(c, "exit");
		exit(r->exit_code);
	case RULE_KILL:
		trace_call(c, "kill");
		kill(getpid(), SIGKILL);
		break;
	default:
		trace_call(c, "abort");
		break;
	}
	abort();
}

/* For all sessions, and behind the caller's back: it may have been somebody else. */
static void logout(const struct call *c)
{
	CK_SESSION_HANDLE session = c->session ? c->session : session_any();

	if (session != CK_INVALID_HANDLE)
		module_functions()->C_Logout(session);
}

/* True when the call has its answer by this rule, which is in c->rv. */
static bool act(struct call *c, const struct rule *r)
{
	switch (r->action) {
	case RULE_RETURN:
		c->rv = r->rv;
		return true;
	case RULE_SLEEP:
		trace_call(c, "sleep");
		sleep_ms(r->sleep_ms);
		return false;
	case RULE_INVALIDATE:
		session_invalidate_all();
		return false;
	case RULE_LOGOUT:
		logout(c);
		return false;
	case RULE_HANG:
	case RULE_ABORT:
	case RULE_SEGV:
	case RULE_KILL:
	case RULE_EXIT:
		die(c, r);
	case RULE_CORRUPT:
	case RULE_ATTRIBUTE:
	case RULE_FLAGS:
	case RULE_SERIAL:
	case RULE_LABEL:
	case RULE_NUL_PADDED:
		return false; /* the fake does these */
	}
	return false;
}

/* In the order of the file, up to the first that gives an answer. */
static bool act_all(struct call *c, bool after)
{
	for (size_t i = 0; i < c->rules->count; i++) {
		const struct rule *r = &c->rules->rule[i];

		if (c->fired >> i & 1 && r->after == after && act(c, r))
			return true;
	}
	return false;
}

/* The way to the token, which a call that the module answers by itself does not go. */
static void travel(const struct call *c)
{
	if (c->session && c->function != FN_C_GetSessionInfo && c->rules->answer_after_ms)
		sleep_ms(c->rules->answer_after_ms);
}

/* Once one's own, then whoever's. */
static void close_again(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(fd);
}

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

bool call_enter(struct call *c)
{
	c->started_us = trace_now_us();
	c->pin_lock = -1;
	c->rules = rules_acquire();
	if (c->rules->invalidate_sessions && !atomic_exchange(&c->rules->invalidated, true))
		session_invalidate_all();
	c->alone = c->rules->serialise;
	if (c->alone)
		pthread_mutex_lock(&one_at_a_time);
	if (c->function == FN_C_Finalize && c->rules->double_close)
		close_again();
	travel(c);
	state_add(names_function_text(c->function));
	c->fired = rules_match(c->rules, c);
	c->called = !act_all(c, false) && fake_enter(c);
	return c->called;
}

CK_RV call_leave(struct call *c)
{
	if (c->called) {
		fake_answer(c);
		act_all(c, true);
	}
	if (c->function == FN_C_Login && c->rv == CKR_PIN_INCORRECT)
		state_add("C_Login.bad");
	trace_call(c, NULL);
	fake_leave(c);
	if (c->alone)
		pthread_mutex_unlock(&one_at_a_time);
	rules_release(c->rules);
	return c->rv;
}
