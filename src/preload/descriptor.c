/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Descriptors: close, dup, fcntl, ioctl and their relatives.
 *
 * A number that the table knows (a socket or an epoll instance) goes to the library.
 * The library's own descriptors do not exist for the application: closing or
 * duplicating one is EBADF, and a dup2() onto its number moves it out of the way first.
 */
#include "preload/call.h"

#include <fcntl.h>
#include <stdarg.h>

AFU_INTERPOSE(int, close, int fd)
{
	if (afu_fd_known(fd))
		return afunix_close(fd);
	if (afu_preload_hidden(fd))
		return afu_preload_fail(EBADF);
	return AFU_REAL(close)(fd);
}
AFU_INTERPOSE_ALIAS(__close, close);

AFU_INTERPOSE(int, close_range, unsigned int first, unsigned int last, int flags)
{
	if (afu_preload_active())
		return afunix_close_range(first, last, flags);
	return AFU_REAL(close_range)(first, last, flags);
}

AFU_INTERPOSE(void, closefrom, int first)
{
	int saved = errno;

	if (!afu_preload_active()) {
		AFU_REAL(closefrom)(first);
		return;
	}
	afunix_close_range(first < 0 ? 0 : (unsigned int)first, ~0U, 0);
	errno = saved;
}

AFU_INTERPOSE(int, dup, int fd)
{
	if (afu_fd_known(fd))
		return AFU_OURS(dup, fd);
	if (afu_preload_hidden(fd))
		return afu_preload_fail(EBADF);
	return afu_preload_fresh(AFU_REAL(dup)(fd));
}

/* Prepares dup2(fd, to).  0: the real call; 1: the library's; -1 with an errno. */
static int duplicate(int fd, int to)
{
	if (!afu_preload_active())
		return 0;
	if (afu_fd_hidden(fd))
		return afu_preload_fail(EBADF);
	if (afu_fd_hidden(to)) {
		int r = afu_fd_make_room(to);

		if (r < 0)
			return afu_preload_fail(-r);
	}
	return afu_fd_known(fd) || afu_fd_known(to);
}

AFU_INTERPOSE(int, dup2, int fd, int to)
{
	switch (duplicate(fd, to)) {
	case 0:
		return AFU_REAL(dup2)(fd, to);
	case 1:
		return AFU_OURS(dup2, fd, to);
	default:
		return -1;
	}
}
AFU_INTERPOSE_ALIAS(__dup2, dup2);

AFU_INTERPOSE(int, dup3, int fd, int to, int flags)
{
	switch (duplicate(fd, to)) {
	case 0:
		return AFU_REAL(dup3)(fd, to, flags);
	case 1:
		return AFU_OURS(dup3, fd, to, flags);
	default:
		return -1;
	}
}

/* Whatever the third argument is, it travels as one register. */
static int our_fcntl(int fd, int cmd, void *arg)
{
	return afunix_fcntl(fd, cmd, arg);
}

AFU_INTERPOSE(int, fcntl, int fd, int cmd, ...)
{
	va_list ap;
	void *arg;
	int r;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (afu_fd_known(fd))
		return AFU_OBSERVED(fcntl, our_fcntl, 0, fd, cmd, arg);
	if (afu_preload_hidden(fd))
		return afu_preload_fail(EBADF);
	r = AFU_REAL(fcntl)(fd, cmd, arg);
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		afu_preload_fresh(r);
	return r;
}
AFU_INTERPOSE_ALIAS(fcntl64, fcntl);
AFU_INTERPOSE_ALIAS(__fcntl, fcntl);

static int our_ioctl(int fd, unsigned long request, void *arg)
{
	return afunix_ioctl(fd, request, arg);
}

AFU_INTERPOSE(int, ioctl, int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (afu_fd_known(fd))
		return AFU_OBSERVED(ioctl, our_ioctl, 0, fd, request, arg);
	return AFU_REAL(ioctl)(fd, request, arg);
}
