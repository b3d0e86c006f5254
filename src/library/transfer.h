/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * One send or receive, once its arguments have been copied and checked: which state the
 * socket has to be in, how long the call waits, and where a datagram goes.
 */
#ifndef AFU_LIBRARY_TRANSFER_H
#define AFU_LIBRARY_TRANSFER_H

#include "base/clock.h"
#include "library/address.h"
#include "library/ancillary.h"
#include "socket/sock.h"

#include <fcntl.h>

struct afu_transfer {
	const struct iovec *iov;
	size_t n;
	size_t length; /* of all buffers, bytes */
	int flags;     /* MSG_* */
};

struct afu_destination {
	struct afu_name name;
	socklen_t length; /* as the caller gave it */
};

/* The place in the buffers after done bytes. */
struct afu_iter afu_transfer_at(const struct afu_transfer *t, size_t done);
/*
 * How long a call may wait: whether not at all, as a result, since *p says so too at first. The
 * first attempt is made inside, and p->nonblocking is put right before the second.
 */
static inline int afu_transfer_patience(struct afu_patience *p, const struct afu_sock *s, const struct afu_thread *th,
					int flags, int64_t timeout)
{
	int nonblocking = (flags & MSG_DONTWAIT) || timeout == 0 ||
			  (atomic_load_explicit(&s->ep->status_flags, memory_order_relaxed) & O_NONBLOCK);

	/* relaxed: a flag by itself, and this thread's own count */
	p->nonblocking = 1;
	p->deadline = AFU_NEVER;
	p->rounds = NULL;
	p->timed = timeout != AFU_NEVER;
	p->sig_seq = atomic_load_explicit(&th->sig_seq, memory_order_relaxed);
	if (__builtin_expect(p->timed && !nonblocking, 0))
		p->deadline = afu_clock_deadline(timeout);
	return nonblocking;
}

/* to, out: or NULL.  Bytes, or the negative errno of a cause. */
ssize_t afu_transfer_send(int fd, const struct afu_transfer *t, const struct afu_destination *to,
			  struct afu_outgoing *out);
/*
 * in: or NULL; its view is in use afterwards, if the call succeeded, until afu_incoming_end().
 * Bytes, or the negative errno of a cause.
 */
ssize_t afu_transfer_receive(int fd, const struct afu_transfer *t, struct afu_incoming *in);

/* The pending error, taken away, as a refusal; 0.  And setting one. */
int afu_transfer_error(int fd);
void afu_transfer_keep_error(int fd, int error);

/* Of SOCK_DGRAM; the address was checked.  The view is entered, and left on return. */
ssize_t afu_transfer_datagram(struct afu_sock *s, struct afu_thread *th, const struct afu_transfer *t,
			      const struct afu_destination *to, struct afu_sending *m);

/* Binds the socket automatically if its options ask for that.  The view is in use.  0 or negative errno. */
int afu_transfer_autobind(struct afu_sock *s);
/* Opens a path only to name it; it is ours, so it does not count against the application's limit. */
int afu_transfer_open_path(const char *path, int flags);
/* Looks at the path as connect(2) does; a descriptor of the socket file, or negative errno. */
int afu_transfer_open(const struct afu_name *name);

void afu_transfer_forked(void);

#endif
