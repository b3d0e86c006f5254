/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The way out: a socket that meets a program outside the domain becomes a kernel socket. */
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

/*
 * The broker has moved the connection of s, and fd is its kernel socket: it takes the place of all
 * numbers.  first: nobody has set its options.  The view is in use, under the lock of renewing views.
 */
void afu_moved_adopt(struct afu_sock *s, int fd, int first);

/*
 * The same for numbers that came into the table while another thread took them all: duplicates of the token,
 * or of the kernel socket.
 */
void afu_moved_rest(struct afu_sock *s);

/*
 * Has the connection moved, for a program that can't know afunix, if it can be.  Waits, two seconds at most,
 * for others who are in the middle of a call.
 */
void afu_moved_leave(int fd);

/* The same for the sockets in a message that is about to be sent through fd, which is not ours. */
void afu_moved_message(int fd, const struct msghdr *msg);

#endif
