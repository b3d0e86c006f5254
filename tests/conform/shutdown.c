/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* shutdown() of each half in each state, and EPIPE with SIGPIPE only where Linux sends it. */
#include "conform.h"

CASE(shutdown_arguments, 0)
{
	int p[2], sv[2];

	EQ(pipe(p), 0);
	unix_pair(SOCK_STREAM, sv);
	FAILS(shutdown(-1, SHUT_RD), EBADF);
	FAILS(shutdown(p[0], SHUT_RD), ENOTSOCK);
	FAILS(shutdown(p[0], 7), ENOTSOCK);
	FAILS(shutdown(sv[0], -1), EINVAL);
	FAILS(shutdown(sv[0], 3), EINVAL);
	put(sv[0], "x");
	GETS(sv[1], "x");
	close(p[0]);
	close(p[1]);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(shutdown_never_says_enotconn, 0)
{
	struct name a = abstract_name("a");

	for (int how = SHUT_RD; how <= SHUT_RDWR; how++) {
		int fd = unix_socket(SOCK_STREAM), b = bound_to(SOCK_STREAM, &a), sv[2];

		OK(shutdown(fd, how));
		OK(shutdown(fd, how));
		OK(shutdown(b, how));
		OK(listen(b, 1));
		OK(shutdown(b, how));
		OK(close(fd));
		OK(close(b));
		unix_pair(SOCK_STREAM, sv);
		OK(close(sv[1]));
		OK(shutdown(sv[0], how));
		OK(close(sv[0]));
	}
}

CASE_ON_ENDS(shutdown_wr, 0)
{
	put(sv[0], "queued");
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[1], POLLIN | POLLOUT | POLLRDHUP);
	READY(sv[0], POLLOUT);
	GETS(sv[1], "queued");
	for (int i = 0; i < 3; i++)
		EQ(read(sv[1], (char[1]){0}, 1), 0);
	READY(sv[1], POLLIN | POLLOUT | POLLRDHUP);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	/* The way back is open. */
	put(sv[1], "back");
	GETS(sv[0], "back");
	EMPTY(sv[0]);
}

CASE_ON_ENDS(shutdown_rd, 0)
{
	put(sv[1], "queued");
	OK(shutdown(sv[0], SHUT_RD));
	GETS(sv[0], "queued");
	EQ(read(sv[0], (char[1]){0}, 1), 0);
	EQ(read(sv[0], (char[1]){0}, 1), 0);
	FAILS(send(sv[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	READY(sv[0], POLLIN | POLLOUT | POLLRDHUP);
	READY(sv[1], POLLOUT);
	put(sv[0], "out");
	GETS(sv[1], "out");
	EMPTY(sv[1]);
}

CASE_ON_ENDS(shutdown_rdwr, 0)
{
	put(sv[0], "a");
	put(sv[1], "b");
	OK(shutdown(sv[0], SHUT_RDWR));
	READY(sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	GETS(sv[0], "b");
	GETS(sv[1], "a");
	AT_EOF(sv[0]);
	AT_EOF(sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	FAILS(send(sv[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE_ON_ENDS(shutdown_of_each_half_by_each_end, 0)
{
	OK(shutdown(sv[0], SHUT_WR));
	READY(sv[0], POLLOUT);
	OK(shutdown(sv[1], SHUT_WR));
	READY(sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	READY(sv[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	AT_EOF(sv[0]);
	AT_EOF(sv[1]);
	/* It stays a connection. */
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	OK(getpeername(sv[0], ANY(&un), &len));
	OK(shutdown(sv[0], SHUT_WR));
	OK(shutdown(sv[0], SHUT_RDWR));
}

CASE_ON_ENDS(shutdown_is_the_sockets_not_the_descriptors, 0)
{
	int copy = OK(dup(sv[0]));

	OK(shutdown(copy, SHUT_WR));
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	AT_EOF(sv[1]);
	OK(close(copy));
}

CASE_ON_ENDS(shutdown_wakes_own_reader, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	OK(shutdown(sv[0], SHUT_RD));
	RETURNS(&t, 0);
}

CASE_ON_ENDS(shutdown_wakes_peers_readers, 0)
{
	struct actor t[2];
	char c[2];

	for (int i = 0; i < 2; i++)
		start_recv(&t[i], sv[0], &c[i], 1, 0);
	BLOCKED(&t[0]);
	BLOCKED(&t[1]);
	OK(shutdown(sv[1], SHUT_WR));
	RETURNS(&t[0], 0);
	RETURNS(&t[1], 0);
}

CASE_ON_ENDS(shutdown_rd_by_peer_leaves_reader, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	/* The peer will not read; it may still write. */
	OK(shutdown(sv[1], SHUT_RD));
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
}

CASE_ON_ENDS(shutdown_wakes_writer_without_sigpipe, 0)
{
	struct actor t;

	count_signal(SIGPIPE, 0);
	fill(sv[0], 4000);
	start_send(&t, sv[0], "x", 1, 0);
	BLOCKED(&t);
	OK(shutdown(sv[0], SHUT_WR));
	RETURNS_ERROR(&t, EPIPE);
	EQ(atomic_load(&signals_seen), 0);
	/* The next one starts on a shut socket. */
	FAILS(send(sv[0], "x", 1, 0), EPIPE);
	EQ(atomic_load(&signals_seen), 1);
}

CASE_ON_ENDS(shutdown_by_peer_wakes_writer_without_sigpipe, 0)
{
	struct actor t;

	count_signal(SIGPIPE, 0);
	fill(sv[0], 4000);
	start_send(&t, sv[0], "x", 1, 0);
	BLOCKED(&t);
	OK(shutdown(sv[1], SHUT_RD));
	RETURNS_ERROR(&t, EPIPE);
	EQ(atomic_load(&signals_seen), 0);
}

CASE_ON_ENDS(shutdown_cuts_a_long_send_short, 0)
{
	static char big[1000000];
	struct actor t;

	count_signal(SIGPIPE, 0);
	start_send(&t, sv[0], big, sizeof big, 0);
	BLOCKED(&t);
	OK(shutdown(sv[1], SHUT_RD));
	/* Bytes went in, so the call was a success. */
	RETURNS(&t, 219264);
	EQ(atomic_load(&signals_seen), 0);
	EQ(drain(sv[1]), 219264);
}

CASE_ON_ENDS(sigpipe_comes_with_epipe, 0)
{
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	count_signal(SIGPIPE, 0);
	close_end(&sv[1]);
	FAILS(write(sv[0], "x", 1), EPIPE);
	EQ(atomic_load(&signals_seen), 1);
	FAILS(send(sv[0], "x", 1, 0), EPIPE);
	EQ(atomic_load(&signals_seen), 2);
	FAILS(writev(sv[0], &iov, 1), EPIPE);
	EQ(atomic_load(&signals_seen), 3);
	FAILS(sendmsg(sv[0], &m, 0), EPIPE);
	EQ(atomic_load(&signals_seen), 4);
	/* Of any length. */
	FAILS(send(sv[0], "x", 0, 0), EPIPE);
	EQ(atomic_load(&signals_seen), 5);
	FAILS(send(sv[0], "x", 1, MSG_DONTWAIT), EPIPE);
	EQ(atomic_load(&signals_seen), 6);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	FAILS(sendmsg(sv[0], &m, MSG_NOSIGNAL), EPIPE);
	EQ(atomic_load(&signals_seen), 6);
}

CASE_ON_ENDS(sigpipe_after_own_shutdown, 0)
{
	count_signal(SIGPIPE, 0);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(write(sv[0], "x", 1), EPIPE);
	EQ(atomic_load(&signals_seen), 1);
	OK(shutdown(sv[0], SHUT_RD));
	FAILS(write(sv[1], "x", 1), EPIPE);
	EQ(atomic_load(&signals_seen), 2);
}

CASE(sigpipe_not_without_connection, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	count_signal(SIGPIPE, 0);
	OK(shutdown(fd, SHUT_WR));
	FAILS(write(fd, "x", 1), ENOTCONN);
	EQ(atomic_load(&signals_seen), 0);
	OK(close(fd));
}

static long write_to_the_dead(struct actor *a)
{
	return write(a->fd, "x", 1);
}

static pthread_t struck;

static void note_thread(int sig)
{
	(void)sig;
	struck = pthread_self();
	atomic_fetch_add(&signals_seen, 1);
}

CASE(sigpipe_goes_to_the_calling_thread, 0)
{
	struct sigaction act = {.sa_handler = note_thread};
	struct actor t = {0};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	OK(close(sv[1]));
	OK(sigaction(SIGPIPE, &act, NULL));
	t.fd = sv[0];
	actor_start(&t, write_to_the_dead);
	RETURNS_ERROR(&t, EPIPE);
	EQ(atomic_load(&signals_seen), 1);
	TRUE(pthread_equal(struck, t.thread));
	OK(close(sv[0]));
}

CASE(sigpipe_blocked_stays_pending, 0)
{
	sigset_t set, pending;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	OK(close(sv[1]));
	count_signal(SIGPIPE, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	FAILS(write(sv[0], "x", 1), EPIPE);
	EQ(atomic_load(&signals_seen), 0);
	EQ(sigpending(&pending), 0);
	EQ(sigismember(&pending, SIGPIPE), 1);
	EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	EQ(atomic_load(&signals_seen), 1);
	OK(close(sv[0]));
}

static void die_of_sigpipe(void *arg)
{
	int *sv = arg;

	FAILS(write(sv[0], "x", 1), EPIPE);
}

CASE(sigpipe_kills_by_default, NEEDS_PROCESSES)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	OK(close(sv[1]));
	KILLED(spawn(die_of_sigpipe, sv), SIGPIPE);
	OK(close(sv[0]));
}
