/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Data of SOCK_DGRAM.
 *
 * Each sender has a ring of its own to each receiver, a flow; nobody but its two ends can
 * harm it.  A record carries the time at which it was sent, and the receiver takes the oldest
 * that it sees: that is one order of arrival for all senders, and nobody waits for a
 * sender that was stopped between drawing a number and delivering.
 *
 * A sender's buffer is charged for all its flows together.  A receiver's queue is limited by
 * the count in its inbox.  One that is connected to its sender admits all that he sends, and
 * they are not counted; a socket's messages to itself are admitted and counted.  The count is
 * kept by those who need not be trusted or alive: the receiver puts it right whenever it
 * finds nothing.
 */
#include "socket/sock.h"

#include "base/cause.h"
#include "base/clock.h"
#include "socket/screen.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

/* A peek with an offset looks into this many senders' queues in their order. */
#define MERGED 64
/* How often the flows beyond what can be slept on are looked at. */
#define SLICE_NS 2000000
/* So many late messages in a row are no accident. */
#define LATE_MAX 8
/* More messages than a sender's buffer holds. */
#define PURGED_MAX 16384u

/* What no receive would find is not there: who spoils his flow spoils no other. */
static int holds_message(const struct afu_way_in *way)
{
	return afu_ring_ready(&way->ring, way->rx) && __builtin_expect(afu_ring_sound(&way->ring, way->rx), 1);
}

int afu_dgram_ready(const struct afu_sock *s)
{
	const struct afu_flows *f = afu_sock_flows(s);

	for (unsigned int i = 0; f && i < f->n_in; i++) {
		if (holds_message(&f->in[i]->in))
			return 1;
	}
	return 0;
}

/* Sending. */

static uint32_t own_shut(const struct afu_sock *s)
{
	return atomic_load_explicit(&s->ep->shut, memory_order_acquire);
}

int afu_dgram_admit(struct afu_sock *s, size_t len, const struct afu_sending *m)
{
	int err;

	if (len > afu_sock_sndbuf(s) - AFU_MESSAGE_OVERHEAD)
		return afu_refuse(AFU_CAUSE_MESSAGE_TOO_LONG);
	err = afu_sock_error(s) ? afu_sock_take_error(s) : 0;
	if (err)
		return afu_refuse_as(AFU_CAUSE_DGRAM_PEER_LEFT, err, NULL);
	if (own_shut(s) & AFU_SIDE_WSHUT)
		return afu_refuse(AFU_CAUSE_SEND_SHUT);
	if (afu_sock_unsent_most(s) >= afu_sock_limit(s) && afu_sock_unsent(s) >= afu_sock_limit(s))
		return -EAGAIN;
	return len > AFU_MESSAGE_MAX ? afu_refuse(AFU_CAUSE_MESSAGE_BEYOND_KERNEL) : 0;
}

static int buffer_soon(void *arg)
{
	const struct afu_sock *s = arg;

	return afu_sock_roomy(s) || (own_shut(s) & AFU_SIDE_WSHUT) || afu_sock_error(s) || afu_sock_stale(s);
}

/*
 * The sides of the socket's flows, to sleep on: room is made only where something lies.  *beyond:
 * there are more of these than one can sleep on.
 */
static unsigned int sides_out(const struct afu_flows *f, struct afu_side **to, int *beyond)
{
	unsigned int n = 0;

	*beyond = 0;
	for (unsigned int i = 0; f && i < f->n_out; i++) {
		const struct afu_way_out *way = &f->out[i]->out;

		if (!afu_ring_used(&way->ring, way->tx))
			continue;
		if (n == AFU_WAIT_MORE) {
			*beyond = 1;
			break;
		}
		to[n++] = way->own;
	}
	return n;
}

/* Until the deadline, or for a while if not everything can be slept on. */
static int await_slice(struct afu_sock *s, struct afu_thread *th, struct afu_wait *w, int beyond,
		       const struct afu_patience *p)
{
	uint32_t before = p->rounds ? *p->rounds : w->rounds;
	int64_t slice;
	int err;

	w->deadline = p->deadline;
	if (__builtin_expect(!beyond, 1))
		return afu_sock_await_again(s, th, w, p);
	slice = afu_clock_deadline(SLICE_NS);
	if (slice < w->deadline)
		w->deadline = slice;
	err = afu_sock_await_again(s, th, w, p);
	if (err != -EAGAIN || afu_clock_ns() >= p->deadline)
		return err;
	w->rounds = before; /* nobody pretended anything */
	if (p->rounds)
		*p->rounds = before;
	return 0;
}

int afu_dgram_await_buffer(struct afu_sock *s, struct afu_thread *th, const struct afu_patience *p)
{
	struct afu_side *more[AFU_WAIT_MORE];
	const struct afu_flows *f = afu_sock_flows(s);
	struct afu_wait w = {.own = s->own,
			     .more = more,
			     .bit = AFU_OUT,
			     .ready = buffer_soon,
			     .arg = s,
			     .sig_seq = p->sig_seq,
			     .timed = p->timed};
	int err, beyond;

	afu_sock_refused(s);
	if (p->nonblocking)
		return afu_refuse(AFU_CAUSE_SEND_FULL);
	/* each release wakes, but the wait is over when three quarters are drained */
	do {
		for (unsigned int i = 0; f && i < f->n_out; i++)
			afu_sock_set_wake_at(s, &f->out[i]->out);
		w.n_more = sides_out(f, more, &beyond);
		err = await_slice(s, th, &w, beyond, p);
	} while (!err && !buffer_soon(s));
	/* as in the kernel, a signal ends the wait, and room that there is by then is used */
	if (err == -EINTR && afu_sock_unsent(s) < afu_sock_limit(s))
		err = 0;
	if (err == -EAGAIN)
		return afu_refuse(AFU_CAUSE_SEND_FULL);
	return err == -EINTR ? afu_refuse(AFU_CAUSE_INTERRUPTED) : err;
}

static int32_t queued(const struct afu_flow *flow)
{
	/* relaxed: a count that many write */
	return (int32_t)atomic_load_explicit(&flow->inbox->queued, memory_order_relaxed);
}

/* Whether the receiver's queue admits one more of this sender's. */
static int queue_open(const struct afu_flow *flow)
{
	return (afu_side_flags(flow->out.peer) & (AFU_SIDE_BACK | AFU_SIDE_CLOSED)) ||
	       (int32_t)flow->queue_max < 0 || queued(flow) <= (int32_t)flow->queue_max;
}

/* One message, under the lock. */
static int put_locked(struct afu_sock *s, struct afu_flow *flow, struct afu_iter *from, uint32_t n,
		      struct afu_sending *m)
{
	struct afu_ring_mark *mark = flow->out.ring.mark;
	uint32_t there = afu_side_flags(flow->out.peer);
	int err;

	if (__builtin_expect(((struct afu_endpoint_tx *)(void *)flow->out.tx)->mended != s->ep->tx_deaths, 0))
		afu_flow_mend_out(s, flow);
	/* for afu_sock_unsent_most() */
	afu_ring_used_near(&flow->out.ring, flow->out.tx, afu_sock_limit(s) / 2);
	/* connected to this sender, the receiver gets nothing from anybody else: there is no line to stand in */
	if ((there & (AFU_SIDE_BACK | AFU_SIDE_SELF)) == AFU_SIDE_BACK)
		return afu_record_put(s, &flow->out, from, n, 0, m, afu_charge(SOCK_DGRAM, n));
	/* counted before it is looked at: of two senders to the last place one gives way */
	atomic_store_explicit(&mark->counting, 1, memory_order_relaxed); /* the addition orders it */
	atomic_fetch_add(&flow->inbox->queued, 1);
	if (!(there & AFU_SIDE_BACK) && (int32_t)flow->queue_max >= 0 && queued(flow) - 1 > (int32_t)flow->queue_max)
		err = -EAGAIN;
	else
		err = afu_record_put(s, &flow->out, from, n, 0, m, afu_charge(SOCK_DGRAM, n));
	if (err)
		atomic_fetch_sub(&flow->inbox->queued, 1);
	atomic_store_explicit(&mark->counting, 0, memory_order_release); /* pairs with acquire in recount() */
	return err;
}

static ssize_t put(struct afu_sock *s, struct afu_thread *th, struct afu_flow *flow, struct afu_iter *from,
		   size_t len, struct afu_sending *m)
{
	uint32_t there = afu_side_flags(flow->out.peer);
	int err;

	if (there & AFU_SIDE_ELSEWHERE)
		return afu_refuse(AFU_CAUSE_DGRAM_PEER_ELSEWHERE);
	if (there & AFU_SIDE_CLOSED)
		return -ESHUTDOWN;
	if (there & AFU_SIDE_RSHUT)
		return afu_refuse(AFU_CAUSE_DGRAM_PEER_SHUT);
	err = afu_record_willing(&flow->out, from, (uint32_t)len, m);
	if (err)
		return err == -EFAULT ? afu_refuse(AFU_CAUSE_BAD_POINTER) : err;
	afu_ring_expect_put(&flow->out.ring, flow->out.tx, len);
	afu_publish_cpu(flow->out.own);
	afu_thread_enter(th);
	err = afu_sock_lock_tx(s, th);
	if (!err) {
		err = put_locked(s, flow, from, (uint32_t)len, m);
		afu_lock_release(&s->ep->tx_lock, th);
	}
	afu_thread_leave(th);
	if (err)
		return err == -EFAULT ? afu_refuse(AFU_CAUSE_BAD_POINTER) : err;
	afu_wake(flow->out.peer, AFU_IN);
	return (ssize_t)len;
}

/* As far as the receiver's filter lets it. */
static ssize_t put_screened(struct afu_sock *s, struct afu_thread *th, struct afu_flow *flow,
			    struct afu_iter *from, size_t len, struct afu_sending *m)
{
	struct afu_screened x;
	ssize_t n;

	/* of a receiver that is gone the name is looked for again; a peer's filter stays */
	if ((afu_side_flags(flow->out.peer) & AFU_SIDE_CLOSED) && flow != afu_sock_flows(s)->peer)
		return put(s, th, flow, from, len, m);
	n = afu_screen_run(&x, s, &flow->out, from, (uint32_t)len, m);
	if (n > 0)
		n = put(s, th, flow, &x.left, x.n, m);
	afu_screen_end(&x);
	if (n < 0)
		return n == -EFAULT ? afu_refuse(AFU_CAUSE_BAD_POINTER) : n;
	return (ssize_t)len;
}

ssize_t afu_dgram_put(struct afu_sock *s, struct afu_thread *th, struct afu_flow *flow, struct afu_iter *from,
		      size_t len, struct afu_sending *m)
{
	if (__builtin_expect(m->screen != NULL, 0))
		return put_screened(s, th, flow, from, len, m);
	return put(s, th, flow, from, len, m);
}

struct opening {
	struct afu_sock *s;
	const struct afu_flow *flow;
};

static int queue_soon(void *arg)
{
	const struct opening *o = arg;

	/* as in the kernel, neither a receiver that connects elsewhere nor a shutdown ends this wait */
	return queue_open(o->flow);
}

/* A send that was refused registers a connected socket for the room that is made: an edge. */
static void want_room(struct afu_sock *s, struct afu_flow *flow)
{
	struct afu_side *own = flow->out.own;

	if (afu_sock_flows(s)->peer != flow)
		return;
	atomic_store_explicit(&own->wake_at, 0, memory_order_relaxed); /* the announcement orders it */
	atomic_fetch_add(&own->want, 16);
	atomic_fetch_or(&own->want, AFU_WATCH_OUT);
	atomic_thread_fence(memory_order_seq_cst); /* before the look: the other half is in tell_senders() */
	/* all of it was made before the announcement: nobody else will tell */
	if (queue_open(flow))
		afu_relieve(own);
}

int afu_dgram_await_queue(struct afu_sock *s, struct afu_thread *th, struct afu_flow *flow,
			  const struct afu_patience *p)
{
	struct opening o = {s, flow};
	struct afu_wait w = {.own = flow->out.own,
			     .peer = flow->out.peer,
			     .bit = AFU_OUT,
			     .ready = queue_soon,
			     .arg = &o,
			     .deadline = p->deadline,
			     .sig_seq = p->sig_seq,
			     .timed = p->timed};
	int err;

	if (p->nonblocking) {
		want_room(s, flow);
		return afu_refuse(AFU_CAUSE_DGRAM_QUEUE_FULL);
	}
	atomic_store_explicit(&flow->out.own->wake_at, 0,
			      memory_order_relaxed); /* the announcement orders it */
	/* a receiver that sleeps with a full queue has nothing in it: whoever counted is dead */
	afu_nudge(flow->out.peer, AFU_IN);
	do
		err = afu_sock_await_again(s, th, &w, p);
	while (!err && !queue_soon(&o));
	if (err == -EAGAIN)
		return afu_refuse(AFU_CAUSE_DGRAM_QUEUE_FULL);
	return err == -EINTR ? afu_refuse(AFU_CAUSE_INTERRUPTED) : err;
}

/* Receiving. */

static uint64_t time_of(const struct afu_flow *flow, const struct afu_ring_record *rec)
{
	uint64_t words[AFU_RING_WORDS];

	afu_ring_words(&flow->in.ring, rec, words);
	return words[0];
}

/* The same, of a flow that is in order; NULL if what was listed is not there. */
static int front(struct afu_sock *s, struct afu_flow *flow, struct afu_ring_record *rec)
{
	if (__builtin_expect(((struct afu_endpoint_rx *)(void *)flow->in.rx)->mended != s->ep->rx_deaths, 0))
		afu_flow_mend_in(s, flow);
	return afu_ring_ready(&flow->in.ring, flow->in.rx) &&
	       afu_ring_front(&flow->in.ring, flow->in.rx, rec) > 0;
}

/* The flow whose first message is the oldest.  NULL: all are empty. */
static struct afu_flow *oldest(struct afu_sock *s, const struct afu_flows *f, struct afu_ring_record *rec)
{
	uint64_t best_time = 0, yields = s->late >= LATE_MAX && s->taken_flow == s->late_flow ? s->late_flow : 0;
	struct afu_flow *best = NULL;

	for (unsigned int i = 0; i < f->n_in; i++) {
		struct afu_flow *flow = f->in[i];
		struct afu_ring_record here;
		uint64_t time;

		if (!front(s, flow, &here))
			continue;
		time = flow->id == yields ? UINT64_MAX : time_of(flow, &here);
		if (best && time >= best_time)
			continue;
		best = flow;
		best_time = time;
		*rec = here;
	}
	return best;
}

/*
 * Times are the senders' word.  One message may be late, if its sender was held up before he
 * published it; who is late each time lies, and takes turns with the others.
 */
static void note_order(struct afu_sock *s, const struct afu_flow *flow, uint64_t time)
{
	s->taken_flow = flow->id;
	if (time < s->taken_time) {
		s->late = s->late_flow == flow->id ? s->late + (s->late < LATE_MAX) : 1;
		s->late_flow = flow->id;
		return;
	}
	if (s->late_flow == flow->id)
		s->late = 0;
	if (time <= (uint64_t)afu_clock_ns())
		s->taken_time = time;
}

/* For a peek with an offset: goes through the messages of all flows in their order. */
static struct afu_flow *oldest_from(struct afu_sock *s, const struct afu_flows *f, size_t *skip, struct afu_ring_record *rec)
{
	struct afu_ring_record at[MERGED];
	int there[MERGED];
	unsigned int n = f->n_in < MERGED ? f->n_in : MERGED;

	for (unsigned int i = 0; i < n; i++)
		there[i] = front(s, f->in[i], &at[i]);
	for (;;) {
		uint64_t best_time = UINT64_MAX;
		unsigned int best = n;

		for (unsigned int i = 0; i < n; i++) {
			uint64_t time = there[i] ? time_of(f->in[i], &at[i]) : UINT64_MAX;

			if (time < best_time) {
				best = i;
				best_time = time;
			}
		}
		if (best == n)
			return NULL;
		if (!afu_record_passed(&at[best], 1, skip)) {
			*rec = at[best];
			return f->in[best];
		}
		there[best] = afu_ring_next(&f->in[best]->in.ring, &at[best]) > 0;
	}
}

/*
 * Room was made in the queue.  One sender that waits for it is woken, or as many as have the
 * announcement of a poll: they compete, as in the kernel.
 */
static void tell_waiting(const struct afu_flows *f)
{
	for (unsigned int i = 0; i < f->n_in; i++) {
		struct afu_side *side = f->in[i]->in.peer;
		uint64_t want = atomic_load_explicit(&side->want,
						     memory_order_relaxed); /* ordered by the fence before */

		if (__builtin_expect(!(want & (AFU_OUT | AFU_WATCH_OUT)), 1) ||
		    atomic_load_explicit(&side->wake_at, memory_order_relaxed) > f->in[i]->in.rx->released)
			continue;
		atomic_fetch_add(&side->rooms, 1);
		afu_wake_slow(side, want, AFU_OUT);
	}
}

static void tell_senders(const struct afu_flows *f, struct afu_flow *from)
{
	afu_give_room(&from->in);
	tell_waiting(f);
}

static void uncount(struct afu_flow *flow)
{
	uint32_t n = atomic_load_explicit(&flow->inbox->queued, memory_order_relaxed);

	/* never below nothing, whatever somebody wrote there */
	while ((int32_t)n > 0 && !atomic_compare_exchange_weak(&flow->inbox->queued, &n, n - 1))
		;
}

/*
 * All flows are empty: what is still counted belongs to senders that were killed between
 * counting and publishing, or lied; unless one is in the middle of that.  Whether there is room
 * now that there was not.
 */
static int recount(const struct afu_sock *s, const struct afu_flows *f)
{
	struct afu_inbox *inbox = f->n_in ? f->in[0]->inbox : NULL;
	uint32_t n = inbox ? atomic_load(&inbox->queued) : 0;

	if (__builtin_expect(n == 0, 1))
		return 0;
	for (unsigned int i = 0; i < f->n_in; i++) {
		const struct afu_way_in *way = &f->in[i]->in;

		if (!(afu_side_flags(way->peer) & AFU_SIDE_CLOSED) &&
		    atomic_load_explicit(&way->ring.mark->counting, memory_order_acquire))
			return 0;
		if (holds_message(way))
			return 0;
	}
	/* what is counted may lie in a flow that is not mapped yet: the version moved before it was sent */
	if (afu_sock_stale(s))
		return 0;
	/* whoever counts meanwhile changes it */
	return atomic_compare_exchange_strong(&inbox->queued, &n, 0);
}

void afu_dgram_recount(const struct afu_sock *s)
{
	const struct afu_flows *f = afu_sock_flows(s);

	if (f && __builtin_expect(recount(s, f), 0))
		tell_waiting(f);
}

/* One look.  The result of the call; -EAGAIN: nothing there; -EBUSY, -EFAULT. */
static ssize_t look(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
		    struct afu_receiving *m)
{
	int32_t offset = atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed);
	struct afu_flows *f = afu_sock_flows(s);
	size_t skip = offset > 0 ? (size_t)offset : 0;
	struct afu_ring_record rec;
	struct afu_flow *flow;
	int recounted = 0;
	ssize_t n;

	if (!f)
		return -EAGAIN;
	afu_thread_enter(th);
	n = afu_sock_lock_rx(s, th);
	if (n) {
		afu_thread_leave(th);
		return n;
	}
	if ((m->flags & MSG_PEEK) && offset >= 0) {
		flow = oldest_from(s, f, &skip, &rec);
	} else {
		skip = 0;
		flow = oldest(s, f, &rec);
	}
	if (flow) {
		if (f->n_in > 1 && !(m->flags & MSG_PEEK))
			note_order(s, flow, time_of(flow, &rec));
		n = afu_record_message(s, &flow->in, &rec, skip, to, len, m);
		m->flow = flow->id;
		atomic_store_explicit(&f->recent, flow, memory_order_relaxed); /* a hint */
		if (!(m->flags & MSG_PEEK))
			uncount(flow);
	} else {
		n = -EAGAIN;
		recounted = recount(s, f);
	}
	afu_lock_release(&s->ep->rx_lock, th);
	if (__builtin_expect(recounted, 0))
		tell_waiting(f);
	if (flow && !(m->flags & MSG_PEEK))
		tell_senders(f, flow);
	afu_thread_leave(th);
	return n;
}

static uint64_t produced(const struct afu_sock *s)
{
	const struct afu_flows *f = afu_sock_flows(s);
	uint64_t sum = 0;

	for (unsigned int i = 0; f && i < f->n_in; i++)
		sum += atomic_load_explicit(&f->in[i]->in.ring.mark->produced, memory_order_acquire);
	return sum;
}

struct newcomer {
	struct afu_sock *s;
	uint64_t produced;
	int only_new;
};

static int datagram_soon(void *arg)
{
	const struct newcomer *n = arg;
	const struct afu_sock *s = n->s;

	return (n->only_new ? produced(s) != n->produced : afu_dgram_ready(s)) || afu_sock_outside(s) ||
	       (own_shut(s) & AFU_SIDE_RSHUT) || afu_sock_error(s) || afu_sock_stale(s);
}

/* Sleeps on the broker's news and on every flow. */
static int await_datagram(struct afu_sock *s, struct afu_thread *th, struct newcomer *n,
			  const struct afu_patience *p)
{
	struct afu_side *more[AFU_WAIT_MORE];
	const struct afu_flows *f = afu_sock_flows(s);
	const struct afu_flow *recent = f ? atomic_load_explicit(&f->recent, memory_order_relaxed) : NULL;
	struct afu_wait w = {.own = s->own,
			     .more = more,
			     .bit = AFU_IN,
			     .ready = datagram_soon,
			     .arg = n,
			     .sig_seq = p->sig_seq,
			     .timed = p->timed};

	for (unsigned int i = 0; f && i < f->n_in && w.n_more < AFU_WAIT_MORE; i++) {
		more[w.n_more++] = f->in[i]->in.own;
		afu_publish_cpu(f->in[i]->in.own);
	}
	w.peer = recent ? recent->in.peer : NULL;
	/* more senders than words to sleep on: those beyond are looked at by the clock */
	return await_slice(s, th, &w, f && f->n_in > AFU_WAIT_MORE, p);
}

ssize_t afu_dgram_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
		       struct afu_receiving *m, const struct afu_patience *p)
{
	struct newcomer newcomer = {.s = s};

	if (m->flags & MSG_OOB)
		return afu_refuse(AFU_CAUSE_MESSAGE_OOB);
	newcomer.only_new =
		(m->flags & MSG_PEEK) && atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed) >= 0;
	for (;;) {
		struct afu_iter it = *to;
		uint32_t shut = own_shut(s);
		int err = afu_sock_error(s) ? afu_sock_take_error(s) : 0;
		ssize_t n;

		if (err)
			return afu_refuse_as(AFU_CAUSE_DGRAM_PEER_LEFT, err, NULL);
		if (__builtin_expect(newcomer.only_new, 0))
			newcomer.produced = produced(s);
		n = look(s, th, &it, len, m);
		if (n >= 0)
			return n;
		if (n == -EFAULT)
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
		if (n == -EBUSY)
			err = afu_sock_busy(s, th, p);
		else if (p->nonblocking)
			err = -EAGAIN;
		else if (shut & AFU_SIDE_RSHUT)
			return 0;
		else
			err = await_datagram(s, th, &newcomer, p);
		if (err == -EAGAIN)
			return afu_refuse(AFU_CAUSE_RECV_EMPTY);
		if (err == -EINTR)
			return afu_refuse(AFU_CAUSE_INTERRUPTED);
		if (err)
			return err;
		if (!p->nonblocking && (afu_sock_stale(s) || afu_sock_outside(s)))
			return -ESTALE; /* the library renews the view, looks outside, and comes again */
	}
}

size_t afu_dgram_first(struct afu_sock *s, struct afu_thread *th)
{
	struct afu_flows *f = afu_sock_flows(s);
	struct afu_ring_record rec;
	size_t length = 0;

	if (!f)
		return 0;
	afu_thread_enter(th);
	if (afu_sock_lock_rx(s, th) == 0) {
		if (oldest(s, f, &rec))
			length = rec.length;
		afu_lock_release(&s->ep->rx_lock, th);
	}
	afu_thread_leave(th);
	if (!length && afu_sock_outside(s)) {
		int outside = 0;

		afu_sys(SYS_ioctl, atomic_load(&s->outside) - 1, FIONREAD, &outside);
		length = (size_t)outside;
	}
	return length;
}

void afu_dgram_purge(struct afu_sock *s, struct afu_thread *th)
{
	struct afu_flows *f = afu_sock_flows(s);
	uint64_t now = (uint64_t)afu_clock_ns();
	struct afu_ring_record rec;
	struct afu_flow *flow;
	uint32_t left;

	if (!f)
		return;
	afu_thread_enter(th);
	if (afu_sock_lock_rx(s, th) == 0) {
		/* what a sender puts into the room that this makes stays; one that backdates is not chased */
		left = f->n_in * PURGED_MAX;
		while (left-- && (flow = oldest(s, f, &rec)) != NULL && time_of(flow, &rec) <= now) {
			afu_record_drop(s, &flow->in, &rec);
			afu_ring_take(&flow->in.ring, flow->in.rx, &rec, afu_charge(SOCK_DGRAM, rec.length));
			uncount(flow);
			tell_senders(f, flow);
		}
		afu_lock_release(&s->ep->rx_lock, th);
	}
	afu_thread_leave(th);
}
