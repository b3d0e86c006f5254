/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* socket() and socketpair(): the order of their checks, flags, and running out of descriptors. */
#include "conform.h"

CASE(socket_arguments, 0)
{
	static const struct {
		int family, type, protocol, error;
	} table[] = {
		{AF_UNIX, -1, 0, EINVAL},
		{AF_UNIX, SOCK_STREAM | 0x100, 0, EINVAL},
		{AF_UNIX, SOCK_STREAM | 0x10, 99, EINVAL},
		{-1, SOCK_STREAM | 0x100, 0, EINVAL},
		{-1, SOCK_STREAM, 0, EAFNOSUPPORT},
		{46, SOCK_STREAM, 0, EAFNOSUPPORT},
		{1000, SOCK_STREAM, 0, EAFNOSUPPORT},
		{-1, 11, 0, EAFNOSUPPORT},
		{AF_UNSPEC, SOCK_STREAM, 0, EAFNOSUPPORT},
		{AF_UNIX, 11, 0, EINVAL},
		{AF_UNIX, 15, 99, EINVAL},
		{AF_UNIX, SOCK_STREAM, 2, EPROTONOSUPPORT},
		{AF_UNIX, SOCK_STREAM, -1, EPROTONOSUPPORT},
		{AF_UNIX, SOCK_STREAM, 6, EPROTONOSUPPORT},
		{AF_UNIX, 0, 2, EPROTONOSUPPORT},
		{AF_UNIX, 0, 0, ESOCKTNOSUPPORT},
		{AF_UNIX, 4, 0, ESOCKTNOSUPPORT},
		{AF_UNIX, 6, 1, ESOCKTNOSUPPORT},
		{AF_UNIX, 10, 0, ESOCKTNOSUPPORT},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		int sv[2] = {-5, -6};

		FAILS(socket(table[i].family, table[i].type, table[i].protocol), table[i].error);
		FAILS(socketpair(table[i].family, table[i].type, table[i].protocol, sv), table[i].error);
	}
	FAILS(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}), EOPNOTSUPP);
	FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, bad_pointer()), EFAULT);
	FAILS(socketpair(AF_UNIX, SOCK_STREAM, 9, bad_pointer()), EFAULT);
	FAILS(socketpair(AF_UNIX, SOCK_STREAM | 0x100, 0, bad_pointer()), EINVAL);
}

CASE(socket_protocol_one, 0)
{
	int sv[2], fd = OK(socket(AF_UNIX, SOCK_STREAM, 1));

	OK(socketpair(AF_UNIX, SOCK_STREAM, 1, sv));
	put(sv[0], "x");
	GETS(sv[1], "x");
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(socket_flags, 0)
{
	static const int flags[] = {0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK};

	for (int i = 0; i < 4; i++) {
		int sv[3];

		unix_pair(SOCK_STREAM | flags[i], sv);
		sv[2] = unix_socket(SOCK_STREAM | flags[i]);
		for (int j = 0; j < 3; j++) {
			EQ(fcntl(sv[j], F_GETFD), flags[i] & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
			EQ(fcntl(sv[j], F_GETFL), O_RDWR | (flags[i] & SOCK_NONBLOCK ? O_NONBLOCK : 0));
		}
		if (flags[i] & SOCK_NONBLOCK)
			FAILS(read(sv[0], (char[1]){0}, 1), EAGAIN);
		for (int j = 0; j < 3; j++)
			OK(close(sv[j]));
	}
}

CASE(socket_takes_the_lowest_number, 0)
{
	int p[2], sv[2];

	EQ(pipe(p), 0);
	int a = unix_socket(SOCK_STREAM), b = unix_socket(SOCK_STREAM);
	EQ(a, p[1] + 1);
	EQ(b, a + 1);
	close(p[1]);
	OK(close(a));
	unix_pair(SOCK_STREAM, sv);
	EQ(sv[0], p[1]);
	EQ(sv[1], a);
	close(p[0]);
	OK(close(b));
	/* The kernel's calls find our gaps, and we find theirs. */
	int q[2];
	EQ(pipe(q), 0);
	EQ(q[0], p[0]);
	EQ(q[1], b);
	OK(close(sv[0]));
	int n = open("/dev/null", O_RDONLY);
	EQ(n, sv[0]);
	close(n);
	close(q[0]);
	close(q[1]);
	OK(close(sv[1]));
}

CASE(socket_without_descriptors, 0)
{
	struct rlimit old, low;
	int p[2], sv[2] = {-5, -6}, fd = unix_socket(SOCK_STREAM);

	EQ(pipe(p), 0);
	EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)p[1] + 1;
	EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	FAILS(socket(AF_UNIX, SOCK_STREAM, 0), EMFILE);
	/* What is wrong with the arguments comes first, for socket(). */
	FAILS(socket(AF_UNIX, SOCK_STREAM, 9), EPROTONOSUPPORT);
	FAILS(socket(AF_UNIX, 0, 0), ESOCKTNOSUPPORT);
	/* A pair reserves its numbers before it looks. */
	FAILS(socketpair(AF_UNIX, SOCK_STREAM, 9, sv), EMFILE);
	FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), EMFILE);
	FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, bad_pointer()), EMFILE);
	FAILS(socketpair(AF_UNIX, SOCK_STREAM | 0x100, 0, sv), EINVAL);
	FAILS(dup(fd), EMFILE);
	FAILS(fcntl(fd, F_DUPFD, 0), EMFILE);
	/* One free number is not enough for two. */
	close(p[1]);
	FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), EMFILE);
	int one = unix_socket(SOCK_STREAM);
	EQ(one, p[1]);
	EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	OK(close(one));
	OK(close(fd));
	close(p[0]);
	unix_pair(SOCK_STREAM, sv);
	put(sv[0], "x");
	GETS(sv[1], "x");
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(socket_of_other_families_is_the_kernels, 0)
{
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_un un;
	socklen_t len = sizeof un;

	EQ(get_int_option(fd, SO_DOMAIN), AF_INET);
	OK(getsockname(fd, ANY(&un), &len));
	EQ(un.sun_family, AF_INET);
	OK(close(fd));
}

CASE(socket_fstat, 0)
{
	struct stat a, b, again;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	OK(fstat(sv[0], &a));
	OK(fstat(sv[1], &b));
	TRUE(S_ISSOCK(a.st_mode));
	EQ(a.st_mode & 0777, 0777);
	EQ(a.st_size, 0);
	EQ(a.st_nlink, 1);
	EQ(a.st_blksize, 4096);
	EQ(a.st_uid, geteuid());
	TRUE(a.st_ino != b.st_ino || a.st_dev != b.st_dev);
	/* The same socket under another number. */
	int copy = OK(dup(sv[0]));
	put(sv[1], "data has no size");
	OK(fstat(copy, &again));
	EQ(again.st_ino, a.st_ino);
	EQ(again.st_dev, a.st_dev);
	EQ(again.st_size, 0);
	FAILS(fstat(sv[0], bad_pointer()), EFAULT);
	OK(close(copy));
	OK(close(sv[0]));
	FAILS(fstat(sv[0], &a), EBADF);
	OK(close(sv[1]));
}

CASE(socket_is_no_terminal, 0)
{
	char buf[64];
	int fd = unix_socket(SOCK_STREAM);

	FAILS(ioctl(fd, 0x5401 /* TCGETS */, buf), ENOTTY);
	FAILS(ioctl(fd, 0x5413 /* TIOCGWINSZ */, buf), ENOTTY);
	FAILS(ioctl(fd, 0x8906 /* SIOCGSTAMP */, buf), ENOTTY);
	FAILS(ioctl(fd, 0xdead, buf), ENOTTY);
	FAILS(ioctl(-1, FIONREAD, buf), EBADF);
	OK(close(fd));
}
