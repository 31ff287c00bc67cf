/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for every module, on openCryptoki's software token: beside signer_test, at the same time.
 *
 * run: seconds=22
 */
#define SIGNER_TEST_OF "opencryptoki"
#include "tests/contract/signer_test.c"
