/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log as journald takes it: one entry with fields for each event, where
 * standard error is a stream to the journal (JOURNAL_STREAM names it, see
 * systemd.exec(5)) and journald's socket can be reached.  Elsewhere the log
 * stays as base/log.h says.
 *
 * Fields: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER; CSRD_REQUEST_ID, CSRD_CSR_ID
 * and CSRD_TOKEN where they are known.
 */
#ifndef CSRD_SYSTEMD_JOURNALD_H
#define CSRD_SYSTEMD_JOURNALD_H

/* After log_open.  program: borrowed forever. */
void journald_open(const char *program);

/* The token that all further events of this process belong to; copied; names longer than 63 bytes are cut. */
void journald_set_token(const char *token_name);

#endif
