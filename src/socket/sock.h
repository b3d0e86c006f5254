/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A socket as this process sees it, and what unix(7) says about its data.
 *
 * The view names the mappings of the endpoint page and of the channel.  It may
 * fall behind: another holder connects the socket, or the process forks.  Then
 * afu_sock_stale() says so and the library renews it.  The functions here want a
 * fresh view and a thread that names the view as its hazard.
 *
 * Results: a count or 0, or the negative errno of a named cause.
 */
#ifndef AFU_SOCKET_SOCK_H
#define AFU_SOCKET_SOCK_H

#include "base/iter.h"
#include "channel/channel.h"
#include "channel/endpoint.h"

#include <sys/types.h>

struct afu_sock {
	uint64_t id;
	int type;
	struct afu_endpoint *ep; /* NULL: not mapped in this process yet */
	uint32_t version;        /* of ep that the rest shows */
	uint32_t state;          /* enum afu_state */
	struct afu_channel *ch;
	uint64_t channel_id;     /* as the channel says: a hint */
	struct afu_channel *retired; /* an earlier one, mapped until nobody can be looking */
	int retired_listener;
	struct afu_side *own, *peer;
	struct afu_ring in, out;
	uint32_t numbers;        /* descriptors of this process; under the table's lock */
	_Atomic uint32_t uses;   /* calls that sleep, epoll entries: the view stays */
	int fd;                  /* one of the numbers, or a hidden duplicate while only uses are left */
	int hidden;              /* fd is such a duplicate, or -1 */
	void *watches;           /* its entries in epoll instances of this process; library/epoll.c */
};

static inline int afu_sock_stale(const struct afu_sock *s)
{
	return !s->ep || s->version != atomic_load_explicit(&s->ep->version, memory_order_acquire);
	/* acquire: pairs with the broker's write, which comes after the state's */
}

/* How one call waits. */
struct afu_patience {
	int nonblocking;
	int64_t deadline; /* ns, monotonic */
	int timed;        /* any handler ends the wait: the socket has a timeout, or a part is done */
	uint32_t sig_seq;
};

/*
 * Sends from the buffers, len bytes in all.  *sigpipe is set if the refusal comes
 * with that signal.  flags: MSG_OOB is refused here, the rest is looked at before.
 */
ssize_t afu_stream_send(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, size_t len, int flags,
			const struct afu_patience *p, int *sigpipe);
/* Receives up to len bytes. flags: MSG_PEEK, MSG_WAITALL, MSG_OOB count. */
ssize_t afu_stream_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len, int flags,
			const struct afu_patience *p);

/*
 * Set by the library: whether the other end is this process's too.  Then the broker's
 * end takes nothing away: nobody can die unnoticed.
 */
extern int (*afu_sock_peer_here)(const struct afu_sock *s);

/* The broker is gone, and with it the news of the peer. */
int afu_sock_lost(const struct afu_sock *s);

/* What poll() shows, all bits. Needs no lock. */
uint32_t afu_sock_events(const struct afu_sock *s);

/* What an edge-triggered waiter saw last. */
struct afu_edges {
	uint64_t in, out;
	uint32_t all;
	int fresh; /* registered anew: the next look reports whatever there is */
};
/* Whether something of the events' classes happened since; take: it is seen now. */
int afu_sock_edge(const struct afu_sock *s, struct afu_edges *seen, uint32_t events, int take);

/* SO_SNDBUF as far as the ring can honour it, bytes of charge. */
uint32_t afu_sock_limit(const struct afu_sock *s);

/* Asks to be rung: enters the waiter where the events come from. */
void afu_sock_watch(struct afu_sock *s, uint64_t waiter, uint32_t events);

/* The pending error, taken away; 0 if there is none. */
int afu_sock_take_error(struct afu_sock *s);

/* Unread bytes, SIOCINQ; charged bytes, SIOCOUTQ. */
size_t afu_sock_unread(struct afu_sock *s, struct afu_thread *th);
size_t afu_sock_unsent(const struct afu_sock *s);

/* shutdown() of a socket that does not listen; bits: AFU_SIDE_RSHUT, AFU_SIDE_WSHUT. */
void afu_sock_shutdown(struct afu_sock *s, uint32_t bits);

/* SO_SNDBUF was set: wakes writers if there is room now. */
void afu_sock_resized(struct afu_sock *s);

/* What the kernel charges a stream's sender for a buffer of n bytes. */
uint32_t afu_stream_charge(uint32_t n);

#endif
