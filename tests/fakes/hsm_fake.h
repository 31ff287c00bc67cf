/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm/hsm.h without a signer: keys are entries of a list, calls wait in a
 * queue until hsm_fake_run, and each can be told how to end.  Link it instead
 * of libhsm.a.
 */
#ifndef CSRD_TESTS_HSM_FAKE_H
#define CSRD_TESTS_HSM_FAKE_H

#include "hsm/hsm.h"

#define HSM_FAKE_UNSETTLED_PAGE 3 /* keys in one reply */

enum hsm_fake_call {
	HSM_FAKE_CREATE_CSR,
	HSM_FAKE_DESTROY_KEY,
	HSM_FAKE_FIND_KEY,
	HSM_FAKE_LIST_KEYS,
	HSM_FAKE_CONFIRM,
	HSM_FAKE_UNSETTLED,
	HSM_FAKE_STATUS,
	HSM_FAKE_CALLS,
};

/* Up, usable, with every key type.  Freed by hsm_free. */
struct hsm *hsm_fake_new(const char *token_name);

/* Ends every call that was queued when it was called, oldest first; returns how many. */
unsigned hsm_fake_run(struct hsm *hsm);

/*
 * The next call of that kind that has no script yet ends with e; takes_effect: it is done on the
 * token all the same.
 */
void hsm_fake_script(struct hsm *hsm, enum hsm_fake_call call, enum err e, bool takes_effect);

/* Down: hsm_is_up is false, and calls end with E_UNAVAIL.  Calls on_link when one was set. */
void hsm_fake_set_up(struct hsm *hsm, bool up);
void hsm_fake_on_link(struct hsm *hsm, hsm_link_fn on_link, void *arg);
void hsm_fake_set_usable(struct hsm *hsm, bool usable);
void hsm_fake_set_key_types(struct hsm *hsm, key_type_set types);
/* The next key has the key id and the SPKI hash of the last. */
void hsm_fake_repeat_key(struct hsm *hsm);
/* The next key is of this type, whatever is asked for. */
void hsm_fake_mistake_type(struct hsm *hsm, enum key_type type);

/* What is on the token. */
void hsm_fake_put_key(struct hsm *hsm, const char *label, enum message_key_presence presence);
/* Of the key that was used for the CSR, or labelled as csrd 0.1 did; the label is borrowed, "" for none. */
enum message_key_presence hsm_fake_key(const struct hsm *hsm, const char *csr_id);
const char *hsm_fake_key_label(const struct hsm *hsm, const char *csr_id);
/* A pair that was used for the CSR and neither confirmed nor destroyed since, as each create leaves one. */
void hsm_fake_put_unsettled(struct hsm *hsm, const char *csr_id);
bool hsm_fake_is_unsettled(const struct hsm *hsm, const char *csr_id);
/* Keys that were confirmed as kept. */
unsigned hsm_fake_kept(const struct hsm *hsm);
size_t hsm_fake_keys_len(const struct hsm *hsm);

/* Calls made since the start, and what the last ones said. */
unsigned hsm_fake_calls(const struct hsm *hsm, enum hsm_fake_call call);
const char *hsm_fake_last_csr_id(const struct hsm *hsm); /* of create-csr */
const struct csr_spec *hsm_fake_last_spec(const struct hsm *hsm);
uint64_t hsm_fake_last_deadline_ms(const struct hsm *hsm);

#endif
