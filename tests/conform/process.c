/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Several processes: connections between them, sockets that fork() shares, the last holder. Death is in
 * death.c. */
#include "conform.h"

static void connect_and_talk(void *arg)
{
	int fd = connect_to(SOCK_STREAM, arg);

	put(fd, "from the child");
	GETS(fd, "from the parent");
	EQ(read_one(fd), 0);
	OK(close(fd));
}

static void connection_between_processes(const struct name *name)
{
	int l = listen_at(SOCK_STREAM, name, 5);

	for (int i = 0; i < 5; i++) {
		struct name copy = *name;
		pid_t pid = spawn(connect_and_talk, &copy);
		int s = OK(accept(l, NULL, NULL));
		GETS(s, "from the child");
		put(s, "from the parent");
		OK(shutdown(s, SHUT_WR));
		EQ(read_one(s), 0);
		OK(close(s));
		EXITS(pid, 0);
	}
	OK(close(l));
}

CASE(process_connects_by_path, NEEDS_PROCESSES)
{
	struct name a = path_name("a");

	connection_between_processes(&a);
	EQ(unlink("a"), 0);
}

CASE(process_connects_by_abstract_name, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a");

	connection_between_processes(&a);
}

static void serve_one(void *arg)
{
	struct talk *t = arg;
	int l = listen_at(SOCK_STREAM, &t->name, 5);

	latch_open(&t->go);
	int s = OK(accept(l, NULL, NULL));
	GETS(s, "ask");
	put(s, "answer");
}

CASE(process_serves, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	t.name = path_name("a");
	pid_t pid = spawn(serve_one, &t);
	latch_pass(&t.go);
	int c = connect_to(SOCK_STREAM, &t.name);
	put(c, "ask");
	GETS(c, "answer");
	EXITS(pid, 0);
	/* Waited for: its sockets are closed, now and not soon. */
	EQ(recv(c, (char[1]){0}, 1, MSG_DONTWAIT), 0);
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&t.name)), ECONNREFUSED);
	OK(close(fd));
	OK(close(c));
	EQ(unlink("a"), 0);
	talk_fini(&t);
}

static void use_inherited(void *arg)
{
	struct talk *t = arg;

	GETS(t->sv[1], "one");
	put(t->sv[1], "two");
	put(t->sv[0], "three");
}

CASE(fork_both_use_an_end, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	put(t.sv[0], "one");
	pid_t pid = spawn(use_inherited, &t);
	GETS(t.sv[0], "two");
	EXITS(pid, 0);
	GETS(t.sv[1], "three");
	/* The child's death closed nothing for good. */
	EMPTY(t.sv[0]);
	EMPTY(t.sv[1]);
	put(t.sv[0], "four");
	GETS(t.sv[1], "four");
	talk_fini(&t);
}

static void hold_until_told(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	latch_open(&t->done);
	latch_pass(&t->go);
}

CASE(fork_end_of_file_after_the_last_holder, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	pid_t pid = spawn(hold_until_told, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	/* The child still has it. */
	EMPTY(t.sv[0]);
	READY(t.sv[0], POLLOUT);
	latch_open(&t.go);
	EXITS(pid, 0);
	EQ(recv(t.sv[0], (char[1]){0}, 1, MSG_DONTWAIT), 0);
	READY(t.sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	talk_fini(&t);
}

CASE(fork_reader_sleeps_until_the_last_holder_closes, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;
	char c;

	talk_init(&t);
	pid_t pid = spawn(hold_until_told, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	start_recv(&a, t.sv[0], &c, 1, 0);
	BLOCKED(&a);
	latch_open(&t.go);
	RETURNS(&a, 0);
	EXITS(pid, 0);
	talk_fini(&t);
}

static void close_one_and_exit(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[1]));
	latch_open(&t->done);
	latch_pass(&t->go);
}

CASE(fork_close_in_the_child_leaves_the_parents, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	pid_t pid = spawn(close_one_and_exit, &t);
	latch_pass(&t.done);
	put(t.sv[1], "still");
	GETS(t.sv[0], "still");
	EMPTY(t.sv[0]);
	latch_open(&t.go);
	EXITS(pid, 0);
	EMPTY(t.sv[0]);
	talk_fini(&t);
}

static void change_the_socket(void *arg)
{
	struct talk *t = arg;
	int on = 1;

	OK(ioctl(t->sv[0], FIONBIO, &on));
	set_int_option(t->sv[0], SO_KEEPALIVE, 1);
	set_int_option(t->sv[0], SO_SNDBUF, 10000);
	OK(fcntl(t->sv[0], F_SETFD, FD_CLOEXEC));
	OK(shutdown(t->sv[0], SHUT_WR));
}

CASE(fork_shares_the_socket_not_the_descriptor, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	EXITS(spawn(change_the_socket, &t), 0);
	EQ(fcntl(t.sv[0], F_GETFL), O_RDWR | O_NONBLOCK);
	EQ(get_int_option(t.sv[0], SO_KEEPALIVE), 1);
	EQ(get_int_option(t.sv[0], SO_SNDBUF), 20000);
	EQ(fcntl(t.sv[0], F_GETFD), 0);
	FAILS(read(t.sv[0], (char[1]){0}, 1), EAGAIN);
	FAILS(send(t.sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	AT_EOF(t.sv[1]);
	talk_fini(&t);
}

static void take_some(void *arg)
{
	struct talk *t = arg;

	GETS(t->sv[1], "ab");
	EQ(recv(t->sv[1], (char[2]){0}, 2, MSG_PEEK), 2);
}

CASE(fork_shares_the_position_in_the_stream, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	put(t.sv[0], "abcdef");
	EXITS(spawn(take_some, &t), 0);
	GETS(t.sv[1], "cdef");
	EMPTY(t.sv[1]);
	talk_fini(&t);
}

static void inherit_and_exit(void *arg)
{
	(void)arg;
}

CASE(fork_and_exit_of_an_idle_child_changes_nothing, NEEDS_PROCESSES)
{
	struct name a = path_name("a");
	struct talk t;

	talk_init(&t);
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);
	for (int i = 0; i < 10; i++)
		EXITS(spawn(inherit_and_exit, NULL), 0);
	int s = OK(accept(l, NULL, NULL));
	put(s, "x");
	GETS(c, "x");
	put(t.sv[0], "y");
	GETS(t.sv[1], "y");
	OK(close(c));
	AT_EOF(s);
	OK(close(s));
	OK(close(l));
	EQ(unlink("a"), 0);
	talk_fini(&t);
}

static void accept_until_shut(void *arg)
{
	struct talk *t = arg;

	for (;;) {
		int s = accept(t->listener, NULL, NULL), error = errno;
		char c;
		if (s < 0) {
			EQ(error, EINVAL);
			return;
		}
		EQ(read(s, &c, 1), 1);
		c = (char)(c + 1);
		EQ(write(s, &c, 1), 1);
		OK(close(s));
	}
}

CASE(prefork_accept_by_three_children, NEEDS_PROCESSES)
{
	struct talk t;
	pid_t pid[3];

	talk_init(&t);
	t.name = path_name("a");
	t.listener = listen_at(SOCK_STREAM, &t.name, 8);
	for (int i = 0; i < 3; i++)
		pid[i] = spawn(accept_until_shut, &t);
	for (int i = 0; i < 100; i++) {
		int c = connect_to(SOCK_STREAM, &t.name);
		char out = (char)i, in = 0;
		EQ(write(c, &out, 1), 1);
		EQ(read(c, &in, 1), 1);
		EQ(in, (char)(out + 1));
		EQ(read_one(c), 0);
		OK(close(c));
	}
	OK(shutdown(t.listener, SHUT_RD));
	for (int i = 0; i < 3; i++)
		EXITS(pid[i], 0);
	OK(close(t.listener));
	EQ(unlink("a"), 0);
	talk_fini(&t);
}

static void serve_in_grandchild(void *arg)
{
	struct talk *t = arg;

	/* A daemon: the middle one exits, the socket goes on. */
	pid_t pid = OK(fork());
	if (pid > 0)
		_exit(0);
	OK(close(t->sv[0]));
	GETS(t->sv[1], "to the grandchild");
	put(t->sv[1], "from the grandchild");
	_exit(0);
}

CASE(fork_of_fork, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	EXITS(spawn(serve_in_grandchild, &t), 0);
	close_end(&t.sv[1]);
	put(t.sv[0], "to the grandchild");
	GETS(t.sv[0], "from the grandchild");
	EQ(read_one(t.sv[0]), 0);
	talk_fini(&t);
}

static void epoll_of_the_parent(void *arg)
{
	struct talk *t = arg;
	struct epoll_event ev;

	EQ(epoll_wait(t->listener, &ev, 1, -1), 1);
	EQ(ev.data.u64, 77);
	GETS(t->sv[0], "x");
}

CASE(fork_inherits_an_epoll, NEEDS_PROCESSES)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 77};
	struct talk t;

	talk_init(&t);
	t.listener = OK(epoll_create1(0));
	OK(epoll_ctl(t.listener, EPOLL_CTL_ADD, t.sv[0], &ev));
	pid_t pid = spawn(epoll_of_the_parent, &t);
	put(t.sv[1], "x");
	EXITS(pid, 0);
	EQ(epoll_wait(t.listener, &ev, 1, 0), 0);
	OK(close(t.listener));
	talk_fini(&t);
}
