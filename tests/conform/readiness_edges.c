/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Edge-triggered epoll: what makes an edge for whom, and what does not. */
#include "conform.h"

static int edge_on(int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events | EPOLLET, .data.fd = fd};
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

/* The bits of the edge since the last look; 0 if there was none. */
static uint32_t edge(int ep)
{
	struct epoll_event ev = {0};
	int n = OK(epoll_wait(ep, &ev, 1, 0));

	return n ? ev.events : 0;
}

CASE_ON_ENDS(edge_at_registration, 0)
{
	put(sv[1], "x");
	int ep = edge_on(sv[0], EPOLLIN | EPOLLOUT);

	EQ(edge(ep), EPOLLIN | EPOLLOUT);
	EQ(edge(ep), 0);
	/* A change of the registration looks again. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	OK(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], &ev));
	EQ(edge(ep), EPOLLIN);
	EQ(edge(ep), 0);
	OK(close(ep));
}

CASE_ON_ENDS(edge_for_every_send, 0)
{
	int ep = edge_on(sv[0], EPOLLIN);

	EQ(edge(ep), 0);
	put(sv[1], "a");
	EQ(edge(ep), EPOLLIN);
	/* Also while older data is unread. */
	put(sv[1], "b");
	EQ(edge(ep), EPOLLIN);
	EQ(edge(ep), 0);
	put(sv[1], "c");
	put(sv[1], "d");
	EQ(edge(ep), EPOLLIN);
	EQ(edge(ep), 0);
	/* Not for nothing. */
	EQ(send(sv[1], "", 0, 0), 0);
	EQ(edge(ep), 0);
	/* Gone before anybody looked. */
	GETS(sv[0], "abcd");
	put(sv[1], "e");
	GETS(sv[0], "e");
	EQ(edge(ep), 0);
	OK(close(ep));
}

CASE_ON_ENDS(edge_for_urgent_data_alone, 0)
{
	int ep = edge_on(sv[0], EPOLLPRI);

	put(sv[1], "a");
	EQ(edge(ep), 0);
	EQ(send(sv[1], "b", 1, MSG_OOB), 1);
	EQ(edge(ep), EPOLLPRI);
	EQ(edge(ep), 0);
	/* Whatever comes while it waits. */
	put(sv[1], "c");
	EQ(edge(ep), EPOLLPRI);
	EQ(send(sv[1], "d", 1, MSG_OOB), 1);
	EQ(edge(ep), EPOLLPRI);
	EQ(edge(ep), 0);
	OK(close(ep));
}

CASE_ON_ENDS(edge_not_for_own_reads, 0)
{
	char buf[4];
	int ep = edge_on(sv[0], EPOLLIN | EPOLLOUT);

	EQ(edge(ep), EPOLLOUT);
	put(sv[1], "abcdef");
	EQ(edge(ep), EPOLLIN | EPOLLOUT);
	EQ(recv(sv[0], buf, 2, MSG_PEEK), 2);
	EQ(edge(ep), 0);
	EQ(read(sv[0], buf, 2), 2);
	EQ(edge(ep), 0);
	GETS(sv[0], "cdef");
	EQ(edge(ep), 0);
	OK(close(ep));
}

CASE_ON_ENDS(edge_for_freed_buffers, 0)
{
	char buf[1000];
	int ep = edge_on(sv[0], EPOLLOUT), edges = 0, first = 0;

	if (get_int_option(sv[0], SO_SNDBUF) != 212992)
		SKIP("counts are for net.core.wmem_default = 212992");
	EQ(edge(ep), EPOLLOUT);
	EQ(fill(sv[0], 1000), 93000);
	EQ(edge(ep), 0);
	for (int i = 1; i <= 93; i++) {
		EQ(read(sv[1], buf, 1000), 1000);
		if (edge(ep)) {
			first = first ? first : i;
			edges++;
		}
	}
	EQ(first, 70);
	EQ(edges, 24);
	OK(close(ep));
}

CASE_ON_ENDS(edge_not_for_a_part_of_a_buffer, 0)
{
	char buf[1000];
	int ep = edge_on(sv[0], EPOLLOUT);

	EQ(edge(ep), EPOLLOUT);
	EQ(send(sv[0], buf, 1000, 0), 1000);
	EQ(edge(ep), 0);
	EQ(read(sv[1], buf, 999), 999);
	EQ(edge(ep), 0);
	EQ(read(sv[1], buf, 1), 1);
	EQ(edge(ep), EPOLLOUT);
	OK(close(ep));
}

CASE_ON_ENDS(edge_classes, 0)
{
	int in = edge_on(sv[0], EPOLLIN), out = edge_on(sv[0], EPOLLOUT),
	    both = edge_on(sv[0], EPOLLIN | EPOLLOUT);

	EQ(edge(in), 0);
	EQ(edge(out), EPOLLOUT);
	EQ(edge(both), EPOLLOUT);
	/* Data does not wake who waits for room; who is woken is told everything. */
	put(sv[1], "x");
	EQ(edge(in), EPOLLIN);
	EQ(edge(out), 0);
	EQ(edge(both), EPOLLIN | EPOLLOUT);
	/* And room does not wake who waits for data. */
	put(sv[0], "y");
	GETS(sv[1], "y");
	EQ(edge(in), 0);
	EQ(edge(out), EPOLLOUT);
	EQ(edge(both), EPOLLIN | EPOLLOUT);
	OK(close(in));
	OK(close(out));
	OK(close(both));
}

CASE_ON_ENDS(edge_for_shutdown_at_both_ends, 0)
{
	const uint32_t all = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
	int a = edge_on(sv[0], all), b = edge_on(sv[1], all);

	EQ(edge(a), EPOLLOUT);
	EQ(edge(b), EPOLLOUT);
	OK(shutdown(sv[0], SHUT_WR));
	EQ(edge(a), EPOLLOUT);
	EQ(edge(b), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	/* Every time, even if nothing changes. */
	OK(shutdown(sv[0], SHUT_WR));
	EQ(edge(a), EPOLLOUT);
	EQ(edge(b), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	OK(shutdown(sv[1], SHUT_WR));
	EQ(edge(a), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	EQ(edge(b), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	EQ(edge(a), 0);
	OK(close(a));
	OK(close(b));
}

CASE_ON_ENDS(edge_for_close, 0)
{
	int ep = edge_on(sv[0], EPOLLIN);

	EQ(edge(ep), 0);
	close_end(&sv[1]);
	EQ(edge(ep), EPOLLIN | EPOLLHUP);
	EQ(edge(ep), 0);
	OK(close(ep));
}

CASE_ON_ENDS(edge_for_a_larger_buffer, 0)
{
	int ep = edge_on(sv[0], EPOLLOUT);

	set_int_option(sv[0], SO_SNDBUF, 4608);
	edge(ep);
	fill(sv[0], 1000);
	EQ(edge(ep), 0);
	set_int_option(sv[0], SO_SNDBUF, 4700);
	EQ(edge(ep), 0);
	set_int_option(sv[0], SO_SNDBUF, 200000);
	EQ(edge(ep), EPOLLOUT);
	OK(close(ep));
}

CASE(edge_of_a_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), ep = edge_on(l, EPOLLIN);

	EQ(edge(ep), 0);
	int c = connect_to(SOCK_STREAM, &a);
	EQ(edge(ep), EPOLLIN);
	int d = connect_to(SOCK_STREAM, &a);
	EQ(edge(ep), EPOLLIN);
	OK(close(OK(accept(l, NULL, NULL))));
	EQ(edge(ep), 0);
	OK(close(c));
	OK(close(d));
	EQ(edge(ep), 0);
	OK(close(l));
	OK(close(ep));
}

CASE(edge_not_for_own_connect, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = unix_socket(SOCK_STREAM);
	int ep = edge_on(c, EPOLLIN | EPOLLOUT);

	EQ(edge(ep), EPOLLOUT | EPOLLHUP);
	OK(connect(c, NAME(&a)));
	EQ(edge(ep), 0);
	int s = OK(accept(l, NULL, NULL));
	EQ(edge(ep), 0);
	put(c, "x");
	EQ(edge(ep), 0);
	put(s, "y");
	EQ(edge(ep), EPOLLIN | EPOLLOUT);
	OK(close(c));
	OK(close(s));
	OK(close(l));
	OK(close(ep));
}

CASE_ON_ENDS(edge_with_oneshot, 0)
{
	int ep = edge_on(sv[0], EPOLLIN | EPOLLONESHOT);

	put(sv[1], "x");
	EQ(edge(ep), EPOLLIN);
	put(sv[1], "y");
	EQ(edge(ep), 0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET | EPOLLONESHOT};
	OK(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], &ev));
	EQ(edge(ep), EPOLLIN);
	EQ(edge(ep), 0);
	OK(close(ep));
}

static long run_edge(struct actor *a)
{
	struct epoll_event ev;

	return epoll_wait(a->fd, &ev, 1, -1);
}

CASE_ON_ENDS(edge_wakes_a_sleeper_again_without_reading, 0)
{
	int ep = edge_on(sv[0], EPOLLIN);

	for (int i = 0; i < 3; i++) {
		struct actor t = {.fd = ep};

		actor_start(&t, run_edge);
		BLOCKED(&t);
		put(sv[1], "x");
		RETURNS(&t, 1);
	}
	GETS(sv[0], "xxx");
	OK(close(ep));
}

CASE_ON_ENDS(edge_server_loop_reads_until_eagain, 0)
{
	enum { BYTES_IN_ALL = 300000 };
	static char out[BYTES_IN_ALL], in[BYTES_IN_ALL + 1];
	struct actor t;
	int ep = edge_on(sv[0], EPOLLIN);
	size_t have = 0;

	pattern_bytes(out, 0, sizeof out);
	set_nonblocking(sv[0], true);
	start_send(&t, sv[1], out, sizeof out, 0);
	while (have < sizeof out) {
		struct epoll_event ev;
		EQ(epoll_wait(ep, &ev, 1, -1), 1);
		for (;;) {
			ssize_t n = read(sv[0], in + have, 7001 < sizeof in - have ? 7001 : sizeof in - have);
			int error = errno;
			if (n < 0) {
				EQ(error, EAGAIN);
				break;
			}
			have += (size_t)n;
		}
	}
	RETURNS(&t, BYTES_IN_ALL);
	EQ(have, BYTES_IN_ALL);
	BYTES(in, out, sizeof out);
	OK(close(ep));
}

CASE(edge_a_new_socket_whose_buffer_is_set, 0)
{
	const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

	for (unsigned int i = 0; i < 3; i++) {
		int s = OK(socket(AF_UNIX, types[i], 0)), size = 0;
		int out = edge_on(s, EPOLLOUT), in = edge_on(s, EPOLLIN);

		TRUE(edge(out) & EPOLLOUT);
		edge(in);
		for (int k = 0; k < 2; k++) {
			EQ(edge(out), 0);
			OK(setsockopt(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
			TRUE(edge(out) & EPOLLOUT);
		}
		EQ(edge(in), 0);
		OK(close(out));
		OK(close(in));
		OK(close(s));
	}
}

CASE(edge_of_a_sender_whose_receiver_is_full, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	OK(connect(s, NAME(&a)));
	OK(shutdown(s, SHUT_RD));
	int ep = edge_on(s, EPOLLOUT | EPOLLRDHUP);
	EQ(edge(ep), EPOLLOUT | EPOLLRDHUP);
	while (send(s, "x", 1, MSG_DONTWAIT) == 1)
		;
	/* What did not fit has given back its part of the buffer. */
	EQ(edge(ep), EPOLLRDHUP);
	EQ(edge(ep), 0);
	FAILS(send(s, "x", 1, MSG_DONTWAIT), EAGAIN);
	EQ(edge(ep), EPOLLRDHUP);
	GETS(d, "x");
	EQ(edge(ep), EPOLLOUT | EPOLLRDHUP);
	EQ(edge(ep), 0);
	OK(close(ep));
	OK(close(s));
	OK(close(d));
}
