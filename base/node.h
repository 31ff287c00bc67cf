/* SPDX-License-Identifier: Apache-2.0 */
/* The name that distinguishes a machine from others that share its token. */
#ifndef CSRD_BASE_NODE_H
#define CSRD_BASE_NODE_H

#define NODE_NAME_MAX 63 /* characters */

/*
 * `configured`, unless it is NULL or ""; otherwise the host name, with a dash for
 * each character that is not a letter, digit, dot, dash or underscore.  Cut if too
 * long.
 */
void node_name(const char *configured, char name[NODE_NAME_MAX + 1]);

#endif
