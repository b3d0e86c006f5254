/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/thread.h"

#include "base/futex.h"
#include "base/lock.h"
#include "base/sys.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

__thread struct afu_thread afu_thread_self;
void (*afu_thread_ended)(struct afu_thread *th);

static struct afu_plock registry_lock;
static struct afu_thread registry = { .next = &registry, .prev = &registry };
static _Atomic unsigned int registry_count; /* changed under the lock */
static int have_membarrier;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void forget(void *p)
{
	struct afu_thread *th = p;

	if (afu_thread_ended)
		afu_thread_ended(th);
	afu_thread_enter(th);
	afu_plock_acquire(&registry_lock);
	th->prev->next = th->next;
	th->next->prev = th->prev;
	registry_count--;
	afu_plock_release(&registry_lock);
	afu_thread_leave(th);
	th->registered = 0;
}

static void prepare(void)
{
	pthread_key_create(&exit_key, forget);
	have_membarrier = afu_sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void afu_thread_register(struct afu_thread *th)
{
	struct robust_list_head *head = NULL;
	size_t len;

	/* A handler that interrupts this finds depth > 0 and is put off. */
	th->depth++;
	atomic_signal_fence(memory_order_seq_cst);
	pthread_once(&once, prepare);
	th->tid = (uint32_t)afu_sys(SYS_gettid);
	th->bell = -1;
	th->spin.budget_ns = 30000;
	if (afu_sys(SYS_get_robust_list, 0, &head, &len) == 0)
		th->robust = head;
	afu_plock_acquire(&registry_lock);
	th->next = registry.next;
	th->prev = &registry;
	registry.next->prev = th;
	registry.next = th;
	registry_count++;
	afu_plock_release(&registry_lock);
	th->registered = 1;
	pthread_setspecific(exit_key, th);
	afu_thread_leave(th);
}

void afu_thread_deliver(struct afu_thread *th)
{
	uint64_t mask = th->deferred_mask;

	atomic_store_explicit(&th->deferred, 0, memory_order_relaxed); /* this thread's own */
	th->deferred_mask = 0;
	afu_sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, 0, sizeof mask);
}

static int named_by_another(const struct afu_thread *self, const void *object)
{
	const struct afu_thread *th;
	int named = 0;

	afu_plock_acquire(&registry_lock);
	for (th = registry.next; th != &registry; th = th->next) {
		/* acquire: pairs with the release that clears it */
		named |= th != self &&
			 (atomic_load_explicit(&th->hazard, memory_order_acquire) == object ||
			  atomic_load_explicit(&th->bell_hazard, memory_order_acquire) == object);
	}
	afu_plock_release(&registry_lock);
	return named;
}

void afu_thread_quiesce(const void *object)
{
	struct afu_thread *self = afu_thread();

	/* the caller's store that unpublished the object comes before the look; a new thread's entry is an
	 * exchange, and comes before what it loads */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&registry_count) <= 1)
		return; /* a thread that begins now finds the object unpublished */
	afu_thread_enter(self);
	/*
	 * The other threads store their hazard without a fence; this makes each of them
	 * pass one now.
	 */
	if (!have_membarrier || afu_sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0)
		afu_sys(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	/* not under the registry's lock: one of them may be on its way here for another object */
	while (named_by_another(self, object)) {
		struct timespec tick = { 0, 20000 };

		afu_sys(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &tick, 0);
	}
	afu_thread_leave(self);
}

int afu_cancel_open(const struct afu_thread *th)
{
	int before = PTHREAD_CANCEL_DEFERRED;

	if (!th->depth)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	return before;
}

void afu_cancel_shut(int before)
{
	if (before != PTHREAD_CANCEL_ASYNCHRONOUS)
		pthread_setcanceltype(before, NULL);
}

int afu_thread_alone(void)
{
	return registry_count <= 1;
}

void afu_thread_forked(void)
{
	struct afu_thread *self = &afu_thread_self;

	registry_lock = (struct afu_plock){ 0 };
	registry.next = registry.prev = &registry;
	registry_count = 0;
	self->tid = (uint32_t)afu_sys(SYS_gettid);
	self->waiter = NULL;
	self->n_holds = self->lost_holds = 0;
	self->bell = -1;
	if (self->registered) {
		struct robust_list_head *head = NULL;
		size_t len;

		if (afu_sys(SYS_get_robust_list, 0, &head, &len) == 0)
			self->robust = head;
		self->next = self->prev = &registry;
		registry.next = registry.prev = self;
		registry_count = 1;
	}
}

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
#include <sys/rseq.h>

uint32_t afu_thread_cpu(void)
{
	if (__rseq_size) {
		const char *self = __builtin_thread_pointer();
		const struct rseq *area = (const void *)(self + __rseq_offset);
		uint32_t cpu = *(const volatile uint32_t *)&area->cpu_id;

		if ((int32_t)cpu >= 0)
			return cpu;
	}
	return (uint32_t)sched_getcpu();
}
#else
uint32_t afu_thread_cpu(void)
{
	return (uint32_t)sched_getcpu();
}
#endif
