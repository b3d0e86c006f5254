/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Making sockets, giving them names, and taking what comes to those.
 */
#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/memory.h"
#include "library/address.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/expose.h"
#include "library/holder.h"
#include "library/outside.h"
#include "library/table.h"
#include "library/transfer.h"
#include "library/view.h"

#include <fcntl.h>
#include <string.h>

static void close_all(int *fds, unsigned int n)
{
	while (n)
		afu_sys_close(fds[--n]);
}

/* Whether the process has n free numbers: asked before anything else is done, as in the kernel. */
static int numbers_free(int n)
{
	int fd = (int)afu_sys(SYS_epoll_create1, EPOLL_CLOEXEC), more;

	if (fd == -EMFILE)
		return 0;
	more = n == 1 || fd < 0 || numbers_free(n - 1);
	if (fd >= 0)
		afu_sys_close(fd);
	return more;
}

/* A reply's descriptors may come beyond the limit, where none may be that is for the application. */
static int is_beyond(int fd)
{
	return (rlim_t)fd >= afu_limit_soft();
}

/* Makes a token that a reply brought into a socket of this process. */
static int adopt(int token, int endpoint, int channel, uint64_t id, uint32_t state, uint32_t side, int type,
		 int flags)
{
	struct afu_sock *s;
	int err;

	if (is_beyond(token))
		return afu_refuse(AFU_CAUSE_NO_DESCRIPTOR);
	s = afu_view_new(id, type);
	if (!s)
		return afu_refuse(AFU_CAUSE_NO_MEMORY);
	err = afu_view_map(s, endpoint, channel, state, side);
	if (err) {
		afu_view_free(s);
		return afu_refuse_as(AFU_CAUSE_NO_MEMORY, -err, NULL);
	}
	afu_view_settle(s);
	if (flags & SOCK_NONBLOCK)
		atomic_store(&s->ep->status_flags, O_NONBLOCK);
	if (!(flags & SOCK_CLOEXEC))
		afu_sys(SYS_fcntl, token, F_SETFD, 0);
	afu_fd_forget(token);
	afu_view_number(s, token);
	return 0;
}

static int check_type(int type, int protocol)
{
	int base = type & 0xf;

	if (protocol && protocol != PF_UNIX)
		return afu_refuse(AFU_CAUSE_PROTOCOL);
	if (base != SOCK_STREAM && base != SOCK_DGRAM && base != SOCK_RAW && base != SOCK_SEQPACKET)
		return afu_refuse(AFU_CAUSE_SOCKET_TYPE);
	return 0;
}

/* SOCK_RAW is another word for datagrams. */
static int type_of(int type)
{
	return (type & 0xf) == SOCK_RAW ? SOCK_DGRAM : type & 0xf;
}

static int check_flags(int type)
{
	if ((type & ~(0xf | SOCK_CLOEXEC | SOCK_NONBLOCK)) || (type & 0xf) >= 11)
		return afu_refuse(AFU_CAUSE_TYPE_FLAGS);
	return 0;
}

int afunix_socket(int family, int type, int protocol)
{
	struct afu_request req = {.op = AFU_OP_SOCKET, .arg = {(uint64_t)type_of(type)}};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err = afu_domain_start();
	unsigned int n;

	if (err)
		return (int)afu_return(err);
	if (family != AF_UNIX) {
		int fd = (int)afu_sys(SYS_socket, family, type, protocol);

		if (fd >= 0)
			afu_fd_forget(fd);
		return (int)afu_return(fd);
	}
	err = check_flags(type);
	if (!err)
		err = check_type(type, protocol);
	if (!err)
		err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return (int)afu_return(err);
	err = adopt(got[0], got[1], n > 2 ? got[2] : -1, reply.socket, AFU_UNCONNECTED, 0, type_of(type),
		    type);
	close_all(got + 1, n - 1);
	if (err)
		afu_sys_close(got[0]);
	return (int)afu_return(err ? err : got[0]);
}

int afunix_socketpair(int family, int type, int protocol, int sv[2])
{
	struct afu_request req = {.op = AFU_OP_PAIR, .arg = {(uint64_t)type_of(type)}};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err = afu_domain_start();
	unsigned int n;

	if (err)
		return (int)afu_return(err);
	if (family != AF_UNIX) {
		err = (int)afu_sys(SYS_socketpair, family, type, protocol, sv);
		if (!err) {
			afu_fd_forget(sv[0]);
			afu_fd_forget(sv[1]);
		}
		return (int)afu_return(err);
	}
	err = check_flags(type);
	if (!err && !numbers_free(2))
		err = afu_refuse(AFU_CAUSE_NO_DESCRIPTOR);
	if (!err && afu_copy(got, sv, sizeof(int[2])))
		err = afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (!err)
		err = check_type(type, protocol);
	if (!err)
		err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return (int)afu_return(err);
	err = adopt(got[0], got[2], got[4], reply.socket, AFU_CONNECTED, 0, type_of(type), type);
	if (!err) /* datagrams have a page of news each, and on it the holders are side 0 */
		err = adopt(got[1], got[3], got[n - 1], reply.arg[0], AFU_CONNECTED, n == 5, type_of(type),
			    type);
	close_all(got + 2, n - 2);
	if (!err && afu_copy(sv, got, sizeof(int[2])))
		err = afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (err) {
		afunix_close(got[0]);
		afunix_close(got[1]);
	}
	return (int)afu_return(err);
}

/* What can be said of the socket without keeping the view. */
struct known {
	uint64_t id;
	uint32_t shut, mode;
};

static int peek_state(int fd, struct known *to)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	int err;

	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	to->id = s->id;
	to->shut = atomic_load(&s->ep->shut);
	to->mode = (s->ep->opt.mode ^ 0777) & 07777;
	afu_view_leave(th);
	return 0;
}

/* The socket file, made by the kernel in either way.  kernel: the socket that it shall lead to outside; -1. */
static int make_file(const struct afu_name *name, uint32_t mode, int kernel)
{
	if (kernel >= 0)
		return afu_expose_bind(kernel, name);
	return (int)afu_sys(SYS_mknodat, AT_FDCWD, name->un.sun_path, S_IFSOCK | mode, 0);
}

static int bind_path(uint64_t id, uint32_t mode, int kernel, struct afu_name *name)
{
	struct afu_request req = {.op = AFU_OP_BIND_BEGIN};
	struct afu_reply reply;
	int err, fds[2] = {-1, kernel};

	err = afu_domain_ask(&req, id, NULL, 0, &reply);
	if (err)
		return err;
	err = make_file(name, mode, kernel);
	if (err == -EEXIST || err == -EADDRINUSE)
		return afu_holder_refuse(name);
	if (err)
		return afu_refuse_path(-err, name->un.sun_path);
	fds[0] = afu_transfer_open_path(name->un.sun_path, O_NOFOLLOW);
	if (fds[0] < 0)
		return afu_refuse_path(-fds[0], name->un.sun_path);
	req = (struct afu_request){.op = AFU_OP_BIND_PATH, .length = name->length};
	memcpy(req.data, &name->un, name->length);
	err = afu_domain_ask(&req, id, fds, kernel >= 0 ? 2 : 1, &reply);
	afu_sys_close(fds[0]);
	if (err && err != -EADDRINUSE)
		afu_sys(SYS_unlinkat, AT_FDCWD, name->un.sun_path, 0);
	return err;
}

static int bind_abstract(uint64_t id, int kernel, const struct afu_name *name)
{
	struct afu_request req = {.op = AFU_OP_BIND_ABSTRACT, .length = name->length};
	struct afu_request own = {.op = AFU_OP_NAME, .arg = {AFU_NAME_OWN}};
	struct afu_reply reply;
	int err = 0, bound;

	if (kernel >= 0) {
		/* that the socket has a name comes before who has the one that it is to get */
		err = afu_domain_ask(&own, id, NULL, 0, &reply);
		if (!err && reply.length)
			err = afu_refuse(AFU_CAUSE_ALREADY_NAMED);
		bound = err ? 0 : afu_expose_bind(kernel, name);
		if (bound)
			err = afu_refuse_as(bound == -EADDRINUSE ? AFU_CAUSE_NAME_IN_USE : AFU_CAUSE_OUTSIDE,
					    -bound, NULL);
	}
	memcpy(req.data, &name->un, name->length);
	if (!err)
		err = afu_domain_ask(&req, id, &kernel, kernel >= 0 ? 1 : 0, &reply);
	return err ? afu_holder_name(name, err) : 0;
}

static int do_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct afu_request req = {.op = AFU_OP_BIND_ABSTRACT};
	struct afu_reply reply;
	struct afu_name name;
	struct known s;
	int err = peek_state(fd, &s), kernel;

	if (!err)
		err = afu_name_read(&name, addr, len);
	if (err)
		return err;
	if (len == sizeof(sa_family_t) && name.un.sun_family == AF_UNIX) {
		req.length = len;
		memcpy(req.data, &name.un, len);
		return afu_domain_ask(&req, s.id, NULL, 0, &reply);
	}
	err = afu_name_check(&name, len);
	if (!err)
		err = afu_expose_socket(fd, &name, &kernel);
	if (err)
		return err;
	err = name.abstract ? bind_abstract(s.id, kernel, &name) : bind_path(s.id, s.mode, kernel, &name);
	if (kernel >= 0)
		afu_close_hidden(kernel);
	return err;
}

int afunix_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)AFU_EITHER(fd, do_bind(fd, addr, len), afu_sys(SYS_bind, fd, addr, len));
}

static int do_listen(int fd, int backlog)
{
	struct afu_request req = {.op = AFU_OP_LISTEN, .arg = {(uint32_t)backlog}};
	struct afu_reply reply;
	struct known s;
	int err = peek_state(fd, &s);

	if (!err) {
		req.arg[1] = s.shut;
		err = afu_domain_ask(&req, s.id, NULL, 0, &reply);
	}
	if (!err) {
		struct afu_thread *th = afu_thread();
		struct afu_sock *view = afu_view_enter(th, fd, &err);

		err = 0;
		if (view) {
			afu_epoll_rearm(view);
			err = afu_outside_listen(view, backlog);
			afu_view_leave(th);
		}
	}
	return err;
}

int afunix_listen(int fd, int backlog)
{
	return (int)AFU_EITHER(fd, do_listen(fd, backlog), afu_sys(SYS_listen, fd, backlog));
}

static int pending(const struct afu_sock *s)
{
	return atomic_load_explicit(&s->ch->pending, memory_order_acquire) != 0;
	/* acquire: pairs with the broker's release */
}

static int connection_queued(const struct afu_sock *s)
{
	return pending(s) || afu_sock_outside(s);
}

/* The socket that keeps a listener's events: the view is in use while it sleeps. */
static int connection_waits(void *arg)
{
	const struct afu_sock *s = arg;

	return connection_queued(s) || afu_sock_stale(s) ||
	       (atomic_load_explicit(&s->own->flags, memory_order_acquire) & AFU_SIDE_RSHUT);
}

/* 0 once a connection may be there to take.  The view is in use. */
static int await_connection(struct afu_thread *th, struct afu_sock *s, struct afu_wait *w)
{
	int err;

	if (connection_queued(s))
		return 0;
	if ((atomic_load(&s->ep->status_flags) & O_NONBLOCK) || s->ep->rcvtimeo_ns == 0)
		return afu_refuse(AFU_CAUSE_ACCEPT_EMPTY);
	if (atomic_load(&s->own->flags) & AFU_SIDE_RSHUT)
		return afu_refuse(AFU_CAUSE_ACCEPT_SHUT);
	err = afu_wait(th, w);
	if (err == -EINTR)
		return afu_refuse(AFU_CAUSE_INTERRUPTED);
	if (err == -ETIMEDOUT)
		return afu_refuse(AFU_CAUSE_ACCEPT_EMPTY);
	if (err == -ENETDOWN) {
		/* nobody can ever connect again: what is left is to wait for a signal */
		int cancel = afu_cancel_open(th);

		afu_sys(SYS_ppoll, NULL, 0, NULL, NULL, 0);
		afu_cancel_shut(cancel);
		return afu_refuse(AFU_CAUSE_INTERRUPTED);
	}
	return 0;
}

/* One call of accept(). */
struct accepting {
	struct sockaddr *addr;
	socklen_t *len;
	int flags;
	int kernel; /* the connection came from outside, and is this; -1 */
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS];
};

/* Takes one that came from outside, if it is such a one's turn.  0: none. */
static int take_from_outside(struct afu_sock *s, struct accepting *a)
{
	if (__builtin_expect(!atomic_load_explicit(&s->outside, memory_order_relaxed), 1) || /* as it was born */
	    (pending(s) && !(afu_sock_outside(s) && afu_outside_first(s))))
		return 0;
	/* it may be there before the broker has told so */
	a->kernel = afu_outside_accept(s, a->addr, a->len, a->flags);
	return a->kernel == -EAGAIN ? 0 : a->kernel < 0 ? a->kernel : 1;
}

/* Takes a connection off the listener's queue.  0 or negative errno. */
static int take_connection(struct afu_thread *th, struct afu_sock *s, struct accepting *a)
{
	struct afu_request req = {.op = AFU_OP_ACCEPT, .socket = s->id};
	struct afu_wait w = {.own = s->own,
			     .bit = AFU_IN,
			     .ready = connection_waits,
			     .arg = s,
			     .deadline = afu_clock_deadline(s->ep->rcvtimeo_ns),
			     .sig_seq = atomic_load(&th->sig_seq),
			     .timed = s->ep->rcvtimeo_ns != AFU_NEVER};
	unsigned int n;
	int err;

	for (;;) {
		err = take_from_outside(s, a);
		if (err) {
			err = err < 0 ? err : 0;
			break;
		}
		a->kernel = -1;
		err = await_connection(th, s, &w);
		if (err)
			break;
		if (atomic_load(&s->outside) && !pending(s) && !(afu_side_flags(s->own) & AFU_SIDE_RSHUT))
			continue;
		err = afu_domain_call(&req, NULL, 0, &a->reply, a->got, &n);
		/* it listens no longer, but for the kernel */
		if (err && afu_sock_stale(s))
			return AFU_ELSEWHERE;
		if (err != -EAGAIN) /* else another was quicker */
			break;
	}
	/* one waiter is woken for each connection: who goes without it passes it on */
	if ((err || a->kernel >= 0) && connection_waits(s))
		afu_wake_one(s->own);
	return err;
}

/* It became a kernel socket before it was accepted.  0 or negative errno; the descriptor is the caller's. */
static int adopt_kernel(int fd, int flags)
{
	if (is_beyond(fd))
		return afu_refuse(AFU_CAUSE_NO_DESCRIPTOR);
	afu_fd_forget(fd);
	afu_sys(SYS_fcntl, fd, F_SETFD, flags & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
	if (flags & SOCK_NONBLOCK)
		afu_sys(SYS_fcntl, fd, F_SETFL, O_NONBLOCK);
	return 0;
}

static int do_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct afu_thread *th = afu_thread();
	struct accepting a = {.addr = addr, .len = len, .flags = flags};
	struct afu_sock *s;
	int err, type;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return afu_refuse(AFU_CAUSE_TYPE_FLAGS);
	if (!numbers_free(1))
		return afu_refuse(AFU_CAUSE_NO_DESCRIPTOR);
	afu_call_begin(th);
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	th->sig_norestart = 0;
	if (s->type == SOCK_DGRAM)
		err = afu_refuse(AFU_CAUSE_LISTEN_TYPE);
	else if (s->state != AFU_LISTENING)
		err = afu_refuse(AFU_CAUSE_ACCEPT_STATE);
	if (err) {
		afu_view_leave(th);
		return err;
	}
	afu_view_get(s);
	afu_view_leave(th);
	type = s->type;
	err = take_connection(th, s, &a);
	afu_view_put(s);
	if (err || a.kernel >= 0)
		return err ? err : a.kernel;
	if (a.reply.arg[0] == AFU_MOVED) {
		err = adopt_kernel(a.got[0], flags);
	} else {
		err = adopt(a.got[0], a.got[1], a.got[2], a.reply.socket, AFU_CONNECTED, 1, type, flags);
		close_all(a.got + 1, 2);
	}
	if (err) {
		afu_sys_close(a.got[0]);
		return err;
	}
	if (addr)
		err = afu_name_write(a.reply.data, a.reply.length, addr, len);
	if (err) {
		afunix_close(a.got[0]);
		return err;
	}
	return a.got[0];
}

static int accept_kernel(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int got = (int)afu_sys(SYS_accept4, fd, addr, len, flags);

	if (got >= 0)
		afu_fd_forget(got);
	return got;
}

int afunix_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return (int)AFU_EITHER(fd, do_accept(fd, addr, len, flags), accept_kernel(fd, addr, len, flags));
}

int afunix_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return afunix_accept4(fd, addr, len, 0);
}

static int get_name(int fd, int peer, struct sockaddr *addr, socklen_t *len)
{
	struct afu_request req = {.op = AFU_OP_NAME, .arg = {(uint64_t)peer}};
	struct afu_reply reply;
	struct known s;
	int err = peek_state(fd, &s);

	if (!err)
		err = afu_domain_ask(&req, s.id, NULL, 0, &reply);
	return err ? err : afu_name_write(reply.data, reply.length, addr, len);
}

int afunix_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)AFU_EITHER(fd, get_name(fd, 0, addr, len), afu_sys(SYS_getsockname, fd, addr, len));
}

int afunix_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)AFU_EITHER(fd, get_name(fd, 1, addr, len), afu_sys(SYS_getpeername, fd, addr, len));
}

static int do_shutdown(int fd, int how)
{
	struct afu_thread *th = afu_thread();
	struct afu_request req = {.op = AFU_OP_SHUTDOWN, .arg = {(uint64_t)(how + 1)}};
	struct afu_reply reply;
	struct afu_sock *s;
	uint64_t id;
	int err, told;

	if (how < 0 || how > 2)
		return afu_refuse(AFU_CAUSE_SHUTDOWN_HOW);
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	told = s->state == AFU_LISTENING || s->type == SOCK_DGRAM;
	id = s->id;
	if (s->state != AFU_LISTENING)
		afu_sock_shutdown(s, (uint32_t)(how + 1)); /* SHUT_RD + 1 is AFU_SIDE_RSHUT, and so on */
	if (s->state == AFU_UNCONNECTED)
		afu_epoll_rearm(s); /* there is no channel whose watchers were told */
	/* the broker may have looked before, and made it a kernel socket: then that one is shut too */
	atomic_thread_fence(memory_order_seq_cst);
	if ((s->state == AFU_CONNECTED || s->type == SOCK_DGRAM) && afu_sock_stale(s))
		err = AFU_ELSEWHERE;
	afu_view_leave(th);
	return told && !err ? afu_domain_ask(&req, id, NULL, 0, &reply) : err;
}

int afunix_shutdown(int fd, int how)
{
	return (int)AFU_EITHER(fd, do_shutdown(fd, how), afu_sys(SYS_shutdown, fd, how));
}
