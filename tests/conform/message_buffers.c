/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The sender's buffer and messages: how many go in before EAGAIN, the largest one,
 * SIOCINQ and SIOCOUTQ, and when blocked senders go on.
 */
#include "conform.h"

#include <linux/sockios.h>

static const struct {
	size_t size;
	int charge;
	/* Messages until EAGAIN; POLLOUT is off after so many. */
	int count, off;
} table[] = {
	{0, 768, 278, 70},    {1, 768, 278, 70},    {192, 768, 278, 70},  {193, 1280, 167, 42},
	{704, 1280, 167, 42}, {705, 2304, 93, 24},  {1728, 2304, 93, 24}, {1729, 4352, 49, 13},
	{3776, 4352, 49, 13}, {4096, 8448, 26, 7},  {8192, 16640, 13, 4}, {16384, 20736, 11, 3},
	{32768, 37120, 6, 2}, {36544, 37120, 6, 2}, {65536, 69888, 4, 1}, {212960, 332032, 1, 1},
};

enum { ROWS = sizeof table / sizeof table[0] };

static char zeros[212992];

static int ioctl_value(int fd, unsigned long request)
{
	int n = -1;

	OK(ioctl(fd, request, &n));
	return n;
}

CASE_ON_MESSAGES(message_counts_until_eagain, 0)
{
	need_default_buffer(sv[0]);
	for (size_t i = 0; i < ROWS; i++) {
		int count = fill_messages(sv[0], NULL, table[i].size);

		if (count != table[i].count)
			conform_fail(HERE, "messages of %zu: expected %d, got %d", table[i].size,
				     table[i].count, count);
		EQ(take_messages(sv[1]), count);
	}
}

CASE_ON_MESSAGES(message_charge_is_siocoutq, 0)
{
	need_default_buffer(sv[0]);
	for (size_t i = 0; i < ROWS; i++) {
		EQ(send(sv[0], zeros, table[i].size, MSG_DONTWAIT), table[i].size);
		int charge = ioctl_value(sv[0], SIOCOUTQ);

		if (charge != table[i].charge)
			conform_fail(HERE, "a message of %zu: expected a charge of %d, got %d", table[i].size,
				     table[i].charge, charge);
		EQ(ioctl_value(sv[1], SIOCOUTQ), 0);
		EQ(take_messages(sv[1]), 1);
		EQ(ioctl_value(sv[0], SIOCOUTQ), 0);
	}
}

CASE_ON_MESSAGES(message_counts_until_not_writable, 0)
{
	need_default_buffer(sv[0]);
	for (size_t i = 0; i < ROWS; i++) {
		struct pollfd p = {.fd = sv[0], .events = POLLOUT};
		int sent = 0;

		for (; poll(&p, 1, 0) == 1; sent++)
			EQ(send(sv[0], zeros, table[i].size, MSG_DONTWAIT), table[i].size);
		if (sent != table[i].off)
			conform_fail(HERE, "messages of %zu: expected POLLOUT to end after %d, got %d",
				     table[i].size, table[i].off, sent);
		EQ(take_messages(sv[1]), sent);
	}
}

CASE_ON_MESSAGES(message_largest, 0)
{
	need_default_buffer(sv[0]);
	FAILS(send(sv[0], zeros, 212961, MSG_DONTWAIT), EMSGSIZE);
	EMPTY(sv[1]);
	EQ(send(sv[0], zeros, 212960, MSG_DONTWAIT), 212960);
	/* No room is another matter than no hope. */
	FAILS(send(sv[0], zeros, 212961, MSG_DONTWAIT), EMSGSIZE);
	FAILS(send(sv[0], zeros, 212960, MSG_DONTWAIT), EAGAIN);
	EQ(take_messages(sv[1]), 1);
}

CASE_ON_MESSAGES(message_largest_follows_the_buffer, 0)
{
	set_int_option(sv[0], SO_SNDBUF, 1);
	EQ(get_int_option(sv[0], SO_SNDBUF), 4608);
	FAILS(send(sv[0], zeros, 4577, MSG_DONTWAIT), EMSGSIZE);
	EQ(send(sv[0], zeros, 4576, MSG_DONTWAIT), 4576);
	set_int_option(sv[0], SO_SNDBUF, 10000);
	EQ(take_messages(sv[1]), 1);
	FAILS(send(sv[0], zeros, 20000 - 31, MSG_DONTWAIT), EMSGSIZE);
	EQ(send(sv[0], zeros, 20000 - 32, MSG_DONTWAIT), 20000 - 32);
	/* The other one's buffer is not asked. */
	set_int_option(sv[1], SO_RCVBUF, 1);
	EQ(take_messages(sv[1]), 1);
	EQ(send(sv[0], zeros, 20000 - 32, MSG_DONTWAIT), 20000 - 32);
}

CASE_ON_MESSAGES(message_smallest_buffer, 0)
{
	set_int_option(sv[0], SO_SNDBUF, 1);
	EQ(fill_messages(sv[0], NULL, 1), 6);
	EQ(take_messages(sv[1]), 6);
}

CASE_ON_MESSAGES(message_last_one_overshoots, 0)
{
	need_default_buffer(sv[0]);
	for (int i = 0; i < 277; i++)
		EQ(tell(sv[0], "x"), 1);
	/* 212736 of 212992 are used: enough room for any one more. */
	EQ(send(sv[0], zeros, 212960, MSG_DONTWAIT), 212960);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 277 * 768 + 332032);
	FAILS(tell(sv[0], "x"), EAGAIN);
}

CASE_ON_MESSAGES(message_room_after_one_receive, 0)
{
	fill_messages(sv[0], NULL, 1000);
	EQ(recv(sv[1], (char[1]){0}, 1, 0), 1);
	EQ(fill_messages(sv[0], NULL, 1000), 1);
}

CASE_ON_MESSAGES(message_partly_received_is_released, 0)
{
	EQ(send(sv[0], zeros, 30000, 0), 30000);
	EQ(recv(sv[1], zeros, 10, 0), 10);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 0);
}

CASE_ON_MESSAGES(message_directions_are_charged_apart, 0)
{
	fill_messages(sv[0], NULL, 1000);
	EQ(tell(sv[1], "back"), 4);
	READY(sv[1], POLLIN | POLLOUT);
	MESSAGE(sv[0], "back");
	FAILS(tell(sv[0], "x"), EAGAIN);
}

CASE_ON_MESSAGES(message_outq_of_several, 0)
{
	EQ(tell(sv[0], "abc"), 3);
	EQ(tell(sv[0], ""), 0);
	EQ(send(sv[0], zeros, 1000, 0), 1000);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 768 + 768 + 2304);
	MESSAGE(sv[1], "abc");
	EQ(ioctl_value(sv[0], SIOCOUTQ), 768 + 2304);
	MESSAGE(sv[1], "");
	EQ(ioctl_value(sv[0], SIOCOUTQ), 2304);
	EQ(recv(sv[1], zeros, sizeof zeros, MSG_PEEK), 1000);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 2304);
	EQ(recv(sv[1], zeros, sizeof zeros, 0), 1000);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 0);
}

CASE_ON_DGRAM(message_inq_is_the_first_ones_length_dgram, 0)
{
	EQ(ioctl_value(sv[1], SIOCINQ), 0);
	EQ(tell(sv[0], "abc"), 3);
	EQ(tell(sv[0], ""), 0);
	EQ(tell(sv[0], "defgh"), 5);
	EQ(ioctl_value(sv[1], FIONREAD), 3);
	EQ(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), 1);
	EQ(ioctl_value(sv[1], FIONREAD), 3);
	MESSAGE(sv[1], "abc");
	EQ(ioctl_value(sv[1], FIONREAD), 0);
	MESSAGE(sv[1], "");
	EQ(ioctl_value(sv[1], FIONREAD), 5);
	EQ(ioctl_value(sv[0], FIONREAD), 0);
}

CASE_ON_SEQPACKET(message_inq_is_all_of_it, 0)
{
	EQ(ioctl_value(sv[1], SIOCINQ), 0);
	EQ(tell(sv[0], "abc"), 3);
	EQ(tell(sv[0], ""), 0);
	EQ(tell(sv[0], "defgh"), 5);
	EQ(ioctl_value(sv[1], FIONREAD), 8);
	EQ(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), 1);
	EQ(ioctl_value(sv[1], FIONREAD), 8);
	/* Received in part is gone in whole. */
	EQ(recv(sv[1], (char[1]){0}, 1, 0), 1);
	EQ(ioctl_value(sv[1], FIONREAD), 5);
	MESSAGE(sv[1], "");
	EQ(ioctl_value(sv[1], FIONREAD), 5);
	MESSAGE(sv[1], "defgh");
	EQ(ioctl_value(sv[1], FIONREAD), 0);
}

CASE(message_inq_of_unconnected_sockets, 0)
{
	struct name a = abstract_name("a");
	int d = unix_socket(SOCK_DGRAM), q = unix_socket(SOCK_SEQPACKET), n;

	EQ(ioctl_value(d, SIOCINQ), 0);
	EQ(ioctl_value(d, SIOCOUTQ), 0);
	EQ(ioctl_value(q, SIOCINQ), 0);
	OK(bind(q, NAME(&a)));
	EQ(ioctl_value(q, SIOCINQ), 0);
	OK(listen(q, 1));
	FAILS(ioctl(q, SIOCINQ, &n), EINVAL);
	EQ(ioctl_value(q, SIOCOUTQ), 0);
	OK(close(d));
	OK(close(q));
}

CASE(message_outq_over_all_receivers, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, &a, "x"), 1);
	EQ(send_to(s, &b, "x"), 1);
	EQ(ioctl_value(s, SIOCOUTQ), 2 * 768);
	OK(close(r));
	EQ(ioctl_value(s, SIOCOUTQ), 768);
	MESSAGE(q, "x");
	EQ(ioctl_value(s, SIOCOUTQ), 0);
	OK(close(q));
	OK(close(s));
}

CASE(message_closing_receiver_gives_room, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);
	struct actor t;

	need_default_buffer(s);
	EQ(fill_messages(s, &a, 65536), 4);
	READY(s, 0);
	start_send_to(&t, s, &b, "x");
	BLOCKED(&t);
	OK(close(r));
	RETURNS(&t, 1);
	MESSAGE(q, "x");
	READY(s, POLLOUT);
	OK(close(q));
	OK(close(s));
}

CASE_ON_MESSAGES(message_blocked_sender_goes_on_at_a_quarter, 0)
{
	struct actor t;

	need_default_buffer(sv[0]);
	EQ(fill_messages(sv[0], NULL, 1000), 93);
	start_send(&t, sv[0], "late", 4, 0);
	BLOCKED(&t);
	for (int i = 1; i < 70; i++)
		EQ(recv(sv[1], zeros, 1000, 0), 1000);
	/* There is room, but nobody has been told. */
	BLOCKED(&t);
	EQ(recv(sv[1], zeros, 1000, 0), 1000);
	RETURNS(&t, 4);
}

CASE_ON_MESSAGES(message_blocked_sender_and_a_larger_buffer, 0)
{
	struct actor t;

	set_int_option(sv[0], SO_SNDBUF, 1);
	EQ(fill_messages(sv[0], NULL, 1), 6);
	start_send(&t, sv[0], "late", 4, 0);
	BLOCKED(&t);
	/* Larger, but more than a quarter is used: no news. */
	set_int_option(sv[0], SO_SNDBUF, 3000);
	BLOCKED(&t);
	set_int_option(sv[0], SO_SNDBUF, 50000);
	RETURNS(&t, 4);
	EQ(take_messages(sv[1]), 7);
}

CASE_ON_MESSAGES(message_blocked_sender_and_its_own_shutdown, 0)
{
	struct actor t;

	count_signal(SIGPIPE, 0);
	fill_messages(sv[0], NULL, 1000);
	start_send(&t, sv[0], "late", 4, 0);
	BLOCKED(&t);
	OK(shutdown(sv[0], SHUT_WR));
	RETURNS_ERROR(&t, EPIPE);
	EQ(atomic_load(&signals_seen), 0);
}

CASE_ON_SEQPACKET(message_blocked_sender_and_the_peers_shutdown, 0)
{
	struct actor t;

	fill_messages(sv[0], NULL, 1000);
	start_send(&t, sv[0], "late", 4, 0);
	BLOCKED(&t);
	OK(shutdown(sv[1], SHUT_RD));
	RETURNS_ERROR(&t, EPIPE);
}

CASE_ON_DGRAM(message_blocked_sender_and_the_peers_shutdown_dgram, 0)
{
	struct actor t;

	fill_messages(sv[0], NULL, 1000);
	start_send(&t, sv[0], "late", 4, 0);
	BLOCKED(&t);
	/* Not told; and found out with the room. */
	OK(shutdown(sv[1], SHUT_RD));
	BLOCKED(&t);
	drain(sv[1]);
	RETURNS_ERROR(&t, EPIPE);
}

CASE_ON_SEQPACKET(message_blocked_sender_and_a_closing_peer, 0)
{
	struct actor t;

	count_signal(SIGPIPE, 0);
	fill_messages(sv[0], NULL, 1000);
	start_send(&t, sv[0], "late", 4, 0);
	BLOCKED(&t);
	close_end(&sv[1]);
	RETURNS_ERROR(&t, ECONNRESET);
	FAILS(tell(sv[0], "x"), EPIPE);
	EQ(atomic_load(&signals_seen), 0);
}

CASE_ON_DGRAM(message_blocked_sender_and_a_closing_peer_dgram, 0)
{
	struct actor t;

	fill_messages(sv[0], NULL, 1000);
	start_send(&t, sv[0], "late", 4, 0);
	BLOCKED(&t);
	close_end(&sv[1]);
	RETURNS_ERROR(&t, ECONNREFUSED);
	FAILS(tell(sv[0], "x"), ENOTCONN);
}

CASE_ON_MESSAGES(message_too_large_for_any_buffer, 0)
{
	static char huge[4263617];
	int size = 8000000;

	if (setsockopt(sv[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
		SKIP("needs CAP_NET_ADMIN, for a send buffer without a limit");
	FAILS(send(sv[0], huge, 4263617, MSG_DONTWAIT), ENOBUFS);
	EMPTY(sv[1]);
	EQ(send(sv[0], huge, 4263616, MSG_DONTWAIT), 4263616);
	EQ(recv(sv[1], huge, 1, MSG_TRUNC), 4263616);
}

CASE_ON_DGRAM(message_sender_out_of_time_while_the_peer_is_shut, 0)
{
	fill_messages(sv[0], NULL, 1000);
	OK(shutdown(sv[1], SHUT_RD));
	/* The buffer is looked at before the peer. */
	FAILS(tell(sv[0], "x"), EAGAIN);
	set_time_option(sv[0], SO_SNDTIMEO, 30);
	FAILS(send(sv[0], "x", 1, 0), EAGAIN);
}

CASE_ON_MESSAGES(message_refused_is_not_charged, 0)
{
	FAILS(send(sv[0], bad_pointer(), 10, 0), EFAULT);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 0);
	OK(shutdown(sv[1], SHUT_RD));
	FAILS(tell(sv[0], "x"), EPIPE);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 0);
}

CASE_ON_MESSAGES(message_charge_outlives_the_sender, 0)
{
	EQ(tell(sv[0], "one"), 3);
	close_end(&sv[0]);
	EQ(ioctl_value(sv[1], SIOCOUTQ), 0);
	MESSAGE(sv[1], "one");
}
