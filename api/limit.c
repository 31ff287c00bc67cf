/* SPDX-License-Identifier: Apache-2.0 */
/* Which bucket a request is taken from, and what is said when it is empty. */
#include "api/limit.h"

#include "api/bucket.h"
#include "api/credential.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many may be in debt at once before the smallest debts are forgotten. */
#define ADDRESSES 65536
#define PRINCIPALS 16384
#define USERS 4096
#define ADDRESS_BITS_OF_ONE_V6 64
#define NS_PER_S 1000000000ull
#define RETRY_AFTER_MAX_S 30 /* SDKs pass over a longer one, and retry at once */
#define LOG_MS 60000

/* The buckets of one caller. */
enum { LIMIT_READS = 0, LIMIT_WRITES, LIMIT_FAILED_LOGINS };
_Static_assert(LIMIT_FAILED_LOGINS < BUCKET_KINDS, "each kind has a bucket");

struct limit {
	const struct config_limits *config;
	struct bucket_table *addresses;
	struct bucket_table *principals;
	struct bucket_table *users; /* by e-mail address, whether there is such a user or not */
	struct limit_figures figures;
	struct log_gate gates[LIMIT_BYS];
};

/* One key of the configuration, applied to one caller. */
struct limit_rule {
	const char *name;
	const char *what; /* what is counted and whose it is, for people */
	const struct config_rate *rate;
	const char *subject; /* the caller's name, for the log; NULL: its address */
	struct bucket_table *table;
	unsigned kind;
	enum limit_by gate;
	uint8_t key[BUCKET_KEY_BYTES];
};

enum err limit_new(const struct config_limits *config, struct limit **ret_limit)
{
	struct limit *limit = calloc(1, sizeof(*limit));
	enum err e;

	if (!limit)
		return E_NOMEM;
	limit->config = config;
	e = bucket_table_new(ADDRESSES, &limit->addresses);
	if (e == E_OK)
		e = bucket_table_new(PRINCIPALS, &limit->principals);
	if (e == E_OK)
		e = bucket_table_new(USERS, &limit->users);
	if (e != E_OK) {
		limit_free(limit);
		return e;
	}
	*ret_limit = limit;
	return E_OK;
}

void limit_free(struct limit *limit)
{
	if (!limit)
		return;
	bucket_table_free(limit->addresses);
	bucket_table_free(limit->principals);
	bucket_table_free(limit->users);
	free(limit);
}

/* ---- whose bucket ---- */

static bool limit_holds_for(const struct limit *limit, const struct address *a)
{
	const struct config_networks *exempt = &limit->config->exempt;

	return (a->family == ADDRESS_V4 || a->family == ADDRESS_V6) &&
	       !address_is_in_any(a, exempt->nets, exempt->len);
}

/* IPv4 as the mapped address, which nobody has: as IPv6 it is folded to IPv4 (base/address.h). */
static void limit_put_address_key(const struct address *a, uint8_t key[BUCKET_KEY_BYTES])
{
	struct address cut = *a;

	memset(key, 0, BUCKET_KEY_BYTES);
	if (a->family == ADDRESS_V6) {
		cut = address_cut(a, ADDRESS_BITS_OF_ONE_V6);
		memcpy(key, cut.octets, BUCKET_KEY_BYTES);
	} else {
		key[10] = key[11] = 0xff;
		memcpy(key + 12, cut.octets, 4);
	}
}

static void limit_put_email_key(const char *email, uint8_t key[BUCKET_KEY_BYTES])
{
	uint8_t hash[CREDENTIAL_HASH_BYTES];
	char lower[256];
	size_t len = 0;

	for (; email[len] != '\0' && len < sizeof(lower) - 1; len++)
		lower[len] = str_ascii_lower(email[len]);
	lower[len] = '\0';
	if (credential_hash(lower, hash) != E_OK)
		memset(hash, 0, sizeof(hash)); /* out of memory: one bucket for all */
	memcpy(key, hash, BUCKET_KEY_BYTES);
}

/* Its id is a random UUID. */
static void limit_put_principal_key(const struct principal *principal, uint8_t key[BUCKET_KEY_BYTES])
{
	char digits[2 * BUCKET_KEY_BYTES + 1];
	size_t len = 0;

	for (const char *c = principal->id; *c != '\0' && len < sizeof(digits) - 1; c++)
		if (*c != '-')
			digits[len++] = *c;
	digits[len] = '\0';
	if (str_unhex(key, BUCKET_KEY_BYTES, digits) != E_OK)
		memset(key, 0, BUCKET_KEY_BYTES); /* no id of ours */
}

static bool limit_is_read(const struct request *r)
{
	return r->method == HTTP_GET || r->method == HTTP_HEAD;
}

/* ---- taking ---- */

static uint64_t limit_round_up_s(uint64_t ns)
{
	return (ns + NS_PER_S - 1) / NS_PER_S;
}

static void limit_note(struct request *r, const struct limit_rule *rule, const struct bucket_state *state)
{
	if (r->limits_len == REQUEST_LIMITS_MAX)
		return;
	r->limits[r->limits_len++] = (struct request_limit){
	    .name = rule->name,
	    .quota = rule->rate->count,
	    .window_s = rule->rate->window_ms / 1000,
	    .left = state->left,
	    .reset_s = limit_round_up_s(state->full_ns),
	};
}

static void limit_write_refusal(const struct limit_rule *rule, const struct bucket_state *state,
				struct limit_refusal *ret_refusal)
{
	uint64_t next_s = limit_round_up_s(state->next_ns);

	if (next_s > RETRY_AFTER_MAX_S)
		next_s = RETRY_AFTER_MAX_S;
	ret_refusal->retry_after_s = next_s > 0 ? (unsigned)next_s : 1;
	snprintf(ret_refusal->why, sizeof(ret_refusal->why),
		 "too many %s: at most %llu in %llu s ([limits] %s); try again in %u s", rule->what,
		 (unsigned long long)rule->rate->count, (unsigned long long)rule->rate->window_ms / 1000,
		 rule->name, ret_refusal->retry_after_s);
}

/* Callers cause this as fast as they can ask. */
static void limit_log(struct limit *limit, const struct request *r, const struct limit_rule *rule)
{
	const struct log_context context = {.request_id = r->id};
	char address[ADDRESS_SIZE];
	unsigned held_back;

	address_format(&r->caller, address);
	if (log_gate_pass(&limit->gates[rule->gate], LOG_MS, &held_back))
		log_write(LOG_LEVEL_NOTICE, &context,
			  "too many %s '%s', the last from '%s': more than %llu in %llu s, [limits] %s "
			  "(%u lines held back)",
			  rule->what, rule->subject ? rule->subject : address, r->peer,
			  (unsigned long long)rule->rate->count,
			  (unsigned long long)rule->rate->window_ms / 1000, rule->name, held_back);
}

static bool limit_take(struct limit *limit, struct request *r, const struct limit_rule *rule,
		       struct limit_refusal *ret_refusal)
{
	uint64_t now_ns = clock_ns();
	struct bucket *bucket = bucket_find(rule->table, rule->key, now_ns);
	struct bucket_state state = bucket_take(bucket, rule->kind, rule->rate, now_ns);

	if (!state.passed || rule->kind != LIMIT_FAILED_LOGINS)
		limit_note(r, rule, &state);
	if (state.passed || !ret_refusal)
		return state.passed;
	limit->figures.refused[rule->gate]++;
	limit_write_refusal(rule, &state, ret_refusal);
	limit_log(limit, r, rule);
	return false;
}

bool limit_take_address(struct limit *limit, struct request *r, struct limit_refusal *ret_refusal)
{
	bool reads = limit_is_read(r);
	struct limit_rule rule = {
	    .name = reads ? "reads_per_address" : "writes_per_address",
	    .what = reads ? "reads from address" : "writes from address",
	    .rate = reads ? &limit->config->reads_per_address : &limit->config->writes_per_address,
	    .table = limit->addresses,
	    .kind = reads ? LIMIT_READS : LIMIT_WRITES,
	    .gate = LIMIT_BY_ADDRESS,
	};

	if (rule.rate->count == 0 || !limit_holds_for(limit, &r->caller))
		return true;
	limit_put_address_key(&r->caller, rule.key);
	return limit_take(limit, r, &rule, ret_refusal);
}

void limit_count_address(struct limit *limit, struct request *r)
{
	bool passed = limit_take_address(limit, r, NULL);

	(void)passed;
}

bool limit_take_principal(struct limit *limit, struct request *r, const struct principal *principal,
			  struct limit_refusal *ret_refusal)
{
	bool reads = limit_is_read(r);
	struct limit_rule rule = {
	    .name = reads ? "reads_per_principal" : "writes_per_principal",
	    .what = reads ? "reads by" : "writes by",
	    .rate = reads ? &limit->config->reads_per_principal : &limit->config->writes_per_principal,
	    .subject = principal->name ? principal->name : principal->id,
	    .table = limit->principals,
	    .kind = reads ? LIMIT_READS : LIMIT_WRITES,
	    .gate = LIMIT_BY_PRINCIPAL,
	};

	if (rule.rate->count == 0)
		return true;
	limit_put_principal_key(principal, rule.key);
	return limit_take(limit, r, &rule, ret_refusal);
}

static bool limit_take_failed_by_address(struct limit *limit, struct request *r,
					 struct limit_refusal *ret_refusal)
{
	struct limit_rule rule = {
	    .name = "failed_logins_per_address",
	    .what = "refused credentials from address",
	    .rate = &limit->config->failed_logins_per_address,
	    .table = limit->addresses,
	    .kind = LIMIT_FAILED_LOGINS,
	    .gate = LIMIT_BY_FAILED_LOGINS,
	};

	if (rule.rate->count == 0 || !limit_holds_for(limit, &r->caller))
		return true;
	limit_put_address_key(&r->caller, rule.key);
	return limit_take(limit, r, &rule, ret_refusal);
}

bool limit_take_failed_login(struct limit *limit, struct request *r, const char *email,
			     struct limit_refusal *ret_refusal)
{
	struct limit_rule rule = {
	    .name = "failed_logins_per_user",
	    .what = "refused credentials of user",
	    .rate = &limit->config->failed_logins_per_user,
	    .subject = email,
	    .table = limit->users,
	    .kind = LIMIT_FAILED_LOGINS,
	    .gate = LIMIT_BY_FAILED_LOGINS,
	};

	limit->figures.failed_logins++;
	if (!limit_take_failed_by_address(limit, r, ret_refusal))
		return false;
	if (!email || rule.rate->count == 0)
		return true;
	limit_put_email_key(email, rule.key);
	return limit_take(limit, r, &rule, ret_refusal);
}

void limit_figures(const struct limit *limit, struct limit_figures *ret_figures)
{
	*ret_figures = limit->figures;
	ret_figures->dropped = bucket_table_dropped(limit->addresses) +
			       bucket_table_dropped(limit->principals) + bucket_table_dropped(limit->users);
}
