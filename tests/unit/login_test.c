/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a PIN is shown to a token that does not say what is wrong (F60,
 * F175, F282): by one process that tries again and again for an hour, and by twenty
 * that are started one after the other.  The token is a few functions here, and
 * the time is ours.
 *
 * run: seconds=18
 */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/token/login.h"
#include "hsm/signer/token/pin_guard.h"

#include "base/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR_S 3600
#define STARTS 20
#define HOPELESS_S 60 /* after which csrd-hsm ends, to be started again */

/* ---- time: the linker puts these in the place of the real ones (tests.mk) ---- */

static uint64_t now_ms;
uint64_t __wrap_clock_ms(void);
int64_t __wrap_clock_wall_us(void);

uint64_t __wrap_clock_ms(void)
{
	return 1000000 + now_ms;
}

int64_t __wrap_clock_wall_us(void)
{
	return INT64_C(1700000000000000) + (int64_t)now_ms * 1000;
}

/* ---- the token ---- */

static CK_RV answer;
static unsigned logins;
static bool logged_in;
static bool others_log_in; /* between a look at the session and C_Login */

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	(void)session;
	memset(info, 0, sizeof(*info));
	info->state = logged_in ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION;
	return CKR_OK;
}

#define LABEL "token"
#define SERIAL "1"

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	(void)slot;
	memset(info, 0, sizeof(*info));
	memcpy(info->label, LABEL, strlen(LABEL));
	memcpy(info->serialNumber, SERIAL, strlen(SERIAL));
	info->flags = CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED;
	return CKR_OK;
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
	(void)session;
	(void)user;
	(void)pin;
	(void)len;
	logins++;
	logged_in = answer == CKR_OK || others_log_in;
	return answer;
}

static CK_FUNCTION_LIST functions = {
    .C_GetSessionInfo = get_session_info, .C_GetTokenInfo = get_token_info, .C_Login = log_in};
static const struct token token = {.p11 = &functions,
				   .label = LABEL,
				   .serial = SERIAL,
				   .flags = CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED};

/* ---- a folder ---- */

struct fixture {
	char folder[64];
	char pin[PATH_MAX];
	char marker[PATH_MAX];
	struct state_dir *state;
	struct login *login;
};

static void write_pin(const struct fixture *f, const char *pin)
{
	int fd;

	unlink(f->pin);
	fd = open(f->pin, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, pin, strlen(pin)), E_OK);
	close(fd);
}

static void start(struct fixture *f)
{
	login_free(f->login);
	logged_in = false;
	assert_int_equal(login_new(&token, f->pin, f->pin, f->state, &f->login), E_OK);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[PATH_MAX];

	assert_non_null(f);
	strcpy(f->folder, "/tmp/csrd-login-test-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(path, sizeof(path), "%s/state", f->folder);
	snprintf(f->pin, sizeof(f->pin), "%s/pin", f->folder);
	snprintf(f->marker, sizeof(f->marker), "%s/state/" PIN_GUARD_MARKER, f->folder);
	assert_int_equal(state_dir_open(path, &f->state), E_OK);
	write_pin(f, "1234");
	start(f);
	logins = 0;
	answer = CKR_OK;
	others_log_in = false;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[PATH_MAX];

	login_free(f->login);
	state_dir_close(f->state);
	unlink(f->pin);
	unlink(f->marker);
	snprintf(path, sizeof(path), "%s/state/" PIN_GUARD_MARKER ".new", f->folder);
	unlink(path); /* the room for the next one */
	snprintf(path, sizeof(path), "%s/state", f->folder);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static enum err try_now(struct fixture *f, CK_RV *ret_rv)
{
	return login_ensure(f->login, 1, ret_rv);
}

/* One process: it tries four times a second, until the PIN is refused or nothing has helped for a minute. */
static bool work(struct fixture *f, unsigned *seconds)
{
	CK_RV rv;

	for (unsigned ms = 0; ms < HOPELESS_S * 1000 && *seconds < HOUR_S; ms += 250, now_ms += 250) {
		assert_int_not_equal(try_now(f, &rv), E_OK);
		if (login_is_refused(f->login))
			return false;
		*seconds += ms % 1000 == 750;
	}
	return true;
}

static const CK_RV unexplained[] = {CKR_USER_TYPE_INVALID, CKR_FUNCTION_FAILED,       CKR_GENERAL_ERROR,
				    CKR_ARGUMENTS_BAD,     CKR_DEVICE_ERROR,          0x80000129UL,
				    CKR_FUNCTION_CANCELED, CKR_USER_NOT_LOGGED_IN,    CKR_SESSION_COUNT,
				    CKR_OPERATION_ACTIVE,  CKR_USER_ALREADY_LOGGED_IN};
#define UNEXPLAINED (sizeof(unexplained) / sizeof(unexplained[0]))

/* ---- the tests ---- */

static void twenty_starts_and_an_hour_are_two_tries_F175(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < UNEXPLAINED; i++) {
		unsigned seconds = 0;
		CK_RV rv;

		logins = 0;
		answer = unexplained[i];
		unlink(f->marker);
		/* One right after the other; each hashes the pin, at a cost: twenty of the first value. */
		for (unsigned n = 0; n < (i == 0 ? STARTS : 3); n++) {
			start(f);
			assert_int_not_equal(try_now(f, &rv), E_OK);
			assert_false(login_is_refused(f->login));
		}
		assert_int_equal(logins, 1);
		do
			start(f);
		while (work(f, &seconds) && seconds < HOUR_S);
		assert_true(login_is_refused(f->login));
		assert_int_equal(logins, 2);
		for (unsigned n = 0; n < 2; n++) {
			start(f);
			now_ms += HOUR_S * 1000;
			assert_int_equal(try_now(f, &rv), E_PIN);
		}
		assert_int_equal(logins, 2);
	}
	/* Another PIN is another matter. */
	write_pin(f, "12345");
	answer = CKR_OK;
	start(f);
	assert_int_equal(try_now(f, &(CK_RV){0}), E_OK);
	assert_int_equal(logins, 3);
	assert_int_equal(access(f->marker, F_OK), -1);
}

/* It was right when the process began, and is wrong since. */
static void a_pin_that_was_changed_at_work_is_tried_twice_F175(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < UNEXPLAINED; i++) {
		unsigned seconds = 0;
		CK_RV rv;

		unlink(f->marker);
		answer = CKR_OK;
		start(f);
		assert_int_equal(try_now(f, &rv), E_OK);
		logins = 0;
		answer = unexplained[i];
		logged_in = false;
		while (work(f, &seconds) && seconds < HOUR_S)
			start(f);
		assert_true(login_is_refused(f->login));
		assert_int_equal(logins, 2);
	}
}

/* An HSM that is slow to start fails once, and takes the PIN a minute later. */
static void one_failure_is_forgiven_F175(void **state)
{
	struct fixture *f = *state;
	CK_RV rv;

	for (unsigned n = 0; n < 3; n++) {
		logins = 0;
		answer = CKR_FUNCTION_FAILED;
		logged_in = false;
		assert_int_equal(try_now(f, &rv), E_HSM);
		assert_int_equal(rv, CKR_FUNCTION_FAILED);
		answer = CKR_OK;
		now_ms += PIN_GUARD_PAUSE_MS - 1000;
		assert_int_equal(try_now(f, &rv), E_HSM); /* not asked, and still for that reason */
		assert_int_equal(rv, CKR_FUNCTION_FAILED);
		now_ms += 1000;
		assert_int_equal(try_now(f, &rv), E_OK);
		assert_int_equal(logins, 2);
		assert_int_equal(access(f->marker, F_OK), -1);
	}
}

/* Where the session is the user's after all it does not matter who logged in. */
static void a_login_of_somebody_else_is_as_good_F282(void **state)
{
	struct fixture *f = *state;

	answer = CKR_USER_ALREADY_LOGGED_IN;
	others_log_in = true;
	assert_int_equal(try_now(f, &(CK_RV){0}), E_OK);
	assert_int_equal(logins, 1);
	assert_int_equal(access(f->marker, F_OK), -1);
}

/* It has not looked at the PIN, so that is tried whenever it may be there again. */
static void a_token_that_was_not_reached_counts_nothing_F175(void **state)
{
	static const CK_RV codes[] = {CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT, CKR_SESSION_HANDLE_INVALID,
				      CKR_CRYPTOKI_NOT_INITIALIZED, CKR_HOST_MEMORY};
	struct fixture *f = *state;
	CK_RV rv;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		answer = codes[i];
		for (unsigned n = 0; n < 5; n++) {
			start(f);
			assert_int_not_equal(try_now(f, &rv), E_OK);
			assert_int_equal(access(f->marker, F_OK), -1);
		}
	}
	assert_int_equal(logins, 25);
	/* Between two tries that do count it changes nothing either. */
	answer = CKR_GENERAL_ERROR;
	assert_int_equal(try_now(f, &rv), E_HSM);
	now_ms += PIN_GUARD_PAUSE_MS;
	answer = CKR_DEVICE_REMOVED;
	assert_int_equal(try_now(f, &rv), E_UNAVAIL);
	answer = CKR_GENERAL_ERROR;
	now_ms += PIN_GUARD_PAUSE_MS;
	assert_int_equal(try_now(f, &rv), E_PIN);
	assert_int_equal(logins, 28);
}

static void a_refusal_is_one_try_F60(void **state)
{
	struct fixture *f = *state;
	unsigned seconds = 0;

	answer = CKR_PIN_INCORRECT;
	do
		start(f);
	while (work(f, &seconds) && seconds < HOUR_S);
	start(f);
	assert_int_equal(try_now(f, &(CK_RV){0}), E_PIN);
	assert_int_equal(logins, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(twenty_starts_and_an_hour_are_two_tries_F175),
	    TEST(a_pin_that_was_changed_at_work_is_tried_twice_F175),
	    TEST(one_failure_is_forgiven_F175),
	    TEST(a_token_that_was_not_reached_counts_nothing_F175),
	    TEST(a_login_of_somebody_else_is_as_good_F282),
	    TEST(a_refusal_is_one_try_F60),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
