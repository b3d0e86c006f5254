/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The embedded mode's gate: a call of the broker under a lock.  Descriptors are
 * duplicated where a control channel would have passed them.
 */
#include "gate/gate.h"

#include "base/limit.h"
#include "base/lock.h"
#include "base/sys.h"
#include "base/thread.h"
#include "broker/broker.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static struct direct {
	struct afu_gate gate;
	struct afu_plock lock;
	struct afu_broker *broker;
	struct afu_client *client;
} direct;

static int call(struct afu_gate *gate, struct afu_request *req, const int *fds, unsigned int n,
		struct afu_reply *reply, int *got, unsigned int *n_got)
{
	struct afu_thread *th = afu_thread();
	struct afu_caller who = { (pid_t)afu_sys(SYS_getpid), (uid_t)afu_sys(SYS_geteuid),
				  (gid_t)afu_sys(SYS_getegid) };
	struct afu_reply_fds out;
	struct afu_limit limit;
	int given[AFU_MESSAGE_FDS], cancel, err = 0, saved = errno; /* the broker calls libc */

	/* the library has asked the kernel whether the claim is allowed */
	if (req->claimed)
		who = (struct afu_caller){ (pid_t)req->claim_pid, req->claim_uid, req->claim_gid };

	if (!direct.broker)
		return -ENETDOWN; /* a forked child of an embedded domain */
	afu_thread_enter(th);
	limit = afu_limit_raise();
	for (unsigned int i = 0; i < n; i++)
		given[i] = (int)afu_sys(SYS_fcntl, fds[i], F_DUPFD_CLOEXEC, 0);
	afu_plock_acquire(&direct.lock);
	/* some of what it calls is a cancellation point */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	afu_broker_handle(direct.broker, direct.client, &who, req, given, n, reply, &out);
	for (unsigned int i = 0; i < out.n; i++) {
		got[i] = out.ours[i] ? (int)afu_sys(SYS_fcntl, out.fd[i], F_DUPFD_CLOEXEC, 0) : out.fd[i];
		if (got[i] < 0)
			err = got[i];
	}
	pthread_setcancelstate(cancel, NULL);
	afu_limit_restore(limit);
	afu_plock_release(&direct.lock);
	*n_got = out.n;
	for (unsigned int i = 0; i < n; i++) {
		if (given[i] >= 0)
			afu_sys_close(given[i]);
	}
	if (err) {
		while (*n_got)
			afu_sys_close(got[--*n_got]);
	}
	errno = saved;
	afu_thread_leave(th);
	return err;
}

static void forked(struct afu_gate *gate)
{
	/* the parent's broker is the parent's; an embedded domain is one process */
	direct.broker = NULL;
	direct.lock = (struct afu_plock){ 0 };
}

struct afu_gate *afu_gate_direct(void)
{
	direct.gate = (struct afu_gate){ .call = call, .fd = -1, .forked = forked };
	direct.broker = afu_broker_new("", 0);
	if (!direct.broker)
		return NULL;
	direct.client = afu_broker_client_new(direct.broker);
	return direct.client ? &direct.gate : NULL;
}
