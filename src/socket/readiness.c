/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What poll() shows of a socket, and the changes of state that others must see.
 */
#include "socket/sock.h"

#include "base/clock.h"
#include "channel/waiter.h"

#include <poll.h>

static uint32_t shut_events(uint32_t flags)
{
	uint32_t events = 0;

	if (flags & AFU_SIDE_RSHUT)
		events |= POLLIN | POLLRDNORM | POLLRDHUP;
	if ((flags & (AFU_SIDE_RSHUT | AFU_SIDE_WSHUT)) == (AFU_SIDE_RSHUT | AFU_SIDE_WSHUT))
		events |= POLLHUP;
	return events;
}

/* poll shows room while a quarter of the buffer or less is taken */
static int roomy(const struct afu_sock *s)
{
	return 4 * (afu_sock_unsent(s) + 1) <= afu_sock_limit(s);
}

int (*afu_sock_peer_here)(const struct afu_sock *s);

int afu_sock_lost(const struct afu_sock *s)
{
	return afu_alive_lost() && !(afu_sock_peer_here && afu_sock_peer_here(s));
}

uint32_t afu_sock_events(const struct afu_sock *s)
{
	uint32_t flags, events;

	switch (s->state) {
	case AFU_CONNECTED:
		flags = afu_side_flags(s->own);
		events = shut_events(flags);
		if (afu_ring_ready(&s->in, &s->ep->rx))
			events |= POLLIN | POLLRDNORM;
		if (atomic_load_explicit(&s->own->error, memory_order_acquire))
			events |= POLLERR;
		if (roomy(s))
			events |= POLLOUT | POLLWRNORM | POLLWRBAND;
		if (afu_sock_lost(s))
			events |= POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP | POLLERR;
		return events;
	case AFU_LISTENING:
		events = shut_events(afu_side_flags(s->own));
		if (atomic_load_explicit(&s->ch->pending, memory_order_acquire))
			events |= POLLIN | POLLRDNORM;
		return events;
	default:
		flags = atomic_load_explicit(&s->ep->shut, memory_order_acquire);
		events = shut_events(flags) | POLLHUP | POLLOUT | POLLWRNORM | POLLWRBAND;
		if (atomic_load_explicit(&s->ep->error, memory_order_acquire))
			events |= POLLERR;
		return events;
	}
}

int afu_sock_edge(const struct afu_sock *s, struct afu_edges *seen, uint32_t events, int take)
{
	struct afu_edges now = { .fresh = 0 };
	int edge;

	/* a socket that was never connected has no events, and its counters will begin at 0 */
	if (s->state == AFU_LISTENING)
		now.in = atomic_load_explicit(&s->ch->arrived, memory_order_acquire);
	if (s->state == AFU_LISTENING || s->state == AFU_CONNECTED)
		now.all = atomic_load_explicit(&s->own->kicks, memory_order_acquire);
	if (s->state == AFU_CONNECTED) {
		now.in = atomic_load_explicit(&s->in.mark->produced, memory_order_acquire);
		/* room that was made counts from the moment that poll shows it */
		now.out = roomy(s) ? atomic_load_explicit(&s->out.head->released, memory_order_acquire) : seen->out;
	}
	edge = seen->fresh || now.all != seen->all || ((events & POLLIN) && now.in != seen->in) ||
	       ((events & POLLOUT) && now.out != seen->out);
	if (edge && take)
		*seen = now;
	return edge;
}

void afu_sock_watch(struct afu_sock *s, uint64_t waiter, uint32_t events)
{
	uint32_t wanted = AFU_WATCH_IN;

	if (s->state != AFU_CONNECTED && s->state != AFU_LISTENING)
		return;
	if (s->state == AFU_CONNECTED && (events & POLLOUT) && !roomy(s)) {
		uint64_t released = atomic_load_explicit(&s->out.head->released, memory_order_relaxed);
		uint64_t used = afu_sock_unsent(s), keep = afu_sock_limit(s) / 4;

		/* relaxed: the announcement orders it; a peer that lies about it stalls itself */
		keep = keep ? keep - 1 : 0;
		atomic_store_explicit(&s->own->wake_at, used > keep ? released + used - keep : released,
				      memory_order_relaxed);
		wanted |= AFU_WATCH_OUT;
	}
	afu_watch(s->own, waiter, wanted);
}

void afu_sock_shutdown(struct afu_sock *s, uint32_t bits)
{
	uint32_t theirs = (bits & AFU_SIDE_RSHUT ? AFU_SIDE_WSHUT : 0) | (bits & AFU_SIDE_WSHUT ? AFU_SIDE_RSHUT : 0);

	if (s->state != AFU_CONNECTED) {
		atomic_fetch_or(&s->ep->shut, bits);
		return;
	}
	atomic_fetch_or(&s->own->flags, bits);
	atomic_fetch_or(&s->peer->flags, theirs);
	afu_kick(s->peer);
	afu_kick(s->own);
}

void afu_sock_resized(struct afu_sock *s)
{
	if (s->state == AFU_CONNECTED && roomy(s))
		afu_kick(s->own);
}
