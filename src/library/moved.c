/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/moved.h"

#include "base/cause.h"
#include "base/clock.h"
#include "library/epoll.h"
#include "library/view.h"

#include <fcntl.h>

static void set_timeout(int fd, int option, int64_t ns)
{
	struct timeval t = { ns / 1000000000, ns % 1000000000 / 1000 };

	if (ns != AFU_NEVER)
		afu_sys(SYS_setsockopt, fd, SOL_SOCKET, option, &t, sizeof t);
}

static int kernel_socket(struct afu_sock *s)
{
	int fd = (int)afu_sys(SYS_socket, AF_UNIX, s->type | SOCK_CLOEXEC, 0);
	int half = (int)(s->ep->sndbuf / 2);

	if (fd < 0)
		return fd;
	if (s->ep->sndbuf != 212992)
		afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDBUF, &half, sizeof half);
	for (int option = 0; option < AFU_OPTIONS; option++) {
		if (s->ep->option[option])
			afu_sys(SYS_setsockopt, fd, SOL_SOCKET, option, &s->ep->option[option], sizeof(int));
	}
	set_timeout(fd, SO_RCVTIMEO, s->ep->rcvtimeo_ns);
	set_timeout(fd, SO_SNDTIMEO, s->ep->sndtimeo_ns);
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
		return (int)err;
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
