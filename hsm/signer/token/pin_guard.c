/* SPDX-License-Identifier: Apache-2.0 */
/* The marker of a PIN that was refused. */
#include "hsm/signer/token/pin_guard.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SALT_BYTES 16
#define SERIAL_MAX 16
#define CHECK_BYTES 2
#define MARKER_MAX 4096
#define MARKER_LINE "check "
#define FAILURES_LINE "failures "
/* 16 MiB, some 40 ms: RFC 7914 §2. */
#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SCRYPT_MEMORY (64ull * 1024 * 1024)

struct marker {
	uint8_t salt[SALT_BYTES];
	uint8_t check[CHECK_BYTES];
	unsigned failures; /* that nothing explains; 0: refused, or cut off */
	int64_t at_us;     /* the last of them, on the wall clock */
};

static enum err derive(const struct secret *pin, const char *serial, struct marker *m)
{
	uint8_t salt[SALT_BYTES + SERIAL_MAX] = {0};
	size_t serial_len = strnlen(serial, SERIAL_MAX);

	memcpy(salt, m->salt, SALT_BYTES);
	memcpy(salt + SALT_BYTES, serial, serial_len);
	if (EVP_PBE_scrypt((const char *)secret_bytes(pin), secret_len(pin), salt, sizeof(salt), SCRYPT_N,
			   SCRYPT_R, SCRYPT_P, SCRYPT_MEMORY, m->check, CHECK_BYTES) != 1)
		return E_NOMEM;
	return E_OK;
}

/* ---- its text ---- */

static void put_words(struct buf *b, const struct marker *m)
{
	if (!m->failures)
		buf_put_str(
		    b, "The token refused the PIN, or the attempt was cut off.  It is not tried again.\n");
	else
		buf_printf(
		    b,
		    "The login failed, and the token did not say why.  That may have been the PIN, so\n"
		    "it is tried %d times in all.  So far, and when, in microseconds since 1970:\n"
		    "%s%u %" PRId64 "\n",
		    PIN_GUARD_TRIES, FAILURES_LINE, m->failures, m->at_us);
}

static enum err write_marker(const struct state_dir *dir, const struct marker *m)
{
	char salt[2 * SALT_BYTES + 1], check[2 * CHECK_BYTES + 1];
	struct buf b;
	enum err e;

	str_hex(salt, m->salt, SALT_BYTES);
	str_hex(check, m->check, CHECK_BYTES);
	buf_init(&b, MARKER_MAX);
	put_words(&b, m);
	buf_printf(&b,
		   "Put the right PIN into the PIN file, or remove this file, and start csrd-hsm.\n"
		   "%s%s %s\n",
		   MARKER_LINE, salt, check);
	e = buf_status(&b) != E_OK ? buf_status(&b) : state_dir_write(dir, PIN_GUARD_MARKER, &b);
	buf_release(&b);
	return e;
}

static enum err parse_marker(const char *text, struct marker *m)
{
	const char *line = strstr(text, "\n" MARKER_LINE), *failures = strstr(text, "\n" FAILURES_LINE);
	char salt[2 * SALT_BYTES + 1], check[2 * CHECK_BYTES + 1];

	if (!line || sscanf(line + 1 + strlen(MARKER_LINE), "%32s %4s", salt, check) != 2 ||
	    str_unhex(m->salt, SALT_BYTES, salt) != E_OK || str_unhex(m->check, CHECK_BYTES, check) != E_OK)
		return E_IO;
	m->failures = 0;
	if (failures &&
	    (sscanf(failures + 1 + strlen(FAILURES_LINE), "%u %" SCNd64, &m->failures, &m->at_us) != 2 ||
	     m->failures < 1))
		return E_IO;
	return E_OK;
}

/* E_NOTFOUND: there is none. */
static enum err read_marker(const struct state_dir *dir, struct marker *m)
{
	struct buf b;
	enum err e;

	buf_init(&b, MARKER_MAX);
	e = state_dir_read(dir, PIN_GUARD_MARKER, &b);
	if (e == E_OK)
		e = parse_marker(buf_text(&b), m);
	buf_release(&b);
	return e;
}

/* ---- its use ---- */

/* A clock that was set back proves no minute, and takes none. */
static bool is_too_soon(const struct marker *m)
{
	int64_t since_us = clock_wall_us() - m->at_us;

	return since_us >= 0 && since_us < (int64_t)PIN_GUARD_PAUSE_MS * 1000;
}

/* The marker is of this PIN. */
static enum err pin_guard_judge(const struct marker *m, const char *folder, const char *pin_name,
				unsigned *ret_failures)
{
	if (!m->failures) {
		log_error("the token refused the pin of '%s' before, or that attempt was cut off, and it has "
			  "not changed since: not tried again; put the right pin there, or remove '%s/%s'",
			  pin_name, folder, PIN_GUARD_MARKER);
		return E_PIN;
	}
	if (m->failures >= PIN_GUARD_TRIES) {
		log_error(
		    "the login with the pin of '%s' failed %u times, and the token did not say why: not "
		    "tried again; if the pin is right, remove '%s/%s'",
		    pin_name, m->failures, folder, PIN_GUARD_MARKER);
		return E_PIN;
	}
	if (is_too_soon(m)) {
		log_warn(
		    "the login with the pin of '%s' failed less than %d s ago, and the token did not say "
		    "why: not tried again yet",
		    pin_name, PIN_GUARD_PAUSE_MS / 1000);
		return E_BUSY;
	}
	*ret_failures = m->failures;
	return E_OK;
}

enum err pin_guard_check(const struct state_dir *dir, const char *serial, const char *pin_name,
			 const struct secret *pin, unsigned *ret_failures)
{
	const char *folder = state_dir_path(dir);
	struct marker then, now;
	enum err e = read_marker(dir, &then);

	if (e == E_NOTFOUND) {
		*ret_failures = 0;
		return E_OK;
	}
	if (e != E_OK) {
		log_err(e, "'%s/%s' cannot be read, so no pin is tried; look at it, and remove it", folder,
			PIN_GUARD_MARKER);
		return e == E_NOMEM ? e : E_IO;
	}
	now = then;
	if ((e = derive(pin, serial, &now)) != E_OK) {
		log_error("out of memory");
		return e;
	}
	if (memcmp(now.check, then.check, CHECK_BYTES) != 0) {
		*ret_failures = 0;
		return E_OK;
	}
	return pin_guard_judge(&then, folder, pin_name, ret_failures);
}

enum err pin_guard_arm(const struct state_dir *dir, const char *serial, const struct secret *pin)
{
	return pin_guard_count(dir, serial, pin, 0);
}

enum err pin_guard_count(const struct state_dir *dir, const char *serial, const struct secret *pin,
			 unsigned failures)
{
	struct marker m = {.failures = failures, .at_us = clock_wall_us()};
	enum err e = random_fill(m.salt, SALT_BYTES);

	if (e == E_OK)
		e = derive(pin, serial, &m);
	if (e == E_OK)
		e = write_marker(dir, &m);
	if (e != E_OK)
		log_error("cannot write '%s/%s' (%s), so no pin is tried", state_dir_path(dir),
			  PIN_GUARD_MARKER, e == E_IO ? strerror(errno) : err_str(e));
	return e;
}

void pin_guard_disarm(const struct state_dir *dir)
{
	/* Without room for a marker the next start could not log in. */
	if (state_dir_put_away(dir, PIN_GUARD_MARKER) != E_OK)
		log_error("cannot remove '%s/%s': %s; the next start will not log in", state_dir_path(dir),
			  PIN_GUARD_MARKER, strerror(errno));
}
