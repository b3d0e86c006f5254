/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/process.h"

#include "afunix/afunix.h"
#include "base/hold.h"
#include "base/limit.h"
#include "channel/waiter.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/signal.h"
#include "library/table.h"
#include "library/view.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

static pid_t (*real_fork)(void);

static void thread_ended(struct afu_thread *th)
{
	afu_hold_release_all(th); /* of a call in which it was cancelled */
	if (th->waiter)
		afu_waiter_put(th->waiter);
	th->waiter = NULL;
}

/* Nobody is in the middle of the tables when the image is taken. */
static void before_fork(void)
{
	afu_view_lock();
	afu_table_lock();
	afu_epoll_lock();
	afu_limit_fork();
}

static void in_parent(void)
{
	afu_limit_forked();
	afu_epoll_unlock();
	afu_table_unlock();
	afu_view_unlock();
}

/*
 * In the child only this thread is left, the mappings are gone, and the bells and
 * the control channel are the parent's.  The child attaches as itself when it
 * first uses a socket.
 */
static void in_child(void)
{
	struct afu_thread *th = &afu_thread_self;

	afu_thread_forked();
	afu_limit_forked();
	afu_waiters_forked();
	afu_domain_forked();
	afu_table_forked();
	afu_view_forked();
	afu_epoll_forked();
	afu_signal_forked();
	/* of afu_table_lock() and afu_view_lock() */
	afu_thread_leave(th);
	afu_thread_leave(th);
}

void afu_process_start(void)
{
	real_fork = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
	if (!real_fork)
		real_fork = fork;
	afu_thread_ended = thread_ended;
	/* registered first, so ours is the last to prepare and the first to go on: other handlers may use sockets */
	pthread_atfork(before_fork, in_parent, in_child);
}

pid_t afunix_fork(void)
{
	return real_fork ? real_fork() : fork();
}

static void sync_broker(void)
{
	int saved = errno;

	if (afu_domain_started())
		afu_domain_sync();
	errno = saved;
}

void afu_library_reaped(void)
{
	sync_broker();
}

void afu_library_attach(void)
{
	sync_broker();
}
