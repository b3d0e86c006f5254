/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* connect() of datagram sockets: the peer, who may send to whom, going elsewhere, and peers that are gone. */
#include "conform.h"

static void expect_no_peer(int fd)
{
	struct sockaddr_un un;
	socklen_t len = sizeof un;

	FAILS(getpeername(fd, ANY(&un), &len), ENOTCONN);
}

CASE(dgram_connect_makes_a_default, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	put(s, "x");
	MESSAGE(r, "x");
	/* Only one way. */
	FAILS(tell(r, "y"), ENOTCONN);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_connect_elsewhere, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = connect_to(SOCK_DGRAM, &a);

	EQ(tell(s, "a"), 1);
	OK(connect(s, NAME(&b)));
	EQ(tell(s, "b"), 1);
	/* What was sent before stays where it is. */
	MESSAGE(r, "a");
	MESSAGE(q, "b");
	EMPTY(r);
	OK(close(r));
	OK(close(q));
	OK(close(s));
}

CASE(dgram_sendto_past_the_peer, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = connect_to(SOCK_DGRAM, &a);

	/* No EISCONN: the address wins, for this message only. */
	EQ(send_to(s, &b, "b"), 1);
	EQ(tell(s, "a"), 1);
	MESSAGE(r, "a");
	MESSAGE(q, "b");
	OK(close(r));
	OK(close(q));
	OK(close(s));
}

CASE(dgram_connected_receiver_hears_its_peer_only, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), friend = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	OK(connect(r, NAME(&b)));
	FAILS(send_to(s, &a, "x"), EPERM);
	FAILS(connect(s, NAME(&a)), EPERM);
	expect_no_peer(s);
	EQ(send_to(friend, &a, "y"), 1);
	OK(connect(friend, NAME(&a)));
	EQ(tell(friend, "z"), 1);
	MESSAGE_FROM(r, "y", &b);
	MESSAGE_FROM(r, "z", &b);
	OK(close(r));
	OK(close(friend));
	OK(close(s));
}

CASE(dgram_peer_that_connects_away, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b), s = connect_to(SOCK_DGRAM, &a);

	EQ(tell(s, "x"), 1);
	OK(connect(r, NAME(&b)));
	FAILS(tell(s, "y"), EPERM);
	/* What others had sent stays. */
	MESSAGE(r, "x");
	/* Refused is not disconnected. */
	dissolve(r);
	EQ(tell(s, "z"), 1);
	MESSAGE(r, "z");
	OK(close(r));
	OK(close(other));
	OK(close(s));
}

CASE(dgram_failed_connect_by_permission_keeps_the_peer, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), c = abstract_name("c");
	int busy = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b),
	    mine = bound_to(SOCK_DGRAM, &c);
	int s = connect_to(SOCK_DGRAM, &c);

	OK(connect(busy, NAME(&b)));
	FAILS(connect(s, NAME(&a)), EPERM);
	EQ(tell(s, "x"), 1);
	MESSAGE(mine, "x");
	OK(close(busy));
	OK(close(other));
	OK(close(mine));
	OK(close(s));
}

CASE(dgram_many_may_connect_to_one, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a), t = connect_to(SOCK_DGRAM, &a);

	EQ(tell(s, "s"), 1);
	EQ(tell(t, "t"), 1);
	MESSAGE(r, "s");
	MESSAGE(r, "t");
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(dgram_dissolved, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	EQ(tell(s, "x"), 1);
	dissolve(s);
	expect_no_peer(s);
	FAILS(tell(s, "y"), ENOTCONN);
	EQ(send_to(s, &a, "z"), 1);
	MESSAGE(r, "x");
	MESSAGE(r, "z");
	OK(connect(s, NAME(&a)));
	EQ(tell(s, "again"), 5);
	MESSAGE(r, "again");
	OK(close(r));
	OK(close(s));
}

CASE(dgram_to_oneself, 0)
{
	struct name a = abstract_name("a");
	int s = bound_to(SOCK_DGRAM, &a), t = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, &a, "one"), 3);
	OK(connect(s, NAME(&a)));
	EQ(tell(s, "two"), 3);
	MESSAGE_FROM(s, "one", &a);
	MESSAGE_FROM(s, "two", &a);
	/* Its peer is itself: nobody else's message is welcome. */
	FAILS(send_to(t, &a, "x"), EPERM);
	FAILS(connect(t, NAME(&a)), EPERM);
	dissolve(s);
	EQ(send_to(t, &a, "x"), 1);
	MESSAGE(s, "x");
	OK(close(s));
	OK(close(t));
}

CASE(dgram_connect_from_no_peer_keeps_the_queue, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, &a, "kept"), 4);
	OK(connect(r, NAME(&b)));
	MESSAGE(r, "kept");
	OK(close(r));
	OK(close(other));
	OK(close(s));
}

CASE(dgram_reconnect_purges, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), c = abstract_name("c");
	int r = bound_to(SOCK_DGRAM, &a), one = bound_to(SOCK_DGRAM, &b), two = bound_to(SOCK_DGRAM, &c);

	OK(connect(r, NAME(&b)));
	EQ(send_to(one, &a, "lost"), 4);
	OK(connect(r, NAME(&c)));
	EMPTY(r);
	/* Who was not connected to us hears nothing of it. */
	EQ(get_int_option(one, SO_ERROR), 0);
	READY(one, POLLOUT);
	EQ(send_to(two, &a, "new"), 3);
	MESSAGE(r, "new");
	OK(close(r));
	OK(close(one));
	OK(close(two));
}

CASE(dgram_dissolve_purges, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), one = bound_to(SOCK_DGRAM, &b);

	OK(connect(r, NAME(&b)));
	EQ(send_to(one, &a, "lost"), 4);
	dissolve(r);
	EMPTY(r);
	OK(close(r));
	OK(close(one));
}

CASE(dgram_reconnect_to_the_same_keeps, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), one = bound_to(SOCK_DGRAM, &b);

	OK(connect(r, NAME(&b)));
	OK(connect(one, NAME(&a)));
	EQ(tell(one, "kept"), 4);
	OK(connect(r, NAME(&b)));
	EQ(get_int_option(one, SO_ERROR), 0);
	MESSAGE(r, "kept");
	OK(close(r));
	OK(close(one));
}

CASE(dgram_purge_frees_the_senders_buffer, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), one = bound_to(SOCK_DGRAM, &b);

	OK(connect(r, NAME(&b)));
	OK(connect(one, NAME(&a)));
	fill_messages(one, NULL, 1000);
	READY(one, 0);
	dissolve(r);
	EQ(get_int_option(one, SO_ERROR), ECONNRESET);
	READY(one, POLLOUT);
	EQ(tell(one, "x"), 1);
	MESSAGE(r, "x");
	OK(close(r));
	OK(close(one));
}

CASE_ON_DGRAM(dgram_dissolve_resets_the_peer, 0)
{
	EQ(tell(sv[0], "lost"), 4);
	dissolve(sv[1]);
	EMPTY(sv[1]);
	READY(sv[0], POLLOUT | POLLERR);
	EQ(get_int_option(sv[0], SO_ERROR), ECONNRESET);
	/* Once; and it is still connected to us. */
	READY(sv[0], POLLOUT);
	EQ(tell(sv[0], "x"), 1);
	MESSAGE(sv[1], "x");
	FAILS(tell(sv[1], "y"), ENOTCONN);
}

CASE_ON_DGRAM(dgram_reset_shows_at_send, 0)
{
	EQ(tell(sv[0], "lost"), 4);
	dissolve(sv[1]);
	FAILS(tell(sv[0], "x"), ECONNRESET);
	EQ(tell(sv[0], "y"), 1);
	MESSAGE(sv[1], "y");
}

CASE_ON_DGRAM(dgram_reset_shows_at_sendto, 0)
{
	struct name none = abstract_name("none");

	EQ(tell(sv[0], "lost"), 4);
	dissolve(sv[1]);
	FAILS(send_to(sv[0], &none, "x"), ECONNRESET);
	FAILS(send_to(sv[0], &none, "x"), ECONNREFUSED);
}

CASE_ON_DGRAM(dgram_dissolve_with_nothing_unread_is_quiet, 0)
{
	EQ(tell(sv[0], "read"), 4);
	MESSAGE(sv[1], "read");
	dissolve(sv[1]);
	READY(sv[0], POLLOUT);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
	EMPTY(sv[0]);
}

CASE_ON_DGRAM(dgram_reconnect_resets_the_peer, 0)
{
	struct name a = abstract_name("a");
	int other = bound_to(SOCK_DGRAM, &a);

	EQ(tell(sv[0], "lost"), 4);
	OK(connect(sv[1], NAME(&a)));
	EMPTY(sv[1]);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	EMPTY(sv[0]);
	FAILS(tell(sv[0], "x"), EPERM);
	OK(close(other));
}

CASE_ON_DGRAM(dgram_own_unread_messages_survive_the_peers_leaving, 0)
{
	EQ(tell(sv[1], "kept"), 4);
	EQ(tell(sv[0], "lost"), 4);
	dissolve(sv[1]);
	EQ(get_int_option(sv[0], SO_ERROR), ECONNRESET);
	MESSAGE(sv[0], "kept");
}

CASE_ON_DGRAM(dgram_reset_counts_an_empty_message, 0)
{
	EQ(tell(sv[0], ""), 0);
	dissolve(sv[1]);
	EQ(get_int_option(sv[0], SO_ERROR), ECONNRESET);
}

CASE(dgram_reset_also_for_a_strangers_message, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), one = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	/* Queued while r had no peer: unread is unread. */
	EQ(send_to(s, &a, "stranger"), 8);
	OK(connect(r, NAME(&b)));
	OK(connect(one, NAME(&a)));
	dissolve(r);
	EMPTY(r);
	EQ(get_int_option(one, SO_ERROR), ECONNRESET);
	EQ(get_int_option(s, SO_ERROR), 0);
	OK(close(r));
	OK(close(one));
	OK(close(s));
}

CASE(dgram_end_of_a_pair_goes_elsewhere, 0)
{
	struct name a = abstract_name("a");
	int other = bound_to(SOCK_DGRAM, &a), sv[2];

	unix_pair(SOCK_DGRAM, sv);
	OK(connect(sv[0], NAME(&a)));
	EQ(tell(sv[0], "x"), 1);
	MESSAGE(other, "x");
	FAILS(tell(sv[1], "y"), EPERM);
	dissolve(sv[0]);
	EQ(tell(sv[1], "z"), 1);
	MESSAGE(sv[0], "z");
	FAILS(tell(sv[0], "w"), ENOTCONN);
	OK(close(other));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_peer_gone_is_refused_once, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	OK(close(r));
	/* Nothing tells, until we send. */
	READY(s, POLLOUT);
	EMPTY(s);
	EQ(get_int_option(s, SO_ERROR), 0);
	OK(getpeername(s, ANY(&un), &len));
	EQ(len, a.len);
	FAILS(tell(s, "x"), ECONNREFUSED);
	FAILS(tell(s, "x"), ENOTCONN);
	expect_no_peer(s);
	READY(s, POLLOUT);
	/* And the way back. */
	r = bound_to(SOCK_DGRAM, &a);
	FAILS(tell(s, "x"), ENOTCONN);
	OK(connect(s, NAME(&a)));
	EQ(tell(s, "y"), 1);
	MESSAGE(r, "y");
	OK(close(r));
	OK(close(s));
}

CASE(dgram_peer_gone_and_its_name_taken, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	OK(close(r));
	r = bound_to(SOCK_DGRAM, &a);
	/* The peer was a socket, not a name. */
	FAILS(tell(s, "x"), ECONNREFUSED);
	EMPTY(r);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_peer_gone_for_an_end_of_a_pair, 0)
{
	int sv[2];

	unix_pair(SOCK_DGRAM, sv);
	EQ(tell(sv[1], "last"), 4);
	OK(close(sv[1]));
	READY(sv[0], POLLIN | POLLOUT);
	MESSAGE(sv[0], "last");
	EMPTY(sv[0]);
	READY(sv[0], POLLOUT);
	FAILS(tell(sv[0], "x"), ECONNREFUSED);
	FAILS(tell(sv[0], "x"), ENOTCONN);
	OK(close(sv[0]));
}

CASE_ON_DGRAM(dgram_refused_send_purges_the_queue, 0)
{
	EQ(tell(sv[1], "lost"), 4);
	close_end(&sv[1]);
	FAILS(tell(sv[0], "x"), ECONNREFUSED);
	EMPTY(sv[0]);
	READY(sv[0], POLLOUT);
}

CASE_ON_DGRAM(dgram_zero_length_send_to_the_gone, 0)
{
	close_end(&sv[1]);
	FAILS(tell(sv[0], ""), ECONNREFUSED);
	FAILS(tell(sv[0], ""), ENOTCONN);
}

CASE(dgram_sendto_a_dead_name_keeps_the_queue, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), none = abstract_name("none");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);

	EQ(send_to(r, &b, "kept"), 4);
	FAILS(send_to(s, &none, "x"), ECONNREFUSED);
	FAILS(send_to(s, &none, "x"), ECONNREFUSED);
	MESSAGE(s, "kept");
	OK(close(r));
	OK(close(s));
}

CASE(dgram_sendto_past_a_dead_peer, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = connect_to(SOCK_DGRAM, &a);

	OK(close(r));
	EQ(send_to(s, &b, "x"), 1);
	MESSAGE(q, "x");
	/* The news of the peer is not lost with it. */
	FAILS(tell(s, "y"), ECONNREFUSED);
	OK(close(q));
	OK(close(s));
}

CASE(dgram_connect_away_from_a_dead_peer, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = connect_to(SOCK_DGRAM, &a);

	OK(close(r));
	OK(connect(s, NAME(&b)));
	EQ(tell(s, "x"), 1);
	MESSAGE(q, "x");
	OK(close(q));
	OK(close(s));
}

CASE(dgram_messages_outlive_their_sender, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	EQ(tell(s, "one"), 3);
	EQ(tell(s, "two"), 3);
	OK(close(s));
	READY(r, POLLIN | POLLOUT);
	MESSAGE(r, "one");
	MESSAGE(r, "two");
	EMPTY(r);
	READY(r, POLLOUT);
	OK(close(r));
}

CASE(dgram_no_end_of_file, 0)
{
	int sv[2];
	struct actor t;
	char c;

	unix_pair(SOCK_DGRAM, sv);
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	OK(close(sv[1]));
	BLOCKED(&t);
	OK(shutdown(sv[0], SHUT_RD));
	RETURNS(&t, 0);
	OK(close(sv[0]));
}

CASE(dgram_purge_frees_a_strangers_buffer, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), one = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);
	int used = -1;

	EQ(send_to(s, &a, "x"), 1);
	OK(ioctl(s, TIOCOUTQ, &used));
	EQ(used, 768);
	OK(connect(r, NAME(&b)));
	dissolve(r);
	OK(ioctl(s, TIOCOUTQ, &used));
	EQ(used, 0);
	OK(close(r));
	OK(close(one));
	OK(close(s));
}

CASE_ON_DGRAM(dgram_last_close_frees_the_senders_buffer, 0)
{
	int used = -1, copy = OK(dup(sv[1]));

	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
	OK(ioctl(sv[0], TIOCOUTQ, &used));
	EQ(used, 768);
	OK(close(copy));
	OK(ioctl(sv[0], TIOCOUTQ, &used));
	EQ(used, 0);
}

CASE_ON_DGRAM(dgram_leaving_a_dead_peer_purges, 0)
{
	EQ(tell(sv[1], "lost"), 4);
	close_end(&sv[1]);
	dissolve(sv[0]);
	EMPTY(sv[0]);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
}

CASE(dgram_leaving_oneself_purges, 0)
{
	struct name a = abstract_name("a");
	int s = bound_to(SOCK_DGRAM, &a);

	OK(connect(s, NAME(&a)));
	EQ(tell(s, "lost"), 4);
	dissolve(s);
	EMPTY(s);
	/* It was its own peer no longer when the question came up. */
	READY(s, POLLOUT);
	EQ(get_int_option(s, SO_ERROR), 0);
	OK(close(s));
}

CASE(dgram_no_ring_of_three, 0)
{
	struct name n[3] = {abstract_name("0"), abstract_name("1"), abstract_name("2")};
	int s[3];

	for (int i = 0; i < 3; i++)
		s[i] = bound_to(SOCK_DGRAM, &n[i]);
	OK(connect(s[0], NAME(&n[1])));
	OK(connect(s[1], NAME(&n[2])));
	/* Who is connected elsewhere cannot be connected to, nor sent to. */
	FAILS(connect(s[2], NAME(&n[0])), EPERM);
	FAILS(tell(s[0], "x"), EPERM);
	EQ(tell(s[1], "y"), 1);
	MESSAGE_FROM(s[2], "y", &n[1]);
	for (int i = 0; i < 3; i++)
		OK(close(s[i]));
}

CASE(dgram_pending_error_survives_connect, 0)
{
	struct name a = abstract_name("a");
	int sv[2], r = bound_to(SOCK_DGRAM, &a);

	unix_pair(SOCK_DGRAM, sv);
	EQ(tell(sv[0], "unread"), 6);
	dissolve(sv[1]);
	OK(connect(sv[0], NAME(&a)));
	FAILS(tell(sv[0], "x"), ECONNRESET);
	EQ(tell(sv[0], "y"), 1);
	MESSAGE(r, "y");
	OK(close(r));
	OK(close(sv[0]));
	OK(close(sv[1]));
}
