/* SPDX-License-Identifier: Apache-2.0 */
/* The file that tells csrctl of this process. */
#include "daemon/running.h"

#include "api/json.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/published.h"
#include "store/store_url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct comparison {
	int64_t at_us; /* 0: none yet */
	struct reconcile_report report;
};

struct running {
	const struct config *config;
	char *path;
	int fd; /* of the file that stands there, locked; -1: none */
	bool failed;
	int64_t since_us;
	struct comparison compared[CONFIG_TOKENS_MAX]; /* by config->tokens */
	key_type_set makes[CONFIG_TOKENS_MAX];         /* likewise; 0: not known yet */
};

static void put_value(void *arg, const struct config_value *value)
{
	struct json_writer *w = arg;
	char full[CONFIG_FULL_NAME_SIZE];

	config_value_full_name(value, full);
	json_put_text_member(w, full, value->text);
}

static void put_comparison(struct json_writer *w, const char *token, const struct comparison *c)
{
	json_open_object(w);
	json_put_text_member(w, "token", token);
	json_put_int_member(w, "at_us", c->at_us);
	json_put_int_member(w, "checked", (int64_t)c->report.checked);
	json_put_int_member(w, "missing", (int64_t)c->report.missing);
	json_put_int_member(w, "unknown", (int64_t)c->report.unknown);
	json_put_int_member(w, "set_aside", (int64_t)c->report.set_aside);
	json_put_int_member(w, "unread", (int64_t)c->report.unread);
	json_put_int_member(w, "unclear", (int64_t)c->report.unclear);
	json_close(w);
}

static void put_makes(struct json_writer *w, const char *token, key_type_set makes)
{
	json_open_object(w);
	json_put_text_member(w, "token", token);
	json_put_name(w, "key_types");
	json_open_array(w);
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		if (makes & KEY_TYPE_BIT(type))
			json_put_text(w, key_type_name((enum key_type)type));
	json_close(w);
	json_close(w);
}

static enum err put_document(const struct running *running, struct buf *b)
{
	struct json_writer w;

	json_writer_init(&w, b);
	json_open_object(&w);
	json_put_text_member(&w, "version", CSRD_VERSION);
	json_put_int_member(&w, "pid", getpid());
	json_put_int_member(&w, "since_us", running->since_us);
	json_put_name(&w, "config");
	json_open_object(&w);
	enum err e = config_each_value(running->config, put_value, &w);
	json_close(&w);
	json_put_name(&w, "comparisons");
	json_open_array(&w);
	for (size_t i = 0; i < running->config->tokens_len; i++)
		if (running->compared[i].at_us != 0)
			put_comparison(&w, running->config->tokens[i].name, &running->compared[i]);
	json_close(&w);
	json_put_name(&w, "tokens");
	json_open_array(&w);
	for (size_t i = 0; i < running->config->tokens_len; i++)
		if (running->makes[i] != 0)
			put_makes(&w, running->config->tokens[i].name, running->makes[i]);
	json_close(&w);
	json_close(&w);
	return e == E_OK ? buf_status(b) : e;
}

static bool put_file(struct running *running, const struct buf *b)
{
	int fd;

	if (fd_publish(running->path, b, &fd) != E_OK)
		return false;
	fd_close(&running->fd);
	running->fd = fd;
	return true;
}

static void running_write_file(struct running *running)
{
	struct buf b;

	if (!running->path)
		return;
	buf_init(&b, PUBLISHED_BYTES_MAX);
	errno = 0;
	bool written = put_document(running, &b) == E_OK && put_file(running, &b);
	if (!written && !running->failed)
		log_warn("csrctl cannot see how csrd runs: cannot write '%s': %s", running->path,
			 errno != 0 ? strerror(errno) : "out of memory");
	running->failed = !written;
	buf_release(&b);
}

void running_reloaded(struct running *running)
{
	running_write_file(running);
}

void running_compared(struct running *running, const char *token_name, const struct reconcile_report *report)
{
	for (size_t i = 0; i < running->config->tokens_len; i++) {
		if (strcmp(running->config->tokens[i].name, token_name) != 0)
			continue;
		running->compared[i] = (struct comparison){.at_us = clock_wall_us(), .report = *report};
		running_write_file(running);
		return;
	}
}

const struct reconcile_report *running_comparison(const struct running *running, size_t index,
						  int64_t *ret_at_us)
{
	const struct comparison *compared = &running->compared[index];

	if (compared->at_us == 0)
		return NULL;
	*ret_at_us = compared->at_us;
	return &compared->report;
}

void running_makes(struct running *running, const char *token_name, key_type_set key_types)
{
	for (size_t i = 0; i < running->config->tokens_len; i++) {
		if (strcmp(running->config->tokens[i].name, token_name) != 0 ||
		    running->makes[i] == key_types)
			continue;
		running->makes[i] = key_types;
		running_write_file(running);
	}
}

enum err running_new(const struct config *config, struct running **ret_running)
{
	struct running *running = calloc(1, sizeof(*running));
	const char *path = store_url_path(config->store.url);

	if (!running)
		return E_NOMEM;
	running->config = config;
	running->fd = -1;
	running->since_us = clock_wall_us();
	if (path && published_by_csrd(path, &running->path) != E_OK) {
		running_free(running);
		return E_NOMEM;
	}
	running_write_file(running);
	*ret_running = running;
	return E_OK;
}

void running_free(struct running *running)
{
	if (!running)
		return;
	if (running->fd >= 0)
		unlink(running->path);
	fd_close(&running->fd);
	free(running->path);
	free(running);
}
