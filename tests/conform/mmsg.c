/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* sendmmsg() and recvmmsg(): counts, what ends them, errors kept for later, time limits. */
#include "ancillary.h"

enum { MOST = 1024 };

struct many {
	struct mmsghdr m[MOST + 8];
	struct iovec iov[MOST + 8];
	char data[MOST + 8][4];
};

/* One-byte messages a, b, c... to send, or four bytes of room for each to receive. */
static struct many *many(bool to_send)
{
	static struct many all;

	memset(&all, 0, sizeof all);
	for (int i = 0; i < MOST + 8; i++) {
		all.data[i][0] = (char)('a' + i % 26);
		all.iov[i] = (struct iovec){all.data[i], to_send ? 1 : 4};
		all.m[i].msg_hdr = (struct msghdr){.msg_iov = &all.iov[i], .msg_iovlen = 1};
		all.m[i].msg_len = 777;
	}
	return &all;
}

static const int message_types[] = {SOCK_DGRAM, SOCK_SEQPACKET};

CASE_ON_TYPES(mmsg_each_is_a_message, 0)
{
	struct many *out = many(true);

	EQ(sendmmsg(sv[0], out->m, 5, 0), 5);
	for (int i = 0; i < 6; i++)
		EQ(out->m[i].msg_len, i < 5 ? 1 : 777);
	struct many *in = many(false);
	int n = OK(recvmmsg(sv[1], in->m, 8, MSG_DONTWAIT, NULL));
	EQ(n, type == SOCK_STREAM ? 2 : 5);
	for (int i = 0; i < n && type != SOCK_STREAM; i++) {
		EQ(in->m[i].msg_len, 1);
		EQ(in->data[i][0], 'a' + i);
		EQ(in->m[i].msg_hdr.msg_flags, 0);
	}
	EQ(in->m[n].msg_len, 777);
	FAILS(recvmmsg(sv[1], in->m, 8, MSG_DONTWAIT, NULL), EAGAIN);
}

CASE_ON_TYPES(mmsg_of_none, 0)
{
	struct many *out = many(true);

	(void)type;
	EQ(sendmmsg(sv[0], out->m, 0, 0), 0);
	EQ(sendmmsg(sv[0], NULL, 0, 0), 0);
	EQ(recvmmsg(sv[0], NULL, 0, 0, NULL), 0);
	FAILS(sendmmsg(-1, out->m, 0, 0), EBADF);
	FAILS(sendmmsg(sv[0], bad_pointer(), 1, 0), EFAULT);
	FAILS(recvmmsg(sv[0], bad_pointer(), 1, MSG_DONTWAIT, NULL), EFAULT);
	FAILS(sendmmsg(sv[0], out->m, 1, (int)0x80000000), EINVAL);
	FAILS(recvmmsg(sv[0], out->m, 1, (int)0x80000000, NULL), EINVAL);
}

CASE(mmsg_sends_no_more_than_it_may, 0)
{
	int sv[2];

	if (geteuid() != 0)
		SKIP("needs a large buffer");
	unix_pair(SOCK_SEQPACKET, sv);
	/* Silently: the rest is the caller's to send. */
	OK(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUFFORCE, &(int){100000000}, sizeof(int)));
	EQ(sendmmsg(sv[0], many(true)->m, MOST + 8, 0), MOST);
	EQ(recvmmsg(sv[1], many(false)->m, MOST + 8, MSG_DONTWAIT, NULL), MOST);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE_ON_TYPES(mmsg_error_of_the_first, 0)
{
	struct many *out = many(true);

	(void)type;
	out->iov[0].iov_base = bad_pointer();
	FAILS(sendmmsg(sv[0], out->m, 3, 0), EFAULT);
	EMPTY(sv[1]);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
}

CASE_ON_TYPES(mmsg_error_of_a_later_one_is_forgotten_by_the_sender, 0)
{
	struct many *out = many(true);

	(void)type;
	out->iov[2].iov_base = bad_pointer();
	EQ(sendmmsg(sv[0], out->m, 5, 0), 2);
	EQ(out->m[2].msg_len, 777);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
	GETS(sv[1], "a");
	GETS(sv[1], "b");
	EMPTY(sv[1]);
	READY(sv[0], POLLOUT);
}

CASE_ON_TYPES(mmsg_error_of_a_later_one_is_kept_by_the_receiver, 0)
{
	struct many *in = many(false);

	put(sv[0], "abcd");
	put(sv[0], "efgh");
	put(sv[0], "ijkl");
	in->iov[1].iov_base = bad_pointer();
	EQ(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL), 1);
	BYTES(in->data[0], "abcd", 4);
	/* For whoever calls next, whatever it calls. */
	READY(sv[1], POLLIN | POLLOUT | POLLERR);
	FAILS(send(sv[1], "x", 1, MSG_DONTWAIT), EFAULT);
	READY(sv[1], POLLIN | POLLOUT);
	EQ(send(sv[1], "x", 1, MSG_DONTWAIT), 1);
	/* A message is lost with it. */
	if (type == SOCK_STREAM)
		GETS(sv[1], "efgh");
	GETS(sv[1], "ijkl");
	EMPTY(sv[1]);
}

CASE_ON_TYPES(mmsg_kept_error_is_told_first, 0)
{
	struct many *in = many(false);

	(void)type;
	put(sv[0], "abcd");
	put(sv[0], "efgh");
	put(sv[0], "ijkl");
	in->iov[1].iov_base = bad_pointer();
	EQ(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL), 1);
	in->iov[1].iov_base = in->data[1];
	FAILS(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL), EFAULT);
	TRUE(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL) >= 1);
}

CASE_ON_TYPES(mmsg_kept_error_is_an_option, 0)
{
	struct many *in = many(false);

	(void)type;
	put(sv[0], "abcd");
	put(sv[0], "efgh");
	in->iov[1].iov_base = bad_pointer();
	EQ(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL), 1);
	EQ(get_int_option(sv[1], SO_ERROR), EFAULT);
	EQ(get_int_option(sv[1], SO_ERROR), 0);
}

CASE_ON_TYPES(mmsg_end_by_emptiness_keeps_nothing, 0)
{
	struct many *in = many(false);

	(void)type;
	put(sv[0], "a");
	EQ(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL), 1);
	READY(sv[1], POLLOUT);
	EMPTY(sv[1]);
}

/* It takes the error first, also where recv() would give the data first. */
static void reset_before_messages(int type)
{
	struct many *in = many(false);
	int sv[2];

	unix_pair(type, sv);
	put(sv[0], "a");
	put(sv[1], "unread");
	OK(close(sv[0]));
	READY(sv[1], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
	FAILS(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL), ECONNRESET);
	GETS(sv[1], "a");
	AT_EOF(sv[1]);
	OK(close(sv[1]));
}

CASE(mmsg_reset_comes_before_messages_stream, 0)
{
	reset_before_messages(SOCK_STREAM);
}

CASE(mmsg_reset_comes_before_messages_seqpacket, 0)
{
	reset_before_messages(SOCK_SEQPACKET);
}

CASE_ON_TYPES(mmsg_takes_two_without_waiting, 0)
{
	struct many *in = many(false);

	put(sv[0], "abcd");
	put(sv[0], "efgh");
	/* The first may wait, the others may not. */
	EQ(recvmmsg(sv[1], in->m, 5, MSG_WAITFORONE, NULL), 2);
	(void)type;
	EMPTY(sv[1]);
}

static long receive_three(struct actor *a)
{
	return recvmmsg(a->fd, many(false)->m, 3, a->flags, NULL);
}

CASE_ON_TYPES(mmsg_waits_for_each, 0)
{
	struct actor t = {.fd = sv[1]};

	(void)type;
	actor_start(&t, receive_three);
	BLOCKED(&t);
	put(sv[0], "abcd");
	BLOCKED(&t);
	put(sv[0], "efgh");
	BLOCKED(&t);
	put(sv[0], "ijkl");
	RETURNS(&t, 3);
}

CASE_ON_TYPES(mmsg_waits_for_one, 0)
{
	struct actor t = {.fd = sv[1], .flags = MSG_WAITFORONE};

	(void)type;
	actor_start(&t, receive_three);
	BLOCKED(&t);
	put(sv[0], "abcd");
	RETURNS(&t, 1);
}

CASE_ON_TYPES(mmsg_at_the_end_of_file, 0)
{
	struct many *in = many(false);

	if (type == SOCK_DGRAM)
		OK(shutdown(sv[1], SHUT_RD));
	else
		OK(shutdown(sv[0], SHUT_WR));
	/* Each of them is the end. */
	EQ(recvmmsg(sv[1], in->m, 3, 0, NULL), 3);
	for (int i = 0; i < 3; i++)
		EQ(in->m[i].msg_len, 0);
}

CASE_ON_TYPES(mmsg_bad_time_limits, 0)
{
	struct many *in = many(false);
	struct timespec bad[] = {{0, 1000000000}, {0, -1}, {-1, 0}};

	(void)type;
	put(sv[0], "a");
	for (size_t i = 0; i < 3; i++)
		FAILS(recvmmsg(sv[1], in->m, 1, MSG_DONTWAIT, &bad[i]), EINVAL);
	FAILS(recvmmsg(sv[1], in->m, 1, MSG_DONTWAIT, bad_pointer()), EFAULT);
	GETS(sv[1], "a");
}

CASE_ON_TYPES(mmsg_time_limit_is_looked_at_after_each, 0)
{
	struct many *in = many(false);
	struct timespec none = {0, 0}, much = {1000, 0};

	(void)type;
	put(sv[0], "abcd");
	put(sv[0], "efgh");
	EQ(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, &none), 1);
	EQ(none.tv_sec, 0);
	EQ(none.tv_nsec, 0);
	put(sv[0], "ijkl");
	/* What is left of it is told. */
	EQ(recvmmsg(sv[1], in->m, 2, 0, &much), 2);
	TRUE(much.tv_sec == 999 && much.tv_nsec > 0);
}

static long receive_within_a_millisecond(struct actor *a)
{
	struct timespec limit = {0, 1000000};

	return recvmmsg(a->fd, many(false)->m, 3, 0, &limit);
}

CASE_ON_TYPES(mmsg_time_limit_does_not_end_the_wait, 0)
{
	struct actor t = {.fd = sv[1]};

	(void)type;
	actor_start(&t, receive_within_a_millisecond);
	BLOCKED(&t);
	poll(NULL, 0, 20);
	BLOCKED(&t);
	put(sv[0], "abcd");
	RETURNS(&t, 1);
}

CASE(mmsg_to_different_receivers, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), none = abstract_name("none");
	struct many *out = many(true);
	int x = bound_to(SOCK_DGRAM, &a), y = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	struct name *to[] = {&a, &b, &none, &a};
	for (int i = 0; i < 4; i++) {
		out->m[i].msg_hdr.msg_name = &to[i]->un;
		out->m[i].msg_hdr.msg_namelen = to[i]->len;
	}
	EQ(sendmmsg(s, out->m, 4, 0), 2);
	FAILS(sendmmsg(s, &out->m[2], 2, 0), ECONNREFUSED);
	EQ(sendmmsg(s, &out->m[3], 1, 0), 1);
	GETS(x, "a");
	GETS(x, "d");
	GETS(y, "b");
	OK(close(x));
	OK(close(y));
	OK(close(s));
}

CASE(mmsg_to_a_full_receiver, 0)
{
	struct name a = abstract_name("a");
	struct many *out = many(true);
	int d = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	int n = OK(sendmmsg(s, out->m, 500, MSG_DONTWAIT));
	TRUE(n >= 1 && n < 500);
	FAILS(sendmmsg(s, out->m, 500, MSG_DONTWAIT), EAGAIN);
	EQ(recvmmsg(d, many(false)->m, 500, MSG_DONTWAIT, NULL), n);
	OK(close(d));
	OK(close(s));
}

CASE(mmsg_tells_names_and_truncation, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un[3];
	struct many *in = many(false);

	for (size_t t = 0; t < 2; t++) {
		int sv[2];
		unix_pair(message_types[t], sv);
		put(sv[0], "abcdef");
		put(sv[0], "gh");
		OK(bind(sv[0], NAME(&a)));
		for (int i = 0; i < 3; i++) {
			in->m[i].msg_hdr.msg_name = &un[i];
			in->m[i].msg_hdr.msg_namelen = sizeof un[i];
		}
		EQ(recvmmsg(sv[1], in->m, 3, MSG_DONTWAIT, NULL), 2);
		EQ(in->m[0].msg_len, 4);
		EQ(in->m[0].msg_hdr.msg_flags, MSG_TRUNC);
		EQ(in->m[1].msg_len, 2);
		EQ(in->m[1].msg_hdr.msg_flags, 0);
		for (int i = 0; i < 2; i++) {
			EQ(in->m[i].msg_hdr.msg_namelen, a.len);
			BYTES(&un[i], &a.un, a.len);
		}
		EQ(in->m[2].msg_hdr.msg_namelen, sizeof un[2]);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE_ON_TYPES(mmsg_interrupted, 0)
{
	struct actor t = {.fd = sv[1]};

	(void)type;
	count_signal(SIGUSR1, 0);
	/* Without a time limit the kernel keeps a number that is no errno. */
	set_time_option(sv[1], SO_RCVTIMEO, 1000000);
	actor_start(&t, receive_three);
	BLOCKED(&t);
	put(sv[0], "abcd");
	BLOCKED(&t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS(&t, 1);
	/* The reason is kept. */
	READY(sv[1], POLLOUT | POLLERR);
	EQ(get_int_option(sv[1], SO_ERROR), EINTR);
}
