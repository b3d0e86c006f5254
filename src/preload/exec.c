/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Programs that are started: exec, posix_spawn, system, popen.
 *
 * A program's child belongs to the domain too, also when the program gives it an
 * environment of its own: what is missing of LD_PRELOAD and our own variables is added.  A
 * domain that the caller chose (a nested `afunix run`) stays.  The new environment is
 * mapped, not allocated: after fork() in a program with threads malloc may deadlock.
 */
#include "preload/interpose.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LIBRARY "libafunix-preload.so"

struct environment {
	char *const *envp;
	void *map; /* NULL if envp is the caller's own */
	size_t size;
};

/* The entry of that name ("NAME="), or -1. */
static ptrdiff_t find(char *const envp[], const char *name)
{
	size_t n = strlen(name);

	for (ptrdiff_t i = 0; envp && envp[i]; i++)
		if (strncmp(envp[i], name, n) == 0)
			return i;
	return -1;
}

/* Whether the environment has nothing of the entry's name; not if the entry is empty. */
static int lacks(char *const envp[], const char *entry)
{
	size_t n = strcspn(entry, "=") + 1;

	for (; *entry && envp && *envp; envp++)
		if (strncmp(*envp, entry, n) == 0)
			return 0;
	return *entry != 0;
}

static size_t count(char *const envp[])
{
	size_t n = 0;

	while (envp && envp[n])
		n++;
	return n;
}

/* Our library's LD_PRELOAD entry with the caller's list behind it, in place of theirs. */
static void join(char *text, const char *theirs)
{
	strcpy(text, afu_preload_entry);
	strcat(text, ":");
	strcat(text, theirs + strlen("LD_PRELOAD="));
}

/* Maps a copy of envp with what is missing. */
static int environment_copy(struct environment *e, char *const envp[], ptrdiff_t preload, unsigned int missing)
{
	size_t n = count(envp), pointers = (n + 2 + AFU_PRELOAD_HANDED) * sizeof(char *), i = n;
	size_t text = preload < 0 ? 0 : strlen(afu_preload_entry) + 1 + strlen(envp[preload]);
	char **copy;

	e->size = pointers + text;
	e->map = AFU_REAL(mmap)(NULL, e->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->map == MAP_FAILED)
		return ENOMEM;
	copy = e->map;
	if (n)
		memcpy(copy, envp, n * sizeof(char *));
	if (preload >= 0) {
		join((char *)e->map + pointers, envp[preload]);
		copy[preload] = (char *)e->map + pointers;
	} else if (preload == -1) {
		copy[i++] = afu_preload_entry;
	}
	for (unsigned int h = 0; h < AFU_PRELOAD_HANDED; h++)
		if (missing >> h & 1)
			copy[i++] = afu_preload_handed[h];
	e->envp = copy;
	return 0;
}

/* Without our own library in LD_PRELOAD: another C library would not start the program. */
static int environment_without(struct environment *e, char *const envp[], size_t preload)
{
	const char *value = envp[preload] + strlen("LD_PRELOAD=");
	size_t pointers = (count(envp) + 1) * sizeof(char *), n;
	char **copy, *text;

	e->size = pointers + strlen(envp[preload]) + 1;
	e->map = AFU_REAL(mmap)(NULL, e->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->map == MAP_FAILED)
		return ENOMEM;
	copy = e->map;
	memcpy(copy, envp, pointers);
	text = (char *)e->map + pointers;
	copy[preload] = text;
	text = stpcpy(text, "LD_PRELOAD=");
	for (; *value; value += n) {
		value += strspn(value, ": ");
		n = strcspn(value, ": ");
		if (!n || memmem(value, n, LIBRARY, strlen(LIBRARY)))
			continue;
		if (text[-1] != '=')
			*text++ = ':';
		text = mempcpy(text, value, n);
	}
	e->envp = copy;
	return 0;
}

/* What the new program gets.  0 or an errno; to be ended with environment_end(). */
static int environment_begin(struct environment *e, char *const envp[], enum afu_program program)
{
	const ptrdiff_t have = -2; /* nothing to do about LD_PRELOAD */
	ptrdiff_t preload;
	unsigned int missing = 0;

	*e = (struct environment){.envp = envp};
	if (!afu_preload_active() || !afu_preload_entry[0])
		return 0;
	preload = find(envp, "LD_PRELOAD=");
	if (program == AFU_PROGRAM_OTHER_LIBC)
		return preload < 0 ? 0 : environment_without(e, envp, (size_t)preload);
	if (preload >= 0 && strstr(envp[preload], LIBRARY))
		preload = have;
	for (unsigned int h = 0; h < AFU_PRELOAD_HANDED; h++)
		if (lacks(envp, afu_preload_handed[h]))
			missing |= 1U << h;
	if (preload == have && !missing)
		return 0;
	return environment_copy(e, envp, preload, missing);
}

static void environment_end(struct environment *e)
{
	int saved = errno;

	if (e->map)
		munmap(e->map, e->size);
	errno = saved;
}

AFU_INTERPOSE(int, execve, const char *path, char *const argv[], char *const envp[])
{
	struct environment e;
	int error = environment_begin(&e, envp, afu_preload_program_at(AT_FDCWD, path, 0));

	if (error)
		return afu_preload_fail(error);
	AFU_REAL(execve)(path, argv, e.envp);
	environment_end(&e);
	return -1;
}

AFU_INTERPOSE(int, execvpe, const char *file, char *const argv[], char *const envp[])
{
	struct environment e;
	int error = environment_begin(&e, envp, afu_preload_program_named(file, 0));

	if (error)
		return afu_preload_fail(error);
	AFU_REAL(execvpe)(file, argv, e.envp);
	environment_end(&e);
	return -1;
}

AFU_INTERPOSE(int, execveat, int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	struct environment e;
	int error = environment_begin(&e, envp, afu_preload_program_at(dir, path, flags));

	if (error)
		return afu_preload_fail(error);
	AFU_REAL(execveat)(dir, path, argv, e.envp, flags);
	environment_end(&e);
	return -1;
}

AFU_INTERPOSE(int, fexecve, int fd, char *const argv[], char *const envp[])
{
	struct environment e;
	int error = environment_begin(&e, envp, afu_preload_program_at(fd, "", AT_EMPTY_PATH));

	if (error)
		return afu_preload_fail(error);
	AFU_REAL(fexecve)(fd, argv, e.envp);
	environment_end(&e);
	return -1;
}

AFU_INTERPOSE(int, execv, const char *path, char *const argv[])
{
	return afu_preload_execve(path, argv, environ);
}

AFU_INTERPOSE(int, execvp, const char *file, char *const argv[])
{
	return afu_preload_execvpe(file, argv, environ);
}

/*
 * The argument list of an execl() call, from its first argument on: counted, then copied
 * into an array of the caller's.  A va_list that was walked is at its end, hence two.
 */
static size_t list_count(const char *first, va_list ap)
{
	size_t n = 1;

	if (first)
		for (n = 2; va_arg(ap, const char *); n++)
			;
	return n;
}

static void list_copy(char **argv, size_t n, const char *first, va_list ap)
{
	/* argv[] is not const for reasons of history only; nothing writes through it. */
	memcpy(&argv[0], &first, sizeof(first));
	for (size_t i = 1; i < n; i++)
		argv[i] = va_arg(ap, char *);
}

/* Declares argv[] on the stack, as the C library does; exec would not take a longer one. */
#define LIST(argv, first)                                                                                    \
	va_list ap_;                                                                                         \
	size_t n_;                                                                                           \
	char **argv;                                                                                         \
	va_start(ap_, first);                                                                                \
	n_ = list_count(first, ap_);                                                                         \
	va_end(ap_);                                                                                         \
	argv = __builtin_alloca(n_ * sizeof(*argv));                                                         \
	va_start(ap_, first);                                                                                \
	list_copy(argv, n_, first, ap_)

AFU_INTERPOSE(int, execl, const char *path, const char *first, ...)
{
	LIST(argv, first);
	va_end(ap_);
	return afu_preload_execve(path, argv, environ);
}

AFU_INTERPOSE(int, execlp, const char *file, const char *first, ...)
{
	LIST(argv, first);
	va_end(ap_);
	return afu_preload_execvpe(file, argv, environ);
}

AFU_INTERPOSE(int, execle, const char *path, const char *first, ...)
{
	char *const *envp;

	LIST(argv, first);
	envp = va_arg(ap_, char *const *);
	va_end(ap_);
	return afu_preload_execve(path, argv, envp);
}

AFU_INTERPOSE(int, posix_spawn, pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct environment e;
	int r = environment_begin(&e, envp, afu_preload_program_spawned(path));

	if (r)
		return r;
	r = AFU_REAL(posix_spawn)(pid, path, actions, attr, argv, e.envp);
	environment_end(&e);
	return r;
}

AFU_INTERPOSE(int, posix_spawnp, pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct environment e;
	int r = environment_begin(&e, envp, afu_preload_program_named(file, 1));

	if (r)
		return r;
	r = AFU_REAL(posix_spawnp)(pid, file, actions, attr, argv, e.envp);
	environment_end(&e);
	return r;
}

/* As posix_spawn(), with a descriptor for the child in place of its number; glibc 2.39. */
AFU_INTERPOSE(int, pidfd_spawn, int *pidfd, const char *path, const posix_spawn_file_actions_t *actions,
	      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct environment e;
	int r = environment_begin(&e, envp, afu_preload_program_spawned(path));

	if (r)
		return r;
	r = AFU_REAL(pidfd_spawn)(pidfd, path, actions, attr, argv, e.envp);
	if (r == 0)
		afu_preload_fresh(*pidfd);
	environment_end(&e);
	return r;
}

AFU_INTERPOSE(int, pidfd_spawnp, int *pidfd, const char *file, const posix_spawn_file_actions_t *actions,
	      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct environment e;
	int r = environment_begin(&e, envp, afu_preload_program_named(file, 1));

	if (r)
		return r;
	r = AFU_REAL(pidfd_spawnp)(pidfd, file, actions, attr, argv, e.envp);
	if (r == 0)
		afu_preload_fresh(*pidfd);
	environment_end(&e);
	return r;
}

/* These start and reap their child inside the C library, with the program's own environment. */
AFU_INTERPOSE(int, system, const char *command)
{
	int r;

	r = AFU_REAL(system)(command);
	if (command && r != -1 && afu_preload_active())
		afu_library_reaped();
	return r;
}

AFU_INTERPOSE(FILE *, popen, const char *command, const char *mode)
{
	FILE *stream;

	stream = AFU_REAL(popen)(command, mode);
	if (stream)
		afu_preload_fresh(AFU_REAL(fileno)(stream));
	return stream;
}

AFU_INTERPOSE(int, pclose, FILE *stream)
{
	int r = AFU_REAL(pclose)(stream);

	if (r != -1 && afu_preload_active())
		afu_library_reaped();
	return r;
}
