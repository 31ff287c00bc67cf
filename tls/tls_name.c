/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates to names; subjects to text and back. */
#include "tls/tls_name.h"

#include "base/str.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LOG_BYTES 256

/* ---- names to text ---- */

/* The text of RFC 4514, in UTF-8; NULL when out of memory. */
static BIO *name_print(const X509_NAME *name)
{
	BIO *text = BIO_new(BIO_s_mem());

	if (text &&
	    X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0) {
		BIO_free(text);
		text = NULL;
	}
	return text;
}

void tls_name_put(struct buf *b, const X509_NAME *name)
{
	BIO *text = name_print(name);
	char *bytes = NULL;
	long len = text ? BIO_get_mem_data(text, &bytes) : 0;

	buf_put(b, bytes, len > NAME_LOG_BYTES ? NAME_LOG_BYTES : (size_t)len);
	BIO_free(text);
}

static enum err name_put_normal(struct buf *b, const X509_NAME *name)
{
	BIO *text = name_print(name);
	char *bytes = NULL;
	long len = text ? BIO_get_mem_data(text, &bytes) : 0;

	for (long i = 0; i < len; i++) {
		char c = str_ascii_lower(bytes[i]);

		if (c != ' ' || i == 0 || bytes[i - 1] != ' ')
			buf_put(b, &c, 1);
	}
	BIO_free(text);
	return text ? buf_status(b) : E_NOMEM;
}

static void name_put_serial(struct buf *b, const X509 *certificate)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *text = number ? BN_bn2hex(number) : NULL;

	buf_put_str(b, text ? text : "?");
	OPENSSL_free(text);
	BN_free(number);
}

void tls_name_describe(const X509 *certificate, struct buf *b)
{
	buf_put_str(b, "subject '");
	tls_name_put(b, X509_get_subject_name(certificate));
	buf_put_str(b, "', serial ");
	name_put_serial(b, certificate);
	buf_put_str(b, ", issuer '");
	tls_name_put(b, X509_get_issuer_name(certificate));
	buf_put_str(b, "'");
}

/* ---- the names of a certificate ---- */

/* False for a general name of a type that does not count. */
static bool name_of_general(const GENERAL_NAME *general, enum identity_kind *ret_kind,
			    const ASN1_IA5STRING **ret_value)
{
	switch (general->type) {
	case GEN_URI:
		*ret_kind = IDENTITY_URI;
		*ret_value = general->d.uniformResourceIdentifier;
		return true;
	case GEN_DNS:
		*ret_kind = IDENTITY_DNS;
		*ret_value = general->d.dNSName;
		return true;
	case GEN_EMAIL:
		*ret_kind = IDENTITY_EMAIL;
		*ret_value = general->d.rfc822Name;
		return true;
	default:
		return false;
	}
}

/* Past names that can be nobody's, such as a wildcard; one with a NUL in it spoils them all. */
static enum err name_take_alternative(struct peer *peer, enum identity_kind kind, const ASN1_IA5STRING *value)
{
	size_t len = (size_t)ASN1_STRING_length(value);
	char *text = str_dup_len((const char *)ASN1_STRING_get0_data(value), len);
	struct buf normal;
	enum err e;

	if (!text)
		return E_NOMEM;
	buf_init(&normal, IDENTITY_BYTES_MAX);
	if (strlen(text) != len) {
		peer->lack = "the client certificate has a subject alternative name with a NUL in it";
		e = E_OK;
	} else {
		e = identity_put_normal(&normal, kind, text);
		if (e == E_OK)
			e = buf_status(&normal);
		if (e == E_OK)
			e = peer_add(peer, kind, buf_text(&normal));
	}
	if (e == E_LIMIT)
		peer->lack = "the client certificate has more than 16 subject alternative names";
	free(text);
	buf_release(&normal);
	return e == E_NOMEM ? e : E_OK;
}

/* *ret_found: how many there are that count, of use or not. */
static enum err name_take_alternatives(struct peer *peer, const X509 *certificate, int *ret_found)
{
	int critical = 0;
	GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
	enum err e = E_OK;
	int found = 0;

	if (!all && critical != -1)
		peer->lack = "the client certificate's subject alternative names cannot be read";
	for (int i = 0; e == E_OK && i < sk_GENERAL_NAME_num(all); i++) {
		const ASN1_IA5STRING *value;
		enum identity_kind kind;

		if (!name_of_general(sk_GENERAL_NAME_value(all, i), &kind, &value))
			continue;
		found++;
		e = name_take_alternative(peer, kind, value);
	}
	GENERAL_NAMES_free(all);
	*ret_found = found;
	return e;
}

static enum err name_take_subject(struct peer *peer, const X509 *certificate)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	struct buf normal;
	enum err e = E_OK;

	if (X509_NAME_entry_count(subject) == 0)
		return E_OK;
	buf_init(&normal, IDENTITY_BYTES_MAX);
	e = name_put_normal(&normal, subject);
	if (e == E_OK)
		e = peer_add(peer, IDENTITY_SUBJECT, buf_text(&normal));
	buf_release(&normal);
	return e == E_NOMEM ? e : E_OK;
}

enum err tls_name_certificate(const X509 *certificate, struct peer **ret_peer)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	struct buf evidence;
	size_t len;
	int found = 0;
	enum err e;

	if (!peer)
		return E_NOMEM;
	buf_init(&evidence, NAME_LOG_BYTES);
	buf_put_str(&evidence, "certificate ");
	name_put_serial(&evidence, certificate);
	if (buf_status(&evidence) == E_OK)
		peer->evidence = buf_take(&evidence, &len);
	e = name_take_alternatives(peer, certificate, &found);
	if (e == E_OK && found == 0 && !peer->lack)
		e = name_take_subject(peer, certificate);
	if (e == E_OK && peer->names_len == 0 && !peer->lack)
		peer->lack = "the client certificate has neither a subject alternative name (URI, DNS or "
			     "e-mail) that can be somebody's, nor a subject in place of one";
	while (peer->lack && peer->names_len > 0)
		free(peer->names[--peer->names_len].value);
	buf_release(&evidence);
	ERR_clear_error();
	if (e == E_OK)
		*ret_peer = peer;
	else
		peer_free(peer);
	return e;
}

/* ---- text to subjects ---- */

struct name_parse {
	const char *at;
	X509_NAME *name;
	struct buf *why;
};

static enum err name_refuse(struct name_parse *p, const char *what)
{
	buf_printf(
	    p->why,
	    "%s; a subject as of RFC 4514 is accepted, the last element first: CN=build-7,O=Example AB "
	    "('openssl x509 -noout -subject -nameopt RFC2253' shows it)",
	    what);
	return E_INVAL;
}

/* One character of a value, or two hexadecimal digits, behind a backslash. */
static bool name_take_escape(struct name_parse *p, struct buf *value)
{
	uint8_t byte;
	char digits[3] = "";

	if (p->at[0] == '\0')
		return false;
	if (p->at[1] != '\0') {
		memcpy(digits, p->at, 2);
		if (str_unhex(&byte, 1, digits) == E_OK) {
			p->at += 2;
			buf_put_u8(value, byte);
			return byte != '\0';
		}
	}
	if (!strchr(" \"#+,;<=>\\", p->at[0]))
		return false;
	buf_put(value, p->at++, 1);
	return true;
}

/* Up to the next separator; blanks at the end do not count unless they are escaped. */
static enum err name_take_value(struct name_parse *p, struct buf *value)
{
	size_t whole = 0;

	while (*p->at == ' ')
		p->at++;
	if (*p->at == '#')
		return name_refuse(p, "values in hexadecimal (#…) are not understood");
	while (*p->at != '\0' && !strchr(",+", *p->at)) {
		if (*p->at == '\\') {
			p->at++;
			if (!name_take_escape(p, value))
				return name_refuse(p, "a backslash stands before what needs none");
			whole = value->len;
			continue;
		}
		if (strchr("\"<>;", *p->at))
			return name_refuse(p, "one of \" < > ; stands without a backslash before it");
		if (*p->at != ' ')
			whole = value->len + 1;
		buf_put(value, p->at++, 1);
	}
	if (whole == 0)
		return name_refuse(p, "an attribute has no value");
	value->len = whole;
	return buf_status(value);
}

/* As OpenSSL knows it; types are written in whatever case. */
static int name_type(const char *text, size_t len)
{
	char type[64];
	int nid;

	if (len == 0 || len >= sizeof(type))
		return NID_undef;
	memcpy(type, text, len);
	type[len] = '\0';
	nid = OBJ_txt2nid(type);
	for (size_t i = 0; i < len; i++)
		type[i] = (char)(type[i] >= 'a' && type[i] <= 'z' ? type[i] - 'a' + 'A' : type[i]);
	if (nid == NID_undef)
		nid = OBJ_txt2nid(type);
	for (size_t i = 0; i < len; i++)
		type[i] = str_ascii_lower(type[i]);
	return nid == NID_undef ? OBJ_txt2nid(type) : nid;
}

/* "CN=build-7": one attribute, put in front of those before it, or, behind a '+', into the same element. */
static enum err name_take_attribute(struct name_parse *p, bool is_same_element)
{
	size_t len, type_len;
	struct buf value;
	enum err e;
	int nid;

	p->at += strspn(p->at, " ");
	len = type_len = strcspn(p->at, "=,+");
	while (type_len > 0 && p->at[type_len - 1] == ' ')
		type_len--;
	if (p->at[len] != '=')
		return name_refuse(p, "an element is not TYPE=VALUE");
	nid = name_type(p->at, type_len);
	if (nid == NID_undef)
		return name_refuse(p, "the type of an attribute is not known");
	p->at += len + 1;
	buf_init(&value, IDENTITY_BYTES_MAX);
	e = name_take_value(p, &value);
	if (e == E_OK && X509_NAME_add_entry_by_NID(p->name, nid, MBSTRING_UTF8, value.data, (int)value.len,
						    0, is_same_element) != 1)
		e = name_refuse(p, "a value is too long, or not what its type allows");
	buf_release(&value);
	return e;
}

enum err tls_name_parse_subject(const char *text, struct buf *normal, struct buf *why)
{
	struct name_parse p = {.at = text, .name = X509_NAME_new(), .why = why};
	X509_NAME *name = NULL; /* with the attributes of an element in the order that DER has */
	bool is_same_element = false;
	enum err e = p.name ? E_OK : E_NOMEM;

	while (e == E_OK) {
		e = name_take_attribute(&p, is_same_element);
		if (e != E_OK || *p.at == '\0')
			break;
		is_same_element = *p.at++ == '+';
	}
	if (e == E_OK)
		name = X509_NAME_dup(p.name);
	if (e == E_OK)
		e = name ? name_put_normal(normal, name) : E_NOMEM;
	X509_NAME_free(name);
	X509_NAME_free(p.name);
	ERR_clear_error();
	return e;
}
