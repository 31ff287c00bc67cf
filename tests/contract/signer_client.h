/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking client of csrd-hsm for tests: what csrd would send, and what it never would. */
#ifndef CSRD_TESTS_SIGNER_CLIENT_H
#define CSRD_TESTS_SIGNER_CLIENT_H

#include "base/buf.h"
#include "base/csr.h"
#include "hsm/frame.h"
#include "hsm/message.h"

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_DEADLINE_MS 60000

/* Every function fails the running test when something does not come in time. */
struct signer_client {
	int fd;
	uint32_t next_id;
	struct buf in;
	struct buf kept;            /* whole frames that came while another was waited for */
	char (*asked)[CSR_ID_SIZE]; /* the CSR of each create, by request id */
	size_t asked_len;
};

/* Waits until the socket is there. */
void signer_client_connect(struct signer_client *c, const char *socket);
void signer_client_close(struct signer_client *c);
/* Connects and says hello; *ret_reply may be NULL. */
void signer_client_open(struct signer_client *c, const char *socket, struct message_hello_reply *ret_reply);

void signer_client_send_raw(struct signer_client *c, const void *data, size_t len);
/* Returns the request id. */
uint32_t signer_client_send(struct signer_client *c, uint16_t type, const struct buf *payload);

/* An answer: its type, and the payload, owned. */
struct signer_answer {
	uint16_t type;
	struct buf payload;
};
void signer_client_receive(struct signer_client *c, uint32_t request_id, struct signer_answer *ret);
/* The signer ends the connection without another frame. */
void signer_client_expect_end(struct signer_client *c);

/*
 * Labels of keys, as tests know them: by the CSR that the key was made for.  A test may give a label instead.
 * Of a CSR whose create was not answered it is "csrd:<csr id>", as csrd 0.1 had it, until signer_learn.
 */
const char *signer_label(const char *csr_id); /* good for a few calls */
void signer_forget_labels(void);
/* Asks for all that is unsettled, and learns its labels; how many there are. */
size_t signer_learn(struct signer_client *c);
/* They are durable in csrd's store. */
enum err signer_confirm(struct signer_client *c, const char *const *csr_ids, size_t len, bool kept);

/* Requests.  Each *_send returns the id; each *_get reads that answer: E_OK, or the error's code. */
uint32_t signer_create_send(struct signer_client *c, const char *csr_id, const struct csr_spec *spec,
			    uint32_t timeout_ms);
enum err signer_create_get(struct signer_client *c, uint32_t id, struct message_create_csr_reply *ret);
uint32_t signer_key_send(struct signer_client *c, uint16_t type, const char *csr_id, uint32_t timeout_ms);
enum err signer_destroy_get(struct signer_client *c, uint32_t id, uint32_t *ret_destroyed);
enum err signer_find_get(struct signer_client *c, uint32_t id, struct message_find_key_reply *ret);
/* Release with message_inspect_key_reply_release. */
enum err signer_inspect_get(struct signer_client *c, uint32_t id, struct message_inspect_key_reply *ret);
enum err signer_inspect(struct signer_client *c, const char *csr_id, struct message_inspect_key_reply *ret);

enum err signer_create(struct signer_client *c, const char *csr_id, enum key_type type,
		       struct message_create_csr_reply *ret);
enum err signer_destroy(struct signer_client *c, const char *csr_id, uint32_t *ret_destroyed);
/* The presence; fails the test on an error, but asks again after E_BUSY. */
enum message_key_presence signer_find(struct signer_client *c, const char *csr_id);
void signer_status(struct signer_client *c, struct message_status_reply *ret);
bool signer_is_usable(struct signer_client *c);
void signer_wait_until_usable(struct signer_client *c);
void signer_wait_until_unusable(struct signer_client *c);
/* The first pool has that many keys or more. */
void signer_wait_for_ready(struct signer_client *c, uint64_t ready);
/*
 * The same, and nobody is at work on the token: only then may the test look at
 * it from its own process, whose login writes the files that SoftHSM's readers
 * elsewhere meet half written.
 */
void signer_wait_for_stock(struct signer_client *c, uint64_t ready);

/* All parts in one; release with message_list_keys_part_release. */
uint32_t signer_list_send(struct signer_client *c);
void signer_list_get(struct signer_client *c, uint32_t id, struct message_list_keys_part *ret,
		     unsigned *ret_parts);
void signer_list(struct signer_client *c, struct message_list_keys_part *ret, unsigned *ret_parts);

/* A CSR of a key of that type which verifies, and whose key is the one that the reply names. */
void signer_expect_csr(const struct message_create_csr_reply *reply, enum key_type type);

/* A whole subject with two SANs. */
void signer_spec(struct csr_spec *spec, enum key_type type);
/* "00000000-0000-4000-8000-00000000002a" for 42. */
void signer_csr_id(char csr_id[CSR_ID_SIZE], unsigned number);

#endif
