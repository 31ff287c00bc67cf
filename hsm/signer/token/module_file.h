/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the PKCS#11 module, and who could replace it. */
#ifndef CSRD_HSM_SIGNER_TOKEN_MODULE_FILE_H
#define CSRD_HSM_SIGNER_TOKEN_MODULE_FILE_H

#include "base/attr.h"
#include "base/err.h"

/*
 * Follows an absolute path to the file itself, name by name.  The file and
 * every folder and symbolic link on the way belong to root or to the signer's
 * user, and nobody else can write them: not even their group, but for folders
 * of the group root.  In a folder with the sticky bit others may write, since
 * they cannot replace what is not theirs.  Whoever is left can change nothing
 * afterwards, so what is loaded from *ret_path (owned; without links) is what
 * was checked.
 *
 * Logs every failure.  E_CONFIG (refused), E_NOTFOUND, E_DENIED (it cannot be
 * looked at), E_NOMEM.
 */
MUST_USE enum err module_file_find(const char *path, char **ret_path);

/*
 * What of it was refused, for who is to mend that: the file, folder or link
 * that others could change (owned; without links on the way to it).  Logs
 * nothing.  E_NOTFOUND: none, E_NOMEM.
 */
MUST_USE enum err module_file_find_refused(const char *path, char **ret_path);

#endif
