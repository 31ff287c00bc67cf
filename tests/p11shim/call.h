/* SPDX-License-Identifier: Apache-2.0 */
/* One call through the shim: what the rules, the fakes and the trace need to know of it. */
#ifndef CSRD_TESTS_P11SHIM_CALL_H
#define CSRD_TESTS_P11SHIM_CALL_H

#include "tests/p11shim/names.h"

#include <stdint.h>

struct rules;

struct attribute_list {
	CK_ATTRIBUTE *attributes;
	CK_ULONG count;
};

#define CALL_HANDLES_MAX 2

/* All pointers are the caller's or the wrapper's own parameters, valid during the call. */
struct call {
	/* set by the wrapper; NULL or 0 for what the function does not have */
	enum function function;
	CK_SESSION_HANDLE session;
	const CK_SLOT_ID *slot;
	const CK_USER_TYPE *user;
	const CK_FLAGS *flags;
	const CK_MECHANISM_TYPE *mechanism;
	CK_OBJECT_HANDLE object;
	CK_ULONG in_len;
	struct attribute_list templates[2]; /* for a key pair: public, private */
	CK_BYTE *out;                       /* data that the module writes */
	const CK_ULONG *out_len;
	CK_SESSION_HANDLE *new_session;
	const CK_OBJECT_HANDLE *new_objects[CALL_HANDLES_MAX];
	const CK_ULONG *found_count;
	CK_TOKEN_INFO *token_info;

	/* set on the way */
	CK_RV rv;
	bool called; /* the module was called, and rv is, or began as, its answer */
	uint64_t started_us;
	struct rules *rules;
	uint64_t fired; /* bit i: rule i takes part in this call */
	bool in_session;
	int pin_lock;
	CK_ULONG *capacities;           /* of the buffers of C_GetAttributeValue */
	bool alone;                     /* holds the lock of `serialise` */
	struct attribute_list given[2]; /* the caller's, while `templates` are others; NULL: they are those */
	CK_BYTE own_id[64];             /* of a new pair, for `id-own` */
	bool mechanism_replaced;
	CK_BYTE pair_id[64]; /* of the private key that is being destroyed, for `pair-destroy` */
	CK_ULONG pair_id_len;
};

/* True when the module shall be called; else c->rv is the answer. */
bool call_enter(struct call *c);

/* To be called once after call_enter.  Returns the answer. */
CK_RV call_leave(struct call *c);

/* Environment, trace, state and the module, once. */
void call_set_up(void);

#endif
