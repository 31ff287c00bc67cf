/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of [http] listen_tls will be shown, and which certificates of theirs are good. */
#include "base/buf.h"
#include "cli/doctor.h"
#include "base/clock.h"
#include "tls/tls_clients.h"
#include "tls/tls_identity.h"

static void doctor_say_end(struct doctor *d, const char *path, int days)
{
	static const char remedy[] = "renew it and replace both files: csrd notices by itself";

	if (days < 0) {
		doctor_say(d, DOCTOR_FAIL, "tls", NULL, "the certificate '%s' has expired: clients refuse it",
			   path);
		doctor_remedy(d, "%s", remedy);
	} else if (days < TLS_IDENTITY_WARN_DAYS) {
		doctor_say(d, DOCTOR_WARN, "tls", NULL, "the certificate '%s' expires in %d days", path,
			   days);
		doctor_remedy(d, "%s", remedy);
	} else {
		doctor_say(d, DOCTOR_OK, "tls", NULL,
			   "the certificate '%s' is valid for %d days, and the key is its own", path, days);
	}
}

#define DAY_S (24 * 3600)

static void doctor_say_clients(struct doctor *d, const struct tls_clients *clients)
{
	uint64_t now_s = (uint64_t)clock_wall_us() / 1000000;
	uint64_t ca_days = clients->ca_end_s > now_s ? (clients->ca_end_s - now_s) / DAY_S : 0;
	bool crl_has_ended = clients->crl_name && clients->crl_end_s <= now_s;

	if (crl_has_ended) {
		doctor_say(d, DOCTOR_FAIL, "tls-clients", NULL,
			   "the CRL of '%s' has expired: all its certificates are refused",
			   clients->crl_name);
		doctor_remedy(d, "fetch the new CRL into tls_client_crl: csrd notices by itself");
	}
	if (clients->ca_end_s <= now_s) {
		doctor_say(d, DOCTOR_FAIL, "tls-clients", NULL,
			   "the client CA '%s' has expired: its certificates are refused", clients->ca_name);
		doctor_remedy(d, "put its successor into tls_client_ca");
	} else if (ca_days < TLS_IDENTITY_WARN_DAYS) {
		doctor_say(d, DOCTOR_WARN, "tls-clients", NULL, "the client CA '%s' expires in %llu days",
			   clients->ca_name, (unsigned long long)ca_days);
		doctor_remedy(d, "put its successor beside it into tls_client_ca");
	} else if (!crl_has_ended) {
		doctor_say(d, DOCTOR_OK, "tls-clients", NULL,
			   "certificates of clients are accepted from %d CAs, the first of which ends in "
			   "%llu days; %s",
			   sk_X509_NAME_num(clients->names), (unsigned long long)ca_days,
			   clients->crl_name ? "there is a CRL of each"
					     : "none is ever revoked, there is no CRL");
	}
}

static void doctor_check_clients(struct doctor *d)
{
	const struct config_http *http = &d->config->http;
	struct tls_clients *clients = NULL;
	struct buf why;
	enum err e;

	if (http->tls_client_certificate == CONFIG_CLIENT_NONE || !http->tls_client_ca)
		return;
	if (config_is_credential(http->tls_client_ca) ||
	    (http->tls_client_crl && config_is_credential(http->tls_client_crl))) {
		doctor_say(
		    d, DOCTOR_SKIP, "tls-clients", NULL,
		    "tls_client_ca or tls_client_crl are credentials, which only csrd has: its log tells "
		    "when they end");
		return;
	}
	buf_init(&why, DOCTOR_TEXT_SIZE);
	e = tls_clients_load(http->tls_client_ca, http->tls_client_crl, &why, &clients);
	if (e == E_OK) {
		doctor_say_clients(d, clients);
	} else {
		doctor_say(d, DOCTOR_FAIL, "tls-clients", NULL, "%s",
			   why.len > 0 ? buf_text(&why) : err_str(e));
		doctor_remedy(d,
			      "mend the files; a csrd that runs keeps what it has, and takes the new ones by "
			      "itself");
	}
	tls_clients_free(clients);
	buf_release(&why);
}

static void doctor_check_server(struct doctor *d)
{
	const struct config_http *http = &d->config->http;
	struct tls_identity *identity = NULL;
	struct buf why;
	enum err e;

	if (!http->tls_certificate || !http->tls_key)
		return;
	if (config_is_credential(http->tls_certificate) || config_is_credential(http->tls_key)) {
		doctor_say(d, DOCTOR_SKIP, "tls", NULL,
			   "certificate or key are credentials, which only csrd has: its log "
			   "tells when the certificate ends");
		return;
	}
	buf_init(&why, DOCTOR_TEXT_SIZE);
	e = tls_identity_load(http->tls_certificate, http->tls_key, &why, &identity);
	if (e == E_OK)
		doctor_say_end(d, http->tls_certificate, tls_identity_days_left(identity->certificate));
	else
		doctor_say(d, DOCTOR_FAIL, "tls", NULL, "%s", why.len > 0 ? buf_text(&why) : err_str(e));
	if (e != E_OK)
		doctor_remedy(d, "mend the files; a csrd that runs keeps the certificate that it has, and "
				 "takes the new one "
				 "by itself");
	tls_identity_free(identity);
	buf_release(&why);
}

void doctor_check_tls(struct doctor *d)
{
	doctor_check_server(d);
	doctor_check_clients(d);
}
