/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Sleeping and waking on words in shared memory: futex(2), futex_waitv(2).
 * All return 0 or a negative errno; all are async-signal-safe.
 */
#ifndef AFU_BASE_FUTEX_H
#define AFU_BASE_FUTEX_H

#include "base/sys.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <time.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* One word to sleep on, as futex_waitv(2) takes it. */
struct afu_futex_word {
	uint64_t val;
	uint64_t uaddr;
	uint32_t flags;
	uint32_t reserved;
};

static inline struct afu_futex_word afu_futex_word(const _Atomic uint32_t *word, uint32_t val, int shared)
{
	/* 2 is FUTEX_32; 128 is FUTEX_PRIVATE_FLAG. */
	return (struct afu_futex_word){ val, (uintptr_t)word, shared ? 2u : 2u | 128u, 0 };
}

/* deadline: absolute, CLOCK_MONOTONIC; NULL for none.  >= 0, -EAGAIN, -EINTR, -ETIMEDOUT. */
static inline int afu_futex_waitv(struct afu_futex_word *words, unsigned int n, const struct timespec *deadline)
{
	return (int)afu_sys(SYS_futex_waitv, words, n, 0, deadline, CLOCK_MONOTONIC);
}

static inline int afu_futex_wait(_Atomic uint32_t *word, uint32_t val, int shared, const struct timespec *relative)
{
	return (int)afu_sys(SYS_futex, word, shared ? FUTEX_WAIT : FUTEX_WAIT | FUTEX_PRIVATE_FLAG, val, relative,
			    0, 0);
}

static inline int afu_futex_wake(_Atomic uint32_t *word, int n, int shared)
{
	return (int)afu_sys(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, 0, 0, 0);
}

#endif
