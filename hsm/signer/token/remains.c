/* SPDX-License-Identifier: Apache-2.0 */
/* A short list of objects that would not be destroyed. */
#include "hsm/signer/token/remains.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OBJECTS_MAX 256

struct remains {
	pthread_mutex_t lock;
	bool overflowed; /* there are more: any object may be one */
	size_t len;
	struct remains_object objects[OBJECTS_MAX];
};

enum err remains_new(struct remains **ret_remains)
{
	struct remains *r = calloc(1, sizeof(*r));

	if (!r)
		return E_NOMEM;
	pthread_mutex_init(&r->lock, NULL);
	*ret_remains = r;
	return E_OK;
}

void remains_free(struct remains *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static bool is_same(const struct remains_object *a, const struct remains_object *b)
{
	return a->class == b->class && a->label_len == b->label_len && a->id_len == b->id_len &&
	       memcmp(a->label, b->label, a->label_len) == 0 && memcmp(a->id, b->id, a->id_len) == 0;
}

/* Its index, or the length of the list. */
static size_t find_locked(const struct remains *r, const struct remains_object *object)
{
	size_t i = 0;

	while (i < r->len && !is_same(&r->objects[i], object))
		i++;
	return i;
}

void remains_put(struct remains *r, const struct remains_object *object)
{
	pthread_mutex_lock(&r->lock);
	if (find_locked(r, object) == r->len) {
		if (r->len < OBJECTS_MAX)
			r->objects[r->len++] = *object;
		else
			r->overflowed = true;
	}
	pthread_mutex_unlock(&r->lock);
}

void remains_drop(struct remains *r, const struct remains_object *object)
{
	size_t i;

	pthread_mutex_lock(&r->lock);
	i = find_locked(r, object);
	if (i < r->len)
		r->objects[i] = r->objects[--r->len];
	pthread_mutex_unlock(&r->lock);
}

void remains_clear(struct remains *r)
{
	pthread_mutex_lock(&r->lock);
	r->len = 0;
	r->overflowed = false;
	pthread_mutex_unlock(&r->lock);
}

static bool remains_fits(const struct remains_object *object, const char *label, const uint8_t *id,
			 size_t id_len)
{
	if (label &&
	    (strlen(label) != object->label_len || memcmp(label, object->label, object->label_len) != 0))
		return false;
	return !id || (id_len == object->id_len && memcmp(id, object->id, id_len) == 0);
}

bool remains_may_hide(struct remains *r, const char *label, const uint8_t *id, size_t id_len)
{
	bool may;

	pthread_mutex_lock(&r->lock);
	may = r->overflowed;
	for (size_t i = 0; i < r->len && !may; i++)
		may = remains_fits(&r->objects[i], label, id, id_len);
	pthread_mutex_unlock(&r->lock);
	return may;
}

size_t remains_count(struct remains *r)
{
	size_t count;

	pthread_mutex_lock(&r->lock);
	count = r->len + r->overflowed;
	pthread_mutex_unlock(&r->lock);
	return count;
}
