/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the service manager: what they are for, and whether they may be. */
#include "daemon/inherited.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "config/config_table.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *name; /* FileDescriptorName= */
	const char *key;
} kinds[INHERITED_KINDS] = {
    [INHERITED_HTTP] = {"http", "[http] listen"},
    [INHERITED_HTTPS] = {"https", "[http] listen_tls"},
    [INHERITED_METRICS] = {"metrics", "[metrics] listen"},
};

/* INHERITED_KINDS: none. */
static size_t inherited_find_kind(const char *name)
{
	size_t kind = 0;

	while (kind < INHERITED_KINDS && strcmp(kinds[kind].name, name) != 0)
		kind++;
	return kind;
}

bool inherited_has(enum inherited_kind kind)
{
	const struct service_socket *sockets;
	size_t len = service_sockets(&sockets);

	for (size_t i = 0; i < len; i++)
		if (strcmp(sockets[i].name, kinds[kind].name) == 0)
			return true;
	return false;
}

/* ---- checks ---- */

static enum err inherited_check_socket(const struct service_socket *socket)
{
	int domain;
	enum err e;

	if (inherited_find_kind(socket->name) == INHERITED_KINDS) {
		log_error("the service manager gave a socket named '%s', expected 'http', 'https' or "
			  "'metrics' (FileDescriptorName=)",
			  socket->name);
		return E_CONFIG;
	}
	e = service_socket_prepare(socket, &domain);
	if (e == E_INVAL) {
		log_error("descriptor %d ('%s') of the service manager is %s, expected a stream socket that "
			  "listens (ListenStream=, Accept=no)",
			  socket->fd, socket->name, service_socket_fault(socket));
		return E_CONFIG;
	}
	if (e != E_OK)
		log_error("descriptor %d ('%s') of the service manager cannot be used: %s", socket->fd,
			  socket->name, strerror(errno));
	return e;
}

static enum err inherited_check_use(const struct config_http *http, enum inherited_kind kind,
				    const char *address)
{
	bool is_unix = str_starts_with(address, "unix:");

	if (kind != INHERITED_HTTP && is_unix) {
		log_error("the service manager gave '%s' as '%s', which must be an address with a port; a "
			  "unix socket is for 'http'",
			  address, kinds[kind].name);
		return E_CONFIG;
	}
	if (kind == INHERITED_HTTPS && (!http->tls_certificate || !http->tls_key)) {
		log_error("the service manager gave '%s' for TLS, and there is no certificate: set [http] "
			  "tls_certificate and tls_key",
			  address);
		return E_CONFIG;
	}
	if (kind == INHERITED_HTTP && !http->allow_plain_http && !is_unix &&
	    !config_listen_is_local(address)) {
		log_error("plain HTTP on '%s', a socket of the service manager, can be read by others on the "
			  "way: ListenStream=127.0.0.1:PORT, or say [http] allow_plain_http = yes",
			  address);
		return E_CONFIG;
	}
	return E_OK;
}

enum err inherited_take(const struct config *config, struct inherited_set *ret_set)
{
	const struct service_socket *sockets;
	size_t len = service_sockets(&sockets);
	struct inherited_set set = {0};
	enum err e = E_OK;

	for (size_t i = 0; e == E_OK && i < len; i++) {
		size_t kind = inherited_find_kind(sockets[i].name);
		struct inherited *next;

		e = inherited_check_socket(&sockets[i]);
		if (e != E_OK)
			break;
		next = &set.of[kind][set.len[kind]++];
		next->fd = sockets[i].fd;
		listen_socket_format(next->fd, next->address);
		e = inherited_check_use(&config->http, (enum inherited_kind)kind, next->address);
	}
	if (e == E_OK)
		*ret_set = set;
	return e;
}

/* ---- others than in the file ---- */

static char *const *inherited_find_wanted(const struct config *config, enum inherited_kind kind,
					  size_t *ret_len)
{
	switch (kind) {
	case INHERITED_HTTPS:
		*ret_len = config->http.listen_tls_len;
		return config->http.listen_tls;
	case INHERITED_METRICS:
		*ret_len = config->metrics.listen_len;
		return config->metrics.listen;
	case INHERITED_HTTP:
		break;
	}
	*ret_len = config->http.listen_len;
	return config->http.listen;
}

static void inherited_say_others(const struct config *config, enum inherited_kind kind, const char *has,
				 const char *wants)
{
	if (kind == INHERITED_HTTP)
		log_warn("csrd.socket has '%s', [http] listen says '%s': the former is served; 'csrctl setup "
			 "--token %s' gives csrd.socket what [http] listen says",
			 has, wants, config->tokens[0].name);
	else
		log_warn("sockets named '%s' of the service manager have '%s', %s says '%s': the former are "
			 "served",
			 kinds[kind].name, has, kinds[kind].key, wants);
}

void inherited_warn_of_others(const struct config *config, const struct inherited_set *set,
			      enum inherited_kind kind)
{
	const struct inherited *real = set->of[kind];
	size_t len = set->len[kind], wanted_len;
	char *const *wanted = inherited_find_wanted(config, kind, &wanted_len);
	bool differ = false;
	struct buf has, wants;

	if (len == 0 || wanted_len == 0)
		return;
	buf_init(&has, SERVICE_SOCKETS_MAX * (LISTEN_ADDRESS_SIZE + 2));
	buf_init(&wants, CONFIG_LISTEN_MAX * (LISTEN_ADDRESS_SIZE + 2));
	for (size_t i = 0; i < len; i++) {
		bool is_wanted = false;

		for (size_t w = 0; w < wanted_len; w++)
			is_wanted = is_wanted || listen_socket_is_at(real[i].address, wanted[w]);
		differ = differ || !is_wanted;
		buf_printf(&has, "%s%s", i > 0 ? ", " : "", real[i].address);
	}
	for (size_t w = 0; w < wanted_len; w++) {
		bool is_there = listen_socket_is_absent(wanted[w]);

		for (size_t i = 0; i < len; i++)
			is_there = is_there || listen_socket_is_at(real[i].address, wanted[w]);
		differ = differ || !is_there;
		buf_printf(&wants, "%s%s", w > 0 ? ", " : "", wanted[w]);
	}
	if (differ)
		inherited_say_others(config, kind, buf_text(&has), buf_text(&wants));
	buf_release(&has);
	buf_release(&wants);
}
