/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Sockets that only their own queues hold: loops are found and closed in the end, and nothing
 * else is.  The limit on what a user may have under way. */
#include "ancillary.h"

static void hand_over(int carrier, int fd)
{
	EQ(send_right(carrier, "h", fd), 1);
}

static bool is_free(const struct name *name, int type)
{
	int fd = unix_socket(type);
	bool can_be_bound = bind(fd, NAME(name)) == 0;

	/* Each close of a socket has the kernel look for garbage. */
	OK(close(fd));
	return can_be_bound;
}

/* Collected within five seconds. */
static void expect_collected(const char *file, int line, const struct name *name, int type)
{
	long deadline = now_ms() + 5000;

	conform_at(file, line, "COLLECTED");
	while (!is_free(name, type)) {
		if (now_ms() > deadline)
			conform_fail(file, line, "the name is still in use after 5 s");
		poll(NULL, 0, 5);
	}
}
#define COLLECTED(name, type) expect_collected(HERE, (name), (type))

/* A loop of its own has been collected, so whatever was garbage before is as well. */
static void make_a_collection_happen(void)
{
	struct name g = abstract_name("garbage");
	int x[2];

	unix_pair(SOCK_STREAM, x);
	OK(bind(x[1], NAME(&g)));
	hand_over(x[0], x[1]);
	OK(close(x[0]));
	OK(close(x[1]));
	COLLECTED(&g, SOCK_STREAM);
}

CASE_ON_TYPES(loop_of_one, 0)
{
	struct name a = abstract_name("a");
	int p[2];

	/* The receiver in its own queue, with a pipe. */
	watched_pipe(p);
	OK(bind(sv[1], NAME(&a)));
	EQ(send_rights(sv[0], "h", (int[]){sv[1], p[1]}, 2), 1);
	OK(close(p[1]));
	close_end(&sv[0]);
	HELD(p);
	close_end(&sv[1]);
	COLLECTED(&a, type);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(loop_of_two_ends, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");

	/* Each in the other's queue. */
	OK(bind(sv[0], NAME(&a)));
	OK(bind(sv[1], NAME(&b)));
	hand_over(sv[0], sv[0]);
	hand_over(sv[1], sv[1]);
	close_end(&sv[0]);
	close_end(&sv[1]);
	COLLECTED(&a, type);
	COLLECTED(&b, type);
}

CASE_ON_TYPES(loop_of_two_pairs, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int x[2];

	unix_pair(type, x);
	OK(bind(sv[1], NAME(&a)));
	OK(bind(x[1], NAME(&b)));
	hand_over(sv[0], x[1]);
	hand_over(x[0], sv[1]);
	OK(close(x[0]));
	OK(close(x[1]));
	close_end(&sv[0]);
	close_end(&sv[1]);
	COLLECTED(&a, type);
	COLLECTED(&b, type);
}

CASE_ON_TYPES(loop_of_a_long_chain, 0)
{
	enum { N = 20 };
	struct name names[N];
	int x[N][2], p[2];

	watched_pipe(p);
	for (int i = 0; i < N; i++) {
		char text[16];
		snprintf(text, sizeof text, "n%d", i);
		names[i] = abstract_name(text);
		unix_pair(type, x[i]);
		OK(bind(x[i][1], NAME(&names[i])));
	}
	for (int i = 0; i < N; i++)
		hand_over(x[i][0], x[(i + 1) % N][1]);
	hand_over(x[N / 2][0], p[1]);
	OK(close(p[1]));
	for (int i = 0; i < N; i++) {
		OK(close(x[i][0]));
		OK(close(x[i][1]));
	}
	(void)sv;
	for (int i = 0; i < N; i++)
		COLLECTED(&names[i], type);
	DROPPED(p);
	OK(close(p[0]));
}

CASE(loop_of_a_datagram_socket_and_itself, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a);

	OK(connect(d, NAME(&a)));
	hand_over(d, d);
	hand_over(d, d);
	OK(close(d));
	COLLECTED(&a, SOCK_DGRAM);
}

CASE(loop_of_a_listener_and_its_client, 0)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

	for (size_t i = 0; i < 2; i++) {
		struct name a = abstract_name("a");
		int p[2], l = listen_at(types[i], &a, 5), c = connect_to(types[i], &a);
		watched_pipe(p);
		/* The listener waits in the queue of a connection that waits at the listener. */
		EQ(send_rights(c, "h", (int[]){l, p[1]}, 2), 1);
		OK(close(p[1]));
		OK(close(l));
		OK(close(c));
		COLLECTED(&a, types[i]);
		DROPPED(p);
		OK(close(p[0]));
	}
}

CASE(loop_of_a_listener_resets_its_client, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);

	hand_over(c, l);
	OK(close(l));
	/* The client has been kept: nobody can reach the listener from it. */
	COLLECTED(&a, SOCK_STREAM);
	EQ(poll(&(struct pollfd){.fd = c, .events = POLLIN}, 1, 5000), 1);
	FAILS(recv(c, (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	OK(close(c));
}

CASE_ON_TYPES(loop_that_hangs_on_another, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int x[2];

	/* sv[1] holds itself, and x[1], which holds nothing. */
	unix_pair(SOCK_STREAM, x);
	OK(bind(sv[1], NAME(&a)));
	OK(bind(x[1], NAME(&b)));
	hand_over(sv[0], sv[1]);
	hand_over(sv[0], x[1]);
	OK(close(x[1]));
	close_end(&sv[0]);
	close_end(&sv[1]);
	COLLECTED(&a, type);
	COLLECTED(&b, SOCK_STREAM);
	EQ(poll(&(struct pollfd){.fd = x[0], .events = POLLIN}, 1, 5000), 1);
	AT_EOF(x[0]);
	OK(close(x[0]));
}

CASE_ON_TYPES(loop_holds_plain_descriptors, 0)
{
	struct name a = abstract_name("a");
	int p[2], q[2];

	watched_pipe(p);
	watched_pipe(q);
	OK(bind(sv[1], NAME(&a)));
	EQ(send_rights(sv[0], "1", (int[]){p[1], q[1], p[1]}, 3), 1);
	EQ(send_rights(sv[0], "2", (int[]){sv[1]}, 1), 1);
	EQ(send_rights(sv[0], "3", (int[]){q[1]}, 1), 1);
	OK(close(p[1]));
	OK(close(q[1]));
	close_end(&sv[0]);
	close_end(&sv[1]);
	COLLECTED(&a, type);
	DROPPED(p);
	DROPPED(q);
	OK(close(p[0]));
	OK(close(q[0]));
}

/* What must not be collected. */

CASE_ON_TYPES(no_garbage_while_a_process_has_one, 0)
{
	int x[2];

	unix_pair(type, x);
	hand_over(sv[0], x[1]);
	hand_over(x[0], sv[1]);
	OK(close(x[0]));
	OK(close(x[1]));
	close_end(&sv[0]);
	/* sv[1] is held here, and holds x[1], which holds sv[1]. */
	make_a_collection_happen();
	int inner = TAKE_RIGHT(sv[1], "h"), outer = TAKE_RIGHT(inner, "h");
	SAME_FILE(outer, sv[1]);
	OK(close(inner));
	OK(close(outer));
}

CASE_ON_TYPES(no_garbage_while_another_queue_has_it, 0)
{
	int x[2], y[2];

	/* x[1] holds itself; y[1], in nobody's hands, holds it as well, and sv[1] holds y[1]. */
	unix_pair(type, x);
	unix_pair(type, y);
	hand_over(x[0], x[1]);
	hand_over(y[0], x[1]);
	hand_over(sv[0], y[1]);
	OK(close(x[1]));
	OK(close(y[1]));
	OK(close(y[0]));
	make_a_collection_happen();
	put(x[0], "alive");
	int fd = TAKE_RIGHT(sv[1], "h"), again = TAKE_RIGHT(fd, "h");
	OK(close(TAKE_RIGHT(again, "h")));
	GETS(again, "alive");
	OK(close(fd));
	OK(close(again));
	OK(close(x[0]));
}

CASE(no_garbage_while_a_listener_can_be_reached, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a), x[2];

	/* The un-accepted connection holds x[1], which holds itself. */
	unix_pair(SOCK_STREAM, x);
	hand_over(x[0], x[1]);
	hand_over(c, x[1]);
	OK(close(x[1]));
	make_a_collection_happen();
	int s = OK(accept(l, NULL, NULL)), fd = TAKE_RIGHT(s, "h");
	put(x[0], "alive");
	OK(close(TAKE_RIGHT(fd, "h")));
	GETS(fd, "alive");
	int all[] = {l, c, s, fd, x[0]};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		OK(close(all[i]));
}

CASE(no_garbage_of_a_listener_under_way, 0)
{
	struct name a = abstract_name("a");
	int sv[2], l = listen_at(SOCK_STREAM, &a, 5);

	unix_pair(SOCK_STREAM, sv);
	hand_over(sv[0], l);
	OK(close(l));
	make_a_collection_happen();
	int c = connect_to(SOCK_STREAM, &a);
	l = TAKE_RIGHT(sv[1], "h");
	OK(close(OK(accept(l, NULL, NULL))));
	OK(close(c));
	OK(close(l));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE_ON_TYPES(loop_that_was_opened_in_time, 0)
{
	struct name a = abstract_name("a");

	OK(bind(sv[1], NAME(&a)));
	hand_over(sv[0], sv[1]);
	int fd = TAKE_RIGHT(sv[1], "h");
	OK(close(fd));
	close_end(&sv[0]);
	close_end(&sv[1]);
	/* No loop any more: closed like any other. */
	TRUE(is_free(&a, type));
}

static void leave_a_loop(void *arg)
{
	struct name *a = arg;
	int x[2];

	unix_pair(SOCK_STREAM, x);
	OK(bind(x[1], NAME(a)));
	hand_over(x[0], x[1]);
	/* Its exit closes the rest. */
}

CASE(loop_left_by_a_process, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a");

	EXITS(spawn(leave_a_loop, &a), 0);
	COLLECTED(&a, SOCK_STREAM);
}

static void leave_half_a_loop(void *arg)
{
	int *fds = arg;

	EQ(send_right(fds[0], "h", fds[1]), 1);
}

CASE(loop_made_by_two_processes, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int x[2], y[2];

	unix_pair(SOCK_STREAM, x);
	unix_pair(SOCK_STREAM, y);
	OK(bind(x[1], NAME(&a)));
	OK(bind(y[1], NAME(&b)));
	EXITS(spawn(leave_half_a_loop, (int[]){x[0], y[1]}), 0);
	EXITS(spawn(leave_half_a_loop, (int[]){y[0], x[1]}), 0);
	for (int i = 0; i < 2; i++) {
		OK(close(x[i]));
		OK(close(y[i]));
	}
	COLLECTED(&a, SOCK_STREAM);
	COLLECTED(&b, SOCK_STREAM);
}

/* The limit of what is under way. */

enum { LIMIT = 30 };

struct many {
	void (*run)(int sv[2], int p[2]);
	int sv[2];
	int p[2];
};

/* A user of the case's own: what other users have under way is not counted. */
static void as_a_limited_user(void *arg)
{
	struct many *m = arg;
	struct rlimit limit = {LIMIT, LIMIT};
	uid_t uid = 100000 + (uid_t)getpgrp();

	EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	EQ(setresuid(uid, uid, uid), 0);
	m->run(m->sv, m->p);
}

static void limited(int type, void (*run)(int sv[2], int p[2]))
{
	struct many m = {.run = run};

	if (geteuid() != 0)
		SKIP("needs root to become a user without anything under way");
	unix_pair(type, m.sv);
	watched_pipe(m.p);
	EXITS(spawn(as_a_limited_user, &m), 0);
	for (int i = 0; i < 2; i++) {
		OK(close(m.sv[i]));
		OK(close(m.p[i]));
	}
}

/* One more than the limit goes. */
static void send_up_to_the_limit(int fd, int right)
{
	for (int i = 0; i <= LIMIT; i++)
		EQ(send_right(fd, "a", right), 1);
	FAILS(send_right(fd, "a", right), ETOOMANYREFS);
}

static void receive_makes_room(int sv[2], int p[2])
{
	struct received r;

	send_up_to_the_limit(sv[0], p[1]);
	/* Everything without a descriptor goes on. */
	EQ(send_rights(sv[0], "b", NULL, 0), 1);
	EQ(receive(sv[1], &r, 1, sizeof r.control, MSG_PEEK), 1);
	EQ(r.n_fds, 1);
	drop_received(&r);
	FAILS(send_right(sv[0], "a", p[1]), ETOOMANYREFS);
	GETS_RIGHTS(sv[1], "a", 1);
	EQ(send_right(sv[0], "a", p[1]), 1);
	FAILS(send_right(sv[0], "a", p[1]), ETOOMANYREFS);
	/* Also when they are thrown away. */
	EQ(recv(sv[1], (char[1]){0}, 1, 0), 1);
	EQ(send_right(sv[0], "a", p[1]), 1);
	FAILS(send_right(sv[0], "a", p[1]), ETOOMANYREFS);
}

CASE(toomanyrefs_until_received_stream, NEEDS_PROCESSES)
{
	limited(SOCK_STREAM, receive_makes_room);
}

CASE(toomanyrefs_until_received_dgram, NEEDS_PROCESSES)
{
	limited(SOCK_DGRAM, receive_makes_room);
}

CASE(toomanyrefs_until_received_seqpacket, NEEDS_PROCESSES)
{
	limited(SOCK_SEQPACKET, receive_makes_room);
}

static void close_makes_room(int sv[2], int p[2])
{
	int x[2];

	unix_pair(SOCK_STREAM, x);
	send_up_to_the_limit(x[0], p[1]);
	FAILS(send_right(sv[0], "a", p[1]), ETOOMANYREFS);
	OK(close(x[1]));
	EQ(send_right(sv[0], "a", p[1]), 1);
	GETS_RIGHTS(sv[1], "a", 1);
	OK(close(x[0]));
}

CASE(toomanyrefs_until_the_receiver_closes, NEEDS_PROCESSES)
{
	limited(SOCK_STREAM, close_makes_room);
}

static void whole_messages(int sv[2], int p[2])
{
	int fds[LIMIT + 20];

	for (int i = 0; i < LIMIT + 20; i++)
		fds[i] = p[1];
	/* What counts is what was under way before. */
	EQ(send_rights(sv[0], "a", fds, LIMIT), 1);
	EQ(send_rights(sv[0], "b", fds, LIMIT + 20), 1);
	FAILS(send_right(sv[0], "c", p[1]), ETOOMANYREFS);
	EQ(recv(sv[1], (char[1]){0}, 1, 0), 1);
	FAILS(send_right(sv[0], "c", p[1]), ETOOMANYREFS);
	EQ(recv(sv[1], (char[1]){0}, 1, 0), 1);
	EQ(send_right(sv[0], "c", p[1]), 1);
}

CASE(toomanyrefs_is_of_what_was_under_way_before, NEEDS_PROCESSES)
{
	limited(SOCK_STREAM, whole_messages);
}

static void all_kinds_count(int sv[2], int p[2])
{
	int x[2];

	unix_pair(SOCK_DGRAM, x);
	for (int i = 0; i <= LIMIT; i++)
		EQ(send_right(sv[0], "a", i % 2 ? p[1] : x[1]), 1);
	FAILS(send_right(sv[0], "a", p[1]), ETOOMANYREFS);
	FAILS(send_right(sv[0], "a", x[1]), ETOOMANYREFS);
	OK(close(x[0]));
	OK(close(x[1]));
}

CASE(toomanyrefs_of_sockets_and_others_alike, NEEDS_PROCESSES)
{
	limited(SOCK_STREAM, all_kinds_count);
}

static void order_of_checks(int sv[2], int p[2])
{
	struct iovec iov = {bad_pointer(), 1};
	struct control c = {.len = 0};
	int x[2], d = unix_socket(SOCK_DGRAM);

	unix_pair(SOCK_STREAM, x);
	send_up_to_the_limit(x[0], p[1]);
	control_rights(&c, &p[1], 1);
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = c.len};
	FAILS(sendmsg(sv[0], &m, 0), ETOOMANYREFS);
	FAILS(send_right(d, "a", p[1]), ETOOMANYREFS);
	set_int_option(sv[1], OPT_PASSRIGHTS, 0);
	FAILS(send_right(sv[0], "a", p[1]), ETOOMANYREFS);
	FAILS(send_right(sv[0], "a", -1), EBADF);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(send_right(sv[0], "a", p[1]), EPIPE);
	OK(close(x[0]));
	OK(close(x[1]));
	OK(close(d));
}

CASE(toomanyrefs_among_other_errors, NEEDS_PROCESSES)
{
	limited(SOCK_DGRAM, order_of_checks);
}

struct other {
	int sv[2], right;
};

static void is_refused(void *arg)
{
	struct other *o = arg;

	FAILS(send_right(o->sv[0], "a", o->right), ETOOMANYREFS);
}

static void other_processes(int sv[2], int p[2])
{
	struct other o = {{sv[0], sv[1]}, p[1]};

	send_up_to_the_limit(sv[0], p[1]);
	EXITS(spawn(is_refused, &o), 0);
}

CASE(toomanyrefs_counts_the_user, NEEDS_PROCESSES)
{
	limited(SOCK_STREAM, other_processes);
}

static void send_with_privilege(void *arg)
{
	struct many *m = arg;
	struct rlimit limit = {LIMIT, LIMIT};

	EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 3 * LIMIT; i++)
		EQ(send_right(m->sv[0], "a", m->p[1]), 1);
}

CASE(toomanyrefs_is_not_for_the_privileged, NEEDS_PROCESSES)
{
	struct many m;

	if (geteuid() != 0)
		SKIP("needs CAP_SYS_RESOURCE");
	unix_pair(SOCK_STREAM, m.sv);
	watched_pipe(m.p);
	EXITS(spawn(send_with_privilege, &m), 0);
	OK(close(m.p[1]));
	HELD(m.p);
	for (int i = 0; i < 3 * LIMIT; i++)
		GETS_RIGHTS(m.sv[1], "a", 1);
	DROPPED(m.p);
	OK(close(m.p[0]));
	OK(close(m.sv[0]));
	OK(close(m.sv[1]));
}
