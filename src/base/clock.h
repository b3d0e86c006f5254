/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The monotonic clock in nanoseconds, and deadlines made of it.
 * Read through the vDSO: no system call.  Async-signal-safe.
 */
#ifndef AFU_BASE_CLOCK_H
#define AFU_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define AFU_NEVER INT64_MAX

static inline int64_t afu_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline struct timespec afu_clock_timespec(int64_t ns)
{
	return (struct timespec){ ns / 1000000000, ns % 1000000000 };
}

/* now + ns without overflow; AFU_NEVER stays AFU_NEVER. */
static inline int64_t afu_clock_deadline(int64_t ns)
{
	int64_t sum;

	if (ns == AFU_NEVER || __builtin_add_overflow(afu_clock_ns(), ns, &sum))
		return AFU_NEVER;
	return sum;
}

#endif
