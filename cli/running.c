/* Reads the file that csrd leaves beside the store while it runs. */
#include "cli/running.h"

#include "base/fd.h"
#include "store/store_url.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (256 * 1024)

/* The folder is another user's: no link is followed, nothing is waited for.  It is locked while csrd lives.
 */
static enum err open_living(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return errno == EACCES ? E_DENIED : E_NOTFOUND;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || flock(fd, LOCK_SH | LOCK_NB) == 0 ||
	    errno != EWOULDBLOCK) {
		fd_close(&fd);
		return E_NOTFOUND;
	}
	*ret_fd = fd;
	return E_OK;
}

static enum err read_all(int fd, struct buf *b)
{
	char block[4096];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) != 0) {
		if (n < 0 && errno != EINTR)
			return E_IO;
		if (n > 0)
			buf_put(b, block, (size_t)n);
	}
	return buf_status(b);
}

enum err running_read(const struct config *config, struct json_doc **ret_doc)
{
	const char *store = store_url_path(config->store.url);
	char path[4096], why[JSON_WHY_SIZE];
	struct buf text;
	int fd = -1;
	enum err e;

	if (!store || snprintf(path, sizeof(path), "%s.running", store) >= (int)sizeof(path))
		return E_NOTFOUND;
	e = open_living(path, &fd);
	if (e != E_OK)
		return e;
	buf_init(&text, FILE_BYTES_MAX);
	e = read_all(fd, &text);
	if (e == E_OK)
		e = json_read(buf_text(&text), text.len, why, ret_doc);
	fd_close(&fd);
	buf_release(&text);
	return e == E_INVAL || e == E_LIMIT ? E_IO : e;
}

const char *running_version(const struct json_doc *doc)
{
	return json_text(json_member(json_root(doc), "version"));
}

const char *running_value(const struct json_doc *doc, const char *full_name)
{
	return json_text(json_member(json_member(json_root(doc), "config"), full_name));
}

bool running_last_comparison(const struct json_doc *doc, const char *token,
			     struct running_comparison *ret_comparison)
{
	struct json_value all = json_member(json_root(doc), "comparisons");

	for (size_t i = 0; i < json_array_len(all); i++) {
		struct json_value item = json_array_item(all, i);
		const char *name = json_text(json_member(item, "token"));
		struct running_comparison c;

		if (!name || strcmp(name, token) != 0)
			continue;
		if (json_integer(json_member(item, "at_us"), &c.at_us) != E_OK ||
		    json_integer(json_member(item, "checked"), &c.checked) != E_OK ||
		    json_integer(json_member(item, "missing"), &c.missing) != E_OK ||
		    json_integer(json_member(item, "unknown"), &c.unknown) != E_OK ||
		    json_integer(json_member(item, "set_aside"), &c.set_aside) != E_OK ||
		    json_integer(json_member(item, "unread"), &c.unread) != E_OK)
			return false;
		*ret_comparison = c;
		return true;
	}
	return false;
}

void running_comparison_words(const struct running_comparison *c, char words[RUNNING_WORDS_SIZE])
{
	const struct {
		int64_t count;
		const char *name;
	} kinds[] = {{c->missing, "missing"}, {c->unknown, "unknown"}, {c->set_aside, "set aside"},
		     {c->unread, "unread"}};
	size_t len = 0;

	words[0] = '\0';
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].count > 0)
			len += (size_t)snprintf(words + len, RUNNING_WORDS_SIZE - len, "%s%" PRId64 " %s",
						len ? ", " : "", kinds[i].count, kinds[i].name);
}
