/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Descriptors in a stream: the bytes they belong to, and where reads stop because of them.
 * The order of what is checked when descriptors are sent. */
#include "ancillary.h"

static int null_file(void)
{
	return OK(open("/dev/null", O_RDWR | O_CLOEXEC));
}

/* So many descriptors with the text; 0 sends the text alone. */
static void put_rights(int fd, const char *text, int n)
{
	int file = null_file(), fds[4] = {file, file, file, file};

	if (n > 0)
		EQ(send_rights(fd, text, fds, (size_t)n), strlen(text));
	else
		put(fd, text);
	OK(close(file));
}

CASE_ON_ENDS(rights_border_after_each, 0)
{
	put_rights(sv[0], "AA", 0);
	put_rights(sv[0], "BB", 1);
	put_rights(sv[0], "CC", 0);
	put_rights(sv[0], "DD", 2);
	put_rights(sv[0], "EE", 1);
	put_rights(sv[0], "FF", 0);
	GETS_RIGHTS(sv[1], "AABB", 1);
	GETS_RIGHTS(sv[1], "CCDD", 2);
	GETS_RIGHTS(sv[1], "EE", 1);
	GETS_RIGHTS(sv[1], "FF", 0);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(rights_border_for_plain_reads, 0)
{
	char buf[32];

	put_rights(sv[0], "AA", 0);
	put_rights(sv[0], "BB", 1);
	put_rights(sv[0], "CC", 0);
	EQ(read(sv[1], buf, sizeof buf), 4);
	BYTES(buf, "AABB", 4);
	EQ(recv(sv[1], buf, sizeof buf, 0), 2);
	BYTES(buf, "CC", 2);
}

CASE_ON_ENDS(rights_come_with_the_first_byte, 0)
{
	struct received r;

	put_rights(sv[0], "BBBB", 1);
	put_rights(sv[0], "CC", 0);
	EQ(receive(sv[1], &r, 1, sizeof r.control, 0), 1);
	EQ(r.n_fds, 1);
	drop_received(&r);
	/* What is left of it is bytes like others. */
	GETS_RIGHTS(sv[1], "BBBCC", 0);
}

CASE_ON_ENDS(rights_not_before_their_first_byte, 0)
{
	struct received r;

	put_rights(sv[0], "AA", 0);
	put_rights(sv[0], "BB", 1);
	EQ(receive(sv[1], &r, 2, sizeof r.control, 0), 2);
	EQ(r.n_fds, -1);
	EQ(r.flags, 0);
	GETS_RIGHTS(sv[1], "BB", 1);
}

CASE_ON_ENDS(rights_before_and_partly, 0)
{
	struct received r;

	put_rights(sv[0], "AA", 0);
	put_rights(sv[0], "BB", 2);
	put_rights(sv[0], "CC", 1);
	EQ(receive(sv[1], &r, 3, sizeof r.control, 0), 3);
	BYTES(r.data, "AAB", 3);
	EQ(r.n_fds, 2);
	drop_received(&r);
	GETS_RIGHTS(sv[1], "BCC", 1);
}

CASE_ON_ENDS(rights_border_of_peeking, 0)
{
	struct received r;

	put_rights(sv[0], "AA", 0);
	put_rights(sv[0], "BB", 1);
	put_rights(sv[0], "CC", 0);
	for (int i = 0; i < 2; i++) {
		EQ(receive(sv[1], &r, 32, sizeof r.control, MSG_PEEK), 4);
		BYTES(r.data, "AABB", 4);
		EQ(r.n_fds, 1);
		drop_received(&r);
	}
	GETS_RIGHTS(sv[1], "AABB", 1);
	GETS_RIGHTS(sv[1], "CC", 0);
}

CASE_ON_ENDS(rights_border_stops_waitall, 0)
{
	struct received r;

	put_rights(sv[0], "AA", 0);
	put_rights(sv[0], "BB", 1);
	put_rights(sv[0], "CC", 0);
	EQ(receive(sv[1], &r, 6, sizeof r.control, MSG_WAITALL), 4);
	EQ(r.n_fds, 1);
	drop_received(&r);
	GETS(sv[1], "CC");
}

CASE_ON_ENDS(rights_stop_a_waiting_waitall, 0)
{
	struct actor t;
	char buf[8];

	start_recv(&t, sv[1], buf, sizeof buf, MSG_WAITALL);
	BLOCKED(&t);
	put_rights(sv[0], "AA", 0);
	BLOCKED(&t);
	put_rights(sv[0], "BB", 1);
	RETURNS(&t, 4);
	BYTES(buf, "AABB", 4);
}

CASE_ON_ENDS(rights_of_none_are_no_border, 0)
{
	EQ(send_rights(sv[0], "AA", NULL, 0), 2);
	EQ(send_rights(sv[0], "BB", NULL, 0), 2);
	GETS_RIGHTS(sv[1], "AABB", 0);
}

CASE_ON_ENDS(rights_ride_on_the_first_part_of_a_large_send, 0)
{
	enum { N = 100000 };
	static char out[N], in[N];
	struct control c = {.len = 0};
	_Alignas(struct cmsghdr) char control[64];
	struct iovec iov = {out, N};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int p[2];

	watched_pipe(p);
	control_rights(&c, &p[1], 1);
	m.msg_control = c.bytes;
	m.msg_controllen = c.len;
	EQ(sendmsg(sv[0], &m, 0), N);
	OK(close(p[1]));
	iov.iov_base = in;
	m.msg_control = control;
	m.msg_controllen = sizeof control;
	EQ(recvmsg(sv[1], &m, MSG_DONTWAIT), 36544);
	EQ(m.msg_controllen, CMSG_SPACE(sizeof(int)));
	int fd;
	memcpy(&fd, CMSG_DATA((struct cmsghdr *)(void *)control), sizeof fd);
	OK(close(fd));
	DROPPED(p);
	m.msg_controllen = sizeof control;
	EQ(recvmsg(sv[1], &m, MSG_DONTWAIT), N - 36544);
	EQ(m.msg_controllen, 0);
	EQ(m.msg_flags, 0);
	OK(close(p[0]));
}

CASE_ON_ENDS(rights_of_peek_off, 0)
{
	struct received r;

	put_rights(sv[0], "AB", 1);
	put_rights(sv[0], "CD", 0);
	set_int_option(sv[1], SO_PEEK_OFF, 1);
	EQ(receive(sv[1], &r, 32, sizeof r.control, MSG_PEEK), 1);
	BYTES(r.data, "B", 1);
	EQ(r.n_fds, 1);
	drop_received(&r);
	EQ(receive(sv[1], &r, 32, sizeof r.control, MSG_PEEK), 2);
	BYTES(r.data, "CD", 2);
	EQ(r.n_fds, -1);
	GETS_RIGHTS(sv[1], "AB", 1);
	GETS_RIGHTS(sv[1], "CD", 0);
}

/* In messages the descriptors stay with theirs. */
static void messages_keep_their_own(int type)
{
	struct received r;
	int sv[2];

	unix_pair(type, sv);
	put_rights(sv[0], "AA", 0);
	put_rights(sv[0], "BB", 1);
	put_rights(sv[0], "CC", 2);
	GETS_RIGHTS(sv[1], "AA", 0);
	EQ(receive(sv[1], &r, 1, sizeof r.control, 0), 1);
	EQ(r.n_fds, 1);
	EQ(r.flags, MSG_TRUNC);
	drop_received(&r);
	GETS_RIGHTS(sv[1], "CC", 2);
	EMPTY(sv[1]);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(rights_of_messages_dgram, 0)
{
	messages_keep_their_own(SOCK_DGRAM);
}

CASE(rights_of_messages_seqpacket, 0)
{
	messages_keep_their_own(SOCK_SEQPACKET);
}

CASE(rights_come_to_a_reader_of_nothing, 0)
{
	struct received r;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	put_rights(sv[0], "A", 1);
	/* They come when their bytes are reached, also by who takes none of those. */
	EQ(receive(sv[1], &r, 0, sizeof r.control, MSG_DONTWAIT), 0);
	EQ(r.n_fds, 1);
	drop_received(&r);
	GETS_RIGHTS(sv[1], "A", 0);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

/* Order of the checks. */

CASE_ON_TYPES(rights_checked_before_the_rest, 0)
{
	struct control bad = {.len = 0};

	control_rights(&bad, (int[]){-1}, 1);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(send_control(sv[0], "a", &bad, MSG_NOSIGNAL), EBADF);
	if (type != SOCK_STREAM)
		FAILS(send_control(sv[0], "a", &bad, MSG_OOB), EBADF);
	else
		FAILS(send_control(sv[0], "", &bad, MSG_OOB), EBADF);
}

static ssize_t send_item_of_unknown_type(int fd)
{
	struct control c = {.len = 0};

	control_add(&c, 77, NULL, 0);
	return send_control(fd, "a", &c, 0);
}

CASE(rights_checked_before_the_peer, 0)
{
	int d = unix_socket(SOCK_DGRAM), s = unix_socket(SOCK_STREAM), q = unix_socket(SOCK_SEQPACKET);

	FAILS(send_right(d, "a", -1), EBADF);
	FAILS(send_right(s, "a", -1), EBADF);
	FAILS(send_right(d, "a", d), ENOTCONN);
	FAILS(send_right(s, "a", d), ENOTCONN);
	/* A sequence of packets is asked first whether it is one. */
	FAILS(send_right(q, "a", -1), ENOTCONN);
	FAILS(send_item_of_unknown_type(q), ENOTCONN);
	FAILS(send_item_of_unknown_type(d), EINVAL);
	OK(close(d));
	OK(close(s));
	OK(close(q));
}

CASE(rights_checked_after_a_stored_error, 0)
{
	int sv[2];

	/* Taken first by a sequence of packets. */
	unix_pair(SOCK_SEQPACKET, sv);
	put(sv[0], "a");
	OK(close(sv[1]));
	FAILS(send_right(sv[0], "a", -1), ECONNRESET);
	FAILS(send_right(sv[0], "a", -1), EBADF);
	FAILS(send_right(sv[0], "a", sv[0]), EPIPE);
	OK(close(sv[0]));
	/* By datagrams after the control data. */
	unix_pair(SOCK_DGRAM, sv);
	OK(close(sv[1]));
	FAILS(send_right(sv[0], "a", -1), EBADF);
	FAILS(send_right(sv[0], "a", sv[0]), ECONNREFUSED);
	FAILS(send_right(sv[0], "a", sv[0]), ENOTCONN);
	OK(close(sv[0]));
}

CASE(rights_to_a_full_buffer, 0)
{
	int sv[2], p[2];

	unix_pair(SOCK_STREAM, sv);
	watched_pipe(p);
	fill(sv[0], 4000);
	FAILS(send_right(sv[0], "a", p[1]), EAGAIN);
	FAILS(send_right(sv[0], "a", -1), EBADF);
	set_int_option(sv[1], OPT_PASSRIGHTS, 0);
	/* Room comes before the receiver's wish. */
	FAILS(send_right(sv[0], "a", p[1]), EAGAIN);
	OK(close(p[1]));
	DROPPED(p);
	OK(close(p[0]));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(rights_to_a_receiver_that_refuses_all, 0)
{
	int sv[2], fd = null_file();

	/* Shut or dead comes before unwilling, for messages. */
	unix_pair(SOCK_DGRAM, sv);
	set_int_option(sv[1], OPT_PASSRIGHTS, 0);
	OK(shutdown(sv[1], SHUT_RD));
	FAILS(send_right(sv[0], "a", fd), EPIPE);
	OK(close(sv[1]));
	FAILS(send_right(sv[0], "a", fd), ECONNREFUSED);
	OK(close(sv[0]));
	OK(close(fd));
}

CASE_ON_TYPES(rights_with_bad_data_are_dropped, 0)
{
	struct iovec iov = {bad_pointer(), 8};
	struct control c = {.len = 0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int p[2];

	(void)type;
	watched_pipe(p);
	control_rights(&c, &p[1], 1);
	m.msg_control = c.bytes;
	m.msg_controllen = c.len;
	set_int_option(sv[1], OPT_PASSRIGHTS, 0);
	/* Also before the receiver's wish. */
	FAILS(sendmsg(sv[0], &m, 0), EFAULT);
	OK(close(p[1]));
	DROPPED(p);
	EMPTY(sv[1]);
	OK(close(p[0]));
}

CASE(rights_too_large_a_message, 0)
{
	static char big[212961];
	struct iovec iov = {big, sizeof big};
	struct control c = {.len = 0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int p[2], sv[2];

	unix_pair(SOCK_DGRAM, sv);
	set_int_option(sv[0], SO_SNDBUF, 100000);
	watched_pipe(p);
	control_rights(&c, &p[1], 1);
	m.msg_control = c.bytes;
	m.msg_controllen = c.len;
	FAILS(sendmsg(sv[0], &m, 0), EMSGSIZE);
	OK(close(p[1]));
	DROPPED(p);
	OK(close(p[0]));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

/* A message to nobody in particular. */

CASE(rights_by_name, 0)
{
	struct name a = abstract_name("a");
	struct control c = {.len = 0};
	struct iovec iov = {(char[]){'a'}, 1};
	int d = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), p[2];

	watched_pipe(p);
	control_rights(&c, &p[1], 1);
	struct msghdr m = {.msg_name = &a.un,
			   .msg_namelen = a.len,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = c.bytes,
			   .msg_controllen = c.len};
	EQ(sendmsg(s, &m, 0), 1);
	GETS_RIGHTS(d, "a", 1);
	set_int_option(d, OPT_PASSRIGHTS, 0);
	FAILS(sendmsg(s, &m, 0), EPERM);
	OK(close(d));
	FAILS(sendmsg(s, &m, 0), ECONNREFUSED);
	OK(close(p[1]));
	DROPPED(p);
	OK(close(p[0]));
	OK(close(s));
}

CASE(rights_purged_with_the_queue, 0)
{
	int p[2], sv[2];

	/* A datagram socket that leaves its peer forgets what it had from it. */
	unix_pair(SOCK_DGRAM, sv);
	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	OK(close(p[1]));
	HELD(p);
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	OK(connect(sv[1], &none, sizeof none));
	DROPPED(p);
	OK(close(p[0]));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(rights_before_accept, 0)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

	for (size_t i = 0; i < 2; i++) {
		struct name a = abstract_name("a");
		int p[2], l = listen_at(types[i], &a, 5), c = connect_to(types[i], &a);
		watched_pipe(p);
		EQ(send_right(c, "a", p[1]), 1);
		HELD(p);
		int s = OK(accept(l, NULL, NULL));
		GETS_RIGHTS(s, "a", 1);
		OK(close(s));
		/* Never accepted: closed with the listener. */
		int d = connect_to(types[i], &a);
		EQ(send_right(d, "a", p[1]), 1);
		OK(close(p[1]));
		HELD(p);
		OK(close(l));
		DROPPED(p);
		OK(close(c));
		OK(close(d));
		OK(close(p[0]));
	}
}

CASE(rights_of_an_unwilling_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), fd = null_file();
	int before = connect_to(SOCK_STREAM, &a);

	set_int_option(l, OPT_PASSRIGHTS, 0);
	int after = connect_to(SOCK_STREAM, &a);
	/* What counts is the option when the client connected. */
	EQ(send_right(before, "a", fd), 1);
	FAILS(send_right(after, "a", fd), EPERM);
	int s = OK(accept(l, NULL, NULL)), t = OK(accept(l, NULL, NULL));
	EQ(get_int_option(s, OPT_PASSRIGHTS), 1);
	EQ(get_int_option(t, OPT_PASSRIGHTS), 0);
	GETS_RIGHTS(s, "a", 1);
	OK(close(before));
	OK(close(after));
	OK(close(s));
	OK(close(t));
	OK(close(l));
	OK(close(fd));
}

/* Several messages at once. */

CASE_ON_TYPES(rights_by_sendmmsg, 0)
{
	struct control c[3] = {{.len = 0}, {.len = 0}, {.len = 0}};
	struct iovec iov[3] = {{(char[]){'a'}, 1}, {(char[]){'b'}, 1}, {(char[]){'c'}, 1}};
	struct mmsghdr m[3] = {0};
	int fd = null_file();

	(void)type;
	for (int i = 0; i < 3; i++) {
		control_rights(&c[i], (int[]){i == 2 ? -1 : fd}, 1);
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
					       .msg_iovlen = 1,
					       .msg_control = c[i].bytes,
					       .msg_controllen = c[i].len};
	}
	EQ(sendmmsg(sv[0], m, 3, 0), 2);
	FAILS(sendmmsg(sv[0], &m[2], 1, 0), EBADF);
	GETS_RIGHTS(sv[1], "a", 1);
	GETS_RIGHTS(sv[1], "b", 1);
	EMPTY(sv[1]);
	OK(close(fd));
}

CASE_ON_TYPES(rights_by_recvmmsg, 0)
{
	_Alignas(struct cmsghdr) char control[2][64];
	char data[2][8];
	struct iovec iov[2] = {{data[0], 8}, {data[1], 8}};
	struct mmsghdr m[2] = {0};

	(void)type;
	put_rights(sv[0], "a", 1);
	put_rights(sv[0], "b", 2);
	for (int i = 0; i < 2; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
					       .msg_iovlen = 1,
					       .msg_control = control[i],
					       .msg_controllen = sizeof control[i]};
	EQ(recvmmsg(sv[1], m, 2, MSG_DONTWAIT, NULL), 2);
	for (int i = 0; i < 2; i++) {
		int fds[2];
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&m[i].msg_hdr);
		TRUE(cmsg != NULL);
		EQ(cmsg->cmsg_len, CMSG_LEN((size_t)(i + 1) * sizeof(int)));
		memcpy(fds, CMSG_DATA(cmsg), (size_t)(i + 1) * sizeof(int));
		for (int j = 0; j <= i; j++)
			OK(close(fds[j]));
	}
}
