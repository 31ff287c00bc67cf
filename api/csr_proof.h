/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the certificate signing request of a row bears out what the row says of it. */
#ifndef CSRD_API_CSR_PROOF_H
#define CSRD_API_CSR_PROOF_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

/* text says what differs, in one line without control characters. */
typedef void (*csr_proof_fn)(void *arg, const char *text);

/*
 * Parses the PEM of a record that has one and tells every difference: version,
 * key type, SHA-256 of the public key, signature, subject, names.  E_OK also
 * with differences; E_NOMEM.
 */
MUST_USE enum err csr_proof(const struct csr_record *record, csr_proof_fn tell, void *arg);

#endif
