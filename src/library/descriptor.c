/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Descriptors as descriptors: duplicating, closing, flags, ioctl, fstat.
 */
#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/hold.h"
#include "library/async.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/inode.h"
#include "library/table.h"
#include "library/view.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>

/* What dup(2) and its relatives do once the table has been asked: to >= 0 for a given number. */
static int duplicate(int fd, int to, int cmd_or_flags)
{
	struct afu_sock *s;
	int got;

	if (afu_fd_hidden(fd))
		return -EBADF;
	s = afu_view_reserve(fd);
	if (to >= 0)
		got = (int)afu_sys(SYS_dup3, fd, to, cmd_or_flags);
	else
		got = (int)afu_sys(SYS_fcntl, fd, cmd_or_flags, -1 - to);
	if (got >= 0)
		afu_fd_forget(got);
	if (s) {
		afu_view_reserved(s, got);
	} else if (got >= 0) {
		struct afu_epoll *ep;

		afu_table_lock();
		ep = afu_fd_epoll(fd);
		if (ep)
			afu_epoll_number(ep, got);
		afu_table_unlock();
	}
	return got;
}

/* The lowest free number from a minimum on; cmd: F_DUPFD or F_DUPFD_CLOEXEC. */
static int duplicate_from(int fd, int cmd, int minimum)
{
	return minimum < 0 ? -EINVAL : duplicate(fd, -1 - minimum, cmd);
}

int afunix_dup(int fd)
{
	return (int)afu_return(duplicate_from(fd, F_DUPFD, 0));
}

static int duplicate_to(int fd, int to, int flags)
{
	int spare = -1, got;

	if (to < 0 || afu_fd_make_room(to) < 0)
		return -EBADF;
	if (!afu_fd_ours(to))
		return duplicate(fd, to, flags);
	afu_hold_reap(afu_thread());
	/*
	 * A socket of ours stood there.  The number must not be free in between, so the
	 * kernel replaces it; what it was goes on in a spare number for as long as a call
	 * sleeps on it, and is known to be closed on return otherwise.
	 */
	got = (int)afu_sys(SYS_fcntl, fd, F_GETFD);
	if (got < 0 || afu_fd_hidden(fd))
		return -EBADF;
	if (flags & ~O_CLOEXEC)
		return -EINVAL;
	spare = afu_table_spare(to);
	if (spare < 0)
		return spare;
	got = (int)afu_sys(SYS_dup3, fd, to, flags);
	if (got < 0) {
		afu_sys_close(spare);
		return got;
	}
	afu_view_replaced(to, spare);
	return duplicate(fd, to, flags); /* the same once more, and into the table */
}

int afunix_dup3(int fd, int to, int flags)
{
	if (fd == to)
		return (int)afu_return(-EINVAL);
	return (int)afu_return(duplicate_to(fd, to, flags));
}

int afunix_dup2(int fd, int to)
{
	if (fd == to && !afu_fd_hidden(fd)) {
		long err = afu_sys(SYS_fcntl, fd, F_GETFD);

		return (int)afu_return(err < 0 ? err : fd);
	}
	return (int)afu_return(duplicate_to(fd, to, 0));
}

static int close_one(int fd)
{
	struct afu_epoll *ep;

	if (afu_fd_hidden(fd))
		return -EBADF;
	if (afu_fd_ours(fd)) {
		afu_call_begin(afu_thread());
		return afu_view_close(fd);
	}
	ep = afu_fd_epoll(fd);
	if (ep)
		afu_fd_forget(fd);
	return (int)afu_sys(SYS_close, fd);
}

int afunix_close(int fd)
{
	return (int)afu_return(close_one(fd));
}

int afunix_close_range(unsigned int first, unsigned int last, int flags)
{
	unsigned int top = afu_table_top(), from = first;

	if (first > last)
		return (int)afu_return(-EINVAL);
	if (!top || (flags & (int)CLOSE_RANGE_CLOEXEC) || (flags & ~(int)(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE)))
		return (int)afu_return(afu_sys(SYS_close_range, first, last, flags));
	/* the runs between what is ours go to the kernel; what is hidden stays */
	for (unsigned int fd = first; fd < top && fd <= last; fd++) {
		if (afu_fd_entry((int)fd) == 0)
			continue;
		if (fd > from)
			afu_sys(SYS_close_range, from, fd - 1, flags);
		if (!afu_fd_hidden((int)fd))
			close_one((int)fd);
		from = fd + 1;
	}
	if (from <= last && from >= first)
		return (int)afu_return(afu_sys(SYS_close_range, from, last, flags));
	return 0;
}

/* Whether the owner's signals may have changed. */
static int changes_owner(int cmd)
{
	return cmd == F_SETOWN || cmd == F_SETOWN_EX || cmd == F_SETSIG;
}

static int set_status(struct afu_sock *s, int flags)
{
	if (flags & O_DIRECT)
		return afu_refuse(AFU_CAUSE_FLAG_DIRECT);
	atomic_store(&s->ep->status_flags, (uint32_t)flags & (O_NONBLOCK | O_ASYNC | O_APPEND | O_NOATIME));
	return 0;
}

/* A process group is a negative number, which must not be taken for an error. */
static int get_owner(int fd)
{
	struct f_owner_ex owner;
	long err = afu_sys(SYS_fcntl, fd, F_GETOWN_EX, &owner);

	if (err)
		return (int)afu_return(err);
	return owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid;
}

/* Of a number that is ours. */
static long do_fcntl(int fd, int cmd, long arg)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	int err, async = 0;
	long ret;

	switch (cmd) {
	case F_GETFL:
	case F_SETFL:
		s = afu_view_enter(th, fd, &err);
		if (!s)
			return err;
		ret = O_RDWR | (long)atomic_load(&s->ep->status_flags);
		if (cmd == F_SETFL) {
			async = ((int)ret ^ (int)arg) & O_ASYNC;
			ret = set_status(s, (int)arg);
		}
		afu_view_leave(th);
		if (async && !ret)
			afu_async_refresh(fd);
		return ret;
	case F_ADD_SEALS:
	case F_GET_SEALS:
		return -EINVAL;
	default:
		ret = afu_sys(SYS_fcntl, fd, cmd, arg);
		if (!ret && changes_owner(cmd))
			afu_async_refresh(fd);
		return ret;
	}
}

int afunix_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (afu_fd_hidden(fd))
		return (int)afu_return(-EBADF);
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return (int)afu_return(duplicate_from(fd, cmd, (int)arg));
	if (cmd == F_GETOWN)
		return get_owner(fd);
	return (int)AFU_EITHER(fd, do_fcntl(fd, cmd, arg), afu_sys(SYS_fcntl, fd, cmd, arg));
}

static int set_flag(struct afu_sock *s, uint32_t flag, const int *user)
{
	int on;

	if (afu_copy(&on, user, sizeof on))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (on)
		atomic_fetch_or(&s->ep->status_flags, flag);
	else
		atomic_fetch_and(&s->ep->status_flags, ~flag);
	return 0;
}

static int give(int value, int *user)
{
	return afu_copy(user, &value, sizeof value) ? afu_refuse(AFU_CAUSE_BAD_POINTER) : 0;
}

/* The token is a file, which does not know the requests of sockets; the owner is the same. */
static int ioctl_owner(int fd, unsigned long request, int *user)
{
	int owner;
	long err;

	if (request == FIOGETOWN || request == SIOCGPGRP)
		return give(get_owner(fd), user);
	if (afu_copy(&owner, user, sizeof owner))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	err = afu_sys(SYS_fcntl, fd, F_SETOWN, owner);
	if (!err)
		afu_async_refresh(fd);
	return (int)err;
}

static long ioctl_ours(struct afu_sock *s, struct afu_thread *th, unsigned long request, void *arg)
{
	switch (request) {
	case FIONBIO:
		return set_flag(s, O_NONBLOCK, arg);
	case FIOASYNC:
		return set_flag(s, O_ASYNC, arg);
	case FIONREAD:
		if (s->state == AFU_LISTENING)
			return afu_refuse(AFU_CAUSE_IOCTL_LISTENING);
		return give((int)afu_sock_unread(s, th), arg);
	case SIOCOUTQ:
		return give((int)afu_sock_unsent(s), arg);
	case SIOCATMARK:
		if (s->type != SOCK_STREAM)
			return afu_refuse(AFU_CAUSE_MARK_TYPE);
		return give(afu_stream_at_mark(s, th), arg);
	default:
		return 1;
	}
}

/* Interface requests are answered by any socket of the kernel's. */
static long ioctl_interface(unsigned long request, void *arg)
{
	long fd = afu_sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return fd;
	ret = afu_sys(SYS_ioctl, fd, request, arg);
	afu_sys_close((int)fd);
	return ret;
}

/* Of a number that is ours. */
static long do_ioctl(int fd, unsigned long request, void *arg)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	long ret;
	int err;

	if (request == FIOCLEX || request == FIONCLEX)
		return afu_sys(SYS_ioctl, fd, request, arg);
	if (request == FIOSETOWN || request == FIOGETOWN || request == SIOCSPGRP || request == SIOCGPGRP)
		return ioctl_owner(fd, request, arg);
	if (request == SIOCPROTOPRIVATE) /* SIOCUNIXFILE: asks the broker, so outside of a view */
		return afu_inode_file(fd);
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	ret = ioctl_ours(s, th, request, arg);
	afu_view_leave(th);
	if (request == FIOASYNC && !ret)
		afu_async_refresh(fd);
	if (ret == 1)
		ret = request >= SIOCGIFNAME && request <= 0x89ff && request != SIOCGSTAMP && request != SIOCGSTAMPNS
			      ? ioctl_interface(request, arg)
			      : afu_refuse(AFU_CAUSE_IOCTL_UNKNOWN);
	return ret;
}

int afunix_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (afu_fd_hidden(fd))
		return (int)afu_return(-EBADF);
	return (int)AFU_EITHER(fd, do_ioctl(fd, request, arg), afu_sys(SYS_ioctl, fd, request, arg));
}

int afunix_sockatmark(int fd)
{
	int mark;

	return afunix_ioctl(fd, SIOCATMARK, &mark) < 0 ? -1 : mark;
}

int afunix_fstat(int fd, struct stat *st)
{
	long err = afu_fd_hidden(fd) ? -EBADF : afu_sys(SYS_fstat, fd, st);

	if (!err && afu_fd_ours(fd))
		afu_inode_show(fd, st);
	return (int)afu_return(err);
}
