/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/wait.h"

#include "base/clock.h"
#include "base/hold.h"
#include "base/sys.h"
#include "channel/channel.h"
#include "library/domain.h"

#define NO_WAITER_SLICE_NS 1000000

int64_t afu_wait_deadline_ms(int timeout_ms)
{
	return timeout_ms < 0 ? AFU_NEVER : afu_clock_deadline((int64_t)timeout_ms * 1000000);
}

int64_t afu_wait_deadline_ts(const struct timespec *timeout)
{
	int64_t ns;

	if (!timeout)
		return AFU_NEVER;
	if (__builtin_mul_overflow((int64_t)timeout->tv_sec, INT64_C(1000000000), &ns) ||
	    __builtin_add_overflow(ns, (int64_t)timeout->tv_nsec, &ns))
		return AFU_NEVER;
	return afu_clock_deadline(ns);
}

static void awake(void *word)
{
	atomic_fetch_sub(&((struct afu_waiter_word *)word)->asleep, 1);
}

void afu_wait_asleep(struct afu_thread *th, struct afu_waiter *w)
{
	afu_hold(th, awake, w->word);
	atomic_fetch_add(&w->word->asleep, 1);
}

void afu_wait_awake(struct afu_thread *th, struct afu_waiter *w)
{
	if (afu_unhold(th, w->word))
		awake(w->word);
}

int afu_wait_kernel(struct afu_thread *th, const struct afu_waiter *w, struct pollfd *fds, unsigned int n,
		    int64_t deadline, const sigset_t *mask, uint32_t sig_seq, int *rang)
{
	struct timespec left, *timeout = NULL;
	unsigned int extra = 0;
	int ready, cancel;

	if (w)
		fds[n + extra++] = (struct pollfd){ .fd = w->bell_read, .events = POLLIN };
	if (afu_domain_fd() >= 0 && !afu_alive_lost())
		fds[n + extra++] = (struct pollfd){ .fd = afu_domain_fd() }; /* only its hang-up */
	if (!w) {
		int64_t slice = afu_clock_deadline(NO_WAITER_SLICE_NS);

		deadline = slice < deadline ? slice : deadline;
	}
	if (deadline != AFU_NEVER) {
		int64_t now = afu_clock_ns();

		left = afu_clock_timespec(deadline > now ? deadline - now : 0);
		timeout = &left;
	}
	/* a handler from here on rings the bell; one before shows in sig_seq */
	th->bell = w ? w->bell_write : -1;
	atomic_signal_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&th->sig_seq, memory_order_relaxed) != sig_seq) /* this thread's own */
		ready = -EINTR;
	else {
		cancel = afu_cancel_open(th);
		ready = (int)afu_sys(SYS_ppoll, fds, n + extra, timeout, mask, sizeof(uint64_t));
		afu_cancel_shut(cancel);
	}
	th->bell = -1;
	for (unsigned int i = 0; i < extra && ready > 0; i++) {
		if (!fds[n + i].revents)
			continue;
		ready--;
		if (w && i == 0)
			*rang = 1;
	}
	if (ready >= 0 && atomic_load_explicit(&th->sig_seq, memory_order_relaxed) != sig_seq && ready == 0)
		return -EINTR;
	return ready;
}
