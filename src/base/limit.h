/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Descriptors beyond the application's limit.
 *
 * What the library itself needs should not count against RLIMIT_NOFILE.  The soft limit
 * says which numbers may be handed out, not which may be used: so it is raised to the hard
 * one for a moment, and what was made meanwhile stays.  Another thread that makes a
 * descriptor in that moment may get one more than it should; nobody loses one.
 */
#ifndef AFU_BASE_LIMIT_H
#define AFU_BASE_LIMIT_H

#include "base/sys.h"

#include <sys/resource.h>

struct afu_limit {
	rlim_t soft; /* as the application knows it */
	int raised;  /* 0: the hard limit is no higher */
};

static inline struct afu_limit afu_limit_raise(void)
{
	struct rlimit r = { 1024, 1024 }, more;
	struct afu_limit old;

	afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r);
	old.soft = r.rlim_cur;
	more = (struct rlimit){ r.rlim_max, r.rlim_max };
	old.raised = r.rlim_cur < r.rlim_max && afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &more, 0) == 0;
	return old;
}

static inline void afu_limit_restore(struct afu_limit old)
{
	struct rlimit r;

	if (!old.raised || afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r) < 0)
		return;
	r.rlim_cur = old.soft;
	afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &r, 0);
}

#endif
