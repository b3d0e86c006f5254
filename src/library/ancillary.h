/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What goes with a message beside its bytes, and what comes with one: the control
 * messages of sendmsg() and recvmsg(), the sender's address.
 */
#ifndef AFU_LIBRARY_ANCILLARY_H
#define AFU_LIBRARY_ANCILLARY_H

#include "socket/sock.h"

#define AFU_RIGHTS_MAX 253

struct afu_outgoing {
	struct afu_sending m;  /* first: what the socket room calls back with */
	const char *control;   /* a copy of the caller's control data */
	size_t length;
	int claimed;           /* SCM_CREDENTIALS: who the sender says he is */
	struct ucred claim;
	int n;                 /* SCM_RIGHTS */
	int fd[AFU_RIGHTS_MAX];
};

/* Parses the control data: 0, or the refusal of the send. */
int afu_outgoing_parse(struct afu_outgoing *out);

struct afu_incoming {
	struct afu_receiving m; /* first */
	struct afu_sock *s;     /* in use; NULL: the call has failed */
	struct msghdr *msg;     /* a copy of the caller's, or NULL: descriptors that come are closed */
};

/*
 * Writes the sender's address.  addr, len: the caller's.  0 or a refusal.
 */
int afu_incoming_name(struct afu_incoming *in, struct sockaddr *addr, socklen_t *len);
/* Fills the control data of in->msg, and its flags.  got: what the receive returned. */
void afu_incoming_control(struct afu_incoming *in, ssize_t got);
void afu_incoming_end(struct afu_incoming *in);

#endif
