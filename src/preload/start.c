/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The constructor: finds the real functions, starts the library, and notes what an exec
 * must hand on to stay in the domain, before the program can change its environment.
 *
 * Other libraries' constructors may come first.  Their calls go to the kernel: starting
 * earlier would allocate memory inside the constructor of an allocator.
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

__attribute__((constructor)) static void start(void)
{
	int saved = errno;

	/* Inactive while the library starts: what it calls meanwhile is for the kernel. */
	atomic_store(&afu_preload_state, AFU_PRELOAD_INACTIVE);
	afu_real_resolve();
	afu_library_start();
	if (afu_library_active()) {
		note_environment();
		atomic_store(&afu_preload_state, AFU_PRELOAD_ACTIVE);
		afu_preload_standard_streams();
	}
	errno = saved;
}
