/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Copying from and to memory that the application names.
 *
 * The pointer may be bad, and then the answer is EFAULT, not a crash.  afu_copy()
 * is a leaf without a stack frame; whoever handles SIGSEGV and SIGBUS asks
 * afu_copy_fixup() with the interrupted program counter, and continues where it
 * says, which makes afu_copy() return -EFAULT.  Without such a handler a bad
 * pointer kills the program as memcpy() would.  Async-signal-safe.
 */
#ifndef AFU_BASE_COPY_H
#define AFU_BASE_COPY_H

#include <stddef.h>
#include <stdint.h>

/* 0, or -EFAULT with an unknown part copied. */
int afu_copy(void *to, const void *from, size_t n);

/* Where to continue if pc is inside afu_copy(), else 0. */
uintptr_t afu_copy_fixup(uintptr_t pc);

#endif
