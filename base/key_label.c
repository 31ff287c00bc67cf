/* SPDX-License-Identifier: Apache-2.0 */
#include "base/key_label.h"

#include "base/str.h"

#include <stdio.h>

void key_label_of_csr(char label[KEY_LABEL_SIZE], const char *csr_id)
{
	snprintf(label, KEY_LABEL_SIZE, "%s%s", KEY_LABEL_PREFIX_0_1, csr_id);
}

bool key_label_is_valid(const char *label)
{
	uint8_t bytes[KEY_NAME_BYTES];

	if (str_starts_with(label, KEY_LABEL_PREFIX_0_1))
		return uuid_is_canonical(label + sizeof(KEY_LABEL_PREFIX_0_1) - 1);
	return key_name_parse(label, bytes);
}
