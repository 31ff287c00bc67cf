/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for every module, on a TPM: beside signer_test, at the same time.
 *
 * run: seconds=33
 */
#define SIGNER_TEST_OF "tpm"
#include "tests/contract/signer_test.c"
