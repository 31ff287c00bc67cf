/* SPDX-License-Identifier: Apache-2.0 */
/* What the token makes of a template: it refuses it, or keeps something else than what was asked for. */
#ifndef CSRD_TESTS_P11SHIM_TEMPLATE_H
#define CSRD_TESTS_P11SHIM_TEMPLATE_H

#include <stdbool.h>

struct call;

/* False when the token refuses; c->rv says why.  Else c->templates are what the module is to get. */
bool template_enter(struct call *c);

/* The caller's own templates again.  To be called once the module was, and may be called again. */
void template_leave(struct call *c);

#endif
