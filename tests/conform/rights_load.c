/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Descriptors under way from several threads and processes at once: none is lost, none is
 * doubled, none stays open. */
#include "ancillary.h"

#include <sys/eventfd.h>

enum { SENDERS = 3, EACH = 200 };

/* Sends event counters whose value says who sent them and as which. */
static long send_counters(struct actor *a)
{
	for (unsigned int i = 0; i < EACH; i++) {
		struct control c = {.len = 0};
		struct iovec iov = {(char[]){'a'}, 1};
		int fd = OK(eventfd((unsigned int)a->n * EACH + i + 1, EFD_CLOEXEC));
		control_rights(&c, &fd, 1);
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = c.len};
		EQ(sendmsg(a->fd, &m, 0), 1);
		OK(close(fd));
	}
	return EACH;
}

CASE_ON_TYPES(rights_from_several_threads, TAKES_LONG)
{
	static bool seen[SENDERS * EACH];
	struct actor t[SENDERS];
	int next[SENDERS] = {0};

	(void)type;
	for (size_t i = 0; i < SENDERS; i++) {
		t[i] = (struct actor){.fd = sv[0], .n = i};
		actor_start(&t[i], send_counters);
	}
	for (int i = 0; i < SENDERS * EACH; i++) {
		struct received r;
		uint64_t value = 0;
		EQ(receive(sv[1], &r, 64, sizeof r.control, 0), 1);
		EQ(r.n_fds, 1);
		EQ(read(r.fds[0], &value, sizeof value), sizeof value);
		drop_received(&r);
		TRUE(value >= 1 && value <= SENDERS * EACH && !seen[value - 1]);
		seen[value - 1] = true;
		/* Of each sender in its order. */
		size_t who = (value - 1) / EACH;
		EQ((value - 1) % EACH, next[who]);
		next[who]++;
	}
	for (size_t i = 0; i < SENDERS; i++)
		RETURNS(&t[i], EACH);
	EMPTY(sv[1]);
}

/* Takes half of what comes and lets plain reads drop the other half. */
static long take_and_drop(struct actor *a)
{
	long n = 0;

	for (int i = 0;; i++) {
		struct received r;
		ssize_t got =
			i & 1 ? recv(a->fd, r.data, 64, 0) : receive(a->fd, &r, 64, sizeof r.control, 0);
		if (got <= 0)
			return got < 0 ? -1 : n;
		if (!(i & 1))
			drop_received(&r);
		n += got;
	}
}

CASE_ON_ENDS(rights_to_several_threads, TAKES_LONG)
{
	struct actor t[2];
	int p[2];
	long n = 0;

	watched_pipe(p);
	for (int i = 0; i < 2; i++) {
		t[i] = (struct actor){.fd = sv[1]};
		actor_start(&t[i], take_and_drop);
	}
	for (int i = 0; i < 500; i++) {
		struct control c = {.len = 0};
		struct iovec iov = {(char[]){'a', 'b'}, 2};
		control_rights(&c, (int[]){p[1], p[1]}, 2);
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = c.len};
		EQ(sendmsg(sv[0], &m, 0), 2);
	}
	OK(close(p[1]));
	OK(shutdown(sv[0], SHUT_WR));
	for (int i = 0; i < 2; i++)
		n += OK(actor_join(&t[i]));
	EQ(n, 1000);
	DROPPED(p);
	OK(close(p[0]));
}

/* One socket goes round and round: who has it adds one to what is in its own queue. */
struct station {
	int in, out, rounds;
};

static long pass_on(struct actor *a)
{
	const struct station *s = a->arg;

	for (int i = 0; i < s->rounds; i++) {
		struct received r;
		uint32_t count;
		EQ(receive(s->in, &r, 1, sizeof r.control, 0), 1);
		EQ(r.n_fds, 1);
		EQ(recv(r.fds[0], &count, sizeof count, MSG_DONTWAIT), sizeof count);
		count++;
		EQ(send(r.fds[0], &count, sizeof count, 0), sizeof count);
		EQ(send_right(s->out, "t", r.fds[0]), 1);
		OK(close(r.fds[0]));
	}
	return s->rounds;
}

CASE_ON_TYPES(passed_round_and_round, TAKES_LONG)
{
	enum { ROUNDS = 200 };
	struct name a = abstract_name("a");
	int one[2], two[2], three[2];
	/* It sends to itself, so that what it says stays with it. */
	int token = bound_to(SOCK_DGRAM, &a);

	OK(connect(token, NAME(&a)));
	unix_pair(type, one);
	unix_pair(type, two);
	unix_pair(type, three);
	struct station s[3] = {
		{one[1], two[0], ROUNDS}, {two[1], three[0], ROUNDS}, {three[1], sv[0], ROUNDS}};
	struct actor t[3];
	for (int i = 0; i < 3; i++) {
		t[i] = (struct actor){.arg = &s[i]};
		actor_start(&t[i], pass_on);
	}
	uint32_t count = 0;
	EQ(send(token, &count, sizeof count, 0), sizeof count);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct received r;
		EQ(send_right(one[0], "t", token), 1);
		OK(close(token));
		EQ(receive(sv[1], &r, 1, sizeof r.control, 0), 1);
		EQ(r.n_fds, 1);
		token = r.fds[0];
		EQ(recv(token, &count, sizeof count, MSG_PEEK), sizeof count);
		EQ(count, 3 * (i + 1));
	}
	for (int i = 0; i < 3; i++)
		RETURNS(&t[i], ROUNDS);
	int all[] = {token, one[0], one[1], two[0], two[1], three[0], three[1]};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		OK(close(all[i]));
	int fd = bound_to(SOCK_DGRAM, &a);
	OK(close(fd));
}

/* Sends pipes and sockets until it is killed. */
struct victim {
	int carrier, pipe, ready;
};

static void send_until_killed(void *arg)
{
	const struct victim *v = arg;
	int x[2];

	for (int i = 0;; i++) {
		struct control c = {.len = 0};
		struct iovec iov = {(char[]){'a'}, 1};
		unix_pair(SOCK_STREAM, x);
		control_rights(&c, (int[]){v->pipe, x[0], x[1]}, 3);
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = c.len};
		EQ(sendmsg(v->carrier, &m, 0), 1);
		OK(close(x[0]));
		OK(close(x[1]));
		if (i == 20)
			EQ(write(v->ready, "x", 1), 1);
	}
}

CASE_ON_TYPES(rights_of_a_sender_that_is_killed, NEEDS_PROCESSES | TAKES_LONG)
{
	for (int round = 0; round < 5; round++) {
		struct latch ready;
		int p[2], x[2];
		latch_init(&ready);
		watched_pipe(p);
		unix_pair(type, x);
		struct victim v = {x[0], p[1], ready.fd[1]};
		pid_t pid = spawn(send_until_killed, &v);
		OK(close(x[0]));
		OK(close(p[1]));
		/* A child that fails ends the wait. */
		OK(close(ready.fd[1]));
		ready.fd[1] = -1;
		latch_pass(&ready);
		EQ(kill(pid, SIGKILL), 0);
		KILLED(pid, SIGKILL);
		/* What arrived is whole. */
		for (;;) {
			struct received r;
			ssize_t n = receive(x[1], &r, 1, sizeof r.control, MSG_DONTWAIT);
			if (n <= 0)
				break;
			EQ(r.n_fds, 3);
			put(r.fds[1], "x");
			GETS(r.fds[2], "x");
			drop_received(&r);
		}
		DROPPED(p);
		OK(close(p[0]));
		OK(close(x[1]));
		latch_fini(&ready);
	}
	(void)sv;
}

static void receive_until_killed(void *arg)
{
	const struct victim *v = arg;

	for (int i = 0;; i++) {
		struct received r;
		EQ(receive(v->carrier, &r, 1, sizeof r.control, 0), 1);
		EQ(r.n_fds, 3);
		if (i % 3)
			drop_received(&r);
		if (i == 20)
			EQ(write(v->ready, "x", 1), 1);
	}
}

static long send_until_refused(struct actor *a)
{
	long n = 0;

	for (;; n++) {
		struct control c = {.len = 0};
		struct iovec iov = {(char[]){'a'}, 1};
		int x[2], error;
		unix_pair(SOCK_STREAM, x);
		control_rights(&c, (int[]){*(int *)a->arg, x[0], x[1]}, 3);
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = c.len};
		ssize_t sent = sendmsg(a->fd, &m, MSG_NOSIGNAL);
		error = errno;
		OK(close(x[0]));
		OK(close(x[1]));
		if (sent < 0) {
			/* So many the other end had before it was killed. */
			TRUE(n > 20);
			errno = error;
			return n;
		}
	}
}

CASE_ON_TYPES(rights_of_a_receiver_that_is_killed, NEEDS_PROCESSES | TAKES_LONG)
{
	for (int round = 0; round < 5; round++) {
		struct latch ready;
		int p[2], x[2];
		latch_init(&ready);
		watched_pipe(p);
		unix_pair(type, x);
		struct victim v = {x[1], -1, ready.fd[1]};
		pid_t pid = spawn(receive_until_killed, &v);
		OK(close(x[1]));
		struct actor t = {.fd = x[0], .arg = &p[1]};
		actor_start(&t, send_until_refused);
		/* A child that fails ends the wait. */
		OK(close(ready.fd[1]));
		ready.fd[1] = -1;
		latch_pass(&ready);
		EQ(kill(pid, SIGKILL), 0);
		KILLED(pid, SIGKILL);
		actor_join(&t);
		TRUE(t.error == EPIPE || t.error == ECONNRESET || t.error == ECONNREFUSED);
		OK(close(p[1]));
		/* What it had and what it had not read yet are both gone. */
		DROPPED(p);
		OK(close(p[0]));
		OK(close(x[0]));
		latch_fini(&ready);
	}
	(void)sv;
}

/* Loops made and left by several threads, while others are in use. */
static long make_loops(struct actor *a)
{
	for (int i = 0; i < 100; i++) {
		int x[2], y[2];
		unix_pair(i & 1 ? SOCK_DGRAM : SOCK_STREAM, x);
		unix_pair(SOCK_SEQPACKET, y);
		EQ(send_rights(x[0], "h", (int[]){y[1], *(int *)a->arg}, 2), 1);
		EQ(send_rights(y[0], "h", (int[]){x[1], *(int *)a->arg}, 2), 1);
		for (int j = 0; j < 2; j++) {
			OK(close(x[j]));
			OK(close(y[j]));
		}
	}
	return 100;
}

CASE_ON_TYPES(loops_while_others_are_in_use, TAKES_LONG)
{
	struct actor t[2];
	int p[2];

	(void)type;
	watched_pipe(p);
	for (int i = 0; i < 2; i++) {
		t[i] = (struct actor){.arg = &p[1]};
		actor_start(&t[i], make_loops);
	}
	for (int i = 0; i < 200; i++) {
		int x[2];
		unix_pair(SOCK_STREAM, x);
		put(x[0], "kept");
		EQ(send_right(sv[0], "h", x[1]), 1);
		OK(close(x[1]));
		int fd = TAKE_RIGHT(sv[1], "h");
		GETS(fd, "kept");
		EMPTY(x[0]);
		OK(close(fd));
		AT_EOF(x[0]);
		OK(close(x[0]));
	}
	for (int i = 0; i < 2; i++)
		RETURNS(&t[i], 100);
	OK(close(p[1]));
	/* The close of a socket has the kernel look for garbage. */
	for (int i = 0; i < 1000 && poll(&(struct pollfd){.fd = p[0], .events = POLLIN}, 1, 5) == 0; i++)
		OK(close(unix_socket(SOCK_STREAM)));
	DROPPED(p);
	OK(close(p[0]));
}
