/* What a running signer says of itself, and what its token was found to do. */
#include "cli/doctor.h"

#include "cli/signer_status.h"

#include <stdio.h>
#include <string.h>

#define WITHIN_SECONDS 5

struct answer {
	struct doctor *d;
	const struct config_token *token;
};

/* A pool that is filled up is no matter. */
static void say_pool(struct doctor *d, const struct config_token *token,
		     const struct message_status_reply *status)
{
	if (status->pool_detail && *status->pool_detail) {
		doctor_say(d, DOCTOR_WARN, "pool", token->name, "%s", status->pool_detail);
		doctor_remedy(d, "see the pool_ keys of [token %s]; creates work, but slower", token->name);
		return;
	}
	for (size_t i = 0; i < status->pools_len; i++)
		doctor_say(d, DOCTOR_OK, "pool", token->name, "%s: %u of %u ready",
			   key_type_name(status->pools[i].key_type), status->pools[i].ready,
			   status->pools[i].target);
}

static void on_status(void *arg, const struct message_status_reply *status)
{
	struct answer *answer = arg;
	struct doctor *d = answer->d;

	snprintf(d->probe, sizeof(d->probe), "%s", status->capabilities ? status->capabilities : "");
	d->signer_works = status->usable;
	if (!status->usable) {
		doctor_say(d, DOCTOR_FAIL, "signer", answer->token->name, "answers, but: %s",
			   status->detail && *status->detail ? status->detail : "its token is not usable");
		doctor_remedy(d, "see what is said of the token; csrd-hsm tries again by itself");
	} else if (status->detail && *status->detail) {
		doctor_say(d, DOCTOR_WARN, "signer", answer->token->name, "usable, with %s", status->detail);
		doctor_remedy(d, "end other users of the token, or lower threads of [token %s]",
			      answer->token->name);
	} else {
		doctor_say(d, DOCTOR_OK, "signer", answer->token->name,
			   "usable: %u threads, %u requests queued", status->threads, status->queued);
	}
	say_pool(d, answer->token, status);
}

static void say_start(struct doctor *d, const struct config_token *token)
{
	static const char served[] = "it serves root, its own user, and those of client_users";

	if (d->signer.known)
		doctor_remedy(d, "systemctl restart %s; %s", d->signer.name, served);
	else
		doctor_remedy(d, "start csrd-hsm -n %s; %s", token->name, served);
}

/* A connection would start a signer that waits behind its socket, and that one would try the PIN. */
void doctor_check_signer(struct doctor *d, const struct config_token *token)
{
	struct answer answer = {.d = d, .token = token};
	struct buf why;
	enum err e;

	if (d->signer.known && !doctor_unit_is_active(&d->signer)) {
		doctor_say(d, DOCTOR_SKIP, "signer", token->name,
			   "it does not run, and a question would start it");
		return;
	}
	buf_init(&why, 4096);
	e = signer_status_ask(token, WITHIN_SECONDS, on_status, &answer, &why);
	if (e != E_OK && doctor_is_shut_out(token->socket)) {
		doctor_say(d, DOCTOR_SKIP, "signer", token->name, "%s", buf_text(&why));
		doctor_remedy(d, "run csrctl doctor as root");
	} else if (e != E_OK) {
		doctor_say(d, DOCTOR_FAIL, "signer", token->name, "%s", buf_text(&why));
		say_start(d, token);
	}
	buf_release(&why);
}
