/* Points of sudden death, in test builds only. */
#include "base/failpoint.h"

#ifdef CSRD_FAILPOINTS

#include "base/buf.h"
#include "base/fd.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void failpoint_hit(const char *name)
{
	const char *path = getenv("CSRD_FAILPOINT_FILE");
	struct buf armed;
	size_t len = strlen(name);

	if (!path)
		return;
	buf_init(&armed, 256);
	if (fd_read_file(path, &armed) == E_OK && strncmp(buf_text(&armed), name, len) == 0) {
		const char *rest = buf_text(&armed) + len;

		if (strcmp(rest, "") == 0 || strcmp(rest, "\n") == 0) {
			unlink(path);
			kill(getpid(), SIGKILL);
		} else if (strncmp(rest, " sleep", 6) == 0) {
			unlink(path);
			for (;;)
				pause();
		}
	}
	buf_release(&armed);
}

#else

typedef int failpoint_is_not_in_this_build; /* ISO C wants a translation unit to hold something */

#endif
