/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Processes that exit or are killed: what their peers, and the other holders of their sockets, see. */
#include "conform.h"

static void write_and_die(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	put(t->sv[1], "last words");
	latch_open(&t->done);
	pause();
}

CASE(kill_of_the_peer_is_end_of_file, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	pid_t pid = spawn(write_and_die, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	READY(t.sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	GETS(t.sv[0], "last words");
	AT_EOF(t.sv[0]);
	FAILS(send(t.sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	talk_fini(&t);
}

CASE(kill_of_the_peer_with_unread_data_is_a_reset, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	pid_t pid = spawn(write_and_die, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	put(t.sv[0], "never read");
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	READY(t.sv[0], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
	GETS(t.sv[0], "last words");
	FAILS(recv(t.sv[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	AT_EOF(t.sv[0]);
	talk_fini(&t);
}

CASE(kill_of_one_holder_is_nothing, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	pid_t pid = spawn(write_and_die, &t);
	latch_pass(&t.done);
	put(t.sv[0], "unread");
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	READY(t.sv[0], POLLIN | POLLOUT);
	GETS(t.sv[0], "last words");
	EMPTY(t.sv[0]);
	GETS(t.sv[1], "unread");
	put(t.sv[1], "alive");
	GETS(t.sv[0], "alive");
	talk_fini(&t);
}

static void sleep_in_recv(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	latch_open(&t->done);
	EQ(read_one(t->sv[1]), 1);
}

CASE(kill_in_a_blocked_receive, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	pid_t pid = spawn(sleep_in_recv, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	await_sleeping(pid);
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	EQ(recv(t.sv[0], (char[1]){0}, 1, MSG_DONTWAIT), 0);
	talk_fini(&t);
}

CASE(kill_wakes_a_blocked_reader, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;
	char buf[32];

	talk_init(&t);
	pid_t pid = spawn(write_and_die, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	GETS(t.sv[0], "last words");
	start_recv(&a, t.sv[0], buf, sizeof buf, 0);
	BLOCKED(&a);
	EQ(kill(pid, SIGKILL), 0);
	RETURNS(&a, 0);
	KILLED(pid, SIGKILL);
	talk_fini(&t);
}

CASE(kill_wakes_a_poll, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;

	talk_init(&t);
	struct pollfd p = {.fd = t.sv[0], .events = POLLRDHUP};
	pid_t pid = spawn(write_and_die, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	start_poll(&a, &p, 1, -1);
	BLOCKED(&a);
	EQ(kill(pid, SIGKILL), 0);
	RETURNS(&a, 1);
	EQ(p.revents, POLLRDHUP | POLLHUP);
	KILLED(pid, SIGKILL);
	talk_fini(&t);
}

static void listen_and_wait(void *arg)
{
	struct talk *t = arg;

	listen_at(SOCK_STREAM, &t->name, 0);
	latch_open(&t->done);
	pause();
}

CASE(kill_of_a_listener, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;

	talk_init(&t);
	t.name = abstract_name("a");
	pid_t pid = spawn(listen_and_wait, &t);
	latch_pass(&t.done);
	int waiting = connect_to(SOCK_STREAM, &t.name), fd = unix_socket(SOCK_STREAM);
	start_connect(&a, fd, &t.name);
	BLOCKED(&a);
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	FAILS(recv(waiting, (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	RETURNS_ERROR(&a, ECONNREFUSED);
	/* The name is free at once. */
	int l = listen_at(SOCK_STREAM, &t.name, 1);
	OK(connect(fd, NAME(&t.name)));
	OK(close(l));
	OK(close(fd));
	OK(close(waiting));
	talk_fini(&t);
}

static void exit_at_once(void *arg)
{
	OK(close(((struct talk *)arg)->sv[0]));
}

CASE(wait_then_end_of_file_at_once, NEEDS_PROCESSES)
{
	for (int i = 0; i < 50; i++) {
		int sv[2];
		unix_pair(SOCK_STREAM, sv);
		struct talk t = {.sv = {sv[0], sv[1]}};
		pid_t pid = spawn(exit_at_once, &t);
		OK(close(sv[1]));
		EXITS(pid, 0);
		EQ(recv(sv[0], (char[1]){0}, 1, MSG_DONTWAIT), 0);
		OK(close(sv[0]));
	}
}

static void accept_one_and_serve(void *arg)
{
	struct talk *t = arg;
	int s = OK(accept(t->listener, NULL, NULL));

	put(s, "served");
	latch_pass(&t->go);
}

CASE(prefork_killed_worker_loses_only_its_own, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	t.name = abstract_name("a");
	t.listener = listen_at(SOCK_STREAM, &t.name, 8);
	pid_t one = spawn(accept_one_and_serve, &t);
	int c = connect_to(SOCK_STREAM, &t.name), d = connect_to(SOCK_STREAM, &t.name);
	GETS(c, "served");
	EQ(kill(one, SIGKILL), 0);
	KILLED(one, SIGKILL);
	AT_EOF(c);
	/* The other one was not lost with the worker. */
	pid_t two = spawn(accept_one_and_serve, &t);
	GETS(d, "served");
	latch_open(&t.go);
	EXITS(two, 0);
	AT_EOF(d);
	OK(close(d));
	OK(close(c));
	OK(close(t.listener));
	talk_fini(&t);
}

static void blocked_writer(void *arg)
{
	static char big[1000000];
	struct talk *t = arg;

	OK(close(t->sv[0]));
	pattern_bytes(big, 0, sizeof big);
	EQ(write(t->sv[1], big, sizeof big), sizeof big);
}

CASE(kill_in_a_blocked_send_leaves_a_whole_prefix, NEEDS_PROCESSES)
{
	static char got[1000000], want[1000000];
	struct talk t;
	size_t have = 0;

	talk_init(&t);
	pid_t pid = spawn(blocked_writer, &t);
	close_end(&t.sv[1]);
	EQ(read(t.sv[0], got, 1), 1);
	have = 1;
	await_sleeping(pid);
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	for (ssize_t n; (n = OK(read(t.sv[0], got + have, sizeof got - have))) > 0;)
		have += (size_t)n;
	TRUE(have >= 219264 && have < sizeof got);
	pattern_bytes(want, 0, have);
	BYTES(got, want, have);
	talk_fini(&t);
}
