/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/moved.h"

#include "base/cause.h"
#include "base/clock.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/option.h"
#include "library/outside.h"
#include "library/view.h"

#include <fcntl.h>

/* So long somebody may be in the middle of a call, or not have accepted yet. */
#define PATIENCE_NS INT64_C(2000000000)
#define PAUSE_NS 1000000

/* The one that has the socket's name already, or a new one. */
static int kernel_socket(struct afu_sock *s)
{
	int named = atomic_load(&s->outside) - 1;
	int fd = named >= 0 ? (int)afu_sys(SYS_fcntl, named, F_DUPFD_CLOEXEC, 0) : afu_outside_socket(s);

	if (fd >= 0)
		afu_sys(SYS_fcntl, fd, F_SETFL, atomic_load(&s->ep->status_flags));
	return fd;
}

/* The kernel socket takes the place of all numbers that this process has for s. */
static void take_numbers(struct afu_sock *s, int fd)
{
	for (unsigned int number = 0; number < afu_table_top(); number++) {
		int flags;

		if (afu_fd_sock((int)number) != s)
			continue;
		flags = (int)afu_sys(SYS_fcntl, number, F_GETFD);
		afu_sys(SYS_dup3, fd, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		afu_epoll_moved(s, (int)number, (int)number);
		afu_fd_forget((int)number);
	}
	/* what was registered under numbers that are closed by now */
	afu_epoll_moved(s, -1, fd);
}

/* The broker shuts what it has when our socket is closed. */
static void take_over(const struct afu_sock *s)
{
	struct afu_request req = {.op = AFU_OP_TAKEN, .socket = s->id};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS];
	unsigned int n;

	if (atomic_load(&s->outside))
		afu_domain_call(&req, NULL, 0, &reply, got, &n);
}

int afu_moved_connect(struct afu_sock *s, const struct sockaddr *addr, socklen_t len)
{
	int fd = kernel_socket(s);
	long err;

	if (fd < 0)
		return fd;
	err = afu_sys(SYS_connect, fd, addr, len);
	if (err < 0) {
		/* it goes on as the one that it may have been */
		afu_sys(SYS_fcntl, fd, F_SETFL, s->type == SOCK_DGRAM ? 0 : O_NONBLOCK);
		afu_sys_close(fd);
		/* nobody there either: the broker's refusal says more */
		return err == -ECONNREFUSED ? (int)err : afu_refuse_as(AFU_CAUSE_OUTSIDE, (int)-err, NULL);
	}
	take_over(s);
	take_numbers(s, fd);
	afu_sys_close(fd);
	return 0;
}

/* Signals for readiness go on as they were: the owner stands at the token. */
static void keep_signals(const struct afu_sock *s, int fd)
{
	struct f_owner_ex owner;

	if (afu_sys(SYS_fcntl, s->fd, F_GETOWN_EX, &owner) < 0 || !owner.pid)
		return;
	afu_sys(SYS_fcntl, fd, F_SETOWN_EX, &owner);
	afu_sys(SYS_fcntl, fd, F_SETSIG, afu_sys(SYS_fcntl, s->fd, F_GETSIG));
}

void afu_moved_adopt(struct afu_sock *s, int fd, int first)
{
	if (first) {
		afu_option_replay(s, fd);
		keep_signals(s, fd);
		afu_sys(SYS_fcntl, fd, F_SETFL, atomic_load(&s->ep->status_flags));
	}
	s->state = AFU_MOVED;
	take_numbers(s, fd);
	afu_domain_sync();
}

void afu_moved_leave(int fd)
{
	struct afu_request req = {.op = AFU_OP_MOVE};
	struct afu_thread *th = afu_thread();
	int64_t deadline = afu_clock_deadline(PATIENCE_NS);
	int got[AFU_MESSAGE_FDS], err;
	struct timespec pause = {0, PAUSE_NS};
	struct afu_reply reply;
	struct afu_sock *s;
	unsigned int n;

	s = afu_view_enter(th, fd, &err);
	if (!s)
		return;
	req.socket = s->id;
	afu_view_get(s);
	afu_view_leave(th);
	for (;;) {
		err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
		if (err || reply.arg[0] != AFU_MOVE_LATER || afu_clock_ns() >= deadline)
			break;
		afu_sys(SYS_ppoll, NULL, 0, &pause, NULL, 0);
	}
	if (!err && reply.arg[0] == AFU_MOVE_DONE)
		afu_view_renew(s);
	afu_view_put(s);
}

/* The descriptors of one control message. */
static void leave_all(const char *at, size_t bytes)
{
	for (size_t i = 0; i + sizeof(int) <= bytes; i += sizeof(int)) {
		int fd;

		if (afu_copy(&fd, at + i, sizeof fd))
			return;
		if (afu_fd_ours(fd))
			afu_moved_leave(fd);
	}
}

void afu_moved_message(const struct msghdr *user)
{
	struct msghdr msg;
	struct cmsghdr c;
	size_t at = 0;

	/* what is wrong with it the kernel says */
	if (afu_copy(&msg, user, sizeof msg))
		return;
	while (msg.msg_control && msg.msg_controllen >= sizeof c && at <= msg.msg_controllen - sizeof c) {
		const char *here = (const char *)msg.msg_control + at;

		if (afu_copy(&c, here, sizeof c) || c.cmsg_len < sizeof c ||
		    c.cmsg_len > msg.msg_controllen - at)
			return;
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_RIGHTS)
			leave_all(here + CMSG_LEN(0), c.cmsg_len - CMSG_LEN(0));
		at += CMSG_ALIGN(c.cmsg_len);
	}
}
