/* SPDX-License-Identifier: Apache-2.0 */
/* Accepts clients, reads requests, queues them and sends the answers. */
#include "hsm/signer/serve/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/message.h"
#include "hsm/signer/serve/connection.h"
#include "hsm/signer/serve/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define LISTS_MAX 4 /* of all connections together */
#define HELLO_WITHIN_MS 10000
#define DRAIN_WITHIN_MS 20000
#define CLOSE_SPARE_MS 10000 /* for what comes after the drain, for the service manager */
#define ACCEPT_PAUSE_MS 200  /* after accept(2) ran out of descriptors or memory */
#define ACCEPTED_FD_MIN 256  /* see server_accept */

/* Descriptors of a poll round: these first, then the connections in their order. */
enum { POLL_SIGNAL, POLL_WORKERS, POLL_LISTENER, POLL_CONNECTIONS };

struct server {
	const struct server_options *options;
	struct connection *connections[CONNECTIONS_MAX];
	size_t connections_len;
	uint64_t next_id;
	uint64_t accept_after_ms;
	struct log_gate refused_gate;
	bool stopping;
	uint64_t stop_by_ms;
	bool hurry;    /* a second signal */
	bool hopeless; /* stopping because the token stays down */
};

/* ---- connections ---- */

static void drop(struct server *s, size_t index)
{
	struct connection *c = s->connections[index];

	workers_drop_connection(s->options->workers, c->id);
	log_debug("connection %llu closed", (unsigned long long)c->id);
	connection_free(c);
	s->connections[index] = s->connections[--s->connections_len];
}

/* E_OK: go on; anything else: the connection is to be dropped.  Says why, unless the client just left. */
static enum err complain(const struct connection *c, enum err e)
{
	if (e != E_OK && e != E_UNAVAIL)
		log_error("connection %llu from uid %lu pid %ld ended: %s", (unsigned long long)c->id,
			  (unsigned long)c->peer.uid, (long)c->peer.pid, err_str(e));
	return e;
}

static enum err reply_error(struct connection *c, const struct frame *f, enum err code, const char *detail)
{
	struct message_error m = {.code = code, .detail = (char *)(uintptr_t)detail};
	struct buf payload;
	enum err e;

	buf_init(&payload, FRAME_PAYLOAD_MAX);
	message_error_encode(&payload, &m);
	e = buf_status(&payload) != E_OK ? buf_status(&payload)
					 : connection_reply(c, f->request_id, MESSAGE_ERROR, &payload);
	buf_release(&payload);
	return e;
}

/* ---- requests ---- */

/*
 * Handlers return E_OK when the request is on its way or answered; any error
 * ends the connection, E_PROTO for what cannot be decoded.
 */
typedef enum err (*handler_fn)(struct server *s, struct connection *c, const struct frame *f);

static enum err handle_hello(struct server *s, struct connection *c, const struct frame *f)
{
	const struct token *t = s->options->token;
	struct message_hello hello;
	struct message_hello_reply reply = {
	    .version = MESSAGE_PROTOCOL_VERSION,
	    .token_name = (char *)(uintptr_t)s->options->token_name,
	    .token_label = (char *)(uintptr_t)t->label,
	    .token_serial = (char *)(uintptr_t)t->serial,
	    .token_manufacturer = (char *)(uintptr_t)t->manufacturer,
	    .token_model = (char *)(uintptr_t)t->model,
	    .key_types = token_makes(t),
	};
	struct buf payload;
	enum err e = message_hello_decode(f->payload, f->payload_len, &hello);

	if (e != E_OK)
		return e;
	if (hello.version != MESSAGE_PROTOCOL_VERSION) {
		log_error("connection %llu: protocol version %lu, expected %u", (unsigned long long)c->id,
			  (unsigned long)hello.version, MESSAGE_PROTOCOL_VERSION);
		message_hello_release(&hello);
		return E_PROTO;
	}
	log_info("connection %llu: '%s' (uid %lu pid %ld)", (unsigned long long)c->id, hello.client,
		 (unsigned long)c->peer.uid, (long)c->peer.pid);
	message_hello_release(&hello);
	reply.stores_len = stores_copy(s->options->stores, reply.stores);
	buf_init(&payload, FRAME_PAYLOAD_MAX);
	message_hello_reply_encode(&payload, &reply);
	e = buf_status(&payload);
	if (e == E_OK)
		e = connection_reply(c, f->request_id, MESSAGE_HELLO | MESSAGE_REPLY, &payload);
	buf_release(&payload);
	c->phase = CONNECTION_READY;
	return e;
}

/* Takes the job. */
static enum err submit(struct server *s, struct connection *c, const struct frame *f, struct job *job,
		       uint32_t timeout_ms)
{
	const char *reason = "";
	enum err e;

	job->deadline_ms = clock_ms() + timeout_ms;
	e = workers_submit(s->options->workers, job, &reason);
	if (e == E_OK)
		return E_OK;
	if (job_is_list(job))
		c->listing = false;
	job_free(job);
	return reply_error(c, f, e, reason);
}

static enum err handle_create(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_create_csr m;
	struct job *job;
	enum err e = message_create_csr_decode(f->payload, f->payload_len, &m);

	if (e != E_OK)
		return e;
	job = job_new(c->id, f->request_id, MESSAGE_CREATE_CSR);
	if (!job) {
		message_create_csr_release(&m);
		return reply_error(c, f, E_NOMEM, "out of memory");
	}
	memcpy(job->csr_id, m.csr_id, sizeof(job->csr_id));
	job->spec = m.spec; /* the job's now */
	return submit(s, c, f, job, m.timeout_ms);
}

static enum err handle_key(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_key_request m;
	struct job *job;
	enum err e = message_key_request_decode(f->payload, f->payload_len, &m);

	if (e != E_OK)
		return e;
	job = job_new(c->id, f->request_id, (enum message_type)f->type);
	if (!job)
		return reply_error(c, f, E_NOMEM, "out of memory");
	memcpy(job->label, m.label, sizeof(job->label));
	return submit(s, c, f, job, m.timeout_ms);
}

/* Each holds a label and an id for every key on the token until its client has read it. */
static unsigned count_lists(const struct server *s)
{
	unsigned count = 0;

	for (size_t i = 0; i < s->connections_len; i++)
		count += s->connections[i]->listing;
	return count;
}

static enum err handle_list(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_list_keys m;
	struct job *job;
	enum err e = message_list_keys_decode(f->payload, f->payload_len, &m);

	if (e != E_OK)
		return e;
	if (c->listing || count_lists(s) >= LISTS_MAX)
		return reply_error(c, f, E_BUSY,
				   c->listing ? "a list of keys is under way on this connection"
					      : "too many lists of keys are under way");
	job = job_new(c->id, f->request_id, (enum message_type)f->type);
	if (!job)
		return reply_error(c, f, E_NOMEM, "out of memory");
	c->listing = true;
	return submit(s, c, f, job, m.timeout_ms);
}

static enum err handle_destroy_pool(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_destroy_pool m;
	struct job *job;
	enum err e = message_destroy_pool_decode(f->payload, f->payload_len, &m);

	if (e != E_OK)
		return e;
	job = job_new(c->id, f->request_id, MESSAGE_DESTROY_POOL);
	if (!job)
		return reply_error(c, f, E_NOMEM, "out of memory");
	memcpy(job->node, m.node, sizeof(job->node));
	return submit(s, c, f, job, m.timeout_ms);
}

static enum err handle_status(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_status_reply reply = {.key_types = token_makes(s->options->token)};
	struct buf payload;
	enum err e;

	if (f->payload_len)
		return E_PROTO;
	workers_status(s->options->workers, clock_ms(), &reply);
	buf_init(&payload, FRAME_PAYLOAD_MAX);
	message_status_reply_encode(&payload, &reply);
	e = buf_status(&payload);
	if (e == E_OK)
		e = connection_reply(c, f->request_id, MESSAGE_STATUS | MESSAGE_REPLY, &payload);
	buf_release(&payload);
	message_status_reply_release(&reply);
	return e;
}

/*
 * Whether another csrd is at work for another store.  Each of the two would take the other's unsettled keys
 * for those of CSRs that nobody was ever answered.
 */
static bool server_has_other_store(const struct server *s, const struct connection *c,
				   const struct message_store *m)
{
	for (size_t i = 0; i < s->connections_len; i++) {
		const struct connection *other = s->connections[i];

		if (other != c && other->has_noted &&
		    memcmp(other->lineage, m->lineage, sizeof(other->lineage)) != 0)
			return true;
	}
	return false;
}

static enum err handle_note_store(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_store m;
	struct job *job;
	enum err e = message_note_store_decode(f->payload, f->payload_len, &m);

	if (e != E_OK)
		return e;
	if (server_has_other_store(s, c, &m))
		return reply_error(c, f, E_DENIED, "another csrd, which has another store, uses this signer");
	c->has_noted = true;
	memcpy(c->lineage, m.lineage, sizeof(c->lineage));
	job = job_new(c->id, f->request_id, MESSAGE_NOTE_STORE);
	if (!job)
		return reply_error(c, f, E_NOMEM, "out of memory");
	job->store = m;
	return submit(s, c, f, job, 0);
}

static enum err handle_confirm(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_confirm m;
	struct job *job;
	enum err e = message_confirm_decode(f->payload, f->payload_len, &m);

	if (e != E_OK)
		return e;
	job = job_new(c->id, f->request_id, MESSAGE_CONFIRM);
	if (!job) {
		message_confirm_release(&m);
		return reply_error(c, f, E_NOMEM, "out of memory");
	}
	job->confirm = m; /* the job's now */
	return submit(s, c, f, job, 0);
}

/* ---- what the journal knows: by this thread, since neither the token nor the disk has a part in it ---- */

static void put_unsettled(const struct journal_key *key, struct message_unsettled_key *ret)
{
	memcpy(ret->label, key->name, sizeof(key->name));
	memcpy(ret->csr_id, key->csr, sizeof(ret->csr_id));
	memcpy(ret->spki_sha256, key->spki, sizeof(ret->spki_sha256));
	ret->journal_index = key->index;
}

static enum err handle_unsettled(struct server *s, struct connection *c, const struct frame *f)
{
	struct message_unsettled_key page[MESSAGE_UNSETTLED_MAX];
	struct message_unsettled_reply reply = {.keys = page};
	struct message_unsettled m;
	struct journal_key *keys;
	struct buf payload;
	enum err e = message_unsettled_decode(f->payload, f->payload_len, &m);

	if (e != E_OK)
		return e;
	keys = calloc(MESSAGE_UNSETTLED_MAX, sizeof(*keys));
	if (!keys)
		return reply_error(c, f, E_NOMEM, "out of memory");
	reply.keys_len = journal_list_used(book_journal(s->options->book), m.from, keys,
					   MESSAGE_UNSETTLED_MAX, &reply.more);
	for (size_t i = 0; i < reply.keys_len; i++)
		put_unsettled(&keys[i], &page[i]);
	free(keys);
	buf_init(&payload, FRAME_PAYLOAD_MAX);
	message_unsettled_reply_encode(&payload, &reply);
	e = buf_status(&payload);
	if (e == E_OK)
		e = connection_reply(c, f->request_id, MESSAGE_UNSETTLED | MESSAGE_REPLY, &payload);
	buf_release(&payload);
	return e;
}

/* What is permitted when: hello once and first, the rest after it. */
static const struct {
	enum message_type type;
	enum connection_phase phase;
	handler_fn handle;
} rules[] = {
    {MESSAGE_HELLO, CONNECTION_HELLO, handle_hello},
    {MESSAGE_CREATE_CSR, CONNECTION_READY, handle_create},
    {MESSAGE_DESTROY_KEY, CONNECTION_READY, handle_key},
    {MESSAGE_FIND_KEY, CONNECTION_READY, handle_key},
    {MESSAGE_INSPECT_KEY, CONNECTION_READY, handle_key},
    {MESSAGE_LIST_KEYS, CONNECTION_READY, handle_list},
    {MESSAGE_LIST_POOLS, CONNECTION_READY, handle_list},
    {MESSAGE_DESTROY_POOL, CONNECTION_READY, handle_destroy_pool},
    {MESSAGE_STATUS, CONNECTION_READY, handle_status},
    {MESSAGE_NOTE_STORE, CONNECTION_READY, handle_note_store},
    {MESSAGE_CONFIRM, CONNECTION_READY, handle_confirm},
    {MESSAGE_UNSETTLED, CONNECTION_READY, handle_unsettled},
};

static enum err handle(struct server *s, struct connection *c, const struct frame *f)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].type == f->type && rules[i].phase == c->phase)
			return rules[i].handle(s, c, f);
	log_error("connection %llu: message type %u is not permitted %s hello", (unsigned long long)c->id,
		  f->type, c->phase == CONNECTION_HELLO ? "before" : "after");
	return E_PROTO;
}

/* Whole frames that have come in, as long as the client takes its answers. */
static enum err handle_input(struct server *s, struct connection *c)
{
	size_t at = 0;
	enum err e = E_OK;

	while (!connection_is_choked(c)) {
		struct frame f;

		if ((e = connection_next(c, &at, &f)) != E_OK || (e = handle(s, c, &f)) != E_OK)
			break;
	}
	connection_consume(c, at);
	if (e != E_OK && e != E_BUSY)
		return e;
	return connection_flush(c);
}

/* ---- events ---- */

/* Before anything else is read: what a dead client left unread or waiting is never begun. */
static void drop_hung_up(struct server *s, struct pollfd *fds)
{
	for (size_t i = s->connections_len; i-- > 0;) {
		if (!(fds[POLL_CONNECTIONS + i].revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)))
			continue;
		drop(s, i);
		fds[POLL_CONNECTIONS + i] = fds[POLL_CONNECTIONS + s->connections_len];
	}
}

static struct connection *find_connection(const struct server *s, uint64_t id)
{
	for (size_t i = 0; i < s->connections_len; i++)
		if (s->connections[i]->id == id)
			return s->connections[i];
	return NULL;
}

/* Takes the job. */
static enum err server_answer(struct connection *c, struct job *job)
{
	uint16_t type = job->result ? MESSAGE_ERROR : (uint16_t)(job->type | MESSAGE_REPLY);
	enum err e;

	if (job->type == MESSAGE_LIST_KEYS && job->result == E_OK) {
		connection_reply_list(c, job);
		return E_OK;
	}
	if (job_is_list(job))
		c->listing = false;
	e = connection_reply(c, job->request_id, type, &job->reply);
	job_free(job);
	return e;
}

/* A client that has left gets no answer; what was done is found by whoever asks for it. */
static void answer_done(struct server *s)
{
	struct job *job;

	while ((job = workers_take_done(s->options->workers))) {
		struct connection *c = find_connection(s, job->connection);

		if (c && c->broken == E_OK)
			c->broken = server_answer(c, job);
		else
			job_free(job);
	}
}

/* Sends, and goes on with input that waited for room; `readable` asks for new input first. */
static enum err server_serve_connection(struct server *s, struct connection *c, bool readable)
{
	enum err e = c->broken;

	if (e == E_OK && connection_wants_write(c))
		e = connection_flush(c);
	if (e == E_OK && readable && !s->stopping)
		e = connection_read(c);
	if (e == E_OK && !s->stopping)
		e = handle_input(s, c);
	return e;
}

static void serve_all(struct server *s, const struct pollfd *fds, size_t polled)
{
	for (size_t i = polled; i-- > 0;)
		if (complain(s->connections[i],
			     server_serve_connection(s, s->connections[i],
						     fds[POLL_CONNECTIONS + i].revents & POLLIN)) != E_OK)
			drop(s, i);
}

static void accept_one(struct server *s, int fd)
{
	struct connection *c;
	struct fd_peer peer;
	unsigned suppressed;
	bool known = fd_unix_peer(fd, &peer) == E_OK;
	const char *reason = NULL;

	if (!known || !listener_permits(s->options->listener, peer.uid))
		reason = "not permitted (see client_users)";
	else if (s->connections_len == CONNECTIONS_MAX)
		reason = "too many connections";
	if (reason) {
		close(fd);
		if (log_gate_pass(&s->refused_gate, 1000, &suppressed))
			log_warn("connection from uid %lu pid %ld refused: %s (%u more not logged)",
				 known ? (unsigned long)peer.uid : 0UL, known ? (long)peer.pid : 0L, reason,
				 suppressed);
		return;
	}
	c = connection_new(s->next_id++, fd, &peer, clock_ms() + HELLO_WITHIN_MS);
	if (c)
		s->connections[s->connections_len++] = c;
	else
		log_error("connection from uid %lu refused: out of memory", (unsigned long)peer.uid);
}

/*
 * Modules were seen to close a number again that they had closed before, whoever has it by then
 * (openCryptoki, at each C_Finalize but the first).  Theirs are low, so a connection gets a high one.
 */
static int server_accept(const struct server *s)
{
	int fd = accept4(s->options->listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, ACCEPTED_FD_MIN) : -1;

	if (high < 0)
		return fd; /* where there are no such numbers a low one will do */
	close(fd);
	return high;
}

/* Read from in the next round only, so that a hang-up seen meanwhile still comes first. */
static void accept_some(struct server *s)
{
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		int fd = server_accept(s);

		if (fd >= 0) {
			accept_one(s, fd);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		log_error("cannot accept a connection: %s", strerror(errno));
		s->accept_after_ms = clock_ms() + ACCEPT_PAUSE_MS;
		return;
	}
}

static void end_silent(struct server *s, uint64_t now)
{
	for (size_t i = s->connections_len; i-- > 0;) {
		struct connection *c = s->connections[i];

		if (c->phase == CONNECTION_HELLO && now >= c->hello_until_ms) {
			log_warn("connection %llu from uid %lu sent no hello", (unsigned long long)c->id,
				 (unsigned long)c->peer.uid);
			drop(s, i);
		}
	}
}

static void stop(struct server *s, const char *why)
{
	s->stopping = true;
	s->stop_by_ms = clock_ms() + DRAIN_WITHIN_MS;
	log_notice("stopping: %s", why);
	notify_stopping(why, DRAIN_WITHIN_MS + CLOSE_SPARE_MS);
	workers_drain(s->options->workers);
}

static void take_signal(struct server *s)
{
	struct signalfd_siginfo info;

	if (read(s->options->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		log_notice("SIGHUP changes nothing here: csrd-hsm reads its configuration when it starts");
	else if (s->stopping)
		s->hurry = true;
	else
		stop(s, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* ---- the loop ---- */

static size_t server_fill(const struct server *s, uint64_t now, struct pollfd *fds)
{
	bool accepting = !s->stopping && now >= s->accept_after_ms;

	fds[POLL_SIGNAL] = (struct pollfd){s->options->signal_fd, POLLIN, 0};
	fds[POLL_WORKERS] = (struct pollfd){workers_fd(s->options->workers), POLLIN, 0};
	fds[POLL_LISTENER] = (struct pollfd){accepting ? s->options->listener->fd : -1, POLLIN, 0};
	for (size_t i = 0; i < s->connections_len; i++) {
		const struct connection *c = s->connections[i];
		short events = POLLRDHUP;

		if (!s->stopping && !connection_is_choked(c))
			events |= POLLIN;
		if (connection_wants_write(c))
			events |= POLLOUT;
		fds[POLL_CONNECTIONS + i] = (struct pollfd){c->fd, events, 0};
	}
	return s->connections_len;
}

static int sooner(int timeout_ms, uint64_t now, uint64_t at_ms)
{
	int ms = at_ms <= now ? 0 : at_ms - now > 60000 ? 60000 : (int)(at_ms - now);

	return timeout_ms < 0 || ms < timeout_ms ? ms : timeout_ms;
}

static int next_timeout(struct server *s, uint64_t now)
{
	int timeout_ms = workers_expire(s->options->workers, now);
	int look_ms = notify_look(s->options->workers, s->options->token, now);

	if (look_ms >= 0)
		timeout_ms = sooner(timeout_ms, now, now + (uint64_t)look_ms);
	if (s->stopping)
		timeout_ms = sooner(timeout_ms, now, s->stop_by_ms);
	else if (now < s->accept_after_ms)
		timeout_ms = sooner(timeout_ms, now, s->accept_after_ms);
	for (size_t i = 0; i < s->connections_len; i++)
		if (s->connections[i]->phase == CONNECTION_HELLO)
			timeout_ms = sooner(timeout_ms, now, s->connections[i]->hello_until_ms);
	return timeout_ms;
}

static enum err round_once(struct server *s)
{
	struct pollfd fds[POLL_CONNECTIONS + CONNECTIONS_MAX];
	uint64_t now = clock_ms();
	int timeout_ms = next_timeout(s, now);
	size_t polled = server_fill(s, now, fds);

	if (poll(fds, (nfds_t)(POLL_CONNECTIONS + polled), timeout_ms) < 0)
		return errno == EINTR ? E_OK : E_IO;
	drop_hung_up(s, fds);
	polled = s->connections_len;
	if (fds[POLL_SIGNAL].revents)
		take_signal(s);
	if (fds[POLL_WORKERS].revents)
		answer_done(s);
	serve_all(s, fds, polled);
	if (fds[POLL_LISTENER].revents)
		accept_some(s);
	end_silent(s, clock_ms());
	return E_OK;
}

/* All is done and said, or the time for it is over. */
static bool is_over(const struct server *s)
{
	if (s->hurry || clock_ms() >= s->stop_by_ms)
		return true;
	if (!workers_is_idle(s->options->workers))
		return false;
	for (size_t i = 0; i < s->connections_len; i++)
		if (connection_wants_write(s->connections[i]))
			return false;
	return true;
}

static enum exit_code loop(struct server *s)
{
	while (!s->stopping || !is_over(s)) {
		enum err e = round_once(s);

		if (e != E_OK) {
			log_error("poll: %s", strerror(errno));
			return EXIT_CODE_SYSTEM;
		}
		if (!s->stopping && login_is_refused(s->options->login))
			stop(s, "the token refused the pin");
		if (!s->stopping && judge_is_hopeless(s->options->judge, clock_ms())) {
			stop(s, "the hsm was down for too long; a new process may help");
			s->hopeless = true;
		}
	}
	if (login_is_refused(s->options->login))
		return EXIT_CODE_PIN;
	if (workers_serves_nobody(s->options->workers)) {
		if (!workers_is_idle(s->options->workers))
			log_notice("stopped in the middle of a call that nobody waits for");
	} else {
		log_error("stopped while the token was still busy");
		return EXIT_CODE_TOKEN_FAILED;
	}
	if (s->hopeless)
		return EXIT_CODE_TOKEN_FAILED;
	return EXIT_CODE_OK;
}

enum exit_code server_run(const struct server_options *options)
{
	struct server *s = calloc(1, sizeof(*s));
	enum exit_code code;

	if (!s)
		return EXIT_CODE_INTERNAL;
	s->options = options;
	code = loop(s);
	while (s->connections_len)
		drop(s, s->connections_len - 1);
	free(s);
	return code;
}
