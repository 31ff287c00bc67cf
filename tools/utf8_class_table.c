/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the table of base/utf8.c: what each code point of Unicode is to a
 * reader, as the libunistring of the building machine knows it.  Runs at
 * build only, so that base/ needs no library.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unictype.h>

#define LAST_CODE_POINT 0x10ffff

/*
 * Symbols by their category that have no ink, so that they look like a blank:
 * BRAILLE PATTERN BLANK, OBJECT REPLACEMENT CHARACTER, MUSICAL SYMBOL NULL
 * NOTEHEAD.  No property of Unicode tells them from others.
 */
static bool is_inkless(ucs4_t c)
{
	return c == 0x2800 || c == 0xfffc || c == 0x1d159;
}

/* The order matters: a control is not a mere blank, and a variation selector no mere mark. */
static const char *class_of(ucs4_t c)
{
	static const struct {
		uint32_t bits;
		const char *name;
	} categories[] = {
	    {UC_CATEGORY_MASK_Cc, "UTF8_CONTROL"},
	    {UC_CATEGORY_MASK_Cf | UC_CATEGORY_MASK_Zl | UC_CATEGORY_MASK_Zp, "UTF8_INVISIBLE"},
	    {UC_CATEGORY_MASK_Co, "UTF8_PRIVATE"},
	    {UC_CATEGORY_MASK_Cn | UC_CATEGORY_MASK_Cs, "UTF8_UNASSIGNED"},
	    {UC_CATEGORY_MASK_Zs, "UTF8_BLANK"},
	    {UC_CATEGORY_MASK_M, "UTF8_MARK"},
	};

	if (uc_is_property_default_ignorable_code_point(c))
		return "UTF8_INVISIBLE";
	for (size_t i = 0; i < sizeof(categories) / sizeof(categories[0]); i++)
		if (uc_is_general_category_withtable(c, categories[i].bits))
			return categories[i].name;
	return is_inkless(c) ? "UTF8_BLANK" : "UTF8_VISIBLE";
}

int main(void)
{
	const char *previous = NULL;

	puts("/* Made by tools/utf8_class_table.c: each row holds up to the next one. */");
	for (ucs4_t c = 0; c <= LAST_CODE_POINT; c++) {
		const char *now = class_of(c);

		if (!previous || strcmp(now, previous) != 0)
			printf("\t{ 0x%04x, %s },\n", (unsigned)c, now);
		previous = now;
	}
	return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
