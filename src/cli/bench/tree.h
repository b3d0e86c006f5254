/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Processes by descent, out of /proc.
 *
 * The driver uses it to end what a worker left behind; the idle metrics use it to find the
 * broker, which is part of what a connection costs.
 */
#ifndef AFU_CLI_BENCH_TREE_H
#define AFU_CLI_BENCH_TREE_H

#include <stddef.h>
#include <sys/types.h>

/* The descendants of `root` without itself: fills at most `cap`, gives how many it filled. */
size_t afu_bench_tree_below(pid_t root, pid_t *pids, size_t cap);

/*
 * The topmost ancestor of the calling process whose name begins with "afunix", where no
 * two processes of another name follow each other on the way up (one may be a shell or a
 * tool between a driver and its runner); the calling process itself if there is none.
 */
pid_t afu_bench_tree_top(void);

#endif
