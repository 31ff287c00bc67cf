/* SPDX-License-Identifier: Apache-2.0 */
/* Which files of the store have statements. */
#include "store/sql_text.h"

#include <assert.h>
#include <stdint.h>

static const struct sql_texts *const all[] = {
    &audit_sql,       &csr_sql,      &csr_list_sql, &csr_row_sql, &directory_sql, &fence_sql,
    &idempotency_sql, &identity_sql, &lineage_sql,  &policy_sql,  &principal_sql, &principal_care_sql,
};
#define ALL_LEN (sizeof(all) / sizeof(all[0]))

size_t sql_text_count(void)
{
	size_t count = 0;

	for (size_t i = 0; i < ALL_LEN; i++)
		count += all[i]->len;
	return count;
}

const struct sql_text *sql_text_at(size_t number)
{
	size_t i = 0;

	while (number >= all[i]->len)
		number -= all[i++]->len;
	return &all[i]->texts[number];
}

size_t sql_text_number(const struct sql_text *text)
{
	size_t before = 0;

	for (size_t i = 0; i < ALL_LEN; i++) {
		/* As numbers: pointers into different arrays have no order. */
		uintptr_t at = (uintptr_t)text - (uintptr_t)all[i]->texts;

		if (at < all[i]->len * sizeof(*text))
			return before + at / sizeof(*text);
		before += all[i]->len;
	}
	assert(!"a statement of a file that is not listed");
	return 0;
}
