/* SPDX-License-Identifier: Apache-2.0 */
/* Policies that were read lately. */
#include "api/policy_cache.h"

#include <stdlib.h>
#include <string.h>

struct policy_cache_entry {
	TAILQ_ENTRY(policy_cache_entry) next;
	struct store_scope scope;
	int64_t version;
	struct policy *policy;
};

static void policy_cache_drop(struct policy_cache *cache, struct policy_cache_entry *entry)
{
	TAILQ_REMOVE(&cache->entries, entry, next);
	cache->len--;
	policy_free(entry->policy);
	free(entry);
}

void policy_cache_init(struct policy_cache *cache)
{
	TAILQ_INIT(&cache->entries);
	cache->len = 0;
}

void policy_cache_release(struct policy_cache *cache)
{
	while (cache->len > 0)
		policy_cache_drop(cache, TAILQ_FIRST(&cache->entries));
}

/* A version never changes, so its number says all. */
static struct policy_cache_entry *policy_cache_find(struct policy_cache *cache,
						    const struct policy_record *record)
{
	struct policy_cache_entry *entry;

	TAILQ_FOREACH (entry, &cache->entries, next) {
		if (entry->version == record->version && store_scope_equal(&entry->scope, &record->scope))
			return entry;
	}
	return NULL;
}

enum err policy_cache_get(struct policy_cache *cache, const struct policy_record *record,
			  struct problem_list *problems, const struct policy **ret_policy)
{
	struct policy_cache_entry *entry;
	enum err e;

	entry = policy_cache_find(cache, record);
	if (entry) {
		TAILQ_REMOVE(&cache->entries, entry, next);
	} else {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return E_NOMEM;
		e = policy_read(record->document, strlen(record->document), problems, &entry->policy);
		if (e != E_OK) {
			free(entry);
			return e;
		}
		entry->scope = record->scope;
		entry->version = record->version;
		cache->len++;
	}
	TAILQ_INSERT_HEAD(&cache->entries, entry, next);
	if (cache->len > POLICY_CACHE_MAX)
		policy_cache_drop(cache, TAILQ_LAST(&cache->entries, policy_cache_entries));
	*ret_policy = entry->policy;
	return E_OK;
}
