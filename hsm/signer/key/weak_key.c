/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for known weaknesses in a public key. */
#include "hsm/signer/key/weak_key.h"

#include "ossl/ossl_memory.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <string.h>

#define RSA_EXPONENT 65537
#define FERMAT_ROUNDS 100

static enum err weak(const char *why, const char **ret_reason)
{
	*ret_reason = why;
	return E_HSM;
}

/* ---- small factors, ROCA ---- */

/* The odd primes below 752 (Baseline Requirements §6.1.6); the first ROCA_PRIMES of them end with 167. */
static const uint16_t primes[] = {
    3,   5,   7,   11,  13,  17,  19,  23,  29,  31,  37,  41,  43,  47,  53,  59,  61,  67,  71,
    73,  79,  83,  89,  97,  101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    173, 179, 181, 191, 193, 197, 199, 211, 223, 227, 229, 233, 239, 241, 251, 257, 263, 269, 271,
    277, 281, 283, 293, 307, 311, 313, 317, 331, 337, 347, 349, 353, 359, 367, 373, 379, 383, 389,
    397, 401, 409, 419, 421, 431, 433, 439, 443, 449, 457, 461, 463, 467, 479, 487, 491, 499, 503,
    509, 521, 523, 541, 547, 557, 563, 569, 571, 577, 587, 593, 599, 601, 607, 613, 617, 619, 631,
    641, 643, 647, 653, 659, 661, 673, 677, 683, 691, 701, 709, 719, 727, 733, 739, 743, 751,
};
#define PRIMES (sizeof(primes) / sizeof(primes[0]))
#define ROCA_PRIMES 38

static bool has_small_factor(const BIGNUM *n)
{
	for (size_t i = 0; i < PRIMES; i++)
		if (BN_mod_word(n, primes[i]) == 0)
			return true;
	return false;
}

/* Is the residue a power of 65537 modulo that prime? */
static bool is_power_of_generator(unsigned residue, unsigned prime)
{
	unsigned power = 1;

	do {
		if (power == residue)
			return true;
		power = power * (RSA_EXPONENT % prime) % prime;
	} while (power != 1);
	return false;
}

/*
 * The broken generator made primes of the form k·M + (65537^a mod M), M the product
 * of the first primes up to 167 or more.  So their product, too, is a power of 65537
 * modulo each of these primes; of other moduli one in 2^28 is.
 * (Nemec et al., "The Return of Coppersmith's Attack", §2.)
 */
static bool has_roca_fingerprint(const BIGNUM *n)
{
	for (size_t i = 0; i < ROCA_PRIMES; i++)
		if (!is_power_of_generator((unsigned)BN_mod_word(n, primes[i]), primes[i]))
			return false;
	return true;
}

/* ---- close primes ---- */

/*
 * root = floor(sqrt(n)) of n > 0, by Newton's iteration from above: a step that does not
 * fall has nothing left to find.  False: out of memory.
 */
static bool square_root(BIGNUM *root, const BIGNUM *n, BN_CTX *ctx)
{
	bool done = false;
	BIGNUM *next;

	BN_CTX_start(ctx);
	next = BN_CTX_get(ctx);
	if (!next)
		goto out;
	BN_zero(root);
	if (!BN_set_bit(root, (BN_num_bits(n) + 1) / 2))
		goto out;
	for (;;) {
		/* next = (root + n / root) / 2 */
		if (!BN_div(next, NULL, n, root, ctx) || !BN_add(next, next, root) || !BN_rshift1(next, next))
			goto out;
		if (BN_cmp(next, root) >= 0)
			break;
		if (!BN_copy(root, next))
			goto out;
	}
	done = true;
out:
	BN_CTX_end(ctx);
	return done;
}

/* Most numbers that are no squares are none modulo one of these either, which costs no square root. */
static bool may_be_square(const BIGNUM *n)
{
	static const unsigned moduli[] = {64, 63, 65, 11, 17, 19, 23, 31};

	for (size_t i = 0; i < sizeof(moduli) / sizeof(moduli[0]); i++) {
		unsigned residue = (unsigned)BN_mod_word(n, moduli[i]), k = 0;

		while (k < moduli[i] && k * k % moduli[i] != residue)
			k++;
		if (k == moduli[i])
			return false;
	}
	return true;
}

static enum err is_square(const BIGNUM *n, BN_CTX *ctx, bool *ret_square)
{
	enum err e = E_NOMEM;
	BIGNUM *root, *square;

	if (!may_be_square(n)) {
		*ret_square = false;
		return E_OK;
	}
	BN_CTX_start(ctx);
	root = BN_CTX_get(ctx);
	square = BN_CTX_get(ctx);
	if (square && square_root(root, n, ctx) && BN_sqr(square, root, ctx)) {
		*ret_square = BN_cmp(square, n) == 0;
		e = E_OK;
	}
	BN_CTX_end(ctx);
	return e;
}

/* n = a² - b² = (a - b)(a + b) for an a among the first rounds above the square root of n? */
static enum err has_close_primes(const BIGNUM *n, BN_CTX *ctx, bool *ret_close)
{
	BIGNUM *a, *b2, *step;
	enum err e = E_NOMEM;
	bool close = false;

	BN_CTX_start(ctx);
	a = BN_CTX_get(ctx);
	b2 = BN_CTX_get(ctx);
	step = BN_CTX_get(ctx);
	/* a = floor(sqrt(n)) + 1, b2 = a² - n; a perfect square itself is close enough */
	if (!step || !square_root(a, n, ctx) || !BN_sqr(b2, a, ctx))
		goto out;
	close = BN_cmp(b2, n) == 0;
	if (!BN_add_word(a, 1) || !BN_sqr(b2, a, ctx) || !BN_sub(b2, b2, n))
		goto out;
	for (int round = 0; round < FERMAT_ROUNDS && !close; round++) {
		if ((e = is_square(b2, ctx, &close)) != E_OK)
			goto out;
		e = E_NOMEM;
		/* (a + 1)² - n = b2 + 2a + 1 */
		if (!BN_lshift1(step, a) || !BN_add_word(step, 1) || !BN_add(b2, b2, step) ||
		    !BN_add_word(a, 1))
			goto out;
	}
	*ret_close = close;
	e = E_OK;
out:
	BN_CTX_end(ctx);
	return e;
}

enum err weak_key_check_rsa(const BIGNUM *modulus, const BIGNUM *exponent, int bits, const char **ret_reason)
{
	bool close = false;
	BN_CTX *ctx;
	enum err e;

	if (BN_is_negative(modulus) || BN_num_bits(modulus) != bits)
		return weak("rsa modulus: not of the size asked for", ret_reason);
	if (!BN_is_word(exponent, RSA_EXPONENT))
		return weak("rsa exponent: not 65537", ret_reason);
	if (!BN_is_odd(modulus) || has_small_factor(modulus))
		return weak("rsa modulus: it has a small factor", ret_reason);
	if (has_roca_fingerprint(modulus))
		return weak("rsa modulus: it has the roca fingerprint (CVE-2017-15361)", ret_reason);
	ctx = BN_CTX_new();
	if (!ctx)
		return E_NOMEM;
	e = has_close_primes(modulus, ctx, &close);
	BN_CTX_free(ctx);
	if (e == E_OK && close)
		e = weak("rsa modulus: its primes are too close to each other (CVE-2022-26320)", ret_reason);
	return e;
}

/* ---- EC ---- */

/* The curves of NIST have cofactor 1: a point on the curve that is not the one at infinity has full order. */
enum err weak_key_check_ec(int curve_nid, const uint8_t *point, size_t len, const char **ret_reason)
{
	EC_GROUP *group;
	EC_POINT *at;
	BN_CTX *ctx;
	enum err e = E_OK;

	ossl_memory_begin();
	group = EC_GROUP_new_by_curve_name(curve_nid);
	at = group ? EC_POINT_new(group) : NULL;
	ctx = BN_CTX_new();
	if (!at || !ctx)
		e = E_NOMEM;
	else if (len < 1 || point[0] != POINT_CONVERSION_UNCOMPRESSED ||
		 EC_POINT_oct2point(group, at, point, len, ctx) != 1 ||
		 EC_POINT_is_at_infinity(group, at) != 0 || EC_POINT_is_on_curve(group, at, ctx) != 1)
		e = ossl_memory_ran_out()
			? E_NOMEM
			: weak("ec point: not an uncompressed point of the named curve", ret_reason);
	BN_CTX_free(ctx);
	EC_POINT_free(at);
	EC_GROUP_free(group);
	ERR_clear_error();
	return e;
}

/* ---- edwards25519: -x² + y² = 1 + d·x²·y² modulo p = 2^255 - 19, d = -121665/121666 ---- */

struct edwards {
	BN_CTX *ctx;
	BIGNUM *p, *d, *y, *y2, *u, *v;
};

/* p and d; y without the sign of x (RFC 8032 §5.1.3, step 1).  False: out of memory. */
static bool edwards_set(struct edwards *c, const uint8_t *point)
{
	uint8_t big_endian[WEAK_KEY_ED25519_BYTES];

	for (size_t i = 0; i < sizeof(big_endian); i++)
		big_endian[i] = point[sizeof(big_endian) - 1 - i];
	big_endian[0] &= 0x7f;
	return BN_set_bit(c->p, 255) && BN_sub_word(c->p, 19) && BN_set_word(c->u, 121666) &&
	       BN_mod_inverse(c->u, c->u, c->p, c->ctx) && BN_set_word(c->v, 121665) &&
	       BN_sub(c->v, c->p, c->v) && BN_mod_mul(c->d, c->u, c->v, c->p, c->ctx) &&
	       BN_bin2bn(big_endian, sizeof(big_endian), c->y) && BN_mod_sqr(c->y2, c->y, c->p, c->ctx);
}

/*
 * Order 1 and 2: y = ±1.  Order 4: y = 0.  Order 8: their double has y = 0, which with the
 * curve's equation is d·y⁴ + 2·y² = 1.
 */
static bool edwards_small_order(struct edwards *c, bool *ret_small)
{
	/* u = y²·(d·y² + 2) */
	if (!BN_mod_mul(c->u, c->d, c->y2, c->p, c->ctx) || !BN_add_word(c->u, 2) ||
	    !BN_mod_mul(c->u, c->u, c->y2, c->p, c->ctx))
		return false;
	*ret_small = BN_is_zero(c->y2) || BN_is_one(c->y2) || BN_is_one(c->u);
	return true;
}

/* x² = (y² - 1)/(d·y² + 1) has a root, the two of the quotient being non-zero. */
static bool edwards_on_curve(struct edwards *c, bool *ret_on_curve)
{
	int symbol;

	if (!BN_mod_sub(c->u, c->y2, BN_value_one(), c->p, c->ctx) ||
	    !BN_mod_mul(c->v, c->d, c->y2, c->p, c->ctx) || !BN_add_word(c->v, 1) ||
	    !BN_mod_mul(c->u, c->u, c->v, c->p, c->ctx)) /* u·v is a square where u/v is one */
		return false;
	symbol = BN_kronecker(c->u, c->p, c->ctx);
	*ret_on_curve = symbol == 1;
	return symbol >= -1;
}

enum err weak_key_check_ed25519(const uint8_t point[WEAK_KEY_ED25519_BYTES], const char **ret_reason)
{
	struct edwards c = {.ctx = BN_CTX_new()};
	bool small = false, on_curve = false;
	enum err e = E_NOMEM;

	if (!c.ctx)
		return E_NOMEM;
	BN_CTX_start(c.ctx);
	c.p = BN_CTX_get(c.ctx);
	c.d = BN_CTX_get(c.ctx);
	c.y = BN_CTX_get(c.ctx);
	c.y2 = BN_CTX_get(c.ctx);
	c.u = BN_CTX_get(c.ctx);
	c.v = BN_CTX_get(c.ctx);
	if (!c.v || !edwards_set(&c, point) || !edwards_small_order(&c, &small) ||
	    !edwards_on_curve(&c, &on_curve))
		goto out;
	if (BN_cmp(c.y, c.p) >= 0)
		e = weak("ed25519 point: not in canonical form", ret_reason);
	else if (small)
		e = weak("ed25519 point: of small order", ret_reason);
	else
		e = on_curve ? E_OK : weak("ed25519 point: not on the curve", ret_reason);
out:
	BN_CTX_end(c.ctx);
	BN_CTX_free(c.ctx);
	ERR_clear_error();
	return e;
}
