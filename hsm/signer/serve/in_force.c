/* Tells csrctl which values are in force. */
#include "hsm/signer/serve/in_force.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES_MAX (256 * 1024)

int in_force_tell(const struct config *config, const struct state_dir *state)
{
	char path[PATH_MAX];
	struct buf text;
	int fd = -1;
	enum err e;

	snprintf(path, sizeof(path), "%s/" IN_FORCE_FILE, state_dir_path(state));
	buf_init(&text, TEXT_BYTES_MAX);
	config_show(config, &text);
	e = buf_status(&text);
	if (e == E_OK)
		e = fd_publish(path, &text, &fd);
	if (e != E_OK)
		log_warn("csrctl cannot see how csrd-hsm runs: cannot write '%s': %s", path,
			 e == E_IO ? strerror(errno) : err_str(e));
	buf_release(&text);
	return fd;
}

void in_force_end(int fd, const struct state_dir *state)
{
	char path[PATH_MAX];

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "%s/" IN_FORCE_FILE, state_dir_path(state));
	(void)unlink(path);
	fd_close(&fd);
}
