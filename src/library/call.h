/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The table of calls, and which cause belongs to which call.
 *
 * For those who speak about calls: the preload, which explains refused ones and injects
 * refusals, and the command, which checks what it is told to inject.
 */
#ifndef AFU_LIBRARY_CALL_H
#define AFU_LIBRARY_CALL_H

#include "base/cause.h"

#include <stddef.h>

enum afu_call {
#define CALL(name, words, arguments) AFU_CALL_##name,
#include "library/calls.def"
#undef CALL
	AFU_CALLS,
};

struct afu_call_row {
	const char *name, *words, *arguments;
};

extern const struct afu_call_row afu_calls[AFU_CALLS];

/* Whether the word (n bytes) means the call: its name, its family's, or "*".  Async-signal-safe. */
int afu_call_means(enum afu_call call, const char *word, size_t n);

/* Whether the call can be refused for that cause, as the table of causes has it. */
int afu_call_gives(enum afu_call call, enum afu_cause cause);

#endif
