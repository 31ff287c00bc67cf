/* SPDX-License-Identifier: Apache-2.0 */
/* What the token is made to look like: its limits, flags, serial and attributes. */
#ifndef CSRD_TESTS_P11SHIM_FAKE_H
#define CSRD_TESTS_P11SHIM_FAKE_H

#include <stdbool.h>

struct call;

/* Before the module is called.  False when the faked token refuses; c->rv says why. */
bool fake_enter(struct call *c);

/* After the module was called: keeps the books, and falsifies what it answered. */
void fake_answer(struct call *c);

/* Always after fake_enter, whatever it said: gives back what the call holds. */
void fake_leave(struct call *c);

#endif
