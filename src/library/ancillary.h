/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What goes with a message beside its bytes, and what comes with one: the control
 * messages of sendmsg() and recvmsg(), the sender's address.
 */
#ifndef AFU_LIBRARY_ANCILLARY_H
#define AFU_LIBRARY_ANCILLARY_H

#include "library/parking.h"
#include "socket/sock.h"

#include <sys/un.h>

struct afu_outgoing {
	struct afu_sending m; /* first: what the socket room calls back with */
	const char *control;  /* a copy of the caller's control data */
	size_t length;
	struct ucred claim;   /* SCM_CREDENTIALS, if m.claim says so */
	struct afu_parcel rights;
};

void afu_outgoing_init(struct afu_outgoing *out);
/* Parses the control data: 0, or the refusal of the send. */
int afu_outgoing_parse(struct afu_outgoing *out);

struct afu_incoming {
	struct afu_receiving m; /* first */
	struct afu_sock *s;     /* in use; NULL: the call has failed */
	struct msghdr *msg;     /* a copy of the caller's, or NULL: only the sender's name is wanted */
	struct {
		int came; /* the message is from outside the domain: its name stands here, its control data are written */
		socklen_t length;
		struct sockaddr_un name;
	} outside;
	int parcelled;          /* rights holds what was fetched */
	struct afu_parcel rights;
};

/* msg: the caller's header, copied, if control messages are wanted; NULL. */
void afu_incoming_init(struct afu_incoming *in, struct msghdr *msg);
/* The call begins: what the socket's options ask of it.  In the view. */
void afu_incoming_begin(struct afu_incoming *in, struct afu_sock *s);
/* Writes the sender's address.  addr, len: the caller's.  0 or a refusal. */
int afu_incoming_name(struct afu_incoming *in, struct sockaddr *addr, socklen_t *len);
/* Fills the control data of in->msg, and its flags.  got: what the receive returned. */
void afu_incoming_control(struct afu_incoming *in, ssize_t got);
/* The view is used no more; descriptors that were not delivered are closed. */
void afu_incoming_end(struct afu_incoming *in);

#endif
