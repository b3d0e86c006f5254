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
 *
 * Whoever watches very many sockets does not look at those that were quiet for long.  They are
 * cold: their slot holds a name in its tag, and who has something for them writes this name into the bell,
 * whether its owner sleeps or not, and takes it out of the tag.  If the bell was full, or
 * says AFU_BELL_ALL, its owner looks at all that it has.  A bell can also be full of next to nothing, if a peer spliced
 * it into the pipe: then the broker is asked, and counts in the book what it can't ring for.  So peers, who can only add to a bell, can make its
 * owner look in vain, but can hide nothing that others wrote.  A name is 4 bytes that begin with the only
 * byte above 127, so it is found whatever was written around it.
 *
 * A bell may also be a signal's: nobody sleeps on it, but the kernel sends its owner a
 * signal for each byte that is written, with the permissions of whoever asked for it.
 * Its word says for which events it is rung, and the byte says which one it was.
 */
#ifndef AFU_CHANNEL_WAITER_H
#define AFU_CHANNEL_WAITER_H

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>

#define AFU_WAITERS 1024 /* at a time, per process */

struct afu_waiter_word {
	_Atomic uint32_t asleep; /* (p) its process only: how many threads sleep on it */
	_Atomic uint32_t generation;
	_Atomic uint32_t signals; /* (p) AFU_EVENT_*: nobody sleeps, the bell is rung for each of these */
	uint8_t pad[52];
};
static_assert(sizeof(struct afu_waiter_word) == 64, "one cache line");

/* What happened to a side. */
enum {
	AFU_EVENT_IN = 1,  /* the same as AFU_IN: something to receive */
	AFU_EVENT_OUT = 2, /* the same as AFU_OUT: room again */
	AFU_EVENT_HUP = 4, /* the peer closed, or shut both directions in one call */
	AFU_EVENT_URG = 8, /* out-of-band data */
	AFU_EVENT_ERR = 16,
};

/* In a bell: somebody has news and could not be told apart. */
#define AFU_BELL_ALL 0x20u
/* A handler of this very process ran before a sleep. */
#define AFU_BELL_HANDLER 0x10u

/*
 * A watcher's tag: whether it is content if another of its kind is rung; a name, 0 for none; and a number, so
 * that a late waker does not take away the same name that was given anew.
 */
#define AFU_TAG_EXCLUSIVE (UINT64_C(1) << 63)
#define AFU_NAME_MAX ((1u << 25) - 1)
#define AFU_TAG_NAME(tag) ((uint32_t)(tag)&AFU_NAME_MAX)
/* Of who wants to be rung and gives no names: one that stands there stays.  No tag of a cold one looks so. */
#define AFU_TAG_PLAIN (UINT64_C(1) << 25)
static inline uint64_t afu_tag(uint32_t name, uint64_t number)
{
	return (number << 25 & ~AFU_TAG_EXCLUSIVE) | name;
}

struct afu_waiter {
	uint64_t id; /* process << 32 | index << 16 | generation */
	struct afu_waiter_word *word;
	int bell_read, bell_write;
	uint32_t unheard; /* as it was last seen; under the lock of whoever hears */
	struct afu_waiter *next_free;
};

/* In the book; NULL in a process that is its own broker, or has none yet. */
extern const _Atomic uint32_t *afu_unheard;

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
/* The same, for each name that was called.  0: it was silent, but for handlers; AFU_BELL_ALL: everything is to be
 * looked at; else 1. */
uint32_t afu_waiter_hear(struct afu_waiter *w, void (*name)(void *arg, uint32_t name), void *arg);

/*
 * Makes it a signal's, as fcntl(2) has it for the token: the owner, the signal.  Until it is
 * put back.  0 or negative errno.
 */
int afu_waiter_signal(struct afu_waiter *w, const struct f_owner_ex *owner, int signal, uint32_t events);
/* Takes one ring of a signal's bell: the event; 0 if there is none left. */
uint32_t afu_bell_take(int bell_read);

/* Writes to a bell; never blocks, never raises SIGPIPE.  -EPIPE: nobody reads it any more. */
int afu_bell_ring(int bell_write);
/* AFU_BELL_ALL.  -EAGAIN: there is no room, and what is there will not be taken for a full bell.  AFU_BELL_HANDLER. */
int afu_bell_ring_all(int bell_write);
int afu_bell_ring_handler(int bell_write);

/*
 * Rings the waiter's bell if it is asleep, or if it is a signal's for one of the events, which may be 0.  0;
 * -ESRCH: there is no such waiter any more; -EAGAIN: its bell can't be had (no descriptor), so somebody else
 * has to ring.
 */
int afu_waiter_notify(uint64_t id, uint32_t events);
/* Writes a name into the bell, whether anybody sleeps or not.  Likewise; -EAGAIN also as above. */
int afu_waiter_call(uint64_t id, uint32_t name);
/* 1: somebody sleeps on it; else likewise. */
int afu_waiter_sleeps(uint64_t id);

/* A process is gone: what is known of its bells goes too.  For the broker. */
void afu_waiters_forget(uint32_t process);

/*
 * A socket was closed here, so a peer may have ended: asks for some of the bells that are known whether
 * their processes still are.  What was left of 100 clients is given back within the next 50 closes.
 */
void afu_waiters_tidy(void);

/* Has every waiter of this process look at everything. */
void afu_waiters_ring_all(void);

/* Whether the id names a waiter of this process that still exists. */
int afu_waiter_own(uint64_t id);

struct afu_side;
/*
 * Enters the waiter among the watchers of its own side; wanted: AFU_WATCH_IN, AFU_WATCH_OUT; 0: kicks only.
 * tag: as above.  What is looked at afterwards is looked at after that.  0, or -ENOSPC: there is
 * no slot, and who rings asks the broker.
 */
int afu_watch(struct afu_side *own, uint64_t id, uint32_t wanted, uint64_t tag);
void afu_unwatch(struct afu_side *own, uint64_t id);

/* A watcher slot overflowed: somebody has to ring everybody. */
extern void (*afu_watch_overflow)(struct afu_side *side);

#endif
