/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Signals for readiness: O_ASYNC, F_SETOWN, F_SETSIG, and SIGURG.
 *
 * The kernel keeps owner and signal with the token, but nothing ever happens to the
 * token itself.  So the process that asked makes a bell whose read end has the
 * same owner and signal: whoever rings it has the kernel send the signal, with the permissions
 * of whoever asked, also to a group or one thread.
 *
 * The bell is the whole socket's, not the process's: the last who asks takes over from
 * another holder.
 */
#ifndef AFU_LIBRARY_ASYNC_H
#define AFU_LIBRARY_ASYNC_H

#include "socket/sock.h"

#include <signal.h>

/* O_ASYNC, the owner or the signal was set.  Not inside a call.  Failing is silent, as no signal is. */
void afu_async_refresh(int fd);
/* The view ends: so do its bells. */
void afu_async_forget(struct afu_sock *s);
/* An image that was executed anew goes on with what it was the owner of. */
void afu_async_inherit(int fd);
/* What the kernel said of a bell, put right: it is about the socket.  In a handler too. */
void afu_async_info(int sig, siginfo_t *info);
void afu_async_forked(void);

#endif
