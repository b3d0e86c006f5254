/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Data of SOCK_SEQPACKET: a connection that keeps the boundaries of messages.
 *
 * One send is one record, one receive takes one.  The pending error comes before
 * anything else, in both directions.
 */
#include "socket/sock.h"

#include "base/cause.h"
#include "socket/screen.h"

#include <sys/socket.h>

enum { DROPPED = 1 };

/* As far as the receiver's filter lets it.  As put(), or DROPPED. */
static int put_screened(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, uint32_t n,
			struct afu_sending *m)
{
	struct afu_screened x;
	int err;

	/* the message is charged before the filter sees it */
	if (afu_sock_unsent(s) >= afu_sock_limit(s))
		return -EAGAIN;
	if (n > AFU_MESSAGE_MAX)
		return afu_refuse(AFU_CAUSE_MESSAGE_BEYOND_KERNEL);
	err = afu_screen_run(&x, s, &s->out, from, n, m);
	if (err > 0)
		err = afu_connected_put(s, th, &x.left, x.n, 0, m);
	else if (!err)
		err = DROPPED;
	afu_screen_end(&x);
	return err;
}

ssize_t afu_packet_send(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, size_t len,
			struct afu_sending *m, const struct afu_patience *p)
{
	struct afu_wait w = {.own = s->own,
			     .peer = s->peer,
			     .bit = AFU_OUT,
			     .ready = afu_connected_room,
			     .arg = s,
			     .deadline = p->deadline,
			     .sig_seq = p->sig_seq,
			     .timed = p->timed};

	if (len > afu_sock_sndbuf(s) - AFU_MESSAGE_OVERHEAD)
		return afu_refuse(AFU_CAUSE_MESSAGE_TOO_LONG);
	afu_ring_expect_put(&s->out.ring, s->out.tx, len);
	afu_publish_cpu(s->own);
	for (;;) {
		struct afu_iter it = *from;
		int err = afu_sock_error(s) ? afu_sock_take_error(s) : 0;

		if (err)
			return afu_refuse_as(AFU_CAUSE_PEER_RESET, err, NULL);
		if (afu_side_flags(s->own) & AFU_SIDE_WSHUT)
			return afu_refuse(AFU_CAUSE_SEND_SHUT);
		if (__builtin_expect(m->screen != NULL, 0))
			err = put_screened(s, th, &it, (uint32_t)len, m);
		else
			err = afu_connected_put(s, th, &it, (uint32_t)len, 0, m);
		if (__builtin_expect(!err, 1)) {
			afu_wake(s->peer, AFU_IN);
			return (ssize_t)len;
		}
		if (err == DROPPED)
			return (ssize_t)len;
		err = afu_connected_again(s, th, err, p, &w);
		if (err)
			return err;
		if (!afu_screen_current(m->screen, &s->out))
			return -ESTALE;
	}
}

/* The first record that a receive is about.  1, 0: none. */
static int find(struct afu_sock *s, struct afu_receiving *m, struct afu_ring_record *rec, size_t *skip)
{
	int32_t offset =
		atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed); /* the lock orders it */
	int at_offset = (m->flags & MSG_PEEK) && offset >= 0;
	int found = afu_ring_front(&s->in.ring, s->in.rx, rec);

	*skip = at_offset ? (size_t)offset : 0;
	while (found > 0 && afu_record_passed(rec, at_offset, skip))
		found = afu_ring_next(&s->in.ring, rec);
	return found;
}

/* One look.  The result of the call; -EAGAIN: nothing there; -EBUSY, -EFAULT, -EPROTO. */
static ssize_t look(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
		    struct afu_receiving *m)
{
	struct afu_ring_record rec;
	size_t skip;
	ssize_t n;

	afu_thread_enter(th);
	n = afu_sock_lock_rx(s, th);
	if (!n) {
		n = find(s, m, &rec, &skip);
		if (n > 0)
			n = afu_record_message(s, &s->in, &rec, skip, to, len, m);
		else if (!n)
			n = -EAGAIN;
		afu_lock_release(&s->ep->rx_lock, th);
	}
	afu_thread_leave(th);
	return n;
}

struct newcomer {
	struct afu_sock *s;
	uint64_t produced;
	int only_new;
};

static int message_soon(void *arg)
{
	const struct newcomer *n = arg;
	const struct afu_sock *s = n->s;
	int there = n->only_new ? atomic_load_explicit(&s->in.ring.mark->produced, memory_order_acquire) !=
					  n->produced
				: afu_ring_ready(&s->in.ring, s->in.rx);

	return there || (afu_side_flags(s->own) & AFU_SIDE_RSHUT) || afu_sock_error(s) || afu_sock_stale(s);
}

ssize_t afu_packet_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
			struct afu_receiving *m, const struct afu_patience *p)
{
	struct newcomer newcomer = {.s = s};
	struct afu_wait w = {.own = s->own,
			     .peer = s->peer,
			     .bit = AFU_IN,
			     .ready = message_soon,
			     .arg = &newcomer,
			     .deadline = p->deadline,
			     .sig_seq = p->sig_seq,
			     .timed = p->timed};

	if (m->flags & MSG_OOB)
		return afu_refuse(AFU_CAUSE_MESSAGE_OOB);
	newcomer.only_new =
		(m->flags & MSG_PEEK) && atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed) >= 0;
	for (;;) {
		uint32_t shut = afu_side_flags(s->own);
		int err = afu_sock_error(s) ? afu_sock_take_error(s) : 0;
		ssize_t n;

		if (err)
			return afu_refuse_as(AFU_CAUSE_PEER_RESET, err, NULL);
		/* only then: the line is the sender's, and each look at it costs both */
		if (__builtin_expect(newcomer.only_new, 0))
			newcomer.produced =
				atomic_load_explicit(&s->in.ring.mark->produced, memory_order_acquire);
		n = look(s, th, to, len, m);
		if (n >= 0 || n == -EFAULT) {
			if (!(m->flags & MSG_PEEK))
				afu_give_room(&s->in);
			return n >= 0 ? n : afu_refuse(AFU_CAUSE_BAD_POINTER);
		}
		if (n == -EPROTO)
			return afu_refuse(AFU_CAUSE_PEER_RESET);
		if (n == -EBUSY) {
			err = afu_sock_busy(s, th, p);
			if (err == AFU_ELSEWHERE)
				return err;
		} else if (shut & AFU_SIDE_RSHUT) {
			return 0; /* it was shut before the ring was looked at */
		} else if (p->nonblocking && !(afu_side_flags(s->own) & AFU_SIDE_RSHUT)) {
			err = -EAGAIN;
		} else {
			err = afu_sock_await(s, th, &w);
		}
		if (err == -EAGAIN)
			return afu_refuse(AFU_CAUSE_RECV_EMPTY);
		if (err == -EINTR)
			return afu_refuse(AFU_CAUSE_INTERRUPTED);
		if (err) {
			atomic_fetch_or(&s->own->flags, AFU_SIDE_RSHUT | AFU_SIDE_WSHUT);
			return err;
		}
	}
}
