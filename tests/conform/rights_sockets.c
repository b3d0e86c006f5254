/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Sockets of the family as descriptors under way: what state they bring along, what they are
 * while nobody has them, what becomes of them when the message is dropped.  Loops and limits
 * are in rights_garbage.c. */
#include "ancillary.h"

static const int stream_like[] = {SOCK_STREAM, SOCK_SEQPACKET};
static const int all_types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};

/* Gives the descriptor away: only the message has it afterwards. */
static void hand_over(int carrier, int *fd)
{
	EQ(send_right(carrier, "h", *fd), 1);
	close_end(fd);
}

static int take(int carrier)
{
	return TAKE_RIGHT(carrier, "h");
}

CASE_ON_TYPES(passed_socket_works_at_once, 0)
{
	for (size_t i = 0; i < 3; i++) {
		int x[2];
		unix_pair(all_types[i], x);
		hand_over(sv[0], &x[1]);
		int fd = take(sv[1]);
		EQ(get_int_option(fd, SO_TYPE), all_types[i]);
		READY(fd, POLLOUT);
		READY(x[0], POLLOUT);
		put(fd, "there");
		GETS(x[0], "there");
		put(x[0], "back");
		READY(fd, POLLIN | POLLOUT);
		GETS(fd, "back");
		OK(close(fd));
		OK(close(x[0]));
	}
	(void)type;
}

CASE_ON_TYPES(passed_socket_brings_its_queue, 0)
{
	for (size_t i = 0; i < 3; i++) {
		int x[2];
		unix_pair(all_types[i], x);
		put(x[0], "before");
		put(x[1], "of its own");
		hand_over(sv[0], &x[1]);
		GETS(x[0], "of its own");
		put(x[0], "under way");
		int fd = take(sv[1]);
		GETS(fd, "before");
		GETS(fd, "under way");
		EMPTY(fd);
		put(x[0], "after");
		GETS(fd, "after");
		OK(close(fd));
		OK(close(x[0]));
	}
	(void)type;
}

CASE_ON_TYPES(passed_socket_half_read, 0)
{
	int x[2];
	char c;

	(void)type;
	unix_pair(SOCK_STREAM, x);
	put(x[0], "abc");
	EQ(read(x[1], &c, 1), 1);
	hand_over(sv[0], &x[1]);
	int fd = take(sv[1]);
	GETS(fd, "bc");
	OK(close(fd));
	OK(close(x[0]));
}

CASE_ON_TYPES(passed_socket_under_way_shows_no_hangup, 0)
{
	for (size_t i = 0; i < 3; i++) {
		int x[2];
		unix_pair(all_types[i], x);
		hand_over(sv[0], &x[1]);
		READY(x[0], POLLOUT);
		EMPTY(x[0]);
		put(x[0], "a");
		EQ(get_int_option(x[0], SO_ERROR), 0);
		OK(close(take(sv[1])));
		OK(close(x[0]));
	}
	(void)type;
}

CASE_ON_TYPES(passed_socket_is_a_duplicate, 0)
{
	int x[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	EQ(send_right(sv[0], "h", x[1]), 1);
	int fd = take(sv[1]);
	TRUE(fd != x[1]);
	SAME_FILE(fd, x[1]);
	/* One open file: status flags, options and shutdown are common, close-on-exec is not. */
	set_nonblocking(fd, true);
	EQ(fcntl(x[1], F_GETFL), O_RDWR | O_NONBLOCK);
	set_int_option(x[1], SO_KEEPALIVE, 1);
	EQ(get_int_option(fd, SO_KEEPALIVE), 1);
	OK(fcntl(fd, F_SETFD, FD_CLOEXEC));
	EQ(fcntl(x[1], F_GETFD), 0);
	put(x[0], "ab");
	GETS(x[1], "a");
	GETS(fd, "b");
	OK(shutdown(fd, SHUT_WR));
	FAILS(send(x[1], "a", 1, MSG_NOSIGNAL), EPIPE);
	/* The last one that is closed ends it. */
	close_end(&x[1]);
	READY(x[0], POLLIN | POLLOUT | POLLRDHUP);
	OK(close(fd));
	READY(x[0], POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
	OK(close(x[0]));
}

CASE_ON_TYPES(passed_socket_keeps_flags_and_options, 0)
{
	int x[2], fd;

	(void)type;
	unix_pair(SOCK_STREAM, x);
	set_nonblocking(x[1], true);
	set_int_option(x[1], SO_RCVLOWAT, 5);
	set_int_option(x[1], SO_SNDBUF, 10000);
	OK(fcntl(x[1], F_SETFD, FD_CLOEXEC));
	hand_over(sv[0], &x[1]);
	fd = take(sv[1]);
	EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
	EQ(fcntl(fd, F_GETFD), 0);
	EQ(get_int_option(fd, SO_RCVLOWAT), 5);
	EQ(get_int_option(fd, SO_SNDBUF), 20000);
	FAILS(read_one(fd), EAGAIN);
	OK(close(fd));
	OK(close(x[0]));
}

CASE(passed_socket_close_on_exec, 0)
{
	struct received r;
	int sv[2], x[2];

	unix_pair(SOCK_STREAM, sv);
	unix_pair(SOCK_STREAM, x);
	EQ(send_rights(sv[0], "h", x, 2), 1);
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_CMSG_CLOEXEC), 1);
	EQ(r.n_fds, 2);
	EQ(fcntl(r.fds[0], F_GETFD), FD_CLOEXEC);
	EQ(fcntl(r.fds[1], F_GETFD), FD_CLOEXEC);
	EQ(fcntl(x[0], F_GETFD), 0);
	drop_received(&r);
	for (int i = 0; i < 2; i++) {
		OK(close(x[i]));
		OK(close(sv[i]));
	}
}

CASE_ON_TYPES(passed_socket_half_closed, 0)
{
	for (size_t i = 0; i < 2; i++) {
		int x[2];
		unix_pair(stream_like[i], x);
		OK(shutdown(x[1], SHUT_WR));
		hand_over(sv[0], &x[1]);
		READY(x[0], POLLIN | POLLOUT | POLLRDHUP);
		put(x[0], "a");
		int fd = take(sv[1]);
		READY(fd, POLLIN | POLLOUT);
		FAILS(send(fd, "a", 1, MSG_NOSIGNAL), EPIPE);
		GETS(fd, "a");
		OK(close(fd));
		OK(close(x[0]));
	}
	(void)type;
}

CASE_ON_TYPES(passed_socket_whose_peer_is_gone, 0)
{
	int x[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	put(x[0], "last words");
	hand_over(sv[0], &x[1]);
	/* Gone while it was under way. */
	OK(close(x[0]));
	int fd = take(sv[1]);
	GETS(fd, "last words");
	READY(fd, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
	AT_EOF(fd);
	OK(close(fd));
}

CASE_ON_TYPES(passed_socket_with_a_stored_error, 0)
{
	int x[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	put(x[1], "unread");
	hand_over(sv[0], &x[1]);
	OK(close(x[0]));
	int fd = take(sv[1]);
	READY(fd, POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
	FAILS(read_one(fd), ECONNRESET);
	EQ(read_one(fd), 0);
	OK(close(fd));
}

CASE_ON_TYPES(passed_socket_that_is_nothing_yet, 0)
{
	struct name a = abstract_name("a");

	(void)type;
	for (size_t i = 0; i < 2; i++) {
		int l = listen_at(stream_like[i], &a, 5), fd = unix_socket(stream_like[i]);
		hand_over(sv[0], &fd);
		fd = take(sv[1]);
		READY(fd, POLLOUT | POLLHUP);
		OK(connect(fd, NAME(&a)));
		int s = OK(accept(l, NULL, NULL));
		put(fd, "hello");
		GETS(s, "hello");
		OK(close(s));
		OK(close(l));
		OK(close(fd));
	}
}

CASE_ON_TYPES(passed_socket_bound_only, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = sizeof un;

	(void)type;
	int fd = bound_to(SOCK_STREAM, &a);
	hand_over(sv[0], &fd);
	fd = take(sv[1]);
	OK(getsockname(fd, ANY(&un), &len));
	EQ(len, a.len);
	BYTES(&un, &a.un, a.len);
	OK(listen(fd, 5));
	int c = connect_to(SOCK_STREAM, &a), s = OK(accept(fd, NULL, NULL));
	put(c, "hello");
	GETS(s, "hello");
	OK(close(c));
	OK(close(s));
	OK(close(fd));
}

CASE_ON_TYPES(passed_listener_with_its_backlog, 0)
{
	struct name a = abstract_name("a");

	(void)type;
	for (size_t i = 0; i < 2; i++) {
		int l = listen_at(stream_like[i], &a, 5);
		int before = connect_to(stream_like[i], &a);
		put(before, "before");
		hand_over(sv[0], &l);
		/* It goes on while nobody has it. */
		int during = connect_to(stream_like[i], &a);
		put(during, "during");
		l = take(sv[1]);
		READY(l, POLLIN);
		EQ(get_int_option(l, SO_ACCEPTCONN), 1);
		int after = connect_to(stream_like[i], &a);
		int s = OK(accept(l, NULL, NULL)), t = OK(accept(l, NULL, NULL)),
		    u = OK(accept(l, NULL, NULL));
		GETS(s, "before");
		GETS(t, "during");
		put(after, "after");
		GETS(u, "after");
		int all[] = {l, before, during, after, s, t, u};
		for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
			OK(close(all[j]));
	}
}

CASE_ON_TYPES(passed_listener_at_a_path, 0)
{
	struct name a = path_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	(void)type;
	hand_over(sv[0], &l);
	int c = connect_to(SOCK_STREAM, &a);
	l = take(sv[1]);
	int s = OK(accept(l, NULL, NULL));
	put(s, "hello");
	GETS(c, "hello");
	OK(close(c));
	OK(close(s));
	OK(close(l));
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	OK(close(fd));
	EQ(unlink("a"), 0);
}

CASE_ON_TYPES(passed_listener_keeps_its_name, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), fd = unix_socket(SOCK_STREAM);

	(void)type;
	hand_over(sv[0], &l);
	FAILS(bind(fd, NAME(&a)), EADDRINUSE);
	/* Dropped unread: the name is free at once. */
	GETS(sv[1], "h");
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	OK(bind(fd, NAME(&a)));
	OK(close(fd));
}

CASE_ON_TYPES(passed_listener_dropped_resets_who_waits, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	(void)type;
	hand_over(sv[0], &l);
	int c = connect_to(SOCK_STREAM, &a);
	READY(c, POLLOUT);
	GETS(sv[1], "h");
	FAILS(recv(c, (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	AT_EOF(c);
	OK(close(c));
}

CASE_ON_TYPES(passed_datagram_socket_by_name, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	(void)type;
	EQ(sendto(s, "1", 1, 0, NAME(&a)), 1);
	hand_over(sv[0], &d);
	EQ(sendto(s, "2", 1, 0, NAME(&a)), 1);
	d = take(sv[1]);
	EQ(sendto(s, "3", 1, 0, NAME(&a)), 1);
	GETS(d, "1");
	GETS(d, "2");
	GETS(d, "3");
	EMPTY(d);
	hand_over(sv[0], &d);
	close_end(&sv[1]);
	FAILS(sendto(s, "4", 1, 0, NAME(&a)), ECONNREFUSED);
	OK(close(s));
}

CASE_ON_TYPES(passed_socket_dropped_is_closed, 0)
{
	(void)type;
	for (size_t i = 0; i < 2; i++) {
		int x[2];
		unix_pair(stream_like[i], x);
		hand_over(sv[0], &x[1]);
		READY(x[0], POLLOUT);
		GETS(sv[1], "h");
		READY(x[0], POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
		AT_EOF(x[0]);
		OK(close(x[0]));
	}
}

CASE_ON_TYPES(passed_socket_dropped_with_unread_data_resets, 0)
{
	(void)type;
	for (size_t i = 0; i < 2; i++) {
		int x[2];
		unix_pair(stream_like[i], x);
		put(x[0], "unread");
		put(x[1], "said before");
		hand_over(sv[0], &x[1]);
		GETS(sv[1], "h");
		if (stream_like[i] == SOCK_STREAM)
			GETS(x[0], "said before");
		FAILS(recv(x[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
		if (stream_like[i] != SOCK_STREAM)
			GETS(x[0], "said before");
		AT_EOF(x[0]);
		OK(close(x[0]));
	}
}

CASE_ON_TYPES(passed_socket_dropped_with_the_receiver, 0)
{
	int x[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	hand_over(sv[0], &x[1]);
	EMPTY(x[0]);
	close_end(&sv[1]);
	AT_EOF(x[0]);
	OK(close(x[0]));
}

CASE_ON_TYPES(passed_sockets_cut_off_are_closed, 0)
{
	struct received r;
	int x[2], y[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	unix_pair(SOCK_STREAM, y);
	EQ(send_rights(sv[0], "h", (int[]){x[1], y[1]}, 2), 1);
	close_end(&x[1]);
	close_end(&y[1]);
	EQ(receive(sv[1], &r, 8, 20, MSG_DONTWAIT), 1);
	EQ(r.n_fds, 1);
	EQ(r.flags, MSG_CTRUNC);
	AT_EOF(y[0]);
	EMPTY(x[0]);
	put(r.fds[0], "a");
	GETS(x[0], "a");
	drop_received(&r);
	AT_EOF(x[0]);
	OK(close(x[0]));
	OK(close(y[0]));
}

CASE_ON_TYPES(passed_socket_peeked, 0)
{
	struct received r;
	int x[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	hand_over(sv[0], &x[1]);
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_PEEK), 1);
	EQ(r.n_fds, 1);
	put(r.fds[0], "a");
	GETS(x[0], "a");
	drop_received(&r);
	/* The message has its own still. */
	EMPTY(x[0]);
	int fd = take(sv[1]);
	put(fd, "b");
	GETS(x[0], "b");
	OK(close(fd));
	AT_EOF(x[0]);
	OK(close(x[0]));
}

CASE_ON_TYPES(passed_sockets_many_in_one_message, 0)
{
	enum { N = 60 };
	struct received r;
	int fds[2 * N];

	(void)type;
	for (int i = 0; i < N; i++)
		unix_pair(all_types[i % 3], &fds[2 * i]);
	EQ(send_rights(sv[0], "h", fds, 2 * N), 1);
	for (int i = 0; i < 2 * N; i++)
		OK(close(fds[i]));
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.n_fds, 2 * N);
	for (int i = 0; i < N; i++) {
		char c = (char)i, d = -1;
		EQ(write(r.fds[2 * i], &c, 1), 1);
		EQ(read(r.fds[2 * i + 1], &d, 1), 1);
		EQ(c, d);
	}
	drop_received(&r);
}

CASE_ON_TYPES(passed_sockets_mixed_with_others, 0)
{
	struct received r;
	int p[2], x[2];

	(void)type;
	watched_pipe(p);
	unix_pair(SOCK_STREAM, x);
	EQ(send_rights(sv[0], "h", (int[]){p[0], x[1], p[1], x[1], p[0]}, 5), 1);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.n_fds, 5);
	SAME_FILE(r.fds[0], p[0]);
	SAME_FILE(r.fds[1], x[1]);
	SAME_FILE(r.fds[2], p[1]);
	SAME_FILE(r.fds[3], x[1]);
	SAME_FILE(r.fds[4], p[0]);
	for (int i = 0; i < 5; i++)
		for (int j = 0; j < i; j++)
			TRUE(r.fds[i] != r.fds[j]);
	drop_received(&r);
	for (int i = 0; i < 2; i++) {
		OK(close(p[i]));
		OK(close(x[i]));
	}
}

CASE_ON_TYPES(passed_socket_within_a_passed_socket, 0)
{
	int x[2], y[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	unix_pair(SOCK_STREAM, y);
	hand_over(y[0], &x[1]);
	hand_over(sv[0], &y[1]);
	OK(close(y[0]));
	put(x[0], "deep");
	int outer = take(sv[1]), inner = take(outer);
	GETS(inner, "deep");
	OK(close(inner));
	OK(close(outer));
	AT_EOF(x[0]);
	OK(close(x[0]));
}

CASE_ON_TYPES(passed_sockets_dropped_to_the_last, 0)
{
	int x[2], y[2], z[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	unix_pair(SOCK_STREAM, y);
	unix_pair(SOCK_STREAM, z);
	hand_over(y[0], &x[1]);
	hand_over(z[0], &y[1]);
	hand_over(sv[0], &z[1]);
	EMPTY(x[0]);
	GETS(sv[1], "h");
	/* One closes the next. */
	EQ(read_one(x[0]), 0);
	FAILS(recv(y[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	FAILS(recv(z[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	OK(close(x[0]));
	OK(close(y[0]));
	OK(close(z[0]));
}

CASE(passed_over_itself, 0)
{
	for (size_t i = 0; i < 3; i++) {
		int x[2];
		unix_pair(all_types[i], x);
		/* The sender itself is in what it sent. */
		hand_over(x[0], &x[0]);
		READY(x[1], POLLIN | POLLOUT);
		int fd = take(x[1]);
		put(fd, "a");
		GETS(x[1], "a");
		OK(close(fd));
		OK(close(x[1]));
	}
}

CASE(passed_to_itself, 0)
{
	for (size_t i = 0; i < 3; i++) {
		int x[2];
		unix_pair(all_types[i], x);
		/* The receiver is in its own queue, and somebody has it still. */
		EQ(send_right(x[0], "h", x[1]), 1);
		int fd = take(x[1]);
		SAME_FILE(fd, x[1]);
		OK(close(x[1]));
		put(x[0], "a");
		GETS(fd, "a");
		OK(close(fd));
		OK(close(x[0]));
	}
}

CASE(passed_over_itself_and_dropped, 0)
{
	int x[2];

	unix_pair(SOCK_STREAM, x);
	int p[2];
	watched_pipe(p);
	EQ(send_rights(x[0], "h", (int[]){x[0], p[1]}, 2), 1);
	OK(close(p[1]));
	OK(close(x[0]));
	HELD(p);
	OK(close(x[1]));
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(passed_socket_and_a_blocked_reader, 0)
{
	struct actor t;
	char c;
	int x[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	start_recv(&t, x[0], &c, 1, 0);
	BLOCKED(&t);
	hand_over(sv[0], &x[1]);
	BLOCKED(&t);
	/* Whoever drops the message wakes it. */
	close_end(&sv[1]);
	RETURNS(&t, 0);
	OK(close(x[0]));
}

CASE_ON_TYPES(passed_socket_wakes_who_waits_for_it, 0)
{
	struct actor t;
	char c;
	int x[2];

	(void)type;
	unix_pair(SOCK_STREAM, x);
	start_recv(&t, x[0], &c, 1, 0);
	BLOCKED(&t);
	hand_over(sv[0], &x[1]);
	int fd = take(sv[1]);
	put(fd, "z");
	RETURNS(&t, 1);
	EQ(c, 'z');
	OK(close(fd));
	OK(close(x[0]));
}

CASE_ON_TYPES(passed_socket_keeps_who_its_peer_is, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	struct ucred cred;
	socklen_t len = sizeof un, n = sizeof cred;

	(void)type;
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);
	int s = OK(accept(l, NULL, NULL));
	hand_over(sv[0], &c);
	c = take(sv[1]);
	OK(getpeername(c, ANY(&un), &len));
	EQ(len, a.len);
	BYTES(&un, &a.un, a.len);
	OK(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &cred, &n));
	EQ(cred.pid, getpid());
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

CASE(passed_before_accept, 0)
{
	struct name a = abstract_name("a");
	int x[2], y[2], l = listen_at(SOCK_STREAM, &a, 5);

	unix_pair(SOCK_STREAM, x);
	unix_pair(SOCK_STREAM, y);
	int c = connect_to(SOCK_STREAM, &a), d = connect_to(SOCK_STREAM, &a);
	hand_over(c, &x[1]);
	hand_over(d, &y[1]);
	EMPTY(x[0]);
	int s = OK(accept(l, NULL, NULL)), fd = take(s);
	put(fd, "a");
	GETS(x[0], "a");
	/* The other one goes with the listener. */
	EMPTY(y[0]);
	OK(close(l));
	AT_EOF(y[0]);
	int all[] = {x[0], y[0], c, d, s, fd};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		OK(close(all[i]));
}
