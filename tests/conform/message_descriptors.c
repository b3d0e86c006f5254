/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Descriptors of datagram and seqpacket sockets: copies, modes, the last one closed, and what no message
 * socket does. */
#include "conform.h"

#include <linux/sockios.h>

CASE_ON_MESSAGES(message_copies_are_one_socket, 0)
{
	int copy = OK(dup(sv[1]));

	EQ(tell(sv[0], "one"), 3);
	EQ(tell(sv[0], "two"), 3);
	MESSAGE(copy, "one");
	MESSAGE(sv[1], "two");
	EQ(tell(copy, "back"), 4);
	MESSAGE(sv[0], "back");
	set_nonblocking(copy, true);
	FAILS(read(sv[1], (char[1]){0}, 1), EAGAIN);
	OK(close(copy));
}

CASE_ON_MESSAGES(message_close_of_one_copy_is_nothing, 0)
{
	int copy = OK(dup(sv[1]));

	close_end(&sv[1]);
	READY(sv[0], POLLOUT);
	EQ(tell(sv[0], "x"), 1);
	MESSAGE(copy, "x");
	OK(close(copy));
}

CASE(message_name_lives_as_long_as_a_copy, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), copy = OK(dup(r));

	OK(close(r));
	EQ(send_to(s, &a, "x"), 1);
	MESSAGE(copy, "x");
	OK(close(copy));
	FAILS(send_to(s, &a, "x"), ECONNREFUSED);
	OK(close(s));
}

CASE_ON_MESSAGES(message_dup2_over_a_socket_closes_it, 0)
{
	OK(dup2(sv[0], sv[1]));
	/* Both numbers are the first end now, and its peer is gone. */
	FAILS(tell(sv[0], "x"), get_int_option(sv[0], SO_TYPE) == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
}

CASE_ON_MESSAGES(message_fionbio, 0)
{
	int on = 1, off = 0;

	OK(ioctl(sv[0], FIONBIO, &on));
	EQ(fcntl(sv[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	FAILS(read(sv[0], (char[1]){0}, 1), EAGAIN);
	OK(ioctl(sv[0], FIONBIO, &off));
	EQ(fcntl(sv[0], F_GETFL) & O_NONBLOCK, 0);
}

static void flags_at_creation(int type)
{
	static const int flags[] = {0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK};

	for (int i = 0; i < 4; i++) {
		int fd[3];

		unix_pair(type | flags[i], fd);
		fd[2] = unix_socket(type | flags[i]);
		for (int j = 0; j < 3; j++) {
			EQ(fcntl(fd[j], F_GETFD), flags[i] & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
			EQ(fcntl(fd[j], F_GETFL), O_RDWR | (flags[i] & SOCK_NONBLOCK ? O_NONBLOCK : 0));
			OK(close(fd[j]));
		}
	}
}

CASE(message_flags_at_creation_dgram, 0)
{
	flags_at_creation(SOCK_DGRAM);
}

CASE(message_flags_at_creation_seqpacket, 0)
{
	flags_at_creation(SOCK_SEQPACKET);
}

CASE(message_protocol, 0)
{
	static const int types[] = {SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};

	for (int i = 0; i < 3; i++) {
		int fd = OK(socket(AF_UNIX, types[i], 1));

		EQ(get_int_option(fd, SO_PROTOCOL), 0);
		OK(close(fd));
		FAILS(socket(AF_UNIX, types[i], 2), EPROTONOSUPPORT);
	}
}

CASE_ON_MESSAGES(message_is_a_socket, 0)
{
	struct stat st;

	OK(fstat(sv[0], &st));
	TRUE(S_ISSOCK(st.st_mode));
	EQ(st.st_size, 0);
}

CASE_ON_MESSAGES(message_has_no_position, 0)
{
	if (!strcmp(conform_suite(), "library"))
		SKIP("only the preload stands in for lseek()");
	FAILS(lseek(sv[0], 0, SEEK_SET), ESPIPE);
}

CASE_ON_MESSAGES(message_ioctls_refused, 0)
{
	int n = 5;

	FAILS(ioctl(sv[0], SIOCATMARK, &n), EOPNOTSUPP);
	FAILS(ioctl(sv[0], TIOCGWINSZ, &n), ENOTTY);
	FAILS(ioctl(sv[0], SIOCINQ, bad_pointer()), EFAULT);
	FAILS(ioctl(sv[0], SIOCOUTQ, bad_pointer()), EFAULT);
	EQ(n, 5);
}

CASE_ON_MESSAGES(message_linger_does_not_matter, 0)
{
	struct linger on = {1, 100};
	long start = now_ms();

	OK(setsockopt(sv[1], SOL_SOCKET, SO_LINGER, &on, sizeof on));
	EQ(tell(sv[1], "kept"), 4);
	close_end(&sv[1]);
	TRUE(now_ms() - start < 50000);
	MESSAGE(sv[0], "kept");
}

CASE_ON_MESSAGES(message_oob_inline_does_not_matter, 0)
{
	set_int_option(sv[0], SO_OOBINLINE, 1);
	EQ(get_int_option(sv[0], SO_OOBINLINE), 1);
	FAILS(send(sv[0], "x", 1, MSG_OOB), EOPNOTSUPP);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_OOB), EOPNOTSUPP);
}

CASE_ON_MESSAGES(message_compat_flag, 0)
{
	char c = 'x';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct mmsghdr mm = {.msg_hdr = m};
	const int compat = INT_MIN;

	FAILS(sendmsg(sv[0], &m, compat), EINVAL);
	FAILS(recvmsg(sv[0], &m, compat), EINVAL);
	FAILS(sendmmsg(sv[0], &mm, 1, compat), EINVAL);
	EQ(send(sv[0], "y", 1, compat), 1);
	EQ(recv(sv[1], &c, 1, compat), 1);
	EQ(c, 'y');
}

CASE_ON_MESSAGES(message_sockets_of_their_own, 0)
{
	int other[2];

	/* Two pairs at once do not mix. */
	unix_pair(get_int_option(sv[0], SO_TYPE), other);
	EQ(tell(sv[0], "one"), 3);
	EQ(tell(other[0], "other"), 5);
	MESSAGE(sv[1], "one");
	MESSAGE(other[1], "other");
	EMPTY(sv[1]);
	EMPTY(other[1]);
	OK(close(other[0]));
	OK(close(other[1]));
}

CASE(message_many_sockets, 0)
{
	enum { MANY = 100 };
	struct name n[MANY];
	int fd[MANY], s = unix_socket(SOCK_DGRAM);

	for (int i = 0; i < MANY; i++) {
		char text[16];

		snprintf(text, sizeof text, "%d", i);
		n[i] = abstract_name(text);
		fd[i] = bound_to(SOCK_DGRAM, &n[i]);
	}
	for (int i = 0; i < MANY; i++)
		EQ(send_to(s, &n[i], i % 2 ? "odd" : "even"), i % 2 ? 3 : 4);
	for (int i = MANY - 1; i >= 0; i--) {
		MESSAGE(fd[i], i % 2 ? "odd" : "even");
		EMPTY(fd[i]);
		OK(close(fd[i]));
	}
	OK(close(s));
}
