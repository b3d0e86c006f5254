/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What a program sees of a socket when it treats it as a file: stat, chmod, seek, map,
 * truncate, and the symbolic links that /proc shows for descriptors.
 *
 * The descriptor underneath is the socket's token, a memfd whose size, mode and links
 * are the library's business; none of these calls may reach it.  The answers are the
 * kernel's for a socket.
 */
#include "preload/call.h"

#include "library/inode.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SOCKET_MAGIC 0x534F434B /* f_type of the kernel's sockets */

/* Skips a prefix; NULL if it is not there. */
static const char *after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* Reads a decimal number; NULL if there is none or it does not fit. */
static const char *number(const char *s, int *value)
{
	long v = 0;

	if (*s < '0' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++) {
		v = v * 10 + (*s - '0');
		if (v > 0x7fffffff)
			return NULL;
	}
	*value = (int)v;
	return s;
}

/* What follows "/proc/self/fd/" or an equivalent of it; NULL if the path is another. */
static const char *after_fd_directory(const char *path)
{
	const char *s = after(path, "/dev/fd/");
	int pid;

	if (s)
		return s;
	s = after(path, "/proc/");
	if (!s)
		return NULL;
	path = s;
	if ((s = after(path, "self/fd/")) || (s = after(path, "thread-self/fd/")))
		return s;
	s = number(path, &pid);
	if (!s || !(s = after(s, "/fd/")) || pid != getpid())
		return NULL;
	return s;
}

int afu_preload_path_socket(const char *path)
{
	const char *s;
	int fd = -1;

	/* NULL, and pointers into the kernel's half such as -1, are EFAULT: the real call says so. */
	if (!path || (intptr_t)path < 0 || !afu_preload_active() || path[0] != '/')
		return -1;
	if (path[1] != 'd' && path[1] != 'p')
		return -1;
	if (strcmp(path, "/dev/stdin") == 0)
		fd = 0;
	else if (strcmp(path, "/dev/stdout") == 0)
		fd = 1;
	else if (strcmp(path, "/dev/stderr") == 0)
		fd = 2;
	else if (!(s = after_fd_directory(path)) || !(s = number(s, &fd)) || *s)
		return -1;
	return afu_fd_ours(fd) ? fd : -1;
}

/* 1 if the arguments of an *at() call mean the descriptor itself. */
static int itself(int fd, const char *path, int flags)
{
	return (flags & AT_EMPTY_PATH) && afu_fd_ours(fd) && (!path || !*path);
}

AFU_INTERPOSE(int, fstat, int fd, struct stat *st)
{
	if (afu_fd_ours(fd))
		return afunix_fstat(fd, st);
	/* How programs look for leaked descriptors. */
	if (afu_preload_hidden(fd))
		return afu_preload_fail(EBADF);
	return AFU_REAL(fstat)(fd, st);
}
AFU_INTERPOSE_ALIAS(fstat64, fstat);

AFU_INTERPOSE(int, stat, const char *path, struct stat *st)
{
	int fd = afu_preload_path_socket(path);

	if (fd >= 0)
		return afunix_fstat(fd, st);
	return AFU_REAL(stat)(path, st);
}
AFU_INTERPOSE_ALIAS(stat64, stat);

AFU_INTERPOSE(int, fstatat, int dir, const char *path, struct stat *st, int flags)
{
	int fd;

	if (itself(dir, path, flags))
		return afunix_fstat(dir, st);
	if (!(flags & AT_SYMLINK_NOFOLLOW) && (fd = afu_preload_path_socket(path)) >= 0)
		return afunix_fstat(fd, st);
	return AFU_REAL(fstatat)(dir, path, st, flags);
}
AFU_INTERPOSE_ALIAS(fstatat64, fstatat);

/* What stat() and its relatives are in programs built against glibc before 2.33. */
AFU_INTERPOSE(int, __fxstat, int version, int fd, struct stat *st)
{
	(void)version;
	return afu_preload_fstat(fd, st);
}
AFU_INTERPOSE_ALIAS(__fxstat64, __fxstat);

AFU_INTERPOSE(int, __xstat, int version, const char *path, struct stat *st)
{
	(void)version;
	return afu_preload_stat(path, st);
}
AFU_INTERPOSE_ALIAS(__xstat64, __xstat);

AFU_INTERPOSE(int, __fxstatat, int version, int dir, const char *path, struct stat *st, int flags)
{
	(void)version;
	return afu_preload_fstatat(dir, path, st, flags);
}
AFU_INTERPOSE_ALIAS(__fxstatat64, __fxstatat);

static struct statx_timestamp timestamp(const struct timespec *ts)
{
	return (struct statx_timestamp){.tv_sec = ts->tv_sec, .tv_nsec = (uint32_t)ts->tv_nsec};
}

static int socket_statx(int fd, struct statx *sx)
{
	struct stat st;

	if (afunix_fstat(fd, &st) < 0)
		return -1;
	*sx = (struct statx){
		.stx_mask = STATX_BASIC_STATS,
		.stx_blksize = (uint32_t)st.st_blksize,
		.stx_nlink = (uint32_t)st.st_nlink,
		.stx_uid = st.st_uid,
		.stx_gid = st.st_gid,
		.stx_mode = (uint16_t)st.st_mode,
		.stx_ino = st.st_ino,
		.stx_size = (uint64_t)st.st_size,
		.stx_blocks = (uint64_t)st.st_blocks,
		.stx_atime = timestamp(&st.st_atim),
		.stx_mtime = timestamp(&st.st_mtim),
		.stx_ctime = timestamp(&st.st_ctim),
		.stx_dev_major = major(st.st_dev),
		.stx_dev_minor = minor(st.st_dev),
	};
	return 0;
}

AFU_INTERPOSE(int, statx, int dir, const char *path, int flags, unsigned int mask, struct statx *sx)
{
	int fd;

	if (itself(dir, path, flags))
		return socket_statx(dir, sx);
	if (!(flags & AT_SYMLINK_NOFOLLOW) && (fd = afu_preload_path_socket(path)) >= 0)
		return socket_statx(fd, sx);
	return AFU_REAL(statx)(dir, path, flags, mask, sx);
}

AFU_INTERPOSE(int, fstatfs, int fd, struct statfs *fs)
{
	if (!afu_fd_ours(fd))
		return AFU_REAL(fstatfs)(fd, fs);
	*fs = (struct statfs){.f_type = SOCKET_MAGIC, .f_bsize = 4096, .f_frsize = 4096, .f_namelen = 255};
	return 0;
}
AFU_INTERPOSE_ALIAS(fstatfs64, fstatfs);

AFU_INTERPOSE(int, fstatvfs, int fd, struct statvfs *fs)
{
	if (!afu_fd_ours(fd))
		return AFU_REAL(fstatvfs)(fd, fs);
	*fs = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};
	return 0;
}
AFU_INTERPOSE_ALIAS(fstatvfs64, fstatvfs);

/* The token's own mode and owner protect the socket's memory and stay as they are. */
AFU_INTERPOSE(int, fchmod, int fd, mode_t mode)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(fchmod, afu_inode_chmod, 0, fd, mode);
	return AFU_REAL(fchmod)(fd, mode);
}

AFU_INTERPOSE(int, fchown, int fd, uid_t uid, gid_t gid)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(fchown, afu_inode_chown, 0, fd, uid, gid);
	return AFU_REAL(fchown)(fd, uid, gid);
}

AFU_INTERPOSE(int, isatty, int fd)
{
	if (afu_fd_ours(fd)) {
		errno = ENOTTY;
		return 0;
	}
	return AFU_REAL(isatty)(fd);
}

static off_t refuse_position(int fd, off_t offset, int whence)
{
	(void)fd, (void)offset, (void)whence;
	return afu_preload_fail(-afu_refuse(AFU_CAUSE_POSITION));
}

AFU_INTERPOSE(off_t, lseek, int fd, off_t offset, int whence)
{
	if (afu_fd_ours(fd))
		return AFU_OBSERVED(lseek, refuse_position, 0, fd, offset, whence);
	return AFU_REAL(lseek)(fd, offset, whence);
}
AFU_INTERPOSE_ALIAS(lseek64, lseek);
AFU_INTERPOSE_ALIAS(__lseek, lseek);

AFU_INTERPOSE(void *, mmap, void *addr, size_t n, int prot, int flags, int fd, off_t offset)
{
	if (!(flags & MAP_ANONYMOUS) && afu_fd_ours(fd)) {
		errno = n ? ENODEV : EINVAL;
		return MAP_FAILED;
	}
	return AFU_REAL(mmap)(addr, n, prot, flags, fd, offset);
}
AFU_INTERPOSE_ALIAS(mmap64, mmap);

AFU_INTERPOSE(int, ftruncate, int fd, off_t size)
{
	if (afu_fd_ours(fd))
		return afu_preload_fail(EINVAL);
	return AFU_REAL(ftruncate)(fd, size);
}
AFU_INTERPOSE_ALIAS(ftruncate64, ftruncate);

AFU_INTERPOSE(int, fsync, int fd)
{
	if (afu_fd_ours(fd))
		return afu_preload_fail(EINVAL);
	return AFU_REAL(fsync)(fd);
}

AFU_INTERPOSE(int, fdatasync, int fd)
{
	if (afu_fd_ours(fd))
		return afu_preload_fail(EINVAL);
	return AFU_REAL(fdatasync)(fd);
}

AFU_INTERPOSE(int, fallocate, int fd, int mode, off_t offset, off_t n)
{
	if (afu_fd_ours(fd))
		return afu_preload_fail(offset < 0 || n <= 0 ? EINVAL : ENODEV);
	return AFU_REAL(fallocate)(fd, mode, offset, n);
}
AFU_INTERPOSE_ALIAS(fallocate64, fallocate);

/* These two return the error instead of setting errno. */
AFU_INTERPOSE(int, posix_fallocate, int fd, off_t offset, off_t n)
{
	if (afu_fd_ours(fd))
		return offset < 0 || n <= 0 ? EINVAL : ENODEV;
	return AFU_REAL(posix_fallocate)(fd, offset, n);
}
AFU_INTERPOSE_ALIAS(posix_fallocate64, posix_fallocate);

AFU_INTERPOSE(int, posix_fadvise, int fd, off_t offset, off_t n, int advice)
{
	if (afu_fd_ours(fd))
		return n < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE ? EINVAL : 0;
	return AFU_REAL(posix_fadvise)(fd, offset, n, advice);
}
AFU_INTERPOSE_ALIAS(posix_fadvise64, posix_fadvise);

/* "socket:[INO]", cut to n as readlink() does.  Async-signal-safe, as that is. */
static ssize_t link_text(int fd, char *buf, size_t n)
{
	char text[40] = "socket:[";
	char digits[24];
	size_t length = strlen(text), count = 0;
	struct stat st;
	uint64_t ino;

	if ((int)n <= 0) /* the kernel takes the size as an int */
		return afu_preload_fail(EINVAL);
	if (afunix_fstat(fd, &st) < 0)
		return -1;
	ino = st.st_ino;
	do
		digits[count++] = (char)('0' + ino % 10);
	while (ino /= 10);
	while (count)
		text[length++] = digits[--count];
	text[length++] = ']';
	if (length > n)
		length = n;
	memcpy(buf, text, length);
	return (ssize_t)length;
}

/* /dev/stdin and its siblings are links to /proc/self/fd, not descriptors' own links. */
static int linked_socket(const char *path)
{
	int fd = afu_preload_path_socket(path);

	return fd >= 0 && !after(path, "/dev/std") ? fd : -1;
}

AFU_INTERPOSE(ssize_t, readlink, const char *path, char *buf, size_t n)
{
	int fd = linked_socket(path);

	if (fd >= 0)
		return link_text(fd, buf, n);
	return AFU_REAL(readlink)(path, buf, n);
}

AFU_INTERPOSE(ssize_t, readlinkat, int dir, const char *path, char *buf, size_t n)
{
	int fd = linked_socket(path);

	if (fd >= 0)
		return link_text(fd, buf, n);
	return AFU_REAL(readlinkat)(dir, path, buf, n);
}

AFU_INTERPOSE(ssize_t, __readlink_chk, const char *path, char *buf, size_t n, size_t room)
{
	afu_preload_check(n, room);
	return afu_preload_readlink(path, buf, n);
}

AFU_INTERPOSE(ssize_t, __readlinkat_chk, int dir, const char *path, char *buf, size_t n, size_t room)
{
	afu_preload_check(n, room);
	return afu_preload_readlinkat(dir, path, buf, n);
}
