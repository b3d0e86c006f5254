/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The end of a connection: what the peer of a closed socket reads, ECONNRESET exactly
 * where Linux has it, and calls that sleep while a descriptor is closed.
 */
#include "conform.h"

#define GONE (POLLIN | POLLOUT | POLLHUP | POLLRDHUP)

static void expect_reset_once(int fd)
{
	READY(fd, GONE | POLLERR);
	FAILS(read_one(fd), ECONNRESET);
	READY(fd, GONE);
	EQ(read_one(fd), 0);
	EQ(get_int_option(fd, SO_ERROR), 0);
}

CASE_ON_ENDS(close_is_end_of_file, 0)
{
	close_end(&sv[0]);
	READY(sv[1], GONE);
	for (int i = 0; i < 3; i++)
		EQ(read_one(sv[1]), 0);
	EQ(get_int_option(sv[1], SO_ERROR), 0);
	FAILS(send(sv[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE_ON_ENDS(close_leaves_what_was_sent, 0)
{
	put(sv[0], "last words");
	close_end(&sv[0]);
	READY(sv[1], GONE);
	GETS(sv[1], "last words");
	EQ(read_one(sv[1]), 0);
}

CASE_ON_ENDS(close_leaves_much_that_was_sent, 0)
{
	size_t n = fill(sv[0], 65536);

	EQ(n, 233152);
	close_end(&sv[0]);
	EQ(drain(sv[1]), n);
	EQ(read_one(sv[1]), 0);
}

CASE_ON_ENDS(close_with_unread_data_resets, 0)
{
	put(sv[1], "unread");
	close_end(&sv[0]);
	expect_reset_once(sv[1]);
}

CASE_ON_ENDS(close_with_partly_read_data_resets, 0)
{
	put(sv[1], "ab");
	GETS(sv[0], "a");
	close_end(&sv[0]);
	expect_reset_once(sv[1]);
}

CASE_ON_ENDS(close_with_peeked_data_resets, 0)
{
	char buf[2];

	put(sv[1], "ab");
	EQ(recv(sv[0], buf, 2, MSG_PEEK), 2);
	close_end(&sv[0]);
	expect_reset_once(sv[1]);
}

CASE_ON_ENDS(close_with_all_read_does_not_reset, 0)
{
	put(sv[1], "ab");
	put(sv[1], "cd");
	GETS(sv[0], "abcd");
	close_end(&sv[0]);
	READY(sv[1], GONE);
	EQ(read_one(sv[1]), 0);
}

CASE_ON_ENDS(close_after_shutdown_still_resets, 0)
{
	put(sv[1], "unread");
	OK(shutdown(sv[0], SHUT_RDWR));
	close_end(&sv[0]);
	expect_reset_once(sv[1]);
}

CASE_ON_ENDS(reset_comes_after_queued_data, 0)
{
	put(sv[0], "for you");
	put(sv[1], "unread");
	close_end(&sv[0]);
	READY(sv[1], GONE | POLLERR);
	GETS(sv[1], "for you");
	expect_reset_once(sv[1]);
}

CASE_ON_ENDS(reset_is_taken_by_so_error, 0)
{
	put(sv[1], "unread");
	close_end(&sv[0]);
	EQ(get_int_option(sv[1], SO_ERROR), ECONNRESET);
	READY(sv[1], GONE);
	EQ(get_int_option(sv[1], SO_ERROR), 0);
	EQ(read_one(sv[1]), 0);
}

CASE_ON_ENDS(reset_is_not_taken_by_send, 0)
{
	put(sv[1], "unread");
	close_end(&sv[0]);
	FAILS(send(sv[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	FAILS(send(sv[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	expect_reset_once(sv[1]);
}

CASE_ON_ENDS(reset_is_taken_by_peek, 0)
{
	put(sv[1], "unread");
	close_end(&sv[0]);
	FAILS(recv(sv[1], (char[1]){0}, 1, MSG_PEEK), ECONNRESET);
	EQ(read_one(sv[1]), 0);
}

CASE_ON_ENDS(reset_is_lost_behind_a_short_count, 0)
{
	char buf[8];

	put(sv[0], "abc");
	put(sv[1], "unread");
	close_end(&sv[0]);
	EQ(recv(sv[1], buf, sizeof buf, MSG_WAITALL), 3);
	EQ(read_one(sv[1]), 0);
	EQ(get_int_option(sv[1], SO_ERROR), 0);
}

CASE_ON_ENDS(reset_waits_behind_a_plain_read, 0)
{
	char buf[8];

	put(sv[0], "abc");
	put(sv[1], "unread");
	close_end(&sv[0]);
	/* Enough was found: the error is not looked at. */
	EQ(recv(sv[1], buf, sizeof buf, 0), 3);
	expect_reset_once(sv[1]);
}

CASE_ON_ENDS(reset_wakes_blocked_reader, 0)
{
	struct actor t;
	char c;

	put(sv[1], "unread");
	start_recv(&t, sv[1], &c, 1, 0);
	BLOCKED(&t);
	close_end(&sv[0]);
	RETURNS_ERROR(&t, ECONNRESET);
	EQ(read_one(sv[1]), 0);
}

CASE_ON_ENDS(reset_wakes_blocked_writer, 0)
{
	struct actor t;

	count_signal(SIGPIPE, 0);
	fill(sv[1], 4000);
	start_send(&t, sv[1], "x", 1, 0);
	BLOCKED(&t);
	close_end(&sv[0]);
	RETURNS_ERROR(&t, ECONNRESET);
	EQ(atomic_load(&signals_seen), 0);
	/* That was all of the error. */
	EQ(read_one(sv[1]), 0);
	FAILS(send(sv[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE_ON_ENDS(reset_cuts_a_long_send_short, 0)
{
	static char big[1000000];
	struct actor t;

	start_send(&t, sv[1], big, sizeof big, 0);
	BLOCKED(&t);
	close_end(&sv[0]);
	RETURNS(&t, 219264);
}

CASE_ON_ENDS(close_wakes_blocked_reader, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[1], &c, 1, 0);
	BLOCKED(&t);
	close_end(&sv[0]);
	RETURNS(&t, 0);
}

CASE_ON_ENDS(close_gives_a_full_buffer_back, 0)
{
	fill(sv[1], 4000);
	READY(sv[1], 0);
	close_end(&sv[0]);
	READY(sv[1], GONE | POLLERR);
}

CASE(close_resets_both_ways, 0)
{
	int sv[2];

	/* Both have unread data: who closes first resets the other; the second has nobody to tell. */
	unix_pair(SOCK_STREAM, sv);
	put(sv[0], "a");
	put(sv[1], "b");
	OK(close(sv[0]));
	EQ(get_int_option(sv[1], SO_ERROR), ECONNRESET);
	OK(close(sv[1]));
}

CASE_ON_ENDS(close_of_one_dup_is_not_the_end, 0)
{
	int copy = OK(dup(sv[0]));

	close_end(&sv[0]);
	EMPTY(sv[1]);
	READY(sv[1], POLLOUT);
	put(copy, "still here");
	GETS(sv[1], "still here");
	put(sv[1], "and you");
	GETS(copy, "and you");
	OK(close(copy));
	AT_EOF(sv[1]);
}

CASE(close_twice, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	OK(close(sv[0]));
	FAILS(close(sv[0]), EBADF);
	FAILS(close(-1), EBADF);
	OK(close(sv[1]));
	FAILS(close(sv[1]), EBADF);
}

CASE_ON_ENDS(close_leaves_the_call_of_another_thread, 0)
{
	struct actor t;
	char c = 0;

	start_recv(&t, sv[1], &c, 1, 0);
	BLOCKED(&t);
	close_end(&sv[1]);
	BLOCKED(&t);
	/* The call is a holder: the connection lives and the data arrives. */
	READY(sv[0], POLLOUT);
	put(sv[0], "x");
	RETURNS(&t, 1);
	EQ(c, 'x');
	/* And it was the last one. */
	EQ(read_one(sv[0]), 0);
}

CASE_ON_ENDS(close_leaves_the_send_of_another_thread, 0)
{
	static char big[300000];
	struct actor t;
	size_t sum = 0;
	char buf[65536];

	start_send(&t, sv[1], big, sizeof big, 0);
	BLOCKED(&t);
	close_end(&sv[1]);
	for (ssize_t n; (n = OK(read(sv[0], buf, sizeof buf))) > 0;)
		sum += (size_t)n;
	EQ(sum, sizeof big);
	RETURNS(&t, (long)sizeof big);
}

CASE(close_number_of_a_sleeping_call_is_free, 0)
{
	struct actor t;
	char c = 0;
	int sv[2], other[2];

	unix_pair(SOCK_STREAM, sv);
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	int number = sv[0];
	OK(close(sv[0]));
	unix_pair(SOCK_STREAM, other);
	EQ(other[0], number);
	/* The sleeper is on the old socket, whatever the number means now. */
	put(other[1], "new");
	BLOCKED(&t);
	put(sv[1], "o");
	RETURNS(&t, 1);
	EQ(c, 'o');
	GETS(other[0], "new");
	OK(close(other[0]));
	OK(close(other[1]));
	OK(close(sv[1]));
}

CASE(close_range_closes_sockets, 0)
{
	int sv[2], tv[2];

	unix_pair(SOCK_STREAM, sv);
	unix_pair(SOCK_STREAM, tv);
	put(sv[0], "x");
	int high = OK(fcntl(sv[1], F_DUPFD, 100));
	EQ(close_range((unsigned)sv[0], (unsigned)tv[1], 0), 0);
	FAILS(read_one(sv[0]), EBADF);
	FAILS(read_one(tv[1]), EBADF);
	GETS(high, "x");
	EQ(read_one(high), 0);
	OK(close(high));
}

CASE(close_range_may_only_mark, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	EQ(close_range((unsigned)sv[0], (unsigned)sv[1], 4 /* CLOSE_RANGE_CLOEXEC */), 0);
	EQ(fcntl(sv[0], F_GETFD), FD_CLOEXEC);
	EQ(fcntl(sv[1], F_GETFD), FD_CLOEXEC);
	put(sv[0], "x");
	GETS(sv[1], "x");
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(close_many_connections, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	for (int i = 0; i < 2000; i++) {
		int c = connect_to(SOCK_STREAM, &a), s = OK(accept(l, NULL, NULL));
		put(c, "x");
		/* Either end first. */
		OK(close(i & 1 ? c : s));
		if (i & 1) {
			GETS(s, "x");
			AT_EOF(s);
		} else {
			FAILS(read_one(c), ECONNRESET);
		}
		OK(close(i & 1 ? s : c));
	}
	OK(close(l));
}
