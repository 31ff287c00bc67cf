/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for every module, on SoftHSM behind p11-kit's server: beside signer_test, at the same time.
 *
 * run: seconds=17
 */
#define SIGNER_TEST_OF "p11kit"
#include "tests/contract/signer_test.c"
