/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the lines that are not about one call. */
#include "tests/p11shim/setting.h"
#include "tests/p11shim/rules.h"
#include "tests/p11shim/rules_parse.h"
#include "tests/p11shim/state.h"
#include "tests/p11shim/words.h"

#include <stddef.h>
#include <string.h>

static CK_RV return_value(const struct words *w, size_t word)
{
	return words_constant(w, NAMES_CKR, w->word[word]);
}

static void set_invalidate_sessions(const struct words *w, struct rules *rules)
{
	(void)w;
	rules->invalidate_sessions = true;
}

static void set_sessions_max(const struct words *w, struct rules *rules)
{
	rules->sessions_max = words_number(w, w->word[1], 1, 1000000);
}

static void set_pin_tries(const struct words *w, struct rules *rules)
{
	rules->pin_tries = words_number(w, w->word[1], 1, 1000);
	if (!state_is_open())
		words_refuse(w, "pin-tries wants P11SHIM_STATE");
}

static void set_pin_incorrect(const struct words *w, struct rules *rules)
{
	rules->pin_incorrect_rv = return_value(w, 1);
}

static void set_logged_in(const struct words *w, struct rules *rules)
{
	size_t len = strlen(w->word[1]);

	if (len >= sizeof(rules->logged_in_pin))
		words_refuse(w, "the pin is longer than %zu characters", sizeof(rules->logged_in_pin) - 1);
	memcpy(rules->logged_in_pin, w->word[1], len + 1);
}

static void set_template_refuse(const struct words *w, struct rules *rules)
{
	struct rule *r = rules_parse_add(w, rules);

	r->function = FN_C_GenerateKeyPair;
	r->action = RULE_RETURN;
	r->condition = RULE_IF_ATTRIBUTE;
	r->condition_value = words_constant(w, NAMES_CKA, w->word[1]);
	r->rv = return_value(w, 2);
}

static void set_serialise(const struct words *w, struct rules *rules)
{
	(void)w;
	rules->serialise = true;
}

static void set_double_close(const struct words *w, struct rules *rules)
{
	(void)w;
	rules->double_close = true;
}

static void set_answer_after(const struct words *w, struct rules *rules)
{
	rules->answer_after_ms = words_time_ms(w, w->word[1]);
}

static void set_pair_destroy(const struct words *w, struct rules *rules)
{
	rules->pair_destroy = true;
	rules->pair_destroy_rv = return_value(w, 1);
}

static void set_label_max(const struct words *w, struct rules *rules)
{
	rules->label_max = words_number(w, w->word[1], 1, 1000);
}

static void set_label_refuse(const struct words *w, struct rules *rules)
{
	rules->label_refuse_max = words_number(w, w->word[1], 1, 1000);
	rules->label_refuse_rv = return_value(w, 2);
}

static void set_id_max(const struct words *w, struct rules *rules)
{
	rules->id_max = words_number(w, w->word[1], 1, 1000);
}

static void set_id_own(const struct words *w, struct rules *rules)
{
	(void)w;
	rules->id_own = true;
}

static void set_label_is_id(const struct words *w, struct rules *rules)
{
	(void)w;
	rules->label_is_id = true;
}

static void set_public_private_refuse(const struct words *w, struct rules *rules)
{
	rules->public_private_rv = return_value(w, 1);
}

static void set_public_private_demand(const struct words *w, struct rules *rules)
{
	rules->public_private_demand_rv = return_value(w, 1);
}

static void set_public_private(const struct words *w, struct rules *rules)
{
	(void)w;
	rules->public_private = true;
}

static void set_data_refuse(const struct words *w, struct rules *rules)
{
	rules->data_refuse_rv = return_value(w, 1);
}

static void set_mechanism_is(const struct words *w, struct rules *rules)
{
	rules->mechanism_is = true;
	rules->mechanism_from = words_constant(w, NAMES_CKM, w->word[1]);
	rules->mechanism_to = words_constant(w, NAMES_CKM, w->word[2]);
}

static const struct {
	const char *name;
	size_t words;
	void (*set)(const struct words *w, struct rules *rules);
} settings[] = {
    {"invalidate-sessions", 1, set_invalidate_sessions},
    {"sessions-max", 2, set_sessions_max},
    {"pin-tries", 2, set_pin_tries},
    {"pin-incorrect", 2, set_pin_incorrect},
    {"logged-in", 2, set_logged_in},
    {"template-refuse", 3, set_template_refuse},
    {"serialise", 1, set_serialise},
    {"double-close", 1, set_double_close},
    {"answer-after", 2, set_answer_after},
    {"pair-destroy", 2, set_pair_destroy},
    {"label-max", 2, set_label_max},
    {"label-refuse", 3, set_label_refuse},
    {"label-is-id", 1, set_label_is_id},
    {"id-max", 2, set_id_max},
    {"id-own", 1, set_id_own},
    {"public-private", 1, set_public_private},
    {"public-private-refuse", 2, set_public_private_refuse},
    {"public-private-demand", 2, set_public_private_demand},
    {"data-refuse", 2, set_data_refuse},
    {"mechanism-is", 3, set_mechanism_is},
};

bool setting_parse(const struct words *w, struct rules *rules)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (strcmp(settings[i].name, w->word[0]) != 0)
			continue;
		words_expect(w, settings[i].words);
		settings[i].set(w, rules);
		return true;
	}
	return false;
}
