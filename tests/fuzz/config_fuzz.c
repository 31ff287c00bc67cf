/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F42.  The configuration: each problem names the file; without one, what is
 * in force, written as a file, means the same.  A password of the store's url, if it is one, is not shown.
 */
#include "config/config.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz.h"

#define NAME "csrd.conf"

static enum err parse(const uint8_t *data, size_t size, struct buf *shown)
{
	struct config *config = NULL;
	struct buf text, report;
	enum err e;

	buf_init(&text, size + 1);
	buf_init(&report, 1 << 20);
	buf_init(shown, 1 << 20);
	buf_put(&text, data, size);
	e = config_parse_partly(NAME, &text, &report, &config);
	FUZZ_CHECK(e == E_OK || e == E_CONFIG);
	FUZZ_CHECK((e == E_OK) == (report.len == 0));
	for (const char *line = buf_text(&report); *line; line = strchr(line, '\n') + 1) {
		FUZZ_CHECK(strncmp(line, NAME ":", sizeof(NAME)) == 0);
		FUZZ_CHECK(strchr(line, '\n'));
	}
	if (config)
		config_show(config, shown);
	FUZZ_CHECK(buf_status(shown) == E_OK);
	config_free(config);
	buf_release(&report);
	buf_release(&text);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf once, twice;

	if (parse(data, size, &once) == E_OK && !strstr(buf_text(&once), "***")) {
		FUZZ_CHECK(parse(once.data, once.len, &twice) == E_OK);
		/* The comments say what is a default, which after the first time nothing is. */
		FUZZ_CHECK(twice.len <= once.len);
		buf_release(&twice);
	}
	buf_release(&once);
	return 0;
}
