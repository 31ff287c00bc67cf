/* SPDX-License-Identifier: Apache-2.0 */
/* The token that was served last. */
#include "hsm/signer/token/served.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"

#include <string.h>

#define TEXT_MAX 8192

/* The file holds two lines: serial number and URI. */
enum err served_serial(const struct state_dir *dir, const char *uri, char serial[17])
{
	const char *text, *end;
	struct buf b;
	enum err e;

	buf_init(&b, TEXT_MAX);
	e = state_dir_read(dir, SERVED_NAME, &b);
	if (e != E_OK)
		goto out;
	e = E_NOTFOUND;
	text = buf_text(&b);
	end = strchr(text, '\n');
	if (!end || end - text > 16 || !str_starts_with(end + 1, uri) ||
	    strcmp(end + 1 + strlen(uri), "\n") != 0)
		goto out;
	memcpy(serial, text, (size_t)(end - text));
	serial[end - text] = '\0';
	e = E_OK;
out:
	buf_release(&b);
	return e;
}

bool served_before(const struct state_dir *dir, const char *uri)
{
	char serial[17];

	enum err e = served_serial(dir, uri, serial);

	return e == E_OK || e == E_NOMEM; /* what cannot be read for that may say so */
}

enum err served_check(const struct state_dir *dir, const char *uri, const struct token *token)
{
	char serial[17];
	struct buf b;
	enum err e = served_serial(dir, uri, serial);

	if (e == E_OK && strcmp(serial, token->serial) == 0)
		return E_OK;
	if (e == E_OK) {
		log_error("token '%s' was exchanged: serial '%s' is there, '%s' was served before; refused "
			  "until '%s/%s' is removed",
			  token->label, token->serial, serial, state_dir_path(dir), SERVED_NAME);
		return E_DENIED;
	}
	buf_init(&b, TEXT_MAX);
	buf_printf(&b, "%s\n%s\n", token->serial, uri);
	e = buf_status(&b) != E_OK ? buf_status(&b) : state_dir_write(dir, SERVED_NAME, &b);
	buf_release(&b);
	if (e != E_OK)
		log_err(e, "cannot write '%s/%s'", state_dir_path(dir), SERVED_NAME);
	return e;
}
