/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F41.  What callers sent, in the log and in JSON (the audit trail's and answers'): one line of UTF-8 without
 * control characters; the JSON is read back as the same text, if it was UTF-8; and no password of a URL is
 * shown.
 */
#include "api/json.h"
#include "base/log.h"
#include "base/url.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz.h"

static void check_line(const char *text, size_t len)
{
	FUZZ_CHECK(utf8_is_valid(text, len));
	for (size_t i = 0; i < len; i++)
		FUZZ_CHECK((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

static bool on_event(const struct log_event *event)
{
	check_line(event->message, strlen(event->message));
	FUZZ_CHECK(strlen(event->message) <= LOG_MESSAGE_MAX_BYTES);
	return true;
}

static void check_json(const char *text)
{
	char why[JSON_WHY_SIZE];
	struct json_doc *doc;
	struct json_writer w;
	const char *back;
	struct buf b;

	buf_init(&b, 1 << 20);
	json_writer_init(&w, &b);
	json_open_object(&w);
	json_put_text_member(&w, "text", text);
	json_close(&w);
	if (buf_status(&b) == E_OK) {
		check_line(buf_text(&b), b.len);
		FUZZ_CHECK(json_read(buf_text(&b), b.len, why, &doc) == E_OK);
		back = json_text(json_member(json_root(doc), "text"));
		FUZZ_CHECK(back && (!utf8_is_valid(text, strlen(text)) || strcmp(back, text) == 0));
		json_doc_free(doc);
	}
	buf_release(&b);
}

/* With the text, of one line, in the midst of a password.  A '@' in front of a blank may be the host's. */
static void check_url(char *password)
{
	for (char *c = password; *c; c++)
		if (*c == '\n')
			*c = ' ';
	if (strchr(password, 0x40) && strcspn(password, "@") < strcspn(password, " \t\r") &&
	    strpbrk(password, " \t\r"))
		return;
	struct buf url, masked;

	buf_init(&url, 1 << 20);
	buf_init(&masked, 1 << 20);
	buf_printf(&url, "db://NAME:Pa55%sw0rD@host/base", password);
	url_put_masked(&masked, buf_text(&url));
	FUZZ_CHECK(!strstr(buf_text(&masked), "Pa55"));
	FUZZ_CHECK(!strstr(buf_text(&masked), "w0rD"));
	buf_release(&url);
	buf_release(&masked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct log_context context = {.request_id = "r", .csr_id = "c"};
	char *text = fuzz_text(data, size);

	log_set_sink(on_event);
	log_write(LOG_LEVEL_ERROR, &context, "'%s'", text);
	log_err(E_INVAL, "%s", text);
	check_json(text);
	check_url(text);
	free(text);
	return 0;
}
