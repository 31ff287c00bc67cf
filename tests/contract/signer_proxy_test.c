/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every module, on SoftHSM behind p11-kit's proxy: beside signer_test, at the same time. */
#define SIGNER_TEST_OF "p11kit-proxy"
#include "tests/contract/signer_test.c"
