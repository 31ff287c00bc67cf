/* SPDX-License-Identifier: Apache-2.0 */
/* Tells csrctl which values are in force. */
#include "hsm/signer/serve/in_force.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/published.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int in_force_tell(const struct config *config, const struct state_dir *state)
{
	char *path = NULL;
	struct buf text;
	int fd = -1;
	enum err e;

	buf_init(&text, PUBLISHED_BYTES_MAX);
	config_show(config, &text);
	e = buf_status(&text);
	if (e == E_OK)
		e = published_by_signer(state_dir_path(state), &path);
	if (e == E_OK)
		e = fd_publish(path, &text, &fd);
	if (e != E_OK)
		log_warn("csrctl cannot see how csrd-hsm runs: cannot write '%s': %s",
			 path ? path : state_dir_path(state), e == E_IO ? strerror(errno) : err_str(e));
	buf_release(&text);
	free(path);
	return fd;
}

void in_force_end(int fd, const struct state_dir *state)
{
	char *path;

	if (fd < 0)
		return;
	if (published_by_signer(state_dir_path(state), &path) == E_OK) {
		(void)unlink(path);
		free(path);
	}
	fd_close(&fd);
}
