/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Kernel sockets that stand for one of ours: towards a name that nobody in the domain has, and
 * towards those outside who use an exposed name of the domain.
 */
#ifndef AFU_LIBRARY_OUTSIDE_H
#define AFU_LIBRARY_OUTSIDE_H

#include "library/transfer.h"

/* A new one with the options of s; a descriptor or negative errno.  In the view. */
int afu_outside_socket(const struct afu_sock *s);

/*
 * Sends a datagram, from the exposed name if s has one.  Otherwise from a kernel socket made for it,
 * which has no name: the receiver can't answer.  Bytes or the kernel's negative errno.
 */
ssize_t afu_outside_send(const struct afu_sock *s, const struct afu_transfer *t,
			 const struct afu_destination *to, const struct afu_sending *m);

/* The next datagram that somebody outside has sent to the exposed name; in: or NULL.  -EAGAIN: there is none.
 */
ssize_t afu_outside_receive(const struct afu_sock *s, const struct afu_transfer *t, struct afu_incoming *in);

/* What came with one has new descriptors: not what the table says of their numbers.  Outside any view. */
void afu_outside_received(struct msghdr *msg);

/* The next connection from outside, as accept4(2) gives it.  -EAGAIN: there is none. */
int afu_outside_accept(const struct afu_sock *s, struct sockaddr *addr, socklen_t *len, int flags);

/* listen(2), in the process that is to be the peer of who connects.  0 or a refusal. */
int afu_outside_listen(const struct afu_sock *s, int backlog);

/* Whether those outside come first, this time: in turns.  Something has come from inside too. */
int afu_outside_first(struct afu_sock *s);

#endif
