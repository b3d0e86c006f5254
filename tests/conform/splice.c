/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* sendfile() and splice() to sockets and from them, and their relatives that take none. */
#include "ancillary.h"

#include <sys/mman.h>
#include <sys/sendfile.h>

/* The library has no such calls, so the kernel would be asked about what it does not know. */
static void need_calls_that_move(void)
{
	if (!strcmp(conform_suite(), "library"))
		SKIP("only the preload stands in for sendfile() and splice()");
}

/* A file of n bytes of the pattern, at its beginning. */
static int pattern_file(size_t n)
{
	static char bytes[1 << 20];
	int fd = OK(memfd_create("pattern", MFD_CLOEXEC));

	TRUE(n <= sizeof bytes);
	pattern_bytes(bytes, 0, n);
	EQ(write(fd, bytes, n), n);
	EQ(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Reads n bytes, in as many calls as it takes, and compares them with the pattern from there. */
static void expect_pattern(int fd, uint64_t at, size_t n)
{
	static char got[1 << 20], want[1 << 20];
	size_t have = 0;

	while (have < n) {
		ssize_t more = OK(read(fd, got + have, n - have));
		TRUE(more > 0);
		have += (size_t)more;
	}
	pattern_bytes(want, at, n);
	BYTES(got, want, n);
}

static void make_pipe(int p[2])
{
	EQ(pipe2(p, O_CLOEXEC), 0);
}

static void close_both(int p[2])
{
	OK(close(p[0]));
	OK(close(p[1]));
}

/* A socket of each type without a peer fails in its own way. */
static int error_without_peer(int type)
{
	return type == SOCK_STREAM ? EINVAL : ENOTCONN;
}

CASE_ON_TYPES(sendfile_from_its_position, 0)
{
	int f = pattern_file(3000);

	(void)type;
	need_calls_that_move();
	EQ(lseek(f, 100, SEEK_SET), 100);
	EQ(sendfile(sv[0], f, NULL, 1000), 1000);
	EQ(lseek(f, 0, SEEK_CUR), 1100);
	expect_pattern(sv[1], 100, 1000);
	/* As much as there is. */
	EQ(sendfile(sv[0], f, NULL, 100000), 1900);
	expect_pattern(sv[1], 1100, 1900);
	EQ(sendfile(sv[0], f, NULL, 100000), 0);
	EMPTY(sv[1]);
	OK(close(f));
}

CASE_ON_TYPES(sendfile_from_a_given_position, 0)
{
	int f = pattern_file(3000);
	off_t at = 200;

	(void)type;
	need_calls_that_move();
	EQ(lseek(f, 7, SEEK_SET), 7);
	EQ(sendfile(sv[0], f, &at, 500), 500);
	EQ(at, 700);
	EQ(lseek(f, 0, SEEK_CUR), 7);
	expect_pattern(sv[1], 200, 500);
	at = 3000;
	EQ(sendfile(sv[0], f, &at, 500), 0);
	EQ(at, 3000);
	at = -1;
	FAILS(sendfile(sv[0], f, &at, 500), EINVAL);
	FAILS(sendfile(sv[0], f, bad_pointer(), 500), EFAULT);
	EMPTY(sv[1]);
	OK(close(f));
}

CASE_ON_TYPES(sendfile_is_one_message, 0)
{
	static char buf[70000];
	int f = pattern_file(200000);

	need_calls_that_move();
	/* A pipe-full of pages at a time. */
	if (type == SOCK_STREAM) {
		EQ(sendfile(sv[0], f, NULL, 65536), 65536);
		expect_pattern(sv[1], 0, 65536);
	} else {
		EQ(sendfile(sv[0], f, NULL, 20000), 20000);
		EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 20000);
		EQ(lseek(f, 0, SEEK_SET), 0);
		EQ(sendfile(sv[0], f, NULL, 100000), 100000);
		EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 65536);
		EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 34464);
	}
	EMPTY(sv[1]);
	OK(close(f));
}

static long send_whole_file(struct actor *a)
{
	size_t sent = 0;

	while (sent < a->n) {
		ssize_t n = sendfile(a->fd, *(int *)a->arg, NULL, a->n - sent);
		if (n <= 0)
			return -1;
		sent += (size_t)n;
	}
	return (long)sent;
}

CASE_ON_ENDS(sendfile_of_a_large_file, 0)
{
	enum { N = 1 << 20 };
	need_calls_that_move();
	int f = pattern_file(N);
	struct actor t = {.fd = sv[0], .n = N, .arg = &f};

	actor_start(&t, send_whole_file);
	expect_pattern(sv[1], 0, N);
	RETURNS(&t, N);
	EMPTY(sv[1]);
	OK(close(f));
}

CASE_ON_TYPES(sendfile_to_a_full_buffer, 0)
{
	int f = pattern_file(1000);

	(void)type;
	need_calls_that_move();
	fill(sv[0], 4000);
	set_nonblocking(sv[0], true);
	FAILS(sendfile(sv[0], f, NULL, 1000), EAGAIN);
	EQ(lseek(f, 0, SEEK_CUR), 0);
	drain(sv[1]);
	EQ(sendfile(sv[0], f, NULL, 1000), 1000);
	expect_pattern(sv[1], 0, 1000);
	OK(close(f));
}

CASE_ON_TYPES(sendfile_after_shutdown, 0)
{
	int f = pattern_file(1000);

	need_calls_that_move();
	count_signal(SIGPIPE, 0);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(sendfile(sv[0], f, NULL, 1000), EPIPE);
	EQ(atomic_load(&signals_seen), type == SOCK_STREAM);
	OK(close(f));
}

CASE_ON_TYPES(sendfile_without_a_peer, 0)
{
	int f = pattern_file(1000), fd = unix_socket(type);

	(void)sv;
	need_calls_that_move();
	FAILS(sendfile(fd, f, NULL, 1000), ENOTCONN);
	OK(close(fd));
	OK(close(f));
}

CASE_ON_TYPES(sendfile_from_a_socket, 0)
{
	int f = OK(memfd_create("out", MFD_CLOEXEC)), p[2], x[2];
	off_t at = 0;

	(void)type;
	need_calls_that_move();
	make_pipe(p);
	unix_pair(SOCK_STREAM, x);
	put(sv[0], "abc");
	/* Only to a pipe. */
	FAILS(sendfile(f, sv[1], NULL, 3), EINVAL);
	FAILS(sendfile(x[0], sv[1], NULL, 3), EINVAL);
	FAILS(sendfile(p[1], sv[1], &at, 3), ESPIPE);
	EQ(sendfile(p[1], sv[1], NULL, 3), 3);
	GETS(p[0], "abc");
	EMPTY(sv[1]);
	close_both(x);
	close_both(p);
	OK(close(f));
}

CASE_ON_TYPES(splice_from_a_pipe, 0)
{
	int p[2];

	need_calls_that_move();
	make_pipe(p);
	put(p[1], "abc");
	EQ(splice(p[0], NULL, sv[0], NULL, 100, 0), 3);
	GETS(sv[1], "abc");
	/* What was written in pieces leaves as one. */
	put(p[1], "de");
	put(p[1], "fg");
	EQ(splice(p[0], NULL, sv[0], NULL, 100, SPLICE_F_MOVE | SPLICE_F_MORE), 4);
	char buf[8];
	EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 4);
	BYTES(buf, "defg", 4);
	/* Not more than was asked for. */
	put(p[1], "hijk");
	EQ(splice(p[0], NULL, sv[0], NULL, 3, 0), 3);
	EQ(splice(p[0], NULL, sv[0], NULL, 3, 0), 1);
	EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), type == SOCK_STREAM ? 4 : 3);
	close_both(p);
}

CASE_ON_TYPES(splice_several_pages_into_one_message, 0)
{
	static char buf[70000];
	int p[2], f = pattern_file(12000);

	need_calls_that_move();
	make_pipe(p);
	EQ(splice(f, NULL, p[1], NULL, 12000, 0), 12000);
	EQ(splice(p[0], NULL, sv[0], NULL, 12000, 0), 12000);
	if (type != SOCK_STREAM) {
		EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT | MSG_PEEK), 12000);
		EMPTY(sv[0]);
	}
	if (type == SOCK_STREAM)
		expect_pattern(sv[1], 0, 12000);
	else
		EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 12000);
	EMPTY(sv[1]);
	close_both(p);
	OK(close(f));
}

CASE_ON_TYPES(splice_from_an_empty_pipe, 0)
{
	int p[2];

	(void)type;
	need_calls_that_move();
	make_pipe(p);
	FAILS(splice(p[0], NULL, sv[0], NULL, 100, SPLICE_F_NONBLOCK), EAGAIN);
	OK(close(p[1]));
	EQ(splice(p[0], NULL, sv[0], NULL, 100, 0), 0);
	EMPTY(sv[1]);
	OK(close(p[0]));
}

CASE_ON_TYPES(splice_to_a_full_buffer, 0)
{
	int p[2];

	(void)type;
	need_calls_that_move();
	make_pipe(p);
	fill(sv[0], 4000);
	put(p[1], "abc");
	set_nonblocking(sv[0], true);
	FAILS(splice(p[0], NULL, sv[0], NULL, 3, 0), EAGAIN);
	/* Nothing has left the pipe. */
	GETS(p[0], "abc");
	close_both(p);
}

CASE_ON_TYPES(splice_to_a_shut_socket, 0)
{
	int p[2];

	need_calls_that_move();
	make_pipe(p);
	put(p[1], "abc");
	count_signal(SIGPIPE, 0);
	OK(shutdown(sv[1], SHUT_RD));
	FAILS(splice(p[0], NULL, sv[0], NULL, 3, 0), EPIPE);
	EQ(atomic_load(&signals_seen), type == SOCK_STREAM);
	close_both(p);
}

CASE_ON_ENDS(splice_from_a_stream, 0)
{
	int p[2];

	need_calls_that_move();
	make_pipe(p);
	put(sv[0], "abc");
	put(sv[0], "def");
	EQ(splice(sv[1], NULL, p[1], NULL, 2, 0), 2);
	GETS(p[0], "ab");
	EQ(splice(sv[1], NULL, p[1], NULL, 100, 0), 4);
	GETS(p[0], "cdef");
	FAILS(splice(sv[1], NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK), EAGAIN);
	set_nonblocking(sv[1], true);
	FAILS(splice(sv[1], NULL, p[1], NULL, 100, 0), EAGAIN);
	set_nonblocking(sv[1], false);
	close_end(&sv[0]);
	EQ(splice(sv[1], NULL, p[1], NULL, 100, 0), 0);
	close_both(p);
}

CASE_ON_ENDS(splice_from_a_reset_stream, 0)
{
	int p[2];

	need_calls_that_move();
	make_pipe(p);
	put(sv[1], "unread");
	close_end(&sv[0]);
	FAILS(splice(sv[1], NULL, p[1], NULL, 100, 0), ECONNRESET);
	EQ(splice(sv[1], NULL, p[1], NULL, 100, 0), 0);
	close_both(p);
}

CASE_ON_ENDS(splice_drops_descriptors, 0)
{
	int p[2], w[2];

	need_calls_that_move();
	make_pipe(p);
	watched_pipe(w);
	EQ(send_right(sv[0], "abc", w[1]), 3);
	OK(close(w[1]));
	EQ(splice(sv[1], NULL, p[1], NULL, 100, 0), 3);
	GETS(p[0], "abc");
	DROPPED(w);
	OK(close(w[0]));
	close_both(p);
}

static long splice_in_a_thread(struct actor *a)
{
	return splice(a->fd, NULL, *(int *)a->arg, NULL, 100, (unsigned int)a->flags);
}

CASE_ON_TYPES(splice_waits_for_data, 0)
{
	int p[2];

	(void)type;
	need_calls_that_move();
	make_pipe(p);
	struct actor t = {.fd = sv[1], .arg = &p[1]};
	actor_start(&t, splice_in_a_thread);
	BLOCKED(&t);
	put(sv[0], "abc");
	RETURNS(&t, 3);
	GETS(p[0], "abc");
	close_both(p);
}

static void splice_messages(int type)
{
	struct actor t;
	int sv[2], p[2];

	need_calls_that_move();
	unix_pair(type, sv);
	make_pipe(p);
	put(sv[0], "abc");
	put(sv[0], "defgh");
	put(sv[0], "ij");
	EQ(splice(sv[1], NULL, p[1], NULL, 100, 0), 3);
	GETS(p[0], "abc");
	/* What does not fit is lost. */
	EQ(splice(sv[1], NULL, p[1], NULL, 2, 0), 2);
	GETS(p[0], "de");
	EQ(splice(sv[1], NULL, p[1], NULL, 100, 0), 2);
	GETS(p[0], "ij");
	/* The flag speaks of the pipe only. */
	t = (struct actor){.fd = sv[1], .arg = &p[1], .flags = SPLICE_F_NONBLOCK};
	actor_start(&t, splice_in_a_thread);
	BLOCKED(&t);
	put(sv[0], "k");
	RETURNS(&t, 1);
	set_nonblocking(sv[1], true);
	FAILS(splice(sv[1], NULL, p[1], NULL, 100, 0), EAGAIN);
	OK(close(sv[0]));
	OK(close(sv[1]));
	close_both(p);
}

CASE(splice_from_datagrams, 0)
{
	splice_messages(SOCK_DGRAM);
}

CASE(splice_from_packets, 0)
{
	splice_messages(SOCK_SEQPACKET);
}

CASE_ON_TYPES(splice_without_a_peer, 0)
{
	int p[2], fd = unix_socket(type);

	(void)sv;
	need_calls_that_move();
	make_pipe(p);
	put(p[1], "abc");
	FAILS(splice(p[0], NULL, fd, NULL, 3, 0), ENOTCONN);
	set_nonblocking(fd, true);
	FAILS(splice(fd, NULL, p[1], NULL, 3, 0), type == SOCK_DGRAM ? EAGAIN : error_without_peer(type));
	OK(close(fd));
	close_both(p);
}

CASE_ON_TYPES(splice_bad_arguments, 0)
{
	int p[2], f = pattern_file(10);
	off_t at = 0;

	(void)type;
	need_calls_that_move();
	make_pipe(p);
	put(p[1], "abc");
	put(sv[0], "abc");
	EQ(splice(p[0], NULL, sv[0], NULL, 0, 0), 0);
	FAILS(splice(p[0], NULL, sv[0], &at, 3, 0), EINVAL);
	FAILS(splice(sv[1], &at, p[1], NULL, 3, 0), EINVAL);
	FAILS(splice(p[0], NULL, sv[0], NULL, 3, 0x100), EINVAL);
	/* One of the two has to be a pipe. */
	FAILS(splice(sv[1], NULL, sv[0], NULL, 3, 0), EINVAL);
	FAILS(splice(sv[1], NULL, f, NULL, 3, 0), EINVAL);
	FAILS(splice(f, NULL, sv[0], NULL, 3, 0), EINVAL);
	FAILS(splice(p[0], NULL, -1, NULL, 3, 0), EBADF);
	GETS(sv[1], "abc");
	GETS(p[0], "abc");
	OK(close(f));
	close_both(p);
}

CASE_ON_TYPES(moves_that_take_no_socket, 0)
{
	int p[2], f = pattern_file(10);

	(void)type;
	need_calls_that_move();
	make_pipe(p);
	put(p[1], "abc");
	put(sv[0], "abc");
	FAILS(tee(p[0], sv[0], 3, 0), EINVAL);
	FAILS(tee(sv[1], p[1], 3, 0), EINVAL);
	FAILS(copy_file_range(f, NULL, sv[0], NULL, 3, 0), EINVAL);
	FAILS(copy_file_range(sv[1], NULL, f, NULL, 3, 0), EINVAL);
	FAILS(vmsplice(sv[0], &(struct iovec){(char[]){'x'}, 1}, 1, 0), EBADF);
	GETS(sv[1], "abc");
	EMPTY(sv[1]);
	OK(close(f));
	close_both(p);
}
