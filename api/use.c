/* SPDX-License-Identifier: Apache-2.0 */
/* Uses are written down together, once in a while. */
#include "api/use.h"

#include "api/op.h"
#include "base/clock.h"

#include <string.h>

#define SECOND_US 1000000ll
#define DAY_US (24 * 3600 * SECOND_US)
#define USE_AGE_US (3600 * SECOND_US) /* a use that is noted is good for so long */
#define SOON_US (14 * DAY_US)

static struct use_note *use_find(struct api *api, const char *id)
{
	for (unsigned i = 0; i < api->uses_len; i++)
		if (strcmp(api->uses[i].id, id) == 0)
			return &api->uses[i];
	return NULL;
}

static bool use_ends_soon(const struct principal *p, int64_t now_us)
{
	return p->expires_us != 0 && p->expires_us - now_us <= SOON_US;
}

/* When there are more than fit, the one that was not used for longest is forgotten: a figure is enough. */
static void use_note_ending(struct api *api, const struct principal *p, int64_t now_us)
{
	struct use_ending *at = api->endings;

	for (unsigned i = 0; i < api->endings_len; i++) {
		if (strcmp(api->endings[i].id, p->id) == 0) {
			at = &api->endings[i];
			break;
		}
		if (api->endings[i].used_us < at->used_us)
			at = &api->endings[i];
	}
	if (strcmp(at->id, p->id) != 0 && api->endings_len < API_ENDINGS_MAX)
		at = &api->endings[api->endings_len++];
	memcpy(at->id, p->id, sizeof(at->id));
	at->used_us = now_us;
	at->expires_us = p->expires_us;
}

unsigned use_count_ending(const struct api *api)
{
	int64_t now_us = clock_wall_us();
	unsigned count = 0;

	for (unsigned i = 0; i < api->endings_len; i++)
		if (now_us - api->endings[i].used_us < DAY_US && now_us < api->endings[i].expires_us)
			count++;
	return count;
}

/* Once a day, also across restarts: at the first use of the day that is noted. */
static void use_warn(const struct op *op, int64_t now_us)
{
	const struct principal *p = op->principal;
	char whose[OP_CALLER_SIZE], until[CLOCK_RFC3339_SIZE];

	if (!use_ends_soon(p, now_us) || p->last_used_us / DAY_US == now_us / DAY_US)
		return;
	op_format_caller(p, whose);
	clock_format_rfc3339(p->expires_us, until);
	op_log(op, LOG_LEVEL_NOTICE, "%s expires in %lld days, on %s", whose,
	       (long long)((p->expires_us - now_us) / DAY_US), until);
}

void use_note(struct op *op)
{
	const struct principal *p = op->principal;
	int64_t now_us = clock_wall_us();
	struct api *api = op->api;
	struct use_note *note;

	if (use_ends_soon(p, now_us))
		use_note_ending(api, p, now_us);
	if (now_us - p->last_used_us < USE_AGE_US || use_find(api, p->id))
		return;
	use_warn(op, now_us);
	if (api->uses_len == API_USES_MAX)
		use_flush(api);
	note = &api->uses[api->uses_len++];
	memcpy(note->id, p->id, sizeof(note->id));
	note->at_us = now_us;
}

/* The store logs what is wrong; the next use is noted again. */
static void use_on_done(void *arg, enum err e)
{
	(void)arg;
	(void)e;
}

void use_flush(struct api *api)
{
	for (unsigned i = 0; i < api->uses_len; i++)
		store_principal_used(api->options.store, api->uses[i].id, api->uses[i].at_us, use_on_done,
				     NULL);
	api->uses_len = 0;
}
