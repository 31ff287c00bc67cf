/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the api: one request on its way, and what its handlers share.  An op
 * owns everything made for its request.  It ends with exactly one of the
 * op_reply and op_refuse functions, each of which answers and frees it; after
 * that neither the op nor the api is touched.
 */
#ifndef CSRD_API_OP_H
#define CSRD_API_OP_H

#include "api/api.h"
#include "api/auth.h"
#include "api/policy_cache.h"
#include "api/problem.h"
#include "api/request.h"
#include "api/route.h"
#include "api/san_suffixes.h"
#include "api/validate.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Log lines about requests whose sender is not known: at most one of each kind in this time. */
#define API_UNKNOWN_LOG_MS 1000

struct op;
struct health;
struct json_writer;
struct limit;
struct limit_refusal;
struct list;
struct openapi;
struct reply_refusal;

/* What an op waits for (api/wait.h). */
struct wait {
	char csr_id[CSR_ID_SIZE]; /* "": it does not wait */
	uint64_t look_ms;         /* when to look; 0: in the next turn; UINT64_MAX: when it is woken */
	const char *refusal;
	void (*look)(struct op *op);
	unsigned rounds; /* how often it has waited */
};

#define API_USES_MAX 16 /* written at once; far below the calls that the store can take without memory */
#define API_ENDINGS_MAX 64

struct api {
	struct api_options options;
	struct limit *limit;
	struct san_suffixes *suffixes; /* NULL when this machine has none */
	struct policy_cache policies;
	LIST_HEAD(, op) ops; /* in flight, the newest first */
	unsigned in_flight;
	unsigned waiting; /* how many of them wait for another */
	uint64_t tick_ms; /* the turn that was requested of the daemon; 0: none */
	bool draining;
	struct health *health;        /* the readiness check that is running, or NULL */
	TAILQ_HEAD(, list) lists;     /* of csr_read.c: lists that wait for their turn */
	unsigned lists_waiting;       /* how many that is */
	unsigned lists_len;           /* how many the store works on */
	struct openapi *openapi;      /* of openapi.c: the document as it was last asked for, or NULL */
	struct log_gate auth_gate;    /* refused credentials */
	struct log_gate unknown_gate; /* requests refused before authentication */
	struct metric_times auth_times;
	struct use_note {
		char id[CSR_ID_SIZE];
		int64_t at_us;
	} uses[API_USES_MAX]; /* of use.c: principals whose use is to be written down */
	unsigned uses_len;
	struct use_ending {
		char id[CSR_ID_SIZE];
		int64_t used_us;
		int64_t expires_us;
	} endings[API_ENDINGS_MAX]; /* of use.c: principals that end soon, as far as they are used */
	unsigned endings_len;
};

struct op {
	struct api *api;
	struct request *request;
	struct route route;
	struct auth_claim claim;
	struct principal *principal; /* owned; NULL before authentication */
	char *known_by;             /* by what, where it was not a secret alone: "uri:… (certificate 0A)" */
	char *peer;                 /* for the audit trail: the request's, and by what it was known; NULL: the
				       request's */
	char works_on[CSR_ID_SIZE]; /* the CSR that this op changes; "": none */
	struct wait wait;
	uint64_t started_ns;
	void *state; /* the handler's own, owned */
	void (*state_free)(void *state);
	LIST_ENTRY(op) next; /* in api->ops */
};

/* Handlers, as the table in route.c names them. */
void csr_create_look(struct op *op);
void csr_create_start(struct op *op);
void csr_delete_start(struct op *op);
void csr_get_look(struct op *op);
void csr_get_start(struct op *op);
void csr_refuse_no_id(struct op *op); /* for ".../custom_csrs/" */
void csr_list_start(struct op *op);
void token_verify_start(struct op *op);
void health_alive(struct op *op);
void health_ready(struct op *op);
void openapi_start(struct op *op);

/* Takes the request.  NULL: out of memory, and the request is still the caller's. */
struct op *op_new(struct api *api, struct request *request);

/* caller: what the store knows of the sender, taken; NULL unless E_OK.  Calls the rule's start or refuses. */
void op_admit(struct op *op, enum err e, struct principal *caller);

/* Keeps by what the principal was known.  E_NOMEM. */
MUST_USE enum err op_note_peer(struct op *op);

/* From now on api_works_on(id) is true, until the op ends.  E_BUSY: another op works on it. */
MUST_USE enum err op_work_on(struct op *op, const char *csr_id);

/* The op no longer works on its CSR; ops that wait for it may go on. */
void op_let_go(struct op *op);

/* Who did it, for the audit trail; borrowed from the op. */
struct audit_origin op_origin(const struct op *op);

/* Tells the daemon that reconciliation has something to do. */
void op_want_reconcile(struct op *op);

/* The signer that holds a token, or NULL. */
struct hsm *op_hsm_find(const struct op *op, const char *token_name);

/* What a create may ask for: what the operator permits and the token can make, once the token has said it. */
struct validate_policy op_policy(const struct op *op);

/* When a call to the HSM must be over for the answer to be in time. */
uint64_t op_hsm_deadline_ms(const struct op *op);

/* "token 'ci' (ID)": the name that an operator knows, the id that the audit trail has; "nobody" for NULL. */
#define OP_NAME_LOG_BYTES 200
#define OP_CALLER_SIZE (OP_NAME_LOG_BYTES + CSR_ID_SIZE + sizeof("token '' ()"))
void op_format_caller(const struct principal *caller, char text[OP_CALLER_SIZE]);

void op_log(const struct op *op, enum log_level level, const char *format, ...) PRINTF_LIKE(3, 4);

/* No body; allow: the header of that name, or NULL. */
void op_reply_bare(struct op *op, int status, const char *allow);
/* result and result_info are JSON. */
void op_reply(struct op *op, int status, const char *result, const char *result_info);
/* A result that was written after reply_begin. */
void op_reply_written(struct op *op, int status, struct json_writer *w, const char *result_info);
/* 200 with `messages`; these are not part of the op, here and below. */
void op_reply_noted(struct op *op, const char *result, const struct problem_list *notes);
/* 200, with JSON that is no envelope; copied. */
void op_reply_document(struct op *op, const char *json, size_t len);
/* 201; location: its path. */
void op_reply_created(struct op *op, const char *result, const char *location,
		      const struct problem_list *notes);
/* When the answer could not be built. */
void op_refuse_internal(struct op *op, enum err e, const char *what);
void op_refuse(struct op *op, enum problem_code code, const char *message);
void op_refuse_with(struct op *op, const struct reply_refusal *refusal);
void op_refuse_later(struct op *op, const char *message);                 /* 503 */
void op_refuse_limit(struct op *op, const struct limit_refusal *refusal); /* 429 */
void op_refuse_method(struct op *op, const char *allow);
void op_refuse_list(struct op *op, const struct problem_list *list);
/* As problem_from_err says; message NULL: the code's own text. */
void op_refuse_err(struct op *op, enum err e, const char *message);

#endif
