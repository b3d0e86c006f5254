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
 *
 * A read gathers records until one stands in the way: the out-of-band mark, another
 * speaker, or what came with descriptors.
 */
#include "socket/sealed.h"

#include "base/cause.h"
#include "base/clock.h"
#include "channel/waiter.h"

#include <sys/socket.h>

#define CHUNK 36544u
/* So many marks in a row are passed over under the lock: a peer that makes more of them gains nothing. */
#define PASSED_MAX 1024

/* What a call returns when it ends early. */
static ssize_t cut_short(size_t done, int err)
{
	return done ? (ssize_t)done : err;
}

ssize_t afu_stream_send(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, size_t len,
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
	size_t done = 0, chunk = CHUNK, plain = m->flags & MSG_OOB ? len - 1 : len;
	int err;

	if (afu_side_flags(s->own) & AFU_SIDE_WSHUT) {
		m->sigpipe = 1;
		return afu_refuse(AFU_CAUSE_SEND_SHUT);
	}
	if (afu_sock_sndbuf(s) / 2 - 64 < chunk)
		chunk = afu_sock_sndbuf(s) / 2 - 64;
	afu_ring_expect_put(&s->out.ring, s->out.tx, len);
	afu_publish_cpu(s->own);
	while (done < len) {
		uint32_t n = (uint32_t)(plain - done < chunk ? plain - done : chunk);

		if (__builtin_expect(afu_sock_error(s) != 0, 0)) {
			err = afu_sock_take_error(s);
			if (err)
				return cut_short(done, afu_refuse_as(AFU_CAUSE_PEER_RESET, err, NULL));
		}
		if (afu_side_flags(s->own) & AFU_SIDE_WSHUT)
			return cut_short(done, afu_refuse(AFU_CAUSE_SEND_SHUT));
		/* behind the plain data comes the byte that is out of band */
		err = n ? afu_connected_put(s, th, from, n, 0, m) :
			  afu_connected_put(s, th, from, n = 1, AFU_RECORD_OOB, m);
		if (__builtin_expect(!err, 1)) {
			afu_wake(s->peer, AFU_IN);
			if (__builtin_expect(done == plain, 0))
				afu_signal(s->peer, AFU_EVENT_URG);
			done += n;
			w.rounds = 0;
			m->rights = 0; /* they went with the first */
			continue;
		}
		w.timed = p->timed || done;
		err = afu_connected_again(s, th, err, p, &w);
		if (err)
			return cut_short(done, err);
	}
	return (ssize_t)done;
}

static int data_soon(void *arg)
{
	const struct afu_sock *s = arg;

	return afu_ring_ready(&s->in.ring, s->in.rx) || (afu_side_flags(s->own) & AFU_SIDE_RSHUT) ||
	       afu_sock_error(s) || afu_sock_stale(s);
}

static int oob_inline(const struct afu_sock *s)
{
	return s->ep->option[SO_OOBINLINE] != 0;
}

/* What a read does with the record at hand. */
enum verdict { READ_IT, PASS_IT, STOP_HERE };

static void skip_record(struct afu_sock *s, const struct afu_ring_record *rec)
{
	afu_record_drop(s, &s->in, rec);
	afu_ring_take(&s->in.ring, s->in.rx, rec, afu_charge(SOCK_STREAM, rec->length));
}

/*
 * The out-of-band mark, as the kernel manages it: a read that has something stops at it; one
 * that begins there passes over the byte, and drops it unless it only peeks.
 */
static enum verdict at_mark(struct afu_sock *s, struct afu_ring_record *rec, size_t done, int peek)
{
	const struct afu_ring *r = &s->in.ring;

	switch (afu_ring_oob(r, rec)) {
	case AFU_OOB_SHELL:
		if (done && !afu_ring_oob_pending(r, s->in.rx))
			return STOP_HERE;
		if (!peek)
			skip_record(s, rec);
		return PASS_IT;
	case AFU_OOB_PENDING:
		if (done)
			return STOP_HERE;
		if (oob_inline(s)) {
			if (!peek)
				afu_ring_reflag(r, rec, 0, AFU_RECORD_OOB); /* ordinary from now on */
			return READ_IT;
		}
		if (!peek) {
			s->in.rx->discarded++;
			skip_record(s, rec);
		}
		return PASS_IT;
	default:
		return READ_IT;
	}
}

/* Whether the record belongs to the same read as what was read before it. */
static int same_speaker(const struct afu_opened *o, const struct afu_receiving *m)
{
	return !m->split || !m->spoke || o->speaker == m->identity;
}

/* What the flags of a record mean for a read.  done counts the whole call's bytes. */
static enum verdict judge(struct afu_sock *s, struct afu_ring_record *rec, const struct afu_opened *o, size_t done,
			  struct afu_receiving *m)
{
	int peek = (m->flags & MSG_PEEK) != 0;

	if (rec->flags & AFU_RECORD_OOB) {
		enum verdict v = at_mark(s, rec, done, peek);

		if (v != READ_IT)
			return v;
	}
	if (done && !same_speaker(o, m))
		return STOP_HERE;
	return READ_IT;
}

/* A record's bytes were copied: what came with them, and whether the read ends after it. */
static int note(struct afu_sock *s, const struct afu_ring_record *rec, const struct afu_opened *o,
		struct afu_receiving *m)
{
	int first = !m->spoke, rights = afu_record_rights(rec->flags) && !rec->offset;
	uint64_t identity = m->identity;
	uint32_t has = m->has;

	if (!first && !rights)
		return 0;
	afu_record_note(s, &s->in, rec, o, m);
	if (!first) {
		/* the read's speaker is the first's */
		m->has = (m->has & AFU_RECORD_RIGHTS) | (has & ~(uint32_t)AFU_RECORD_RIGHTS);
		m->identity = identity;
	}
	return rights;
}

/* For a read that shows who speaks: what of the record it may not believe, it copies.  Paired with afu_opened_end(). */
static void open_record(struct afu_opened *o, struct afu_sock *s, const struct afu_ring_record *rec,
			const struct afu_receiving *m)
{
	/* it may stay where it is: because another spoke before, or for a bad pointer */
	if (__builtin_expect(m->split, 0))
		afu_opened_begin(o, s, &s->in, rec, 0);
}

static int read_record(struct afu_opened *o, struct afu_sock *s, const struct afu_ring_record *rec, uint32_t offset,
		       struct afu_iter *to, size_t n)
{
	if (__builtin_expect(!o->known, 1))
		return afu_ring_read(&s->in.ring, rec, offset, to, (uint32_t)n);
	return afu_opened_read(o, s, &s->in, rec, offset, to, (uint32_t)n);
}

/*
 * Consumes what there is, up to len bytes.  Bytes, or -EFAULT, -EPROTO before the first.
 * m->barrier: the read ends here even if it wanted more.
 */
static ssize_t gather(struct afu_sock *s, struct afu_iter *to, size_t len, size_t before,
		      struct afu_receiving *m)
{
	const struct afu_ring *r = &s->in.ring;
	struct afu_opened o = { 0 };
	struct afu_ring_record rec;
	size_t done = 0, passed = 0;
	int err = 0;

	while (done < len && passed < PASSED_MAX) {
		size_t n;

		afu_opened_end(&o);
		err = afu_ring_front(r, s->in.rx, &rec);
		if (err <= 0)
			break;
		err = rec.length ? 0 : -EPROTO; /* a stream has no empty records */
		if (err)
			break;
		if (__builtin_expect(rec.flags != 0 || m->split, 0)) {
			enum verdict v;

			open_record(&o, s, &rec, m);
			v = judge(s, &rec, &o, before + done, m);
			passed += v == PASS_IT;
			if (v == PASS_IT)
				continue;
			m->barrier = v == STOP_HERE;
			if (m->barrier)
				break;
		}
		n = rec.length - rec.offset;
		if (n > len - done)
			n = len - done;
		err = read_record(&o, s, &rec, rec.offset, to, n);
		if (__builtin_expect(err == -ESTALE, 0))
			continue; /* it is looked at anew */
		if (err)
			break;
		done += n;
		if (__builtin_expect(rec.flags != 0 || !m->spoke, 0))
			m->barrier = note(s, &rec, &o, m);
		if (rec.offset + n == rec.length)
			afu_ring_take(r, s->in.rx, &rec, afu_charge(SOCK_STREAM, rec.length));
		else
			afu_ring_advance(s->in.rx, &rec, rec.offset + (uint32_t)n);
		if (m->barrier)
			break;
	}
	afu_opened_end(&o);
	return done || err >= 0 ? (ssize_t)done : err;
}

/* Copies without consuming, from SO_PEEK_OFF on, which moves along. */
static ssize_t peek(struct afu_sock *s, struct afu_iter *to, size_t len, struct afu_receiving *m)
{
	int32_t offset =
		atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed); /* the lock orders it */
	size_t done = 0, skip = offset > 0 ? (size_t)offset : 0;
	struct afu_opened o = { 0 };
	struct afu_ring_record rec;
	int err, looked = 0;

	/* also with the buffer full: as in the kernel, descriptors further on come into view */
	for (err = afu_ring_front(&s->in.ring, s->in.rx, &rec); err > 0 && !m->barrier;
	     err = afu_ring_next(&s->in.ring, &rec)) {
		size_t n = rec.flags & AFU_RECORD_SHELL ? 0 : rec.length - rec.offset;

		afu_opened_end(&o);
		open_record(&o, s, &rec, m);
		/* the mark is looked at before the offset is walked, and then no more until something was
		 * read */
		if (rec.flags && !(looked && !done)) {
			enum verdict v = judge(s, &rec, &o, done, m);

			if (v == PASS_IT)
				continue;
			if (v == STOP_HERE)
				break;
		} else if (m->split && done && !same_speaker(&o, m)) {
			break;
		}
		looked = 1;
		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > len - done)
			n = len - done;
		if (n)
			err = read_record(&o, s, &rec, rec.offset + (uint32_t)skip, to, n);
		/* its speaker is known now, and is nobody that was read from before */
		if (err == -ESTALE && !m->spoke)
			err = read_record(&o, s, &rec, rec.offset + (uint32_t)skip, to, n);
		if (err < 0)
			break;
		done += n;
		skip = 0;
		m->barrier = note(s, &rec, &o, m);
	}
	afu_opened_end(&o);
	if (done)
		afu_peek_on(s, done);
	return done || err >= 0 ? (ssize_t)done : err;
}

/* For a peek from an offset behind what has come: only something new counts. */
struct newcomer {
	struct afu_sock *s;
	uint64_t produced;
};

static int more_soon(void *arg)
{
	const struct newcomer *n = arg;

	return atomic_load_explicit(&n->s->in.ring.mark->produced, memory_order_acquire) != n->produced ||
	       (afu_side_flags(n->s->own) & AFU_SIDE_RSHUT) || afu_sock_error(n->s) || afu_sock_stale(n->s);
}

/*
 * A peek of no bytes walks over all there is, as in the kernel; it has found something unless
 * the walk ends at a byte out of band.
 */
static int peek_nothing(struct afu_sock *s, struct afu_receiving *m)
{
	int32_t offset = atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed); /* the lock orders it */
	size_t skip = offset > 0 ? (size_t)offset : 0;
	struct afu_opened o = { 0 };
	struct afu_ring_record rec;
	int any = 0, stop;

	for (int found = afu_ring_front(&s->in.ring, s->in.rx, &rec); found > 0;
	     found = afu_ring_next(&s->in.ring, &rec)) {
		size_t n;

		any = 0;
		if ((rec.flags & AFU_RECORD_OOB) && at_mark(s, &rec, 0, 1) == PASS_IT)
			continue;
		n = rec.flags & AFU_RECORD_SHELL ? 0 : rec.length - rec.offset;
		if (skip >= n) {
			skip -= n;
			continue;
		}
		skip = 0;
		any = 1;
		open_record(&o, s, &rec, m);
		stop = note(s, &rec, &o, m);
		afu_opened_end(&o);
		if (stop)
			break;
	}
	return any;
}

/* A read of no bytes: whether there is anything, and what it does to a mark at the head. */
static int read_nothing(struct afu_sock *s, struct afu_receiving *m)
{
	struct afu_opened o = { 0 };
	struct afu_ring_record rec;
	int found, passed = 0;

	if (m->flags & MSG_PEEK)
		return peek_nothing(s, m);
	do
		found = afu_ring_front(&s->in.ring, s->in.rx, &rec);
	while (found > 0 && (rec.flags & AFU_RECORD_OOB) && at_mark(s, &rec, 0, 0) == PASS_IT &&
	       ++passed < PASSED_MAX);
	if (found <= 0)
		return 0;
	open_record(&o, s, &rec, m);
	note(s, &rec, &o, m);
	afu_opened_end(&o);
	/* the descriptors are gone with it, although the first byte is not */
	if (rec.flags & AFU_RECORD_RIGHTS)
		afu_ring_reflag(&s->in.ring, &rec, 0, AFU_RECORD_RIGHTS);
	return 1;
}

/* recv(MSG_OOB): the byte that is pending, wherever it stands. Never waits. */
static ssize_t recv_oob(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
			struct afu_receiving *m)
{
	struct afu_ring_record rec;
	ssize_t ret = 1;

	while (afu_sock_lock_rx(s, th) != 0) {
		const struct afu_patience blocking = {.deadline = AFU_NEVER};
		int err = afu_sock_busy(s, th, &blocking);

		if (err)
			return err == AFU_ELSEWHERE ? err : afu_refuse(AFU_CAUSE_INTERRUPTED);
	}
	if (oob_inline(s) || !afu_ring_find_oob(&s->in.ring, s->in.rx, &rec)) {
		ret = afu_refuse(AFU_CAUSE_OOB_EMPTY);
	} else {
		if (len && afu_ring_read(&s->in.ring, &rec, 0, to, 1))
			ret = afu_refuse(AFU_CAUSE_BAD_POINTER);
		if (!(m->flags & MSG_PEEK))
			afu_ring_reflag(&s->in.ring, &rec, AFU_RECORD_SHELL, 0);
		m->msg_flags |= MSG_OOB;
	}
	afu_lock_release(&s->ep->rx_lock, th);
	return ret;
}

/* One look under the lock.  Bytes, -EBUSY, or an error; *any: something is there, for a read of no bytes. */
static ssize_t look(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len, size_t done,
		    struct afu_receiving *m, int *any)
{
	ssize_t n;

	afu_thread_enter(th);
	n = afu_sock_lock_rx(s, th);
	if (!n) {
		if (__builtin_expect(!len, 0))
			*any = read_nothing(s, m);
		else if (__builtin_expect(m->flags & MSG_PEEK, 0))
			n = peek(s, to, len, m);
		else
			n = gather(s, to, len, done, m);
		if (n > 0 && !(m->flags & MSG_PEEK))
			afu_peek_back(s, (size_t)n);
		afu_lock_release(&s->ep->rx_lock, th);
	}
	afu_thread_leave(th);
	return n;
}

ssize_t afu_stream_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
			size_t before, struct afu_receiving *m, const struct afu_patience *p)
{
	struct afu_wait w = {.own = s->own,
			     .peer = s->peer,
			     .bit = AFU_IN,
			     .ready = data_soon,
			     .arg = s,
			     .deadline = p->deadline,
			     .sig_seq = p->sig_seq,
			     .timed = p->timed};
	struct newcomer newcomer = {s, 0};
	size_t done = 0, target, whole = before + len;
	int err, any = 0;

	if (m->flags & MSG_OOB) {
		ssize_t ret;

		afu_thread_enter(th);
		ret = recv_oob(s, th, to, len, m);
		afu_thread_leave(th);
		return ret;
	}
	if ((m->flags & MSG_PEEK) && atomic_load_explicit(&s->ep->peek_off, memory_order_relaxed) > 0) {
		w.ready = more_soon; /* relaxed: peek() reads it again under the lock */
		w.arg = &newcomer;
	}
	target = s->ep->rcvlowat < whole ? s->ep->rcvlowat : whole;
	if (m->flags & MSG_WAITALL)
		target = whole;
	target = target > before ? target - before : 0;
	if (!target && !before)
		target = 1;
	for (;;) {
		uint32_t shut = afu_side_flags(s->own);
		ssize_t n;

		/* only then: the line is the sender's, and each look at it costs both */
		if (__builtin_expect(w.arg == &newcomer, 0))
			newcomer.produced =
				atomic_load_explicit(&s->in.ring.mark->produced, memory_order_acquire);
		n = look(s, th, to, len - done, before + done, m, &any);
		if (n == -EBUSY) {
			err = afu_sock_busy(s, th, p);
			if (!err)
				continue;
			if (err == AFU_ELSEWHERE)
				return cut_short(done, err);
			return cut_short(done, afu_refuse(err == -EINTR ? AFU_CAUSE_INTERRUPTED
									: AFU_CAUSE_RECV_EMPTY));
		}
		if (n > 0) {
			done += (size_t)n;
			w.rounds = 0;
			if (!(m->flags & MSG_PEEK))
				afu_give_room(&s->in);
		} else if (n < 0) {
			return cut_short(done, afu_refuse(n == -EFAULT ? AFU_CAUSE_BAD_POINTER
								       : AFU_CAUSE_PEER_RESET));
		}
		if (done >= target || any || m->barrier || (done && (m->flags & MSG_PEEK)))
			return (ssize_t)done;
		err = afu_sock_take_error(s);
		if (err)
			return cut_short(done, afu_refuse_as(AFU_CAUSE_PEER_RESET, err, NULL));
		if (shut & AFU_SIDE_RSHUT)
			return (ssize_t)done; /* it was shut before the ring was looked at */
		if (p->nonblocking && !(afu_side_flags(s->own) & AFU_SIDE_RSHUT))
			return cut_short(done, afu_refuse(AFU_CAUSE_RECV_EMPTY));
		w.timed = p->timed || done;
		err = afu_sock_await(s, th, &w);
		if (err == -EAGAIN || err == -EINTR)
			return cut_short(done, afu_refuse(err == -EINTR ? AFU_CAUSE_INTERRUPTED
									: AFU_CAUSE_RECV_EMPTY));
		if (err) {
			atomic_fetch_or(&s->own->flags, AFU_SIDE_RSHUT | AFU_SIDE_WSHUT);
			return cut_short(done, err);
		}
	}
}

int afu_stream_at_mark(struct afu_sock *s, struct afu_thread *th)
{
	struct afu_ring_record rec;
	int mark = 0;

	/* a listener's queue of connections holds no byte either */
	if (s->state == AFU_LISTENING)
		return atomic_load_explicit(&s->ch->pending, memory_order_relaxed) != 0;
	if (s->state != AFU_CONNECTED)
		return 0;
	afu_thread_enter(th);
	if (afu_sock_lock_rx(s, th) == 0) {
		if (afu_ring_front(&s->in.ring, s->in.rx, &rec) > 0) {
			enum afu_ring_oob what = afu_ring_oob(&s->in.ring, &rec);

			/* an empty place counts if no newer byte is pending, or if that one follows at once
			 */
			mark = what == AFU_OOB_PENDING ||
			       (what == AFU_OOB_SHELL &&
				(!afu_ring_oob_pending(&s->in.ring, s->in.rx) ||
				 (afu_ring_next(&s->in.ring, &rec) > 0 &&
				  afu_ring_oob(&s->in.ring, &rec) == AFU_OOB_PENDING)));
		}
		afu_lock_release(&s->ep->rx_lock, th);
	}
	afu_thread_leave(th);
	return mark;
}
