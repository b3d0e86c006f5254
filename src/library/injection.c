/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/injection.h"

#include "library/pattern.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(AFU_CALLS <= 64, "one bit for each call");

struct reader {
	struct afu_injection *to;
	char *why;
	size_t room;
};

__attribute__((format(printf, 2, 3))) static int wrong(const struct reader *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(r->why, r->room, format, ap);
	va_end(ap);
	return -EINVAL;
}

static int read_call(const struct reader *r, const char *word)
{
	for (unsigned int i = 0; i < AFU_CALLS; i++)
		if (afu_call_means((enum afu_call)i, word, strlen(word)))
			r->to->calls |= UINT64_C(1) << i;
	return r->to->calls ? 0 : wrong(r, "there is no call '%s'", word);
}

/* Those of the calls that can give it. */
static uint64_t givers(uint64_t calls, enum afu_cause cause)
{
	uint64_t those = 0;

	for (unsigned int i = 0; i < AFU_CALLS; i++)
		if (calls >> i & 1 && afu_call_gives((enum afu_call)i, cause))
			those |= UINT64_C(1) << i;
	return those;
}

static int fits(enum afu_cause cause, const char *word)
{
	const char *name;

	if (strcmp(word, afu_causes[cause].id) == 0)
		return 1;
	name = afu_causes[cause].error ? strerrorname_np(afu_causes[cause].error) : NULL;
	return name && strcmp(word, name) == 0;
}

static int read_cause(const struct reader *r, const char *call, const char *word)
{
	enum afu_cause known = AFU_CAUSE_NONE;

	for (enum afu_cause c = 1; c < AFU_CAUSES; c++) {
		uint64_t calls;

		if (!fits(c, word))
			continue;
		known = c;
		calls = givers(r->to->calls, c);
		if (!calls)
			continue;
		if (!afu_causes[c].error)
			return wrong(r, "%s has no errno of its own", word);
		r->to->cause = c;
		r->to->calls = calls;
		return 0;
	}
	if (!known)
		return wrong(r, "there is no cause '%s'; 'afunix errors' lists them", word);
	if (strcmp(word, afu_causes[known].id) == 0)
		return wrong(r, "%s can't be refused with %s, but %s can", call, word,
			     afu_causes[known].calls);
	return wrong(r, "%s can't be refused with %s", call, word);
}

static int read_number(const struct reader *r, const char *name, const char *text, uint64_t least,
		       uint64_t *to)
{
	char *end;

	errno = 0;
	*to = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || *to < least)
		return wrong(r, "%s takes a whole number from %d up, not '%s'", name, (int)least, text);
	return 0;
}

static int read_chance(const struct reader *r, const char *text)
{
	char *end;
	double p = strtod(text, &end);

	if ((*text != '.' && (*text < '0' || *text > '9')) || *end || !(p >= 0 && p <= 1))
		return wrong(r, "probability takes a number from 0 to 1, not '%s'", text);
	r->to->chance = (uint64_t)(p * 4294967296.0);
	return 0;
}

static int read_option(const struct reader *r, const char *text)
{
	if (strncmp(text, "every=", 6) == 0)
		return read_number(r, "every", text + 6, 1, &r->to->every);
	if (strncmp(text, "seed=", 5) == 0)
		return read_number(r, "seed", text + 5, 0, &r->to->seed);
	if (strncmp(text, "probability=", 12) == 0)
		return read_chance(r, text + 12);
	return wrong(r, "there is no option '%s'; it may be every=N, probability=P, seed=S or path=GLOB",
		     text);
}

static int read_path(const struct reader *r, const char *text)
{
	if (!*text || strlen(text) >= sizeof r->to->path)
		return wrong(r, "path takes a pattern of 1 to %zu bytes", sizeof r->to->path - 1);
	strcpy(r->to->path, text);
	return 0;
}

/* Cuts at the next colon; what is behind it, or NULL. */
static char *cut(char *text)
{
	char *colon = strchr(text, ':');

	if (colon)
		*colon++ = 0;
	return colon;
}

static int read_all(const struct reader *r, char *text)
{
	char *cause = cut(text), *option, *next;
	int err = read_call(r, text);

	if (err)
		return err;
	if (!cause)
		return wrong(r, "it has the form CALL:CAUSE[:OPTION...]");
	next = cut(cause);
	err = read_cause(r, text, cause);
	while (!err && (option = next)) {
		if (strncmp(option, "path=", 5) == 0)
			return read_path(r, option + 5);
		next = cut(option);
		err = read_option(r, option);
	}
	return err;
}

int afu_injection_parse(const char *text, size_t n, struct afu_injection *to, char *why, size_t room)
{
	struct reader r = {to, why, room};
	char copy[sizeof to->text];

	memset(to, 0, sizeof *to);
	to->every = 1;
	to->chance = UINT64_C(1) << 32;
	if (n >= sizeof copy)
		return wrong(&r, "it is longer than %zu bytes", sizeof copy - 1);
	memcpy(copy, text, n);
	copy[n] = 0;
	if (strlen(copy) != n || strchr(copy, '\n'))
		return wrong(&r, "it has more than one line");
	strcpy(to->text, copy);
	return read_all(&r, copy);
}

/* splitmix64: the same numbers for the same seed, whoever asks and in whatever order. */
static uint64_t scatter(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

int afu_injection_due(struct afu_injection *in)
{
	/* relaxed: a count, nothing is published with it */
	uint64_t n = atomic_fetch_add_explicit(&in->seen, 1, memory_order_relaxed) + 1;

	return n % in->every == 0 && scatter(in->seed ^ scatter(n)) >> 32 < in->chance;
}

int afu_injection_path(const struct afu_injection *in, const char *name)
{
	return afu_pattern_fits(in->path, name);
}
