/* SPDX-License-Identifier: Apache-2.0 */
/* The subject and names of one CSR in memory. */
#include "base/csr.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

static const char *const san_names[SAN_TYPE_MAX + 1] = {
    [SAN_DNS] = "dns",
    [SAN_IP] = "ip",
    [SAN_EMAIL] = "email",
    [SAN_URI] = "uri",
};

const char *san_type_name(enum san_type type)
{
	return type >= 1 && type <= SAN_TYPE_MAX ? san_names[type] : "?";
}

enum err san_type_parse(const char *name, enum san_type *ret_type)
{
	for (unsigned type = 1; type <= SAN_TYPE_MAX; type++) {
		if (strcmp(name, san_names[type]) == 0) {
			*ret_type = (enum san_type)type;
			return E_OK;
		}
	}
	return E_INVAL;
}

void csr_spec_release(struct csr_spec *spec)
{
	free(spec->country);
	free(spec->state);
	free(spec->locality);
	free(spec->organization);
	free(spec->organizational_unit);
	free(spec->common_name);
	for (size_t i = 0; i < spec->sans_len; i++)
		free(spec->sans[i].value);
	free(spec->sans);
	memset(spec, 0, sizeof(*spec));
}

enum err csr_spec_add_san(struct csr_spec *spec, enum san_type type, const char *value)
{
	if (spec->sans_len >= CSR_SANS_MAX)
		return E_LIMIT;
	if (!spec->sans && !(spec->sans = calloc(CSR_SANS_MAX, sizeof(*spec->sans))))
		return E_NOMEM;
	if (!(spec->sans[spec->sans_len].value = strdup(value)))
		return E_NOMEM;
	spec->sans[spec->sans_len].type = type;
	spec->sans_len++;
	return E_OK;
}

enum err csr_spec_copy(const struct csr_spec *from, struct csr_spec *ret_to)
{
	struct csr_spec copy = {.key_type = from->key_type};
	enum err e = E_NOMEM;

	if (!str_dup_opt(from->country, &copy.country) || !str_dup_opt(from->state, &copy.state) ||
	    !str_dup_opt(from->locality, &copy.locality) ||
	    !str_dup_opt(from->organization, &copy.organization) ||
	    !str_dup_opt(from->organizational_unit, &copy.organizational_unit) ||
	    !str_dup_opt(from->common_name, &copy.common_name))
		goto out;
	for (size_t i = 0; i < from->sans_len; i++)
		if ((e = csr_spec_add_san(&copy, from->sans[i].type, from->sans[i].value)) != E_OK)
			goto out;
	*ret_to = copy;
	return E_OK;
out:
	csr_spec_release(&copy);
	return e;
}
