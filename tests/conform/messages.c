/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* sendmsg(), recvmsg(), recvfrom() and their vectors, without ancillary data, on streams. */
#include "conform.h"

CASE_ON_ENDS(msg_gather_and_scatter, 0)
{
	char a[2], b[10];
	struct iovec out[3] = {{(char[]){'a'}, 1}, {(char[]){'b', 'c'}, 2}, {(char[]){'d', 'e'}, 2}};
	struct iovec in[2] = {{a, sizeof a}, {b, sizeof b}};
	struct msghdr m = {.msg_iov = out, .msg_iovlen = 3};

	EQ(sendmsg(sv[0], &m, 0), 5);
	m = (struct msghdr){.msg_iov = in, .msg_iovlen = 2, .msg_flags = 0x7fff};
	EQ(recvmsg(sv[1], &m, 0), 5);
	BYTES(a, "ab", 2);
	BYTES(b, "cde", 3);
	/* Nothing to say: no flags, no control data. */
	EQ(m.msg_flags, 0);
	EQ(m.msg_controllen, 0);
}

CASE_ON_ENDS(msg_flags_are_left_alone_on_error, 0)
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

CASE_ON_ENDS(msg_without_vectors, 0)
{
	struct msghdr m = {.msg_iovlen = 0};

	EQ(sendmsg(sv[0], &m, 0), 0);
	EMPTY(sv[1]);
	FAILS(recvmsg(sv[1], &m, MSG_DONTWAIT), EAGAIN);
	put(sv[0], "a");
	EQ(recvmsg(sv[1], &m, 0), 0);
	GETS(sv[1], "a");
}

CASE_ON_ENDS(msg_bad_headers, 0)
{
	char c = 'x';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	FAILS(sendmsg(sv[0], bad_pointer(), 0), EFAULT);
	FAILS(recvmsg(sv[0], bad_pointer(), 0), EFAULT);
	m.msg_iov = bad_pointer();
	FAILS(sendmsg(sv[0], &m, 0), EFAULT);
	FAILS(recvmsg(sv[0], &m, 0), EFAULT);
	m.msg_iov = &iov;
	m.msg_name = &c;
	m.msg_namelen = (socklen_t)-1;
	FAILS(sendmsg(sv[0], &m, 0), EINVAL);
	FAILS(recvmsg(sv[0], &m, 0), EINVAL);
	m.msg_name = bad_pointer();
	m.msg_namelen = 4;
	FAILS(sendmsg(sv[0], &m, 0), EFAULT);
	/* Without a pointer the length says nothing, without a length the pointer does not. */
	m.msg_name = NULL;
	EQ(sendmsg(sv[0], &m, 0), 1);
	m.msg_name = bad_pointer();
	m.msg_namelen = 0;
	EQ(sendmsg(sv[0], &m, 0), 1);
	GETS(sv[1], "xx");
}

CASE_ON_ENDS(msg_with_address, 0)
{
	struct name a = abstract_name("a");
	char c = 'x';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_name = &a.un, .msg_namelen = a.len, .msg_iov = &iov, .msg_iovlen = 1};

	FAILS(sendmsg(sv[0], &m, 0), EISCONN);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(recvfrom_unnamed_sender, 0)
{
	char c, name[16];
	socklen_t len = sizeof name;

	memset(name, 0x5a, sizeof name);
	FAILS(recvfrom(sv[1], &c, 1, MSG_DONTWAIT, ANY(name), &len), EAGAIN);
	EQ(len, sizeof name);
	struct sockaddr_un un;
	socklen_t own = sizeof un;
	OK(getsockname(sv[0], ANY(&un), &own));
	put(sv[0], "a");
	EQ(recvfrom(sv[1], &c, 1, 0, ANY(name), &len), 1);
	/* An accepted socket has a name, the others have none. */
	EQ(len, own == 2 ? 0 : own);
	if (own == 2)
		EQ(name[0], 0x5a);
}

CASE(recvfrom_tells_the_senders_name, 0)
{
	struct name a = abstract_name("a"), b = path_name("b");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	char c;
	int l = listen_at(SOCK_STREAM, &a, 5), client = connect_to(SOCK_STREAM, &a);
	int server = OK(accept(l, NULL, NULL));

	put(server, "12");
	EQ(recvfrom(client, &c, 1, 0, ANY(&un), &len), 1);
	EQ(len, a.len);
	BYTES(&un, &a.un, a.len);
	/* Cut, but with the whole length. */
	len = 4;
	memset(&un, 0x5a, sizeof un);
	EQ(recvfrom(client, &c, 1, 0, ANY(&un), &len), 1);
	EQ(len, a.len);
	BYTES(&un, &a.un, 4);
	EQ(((char *)&un)[4], 0x5a);
	/* The name is that of the moment of receiving, also of a sender that is gone. */
	put(client, "x");
	OK(bind(client, NAME(&b)));
	OK(close(client));
	len = sizeof un;
	EQ(recvfrom(server, &c, 1, 0, ANY(&un), &len), 1);
	EQ(len, b.len);
	BYTES(&un, &b.un, b.len);
	/* The end of file comes from nobody. */
	len = sizeof un;
	EQ(recvfrom(server, &c, 1, 0, ANY(&un), &len), 0);
	EQ(len, 0);
	OK(close(server));
	OK(close(l));
	EQ(unlink("b"), 0);
}

CASE(recvmsg_tells_the_senders_name, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	char c;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_name = &un, .msg_namelen = sizeof un, .msg_iov = &iov, .msg_iovlen = 1};
	int l = listen_at(SOCK_STREAM, &a, 5), client = connect_to(SOCK_STREAM, &a);
	int server = OK(accept(l, NULL, NULL));

	put(server, "1");
	EQ(recvmsg(client, &m, 0), 1);
	EQ(m.msg_namelen, a.len);
	BYTES(&un, &a.un, a.len);
	OK(close(server));
	m.msg_namelen = sizeof un;
	EQ(recvmsg(client, &m, 0), 0);
	EQ(m.msg_namelen, 0);
	OK(close(client));
	OK(close(l));
}

CASE_ON_ENDS(mmsg_counts_messages, 0)
{
	char a[3], b[3], c[3];
	struct iovec out[3] = {{(char[]){'a', 'b'}, 2}, {(char[]){'c'}, 1}, {(char[]){'d', 'e', 'f'}, 3}};
	struct iovec in[3] = {{a, 3}, {b, 3}, {c, 3}};
	struct mmsghdr m[3] = {0};

	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
	EQ(sendmmsg(sv[0], m, 0, 0), 0);
	EQ(sendmmsg(sv[0], m, 3, 0), 3);
	EQ(m[0].msg_len, 2);
	EQ(m[1].msg_len, 1);
	EQ(m[2].msg_len, 3);
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
	EQ(recvmmsg(sv[1], m, 0, 0, NULL), 0);
	/* A stream fills one after the other, and stops where there is no more. */
	EQ(recvmmsg(sv[1], m, 3, MSG_DONTWAIT, NULL), 2);
	EQ(m[0].msg_len, 3);
	EQ(m[1].msg_len, 3);
	BYTES(a, "abc", 3);
	BYTES(b, "def", 3);
	FAILS(recvmmsg(sv[1], m, 3, MSG_DONTWAIT, NULL), EAGAIN);
	put(sv[0], "x");
	EQ(recvmmsg(sv[1], m, 3, MSG_WAITFORONE, NULL), 1);
	struct timespec bad = {0, 1000000000};
	FAILS(recvmmsg(sv[1], m, 3, 0, &bad), EINVAL);
}

CASE_ON_ENDS(mmsg_stops_at_a_full_buffer, 0)
{
	static char big[30000];
	struct iovec iov = {big, sizeof big};
	struct mmsghdr m[20] = {0};

	for (int i = 0; i < 20; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	int n = OK(sendmmsg(sv[0], m, 20, MSG_DONTWAIT));
	TRUE(n > 1 && n < 20);
	FAILS(sendmmsg(sv[0], m, 20, MSG_DONTWAIT), EAGAIN);
	EQ(drain(sv[1]), (size_t)n * sizeof big);
}
