/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the OpenAPI document of a csrd with the configuration's defaults: "make openapi" makes
 * doc/openapi.json of it. */
#include "api/openapi.h"

#include <stdio.h>

int main(void)
{
	const struct validate_policy policy = {
	    .key_types = KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1),
	    .sans = {.types = SAN_TYPE_BIT(SAN_DNS)},
	};
	struct buf b;
	int status = 1;

	buf_init(&b, OPENAPI_BYTES_MAX);
	openapi_put(&policy, &b);
	if (buf_status(&b) == E_OK && puts(buf_text(&b)) >= 0 && fflush(stdout) == 0)
		status = 0;
	buf_release(&b);
	return status;
}
