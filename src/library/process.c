/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/process.h"

#include "afunix/afunix.h"
#include "base/thread.h"
#include "channel/waiter.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/table.h"
#include "library/view.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

static pid_t (*real_fork)(void);

static void thread_ended(struct afu_thread *th)
{
	if (th->waiter)
		afu_waiter_put(th->waiter);
	th->waiter = NULL;
}

/*
 * In the child only this thread is left, the mappings are gone, and the bells and
 * the control channel are the parent's.  The child attaches as itself when it
 * first uses a socket.
 */
static void in_child(void)
{
	afu_thread_forked();
	afu_waiters_forked();
	afu_domain_forked();
	afu_table_forked();
	afu_view_forked();
	afu_epoll_forked();
}

void afu_process_start(void)
{
	real_fork = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
	if (!real_fork)
		real_fork = fork;
	afu_thread_ended = thread_ended;
}

pid_t afunix_fork(void)
{
	struct afu_thread *th = afu_thread();
	pid_t pid;

	if (!afu_table_size)
		return fork();
	/* nobody is in the middle of the table when the image is taken */
	afu_table_lock();
	pid = real_fork();
	if (pid == 0) {
		uint32_t depth = th->depth;

		in_child();
		th->depth = depth;
		afu_thread_leave(th);
		return 0;
	}
	afu_table_unlock();
	return pid;
}

void afu_library_reaped(void)
{
	struct afu_request req = { .op = AFU_OP_SYNC };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], saved = errno;
	unsigned int n;

	if (afu_domain_started())
		afu_domain_call(&req, NULL, 0, &reply, got, &n);
	errno = saved;
}
