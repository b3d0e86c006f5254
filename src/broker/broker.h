/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The broker: the trusted part.  It owns names, backlogs and identities, makes the
 * memory that processes share, and closes what the last holder has let go.
 *
 * A state machine: (state, caller, request, descriptors) -> (state, reply,
 * descriptors).  Two things drive it: the event loop of afunixd and afunix run,
 * and the embedded mode, which calls it directly.  One call at a time: not thread-safe.
 * It survives every client: whatever comes from one is checked here.
 */
#ifndef AFU_BROKER_BROKER_H
#define AFU_BROKER_BROKER_H

#include "broker/message.h"

#include <sys/types.h>

struct afu_broker;
struct afu_client;

/* Who asks: as the kernel attested it with this very request. */
struct afu_caller {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/* Descriptors of a reply; those not kept by the broker are closed after sending. */
struct afu_reply_fds {
	unsigned int n;
	int fd[AFU_MESSAGE_FDS];
	int ours[AFU_MESSAGE_FDS]; /* 1: the broker keeps its copy */
};

/* secret, length: what an attaching process must show; length 0: nothing.  NULL: no memory. */
struct afu_broker *afu_broker_new(const void *secret, size_t length);
/*
 * All memory is given back.  Sockets are left as they are, as if the broker had died:
 * whoever waits for a peer is told that nobody knows any more.
 */
void afu_broker_free(struct afu_broker *b);

/*
 * For a broker in a process of its own: wakes waiters through the bells that its
 * clients announced.  An embedded broker needs it not: the bells are its process's.
 */
void afu_broker_rings(struct afu_broker *b);

struct afu_client *afu_broker_client_new(struct afu_broker *b);
/* Who connected, and its supplementary groups, as the kernel attested them. */
void afu_broker_client_groups(struct afu_client *c, pid_t pid, const gid_t *groups, unsigned int n);
/* The process is gone or closed its channel.  Its sockets close when their tokens do. */
void afu_broker_client_gone(struct afu_broker *b, struct afu_client *c);

/*
 * Serves one request.  fds are the caller's; those that the broker keeps are set
 * to -1.  The reply is always filled.
 */
void afu_broker_handle(struct afu_broker *b, struct afu_client *c, const struct afu_caller *who,
		       const struct afu_request *req, int *fds, unsigned int n, struct afu_reply *reply,
		       struct afu_reply_fds *out);

/*
 * Names that fit a glob shall be the kernel's too, so that programs outside the domain reach who binds them.
 * globs: each with a NUL; see AFU_EXPOSED_MAX.  Only for a broker with a loop.  0 or negative errno.
 */
int afu_broker_expose(struct afu_broker *b, const char *globs, size_t length);
/* Readable when somebody came from outside; then call afu_broker_arrived().  -1: nothing is exposed. */
int afu_broker_outside(const struct afu_broker *b);
void afu_broker_arrived(struct afu_broker *b);

/* Readable when a token was closed; then call afu_broker_drain(). */
int afu_broker_events(const struct afu_broker *b);
void afu_broker_drain(struct afu_broker *b);
/* Milliseconds after which it is to be called even so, or -1: as epoll_wait(2) takes it. */
int afu_broker_patience(const struct afu_broker *b);

#endif
