/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fresh token in a folder of its own, the configuration for it, and the real
 * csrd-hsm run on it.  Which module it is, is a row of signer_token_kinds.
 */
#ifndef CSRD_TESTS_SIGNER_FIXTURE_H
#define CSRD_TESTS_SIGNER_FIXTURE_H

#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_client.h"
#include "tests/contract/swtpm.h"

#include <limits.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SIGNER_PIN "27182818" /* openCryptoki takes no longer one, kryoptic no shorter */
#define SIGNER_TOKEN_LABEL "signer-test"

struct signer_fixture;

struct signer_token_kind {
	const char *name;
	const char *module;     /* absolute path */
	const char *shared_uri; /* fits every token of this kind */
	/* Makes a token labelled SIGNER_TOKEN_LABEL with SIGNER_PIN in the fixture's folder, and sets the
	 * environment. */
	void (*make_token)(struct signer_fixture *f, const char *label);
	void (*end)(struct signer_fixture *f);        /* at teardown; NULL: nothing to do */
	void (*after_kill)(struct signer_fixture *f); /* csrd-hsm was killed; NULL: nothing to do */
	const char *seen_through; /* the module with which the test looks at the token; NULL: that one */
	const char *profile;      /* on the shim with tests/p11shim/profiles/PROFILE.rules; NULL: none */
	bool own_places;          /* runs only where tests/contract/own_places.h is possible */

	/* the limits of the module; see doc/hsm-compatibility.md */
	unsigned threads;    /* that csrd-hsm works with, at most; 0: as many as are asked for */
	bool sees_others;    /* what another process does to the token is seen at once */
	CK_RV sealed;        /* what a read of a private value answers */
	key_type_set lacks;  /* key types that it does not make */
	enum key_type usual; /* where any type will do */
};
enum signer_kind {
	SIGNER_KIND_SOFTHSM,
	SIGNER_KIND_TPM,
	SIGNER_KIND_OPENCRYPTOKI,
	SIGNER_KIND_P11KIT_CLIENT,
	SIGNER_KIND_P11KIT_PROXY,
	SIGNER_KIND_KRYOPTIC
};
/* Set-up adds what is found out of the module's release. */
extern struct signer_token_kind signer_token_kinds[];
extern const size_t signer_token_kinds_len;

struct signer_fixture {
	const struct signer_token_kind *kind;
	char folder[64];
	char program[PATH_MAX];
	char shim[PATH_MAX];     /* in the folder: who loads it looks at every folder above it */
	char profiles[PATH_MAX]; /* folder */
	char socket[PATH_MAX];
	pid_t pid; /* of the csrd-hsm that runs; 0: none */
	struct swtpm tpm;
	pid_t helper;    /* the module's daemon; 0: none */
	unsigned tokens; /* made so far */

	/* for the next start; NULL or 0: the usual */
	const char *module;
	const char *uri;
	const char *extra;     /* more lines of [token default] */
	const char *state_dir; /* a name in the folder */
	unsigned threads;
	unsigned queue_max;
};

/* For kinds that are not in the table. */
#define SIGNER_SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"
void signer_make_softhsm_token(struct signer_fixture *f, const char *label);

/* cmocka: *state is a struct signer_token_kind before and a struct signer_fixture after setup. */
int signer_fixture_setup(void **state);
int signer_fixture_teardown(void **state);
/* A test on such a token; it is skipped, with the reason on standard error, where none can be had. */
struct CMUnitTest signer_test_on(enum signer_kind kind, const char *name, CMUnitTestFunction run);

/* The same as an entry of a table of tests, on SoftHSM. */
#define SIGNER_CASE(function)                                                                                \
	{                                                                                                    \
#function, function, signer_fixture_setup, signer_fixture_teardown,                          \
		    (void *)(uintptr_t)&signer_token_kinds[SIGNER_KIND_SOFTHSM]                              \
	}
/* For a main() of such a table: all of it, or what fits the pattern that is the first argument. */
#define SIGNER_RUN(name, tests, argc, argv)                                                                  \
	((argc) > 1 ? cmocka_set_test_filter((argv)[1]) : (void)0,                                           \
	 cmocka_run_group_tests_name(name, tests, NULL, NULL))

/* "<folder>/name"; good for a few calls. */
const char *signer_path(const struct signer_fixture *f, const char *name);
void signer_write_file(const char *path, const char *text, mode_t mode);

/* For instrumented builds, until teardown: leaks in a function or library of that name are not ours. */
void signer_forgive_leaks(const struct signer_fixture *f, const char *where);

/*
 * Rules of tests/p11shim for the next start, which then runs on the shim over the fixture's module.
 * They come after those of the kind's profile.
 */
void signer_use_shim(struct signer_fixture *f, const char *rules);
void signer_set_rules(const struct signer_fixture *f, const char *rules);
/* Calls that the shim counted, in all processes: "C_Login". */
long signer_shim_count(const struct signer_fixture *f, const char *name);
/* Waits until they are that many. */
void signer_wait_for_count(const struct signer_fixture *f, const char *name, long count);
/* Waits for a text in the shim's trace. */
void signer_wait_for_trace(const struct signer_fixture *f, const char *text);

/* Starts csrd-hsm on the shim with these rules, and connects. */
void signer_open(struct signer_fixture *f, struct signer_client *c, const char *rules);
/* Ends both in order, without rules. */
void signer_close(struct signer_fixture *f, struct signer_client *c);
/* Waits for a status of that kind whose detail begins so. */
void signer_wait_for_status(struct signer_client *c, bool usable, const char *start_of_detail);

void signer_write_config(struct signer_fixture *f);
/* Writes the configuration and starts csrd-hsm; its log goes to "<folder>/log". */
void signer_start(struct signer_fixture *f);
/* Waits for its end; the exit code, or minus the signal. */
int signer_wait(struct signer_fixture *f);
/* SIGTERM, and 0 must come back. */
void signer_stop(struct signer_fixture *f);
/* Starts it and waits for the exit code that it must give up with; the log must have all of `text`. */
void signer_expect_exit(struct signer_fixture *f, int code, const char *text);
bool signer_log_has(const struct signer_fixture *f, const char *text);
/*
 * After something else changed the token: some modules see that only in a
 * process that starts anew.  Does nothing on the others.
 */
void signer_restart_to_see(struct signer_fixture *f);
void signer_wait_for_log(const struct signer_fixture *f, const char *text);

/* ---- the token, looked at by the test itself (csrd-hsm may run) ---- */

/* As C_GetTokenInfo has it, without the blanks. */
void signer_token_serial(const struct signer_fixture *f, char ret_serial[32]);
/* Objects of one class under a label, or all of that class for NULL. */
size_t signer_token_count(const struct signer_fixture *f, CK_OBJECT_CLASS class, const char *label);
/*
 * EC key objects that have a label or a value.  What else a generation that was killed leaves is an object
 * that has neither: no key, and nobody's.
 */
size_t signer_token_count_keys(const struct signer_fixture *f, CK_OBJECT_CLASS class);
/* Writes another label over that of each object of the class that has the first. */
void signer_token_relabel(const struct signer_fixture *f, CK_OBJECT_CLASS class, const char *label,
			  const char *new_label);
void signer_token_destroy(const struct signer_fixture *f, CK_OBJECT_CLASS class, const char *label);
/* The slot of the n-th token, in the order of the module. */
CK_SLOT_ID signer_token_slot(const struct signer_fixture *f, size_t n);
/* Public RSA keys "csrd:<signer_csr_id(from + i)>". */
void signer_token_add_public(const struct signer_fixture *f, unsigned from, unsigned count);
/* The attribute in which a private key of that type has its secret. */
CK_ATTRIBUTE_TYPE signer_private_value(enum key_type type);
/* The private key of that label gives its private value to nobody: every read of it is refused. */
void signer_token_expect_sealed(const struct signer_fixture *f, const char *label,
				CK_ATTRIBUTE_TYPE private_value);

#endif
