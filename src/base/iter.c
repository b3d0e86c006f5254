/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/iter.h"

int afu_iter_move(struct afu_iter *it, char *ring, size_t n, int to_ring)
{
	while (n) {
		size_t part;
		char *user;
		int err;

		if (!it->n)
			return -EFAULT;
		part = it->iov->iov_len - it->off;
		if (part == 0) {
			it->iov++;
			it->n--;
			it->off = 0;
			continue;
		}
		if (part > n)
			part = n;
		user = (char *)it->iov->iov_base + it->off;
		err = to_ring ? afu_copy(ring, user, part) : afu_copy(user, ring, part);
		if (err)
			return err;
		it->off += part;
		ring += part;
		n -= part;
	}
	return 0;
}
