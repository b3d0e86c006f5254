/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SO_PEERGROUPS, SO_PEERPIDFD and SO_PEERSEC: what was recorded of the peer besides its ids. */
#include "conform.h"

#include <grp.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum { MANY = 100 };

static void expect_groups(int fd, int first, int n)
{
	gid_t got[MANY + 1];
	socklen_t len = sizeof got;

	memset(got, 0x5a, sizeof got);
	OK(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, got, &len));
	EQ(len, (size_t)n * sizeof got[0]);
	for (int i = 0; i < n; i++)
		EQ(got[i], (gid_t)(first + i));
	EQ(got[n], 0x5a5a5a5a);
}

static void set_groups(int first, int n)
{
	gid_t groups[MANY];

	for (int i = 0; i < n; i++)
		groups[i] = (gid_t)(first + i);
	EQ(setgroups((size_t)n, groups), 0);
}

CASE(peergroups_of_the_moment, 0)
{
	struct name a = abstract_name("a");
	int sv[2], l;

	if (geteuid() != 0)
		SKIP("needs root to set groups");
	set_groups(10, 2);
	l = listen_at(SOCK_STREAM, &a, 5);
	expect_groups(l, 10, 2);
	set_groups(20, 3);
	int c = connect_to(SOCK_STREAM, &a);
	set_groups(30, 0);
	int s = OK(accept(l, NULL, NULL));
	expect_groups(c, 10, 2);
	expect_groups(s, 20, 3);
	unix_pair(SOCK_STREAM, sv);
	expect_groups(sv[0], 0, 0);
	OK(listen(l, 5));
	expect_groups(l, 0, 0);
	expect_groups(c, 10, 2);
	OK(close(c));
	OK(close(s));
	OK(close(l));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(peergroups_many, 0)
{
	gid_t got[MANY];
	socklen_t len = sizeof got - 1;
	int sv[2];

	if (geteuid() != 0)
		SKIP("needs root to set groups");
	set_groups(1000, MANY);
	unix_pair(SOCK_STREAM, sv);
	expect_groups(sv[0], 1000, MANY);
	expect_groups(sv[1], 1000, MANY);
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, got, &len), ERANGE);
	EQ(len, sizeof got);
	/* The length is looked at before the buffer. */
	len = 0;
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, bad_pointer(), &len), ERANGE);
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, bad_pointer(), &len), EFAULT);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(peergroups_and_pidfd_of_nobody, 0)
{
	struct name a = abstract_name("a");
	int value = 0, fd = unix_socket(SOCK_STREAM);
	socklen_t len = sizeof value;

	FAILS(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &value, &len), ENODATA);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &value, &len), ENODATA);
	OK(bind(fd, NAME(&a)));
	FAILS(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &value, &len), ENODATA);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, bad_pointer(), &len), ENODATA);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &value, sizeof value), ENOPROTOOPT);
	OK(close(fd));
}

/* The process that a pidfd means: its number, -1 if it is gone. */
static int pid_behind(int pidfd)
{
	char path[40], line[128];
	int pid = -2;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
	f = fopen(path, "re");
	TRUE(f != NULL);
	while (fgets(line, sizeof line, f))
		sscanf(line, "Pid: %d", &pid);
	fclose(f);
	return pid;
}

static int pidfd_of(int fd)
{
	int pidfd = -1;
	socklen_t len = sizeof pidfd;

	OK(getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len));
	EQ(len, sizeof pidfd);
	TRUE(pidfd >= 0);
	return pidfd;
}

CASE(peerpidfd_of_oneself, 0)
{
	unsigned char part[8];
	socklen_t len = 64;
	int sv[2], whole[16];

	unix_pair(SOCK_STREAM, sv);
	int a = pidfd_of(sv[0]), b = pidfd_of(sv[1]);
	TRUE(a != b);
	EQ(pid_behind(a), getpid());
	EQ(pid_behind(b), getpid());
	EQ(fcntl(a, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(a, F_GETFL), O_RDWR);
	EQ(close(a), 0);
	EQ(close(b), 0);
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERPIDFD, whole, &len));
	EQ(len, sizeof(int));
	EQ(pid_behind(whole[0]), getpid());
	EQ(close(whole[0]), 0);
	/* A part of the number is of no use, but the descriptor is there: the lowest that was free. */
	len = 1;
	memset(part, 0x5a, sizeof part);
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERPIDFD, part, &len));
	EQ(len, 1);
	EQ(part[1], 0x5a);
	EQ(pid_behind(part[0]), getpid());
	EQ(close(part[0]), 0);
	len = 4;
	/* Whom it could not be told to does not have it. */
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERPIDFD, bad_pointer(), &len), EFAULT);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

static void connect_and_wait(void *arg)
{
	int fd = connect_to(SOCK_STREAM, arg);

	EQ(read(fd, (char[1]){0}, 1), 0);
}

CASE(peerpidfd_outlives_its_process, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	pid_t pid = spawn(connect_and_wait, &a);
	int s = OK(accept(l, NULL, NULL)), early = pidfd_of(s);

	EQ(pid_behind(early), pid);
	OK(shutdown(s, SHUT_WR));
	EXITS(pid, 0);
	EQ(pid_behind(early), -1);
	int late = pidfd_of(s);
	EQ(pid_behind(late), -1);
	struct pollfd p = {.fd = late, .events = POLLIN};
	EQ(poll(&p, 1, 1000), 1);
	EQ(close(early), 0);
	EQ(close(late), 0);
	OK(close(s));
	OK(close(l));
}

CASE(peersec_without_labels, 0)
{
	char label[64];
	socklen_t len = sizeof label;
	int sv[2];

	if (access("/sys/fs/selinux/enforce", F_OK) == 0 ||
	    access("/sys/kernel/security/apparmor", F_OK) == 0)
		SKIP("there may be labels");
	unix_pair(SOCK_STREAM, sv);
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERSEC, label, &len), ENOPROTOOPT);
	OK(close(sv[0]));
	OK(close(sv[1]));
}
