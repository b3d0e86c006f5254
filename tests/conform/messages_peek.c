/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* MSG_PEEK and SO_PEEK_OFF on messages. */
#include "conform.h"

/* A peek of at most n bytes gives exactly this text, and truncated or not. */
static void expect_peek(int fd, size_t n, const char *text, bool cut, int line)
{
	char buf[64];
	struct iovec iov = {buf, n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	conform_at(__FILE__, line, "peek");
	ssize_t got = recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT);
	if (got < 0)
		conform_fail(__FILE__, line, "peek: expected \"%s\", got %s", text,
			     conform_errno_name(errno));
	if ((size_t)got != strlen(text) || memcmp(buf, text, (size_t)got))
		conform_fail(__FILE__, line, "peek: expected \"%s\", got \"%.*s\"", text, (int)got, buf);
	if (m.msg_flags != (cut ? MSG_TRUNC : 0))
		conform_fail(__FILE__, line, "peek of \"%s\": flags 0x%x", text, m.msg_flags);
}

#define PEEK(fd, n, text) expect_peek(fd, n, text, false, __LINE__)
#define PEEK_CUT(fd, n, text) expect_peek(fd, n, text, true, __LINE__)
#define NO_PEEK(fd) FAILS(recv(fd, (char[8]){0}, 8, MSG_PEEK | MSG_DONTWAIT), EAGAIN)
#define OFFSET(fd, want) EQ(get_int_option(fd, SO_PEEK_OFF), want)

CASE_ON_MESSAGES(peek_leaves_the_message, 0)
{
	EQ(tell(sv[0], "first"), 5);
	EQ(tell(sv[0], "second"), 6);
	PEEK(sv[1], 10, "first");
	PEEK(sv[1], 10, "first");
	READY(sv[1], POLLIN | POLLOUT);
	MESSAGE(sv[1], "first");
	PEEK(sv[1], 10, "second");
	MESSAGE(sv[1], "second");
	NO_PEEK(sv[1]);
}

CASE_ON_MESSAGES(peek_short, 0)
{
	EQ(tell(sv[0], "abcdef"), 6);
	PEEK_CUT(sv[1], 2, "ab");
	PEEK_CUT(sv[1], 0, "");
	PEEK(sv[1], 6, "abcdef");
	MESSAGE(sv[1], "abcdef");
}

CASE_ON_MESSAGES(peek_of_an_empty_message, 0)
{
	EQ(tell(sv[0], ""), 0);
	EQ(tell(sv[0], "x"), 1);
	/* As often as one likes. */
	PEEK(sv[1], 4, "");
	PEEK(sv[1], 4, "");
	MESSAGE(sv[1], "");
	MESSAGE(sv[1], "x");
}

CASE_ON_MESSAGES(peek_blocks_until_there_is_one, 0)
{
	struct actor t;
	char buf[8];

	start_recv(&t, sv[1], buf, sizeof buf, MSG_PEEK);
	BLOCKED(&t);
	EQ(tell(sv[0], "abc"), 3);
	RETURNS(&t, 3);
	BYTES(buf, "abc", 3);
	MESSAGE(sv[1], "abc");
}

CASE_ON_MESSAGES(peek_releases_nothing, 0)
{
	fill_messages(sv[0], NULL, 1000);
	PEEK_CUT(sv[1], 0, "");
	FAILS(tell(sv[0], "x"), EAGAIN);
}

CASE_ON_MESSAGES(peek_off_default, 0)
{
	OFFSET(sv[0], -1);
	set_int_option(sv[0], SO_PEEK_OFF, 7);
	OFFSET(sv[0], 7);
	OFFSET(sv[1], -1);
	/* Any negative number is off, and kept. */
	set_int_option(sv[0], SO_PEEK_OFF, -5);
	OFFSET(sv[0], -5);
	EQ(tell(sv[1], "abc"), 3);
	PEEK(sv[0], 8, "abc");
	PEEK(sv[0], 8, "abc");
	OFFSET(sv[0], -5);
}

CASE_ON_MESSAGES(peek_off_moves_on, 0)
{
	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(tell(sv[0], "abcdef"), 6);
	PEEK_CUT(sv[1], 2, "ab");
	OFFSET(sv[1], 2);
	PEEK_CUT(sv[1], 3, "cde");
	OFFSET(sv[1], 5);
	PEEK(sv[1], 3, "f");
	OFFSET(sv[1], 6);
	NO_PEEK(sv[1]);
	MESSAGE(sv[1], "abcdef");
}

CASE_ON_MESSAGES(peek_off_never_crosses, 0)
{
	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(tell(sv[0], "abc"), 3);
	EQ(tell(sv[0], "de"), 2);
	PEEK_CUT(sv[1], 2, "ab");
	PEEK(sv[1], 8, "c");
	PEEK(sv[1], 8, "de");
	OFFSET(sv[1], 5);
	NO_PEEK(sv[1]);
	OFFSET(sv[1], 5);
}

CASE_ON_MESSAGES(peek_off_skips_whole_messages, 0)
{
	EQ(tell(sv[0], "abc"), 3);
	EQ(tell(sv[0], "de"), 2);
	EQ(tell(sv[0], "fgh"), 3);
	set_int_option(sv[1], SO_PEEK_OFF, 3);
	PEEK(sv[1], 8, "de");
	set_int_option(sv[1], SO_PEEK_OFF, 6);
	PEEK(sv[1], 8, "gh");
	OFFSET(sv[1], 8);
	set_int_option(sv[1], SO_PEEK_OFF, 100);
	NO_PEEK(sv[1]);
	OFFSET(sv[1], 100);
}

CASE_ON_MESSAGES(peek_off_goes_back_with_receives, 0)
{
	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(tell(sv[0], "abc"), 3);
	EQ(tell(sv[0], "de"), 2);
	PEEK(sv[1], 8, "abc");
	PEEK(sv[1], 8, "de");
	OFFSET(sv[1], 5);
	MESSAGE(sv[1], "abc");
	OFFSET(sv[1], 2);
	NO_PEEK(sv[1]);
	MESSAGE(sv[1], "de");
	OFFSET(sv[1], 0);
	EQ(tell(sv[0], "f"), 1);
	PEEK(sv[1], 8, "f");
}

CASE_ON_MESSAGES(peek_off_goes_back_by_the_full_length, 0)
{
	char buf[2];

	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(tell(sv[0], "abcdef"), 6);
	EQ(tell(sv[0], "gh"), 2);
	PEEK(sv[1], 8, "abcdef");
	PEEK_CUT(sv[1], 1, "g");
	OFFSET(sv[1], 7);
	EQ(recv(sv[1], buf, 2, 0), 2);
	OFFSET(sv[1], 1);
	PEEK(sv[1], 8, "h");
}

CASE_ON_MESSAGES(peek_off_never_goes_below_zero, 0)
{
	set_int_option(sv[1], SO_PEEK_OFF, 2);
	EQ(tell(sv[0], "abcdef"), 6);
	EQ(tell(sv[0], "gh"), 2);
	MESSAGE(sv[1], "abcdef");
	OFFSET(sv[1], 0);
	PEEK(sv[1], 8, "gh");
}

CASE_ON_MESSAGES(peek_off_empty_message_is_seen_once, 0)
{
	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(tell(sv[0], ""), 0);
	EQ(tell(sv[0], "ab"), 2);
	PEEK(sv[1], 8, "");
	OFFSET(sv[1], 0);
	PEEK(sv[1], 8, "ab");
	OFFSET(sv[1], 2);
	NO_PEEK(sv[1]);
	MESSAGE(sv[1], "");
	MESSAGE(sv[1], "ab");
}

CASE_ON_MESSAGES(peek_off_and_trunc_give_what_remains, 0)
{
	char buf[2];

	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(tell(sv[0], "abcdef"), 6);
	EQ(recv(sv[1], buf, 2, MSG_PEEK | MSG_TRUNC), 6);
	OFFSET(sv[1], 2);
	EQ(recv(sv[1], buf, 1, MSG_PEEK | MSG_TRUNC), 4);
	OFFSET(sv[1], 3);
}

CASE_ON_MESSAGES(peek_off_does_not_move_receives, 0)
{
	set_int_option(sv[1], SO_PEEK_OFF, 3);
	EQ(tell(sv[0], "abcdef"), 6);
	MESSAGE(sv[1], "abcdef");
}

CASE_ON_MESSAGES(peek_off_blocks_at_the_end, 0)
{
	struct actor t;
	char buf[8];

	set_int_option(sv[1], SO_PEEK_OFF, 0);
	EQ(tell(sv[0], "abc"), 3);
	PEEK(sv[1], 8, "abc");
	READY(sv[1], POLLIN | POLLOUT);
	start_recv(&t, sv[1], buf, sizeof buf, MSG_PEEK);
	BLOCKED(&t);
	EQ(tell(sv[0], "de"), 2);
	RETURNS(&t, 2);
	BYTES(buf, "de", 2);
	MESSAGE(sv[1], "abc");
	MESSAGE(sv[1], "de");
}

CASE_ON_MESSAGES(peek_off_switched_off_again, 0)
{
	set_int_option(sv[1], SO_PEEK_OFF, 2);
	EQ(tell(sv[0], "abc"), 3);
	PEEK(sv[1], 8, "c");
	set_int_option(sv[1], SO_PEEK_OFF, -1);
	PEEK(sv[1], 8, "abc");
	OFFSET(sv[1], -1);
}
