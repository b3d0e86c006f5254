/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Descriptors beyond the application's limit.
 *
 * What the library itself needs should not count against RLIMIT_NOFILE.  The soft limit
 * says which numbers may be handed out, not which may be used: so it is raised to the hard
 * one for a moment, and what was made meanwhile stays.  Several threads may do so at once: the
 * first raises it and the last restores it.  Another thread that makes a descriptor in that
 * moment may get one more than it should; nobody loses one.
 */
#ifndef AFU_BASE_LIMIT_H
#define AFU_BASE_LIMIT_H

#include <sys/resource.h>

struct afu_limit {
	rlim_t soft; /* as the application knows it */
	int raised;  /* 0: the hard limit is no higher */
};

/* Paired; between the two is a critical section. */
struct afu_limit afu_limit_raise(void);
void afu_limit_restore(struct afu_limit old);

/* As the application knows it, whoever has raised it. */
rlim_t afu_limit_soft(void);

/*
 * Around a fork, in a critical section: the child is not to be born with a limit that another thread has
 * raised.  After it, in both processes.
 */
void afu_limit_fork(void);
void afu_limit_forked(void);

#endif
