/* SPDX-License-Identifier: Apache-2.0 */
/* Handles of key pairs by their labels, of one session. */
#include "hsm/signer/key/key_map.h"

#include "base/clock.h"
#include "base/key_label.h"
#include "hsm/signer/key/inventory.h"
#include "hsm/signer/token/object.h"

#include <stdlib.h>
#include <string.h>

#define LOOKS_BEFORE 2        /* that are searched for before a map is taken */
#define LOOKS_WITHIN_MS 10000 /* of each other */
#define KEPT_MS 60000         /* a map that is older is taken anew */

struct key_map {
	unsigned looks;
	uint64_t looked_ms;
	uint64_t taken_ms; /* 0: there is no map */
	CK_SESSION_HANDLE handle;
	uint64_t epoch;
	struct inventory inventory;
};

void key_map_drop(struct session *s)
{
	if (!s->map)
		return;
	inventory_release(&s->map->inventory);
	free(s->map);
	s->map = NULL;
}

/* Is this look one of many? */
static bool key_map_is_wanted(struct session *s)
{
	uint64_t now_ms = clock_ms();

	if (!s->map && !(s->map = calloc(1, sizeof(*s->map))))
		return false;
	s->map_release = key_map_drop;
	if (now_ms - s->map->looked_ms > LOOKS_WITHIN_MS)
		s->map->looks = 0;
	s->map->looked_ms = now_ms;
	return s->map->looks++ >= LOOKS_BEFORE;
}

static bool is_fresh(const struct session *s)
{
	const struct key_map *map = s->map;

	return map->taken_ms != 0 && map->handle == s->handle && map->epoch == session_epoch(s) &&
	       clock_ms() - map->taken_ms <= KEPT_MS;
}

static bool key_map_take(struct session *s)
{
	struct key_map *map = s->map;

	inventory_release(&map->inventory);
	map->taken_ms = 0;
	if (inventory_take(s, &map->inventory) != E_OK)
		return false;
	map->taken_ms = clock_ms();
	map->handle = s->handle;
	map->epoch = session_epoch(s);
	return true;
}

static bool is_still(struct session *s, CK_OBJECT_HANDLE handle, CK_OBJECT_CLASS wanted, const char *label,
		     const uint8_t key_id[KEY_ID_BYTES])
{
	CK_OBJECT_CLASS class = CK_UNAVAILABLE_INFORMATION;
	char label_now[KEY_LABEL_SIZE];
	uint8_t id[256];
	CK_ATTRIBUTE attributes[] = {{CKA_CLASS, &class, sizeof(class)},
				     {CKA_LABEL, label_now, sizeof(label_now)},
				     {CKA_ID, id, sizeof(id)}};

	return object_read(s, handle, attributes, 3) == E_OK && class == wanted &&
	       attributes[1].ulValueLen == strlen(label) &&
	       memcmp(label_now, label, attributes[1].ulValueLen) == 0 &&
	       (s->token->ids_own ||
		(attributes[2].ulValueLen == KEY_ID_BYTES && memcmp(id, key_id, KEY_ID_BYTES) == 0));
}

bool key_map_find(struct session *s, const char *label, struct key_map_pair *ret_pair)
{
	struct key_map_pair pair;

	if (!key_map_is_wanted(s) || (!is_fresh(s) && !key_map_take(s)) ||
	    !inventory_find_pair(&s->map->inventory, label, &pair.private_key, &pair.public_key,
				 pair.key_id) ||
	    !is_still(s, pair.private_key, CKO_PRIVATE_KEY, label, pair.key_id) ||
	    !is_still(s, pair.public_key, CKO_PUBLIC_KEY, label, pair.key_id))
		return false;
	*ret_pair = pair;
	return true;
}
