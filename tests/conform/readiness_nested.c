/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* epoll instances inside of others: by level, by edges, how deep, and no circles. */
#include "conform.h"

static int new_epoll(void)
{
	return OK(epoll_create1(EPOLL_CLOEXEC));
}

static int change(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	return epoll_ctl(ep, op, fd, &ev);
}

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	OK(change(ep, EPOLL_CTL_ADD, fd, events, data));
}

static void expect_reports(const char *file, int line, int ep, int n, uint64_t data)
{
	struct epoll_event ev[4] = {{0}};

	conform_at(file, line, "epoll_wait");
	int got = epoll_wait(ep, ev, 4, 0);
	if (got != n || (n && (ev[0].events != EPOLLIN || ev[0].data.u64 != data)))
		conform_fail(file, line, "epoll_wait: expected %d reports, got %d: %#x for %llu", n, got,
			     ev[0].events, (unsigned long long)ev[0].data.u64);
}
#define ONE(ep, data) expect_reports(HERE, ep, 1, data)
#define NONE(ep) expect_reports(HERE, ep, 0, 0)

static long call_epoll_wait(struct actor *a)
{
	return epoll_wait(a->fd, a->arg, 1, -1);
}

CASE(nested_no_circles, 0)
{
	int a = new_epoll(), b = new_epoll(), c = new_epoll();

	FAILS(change(a, EPOLL_CTL_ADD, a, EPOLLIN, 0), EINVAL);
	add(a, b, EPOLLIN, 0);
	FAILS(change(b, EPOLL_CTL_ADD, a, EPOLLIN, 0), ELOOP);
	add(b, c, EPOLLIN, 0);
	FAILS(change(c, EPOLL_CTL_ADD, a, EPOLLIN, 0), ELOOP);
	FAILS(change(a, EPOLL_CTL_ADD, b, EPOLLIN, 0), EEXIST);
	FAILS(change(c, EPOLL_CTL_ADD, new_epoll(), EPOLLIN | EPOLLEXCLUSIVE, 0), EINVAL);
	OK(epoll_ctl(a, EPOLL_CTL_DEL, b, NULL));
	add(c, a, EPOLLIN, 0);
	OK(close(a));
	OK(close(b));
	OK(close(c));
	OK(close(c + 1));
}

/* As deep as it goes, and what happens at the bottom is seen at the top. */
CASE_ON_ENDS(nested_depth, 0)
{
	enum { DEPTH = 5 };
	struct epoll_event ev;
	int ep[DEPTH + 1];

	for (int i = 0; i <= DEPTH; i++)
		ep[i] = new_epoll();
	for (int i = 1; i < DEPTH; i++)
		add(ep[i], ep[i - 1], EPOLLIN, (uint64_t)i);
	FAILS(change(ep[DEPTH], EPOLL_CTL_ADD, ep[DEPTH - 1], EPOLLIN, 0), ELOOP);
	add(ep[0], sv[0], EPOLLIN, 0);
	NONE(ep[DEPTH - 1]);
	put(sv[1], "x");
	for (int i = 0; i < DEPTH; i++)
		ONE(ep[i], (uint64_t)i);
	GETS(sv[0], "x");
	NONE(ep[DEPTH - 1]);
	struct actor t = {.fd = ep[DEPTH - 1], .arg = &ev};
	actor_start(&t, call_epoll_wait);
	BLOCKED(&t);
	put(sv[1], "y");
	RETURNS(&t, 1);
	EQ(ev.data.u64, DEPTH - 1);
	for (int i = 0; i <= DEPTH; i++)
		OK(close(ep[i]));
}

CASE(nested_many, 0)
{
	enum { INNER = 20 };
	struct epoll_event ev[INNER];
	int sv[INNER][2], inner[INNER], outer = new_epoll();

	for (int i = 0; i < INNER; i++) {
		unix_pair(SOCK_STREAM, sv[i]);
		inner[i] = new_epoll();
		add(inner[i], sv[i][0], EPOLLIN, 0);
		add(outer, inner[i], EPOLLIN, (uint64_t)i);
	}
	NONE(outer);
	for (int i = 0; i < INNER; i++) {
		put(sv[i][1], "x");
		ONE(outer, (uint64_t)i);
		GETS(sv[i][0], "x");
	}
	for (int i = 0; i < INNER; i++)
		put(sv[i][1], "x");
	EQ(epoll_wait(outer, ev, INNER, 0), INNER);
	OK(epoll_ctl(outer, EPOLL_CTL_DEL, inner[3], NULL));
	OK(close(inner[4]));
	EQ(epoll_wait(outer, ev, INNER, 0), INNER - 2);
	for (int i = 0; i < INNER; i++) {
		OK(close(sv[i][0]));
		OK(close(sv[i][1]));
		if (i != 4)
			OK(close(inner[i]));
	}
	OK(close(outer));
}

CASE_ON_ENDS(nested_edges, 0)
{
	int ep = new_epoll(), outer = new_epoll();
	struct epoll_event ev;

	add(ep, sv[0], EPOLLIN, 1);
	add(outer, ep, EPOLLIN | EPOLLET, 7);
	NONE(outer);
	put(sv[1], "a");
	ONE(outer, 7);
	NONE(outer);
	/* Another message is another edge, though nothing was read. */
	put(sv[1], "b");
	ONE(outer, 7);
	NONE(outer);
	ONE(ep, 1);
	GETS(sv[0], "ab");
	NONE(outer);
	/* Come and gone: nothing is reported. */
	put(sv[1], "c");
	GETS(sv[0], "c");
	NONE(outer);
	struct actor t = {.fd = outer, .arg = &ev};
	actor_start(&t, call_epoll_wait);
	BLOCKED(&t);
	put(sv[1], "d");
	RETURNS(&t, 1);
	EQ(ev.data.u64, 7);
	NONE(outer);
	OK(change(outer, EPOLL_CTL_MOD, ep, EPOLLIN | EPOLLET, 8));
	ONE(outer, 8);
	NONE(outer);
	GETS(sv[0], "d");
	OK(close(outer));
	OK(close(ep));
}

/* A newcomer that has something already. */
CASE_ON_ENDS(nested_edges_of_what_is_there, 0)
{
	int ep = new_epoll(), outer = new_epoll();

	put(sv[1], "a");
	add(ep, sv[0], EPOLLIN, 1);
	add(outer, ep, EPOLLIN | EPOLLET, 7);
	ONE(outer, 7);
	NONE(outer);
	GETS(sv[0], "a");
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, sv[0], NULL));
	put(sv[1], "b");
	NONE(outer);
	add(ep, sv[0], EPOLLIN, 1);
	ONE(outer, 7);
	NONE(outer);
	GETS(sv[0], "b");
	OK(close(outer));
	OK(close(ep));
}

CASE_ON_ENDS(nested_oneshot, 0)
{
	int ep = new_epoll(), outer = new_epoll();

	add(ep, sv[0], EPOLLIN, 1);
	add(outer, ep, EPOLLIN | EPOLLONESHOT, 7);
	put(sv[1], "x");
	ONE(outer, 7);
	NONE(outer);
	put(sv[1], "y");
	NONE(outer);
	OK(change(outer, EPOLL_CTL_MOD, ep, EPOLLIN | EPOLLONESHOT, 8));
	ONE(outer, 8);
	NONE(outer);
	OK(change(outer, EPOLL_CTL_MOD, ep, EPOLLOUT, 9));
	NONE(outer);
	GETS(sv[0], "xy");
	OK(close(outer));
	OK(close(ep));
}

/* A socket in both, and one instance inside two. */
CASE_ON_ENDS(nested_beside_a_socket, 0)
{
	struct epoll_event ev[4];
	int ep = new_epoll(), one = new_epoll(), two = new_epoll();

	add(ep, sv[0], EPOLLIN, 1);
	add(one, ep, EPOLLIN, 2);
	add(one, sv[0], EPOLLIN, 3);
	add(two, ep, EPOLLIN | EPOLLET, 4);
	put(sv[1], "x");
	EQ(epoll_wait(one, ev, 4, 0), 2);
	EQ(ev[0].data.u64 + ev[1].data.u64, 5);
	ONE(two, 4);
	EQ(epoll_wait(one, ev, 4, 0), 2);
	NONE(two);
	GETS(sv[0], "x");
	NONE(one);
	OK(close(ep));
	put(sv[1], "y");
	ONE(one, 3);
	NONE(two);
	GETS(sv[0], "y");
	OK(close(one));
	OK(close(two));
}
