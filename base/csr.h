/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be certified: the subject and the subject alternative names of
 * one CSR (RFC 2986, RFC 5280 §4.1.2.4 and §4.2.1.6).  Shared by api (fills
 * and validates), store (keeps), hsm (carries) and the signer (encodes).
 */
#ifndef CSRD_BASE_CSR_H
#define CSRD_BASE_CSR_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>

/* Limits in characters (RFC 5280 appendix A.1 upper bounds) unless named otherwise. */
#define CSR_COUNTRY_CHARS 2
#define CSR_STATE_CHARS 128
#define CSR_LOCALITY_CHARS 128
#define CSR_ORGANIZATION_CHARS 64
#define CSR_ORGANIZATIONAL_UNIT_CHARS 64
#define CSR_COMMON_NAME_CHARS 64
#define CSR_SANS_MAX 150
#define CSR_SAN_BYTES_MAX 255
#define CSR_FIELD_BYTES_MAX (128 * 4) /* longest subject field in UTF-8 bytes */

#define CSR_ID_SIZE UUID_SIZE

/* Values are stored and sent over the wire: never renumber. */
enum san_type {
	SAN_DNS = 1,
	SAN_IP = 2, /* textual IPv4 or IPv6 address, no zone */
	SAN_EMAIL = 3,
	SAN_URI = 4,
};
#define SAN_TYPE_MAX 4
const char *san_type_name(enum san_type type); /* "dns", "ip", "email", "uri"; "?" */
MUST_USE enum err san_type_parse(const char *name, enum san_type *ret_type);
#define SAN_TYPE_BIT(type) (1u << (unsigned)(type))

struct csr_san {
	enum san_type type;
	char *value; /* exactly as the caller sent it */
};

/* Owned text, UTF-8, NUL-terminated.  organizational_unit may be NULL; nothing else once validated. */
struct csr_spec {
	enum key_type key_type;
	char *country;
	char *state;
	char *locality;
	char *organization;
	char *organizational_unit;
	char *common_name;
	struct csr_san *sans;
	size_t sans_len;
};

void csr_spec_release(struct csr_spec *spec);                                          /* leaves it zeroed */
MUST_USE enum err csr_spec_copy(const struct csr_spec *from, struct csr_spec *ret_to); /* E_NOMEM */

/* Appends a copy of value; E_LIMIT past CSR_SANS_MAX, E_NOMEM. */
MUST_USE enum err csr_spec_add_san(struct csr_spec *spec, enum san_type type, const char *value);

#endif
