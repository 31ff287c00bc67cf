/* SPDX-License-Identifier: Apache-2.0 */
/* malloc(3) and realloc(3) for OpenSSL, which remember that they failed. */
#include "ossl/ossl_memory.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static _Thread_local bool ran_out;

static void *ossl_memory_allocate(size_t size, const char *file, int line)
{
	void *made = size == 0 ? NULL : malloc(size);

	(void)file;
	(void)line;
	ran_out |= size > 0 && !made;
	return made;
}

static void ossl_memory_free(void *old, const char *file, int line)
{
	(void)file;
	(void)line;
	free(old);
}

static void *ossl_memory_reallocate(void *old, size_t size, const char *file, int line)
{
	void *made;

	if (size == 0) {
		ossl_memory_free(old, file, line);
		return NULL;
	}
	made = realloc(old, size);
	ran_out |= !made;
	return made;
}

void ossl_memory_watch(void)
{
	(void)CRYPTO_set_mem_functions(ossl_memory_allocate, ossl_memory_reallocate, ossl_memory_free);
}

void ossl_memory_begin(void)
{
	ran_out = false;
}

bool ossl_memory_ran_out(void)
{
	return ran_out;
}
