/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the state of the token into words for the service manager, and feeds its watchdog. */
#include "hsm/signer/serve/notify.h"

#include "base/buf.h"
#include "base/key.h"
#include "hsm/message.h"
#include "hsm/signer/token/watchdog.h"
#include "systemd/service.h"

#include <stdbool.h>

#define LOOK_EVERY_MS 1000
#define STATUS_BYTES 2048
#define PAUSE_SHOWN_MS 1000
#define PAUSE_SPARE_MS 30000 /* for the end after it */

/* Of the server's thread, which is the only one that looks. */
static struct {
	uint64_t look_at_ms;
	uint64_t feed_at_ms;
	bool stopping;
} plan;

/* On the thread of service.c. */
static bool goes_on(void *arg)
{
	static uint64_t moves;

	(void)arg;
	return watchdog_sees_progress(&moves);
}

void notify_starting(const char *token_name)
{
	service_status("opening token '%s'", token_name);
	service_extend_while(goes_on, NULL);
}

static void signer_notify_put_status(struct buf *b, struct workers *workers, const struct token *token,
				     uint64_t now_ms)
{
	struct message_status_reply status = {0};

	workers_status(workers, now_ms, &status);
	if (status.usable)
		buf_printf(b, "serving token '%s'", token->label);
	else
		buf_printf(b, "token '%s' is not usable: %s", token->label,
			   status.detail ? status.detail : "?");
	for (size_t i = 0; i < status.pools_len; i++)
		buf_printf(b, "%s %s %u/%u", i == 0 ? "; pool" : ",", key_type_name(status.pools[i].key_type),
			   status.pools[i].ready, status.pools[i].target);
	if (status.pool_detail && status.pool_detail[0] != '\0')
		buf_printf(b, " (%s)", status.pool_detail);
	message_status_reply_release(&status);
}

void notify_ready(struct workers *workers, const struct token *token)
{
	struct buf b;

	if (!service_is_managed())
		return;
	service_extend_while(NULL, NULL);
	buf_init(&b, STATUS_BYTES);
	signer_notify_put_status(&b, workers, token, 0);
	service_ready("%s", buf_text(&b));
	buf_release(&b);
}

static void feed(uint64_t now_ms)
{
	if (service_watchdog_ms() == 0 || now_ms < plan.feed_at_ms || !watchdog_is_well())
		return;
	service_feed();
	plan.feed_at_ms = now_ms + service_watchdog_ms() / 3;
}

int notify_look(struct workers *workers, const struct token *token, uint64_t now_ms)
{
	uint64_t every_ms = LOOK_EVERY_MS;
	struct buf b;

	if (!service_is_managed())
		return -1;
	if (service_watchdog_ms() > 0 && service_watchdog_ms() / 6 < every_ms)
		every_ms = service_watchdog_ms() / 6;
	if (now_ms < plan.look_at_ms)
		return (int)(plan.look_at_ms - now_ms);
	plan.look_at_ms = now_ms + every_ms;
	feed(now_ms);
	if (!plan.stopping) {
		buf_init(&b, STATUS_BYTES);
		signer_notify_put_status(&b, workers, token, now_ms);
		service_status("%s", buf_text(&b));
		buf_release(&b);
	}
	return (int)every_ms;
}

void notify_stopping(const char *why, uint64_t within_ms)
{
	plan.stopping = true;
	service_extend(within_ms);
	service_stopping("stopping: %s", why);
}

void notify_pausing(uint64_t ms)
{
	if (ms < PAUSE_SHOWN_MS)
		return;
	service_extend(ms + PAUSE_SPARE_MS);
	service_status("the token is away (see the log); the next start is %u s from now",
		       (unsigned)(ms / 1000));
}

void notify_ended(enum exit_code code)
{
	static const struct {
		enum exit_code code;
		const char *why;
	} reasons[] = {
	    {EXIT_CODE_NO_MODULE, "the pkcs#11 module is missing or does not load"},
	    {EXIT_CODE_NO_TOKEN, "the token is not there"},
	    {EXIT_CODE_INTERNAL, "out of memory, or a bug"},
	    {EXIT_CODE_SYSTEM, "a system call failed"},
	    {EXIT_CODE_IN_USE, "another process serves this socket or token"},
	    {EXIT_CODE_TOKEN_FAILED, "the token failed; to be started again"},
	    {EXIT_CODE_PIN, "the pin was refused: not to be started again before it is corrected"},
	    {EXIT_CODE_CONFIG, "the configuration, the pin file or the socket is wrong"},
	};

	service_extend_while(NULL, NULL);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].code == code)
			service_status("ended: %s (see the log)", reasons[i].why);
	service_close();
}
