/* SPDX-License-Identifier: Apache-2.0 */
/* Values are set in a configuration text, and everything else in it stays. */
#include "cli/conf_edit.h"

#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

static const char sample[] = "# A comment.\n"
			     "[http]\n"
			     "\n"
			     "# Where it listens.\n"
			     "#listen = 127.0.0.1:8080\n"
			     "\n"
			     "[log]\n"
			     "  level = info ; as it was\n"
			     "[token  default]\n"
			     "module = /usr/lib/a.so\n"
			     "#pin_file = /etc/pin\n"
			     "# The end.\n";

static void assert_set(const char *text, const char *section, const char *key, const char *value,
		       const char *wanted)
{
	struct buf out;

	buf_init(&out, 65536);
	assert_int_equal(conf_edit_set(text, section, key, value, &out), E_OK);
	assert_string_equal(buf_text(&out), wanted);
	buf_release(&out);
}

/* The sample with one line in the place of another. */
static char *with(const char *line, const char *in_its_place)
{
	char *text = calloc(1, sizeof(sample) + 256), *at;

	assert_non_null(text);
	memcpy(text, sample, sizeof(sample));
	at = strstr(text, line);
	assert_non_null(at);
	memmove(at + strlen(in_its_place), at + strlen(line), strlen(at + strlen(line)) + 1);
	memcpy(at, in_its_place, strlen(in_its_place));
	return text;
}

static void assert_sets_line(const char *section, const char *key, const char *value, const char *line,
			     const char *in_its_place)
{
	char *wanted = with(line, in_its_place);

	assert_set(sample, section, key, value, wanted);
	free(wanted);
}

static void takes_the_place_of_the_line(void **state)
{
	(void)state;
	assert_sets_line("token default", "module", "/b.so", "module = /usr/lib/a.so\n", "module = /b.so\n");
	assert_sets_line("log", "level", "debug", "  level = info ; as it was\n", "level = debug\n");
}

static void takes_the_place_of_a_commented_line(void **state)
{
	(void)state;
	assert_sets_line("http", "listen", "[::1]:80", "#listen = 127.0.0.1:8080\n", "listen = [::1]:80\n");
	assert_sets_line("token default", "pin_file", "/p", "#pin_file = /etc/pin\n", "pin_file = /p\n");
}

static void is_added_to_its_section(void **state)
{
	(void)state;
	assert_sets_line("token default", "uri", "pkcs11:token=x", "module = /usr/lib/a.so\n",
			 "module = /usr/lib/a.so\nuri = pkcs11:token=x\n");
	assert_sets_line("http", "max_connections", "7", "[http]\n", "[http]\nmax_connections = 7\n");
	/* A key of another section is not meant. */
	assert_sets_line("http", "module", "x", "[http]\n", "[http]\nmodule = x\n");
	/* Nor one that starts alike. */
	assert_set("[a]\nkeys = 1\n", "a", "key", "2", "[a]\nkeys = 1\nkey = 2\n");
}

static void makes_the_section(void **state)
{
	(void)state;
	assert_set("[a]\nb = 1\n", "token x", "uri", "u", "[a]\nb = 1\n\n[token x]\nuri = u\n");
	assert_set("[a]\nb = 1", "c", "d", "2", "[a]\nb = 1\n\n[c]\nd = 2\n");
	assert_set("", "c", "d", "2", "\n[c]\nd = 2\n");
	assert_set("[a]\nb = 1", "a", "c", "2", "[a]\nb = 1\nc = 2\n");
}

static void tells_values(void **state)
{
	struct buf value;

	(void)state;
	buf_init(&value, 256);
	assert_true(conf_edit_get(sample, "log", "level", &value));
	assert_string_equal(buf_text(&value), "info");
	buf_reset(&value);
	assert_true(conf_edit_get(sample, "token default", "module", &value));
	assert_string_equal(buf_text(&value), "/usr/lib/a.so");
	buf_reset(&value);
	/* '#' and ';' inside a value are part of it. */
	assert_true(conf_edit_get("[t]\nuri = pkcs11:token=a;serial=1#2 # which\n", "t", "uri", &value));
	assert_string_equal(buf_text(&value), "pkcs11:token=a;serial=1#2");
	assert_false(conf_edit_get(sample, "http", "listen", &value));
	assert_false(conf_edit_get(sample, "http", "level", &value));
	assert_false(conf_edit_get(sample, "token other", "module", &value));
	buf_release(&value);
}

static void knows_and_renames_sections(void **state)
{
	char *wanted = with("[token  default]\n", "[token hsm1]\n");
	struct buf out;

	(void)state;
	assert_true(conf_edit_has_section(sample, "token default"));
	assert_false(conf_edit_has_section(sample, "token"));
	assert_false(conf_edit_has_section(sample, "token def"));
	assert_false(conf_edit_has_section(sample, "token default2"));
	buf_init(&out, 65536);
	assert_int_equal(conf_edit_rename_section(sample, "token default", "token hsm1", &out), E_OK);
	assert_string_equal(buf_text(&out), wanted);
	buf_release(&out);
	buf_init(&out, 65536);
	assert_int_equal(conf_edit_rename_section(sample, "token none", "token hsm1", &out), E_NOTFOUND);
	buf_release(&out);
	free(wanted);
}

static void tells_when_there_is_no_room(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 40);
	assert_int_equal(conf_edit_set(sample, "http", "listen", "x", &out), E_LIMIT);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_the_place_of_the_line),
	    cmocka_unit_test(takes_the_place_of_a_commented_line),
	    cmocka_unit_test(is_added_to_its_section),
	    cmocka_unit_test(makes_the_section),
	    cmocka_unit_test(tells_values),
	    cmocka_unit_test(knows_and_renames_sections),
	    cmocka_unit_test(tells_when_there_is_no_room),
	};

	return cmocka_run_group_tests_name("conf_edit", tests, NULL, NULL);
}
