/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The constructor: finds the real functions, starts the library, and notes what an exec
 * must hand on to stay in the domain, before the program can change its environment.
 *
 * Other libraries' constructors may have come first; the first of their calls that
 * matters starts us then.
 */
#include "preload/interpose.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PRELOAD "LD_PRELOAD="
#define DOMAIN "AFUNIX_DOMAIN="

_Atomic(int) afu_preload_state;

char afu_preload_entry[sizeof(PRELOAD) + PATH_MAX];
char afu_preload_domain_entry[sizeof(DOMAIN) + PATH_MAX];

/* Leaves the entry empty if the value does not fit. */
static void note(char *entry, const char *name, const char *value)
{
	if (!value || strlen(value) >= PATH_MAX)
		return;
	strcpy(entry, name);
	strcat(entry, value);
}

static void note_environment(void)
{
	char path[PATH_MAX];
	Dl_info info;

	note(afu_preload_domain_entry, DOMAIN, getenv("AFUNIX_DOMAIN"));
	/* Absolute: the new program may start in another directory. */
	if (dladdr((void *)afu_preload_entry, &info) && info.dli_fname && realpath(info.dli_fname, path))
		note(afu_preload_entry, PRELOAD, path);
}

int afu_preload_start(void)
{
	int state = AFU_PRELOAD_NEW;
	int saved = errno;

	/* Inactive while the library starts: what it calls meanwhile is for the kernel. */
	if (!atomic_compare_exchange_strong(&afu_preload_state, &state, AFU_PRELOAD_INACTIVE))
		return state;
	afu_real_resolve();
	afu_library_start();
	if (afu_library_active()) {
		note_environment();
		atomic_store(&afu_preload_state, AFU_PRELOAD_ACTIVE);
		afu_preload_standard_streams();
	}
	errno = saved;
	return atomic_load(&afu_preload_state);
}

__attribute__((constructor)) static void construct(void)
{
	afu_preload_start();
}
