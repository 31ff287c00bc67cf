/* SPDX-License-Identifier: Apache-2.0 */
/* GET /openapi.json: the frame with its parts filled in, kept until the policy changes. */
#include "api/openapi.h"

#include "api/limit.h"
#include "api/op.h"
#include "api/openapi_part.h"

#include <stdlib.h>
#include <string.h>

static const char frame[] =
#include "openapi_frame.inc"
    ;

static const struct openapi_part {
	const char *name; /* as it stands in the frame, in place of a value */
	void (*put)(struct json_writer *w, const struct validate_policy *policy);
} parts[] = {
    {"\"@paths\"", openapi_put_paths},
    {"\"@responses\"", openapi_put_responses},
    {"\"@create\"", openapi_put_create},
    {"\"@csr\"", openapi_put_csr},
};

static const struct openapi_part *part_find(const char *at)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strncmp(at, parts[i].name, strlen(parts[i].name)) == 0)
			return &parts[i];
	}
	return NULL;
}

void openapi_put(const struct validate_policy *policy, struct buf *b)
{
	const char *at = frame;
	const char *mark;

	while ((mark = strstr(at, "\"@"))) {
		const struct openapi_part *part = part_find(mark);
		struct json_writer w;

		buf_put(b, at, (size_t)(mark - at));
		if (!part) {
			b->status = E_BUG;
			return;
		}
		json_writer_init(&w, b);
		part->put(&w, policy);
		at = mark + strlen(part->name);
	}
	buf_put_str(b, at);
}

/* ---- the route ---- */

struct openapi {
	struct validate_policy policy;
	char *text;
	size_t len;
};

void openapi_free(struct openapi *openapi)
{
	if (!openapi)
		return;
	free(openapi->text);
	free(openapi);
}

static enum err openapi_new(const struct validate_policy *policy, struct openapi **ret_openapi)
{
	struct openapi *openapi = calloc(1, sizeof(*openapi));
	struct buf b;
	enum err e;

	if (!openapi)
		return E_NOMEM;
	openapi->policy = *policy;
	buf_init(&b, OPENAPI_BYTES_MAX);
	openapi_put(policy, &b);
	e = buf_status(&b);
	if (e == E_OK) {
		openapi->text = buf_take(&b, &openapi->len);
		*ret_openapi = openapi;
	} else {
		openapi_free(openapi);
	}
	buf_release(&b);
	return e;
}

/* Only what the document tells of it. */
static bool openapi_fits(const struct openapi *openapi, const struct validate_policy *policy)
{
	return openapi && openapi->policy.key_types == policy->key_types &&
	       openapi->policy.sans.types == policy->sans.types;
}

void openapi_start(struct op *op)
{
	struct validate_policy policy = op_policy(op);
	struct api *api = op->api;
	struct limit_refusal refusal;
	struct openapi *fresh;
	enum err e;

	/* Unlike the other routes without a credential it is long, and nobody's health depends on it. */
	if (!limit_take_address(api->limit, op->request, &refusal)) {
		op_refuse_limit(op, &refusal);
		return;
	}
	if (!openapi_fits(api->openapi, &policy)) {
		e = openapi_new(&policy, &fresh);
		if (e != E_OK) {
			op_refuse_internal(op, e, "cannot make the OpenAPI document");
			return;
		}
		openapi_free(api->openapi);
		api->openapi = fresh;
	}
	op_reply_document(op, api->openapi->text, api->openapi->len);
}
