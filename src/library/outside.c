/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/outside.h"

#include "base/cause.h"
#include "library/expose.h"
#include "library/moved.h"
#include "library/option.h"
#include "library/table.h"

#include <string.h>

#define SCM_PIDFD_TYPE 4

/* relaxed: it stands there since before the view showed the socket's name */
static int kernel_of(const struct afu_sock *s)
{
	return atomic_load_explicit(&s->outside, memory_order_relaxed) - 1;
}

int afu_outside_socket(const struct afu_sock *s)
{
	/* accept(2) has no flag for not waiting, as the calls that transfer datagrams have */
	int waits = s->type == SOCK_DGRAM ? 0 : SOCK_NONBLOCK;
	int fd = (int)afu_sys(SYS_socket, AF_UNIX, s->type | SOCK_CLOEXEC | waits, 0);

	if (fd >= 0)
		afu_option_replay(s, fd);
	return fd;
}

ssize_t afu_outside_send(const struct afu_sock *s, const struct afu_transfer *t,
			 const struct afu_destination *to, const struct afu_sending *m)
{
	int named = kernel_of(s), fd = named >= 0 ? named : afu_outside_socket(s), flags = t->flags;
	struct msghdr msg = {.msg_name = (void *)(uintptr_t)&to->name.un,
			     .msg_namelen = to->length,
			     .msg_iov = (struct iovec *)(uintptr_t)t->iov,
			     .msg_iovlen = t->n,
			     .msg_control = (void *)(uintptr_t)m->control,
			     .msg_controllen = m->control_length};
	unsigned int ticks = 0;
	ssize_t n;

	if (fd < 0)
		return afu_refuse_as(AFU_CAUSE_OUTSIDE, -fd, NULL);
	if (atomic_load(&s->ep->status_flags) & O_NONBLOCK)
		flags |= MSG_DONTWAIT;
	/* what send() ignores, sendmsg() would refuse */
	afu_moved_message(fd, &msg);
	do
		n = afu_sys(SYS_sendmsg, fd, &msg, (unsigned int)flags & ~0x80000000u);
	while (n == -EPIPE && afu_expose_settles(&ticks));
	/* it may have been closed after this, and before the broker was asked */
	if (n == -EPIPE && s->type == SOCK_DGRAM)
		n = afu_sys(SYS_sendmsg, fd, &msg, (unsigned int)flags & ~0x80000000u);
	if (named < 0)
		afu_sys_close(fd);
	/* nobody there either: the broker's refusal says more */
	return n < 0 && n != -ECONNREFUSED ? afu_refuse_as(AFU_CAUSE_OUTSIDE, (int)-n,
							   to->name.abstract ? NULL : to->name.un.sun_path)
					   : n;
}

static uint32_t came(const struct afu_sock *s)
{
	return atomic_load_explicit(&s->ch->outside, memory_order_acquire);
	/* acquire: what is found at the socket is found after it was counted */
}

ssize_t afu_outside_receive(const struct afu_sock *s, const struct afu_transfer *t, struct afu_incoming *in)
{
	uint32_t seen = came(s);
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)t->iov, .msg_iovlen = t->n};
	ssize_t n;

	if (in) {
		msg.msg_name = &in->outside.name;
		msg.msg_namelen = sizeof in->outside.name;
	}
	if (in && in->msg) {
		msg.msg_control = in->msg->msg_control;
		msg.msg_controllen = in->msg->msg_controllen;
	}
	n = afu_sys(SYS_recvmsg, kernel_of(s), &msg, (unsigned int)t->flags | MSG_DONTWAIT);
	if (n == -EAGAIN)
		afu_sock_outside_empty(s, seen);
	if (n < 0)
		return n == -EAGAIN ? n : afu_refuse_as(AFU_CAUSE_OUTSIDE, (int)-n, NULL);
	if (in) {
		in->outside.came = 1;
		in->outside.length = msg.msg_namelen;
	}
	if (in && in->msg) {
		in->msg->msg_controllen = msg.msg_controllen;
		in->msg->msg_flags = msg.msg_flags;
	}
	return n;
}

void afu_outside_received(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = c->cmsg_len < CMSG_LEN(0) ? 0 : (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET ||
		    (c->cmsg_type != SCM_RIGHTS && c->cmsg_type != SCM_PIDFD_TYPE))
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (fd < 0)
				continue;
			afu_fd_forget(fd);
			afu_library_arrived(fd);
		}
	}
}

int afu_outside_accept(const struct afu_sock *s, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint32_t seen = came(s);
	int fd = (int)afu_sys(SYS_accept4, kernel_of(s), addr, len, flags);

	if (fd == -EAGAIN)
		afu_sock_outside_empty(s, seen);
	if (fd >= 0)
		afu_fd_forget(fd);
	return fd >= 0 || fd == -EAGAIN ? fd : afu_refuse_as(AFU_CAUSE_OUTSIDE, -fd, NULL);
}

int afu_outside_listen(const struct afu_sock *s, int backlog)
{
	int fd = kernel_of(s), err = fd < 0 ? 0 : (int)afu_sys(SYS_listen, fd, backlog);

	return err < 0 ? afu_refuse_as(AFU_CAUSE_OUTSIDE, -err, NULL) : 0;
}

int afu_outside_first(struct afu_sock *s)
{
	/* relaxed: turns, nothing else */
	return (int)(atomic_fetch_xor_explicit(&s->out_first, 1, memory_order_relaxed) & 1);
}
