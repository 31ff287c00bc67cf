/* The place of an SQLite database: what its folder must be, its service's lock, its owner. */
#include "store/sqlite_place.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 50000000 /* longer than a look at the lock takes */

/* WAL needs shared memory and locks that all users of the file see: one machine, one kernel. */
static const char *remote_file_system(long type)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} remote[] = {
	    {NFS_SUPER_MAGIC, "NFS"},   {SMB_SUPER_MAGIC, "SMB"}, {CIFS_SUPER_MAGIC, "CIFS"},
	    {SMB2_SUPER_MAGIC, "SMB2"}, {V9FS_MAGIC, "9p"},       {FUSE_SUPER_MAGIC, "FUSE"},
	    {CEPH_SUPER_MAGIC, "Ceph"}, {AFS_SUPER_MAGIC, "AFS"}, {AFS_FS_MAGIC, "AFS"},
	    {CODA_SUPER_MAGIC, "Coda"}, {NCP_SUPER_MAGIC, "NCP"}, {OCFS2_SUPER_MAGIC, "OCFS2"},
	    {0x01161970, "GFS2"},       {0x0bd00bd0, "Lustre"},   {0x47504653, "GPFS"},
	    {0x786f4256, "VirtualBox"}, {0x19830326, "BeeGFS"},   {0x20030528, "OrangeFS"},
	};

	for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
		if (((unsigned long)type & 0xffffffffUL) == remote[i].magic)
			return remote[i].name;
	}
	return NULL;
}

enum err sqlite_place_error(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return E_NOTFOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return E_DENIED;
	case ENOMEM:
		return E_NOMEM;
	default:
		return E_IO;
	}
}

enum err sqlite_place_check(const char *folder)
{
	struct statfs fs;

	if (statfs(folder, &fs) != 0) {
		int error = errno;

		log_error("store folder '%s' cannot be used: %s", folder, strerror(error));
		return sqlite_place_error(error);
	}
	const char *remote = remote_file_system((long)fs.f_type);
	if (remote != NULL) {
		log_error("store folder '%s' is on a network or shared file system (%s): "
			  "SQLite cannot keep its promises there, use a local disk",
			  folder, remote);
		return E_CONFIG;
	}
	return E_OK;
}

enum err sqlite_place_give(const char *folder, int fd)
{
	struct stat st;

	if (geteuid() != 0)
		return E_OK;
	if (stat(folder, &st) != 0 || fchown(fd, st.st_uid, st.st_gid) != 0)
		return E_IO;
	return E_OK;
}

void sqlite_place_sync(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fsync(fd) != 0)
		log_warn("cannot flush store folder '%s': %s", folder, strerror(errno));
	fd_close(&fd);
}

/* A shared lock for an instant; sqlite_place_lock outlasts it. */
enum err sqlite_place_is_locked(const char *path, bool *ret_locked)
{
	struct buf name;
	int fd = -1;

	buf_init(&name, SQLITE_PLACE_PATH_MAX);
	buf_printf(&name, "%s.lock", path);
	enum err e = buf_status(&name);
	if (e == E_OK) {
		fd = open(buf_text(&name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno != ENOENT)
			e = sqlite_place_error(errno);
	}
	if (e == E_OK)
		*ret_locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
	fd_close(&fd);
	buf_release(&name);
	return e;
}

/* Once more after a moment: csrctl may just be looking whether it is held. */
static enum err take_lock(const char *name, int *ret_fd)
{
	const struct timespec moment = {.tv_nsec = LOOK_NS};
	enum err e = fd_lock_file(name, ret_fd);

	if (e != E_EXISTS)
		return e;
	nanosleep(&moment, NULL);
	return fd_lock_file(name, ret_fd);
}

enum err sqlite_place_lock(const char *path, const char *folder, int *ret_fd)
{
	struct buf name;
	int fd = -1;

	buf_init(&name, SQLITE_PLACE_PATH_MAX);
	buf_printf(&name, "%s.lock", path);
	enum err e = buf_status(&name);
	if (e == E_OK) {
		e = take_lock(buf_text(&name), &fd);
		if (e == E_EXISTS)
			log_error("store '%s' is served by another csrd already", path);
		else if (e != E_OK)
			log_err(e, "cannot lock '%s' (%s)", buf_text(&name), strerror(errno));
		else
			e = sqlite_place_give(folder, fd);
	}
	if (e == E_OK)
		*ret_fd = fd;
	else
		fd_close(&fd);
	buf_release(&name);
	return e;
}
