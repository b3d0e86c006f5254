/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Messages among many: several writers and readers, as threads and as processes, and
 * processes that are killed.  A message says who sent it and which one it is, and the
 * rest of it follows from that: a torn, lost, doubled or swapped one shows.
 */
#include "conform.h"

enum { WRITERS = 3, EACH = 2000, LARGEST = 6000 };

struct head {
	uint32_t writer, number;
};

/* Between a header alone and some thousand bytes. */
static size_t length_of(uint32_t writer, uint32_t number)
{
	return sizeof(struct head) + (writer * 7919 + number * 104729) % (LARGEST - sizeof(struct head));
}

static size_t compose(char *buf, uint32_t writer, uint32_t number)
{
	struct head h = {writer, number};
	size_t n = length_of(writer, number);

	memcpy(buf, &h, sizeof h);
	pattern_bytes(buf + sizeof h, writer * 1000003 + number, n - sizeof h);
	return n;
}

/* The message is whole; its header. */
static struct head examine(const char *buf, size_t n)
{
	char want[LARGEST];
	struct head h;

	TRUE(n >= sizeof h);
	memcpy(&h, buf, sizeof h);
	TRUE(h.writer < 16);
	EQ(n, length_of(h.writer, h.number));
	compose(want, h.writer, h.number);
	BYTES(buf, want, n);
	return h;
}

struct writer {
	struct actor actor;
	uint32_t id, count;
	int fd;
	const struct name *to;
};

static long write_messages(struct actor *a)
{
	struct writer *w = a->arg;
	char buf[LARGEST];

	for (uint32_t i = 0; i < w->count; i++) {
		size_t n = compose(buf, w->id, i);
		const struct sockaddr *to = w->to ? (const struct sockaddr *)&w->to->un : NULL;

		if (sendto(w->fd, buf, n, 0, to, w->to ? w->to->len : 0) != (ssize_t)n)
			return -1;
	}
	return w->count;
}

static void start_writer(struct writer *w, uint32_t id, uint32_t count, int fd, const struct name *to)
{
	*w = (struct writer){.id = id, .count = count, .fd = fd, .to = to, .actor = {.arg = w}};
	actor_start(&w->actor, write_messages);
}

/* Receives so many, of each writer in the order of sending without a gap. */
static void expect_all(int fd, uint32_t writers, uint32_t each)
{
	uint32_t next[16] = {0};
	char buf[LARGEST + 1];

	for (uint32_t i = 0; i < writers * each; i++) {
		struct head h = examine(buf, (size_t)OK(recv(fd, buf, sizeof buf, 0)));

		EQ(h.number, next[h.writer]);
		next[h.writer]++;
	}
	for (uint32_t i = 0; i < writers; i++)
		EQ(next[i], each);
	FAILS(recv(fd, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
}

CASE(crowd_of_writers_with_sockets_of_their_own, TAKES_LONG)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s[WRITERS];
	struct writer w[WRITERS];

	for (uint32_t i = 0; i < WRITERS; i++) {
		s[i] = unix_socket(SOCK_DGRAM);
		start_writer(&w[i], i, EACH, s[i], &a);
	}
	expect_all(r, WRITERS, EACH);
	for (int i = 0; i < WRITERS; i++) {
		RETURNS(&w[i].actor, EACH);
		OK(close(s[i]));
	}
	OK(close(r));
}

CASE(crowd_of_connected_writers, TAKES_LONG)
{
	struct name a = path_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s[WRITERS];
	struct writer w[WRITERS];

	for (uint32_t i = 0; i < WRITERS; i++) {
		s[i] = connect_to(SOCK_DGRAM, &a);
		start_writer(&w[i], i, EACH, s[i], NULL);
	}
	expect_all(r, WRITERS, EACH);
	for (int i = 0; i < WRITERS; i++) {
		RETURNS(&w[i].actor, EACH);
		OK(close(s[i]));
	}
	OK(close(r));
	EQ(unlink("a"), 0);
}

CASE_ON_MESSAGES(crowd_of_writers_on_one_socket, TAKES_LONG)
{
	struct writer w[WRITERS];

	for (uint32_t i = 0; i < WRITERS; i++)
		start_writer(&w[i], i, EACH, sv[0], NULL);
	expect_all(sv[1], WRITERS, EACH);
	for (int i = 0; i < WRITERS; i++)
		RETURNS(&w[i].actor, EACH);
}

CASE_ON_MESSAGES(crowd_both_ways_at_once, TAKES_LONG)
{
	struct writer w[2];

	start_writer(&w[0], 0, EACH, sv[0], NULL);
	start_writer(&w[1], 1, EACH, sv[1], NULL);
	char buf[LARGEST + 1];
	for (uint32_t i = 0; i < EACH; i++) {
		for (uint32_t from = 0; from < 2; from++) {
			struct head h = examine(buf, (size_t)OK(recv(sv[1 - from], buf, sizeof buf, 0)));
			EQ(h.writer, from);
			EQ(h.number, i);
		}
	}
	RETURNS(&w[0].actor, EACH);
	RETURNS(&w[1].actor, EACH);
}

/* Receives until a message of writer 15; the number of others.  Each writer's numbers rise. */
static long read_messages(struct actor *a)
{
	int64_t last[16];
	char buf[LARGEST + 1];
	long count = 0;

	for (int i = 0; i < 16; i++)
		last[i] = -1;
	for (;; count++) {
		ssize_t n = recv(a->fd, buf, sizeof buf, 0);

		if (n < 0)
			return -1;
		struct head h = examine(buf, (size_t)n);
		if (h.writer == 15)
			return count;
		TRUE((int64_t)h.number > last[h.writer]);
		last[h.writer] = h.number;
	}
}

static void expect_crowd(int from, const struct name *to, int into)
{
	struct actor readers[2];
	struct writer w[WRITERS];
	char buf[LARGEST];

	for (int i = 0; i < 2; i++) {
		readers[i] = (struct actor){.fd = into};
		actor_start(&readers[i], read_messages);
	}
	for (uint32_t i = 0; i < WRITERS; i++)
		start_writer(&w[i], i, EACH, from, to);
	for (int i = 0; i < WRITERS; i++)
		RETURNS(&w[i].actor, EACH);
	for (uint32_t i = 0; i < 2; i++) {
		size_t n = compose(buf, 15, i);

		EQ(sendto(from, buf, n, 0, to ? (const struct sockaddr *)&to->un : NULL, to ? to->len : 0),
		   n);
	}
	long total = actor_join(&readers[0]);
	total += actor_join(&readers[1]);
	EQ(total, WRITERS * EACH);
	EMPTY(into);
}

CASE_ON_MESSAGES(crowd_of_writers_and_readers, TAKES_LONG)
{
	expect_crowd(sv[0], NULL, sv[1]);
}

CASE(crowd_of_writers_and_readers_of_one_name, TAKES_LONG)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	expect_crowd(s, &a, r);
	OK(close(r));
	OK(close(s));
}

static long answer(struct actor *a)
{
	char c;

	for (size_t i = 0; i < a->n; i++)
		if (recv(a->fd, &c, 1, 0) != 1 || send(a->fd, &c, 1, 0) != 1)
			return -1;
	return (long)a->n;
}

CASE_ON_MESSAGES(crowd_of_two_in_turns, 0)
{
	struct actor t = {.fd = sv[1], .n = EACH};
	char c;

	actor_start(&t, answer);
	for (int i = 0; i < EACH; i++) {
		char out = (char)i;

		EQ(send(sv[0], &out, 1, 0), 1);
		EQ(recv(sv[0], &c, 1, 0), 1);
		EQ(c, out);
	}
	RETURNS(&t, EACH);
}

static long reconnect_often(struct actor *a)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	for (size_t i = 0; i < a->n; i++)
		if (connect(a->fd, NAME(&a->name)) < 0 || connect(a->fd, &none, sizeof none.sa_family) < 0)
			return -1;
	return (long)a->n;
}

CASE(crowd_reconnect_while_others_send, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);
	struct actor t = {.fd = r, .n = 3000, .name = b};
	int sent = 0, refused = 0;

	/* Whatever each send meets, it is one of these. */
	actor_start(&t, reconnect_often);
	while (!atomic_load(&t.done)) {
		ssize_t n = send_to(s, &a, "x");
		int error = n < 0 ? errno : 0;

		TRUE(n == 1 || error == EPERM || error == EAGAIN);
		sent += n == 1;
		refused += error == EPERM;
	}
	RETURNS(&t, 3000);
	take_messages(r);
	EQ(send_to(s, &a, "after"), 5);
	MESSAGE(r, "after");
	OK(close(r));
	OK(close(other));
	OK(close(s));
}

static long open_and_close_often(struct actor *a)
{
	for (size_t i = 0; i < a->n; i++) {
		int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

		if (fd < 0 || bind(fd, NAME(&a->name)) < 0 || close(fd) < 0)
			return -1;
	}
	return (long)a->n;
}

CASE(crowd_send_to_a_name_that_comes_and_goes, 0)
{
	struct name a = abstract_name("a");
	struct actor t = {.n = 2000, .name = a};
	int s = unix_socket(SOCK_DGRAM);

	actor_start(&t, open_and_close_often);
	while (!atomic_load(&t.done)) {
		ssize_t n = send_to(s, &a, "x");
		int error = n < 0 ? errno : 0;

		TRUE(n == 1 || error == ECONNREFUSED || error == EAGAIN);
	}
	RETURNS(&t, 2000);
	FAILS(send_to(s, &a, "x"), ECONNREFUSED);
	/* All that was on its way went with the receivers. */
	READY(s, POLLOUT);
	OK(close(s));
}
