/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The send and receive families: their arguments, in and out.
 */
#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "library/domain.h"
#include "library/moved.h"
#include "library/table.h"
#include "library/transfer.h"
#include "library/view.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#define VECTOR_MAX 1024
#define COMPAT_FLAG 0x80000000u
#define OPTMEM_MAX 131072
#define NAME_MAX_BYTES 128
#define CONTROL_SMALL 2048

static ssize_t send_one(int fd, const void *buf, size_t n, int flags, const struct afu_destination *to)
{
	struct iovec iov = {(void *)(uintptr_t)buf, n > SSIZE_MAX ? SSIZE_MAX : n};
	struct afu_transfer t = {&iov, 1, iov.iov_len, flags};

	return afu_transfer_send(fd, &t, to, NULL);
}

static ssize_t recv_one(int fd, void *buf, size_t n, int flags, struct afu_incoming *in)
{
	struct iovec iov = {buf, n > SSIZE_MAX ? SSIZE_MAX : n};
	struct afu_transfer t = {&iov, 1, iov.iov_len, flags};

	return afu_transfer_receive(fd, &t, in);
}

ssize_t afunix_write(int fd, const void *buf, size_t n)
{
	return AFU_EITHER(fd, send_one(fd, buf, n, 0, NULL), afu_sys(SYS_write, fd, buf, n));
}

ssize_t afunix_read(int fd, void *buf, size_t n)
{
	return AFU_EITHER(fd, n ? recv_one(fd, buf, n, 0, NULL) : 0, afu_sys(SYS_read, fd, buf, n));
}

ssize_t afunix_send(int fd, const void *buf, size_t n, int flags)
{
	return AFU_EITHER(fd, send_one(fd, buf, n, flags, NULL), afu_sys(SYS_sendto, fd, buf, n, flags, NULL, 0));
}

ssize_t afunix_recv(int fd, void *buf, size_t n, int flags)
{
	return AFU_EITHER(fd, recv_one(fd, buf, n, flags, NULL),
			  afu_sys(SYS_recvfrom, fd, buf, n, flags, NULL, NULL));
}

static ssize_t send_to(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	struct afu_destination to = {.length = len};
	int err = addr ? afu_name_read(&to.name, addr, len) : 0;

	return err ? err : send_one(fd, buf, n, flags, addr && len ? &to : NULL);
}

ssize_t afunix_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
		      socklen_t len)
{
	return AFU_EITHER(fd, send_to(fd, buf, n, flags, addr, len),
			  afu_sys(SYS_sendto, fd, buf, n, flags, addr, len));
}

static ssize_t recv_from(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	struct afu_incoming in;
	ssize_t got;

	if (addr)
		afu_incoming_init(&in, NULL);
	got = recv_one(fd, buf, n, flags, addr ? &in : NULL);
	if (got >= 0 && addr) {
		int err = afu_incoming_name(&in, addr, len);

		afu_incoming_end(&in);
		if (err)
			got = err;
	}
	return got;
}

ssize_t afunix_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	return AFU_EITHER(fd, recv_from(fd, buf, n, flags, addr, len),
			  afu_sys(SYS_recvfrom, fd, buf, n, flags, addr, len));
}

/* Checks the application's vector and copies it; to has room for VECTOR_MAX. */
static int read_vector(struct iovec *to, const struct iovec *user, size_t n, struct afu_transfer *t)
{
	size_t sum = 0;

	if (n && afu_copy(to, user, n * sizeof *user))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	for (size_t i = 0; i < n; i++) {
		if ((ssize_t)to[i].iov_len < 0)
			return afu_refuse(AFU_CAUSE_VECTOR_FORM);
		if (to[i].iov_len > (size_t)SSIZE_MAX - sum)
			to[i].iov_len = (size_t)SSIZE_MAX - sum;
		sum += to[i].iov_len;
	}
	t->iov = to;
	t->n = n;
	t->length = sum;
	return 0;
}

static ssize_t vectored(int fd, const struct iovec *user, int n, int writing)
{
	struct iovec iov[VECTOR_MAX];
	struct afu_transfer t = {0};
	int err;

	if (n < 0 || n > VECTOR_MAX)
		return afu_refuse(AFU_CAUSE_VECTOR_COUNT);
	err = read_vector(iov, user, (size_t)n, &t);
	if (err)
		return err;
	/* a vector of nothing stops short of the socket */
	if (writing)
		return t.length ? afu_transfer_send(fd, &t, NULL, NULL) : 0;
	return t.length ? afu_transfer_receive(fd, &t, NULL) : 0;
}

ssize_t afunix_readv(int fd, const struct iovec *iov, int n)
{
	return AFU_EITHER(fd, vectored(fd, iov, n, 0), afu_sys(SYS_readv, fd, iov, n));
}

ssize_t afunix_writev(int fd, const struct iovec *iov, int n)
{
	return AFU_EITHER(fd, vectored(fd, iov, n, 1), afu_sys(SYS_writev, fd, iov, n));
}

static int read_header(struct msghdr *to, const struct msghdr *user, int flags)
{
	if ((unsigned int)flags & COMPAT_FLAG)
		return afu_refuse(AFU_CAUSE_MESSAGE_FLAGS);
	if (afu_copy(to, user, sizeof *to))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (to->msg_name && (int)to->msg_namelen < 0)
		return afu_refuse(AFU_CAUSE_NAME_LENGTH);
	return 0;
}

/* Copies the control data; those longer than a small buffer into memory of their own. */
static int read_control(struct afu_outgoing *out, const struct msghdr *msg, char small[CONTROL_SMALL])
{
	char *to = small;

	out->length = msg->msg_controllen;
	if (out->length >= OPTMEM_MAX)
		return afu_refuse(AFU_CAUSE_ANCILLARY_SIZE);
	if (!out->length)
		return 0;
	if (out->length > CONTROL_SMALL) {
		to = afu_sys_mmap(out->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		if (afu_sys_failed(to))
			return afu_refuse(AFU_CAUSE_ANCILLARY_SIZE);
	}
	out->control = to;
	return afu_copy(to, msg->msg_control, out->length) ? afu_refuse(AFU_CAUSE_BAD_POINTER) : 0;
}

static ssize_t send_controlled(int fd, const struct afu_transfer *t, const struct afu_destination *to,
			       const struct msghdr *msg)
{
	_Alignas(struct cmsghdr) char small[CONTROL_SMALL];
	struct afu_outgoing out;
	ssize_t ret;

	afu_outgoing_init(&out);
	ret = read_control(&out, msg, small);
	out.m.control = out.control;
	out.m.control_length = out.control ? out.length : 0;
	if (!ret)
		ret = afu_transfer_send(fd, t, to,
					out.control && out.length >= sizeof(struct cmsghdr) ? &out : NULL);
	if (out.control && out.control != small)
		afu_sys_munmap((void *)(uintptr_t)out.control, out.length);
	return ret;
}

static ssize_t do_sendmsg(int fd, const struct msghdr *user, int flags)
{
	struct iovec iov[VECTOR_MAX];
	struct afu_transfer t = {.flags = flags};
	struct afu_destination to;
	struct msghdr msg;
	int err;

	err = read_header(&msg, user, flags);
	if (!err && msg.msg_name && msg.msg_namelen) {
		to.length = msg.msg_namelen > NAME_MAX_BYTES ? NAME_MAX_BYTES : msg.msg_namelen;
		err = afu_name_read(&to.name, msg.msg_name, to.length);
	}
	if (!err && msg.msg_iovlen > VECTOR_MAX)
		err = afu_refuse(AFU_CAUSE_VECTOR_LENGTH);
	if (!err)
		err = read_vector(iov, msg.msg_iov, msg.msg_iovlen, &t);
	if (err)
		return err;
	if (msg.msg_controllen)
		return send_controlled(fd, &t, msg.msg_name && msg.msg_namelen ? &to : NULL, &msg);
	return afu_transfer_send(fd, &t, msg.msg_name && msg.msg_namelen ? &to : NULL, NULL);
}

/* What a received message brings beside its bytes, into the caller's header. */
static int give_header(struct afu_incoming *in, struct msghdr *user, ssize_t got)
{
	struct msghdr *msg = in->msg;
	int err;

	afu_incoming_control(in, got);
	if (msg->msg_name) {
		err = afu_incoming_name(in, msg->msg_name, &msg->msg_namelen);
		if (err)
			return err;
	} else {
		msg->msg_namelen = 0;
	}
	if (afu_copy(&user->msg_namelen, &msg->msg_namelen, sizeof msg->msg_namelen) ||
	    afu_copy(&user->msg_controllen, &msg->msg_controllen, sizeof msg->msg_controllen) ||
	    afu_copy(&user->msg_flags, &msg->msg_flags, sizeof msg->msg_flags))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	return 0;
}

static ssize_t do_recvmsg(int fd, struct msghdr *user, int flags)
{
	struct iovec iov[VECTOR_MAX];
	struct afu_transfer t = {.flags = flags};
	struct msghdr msg;
	struct afu_incoming in;
	ssize_t got;
	int err;

	err = read_header(&msg, user, flags);
	if (!err && msg.msg_iovlen > VECTOR_MAX)
		err = afu_refuse(AFU_CAUSE_VECTOR_LENGTH);
	if (!err)
		err = read_vector(iov, msg.msg_iov, msg.msg_iovlen, &t);
	if (err)
		return err;
	afu_incoming_init(&in, &msg);
	got = afu_transfer_receive(fd, &t, &in);
	if (got < 0)
		return got;
	err = give_header(&in, user, got);
	afu_incoming_end(&in);
	return err ? err : got;
}

static ssize_t kernel_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	afu_moved_message(fd, msg);
	return afu_sys(SYS_sendmsg, fd, msg, flags);
}

ssize_t afunix_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return AFU_EITHER(fd, do_sendmsg(fd, msg, flags), kernel_sendmsg(fd, msg, flags));
}

static ssize_t kernel_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n = afu_sys(SYS_recvmsg, fd, msg, flags);

	if (n >= 0)
		afu_library_message(msg);
	return n;
}

ssize_t afunix_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return AFU_EITHER(fd, do_recvmsg(fd, msg, flags), kernel_recvmsg(fd, msg, flags));
}

static long do_sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	unsigned int done;
	ssize_t sent = 0;

	if ((unsigned int)flags & COMPAT_FLAG)
		return afu_refuse(AFU_CAUSE_MESSAGE_FLAGS);
	for (done = 0; done < n && done < VECTOR_MAX; done++) {
		sent = do_sendmsg(fd, &msgs[done].msg_hdr, flags);
		if (sent < 0)
			break;
		msgs[done].msg_len = (unsigned int)sent;
	}
	return done || sent >= 0 ? (long)done : sent;
}

static long kernel_sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	for (unsigned int i = 0; i < n && i < VECTOR_MAX; i++)
		afu_moved_message(fd, &msgs[i].msg_hdr);
	return afu_sys(SYS_sendmmsg, fd, msgs, n, flags);
}

int afunix_sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	return (int)AFU_EITHER(fd, do_sendmmsg(fd, msgs, n, flags), kernel_sendmmsg(fd, msgs, n, flags));
}

static long do_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags, struct timespec *timeout)
{
	struct timespec left;
	int64_t deadline = AFU_NEVER;
	unsigned int done;
	ssize_t got = 0;

	if ((unsigned int)flags & COMPAT_FLAG)
		return afu_refuse(AFU_CAUSE_MESSAGE_FLAGS);
	got = afu_transfer_error(fd);
	if (got)
		return got;
	if (timeout) {
		if (afu_copy(&left, timeout, sizeof left))
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
		if (left.tv_sec < 0 || left.tv_nsec < 0 || left.tv_nsec >= 1000000000)
			return afu_refuse(AFU_CAUSE_POLL_COUNT);
		deadline = afu_clock_deadline(left.tv_sec * 1000000000 + left.tv_nsec);
	}
	for (done = 0; done < n; done++) {
		got = do_recvmsg(fd, &msgs[done].msg_hdr, flags & ~MSG_WAITFORONE);
		if (got < 0)
			break;
		msgs[done].msg_len = (unsigned int)got;
		if (msgs[done].msg_hdr.msg_flags & MSG_OOB) {
			done++; /* what is out of band is told at once */
			break;
		}
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		/* the kernel looks at the time only after each message */
		if (deadline != AFU_NEVER && afu_clock_ns() >= deadline) {
			done++;
			break;
		}
	}
	/* what ended the call after a message is told with the next one */
	if (done && got < 0 && got != -EAGAIN && got != AFU_ELSEWHERE)
		afu_transfer_keep_error(fd, (int)-got);
	if (timeout) {
		int64_t rest = deadline - afu_clock_ns();

		left = afu_clock_timespec(rest > 0 ? rest : 0);
		afu_copy(timeout, &left, sizeof left);
	}
	return done || got >= 0 ? (long)done : got;
}

static long kernel_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags, struct timespec *timeout)
{
	long got = afu_sys(SYS_recvmmsg, fd, msgs, n, flags, timeout);

	for (long i = 0; i < got; i++)
		afu_library_message(&msgs[i].msg_hdr);
	return got;
}

int afunix_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags, struct timespec *timeout)
{
	return (int)AFU_EITHER(fd, do_recvmmsg(fd, msgs, n, flags, timeout),
			       kernel_recvmmsg(fd, msgs, n, flags, timeout));
}
