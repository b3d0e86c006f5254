/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Tells the processor that this is a spin. */
#ifndef AFU_BASE_RELAX_H
#define AFU_BASE_RELAX_H

static inline void afu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
