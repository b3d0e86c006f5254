/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * One datagram or seqpacket socket used by several processes at once, some of which
 * are killed in the middle of something, and sockets over exec().
 */
#include "conform.h"

enum { PROCESSES = 3, EACH = 500 };

struct shared {
	int sv[2];
	struct name name;
	uint32_t id;
	struct latch ready;
};

static void kill_and_reap(pid_t pid)
{
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
}

/* Who and which, and bytes that follow from it. */
static size_t compose(char buf[1024], uint32_t who, uint32_t which)
{
	size_t n = 8 + (who * 331 + which * 37) % 1000;

	memcpy(buf, &who, 4);
	memcpy(buf + 4, &which, 4);
	pattern_bytes(buf + 8, who * 100003 + which, n - 8);
	return n;
}

/* Receives one message, which is whole; gives who sent it and which it is. */
static void take_whole(int fd, uint32_t *who, uint32_t *which)
{
	char buf[1024], want[1024];
	ssize_t n = OK(recv(fd, buf, sizeof buf, 0));

	TRUE(n >= 8);
	memcpy(who, buf, 4);
	memcpy(which, buf + 4, 4);
	EQ(n, compose(want, *who, *which));
	BYTES(buf, want, (size_t)n);
}

static void send_each(void *arg)
{
	struct shared *s = arg;
	char buf[1024];

	for (uint32_t i = 0; i < EACH; i++) {
		size_t n = compose(buf, s->id, i);

		EQ(send(s->sv[0], buf, n, 0), n);
	}
}

static void three_writers(int type)
{
	struct shared s;
	uint32_t next[PROCESSES] = {0}, who, which;
	pid_t pid[PROCESSES];

	unix_pair(type, s.sv);
	for (s.id = 0; s.id < PROCESSES; s.id++)
		pid[s.id] = spawn(send_each, &s);
	for (int i = 0; i < PROCESSES * EACH; i++) {
		take_whole(s.sv[1], &who, &which);
		TRUE(who < PROCESSES);
		EQ(which, next[who]);
		next[who]++;
	}
	for (int i = 0; i < PROCESSES; i++)
		EXITS(pid[i], 0);
	EMPTY(s.sv[1]);
	OK(close(s.sv[0]));
	OK(close(s.sv[1]));
}

CASE(shared_by_writers_dgram, NEEDS_PROCESSES | TAKES_LONG)
{
	three_writers(SOCK_DGRAM);
}

CASE(shared_by_writers_seqpacket, NEEDS_PROCESSES | TAKES_LONG)
{
	three_writers(SOCK_SEQPACKET);
}

static void send_each_by_name(void *arg)
{
	struct shared *s = arg;
	char buf[1024];
	int fd = unix_socket(SOCK_DGRAM);

	for (uint32_t i = 0; i < EACH; i++) {
		size_t n = compose(buf, s->id, i);

		EQ(sendto(fd, buf, n, 0, NAME(&s->name)), n);
	}
}

CASE(shared_name_of_many_processes, NEEDS_PROCESSES | TAKES_LONG)
{
	struct shared s = {.name = path_name("a")};
	uint32_t next[PROCESSES] = {0}, who, which;
	pid_t pid[PROCESSES];
	int r = bound_to(SOCK_DGRAM, &s.name);

	for (s.id = 0; s.id < PROCESSES; s.id++)
		pid[s.id] = spawn(send_each_by_name, &s);
	for (int i = 0; i < PROCESSES * EACH; i++) {
		take_whole(r, &who, &which);
		TRUE(who < PROCESSES);
		EQ(which, next[who]);
		next[who]++;
	}
	for (int i = 0; i < PROCESSES; i++)
		EXITS(pid[i], 0);
	EMPTY(r);
	OK(close(r));
	EQ(unlink("a"), 0);
}

/* Until the message that says so; answers with the number of messages, and each one's number rises. */
static void take_and_count(void *arg)
{
	struct shared *s = arg;
	uint32_t who, which, count = 0;
	int64_t last = -1;

	for (;; count++) {
		take_whole(s->sv[1], &who, &which);
		if (who == 15)
			break;
		TRUE((int64_t)which > last);
		last = which;
	}
	EQ(write(s->ready.fd[1], &count, sizeof count), sizeof count);
}

static void three_readers(int type)
{
	struct shared s = {.id = 0};
	uint32_t total = 0, count;
	char buf[1024];
	pid_t pid[PROCESSES];

	unix_pair(type, s.sv);
	latch_init(&s.ready);
	for (int i = 0; i < PROCESSES; i++)
		pid[i] = spawn(take_and_count, &s);
	send_each(&s);
	for (uint32_t i = 0; i < PROCESSES; i++) {
		size_t n = compose(buf, 15, i);

		EQ(send(s.sv[0], buf, n, 0), n);
	}
	for (int i = 0; i < PROCESSES; i++) {
		EQ(read(s.ready.fd[0], &count, sizeof count), sizeof count);
		total += count;
		EXITS(pid[i], 0);
	}
	EQ(total, EACH);
	EMPTY(s.sv[1]);
	latch_fini(&s.ready);
	OK(close(s.sv[0]));
	OK(close(s.sv[1]));
}

CASE(shared_by_readers_dgram, NEEDS_PROCESSES | TAKES_LONG)
{
	three_readers(SOCK_DGRAM);
}

CASE(shared_by_readers_seqpacket, NEEDS_PROCESSES | TAKES_LONG)
{
	three_readers(SOCK_SEQPACKET);
}

static void send_for_ever(void *arg)
{
	struct shared *s = arg;
	char buf[1024];

	for (uint32_t i = 0;; i++) {
		size_t n = compose(buf, s->id, i);

		EQ(send(s->sv[0], buf, n, 0), n);
	}
}

static void take_for_ever(void *arg)
{
	struct shared *s = arg;
	uint32_t who, which;

	for (;;)
		take_whole(s->sv[1], &who, &which);
}

/* Writers of a shared end die, one after the other, wherever they are. */
static void killed_writers(int type)
{
	for (uint32_t lap = 0; lap < 15; lap++) {
		struct shared s;
		uint32_t who, which, next[2] = {0};
		pid_t pid[2];

		unix_pair(type, s.sv);
		for (s.id = 0; s.id < 2; s.id++)
			pid[s.id] = spawn(send_for_ever, &s);
		for (int i = 0; i < 2; i++) {
			for (uint32_t n = 0; n < 20 + 3 * lap; n++) {
				take_whole(s.sv[1], &who, &which);
				TRUE(who < 2);
				EQ(which, next[who]);
				next[who]++;
			}
			kill_and_reap(pid[i]);
		}
		/* The end is still ours, and works. */
		take_messages(s.sv[1]);
		EQ(tell(s.sv[0], "alive"), 5);
		MESSAGE(s.sv[1], "alive");
		READY(s.sv[0], POLLOUT);
		OK(close(s.sv[0]));
		OK(close(s.sv[1]));
	}
}

CASE(shared_by_writers_that_are_killed_dgram, NEEDS_PROCESSES | TAKES_LONG)
{
	killed_writers(SOCK_DGRAM);
}

CASE(shared_by_writers_that_are_killed_seqpacket, NEEDS_PROCESSES | TAKES_LONG)
{
	killed_writers(SOCK_SEQPACKET);
}

static void killed_readers(int type)
{
	for (uint32_t lap = 0; lap < 15; lap++) {
		struct shared s = {.id = 0};
		char buf[1024];
		pid_t pid[2];
		uint32_t i = 0;

		unix_pair(type, s.sv);
		for (int k = 0; k < 2; k++)
			pid[k] = spawn(take_for_ever, &s);
		for (int k = 0; k < 2; k++) {
			for (uint32_t n = 0; n < 150 + 10 * lap; n++, i++) {
				size_t size = compose(buf, 0, i);

				EQ(send(s.sv[0], buf, size, 0), size);
			}
			kill_and_reap(pid[k]);
		}
		/* What they left is whole and in order; nothing of theirs holds room. */
		uint32_t who, which;
		int64_t last = -1;
		while (recv(s.sv[1], buf, 1, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC) > 0) {
			take_whole(s.sv[1], &who, &which);
			TRUE((int64_t)which > last);
			last = which;
		}
		EQ(tell(s.sv[0], ""), 0);
		MESSAGE(s.sv[1], "");
		EMPTY(s.sv[1]);
		int used = -1;
		OK(ioctl(s.sv[0], TIOCOUTQ, &used));
		EQ(used, 0);
		OK(close(s.sv[0]));
		OK(close(s.sv[1]));
	}
}

CASE(shared_by_readers_that_are_killed_dgram, NEEDS_PROCESSES | TAKES_LONG)
{
	killed_readers(SOCK_DGRAM);
}

CASE(shared_by_readers_that_are_killed_seqpacket, NEEDS_PROCESSES | TAKES_LONG)
{
	killed_readers(SOCK_SEQPACKET);
}

static void reconnect_for_ever(void *arg)
{
	struct shared *s = arg;

	latch_open(&s->ready);
	for (;;) {
		OK(connect(s->sv[0], NAME(&s->name)));
		dissolve(s->sv[0]);
	}
}

CASE(shared_with_one_killed_while_it_connects, NEEDS_PROCESSES | TAKES_LONG)
{
	struct name own = abstract_name("own");
	struct shared s = {.name = abstract_name("a")};
	int r = bound_to(SOCK_DGRAM, &s.name), stranger = unix_socket(SOCK_DGRAM);

	s.sv[0] = bound_to(SOCK_DGRAM, &own);
	for (int lap = 0; lap < 20; lap++) {
		latch_init(&s.ready);
		pid_t pid = spawn(reconnect_for_ever, &s);
		latch_pass(&s.ready);
		for (int i = 0; i < lap * 20; i++)
			(void)send_to(stranger, &own, "x");
		kill_and_reap(pid);
		latch_fini(&s.ready);
		take_messages(s.sv[0]);
		/* It died with or without a peer; both can be gone on from. */
		OK(connect(s.sv[0], NAME(&s.name)));
		EQ(tell(s.sv[0], "x"), 1);
		MESSAGE_FROM(r, "x", &own);
		FAILS(send_to(stranger, &own, "y"), EPERM);
		dissolve(s.sv[0]);
		EQ(send_to(stranger, &own, "z"), 1);
		MESSAGE(s.sv[0], "z");
	}
	OK(close(r));
	OK(close(stranger));
	OK(close(s.sv[0]));
}

static void bind_for_ever(void *arg)
{
	struct shared *s = arg;

	latch_open(&s->ready);
	for (;;)
		OK(close(bound_to(SOCK_DGRAM, &s->name)));
}

CASE(shared_name_of_one_killed_while_it_binds, NEEDS_PROCESSES | TAKES_LONG)
{
	struct shared s = {.name = abstract_name("a")};
	int sender = unix_socket(SOCK_DGRAM);

	for (int lap = 0; lap < 20; lap++) {
		latch_init(&s.ready);
		pid_t pid = spawn(bind_for_ever, &s);
		latch_pass(&s.ready);
		for (int i = 0; i < lap * 20; i++)
			(void)send_to(sender, &s.name, "x");
		kill_and_reap(pid);
		latch_fini(&s.ready);
		FAILS(send_to(sender, &s.name, "x"), ECONNREFUSED);
		int r = bound_to(SOCK_DGRAM, &s.name);
		EMPTY(r);
		EQ(send_to(sender, &s.name, "y"), 1);
		MESSAGE(r, "y");
		OK(close(r));
	}
	OK(close(sender));
}

ROLE(message_echo)
{
	char buf[64];
	int fd = argc > 0 ? atoi(argv[0]) : -1;

	for (;;) {
		ssize_t n = OK(recv(fd, buf, sizeof buf, 0));

		EQ(send(fd, buf, (size_t)n, 0), n);
		if (n == 0)
			return;
	}
}

static void become_an_echo(void *arg)
{
	struct shared *s = arg;
	char number[16];

	OK(close(s->sv[0]));
	snprintf(number, sizeof number, "%d", s->sv[1]);
	execl("/proc/self/exe", "conform", "--exec", "message_echo", number, (char *)NULL);
	conform_fail(HERE, "exec: %s", conform_errno_name(errno));
}

static void end_over_exec(int type)
{
	struct shared s;
	char buf[64];

	unix_pair(type, s.sv);
	EQ(tell(s.sv[0], "early"), 5);
	pid_t pid = spawn(become_an_echo, &s);
	OK(close(s.sv[1]));
	EQ(recv(s.sv[0], buf, sizeof buf, 0), 5);
	EQ(tell(s.sv[0], "late"), 4);
	EQ(recv(s.sv[0], buf, sizeof buf, 0), 4);
	BYTES(buf, "late", 4);
	EQ(tell(s.sv[0], ""), 0);
	EQ(recv(s.sv[0], buf, sizeof buf, 0), 0);
	EXITS(pid, 0);
	FAILS(tell(s.sv[0], "x"), type == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
	OK(close(s.sv[0]));
}

CASE(exec_inherits_an_end_dgram, NEEDS_PROCESSES)
{
	end_over_exec(SOCK_DGRAM);
}

CASE(exec_inherits_an_end_seqpacket, NEEDS_PROCESSES)
{
	end_over_exec(SOCK_SEQPACKET);
}

static void become_nobody(void *arg)
{
	struct shared *s = arg;

	OK(close(s->sv[0]));
	execl("/bin/true", "true", (char *)NULL);
	conform_fail(HERE, "exec: %s", conform_errno_name(errno));
}

CASE(exec_closes_a_marked_end_seqpacket, NEEDS_PROCESSES)
{
	struct shared s;

	unix_pair(SOCK_SEQPACKET | SOCK_CLOEXEC, s.sv);
	EQ(tell(s.sv[0], "unread"), 6);
	pid_t pid = spawn(become_nobody, &s);
	OK(close(s.sv[1]));
	FAILS(recv(s.sv[0], (char[1]){0}, 1, 0), ECONNRESET);
	EXITS(pid, 0);
	OK(close(s.sv[0]));
}
