/* What the csrd that runs says of itself: its version, its values, and its last comparisons. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "cli/running.h"

#include <stdio.h>
#include <string.h>

struct values {
	const struct json_doc *running;
	unsigned reload, restart; /* values that are not in force yet */
	char first[128];
};

static void on_value(void *arg, const struct config_value *value)
{
	struct values *v = arg;
	char full[128];
	const char *in_force;

	snprintf(full, sizeof(full), "%s%s%s.%s", value->section, value->token ? "." : "",
		 value->token ? value->token : "", value->name);
	in_force = running_value(v->running, full);
	if (in_force && !strcmp(in_force, value->text))
		return;
	if (v->reload + v->restart == 0)
		memcpy(v->first, full, sizeof(full));
	if (value->reloadable)
		v->reload++;
	else
		v->restart++;
}

static void check_values(struct doctor *d, const struct json_doc *running)
{
	struct values v = {.running = running};

	if (config_each_value(d->config, on_value, &v) != E_OK || v.reload + v.restart == 0)
		return;
	doctor_say(d, DOCTOR_WARN, "in-force", NULL,
		   "csrd works with another value of %s%s than the file has", v.first,
		   v.reload + v.restart == 1 ? "" : " and of others");
	doctor_remedy(d, "csrctl config show tells both; %s",
		      v.restart ? "systemctl restart csrd" : "systemctl reload csrd");
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
	doctor_remedy(d, "csrctl verify --token %s tells which, and what to do about them", token);
}

void doctor_check_running(struct doctor *d)
{
	struct json_doc *running = NULL;
	enum err e = running_read(d->config, &running);

	if (e == E_DENIED) {
		doctor_say(d, DOCTOR_SKIP, "running", NULL, "what csrd says of itself cannot be read");
		doctor_remedy(d, "run csrctl doctor as root");
	}
	if (e != E_OK)
		return;
	check_version(d, running);
	check_values(d, running);
	for (size_t i = 0; i < d->config->tokens_len; i++)
		if (!d->only || d->only == &d->config->tokens[i])
			check_comparison(d, running, d->config->tokens[i].name);
	doctor_flush(d); /* what it says is of the document */
	json_doc_free(running);
}
