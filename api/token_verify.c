/* SPDX-License-Identifier: Apache-2.0 */
/* GET …/tokens/verify: what a credential is, to the one who holds it. */
#include "api/json.h"
#include "api/op.h"
#include "base/buf.h"

void token_verify_start(struct op *op)
{
	const struct principal *principal = op->principal;
	struct json_writer w;
	struct buf b;

	buf_init(&b, 1024);
	json_writer_init(&w, &b);
	json_open_object(&w);
	json_put_text_member(&w, "id", principal->id);
	json_put_text_member(&w, "status", "active");
	if (principal->expires_us)
		json_put_time_member(&w, "expires_on", principal->expires_us);
	if (principal->not_before_us)
		json_put_time_member(&w, "not_before", principal->not_before_us);
	json_close(&w);
	if (buf_status(&b) != E_OK)
		op_refuse_internal(op, buf_status(&b), "cannot build the answer");
	else
		op_reply(op, 200, buf_text(&b), NULL);
	buf_release(&b);
}
