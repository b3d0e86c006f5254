/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What poll() shows of a socket, and the changes of state that others must see.
 */
#include "socket/sock.h"

#include "base/clock.h"
#include "channel/waiter.h"

#include <poll.h>

static uint32_t flags_of(const struct afu_side *side)
{
	return atomic_load_explicit(&side->flags, memory_order_acquire);
}

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
	return 4 * (afu_sock_unsent(s) + 1) <= s->ep->sndbuf;
}

uint32_t afu_sock_events(const struct afu_sock *s)
{
	uint32_t flags, events;

	switch (s->state) {
	case AFU_CONNECTED:
		flags = flags_of(s->own);
		events = shut_events(flags);
		if (afu_ring_ready(&s->in, &s->ep->rx))
			events |= POLLIN | POLLRDNORM;
		if (atomic_load_explicit(&s->own->error, memory_order_acquire))
			events |= POLLERR;
		if (roomy(s))
			events |= POLLOUT | POLLWRNORM | POLLWRBAND;
		if (afu_alive_lost())
			events |= POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP | POLLERR;
		return events;
	case AFU_LISTENING:
		events = shut_events(flags_of(s->own));
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

uint64_t afu_sock_edges(const struct afu_sock *s, uint32_t events)
{
	uint64_t sum;

	if (s->state == AFU_LISTENING)
		return atomic_load_explicit(&s->own->seq, memory_order_acquire) +
		       ((uint64_t)atomic_load_explicit(&s->ch->pending, memory_order_acquire) << 32);
	if (s->state != AFU_CONNECTED)
		return 1;
	sum = flags_of(s->own) + ((uint64_t)atomic_load_explicit(&s->own->error, memory_order_acquire) << 8);
	if (events & POLLIN)
		sum += atomic_load_explicit(&s->in.mark->produced, memory_order_acquire) << 24;
	if ((events & POLLOUT) && !(events & POLLIN))
		sum += atomic_load_explicit(&s->out.head->released, memory_order_acquire) << 24;
	else if (events & POLLOUT)
		sum += roomy(s) ? UINT64_C(1) << 23 : 0;
	return sum;
}

void afu_sock_watch(struct afu_sock *s, uint64_t waiter, uint32_t events)
{
	uint32_t wanted = AFU_WATCH_IN;

	if (s->state != AFU_CONNECTED && s->state != AFU_LISTENING)
		return;
	if (s->state == AFU_CONNECTED && (events & POLLOUT) && !roomy(s)) {
		uint64_t released = atomic_load_explicit(&s->out.head->released, memory_order_relaxed);
		uint64_t used = afu_sock_unsent(s), keep = s->ep->sndbuf / 4;

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
