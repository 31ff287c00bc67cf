/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for csrd-hsm where the token is not what is measured: speaks its
 * protocol (hsm/message.h) over a unix socket, and answers create-csr at once
 * with one and the same DER, a fresh random key id and SPKI hash.
 *
 * --keys names a file of key ids, 16 bytes each: what list-keys answers, under
 * the names that are made of them.  Prints "listening" once it does.
 */
#include "base/buf.h"
#include "base/exit_code.h"
#include "hsm/frame.h"
#include "hsm/message.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS_MAX 16
#define OUT_ENOUGH (256 * 1024)
#define BUFFER_MAX (64 * 1024 * 1024)

struct key_record {
	uint8_t key_id[KEY_ID_BYTES];
};

struct connection {
	int fd;
	struct buf in, out;
	bool listing;
	uint32_t list_request;
	size_t list_at;
};

static uint8_t *der;
static size_t der_len;
static const struct key_record *keys;
static size_t keys_len;
static struct connection connections[CONNECTIONS_MAX];
static size_t connections_len;
static uint64_t created;

static void die(const char *what)
{
	fprintf(stderr, "fake_signer: %s: %s\n", what, strerror(errno));
	exit(EXIT_CODE_SYSTEM);
}

/* ---- answers ---- */

static void reply(struct connection *c, const struct frame *f, const struct buf *payload)
{
	if (buf_status(payload) != E_OK)
		die("cannot encode an answer");
	frame_put(&c->out, f->request_id, f->type | MESSAGE_REPLY, payload->data, payload->len);
}

static enum err answer_hello(const struct frame *f, struct buf *payload)
{
	struct message_hello hello;
	struct message_hello_reply m = {
	    .version = MESSAGE_PROTOCOL_VERSION,
	    .token_name = (char *)(uintptr_t) "default",
	    .token_label = (char *)(uintptr_t) "fake",
	    .token_serial = (char *)(uintptr_t) "0",
	    .token_manufacturer = (char *)(uintptr_t) "bench",
	    .token_model = (char *)(uintptr_t) "none",
	    .key_types = KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1),
	};
	enum err e = message_hello_decode(f->payload, f->payload_len, &hello);

	if (e != E_OK)
		return e;
	message_hello_release(&hello);
	message_hello_reply_encode(payload, &m);
	return E_OK;
}

static enum err answer_create(const struct frame *f, struct buf *payload)
{
	struct message_create_csr request;
	struct message_create_csr_reply m = {
	    .key.protection = KEY_PROT_REQUIRED,
	    .der = der,
	    .der_len = der_len,
	};
	enum err e = message_create_csr_decode(f->payload, f->payload_len, &request);

	if (e != E_OK)
		return e;
	m.key.key_type = request.spec.key_type;
	message_create_csr_release(&request);
	if (getrandom(m.key.key_id, KEY_ID_BYTES, 0) != KEY_ID_BYTES ||
	    getrandom(m.key.spki_sha256, KEY_SPKI_HASH_BYTES, 0) != KEY_SPKI_HASH_BYTES)
		die("no random bytes");
	key_name_format(m.key.label, m.key.key_id);
	message_create_csr_reply_encode(payload, &m);
	created++;
	return E_OK;
}

static enum err answer_key(const struct frame *f, struct buf *payload)
{
	struct message_key_request request;
	struct message_destroy_key_reply destroyed = {.destroyed = 2};
	struct message_find_key_reply found = {.presence = MESSAGE_KEY_NONE};
	enum err e = message_key_request_decode(f->payload, f->payload_len, &request);

	if (e != E_OK)
		return e;
	if (f->type == MESSAGE_DESTROY_KEY)
		message_destroy_key_reply_encode(payload, &destroyed);
	else
		message_find_key_reply_encode(payload, &found);
	return E_OK;
}

static void answer_status(struct buf *payload)
{
	struct message_status_reply m = {
	    .usable = true,
	    .detail = (char *)(uintptr_t) "",
	    .threads = 1,
	    .created = created,
	    .key_types = KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1),
	};

	message_status_reply_encode(payload, &m);
}

static void put_list_part(struct connection *c)
{
	static char labels[MESSAGE_LIST_PART_KEYS][KEY_NAME_SIZE];
	struct message_listed_key listed[MESSAGE_LIST_PART_KEYS];
	struct message_list_keys_part part = {.keys = listed};
	struct frame f = {.request_id = c->list_request, .type = MESSAGE_LIST_KEYS};
	struct buf payload;

	while (c->list_at < keys_len && part.keys_len < MESSAGE_LIST_PART_KEYS) {
		const struct key_record *from = &keys[c->list_at++];
		struct message_listed_key *to = &listed[part.keys_len];

		key_name_format(labels[part.keys_len], from->key_id);
		to->label = labels[part.keys_len++];
		to->presence = MESSAGE_KEY_PAIR;
		memcpy(to->key_id, from->key_id, KEY_ID_BYTES);
	}
	part.last = c->list_at == keys_len;
	c->listing = !part.last;
	buf_init(&payload, FRAME_PAYLOAD_MAX);
	message_list_keys_part_encode(&payload, &part);
	reply(c, &f, &payload);
	buf_release(&payload);
}

static enum err handle(struct connection *c, const struct frame *f)
{
	struct buf payload;
	enum err e = E_OK;

	buf_init(&payload, FRAME_PAYLOAD_MAX);
	switch (f->type) {
	case MESSAGE_HELLO:
		e = answer_hello(f, &payload);
		break;
	case MESSAGE_CREATE_CSR:
		e = answer_create(f, &payload);
		break;
	case MESSAGE_DESTROY_KEY:
	case MESSAGE_FIND_KEY:
		e = answer_key(f, &payload);
		break;
	case MESSAGE_STATUS:
		answer_status(&payload);
		break;
	case MESSAGE_NOTE_STORE: /* forgotten at once: each csrd is new to it */
	case MESSAGE_CONFIRM:
		break;
	case MESSAGE_UNSETTLED:
		message_unsettled_reply_encode(&payload, &(struct message_unsettled_reply){.more = false});
		break;
	case MESSAGE_LIST_KEYS:
		c->listing = true;
		c->list_request = f->request_id;
		c->list_at = 0;
		put_list_part(c);
		buf_release(&payload);
		return E_OK;
	default:
		e = E_PROTO;
	}
	if (e == E_OK)
		reply(c, f, &payload);
	buf_release(&payload);
	return e;
}

/* ---- connections ---- */

/* False: it is over. */
static bool take_input(struct connection *c)
{
	static uint8_t chunk[65536];
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	size_t at = 0;
	enum err e;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	buf_put(&c->in, chunk, (size_t)n);
	for (;;) {
		struct frame f;
		size_t used;

		e = frame_parse(c->in.data + at, c->in.len - at, &f, &used);
		if (e == E_OK)
			e = handle(c, &f);
		if (e != E_OK)
			break;
		at += used;
	}
	buf_consume(&c->in, at);
	return e == E_BUSY;
}

static bool flush(struct connection *c)
{
	while (c->listing && c->out.len < OUT_ENOUGH)
		put_list_part(c);
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_consume(&c->out, (size_t)n);
	}
	return true;
}

static void drop(size_t i)
{
	close(connections[i].fd);
	buf_release(&connections[i].in);
	buf_release(&connections[i].out);
	connections[i] = connections[--connections_len];
}

static void accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (connections_len == CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	connections[connections_len] = (struct connection){.fd = fd};
	buf_init(&connections[connections_len].in, BUFFER_MAX);
	buf_init(&connections[connections_len].out, BUFFER_MAX);
	connections_len++;
}

/* False: it is over. */
static bool serve_one(struct connection *c, short events)
{
	return (!(events & (POLLIN | POLLHUP | POLLERR)) || take_input(c)) && flush(c);
}

static void serve(int listener)
{
	for (;;) {
		struct pollfd fds[CONNECTIONS_MAX + 1] = {{listener, POLLIN, 0}};

		for (size_t i = 0; i < connections_len; i++) {
			const struct connection *c = &connections[i];

			bool sends = c->out.len || c->listing;

			fds[i + 1] = (struct pollfd){c->fd, sends ? POLLIN | POLLOUT : POLLIN, 0};
		}
		if (poll(fds, connections_len + 1, -1) < 0 && errno != EINTR)
			die("poll");
		for (size_t i = connections_len; i-- > 0;)
			if (!serve_one(&connections[i], fds[i + 1].revents))
				drop(i);
		if (fds[0].revents & POLLIN)
			accept_one(listener);
	}
}

/* ---- start ---- */

static void *map_file(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *data;

	if (fd < 0 || fstat(fd, &st))
		die(path);
	*ret_len = (size_t)st.st_size;
	data = st.st_size ? mmap(NULL, *ret_len, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	if (data == MAP_FAILED)
		die(path);
	close(fd);
	return data;
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		errno = ENAMETOOLONG, die(path);
	memcpy(address.sun_path, path, strlen(path));
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 16))
		die(path);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
	    {"socket", required_argument, NULL, 's'},
	    {"der", required_argument, NULL, 'd'},
	    {"keys", required_argument, NULL, 'k'},
	    {NULL, 0, NULL, 0},
	};
	const char *path = NULL;
	size_t len = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 's':
			path = optarg;
			break;
		case 'd':
			der = map_file(optarg, &der_len);
			break;
		case 'k':
			keys = map_file(optarg, &len);
			keys_len = len / sizeof(*keys);
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	if (!path || !der || optind != argc) {
		fprintf(stderr, "usage: fake_signer --socket PATH --der FILE [--keys FILE]\n");
		return EXIT_CODE_USAGE;
	}
	c = listen_on(path);
	printf("listening\n");
	fflush(stdout);
	serve(c);
	return EXIT_CODE_OK;
}
