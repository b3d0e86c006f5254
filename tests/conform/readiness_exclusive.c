/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Several who wait on one listener: one is woken for each connection, in accept() and by
 * EPOLLEXCLUSIVE.  That somebody was left asleep is read from the count of his context switches.
 */
#include "conform.h"

enum { WAITERS = 4 };

/* How often the thread has gone to sleep. */
static long sleeps(const struct actor *a)
{
	char path[64], line[128];
	long n = -1;

	snprintf(path, sizeof path, "/proc/self/task/%d/status", atomic_load(&a->tid));
	FILE *f = fopen(path, "re");
	TRUE(f != NULL);
	while (fgets(line, sizeof line, f))
		sscanf(line, "voluntary_ctxt_switches: %ld", &n);
	fclose(f);
	TRUE(n >= 0);
	return n;
}

struct group {
	struct actor actor[WAITERS];
	struct epoll_event ev[WAITERS];
	long slept[WAITERS];
	int ep[WAITERS];
	int woken; /* the one that was found to have returned */
};

static void note_sleeps(struct group *g)
{
	for (int i = 0; i < WAITERS; i++) {
		if (g->actor[i].fd < 0)
			continue;
		BLOCKED(&g->actor[i]);
		g->slept[i] = sleeps(&g->actor[i]);
	}
}

/* One returns; of the others nobody has been awake since. */
static long only_one_returns(struct group *g)
{
	int one = -1;

	while (one < 0) {
		for (int i = 0; i < WAITERS; i++) {
			if (g->actor[i].fd >= 0 && atomic_load(&g->actor[i].done))
				one = i;
		}
		sched_yield();
	}
	long result = OK(actor_join(&g->actor[one]));
	g->actor[one].fd = -1;
	g->woken = one;
	for (int i = 0; i < WAITERS; i++) {
		if (g->actor[i].fd < 0)
			continue;
		BLOCKED(&g->actor[i]);
		EQ(sleeps(&g->actor[i]), g->slept[i]);
	}
	return result;
}

CASE(accept_wakes_one, 0)
{
	struct name a = abstract_name("a");
	struct group g = {0};
	int l = listen_at(SOCK_STREAM, &a, 8);

	for (int i = 0; i < WAITERS; i++)
		start_accept(&g.actor[i], l);
	note_sleeps(&g);
	for (int i = 0; i < WAITERS; i++) {
		int c = connect_to(SOCK_STREAM, &a);
		int s = (int)only_one_returns(&g);

		put(c, "x");
		GETS(s, "x");
		OK(close(s));
		OK(close(c));
	}
	OK(close(l));
}

/* As many as there are connections, however close they come. */
CASE(accept_wakes_one_for_each, 0)
{
	struct name a = abstract_name("a");
	struct actor t[WAITERS];
	int c[WAITERS], l = listen_at(SOCK_STREAM, &a, 8);

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < WAITERS; i++)
			start_accept(&t[i], l);
		for (int i = 0; i < WAITERS; i++)
			BLOCKED(&t[i]);
		for (int i = 0; i < WAITERS; i++)
			c[i] = connect_to(SOCK_STREAM, &a);
		for (int i = 0; i < WAITERS; i++) {
			OK(close((int)OK(actor_join(&t[i]))));
			OK(close(c[i]));
		}
	}
	OK(close(l));
}

/* Shutting it down is for everybody. */
CASE(accept_all_woken_by_shutdown, 0)
{
	struct name a = abstract_name("a");
	struct actor t[WAITERS];
	int l = listen_at(SOCK_STREAM, &a, 8);

	for (int i = 0; i < WAITERS; i++)
		start_accept(&t[i], l);
	for (int i = 0; i < WAITERS; i++)
		BLOCKED(&t[i]);
	OK(shutdown(l, SHUT_RD));
	for (int i = 0; i < WAITERS; i++)
		RETURNS_ERROR(&t[i], EINVAL);
	OK(close(l));
}

/* One that is interrupted leaves the next connection to the others. */
CASE(accept_interrupted_takes_no_wakeup_along, 0)
{
	struct name a = abstract_name("a");
	struct actor t[2];
	int l = listen_at(SOCK_STREAM, &a, 8);

	count_signal(SIGUSR1, 0);
	for (int i = 0; i < 20; i++) {
		start_accept(&t[0], l);
		BLOCKED(&t[0]);
		start_accept(&t[1], l);
		BLOCKED(&t[1]);
		interrupt_until_done(&t[i % 2], SIGUSR1);
		RETURNS_ERROR(&t[i % 2], EINTR);
		int c = connect_to(SOCK_STREAM, &a);
		OK(close((int)OK(actor_join(&t[1 - i % 2]))));
		OK(close(c));
	}
	OK(close(l));
}

static long call_epoll_wait(struct actor *a)
{
	return epoll_wait(a->fd, a->arg, 1, -1);
}

static void watch(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

static void start_waiting(struct group *g, int i)
{
	g->actor[i] = (struct actor){.fd = g->ep[i], .arg = &g->ev[i]};
	actor_start(&g->actor[i], call_epoll_wait);
}

static void group_on(struct group *g, int l, uint32_t events)
{
	for (int i = 0; i < WAITERS; i++) {
		g->ep[i] = OK(epoll_create1(EPOLL_CLOEXEC));
		watch(g->ep[i], l, events, (uint64_t)i);
		start_waiting(g, i);
	}
}

static void end_group(struct group *g, int l)
{
	/* Who still waits ends with the listener's shutdown. */
	OK(shutdown(l, SHUT_RDWR));
	for (int i = 0; i < WAITERS; i++) {
		if (g->actor[i].fd >= 0)
			RETURNS(&g->actor[i], 1);
		OK(close(g->ep[i]));
	}
	OK(close(l));
}

CASE(epoll_exclusive_wakes_one, 0)
{
	struct name a = abstract_name("a");
	struct group g = {0};
	int l = listen_at(SOCK_STREAM, &a, 8);

	group_on(&g, l, EPOLLIN | EPOLLEXCLUSIVE);
	for (int round = 0; round < 8; round++) {
		note_sleeps(&g);
		int c = connect_to(SOCK_STREAM, &a);
		EQ(only_one_returns(&g), 1);
		EQ(g.ev[g.woken].events, EPOLLIN);
		EQ(g.ev[g.woken].data.u64, (uint64_t)g.woken);
		OK(close(OK(accept(l, NULL, NULL))));
		OK(close(c));
		start_waiting(&g, g.woken);
	}
	end_group(&g, l);
}

/* One after the other, with nobody coming back: each of them in the end. */
CASE(epoll_exclusive_goes_round, 0)
{
	struct name a = abstract_name("a");
	struct group g = {0};
	int l = listen_at(SOCK_STREAM, &a, 8), c[WAITERS];

	group_on(&g, l, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET);
	note_sleeps(&g);
	for (int i = 0; i < WAITERS; i++) {
		c[i] = connect_to(SOCK_STREAM, &a);
		EQ(only_one_returns(&g), 1);
		OK(close(OK(accept(l, NULL, NULL))));
	}
	for (int i = 0; i < WAITERS; i++) {
		EQ(epoll_wait(g.ep[i], g.ev, 1, 0), 0);
		OK(close(c[i]));
		OK(close(g.ep[i]));
	}
	OK(close(l));
}

/* Those who did not ask for it are woken beside the one. */
CASE(epoll_exclusive_among_others, 0)
{
	struct name a = abstract_name("a");
	struct group g = {0};
	struct actor plain, p;
	struct epoll_event ev;
	int l = listen_at(SOCK_STREAM, &a, 8), ep = OK(epoll_create1(EPOLL_CLOEXEC));
	struct pollfd listener = {.fd = l, .events = POLLIN};

	group_on(&g, l, EPOLLIN | EPOLLEXCLUSIVE);
	watch(ep, l, EPOLLIN, 99);
	plain = (struct actor){.fd = ep, .arg = &ev};
	actor_start(&plain, call_epoll_wait);
	start_poll(&p, &listener, 1, -1);
	BLOCKED(&plain);
	BLOCKED(&p);
	note_sleeps(&g);
	int c = connect_to(SOCK_STREAM, &a);
	RETURNS(&plain, 1);
	EQ(ev.data.u64, 99);
	RETURNS(&p, 1);
	EQ(only_one_returns(&g), 1);
	OK(close(OK(accept(l, NULL, NULL))));
	OK(close(c));
	OK(close(ep));
	end_group(&g, l);
}

/* Connects to the listener in the midst of a wait that the handler interrupts. */
static struct name knocked;
static int knocker = -1;

static void knock(int sig)
{
	(void)sig;
	if (knocker < 0)
		knocker = connect_to(SOCK_STREAM, &knocked);
}

/* Who is interrupted has not taken the connection: another is woken for it. */
CASE(epoll_exclusive_interrupted, 0)
{
	struct group g = {0};
	int l;

	knocked = abstract_name("a");
	l = listen_at(SOCK_STREAM, &knocked, 8);
	signal(SIGUSR1, knock);
	group_on(&g, l, EPOLLIN | EPOLLEXCLUSIVE);
	for (int i = 0; i < 4 * WAITERS; i++) {
		int at = i % WAITERS;

		note_sleeps(&g);
		interrupt_until_done(&g.actor[at], SIGUSR1);
		RETURNS_ERROR(&g.actor[at], EINTR);
		g.actor[at].fd = -1;
		EQ(only_one_returns(&g), 1);
		OK(close(OK(accept(l, NULL, NULL))));
		OK(close(knocker));
		knocker = -1;
		start_waiting(&g, at);
		start_waiting(&g, g.woken);
	}
	note_sleeps(&g);
	end_group(&g, l);
}

struct worker {
	int listener;
	int events;
	struct latch ready;
};

static void serve_exclusively(void *arg)
{
	struct worker *w = arg;
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event ev;

	watch(ep, w->listener, (uint32_t)w->events, 1);
	latch_open(&w->ready);
	for (;;) {
		EQ(epoll_wait(ep, &ev, 1, -1), 1);
		if (ev.events & EPOLLHUP)
			return;
		int s = accept(w->listener, NULL, NULL), error = errno;
		if (s < 0) {
			EQ(error, EAGAIN);
			continue;
		}
		char c = 0;
		EQ(read(s, &c, 1), 1);
		if (c == 'k')
			raise(SIGKILL);
		EQ(write(s, &c, 1), 1);
		OK(close(s));
	}
}

/* Workers that die while they serve: every other request is answered. */
static void prefork(int events)
{
	enum { WORKERS = 6, REQUESTS = 60 };
	struct name a = abstract_name("a");
	struct worker w = {.listener = listen_at(SOCK_STREAM, &a, 8), .events = events};
	pid_t pid[WORKERS], dead = 0;
	char in;

	set_nonblocking(w.listener, true);
	for (int i = 0; i < WORKERS; i++) {
		latch_init(&w.ready);
		pid[i] = spawn(serve_exclusively, &w);
		latch_pass(&w.ready);
		latch_fini(&w.ready);
	}
	for (int i = 0; i < REQUESTS; i++) {
		int c = connect_to(SOCK_STREAM, &a);

		if (i % 20 == 10) {
			EQ(write(c, "k", 1), 1);
			EQ(read(c, &in, 1), 0);
		} else {
			EQ(write(c, "x", 1), 1);
			EQ(read(c, &in, 1), 1);
		}
		OK(close(c));
	}
	OK(shutdown(w.listener, SHUT_RDWR));
	for (int i = 0; i < WORKERS; i++) {
		int status;

		EQ(waitpid(pid[i], &status, 0), pid[i]);
		if (WIFSIGNALED(status))
			dead++;
		else
			EQ(status, 0);
	}
	EQ(dead, 3);
	OK(close(w.listener));
}

CASE(prefork_in_epoll, NEEDS_PROCESSES)
{
	prefork(EPOLLIN);
}

CASE(prefork_in_epoll_exclusive, NEEDS_PROCESSES)
{
	prefork(EPOLLIN | EPOLLEXCLUSIVE);
}
