/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/call.h"

#include <string.h>

const struct afu_call_row afu_calls[AFU_CALLS] = {
#define CALL(name, words, arguments) {#name, words, arguments},
#include "library/calls.def"
#undef CALL
};

/* Calls the function for each word until it says 1. */
static int any_word(const char *words, int (*is)(const char *word, size_t n, const void *arg),
		    const void *arg)
{
	while (*words) {
		size_t n = strcspn(words, " ");

		if (n && is(words, n, arg))
			return 1;
		words += n + (words[n] == ' ');
	}
	return 0;
}

struct word {
	const char *at;
	size_t n;
};

static int same(const char *word, size_t n, const void *arg)
{
	const struct word *other = arg;

	return n == other->n && memcmp(word, other->at, n) == 0;
}

int afu_call_means(enum afu_call call, const char *word, size_t n)
{
	struct word w = {word, n};

	if (n == 1 && *word == '*')
		return 1;
	return same(afu_calls[call].name, strlen(afu_calls[call].name), &w) ||
	       any_word(afu_calls[call].words, same, &w);
}

static int means(const char *word, size_t n, const void *arg)
{
	return afu_call_means(*(const enum afu_call *)arg, word, n);
}

int afu_call_gives(enum afu_call call, enum afu_cause cause)
{
	return any_word(afu_causes[cause].calls, means, &call);
}
