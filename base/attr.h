/* SPDX-License-Identifier: Apache-2.0 */
/* Compiler attributes used in headers. */
#ifndef CSRD_BASE_ATTR_H
#define CSRD_BASE_ATTR_H

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

#endif
