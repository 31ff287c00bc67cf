/* SPDX-License-Identifier: Apache-2.0 */
/* The table of open sessions. */
#include "tests/p11shim/session.h"
#include "tests/p11shim/module.h"
#include "tests/p11shim/trace.h"

#include <pthread.h>
#include <stdlib.h>

struct session {
	CK_SESSION_HANDLE handle;
	CK_SLOT_ID slot;
	unsigned users; /* calls that are using it */
	bool dead;      /* invalid for new calls, to be closed after the last of its users */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct session *sessions;
static size_t count, capacity;
static size_t opening;

static size_t live_count(void)
{
	size_t live = 0;

	for (size_t i = 0; i < count; i++)
		live += !sessions[i].dead;
	return live;
}

static struct session *find(CK_SESSION_HANDLE handle)
{
	for (size_t i = 0; i < count; i++) {
		if (sessions[i].handle == handle)
			return &sessions[i];
	}
	return NULL;
}

static void drop(struct session *s)
{
	*s = sessions[--count];
}

bool session_reserve(unsigned long max)
{
	bool room;

	pthread_mutex_lock(&lock);
	room = max == 0 || live_count() + opening < max;
	opening += room;
	pthread_mutex_unlock(&lock);
	return room;
}

void session_opened(CK_SESSION_HANDLE handle, CK_SLOT_ID slot)
{
	struct session *s;

	pthread_mutex_lock(&lock);
	opening--;
	s = find(handle);
	if (!s && count == capacity) {
		capacity = capacity ? 2 * capacity : 64;
		sessions = reallocarray(sessions, capacity, sizeof(*sessions));
		if (!sessions)
			trace_fatal("no memory for %zu sessions", capacity);
	}
	if (!s)
		s = &sessions[count++];
	*s = (struct session){.handle = handle, .slot = slot};
	pthread_mutex_unlock(&lock);
}

void session_not_opened(void)
{
	pthread_mutex_lock(&lock);
	opening--;
	pthread_mutex_unlock(&lock);
}

bool session_enter(CK_SESSION_HANDLE handle)
{
	struct session *s;
	bool usable = true; /* the module shall judge a handle that is not in the table */

	pthread_mutex_lock(&lock);
	s = find(handle);
	if (s) {
		usable = !s->dead;
		s->users += usable;
	}
	pthread_mutex_unlock(&lock);
	return usable;
}

static void end(struct session *s)
{
	module_functions()->C_CloseSession(s->handle);
	drop(s);
}

void session_leave(CK_SESSION_HANDLE handle)
{
	struct session *s;

	pthread_mutex_lock(&lock);
	s = find(handle);
	if (s && s->users > 0) {
		s->users--;
		if (s->dead && s->users == 0)
			end(s);
	}
	pthread_mutex_unlock(&lock);
}

void session_closed(CK_SESSION_HANDLE handle)
{
	struct session *s;

	pthread_mutex_lock(&lock);
	s = find(handle);
	if (s)
		drop(s);
	pthread_mutex_unlock(&lock);
}

void session_closed_slot(CK_SLOT_ID slot)
{
	pthread_mutex_lock(&lock);
	for (size_t i = count; i-- > 0;) {
		if (sessions[i].slot == slot)
			drop(&sessions[i]);
	}
	pthread_mutex_unlock(&lock);
}

void session_closed_all(void)
{
	pthread_mutex_lock(&lock);
	count = 0;
	pthread_mutex_unlock(&lock);
}

void session_invalidate_all(void)
{
	pthread_mutex_lock(&lock);
	for (size_t i = count; i-- > 0;) {
		if (sessions[i].users > 0)
			sessions[i].dead = true;
		else
			end(&sessions[i]);
	}
	pthread_mutex_unlock(&lock);
}

unsigned long session_count(void)
{
	size_t live;

	pthread_mutex_lock(&lock);
	live = live_count();
	pthread_mutex_unlock(&lock);
	return live;
}

CK_SESSION_HANDLE session_any(void)
{
	CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count && handle == CK_INVALID_HANDLE; i++) {
		if (!sessions[i].dead)
			handle = sessions[i].handle;
	}
	pthread_mutex_unlock(&lock);
	return handle;
}
