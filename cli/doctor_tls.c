/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of [http] listen_tls will be shown. */
#include "base/buf.h"
#include "cli/doctor.h"
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

void doctor_check_tls(struct doctor *d)
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
