/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * connect(): to somebody in the domain, waiting for room in a backlog if need be, or
 * beyond it to the kernel.
 */
#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/memory.h"
#include "library/address.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/flows.h"
#include "library/holder.h"
#include "library/moved.h"
#include "library/outside.h"
#include "library/speaker.h"
#include "library/table.h"
#include "library/transfer.h"
#include "library/view.h"

#include <fcntl.h>
#include <string.h>

static int admitted(void *arg)
{
	const struct afu_sock *s = arg;

	return afu_sock_stale(s);
}

/* The wait never ended: the thread was cancelled, or a handler jumped away. */
static void leave_line(void *socket)
{
	struct afu_request cancel = {.op = AFU_OP_CONNECT_CANCEL};
	struct afu_reply reply;

	afu_domain_ask(&cancel, (uint64_t)(uintptr_t)socket, NULL, 0, &reply);
}

/*
 * After the wait the kernel walks the path once more.  If it leads nowhere now, the
 * connection is given back, unless it was accepted meanwhile.
 */
static int walk_again(struct afu_sock *s, const struct afu_name *name)
{
	struct afu_request req = {.op = AFU_OP_CONNECT_CANCEL, .arg = {1}};
	struct afu_reply reply;
	int node = name->abstract ? -1 : afu_transfer_open(name), err;

	if (name->abstract || node >= 0) {
		if (node >= 0)
			afu_sys_close(node);
		return 0;
	}
	err = afu_domain_ask(&req, s->id, NULL, 0, &reply);
	if (err || reply.arg[0] == AFU_CONNECTED)
		return err;
	/* the same refusal, as the thread's last */
	err = afu_transfer_open(name);
	if (err >= 0)
		afu_sys_close(err);
	return err < 0 ? err : afu_refuse(AFU_CAUSE_CONNECT_NOBODY);
}

/* The socket stands in a listener's line. */
static int wait_in_line(struct afu_sock *s, const struct afu_name *name, int64_t deadline, int timed,
			uint32_t sig_seq)
{
	struct afu_thread *th = afu_thread();
	uint64_t id = s->id;
	struct afu_request cancel = {.op = AFU_OP_CONNECT_CANCEL};
	void *line = (void *)(uintptr_t)id;
	struct afu_reply reply;
	struct afu_wait w = {
		.bit = AFU_IN, .ready = admitted, .deadline = deadline, .sig_seq = sig_seq, .timed = timed};

	for (;;) {
		int err = afu_view_reenter(th, s), waited;

		if (err)
			return err;
		if (s->state != AFU_CONNECTING) {
			int connected = s->state == AFU_CONNECTED;

			afu_view_leave(th);
			return connected ? walk_again(s, name) : afu_refuse(AFU_CAUSE_CONNECT_NOT_LISTENING);
		}
		w.own = s->own;
		w.arg = s;
		afu_view_get(s);
		afu_view_leave(th);
		afu_hold(th, leave_line, line);
		waited = afu_wait(th, &w);
		afu_unhold(th, line);
		afu_view_put(s);
		if (!waited)
			continue;
		err = afu_domain_ask(&cancel, id, NULL, 0, &reply);
		if (err || reply.arg[0] == AFU_CONNECTED)
			return err;
		return afu_refuse(waited == -EINTR	 ? AFU_CAUSE_INTERRUPTED
				  : waited == -ETIMEDOUT ? AFU_CAUSE_CONNECT_FULL
							 : AFU_CAUSE_DOMAIN_GONE);
	}
}

/* The state that it leads to; *other: of datagrams, that another peer was given up. */
static int request_connect(struct afu_sock *s, const struct afu_name *name, int nonblocking, int *other)
{
	struct afu_request req = {.op = AFU_OP_CONNECT, .socket = s->id};
	struct afu_reply reply;
	int node = -1, got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	if (!nonblocking)
		req.arg[0] |= AFU_CONNECT_WAIT;
	if (s->ep->option[SO_PASSCRED] || s->ep->option[AFU_SO_PASSPIDFD])
		req.arg[0] |= AFU_CONNECT_PASS;
	req.arg[1] = (uint64_t)afu_sys(SYS_getuid) << 32 | (uint32_t)afu_sys(SYS_getgid);
	if (s->type == SOCK_DGRAM && afu_dgram_ready(s))
		req.arg[0] |= AFU_CONNECT_UNREAD;
	/* also if nothing else comes of the call */
	err = afu_transfer_autobind(s);
	if (err)
		return err;
	if (name->abstract) {
		req.length = name->length;
		memcpy(req.data, &name->un, name->length);
	} else {
		node = afu_transfer_open(name);
		if (node < 0)
			return node;
	}
	err = afu_domain_call(&req, node >= 0 ? &node : NULL, node >= 0, &reply, got, &n);
	if (node >= 0)
		afu_sys_close(node);
	*other = !err && reply.arg[2] != 0;
	if (!err && s->type != SOCK_DGRAM)
		afu_speaker_told(s, reply.arg[1]);
	/* if the view can't be had now, the next call renews it */
	if (!err && n == 1 && reply.arg[0] == AFU_CONNECTED)
		afu_view_connected(s, got[0]);
	while (n)
		afu_sys_close(got[--n]);
	return err ? afu_holder_name(name, err) : (int)reply.arg[0];
}

/* AF_UNSPEC: the socket has no peer any more. */
static int disconnect(struct afu_sock *s, struct afu_thread *th)
{
	struct afu_request req = {.op = AFU_OP_DISCONNECT};
	struct afu_reply reply;
	int unread = afu_dgram_ready(s), err;

	req.arg[0] = unread ? AFU_CONNECT_UNREAD : 0;
	err = afu_domain_ask(&req, s->id, NULL, 0, &reply);
	if (!err && reply.arg[0])
		afu_dgram_purge(s, th);
	return err;
}

/* Of datagrams: names where those without an address go.  The view is in use. */
static int connect_datagrams(struct afu_sock *s, struct afu_thread *th, const struct sockaddr *addr,
			     socklen_t len, struct afu_name *name)
{
	int err, other;

	if (len < sizeof(sa_family_t))
		return afu_refuse(AFU_CAUSE_ADDRESS_FORM);
	if (name->un.sun_family == AF_UNSPEC)
		return disconnect(s, th);
	err = afu_name_check(name, len);
	if (err)
		return err;
	err = request_connect(s, name, 1, &other);
	if (err == -ECONNREFUSED && afu_thread_self.refusal.cause == AFU_CAUSE_CONNECT_NOBODY &&
	    !afu_domain_embedded() && s->state == AFU_UNCONNECTED)
		return afu_moved_connect(s, addr, len);
	if (err < 0)
		return err;
	if (other)
		afu_dgram_purge(s, th);
	return 0;
}

/*
 * The backlog is full, and the socket can't connect in any case; the kernel says so only once
 * there is room.  Nobody rings for that, so it is looked for by the clock.  0: look again.
 */
static int await_room(struct afu_thread *th, int64_t deadline, int timed, uint32_t sig_seq)
{
	struct timespec tick = {0, 2000000};

	if (afu_clock_ns() >= deadline)
		return afu_refuse(AFU_CAUSE_CONNECT_FULL);
	afu_sys(SYS_ppoll, NULL, 0, &tick, NULL, 0);
	return atomic_load(&th->sig_seq) != sig_seq && (th->sig_norestart || timed)
		       ? afu_refuse(AFU_CAUSE_INTERRUPTED)
		       : 0;
}

static int do_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct afu_thread *th = afu_thread();
	struct afu_name name;
	struct afu_sock *s;
	int64_t deadline;
	int nonblocking, timed, err;
	uint32_t shut, sig_seq = atomic_load(&th->sig_seq);
	int other;

	afu_call_begin(th);
	err = afu_name_read(&name, addr, len);
	if (err)
		return err;
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	th->sig_norestart = 0;
	if (s->type == SOCK_DGRAM) {
		_Atomic uint32_t *pin;

		afu_view_get(s);
		pin = afu_flows_pin(th, s);
		afu_view_leave(th);
		err = connect_datagrams(s, th, addr, len, &name);
		if (!err)
			afu_epoll_rearm(s);
		afu_flows_unpin(th, s, pin);
		afu_view_put(s);
		return err;
	}
	err = afu_name_check(&name, len);
	if (err) {
		afu_view_leave(th);
		return err;
	}
	timed = s->ep->sndtimeo_ns != AFU_NEVER;
	deadline = afu_clock_deadline(s->ep->sndtimeo_ns);
	nonblocking = (atomic_load(&s->ep->status_flags) & O_NONBLOCK) || s->ep->sndtimeo_ns == 0;
	shut = atomic_load(&s->ep->shut);
	afu_view_get(s);
	afu_view_leave(th);
	do
		err = request_connect(s, &name, nonblocking, &other);
	while (err == -EAGAIN && !nonblocking && !(err = await_room(th, deadline, timed, sig_seq)));
	if (err == -ECONNREFUSED && afu_thread_self.refusal.cause == AFU_CAUSE_CONNECT_NOBODY &&
	    !afu_domain_embedded() && s->state == AFU_UNCONNECTED)
		err = afu_moved_connect(s, addr, len);
	else if (err == AFU_CONNECTING)
		err = wait_in_line(s, &name, deadline, timed, sig_seq);
	else if (err == AFU_CONNECTED)
		err = 0;
	if (!err)
		afu_epoll_rearm(s);
	afu_view_put(s);
	if (!err && shut) {
		s = afu_view_enter(th, fd, &err);
		if (s) {
			/* as in the kernel, of SHUT_WR only this half is told: the peer's stays as it is */
			atomic_fetch_or(&s->own->flags, shut);
			if (shut & AFU_SIDE_RSHUT)
				atomic_fetch_or(&s->ch->side[1].flags, AFU_SIDE_WSHUT);
			afu_view_leave(th);
		}
		err = 0;
	}
	return err;
}

int afunix_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)AFU_EITHER(fd, do_connect(fd, addr, len), afu_sys(SYS_connect, fd, addr, len));
}
