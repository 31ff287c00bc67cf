/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, RFC 3339 times and durations. */
#include "base/clock.h"

#include "base/str.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int64_t clock_wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void clock_format_rfc3339(int64_t wall_us, char text[CLOCK_RFC3339_SIZE])
{
	time_t seconds = (time_t)(wall_us / 1000000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	snprintf(text, CLOCK_RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
		 (unsigned)(parts.tm_year + 1900) % 10000u, (unsigned)(parts.tm_mon + 1) % 100u,
		 (unsigned)parts.tm_mday % 100u, (unsigned)parts.tm_hour % 100u,
		 (unsigned)parts.tm_min % 100u, (unsigned)parts.tm_sec % 100u,
		 (unsigned)(wall_us % 1000000) % 1000000u);
}

/* `count` digits at *text, moved behind them; -1 when there are none. */
static int take_digits(const char **text, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*text)++) {
		if (!str_ascii_is_digit(**text))
			return -1;
		value = value * 10 + (**text - '0');
	}
	return value;
}

#define YEAR_9999_ENDS_US INT64_C(253402300799999999)

static bool take_char(const char **text, char wanted)
{
	if (str_ascii_lower(**text) != wanted)
		return false;
	(*text)++;
	return true;
}

/* "-YYYY-MM-DD": the date part. */
static bool take_date(const char **text, struct tm *parts)
{
	int year = take_digits(text, 4), month, day;

	if (year < 1970 || !take_char(text, '-'))
		return false;
	month = take_digits(text, 2);
	if (month < 1 || month > 12 || !take_char(text, '-'))
		return false;
	day = take_digits(text, 2);
	if (day < 1 || day > 31)
		return false;
	parts->tm_year = year - 1900;
	parts->tm_mon = month - 1;
	parts->tm_mday = day;
	return true;
}

/* "hh:mm:ss[.fraction]" and the zone. */
static bool take_time(const char **text, struct tm *parts, int64_t *ret_fraction_us, int *ret_offset_s)
{
	int64_t unit = 100000;

	parts->tm_hour = take_digits(text, 2);
	if (parts->tm_hour < 0 || parts->tm_hour > 23 || !take_char(text, ':'))
		return false;
	parts->tm_min = take_digits(text, 2);
	if (parts->tm_min < 0 || parts->tm_min > 59 || !take_char(text, ':'))
		return false;
	parts->tm_sec = take_digits(text, 2);
	if (parts->tm_sec < 0 || parts->tm_sec > 59)
		return false;
	*ret_fraction_us = 0;
	if (take_char(text, '.')) {
		int digits = 0;

		for (; str_ascii_is_digit(**text); (*text)++, digits++, unit /= 10)
			*ret_fraction_us += unit * (**text - '0');
		if (digits < 1 || digits > 9)
			return false;
	}
	*ret_offset_s = 0;
	if (!take_char(text, 'z')) {
		int sign = **text == '-' ? -1 : 1, hours, minutes;

		if (**text != '+' && **text != '-')
			return false;
		(*text)++;
		hours = take_digits(text, 2);
		if (hours < 0 || hours > 23 || !take_char(text, ':'))
			return false;
		minutes = take_digits(text, 2);
		if (minutes < 0 || minutes > 59)
			return false;
		*ret_offset_s = sign * (hours * 3600 + minutes * 60);
	}
	return true;
}

enum err clock_parse_rfc3339(const char *text, int64_t *ret_wall_us)
{
	struct tm parts = {0}, given;
	int64_t fraction_us = 0, wall_us;
	int offset_s = 0;
	time_t seconds;

	if (!take_date(&text, &parts))
		return E_INVAL;
	if (*text) {
		if (!take_char(&text, 't') || !take_time(&text, &parts, &fraction_us, &offset_s) || *text)
			return E_INVAL;
	}
	given = parts;
	seconds = timegm(&parts);
	if (parts.tm_mday != given.tm_mday) /* the 31st of a month that has none */
		return E_INVAL;
	wall_us = ((int64_t)seconds - offset_s) * 1000000 + fraction_us;
	if (wall_us < 0 || wall_us > YEAR_9999_ENDS_US) /* in UTC, too */
		return E_INVAL;
	*ret_wall_us = wall_us;
	return E_OK;
}

enum err clock_parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
	    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
	};
	char digits[20];
	size_t len = strspn(text, "0123456789");
	uint64_t value;

	if (len >= sizeof(digits))
		return E_INVAL;
	memcpy(digits, text, len);
	digits[len] = 0;
	if (str_parse_u64(digits, UINT32_MAX, &value) != E_OK)
		return E_INVAL;
	if (value == 0 && !text[len]) {
		*ret_ms = 0;
		return E_OK;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + len, units[i].name) == 0) {
			*ret_ms = value * units[i].ms;
			return E_OK;
		}
	}
	return E_INVAL;
}
