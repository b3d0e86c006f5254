/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Bells: waking those who wait on several things.
 *
 * A waiter is a thread in poll() or select(), or an epoll instance.  It has a
 * pipe whose read end only it reads, and a word in its process's status page,
 * which only its process can write and peers see read-only: asleep or not.  Its
 * id stands in the watcher slots of the channels that it watches.  To sleep:
 * asleep = 1, fence, look at everything, then one kernel wait that includes the
 * bell; asleep = 0.  A waker looks at the word and writes a byte only to a sleeper.
 *
 * A bell carries hints only.  A full pipe is a wake-up already.  Who drains a
 * bell looks at everything afterwards, and rings it again if it leaves something
 * ready behind.
 */
#ifndef AFU_CHANNEL_WAITER_H
#define AFU_CHANNEL_WAITER_H

#include <stdatomic.h>
#include <stdint.h>

#define AFU_WAITERS 1024 /* at a time, per process */

struct afu_waiter_word {
	_Atomic uint32_t asleep; /* (p) its process only: how many threads sleep on it */
	_Atomic uint32_t generation;
	uint8_t pad[56];
};

struct afu_waiter {
	uint64_t id; /* process << 32 | index << 16 | generation */
	struct afu_waiter_word *word;
	int bell_read, bell_write;
	struct afu_waiter *next_free;
};

/* How a process learns of others' bells and makes its own known. */
struct afu_waiter_ops {
	/* Tells the broker of a new waiter; takes a duplicate of the write end. */
	int (*announce)(uint32_t index, int bell_write);
	/* Fetches the status page and a write end of somebody's bell. */
	int (*fetch)(uint64_t id, int *page, int *bell_write); /* -EPERM, -ESRCH: there is none */
};
extern const struct afu_waiter_ops *afu_waiter_ops;

/*
 * Makes the status page of this process.  *page is its descriptor, for the broker;
 * the caller closes it.  0 or negative errno.
 */
int afu_waiters_start(int *page);
/* The number that the broker gave this process. */
void afu_waiters_process(uint32_t process);
/* In a forked child: all waiters are the parent's. */
void afu_waiters_forked(void);

/* A waiter for this thread or epoll instance; NULL when there are none left. */
struct afu_waiter *afu_waiter_get(void);
void afu_waiter_put(struct afu_waiter *w);

/* Empties the bell. */
void afu_waiter_drain(const struct afu_waiter *w);

/* Writes to a bell; never blocks, never raises SIGPIPE.  -EPIPE: nobody reads it any more. */
int afu_bell_ring(int bell_write);

/*
 * Rings the waiter's bell if it is asleep.  0; -ESRCH: there is no such waiter any more;
 * -EAGAIN: its bell can't be had (no descriptor), so somebody else has to ring.
 */
int afu_waiter_notify(uint64_t id);

/* A process is gone: what is known of its bells goes too.  For the broker. */
void afu_waiters_forget(uint32_t process);

/* Rings every waiter of this process that is asleep. */
void afu_waiters_ring_all(void);

/* Whether the id names a waiter of this process that still exists. */
int afu_waiter_own(uint64_t id);

struct afu_side;
/* Enters the waiter among the watchers of its own side; wanted: AFU_WATCH_IN, AFU_WATCH_OUT. */
void afu_watch(struct afu_side *own, uint64_t id, uint32_t wanted);
void afu_unwatch(struct afu_side *own, uint64_t id);

/* A watcher slot overflowed: somebody has to ring everybody. */
extern void (*afu_watch_overflow)(struct afu_side *side);

#endif
