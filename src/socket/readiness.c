/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What poll() shows of a socket, and the changes of state that others must see.
 */
#include "socket/sock.h"

#include "base/clock.h"
#include "base/sys.h"
#include "channel/waiter.h"

#include <poll.h>

/* How often an option may be changed meanwhile. */
#define TELLINGS 8
#define READABLE (POLLIN | POLLRDNORM)
/* What the kernel wakes for when something comes, whatever it is. */
#define ARRIVALS (READABLE | POLLPRI | POLLRDBAND)
#define WRITABLE (POLLOUT | POLLWRNORM | POLLWRBAND)

static uint32_t shut_events(uint32_t flags)
{
	uint32_t events = 0;

	if (flags & AFU_SIDE_RSHUT)
		events |= READABLE | POLLRDHUP;
	if ((flags & (AFU_SIDE_RSHUT | AFU_SIDE_WSHUT)) == (AFU_SIDE_RSHUT | AFU_SIDE_WSHUT))
		events |= POLLHUP;
	return events;
}

int (*afu_sock_peer_here)(const struct afu_sock *s);

int afu_sock_lost(const struct afu_sock *s)
{
	return afu_alive_lost() && !(afu_sock_peer_here && afu_sock_peer_here(s));
}

static uint32_t connection_events(const struct afu_sock *s)
{
	uint32_t events = shut_events(afu_side_flags(s->own));

	if (afu_ring_ready(&s->in.ring, s->in.rx))
		events |= READABLE;
	if (atomic_load_explicit(&s->own->error, memory_order_acquire))
		events |= POLLERR;
	if (afu_sock_roomy(s))
		events |= WRITABLE;
	if (__builtin_expect(afu_ring_oob_pending(&s->in.ring, s->in.rx), 0))
		events |= POLLPRI;
	if (afu_sock_lost(s))
		events |= READABLE | POLLRDHUP | POLLHUP | POLLERR;
	return events;
}

/* The queue of a receiver that the socket is connected to, and that is not connected back. */
static int peer_full(const struct afu_sock *s)
{
	const struct afu_flows *f = afu_sock_flows(s);
	const struct afu_flow *peer = f ? f->peer : NULL;

	return peer && !(afu_side_flags(peer->out.peer) & (AFU_SIDE_BACK | AFU_SIDE_CLOSED)) &&
	       (int32_t)peer->queue_max >= 0 &&
	       (int32_t)atomic_load_explicit(&peer->inbox->queued, memory_order_relaxed) >
		       (int32_t)peer->queue_max;
	/* relaxed: a count that many write */
}

int afu_sock_outside(const struct afu_sock *s)
{
	/* relaxed: it stands there since before the view showed the socket's name */
	int fd = atomic_load_explicit(&s->outside, memory_order_relaxed) - 1;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec none = { 0, 0 };
	uint32_t seen;

	if (__builtin_expect(fd < 0, 1))
		return 0;
	/* acquire: what is found at the socket is found after it was counted */
	seen = atomic_load_explicit(&s->ch->outside, memory_order_acquire);
	if (!(seen & 1))
		return 0;
	if (afu_sys(SYS_ppoll, &p, 1, &none, NULL, 0) > 0 && (p.revents & POLLIN))
		return 1;
	afu_sock_outside_empty(s, seen);
	return 0;
}

void afu_sock_outside_empty(const struct afu_sock *s, uint32_t seen)
{
	/* if more was counted, somebody looks again */
	if (seen & 1)
		atomic_compare_exchange_strong(&s->ch->outside, &seen, seen & ~1u);
}

static uint32_t datagram_events(const struct afu_sock *s)
{
	uint32_t events = shut_events(atomic_load_explicit(&s->ep->shut, memory_order_acquire));

	if (afu_dgram_ready(s) || afu_sock_outside(s))
		events |= READABLE;
	else
		afu_dgram_recount(s);
	if (atomic_load_explicit(&s->ep->error, memory_order_acquire))
		events |= POLLERR;
	if (afu_sock_roomy(s) && !peer_full(s))
		events |= WRITABLE;
	return events;
}

uint32_t afu_sock_events(const struct afu_sock *s)
{
	uint32_t events;

	if (s->type == SOCK_DGRAM)
		return datagram_events(s);
	switch (s->state) {
	case AFU_CONNECTED:
		return connection_events(s);
	case AFU_LISTENING:
		events = shut_events(afu_side_flags(s->own));
		if (atomic_load_explicit(&s->ch->pending, memory_order_acquire) || afu_sock_outside(s))
			events |= READABLE;
		return events;
	default:
		events = shut_events(atomic_load_explicit(&s->ep->shut, memory_order_acquire)) | POLLHUP |
			 WRITABLE;
		if (atomic_load_explicit(&s->ep->error, memory_order_acquire))
			events |= POLLERR;
		return events;
	}
}

static void datagram_counts(const struct afu_sock *s, const struct afu_edges *seen, struct afu_edges *now)
{
	const struct afu_flows *f = afu_sock_flows(s);
	now->all += s->own ? atomic_load_explicit(&s->own->kicks, memory_order_acquire) : 0;
	now->in = (f ? f->past_in : 0) +
		  (s->ch ? atomic_load_explicit(&s->ch->arrived, memory_order_acquire) : 0);
	now->out += (f ? f->past_out : 0) + (s->own ? atomic_load_explicit(&s->own->rooms, memory_order_acquire) : 0);
	for (unsigned int i = 0; f && i < f->n_in; i++)
		now->in += atomic_load_explicit(&f->in[i]->in.ring.mark->produced, memory_order_acquire);
	for (unsigned int i = 0; f && i < f->n_out; i++) {
		now->out += atomic_load_explicit(&f->out[i]->out.ring.head->released, memory_order_acquire) +
			    atomic_load_explicit(&f->out[i]->out.own->rooms, memory_order_acquire);
	}
	/* a full receiver hides POLLOUT, not that something else is told of anew */
	if (!afu_sock_roomy(s))
		now->out = seen->out;
}

int afu_sock_edge(const struct afu_sock *s, struct afu_edges *seen, uint32_t events, int take)
{
	/* relaxed: counts by themselves */
	struct afu_edges now = { .all = atomic_load_explicit(&s->ep->kicks, memory_order_relaxed),
				 .out = atomic_load_explicit(&s->ep->rooms, memory_order_relaxed) };
	int edge;

	/* a socket that was never connected has no events, and its counters will begin at 0 */
	if (s->type == SOCK_DGRAM) {
		datagram_counts(s, seen, &now);
	} else if (s->state == AFU_LISTENING || s->state == AFU_CONNECTED) {
		now.all += atomic_load_explicit(&s->own->kicks, memory_order_acquire);
		if (s->state == AFU_LISTENING)
			now.in = atomic_load_explicit(&s->ch->arrived, memory_order_acquire);
	}
	if (s->state == AFU_CONNECTED && s->type != SOCK_DGRAM) {
		now.in = atomic_load_explicit(&s->in.ring.mark->produced, memory_order_acquire);
		/* room that was made counts from the moment that poll shows it */
		now.out += atomic_load_explicit(&s->out.ring.head->released, memory_order_acquire) +
			   atomic_load_explicit(&s->own->rooms, memory_order_acquire);
		if (!afu_sock_roomy(s))
			now.out = seen->out;
	}
	edge = seen->fresh || now.all != seen->all ||
	       ((events & ARRIVALS) && now.in != seen->in) ||
	       ((events & WRITABLE) && now.out != seen->out);
	if (edge && take)
		*seen = now;
	return edge;
}

static int watch_datagrams(struct afu_sock *s, uint64_t waiter, uint32_t events, uint64_t tag)
{
	const struct afu_flows *f = afu_sock_flows(s);
	int out = (events & WRITABLE) && (!afu_sock_roomy(s) || peer_full(s)), err = 0;

	if (s->own)
		err |= afu_watch(s->own, waiter, AFU_WATCH_IN, tag);
	for (unsigned int i = 0; f && i < f->n_in; i++)
		err |= afu_watch(f->in[i]->in.own, waiter, AFU_WATCH_IN, tag);
	for (unsigned int i = 0; f && i < f->n_out && out; i++) {
		const struct afu_way_out *way = &f->out[i]->out;

		afu_sock_set_wake_at(s, way);
		if (f->out[i] == f->peer && peer_full(s))
			atomic_store_explicit(&way->own->wake_at, 0,
					      memory_order_relaxed); /* as in set_wake_at() */
		err |= afu_watch(way->own, waiter, AFU_WATCH_IN | AFU_WATCH_OUT, tag);
	}
	return err ? -ENOSPC : 0;
}

int afu_sock_watch(struct afu_sock *s, uint64_t waiter, uint32_t events, uint64_t tag)
{
	uint32_t wanted = AFU_WATCH_IN;

	if (s->type == SOCK_DGRAM)
		return watch_datagrams(s, waiter, events, tag);
	if (s->state != AFU_CONNECTED && s->state != AFU_LISTENING)
		return 0;
	if (s->state == AFU_CONNECTED && (events & WRITABLE)) {
		int roomy = afu_sock_roomy(s);

		if (!roomy)
			afu_sock_set_wake_at(s, &s->out);
		else if (AFU_TAG_NAME(tag))
			atomic_store_explicit(&s->own->wake_at, 0,
					      memory_order_relaxed); /* as in set_wake_at() */
		if (!roomy || AFU_TAG_NAME(tag))
			wanted |= AFU_WATCH_OUT;
	}
	return afu_watch(s->own, waiter, wanted, tag);
}

int afu_sock_watchable(const struct afu_sock *s, uint32_t events)
{
	if (s->type == SOCK_DGRAM)
		return s->own && !(events & WRITABLE);
	return s->state == AFU_CONNECTED || s->state == AFU_LISTENING;
}

void afu_sock_unwatch(struct afu_sock *s, uint64_t waiter)
{
	const struct afu_flows *f = s->type == SOCK_DGRAM ? afu_sock_flows(s) : NULL;

	if (s->ch)
		afu_unwatch(s->own, waiter);
	for (unsigned int i = 0; f && i < f->n_in; i++)
		afu_unwatch(f->in[i]->in.own, waiter);
	for (unsigned int i = 0; f && i < f->n_out; i++)
		afu_unwatch(f->out[i]->out.own, waiter);
}

void afu_sock_shutdown(struct afu_sock *s, uint32_t bits)
{
	uint32_t theirs =
		(bits & AFU_SIDE_RSHUT ? AFU_SIDE_WSHUT : 0) | (bits & AFU_SIDE_WSHUT ? AFU_SIDE_RSHUT : 0);

	if (s->type == SOCK_DGRAM) {
		/* nobody but the socket itself is told; the senders find out from the broker's flag */
		const struct afu_flows *f = afu_sock_flows(s);

		atomic_fetch_or(&s->ep->shut, bits);
		if (s->own)
			afu_kick(s->own);
		for (unsigned int i = 0; f && i < f->n_out; i++)
			afu_nudge(f->out[i]->out.own, AFU_OUT);
		return;
	}
	if (s->state != AFU_CONNECTED) {
		atomic_fetch_or(&s->ep->shut, bits);
		atomic_fetch_add(&s->ep->kicks, 1);
		return;
	}
	atomic_fetch_or(&s->own->flags, bits);
	atomic_fetch_or(&s->peer->flags, theirs);
	afu_kick(s->peer);
	if (bits == (AFU_SIDE_RSHUT | AFU_SIDE_WSHUT))
		afu_signal(s->peer, AFU_EVENT_HUP);
	else if (bits & AFU_SIDE_WSHUT)
		afu_signal(s->peer, AFU_EVENT_IN);
	afu_kick(s->own);
}

uint32_t afu_sock_wants(const struct afu_sock *s)
{
	const int32_t *option = s->ep->option;
	uint32_t wants = 0;

	if (option[SO_PASSCRED] || option[AFU_SO_PASSPIDFD])
		wants |= AFU_WANTS_IDENTITY;
	if (atomic_load(&s->ep->opt.stamps) & AFU_STAMP_ON)
		wants |= AFU_WANTS_TIME;
	/* kept as the difference from what a fresh socket shows, which is on */
	if (option[AFU_SO_PASSRIGHTS])
		wants |= AFU_WANTS_NO_RIGHTS;
	if (s->type != SOCK_STREAM && atomic_load(&s->ep->opt.filter.length))
		wants |= AFU_WANTS_FILTER | atomic_load(&s->ep->opt.filter.turn) >> 1 << 8;
	return wants;
}

static void tell_senders(struct afu_sock *s, uint32_t wants)
{
	const struct afu_flows *f = s->type == SOCK_DGRAM ? afu_sock_flows(s) : NULL;

	/* the broker looks here when it makes a connection or a flow */
	atomic_store(&s->ep->wants, wants);
	if (s->type != SOCK_DGRAM && (s->state == AFU_CONNECTED || s->state == AFU_CONNECTING) && s->ch)
		atomic_store(&s->own->wants, wants);
	for (unsigned int i = 0; f && i < f->n_in; i++)
		atomic_store(&f->in[i]->in.own->wants, wants);
}

void afu_sock_options_changed(struct afu_sock *s)
{
	/* another holder may do the same: what is told last must be what is so */
	for (int i = 0; i < TELLINGS; i++) {
		uint32_t wants = afu_sock_wants(s);

		tell_senders(s, wants);
		if (wants == afu_sock_wants(s))
			break;
	}
}

void afu_sock_tell_new(const struct afu_sock *s, struct afu_side *own)
{
	for (int i = 0; i < TELLINGS; i++) {
		uint32_t wants = afu_sock_wants(s);

		atomic_store(&own->wants, wants);
		if (wants == afu_sock_wants(s))
			break;
	}
}
