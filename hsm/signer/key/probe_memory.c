/* SPDX-License-Identifier: Apache-2.0 */
/* The probe's findings as a small file. */
#include "hsm/signer/key/probe_memory.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "hsm/signer/key/key_kind.h"
#include "hsm/signer/token/state_dir.h"
#include "hsm/signer/token/token_info.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT 4 /* another one when the meaning of a line or of enum template_option changes */
#define TEXT_MAX 8192
#define SUM_BYTES 32

/* ---- what a finding holds for ---- */

/* What a module says of itself; it must not make lines of its own. */
static void put_said(struct buf *b, const unsigned char *text, size_t len)
{
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\0'))
		len--;
	buf_put_str(b, " '");
	for (size_t i = 0; i < len; i++)
		buf_put_u8(b, text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
	buf_put_str(b, "'");
}

static enum err probe_memory_put_module(const struct token *token, struct buf *b)
{
	struct stat st;
	CK_INFO info;

	if (stat(token->module_path, &st) || token->p11->C_GetInfo(&info) != CKR_OK)
		return E_NOTFOUND;
	buf_printf(b, "module %lld %lld.%09ld %s\n", (long long)st.st_size, (long long)st.st_mtim.tv_sec,
		   st.st_mtim.tv_nsec, token->module_path);
	buf_put_str(b, "library");
	put_said(b, info.manufacturerID, sizeof(info.manufacturerID));
	put_said(b, info.libraryDescription, sizeof(info.libraryDescription));
	buf_printf(b, " %u.%u cryptoki %u.%u\n", info.libraryVersion.major, info.libraryVersion.minor,
		   info.cryptokiVersion.major, info.cryptokiVersion.minor);
	return E_OK;
}

/* The mechanisms that it offers to make keys with. */
static void put_ways(const struct token *token, enum key_family family, struct buf *b)
{
	const struct key_way *way;

	buf_put_str(b, " generates");
	for (unsigned i = 0; (way = key_way(family, i)); i++) {
		CK_MECHANISM_INFO info;

		if (token->p11->C_GetMechanismInfo(token->slot, way->mechanism, &info) == CKR_OK &&
		    (info.flags & CKF_GENERATE_KEY_PAIR))
			buf_printf(b, " 0x%lx", way->mechanism);
	}
}

static enum err put_token(const struct token *token, struct buf *b)
{
	CK_TOKEN_INFO info;

	if (token_info_read(token->p11, token->slot, NULL, &info) != CKR_OK)
		return E_NOTFOUND;
	buf_put_str(b, "token");
	put_said(b, info.label, sizeof(info.label));
	put_said(b, info.serialNumber, sizeof(info.serialNumber));
	put_said(b, info.manufacturerID, sizeof(info.manufacturerID));
	put_said(b, info.model, sizeof(info.model));
	buf_printf(b, " hardware %u.%u firmware %u.%u\n", info.hardwareVersion.major,
		   info.hardwareVersion.minor, info.firmwareVersion.major, info.firmwareVersion.minor);
	buf_printf(b, "key-types 0x%x limit 0x%x\n", (unsigned)token->key_types,
		   (unsigned)token->template_limit);
	for (size_t family = 0; family < TEMPLATE_FAMILIES; family++) {
		const struct template_profile *profile = &token->profiles[family];

		buf_printf(b, "mechanisms-%zu", family);
		for (CK_ULONG i = 0; i < profile->mechanisms_len; i++)
			buf_printf(b, " 0x%lx", profile->mechanisms[i]);
		put_ways(token, (enum key_family)family, b);
		buf_put_str(b, "\n");
	}
	return E_OK;
}

static enum err put_head(const struct token *token, struct buf *b)
{
	enum err e;

	buf_printf(b,
		   "What csrd-hsm found out about this token with throw-away keys.  Without this file, or\n"
		   "after a change of what stands here, it is found out again at the next start.\n"
		   "format %d csrd %s\n",
		   FORMAT, CSRD_VERSION);
	if ((e = probe_memory_put_module(token, b)) != E_OK || (e = put_token(token, b)) != E_OK)
		return e;
	return buf_status(b);
}

/* ---- the finding ---- */

static enum err put_sum(struct buf *b)
{
	uint8_t sum[SUM_BYTES];
	char text[2 * SUM_BYTES + 1];
	unsigned len = 0;

	if (buf_status(b) != E_OK || EVP_Digest(b->data, b->len, sum, &len, EVP_sha256(), NULL) != 1 ||
	    len != SUM_BYTES)
		return E_NOMEM;
	str_hex(text, sum, SUM_BYTES);
	buf_printf(b, "sum %s\n", text);
	return buf_status(b);
}

struct finding {
	unsigned options[TEMPLATE_FAMILIES];
	unsigned ways[TEMPLATE_FAMILIES];
	unsigned unmade;
	unsigned data;
	unsigned ids_own; /* 0 or 1 */
	int64_t probed_us;
};

static enum err put_finding(const struct finding *f, struct buf *b)
{
	buf_put_str(b, "found");
	for (size_t family = 0; family < TEMPLATE_FAMILIES; family++)
		buf_printf(b, " 0x%x %u", f->options[family], f->ways[family]);
	buf_printf(b, " unmade 0x%x data %u ids-own %u at %" PRId64 "\n", f->unmade, f->data, f->ids_own,
		   f->probed_us);
	return put_sum(b);
}

/*
 * `head` is what such a file has to begin with; it is completed by what `text`
 * says, and must then be the same, byte for byte, the sum included.
 */
static enum err probe_memory_parse(struct buf *head, const struct buf *text, struct token *token)
{
	const char *at = buf_text(text);
	struct finding f = {0};
	int used = 0;

	if (text->len <= head->len || memcmp(text->data, head->data, head->len) != 0)
		return E_NOTFOUND;
	at += head->len;
	if (sscanf(at, "found%n", &used) != 0 || !used)
		return E_NOTFOUND;
	at += used;
	for (size_t family = 0; family < TEMPLATE_FAMILIES; family++, at += used)
		if (sscanf(at, " %x %u%n", &f.options[family], &f.ways[family], &used) != 2 ||
		    (f.options[family] & ~token->template_limit) ||
		    !key_way((enum key_family)family, f.ways[family]))
			return E_NOTFOUND;
	if (sscanf(at, " unmade %x data %u ids-own %u at %" SCNd64, &f.unmade, &f.data, &f.ids_own,
		   &f.probed_us) != 4 ||
	    f.data > TOKEN_DATA_FIXED || f.ids_own > 1 || !(token->key_types & ~f.unmade))
		return E_NOTFOUND;
	if (put_finding(&f, head) != E_OK || head->len != text->len ||
	    memcmp(head->data, text->data, head->len) != 0)
		return E_NOTFOUND;
	for (size_t family = 0; family < TEMPLATE_FAMILIES; family++) {
		token->profiles[family].options = f.options[family];
		token->profiles[family].way = f.ways[family];
	}
	atomic_store(&token->unmade_types, f.unmade);
	token->data = (enum token_data)f.data;
	token->ids_own = f.ids_own;
	token->probed_us = f.probed_us;
	return E_OK;
}

enum err probe_memory_recall(struct token *token)
{
	struct buf head, text;
	enum err e = E_NOTFOUND;

	buf_init(&head, TEXT_MAX);
	buf_init(&text, TEXT_MAX);
	if (!token->state || state_dir_read(token->state, PROBE_MEMORY_NAME, &text) != E_OK)
		goto out;
	e = put_head(token, &head) != E_OK ? E_NOTFOUND : probe_memory_parse(&head, &text, token);
	if (e != E_OK)
		log_info("'%s/%s' is outdated or damaged: the token is probed again",
			 state_dir_path(token->state), PROBE_MEMORY_NAME);
out:
	buf_release(&head);
	buf_release(&text);
	return e;
}

void probe_memory_keep(const struct token *token)
{
	struct finding f = {.unmade = atomic_load(&token->unmade_types),
			    .data = token->data,
			    .ids_own = token->ids_own,
			    .probed_us = token->probed_us};
	struct buf b;
	enum err e;

	if (!token->state)
		return;
	for (size_t family = 0; family < TEMPLATE_FAMILIES; family++) {
		f.options[family] = token->profiles[family].options;
		f.ways[family] = token->profiles[family].way;
	}
	buf_init(&b, TEXT_MAX);
	e = put_head(token, &b);
	if (e == E_OK)
		e = put_finding(&f, &b);
	if (e == E_OK)
		e = state_dir_write(token->state, PROBE_MEMORY_NAME, &b);
	if (e != E_OK)
		log_warn("cannot write '%s/%s' (%s): the next start probes the token again",
			 state_dir_path(token->state), PROBE_MEMORY_NAME,
			 e == E_IO ? strerror(errno) : err_str(e));
	buf_release(&b);
}

void probe_memory_drop(const struct token *token)
{
	if (token->state && state_dir_remove(token->state, PROBE_MEMORY_NAME) != E_OK)
		log_warn("cannot remove '%s/%s' (%s)", state_dir_path(token->state), PROBE_MEMORY_NAME,
			 strerror(errno));
}
