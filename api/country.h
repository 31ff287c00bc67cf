/* SPDX-License-Identifier: Apache-2.0 */
/* Country codes: ISO 3166-1 alpha-2, the officially assigned ones, and XK. */
#ifndef CSRD_API_COUNTRY_H
#define CSRD_API_COUNTRY_H

#include <stdbool.h>

#define COUNTRY_SIZE 3

/*
 * Exactly two upper-case letters: a code that ISO assigned, or XK, which stands
 * for Kosovo everywhere although ISO has no code for it.  "ZZ", "XX", "EU",
 * "UK" and "us" are none.
 */
bool country_is_known(const char *code);

/*
 * The code that was meant by one that is not known: in upper case, GB for UK,
 * GR for EL.  False when it cannot be told.
 */
bool country_guess(const char *code, char ret_code[COUNTRY_SIZE]);

#endif
