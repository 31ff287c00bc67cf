/* SPDX-License-Identifier: Apache-2.0 */
/* One SSL_CTX at a time, over bufferevent_openssl; the files that it is made of. */
#include "daemon/tls.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/tls_client.h"
#include "daemon/tls_ticket.h"
#include "loop/timer.h"
#include "tls/tls_clients.h"
#include "tls/tls_identity.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TLS_LOOK_MS 3000
#define TLS_WARN_MS (24 * 3600 * 1000ull)
#define TLS_WHY_BYTES 8192
#define TLS_LOG_MS 5000
/* A CRL is warned of in the last quarter of its life, and in the last day at most. */
#define TLS_CRL_WARN_S (24 * 3600)

enum tls_file { TLS_FILE_CERTIFICATE, TLS_FILE_KEY, TLS_FILE_CLIENT_CA, TLS_FILE_CLIENT_CRL, TLS_FILES };

/* What changes when a file is replaced or written, or becomes readable. */
struct tls_stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed; /* also its owner and mode */
};

struct tls {
	struct event_base *base;
	SSL_CTX *context;
	struct tls_tickets *tickets;
	enum config_client_certificate asks;
	struct tls_clients *clients;      /* those in use; NULL: no certificates are asked for */
	unsigned generation;              /* of the context and the clients: how often they were replaced */
	char *paths[TLS_FILES];           /* NULL: there is none of these */
	struct tls_stamp read[TLS_FILES]; /* of the files when they were last read */
	struct tls_stamp seen[TLS_FILES]; /* at the last look */
	bool crl_has_ended;               /* and was said to */
	bool crl_is_ending;               /* the same */
	struct timer look;
	uint64_t warned_ms_ago;
	bool is_refused; /* the files that were read last are not in use */
	uint64_t handshakes[TLS_OUTCOMES];
};

/* ---- the context ---- */

/* RFC 7301: http/1.1, or no ALPN at all. */
static int tls_on_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len,
		       const unsigned char *offered, unsigned offered_len, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *found;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&found, ret_len, ours, sizeof(ours) - 1, offered, offered_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret_name = found;
	return SSL_TLSEXT_ERR_OK;
}

static void tls_set_rules(SSL_CTX *context)
{
	/* HTTP tells where each message ends, so a peer that leaves without close_notify cuts nothing short
	 * unseen. */
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	/*
	 * Without partial writes a large answer would count as progress only when all of it is sent.
	 * bufferevent_openssl bears them because it offers 15,000 bytes or one piece at a time, less than
	 * one record or nothing behind it.
	 */
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	/*
	 * A client may send nothing but KeyUpdate or ClientHello for as long as it likes.  With this mode
	 * one SSL_read would take them in until there are no more, and nobody else had a turn.
	 */
	SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_alpn_select_cb(context, tls_on_alpn, NULL);
}

static enum err tls_make_context(struct tls *tls, const struct tls_identity *identity,
				 const struct tls_clients *clients, struct buf *why, SSL_CTX **ret_context)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	enum err e = E_NOMEM;

	if (!context)
		return E_NOMEM;
	tls_set_rules(context);
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
	    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
	    SSL_CTX_set_num_tickets(context, 1) == 1)
		e = tls_tickets_use(tls->tickets, context);
	if (e == E_OK && clients)
		e = tls_client_ask(context, clients, tls->asks == CONFIG_CLIENT_REQUIRED);
	if (e == E_OK && SSL_CTX_use_cert_and_key(context, identity->certificate, identity->key,
						  identity->issuers, 1) != 1) {
		const char *reason = ERR_reason_error_string(ERR_peek_last_error());

		buf_printf(why, "[http] tls_certificate '%s': OpenSSL does not accept it: %s",
			   tls->paths[TLS_FILE_CERTIFICATE], reason ? reason : "unknown error");
		ERR_clear_error();
		e = E_CONFIG;
	}
	if (e == E_OK)
		*ret_context = context;
	else
		SSL_CTX_free(context);
	return e;
}

/* ---- the files ---- */

static void tls_stamp_file(const char *path, struct tls_stamp *ret_stamp)
{
	struct tls_stamp stamp;
	struct stat st;

	memset(&stamp, 0, sizeof(stamp)); /* padding is compared too */
	if (path && stat(path, &st) == 0) {
		stamp.device = st.st_dev;
		stamp.inode = st.st_ino;
		stamp.size = st.st_size;
		stamp.changed = st.st_ctim;
	}
	*ret_stamp = stamp;
}

static void tls_stamp_files(const struct tls *tls, struct tls_stamp stamps[TLS_FILES])
{
	for (size_t i = 0; i < TLS_FILES; i++)
		tls_stamp_file(tls->paths[i], &stamps[i]);
}

static bool tls_is_same(const struct tls_stamp a[TLS_FILES], const struct tls_stamp b[TLS_FILES])
{
	return memcmp(a, b, TLS_FILES * sizeof(a[0])) == 0;
}

static bool tls_crl_has_ended(const struct tls *tls)
{
	return tls->clients && tls->clients->crl_name &&
	       (uint64_t)clock_wall_us() / 1000000 >= tls->clients->crl_end_s;
}

/* In the last quarter of its life, or of its last days. */
static bool tls_crl_is_ending(const struct tls *tls)
{
	const struct tls_clients *clients = tls->clients;
	uint64_t now_s = (uint64_t)clock_wall_us() / 1000000;

	return clients && clients->crl_name && clients->crl_end_s != UINT64_MAX &&
	       now_s < clients->crl_end_s && clients->crl_end_s - now_s < TLS_CRL_WARN_S &&
	       clients->crl_end_s - now_s < (clients->crl_end_s - clients->crl_begin_s) / 4;
}

static void tls_warn_of_clients(struct tls *tls)
{
	const struct tls_clients *clients = tls->clients;
	int64_t now_s = clock_wall_us() / 1000000;
	int64_t ca_days = ((int64_t)clients->ca_end_s - now_s) / (24 * 3600);

	if ((int64_t)clients->ca_end_s <= now_s)
		log_error("the client CA '%s' has expired: its certificates are refused", clients->ca_name);
	else if (ca_days < TLS_IDENTITY_WARN_DAYS)
		log_warn("the client CA '%s' expires in %d days", clients->ca_name, (int)ca_days);
	tls->crl_has_ended = tls_crl_has_ended(tls);
	tls->crl_is_ending = tls_crl_is_ending(tls);
	if (tls->crl_has_ended)
		log_error("the CRL of '%s' has expired: all its certificates are refused until "
			  "tls_client_crl has a new one",
			  clients->crl_name);
	else if (tls->crl_is_ending)
		log_warn("the CRL of '%s' expires in %llu minutes, and then all its certificates are refused",
			 clients->crl_name, (unsigned long long)(clients->crl_end_s - (uint64_t)now_s) / 60);
}

static void tls_warn_of_end(struct tls *tls)
{
	int days = tls_identity_days_left(SSL_CTX_get0_certificate(tls->context));

	tls->warned_ms_ago = 0;
	if (tls->clients)
		tls_warn_of_clients(tls);
	if (days < 0)
		log_error("TLS certificate '%s' has expired: clients refuse it",
			  tls->paths[TLS_FILE_CERTIFICATE]);
	else if (days < TLS_IDENTITY_WARN_DAYS)
		log_warn("TLS certificate '%s' expires in %d days", tls->paths[TLS_FILE_CERTIFICATE], days);
}

static void tls_log_certificate(struct tls *tls, const struct tls_identity *identity)
{
	BIO *text = BIO_new(BIO_s_mem());
	char *bytes = NULL;
	long len;

	if (text && ASN1_TIME_print(text, X509_get0_notAfter(identity->certificate)) == 1 &&
	    (len = BIO_get_mem_data(text, &bytes)) > 0)
		log_notice("TLS certificate '%s' is in use, valid until %.*s",
			   tls->paths[TLS_FILE_CERTIFICATE], (int)len, bytes);
	BIO_free(text);
	tls_warn_of_end(tls);
}

/* On failure all is as before. */
static enum err tls_read_files(struct tls *tls, struct buf *why)
{
	struct tls_identity *identity = NULL;
	struct tls_clients *clients = NULL;
	SSL_CTX *context = NULL;
	enum err e;

	tls_stamp_files(tls, tls->read);
	memcpy(tls->seen, tls->read, sizeof(tls->seen));
	e = tls_identity_load(tls->paths[TLS_FILE_CERTIFICATE], tls->paths[TLS_FILE_KEY], why, &identity);
	if (e == E_OK && tls->asks != CONFIG_CLIENT_NONE)
		e = tls_clients_load(tls->paths[TLS_FILE_CLIENT_CA], tls->paths[TLS_FILE_CLIENT_CRL], why,
				     &clients);
	if (e == E_OK)
		e = tls_make_context(tls, identity, clients, why, &context);
	if (e == E_OK) {
		SSL_CTX_free(tls->context);
		tls->context = context;
		tls_clients_free(tls->clients);
		tls->clients = clients;
		clients = NULL;
		tls->generation++;
		tls_log_certificate(tls, identity);
	}
	tls_clients_free(clients);
	tls->is_refused = e != E_OK;
	tls_identity_free(identity);
	return e;
}

void tls_reload(struct tls *tls)
{
	struct buf why;
	enum err e;

	buf_init(&why, TLS_WHY_BYTES);
	e = tls_tickets_forget(tls->tickets);
	if (e == E_OK)
		e = tls_read_files(tls, &why);
	if (e != E_OK)
		log_error("the TLS certificate was not reloaded, the one before stays in use: %s",
			  why.len > 0 ? buf_text(&why) : err_str(e));
	buf_release(&why);
}

/* A renewal writes two files: they are read when both have stood still from one look to the next. */
static void tls_on_look(void *arg)
{
	struct tls *tls = arg;
	struct tls_stamp now[TLS_FILES];

	timer_start(&tls->look, TLS_LOOK_MS);
	tls_stamp_files(tls, now);
	if (!tls_is_same(now, tls->read) && tls_is_same(now, tls->seen))
		tls_reload(tls);
	memcpy(tls->seen, now, sizeof(tls->seen));
	tls->warned_ms_ago += TLS_LOOK_MS;
	if (tls->warned_ms_ago < TLS_WARN_MS && (tls->crl_has_ended || !tls_crl_has_ended(tls)) &&
	    (tls->crl_is_ending || !tls_crl_is_ending(tls)))
		return;
	tls_warn_of_end(tls);
	if (tls->is_refused) /* for want of memory or descriptors, perhaps; if not, it is said again */
		tls_reload(tls);
}

static enum err tls_find_files(struct tls *tls, const struct config_http *config, struct buf *why)
{
	const struct {
		const char *key;
		const char *value;
	} files[TLS_FILES] = {
	    [TLS_FILE_CERTIFICATE] = {"tls_certificate", config->tls_certificate},
	    [TLS_FILE_KEY] = {"tls_key", config->tls_key},
	    [TLS_FILE_CLIENT_CA] = {"tls_client_ca", config->tls_client_ca},
	    [TLS_FILE_CLIENT_CRL] = {"tls_client_crl", config->tls_client_crl},
	};
	char path[CONFIG_PATH_SIZE];
	enum err e = E_OK;

	for (size_t i = 0; e == E_OK && i < TLS_FILES; i++) {
		if (!files[i].value)
			continue;
		e = config_credential_path(files[i].key, files[i].value, path, why);
		if (e == E_OK && !str_dup_opt(path, &tls->paths[i]))
			e = E_NOMEM;
	}
	return e;
}

enum err tls_new(struct event_base *base, const struct config_http *config, struct tls **ret_tls)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	struct buf why;
	enum err e;

	if (!tls)
		return E_NOMEM;
	buf_init(&why, TLS_WHY_BYTES);
	tls->base = base;
	tls->asks = config->tls_client_certificate;
	timer_init(&tls->look, base, tls_on_look, tls);
	e = tls_find_files(tls, config, &why);
	if (e == E_OK)
		e = tls_tickets_new(&tls->tickets);
	if (e == E_OK)
		e = tls_read_files(tls, &why);
	if (e == E_OK) {
		timer_start(&tls->look, TLS_LOOK_MS);
		*ret_tls = tls;
	} else {
		log_error("cannot serve TLS: %s", why.len > 0 ? buf_text(&why) : err_str(e));
		tls_free(tls);
	}
	buf_release(&why);
	return e;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	timer_stop(&tls->look);
	SSL_CTX_free(tls->context);
	tls_clients_free(tls->clients);
	tls_tickets_free(tls->tickets);
	for (size_t i = 0; i < TLS_FILES; i++)
		free(tls->paths[i]);
	free(tls);
}

/* ---- connections ---- */

struct bufferevent *tls_accept(struct tls *tls, int fd)
{
	SSL *ssl = SSL_new(tls->context);

	/* On failure it frees the SSL, and never the socket, which is no part of the bufferevent yet. */
	return !ssl ? NULL
		    : bufferevent_openssl_socket_new(tls->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
						     BEV_OPT_CLOSE_ON_FREE);
}

/* The reason that OpenSSL gave, of which bufferevent_openssl tells once; 0: none. */
static const char *tls_failure_reason(unsigned long error)
{
	const char *reason = ERR_reason_error_string(error);

	return reason ? reason : "the client closed the connection";
}

/* Peers can cause this fast: what is held back has the level of debug. */
static void tls_log_refusal(const char *who, const char *why)
{
	static struct log_gate gate;
	unsigned held_back = 0;
	bool is_first = log_gate_pass(&gate, TLS_LOG_MS, &held_back);

	log_write(is_first ? LOG_LEVEL_NOTICE : LOG_LEVEL_DEBUG, NULL,
		  "client certificate of '%s' refused: %s (%u lines held back)", who, why, held_back);
}

bool tls_log_failure(struct tls *tls, struct bufferevent *bev, const char *who)
{
	static struct log_gate gate; /* peers can cause this fast */
	unsigned long error = bufferevent_get_openssl_error(bev);
	const char *refusal =
	    tls->clients ? tls_client_refusal(bufferevent_openssl_get_ssl(bev), ERR_GET_REASON(error)) : NULL;
	unsigned held_back;

	tls->handshakes[refusal ? TLS_REFUSED : TLS_FAILED]++;
	if (refusal)
		tls_log_refusal(who, refusal);
	else if (log_gate_pass(&gate, TLS_LOG_MS, &held_back))
		log_info("TLS handshake with '%s' failed: %s (%u lines held back)", who,
			 tls_failure_reason(error), held_back);
	return refusal != NULL;
}

void tls_log_timeout(struct tls *tls, const char *who)
{
	static struct log_gate gate;
	unsigned held_back;

	tls->handshakes[TLS_TIMED_OUT]++;
	if (log_gate_pass(&gate, TLS_LOG_MS, &held_back))
		log_info("TLS handshake with '%s' failed: it took too long (%u lines held back)", who,
			 held_back);
}

enum err tls_peer(struct tls *tls, struct bufferevent *bev, struct peer **ret_peer)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	bool is_current = SSL_get_SSL_CTX(ssl) == tls->context;
	struct peer *peer = NULL;
	enum err e = E_OK;

	if (tls->clients)
		e = tls_client_peer(ssl, is_current ? tls->generation : tls->generation - 1, &peer);
	if (e == E_NOMEM)
		return e;
	*ret_peer = peer;
	return E_OK;
}

bool tls_peer_is_good(struct tls *tls, struct bufferevent *bev, const char *who)
{
	struct buf why;
	bool is_good;

	if (!tls->clients)
		return true;
	buf_init(&why, TLS_WHY_BYTES);
	buf_put_str(&why, "not good any more, its connection is closed: ");
	is_good = tls_client_is_good(bufferevent_openssl_get_ssl(bev), tls->clients, tls->generation, &why);
	if (!is_good)
		tls_log_refusal(who, buf_text(&why));
	buf_release(&why);
	return is_good;
}

void tls_succeeded(struct tls *tls, struct bufferevent *bev)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	bool is_1_3 = SSL_version(ssl) == TLS1_3_VERSION;

	if (SSL_session_reused(ssl))
		tls->handshakes[is_1_3 ? TLS_RESUMED_1_3 : TLS_RESUMED_1_2]++;
	else
		tls->handshakes[is_1_3 ? TLS_FULL_1_3 : TLS_FULL_1_2]++;
}

void tls_figures(const struct tls *tls, struct tls_figures *ret_figures)
{
	memcpy(ret_figures->handshakes, tls->handshakes, sizeof(tls->handshakes));
	ret_figures->certificate_end_s = tls_identity_end_s(SSL_CTX_get0_certificate(tls->context));
	ret_figures->client_ca_end_s = tls->clients ? tls->clients->ca_end_s : 0;
	ret_figures->client_crl_end_s =
	    tls->clients && tls->clients->crl_name && tls->clients->crl_end_s != UINT64_MAX
		? tls->clients->crl_end_s
		: 0;
}

void tls_say_end(struct bufferevent *bev)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);

	if (!ssl || SSL_in_init(ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(ssl);
	ERR_clear_error();
}
