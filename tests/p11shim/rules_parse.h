/* SPDX-License-Identifier: Apache-2.0 */
/* The text of the rules file. */
#ifndef CSRD_TESTS_P11SHIM_RULES_PARSE_H
#define CSRD_TESTS_P11SHIM_RULES_PARSE_H

struct rule;
struct rules;
struct words;

/* Adds what the file says to `rules`, which is empty.  A mistake in it is fatal. */
void rules_parse(const char *path, struct rules *rules);

/* One more rule, of that line. */
struct rule *rules_parse_add(const struct words *w, struct rules *rules);

#endif
