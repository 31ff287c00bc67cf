/* SPDX-License-Identifier: Apache-2.0 */
/* The 249 officially assigned codes of ISO 3166-1, and XK. */
#include "api/country.h"

#include "base/str.h"

#include <stddef.h>
#include <string.h>

/* By first letter: every second letter that makes an assigned code. */
static const char *const second_letters[26] = {
    "DEFGILMOQRSTUWXZ",        /* A */
    "ABDEFGHIJLMNOQRSTVWYZ",   /* B */
    "ACDFGHIKLMNORUVWXYZ",     /* C */
    "EJKMOZ",                  /* D */
    "CEGHRST",                 /* E */
    "IJKMOR",                  /* F */
    "ABDEFGHILMNPQRSTUWY",     /* G */
    "KMNRTU",                  /* H */
    "DELMNOQRST",              /* I */
    "EMOP",                    /* J */
    "EGHIMNPRWYZ",             /* K */
    "ABCIKRSTUVY",             /* L */
    "ACDEFGHKLMNOPQRSTUVWXYZ", /* M */
    "ACEFGILOPRUZ",            /* N */
    "M",                       /* O */
    "AEFGHKLMNRSTWY",          /* P */
    "A",                       /* Q */
    "EOSUW",                   /* R */
    "ABCDEGHIJKLMNORSTVXYZ",   /* S */
    "CDFGHJKLMNORTVWZ",        /* T */
    "AGMSYZ",                  /* U */
    "ACEGINU",                 /* V */
    "FS",                      /* W */
    "K",                       /* X: user-assigned all */
    "ET",                      /* Y */
    "AMW",                     /* Z */
};

bool country_is_known(const char *code)
{
	if (strlen(code) != 2 || code[0] < 'A' || code[0] > 'Z')
		return false;
	return strchr(second_letters[code[0] - 'A'], code[1]) != NULL;
}

bool country_guess(const char *code, char ret_code[COUNTRY_SIZE])
{
	/* Reserved by ISO, used by the countries themselves and by the European Union. */
	static const char *const aliases[][2] = {{"UK", "GB"}, {"EL", "GR"}};
	char upper[COUNTRY_SIZE];

	if (strlen(code) != 2)
		return false;
	for (size_t i = 0; i < 2; i++)
		upper[i] = (char)(str_ascii_is_alpha(code[i]) ? code[i] & ~0x20 : code[i]);
	upper[2] = '\0';
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (strcmp(upper, aliases[i][0]) == 0)
			memcpy(upper, aliases[i][1], sizeof(upper));
	}
	if (!country_is_known(upper))
		return false;
	memcpy(ret_code, upper, sizeof(upper));
	return true;
}
