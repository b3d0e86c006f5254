/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What the three types have in common: the two locks, one record with its words, one
 * message received, and the waiting.
 */
#include "socket/sealed.h"

#include "base/cause.h"
#include "base/clock.h"

#include <string.h>
#include <sys/socket.h>

int afu_sock_take_error(struct afu_sock *s)
{
	_Atomic uint32_t *at =
		s->state == AFU_CONNECTED && s->type != SOCK_DGRAM ? &s->own->error : &s->ep->error;
	uint32_t peer_error = atomic_load_explicit(at, memory_order_relaxed); /* taken by the exchange */

	if (!peer_error)
		return 0;
	peer_error = atomic_exchange(at, 0);
	return peer_error < 4096 ? (int)peer_error : ECONNRESET;
}

uint32_t afu_sock_error(const struct afu_sock *s)
{
	/* relaxed: a hint; the exchange decides */
	return atomic_load_explicit(s->state == AFU_CONNECTED && s->type != SOCK_DGRAM ? &s->own->error
										       : &s->ep->error,
				    memory_order_relaxed);
}

static void recover_out(const struct afu_way_out *way)
{
	afu_ring_recover_tx(&way->ring, way->tx);
	afu_wake(way->peer, AFU_IN);
}

static void recover_in(const struct afu_way_in *way)
{
	afu_ring_recover_rx(&way->ring, way->rx);
	afu_wake(way->peer, AFU_OUT);
}

void afu_flow_mend_out(struct afu_sock *s, struct afu_flow *flow)
{
	struct afu_endpoint_tx *slot = (struct afu_endpoint_tx *)(void *)flow->out.tx;

	recover_out(&flow->out);
	/* what it had counted and not published, the receiver finds out */
	atomic_store_explicit(&flow->out.ring.mark->counting, 0,
			      memory_order_release); /* as in put_locked() */
	slot->mended = s->ep->tx_deaths;
}

void afu_flow_mend_in(struct afu_sock *s, struct afu_flow *flow)
{
	struct afu_endpoint_rx *slot = (struct afu_endpoint_rx *)(void *)flow->in.rx;

	recover_in(&flow->in);
	slot->mended = s->ep->rx_deaths;
}

void afu_sock_recover_tx(struct afu_sock *s)
{
	const struct afu_flows *f = s->type == SOCK_DGRAM ? afu_sock_flows(s) : NULL;

	if (s->type != SOCK_DGRAM) {
		recover_out(&s->out);
		return;
	}
	s->ep->tx_deaths++;
	for (unsigned int i = 0; f && i < f->n_out; i++)
		afu_flow_mend_out(s, f->out[i]);
}

void afu_sock_recover_rx(struct afu_sock *s)
{
	const struct afu_flows *f = s->type == SOCK_DGRAM ? afu_sock_flows(s) : NULL;

	s->ep->rx_deaths++;
	if (s->type != SOCK_DGRAM) {
		recover_in(&s->in);
		return;
	}
	for (unsigned int i = 0; f && i < f->n_in; i++)
		afu_flow_mend_in(s, f->in[i]);
}

int afu_sock_patient(const struct afu_thread *th, const struct afu_patience *p)
{
	uint32_t sigs = atomic_load_explicit(&th->sig_seq, memory_order_relaxed); /* this thread's own */

	if (p->nonblocking || afu_clock_ns() >= p->deadline)
		return -EAGAIN;
	return sigs != p->sig_seq && (th->sig_norestart || p->timed) ? -EINTR : 0;
}

int afu_sock_busy(const struct afu_sock *s, const struct afu_thread *th, const struct afu_patience *p)
{
	int err;

	/* the broker holds the lock for good of a socket that has moved, and then says so */
	if (afu_sock_stale(s))
		return AFU_ELSEWHERE;
	err = afu_sock_patient(th, p);
	/* "nothing there" was not looked up: whoever waits for edges must come again */
	if (err == -EAGAIN)
		atomic_fetch_add(&s->ep->kicks, 1);
	return err;
}

int afu_sock_await(struct afu_sock *s, struct afu_thread *th, struct afu_wait *w)
{
	int err = afu_wait(th, w);

	if (err == -ETIMEDOUT)
		return -EAGAIN;
	if (err != -ENETDOWN)
		return err;
	if (!afu_sock_lost(s)) {
		w->alone = 1;
		return 0;
	}
	return afu_refuse(AFU_CAUSE_DOMAIN_LOST);
}

int afu_sock_await_again(struct afu_sock *s, struct afu_thread *th, struct afu_wait *w,
			 const struct afu_patience *p)
{
	int err;

	w->rounds = p->rounds ? *p->rounds : w->rounds;
	err = afu_sock_await(s, th, w);
	if (p->rounds)
		*p->rounds = w->rounds;
	return err;
}

static uint32_t words_of(struct afu_sock *s, const struct afu_way_out *way, uint32_t flags,
			 const struct afu_sending *m, uint64_t words[AFU_RING_WORDS])
{
	uint32_t wants = atomic_load_explicit(&way->peer->wants, memory_order_relaxed), n = 0;

	/* relaxed: a message that crosses a change of the option may go either way, as in the kernel */
	if (s->type == SOCK_DGRAM || (wants & AFU_WANTS_TIME)) {
		words[n++] = (uint64_t)afu_clock_ns();
		flags |= wants & AFU_WANTS_TIME ? AFU_RECORD_TIME : AFU_RECORD_TIME | AFU_RECORD_UNASKED;
	}
	if (m->identity) {
		words[n++] = m->identity;
		flags |= AFU_RECORD_IDENTITY;
	}
	if (m->rights) {
		words[n++] = ++s->ep->parcels;
		flags |= AFU_RECORD_RIGHTS;
	}
	return flags | n;
}

/* Whether the buffers can be read: asked before descriptors are parked for a record that would not come. */
static int is_readable(const struct afu_iter *from, uint32_t n)
{
	struct afu_iter it = *from;
	char scratch[4096];

	while (n) {
		uint32_t part = n < sizeof scratch ? n : (uint32_t)sizeof scratch;

		if (afu_iter_gather(&it, scratch, part))
			return 0;
		n -= part;
	}
	return 1;
}

int afu_record_willing(const struct afu_way_out *way, const struct afu_iter *from, uint32_t n,
		       const struct afu_sending *m)
{
	/* relaxed: a message that crosses a change of the option may go either way */
	if (!m->rights ||
	    !(atomic_load_explicit(&way->peer->wants, memory_order_relaxed) & AFU_WANTS_NO_RIGHTS))
		return 0;
	return is_readable(from, n) ? afu_refuse(AFU_CAUSE_RIGHTS_REFUSED) : -EFAULT;
}

static int park(struct afu_sock *s, struct afu_way_out *way, const struct afu_iter *from, uint32_t n,
		struct afu_sending *m)
{
	int err;

	if (!is_readable(from, n)) {
		err = m->park(m, s, way, 0);
		return err ? err : -EFAULT;
	}
	err = afu_record_willing(way, from, n, m);
	return err ? err : m->park(m, s, way, s->ep->parcels);
}

int afu_record_put(struct afu_sock *s, struct afu_way_out *way, struct afu_iter *from, uint32_t n,
		   uint32_t flags, struct afu_sending *m, uint32_t charge)
{
	uint64_t words[AFU_RING_WORDS];
	int err;

	flags = words_of(s, way, flags, m, words);
	if (__builtin_expect(m->rights != 0, 0)) {
		err = park(s, way, from, n, m);
		if (err)
			return err;
	}
	if (__builtin_expect(m->identity != 0, 0))
		return afu_sealed_put(s, way, words, from, n, flags, m, charge);
	return afu_ring_put(&way->ring, way->tx, words, from, n, flags, charge);
}

void (*afu_unpark_none)(struct afu_sock *s, struct afu_way_in *way, uint64_t number);

void afu_record_note(struct afu_sock *s, struct afu_way_in *way, const struct afu_ring_record *rec,
		     const struct afu_opened *o, struct afu_receiving *m)
{
	uint64_t words[AFU_RING_WORDS];
	uint32_t n = 0;

	m->spoke = 1;
	m->has = rec->flags & (AFU_RECORD_TIME | AFU_RECORD_IDENTITY);
	if (__builtin_expect(afu_record_rights(rec->flags), 0))
		m->has |= AFU_RECORD_RIGHTS;
	if (!m->has)
		return;
	/* those that the broker was asked about, if it was: what lies there may have been changed since */
	if (__builtin_expect(o->copy != NULL, 0))
		memcpy(words, o->words, sizeof words);
	else
		afu_ring_words(&way->ring, rec, words);
	if (m->has & AFU_RECORD_TIME)
		m->time = words[n++];
	if (rec->flags & AFU_RECORD_UNASKED)
		m->has &= ~(uint32_t)AFU_RECORD_TIME;
	if (m->has & AFU_RECORD_IDENTITY) {
		/* an option that asks for it may have been set since the call began */
		m->identity = o->known ? o->speaker : afu_opened_unasked(s, way, rec);
		n++;
	}
	if (!(m->has & AFU_RECORD_RIGHTS))
		return;
	/* a stream's descriptors go with the first byte of their record */
	if (rec->offset) {
		m->has &= ~(uint32_t)AFU_RECORD_RIGHTS;
		return;
	}
	if (m->unpark)
		m->unpark(m, s, way, words[n], o->told ? &o->secret : NULL);
	else if (!(m->flags & MSG_PEEK) && afu_unpark_none)
		afu_unpark_none(s, way, words[n]);
}

void afu_record_drop(struct afu_sock *s, struct afu_way_in *way, const struct afu_ring_record *rec)
{
	const struct afu_opened unopened = {0};
	struct afu_receiving nobody = {0};

	if (afu_record_rights(rec->flags))
		afu_record_note(s, way, rec, &unopened, &nobody);
}

void afu_peek_back(struct afu_sock *s, size_t n)
{
	int32_t offset =
		atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed); /* the lock orders it */

	if (__builtin_expect(offset > 0, 0))
		atomic_store_explicit(&s->ep->peek_off, (size_t)offset > n ? offset - (int32_t)n : 0,
				      memory_order_relaxed);
}

void afu_peek_on(struct afu_sock *s, size_t n)
{
	int32_t offset =
		atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed); /* the lock orders it */

	if (offset >= 0)
		atomic_store_explicit(&s->ep->peek_off, offset + (int32_t)n, memory_order_relaxed);
}

int afu_record_passed(const struct afu_ring_record *rec, int offset_on, size_t *skip)
{
	if (!offset_on || *skip < rec->length || !(*skip || (rec->flags & AFU_RECORD_PEEKED)))
		return 0;
	*skip -= rec->length;
	return 1;
}

ssize_t afu_record_message(struct afu_sock *s, struct afu_way_in *way, struct afu_ring_record *rec,
			   size_t skip, struct afu_iter *to, size_t len, struct afu_receiving *m)
{
	int peek = (m->flags & MSG_PEEK) != 0;
	struct afu_opened o = {0};
	size_t n = rec->length - skip;
	int err;

	m->full = n;
	if (n > len) {
		n = len;
		m->msg_flags |= MSG_TRUNC;
	}
	if (peek && !rec->length)
		afu_ring_reflag(&way->ring, rec, AFU_RECORD_PEEKED, 0);
	if (__builtin_expect(m->split, 0)) {
		afu_opened_begin(&o, s, way, rec, !peek);
		do
			err = afu_opened_read(&o, s, way, rec, (uint32_t)skip, to, (uint32_t)n);
		while (err == -ESTALE);
	} else {
		err = n ? afu_ring_read(&way->ring, rec, (uint32_t)skip, to, (uint32_t)n) : 0;
	}
	if (!err || !peek)
		afu_record_note(s, way, rec, &o, m);
	afu_opened_end(&o);
	if (peek) {
		if (!err)
			afu_peek_on(s, n);
	} else {
		/* a message that can't be delivered is lost */
		afu_ring_take(&way->ring, way->rx, rec, afu_charge(s->type, rec->length));
		if (!err)
			afu_peek_back(s, rec->length);
	}
	if (err)
		return err;
	return (ssize_t)(m->flags & MSG_TRUNC ? m->full : n);
}

void afu_give_room(const struct afu_way_in *way)
{
	uint64_t want;

	atomic_thread_fence(memory_order_seq_cst);
	want = atomic_load_explicit(&way->peer->want, memory_order_relaxed); /* ordered by the fence */
	if (__builtin_expect(want & (AFU_OUT | AFU_WATCH_OUT), 0) &&
	    way->rx->released >= atomic_load_explicit(&way->peer->wake_at, memory_order_relaxed))
		afu_wake_slow(way->peer, want, AFU_OUT);
}

/* The bytes of a stream or of all packets; of datagrams, the first one's. */
static size_t sum_records(struct afu_sock *s)
{
	struct afu_ring_record rec;
	size_t sum = 0;

	for (int found = afu_ring_front(&s->in.ring, s->in.rx, &rec); found > 0;
	     found = afu_ring_next(&s->in.ring, &rec)) {
		if (!(rec.flags & AFU_RECORD_SHELL))
			sum += rec.length - rec.offset;
	}
	return sum + s->in.rx->discarded;
}

size_t afu_sock_unread(struct afu_sock *s, struct afu_thread *th)
{
	size_t sum = 0;

	if (s->type == SOCK_DGRAM)
		return afu_dgram_first(s, th);
	if (s->state != AFU_CONNECTED)
		return 0;
	afu_thread_enter(th);
	if (afu_sock_lock_rx(s, th) == 0) {
		sum = sum_records(s);
		afu_lock_release(&s->ep->rx_lock, th);
	}
	afu_thread_leave(th);
	return sum;
}
