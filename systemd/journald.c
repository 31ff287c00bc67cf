/* SPDX-License-Identifier: Apache-2.0 */
/* A sink of the log that hands events to journald with their fields. */
#include "systemd/journald.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* it would name this file for all events */
#include <systemd/sd-journal.h>

#define TOKEN_SIZE 64
#define FIELDS_MAX 6
#define ID_SIZE 128
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

static const char *program_name;
static char process_token[TOKEN_SIZE];

struct entry {
	struct iovec fields[FIELDS_MAX];
	int len;
};

/* field: "NAME=value". */
static void journald_add(struct entry *entry, char *field, size_t size)
{
	entry->fields[entry->len++] = (struct iovec){field, size};
}

/* Into `field`, which lives as long as the entry; nothing when there is no value. */
static void add_text(struct entry *entry, char *field, size_t size, const char *name, const char *value)
{
	int len;

	if (!value || value[0] == '\0')
		return;
	len = snprintf(field, size, "%s=%s", name, value);
	journald_add(entry, field, (size_t)len < size ? (size_t)len : size - 1);
}

static bool send_entry(const struct log_event *event)
{
	char priority[] = "PRIORITY=?", identifier[ID_SIZE], request[ID_SIZE], csr[ID_SIZE], token[ID_SIZE];
	const struct log_context *context = event->context;
	const char *event_token = context ? context->token : NULL;
	char message[sizeof("MESSAGE=") + LOG_MESSAGE_MAX_BYTES];
	struct entry entry = {.len = 0};

	priority[sizeof(priority) - 2] = (char)('0' + (int)event->level);
	journald_add(&entry, priority, sizeof(priority) - 1);
	add_text(&entry, message, sizeof(message), "MESSAGE", event->message);
	add_text(&entry, identifier, sizeof(identifier), "SYSLOG_IDENTIFIER", program_name);
	if (context) {
		add_text(&entry, request, sizeof(request), "CSRD_REQUEST_ID", context->request_id);
		add_text(&entry, csr, sizeof(csr), "CSRD_CSR_ID", context->csr_id);
	}
	add_text(&entry, token, sizeof(token), "CSRD_TOKEN", event_token ? event_token : process_token);
	return sd_journal_sendv(entry.fields, entry.len) == 0;
}

void journald_open(const char *program)
{
	program_name = program;
	/* Where it cannot be reached sd_journal_sendv(3) says that all is well, and drops the entry. */
	if (log_is_to_journal() && access(JOURNAL_SOCKET, W_OK) == 0)
		log_set_sink(send_entry);
}

void journald_set_token(const char *token_name)
{
	snprintf(process_token, sizeof(process_token), "%s", token_name);
}
