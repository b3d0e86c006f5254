/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "socket/screen.h"

#include "base/cause.h"
#include "base/sys.h"

#include <sys/mman.h>

int afu_screen_current(const struct afu_screen *screen, const struct afu_way_out *way)
{
	/* relaxed: a message that crosses a change may go either way */
	uint32_t wants = atomic_load_explicit(&way->peer->wants, memory_order_relaxed);

	return afu_screen_wanted(wants) == (screen ? screen->version : 0);
}

/* Memory for a copy of n bytes; NULL. */
static char *copy_of(struct afu_screened *x, uint32_t n)
{
	char *copy = x->small;

	x->mapped = 0;
	if (n > sizeof x->small) {
		copy = afu_sys_mmap(n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		if (afu_sys_failed(copy))
			return NULL;
		x->mapped = n;
	}
	x->iov = (struct iovec){copy, n};
	return copy;
}

/* What a dropped message had taken of the sender's buffer is room that was made: an edge. */
static void give_back(const struct afu_way_out *way)
{
	atomic_fetch_add(&way->own->rooms, 1);
	afu_wake(way->own, AFU_OUT);
}

int afu_screen_run(struct afu_screened *x, struct afu_sock *s, struct afu_way_out *way,
		   const struct afu_iter *from, uint32_t n, struct afu_sending *m)
{
	struct afu_iter it = *from;
	char *copy = copy_of(x, n);
	int err = 0;
	uint32_t verdict;

	if (!copy)
		return afu_refuse(AFU_CAUSE_NO_MEMORY);
	if (n && afu_iter_gather(&it, copy, n))
		err = -EFAULT;
	verdict = err ? 0 : afu_filter_run(m->screen->prog, m->screen->n, copy, n, n);
	if (!verdict) {
		/* they could be refused all the same */
		int refused = m->rights ? m->park(m, s, way, 0) : 0;

		if (!refused && !err)
			give_back(way);
		return refused ? refused : err;
	}
	x->n = verdict < n ? verdict : n;
	x->left = (struct afu_iter){&x->iov, 1, 0};
	return 1;
}

void afu_screen_end(struct afu_screened *x)
{
	if (x->mapped)
		afu_sys_munmap(x->iov.iov_base, x->mapped);
	x->mapped = 0;
}
