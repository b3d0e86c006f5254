/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* sendmmsg() and recvmmsg() on datagram and seqpacket sockets. */
#include "conform.h"

/* Headers over texts or buffers, one part each. */
struct batch {
	struct mmsghdr m[8];
	struct iovec iov[8];
	char buf[8][8];
};

static void batch_of(struct batch *b, const char *const *texts, int n)
{
	memset(b, 0, sizeof *b);
	for (int i = 0; i < n; i++) {
		size_t len = texts ? strlen(texts[i]) : sizeof b->buf[i];

		if (texts)
			memcpy(b->buf[i], texts[i], len);
		b->iov[i] = (struct iovec){b->buf[i], len};
		b->m[i].msg_hdr = (struct msghdr){.msg_iov = &b->iov[i], .msg_iovlen = 1};
	}
}

static const char *const texts[] = {"one", "", "three", "four", "five", "six", "seven", "eight"};

CASE_ON_MESSAGES(mmsg_borders, 0)
{
	struct batch b;

	batch_of(&b, texts, 4);
	EQ(sendmmsg(sv[0], b.m, 4, 0), 4);
	for (int i = 0; i < 4; i++)
		EQ(b.m[i].msg_len, strlen(texts[i]));
	batch_of(&b, NULL, 8);
	EQ(recvmmsg(sv[1], b.m, 8, MSG_DONTWAIT, NULL), 4);
	for (int i = 0; i < 4; i++) {
		EQ(b.m[i].msg_len, strlen(texts[i]));
		BYTES(b.buf[i], texts[i], b.m[i].msg_len);
	}
	FAILS(recvmmsg(sv[1], b.m, 8, MSG_DONTWAIT, NULL), EAGAIN);
}

CASE_ON_MESSAGES(mmsg_none, 0)
{
	struct batch b;

	batch_of(&b, texts, 1);
	EQ(sendmmsg(sv[0], b.m, 0, 0), 0);
	EMPTY(sv[1]);
	EQ(recvmmsg(sv[1], b.m, 0, 0, NULL), 0);
}

CASE_ON_MESSAGES(mmsg_fewer_than_there_are, 0)
{
	struct batch b;

	batch_of(&b, texts, 4);
	EQ(sendmmsg(sv[0], b.m, 4, 0), 4);
	batch_of(&b, NULL, 8);
	EQ(recvmmsg(sv[1], b.m, 3, 0, NULL), 3);
	MESSAGE(sv[1], "four");
}

CASE_ON_MESSAGES(mmsg_truncation_shows_for_each, 0)
{
	struct batch b;

	batch_of(&b, texts, 3);
	EQ(sendmmsg(sv[0], b.m, 3, 0), 3);
	batch_of(&b, NULL, 3);
	b.iov[0].iov_len = 2;
	EQ(recvmmsg(sv[1], b.m, 3, 0, NULL), 3);
	EQ(b.m[0].msg_len, 2);
	EQ(b.m[0].msg_hdr.msg_flags, MSG_TRUNC);
	EQ(b.m[1].msg_hdr.msg_flags, 0);
	EQ(b.m[2].msg_hdr.msg_flags, 0);
}

CASE_ON_MESSAGES(mmsg_stops_at_a_full_buffer, 0)
{
	struct batch b;

	set_int_option(sv[0], SO_SNDBUF, 1);
	batch_of(&b, texts, 8);
	EQ(sendmmsg(sv[0], b.m, 8, MSG_DONTWAIT), 6);
	FAILS(sendmmsg(sv[0], b.m, 8, MSG_DONTWAIT), EAGAIN);
	EQ(take_messages(sv[1]), 6);
}

CASE_ON_MESSAGES(mmsg_error_after_some_is_a_count, 0)
{
	struct batch b;

	batch_of(&b, texts, 3);
	b.iov[1].iov_base = bad_pointer();
	b.iov[1].iov_len = 4;
	EQ(sendmmsg(sv[0], b.m, 3, 0), 1);
	FAILS(sendmmsg(sv[0], b.m + 1, 2, 0), EFAULT);
	MESSAGE(sv[1], "one");
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(mmsg_receive_error_after_some_is_kept, 0)
{
	struct batch b;

	batch_of(&b, texts, 3);
	EQ(sendmmsg(sv[0], b.m, 3, 0), 3);
	EQ(tell(sv[0], "last"), 4);
	batch_of(&b, NULL, 3);
	b.iov[2].iov_base = bad_pointer();
	EQ(recvmmsg(sv[1], b.m, 3, 0, NULL), 2);
	/* For the next call, whichever it is. */
	READY(sv[1], POLLIN | POLLOUT | POLLERR);
	FAILS(tell(sv[1], "x"), EFAULT);
	READY(sv[1], POLLIN | POLLOUT);
	MESSAGE(sv[1], "last");
}

CASE_ON_MESSAGES(mmsg_receive_error_at_once, 0)
{
	struct batch b;

	EQ(tell(sv[0], "lost"), 4);
	batch_of(&b, NULL, 3);
	b.iov[0].iov_base = bad_pointer();
	FAILS(recvmmsg(sv[1], b.m, 3, 0, NULL), EFAULT);
	EQ(get_int_option(sv[1], SO_ERROR), 0);
}

CASE_ON_MESSAGES(mmsg_eagain_after_some_is_not_kept, 0)
{
	struct batch b;

	EQ(tell(sv[0], "x"), 1);
	batch_of(&b, NULL, 3);
	EQ(recvmmsg(sv[1], b.m, 3, MSG_DONTWAIT, NULL), 1);
	EQ(get_int_option(sv[1], SO_ERROR), 0);
}

CASE_ON_MESSAGES(mmsg_wait_for_one, 0)
{
	struct batch b;

	batch_of(&b, texts, 3);
	EQ(sendmmsg(sv[0], b.m, 3, 0), 3);
	batch_of(&b, NULL, 8);
	EQ(recvmmsg(sv[1], b.m, 8, MSG_WAITFORONE, NULL), 3);
}

static long receive_five(struct actor *a)
{
	return recvmmsg(a->fd, a->buf, 5, a->flags, NULL);
}

CASE_ON_MESSAGES(mmsg_waits_for_all, 0)
{
	struct batch b;
	struct actor t = {.fd = sv[1], .buf = b.m};

	batch_of(&b, NULL, 8);
	EQ(tell(sv[0], "1"), 1);
	actor_start(&t, receive_five);
	BLOCKED(&t);
	for (int i = 0; i < 3; i++) {
		EQ(tell(sv[0], "x"), 1);
		BLOCKED(&t);
	}
	EQ(tell(sv[0], "5"), 1);
	RETURNS(&t, 5);
	BYTES(b.buf[0], "1", 1);
	BYTES(b.buf[4], "5", 1);
}

CASE_ON_MESSAGES(mmsg_wait_for_one_waits_for_one, 0)
{
	struct batch b;
	struct actor t = {.fd = sv[1], .buf = b.m, .flags = MSG_WAITFORONE};

	batch_of(&b, NULL, 8);
	actor_start(&t, receive_five);
	BLOCKED(&t);
	EQ(tell(sv[0], "1"), 1);
	RETURNS(&t, 1);
}

CASE_ON_MESSAGES(mmsg_timeout_is_looked_at_after_messages, 0)
{
	struct batch b;
	struct timespec none = {0, 0}, bad = {0, 1000000000}, negative = {-1, 0}, plenty = {100, 0};

	batch_of(&b, texts, 3);
	EQ(sendmmsg(sv[0], b.m, 3, 0), 3);
	batch_of(&b, NULL, 8);
	FAILS(recvmmsg(sv[1], b.m, 3, 0, &bad), EINVAL);
	FAILS(recvmmsg(sv[1], b.m, 3, 0, &negative), EINVAL);
	EQ(recvmmsg(sv[1], b.m, 3, 0, &none), 1);
	EQ(none.tv_sec, 0);
	EQ(none.tv_nsec, 0);
	/* What is left comes back. */
	EQ(recvmmsg(sv[1], b.m, 2, 0, &plenty), 2);
	TRUE(plenty.tv_sec < 100 && plenty.tv_sec > 80);
}

CASE(mmsg_to_several_names, 0)
{
	struct name a = abstract_name("a"), c = abstract_name("c"), none = abstract_name("none");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &c), s = unix_socket(SOCK_DGRAM);
	struct name *to[] = {&a, &c, &none, &a};
	struct batch b;

	batch_of(&b, texts, 4);
	for (int i = 0; i < 4; i++) {
		b.m[i].msg_hdr.msg_name = &to[i]->un;
		b.m[i].msg_hdr.msg_namelen = to[i]->len;
	}
	EQ(sendmmsg(s, b.m, 4, 0), 2);
	FAILS(sendmmsg(s, b.m + 2, 2, 0), ECONNREFUSED);
	MESSAGE(r, "one");
	MESSAGE(q, "");
	EMPTY(r);
	OK(close(r));
	OK(close(q));
	OK(close(s));
}

CASE(mmsg_tells_each_sender, 0)
{
	struct name a = abstract_name("a"), c = abstract_name("c");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &c), t = unix_socket(SOCK_DGRAM);
	struct sockaddr_un un[2];
	struct batch b;

	EQ(send_to(s, &a, "named"), 5);
	EQ(send_to(t, &a, "unnamed"), 7);
	batch_of(&b, NULL, 2);
	for (int i = 0; i < 2; i++) {
		b.m[i].msg_hdr.msg_name = &un[i];
		b.m[i].msg_hdr.msg_namelen = sizeof un[i];
	}
	EQ(recvmmsg(r, b.m, 2, 0, NULL), 2);
	EQ(b.m[0].msg_hdr.msg_namelen, c.len);
	BYTES(&un[0], &c.un, c.len);
	EQ(b.m[1].msg_hdr.msg_namelen, 0);
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(mmsg_stops_at_a_full_queue, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);
	struct batch b;

	need_default_queue();
	batch_of(&b, texts, 8);
	EQ(sendmmsg(s, b.m, 8, MSG_DONTWAIT), 8);
	EQ(sendmmsg(s, b.m, 8, MSG_DONTWAIT), 3);
	FAILS(sendmmsg(s, b.m, 8, MSG_DONTWAIT), EAGAIN);
	OK(close(r));
	OK(close(s));
}

CASE_ON_DGRAM(mmsg_receive_takes_the_error_first, 0)
{
	struct batch b;

	EQ(tell(sv[1], "kept"), 4);
	EQ(tell(sv[0], "unread"), 6);
	dissolve(sv[1]);
	batch_of(&b, NULL, 2);
	FAILS(recvmmsg(sv[0], b.m, 2, 0, NULL), ECONNRESET);
	EQ(recvmmsg(sv[0], b.m, 2, MSG_DONTWAIT, NULL), 1);
}

CASE_ON_SEQPACKET(mmsg_end_fills_the_rest, 0)
{
	struct batch b;

	EQ(tell(sv[0], "last"), 4);
	close_end(&sv[0]);
	batch_of(&b, NULL, 3);
	/* Every further one is an end. */
	EQ(recvmmsg(sv[1], b.m, 3, 0, NULL), 3);
	EQ(b.m[0].msg_len, 4);
	EQ(b.m[1].msg_len, 0);
	EQ(b.m[2].msg_len, 0);
}

CASE(mmsg_unconnected, 0)
{
	int d = unix_socket(SOCK_DGRAM), q = unix_socket(SOCK_SEQPACKET);
	struct batch b;

	batch_of(&b, texts, 2);
	FAILS(sendmmsg(d, b.m, 2, 0), ENOTCONN);
	FAILS(sendmmsg(q, b.m, 2, 0), ENOTCONN);
	FAILS(recvmmsg(d, b.m, 2, MSG_DONTWAIT, NULL), EAGAIN);
	FAILS(recvmmsg(q, b.m, 2, MSG_DONTWAIT, NULL), ENOTCONN);
	OK(close(d));
	OK(close(q));
}
