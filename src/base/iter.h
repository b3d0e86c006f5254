/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A place in the buffers of one call: a copy of the application's iovec, which
 * the caller owns and has checked, and how far the call has come in it.
 */
#ifndef AFU_BASE_ITER_H
#define AFU_BASE_ITER_H

#include "base/copy.h"

#include <errno.h>
#include <sys/uio.h>

struct afu_iter {
	const struct iovec *iov; /* the buffer at hand */
	size_t n;                /* buffers from this one on */
	size_t off;              /* bytes of it that are done */
};

int afu_iter_move(struct afu_iter *it, char *ring, size_t n, int to_ring);

/* Next n bytes of the buffers to memory of ours.  0 or -EFAULT. */
static inline int afu_iter_gather(struct afu_iter *it, void *to, size_t n)
{
	if (__builtin_expect(it->n && n <= it->iov->iov_len - it->off, 1)) {
		const char *from = (const char *)it->iov->iov_base + it->off;

		it->off += n;
		return afu_copy(to, from, n);
	}
	return afu_iter_move(it, to, n, 1);
}

/* n bytes of ours to the next place in the buffers.  0 or -EFAULT. */
static inline int afu_iter_scatter(struct afu_iter *it, void *from, size_t n)
{
	if (__builtin_expect(it->n && n <= it->iov->iov_len - it->off, 1)) {
		char *to = (char *)it->iov->iov_base + it->off;

		it->off += n;
		return afu_copy(to, from, n);
	}
	return afu_iter_move(it, from, n, 0);
}

#endif
