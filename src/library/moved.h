/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The way out: a socket that meets a peer outside the domain becomes a kernel socket. */
#ifndef AFU_LIBRARY_MOVED_H
#define AFU_LIBRARY_MOVED_H

#include "library/address.h"
#include "library/table.h"

/*
 * Connects a kernel socket with the options of s to the name, and puts it under
 * all of this process's numbers for s.  0 or the kernel's negative errno; s is
 * unchanged then.  Duplicates in other processes are not reached.
 */
int afu_moved_connect(struct afu_sock *s, const struct sockaddr *addr, socklen_t len);

#endif
