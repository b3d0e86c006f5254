/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Finds the C library's own functions; see real.h.
 *
 * dlsym() takes the loader's lock and is not async-signal-safe, so the constructor
 * resolves everything and a handler never comes here.
 */
#include "preload/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

struct afu_real afu_real;

static const char *const names[] = {
#define NAME(ret, name, ...) #name,
	AFU_REAL_LIST(NAME)
#undef NAME
};

enum { COUNT = sizeof(names) / sizeof(names[0]) };

_Static_assert(sizeof(afu_real) == COUNT * sizeof(void (*)(void)), "one pointer for each name");

static long missing(void)
{
	errno = ENOSYS;
	return -1;
}

void (*afu_real_find(size_t position))(void)
{
	void (**entry)(void) = (void (**)(void)) & afu_real;
	void (*function)(void);
	int saved = errno;
	void *symbol;

	symbol = dlsym(RTLD_NEXT, names[position]);
	/* POSIX guarantees this conversion, ISO C has no word for it. */
	if (symbol)
		memcpy(&function, &symbol, sizeof(function));
	else
		function = (void (*)(void))missing;
	__atomic_store_n(&entry[position], function, __ATOMIC_RELAXED);
	errno = saved;
	return function;
}

void afu_real_resolve(void)
{
	for (size_t i = 0; i < COUNT; i++)
		afu_real_find(i);
}
