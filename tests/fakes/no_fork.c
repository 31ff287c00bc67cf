/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program that dies of SIGSYS when it makes a process; threads are fine: no_fork PROGRAM [ARGUMENT] */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which AUDIT_ARCH_ is this?"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)
/* Then the next statement, else the one after it. */
#define IF_IS(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
#define IF_HAS(bits) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1)

static int install(void)
{
	struct sock_filter filter[] = {
	    LOAD(arch),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
	    ANSWER(SECCOMP_RET_KILL_PROCESS),
	    LOAD(nr),
	    /* Its flags are behind a pointer, which a filter cannot follow; libc falls back to clone. */
	    IF_IS(SYS_clone3),
	    ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
#ifdef SYS_fork
	    IF_IS(SYS_fork),
	    ANSWER(SECCOMP_RET_KILL_PROCESS),
	    IF_IS(SYS_vfork),
	    ANSWER(SECCOMP_RET_KILL_PROCESS),
#endif
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
	    ANSWER(SECCOMP_RET_ALLOW),
	    LOAD(args[0]), /* the lower half, on little-endian machines: the flags */
	    IF_HAS(CLONE_THREAD),
	    ANSWER(SECCOMP_RET_ALLOW),
	    ANSWER(SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs("usage: no_fork PROGRAM [ARGUMENT ...]\n", stderr);
		return 64;
	}
	if (install()) {
		fprintf(stderr, "no_fork: no filter: %s\n", strerror(errno));
		return 71;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "no_fork: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
