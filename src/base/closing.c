/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/closing.h"

#include "base/apart.h"
#include "base/clock.h"
#include "base/sys.h"

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

static _Atomic unsigned int under_way;

static void close_it(void *arg)
{
	afu_sys_close((int)(intptr_t)arg);
	atomic_fetch_sub(&under_way, 1);
}

unsigned int afu_close_under_way(void)
{
	return atomic_load(&under_way);
}

/* Without memory it stays open: that is better than to hang. */
void afu_close_apart(int fd)
{
	atomic_fetch_add(&under_way, 1);
	if (afu_apart(close_it, (void *)(intptr_t)fd) < 0)
		atomic_fetch_sub(&under_way, 1);
}

int64_t afu_close_within(int fd, int64_t ns)
{
	int64_t begin = afu_clock_ns();

	atomic_fetch_add(&under_way, 1);
	if (afu_apart_within(close_it, NULL, (void *)(intptr_t)fd, ns) < 0)
		atomic_fetch_sub(&under_way, 1);
	return afu_clock_ns() - begin;
}

int afu_close_queued(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} anc;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int on = 1;
	long got;

	afu_sys(SYS_shutdown, fd, SHUT_RDWR);
	/* credentials tell an empty message from the end; the descriptors have no room and stay where they
	 * are */
	afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	do {
		msg.msg_control = anc.bytes;
		msg.msg_controllen = sizeof anc.bytes;
		got = afu_sys(SYS_recvmsg, fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	} while (got == -ECONNRESET || got == -EINTR);
	return got > 0 || (got == 0 && msg.msg_controllen > 0);
}
