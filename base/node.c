/* SPDX-License-Identifier: Apache-2.0 */
/* The name of this machine. */
#include "base/node.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_in_names(char c)
{
	return str_ascii_is_alnum(c) || c == '.' || c == '-' || c == '_';
}

void node_name(const char *configured, char name[NODE_NAME_MAX + 1])
{
	char host[256] = "";

	if (configured && configured[0]) {
		snprintf(name, NODE_NAME_MAX + 1, "%s", configured);
		return;
	}
	if (gethostname(host, sizeof(host) - 1) || !host[0])
		snprintf(host, sizeof(host), "localhost");
	host[NODE_NAME_MAX] = '\0';
	for (char *at = host; *at; at++)
		if (!is_in_names(*at))
			*at = '-';
	memcpy(name, host, strlen(host) + 1);
}
