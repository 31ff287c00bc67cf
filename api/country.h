/* SPDX-License-Identifier: Apache-2.0 */
/* Country codes: ISO 3166-1 alpha-2, the officially assigned ones, and XK. */
#ifndef CSRD_API_COUNTRY_H
#define CSRD_API_COUNTRY_H

#include <stdbool.h>

#define COUNTRY_SIZE 3

/*
 * Exactly two upper-case letters: a code that ISO assigned, or XK, which stands
 * for Kosovo everywhere although ISO has no code for it.  "ZZ", "XX", "EU",
 * "UK" and "us" are not known.
 */
bool country_is_known(const char *code);

/*
 * Which code an unknown one was probably meant to be: the same in upper case,
 * GB for UK, GR for EL.  False when there is no guess.
 */
bool country_guess(const char *code, char ret_code[COUNTRY_SIZE]);

#endif
