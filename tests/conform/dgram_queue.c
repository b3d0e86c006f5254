/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The limit of a datagram socket's receive queue: whom it stops, whom not, and who wakes whom. */
#include "conform.h"

enum { QUEUE = 11 };

CASE(queue_admits_eleven, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	need_default_queue();
	EQ(fill_messages(s, &a, 1), QUEUE);
	/* Room for one is room for one. */
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	EQ(fill_messages(s, &a, 1), 1);
	EQ(take_messages(r), QUEUE);
	EQ(fill_messages(s, &a, 1), QUEUE);
	OK(close(r));
	OK(close(s));
}

CASE(queue_admits_eleven_from_a_connected_sender, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	need_default_queue();
	EQ(fill_messages(s, NULL, 1), QUEUE);
	set_nonblocking(s, true);
	FAILS(write(s, "", 0), EAGAIN);
	OK(close(r));
	OK(close(s));
}

CASE(queue_counts_empty_messages, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	need_default_queue();
	EQ(fill_messages(s, &a, 0), QUEUE);
	EQ(recv(r, NULL, 0, 0), 0);
	EQ(fill_messages(s, &a, 0), 1);
	OK(close(r));
	OK(close(s));
}

CASE(queue_is_shared_by_senders, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), t = connect_to(SOCK_DGRAM, &a);

	need_default_queue();
	for (int i = 0; i < 6; i++)
		EQ(send_to(s, &a, "s"), 1);
	EQ(fill_messages(t, NULL, 1), QUEUE - 6);
	FAILS(send_to(s, &a, "s"), EAGAIN);
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(queue_of_each_receiver_is_its_own, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	need_default_queue();
	EQ(fill_messages(s, &a, 1), QUEUE);
	EQ(fill_messages(s, &b, 1), QUEUE);
	EQ(take_messages(r), QUEUE);
	EQ(take_messages(q), QUEUE);
	OK(close(r));
	OK(close(q));
	OK(close(s));
}

CASE(queue_keeps_what_closed_senders_sent, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	need_default_queue();
	EQ(fill_messages(s, &a, 1), QUEUE);
	OK(close(s));
	s = unix_socket(SOCK_DGRAM);
	FAILS(send_to(s, &a, "x"), EAGAIN);
	EQ(take_messages(r), QUEUE);
	EQ(send_to(s, &a, "x"), 1);
	OK(close(r));
	OK(close(s));
}

CASE(queue_peek_makes_no_room, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	fill_messages(s, &a, 1);
	EQ(recv(r, (char[1]){0}, 1, MSG_PEEK), 1);
	FAILS(send_to(s, &a, "x"), EAGAIN);
	OK(close(r));
	OK(close(s));
}

CASE_ON_DGRAM(queue_does_not_limit_mutual_peers, 0)
{
	need_default_buffer(sv[0]);
	EQ(fill_messages(sv[0], NULL, 1), 278);
	EQ(fill_messages(sv[1], NULL, 1), 278);
	EQ(take_messages(sv[0]), 278);
	EQ(take_messages(sv[1]), 278);
}

CASE(queue_does_not_limit_who_the_receiver_is_connected_to, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);

	need_default_buffer(s);
	/* It is the receiver's connection that counts. */
	OK(connect(r, NAME(&b)));
	EQ(fill_messages(s, &a, 1), 278);
	OK(close(r));
	OK(close(s));
}

CASE(queue_does_not_limit_oneself, 0)
{
	struct name a = abstract_name("a");
	int s = bound_to(SOCK_DGRAM, &a);

	need_default_buffer(s);
	EQ(fill_messages(s, &a, 1), 278);
	EQ(take_messages(s), 278);
	OK(connect(s, NAME(&a)));
	EQ(fill_messages(s, NULL, 1), 278);
	OK(close(s));
}

CASE_ON_SEQPACKET(queue_does_not_limit, 0)
{
	need_default_buffer(sv[0]);
	EQ(fill_messages(sv[0], NULL, 1), 278);
	EQ(take_messages(sv[1]), 278);
}

CASE(queue_limits_again_after_the_receiver_dissolved, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);

	need_default_queue();
	OK(connect(r, NAME(&b)));
	dissolve(r);
	EQ(fill_messages(s, &a, 1), QUEUE);
	OK(close(r));
	OK(close(s));
}

CASE(queue_filled_by_a_friend_stops_strangers, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b), stranger = unix_socket(SOCK_DGRAM);

	need_default_queue();
	EQ(send_to(stranger, &a, "early"), 5);
	OK(connect(r, NAME(&b)));
	for (int i = 0; i < 20; i++)
		EQ(send_to(s, &a, "x"), 1);
	/* What is queued from before stays in front. */
	MESSAGE(r, "early");
	EQ(take_messages(r), 20);
	OK(close(r));
	OK(close(s));
	OK(close(stranger));
}

CASE(queue_blocked_sender_goes_on_with_one_receive, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	fill_messages(s, &a, 1);
	start_send_to(&t, s, &a, "late");
	BLOCKED(&t);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS(&t, 4);
	FAILS(send_to(s, &a, "x"), EAGAIN);
	OK(close(r));
	OK(close(s));
}

CASE(queue_blocked_connected_sender, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);
	struct actor t;

	fill_messages(s, NULL, 1);
	start_send(&t, s, "late", 4, 0);
	BLOCKED(&t);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS(&t, 4);
	OK(close(r));
	OK(close(s));
}

CASE(queue_blocked_senders_go_on_one_by_one, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s[3];
	struct actor t[3];

	for (int i = 0; i < 3; i++)
		s[i] = unix_socket(SOCK_DGRAM);
	fill_messages(s[0], &a, 1);
	for (int i = 0; i < 3; i++) {
		start_send_to(&t[i], s[i], &a, "late");
		BLOCKED(&t[i]);
	}
	for (int left = 3; left > 0; left--) {
		int done = 0;

		EQ(recv(r, (char[1]){0}, 1, 0), 1);
		while (done < 4 - left) {
			done = 0;
			for (int i = 0; i < 3; i++)
				done += atomic_load(&t[i].done);
			sched_yield();
		}
		/* The others sleep on. */
		for (int i = 0; i < 3; i++)
			if (!atomic_load(&t[i].done))
				BLOCKED(&t[i]);
	}
	for (int i = 0; i < 3; i++) {
		RETURNS(&t[i], 4);
		OK(close(s[i]));
	}
	OK(close(r));
}

CASE(queue_blocked_sender_and_a_closing_receiver, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	fill_messages(s, &a, 1);
	start_send_to(&t, s, &a, "late");
	BLOCKED(&t);
	OK(close(r));
	RETURNS_ERROR(&t, ECONNREFUSED);
	OK(close(s));
}

CASE(queue_blocked_connected_sender_and_a_closing_receiver, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);
	struct actor t;

	fill_messages(s, NULL, 1);
	start_send(&t, s, "late", 4, 0);
	BLOCKED(&t);
	OK(close(r));
	RETURNS_ERROR(&t, ECONNREFUSED);
	FAILS(tell(s, "x"), ENOTCONN);
	OK(close(s));
}

CASE(queue_blocked_sender_and_a_name_that_changes_hands, 0)
{
	struct name p = path_name("p");
	int r = bound_to(SOCK_DGRAM, &p), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	fill_messages(s, &p, 1);
	start_send_to(&t, s, &p, "late");
	BLOCKED(&t);
	EQ(unlink("p"), 0);
	int heir = bound_to(SOCK_DGRAM, &p);
	OK(close(r));
	/* The name is looked up again. */
	RETURNS(&t, 4);
	MESSAGE(heir, "late");
	OK(close(heir));
	OK(close(s));
	EQ(unlink("p"), 0);
}

CASE(queue_blocked_sender_and_a_receiver_that_connects_away, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	fill_messages(s, &a, 1);
	start_send_to(&t, s, &a, "late");
	BLOCKED(&t);
	OK(connect(r, NAME(&b)));
	BLOCKED(&t);
	/* Seen when there is room. */
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS_ERROR(&t, EPERM);
	OK(close(r));
	OK(close(other));
	OK(close(s));
}

CASE(queue_blocked_sender_and_the_receivers_shutdown, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	fill_messages(s, &a, 1);
	start_send_to(&t, s, &a, "late");
	BLOCKED(&t);
	OK(shutdown(r, SHUT_RD));
	BLOCKED(&t);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS_ERROR(&t, EPIPE);
	OK(close(r));
	OK(close(s));
}

CASE(queue_blocked_sender_and_its_own_shutdown, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	fill_messages(s, &a, 1);
	start_send_to(&t, s, &a, "late");
	BLOCKED(&t);
	OK(shutdown(s, SHUT_WR));
	BLOCKED(&t);
	/* The message was past that check, the next one is not. */
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS(&t, 4);
	FAILS(send_to(s, &a, "x"), EPIPE);
	OK(close(r));
	OK(close(s));
}

CASE(queue_blocked_sender_and_a_purge, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	fill_messages(s, &a, 1);
	start_send_to(&t, s, &a, "late");
	BLOCKED(&t);
	OK(connect(r, NAME(&b)));
	dissolve(r);
	RETURNS(&t, 4);
	MESSAGE(r, "late");
	OK(close(r));
	OK(close(other));
	OK(close(s));
}

CASE(queue_full_and_nonblocking_socket, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM | SOCK_NONBLOCK);

	fill_messages(s, &a, 1);
	FAILS(sendto(s, "x", 1, 0, NAME(&a)), EAGAIN);
	/* The receiver's mode is nothing to the sender. */
	set_nonblocking(s, false);
	set_nonblocking(r, true);
	FAILS(sendto(s, "x", 1, MSG_DONTWAIT, NAME(&a)), EAGAIN);
	OK(close(r));
	OK(close(s));
}

CASE(queue_full_timeout, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	long start;

	fill_messages(s, &a, 1);
	set_time_option(s, SO_SNDTIMEO, 30);
	start = now_ms();
	FAILS(sendto(s, "x", 1, 0, NAME(&a)), EAGAIN);
	TRUE(now_ms() - start >= 29);
	OK(close(r));
	OK(close(s));
}

CASE(queue_order_of_two_senders, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), t = connect_to(SOCK_DGRAM, &a);

	EQ(send_to(s, &a, "1"), 1);
	EQ(tell(t, "2"), 1);
	EQ(send_to(s, &a, "3"), 1);
	EQ(tell(t, "4"), 1);
	MESSAGE(r, "1");
	MESSAGE(r, "2");
	MESSAGE(r, "3");
	MESSAGE(r, "4");
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(queue_waits_for_the_buffer_first, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	/* A slow receiver costs all others the sender's buffer. */
	need_default_buffer(s);
	EQ(fill_messages(s, &a, 65536), 4);
	FAILS(send_to(s, &b, "x"), EAGAIN);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	EQ(send_to(s, &b, "x"), 1);
	MESSAGE(q, "x");
	OK(close(r));
	OK(close(q));
	OK(close(s));
}

CASE(queue_limits_an_end_of_a_pair_that_was_left, 0)
{
	int sv[2];

	need_default_queue();
	unix_pair(SOCK_DGRAM, sv);
	dissolve(sv[0]);
	EQ(fill_messages(sv[1], NULL, 1), QUEUE);
	READY(sv[1], 0);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(queue_of_a_friend_longer_than_the_limit, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);

	need_default_queue();
	OK(connect(r, NAME(&b)));
	for (int i = 0; i < 20; i++)
		EQ(send_to(s, &a, "x"), 1);
	/* No purge, since the new peer is the old one; and still no limit. */
	OK(connect(r, NAME(&b)));
	EQ(send_to(s, &a, "y"), 1);
	EQ(take_messages(r), 21);
	OK(close(r));
	OK(close(s));
}

CASE(queue_blocked_sender_and_a_receiver_that_connects_to_it, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);
	struct actor t;

	fill_messages(s, &a, 1);
	start_send_to(&t, s, &a, "late");
	BLOCKED(&t);
	OK(connect(r, NAME(&b)));
	/* Others need not wait any more; the sleeper is told with the next receive. */
	EQ(send_to(s, &a, "next"), 4);
	EQ(recv(r, (char[1]){0}, 1, 0), 1);
	RETURNS(&t, 4);
	OK(close(r));
	OK(close(s));
}

CASE(queue_blocked_sender_is_interrupted_and_sent_nothing, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), used = -1, before = -1;
	struct actor t;

	count_signal(SIGUSR1, 0);
	fill_messages(s, &a, 1);
	OK(ioctl(s, TIOCOUTQ, &before));
	start_send_to(&t, s, &a, "never");
	BLOCKED(&t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS_ERROR(&t, EINTR);
	OK(ioctl(s, TIOCOUTQ, &used));
	EQ(used, before);
	EQ(take_messages(r), before / 768);
	EMPTY(r);
	OK(close(r));
	OK(close(s));
}

CASE(queue_refused_message_is_not_charged, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), used = -1, before = -1;

	fill_messages(s, &a, 1);
	OK(ioctl(s, TIOCOUTQ, &before));
	FAILS(send_to(s, &a, "x"), EAGAIN);
	OK(ioctl(s, TIOCOUTQ, &used));
	EQ(used, before);
	OK(close(r));
	OK(close(s));
}
