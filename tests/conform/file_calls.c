/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* What a socket answers to the calls of other kinds of files. */
#include "ancillary.h"

#include <sys/file.h>
#include <sys/mman.h>

static void need_interposed_calls(void)
{
	if (!strcmp(conform_suite(), "library"))
		SKIP("only the preload stands in for these calls");
}

CASE_ON_TYPES(file_has_no_position, 0)
{
	char c = 'x';
	struct iovec iov = {&c, 1};

	(void)type;
	need_interposed_calls();
	put(sv[0], "a");
	FAILS(lseek(sv[1], 0, SEEK_SET), ESPIPE);
	FAILS(lseek(sv[1], 0, SEEK_CUR), ESPIPE);
	FAILS(pread(sv[1], &c, 1, 0), ESPIPE);
	FAILS(pread(sv[1], &c, 0, 0), ESPIPE);
	FAILS(pwrite(sv[0], &c, 1, 0), ESPIPE);
	FAILS(pwrite(sv[0], &c, 0, 0), ESPIPE);
	FAILS(preadv(sv[1], &iov, 1, 0), ESPIPE);
	FAILS(pwritev(sv[0], &iov, 1, 0), ESPIPE);
	FAILS(preadv2(sv[1], &iov, 1, 0, 0), ESPIPE);
	GETS(sv[1], "a");
	EMPTY(sv[1]);
}

CASE_ON_TYPES(file_vectors_without_position, 0)
{
	char c = 'x';
	struct iovec iov = {&c, 1};

	(void)type;
	need_interposed_calls();
	EQ(pwritev2(sv[0], &iov, 1, -1, 0), 1);
	c = 0;
	EQ(preadv2(sv[1], &iov, 1, -1, 0), 1);
	EQ(c, 'x');
	/* Does not wait, for once. */
	FAILS(preadv2(sv[1], &iov, 1, -1, RWF_NOWAIT), EAGAIN);
	EQ(fcntl(sv[1], F_GETFL), O_RDWR);
}

CASE_ON_TYPES(file_that_cannot_be_mapped_or_sized, 0)
{
	(void)type;
	need_interposed_calls();
	/* MAP_FAILED is -1. */
	FAILS((intptr_t)mmap(NULL, 4096, PROT_READ, MAP_SHARED, sv[0], 0), ENODEV);
	FAILS(fallocate(sv[0], 0, 0, 4096), ENODEV);
	FAILS(ftruncate(sv[0], 0), EINVAL);
	FAILS(fsync(sv[0]), EINVAL);
	FAILS(fdatasync(sv[0]), EINVAL);
	EQ(posix_fadvise(sv[0], 0, 0, POSIX_FADV_SEQUENTIAL), 0);
	FAILS(fchdir(sv[0]), ENOTDIR);
	FAILS(fcntl(sv[0], F_GETPIPE_SZ), EBADF);
}

CASE_ON_TYPES(file_locks, 0)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	(void)type;
	need_interposed_calls();
	OK(flock(sv[0], LOCK_EX | LOCK_NB));
	OK(flock(sv[0], LOCK_UN));
	OK(fcntl(sv[0], F_SETLK, &lock));
	lock.l_type = F_UNLCK;
	OK(fcntl(sv[0], F_SETLK, &lock));
}

CASE_ON_TYPES(file_status, 0)
{
	struct stat a, b, copy;

	(void)type;
	OK(fstat(sv[0], &a));
	OK(fstat(sv[1], &b));
	EQ(a.st_mode, S_IFSOCK | 0777);
	EQ(a.st_size, 0);
	EQ(a.st_nlink, 1);
	EQ(a.st_blksize, 4096);
	EQ(a.st_uid, geteuid());
	EQ(a.st_gid, getegid());
	TRUE(a.st_ino != b.st_ino);
	EQ(a.st_dev, b.st_dev);
	int fd = OK(dup(sv[0]));
	OK(fstat(fd, &copy));
	EQ(copy.st_ino, a.st_ino);
	OK(close(fd));
}

CASE_ON_TYPES(file_mode_and_owner, 0)
{
	struct stat st;

	(void)type;
	need_interposed_calls();
	OK(fchmod(sv[0], 0600));
	OK(fstat(sv[0], &st));
	EQ(st.st_mode, S_IFSOCK | 0600);
	OK(fstat(sv[1], &st));
	EQ(st.st_mode, S_IFSOCK | 0777);
	if (geteuid() != 0)
		SKIP("needs root to give it away");
	OK(fchown(sv[0], 12, 34));
	OK(fstat(sv[0], &st));
	EQ(st.st_uid, 12);
	EQ(st.st_gid, 34);
}

CASE_ON_TYPES(file_link_in_proc, 0)
{
	char path[64], target[64], want[64];
	struct stat st;

	(void)type;
	need_interposed_calls();
	OK(fstat(sv[0], &st));
	snprintf(path, sizeof path, "/proc/self/fd/%d", sv[0]);
	snprintf(want, sizeof want, "socket:[%llu]", (unsigned long long)st.st_ino);
	ssize_t n = OK(readlink(path, target, sizeof target - 1));
	target[n] = '\0';
	EQ(strcmp(target, want), 0);
	FAILS(open(path, O_RDWR), ENXIO);
}
