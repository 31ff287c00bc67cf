/* SPDX-License-Identifier: Apache-2.0 */
/* What a running signer says of itself, and what its token was found to do. */
#include "cli/doctor.h"

#include "cli/signer_status.h"

#include <stdio.h>
#include <string.h>

#define WITHIN_SECONDS 5

/* ---- asking ---- */

static void doctor_signer_on_status(void *arg, const struct message_status_reply *status)
{
	struct doctor_signer *signer = arg;

	signer->usable = status->usable;
	signer->threads = status->threads;
	signer->queued = status->queued;
	snprintf(signer->detail, sizeof(signer->detail), "%s", status->detail ? status->detail : "");
	snprintf(signer->pool_detail, sizeof(signer->pool_detail), "%s",
		 status->pool_detail ? status->pool_detail : "");
	snprintf(signer->probe, sizeof(signer->probe), "%s",
		 status->capabilities ? status->capabilities : "");
	while (signer->pools_len < status->pools_len && signer->pools_len < KEY_TYPE_MAX) {
		signer->pools[signer->pools_len] = status->pools[signer->pools_len];
		signer->pools_len++;
	}
}

/* A connection would start a signer that waits behind its socket, and that one would try the PIN. */
void doctor_look_at_signer(struct doctor *d, const struct config_token *token)
{
	struct doctor_signer *signer = &d->signer;
	struct buf why;
	enum err e;

	memset(signer, 0, sizeof(*signer));
	if (d->signer_unit.known && !doctor_unit_is_active(&d->signer_unit))
		return;
	buf_init(&why, 4096);
	e = signer_status_ask(token, WITHIN_SECONDS, doctor_signer_on_status, signer, &why);
	if (e == E_OK)
		signer->state = DOCTOR_SIGNER_ANSWERS;
	else if (doctor_is_shut_out(token->socket))
		signer->state = DOCTOR_SIGNER_SHUT;
	else
		signer->state = DOCTOR_SIGNER_SILENT;
	snprintf(signer->why, sizeof(signer->why), "%s", buf_text(&why));
	buf_release(&why);
}

/* ---- telling ---- */

/* A pool that is filled up is no matter. */
static void say_pool(struct doctor *d, const struct config_token *token)
{
	const struct doctor_signer *signer = &d->signer;

	if (signer->pool_detail[0]) {
		doctor_say(d, DOCTOR_WARN, "pool", token->name, "%s", signer->pool_detail);
		doctor_remedy(d, "see the pool_ keys of [token %s]; creates work, but slower", token->name);
		return;
	}
	for (size_t i = 0; i < signer->pools_len; i++)
		doctor_say(d, DOCTOR_OK, "pool", token->name, "%s: %u of %u ready",
			   key_type_name(signer->pools[i].key_type), signer->pools[i].ready,
			   signer->pools[i].target);
}

static void say_answer(struct doctor *d, const struct config_token *token)
{
	const struct doctor_signer *signer = &d->signer;

	if (!signer->usable) {
		doctor_say(d, DOCTOR_FAIL, "signer", token->name, "answers, but: %s",
			   signer->detail[0] ? signer->detail : "its token is not usable");
		doctor_remedy(d, "see the lines about the token; csrd-hsm tries again by itself");
		doctor_follows(d, &d->cause, "nothing, csrd-hsm tries again by itself");
	} else if (strcmp(signer->detail, MESSAGE_STATUS_JOURNAL_DOWN) == 0) {
		doctor_say(d, DOCTOR_FAIL, "signer", token->name, "%s", signer->detail);
		doctor_remedy(d,
			      "make room on the disk of state_dir of [token %s], or mend it; csrd-hsm then "
			      "goes on by itself",
			      token->name);
	} else if (signer->detail[0]) {
		doctor_say(d, DOCTOR_WARN, "signer", token->name, "usable, with %s", signer->detail);
		doctor_remedy(d, "end other users of the token, or lower threads of [token %s]", token->name);
	} else {
		doctor_say(d, DOCTOR_OK, "signer", token->name, "usable: %u threads, %u requests queued",
			   signer->threads, signer->queued);
	}
	say_pool(d, token);
}

static void say_silence(struct doctor *d, const struct config_token *token)
{
	static const char served[] = "it serves root, its own user, and those of client_users";

	doctor_say(d, DOCTOR_FAIL, "signer", token->name, "%s", d->signer.why);
	if (d->signer_unit.known) {
		doctor_remedy(d, "systemctl restart %s; %s", d->signer_unit.name, served);
		doctor_follows(d, &d->cause, "systemctl restart %s", d->signer_unit.name);
	} else {
		doctor_remedy(d, "start csrd-hsm -c '%s' -n %s; %s", d->cli->config_path, token->name,
			      served);
		doctor_follows(d, &d->cause, "start csrd-hsm -c '%s' -n %s", d->cli->config_path,
			       token->name);
	}
}

void doctor_check_signer(struct doctor *d, const struct config_token *token)
{
	switch (d->signer.state) {
	case DOCTOR_SIGNER_UNASKED:
		doctor_say(d, DOCTOR_SKIP, "signer", token->name,
			   "it does not run, and a question would start it");
		break;
	case DOCTOR_SIGNER_SHUT:
		doctor_say(d, DOCTOR_SKIP, "signer", token->name, "%s", d->signer.why);
		doctor_remedy(d, "run csrctl doctor as root");
		break;
	case DOCTOR_SIGNER_SILENT:
		say_silence(d, token);
		break;
	case DOCTOR_SIGNER_ANSWERS:
		say_answer(d, token);
		break;
	}
}
