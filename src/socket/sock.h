/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A socket as this process sees it, and what unix(7) says about its data.
 *
 * The view names the mappings of the endpoint page and of the channel.  It may
 * fall behind: another holder connects the socket, somebody new sends to it, or the
 * process forks.  Then afu_sock_stale() says so and the library renews it.  The
 * functions here want a fresh view and a thread that names the view as its hazard.
 *
 * Streams and packets have one connection, which the view holds itself.  Datagrams
 * come and go through flows, one for each pair of sockets and direction.
 *
 * Results: a count or 0, or the negative errno of a named cause.
 */
#ifndef AFU_SOCKET_SOCK_H
#define AFU_SOCKET_SOCK_H

#include "base/iter.h"
#include "channel/channel.h"
#include "channel/endpoint.h"
#include "channel/seal.h"

#include <sys/types.h>

/* A direction as its receiver has it, and as its sender has it. */
struct afu_way_in {
	struct afu_ring ring;
	struct afu_ring_rx *rx;
	struct afu_side *own, *peer;
	uint64_t flow;        /* 0: the connection */
	_Atomic int parking;  /* 1 + a descriptor: where to fetch what was parked; library/parking.c; 0 */
	uint64_t deaths;      /* of owners of the lock, when something was fetched last */
	struct afu_sealed sealed;
};
struct afu_way_out {
	struct afu_ring ring;
	struct afu_ring_tx *tx;
	struct afu_side *own, *peer;
	uint64_t flow;
	_Atomic int parking;  /* likewise: where to park */
	struct afu_sealed sealed;
};

/* A name of somebody else's, as the broker told it; library/known.c. */
struct afu_known {
	uint32_t valid;
	uint32_t version; /* of the endpoint's count of names */
	uint32_t length;  /* bytes; 0: unnamed */
	uint8_t name[116];
};

/* As whom this process speaks through a socket; library/speaker.c. */
struct afu_speaker {
	_Atomic uint64_t identity; /* 0: not known */
	int32_t pid;
	uint32_t uid, gid;
};

/* Datagrams from one socket to another. */
struct afu_flow {
	uint64_t id;
	struct afu_channel *ch;
	struct afu_inbox *inbox; /* the receiver's */
	uint32_t queue_max;	 /* the receiver's net.unix.max_dgram_qlen */
	uint32_t roles;		 /* AFU_FLOW_IN, AFU_FLOW_OUT; both: a socket that sends to itself */
	struct afu_way_in in;
	struct afu_way_out out;
	struct afu_known sender;
	struct afu_flow *next; /* among the retired */
};
enum { AFU_FLOW_IN = 1, AFU_FLOW_OUT = 2 };

/* Those of one socket; never changed once it is published, replaced as a whole. */
struct afu_flows {
	size_t size;		    /* of this memory, bytes */
	struct afu_flows *next;	    /* among the retired */
	uint64_t past_in, past_out; /* what flows that are gone had counted, for edge triggers */
	uint64_t newest;	    /* the highest id that was ever seen */
	uint32_t removals;	    /* the broker's count when this was made */
	unsigned int n_in, n_out;
	struct afu_flow *peer;		 /* where datagrams without an address go */
	struct afu_flow *_Atomic recent; /* the last that brought something; to spin for */
	struct afu_flow **in, **out;
};

struct afu_sock {
	uint64_t id;
	int type;
	struct afu_endpoint *ep;     /* NULL: not mapped in this process yet */
	_Atomic uint32_t version;    /* of ep that the rest shows */
	uint32_t state;		     /* enum afu_state */
	struct afu_channel *ch;	     /* the connection; of a listener, and of datagrams, the broker's news */
	uint64_t channel_id;	     /* as the channel says: a hint */
	struct afu_channel *retired; /* an earlier one, mapped until nobody can be looking */
	int news, retired_news;	     /* of the two: it is one page, of the broker's news */
	struct afu_side *own, *peer;
	struct afu_way_in in;
	struct afu_way_out out;
	struct afu_flows *_Atomic flows; /* SOCK_DGRAM only */
	/*
	 * What is retired goes by eras: a call that looks at flows while it sleeps has a pin of its era, and
	 * what was retired in an era goes when those of that one and of all before are over.
	 */
	_Atomic uint32_t era; /* even and odd ones take turns; changed under the lock of renewing views */
	_Atomic uint32_t pins[2];
	struct afu_flows *old_flows[2];
	struct afu_flow *old_flow[2];
	uint32_t numbers;      /* descriptors of this process; under the table's lock */
	_Atomic uint32_t uses; /* calls that sleep, epoll entries: the view stays */
	int fd;		       /* one of the numbers, or a hidden duplicate while only uses are left */
	int hidden;	       /* fd is such a duplicate, or -1 */
	void *watches;	       /* its entries in epoll instances of this process; library/epoll.c */
	struct afu_known peer_name;
	struct afu_speaker speaker;
	int autobound; /* it is known to have a name */
	_Atomic int outside;	    /* 1 + a kernel socket of the same name, hidden; 0 */
	_Atomic uint32_t out_first; /* it is its turn, if something came both ways */
	/* of datagrams, under rx_lock: the time of the last in order, and who came out of it since */
	uint64_t taken_time, taken_flow, late_flow;
	uint32_t late;
};

static inline int afu_sock_stale(const struct afu_sock *s)
{
	return !s->ep || atomic_load_explicit(&s->version, memory_order_acquire) !=
				 atomic_load_explicit(&s->ep->version, memory_order_acquire);
	/* acquire: pairs with the broker's write, which comes after the state's; and with the store of whoever
	 * renewed the view, which comes after the rest of it */
}

static inline struct afu_flows *afu_sock_flows(const struct afu_sock *s)
{
	return atomic_load_explicit(&s->flows, memory_order_acquire);
	/* acquire: pairs with the release of whoever made them */
}

/* Where the book counts what happens to a way: a connection's by the own socket, whose id no peer can change. */
static inline uint64_t afu_sock_key(const struct afu_sock *s, uint64_t flow)
{
	return flow ? flow : s->id;
}

/* How one call waits. */
struct afu_patience {
	int nonblocking;
	int64_t deadline; /* ns, monotonic */
	int timed;	  /* any handler ends the wait: the socket has a timeout, or a part is done */
	uint32_t sig_seq;
	uint32_t *rounds; /* fruitless ones of the whole call, for afu_wait; NULL: each wait counts its own */
};

struct afu_screen;

/* What goes with the first record of a send. */
struct afu_sending {
	int flags;	   /* MSG_* */
	uint64_t identity; /* 0: none */
	int rights;	   /* descriptors go with it */
	uint64_t secret;   /* what tells these from others that are parked under the number; 0: nothing has to */
	const struct afu_screen *screen; /* the receiver's filter; NULL: it has none */
	/*
	 * Parks them, under the lock of the way; 0 or the negative errno of a cause.  number 0: only
	 * finds out whether they could be.
	 */
	int (*park)(struct afu_sending *m, struct afu_sock *s, struct afu_way_out *way, uint64_t number);
	const struct ucred *claim; /* who the sender says he is; NULL */
	int sigpipe;        /* result: the refusal comes with that signal */
	const void *control; /* the control data as the caller gave them, for a receiver outside the domain */
	size_t control_length;
};

/* What a receive is to heed, and what came. */
struct afu_receiving {
	int flags; /* MSG_* */
	int split; /* who speaks is to be shown; another speaker ends a stream's read */
	/*
	 * Takes descriptors out of the parking, or copies them, under the lock of the way.  secret: those alone
	 * that it goes with; NULL.
	 */
	void (*unpark)(struct afu_receiving *m, struct afu_sock *s, struct afu_way_in *way, uint64_t number,
		       const uint64_t *secret);
	uint32_t has; /* results: AFU_RECORD_* that the words below hold */
	uint64_t time, identity;
	int msg_flags; /* MSG_TRUNC, MSG_OOB */
	size_t full;   /* length of the message, or of what a peek found of it */
	uint64_t flow; /* where a datagram came from */
	int spoke;     /* something was read: there is a sender to name */
	int barrier;   /* a stream's read ends here, however much was asked for */
};

/*
 * Sending through a connection, connected.c.  One record: 0, -EAGAIN: no room, -EBUSY:
 * somebody holds the lock, -EFAULT, a refusal.
 */
int afu_connected_put(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, uint32_t n, uint32_t flags,
		      struct afu_sending *m);
/* Whether a writer that waits should look: arg is the socket. */
int afu_connected_room(void *arg);
/* After a put that failed: waits if that may help.  0 to try again, or what ends the call. */
int afu_connected_again(struct afu_sock *s, struct afu_thread *th, int err, const struct afu_patience *p,
			struct afu_wait *w);

ssize_t afu_stream_send(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, size_t len,
			struct afu_sending *m, const struct afu_patience *p);
/* done: bytes that an earlier part of the same call has received. */
ssize_t afu_stream_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
			size_t done, struct afu_receiving *m, const struct afu_patience *p);

/* -ESTALE without a cause: the receiver's filter was changed while the call waited. */
ssize_t afu_packet_send(struct afu_sock *s, struct afu_thread *th, struct afu_iter *from, size_t len,
			struct afu_sending *m, const struct afu_patience *p);
ssize_t afu_packet_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
			struct afu_receiving *m, const struct afu_patience *p);

/* Whether a datagram may be sent at all, before its destination is looked at.  0, -EAGAIN without a cause, or
 * refused. */
int afu_dgram_admit(struct afu_sock *s, size_t len, const struct afu_sending *m);
/* Waits for room in the sender's buffer.  0: look again. */
int afu_dgram_await_buffer(struct afu_sock *s, struct afu_thread *th, const struct afu_patience *p);
/*
 * Into that flow.  The length, or a refusal; -EAGAIN without a cause: the receiver's queue
 * is full; -ESHUTDOWN without one: the receiver is gone.
 */
ssize_t afu_dgram_put(struct afu_sock *s, struct afu_thread *th, struct afu_flow *flow, struct afu_iter *from,
		      size_t len, struct afu_sending *m);
/* Waits for room in the receiver's queue.  0: look again. */
int afu_dgram_await_queue(struct afu_sock *s, struct afu_thread *th, struct afu_flow *flow,
			  const struct afu_patience *p);
ssize_t afu_dgram_recv(struct afu_sock *s, struct afu_thread *th, struct afu_iter *to, size_t len,
		       struct afu_receiving *m, const struct afu_patience *p);
/* The length of the first message; 0 if there is none. */
size_t afu_dgram_first(struct afu_sock *s, struct afu_thread *th);
/* Throws away what is queued. */
void afu_dgram_purge(struct afu_sock *s, struct afu_thread *th);
/* Whether anything is queued.  Needs no lock; may be out of date. */
int afu_dgram_ready(const struct afu_sock *s);
/*
 * Of a listener and of datagrams: whether something waits at the kernel socket of the same name, for which a
 * system call is made only if something came.  And that it was found empty, when the word read seen before.
 */
int afu_sock_outside(const struct afu_sock *s);
void afu_sock_outside_empty(const struct afu_sock *s, uint32_t seen);
/* Nothing is queued: what is counted all the same is put right. */
void afu_dgram_recount(const struct afu_sock *s);

/* The locks of the two directions: 0, -EBUSY; what a dead owner left is put in order. */
void afu_sock_recover_tx(struct afu_sock *s);
void afu_sock_recover_rx(struct afu_sock *s);

static inline int afu_sock_lock_tx(struct afu_sock *s, struct afu_thread *th)
{
	int got = afu_lock_acquire(&s->ep->tx_lock, th);

	if (__builtin_expect(got > 0, 0))
		afu_sock_recover_tx(s);
	return got < 0 ? got : 0;
}

static inline int afu_sock_lock_rx(struct afu_sock *s, struct afu_thread *th)
{
	int got = afu_lock_acquire(&s->ep->rx_lock, th);

	if (__builtin_expect(got > 0, 0))
		afu_sock_recover_rx(s);
	return got < 0 ? got : 0;
}

/* A flow that an owner of the lock may have left in the middle of something; under the lock. */
void afu_flow_mend_out(struct afu_sock *s, struct afu_flow *flow);
void afu_flow_mend_in(struct afu_sock *s, struct afu_flow *flow);
/*
 * A holder of the lock is stopped: whether the call goes on trying.  0, or the
 * negative errno that ends it.  Outside the critical section.
 */
int afu_sock_patient(const struct afu_thread *th, const struct afu_patience *p);
/* In place of a result: the call has to begin anew, maybe with a socket of the kernel's. */
#define AFU_ELSEWHERE (-5000)
/* The same, and AFU_ELSEWHERE if the view is out of date: the lock may never be given back. */
int afu_sock_busy(const struct afu_sock *s, const struct afu_thread *th, const struct afu_patience *p);

/*
 * Waits for room or for something to receive.  0: look again.  -EAGAIN, -EINTR without a
 * cause; else refused: the broker is gone, and with it all hope.
 */
int afu_sock_await(struct afu_sock *s, struct afu_thread *th, struct afu_wait *w);
/*
 * One of several waits of a call: what looked ready gave nothing before, and may do so without
 * end if somebody writes what he likes.
 */
int afu_sock_await_again(struct afu_sock *s, struct afu_thread *th, struct afu_wait *w,
			 const struct afu_patience *p);

/* One record: the words that m and the receiver ask for, n bytes.  As afu_ring_put(); parks descriptors
 * first. */
int afu_record_put(struct afu_sock *s, struct afu_way_out *way, struct afu_iter *from, uint32_t n,
		   uint32_t flags, struct afu_sending *m, uint32_t charge);
/* Whether the receiver takes what goes with the message.  0, -EFAULT (the graver mistake), or a refusal. */
int afu_record_willing(const struct afu_way_out *way, const struct afu_iter *from, uint32_t n,
		       const struct afu_sending *m);
struct afu_opened;
/*
 * Tells m what the record's words say, and who speaks: o, if that was looked at.  Whoever does not want
 * descriptors drops them.
 */
void afu_record_note(struct afu_sock *s, struct afu_way_in *way, const struct afu_ring_record *rec,
		     const struct afu_opened *o, struct afu_receiving *m);
/* The record is passed over unread: descriptors that came with it are dropped. */
void afu_record_drop(struct afu_sock *s, struct afu_way_in *way, const struct afu_ring_record *rec);
/*
 * Set by the library: tells the broker of a record, or asks who told of it; takes: for the last time.  1; 0: the direction is not
 * sealed; negative errno.
 */
extern int (*afu_sealed_tell)(struct afu_sock *s, const struct afu_way_out *way, uint64_t at, const uint8_t *digest,
			      const struct afu_sending *m);
extern int (*afu_sealed_ask)(struct afu_sock *s, const struct afu_way_in *way, uint64_t at, const uint8_t *digest,
			     int takes, uint64_t *speaker, uint64_t *secret);
/* Set by the library: closes what was parked. */
extern void (*afu_unpark_none)(struct afu_sock *s, struct afu_way_in *way, uint64_t number);
/*
 * One whole message, the first of the ring: copies it, or what a peek from *skip on shows of
 * it, and consumes it.  The result of the call, or -EFAULT.
 */
ssize_t afu_record_message(struct afu_sock *s, struct afu_way_in *way, struct afu_ring_record *rec,
			   size_t skip, struct afu_iter *to, size_t len, struct afu_receiving *m);
/* Whether a peek with an offset passes the message over; *skip counts down. */
int afu_record_passed(const struct afu_ring_record *rec, int offset_on, size_t *skip);
/* An ordinary read brings SO_PEEK_OFF back by what it took, a peek moves it on. */
void afu_peek_back(struct afu_sock *s, size_t n);
void afu_peek_on(struct afu_sock *s, size_t n);
/* Tells a sender of the room that was made, if it waits for that much. */
void afu_give_room(const struct afu_way_in *way);

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

/* SO_SNDBUF, bytes, whatever a co-holder wrote into the page; and as far as the ring can honour it. */
uint32_t afu_sock_sndbuf(const struct afu_sock *s);
uint32_t afu_sock_limit(const struct afu_sock *s);

/* Whether a read or, out, a write finds what it waits for, by poll's measure. */
int afu_sock_roomy(const struct afu_sock *s);

/*
 * Asks to be rung: enters the waiter where the events come from, or takes it away.  tag: as afu_watch()
 * has it; with a name also for room beyond what poll shows already.  0, or -ENOSPC: some are rung by the broker only.
 */
int afu_sock_watch(struct afu_sock *s, uint64_t waiter, uint32_t events, uint64_t tag);
/* Whether all that can happen to it comes with a bell. */
int afu_sock_watchable(const struct afu_sock *s, uint32_t events);
void afu_sock_unwatch(struct afu_sock *s, uint64_t waiter);

/*
 * Signals for readiness: the endpoint names the bells (library/async.c).  Enters them where the
 * events come from; fresh: the connection is new, and what has come already counts too.
 */
void afu_sock_signal_watch(struct afu_sock *s, int fresh);
void afu_sock_signal_room(struct afu_sock *s);
/* A send found no room: O_ASYNC tells of it once there is some. */
static inline void afu_sock_refused(struct afu_sock *s)
{
	if (__builtin_expect(atomic_load_explicit(&s->ep->signaller[0], memory_order_relaxed) != 0, 0))
		afu_sock_signal_room(s); /* relaxed: who sets it looks for room itself */
}

/* From which sum of releases on a sender is to be woken: three quarters are drained. */
void afu_sock_set_wake_at(const struct afu_sock *s, const struct afu_way_out *way);

/* The pending error, taken away; 0 if there is none.  And whether there is one: a hint. */
int afu_sock_take_error(struct afu_sock *s);
uint32_t afu_sock_error(const struct afu_sock *s);

/* Unread bytes, SIOCINQ; charged bytes, SIOCOUTQ; SIOCATMARK. */
size_t afu_sock_unread(struct afu_sock *s, struct afu_thread *th);
size_t afu_sock_unsent(const struct afu_sock *s);
/* For datagrams: the same or more, without a look at the receivers' lines. */
size_t afu_sock_unsent_most(const struct afu_sock *s);
int afu_stream_at_mark(struct afu_sock *s, struct afu_thread *th);

/* shutdown() of a socket that does not listen; bits: AFU_SIDE_RSHUT, AFU_SIDE_WSHUT. */
void afu_sock_shutdown(struct afu_sock *s, uint32_t bits);

/* SO_SNDBUF was set: wakes writers if there is room now. */
void afu_sock_resized(struct afu_sock *s);
/* An option that concerns what senders have to send was set. */
void afu_sock_options_changed(struct afu_sock *s);
/* A way that was found just now: an option may have been set while the broker made it. */
void afu_sock_tell_new(const struct afu_sock *s, struct afu_side *own);
/* What this socket's options ask of senders: AFU_WANTS_*. */
uint32_t afu_sock_wants(const struct afu_sock *s);

/* What the kernel charges the sender for a buffer of n bytes. */
uint32_t afu_charge(int type, uint32_t n);

/* The longest message of SOCK_DGRAM and SOCK_SEQPACKET that any kernel buffer holds, bytes. */
#define AFU_MESSAGE_MAX 4263616u
/* What the kernel keeps of SO_SNDBUF for itself. */
#define AFU_MESSAGE_OVERHEAD 32u

/* Newer than the headers of the C library. */
#define AFU_SO_PASSPIDFD 76
#define AFU_SO_PEERPIDFD 77
#define AFU_SO_PASSRIGHTS 83
#define AFU_SO_INQ 84

#endif
