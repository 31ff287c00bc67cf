/* SPDX-License-Identifier: Apache-2.0 */
/* PEM to anchors and CRLs. */
#include "tls/tls_clients.h"

#include "tls/tls_name.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENTS_NAME_BYTES 1024

static enum err clients_refuse(struct buf *why, const char *key, const char *path, const char *text)
{
	buf_printf(why, "[http] %s '%s': %s", key, path, text);
	ERR_clear_error();
	return E_CONFIG;
}

/* The same about one CA or CRL of the file. */
static enum err clients_refuse_name(struct buf *why, const char *key, const char *path, const X509_NAME *name,
				    const char *text)
{
	buf_printf(why, "[http] %s '%s': '", key, path);
	tls_name_put(why, name);
	buf_printf(why, "' %s", text);
	ERR_clear_error();
	return E_CONFIG;
}

/* In place of OpenSSL's own, which would ask on the terminal. */
static int clients_no_passphrase(char *to, int size, int writes, void *arg)
{
	(void)to;
	(void)size;
	(void)writes;
	(void)arg;
	return -1;
}

static enum err clients_read(const char *key, const char *path, struct buf *why,
			     STACK_OF(X509_INFO) * *ret_items)
{
	BIO *file = BIO_new_file(path, "r");
	STACK_OF(X509_INFO) * items;

	if (!file) {
		buf_printf(why, "[http] %s '%s': cannot open: %s; it must be readable by csrd's user", key,
			   path, strerror(errno));
		ERR_clear_error();
		return E_CONFIG;
	}
	items = PEM_X509_INFO_read_bio(file, NULL, clients_no_passphrase, NULL);
	BIO_free(file);
	if (!items)
		return clients_refuse(why, key, path, "is damaged; PEM is accepted");
	ERR_clear_error();
	*ret_items = items;
	return E_OK;
}

static void clients_free_items(STACK_OF(X509_INFO) * items)
{
	sk_X509_INFO_pop_free(items, X509_INFO_free);
}

/* 0 for a time before 1970. */
static uint64_t clients_seconds(const ASN1_TIME *time)
{
	struct tm parts = {0};
	time_t seconds = 0;

	if (ASN1_TIME_to_tm(time, &parts) == 1)
		seconds = timegm(&parts);
	return seconds > 0 ? (uint64_t)seconds : 0;
}

static enum err clients_keep_name(char **name, const X509_NAME *of)
{
	struct buf text;

	buf_init(&text, CLIENTS_NAME_BYTES);
	tls_name_put(&text, of);
	free(*name);
	*name = strdup(buf_text(&text));
	buf_release(&text);
	return *name ? E_OK : E_NOMEM;
}

/* ---- CAs ---- */

static enum err clients_take_ca(struct tls_clients *clients, X509 *ca)
{
	uint64_t end_s = clients_seconds(X509_get0_notAfter(ca));
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(ca));

	if (!name || !sk_X509_NAME_push(clients->names, name)) {
		X509_NAME_free(name);
		return E_NOMEM;
	}
	if (X509_STORE_add_cert(clients->store, ca) != 1)
		return E_NOMEM;
	if (clients->ca_name && end_s >= clients->ca_end_s)
		return E_OK;
	clients->ca_end_s = end_s;
	return clients_keep_name(&clients->ca_name, X509_get_subject_name(ca));
}

static enum err clients_take_cas(struct tls_clients *clients, STACK_OF(X509_INFO) * items, const char *path,
				 struct buf *why)
{
	enum err e = E_OK;

	for (int i = 0; e == E_OK && i < sk_X509_INFO_num(items); i++) {
		X509 *ca = sk_X509_INFO_value(items, i)->x509;

		if (ca && X509_check_ca(ca) == 0)
			e = clients_refuse_name(
			    why, "tls_client_ca", path, X509_get_subject_name(ca),
			    "is not the certificate of a CA; put those of the CAs there that issue "
			    "certificates to clients");
		else if (ca)
			e = clients_take_ca(clients, ca);
	}
	if (e == E_OK && !clients->ca_name)
		e = clients_refuse(why, "tls_client_ca", path,
				   "holds no certificate; PEM is accepted: the certificates of the CAs that "
				   "issue certificates to clients");
	return e;
}

/* ---- CRLs ---- */

/* Which CA of the file signed the CRL; NULL: none. */
static X509 *clients_find_signer(STACK_OF(X509_INFO) * cas, X509_CRL *crl)
{
	X509 *signer = NULL;

	for (int i = 0; !signer && i < sk_X509_INFO_num(cas); i++) {
		X509 *ca = sk_X509_INFO_value(cas, i)->x509;

		if (ca && X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(crl)) == 0 &&
		    X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1)
			signer = ca;
	}
	ERR_clear_error();
	return signer;
}

static bool clients_has_name(STACK_OF(X509_INFO) * cas, const X509_NAME *name)
{
	for (int i = 0; i < sk_X509_INFO_num(cas); i++) {
		const X509 *ca = sk_X509_INFO_value(cas, i)->x509;

		if (ca && X509_NAME_cmp(X509_get_subject_name(ca), name) == 0)
			return true;
	}
	return false;
}

static bool clients_tells_its_key(X509_CRL *crl)
{
	return X509_CRL_get_ext_by_NID(crl, NID_authority_key_identifier, -1) >= 0;
}

/* What another CRL of the file is to this one. */
enum clients_rival {
	CLIENTS_NO_RIVAL,
	CLIENTS_NEWER,    /* of the same CA: this one says nothing any more */
	CLIENTS_NAMESAKE, /* of another key of the same name, and OpenSSL cannot tell the two apart */
};

/* By date, and on the same second by number (RFC 5280 §5.2.3). */
static bool clients_is_newer(X509_CRL *a, X509_CRL *b)
{
	int order = ASN1_TIME_compare(X509_CRL_get0_lastUpdate(a), X509_CRL_get0_lastUpdate(b));
	ASN1_INTEGER *of_a = X509_CRL_get_ext_d2i(a, NID_crl_number, NULL, NULL);
	ASN1_INTEGER *of_b = X509_CRL_get_ext_d2i(b, NID_crl_number, NULL, NULL);

	if (order == 0 && of_a && of_b)
		order = ASN1_INTEGER_cmp(of_a, of_b);
	ASN1_INTEGER_free(of_a);
	ASN1_INTEGER_free(of_b);
	ERR_clear_error();
	return order > 0;
}

static enum clients_rival clients_find_rival(STACK_OF(X509_INFO) * crls, STACK_OF(X509_INFO) * cas,
					     X509_CRL *crl)
{
	const X509 *signer = clients_find_signer(cas, crl);
	enum clients_rival rival = CLIENTS_NO_RIVAL;

	for (int i = 0; i < sk_X509_INFO_num(crls) && rival != CLIENTS_NAMESAKE; i++) {
		X509_CRL *other = sk_X509_INFO_value(crls, i)->crl;

		if (!other || other == crl ||
		    X509_NAME_cmp(X509_CRL_get_issuer(other), X509_CRL_get_issuer(crl)) != 0)
			continue;
		if (clients_find_signer(cas, other) != signer)
			rival = clients_tells_its_key(crl) && clients_tells_its_key(other) ? rival
											   : CLIENTS_NAMESAKE;
		else if (clients_is_newer(other, crl))
			rival = CLIENTS_NEWER;
	}
	return rival;
}

static enum err clients_take_crl(struct tls_clients *clients, X509_CRL *crl)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	uint64_t end_s = next ? clients_seconds(next) : UINT64_MAX;

	if (X509_STORE_add_crl(clients->store, crl) != 1)
		return E_NOMEM;
	if (clients->crl_name && end_s >= clients->crl_end_s)
		return E_OK;
	clients->crl_end_s = end_s;
	clients->crl_begin_s = clients_seconds(X509_CRL_get0_lastUpdate(crl));
	return clients_keep_name(&clients->crl_name, X509_CRL_get_issuer(crl));
}

static bool clients_has_crl(STACK_OF(X509_INFO) * crls, STACK_OF(X509_INFO) * cas, const X509 *ca)
{
	for (int i = 0; i < sk_X509_INFO_num(crls); i++) {
		X509_CRL *crl = sk_X509_INFO_value(crls, i)->crl;

		if (crl && X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(crl)) == 0 &&
		    clients_find_signer(cas, crl) == ca)
			return true;
	}
	return false;
}

/* OpenSSL does not ask: each CA of the file is trusted by itself. */
static bool clients_is_revoked(STACK_OF(X509_INFO) * crls, STACK_OF(X509_INFO) * cas, X509 *ca)
{
	for (int i = 0; i < sk_X509_INFO_num(crls); i++) {
		X509_CRL *crl = sk_X509_INFO_value(crls, i)->crl;
		X509_REVOKED *entry = NULL;

		if (crl && X509_NAME_cmp(X509_get_issuer_name(ca), X509_CRL_get_issuer(crl)) == 0 &&
		    clients_find_signer(cas, crl) && X509_CRL_get0_by_cert(crl, &entry, ca) == 1)
			return true;
	}
	return false;
}

static enum err clients_check_cas(STACK_OF(X509_INFO) * crls, STACK_OF(X509_INFO) * cas, const char *path,
				  struct buf *why)
{
	for (int i = 0; i < sk_X509_INFO_num(cas); i++) {
		X509 *ca = sk_X509_INFO_value(cas, i)->x509;

		if (ca && !clients_has_crl(crls, cas, ca))
			return clients_refuse_name(
			    why, "tls_client_crl", path, X509_get_subject_name(ca),
			    "of tls_client_ca has no CRL there, so all its certificates would be "
			    "refused; add it");
		if (ca && clients_is_revoked(crls, cas, ca))
			return clients_refuse_name(why, "tls_client_crl", path, X509_get_subject_name(ca),
						   "of tls_client_ca is revoked; remove it from that file");
	}
	return E_OK;
}

static enum err clients_take_crls(struct tls_clients *clients, STACK_OF(X509_INFO) * crls,
				  STACK_OF(X509_INFO) * cas, const char *path, struct buf *why)
{
	enum clients_rival rival;
	enum err e = E_OK;

	for (int i = 0; e == E_OK && i < sk_X509_INFO_num(crls); i++) {
		X509_CRL *crl = sk_X509_INFO_value(crls, i)->crl;

		if (!crl)
			continue;
		rival = clients_find_rival(crls, cas, crl);
		if (clients_has_name(cas, X509_CRL_get_issuer(crl)) && !clients_find_signer(cas, crl))
			e = clients_refuse_name(
			    why, "tls_client_crl", path, X509_CRL_get_issuer(crl),
			    "did not sign the CRL of its name; fetch it again, or renew tls_client_ca");
		else if (rival == CLIENTS_NAMESAKE)
			e = clients_refuse_name(
			    why, "tls_client_crl", path, X509_CRL_get_issuer(crl),
			    "has CRLs of two keys, which need an authority key identifier to be told apart; "
			    "give the new CA a name of its own, or issue CRLs with that extension");
		else if (rival == CLIENTS_NO_RIVAL)
			e = clients_take_crl(clients, crl);
	}
	if (e == E_OK && !clients->crl_name)
		return clients_refuse(
		    why, "tls_client_crl", path,
		    "holds no CRL; PEM is accepted: one of each CA ('openssl crl -inform DER' "
		    "converts it)");
	if (e == E_OK)
		e = clients_check_cas(crls, cas, path, why);
	if (e == E_OK &&
	    X509_STORE_set_flags(clients->store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) != 1)
		e = E_NOMEM;
	return e;
}

/* ---- both ---- */

enum err tls_clients_load(const char *ca_path, const char *crl_path, struct buf *why,
			  struct tls_clients **ret_clients)
{
	struct tls_clients *clients = calloc(1, sizeof(*clients));
	STACK_OF(X509_INFO) *cas = NULL, *crls = NULL;
	enum err e = E_NOMEM;

	ERR_clear_error();
	if (!clients)
		return E_NOMEM;
	clients->store = X509_STORE_new();
	clients->names = sk_X509_NAME_new_null();
	/* Whoever puts an intermediate CA there trusts that one, and not all that its issuer issues. */
	if (!clients->store || !clients->names ||
	    X509_STORE_set_flags(clients->store, X509_V_FLAG_PARTIAL_CHAIN) != 1)
		goto out;
	e = clients_read("tls_client_ca", ca_path, why, &cas);
	if (e == E_OK)
		e = clients_take_cas(clients, cas, ca_path, why);
	if (e == E_OK && crl_path)
		e = clients_read("tls_client_crl", crl_path, why, &crls);
	if (e == E_OK && crl_path)
		e = clients_take_crls(clients, crls, cas, crl_path, why);
	if (e == E_OK) {
		*ret_clients = clients;
		clients = NULL;
	}
out:
	clients_free_items(cas);
	clients_free_items(crls);
	tls_clients_free(clients);
	ERR_clear_error();
	return e;
}

void tls_clients_free(struct tls_clients *clients)
{
	if (!clients)
		return;
	X509_STORE_free(clients->store);
	sk_X509_NAME_pop_free(clients->names, X509_NAME_free);
	free(clients->ca_name);
	free(clients->crl_name);
	free(clients);
}

/*
 * Of an anchor that somebody else issued nothing is asked here: whether that one revoked it was looked at
 * when the files were read (clients_is_revoked).  OpenSSL finds no CRL for it, or tries one that its issuer's
 * namesake, or the anchor's own issuer, signed.
 */
int tls_clients_on_verify(int ok, X509_STORE_CTX *context)
{
	int depth = X509_STORE_CTX_get_error_depth(context);
	int error = X509_STORE_CTX_get_error(context);

	if (ok || (error != X509_V_ERR_UNABLE_TO_GET_CRL && error != X509_V_ERR_CRL_SIGNATURE_FAILURE) ||
	    depth + 1 != sk_X509_num(X509_STORE_CTX_get0_chain(context)) || depth == 0)
		return ok;
	X509_STORE_CTX_set_error(context, X509_V_OK);
	return 1;
}
