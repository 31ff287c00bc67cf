/* SPDX-License-Identifier: Apache-2.0 */
/* Client certificates: asked for, judged, named, and judged again. */
#include "daemon/tls_client.h"

#include "base/clock.h"
#include "tls/tls_clients.h"
#include "tls/tls_name.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_AGAIN_MS (60 * 1000ull)
#define CLIENT_WHY_BYTES 2048

/* What is kept with an SSL that had a certificate to judge. */
struct tls_client {
	char *refusal; /* NULL: it was good */
	uint64_t judged_ms;
	unsigned generation;
};

static void tls_client_free(void *parent, void *client, CRYPTO_EX_DATA *data, int index, long argl,
			    void *argp)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (client)
		free(((struct tls_client *)client)->refusal);
	free(client);
}

static int tls_client_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, tls_client_free);
	return index;
}

/* NULL when out of memory. */
static struct tls_client *tls_client_of(SSL *ssl)
{
	struct tls_client *client = SSL_get_ex_data(ssl, tls_client_index());

	if (client)
		return client;
	client = calloc(1, sizeof(*client));
	if (client && SSL_set_ex_data(ssl, tls_client_index(), client) != 1) {
		free(client);
		client = NULL;
	}
	return client;
}

/* What is wrong, and with whose certificate. */
static void tls_client_put_refusal(struct buf *b, X509_STORE_CTX *context)
{
	const X509 *leaf = X509_STORE_CTX_get0_cert(context);
	const X509 *at = X509_STORE_CTX_get_current_cert(context);

	buf_put_str(b, X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	if (at && leaf && X509_cmp(at, leaf) != 0) {
		buf_put_str(b, " (the CA '");
		tls_name_put(b, X509_get_subject_name(at));
		buf_put_str(b, "')");
	}
	buf_put_str(b, ": ");
	if (leaf)
		tls_name_describe(leaf, b);
}

static int tls_client_on_verify(int ok, X509_STORE_CTX *context)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_client *client;
	struct buf why;

	ok = tls_clients_on_verify(ok, context);
	client = ok || !ssl ? NULL : tls_client_of(ssl);
	if (!client)
		return ok;
	buf_init(&why, CLIENT_WHY_BYTES);
	tls_client_put_refusal(&why, context);
	free(client->refusal);
	client->refusal = strdup(buf_text(&why));
	buf_release(&why);
	return ok;
}

enum err tls_client_ask(SSL_CTX *context, const struct tls_clients *clients, bool is_required)
{
	STACK_OF(X509_NAME) *names = SSL_dup_CA_list(clients->names);
	int mode = SSL_VERIFY_PEER | (is_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

	if (!names || tls_client_index() < 0 ||
	    SSL_CTX_set1_verify_cert_store(context, clients->store) != 1 ||
	    SSL_CTX_set_num_tickets(context, 0) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return E_NOMEM;
	}
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, mode, tls_client_on_verify);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	return E_OK;
}

const char *tls_client_refusal(const SSL *ssl, int reason)
{
	const struct tls_client *client = SSL_get_ex_data(ssl, tls_client_index());

	if (client && client->refusal)
		return client->refusal;
	return reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE
		   ? "it has none, and [http] tls_client_certificate is required"
		   : NULL;
}

static void tls_client_note_good(SSL *ssl, unsigned generation)
{
	struct tls_client *client = tls_client_of(ssl);

	if (!client)
		return;
	client->judged_ms = clock_ms();
	client->generation = generation;
}

enum err tls_client_peer(SSL *ssl, unsigned generation, struct peer **ret_peer)
{
	const X509 *certificate = SSL_get0_peer_certificate(ssl);

	if (!certificate)
		return E_NOTFOUND;
	tls_client_note_good(ssl, generation);
	return tls_name_certificate(certificate, ret_peer);
}

/* As the handshake does it, over the CAs and CRLs of now. */
static bool tls_client_judge(const SSL *ssl, const struct tls_clients *clients, struct buf *why)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	bool is_good = false;

	if (context &&
	    X509_STORE_CTX_init(context, clients->store, SSL_get0_peer_certificate(ssl),
				SSL_get_peer_cert_chain(ssl)) == 1 &&
	    X509_STORE_CTX_set_default(context, "ssl_client") == 1) {
		X509_STORE_CTX_set_verify_cb(context, tls_clients_on_verify);
		is_good = X509_verify_cert(context) == 1;
		if (!is_good)
			tls_client_put_refusal(why, context);
	} else {
		buf_put_str(why, "out of memory");
	}
	X509_STORE_CTX_free(context);
	ERR_clear_error();
	return is_good;
}

bool tls_client_is_good(SSL *ssl, const struct tls_clients *clients, unsigned generation, struct buf *why)
{
	const struct tls_client *client = SSL_get_ex_data(ssl, tls_client_index());

	if (!SSL_get0_peer_certificate(ssl))
		return true;
	if (client && client->generation == generation && clock_ms() - client->judged_ms < CLIENT_AGAIN_MS)
		return true;
	if (!tls_client_judge(ssl, clients, why))
		return false;
	tls_client_note_good(ssl, generation);
	return true;
}
