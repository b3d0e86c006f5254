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
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

/* So long somebody may be in the middle of a call, or not have accepted yet. */
#define PATIENCE_NS INT64_C(2000000000)
#define PAUSE_NS 1000000
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* The one that has the socket's name already, or a new one. */
static int kernel_socket(struct afu_sock *s)
{
	int named = atomic_load(&s->outside) - 1;
	int fd = named >= 0 ? (int)afu_sys(SYS_fcntl, named, F_DUPFD_CLOEXEC, 0) : afu_outside_socket(s);

	if (fd >= 0)
		afu_sys(SYS_fcntl, fd, F_SETFL, atomic_load(&s->ep->status_flags));
	return fd;
}

/*
 * The kernel socket takes the place of the number, if that is still the socket's: under the table's lock,
 * with which it is closed too.  fd < 0: it is there already.
 */
static void take_number(struct afu_sock *s, int number, int fd)
{
	int flags, taken, spare = -1;

	afu_table_lock();
	taken = afu_fd_sock(number) == s;
	if (taken) {
		flags = (int)afu_sys(SYS_fcntl, number, F_GETFD);
		if (fd >= 0) {
			/* a call that is in its middle has yet to claim descriptors: till then the socket
			 * lives */
			spare = afu_table_spare(number);
			afu_sys(SYS_dup3, fd, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		}
		afu_epoll_moved(s, number, number);
		afu_table_set(number, 0);
	}
	afu_table_unlock();
	if (taken)
		afu_view_number_gone(s, number, spare);
}

/* All numbers that this process has for s. */
static void take_numbers(struct afu_sock *s, int fd)
{
	for (unsigned int number = 0; number < afu_table_top(); number++)
		take_number(s, (int)number, fd);
	/* what was registered under numbers that are closed by now */
	afu_epoll_moved(s, -1, fd);
}

/* The broker shuts what it has when our socket is closed. */
static void take_over(const struct afu_sock *s)
{
	struct afu_request req = {.op = AFU_OP_TAKEN};
	struct afu_reply reply;

	if (atomic_load(&s->outside))
		afu_domain_ask(&req, s->id, NULL, 0, &reply);
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

/* A name that was taken for the kernel socket, until it is known that it stays. */
struct taken {
	struct sockaddr_un un;
	char aside[sizeof(struct sockaddr_un) + 32]; /* where the file is meanwhile; empty: none */
};

/* The kernel's file takes the place of the socket's, with the same owner and mode.  0 or negative errno. */
static int take_path(int fd, struct taken *name, socklen_t length, const struct stat *st)
{
	const char *path = name->un.sun_path;
	long err;

	snprintf(name->aside, sizeof name->aside, "%.*s.afunix-%ld", (int)sizeof name->un.sun_path, path,
		 afu_sys(SYS_gettid));
	err = afu_sys(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, name->aside, RENAME_NOREPLACE);
	if (err < 0) {
		name->aside[0] = 0;
		return (int)err;
	}
	err = afu_sys(SYS_bind, fd, &name->un, length);
	if (err < 0) {
		afu_sys(SYS_renameat2, AT_FDCWD, name->aside, AT_FDCWD, path, RENAME_NOREPLACE);
		name->aside[0] = 0;
		return (int)err;
	}
	afu_sys(SYS_fchownat, AT_FDCWD, path, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
	afu_sys(SYS_fchmodat, AT_FDCWD, path, st->st_mode & 07777);
	return 0;
}

/* The file that was there goes, or comes back if nothing has come of it. */
static void settle(const struct taken *name, int done)
{
	if (!name->aside[0])
		return;
	if (done)
		afu_sys(SYS_unlinkat, AT_FDCWD, name->aside, 0);
	else
		afu_sys(SYS_renameat2, AT_FDCWD, name->aside, AT_FDCWD, name->un.sun_path, 0);
}

/* Gives the kernel socket the name that the broker told.  0 or negative errno. */
static int take_name(int fd, const struct afu_reply *told, struct taken *name)
{
	struct sockaddr_un *un = &name->un;
	struct stat st;

	if (!told->length)
		return 0;
	if (told->length <= offsetof(struct sockaddr_un, sun_path) || told->length > sizeof *un)
		return -EINVAL;
	memcpy(un, told->data, told->length);
	if (!un->sun_path[0])
		return (int)afu_sys(SYS_bind, fd, un, told->length);
	/* the path may lead elsewhere from here, or by now */
	if (!memchr(un->sun_path, 0, sizeof un->sun_path) ||
	    afu_sys(SYS_newfstatat, AT_FDCWD, un->sun_path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_ino != told->arg[2] ||
	    ((uint64_t)major(st.st_dev) << 32 | minor(st.st_dev)) != told->socket)
		return -ENOENT;
	return take_path(fd, name, told->length, &st);
}

/* Asks until nobody is in the middle of anything.  0 or negative errno. */
static int ask_to_move(const struct afu_sock *s, int fd, int64_t deadline, struct afu_reply *reply)
{
	struct timespec pause = {0, PAUSE_NS};

	for (;;) {
		struct afu_request req = {.op = AFU_OP_MOVE};
		int err = afu_domain_ask(&req, s->id, &fd, fd >= 0, reply);

		if (err || reply->arg[0] != AFU_MOVE_LATER || afu_clock_ns() >= deadline)
			return err;
		afu_sys(SYS_ppoll, NULL, 0, &pause, NULL, 0);
	}
}

/*
 * A listener: a kernel socket with its options and name takes its place.  The exposed one is such a socket
 * already.  Somebody may have connected since the broker was asked: he is accepted first, too.  The result as
 * of the request without it.
 */
static int leave_listener(struct afu_sock *s, const struct afu_reply *told, int64_t deadline,
			  struct afu_reply *reply)
{
	int exposed = atomic_load(&s->outside) != 0, fd = kernel_socket(s), err = fd < 0 ? fd : 0;
	struct taken name = {0};

	if (!err && !exposed)
		err = take_name(fd, told, &name);
	if (!err && !exposed)
		err = (int)afu_sys(SYS_listen, fd, told->arg[1] > INT_MAX ? INT_MAX : (int)told->arg[1]);
	if (!err)
		err = ask_to_move(s, fd, deadline, reply);
	settle(&name, !err && reply->arg[0] == AFU_MOVE_DONE);
	if (fd >= 0)
		afu_sys_close(fd);
	return err;
}

void afu_moved_rest(struct afu_sock *s)
{
	for (int number = 0; number < (int)afu_table_top(); number++) {
		struct afu_request req = {.op = AFU_OP_SHOW};
		int got[AFU_MESSAGE_FDS], moved;
		struct afu_reply reply;
		unsigned int n;

		if (afu_fd_sock(number) != s)
			continue;
		moved = afu_domain_call(&req, &number, 1, &reply, got, &n) == 0 &&
			reply.arg[0] == AFU_MOVED && n == 2;
		take_number(s, number, moved ? got[1] : -1);
		while (n)
			afu_sys_close(got[--n]);
	}
}

void afu_moved_leave(int fd)
{
	struct afu_thread *th = afu_thread();
	int64_t deadline = afu_clock_deadline(PATIENCE_NS);
	struct afu_reply reply;
	struct afu_sock *s;
	int err;

	s = afu_view_enter(th, fd, &err);
	if (!s)
		return;
	afu_view_get(s);
	afu_view_leave(th);
	err = ask_to_move(s, -1, deadline, &reply);
	if (!err && reply.arg[0] == AFU_MOVE_LISTENER) {
		struct afu_reply told = reply;

		err = leave_listener(s, &told, deadline, &reply);
	}
	if (!err && reply.arg[0] == AFU_MOVE_DONE)
		afu_view_renew(s);
	afu_view_put(s);
}

/* Whether descriptors travel through it at all. */
static int is_local(int fd)
{
	int domain;
	socklen_t len = sizeof domain;

	return afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* The descriptors of one control message. */
static void leave_all(int carrier, const char *at, size_t bytes)
{
	for (size_t i = 0; i + sizeof(int) <= bytes; i += sizeof(int)) {
		int fd;

		if (afu_copy(&fd, at + i, sizeof fd))
			return;
		if (afu_fd_ours(fd) && is_local(carrier))
			afu_moved_leave(fd);
	}
}

void afu_moved_message(int fd, const struct msghdr *user)
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
			leave_all(fd, here + CMSG_LEN(0), c.cmsg_len - CMSG_LEN(0));
		at += CMSG_ALIGN(c.cmsg_len);
	}
}
