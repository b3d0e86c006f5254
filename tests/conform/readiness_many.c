/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Many sockets in one instance, most of them idle for many waits: whatever happens to one
 * that was quiet for long is reported as if it had been busy all the time.
 */
#include "conform.h"

enum { CROWD = 100, IDLE_WAITS = 200 };

/* The data are 0 to CROWD - 1 for the idle, and SUBJECT for what a case is about. */
enum { SUBJECT = 4711 };

struct crowd {
	int ep;
	int sv[CROWD][2];
};

static void set(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	OK(epoll_ctl(ep, op, fd, &ev));
}

static void crowd_init(struct crowd *c)
{
	c->ep = OK(epoll_create1(EPOLL_CLOEXEC));
	for (int i = 0; i < CROWD; i++) {
		unix_pair(SOCK_STREAM, c->sv[i]);
		set(c->ep, EPOLL_CTL_ADD, c->sv[i][0], EPOLLIN, (uint64_t)i);
	}
}

static void crowd_fini(struct crowd *c)
{
	for (int i = 0; i < CROWD; i++) {
		OK(close(c->sv[i][0]));
		OK(close(c->sv[i][1]));
	}
	OK(close(c->ep));
}

static void stay_idle(const struct crowd *c)
{
	struct epoll_event ev[4];

	for (int i = 0; i < IDLE_WAITS; i++)
		EQ(epoll_wait(c->ep, ev, 4, 0), 0);
}

/* Exactly one report. */
static void expect_only(const char *file, int line, const struct crowd *c, int timeout_ms, uint32_t events,
			uint64_t data)
{
	struct epoll_event ev[4] = {{0}};
	char a[96], b[96];

	conform_at(file, line, "epoll_wait");
	int n = epoll_wait(c->ep, ev, 4, timeout_ms);
	if (n != 1 || ev[0].events != events || ev[0].data.u64 != data)
		conform_fail(file, line, "epoll_wait: expected one report %s for %llu, got %d: %s for %llu",
			     conform_poll_text((int)events, a, sizeof a), (unsigned long long)data, n,
			     conform_poll_text(n > 0 ? (int)ev[0].events : 0, b, sizeof b),
			     n > 0 ? (unsigned long long)ev[0].data.u64 : 0);
}
#define ONLY(c, events, data) expect_only(HERE, c, 0, events, data)
#define NOTHING(c) EQ(epoll_wait((c)->ep, (struct epoll_event[1]){{0}}, 1, 0), 0)

struct sleeper {
	struct actor actor;
	struct epoll_event ev;
};

static long call_epoll_wait(struct actor *a)
{
	return epoll_wait(a->fd, a->arg, 1, -1);
}

static void fall_asleep(struct sleeper *t, int ep)
{
	t->actor = (struct actor){.fd = ep, .arg = &t->ev};
	actor_start(&t->actor, call_epoll_wait);
	BLOCKED(&t->actor);
}

static void wakes_for(struct sleeper *t, uint32_t events, uint64_t data)
{
	RETURNS(&t->actor, 1);
	EQ(t->ev.events, events);
	EQ(t->ev.data.u64, data);
}

/* Each in turn, with everybody else quiet since the last time. */
CASE(many_idle_each_in_turn, 0)
{
	struct crowd c;

	crowd_init(&c);
	stay_idle(&c);
	for (int i = 0; i < CROWD; i++) {
		int at = (i * 37) % CROWD;

		put(c.sv[at][1], "x");
		ONLY(&c, EPOLLIN, (uint64_t)at);
		ONLY(&c, EPOLLIN, (uint64_t)at);
		GETS(c.sv[at][0], "x");
		NOTHING(&c);
		if (i % 10 == 0)
			stay_idle(&c);
	}
	crowd_fini(&c);
}

CASE(many_idle_wake_a_sleeper, 0)
{
	struct sleeper t;
	struct crowd c;

	crowd_init(&c);
	for (int i = 0; i < 20; i++) {
		int at = (i * 37) % CROWD;

		if (i % 5 == 0)
			stay_idle(&c);
		fall_asleep(&t, c.ep);
		put(c.sv[at][1], "x");
		wakes_for(&t, EPOLLIN, (uint64_t)at);
		GETS(c.sv[at][0], "x");
	}
	crowd_fini(&c);
}

CASE(many_idle_all_at_once, 0)
{
	struct epoll_event ev[CROWD + 1];
	bool seen[CROWD] = {false};
	struct crowd c;

	crowd_init(&c);
	stay_idle(&c);
	for (int i = 0; i < CROWD; i++)
		put(c.sv[i][1], "x");
	EQ(epoll_wait(c.ep, ev, CROWD + 1, 0), CROWD);
	/* In parts: nobody is left out, nobody is served twice before all were. */
	for (int i = 0; i < CROWD; i += 10) {
		EQ(epoll_wait(c.ep, ev, 10, 0), 10);
		for (int j = 0; j < 10; j++) {
			TRUE(!seen[ev[j].data.u64]);
			seen[ev[j].data.u64] = true;
		}
	}
	for (int i = 0; i < CROWD; i++)
		GETS(c.sv[i][0], "x");
	NOTHING(&c);
	crowd_fini(&c);
}

CASE(many_idle_ends, 0)
{
	struct sleeper t;
	struct crowd c;

	crowd_init(&c);
	set(c.ep, EPOLL_CTL_MOD, c.sv[5][0], EPOLLIN | EPOLLRDHUP, 5);
	stay_idle(&c);
	OK(shutdown(c.sv[5][1], SHUT_WR));
	ONLY(&c, EPOLLIN | EPOLLRDHUP, 5);
	OK(epoll_ctl(c.ep, EPOLL_CTL_DEL, c.sv[5][0], NULL));
	NOTHING(&c);
	stay_idle(&c);
	fall_asleep(&t, c.ep);
	OK(shutdown(c.sv[6][0], SHUT_RD));
	wakes_for(&t, EPOLLIN, 6);
	OK(epoll_ctl(c.ep, EPOLL_CTL_DEL, c.sv[6][0], NULL));
	stay_idle(&c);
	put(c.sv[7][0], "unread");
	fall_asleep(&t, c.ep);
	OK(close(c.sv[7][1]));
	wakes_for(&t, EPOLLIN | EPOLLERR | EPOLLHUP, 7);
	c.sv[7][1] = OK(dup(c.sv[8][1]));
	crowd_fini(&c);
}

/* Room: by level, and by edges also where there was some before. */
CASE(many_idle_room, 0)
{
	struct sleeper t;
	struct crowd c;

	crowd_init(&c);
	set_nonblocking(c.sv[3][0], true);
	fill(c.sv[3][0], 4096);
	set(c.ep, EPOLL_CTL_MOD, c.sv[3][0], EPOLLOUT, SUBJECT);
	stay_idle(&c);
	fall_asleep(&t, c.ep);
	drain(c.sv[3][1]);
	wakes_for(&t, EPOLLOUT, SUBJECT);
	set(c.ep, EPOLL_CTL_MOD, c.sv[3][0], EPOLLIN | EPOLLOUT | EPOLLET, SUBJECT);
	ONLY(&c, EPOLLOUT, SUBJECT);
	stay_idle(&c);
	put(c.sv[3][0], "x");
	NOTHING(&c);
	GETS(c.sv[3][1], "x");
	ONLY(&c, EPOLLOUT, SUBJECT);
	NOTHING(&c);
	stay_idle(&c);
	fill(c.sv[3][0], 4096);
	NOTHING(&c);
	stay_idle(&c);
	fall_asleep(&t, c.ep);
	drain(c.sv[3][1]);
	wakes_for(&t, EPOLLOUT, SUBJECT);
	crowd_fini(&c);
}

CASE(many_idle_edges, 0)
{
	struct sleeper t;
	struct crowd c;

	crowd_init(&c);
	for (int i = 0; i < CROWD; i++)
		set(c.ep, EPOLL_CTL_MOD, c.sv[i][0], EPOLLIN | EPOLLET | EPOLLRDHUP, (uint64_t)i);
	stay_idle(&c);
	put(c.sv[9][1], "a");
	ONLY(&c, EPOLLIN, 9);
	/* Not read: quiet all the same. */
	stay_idle(&c);
	put(c.sv[9][1], "b");
	ONLY(&c, EPOLLIN, 9);
	NOTHING(&c);
	stay_idle(&c);
	fall_asleep(&t, c.ep);
	OK(shutdown(c.sv[9][1], SHUT_WR));
	wakes_for(&t, EPOLLIN | EPOLLRDHUP, 9);
	GETS(c.sv[9][0], "ab");
	crowd_fini(&c);
}

CASE(many_idle_oneshot, 0)
{
	struct crowd c;

	crowd_init(&c);
	set(c.ep, EPOLL_CTL_MOD, c.sv[1][0], EPOLLIN | EPOLLONESHOT, 1);
	stay_idle(&c);
	put(c.sv[1][1], "x");
	ONLY(&c, EPOLLIN, 1);
	stay_idle(&c);
	put(c.sv[1][1], "y");
	NOTHING(&c);
	set(c.ep, EPOLL_CTL_MOD, c.sv[1][0], EPOLLIN | EPOLLONESHOT, 1);
	ONLY(&c, EPOLLIN, 1);
	NOTHING(&c);
	GETS(c.sv[1][0], "xy");
	set(c.ep, EPOLL_CTL_MOD, c.sv[1][0], EPOLLIN | EPOLLONESHOT, 1);
	stay_idle(&c);
	put(c.sv[1][1], "z");
	ONLY(&c, EPOLLIN, 1);
	GETS(c.sv[1][0], "z");
	crowd_fini(&c);
}

CASE(many_idle_added_and_taken_away, 0)
{
	struct epoll_event ev[4];
	struct crowd c;

	crowd_init(&c);
	stay_idle(&c);
	/* The same socket once more, under another number. */
	int copy = OK(dup(c.sv[2][0]));
	set(c.ep, EPOLL_CTL_ADD, copy, EPOLLIN, SUBJECT);
	stay_idle(&c);
	put(c.sv[2][1], "x");
	EQ(epoll_wait(c.ep, ev, 4, 0), 2);
	OK(epoll_ctl(c.ep, EPOLL_CTL_DEL, c.sv[2][0], NULL));
	ONLY(&c, EPOLLIN, SUBJECT);
	GETS(copy, "x");
	stay_idle(&c);
	put(c.sv[2][1], "y");
	ONLY(&c, EPOLLIN, SUBJECT);
	OK(epoll_ctl(c.ep, EPOLL_CTL_DEL, copy, NULL));
	NOTHING(&c);
	OK(close(copy));
	/* What is gone is not called for, nor taken for who has its place now. */
	OK(epoll_ctl(c.ep, EPOLL_CTL_DEL, c.sv[4][0], NULL));
	put(c.sv[4][1], "z");
	NOTHING(&c);
	set(c.ep, EPOLL_CTL_ADD, c.sv[2][0], EPOLLOUT, SUBJECT);
	ONLY(&c, EPOLLOUT, SUBJECT);
	set(c.ep, EPOLL_CTL_MOD, c.sv[2][0], 0, SUBJECT);
	stay_idle(&c);
	set(c.ep, EPOLL_CTL_MOD, c.sv[2][0], EPOLLIN, SUBJECT);
	ONLY(&c, EPOLLIN, SUBJECT);
	crowd_fini(&c);
}

CASE(many_idle_listener, 0)
{
	struct name a = abstract_name("a");
	struct sleeper t;
	struct crowd c;
	int client[3];

	crowd_init(&c);
	int l = listen_at(SOCK_STREAM, &a, 5);
	set(c.ep, EPOLL_CTL_ADD, l, EPOLLIN, SUBJECT);
	for (int i = 0; i < 3; i++) {
		stay_idle(&c);
		if (i == 1) {
			client[i] = connect_to(SOCK_STREAM, &a);
			ONLY(&c, EPOLLIN, SUBJECT);
		} else {
			fall_asleep(&t, c.ep);
			client[i] = connect_to(SOCK_STREAM, &a);
			wakes_for(&t, EPOLLIN, SUBJECT);
		}
		OK(close(OK(accept(l, NULL, NULL))));
		NOTHING(&c);
	}
	stay_idle(&c);
	OK(shutdown(l, SHUT_RD));
	ONLY(&c, EPOLLIN, SUBJECT);
	OK(close(l));
	for (int i = 0; i < 3; i++)
		OK(close(client[i]));
	crowd_fini(&c);
}

/* One that connects only when it was quiet for long, and is looked at by nobody. */
CASE(many_idle_connects_late, 0)
{
	struct name a = abstract_name("a");
	struct crowd c;

	crowd_init(&c);
	int l = listen_at(SOCK_STREAM, &a, 5), fd = unix_socket(SOCK_STREAM);
	set(c.ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, SUBJECT);
	ONLY(&c, EPOLLHUP, SUBJECT);
	stay_idle(&c);
	OK(connect(fd, NAME(&a)));
	int s = OK(accept(l, NULL, NULL));
	put(s, "x");
	NOTHING(&c);
	set(c.ep, EPOLL_CTL_MOD, fd, EPOLLIN, SUBJECT);
	ONLY(&c, EPOLLIN, SUBJECT);
	OK(close(s));
	OK(close(fd));
	OK(close(l));
	crowd_fini(&c);
}

/* Of datagrams: senders it knows, and one that it never heard of. */
CASE(many_idle_datagrams, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	struct sleeper t;
	struct crowd c;

	crowd_init(&c);
	int to = bound_to(SOCK_DGRAM, &a), known = bound_to(SOCK_DGRAM, &b), fresh = unix_socket(SOCK_DGRAM);
	EQ(send_to(known, &a, "first"), 5);
	MESSAGE(to, "first");
	set(c.ep, EPOLL_CTL_ADD, to, EPOLLIN, SUBJECT);
	stay_idle(&c);
	EQ(send_to(known, &a, "second"), 6);
	ONLY(&c, EPOLLIN, SUBJECT);
	MESSAGE(to, "second");
	stay_idle(&c);
	fall_asleep(&t, c.ep);
	EQ(send_to(fresh, &a, "from a stranger"), 15);
	wakes_for(&t, EPOLLIN, SUBJECT);
	MESSAGE(to, "from a stranger");
	stay_idle(&c);
	EQ(send_to(fresh, &a, "again"), 5);
	EQ(send_to(known, &a, "and again"), 9);
	ONLY(&c, EPOLLIN, SUBJECT);
	MESSAGE(to, "again");
	ONLY(&c, EPOLLIN, SUBJECT);
	MESSAGE(to, "and again");
	NOTHING(&c);
	OK(close(to));
	OK(close(known));
	OK(close(fresh));
	crowd_fini(&c);
}

/* Two who sleep on one instance, and one who only asks whether it is ready. */
CASE(many_idle_several_waiters, 0)
{
	struct sleeper t[2];
	struct actor p;
	struct crowd c;

	crowd_init(&c);
	stay_idle(&c);
	struct pollfd self = {.fd = c.ep, .events = POLLIN};
	EQ(poll(&self, 1, 0), 0);
	start_poll(&p, &self, 1, -1);
	BLOCKED(&p);
	put(c.sv[30][1], "x");
	RETURNS(&p, 1);
	ONLY(&c, EPOLLIN, 30);
	GETS(c.sv[30][0], "x");
	for (int i = 0; i < CROWD; i++)
		set(c.ep, EPOLL_CTL_MOD, c.sv[i][0], EPOLLIN | EPOLLONESHOT, (uint64_t)i);
	stay_idle(&c);
	fall_asleep(&t[0], c.ep);
	fall_asleep(&t[1], c.ep);
	put(c.sv[10][1], "x");
	put(c.sv[20][1], "x");
	RETURNS(&t[0].actor, 1);
	RETURNS(&t[1].actor, 1);
	EQ(t[0].ev.data.u64 + t[1].ev.data.u64, 30);
	crowd_fini(&c);
}

/* An instance of many in another. */
CASE(many_idle_inside_another, 0)
{
	struct sleeper t;
	struct crowd c, outer = {.ep = OK(epoll_create1(EPOLL_CLOEXEC))};

	crowd_init(&c);
	set(outer.ep, EPOLL_CTL_ADD, c.ep, EPOLLIN, SUBJECT);
	stay_idle(&c);
	NOTHING(&outer);
	put(c.sv[50][1], "x");
	ONLY(&outer, EPOLLIN, SUBJECT);
	GETS(c.sv[50][0], "x");
	NOTHING(&outer);
	stay_idle(&c);
	fall_asleep(&t, outer.ep);
	put(c.sv[60][1], "x");
	wakes_for(&t, EPOLLIN, SUBJECT);
	ONLY(&c, EPOLLIN, 60);
	OK(close(outer.ep));
	crowd_fini(&c);
}

/* One that always has something, and room for one report only: the others have their turn all the same. */
CASE(many_idle_beside_a_busy_one, 0)
{
	struct epoll_event ev;
	struct crowd c;
	bool seen = false;

	crowd_init(&c);
	put(c.sv[0][1], "x");
	for (int i = 0; i < IDLE_WAITS; i++) {
		EQ(epoll_wait(c.ep, &ev, 1, 0), 1);
		EQ(ev.data.u64, 0);
	}
	put(c.sv[50][1], "y");
	for (int i = 0; i < 2 * CROWD && !seen; i++) {
		EQ(epoll_wait(c.ep, &ev, 1, 0), 1);
		seen = ev.data.u64 == 50;
	}
	TRUE(seen);
	crowd_fini(&c);
}

/* The same socket in an instance and in another inside it, which is polled too. */
CASE(many_idle_also_inside_another, 0)
{
	struct epoll_event ev[4];
	struct sleeper t;
	struct crowd c;
	int inner = OK(epoll_create1(EPOLL_CLOEXEC));

	crowd_init(&c);
	set(c.ep, EPOLL_CTL_ADD, inner, EPOLLIN, 1000);
	set(inner, EPOLL_CTL_ADD, c.sv[5][0], EPOLLIN, 5);
	for (int i = 0; i < 2; i++) {
		bool seen = false;

		stay_idle(&c);
		/* asleep on all of it, and woken by another */
		fall_asleep(&t, c.ep);
		put(c.sv[70][1], "x");
		wakes_for(&t, EPOLLIN, 70);
		GETS(c.sv[70][0], "x");
		put(c.sv[5][1], "y");
		for (int j = 0; j < 8; j++) {
			int n = OK(epoll_wait(c.ep, ev, 4, 0));

			for (int k = 0; k < n; k++)
				seen |= ev[k].data.u64 == 5;
		}
		TRUE(seen);
		GETS(c.sv[5][0], "y");
	}
	crowd_fini(&c);
	OK(close(inner));
}

static void put_from_a_child(void *arg)
{
	const struct crowd *c = arg;

	put(c->sv[11][1], "x");
}

static void wait_in_a_child(void *arg)
{
	const struct crowd *c = arg;

	stay_idle(c);
	put(c->sv[12][1], "x");
	ONLY(c, EPOLLIN, 12);
}

/* Another process has something for a quiet one; and a process that inherits the instance. */
CASE(many_idle_processes, NEEDS_PROCESSES)
{
	struct sleeper t;
	struct crowd c;

	crowd_init(&c);
	stay_idle(&c);
	fall_asleep(&t, c.ep);
	pid_t pid = spawn(put_from_a_child, &c);
	wakes_for(&t, EPOLLIN, 11);
	EXITS(pid, 0);
	GETS(c.sv[11][0], "x");
	stay_idle(&c);
	EXITS(spawn(wait_in_a_child, &c), 0);
	ONLY(&c, EPOLLIN, 12);
	GETS(c.sv[12][0], "x");
	stay_idle(&c);
	EXITS(spawn(put_from_a_child, &c), 0);
	ONLY(&c, EPOLLIN, 11);
	crowd_fini(&c);
}

/* Of more pollers than there are places for, each is woken, whatever else the writer has. */
static void write_beside_datagrams(void *arg)
{
	const int *fd = arg;

	OK(close(fd[0]));
	OK(close(fd[3]));
	EQ(OK(socket(AF_UNIX, SOCK_DGRAM, 0)), fd[0]);
	put(fd[1], "x");
	/* its end would wake everybody */
	EQ(read(fd[2], &(char){0}, 1), 0);
}

CASE(many_pollers_of_one, NEEDS_PROCESSES)
{
	enum { POLLERS = 12 };
	struct actor t[POLLERS];
	int low = OK(open("/dev/null", O_RDONLY | O_CLOEXEC)), sv[2], stay[2];

	unix_pair(SOCK_STREAM, sv);
	struct pollfd p[POLLERS];
	for (int i = 0; i < POLLERS; i++) {
		p[i] = (struct pollfd){.fd = sv[0], .events = POLLIN};
		start_poll(&t[i], &p[i], 1, -1);
		BLOCKED(&t[i]);
	}
	OK(pipe2(stay, O_CLOEXEC));
	pid_t child = spawn(write_beside_datagrams, (int[4]){low, sv[1], stay[0], stay[1]});
	OK(close(stay[0]));
	for (int i = 0; i < POLLERS; i++)
		RETURNS(&t[i], 1);
	OK(close(stay[1]));
	EXITS(child, 0);
	OK(close(low));
	OK(close(sv[0]));
	OK(close(sv[1]));
}
