/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The option --expose[=GLOB] of afunixd and of afunix run: which names are the kernel's too. */
#ifndef AFU_DAEMON_GLOBS_H
#define AFU_DAEMON_GLOBS_H

#include "broker/message.h"

#include <stddef.h>

struct afu_globs {
	size_t length;
	char bytes[AFU_EXPOSED_MAX]; /* each with a NUL */
};

/* glob: NULL for every path.  0; -EINVAL: an empty one; -E2BIG. */
int afu_globs_add(struct afu_globs *to, const char *glob);

#endif
