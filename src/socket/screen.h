/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A receiver's socket filter as its senders have it, and what it leaves of a message.
 *
 * As in the kernel it is run when a message is sent: what it drops was never there, for
 * the receiver and for the sender's buffer.  Whoever sends runs it on a copy, so that what
 * the filter saw is what is queued, whatever other threads write into the buffers meanwhile.
 */
#ifndef AFU_SOCKET_SCREEN_H
#define AFU_SOCKET_SCREEN_H

#include "socket/filter.h"
#include "socket/sock.h"

struct afu_screen {
	uint64_t flow;    /* 0: the connection */
	uint32_t version; /* as afu_screen_wanted() said when it was fetched; 0: nothing is here */
	unsigned int n;
	struct sock_filter prog[AFU_FILTER_ROOM];
};

/* Of the wants of a receiver: which filter is to be run, 0: none. */
static inline uint32_t afu_screen_wanted(uint32_t wants)
{
	return wants & AFU_WANTS_FILTER ? wants & (AFU_WANTS_FILTER | AFU_WANTS_PROGRAM) : 0;
}

/* Whether that is still the receiver's filter; screen: or NULL. */
int afu_screen_current(const struct afu_screen *screen, const struct afu_way_out *way);

struct afu_screened {
	struct afu_iter left; /* what is to be queued */
	uint32_t n;           /* bytes */
	struct iovec iov;
	size_t mapped;        /* bytes of a copy that is not small */
	char small[2048];
};

/*
 * 1: as much of the message passes as *x says; 0: it is dropped, descriptors and all.  -EFAULT, or a
 * refusal.  afu_screen_end() in any case.
 */
int afu_screen_run(struct afu_screened *x, struct afu_sock *s, struct afu_way_out *way,
		   const struct afu_iter *from, uint32_t n, struct afu_sending *m);
void afu_screen_end(struct afu_screened *x);

#endif
