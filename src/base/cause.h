/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Refusals.  Whoever refuses names a cause; the errno follows from the table
 * causes.def.  afu_refuse() records the cause for the calling thread and returns
 * the negative errno.  Async-signal-safe.
 */
#ifndef AFU_BASE_CAUSE_H
#define AFU_BASE_CAUSE_H

#include <stdint.h>

enum afu_cause {
	AFU_CAUSE_NONE,
#define CAUSE(id, error, calls, text) AFU_CAUSE_##id,
#include "base/causes.def"
#undef CAUSE
	AFU_CAUSES,
};

struct afu_cause_row {
	int error; /* 0: the errno comes with the refusal */
	const char *id, *calls, *text;
};

extern const struct afu_cause_row afu_causes[AFU_CAUSES];

/* The negative errno of the cause. */
int afu_refuse(enum afu_cause cause);

/* The same with particulars (may be NULL); the errno is the given one. */
int afu_refuse_as(enum afu_cause cause, int error, const char *detail);

/* The filesystem's refusal of a path, `error` positive: the cause is chosen by it.  The path may be NULL. */
int afu_refuse_path(int error, const char *path);

#endif
