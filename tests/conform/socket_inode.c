/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* A socket as a file: mode and owner, the file it is bound to, whom it signals, and requests it does not
 * know. */
#include "conform.h"

#include <grp.h>
#include <linux/sockios.h>
#include <termios.h>

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

static struct stat stat_of(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st;
}

static void needs_file_calls(void)
{
	if (strcmp(conform_suite(), "library") == 0)
		SKIP("the library has no fchmod and no fchown");
}

CASE(inode_belongs_to_its_maker, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 3), sv[2];

	unix_pair(SOCK_STREAM, sv);
	EQ(stat_of(sv[0]).st_uid, geteuid());
	EQ(stat_of(sv[0]).st_gid, getegid());
	if (geteuid() != 0)
		SKIP("needs root to become somebody else");
	EQ(setegid(65533), 0);
	EQ(seteuid(65534), 0);
	int c = connect_to(SOCK_STREAM, &a);
	EQ(seteuid(0), 0);
	EQ(setegid(0), 0);
	int s = OK(accept(l, NULL, NULL));
	EQ(stat_of(c).st_uid, 65534);
	EQ(stat_of(c).st_gid, 65533);
	EQ(stat_of(s).st_uid, 0);
	EQ(stat_of(sv[1]).st_gid, 0);
	OK(close(c));
	OK(close(s));
	OK(close(l));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(inode_mode_and_owner_are_kept, 0)
{
	int sv[2];

	needs_file_calls();
	unix_pair(SOCK_STREAM, sv);
	EQ(stat_of(sv[0]).st_mode, S_IFSOCK | 0777);
	EQ(fchmod(sv[0], 0640), 0);
	EQ(stat_of(sv[0]).st_mode, S_IFSOCK | 0640);
	EQ(stat_of(sv[1]).st_mode, S_IFSOCK | 0777);
	EQ(fchmod(sv[0], 04711), 0);
	EQ(stat_of(sv[0]).st_mode, S_IFSOCK | 04711);
	EQ(fchown(sv[0], (uid_t)-1, (gid_t)-1), 0);
	if (geteuid() != 0)
		SKIP("needs root to give a socket away");
	EQ(fchown(sv[0], 5, 6), 0);
	EQ(stat_of(sv[0]).st_uid, 5);
	EQ(stat_of(sv[0]).st_gid, 6);
	/* The bits that would make it act for another go. */
	EQ(stat_of(sv[0]).st_mode, S_IFSOCK | 0711);
	EQ(fchown(sv[0], (uid_t)-1, 9), 0);
	EQ(stat_of(sv[0]).st_uid, 5);
	EQ(stat_of(sv[0]).st_gid, 9);
	EQ(seteuid(65534), 0);
	FAILS(fchmod(sv[0], 0777), EPERM);
	FAILS(fchown(sv[0], 65534, (gid_t)-1), EPERM);
	FAILS(fchown(sv[1], 65534, (gid_t)-1), EPERM);
	EQ(seteuid(0), 0);
	EQ(seteuid(5), 0);
	EQ(fchmod(sv[0], 0600), 0);
	FAILS(fchown(sv[0], 6, (gid_t)-1), EPERM);
	EQ(seteuid(0), 0);
	EQ(stat_of(sv[0]).st_mode, S_IFSOCK | 0600);
	put(sv[0], "x");
	GETS(sv[1], "x");
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(inode_mode_becomes_the_file_s, 0)
{
	struct name p = path_name("s");
	mode_t mask = umask(027);
	struct stat st;
	int fd = unix_socket(SOCK_STREAM);

	needs_file_calls();
	EQ(fchmod(fd, 0666), 0);
	OK(bind(fd, NAME(&p)));
	umask(mask);
	EQ(stat("s", &st), 0);
	EQ(st.st_mode, S_IFSOCK | 0640);
	/* Afterwards they are two. */
	EQ(fchmod(fd, 0700), 0);
	EQ(stat("s", &st), 0);
	EQ(st.st_mode, S_IFSOCK | 0640);
	OK(close(fd));
	EQ(unlink("s"), 0);
}

/* The groups are those of the moment, and there may be many. */
CASE(inode_opens_to_a_group, 0)
{
	struct name p = path_name("s");
	gid_t groups[100];
	int c = unix_socket(SOCK_STREAM);

	if (geteuid() != 0)
		SKIP("needs root to set groups");
	int l = listen_at(SOCK_STREAM, &p, 5);
	EQ(chmod(".", 0711), 0);
	EQ(chmod("s", 0060), 0);
	EQ(chown("s", (uid_t)-1, 5000), 0);
	for (int i = 0; i < 100; i++)
		groups[i] = (gid_t)(4901 + i);
	EQ(setgroups(99, groups), 0);
	EQ(seteuid(65534), 0);
	FAILS(connect(c, NAME(&p)), EACCES);
	EQ(seteuid(0), 0);
	EQ(setgroups(100, groups), 0);
	EQ(seteuid(65534), 0);
	OK(connect(c, NAME(&p)));
	/* Who belongs to the group is not one of the others. */
	EQ(seteuid(0), 0);
	EQ(chmod("s", 0006), 0);
	EQ(seteuid(65534), 0);
	int d = unix_socket(SOCK_STREAM);
	FAILS(connect(d, NAME(&p)), EACCES);
	EQ(seteuid(0), 0);
	EQ(setgroups(0, NULL), 0);
	EQ(seteuid(65534), 0);
	OK(connect(d, NAME(&p)));
	EQ(seteuid(0), 0);
	EQ(unlink("s"), 0);
	OK(close(c));
	OK(close(d));
	OK(close(l));
}

static void expect_same_file(int file, const struct stat *want)
{
	struct stat st;

	EQ(fstat(file, &st), 0);
	EQ(st.st_ino, want->st_ino);
	EQ(st.st_dev, want->st_dev);
	EQ(fcntl(file, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(file, F_GETFL) & O_PATH, O_PATH);
	EQ(close(file), 0);
}

CASE(unixfile_is_the_bound_file, 0)
{
	struct name p = path_name("s"), a = abstract_name("a");
	struct stat st;

	if (geteuid() != 0)
		SKIP("needs CAP_NET_ADMIN");
	int l = unix_socket(SOCK_STREAM), other = unix_socket(SOCK_STREAM);
	FAILS(ioctl(l, SIOCUNIXFILE, 0), ENOENT);
	OK(bind(other, NAME(&a)));
	FAILS(ioctl(other, SIOCUNIXFILE, 0), ENOENT);
	OK(bind(l, NAME(&p)));
	EQ(stat("s", &st), 0);
	expect_same_file(OK(ioctl(l, SIOCUNIXFILE, 0)), &st);
	OK(listen(l, 5));
	int c = connect_to(SOCK_STREAM, &p), s = OK(accept(l, NULL, NULL));
	FAILS(ioctl(c, SIOCUNIXFILE, 0), ENOENT);
	expect_same_file(OK(ioctl(s, SIOCUNIXFILE, 0)), &st);
	EQ(unlink("s"), 0);
	expect_same_file(OK(ioctl(l, SIOCUNIXFILE, 0)), &st);
	OK(close(l));
	expect_same_file(OK(ioctl(s, SIOCUNIXFILE, 0)), &st);
	EQ(seteuid(65534), 0);
	FAILS(ioctl(s, SIOCUNIXFILE, 0), EPERM);
	FAILS(ioctl(other, SIOCUNIXFILE, 0), EPERM);
	EQ(seteuid(0), 0);
	OK(close(c));
	OK(close(s));
	OK(close(other));
}

CASE(requests_that_sockets_do_not_know, 0)
{
	static const unsigned long requests[] = {TCGETS,       TIOCGWINSZ, TIOCGPGRP, SIOCGSTAMP,
						 SIOCGSTAMPNS, 0,	   0x12345678};
	char buf[256];
	int fd = unix_socket(SOCK_STREAM);

	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
		FAILS(ioctl(fd, requests[i], buf), ENOTTY);
	FAILS(ioctl(fd, FIONREAD, bad_pointer()), EFAULT);
	FAILS(ioctl(fd, SIOCOUTQ, bad_pointer()), EFAULT);
	FAILS(ioctl(fd, SIOCATMARK, bad_pointer()), EFAULT);
	FAILS(ioctl(fd, FIONBIO, bad_pointer()), EFAULT);
	OK(close(fd));
}

CASE(requests_about_a_mark_are_for_streams, 0)
{
	static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
	int mark = 7, fd = unix_socket(SOCK_STREAM);

	OK(ioctl(fd, SIOCATMARK, &mark));
	EQ(mark, 0);
	EQ(sockatmark(fd), 0);
	OK(close(fd));
	for (int i = 0; i < 2; i++) {
		fd = unix_socket(types[i]);
		FAILS(ioctl(fd, SIOCATMARK, &mark), EOPNOTSUPP);
		FAILS(ioctl(fd, SIOCATMARK, bad_pointer()), EOPNOTSUPP);
		OK(close(fd));
	}
}

CASE(owner_of_signals, 0)
{
	struct f_owner_ex ex = {F_OWNER_TID, 0};
	int fd = unix_socket(SOCK_STREAM), owner = 1;

	EQ(fcntl(fd, F_GETOWN), 0);
	OK(fcntl(fd, F_SETOWN, getpid()));
	EQ(fcntl(fd, F_GETOWN), getpid());
	OK(fcntl(fd, F_SETOWN, -getpgrp()));
	EQ(fcntl(fd, F_GETOWN), -getpgrp());
	OK(ioctl(fd, SIOCGPGRP, &owner));
	EQ(owner, -getpgrp());
	owner = getpid();
	OK(ioctl(fd, FIOSETOWN, &owner));
	EQ(fcntl(fd, F_GETOWN), getpid());
	/* The largest that there can be, and more. */
	FAILS(fcntl(fd, F_SETOWN, 0x3fffffff), ESRCH);
	FAILS(fcntl(fd, F_SETOWN, -0x3fffffff), ESRCH);
	FAILS(fcntl(fd, F_SETOWN, INT_MIN), EINVAL);
	EQ(fcntl(fd, F_GETOWN), getpid());
	ex.pid = gettid();
	OK(fcntl(fd, F_SETOWN_EX, &ex));
	ex = (struct f_owner_ex){F_OWNER_PGRP, -1};
	OK(fcntl(fd, F_GETOWN_EX, &ex));
	EQ(ex.type, F_OWNER_TID);
	EQ(ex.pid, gettid());
	ex.type = (enum __pid_type)7;
	FAILS(fcntl(fd, F_SETOWN_EX, &ex), EINVAL);
	EQ(fcntl(fd, F_GETSIG), 0);
	OK(fcntl(fd, F_SETSIG, SIGRTMIN));
	EQ(fcntl(fd, F_GETSIG), SIGRTMIN);
	FAILS(fcntl(fd, F_SETSIG, 100), EINVAL);
	OK(fcntl(fd, F_SETOWN, 0));
	EQ(fcntl(fd, F_GETOWN), 0);
	OK(close(fd));
}

CASE(owner_is_the_socket_s, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	int copy = OK(dup(sv[0]));
	OK(fcntl(copy, F_SETOWN, getpid()));
	EQ(fcntl(sv[0], F_GETOWN), getpid());
	EQ(fcntl(sv[1], F_GETOWN), 0);
	OK(close(copy));
	OK(close(sv[0]));
	OK(close(sv[1]));
}
