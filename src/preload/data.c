/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Reading and writing: read() to recvmmsg(), the positioned calls, and what gcc turns
 * them into under _FORTIFY_SOURCE.
 *
 * These lie on every program's busiest paths, so a descriptor that is not ours costs
 * one bounds check and one load before the real function.
 */
#include "library/moved.h"
#include "preload/call.h"

#include <limits.h>
#include <string.h>

/* As many as the kernel sends in one call. */
#define MESSAGES_MAX 1024

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100
#endif

AFU_INTERPOSE(ssize_t, read, int fd, void *buf, size_t n)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(read, fd, buf, n);
	return AFU_REAL(read)(fd, buf, n);
}
AFU_INTERPOSE_ALIAS(__read, read);

AFU_INTERPOSE(ssize_t, write, int fd, const void *buf, size_t n)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(write, fd, buf, n);
	return AFU_REAL(write)(fd, buf, n);
}
AFU_INTERPOSE_ALIAS(__write, write);

AFU_INTERPOSE(ssize_t, readv, int fd, const struct iovec *iov, int n)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(readv, fd, iov, n);
	return AFU_REAL(readv)(fd, iov, n);
}

AFU_INTERPOSE(ssize_t, writev, int fd, const struct iovec *iov, int n)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(writev, fd, iov, n);
	return AFU_REAL(writev)(fd, iov, n);
}

AFU_INTERPOSE(ssize_t, send, int fd, const void *buf, size_t n, int flags)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(send, fd, buf, n, flags);
	return AFU_THEIRS(send, fd, buf, n, flags);
}
AFU_INTERPOSE_ALIAS(__send, send);

AFU_INTERPOSE(ssize_t, sendto, int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
	      socklen_t len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(sendto, fd, buf, n, flags, addr, len);
	return AFU_THEIRS(sendto, fd, buf, n, flags, addr, len);
}

AFU_INTERPOSE(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(sendmsg, fd, msg, flags);
	if (afu_preload_active())
		afu_moved_message(fd, msg);
	return AFU_THEIRS(sendmsg, fd, msg, flags);
}

AFU_INTERPOSE(int, sendmmsg, int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(sendmmsg, fd, msgs, n, flags);
	for (unsigned int i = 0; afu_preload_active() && i < n && i < MESSAGES_MAX; i++)
		afu_moved_message(fd, &msgs[i].msg_hdr);
	return AFU_THEIRS(sendmmsg, fd, msgs, n, flags);
}
AFU_INTERPOSE_ALIAS(__sendmmsg, sendmmsg);

AFU_INTERPOSE(ssize_t, recv, int fd, void *buf, size_t n, int flags)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(recv, fd, buf, n, flags);
	return AFU_THEIRS(recv, fd, buf, n, flags);
}
AFU_INTERPOSE_ALIAS(__recv, recv);

AFU_INTERPOSE(ssize_t, recvfrom, int fd, void *buf, size_t n, int flags, struct sockaddr *addr,
	      socklen_t *len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(recvfrom, fd, buf, n, flags, addr, len);
	return AFU_THEIRS(recvfrom, fd, buf, n, flags, addr, len);
}

AFU_INTERPOSE(ssize_t, recvmsg, int fd, struct msghdr *msg, int flags)
{
	ssize_t r;

	if (afu_fd_ours(fd))
		return AFU_OURS(recvmsg, fd, msg, flags);
	r = AFU_THEIRS(recvmsg, fd, msg, flags);
	if (r >= 0)
		afu_library_message(msg);
	return r;
}

AFU_INTERPOSE(int, recvmmsg, int fd, struct mmsghdr *msgs, unsigned int n, int flags,
	      struct timespec *timeout)
{
	int r;

	if (afu_fd_ours(fd))
		return AFU_OURS(recvmmsg, fd, msgs, n, flags, timeout);
	r = AFU_THEIRS(recvmmsg, fd, msgs, n, flags, timeout);
	for (int i = 0; i < r; i++)
		afu_library_message(&msgs[i].msg_hdr);
	return r;
}

/* A position on a socket: the kernel looks at the sign before it looks at the file. */
static ssize_t positioned(off_t offset)
{
	return afu_preload_fail(-afu_refuse(offset < 0 ? AFU_CAUSE_POSITION_NEGATIVE : AFU_CAUSE_POSITION));
}

static ssize_t refuse_read(int fd, void *buf, size_t n, off_t offset)
{
	(void)fd, (void)buf, (void)n;
	return positioned(offset);
}

static ssize_t refuse_write(int fd, const void *buf, size_t n, off_t offset)
{
	(void)fd, (void)buf, (void)n;
	return positioned(offset);
}

static ssize_t refuse_vector(int fd, const struct iovec *iov, int n, off_t offset)
{
	(void)fd, (void)iov, (void)n;
	return positioned(offset);
}

AFU_INTERPOSE(ssize_t, pread, int fd, void *buf, size_t n, off_t offset)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(pread, refuse_read, 0, fd, buf, n, offset);
	return AFU_REAL(pread)(fd, buf, n, offset);
}
AFU_INTERPOSE_ALIAS(pread64, pread);
AFU_INTERPOSE_ALIAS(__pread64, pread);

AFU_INTERPOSE(ssize_t, pwrite, int fd, const void *buf, size_t n, off_t offset)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(pwrite, refuse_write, 0, fd, buf, n, offset);
	return AFU_REAL(pwrite)(fd, buf, n, offset);
}
AFU_INTERPOSE_ALIAS(pwrite64, pwrite);
AFU_INTERPOSE_ALIAS(__pwrite64, pwrite);

AFU_INTERPOSE(ssize_t, preadv, int fd, const struct iovec *iov, int n, off_t offset)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(preadv, refuse_vector, 0, fd, iov, n, offset);
	return AFU_REAL(preadv)(fd, iov, n, offset);
}
AFU_INTERPOSE_ALIAS(preadv64, preadv);

AFU_INTERPOSE(ssize_t, pwritev, int fd, const struct iovec *iov, int n, off_t offset)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(pwritev, refuse_vector, 0, fd, iov, n, offset);
	return AFU_REAL(pwritev)(fd, iov, n, offset);
}
AFU_INTERPOSE_ALIAS(pwritev64, pwritev);

/*
 * The flags of preadv2() and pwritev2() on a socket, as flags of a message; -1 with an
 * errno.  Those that are about storage mean nothing here and are accepted.
 */
static int message_flags(int flags, int iovcnt)
{
	const int storage = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND;

	if (flags & ~(storage | RWF_NOWAIT | RWF_NOSIGNAL))
		return afu_preload_fail(EOPNOTSUPP);
	if (iovcnt < 0 || iovcnt > IOV_MAX)
		return afu_preload_fail(EINVAL);
	return (flags & RWF_NOWAIT ? MSG_DONTWAIT : 0) | (flags & RWF_NOSIGNAL ? MSG_NOSIGNAL : 0);
}

/* The kernel never writes through a message that is only sent, the type does not say so. */
static struct iovec *writable(const struct iovec *iov)
{
	struct iovec *out;

	memcpy(&out, &iov, sizeof(out));
	return out;
}

static ssize_t read_vector(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	struct msghdr msg = {0};
	int message;

	if (offset != -1)
		return positioned(offset);
	if (!flags)
		return afunix_readv(fd, iov, n);
	message = message_flags(flags, n);
	if (message < 0)
		return -1;
	msg.msg_iov = writable(iov);
	msg.msg_iovlen = (size_t)n;
	return afunix_recvmsg(fd, &msg, message);
}

AFU_INTERPOSE(ssize_t, preadv2, int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(preadv2, read_vector, 0, fd, iov, n, offset, flags);
	return AFU_REAL(preadv2)(fd, iov, n, offset, flags);
}
AFU_INTERPOSE_ALIAS(preadv64v2, preadv2);

static ssize_t write_vector(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	struct msghdr msg = {0};
	int message;

	if (offset != -1)
		return positioned(offset);
	if (!flags)
		return afunix_writev(fd, iov, n);
	message = message_flags(flags, n);
	if (message < 0)
		return -1;
	msg.msg_iov = writable(iov);
	msg.msg_iovlen = (size_t)n;
	return afunix_sendmsg(fd, &msg, message);
}

AFU_INTERPOSE(ssize_t, pwritev2, int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(pwritev2, write_vector, 0, fd, iov, n, offset, flags);
	return AFU_REAL(pwritev2)(fd, iov, n, offset, flags);
}
AFU_INTERPOSE_ALIAS(pwritev64v2, pwritev2);

AFU_INTERPOSE(ssize_t, __read_chk, int fd, void *buf, size_t n, size_t room)
{
	afu_preload_check(n, room);
	return afu_preload_read(fd, buf, n);
}

AFU_INTERPOSE(ssize_t, __recv_chk, int fd, void *buf, size_t n, size_t room, int flags)
{
	afu_preload_check(n, room);
	return afu_preload_recv(fd, buf, n, flags);
}

AFU_INTERPOSE(ssize_t, __recvfrom_chk, int fd, void *buf, size_t n, size_t room, int flags,
	      struct sockaddr *addr, socklen_t *len)
{
	afu_preload_check(n, room);
	return afu_preload_recvfrom(fd, buf, n, flags, addr, len);
}

AFU_INTERPOSE(ssize_t, __pread_chk, int fd, void *buf, size_t n, off_t offset, size_t room)
{
	afu_preload_check(n, room);
	return afu_preload_pread(fd, buf, n, offset);
}
AFU_INTERPOSE_ALIAS(__pread64_chk, __pread_chk);
