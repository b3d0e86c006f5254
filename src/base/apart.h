/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * System calls in which somebody else can keep us for as long as he likes are made in threads of their own,
 * 256 at most at a time; those that come then wait for one to end.  Thread-safe, not for signal handlers.
 */
#ifndef AFU_BASE_APART_H
#define AFU_BASE_APART_H

#include <stdint.h>

/* Has work(arg) done.  0, or -ENOMEM: nothing is done. */
int afu_apart(void (*work)(void *arg), void *arg);

/*
 * The same, and waits for it, at most so many ns.  1: it is over.  0: it is not, and abandoned(arg) is called in the
 * thread once it is, if that is not NULL.  -ENOMEM.
 */
int afu_apart_within(void (*work)(void *arg), void (*abandoned)(void *arg), void *arg, int64_t ns);

#endif
