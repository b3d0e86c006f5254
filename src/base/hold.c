/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/hold.h"

#include "base/sys.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

/* A main thread's stack is taken to be no larger. */
#define MAIN_STACK_MAX ((uintptr_t)64 << 20)

#define FEW (sizeof((struct afu_thread *)0)->few_holds / sizeof(struct afu_hold))

static int grow(struct afu_thread *th)
{
	uint32_t room = 2 * th->max_holds;
	struct afu_hold *more;

	if (!room) {
		th->holds = th->few_holds;
		th->max_holds = FEW;
		return 1;
	}
	more = afu_sys_mmap(room * sizeof *more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (afu_sys_failed(more))
		return 0;
	for (uint32_t i = 0; i < th->n_holds; i++)
		more[i] = th->holds[i];
	if (th->holds != th->few_holds)
		afu_sys_munmap(th->holds, th->max_holds * sizeof *th->holds);
	th->holds = more;
	th->max_holds = room;
	return 1;
}

void afu_hold_at(struct afu_thread *th, uintptr_t stack, void (*release)(void *), void *object)
{
	uint32_t at;

	if (__builtin_expect(th->n_holds == th->max_holds, 0)) {
		int grown;

		afu_thread_enter(th); /* a handler would find the list half moved */
		grown = th->n_holds < th->max_holds || grow(th);
		afu_thread_leave(th);
		if (!grown) {
			th->lost_holds++;
			return;
		}
	}
	at = th->n_holds;
	th->holds[at] = (struct afu_hold){stack, release, object};
	atomic_signal_fence(memory_order_seq_cst); /* whole before it counts */
	th->n_holds = at + 1;
}

int afu_unhold(struct afu_thread *th, const void *object)
{
	for (uint32_t i = th->n_holds; i-- > 0;) {
		if (th->holds[i].object != object)
			continue;
		/* what a handler left above stays in the order in which it came */
		for (uint32_t j = i + 1; j < th->n_holds; j++)
			th->holds[j - 1] = th->holds[j];
		atomic_signal_fence(memory_order_seq_cst);
		th->n_holds--;
		return 1;
	}
	if (!th->lost_holds)
		return 0;
	th->lost_holds--;
	return 1;
}

/* Where the thread's own stack is; a handler or a coroutine may run on another one. */
static void find_stack(struct afu_thread *th)
{
	pthread_attr_t attr;
	size_t size;
	void *low;

	if (th->stack_high)
		return;
	th->stack_high = UINTPTR_MAX;
	th->stack_low = UINTPTR_MAX;
	if (th->tid == (uint32_t)afu_sys(SYS_getpid)) {
		/* the kernel put the program's name above all frames */
		th->stack_high = (uintptr_t)getauxval(AT_EXECFN);
		th->stack_low = th->stack_high > MAIN_STACK_MAX ? th->stack_high - MAIN_STACK_MAX : 0;
	} else if (pthread_getattr_np(pthread_self(), &attr) == 0) {
		if (pthread_attr_getstack(&attr, &low, &size) == 0) {
			th->stack_low = (uintptr_t)low;
			th->stack_high = th->stack_low + size;
		}
		pthread_attr_destroy(&attr);
	}
}

static int on_own_stack(const struct afu_thread *th, uintptr_t stack)
{
	return stack >= th->stack_low && stack < th->stack_high;
}

void afu_hold_reap_slow(struct afu_thread *th, uintptr_t stack)
{
	stack_t alternate;

	if (th->depth || th->holds[th->n_holds - 1].stack > stack)
		return;
	find_stack(th);
	/* a handler's own stack may lie within the thread's */
	if (!on_own_stack(th, stack) || afu_sys(SYS_sigaltstack, NULL, &alternate) < 0 ||
	    (alternate.ss_flags & SS_ONSTACK))
		return;
	while (th->n_holds) {
		struct afu_hold dead = th->holds[th->n_holds - 1];

		if (dead.stack > stack || !on_own_stack(th, dead.stack))
			break;
		th->n_holds--;
		dead.release(dead.object);
	}
}

void afu_hold_release_all(struct afu_thread *th)
{
	while (th->n_holds) {
		struct afu_hold dead = th->holds[--th->n_holds];

		dead.release(dead.object);
	}
	if (th->holds && th->holds != th->few_holds)
		afu_sys_munmap(th->holds, th->max_holds * sizeof *th->holds);
	th->holds = NULL;
	th->max_holds = 0;
}
