/* SPDX-License-Identifier: Apache-2.0 */
/* When the rules file is read, and which of its rules take part in a call. */
#include "tests/p11shim/rules.h"
#include "tests/p11shim/call.h"
#include "tests/p11shim/rules_parse.h"
#include "tests/p11shim/state.h"
#include "tests/p11shim/trace.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *path;
static struct rules *current; /* holds one use of itself */
static struct stat current_stat;

void rules_open(const char *rules_path)
{
	path = rules_path;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void let_go(struct rules *r)
{
	if (!r || --r->users > 0)
		return;
	for (size_t i = 0; i < r->count; i++) {
		free(r->rule[i].bytes);
		free(r->rule[i].condition_bytes);
	}
	free(r);
}

static struct rules *load(const struct stat *st)
{
	struct rules *r = calloc(1, sizeof(*r));

	if (!r)
		trace_fatal("no memory for the rules");
	r->users = 1;
	snprintf(r->id, sizeof(r->id), "%lx.%lld.%09ld.%llx", (unsigned long)st->st_ino,
		 (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (unsigned long long)st->st_size);
	if (st->st_ino != 0)
		rules_parse(path, r);
	return r;
}

struct rules *rules_acquire(void)
{
	struct stat st = {.st_ino = 0}; /* that of no file */
	struct rules *r;

	pthread_mutex_lock(&lock);
	if (path && stat(path, &st) != 0) {
		if (errno != ENOENT)
			trace_fatal("cannot look at the rules '%s': %s", path, strerror(errno));
		st = (struct stat){.st_ino = 0};
	}
	if (!current || !same_file(&st, &current_stat)) {
		let_go(current);
		current = load(&st);
		current_stat = st;
	}
	r = current;
	r->users++;
	pthread_mutex_unlock(&lock);
	return r;
}

void rules_release(struct rules *r)
{
	pthread_mutex_lock(&lock);
	let_go(r);
	pthread_mutex_unlock(&lock);
}

static bool has_value(const CK_ATTRIBUTE *a, const uint8_t *bytes, size_t len)
{
	return a->pValue && a->ulValueLen == len && memcmp(a->pValue, bytes, len) == 0;
}

/* With the value of `bytes`, or with any for NULL. */
static bool template_has(const struct call *c, CK_ATTRIBUTE_TYPE type, const uint8_t *bytes, size_t len)
{
	for (size_t t = 0; t < 2; t++) {
		const struct attribute_list *template = &c->templates[t];

		for (CK_ULONG i = 0; template->attributes && i < template->count; i++) {
			const CK_ATTRIBUTE *a = &template->attributes[i];

			if (a->type == type && (!bytes || has_value(a, bytes, len)))
				return true;
		}
	}
	return false;
}

static bool could_mean(const struct rule *r, const struct call *c)
{
	if (r->function != c->function)
		return false;
	if (r->action == RULE_ATTRIBUTE && !template_has(c, r->attribute, NULL, 0))
		return false;
	if (r->action == RULE_CORRUPT && !c->out)
		return false;
	if (r->condition == RULE_IF_MECHANISM)
		return c->mechanism && *c->mechanism == r->condition_value;
	if (r->condition == RULE_IF_ATTRIBUTE || r->condition == RULE_IF_VALUE)
		return template_has(c, r->condition_value, r->condition_bytes, r->condition_len);
	return true;
}

static bool its_turn(struct rule *r)
{
	uint64_t n = atomic_fetch_add(&r->seen, 1) + 1;

	return r->nth == 0 || n == r->nth || (r->onwards && n > r->nth);
}

/* The mark names the file's state too, so a rule that is written anew is armed anew. */
static bool not_spent(const struct rules *rules, struct rule *r)
{
	char mark[128];

	if (!r->once)
		return true;
	if (!state_is_open())
		return !atomic_exchange(&r->spent, true);
	snprintf(mark, sizeof(mark), "once.%s.%u", rules->id, r->line);
	return state_claim(mark);
}

uint64_t rules_match(struct rules *rules, const struct call *c)
{
	uint64_t fired = 0;

	for (size_t i = 0; i < rules->count; i++) {
		struct rule *r = &rules->rule[i];

		if (could_mean(r, c) && its_turn(r) && not_spent(rules, r))
			fired |= UINT64_C(1) << i;
	}
	return fired;
}
