/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Processes that confine themselves: a filter of system calls, or a hard limit of
 * descriptors that leaves none for the library.  What they may do from then on is meant for
 * the kernel's sockets: read() and write(), but not to sleep on a futex or to ask the broker.
 * So their connections become the kernel's first.
 *
 * sshd's child, which talks to the network before anybody has logged in, does both.
 */
#include "preload/interpose.h"

#include "base/copy.h"
#include "base/sys.h"
#include "library/moved.h"

#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Fewer descriptors than this are for none that arrives or is made: who sets that has all he wants. */
#define FEW_DESCRIPTORS 16

static void leave_all(void)
{
	int saved = errno;

	if (!afu_preload_active())
		return;
	for (unsigned int fd = 0; fd < afu_table_top(); fd++)
		if (afu_fd_ours((int)fd))
			afu_moved_leave((int)fd);
	errno = saved;
}

/* libseccomp tries out what the kernel knows, with arguments that are refused: that filters nothing. */
void afu_preload_filtered(unsigned int operation, unsigned int flags, const void *program)
{
	if ((operation == SECCOMP_SET_MODE_STRICT && !flags && !program) ||
	    (operation == SECCOMP_SET_MODE_FILTER && program))
		leave_all();
}

void afu_preload_limited(int resource, const struct rlimit *limit)
{
	struct rlimit r;

	/* what can't be read, the kernel refuses */
	if (resource == (int)RLIMIT_NOFILE && limit && !afu_copy(&r, limit, sizeof r) && r.rlim_max < FEW_DESCRIPTORS)
		leave_all();
}

AFU_INTERPOSE(int, prctl, int option, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_SECCOMP && (a[0] != SECCOMP_MODE_FILTER || a[1]))
		leave_all();
	return AFU_REAL(prctl)(option, a[0], a[1], a[2], a[3]);
}

AFU_INTERPOSE(int, setrlimit, __rlimit_resource_t resource, const struct rlimit *limit)
{
	afu_preload_limited((int)resource, limit);
	return AFU_REAL(setrlimit)(resource, limit);
}
AFU_INTERPOSE_ALIAS(setrlimit64, setrlimit);

AFU_INTERPOSE(int, prlimit, pid_t pid, __rlimit_resource_t resource, const struct rlimit *limit, struct rlimit *old)
{
	if (!pid || pid == (pid_t)afu_sys(SYS_getpid))
		afu_preload_limited((int)resource, limit);
	return AFU_REAL(prlimit)(pid, resource, limit, old);
}
AFU_INTERPOSE_ALIAS(prlimit64, prlimit);
