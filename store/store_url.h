/* SPDX-License-Identifier: Apache-2.0 */
/* What the url alone says about a store. */
#ifndef CSRD_STORE_STORE_URL_H
#define CSRD_STORE_STORE_URL_H

#include <stdbool.h>

/* The file of the database, whether it exists or not; NULL: it is not a file.  Borrowed from the url. */
const char *store_url_path(const char *url);

/* Whether csrd on other machines may use it as well. */
bool store_url_is_shared(const char *url);

#endif
