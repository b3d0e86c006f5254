/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * System calls as bare instructions.
 *
 * The core lives inside programs whose libc functions are interposed by our own
 * preload, runs in signal handlers, and must leave errno alone.  So it never
 * calls read(), close() or poll(): it calls afu_sys(), which returns the value
 * or a negative errno and touches nothing else.  Async-signal-safe.
 */
#ifndef AFU_BASE_SYS_H
#define AFU_BASE_SYS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long afu_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long afu_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory", "cc");
	return x0;
}
#else
#error "afunix knows the system call instruction of x86-64 and aarch64"
#endif

#define AFU_SYS_PICK(_0, _1, _2, _3, _4, _5, _6, n, ...) n
#define afu_sys(...)                                                                                         \
	AFU_SYS_PICK(__VA_ARGS__, AFU_SYS_6, AFU_SYS_5, AFU_SYS_4, AFU_SYS_3, AFU_SYS_2, AFU_SYS_1,          \
		     AFU_SYS_0, 0)                                                                           \
	(__VA_ARGS__)
#define AFU_SYS_0(n) afu_sys6(n, 0, 0, 0, 0, 0, 0)
#define AFU_SYS_1(n, a) afu_sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define AFU_SYS_2(n, a, b) afu_sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define AFU_SYS_3(n, a, b, c) afu_sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define AFU_SYS_4(n, a, b, c, d) afu_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define AFU_SYS_5(n, a, b, c, d, e) afu_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define AFU_SYS_6(n, a, b, c, d, e, f)                                                                       \
	afu_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline int afu_sys_close(int fd)
{
	return (int)afu_sys(SYS_close, fd);
}

/* The whole address, or a negative errno in the range of the last page. */
static inline void *afu_sys_mmap(size_t n, int prot, int flags, int fd)
{
	return (void *)afu_sys(SYS_mmap, 0, n, prot, flags, fd, 0);
}

static inline int afu_sys_failed(const void *p)
{
	return (uintptr_t)p >= (uintptr_t)-4095;
}

static inline int afu_sys_munmap(void *p, size_t n)
{
	return (int)afu_sys(SYS_munmap, p, n);
}

#endif
