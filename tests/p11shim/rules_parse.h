/* The text of the rules file. */
#ifndef CSRD_TESTS_P11SHIM_RULES_PARSE_H
#define CSRD_TESTS_P11SHIM_RULES_PARSE_H

struct rules;

/* Adds what the file says to `r`, which is all zero but for its users and id.  A mistake is fatal. */
void rules_parse(const char *path, struct rules *r);

#endif
