/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Programs that can't be preloaded: static ones, Go's, which make their own system calls, those of
 * another libc or machine, and those that start with more rights than their caller.  What such a
 * program is about to inherit of our sockets becomes sockets of the kernel's first.
 *
 * Called between fork() and exec() too: nothing here allocates memory.
 */
#include "preload/interpose.h"

#include "base/sys.h"
#include "library/moved.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Interpreters of interpreters; the kernel follows five. */
#define DEPTH_MAX 5
#define HEADERS_MAX 64
#define NOTES_MAX 4096
#define SOURCES 256

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

/* Whether the loader would run the program in secure mode, in which it ignores our entry. */
static int gains_rights(int fd, const struct stat *st)
{
	if ((st->st_mode & S_ISUID) && st->st_uid != (uid_t)afu_sys(SYS_getuid))
		return 1;
	if ((st->st_mode & S_ISGID) && (st->st_mode & S_IXGRP) && st->st_gid != (gid_t)afu_sys(SYS_getgid))
		return 1;
	return afu_sys(SYS_getuid) != 0 && afu_sys(SYS_fgetxattr, fd, "security.capability", NULL, 0) > 0;
}

/* Go's linker leaves a note with its name in every program. */
static int is_go(int fd, const Elf64_Phdr *p)
{
	_Alignas(Elf64_Nhdr) char notes[NOTES_MAX];
	size_t size = p->p_filesz < sizeof notes ? p->p_filesz : sizeof notes, at = 0;
	long n = afu_sys(SYS_pread64, fd, notes, size, p->p_offset);

	while (n >= 0 && at + sizeof(Elf64_Nhdr) + 4 <= (size_t)n) {
		const Elf64_Nhdr *note = (const void *)(notes + at);

		if (note->n_namesz == 4 && memcmp(notes + at + sizeof *note, "Go\0", 4) == 0)
			return 1;
		if (note->n_namesz > size || note->n_descsz > size)
			return 0;
		at += sizeof *note + ((note->n_namesz + 3) & ~3u) + ((note->n_descsz + 3) & ~3u);
	}
	return 0;
}

/* The C library that we know is loaded by ld-linux. */
static int is_other_loader(int fd, const Elf64_Phdr *p)
{
	char path[PATH_MAX];
	const char *name;
	long n;

	if (p->p_filesz >= sizeof path)
		return 1;
	n = afu_sys(SYS_pread64, fd, path, p->p_filesz, p->p_offset);
	if (n <= 0)
		return 1;
	path[n] = 0;
	name = strrchr(path, '/');
	return strncmp(name ? name + 1 : path, "ld-linux", 8) != 0;
}

static int is_foreign_elf(int fd, const Elf64_Ehdr *elf)
{
	Elf64_Phdr header[HEADERS_MAX];
	size_t count = elf->e_phnum < HEADERS_MAX ? elf->e_phnum : HEADERS_MAX;
	int loader = 0;
	long n;

	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != MACHINE ||
	    elf->e_phentsize != sizeof *header)
		return 1;
	n = afu_sys(SYS_pread64, fd, header, count * sizeof *header, elf->e_phoff);
	if (n < 0 || (size_t)n < count * sizeof *header)
		return 0; /* the kernel won't run it */
	for (size_t i = 0; i < count; i++) {
		if (header[i].p_type == PT_NOTE && is_go(fd, &header[i]))
			return 1;
		if (header[i].p_type != PT_INTERP)
			continue;
		loader = 1;
		if (is_other_loader(fd, &header[i]))
			return 1;
	}
	return !loader;
}

static int is_foreign(int fd, int depth);

static int is_foreign_path(const char *path, int depth)
{
	int fd = (int)afu_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), foreign;

	if (fd < 0)
		return 0;
	foreign = is_foreign(fd, depth);
	afu_sys_close(fd);
	return foreign;
}

/* "#!", blanks, a path up to a blank or the end of the line. */
static int is_foreign_script(char *line, int depth)
{
	char *path = line + 2 + strspn(line + 2, " \t");

	path[strcspn(path, " \t\n")] = 0;
	return depth < DEPTH_MAX && *path && is_foreign_path(path, depth + 1);
}

static int is_foreign(int fd, int depth)
{
	union {
		Elf64_Ehdr elf;
		char text[PATH_MAX];
	} head;
	struct stat st;
	long n;

	if (afu_sys(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	n = afu_sys(SYS_pread64, fd, &head, sizeof head - 1, 0);
	if (n < 2)
		return 0;
	head.text[n] = 0;
	if (memcmp(head.text, "#!", 2) == 0)
		return is_foreign_script(head.text, depth);
	if (gains_rights(fd, &st))
		return 1;
	/* what is no program is the shell's, or nobody's */
	if (n < (long)sizeof head.elf || memcmp(head.elf.e_ident, ELFMAG, SELFMAG) != 0)
		return 0;
	return is_foreign_elf(fd, &head.elf);
}

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

static int inherits(int spawned)
{
	for (unsigned int fd = 0; fd < afu_table_top(); fd++)
		if (is_inherited((int)fd, spawned))
			return 1;
	return 0;
}

static void move_inherited(int spawned)
{
	for (unsigned int fd = 0; fd < afu_table_top(); fd++)
		if (is_inherited((int)fd, spawned))
			afu_moved_leave((int)fd);
}

void afu_preload_foreign_at(int dir, const char *path, int flags)
{
	char number[32];
	int fd, saved = errno;

	if (!afu_preload_active() || !path || !inherits(0))
		return;
	if ((flags & AT_EMPTY_PATH) && !*path) {
		/* it may be open for something else than reading */
		snprintf(number, sizeof number, "/proc/self/fd/%d", dir);
		path = number;
	}
	fd = (int)afu_sys(SYS_openat, dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && is_foreign(fd, 0))
		move_inherited(0);
	if (fd >= 0)
		afu_sys_close(fd);
	errno = saved;
}

/* The first of the directories in PATH that has it: where execvp() and posix_spawnp() would find it. */
static int is_foreign_command(const char *file)
{
	const char *list = getenv("PATH"), *end;
	char path[PATH_MAX];
	size_t n;

	if (strchr(file, '/'))
		return is_foreign_path(file, 0);
	for (list = list ? list : "/bin:/usr/bin"; *file; list = end + 1) {
		end = list + strcspn(list, ":");
		n = (size_t)(end - list);
		if (n + 1 + strlen(file) < sizeof path) {
			memcpy(path, list, n);
			strcpy(path + n, n ? "/" : "");
			strcat(path, file);
			if (afu_sys(SYS_faccessat, AT_FDCWD, path, X_OK) == 0)
				return is_foreign_path(path, 0);
		}
		if (!*end)
			return 0;
	}
	return 0;
}

void afu_preload_foreign_command(const char *file, int spawned)
{
	int saved = errno;

	if (afu_preload_active() && file && inherits(spawned) && is_foreign_command(file))
		move_inherited(spawned);
	errno = saved;
}

void afu_preload_foreign_spawned(const char *path)
{
	int saved = errno;

	if (afu_preload_active() && path && inherits(1) && is_foreign_path(path, 0))
		move_inherited(1);
	errno = saved;
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
