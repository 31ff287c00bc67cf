/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the kernel. */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

enum err random_fill(void *dst, size_t len)
{
	char *at = dst;

	while (len > 0) {
		ssize_t got = getrandom(at, len, GRND_NONBLOCK);

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0)
			errno = EIO;
		if (got <= 0)
			return E_IO;
		at += got;
		len -= (size_t)got;
	}
	return E_OK;
}
