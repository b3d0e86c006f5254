/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Processors: which there are, pinning to them, and how far apart they are.
 */
#ifndef AFU_CLI_BENCH_CPU_H
#define AFU_CLI_BENCH_CPU_H

#include <stdint.h>

/*
 * The number of processors the calling thread may use, and the first two of them (the
 * same one twice if there is one).  0 or -1 with errno.
 */
int afu_bench_cpus(unsigned *count, int cpus[2]);

/* Confines the calling thread to these processors (equal for one).  0 or -1 with errno. */
int afu_bench_pin(int first, int second);

/*
 * The median round trip of a cache line between the two processors in ns, measured for
 * about that long; negative if the processors are one or the threads cannot be had.
 */
double afu_bench_cacheline_ns(const int cpus[2], uint64_t duration_ns);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t afu_bench_now(void);

/* Sorts the n values in place and gives the middle one; n is not 0. */
uint32_t afu_bench_median(uint32_t *values, unsigned n);

#endif
