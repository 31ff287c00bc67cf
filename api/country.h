/* Country codes: ISO 3166-1 alpha-2, the officially assigned ones. */
#ifndef CSRD_API_COUNTRY_H
#define CSRD_API_COUNTRY_H

#include <stdbool.h>

/* Exactly two upper-case letters of a country that exists; "ZZ", "UK", "EU" and "us" do not. */
bool country_is_assigned(const char *code);

#endif
