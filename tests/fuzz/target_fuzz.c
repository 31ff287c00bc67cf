/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F39.  A request's target and host: what is accepted is printable ASCII, and its
 * path and query make a target of their own that is read in the same way.
 */
#include "daemon/target.h"
#include "tests/fuzz/fuzz.h"

static void check_printable(const char *text)
{
	for (; *text; text++)
		FUZZ_CHECK(*text > ' ' && *text < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t choice = fuzz_byte(&data, &size);
	char *text = fuzz_text(data, size), *host = fuzz_text(data, size);
	struct target t = {0}, again = {0};

	if (target_host_is_valid(host))
		check_printable(host);
	if (target_parse(text, choice & 1 ? "https" : "http", choice & 2, &t)) {
		char *origin = malloc(size + 3);

		FUZZ_CHECK(origin && (t.path[0] == '/' || strcmp(t.path, "*") == 0));
		FUZZ_CHECK(!strpbrk(t.path, "?#"));
		snprintf(origin, size + 3, "%s%s%s", t.path, t.query ? "?" : "", t.query ? t.query : "");
		check_printable(origin);
		FUZZ_CHECK(target_parse(origin, "http", choice & 2, &again));
		FUZZ_CHECK(strcmp(t.path, again.path) == 0 && !t.query == !again.query);
		FUZZ_CHECK(!t.query || strcmp(t.query, again.query) == 0);
		free(origin);
	} else {
		FUZZ_CHECK(t.why && t.status >= 400);
	}
	free(text);
	free(host);
	return 0;
}
