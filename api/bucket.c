/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets by the time at which they are full (GCRA: the "theoretical arrival time" of the next cell). */
#include "api/bucket.h"

#include "base/random.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define SIPHASH_KEY_BYTES 16
#define NS_PER_MS 1000000ull

struct bucket {
	uint8_t key[BUCKET_KEY_BYTES];
	uint64_t full_at_ns[BUCKET_KINDS]; /* in the past: it is full */
};

struct bucket_table {
	EVP_MAC_CTX *hash;
	uint8_t hash_key[SIPHASH_KEY_BYTES];
	size_t places; /* a power of two */
	uint64_t dropped;
	struct bucket (*buckets)[BUCKET_WAYS];
};

static enum err bucket_table_make_hash(struct bucket_table *table)
{
	size_t size = sizeof(uint64_t);
	OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
			       OSSL_PARAM_construct_end()};
	EVP_MAC *siphash = EVP_MAC_fetch(NULL, "SIPHASH", NULL);

	if (siphash)
		table->hash = EVP_MAC_CTX_new(siphash);
	EVP_MAC_free(siphash);
	return table->hash && EVP_MAC_CTX_set_params(table->hash, params) == 1 ? E_OK : E_NOMEM;
}

enum err bucket_table_new(size_t callers, struct bucket_table **ret_table)
{
	struct bucket_table *table = calloc(1, sizeof(*table));
	enum err e;

	if (!table)
		return E_NOMEM;
	for (table->places = 1; table->places * BUCKET_WAYS < callers;)
		table->places *= 2;
	table->buckets =
	    calloc(table->places, sizeof(*table->buckets)); /* the kernel gives pages when they are used */
	e = table->buckets ? bucket_table_make_hash(table) : E_NOMEM;
	if (e == E_OK)
		e = random_fill(table->hash_key, sizeof(table->hash_key));
	if (e != E_OK) {
		bucket_table_free(table);
		return e;
	}
	*ret_table = table;
	return E_OK;
}

void bucket_table_free(struct bucket_table *table)
{
	if (!table)
		return;
	EVP_MAC_CTX_free(table->hash);
	free(table->buckets);
	free(table);
}

static size_t bucket_table_place(const struct bucket_table *table, const uint8_t key[BUCKET_KEY_BYTES])
{
	uint64_t hash = 0;
	size_t len;

	if (EVP_MAC_init(table->hash, table->hash_key, sizeof(table->hash_key), NULL) != 1 ||
	    EVP_MAC_update(table->hash, key, BUCKET_KEY_BYTES) != 1 ||
	    EVP_MAC_final(table->hash, (unsigned char *)&hash, &len, sizeof(hash)) != 1)
		return 0;
	return (size_t)hash & (table->places - 1);
}

/* When the last of them is full. */
static uint64_t bucket_rest_at_ns(const struct bucket *bucket)
{
	uint64_t last = 0;

	for (unsigned kind = 0; kind < BUCKET_KINDS; kind++)
		if (bucket->full_at_ns[kind] > last)
			last = bucket->full_at_ns[kind];
	return last;
}

struct bucket *bucket_find(struct bucket_table *table, const uint8_t key[BUCKET_KEY_BYTES], uint64_t now_ns)
{
	struct bucket *ways = table->buckets[bucket_table_place(table, key)], *soonest = ways;

	for (size_t i = 0; i < BUCKET_WAYS; i++) {
		if (memcmp(ways[i].key, key, BUCKET_KEY_BYTES) == 0)
			return &ways[i];
		if (bucket_rest_at_ns(&ways[i]) < bucket_rest_at_ns(soonest))
			soonest = &ways[i];
	}
	if (bucket_rest_at_ns(soonest) > now_ns)
		table->dropped++;
	memset(soonest, 0, sizeof(*soonest));
	memcpy(soonest->key, key, BUCKET_KEY_BYTES);
	return soonest;
}

/* A rate that was lowered since does not leave a bucket emptier than empty. */
static struct bucket_state bucket_judge(uint64_t full_at_ns, const struct config_rate *rate, uint64_t now_ns)
{
	uint64_t each_ns = rate->window_ms * NS_PER_MS / rate->count;
	uint64_t whole_ns = each_ns * rate->count;
	uint64_t missing_ns = full_at_ns > now_ns ? full_at_ns - now_ns : 0;
	struct bucket_state state = {0};

	if (missing_ns > whole_ns)
		missing_ns = whole_ns;
	state.full_ns = missing_ns;
	state.left = (whole_ns - missing_ns) / each_ns;
	if (state.left == 0)
		state.next_ns = missing_ns + each_ns - whole_ns;
	return state;
}

struct bucket_state bucket_look(const struct bucket *bucket, unsigned kind, const struct config_rate *rate,
				uint64_t now_ns)
{
	return bucket_judge(bucket->full_at_ns[kind], rate, now_ns);
}

struct bucket_state bucket_take(struct bucket *bucket, unsigned kind, const struct config_rate *rate,
				uint64_t now_ns)
{
	struct bucket_state state = bucket_judge(bucket->full_at_ns[kind], rate, now_ns);

	if (state.left == 0)
		return state;
	bucket->full_at_ns[kind] = now_ns + state.full_ns + rate->window_ms * NS_PER_MS / rate->count;
	state = bucket_judge(bucket->full_at_ns[kind], rate, now_ns);
	state.passed = true;
	return state;
}

uint64_t bucket_table_dropped(const struct bucket_table *table)
{
	return table->dropped;
}
