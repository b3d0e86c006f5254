/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Out-of-band data of streams: the byte, its mark, what SO_OOBINLINE changes, who is told. */
#include "ancillary.h"

#include <linux/sockios.h>

static int at_mark(int fd)
{
	int value = -1;

	OK(ioctl(fd, SIOCATMARK, &value));
	return value;
}

static int unread(int fd)
{
	int value = -1;

	OK(ioctl(fd, SIOCINQ, &value));
	return value;
}

static void put_oob(int fd, const char *text)
{
	EQ(send(fd, text, strlen(text), MSG_OOB), strlen(text));
}

/* One recv() returns exactly this. */
static void reads(const char *file, int line, int fd, int flags, const char *text)
{
	char buf[64];
	size_t want = strlen(text);
	ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT | flags);

	conform_at(file, line, "READS");
	if (n != (ssize_t)want)
		conform_fail(file, line, "expected \"%s\", got %zd \"%.*s\" (%s)", text, n,
			     (int)(n < 0 ? 0 : n), buf, conform_errno_name(n < 0 ? errno : 0));
	conform_bytes(file, line, text, buf, text, want);
}
#define READS(fd, text) reads(HERE, (fd), 0, (text))
#define PEEKS(fd, text) reads(HERE, (fd), MSG_PEEK, (text))
#define READS_OOB(fd, text) reads(HERE, (fd), MSG_OOB, (text))
#define NO_OOB(fd) FAILS(recv((fd), (char[4]){0}, 4, MSG_OOB), EINVAL)

CASE_ON_ENDS(oob_is_the_last_byte_of_its_send, 0)
{
	put_oob(sv[0], "abc");
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS_OOB(sv[1], "c");
	READS(sv[1], "ab");
	EMPTY(sv[1]);
	READY(sv[0], POLLOUT);
}

CASE_ON_ENDS(oob_alone_is_readable_and_urgent, 0)
{
	put_oob(sv[0], "a");
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS_OOB(sv[1], "a");
	/* Its empty place remains. */
	READY(sv[1], POLLIN | POLLOUT);
	EMPTY(sv[1]);
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_of_no_bytes, 0)
{
	FAILS(send(sv[0], "", 0, MSG_OOB), EOPNOTSUPP);
	READY(sv[1], POLLOUT);
	/* Before the state of the socket is looked at. */
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(send(sv[0], "", 0, MSG_OOB | MSG_NOSIGNAL), EOPNOTSUPP);
	FAILS(send(sv[0], "x", 1, MSG_OOB | MSG_NOSIGNAL), EPIPE);
}

CASE(oob_without_a_peer, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_STREAM), l = listen_at(SOCK_STREAM, &a, 1);

	FAILS(send(fd, "", 0, MSG_OOB), EOPNOTSUPP);
	FAILS(send(fd, "x", 1, MSG_OOB), ENOTCONN);
	NO_OOB(fd);
	FAILS(send(l, "x", 1, MSG_OOB), ENOTCONN);
	NO_OOB(l);
	EQ(at_mark(fd), 0);
	EQ(at_mark(l), 0);
	OK(close(fd));
	OK(close(l));
}

CASE(oob_of_other_types, 0)
{
	static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};

	for (size_t i = 0; i < 2; i++) {
		int sv[2], value;

		unix_pair(types[i], sv);
		FAILS(send(sv[0], "x", 1, MSG_OOB), EOPNOTSUPP);
		FAILS(send(sv[0], "", 0, MSG_OOB), EOPNOTSUPP);
		FAILS(recv(sv[1], (char[1]){0}, 1, MSG_OOB), EOPNOTSUPP);
		FAILS(ioctl(sv[1], SIOCATMARK, &value), EOPNOTSUPP);
		READY(sv[1], POLLOUT);
		set_int_option(sv[1], SO_OOBINLINE, 1);
		FAILS(recv(sv[1], (char[1]){0}, 1, MSG_OOB), EOPNOTSUPP);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE_ON_ENDS(oob_with_an_address, 0)
{
	struct name a = abstract_name("a");

	FAILS(sendto(sv[0], "x", 1, MSG_OOB, NAME(&a)), EISCONN);
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_receive_without_one_never_blocks, 0)
{
	NO_OOB(sv[1]);
	put(sv[0], "ab");
	NO_OOB(sv[1]);
	READS(sv[1], "ab");
	put_oob(sv[0], "x");
	READS_OOB(sv[1], "x");
	NO_OOB(sv[1]);
}

CASE_ON_ENDS(oob_receive_tells_its_flag, 0)
{
	struct received r;

	put_oob(sv[0], "ab");
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_OOB | MSG_PEEK), 1);
	EQ(r.flags, MSG_OOB);
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_OOB), 1);
	EQ(r.flags, MSG_OOB);
	EQ(r.control_len, 0);
	BYTES(r.data, "b", 1);
	EQ(receive(sv[1], &r, 8, 0, 0), 1);
	EQ(r.flags, 0);
}

CASE_ON_ENDS(oob_receive_into_nothing, 0)
{
	char c = '-';

	put_oob(sv[0], "ab");
	EQ(recv(sv[1], &c, 0, MSG_OOB), 1);
	EQ(c, '-');
	NO_OOB(sv[1]);
	READS(sv[1], "a");
}

CASE_ON_ENDS(oob_receive_by_peeking, 0)
{
	put_oob(sv[0], "ab");
	for (int i = 0; i < 3; i++) {
		reads(HERE, sv[1], MSG_OOB | MSG_PEEK, "b");
		READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	}
	READS_OOB(sv[1], "b");
	FAILS(recv(sv[1], (char[1]){0}, 1, MSG_OOB | MSG_PEEK), EINVAL);
	READS(sv[1], "a");
}

CASE_ON_ENDS(oob_receive_to_a_bad_pointer_loses_it, 0)
{
	put_oob(sv[0], "ab");
	FAILS(recv(sv[1], bad_pointer(), 1, MSG_OOB), EFAULT);
	NO_OOB(sv[1]);
	READS(sv[1], "a");
}

CASE_ON_ENDS(oob_read_stops_at_the_mark, 0)
{
	put(sv[0], "ab");
	put_oob(sv[0], "cX");
	put(sv[0], "de");
	EQ(at_mark(sv[1]), 0);
	READS(sv[1], "abc");
	EQ(at_mark(sv[1]), 1);
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	/* What is at the mark is dropped by reading on. */
	READS(sv[1], "de");
	EQ(at_mark(sv[1]), 0);
	NO_OOB(sv[1]);
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_read_stops_at_the_mark_inline, 0)
{
	set_int_option(sv[1], SO_OOBINLINE, 1);
	put(sv[0], "ab");
	put_oob(sv[0], "cX");
	put(sv[0], "de");
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS(sv[1], "abc");
	EQ(at_mark(sv[1]), 1);
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS(sv[1], "Xde");
	EQ(at_mark(sv[1]), 0);
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_readv_stops_at_the_mark, 0)
{
	char a[1], b[8];
	struct iovec iov[2] = {{a, sizeof a}, {b, sizeof b}};

	put_oob(sv[0], "abcX");
	put(sv[0], "de");
	EQ(readv(sv[1], iov, 2), 3);
	BYTES(a, "a", 1);
	BYTES(b, "bc", 2);
	EQ(read(sv[1], b, sizeof b), 2);
	BYTES(b, "de", 2);
}

CASE_ON_ENDS(oob_is_dropped_by_a_read_that_finds_no_more, 0)
{
	put_oob(sv[0], "x");
	EMPTY(sv[1]);
	READY(sv[1], POLLOUT);
	NO_OOB(sv[1]);
	put(sv[0], "a");
	READS(sv[1], "a");
}

CASE_ON_ENDS(oob_is_dropped_by_a_read_that_waits, 0)
{
	struct actor t;
	char buf[4];

	put_oob(sv[0], "x");
	start_recv(&t, sv[1], buf, sizeof buf, 0);
	BLOCKED(&t);
	READY(sv[1], POLLOUT);
	put(sv[0], "ab");
	RETURNS(&t, 2);
	BYTES(buf, "ab", 2);
}

CASE_ON_ENDS(oob_does_not_wake_a_reader_for_good, 0)
{
	struct actor t;
	char buf[4];

	start_recv(&t, sv[1], buf, sizeof buf, 0);
	BLOCKED(&t);
	put_oob(sv[0], "x");
	/* Dropped at once by who waits for ordinary data. */
	BLOCKED(&t);
	NO_OOB(sv[1]);
	put(sv[0], "ab");
	RETURNS(&t, 2);
	BYTES(buf, "ab", 2);
}

CASE_ON_ENDS(oob_inline_wakes_a_reader, 0)
{
	struct actor t;
	char buf[4];

	set_int_option(sv[1], SO_OOBINLINE, 1);
	start_recv(&t, sv[1], buf, sizeof buf, 0);
	BLOCKED(&t);
	put_oob(sv[0], "x");
	RETURNS(&t, 1);
	BYTES(buf, "x", 1);
}

CASE_ON_ENDS(oob_at_the_end_of_file, 0)
{
	put_oob(sv[0], "x");
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[1], POLLIN | POLLPRI | POLLOUT | POLLRDHUP);
	AT_EOF(sv[1]);
	NO_OOB(sv[1]);
	READY(sv[1], POLLIN | POLLOUT | POLLRDHUP);
}

CASE_ON_ENDS(oob_outlives_its_sender, 0)
{
	put_oob(sv[0], "abx");
	close_end(&sv[0]);
	READY(sv[1], POLLIN | POLLPRI | POLLOUT | POLLHUP | POLLRDHUP);
	READS(sv[1], "ab");
	READS_OOB(sv[1], "x");
	AT_EOF(sv[1]);
}

CASE_ON_ENDS(oob_peek_at_the_mark_skips_it, 0)
{
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	for (int i = 0; i < 3; i++)
		PEEKS(sv[1], "ab");
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS_OOB(sv[1], "x");
	READS(sv[1], "ab");
}

CASE_ON_ENDS(oob_peek_finds_nothing_but_the_mark, 0)
{
	put_oob(sv[0], "x");
	FAILS(recv(sv[1], (char[4]){0}, 4, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS_OOB(sv[1], "x");
}

CASE_ON_ENDS(oob_peek_stops_at_the_mark, 0)
{
	put_oob(sv[0], "abx");
	put(sv[0], "cd");
	PEEKS(sv[1], "ab");
	PEEKS(sv[1], "ab");
	READS(sv[1], "ab");
	PEEKS(sv[1], "cd");
	READS_OOB(sv[1], "x");
	READS(sv[1], "cd");
}

CASE_ON_ENDS(oob_peek_inline_includes_it, 0)
{
	set_int_option(sv[1], SO_OOBINLINE, 1);
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	PEEKS(sv[1], "xab");
	PEEKS(sv[1], "xab");
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS(sv[1], "xab");
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_inline_is_never_received_apart, 0)
{
	set_int_option(sv[1], SO_OOBINLINE, 1);
	NO_OOB(sv[1]);
	put_oob(sv[0], "x");
	NO_OOB(sv[1]);
	FAILS(recv(sv[1], (char[1]){0}, 1, MSG_OOB | MSG_PEEK), EINVAL);
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS(sv[1], "x");
}

CASE_ON_ENDS(oob_inline_is_an_option_of_the_receiver, 0)
{
	set_int_option(sv[0], SO_OOBINLINE, 1);
	put_oob(sv[0], "x");
	READS_OOB(sv[1], "x");
}

CASE_ON_ENDS(oob_inline_is_turned_on_later, 0)
{
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	set_int_option(sv[1], SO_OOBINLINE, 1);
	NO_OOB(sv[1]);
	READS(sv[1], "xab");
}

CASE_ON_ENDS(oob_inline_is_turned_off_later, 0)
{
	set_int_option(sv[1], SO_OOBINLINE, 1);
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	set_int_option(sv[1], SO_OOBINLINE, 0);
	READS_OOB(sv[1], "x");
	READS(sv[1], "ab");
}

CASE_ON_ENDS(oob_taken_leaves_a_place_where_reads_stop, 0)
{
	put_oob(sv[0], "abX");
	put(sv[0], "cd");
	READS_OOB(sv[1], "X");
	READY(sv[1], POLLIN | POLLOUT);
	EQ(at_mark(sv[1]), 0);
	READS(sv[1], "ab");
	EQ(at_mark(sv[1]), 1);
	READS(sv[1], "cd");
	EQ(at_mark(sv[1]), 0);
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_taken_leaves_a_place_at_the_head, 0)
{
	put_oob(sv[0], "X");
	READS_OOB(sv[1], "X");
	EQ(at_mark(sv[1]), 1);
	READY(sv[1], POLLIN | POLLOUT);
	put(sv[0], "ab");
	EQ(at_mark(sv[1]), 1);
	READS(sv[1], "ab");
	EQ(at_mark(sv[1]), 0);
}

CASE_ON_ENDS(oob_place_is_not_waited_on, 0)
{
	struct actor t;
	char buf[4];

	put_oob(sv[0], "X");
	READS_OOB(sv[1], "X");
	start_recv(&t, sv[1], buf, sizeof buf, 0);
	BLOCKED(&t);
	put(sv[0], "a");
	RETURNS(&t, 1);
}

CASE_ON_ENDS(oob_dropped_by_a_read_of_nothing, 0)
{
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	EQ(recv(sv[1], (char[1]){0}, 0, MSG_DONTWAIT), 0);
	READY(sv[1], POLLIN | POLLOUT);
	NO_OOB(sv[1]);
	READS(sv[1], "ab");
}

CASE_ON_ENDS(oob_inline_made_ordinary_by_a_read_of_nothing, 0)
{
	set_int_option(sv[1], SO_OOBINLINE, 1);
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	EQ(recv(sv[1], (char[1]){0}, 0, MSG_DONTWAIT), 0);
	READY(sv[1], POLLIN | POLLOUT);
	READS(sv[1], "xab");
}

CASE_ON_ENDS(oob_not_at_the_head_survives_a_read_of_nothing, 0)
{
	put_oob(sv[0], "abx");
	EQ(recv(sv[1], (char[1]){0}, 0, MSG_DONTWAIT), 0);
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS_OOB(sv[1], "x");
	READS(sv[1], "ab");
}

CASE_ON_ENDS(oob_survives_a_read_call_of_nothing, 0)
{
	/* read() with no length never gets as far as the socket. */
	put_oob(sv[0], "x");
	EQ(read(sv[1], (char[1]){0}, 0), 0);
	READS_OOB(sv[1], "x");
}

CASE_ON_ENDS(oob_newer_makes_the_older_ordinary, 0)
{
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	put_oob(sv[0], "y");
	put(sv[0], "cd");
	EQ(at_mark(sv[1]), 0);
	READS(sv[1], "xab");
	EQ(at_mark(sv[1]), 1);
	READS(sv[1], "cd");
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_newer_makes_the_older_ordinary_inline, 0)
{
	set_int_option(sv[1], SO_OOBINLINE, 1);
	put_oob(sv[0], "x");
	put(sv[0], "ab");
	put_oob(sv[0], "y");
	put(sv[0], "cd");
	READS(sv[1], "xab");
	READS(sv[1], "ycd");
	READY(sv[1], POLLOUT);
}

CASE_ON_ENDS(oob_two_in_a_row, 0)
{
	put_oob(sv[0], "x");
	put_oob(sv[0], "y");
	READS(sv[1], "x");
	READS_OOB(sv[1], "y");
	EMPTY(sv[1]);
}

CASE_ON_ENDS(oob_three_in_a_row_taken_first, 0)
{
	put_oob(sv[0], "x");
	put_oob(sv[0], "y");
	put_oob(sv[0], "z");
	READS_OOB(sv[1], "z");
	NO_OOB(sv[1]);
	READS(sv[1], "xy");
	EMPTY(sv[1]);
}

CASE_ON_ENDS(oob_again_after_it_was_taken, 0)
{
	put_oob(sv[0], "x");
	READS_OOB(sv[1], "x");
	put_oob(sv[0], "y");
	READY(sv[1], POLLIN | POLLPRI | POLLOUT);
	READS_OOB(sv[1], "y");
	NO_OOB(sv[1]);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(oob_places_one_after_the_other, 0)
{
	put_oob(sv[0], "ax");
	READS_OOB(sv[1], "x");
	put_oob(sv[0], "by");
	READS_OOB(sv[1], "y");
	put(sv[0], "c");
	READS(sv[1], "a");
	READS(sv[1], "b");
	READS(sv[1], "c");
}

CASE_ON_ENDS(oob_waitall_stops_at_the_mark, 0)
{
	char buf[8];

	put_oob(sv[0], "abx");
	put(sv[0], "cd");
	EQ(recv(sv[1], buf, 4, MSG_WAITALL), 2);
	BYTES(buf, "ab", 2);
	READS_OOB(sv[1], "x");
}

CASE_ON_ENDS(oob_of_a_large_send, 0)
{
	enum { N = 60001 };
	static char out[N], in[N + 10];
	size_t have = 0;

	memset(out, 'a', N - 1);
	out[N - 1] = 'x';
	EQ(send(sv[0], out, N, MSG_OOB), N);
	READS_OOB(sv[1], "x");
	while (have < N - 1)
		have += (size_t)OK(recv(sv[1], in + have, sizeof in - have, MSG_DONTWAIT));
	EQ(have, N - 1);
	BYTES(in, out, N - 1);
	EMPTY(sv[1]);
}

CASE_ON_ENDS(oob_counts_as_unread_while_pending, 0)
{
	put_oob(sv[0], "abx");
	EQ(unread(sv[1]), 3);
	READS_OOB(sv[1], "x");
	EQ(unread(sv[1]), 2);
	READS(sv[1], "ab");
	EQ(unread(sv[1]), 0);
	set_int_option(sv[1], SO_OOBINLINE, 1);
	put_oob(sv[0], "y");
	EQ(unread(sv[1]), 1);
	READS(sv[1], "y");
	EQ(unread(sv[1]), 0);
}

CASE_ON_ENDS(oob_needs_buffer_space, 0)
{
	fill(sv[0], 4000);
	FAILS(send(sv[0], "x", 1, MSG_OOB | MSG_DONTWAIT), EAGAIN);
	NO_OOB(sv[1]);
	drain(sv[1]);
	put_oob(sv[0], "x");
	READS_OOB(sv[1], "x");
}

CASE_ON_ENDS(oob_peek_off_walks_over_the_mark, 0)
{
	char buf[8];

	put_oob(sv[0], "abx");
	put(sv[0], "cd");
	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(recv(sv[1], buf, 2, MSG_PEEK), 2);
	BYTES(buf, "ab", 2);
	EQ(get_int_option(sv[1], SO_PEEK_OFF), 2);
	/* The byte comes as though it were inline. */
	PEEKS(sv[1], "xcd");
	EQ(get_int_option(sv[1], SO_PEEK_OFF), 5);
	READS_OOB(sv[1], "x");
	READS(sv[1], "ab");
	READS(sv[1], "cd");
}

CASE_ON_ENDS(oob_unread_at_close_is_a_reset, 0)
{
	put_oob(sv[0], "x");
	close_end(&sv[1]);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	AT_EOF(sv[0]);
}

CASE_ON_ENDS(oob_place_at_close_is_no_reset, 0)
{
	put_oob(sv[0], "x");
	READS_OOB(sv[1], "x");
	close_end(&sv[1]);
	AT_EOF(sv[0]);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
}

CASE_ON_ENDS(oob_peeked_at_close_is_a_reset, 0)
{
	put_oob(sv[0], "x");
	reads(HERE, sv[1], MSG_OOB | MSG_PEEK, "x");
	close_end(&sv[1]);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
}

static void await_signals(int n)
{
	for (int i = 0; i < 2000 && atomic_load(&signals_seen) < n; i++)
		poll(NULL, 0, 1);
	EQ(atomic_load(&signals_seen), n);
}

CASE_ON_ENDS(oob_signals_the_owner, 0)
{
	count_signal(SIGURG, SA_RESTART);
	OK(fcntl(sv[1], F_SETOWN, getpid()));
	put(sv[0], "a");
	EQ(atomic_load(&signals_seen), 0);
	/* O_ASYNC is not needed, and each send counts. */
	put_oob(sv[0], "x");
	await_signals(1);
	put_oob(sv[0], "bcy");
	await_signals(2);
	set_int_option(sv[1], SO_OOBINLINE, 1);
	put_oob(sv[0], "z");
	await_signals(3);
}

CASE_ON_ENDS(oob_signals_a_group, 0)
{
	count_signal(SIGURG, SA_RESTART);
	/* The case is a process group of its own. */
	OK(fcntl(sv[1], F_SETOWN, -getpgrp()));
	put_oob(sv[0], "x");
	await_signals(1);
}

CASE_ON_ENDS(oob_signals_nobody_without_an_owner, 0)
{
	count_signal(SIGURG, SA_RESTART);
	/* The sender's owner is nobody's concern. */
	OK(fcntl(sv[0], F_SETOWN, getpid()));
	put_oob(sv[0], "x");
	READS_OOB(sv[1], "x");
	EQ(atomic_load(&signals_seen), 0);
}

static void send_urgent(void *arg)
{
	put_oob(*(int *)arg, "x");
}

CASE_ON_ENDS(oob_signals_the_owner_from_another_process, NEEDS_PROCESSES)
{
	count_signal(SIGURG, SA_RESTART);
	OK(fcntl(sv[1], F_SETOWN, getpid()));
	EXITS(spawn(send_urgent, &sv[0]), 0);
	await_signals(1);
	READS_OOB(sv[1], "x");
}

CASE_ON_ENDS(oob_wakes_a_poll_for_it, 0)
{
	struct pollfd p = {.fd = sv[1], .events = POLLPRI};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	put(sv[0], "a");
	BLOCKED(&t);
	put_oob(sv[0], "x");
	RETURNS(&t, 1);
	EQ(p.revents, POLLPRI);
}

CASE_ON_ENDS(oob_is_an_epoll_edge_each_time, 0)
{
	int ep = OK(epoll_create1(0));
	struct epoll_event ev = {.events = EPOLLPRI | EPOLLIN | EPOLLET};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, sv[1], &ev));
	EQ(epoll_wait(ep, &ev, 1, 0), 0);
	for (int i = 0; i < 3; i++) {
		put_oob(sv[0], "x");
		EQ(epoll_wait(ep, &ev, 1, 1000), 1);
		EQ(ev.events, EPOLLPRI | EPOLLIN);
		EQ(epoll_wait(ep, &ev, 1, 0), 0);
	}
	OK(close(ep));
}

CASE_ON_ENDS(oob_brings_no_control_data, 0)
{
	struct received r;

	set_int_option(sv[1], SO_PASSCRED, 1);
	put_oob(sv[0], "abx");
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_OOB), 1);
	EQ(r.control_len, 0);
	EQ(r.flags, MSG_OOB);
	/* The bytes before it do. */
	EQ(receive(sv[1], &r, 8, sizeof r.control, 0), 2);
	TRUE(r.has_cred);
	/* Nor does it miss any. */
	put_oob(sv[0], "x");
	EQ(receive(sv[1], &r, 8, 0, MSG_OOB), 1);
	EQ(r.flags, MSG_OOB);
}

static ssize_t send_right_urgently(int fd, const char *text, int right)
{
	struct control c = {.len = 0};

	control_rights(&c, &right, 1);
	return send_control(fd, text, &c, MSG_OOB);
}

CASE_ON_ENDS(oob_descriptors_ride_on_the_first_byte, 0)
{
	int p[2];

	watched_pipe(p);
	EQ(send_right_urgently(sv[0], "abx", p[1]), 3);
	OK(close(p[1]));
	READS_OOB(sv[1], "x");
	HELD(p);
	GETS_RIGHTS(sv[1], "ab", 1);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_ENDS(oob_alone_loses_its_descriptors, 0)
{
	int p[2];

	watched_pipe(p);
	EQ(send_right_urgently(sv[0], "x", p[1]), 1);
	OK(close(p[1]));
	struct received r;
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_OOB), 1);
	EQ(r.n_fds, -1);
	EQ(r.flags, MSG_OOB);
	/* Once the empty place has gone at the latest. */
	EMPTY(sv[1]);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_ENDS(oob_inline_brings_its_descriptors, 0)
{
	int p[2];

	watched_pipe(p);
	set_int_option(sv[1], SO_OOBINLINE, 1);
	EQ(send_right_urgently(sv[0], "x", p[1]), 1);
	OK(close(p[1]));
	GETS_RIGHTS(sv[1], "x", 1);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_ENDS(oob_dropped_drops_its_descriptors, 0)
{
	int p[2];

	watched_pipe(p);
	EQ(send_right_urgently(sv[0], "x", p[1]), 1);
	OK(close(p[1]));
	put(sv[0], "ab");
	GETS_RIGHTS(sv[1], "ab", 0);
	DROPPED(p);
	OK(close(p[0]));
}
