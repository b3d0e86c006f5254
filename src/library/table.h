/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * From descriptor numbers to what they are.
 *
 * One word for each number of the process: 0, a socket's view, an epoll instance
 * (lowest bit set), or HIDDEN: a descriptor of ours that the application must not
 * touch.  Reading is one bounds check and one load, in signal handlers too;
 * writing is under the table's lock.
 */
#ifndef AFU_LIBRARY_TABLE_H
#define AFU_LIBRARY_TABLE_H

#include "socket/sock.h"

#include <stdatomic.h>
#include <stdint.h>

struct afu_epoll;

#define AFU_TABLE_HIDDEN ((uintptr_t)2)

extern _Atomic uintptr_t *afu_table;
extern unsigned int afu_table_size; /* 0 until the library has started */

static inline uintptr_t afu_fd_entry(int fd)
{
	if ((unsigned int)fd >= afu_table_size)
		return 0;
	return atomic_load_explicit(&afu_table[fd], memory_order_acquire);
	/* acquire: pairs with the release of afu_table_set() */
}

static inline int afu_fd_ours(int fd)
{
	uintptr_t e = afu_fd_entry(fd);

	return e > 3 && !(e & 1);
}

static inline int afu_fd_known(int fd)
{
	return afu_fd_entry(fd) > 3;
}

static inline int afu_fd_hidden(int fd)
{
	return afu_fd_entry(fd) == AFU_TABLE_HIDDEN;
}

static inline struct afu_sock *afu_fd_sock(int fd)
{
	uintptr_t e = afu_fd_entry(fd);

	return e > 3 && !(e & 1) ? (struct afu_sock *)e : NULL;
}

static inline struct afu_epoll *afu_fd_epoll(int fd)
{
	uintptr_t e = afu_fd_entry(fd);

	return e & 1 ? (struct afu_epoll *)(e - 1) : NULL;
}

/* The kernel just returned this number for something else: what the table says is out of date. */
void afu_fd_forget_slow(int fd);
static inline void afu_fd_forget(int fd)
{
	if (__builtin_expect(afu_fd_entry(fd) != 0, 0))
		afu_fd_forget_slow(fd);
}

/* Whether the application may have this very number: -EBADF if a descriptor of ours is there, else 0. */
int afu_fd_make_room(int fd);

/* 1 if this process belongs to a domain by its environment. */
int afu_library_active(void);
/* Reads AFUNIX_DOMAIN, recognises inherited descriptors.  For the preload's constructor. */
void afu_library_start(void);
/* A descriptor came through a kernel socket: it may be a socket of ours, sent by somebody in the domain. */
void afu_library_arrived(int fd);
/* A message came through a kernel socket: what is in it is new, and looked at in this way. */
void afu_library_message(struct msghdr *msg);
/* A child was reaped: its sockets are closed when this returns.  Keeps errno. */
void afu_library_reaped(void);

/* The way to the broker may be cut off next, so the process attaches now if it has not; errno stays as it is. */
void afu_library_attach(void);

/* For the library's own files. */
int afu_table_start(void);
void afu_table_set(int fd, uintptr_t entry);
void afu_table_lock(void);
void afu_table_unlock(void);
/* The highest number that was ever entered, plus one. */
unsigned int afu_table_top(void);
/* Whether a number that came from the broker is one that the application may have; else closes it.  0 or -EMFILE. */
int afu_table_within(int fd);
/* A duplicate at a high number, where the application does not look; negative errno. */
int afu_table_spare(int fd);
int afu_table_hide(int fd);
/* A hidden descriptor that forked children share; -1. */
extern int afu_table_kept;
void afu_table_forked(void);

#endif
