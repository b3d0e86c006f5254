/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/outside.h"

#include "base/cause.h"
#include "library/moved.h"
#include "library/option.h"

ssize_t afu_outside_send(const struct afu_sock *s, const struct afu_transfer *t, const struct afu_destination *to,
			 const struct afu_sending *m)
{
	int fd = (int)afu_sys(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct msghdr msg = {.msg_name = (void *)(uintptr_t)&to->name.un,
			     .msg_namelen = to->length,
			     .msg_iov = (struct iovec *)(uintptr_t)t->iov,
			     .msg_iovlen = t->n,
			     .msg_control = (void *)(uintptr_t)m->control,
			     .msg_controllen = m->control_length};
	ssize_t n;

	if (fd < 0)
		return afu_refuse_as(AFU_CAUSE_OUTSIDE, -fd, NULL);
	/* what send() ignores, sendmsg() would refuse */
	afu_option_replay(s, fd);
	afu_moved_message(&msg);
	n = afu_sys(SYS_sendmsg, fd, &msg, (unsigned int)t->flags & ~0x80000000u);
	afu_sys_close(fd);
	/* nobody there either: the broker's refusal says more */
	return n < 0 && n != -ECONNREFUSED ? afu_refuse_as(AFU_CAUSE_OUTSIDE, (int)-n,
							   to->name.abstract ? NULL : to->name.un.sun_path)
					   : n;
}
