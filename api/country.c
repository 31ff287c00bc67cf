/* The 249 officially assigned codes of ISO 3166-1. */
#include "api/country.h"

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
	"",                        /* X: user-assigned only */
	"ET",                      /* Y */
	"AMW",                     /* Z */
};

bool country_is_assigned(const char *code)
{
	if (strlen(code) != 2 || code[0] < 'A' || code[0] > 'Z')
		return false;
	return strchr(second_letters[code[0] - 'A'], code[1]) != NULL;
}
