/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A process' list of its own descriptors, /proc/self/fd and its equivalents.
 *
 * Programs read it to count what they leak and to close what they do not know.  What is
 * in it of the library looks closed to every other call, so it is left out.  An entry's
 * name tells nearly always that it is of no interest; which directory it stands in is
 * asked of the kernel only for numbers that the library has.
 */
#include "preload/interpose.h"

#include "base/sys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As getdents64(2) and getdents(2) give it; the first has a type before the name. */
struct entry {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	char rest[];
};

/* The number of the library's that the name is; -1 if it is none. */
static int own_number(const char *name)
{
	long n = 0;

	if (*name < '0' || *name > '9')
		return -1;
	for (; *name >= '0' && *name <= '9'; name++)
		if ((n = 10 * n + (*name - '0')) > 0x7fffffff)
			return -1;
	return !*name && afu_preload_hidden((int)n) ? (int)n : -1;
}

/*
 * Whether the directory is the list of this process, or of this thread; errno stays.  An
 * open directory keeps its inode in /proc, so whoever comes by another path finds the same.
 */
static int lists_us(int directory)
{
	static const char *const paths[] = {"/proc/self/fd", "/proc/self/fdinfo", "/proc/thread-self/fd",
					    "/proc/thread-self/fdinfo"};
	struct stat there, here;

	if (afu_sys(SYS_fstat, directory, &there) < 0)
		return 0;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		if (afu_sys(SYS_newfstatat, AT_FDCWD, paths[i], &here, 0) == 0 &&
		    here.st_dev == there.st_dev && here.st_ino == there.st_ino)
			return 1;
	return 0;
}

static int left_out(int directory, const char *name)
{
	return own_number(name) >= 0 && lists_us(directory);
}

AFU_INTERPOSE(struct dirent *, readdir, DIR *dir)
{
	struct dirent *e;

	do
		e = AFU_REAL(readdir)(dir);
	while (e && left_out(dirfd(dir), e->d_name));
	return e;
}
AFU_INTERPOSE_ALIAS(readdir64, readdir);

AFU_INTERPOSE(int, readdir_r, DIR *dir, struct dirent *entry, struct dirent **result)
{
	int r;

	do
		r = AFU_REAL(readdir_r)(dir, entry, result);
	while (r == 0 && *result && left_out(dirfd(dir), entry->d_name));
	return r;
}
AFU_INTERPOSE_ALIAS(readdir64_r, readdir_r);

/* Takes ours out of what scandir() found.  Its directory is closed again, so it is opened once more. */
static int sift(int n, struct dirent **list, int dir, const char *path)
{
	int directory = -1, kept = 0;

	for (int i = 0; i < n; i++) {
		int ours = own_number(list[i]->d_name) >= 0;

		if (ours && directory == -1)
			directory = (int)afu_sys(SYS_openat, dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (ours && directory >= 0 && lists_us(directory))
			free(list[i]);
		else
			list[kept++] = list[i];
	}
	if (directory >= 0)
		afu_sys_close(directory);
	return n < 0 ? n : kept;
}

typedef int afu_preload_filter(const struct dirent *);
typedef int afu_preload_order(const struct dirent **, const struct dirent **);

AFU_INTERPOSE(int, scandirat, int dir, const char *path, struct dirent ***list, afu_preload_filter *filter,
	      afu_preload_order *order)
{
	int n = AFU_REAL(scandirat)(dir, path, list, filter, order);

	return n > 0 ? sift(n, *list, dir, path) : n;
}
AFU_INTERPOSE_ALIAS(scandirat64, scandirat);

AFU_INTERPOSE(int, scandir, const char *path, struct dirent ***list, afu_preload_filter *filter,
	      afu_preload_order *order)
{
	return afu_preload_scandirat(AT_FDCWD, path, list, filter, order);
}
AFU_INTERPOSE_ALIAS(scandir64, scandir);

/* Closes the gaps in a buffer of entries whose names stand at an offset; what is left of its bytes. */
static long compact(int directory, char *buf, long n, size_t name)
{
	long kept = 0, length;

	for (long at = 0; at < n; at += length) {
		length = ((const struct entry *)(buf + at))->length;
		if (left_out(directory, buf + at + name))
			continue;
		memmove(buf + kept, buf + at, (size_t)length);
		kept += length;
	}
	return kept;
}

long afu_preload_getdents(long number, int fd, void *buf, size_t size)
{
	size_t name = offsetof(struct entry, rest) + (number == SYS_getdents64);
	long n, kept;

	/* Nothing would mean the end, so a buffer that was all ours is filled anew. */
	do {
		n = AFU_REAL(syscall)(number, fd, buf, size);
		kept = n > 0 ? compact(fd, buf, n, name) : n;
	} while (n > 0 && kept == 0);
	return kept;
}

AFU_INTERPOSE(ssize_t, getdents64, int fd, void *buf, size_t size)
{
	return afu_preload_getdents(SYS_getdents64, fd, buf, size);
}
