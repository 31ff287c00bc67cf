/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one token that this process serves: filled at start by module_find_token
 * and probe_run.  Afterwards gate.c and judge.c alone write it, and only the slot (with
 * nobody inside the module) and what probe_run could not find out at start
 * (while no key may be made), or finds out again (with nobody inside); probe.c
 * keeps probe_left.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_TOKEN_H
#define CSRD_HSM_SIGNER_TOKEN_TOKEN_H

#include "base/key.h"
#include "hsm/signer/token/quirks.h"
#include "hsm/signer/token/template.h"

#include <p11-kit/pkcs11.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct state_dir;

#define PROBE_LABEL_SIZE 96

/* Whether it keeps data objects (data_object.h). */
enum token_data {
	TOKEN_DATA_NONE,
	TOKEN_DATA_PLAIN,
	TOKEN_DATA_FIXED, /* also such that cannot be changed */
};

struct token {
	CK_FUNCTION_LIST_PTR p11; /* of the loaded module; borrowed from struct module */
	CK_SLOT_ID slot;

	/* CK_TOKEN_INFO with blanks trimmed */
	char label[33];
	char serial[17];
	char manufacturer[33];
	char model[17];
	CK_FLAGS flags;
	CK_ULONG max_pin_len; /* 0: not reported */

	/* what its mechanism list offers */
	key_type_set key_types; /* see token_makes */
	bool signs_sha256_rsa;  /* CKM_SHA256_RSA_PKCS; else CKM_RSA_PKCS over a DigestInfo */

	struct quirks quirks; /* of the module */
	uint32_t allow_usage; /* [token] allow_usage: key protection bits that I4 tolerates */

	/* probe.h */
	uint32_t template_limit; /* enum template_option: the most that is tried */
	char probe_label[PROBE_LABEL_SIZE];
	char probe_label_0_1[PROBE_LABEL_SIZE]; /* that of csrd 0.1 */
	bool probe_unfit;      /* its last key was made and did not pass: no lesser template mends that */
	bool probe_made_unfit; /* the last probe_run made such a key, at least one */
	bool probe_left;       /* keys of a probe may be on the token still */
	const struct state_dir *state; /* where its findings are kept, borrowed; NULL: nowhere */
	const char *module_path;       /* borrowed */
	bool probed;                   /* what follows is known */
	int64_t probed_us;             /* since when, on the wall clock: maybe an earlier process's finding */
	struct template_profile profiles[TEMPLATE_FAMILIES];
	key_type_set proved_types; /* of these it made a key */
	atomic_uint unmade_types;  /* it offers these and makes none that would do; read by every thread */
	enum token_data data;
	bool ids_own; /* the module gives keys a CKA_ID of its own: they are known by their label alone */
	char capabilities[1024]; /* the above in words, for the status */
};

/* Some tokens protect keys by other means than a PIN; then every session is as good as a user's. */
static inline bool token_has_login(const struct token *token)
{
	return token->flags & (CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED);
}

/* What it offers and, as far as the probe knows, makes. */
static inline key_type_set token_makes(const struct token *token)
{
	return token->key_types & ~(key_type_set)atomic_load(&token->unmade_types);
}

#endif
