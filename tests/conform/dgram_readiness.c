/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Datagram sockets: shutdown, what poll(), select() and epoll tell in every state, and the edges. */
#include "conform.h"

CASE(dgram_ready_fresh_and_bound, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_DGRAM);

	READY(fd, POLLOUT);
	OK(bind(fd, NAME(&a)));
	READY(fd, POLLOUT);
	OK(close(fd));
}

CASE(dgram_ready_fresh_and_shut, 0)
{
	int r = unix_socket(SOCK_DGRAM), w = unix_socket(SOCK_DGRAM), b = unix_socket(SOCK_DGRAM);

	OK(shutdown(r, SHUT_RD));
	OK(shutdown(w, SHUT_WR));
	OK(shutdown(b, SHUT_RDWR));
	READY(r, POLLIN | POLLOUT | POLLRDHUP);
	READY(w, POLLOUT);
	READY(b, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	OK(close(r));
	OK(close(w));
	OK(close(b));
}

CASE_ON_DGRAM(dgram_ready_with_messages, 0)
{
	READY(sv[0], POLLOUT);
	EQ(tell(sv[0], "x"), 1);
	READY(sv[0], POLLOUT);
	READY(sv[1], POLLIN | POLLOUT);
	EQ(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), 1);
	READY(sv[1], POLLIN | POLLOUT);
	EQ(tell(sv[0], ""), 0);
	MESSAGE(sv[1], "x");
	READY(sv[1], POLLIN | POLLOUT);
	MESSAGE(sv[1], "");
	READY(sv[1], POLLOUT);
}

CASE_ON_DGRAM(dgram_ready_peers_shutdown_does_not_show, 0)
{
	OK(shutdown(sv[1], SHUT_RD));
	READY(sv[0], POLLOUT);
	READY(sv[1], POLLIN | POLLOUT | POLLRDHUP);
	OK(shutdown(sv[1], SHUT_WR));
	READY(sv[0], POLLOUT);
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

CASE_ON_DGRAM(dgram_ready_peer_closed, 0)
{
	EQ(tell(sv[1], "x"), 1);
	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	READY(sv[0], POLLIN | POLLOUT);
	MESSAGE(sv[0], "x");
	READY(sv[0], POLLOUT);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
}

CASE_ON_DGRAM(dgram_ready_full, 0)
{
	fill_messages(sv[0], NULL, 1000);
	READY(sv[0], 0);
	OK(shutdown(sv[1], SHUT_RD));
	READY(sv[0], 0);
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[0], 0);
	/* The buffers go with the receiver. */
	close_end(&sv[1]);
	READY(sv[0], POLLOUT);
}

CASE_ON_DGRAM(dgram_ready_error, 0)
{
	EQ(tell(sv[0], "x"), 1);
	dissolve(sv[1]);
	READY(sv[0], POLLOUT | POLLERR);
	READY(sv[1], POLLOUT);
	EQ(get_int_option(sv[0], SO_ERROR), ECONNRESET);
	READY(sv[0], POLLOUT);
}

CASE(dgram_ready_full_queue_of_the_peer, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a), t = unix_socket(SOCK_DGRAM);

	fill_messages(s, NULL, 1);
	READY(s, 0);
	/* Without a peer nobody's queue is looked at. */
	READY(t, POLLOUT);
	FAILS(send_to(t, &a, "x"), EAGAIN);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	READY(s, POLLOUT);
	EQ(send_to(t, &a, "x"), 1);
	READY(s, 0);
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(dgram_ready_full_queue_of_a_dead_peer, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	fill_messages(s, NULL, 1);
	READY(s, 0);
	OK(close(r));
	/* So that the send can tell. */
	READY(s, POLLOUT);
	FAILS(tell(s, "x"), ECONNREFUSED);
	OK(close(s));
}

CASE(dgram_ready_full_queue_of_the_peer_left, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	fill_messages(s, NULL, 1);
	READY(s, 0);
	dissolve(s);
	READY(s, POLLOUT);
	OK(connect(s, NAME(&a)));
	READY(s, 0);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_ready_full_queue_and_a_peer_that_connects_back, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);

	OK(connect(s, NAME(&a)));
	fill_messages(s, NULL, 1);
	READY(s, 0);
	OK(connect(r, NAME(&b)));
	READY(s, POLLOUT);
	EQ(tell(s, "x"), 1);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_ready_to_oneself, 0)
{
	struct name a = abstract_name("a");
	int s = bound_to(SOCK_DGRAM, &a);

	OK(connect(s, NAME(&a)));
	for (int i = 0; i < 20; i++)
		EQ(tell(s, "x"), 1);
	READY(s, POLLIN | POLLOUT);
	OK(close(s));
}

CASE(dgram_poll_waits_for_a_message, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	struct pollfd p = {.fd = r, .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	EQ(send_to(s, &a, "x"), 1);
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_poll_waits_for_room_in_the_peers_queue, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);
	struct pollfd p = {.fd = s, .events = POLLOUT};
	struct actor t;

	fill_messages(s, NULL, 1);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS(&t, 1);
	EQ(p.revents, POLLOUT);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_poll_waits_for_the_end_of_the_peer, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);
	struct pollfd p = {.fd = s, .events = POLLOUT};
	struct actor t;

	fill_messages(s, NULL, 1);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	OK(close(r));
	RETURNS(&t, 1);
	EQ(p.revents, POLLOUT);
	OK(close(s));
}

CASE_ON_DGRAM(dgram_poll_waits_for_an_error, 0)
{
	struct pollfd p = {.fd = sv[0], .events = 0};
	struct actor t;

	EQ(tell(sv[0], "unread"), 6);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	dissolve(sv[1]);
	RETURNS(&t, 1);
	EQ(p.revents, POLLERR);
}

CASE_ON_DGRAM(dgram_shut_rd, 0)
{
	struct actor t;
	char c;

	EQ(tell(sv[0], "queued"), 6);
	OK(shutdown(sv[1], SHUT_RD));
	/* What is there is there. */
	MESSAGE(sv[1], "queued");
	FAILS(tell(sv[0], "x"), EPIPE);
	/* Then nothing, at once; but EAGAIN for who does not wait. */
	FAILS(recv(sv[1], &c, 1, MSG_DONTWAIT), EAGAIN);
	start_recv(&t, sv[1], &c, 1, 0);
	RETURNS(&t, 0);
	EQ(tell(sv[1], "back"), 4);
	MESSAGE(sv[0], "back");
}

CASE_ON_DGRAM(dgram_shut_rd_wakes_an_own_reader, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[1], &c, 1, 0);
	BLOCKED(&t);
	OK(shutdown(sv[1], SHUT_RD));
	RETURNS(&t, 0);
}

CASE_ON_DGRAM(dgram_shut_wr, 0)
{
	EQ(tell(sv[0], "before"), 6);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(tell(sv[0], "x"), EPIPE);
	FAILS(tell(sv[0], ""), EPIPE);
	MESSAGE(sv[1], "before");
	/* The peer does not see an end. */
	EMPTY(sv[1]);
	READY(sv[1], POLLOUT);
	READY(sv[0], POLLOUT);
	EQ(tell(sv[1], "back"), 4);
	MESSAGE(sv[0], "back");
}

CASE_ON_DGRAM(dgram_shut_wr_does_not_wake_the_peers_reader, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[1], &c, 1, 0);
	BLOCKED(&t);
	OK(shutdown(sv[0], SHUT_RDWR));
	BLOCKED(&t);
	OK(shutdown(sv[1], SHUT_RD));
	RETURNS(&t, 0);
}

CASE(dgram_shutdown_survives_connect, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);

	OK(shutdown(s, SHUT_RDWR));
	OK(connect(s, NAME(&a)));
	FAILS(tell(s, "x"), EPIPE);
	FAILS(send_to(r, &b, "x"), EPIPE);
	dissolve(s);
	FAILS(send_to(s, &a, "x"), EPIPE);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_shut_receiver_refuses_everybody, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	OK(shutdown(r, SHUT_RD));
	FAILS(send_to(s, &a, "x"), EPIPE);
	/* One may connect to it. */
	OK(connect(s, NAME(&a)));
	FAILS(tell(s, "x"), EPIPE);
	OK(close(r));
	OK(close(s));
}

CASE_ON_DGRAM(dgram_edge_for_every_message, 0)
{
	int ep = watch_edges(sv[1], EPOLLIN);

	EQ(next_edge(ep), 0);
	EQ(tell(sv[0], "a"), 1);
	EQ(next_edge(ep), EPOLLIN);
	EQ(next_edge(ep), 0);
	/* Also while others are unread, and for nothing as well. */
	EQ(tell(sv[0], "b"), 1);
	EQ(next_edge(ep), EPOLLIN);
	EQ(tell(sv[0], ""), 0);
	EQ(next_edge(ep), EPOLLIN);
	MESSAGE(sv[1], "a");
	EQ(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), 1);
	EQ(next_edge(ep), 0);
	OK(close(ep));
}

CASE_ON_DGRAM(dgram_edge_shutdown_is_ones_own, 0)
{
	int mine = watch_edges(sv[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP),
	    others = watch_edges(sv[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP);

	EQ(next_edge(mine), EPOLLOUT);
	EQ(next_edge(others), EPOLLOUT);
	OK(shutdown(sv[0], SHUT_WR));
	EQ(next_edge(mine), EPOLLOUT);
	EQ(next_edge(others), 0);
	/* Every time. */
	OK(shutdown(sv[0], SHUT_WR));
	EQ(next_edge(mine), EPOLLOUT);
	OK(shutdown(sv[0], SHUT_RD));
	EQ(next_edge(mine), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	EQ(next_edge(others), 0);
	OK(close(mine));
	OK(close(others));
}

CASE_ON_DGRAM(dgram_edge_peers_close_makes_none, 0)
{
	int ep = watch_edges(sv[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP);

	EQ(next_edge(ep), EPOLLOUT);
	close_end(&sv[1]);
	EQ(next_edge(ep), 0);
	OK(close(ep));
}

CASE_ON_DGRAM(dgram_edge_for_a_reset, 0)
{
	int ep = watch_edges(sv[0], EPOLLIN);

	EQ(tell(sv[0], "unread"), 6);
	dissolve(sv[1]);
	EQ(next_edge(ep), EPOLLERR);
	EQ(next_edge(ep), 0);
	OK(close(ep));
}

CASE_ON_DGRAM(dgram_edges_for_freed_buffers, 0)
{
	int ep = watch_edges(sv[0], EPOLLOUT), edges = 0, first = 0;

	need_default_buffer(sv[0]);
	EQ(next_edge(ep), EPOLLOUT);
	EQ(fill_messages(sv[0], NULL, 1000), 93);
	EQ(next_edge(ep), 0);
	for (int i = 1; i <= 93; i++) {
		EQ(recv(sv[1], (char[1]){0}, 1, 0), 1);
		if (next_edge(ep)) {
			first = first ? first : i;
			edges++;
		}
	}
	EQ(first, 70);
	EQ(edges, 24);
	OK(close(ep));
}

CASE(dgram_edge_for_own_connect, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	int ep = watch_edges(s, EPOLLIN | EPOLLOUT);

	EQ(next_edge(ep), EPOLLOUT);
	OK(connect(s, NAME(&a)));
	EQ(next_edge(ep), 0);
	EQ(tell(s, "x"), 1);
	EQ(next_edge(ep), 0);
	/* Leaving a peer is an edge. */
	dissolve(s);
	EQ(next_edge(ep), EPOLLOUT);
	dissolve(s);
	EQ(next_edge(ep), 0);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
}

CASE(dgram_edge_after_a_refused_send, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a), t = unix_socket(SOCK_DGRAM);
	int ep = watch_edges(s, EPOLLOUT);

	EQ(next_edge(ep), EPOLLOUT);
	/* The messages are another's, so that no freed buffer makes the edge. */
	fill_messages(t, &a, 1);
	FAILS(tell(s, "x"), EAGAIN);
	EQ(next_edge(ep), 0);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	EQ(next_edge(ep), EPOLLOUT);
	/* Once. */
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	EQ(next_edge(ep), 0);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(dgram_edge_after_out_was_withheld, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a), t = unix_socket(SOCK_DGRAM);

	fill_messages(t, &a, 1);
	int ep = watch_edges(s, EPOLLOUT);
	EQ(next_edge(ep), 0);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	EQ(next_edge(ep), EPOLLOUT);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	EQ(next_edge(ep), 0);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(dgram_edge_when_a_full_peer_closes, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a), t = unix_socket(SOCK_DGRAM);

	fill_messages(t, &a, 1);
	int ep = watch_edges(s, EPOLLOUT);
	EQ(next_edge(ep), 0);
	OK(close(r));
	EQ(next_edge(ep), EPOLLOUT);
	OK(close(ep));
	OK(close(s));
	OK(close(t));
}

CASE(dgram_level_triggered, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), ep = OK(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = r};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, r, &ev));
	EQ(epoll_wait(ep, &ev, 1, 0), 0);
	EQ(send_to(s, &a, "1"), 1);
	EQ(send_to(s, &a, "2"), 1);
	EQ(epoll_wait(ep, &ev, 1, 0), 1);
	MESSAGE(r, "1");
	EQ(epoll_wait(ep, &ev, 1, 0), 1);
	MESSAGE(r, "2");
	EQ(epoll_wait(ep, &ev, 1, 0), 0);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
}

static long wait_on_epoll(struct actor *a)
{
	return epoll_wait(a->fd, a->buf, 1, -1);
}

CASE(dgram_epoll_waits_for_a_message, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), ep = watch_edges(r, EPOLLIN);
	struct epoll_event ev = {0};
	struct actor t = {.fd = ep, .buf = &ev};

	actor_start(&t, wait_on_epoll);
	BLOCKED(&t);
	EQ(send_to(s, &a, "x"), 1);
	RETURNS(&t, 1);
	EQ(ev.events, EPOLLIN);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
}

CASE(dgram_epoll_waits_for_room_in_the_peers_queue, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	fill_messages(s, NULL, 1);
	int ep = watch_edges(s, EPOLLOUT);
	struct epoll_event ev = {0};
	struct actor t = {.fd = ep, .buf = &ev};
	actor_start(&t, wait_on_epoll);
	BLOCKED(&t);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS(&t, 1);
	EQ(ev.events, EPOLLOUT);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
}

static long wait_on_select(struct actor *a)
{
	fd_set w;

	FD_ZERO(&w);
	FD_SET(a->fd, &w);
	return select(a->fd + 1, NULL, &w, NULL, NULL);
}

CASE(dgram_select_waits_for_room_in_the_peers_queue, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);
	struct actor t = {.fd = s};

	fill_messages(s, NULL, 1);
	actor_start(&t, wait_on_select);
	BLOCKED(&t);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS(&t, 1);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_epoll_oneshot, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), ep = OK(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, r, &ev));
	EQ(send_to(s, &a, "1"), 1);
	EQ(epoll_wait(ep, &ev, 1, 0), 1);
	EQ(send_to(s, &a, "2"), 1);
	EQ(epoll_wait(ep, &ev, 1, 0), 0);
	ev.events = EPOLLIN;
	OK(epoll_ctl(ep, EPOLL_CTL_MOD, r, &ev));
	EQ(epoll_wait(ep, &ev, 1, 0), 1);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
}

CASE(dgram_edge_for_a_change_of_peers, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = connect_to(SOCK_DGRAM, &a);
	int ep = watch_edges(s, EPOLLIN | EPOLLOUT);

	EQ(next_edge(ep), EPOLLOUT);
	OK(connect(s, NAME(&b)));
	EQ(next_edge(ep), EPOLLOUT);
	OK(close(ep));
	OK(close(r));
	OK(close(q));
	OK(close(s));
}

CASE(dgram_edge_of_in_only, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a), ep = watch_edges(s, EPOLLIN);

	/* Room and changes of peers are no news to who did not ask for OUT. */
	EQ(tell(s, "x"), 1);
	MESSAGE(r, "x");
	EQ(next_edge(ep), 0);
	dissolve(s);
	EQ(next_edge(ep), 0);
	OK(close(ep));
	OK(close(r));
	OK(close(s));
}

CASE_ON_MESSAGES(message_edge_for_a_larger_buffer, 0)
{
	int ep = watch_edges(sv[0], EPOLLOUT);

	EQ(next_edge(ep), EPOLLOUT);
	set_int_option(sv[0], SO_SNDBUF, 1);
	next_edge(ep);
	fill_messages(sv[0], NULL, 1);
	EQ(next_edge(ep), 0);
	set_int_option(sv[0], SO_SNDBUF, 3000);
	EQ(next_edge(ep), 0);
	set_int_option(sv[0], SO_SNDBUF, 50000);
	EQ(next_edge(ep), EPOLLOUT);
	OK(close(ep));
}

CASE_ON_MESSAGES(message_edge_when_another_takes_it, 0)
{
	int ep = watch_edges(sv[1], EPOLLIN);

	/* An edge is looked at again when it is asked for. */
	EQ(tell(sv[0], "x"), 1);
	MESSAGE(sv[1], "x");
	EQ(next_edge(ep), 0);
	EQ(tell(sv[0], "y"), 1);
	EQ(next_edge(ep), EPOLLIN);
	OK(close(ep));
}

CASE_ON_MESSAGES(message_watched_as_long_as_a_copy_lives, 0)
{
	int ep = watch_edges(sv[1], EPOLLIN), copy = OK(dup(sv[1]));

	close_end(&sv[1]);
	EQ(tell(sv[0], "x"), 1);
	EQ(next_edge(ep), EPOLLIN);
	OK(close(copy));
	EQ(next_edge(ep), 0);
	OK(close(ep));
}
