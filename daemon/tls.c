/* SPDX-License-Identifier: Apache-2.0 */
/* One SSL_CTX at a time, over bufferevent_openssl. */
#include "daemon/tls.h"

#include "base/buf.h"
#include "base/log.h"
#include "daemon/tls_ticket.h"
#include "loop/timer.h"
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
	char certificate_path[CONFIG_PATH_SIZE];
	char key_path[CONFIG_PATH_SIZE];
	struct tls_stamp read[2]; /* of the files when they were last read */
	struct tls_stamp seen[2]; /* at the last look */
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

static enum err tls_make_context(struct tls *tls, const struct tls_identity *identity, struct buf *why,
				 SSL_CTX **ret_context)
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
	if (e == E_OK && SSL_CTX_use_cert_and_key(context, identity->certificate, identity->key,
						  identity->issuers, 1) != 1) {
		const char *reason = ERR_reason_error_string(ERR_peek_last_error());

		buf_printf(why, "[http] tls_certificate '%s': OpenSSL does not accept it: %s",
			   tls->certificate_path, reason ? reason : "unknown error");
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
	if (stat(path, &st) == 0) {
		stamp.device = st.st_dev;
		stamp.inode = st.st_ino;
		stamp.size = st.st_size;
		stamp.changed = st.st_ctim;
	}
	*ret_stamp = stamp;
}

static void tls_stamp_files(const struct tls *tls, struct tls_stamp stamps[2])
{
	tls_stamp_file(tls->certificate_path, &stamps[0]);
	tls_stamp_file(tls->key_path, &stamps[1]);
}

static bool tls_is_same(const struct tls_stamp a[2], const struct tls_stamp b[2])
{
	return memcmp(a, b, 2 * sizeof(a[0])) == 0;
}

static void tls_warn_of_end(struct tls *tls)
{
	int days = tls_identity_days_left(SSL_CTX_get0_certificate(tls->context));

	tls->warned_ms_ago = 0;
	if (days < 0)
		log_error("TLS certificate '%s' has expired: clients refuse it", tls->certificate_path);
	else if (days < TLS_IDENTITY_WARN_DAYS)
		log_warn("TLS certificate '%s' expires in %d days", tls->certificate_path, days);
}

static void tls_log_certificate(struct tls *tls, const struct tls_identity *identity)
{
	BIO *text = BIO_new(BIO_s_mem());
	char *bytes = NULL;
	long len;

	if (text && ASN1_TIME_print(text, X509_get0_notAfter(identity->certificate)) == 1 &&
	    (len = BIO_get_mem_data(text, &bytes)) > 0)
		log_notice("TLS certificate '%s' is in use, valid until %.*s", tls->certificate_path,
			   (int)len, bytes);
	BIO_free(text);
	tls_warn_of_end(tls);
}

/* On failure all is as before. */
static enum err tls_read_files(struct tls *tls, struct buf *why)
{
	struct tls_identity *identity = NULL;
	SSL_CTX *context = NULL;
	enum err e;

	tls_stamp_files(tls, tls->read);
	memcpy(tls->seen, tls->read, sizeof(tls->seen));
	e = tls_identity_load(tls->certificate_path, tls->key_path, why, &identity);
	if (e == E_OK)
		e = tls_make_context(tls, identity, why, &context);
	if (e == E_OK) {
		SSL_CTX_free(tls->context);
		tls->context = context;
		tls_log_certificate(tls, identity);
	}
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
	struct tls_stamp now[2];

	timer_start(&tls->look, TLS_LOOK_MS);
	tls_stamp_files(tls, now);
	if (!tls_is_same(now, tls->read) && tls_is_same(now, tls->seen))
		tls_reload(tls);
	memcpy(tls->seen, now, sizeof(tls->seen));
	tls->warned_ms_ago += TLS_LOOK_MS;
	if (tls->warned_ms_ago < TLS_WARN_MS)
		return;
	tls_warn_of_end(tls);
	if (tls->is_refused) /* for want of memory or descriptors, perhaps; if not, it is said again */
		tls_reload(tls);
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
	timer_init(&tls->look, base, tls_on_look, tls);
	e = config_credential_path("tls_certificate", config->tls_certificate, tls->certificate_path, &why);
	if (e == E_OK)
		e = config_credential_path("tls_key", config->tls_key, tls->key_path, &why);
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
	tls_tickets_free(tls->tickets);
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

const char *tls_failure(struct bufferevent *bev)
{
	const char *reason = ERR_reason_error_string(bufferevent_get_openssl_error(bev));

	return reason ? reason : "the client closed the connection";
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

void tls_failed(struct tls *tls, enum tls_outcome outcome)
{
	tls->handshakes[outcome]++;
}

void tls_figures(const struct tls *tls, struct tls_figures *ret_figures)
{
	memcpy(ret_figures->handshakes, tls->handshakes, sizeof(tls->handshakes));
	ret_figures->certificate_end_s = tls_identity_end_s(SSL_CTX_get0_certificate(tls->context));
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
