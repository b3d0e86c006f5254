/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Descriptors of sockets: flags of the descriptor and of the socket, dup() in all its forms, fcntl(),
 * ioctl(). */
#include "conform.h"

CASE_ON_ENDS(fd_nonblock_by_fcntl, 0)
{
	char c;

	EQ(fcntl(sv[0], F_GETFL), O_RDWR);
	OK(fcntl(sv[0], F_SETFL, O_NONBLOCK));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR | O_NONBLOCK);
	/* Of this end only. */
	EQ(fcntl(sv[1], F_GETFL), O_RDWR);
	FAILS(read(sv[0], &c, 1), EAGAIN);
	fill(sv[0], 4000);
	FAILS(write(sv[0], "x", 1), EAGAIN);
	drain(sv[1]);
	OK(fcntl(sv[0], F_SETFL, 0));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR);
	struct actor t;
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
}

CASE_ON_ENDS(fd_nonblock_by_ioctl, 0)
{
	int one = 17, zero = 0;
	char c;

	OK(ioctl(sv[0], FIONBIO, &one));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR | O_NONBLOCK);
	FAILS(read(sv[0], &c, 1), EAGAIN);
	OK(ioctl(sv[0], FIONBIO, &zero));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR);
	FAILS(ioctl(sv[0], FIONBIO, bad_pointer()), EFAULT);
}

CASE_ON_ENDS(fd_setfl_leaves_the_access_mode, 0)
{
	OK(fcntl(sv[0], F_SETFL, O_RDONLY | O_CREAT | O_EXCL | O_TRUNC));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR);
	OK(fcntl(sv[0], F_SETFL, O_APPEND | O_WRONLY));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR | O_APPEND);
	FAILS(fcntl(sv[0], F_SETFL, O_DIRECT), EINVAL);
	put(sv[0], "x");
	GETS(sv[1], "x");
}

CASE_ON_ENDS(fd_status_flags_are_shared_by_dups, 0)
{
	int one = 1, copy = OK(dup(sv[0]));

	OK(fcntl(copy, F_SETFL, O_NONBLOCK));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR | O_NONBLOCK);
	FAILS(read(sv[0], (char[1]){0}, 1), EAGAIN);
	OK(fcntl(sv[0], F_SETFL, 0));
	EQ(fcntl(copy, F_GETFL), O_RDWR);
	OK(ioctl(sv[0], FIONBIO, &one));
	OK(close(copy));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR | O_NONBLOCK);
}

CASE_ON_ENDS(fd_change_of_nonblock_leaves_a_sleeping_call, 0)
{
	struct actor t;
	char c;

	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	set_nonblocking(sv[0], true);
	BLOCKED(&t);
	FAILS(read(sv[0], &c, 1), EAGAIN);
	put(sv[1], "x");
	RETURNS(&t, 1);
}

CASE(fd_cloexec_is_the_descriptors, 0)
{
	int fd = unix_socket(SOCK_STREAM | SOCK_CLOEXEC), copy = OK(dup(fd));

	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(copy, F_GETFD), 0);
	OK(fcntl(fd, F_SETFD, 0));
	OK(fcntl(copy, F_SETFD, FD_CLOEXEC));
	EQ(fcntl(fd, F_GETFD), 0);
	EQ(fcntl(copy, F_GETFD), FD_CLOEXEC);
	OK(ioctl(fd, FIOCLEX));
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	OK(ioctl(fd, FIONCLEX));
	EQ(fcntl(fd, F_GETFD), 0);
	OK(close(fd));
	OK(close(copy));
}

CASE(fd_dup_forms, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	int a = OK(dup(sv[0])), b = OK(fcntl(sv[0], F_DUPFD, 50)), c = OK(fcntl(sv[0], F_DUPFD_CLOEXEC, 50));
	int d = OK(dup2(sv[0], 60)), e = OK(dup3(sv[0], 70, O_CLOEXEC));
	int all[] = {a, b, c, d, e};
	EQ(a, sv[1] + 1);
	EQ(b, 50);
	EQ(c, 51);
	EQ(d, 60);
	EQ(e, 70);
	EQ(fcntl(b, F_GETFD), 0);
	EQ(fcntl(c, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(d, F_GETFD), 0);
	EQ(fcntl(e, F_GETFD), FD_CLOEXEC);
	OK(close(sv[0]));
	for (int i = 0; i < 5; i++) {
		EMPTY(sv[1]);
		put(all[i], "x");
		GETS(sv[1], "x");
		OK(close(all[i]));
	}
	AT_EOF(sv[1]);
	OK(close(sv[1]));
}

CASE(fd_dup_errors, 0)
{
	struct rlimit files;
	int fd = unix_socket(SOCK_STREAM);

	EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
	int limit = (int)files.rlim_cur;
	FAILS(dup(-1), EBADF);
	FAILS(dup2(-1, 50), EBADF);
	FAILS(dup2(fd, -1), EBADF);
	FAILS(dup2(fd, limit), EBADF);
	FAILS(dup3(fd, limit, 0), EBADF);
	FAILS(dup3(fd, fd, 0), EINVAL);
	FAILS(dup3(fd, 50, O_NONBLOCK), EINVAL);
	FAILS(fcntl(fd, F_DUPFD, -1), EINVAL);
	FAILS(fcntl(fd, F_DUPFD, limit), EINVAL);
	FAILS(fcntl(-1, F_GETFD), EBADF);
	FAILS(fcntl(-1, F_GETFL), EBADF);
	FAILS(fcntl(fd, 9999), EINVAL);
	EQ(dup2(fd, fd), fd);
	OK(close(fd));
	FAILS(dup2(fd, fd), EBADF);
	FAILS(dup(fd), EBADF);
}

CASE(fd_dup2_over_a_socket_closes_it, 0)
{
	int sv[2], tv[2];

	unix_pair(SOCK_STREAM, sv);
	unix_pair(SOCK_STREAM, tv);
	put(sv[1], "unread");
	EQ(dup2(tv[0], sv[0]), sv[0]);
	FAILS(read(sv[1], (char[1]){0}, 1), ECONNRESET);
	AT_EOF(sv[1]);
	put(sv[0], "t");
	GETS(tv[1], "t");
	OK(close(tv[0]));
	EMPTY(tv[1]);
	OK(close(sv[0]));
	AT_EOF(tv[1]);
	OK(close(sv[1]));
	OK(close(tv[1]));
}

CASE(fd_dup2_between_sockets_and_pipes, 0)
{
	int sv[2], p[2];
	char c = 0;

	unix_pair(SOCK_STREAM, sv);
	EQ(pipe(p), 0);
	/* A pipe's end over a socket... */
	int keep = OK(dup(sv[0]));
	EQ(dup2(p[1], sv[0]), sv[0]);
	EMPTY(sv[1]);
	OK(close(keep));
	AT_EOF(sv[1]);
	EQ(write(sv[0], "p", 1), 1);
	EQ(read(p[0], &c, 1), 1);
	EQ(c, 'p');
	/* ...and a socket over a pipe's end. */
	EQ(dup2(sv[1], p[1]), p[1]);
	OK(close(sv[0]));
	EQ(read(p[0], &c, 1), 0);
	EQ(recv(p[1], &c, 1, MSG_DONTWAIT), 0);
	FAILS(send(p[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	OK(close(sv[1]));
	OK(close(p[1]));
	close(p[0]);
}

CASE(fd_dup2_to_standard_streams, 0)
{
	int sv[2], out;

	unix_pair(SOCK_STREAM, sv);
	fflush(stdout);
	out = OK(dup(STDOUT_FILENO));
	EQ(dup2(sv[0], STDOUT_FILENO), STDOUT_FILENO);
	EQ(write(STDOUT_FILENO, "hello", 5), 5);
	EQ(dup2(out, STDOUT_FILENO), STDOUT_FILENO);
	GETS(sv[1], "hello");
	OK(close(out));
	OK(close(sv[0]));
	AT_EOF(sv[1]);
	OK(close(sv[1]));
}

CASE(fd_dup_shares_the_position_in_the_stream, 0)
{
	int sv[2], copy;

	unix_pair(SOCK_STREAM, sv);
	copy = OK(dup(sv[1]));
	put(sv[0], "abcd");
	GETS(sv[1], "a");
	GETS(copy, "b");
	GETS(sv[1], "cd");
	EMPTY(copy);
	OK(close(copy));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(fd_owner, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	EQ(fcntl(fd, F_GETOWN), 0);
	OK(fcntl(fd, F_SETOWN, getpid()));
	EQ(fcntl(fd, F_GETOWN), getpid());
	FAILS(fcntl(fd, F_SETOWN, INT_MAX), ESRCH);
	OK(close(fd));
}

CASE(fd_many_sockets, 0)
{
	enum { N = 150 };
	int sv[N][2];

	for (int i = 0; i < N; i++)
		unix_pair(SOCK_STREAM, sv[i]);
	for (int i = 0; i < N; i++)
		EQ(write(sv[i][i & 1], &i, sizeof i), sizeof i);
	for (int i = N - 1; i >= 0; i--) {
		int got = -1;
		EQ(read(sv[i][!(i & 1)], &got, sizeof got), sizeof got);
		EQ(got, i);
		OK(close(sv[i][0]));
		AT_EOF(sv[i][1]);
		OK(close(sv[i][1]));
	}
}

CASE(fd_reuse_of_a_number_is_a_new_socket, 0)
{
	for (int i = 0; i < 500; i++) {
		int sv[2], p[2];

		unix_pair(SOCK_STREAM, sv);
		put(sv[0], "x");
		set_nonblocking(sv[0], true);
		OK(close(sv[0]));
		OK(close(sv[1]));
		/* The kernel's own under the same numbers. */
		EQ(pipe(p), 0);
		EQ(p[0], sv[0]);
		FAILS(recv(p[0], (char[1]){0}, 1, MSG_DONTWAIT), ENOTSOCK);
		EQ(fcntl(p[0], F_GETFL), O_RDONLY);
		EQ(write(p[1], "p", 1), 1);
		EQ(read(p[0], (char[1]){0}, 1), 1);
		close(p[0]);
		close(p[1]);
	}
}

CASE(fd_fopen_over_a_socket, 0)
{
	char line[32];
	int sv[2];

	/* stdio reads and writes by means of its own, but of the same descriptors. */
	if (!strcmp(conform_suite(), "library"))
		SKIP("stdio calls the kernel's read() and write()");
	unix_pair(SOCK_STREAM, sv);
	FILE *w = fdopen(sv[0], "w"), *r = fdopen(sv[1], "r");
	TRUE(w && r);
	fprintf(w, "line %d\nmore", 1);
	EQ(fclose(w), 0);
	TRUE(fgets(line, sizeof line, r) != NULL);
	EQ(strcmp(line, "line 1\n"), 0);
	TRUE(fgets(line, sizeof line, r) != NULL);
	EQ(strcmp(line, "more"), 0);
	TRUE(fgets(line, sizeof line, r) == NULL);
	TRUE(feof(r));
	EQ(fclose(r), 0);
}

static _Atomic int enough;

static long make_pairs(struct actor *a)
{
	(void)a;
	while (!atomic_load(&enough)) {
		int sv[2];

		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, sv) < 0)
			return -1;
		close(sv[0]);
		close(sv[1]);
	}
	return 0;
}

static void expect_limit(void *soft)
{
	struct rlimit r;

	OK(getrlimit(RLIMIT_NOFILE, &r));
	EQ(r.rlim_cur, *(rlim_t *)soft);
}

/* Whatever other threads were doing when it was born. */
CASE(a_child_inherits_the_limit_of_descriptors, NEEDS_PROCESSES)
{
	struct actor a[2] = {0};
	struct rlimit r;

	OK(close(unix_socket(SOCK_DGRAM)));
	OK(getrlimit(RLIMIT_NOFILE, &r));
	r.rlim_cur = 200;
	OK(setrlimit(RLIMIT_NOFILE, &r));
	for (int i = 0; i < 2; i++)
		actor_start(&a[i], make_pairs);
	for (int i = 0; i < 200; i++)
		EXITS(spawn(expect_limit, &r.rlim_cur), 0);
	atomic_store(&enough, 1);
	for (int i = 0; i < 2; i++)
		RETURNS(&a[i], 0);
	OK(getrlimit(RLIMIT_NOFILE, &r));
	EQ(r.rlim_cur, 200);
}
