/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded schema steps, and which of them a database gets. */
#include "store/migrate.h"

#include "base/log.h"

static const struct migrate_step embedded[] = {
#include "store_schema.inc"
};

const struct migrate_step *migrate_steps(size_t *ret_len)
{
	*ret_len = sizeof(embedded) / sizeof(embedded[0]);
	return embedded;
}

enum err migrate_run(const struct migrate_driver *driver, const struct migrate_step *steps, size_t steps_len)
{
	int have = 0;
	int newest = steps_len > 0 ? steps[steps_len - 1].version : 0;

	enum err e = driver->version(driver->db, &have);
	if (e != E_OK)
		return e;
	if (have > newest || have < 0) {
		log_error("store '%s' has schema version %d, this program knows up to %d: "
			  "it was made by a newer program and is left alone",
			  driver->subject, have, newest);
		return E_STORE;
	}
	for (size_t i = 0; i < steps_len; i++) {
		if (steps[i].version <= have)
			continue;
		e = driver->apply(driver->db, &steps[i]);
		if (e != E_OK) {
			log_err(e, "store '%s' stays at schema version %d: step %d '%s' failed",
				driver->subject, steps[i].version - 1, steps[i].version, steps[i].name);
			return e;
		}
		log_info("store '%s' is now at schema version %d '%s'", driver->subject, steps[i].version,
			 steps[i].name);
	}
	return E_OK;
}
