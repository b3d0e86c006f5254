/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Sending through a connection: what streams and packets have in common.
 */
#include "socket/sock.h"

#include "base/cause.h"

int afu_connected_put(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, uint32_t n, uint32_t flags,
		      struct afu_sending *m)
{
	int err;

	afu_thread_enter(th);
	err = afu_sock_lock_tx(s, th);
	if (!err) {
		uint32_t limit = afu_sock_limit(s);

		if (afu_ring_used_near(&s->out.ring, s->out.tx, limit) >= limit)
			err = -EAGAIN;
		else if (n > AFU_MESSAGE_MAX)
			err = afu_refuse(AFU_CAUSE_MESSAGE_BEYOND_KERNEL);
		else
			err = afu_record_put(s, &s->out, from, n, flags, m, afu_charge(s->type, n));
		afu_lock_release(&s->ep->tx_lock, th);
	}
	afu_thread_leave(th);
	return err;
}

int afu_connected_room(void *arg)
{
	const struct afu_sock *s = arg;

	return 2 * afu_sock_unsent(s) <= afu_sock_limit(s) || (afu_side_flags(s->own) & AFU_SIDE_WSHUT) ||
	       afu_sock_error(s) || afu_sock_stale(s);
}

int afu_connected_again(struct afu_sock *s, struct afu_thread *th, int err, const struct afu_patience *p,
			struct afu_wait *w)
{
	if (err == -EBUSY) {
		err = afu_sock_busy(s, th, p);
		if (err == AFU_ELSEWHERE)
			return err;
	} else if (err == -EFAULT) {
		afu_relieve(s->own); /* the buffer that the kernel has made is freed again */
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	} else if (err != -EAGAIN) {
		return err;
	} else if (afu_sock_refused(s), !p->nonblocking) {
		afu_sock_set_wake_at(s, &s->out);
		err = afu_sock_await(s, th, w);
		/* as in the kernel, a signal ends the wait, and room that there is by then is used */
		if (err == -EINTR && afu_sock_unsent(s) < afu_sock_limit(s))
			err = 0;
	}
	if (err == -EAGAIN)
		return afu_refuse(AFU_CAUSE_SEND_FULL);
	return err == -EINTR ? afu_refuse(AFU_CAUSE_INTERRUPTED) : err;
}
