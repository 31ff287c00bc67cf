/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the rules file that are not about one call. */
#ifndef CSRD_TESTS_P11SHIM_SETTING_H
#define CSRD_TESTS_P11SHIM_SETTING_H

#include <stdbool.h>

struct rules;
struct words;

/* False when the line is none of these.  A mistake in it is fatal. */
bool setting_parse(const struct words *w, struct rules *rules);

#endif
