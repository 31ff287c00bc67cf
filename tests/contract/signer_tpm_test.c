/* What holds for every module, on a TPM: a program of its own beside signer_test, to run at the same time. */
#define SIGNER_TEST_TPM
#include "tests/contract/signer_test.c"
