/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Seqpacket sockets: close(), when it is a reset and when an end, shutdown(), readiness, and the edges. */
#include "conform.h"

enum { HUNG_UP = POLLIN | POLLOUT | POLLHUP | POLLRDHUP };

/* What the peer of a socket that has closed sees: an end, without an error. */
static void expect_end(int fd)
{
	READY(fd, HUNG_UP);
	EQ(get_int_option(fd, SO_ERROR), 0);
	AT_EOF(fd);
	AT_EOF(fd);
	FAILS(tell(fd, "x"), EPIPE);
}

static void expect_reset(int fd)
{
	READY(fd, HUNG_UP | POLLERR);
	FAILS(recv(fd, (char[1]){0}, 1, 0), ECONNRESET);
	/* Once. */
	READY(fd, HUNG_UP);
	AT_EOF(fd);
	FAILS(tell(fd, "x"), EPIPE);
}

CASE_ON_SEQPACKET(seqpacket_close_with_nothing_unread, 0)
{
	EQ(tell(sv[0], "read"), 4);
	MESSAGE(sv[1], "read");
	close_end(&sv[1]);
	expect_end(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_with_a_message_unread, 0)
{
	EQ(tell(sv[0], "x"), 1);
	close_end(&sv[1]);
	expect_reset(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_with_a_message_peeked_at, 0)
{
	EQ(tell(sv[0], "x"), 1);
	EQ(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), 1);
	close_end(&sv[1]);
	expect_reset(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_with_a_message_partly_received, 0)
{
	EQ(tell(sv[0], "abc"), 3);
	EQ(recv(sv[1], (char[1]){0}, 1, 0), 1);
	close_end(&sv[1]);
	expect_end(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_with_one_empty_message, 0)
{
	EQ(tell(sv[0], ""), 0);
	close_end(&sv[1]);
	expect_end(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_with_two_empty_messages, 0)
{
	EQ(tell(sv[0], ""), 0);
	EQ(tell(sv[0], ""), 0);
	close_end(&sv[1]);
	expect_reset(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_with_an_empty_message_and_another, 0)
{
	EQ(tell(sv[0], ""), 0);
	EQ(tell(sv[0], "x"), 1);
	close_end(&sv[1]);
	expect_reset(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_after_shut_rd, 0)
{
	EQ(tell(sv[0], "x"), 1);
	OK(shutdown(sv[1], SHUT_RD));
	close_end(&sv[1]);
	expect_reset(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_after_shut_rdwr, 0)
{
	EQ(tell(sv[0], "x"), 1);
	OK(shutdown(sv[1], SHUT_RDWR));
	close_end(&sv[1]);
	expect_reset(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_close_leaves_what_was_sent, 0)
{
	EQ(tell(sv[1], "one"), 3);
	EQ(tell(sv[1], ""), 0);
	EQ(tell(sv[1], "two"), 3);
	close_end(&sv[1]);
	MESSAGE(sv[0], "one");
	MESSAGE(sv[0], "");
	MESSAGE(sv[0], "two");
	expect_end(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_reset_comes_before_messages, 0)
{
	EQ(tell(sv[1], "still"), 5);
	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	FAILS(recv(sv[0], (char[8]){0}, 8, 0), ECONNRESET);
	MESSAGE(sv[0], "still");
	AT_EOF(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_reset_shows_at_peek, 0)
{
	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	FAILS(recv(sv[0], (char[8]){0}, 8, MSG_PEEK), ECONNRESET);
	EQ(recv(sv[0], (char[8]){0}, 8, MSG_PEEK), 0);
}

CASE_ON_SEQPACKET(seqpacket_reset_shows_at_send, 0)
{
	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	FAILS(tell(sv[0], "x"), ECONNRESET);
	FAILS(tell(sv[0], "x"), EPIPE);
	AT_EOF(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_reset_shows_in_so_error, 0)
{
	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	EQ(get_int_option(sv[0], SO_ERROR), ECONNRESET);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
	READY(sv[0], HUNG_UP);
	AT_EOF(sv[0]);
}

CASE(seqpacket_listener_closes_before_accept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), c = connect_to(SOCK_SEQPACKET, &a);

	OK(close(l));
	expect_reset(c);
	OK(close(c));
}

CASE_ON_SEQPACKET(seqpacket_last_of_several_descriptors_closes, 0)
{
	int copy = OK(dup(sv[1]));

	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	READY(sv[0], POLLOUT);
	EMPTY(sv[0]);
	OK(close(copy));
	expect_reset(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_epipe_without_signal, 0)
{
	count_signal(SIGPIPE, 0);
	close_end(&sv[1]);
	FAILS(write(sv[0], "x", 1), EPIPE);
	FAILS(write(sv[0], "", 0), EPIPE);
	FAILS(send(sv[0], "x", 1, 0), EPIPE);
	EQ(atomic_load(&signals_seen), 0);
}

CASE_ON_SEQPACKET(seqpacket_shut_wr, 0)
{
	EQ(tell(sv[0], "x"), 1);
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[0], POLLOUT);
	READY(sv[1], POLLIN | POLLOUT | POLLRDHUP);
	MESSAGE(sv[1], "x");
	AT_EOF(sv[1]);
	FAILS(tell(sv[0], "y"), EPIPE);
	EQ(tell(sv[1], "back"), 4);
	MESSAGE(sv[0], "back");
}

CASE_ON_SEQPACKET(seqpacket_shut_rd, 0)
{
	EQ(tell(sv[1], "queued"), 6);
	OK(shutdown(sv[0], SHUT_RD));
	READY(sv[0], POLLIN | POLLOUT | POLLRDHUP);
	READY(sv[1], POLLOUT);
	MESSAGE(sv[0], "queued");
	/* Unlike a datagram socket, also for who does not wait. */
	AT_EOF(sv[0]);
	FAILS(tell(sv[1], "x"), EPIPE);
	EQ(tell(sv[0], "y"), 1);
	MESSAGE(sv[1], "y");
}

CASE_ON_SEQPACKET(seqpacket_shut_both, 0)
{
	OK(shutdown(sv[0], SHUT_RDWR));
	READY(sv[0], HUNG_UP);
	READY(sv[1], HUNG_UP);
	AT_EOF(sv[0]);
	AT_EOF(sv[1]);
	FAILS(tell(sv[0], "x"), EPIPE);
	FAILS(tell(sv[1], "x"), EPIPE);
}

CASE_ON_SEQPACKET(seqpacket_end_tells_no_flags, 0)
{
	char c;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_flags = 0x77};

	close_end(&sv[1]);
	EQ(recvmsg(sv[0], &m, 0), 0);
	EQ(m.msg_flags, 0);
	EQ(m.msg_controllen, 0);
}

CASE_ON_SEQPACKET(seqpacket_reader_woken_by_close, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	close_end(&sv[1]);
	RETURNS(&t, 0);
}

CASE_ON_SEQPACKET(seqpacket_reader_woken_by_a_reset, 0)
{
	struct actor t;
	char c;

	EQ(tell(sv[0], "unread"), 6);
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	close_end(&sv[1]);
	RETURNS_ERROR(&t, ECONNRESET);
	AT_EOF(sv[0]);
}

CASE_ON_SEQPACKET(seqpacket_reader_woken_by_the_peers_shut_wr, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	OK(shutdown(sv[1], SHUT_WR));
	RETURNS(&t, 0);
}

CASE_ON_SEQPACKET(seqpacket_reader_woken_by_its_own_shut_rd, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	OK(shutdown(sv[0], SHUT_RD));
	RETURNS(&t, 0);
}

CASE(seqpacket_ready_fresh_and_bound, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_SEQPACKET);

	READY(fd, POLLOUT | POLLHUP);
	OK(bind(fd, NAME(&a)));
	READY(fd, POLLOUT | POLLHUP);
	OK(shutdown(fd, SHUT_WR));
	READY(fd, POLLOUT | POLLHUP);
	OK(shutdown(fd, SHUT_RD));
	READY(fd, HUNG_UP);
	OK(close(fd));
}

CASE(seqpacket_ready_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5);

	READY(l, 0);
	int c = connect_to(SOCK_SEQPACKET, &a);
	READY(l, POLLIN);
	READY(c, POLLOUT);
	OK(close(OK(accept(l, NULL, NULL))));
	READY(l, 0);
	OK(shutdown(l, SHUT_RD));
	READY(l, POLLIN | POLLRDHUP);
	OK(shutdown(l, SHUT_RDWR));
	READY(l, POLLIN | POLLRDHUP | POLLHUP);
	OK(close(c));
	OK(close(l));
}

CASE_ON_SEQPACKET(seqpacket_ready_with_messages, 0)
{
	READY(sv[0], POLLOUT);
	EQ(tell(sv[0], ""), 0);
	READY(sv[1], POLLIN | POLLOUT);
	READY(sv[0], POLLOUT);
	MESSAGE(sv[1], "");
	READY(sv[1], POLLOUT);
}

CASE_ON_SEQPACKET(seqpacket_ready_full, 0)
{
	fill_messages(sv[0], NULL, 1000);
	READY(sv[0], 0);
	OK(shutdown(sv[1], SHUT_RD));
	READY(sv[0], 0);
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[0], 0);
	close_end(&sv[1]);
	READY(sv[0], HUNG_UP | POLLERR);
}

CASE_ON_SEQPACKET(seqpacket_edge_for_every_message, 0)
{
	int ep = watch_edges(sv[1], EPOLLIN);

	EQ(next_edge(ep), 0);
	EQ(tell(sv[0], "a"), 1);
	EQ(next_edge(ep), EPOLLIN);
	EQ(tell(sv[0], ""), 0);
	EQ(next_edge(ep), EPOLLIN);
	EQ(next_edge(ep), 0);
	MESSAGE(sv[1], "a");
	EQ(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), 0);
	EQ(next_edge(ep), 0);
	OK(close(ep));
}

CASE_ON_SEQPACKET(seqpacket_edges_for_freed_buffers, 0)
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

CASE_ON_SEQPACKET(seqpacket_edge_of_shutdown_is_both_ends, 0)
{
	int mine = watch_edges(sv[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP),
	    others = watch_edges(sv[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP);

	EQ(next_edge(mine), EPOLLOUT);
	EQ(next_edge(others), EPOLLOUT);
	OK(shutdown(sv[0], SHUT_WR));
	EQ(next_edge(mine), EPOLLOUT);
	EQ(next_edge(others), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	OK(shutdown(sv[0], SHUT_WR));
	EQ(next_edge(mine), EPOLLOUT);
	EQ(next_edge(others), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	close_end(&sv[1]);
	EQ(next_edge(mine), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	OK(close(mine));
	OK(close(others));
}

CASE_ON_SEQPACKET(seqpacket_edge_of_a_reset, 0)
{
	int ep = watch_edges(sv[0], EPOLLOUT);

	EQ(next_edge(ep), EPOLLOUT);
	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	EQ(next_edge(ep), EPOLLOUT | EPOLLHUP | EPOLLERR);
	EQ(next_edge(ep), 0);
	OK(close(ep));
}

CASE(seqpacket_edge_of_connections, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), ep = watch_edges(l, EPOLLIN);

	EQ(next_edge(ep), 0);
	int c = connect_to(SOCK_SEQPACKET, &a);
	EQ(next_edge(ep), EPOLLIN);
	int d = connect_to(SOCK_SEQPACKET, &a), mine = watch_edges(d, EPOLLIN | EPOLLOUT);
	EQ(next_edge(ep), EPOLLIN);
	EQ(next_edge(mine), EPOLLOUT);
	OK(close(OK(accept(l, NULL, NULL))));
	EQ(next_edge(ep), 0);
	int s = OK(accept(l, NULL, NULL));
	EQ(next_edge(mine), 0);
	OK(close(s));
	OK(close(mine));
	OK(close(ep));
	OK(close(c));
	OK(close(d));
	OK(close(l));
}
