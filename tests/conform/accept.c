/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* listen(), accept() and accept4(): the backlog, the order, flags, and a listener that ends. */
#include "conform.h"

CASE(listen_states, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int p[2], sv[2], fd = unix_socket(SOCK_STREAM);

	EQ(pipe(p), 0);
	unix_pair(SOCK_STREAM, sv);
	FAILS(listen(-1, 1), EBADF);
	FAILS(listen(p[0], 1), ENOTSOCK);
	FAILS(listen(fd, 1), EINVAL);
	FAILS(listen(sv[0], 1), EINVAL);
	OK(bind(fd, NAME(&a)));
	OK(listen(fd, 1));
	OK(listen(fd, 7));
	int client = bound_to(SOCK_STREAM, &b);
	OK(connect(client, NAME(&a)));
	FAILS(listen(client, 1), EINVAL);
	int server = OK(accept(fd, NULL, NULL));
	FAILS(listen(server, 1), EINVAL);
	OK(close(client));
	FAILS(listen(server, 1), EINVAL);
	OK(close(server));
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
	close(p[0]);
	close(p[1]);
}

CASE(listen_after_shutdown, 0)
{
	struct name a = abstract_name("a");
	int l = bound_to(SOCK_STREAM, &a), fd = unix_socket(SOCK_STREAM);

	OK(shutdown(l, SHUT_RD));
	OK(listen(l, 1));
	/* It may listen, but it stays shut. */
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	FAILS(accept(l, NULL, NULL), EINVAL);
	OK(close(l));
	OK(close(fd));
}

/* Connects until it is refused; the number that got in. */
static int connect_many(const struct name *name, int *fds, int max)
{
	for (int i = 0; i < max; i++) {
		fds[i] = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
		if (connect(fds[i], NAME(name)) < 0) {
			int error = errno;
			EQ(error, EAGAIN);
			OK(close(fds[i]));
			return i;
		}
	}
	return max;
}

static void close_many(const int *fds, int n)
{
	for (int i = 0; i < n; i++)
		OK(close(fds[i]));
}

CASE(listen_backlog_is_one_more, 0)
{
	static const int backlogs[] = {0, 1, 2, 5, 17};
	struct name a = abstract_name("a");
	int fds[64];

	for (size_t i = 0; i < sizeof backlogs / sizeof backlogs[0]; i++) {
		int l = listen_at(SOCK_STREAM, &a, backlogs[i]);
		int n = connect_many(&a, fds, 64);

		EQ(n, backlogs[i] + 1);
		/* Every accept makes room for one. */
		OK(close(OK(accept(l, NULL, NULL))));
		EQ(connect_many(&a, fds + n, 64 - n), 1);
		close_many(fds, n + 1);
		OK(close(l));
	}
}

CASE(listen_negative_backlog_is_large, 0)
{
	struct name a = abstract_name("a");
	int fds[200], l = listen_at(SOCK_STREAM, &a, -1);

	EQ(connect_many(&a, fds, 200), 200);
	close_many(fds, 200);
	OK(close(l));
}

CASE(listen_again_changes_the_backlog, 0)
{
	struct name a = abstract_name("a");
	int fds[64], l = listen_at(SOCK_STREAM, &a, 3);

	EQ(connect_many(&a, fds, 64), 4);
	/* Smaller: those in the queue stay. */
	OK(listen(l, 1));
	EQ(connect_many(&a, fds + 4, 60), 0);
	OK(close(OK(accept(l, NULL, NULL))));
	OK(close(OK(accept(l, NULL, NULL))));
	EQ(connect_many(&a, fds + 4, 60), 0);
	OK(close(OK(accept(l, NULL, NULL))));
	EQ(connect_many(&a, fds + 4, 60), 1);
	OK(listen(l, 4));
	EQ(connect_many(&a, fds + 5, 59), 3);
	close_many(fds, 8);
	OK(close(l));
}

CASE(listen_again_lets_the_blocked_in, 0)
{
	struct name a = abstract_name("a");
	struct actor t;
	int fd, l = listen_at(SOCK_STREAM, &a, 0);
	int first = connect_to(SOCK_STREAM, &a);

	fd = unix_socket(SOCK_STREAM);
	start_connect(&t, fd, &a);
	BLOCKED(&t);
	OK(listen(l, 5));
	RETURNS(&t, 0);
	OK(close(fd));
	OK(close(first));
	OK(close(l));
}

CASE(backlog_keeps_clients_that_closed, 0)
{
	struct name a = abstract_name("a");
	int fds[8], l = listen_at(SOCK_STREAM, &a, 1);

	int one = connect_to(SOCK_STREAM, &a), two = connect_to(SOCK_STREAM, &a);
	put(one, "left behind");
	OK(close(one));
	OK(close(two));
	EQ(connect_many(&a, fds, 8), 0);
	int x = OK(accept(l, NULL, NULL)), y = OK(accept(l, NULL, NULL));
	GETS(x, "left behind");
	AT_EOF(x);
	AT_EOF(y);
	FAILS(send(y, "x", 1, MSG_NOSIGNAL), EPIPE);
	OK(close(x));
	OK(close(y));
	OK(close(l));
}

CASE(accept_in_order, 0)
{
	struct name a = abstract_name("a");
	int fds[20], l = listen_at(SOCK_STREAM, &a, 32);

	for (int i = 0; i < 20; i++) {
		char c = (char)('a' + i);
		fds[i] = connect_to(SOCK_STREAM, &a);
		EQ(write(fds[i], &c, 1), 1);
	}
	for (int i = 0; i < 20; i++) {
		char c = 0;
		int fd = OK(accept(l, NULL, NULL));
		EQ(read(fd, &c, 1), 1);
		EQ(c, 'a' + i);
		OK(close(fd));
	}
	close_many(fds, 20);
	OK(close(l));
}

CASE(accept_states, 0)
{
	struct name a = abstract_name("a");
	int p[2], sv[2], fd = unix_socket(SOCK_STREAM);

	EQ(pipe(p), 0);
	unix_pair(SOCK_STREAM, sv);
	FAILS(accept(-1, NULL, NULL), EBADF);
	FAILS(accept(p[0], NULL, NULL), ENOTSOCK);
	FAILS(accept4(p[0], NULL, NULL, 1), EINVAL);
	FAILS(accept4(-1, NULL, NULL, 1), EBADF);
	FAILS(accept(fd, NULL, NULL), EINVAL);
	OK(bind(fd, NAME(&a)));
	FAILS(accept(fd, NULL, NULL), EINVAL);
	FAILS(accept(sv[0], NULL, NULL), EINVAL);
	OK(listen(fd, 1));
	FAILS(accept4(fd, NULL, NULL, 1), EINVAL);
	FAILS(accept4(fd, NULL, NULL, ~(SOCK_CLOEXEC | SOCK_NONBLOCK)), EINVAL);
	set_nonblocking(fd, true);
	FAILS(accept(fd, NULL, NULL), EAGAIN);
	FAILS(accept4(fd, NULL, NULL, SOCK_CLOEXEC), EAGAIN);
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
	close(p[0]);
	close(p[1]);
}

CASE(accept_flags, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 8), c[4], s[4];

	set_nonblocking(l, true);
	for (int i = 0; i < 4; i++)
		c[i] = connect_to(SOCK_STREAM, &a);
	s[0] = OK(accept(l, NULL, NULL));
	s[1] = OK(accept4(l, NULL, NULL, SOCK_CLOEXEC));
	s[2] = OK(accept4(l, NULL, NULL, SOCK_NONBLOCK));
	s[3] = OK(accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	for (int i = 0; i < 4; i++) {
		/* Nothing comes from the listener. */
		EQ(fcntl(s[i], F_GETFL), O_RDWR | (i & 2 ? O_NONBLOCK : 0));
		EQ(fcntl(s[i], F_GETFD), i & 1 ? FD_CLOEXEC : 0);
	}
	FAILS(read(s[2], (char[1]){0}, 1), EAGAIN);
	close_many(c, 4);
	close_many(s, 4);
	OK(close(l));
}

CASE(accept_inherits_no_option, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 8);
	struct timeval tv;
	socklen_t len = sizeof tv;

	set_int_option(l, SO_SNDBUF, 8192);
	set_int_option(l, SO_RCVLOWAT, 7);
	set_int_option(l, SO_KEEPALIVE, 1);
	set_time_option(l, SO_RCVTIMEO, 5000);
	int c = connect_to(SOCK_STREAM, &a), s = OK(accept(l, NULL, NULL));
	EQ(get_int_option(s, SO_SNDBUF), get_int_option(c, SO_SNDBUF));
	EQ(get_int_option(s, SO_RCVLOWAT), 1);
	EQ(get_int_option(s, SO_KEEPALIVE), 0);
	EQ(get_int_option(s, SO_ACCEPTCONN), 0);
	OK(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	EQ(tv.tv_sec, 0);
	EQ(tv.tv_usec, 0);
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

static void accept_fails_and_drops(int l, const struct name *a, void *addr, socklen_t *len, int error)
{
	int client = connect_to(SOCK_STREAM, a);

	FAILS(accept(l, addr, len), error);
	/* The connection had been taken out of the queue: it is gone, without a reset. */
	AT_EOF(client);
	READY(client, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	OK(close(client));
}

CASE(accept_bad_address_loses_the_connection, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = sizeof un, negative = (socklen_t)-1;
	int l = listen_at(SOCK_STREAM, &a, 5);

	set_nonblocking(l, true);
	accept_fails_and_drops(l, &a, &un, NULL, EFAULT);
	accept_fails_and_drops(l, &a, &un, &negative, EINVAL);
	accept_fails_and_drops(l, &a, bad_pointer(), &len, EFAULT);
	/* Without an address nobody looks at the length. */
	int client = connect_to(SOCK_STREAM, &a);
	OK(close(OK(accept(l, NULL, &negative))));
	OK(close(client));
	OK(close(l));
}

CASE(accept_without_descriptors, 0)
{
	struct name a = abstract_name("a");
	struct rlimit old, low;
	int l = listen_at(SOCK_STREAM, &a, 5), client = connect_to(SOCK_STREAM, &a);
	int p[2];

	EQ(pipe(p), 0);
	put(client, "x");
	EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)p[1] + 1;
	EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	FAILS(accept(l, NULL, NULL), EMFILE);
	/* Before the state of the socket, and before what it is. */
	FAILS(accept(client, NULL, NULL), EMFILE);
	FAILS(accept(p[0], NULL, NULL), EMFILE);
	FAILS(accept(-1, NULL, NULL), EBADF);
	EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* It is still in the queue. */
	READY(l, POLLIN);
	int server = OK(accept(l, NULL, NULL));
	GETS(server, "x");
	OK(close(server));
	OK(close(client));
	OK(close(l));
	close(p[0]);
	close(p[1]);
}

CASE(accept_blocks_until_a_connection, 0)
{
	struct name a = abstract_name("a");
	struct actor t;
	int l = listen_at(SOCK_STREAM, &a, 5);

	start_accept(&t, l);
	BLOCKED(&t);
	int client = connect_to(SOCK_STREAM, &a);
	int server = OK((int)actor_join(&t));
	put(server, "hello");
	GETS(client, "hello");
	OK(close(server));
	OK(close(client));
	OK(close(l));
}

CASE(accept_one_waiter_for_each_connection, 0)
{
	struct name a = abstract_name("a");
	struct actor t[3];
	int c[3], l = listen_at(SOCK_STREAM, &a, 5);

	for (int i = 0; i < 3; i++)
		start_accept(&t[i], l);
	for (int i = 0; i < 3; i++)
		BLOCKED(&t[i]);
	for (int i = 0; i < 3; i++)
		c[i] = connect_to(SOCK_STREAM, &a);
	for (int i = 0; i < 3; i++)
		OK(close(OK((int)actor_join(&t[i]))));
	set_nonblocking(l, true);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	close_many(c, 3);
	OK(close(l));
}

CASE(accept_woken_by_shutdown, 0)
{
	struct name a = abstract_name("a");
	struct actor t[2];
	int l = listen_at(SOCK_STREAM, &a, 5);

	start_accept(&t[0], l);
	start_accept(&t[1], l);
	BLOCKED(&t[0]);
	BLOCKED(&t[1]);
	OK(shutdown(l, SHUT_RD));
	RETURNS_ERROR(&t[0], EINVAL);
	RETURNS_ERROR(&t[1], EINVAL);
	OK(close(l));
}

CASE(listener_shut_refuses_but_keeps_the_queue, 0)
{
	static const int hows[] = {SHUT_RD, SHUT_RDWR};
	struct name a = abstract_name("a");

	for (int i = 0; i < 2; i++) {
		int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);
		int fd = unix_socket(SOCK_STREAM);

		OK(shutdown(l, hows[i]));
		FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
		OK(listen(l, 5));
		FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
		int s = OK(accept(l, NULL, NULL));
		put(s, "x");
		GETS(c, "x");
		FAILS(accept(l, NULL, NULL), EINVAL);
		set_nonblocking(l, true);
		FAILS(accept(l, NULL, NULL), EAGAIN);
		OK(close(fd));
		OK(close(s));
		OK(close(c));
		OK(close(l));
	}
}

CASE(listener_shut_wr_changes_nothing, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	OK(shutdown(l, SHUT_WR));
	int c = connect_to(SOCK_STREAM, &a), s = OK(accept(l, NULL, NULL));
	put(s, "x");
	GETS(c, "x");
	put(c, "y");
	GETS(s, "y");
	OK(close(s));
	OK(close(c));
	OK(close(l));
}

CASE(listener_close_resets_the_waiting, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	int idle = connect_to(SOCK_STREAM, &a), busy = connect_to(SOCK_STREAM, &a);

	put(busy, "never read");
	OK(close(l));
	READY(idle, POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
	FAILS(read(idle, (char[1]){0}, 1), ECONNRESET);
	AT_EOF(idle);
	FAILS(send(busy, "x", 1, MSG_NOSIGNAL), EPIPE);
	FAILS(read(busy, (char[1]){0}, 1), ECONNRESET);
	AT_EOF(busy);
	OK(close(idle));
	OK(close(busy));
}

CASE(listener_close_spares_the_accepted, 0)
{
	struct name a = path_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);
	int s = OK(accept(l, NULL, NULL));

	OK(close(l));
	EQ(unlink("a"), 0);
	put(c, "x");
	GETS(s, "x");
	put(s, "y");
	GETS(c, "y");
	OK(close(s));
	AT_EOF(c);
	OK(close(c));
}

CASE(listener_close_while_accept_blocks, 0)
{
	struct name a = abstract_name("a");
	struct actor t;
	int l = listen_at(SOCK_STREAM, &a, 5);

	start_accept(&t, l);
	BLOCKED(&t);
	OK(close(l));
	/* The call keeps the listener: it still has its name and still accepts. */
	BLOCKED(&t);
	int fd = unix_socket(SOCK_STREAM);
	FAILS(bind(fd, NAME(&a)), EADDRINUSE);
	OK(connect(fd, NAME(&a)));
	int s = OK((int)actor_join(&t));
	put(s, "x");
	GETS(fd, "x");
	/* With the call the listener ended. */
	int other = bound_to(SOCK_STREAM, &a);
	OK(close(other));
	OK(close(s));
	OK(close(fd));
}

CASE(listener_refuses_data_calls, 0)
{
	struct name a = abstract_name("a");
	int n, l = listen_at(SOCK_STREAM, &a, 5);

	FAILS(recv(l, (char[1]){0}, 1, 0), EINVAL);
	FAILS(read(l, (char[1]){0}, 1), EINVAL);
	FAILS(send(l, "x", 1, 0), ENOTCONN);
	FAILS(ioctl(l, FIONREAD, &n), EINVAL);
	OK(close(l));
}

enum { CROWD = 60 };

static long accept_crowd(struct actor *a)
{
	long n = 0;

	for (;;) {
		int fd = accept(a->fd, NULL, NULL);
		char c = 0;

		if (fd < 0)
			return errno == EINVAL ? n : -1;
		if (read(fd, &c, 1) != 1 || write(fd, &c, 1) != 1 || close(fd) < 0)
			return -1;
		n++;
	}
}

CASE(accept_from_several_threads, 0)
{
	struct name a = abstract_name("a");
	struct actor t[3];
	int l = listen_at(SOCK_STREAM, &a, 4);
	long sum = 0;

	for (int i = 0; i < 3; i++) {
		t[i] = (struct actor){.fd = l};
		actor_start(&t[i], accept_crowd);
	}
	for (int i = 0; i < CROWD; i++) {
		int fd = connect_to(SOCK_STREAM, &a);
		char c = (char)i, back = 0;
		EQ(write(fd, &c, 1), 1);
		EQ(read(fd, &back, 1), 1);
		EQ(back, c);
		OK(close(fd));
	}
	OK(shutdown(l, SHUT_RD));
	for (int i = 0; i < 3; i++)
		sum += OK(actor_join(&t[i]));
	EQ(sum, CROWD);
	OK(close(l));
}
