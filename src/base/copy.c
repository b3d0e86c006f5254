/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/copy.h"

#if defined(__x86_64__)
extern const char afu_copy_end[], afu_copy_fault[];

__asm__(".text\n"
	".p2align 5\n"
	".globl afu_copy\n"
	".hidden afu_copy\n"
	".type afu_copy, @function\n"
	"afu_copy:\n"
	".cfi_startproc\n"
	"	xorl %eax, %eax\n"
	"	cmpq $16, %rdx\n"
	"	jb 4f\n"
	"	cmpq $1024, %rdx\n"
	"	ja 3f\n"
	"1:	cmpq $32, %rdx\n"
	"	jbe 2f\n"
	"	movups (%rsi), %xmm0\n"
	"	movups 16(%rsi), %xmm1\n"
	"	movups %xmm0, (%rdi)\n"
	"	movups %xmm1, 16(%rdi)\n"
	"	addq $32, %rsi\n"
	"	addq $32, %rdi\n"
	"	subq $32, %rdx\n"
	"	jmp 1b\n"
	/* 1 to 32 bytes are left of 16 or more: two stores that may overlap each other or what is done. */
	"2:	movups -16(%rsi,%rdx), %xmm1\n"
	"	cmpq $16, %rdx\n"
	"	jbe 21f\n"
	"	movups (%rsi), %xmm0\n"
	"	movups %xmm0, (%rdi)\n"
	"21:	movups %xmm1, -16(%rdi,%rdx)\n"
	"	ret\n"
	"3:	movq %rdx, %rcx\n"
	"	rep movsb\n"
	"	ret\n"
	"4:	cmpq $8, %rdx\n"
	"	jb 5f\n"
	"	movq (%rsi), %r8\n"
	"	movq -8(%rsi,%rdx), %r9\n"
	"	movq %r8, (%rdi)\n"
	"	movq %r9, -8(%rdi,%rdx)\n"
	"	ret\n"
	"5:	cmpq $4, %rdx\n"
	"	jb 6f\n"
	"	movl (%rsi), %r8d\n"
	"	movl -4(%rsi,%rdx), %r9d\n"
	"	movl %r8d, (%rdi)\n"
	"	movl %r9d, -4(%rdi,%rdx)\n"
	"	ret\n"
	"6:	testq %rdx, %rdx\n"
	"	jz 7f\n"
	"	movzbl (%rsi), %r8d\n"
	"	movb %r8b, (%rdi)\n"
	"	incq %rsi\n"
	"	incq %rdi\n"
	"	decq %rdx\n"
	"	jmp 6b\n"
	"7:	ret\n"
	".globl afu_copy_end\n"
	".hidden afu_copy_end\n"
	"afu_copy_end:\n"
	".globl afu_copy_fault\n"
	".hidden afu_copy_fault\n"
	"afu_copy_fault:\n"
	"	movl $-14, %eax\n"
	"	ret\n"
	".cfi_endproc\n"
	".size afu_copy, . - afu_copy\n");

uintptr_t afu_copy_fixup(uintptr_t pc)
{
	if (pc >= (uintptr_t)afu_copy && pc < (uintptr_t)afu_copy_end)
		return (uintptr_t)afu_copy_fault;
	return 0;
}
#else
#include <string.h>

int afu_copy(void *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return 0;
}

uintptr_t afu_copy_fixup(uintptr_t pc)
{
	return 0;
}
#endif
