/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Sleeping on several things at once, for poll and epoll: one kernel wait on a
 * bell, the control channel, and kernel descriptors.
 */
#ifndef AFU_LIBRARY_WAIT_H
#define AFU_LIBRARY_WAIT_H

#include "base/thread.h"
#include "channel/waiter.h"

#include <poll.h>
#include <signal.h>
#include <stdint.h>

/* Absolute deadline of a timeout in the form of poll(2) or ppoll(2). */
int64_t afu_wait_deadline_ms(int timeout_ms);
int64_t afu_wait_deadline_ts(const struct timespec *timeout);

/*
 * The waiter is asleep, or no longer: how many sleep on it is counted, also if a call
 * never returns.
 */
void afu_wait_asleep(struct afu_thread *th, struct afu_waiter *w);
void afu_wait_awake(struct afu_thread *th, struct afu_waiter *w);

/*
 * fds has room for two more than n.  Sleeps until one is ready, the bell rings, a
 * handler runs or the deadline passes.  *rang: the bell did, and the caller drains it.  The number
 * of ready descriptors among the n, or -EINTR and other errors of ppoll(2).
 */
int afu_wait_kernel(struct afu_thread *th, const struct afu_waiter *w, struct pollfd *fds, unsigned int n,
		    int64_t deadline, const sigset_t *mask, uint32_t sig_seq, int *rang);

#endif
