/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The control channel of a process to its domain's broker.
 *
 * One request at a time.  Each carries SCM_CREDENTIALS with the effective ids, so
 * the broker judges the caller as it is now, not as it was when it attached.
 */
#include "gate/gate.h"

#include "base/limit.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/sys.h"
#include "base/thread.h"
#include "channel/seal.h"
#include "channel/waiter.h"

#include <string.h>
#include <sys/socket.h>

static struct control {
	struct afu_gate gate;
	struct afu_plock lock;
	struct afu_address address;
	uint32_t serial;
	int lost; /* the broker was there and is gone */
} control;

union ancillary {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(AFU_MESSAGE_FDS * sizeof(int))];
};

/* Appends one control message; the length of all. */
static size_t append(union ancillary *anc, size_t at, int type, const void *data, size_t n)
{
	struct cmsghdr *c = (void *)(anc->bytes + at);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(c), data, n);
	return at + CMSG_SPACE(n);
}

static long send_request(int fd, const struct afu_request *req, const int *fds, unsigned int n)
{
	struct iovec iov = { (void *)(uintptr_t)req, sizeof *req };
	union ancillary anc;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes };
	struct ucred me = { (pid_t)req->claim_pid, req->claim_uid, req->claim_gid };
	int named = 1;
	long ret;

	if (!req->claimed)
		me = (struct ucred){ (pid_t)afu_sys(SYS_getpid), (uid_t)afu_sys(SYS_geteuid), (gid_t)afu_sys(SYS_getegid) };
	do {
		memset(&anc, 0, sizeof anc);
		msg.msg_controllen = named ? append(&anc, 0, SCM_CREDENTIALS, &me, sizeof me) : 0;
		if (n)
			msg.msg_controllen = append(&anc, msg.msg_controllen, SCM_RIGHTS, fds, n * sizeof(int));
		ret = afu_sys(SYS_sendmsg, fd, &msg, MSG_NOSIGNAL);
		/* in a user namespace where we have no name the kernel says who we are, real ids for effective */
		if (named && req->claimed != AFU_CLAIMED && (ret == -EINVAL || ret == -EPERM)) {
			named = 0;
			ret = -EINTR;
		}
	} while (ret == -EINTR);
	return ret;
}

static long receive_reply(int fd, struct afu_reply *reply, int *got, unsigned int *n_got)
{
	struct iovec iov = { reply, sizeof *reply };
	union ancillary anc;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes };
	struct afu_limit limit;
	long ret;

	/* the wait first: the limit is raised for as short a time as can be */
	do
		ret = afu_sys(SYS_recvfrom, fd, reply, sizeof reply->serial, MSG_PEEK, NULL, NULL);
	while (ret == -EINTR);
	*n_got = 0;
	if (ret <= 0)
		return ret;
	limit = afu_limit_raise();
	do {
		msg.msg_controllen = sizeof anc.bytes;
		ret = afu_sys(SYS_recvmsg, fd, &msg, MSG_CMSG_CLOEXEC);
	} while (ret == -EINTR);
	afu_limit_restore(limit);
	if (ret < 0)
		return ret;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		unsigned int n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > AFU_MESSAGE_FDS)
			continue;
		memcpy(got, CMSG_DATA(c), n * sizeof(int));
		*n_got = n;
	}
	return msg.msg_flags & MSG_CTRUNC ? -EMFILE : ret;
}

static int exchange(struct afu_request *req, const int *fds, unsigned int n, struct afu_reply *reply, int *got,
		    unsigned int *n_got)
{
	long ret = send_request(control.gate.fd, req, fds, n);

	/* what is to be put under way must count as such; anything else the broker may fetch */
	if (ret == -ETOOMANYREFS && req->op != AFU_OP_ENTRUST) {
		req->n_numbers = n;
		memcpy(req->number, fds, n * sizeof *fds);
		ret = send_request(control.gate.fd, req, NULL, 0);
	}

	if (ret >= 0)
		ret = receive_reply(control.gate.fd, reply, got, n_got);
	if (ret == -EMFILE) {
		while (*n_got)
			afu_sys_close(got[--*n_got]);
		return -EMFILE;
	}
	if (ret == -ETOOMANYREFS || ret == -EBADF || (req->claimed && (ret == -EPERM || ret == -ESRCH || ret == -EINVAL)))
		return (int)ret;
	if (ret != (long)sizeof *reply) {
		control.lost = 1;
		return -ENETDOWN;
	}
	return 0;
}

static int attaching(struct afu_gate *gate, struct afu_request *req, const int *fds, unsigned int n,
		     struct afu_reply *reply, int *got, unsigned int *n_got)
{
	return exchange(req, fds, n, reply, got, n_got);
}

static int reach(void)
{
	struct afu_gate once = { .call = attaching };
	int fd = (int)afu_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return fd;
	do
		err = (int)afu_sys(SYS_connect, fd, &control.address.un, control.address.length);
	while (err == -EINTR);
	if (err < 0) {
		afu_sys_close(fd);
		return err;
	}
	control.gate.fd = afu_hide ? afu_hide(fd) : fd;
	err = afu_gate_attach(&once, &control.address, 1);
	if (err) {
		afu_close_hidden(control.gate.fd);
		control.gate.fd = -1;
	}
	return err;
}

static int call(struct afu_gate *gate, struct afu_request *req, const int *fds, unsigned int n,
		struct afu_reply *reply, int *got, unsigned int *n_got)
{
	struct afu_thread *th = afu_thread();
	int err = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&control.lock);
	if (control.lost)
		err = -ENETDOWN;
	else if (control.gate.fd < 0)
		err = reach();
	if (!err) {
		req->serial = ++control.serial;
		err = exchange(req, fds, n, reply, got, n_got);
	}
	afu_plock_release(&control.lock);
	afu_thread_leave(th);
	return err;
}

static void forked(struct afu_gate *gate)
{
	if (gate->fd >= 0)
		afu_sys_close(gate->fd);
	gate->fd = -1;
	control.lock = (struct afu_plock){ 0 };
	/* their mapping did not follow the fork */
	afu_alive = NULL;
	afu_unheard = NULL;
	afu_seals = NULL;
}

struct afu_gate *afu_gate_control(const struct afu_address *address)
{
	control.address = *address;
	control.gate = (struct afu_gate){ .call = call, .fd = -1, .forked = forked };
	return &control.gate;
}
