/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Epoll instances: the kernel's own for kernel descriptors, and beside it a list
 * of the afunix sockets in it.
 */
#ifndef AFU_LIBRARY_EPOLL_H
#define AFU_LIBRARY_EPOLL_H

#include "library/table.h"

/* Enters a kernel epoll instance into the table.  0 or negative errno. */
int afu_epoll_enter(int fd);
/* One more number; one number less. Under the table's lock. */
void afu_epoll_number(struct afu_epoll *ep, int fd);
void afu_epoll_number_gone(struct afu_epoll *ep);
/* The socket's view ends: it leaves every instance. */
void afu_epoll_forget_sock(struct afu_sock *s);
/* An instance by its number, kept while it is used; NULL.  Paired with afu_epoll_put(). */
struct afu_epoll *afu_epoll_get(int fd);
void afu_epoll_put(struct afu_epoll *ep);
/* Whether any of its afunix sockets has something to report. */
int afu_epoll_ready(struct afu_epoll *ep);
/* Enters a waiter with all its afunix sockets. */
void afu_epoll_watch(struct afu_epoll *ep, uint64_t waiter);
/*
 * What was registered of s under the number, or with -1 under any, is registered with the kernel from now on:
 * as fd, which is a kernel descriptor already.
 */
void afu_epoll_moved(struct afu_sock *s, int number, int fd);
/* The socket got a channel: whoever sleeps on an instance with it watches that too. */
void afu_epoll_rearm(struct afu_sock *s);
/* Around a fork. */
void afu_epoll_lock(void);
void afu_epoll_unlock(void);
void afu_epoll_forked(void);

#endif
