/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token's PKCS#11 URI: what is accepted begins with "pkcs11:", names nothing but a
 * token, and p11-kit reads it, too; what is refused is so with a reason.
 */
#include "hsm/signer/token/module.h"
#include "tests/fuzz/fuzz.h"

#include <p11-kit/uri.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	const char *reason = NULL;
	enum err e = module_check_uri(text, &reason);

	FUZZ_CHECK(e == E_OK || e == E_CONFIG);
	if (e == E_OK) {
		P11KitUri *uri = p11_kit_uri_new();

		FUZZ_CHECK(strncmp(text, "pkcs11:", 7) == 0 && !strchr(text, '?'));
		FUZZ_CHECK(p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri) == P11_KIT_URI_OK);
		FUZZ_CHECK(!p11_kit_uri_get_pin_value(uri) && !p11_kit_uri_get_pin_source(uri));
		FUZZ_CHECK(!p11_kit_uri_get_module_path(uri) && !p11_kit_uri_get_module_name(uri));
		p11_kit_uri_free(uri);
	} else {
		FUZZ_CHECK(reason && reason[0]);
	}
	free(text);
	return 0;
}
