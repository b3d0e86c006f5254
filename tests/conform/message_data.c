/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* What a message is, on datagram and seqpacket sockets: its borders, its end cut off, nothing in it, its
 * flags. */
#include "conform.h"

static struct msghdr one_part(struct iovec *iov, void *buf, size_t n)
{
	*iov = (struct iovec){buf, n};
	return (struct msghdr){.msg_iov = iov, .msg_iovlen = 1, .msg_flags = 0x7fff0000};
}

CASE_ON_MESSAGES(message_borders, 0)
{
	EQ(tell(sv[0], "one"), 3);
	EQ(tell(sv[0], "three"), 5);
	EQ(tell(sv[0], "2"), 1);
	MESSAGE(sv[1], "one");
	MESSAGE(sv[1], "three");
	MESSAGE(sv[1], "2");
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(message_both_ways, 0)
{
	EQ(tell(sv[0], "there"), 5);
	EQ(tell(sv[1], "back"), 4);
	MESSAGE(sv[0], "back");
	MESSAGE(sv[1], "there");
	EMPTY(sv[0]);
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(message_by_write_and_read, 0)
{
	char buf[8];

	EQ(write(sv[0], "abc", 3), 3);
	EQ(write(sv[0], "d", 1), 1);
	EQ(read(sv[1], buf, sizeof buf), 3);
	BYTES(buf, "abc", 3);
	EQ(read(sv[1], buf, sizeof buf), 1);
	BYTES(buf, "d", 1);
}

CASE_ON_MESSAGES(message_gathered_and_scattered, 0)
{
	char a[2], b[10];
	struct iovec out[3] = {{(char[]){'a'}, 1}, {(char[]){'b', 'c'}, 2}, {(char[]){'d', 'e'}, 2}};
	struct iovec in[2] = {{a, sizeof a}, {b, sizeof b}};

	EQ(writev(sv[0], out, 3), 5);
	EQ(tell(sv[0], "x"), 1);
	EQ(readv(sv[1], in, 2), 5);
	BYTES(a, "ab", 2);
	BYTES(b, "cde", 3);
	MESSAGE(sv[1], "x");
}

CASE_ON_MESSAGES(message_rest_is_lost, 0)
{
	char buf[4] = "....";

	EQ(tell(sv[0], "abcdef"), 6);
	EQ(tell(sv[0], "next"), 4);
	EQ(read(sv[1], buf, 2), 2);
	BYTES(buf, "ab..", 4);
	MESSAGE(sv[1], "next");
}

CASE_ON_MESSAGES(message_truncation_shows, 0)
{
	char buf[4] = "....";
	struct iovec iov;
	struct msghdr m = one_part(&iov, buf, 2);

	EQ(tell(sv[0], "abcdef"), 6);
	EQ(tell(sv[0], "ok"), 2);
	EQ(recvmsg(sv[1], &m, 0), 2);
	EQ(m.msg_flags, MSG_TRUNC);
	BYTES(buf, "ab..", 4);
	EQ(recvmsg(sv[1], &m, 0), 2);
	EQ(m.msg_flags, 0);
}

CASE_ON_MESSAGES(message_trunc_asks_for_the_length, 0)
{
	char buf[4] = "....";
	struct iovec iov;
	struct msghdr m = one_part(&iov, buf, 2);

	EQ(tell(sv[0], "abcdef"), 6);
	EQ(recv(sv[1], buf, 2, MSG_TRUNC), 6);
	BYTES(buf, "ab..", 4);
	EQ(tell(sv[0], "abcdef"), 6);
	EQ(recvmsg(sv[1], &m, MSG_TRUNC), 6);
	EQ(m.msg_flags, MSG_TRUNC);
	EQ(tell(sv[0], "c"), 1);
	EQ(recv(sv[1], buf, 2, MSG_TRUNC), 1);
	BYTES(buf, "cb..", 4);
}

CASE_ON_MESSAGES(message_trunc_and_peek, 0)
{
	char buf[4];

	EQ(tell(sv[0], "abcdef"), 6);
	EQ(recv(sv[1], NULL, 0, MSG_PEEK | MSG_TRUNC), 6);
	EQ(recv(sv[1], buf, 2, MSG_PEEK | MSG_TRUNC), 6);
	MESSAGE(sv[1], "abcdef");
}

CASE_ON_MESSAGES(message_recv_of_length_zero, 0)
{
	struct iovec iov;
	struct msghdr m = one_part(&iov, NULL, 0);

	FAILS(recv(sv[1], NULL, 0, MSG_DONTWAIT), EAGAIN);
	EQ(tell(sv[0], "lost"), 4);
	EQ(tell(sv[0], "lost"), 4);
	EQ(tell(sv[0], "next"), 4);
	EQ(recv(sv[1], NULL, 0, 0), 0);
	EQ(recvmsg(sv[1], &m, 0), 0);
	EQ(m.msg_flags, MSG_TRUNC);
	MESSAGE(sv[1], "next");
}

CASE_ON_MESSAGES(message_read_of_length_zero, 0)
{
	struct iovec none[2] = {{NULL, 0}, {NULL, 0}};

	/* Never looks at the socket. */
	EQ(read(sv[1], NULL, 0), 0);
	EQ(tell(sv[0], "kept"), 4);
	EQ(read(sv[1], NULL, 0), 0);
	EQ(readv(sv[1], none, 2), 0);
	EQ(readv(sv[1], none, 0), 0);
	MESSAGE(sv[1], "kept");
}

CASE_ON_MESSAGES(message_recvmsg_without_vectors, 0)
{
	struct msghdr m = {.msg_iovlen = 0};

	FAILS(recvmsg(sv[1], &m, MSG_DONTWAIT), EAGAIN);
	EQ(tell(sv[0], "lost"), 4);
	EQ(recvmsg(sv[1], &m, 0), 0);
	EQ(m.msg_flags, MSG_TRUNC);
	EMPTY(sv[1]);
	/* Sent without vectors it is empty. */
	m.msg_flags = 0;
	EQ(sendmsg(sv[0], &m, 0), 0);
	READY(sv[1], POLLIN | POLLOUT);
	MESSAGE(sv[1], "");
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(message_of_length_zero, 0)
{
	struct iovec iov;
	char buf[4];
	struct msghdr m = one_part(&iov, buf, sizeof buf);

	EQ(send(sv[0], NULL, 0, 0), 0);
	EQ(tell(sv[0], "x"), 1);
	READY(sv[1], POLLIN | POLLOUT);
	EQ(recvmsg(sv[1], &m, 0), 0);
	EQ(m.msg_flags, 0);
	MESSAGE(sv[1], "x");
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(message_of_length_zero_by_write, 0)
{
	struct iovec none = {NULL, 0};

	EQ(write(sv[0], "", 0), 0);
	READY(sv[1], POLLIN | POLLOUT);
	MESSAGE(sv[1], "");
	EMPTY(sv[1]);
	/* But not by writev(), which stops at a total of nothing. */
	EQ(writev(sv[0], &none, 1), 0);
	EQ(writev(sv[0], &none, 0), 0);
	EMPTY(sv[1]);
	READY(sv[1], POLLOUT);
}

CASE_ON_MESSAGES(message_of_length_zero_is_counted, 0)
{
	for (int i = 0; i < 5; i++)
		EQ(send(sv[0], "", 0, 0), 0);
	EQ(take_messages(sv[1]), 5);
}

CASE_ON_MESSAGES(message_of_length_zero_wakes_a_reader, 0)
{
	struct actor t;
	char buf[4];

	start_recv(&t, sv[1], buf, sizeof buf, 0);
	BLOCKED(&t);
	EQ(send(sv[0], "", 0, 0), 0);
	RETURNS(&t, 0);
}

CASE_ON_MESSAGES(message_end_of_record_is_ignored, 0)
{
	char buf[8];
	struct iovec iov;
	struct msghdr m = one_part(&iov, buf, sizeof buf);

	EQ(send(sv[0], "ab", 2, MSG_EOR), 2);
	EQ(send(sv[0], "cd", 2, 0), 2);
	EQ(recvmsg(sv[1], &m, 0), 2);
	EQ(m.msg_flags, 0);
	EQ(recvmsg(sv[1], &m, 0), 2);
	EQ(m.msg_flags, 0);
}

CASE_ON_MESSAGES(message_flags_ignored_at_send, 0)
{
	static const int flags[] = {MSG_MORE,	      MSG_EOR,	    MSG_CONFIRM, MSG_DONTROUTE,
				    MSG_FASTOPEN,     MSG_ZEROCOPY, MSG_PROXY,	 MSG_NOSIGNAL,
				    (int)0x00800000u, MSG_PEEK,	    MSG_TRUNC,	 MSG_WAITALL};

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		EQ(send(sv[0], "ab", 2, flags[i]), 2);
		EQ(send(sv[0], "c", 1, 0), 1);
		MESSAGE(sv[1], "ab");
		MESSAGE(sv[1], "c");
	}
}

CASE_ON_MESSAGES(message_flags_ignored_at_receive, 0)
{
	static const int flags[] = {MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_EOR, MSG_DONTROUTE, MSG_WAITFORONE};
	char buf[8];

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		EQ(send(sv[0], "ab", 2, 0), 2);
		EQ(recv(sv[1], buf, sizeof buf, flags[i] | MSG_DONTWAIT), 2);
		EMPTY(sv[1]);
	}
}

CASE_ON_MESSAGES(message_waitall_takes_one, 0)
{
	char buf[8];

	EQ(tell(sv[0], "ab"), 2);
	EQ(tell(sv[0], "cd"), 2);
	EQ(recv(sv[1], buf, sizeof buf, MSG_WAITALL), 2);
	MESSAGE(sv[1], "cd");
}

CASE_ON_MESSAGES(message_rcvlowat_does_not_matter, 0)
{
	char buf[8];

	set_int_option(sv[1], SO_RCVLOWAT, 100);
	EQ(tell(sv[0], "ab"), 2);
	READY(sv[1], POLLIN | POLLOUT);
	EQ(recv(sv[1], buf, sizeof buf, 0), 2);
}

CASE_ON_MESSAGES(message_cmsg_cloexec_is_echoed, 0)
{
	char buf[8];
	struct iovec iov;
	struct msghdr m = one_part(&iov, buf, sizeof buf);

	EQ(tell(sv[0], "ab"), 2);
	EQ(recvmsg(sv[1], &m, MSG_CMSG_CLOEXEC), 2);
	EQ(m.msg_flags, MSG_CMSG_CLOEXEC);
}

CASE_ON_MESSAGES(message_flags_are_left_alone_on_error, 0)
{
	char name[8], control[8], c;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_name = name,
			   .msg_namelen = 5,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = 7,
			   .msg_flags = 0x1234};

	FAILS(recvmsg(sv[0], &m, MSG_DONTWAIT), EAGAIN);
	EQ(m.msg_flags, 0x1234);
	EQ(m.msg_namelen, 5);
	EQ(m.msg_controllen, 7);
}

CASE_ON_MESSAGES(message_dontwait, 0)
{
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_DONTWAIT), EAGAIN);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
	set_nonblocking(sv[0], true);
	FAILS(read(sv[0], (char[1]){0}, 1), EAGAIN);
	FAILS(recv(sv[0], (char[1]){0}, 1, 0), EAGAIN);
	fill_messages(sv[0], NULL, 1000);
	FAILS(write(sv[0], "x", 1), EAGAIN);
	FAILS(send(sv[0], "x", 1, 0), EAGAIN);
}

CASE_ON_MESSAGES(message_oob_is_refused, 0)
{
	FAILS(send(sv[0], "x", 1, MSG_OOB), EOPNOTSUPP);
	FAILS(send(sv[0], "", 0, MSG_OOB), EOPNOTSUPP);
	EMPTY(sv[1]);
	EQ(tell(sv[0], "y"), 1);
	FAILS(recv(sv[1], (char[1]){0}, 1, MSG_OOB), EOPNOTSUPP);
	FAILS(recv(sv[1], (char[1]){0}, 1, MSG_OOB | MSG_PEEK), EOPNOTSUPP);
	MESSAGE(sv[1], "y");
}

CASE_ON_MESSAGES(message_bad_buffer_loses_it, 0)
{
	EQ(tell(sv[0], "lost"), 4);
	EQ(tell(sv[0], "next"), 4);
	FAILS(recv(sv[1], bad_pointer(), 4, 0), EFAULT);
	MESSAGE(sv[1], "next");
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(message_bad_buffer_at_peek_keeps_it, 0)
{
	EQ(tell(sv[0], "kept"), 4);
	FAILS(recv(sv[1], bad_pointer(), 4, MSG_PEEK), EFAULT);
	MESSAGE(sv[1], "kept");
}

CASE_ON_MESSAGES(message_bad_buffer_and_nothing_in_it, 0)
{
	EQ(send(sv[0], "", 0, 0), 0);
	EQ(recv(sv[1], bad_pointer(), 4, 0), 0);
	FAILS(recv(sv[1], bad_pointer(), 4, MSG_DONTWAIT), EAGAIN);
}

CASE_ON_MESSAGES(message_bad_data, 0)
{
	struct iovec half[2] = {{(char[]){'a', 'b'}, 2}, {bad_pointer(), 2}};

	FAILS(send(sv[0], bad_pointer(), 4, 0), EFAULT);
	/* Whole or not at all. */
	FAILS(writev(sv[0], half, 2), EFAULT);
	EMPTY(sv[1]);
	EQ(tell(sv[0], "x"), 1);
	MESSAGE(sv[1], "x");
}

CASE_ON_MESSAGES(message_bad_headers, 0)
{
	char c = 'x';
	struct iovec iov = {&c, 1}, negative[2] = {{&c, 1}, {&c, (size_t)-1}};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	FAILS(sendmsg(sv[0], bad_pointer(), 0), EFAULT);
	FAILS(recvmsg(sv[0], bad_pointer(), 0), EFAULT);
	m.msg_iov = bad_pointer();
	FAILS(sendmsg(sv[0], &m, 0), EFAULT);
	FAILS(recvmsg(sv[0], &m, 0), EFAULT);
	m.msg_iovlen = 1025;
	FAILS(sendmsg(sv[0], &m, 0), EMSGSIZE);
	FAILS(recvmsg(sv[0], &m, 0), EMSGSIZE);
	FAILS(writev(sv[0], bad_pointer(), 1025), EINVAL);
	FAILS(readv(sv[0], bad_pointer(), 1025), EINVAL);
	m.msg_iov = negative;
	m.msg_iovlen = 2;
	FAILS(sendmsg(sv[0], &m, 0), EINVAL);
	m = (struct msghdr){
		.msg_name = &c, .msg_namelen = (socklen_t)-1, .msg_iov = bad_pointer(), .msg_iovlen = 1};
	FAILS(sendmsg(sv[0], &m, 0), EINVAL);
	FAILS(recvmsg(sv[0], &m, 0), EINVAL);
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(message_of_many_parts, 0)
{
	static struct iovec iov[1024];
	static char bytes[1024], got[1100];
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 1024};

	pattern_bytes(bytes, 0, sizeof bytes);
	for (int i = 0; i < 1024; i++)
		iov[i] = (struct iovec){bytes + i, 1};
	EQ(sendmsg(sv[0], &m, 0), 1024);
	EQ(read(sv[1], got, sizeof got), 1024);
	BYTES(got, bytes, sizeof bytes);
}

CASE_ON_MESSAGES(message_contents_of_many_sizes, 0)
{
	static const size_t sizes[] = {1,     31,    32,    63,	    64,	    65,	    192,
				       193,   704,   705,   1728,   1729,   3776,   3777,
				       4096,  16064, 16065, 32768,  36544,  36545,  65535,
				       65536, 65537, 69632, 100000, 131072, 200000, 212960};
	static char out[212960], in[212961];

	need_default_buffer(sv[0]);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		pattern_bytes(out, i * 7919, sizes[i]);
		memset(in, 0x5a, sizeof in);
		EQ(send(sv[0], out, sizes[i], MSG_DONTWAIT), sizes[i]);
		EQ(recv(sv[1], in, sizeof in, MSG_DONTWAIT), sizes[i]);
		BYTES(in, out, sizes[i]);
		EQ(in[sizes[i]], 0x5a);
	}
}

CASE_ON_MESSAGES(message_fifo_of_mixed_sizes, 0)
{
	static char out[3000], in[3000];

	for (int lap = 0; lap < 50; lap++) {
		for (size_t i = 0; i < 9; i++) {
			pattern_bytes(out, i + (size_t)lap, i * 370);
			EQ(send(sv[0], out, i * 370, MSG_DONTWAIT), i * 370);
		}
		for (size_t i = 0; i < 9; i++) {
			pattern_bytes(out, i + (size_t)lap, i * 370);
			EQ(recv(sv[1], in, sizeof in, MSG_DONTWAIT), i * 370);
			BYTES(in, out, i * 370);
		}
	}
}

CASE_ON_MESSAGES(message_large_is_cut, 0)
{
	static char out[150000], in[150000];
	struct iovec iov;
	struct msghdr m = one_part(&iov, in, 100000);

	need_default_buffer(sv[0]);
	pattern_bytes(out, 0, sizeof out);
	EQ(send(sv[0], out, sizeof out, MSG_DONTWAIT), sizeof out);
	EQ(tell(sv[0], "next"), 4);
	EQ(recvmsg(sv[1], &m, 0), 100000);
	EQ(m.msg_flags, MSG_TRUNC);
	BYTES(in, out, 100000);
	EQ(in[100000], 0);
	MESSAGE(sv[1], "next");
}
