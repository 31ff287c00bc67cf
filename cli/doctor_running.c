/* SPDX-License-Identifier: Apache-2.0 */
/* What the csrd that runs says of itself: its version, its values, and its last comparisons. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "cli/in_force.h"
#include "cli/running.h"

#include <stdio.h>
#include <string.h>

struct values {
	const struct in_force *in_force;
	unsigned count; /* that are not in force yet */
	char first[CONFIG_FULL_NAME_SIZE];
	struct in_force_other other; /* of the first */
};

static void doctor_running_on_value(void *arg, const struct config_value *value)
{
	struct in_force_other other;
	struct values *v = arg;

	if (!in_force_differs(v->in_force, value, &other) || v->count++ > 0)
		return;
	config_value_full_name(value, v->first);
	v->other = other;
}

static void check_values(struct doctor *d)
{
	struct in_force *in_force;
	struct values v = {0};
	bool denied;

	if (d->file_is_bad || in_force_read(d->config, &in_force, &denied) != E_OK)
		return;
	v.in_force = in_force;
	if (config_each_value(d->config, doctor_running_on_value, &v) == E_OK && v.count > 0) {
		doctor_say(d, DOCTOR_WARN, "in-force", NULL,
			   "what runs works with another value of %s%s than the file has", v.first,
			   v.count == 1 ? "" : " and of others");
		doctor_remedy(d, "%s; csrctl config show lists them, and what each waits for",
			      v.other.command);
	}
	in_force_free(in_force);
}

static void check_version(struct doctor *d, const struct json_doc *running)
{
	const char *version = running_version(running);

	if (!version || !strcmp(version, CSRD_VERSION))
		return;
	doctor_say(d, DOCTOR_WARN, "version", NULL, "csrd %s runs, and " CSRD_VERSION " is installed",
		   version);
	doctor_remedy(d, "systemctl restart csrd");
}

static void check_comparison(struct doctor *d, const struct json_doc *running, const char *token)
{
	struct running_comparison c;
	char at[OUTPUT_TIME_SIZE], words[RUNNING_WORDS_SIZE];

	if (!running_last_comparison(running, token, &c))
		return;
	output_format_age(c.at_us, clock_wall_us(), at);
	running_comparison_words(&c, words);
	if (!words[0]) {
		doctor_say(d, DOCTOR_OK, "comparison", token, "keys and store agree, %s", at);
		return;
	}
	doctor_say(d, DOCTOR_WARN, "comparison", token, "of keys and store, %s: %s", at, words);
	doctor_remedy(d, "csrctl verify --token %s shows which, and what to do about them", token);
}

void doctor_check_running(struct doctor *d)
{
	struct json_doc *running = NULL;
	enum err e;

	check_values(d);
	e = running_read(d->config, &running);
	if (e == E_DENIED) {
		doctor_say(d, DOCTOR_SKIP, "running", NULL, "csrd's report about itself cannot be read");
		doctor_remedy(d, "run csrctl doctor as root");
	}
	if (e != E_OK)
		return;
	check_version(d, running);
	for (size_t i = 0; i < d->config->tokens_len; i++)
		if (!d->only || d->only == &d->config->tokens[i])
			check_comparison(d, running, d->config->tokens[i].name);
	doctor_flush(d); /* what it says is of the document */
	json_doc_free(running);
}
