/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a principal was last used, and a warning before it expires.  Private to api/.
 *
 * The store has the time, to the hour: most uses find one that is young enough, and cost nothing.  Others
 * are gathered for a minute and written together, so no request waits for a commit, and there is one in a
 * minute at most.  What a crash loses is noted at the next use.
 */
#ifndef CSRD_API_USE_H
#define CSRD_API_USE_H

struct api;
struct op;

/* op->principal has shown a credential that is right. */
void use_note(struct op *op);
void use_flush(struct api *api);
/* How many principals that were used in the last day end within two weeks. */
unsigned use_count_ending(const struct api *api);

#endif
