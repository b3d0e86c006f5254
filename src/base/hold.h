/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What a call holds while it may sleep, for the case that it never returns.
 *
 * A handler that interrupts a blocked call may leave it with siglongjmp(), and a thread
 * may be cancelled there.  So whatever is held is noted in a list of the thread's, with the stack
 * pointer at that moment.  The next call that begins further up the stack knows that the frame
 * below it is gone, and gives the thing back; the end of the thread gives back the rest.
 *
 * The list is the thread's own.  Handlers that come in between push and pop above.
 */
#ifndef AFU_BASE_HOLD_H
#define AFU_BASE_HOLD_H

#include "base/thread.h"

#include <pthread.h>

static inline uintptr_t afu_stack_pointer(void)
{
#if defined(__x86_64__)
	uintptr_t here;

	__asm__ volatile("mov %%rsp, %0" : "=r"(here));
	return here;
#else
	return (uintptr_t)__builtin_frame_address(0);
#endif
}

void afu_hold_at(struct afu_thread *th, uintptr_t stack, void (*release)(void *), void *object);

/* Notes it.  Inlined, so that the stack pointer is the caller's. */
static inline void afu_hold(struct afu_thread *th, void (*release)(void *), void *object)
{
	afu_hold_at(th, afu_stack_pointer(), release, object);
}

/* Takes the note back.  0: the thing was given back already, since the call was taken for dead. */
int afu_unhold(struct afu_thread *th, const void *object);

void afu_hold_reap_slow(struct afu_thread *th, uintptr_t stack);

/* At the beginning of a call, before it holds anything: gives back what dead ones held. */
static inline void afu_hold_reap(struct afu_thread *th)
{
	if (__builtin_expect(th->n_holds != 0, 0))
		afu_hold_reap_slow(th, afu_stack_pointer());
}

/* The beginning of a call that is a cancellation point. */
static inline void afu_call_begin(struct afu_thread *th)
{
	afu_hold_reap(th);
	pthread_testcancel();
}

/* At the end of the thread. */
void afu_hold_release_all(struct afu_thread *th);

#endif
