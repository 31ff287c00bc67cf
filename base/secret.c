/* SPDX-License-Identifier: Apache-2.0 */
/* Secret bytes in locked, undumpable pages. */
#include "base/secret.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct secret {
	size_t mapped; /* bytes of the mapping, this header included */
	size_t len;
	unsigned char bytes[];
};

static enum err secret_new(size_t max_bytes, struct secret **ret_secret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t mapped = (sizeof(struct secret) + max_bytes + 1 + page - 1) / page * page;
	struct secret *s = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED)
		return E_NOMEM;
	if (mlock(s, mapped) || madvise(s, mapped, MADV_DONTDUMP)) {
		int error = errno;

		munmap(s, mapped);
		errno = error;
		return E_UNAVAIL;
	}
	s->mapped = mapped;
	*ret_secret = s;
	return E_OK;
}

/* The mode is judged on the opened file, not on the path. */
static enum err secret_check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return E_IO;
	if (!S_ISREG(st.st_mode))
		return E_INVAL;
	if (st.st_mode & (S_IWGRP | S_IRWXO))
		return E_DENIED;
	return E_OK;
}

static enum err read_into(int fd, struct secret *s, size_t max_bytes)
{
	ssize_t got;

	/* One byte more than allowed, and the newline that may follow. */
	while (s->len < max_bytes + 1) {
		got = read(fd, s->bytes + s->len, max_bytes + 1 - s->len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return E_IO;
		if (got == 0)
			break;
		s->len += (size_t)got;
	}
	if (s->len && s->bytes[s->len - 1] == '\n')
		s->len--;
	if (s->len > max_bytes)
		return E_LIMIT;
	return s->len ? E_OK : E_INVAL;
}

enum err secret_read_file(const char *path, size_t max_bytes, struct secret **ret_secret)
{
	struct secret *s = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	enum err e;

	if (fd < 0)
		return errno == ENOENT ? E_NOTFOUND : errno == EACCES || errno == EPERM ? E_DENIED : E_IO;
	if ((e = secret_check_file(fd)) != E_OK || (e = secret_new(max_bytes, &s)) != E_OK ||
	    (e = read_into(fd, s, max_bytes)) != E_OK)
		goto out;
	*ret_secret = s;
	s = NULL;
out:
	secret_free(s);
	fd_close(&fd);
	return e;
}

const unsigned char *secret_bytes(const struct secret *s)
{
	return s->bytes;
}

size_t secret_len(const struct secret *s)
{
	return s->len;
}

void secret_free(struct secret *s)
{
	size_t mapped;

	if (!s)
		return;
	mapped = s->mapped;
	secret_scrub(s, mapped);
	munmap(s, mapped);
}

void secret_scrub(void *memory, size_t len)
{
	explicit_bzero(memory, len);
}

enum err secret_forbid_dumps(void)
{
	struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return E_IO;
	return E_OK;
}
