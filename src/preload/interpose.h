/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What every file of the preload needs: how a symbol is interposed, and the questions
 * that decide between the library and the real function.
 *
 * An interposer is thin: for a descriptor that is ours one call into the library, for
 * any other one the real function, so that cancellation points, versions and the
 * kernel's own errors stay what they are.  In a process that belongs to no domain
 * nothing is ever ours, and the only cost is afu_fd_ours()'s bounds check.
 */
#ifndef AFU_PRELOAD_INTERPOSE_H
#define AFU_PRELOAD_INTERPOSE_H

#include <errno.h>
#include <stdatomic.h>

#include <afunix/afunix.h>
#include "library/program.h"
#include "library/table.h"
#include "preload/real.h"

/*
 * Defines the exported symbol `name`.  Under a C name of its own: the headers declare
 * the libc name with attributes (nonnull lets gcc drop a NULL check) and redirections
 * (open to open64) that must not apply to the definition.
 */
#define AFU_INTERPOSE(ret, name, ...)                                                                        \
	ret afu_preload_##name(__VA_ARGS__) __asm__(#name) __attribute__((visibility("default")));           \
	ret afu_preload_##name(__VA_ARGS__)

/* Another exported name for an interposer of the same file. */
#define AFU_INTERPOSE_ALIAS(other, name)                                                                     \
	extern __typeof__(afu_preload_##name) afu_preload_##other __asm__(#other)                            \
		__attribute__((alias(#name), visibility("default")))

enum afu_preload_state {
	AFU_PRELOAD_NEW,      /* the constructor has not run */
	AFU_PRELOAD_INACTIVE, /* no domain, or not attached yet: everything is real */
	AFU_PRELOAD_ACTIVE,
};

extern _Atomic(int) afu_preload_state;

/* Starts the library if nobody has; the state that results. */

/* What exec must hand on, as environment entries; empty strings while not active. */
extern char afu_preload_entry[];	/* LD_PRELOAD=... */
/* AFUNIX_DOMAIN=... and the others that a program's child gets if its environment lacks them. */
#define AFU_PRELOAD_HANDED 4
extern char *const afu_preload_handed[AFU_PRELOAD_HANDED];

/* 1 if the process belongs to a domain.  Relaxed: set once, before there are threads. */
static inline int afu_preload_active(void)
{
	return atomic_load_explicit(&afu_preload_state, memory_order_relaxed) == AFU_PRELOAD_ACTIVE;
}

/*
 * For a number that the kernel just returned (or a negative error): libc closes behind
 * our back, so what the table says about it may be about an earlier socket.
 */
static inline int afu_preload_fresh(int fd)
{
	if (fd >= 0)
		afu_fd_forget(fd);
	return fd;
}

/* 1 if the number is the library's own and must look closed to the application. */
static inline int afu_preload_hidden(int fd)
{
	return afu_preload_active() && afu_fd_hidden(fd);
}

/* -1 with an errno. */
static inline int afu_preload_fail(int error)
{
	errno = error;
	return -1;
}

/* Defined by glibc; reports the overflow and aborts. */
extern void __chk_fail(void) __attribute__((noreturn, weak));

/* What the fortified variants check before the plain call. */
static inline void afu_preload_check(size_t n, size_t room)
{
	if (n <= room)
		return;
	if (__chk_fail)
		__chk_fail();
	__builtin_trap();
}

/* The socket that a path such as /proc/self/fd/5 or /dev/stdin stands for; -1 if none. */
int afu_preload_path_socket(const char *path);

/*
 * A program is about to be executed, by its path, or as a command that is looked for in PATH: if it can't be
 * preloaded, the sockets that it inherits become the kernel's.  spawned: in a child, with its file actions.
 */
enum afu_program afu_preload_program_at(int dir, const char *path, int flags);
enum afu_program afu_preload_program_named(const char *file, int spawned);
enum afu_program afu_preload_program_spawned(const char *path);

/* The caller is about to confine itself, by seccomp(2) or by a limit: its connections move to the kernel first. */
void afu_preload_filtered(unsigned int operation, unsigned int flags, const void *program);
struct rlimit;
void afu_preload_limited(int resource, const struct rlimit *limit);
/* getdents(2) or getdents64(2) without what is the library's own. */
long afu_preload_getdents(long number, int fd, void *buf, size_t size);

/* A standard stream whose descriptor is a socket at start gets one of our streams. */
void afu_preload_standard_streams(void);

#endif
