/* SPDX-License-Identifier: Apache-2.0 */
/* Speaks the protocol of hsm/message.h to a csrd-hsm, one thread, blocking. */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_client.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_MAX (64 * 1024 * 1024)

static void pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

/* openCryptoki 3.23, by which a test looks at the token, closes low descriptors twice: ours is a high one. */
static int move_away(int fd)
{
	int away = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	assert_true(away >= 0);
	close(fd);
	return away;
}

void signer_client_connect(struct signer_client *c, const char *socket)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	enum err e;

	memset(c, 0, sizeof(*c));
	c->fd = -1;
	buf_init(&c->in, IN_MAX);
	buf_init(&c->kept, IN_MAX);
	while ((e = fd_unix_connect(socket, &c->fd)) == E_NOTFOUND || e == E_UNAVAIL) {
		assert_true(clock_ms() < deadline);
		pause_ms(2);
	}
	assert_int_equal(e, E_OK);
	c->fd = move_away(c->fd);
}

void signer_client_close(struct signer_client *c)
{
	fd_close(&c->fd);
	buf_release(&c->in);
	buf_release(&c->kept);
	free(c->asked);
	c->asked = NULL;
	c->asked_len = 0;
}

void signer_client_send_raw(struct signer_client *c, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		struct pollfd p = {c->fd, POLLOUT, 0};
		ssize_t put;

		assert_int_equal(poll(&p, 1, CLIENT_DEADLINE_MS), 1);
		put = send(c->fd, at, len, MSG_NOSIGNAL);
		if (put < 0 && (errno == EPIPE || errno == ECONNRESET))
			return; /* the signer has had enough */
		assert_true(put > 0 || errno == EAGAIN);
		if (put > 0) {
			at += put;
			len -= (size_t)put;
		}
	}
}

uint32_t signer_client_send(struct signer_client *c, uint16_t type, const struct buf *payload)
{
	uint32_t id = ++c->next_id;
	struct buf b;

	buf_init(&b, FRAME_BYTES_MAX);
	frame_put(&b, id, type, payload ? payload->data : NULL, payload ? payload->len : 0);
	assert_int_equal(buf_status(&b), E_OK);
	signer_client_send_raw(c, b.data, b.len);
	buf_release(&b);
	return id;
}

/* False at the end of the stream. */
static bool read_some(struct signer_client *c)
{
	struct pollfd p = {c->fd, POLLIN, 0};
	char block[65536];
	ssize_t got;

	assert_int_equal(poll(&p, 1, CLIENT_DEADLINE_MS), 1);
	got = recv(c->fd, block, sizeof(block), 0);
	if (got <= 0)
		return false;
	buf_put(&c->in, block, (size_t)got);
	assert_int_equal(buf_status(&c->in), E_OK);
	return true;
}

static void take_answer(const struct frame *f, struct signer_answer *ret)
{
	ret->type = f->type;
	buf_init(&ret->payload, FRAME_PAYLOAD_MAX);
	if (f->payload_len)
		buf_put(&ret->payload, f->payload, f->payload_len);
	assert_int_equal(buf_status(&ret->payload), E_OK);
}

static bool take_kept(struct signer_client *c, uint32_t request_id, struct signer_answer *ret)
{
	size_t at = 0, size = 0;
	struct buf rest;
	struct frame f;
	bool found = false;

	buf_init(&rest, IN_MAX);
	while (at < c->kept.len && frame_parse(c->kept.data + at, c->kept.len - at, &f, &size) == E_OK) {
		if (!found && f.request_id == request_id) {
			take_answer(&f, ret);
			found = true;
		} else {
			buf_put(&rest, c->kept.data + at, size);
		}
		at += size;
	}
	buf_release(&c->kept);
	c->kept = rest;
	return found;
}

void signer_client_receive(struct signer_client *c, uint32_t request_id, struct signer_answer *ret)
{
	if (c->kept.len && take_kept(c, request_id, ret))
		return;
	for (;;) {
		struct frame f;
		size_t size;
		enum err e = c->in.len ? frame_parse(c->in.data, c->in.len, &f, &size) : E_BUSY;

		if (e == E_BUSY) {
			assert_true(read_some(c));
			continue;
		}
		assert_int_equal(e, E_OK);
		if (f.request_id == request_id) {
			take_answer(&f, ret);
			buf_consume(&c->in, size);
			return;
		}
		buf_put(&c->kept, c->in.data, size);
		buf_consume(&c->in, size);
	}
}

void signer_client_expect_end(struct signer_client *c)
{
	while (read_some(c))
		;
	assert_int_equal(c->in.len, 0);
}

void signer_client_open(struct signer_client *c, const char *socket, struct message_hello_reply *ret_reply)
{
	struct message_hello hello = {.version = MESSAGE_PROTOCOL_VERSION,
				      .client = (char *)(uintptr_t) "signer_test"};
	struct message_hello_reply reply;
	struct signer_answer answer;
	struct buf b;

	signer_client_connect(c, socket);
	buf_init(&b, 1024);
	message_hello_encode(&b, &hello);
	signer_client_receive(c, signer_client_send(c, MESSAGE_HELLO, &b), &answer);
	assert_int_equal(answer.type, MESSAGE_HELLO | MESSAGE_REPLY);
	assert_int_equal(message_hello_reply_decode(answer.payload.data, answer.payload.len, &reply), E_OK);
	buf_release(&answer.payload);
	buf_release(&b);
	if (ret_reply)
		*ret_reply = reply;
	else
		message_hello_reply_release(&reply);
}

/* E_OK with the reply's payload, or the code of an error. */
static enum err receive_reply(struct signer_client *c, uint32_t id, uint16_t request_type,
			      struct signer_answer *ret)
{
	struct message_error error;
	enum err code;

	signer_client_receive(c, id, ret);
	if (ret->type == (request_type | MESSAGE_REPLY))
		return E_OK;
	assert_int_equal(ret->type, MESSAGE_ERROR);
	assert_int_equal(message_error_decode(ret->payload.data, ret->payload.len, &error), E_OK);
	code = error.code;
	assert_int_not_equal(code, E_OK);
	message_error_release(&error);
	buf_release(&ret->payload);
	return code;
}

/* ---- labels ---- */

static struct known {
	char csr_id[CSR_ID_SIZE];
	char label[KEY_LABEL_SIZE];
} * known; /* the last one of a CSR counts */
static size_t known_len;
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER; /* some tests have threads */

static void learn(const char *csr_id, const char *label)
{
	pthread_mutex_lock(&known_lock);
	known = reallocarray(known, known_len + 1, sizeof(*known));
	assert_non_null(known);
	snprintf(known[known_len].csr_id, CSR_ID_SIZE, "%s", csr_id);
	snprintf(known[known_len].label, KEY_LABEL_SIZE, "%s", label);
	known_len++;
	pthread_mutex_unlock(&known_lock);
}

const char *signer_label(const char *csr_id)
{
	static _Thread_local char texts[8][KEY_LABEL_SIZE];
	static _Thread_local unsigned next;
	char *text = texts[next++ % 8];
	bool is_known = key_label_is_valid(csr_id);

	if (is_known)
		snprintf(text, KEY_LABEL_SIZE, "%s", csr_id);
	pthread_mutex_lock(&known_lock);
	for (size_t i = known_len; i-- > 0 && !is_known;) {
		is_known = strcmp(known[i].csr_id, csr_id) == 0;
		if (is_known)
			snprintf(text, KEY_LABEL_SIZE, "%s", known[i].label);
	}
	pthread_mutex_unlock(&known_lock);
	if (!is_known)
		key_label_of_csr(text, csr_id);
	return text;
}

void signer_forget_labels(void)
{
	free(known);
	known = NULL;
	known_len = 0;
}

size_t signer_learn(struct signer_client *c)
{
	struct message_unsettled m = {.timeout_ms = CLIENT_DEADLINE_MS};
	struct message_unsettled_reply reply;
	struct signer_answer answer;
	size_t count = 0;
	struct buf b;

	do {
		buf_init(&b, 64);
		message_unsettled_encode(&b, &m);
		assert_int_equal(receive_reply(c, signer_client_send(c, MESSAGE_UNSETTLED, &b),
					       MESSAGE_UNSETTLED, &answer),
				 E_OK);
		buf_release(&b);
		assert_int_equal(
		    message_unsettled_reply_decode(answer.payload.data, answer.payload.len, &reply), E_OK);
		buf_release(&answer.payload);
		for (size_t i = 0; i < reply.keys_len; i++) {
			assert_true(reply.keys[i].journal_index >= m.from);
			learn(reply.keys[i].csr_id, reply.keys[i].label);
			m.from = reply.keys[i].journal_index + 1;
		}
		count += reply.keys_len;
		message_unsettled_reply_release(&reply);
	} while (reply.more);
	return count;
}

enum err signer_confirm(struct signer_client *c, const char *const *csr_ids, size_t len, bool kept)
{
	char labels[MESSAGE_CONFIRM_MAX][KEY_LABEL_SIZE];
	struct message_confirm m = {.kept = kept, .labels = labels, .labels_len = len};
	struct signer_answer answer;
	struct buf b;
	enum err e;

	for (size_t i = 0; i < len; i++)
		snprintf(labels[i], KEY_LABEL_SIZE, "%s", signer_label(csr_ids[i]));
	buf_init(&b, FRAME_PAYLOAD_MAX);
	message_confirm_encode(&b, &m);
	e = receive_reply(c, signer_client_send(c, MESSAGE_CONFIRM, &b), MESSAGE_CONFIRM, &answer);
	buf_release(&b);
	if (e == E_OK)
		buf_release(&answer.payload);
	return e;
}

/* ---- requests ---- */

uint32_t signer_create_send(struct signer_client *c, const char *csr_id, const struct csr_spec *spec,
			    uint32_t timeout_ms)
{
	struct message_create_csr m = {.timeout_ms = timeout_ms, .spec = *spec};
	struct buf b;
	uint32_t id;

	memcpy(m.csr_id, csr_id, CSR_ID_SIZE);
	buf_init(&b, FRAME_PAYLOAD_MAX);
	message_create_csr_encode(&b, &m);
	assert_int_equal(buf_status(&b), E_OK);
	id = signer_client_send(c, MESSAGE_CREATE_CSR, &b);
	buf_release(&b);
	if (id >= c->asked_len) {
		c->asked = reallocarray(c->asked, id + 1, sizeof(*c->asked));
		assert_non_null(c->asked);
		c->asked_len = id + 1;
	}
	memcpy(c->asked[id], csr_id, CSR_ID_SIZE);
	return id;
}

enum err signer_create_get(struct signer_client *c, uint32_t id, struct message_create_csr_reply *ret)
{
	struct message_create_csr_reply reply;
	struct signer_answer answer;
	enum err e = receive_reply(c, id, MESSAGE_CREATE_CSR, &answer);

	if (e != E_OK)
		return e;
	assert_int_equal(message_create_csr_reply_decode(answer.payload.data, answer.payload.len, &reply),
			 E_OK);
	buf_release(&answer.payload);
	learn(c->asked[id], reply.key.label);
	if (ret)
		*ret = reply;
	else
		message_create_csr_reply_release(&reply);
	return E_OK;
}

uint32_t signer_key_send(struct signer_client *c, uint16_t type, const char *csr_id, uint32_t timeout_ms)
{
	struct message_key_request m = {.timeout_ms = timeout_ms};
	struct buf b;
	uint32_t id;

	snprintf(m.label, sizeof(m.label), "%s", signer_label(csr_id));
	buf_init(&b, FRAME_PAYLOAD_MAX);
	message_key_request_encode(&b, &m);
	assert_int_equal(buf_status(&b), E_OK);
	id = signer_client_send(c, type, &b);
	buf_release(&b);
	return id;
}

enum err signer_destroy_get(struct signer_client *c, uint32_t id, uint32_t *ret_destroyed)
{
	struct message_destroy_key_reply reply;
	struct signer_answer answer;
	enum err e = receive_reply(c, id, MESSAGE_DESTROY_KEY, &answer);

	if (e != E_OK)
		return e;
	assert_int_equal(message_destroy_key_reply_decode(answer.payload.data, answer.payload.len, &reply),
			 E_OK);
	buf_release(&answer.payload);
	*ret_destroyed = reply.destroyed;
	return E_OK;
}

enum err signer_find_get(struct signer_client *c, uint32_t id, struct message_find_key_reply *ret)
{
	struct signer_answer answer;
	enum err e = receive_reply(c, id, MESSAGE_FIND_KEY, &answer);

	if (e != E_OK)
		return e;
	assert_int_equal(message_find_key_reply_decode(answer.payload.data, answer.payload.len, ret), E_OK);
	buf_release(&answer.payload);
	return E_OK;
}

enum err signer_inspect_get(struct signer_client *c, uint32_t id, struct message_inspect_key_reply *ret)
{
	struct signer_answer answer;
	enum err e = receive_reply(c, id, MESSAGE_INSPECT_KEY, &answer);

	if (e != E_OK)
		return e;
	assert_int_equal(message_inspect_key_reply_decode(answer.payload.data, answer.payload.len, ret),
			 E_OK);
	buf_release(&answer.payload);
	return E_OK;
}

enum err signer_inspect(struct signer_client *c, const char *csr_id, struct message_inspect_key_reply *ret)
{
	return signer_inspect_get(c, signer_key_send(c, MESSAGE_INSPECT_KEY, csr_id, CLIENT_DEADLINE_MS),
				  ret);
}

enum err signer_create(struct signer_client *c, const char *csr_id, enum key_type type,
		       struct message_create_csr_reply *ret)
{
	struct csr_spec spec;
	enum err e;

	signer_spec(&spec, type);
	e = signer_create_get(c, signer_create_send(c, csr_id, &spec, CLIENT_DEADLINE_MS), ret);
	csr_spec_release(&spec);
	return e;
}

enum err signer_destroy(struct signer_client *c, const char *csr_id, uint32_t *ret_destroyed)
{
	return signer_destroy_get(c, signer_key_send(c, MESSAGE_DESTROY_KEY, csr_id, CLIENT_DEADLINE_MS),
				  ret_destroyed);
}

enum message_key_presence signer_find(struct signer_client *c, const char *csr_id)
{
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	struct message_find_key_reply reply;
	enum err e;

	while ((e = signer_find_get(c, signer_key_send(c, MESSAGE_FIND_KEY, csr_id, CLIENT_DEADLINE_MS),
				    &reply)) == E_BUSY) {
		assert_true(clock_ms() < deadline);
		pause_ms(2);
	}
	assert_int_equal(e, E_OK);
	return reply.presence;
}

void signer_status(struct signer_client *c, struct message_status_reply *ret)
{
	struct signer_answer answer;

	assert_int_equal(
	    receive_reply(c, signer_client_send(c, MESSAGE_STATUS, NULL), MESSAGE_STATUS, &answer), E_OK);
	assert_int_equal(message_status_reply_decode(answer.payload.data, answer.payload.len, ret), E_OK);
	buf_release(&answer.payload);
}

uint32_t signer_list_send(struct signer_client *c)
{
	struct message_list_keys m = {.timeout_ms = CLIENT_DEADLINE_MS};
	struct buf b;
	uint32_t id;

	buf_init(&b, 64);
	message_list_keys_encode(&b, &m);
	id = signer_client_send(c, MESSAGE_LIST_KEYS, &b);
	buf_release(&b);
	return id;
}

void signer_list_get(struct signer_client *c, uint32_t id, struct message_list_keys_part *ret,
		     unsigned *ret_parts)
{
	struct message_list_keys_part all = {0};

	*ret_parts = 0;
	while (!all.last) {
		struct message_list_keys_part part;
		struct signer_answer answer;

		assert_int_equal(receive_reply(c, id, MESSAGE_LIST_KEYS, &answer), E_OK);
		assert_int_equal(
		    message_list_keys_part_decode(answer.payload.data, answer.payload.len, &part), E_OK);
		buf_release(&answer.payload);
		all.keys = realloc(all.keys, (all.keys_len + part.keys_len + 1) * sizeof(*all.keys));
		assert_non_null(all.keys);
		for (size_t i = 0; i < part.keys_len; i++)
			all.keys[all.keys_len++] = part.keys[i]; /* with its label */
		all.last = part.last;
		all.unread = part.unread;
		free(part.keys);
		(*ret_parts)++;
	}
	*ret = all;
}

void signer_list(struct signer_client *c, struct message_list_keys_part *ret, unsigned *ret_parts)
{
	signer_list_get(c, signer_list_send(c), ret, ret_parts);
}

void signer_spec(struct csr_spec *spec, enum key_type type)
{
	memset(spec, 0, sizeof(*spec));
	spec->key_type = type;
	spec->country = strdup("CH");
	spec->state = strdup("Zürich");
	spec->locality = strdup("Winterthur");
	spec->organization = strdup("Example AG");
	spec->common_name = strdup("www.example.com");
	assert_int_equal(csr_spec_add_san(spec, SAN_DNS, "*.example.com"), E_OK);
	assert_int_equal(csr_spec_add_san(spec, SAN_IP, "192.0.2.1"), E_OK);
}

void signer_csr_id(char csr_id[CSR_ID_SIZE], unsigned number)
{
	snprintf(csr_id, CSR_ID_SIZE, "00000000-0000-4000-8000-%012x", number);
}

bool signer_is_usable(struct signer_client *c)
{
	struct message_status_reply status;
	bool usable;

	signer_status(c, &status);
	usable = status.usable;
	message_status_reply_release(&status);
	return usable;
}

static void wait_for_usable(struct signer_client *c, bool usable)
{
	const struct timespec pause = {0, 5000000};
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;

	while (signer_is_usable(c) != usable) {
		assert_true(clock_ms() < deadline);
		nanosleep(&pause, NULL);
	}
}

void signer_wait_until_usable(struct signer_client *c)
{
	wait_for_usable(c, true);
}

void signer_wait_until_unusable(struct signer_client *c)
{
	wait_for_usable(c, false);
}

static void wait_for_keys(struct signer_client *c, uint64_t ready, bool at_rest)
{
	const struct timespec pause = {0, 5000000};
	uint64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	bool there = false;

	while (!there) {
		struct message_status_reply status;

		assert_true(clock_ms() < deadline);
		nanosleep(&pause, NULL);
		signer_status(c, &status);
		there = (status.pools_len ? status.pools[0].ready : 0) >= ready &&
			!(at_rest && (status.busy || status.queued));
		message_status_reply_release(&status);
	}
}

void signer_wait_for_ready(struct signer_client *c, uint64_t ready)
{
	wait_for_keys(c, ready, false);
}

void signer_wait_for_stock(struct signer_client *c, uint64_t ready)
{
	wait_for_keys(c, ready, true);
}

/* ---- what came of a create ---- */

/* What a CSR of each type looks like to OpenSSL. */
static const struct {
	const char *algorithm;
	int bits;
	int curve; /* named in the key's parameters; NID_undef: no curve there */
	int signature;
} types[KEY_TYPE_MAX + 1] = {
    [KEY_RSA2048] = {"RSA", 2048, NID_undef, NID_sha256WithRSAEncryption},
    [KEY_RSA3072] = {"RSA", 3072, NID_undef, NID_sha256WithRSAEncryption},
    [KEY_RSA4096] = {"RSA", 4096, NID_undef, NID_sha256WithRSAEncryption},
    [KEY_P256V1] = {"EC", 256, NID_X9_62_prime256v1, NID_ecdsa_with_SHA256},
    [KEY_P384V1] = {"EC", 384, NID_secp384r1, NID_ecdsa_with_SHA384},
    [KEY_ED25519] = {"ED25519", 0, NID_undef, NID_ED25519},
};

static int curve_of(X509_REQ *req)
{
	X509_ALGOR *algorithm;
	const void *value;
	int type;

	X509_PUBKEY_get0_param(NULL, NULL, NULL, &algorithm, X509_REQ_get_X509_PUBKEY(req));
	X509_ALGOR_get0(NULL, &type, &value, algorithm);
	return type == V_ASN1_OBJECT ? OBJ_obj2nid(value) : NID_undef;
}

void signer_expect_csr(const struct message_create_csr_reply *reply, enum key_type type)
{
	const unsigned char *at = reply->der;
	X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)reply->der_len);
	unsigned char hash[SHA256_DIGEST_LENGTH], *spki = NULL;
	EVP_PKEY *key;
	int len;

	assert_non_null(req);
	assert_ptr_equal(at, reply->der + reply->der_len);
	key = X509_REQ_get0_pubkey(req);
	assert_int_equal(X509_REQ_verify(req, key), 1);
	assert_int_equal(X509_REQ_get_version(req), 0);
	assert_int_equal(EVP_PKEY_is_a(key, types[type].algorithm), 1);
	if (types[type].bits)
		assert_int_equal(EVP_PKEY_get_bits(key), types[type].bits);
	assert_int_equal(curve_of(req), types[type].curve);
	assert_int_equal(X509_REQ_get_signature_nid(req), types[type].signature);
	len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &spki);
	assert_true(len > 0);
	SHA256(spki, (size_t)len, hash);
	assert_memory_equal(hash, reply->key.spki_sha256, sizeof(hash));
	OPENSSL_free(spki);
	X509_REQ_free(req);
}
