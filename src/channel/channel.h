/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * One connection's shared memory, and the rules for waiting and waking on it.
 *
 * A channel is a sealed memfd that both ends map for writing: for each side the
 * words that this side sleeps on and the state that the other end may change, and
 * a ring each way.  ring[i] carries from side i to side 1 - i.  A listener has a
 * channel too, between its holders (side 0) and the broker, without rings.
 * Nothing in it is trusted: it never identifies anybody, every value is checked,
 * and the worst that a hostile end can do is spoil this connection.
 *
 * Waiting and waking on one socket (WAIT, WAKE, KICK):
 *
 *   WAIT(X, cond, bit)
 *    0 if cond(): return
 *    1 s = load(seq)
 *    2 fetch_add(want, 16); fetch_or(want, bit)     two seq_cst RMWs, in that order
 *    3 if cond(): return                            loads after 2
 *    4 futex_waitv {(seq, s), (the thread's sig_seq, v), (alive, v)}
 *    5 signal or timeout: return.  A waiter never clears want.
 *    6 after 64 fruitless rounds sleep 1 ms before the next; go to 1
 *   WAKE(X, bits)
 *    a publish (release)
 *    b fence(seq_cst)
 *    c w = load(want); nobody announced: done      the busy path ends here
 *    d sleepers: fetch_add(seq, 1), FUTEX_WAKE all, CAS(want, w, w & ~bits);
 *      failure: somebody announced again, the bit stays
 *    e watchers (threads in poll, epoll instances): ring the bell of those asleep
 *   KICK(X): d and e unconditionally, for shutdown, close, a holder gone
 *
 * A listener's sleepers are woken one for each connection: d wakes one, and leaves the bit
 * as long as there was somebody to wake.  Whoever was woken and goes without a connection passes it
 * on; for one that dies, its broker kicks the listener.
 *
 * A waiter that misses the publish has announced before c; then d reaches it,
 * since seq moved after 1.  Waking before the CAS is essential: a waker that is
 * stopped or killed between the two leaves the bit set and the next one wakes again.
 */
#ifndef AFU_CHANNEL_CHANNEL_H
#define AFU_CHANNEL_CHANNEL_H

#include "base/thread.h"
#include "ring/ring.h"

#include <stdatomic.h>
#include <stdint.h>

#define AFU_CHANNEL_MAGIC 0x61667563u
#define AFU_CHANNEL_WATCHERS 8

/* Bits of want. */
enum {
	AFU_IN = 1,        /* somebody sleeps until there is something to receive */
	AFU_OUT = 2,       /* ... until there is room to send */
	AFU_WATCH_IN = 4,  /* watchers want to know the same */
	AFU_WATCH_OUT = 8, /* one-shot */
};

/* Bits of flags; only ever set, unless it says otherwise. */
enum {
	AFU_SIDE_RSHUT = 1,
	AFU_SIDE_WSHUT = 2,
	AFU_SIDE_CLOSED = 4,   /* this side's socket is gone */
	AFU_SIDE_OVERFLOW = 8, /* more watchers than slots: the broker is asked to ring */
	/* Of the receiving side of a flow of datagrams; these two the broker takes back too. */
	AFU_SIDE_BACK = 16,      /* it is connected to the sender, or is the sender */
	AFU_SIDE_ELSEWHERE = 32, /* it is connected to a third socket */
	AFU_SIDE_SELF = 64,      /* it is the sender */
	/* As OVERFLOW, of watchers who are content if another is rung. */
	AFU_SIDE_CROWDED = 128,
};

/* Bits of wants: what this side's holders have the other end send with each record. */
enum {
	AFU_WANTS_IDENTITY = 1, /* SO_PASSCRED or SO_PASSPIDFD */
	AFU_WANTS_TIME = 2,     /* SO_TIMESTAMP */
	AFU_WANTS_NO_RIGHTS = 4, /* SO_PASSRIGHTS is off */
	AFU_WANTS_EMBRYO = 8,   /* nobody has accepted it yet */
	AFU_WANTS_FILTER = 16,  /* its socket filter is to be run; AFU_WANTS_PROGRAM counts its changes */
};
#define AFU_WANTS_PROGRAM 0xffffff00u
/* What is so of an accepted socket because it was of its listener. */
#define AFU_WANTS_INHERITED (AFU_WANTS_IDENTITY | AFU_WANTS_NO_RIGHTS)

/* What side X sleeps on, and what the other end tells it. */
struct afu_side {
	_Atomic uint64_t want;    /* (a) version << 4 | bits */
	_Atomic uint32_t seq;     /* (a) futex */
	_Atomic uint32_t cpu;     /* (a) 1 + the processor that this side ran on when last seen */
	_Atomic uint32_t flags;   /* (a) */
	_Atomic uint32_t error;   /* (a) pending error, SO_ERROR */
	_Atomic uint64_t wake_at; /* (a) released charge from which on OUT is worth a wake-up */
	_Atomic int64_t woken_ns; /* (a) when the last waker rang, monotonic; only for the spin budget */
	_Atomic uint32_t kicks;   /* (a) counts events of all classes, for edge triggers */
	_Atomic uint32_t rooms;   /* (a) counts wake-ups for room in a receiver's queue, and dropped messages, likewise */
	_Atomic uint32_t wants;   /* (a) */
	uint32_t pad[3];
	_Atomic uint64_t watcher[AFU_CHANNEL_WATCHERS]; /* (a) waiter ids, see waiter.h */
	_Atomic uint64_t tag[AFU_CHANNEL_WATCHERS];     /* (a) how each is to be rung: AFU_TAG_* of waiter.h */
};
static_assert(sizeof(struct afu_side) == 192, "three cache lines");

struct afu_channel {
	uint32_t magic;            /* (k) */
	uint32_t listener;         /* (k) 1: side 0 and pending only, one page */
	uint64_t id;               /* (k) */
	_Atomic uint32_t pending;  /* (b) connections that wait on a listener */
	_Atomic uint32_t arrived;  /* (b) counts what came, for edge triggers */
	/*
	 * (a) The kernel socket of the same name: how often something came << 1 | nobody has found it empty since.
	 * The broker counts; a holder who found it empty takes the bit away if nothing was counted meanwhile.
	 */
	_Atomic uint32_t outside;
	uint8_t pad[36];
	struct afu_side side[2];
	struct afu_ring_head head[2];
	struct afu_ring_mark mark[2];
};

#define AFU_CHANNEL_SMALL_AT 4096u
#define AFU_CHANNEL_LARGE_AT 8192u
#define AFU_CHANNEL_HUGE_AT (AFU_CHANNEL_LARGE_AT + (2u << AFU_RING_LARGE_SHIFT))
#define AFU_CHANNEL_SIZE (AFU_CHANNEL_HUGE_AT + (2u << AFU_RING_HUGE_SHIFT))
static_assert(sizeof(struct afu_channel) <= AFU_CHANNEL_SMALL_AT, "fits a page");
static_assert(AFU_CHANNEL_SMALL_AT + (2u << AFU_RING_SMALL_SHIFT) <= AFU_CHANNEL_LARGE_AT, "fits a page");

/*
 * Maps a channel's memory after checking its seals and size.  0 or negative errno.
 * The mapping does not follow a fork.
 */
int afu_channel_map(int fd, int listener, struct afu_channel **to);
void afu_channel_unmap(struct afu_channel *ch, int listener);

/* What a side is told; the data before it are seen too. */
static inline uint32_t afu_side_flags(const struct afu_side *side)
{
	return atomic_load_explicit(&side->flags, memory_order_acquire);
	/* acquire: pairs with the fetch_or of whoever shut it */
}

/*
 * What all who send datagrams to one socket share: how many lie in its queue.  Any of
 * them can write anything here, and reach what a sender can reach anyhow: a queue that is full,
 * or one that holds as much as each sender's own buffer admits.
 */
struct afu_inbox {
	_Atomic uint32_t queued; /* (a) senders add before they publish, receivers take away */
	uint8_t pad[4092];
};
static_assert(sizeof(struct afu_inbox) == 4096, "one page");

/* What the broker tells all processes of the domain; they map it for reading. */
#define AFU_BOOK_SEALS 512
struct afu_book {
	_Atomic uint32_t alive; /* (b) the thread that is the broker; marked by the kernel when it ends */
	_Atomic uint32_t unheard; /* (b) counts rings that found no room in a bell that holds little */
	uint8_t pad[2040];
	_Atomic uint32_t seal[AFU_BOOK_SEALS]; /* (b) counts sealed directions, by their ends' and flows' ids; seal.h */
};
static_assert(sizeof(struct afu_book) == 4096, "one page");

/* The view of the ring from the given side on. */
struct afu_ring afu_channel_ring(struct afu_channel *ch, unsigned int from);

/* The broker's life: a word that it holds; NULL in a process that is its own broker. */
extern const _Atomic uint32_t *afu_alive;

/* Whether the broker is known to be gone. */
int afu_alive_lost(void);

void afu_wake_slow(struct afu_side *side, uint64_t want, uint32_t bits);

/* WAKE.  bits: AFU_IN or AFU_OUT, the condition that was just made true. */
static inline void afu_wake(struct afu_side *side, uint32_t bits)
{
	uint64_t want;

	atomic_thread_fence(memory_order_seq_cst);
	want = atomic_load_explicit(&side->want, memory_order_relaxed); /* ordered by the fence */
	if (__builtin_expect((want & (bits | bits << 2)) != 0, 0))
		afu_wake_slow(side, want, bits);
}

/* WAKE for what only one can take: of those that sleep in a call one is woken, of the exclusive watchers one. */
void afu_wake_one(struct afu_side *side);

/* The same for those who wait only: nothing has become true, they are to look again. */
void afu_nudge(struct afu_side *side, uint32_t bits);

void afu_kick(struct afu_side *side);
/* The same without an event: they look, and find what they find. */
void afu_rouse(struct afu_side *side);
/* The same for an event of the class OUT alone: room. */
void afu_relieve(struct afu_side *side);
/* Rings for AFU_EVENT_*, for those who asked for signals; sleepers are woken by the others. */
void afu_signal(struct afu_side *side, uint32_t events);

/* Tells the peer which processor this side runs on. */
static inline void afu_publish_cpu(struct afu_side *own)
{
	uint32_t cpu = 1 + afu_thread_cpu();

	if (atomic_load_explicit(&own->cpu, memory_order_relaxed) != cpu)
		atomic_store_explicit(&own->cpu, cpu, memory_order_relaxed); /* a hint, orders nothing */
}

/* futex_waitv(2) takes 128 words, and three are spoken for. */
#define AFU_WAIT_MORE 120

/* One blocking call's wait. */
struct afu_wait {
	struct afu_side *own, *peer; /* peer may be NULL: then no spinning */
	struct afu_side *const *more; /* others to sleep on as well, at most AFU_WAIT_MORE */
	unsigned int n_more;
	uint32_t bit;                /* AFU_IN or AFU_OUT */
	int (*ready)(void *arg);     /* looks without a lock */
	void *arg;
	int64_t deadline;            /* ns, monotonic; AFU_NEVER */
	uint32_t sig_seq;            /* the thread's count of handlers when the call began */
	uint32_t rounds;             /* since the last progress; the caller sets it to 0 then */
	int timed;                   /* the socket has a timeout: any handler interrupts */
	int alone;                   /* the broker's end changes nothing */
};

/*
 * Sleeps until ready() may be true.  0: look again.  -EINTR, -ETIMEDOUT; -ENETDOWN:
 * the broker is gone and nothing is ready.
 */
int afu_wait(struct afu_thread *th, struct afu_wait *w);

/*
 * The spinning part, for waits on several things: 1 when ready() became true.
 * peer_cpu: 1 + the processor of who is waited for, 0 if unknown.
 */
int afu_spin(struct afu_thread *th, const _Atomic uint32_t *peer_cpu, int (*ready)(void *), void *arg,
	     int64_t deadline);

#endif
