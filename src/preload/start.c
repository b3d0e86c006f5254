/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The constructor: finds the real functions, starts the library, and notes what an exec
 * must hand on to stay in the domain, before the program can change its environment.
 *
 * Other libraries' constructors may come first.  Their calls go to the kernel: starting
 * earlier would allocate memory inside the constructor of an allocator.
 */
#include "library/injection.h"
#include "library/speaker.h"
#include "preload/call.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PRELOAD "LD_PRELOAD="

_Atomic(int) afu_preload_state;

char afu_preload_entry[sizeof(PRELOAD) + PATH_MAX];

static char domain[sizeof("AFUNIX_DOMAIN=") + PATH_MAX], explain[sizeof("AFUNIX_EXPLAIN=") + 8];
static char explain_to[sizeof("AFUNIX_EXPLAIN_TO=") + PATH_MAX];
static char inject[sizeof(AFU_INJECTION_VARIABLE "=") + AFU_INJECTIONS * 256];

char *const afu_preload_handed[AFU_PRELOAD_HANDED] = {domain, explain, explain_to, inject};

/* Leaves the entry empty if the value does not fit. */
static void note(char *entry, size_t size, const char *name)
{
	const char *value = getenv(name);

	if (!value || strlen(name) + 1 + strlen(value) >= size)
		return;
	strcpy(entry, name);
	strcat(entry, "=");
	strcat(entry, value);
}

static void note_environment(void)
{
	char path[PATH_MAX];
	Dl_info info;

	note(domain, sizeof domain, "AFUNIX_DOMAIN");
	note(explain, sizeof explain, "AFUNIX_EXPLAIN");
	note(explain_to, sizeof explain_to, "AFUNIX_EXPLAIN_TO");
	note(inject, sizeof inject, AFU_INJECTION_VARIABLE);
	/* Absolute: the new program may start in another directory. */
	if (dladdr((void *)afu_preload_entry, &info) && info.dli_fname && realpath(info.dli_fname, path))
		strcat(strcpy(afu_preload_entry, PRELOAD), path);
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
		afu_call_start();
		afu_speaker_watched();
		atomic_store(&afu_preload_state, AFU_PRELOAD_ACTIVE);
		afu_preload_standard_streams();
	}
	errno = saved;
}
