/* SPDX-License-Identifier: Apache-2.0 */
/* The text format of Prometheus, as its documentation describes it. */
#include "tests/unit/cmocka_all.h"

#include "base/metric.h"

#include <string.h>

static void test_a_sample_with_and_without_labels(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	metric_put_head(&b, "a_total", METRIC_COUNTER, "What it is.");
	metric_put(&b, "a_total", NULL, 18446744073709551615u);
	metric_put(&b, "a_total", (const struct metric_label[]){{"x", "1"}, {"y", "2"}, {0}}, 7);
	metric_put_seconds(&b, "b_seconds", NULL, 1000001);
	assert_string_equal(buf_text(&b), "# HELP a_total What it is.\n# TYPE a_total counter\n"
					  "a_total 18446744073709551615\n"
					  "a_total{x=\"1\",y=\"2\"} 7\n"
					  "b_seconds 1.000001\n");
	buf_release(&b);
}

/* A backslash, a quote and a newline are the three that end a label early. */
static void test_label_values_are_escaped(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	metric_put(&b, "a", (const struct metric_label[]){{"x", "\\ \" \n } {"}, {0}}, 1);
	assert_string_equal(buf_text(&b), "a{x=\"\\\\ \\\" \\n } {\"} 1\n");
	buf_release(&b);
}

static void test_a_histogram_adds_up(void **state)
{
	static const char expected_end[] = "t_bucket{x=\"1\",le=\"60\"} 3\n"
					   "t_bucket{x=\"1\",le=\"+Inf\"} 4\n"
					   "t_sum{x=\"1\"} 61.101000001\n"
					   "t_count{x=\"1\"} 4\n";
	struct metric_times times = {0};
	struct buf b;

	(void)state;
	metric_times_add(&times, 1000000); /* 1 ms: a bound belongs to its bucket */
	metric_times_add(&times, 1);
	metric_times_add(&times, 100000000);   /* 0.1 s */
	metric_times_add(&times, 61000000000); /* past the last bound */
	buf_init(&b, 4096);
	metric_put_times(&b, "t", (const struct metric_label[]){{"x", "1"}, {0}}, &times);
	assert_non_null(strstr(buf_text(&b), "t_bucket{x=\"1\",le=\"0.0001\"} 1\n"));
	assert_non_null(strstr(buf_text(&b), "t_bucket{x=\"1\",le=\"0.0005\"} 1\n"));
	assert_non_null(strstr(buf_text(&b), "t_bucket{x=\"1\",le=\"0.001\"} 2\n"));
	assert_non_null(strstr(buf_text(&b), "t_bucket{x=\"1\",le=\"0.05\"} 2\n"));
	assert_non_null(strstr(buf_text(&b), "t_bucket{x=\"1\",le=\"0.1\"} 3\n"));
	assert_string_equal(buf_text(&b) + b.len - strlen(expected_end), expected_end);
	buf_release(&b);
}

static void test_a_histogram_without_labels(void **state)
{
	const struct metric_times none = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	metric_put_times(&b, "t", NULL, &none);
	assert_non_null(strstr(buf_text(&b), "t_bucket{le=\"0.0001\"} 0\n"));
	assert_non_null(strstr(buf_text(&b), "t_sum 0.000000000\nt_count 0\n"));
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_sample_with_and_without_labels),
	    cmocka_unit_test(test_label_values_are_escaped),
	    cmocka_unit_test(test_a_histogram_adds_up),
	    cmocka_unit_test(test_a_histogram_without_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
