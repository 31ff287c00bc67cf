/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the signer itself asks of a request.  csrd has validated it already; the
 * signer does not take csrd's word for what it puts its keys' signatures under.
 */
#ifndef CSRD_HSM_SIGNER_CSR_CSR_CHECK_H
#define CSRD_HSM_SIGNER_CSR_CSR_CHECK_H

#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"

/*
 * E_OK or E_INVAL with *ret_reason as static text.  Checked: required fields
 * are there and within their bounds, valid UTF-8 without unsafe characters,
 * the country is two letters, there are 1 … CSR_SANS_MAX SANs, and each can be
 * encoded as its type.  Which names are allowed is policy, and csrd's.
 */
MUST_USE enum err csr_check(const struct csr_spec *spec, const char **ret_reason);

/* The address octets of an IP SAN, 4 or 16 of them; E_INVAL. */
MUST_USE enum err csr_check_ip(const char *text, unsigned char ret_octets[16], int *ret_len);

#endif
