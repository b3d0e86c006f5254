/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* A stream's bytes: order, partial reads, flags of send() and recv(), zero lengths, bad pointers. */
#include "conform.h"

#include <sys/mman.h>

CASE_ON_ENDS(stream_both_directions, 0)
{
	put(sv[0], "there");
	put(sv[1], "back");
	GETS(sv[1], "there");
	GETS(sv[0], "back");
	EMPTY(sv[0]);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(stream_has_no_boundaries, 0)
{
	char buf[16];

	put(sv[0], "ab");
	put(sv[0], "cde");
	put(sv[0], "f");
	EQ(read(sv[1], buf, sizeof buf), 6);
	BYTES(buf, "abcdef", 6);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(stream_partial_reads, 0)
{
	char buf[16];

	put(sv[0], "abcdefghij");
	EQ(read(sv[1], buf, 3), 3);
	BYTES(buf, "abc", 3);
	EQ(recv(sv[1], buf, 1, 0), 1);
	BYTES(buf, "d", 1);
	put(sv[0], "kl");
	EQ(read(sv[1], buf, 7), 7);
	BYTES(buf, "efghijk", 7);
	EQ(read(sv[1], buf, sizeof buf), 1);
	BYTES(buf, "l", 1);
}

CASE_ON_ENDS(stream_read_returns_what_is_there, 0)
{
	struct actor t;
	char buf[100];

	start_recv(&t, sv[1], buf, sizeof buf, 0);
	BLOCKED(&t);
	put(sv[0], "x");
	RETURNS(&t, 1);
	BYTES(buf, "x", 1);
}

CASE_ON_ENDS(stream_vectors, 0)
{
	char a[3], b[1], c[8];
	struct iovec out[4] = {
		{(char[]){'1', '2'}, 2}, {NULL, 0}, {(char[]){'3'}, 1}, {(char[]){'4', '5', '6'}, 3}};
	struct iovec in[4] = {{a, sizeof a}, {NULL, 0}, {b, sizeof b}, {c, sizeof c}};

	EQ(writev(sv[0], out, 4), 6);
	EQ(readv(sv[1], in, 4), 6);
	BYTES(a, "123", 3);
	BYTES(b, "4", 1);
	BYTES(c, "56", 2);
	EMPTY(sv[1]);
	EQ(writev(sv[0], out, 0), 0);
	EQ(readv(sv[1], in, 0), 0);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(stream_vector_limits, 0)
{
	static struct iovec iov[1025];
	static char bytes[1025];
	static volatile int negative = -1;
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 1025};

	for (int i = 0; i < 1025; i++)
		iov[i] = (struct iovec){&bytes[i], 1};
	FAILS(writev(sv[0], iov, 1025), EINVAL);
	FAILS(readv(sv[0], iov, 1025), EINVAL);
	FAILS(writev(sv[0], iov, negative), EINVAL);
	FAILS(sendmsg(sv[0], &msg, 0), EMSGSIZE);
	FAILS(recvmsg(sv[0], &msg, 0), EMSGSIZE);
	EQ(writev(sv[0], iov, 1024), 1024);
	EQ(readv(sv[1], iov, 1024), 1024);
	msg.msg_iovlen = 1024;
	EQ(sendmsg(sv[0], &msg, 0), 1024);
	EQ(recvmsg(sv[1], &msg, 0), 1024);
	iov[1].iov_len = (size_t)-1;
	msg.msg_iovlen = 2;
	FAILS(writev(sv[0], iov, 2), EINVAL);
	FAILS(readv(sv[0], iov, 2), EINVAL);
	FAILS(sendmsg(sv[0], &msg, 0), EINVAL);
	FAILS(recvmsg(sv[0], &msg, 0), EINVAL);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(stream_peek_leaves_data, 0)
{
	char buf[16];

	put(sv[0], "abc");
	put(sv[0], "def");
	for (int i = 0; i < 3; i++) {
		/* Across the sends. */
		EQ(recv(sv[1], buf, sizeof buf, MSG_PEEK), 6);
		BYTES(buf, "abcdef", 6);
		EQ(recv(sv[1], buf, 2, MSG_PEEK), 2);
		BYTES(buf, "ab", 2);
	}
	EQ(recv(sv[1], buf, 4, 0), 4);
	BYTES(buf, "abcd", 4);
	EQ(recv(sv[1], buf, sizeof buf, MSG_PEEK | MSG_DONTWAIT), 2);
	BYTES(buf, "ef", 2);
	GETS(sv[1], "ef");
	FAILS(recv(sv[1], buf, sizeof buf, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
}

CASE_ON_ENDS(stream_peek_waits_for_the_first_byte, 0)
{
	struct actor t;
	char buf[16];

	start_recv(&t, sv[1], buf, 4, MSG_PEEK | MSG_WAITALL);
	BLOCKED(&t);
	put(sv[0], "ab");
	/* Not for all of them. */
	RETURNS(&t, 2);
	GETS(sv[1], "ab");
	OK(shutdown(sv[0], SHUT_WR));
	EQ(recv(sv[1], buf, 4, MSG_PEEK), 0);
	EQ(recv(sv[1], buf, 4, MSG_PEEK), 0);
}

CASE_ON_ENDS(stream_dontwait, 0)
{
	char buf[16];

	FAILS(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
	put(sv[0], "a");
	EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 1);
	FAILS(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
	fill(sv[0], 4000);
	FAILS(send(sv[0], "x", 1, MSG_DONTWAIT), EAGAIN);
	/* The flag is of the call, not of the socket. */
	EQ(fcntl(sv[0], F_GETFL) & O_NONBLOCK, 0);
}

CASE_ON_ENDS(stream_waitall, 0)
{
	struct actor t;
	char buf[16];

	start_recv(&t, sv[1], buf, 6, MSG_WAITALL);
	BLOCKED(&t);
	put(sv[0], "ab");
	BLOCKED(&t);
	put(sv[0], "cde");
	BLOCKED(&t);
	put(sv[0], "fgh");
	RETURNS(&t, 6);
	BYTES(buf, "abcdef", 6);
	GETS(sv[1], "gh");
}

CASE_ON_ENDS(stream_waitall_is_ended_by_eof, 0)
{
	struct actor t;
	char buf[16];

	start_recv(&t, sv[1], buf, 6, MSG_WAITALL);
	BLOCKED(&t);
	put(sv[0], "abc");
	BLOCKED(&t);
	close_end(&sv[0]);
	RETURNS(&t, 3);
	BYTES(buf, "abc", 3);
	EQ(read(sv[1], buf, 1), 0);
}

CASE_ON_ENDS(stream_waitall_with_dontwait_takes_what_is_there, 0)
{
	char buf[16];

	put(sv[0], "abc");
	EQ(recv(sv[1], buf, 6, MSG_WAITALL | MSG_DONTWAIT), 3);
	FAILS(recv(sv[1], buf, 6, MSG_WAITALL | MSG_DONTWAIT), EAGAIN);
	set_nonblocking(sv[1], true);
	put(sv[0], "abc");
	EQ(recv(sv[1], buf, 6, MSG_WAITALL), 3);
}

CASE_ON_ENDS(stream_trunc_has_no_effect, 0)
{
	char buf[8] = "........";
	struct iovec iov = {buf, 3};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	put(sv[0], "abcdef");
	EQ(recv(sv[1], buf, 2, MSG_TRUNC), 2);
	BYTES(buf, "ab......", 8);
	EQ(recvmsg(sv[1], &msg, MSG_TRUNC), 3);
	EQ(msg.msg_flags, 0);
	BYTES(buf, "cde", 3);
	GETS(sv[1], "f");
}

CASE_ON_ENDS(stream_unknown_flags_are_ignored, 0)
{
	static const int flags[] = {MSG_MORE,	  MSG_EOR,	MSG_CONFIRM, MSG_DONTROUTE,
				    MSG_FASTOPEN, MSG_ZEROCOPY, 0x10,	     0x100000};
	char buf[4];

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		EQ(send(sv[0], "x", 1, flags[i] | MSG_DONTWAIT), 1);
		EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 1);
	}
	put(sv[0], "abc");
	EQ(recv(sv[1], buf, 1, MSG_ERRQUEUE | MSG_DONTWAIT), 1);
	EQ(recv(sv[1], buf, 1, MSG_DONTROUTE | MSG_CONFIRM | MSG_DONTWAIT), 1);
	EQ(recv(sv[1], buf, 1, MSG_NOSIGNAL | MSG_EOR | MSG_DONTWAIT), 1);
}

CASE_ON_ENDS(stream_zero_length_send, 0)
{
	EQ(send(sv[0], "x", 0, 0), 0);
	EQ(write(sv[0], "x", 0), 0);
	EQ(send(sv[0], NULL, 0, 0), 0);
	EMPTY(sv[1]);
	READY(sv[1], POLLOUT);
	/* Not even a full buffer holds up nothing. */
	fill(sv[0], 4000);
	EQ(send(sv[0], "x", 0, 0), 0);
	drain(sv[1]);
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 0, MSG_NOSIGNAL), EPIPE);
}

CASE_ON_ENDS(stream_zero_length_receive, 0)
{
	char buf[4];

	/* read() of nothing does not look at the socket, recv() does. */
	EQ(read(sv[1], buf, 0), 0);
	FAILS(recv(sv[1], buf, 0, MSG_DONTWAIT), EAGAIN);
	put(sv[0], "ab");
	EQ(recv(sv[1], buf, 0, 0), 0);
	EQ(read(sv[1], buf, 0), 0);
	GETS(sv[1], "ab");
	OK(shutdown(sv[0], SHUT_WR));
	EQ(recv(sv[1], buf, 0, 0), 0);
}

CASE(stream_zero_length_receive_blocks, 0)
{
	struct actor t;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	start_recv(&t, sv[1], NULL, 0, 0);
	BLOCKED(&t);
	put(sv[0], "a");
	RETURNS(&t, 0);
	GETS(sv[1], "a");
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(stream_calls_on_unconnected, 0)
{
	struct name a = abstract_name("a");
	char buf[4];
	int fd = unix_socket(SOCK_STREAM);

	for (int bound = 0; bound < 2; bound++) {
		FAILS(recv(fd, buf, 1, 0), EINVAL);
		FAILS(recv(fd, buf, 0, 0), EINVAL);
		FAILS(recv(fd, buf, 1, MSG_PEEK), EINVAL);
		FAILS(read(fd, buf, 1), EINVAL);
		EQ(read(fd, buf, 0), 0);
		FAILS(send(fd, "x", 1, 0), ENOTCONN);
		FAILS(send(fd, "x", 0, 0), ENOTCONN);
		FAILS(write(fd, "x", 1), ENOTCONN);
		FAILS(sendto(fd, "x", 1, 0, NAME(&a)), EOPNOTSUPP);
		if (!bound)
			OK(bind(fd, NAME(&a)));
	}
	/* Not even when it is shut is the error that of a pipe. */
	OK(shutdown(fd, SHUT_RDWR));
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
	FAILS(recv(fd, buf, 1, 0), EINVAL);
	OK(close(fd));
}

CASE_ON_ENDS(stream_send_with_address, 0)
{
	struct name a = abstract_name("a");

	FAILS(sendto(sv[0], "x", 1, 0, NAME(&a)), EISCONN);
	/* Its contents are not looked at. */
	FAILS(sendto(sv[0], "x", 1, 0, ANY(&a.un), 1), EISCONN);
	FAILS(sendto(sv[0], "x", 1, 0, ANY(bad_pointer()), 10), EFAULT);
	FAILS(sendto(sv[0], "x", 1, 0, ANY(&a.un), 129), EINVAL);
	EQ(sendto(sv[0], "x", 1, 0, ANY(&a.un), 0), 1);
	EQ(sendto(sv[0], "y", 1, 0, NULL, 10), 1);
	GETS(sv[1], "xy");
}

CASE_ON_ENDS(stream_oob_edges, 0)
{
	char c;

	FAILS(send(sv[0], "x", 0, MSG_OOB), EOPNOTSUPP);
	/* There is none, and nothing to wait for. */
	FAILS(recv(sv[1], &c, 1, MSG_OOB), EINVAL);
}

CASE(stream_bad_descriptors, 0)
{
	char buf[4];
	int p[2], fd = unix_socket(SOCK_STREAM);
	struct iovec iov = {buf, sizeof buf};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	EQ(pipe(p), 0);
	FAILS(send(p[1], "x", 1, 0), ENOTSOCK);
	FAILS(recv(p[0], buf, 1, 0), ENOTSOCK);
	FAILS(sendmsg(p[1], &msg, 0), ENOTSOCK);
	FAILS(recvmsg(p[0], &msg, 0), ENOTSOCK);
	OK(close(fd));
	FAILS(send(fd, "x", 1, 0), EBADF);
	FAILS(recv(fd, buf, 1, 0), EBADF);
	FAILS(read(fd, buf, 1), EBADF);
	FAILS(write(fd, buf, 1), EBADF);
	FAILS(readv(fd, &iov, 1), EBADF);
	FAILS(writev(fd, &iov, 1), EBADF);
	FAILS(sendmsg(fd, &msg, 0), EBADF);
	FAILS(recvmsg(fd, &msg, 0), EBADF);
	close(p[0]);
	close(p[1]);
}

/* Pages with a hole behind them. */
static char *pages_before_hole(size_t n)
{
	char *at = mmap(NULL, n + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TRUE(at != MAP_FAILED);
	memset(at, 'm', n);
	EQ(munmap(at + n, 4096), 0);
	return at;
}

CASE_ON_ENDS(stream_send_fault, 0)
{
	char *at = pages_before_hole(4096);

	FAILS(send(sv[0], bad_pointer(), 10, 0), EFAULT);
	FAILS(write(sv[0], bad_pointer(), 10), EFAULT);
	/* One chunk goes in whole or not at all. */
	FAILS(send(sv[0], at + 4000, 200, 0), EFAULT);
	EMPTY(sv[1]);
	put(sv[0], "ok");
	GETS(sv[1], "ok");
	EQ(munmap(at, 4096), 0);
}

CASE_ON_ENDS(stream_send_fault_in_second_chunk, 0)
{
	char *at = pages_before_hole(40960);

	EQ(send(sv[0], at, 60000, 0), 36544);
	EQ(drain(sv[1]), 36544);
	FAILS(send(sv[0], at + 8192, 60000, 0), EFAULT);
	EMPTY(sv[1]);
	EQ(munmap(at, 40960), 0);
}

CASE_ON_ENDS(stream_receive_fault_keeps_data, 0)
{
	put(sv[0], "abc");
	FAILS(recv(sv[1], bad_pointer(), 10, 0), EFAULT);
	FAILS(read(sv[1], bad_pointer(), 3), EFAULT);
	FAILS(recv(sv[1], bad_pointer(), 10, MSG_PEEK), EFAULT);
	GETS(sv[1], "abc");
}

CASE_ON_ENDS(stream_rcvlowat_holds_up_blocking_receive, 0)
{
	struct actor t;
	char buf[16];

	set_int_option(sv[1], SO_RCVLOWAT, 4);
	start_recv(&t, sv[1], buf, sizeof buf, 0);
	BLOCKED(&t);
	put(sv[0], "abc");
	BLOCKED(&t);
	put(sv[0], "de");
	RETURNS(&t, 5);
	BYTES(buf, "abcde", 5);
	/* No more than is asked for; and not for a call that does not wait. */
	put(sv[0], "fg");
	EQ(recv(sv[1], buf, 2, 0), 2);
	put(sv[0], "h");
	EQ(recv(sv[1], buf, 16, MSG_DONTWAIT), 1);
}

CASE_ON_ENDS(stream_nonblocking_send_takes_a_part, 0)
{
	static char big[1000000];
	ssize_t n = OK(send(sv[0], big, sizeof big, MSG_DONTWAIT));

	EQ(n, 219264);
	FAILS(send(sv[0], big, 1, MSG_DONTWAIT), EAGAIN);
	EQ(drain(sv[1]), n);
}

CASE_ON_ENDS(stream_blocked_send_goes_on, 0)
{
	static char big[1000000], back[1000000];
	struct actor t;
	size_t have = 0;

	pattern_bytes(big, 0, sizeof big);
	start_send(&t, sv[0], big, sizeof big, 0);
	BLOCKED(&t);
	while (have < sizeof back) {
		ssize_t n = OK(read(sv[1], back + have, 77777));
		TRUE(n > 0);
		have += (size_t)n;
	}
	RETURNS(&t, (long)sizeof big);
	BYTES(back, big, sizeof big);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(stream_directions_are_independent, 0)
{
	fill(sv[0], 5000);
	READY(sv[0], 0);
	/* A full way there leaves the way back free. */
	READY(sv[1], POLLIN | POLLOUT);
	put(sv[1], "back");
	GETS(sv[0], "back");
	size_t n = fill(sv[1], 1000);
	EQ(n, 93 * 1000);
	EQ(drain(sv[0]), n);
}

CASE(stream_pairs_do_not_mix, 0)
{
	int sv[2], tv[2];

	unix_pair(SOCK_STREAM, sv);
	unix_pair(SOCK_STREAM, tv);
	put(sv[0], "s");
	put(tv[0], "t");
	GETS(tv[1], "t");
	GETS(sv[1], "s");
	EMPTY(sv[1]);
	EMPTY(tv[1]);
	OK(close(sv[0]));
	AT_EOF(sv[1]);
	EMPTY(tv[1]);
	OK(close(sv[1]));
	OK(close(tv[0]));
	OK(close(tv[1]));
}

CASE(stream_errno_is_untouched_on_success, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	char c;

	errno = 0;
	int l = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bool ok = l >= 0 && fd >= 0 && bind(l, NAME(&a)) == 0 && listen(l, 1) == 0 &&
		  connect(fd, NAME(&a)) == 0;
	int s = accept(l, ANY(&un), &len);
	ok = ok && s >= 0 && send(fd, "x", 1, 0) == 1 && recv(s, &c, 1, 0) == 1 && write(s, "y", 1) == 1 &&
	     read(fd, &c, 1) == 1 && shutdown(fd, SHUT_WR) == 0 && recv(s, &c, 1, 0) == 0 && close(s) == 0 &&
	     close(fd) == 0 && close(l) == 0;
	int error = errno;
	TRUE(ok);
	EQ(error, 0);
}
