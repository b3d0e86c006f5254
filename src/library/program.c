/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/program.h"

#include "base/sys.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Interpreters of interpreters; the kernel follows five. */
#define DEPTH_MAX 5
#define HEADERS_MAX 64
#define NOTES_MAX 4096

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

static enum afu_program look_at_elf(int fd, const Elf64_Ehdr *elf)
{
	Elf64_Phdr header[HEADERS_MAX];
	size_t count = elf->e_phnum < HEADERS_MAX ? elf->e_phnum : HEADERS_MAX;
	int loader = 0, go = 0;
	long n;

	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != MACHINE ||
	    elf->e_phentsize != sizeof *header)
		return AFU_PROGRAM_ALONE;
	n = afu_sys(SYS_pread64, fd, header, count * sizeof *header, elf->e_phoff);
	if (n < 0 || (size_t)n < count * sizeof *header)
		return AFU_PROGRAM_OURS; /* the kernel won't run it */
	for (size_t i = 0; i < count; i++) {
		if (header[i].p_type == PT_NOTE && is_go(fd, &header[i]))
			go = 1;
		if (header[i].p_type != PT_INTERP)
			continue;
		loader = 1;
		if (is_other_loader(fd, &header[i]))
			return AFU_PROGRAM_OTHER_LIBC;
	}
	return loader && !go ? AFU_PROGRAM_OURS : AFU_PROGRAM_ALONE;
}

static enum afu_program look_at_file(int fd, int depth);

/* One that may be executed but not read, as programs that gain rights often are: its mode tells. */
static enum afu_program look_from_outside(int dir, const char *path)
{
	int fd = (int)afu_sys(SYS_openat, dir, path, O_PATH | O_CLOEXEC);
	enum afu_program program = AFU_PROGRAM_OURS;
	struct stat st;

	if (fd < 0)
		return program;
	if (afu_sys(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode) && gains_rights(fd, &st))
		program = AFU_PROGRAM_ALONE;
	afu_sys_close(fd);
	return program;
}

static enum afu_program look_at_path(int dir, const char *path, int depth)
{
	int fd = (int)afu_sys(SYS_openat, dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	enum afu_program program;

	if (fd < 0)
		return fd == -EACCES ? look_from_outside(dir, path) : AFU_PROGRAM_OURS;
	program = look_at_file(fd, depth);
	afu_sys_close(fd);
	return program;
}

/* "#!", blanks, a path up to a blank or the end of the line. */
static enum afu_program look_at_script(char *line, int depth)
{
	char *path = line + 2 + strspn(line + 2, " \t");

	path[strcspn(path, " \t\n")] = 0;
	return depth < DEPTH_MAX && *path ? look_at_path(AT_FDCWD, path, depth + 1) : AFU_PROGRAM_OURS;
}

static enum afu_program look_at_file(int fd, int depth)
{
	union {
		Elf64_Ehdr elf;
		char text[PATH_MAX];
	} head;
	struct stat st;
	long n;

	if (afu_sys(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode))
		return AFU_PROGRAM_OURS;
	n = afu_sys(SYS_pread64, fd, &head, sizeof head - 1, 0);
	if (n < 2)
		return AFU_PROGRAM_OURS;
	head.text[n] = 0;
	if (memcmp(head.text, "#!", 2) == 0)
		return look_at_script(head.text, depth);
	if (gains_rights(fd, &st))
		return AFU_PROGRAM_ALONE;
	/* what is no program is the shell's, or nobody's */
	if (n < (long)sizeof head.elf || memcmp(head.elf.e_ident, ELFMAG, SELFMAG) != 0)
		return AFU_PROGRAM_OURS;
	return look_at_elf(fd, &head.elf);
}

enum afu_program afu_program_at(int dir, const char *path, int flags)
{
	char number[32];

	if ((flags & AT_EMPTY_PATH) && !*path) {
		/* it may be open for something else than reading */
		snprintf(number, sizeof number, "/proc/self/fd/%d", dir);
		path = number;
	}
	return look_at_path(dir, path, 0);
}

/* The first of the directories in PATH that has it: where execvp() and posix_spawnp() would find it. */
enum afu_program afu_program_named(const char *file)
{
	const char *list = getenv("PATH"), *end;
	char path[PATH_MAX];
	size_t n;

	if (strchr(file, '/'))
		return look_at_path(AT_FDCWD, file, 0);
	for (list = list ? list : "/bin:/usr/bin"; *file; list = end + 1) {
		end = list + strcspn(list, ":");
		n = (size_t)(end - list);
		if (n + 1 + strlen(file) < sizeof path) {
			memcpy(path, list, n);
			strcpy(path + n, n ? "/" : "");
			strcat(path, file);
			if (afu_sys(SYS_faccessat, AT_FDCWD, path, X_OK) == 0)
				return look_at_path(AT_FDCWD, path, 0);
		}
		if (!*end)
			break;
	}
	return AFU_PROGRAM_OURS;
}
