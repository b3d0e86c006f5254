/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Two locks.
 *
 * afu_plock: within one process, never held across a sleep or by a process that
 * may be forked without it (the fork wrapper takes them all).
 *
 * afu_lock: a word in memory that several processes write, who need not trust one
 * another.  The word holds the owner's thread id.  While a thread holds it, the
 * kernel knows of the word through list_op_pending of the thread's robust list,
 * and marks it when the thread dies; the next owner is told (1) and repairs what
 * the lock protects.  Nothing in the shared memory is a pointer, so nobody can
 * aim the kernel or us at an address.  Release is a plain store: an atomic one
 * costs 30 to 40 ns.  The price: a waiter that announces itself in that very
 * moment is not woken, so waiters sleep for 200 us at most.
 *
 * Both must be held inside a critical section (base/thread.h).
 */
#ifndef AFU_BASE_LOCK_H
#define AFU_BASE_LOCK_H

#include "base/futex.h"
#include "base/thread.h"

#include <stdatomic.h>
#include <stdint.h>

struct afu_plock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody sleeps */
};

static inline void afu_plock_acquire(struct afu_plock *lock)
{
	uint32_t free = 0;

	if (atomic_compare_exchange_strong_explicit(&lock->word, &free, 1, memory_order_acquire,
						    memory_order_relaxed))
		return; /* acquire: pairs with the release below */
	while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
		afu_futex_wait(&lock->word, 2, 0, NULL);
}

/* 1: held. */
static inline int afu_plock_try(struct afu_plock *lock)
{
	uint32_t free = 0;

	return atomic_compare_exchange_strong_explicit(&lock->word, &free, 1, memory_order_acquire,
						       memory_order_relaxed); /* as above */
}

static inline void afu_plock_release(struct afu_plock *lock)
{
	if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
		afu_futex_wake(&lock->word, 1, 0);
}

struct afu_lock {
	_Atomic uint32_t word; /* (a) thread id of the owner, FUTEX_WAITERS, FUTEX_OWNER_DIED */
};

static inline void *afu_lock_node(const struct afu_thread *th, struct afu_lock *lock)
{
	const struct robust_list_head *head = th->robust;

	return (char *)(uintptr_t)&lock->word - head->futex_offset;
}

/* Slow half of afu_lock_acquire(). */
int afu_lock_contend(struct afu_lock *lock, struct afu_thread *th);

/*
 * 0: held.  1: held, and the owner before died holding it.  -EBUSY after 1 ms: a live
 * owner holds it, or is stopped, or somebody scribbled on the word.  The caller leaves
 * its critical section, so that handlers run, before it tries again.
 */
static inline int afu_lock_acquire(struct afu_lock *lock, struct afu_thread *th)
{
	struct robust_list_head *head = th->robust;
	uint32_t free = 0;

	if (head) {
		/* libc may be in the middle of a robust mutex of its own, if this is a handler */
		th->robust_pending = head->list_op_pending;
		head->list_op_pending = afu_lock_node(th, lock);
	}
	atomic_signal_fence(memory_order_seq_cst);
	if (atomic_compare_exchange_strong_explicit(&lock->word, &free, th->tid, memory_order_acquire,
						    memory_order_relaxed))
		return 0; /* acquire: pairs with the release in afu_lock_release() */
	return afu_lock_contend(lock, th);
}

static inline void afu_lock_release(struct afu_lock *lock, struct afu_thread *th)
{
	struct robust_list_head *head = th->robust;
	uint32_t now = atomic_load_explicit(&lock->word, memory_order_relaxed); /* a hint: see the head */

	atomic_store_explicit(&lock->word, 0, memory_order_release);
	if (now & FUTEX_WAITERS)
		afu_futex_wake(&lock->word, 1, 1);
	atomic_signal_fence(memory_order_seq_cst);
	if (head)
		head->list_op_pending = th->robust_pending;
}

#endif
