/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of files. */
#include "cli/digest.h"

#include "base/str.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_BYTES 65536

enum err digest_of_file(int fd, char ret_text[DIGEST_TEXT_SIZE])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char *block = malloc(BLOCK_BYTES);
	unsigned char hash[EVP_MAX_MD_SIZE];
	enum err e = E_NOMEM;
	off_t at = 0;
	ssize_t n;

	if (!md || !block || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		goto out;
	while ((n = pread(fd, block, BLOCK_BYTES, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			e = E_IO;
			goto out;
		}
		if (EVP_DigestUpdate(md, block, (size_t)n) != 1)
			goto out;
		at += n;
	}
	if (EVP_DigestFinal_ex(md, hash, NULL) != 1)
		goto out;
	str_hex(ret_text, hash, 32);
	e = E_OK;
out:
	free(block);
	EVP_MD_CTX_free(md);
	return e;
}
