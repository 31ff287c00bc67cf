/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the trace.  A line is one write(2), so lines of threads and processes do not mix. */
#include "tests/p11shim/trace.h"
#include "tests/p11shim/call.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct line {
	char text[4096];
	size_t len;
};

static int trace_fd = -1;

uint64_t trace_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void trace_open(const char *path)
{
	if (!path)
		return;
	trace_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (trace_fd < 0)
		trace_fatal("cannot open the trace '%s': %s", path, strerror(errno));
}

static void put(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line that does not fit is cut. */
static void put(struct line *l, const char *format, ...)
{
	size_t room = sizeof(l->text) - 1 - l->len; /* one for the newline */
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(l->text + l->len, room, format, args);
	va_end(args);
	if (n > 0)
		l->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void finish(struct line *l)
{
	l->text[l->len++] = '\n';
	if (trace_fd >= 0 && write(trace_fd, l->text, l->len) < 0)
		fprintf(stderr, "p11shim: cannot write the trace: %s\n", strerror(errno));
}

static void put_quoted(struct line *l, const CK_BYTE *text, CK_ULONG len)
{
	put(l, "\"");
	for (CK_ULONG i = 0; i < len; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"' || text[i] == '\\')
			put(l, "\\x%02x", text[i]);
		else
			put(l, "%c", text[i]);
	}
	put(l, "\"");
}

static void put_hex(struct line *l, const CK_BYTE *data, CK_ULONG len)
{
	for (CK_ULONG i = 0; i < len; i++)
		put(l, "%02x", data[i]);
}

static void put_number(struct line *l, const CK_ATTRIBUTE *a)
{
	CK_ULONG number;

	if (a->ulValueLen != sizeof(number))
		return;
	memcpy(&number, a->pValue, sizeof(number));
	put(l, "=0x%lx", number);
}

static void put_boolean(struct line *l, const CK_ATTRIBUTE *a)
{
	if (a->ulValueLen == 1)
		put(l, *(const CK_BYTE *)a->pValue ? "=true" : "=false");
}

/* Values of the kinds that are known to hold no secret; all others by name alone. */
static void put_value(struct line *l, const CK_ATTRIBUTE *a)
{
	switch (a->type) {
	case CKA_LABEL:
		put(l, "=");
		put_quoted(l, a->pValue, a->ulValueLen);
		break;
	case CKA_ID:
		put(l, "=");
		put_hex(l, a->pValue, a->ulValueLen);
		break;
	case CKA_CLASS:
	case CKA_KEY_TYPE:
	case CKA_MODULUS_BITS:
	case CKA_KEY_GEN_MECHANISM:
		put_number(l, a);
		break;
	case CKA_TOKEN:
	case CKA_PRIVATE:
	case CKA_SENSITIVE:
	case CKA_EXTRACTABLE:
	case CKA_ALWAYS_SENSITIVE:
	case CKA_NEVER_EXTRACTABLE:
	case CKA_LOCAL:
	case CKA_ENCRYPT:
	case CKA_DECRYPT:
	case CKA_WRAP:
	case CKA_UNWRAP:
	case CKA_SIGN:
	case CKA_SIGN_RECOVER:
	case CKA_VERIFY:
	case CKA_VERIFY_RECOVER:
	case CKA_DERIVE:
	case CKA_MODIFIABLE:
	case CKA_COPYABLE:
	case CKA_DESTROYABLE:
	case CKA_TRUSTED:
	case CKA_ALWAYS_AUTHENTICATE:
	case CKA_WRAP_WITH_TRUSTED:
		put_boolean(l, a);
		break;
	default:
		break;
	}
}

static void put_template(struct line *l, const char *name, const struct attribute_list *t, bool values)
{
	char buffer[NAMES_TEXT_SIZE];

	if (!t->attributes)
		return;
	put(l, " %s=[", name);
	for (CK_ULONG i = 0; i < t->count; i++) {
		const CK_ATTRIBUTE *a = &t->attributes[i];

		put(l, "%s%s", i ? " " : "", names_text(NAMES_CKA, a->type, buffer));
		if (a->ulValueLen == CK_UNAVAILABLE_INFORMATION)
			put(l, "=?");
		else if (values && a->pValue)
			put_value(l, a);
	}
	put(l, "]");
}

/* What a read-back holds is known only once it was answered. */
static bool values_are_set(const struct call *c, const char *end)
{
	return c->function != FN_C_GetAttributeValue || (c->called && !end);
}

static void put_arguments(struct line *l, const struct call *c, bool values)
{
	char buffer[NAMES_TEXT_SIZE];

	if (c->session)
		put(l, " session=%lu", c->session);
	if (c->slot)
		put(l, " slot=%lu", *c->slot);
	if (c->user)
		put(l, " user=%lu", *c->user);
	if (c->flags)
		put(l, " flags=0x%lx", *c->flags);
	if (c->mechanism)
		put(l, " mechanism=%s", names_text(NAMES_CKM, *c->mechanism, buffer));
	if (c->object)
		put(l, " object=%lu", c->object);
	if (c->in_len)
		put(l, " in=%lu", c->in_len);
	put_template(l, c->templates[1].attributes ? "public" : "template", &c->templates[0], values);
	put_template(l, "private", &c->templates[1], values);
}

static void put_results(struct line *l, const struct call *c)
{
	if (c->rv != CKR_OK || !c->called)
		return;
	if (c->out && c->out_len)
		put(l, " out=%lu", *c->out_len);
	if (c->new_session)
		put(l, " -> session=%lu", *c->new_session);
	for (size_t i = 0; i < CALL_HANDLES_MAX && c->new_objects[i]; i++)
		put(l, " -> object=%lu", *c->new_objects[i]);
	if (c->found_count)
		put(l, " -> found=%lu", *c->found_count);
}

void trace_call(const struct call *c, const char *end)
{
	char buffer[NAMES_TEXT_SIZE];
	struct line l = {.len = 0};

	if (trace_fd < 0)
		return;
	put(&l, "%" PRIu64 ".%06" PRIu64 " %d/%d %s", c->started_us / 1000000, c->started_us % 1000000,
	    (int)getpid(), (int)gettid(), names_function_text(c->function));
	put_arguments(&l, c, values_are_set(c, end));
	if (!end)
		put_results(&l, c);
	put(&l, " = %s", end ? end : names_text(NAMES_CKR, c->rv, buffer));
	put(&l, " %" PRIu64 "us", trace_now_us() - c->started_us);
	finish(&l);
}

void trace_fatal(const char *format, ...)
{
	struct line l = {.len = 0};
	va_list args;
	char message[1024];

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	fprintf(stderr, "p11shim: %s\n", message);
	put(&l, "p11shim: %s", message);
	finish(&l);
	abort();
}
