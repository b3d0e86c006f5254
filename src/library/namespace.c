/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * /proc/self/uid_map tells the parent's numbers, so with more than one user namespace
 * between the broker and this process the answer is that of the nearest.
 */
#include "library/namespace.h"

#include "base/sys.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#define OVERFLOW_ID 65534u /* the kernel's, unless somebody set another */

/* As the kernel has it since 6.13; the first version of the struct. */
struct pidfd_info_0 {
	uint64_t mask, cgroup;
	uint32_t pid, tgid, ppid, ids[8], exit_code;
};
#define PIDFD_INFO_PID_ 1u
#define PIDFD_GET_INFO_ _IOWR(0xff, 11, struct pidfd_info_0)

_Static_assert(sizeof(struct pidfd_info_0) == 64, "the kernel knows the struct by its size");

int afu_namespace_pids_agree(pid_t me)
{
	return me == (pid_t)afu_sys(SYS_getpid);
}

int afu_namespace_ids_agree(uid_t uid, gid_t gid)
{
	return uid == (uid_t)afu_sys(SYS_geteuid) && gid == (gid_t)afu_sys(SYS_getegid);
}

/* Lines of three numbers: inside, outside, count. */
struct lines {
	uint64_t number[3];
	unsigned int at;
	int in_number;
};

/* 1 if a line is complete that holds the id. */
static int feed(struct lines *l, char c, uint32_t id)
{
	if (c >= '0' && c <= '9') {
		if (!l->in_number)
			l->number[l->at] = 0;
		l->number[l->at] = 10 * l->number[l->at] + (uint64_t)(c - '0');
		l->in_number = 1;
		return 0;
	}
	if (!l->in_number)
		return 0;
	l->in_number = 0;
	l->at = (l->at + 1) % 3;
	return l->at == 0 && id >= l->number[1] && id - l->number[1] < l->number[2];
}

static uint32_t translate(const char *path, uint32_t id)
{
	struct lines l = {.at = 0};
	char text[512];
	long fd = afu_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), n;
	uint32_t found = OVERFLOW_ID;

	if (fd < 0)
		return id; /* no user namespaces, or no /proc: the broker's is the best there is */
	while (found == OVERFLOW_ID && (n = afu_sys(SYS_read, fd, text, sizeof text)) > 0) {
		for (long i = 0; i < n; i++) {
			if (feed(&l, text[i], id)) {
				found = (uint32_t)(l.number[0] + (id - l.number[1]));
				break;
			}
		}
	}
	afu_sys_close((int)fd);
	return found;
}

uid_t afu_namespace_uid(uid_t id)
{
	return translate("/proc/self/uid_map", id);
}

gid_t afu_namespace_gid(gid_t id)
{
	return translate("/proc/self/gid_map", id);
}

pid_t afu_namespace_pid(int pidfd)
{
	struct pidfd_info_0 info = {.mask = PIDFD_INFO_PID_};

	return afu_sys(SYS_ioctl, pidfd, PIDFD_GET_INFO_, &info) == 0 ? (pid_t)info.tgid : 0;
}
