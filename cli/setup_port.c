/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl setup: systemd holds csrd's port, so that no other user takes it while csrd is away. */
#include "base/str.h"
#include "cli/setup.h"
#include "config/config_table.h"

#include <string.h>

static bool is_unix(const char *address)
{
	return str_starts_with(address, "unix:");
}

/*
 * Others cannot take a path.  An address for other machines needs a drop-in that
 * says which ones, and that only a person knows.
 */
bool setup_port_is_held(const struct setup *s)
{
	const struct config_http *http = &s->cli->config->http;
	bool has_port = false;

	for (size_t i = 0; i < http->listen_len; i++) {
		if (!config_listen_is_local(http->listen[i]))
			return false;
		has_port = has_port || !is_unix(http->listen[i]);
	}
	return has_port;
}

/* csrd.socket as it is packaged has the default of [http] listen. */
static bool is_of_unit(const struct config_http *http)
{
	return http->listen_len == 2 && !strcmp(http->listen[0], "127.0.0.1:8080") &&
	       !strcmp(http->listen[1], "[::1]:8080");
}

static void put_socket(const struct config_http *http, struct buf *b)
{
	bool has_path = false;

	buf_put_str(b, SETUP_DROP_IN_HEAD "[Socket]\nListenStream=\n");
	for (size_t i = 0; i < http->listen_len; i++) {
		const char *address = http->listen[i];

		has_path = has_path || is_unix(address);
		buf_printf(b, "ListenStream=%s\n", is_unix(address) ? address + strlen("unix:") : address);
	}
	if (has_path)
		buf_put_str(b, "SocketUser=csrd\nSocketGroup=csrd\nSocketMode=0660\nRemoveOnStop=yes\n");
}

enum exit_code setup_port_write(struct setup *s)
{
	const struct config_http *http;
	enum exit_code code = cli_open_config(s->cli);
	struct buf text;

	if (code != EXIT_CODE_OK || !setup_port_is_held(s))
		return code;
	http = &s->cli->config->http;
	buf_init(&text, 16384);
	if (!is_of_unit(http))
		put_socket(http, &text);
	code = setup_write_drop_in(s, "csrd.socket", &text, &s->socket_changed);
	buf_release(&text);
	return code;
}

static enum exit_code look_at_socket(bool *ret_active)
{
	static const char *const argv[] = {"systemctl", "--quiet", "is-active", "csrd.socket", NULL};
	enum exit_code code;
	struct buf said;
	int status = 0;

	buf_init(&said, 4096);
	code = setup_run(&(struct spawn){.argv = argv}, &said, &status);
	if (code == EXIT_CODE_OK)
		*ret_active = status == 0;
	buf_release(&said);
	return code;
}

/* systemd can take what csrd has given back. */
static enum exit_code take_port(void)
{
	static const char *const stop[] = {"stop", "csrd.service", NULL};
	static const char *const restart[] = {"restart", "csrd.socket", NULL};
	enum exit_code code = setup_systemctl(stop, NULL);

	if (code != EXIT_CODE_OK)
		return code;
	code = setup_systemctl(restart, NULL);
	if (code != EXIT_CODE_OK)
		cli_note("if another process has an address of [http] listen, ss -ltnp shows which one");
	return code;
}

enum exit_code setup_port_hold(const struct setup *s)
{
	static const char *const enable[] = {"--quiet", "enable", "csrd.socket", NULL};
	bool is_active = false;
	enum exit_code code = look_at_socket(&is_active);

	if (code != EXIT_CODE_OK)
		return code;
	if (!setup_port_is_held(s)) {
		if (is_active)
			cli_note("csrd.socket stays as it is, and csrd listens there: see 'The port' in "
				 "operations.md");
		return EXIT_CODE_OK;
	}
	code = setup_systemctl(enable, NULL);
	if (code == EXIT_CODE_OK && (!is_active || s->socket_changed))
		code = take_port();
	return code;
}
