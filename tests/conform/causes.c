/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Refusals that no other file comes upon: filesystems that refuse a path, positions, the marker flag. */
#include "conform.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/sendfile.h>

/* A filesystem of the case's own under "m", gone with the case. */
static void mount_here(const char *options, unsigned long flags)
{
	OK(mkdir("m", 0777));
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "m", "tmpfs", flags, options) < 0)
		SKIP("mounting needs CAP_SYS_ADMIN");
	EXPECT_LEFT("m");
}

CASE(path_without_space, 0)
{
	struct name n = path_name("m/s");
	int fd = unix_socket(SOCK_STREAM);

	/* the one inode is the root's */
	mount_here("nr_inodes=1", 0);
	FAILS(bind(fd, NAME(&n)), ENOSPC);
	OK(close(fd));
}

CASE(path_read_only, 0)
{
	struct name there = path_name("m/there"), new = path_name("m/new");
	int fd = unix_socket(SOCK_STREAM), file;

	mount_here("", 0);
	file = OK(open("m/there", O_CREAT | O_WRONLY, 0666));
	OK(close(file));
	OK(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	FAILS(bind(fd, NAME(&new)), EROFS);
	FAILS(bind(fd, NAME(&there)), EADDRINUSE);
	FAILS(connect(fd, NAME(&there)), EROFS);
	OK(close(fd));
}

CASE(path_where_no_socket_file_can_be, 0)
{
	struct name sysfs = path_name("/sys/afunix-conform"), procfs = path_name("/proc/afunix-conform");
	int fd = unix_socket(SOCK_STREAM);

	if (geteuid() != 0 || access("/sys/kernel", F_OK) < 0)
		SKIP("sysfs refuses others than root for another reason");
	FAILS(bind(fd, NAME(&sysfs)), EPERM);
	FAILS(bind(fd, NAME(&procfs)), ENOENT);
	OK(close(fd));
}

CASE(no_position, 0)
{
	struct iovec iov = {(char[1]){0}, 1};
	int sv[2];

	if (!strcmp(conform_suite(), "library"))
		SKIP("the library has no calls with a position");
	unix_pair(SOCK_STREAM, sv);
	FAILS(lseek(sv[0], 0, SEEK_CUR), ESPIPE);
	FAILS(pread(sv[0], iov.iov_base, 1, 0), ESPIPE);
	FAILS(pread(sv[0], iov.iov_base, 0, 0), ESPIPE);
	FAILS(pread(sv[0], iov.iov_base, 1, -1), EINVAL);
	FAILS(pwrite(sv[0], "x", 1, 0), ESPIPE);
	FAILS(preadv(sv[0], &iov, 1, 0), ESPIPE);
	FAILS(pwritev(sv[0], &iov, 1, 0), ESPIPE);
	FAILS(preadv2(sv[0], &iov, 1, 0, 0), ESPIPE);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(compatibility_marker, 0)
{
	const int marker = INT_MIN; /* 0x80000000 */
	struct iovec iov = {(char[1]){0}, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct mmsghdr several[1] = {{.msg_hdr = message}};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	FAILS(sendmsg(sv[0], &message, marker), EINVAL);
	FAILS(recvmsg(sv[0], &message, marker), EINVAL);
	FAILS(sendmmsg(sv[0], several, 1, marker), EINVAL);
	EQ(send(sv[0], "x", 1, marker), 1);
	GETS(sv[1], "x");
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(no_filter_to_detach, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	FAILS(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int)), ENOENT);
	OK(close(fd));
}

CASE(moving_between_the_wrong_ends, 0)
{
	int sv[2], pipes[2], file = OK(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	loff_t position = 0;

	if (!strcmp(conform_suite(), "library"))
		SKIP("the library has neither splice() nor sendfile()");
	unix_pair(SOCK_STREAM, sv);
	OK(pipe(pipes));
	FAILS(splice(sv[0], NULL, sv[1], NULL, 1, 0), EINVAL);
	FAILS(splice(pipes[0], NULL, sv[0], NULL, 1, 0x1000), EINVAL);
	FAILS(splice(pipes[0], NULL, sv[0], &position, 1, 0), EINVAL);
	FAILS(splice(pipes[0], &position, sv[0], NULL, 1, 0), ESPIPE);
	FAILS(splice(pipes[1], NULL, sv[0], NULL, 1, 0), EBADF);
	FAILS(sendfile(sv[0], pipes[1], NULL, 1), EBADF);
	FAILS(sendfile(sv[0], sv[1], &position, 1), ESPIPE);
	position = -1;
	FAILS(sendfile(sv[0], file, &position, 1), EINVAL);
	OK(close(file));
	for (int i = 0; i < 2; i++) {
		OK(close(sv[i]));
		OK(close(pipes[i]));
	}
}
