/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/moved.h"

#include "base/cause.h"
#include "library/epoll.h"
#include "library/option.h"
#include "library/view.h"

#include <fcntl.h>

static int kernel_socket(struct afu_sock *s)
{
	int fd = (int)afu_sys(SYS_socket, AF_UNIX, s->type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	afu_option_replay(s, fd);
	afu_sys(SYS_fcntl, fd, F_SETFL, atomic_load(&s->ep->status_flags));
	return fd;
}

int afu_moved_connect(struct afu_sock *s, const struct sockaddr *addr, socklen_t len)
{
	int fd = kernel_socket(s);
	long err;

	if (fd < 0)
		return fd;
	err = afu_sys(SYS_connect, fd, addr, len);
	if (err < 0) {
		afu_sys_close(fd);
		/* nobody there either: the broker's refusal says more */
		return err == -ECONNREFUSED ? (int)err : afu_refuse_as(AFU_CAUSE_OUTSIDE, (int)-err, NULL);
	}
	for (unsigned int number = 0; number < afu_table_top(); number++) {
		int flags;

		if (afu_fd_sock((int)number) != s)
			continue;
		flags = (int)afu_sys(SYS_fcntl, number, F_GETFD);
		afu_epoll_moved(s, (int)number);
		afu_fd_forget((int)number);
		afu_sys(SYS_dup3, fd, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		afu_epoll_moved_done((int)number);
	}
	afu_sys_close(fd);
	return 0;
}
