/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every module, on kryoptic ("make test-kryoptic"): beside signer_test, at the same time. */
#define SIGNER_TEST_OF "kryoptic"
#include "tests/contract/signer_test.c"
