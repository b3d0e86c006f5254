/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "gate/domain_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int afu_domain_path(const char *name, char *path, size_t size)
{
	const char *dir = getenv("AFUNIX_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (!*name || *name == '.' || strpbrk(name, "/:@") || strlen(name) > 64)
		return -EINVAL;
	if (dir && *dir)
		n = snprintf(path, size, "%s/%s", dir, name);
	else if (geteuid() == 0 || !xdg || !*xdg)
		n = snprintf(path, size, "/run/afunix/%s", name);
	else
		n = snprintf(path, size, "%s/afunix/%s", xdg, name);
	return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

int afu_domain_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[128];
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (!n || n >= sizeof dir)
		return -EINVAL;
	memcpy(dir, path, n);
	dir[n] = 0;
	return mkdir(dir, 0755) < 0 && errno != EEXIST ? -errno : 0;
}
