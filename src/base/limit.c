/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/limit.h"

#include "base/lock.h"
#include "base/sys.h"

#include <time.h>

static struct afu_plock lock;
static unsigned int holders; /* of a limit that is raised */
static rlim_t application;   /* what it is without them */

static void put_back(void)
{
	struct rlimit r;

	if (afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r) < 0)
		return;
	/* the application set another one meanwhile: that one stays */
	if (r.rlim_cur != r.rlim_max)
		return;
	r.rlim_cur = application;
	afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &r, 0);
}

struct afu_limit afu_limit_raise(void)
{
	struct rlimit r = {1024, 1024}, more;
	struct afu_limit old;

	afu_thread_enter(afu_thread());
	afu_plock_acquire(&lock);
	if (!holders) {
		afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r);
		application = r.rlim_cur;
		more = (struct rlimit){r.rlim_max, r.rlim_max};
		holders = r.rlim_cur < r.rlim_max && afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &more, 0) == 0;
	} else {
		holders++;
	}
	old = (struct afu_limit){application, holders != 0};
	afu_plock_release(&lock);
	return old;
}

void afu_limit_restore(struct afu_limit old)
{
	if (old.raised) {
		afu_plock_acquire(&lock);
		if (--holders == 0)
			put_back();
		afu_plock_release(&lock);
	}
	afu_thread_leave(afu_thread());
}

rlim_t afu_limit_soft(void)
{
	struct rlimit r = {1024, 1024};
	rlim_t soft;

	afu_thread_enter(afu_thread());
	afu_plock_acquire(&lock);
	afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r);
	soft = holders && r.rlim_cur == r.rlim_max ? application : r.rlim_cur;
	afu_plock_release(&lock);
	afu_thread_leave(afu_thread());
	return soft;
}

void afu_limit_fork(void)
{
	struct timespec tick = {0, 20000};

	afu_plock_acquire(&lock);
	while (holders) {
		afu_plock_release(&lock);
		afu_sys(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &tick, 0);
		afu_plock_acquire(&lock);
	}
}

void afu_limit_forked(void)
{
	afu_plock_release(&lock);
}
