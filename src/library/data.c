/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The send and receive families: arguments, patience, and the error.
 *
 * A call first tries inside a critical section, without waiting; that is the whole
 * of it between busy peers.  If it has to wait, it takes the view into use and
 * goes on outside.
 */
#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "library/address.h"
#include "library/domain.h"
#include "library/table.h"
#include "library/view.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define VECTOR_MAX 1024
#define VECTOR_STACK 16
#define COMPAT_FLAG 0x80000000u
#define OPTMEM_MAX 131072
#define NAME_MAX_BYTES 128

struct transfer {
	const struct iovec *iov;
	size_t n;
	size_t length; /* of all buffers, bytes */
	int flags;
};

static struct afu_patience patience(const struct afu_sock *s, struct afu_thread *th, int flags, int64_t timeout)
{
	struct afu_patience p = {
		.nonblocking = (flags & MSG_DONTWAIT) || timeout == 0 ||
			       (atomic_load_explicit(&s->ep->status_flags, memory_order_relaxed) & O_NONBLOCK),
		/* relaxed: a flag by itself */
		.deadline = AFU_NEVER,
		.timed = timeout != AFU_NEVER,
		.sig_seq = atomic_load_explicit(&th->sig_seq, memory_order_relaxed), /* this thread's own */
	};

	if (__builtin_expect(p.timed && !p.nonblocking, 0))
		p.deadline = afu_clock_deadline(timeout);
	return p;
}

/* The place in the buffers after done bytes. */
static struct afu_iter iter_at(const struct transfer *t, size_t done)
{
	struct afu_iter it = { t->iov, t->n, 0 };

	while (it.n && done >= it.iov->iov_len) {
		done -= it.iov->iov_len;
		it.iov++;
		it.n--;
	}
	it.off = it.n ? done : 0;
	return it;
}

static int send_state(const struct afu_sock *s, const struct transfer *t, int addressed)
{
	if (t->flags & MSG_OOB)
		return afu_refuse(AFU_CAUSE_OOB_NOT_YET);
	if (addressed)
		return afu_refuse(s->state == AFU_CONNECTED ? AFU_CAUSE_SEND_ADDRESS_CONNECTED : AFU_CAUSE_SEND_ADDRESS);
	if (s->state != AFU_CONNECTED)
		return afu_refuse(AFU_CAUSE_NOT_CONNECTED);
	return 0;
}

static void raise_sigpipe(const struct transfer *t)
{
	if (!(t->flags & MSG_NOSIGNAL))
		afu_sys(SYS_tgkill, afu_sys(SYS_getpid), afu_sys(SYS_gettid), SIGPIPE);
}

static ssize_t do_send(int fd, const struct transfer *t, int addressed)
{
	struct afu_thread *th = afu_thread();
	struct afu_patience p, impatient;
	struct afu_sock *s;
	struct afu_iter it = { t->iov, t->n, 0 };
	ssize_t n, more;
	int err, sigpipe = 0;

	s = afu_view_enter(th, fd, &err);
	if (__builtin_expect(!s, 0))
		return err ? err : afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR);
	th->sig_norestart = 0;
	err = send_state(s, t, addressed);
	if (__builtin_expect(err, 0)) {
		afu_view_leave(th);
		return err;
	}
	p = patience(s, th, t->flags, s->ep->sndtimeo_ns);
	impatient = p;
	impatient.nonblocking = 1;
	n = afu_stream_send(s, th, &it, t->length, t->flags, &impatient, &sigpipe);
	if (__builtin_expect(n == (ssize_t)t->length || p.nonblocking || (n < 0 && n != -EAGAIN), 1)) {
		afu_view_leave(th);
		if (sigpipe)
			raise_sigpipe(t);
		return n;
	}
	afu_view_get(s);
	afu_view_leave(th);
	n = n < 0 ? 0 : n;
	p.timed |= n > 0;
	it = iter_at(t, (size_t)n);
	more = afu_stream_send(s, th, &it, t->length - (size_t)n, t->flags, &p, &sigpipe);
	afu_view_put(s);
	/* shut while it was under way: an error without the signal */
	if (more < 0)
		return n ? n : more;
	return n + more;
}

static ssize_t do_recv(int fd, const struct transfer *t)
{
	struct afu_thread *th = afu_thread();
	struct afu_patience p, impatient;
	struct afu_sock *s;
	struct afu_iter it = { t->iov, t->n, 0 };
	size_t target;
	ssize_t n, more;
	int err;

	s = afu_view_enter(th, fd, &err);
	if (__builtin_expect(!s, 0))
		return err ? err : afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR);
	th->sig_norestart = 0;
	if (__builtin_expect(s->state != AFU_CONNECTED, 0)) {
		afu_view_leave(th);
		return afu_refuse(AFU_CAUSE_NOT_CONNECTED_RECV);
	}
	p = patience(s, th, t->flags, s->ep->rcvtimeo_ns);
	impatient = p;
	impatient.nonblocking = 1;
	target = t->flags & MSG_WAITALL ? t->length : s->ep->rcvlowat < t->length ? s->ep->rcvlowat : t->length;
	if (p.nonblocking || (t->flags & MSG_OOB) || afu_ring_ready(&s->in, &s->ep->rx)) {
		n = afu_stream_recv(s, th, &it, t->length, t->flags, &impatient);
		if (__builtin_expect(n >= (ssize_t)target || p.nonblocking || (n >= 0 && (t->flags & MSG_PEEK)) ||
					     (n < 0 && n != -EAGAIN), 1)) {
			afu_view_leave(th);
			return n;
		}
	} else {
		n = 0;
	}
	afu_view_get(s);
	afu_view_leave(th);
	n = n < 0 ? 0 : n;
	p.timed |= n > 0;
	it = iter_at(t, (size_t)n);
	more = afu_stream_recv(s, th, &it, t->length - (size_t)n, t->flags, &p);
	afu_view_put(s);
	if (more < 0)
		return n ? n : more;
	return n + more;
}

static ssize_t send_one(int fd, const void *buf, size_t n, int flags, int addressed)
{
	struct iovec iov = { (void *)(uintptr_t)buf, n > SSIZE_MAX ? SSIZE_MAX : n };
	struct transfer t = { &iov, 1, iov.iov_len, flags };

	return do_send(fd, &t, addressed);
}

static ssize_t recv_one(int fd, void *buf, size_t n, int flags)
{
	struct iovec iov = { buf, n > SSIZE_MAX ? SSIZE_MAX : n };
	struct transfer t = { &iov, 1, iov.iov_len, flags };

	return do_recv(fd, &t);
}

ssize_t afunix_write(int fd, const void *buf, size_t n)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_write, fd, buf, n));
	return afu_return(send_one(fd, buf, n, 0, 0));
}

ssize_t afunix_read(int fd, void *buf, size_t n)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_read, fd, buf, n));
	if (!n)
		return 0;
	return afu_return(recv_one(fd, buf, n, 0));
}

ssize_t afunix_send(int fd, const void *buf, size_t n, int flags)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_sendto, fd, buf, n, flags, NULL, 0));
	return afu_return(send_one(fd, buf, n, flags, 0));
}

ssize_t afunix_recv(int fd, void *buf, size_t n, int flags)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_recvfrom, fd, buf, n, flags, NULL, NULL));
	return afu_return(recv_one(fd, buf, n, flags));
}

ssize_t afunix_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	struct afu_name name;
	int err;

	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_sendto, fd, buf, n, flags, addr, len));
	if (addr) {
		err = afu_name_read(&name, addr, len);
		if (err)
			return afu_return(err);
	}
	return afu_return(send_one(fd, buf, n, flags, addr && len));
}

/* The sender's name, which on a stream is the peer's; none at the end of the data, or if it has none. */
static int sender_name(int fd, ssize_t got, struct sockaddr *addr, socklen_t *len)
{
	struct afu_request req = { .op = AFU_OP_NAME, .arg = { 1 } };
	struct afu_thread *th = afu_thread();
	struct afu_reply reply = { .length = 0 };
	static const socklen_t none;
	struct afu_sock *s;
	int fds[AFU_MESSAGE_FDS], err;
	unsigned int n;

	s = got > 0 ? afu_view_enter(th, fd, &err) : NULL;
	if (s) {
		req.socket = s->id;
		afu_view_leave(th);
		if (afu_domain_call(&req, NULL, 0, &reply, fds, &n) < 0)
			reply.length = 0;
	}
	if (!reply.length)
		return afu_copy(len, &none, sizeof none);
	return afu_name_write(reply.data, reply.length, addr, len);
}

ssize_t afunix_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	ssize_t got;

	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_recvfrom, fd, buf, n, flags, addr, len));
	got = recv_one(fd, buf, n, flags);
	if (got >= 0 && addr) {
		int err = sender_name(fd, got, addr, len);

		if (err)
			got = afu_refuse(AFU_CAUSE_BAD_POINTER);
	}
	return afu_return(got);
}

/* Checks the application's vector and copies it; to has room for VECTOR_MAX. */
static int read_vector(struct iovec *to, const struct iovec *user, size_t n, struct transfer *t)
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
	struct transfer t = { 0 };
	int err;

	if (n < 0 || n > VECTOR_MAX)
		return afu_refuse(AFU_CAUSE_VECTOR_COUNT);
	err = read_vector(iov, user, (size_t)n, &t);
	if (err)
		return err;
	if (writing)
		return do_send(fd, &t, 0);
	return t.length ? do_recv(fd, &t) : 0;
}

ssize_t afunix_readv(int fd, const struct iovec *iov, int n)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_readv, fd, iov, n));
	return afu_return(vectored(fd, iov, n, 0));
}

ssize_t afunix_writev(int fd, const struct iovec *iov, int n)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_writev, fd, iov, n));
	return afu_return(vectored(fd, iov, n, 1));
}

/* Control messages: this version sends none, but says of each what is wrong with it. */
static int check_control(const struct msghdr *msg)
{
	struct cmsghdr c;
	size_t at = 0;

	if (msg->msg_controllen > INT_MAX || msg->msg_controllen >= OPTMEM_MAX)
		return afu_refuse(AFU_CAUSE_ANCILLARY_SIZE);
	if (!msg->msg_control || msg->msg_controllen < sizeof(struct cmsghdr))
		return 0;
	while (msg->msg_controllen - at >= sizeof c) {
		size_t left = msg->msg_controllen - at;

		if (afu_copy(&c, (const char *)msg->msg_control + at, sizeof c))
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
		if (c.cmsg_len < sizeof c || c.cmsg_len > left)
			return afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_CREDENTIALS)
			return afu_refuse(c.cmsg_len == CMSG_LEN(sizeof(struct ucred)) ? AFU_CAUSE_ANCILLARY_NOT_YET
										     : AFU_CAUSE_ANCILLARY_FORM);
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_type != SCM_RIGHTS)
			return afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_len >= CMSG_LEN(sizeof(int)))
			return afu_refuse(AFU_CAUSE_ANCILLARY_NOT_YET);
		if (CMSG_ALIGN(c.cmsg_len) >= left)
			break;
		at += CMSG_ALIGN(c.cmsg_len);
	}
	return 0;
}

static int read_header(struct msghdr *to, const struct msghdr *user, int flags)
{
	if ((unsigned int)flags & COMPAT_FLAG)
		return afu_refuse(AFU_CAUSE_MESSAGE_FLAGS);
	if (afu_copy(to, user, sizeof *to))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (to->msg_name && (int)to->msg_namelen < 0)
		return afu_refuse(AFU_CAUSE_NAME_LENGTH);
	if (to->msg_iovlen > VECTOR_MAX)
		return afu_refuse(AFU_CAUSE_VECTOR_LENGTH);
	return 0;
}

static ssize_t do_sendmsg(int fd, const struct msghdr *user, int flags)
{
	struct iovec iov[VECTOR_MAX];
	struct transfer t = { .flags = flags };
	struct afu_name name;
	struct msghdr msg;
	int err;

	err = read_header(&msg, user, flags);
	if (!err)
		err = read_vector(iov, msg.msg_iov, msg.msg_iovlen, &t);
	if (!err && msg.msg_name && msg.msg_namelen)
		err = afu_name_read(&name, msg.msg_name,
				    msg.msg_namelen > NAME_MAX_BYTES ? NAME_MAX_BYTES : msg.msg_namelen);
	if (!err)
		err = check_control(&msg);
	return err ? err : do_send(fd, &t, msg.msg_name && msg.msg_namelen);
}

static ssize_t do_recvmsg(int fd, struct msghdr *user, int flags)
{
	struct iovec iov[VECTOR_MAX];
	struct transfer t = { .flags = flags };
	struct msghdr msg;
	ssize_t got;
	int err;

	err = read_header(&msg, user, flags);
	if (!err)
		err = read_vector(iov, msg.msg_iov, msg.msg_iovlen, &t);
	if (err)
		return err;
	got = do_recv(fd, &t);
	if (got < 0)
		return got;
	if (msg.msg_name) {
		err = sender_name(fd, got, msg.msg_name, &msg.msg_namelen);
		if (err)
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
	} else {
		msg.msg_namelen = 0;
	}
	msg.msg_controllen = 0;
	msg.msg_flags = flags & MSG_CMSG_CLOEXEC;
	if (afu_copy(&user->msg_namelen, &msg.msg_namelen, sizeof msg.msg_namelen) ||
	    afu_copy(&user->msg_controllen, &msg.msg_controllen, sizeof msg.msg_controllen) ||
	    afu_copy(&user->msg_flags, &msg.msg_flags, sizeof msg.msg_flags))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	return got;
}

ssize_t afunix_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_sendmsg, fd, msg, flags));
	return afu_return(do_sendmsg(fd, msg, flags));
}

ssize_t afunix_recvmsg(int fd, struct msghdr *msg, int flags)
{
	if (!afu_fd_ours(fd))
		return afu_return(afu_sys(SYS_recvmsg, fd, msg, flags));
	return afu_return(do_recvmsg(fd, msg, flags));
}

int afunix_sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	unsigned int done;
	ssize_t sent = 0;

	if (!afu_fd_ours(fd))
		return (int)afu_return(afu_sys(SYS_sendmmsg, fd, msgs, n, flags));
	if ((unsigned int)flags & COMPAT_FLAG)
		return (int)afu_return(afu_refuse(AFU_CAUSE_MESSAGE_FLAGS));
	for (done = 0; done < n && done < VECTOR_MAX; done++) {
		sent = do_sendmsg(fd, &msgs[done].msg_hdr, flags);
		if (sent < 0)
			break;
		msgs[done].msg_len = (unsigned int)sent;
	}
	return (int)afu_return(done || sent >= 0 ? (long)done : sent);
}

int afunix_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags, struct timespec *timeout)
{
	struct timespec left;
	int64_t deadline = AFU_NEVER;
	unsigned int done;
	ssize_t got = 0;

	if (!afu_fd_ours(fd))
		return (int)afu_return(afu_sys(SYS_recvmmsg, fd, msgs, n, flags, timeout));
	if ((unsigned int)flags & COMPAT_FLAG)
		return (int)afu_return(afu_refuse(AFU_CAUSE_MESSAGE_FLAGS));
	if (timeout) {
		if (afu_copy(&left, timeout, sizeof left))
			return (int)afu_return(afu_refuse(AFU_CAUSE_BAD_POINTER));
		if (left.tv_sec < 0 || left.tv_nsec < 0 || left.tv_nsec >= 1000000000)
			return (int)afu_return(afu_refuse(AFU_CAUSE_POLL_COUNT));
		deadline = afu_clock_deadline(left.tv_sec * 1000000000 + left.tv_nsec);
	}
	for (done = 0; done < n; done++) {
		got = do_recvmsg(fd, &msgs[done].msg_hdr, flags & ~MSG_WAITFORONE);
		if (got < 0)
			break;
		msgs[done].msg_len = (unsigned int)got;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		/* the kernel looks at the time only after each message */
		if (deadline != AFU_NEVER && afu_clock_ns() >= deadline) {
			done++;
			break;
		}
	}
	if (timeout) {
		int64_t rest = deadline - afu_clock_ns();

		left = afu_clock_timespec(rest > 0 ? rest : 0);
		afu_copy(timeout, &left, sizeof left);
	}
	return (int)afu_return(done || got >= 0 ? (long)done : got);
}
