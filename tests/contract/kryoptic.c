/* SPDX-License-Identifier: Apache-2.0 */
/* Finds kryoptic and writes its configuration. */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/kryoptic.h"

#include <stdio.h>
#include <stdlib.h>

char kryoptic_module[PATH_MAX];

bool kryoptic_is_here(void)
{
	return getenv("CSRD_KRYOPTIC") != NULL;
}

void kryoptic_configure(const char *folder)
{
	char path[PATH_MAX];
	FILE *file;

	if (!kryoptic_is_here())
		fail_msg("CSRD_KRYOPTIC does not say where the module is: make test-kryoptic");
	snprintf(kryoptic_module, sizeof(kryoptic_module), "%s", getenv("CSRD_KRYOPTIC"));
	snprintf(path, sizeof(path), "%s/kryoptic.conf", folder);
	file = fopen(path, "we");
	assert_non_null(file);
	for (int i = 0; i < KRYOPTIC_SLOTS; i++) {
		fprintf(file, "[[slots]]\nslot = %d\ndbtype = \"sqlite\"\n", i);
		fprintf(file, "dbargs = \"%s/kryoptic-%d.sql\"\n", folder, i);
	}
	assert_int_equal(fclose(file), 0);
	setenv("KRYOPTIC_CONF", path, 1);
}
