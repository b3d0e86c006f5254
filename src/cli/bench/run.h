/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Running one worker as a child process, with a limit of time and nothing left behind.
 */
#ifndef AFU_CLI_BENCH_RUN_H
#define AFU_CLI_BENCH_RUN_H

#include <stddef.h>

enum { AFU_BENCH_REASON_SIZE = 256 };

struct afu_bench_run {
	double figure;
	char reason[AFU_BENCH_REASON_SIZE]; /* why there is no figure */
	unsigned left_behind;		    /* processes the worker left, which were killed */
};

/* Once, before the first run: signals, and adopting what a worker leaves behind. */
int afu_bench_run_init(void);

/*
 * Runs the program and reads its figure.  0, or -1 with a reason.  A worker that has not
 * ended after `limit_ms` is killed with its group and its descendants.
 */
int afu_bench_run(char *const argv[], int limit_ms, struct afu_bench_run *run);

/* The signal that asks the driver to end, or 0. */
int afu_bench_run_interrupted(void);

#endif
