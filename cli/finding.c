/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of findings, and what to do about each. */
#include "cli/finding.h"

#include "cli/pkcs11_tool.h"
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

#define FOUND_COLUMN 16

static const struct {
	const char *name;
	const char *remedy;
} kinds[FINDING_KINDS] = {
    [FINDING_STORE] = {"store", "the database was damaged or changed by other means than csrd: stop csrd and "
				"restore the last backup that verifies (csrctl restore)"},
    [FINDING_CSR] = {"csr", "the row was changed by other means than csrd: restore a backup, and do not have "
			    "a certificate issued for that CSR"},
    [FINDING_UNSETTLED] = {"unsettled", "csrd settles it within its reconcile_interval while the signer is "
					"up; or 'csrctl reconcile --token NAME --apply'"},
    [FINDING_MISSING_KEY] = {"missing-key", "restore the token's backup; otherwise the key is lost: "
					    "'csrctl csr delete ID', and have a new one made"},
    [FINDING_HALF_PAIR] = {"half-pair", "restore the token's backup; or 'csrctl csr delete ID', which "
					"removes what is left of the pair"},
    [FINDING_WRONG_KEY] = {"wrong-key", "the token has another key under that label: find out who made it; "
					"do not use the CSR"},
    [FINDING_PROTECTION] = {"protection",
			    "the token protects the key differently from when it was made: find "
			    "out who changed it; 'csrctl csr delete ID', and have a new one made"},
    [FINDING_UNREADABLE] = {"unreadable-key", "the token does not give that key's public part as it should: "
					      "check the token and the signer's log"},
    [FINDING_LEFTOVER] = {"leftover-key", "'csrctl reconcile --token NAME --apply' destroys it"},
    [FINDING_SET_ASIDE] =
	{"set-aside", "the CSR was being made or deleted at that moment and may have been answered since, so "
		      "its key is kept: 'csrctl csr show ID' says whose it is; ask whether the key is in use "
		      "(doc/operations.md, \"CSRs that were set aside\")"},
    [FINDING_UNKNOWN] = {"unknown-key",
			 "made after the backup that was restored, or by another csrd; csrd never destroys "
			 "it. Once you are sure that nobody needs it, as root:"},
    [FINDING_UNREAD] = {"unread-objects", "run it again; if it persists, check the token and the "
					  "signer's log: keys may have been overlooked"},
};

/* It is asked for once, and only where there is something to say with it. */
static const char *environment_of(struct finding_list *list)
{
	struct buf text;

	if (list->environment_known)
		return list->environment;
	buf_init(&text, sizeof(list->environment) - 1);
	pkcs11_tool_environment(list->token, &text);
	snprintf(list->environment, sizeof(list->environment), "%s", buf_text(&text));
	list->environment_known = true;
	buf_release(&text);
	return list->environment;
}

/* Puts `by` in the place of `word`, where that stands in the text. */
static void put_with(const char *text, const char *word, const char *by, struct buf *b)
{
	const char *at = by ? strstr(text, word) : NULL;

	if (at)
		buf_printf(b, "%.*s%s%s", (int)(at - text), text, by, at + strlen(word));
	else
		buf_put_str(b, text);
}

/* A remedy can be pasted: NAME is the token that was looked at, ID the CSR, where it is a single one. */
static void put_with_names(const char *remedy, const struct config_token *token, const char *csr_id,
			   struct buf *b)
{
	struct buf named;

	buf_init(&named, 4096);
	put_with(remedy, "NAME", token ? token->name : NULL, &named);
	put_with(buf_text(&named), " ID'", csr_id, b);
	buf_release(&named);
}

/* Commands that can be pasted stand on lines of their own. */
static void finding_put_remedy(struct finding_list *list, enum finding_kind kind, const char *object,
			       bool is_single, struct buf *b)
{
	char id[FINDING_LABEL_SIZE + 4];

	snprintf(id, sizeof(id), " %s'", object);
	put_with_names(kinds[kind].remedy, list->token, is_single ? id : NULL, b);
	if (kind != FINDING_UNKNOWN || !list->token)
		return;
	buf_put_str(b, "\n");
	pkcs11_tool_put_delete(list->token, environment_of(list), object, b);
}

static void add_json(struct finding_list *list, enum finding_kind kind, const char *object, const char *text)
{
	struct json_writer *w = &list->j->w;
	struct buf remedy;

	buf_init(&remedy, 8192);
	finding_put_remedy(list, kind, object, true, &remedy);
	json_open_object(w);
	json_put_text_member(w, "kind", kinds[kind].name);
	json_put_text_member(w, "object", object);
	json_put_text_member(w, "text", text);
	json_put_text_member(w, "remedy", buf_text(&remedy));
	json_close(w);
	buf_release(&remedy);
}

void finding_add(struct finding_list *list, enum finding_kind kind, const char *object, const char *text)
{
	list->counts[kind]++;
	if (list->json) {
		add_json(list, kind, object, text);
		return;
	}
	if (list->counts[kind] == 1)
		snprintf(list->first[kind], sizeof(list->first[kind]), "%s", object);
	progress_clear();
	printf("%-14s  ", kinds[kind].name);
	output_line(FOUND_COLUMN, "%s  %s", object, text);
}

uint64_t finding_total(const struct finding_list *list)
{
	uint64_t total = 0;

	for (size_t i = 0; i < FINDING_KINDS; i++)
		total += list->counts[i];
	return total;
}

/* Only its first line is words; what follows is to be pasted whole. */
static void print_remedy(const char *name, uint64_t count, const char *remedy)
{
	size_t len = strcspn(remedy, "\n");

	output_line(4, "%s (%llu): %.*s", name, (unsigned long long)count, (int)len, remedy);
	if (remedy[len])
		puts(remedy + len + 1);
}

void finding_print_remedies(struct finding_list *list)
{
	struct buf remedy;

	if (finding_total(list) > 0)
		puts("\nWhat to do:");
	buf_init(&remedy, 8192);
	for (size_t i = 0; i < FINDING_KINDS; i++) {
		if (list->counts[i] == 0)
			continue;
		buf_reset(&remedy);
		finding_put_remedy(list, (enum finding_kind)i, list->first[i], list->counts[i] == 1, &remedy);
		print_remedy(kinds[i].name, list->counts[i], buf_text(&remedy));
	}
	buf_release(&remedy);
}
