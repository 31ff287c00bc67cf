/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that are weak by construction, and sound ones beside them (F51). */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/key/weak_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <string.h>

/* ---- RSA ---- */

static void expect_rsa(const BIGNUM *n, unsigned long exponent, int bits, const char *expected)
{
	const char *reason = "sound";
	BIGNUM *e = BN_new();

	assert_non_null(n);
	assert_int_equal(BN_set_word(e, exponent), 1);
	assert_int_equal(weak_key_check_rsa(n, e, bits, &reason),
			 strcmp(expected, "sound") == 0 ? E_OK : E_HSM);
	assert_string_equal(reason, expected);
	BN_free(e);
}

static BIGNUM *prime(int bits)
{
	BIGNUM *p = BN_new();

	assert_int_equal(BN_generate_prime_ex(p, bits, 0, NULL, NULL, NULL), 1);
	return p;
}

/* p·q, which owns and frees both */
static BIGNUM *product(BIGNUM *p, BIGNUM *q)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *n = BN_new();

	assert_int_equal(BN_mul(n, p, q, ctx), 1);
	BN_CTX_free(ctx);
	BN_free(p);
	BN_free(q);
	return n;
}

static BIGNUM *modulus_of_openssl(int bits)
{
	EVP_PKEY *key = EVP_RSA_gen((unsigned)bits);
	BIGNUM *n = NULL;

	assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n), 1);
	EVP_PKEY_free(key);
	return n;
}

static void sound_keys_pass(void **state)
{
	static const int sizes[] = {2048, 2048, 2048, 3072, 4096};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		BIGNUM *n = modulus_of_openssl(sizes[i]);

		expect_rsa(n, 65537, sizes[i], "sound");
		BN_free(n);
	}
}

static void size_and_exponent_are_exact_F51(void **state)
{
	static const unsigned long exponents[] = {0, 1, 2, 3, 17, 257, 65535, 65539, 0x10001000};
	BIGNUM *n = modulus_of_openssl(2048);
	BIGNUM *small = modulus_of_openssl(1024);

	(void)state;
	expect_rsa(small, 65537, 2048, "rsa modulus: not of the size asked for");
	expect_rsa(n, 65537, 2047, "rsa modulus: not of the size asked for");
	expect_rsa(n, 65537, 2049, "rsa modulus: not of the size asked for");
	expect_rsa(n, 65537, 3072, "rsa modulus: not of the size asked for");
	for (size_t i = 0; i < sizeof(exponents) / sizeof(exponents[0]); i++)
		expect_rsa(n, exponents[i], 2048, "rsa exponent: not 65537");
	BN_set_negative(n, 1);
	expect_rsa(n, 65537, 2048, "rsa modulus: not of the size asked for");
	BN_zero(n);
	expect_rsa(n, 65537, 2048, "rsa modulus: not of the size asked for");
	BN_free(n);
	BN_free(small);
}

/* One with a factor of 3 and of 751 at the ends of the list; 757 is beyond it. */
static void small_factors_are_found_F51(void **state)
{
	static const unsigned long factors[] = {2, 3, 5, 101, 743, 751, 757};

	(void)state;
	for (size_t i = 0; i < sizeof(factors) / sizeof(factors[0]); i++) {
		BIGNUM *factor = BN_new(), *n;

		assert_int_equal(BN_set_word(factor, factors[i]), 1);
		n = product(factor, prime(2048));
		expect_rsa(n, 65537, BN_num_bits(n),
			   factors[i] < 752 ? "rsa modulus: it has a small factor" : "sound");
		BN_free(n);
	}
}

/* M: the product of the first `count` primes. */
static BIGNUM *primorial(int count)
{
	BIGNUM *m = BN_new();

	assert_int_equal(BN_one(m), 1);
	for (unsigned n = 2; count > 0; n++) {
		unsigned divisor = 2;

		while (divisor * divisor <= n && n % divisor)
			divisor++;
		if (divisor * divisor > n && BN_mul_word(m, n))
			count--;
	}
	return m;
}

/* A prime of the broken generator's form, k·M + (65537^a mod M), of about that size. */
static BIGNUM *roca_prime(const BIGNUM *m, int bits)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *p = BN_new(), *a = BN_new(), *k = BN_new(), *generator = BN_new();

	assert_int_equal(BN_set_word(generator, 65537), 1);
	do {
		assert_int_equal(BN_rand(a, 62, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY), 1);
		assert_int_equal(BN_mod_exp(p, generator, a, m, ctx), 1);
		assert_int_equal(BN_rand(k, bits - BN_num_bits(m), BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY), 1);
		assert_int_equal(BN_mul(k, k, m, ctx) && BN_add(p, p, k), 1);
	} while (BN_check_prime(p, ctx, NULL) != 1);
	BN_CTX_free(ctx);
	BN_free(a);
	BN_free(k);
	BN_free(generator);
	return p;
}

/* The generator used the first 39 primes for the smallest keys and 126 from 1984 bits on. */
static void roca_fingerprint_is_found_F51(void **state)
{
	static const int counts[] = {39, 126};

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		BIGNUM *m = primorial(counts[i]);
		BIGNUM *n = product(roca_prime(m, 1024), roca_prime(m, 1024));
		BIGNUM *half = product(roca_prime(m, 1024), prime(1024));

		expect_rsa(n, 65537, BN_num_bits(n),
			   "rsa modulus: it has the roca fingerprint (CVE-2017-15361)");
		expect_rsa(half, 65537, BN_num_bits(half), "sound");
		BN_free(n);
		BN_free(half);
		BN_free(m);
	}
}

/* The next prime above p + 2^shift; shift < 0: the next above p. */
static BIGNUM *prime_above(const BIGNUM *p, int shift)
{
	BIGNUM *q = BN_dup(p), *distance = BN_new();
	BN_CTX *ctx = BN_CTX_new();

	if (shift >= 0)
		assert_int_equal(BN_set_bit(distance, shift), 1);
	else
		assert_int_equal(BN_set_word(distance, 2), 1);
	assert_int_equal(BN_add(q, q, distance), 1);
	if (!BN_is_odd(q))
		assert_int_equal(BN_add_word(q, 1), 1);
	while (BN_check_prime(q, ctx, NULL) != 1)
		assert_int_equal(BN_add_word(q, 2), 1);
	BN_CTX_free(ctx);
	BN_free(distance);
	return q;
}

/*
 * Fermat's method needs about (p - q)² / (8·sqrt(n)) rounds.  For primes of 1024 bits
 * that is one up to a distance of 2^512 and some, and far more than 100 for 2^530.
 */
static void close_primes_are_found_F51(void **state)
{
	static const struct {
		int shift;
		bool found;
	} distances[] = {{-1, true}, {100, true}, {500, true}, {513, true}, {530, false}, {1000, false}};
	BIGNUM *p = prime(1024);

	(void)state;
	for (size_t i = 0; i < sizeof(distances) / sizeof(distances[0]); i++) {
		BIGNUM *n = product(BN_dup(p), prime_above(p, distances[i].shift));

		expect_rsa(n, 65537, BN_num_bits(n),
			   distances[i].found
			       ? "rsa modulus: its primes are too close to each other (CVE-2022-26320)"
			       : "sound");
		BN_free(n);
	}
	BN_free(p);
}

/*
 * n = a² - b² with a = (2r - 1)·s² and b = (2r - 1)·s, each but for a small offset, has its square root
 * at a - (r - ½): the r-th round finds it and no other does.
 */
static BIGNUM *found_in_round(unsigned round)
{
	BIGNUM *s = BN_new(), *a = BN_new(), *b = BN_new(), *offset = BN_new(), *n = BN_new();
	BN_CTX *ctx = BN_CTX_new();
	unsigned long factor;

	assert_int_equal(BN_rand(s, 512, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY), 1);
	do { /* until there is no small factor that would be found before */
		assert_int_equal(BN_rand(offset, 30, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY), 1);
		assert_int_equal(BN_sqr(a, s, ctx) && BN_mul_word(a, 2 * round - 1) && BN_add(a, a, offset),
				 1);
		assert_int_equal(BN_rand(offset, 30, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY), 1);
		assert_int_equal(BN_copy(b, s) && BN_mul_word(b, 2 * round - 1) && BN_add(b, b, offset), 1);
		assert_int_equal(BN_sqr(n, a, ctx) && BN_sqr(offset, b, ctx) && BN_sub(n, n, offset), 1);
		for (factor = 2; factor < 752 && BN_mod_word(n, factor) != 0; factor++)
			continue;
	} while (factor < 752);
	BN_CTX_free(ctx);
	BN_free(s);
	BN_free(a);
	BN_free(b);
	BN_free(offset);
	return n;
}

static void hundred_rounds_are_made(void **state)
{
	static const unsigned rounds[] = {1, 2, 50, 99, 100, 101, 102};

	(void)state;
	for (size_t i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++) {
		BIGNUM *n = found_in_round(rounds[i]);

		expect_rsa(n, 65537, BN_num_bits(n),
			   rounds[i] <= 100
			       ? "rsa modulus: its primes are too close to each other (CVE-2022-26320)"
			       : "sound");
		BN_free(n);
	}
}

/* p² is no product of two primes. */
static void squares_are_found_F51(void **state)
{
	BIGNUM *p = prime(1024);
	BIGNUM *n = product(BN_dup(p), p);

	(void)state;
	expect_rsa(n, 65537, BN_num_bits(n),
		   "rsa modulus: its primes are too close to each other (CVE-2022-26320)");
	BN_free(n);
}

/* ---- EC ---- */

static const struct {
	int nid;
	const char *name;
	size_t len;
} curves[] = {{NID_X9_62_prime256v1, "P-256", 65}, {NID_secp384r1, "P-384", 97}};
#define CURVES (sizeof(curves) / sizeof(curves[0]))

static void point_of(const char *name, unsigned char *point, size_t wanted_len)
{
	EVP_PKEY *key = EVP_EC_gen(name);
	size_t len = 0;

	assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, 133, &len), 1);
	assert_int_equal(len, wanted_len);
	EVP_PKEY_free(key);
}

static void expect_ec(int nid, const unsigned char *point, size_t len, bool sound)
{
	const char *reason = "sound";

	assert_int_equal(weak_key_check_ec(nid, point, len, &reason), sound ? E_OK : E_HSM);
	assert_string_equal(reason,
			    sound ? "sound" : "ec point: not an uncompressed point of the named curve");
}

static void points_are_on_their_curve_F51(void **state)
{
	unsigned char point[133];

	(void)state;
	for (size_t i = 0; i < CURVES; i++) {
		const int nid = curves[i].nid;
		const size_t len = curves[i].len, half = len / 2;

		point_of(curves[i].name, point, len);
		expect_ec(nid, point, len, true);
		for (size_t other = 0; other < CURVES; other++)
			expect_ec(curves[other].nid, point, len, other == i);
		expect_ec(nid, point, len - 1, false);
		expect_ec(nid, point, 0, false);
		point[len - 1] ^= 1;
		expect_ec(nid, point, len, false);
		point[len - 1] ^= 1;
		point[0] = 2 | (point[len - 1] & 1); /* the compressed form, and the hybrid one */
		expect_ec(nid, point, 1 + half, false);
		point[0] |= 4;
		expect_ec(nid, point, len, false);
		memset(point, 0, sizeof(point)); /* infinity in one octet; (0, 0); x past the prime */
		expect_ec(nid, point, 1, false);
		point[0] = 4;
		expect_ec(nid, point, len, false);
		memset(point + 1, 0xff, half);
		expect_ec(nid, point, len, false);
	}
}

/* ---- Ed25519 ---- */

static void expect_ed25519(const unsigned char *point, const char *expected)
{
	const char *reason = "sound";

	assert_int_equal(weak_key_check_ed25519(point, &reason),
			 strcmp(expected, "sound") == 0 ? E_OK : E_HSM);
	assert_string_equal(reason, expected);
}

/* Both signs of x are points. */
static void expect_both_signs(unsigned char *point, const char *expected)
{
	expect_ed25519(point, expected);
	point[31] ^= 0x80;
	expect_ed25519(point, expected);
	point[31] ^= 0x80;
}

static void sound_ed25519_keys_pass(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		unsigned char point[32];
		size_t len = sizeof(point);

		assert_int_equal(EVP_PKEY_get_raw_public_key(key, point, &len), 1);
		expect_both_signs(point, "sound");
		EVP_PKEY_free(key);
	}
}

/* Which y below 30 have an x was computed by other means. */
static void ed25519_points_are_on_the_curve_F51(void **state)
{
	static const char on_curve[] = "xx-xxxx--xx---xxx-xx-x-xxxxxxx";
	unsigned char point[32] = {0};

	(void)state;
	for (unsigned char y = 2; y < 30; y++) {
		point[0] = y;
		expect_both_signs(point, on_curve[y] == 'x' ? "sound" : "ed25519 point: not on the curve");
	}
}

/*
 * The five y of the eight points that eight times themselves are zero
 * (libsodium and others refuse the same).
 */
static void ed25519_points_of_small_order_are_refused_F51(void **state)
{
	static const unsigned char small[][32] = {
	    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	     0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
	    {0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	     0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
	    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
	     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
	     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
		unsigned char point[32];

		memcpy(point, small[i], sizeof(point));
		expect_both_signs(point, "ed25519 point: of small order");
	}
}

/* y = p … 2^255 - 1 is another spelling of 0 … 18. */
static void ed25519_points_have_one_form_F51(void **state)
{
	unsigned char point[32];

	(void)state;
	memset(point, 0xff, sizeof(point));
	point[31] = 0x7f;
	for (unsigned low = 0xed; low <= 0xff; low++) {
		point[0] = (unsigned char)low;
		expect_both_signs(point, "ed25519 point: not in canonical form");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sound_keys_pass),
	    cmocka_unit_test(size_and_exponent_are_exact_F51),
	    cmocka_unit_test(small_factors_are_found_F51),
	    cmocka_unit_test(roca_fingerprint_is_found_F51),
	    cmocka_unit_test(close_primes_are_found_F51),
	    cmocka_unit_test(hundred_rounds_are_made),
	    cmocka_unit_test(squares_are_found_F51),
	    cmocka_unit_test(points_are_on_their_curve_F51),
	    cmocka_unit_test(sound_ed25519_keys_pass),
	    cmocka_unit_test(ed25519_points_are_on_the_curve_F51),
	    cmocka_unit_test(ed25519_points_of_small_order_are_refused_F51),
	    cmocka_unit_test(ed25519_points_have_one_form_F51),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
