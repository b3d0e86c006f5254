/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Which domain this process belongs to, and the one way to its broker.
 */
#ifndef AFU_LIBRARY_DOMAIN_H
#define AFU_LIBRARY_DOMAIN_H

#include "gate/gate.h"

/*
 * One request to the broker.  0, or the negative errno of a cause that is recorded
 * for the thread: the broker's refusal, or that it can't be reached.
 */
int afu_domain_call(struct afu_request *req, const int *fds, unsigned int n, struct afu_reply *reply, int *got,
		    unsigned int *n_got);

/* The same about a socket; descriptors that come with the reply are closed. */
int afu_domain_ask(struct afu_request *req, uint64_t socket, const int *fds, unsigned int n_fds, struct afu_reply *reply);

/* What was closed before is closed after.  0 or negative errno. */
int afu_domain_sync(void);

/* 1: a domain has been decided for. */
int afu_domain_started(void);

/* 1: this process is its own domain. */
int afu_domain_embedded(void);

/* The descriptor that shows the broker's end, or -1. */
int afu_domain_fd(void);

/* Decides for a domain, if that was not done: the environment's, or embedded.  0 or negative errno. */
int afu_domain_start(void);

void afu_domain_forked(void);

/* Turns a negative errno into -1 and errno; the only place that makes one. */
long afu_return(long result);

/*
 * The result of a call on a number: ours, or the kernel's.  A call of ours ends with AFU_ELSEWHERE if the number
 * proves to be the kernel's, or its socket is about to be: then it begins anew.
 */
#define AFU_EITHER(fd, ours, kernel)                                                                         \
	({                                                                                                   \
		long result_ = AFU_ELSEWHERE;                                                                \
                                                                                                             \
		while (result_ == AFU_ELSEWHERE && afu_fd_ours(fd))                                          \
			result_ = (ours);                                                                    \
		if (result_ == AFU_ELSEWHERE)                                                                \
			result_ = (kernel);                                                                  \
		afu_return(result_);                                                                         \
	})

#endif
