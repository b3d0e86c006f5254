/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* connect(): the order of its checks, a full backlog, and what is possible before accept(). */
#include "conform.h"

CASE(connect_check_order, 0)
{
	struct name a = abstract_name("a");
	char buf[256] = {0};
	int p[2];

	EQ(pipe(p), 0);
	memcpy(buf, &a.un, a.len);
	FAILS(connect(-1, NAME(&a)), EBADF);
	FAILS(connect(-1, ANY(bad_pointer()), 4096), EBADF);
	/* The address before what the descriptor is. */
	FAILS(connect(p[0], ANY(buf), 129), EINVAL);
	FAILS(connect(p[0], ANY(buf), (socklen_t)-1), EINVAL);
	FAILS(connect(p[0], ANY(bad_pointer()), 10), EFAULT);
	FAILS(connect(p[0], ANY(buf), 128), ENOTSOCK);
	FAILS(connect(p[0], NAME(&a)), ENOTSOCK);
	close(p[0]);
	close(p[1]);
}

CASE(connect_path_errors, 0)
{
	static const struct {
		const char *path;
		int error;
	} table[] = {
		{"missing", ENOENT}, {"missing/a", ENOENT},   {"file/a", ENOTDIR},    {"loop", ELOOP},
		{"loop/a", ELOOP},   {"dangling", ENOENT},    {"file", ECONNREFUSED}, {"dir", ECONNREFUSED},
		{".", ECONNREFUSED}, {"bound", ECONNREFUSED}, {"bound/", ENOTDIR},
	};
	struct name bound = path_name("bound");
	int f = open("file", O_CREAT | O_WRONLY, 0644), fd = unix_socket(SOCK_STREAM);

	TRUE(f >= 0);
	close(f);
	EQ(mkdir("dir", 0755), 0);
	EQ(symlink("loop", "loop"), 0);
	EQ(symlink("nowhere", "dangling"), 0);
	int b = bound_to(SOCK_STREAM, &bound);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct name n = path_name(table[i].path);

		FAILS(connect(fd, NAME(&n)), table[i].error);
	}
	/* None of it spoiled the socket. */
	OK(listen(b, 1));
	OK(connect(fd, NAME(&bound)));
	OK(close(fd));
	OK(close(b));
	EQ(rmdir("dir"), 0);
	EQ(unlink("file"), 0);
	EQ(unlink("loop"), 0);
	EQ(unlink("dangling"), 0);
	EQ(unlink("bound"), 0);
}

CASE(connect_abstract_errors, 0)
{
	struct name none = abstract_name("none"), bound = abstract_name("bound");
	int b = bound_to(SOCK_STREAM, &bound), fd = unix_socket(SOCK_STREAM);

	FAILS(connect(fd, NAME(&none)), ECONNREFUSED);
	FAILS(connect(fd, NAME(&bound)), ECONNREFUSED);
	OK(listen(b, 1));
	OK(connect(fd, NAME(&bound)));
	OK(close(fd));
	OK(close(b));
}

CASE(connect_to_a_connected_sockets_name, 0)
{
	struct name a = abstract_name("a"), mine = abstract_name("mine");
	int l = listen_at(SOCK_STREAM, &a, 1), c = bound_to(SOCK_STREAM, &mine),
	    fd = unix_socket(SOCK_STREAM);

	OK(connect(c, NAME(&a)));
	FAILS(connect(fd, NAME(&mine)), ECONNREFUSED);
	OK(close(fd));
	OK(close(c));
	OK(close(l));
}

CASE(connect_when_connected, 0)
{
	struct name a = abstract_name("a"), none = abstract_name("none"), missing = path_name("missing");
	struct name full = abstract_name("full");
	int l = listen_at(SOCK_STREAM, &a, 5), f = listen_at(SOCK_STREAM, &full, 0);
	int c = connect_to(SOCK_STREAM, &a), waiting = connect_to(SOCK_STREAM, &full);
	int s = OK(accept(l, NULL, NULL)), sv[2];

	unix_pair(SOCK_STREAM, sv);
	set_nonblocking(c, true);
	/* The target is judged first. */
	FAILS(connect(c, NAME(&missing)), ENOENT);
	FAILS(connect(c, NAME(&none)), ECONNREFUSED);
	FAILS(connect(c, NAME(&full)), EAGAIN);
	FAILS(connect(c, NAME(&a)), EISCONN);
	FAILS(connect(s, NAME(&a)), EISCONN);
	FAILS(connect(sv[0], NAME(&a)), EISCONN);
	/* For ever, also without the peer. */
	OK(close(s));
	FAILS(connect(c, NAME(&a)), EISCONN);
	/* The attempts left nothing in the queue. */
	set_nonblocking(l, true);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	OK(close(c));
	OK(close(l));
	OK(close(f));
	OK(close(waiting));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(connect_to_oneself, 0)
{
	struct name a = abstract_name("a");
	int fd = bound_to(SOCK_STREAM, &a);

	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	OK(listen(fd, 0));
	FAILS(connect(fd, NAME(&a)), EINVAL);
	int c = connect_to(SOCK_STREAM, &a);
	set_nonblocking(fd, true);
	FAILS(connect(fd, NAME(&a)), EAGAIN);
	OK(close(c));
	OK(close(fd));
}

CASE(connect_from_listener, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), none = abstract_name("none");
	int x = listen_at(SOCK_STREAM, &a, 1), y = listen_at(SOCK_STREAM, &b, 1);

	FAILS(connect(x, NAME(&none)), ECONNREFUSED);
	FAILS(connect(x, NAME(&b)), EINVAL);
	OK(close(x));
	OK(close(y));
}

CASE(connect_is_complete_before_accept, 0)
{
	struct name a = path_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);

	OK(connect(c, NAME(&a)));
	READY(c, POLLOUT);
	READY(l, POLLIN);
	put(c, "early");
	FAILS(read(c, (char[1]){0}, 1), EAGAIN);
	OK(shutdown(c, SHUT_WR));
	int s = OK(accept(l, NULL, NULL));
	READY(l, 0);
	GETS(s, "early");
	AT_EOF(s);
	put(s, "late");
	GETS(c, "late");
	OK(close(s));
	OK(close(c));
	OK(close(l));
	EQ(unlink("a"), 0);
}

CASE(connect_sends_fill_the_buffer_before_accept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);
	size_t n = fill(c, 1000);

	EQ(n, 93 * 1000);
	int s = OK(accept(l, NULL, NULL));
	EQ(drain(s), n);
	EMPTY(s);
	OK(close(s));
	OK(close(c));
	OK(close(l));
}

CASE(connect_nonblocking_full_backlog, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 0), first = connect_to(SOCK_STREAM, &a);
	int fd = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);

	for (int i = 0; i < 5; i++)
		FAILS(connect(fd, NAME(&a)), EAGAIN);
	/* It is unconnected as before. */
	READY(fd, POLLOUT | POLLHUP);
	FAILS(send(fd, "x", 1, 0), ENOTCONN);
	EQ(get_int_option(fd, SO_ERROR), 0);
	OK(close(OK(accept(l, NULL, NULL))));
	OK(connect(fd, NAME(&a)));
	OK(close(fd));
	OK(close(first));
	OK(close(l));
}

CASE(connect_blocked_is_let_in_by_accept, 0)
{
	struct name a = abstract_name("a");
	struct actor t[3];
	int fd[3], s[4], l = listen_at(SOCK_STREAM, &a, 0), first = connect_to(SOCK_STREAM, &a);

	put(first, "0");
	for (int i = 0; i < 3; i++) {
		fd[i] = unix_socket(SOCK_STREAM);
		start_connect(&t[i], fd[i], &a);
		BLOCKED(&t[i]);
	}
	/* Each accept lets one in, in the order of their coming. */
	s[0] = OK(accept(l, NULL, NULL));
	for (int i = 0; i < 3; i++) {
		RETURNS(&t[i], 0);
		for (int j = i + 1; j < 3; j++)
			BLOCKED(&t[j]);
		char c = (char)('1' + i);
		EQ(write(fd[i], &c, 1), 1);
		s[i + 1] = OK(accept(l, NULL, NULL));
		char got = 0;
		EQ(read(s[i + 1], &got, 1), 1);
		EQ(got, c);
	}
	for (int i = 0; i < 3; i++)
		OK(close(fd[i]));
	for (int i = 0; i < 4; i++)
		OK(close(s[i]));
	OK(close(first));
	OK(close(l));
}

CASE(connect_blocked_is_refused_by_close, 0)
{
	struct name a = abstract_name("a");
	struct actor t[2];
	int fd[2], l = listen_at(SOCK_STREAM, &a, 0), first = connect_to(SOCK_STREAM, &a);

	for (int i = 0; i < 2; i++) {
		fd[i] = unix_socket(SOCK_STREAM);
		start_connect(&t[i], fd[i], &a);
		BLOCKED(&t[i]);
	}
	OK(close(l));
	RETURNS_ERROR(&t[0], ECONNREFUSED);
	RETURNS_ERROR(&t[1], ECONNREFUSED);
	FAILS(read(first, (char[1]){0}, 1), ECONNRESET);
	/* They may try elsewhere. */
	l = listen_at(SOCK_STREAM, &a, 5);
	OK(connect(fd[0], NAME(&a)));
	OK(connect(fd[1], NAME(&a)));
	OK(close(fd[0]));
	OK(close(fd[1]));
	OK(close(first));
	OK(close(l));
}

CASE(connect_blocked_by_path, 0)
{
	struct name a = path_name("a");
	struct actor t;
	int fd = unix_socket(SOCK_STREAM), l = listen_at(SOCK_STREAM, &a, 0);
	int first = connect_to(SOCK_STREAM, &a);

	start_connect(&t, fd, &a);
	BLOCKED(&t);
	/* After the wait the path is walked once more. */
	EQ(unlink("a"), 0);
	OK(close(OK(accept(l, NULL, NULL))));
	RETURNS_ERROR(&t, ENOENT);
	OK(close(fd));
	OK(close(first));
	OK(close(l));
}

CASE(connect_shut_before, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), r = unix_socket(SOCK_STREAM), w = unix_socket(SOCK_STREAM);

	OK(shutdown(r, SHUT_RD));
	OK(connect(r, NAME(&a)));
	int s = OK(accept(l, NULL, NULL));
	/* The peer does not know until it sends. */
	READY(s, POLLOUT);
	AT_EOF(r);
	EQ(read(r, (char[1]){0}, 1), 0);
	FAILS(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
	put(r, "y");
	GETS(s, "y");
	OK(close(s));
	OK(close(r));

	OK(shutdown(w, SHUT_WR));
	OK(connect(w, NAME(&a)));
	s = OK(accept(l, NULL, NULL));
	FAILS(send(w, "x", 1, MSG_NOSIGNAL), EPIPE);
	/* No end of file for the peer. */
	EMPTY(s);
	READY(s, POLLOUT);
	put(s, "y");
	GETS(w, "y");
	OK(close(s));
	OK(close(w));
	OK(close(l));
}

CASE(connect_bound_client, 0)
{
	struct name a = path_name("a"), b = path_name("b");
	int l = listen_at(SOCK_STREAM, &a, 5), c = bound_to(SOCK_STREAM, &b);

	OK(connect(c, NAME(&a)));
	OK(close(OK(accept(l, NULL, NULL))));
	OK(close(c));
	OK(close(l));
	EQ(unlink("a"), 0);
	EQ(unlink("b"), 0);
}

CASE(connect_without_descriptors, 0)
{
	struct name a = path_name("a");
	struct rlimit old, low;
	int l = listen_at(SOCK_STREAM, &a, 5), fd = unix_socket(SOCK_STREAM);

	/* A path is looked up, no descriptor is needed for it. */
	EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)fd + 1;
	EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	OK(connect(fd, NAME(&a)));
	EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	OK(close(fd));
	OK(close(l));
	EQ(unlink("a"), 0);
}

enum { ROUNDS = 300 };

static long connect_rounds(struct actor *a)
{
	for (int i = 0; i < ROUNDS; i++) {
		char c = 0;
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		if (fd < 0 || connect(fd, NAME(&a->name)) < 0)
			return -1;
		if (write(fd, "a", 1) != 1 || read(fd, &c, 1) != 1 || c != 'b' || close(fd) < 0)
			return -1;
	}
	return ROUNDS;
}

CASE(connect_many_from_two_threads, 0)
{
	struct name a = abstract_name("a");
	struct actor t[2];
	int l = listen_at(SOCK_STREAM, &a, 0);

	for (int i = 0; i < 2; i++) {
		t[i] = (struct actor){.name = a};
		actor_start(&t[i], connect_rounds);
	}
	for (int i = 0; i < 2 * ROUNDS; i++) {
		int s = OK(accept(l, NULL, NULL));
		GETS(s, "a");
		put(s, "b");
		EQ(read(s, (char[1]){0}, 1), 0);
		OK(close(s));
	}
	RETURNS(&t[0], ROUNDS);
	RETURNS(&t[1], ROUNDS);
	OK(close(l));
}
