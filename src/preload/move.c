/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * sendfile, splice and their relatives with one of our sockets on one side: a copy
 * through a buffer where the kernel would pass pages.
 *
 * What is taken from the source is exactly what the destination took: a file is read by
 * position, a pipe is looked at with tee() first, a stream with MSG_PEEK.  Two threads
 * that move from one source at the same time may see the same data twice; the kernel
 * would not mix them, but nobody can tell what such a program expects.
 */
#include "base/copy.h"
#include "preload/call.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK = 65536 }; /* a pipe-full, the kernel's own unit here */

static void *buffer_new(void)
{
	void *p = AFU_REAL(mmap)(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Frees the buffer and keeps errno for the result that is about to be returned. */
static void buffer_free(void *buffer)
{
	int saved = errno;

	munmap(buffer, CHUNK);
	errno = saved;
}

static size_t at_most(size_t n, size_t limit)
{
	return n < limit ? n : limit;
}

static int is_pipe(int fd)
{
	struct stat st;

	return !afu_fd_ours(fd) && AFU_REAL(fstat)(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* 1 if a kernel descriptor is open for that: a call that is refused for several reasons names this one. */
static int is_open_for(int fd, int direction)
{
	int flags = AFU_REAL(fcntl)(fd, F_GETFL);

	if (flags < 0 || (flags & O_PATH))
		return 0;
	return (flags & O_ACCMODE) == O_RDWR || (flags & O_ACCMODE) == direction;
}

static int is_stream(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return afunix_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* From a file at `position` to our socket; how much, or -1 if nothing could be moved. */
static ssize_t file_to_socket(int out, int in, off_t position, size_t count)
{
	void *buffer = buffer_new();
	size_t done = 0;

	if (!buffer)
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_NO_MEMORY));
	while (done < count) {
		ssize_t got =
			AFU_REAL(pread)(in, buffer, at_most(count - done, CHUNK), position + (off_t)done);
		ssize_t sent = got > 0 ? afunix_write(out, buffer, (size_t)got) : got;

		if (sent > 0)
			done += (size_t)sent;
		if (sent <= 0 || sent < got) {
			if (sent < 0 && !done) {
				buffer_free(buffer);
				return -1;
			}
			break;
		}
	}
	buffer_free(buffer);
	return (ssize_t)done;
}

/* Makes a private copy of the pipe's front in `copy`, without taking it from the pipe. */
static ssize_t look_into_pipe(int in, void *buffer, size_t n, unsigned int flags)
{
	ssize_t r;
	int copy[2];

	if (AFU_REAL(pipe2)(copy, O_CLOEXEC) < 0)
		return -1;
	r = AFU_REAL(tee)(in, copy[1], n, flags & SPLICE_F_NONBLOCK);
	if (r > 0)
		r = AFU_REAL(read)(copy[0], buffer, (size_t)r);
	int saved = errno;
	AFU_REAL(close)(copy[0]);
	AFU_REAL(close)(copy[1]);
	errno = saved;
	return r;
}

/* Takes from a pipe what the socket took of it. */
static void drop_from_pipe(int in, void *buffer, size_t n)
{
	while (n) {
		ssize_t r = AFU_REAL(read)(in, buffer, n);

		if (r <= 0)
			return;
		n -= (size_t)r;
	}
}

static ssize_t pipe_to_socket(int out, int in, size_t count, unsigned int flags)
{
	void *buffer = buffer_new();
	ssize_t r;

	if (!buffer)
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_NO_MEMORY));
	r = look_into_pipe(in, buffer, at_most(count, CHUNK), flags);
	if (r > 0)
		r = afunix_write(out, buffer, (size_t)r);
	if (r > 0)
		drop_from_pipe(in, buffer, (size_t)r);
	buffer_free(buffer);
	return r;
}

/* Waits until a page fits into the pipe; 0, or -1 with an errno. */
static int pipe_wait(int out, unsigned int flags)
{
	struct pollfd p = {.fd = out, .events = POLLOUT};
	int wait = !(flags & SPLICE_F_NONBLOCK) && !(AFU_REAL(fcntl)(out, F_GETFL) & O_NONBLOCK);
	int r = AFU_REAL(poll)(&p, 1, wait ? -1 : 0);

	if (r < 0)
		return -1;
	return r ? 0 : afu_preload_fail(EAGAIN);
}

/* Puts as much as fits at once; at least a page does, after pipe_wait(). */
static ssize_t pipe_put(int out, void *buffer, size_t n)
{
	struct iovec iov = {.iov_base = buffer, .iov_len = n};

	return AFU_REAL(pwritev2)(out, &iov, 1, -1, RWF_NOWAIT);
}

/* A datagram's remainder that does not fit is lost, as in the kernel. */
static ssize_t message_to_pipe(int out, int in, void *buffer, size_t count)
{
	ssize_t r = afunix_read(in, buffer, at_most(count, CHUNK));

	return r > 0 ? pipe_put(out, buffer, (size_t)r) : r;
}

static ssize_t stream_to_pipe(int out, int in, void *buffer, size_t count, unsigned int flags)
{
	int dontwait = flags & SPLICE_F_NONBLOCK ? MSG_DONTWAIT : 0;
	ssize_t r = afunix_recv(in, buffer, at_most(count, CHUNK), MSG_PEEK | dontwait);

	if (r > 0)
		r = pipe_put(out, buffer, (size_t)r);
	/* Descriptors that came with the data are dropped here, since no control buffer is given. */
	if (r > 0)
		r = afunix_recv(in, buffer, (size_t)r, MSG_DONTWAIT);
	return r;
}

static ssize_t socket_to_pipe(int out, int in, size_t count, unsigned int flags)
{
	void *buffer;
	ssize_t r;

	if (pipe_wait(out, flags) < 0)
		return -1;
	buffer = buffer_new();
	if (!buffer)
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_NO_MEMORY));
	if (is_stream(in))
		r = stream_to_pipe(out, in, buffer, count, flags);
	else
		r = message_to_pipe(out, in, buffer, count);
	buffer_free(buffer);
	return r;
}

/* sendfile() to our socket: from the position given, or from the file's own and advancing it. */
static ssize_t send_file(int out, int in, off_t *offset, size_t count)
{
	off_t position = 0;
	ssize_t r;

	/* before anything is looked at, as in the kernel */
	if (offset && afu_copy(&position, offset, sizeof position))
		return afu_preload_fail(EFAULT);
	if (afu_fd_ours(in))
		return afu_preload_fail(offset ? -afu_refuse(AFU_CAUSE_POSITION) : -afu_refuse(AFU_CAUSE_MOVE_FORM));
	if (!is_open_for(in, O_RDONLY))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR));
	if (!offset) {
		position = AFU_REAL(lseek)(in, 0, SEEK_CUR);
		if (position < 0)
			return afu_preload_fail(errno == ESPIPE ? -afu_refuse(AFU_CAUSE_MOVE_FORM) : errno);
	} else if (position < 0) {
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_POSITION_NEGATIVE));
	}
	r = file_to_socket(out, in, position, count);
	position += r;
	if (r > 0 && !offset)
		AFU_REAL(lseek)(in, r, SEEK_CUR);
	/* what was sent is sent, but the caller would not know from where to go on */
	else if (r > 0 && afu_copy(offset, &position, sizeof position))
		return afu_preload_fail(EFAULT);
	return r;
}

/* sendfile() with a socket of ours on one side. */
static ssize_t send_between(int out, int in, off_t *offset, size_t count)
{
	if (afu_fd_ours(out))
		return send_file(out, in, offset, count);
	if (offset)
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_POSITION));
	if (!is_open_for(out, O_WRONLY))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR));
	if (!is_pipe(out))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_MOVE_FORM));
	return count ? socket_to_pipe(out, in, count, 0) : 0;
}

AFU_INTERPOSE(ssize_t, sendfile, int out, int in, off_t *offset, size_t count)
{
	if (afu_fd_ours(out) || afu_fd_ours(in))
		return AFU_OBSERVED(sendfile, send_between, 0, out, in, offset, count);
	return AFU_REAL(sendfile)(out, in, offset, count);
}
AFU_INTERPOSE_ALIAS(sendfile64, sendfile);

/* splice() with a socket of ours on one side, or on both. */
static ssize_t splice_between(int in, off_t *in_offset, int out, off_t *out_offset, size_t count, unsigned int flags)
{
	const unsigned int known = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
	int from = afu_fd_ours(in), to = afu_fd_ours(out);

	if (!count)
		return 0;
	if (flags & ~known || (from && to))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_MOVE_FORM));
	if (!is_open_for(from ? out : in, from ? O_WRONLY : O_RDONLY))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR));
	if (!is_pipe(from ? out : in))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_MOVE_FORM));
	if (from ? out_offset != NULL : in_offset != NULL)
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_POSITION));
	if (from ? in_offset != NULL : out_offset != NULL)
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_MOVE_FORM));
	if (from)
		return socket_to_pipe(out, in, count, flags);
	return pipe_to_socket(out, in, count, flags);
}

AFU_INTERPOSE(ssize_t, splice, int in, off_t *in_offset, int out, off_t *out_offset, size_t count,
	      unsigned int flags)
{
	if (afu_fd_ours(in) || afu_fd_ours(out))
		return AFU_OBSERVED(splice, splice_between, 0, in,
				    in_offset, out, out_offset, count, flags);
	return AFU_REAL(splice)(in, in_offset, out, out_offset, count, flags);
}

AFU_INTERPOSE(ssize_t, tee, int in, int out, size_t count, unsigned int flags)
{
	if (afu_fd_ours(in) || afu_fd_ours(out))
		return count ? afu_preload_fail(EINVAL) : 0;
	return AFU_REAL(tee)(in, out, count, flags);
}

AFU_INTERPOSE(ssize_t, vmsplice, int fd, const struct iovec *iov, size_t n, unsigned int flags)
{
	if (afu_fd_ours(fd))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR));
	return AFU_REAL(vmsplice)(fd, iov, n, flags);
}

AFU_INTERPOSE(ssize_t, copy_file_range, int in, off_t *in_offset, int out, off_t *out_offset, size_t n,
	      unsigned int flags)
{
	if (afu_fd_ours(in) || afu_fd_ours(out))
		return afu_preload_fail(-afu_refuse(AFU_CAUSE_MOVE_FORM));
	return AFU_REAL(copy_file_range)(in, in_offset, out, out_offset, n, flags);
}
