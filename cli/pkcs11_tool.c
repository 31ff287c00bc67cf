/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of pkcs11-tool(1), of OpenSC. */
#include "cli/pkcs11_tool.h"

#include "base/str.h"
#include "cli/spawn.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void pkcs11_tool_environment(const struct config_token *token, struct buf *b)
{
	char unit[80];
	const char *const argv[] = {"systemctl", "show", "--value", "--property=Environment", unit, NULL};
	struct buf said;
	int status = 0;

	if (access("/run/systemd/system", F_OK) != 0)
		return;
	snprintf(unit, sizeof(unit), "csrd-hsm@%s.service", token->name);
	buf_init(&said, 4096);
	if (spawn_run(&(struct spawn){.argv = argv, .timeout_ms = 5000}, &said, &status) == E_OK &&
	    status == 0)
		buf_printf(b, "%.*s", (int)strcspn(buf_text(&said), "\n"), buf_text(&said));
	buf_release(&said);
}

/* A word for the shell. */
static void put_word(struct buf *b, const char *word)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:=@%+,";

	if (*word && strspn(word, plain) == strlen(word)) {
		buf_put_str(b, word);
		return;
	}
	buf_put_str(b, "'");
	for (; *word; word++) {
		if (*word == '\'')
			buf_put_str(b, "'\\'");
		buf_put(b, word, 1);
	}
	buf_put_str(b, "'");
}

/* The label of the URI's token attribute; "" when it has none. */
static void find_label(const char *uri, struct buf *b)
{
	const char *at = strstr(uri, "token=");

	/* an attribute of its own, and not the end of another's name */
	if (!at || (at[-1] != ':' && at[-1] != ';'))
		return;
	for (at += strlen("token="); *at && *at != ';' && *at != '?'; at++) {
		uint8_t byte;
		char digits[3] = "";

		memcpy(digits, at + 1, strnlen(at + 1, 2));
		if (*at == '%' && str_unhex(&byte, 1, digits) == E_OK) {
			buf_put(b, &byte, 1);
			at += 2;
		} else {
			buf_put(b, at, 1);
		}
	}
}

void pkcs11_tool_put_delete(const struct config_token *token, const char *environment, const char *label,
			    struct buf *b)
{
	static const char *const types[] = {"privkey", "pubkey"};
	struct buf token_label;

	buf_init(&token_label, 1024);
	find_label(token->uri, &token_label);
	for (size_t i = 0; i < 2; i++) {
		buf_put_str(b, i == 0 ? "" : "\n");
		if (*environment)
			buf_printf(b, "env %s ", environment);
		buf_put_str(b, "pkcs11-tool --module ");
		put_word(b, token->module);
		if (token_label.len > 0) {
			buf_put_str(b, " --token-label ");
			put_word(b, buf_text(&token_label));
		}
		buf_printf(b, " --login --delete-object --type %s --label ", types[i]);
		put_word(b, label);
	}
	buf_release(&token_label);
}
