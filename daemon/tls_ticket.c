/* SPDX-License-Identifier: Apache-2.0 */
/* Session tickets: AES-256-CBC and HMAC-SHA-256, as RFC 5077 §4 recommends. */
#include "daemon/tls_ticket.h"

#include "base/clock.h"
#include "base/random.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 16
#define IV_BYTES 16
#define KEY_BYTES 32

struct ticket_key {
	unsigned char name[NAME_BYTES];
	unsigned char cipher[KEY_BYTES];
	unsigned char mac[KEY_BYTES];
};

struct tls_tickets {
	struct ticket_key current, previous;
	uint64_t made_ms;
};

static enum err ticket_rotate(struct tls_tickets *tickets)
{
	struct ticket_key fresh;
	enum err e = random_fill(&fresh, sizeof(fresh));

	if (e != E_OK)
		return e;
	tickets->previous = tickets->current;
	tickets->current = fresh;
	tickets->made_ms = clock_ms();
	OPENSSL_cleanse(&fresh, sizeof(fresh));
	return E_OK;
}

enum err tls_tickets_forget(struct tls_tickets *tickets)
{
	enum err e = ticket_rotate(tickets);

	return e == E_OK ? ticket_rotate(tickets) : e;
}

enum err tls_tickets_new(struct tls_tickets **ret_tickets)
{
	struct tls_tickets *tickets = calloc(1, sizeof(*tickets));
	enum err e = tickets ? tls_tickets_forget(tickets) : E_NOMEM;

	if (e == E_OK)
		*ret_tickets = tickets;
	else
		tls_tickets_free(tickets);
	return e;
}

void tls_tickets_free(struct tls_tickets *tickets)
{
	if (!tickets)
		return;
	OPENSSL_cleanse(tickets, sizeof(*tickets));
	free(tickets);
}

static enum err ticket_rotate_if_due(struct tls_tickets *tickets)
{
	uint64_t age_ms = clock_ms() - tickets->made_ms;

	if (age_ms >= 2 * TLS_TICKET_LIFE_S * 1000ull)
		return tls_tickets_forget(tickets);
	return age_ms >= TLS_TICKET_LIFE_S * 1000ull ? ticket_rotate(tickets) : E_OK;
}

static bool ticket_begin_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 0 asks for a whole handshake, 2 for a new ticket, -1 ends the
 * handshake. */
static int ticket_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
			 EVP_MAC_CTX *mac, int makes)
{
	struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct ticket_key *key = &tickets->current;

	if (ticket_rotate_if_due(tickets) != E_OK)
		return makes ? -1 : 0;
	if (makes) {
		if (random_fill(iv, IV_BYTES) != E_OK)
			return -1;
		memcpy(name, key->name, NAME_BYTES);
		return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) == 1 &&
			       ticket_begin_mac(mac, key)
			   ? 1
			   : -1;
	}
	if (memcmp(name, key->name, NAME_BYTES) != 0)
		key = &tickets->previous;
	if (memcmp(name, key->name, NAME_BYTES) != 0)
		return 0;
	if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1 ||
	    !ticket_begin_mac(mac, key))
		return -1;
	return key == &tickets->current ? 1 : 2;
}

enum err tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *context)
{
	SSL_CTX_set_timeout(context, TLS_TICKET_LIFE_S);
	return SSL_CTX_set_app_data(context, tickets) == 1 &&
		       SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_on_key) == 1
		   ? E_OK
		   : E_NOMEM;
}
