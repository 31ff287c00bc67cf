/* SPDX-License-Identifier: Apache-2.0 */
/* The table of modules that need to be treated in a special way from the first call on. */
#include "hsm/signer/token/quirks.h"

#include "hsm/signer/token/template.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *manufacturer;
	const char *description;
	struct quirks quirks;
} rows[] = {
    /* A template with CKA_VERIFY or CKA_ENCRYPT is refused after the key was made, and its room is lost. */
    {"tpm2-software.github.io",
     "TPM2.0 Cryptoki",
     {.module = "tpm2-pkcs11",
      .advice = "a process that was killed may have left the tpm full of loaded keys: "
		"'tpm2_flushcontext -t' unloads them",
      .template_options = TEMPLATE_ALL & ~(TEMPLATE_PUBLIC_USAGE | TEMPLATE_CHANGE),
      .one_session = true}},
};

void quirks_find(const char *manufacturer, const char *description, struct quirks *ret_quirks)
{
	*ret_quirks = (struct quirks){.template_options = TEMPLATE_ALL};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (manufacturer && description && strcmp(rows[i].manufacturer, manufacturer) == 0 &&
		    strcmp(rows[i].description, description) == 0)
			*ret_quirks = rows[i].quirks;
}
