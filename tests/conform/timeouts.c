/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SO_RCVTIMEO and SO_SNDTIMEO: what is stored, and recv, send, accept and connect that run out of time. */
#include "conform.h"

enum { SHORT_MS = 30 };

/* The clock may be a tick coarser than the timer; a timeout must never be early by more. */
static void expect_waited(long start)
{
	TRUE(now_ms() - start >= SHORT_MS - 1);
}

static struct timeval time_option(int fd, int option)
{
	struct timeval tv = {-1, -1};
	socklen_t len = sizeof tv;

	OK(getsockopt(fd, SOL_SOCKET, option, &tv, &len));
	EQ(len, sizeof tv);
	return tv;
}

CASE(timeout_readback, 0)
{
	static const int options[] = {SO_RCVTIMEO, SO_SNDTIMEO};
	int fd = unix_socket(SOCK_STREAM);

	for (int i = 0; i < 2; i++) {
		struct timeval tv = time_option(fd, options[i]);
		EQ(tv.tv_sec, 0);
		EQ(tv.tv_usec, 0);
		tv = (struct timeval){12, 500000};
		OK(setsockopt(fd, SOL_SOCKET, options[i], &tv, sizeof tv));
		tv = time_option(fd, options[i]);
		EQ(tv.tv_sec, 12);
		EQ(tv.tv_usec, 500000);
		/* The other one is another one. */
		tv = time_option(fd, options[!i]);
		EQ(tv.tv_sec, i ? 12 : 0);
	}
	/* Up to the clock tick. */
	struct timeval one = {0, 1};
	OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &one, sizeof one));
	one = time_option(fd, SO_RCVTIMEO);
	EQ(one.tv_sec, 0);
	/* 4 ms with the usual 250 ticks a second. */
	TRUE(one.tv_usec >= 1000 && one.tv_usec <= 10000 && 1000000 % one.tv_usec == 0);
	one = (struct timeval){3, 999999};
	OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &one, sizeof one));
	one = time_option(fd, SO_RCVTIMEO);
	EQ(one.tv_sec, 4);
	EQ(one.tv_usec, 0);
	OK(close(fd));
}

CASE(timeout_bad_values, 0)
{
	static const int options[] = {SO_RCVTIMEO, SO_SNDTIMEO};
	int fd = unix_socket(SOCK_STREAM);

	for (int i = 0; i < 2; i++) {
		struct timeval big = {1, 1000000}, negative = {1, -1}, tv = {1, 0};
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], &big, sizeof big), EDOM);
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], &negative, sizeof negative), EDOM);
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], &tv, sizeof tv - 1), EINVAL);
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], &tv, 4), EINVAL);
		FAILS(setsockopt(fd, SOL_SOCKET, options[i], bad_pointer(), sizeof tv), EFAULT);
		tv = time_option(fd, options[i]);
		EQ(tv.tv_sec, 0);
		EQ(tv.tv_usec, 0);
	}
	OK(close(fd));
}

CASE_ON_ENDS(timeout_of_receive, 0)
{
	char buf[8];
	long start = now_ms();

	set_time_option(sv[0], SO_RCVTIMEO, SHORT_MS);
	FAILS(read(sv[0], buf, 1), EAGAIN);
	expect_waited(start);
	start = now_ms();
	FAILS(recv(sv[0], buf, 1, MSG_PEEK), EAGAIN);
	expect_waited(start);
	put(sv[1], "ab");
	EQ(read(sv[0], buf, 8), 2);
	/* A part is a success. */
	put(sv[1], "ab");
	start = now_ms();
	EQ(recv(sv[0], buf, 8, MSG_WAITALL), 2);
	expect_waited(start);
	AT_EOF((close_end(&sv[1]), sv[0]));
}

CASE_ON_ENDS(timeout_of_send, 0)
{
	static char big[1000000];
	long start;

	set_time_option(sv[0], SO_SNDTIMEO, SHORT_MS);
	start = now_ms();
	/* A part is a success. */
	EQ(send(sv[0], big, sizeof big, 0), 219264);
	expect_waited(start);
	start = now_ms();
	FAILS(send(sv[0], big, 1, 0), EAGAIN);
	expect_waited(start);
	/* Of sending only. */
	put(sv[1], "x");
	GETS(sv[0], "x");
	EQ(drain(sv[1]), 219264);
}

CASE_ON_ENDS(timeout_negative_means_not_to_wait, 0)
{
	struct timeval tv = {-1, 0};

	OK(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	FAILS(read(sv[0], (char[1]){0}, 1), EAGAIN);
	EQ(fcntl(sv[0], F_GETFL) & O_NONBLOCK, 0);
	tv = time_option(sv[0], SO_RCVTIMEO);
	EQ(tv.tv_sec, 0);
	EQ(tv.tv_usec, 0);
}

CASE_ON_ENDS(timeout_zero_is_for_ever, 0)
{
	struct actor t;
	char c;

	set_time_option(sv[0], SO_RCVTIMEO, SHORT_MS);
	set_time_option(sv[0], SO_RCVTIMEO, 0);
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
}

CASE_ON_ENDS(timeout_long_enough, 0)
{
	struct actor t;
	char c;

	set_time_option(sv[0], SO_RCVTIMEO, 100000);
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	close_end(&sv[1]);
	RETURNS(&t, 0);
}

CASE_ON_ENDS(timeout_does_not_matter_to_poll, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};
	struct actor t;

	set_time_option(sv[0], SO_RCVTIMEO, 1);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	FAILS(read(sv[0], (char[1]){0}, 1), EAGAIN);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
}

CASE(timeout_of_accept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	long start = now_ms();

	set_time_option(l, SO_RCVTIMEO, SHORT_MS);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	expect_waited(start);
	int c = connect_to(SOCK_STREAM, &a);
	int s = OK(accept(l, NULL, NULL));
	/* The accepted one waits for ever. */
	struct timeval tv = time_option(s, SO_RCVTIMEO);
	EQ(tv.tv_usec, 0);
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

CASE(timeout_of_accept_after_shutdown, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	set_time_option(l, SO_RCVTIMEO, 100000);
	OK(shutdown(l, SHUT_RD));
	FAILS(accept(l, NULL, NULL), EINVAL);
	OK(close(l));
}

CASE(timeout_of_connect, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 0), first = connect_to(SOCK_STREAM, &a),
	    fd = unix_socket(SOCK_STREAM);
	long start = now_ms();

	set_time_option(fd, SO_SNDTIMEO, SHORT_MS);
	FAILS(connect(fd, NAME(&a)), EAGAIN);
	expect_waited(start);
	/* It may be tried again. */
	OK(close(OK(accept(l, NULL, NULL))));
	OK(connect(fd, NAME(&a)));
	OK(close(fd));
	OK(close(first));
	OK(close(l));
}

CASE(timeout_of_connect_to_a_listener_that_is_shut, 0)
{
	struct name a = abstract_name("a");
	struct actor t;
	int l = listen_at(SOCK_STREAM, &a, 0), first = connect_to(SOCK_STREAM, &a),
	    fd = unix_socket(SOCK_STREAM);

	/* The waiting one is not woken by the shutdown; it notices when its time is over. */
	set_time_option(fd, SO_SNDTIMEO, 300);
	start_connect(&t, fd, &a);
	BLOCKED(&t);
	OK(shutdown(l, SHUT_RD));
	RETURNS_ERROR(&t, ECONNREFUSED);
	OK(close(fd));
	OK(close(first));
	OK(close(l));
}

CASE_ON_ENDS(timeout_is_the_sockets, 0)
{
	int copy = OK(dup(sv[0]));

	set_time_option(copy, SO_RCVTIMEO, SHORT_MS);
	FAILS(read(sv[0], (char[1]){0}, 1), EAGAIN);
	OK(close(copy));
}
