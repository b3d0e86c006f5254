/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * How much goes into a stream before EAGAIN: the kernel's charge for each send, seen
 * in counts, in SIOCOUTQ, in readiness, and in when a blocked sender goes on.
 */
#include "conform.h"

#include <linux/sockios.h>

static int ioctl_value(int fd, unsigned long request)
{
	int n = -1;

	OK(ioctl(fd, request, &n));
	return n;
}

static const struct {
	size_t size;
	int charge;
	/* Sends until EAGAIN, all full; then the bytes of all with the last, partial one. */
	size_t count;
	size_t bytes;
	/* POLLOUT is off after so many. */
	size_t off;
} table[] = {
	{1, 768, 278, 278, 70},		 {192, 768, 278, 53376, 70},	  {193, 1280, 167, 167 * 193, 42},
	{704, 1280, 167, 117568, 42},	 {705, 2304, 93, 93 * 705, 24},	  {1000, 2304, 93, 93000, 24},
	{1728, 2304, 93, 160704, 24},	 {1729, 4352, 49, 49 * 1729, 13}, {3776, 4352, 49, 185024, 13},
	{4096, 4864, 44, 180224, 11},	 {8192, 8960, 24, 196608, 6},	  {16384, 17152, 13, 212992, 4},
	{32768, 33536, 7, 229376, 2},	 {36544, 37120, 6, 219264, 2},	  {65536, 67072, 3, 233152, 1},
	{1000000, 222720, 0, 219264, 1},
};

static char zeros[1000000];

static void expect_default_size(int fd)
{
	if (get_int_option(fd, SO_SNDBUF) != 212992)
		SKIP("the table is for net.core.wmem_default = 212992");
}

CASE_ON_ENDS(buffer_counts_until_eagain, 0)
{
	expect_default_size(sv[0]);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		size_t full = 0, bytes = 0;
		ssize_t n;

		while ((n = send(sv[0], zeros, table[i].size, MSG_DONTWAIT)) == (ssize_t)table[i].size) {
			full++;
			bytes += (size_t)n;
		}
		if (n > 0)
			bytes += (size_t)n;
		if (full != table[i].count || bytes != table[i].bytes)
			conform_fail(HERE, "sends of %zu: expected %zu and %zu bytes in all, got %zu and %zu",
				     table[i].size, table[i].count, table[i].bytes, full, bytes);
		FAILS(send(sv[0], zeros, 1, MSG_DONTWAIT), EAGAIN);
		EQ(drain(sv[1]), bytes);
	}
}

CASE_ON_ENDS(buffer_charge_is_siocoutq, 0)
{
	expect_default_size(sv[0]);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		ssize_t n = OK(send(sv[0], zeros, table[i].size, MSG_DONTWAIT));

		if (ioctl_value(sv[0], SIOCOUTQ) != table[i].charge)
			conform_fail(HERE, "a send of %zu: expected a charge of %d, got %d", table[i].size,
				     table[i].charge, ioctl_value(sv[0], SIOCOUTQ));
		EQ(ioctl_value(sv[1], SIOCOUTQ), 0);
		EQ(ioctl_value(sv[1], SIOCINQ), n);
		EQ(ioctl_value(sv[0], SIOCINQ), 0);
		EQ(drain(sv[1]), n);
		EQ(ioctl_value(sv[0], SIOCOUTQ), 0);
		EQ(ioctl_value(sv[1], SIOCINQ), 0);
	}
}

CASE_ON_ENDS(buffer_pollout_goes_off_at_a_quarter, 0)
{
	expect_default_size(sv[0]);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		size_t sends = 0;
		struct pollfd p = {.fd = sv[0], .events = POLLOUT};

		while (poll(&p, 1, 0) == 1) {
			OK(send(sv[0], zeros, table[i].size, MSG_DONTWAIT));
			sends++;
		}
		if (sends != table[i].off)
			conform_fail(HERE, "sends of %zu: expected POLLOUT off after %zu, got %zu",
				     table[i].size, table[i].off, sends);
		drain(sv[1]);
	}
}

CASE_ON_ENDS(buffer_is_freed_by_whole_sends, 0)
{
	char buf[30000];

	EQ(send(sv[0], zeros, 30000, 0), 30000);
	int used = ioctl_value(sv[0], SIOCOUTQ);
	EQ(recv(sv[1], buf, 29999, MSG_WAITALL), 29999);
	EQ(ioctl_value(sv[0], SIOCOUTQ), used);
	EQ(ioctl_value(sv[1], SIOCINQ), 1);
	EQ(recv(sv[1], buf, 1, 0), 1);
	EQ(ioctl_value(sv[0], SIOCOUTQ), 0);
}

CASE_ON_ENDS(buffer_one_read_makes_room_for_nonblocking, 0)
{
	char buf[1000];

	fill(sv[0], 1000);
	EQ(read(sv[1], buf, 1000), 1000);
	READY(sv[0], 0);
	EQ(send(sv[0], zeros, 1000, MSG_DONTWAIT), 1000);
	FAILS(send(sv[0], zeros, 1000, MSG_DONTWAIT), EAGAIN);
}

CASE_ON_ENDS(buffer_blocked_sender_waits_for_three_quarters, 0)
{
	struct actor t;
	char buf[1000];

	expect_default_size(sv[0]);
	EQ(fill(sv[0], 1000), 93000);
	start_send(&t, sv[0], zeros, 1000, 0);
	BLOCKED(&t);
	for (int i = 0; i < 69; i++)
		EQ(read(sv[1], buf, 1000), 1000);
	BLOCKED(&t);
	EQ(read(sv[1], buf, 1000), 1000);
	RETURNS(&t, 1000);
	EQ(drain(sv[1]), 24000);
}

CASE_ON_ENDS(buffer_smallest, 0)
{
	set_int_option(sv[0], SO_SNDBUF, 1);
	EQ(get_int_option(sv[0], SO_SNDBUF), 4608);
	/* Six of them are 4608; the last is let in at 3840. */
	EQ(fill(sv[0], 1), 6);
	EQ(drain(sv[1]), 6);
	/* A large send is cut small. */
	ssize_t n = OK(send(sv[0], zeros, 100000, MSG_DONTWAIT));
	EQ(n, 2240 * 2);
	EQ(drain(sv[1]), n);
}

CASE_ON_ENDS(buffer_rcvbuf_is_irrelevant, 0)
{
	expect_default_size(sv[0]);
	set_int_option(sv[1], SO_RCVBUF, 1);
	EQ(fill(sv[0], 1000), 93000);
	EQ(drain(sv[1]), 93000);
}

CASE_ON_ENDS(buffer_growing_lets_more_in, 0)
{
	struct actor t;

	set_int_option(sv[0], SO_SNDBUF, 4608);
	fill(sv[0], 1000);
	READY(sv[0], 0);
	start_send(&t, sv[0], zeros, 1000, 0);
	BLOCKED(&t);
	set_int_option(sv[0], SO_SNDBUF, 200000);
	RETURNS(&t, 1000);
	READY(sv[0], POLLOUT);
	drain(sv[1]);
}

CASE_ON_ENDS(buffer_shrinking_keeps_what_is_queued, 0)
{
	size_t n = fill(sv[0], 1000);

	set_int_option(sv[0], SO_SNDBUF, 1);
	FAILS(send(sv[0], "x", 1, MSG_DONTWAIT), EAGAIN);
	EQ(drain(sv[1]), n);
	EQ(send(sv[0], "x", 1, MSG_DONTWAIT), 1);
	GETS(sv[1], "x");
}

CASE_ON_ENDS(buffer_full_then_shut_shows_nothing, 0)
{
	fill(sv[0], 4000);
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[0], 0);
	OK(shutdown(sv[1], SHUT_RD));
	READY(sv[0], 0);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	drain(sv[1]);
	READY(sv[0], POLLOUT);
}

CASE(buffer_queues_of_a_listener, 0)
{
	struct name a = abstract_name("a");
	int n, l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a),
	       fd = unix_socket(SOCK_STREAM);

	put(c, "abc");
	FAILS(ioctl(l, SIOCINQ, &n), EINVAL);
	EQ(ioctl_value(l, SIOCOUTQ), 0);
	EQ(ioctl_value(c, SIOCOUTQ), 768);
	EQ(ioctl_value(fd, SIOCINQ), 0);
	EQ(ioctl_value(fd, SIOCOUTQ), 0);
	FAILS(ioctl(fd, SIOCINQ, bad_pointer()), EFAULT);
	int s = OK(accept(l, NULL, NULL));
	EQ(ioctl_value(s, FIONREAD), 3);
	EQ(recv(s, (char[2]){0}, 2, MSG_PEEK), 2);
	EQ(ioctl_value(s, FIONREAD), 3);
	GETS(s, "ab");
	EQ(ioctl_value(s, FIONREAD), 1);
	OK(close(fd));
	OK(close(c));
	OK(close(s));
	OK(close(l));
}
