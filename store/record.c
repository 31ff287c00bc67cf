/* SPDX-License-Identifier: Apache-2.0 */
/* Names, legal moves, copies and release of the shapes in record.h. */
#include "store/record.h"

#include "base/secret.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {
    [CSR_PENDING] = "pending",     [CSR_ACTIVE] = "active", [CSR_DELETING] = "deleting",
    [CSR_DESTROYED] = "destroyed", [CSR_FAILED] = "failed",
};
#define STATE_NAMES_LEN (sizeof(state_names) / sizeof(state_names[0]))

const char *csr_state_name(enum csr_state state)
{
	if ((unsigned)state < STATE_NAMES_LEN && state_names[state])
		return state_names[state];
	return "?";
}

enum err csr_state_parse(const char *name, enum csr_state *ret_state)
{
	for (unsigned i = CSR_PENDING; i < STATE_NAMES_LEN; i++) {
		if (strcmp(name, state_names[i]) == 0) {
			*ret_state = (enum csr_state)i;
			return E_OK;
		}
	}
	return E_INVAL;
}

bool csr_state_may_move(enum csr_state from, enum csr_state to)
{
	switch (from) {
	case CSR_PENDING:
		return to == CSR_FAILED;
	case CSR_ACTIVE:
		return to == CSR_DELETING;
	case CSR_DELETING:
		return to == CSR_DESTROYED;
	case CSR_DESTROYED:
	case CSR_FAILED:
		return false;
	}
	return false;
}

bool csr_state_counts(enum csr_state state)
{
	return state == CSR_PENDING || state == CSR_ACTIVE || state == CSR_DELETING;
}

bool store_scope_equal(const struct store_scope *a, const struct store_scope *b)
{
	return a->kind == b->kind && strcmp(a->id, b->id) == 0;
}

void csr_record_release(struct csr_record *r)
{
	csr_spec_release(&r->spec);
	free(r->name);
	free(r->description);
	free(r->pem);
	memset(r, 0, sizeof(*r));
}

void csr_record_free(struct csr_record *r)
{
	if (!r)
		return;
	csr_record_release(r);
	free(r);
}

enum err csr_record_copy(const struct csr_record *from, struct csr_record *ret_to)
{
	struct csr_record to = *from;

	memset(&to.spec, 0, sizeof(to.spec));
	to.name = to.description = to.pem = NULL;
	enum err e = csr_spec_copy(&from->spec, &to.spec);
	if (e == E_OK &&
	    (!str_dup_opt(from->name, &to.name) || !str_dup_opt(from->description, &to.description) ||
	     !str_dup_opt(from->pem, &to.pem)))
		e = E_NOMEM;
	if (e != E_OK) {
		csr_record_release(&to);
		return e;
	}
	*ret_to = to;
	return E_OK;
}

void principal_release(struct principal *p)
{
	free(p->name);
	free(p->grants);
	for (size_t i = 0; i < p->identities_len; i++)
		free(p->identities[i].value);
	free(p->identities);
	free(p->known_by.value);
	secret_scrub(p, sizeof(*p));
}

void principal_free(struct principal *p)
{
	if (!p)
		return;
	principal_release(p);
	free(p);
}

static enum err principal_copy_grants(const struct principal *from, struct principal *to)
{
	if (from->grants_len == 0)
		return E_OK;
	to->grants = calloc(from->grants_len, sizeof(*to->grants));
	if (!to->grants)
		return E_NOMEM;
	memcpy(to->grants, from->grants, from->grants_len * sizeof(*to->grants));
	to->grants_len = from->grants_len;
	return E_OK;
}

static enum err principal_copy_identities(const struct principal *from, struct principal *to)
{
	if (from->identities_len == 0)
		return E_OK;
	to->identities = calloc(from->identities_len, sizeof(*to->identities));
	if (!to->identities)
		return E_NOMEM;
	for (size_t i = 0; i < from->identities_len; i++) {
		to->identities[i].kind = from->identities[i].kind;
		to->identities[i].value = strdup(from->identities[i].value);
		if (!to->identities[i].value)
			return E_NOMEM;
		to->identities_len++;
	}
	return E_OK;
}

enum err principal_copy(const struct principal *from, struct principal *ret_to)
{
	struct principal to = *from;
	enum err e;

	to.name = to.known_by.value = NULL;
	to.grants = NULL;
	to.identities = NULL;
	to.grants_len = to.identities_len = 0;
	e = str_dup_opt(from->name, &to.name) && str_dup_opt(from->known_by.value, &to.known_by.value)
		? E_OK
		: E_NOMEM;
	if (e == E_OK)
		e = principal_copy_grants(from, &to);
	if (e == E_OK)
		e = principal_copy_identities(from, &to);
	if (e == E_OK)
		*ret_to = to;
	else
		principal_release(&to);
	return e;
}

enum err principal_network_parse(const char *text, struct buf *why, struct address_net *ret_net)
{
	struct address_net unix_net = {.address = {.family = ADDRESS_UNIX}};

	if (strcmp(text, "unix") != 0)
		return address_net_parse(text, why, ret_net);
	*ret_net = unix_net;
	return E_OK;
}

void principal_networks_format(const struct principal *p, struct buf *b)
{
	char text[ADDRESS_NET_SIZE];

	for (size_t i = 0; i < p->networks_len; i++) {
		address_net_format(&p->networks[i], text);
		buf_printf(b, "%s%s", i > 0 ? ", " : "", text);
	}
}

void account_record_release(struct account_record *a)
{
	free(a->name);
	memset(a, 0, sizeof(*a));
}

void zone_record_release(struct zone_record *z)
{
	free(z->name);
	memset(z, 0, sizeof(*z));
}

void policy_record_release(struct policy_record *p)
{
	free(p->made_by);
	free(p->document);
	memset(p, 0, sizeof(*p));
}

void store_policies_free(struct store_policies *p)
{
	if (!p)
		return;
	policy_record_release(&p->account);
	policy_record_release(&p->zone);
	free(p);
}

void audit_record_release(struct audit_record *a)
{
	free(a->action);
	free(a->object);
	free(a->actor);
	free(a->request_id);
	free(a->peer);
	free(a->detail);
	memset(a, 0, sizeof(*a));
}
