/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/lock.h"

#include "base/clock.h"
#include "base/relax.h"

#define SLICE_NS 200000
#define PATIENCE_NS 1000000

int afu_lock_contend(struct afu_lock *lock, struct afu_thread *th)
{
	int64_t deadline = afu_clock_ns() + PATIENCE_NS;

	for (unsigned int round = 0;; round++) {
		uint32_t w = atomic_load_explicit(&lock->word, memory_order_relaxed); /* checked by the CAS */
		struct timespec slice = { 0, SLICE_NS };

		/* OWNER_DIED: the kernel's mark.  Our own tid may be a live one's in another PID namespace. */
		if ((w & FUTEX_TID_MASK) == 0 || (w & FUTEX_OWNER_DIED)) {
			int died = w != 0;

			if (atomic_compare_exchange_strong_explicit(&lock->word, &w, th->tid,
								    memory_order_acquire, memory_order_relaxed))
				return died;
			continue;
		}
		if (round < 64) {
			afu_relax();
			continue;
		}
		if (afu_clock_ns() >= deadline) {
			struct robust_list_head *head = th->robust;

			if (head)
				head->list_op_pending = th->robust_pending;
			return -EBUSY;
		}
		if (!(w & FUTEX_WAITERS) &&
		    !atomic_compare_exchange_strong_explicit(&lock->word, &w, w | FUTEX_WAITERS,
							     memory_order_relaxed, memory_order_relaxed))
			continue; /* relaxed: only a request to be woken */
		afu_futex_wait(&lock->word, w | FUTEX_WAITERS, 1, &slice);
	}
}
