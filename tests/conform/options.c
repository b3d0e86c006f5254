/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* getsockopt() and setsockopt(): what is read back, what is refused, and how lengths are treated. */
#include "conform.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

CASE(option_what_a_socket_is, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_STREAM), odd = OK(socket(AF_UNIX, SOCK_STREAM, 1));

	EQ(get_int_option(fd, SO_TYPE), SOCK_STREAM);
	EQ(get_int_option(fd, SO_DOMAIN), AF_UNIX);
	EQ(get_int_option(fd, SO_PROTOCOL), 0);
	EQ(get_int_option(odd, SO_PROTOCOL), 0);
	EQ(get_int_option(fd, SO_ERROR), 0);
	EQ(get_int_option(fd, SO_ACCEPTCONN), 0);
	OK(bind(fd, NAME(&a)));
	EQ(get_int_option(fd, SO_ACCEPTCONN), 0);
	OK(listen(fd, 1));
	EQ(get_int_option(fd, SO_ACCEPTCONN), 1);
	int c = connect_to(SOCK_STREAM, &a), s = OK(accept(fd, NULL, NULL));
	EQ(get_int_option(c, SO_ACCEPTCONN), 0);
	EQ(get_int_option(s, SO_ACCEPTCONN), 0);
	EQ(get_int_option(s, SO_TYPE), SOCK_STREAM);
	EQ(get_int_option(s, SO_DOMAIN), AF_UNIX);
	OK(close(c));
	OK(close(s));
	OK(close(fd));
	OK(close(odd));
}

CASE(option_read_only, 0)
{
	static const int options[] = {SO_TYPE,	   SO_DOMAIN,	SO_PROTOCOL,   SO_ERROR,    SO_ACCEPTCONN,
				      SO_PEERCRED, SO_SNDLOWAT, SO_PEERGROUPS, SO_PEERNAME, SO_PEERSEC};
	int one = 1, fd = unix_socket(SOCK_STREAM);

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], &one, sizeof one), ENOPROTOOPT);
	OK(close(fd));
}

CASE(option_unknown, 0)
{
	static const int options[] = {0, 22, 54, 58, 200, 100000, -1};
	int value = 1, fd = unix_socket(SOCK_STREAM);
	socklen_t len = sizeof value, negative = (socklen_t)-1;

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], &value, sizeof value), ENOPROTOOPT);
		FAILS(getsockopt(fd, SOL_SOCKET, options[i], &value, &len), ENOPROTOOPT);
		/* Before the buffer, after the length. */
		FAILS(getsockopt(fd, SOL_SOCKET, options[i], bad_pointer(), &len), ENOPROTOOPT);
		FAILS(getsockopt(fd, SOL_SOCKET, options[i], &value, &negative), EINVAL);
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], &value, 3), EINVAL);
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], bad_pointer(), 4), EFAULT);
	}
	OK(close(fd));
}

CASE(option_wrong_level, 0)
{
	static const int levels[] = {0, 6, 17, 41, 255, 280, -1};
	int value = 1, fd = unix_socket(SOCK_STREAM);
	socklen_t len = sizeof value;

	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		FAILS(setsockopt(fd, levels[i], 1, &value, sizeof value), EOPNOTSUPP);
		FAILS(getsockopt(fd, levels[i], 1, &value, &len), EOPNOTSUPP);
		FAILS(setsockopt(fd, levels[i], 1, &value, (socklen_t)-1), EINVAL);
	}
	OK(close(fd));
}

CASE(option_bad_arguments, 0)
{
	int value = 1, p[2], fd = unix_socket(SOCK_STREAM);
	socklen_t len = sizeof value, negative = (socklen_t)-1;

	EQ(pipe(p), 0);
	FAILS(getsockopt(-1, SOL_SOCKET, SO_TYPE, &value, &len), EBADF);
	FAILS(setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &value, len), EBADF);
	FAILS(getsockopt(p[0], SOL_SOCKET, SO_TYPE, &value, &len), ENOTSOCK);
	FAILS(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, &value, len), ENOTSOCK);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, NULL), EFAULT);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &negative), EINVAL);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_TYPE, bad_pointer(), &len), EFAULT);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, (socklen_t)-1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 0), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 3), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, bad_pointer(), 4), EFAULT);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4), EFAULT);
	close(p[0]);
	close(p[1]);
	OK(close(fd));
}

CASE(option_lengths, 0)
{
	int fd = unix_socket(SOCK_STREAM);
	unsigned char buf[16];
	long wide = 1;

	for (socklen_t have = 0; have <= sizeof buf; have++) {
		socklen_t len = have;
		memset(buf, 0x5a, sizeof buf);
		OK(getsockopt(fd, SOL_SOCKET, SO_TYPE, buf, &len));
		EQ(len, have < 4 ? have : 4);
		if (have > 0)
			EQ(buf[0], SOCK_STREAM);
		if (have < sizeof buf)
			EQ(buf[len], 0x5a);
	}
	OK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &wide, sizeof wide));
	EQ(get_int_option(fd, SO_KEEPALIVE), 1);
	OK(close(fd));
}

CASE(option_booleans_are_stored, 0)
{
	static const int options[] = {SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST,	  SO_KEEPALIVE, SO_OOBINLINE,
				      SO_PASSCRED,  SO_TIMESTAMP, SO_TIMESTAMPNS, SO_NO_CHECK};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		EQ(get_int_option(sv[0], options[i]), 0);
		set_int_option(sv[0], options[i], -7);
		EQ(get_int_option(sv[0], options[i]), 1);
		EQ(get_int_option(sv[1], options[i]), 0);
		set_int_option(sv[0], options[i], 0);
		EQ(get_int_option(sv[0], options[i]), 0);
	}
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(option_belongs_to_the_socket, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	int copy = OK(dup(sv[0]));
	set_int_option(copy, SO_KEEPALIVE, 1);
	EQ(get_int_option(sv[0], SO_KEEPALIVE), 1);
	OK(close(copy));
	EQ(get_int_option(sv[0], SO_KEEPALIVE), 1);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(option_reuseport, 0)
{
	int one = 1, zero = 0, fd = unix_socket(SOCK_STREAM);

	EQ(get_int_option(fd, SO_REUSEPORT), 0);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), EOPNOTSUPP);
	OK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &zero, sizeof zero));
	OK(close(fd));
}

CASE(option_linger, 0)
{
	struct linger l = {1, 5};
	socklen_t len = sizeof l;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	FAILS(setsockopt(sv[0], SOL_SOCKET, SO_LINGER, &l, 4), EINVAL);
	OK(setsockopt(sv[0], SOL_SOCKET, SO_LINGER, &l, sizeof l));
	l = (struct linger){7, 7};
	OK(getsockopt(sv[0], SOL_SOCKET, SO_LINGER, &l, &len));
	EQ(len, sizeof l);
	EQ(l.l_onoff, 1);
	EQ(l.l_linger, 5);
	/* Close does not wait for the reader. */
	put(sv[0], "x");
	OK(close(sv[0]));
	GETS(sv[1], "x");
	AT_EOF(sv[1]);
	OK(close(sv[1]));
}

CASE(option_rcvlowat, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	EQ(get_int_option(fd, SO_RCVLOWAT), 1);
	EQ(get_int_option(fd, SO_SNDLOWAT), 1);
	set_int_option(fd, SO_RCVLOWAT, 0);
	EQ(get_int_option(fd, SO_RCVLOWAT), 1);
	set_int_option(fd, SO_RCVLOWAT, 500);
	EQ(get_int_option(fd, SO_RCVLOWAT), 500);
	set_int_option(fd, SO_RCVLOWAT, -3);
	EQ(get_int_option(fd, SO_RCVLOWAT), INT_MAX);
	OK(close(fd));
}

static long sysctl_value(const char *path)
{
	char text[32] = "";
	FILE *f = fopen(path, "re");

	TRUE(f != NULL);
	TRUE(fgets(text, sizeof text, f) != NULL);
	fclose(f);
	return atol(text);
}

CASE(option_buffer_sizes, 0)
{
	/* Tells what limit there is; the rules are about how it is applied. */
	long wmax = sysctl_value("/proc/sys/net/core/wmem_max"),
	     rmax = sysctl_value("/proc/sys/net/core/rmem_max");
	int fd = unix_socket(SOCK_STREAM);

	EQ(get_int_option(fd, SO_SNDBUF), sysctl_value("/proc/sys/net/core/wmem_default"));
	EQ(get_int_option(fd, SO_RCVBUF), sysctl_value("/proc/sys/net/core/rmem_default"));
	static const struct {
		int set, snd, rcv;
	} table[] = {
		{0, 4608, 2304},    {1, 4608, 2304},	{1152, 4608, 2304},   {1153, 4608, 2306},
		{2304, 4608, 4608}, {2305, 4610, 4610}, {8192, 16384, 16384}, {100000, 200000, 200000},
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		set_int_option(fd, SO_SNDBUF, table[i].set);
		EQ(get_int_option(fd, SO_SNDBUF), table[i].snd);
		set_int_option(fd, SO_RCVBUF, table[i].set);
		EQ(get_int_option(fd, SO_RCVBUF), table[i].rcv);
	}
	set_int_option(fd, SO_SNDBUF, INT_MAX);
	EQ(get_int_option(fd, SO_SNDBUF), 2 * wmax);
	set_int_option(fd, SO_SNDBUF, 0);
	set_int_option(fd, SO_SNDBUF, -1);
	EQ(get_int_option(fd, SO_SNDBUF), 2 * wmax);
	set_int_option(fd, SO_RCVBUF, INT_MAX);
	EQ(get_int_option(fd, SO_RCVBUF), 2 * rmax);
	set_int_option(fd, SO_RCVBUF, -1);
	EQ(get_int_option(fd, SO_RCVBUF), 2 * rmax);
	OK(close(fd));
}

CASE(option_buffer_sizes_by_force, 0)
{
	int value = 16000000, fd = unix_socket(SOCK_STREAM);
	socklen_t len = sizeof value;

	if (geteuid() != 0)
		SKIP("needs CAP_NET_ADMIN");
	OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value));
	EQ(get_int_option(fd, SO_SNDBUF), 32000000);
	OK(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value));
	EQ(get_int_option(fd, SO_RCVBUF), 32000000);
	value = -1;
	OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value));
	EQ(get_int_option(fd, SO_SNDBUF), 4608);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, &len), ENOPROTOOPT);
	EQ(seteuid(65534), 0);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value), EPERM);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value), EPERM);
	EQ(seteuid(0), 0);
	OK(close(fd));
}

CASE(option_priority_and_privilege, 0)
{
	int value = 1, fd = unix_socket(SOCK_STREAM);

	set_int_option(fd, SO_PRIORITY, 6);
	EQ(get_int_option(fd, SO_PRIORITY), 6);
	if (geteuid() == 0) {
		set_int_option(fd, SO_PRIORITY, 7);
		EQ(get_int_option(fd, SO_PRIORITY), 7);
		set_int_option(fd, SO_DEBUG, 1);
		EQ(get_int_option(fd, SO_DEBUG), 1);
		set_int_option(fd, SO_MARK, 5);
		EQ(get_int_option(fd, SO_MARK), 5);
		EQ(seteuid(65534), 0);
	}
	value = 9;
	FAILS(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &value, sizeof value), EPERM);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_DEBUG, &value, sizeof value), EACCES);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_MARK, &value, sizeof value), EPERM);
	set_int_option(fd, SO_DEBUG, 0);
	OK(close(fd));
}

CASE(option_peek_off_is_stored, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	EQ(get_int_option(fd, SO_PEEK_OFF), -1);
	set_int_option(fd, SO_PEEK_OFF, 3);
	EQ(get_int_option(fd, SO_PEEK_OFF), 3);
	set_int_option(fd, SO_PEEK_OFF, -5);
	EQ(get_int_option(fd, SO_PEEK_OFF), -5);
	OK(close(fd));
}

CASE_ON_ENDS(option_peek_off_moves, 0)
{
	char buf[8];

	put(sv[0], "abcdef");
	set_int_option(sv[1], SO_PEEK_OFF, 1);
	EQ(recv(sv[1], buf, 2, MSG_PEEK), 2);
	BYTES(buf, "bc", 2);
	EQ(get_int_option(sv[1], SO_PEEK_OFF), 3);
	EQ(recv(sv[1], buf, 8, MSG_PEEK), 3);
	BYTES(buf, "def", 3);
	FAILS(recv(sv[1], buf, 8, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	EQ(recv(sv[1], buf, 4, 0), 4);
	EQ(get_int_option(sv[1], SO_PEEK_OFF), 2);
	GETS(sv[1], "ef");
	EQ(get_int_option(sv[1], SO_PEEK_OFF), 0);
}

CASE_ON_ENDS(option_peername, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = 4;
	int fd = unix_socket(SOCK_STREAM);

	FAILS(getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &un, &len), ENOTCONN);
	OK(close(fd));
	if (bind(sv[0], NAME(&a)) < 0)
		SKIP("has a name already");
	OK(getsockopt(sv[1], SOL_SOCKET, SO_PEERNAME, &un, &len));
	EQ(len, 4);
	BYTES(&un, &a.un, 4);
	len = a.len;
	OK(getsockopt(sv[1], SOL_SOCKET, SO_PEERNAME, &un, &len));
	BYTES(&un, &a.un, a.len);
	len = a.len + 1;
	FAILS(getsockopt(sv[1], SOL_SOCKET, SO_PEERNAME, &un, &len), EINVAL);
}

CASE_ON_ENDS(option_meminfo_shows_what_is_used, 0)
{
	uint32_t info[9];
	socklen_t len = sizeof info;

	EQ(send(sv[0], "x", 1, 0), 1);
	OK(getsockopt(sv[0], SOL_SOCKET, SO_MEMINFO, info, &len));
	EQ(len, sizeof info);
	EQ(info[0], 0);
	EQ(info[1], get_int_option(sv[0], SO_RCVBUF));
	EQ(info[2], 768);
	EQ(info[3], get_int_option(sv[0], SO_SNDBUF));
	OK(getsockopt(sv[1], SOL_SOCKET, SO_MEMINFO, info, &len));
	EQ(info[0], 0);
	EQ(info[2], 0);
	GETS(sv[1], "x");
}
