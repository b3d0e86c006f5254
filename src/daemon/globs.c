/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "daemon/globs.h"

#include <errno.h>
#include <string.h>

int afu_globs_add(struct afu_globs *to, const char *glob)
{
	size_t n = glob ? strlen(glob) : 0;

	if (glob && !n)
		return -EINVAL;
	if (n >= sizeof to->bytes - to->length)
		return -E2BIG;
	memcpy(to->bytes + to->length, glob ? glob : "", n + 1);
	to->length += n + 1;
	return 0;
}
