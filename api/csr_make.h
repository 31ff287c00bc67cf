/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the api: a create that is decided upon, from the signer to its answer.
 * Until the commit nobody knows of the CSR but this op and the signer; what ends
 * before it is settled as a CSR without a row.
 */
#ifndef CSRD_API_CSR_MAKE_H
#define CSRD_API_CSR_MAKE_H

#include "api/op.h"
#include "api/settle.h"

/* What a create holds between its steps: the op's state. */
struct create {
	const char *idempotency_key; /* the request's; NULL: none */
	uint8_t request_hash[STORE_HASH_BYTES];
	bool is_dry_run;
	enum store_begin outcome;        /* what it would come to, or has come to, as the store says */
	struct csr_record *seen;         /* with it: the first result, where there is one */
	struct csr_record *record;       /* what is to be made, until the store takes it */
	struct store_policies *policies; /* that it is judged by; NULL: there is no such scope */
	unsigned judged;                 /* how often the policies changed before its commit */
	struct problem_list notes;       /* for `messages` of the answer */
	struct hsm *hsm;
	char id[CSR_ID_SIZE];
	char key_label[KEY_LABEL_SIZE]; /* "": no key is known to be there */
	uint8_t spki_sha256[KEY_SPKI_HASH_BYTES];
	struct settle settle;
	bool is_uncertain; /* the signer may have used a key that only it knows */
	enum err failure;  /* why it fails: what the client is told once it is settled; E_OK: the outcome */
	bool is_refused;   /* by a policy: the notes say why */
	const char *words; /* of the failure, for the client; NULL: the code's own */
	char reason[160];  /* the same for the audit trail */
};

/* record and hsm are set; its end answers the op. */
void csr_make_start(struct op *op);

/* Another create's outcome, or the scope's: nothing is made.  By create->outcome, which is not NEW, and seen.
 */
void csr_make_answer(struct op *op);

/* The versions that a record was judged by.  policies NULL: none. */
void csr_make_note_policies(struct csr_record *record, const struct store_policies *policies);

int64_t csr_make_idempotency_ttl_us(const struct op *op);

#endif
