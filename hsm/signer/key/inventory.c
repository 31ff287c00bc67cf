/* SPDX-License-Identifier: Apache-2.0 */
/* Lists the token's key objects and pairs them. */
#include "hsm/signer/key/inventory.h"

#include "base/node.h"
#include "hsm/message.h"
#include "hsm/signer/key/probe.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/object.h"
#include "hsm/signer/token/remains.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_READ_MAX 1024

struct inventory_object {
	CK_OBJECT_HANDLE handle;
	uint32_t label; /* offset in labels */
	bool is_public;
	uint8_t life; /* enum message_key_life; of the first of a label, which stands for all */
	uint8_t key_id[KEY_ID_BYTES];
};

struct inventory_node {
	char name[NODE_NAME_MAX + 1];
	uint32_t private_keys, public_keys;
};

void inventory_release(struct inventory *inv)
{
	free(inv->labels);
	free(inv->objects);
	free(inv->nodes);
	memset(inv, 0, sizeof(*inv));
}

/* ---- taking ---- */

static enum err inventory_grow(void *memory, size_t *capacity, size_t needed, size_t size)
{
	size_t wanted = *capacity ? *capacity : 256;
	void **block = memory;
	void *bigger;

	while (wanted < needed)
		wanted *= 2;
	if (wanted == *capacity)
		return E_OK;
	bigger = reallocarray(*block, wanted, size);
	if (!bigger)
		return E_NOMEM;
	*block = bigger;
	*capacity = wanted;
	return E_OK;
}

static enum err inventory_add(struct inventory *inv, const struct inventory_object *what, const char *label,
			      size_t label_len)
{
	struct inventory_object *object;
	void *labels = inv->labels, *objects = inv->objects;
	enum err e;

	if (inv->labels_len + label_len + 1 > UINT32_MAX)
		return E_LIMIT;
	e = inventory_grow(&labels, &inv->labels_capacity, inv->labels_len + label_len + 1, 1);
	inv->labels = labels;
	if (e != E_OK ||
	    (e = inventory_grow(&objects, &inv->capacity, inv->len + 1, sizeof(*inv->objects))) != E_OK)
		return e;
	inv->objects = objects;
	object = &inv->objects[inv->len++];
	*object = *what;
	object->label = (uint32_t)inv->labels_len;
	memcpy(inv->labels + inv->labels_len, label, label_len);
	inv->labels_len += label_len;
	inv->labels[inv->labels_len++] = '\0';
	return E_OK;
}

/* Its place among the nodes, or the one that it is to have. */
static size_t find_node(const struct inventory *inv, const char *name)
{
	size_t low = 0, high = inv->nodes_len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(inv->nodes[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static enum err count_of_node(struct inventory *inv, const char *name, uint32_t private_keys,
			      uint32_t public_keys)
{
	void *nodes = inv->nodes;
	size_t at = find_node(inv, name);
	enum err e;

	if (at == inv->nodes_len || strcmp(inv->nodes[at].name, name) != 0) {
		if ((e = inventory_grow(&nodes, &inv->nodes_capacity, inv->nodes_len + 1,
					sizeof(*inv->nodes))) != E_OK)
			return e;
		inv->nodes = nodes;
		memmove(&inv->nodes[at + 1], &inv->nodes[at], (inv->nodes_len - at) * sizeof(*inv->nodes));
		inv->nodes_len++;
		inv->nodes[at] = (struct inventory_node){0};
		snprintf(inv->nodes[at].name, sizeof(inv->nodes[at].name), "%s", name);
	}
	inv->nodes[at].private_keys += private_keys;
	inv->nodes[at].public_keys += public_keys;
	return E_OK;
}

/* "csrd-pool:<node>:<type>", of csrd 0.1; what is no such label is nobody's. */
static enum err count_ready_0_1(struct inventory *inv, const char *label, size_t label_len, bool is_public)
{
	const char *start = label + strlen(STOCK_LABEL_PREFIX_0_1);
	const char *end = memrchr(label, ':', label_len);
	char name[NODE_NAME_MAX + 1];
	size_t len = end > start ? (size_t)(end - start) : 0;

	if (!len || len > NODE_NAME_MAX || memchr(start, '\0', len))
		return E_OK;
	memcpy(name, start, len);
	name[len] = '\0';
	return count_of_node(inv, name, !is_public, is_public);
}

static bool inventory_begins(const char *label, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(label, prefix, strlen(prefix)) == 0;
}

/* What has no label, or a longer one, is not ours.  *ret_read: false when the object does not say. */
static enum err inventory_look_at(struct session *s, CK_OBJECT_HANDLE handle, bool is_public,
				  struct inventory *inv, bool *ret_read)
{
	struct inventory_object object = {.handle = handle, .is_public = is_public};
	char label[LABEL_READ_MAX];
	uint8_t id[256];
	CK_ATTRIBUTE attributes[] = {{CKA_LABEL, label, sizeof(label)}, {CKA_ID, id, sizeof(id)}};
	CK_RV rv = s->token->p11->C_GetAttributeValue(s->handle, handle, attributes, 2);
	size_t label_len = attributes[0].ulValueLen, id_len = attributes[1].ulValueLen;

	if (ckr_is_session_lost(rv) || ckr_is_device_lost(rv))
		return session_fail(s, "C_GetAttributeValue", rv);
	/* After these two the lengths tell which of the attributes is there (PKCS#11 v2.40 §5.7). */
	*ret_read = rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL;
	if (!*ret_read || label_len > sizeof(label))
		return E_OK;
	if (inventory_begins(label, label_len, STOCK_LABEL_PREFIX_0_1))
		return count_ready_0_1(inv, label, label_len, is_public);
	if (inventory_begins(label, label_len, PROBE_LABEL_PREFIX) ||
	    (!inventory_begins(label, label_len, KEY_NAME_PREFIX) &&
	     !inventory_begins(label, label_len, KEY_LABEL_PREFIX_0_1)))
		return E_OK;
	if (id_len <= sizeof(id))
		memcpy(object.key_id, id, id_len < KEY_ID_BYTES ? id_len : KEY_ID_BYTES);
	if (s->token->ids_own)
		object_name_id(label, label_len, object.key_id);
	return inventory_add(inv, &object, label, strnlen(label, label_len));
}

/* Those that would not be read are left in `handles`. */
static enum err inventory_look_at_all(struct session *s, struct object_handles *handles, bool is_public,
				      struct inventory *inv)
{
	size_t unread = 0;

	for (size_t i = 0; i < handles->len; i++) {
		bool read = true;
		enum err e = session_must_stop(s)
				 ? session_break_off(s)
				 : inventory_look_at(s, handles->at[i], is_public, inv, &read);

		if (e != E_OK)
			return e;
		if (!read)
			handles->at[unread++] = handles->at[i];
	}
	handles->len = unread;
	return E_OK;
}

static int compare_handles(const void *a, const void *b)
{
	const CK_OBJECT_HANDLE left = *(const CK_OBJECT_HANDLE *)a, right = *(const CK_OBJECT_HANDLE *)b;

	return left < right ? -1 : left > right;
}

/* Leaves those of `handles` that are in `present`, too, which becomes sorted. */
static void keep_common(struct object_handles *handles, const struct object_handles *present)
{
	size_t kept = 0;

	if (present->len)
		qsort(present->at, present->len, sizeof(present->at[0]), compare_handles);
	for (size_t i = 0; i < handles->len && present->len; i++)
		if (bsearch(&handles->at[i], present->at, present->len, sizeof(present->at[0]),
			    compare_handles))
			handles->at[kept++] = handles->at[i];
	handles->len = kept;
}

/*
 * An object that would not be read may be gone: then a second search does not
 * find it.  Nor does one under that handle when the user was logged in anew.
 */
static enum err take_class(struct session *s, CK_OBJECT_CLASS class, struct inventory *inv)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, sizeof(yes)}};
	struct object_handles handles = {0}, present = {0};
	const uint64_t logins = session_logins(s);
	enum err e = object_search(s, template, 2, INVENTORY_OBJECTS_MAX, &handles);

	if (e == E_OK)
		e = inventory_look_at_all(s, &handles, class == CKO_PUBLIC_KEY, inv);
	if (e != E_OK || !handles.len)
		goto out;
	if ((e = object_search(s, template, 2, INVENTORY_OBJECTS_MAX, &present)) != E_OK ||
	    (e = session_check_login(s, logins)) != E_OK)
		goto out;
	keep_common(&handles, &present);
	if ((e = inventory_look_at_all(s, &handles, class == CKO_PUBLIC_KEY, inv)) != E_OK)
		goto out;
	inv->unread += (uint32_t)handles.len;
out:
	free(present.at);
	free(handles.at);
	return e;
}

static int inventory_compare(const void *a, const void *b, void *arg)
{
	const struct inventory_object *left = a, *right = b;
	const struct inventory *inv = arg;
	int order = strcmp(inv->labels + left->label, inv->labels + right->label);

	return order ? order : (int)left->is_public - (int)right->is_public;
}

enum err inventory_take(struct session *s, struct inventory *ret_inventory)
{
	struct inventory inv = {0};
	enum err e;

	if ((e = take_class(s, CKO_PRIVATE_KEY, &inv)) != E_OK ||
	    (e = take_class(s, CKO_PUBLIC_KEY, &inv)) != E_OK) {
		inventory_release(&inv);
		return e;
	}
	inv.unread += (uint32_t)remains_count(gate_remains(s->gate)); /* not found, and perhaps there */
	if (inv.len)
		qsort_r(inv.objects, inv.len, sizeof(*inv.objects), inventory_compare, &inv);
	*ret_inventory = inv;
	return E_OK;
}

/* ---- finding ---- */

/* The first object of that label, or behind it; all of them stand together. */
static size_t find_first(const struct inventory *inv, const char *label)
{
	size_t low = 0, high = inv->len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(inv->labels + inv->objects[middle].label, label) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool inventory_has(const struct inventory *inv, const char *label)
{
	size_t first = find_first(inv, label);

	return first < inv->len && strcmp(inv->labels + inv->objects[first].label, label) == 0;
}

bool inventory_find_pair(const struct inventory *inv, const char *label, CK_OBJECT_HANDLE *ret_private,
			 CK_OBJECT_HANDLE *ret_public, uint8_t ret_key_id[KEY_ID_BYTES])
{
	size_t first = find_first(inv, label), len = 0;
	const struct inventory_object *pair;

	if (first == inv->len)
		return false;
	pair = &inv->objects[first];
	while (first + len < inv->len && strcmp(inv->labels + pair[len].label, label) == 0)
		len++;
	/* sorted: the private key stands before the public one */
	if (len != 2 || pair[0].is_public || !pair[1].is_public ||
	    memcmp(pair[0].key_id, pair[1].key_id, KEY_ID_BYTES) != 0)
		return false;
	*ret_private = pair[0].handle;
	*ret_public = pair[1].handle;
	memcpy(ret_key_id, pair[0].key_id, KEY_ID_BYTES);
	return true;
}

/* ---- lives ---- */

void inventory_tell_lives(struct inventory *inv, inventory_life_fn life, void *arg)
{
	const char *label = "";

	for (size_t i = 0; i < inv->len; i++) {
		struct inventory_object *object = &inv->objects[i];

		if (strcmp(inv->labels + object->label, label) == 0)
			continue;
		label = inv->labels + object->label;
		object->life = (uint8_t)life(arg, label);
	}
}

enum err inventory_count_ready(struct inventory *inv, const char *node, const char *label)
{
	uint32_t private_keys = 0, public_keys = 0;

	for (size_t i = find_first(inv, label);
	     i < inv->len && strcmp(inv->labels + inv->objects[i].label, label) == 0; i++) {
		private_keys += !inv->objects[i].is_public;
		public_keys += inv->objects[i].is_public;
	}
	return private_keys || public_keys ? count_of_node(inv, node, private_keys, public_keys) : E_OK;
}

/* ---- telling ---- */

/* Both halves are there, as a rule. */
static uint32_t inventory_count_keys(const struct inventory_node *node)
{
	return node->private_keys > node->public_keys ? node->private_keys : node->public_keys;
}

void inventory_count_nodes(const struct inventory *inv, const char *own, uint32_t *ret_nodes,
			   uint32_t *ret_keys)
{
	*ret_nodes = *ret_keys = 0;
	for (size_t i = 0; i < inv->nodes_len; i++) {
		if (strcmp(inv->nodes[i].name, own) == 0)
			continue;
		(*ret_nodes)++;
		*ret_keys += inventory_count_keys(&inv->nodes[i]);
	}
}

enum err inventory_encode_nodes(const struct inventory *inv, const char *own, struct buf *payload)
{
	struct message_list_pools_reply reply = {.unread = inv->unread};

	reply.nodes = calloc(MESSAGE_LIST_POOLS_MAX, sizeof(*reply.nodes)); /* names are borrowed */
	if (!reply.nodes)
		return E_NOMEM;
	for (size_t i = 0; i < inv->nodes_len; i++) {
		if (strcmp(inv->nodes[i].name, own) == 0)
			continue;
		reply.more = reply.nodes_len == MESSAGE_LIST_POOLS_MAX;
		if (reply.more)
			break;
		reply.nodes[reply.nodes_len++] = (struct message_node_pool){
		    inv->nodes[i].name, inv->nodes[i].private_keys, inv->nodes[i].public_keys};
	}
	message_list_pools_reply_encode(payload, &reply);
	free(reply.nodes);
	return E_OK;
}

/* All objects of one label become one entry; moves *at behind them. */
static void next_key(const struct inventory *inv, size_t *at, struct message_listed_key *key)
{
	const struct inventory_object *first = &inv->objects[*at];
	struct object_found found = {0};

	key->label = inv->labels + first->label;
	key->life = (enum message_key_life)first->life;
	memcpy(key->key_id, first->key_id, KEY_ID_BYTES);
	for (; *at < inv->len; (*at)++) {
		const struct inventory_object *object = &inv->objects[*at];

		if (strcmp(inv->labels + object->label, key->label) != 0)
			break;
		if (object->is_public)
			found.public_keys++;
		else
			found.private_keys++;
		if (memcmp(object->key_id, first->key_id, KEY_ID_BYTES) != 0)
			found.ids_differ = true;
	}
	key->presence = object_presence(&found);
}

bool inventory_encode_part(const struct inventory *inv, size_t *at, struct buf *payload)
{
	struct message_listed_key keys[MESSAGE_LIST_PART_KEYS]; /* labels are borrowed */
	struct message_list_keys_part part = {.keys = keys, .unread = inv->unread};

	while (*at < inv->len && part.keys_len < MESSAGE_LIST_PART_KEYS)
		next_key(inv, at, &keys[part.keys_len++]);
	part.last = *at == inv->len;
	message_list_keys_part_encode(payload, &part);
	return part.last;
}
