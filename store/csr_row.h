/* SPDX-License-Identifier: Apache-2.0 */
/* The row of a CSR: written, read, moved.  Private to store/. */
#ifndef CSRD_STORE_CSR_ROW_H
#define CSRD_STORE_CSR_ROW_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"
#include "store/store.h"

#include <stdint.h>

struct sql;
struct sql_query;

/* The columns that csr_row_read reads, in its order. */
#define CSR_ROW_COLUMNS                                                                                      \
	"id, account_id, zone_id, token_name, principal_id, state, created_us, updated_us, key_type, "       \
	"country, province, locality, organization, organizational_unit, common_name, sans, name, "          \
	"description, pem, key_label, key_id, spki_sha256, protection, set_aside_us, account_policy, "       \
	"zone_policy"

/* E_EXISTS: as store_csr_add says.  E_INVAL: a SAN holds a newline. */
MUST_USE enum err csr_row_add(struct sql *sql, const struct csr_record *record);

/* By id, in any scope and state.  E_NOTFOUND. */
MUST_USE enum err csr_row_get(struct sql *sql, const char *id, struct csr_record *ret_record);

/* The current row.  The record is filled as far as it got, even after an error of the query. */
void csr_row_read(struct sql_query *q, struct csr_record *record);

/* One legal move of state with its audit record.  E_NOTFOUND as store_csr_move says. */
MUST_USE enum err csr_row_move(struct sql *sql, const struct store_csr_move *move, int64_t now_us);

#endif
