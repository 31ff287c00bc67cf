/* SPDX-License-Identifier: Apache-2.0 */
/* How the token is judged over hours: time passes at once, and what lies below the judge is here. */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/token/judge.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/signer/key/probe.h"
#include "hsm/signer/token/object.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/watchdog.h"

#include <string.h>

#define MINUTE UINT64_C(60000)
#define HOUR (60 * MINUTE)

/* The linker puts this in the place of clock_ms (tests.mk). */
static uint64_t now_ms;
uint64_t __wrap_clock_ms(void);
uint64_t __wrap_clock_ms(void)
{
	return now_ms;
}

/* ---- what lies below ---- */

static enum err probe_answer;
static bool probe_makes_unfit;
static unsigned probes;

bool probe_recall(struct token *token)
{
	(void)token;
	return false;
}

enum err probe_run(struct session *s, struct token *token)
{
	probes++;
	s->last = probe_makes_unfit ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
	token->probe_made_unfit = probe_makes_unfit;
	token->probed = probe_answer == E_OK;
	return probe_answer;
}

enum err probe_self_test(struct session *s, struct token *token)
{
	(void)s;
	(void)token;
	return E_OK;
}

enum err session_probe(struct session *s, CK_FLAGS *ret_token_flags)
{
	(void)s;
	*ret_token_flags = 0;
	return E_OK;
}

enum err session_open(struct session *s)
{
	(void)s;
	return E_OK;
}

enum err session_reopen(struct session *s)
{
	(void)s;
	return E_OK;
}

bool session_must_stop(const struct session *s)
{
	(void)s;
	return false;
}

enum err object_search(struct session *s, CK_ATTRIBUTE *template, size_t template_len, size_t max,
		       struct object_handles *ret_handles)
{
	(void)s;
	(void)template;
	(void)template_len;
	(void)max;
	*ret_handles = (struct object_handles){0};
	return E_OK;
}

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

bool login_is_refused(const struct login *login)
{
	(void)login;
	return false;
}

enum err module_restart(struct module *module, struct token *token, char reason[256])
{
	(void)module;
	(void)token;
	(void)reason;
	return E_OK;
}

void watchdog_wait(bool waits)
{
	(void)waits;
}

static CK_RV all_closed(CK_SLOT_ID slot)
{
	(void)slot;
	return CKR_OK;
}

/* ---- the tests ---- */

/* How often the token is probed in that time, by an idle thread that repairs when it is due. */
static unsigned probes_within(struct judge *judge, struct session *s, uint64_t ms)
{
	const uint64_t end_ms = now_ms + ms;
	unsigned before = probes;

	while (now_ms < end_ms) {
		uint64_t in_ms = judge_repair_in_ms(judge, now_ms);

		if (in_ms)
			now_ms = in_ms < end_ms - now_ms ? now_ms + in_ms : end_ms;
		else
			judge_repair(judge, s);
	}
	return probes - before;
}

static void a_token_that_makes_unfit_keys_is_probed_more_and_more_seldom_F277(void **state)
{
	CK_FUNCTION_LIST p11 = {.C_CloseAllSessions = all_closed};
	struct token token = {.p11 = &p11};
	char reason[TOKEN_REASON_SIZE];
	struct judge *judge;
	struct gate *gate;
	struct session s = {.token = &token, .handle = CK_INVALID_HANDLE};
	unsigned seldom;

	(void)state;
	now_ms = HOUR;
	assert_int_equal(gate_new(NULL, &token, NULL, &gate), E_OK);
	assert_int_equal(judge_new(gate, &token, NULL, HOUR, &judge), E_OK);
	probe_answer = E_HSM;
	probe_makes_unfit = false; /* it makes no key at all: nothing is left to be cleaned away */
	(void)probes_within(judge, &s, HOUR);
	assert_in_range(probes_within(judge, &s, HOUR), 50, 60);

	probe_makes_unfit = true;
	(void)probes_within(judge, &s, 3 * HOUR);
	seldom = probes_within(judge, &s, 24 * HOUR);
	assert_in_range(seldom, 23, 24);
	assert_int_equal(gate_state(gate, reason), TOKEN_NO_KEYS);

	probe_answer = E_OK; /* and it is found out all the same when it does */
	(void)probes_within(judge, &s, HOUR + MINUTE);
	assert_int_equal(gate_state(gate, reason), TOKEN_UP);
	judge_free(judge);
	gate_free(gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_token_that_makes_unfit_keys_is_probed_more_and_more_seldom_F277),
	};

	log_open("judge_test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("the judge of the token", tests, NULL, NULL);
}
