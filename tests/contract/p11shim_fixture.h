/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim of tests/p11shim over a fresh SoftHSM token in a folder of its own.
 * A body of a test runs in a process of its own, because that is how long a shim
 * lives; it ends the process at the first thing that is wrong.
 */
#ifndef CSRD_TESTS_P11SHIM_FIXTURE_H
#define CSRD_TESTS_P11SHIM_FIXTURE_H

#include "tests/unit/cmocka_all.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#define SHIM_PIN "271828"
#define SHIM_WRONG_PIN "141421"
#define SHIM_SO_PIN "57721566"
#define SHIM_LABEL "shim-test"
#define SHIM_DEADLINE_MS 20000

/* Of a group of tests, and of each of them: a token, rules, trace and state. */
int shim_make_folder(void **state);
int shim_remove_folder(void **state);
int shim_set_up(void **state);
#define SHIM_CASE(name) cmocka_unit_test_setup(name, shim_set_up)

/* ---- files ---- */

const char *shim_in_folder(const char *name); /* good for a few calls */
void shim_write_file(const char *path, const char *text);
void shim_set_rules(const char *text);
char *shim_read_file(const char *name); /* owned */
bool shim_file_says(const char *name, const char *what);
long shim_counter(const char *name); /* calls that the shim counted */
int64_t shim_now_ms(void);
bool shim_wait_for_trace(const char *what);

/* ---- processes ---- */

/* For the body of a child: cmocka's own assertions would run on in its copy of the group. */
#define SHIM_CHECK(condition)                                                                                \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);              \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)

#define SHIM_CHECK_RV(call, expected)                                                                        \
	do {                                                                                                 \
		CK_RV rv_ = (call);                                                                          \
                                                                                                             \
		if (rv_ != (expected)) {                                                                     \
			fprintf(stderr, "%s:%d: %s = 0x%lx, not %s\n", __FILE__, __LINE__, #call, rv_,       \
				#expected);                                                                  \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)

pid_t shim_start(void (*body)(void));
int shim_end_of(pid_t pid);
void shim_run(void (*body)(void));
void shim_run_with(const char *rules, void (*body)(void));
void shim_assert_dies_of(int sig, int status);

/* ---- PKCS#11, in a child ---- */

extern CK_FUNCTION_LIST *shim_p11;
extern CK_SLOT_ID shim_slot;
extern CK_SESSION_HANDLE shim_session;
extern char shim_module[]; /* path of the shim */

/* For templates. */
extern CK_BBOOL shim_yes, shim_no;
extern unsigned char shim_p256[10]; /* CKA_EC_PARAMS */

void shim_load(void);
void shim_initialize(void); /* and finds the slot */
CK_SESSION_HANDLE shim_open_session(void);
CK_RV shim_login_with(const char *pin);
void shim_log_in(void); /* all of these */
CK_RV shim_random_in(CK_SESSION_HANDLE s);
/* An EC pair labelled SHIM_LABEL. */
CK_RV shim_generate(CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private);
CK_ULONG shim_count_keys(void);
/* With a pair made for it: what C_Verify answers must be this. */
void shim_sign_and_verify(CK_RV verdict);

#endif
