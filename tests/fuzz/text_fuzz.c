/* SPDX-License-Identifier: Apache-2.0 */
/* Small words: times, durations, numbers, ids, names of keys; what is accepted, written again, is read as the
 * same. */
#include "base/clock.h"
#include "base/key.h"
#include "base/key_name.h"
#include "base/str.h"
#include "base/uuid.h"
#include "tests/fuzz/fuzz.h"

#include <inttypes.h>

static void check_time(const char *text)
{
	char again[CLOCK_RFC3339_SIZE];
	int64_t us = 0, back = 0;

	if (clock_parse_rfc3339(text, &us) != E_OK)
		return;
	clock_format_rfc3339(us, again);
	FUZZ_CHECK(clock_parse_rfc3339(again, &back) == E_OK && back == us);
}

static void check_numbers(const char *text)
{
	uint64_t value = 0, back = 0;
	char again[32];

	if (str_parse_u64(text, UINT64_MAX, &value) == E_OK) {
		snprintf(again, sizeof(again), "%" PRIu64, value);
		FUZZ_CHECK(strcmp(again, text + strspn(text, "0") - (value == 0)) == 0);
		FUZZ_CHECK(value == 0 || str_parse_u64(text, value - 1, &back) == E_INVAL);
	}
	if (clock_parse_duration(text, &value) == E_OK && value <= UINT32_MAX) {
		snprintf(again, sizeof(again), "%" PRIu64 "ms", value);
		FUZZ_CHECK(clock_parse_duration(again, &back) == E_OK && back == value);
	}
}

static void check_names(const char *text)
{
	uint8_t bytes[KEY_NAME_BYTES], id[UUID_BYTES];
	char uuid[UUID_SIZE], name[KEY_NAME_SIZE];
	enum key_type type;

	FUZZ_CHECK(uuid_parse(text, uuid) == uuid_is_valid(text));
	if (uuid_is_valid(text)) {
		FUZZ_CHECK(uuid_is_canonical(uuid) && str_equal_ignoring_case(uuid, text));
		FUZZ_CHECK(uuid_to_bytes(uuid, id));
		uuid_format(uuid, id);
		FUZZ_CHECK(str_equal_ignoring_case(uuid, text));
	}
	if (key_name_parse(text, bytes)) {
		key_name_format(name, bytes);
		FUZZ_CHECK(strcmp(name, text) == 0);
	}
	if (key_type_parse(text, &type) == E_OK)
		FUZZ_CHECK(strcmp(key_type_name(type), text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);

	check_time(text);
	check_numbers(text);
	check_names(text);
	free(text);
	return 0;
}
