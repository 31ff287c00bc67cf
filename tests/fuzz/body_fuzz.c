/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F38.  The body of a create: it is refused with at least one problem, which
 * make JSON that is read; or the signer finds nothing wrong with it either, and it arrives
 * there as it was sent.
 */
#include "api/json.h"
#include "api/validate.h"
#include "base/utf8.h"
#include "hsm/message.h"
#include "hsm/signer/csr/csr_check.h"
#include "tests/fuzz/fuzz.h"

static void check_problems(const struct problem_list *problems)
{
	char why[JSON_WHY_SIZE];
	struct json_doc *doc;
	struct json_writer w;
	struct buf b;

	FUZZ_CHECK(problems->len > 0 && problems->len <= PROBLEM_LIST_MAX && problems->status == E_OK);
	buf_init(&b, 1 << 20);
	json_writer_init(&w, &b);
	json_open_object(&w);
	json_put_name(&w, "errors");
	json_open_array(&w);
	for (size_t i = 0; i < problems->len; i++) {
		FUZZ_CHECK(problems->items[i].message[0] && problem_status(problems->items[i].code) == 400);
		json_put_text(&w, problems->items[i].message);
		json_put_text(&w, problems->items[i].pointer);
	}
	json_close(&w);
	json_close(&w);
	FUZZ_CHECK(buf_status(&b) == E_OK && utf8_is_valid(buf_text(&b), b.len));
	FUZZ_CHECK(json_read(buf_text(&b), b.len, why, &doc) == E_OK);
	json_doc_free(doc);
	buf_release(&b);
}

static void check_sent(const struct csr_spec *spec)
{
	static const char id[] = "01234567-89ab-4cde-8f01-23456789abcd";
	struct message_create_csr out = {.timeout_ms = 1, .spec = *spec}, in;
	struct buf bytes, again;

	memcpy(out.csr_id, id, sizeof(id));
	buf_init(&bytes, 1 << 20);
	buf_init(&again, 1 << 20);
	message_create_csr_encode(&bytes, &out);
	FUZZ_CHECK(buf_status(&bytes) == E_OK);
	FUZZ_CHECK(message_create_csr_decode(bytes.data, bytes.len, &in) == E_OK);
	message_create_csr_encode(&again, &in);
	FUZZ_CHECK(bytes.len == again.len && memcmp(bytes.data, again.data, bytes.len) == 0);
	message_create_csr_release(&in);
	buf_release(&bytes);
	buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct validate_policy policy = {.key_types = KEY_TYPES_ALL, .sans = {.types = ~0u}};
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	const char *reason = NULL;
	enum err e;

	policy.sans.public_names_only = fuzz_byte(&data, &size) & 1;
	e = validate_body((const char *)data, size, &policy, &problems, &csr);
	FUZZ_CHECK(e == E_OK || e == E_INVAL);
	if (e == E_OK) {
		FUZZ_CHECK(problems.len == 0);
		FUZZ_CHECK(csr_check(&csr.spec, &reason) == E_OK);
		check_sent(&csr.spec);
		validate_csr_release(&csr);
	} else {
		check_problems(&problems);
	}
	problem_list_release(&problems);
	return 0;
}
