/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Descriptors over exec(): the test program replaces itself by another run of itself, which uses what it
 * inherits. */
#include "conform.h"

#include <spawn.h>

struct launch {
	const char *role;
	int fd[2];
	int close_first;
};

static void replace(void *arg)
{
	const struct launch *l = arg;
	char a[16], b[16];

	if (l->close_first >= 0)
		OK(close(l->close_first));
	snprintf(a, sizeof a, "%d", l->fd[0]);
	snprintf(b, sizeof b, "%d", l->fd[1]);
	execl("/proc/self/exe", "conform", "--exec", l->role, a, b, (char *)NULL);
	conform_fail(HERE, "exec: %s", conform_errno_name(errno));
}

static pid_t launch(const char *role, int fd, int other, int close_first)
{
	struct launch l = {role, {fd, other}, close_first};

	return spawn(replace, &l);
}

ROLE(echo)
{
	char buf[64];
	int fd = argc > 0 ? atoi(argv[0]) : -1;

	EQ(fcntl(fd, F_GETFD), 0);
	for (ssize_t n; (n = OK(read(fd, buf, sizeof buf))) > 0;)
		EQ(write(fd, buf, (size_t)n), n);
}

CASE(exec_inherits_an_end, NEEDS_PROCESSES)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	put(sv[0], "early");
	pid_t pid = launch("echo", sv[1], 0, sv[0]);
	OK(close(sv[1]));
	GETS(sv[0], "early");
	put(sv[0], "late");
	GETS(sv[0], "late");
	OK(shutdown(sv[0], SHUT_WR));
	EQ(read(sv[0], (char[1]){0}, 1), 0);
	EXITS(pid, 0);
	OK(close(sv[0]));
}

ROLE(serve)
{
	int l = argc > 0 ? atoi(argv[0]) : -1;

	EQ(get_int_option(l, SO_ACCEPTCONN), 1);
	for (int i = 0; i < 2; i++) {
		int s = OK(accept(l, NULL, NULL));
		GETS(s, "ask");
		put(s, "answer");
		OK(close(s));
	}
}

CASE(exec_inherits_a_listener, NEEDS_PROCESSES)
{
	struct name a = path_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), waiting = connect_to(SOCK_STREAM, &a);

	put(waiting, "ask");
	pid_t pid = launch("serve", l, 0, waiting);
	OK(close(l));
	GETS(waiting, "answer");
	int c = connect_to(SOCK_STREAM, &a);
	put(c, "ask");
	GETS(c, "answer");
	EXITS(pid, 0);
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	OK(close(fd));
	OK(close(c));
	OK(close(waiting));
	EQ(unlink("a"), 0);
}

ROLE(closed)
{
	struct stat st;
	int marked = argc > 0 ? atoi(argv[0]) : -1, kept = argc > 1 ? atoi(argv[1]) : -1;

	FAILS(fstat(marked, &st), EBADF);
	FAILS(read(marked, (char[1]){0}, 1), EBADF);
	OK(fstat(kept, &st));
	TRUE(S_ISSOCK(st.st_mode));
	put(kept, "x");
	/* The new program's own sockets are in nobody's way. */
	int sv[2];
	unix_pair(SOCK_STREAM, sv);
	put(sv[0], "y");
	GETS(sv[1], "y");
	OK(close(sv[0]));
	OK(close(sv[1]));
	/* The end of file below comes while this program still runs. */
	GETS(kept, "go");
}

CASE(exec_closes_what_is_marked, NEEDS_PROCESSES)
{
	int sv[2], tv[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	unix_pair(SOCK_STREAM, tv);
	pid_t pid = launch("closed", sv[1], tv[1], -1);
	OK(close(sv[1]));
	OK(close(tv[1]));
	/* The child had a copy of sv[0] as well, marked too. */
	EQ(read(sv[0], (char[1]){0}, 1), 0);
	GETS(tv[0], "x");
	put(tv[0], "go");
	EXITS(pid, 0);
	OK(close(sv[0]));
	OK(close(tv[0]));
}

ROLE(state)
{
	int fd = argc > 0 ? atoi(argv[0]) : -1;
	struct sockaddr_un un;
	socklen_t len = sizeof un;

	EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
	EQ(get_int_option(fd, SO_KEEPALIVE), 1);
	EQ(get_int_option(fd, SO_SNDBUF), 20000);
	OK(getsockname(fd, ANY(&un), &len));
	EQ(len, 2);
	GETS(fd, "rest");
	FAILS(read(fd, (char[1]){0}, 1), EAGAIN);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE(exec_keeps_the_state_of_the_socket, NEEDS_PROCESSES)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	set_nonblocking(sv[1], true);
	set_int_option(sv[1], SO_KEEPALIVE, 1);
	set_int_option(sv[1], SO_SNDBUF, 10000);
	OK(shutdown(sv[1], SHUT_WR));
	put(sv[0], "taken rest");
	GETS(sv[1], "taken ");
	EXITS(launch("state", sv[1], 0, -1), 0);
	EMPTY(sv[1]);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

static void as_standard_streams(void *arg)
{
	int fd = *(int *)arg;

	EQ(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	EQ(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
	execl("/proc/self/exe", "conform", "--exec", "echo_standard", "0", (char *)NULL);
	conform_fail(HERE, "exec: %s", conform_errno_name(errno));
}

ROLE(echo_standard)
{
	char buf[64];

	(void)argc;
	(void)argv;
	for (ssize_t n; (n = OK(read(STDIN_FILENO, buf, sizeof buf))) > 0;)
		EQ(write(STDOUT_FILENO, buf, (size_t)n), n);
}

CASE(exec_with_a_socket_as_standard_streams, NEEDS_PROCESSES)
{
	int sv[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	pid_t pid = spawn(as_standard_streams, &sv[1]);
	OK(close(sv[1]));
	put(sv[0], "through the streams");
	GETS(sv[0], "through the streams");
	OK(shutdown(sv[0], SHUT_WR));
	EQ(read(sv[0], (char[1]){0}, 1), 0);
	EXITS(pid, 0);
	OK(close(sv[0]));
}

ROLE(idle)
{
	(void)argc;
	(void)argv;
	pause();
}

CASE(exec_then_kill_closes, NEEDS_PROCESSES)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	pid_t pid = launch("idle", sv[1], 0, sv[0]);
	OK(close(sv[1]));
	/* Wherever it is: before the exec, in it or after it. */
	EMPTY(sv[0]);
	await_sleeping(pid);
	EMPTY(sv[0]);
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
	AT_EOF(sv[0]);
	OK(close(sv[0]));
}

ROLE(connector)
{
	struct name a = path_name(argc > 0 ? argv[0] : "");
	int fd = connect_to(SOCK_STREAM, &a);

	put(fd, "new program");
	EQ(read(fd, (char[1]){0}, 1), 0);
}

static void launch_connector(void *arg)
{
	execl("/proc/self/exe", "conform", "--exec", "connector", (char *)arg, (char *)NULL);
	conform_fail(HERE, "exec: %s", conform_errno_name(errno));
}

CASE(exec_new_program_connects_by_path, NEEDS_PROCESSES)
{
	char path[] = "a";
	struct name a = path_name(path);
	int l = listen_at(SOCK_STREAM, &a, 5);
	pid_t pid = spawn(launch_connector, path);
	int s = OK(accept(l, NULL, NULL));

	GETS(s, "new program");
	OK(close(s));
	EXITS(pid, 0);
	OK(close(l));
	EQ(unlink("a"), 0);
}

CASE(exec_by_posix_spawn, NEEDS_PROCESSES)
{
	char *argv[] = {(char[]){"conform"}, (char[]){"--exec"}, (char[]){"echo_standard"}, (char[]){"0"},
			NULL};
	extern char **environ;
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int sv[2];

	/* The moves of descriptors happen inside libc, out of everybody's sight. */
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	EQ(posix_spawn_file_actions_init(&actions), 0);
	EQ(posix_spawn_file_actions_adddup2(&actions, sv[1], STDIN_FILENO), 0);
	EQ(posix_spawn_file_actions_adddup2(&actions, sv[1], STDOUT_FILENO), 0);
	EQ(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
	EQ(posix_spawn_file_actions_destroy(&actions), 0);
	OK(close(sv[1]));
	put(sv[0], "spawned");
	GETS(sv[0], "spawned");
	OK(shutdown(sv[0], SHUT_WR));
	EQ(read(sv[0], (char[1]){0}, 1), 0);
	EXITS(pid, 0);
	OK(close(sv[0]));
}

CASE(exec_from_vfork, NEEDS_PROCESSES)
{
	char fd[16];
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	snprintf(fd, sizeof fd, "%d", sv[1]);
	OK(fcntl(sv[0], F_SETFD, FD_CLOEXEC));
	pid_t pid = vfork();
	if (pid == 0) {
		execl("/proc/self/exe", "conform", "--exec", "echo", fd, (char *)NULL);
		_exit(99);
	}
	TRUE(pid > 0);
	OK(close(sv[1]));
	put(sv[0], "from vfork");
	GETS(sv[0], "from vfork");
	OK(shutdown(sv[0], SHUT_WR));
	EQ(read(sv[0], (char[1]){0}, 1), 0);
	EXITS(pid, 0);
	OK(close(sv[0]));
}
