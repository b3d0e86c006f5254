/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The readiness of a stream socket in every state, as poll(), select() and epoll tell it. */
#include "conform.h"

CASE(ready_fresh_and_bound, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_STREAM);

	READY(fd, POLLOUT | POLLHUP);
	OK(bind(fd, NAME(&a)));
	READY(fd, POLLOUT | POLLHUP);
	OK(close(fd));
}

CASE(ready_fresh_and_shut, 0)
{
	int r = unix_socket(SOCK_STREAM), w = unix_socket(SOCK_STREAM), b = unix_socket(SOCK_STREAM);

	OK(shutdown(r, SHUT_RD));
	OK(shutdown(w, SHUT_WR));
	OK(shutdown(b, SHUT_RDWR));
	READY(r, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	READY(w, POLLOUT | POLLHUP);
	READY(b, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	OK(close(r));
	OK(close(w));
	OK(close(b));
}

CASE(ready_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	READY(l, 0);
	int c = connect_to(SOCK_STREAM, &a), d = connect_to(SOCK_STREAM, &a);
	READY(l, POLLIN);
	OK(close(OK(accept(l, NULL, NULL))));
	READY(l, POLLIN);
	/* A client that went away is still a connection. */
	OK(close(d));
	READY(l, POLLIN);
	OK(close(OK(accept(l, NULL, NULL))));
	READY(l, 0);
	OK(shutdown(l, SHUT_WR));
	READY(l, 0);
	OK(shutdown(l, SHUT_RD));
	READY(l, POLLIN | POLLHUP | POLLRDHUP);
	OK(close(c));
	OK(close(l));
}

CASE(ready_listener_shut, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int l = listen_at(SOCK_STREAM, &a, 5), m = listen_at(SOCK_STREAM, &b, 5);
	int c = connect_to(SOCK_STREAM, &a);

	OK(shutdown(l, SHUT_RD));
	READY(l, POLLIN | POLLRDHUP);
	OK(close(OK(accept(l, NULL, NULL))));
	READY(l, POLLIN | POLLRDHUP);
	OK(shutdown(m, SHUT_RDWR));
	READY(m, POLLIN | POLLRDHUP | POLLHUP);
	OK(close(c));
	OK(close(l));
	OK(close(m));
}

CASE_ON_ENDS(ready_connected, 0)
{
	READY(sv[0], POLLOUT);
	READY(sv[1], POLLOUT);
	put(sv[0], "x");
	READY(sv[0], POLLOUT);
	READY(sv[1], POLLIN | POLLOUT);
	EQ(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), 1);
	READY(sv[1], POLLIN | POLLOUT);
	GETS(sv[1], "x");
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(ready_partly_read, 0)
{
	put(sv[0], "abc");
	GETS(sv[1], "ab");
	READY(sv[1], POLLIN | POLLOUT);
	GETS(sv[1], "c");
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(ready_halves, 0)
{
	put(sv[0], "x");
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[1], POLLIN | POLLOUT | POLLRDHUP);
	READY(sv[0], POLLOUT);
	GETS(sv[1], "x");
	READY(sv[1], POLLIN | POLLOUT | POLLRDHUP);
	put(sv[1], "y");
	READY(sv[0], POLLIN | POLLOUT);
	OK(shutdown(sv[1], SHUT_WR));
	READY(sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

CASE_ON_ENDS(ready_shut_rd, 0)
{
	OK(shutdown(sv[0], SHUT_RD));
	READY(sv[0], POLLIN | POLLOUT | POLLRDHUP);
	READY(sv[1], POLLOUT);
	OK(shutdown(sv[1], SHUT_RD));
	READY(sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

CASE_ON_ENDS(ready_peer_closed, 0)
{
	put(sv[0], "x");
	close_end(&sv[0]);
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	GETS(sv[1], "x");
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

CASE_ON_ENDS(ready_peer_closed_with_unread, 0)
{
	put(sv[1], "x");
	close_end(&sv[0]);
	READY(sv[1], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
	EQ(get_int_option(sv[1], SO_ERROR), ECONNRESET);
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

CASE_ON_ENDS(ready_over_a_quarter_full, 0)
{
	char buf[4000];
	int sends = 0;

	while (poll(&(struct pollfd){.fd = sv[0], .events = POLLOUT}, 1, 0) == 1) {
		EQ(send(sv[0], buf, 1000, MSG_DONTWAIT), 1000);
		sends++;
	}
	/* Without OUT there is room all the same. */
	READY(sv[0], 0);
	EQ(send(sv[0], buf, 1000, MSG_DONTWAIT), 1000);
	/* OUT comes back with the buffer that makes it a quarter again. */
	EQ(recv(sv[1], buf, 1000, 0), 1000);
	READY(sv[0], 0);
	EQ(recv(sv[1], buf, 999, 0), 999);
	READY(sv[0], 0);
	EQ(recv(sv[1], buf, 1, 0), 1);
	READY(sv[0], POLLOUT);
}

CASE_ON_ENDS(ready_full_and_peer_gone, 0)
{
	fill(sv[0], 4000);
	READY(sv[0], 0);
	READY(sv[1], POLLIN | POLLOUT);
	drain(sv[1]);
	fill(sv[0], 4000);
	close_end(&sv[1]);
	READY(sv[0], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
}

CASE_ON_ENDS(ready_rcvlowat_does_not_matter, 0)
{
	set_int_option(sv[1], SO_RCVLOWAT, 100);
	put(sv[0], "x");
	READY(sv[1], POLLIN | POLLOUT);
}

CASE(ready_client_before_accept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);

	READY(c, POLLOUT);
	OK(close(l));
	READY(c, POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
	OK(close(c));
}
