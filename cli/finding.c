/* Kinds of findings, and what to do about each. */
#include "cli/finding.h"

#include "cli/progress.h"

#include <stdio.h>

static const struct {
	const char *name;
	const char *remedy;
} kinds[FINDING_KINDS] = {
    [FINDING_STORE] = {"store",
		       "the database was damaged or changed by other means than csrd: stop csrd and "
		       "restore the last backup that verifies (csrctl restore)"},
    [FINDING_CSR] = {"csr", "the row was changed by other means than csrd: restore a backup, and do not have "
			    "a certificate issued for that CSR"},
    [FINDING_UNSETTLED] = {"unsettled", "csrd settles it within its reconcile_interval while the signer is "
					"up; or 'csrctl reconcile --apply'"},
    [FINDING_MISSING_KEY] = {"missing-key", "bring the token's backup back; else the key is lost: delete the "
					    "CSR and make a new one"},
    [FINDING_HALF_PAIR] = {"half-pair", "bring the token's backup back; else delete the CSR, which removes "
					"what is left of the pair"},
    [FINDING_WRONG_KEY] = {"wrong-key", "the token has another key under that label: find out who made it; "
					"do not use the CSR"},
    [FINDING_PROTECTION] = {"protection", "the token guards the key otherwise than when it was made: find "
					  "out who changed it; delete the CSR and make a new one"},
    [FINDING_UNREADABLE] = {"unreadable-key", "the token does not give that key's public part as it should: "
					      "look at the token and at the signer's log"},
    [FINDING_LEFTOVER] = {"leftover-key", "'csrctl reconcile --apply' destroys it"},
    [FINDING_SET_ASIDE] =
	{"set-aside",
	 "the CSR was being made or deleted at that instant and may have been answered since, so "
	 "its key is kept: 'csrctl csr show ID' says whose it is; ask whether the key is in use "
	 "(doc/operations.md, \"CSRs that were set aside\")"},
    [FINDING_UNKNOWN] = {"unknown-key",
			 "made after the backup that was restored, or by another csrd; csrd never destroys "
			 "it: once you are sure, do so with pkcs11-tool --delete-object"},
    [FINDING_UNREAD] = {"unread-objects", "run it again; when it stays, look at the token and at the "
					  "signer's log: keys may have been overlooked"},
};

void finding_add(struct finding_list *list, enum finding_kind kind, const char *object, const char *text)
{
	struct json_writer *w;

	list->counts[kind]++;
	if (list->json) {
		w = &list->j->w;
		json_open_object(w);
		json_put_text_member(w, "kind", kinds[kind].name);
		json_put_text_member(w, "object", object);
		json_put_text_member(w, "text", text);
		json_put_text_member(w, "remedy", kinds[kind].remedy);
		json_close(w);
		return;
	}
	progress_clear();
	printf("%-14s  ", kinds[kind].name);
	output_text(object);
	fputs("  ", stdout);
	output_text(text);
	putchar('\n');
}

uint64_t finding_total(const struct finding_list *list)
{
	uint64_t total = 0;

	for (size_t i = 0; i < FINDING_KINDS; i++)
		total += list->counts[i];
	return total;
}

void finding_print_remedies(const struct finding_list *list)
{
	if (finding_total(list) > 0)
		puts("\nWhat to do:");
	for (size_t i = 0; i < FINDING_KINDS; i++)
		if (list->counts[i] > 0)
			printf("%s (%llu): %s\n", kinds[i].name, (unsigned long long)list->counts[i],
			       kinds[i].remedy);
}
