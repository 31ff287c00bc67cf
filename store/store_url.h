/* SPDX-License-Identifier: Apache-2.0 */
/* What a store's url says of it, without a look at it. */
#ifndef CSRD_STORE_STORE_URL_H
#define CSRD_STORE_STORE_URL_H

#include <stdbool.h>

/* The file that it is, or will be; NULL: it is none.  Borrowed of the url. */
const char *store_url_path(const char *url);

/* Whether csrd on other machines may be at work on it as well. */
bool store_url_is_shared(const char *url);

#endif
