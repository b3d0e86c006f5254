/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Names that are the kernel's too.
 *
 * Who binds a name that is to be exposed makes a kernel socket of that name in its own process,
 * so that permissions and credentials are the kernel's business.  The broker keeps it for as long as
 * the socket lives, hands it to whoever holds the socket, and tells them when something came.  It
 * never takes anything from it: the holders do, and so the kernel's own backlog and queue count.
 *
 * The descriptor is a client's.  Nothing is done with it here that could wait, whatever it is.
 */
#include "broker/state.h"

#include "base/closing.h"
#include "base/memory.h"
#include "base/sys.h"
#include "channel/waiter.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 64

int afu_broker_expose(struct afu_broker *b, const char *globs, size_t length)
{
	if (!length || length > AFU_EXPOSED_MAX || globs[length - 1])
		return -EINVAL;
	b->globs = afu_memory_make("afunix:globs", AFU_EXPOSED_MAX);
	b->outside = (int)afu_sys(SYS_epoll_create1, EPOLL_CLOEXEC);
	if (b->globs < 0 || b->outside < 0)
		return -EMFILE;
	if (pwrite(b->globs, globs, length, 0) != (ssize_t)length)
		return -ENOMEM;
	b->globs_length = (uint32_t)length;
	return afu_memory_seal_writes(b->globs);
}

int afu_broker_outside(const struct afu_broker *b)
{
	return b->outside;
}

enum afu_cause afu_outside_globs(struct call *c)
{
	c->reply->arg[0] = c->b->globs_length;
	if (c->b->globs_length)
		afu_call_give(c, c->b->globs, 1);
	return AFU_CAUSE_NONE;
}

int afu_outside_option(int fd, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	return afu_sys(SYS_getsockopt, fd, SOL_SOCKET, name, &value, &size) < 0 ? -1 : value;
}

int afu_outside_alike(const struct bsock *s, int fd)
{
	return afu_outside_option(fd, SO_DOMAIN) == AF_UNIX && afu_outside_option(fd, SO_TYPE) == s->type;
}

enum afu_cause afu_outside_keep(struct call *c, unsigned int i)
{
	struct bsock *s = c->socket;
	int fd = c->fds[i];
	/* by edges: a socket that is not listened on yet would show its hang-up without end */
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = s->id};

	if (c->b->outside < 0 || !afu_outside_alike(s, fd))
		return AFU_CAUSE_REQUEST_FORM;
	if (afu_sys(SYS_epoll_ctl, c->b->outside, EPOLL_CTL_ADD, fd, &e) < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	c->fds[i] = -1;
	s->outside = fd;
	return AFU_CAUSE_NONE;
}

void afu_outside_refused(struct call *c)
{
	if (c->reply->cause != AFU_CAUSE_IDENTITY ||
	    (c->req->op != AFU_OP_BIND_PATH && c->req->op != AFU_OP_BIND_ABSTRACT))
		return;
	/* the socket is gone, with its process; the close may take a while, and nobody is to be received till then */
	for (unsigned int i = 0; i < c->n; i++) {
		if (c->fds[i] >= 0)
			afu_sys(SYS_shutdown, c->fds[i], SHUT_RD);
	}
}

void afu_outside_show(struct call *c, const struct bsock *s)
{
	if (s->outside < 0)
		return;
	c->reply->arg[2] |= AFU_SHOWN_OUTSIDE;
	afu_call_give(c, s->outside, 1);
}

void afu_outside_shutdown(struct afu_broker *b, const struct bsock *s, int how)
{
	if (s->outside < 0)
		return;
	/* who came before it is told of; that it is shut is no arrival */
	afu_broker_arrived(b);
	afu_sys(SYS_shutdown, s->outside, how);
}

static int nobody_waits(int fd)
{
	/* it does not wait, whatever its flags say: it is shut */
	int visitor = (int)afu_sys(SYS_accept4, fd, NULL, NULL, SOCK_CLOEXEC);

	if (visitor >= 0)
		afu_close_apart(visitor);
	return visitor < 0;
}

static int readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct timespec none = {0, 0};

	return afu_sys(SYS_ppoll, &p, 1, &none, NULL, 0) > 0 && (p.revents & POLLIN);
}

/*
 * Nobody can put anything there from now on, though others may have it open still: who is being killed closes
 * the token first.  Whether it is empty for certain, so that its close waits for nothing.  Nothing is
 * received to find out: who else receives there may be stopped in the middle, with a lock that is needed for
 * it.
 */
static int shut(const struct bsock *s)
{
	int queued = readable(s->outside), unread = -1;

	if (afu_sys(SYS_shutdown, s->outside, SHUT_RD) < 0)
		return 0;
	/* who waits at a listener is to be reset by its close, not accepted */
	if (afu_outside_option(s->outside, SO_ACCEPTCONN) > 0)
		return !queued && nobody_waits(s->outside);
	/* of packets and datagrams, one may be empty and bring something all the same */
	return s->type == SOCK_STREAM && afu_sys(SYS_ioctl, s->outside, FIONREAD, &unread) == 0 && !unread;
}

static void let_go(struct afu_broker *b, struct bsock *s, int empty)
{
	afu_sys(SYS_epoll_ctl, b->outside, EPOLL_CTL_DEL, s->outside, NULL);
	if (empty)
		afu_sys_close(s->outside);
	else
		afu_rights_close(b, s->outside);
	s->outside = -1;
}

enum afu_cause afu_outside_closing(struct call *c)
{
	c->reply->arg[0] = afu_close_under_way();
	return AFU_CAUSE_NONE;
}

void afu_outside_drop(struct afu_broker *b, struct bsock *s)
{
	if (s->outside < 0)
		return;
	let_go(b, s, shut(s));
}

enum afu_cause afu_outside_moved(struct call *c)
{
	if (c->socket->outside >= 0)
		let_go(c->b, c->socket, 0);
	return AFU_CAUSE_NONE;
}

static void arrived(struct bsock *s)
{
	uint32_t before = atomic_load(&s->events->outside);

	while (!atomic_compare_exchange_weak(&s->events->outside, &before, (before + 2) | 1))
		;
	atomic_fetch_add(&s->events->arrived, 1);
	afu_wake(&s->events->side[0], AFU_IN);
}

void afu_broker_arrived(struct afu_broker *b)
{
	struct epoll_event events[EVENTS];
	long n = afu_sys(SYS_epoll_pwait, b->outside, events, EVENTS, 0, NULL, 0);

	for (long i = 0; i < n; i++) {
		struct bsock *s;

		HASH_FIND(by_id, b->by_id, &events[i].data.u64, sizeof events[i].data.u64, s);
		/* a listener has its page of events from listen() on, which comes before its first visitor */
		if (s && s->events && !s->shut_read && (events[i].events & EPOLLIN))
			arrived(s);
	}
	afu_broker_ring_rest(b);
}
