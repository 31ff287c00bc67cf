/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of one HTTP/1.1 request: request line and header fields (RFC 9112
 * §2 to §6).  It refuses whatever two HTTP parsers could read in two ways, and
 * it is the only parser: what it found is what csrd acts on.  Pure: no
 * libevent, no log, no memory of its own.
 */
#ifndef CSRD_DAEMON_HEAD_H
#define CSRD_DAEMON_HEAD_H

#include "api/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_FIELDS_MAX 64

enum head_state {
	HEAD_MORE = 1, /* not complete yet, nothing wrong so far */
	HEAD_WHOLE,    /* scan: len is set; parse: everything is */
	HEAD_REFUSED,  /* status and why are set; what follows on the connection cannot be trusted */
};

enum head_framing {
	HEAD_NO_BODY = 0,
	HEAD_LENGTH,  /* body_len bytes follow; more than 0 */
	HEAD_CHUNKED, /* RFC 9112 §7.1 */
};

struct head_field {
	const char *name;
	const char *value; /* without the blanks around it */
};

struct head {
	size_t max_bytes; /* of the head, its empty line included */
	uint64_t max_body_bytes;
	bool over_tls; /* set by the caller, after head_init */
	/* scan: */
	size_t scanned; /* bytes looked at by earlier calls */
	size_t skipped; /* an empty line before the request line */
	size_t len;     /* bytes of the head, `skipped` and its empty line included */
	/* parse; texts point into the caller's: */
	enum http_method method;
	const char *path;  /* raw; "*" for OPTIONS * */
	const char *query; /* raw; NULL when there is none */
	unsigned minor;    /* of HTTP/1.x */
	struct head_field fields[HEAD_FIELDS_MAX];
	size_t fields_len;
	enum head_framing framing;
	uint64_t body_len;
	bool expects_continue; /* the client waits for 100 (Continue) */
	bool close;            /* the client asks for the connection to be closed, or speaks HTTP/1.0 */
	/* refused: */
	int status;
	const char *why; /* static text, fit for the client */
};

void head_init(struct head *h, size_t max_bytes, uint64_t max_body_bytes);

/*
 * Looks for the end of the head.  `bytes` holds all that has arrived: each call
 * passes the bytes of the call before, and more after them.  After
 * HEAD_WHOLE the caller parses the first `len` of them.
 */
enum head_state head_scan(struct head *h, const char *bytes, size_t len);

/*
 * Parses a whole head in place: `text` is a copy of the h->len bytes that were
 * scanned, which is changed and must stay as long as h is used.  Never
 * HEAD_MORE.  After HEAD_REFUSED `method` is set when it was understood, so
 * that a refused HEAD request is answered without a body.
 */
enum head_state head_parse(struct head *h, char *text);

/* The value of the first field of that name (any case), or NULL. */
const char *head_field(const struct head *h, const char *name);

/* RFC 9110 §5.6.2: may it stand in the name of a method or a field? */
bool head_is_token_char(char c);

#endif
