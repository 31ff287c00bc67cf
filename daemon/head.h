/*
 * The head of one HTTP/1.1 request (RFC 9112 §2–§6), checked strictly while
 * its bytes arrive, before evhttp sees any of them.  It refuses whatever two
 * HTTP parsers could read in two ways.  Pure: no libevent, no log, no memory.
 */
#ifndef CSRD_DAEMON_HEAD_H
#define CSRD_DAEMON_HEAD_H

#include "api/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_FIELDS_MAX 64

enum head_state {
	HEAD_MORE = 1, /* not whole yet, nothing wrong so far */
	HEAD_WHOLE,    /* the members under "whole" are set */
	HEAD_REFUSED,  /* status and why are set; what follows on the connection cannot be trusted */
};

struct head {
	size_t max_bytes;        /* of the head, its empty line included */
	uint64_t max_body_bytes;
	size_t scanned;          /* bytes looked at by earlier calls */
	/* whole: */
	size_t len;              /* bytes of the head, its empty line included */
	enum http_method method;
	uint64_t body_len;
	bool close;              /* the client asks for the connection to be closed, or speaks HTTP/1.0 */
	/* refused: */
	int status;
	const char *why;         /* static text, fit for the client */
};

void head_init(struct head *h, size_t max_bytes, uint64_t max_body_bytes);

/*
 * `bytes` starts with the request line and holds all that came so far; each
 * call passes the bytes of the last one and more behind them.
 */
enum head_state head_check(struct head *h, const char *bytes, size_t len);

/* True for "application/json", with or without parameters; NULL is false. */
bool head_is_json(const char *content_type);

#endif
