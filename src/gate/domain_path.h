/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Where a lasting domain's control socket stands. */
#ifndef AFU_GATE_DOMAIN_PATH_H
#define AFU_GATE_DOMAIN_PATH_H

#include <stddef.h>

/*
 * $AFUNIX_RUNTIME_DIR/NAME, /run/afunix/NAME for root, $XDG_RUNTIME_DIR/afunix/NAME
 * else.  0, or -EINVAL: no name (empty, with a slash or a colon, or too long).
 */
int afu_domain_path(const char *name, char *path, size_t size);

/* Makes the directory of a path, mode 0755.  0 or negative errno. */
int afu_domain_directory(const char *path);

#endif
