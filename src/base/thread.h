/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What the core keeps for each thread.
 *
 * depth > 0 means "inside a critical section": shared positions are being changed
 * or a lock is held.  A signal handler that arrives then is put off until the
 * section ends (afu_thread_leave), so a handler may call send() on the very
 * socket that it interrupted.  Nothing sleeps inside a critical section.
 *
 * hazard names the socket whose mappings the thread is using.  Whoever closes the
 * socket's last number waits until no thread names it (afu_thread_quiesce).
 *
 * The block is thread-local storage; only the thread itself writes it, but for the
 * registry links, which are under the registry's lock.
 */
#ifndef AFU_BASE_THREAD_H
#define AFU_BASE_THREAD_H

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

struct afu_cause_state {
	uint16_t cause;
	uint16_t error;
	char detail[252];
};

struct afu_thread {
	uint32_t depth;
	_Atomic uint32_t deferred;    /* a handler was put off; its signal is blocked and pending */
	const void *_Atomic hazard;
	const void *_Atomic bell_hazard; /* the same for the directory of bells; channel/waiter.c */
	_Atomic uint32_t sig_seq;     /* a futex: counts handlers that ran in this thread */
	uint32_t sig_norestart;       /* one of them was installed without SA_RESTART */
	int32_t bell;                 /* write end to ring when a handler ran just before a sleep; -1 */
	uint32_t tid;
	uint32_t registered;
	void *robust;                 /* struct robust_list_head of libc */
	void *robust_pending;         /* what stood in its list_op_pending before a lock of ours */
	uint64_t deferred_mask;       /* signals to unblock when the section ends */
	struct afu_spin {
		uint32_t skip;        /* waits left that must not spin */
		uint32_t backoff;     /* k: a failed spin skips the next 2^k - 1 */
		uint32_t budget_ns;   /* how long a spin may take */
	} spin;
	struct afu_waiter *waiter;    /* for poll and select; channel/waiter.h */
	struct afu_hold {             /* base/hold.h */
		uintptr_t stack; /* the stack pointer when it was noted */
		void (*release)(void *object);
		void *object;
	} *holds, few_holds[8];
	uint32_t n_holds, max_holds, lost_holds;
	uintptr_t stack_low, stack_high; /* 0: not asked for yet */
	struct afu_cause_state refusal;
	struct afu_thread *next, *prev;
};

extern __thread struct afu_thread afu_thread_self;

/* Registers the thread on its first call into the core. */
void afu_thread_register(struct afu_thread *th);

/* What to do when a registered thread ends: give back what the thread holds. */
extern void (*afu_thread_ended)(struct afu_thread *th);

static inline struct afu_thread *afu_thread(void)
{
	struct afu_thread *th = &afu_thread_self;

	if (__builtin_expect(!th->registered, 0))
		afu_thread_register(th);
	return th;
}

void afu_thread_deliver(struct afu_thread *th);

static inline void afu_thread_enter(struct afu_thread *th)
{
	th->depth++;
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void afu_thread_leave(struct afu_thread *th)
{
	atomic_signal_fence(memory_order_seq_cst);
	th->depth--;
	atomic_signal_fence(memory_order_seq_cst);
	if (__builtin_expect(atomic_load_explicit(&th->deferred, memory_order_relaxed) != 0, 0) && th->depth == 0)
		afu_thread_deliver(th); /* relaxed: written by a handler of this very thread */
}

/*
 * Returns when no other thread names the object as its hazard.  The caller has
 * unpublished the object before.  May take as long as a critical section.
 */
void afu_thread_quiesce(const void *object);

/*
 * Around the system call in which a thread sleeps, outside of critical sections: it may be
 * cancelled there, and is if that was asked for before.  What the call holds is in base/hold.h.
 */
int afu_cancel_open(const struct afu_thread *th);
void afu_cancel_shut(int before);

/* Whether no other thread has ever called us. */
int afu_thread_alone(void);

/* In a forked child: only the calling thread is left. */
void afu_thread_forked(void);

/* The processor that the thread runs on, from rseq or the vDSO: no system call. */
uint32_t afu_thread_cpu(void);

#endif
