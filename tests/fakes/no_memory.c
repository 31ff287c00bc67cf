/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out on order.  Preloaded (LD_PRELOAD); the file that
 * CSRD_NO_MEMORY_FILE names is a struct order, which the test maps as well:
 * the calls to malloc(3) and its like are counted in it, and those from number
 * `from` up to, but not including, `until` fail.  With `learns` each call is
 * noted in the file of that name and ".calls", as its number and a hash of who
 * made it, so that a test need not let each of ten thousand calls fail that come
 * from the same place.
 *
 * Calls that the PKCS#11 module makes never fail: what becomes of them is
 * SoftHSM's business (it ends its process).
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAMES 48
#define FRAMES_TOLD_APART 16

struct order { /* tests/system/no_memory.py has the same */
	_Atomic uint64_t calls;
	_Atomic uint64_t from; /* 0: none fails */
	_Atomic uint64_t until;
	_Atomic uint64_t failed;
	_Atomic uint64_t learns;
	char where[8152]; /* of the first that failed: "OBJECT OFFSET" of each frame, the innermost first */
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static struct order *order;
static int calls_fd = -1;

__attribute__((constructor)) static void order_map(void)
{
	const char *path = getenv("CSRD_NO_MEMORY_FILE");
	int fd = !path ? -1 : open(path, O_RDWR | O_CLOEXEC);
	void *frames[1];
	char calls[4096];
	void *map;

	backtrace(frames, 1); /* loads what it needs */
	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	snprintf(calls, sizeof(calls), "%s.calls", path);
	calls_fd = open(calls, O_WRONLY | O_APPEND | O_CLOEXEC); /* the test makes it, if it wants it */
	order = map;
}

struct stack {
	void *const *frames;
	int len;
};

static int stack_is_in(struct dl_phdr_info *object, size_t size, void *arg)
{
	const struct stack *stack = arg;

	(void)size;
	if (!strstr(object->dlpi_name, "libsofthsm"))
		return 0;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		uintptr_t begin = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;

		for (int j = 0; object->dlpi_phdr[i].p_type == PT_LOAD && j < stack->len; j++)
			if ((uintptr_t)stack->frames[j] - begin < object->dlpi_phdr[i].p_memsz)
				return 1;
	}
	return 0;
}

/* Whether the module is on the stack. */
static int order_spares(void *const *frames, int len)
{
	struct stack stack = {frames, len};

	return dl_iterate_phdr(stack_is_in, &stack);
}

static void order_note(void *const *frames, int len)
{
	size_t at = 0;
	Dl_info info;

	for (int i = 0; i < len && at < sizeof(order->where) - 256; i++) {
		int n;

		if (!dladdr(frames[i], &info) || !info.dli_fname)
			continue;
		n = snprintf(order->where + at, 256, "%s 0x%tx %s\n", info.dli_fname,
			     (const char *)frames[i] - (const char *)info.dli_fbase,
			     info.dli_sname ? info.dli_sname : "?");
		at += n < 0 ? 0 : n > 255 ? 255 : (size_t)n;
	}
}

static void order_learn(uint64_t call, void *const *frames, int len)
{
	uint64_t note[2] = {call, 0xcbf29ce484222325};

	for (int i = 0; i < len && i < FRAMES_TOLD_APART; i++)
		note[1] = (note[1] ^ (uintptr_t)frames[i]) * 0x100000001b3;
	if (write(calls_fd, note, sizeof(note)) != sizeof(note))
		abort();
}

/* True, with errno, when this call is to fail. */
static int order_fails(void)
{
	static _Thread_local int inside;
	void *frames[FRAMES];
	uint64_t call, from;
	int fails, learns, len;

	if (!order || inside)
		return 0;
	call = atomic_fetch_add(&order->calls, 1) + 1;
	from = atomic_load(&order->from);
	fails = from != 0 && call >= from && call < atomic_load(&order->until);
	learns = atomic_load(&order->learns) && calls_fd >= 0;
	if (!fails && !learns)
		return 0;
	inside = 1;
	len = backtrace(frames, FRAMES);
	if (order_spares(frames, len))
		fails = 0;
	else if (learns)
		order_learn(call, frames, len);
	if (fails && atomic_fetch_add(&order->failed, 1) == 0)
		order_note(frames, len);
	inside = 0;
	if (fails)
		errno = ENOMEM;
	return fails;
}

void *malloc(size_t size)
{
	return order_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return order_fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return order_fails() ? NULL : __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
	return order_fails() ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
	void *made = memalign(alignment, size);

	if (!made)
		return ENOMEM;
	*ret = made;
	return 0;
}
