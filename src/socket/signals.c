/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Where the events come from that a socket's owner is sent signals for.
 *
 * The endpoint page names up to two bells that are signals: one for O_ASYNC, one for
 * SIGURG.  Every holder enters them where it makes a way of the socket known; whose they are, and
 * who gets the signal, is no concern of this room.
 */
#include "socket/sock.h"

#include "channel/waiter.h"

#include <poll.h>

static uint64_t bell(const struct afu_sock *s, unsigned int which)
{
	return atomic_load_explicit(&s->ep->signaller[which], memory_order_relaxed);
	/* relaxed: who sets it enters it everywhere himself; a stale one is only rung in vain */
}

void afu_sock_signal_watch(struct afu_sock *s, int fresh)
{
	uint64_t io = bell(s, 0), urgent = bell(s, 1);
	int ways = s->type == SOCK_DGRAM || s->state == AFU_CONNECTED || s->state == AFU_LISTENING;

	if (!ways)
		return;
	if (urgent && s->type == SOCK_STREAM && s->state == AFU_CONNECTED)
		afu_watch(s->own, urgent, 0, 0);
	if (!io)
		return;
	afu_sock_watch(s, io, POLLIN, 0);
	/* the peer may have been quicker than we were at entering it */
	if (fresh && s->type != SOCK_DGRAM && (afu_sock_events(s) & (POLLIN | POLLHUP)))
		afu_waiter_notify(io, AFU_EVENT_IN);
}

/* From which sum of releases on three quarters of all that the socket has sent are drained. */
static void set_wake_at(struct afu_sock *s, const struct afu_way_out *way)
{
	uint64_t released = atomic_load_explicit(&way->ring.head->released, memory_order_relaxed);
	uint64_t used = afu_ring_used(&way->ring, way->tx), keep = afu_sock_limit(s) / 4;
	uint64_t elsewhere = afu_sock_unsent(s) - used;

	/* relaxed: as in afu_sock_set_wake_at() */
	keep = keep > elsewhere + 1 ? keep - elsewhere - 1 : 0;
	atomic_store_explicit(&way->own->wake_at, used > keep ? released + used - keep : released,
			      memory_order_relaxed); /* the announcement that follows orders it */
}

void afu_sock_signal_room(struct afu_sock *s)
{
	const struct afu_flows *f = s->type == SOCK_DGRAM ? afu_sock_flows(s) : NULL;
	uint64_t io = bell(s, 0);

	if (s->type != SOCK_DGRAM) {
		set_wake_at(s, &s->out);
		afu_watch(s->own, io, AFU_WATCH_IN | AFU_WATCH_OUT, 0);
	}
	for (unsigned int i = 0; f && i < f->n_out; i++) {
		set_wake_at(s, &f->out[i]->out);
		afu_watch(f->out[i]->out.own, io, AFU_WATCH_OUT, 0);
	}
	/* nobody may be left who would tell */
	if (afu_sock_roomy(s))
		afu_waiter_notify(io, AFU_EVENT_OUT);
}
