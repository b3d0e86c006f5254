/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Closing what somebody else may have made slow: a TCP socket that lingers, a file of a
 * hostile filesystem, a queue in which such things lie.
 */
#ifndef AFU_BASE_CLOSING_H
#define AFU_BASE_CLOSING_H

#include <stdint.h>

/* Closes it in a thread; returns at once. */
void afu_close_apart(int fd);

/* The same, and waits for it, at most that long.  How long it took, ns. */
int64_t afu_close_within(int fd, int64_t ns);

/*
 * Shuts a kernel socket of messages down for good, and says whether something lies in its
 * queue, an empty message too: then its close is not to be waited for.
 */
int afu_close_queued(int fd);

/* How many are not over yet. */
unsigned int afu_close_under_way(void);

#endif
