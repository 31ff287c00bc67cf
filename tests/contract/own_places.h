/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places of a test's own under names that a program has built in: mounts and
 * System V shared memory that only this process and its children see.
 */
#ifndef CSRD_TESTS_OWN_PLACES_H
#define CSRD_TESTS_OWN_PLACES_H

#include <stdbool.h>

/* Takes root and the right to mount, which a container need not have. */
bool own_places_are_possible(void);

/* Begins a set of them.  From here on no mount of this process reaches the machine. */
void own_places_begin(void);
/* An empty folder at `path`, which must be there. */
void own_places_folder(const char *path);
/* What is at `from` is at `path` too, which must be there. */
void own_places_put(const char *from, const char *path);
/* Unmounts all of the set. */
void own_places_end(void);

#endif
