/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What is to be injected: "CALL:CAUSE[:every=N][:probability=P][:seed=S][:path=GLOB]".
 *
 * CALL is a word of the column "calls" of the table of causes, so "send" stands for every
 * call that sends.  CAUSE is an identifier, or an errno's name for the first cause that
 * has it.  path= comes last and takes the rest.
 */
#ifndef AFU_LIBRARY_INJECTION_H
#define AFU_LIBRARY_INJECTION_H

#include "library/call.h"

#include <stdint.h>

/* In the environment, one in each line. */
#define AFU_INJECTION_VARIABLE "AFUNIX_INJECT"
#define AFU_INJECTIONS 32

struct afu_injection {
	uint64_t calls; /* one bit for each */
	enum afu_cause cause;
	uint64_t every;	 /* each so many times; 1 if not given */
	uint64_t chance; /* of 2^32 */
	uint64_t seed;
	char path[112];	       /* empty: whatever the path */
	char text[256];	       /* as it was given */
	_Atomic uint64_t seen; /* calls that fit */
};

/* 0, or -EINVAL and what is wrong with it, without a full stop. */
int afu_injection_parse(const char *text, size_t n, struct afu_injection *to, char *why, size_t room);

/* Whether this call, which fits, is one of those to be refused.  Async-signal-safe. */
int afu_injection_due(struct afu_injection *in);

/* Whether the name fits the path's pattern: * stands for any bytes, ? for one.  Async-signal-safe. */
int afu_injection_path(const struct afu_injection *in, const char *name);

#endif
