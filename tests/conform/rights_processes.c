/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Sockets and pipes handed from process to process, with one of them gone before or after. */
#include "ancillary.h"

/* Gives the descriptor away: only the message has it afterwards. */
static void hand_over(int carrier, int *fd)
{
	EQ(send_right(carrier, "h", *fd), 1);
	close_end(fd);
}

/* Waits for it. */
static int take(int carrier)
{
	EQ(poll(&(struct pollfd){.fd = carrier, .events = POLLIN}, 1, -1), 1);
	return TAKE_RIGHT(carrier, "h");
}

static void child_takes(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	int fd = take(t->sv[1]);
	GETS(fd, "to the child");
	put(fd, "from the child");
	EQ(read_one(fd), 0);
}

CASE(passed_to_another_process, NEEDS_PROCESSES)
{
	struct talk t;
	int x[2];

	talk_init(&t);
	pid_t pid = spawn(child_takes, &t);
	close_end(&t.sv[1]);
	unix_pair(SOCK_STREAM, x);
	put(x[0], "to the ");
	hand_over(t.sv[0], &x[1]);
	put(x[0], "child");
	GETS(x[0], "from the child");
	OK(shutdown(x[0], SHUT_WR));
	EXITS(pid, 0);
	AT_EOF(x[0]);
	OK(close(x[0]));
	talk_fini(&t);
}

static void child_accepts(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	int l = take(t->sv[1]);
	latch_open(&t->done);
	int s = OK(accept(l, NULL, NULL));
	GETS(s, "hello");
	put(s, "yes?");
	EQ(read_one(s), 0);
}

CASE(passed_listener_to_another_process, NEEDS_PROCESSES)
{
	struct talk t;
	struct name a = abstract_name("a");

	talk_init(&t);
	pid_t pid = spawn(child_accepts, &t);
	close_end(&t.sv[1]);
	int l = listen_at(SOCK_STREAM, &a, 5);
	hand_over(t.sv[0], &l);
	latch_pass(&t.done);
	int c = connect_to(SOCK_STREAM, &a);
	put(c, "hello");
	GETS(c, "yes?");
	OK(shutdown(c, SHUT_WR));
	EXITS(pid, 0);
	OK(close(c));
	/* Its only holder has gone. */
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	OK(close(fd));
	talk_fini(&t);
}

static void child_gives(void *arg)
{
	struct talk *t = arg;
	int x[2];

	unix_pair(SOCK_STREAM, x);
	put(x[0], "from the dead");
	hand_over(t->sv[1], &x[1]);
	hand_over(t->sv[1], &x[0]);
}

CASE(passed_by_a_process_that_is_gone, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	EXITS(spawn(child_gives, &t), 0);
	int y = take(t.sv[0]), x = take(t.sv[0]);
	GETS(y, "from the dead");
	put(y, "still alive");
	GETS(x, "still alive");
	OK(close(x));
	AT_EOF(y);
	OK(close(y));
	talk_fini(&t);
}

static void child_waits(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	latch_open(&t->done);
	pause();
}

CASE(passed_to_a_process_that_is_killed, NEEDS_PROCESSES)
{
	struct talk t;
	int p[2], x[2];

	talk_init(&t);
	pid_t pid = spawn(child_waits, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	watched_pipe(p);
	unix_pair(SOCK_STREAM, x);
	put(x[0], "unread");
	EQ(send_rights(t.sv[0], "h", (int[]){x[1], p[1]}, 2), 1);
	OK(close(x[1]));
	OK(close(p[1]));
	HELD(p);
	EMPTY(x[0]);
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	/* Its queue went with it. */
	DROPPED(p);
	EQ(poll(&(struct pollfd){.fd = x[0], .events = POLLIN}, 1, 5000), 1);
	FAILS(recv(x[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	OK(close(x[0]));
	OK(close(p[0]));
	talk_fini(&t);
}

static void child_passes_on(void *arg)
{
	int *fds = arg, x[2];

	/* Makes a connection for two others and keeps none of it. */
	unix_pair(SOCK_STREAM, x);
	hand_over(fds[0], &x[0]);
	hand_over(fds[1], &x[1]);
}

static void child_greets(void *arg)
{
	int *fd = arg;

	int x = take(*fd);
	put(x, "hello");
	GETS(x, "bye");
}

CASE(passed_by_a_third_process, NEEDS_PROCESSES)
{
	int a[2], b[2];

	unix_pair(SOCK_STREAM, a);
	unix_pair(SOCK_STREAM, b);
	pid_t broker = spawn(child_passes_on, (int[]){a[1], b[1]}), greeter = spawn(child_greets, &b[0]);
	EXITS(broker, 0);
	int x = take(a[0]);
	GETS(x, "hello");
	put(x, "bye");
	EXITS(greeter, 0);
	EQ(read_one(x), 0);
	OK(close(x));
	for (int i = 0; i < 2; i++) {
		OK(close(a[i]));
		OK(close(b[i]));
	}
}

/* Over an exec: what came in stays as open files do. */

ROLE(received_right)
{
	int in = argc > 0 ? atoi(argv[0]) : -1, marked = argc > 1 ? atoi(argv[1]) : -1;

	FAILS(fcntl(marked, F_GETFD), EBADF);
	GETS(in, "before the exec");
	put(in, "after the exec");
}

static void receive_and_exec(void *arg)
{
	const int *fds = arg;
	struct received r, marked;
	char a[16], b[16];

	OK(close(fds[0]));
	EQ(receive(fds[1], &r, 1, sizeof r.control, 0), 1);
	EQ(receive(fds[1], &marked, 1, sizeof marked.control, MSG_CMSG_CLOEXEC), 1);
	EQ(r.n_fds, 1);
	EQ(marked.n_fds, 1);
	snprintf(a, sizeof a, "%d", r.fds[0]);
	snprintf(b, sizeof b, "%d", marked.fds[0]);
	execl("/proc/self/exe", "conform", "--exec", "received_right", a, b, (char *)NULL);
	conform_fail(HERE, "exec: %s", conform_errno_name(errno));
}

CASE(passed_over_an_exec, NEEDS_PROCESSES)
{
	int sv[2], x[2], y[2];

	unix_pair(SOCK_STREAM, sv);
	unix_pair(SOCK_STREAM, x);
	unix_pair(SOCK_STREAM, y);
	/* Left to the messages, so that nothing else is inherited. */
	for (int i = 0; i < 2; i++) {
		OK(fcntl(x[i], F_SETFD, FD_CLOEXEC));
		OK(fcntl(y[i], F_SETFD, FD_CLOEXEC));
	}
	pid_t pid = spawn(receive_and_exec, sv);
	OK(close(sv[1]));
	put(x[0], "before the exec");
	EQ(send_right(sv[0], "a", x[1]), 1);
	EQ(send_right(sv[0], "b", y[1]), 1);
	OK(close(x[1]));
	OK(close(y[1]));
	GETS(x[0], "after the exec");
	/* Closed by the exec. */
	EQ(read_one(y[0]), 0);
	EXITS(pid, 0);
	EQ(read_one(x[0]), 0);
	OK(close(x[0]));
	OK(close(y[0]));
	OK(close(sv[0]));
}
