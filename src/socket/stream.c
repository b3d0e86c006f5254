/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Data of SOCK_STREAM.
 *
 * A send is cut into buffers of at most 36,544 bytes as in the kernel; each is
 * queued whole.  A buffer is admitted while the charge of what is queued is below
 * SO_SNDBUF, and charged as the kernel charges it, so the same number of sends
 * fits.  A writer that sleeps is woken when three quarters are drained; one that
 * spins goes on at a half.
 */
#include "socket/sock.h"

#include "base/cause.h"
#include "base/clock.h"

#include <sys/socket.h>

#define CHUNK 36544u
/* What the ring holds for certain, by the kernel's charge. */
#define CAPACITY 212992u
#define SNDBUF_MIN 4608u

static uint32_t linear_charge(uint32_t n)
{
	uint32_t size = 512;

	while (size < n + 320)
		size <<= 1;
	return 256 + size;
}

uint32_t afu_stream_charge(uint32_t n)
{
	uint32_t pages;

	if (n <= 192)
		return 768;
	pages = n <= 3776 ? 0 : (n - 3776 + 4095) & ~4095u;
	return linear_charge(pages >= n ? 0 : n - pages) + pages;
}

/* SO_SNDBUF, whatever a co-holder wrote into the page. */
static uint32_t sndbuf_of(const struct afu_sock *s)
{
	uint32_t sndbuf = *(volatile uint32_t *)&s->ep->sndbuf;

	return sndbuf < SNDBUF_MIN ? SNDBUF_MIN : sndbuf;
}

uint32_t afu_sock_limit(const struct afu_sock *s)
{
	uint32_t sndbuf = sndbuf_of(s);

	return sndbuf < CAPACITY ? sndbuf : CAPACITY;
}

size_t afu_sock_unsent(const struct afu_sock *s)
{
	if (s->state != AFU_CONNECTED || (afu_side_flags(s->peer) & AFU_SIDE_CLOSED))
		return 0;
	return afu_ring_used(&s->out, &s->ep->tx);
}

int afu_sock_take_error(struct afu_sock *s)
{
	_Atomic uint32_t *at = s->state == AFU_CONNECTED ? &s->own->error : &s->ep->error;
	uint32_t peer_error = atomic_load_explicit(at, memory_order_relaxed); /* taken by the exchange */

	if (!peer_error)
		return 0;
	peer_error = atomic_exchange(at, 0);
	return peer_error < 4096 ? (int)peer_error : ECONNRESET;
}

static int lock_tx(struct afu_sock *s, struct afu_thread *th)
{
	int got = afu_lock_acquire(&s->ep->tx_lock, th);

	if (__builtin_expect(got > 0, 0)) {
		afu_ring_recover_tx(&s->out, &s->ep->tx);
		afu_wake(s->peer, AFU_IN);
	}
	return got < 0 ? got : 0;
}

static int lock_rx(struct afu_sock *s, struct afu_thread *th)
{
	int got = afu_lock_acquire(&s->ep->rx_lock, th);

	if (__builtin_expect(got > 0, 0)) {
		afu_ring_recover_rx(&s->in, &s->ep->rx);
		afu_wake(s->peer, AFU_OUT);
	}
	return got < 0 ? got : 0;
}

/*
 * A holder of the lock is stopped: whether the call goes on trying.  0, or the
 * negative errno that ends it.  Outside the critical section.
 */
static int still_patient(const struct afu_thread *th, const struct afu_patience *p)
{
	uint32_t sigs = atomic_load_explicit(&th->sig_seq, memory_order_relaxed); /* this thread's own */

	if (p->nonblocking || afu_clock_ns() >= p->deadline)
		return -EAGAIN;
	return sigs != p->sig_seq && (th->sig_norestart || p->timed) ? -EINTR : 0;
}

/* One buffer.  0, -EAGAIN: no room, -EBUSY: somebody holds the lock, -EFAULT. */
static int put(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, uint32_t n)
{
	int err;

	afu_thread_enter(th);
	err = lock_tx(s, th);
	if (!err) {
		if (afu_ring_used(&s->out, &s->ep->tx) >= afu_sock_limit(s))
			err = -EAGAIN;
		else
			err = afu_ring_put(&s->out, &s->ep->tx, from, n, 0, afu_stream_charge(n));
		afu_lock_release(&s->ep->tx_lock, th);
	}
	afu_thread_leave(th);
	return err;
}

static int room_soon(void *arg)
{
	const struct afu_sock *s = arg;
	uint32_t limit = afu_sock_limit(s);

	return 2 * afu_sock_unsent(s) <= limit || (afu_side_flags(s->own) & AFU_SIDE_WSHUT) ||
	       atomic_load_explicit(&s->own->error, memory_order_relaxed); /* a hint */
}

/* From which released sum on a wake-up for room is worth it: three quarters are drained. */
static void set_wake_at(struct afu_sock *s)
{
	uint64_t released = atomic_load_explicit(&s->out.head->released, memory_order_relaxed);
	uint64_t used = afu_ring_used(&s->out, &s->ep->tx), keep = afu_sock_limit(s) / 4;

	/* relaxed: only the sum with used counts, and that was read after */
	keep = keep ? keep - 1 : 0;
	atomic_store_explicit(&s->own->wake_at, used > keep ? released + used - keep : released, memory_order_relaxed);
	/* relaxed: the announcement that follows orders it */
}

ssize_t afu_stream_send(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, size_t len, int flags,
			const struct afu_patience *p, int *sigpipe)
{
	struct afu_wait w = { .own = s->own, .peer = s->peer, .bit = AFU_OUT, .ready = room_soon, .arg = s,
			      .deadline = p->deadline, .sig_seq = p->sig_seq, .timed = p->timed };
	size_t done = 0, chunk = CHUNK;
	int err;

	if (afu_side_flags(s->own) & AFU_SIDE_WSHUT) {
		*sigpipe = 1;
		return afu_refuse(AFU_CAUSE_SEND_SHUT);
	}
	if (sndbuf_of(s) / 2 - 64 < chunk)
		chunk = sndbuf_of(s) / 2 - 64;
	afu_publish_cpu(s->own);
	while (done < len) {
		uint32_t n = (uint32_t)(len - done < chunk ? len - done : chunk);

		if (__builtin_expect(atomic_load_explicit(&s->own->error, memory_order_relaxed) != 0, 0)) {
			err = afu_sock_take_error(s); /* relaxed: taken by the exchange */
			if (err)
				return done ? (ssize_t)done : afu_refuse_as(AFU_CAUSE_PEER_RESET, err, NULL);
		}
		if (afu_side_flags(s->own) & AFU_SIDE_WSHUT)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_SEND_SHUT);
		err = put(s, th, from, n);
		if (__builtin_expect(!err, 1)) {
			afu_wake(s->peer, AFU_IN);
			done += n;
			w.rounds = 0;
			continue;
		}
		if (err == -EBUSY) {
			err = still_patient(th, p);
			if (!err)
				continue;
			if (!done)
				afu_refuse(err == -EINTR ? AFU_CAUSE_INTERRUPTED : AFU_CAUSE_SEND_FULL);
			return done ? (ssize_t)done : err;
		}
		if (err == -EFAULT)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_BAD_POINTER);
		if (p->nonblocking)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_SEND_FULL);
		set_wake_at(s);
		w.timed = p->timed || done;
		err = afu_wait(th, &w);
		if (err == -EINTR)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_INTERRUPTED);
		if (err == -ETIMEDOUT)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_SEND_FULL);
		if (err == -ENETDOWN && !afu_sock_lost(s)) {
			w.alone = 1;
			continue;
		}
		if (err == -ENETDOWN)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_DOMAIN_LOST);
	}
	return (ssize_t)done;
}

static int data_soon(void *arg)
{
	const struct afu_sock *s = arg;

	return afu_ring_ready(&s->in, &s->ep->rx) || (afu_side_flags(s->own) & AFU_SIDE_RSHUT) ||
	       atomic_load_explicit(&s->own->error, memory_order_relaxed); /* a hint */
}

/* Consumes what there is, up to len bytes.  Bytes, or -EFAULT, -EPROTO before the first. */
static ssize_t gather(struct afu_sock *s, struct afu_iter *to, size_t len)
{
	struct afu_ring_record rec;
	size_t done = 0;

	while (done < len) {
		int err = afu_ring_front(&s->in, &s->ep->rx, &rec);
		size_t n;

		if (err <= 0)
			return done || !err ? (ssize_t)done : err;
		if (!rec.length)
			return -EPROTO; /* a stream has no empty records */
		n = rec.length - rec.offset;
		if (n > len - done)
			n = len - done;
		err = afu_ring_read(&s->in, &rec, rec.offset, to, (uint32_t)n);
		if (err)
			return done ? (ssize_t)done : err;
		done += n;
		if (rec.offset + n == rec.length)
			afu_ring_take(&s->in, &s->ep->rx, &rec, afu_stream_charge(rec.length));
		else
			afu_ring_advance(&s->ep->rx, &rec, rec.offset + (uint32_t)n);
	}
	return (ssize_t)done;
}

/* Copies without consuming, from SO_PEEK_OFF on, which moves along. */
static ssize_t peek(struct afu_sock *s, struct afu_iter *to, size_t len)
{
	int32_t offset = atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed); /* the lock orders it */
	size_t done = 0, skip = offset > 0 ? (size_t)offset : 0;
	struct afu_ring_record rec;
	int err;

	for (err = afu_ring_front(&s->in, &s->ep->rx, &rec); err > 0 && done < len; err = afu_ring_next(&s->in, &rec)) {
		size_t n = rec.length - rec.offset;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > len - done)
			n = len - done;
		err = afu_ring_read(&s->in, &rec, rec.offset + (uint32_t)skip, to, (uint32_t)n);
		if (err)
			break;
		done += n;
		skip = 0;
	}
	if (offset >= 0 && done)
		atomic_store_explicit(&s->ep->peek_off, offset + (int32_t)done, memory_order_relaxed);
	return done || err >= 0 ? (ssize_t)done : err;
}

/* An ordinary read brings SO_PEEK_OFF back by what it took. */
static void peek_back(struct afu_sock *s, size_t n)
{
	int32_t offset = atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed); /* the lock orders it */

	if (__builtin_expect(offset > 0, 0))
		atomic_store_explicit(&s->ep->peek_off, (size_t)offset > n ? offset - (int32_t)n : 0, memory_order_relaxed);
}

/* Tells the sender of the room that was made, if it waits for that much. */
static void give_room(struct afu_sock *s)
{
	uint64_t want;

	atomic_thread_fence(memory_order_seq_cst);
	want = atomic_load_explicit(&s->peer->want, memory_order_relaxed); /* ordered by the fence */
	if (__builtin_expect(want & (AFU_OUT | AFU_WATCH_OUT), 0) &&
	    s->ep->rx.released >= atomic_load_explicit(&s->peer->wake_at, memory_order_relaxed))
		afu_wake_slow(s->peer, want, AFU_OUT);
}

/* For a peek from an offset behind what has come: only something new counts. */
struct newcomer {
	struct afu_sock *s;
	uint64_t produced;
};

static int more_soon(void *arg)
{
	const struct newcomer *n = arg;

	return atomic_load_explicit(&n->s->in.mark->produced, memory_order_acquire) != n->produced ||
	       (afu_side_flags(n->s->own) & AFU_SIDE_RSHUT) ||
	       atomic_load_explicit(&n->s->own->error, memory_order_relaxed); /* a hint */
}

ssize_t afu_stream_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len, int flags,
			const struct afu_patience *p)
{
	struct afu_wait w = { .own = s->own, .peer = s->peer, .bit = AFU_IN, .ready = data_soon, .arg = s,
			      .deadline = p->deadline, .sig_seq = p->sig_seq, .timed = p->timed };
	struct newcomer newcomer = { s, 0 };
	size_t done = 0, target;
	ssize_t n;
	int err;

	if ((flags & MSG_PEEK) && atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed) > 0) {
		w.ready = more_soon; /* relaxed: peek() reads it again under the lock */
		w.arg = &newcomer;
	}
	if (flags & MSG_OOB)
		return afu_refuse(AFU_CAUSE_OOB_EMPTY);
	target = s->ep->rcvlowat < len ? s->ep->rcvlowat : len;
	if (flags & MSG_WAITALL)
		target = len;
	if (!target)
		target = 1;
	for (;;) {
		uint32_t shut = afu_side_flags(s->own);

		newcomer.produced = atomic_load_explicit(&s->in.mark->produced, memory_order_acquire);
		afu_thread_enter(th);
		err = lock_rx(s, th);
		if (!err) {
			struct afu_ring_record rec;

			if (__builtin_expect(flags & MSG_PEEK, 0))
				n = peek(s, to, len);
			else
				n = gather(s, to, len - done);
			if (n > 0 && !(flags & MSG_PEEK))
				peek_back(s, (size_t)n);
			if (!len && afu_ring_front(&s->in, &s->ep->rx, &rec) > 0)
				target = 0;
			afu_lock_release(&s->ep->rx_lock, th);
		} else {
			n = 0;
		}
		afu_thread_leave(th);
		if (err) {
			err = still_patient(th, p);
			if (!err)
				continue;
			if (!done)
				afu_refuse(err == -EINTR ? AFU_CAUSE_INTERRUPTED : AFU_CAUSE_RECV_EMPTY);
			return done ? (ssize_t)done : err;
		}
		if (n > 0) {
			done += (size_t)n;
			w.rounds = 0;
			if (!(flags & MSG_PEEK))
				give_room(s);
		} else if (n < 0) {
			if (done)
				return (ssize_t)done;
			return afu_refuse(n == -EFAULT ? AFU_CAUSE_BAD_POINTER : AFU_CAUSE_PEER_RESET);
		}
		if (done >= target || (done && (flags & MSG_PEEK)))
			return (ssize_t)done;
		err = afu_sock_take_error(s);
		if (err)
			return done ? (ssize_t)done : afu_refuse_as(AFU_CAUSE_PEER_RESET, err, NULL);
		if (shut & AFU_SIDE_RSHUT)
			return (ssize_t)done; /* it was shut before the ring was looked at */
		if (p->nonblocking && !(afu_side_flags(s->own) & AFU_SIDE_RSHUT))
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_RECV_EMPTY);
		w.timed = p->timed || done;
		err = afu_wait(th, &w);
		if (err == -EINTR)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_INTERRUPTED);
		if (err == -ETIMEDOUT)
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_RECV_EMPTY);
		if (err == -ENETDOWN && !afu_sock_lost(s)) {
			w.alone = 1;
			continue;
		}
		if (err == -ENETDOWN) {
			atomic_fetch_or(&s->own->flags, AFU_SIDE_RSHUT | AFU_SIDE_WSHUT);
			return done ? (ssize_t)done : afu_refuse(AFU_CAUSE_DOMAIN_LOST);
		}
	}
}

size_t afu_sock_unread(struct afu_sock *s, struct afu_thread *th)
{
	struct afu_ring_record rec;
	size_t sum = 0;

	if (s->state != AFU_CONNECTED)
		return 0;
	afu_thread_enter(th);
	if (lock_rx(s, th) == 0) {
		for (int found = afu_ring_front(&s->in, &s->ep->rx, &rec); found > 0; found = afu_ring_next(&s->in, &rec))
			sum += rec.length - rec.offset;
		afu_lock_release(&s->ep->rx_lock, th);
	}
	afu_thread_leave(th);
	return sum;
}
