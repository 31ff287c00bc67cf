/* SPDX-License-Identifier: Apache-2.0 */
/* What csrd tells beside its store, and each signer in its state folder, against the file. */
#include "cli/in_force.h"

#include "base/fd.h"
#include "base/published.h"
#include "base/str.h"
#include "cli/running.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct in_force {
	const struct config *config;               /* the file's; borrowed */
	struct json_doc *csrd;                     /* NULL: none runs, or it is not known */
	struct config *signers[CONFIG_TOKENS_MAX]; /* by config->tokens; NULL likewise */
};

static enum err read_signer(const struct config_token *token, struct config **ret_config)
{
	struct buf text, report;
	char *path = NULL;
	enum err e;

	buf_init(&text, PUBLISHED_BYTES_MAX);
	buf_init(&report, PUBLISHED_BYTES_MAX);
	e = published_by_signer(token->state_dir, &path);
	if (e == E_OK)
		e = fd_read_published(path, &text);
	if (e == E_OK)
		e = config_parse_partly(path, &text, &report, ret_config);
	buf_release(&report);
	buf_release(&text);
	free(path);
	return e;
}

enum err in_force_read(const struct config *config, struct in_force **ret_in_force, bool *ret_denied)
{
	struct in_force *f = calloc(1, sizeof(*f));
	enum err e;

	if (!f)
		return E_NOMEM;
	f->config = config;
	e = running_read(config, &f->csrd);
	*ret_denied = e == E_DENIED;
	for (size_t i = 0; i < config->tokens_len && e != E_NOMEM; i++) {
		e = read_signer(&config->tokens[i], &f->signers[i]);
		*ret_denied = *ret_denied || e == E_DENIED;
	}
	if (e == E_NOMEM) {
		in_force_free(f);
		return e;
	}
	*ret_in_force = f;
	return E_OK;
}

void in_force_free(struct in_force *f)
{
	if (!f)
		return;
	json_doc_free(f->csrd);
	for (size_t i = 0; i < CONFIG_TOKENS_MAX; i++)
		config_free(f->signers[i]);
	free(f);
}

/* ---- one value ---- */

struct search {
	const struct config_value *wanted;
	const char *token; /* whose section is meant; NULL for other sections */
	struct in_force_other *other;
	bool differs;
};

static void in_force_on_value(void *arg, const struct config_value *value)
{
	struct search *s = arg;

	if (strcmp(value->section, s->wanted->section) != 0 || strcmp(value->name, s->wanted->name) != 0 ||
	    (s->token && strcmp(value->token, s->token) != 0) || strcmp(value->text, s->wanted->text) == 0)
		return;
	/* systemd's own place for a PIN is its default */
	if (strcmp(value->name, "pin_file") == 0 && s->wanted->line == 0 &&
	    str_starts_with(value->text, "/run/credentials/"))
		return;
	s->differs = true;
	snprintf(s->other->text, sizeof(s->other->text), "%s", value->text);
}

static bool signer_differs(const struct in_force *f, const struct config_value *value, size_t signer,
			   struct in_force_other *other)
{
	struct search search = {.wanted = value, .token = value->token, .other = other};

	if (!f->signers[signer] || config_each_value(f->signers[signer], in_force_on_value, &search) != E_OK)
		return false;
	if (search.differs)
		snprintf(other->command, sizeof(other->command), "systemctl restart csrd-hsm@%s",
			 f->config->tokens[signer].name);
	return search.differs;
}

/* Of a token csrd needs to know where its signer is, and how much may be asked of it at a time. */
static bool is_for_csrd(const struct config_value *value)
{
	return !value->token || !strcmp(value->name, "socket") || !strcmp(value->name, "threads") ||
	       !strcmp(value->name, "queue_max");
}

static bool is_for_signer(const struct in_force *f, const struct config_value *value, size_t signer)
{
	return value->token ? strcmp(value->token, f->config->tokens[signer].name) == 0
			    : strcmp(value->section, "log") == 0 && strcmp(value->name, "level") == 0;
}

static bool csrd_differs(const struct in_force *f, const struct config_value *value,
			 struct in_force_other *other)
{
	const char *text;
	char full[CONFIG_FULL_NAME_SIZE];

	if (!f->csrd || !is_for_csrd(value))
		return false;
	config_value_full_name(value, full);
	text = running_value(f->csrd, full);
	if (text && strcmp(text, value->text) == 0)
		return false;
	snprintf(other->text, sizeof(other->text), "%s", text ? text : "");
	snprintf(other->command, sizeof(other->command), "systemctl %s csrd",
		 value->reloadable ? "reload" : "restart");
	return true;
}

bool in_force_differs(const struct in_force *f, const struct config_value *value,
		      struct in_force_other *ret_other)
{
	if (!value->token && csrd_differs(f, value, ret_other))
		return true;
	for (size_t i = 0; i < f->config->tokens_len; i++)
		if (is_for_signer(f, value, i) && signer_differs(f, value, i, ret_other))
			return true;
	return value->token && csrd_differs(f, value, ret_other);
}
