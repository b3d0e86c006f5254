/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "channel/channel.h"

#include "base/clock.h"
#include "base/futex.h"
#include "base/memory.h"
#include "base/relax.h"
#include "channel/waiter.h"

#define SPIN_MIN_NS 5000
#define SPIN_MAX_NS 60000
#define PREEMPTED_NS 15000
#define LOOKS_PER_CLOCK 16
#define SPIN_BACKOFF_MAX 5
/* Fruitless rounds before somebody is taken to scribble. */
#define ROUNDS 64

const _Atomic uint32_t *afu_alive;

int afu_channel_map(int fd, int listener, struct afu_channel **to)
{
	void *p;
	int err = afu_memory_map(fd, listener ? 4096 : AFU_CHANNEL_SIZE, 1, &p);

	if (!err)
		*to = p;
	return err;
}

void afu_channel_unmap(struct afu_channel *ch, int listener)
{
	afu_sys_munmap(ch, listener ? 4096 : AFU_CHANNEL_SIZE);
}

struct afu_ring afu_channel_ring(struct afu_channel *ch, unsigned int from)
{
	char *base = (char *)ch;

	return (struct afu_ring){
		.area = {base + AFU_CHANNEL_SMALL_AT + ((size_t)from << AFU_RING_SMALL_SHIFT),
			 base + AFU_CHANNEL_LARGE_AT + ((size_t)from << AFU_RING_LARGE_SHIFT),
			 base + AFU_CHANNEL_HUGE_AT + ((size_t)from << AFU_RING_HUGE_SHIFT)},
		.head = &ch->head[from],
		.mark = &ch->mark[from],
	};
}

int afu_alive_lost(void)
{
	uint32_t word;

	if (!afu_alive)
		return 0;
	word = atomic_load_explicit(afu_alive, memory_order_acquire);
	return word == 0 || (word & FUTEX_OWNER_DIED);
}

/*
 * Rings the watcher of one slot, by name if it doesn't look at the socket by itself.  The name goes out
 * before the tag is taken back: who is killed between leaves it to the next.  0; -ESRCH: it is gone;
 * -EAGAIN: it can't be reached.
 */
static int ring_slot(struct afu_side *side, unsigned int i, uint64_t id, uint64_t tag, uint32_t events)
{
	uint32_t name = AFU_TAG_NAME(tag);
	int err = name ? afu_waiter_call(id, name) : afu_waiter_notify(id, events);

	if (err == -ESRCH)
		atomic_compare_exchange_strong(&side->watcher[i], &id, 0);
	else if (name && !err)
		atomic_compare_exchange_strong(&side->tag[i], &tag, tag & AFU_TAG_EXCLUSIVE);
	return err;
}

/*
 * One of the exclusive watchers, the first that sleeps from a place that moves on; if all are awake,
 * each that has to be told.  1: there was one; 0; -EAGAIN: some can't be reached.
 */
static int ring_exclusive(struct afu_side *side, unsigned int slots, uint32_t events)
{
	static _Atomic unsigned int turn;
	unsigned int first = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed); /* any will do */
	int err = 0;

	for (int sleeping = 1; sleeping >= 0; sleeping--) {
		for (unsigned int n = 0; n < AFU_CHANNEL_WATCHERS; n++) {
			unsigned int i = (first + n) % AFU_CHANNEL_WATCHERS;
			uint64_t id = atomic_load(&side->watcher[i]), tag = atomic_load(&side->tag[i]);
			int got;

			if (!(slots & 1u << i) || !id || (sleeping && afu_waiter_sleeps(id) != 1))
				continue;
			got = ring_slot(side, i, id, tag, events);
			if (sleeping && !got)
				return 1;
			if (got == -EAGAIN)
				err = got;
		}
	}
	return err;
}

/* all: also those who would be content if another was rung. */
static void ring_watchers(struct afu_side *side, uint32_t events, int all)
{
	uint32_t flags = atomic_load_explicit(&side->flags, memory_order_relaxed);
	unsigned int exclusive = 0;
	int unreached = (flags & AFU_SIDE_OVERFLOW) != 0; /* relaxed: set before the want bit that led here */

	for (unsigned int i = 0; i < AFU_CHANNEL_WATCHERS; i++) {
		uint64_t id = atomic_load_explicit(&side->watcher[i], memory_order_acquire), tag;

		/* acquire: pairs with the release in afu_watch() */
		if (!id)
			continue;
		tag = atomic_load(&side->tag[i]);
		if ((tag & AFU_TAG_EXCLUSIVE) && !all)
			exclusive |= 1u << i;
		else
			unreached |= ring_slot(side, i, id, tag, events) == -EAGAIN;
	}
	if (exclusive) {
		int got = ring_exclusive(side, exclusive, events);

		unreached |= got == -EAGAIN || (got == 0 && (flags & AFU_SIDE_CROWDED));
	} else {
		unreached |= (flags & AFU_SIDE_CROWDED) != 0;
	}
	if (unreached && afu_watch_overflow)
		afu_watch_overflow(side);
}

void afu_wake_one(struct afu_side *side)
{
	uint64_t want;

	atomic_thread_fence(memory_order_seq_cst);
	want = atomic_load_explicit(&side->want, memory_order_relaxed); /* ordered by the fence */
	if (want & AFU_IN) {
		atomic_store_explicit(&side->woken_ns, afu_clock_ns(),
				      memory_order_relaxed); /* a measurement */
		atomic_fetch_add(&side->seq, 1);
		/* whoever is still asleep counts on the bit */
		if (afu_futex_wake(&side->seq, 1, 1) == 0)
			atomic_compare_exchange_strong(&side->want, &want, want & ~(uint64_t)AFU_IN);
	}
	if (want & AFU_WATCH_IN)
		ring_watchers(side, AFU_EVENT_IN, 0);
}

/* events: what those who asked for signals are told. */
static void wake(struct afu_side *side, uint64_t want, uint32_t bits, uint32_t events)
{
	uint64_t clear = 0;

	if (want & bits) {
		atomic_store_explicit(&side->woken_ns, afu_clock_ns(),
				      memory_order_relaxed); /* a measurement */
		atomic_fetch_add(&side->seq, 1);
		afu_futex_wake(&side->seq, INT32_MAX, 1);
		clear = bits;
	}
	if (want & (uint64_t)bits << 2) {
		ring_watchers(side, events, 0);
		if (bits & AFU_OUT)
			clear |= AFU_WATCH_OUT;
	}
	if (clear)
		atomic_compare_exchange_strong(&side->want, &want, want & ~clear);
}

void afu_wake_slow(struct afu_side *side, uint64_t want, uint32_t bits)
{
	wake(side, want, bits, bits);
}

void afu_nudge(struct afu_side *side, uint32_t bits)
{
	uint64_t want;

	atomic_thread_fence(memory_order_seq_cst);
	want = atomic_load_explicit(&side->want, memory_order_relaxed); /* ordered by the fence */
	if (want & (bits | bits << 2))
		wake(side, want, bits, 0);
}

void afu_rouse(struct afu_side *side)
{
	atomic_thread_fence(memory_order_seq_cst);
	atomic_fetch_add(&side->seq, 1);
	afu_futex_wake(&side->seq, INT32_MAX, 1);
	ring_watchers(side, 0, 1);
}

void afu_signal(struct afu_side *side, uint32_t events)
{
	ring_watchers(side, events, 1);
}

void afu_kick(struct afu_side *side)
{
	atomic_fetch_add(&side->kicks, 1);
	afu_rouse(side);
}

void afu_relieve(struct afu_side *side)
{
	atomic_fetch_add(&side->rooms, 1);
	afu_rouse(side);
}

int afu_spin(struct afu_thread *th, const _Atomic uint32_t *peer_cpu, int (*ready)(void *), void *arg,
	     int64_t deadline)
{
	struct afu_spin *spin = &th->spin;
	uint32_t here = 1 + afu_thread_cpu();
	uint32_t sigs = atomic_load_explicit(&th->sig_seq, memory_order_relaxed); /* this thread's own */
	uint32_t there = peer_cpu ? atomic_load_explicit(peer_cpu, memory_order_relaxed) : 0; /* a hint */

	int64_t begin, last, now;

	/* a peer that was never seen, or shares this processor, can't act while we spin */
	if (!there || there == here)
		return 0;
	if (spin->skip) {
		spin->skip--;
		return 0;
	}
	begin = last = afu_clock_ns();
	for (;;) {
		for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
			if (ready(arg)) {
				spin->backoff = 0;
				return 1;
			}
			afu_relax();
		}
		now = afu_clock_ns();
		/* preempted: whoever did it will do it again; sleep, but that says nothing about the peer */
		if (now - last > PREEMPTED_NS)
			return 0;
		if (now - begin > spin->budget_ns || now >= deadline)
			break;
		if (atomic_load_explicit(peer_cpu, memory_order_relaxed) == here ||
		    atomic_load_explicit(&th->sig_seq, memory_order_relaxed) != sigs)
			break;
		last = now;
	}
	if (spin->backoff < SPIN_BACKOFF_MAX)
		spin->backoff++;
	spin->skip = (1u << spin->backoff) - 1;
	return 0;
}

static void learn_latency(struct afu_thread *th, const struct afu_side *own)
{
	int64_t took = afu_clock_ns() - atomic_load_explicit(&own->woken_ns, memory_order_relaxed);
	int64_t budget = took + took / 2;

	/* a peer may write anything here: only a clamped figure comes of it */
	if (took <= 0 || took > 1000000)
		return;
	budget = (3 * (int64_t)th->spin.budget_ns + budget) / 4;
	if (budget < SPIN_MIN_NS)
		budget = SPIN_MIN_NS;
	if (budget > SPIN_MAX_NS)
		budget = SPIN_MAX_NS;
	th->spin.budget_ns = (uint32_t)budget;
}

static int interrupted(const struct afu_thread *th, struct afu_wait *w)
{
	uint32_t sigs = atomic_load_explicit(&th->sig_seq, memory_order_relaxed); /* this thread's own */

	if (sigs == w->sig_seq)
		return 0;
	if (th->sig_norestart || w->timed)
		return -EINTR;
	w->sig_seq = sigs;
	return 0;
}

/* Steps 1 and 2 of WAIT: the sequence to sleep on. */
static uint32_t announce(struct afu_side *side, uint32_t bit)
{
	uint32_t seq = atomic_load(&side->seq);

	atomic_fetch_add(&side->want, 16);
	atomic_fetch_or(&side->want, bit);
	return seq;
}

int afu_wait(struct afu_thread *th, struct afu_wait *w)
{
	struct afu_side *own = w->own;
	struct afu_futex_word words[AFU_WAIT_MORE + 3];
	struct timespec until, *deadline = NULL;
	unsigned int n = 0;
	uint32_t seq, alive = 0;
	int err, cancel;

	afu_publish_cpu(own);
	if (w->rounds <= ROUNDS && w->peer && afu_spin(th, &w->peer->cpu, w->ready, w->arg, w->deadline)) {
		w->rounds++;
		return 0;
	}
	seq = announce(own, w->bit);
	for (unsigned int i = 0; i < w->n_more; i++)
		words[n++] = afu_futex_word(&w->more[i]->seq, announce(w->more[i], w->bit), 1);
	atomic_thread_fence(memory_order_seq_cst); /* the look that follows is after; x86 needs it not */
	/* a peer that keeps it ready without giving anything gets no more than these looks at full speed */
	if (w->ready(w->arg) && w->rounds++ < ROUNDS)
		return 0;
	err = interrupted(th, w);
	if (err)
		return err;
	if (w->deadline != AFU_NEVER) {
		if (afu_clock_ns() >= w->deadline)
			return -ETIMEDOUT;
		until = afu_clock_timespec(w->deadline);
		deadline = &until;
	}
	if (++w->rounds > ROUNDS) {
		struct timespec tick = {0, 1000000};

		cancel = afu_cancel_open(th);
		afu_sys(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &tick, 0);
		afu_cancel_shut(cancel);
		if (w->ready(w->arg))
			return 0;
	}
	words[n++] = afu_futex_word(&own->seq, seq, 1);
	words[n++] = afu_futex_word(&th->sig_seq, w->sig_seq, 0);
	if (afu_alive && !w->alone) {
		alive = atomic_load(afu_alive);
		if (afu_alive_lost())
			return -ENETDOWN;
		words[n++] = afu_futex_word(afu_alive, alive, 1);
	}
	cancel = afu_cancel_open(th);
	err = afu_futex_waitv(words, n, deadline);
	afu_cancel_shut(cancel);
	if (err == -ETIMEDOUT)
		return w->ready(w->arg) ? 0 : -ETIMEDOUT;
	if (err == -EINTR)
		return w->ready(w->arg) ? 0 : -EINTR; /* the handler had no SA_RESTART */
	if (!w->alone && afu_alive_lost()) {
		/* pass it on: the kernel woke one sleeper only */
		afu_sys(SYS_futex, afu_alive, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
	} else if (err == 0) {
		learn_latency(th, own);
	}
	return 0;
}
