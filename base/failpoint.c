/* SPDX-License-Identifier: Apache-2.0 */
/* Points of sudden death, in test builds only. */
#include "base/failpoint.h"

#ifdef CSRD_FAILPOINTS

#include "base/buf.h"
#include "base/fd.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What follows the name in the file: "", "\n", " sleep…"; false when another point, or none, is armed. */
static bool read_armed(const char *path, const char *name, char rest[8])
{
	struct buf armed;
	size_t len = strlen(name);
	bool found;

	buf_init(&armed, 256);
	found = path && fd_read_file(path, &armed) == E_OK && strncmp(buf_text(&armed), name, len) == 0;
	if (found)
		snprintf(rest, 8, "%s", buf_text(&armed) + len);
	buf_release(&armed);
	return found && (rest[0] == '\0' || strcmp(rest, "\n") == 0 || strncmp(rest, " sleep", 6) == 0);
}

bool failpoint_is_armed(const char *name)
{
	char rest[8];

	return read_armed(getenv("CSRD_FAILPOINT_FILE"), name, rest);
}

void failpoint_hit(const char *name)
{
	const char *path = getenv("CSRD_FAILPOINT_FILE");
	char rest[8];

	if (!read_armed(path, name, rest))
		return;
	unlink(path);
	if (rest[0] != ' ')
		kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

#else

typedef int failpoint_is_not_in_this_build; /* ISO C wants a translation unit to hold something */

#endif
