/* SPDX-License-Identifier: Apache-2.0 */
/* The name by which a machine is told from others that share its token. */
#ifndef CSRD_BASE_NODE_H
#define CSRD_BASE_NODE_H

#define NODE_NAME_MAX 63 /* characters */

/*
 * `configured`, unless it is NULL or ""; else the host's name with all but
 * letters, digits, dots, dashes and underscores made dashes; cut to what fits.
 */
void node_name(const char *configured, char name[NODE_NAME_MAX + 1]);

#endif
