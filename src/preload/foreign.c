/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What a program that can't be preloaded is about to inherit of our sockets becomes sockets of the
 * kernel's first.
 */
#include "preload/interpose.h"

#include "base/sys.h"
#include "library/moved.h"

#include <fcntl.h>

#define SOURCES 256

/* A number that was named as the source of a duplicate for a child that is to be spawned. */
static struct {
	_Atomic int fd;
	_Atomic uintptr_t entry; /* what it was then */
} sources[SOURCES];
static _Atomic unsigned int n_sources;

static int is_source(int fd)
{
	for (unsigned int i = 0; i < SOURCES; i++)
		if (sources[i].fd == fd && sources[i].entry == afu_fd_entry(fd))
			return 1;
	return 0;
}

/* Whether the number, or for a child that is spawned a duplicate of it, goes on in the new program. */
static int is_inherited(int fd, int spawned)
{
	return afu_fd_ours(fd) &&
	       (!(afu_sys(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC) || (spawned && is_source(fd)));
}

static enum afu_program make_ready(enum afu_program program, int spawned)
{
	for (unsigned int fd = 0; program && fd < afu_table_top(); fd++)
		if (is_inherited((int)fd, spawned))
			afu_moved_leave((int)fd);
	return program;
}

enum afu_program afu_preload_program_at(int dir, const char *path, int flags)
{
	if (!afu_preload_active() || !path)
		return AFU_PROGRAM_OURS;
	return make_ready(afu_program_at(dir, path, flags), 0);
}

enum afu_program afu_preload_program_named(const char *file, int spawned)
{
	if (!afu_preload_active() || !file)
		return AFU_PROGRAM_OURS;
	return make_ready(afu_program_named(file), spawned);
}

enum afu_program afu_preload_program_spawned(const char *path)
{
	if (!afu_preload_active() || !path)
		return AFU_PROGRAM_OURS;
	return make_ready(afu_program_at(AT_FDCWD, path, 0), 1);
}

AFU_INTERPOSE(int, posix_spawn_file_actions_adddup2, posix_spawn_file_actions_t *actions, int fd, int to)
{
	if (afu_fd_ours(fd)) {
		unsigned int i = atomic_fetch_add(&n_sources, 1) % SOURCES;

		sources[i].fd = fd;
		sources[i].entry = afu_fd_entry(fd);
	}
	return AFU_REAL(posix_spawn_file_actions_adddup2)(actions, fd, to);
}
